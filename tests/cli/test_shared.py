# SPDX-License-Identifier: Apache-2.0
"""Equal tensors of a file are stored once, whatever they are called, and nothing else about them changes."""

import os
import random
import sys

from common import PROFILES, Case, bf16, read, safetensors, weights, write

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "spec"))
import unweight_decoder  # noqa: E402

W = weights(256 * 512, 1)
NOISE = random.Random(2).randbytes(9 << 20)


def stored(path):
    return os.stat(path).st_size


class Shared(Case):
    def file(self, name, tensors):
        name += ".safetensors"
        write(self.path(name), safetensors(tensors))
        return name

    def test_tied(self):
        """An embedding that is saved twice costs a record."""
        once = [("embed", "BF16", (256, 512), W)]
        tied = [*once, ("head", "BF16", (256, 512), W), ("other", "BF16", (256, 512), weights(256 * 512, 3))]
        for profile in PROFILES:
            a = self.compress(self.file("once", [*once, tied[2]]), "a." + profile, "-p", profile)
            b = self.compress(self.file("tied", tied), "b." + profile, "-p", profile)
            self.assertLess(stored(b + "/tied.safetensors.uw") - stored(a + "/once.safetensors.uw"), 512)
            tensors = {t["name"]: t for t in self.inspect(b)["files"][0]["tensors"]}
            self.assertEqual([tensors[n]["shared_groups"] for n in ("embed", "head", "other")], [0, tensors["head"]["groups"], 0])
            self.assertEqual(tensors["head"]["stored_bytes"], 0)
            self.assertTrue(self.inspect(b, "head")["detail"][0]["shared"])
            self.assertIn("(shared)", self.run_tool("inspect", b, "head").stdout)
            self.run_tool("verify", b, "--against", "tied.safetensors")
            self.restore(b, "r." + profile)
            self.assertEqual(read(self.path("r." + profile)), read(self.path("tied.safetensors")))
            self.restore(b, "head." + profile, "--tensor", "head")
            self.assertEqual(read(self.path("head." + profile)), W)
            with open(b + "/tied.safetensors.uw", "rb") as f:
                self.assertEqual(b"".join(unweight_decoder.Container(f).decode()), read(self.path("tied.safetensors")))

    def test_threads_and_bytes(self):
        """The same container for each number of threads, and from a bundle that shared nothing or everything."""
        rng = random.Random(4)
        parts = [W, weights(256 * 512, 5), bf16(rng.choices(range(100, 130), k=1 << 17), rng)]
        tensors = [("t%d" % i, "BF16", (256, 512), rng.choice(parts)) for i in range(24)]
        self.file("m", tensors)
        first = read(self.compress("m.safetensors", "t1", "-T", "1") + "/m.safetensors.uw")
        self.assertLess(len(first), 4 * 2 * len(W))
        for n in "2", "3", "8":
            self.assertEqual(read(self.compress("m.safetensors", "t" + n, "-T", n) + "/m.safetensors.uw"), first)
        self.assertEqual(read(self.compress("t8", "again") + "/m.safetensors.uw"), first)
        self.assertEqual(read(self.compress(self.compress("m.safetensors", "p4", "-p", "inference"), "back") + "/m.safetensors.uw"), first)
        self.run_tool("verify", "t1", "--against", "m.safetensors")

    def test_shapes_and_codings(self):
        """Equal bytes in other shapes are no equal groups where the shape decides on the coded bytes; all are restored."""
        tensors = [("a", "BF16", (256, 512), W), ("b", "BF16", (512, 256), W), ("c", "BF16", (131072,), W), ("d", "BF16", (131072,), W),
                   ("e", "U8", (262144,), W), ("f", "I16", (256, 512), W), ("g", "U8", (9 << 20,), NOISE), ("h", "I8", (9 << 20,), NOISE),
                   ("i", "U8", (1 << 24,), bytes(1 << 24)), ("j", "U8", (1 << 23,), bytes(1 << 23)), ("k", "U8", (0,), b""), ("l", "U8", (0,), b"")]
        self.file("m", tensors)
        b = self.compress("m.safetensors", "b")
        shared = {t["name"]: (t["shared_groups"], t["groups"]) for t in self.inspect(b)["files"][0]["tensors"]}
        self.assertEqual({n for n, (k, g) in shared.items() if k == g and g}, {"d", "f", "h", "j"})
        self.assertEqual(shared["i"], (1, 2))           # equal groups within one tensor
        self.run_tool("verify", b, "--against", "m.safetensors")
        self.restore(b, "r")
        self.assertEqual(read(self.path("r")), read(self.path("m.safetensors")))
        self.restore(b, "r.tar.gz")

    def test_nearly_equal(self):
        """One bit, in a group that is stored RAW and of the same size."""
        other = bytearray(NOISE)
        other[-1] ^= 1
        self.file("m", [("a", "U8", (len(NOISE),), NOISE), ("b", "U8", (len(NOISE),), bytes(other))])
        b = self.compress("m.safetensors", "b")
        self.assertEqual([t["shared_groups"] for t in self.inspect(b)["files"][0]["tensors"]], [0, 1])
        self.run_tool("verify", b, "--against", "m.safetensors")

    def test_damage(self):
        """A damaged byte that two tensors share is found for the first of them at the checksum level, and by both alone."""
        self.file("m", [("a", "BF16", (256, 512), W), ("b", "BF16", (256, 512), W)])
        path = self.compress("m.safetensors", "b") + "/m.safetensors.uw"
        data = bytearray(read(path))
        data[len(data) // 2] ^= 1
        write(path, data)
        for level in "checksum", "decode":
            self.assertIn("tensor 'a'", self.run_tool("verify", "b", "-l", level, expect=5).stderr)
        for name in "a", "b":
            self.run_tool("decompress", "b", "-o", "out", "--tensor", name, expect=5)
            self.assert_nothing("out")

    def test_opaque(self):
        """A file that is no safetensors file shares too."""
        write(self.path("m.bin"), NOISE[:1 << 23] * 3)
        b = self.compress("m.bin", "b")
        if os.path.exists(b + "/m.bin.uw"):
            self.assertLess(stored(b + "/m.bin.uw"), (1 << 23) + 4096)
        self.run_tool("verify", b, "--against", "m.bin")
