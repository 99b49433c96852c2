# SPDX-License-Identifier: Apache-2.0
"""samples/generate on the emulated CUDA device, on a tiny Llama: in every pipeline the text and, bit for bit, the scores of
a reference that adds in the same order; the text and, within a bound, the scores of the CPU backend."""

import json
import math
import os
import random
import re
import struct
import subprocess
import sys
import unittest
from array import array

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cli"))
import common  # noqa: E402

EMULATED = os.environ["UW_GENERATE_EMULATED"]
GENERATE = os.environ["UW_GENERATE"]
LEVEL = ["--level", os.environ["UW_CPU_LEVEL"]] if os.environ.get("UW_CPU_LEVEL") else []
PIPELINES = "auto", "raw", "decode", "exponent", "transcode", "palette"
RUN = ["--bytes", "4", "tiny", "a", "to be, or"]     # the last bytes of three prompts in one batch

# Hardly anything is a multiple of a tile, and FFN none of 8, so that rows of x are padded. No size is far below the next
# multiple of 64: what pads would be coded too, and the bundle store the matrix as it is.
LAYERS, HIDDEN, FFN, HEADS, KV_HEADS, HEAD_DIM, VOCAB, CONTEXT = 1, 120, 188, 4, 2, 30, 256, 24

# The processor adds in another order: FP32 sums of fewer than 200 products differ by some 2^-22. Seldom that moves an
# activation across a rounding boundary of BF16, by 2^-8 of itself; it is one of 120 then that are added. Relative to
# the Euclidean norm of all scores (measured, with none across: 6e-8):
BOUND = 2.0 ** -11


def gaussian(rng, nrows, ncols, scale):
    def word(value):
        bits = struct.unpack("<I", struct.pack("<f", value))[0]
        return (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return common.words(word(rng.gauss(0, scale)) for _ in range(nrows * ncols))


def tiny_llama():
    rng = random.Random(5)
    tensors = []

    def matrix(name, nrows, ncols, scale=None):
        data = gaussian(rng, nrows, ncols, scale or ncols ** -0.5)
        tensors.append((name + ".weight", "BF16", (nrows, ncols), data))

    def norm(name):
        tensors.append((name + ".weight", "BF16", (HIDDEN,), common.words([0x3F80 + rng.randrange(32) for _ in range(HIDDEN)])))

    matrix("model.embed_tokens", VOCAB, HIDDEN, 1.0)
    for i in range(LAYERS):
        layer = "model.layers.%d." % i
        norm(layer + "input_layernorm")
        matrix(layer + "self_attn.q_proj", HEADS * HEAD_DIM, HIDDEN)
        matrix(layer + "self_attn.k_proj", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(layer + "self_attn.v_proj", KV_HEADS * HEAD_DIM, HIDDEN)
        matrix(layer + "self_attn.o_proj", HIDDEN, HEADS * HEAD_DIM)
        norm(layer + "post_attention_layernorm")
        matrix(layer + "mlp.gate_proj", FFN, HIDDEN)
        matrix(layer + "mlp.up_proj", FFN, HIDDEN)
        matrix(layer + "mlp.down_proj", HIDDEN, FFN)
    norm("model.norm")
    matrix("lm_head", VOCAB, HIDDEN)
    config = {"model_type": "llama", "num_hidden_layers": LAYERS, "hidden_size": HIDDEN, "intermediate_size": FFN,
              "num_attention_heads": HEADS, "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "vocab_size": VOCAB,
              "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False}
    return {"model.safetensors": common.safetensors(tensors), "config.json": json.dumps(config).encode()}


def floats(data):
    values = array("f")
    values.frombytes(data)
    return values


class Generate(common.Case):
    def setUp(self):
        super().setUp()
        self.model(tiny_llama())
        for profile in common.PROFILES:
            self.compress("model", profile, "--profile", profile)

    def generate(self, program, *arguments, **env):
        """Text, scores, and what stands on standard error as {what: number}."""
        path = self.path("logits")
        r = subprocess.run([program, *arguments, "--logits", path, *RUN], capture_output=True, check=False, cwd=self.dir,
                           timeout=common.TIMEOUT, env=common.environment(**env))
        self.assertEqual(r.returncode, 0, r.stderr)
        counts = dict(re.findall(r"^([a-z ]+) (\d+)$", r.stderr.decode(), re.M))   # AddressSanitizer warns about fibers
        return r.stdout, common.read(path), {k: int(v) for k, v in counts.items()}

    def test_the_models_are_compressed(self):
        for profile, coding in zip(common.PROFILES, ("H", "P4")):
            codings = [(t["name"], t["coding"]) for f in self.inspect(profile)["files"] for t in f["tensors"]
                       if len(t["shape"]) == 2]
            self.assertEqual(len(codings), 2 + 7 * LAYERS)
            self.assertEqual({c for _, c in codings}, {coding}, codings)

    def test_every_pipeline_has_the_bits_of_the_same_order(self):
        text, scores, _ = self.generate(EMULATED, "distribution")
        self.assertEqual(len(text), sum(len(prompt) + 4 + 1 for prompt in RUN[2:]))
        for profile in common.PROFILES:
            for pipeline in PIPELINES:
                got, logits, counts = self.generate(EMULATED, profile, "--device", "cuda", "--pipeline", pipeline)
                self.assertEqual(got, text, (profile, pipeline))
                self.assertTrue(logits == scores, (profile, pipeline))
                self.assertGreater(counts["launches"], 0)
                self.assertEqual(counts["allocations left"], 0)
                decodes = pipeline == "decode" or (pipeline, profile) == ("exponent", "distribution")
                self.assertEqual(counts["decodings"] > 4 * 4 * LAYERS, decodes, (profile, pipeline, counts))

    def test_ampere_and_batch_invariance(self):
        text, scores, _ = self.generate(EMULATED, "inference")
        for arguments, capability in (([], "80"), (["--batch-invariant"], "80"), (["--batch-invariant"], "90")):
            got, logits, _ = self.generate(EMULATED, "inference", "--device", "cuda", *arguments, EMU_CAPABILITY=capability)
            self.assertEqual(got, text, (arguments, capability))
            self.assertTrue(logits == scores, (arguments, capability))

    def test_the_processor_says_the_same(self):
        text, scores, _ = self.generate(EMULATED, "inference", "--device", "cuda")
        got, logits, _ = self.generate(GENERATE, "inference", *LEVEL)
        self.assertEqual(got, text)
        a, b = floats(logits), floats(scores)
        self.assertEqual(len(a), len(b))
        norm = math.sqrt(sum(v * v for v in b))
        self.assertLess(math.dist(a, b), BOUND * norm)
        self.assertGreater(norm, 1)

    def test_no_such_device(self):
        r = subprocess.run([EMULATED, "inference", "--device", "cuda:1"], capture_output=True, check=False, cwd=self.dir)
        self.assertEqual(r.returncode, 8)
        self.assertIn(b"no driver, or no device 1 ", r.stderr)
        self.assertEqual(r.stdout, b"")


if __name__ == "__main__":
    unittest.main()
