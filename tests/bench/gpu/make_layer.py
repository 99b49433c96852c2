#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make_layer.py FILE: a safetensors file with the matrices of one layer of an 8B Llama, Gaussian weights in BF16.

Needs nothing but Python: a million values are drawn, and each row of a matrix is a run of them from a random place on. That
has the exponents of a trained layer, which is what codes and times depend on."""
import array
import json
import random
import struct
import sys

PROJECTIONS = {'self_attn.q_proj': (4096, 4096), 'self_attn.k_proj': (1024, 4096), 'self_attn.v_proj': (1024, 4096),
               'self_attn.o_proj': (4096, 4096), 'mlp.gate_proj': (14336, 4096), 'mlp.up_proj': (14336, 4096),
               'mlp.down_proj': (4096, 14336)}
DRAWN = 1 << 20


def main(path):
    rng = random.Random(1)
    drawn = array.array('f', (rng.gauss(0, 0.02) for _ in range(DRAWN)))
    halves = array.array('H', drawn.tobytes())[1::2].tobytes()   # little-endian: the upper half is the BF16, cut off
    header, at = {}, 0
    for name, shape in PROJECTIONS.items():
        nbytes = 2 * shape[0] * shape[1]
        header['model.layers.0.%s.weight' % name] = {'dtype': 'BF16', 'shape': shape, 'data_offsets': [at, at + nbytes]}
        at += nbytes
    text = json.dumps(header).encode()
    text += b' ' * (-len(text) % 8)
    with open(path, 'wb') as f:
        f.write(struct.pack('<Q', len(text)) + text)
        for nrows, ncols in PROJECTIONS.values():
            for _ in range(nrows):
                first = 2 * rng.randrange(DRAWN - ncols)
                f.write(halves[first:first + 2 * ncols])


if __name__ == '__main__':
    if len(sys.argv) != 2:
        sys.exit(__doc__.splitlines()[0])
    main(sys.argv[1])
