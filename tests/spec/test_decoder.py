"""Tests of the decoder: known answers, and containers made by a slow encoder that follows SPEC.md word by word.

    python3 test_decoder.py

The encoder here handles one weight at a time and is no model of a good one: it shows what each sentence of the specification means.
"""

import contextlib
import hashlib
import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import unittest
from struct import pack, pack_into, unpack_from

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import unweight_decoder as unweight
from unweight_decoder import BYTES, H, LINEAR, OPAQUE, P4, RAW, SAFETENSORS_HEADER, TENSOR, TILED, ZSTD, Corrupt
from xxh3 import xxh3_64, xxh3_128
from zstd import ZstdError, decompress


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

ZSTD_FRAMES = (      # content, frame, from libzstd 1.5.7
    # Huffman weights in FSE, own, predefined and repeated FSE tables
    (words(400),
     "28b52ffd607607f4050002050f11c0b701642457a459a116e9e6ff9fd7890380eefa7cb6a1b63dd728b6a152dbb3706b8baaf01079a7c2ab181d4ccdbfc3745b"
     "142e28b82b9523c90140a8f19286290cfb192046809cbb1e11203481453431029c3419e642851ceba5415e4dc9ba9f0e98ee29b0a39a80ee9aad50e96f8b2575"
     "627a56695e43bf008449058e1a9fb17646a3e299dfbff937675c5880306c786d72dabb8c413fab28f318c50ccdb4b41a3e1c90424bdf3eac1f96216c81fcbf49"
     "37ae9306af5c570d3c040058616e6461696e6f6661627939e02002428c43761ef10e879c2ad997f521e7bb624fd4e6355d72766de71e0252b62983908e77e532"
     "c5890faa6608c8a22e1c34e3ecc4b254505e22eec664cd649f4a1464e1e6e980d2dd16e8a2ee59f91da3e3657e17ac299862871333e13adc50fbedc2b87b8e34"
     "74cc0cb4071dd3b634039e959f0ea142bbf0f4030018696e6639a8f0392044400872287d11200c018b58812168308262a80c6328893747873c19ff79055c420e"
     "7f684130c2e472e6fea959ab3dec6a5e4026dcb7d5fecda332c5c5479f2334819b721433f0287e9861659eb78b4cff7b5d8d202ad28ae248866fe80be0dd4e35"
     "a4a73a5c57d231f19fc7a5a0728978284123d3010000"),
    # four streams, the Huffman table of the block before, checksum
    (skewed(900),
     "28b52ffd6484022c0400d652200dc0a70384969a08d9920100e0bc1d001b001b005ae41d071755c992250492b7be6407f0b2bedbd2c46909c8cca7ce13846a98"
     "94b61768c8a39a957cd5f5d570511fbb8b8941df23d5e74902e533f15d2cedbe750a3e6ca85b4f676a2548d81a765ae940d70d6adb19c3fe2b7323f076ad4520"
     "f701fad1fea8b5dfa5633fb892e000f4030027121d1b001b001c00e5f6c8b4686999e41aafeb4a5ce01e9aadbec3080255e0ef28dc05d7124086fa0ad4a2677d"
     "fc5a5458067d60bdac7bb2740884645a031ac45011ce4e8e15142f77a82af17514b7587c00ec770f6eb91d80082e34e0c5334bc1e335b305b5dee638115f94ee"
     "9cc7270f8e840b0261020080680fc009d40300a7921d1d001d001a002e4c3c1d1bca94479fba4aa53ea40ce94ce21fa2ced2898b5dad609136963e0aacef3088"
     "f13f8e751bdc153257f376a57e2d5821d0f30c3013126b0ce2e85abe57816f7f0c083679135575a5829aba03cb5cd70d5a46b810f325ace49835d354e05e540d"
     "d585eeaa022f2fdd130c6e60000100000985e4d7"),
    # all kinds of literals and tables
    (skewed(300) + words(60) + skewed(200, 7) + words(60),
     "28b52ffd606c033c0600c24e2116a015261d1fbf29d71a91b66b2dd95bf2ffffa87e0503c43884c04a602236020ae120030751020729800915152da22046193b"
     "78cd851d7a4bc5f218142a224b25af6479cf7271e0a1cda9c852e1d8afb95e60a59cd47bd6f4d492d7863ebfe1d35f2870ce807639d3d1fe8c3db338d0175c1b"
     "6b5ca839f0c95b4eb4fb77590dcf1df62a011c28101ae2ac3d1080eb30075be9c9e025d08ce3ab78b4f9edcabee443ce2dd9a369b652045f170f2a63795b03c5"
     "65d4d457a1d14c5135c73c1fac1062ab3244040073850a0ce6bc7becd29a1e0cf70d5d68dda57a09e59b807531020b3b50b854f81cb41cee01891de00009bb00"
     "7c29a8306dd242bb012042c3289b1d10485501d9b4e51ab680e8ae01b2ec645105afb6b788cf6e310d71bb33ab4884cc46ae02186c07683c8444546f35fb18c4"
     "ba3a2766de00b359401ae1a460345ef55bb15387317ca64144327c02d4010074026b6262616d686a61626a61616c64696168656262696a6469616a6261686169"
     "6a69696261636b6105303907a218ca0b010a823a7ea3412201010000"),
    # Huffman weights of 4 bits
    (bytes(x >> 4 for x in pseudo(300)),
     "28b52ffd602c00fc010052c60e8e21122322311113201545a3f453c49438c361b32cdcc60f92535748042c5e1fc0226e5e1b145afaf00f144b1eb559cdf544c6"
     "08ee249b9865be1200d4010053860d57a3d84d61041c3643120dcb8b0d200aa17186e49e69cc0c50045100537ae333520527f29c0050d674a22ac834c0901260"
     "0a4131a20f00cc010023460d25484e29185543136677c3ea41015bca817a90bbaa1d19cd4002ad6503854f3c46718970e1088e1c0f634c15e2aba9184684b009"
     "0100010000"),
    # one code for all match lengths
    (b"".join(pseudo(24, i) + b"constant" for i in range(12)),
     "28b52ffd608000dd0900841200dc0465aa1fad1d5adae5ac1b1e5f1370796cfd10ff19af636f6e7374616e74c67e816b4bfbe2fb54f6bddf7c1ce18701bf31de"
     "56720f478c21ff72edd718d94e139513dc1b63fc9306f6bf9ce506e053c37d788eb44db7482f6d463d19e570244cbba0e358fc781966fb7f2f908295424b4579"
     "9d1767e5b593808129caf310df097885d16cb8733c681dacfd15e95946d944626f3deaa9a6abf68c7249ed513784f5df5e146bced8200943b6b0e0416c4e7492"
     "1325222e31a1cd13be12ed426966ce24fc23d7da32f0f299b401570c2bbda5461f106fb7faad93054295cd72f8936f9f56de8dea25d97d797f0ef12b8bf358e5"
     "8908c40abf36eda6f7bac2c81ff655ace00d73a01d3a1dc6cf7bbba385d86bac9896f7a619122ddf400bf515ae80e1a715eeb13b0ba410fe3f2f0fe035070500"
     "00408b43ca"),
    # repeated offsets
    (b"".join(b"aaa"[:x & 3] + pseudo(9, 77) for x in pseudo(10)),
     "28b52ffd246fc40000806161a5c4d5592d65b7d9916161a5c4d502002d1b3057bc8400003861a5c4d5592d65035000059117438894000048a5c4d5592d65b7d9"
     "91034000c0e8ecd1e201000008f522bf"),
    # long matches
    (words(30) + bytes(3000) + words(30) + bytes(3000) + words(40),
     "28b52ffd608e184d030062430b11c0b7016424590a1a35a1245c555df087041669f0c37459978c72643beb41b295f68eb69e2ebb61f861e94dd9160053953075"
     "016c3443114b1dd0cf2f421f6887fbd318175e3129196a16b82980c5996216307501ce03a42adbeaaeab367c1ed0cc1cda2b07"),
    # RLE blocks
    (bytes(300000),
     "28b52ffda0e09304004c000008000100fcffe44e0802001000039f0400"),
    # raw block
    (pseudo(40),
     "28b52ffd2028410100c67e816b4bfbe2fb54f6bddf7c1ce18701bf31de56720f4767668759aa883c59ea56137bd285a1d8"),
    # nothing
    (b"",
     "28b52ffd2000010000"),
)


