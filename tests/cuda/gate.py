#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What nvcc made of the decode kernels, read off the object files: no GPU and no disassembler.

    gate.py [--print] decode.o probe.o        --print: all figures, to set budgets anew

For every architecture: no local memory (neither instructions nor a stack), registers and instructions within the budgets
below, and for the primitives no more operations than the comments in fragment.cuh state. The lowest 9 bits of a 16-byte
instruction are its operation; cubins stand uncompressed in the object (nvcc --no-compress).
"""
import collections
import struct
import sys

OPS = {0x012: 'LOP3', 0x019: 'SHF', 0x016: 'PRMT', 0x010: 'IADD3', 0x036: 'VIADD', 0x00c: 'ISETP', 0x011: 'LEA',
       0x007: 'SEL', 0x01c: 'PLOP3', 0x024: 'IMAD', 0x025: 'IMAD.WIDE', 0x109: 'POPC', 0x101: 'BREV', 0x184: 'LDS',
       0x188: 'STS', 0x181: 'LDG', 0x186: 'STG', 0x1ae: 'LDGSTS', 0x183: 'LDL', 0x187: 'STL', 0x147: 'BRA', 0x118: 'NOP',
       0x002: 'MOV', 0x189: 'SHFL', 0x1c4: 'REDUX', 0x006: 'VOTE', 0x14d: 'EXIT', 0x1f0: 'HGMMA', 0x03c: 'HMMA', 0x03b: 'LDSM'}
ALU = ('LOP3', 'SHF', 'PRMT', 'IADD3', 'VIADD', 'ISETP', 'LEA', 'SEL', 'PLOP3')
BIT_OPS = ('LOP3', 'SHF', 'PRMT')

# By architecture: registers, and ALU instructions of the loop over tiles (as it stands in the code: slow paths for edges
# and patches count too). Measured with nvcc 13.0; instructions have 5 % to spare.
KERNELS = {
    'uw_kernel_decode_p4': {80: (80, 183), 89: (72, 187), 90: (64, 190)},
    'uw_kernel_decode_h': {80: (64, 280), 89: (64, 280), 90: (56, 290)},
    'uw_kernel_transcode_h': {80: (40, 154), 89: (40, 154), 90: (32, 154)},
    'uw_kernel_exponents_h': {80: (40, 125), 89: (40, 125), 90: (32, 125)},
}

# Operations for 32 weights of a lane, net of `probe_nothing`: LOP3 + SHF + PRMT, at most; LDS, exactly.
PROBES = {
    'probe_fragment_p4': (60, 0),
    'probe_fragment_e8': (24, 0),
    'probe_fragment_entries': (40, 0),
    'probe_place_nibbles': (52, 0),
    'probe_place_exponents': (24, 0),
    'probe_next_entries': (80, 44),
}


def sections(elf):
    at, = struct.unpack_from('<Q', elf, 40)
    size, count, names = struct.unpack_from('<HHH', elf, 58)
    heads = [struct.unpack_from('<IIQQQQIIQQ', elf, at + i * size) for i in range(count)]
    strings = heads[names][4]
    for head in heads:
        name = elf[strings + head[0]:elf.index(b'\0', strings + head[0])].decode()
        yield name, elf[head[4]:head[4] + head[5]] if head[1] != 8 else b''


def cubins(path):
    with open(path, 'rb') as f:
        data = f.read()
    at = data.find(b'\x7fELF', 1)
    while at > 0:
        if struct.unpack_from('<H', data, at + 18)[0] == 190:
            yield data[at:]
        at = data.find(b'\x7fELF', at + 1)


def info_words(info):
    """.nv.info: records of form, attribute, size; here those with two words (symbol, value)."""
    at = 0
    while at + 4 <= len(info):
        form, attribute, size = struct.unpack_from('<BBH', info, at)
        at += 4
        if form == 4:
            if size == 8:
                yield (attribute, *struct.unpack_from('<II', info, at))
            at += size


def symbols(elf_sections):
    table, strings = elf_sections['.symtab'], elf_sections['.strtab']
    for at in range(0, len(table), 24):
        name, = struct.unpack_from('<I', table, at)
        yield strings[name:strings.index(b'\0', name)].decode()


def operation(code, at):
    number = struct.unpack_from('<Q', code, at)[0] & 0x1ff
    return OPS.get(number, hex(number))


def branch_target(arch, code, at):
    """None if there is no direct branch."""
    word, = struct.unpack_from('<Q', code, at)
    if word & 0xfff != 0x947:
        return None
    high = (word >> 32) - (word >> 63 << 32)
    return at + 16 + ((high >> 2) * 1024 + (word >> 16 & 0xff) * 4 if arch >= 90 else high)


def tile_loop(arch, code, marker, least):
    """The shortest run from a branch's target up to that branch that has `least` instructions `marker`."""
    best = b''
    for at in range(0, len(code), 16):
        target = branch_target(arch, code, at)
        if target is None or not 0 <= target <= at or (best and at + 16 - target >= len(best)):
            continue
        if count(code[target:at + 16])[marker] >= least:
            best = code[target:at + 16]
    return best


