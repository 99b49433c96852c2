#!/usr/bin/env python3
"""Restores what Unweight has packed: a decoder written from SPEC.md alone. Python 3.9 or later, standard library only.

    unweight_decoder.py BUNDLE OUTDIR               a bundle (folder or tar) to a new folder
    unweight_decoder.py --container FILE.uw OUTFILE one container to a file

With --base FOLDER in front of these, FOLDER holds the files of the base, and nothing else.

Exit code 0: restored and every check passed; 5: corrupt, or of a version that is not known; 2: wrong usage; 1: other errors.
The numbers in parentheses, (2.3) for instance, are sections of SPEC.md.
"""

import contextlib
import hashlib
import io
import os
import stat
import sys
import tarfile
from array import array
from operator import itemgetter
from struct import Struct, unpack, unpack_from

from manifest import MANIFEST, parse_manifest
from rules import Corrupt, align, ceil_div, check, hash128, hash64, is_zero, parse_json, read
from zstd import ZstdError, decompress


class NoBase(Exception):
    pass


class Base:
    """The files of the base in a folder"""

    def __init__(self, folder):
        self.files = [(name.encode("utf-8"), os.path.join(folder, name)) for name in Folder(folder).names()]
        self.files.sort()
        listing = hashlib.sha256()
        for name, path in self.files:
            digest = hashlib.sha256()
            with open(path, "rb") as file:
                for part in iter(lambda: file.read(1 << 20), b""):
                    digest.update(part)
            listing.update(digest.hexdigest().encode() + b"  " + name + b"\n")
        self.digest = listing.hexdigest()

    def read(self, number, at, size):
        check(number < len(self.files), "reference: no such file in the base")
        with open(self.files[number][1], "rb") as file:
            return read(file, at, size, "reference")


def check_base(base, wanted):
    if wanted is not None and (base is None or base.digest != wanted):
        raise NoBase("wanted is the base with the digest " + wanted)


# The bundle (1)

class Folder:
    def __init__(self, path):
        self.path = path

    def close(self):
        pass

    def names(self):
        found = []
        for folder, folders, names in os.walk(self.path):
            check(not any(os.path.islink(os.path.join(folder, name)) for name in folders), "bundle: symbolic link in " + folder)
            for name in names:
                full = os.path.join(folder, name)
                check(stat.S_ISREG(os.lstat(full).st_mode), "bundle: not a regular file: " + full)
                found.append(os.path.relpath(full, self.path).replace(os.sep, "/"))
        return found

    def open(self, name):
        try:
            return open(os.path.join(self.path, name), "rb")
        except FileNotFoundError:
            raise Corrupt("bundle: missing " + name) from None


class Tar:
    def __init__(self, path):
        self.file = open(path, "rb")
        try:
            self.read_members()
        except BaseException:
            self.file.close()
            raise

    def read_members(self):
        self.tar = tarfile.open(fileobj=self.file, mode="r:", encoding="utf-8")
        self.members = {}
        for member in self.tar.getmembers():
            check(member.isreg() and not member.issparse(), "bundle: not a regular file: " + member.name)
            check(read(self.file, member.offset + 257, 6, "tar") == b"ustar\0", "bundle: neither a ustar nor a pax archive")
            check(self.members or member.name == MANIFEST, "bundle: the manifest is not the first member")
            check(member.name not in self.members, "bundle: twice in the archive: " + member.name)
            self.members[member.name] = member

    def close(self):
        self.file.close()

    def names(self):
        return self.members

    def open(self, name):
        check(name in self.members, "bundle: empty archive")
        return self.tar.extractfile(self.members[name])


def restore_bundle(path, out, base):
    with contextlib.closing(Folder(path) if os.path.isdir(path) else Tar(path)) as bundle:
        restore_from(bundle, out, base)


