# SPDX-License-Identifier: Apache-2.0
"""What test_flip.c shows for every bit, seen from outside: unweight-verify answers damage with 5, names the file and never dies."""

import os
import random
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))

from common import MANIFEST, PROFILES, Case, read, read_tree, safetensors, weights, write

CHANGES = 60
CORRUPT = 5


class Damage(Case):
    def setUp(self):
        super().setUp()
        self.model({"config.json": b"{}\n", "bin/run.sh": (b"#!/bin/sh\n", True), "notes.uw": b"not one of ours\n",
                    "m.safetensors": safetensors([("layers.0.up", "BF16", (64, 64), weights(4096)),
                                                  ("norm", "BF16", (64,), weights(64, 2)),
                                                  ("steps", "I64", (4,), bytes(32))])})

    def assert_corrupt(self, path, *args):
        """What is wrong with the file at `path` of the bundle is told with its name, or that of the file it holds."""
        r = self.run_tool("verify", "bundle", *args, expect=CORRUPT)
        self.assertIn(path[:-3] if path.endswith(".uw") else path, r.stderr)
        self.assertLessEqual(len(r.stderr.splitlines()), 2, r.stderr)

    def test_random_damage(self):
        rng = random.Random(20261121)
        for profile in PROFILES:
            bundle = self.compress("model", "bundle", "-f", "-p", profile)
            self.run_tool("verify", bundle)
            whole = {path: data for path, (data, _) in read_tree(bundle).items()}
            paths = sorted(whole)
            for i in range(CHANGES // len(PROFILES)):
                path, level = paths[i % len(paths)], ("checksum", "decode")[i // len(paths) % 2]
                data, at = bytearray(whole[path]), rng.randrange(len(whole[path]))
                if i % 3 == 2:
                    change, data = "cut at", data[:at]
                else:
                    change, data[at] = "flip in", data[at] ^ 1 << rng.randrange(8)
                with self.subTest(profile=profile, path=path, change="%s %d" % (change, at), level=level):
                    write(os.path.join(bundle, path), data)
                    self.assert_corrupt(path, "--level", level)
                    write(os.path.join(bundle, path), whole[path])
            self.run_tool("verify", bundle)

    def test_version_is_damage_unless_sealed(self):
        """A flipped version is damage, not a version of the future."""
        bundle = self.compress("model")
        for path, at in (("m.safetensors.uw", 8), ("m.safetensors.uw", 9), (MANIFEST, read(bundle + "/" + MANIFEST).index(b":1,") + 1)):
            full = os.path.join(bundle, path)
            whole = read(full)
            write(full, whole[:at] + bytes([whole[at] ^ 3]) + whole[at + 1:])
            self.assert_corrupt(path)
            for tool, *more in (("decompress", "-o", "out"), ("inspect",), ("compress", "-o", "out")):
                self.run_tool(tool, "bundle", *more, expect=CORRUPT)
                self.assert_nothing("out")
            write(full, whole)

    def test_tensor_is_named(self):
        bundle = self.compress("model")
        full = os.path.join(bundle, "m.safetensors.uw")
        whole = read(full)
        groups = self.inspect("bundle", "layers.0.up")["detail"]
        self.assertEqual(len(groups), 1)
        at = groups[0]["offset"] + groups[0]["stored_bytes"] - 1
        write(full, whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1:])
        r = self.run_tool("verify", "bundle", expect=CORRUPT)
        self.assertIn("m.safetensors: tensor 'layers.0.up'", r.stderr)
        self.assertIn("at offset %d" % groups[0]["offset"], r.stderr)
        report = self.path("report.json")
        self.run_tool("verify", "bundle", "--json", report, expect=CORRUPT)
        self.assertIn(b"layers.0.up", read(report))


if __name__ == "__main__":
    unittest.main()
