# SPDX-License-Identifier: Apache-2.0
"""Files that are nearly safetensors: the cases by hand, and small damage to good ones. The same bytes everywhere."""

import json
import struct

TENSOR = '{"dtype":"%s","shape":[%s],"data_offsets":[%s]}'
T8 = TENSOR % ("F32", "2", "0,8")
U64 = 2 ** 64


def pack(text, data=b"", n=None):
    text = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text) if n is None else n % U64) + text + data


def one(dtype="F32", shape="2", offsets="0,8", data=8, name='"a"', more=""):
    return pack('{%s:{"dtype":%s,"shape":[%s],"data_offsets":[%s]%s}}' %
                (name, dtype if dtype[0] in '"n1[{' else '"%s"' % dtype, shape, offsets, more), bytes(data))


def lengths():
    for n in range(8):
        yield "file of %d bytes" % n, bytes(n)
    for n in (0, 1, 2, 3, 100000000, 100000001, 2 ** 31, 2 ** 32, 2 ** 63, 2 ** 63 - 8, U64 - 8, U64 - 1):
        yield "header length %d" % n, pack("{}", n=n)
    for more in (1, 7, 8):
        yield "%d bytes behind" % more, pack('{"a":%s}' % T8, bytes(8 + more))
        yield "%d bytes missing" % more, pack('{"a":%s}' % T8, bytes(8 - more))


def texts():
    good = '{"a":%s}' % T8
    for what, text in (("spaces", "  %s  "), ("tabs", "\t\r\n%s\t\r\n"), ("NUL behind", "%s\0"), ("NUL before", "\0%s"),
                       ("BOM", "\ufeff%s"), ("no-break space", "%s\u00a0"), ("form feed", "\f%s"), ("comment", "%s//x"),
                       ("twice", "%s%s"), ("comma behind", "%s,"), ("array", "[%s]"), ("string", '"%s')):
        yield what, pack(text.replace("%s", good), bytes(8))
    for text in ("", " ", "{}", "{ }", "null", "[]", "1", "true", '""', "{", "}", "{]", '{"a"}', '{"a":}', "{,}", '{"a":%s,}' % T8,
                 "{'a':%s}" % T8, "{a:%s}" % T8, '{"a" %s}' % T8, '{"a":%s "b":1}' % T8, '{"a":null}', '{"a":1}', '{"a":[]}',
                 '{"a":{}}', '{"a":"x"}'):
        yield "text %s" % text, pack(text, bytes(8 if "F32" in text else 0))
    for bad in (b"\xff", b"\xc0\xaf", b"\xe0\x80\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xf5\x80\x80\x80", b"\xc3", b"\x80"):
        yield "UTF-8 %r" % bad, pack(b'{"' + bad + b'":' + T8.encode() + b"}", bytes(8))
    for good_name in ("\u00e9", "\u6a21", "\U0001f600", "", "../../x", "/etc/passwd", "a b", "\u202e", "\x7f"):
        yield "name %r" % good_name, one(name=json.dumps(good_name, ensure_ascii=False))
    for escape in ("\\u0061", "\\u0000", "\\ud83d\\ude00", "\\ud83d", "\\ude00", "\\ud83dx", "\\ud83d\\u0061", "\\x41", "\\u12", "\\",
                   "\\\"", "\\/", "\\b\\f\\n\\r\\t", "\\a", "\\U00000061", "\t", "\n", "\x01", "\\uD83D\\uDE00", "\\u00G0"):
        yield "escape %r" % escape, one(name='"%s"' % escape)
    yield "long name", one(name='"%s"' % ("n" * 70000))


def metadata():
    for value in ("{}", "null", '{"k":"v"}', '{"k":"v","l":"w"}', '{"k":1}', '{"k":null}', '{"k":true}', '{"k":["v"]}', '{"k":{}}',
                  "[]", '"x"', "1", "true", '{"":""}', '{"k":"v","k":"w"}', '{"k":"\\u0000"}', '{"k":"\\ud800"}', '{"k":"v",}'):
        yield "metadata " + value, pack('{"__metadata__":%s,"a":%s}' % (value, T8), bytes(8))
        yield "metadata last " + value, pack('{"a":%s,"__metadata__":%s}' % (T8, value), bytes(8))
    yield "metadata twice", pack('{"__metadata__":{},"__metadata__":{}}')
    yield "metadata twice, one null", pack('{"__metadata__":null,"__metadata__":{"a":"b"}}')
    yield "metadata like a tensor", pack('{"__metadata__":%s}' % T8, bytes(8))
    yield "metadata in other case", pack('{"__Metadata__":{"a":"b"}}')


