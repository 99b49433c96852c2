#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the golden bundles: what the tools of format version 1.0 wrote, kept so that every later decoder restores it.

    UW_TOOLS=build/tools python3 make_golden.py NEWFOLDER

They pin decoding, never encoding: a later encoder may write other bundles of the same model, and that is no reason to make
these anew. A new golden bundle gets a new name beside the old ones; old ones stay as they are.

The model is made of SHAKE-128 output and arithmetic alone, the same wherever this runs. What it covers, and that the
bundles do, is checked here (see COVERED). The bundles are xz-compressed tars: some of their planes repeat on purpose, so
that large tensors cost little here.
"""

import hashlib
import json
import lzma
import os
import struct
import subprocess
import sys
import tempfile

PROFILES = "distribution", "inference"
SUMS = "SHA256SUMS"
SINGLE = "single.safetensors"
TUNED = "tuned"                                         # its base is what BASE was made of
BASE = "distribution"
ROWS = "rows.safetensors"
GEOMETRIC = 124, 123, 122, 121, 120, 119, 118, 117      # each half as frequent as the one before


def noise(nbytes, seed):
    return hashlib.shake_128(b"unweight golden " + seed.encode()).digest(nbytes)


def bf16(exponents, seed):
    """Weights with these exponents, signs and mantissas of noise."""
    bits = noise(len(exponents), seed)
    return b"".join(struct.pack("<H", (b & 0x80) << 8 | e << 7 | b & 0x7F) for e, b in zip(exponents, bits))


def trained(n, seed, middle=0):
    """Exponents as training leaves them."""
    out = []
    for b in noise(n, seed + " exponents"):
        out.append(GEOMETRIC[(b & -b).bit_length() - 1 if b else 7] + middle)
    return out


def escapes(exponents, every):
    """Some weights far outside any palette: zeros, infinities, huge and tiny ones."""
    out = list(exponents)
    for k, at in enumerate(range(every // 2, len(out), every)):
        out[at] = (0, 255, 200, 3, 90, 1, 254)[k % 7]
    return out


def odd_tiles():
    """Neither rows nor columns fill their tiles, the last row block has fewer tiles than the others, and there are patches."""
    return bf16(escapes(trained(111 * 127, "odd"), 900), "odd")


def uneven_lanes():
    """Every eighth row has long codes, the others short ones: lanes of very different length, shift > 0."""
    rows = []
    rare = noise(128 * 64, "rare")
    for r in range(128):
        rows += [100 + rare[64 * r + c] % 16 if r % 8 == 0 else 107 for c in range(64)]
    return bf16(rows, "uneven")


def experts(count, rows, columns, steps):
    """Matrices of 16 rows that repeat, so that they cost little here, with a spread of exponents that moves between
    the parts of a matrix: several tables."""
    out = []
    for k in range(count):
        tiles = [bf16(trained(16 * columns, "expert %d" % k, 20 * step), "expert") for step in range(steps)]
        out += [tiles[at * steps // rows] for at in range(0, rows, 16)]
    return b"".join(out)


def safetensors(tensors):
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"".join(t[3] for t in tensors)


def model():
    """{path: (bytes, executable)}"""
    weights = safetensors([
        ("layers.0.odd", "BF16", [111, 127], odd_tiles()),
        ("layers.0.uneven", "BF16", [128, 64], uneven_lanes()),
        ("layers.0.experts", "BF16", [2, 272, 253], experts(2, 272, 253, 3)),
        ("layers.0.bias", "BF16", [3001], bf16(escapes(trained(3001, "bias"), 300), "bias")),
        ("layers.0.conv", "BF16", [5, 12, 33], bf16(trained(5 * 12 * 33, "conv"), "conv")),
        ("layers.0.noise", "BF16", [150], noise(300, "noise")),
        ("layers.0.zeros", "BF16", [16, 64], bytes(2048)),
        ("scalar", "BF16", [], b"\x80\x3f"),
        ("none", "BF16", [0, 64], b""),
        ("also none", "F32", [3, 0], b""),
        ("größe.\u6b0a\u91cd", "F32", [5, 5], struct.pack("<25f", *(i / 8 for i in range(25)))),
        ("steps", "I64", [40], struct.pack("<40q", *range(40))),
        ("scales", "F8_E8M0", [40], bytes(range(100, 140))),
        ("packed", "F4", [6, 4], noise(12, "packed")),
        ("mask", "BOOL", [9], bytes(i % 2 for i in range(9))),
        ("future", "F2_FUTURE", [17], noise(5, "future")),
    ])
    return {
        "model.safetensors": (weights, False),
        "broken.safetensors": (b"no safetensors file at all\n" * 20, False),
        "empty.safetensors": (b"", False),
        "odd name.uw": (noise(100, "opaque"), False),
        "config.json": (b'{"model_type": "golden"}\n', False),
        "bin/run.sh": (b"#!/bin/sh\necho golden\n", True),
        "empty": (b"", False),
        "sub/unweight.json": (b"{}\n", False),
    }


def single():
    """The model of one file without a folder."""
    return safetensors([("w", "BF16", [2000], bf16(trained(2000, "single"), "single"))])


def rows():
    """One tensor whose rows have scales of their own, so that they are stored in another order. Neither rows nor columns
    fill their tiles, and there are patches."""
    scales = noise(158, "scales")
    data = []
    for r in range(158):
        exponents = trained(317, "row %d" % (r % 16), scales[r] % 4 * 2)
        data.append(bf16(escapes(exponents, 200 + r), "row %d" % (r % 16)))
    return safetensors([("w", "BF16", [158, 317], b"".join(data))])


def moved(data, every, seed):
    """Every so manieth weight up to four steps away."""
    out = bytearray(data)
    for i, n in zip(range(0, len(data) // 2, every), noise(len(data) // 2 // every + 1, seed)):
        word, = struct.unpack_from("<H", out, 2 * i)
        struct.pack_into("<H", out, 2 * i, word + n % 9 - 4 & 0xFFFF)
    return bytes(out)


def tuned():
    """model() after more training: tensors that have moved, a little or in some places, that stayed, and that are new;
    in two files; one file that stayed, one that is gone, one that changed."""
    before = model()
    expert = experts(2, 272, 253, 3)
    first = safetensors([
        ("layers.0.experts", "BF16", [2, 272, 253], expert[:len(expert) // 2] + moved(expert[len(expert) // 2:], 3, "experts")),
        ("layers.0.odd", "BF16", [111, 127], moved(odd_tiles(), 1, "odd")),
        ("layers.0.uneven", "BF16", [128, 64], uneven_lanes()),
        ("layers.0.bias", "BF16", [3001], moved(bf16(escapes(trained(3001, "bias"), 300), "bias"), 50, "bias")),
    ])
    second = safetensors([
        ("layers.0.conv", "BF16", [6, 12, 33], bf16(trained(6 * 12 * 33, "conv"), "conv")),
        ("layers.0.noise", "BF16", [150], noise(300, "other noise")),
        ("layers.0.new", "BF16", [40, 64], bf16(trained(2560, "new"), "new")),
        ("scalar", "BF16", [], b"\x80\x3f"),
        ("steps", "I64", [40], struct.pack("<40q", *range(40))),
    ])
    return {
        "model.safetensors": (first, False),
        "more.safetensors": (second, False),
        "broken.safetensors": before["broken.safetensors"],
        "odd name.uw": before["odd name.uw"],
        "config.json": (b'{"model_type": "golden", "tuned": true}\n', False),
        "bin/run.sh": before["bin/run.sh"],
    }


def write_model(folder, files):
    for path, (data, executable) in files.items():
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)
        os.chmod(full, 0o755 if executable else 0o644)


def run(tool, *args):
    return subprocess.run([os.path.join(os.environ["UW_TOOLS"], "unweight-" + tool), *args], check=True,
                          stdout=subprocess.PIPE).stdout


# ---- that the bundles hold what they are for

def shifts(bundle, tensor):
    """The shifts of the chunk words of a tensor's H groups (SPEC.md 6.2), all its groups being H."""
    found = set()
    extent = json.loads(run("inspect", "--json", bundle, tensor))
    with open(os.path.join(bundle, "model.safetensors.uw"), "rb") as f:
        for group in extent["detail"]:
            f.seek(group["offset"] + 16 * len(group["tables"]))
            found.add(struct.unpack("<Q", f.read(8))[0] >> 57 & 7)
    return found