def restore_from(bundle, out, base):
    with bundle.open(MANIFEST) as file:
        files, wanted = parse_manifest(file.read())
    check_base(base, wanted)
    places = {file["path"] + ("" if file["container"] is None else ".uw"): file for file in files}
    names = set(bundle.names()) - {MANIFEST}
    check(names <= places.keys(), "bundle: not in the manifest: " + ", ".join(sorted(names - places.keys())))
    check(names >= places.keys(), "bundle: missing: " + ", ".join(sorted(places.keys() - names)))
    os.makedirs(out, exist_ok=True)
    if os.listdir(out):
        sys.exit("unweight_decoder: not empty: " + out)
    for place, entry in places.items():
        target = os.path.join(out, *entry["path"].split("/"))
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with bundle.open(place) as source:
            try:
                restore_file(source, target, base, entry, wanted)
            except Corrupt as e:
                raise Corrupt("%s: %s" % (entry["path"], e)) from None
        if entry["executable"]:
            os.chmod(target, os.stat(target).st_mode | 0o100 | os.stat(target).st_mode >> 2 & 0o011)


def restore_file(source, target, base, entry=None, wanted=None):
    """Writes the file, or nothing at all if it is corrupt. Without an entry of the manifest the source is a container."""
    digest = hashlib.sha256()
    size = 0
    try:
        with open(target, "wb") as file:
            if entry is None or entry["container"] is not None:
                container = Container(source)
                if entry is not None:
                    container.check_manifest(entry, wanted)
                check_base(base, container.base)
                parts = container.decode(base)
            else:
                parts = iter(lambda: source.read(1 << 20), b"")
            for part in parts:
                file.write(part)
                digest.update(part)
                size += len(part)
        if entry is not None:
            check(size == entry["size"], "wrong size")
            check(digest.hexdigest() == entry["sha256"], "wrong SHA-256")
    except BaseException:
        os.unlink(target)
        raise


# The container (2)

OPAQUE, SAFETENSORS_HEADER, TENSOR = range(3)     # kinds
BYTES, LINEAR, TILED = range(3)                   # orders
RAW, ZSTD, H, P4, COPY, DELTA = range(6)          # codings
F16 = 9
BF16 = 10
OTHER = 255

DTYPES = (None, "BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E4M3FNUZ", "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "F64", "C64",
          "I64", "U64", "F4", "F6_E2M3", "F6_E3M2", "F8_E8M0", "F8_E5M2FNUZ")
DTYPE_BITS = (None, 8, 8, 8, 8, 8, 8, 16, 16, 16, 16, 32, 32, 32, 64, 64, 64, 64, 4, 6, 6, 8, 8)

EXTENT = Struct("<Q16s5I4B")
GROUP = Struct("<QQ8sIBBH")


class Extent:
    def __init__(self, record):
        (self.size, self.hash, self.first_group, self.group_count, self.first_dimension, self.name_at, self.name_size,
         self.kind, self.dtype, self.order, self.dimension_count) = EXTENT.unpack(record)


class Group:
    def __init__(self, record):
        self.record = record
        self.at, self.stored, self.hash, self.patches, self.coding, self.tables, self.reserved = GROUP.unpack(record)


