# SPDX-License-Identifier: Apache-2.0
"""Bundles that store only what differs from a base."""

import hashlib
import os
import random
import shutil
import struct
import subprocess
import sys

from common import MANIFEST, Case, read, read_manifest, read_tree, safetensors, seal, weights, write, write_tree

DECODER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "spec", "unweight_decoder.py")
ROWS, COLUMNS = 192, 512
N = ROWS * COLUMNS
TOKENIZER = random.Random(9).randbytes(20000)


def values(data):
    return struct.unpack("<%dH" % (len(data) // 2), data)


def rounded(x):
    """The BF16 pattern nearest to x."""
    bits = struct.unpack("<I", struct.pack("<f", x))[0]
    return bits + 0x7FFF + (bits >> 16 & 1) >> 16


def tuned(data, share, seed=1):
    """The weights after an update: noise of this share of their standard deviation (2^-8 here, all are of one scale)."""
    rng = random.Random(seed)
    floats = struct.unpack("<%df" % (len(data) // 2), b"".join(b"\0\0" + data[i:i + 2] for i in range(0, len(data), 2)))
    spread = (sum(x * x for x in floats) / len(floats)) ** 0.5
    return struct.pack("<%dH" % len(floats), *(rounded(x + rng.gauss(0, share * spread)) for x in floats))


def some_rows(data, count, seed=1):
    """A few rows trained, the others left."""
    out = bytearray(data)
    for row in random.Random(seed).sample(range(ROWS), count):
        at = 2 * COLUMNS * row
        out[at:at + 2 * COLUMNS] = tuned(data[at:at + 2 * COLUMNS], 0.05, row)
    return bytes(out)


def some_bits(data):
    return bytes(b ^ 1 if i % 100 == 0 else b for i, b in enumerate(data))


A, B, C = (weights(N, seed) for seed in (1, 2, 3))
F16 = struct.pack("<%dH" % 4096, *(random.Random(5).choices(range(0x2000, 0x3C00), k=4096)))


def shard(*tensors):
    return safetensors(tensors, {"format": "pt"})


def matrix(name, data):
    return name, "BF16", (len(data) // (2 * COLUMNS), COLUMNS), data


def tree(a=A, b=B, c=C, f16=F16, norm=b"\x80\x3f" * 512, config=b"{}"):
    return {"config.json": config, "tokenizer.json": TOKENIZER,
            "model-1.safetensors": shard(matrix("a", a), ("norm", "BF16", (512,), norm)),
            "model-2.safetensors": shard(matrix("b", b), matrix("c", c), ("half", "F16", (4096,), f16), ("ids", "I64", (3,), bytes(24)))}


class Based(Case):
    def setUp(self):
        super().setUp()
        write_tree(self.path("base"), tree())
        self.compress("base", "base.uwb")

    def put(self, name, files):
        write_tree(self.path(name), files)
        return name

    def pack(self, name, *args):
        return self.compress(name, name + ".uwb", "--base", "base.uwb", *args)

    def tensors(self, bundle):
        return {t["name"]: t for f in self.inspect(bundle)["files"] for t in f["tensors"]}

    def check(self, name):
        """Restores the same bytes, by the tools and by the decoder written from SPEC.md, which needs no bundle of the base."""
        self.run_tool("verify", name + ".uwb", "--base", "base.uwb", "--against", name)
        self.run_tool("verify", name + ".uwb", "-l", "checksum")
        self.run_tool("decompress", name + ".uwb", "--base", "base.uwb", "--sha256", "-o", name + ".out")
        self.assertEqual(read_tree(self.path(name + ".out")), read_tree(self.path(name)))
        subprocess.run([sys.executable, "-B", DECODER, "--base", self.path("base"), self.path(name + ".uwb"), self.path(name + ".spec")],
                       check=True)
        self.assertEqual({k: v[0] for k, v in read_tree(self.path(name + ".spec")).items()},
                         {k: v[0] for k, v in read_tree(self.path(name)).items()})

    def size(self, bundle):
        return sum(len(data) for data, _ in read_tree(self.path(bundle)).values())


class Pipeline(Based):
    def test_pipeline(self):
        """What is skipped has the same base; a model may go when its bundle decodes with it."""
        model = tree(a=some_rows(A, 5))
        write_tree(self.path("tuned"), model)
        write_tree(self.path("other"), tree(a=B))
        self.compress("other", "other.uwb")
        self.compress("tuned", "t", "--base", "base.uwb")
        self.compress("tuned", "t2", "--base", "base.uwb", "-T4", "--memory", "100M")
        self.assert_tree(self.path("t2"), read_tree(self.path("t")))
        before = os.stat(self.path("t")).st_ino
        self.compress("tuned", "t", "--base", "base.uwb", "--skip-existing")
        for other in [], ["--base", "other.uwb"]:
            r = self.run_tool("compress", "tuned", "-o", "t", "--skip-existing", *other, expect=1)
            self.assertIn("another base", r.stderr)
            self.assertIn("another base", self.run_tool("compress", "base", "-o", "base.uwb", "--skip-existing", "--base", "other.uwb",
                                                        expect=1).stderr)
        self.assertEqual(os.stat(self.path("t")).st_ino, before)
        self.compress("tuned", "t", "--base", "base.uwb", "--skip-existing", "--rm")
        self.assert_nothing("tuned")
        write(self.path("list"), b"model-1.safetensors\n")
        self.restore("t", "one", "--base", "base.uwb", "--files-from", "list", "--memory", "100M")
        self.assert_tree(self.path("one"), {"model-1.safetensors": model["model-1.safetensors"]})
        self.restore("t", "one", "--base", "base.uwb", "--skip-existing", "-f")
        self.assert_tree(self.path("one"), model)


class Sizes(Based):
    def test_identical(self):
        """The same model costs its records: per file some 300 bytes, per tensor 200."""
        big = weights(1 << 20, 7)
        write_tree(self.path("base"), {"big.safetensors": shard(matrix("big", big))})
        self.compress("base", "base.uwb", "-f")
        self.put("same", {**tree(), "big.safetensors": shard(matrix("big", big))})
        self.pack("same")
        stored = os.stat(self.path("same.uwb/big.safetensors.uw")).st_size
        self.assertLess(stored, 0.001 * 2 * (1 << 20))
        self.assertLess(self.size("same.uwb"), 4096)
        self.assertEqual({t["coding"] for t in self.tensors("same.uwb").values()}, {"copy"})
        self.check("same")

    def test_tuned(self):
        """An update of a thousandth takes some two bits a weight; one of a few rows what these rows take."""
        self.put("tuned", tree(a=tuned(A, 1e-3), b=some_rows(B, 4)))
        self.pack("tuned")
        found = self.tensors("tuned.uwb")
        self.assertEqual({n: t["coding"] for n, t in found.items()},
                         {"a": "delta", "norm": "copy", "b": "delta", "c": "copy", "half": "copy", "ids": "copy"})
        files = {f["path"]: [f.get(k) for k in ("groups", "copy_groups", "delta_groups")] for f in self.inspect("tuned.uwb")["files"]}
        self.assertEqual(files, {"config.json": [None] * 3, "tokenizer.json": [1, 1, 0], "model-1.safetensors": [3, 2, 1],
                                 "model-2.safetensors": [5, 4, 1]})
        self.assertIn("of 5 groups 4 copied from the base, 1 differences", self.run_tool("inspect", "tuned.uwb").stdout)
        self.assertLess(8 * found["a"]["stored_bytes"] / N, 2.0)
        self.assertLess(8 * found["b"]["stored_bytes"] / N, 0.4)
        self.check("tuned")

    def test_never_larger(self):
        """What has nothing to do with the base is coded as ever; a tiny group is not worth a reference."""
        other = tree(a=weights(N, 11), b=weights(N, 12), c=weights(N, 13), f16=bytes(8192), norm=b"\x12\x34" * 512)
        self.put("other", other)
        self.pack("other")
        self.compress("other", "alone")
        codings = {n: t["coding"] for n, t in self.tensors("other.uwb").items()}
        self.assertEqual((codings["a"], codings["ids"]), ("H", "copy"))
        self.assertLess(self.size("other.uwb"), self.size("alone") + 300)
        self.check("other")

    def test_half_precision(self):
        noise = random.Random(6)
        self.put("half", tree(f16=struct.pack("<4096H", *(w + noise.choice((-1, 0, 0, 1)) for w in values(F16)))))
        self.pack("half")
        self.assertEqual(self.tensors("half.uwb")["half"]["coding"], "delta")
        self.check("half")

    def test_moved_and_grown(self):
        """Tensors are found by name, in whatever file, and if there are more rows of them."""
        self.put("moved", {"config.json": b"[]", "all.safetensors": shard(
            matrix("c", C), matrix("b", B + A[:2 * COLUMNS * 64]), matrix("a", tuned(A, 1e-4)), matrix("new", weights(N, 21)))})
        self.pack("moved")
        found = {n: t["coding"] for n, t in self.tensors("moved.uwb").items()}
        self.assertEqual((found["c"], found["a"], found["new"]), ("copy", "delta", "H"))
        self.check("moved")

    def test_renamed(self):
        """Equal tensors are found under other names, in other shapes and files, more than once; of such a group every byte."""
        late = bytearray(C)
        late[-1] ^= 0x40
        self.put("renamed", {"r.safetensors": shard(
            matrix("language.a", A), matrix("again", A), ("flat", "BF16", (N,), B), ("bytes", "U8", (2 * N,), B), matrix("late", bytes(late)))})
        self.pack("renamed")
        found = {n: t["coding"] for n, t in self.tensors("renamed.uwb").items()}
        self.assertEqual(found, {"language.a": "copy", "again": "copy", "flat": "copy", "bytes": found["bytes"], "late": "H"})
        self.assertNotEqual(found["bytes"], "copy")
        self.check("renamed")

    def test_many_files(self):
        """One file of tensors from more files of the base than are kept open, by many threads."""
        parts = [weights(64 * 512, 100 + i) for i in range(45)]
        write_tree(self.path("wide"), {"%02d.safetensors" % i: shard(matrix("t%d" % i, data)) for i, data in enumerate(parts)})
        self.compress("wide", "wide.uwb")
        order = random.Random(3).sample(range(45), 45)
        self.put("one", {"one.safetensors": shard(*(matrix("t%d" % i, some_bits(parts[i]) if i % 3 == 0 else parts[i]) for i in order))})
        self.compress("one", "one.uwb", "--base", "wide.uwb", "-T", "8")
        self.assertLess(self.size("one.uwb"), 0.05 * 45 * len(parts[0]))
        for n in "1", "8":
            self.run_tool("decompress", "one.uwb", "--base", "wide.uwb", "-T", n, "-o", "out" + n)
            self.assertEqual(read_tree(self.path("out" + n)), read_tree(self.path("one")))

    def test_threads(self):
        """The bytes do not depend on the threads, nor on how the base is stored."""
        self.put("tuned", tree(a=tuned(A, 1e-2), b=some_rows(B, 20)))
        first = read_tree(self.pack("tuned", "-T", "1"))
        self.compress("base", "base.tar", "-p", "inference")
        for i, args in enumerate((("-T", "3", "--base", "base.uwb"), ("-T", "8", "--base", "base.tar"), ("--no-check", "--base", "base.tar"))):
            self.assertEqual(read_tree(self.compress("tuned", "t%d" % i, *args)), first)
        self.run_tool("decompress", "tuned.uwb", "--base", "base.tar", "-o", "out")
        self.assertEqual(read_tree(self.path("out")), read_tree(self.path("tuned")))

    def test_tar_tensor_and_bundles(self):
        """A based bundle as a tar, one tensor of it, and as the source of another bundle, with the base and without."""
        self.put("tuned", tree(a=tuned(A, 1e-3)))
        self.compress("tuned", "tuned.tar", "--base", "base.uwb")
        self.run_tool("decompress", "tuned.tar", "--base", "base.uwb", "--tensor", "a", "-o", "a")
        self.assertEqual(read(self.path("a")), tuned(A, 1e-3))
        self.pack("tuned")
        again = self.compress("tuned.tar", "again", "--base", "base.uwb")
        self.assertEqual(read_tree(again), read_tree(self.path("tuned.uwb")))
        self.run_tool("compress", "tuned.uwb", "-o", "x", expect=3)
        self.assert_nothing("x")
        self.run_tool("verify", "again", "--base", "base.uwb", "--against", "tuned.uwb")


class Parts(Based):
    def part(self, i, n, *args, base="base.uwb", **more):
        return self.run_tool("compress", "tuned", "-o", "m", "--part", "%d/%d" % (i, n), *(["--base", base] if base else []), *args, **more)

    def test_same_bytes(self):
        """Parts make the bundle that one machine makes, and pass over what is done."""
        self.put("tuned", tree(a=tuned(A, 1e-3), b=some_rows(B, 4)))
        whole = read_tree(self.pack("tuned"))
        for i in 2, 1, 3:
            self.part(i, 3)
        self.assertIn("done before", self.part(2, 3, "-v").stderr)
        self.assertIn('"base":"', read(self.path("m.parts/plan.json")).decode())
        self.run_tool("compress", "--status", "m")
        self.run_tool("compress", "--merge", "-o", "m")
        self.assertEqual(read_tree(self.path("m")), whole)
        self.run_tool("verify", "m", "--base", "base.uwb", "--against", "tuned")

    def test_damaged_part(self):
        """What does not restore over the base is made again."""
        self.put("tuned", tree(a=tuned(A, 1e-3)))
        self.part(1, 1)
        path = self.path("m.parts/files/model-1.safetensors.uw")
        good = read(path)
        write(path, good[:200] + bytes([good[200] ^ 1]) + good[201:])
        self.part(1, 1)
        self.assertEqual(read(path), good)

    def test_other_base(self):
        """All parts have the base of the plan."""
        self.put("tuned", tree(a=tuned(A, 1e-3)))
        self.compress("tuned", "other")
        self.part(1, 2)
        for base in None, "other":
            self.assertIn("another base", self.part(2, 2, base=base, expect=1).stderr)
        self.run_tool("compress", "--plan", "tuned", "-o", "plan.json", "--base", "base.uwb")
        self.assertEqual(read(self.path("plan.json")), read(self.path("m.parts/plan.json")))
        self.assertIn("another base", self.part(2, 2, "--with-plan", "plan.json", base="other", expect=1).stderr)
        self.part(2, 2, "--with-plan", "plan.json")
        self.run_tool("compress", "--merge", "-o", "m")
        lines = self.run_tool("compress", "--print-commands", "--parts", "2", "tuned", "-o", "m", "--base", "it's").stdout.splitlines()
        self.assertEqual([line.count("--base 'it'\\''s'") for line in lines], [1, 1])


class Refusals(Based):
    def setUp(self):
        super().setUp()
        self.put("tuned", tree(a=tuned(A, 1e-3)))
        self.pack("tuned")
        self.digest = hashlib.sha256("".join(
            "%s  %s\n" % (hashlib.sha256(data).hexdigest(), path) for path, data in sorted(tree().items())).encode()).hexdigest()

    def test_digest(self):
        self.assertEqual(read_manifest(self.path("tuned.uwb"))["base"], {"source_sha256": self.digest})
        self.assertEqual(self.inspect("tuned.uwb")["base"], {"source_sha256": self.digest})
        self.assertEqual(self.inspect("base.uwb")["source_sha256"], self.digest)

    def test_missing_and_wrong(self):
        """Whoever needs the base says which one; what needs none works without."""
        self.compress("tuned", "other")
        for args in [], ["--base", "other"]:
            for tool, *more in ("decompress", "-o", "x"), ("verify",), ("compress", "-o", "x"), ("decompress", "-o", "x", "--tensor", "c"):
                self.assertIn(self.digest, self.run_tool(tool, "tuned.uwb", *more, *args, expect=3).stderr)
                self.assert_nothing("x")
        self.assertIn(self.digest, self.run_tool("scan", "tuned.uwb", expect=3).stderr)
        self.run_tool("verify", "tuned.uwb", "-l", "structure", "--base", "other", expect=3)
        for level in "structure", "checksum":
            self.run_tool("verify", "tuned.uwb", "-l", level)
        self.run_tool("inspect", "tuned.uwb", "a")
        self.run_tool("verify", "base.uwb", "--base", "other")          # not needed: left alone
        self.run_tool("decompress", "tuned.uwb", "-o", "x", "--base", "nowhere", expect=3)

    def test_no_base(self):
        """What cannot be a base."""
        self.assertIn("needs a base itself", self.run_tool("compress", "base", "-o", "x", "--base", "tuned.uwb", expect=8).stderr)
        self.run_tool("compress", "base", "-o", "x", "--base", "base.uwb/model-1.safetensors.uw", expect=8)
        self.run_tool("compress", "base", "-o", "x", "--base", "base", expect=5)
        for args in (["tuned", "-p", "inference"], ["--merge"]):
            self.assertIn("--base", self.run_tool("compress", *args, "-o", "x", "--base", "base.uwb", expect=2).stderr)
        self.run_tool("compress", "--status", "x", "--base", "base.uwb", expect=2)
        self.assert_nothing("x")

    def test_one_container(self):
        """A container by itself knows its base too."""
        path = "tuned.uwb/model-1.safetensors.uw"
        self.assertIn(self.digest, self.run_tool("decompress", path, "-o", "x", expect=3).stderr)
        self.run_tool("decompress", path, "--base", "base.uwb", "-o", "x")
        self.assertEqual(read(self.path("x")), read(self.path("tuned/model-1.safetensors")))

    def change_manifest(self, **changes):
        top = {**read_manifest(self.path("tuned.uwb")), **changes}
        write(self.path("tuned.uwb/" + MANIFEST), seal({k: v for k, v in top.items() if v is not None}))

    def test_manifest(self):
        """Manifest and containers must agree on the base."""
        for changes in ({"base": {"source_sha256": "0" * 64}}, {"base": None, "unweight_bundle": 1}, {"base": None}, {"base": {}},
                        {"unweight_bundle": 1}, {"base": {"source_sha256": "x" * 64}}, {"base": {"source_sha256": self.digest, "more": 1}}):
            shutil.rmtree(self.path("tuned.uwb"))
            self.pack("tuned")
            self.change_manifest(**changes)
            for tool, *args in ("verify", "-l", "structure"), ("inspect",):
                self.run_tool(tool, "tuned.uwb", *args, expect=5)

    def test_damaged_base(self):
        """Every byte of the base that is used is proven by the checksum of what is made of it."""
        rng = random.Random(8)
        path = self.path("base.uwb/model-1.safetensors.uw")
        good = read(path)
        for _ in range(12):
            bad = bytearray(good)
            bad[rng.randrange(64, len(bad) // 8)] ^= 1 << rng.randrange(8)      # within the coded weights of a
            write(path, bytes(bad))
            self.assertIn("base, 'model-1", self.run_tool("decompress", "tuned.uwb", "-o", "x", "--base", "base.uwb", expect=5).stderr)
            self.run_tool("compress", "tuned", "-o", "x", "--base", "base.uwb", expect=5)
            self.assert_nothing("x")
        write(path, good[:-1])
        self.run_tool("verify", "tuned.uwb", "--base", "base.uwb", expect=5)
        os.unlink(path)
        self.run_tool("verify", "tuned.uwb", "--base", "base.uwb", expect=5)

    def test_lying_base(self):
        """Another model under the digest of the base: the checksums of what is restored say so."""
        write_tree(self.path("liar"), tree(a=tuned(A, 1e-3, 99)))
        self.compress("liar", "liar.uwb")
        top, lie = read_manifest(self.path("base.uwb")), read_manifest(self.path("liar.uwb"))
        for file, false in zip(top["files"], lie["files"]):
            file["container"] = false["container"]
        write(self.path("liar.uwb/" + MANIFEST), seal(top))
        self.assertIn("checksum", self.run_tool("decompress", "tuned.uwb", "-o", "x", "--base", "liar.uwb", expect=5).stderr)
        self.assert_nothing("x")
