# SPDX-License-Identifier: Apache-2.0
"""Another architecture's tools (UW_TOOLS, run by UW_WRAPPER) write the bytes that this one's (UW_NATIVE_TOOLS) do, and
each restores what the other wrote. Models: the golden one and the sample.
"""

import io
import lzma
import os
import subprocess
import sys
import tarfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import PROFILES, Case, environment, read_tree, write

NATIVE = os.environ.get("UW_NATIVE_TOOLS", "")
GOLDEN = os.path.join(HERE, "..", "golden", "distribution.tar.xz")
SAMPLE = os.path.join(HERE, "..", "..", "samples", "shakespeare-llama")


class SameBytes(Case):
    def native(self, name, *args):
        subprocess.run([os.path.join(NATIVE, "unweight-" + name), *args], cwd=self.dir, env=environment(TMPDIR=self.tmp),
                       check=True)

    def check(self, model, out):
        want = read_tree(self.path(model))
        for profile in PROFILES:
            ours, theirs = "%s-%s-native" % (out, profile), "%s-%s-cross" % (out, profile)
            self.native("compress", model, "-o", ours, "-p", profile)
            self.compress(model, theirs, "-p", profile)
            self.assert_tree(self.path(theirs), read_tree(self.path(ours)))
            self.assert_tree(self.restore(ours, theirs + "-restored"), want)
            self.native("decompress", theirs, "-o", ours + "-restored")
            self.assert_tree(self.path(ours + "-restored"), want)
            self.compress(model, theirs + ".tar", "-p", profile)
            self.native("compress", model, "-o", ours + ".tar", "-p", profile)
            with open(self.path(ours + ".tar"), "rb") as a, open(self.path(theirs + ".tar"), "rb") as b:
                self.assertTrue(a.read() == b.read(), "tars differ")

    def test_golden_model(self):
        with open(GOLDEN, "rb") as f, tarfile.open(fileobj=io.BytesIO(lzma.decompress(f.read()))) as tar:
            for member in tar:
                path = os.path.join(self.path("golden"), member.name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                write(path, tar.extractfile(member).read())
        self.native("decompress", "golden", "-o", "model")
        self.check("model", "golden-model")

    def test_base(self):
        """A model on the sample as its base, most of it a step away."""
        os.symlink(SAMPLE, self.path("base"))
        self.native("compress", "base", "-o", "base.uwb")
        for path, (data, _) in read_tree(SAMPLE).items():
            if path.endswith(".safetensors"):
                start = 8 + int.from_bytes(data[:8], "little")
                data = data[:start] + bytes(b ^ 1 if i % 6 == 0 else b for i, b in enumerate(data[start:]))
            os.makedirs(os.path.dirname(os.path.join(self.path("model"), path)), exist_ok=True)
            write(os.path.join(self.path("model"), path), data)
        self.native("compress", "model", "-o", "native", "--base", "base.uwb")
        self.compress("model", "cross", "--base", "base.uwb")
        self.assert_tree(self.path("cross"), read_tree(self.path("native")))
        self.assert_tree(self.restore("native", "restored", "--base", "base.uwb"), read_tree(self.path("model")))
        self.assertLess(sum(len(data) for data, _ in read_tree(self.path("native")).values()),
                        0.2 * sum(len(data) for data, _ in read_tree(self.path("model")).values()))

    def test_sample(self):
        os.symlink(SAMPLE, self.path("sample"))
        self.check("sample", "sample-model")


if __name__ == "__main__":
    unittest.main()
