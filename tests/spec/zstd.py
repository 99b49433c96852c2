"""A decoder of one Zstandard frame (RFC 8878) in pure Python.

    decompress(frame, size) -> bytes

The frame must state its content size, which must be `size`; it must need no dictionary and nothing may follow it. All else that is wrong
raises ZstdError as well. (The one liberty: a match may reach back further than the window that the frame states.)
"""

from xxh3 import xxh64


class ZstdError(ValueError):
    pass


def check(condition, message):
    if not condition:
        raise ZstdError("Zstandard: " + message)


# Frames and blocks

MAGIC = 0xFD2FB528
BLOCK_MAX = 1 << 17
RAW, RLE, COMPRESSED = range(3)


class Forward:
    """Takes bytes from the front of a piece of data."""

    def __init__(self, data):
        self.data, self.at = data, 0

    def left(self):
        return len(self.data) - self.at

    def take(self, size):
        check(size <= self.left(), "truncated")
        self.at += size
        return self.data[self.at - size:self.at]

    def number(self, size):
        return int.from_bytes(self.take(size), "little")


def decompress(frame, size):
    src = Forward(bytes(frame))
    check(src.number(4) == MAGIC, "not a frame")
    descriptor = src.number(1)
    size_flag, single_segment, dictionary_flag = descriptor >> 6, descriptor >> 5 & 1, descriptor & 3
    check(descriptor & 0x08 == 0, "reserved bit set")
    window = None
    if not single_segment:
        byte = src.number(1)
        window = 1 << 10 + (byte >> 3)
        window += window // 8 * (byte & 7)
    check(src.number((0, 1, 2, 4)[dictionary_flag]) == 0, "needs a dictionary")
    check(size_flag or single_segment, "content size not stated")
    content_size = src.number((1, 2, 4, 8)[size_flag]) + (256 if size_flag == 1 else 0)
    check(content_size == size, "wrong content size")
    block_max = min(BLOCK_MAX, content_size if single_segment else window)

    out = bytearray()
    state = BlockState()
    last = False
    while not last:
        head = src.number(3)
        last, kind, block_size = head & 1, head >> 1 & 3, head >> 3
        check(kind != 3, "reserved block type")
        check(block_size <= block_max, "block too large")
        before = len(out)
        if kind == RAW:
            out += src.take(block_size)
        elif kind == RLE:
            out += src.take(1) * block_size
        else:
            decode_block(src.take(block_size), out, state, block_max)
        check(len(out) - before <= block_max, "block too large")
        check(len(out) <= size, "more content than stated")
    check(len(out) == size, "less content than stated")
    if descriptor & 4:
        check(src.number(4) == xxh64(out) & 0xFFFFFFFF, "wrong checksum")
    check(src.left() == 0, "something follows the frame")
    return bytes(out)


class BlockState:
    """What a compressed block leaves to the next one."""

    def __init__(self):
        self.huffman = None                 # (table, log2 of its size)
        self.tables = [None, None, None]    # FSE tables of literal lengths, offsets, match lengths
        self.repeats = [1, 4, 8]


def decode_block(data, out, state, block_max):
    src = Forward(data)
    literals = decode_literals(src, state, block_max)
    sequences(src, literals, out, state, len(out) + block_max)


# Bit streams that are read from their end backwards

class Backward:
    """The last byte's highest set bit is the end mark. `left` is the number of bits not read yet; it goes below 0, and zero bits come,
    when the reader asks for more than there are."""

    def __init__(self, data):
        check(len(data) > 0 and data[-1] != 0, "bit stream without end mark")
        self.data, self.at = data, len(data) - 1
        self.n = data[-1].bit_length() - 1                 # bits held
        self.bits = data[-1] & (1 << self.n) - 1
        self.left = 8 * (len(data) - 1) + self.n

    def fill(self):
        size = min(self.at, 16)
        if size == 0:                                      # beyond the beginning: zero bits
            self.bits <<= 64
            self.n += 64
        else:
            self.at -= size
            self.bits = self.bits << 8 * size | int.from_bytes(self.data[self.at:self.at + size], "little")
            self.n += 8 * size

    def read(self, count):
        while self.n < count:
            self.fill()
        self.n -= count
        self.left -= count
        value = self.bits >> self.n
        self.bits &= (1 << self.n) - 1
        return value


# Finite state entropy (FSE)