def count(code):
    return collections.Counter(operation(code, at) for at in range(0, len(code), 16))


class Kernel:
    def __init__(self, arch, name, code, registers, stack):
        self.arch, self.name, self.registers, self.stack = arch, name, registers, stack
        self.code = code
        self.ops = count(code)
        self.ops.pop('NOP', None)
        self.loop = count(tile_loop(arch, code, *(('PRMT', 8) if name.endswith('p4') else ('LDS', 44))))

    def alu(self, ops=None, which=ALU):
        return sum((self.ops if ops is None else ops)[op] for op in which)


def kernels(path):
    for elf in cubins(path):
        arch = struct.unpack_from('<I', elf, 48)[0] >> 8 & 0xff
        parts = dict(sections(elf))
        names = list(symbols(parts))
        registers, stack = {}, {}
        for attribute, symbol, value in info_words(parts['.nv.info']):
            if attribute == 0x2f:
                registers[names[symbol]] = value
            if attribute in (0x11, 0x12):
                stack[names[symbol]] = max(value, stack.get(names[symbol], 0))
        for section, code in parts.items():
            if section.startswith('.text.'):
                name = section[len('.text.'):]
                yield Kernel(arch, name, code, registers[name], stack.get(name, 0))


def main(args):
    show = '--print' in args
    decode, probe = [a for a in args if not a.startswith('--')]
    failures, seen = [], 0

    def expect(good, text):
        if not good:
            failures.append(text)

    print('%-24s %5s %5s %6s %6s | %5s %5s %5s %5s %5s' % (
        'kernel', 'arch', 'regs', 'all', 'ALU', 'loop', 'ALU', 'bits', 'LDS', 'STS'))
    for k in kernels(decode):
        seen += 1
        print('%-24s %5s %5s %6s %6s | %5s %5s %5s %5s %5s' % (
            k.name, 'sm_%d' % k.arch, k.registers, sum(k.ops.values()), k.alu(), sum(k.loop.values()), k.alu(k.loop),
            k.alu(k.loop, BIT_OPS), k.loop['LDS'], k.loop['STS']))
        where = '%s sm_%d: ' % (k.name, k.arch)
        expect(k.ops['LDL'] + k.ops['STL'] == 0 and k.stack == 0, where + 'local memory')
        budget = KERNELS.get(k.name, {}).get(k.arch)
        expect(budget is not None, where + 'no budget')
        if budget:
            expect(k.registers <= budget[0], where + '%d registers, at most %d' % (k.registers, budget[0]))
            expect(0 < k.alu(k.loop) <= budget[1], where + '%d ALU instructions in the loop, at most %d' % (
                k.alu(k.loop), budget[1]))
        if show:
            print('   ', dict(k.loop.most_common(20)))
    expect(seen == sum(len(v) for v in KERNELS.values()), '%d kernels' % seen)

    probes = list(kernels(probe))
    nothing = {k.arch: k for k in probes if k.name == 'probe_nothing'}
    print('%-24s %5s %5s %5s   (32 weights of a lane)' % ('primitive', 'arch', 'bits', 'LDS'))
    for k in probes:
        if k.name == 'probe_nothing':
            continue
        bits = k.alu(which=BIT_OPS) - nothing[k.arch].alu(which=BIT_OPS)
        print('%-24s %5s %5s %5s' % (k.name, 'sm_%d' % k.arch, bits, k.ops['LDS']))
        want = PROBES.get(k.name)
        where = '%s sm_%d: ' % (k.name, k.arch)
        expect(want is not None and bits <= want[0] and k.ops['LDS'] == want[1],
               where + '%d operations, %d LDS; not %s' % (bits, k.ops['LDS'], want))
        expect(k.ops['LDL'] + k.ops['STL'] == 0 and k.stack == 0, where + 'local memory')
        if show:
            print('   ', dict(k.ops.most_common(20)))
    expect(len(probes) == len(nothing) * (len(PROBES) + 1) and len(nothing) == 3, '%d probes' % len(probes))
    for failure in failures:
        print('FAIL', failure)
    return 1 if failures else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