def check_covered(bundle, profile):
    coded = {"distribution": "H", "inference": "P4"}[profile]
    names = ("layers.0.odd", "layers.0.uneven", "layers.0.experts", "layers.0.bias", "layers.0.conv", "layers.0.noise",
             "layers.0.zeros", "none", "steps", "future")
    t = {name: json.loads(run("inspect", "--json", bundle, name)) for name in names}

    def covers(what, true):
        if not true:
            sys.exit("%s: the bundle does not cover %s" % (profile, what))

    covers("tiles", all(t[n]["order"] == "tiled" and t[n]["coding"] == coded for n in names[:3]))
    covers("linear order", all(t[n]["order"] == "linear" and t[n]["coding"] == coded for n in names[3:5]))
    covers("patches", t["layers.0.odd"]["patches"] > 0 and t["layers.0.bias"]["patches"] > 0)
    covers("several tables", max(len(g["tables"]) for g in t["layers.0.experts"]["detail"]) >= 3)
    covers("several matrices", t["layers.0.experts"]["groups"] == 2)
    covers("raw groups", t["layers.0.noise"]["coding"] == "raw")
    covers("zstd groups", profile == "inference" or t["steps"]["coding"] == "zstd")
    covers("empty tensors", t["none"]["groups"] == 0)
    covers("unknown dtypes", t["future"]["dtype"] == "OTHER")
    covers("shift", profile == "inference" or max(shifts(bundle, "layers.0.uneven")) >= 2)