def fse_description(src, max_log, max_symbols):
    """Reads a table description: (probabilities, accuracy log)."""
    bits = int.from_bytes(src.data[src.at:src.at + 1024], "little")      # more than any description takes
    log = (bits & 15) + 5
    used = 4
    check(log <= max_log, "FSE accuracy too high")
    left = 1 << log
    probabilities = []
    while left > 0:
        check(len(probabilities) < max_symbols, "too many FSE symbols")
        width = (left + 1).bit_length()
        value = bits >> used & (1 << width) - 1
        low = value & (1 << width - 1) - 1
        spare = (1 << width) - 1 - (left + 1)              # values this small take one bit less
        if low < spare:
            value = low
            used += width - 1
        else:
            if value >= 1 << width - 1:
                value -= spare
            used += width
        probability = value - 1
        probabilities.append(probability)
        left -= abs(probability)
        while probability == 0:
            repeat = bits >> used & 3
            used += 2
            probabilities += [0] * repeat
            if repeat < 3:
                break
    check(left == 0, "FSE probabilities do not add up")
    check(len(probabilities) <= max_symbols, "too many FSE symbols")
    src.take((used + 7) // 8)
    return probabilities, log


def fse_table(probabilities, log):
    """(log, list of (symbol, bits to read, base of the next state)), one entry a state"""
    size = 1 << log
    symbols = [None] * size
    top = size
    for symbol, probability in enumerate(probabilities):
        if probability == -1:                              # "less than 1": one state, at the top
            top -= 1
            symbols[top] = symbol
    at = 0
    for symbol, probability in enumerate(probabilities):
        for _ in range(probability):
            symbols[at] = symbol
            at = at + (size >> 1) + (size >> 3) + 3 & size - 1
            while at >= top:
                at = at + (size >> 1) + (size >> 3) + 3 & size - 1
    check(at == 0, "FSE table not filled")
    following = [abs(p) for p in probabilities]
    table = []
    for symbol in symbols:
        number = following[symbol]
        following[symbol] += 1
        bits = log + 1 - number.bit_length()
        table.append((symbol, bits, (number << bits) - size))
    return log, table


# Literals

def decode_literals(src, state, block_max):
    byte = src.number(1)
    kind, size_format = byte & 3, byte >> 2 & 3
    if kind < 2:                                           # raw, RLE
        extra = (0, 1, 0, 2)[size_format]
        head = byte | src.number(extra) << 8
        size = head >> (4 if extra else 3)
        check(size <= block_max, "too many literals")
        return src.take(size) if kind == 0 else src.take(1) * size
    streams = 1 if size_format == 0 else 4
    extra, width = ((2, 10), (2, 10), (3, 14), (4, 18))[size_format]
    head = (byte | src.number(extra) << 8) >> 4
    size, packed_size = head & (1 << width) - 1, head >> width
    check(size <= block_max, "too many literals")
    packed = Forward(src.take(packed_size))
    if kind == 2:
        state.huffman = huffman_table(huffman_weights(packed))
    check(state.huffman is not None, "no Huffman table to repeat")
    if streams == 1:
        return huffman_stream(packed.take(packed.left()), size, *state.huffman)
    jump = [packed.number(2) for _ in range(3)]
    quarter = (size + 3) // 4
    check(size >= 3 * quarter, "too few literals for four streams")
    parts = [huffman_stream(packed.take(length), quarter, *state.huffman) for length in jump]
    parts.append(huffman_stream(packed.take(packed.left()), size - 3 * quarter, *state.huffman))
    return b"".join(parts)


def huffman_weights(src):
    head = src.number(1)
    if head >= 128:                                        # 4 bits each
        count = head - 127
        packed = src.take((count + 1) // 2)
        return [packed[i // 2] >> (0 if i & 1 else 4) & 15 for i in range(count)]
    part = Forward(src.take(head))
    log, table = fse_table(*fse_description(part, 6, 256))
    bits = Backward(part.take(part.left()))
    states = [bits.read(log), bits.read(log)]              # two states that take turns
    check(bits.left >= 0, "truncated")
    weights = []
    turn = 0
    while True:
        check(len(weights) < 254, "too many Huffman weights")
        symbol, count, base = table[states[turn]]
        weights.append(symbol)
        if bits.left < count:                              # this state cannot go on: the other one's symbol is the last
            weights.append(table[states[1 - turn]][0])
            return weights
        states[turn] = base + bits.read(count)
        turn = 1 - turn


def huffman_table(weights):
    """(table, log2 of its size): for each value of the next bits, (symbol, code length)"""
    check(max(weights) <= 12, "Huffman weight too large")
    total = sum(1 << w >> 1 for w in weights)
    check(total > 0, "no Huffman weights")
    log = total.bit_length()
    check(log <= 11, "Huffman codes too long")
    left = (1 << log) - total
    check(left & left - 1 == 0, "Huffman weights do not add up")
    weights = weights + [left.bit_length()]                # the last one completes the sum
    table = []
    for weight in range(1, log + 1):
        for symbol, w in enumerate(weights):
            if w == weight:
                table += [(symbol, log + 1 - weight)] * (1 << weight - 1)
    return table, log


def huffman_stream(data, size, table, log):
    stream = Backward(data)
    bits, n, at = stream.bits, stream.n, stream.at
    mask = (1 << log) - 1
    out = bytearray()
    while len(out) < size:
        if at:                                             # hold many bits and decode until they run low
            step = min(at, 64)
            at -= step
            bits = bits << 8 * step | int.from_bytes(data[at:at + step], "little")
            n += 8 * step
            pad = 0
        else:
            bits <<= log                                   # zero bits, so that the last codes can be looked up
            pad = log
            n += log
        while n - log >= 0 and len(out) < size:
            symbol, length = table[bits >> n - log & mask]
            out.append(symbol)
            n -= length
        bits &= (1 << n) - 1
        if pad:
            check(len(out) == size and n == pad, "Huffman stream of wrong length")
            return bytes(out)
    check(at == 0 and n == 0, "Huffman stream of wrong length")
    return bytes(out)


# Sequences

LITERAL_BASES = list(range(16)) + [16, 18, 20, 22, 24, 28, 32, 40, 48] + [1 << i for i in range(6, 17)]
LITERAL_BITS = [0] * 16 + [1, 1, 1, 1, 2, 2, 3, 3, 4] + list(range(6, 17))
MATCH_BASES = list(range(3, 35)) + [35, 37, 39, 41, 43, 47, 51, 59, 67, 83, 99] + [3 + (1 << i) for i in range(7, 17)]
MATCH_BITS = [0] * 32 + [1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5] + list(range(7, 17))

# (largest accuracy log, number of symbols, predefined table) of literal lengths, offsets, match lengths
KINDS = (
    (9, 36, fse_table([4, 3] + [2] * 11 + [1] * 3 + [2] * 9 + [3, 2] + [1] * 5 + [-1] * 4, 6)),
    (8, 32, fse_table([1] * 6 + [2] * 3 + [1] * 15 + [-1] * 5, 5)),
    (9, 53, fse_table([1, 4, 3] + [2] * 6 + [1] * 37 + [-1] * 7, 6)),
)


def sequences(src, literals, out, state, limit):
    count = src.number(1)
    if count >= 255:
        count = src.number(2) + 0x7F00
    elif count >= 128:
        count = (count - 128 << 8) + src.number(1)
    if count == 0:
        check(src.left() == 0, "something follows the literals")
        out += literals
        return
    modes = src.number(1)
    check(modes & 3 == 0, "reserved bits set")
    for i, (max_log, max_symbols, predefined) in enumerate(KINDS):
        mode = modes >> 6 - 2 * i & 3
        if mode == 0:
            state.tables[i] = predefined
        elif mode == 1:
            symbol = src.number(1)
            check(symbol < max_symbols, "bad code")
            state.tables[i] = 0, [(symbol, 0, 0)]
        elif mode == 2:
            state.tables[i] = fse_table(*fse_description(src, max_log, max_symbols))
        check(state.tables[i] is not None, "no FSE table to repeat")
    (literal_log, literal_table), (offset_log, offset_table), (match_log, match_table) = state.tables

    bits = Backward(src.take(src.left()))
    read = bits.read
    literal_state, offset_state, match_state = read(literal_log), read(offset_log), read(match_log)
    first, second, third = state.repeats
    done = 0                                               # literals used
    for left in range(count - 1, -1, -1):
        literal_code, literal_bits, literal_next = literal_table[literal_state]
        offset_code, offset_bits, offset_next = offset_table[offset_state]
        match_code, match_bits, match_next = match_table[match_state]
        offset = (1 << offset_code) + read(offset_code)
        length = MATCH_BASES[match_code] + read(MATCH_BITS[match_code])
        run = LITERAL_BASES[literal_code] + read(LITERAL_BITS[literal_code])
        if left:
            literal_state = literal_next + read(literal_bits)
            match_state = match_next + read(match_bits)
            offset_state = offset_next + read(offset_bits)
        check(bits.left >= 0, "sequences truncated")

        if offset > 3:
            first, second, third = offset - 3, first, second
        else:
            choice = offset if run == 0 else offset - 1    # which of the offsets used last
            if choice == 1:
                first, second = second, first
            elif choice == 2:
                first, second, third = third, first, second
            elif choice == 3:
                first, second, third = first - 1, first, second
        check(done + run <= len(literals), "too few literals")
        out += literals[done:done + run]
        done += run
        check(0 < first <= len(out), "match before the beginning")
        check(len(out) + length <= limit, "block too large")
        start = len(out) - first
        if first >= length:
            out += out[start:start + length]
        else:                                              # the match overlaps what it makes
            out += (out[start:] * (length // first + 1))[:length]
    check(bits.left == 0, "bits after the last sequence")
    out += literals[done:]
    state.repeats = [first, second, third]
