# SPDX-License-Identifier: Apache-2.0
"""Golden bundles (see make_golden.py): today's decoders restore what older tools wrote.

They pin decoding, never encoding. UW_TOOLS names the folder of the tools.
"""

import hashlib
import io
import lzma
import os
import subprocess
import sys
import tarfile
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import PROFILES, Case, read, read_tree, write

DECODER = os.path.join(HERE, "..", "spec", "unweight_decoder.py")
SINGLES = "single", "rows"      # bundles of one file without a folder
TUNED = "tuned"                 # with a base, what is in BASE
BASE = "distribution"
EXECUTABLE = {"bin/run.sh"}


def sums():
    with open(os.path.join(HERE, "SHA256SUMS")) as f:
        return {path: digest for digest, path in (line.rstrip("\n").split("  ", 1) for line in f)}


class Golden(Case):
    def unpack(self, name):
        """The bundle as a tar and as a folder."""
        data = lzma.decompress(read(os.path.join(HERE, name + ".tar.xz")))
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            for member in tar:
                path = os.path.join(self.path(name), member.name)
                os.makedirs(os.path.dirname(path), exist_ok=True)
                write(path, tar.extractfile(member).read())
        write(self.path(name + ".tar"), data)
        return name + ".tar", name

    def assert_sums(self, tree, want):
        self.assertEqual({path: hashlib.sha256(data).hexdigest() for path, (data, _) in tree.items()}, want)
        self.assertEqual({path for path, (_, executable) in tree.items() if executable}, EXECUTABLE & want.keys())

    def python_decoder(self, bundle, out, *args):
        r = subprocess.run([sys.executable, "-B", DECODER, *args, bundle, out], cwd=self.dir, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, check=False)
        self.assertEqual(r.returncode, 0, r.stdout.decode())
        return read_tree(self.path(out))

    def test_folders(self):
        want = {path: digest for path, digest in sums().items()
                if path not in [name + ".safetensors" for name in SINGLES] and not path.startswith(TUNED + "/")}
        for name in PROFILES:
            for i, bundle in enumerate(self.unpack(name)):
                with self.subTest(bundle=bundle):
                    self.run_tool("verify", bundle)
                    self.assert_sums(read_tree(self.restore(bundle, "%s-%d" % (name, i))), want)
                    self.assert_sums(self.python_decoder(bundle, "%s-python-%d" % (name, i)), want)

    def test_base(self):
        """Whatever the base is stored as."""
        want = {path[len(TUNED) + 1:]: digest for path, digest in sums().items() if path.startswith(TUNED + "/")}
        self.restore(self.unpack(BASE)[1], "base")
        for i, bundle in enumerate(self.unpack(TUNED)):
            for k, base in enumerate((*self.unpack(BASE), *self.unpack("inference"))):
                with self.subTest(bundle=bundle, base=base):
                    self.run_tool("verify", bundle, "--base", base)
                    self.assert_sums(read_tree(self.restore(bundle, "tuned-%d-%d" % (i, k), "--base", base)), want)
            self.assert_sums(self.python_decoder(bundle, "python-%d" % i, "--base", "base"), want)
            self.run_tool("verify", bundle, expect=3)

    def test_single_file(self):
        for name in SINGLES:
            file = name + ".safetensors"
            want = {file: sums()[file]}
            for i, bundle in enumerate(self.unpack(name)):
                with self.subTest(bundle=bundle):
                    self.run_tool("verify", bundle)
                    self.restore(bundle, "%s-%d" % (name, i))
                    self.assert_sums({file: (read(self.path("%s-%d" % (name, i))), False)}, want)
                    self.assert_sums(self.python_decoder(bundle, "%s-python-%d" % (name, i)), want)


if __name__ == "__main__":
    unittest.main()
