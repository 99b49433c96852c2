# SPDX-License-Identifier: Apache-2.0
"""unweight-tune and unweight-bench: what they write, and what they refuse. How long things take is never asserted."""

import json
import os
import re
import signal
import subprocess
import time
import unittest
import xml.etree.ElementTree as ET

from common import PROFILES, TIMEOUT, Case, environment, read, safetensors, tool_command, weights, write

SAMPLE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "samples", "shakespeare-llama")
SHAPES = {(96, 192), (192, 192), (192, 512), (256, 192), (512, 192)}   # of the sample's matrices
PIPELINES = {"distribution": {"decode", "exponent", "transcode"}, "inference": {"decode", "exponent", "palette"}}
CODING = {"distribution": "h", "inference": "p4"}
OUTPUT = {"tune": ("-o", "t"), "bench": ("--json", "t")}
QUICK = "--cycle", "0.5", "--budget", "0.2"


def lines_of(text):
    first, *rest = text.splitlines()
    return first, [tuple(line.split(" ")) for line in rest if not line.startswith("#")]


class Tune(Case):
    def sample(self, profile="inference"):
        return self.compress(SAMPLE, profile, "-p", profile)

    def tune(self, bundle, *args, **more):
        return self.run_tool("tune", bundle, "-T", "1", *QUICK, *args, **more)

    def check_tuning(self, text, profile, batches, pipelines):
        """Every shape and batch has its line, in the order in which the library prints them."""
        first, lines = lines_of(text)
        self.assertEqual(first, "unweight-tuning 1")
        self.assertEqual([tuple(map(int, line[1:4])) for line in lines], [(*s, b) for s in sorted(SHAPES) for b in batches])
        for coding, _, _, _, pipeline, nanoseconds, *_ in lines:
            self.assertEqual(coding, CODING[profile])
            self.assertIn(pipeline, pipelines)
            self.assertGreaterEqual(int(nanoseconds), 0)

    def test_sample(self):
        for profile in PROFILES:
            with self.subTest(profile):
                r = self.tune(self.sample(profile), "--buckets", "1,4,32", "-o", "t")
                self.assertEqual(r.stdout, "")
                self.check_tuning(read(self.path("t")).decode(), profile, [1, 4, 32], PIPELINES[profile])
                for rows, columns in SHAPES:
                    self.assertIn("%s, %d x %d: " % (CODING[profile], rows, columns), r.stderr)
                self.assertIn("one layer, 7 matrices", r.stderr)

    def test_threads_and_raw(self):
        r = self.run_tool("tune", self.sample(), "-T", "2", "--device", "cpu", "--allow-raw", *QUICK, "--buckets", "8")
        self.check_tuning(r.stdout, "inference", [8], PIPELINES["inference"] | {"raw"})
        self.assertTrue(r.stderr.startswith("2 threads; "))

    def test_no_device(self):
        """Where there is none: nothing is written. Devices of a number that no machine reaches are nowhere."""
        bundle = self.sample()
        write(self.path("t"), b"old")
        r = self.tune(bundle, "--device", "cuda:9999", "-o", "t", expect=8)
        self.assertRegex(r.stderr, r"^unweight-tune: cuda:9999: [^\n]*(built without CUDA|no driver, or no device 9999 [^\n]*)\n$")
        self.assertEqual(read(self.path("t")), b"old")
        for device in "cuda:", "cuda:-1", "cuda:x", "cuda:12345", "cudax", "gpu", "":
            self.assertIn("no device '%s'" % device, self.tune(bundle, "--device", device, expect=2).stderr)
        for option in "--require-bitexact", "--batch-invariant":
            self.assertIn("--device cuda", self.tune(bundle, option, expect=2).stderr)

    def test_cpu_levels(self):
        bundle = self.sample()
        for level in "c", "avx2", "avx512":
            r = self.tune(bundle, "--buckets", "1", "-o", "-", env={"UW_CPU_LEVEL": level})
            self.check_tuning(r.stdout, "inference", [1], PIPELINES["inference"])
        self.tune(bundle, env={"UW_CPU_LEVEL": "fast"}, expect=2)

    def test_one_shape_without_layers(self):
        """A name that says nothing: the layer is the matrix."""
        write(self.path("m.safetensors"), safetensors([("w", "BF16", (320, 256), weights(320 * 256))]))
        r = self.tune(self.compress("m.safetensors", "b", "-p", "inference"), "--buckets", "1", "-o", "-")
        self.assertEqual([line[:4] for line in lines_of(r.stdout)[1]], [("p4", "320", "256", "1")])
        self.assertIn("one layer, 1 matrices", r.stderr)

    def test_replaces_its_file(self):
        write(self.path("t"), b"old")
        self.tune(self.sample(), "--buckets", "1", "-o", "t")
        self.assertTrue(read(self.path("t")).startswith(b"unweight-tuning 1\n"))
        self.tune(self.path("inference"), "--buckets", "1", "-o", "no/t", expect=3)

    def test_verbose(self):
        r = self.tune(self.sample(), "--buckets", "1", "-v")
        self.assertRegex(r.stderr, r"(?m)^unweight-tune: +\d+%  shape 5 of 5, batch 1$")
        self.assertRegex(r.stderr, r"(?m)^unweight-tune: +\d+%  layer, batch 1$")

    def test_interrupted(self):
        bundle = self.sample()
        p = subprocess.Popen(tool_command("tune", bundle, "--cycle", "1", "--budget", "1000", "-v", "-o", "t"), cwd=self.dir,
                             stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment(), text=True)
        while "batch" not in p.stderr.readline():
            self.assertIsNone(p.poll())
        time.sleep(0.1)
        p.send_signal(signal.SIGINT)
        _, err = p.communicate(timeout=TIMEOUT)
        self.assertEqual(p.returncode, -signal.SIGINT, err)
        self.assert_nothing("t")

    def test_nothing_to_tune(self):
        """Vectors, other dtypes, matrices that are not compressed."""
        tensors = [("norm.weight", "BF16", (4096,), weights(4096)), ("f", "F32", (64, 64), bytes(4 * 64 * 64)),
                   ("small", "BF16", (2, 3), weights(6))]
        write(self.path("m.safetensors"), safetensors(tensors))
        for tool in "tune", "bench":
            r = self.run_tool(tool, self.compress("m.safetensors", "b", "-f"), *OUTPUT[tool], expect=3)
            self.assertIn("no compressed BF16 matrix", r.stderr)
            self.assert_nothing("t")

    def test_damaged(self):
        """Containers cut short."""
        bundle = self.sample("distribution")
        for name in os.listdir(bundle):
            if name.endswith(".uw"):
                data = read(os.path.join(bundle, name))
                write(os.path.join(bundle, name), data[:len(data) // 2])
        for tool in "tune", "bench":
            self.run_tool(tool, bundle, "--cycle", "0.1", "--budget", "0.1", expect=5)


class Bench(Case):
    def bench(self, *args, **more):
        return self.run_tool("bench", "-T", "1", *QUICK, *args, **more)

    def check_report(self, report, shapes, batches, codings):
        self.assertEqual(report["schema"], "unweight-bench-1")
        self.assertEqual({(s["rows"], s["columns"]) for s in report["shapes"]}, shapes)
        for shape in report["shapes"]:
            self.assertGreaterEqual(shape["copies"], 2)
            self.assertEqual([b["batch"] for b in shape["batches"]], batches)
            for batch in shape["batches"]:
                ours = [t for t in batch["times"] if t["pipeline"] != "onednn"]
                want = {(None, "raw")} | {(c, p) for c in codings for p in PIPELINES["distribution" if c == "h" else "inference"]}
                self.assertEqual({(t["coding"], t["pipeline"]) for t in ours}, want)
                self.assertEqual(ours[0]["x_raw"], 1)
                for t in batch["times"]:
                    self.assertGreater(t["seconds"], 0)
                    self.assertGreater(t["gb_per_s"], 0)

    def check_plot(self, path, nshapes, nlines):
        root = ET.fromstring(read(path))
        svg = "{http://www.w3.org/2000/svg}"
        self.assertEqual(len(root.findall(svg + "g")), nshapes)
        lines = [p for p in root.iter(svg + "path") if p.get("fill") == "none"]
        self.assertEqual(len(lines) % nshapes, 0)
        self.assertGreaterEqual(len(lines), nshapes * nlines)
        numbers = re.findall(rb"\b(?:nan|inf)\b", read(path))
        self.assertEqual(numbers, [])

    def test_shape(self):
        r = self.bench("--shape", "256x320", "-b", "1,3,16", "--json", "j", "--svg", "s")
        self.check_report(json.loads(read(self.path("j"))), {(256, 320)}, [1, 3, 16], ["h", "p4"])
        self.check_plot(self.path("s"), 1, 7)
        for words in "h transcode", "p4 palette", "x onednn", "256 x 320":
            self.assertIn(words, r.stdout)
        self.assertEqual(r.stderr, "")

    def test_bundles(self):
        for profile in PROFILES:
            with self.subTest(profile):
                bundle = self.compress(SAMPLE, profile, "-p", profile)
                r = self.bench(bundle, "--batch", "1,8", "--json", "-", "--svg", "s")
                report = json.loads(r.stdout)
                self.assertEqual((report["what"], report["threads"]), (bundle, 1))
                self.check_report(report, SHAPES, [1, 8], [CODING[profile]])
                self.check_plot(self.path("s"), 5, 4)

    def test_one_batch_and_two_threads(self):
        """LeakSanitizer falls over the threads that OpenMP, loaded with oneDNN, keeps until the end."""
        r = self.run_tool("bench", "--shape", "128x128", *QUICK, "-T", "2", "-b", "4", "--svg", "-",
                          env={"ASAN_OPTIONS": "exitcode=99:detect_leaks=0"})
        write(self.path("s"), r.stdout.encode())
        self.check_plot(self.path("s"), 1, 7)

    def test_ragged_shape(self):
        self.bench("--shape", "300x512", "-b", "1", "--json", "j")
        self.check_report(json.loads(read(self.path("j"))), {(300, 512)}, [1], ["h", "p4"])

    def test_shape_that_is_not_coded(self):
        """Small ragged matrices are not in tiled order."""
        self.bench("--shape", "3x5", "-b", "1", expect=3)


class Usage(Case):
    def test_errors(self):
        cases = {"tune": [[], ["b", "b"], ["b", "--buckets", "3"], ["b", "--buckets", "8,4"], ["b", "--buckets", "1,,2"],
                          ["b", "--buckets", ""], ["b", "--buckets", "8192"], ["b", "--buckets", "1,"], ["b", "--budget", "0"],
                          ["b", "--budget", "x"], ["b", "--budget", "1s"], ["b", "--device", "gpu"], ["b", "--cycle", "-1"],
                          ["b", "-T", "x"], ["b", "-o"]],
                 "bench": [[], ["b", "b"], ["b", "--shape", "4x4"], ["--shape", "4"], ["--shape", "4x"], ["--shape", "0x4"],
                           ["--shape", "4x4x4"], ["--shape", "1048577x4"], ["--shape", "1048576x1048576"], ["b", "-b", "0"],
                           ["b", "-b", "2,1"], ["b", "--json", "-", "--svg", "-"], ["b", "--budget", "nan"]]}
        for tool, lines in cases.items():
            for args in lines:
                with self.subTest(tool, args=args):
                    r = self.run_tool(tool, *args, expect=2)
                    self.assertEqual(r.stdout, "")
                    self.assertTrue(r.stderr.startswith("unweight-%s: " % tool), r.stderr)

    def test_missing(self):
        for tool in "tune", "bench":
            self.assertIn("No such file", self.run_tool(tool, "nosuch", expect=3).stderr)


if __name__ == "__main__":
    unittest.main()
