# SPDX-License-Identifier: Apache-2.0
"""samples/python/unweight.py against the source files, read by the independent few lines below."""

import json
import os
import struct
import subprocess
import sys
import tempfile
import unittest

try:
    import numpy as np
except ImportError:
    raise unittest.SkipTest("no numpy")

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "..", "samples", "python"))
sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cli"))
import common    # noqa: E402
import unweight  # noqa: E402

SAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "samples", "shakespeare-llama")


def source():
    """Name -> uint16 array of every tensor of the sample."""
    tensors = {}
    for name in sorted(os.listdir(SAMPLE)):
        if not name.endswith(".safetensors"):
            continue
        with open(os.path.join(SAMPLE, name), "rb") as f:
            data = f.read()
        n = struct.unpack("<Q", data[:8])[0]
        for key, t in json.loads(data[8:8 + n]).items():
            if key != "__metadata__":
                begin, end = t["data_offsets"]
                tensors[key] = np.frombuffer(data[8 + n + begin:8 + n + end], "<u2").reshape(t["shape"])
    return tensors


class Python(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.TemporaryDirectory(prefix="unweight-python-")
        cls.source = source()
        for profile in common.PROFILES:
            subprocess.run([common.tool_path("compress"), SAMPLE, "-o", os.path.join(cls.tmp.name, profile), "--profile", profile],
                           check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def test_tensors(self):
        for profile in common.PROFILES:
            with unweight.Model(os.path.join(self.tmp.name, profile)) as model:
                self.assertEqual(sorted(model), sorted(self.source))
                for name, want in self.source.items():
                    t = model[name]
                    self.assertEqual((t.dtype, t.shape), ("BF16", want.shape))
                    np.testing.assert_array_equal(t.numpy(), want)
                self.assertEqual((t.role, model["model.layers.3.mlp.up_proj.weight"].layer), (t.role, 3))
                with self.assertRaises(KeyError):
                    model["gone"]

    def test_base(self):
        """The sample over itself: one tensor is all that is asked of it here."""
        based, base = (os.path.join(self.tmp.name, name) for name in ("based", "distribution"))
        subprocess.run([common.tool_path("compress"), SAMPLE, "-o", based, "--base", base], check=True, capture_output=True)
        with self.assertRaisesRegex(unweight.UnweightError, "needs its base"):
            unweight.Model(based)
        name = "model.layers.1.mlp.up_proj.weight"
        with unweight.Model(based, os.path.join(self.tmp.name, "inference")) as model:
            np.testing.assert_array_equal(model[name].numpy(), self.source[name])
            self.assertLess(model[name].stored_nbytes, 100)

    def test_slices(self):
        name = "model.layers.0.mlp.down_proj.weight"
        with unweight.Model(os.path.join(self.tmp.name, "distribution")) as model:
            t, want = model[name], self.source[name]
            np.testing.assert_array_equal(t.numpy(rows=(5, 130), cols=(7, 300)), want[5:130, 7:300])
            np.testing.assert_array_equal(t.numpy(rows=(191, 0)), want[191:])
            np.testing.assert_array_equal(t.float32(cols=(0, 1)), (want[:, :1].astype(np.uint32) << 16).view(np.float32))
            with self.assertRaises(unweight.UnweightError):
                t.numpy(rows=(0, 193))

    def test_multiplying(self):
        rng = np.random.default_rng(1)
        names = ["model.layers.2.self_attn.%s_proj.weight" % k for k in "qkv"]
        x = rng.standard_normal((5, 192), dtype=np.float32)
        rounded = (x.view(np.uint32) + 0x7FFF + (x.view(np.uint32) >> 16 & 1)) >> 16 << 16
        for profile in common.PROFILES:
            with unweight.Model(os.path.join(self.tmp.name, profile)) as model:
                with model.linear([model[n] for n in names], threads=2) as linear:
                    for y, name in zip(linear(x), names):
                        want = rounded.view(np.float32).astype(float) @ model[name].float32().astype(float).T
                        np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-4)
                with model.linear([model[names[0]]], pipeline="raw") as raw, model.linear([model[names[0]]]) as packed:
                    self.assertEqual(raw(x).tobytes(), packed(x).tobytes())

    def test_shared(self):
        """Tensors that share stored bytes are tensors like any other."""
        w, v = (np.frombuffer(common.weights(192 * 192, seed), "<u2").reshape(192, 192) for seed in (1, 2))
        want = {"lm_head.weight": w, "model.embed_tokens.weight": w, "model.layers.0.mlp.up_proj.weight": v,
                "model.layers.1.mlp.up_proj.weight": v}
        path = os.path.join(self.tmp.name, "tied.safetensors")
        common.write(path, common.safetensors([(n, "BF16", t.shape, t.tobytes()) for n, t in want.items()]))
        x = np.random.default_rng(2).standard_normal((3, 192), dtype=np.float32)
        for profile in common.PROFILES:
            bundle = os.path.join(self.tmp.name, "tied." + profile)
            subprocess.run([common.tool_path("compress"), path, "-o", bundle, "-p", profile], check=True, capture_output=True)
            self.assertLess(os.stat(os.path.join(bundle, "tied.safetensors.uw")).st_size, 2 * w.nbytes)
            with unweight.Model(bundle) as model:
                for name, t in want.items():
                    np.testing.assert_array_equal(model[name].numpy(), t)
                    np.testing.assert_array_equal(model[name].numpy(rows=(60, 70), cols=(1, 100)), t[60:70, 1:100])
                layers = [model["model.layers.%d.mlp.up_proj.weight" % i] for i in range(2)]
                with model.linear(layers, threads=2) as linear:
                    first, second = linear(x)
                self.assertEqual(first.tobytes(), second.tobytes())

    def test_errors(self):
        with self.assertRaises(unweight.UnweightError) as caught:
            unweight.Model(os.path.join(self.tmp.name, "none"))
        self.assertEqual(caught.exception.status, 14)

    def test_torch(self):
        try:
            import torch
        except ImportError:
            self.skipTest("no torch")
        with unweight.Model(os.path.join(self.tmp.name, "inference")) as model:
            t = model["lm_head.weight"].torch()
            self.assertEqual(t.dtype, torch.bfloat16)
            np.testing.assert_array_equal(t.view(torch.int16).numpy().view(np.uint16), self.source["lm_head.weight"])


if __name__ == "__main__":
    unittest.main()