def check_rows(source, bundle):
    run("compress", source, "-o", bundle, "-qq")
    group, = json.loads(run("inspect", "--json", bundle, "w"))["detail"]
    if group["coding"] != "H" or not group["row_order"] or group["patches"] == 0:
        sys.exit("rows: the bundle does not cover a row order")


def keep(source, profile, path, tmp, *args):
    tar = os.path.join(tmp, "bundle.tar")
    run("compress", source, "-o", tar, "-p", profile, "-qq", "--force", *args)
    with open(tar, "rb") as f, open(path, "wb") as xz:
        xz.write(lzma.compress(f.read(), preset=9 | lzma.PRESET_EXTREME))


def keep_tuned(out, tmp):
    """On the golden base as it is kept here, which older tools may have made."""
    base, source, bundle = (os.path.join(tmp, name) for name in ("base.tar", TUNED, TUNED + ".bundle"))
    with open(base, "wb") as f, lzma.open(os.path.join(os.path.dirname(os.path.abspath(__file__)), BASE + ".tar.xz")) as xz:
        f.write(xz.read())
    write_model(source, tuned())
    run("compress", source, "-o", bundle, "--base", base, "-qq")
    tensors = [t for f in json.loads(run("inspect", "--json", bundle))["files"] for t in f["tensors"]]
    details = [json.loads(run("inspect", "--json", bundle, t["name"]))["detail"] for t in tensors]
    codings = {group["coding"] for detail in details for group in detail}
    if not codings >= {"copy", "delta", "H", "raw"} or "mixed" not in {t["coding"] for t in tensors}:
        sys.exit("tuned: the bundle does not cover all codings")
    keep(source, "distribution", os.path.join(out, TUNED + ".tar.xz"), tmp, "--base", base)


def main(out):
    os.mkdir(out)
    with tempfile.TemporaryDirectory() as tmp:
        source = os.path.join(tmp, "model")
        write_model(source, model())
        for profile in PROFILES:
            bundle = os.path.join(tmp, profile)
            run("compress", source, "-o", bundle, "-p", profile, "-qq")
            check_covered(bundle, profile)
            keep(source, profile, os.path.join(out, profile + ".tar.xz"), tmp)
        source = os.path.join(tmp, SINGLE)
        with open(source, "wb") as f:
            f.write(single())
        keep(source, PROFILES[0], os.path.join(out, "single.tar.xz"), tmp)
        source = os.path.join(tmp, ROWS)
        with open(source, "wb") as f:
            f.write(rows())
        keep(source, PROFILES[0], os.path.join(out, "rows.tar.xz"), tmp)
        check_rows(source, os.path.join(tmp, "rows"))
        keep_tuned(out, tmp)
    sums = {path: data for path, (data, _) in model().items()}
    sums[SINGLE] = single()
    sums[ROWS] = rows()
    sums.update({TUNED + "/" + path: data for path, (data, _) in tuned().items()})
    with open(os.path.join(out, SUMS), "w") as f:
        for path, data in sorted(sums.items()):
            f.write("%s  %s\n" % (hashlib.sha256(data).hexdigest(), path))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
