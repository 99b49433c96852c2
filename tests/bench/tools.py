#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""unweight-compress and unweight-decompress end to end, from page cache, beside what the machine can do at most.

    meson setup -Dbuildtype=release BUILD && ninja -C BUILD
    tests/bench/tools.py BUILD [--rounds N] [--mb N] [--tmp FOLDER] [--out FILE]

The model is synthetic BF16, made in a folder of its own below --tmp (a tmpfs leaves the disk out of it). A round runs
everything once, so that all rows see the same machine; medians. Needs numpy and the openssl command.
"""
import argparse
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import struct
import subprocess
import tempfile
import time

import numpy as np

TOOLS = "compress", "decompress"
THREADS = 1, 2
SIDE = 4096


def make_model(path, mb):
    rng = np.random.default_rng(1)
    nbytes = SIDE * SIDE * 2
    n = max(1, mb * 1000000 // nbytes)
    header = {"l%d.weight" % i: {"dtype": "BF16", "shape": [SIDE, SIDE], "data_offsets": [i * nbytes, (i + 1) * nbytes]}
              for i in range(n)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _ in range(n):
            w = (rng.standard_normal((SIDE, SIDE), dtype=np.float32) * 0.02).view(np.uint32)
            f.write((w >> 16).astype(np.uint16).tobytes())


def timed(function):
    start = time.perf_counter()
    result = function()
    return time.perf_counter() - start, result


def run_tool(build, name, threads, source, out):
    args = [build / "tools" / ("unweight-" + name), "-v", source, "-o", out, "-T%d" % threads]
    seconds, done = timed(lambda: subprocess.run(args, check=True, stderr=subprocess.PIPE, text=True))
    return seconds, re.search(r"thread seconds: (.*)", done.stderr).group(1)


def ceilings(source, copy, src, dst):
    """Seconds for a pass over the model each."""
    nbytes = src.nbytes
    yield "memcpy, one core", timed(lambda: np.copyto(dst, src))[0]
    shown = subprocess.run(["openssl", "speed", "-evp", "sha256", "-bytes", "1048576", "-seconds", "1", "-mr"], check=True,
                           capture_output=True, text=True).stdout
    yield "SHA-256 (openssl speed), one core", nbytes / float(re.search(r"^\+F:.*:([\d.]+)$", shown, re.M).group(1))
    yield "cp", timed(lambda: subprocess.run(["cp", source, copy], check=True))[0]
    os.unlink(copy)


def measure(build, folder, rounds):
    source, bundle, out = folder / "model.safetensors", folder / "bundle", folder / "out"
    src = np.fromfile(source, dtype=np.uint8)
    dst = src.copy()
    seconds, stages = {}, {}
    for _ in range(rounds):
        for name, s in ceilings(source, folder / "copy", src, dst):
            seconds.setdefault(name, []).append(s)
        for threads in THREADS:
            for name in TOOLS:
                key = "unweight-%s -T%d" % (name, threads)
                paths = (source, bundle) if name == "compress" else (bundle, out)
                s, told = run_tool(build, name, threads, *paths)
                seconds.setdefault(key, []).append(s)
                stages.setdefault(key, []).append((s, told))
            if not np.array_equal(np.fromfile(out, dtype=np.uint8), src):
                raise SystemExit("the model did not come back")
            shutil.rmtree(bundle)
            out.unlink()
    return src.nbytes, seconds, {k: sorted(v)[len(v) // 2][1] for k, v in stages.items()}


def cpu_name():
    with open("/proc/cpuinfo") as f:
        return re.search(r"model name\s*: (.*)", f.read()).group(1)


def report(nbytes, rounds, seconds, stages):
    commit = subprocess.run(["git", "-C", pathlib.Path(__file__).parent, "rev-parse", "--short", "HEAD"], check=True,
                            capture_output=True, text=True).stdout.strip()
    text = ["# The tools end to end", "",
            "%s, commit %s, %s, %d CPUs, %s. Made by `tests/bench/tools.py`." % (
                time.strftime("%Y-%m-%d"), commit, cpu_name(), len(os.sched_getaffinity(0)), platform.system()),
            "%d MB of BF16 (N(0, 0.02)) from page cache, check on; GB/s of the model, medians (best) of %d rounds." % (
                nbytes // 1000000, rounds), "", "| | GB/s | best | thread seconds of the median run |",
            "|---|---|---|---|"]
    for name, s in seconds.items():
        text.append("| %s | %.2f | %.2f | %s |" % (name, nbytes / statistics.median(s) / 1e9, nbytes / min(s) / 1e9,
                                                  stages.get(name, "")))
    return "\n".join(text) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("build", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mb", type=int, default=500)
    parser.add_argument("--tmp")
    parser.add_argument("--out", type=pathlib.Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.tmp) as folder:
        folder = pathlib.Path(folder)
        make_model(folder / "model.safetensors", args.mb)
        nbytes, seconds, stages = measure(args.build, folder, args.rounds)
    text = report(nbytes, args.rounds, seconds, stages)
    print(text, end="")
    if args.out is not None:
        args.out.write_text(text)


if __name__ == "__main__":
    main()
