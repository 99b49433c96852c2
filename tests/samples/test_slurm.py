# SPDX-License-Identifier: Apache-2.0
"""samples/cluster on a Slurm cluster of two nodes, all of them on this host: a job array whose workers are killed at random, a
merge that waits for it, and the bundle that one process makes."""

import contextlib
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
from common import WRAPPER, Case, environment, read, read_tree, safetensors, tool_path, weights, write, write_tree

CLUSTER = os.path.join(HERE, "..", "..", "samples", "cluster")
PARTS, SHARDS = 6, 12
NKILLS = int(os.environ.get("UW_SLURM_KILLS", "3"))
MAX_KILLS = 1 if NKILLS <= PARTS else 3     # of one part; a job that comes again waits for seconds, and comes again three times
END = "COMPLETED", "FAILED", "CANCELLED", "NODE_FAIL", "TIMEOUT", "OUT_OF_MEMORY"
SECONDS = 240       # in which the jobs end, some of them waiting to come again

TOOL = """#!/bin/sh
exec "{path}" "$@"
"""
# A worker says which it is and waits for leave to begin, however slow those are who watch.
WORKER = """#!/bin/sh
case " $* " in *" --part "*)
	: >"{held}/$SLURM_ARRAY_TASK_ID.$$"
	until [ -e "{held}/$SLURM_ARRAY_TASK_ID.$$.go" ]; do sleep 0.02; done
esac
exec "{path}" "$@"
"""


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
        os.mkdir(self.path("held"))
        for tool in "compress", "verify":
            self.script(tool, TOOL)

    def script(self, tool, text):
        path = write(self.path("bin/unweight-" + tool), text.format(path=tool_path(tool), held=self.path("held")).encode())
        os.chmod(path, 0o755)

    def submit(self, nparts):
        """Ids of the array and the merge."""
        env = environment(PATH=self.path("bin") + ":" + os.environ["PATH"])
        return self.cluster.run("sh", os.path.join(CLUSTER, "submit.sh"), self.path("model"), self.path("bundle"), str(nparts),
                                "--output=" + self.path("log-%j"), cwd=self.dir, env=env).stdout.split()

    def jobs(self, array, merge):
        return [j for j in self.cluster.jobs() if array in (j["JobId"], j.get("ArrayJobId")) or j["JobId"] == merge]

    def begun(self):
        """Workers that wait for leave: (part, process id)."""
        names = (name.split(".") for name in os.listdir(self.path("held")))
        return {(name[0], int(name[1])) for name in names if len(name) == 2}

    def kill_worker(self, pid):
        """False if it has ended."""
        with contextlib.suppress(OSError):
            if self.path("bundle").encode() in read("/proc/%d/cmdline" % pid):
                os.kill(pid, signal.SIGKILL)
                return True
        return False

    def kill_workers(self, seconds, finished):
        """Gives workers leave to begin, and kills some at random moments of their work, which takes so many seconds. If all
        of those came too late, one is killed as it begins."""
        rng, killed, seen, due = random.Random(1), {}, set(), {}
        end = time.monotonic() + SECONDS
        while not finished():
            if time.monotonic() > end:
                self.fail("the jobs do not end: %s\n%s" % (self.cluster.jobs(), self.cluster.logs()))
            for _ in range(20):
                for part, pid in sorted(self.begun() - seen):
                    seen.add((part, pid))
                    if sum(killed.values()) + len(due) < NKILLS and killed.get(part, 0) < MAX_KILLS:
                        late = len({part for part, _ in seen}) == PARTS and not killed
                        due[part, pid] = 0 if late else time.monotonic() + rng.random() * seconds
                        if late:
                            continue
                    write(self.path("held/%s.%d.go" % (part, pid)), b"")
                for part, pid in [worker for worker, at in due.items() if time.monotonic() >= at]:
                    del due[part, pid]
                    if self.kill_worker(pid):
                        killed[part] = killed.get(part, 0) + 1
                time.sleep(0.01)
        return killed

    def time_of_part(self):
        since = time.monotonic()
        self.run_tool("compress", "--part", "1/%d" % PARTS, "model", "-o", "timed", "-T1")
        return time.monotonic() - since

    def test_array_with_kills(self):
        write_tree(self.path("model"), {"m%02d.safetensors" % i: safetensors([("w", "BF16", (3000, 1000), weights(3000000, i))])
                                        for i in range(SHARDS)} | {"config.json": b"{}"})
        one = self.compress("model", "one")
        bundle = self.path("bundle")
        self.script("compress", WORKER)
        array, merge = self.submit(PARTS)

        def finished():
            return any(j["JobId"] == merge and j["JobState"] in END for j in self.jobs(array, merge))

        killed = self.kill_workers(self.time_of_part(), finished)
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
