#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a safetensors file of one layer in the shapes of an 8B model: the input of results/tune.md.

    layer.py FILE
"""

import json
import struct
import sys

import numpy

SHAPES = {"self_attn.q_proj": (4096, 4096), "self_attn.k_proj": (1024, 4096), "self_attn.v_proj": (1024, 4096),
          "self_attn.o_proj": (4096, 4096), "mlp.gate_proj": (14336, 4096), "mlp.up_proj": (14336, 4096),
          "mlp.down_proj": (4096, 14336)}


def bf16(values):
    """Rounded to nearest even."""
    words = values.view(numpy.uint32)
    return ((words + 0x7FFF + (words >> 16 & 1)) >> 16).astype("<u2")


def weights(rng, rows, columns):
    """Normal deviates; standard deviations of rows are log-normal about 0.02."""
    values = rng.standard_normal((rows, columns), dtype=numpy.float32)
    return bf16(values * (0.02 * numpy.exp(0.25 * rng.standard_normal((rows, 1), dtype=numpy.float32))))


def main(path):
    rng = numpy.random.default_rng(5)
    header, at = {}, 0
    for name, (rows, columns) in SHAPES.items():
        header["model.layers.0.%s.weight" % name] = {"dtype": "BF16", "shape": [rows, columns],
                                                     "data_offsets": [at, at + 2 * rows * columns]}
        at += 2 * rows * columns
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for rows, columns in SHAPES.values():
            f.write(weights(rng, rows, columns).tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
