# SPDX-License-Identifier: Apache-2.0
"""samples/cluster on a Slurm cluster of two nodes, all of them on this host: a job array whose workers are killed at random, a
merge that waits for it, and the bundle that one process makes."""

import os
import random
import signal
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

import slurm
from common import TOOLS, WRAPPER, Case, environment, read, read_tree, safetensors, tool_path, weights, write_tree

CLUSTER = os.path.join(HERE, "..", "..", "samples", "cluster")
PARTS, SHARDS = 6, 12
NKILLS = int(os.environ.get("UW_SLURM_KILLS", "3"))
MAX_KILLS = 1 if NKILLS <= PARTS else 3     # of one part; a job that comes again waits for seconds, and comes again three times
END = "COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT", "OUT_OF_MEMORY"


def workers(bundle):
    """Processes at work on a part of the bundle: {process id: part's task}."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            args = read("/proc/%s/cmdline" % pid).split(b"\0")
            if args[:1] == [tool_path("compress").encode()] and b"--part" in args and bundle.encode() in args:
                env = dict(v.split(b"=", 1) for v in read("/proc/%s/environ" % pid).split(b"\0") if b"=" in v)
                found[int(pid)] = env[b"SLURM_ARRAY_TASK_ID"].decode()
        except (OSError, KeyError):
            pass
    return found


@unittest.skipIf(WRAPPER, "jobs run the tools themselves")
class Slurm(Case):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory(prefix="uw-slurm-")      # short: a socket is in it
        cls.addClassCleanup(folder.cleanup)
        cls.cluster = slurm.Cluster(folder.name)
        cls.addClassCleanup(cls.cluster.stop)
        cls.cluster.start()

    def setUp(self):
        super().setUp()
        os.mkdir(self.path("bin"))
        for tool in "compress", "verify":       # exec: a worker is found by its name
            script = self.path("bin/unweight-" + tool)
            with open(script, "w", encoding="utf-8") as f:
                f.write('#!/bin/sh\nexec "%s" "$@"\n' % tool_path(tool))
            os.chmod(script, 0o755)

    def submit(self, nparts):
        """Ids of the array and the merge."""
        env = environment(PATH=self.path("bin") + ":" + os.environ["PATH"])
        return self.cluster.run("sh", os.path.join(CLUSTER, "submit.sh"), self.path("model"), self.path("bundle"), str(nparts),
                                "--output=" + self.path("log-%j"), cwd=self.dir, env=env).stdout.split()

    def jobs(self, array, merge):
        return [j for j in self.cluster.jobs() if array in (j["JobId"], j.get("ArrayJobId")) or j["JobId"] == merge]

    def kill_workers(self, bundle, finished):
        """Kills workers at random moments."""
        rng, killed = random.Random(1), {}
        end = time.monotonic() + 150
        seen = {}
        while not finished():
            if time.monotonic() > end:
                self.fail("the jobs do not end: %s\n%s" % (self.cluster.jobs(), self.cluster.logs()))
            for _ in range(20):
                now = time.monotonic()
                for pid, part in workers(bundle).items():
                    at = seen.setdefault(pid, now + rng.random() * 0.15)
                    if now >= at and sum(killed.values()) < NKILLS and killed.get(part, 0) < MAX_KILLS:
                        try:
                            os.kill(pid, signal.SIGKILL)
                        except ProcessLookupError:
                            continue
                        killed[part] = killed.get(part, 0) + 1
                        seen[pid] = end
                time.sleep(0.01)
        return killed

    def test_array_with_kills(self):
        write_tree(self.path("model"), {"m%02d.safetensors" % i: safetensors([("w", "BF16", (3000, 1000), weights(3000000, i))])
                                        for i in range(SHARDS)} | {"config.json": b"{}"})
        one = self.compress("model", "one")
        bundle = self.path("bundle")
        array, merge = self.submit(PARTS)

        def finished():
            return any(j["JobId"] == merge and j["JobState"] in END for j in self.jobs(array, merge))

        killed = self.kill_workers(bundle, finished)
        jobs = self.jobs(array, merge)
        logs = "".join(read(self.path(f)).decode() for f in sorted(os.listdir(self.dir)) if f.startswith("log-"))
        tasks = [j for j in jobs if j.get("ArrayJobId") == array]
        print("killed, by part: %s; restarts: %s; nodes: %s" % (killed, [j["Restarts"] for j in tasks], [j["NodeList"] for j in tasks]))
        self.assertEqual({j["JobState"] for j in jobs}, {"COMPLETED"}, logs + str(jobs))
        self.assertEqual(len(tasks), PARTS)
        self.assertLessEqual({j["NodeList"] for j in tasks}, {"n1", "n2"})      # which of them: Slurm's business
        restarts = sum(int(j["Restarts"]) for j in tasks)       # one may have been killed when it was done
        self.assertTrue(0 < restarts <= sum(killed.values()), restarts)
        self.assert_tree(bundle, read_tree(one))
        self.assert_nothing("bundle.parts")

    def test_part_that_fails_for_good(self):
        """The merge is cancelled, not left to wait for ever."""
        write_tree(self.path("model"), {"a": b"a", "b": b"b"})
        write_tree(self.path("bundle"), {"in the way": b""})
        array, merge = self.submit(2)
        self.cluster.wait("the end", lambda: {j["JobState"] for j in self.jobs(array, merge)} <= {"FAILED", "CANCELLED"})
        jobs = self.jobs(array, merge)
        self.assertEqual({j["ExitCode"] for j in jobs if j.get("ArrayJobId") == array}, {"4:0"})
        self.assertEqual([j["JobState"] for j in jobs if j["JobId"] == merge], ["CANCELLED"])


if __name__ == "__main__":
    if not slurm.available():
        print("Slurm and MUNGE are not installed")
        sys.exit(77)
    unittest.main()
