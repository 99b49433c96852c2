# SPDX-License-Identifier: Apache-2.0
"""The decoder on containers of the slow encoder, good and bad."""

import contextlib
import io
import os
import sys
import unittest
from struct import unpack_from

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import unweight_decoder as unweight
from slow_encoder import (bf16, bits_to_bytes, canonical_codes, Coded, container, copied, decode, delta, example, flip, linear,
                          opaque, pseudo, raw, reseal, safetensors, small, source_of, tensor, zstd_stored)
from unweight_decoder import BYTES, H, LINEAR, P4, RAW, TILED, ZSTD, Corrupt


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

    def test_base(self):
        """Copies of and differences from files of a base, and references that lead nowhere"""
        files = bytes(range(200)), bf16(3000)
        before, after = files[1][500:2548], bytearray(files[1][500:2548])
        after[::6] = bytes(b ^ 0x81 for b in after[::6])
        after[1] ^= 0xFF
        digest = bytes(range(32))

        class Base:
            def read(self, number, at, size):
                unweight.check(number < 2 and at + size <= len(files[number]), "reference: not in the base")
                return files[number][at:at + size]

        def make(*groups, dtype=10):
            data = (bytes(after), before, files[0][7:107])
            return container(safetensors(tensor("moved", dtype, (1024,), BYTES, data[0], groups[0]),
                                         tensor("same", 7, (512, 2), BYTES, data[1], groups[1]),
                                         tensor("u", 2, (100,), BYTES, data[2], groups[2])), digest)

        good = delta(1, 500, before, after), copied(1, 500), copied(0, 7)
        for dtype in 10, 9:
            opened = unweight.Container(io.BytesIO(make(*good, dtype=dtype)))
            self.assertEqual(opened.base, digest.hex())
            self.assertEqual(b"".join(opened.decode(Base()))[-4196:], bytes(after) + before + files[0][7:107])

        def bad(reason, *groups, dtype=10):
            with self.assertRaisesRegex(Corrupt, reason):
                list(unweight.Container(io.BytesIO(make(*(groups + good[len(groups):]), dtype=dtype))).decode(Base()))

        stored = good[0][3]
        bad("not in the base", delta(2, 500, before, after))
        bad("not in the base", good[0], copied(1, 3953))
        bad("not in the base", good[0], copied(1, 1 << 63))
        bad("wrong hash", good[0], copied(1, 502))
        bad("reserved", (5, 0, 0, stored[:4] + b"\1" + stored[5:]))
        bad("size of a reference", good[0], (4, 0, 0, bytes(17)))
        bad("where there are none", good[0], (4, 1, 0, bytes(16)))
        bad("group", (5, 0, 0, stored[:16]))
        bad("group", (5, 0, 0, stored[:-1]))
        bad("group", (5, 0, 0, stored + b"\0"))
        bad("of such a dtype", *good, dtype=7)
        bad("of such a dtype", good[0], good[1], (5, 0, 0, stored))
        with self.assertRaises(Corrupt):
            decode(make(*good)[:16] + b"\0" + make(*good)[17:])
        with self.assertRaises(Corrupt):
            decode(reseal(make(*good)[:16] + b"\0" + make(*good)[17:]))

    def test_group_records(self):
        def bad(reason, coding, tables, patches, stored):
            data = bf16(1024)
            extents = safetensors(tensor("t", 10, (1024,), LINEAR, data, (coding, tables, patches, stored)))
            self.assertCorrupt(container(extents), reason)

        good = Coded(bf16(1024), H, LINEAR, missing=3).seal()
        bad("unknown coding", 6, 0, 0, bf16(1024))
        bad("there is none", 4, 0, 0, bytes(16))
        bad("there is none", 5, 0, 0, bytes(17))
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


if __name__ == "__main__":
    unittest.main()
