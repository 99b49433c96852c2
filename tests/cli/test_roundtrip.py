# SPDX-License-Identifier: Apache-2.0
"""What goes in comes out, byte for byte, whatever it is and whatever way it takes; and the same bundle every time."""

import gzip
import hashlib
import json
import math
import os
import random
import shutil
import subprocess
import tarfile
import unittest

from common import (PROFILES, Case, histogram, read, read_tree, rows_of_scales, safetensors, small_model, tar_bytes, tar_member, tar_of,
                    tree_of_tar, tree_of_zip, weights, words, write, write_tree, zip_of)

SIZES = 0, 1, 63, 64, 65, 1000, 1023, 1024, 1025, 8191, 8192, 8193
SHAPES = [(n,) for n in SIZES] + [
    (), (0,), (0, 64), (64, 0), (3, 0, 5), (1, 1), (1, 64), (64, 1), (16, 64), (17, 63), (37, 129), (63, 65), (64, 64),
    (65, 200), (129, 321), (1025, 64), (3, 7, 11), (2, 256, 256), (3, 250, 263), (2, 2, 300, 220), (64, 3, 3, 3),
    (32, 16, 5), (2, 1, 65536), (1, 1, 1, 1, 1, 1, 1, 7)]
DTYPES = {"BOOL": 8, "U8": 8, "I8": 8, "F8_E5M2": 8, "F8_E4M3": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "F8_E8M0": 8,
          "I16": 16, "U16": 16, "F16": 16, "I32": 32, "U32": 32, "F32": 32, "F64": 64, "C64": 64, "I64": 64, "U64": 64,
          "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6}
NAMES = ["a", "", " ", "ünïcödé.权重.🏋", "../../x", "/etc/passwd", "C:\\x", "quote\"back\\slash", "tab\tline\nfeed", "\x01\x7f\x1b[31m",
         "\u202egnp.exe", "x" * 1024, "é" * 512, "%s%n%d", "a.uw", "unweight.json", "__metadata__2", "-", "--tensor"]


def fibonacci(n):
    numbers = [1, 1]
    while len(numbers) < n:
        numbers.append(numbers[-1] + numbers[-2])
    return numbers


VALUES = {
    "constant": words([0x3F80]) * 65536,
    "zero": words([0]) * 65536,
    "minus zero": words([0x8000]) * 65536,
    "infinities": words([0x7F80, 0xFF80]) * 32768,
    "NaN payloads": words(0x7F81 + i % 127 | i % 2 << 15 for i in range(65536)),
    "all patterns": words(range(65536)),
    "denormals": words(i % 128 | i % 2 << 15 for i in range(65536)),
    "random": random.Random(5).randbytes(131072),
    "one exponent": histogram({121: 65536}),
    "two exponents": histogram({120: 40000, 121: 25536}),
    "two far exponents": histogram({0: 32768, 255: 32768}),
    "16 exponents": histogram({112 + i: 4096 for i in range(16)}),
    "17 exponents": histogram({**{112 + i: 4093 for i in range(16)}, 200: 48}),
    "16 scattered": histogram({16 * i: 4096 for i in range(16)}),
    "fibonacci": histogram({112 + i: n for i, n in enumerate(fibonacci(22)[6:])}),
    "fibonacci 20": histogram({104 + i: n for i, n in enumerate(fibonacci(20))}),
    "weights": weights(65536),
}


def side_files():
    return {"config.json": b'{"tie_word_embeddings": true}\n', "tokenizer.model": bytes(range(256)), "empty": b"",
            "tools/run.sh": (b"#!/bin/sh\n", True), "modeling_x.py": b"import nothing\n", "README.md": "日本\n".encode(),
            "deep/er/and/deeper/data.bin": b"not a pickle", "ünïcödé 权重.txt": b"name", " ": b"blank name", "-o": b"like an option"}


def sharded_model():
    shards = {"model-%05d-of-000003.safetensors" % i:
              safetensors([("layers.%d.w" % i, "BF16", (96, 128), weights(96 * 128, i)), ("layers.%d.s" % i, "F32", (4,), bytes(16))],
                          {"format": "pt"}) for i in (1, 2, 3)}
    index = {"metadata": {"total_size": sum(map(len, shards.values()))},
             "weight_map": {"layers.%d.w" % i: path for i, path in enumerate(shards, 1)}}
    return {**side_files(), **shards, "model.safetensors.index.json": json.dumps(index).encode()}


class Content(Case):
    """One file of tensors after another, through both profiles."""

    def check(self, tensors, profile, **options):
        """Compresses the tensors as one file, proves every level of verification and the way back; returns what inspect says."""
        source = safetensors(tensors, **options)
        name = "m-%s.safetensors" % profile
        write(self.path(name), source)
        bundle = self.compress(name, "b-" + profile, "-p", profile)
        for level in "structure", "checksum", "decode":
            self.run_tool("verify", bundle, "--level", level, "--against", name)
        restored = self.restore(bundle, "r-" + profile)
        self.assertTrue(read(restored) == source, "restored file differs")
        file, = self.inspect(bundle)["files"]
        self.assertEqual([(t["name"], t["shape"], t["bytes"]) for t in file["tensors"]],
                         [(t[0], list(t[2]), len(t[3])) for t in tensors])
        return {t["name"]: t for t in file["tensors"]}

    def test_shapes(self):
        tensors = [("%d %s" % (i, s), "BF16", s, weights(math.prod(s), i)) for i, s in enumerate(SHAPES)]
        for profile, coding in zip(PROFILES, ("H", "P4")):
            with self.subTest(profile):
                seen = self.check(tensors, profile)
                by_shape = {tuple(t["shape"]): t for t in seen.values()}
                self.assertEqual(by_shape[1025, 64]["coding"], coding)
                self.assertEqual(by_shape[1025, 64]["order"], "tiled")
                self.assertEqual(by_shape[8192,]["order"], "linear")
                self.assertEqual(by_shape[64, 3, 3, 3]["order"], "linear")
                experts = by_shape[2, 256, 256]
                self.assertEqual((experts["order"], experts["groups"], experts["coding"]), ("tiled", 2, coding))
                self.assertEqual(by_shape[0, 64]["groups"], 0)

    def test_values(self):
        tensors = []
        for name, data in VALUES.items():
            n = len(data) // 2
            rows = next(r for r in range(256, 0, -1) if n % r == 0)
            tensors += [(name + ", tiled", "BF16", (rows, n // rows), data), (name + ", linear", "BF16", (n,), data),
                        (name + ", short", "BF16", (999,), data[:1998])]
        for profile in PROFILES:
            with self.subTest(profile):
                seen = self.check(tensors, profile)
                self.assertEqual(seen["random, linear"]["coding"], "raw")
                self.assertEqual(seen["16 exponents, linear"]["patches"], 0)
                self.assertEqual(seen["17 exponents, linear"]["patches"], 48)
                for name in "weights", "constant", "16 exponents", "17 exponents":
                    bits = 16 * seen[name + ", tiled"]["stored_bytes"] / seen[name + ", tiled"]["bytes"]
                    self.assertLess(bits, 12.7, name)

    def test_row_order(self):
        """Rows are stored in another order where their scales are of their own, in each group by itself."""
        tensors = [("rows", "BF16", (2, 208, 510), rows_of_scales(416, 510)), ("plain", "BF16", (208, 510), weights(208 * 510))]
        for profile in PROFILES:
            with self.subTest(profile):
                self.check(tensors, profile)
                for name, _, _, _ in tensors:
                    for group in self.inspect("b-" + profile, name)["detail"]:
                        self.assertEqual(group["row_order"], profile == "distribution" and name == "rows")

    def test_length_limit(self):
        """Fibonacci counts want codes of 15 bits; the tables have to stay at 7 and complete."""
        write(self.path("m.safetensors"), safetensors([("t", "BF16", (len(VALUES["fibonacci"]) // 2,), VALUES["fibonacci"])]))
        self.compress("m.safetensors")
        group, = self.inspect("bundle", "t")["detail"]
        self.assertEqual(group["coding"], "H")
        for table in group["tables"]:
            self.assertEqual(sum(2 ** (7 - n) for n in table["lengths"] if n), 128)
            self.assertEqual(max(table["lengths"]), 7)

    def test_dtypes(self):
        rng = random.Random(3)
        tensors = [(d, d, (4, 24), rng.randbytes(4 * 24 * bits // 8)) for d, bits in DTYPES.items()]
        tensors += [(d + " zeros", d, (5, 2000), bytes(5 * 2000 * bits // 8)) for d, bits in DTYPES.items()]
        tensors += [("unknown", "F3_E9M9", (7, 7), rng.randbytes(31)), ("bf16 lower", "bf16", (3,), b"abcdef"),
                    ("no bytes", "X", (9,), b""), ("none", "NONE", (2,), b"ab")]
        for profile in PROFILES:
            with self.subTest(profile):
                seen = self.check(tensors, profile)
                self.assertEqual({d: seen[d]["dtype"] for d in DTYPES}, {d: d for d in DTYPES})
                self.assertEqual(seen["unknown"]["dtype"], "OTHER")
                self.assertEqual(seen["F32 zeros"]["coding"], "zstd" if profile == "distribution" else "raw")

    def test_names(self):
        tensors = [(name, "BF16", (i + 1, 3), weights(3 * i + 3, i)) for i, name in enumerate(NAMES)]
        for profile in PROFILES:
            with self.subTest(profile):
                self.check(tensors, profile)
        for name in NAMES:
            with self.subTest(name=name[:20]):
                self.assertEqual(self.inspect("b-inference", "--", name)["name"], name)
                self.restore("b-inference", "tensor", "--tensor=" + name, "-f")
                self.assertEqual(read(self.path("tensor")), tensors[NAMES.index(name)][3])

    def test_header_text(self):
        """Headers are kept as they are: escapes, order, spaces, odd ends, metadata."""
        body = weights(64 * 64)
        spans = '"dtype":"BF16","shape":[32,64],"data_offsets":[%d,%d]'
        texts = {
            "escapes": '{"\\u0061\\/\\ud83d\\ude00":{%s},"b":{%s}}' % (spans % (0, 4096), spans % (4096, 8192)),
            "reverse order": '{"b":{%s},"a":{%s}}' % (spans % (4096, 8192), spans % (0, 4096)),
            "spaces": ' \n\t{ "a" :{%s }, "b":{%s}} \r\n   ' % (spans % (0, 4096), spans % (4096, 8192)),
            "extra member": '{"a":{%s,"x":[1,{"y":null}]},"b":{%s}}' % (spans % (0, 4096), spans % (4096, 8192)),
            "metadata": '{"__metadata__":{"z":"","a":"\\u0000"},"a":{%s},"b":{%s}}' % (spans % (0, 4096), spans % (4096, 8192)),
            "null metadata": '{"__metadata__":null,"a":{%s},"b":{%s}}' % (spans % (0, 4096), spans % (4096, 8192)),
        }
        for i, (kind, text) in enumerate(texts.items()):
            for align in 1, 2, 4096:
                with self.subTest(kind, align=align):
                    source = safetensors([("", "", (), body)], text=text + " " * i, align=align)
                    write(self.path("m.safetensors"), source)
                    r = self.run_tool("compress", "m.safetensors", "-o", "b", "-f", "--strict")
                    self.assertEqual(r.stderr, "")
                    self.assertEqual(len(self.inspect("b")["files"][0]["tensors"]), 2)
                    self.restore("b", "r", "-f")
                    self.assertEqual(read(self.path("r")), source)

    def test_odd_data_offset(self):
        tensors = [("byte", "U8", (1,), b"x"), ("w", "BF16", (130, 70), weights(9100)), ("v", "F32", (3,), bytes(12))]
        for pad in range(8):
            with self.subTest(pad=pad):
                self.check(tensors, PROFILES[pad % 2], align=1, metadata={"pad": "x" * pad})
                shutil.rmtree(self.path("b-" + PROFILES[pad % 2]))
                os.unlink(self.path("r-" + PROFILES[pad % 2]))

    def test_no_tensors(self):
        for text in "{}", '{"__metadata__":{}}':
            write(self.path("m.safetensors"), safetensors([], text=text))
            self.compress("m.safetensors", "b", "-f", "--strict")
            self.restore("b", "r", "-f")
            self.assertEqual(read(self.path("r")), read(self.path("m.safetensors")))


class Tensor(Case):
    def test_raw_bytes(self):
        tensors = [("a", "BF16", (70, 130), weights(9100)), ("b", "F32", (2, 2), bytes(range(16))), ("empty", "BF16", (0,), b"")]
        self.bundle({"x.safetensors": safetensors(tensors), "y.safetensors": safetensors([("c", "I8", (1,), b"c")])})
        for name, _, _, data in tensors + [("c", "I8", (1,), b"c")]:
            self.assertEqual(read(self.restore("bundle", "t." + name, "--tensor", name)), data)

    def test_missing(self):
        self.bundle({"x.safetensors": small_model()})
        self.run_tool("decompress", "bundle", "--tensor", "nosuch", "-o", "t", expect=3)
        self.assert_nothing("t")

    def test_ambiguous(self):
        self.bundle({"x.safetensors": small_model(), "y.safetensors": small_model()})
        r = self.run_tool("decompress", "bundle", "--tensor", "w", "-o", "t", expect=2)
        self.assertIn("x.safetensors", r.stderr)
        self.assertIn("y.safetensors", r.stderr)
        self.assert_nothing("t")

    def test_to_standard_output(self):
        self.bundle({"x.safetensors": small_model()})
        r = self.run_tool("decompress", "bundle", "--tensor", "w", "-o", "-", text=False)
        self.assertEqual(r.stdout, weights(48 * 64, 1))
        self.assert_nothing("-")


class Forms(Case):
    """Every form of input gives the same bundle, every form of output the same files."""

    def setUp(self):
        super().setUp()
        self.tree = sharded_model()
        self.model(self.tree)

    def test_inputs(self):
        tar = tar_of(self.tree)
        write(self.path("m.tar"), tar)
        write(self.path("m.tgz"), gzip.compress(tar, 1))
        write(self.path("m.tar.gz"), gzip.compress(tar, 1))
        write(self.path("m.zip"), zip_of(self.tree))
        inputs = ["m.tar", "m.tgz", "m.tar.gz", "m.zip", "model/.", "./model//"]
        if shutil.which("zstd"):
            subprocess.run(["zstd", "-q", "m.tar", "-o", "m.tar.zst"], cwd=self.dir, check=True, timeout=60)
            inputs.append("m.tar.zst")
        for profile in PROFILES:
            want = read_tree(self.compress("model", "want." + profile, "-p", profile))
            for name in inputs if profile == "distribution" else ["m.tar", "m.zip"]:
                with self.subTest(name, profile=profile):
                    self.assertEqual(read_tree(self.compress(name, "got", "-p", profile, "-f")), want)
            for kind, data in ("tar", tar), ("tar.gz", gzip.compress(tar, 1)):
                with self.subTest("standard input, " + kind, profile=profile):
                    self.assertEqual(read_tree(self.compress("-", "got", "-p", profile, "-f", input=data, text=False)), want)

    def test_archive_with_folders(self):
        """Folder members and a leading ./ change nothing; a leading folder is part of the paths."""
        members = [tar_member("./", type=tarfile.DIRTYPE), tar_member("./sub", type=tarfile.DIRTYPE), tar_member("./sub/a", b"a"),
                   tar_member("./b", b"b", True)]
        for fmt in tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT:
            write(self.path("m.tar"), tar_bytes(members, fmt))
            self.restore(self.compress("m.tar", "b", "-f"), "r", "-f")
            self.assert_tree(self.path("r"), {"sub/a": b"a", "b": (b"b", True)})

    def test_long_paths(self):
        tree = {"/".join(["d" * 60] * 6) + "/" + "f" * 120: b"x", "ü" * 100: b"y"}
        self.model(tree, "long")
        for name, data in ("long.tar", tar_of(tree)), ("long.zip", zip_of(tree)):
            write(self.path(name), data)
            self.restore(self.compress(name, "b", "-f"), "r", "-f")
            self.assert_tree(self.path("r"), tree)
            shutil.rmtree(self.path("r"))
        self.assertEqual(read_tree(self.compress("long", "b2")), read_tree(self.path("b")))
        self.compress("long", "b.tar")
        self.restore("b.tar", "r2")
        self.assert_tree(self.path("r2"), tree)

    def test_outputs(self):
        for profile in PROFILES:
            with self.subTest(profile):
                bundle = self.compress("model", "b." + profile, "-p", profile)
                self.assert_tree(self.restore(bundle, "r." + profile), self.tree)
                want = read_tree(self.path("r." + profile))
                self.assertEqual(tree_of_tar(read(self.restore(bundle, profile + ".tar"))), want)
                for suffix in ".tar.gz", ".tgz":
                    data = read(self.restore(bundle, profile + suffix))
                    self.assertEqual(data[:2], b"\x1f\x8b")
                    self.assertEqual(tree_of_tar(gzip.decompress(data)), want)
                self.assertEqual(tree_of_zip(self.restore(bundle, profile + ".zip")), want)
                r = self.run_tool("decompress", bundle, "-o", "-", text=False)
                self.assertEqual(tree_of_tar(r.stdout), want)
                self.assertEqual(r.stdout, read(self.path(profile + ".tar")))
                self.restore(bundle, profile + ".tar.zst")
                if shutil.which("zstd"):
                    r = subprocess.run(["zstd", "-dcq", profile + ".tar.zst"], cwd=self.dir, check=True, timeout=60, capture_output=True)
                    self.assertEqual(tree_of_tar(r.stdout), want)

    def test_outputs_are_inputs(self):
        """What decompress writes, compress and verify --against read."""
        bundle = self.compress("model", "b")
        for out in "r", "r.tar", "r.tar.gz", "r.tar.zst", "r.zip":
            with self.subTest(out):
                self.restore(bundle, out)
                self.run_tool("verify", bundle, "--against", out)
                self.assertEqual(read_tree(self.compress(out, "again", "-f")), read_tree(bundle))

    def test_single_file(self):
        for name, data, executable in ("m.safetensors", small_model(), False), ("run.sh", b"#!/bin/sh\n", True), ("none", b"", False):
            with self.subTest(name):
                write(self.path(name), data)
                os.chmod(self.path(name), 0o755 if executable else 0o644)
                bundle = self.compress(name, "b", "-f")
                restored = self.restore(bundle, "r", "-f")
                self.assertEqual(read(restored), data)
                self.assertEqual(bool(os.stat(restored).st_mode & 0o100), executable)
                os.makedirs(self.path("into"), exist_ok=True)
                self.restore(bundle, "into")
                self.assertEqual(read(self.path("into/" + name)), data)
                self.assertEqual(tree_of_tar(read(self.restore(bundle, "r.tar", "-f"))), {name: (data, executable)})

    def test_single_file_equals_folder(self):
        """The container of a file does not depend on how the file came."""
        self.model({"m.safetensors": small_model()}, "one")
        self.compress("one", "b1")
        self.compress("one/m.safetensors", "b2")
        self.assertEqual(read(self.path("b1/m.safetensors.uw")), read(self.path("b2/m.safetensors.uw")))

    def test_bare_container(self):
        bundle = self.compress("model", "b")
        name = "model-00001-of-000003.safetensors"
        shutil.copy(os.path.join(bundle, name + ".uw"), self.path("x.uw"))
        self.run_tool("verify", "x.uw", "--against", "model/" + name)
        self.assertEqual(read(self.restore("x.uw", "x")), self.tree[name])
        self.assertEqual(len(self.inspect("x.uw")["files"][0]["tensors"]), 2)

    def test_hub_cache(self):
        """snapshots/<revision>/x -> ../../blobs/<digest>, as huggingface_hub lays its cache out."""
        for path, value in self.tree.items():
            data, executable = value if isinstance(value, tuple) else (value, False)
            digest = hashlib.sha256(data).hexdigest()
            blob = self.path("hub/blobs/" + digest)
            os.makedirs(os.path.dirname(blob), exist_ok=True)
            write(blob, data)
            os.chmod(blob, 0o755 if executable else 0o644)
            link = self.path("hub/snapshots/abc/" + path)
            os.makedirs(os.path.dirname(link), exist_ok=True)
            os.symlink(os.path.relpath(blob, os.path.dirname(link)), link)
        self.assertEqual(read_tree(self.compress("hub/snapshots/abc", "b1")), read_tree(self.compress("model", "b2")))
        os.symlink("hub/snapshots/abc", self.path("link"))
        self.assertEqual(read_tree(self.compress("link", "b3")), read_tree(self.path("b2")))

    def test_bundle_behind_symlinks(self):
        self.compress("model", "b")
        os.mkdir(self.path("farm"))
        for name in os.listdir(self.path("b")):
            os.symlink("../b/" + name, self.path("farm/" + name))
        self.run_tool("verify", "farm")
        self.assert_tree(self.restore("farm", "r"), self.tree)

    def test_caches_are_left_out(self):
        write_tree(self.path("model"), {".git/HEAD": b"x", ".cache/huggingface/download/x.metadata": b"x",
                                        "cache/CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n", "cache/x": b"x"})
        r = self.run_tool("compress", "model", "-o", "b")
        self.assertIn("'cache'", r.stderr)
        self.assert_tree(self.restore("b", "r"), self.tree)

    def test_archives_keep_everything(self):
        """What a folder leaves out is a file like any other in an archive, and in the bundle's tar."""
        tree = {".git/HEAD": b"x", ".cache/huggingface/x": b"x", "cache/CACHEDIR.TAG": b"Signature: 8a477f597d28d172789f06886806bc55\n",
                "cache/x.safetensors": small_model(), "unweight": b"x", "a-b": b"x", "a/b": b"x", "a.b": b"x"}
        write(self.path("m.tar"), tar_of(tree))
        for out, restored in ("b", "r1"), ("b.tar", "r2"):
            self.assert_tree(self.restore(self.compress("m.tar", out), restored), tree)
            self.run_tool("verify", out, "--against", "m.tar")


class Bundles(Case):
    def setUp(self):
        super().setUp()
        self.model(sharded_model())
        self.bundles = {p: self.compress("model", p, "-p", p) for p in PROFILES}

    def test_profile_changes_equal_direct_ones(self):
        for source, target in PROFILES, PROFILES[::-1]:
            with self.subTest(source + " to " + target):
                got = self.compress(self.bundles[source], "got", "-p", target, "-f")
                self.assertEqual(read_tree(got), read_tree(self.bundles[target]))

    def test_single_file(self):
        write(self.path("x.safetensors"), small_model())
        want = self.compress("x.safetensors", "i", "-p", "inference")
        self.assertEqual(read_tree(self.compress(self.compress("x.safetensors", "d"), "got", "-p", "inference")), read_tree(want))

    def test_in_place(self):
        self.compress(self.bundles["distribution"], "distribution", "-p", "inference", "-f")
        self.assertEqual(read_tree(self.bundles["distribution"]), read_tree(self.bundles["inference"]))

    def test_tar(self):
        tar = self.compress("model", "b.tar")
        members = tree_of_tar(read(tar))
        self.assertEqual(next(iter(members)), "unweight.json")
        self.assertEqual(members, read_tree(self.bundles["distribution"]))
        self.run_tool("verify", tar, "--against", "model")
        self.assert_tree(self.restore(tar, "r"), sharded_model())
        self.assertEqual(read(self.compress("model", "again.tar", "-T2")), read(tar))
        r = self.run_tool("compress", "model", "-o", "-", text=False)
        self.assertEqual(r.stdout, read(tar))
        self.assertEqual(read_tree(self.compress("b.tar", "i", "-p", "inference")), read_tree(self.bundles["inference"]))
        self.assertEqual({**self.inspect("b.tar"), "files": 0}, {**self.inspect("distribution"), "files": 0})

    def test_tar_by_tar(self):
        """The specification allows any tar of the folder with the manifest first."""
        if not shutil.which("tar"):
            self.skipTest("no tar")
        for fmt in "ustar", "pax":
            with self.subTest(fmt):
                others = sorted(os.listdir(self.bundles["distribution"]), reverse=True)
                others.remove("unweight.json")
                subprocess.run(["tar", "-cf", "t.tar", "--format", fmt, "-C", "distribution", "./unweight.json"] +
                               ["./" + name for name in others], cwd=self.dir, check=True, timeout=60)
                self.run_tool("verify", "t.tar", "--against", "model")

    def test_inspect_tables(self):
        out = self.run_tool("inspect", "inference").stdout
        self.assertIn("layers.2.w", out)
        self.assertIn("96x128", out)
        self.assertEqual(self.inspect("inference")["profile"], "inference")
        self.assertIn("group 0: P4", self.run_tool("inspect", "inference", "layers.2.w").stdout)


class Determinism(Case):
    """The same bytes in whatever way a machine differs from another one."""

    def setUp(self):
        super().setUp()
        self.tree = {**sharded_model(), "big.safetensors": safetensors([("w", "BF16", (3000, 512), weights(3000 * 512)),
                                                                        ("e", "BF16", (5, 256, 512), weights(5 * 256 * 512, 2)),
                                                                        ("r", "BF16", (700, 512), rows_of_scales(700, 512))])}
        self.model(self.tree)

    def test_environment(self):
        for profile in PROFILES:
            want = read_tree(self.compress("model", "want." + profile, "-p", profile))
            want_tar = read(self.compress("model", "want.%s.tar" % profile, "-p", profile))
            for i, (args, env) in enumerate([
                    (["-T1"], {}), (["-T2"], {}), (["-T7"], {}), (["--no-check"], {}), ([], {"LC_ALL": "C"}), ([], {"LC_ALL": "C.UTF-8"}),
                    ([], {"LC_ALL": "de_DE.UTF-8", "LANGUAGE": "de"}), ([], {"TZ": "Pacific/Auckland"}), ([], {"HOME": None, "PATH": ""})]):
                with self.subTest(args=args, env=env, profile=profile):
                    self.assertEqual(read_tree(self.compress("model", "got", "-f", "-p", profile, *args, env=env)), want)
                    if i % 2:
                        self.assertEqual(read(self.compress("model", "got.tar", "-f", "-p", profile, *args, env=env)), want_tar)

    def test_umask(self):
        want = read_tree(self.compress("model", "want"))
        want_tar = read(self.compress("model", "want.tar"))
        mask = lambda: os.umask(0o077)
        self.assertEqual(read_tree(self.compress("model", "got", preexec_fn=mask)), want)
        self.assertEqual(read(self.compress("model", "got.tar", preexec_fn=mask)), want_tar)
        self.assertEqual(os.stat(self.path("got")).st_mode & 0o777, 0o700)
        self.assertEqual(os.stat(self.path("got/config.json")).st_mode & 0o777, 0o600)
        self.assertEqual(os.stat(self.path("got.tar")).st_mode & 0o777, 0o600)

    def test_order_of_files(self):
        want = read_tree(self.compress("model", "want"))
        paths = list(self.tree)
        for seed in range(3):
            random.Random(seed).shuffle(paths)
            self.model({p: self.tree[p] for p in paths}, "other%d" % seed)
            self.assertEqual(read_tree(self.compress("other%d" % seed, "got", "-f")), want)

    def test_threads_of_restoring(self):
        bundle = self.compress("model", "b")
        for n in "-T1", "-T2", "-T7":
            self.assert_tree(self.restore(bundle, "r" + n, n), self.tree)

    def test_restored_archives(self):
        bundle = self.compress("model", "b")
        for suffix in ".tar", ".tar.gz", ".tar.zst", ".zip":
            with self.subTest(suffix):
                first = read(self.restore(bundle, "a" + suffix))
                again = read(self.restore(bundle, "b" + suffix, env={"TZ": "Asia/Tokyo", "LC_ALL": "C"}, preexec_fn=lambda: os.umask(0o077)))
                self.assertTrue(first == again)


if __name__ == "__main__":
    unittest.main()
