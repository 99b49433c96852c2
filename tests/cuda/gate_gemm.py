#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What nvcc made of the multiplication kernels, read off the object files: no GPU and no disassembler.

    gate_gemm.py [--print] gemm.o gemm_wgmma_p4.o gemm_mma_p4.o ...

For every kernel and architecture: no local memory, registers as the launch bounds want them, the matrix instructions that
are meant. For wgmma also the instructions on the way once around the main loop, two units of 64 columns, where barriers
are open at once and nothing has to be mended: all of them, and those of the ALU. (That wgmma is not serialized,
kernels/cuda/compile.py checks where the objects are made.)
"""
import heapq
import re
import struct
import sys

import gate

# By source: what a warp's way through two units has at least (so that it is not one that skips the building of
# fragments), and at most, on the way: all instructions, and LOP3 + SHF + PRMT. 2 x 1024 weights, 32 lanes: 64 weights a
# lane, so 4 issue slots a weight are 256 instructions, 2 operations a weight 128. Measured with nvcc 13.0: 2 % to spare.
LOOPS = {
    'p4': ({'HGMMA': 8, 'PRMT': 16, 'LDS': 8}, 256, 128),
    'e8': ({'HGMMA': 8, 'LDS': 10}, 200, 64),
    'raw': ({'HGMMA': 8, 'LDSM': 8}, 128, 24),
}
WGMMA_REGISTERS = {8: 96, 16: 96, 32: 96, 64: 96, 128: 168, 256: 168}
MMA_REGISTERS = {8: 128, 16: 128, 32: 128, 64: 128, 128: 255}


def step(arch, code, at):
    """The instructions that may come after the one at `at`."""
    low, high = struct.unpack_from('<QQ', code, at)
    if low & 0xfff == 0x94d and low >> 12 & 15 == 7:
        return []
    target = gate.branch_target(arch, code, at)
    if target is None:
        return [at + 16]
    always = low >> 12 & 15 == 7 and high >> 23 & 15 == 7
    return [target] if always else [at + 16, target]


def way(arch, code, head, end, least):
    """The shortest way from head to the branch at `end` with at least the instructions `least`: their operations."""
    names = sorted(least)
    start = (head, (0,) * len(names))
    best, queue = {start: (0, None)}, [(0, start)]
    while queue:
        n, state = heapq.heappop(queue)
        at, seen = state
        if n > best[state][0]:
            continue
        name = gate.operation(code, at)
        seen = tuple(min(k + (name == wanted), least[wanted]) for k, wanted in zip(seen, names))
        if at == end:
            if all(k == least[wanted] for k, wanted in zip(seen, names)):
                ops = []
                while state is not None:
                    ops.append(gate.operation(code, state[0]))
                    state = best[state][1]
                return ops
            continue
        for to in step(arch, code, at):
            if not head <= to <= end:
                continue
            new = (to, seen)
            if new not in best or n + 1 < best[new][0]:
                best[new] = (n + 1, state)
                heapq.heappush(queue, (n + 1, new))
    return []


def main_loop(arch, code, least):
    best = None
    for at in range(0, len(code), 16):
        target = gate.branch_target(arch, code, at)
        if target is None or not 0 <= target <= at or (best and at - target >= best[1] - best[0]):
            continue
        if gate.count(code[target:at + 16])['HGMMA'] >= least['HGMMA']:
            best = (target, at)
    return way(arch, code, *best, least) if best else []


def main(args):
    show = '--print' in args
    failures, seen = [], set()

    def expect(good, text):
        if not good:
            failures.append(text)

    print('%-24s %5s %5s %6s %6s | %5s %5s %10s %10s' % (
        'kernel', 'arch', 'regs', 'all', 'matrix', 'loop', 'bits', 'slots/w', 'bits/w'))
    for path in [a for a in args if not a.startswith('--')]:
        for k in gate.kernels(path):
            where = '%s sm_%d: ' % (k.name, k.arch)
            parts = re.match(r'uw_kernel_(wgmma|mma)_(p4|e8|raw)_(\d+)$', k.name)
            expect(k.ops['LDL'] + k.ops['STL'] == 0 and k.stack == 0, where + 'local memory')
            seen.add((k.name, k.arch))
            matrix, loop = k.ops['HGMMA'] + k.ops['HMMA'], []
            if parts and parts[1] == 'wgmma':
                least, most, most_bits = LOOPS[parts[2]]
                loop = main_loop(k.arch, k.code, least)
                bits = sum(op in gate.BIT_OPS for op in loop)
                expect(k.registers <= WGMMA_REGISTERS[int(parts[3])], where + '%d registers' % k.registers)
                expect(parts[3] != '256' or k.registers == WGMMA_REGISTERS[256],
                       where + 'launched with %d registers: fewer than its warps will ask for' % k.registers)
                expect(k.ops['HMMA'] == 0 and 0 < len(loop) <= most and bits <= most_bits,
                       where + 'loop of %d instructions, %d bit operations' % (len(loop), bits))
                print('%-24s %5s %5s %6s %6s | %5s %5s %10.2f %10.2f' % (
                    k.name, 'sm_%d' % k.arch, k.registers, sum(k.ops.values()), matrix, len(loop), bits,
                    len(loop) / 64, bits / 64))
            else:
                if parts:
                    expect(k.registers <= MMA_REGISTERS[int(parts[3])], where + '%d registers' % k.registers)
                    expect(k.ops['HGMMA'] == 0 and k.ops['HMMA'] == int(parts[3]) // 2, where + '%d HMMA' % k.ops['HMMA'])
                print('%-24s %5s %5s %6s %6s |' % (k.name, 'sm_%d' % k.arch, k.registers, sum(k.ops.values()), matrix))
            if show:
                print('   ', dict(gate.collections.Counter(loop).most_common(20)))
    expect(len(seen) == 3 * 6 + 3 * 5 * 2 + 3, '%d kernels' % len(seen))
    for failure in failures:
        print('FAIL', failure)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
