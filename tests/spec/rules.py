# SPDX-License-Identifier: Apache-2.0
"""What all of the decoder is made with: a corrupt file, sizes, hashes, JSON."""

import json

from xxh3 import xxh3_64, xxh3_128


class Corrupt(Exception):
    pass


def check(condition, message):
    if not condition:
        raise Corrupt(message)


def ceil_div(a, b):
    return -(-a // b)


def align(a, n):
    return ceil_div(a, n) * n


def is_zero(data):
    return data.count(0) == len(data)


def hash64(data):
    """XXH3-64 in canonical form"""
    return xxh3_64(data).to_bytes(8, "big")


def hash128(data):
    return xxh3_128(data).to_bytes(16, "big")


def read(file, at, size, what):
    file.seek(at)
    data = file.read(size)
    check(len(data) == size, what + ": truncated")
    return data


# JSON: the manifest and the header of a safetensors file

def unique(pairs):
    members = dict(pairs)
    check(len(members) == len(pairs), "JSON: duplicate key")
    return members


def no_constant(name):
    raise Corrupt("JSON: %s is not a number" % name)


def parse_json(data, what):
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=unique, parse_constant=no_constant)
    except (ValueError, RecursionError) as e:          # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Corrupt("%s: not JSON: %s" % (what, e)) from None
