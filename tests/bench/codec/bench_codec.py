#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Size against speed of our codings and of others, on one thread: markdown on stdout; it, CSV and a plot in ../results.

    meson setup -Dbuildtype=release BUILD && ninja -C BUILD tests/bench/codec/bench_codec
    tests/bench/codec/bench_codec.py BUILD [--rounds N] [--out FOLDER] [--model FOLDER] [--quick]

Compressors that import (zipnn with torch, openzl with numpy, lz4) are measured as well: their own C code, called from
Python. Run it on a quiet machine; what other work disturbed is measured again, and ratios to memcpy say more than GB/s.
"""
import argparse
import csv
import ctypes
import gc
import io
import json
import os
import pathlib
import platform
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
TOP = HERE.parents[2]
SETS = {
    "gaussian": "4096 x 14336 of N(0, 0.02)",
    "rowscaled": "4096 x 14336, sigma of a row log-normal about 0.02, one outlier x 30 in 10,000",
    "sample": "2-D weights of samples/shakespeare-llama (5 MB: all in cache)",
}


def sample_matrices(folder, path):
    """Writes the 2-D BF16 tensors of a model as bench_data.c reads them."""
    shapes, parts = [], []
    for file in sorted(folder.glob("*.safetensors")):
        data = file.read_bytes()
        n = struct.unpack_from("<Q", data)[0]
        header = json.loads(data[8:8 + n])
        for name, tensor in sorted(header.items()):
            if name == "__metadata__" or tensor["dtype"] != "BF16" or len(tensor["shape"]) != 2:
                continue
            start, end = tensor["data_offsets"]
            shapes.append(tensor["shape"])
            parts.append(data[8 + n + start:8 + n + end])
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(shapes)))
        for shape in shapes:
            f.write(struct.pack("<QQ", *shape))
        for part in parts:
            f.write(part)


# ---- compressors with a Python module: (name, bytes of a chunk, compress, decompress) ----
#
# Chunk by chunk, and what a chunk decodes to is dropped at once: so memory is used again, and Python's own share is
# small. That favours them a little: ours write all weights to DRAM.

def zipnn_methods():
    import zipnn
    z = zipnn.ZipNN(bytearray_dtype="bfloat16", input_format="byte", threads=1)
    return [("zipnn", 8 << 20, lambda data: z.compress(bytearray(data)), z.decompress)]  # it works in its argument


def openzl_methods():
    import numpy
    import openzl.ext as zl

    def method(entropy):
        compressor = zl.Compressor()
        graph = zl.nodes.BFloat16Deconstruct()(compressor, zl.graphs.Store()(compressor), entropy()(compressor))
        compressor.set_parameter(zl.CParam.FormatVersion, zl.MAX_FORMAT_VERSION)
        compressor.select_starting_graph(graph)
        decoder = zl.DCtx()

        def compress(data):
            encoder = zl.CCtx()
            encoder.ref_compressor(compressor)
            return encoder.compress([zl.Input(zl.Type.Numeric, numpy.frombuffer(data, dtype=numpy.uint16))])

        def decompress(frame):
            return decoder.decompress(frame)[0]
        return compress, decompress
    return [("openzl huf", 512 << 10, *method(zl.graphs.Huffman)), ("openzl fse", 1 << 20, *method(zl.graphs.Fse))]


def lz4_methods():
    import lz4.block
    return [("lz4", 1 << 20, lz4.block.compress, lz4.block.decompress)]


def python_methods():
    methods = []
    for make in (zipnn_methods, openzl_methods, lz4_methods):
        try:
            methods += make()
        except ImportError as error:
            print(f"left out: {error}", file=sys.stderr)
        except (AttributeError, TypeError, ValueError, RuntimeError) as error:
            print(f"left out, another version? {make.__name__}: {error}", file=sys.stderr)
    return methods


def timed(function):
    """Seconds, and whether nothing disturbed them; if not, CPU seconds (the process's: zipnn has a worker)."""
    cpu, wall = time.process_time(), time.perf_counter()
    function()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    good = wall <= 1.02 * cpu
    return (wall if good else cpu), good


def raw_bytes(result):
    return bytes(result.content.as_nparray()) if hasattr(result, "content") else bytes(result)


def median(values):
    values = sorted(values)
    n = len(values)
    return (values[n // 2] + values[(n - 1) // 2]) / 2


def measure_python(name, data, method, nrounds, max_s):
    label, chunk, compress, decompress = method
    view = memoryview(data)
    chunks = [view[i:i + chunk] for i in range(0, len(data), chunk)]
    copy = ctypes.create_string_buffer(len(data))
    stored = [compress(part) for part in chunks]
    if any(raw_bytes(decompress(s)) != part for s, part in zip(stored, chunks)):
        print(f"left out: {label} does not give back {name}", file=sys.stderr)
        return None

    def encode():
        for part in chunks:
            compress(part)

    def decode():
        for part in stored:
            decompress(part)

    series = {"encode": [], "decode": []}
    rough = {"encode": [], "decode": []}
    start = time.monotonic()
    gc.disable()
    for _ in range(3 * nrounds):
        for kind, function in (("encode", encode), ("decode", decode)):
            if len(series[kind]) < nrounds:
                memcpy_s, quiet = timed(lambda: ctypes.memmove(copy, data, len(data)))
                wall, quiet2 = timed(function)
                values = series if quiet and quiet2 else rough
                values[kind].append((len(data) / wall * 1e-9, memcpy_s / wall))
        if time.monotonic() - start > max_s:
            break
    gc.enable()
    bits = 16 * sum(map(len, stored)) / len(data)
    row = {"data": name, "method": label, "bits": f"{bits:.4f}"}
    for kind, values in series.items():
        for i, unit in enumerate(("gbs", "x")):
            row[f"{kind}_{unit}"] = f"{median([v[i] for v in values or rough[kind]]):.4f}"
    row["samples"] = str(min(map(len, series.values())))
    return row


# ---- output ----

def markdown(rows, args):
    out = io.StringIO()
    print(f"One thread of {cpu_name()}, medians of {args.rounds} rounds; x: ratio to memcpy of the same weights;\n"
          "~: disturbed by other work in all rounds, CPU time.", file=out)
    for name in dict.fromkeys(row["data"] for row in rows):
        print(f"\n**{name}**: {SETS.get(name, '')}\n", file=out)
        print("| | bits/weight | encode GB/s | x | decode GB/s | x |\n|---|---|---|---|---|---|", file=out)
        for row in rows:
            if row["data"] != name:
                continue
            cells = [row["method"], f"{float(row['bits']):.3f}"]
            for key, digits in (("encode_gbs", 2), ("encode_x", 3), ("decode_gbs", 2), ("decode_x", 3)):
                mark = "~" if row["samples"] == "0" else ""
                cells.append(f"{mark}{float(row[key]):.{digits}f}" if row[key] else "")
            print("| " + " | ".join(cells) + " |", file=out)
    return out.getvalue()


def cpu_name():
    try:
        with open("/proc/cpuinfo") as f:
            for line in f:
                if line.startswith("model name"):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


WIDTH, HEIGHT, LEFT, TOP_EDGE, BOTTOM = 420, 400, 60, 44, 48
SPEEDS = (0.02, 0.05, 0.1, 0.2, 0.5, 1, 2)
BITS = (10.25, 12.75)  # what is larger stands at the upper edge
COLOURS = {"H": "#0b6e99", "P4": "#c4661f", "other": "#666"}


def at(speed, bits):
    import math
    low, high = math.log(SPEEDS[0]), math.log(SPEEDS[-1])
    x = LEFT + (math.log(speed) - low) / (high - low) * (WIDTH - LEFT - 16)
    y = TOP_EDGE + (BITS[1] - bits) / (BITS[1] - BITS[0]) * (HEIGHT - TOP_EDGE - BOTTOM)
    return x, y


def text(x, y, string, extra=""):
    return f'<text x="{x:.1f}" y="{y:.1f}" {extra}>{string}</text>'


def axes(name):
    out = [text(LEFT, 20, name, 'font-weight="bold" font-size="13"')]
    for speed in SPEEDS:
        x, y = at(speed, BITS[0])
        out.append(f'<path d="M{x:.1f} {TOP_EDGE}V{y:.1f}" stroke="#e4e4e4"/>')
        out.append(text(x, y + 16, f"{speed:g}", 'text-anchor="middle"'))
    for quarter in range(round(4 * BITS[0]), round(4 * BITS[1]) + 1, 2):
        bits = quarter / 4
        x, y = at(SPEEDS[0], bits)
        out.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - 16}" stroke="#e4e4e4"/>')
        out.append(text(x - 6, y + 4, f"{bits:g}", 'text-anchor="end"'))
    out.append(text((LEFT + WIDTH) / 2, HEIGHT - 10, "decode speed, memcpy = 1", 'text-anchor="middle"'))
    out.append(text(14, HEIGHT / 2, "bits per weight", f'text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2})"'))
    return out


def free_place(x, y, width, taken):
    """Where a label beside a point meets no other one: right, left, then lower and lower."""
    for step in range(12):
        for left in (x + 7, x - 7 - width):
            for sign in (1, -1):
                top = y + 4 + sign * 11 * step
                if left > LEFT and left + width < WIDTH and all(
                        left + width < a or left > b or abs(top - t) > 10 for a, b, t in taken):
                    taken.append((left, left + width, top))
                    return left, top
    return x + 7, y + 4


def panel(name, rows):
    out = axes(name)
    taken = []
    points = []
    for row in rows:
        if row["method"] == "entropy":
            x, y = at(SPEEDS[0], float(row["bits"]))
            out.append(f'<path d="M{x:.1f} {y:.1f}H{WIDTH - 16}" stroke="#999" stroke-dasharray="4 3"/>')
            out.append(text(WIDTH - 18, y + 12, "8 + entropy of the exponents", 'text-anchor="end" fill="#777"'))
            taken.append((WIDTH - 190, WIDTH - 16, y + 12))
        elif row["decode_x"] and row["method"] != "memcpy":
            speed = min(max(float(row["decode_x"]), SPEEDS[0]), SPEEDS[-1])
            bits = float(row["bits"])
            label = row["method"] + (f" ({bits:.2f} bits)" if bits > BITS[1] else "")
            points.append((label, *at(speed, min(bits, BITS[1]))))
    taken += [(x - 5, x + 5, y + 4) for _, x, y in points]
    for kind in ("H", "P4"): # one coding, several CPU levels
        line = [(x, y) for method, x, y in points if method.split()[0] == kind]
        if len(line) > 1:
            path = "L".join(f"{x:.1f} {y:.1f}" for x, y in line)
            out.append(f'<path d="M{path}" fill="none" stroke="{COLOURS[kind]}" stroke-opacity=".5"/>')
    for method, x, y in points:
        colour = COLOURS.get(method.split()[0], COLOURS["other"])
        left, top = free_place(x, y, 6.2 * len(method), taken)
        out.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>')
        out.append(text(left, top, method, f'fill="{colour}"'))
    return out


def plot(rows):
    names = list(dict.fromkeys(row["data"] for row in rows))
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH * len(names)} {HEIGHT}" '
           f'width="{WIDTH * len(names)}" height="{HEIGHT}" font-family="sans-serif" font-size="11">',
           '<style>text { paint-order: stroke; stroke: #fff; stroke-width: 3px }</style>',
           '<rect width="100%" height="100%" fill="#fff"/>']
    for i, name in enumerate(names):
        out.append(f'<g transform="translate({i * WIDTH} 0)">')
        out += panel(name, [row for row in rows if row["data"] == name])
        out.append("</g>")
    out.append("</svg>")
    return "\n".join(out) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", type=pathlib.Path, help="meson's build folder")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results")
    parser.add_argument("--model", type=pathlib.Path, default=TOP / "samples/shakespeare-llama")
    parser.add_argument("--quick", action="store_true", help="an eighth of the synthetic weights, as a trial")
    parser.add_argument("--no-python", action="store_true", help="only what bench_codec itself has")
    args = parser.parse_args()
    exe = args.build / "tests/bench/codec/bench_codec"
    weights = 4096 * 14336 // (8 if args.quick else 1)
    columns = ["data", "method", "bits", "encode_gbs", "encode_x", "decode_gbs", "decode_x", "samples"]

    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as folder:
        model = pathlib.Path(folder) / "sample"
        sample_matrices(args.model, model)
        rows = []
        methods = [] if args.no_python else python_methods()
        for source in ("gaussian", "rowscaled", str(model)):
            print(f"measuring {os.path.basename(source)}", file=sys.stderr)
            common = [exe, "-n", str(weights)]
            text_rows = subprocess.run([*common, "-r", str(args.rounds), "-t", "45", source], check=True, text=True,
                                       stdout=subprocess.PIPE).stdout
            fresh = list(csv.DictReader(io.StringIO(text_rows)))
            have = {row["method"] for row in fresh}
            rows += fresh
            if methods:
                dump = pathlib.Path(folder) / "dump"
                subprocess.run([*common, "-d", dump, source], check=True)
                data = dump.read_bytes()
                dump.unlink()
                for method in methods:
                    if method[0] not in have:  # lz4 may be built in
                        row = measure_python(fresh[0]["data"], data, method, args.rounds, 7)
                        rows += [row] if row else []

    args.out.mkdir(parents=True, exist_ok=True)
    with open(args.out / "codec.csv", "w", newline="") as f:
        writer = csv.DictWriter(f, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    table = markdown(rows, args)
    (args.out / "codec.md").write_text(table)
    (args.out / "codec.svg").write_text(plot(rows))
    print(table, end="")


if __name__ == "__main__":
    main()
