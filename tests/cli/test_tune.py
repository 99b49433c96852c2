# SPDX-License-Identifier: Apache-2.0
"""unweight-tune: what it writes is a tuning of all shapes and batches; nothing here looks at times."""

import os
import unittest

from common import Case, read, safetensors, weights, write

SHAPES = (192, 256), (128, 192)


class Tune(Case):
    def layers(self, profile):
        tensors = [("model.layers.%d.w%d" % (layer, i), "BF16", shape, weights(shape[0] * shape[1], layer))
                   for layer in range(2) for i, shape in enumerate(SHAPES)]
        write(self.path("m.safetensors"), safetensors(tensors))
        return self.compress("m.safetensors", profile, "--profile", profile)

    def test_every_shape_and_batch_has_a_line(self):
        for profile, coding, pipelines in (("inference", "p4", {"raw", "decode", "exponent", "palette"}),
                                           ("distribution", "h", {"raw", "decode", "exponent", "transcode"})):
            bundle = self.layers(profile)
            r = self.run_tool("tune", bundle, "-o", "t-" + coding, "--budget", "1", "--buckets", "1,4,32", "-T2")
            lines = read(self.path("t-" + coding)).decode("ascii").splitlines()
            self.assertEqual(lines[0], "unweight-tuning 1")
            rows = [line.split() for line in lines[1:]]
            self.assertEqual([row[:4] for row in rows],
                             [[coding, str(n), str(k), str(b)] for n, k in sorted(SHAPES) for b in (1, 4, 32)])
            self.assertTrue({row[4] for row in rows} <= pipelines)
            self.assertEqual(r.stdout, "")

    def test_usage(self):
        for bad in (["--buckets", "3"], ["--buckets", "2,1"], ["--buckets", "8192"], ["--buckets", "1,"], ["--budget", "0"],
                    ["--device", "gpu"]):
            self.run_tool("tune", "x", *bad, expect=2)

    def test_failures(self):
        self.run_tool("tune", "none", expect=3)
        write(self.path("m.safetensors"), safetensors([("t", "U8", (3,), b"abc")]))
        self.run_tool("tune", self.compress("m.safetensors"), "-o", "t", expect=3)
        self.assertFalse(os.path.exists(self.path("t")))


if __name__ == "__main__":
    unittest.main()