class Container:
    def __init__(self, file):
        self.file = file
        self.size = file.seek(0, io.SEEK_END)
        self.read_header()
        self.read_trailer()
        self.parse_index(read(file, self.index_at, self.index_size, "index"))
        self.check_layout()

    # (2.1), (2.2)

    def read_header(self):
        check(self.size >= 64 + 32 + 64, "too short for a container")
        head = read(self.file, 0, 64, "header")
        check(head[:8] == b"\x89UWC\r\n\x1a\n", "header: wrong magic")
        major, _, reserved, incompatible, _ = unpack_from("<HHIQQ", head, 8)
        check(major == 1, "header: unknown major version")
        check(hash64(head[:56]) == head[56:], "header: wrong hash")
        check(incompatible <= 1, "header: unknown features")
        self.based = incompatible == 1
        check(reserved == 0 and is_zero(head[32:56]), "header: reserved bytes")

    def read_trailer(self):
        tail = read(self.file, self.size - 64, 64, "trailer")
        check(tail[56:] == b"\x89UWT\r\n\x1a\n", "trailer: wrong magic")
        check(hash64(tail[:48]) == tail[48:56], "trailer: wrong hash")
        self.index_at, self.index_size, size = unpack_from("<QQQ", tail)
        self.index_hash = tail[24:32]
        check(is_zero(tail[32:48]), "trailer: reserved bytes")
        check(size == self.size, "trailer: wrong file size")
        check(self.index_at + self.index_size + 64 == size, "trailer: the index is not where it should be")
        check(self.index_at >= 64 and self.index_size >= 32, "trailer: the index is not where it should be")

    def check_manifest(self, entry, wanted):
        check(self.base is None or self.base == wanted, "container with another base")
        check(self.size == entry["container"]["size"], "container of wrong size")
        check(self.index_hash.hex() == entry["container"]["index_xxh3"], "wrong index hash")
        check(self.source_size == entry["size"], "wrong source size")

    # (2.3)

    def parse_index(self, index):
        check(hash64(index) == self.index_hash, "index: wrong hash")
        self.source_size, extents, groups, dimensions, names, reserved = unpack_from("<QIIIIQ", index)
        check(reserved == 0, "index: reserved bytes")
        extents_at = 64 if self.based else 32
        self.base = index[32:64].hex() if self.based else None
        extents_end = extents_at + 48 * extents
        groups_end = extents_end + 32 * groups
        dimensions_end = groups_end + 8 * dimensions
        end = dimensions_end + names
        check(len(index) == align(end, 8), "index: wrong size")
        check(is_zero(index[end:]), "index: bytes after the names")
        self.extents = [Extent(index[at:at + 48]) for at in range(extents_at, extents_end, 48)]
        self.groups = [Group(index[at:at + 32]) for at in range(extents_end, groups_end, 32)]
        dimensions = unpack("<%dQ" % dimensions, index[groups_end:dimensions_end])
        names = index[dimensions_end:end]

        source_at = group = dimension = name = 0
        seen = set()
        for extent in self.extents:
            extent.at = source_at
            check(extent.first_group == group, "extent: wrong first group")
            check(extent.first_dimension == dimension, "extent: wrong first dimension")
            check(extent.name_at == name, "extent: wrong place of the name")
            source_at += extent.size
            group += extent.group_count
            dimension += extent.dimension_count
            name += extent.name_size
            check(group <= len(self.groups), "extent: too many groups")
            check(dimension <= len(dimensions), "extent: too many dimensions")
            check(name <= len(names), "extent: name too long")
            extent.dimensions = dimensions[extent.first_dimension:dimension]
            extent.groups = self.groups[extent.first_group:group]
            extent.name = names[extent.name_at:name]
            self.check_extent(extent)
            if extent.kind == TENSOR:
                check(extent.name not in seen, "extent: name twice")
                seen.add(extent.name)
        check((source_at, group, dimension, name) == (self.source_size, len(self.groups), len(dimensions), len(names)),
              "index: the extents do not add up")
        if self.extents and self.extents[0].kind == SAFETENSORS_HEADER:
            check(all(extent.kind == TENSOR for extent in self.extents[1:]), "index: extent of unexpected kind")
        else:
            check(len(self.extents) <= 1, "index: more than one extent without a safetensors header")
            check(all(extent.kind == OPAQUE for extent in self.extents), "index: extent of unexpected kind")

    def check_extent(self, extent):
        check(extent.kind <= TENSOR, "extent: unknown kind")
        check(extent.order <= TILED, "extent: unknown order")
        if extent.kind == TENSOR:
            check(1 <= extent.dtype < len(DTYPES) or extent.dtype == OTHER, "extent: unknown dtype")
            try:
                extent.name.decode("utf-8")
            except UnicodeDecodeError:
                raise Corrupt("extent: name is not UTF-8") from None
            if extent.dtype != OTHER:
                product = 1
                for factor in extent.dimensions + (DTYPE_BITS[extent.dtype],):
                    product *= factor
                    check(product < 1 << 64, "extent: dimensions too large")
                check(product == 8 * extent.size, "extent: size does not fit the dimensions")
        else:
            check(extent.dtype == 0 and extent.dimension_count == 0 and extent.name_size == 0, "extent: attributes of a tensor")
        if extent.order != BYTES:
            check(extent.kind == TENSOR and extent.dtype == BF16, "extent: order of a BF16 tensor")
        if extent.order == TILED:
            check(len(extent.dimensions) >= 2 and 0 not in extent.dimensions, "extent: tiled order without rows and columns")
            check(align(extent.dimensions[-1], 64) <= 1 << 17, "extent: rows too long for tiled order")
        check(extent.group_count == group_count(extent), "extent: wrong number of groups")
        for group in extent.groups:
            check(group.coding <= DELTA, "group: unknown coding")
            check(self.based or group.coding < COPY, "group: refers to a base, and there is none")
            check(group.coding != COPY or group.stored == 16, "group: size of a reference")
            check(group.coding != DELTA or extent.dtype in (BF16, F16), "group: differences of such a dtype")
            check(group.reserved == 0, "group: reserved bytes")
            check(group.stored >= 1, "group: stored size 0")
            if group.coding in (H, P4):
                check(extent.order != BYTES, "group: coding of weights in an extent of bytes")
                check(1 <= group.tables <= 16, "group: number of tables")
            else:
                check(group.tables == 0 and group.patches == 0, "group: tables or patches where there are none")

    def check_layout(self):
        """Where the groups and the index begin; the bytes between."""
        end = 64
        owned = {}
        for group in self.groups:
            if group.record == owned.get(group.at):
                continue
            at = align(end, 4096 if group.stored >= 1 << 20 else 64)
            check(group.at == at, "group: not where it should be")
            check(at + group.stored <= self.index_at, "group: beyond the payload")
            check(is_zero(read(self.file, end, at - end, "padding")), "padding is not zero")
            end = at + group.stored
            owned[at] = group.record
        check(self.index_at == align(end, 64), "trailer: the index is not where it should be")
        check(is_zero(read(self.file, end, self.index_at - end, "padding")), "padding is not zero")

    def decode(self, base=None):
        """Yields the source bytes of the extents."""
        for number, extent in enumerate(self.extents):
            parts = []
            for group, shape in zip(extent.groups, group_shapes(extent)):
                stored = read(self.file, group.at, group.stored, "group")
                check(hash64(stored) == group.hash, "group: wrong hash")
                parts.append(decode_group(stored, group, shape, base))
            data = b"".join(parts)
            check(len(data) == extent.size, "extent: wrong size")
            check(hash128(data) == extent.hash, "extent: wrong hash")
            if extent.kind == SAFETENSORS_HEADER:
                self.check_safetensors(data)
            yield data

    def check_safetensors(self, header):
        """The other extents are the tensors of which the header tells."""
        check(len(header) >= 8 and int.from_bytes(header[:8], "little") == len(header) - 8, "safetensors header of wrong size")
        tensors = parse_json(header[8:], "safetensors header")
        check(isinstance(tensors, dict), "safetensors header: not an object")
        tensors.pop("__metadata__", None)
        check(len(tensors) == len(self.extents) - 1, "safetensors header: other number of tensors")
        for extent in self.extents[1:]:
            tensor = tensors.get(extent.name.decode("utf-8"))
            check(isinstance(tensor, dict), "safetensors header: has no tensor of that name")
            begin = extent.at - len(header)
            check(tensor.get("data_offsets") == [begin, begin + extent.size], "safetensors header: tensor elsewhere")
            check(tensor.get("shape") == list(extent.dimensions), "safetensors header: other dimensions")
            dtype = tensor.get("dtype")
            check((DTYPES.index(dtype) if dtype in DTYPES[1:] else OTHER) == extent.dtype, "safetensors header: other dtype")


