# SPDX-License-Identifier: Apache-2.0
"""Text from compressed weights: the reference's text, the same scores as from BF16 weights, whatever the batch and threads."""

import json
import os
import subprocess
import sys
import tempfile
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(__file__), "..", "cli"))
import common  # noqa: E402

GENERATE = os.environ["UW_GENERATE"]
LEVEL = ["--level", os.environ["UW_CPU_LEVEL"]] if os.environ.get("UW_CPU_LEVEL") else []
SAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "samples", "shakespeare-llama")
with open(os.path.join(SAMPLE, "reference.json"), encoding="utf-8") as f:
    REFERENCE = json.load(f)
PROMPTS = "ROMEO:\n", "First Citizen:", "a", "What say you, my lord?\n"


class Generate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tmp = tempfile.TemporaryDirectory(prefix="unweight-generate-")
        cls.bundles = {}
        for profile in common.PROFILES:
            cls.bundles[profile] = os.path.join(cls.tmp.name, profile)
            subprocess.run([common.tool_path("compress"), SAMPLE, "-o", cls.bundles[profile], "--profile", profile],
                           check=True, capture_output=True)

    @classmethod
    def tearDownClass(cls):
        cls.tmp.cleanup()

    def generate(self, bundle, *arguments, code=0):
        r = subprocess.run([GENERATE, bundle, *LEVEL, *arguments], capture_output=True, timeout=300)
        self.assertEqual(r.returncode, code, r.stderr.decode(errors="replace"))
        return r.stdout.decode() if code == 0 else r.stderr.decode()

    def logits(self, profile, *arguments):
        path = os.path.join(self.tmp.name, "logits")
        text = self.generate(self.bundles[profile], "--logits", path, *arguments)
        with open(path, "rb") as file:
            return text, file.read()

    def test_text_of_the_reference(self):
        greedy = REFERENCE["greedy_fp32"]
        for profile in common.PROFILES:
            self.assertEqual(self.generate(self.bundles[profile], "--bytes", str(greedy["new_bytes"]), greedy["prompt"]),
                             greedy["text"] + "\n")

    def test_scores_are_those_of_raw_weights(self):
        for batch in 1, 3, 8, 17, 64:
            run = ["--batch", str(batch), "--bytes", "6", *PROMPTS]
            want = self.logits("inference", "--weights", "raw", "--threads", "1", *run)
            self.assertEqual(len(want[0].split("\n")) > batch, True)
            for profile in common.PROFILES:
                for threads in "1", "2":
                    for weights in "raw", "compressed":
                        self.assertTrue(self.logits(profile, "--weights", weights, "--threads", threads, *run) == want,
                                        (profile, batch, threads, weights))

    def test_every_pipeline(self):
        want = self.logits("inference", "--weights", "raw", *PROMPTS)
        for profile in common.PROFILES:
            for pipeline in "decode", "exponent", "transcode", "palette":
                self.assertTrue(self.logits(profile, "--pipeline", pipeline, *PROMPTS) == want, (profile, pipeline))

    def test_perplexity(self):
        for profile in common.PROFILES:
            text = self.generate(self.bundles[profile], "--perplexity", os.path.join(SAMPLE, "valid.txt"))
            self.assertLess(abs(float(text.split()[0]) - REFERENCE["valid_txt"]["nll_nats_per_byte_fp32"]), 0.01)

    def test_cuda(self):
        """Without a device: says so, and nothing else comes. With one: compressed weights have the scores of raw ones."""
        path = os.path.join(self.tmp.name, "cuda")
        run = "--device", "cuda", "--bytes", "20", "--logits", path, *PROMPTS
        results = set()
        for profile in common.PROFILES:
            for weights in "raw", "compressed":
                r = subprocess.run([GENERATE, self.bundles[profile], "--weights", weights, *run], capture_output=True, timeout=300)
                if r.returncode != 0:
                    self.assertEqual((r.returncode, r.stdout), (8, b""), r.stderr)
                    self.assertRegex(r.stderr.decode(), "^generate: .*(built without CUDA|no driver, or no device 0|compute capability).*\n$")
                    continue
                results.add((r.stdout, common.read(path)))
        self.assertLessEqual(len(results), 1)
        r = subprocess.run([GENERATE, self.bundles["inference"], "--device", "cuda:1023"], capture_output=True, timeout=300)
        self.assertEqual((r.returncode, r.stdout), (8, b""), r.stderr)

    def test_what_it_does_not_serve(self):
        self.assertIn("usage", self.generate("x", "--batch", "0", code=2))
        self.assertIn("usage", self.generate("x", "--pipeline", "fast", code=2))
        for device in "gpu", "cudax", "cuda:", "cuda:-1", "cuda:x", "":
            self.assertIn("usage", self.generate("x", "--device", device, code=2))
        self.assertIn("No such file", self.generate(os.path.join(self.tmp.name, "none"), code=1))
        self.assertIn("context", self.generate(self.bundles["inference"], "x" * 192, code=1))
        with tempfile.TemporaryDirectory() as tmp:
            model, bundle = os.path.join(tmp, "m"), os.path.join(tmp, "b")
            os.mkdir(model)
            for name, text in ("tokenizer.json", "{}"), ("config.json", '{"model_type": "llama"}'):
                with open(os.path.join(model, name), "w", encoding="utf-8") as file:
                    file.write(text)
            subprocess.run([common.tool_path("compress"), model, "-o", bundle], check=True, capture_output=True)
            self.assertIn("tokenizer.json", self.generate(bundle, code=1))


if __name__ == "__main__":
    unittest.main()
