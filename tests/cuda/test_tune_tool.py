# SPDX-License-Identifier: Apache-2.0
"""unweight-tune --device cuda on an emulated device, whose clock says that palette codes win.

    test_tune_tool.py UNWEIGHT-COMPRESS UNWEIGHT-TUNE-EMU SAMPLE
"""

import os
import shlex
import subprocess
import sys
import tempfile
import unittest

WRAPPER = shlex.split(os.environ.get("UW_WRAPPER", ""))   # as in tests/cli/common.py
COMPRESS, TUNE, SAMPLE = sys.argv[1:4]
SHAPES = ["192 192", "192 512", "256 192", "384 192", "1024 192"]   # of the sample: o, down, head, q+k+v, gate+up
PIPELINE = {"h": "transcode", "p4": "palette"}


def run(*args):
    return subprocess.run([*WRAPPER, *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True, check=False)


class Tune(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.TemporaryDirectory()
        self.addCleanup(self.dir.cleanup)

    def tune(self, profile, *args, expect=0):
        bundle = os.path.join(self.dir.name, profile)
        if not os.path.exists(bundle):
            r = run(COMPRESS, SAMPLE, "-o", bundle, "-p", profile)
            self.assertEqual(r.returncode, 0, r.stderr)
        r = run(TUNE, bundle, "--device", "cuda", "--budget", "0.5", "--cycle", "0.5", *args)
        self.assertEqual(r.returncode, expect, r.stderr)
        return r

    def lines_of(self, r):
        first, device, *lines = r.stdout.splitlines()
        self.assertEqual((first, device), ("unweight-tuning 1", "device Emulated GPU"))
        return lines

    def test_tunings(self):
        for profile, coding in ("distribution", "h"), ("inference", "p4"):
            with self.subTest(profile):
                r = self.tune(profile, "--buckets", "1,64")
                lines = self.lines_of(r)
                self.assertEqual([" ".join(line.split()[:5]) for line in lines],
                                 ["%s %s %d %s" % (coding, s, b, PIPELINE[coding]) for s in SHAPES for b in (1, 64)])
                self.assertTrue(r.stderr.startswith("Emulated GPU\n"), r.stderr)
                for shape in SHAPES:
                    self.assertRegex(r.stderr, r"(?m)^%s, %s: [16] in the bundle, \d+ cycled through; microseconds$" %
                                     (coding, shape.replace(" ", " x ")))
                self.assertIn("one layer, 4 matrices", r.stderr)
                self.assertRegex(r.stderr, r"(?m)^     64 \|     11\.400 .* 4\.000  \| %s +2\.850" % PIPELINE[coding])

    def test_default_batches(self):
        lines = self.lines_of(self.tune("inference"))
        self.assertEqual([line.split()[3] for line in lines], [str(1 << b) for b in range(13)] * len(SHAPES))

    def test_modes(self):
        for mode in "--require-bitexact", "--batch-invariant":
            lines = self.lines_of(self.tune("distribution", mode, "--buckets", "16"))
            self.assertEqual(len(lines), len(SHAPES))
            self.assertNotIn("tile=", " ".join(lines))

    def test_another_device(self):
        r = self.tune("inference", "--device", "cuda:1", expect=8)
        self.assertEqual((r.stdout, r.stderr), ("", "unweight-tune: cuda:1: CUDA: no driver, or no device 1 that this build has "
                                                "code for\n"))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
