#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""y = W x from compressed and from BF16 weights in DRAM: markdown and CSV in ../results.

    meson setup -Dbuildtype=release BUILD && ninja -C BUILD tests/bench/linear/bench_linear
    tests/bench/linear/bench_linear.py BUILD [--seconds S] [--out FOLDER] [--csv FILE]

oneDNN (Debian: libdnnl-dev) takes part if it was there when BUILD was set up. Run it on a quiet machine; what other
work disturbed is dropped. --csv FILE: make the tables of lines that bench_linear has printed before.
"""
import argparse
import csv
import os
import pathlib
import platform
import subprocess

HERE = pathlib.Path(__file__).resolve().parent
FIELDS = ["level", "shape", "threads", "batch", "variant", "baseline", "ms", "gbs", "gflops", "ratio", "base",
          "rounds"]
SHAPES = ["14336x4096", "4096x14336"]
RUNS = [("all", "1", "1,2,4,8,16,32,64,128,256,512,1024"), ("avx2", "1", "1"), ("all", "2", "1,2,4,8")]


def cpu():
    for line in open("/proc/cpuinfo", encoding="ascii"):
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def measure(bench, seconds):
    lines = []
    for level, threads, batches in RUNS:
        env = dict(os.environ, **({"UW_CPU_LEVEL": level} if level != "all" else {}))
        for shape in SHAPES:
            command = [bench, "-s", str(seconds), "-t", threads, "-b", batches, shape]
            lines += subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=env).stdout.splitlines()
    return lines


def table(rows):
    """One line a batch; a column a variant: milliseconds, and the ratio of the fastest baseline's time to it."""
    out = ["| batch | fastest baseline | GB/s | P4 ms | P4 GB/s | P4 x | E8 x | raw twin x | natural x | oneDNN x |"
           " oneDNN packed x | rounds |", "|" + "---|" * 12]
    for batch in sorted({int(r["batch"]) for r in rows}):
        mine = [r for r in rows if int(r["batch"]) == batch and float(r["ms"]) > 0]  # 0: always disturbed
        best = {}
        for r in mine:
            name = r["variant"] if r["variant"].startswith("oneDNN") else r["variant"].split()[0]
            if name not in best or float(r["ms"]) < float(best[name]["ms"]):
                best[name] = r
        base = min((r for r in mine if r["baseline"] == "1"), key=lambda r: float(r["ms"]))
        p4 = best["P4"]

        def ratio(name):
            return f"{float(best[name]['ratio']):.2f}" if name in best else "-"

        out.append(f"| {batch} | {base['variant']}, {float(base['ms']):.2f} ms | {float(base['gbs']):.1f} | "
                   f"{float(p4['ms']):.2f} ({p4['variant'].split()[1]}) | {float(p4['gbs']):.1f} | "
                   f"**{ratio('P4')}** | {ratio('E8')} | {ratio('RAW')} | {ratio('natural')} | {ratio('oneDNN')} | "
                   f"{ratio('oneDNN packed')} | {p4['rounds']} |")
    return out


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("build", type=pathlib.Path, nargs="?")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--out", type=pathlib.Path, default=HERE.parent / "results")
    parser.add_argument("--csv", type=pathlib.Path)
    args = parser.parse_args()
    if args.csv:
        lines = args.csv.read_text(encoding="ascii").splitlines()
    else:
        lines = measure(args.build / "tests/bench/linear/bench_linear", args.seconds)
    lines = [line for line in lines if not line.startswith("level,")]
    rows = list(csv.DictReader(lines, FIELDS))
    text = ["# y = W x from DRAM", "",
            f"{cpu()}. Made by `tests/bench/linear/bench_linear.py`. FP32 out, BF16 in; Gaussian weights, sigma of "
            "a row log-normal about 0.02, 12.01 bits a weight; 1 GB of BF16, and the same weights coded, are cycled "
            "through.",
            "x: time of the fastest baseline (raw twin, natural order, oneDNN) by that of the variant, median over "
            "undisturbed rounds. GB/s are those of the BF16 weights. Packing x is included. E8: exponents lie in "
            "memory as bytes, which saves no traffic. \"natural\" is our AMX GEMM on row-major weights. AVX2: our "
            "kernels for that level; oneDNN uses what it likes.", ""]
    for level, threads, _ in RUNS:
        for shape in SHAPES:
            some = [r for r in rows if (r["level"], r["threads"], r["shape"]) == (level, threads, shape)]
            if some:
                text += [f"## {shape.replace('x', ' x ')}, {threads} thread{'s' if threads != '1' else ''}"
                         f"{', ' + level.upper() if level != 'all' else ''}", ""]
                text += table(some) + [""]
    (args.out / "linear.md").write_text("\n".join(text), encoding="ascii")
    (args.out / "linear.csv").write_text("\n".join([",".join(FIELDS)] + lines) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
