# SPDX-License-Identifier: Apache-2.0
"""samples/cluster without its cluster: what the Kubernetes manifests run, with the environment that Kubernetes gives, and GNU
parallel on this host. test_slurm.py has the Slurm files."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import TIMEOUT, WRAPPER, Case, environment, read, read_tree, small_model, tool_path

try:
    import yaml
except ImportError:
    yaml = None

ROOT = os.path.join(HERE, "..", "..")
CLUSTER = os.path.join(ROOT, "samples", "cluster")
RETRY = {6, 7, 124}     # README's exit codes that may pass


def has_gnu_parallel():
    if shutil.which("parallel") is None:
        return False
    r = subprocess.run(["parallel", "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
    return r.stdout.startswith(b"GNU parallel")


class Cluster(Case):
    def setUp(self):
        super().setUp()
        self.model({"m%d.safetensors" % i: small_model(i) for i in range(9)})
        self.one = self.compress("model", "one")
        os.mkdir(self.path("bin"))
        script = self.path("bin/unweight-compress")
        with open(script, "w", encoding="utf-8") as f:
            f.write('#!/bin/sh\nexec %s "$@"\n' % " ".join(map(shlex.quote, [*WRAPPER, tool_path("compress")])))
        os.chmod(script, 0o755)

    def sh(self, *args, **env):
        env = environment(PATH=self.path("bin") + ":" + os.environ["PATH"], TMPDIR=self.tmp, **env)
        subprocess.run(args, cwd=self.dir, env=env, stdin=subprocess.DEVNULL, timeout=TIMEOUT, check=True)

    @unittest.skipIf(yaml is None, "no yaml")
    def test_kubernetes(self):
        with open(os.path.join(CLUSTER, "kubernetes.yml"), encoding="utf-8") as f:
            parts, merge = yaml.safe_load_all(f)
        commands = []
        codes = set(map(int, re.findall(r"^\s+UW_EXIT_\w+ = (\d+)", read(os.path.join(ROOT, "tools/common/exitcode.h")).decode(), re.M)))
        for job in parts, merge:
            self.assertEqual((job["apiVersion"], job["kind"]), ("batch/v1", "Job"))
            pod = job["spec"]["template"]["spec"]
            self.assertEqual(pod["restartPolicy"], "Never")     # podFailurePolicy demands it
            (container,) = pod["containers"]
            commands.append([w.replace("/data", self.dir) for w in container["command"]])
            rules = [r["onExitCodes"] for r in job["spec"]["podFailurePolicy"]["rules"] if "onExitCodes" in r]
            self.assertEqual([set(r["values"]) for r in rules], [codes - RETRY - {0}])
        spec = parts["spec"]
        self.assertEqual(spec["completionMode"], "Indexed")
        self.assertIn("--parts", commands[0])
        self.assertEqual(int(commands[0][commands[0].index("--parts") + 1]), spec["completions"])
        for index in reversed(range(spec["completions"])):
            self.sh(*commands[0], JOB_COMPLETION_INDEX=str(index))
        self.sh(*commands[1])
        self.assert_tree(self.path("bundle"), read_tree(self.one))

    @unittest.skipUnless(has_gnu_parallel(), "no GNU parallel")
    def test_parallel(self):
        self.sh("sh", os.path.join(CLUSTER, "parallel.sh"), "model", "bundle", "4", "-j2", HOME=self.tmp, PARALLEL_HOME=self.path("home"))
        self.assert_tree(self.path("bundle"), read_tree(self.one))
        shutil.rmtree(self.path("tmpdir"))
        os.mkdir(self.tmp)

    def test_slurm_files(self):
        """Their syntax; and the exit codes at which a task asks to come again."""
        for name in "submit.sh", "compress.sbatch", "merge.sbatch", "parallel.sh":
            subprocess.run(["sh", "-n", os.path.join(CLUSTER, name)], check=True)
        text = read(os.path.join(CLUSTER, "compress.sbatch")).decode()
        self.assertEqual(set(map(int, re.search(r"^([\d| ]+)\)$", text, re.M).group(1).split("|"))), RETRY | {137})


if __name__ == "__main__":
    unittest.main()