# Groups (3)

RUN = 1 << 23        # source bytes of a group in byte order and in linear order


class Shape:
    """What a group holds. Tiles are of use for the codings H and P4 only."""

    def __init__(self, order, size, rows=0, columns=0):
        self.order, self.size, self.rows, self.columns = order, size, rows, columns
        if order == TILED:
            self.tiles = ceil_div(rows, 16) * ceil_div(columns, 64)
        else:
            self.tiles = ceil_div(size, 2048)


def tiled_geometry(extent):
    """Number of matrices, rows and columns of each, rows of a group"""
    rows, columns = extent.dimensions[-2:]
    return extent.size // (2 * rows * columns), rows, columns, 64 * max(1, (3 << 15) // align(columns, 64))


def group_count(extent):
    if extent.order != TILED:
        return ceil_div(extent.size, RUN)
    matrices, rows, _, group_rows = tiled_geometry(extent)
    return matrices * ceil_div(rows, group_rows)


def group_shapes(extent):
    if extent.order != TILED:
        for at in range(0, extent.size, RUN):
            yield Shape(extent.order, min(RUN, extent.size - at))
    else:
        matrices, rows, columns, group_rows = tiled_geometry(extent)
        for _ in range(matrices):
            for row in range(0, rows, group_rows):
                count = min(group_rows, rows - row)
                yield Shape(TILED, 2 * count * columns, count, columns)


