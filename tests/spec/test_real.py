# SPDX-License-Identifier: Apache-2.0
"""A real model, small: what the tools make of it is restored by the decoder written from SPEC.md, and is as small as promised.

UW_TOOLS names the folder of the tools, UW_SAMPLE that of the model (samples/shakespeare-llama if not set).
"""

import json
import math
import os
import struct
import subprocess
import sys
import unittest
from array import array
from collections import Counter

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import MANIFEST, Case, read, read_tree

DECODER = os.path.join(HERE, "unweight_decoder.py")
SAMPLE = os.path.abspath(os.environ.get("UW_SAMPLE") or os.path.join(HERE, "..", "..", "samples", "shakespeare-llama"))

RATIO = {"distribution": 0.680, "inference": 0.757}     # .uw files and manifest, to the safetensors files
LARGE = 90000                                           # weights of a matrix that the limits by weight are for
ABOVE_ENTROPY = 0.17                                    # bits a weight, distribution
INFERENCE_BITS = 12.1                                   # bits a weight, unless it has many escapes
FEW_ESCAPES = 5e-4


def exponent_entropy(data):
    """Bits a weight that no code of single exponents can go below."""
    words = array("H", data)
    if sys.byteorder == "big":
        words.byteswap()
    n = len(words)
    counts = Counter()
    for word, count in Counter(words).items():
        counts[word >> 7 & 0xFF] += count
    return -sum(c / n * math.log2(c / n) for c in counts.values())


def large_matrices(path):
    """{name: entropy} of the BF16 matrices of a safetensors file."""
    data = read(path)
    start = 8 + struct.unpack("<Q", data[:8])[0]
    found = {}
    for name, tensor in json.loads(data[8:start]).items():
        if name == "__metadata__" or tensor["dtype"] != "BF16" or len(tensor["shape"]) < 2:
            continue
        begin, end = tensor["data_offsets"]
        if (end - begin) // 2 >= LARGE:
            found[name] = exponent_entropy(data[start + begin:start + end])
    return found


class RealModel(Case):
    @classmethod
    def setUpClass(cls):
        cls.model = {path: data for path, (data, _) in read_tree(SAMPLE).items()}
        cls.weights = sorted(path for path in cls.model if path.endswith(".safetensors"))
        cls.entropy = {}
        for path in cls.weights:
            cls.entropy.update(large_matrices(os.path.join(SAMPLE, path)))

    def pack(self, profile):
        self.assertGreater(len(self.weights), 0, SAMPLE)
        return self.compress(SAMPLE, profile, "-p", profile)

    def check_restored(self, bundle):
        out = self.path("restored")
        r = subprocess.run([sys.executable, "-B", DECODER, bundle, out], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           check=False)
        self.assertEqual(r.returncode, 0, r.stdout.decode())
        restored = read_tree(out)
        self.assertEqual(sorted(restored), sorted(self.model))
        for path, data in self.model.items():
            self.assertTrue(restored[path][0] == data, path)

    def check_ratio(self, bundle, profile):
        stored = sum(len(data) for path, (data, _) in read_tree(bundle).items() if path.endswith(".uw") or path == MANIFEST)
        source = sum(len(self.model[path]) for path in self.weights)
        print("  %-12s %d -> %d bytes, %.4f (limit %.3f)" % (profile, source, stored, stored / source, RATIO[profile]))
        self.assertLessEqual(stored / source, RATIO[profile])

    def large(self, bundle):
        """(name, bits a weight, escapes a weight) of each large matrix."""
        found = []
        for file in self.inspect(bundle)["files"]:
            for t in file["tensors"]:
                if t["name"] in self.entropy:
                    n = t["bytes"] // 2
                    found.append((t["name"], 8 * t["stored_bytes"] / n, t["patches"] / n))
        self.assertEqual(sorted(name for name, _, _ in found), sorted(self.entropy))
        self.assertGreater(len(found), 0)
        return found

    def test_distribution(self):
        bundle = self.pack("distribution")
        self.check_ratio(bundle, "distribution")
        worst = max((bits - 8 - self.entropy[name], name) for name, bits, _ in self.large(bundle))
        print("  at most %.3f bits above 8 + H(exponent), in %s" % worst)
        for name, bits, _ in self.large(bundle):
            with self.subTest(tensor=name):
                self.assertLessEqual(bits, 8 + self.entropy[name] + ABOVE_ENTROPY)
        self.check_restored(bundle)

    def test_inference(self):
        bundle = self.pack("inference")
        self.check_ratio(bundle, "inference")
        few = [t for t in self.large(bundle) if t[2] < FEW_ESCAPES]
        self.assertGreater(len(few), 0)
        print("  at most %.3f bits a weight, in %s (%d of %d matrices have few escapes)" % (
            *max((bits, name) for name, bits, _ in few), len(few), len(self.entropy)))
        for name, bits, _ in few:
            with self.subTest(tensor=name):
                self.assertLessEqual(bits, INFERENCE_BITS)
        self.check_restored(bundle)


if __name__ == "__main__":
    unittest.main()
