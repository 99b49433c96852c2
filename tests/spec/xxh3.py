"""XXH3-64, XXH3-128 (seed 0, default secret) and XXH64 (seed 0) in pure Python.

    xxh3_64(data)  -> int        xxh3_128(data) -> int        xxh64(data) -> int

The canonical form of a hash is the big-endian one: xxh3_64(data).to_bytes(8, "big").

Inputs of more than 240 bytes go through blocks of 1024 bytes. Inside a block the order of the additions does not matter, so a block
costs a handful of calls to sum() and map() instead of one loop turn per 8 bytes.
"""

from operator import mul
from struct import Struct

SECRET = bytes.fromhex(
    "b8fe6c3923a44bbe7c01812cf721ad1cded46de9839097db7240a4a4b7b3671f"
    "cb79e64eccc0e578825ad07dccff7221b8084674f743248ee03590e6813a264c"
    "3c2852bb91c300cb88d0658b1b532ea371644897a20df94e3819ef46a9deacd8"
    "a8fa763fe39c343ff9dcbbc7c70b4f1d8a51e04bcdb45931c89f7ec9d9787364"
    "eac5ac8334d3ebc3c581a0fffa1363eb170ddd51b7f0da49d316552629d4689e"
    "2b16be587d47a1fc8ff8b8d17ad031ce45cb3a8f95160428afd7fbcabb4b407e")

M32 = 0xFFFFFFFF
M64 = 0xFFFFFFFFFFFFFFFF

PRIME32_1, PRIME32_2, PRIME32_3 = 0x9E3779B1, 0x85EBCA77, 0xC2B2AE3D
PRIME64_1, PRIME64_2, PRIME64_3 = 0x9E3779B185EBCA87, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
PRIME64_4, PRIME64_5 = 0x85EBCA77C2B2AE63, 0x27D4EB2F165667C5
PRIME_MX1, PRIME_MX2 = 0x165667919E3779F9, 0x9FB21C651E98DF25

STRIPE = 64                                       # bytes that one round of accumulation takes
STRIPES_PER_BLOCK = (len(SECRET) - STRIPE) // 8   # the key moves on by 8 bytes with every stripe
BLOCK = STRIPE * STRIPES_PER_BLOCK


def _u32(data, at):
    return int.from_bytes(data[at:at + 4], "little")


def _u64(data, at):
    return int.from_bytes(data[at:at + 8], "little")


def _rotl64(x, n):
    return (x << n | x >> (64 - n)) & M64


def _swap32(x):
    return int.from_bytes(x.to_bytes(4, "little"), "big")


def _swap64(x):
    return int.from_bytes(x.to_bytes(8, "little"), "big")


def _fold(a, b):
    """The two halves of a 128-bit product, XORed."""
    product = a * b
    return (product ^ product >> 64) & M64


def _avalanche_xxh64(h):
    h = (h ^ h >> 33) * PRIME64_2 & M64
    h = (h ^ h >> 29) * PRIME64_3 & M64
    return h ^ h >> 32


def _avalanche(h):
    h = (h ^ h >> 37) * PRIME_MX1 & M64
    return h ^ h >> 32


def _mix16(data, at, key):
    return _fold(_u64(data, at) ^ _u64(SECRET, key), _u64(data, at + 8) ^ _u64(SECRET, key + 8))


# Long inputs (more than 240 bytes): eight accumulators

_INIT = (PRIME32_3, PRIME64_1, PRIME64_2, PRIME64_3, PRIME64_4, PRIME32_2, PRIME64_5, PRIME32_1)
_SCRAMBLE_KEY = tuple(_u64(SECRET, len(SECRET) - STRIPE + 8 * i) for i in range(8))
_BLOCK_KEY = b"".join(SECRET[8 * n:8 * n + STRIPE] for n in range(STRIPES_PER_BLOCK))


