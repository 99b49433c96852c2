#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the seeds of the fuzz targets out of what the tools write of tiny models.

    UW_TOOLS=build/tools python3 make_corpus.py NEWFOLDER

Files named found-* in corpus/ are inputs that once found something; they are kept by hand.
"""

import os
import random
import re
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import PROFILES, bf16, read, safetensors, tar_of, tool_command, weights, write, write_tree, zip_of

TRAILER, INDEX_HEAD, EXTENT, GROUP = 64, 32, 48, 32
BASE = bytes(i % 251 for i in range(6000))      # the beginning of what fuzz.c has as a base
CODING_H, CODING_P4 = 2, 3
FORMS = "tar.gz", "tar.zst", "zip"


def tensor(name, shape, escapes=0):
    n = 1
    for d in shape:
        n *= d
    data = bytearray(weights(n))
    for i in range(escapes):
        data[2 * (7 + 90 * i):2 * (7 + 90 * i) + 2] = struct.pack("<H", 0x0123 + 0x0900 * i)
    return name, "BF16", shape, bytes(data)


def models():
    """{name: a safetensors file}"""
    return {
        "tiled": safetensors([tensor("t", (16, 64), 3)], {"format": "pt"}),
        "linear": safetensors([tensor("a", (700,), 1), ("f", "F32", (4, 4), bytes(64)), ("n", "U8", (0,), b"")]),
        "plain": safetensors([("u", "U8", (3,), b"abc")]),
        "none": safetensors([]),
        "broken": b"\x05\0\0\0\0\0\0\0{\"a\":",
    }


def run(tool, *args):
    subprocess.run(tool_command(tool, *args), check=True, stderr=subprocess.DEVNULL)


def groups(container):
    """(coding, tables, patches, stored bytes) of each group."""
    index_off, = struct.unpack_from("<Q", container, len(container) - TRAILER)
    nextents, ngroups = struct.unpack_from("<II", container, index_off + 8)
    for i in range(ngroups):
        at = index_off + INDEX_HEAD + nextents * EXTENT + i * GROUP
        off, nbytes, _, npatches, coding, ntables = struct.unpack_from("<QQ8sIBB", container, at)
        yield coding, ntables, npatches, container[off:off + nbytes]


def coded_seed(shape, coding, ntables, npatches, stored):
    """As fuzz_coded.c reads it; S is not part of it."""
    if len(shape) == 1:
        ntiles, first, second = -(-shape[0] // 1024), 0x8000 | (shape[0] - 1), 0
    else:
        ntiles, first, second = -(-shape[0] // 16) * -(-shape[1] // 64), shape[0] - 1, shape[1] - 1
    how = (coding == CODING_P4) | (ntables - 1) << 1
    return struct.pack("<HHBH", first, second, how, npatches) + stored[:len(stored) - 1024 * ntiles]


class Corpus:
    def __init__(self, folder):
        self.folder = folder

    def add(self, target, name, data):
        os.makedirs(os.path.join(self.folder, target), exist_ok=True)
        write(os.path.join(self.folder, target, name), data)


def add_containers(corpus, name, profile, path, shape):
    data = read(path)
    corpus.add("container", "%s-%s" % (name, profile), data)
    corpus.add("index", "%s-%s" % (name, profile), data if name in ("plain", "none") else without_payload(data))
    for coding, ntables, npatches, stored in groups(data):
        if coding in (CODING_H, CODING_P4):
            corpus.add("coded", "%s-%s" % (name, profile), coded_seed(shape, coding, ntables, npatches, stored))


def without_payload(data):
    """The payload does not matter to an index: zeros cost nothing where corpora are stored."""
    index_off, = struct.unpack_from("<Q", data, len(data) - TRAILER)
    return data[:64] + bytes(index_off - 64) + data[index_off:]


def add_based(corpus, work):
    """Copies of and differences from what fuzz.c has as a base."""
    base, tuned = (os.path.join(work, name) for name in ("base", "tuned"))
    one = lambda data: [("t", "BF16", (16, 64), data)]
    start = len(safetensors(one(BASE[:2048]))) - 2048
    data = BASE[start:start + 2048]
    if safetensors(one(data))[start:] != data:
        sys.exit("the tensor of the base is elsewhere")
    moved = bytes(b ^ 1 if i % 16 == 0 else b for i, b in enumerate(data))
    write_tree(base, {"a.txt": BASE, "m.safetensors": safetensors(one(data))})
    write_tree(tuned, {"a.txt": BASE, "m.safetensors": safetensors([*one(moved), ("new", "U8", (3,), b"abc")])})
    run("compress", base, "-o", base + ".uwb")
    run("compress", tuned, "-o", tuned + ".uwb", "--base", base + ".uwb")
    run("compress", tuned, "-o", tuned + ".tar", "--base", base + ".uwb")
    corpus.add("bundle", "based", read(tuned + ".tar"))
    for name in "a.txt", "m.safetensors":
        container = read(os.path.join(tuned + ".uwb", name + ".uw"))
        corpus.add("container", "based-" + name, container)
        corpus.add("index", "based-" + name, without_payload(container))
    add_manifest(corpus, tuned + ".uwb", "based")
    run("compress", "--plan", tuned, "-o", tuned + ".json", "--base", base + ".uwb")
    text = read(tuned + ".json")
    corpus.add("parts", "plan-based", text[:text.rindex(b'"manifest_sha256"')])


def add_headers(corpus):
    for name, data in models().items():
        n, = struct.unpack_from("<Q", data)
        text = data[8:8 + n]
        more = len(data) - 8 - n
        if more < 255 and name != "broken":
            corpus.add("safetensors", name, bytes([more]) + text)
        else:
            corpus.add("safetensors", name, b"\xff" + data[:600])
    odd = '{"__metadata__":{"k":"\\u00e9\\ud83d\\ude00"},"\\"":{"dtype":"I8","shape":[2,3],"data_offsets":[0,6],"x":[1e5,null]}} '
    corpus.add("safetensors", "odd", bytes([6]) + odd.encode())


def add_numbers(corpus):
    corpus.add("huffman", "uniform", bytes([4] * 16) + struct.pack("<16H", *range(1, 17)))
    corpus.add("huffman", "longest", bytes([1, 2, 3, 4, 5, 6, 7, 7] + [0] * 8) + struct.pack("<16H", *([1] * 16)))
    corpus.add("huffman", "two", bytes([1, 1] + [0] * 14) + struct.pack("<16H", *([5, 9] + [0] * 14)))
    patch = lambda p, flip: struct.pack("<HH", flip, p)
    corpus.add("patches", "some", b"\0\0" + patch(0, 0x100) + patch(77, 0x7F00) + patch(8191, 0x2000) + patch(5, 0x400))
    corpus.add("patches", "given", b"\x02\0" + b"".join(patch(p, 0x300) for p in (3, 9, 1, 2, 0, 4)))
    corpus.add("patches", "none", b"\0\0")
    for kind in range(4):
        runs = bytes(b for i in range(60) for b in (i, 110 + i % 9))
        corpus.add("codec", "runs-%d" % kind, struct.pack("<HHBB", 20, 70, kind, 0) + runs)
    corpus.add("codec", "words", struct.pack("<HHBB", 0x8000 | 200, 0, 0, 1) + bf16([120, 121, 0, 255] * 50, random.Random(1)))
    corpus.add("codec", "many", struct.pack("<HHBB", 99, 259, 0, 0) + bytes(b for i in range(128) for b in (63, i)))


def add_roundtrips(corpus):
    for name, data in models().items():
        if len(data) < 1000:
            corpus.add("roundtrip", name, b"\0" + data)
    runs = bytes(b for i in range(40) for b in (63, 115 + i % 12))
    corpus.add("roundtrip", "made", b"\1" + bytes([3]) + bytes([0, 30, 64, 0]) + runs + bytes([1, 5, 5, 1]) + runs[:50] +
               bytes([3, 4, 1, 1, 9, 9]))


def add_archives(corpus, work):
    tree = {"config.json": b"{}", "bin/run.sh": (b"#!/bin/sh\n", True), "w.safetensors": models()["plain"]}
    corpus.add("archive", "tar", tar_of(tree))
    corpus.add("archive", "zip", zip_of(tree))
    corpus.add("archive", "long", tar_of({"d" * 90 + "/" + "f" * 120 + "\u00e9": b"x"}))
    write_tree(os.path.join(work, "small"), tree)
    run("compress", os.path.join(work, "small"), "-o", os.path.join(work, "small.tar"))
    for form in FORMS:
        out = os.path.join(work, "out." + form)
        run("decompress", os.path.join(work, "small.tar"), "-o", out)
        corpus.add("archive", "ours." + form, read(out))
    corpus.add("bundle", "small", read(os.path.join(work, "small.tar")))


def add_tunings(corpus):
    head = b"unweight-tuning 1\n"
    corpus.add("tuning", "none", head)
    corpus.add("tuning", "some", head + b"# coding rows columns batch pipeline nanoseconds\n\np4 14336 4096 16 palette 2650125\n"
               b"h 64 64 1 transcode 0\np4 14336 4096 1 decode 17\np4 14336 4096 16 raw 3\nh 64 64 4096 exponent 1")
    corpus.add("tuning", "device", head + b"p4 64 64 1 raw 1\ndevice NVIDIA H200\np4 28672 4096 16 palette 43120 predicted\n"
               b"p4 28672 4096 32 palette 44811 tile=32 blocks=2 parts=0\ndevice other\nh 64 64 4096 decode 5\n")
    corpus.add("tuning", "odd", head + b"p4 18446744073709551615 1 2 raw 18446744073709551616\n \t\r\np4 1 1 3 raw 1\n")


def add_manifest(corpus, bundle, name):
    text = read(os.path.join(bundle, "unweight.json"))
    corpus.add("manifest", name, text[:text.rindex(b'"manifest_sha256"')])


def add_parts(corpus, work, folder):
    """Plans; and what parts of them say, as if their plan had the digest that the target gives its own."""
    for profile in PROFILES:
        bundle = os.path.join(work, "parts-" + profile)
        run("compress", "--plan", folder, "-o", bundle + ".json", "-p", profile)
        text = read(bundle + ".json")
        corpus.add("parts", "plan-" + profile, text[:text.rindex(b'"manifest_sha256"')])
        run("compress", "--part", "2/2", folder, "-o", bundle, "-p", profile)
        text = read(os.path.join(bundle + ".parts", "part-2-of-2.manifest.json"))
        text = re.sub(rb'"plan_sha256":"[0-9a-f]*"', b'"plan_sha256":"' + b"0" * 64 + b'"', text)
        corpus.add("parts", "part-" + profile, text[:text.rindex(b'"manifest_sha256"')])


def main():
    corpus = Corpus(sys.argv[1])
    shapes = {"tiled": (16, 64), "linear": (700,)}
    with tempfile.TemporaryDirectory() as work:
        for name, data in models().items():
            path = write(os.path.join(work, name + ".safetensors"), data)
            for profile in PROFILES:
                bundle = os.path.join(work, name + "-" + profile)
                run("compress", path, "-o", bundle, "-p", profile)
                add_containers(corpus, name, profile, os.path.join(bundle, name + ".safetensors.uw"), shapes.get(name))
            add_manifest(corpus, bundle, name)
        folder = write_tree(os.path.join(work, "folder"), {"a": b"1", "b/c.json": (b"{}", True), "\u00e9": b"",
                                                           "m.safetensors": models()["plain"]})
        for profile in PROFILES:
            run("compress", folder, "-o", folder + profile, "-p", profile)
            add_manifest(corpus, folder + profile, profile)
        add_parts(corpus, work, folder)
        run("compress", os.path.join(work, "tiled.safetensors"), "-o", os.path.join(work, "tiled.tar"))
        corpus.add("bundle", "tiled", read(os.path.join(work, "tiled.tar")))
        add_archives(corpus, work)
        add_based(corpus, work)
    add_headers(corpus)
    add_numbers(corpus)
    add_roundtrips(corpus)
    add_tunings(corpus)


if __name__ == "__main__":
    main()