def fields():
    for dtype, bits in (("BOOL", 8), ("U8", 8), ("I8", 8), ("F8_E5M2", 8), ("F8_E4M3", 8), ("F8_E8M0", 8), ("I16", 16), ("U16", 16),
                        ("F16", 16), ("BF16", 16), ("I32", 32), ("U32", 32), ("F32", 32), ("F64", 64), ("I64", 64), ("U64", 64),
                        ("C64", 64), ("F4", 4), ("F6_E2M3", 6), ("F6_E3M2", 6)):
        yield dtype, one(dtype, "4", "0,%d" % (bits // 2), bits // 2)
        yield dtype + " odd", one(dtype, "3", "0,%d" % -(-3 * bits // 8), -(-3 * bits // 8))
        yield dtype + " too long", one(dtype, "4", "0,%d" % (bits // 2 + 1), bits // 2 + 1)
    for dtype in ("bf16", "F32 ", '""', "FLOAT", "F128", "null", "1", "[]", "{}"):
        yield "dtype %s" % dtype, one(dtype)
    for number in ("-1", "-0", "0.0", "2.0", "1e0", "2e0", "02", "+2", "0x2", "18446744073709551615", "18446744073709551616", "null",
                   '"2"', "[2]", "true", "NaN", "Infinity", "1e400", "2.", ".5", "1E2"):
        yield "shape %s" % number, one(shape=number)
        yield "offset %s" % number, one(offsets="0,%s" % number)
        yield "begin %s" % number, one(offsets="%s,8" % number)
    for shape in ("", "2,1", "1,2,1,1,1,1,1,1,1,1", "0", "0,2", "2,0", "2,,1", "2 1", "2,", ",2"):
        n = 0 if "0" in shape else 4 if shape == "" else 8
        yield "shape [%s]" % shape, one(shape=shape, offsets="0,%d" % n, data=n)
    for shape in ("4294967296,4294967296", "9223372036854775808,2", "0,9223372036854775808,9223372036854775808",
                  "9223372036854775808,9223372036854775808,0", "4611686018427387904", "18446744073709551615,0"):
        yield "shape [%s]" % shape, one(shape=shape, offsets="0,0", data=0)
    for offsets in ("", "0", "0,8,8", "8,0", "8,16", "0,7", "0,9", "1,9", "[0],8", "18446744073709551608,0", "0,0", "8,8"):
        yield "offsets [%s]" % offsets, one(offsets=offsets)
    for more in (',"x":1', ',"x":{"y":[1,2,{}]}', ',"dtype":"F32"', ',"shape":[2]', ',"data_offsets":[0,8]', ',"x":1,"x":2', ",",
                 ',"x":"\\ud800"', ',"x":1e999', ',"x":-', ',"x":tru'):
        yield "field %s" % more, one(more=more)
    for key in ("dtype", "shape", "data_offsets"):
        fields_ = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
        del fields_[key]
        yield "no " + key, pack(json.dumps({"a": fields_}), bytes(8))
        yield key + " in other case", pack(json.dumps({"a": {**fields_, key.upper(): [0, 8]}}), bytes(8))
    yield "tensor as array", pack('{"a":["F32",[2],[0,8]]}', bytes(8))
    for depth in (2, 8, 60, 126, 127, 128, 129, 1000, 50000):
        yield "nested %d" % depth, one(more=',"x":' + "[" * depth + "]" * depth)


def layouts():
    def two(a, b, data, names=("a", "b")):
        text = "{" + ",".join('"%s":%s' % (n, TENSOR % ("U8", e - s, "%d,%d" % (s, e))) for n, (s, e) in zip(names, (a, b))) + "}"
        return pack(text, bytes(data))

    for a, b, data in (((0, 4), (4, 8), 8), ((4, 8), (0, 4), 8), ((0, 4), (5, 8), 8), ((0, 5), (4, 8), 8), ((0, 8), (0, 8), 8),
                       ((0, 8), (2, 4), 8), ((1, 4), (4, 8), 8), ((0, 4), (4, 8), 9), ((0, 4), (4, 9), 8), ((0, 0), (0, 8), 8),
                       ((0, 8), (0, 0), 8), ((0, 8), (8, 8), 8), ((0, 8), (4, 4), 8), ((0, 0), (0, 0), 0), ((0, 0), (0, 0), 1),
                       ((8, 8), (0, 8), 8), ((9, 9), (0, 8), 8)):
        yield "tensors at %s and %s of %d" % (a, b, data), two(a, b, data)
    yield "name twice", two((0, 4), (4, 8), 8, ("a", "a"))
    yield "name twice, same place", two((0, 8), (0, 8), 8, ("a", "a"))
    yield "name twice by an escape", two((0, 8), (0, 8), 8, ("a", "\\u0061"))
    yield "name twice, last is good", pack('{"a":%s,"a":%s}' % (TENSOR % ("U8", 3, "1,4"), T8), bytes(8))
    yield "many tensors", pack("{" + ",".join('"t%d":%s' % (i, TENSOR % ("U8", 1, "%d,%d" % (i, i + 1))) for i in range(300)) + "}",
                               bytes(300))


def damaged(n=260):
    """Small damage to one good header: an LCG, so that no Python changes it."""
    good = ('{"__metadata__":{"format":"pt"},"b":%s,"a\\n":%s} ' % (TENSOR % ("BF16", "2,2", "0,8"), TENSOR % ("U8", "3", "8,11"))).encode()
    state, values = 1, b'{}[]",:\\0189ae \xff-.n'
    for i in range(n):
        text = bytearray(good)
        for _ in range(1 + i % 3):
            state = (state * 6364136223846793005 + 1442695040888963407) % U64
            at, kind, value = state >> 33, state >> 20 & 3, values[(state >> 25) % len(values)]
            at %= len(text)
            if kind == 0:
                text[at] = value
            elif kind == 1:
                del text[at]
            elif kind == 2:
                text.insert(at, value)
            else:
                text[at:at + 1] = text[at:at + 1] * 2
        yield "damage %d" % i, pack(bytes(text), bytes(11))


def cases():
    """(what, bytes of the file)"""
    out = []
    for group in (lengths, texts, metadata, fields, layouts, damaged):
        out += group()
    return out