class _Round:
    """Accumulates a fixed number of stripes under a fixed key."""

    def __init__(self, key):
        self.size = len(key)
        self.key = int.from_bytes(key, "little")
        self.words = Struct("<%dQ" % (self.size // 8)).unpack
        self.halves = Struct("<%dI" % (self.size // 4)).unpack

    def __call__(self, acc, data):
        words = self.words(data)
        keyed = self.halves((int.from_bytes(data, "little") ^ self.key).to_bytes(self.size, "little"))
        for i in range(8):
            acc[i] = (acc[i] + sum(words[i ^ 1::8]) + sum(map(mul, keyed[2 * i::16], keyed[2 * i + 1::16]))) & M64


_full_block = _Round(_BLOCK_KEY)
_last_stripe = _Round(SECRET[len(SECRET) - STRIPE - 7:len(SECRET) - 7])


def _accumulators(data):
    size = len(data)
    acc = list(_INIT)
    blocks, rest = divmod(size - 1, BLOCK)
    for at in range(0, blocks * BLOCK, BLOCK):
        _full_block(acc, data[at:at + BLOCK])
        acc = [(a ^ a >> 47 ^ key) * PRIME32_1 & M64 for a, key in zip(acc, _SCRAMBLE_KEY)]
    partial = rest // STRIPE * STRIPE
    if partial:
        _Round(_BLOCK_KEY[:partial])(acc, data[blocks * BLOCK:blocks * BLOCK + partial])
    _last_stripe(acc, data[size - STRIPE:])
    return acc


def _merge(acc, key, start):
    for i in range(0, 8, 2):
        start += _fold(acc[i] ^ _u64(SECRET, key + 8 * i), acc[i + 1] ^ _u64(SECRET, key + 8 * i + 8))
    return _avalanche(start & M64)


# XXH3-64

def xxh3_64(data):
    data = bytes(data)
    size = len(data)
    if size > 240:
        return _merge(_accumulators(data), 11, size * PRIME64_1)
    if size > 128:
        h = size * PRIME64_1
        for i in range(8):
            h += _mix16(data, 16 * i, 16 * i)
        h = _avalanche(h & M64)
        for i in range(8, size // 16):
            h += _mix16(data, 16 * i, 16 * (i - 8) + 3)
        return _avalanche((h + _mix16(data, size - 16, 136 - 17)) & M64)
    if size > 16:
        h = size * PRIME64_1
        for i in range((size + 31) // 32):         # pairs of 16 bytes, from both ends inwards
            h += _mix16(data, 16 * i, 32 * i) + _mix16(data, size - 16 * (i + 1), 32 * i + 16)
        return _avalanche(h & M64)
    if size > 8:
        low = _u64(data, 0) ^ _u64(SECRET, 24) ^ _u64(SECRET, 32)
        high = _u64(data, size - 8) ^ _u64(SECRET, 40) ^ _u64(SECRET, 48)
        return _avalanche((size + _swap64(low) + high + _fold(low, high)) & M64)
    if size > 3:
        h = (_u32(data, size - 4) | _u32(data, 0) << 32) ^ _u64(SECRET, 8) ^ _u64(SECRET, 16)
        h = (h ^ _rotl64(h, 49) ^ _rotl64(h, 24)) * PRIME_MX2 & M64
        h = (h ^ (h >> 35) + size) * PRIME_MX2 & M64
        return h ^ h >> 28
    if size > 0:
        return _avalanche_xxh64(_up_to_3(data) ^ _u32(SECRET, 0) ^ _u32(SECRET, 4))
    return _avalanche_xxh64(_u64(SECRET, 56) ^ _u64(SECRET, 64))


def _up_to_3(data):
    size = len(data)
    return data[0] << 16 | data[size >> 1] << 24 | data[size - 1] | size << 8


# XXH3-128

def xxh3_128(data):
    data = bytes(data)
    low, high = _xxh3_128(data, len(data))
    return high << 64 | low


def _xxh3_128(data, size):
    if size > 240:
        acc = _accumulators(data)
        return (_merge(acc, 11, size * PRIME64_1),
                _merge(acc, len(SECRET) - STRIPE - 11, ~(size * PRIME64_2) & M64))
    if size > 16:
        return _medium_128(data, size)
    if size > 8:
        low, high = _u64(data, 0), _u64(data, size - 8)
        product = (low ^ high ^ _u64(SECRET, 32) ^ _u64(SECRET, 40)) * PRIME64_1
        high ^= _u64(SECRET, 48) ^ _u64(SECRET, 56)
        product_low = (product + (size - 1 << 54)) & M64
        product_high = ((product >> 64) + high + (high & M32) * (PRIME32_2 - 1)) & M64
        product_low ^= _swap64(product_high)
        h = product_low * PRIME64_2
        return _avalanche(h & M64), _avalanche((h >> 64) + product_high * PRIME64_2 & M64)
    if size > 3:
        h = (_u32(data, 0) | _u32(data, size - 4) << 32) ^ _u64(SECRET, 16) ^ _u64(SECRET, 24)
        product = h * (PRIME64_1 + (size << 2) & M64)
        low = product & M64
        high = (product >> 64) + (low << 1) & M64
        low ^= high >> 3
        low = (low ^ low >> 35) * PRIME_MX2 & M64
        return low ^ low >> 28, _avalanche(high)
    if size > 0:
        low = _up_to_3(data)
        high = _swap32(low)
        high = (high << 13 | high >> 19) & M32
        return (_avalanche_xxh64(low ^ _u32(SECRET, 0) ^ _u32(SECRET, 4)),
                _avalanche_xxh64(high ^ _u32(SECRET, 8) ^ _u32(SECRET, 12)))
    return (_avalanche_xxh64(_u64(SECRET, 64) ^ _u64(SECRET, 72)),
            _avalanche_xxh64(_u64(SECRET, 80) ^ _u64(SECRET, 88)))


def _medium_128(data, size):
    """17 to 240 bytes."""
    low, high = size * PRIME64_1 & M64, 0

    def mix32(first, second, key):
        nonlocal low, high
        low = (low + _mix16(data, first, key) & M64) ^ (_u64(data, second) + _u64(data, second + 8) & M64)
        high = (high + _mix16(data, second, key + 16) & M64) ^ (_u64(data, first) + _u64(data, first + 8) & M64)

    if size <= 128:
        for i in reversed(range((size + 31) // 32)):   # from the middle outwards
            mix32(16 * i, size - 16 * (i + 1), 32 * i)
    else:
        for at in range(0, 128, 32):
            mix32(at, at + 16, at)
        low, high = _avalanche(low), _avalanche(high)
        for at in range(128, size - 31, 32):
            mix32(at, at + 16, at - 128 + 3)
        mix32(size - 16, size - 32, 136 - 17 - 16)
    return (_avalanche(low + high & M64),
            -_avalanche(low * PRIME64_1 + high * PRIME64_4 + size * PRIME64_2 & M64) & M64)


# XXH64: the content checksum of Zstandard frames

def xxh64(data):
    data = bytes(data)
    size = len(data)

    def mix(acc, word):
        return _rotl64(acc + word * PRIME64_2 & M64, 31) * PRIME64_1 & M64

    at = 0
    if size >= 32:
        a, b, c, d = (PRIME64_1 + PRIME64_2) & M64, PRIME64_2, 0, -PRIME64_1 & M64
        at = size & ~31
        words = Struct("<4Q").iter_unpack(data[:at])
        for w, x, y, z in words:
            a, b, c, d = mix(a, w), mix(b, x), mix(c, y), mix(d, z)
        h = _rotl64(a, 1) + _rotl64(b, 7) + _rotl64(c, 12) + _rotl64(d, 18) & M64
        for acc in (a, b, c, d):
            h = ((h ^ mix(0, acc)) * PRIME64_1 + PRIME64_4) & M64
    else:
        h = PRIME64_5
    h = h + size & M64
    while at + 8 <= size:
        h = (_rotl64(h ^ mix(0, _u64(data, at)), 27) * PRIME64_1 + PRIME64_4) & M64
        at += 8
    if at + 4 <= size:
        h = (_rotl64(h ^ _u32(data, at) * PRIME64_1 & M64, 23) * PRIME64_2 + PRIME64_3) & M64
        at += 4
    for byte in data[at:]:
        h = _rotl64(h ^ byte * PRIME64_5 & M64, 11) * PRIME64_1 & M64
    return _avalanche_xxh64(h)