class HashTest(unittest.TestCase):
    def test_known_answers(self):
        for size, hash64, hash128 in XXH3:
            data = pseudo(size)
            self.assertEqual("%016x" % xxh3_64(data), hash64, size)
            self.assertEqual("%032x" % xxh3_128(data), hash128, size)


class ZstdTest(unittest.TestCase):
    def test_frames(self):
        for content, frame in ZSTD_FRAMES:
            self.assertEqual(decompress(bytes.fromhex(frame), len(content)), content)

    def test_corrupt_frames(self):
        for content, frame in ZSTD_FRAMES:
            frame = bytes.fromhex(frame)
            for bad, size in ((frame, len(content) + 1), (frame[:-1], len(content)), (frame + b"\0", len(content)),
                              (frame + frame, len(content)), (frame[1:], len(content)), (b"", len(content))):
                with self.assertRaises(ZstdError):
                    decompress(bad, size)
        checksum = bytearray.fromhex(ZSTD_FRAMES[1][1])
        checksum[-1] ^= 1
        with self.assertRaisesRegex(ZstdError, "checksum"):
            decompress(checksum, 900)
        with self.assertRaisesRegex(ZstdError, "not stated"):
            decompress(bytes.fromhex("28b52ffd0058010000"), 0)
        with self.assertRaisesRegex(ZstdError, "dictionary"):
            decompress(bytes.fromhex("28b52ffd210700010000"), 0)
        self.assertEqual(decompress(bytes.fromhex("28b52ffd2003190000616263"), 3), b"abc")

    def test_flipped_bits(self):
        for content, frame in ZSTD_FRAMES[3:]:
            frame = bytes.fromhex(frame)
            for bit in range(0, 8 * len(frame), 3):
                try:
                    decompress(flip(frame, bit), len(content))
                except ZstdError:
                    pass


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


