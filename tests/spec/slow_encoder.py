# SPDX-License-Identifier: Apache-2.0
"""Containers made by a slow encoder that follows SPEC.md word by word, for the tests of the decoder.

It handles one weight at a time and is no model of a good one: it shows what each sentence of the specification means.
"""

import io
import json
import random
from struct import pack, pack_into, unpack, unpack_from

import unweight_decoder as unweight
from unweight_decoder import BYTES, COPY, DELTA, H, LINEAR, OPAQUE, P4, RAW, SAFETENSORS_HEADER, TENSOR, TILED, ZSTD
from xxh3 import xxh3_64, xxh3_128


# Test data that needs no library

def pseudo(size, seed=1):
    out = bytearray()
    for _ in range(size):
        seed = (seed * 1103515245 + 12345) & 0x7FFFFFFF
        out.append(seed >> 16 & 255)
    return bytes(out)


def words(count, seed=1):
    vocabulary = b"weights are coded one by one in tiles of a thousand and twenty four".split()
    return b" ".join(vocabulary[x * x // 5000 % len(vocabulary)] for x in pseudo(count, seed))


def skewed(size, seed=1):
    return bytes(b"aaaaaaaabbbbccdeaaaabbbcfghijklm"[x >> 3] for x in pseudo(size, seed))


XXH3 = (      # length, XXH3-64, XXH3-128 of pseudo(length), from libxxhash 0.8.4
    (0, "2d06800538d394c2", "99aa06d3014798d86001c324468d497f"),
    (1, "e5e62017e96f839c", "9a0f174ae92e6df2e5e62017e96f839c"),
    (3, "d3bcc83c6f14e70f", "da47c2149249db69d3bcc83c6f14e70f"),
    (4, "c7f159f34b126cb4", "504303785d7b5ac9e267cf807951fe26"),
    (8, "0f25a2a1cc43dda2", "e4f1bc54c38ed231ec0b5b60d4670d0e"),
    (9, "1e3be9699baa50cf", "046e6473695659653b1764b161f03ecd"),
    (16, "9ec324145cea1dcb", "82d56864b86d46550c85c3b7b344cfaf"),
    (17, "48f3651d7436310a", "e07226299d418421ee80c12e2eaa110d"),
    (64, "7abe508541644d25", "960fca3c66b39991f2a2091b45bbd9cf"),
    (100, "41971b14889c653c", "7f069eb0bbca1473642b5806e5883104"),
    (128, "5d813d42c0005ea8", "4a4e39fcfa4515aa08d61631b87e5395"),
    (129, "c61639b552225575", "5d41bb88ee7f7e4511b15591bb767e79"),
    (200, "aea1c4e1114bf7db", "fbe7b91005c8f97b4a8a2a56bda735cd"),
    (240, "7d85b8d4f8b10c82", "f92b835add69c25d4627a2b0d94e7351"),
    (241, "5c56141c894cd97e", "80610486edf872df5c56141c894cd97e"),
    (256, "cdb34974678d6687", "242daf7771ae05e6cdb34974678d6687"),
    (1024, "0551dea22e104ea8", "dcc4b2941cb5e5e40551dea22e104ea8"),
    (1025, "dbe2ed3c377d9922", "2e457d89ed1973d3dbe2ed3c377d9922"),
    (1088, "98ce47a58d705d59", "53ae9650f04ffa9598ce47a58d705d59"),
    (5000, "80b0120fc87dbf6e", "b52a8229caae39c480b0120fc87dbf6e"),
)


def flip(data, bit):
    data = bytearray(data)
    data[bit // 8] ^= 1 << bit % 8
    return bytes(data)


# The slow encoder

def pad(data, n):
    return data + bytes(-len(data) % n)


PADDING = None


def weights_by_position(data, order, rows, columns):
    """Section 5: the weights of a group, padding included, in the order of the tiles and of the positions in them"""
    if order == LINEAR:
        return list(unpack_from("<%dH" % (len(data) // 2), data)) + [PADDING] * (-len(data) // 2 % 1024)
    weights = []
    tile_rows, tile_columns = -(-rows // 16), -(-columns // 64)
    for rb in range(-(-tile_rows // 4)):
        for kt in range(tile_columns):
            for w in range(min(4, tile_rows - 4 * rb)):
                for p in range(1024):
                    j, lane, i = p // 256, p // 8 % 32, p % 8
                    g, q, r, h = lane // 4, lane % 4, i // 2, i % 2
                    row = 16 * (4 * rb + w) + g + 8 * (r % 2)
                    column = 64 * kt + 16 * j + 2 * q + h + 8 * (r // 2)
                    inside = row < rows and column < columns
                    weights.append(unpack_from("<H", data, 2 * (row * columns + column))[0] if inside else PADDING)
    return weights


def encode_s(weights):
    plane = bytearray(len(weights))
    for tile in range(len(weights) // 1024):
        for j in range(4):
            for lane in range(32):
                at = 1024 * tile + 256 * j + 8 * lane
                a = [weights[at + 2 * r] | weights[at + 2 * r + 1] << 16 for r in range(4)]
                s0 = a[0] & 0x807F807F | (a[1] << 8 | a[1] >> 24) & 0x7F807F80
                s1 = a[2] & 0x807F807F | (a[3] << 8 | a[3] >> 24) & 0x7F807F80
                pack_into("<I", plane, 1024 * tile + 16 * lane + 4 * j, s0)
                pack_into("<I", plane, 1024 * tile + 512 + 16 * lane + 4 * j, s1)
    return bytes(plane)


def canonical_codes(lengths):
    """The code of each symbol as a string of 0 and 1, first bit first"""
    codes = [""] * 16
    code = 0
    for length in range(1, 8):
        for s in range(16):
            if lengths[s] == length:
                codes[s] = format(code, "0%db" % length)
                code += 1
        code *= 2
    return codes


def bits_to_bytes(bits):
    return bytes(int(bits[at:at + 8][::-1], 2) for at in range(0, len(bits), 8))


def encode_chunk_h(symbols, lengths, shift, spare=0):
    """(base, stream)"""
    codes = canonical_codes(lengths)
    lanes = []
    for lane in range(32):
        bits = "".join(codes[s] for p, s in enumerate(symbols) if p // 8 % 32 == lane)
        lanes.append(bits + "0" * (-len(bits) % (1 << shift)))
    units = [len(bits) >> shift for bits in lanes]
    base = max(0, min(units) - spare)
    bits = "".join(lanes)
    bits += "0" * (-len(bits) % 32)
    return base, bytes(unit - base for unit in units) + bits_to_bytes(bits)


def encode_p4(symbols):
    plane = bytearray(len(symbols) // 2)
    for p in range(0, len(symbols), 8):
        tile, j, lane = p // 1024, p // 256 % 4, p // 8 % 32
        word = 0
        for i in range(8):
            s = symbols[p + i]
            word |= s // 2 << 4 * (1, 3, 2, 0, 5, 7, 6, 4)[i] | s % 2 << (7, 23, 15, 31, 3, 19, 11, 27)[i]
        pack_into("<I", plane, 512 * tile + 16 * lane + 4 * j, word)
    return bytes(plane)


LENGTHS = (
    (2, 2, 3, 4, 4, 5, 5, 5, 5, 6, 6, 6, 6, 5, 6, 6),
    (1, 3, 4, 4, 4, 5, 5, 6, 6, 6, 7, 7, 7, 7, 5, 6),
    (4,) * 16,
    (7, 7, 6, 5, 4, 3, 2, 2, 3, 7, 7, 5, 5, 6, 6, 6),
    (1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
)


class Coded:
    """Encodes a group. A test changes what it wants to before seal()."""

    def __init__(self, data, coding, order, rows=0, columns=0, tables=1, shift=0, lengths=0, missing=0, row_order=()):
        self.row_order = list(row_order)
        if row_order:
            data = b"".join(data[2 * columns * row:2 * columns * (row + 1)] for row in row_order)
        weights = weights_by_position(data, order, rows, columns)
        pairs = [w >> 8 & 0x7F for w in weights if w is not PADDING]
        ranking = sorted(set(pairs), key=lambda pair: (-pairs.count(pair), pair))
        self.coding = coding
        self.tables, self.words, self.patches, self.parts, self.symbols = [], [], [], [], []
        for t in range(tables):
            palette = ranking[:8 - missing - t] if missing or t else ranking[:8]     # the fewer, the more patches
            palette = (palette + [0] * 8)[:8]
            code_lengths = LENGTHS[lengths + t] if coding == H else (0,) * 16
            self.tables.append([palette, list(code_lengths)])
        start = 0
        for at in range(0, len(weights), 8192):
            chunk = weights[at:at + 8192]
            table = at // 8192 % tables
            palette, code_lengths = self.tables[table]
            first_patch = len(self.patches)
            symbols = []
            for p, weight in enumerate(chunk):
                if weight is PADDING:
                    symbols.append(0)
                    continue
                e = weight >> 7 & 0xFF
                if e // 2 in palette:
                    s = 2 * palette.index(e // 2) + e % 2
                else:
                    s = e % 2
                    decoded = weight & 0x807F | (2 * palette[0] + e % 2) << 7
                    self.patches.append(p << 16 | decoded ^ weight)
                symbols.append(s)
            self.symbols.append(symbols)
            if coding == H:
                base, stream = encode_chunk_h(symbols, code_lengths, shift, spare=start % 3)
                self.words.append([start // 4, first_patch, base, table, shift])
                self.parts.append(stream)
                start += len(stream)
            else:
                self.words.append([0, first_patch, 0, table, 0])
                self.parts.append(encode_p4(symbols))
        self.s = encode_s([0 if weight is PADDING else weight for weight in weights])

    def seal(self):
        """(coding, number of tables, number of patches, stored bytes)"""
        head = b""
        for palette, lengths in self.tables:
            head += bytes(palette) + bytes(lengths[s] | lengths[s + 1] << 4 for s in range(0, 16, 2))
        for start, first_patch, base, table, shift in self.words:
            head += pack("<Q", start | first_patch << 22 | base << 42 | table << 53 | shift << 57
                         | (self.row_order != [] and len(head) == 16 * len(self.tables)) << 60)
        for patch in self.patches:
            head += pack("<I", patch)
        head += pack("<%dH" % len(self.row_order), *self.row_order)
        return self.coding, len(self.tables), len(self.patches), pad(head, 64) + pad(b"".join(self.parts), 64) + self.s


def raw(data):
    return RAW, 0, 0, data


def zstd_stored(data):
    """A Zstandard frame of one raw block"""
    return ZSTD, 0, 0, b"\x28\xb5\x2f\xfd\xa0" + pack("<I", len(data)) + pack("<I", len(data) << 3 | 1)[:3] + data


def reference(file, at):
    return pack("<IIQ", file, 0, at)


def copied(file, at):
    return COPY, 0, 0, reference(file, at)


def delta(file, at, base, data):
    """What differs in `data` from `base`, words of the base's file from `at` on, in the words of the specification"""
    folded = []
    for c in range(256):
        for b, w in zip(*(unpack("<%dH" % (len(x) // 2), x) for x in (base, data))):
            if (b >> 7) % 256 == c:
                d = (w - b) % 65536
                folded.append(2 * d if d < 32768 else 2 * (65535 - d) + 1)
    planes = bytes(f >> 8 for f in folded) + bytes(f & 255 for f in folded)
    return DELTA, 0, 0, reference(file, at) + zstd_stored(planes)[3]


def digest64(data):
    return pack(">Q", xxh3_64(data))


def digest128(data):
    return xxh3_128(data).to_bytes(16, "big")


def container(extents, base=b""):
    """extents: dictionaries of kind, dtype, order, name, dimensions, data and groups, the last as Coded.seal() gives them.
    base: its digest, 32 bytes, if there is one."""
    out = bytearray(b"\x89UWC\r\n\x1a\n" + pack("<HHIQQ24x", 1, 0, 0, base != b"", 0))
    out += digest64(out)
    extent_records, group_records, dimensions, names = b"", b"", b"", b""
    for x in extents:
        extent_records += pack("<Q16sIIIII", len(x["data"]), digest128(x["data"]), len(group_records) // 32, len(x["groups"]),
                               len(dimensions) // 8, len(names), len(x["name"]))
        extent_records += bytes((x["kind"], x["dtype"], x["order"], len(x["dimensions"])))
        for coding, tables, patches, stored in x["groups"]:
            out += bytes(-len(out) % (4096 if len(stored) >= 1 << 20 else 64))
            group_records += pack("<QQ8sIBBH", len(out), len(stored), digest64(stored), patches, coding, tables, 0)
            out += stored
        dimensions += pack("<%dQ" % len(x["dimensions"]), *x["dimensions"])
        names += x["name"]
    out += bytes(-len(out) % 64)
    source_size = sum(len(x["data"]) for x in extents)
    index = pack("<QIIIIQ", source_size, len(extents), len(group_records) // 32, len(dimensions) // 8, len(names), 0)
    index = pad(index + base + extent_records + group_records + dimensions + names, 8)
    trailer = pack("<QQQ8s16x", len(out), len(index), len(out) + len(index) + 64, digest64(index))
    return bytes(out + index + trailer + digest64(trailer) + b"\x89UWT\r\n\x1a\n")


def opaque(data, *groups):
    return dict(kind=OPAQUE, dtype=0, order=BYTES, name=b"", dimensions=(), data=data, groups=groups)


def tensor(name, dtype, dimensions, order, data, *groups):
    return dict(kind=TENSOR, dtype=dtype, order=order, name=name.encode(), dimensions=dimensions, data=data, groups=groups)


def safetensors(*tensors):
    """The extents of a safetensors file"""
    at = 0
    header = {"__metadata__": {"format": "pt"}}
    for x in tensors:
        end = at + len(x["data"])
        header[x["name"].decode()] = {"dtype": unweight.DTYPES[x["dtype"]] if x["dtype"] < 255 else "F7", "shape": x["dimensions"],
                                      "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    text = pack("<Q", len(text)) + text
    return [dict(kind=SAFETENSORS_HEADER, dtype=0, order=BYTES, name=b"", dimensions=(), data=text, groups=(raw(text),)), *tensors]


def reseal(data):
    """Puts right the hashes of groups, index, header and trailer of a changed container."""
    data = bytearray(data)
    at, size = unpack_from("<QQ", data, len(data) - 64)
    if at + size + 64 == len(data) and size >= 32:
        extents, groups = unpack_from("<II", data, at + 8)
        for record in range(at + 32 + 48 * extents, min(at + 32 + 48 * extents + 32 * groups, at + size - 31), 32):
            stored_at, stored = unpack_from("<QQ", data, record)
            if stored_at + stored <= at:
                data[record + 16:record + 24] = digest64(data[stored_at:stored_at + stored])
        data[-40:-32] = digest64(data[at:at + size])
    data[-16:-8] = digest64(data[-64:-16])
    data[56:64] = digest64(data[:56])
    return bytes(data)


def bf16(count, seed=1):
    """Bytes of weights with exponents that go down from a peak, and a few far away"""
    generator = random.Random(seed)
    out = bytearray()
    for _ in range(count):
        e = max(0, 124 - int(generator.expovariate(0.4)))
        if generator.random() < 0.004:
            e = generator.choice((0, 1, 180, 181, 254, 255))
        out += pack("<H", generator.getrandbits(1) << 15 | e << 7 | generator.getrandbits(7))
    return bytes(out)


def decode(data):
    return b"".join(unweight.Container(io.BytesIO(data)).decode())


def source_of(extents):
    return b"".join(x["data"] for x in extents)


def tiled(name, dimensions, coding, **options):
    """A tensor in tiled order that has one group a matrix"""
    rows, columns = dimensions[-2:]
    size = 2 * rows * columns
    count = dimensions[0] if len(dimensions) == 3 else 1
    data = bf16(count * rows * columns, seed=rows)
    groups = [Coded(data[at:at + size], coding, TILED, rows, columns, **options).seal() for at in range(0, len(data), size)]
    return tensor(name, 10, dimensions, TILED, data, *groups)


def linear(name, dimensions, coding, **options):
    data = bf16(dimensions[0], seed=dimensions[0])
    return tensor(name, 10, dimensions, LINEAR, data, Coded(data, coding, LINEAR, **options).seal())


def example():
    f32 = pseudo(160, 5)
    i8 = pseudo(300, 6)
    equal = pack("<H", 0xBF80) * 700
    return safetensors(
        tiled("a", (2, 70, 100), H, tables=2, shift=1),                          # two matrices, ten tiles each
        linear("b", (2500,), H, shift=3, missing=3),                             # three tiles, many patches
        tiled("r", (70, 100), H, tables=2, row_order=[*range(69, -1, -2), *range(0, 70, 2)]),
        tiled("c", (130, 70), P4, tables=2, missing=1),                          # nine tile rows: row blocks of 4, 4 and 1
        linear("d", (9001,), P4, tables=2, missing=2),
        tensor("e", 13, (5, 8), BYTES, f32, raw(f32)),
        tensor("", 3, (300,), BYTES, i8, zstd_stored(i8)),                       # the empty name
        tensor("scalar \u00e9", 10, (), LINEAR, b"\x12\x34", raw(b"\x12\x34")),
        tensor("nothing", 10, (0, 5), LINEAR, b""),
        tensor("equal", 10, (700,), LINEAR, equal, Coded(equal, H, LINEAR, lengths=4, missing=7).seal()),
        tensor("F4", 18, (3, 2), BYTES, b"abc", raw(b"abc")),
        tensor("unknown", 255, (3, 2), BYTES, b"any", raw(b"any")))


def small():
    """Short, for tests that decode it thousands of times"""
    text = pseudo(70)
    return safetensors(tiled("t", (16, 40), H, missing=3, shift=1, row_order=[*range(5, 16), *range(5)]), linear("l", (90,), P4, missing=2),
                       tensor("x", 2, (7, 10), BYTES, text, raw(text)))