def decode_group(stored, group, shape, base):
    """The source bytes of a group (4, 7)"""
    if group.coding == RAW:
        check(len(stored) == shape.size, "group: RAW of wrong size")
        return stored
    if group.coding == ZSTD:
        try:
            return decompress(stored, shape.size)
        except ZstdError as e:
            raise Corrupt("group: %s" % e) from None
    if group.coding in (COPY, DELTA):
        return decode_based(stored, group, shape, base)
    weights, order = decode_weights(stored, group, shape)
    if shape.order == TILED:
        return tiles_to_rows(weights, order, shape.rows, shape.columns)
    return weights[:shape.size]


def decode_based(stored, group, shape, base):
    """(4) A copy of bytes of the base, or differences from them"""
    check(len(stored) >= 16, "group: too short for a reference")
    file, reserved, at = unpack_from("<IIQ", stored)
    check(reserved == 0, "reference: reserved bytes")
    source = base.read(file, at, shape.size)
    if group.coding == COPY:
        return source
    try:
        planes = decompress(stored[16:], shape.size)
    except ZstdError as e:
        raise Corrupt("group: %s" % e) from None
    words = unpack("<%dH" % (shape.size // 2), source)
    n = len(words)
    out = array("H", bytes(2 * n))
    for k, i in enumerate(sorted(range(n), key=lambda i: words[i] >> 7 & 0xFF)):     # sorted() keeps the order of equals
        f = planes[k] << 8 | planes[n + k]
        out[i] = words[i] + (65535 - (f - 1) // 2 if f % 2 else f // 2) & 0xFFFF
    if sys.byteorder == "big":
        out.byteswap()
    return out.tobytes()


# Position order (5)
#
# All weights of a group are taken at once: byte strings hold one byte of every weight by ascending position, bytes.translate() maps
# them, slices with steps of them permute them, and integers as long as the string OR two of them together.

def join_bits(a, b):
    """OR of two byte strings"""
    return (int.from_bytes(a, "little") | int.from_bytes(b, "little")).to_bytes(len(a), "little")


def byte_map(function):
    return bytes(function(x) for x in range(256))


def by_position(planes, tiles):
    """Byte 128 tile + 4 lane + j of planes[i] goes to position 1024 tile + 256 j + 8 lane + i."""
    eights = bytearray(1024 * tiles)
    for i in range(8):
        eights[i::8] = planes[i]
    source = array("Q", bytes(eights))
    target = array("Q", bytes(1024 * tiles))
    for lane in range(32):
        for j in range(4):
            target[32 * j + lane::128] = source[4 * lane + j::128]
    return target.tobytes()


# S0 is the four bytes
#     sign of w[3], mantissa of w[0] | sign of w[0], mantissa of w[2] | sign of w[2], mantissa of w[1] | sign of w[1], mantissa of w[3]
# with the sign in bit 7, and S1 the same of w[4] .. w[7].
MANTISSA_BYTE = (0, 2, 1, 3)
SIGN_BYTE = (1, 3, 2, 0)
MANTISSA = byte_map(lambda x: x & 0x7F)
SIGN = byte_map(lambda x: x & 0x80)


def decode_s(plane, tiles):
    """(mantissas, signs in bit 7), by position"""
    mantissas, signs = [], []
    for half in (0, 512):                                # S0, S1
        words = b"".join(plane[1024 * t + half:1024 * t + half + 512] for t in range(tiles))
        for i in range(4):
            mantissas.append(words[MANTISSA_BYTE[i]::4].translate(MANTISSA))
            signs.append(words[SIGN_BYTE[i]::4].translate(SIGN))
    return by_position(mantissas, tiles), by_position(signs, tiles)


def row_major_pairs():
    """Weights with h = 0 and h = 1 are neighbours in position order and in a row. Gives for each pair of a tile in row-major order the
    place of the pair in position order."""
    place = [None] * 512
    for j in range(4):
        for lane in range(32):
            g, q = lane // 4, lane % 4
            for r in range(4):
                row = g + 8 * (r % 2)
                column = 16 * j + 2 * q + 8 * (r // 2)
                place[32 * row + column // 2] = 128 * j + 4 * lane + r
    return place


take_row_major = itemgetter(*row_major_pairs())


def tiles_to_rows(weights, order, rows, columns):
    """Source bytes of a group in tiled order. weights: 2048 bytes a tile, by position. Stored row i is row order[i]."""
    pairs = array("I", weights)
    tile_rows, tile_columns = ceil_div(rows, 16), ceil_div(columns, 64)
    stride = 128 * tile_columns                          # bytes of a padded row
    padded = bytearray(16 * tile_rows * stride)
    t = 0
    for rb in range(ceil_div(tile_rows, 4)):
        for kt in range(tile_columns):
            for w in range(min(4, tile_rows - 4 * rb)):
                tile = array("I", take_row_major(pairs[512 * t:512 * t + 512])).tobytes()
                at = 16 * (4 * rb + w) * stride + 128 * kt
                for row in range(16):
                    padded[at:at + 128] = tile[128 * row:128 * row + 128]
                    at += stride
                t += 1
    source = [None] * rows
    for i, row in enumerate(order):
        source[row] = bytes(padded[i * stride:i * stride + 2 * columns])
    return b"".join(source)


# Codings H and P4 (6)

class Table:
    """(6.1)"""

    def __init__(self, data, coding):
        palette = data[:8]
        self.lengths = [data[8 + s // 2] >> 4 * (s % 2) & 15 for s in range(16)]
        check(max(palette) < 128, "table: exponent pair out of range")
        self.pair_of_symbol = byte_map(lambda s: palette[s // 2] if s < 16 else 0)
        if coding == P4:
            check(not any(self.lengths), "table: code lengths in coding P4")
        else:
            check(max(self.lengths) <= 7, "table: code too long")
            check(sum(128 >> length for length in self.lengths if length) == 128, "table: the code is not complete")
            self.make_windows()

    def make_windows(self):
        """(6.3) For each value of the next 7 bits (the first one lowest): the symbol and the length of its code."""
        self.window_symbol = [None] * 128
        self.window_length = [None] * 128
        code = 0
        for length in range(1, 8):
            for s in range(16):
                if self.lengths[s] == length:
                    reversed_code = int(format(code, "0%db" % length)[::-1], 2)
                    for window in range(reversed_code, 128, 1 << length):
                        self.window_symbol[window] = s
                        self.window_length[window] = length
                    code += 1
            code *= 2


class Chunk:
    """(6.2)"""

    def __init__(self, word, coding, tables, first):
        self.stream = 4 * (word & 0x3FFFFF)
        self.first_patch = word >> 22 & 0xFFFFF
        self.base = word >> 42 & 0x7FF
        table = word >> 53 & 15
        self.shift = word >> 57 & 7
        self.row_order = word >> 60 & 1
        check(word >> 61 == 0 and (first or not self.row_order), "chunk: reserved bits")
        check(table < len(tables), "chunk: no such table")
        self.table = tables[table]
        if coding == P4:
            check(self.stream == 0 and self.base == 0 and self.shift == 0, "chunk: fields of coding H")
        check(self.shift <= 3, "chunk: shift too large")


def decode_order(data, shape):
    """(6) The row order of a group"""
    check(shape.order == TILED and shape.rows <= 1 << 16, "group: row order where there can be none")
    order = unpack("<%dH" % shape.rows, data)
    check(sorted(order) == list(range(shape.rows)), "group: row order is no permutation")
    return order


def decode_weights(stored, group, shape):
    """The weights of a group of coding H or P4 in position order, two bytes each, and the row order"""
    tiles = shape.tiles
    chunk_count = ceil_div(tiles, 8)
    words_at = 16 * group.tables
    patches_at = words_at + 8 * chunk_count
    patches_end = patches_at + 4 * group.patches
    check(group.patches <= 32 * tiles, "group: too many patches")
    check(patches_end <= len(stored), "group: too short")
    tables = [Table(stored[at:at + 16], group.coding) for at in range(0, words_at, 16)]
    chunks = [Chunk(word, group.coding, tables, i == 0)
              for i, word in enumerate(unpack("<%dQ" % chunk_count, stored[words_at:patches_at]))]
    order, order_end = range(shape.rows), patches_end
    if chunks[0].row_order:
        order_end += 2 * shape.rows
        check(order_end <= len(stored), "group: too short")
        order = decode_order(stored[patches_end:order_end], shape)
    e_at = align(order_end, 64)
    s_at = len(stored) - 1024 * tiles
    check(e_at <= s_at, "group: too short")
    check((s_at - e_at) % 64 == 0, "group: size of E")
    check(is_zero(stored[order_end:e_at]), "group: padding of head")
    patches = unpack("<%dI" % group.patches, stored[patches_at:patches_end])
    for i, chunk in enumerate(chunks):
        chunk.tiles = min(8, tiles - 8 * i)
        chunk.end_patch = chunks[i + 1].first_patch if i + 1 < chunk_count else group.patches
        check(chunk.first_patch <= chunk.end_patch, "chunk: numbers of patches descend")
    check(chunks[0].first_patch == 0, "chunk: first patch is not 0")

    e = stored[e_at:s_at]
    symbols = decode_h(e, chunks) if group.coding == H else decode_p4(e, tiles)

    # The high byte of a weight is its sign and its exponent pair, the low byte the last bit of its exponent and its mantissa.
    pairs = b"".join(symbols[8192 * i:8192 * i + 8192].translate(chunk.table.pair_of_symbol) for i, chunk in enumerate(chunks))
    mantissas, signs = decode_s(stored[s_at:], tiles)
    high = bytearray(join_bits(pairs, signs))
    low = join_bits(symbols.translate(LAST_BIT_OF_EXPONENT), mantissas)
    for i, chunk in enumerate(chunks):
        apply_patches(high, 8192 * i, chunk.tiles, patches[chunk.first_patch:chunk.end_patch])
    weights = bytearray(2048 * tiles)
    weights[0::2] = low
    weights[1::2] = high
    return bytes(weights), order


LAST_BIT_OF_EXPONENT = byte_map(lambda s: s % 2 << 7)


def apply_patches(high, at, tiles, patches):
    """(6.5)"""
    last = -1
    for patch in patches:
        position, change = patch >> 16, patch & 0xFFFF    # position has the bits that must be zero above it
        check(position < 1024 * tiles, "patch: outside its chunk")
        check(position > last, "patch: positions do not ascend")
        check(change and change & 0x80FF == 0, "patch: bits that it must not change")
        high[at + position] ^= change >> 8
        last = position


def decode_h(e, chunks):
    """(6.3) The symbols of all chunks by position"""
    symbols = []
    at = 0
    for chunk in chunks:
        check(chunk.stream == at, "chunk: the stream does not begin where the one before it ends")
        check(at + 32 <= len(e), "chunk: stream beyond the end")
        sizes = [chunk.base + d << chunk.shift for d in e[at:at + 32]]
        begin, at = at + 32, at + 32 + 4 * ceil_div(sum(sizes), 32)
        check(at <= len(e), "chunk: stream beyond the end")
        bits = int.from_bytes(e[begin:at], "little")
        target = array("Q", bytes(1024 * chunk.tiles))   # eight symbols of a lane and step side by side
        for lane, size in enumerate(sizes):
            target[lane::32] = array("Q", decode_lane(bits & (1 << size) - 1, size, 32 * chunk.tiles, chunk))
            bits >>= size
        check(bits == 0, "chunk: bits after the last lane")
        symbols.append(target.tobytes())
    check(len(e) == align(at, 64) and is_zero(e[at:]), "E: bytes after the last stream")
    return b"".join(symbols)


def decode_lane(bits, size, count, chunk):
    window_symbol, window_length = chunk.table.window_symbol, chunk.table.window_length
    symbols = bytearray(count)
    used = 0
    for i in range(count):
        window = bits & 127
        symbols[i] = window_symbol[window]
        length = window_length[window]
        bits >>= length
        used += length
    check(used <= size, "lane: codes beyond its end")
    check(size - used < 1 << chunk.shift, "lane: too many bits after its codes")
    check(bits == 0, "lane: bits after its codes are not zero")
    return bytes(symbols)


# (6.4) Where weight i of eight finds its palette number (nibble) and the last bit of its exponent (bit) in the u32
P4_NIBBLE = (1, 3, 2, 0, 5, 7, 6, 4)
P4_BIT = (7, 23, 15, 31, 3, 19, 11, 27)
P4_PAIR = (byte_map(lambda x: 2 * (x & 7)), byte_map(lambda x: 2 * (x >> 4 & 7)))
P4_LAST = {bit: byte_map(lambda x, bit=bit: x >> bit & 1) for bit in (3, 7)}


def decode_p4(e, tiles):
    check(len(e) == 512 * tiles, "group: size of E")
    planes = []
    for nibble, bit in zip(P4_NIBBLE, P4_BIT):
        planes.append(join_bits(e[nibble // 2::4].translate(P4_PAIR[nibble % 2]), e[bit // 8::4].translate(P4_LAST[bit % 8])))
    return by_position(planes, tiles)


# Command line

def main(arguments):
    base = None
    try:
        if len(arguments) > 2 and arguments[0] == "--base":
            base = Base(arguments[1])
            arguments = arguments[2:]
        if len(arguments) == 3 and arguments[0] == "--container":
            with open(arguments[1], "rb") as source:
                restore_file(source, arguments[2], base)
        elif len(arguments) == 2 and not arguments[0].startswith("-"):
            restore_bundle(*arguments, base)
        else:
            print(__doc__.strip(), file=sys.stderr)
            return 2
    except (Corrupt, tarfile.TarError) as e:
        print("unweight_decoder: corrupt: %s" % e, file=sys.stderr)
        return 5
    except (OSError, NoBase) as e:
        print("unweight_decoder: %s" % e, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