def digest64(data):
    return pack(">Q", xxh3_64(data))


def digest128(data):
    return xxh3_128(data).to_bytes(16, "big")


def container(extents):
    """extents: dictionaries of kind, dtype, order, name, dimensions, data and groups, the last as Coded.seal() gives them"""
    out = bytearray(b"\x89UWC\r\n\x1a\n" + pack("<HHIQQ24x", 1, 0, 0, 0, 0))
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
    index = pad(index + extent_records + group_records + dimensions + names, 8)
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


class ContainerTest(unittest.TestCase):
    def assertCorrupt(self, data, reason=""):
        with self.assertRaisesRegex(Corrupt, reason):
            decode(data)

    def test_example(self):
        extents = example()
        self.assertEqual(decode(container(extents)), source_of(extents))
        self.assertGreater(sum(group[2] for x in extents for group in x["groups"]), 100)      # patches

    def test_all_tables_and_shifts(self):
        for coding in (H, P4):
            for lengths in range(3):
                for shift in range(4):
                    x = linear("t", (9000,), coding, lengths=lengths, shift=shift, tables=2)
                    extents = safetensors(x)
                    self.assertEqual(decode(container(extents)), source_of(extents))

    def test_opaque(self):
        self.assertEqual(decode(container([])), b"")
        self.assertEqual(decode(container([opaque(b"")])), b"")
        self.assertEqual(decode(container([opaque(b"abc", raw(b"abc"))])), b"abc")

    def test_groups(self):
        """Sizes and places of groups; large ones lie at multiples of 4096."""
        data = pseudo(4096) * 2048 + b"rest"
        good = container([opaque(data, raw(data[:1 << 23]), raw(data[1 << 23:]))])
        self.assertEqual(unpack_from("<Q", good, unpack_from("<Q", good, len(good) - 64)[0] + 80)[0], 4096)
        self.assertEqual(decode(good), data)
        self.assertCorrupt(container([opaque(data, raw(data))]), "number of groups")
        self.assertCorrupt(container([opaque(data, raw(data[:1 << 22]), raw(data[1 << 22:]))]), "RAW of wrong size")

        def sizes(order, size, *dimensions):
            x = unweight.Extent(bytes(48))
            x.order, x.size, x.dimensions = order, size, dimensions
            shapes = list(unweight.group_shapes(x))
            self.assertEqual(len(shapes), unweight.group_count(x))
            self.assertEqual(sum(shape.size for shape in shapes), size)
            return [(shape.rows, shape.tiles) for shape in shapes]

        self.assertEqual(sizes(LINEAR, 0, 0), [])
        self.assertEqual(sizes(LINEAR, 2 * (1 << 22) + 2, (1 << 22) + 1), [(0, 4096), (0, 1)])
        self.assertEqual(sizes(TILED, 2 * 7000 * 1000, 7000, 1000), [(6144, 384 * 16), (856, 54 * 16)])
        self.assertEqual(sizes(TILED, 2 * 3 * 2 * 70 * 65537, 3, 2, 70, 65537), [(64, 4 * 1025), (6, 1025)] * 6)

    def test_every_bit_counts(self):
        """Header, index, trailer and the bytes between, without and with hashes put right"""
        extents = small()
        source = source_of(extents)
        good = container(extents)
        self.assertEqual(decode(good), source)
        index_at = unpack_from("<Q", good, len(good) - 64)[0]
        groups = [(group.at, group.at + group.stored) for group in unweight.Container(io.BytesIO(good)).groups]
        records = index_at + 32 + 48 * len(extents)
        hashes = {*range(56, 64), *range(len(good) - 40, len(good) - 32), *range(len(good) - 16, len(good) - 8)}
        hashes.update(records + 32 * i + k for i in range(len(groups)) for k in range(16, 24))
        ignored = {10, 11, *range(24, 32)}               # minor version, compatible features
        for byte in range(len(good)):
            inside = any(begin <= byte < end for begin, end in groups)
            for bit in (8 * byte + byte % 8,) if inside else range(8 * byte, 8 * byte + 8):
                bad = flip(good, bit)
                self.assertCorrupt(bad)
                if byte in ignored:
                    self.assertEqual(decode(reseal(bad)), source)
                elif inside:                             # corrupt, or a padding weight
                    with contextlib.suppress(Corrupt):
                        self.assertEqual(decode(reseal(bad)), source)
                elif byte not in hashes:
                    self.assertCorrupt(reseal(bad))

    def test_truncated(self):
        good = container(small())
        for size in (0, 63, 64, 159, 160, len(good) // 2, len(good) - 64, len(good) - 1):
            self.assertCorrupt(good[:size])
        self.assertCorrupt(good + b"\0")

    def test_extents(self):
        def bad(reason, **change):
            data = bf16(64 * 64)
            x = tensor("t", 10, (64, 64), TILED, data, raw(data))
            x.update(change)
            self.assertCorrupt(container(safetensors(x)), reason)

        bad("size does not fit", dimensions=(64, 65))
        bad("size does not fit", dimensions=())
        bad("too large", dimensions=(1 << 63, 2, 0))
        bad("unknown dtype", dtype=0, order=BYTES)
        bad("unknown order", order=3)
        bad("order of a BF16", dtype=9)
        bad("without rows and columns", dimensions=(4096,))
        bad("without rows and columns", dimensions=(64, 64, 0), data=b"", groups=())
        bad("coding of weights", order=BYTES, groups=[Coded(bf16(4096), H, LINEAR).seal()])
        bad("number of groups", groups=())
        row = bytes(2 * ((1 << 17) + 1))
        bad("too long for tiled", dimensions=(1, (1 << 17) + 1), data=row, groups=[raw(row)])

        text = raw(b"abc")
        self.assertCorrupt(container([opaque(b"abc", text), opaque(b"abc", text)]), "more than one extent")
        self.assertCorrupt(container([tensor("t", 2, (3,), BYTES, b"abc", text)]), "unexpected kind")
        head, x = safetensors(tensor("t", 2, (3,), BYTES, b"abc", text))
        self.assertCorrupt(container([head, x, x]), "name twice")
        self.assertCorrupt(container([head, head]), "unexpected kind")
        self.assertCorrupt(container([head]), "number of tensors")
        self.assertCorrupt(container([head, dict(x, name=b"u")]), "no tensor of that name")
        self.assertCorrupt(container([head, dict(x, name=b"\xff")]), "UTF-8")
        self.assertCorrupt(container([head, dict(x, dimensions=(1, 3))]), "other dimensions")
        self.assertCorrupt(container([head, dict(x, dtype=3)]), "other dtype")

    def test_group_records(self):
        def bad(reason, coding, tables, patches, stored):
            data = bf16(1024)
            extents = safetensors(tensor("t", 10, (1024,), LINEAR, data, (coding, tables, patches, stored)))
            self.assertCorrupt(container(extents), reason)

        good = Coded(bf16(1024), H, LINEAR, missing=3).seal()
        bad("unknown coding", 4, 0, 0, bf16(1024))
        bad("where there are none", RAW, 1, 0, bf16(1024))
        bad("where there are none", ZSTD, 0, 1, bf16(1024))
        bad("number of tables", H, 0, *good[2:])
        bad("number of tables", H, 17, *good[2:])
        bad("too many patches", H, 1, 33, good[3])
        bad("stored size 0", RAW, 0, 0, b"")
        bad("too short", *good[:3], good[3][:1024])
        bad("RAW of wrong size", RAW, 0, 0, bf16(1023))
        bad("content size", *zstd_stored(bf16(1023)))

    def test_coded_groups(self):
        def bad(reason, change, coding=H, weights=9000, **options):
            data = bf16(weights)
            coded = Coded(data, coding, LINEAR, **options)
            change(coded)
            extents = safetensors(tensor("t", 10, (weights,), LINEAR, data, coded.seal()))
            if reason:
                self.assertCorrupt(container(extents), reason)
            else:
                self.assertEqual(decode(container(extents)), source_of(extents))

        def put(path, value):
            """Assigns coded.<path> = value; a path is a name and indices."""
            def change(coded):
                target = getattr(coded, path[0])
                for index in path[1:-1]:
                    target = target[index]
                target[path[-1]] = value(target[path[-1]]) if callable(value) else value
            return change

        def no_patches(coded):
            coded.patches, coded.words[1][1] = [], 0

        for coding in (H, P4):
            bad("", lambda coded: None, coding)
            bad("pair out of range", put(("tables", 0, 0, 7), 128), coding)
            bad("no such table", put(("words", 1, 3), 1), coding)
            bad("reserved bits", put(("words", 0, 4), 16), coding)
            bad("reserved bits", put(("words", 1, 4), 8), coding)
            bad("there can be none", put(("words", 0, 4), 8), coding)
            bad("first patch is not 0", put(("words", 0, 1), 1), coding)
            bad("descend", put(("words", 1, 1), 900), coding)
            bad("descend", put(("words", 0, 1), 900), coding)
            bad("do not ascend", lambda coded: coded.patches.insert(1, coded.patches[0]), coding)
            bad("do not ascend", lambda coded: coded.patches.reverse(), coding)
            bad("outside its chunk", put(("patches", -1), 1024 << 16 | 0x100), coding)
            bad("outside its chunk", put(("patches", -1), lambda patch: patch | 1 << 29), coding)
            bad("must not change", put(("patches", -1), lambda patch: patch | 1 << 15), coding)
            bad("must not change", put(("patches", -1), lambda patch: patch | 1 << 7), coding)
            bad("must not change", put(("patches", -1), lambda patch: patch & ~0xFFFF), coding)
            bad("extent: wrong hash", no_patches, coding)
            bad("size of E|too short|stream", put(("parts", 0), b""), coding)
            bad("size of E|bytes after", lambda coded: coded.parts.append(bytes(64)), coding)
        bad("code lengths in coding P4", put(("tables", 0, 1, 0), 1), P4)
        for field in (0, 2, 4):
            bad("fields of coding H", put(("words", 0, field), 1), P4)

        bad("not complete", put(("tables", 0, 1, 0), 3))
        bad("not complete", put(("tables", 0, 1, 0), 1))
        bad("not complete", put(("tables", 0, 1), [0] * 16))
        bad("too long", put(("tables", 0, 1, 0), 8))
        bad("shift too large", put(("words", 0, 4), 4))
        bad("does not begin where", put(("words", 0, 0), 1))
        bad("does not begin where", put(("words", 1, 0), lambda start: start + 1))
        bad("codes beyond its end|too many bits", put(("words", 0, 2), lambda base: base - 1))
        bad("too many bits|stream does not begin|codes beyond", put(("words", 0, 2), lambda base: base + 1))
        bad("stream beyond the end", put(("words", 1, 2), 2047))

    def test_row_orders(self):
        def order(rows):
            return sorted(range(rows), key=lambda row: row * 7919 % 10007)

        def bad(reason, change, rows, columns, coding):
            data = bf16(rows * columns)
            coded = Coded(data, coding, TILED, rows, columns, tables=2, missing=1, row_order=order(rows))
            change(coded.row_order)
            extents = safetensors(tensor("t", 10, (rows, columns), TILED, data, coded.seal()))
            if reason:
                self.assertCorrupt(container(extents), reason)
            else:
                self.assertEqual(decode(container(extents)), source_of(extents))

        def put(i, value):
            return lambda row_order: row_order.__setitem__(i, value)

        for coding in (H, P4):
            for rows, columns in (1, 50), (15, 64), (77, 70), (130, 130):
                bad("", lambda row_order: None, rows, columns, coding)
            bad("no permutation", put(0, 77), 77, 70, coding)
            bad("no permutation", put(76, 65535), 77, 70, coding)
            bad("no permutation", lambda row_order: put(5, row_order[6])(row_order), 77, 70, coding)
            bad("extent: wrong hash", lambda row_order: row_order.reverse(), 77, 70, coding)
            bad("no permutation|padding of head|size of E|too short", lambda row_order: row_order.pop(), 77, 70, coding)
            bad("padding of head|size of E|too short|stream", lambda row_order: row_order.append(77), 77, 70, coding)
        rows = 1 << 16 | 1
        data = bytes(2 * rows)
        coded = Coded(data[:2], P4, TILED, 1, 1, row_order=[0])
        coded.words, coded.row_order = coded.words * -(-rows // 128), [0] * rows
        many = tensor("t", 10, (rows, 1), TILED, data, coded.seal())
        self.assertCorrupt(container(safetensors(many)), "there can be none")

    def test_lanes(self):
        """One lane with bits too few or too many, or not zero"""
        data = bf16(1024)
        for shift in range(4):
            for lane in range(32):
                coded = Coded(data, H, LINEAR, shift=shift)
                codes = canonical_codes(coded.tables[0][1])
                base = coded.words[0][2]
                lanes = ["".join(codes[s] for p, s in enumerate(coded.symbols[0]) if p // 8 % 32 == k) for k in range(32)]

                def build(k_bits):
                    changed = [bits + "0" * (-len(bits) % (1 << shift)) for bits in lanes]
                    changed[lane] = k_bits
                    self.assertEqual(len(k_bits) % (1 << shift), 0)
                    bits = "".join(changed)
                    d = bytes((len(x) >> shift) - coded.words[0][2] for x in changed)
                    coded.parts = [d + bits_to_bytes(bits + "0" * (-len(bits) % 32))]
                    return container(safetensors(tensor("t", 10, (1024,), LINEAR, data, coded.seal())))

                exact = lanes[lane] + "0" * (-len(lanes[lane]) % (1 << shift))
                self.assertEqual(decode(build(exact))[-2048:], data)
                coded.words[0][2] = base - 1             # room for a shorter lane
                self.assertCorrupt(build(exact + "0" * (1 << shift)), "too many bits")
                self.assertCorrupt(build(exact[:-(1 << shift)]), "codes beyond its end")
                if len(exact) > len(lanes[lane]):
                    self.assertCorrupt(build(exact[:-1] + "1"), "not zero")


# Bundles

def manifest(top):
    text = json.dumps(top, ensure_ascii=False, separators=(",", ":"))[:-1] + ","
    return seal_manifest(text.encode())


def seal_manifest(text):
    return text + b'"manifest_sha256":"' + hashlib.sha256(text).hexdigest().encode() + b'"}\n'


def make_bundle(files):
    """files: path -> (source bytes, container or None, executable). Gives the manifest as an object, and the contents by place."""
    entries, places = [], {}
    for path in sorted(files, key=str.encode):
        source, packed, executable = files[path]
        entry = {"path": path, "size": len(source), "sha256": hashlib.sha256(source).hexdigest(), "executable": executable,
                 "container": None}
        if packed is None:
            places[path] = source
        else:
            places[path + ".uw"] = packed
            entry["container"] = {"size": len(packed), "index_xxh3": packed[-40:-32].hex()}
        entries.append(entry)
    return {"unweight_bundle": 1, "profile": "inference", "source": "folder", "files": entries}, places


class BundleTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.count = 0
        extents = small()
        self.files = {
            "config.json": (b"{}\n", None, False),
            "model.safetensors": (source_of(extents), container(extents), False),
            "bin/run \u00e9": (b"#!/bin/sh\n", None, True),
            "unweight.json": (b"abc", container([opaque(b"abc", raw(b"abc"))]), False),
            "x.uw": (b"", container([]), False),
        }
        self.top, self.places = make_bundle(self.files)

    def new(self):
        self.count += 1
        return os.path.join(self.folder, str(self.count))

    def write_folder(self, manifest_bytes, places):
        bundle = self.new()
        for place, data in {"unweight.json": manifest_bytes, **places}.items():
            path = os.path.join(bundle, place)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        return bundle

    def write_tar(self, members, format=tarfile.PAX_FORMAT):
        bundle = self.new() + ".tar"
        with tarfile.open(bundle, "w", format=format) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return bundle

    def run_decoder(self, *arguments):
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            code = unweight.main(list(arguments))
        return code, stderr.getvalue()

    def assertRestores(self, bundle):
        out = self.new()
        self.assertEqual(self.run_decoder(bundle, out), (0, ""))
        found = {}
        for folder, _, names in os.walk(out):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, out)] = file.read(), bool(os.stat(path).st_mode & 0o100)
        self.assertEqual(found, {path: (source, executable) for path, (source, _, executable) in self.files.items()})

    def assertRejects(self, bundle, reason):
        code, message = self.run_decoder(bundle, self.new())
        self.assertEqual(code, 5, message)
        self.assertRegex(message, reason)

    def test_restore(self):
        good = manifest(self.top)
        self.assertRestores(self.write_folder(good, self.places))
        for format in (tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
            self.assertRestores(self.write_tar([("unweight.json", good), *self.places.items()], format))

    def test_command(self):
        source = os.path.join(self.folder, "c.uw")
        with open(source, "wb") as file:
            file.write(self.places["unweight.json.uw"])
        out = self.new()
        command = [sys.executable, unweight.__file__, "--container", source, out]
        self.assertEqual(subprocess.run(command).returncode, 0)
        with open(out, "rb") as file:
            self.assertEqual(file.read(), b"abc")
        with open(source, "ab") as file:
            file.write(b"\0")
        os.unlink(out)
        result = subprocess.run(command, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 5)
        self.assertIn(b"corrupt", result.stderr)
        self.assertFalse(os.path.exists(out))

    def test_tar_rules(self):
        good = manifest(self.top)
        members = [("unweight.json", good), *self.places.items()]
        self.assertRejects(self.write_tar(members[1:] + members[:1]), "not the first member")
        self.assertRejects(self.write_tar(members + members[1:2]), "twice")
        self.assertRejects(self.write_tar(members[:-1]), "missing")
        self.assertRejects(self.write_tar(members + [("more", b"")]), "not in the manifest")
        self.assertRejects(self.write_tar(members, tarfile.GNU_FORMAT), "neither a ustar")

    def test_contents(self):
        good = manifest(self.top)
        places = dict(self.places)
        self.assertRejects(self.write_folder(good, dict(places, more=b"")), "not in the manifest")
        self.assertRejects(self.write_folder(good, dict(places, **{"config.json": b"[]\n"})), "wrong SHA-256")
        self.assertRejects(self.write_folder(good, dict(places, **{"config.json": b"{}"})), "wrong size")
        self.assertRejects(self.write_folder(good, dict(places, **{"x.uw.uw": container([opaque(b"")])})), "container of wrong size")
        other = container([opaque(b"abd", raw(b"abd"))])
        self.assertRejects(self.write_folder(good, dict(places, **{"unweight.json.uw": other})), "index hash")
        del places["x.uw.uw"]
        self.assertRejects(self.write_folder(good, places), "missing")

    def test_manifest(self):
        def bad(reason, change=None, data=None):
            top = json.loads(json.dumps(self.top))
            if change is not None:
                change(top, top["files"])
            with self.assertRaisesRegex(Corrupt, reason):
                unweight.parse_manifest(manifest(top) if data is None else data)

        def put(name, value, *way):
            def change(top, files):
                target = top
                for step in way:
                    target = target[step]
                target[name] = value
            return change

        good = manifest(self.top)
        unweight.parse_manifest(good)
        for bit in range(0, 8 * len(good), 5):
            bad("", data=flip(good, bit))
        for data in (b"", good[:-1], good + b"\n", b" " + good):
            bad("digest", data=data)
        text = good[:-86]
        bad("duplicate key", data=seal_manifest(text + b'"profile":"inference",'))
        bad("not JSON", data=seal_manifest(text[:-1]))
        bad("not JSON", data=seal_manifest(text.replace(b"config", b"conf\xffg")))
        bad("not JSON", data=seal_manifest(b"\xef\xbb\xbf" + text))
        bad("not a number", data=seal_manifest(text.replace(b'"size":3', b'"size":NaN')))
        bad("bad size", data=seal_manifest(text.replace(b'"size":3', b'"size":3.0')))
        bad("not JSON", data=seal_manifest(b'{"files":' + b"[" * 100000))
        bad("members", put("more", 1))
        bad("members", put("more", 1, "files", 0))
        bad("members", lambda top, files: top.pop("profile"))
        bad("members", lambda top, files: files[0].pop("executable"))
        bad("version", put("unweight_bundle", 2))
        bad("version", put("unweight_bundle", True))
        bad("profile", put("profile", "archive"))
        bad("source", put("source", "pipe"))
        bad("not exactly one", put("source", "file"))
        bad("not an array", lambda top, files: top.update(files={}))
        bad("do not ascend", lambda top, files: files.reverse())
        bad("do not ascend", lambda top, files: files.insert(0, files[0]))
        for size in (-1, 1 << 63, "3", None, True):
            bad("bad size", put("size", size, "files", 0))
        for digest in ("", "0" * 63, "A" * 64, 5):
            bad("bad sha256", put("sha256", digest, "files", 0))
        bad("not a boolean", put("executable", 1, "files", 0))
        bad("members", put("container", {}, "files", 2))
        bad("container size", put("size", 1 << 63, "files", 2, "container"))
        bad("index_xxh3", put("index_xxh3", "0" * 15, "files", 2, "container"))
        for path in ("", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\x1f", "a\x7f", "a\\b", "a\0", "\ud800", "a" * 4097, 7, None):
            with self.assertRaises(Corrupt):
                unweight.check_path(path)
        for path in ("a", "a/b", "...", ".a", "a b", "\u00e9" * 2048, "a:*?"):
            unweight.check_path(path)
        for path in ("unweight.json", "x.uw", ".uw"):
            bad("cannot be plain", lambda top, files: files.__setitem__(slice(None), [dict(files[0], path=path)]))
        clash = [dict(self.top["files"][1], path=path) for path in ("a", "a.b", "a/b/c")]
        bad("also a folder", lambda top, files: files.__setitem__(slice(None), clash))


if __name__ == "__main__":
    unittest.main()
