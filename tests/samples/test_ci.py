# SPDX-License-Identifier: Apache-2.0
"""samples/ci: the files have the syntax of their systems, and their commands do what they say, on the sample model."""

import os
import re
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import TOOLS, WRAPPER, Case, environment, read

try:
    import yaml
except ImportError:
    yaml = None

SAMPLES = os.path.join(HERE, "..", "..", "samples")
CI = os.path.join(SAMPLES, "ci")


def github():
    """The commands of the job, in order."""
    with open(os.path.join(CI, "github.yml"), encoding="utf-8") as f:
        top = yaml.safe_load(f)
    (job,) = top["jobs"].values()
    assert top[True]["push"]["paths"] and job["runs-on"]        # YAML 1.1 reads "on" as true
    for step in job["steps"]:
        assert ("uses" in step) != ("run" in step), step
    return [step["run"] for step in job["steps"] if "run" in step]


def gitlab():
    with open(os.path.join(CI, "gitlab.yml"), encoding="utf-8") as f:
        (job,) = yaml.safe_load(f).values()
    assert job["artifacts"]["reports"]["junit"] == "verify.xml" and job["retry"]["exit_codes"] == [6, 7]
    return job["script"]


def jenkins():
    """The shell steps; a Groovy string in three quotes or one pair, its escapes undone."""
    text = read(os.path.join(CI, "Jenkinsfile")).decode()
    bare = re.sub(r"'''.*?'''|'[^'\n]*'|\"[^\"\n]*\"|//[^\n]*", "", text, flags=re.S)
    depth = 0
    for c in bare:
        depth += {"{": 1, "}": -1}.get(c, 0)
        assert depth >= 0, "braces"
    assert depth == 0 and text.count("stage(") == bare.count("stage(") == 2, "stages"
    steps = re.findall(r"\bsh ('''(.*?)'''|'([^'\n]*)'|\"([^\"\n]*)\")", text, flags=re.S)
    return [(a or b or c).replace("\\\\", "\\") for _, a, b, c in steps]


class Ci(Case):
    def check(self, commands):
        self.assertGreaterEqual(len(commands), 2)
        shutil.copytree(os.path.join(SAMPLES, "shakespeare-llama"), self.path("model"))
        bin_folder = self.path("bin")
        os.mkdir(bin_folder)
        for tool in ("compress", "verify"):
            path = os.path.join(bin_folder, "unweight-" + tool)
            with open(path, "w", encoding="utf-8") as f:
                f.write('#!/bin/sh\nexec %s "%s" "$@"\n' % (" ".join(WRAPPER), os.path.join(TOOLS, "unweight-" + tool)))
            os.chmod(path, 0o755)
        for command in commands:
            r = subprocess.run(["sh", "-e", "-c", command], cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                               env=environment(TMPDIR=self.tmp, PATH=bin_folder + ":" + os.environ["PATH"]))
            self.assertEqual(r.returncode, 0, "%s: %s" % (command, r.stdout.decode()))
        self.assertIn(b"<testsuite", read(self.path("verify.xml")))
        self.assertTrue(os.path.exists(self.path("bundle/unweight.json")))

    @unittest.skipUnless(yaml, "needs PyYAML")
    def test_github(self):
        self.check(github())

    @unittest.skipUnless(yaml, "needs PyYAML")
    def test_gitlab(self):
        self.check(gitlab())

    def test_jenkins(self):
        self.check(jenkins())


if __name__ == "__main__":
    unittest.main()
