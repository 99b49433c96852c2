# SPDX-License-Identifier: Apache-2.0
"""Memory: whatever the size and shape of a tensor, a tool takes at most 64 MiB a thread and 256 MiB beside that.

UW_MEMORY_MB is the size of the models in MiB (256 if not set). A child starts with the peak of the process that spawned it,
so this one stays small: the models are made by processes of their own. Prints what each run took.
"""

import os
import random
import struct
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))

from common import PROFILES, Case, environment, tool_command, weights

MIB = 1 << 20
SIZE = int(os.environ.get("UW_MEMORY_MB") or 256) * MIB
THREADS = 1, 2
PIECE = 4 * MIB
BESIDE = 32         # MiB that a tool takes beside the buffers that --memory bounds


def limit(threads):
    return (64 * threads + 256) * MIB


def peak(args, env):
    """Runs a command to its end; its status and its largest resident size."""
    pid = os.posix_spawn(args[0], args, env)
    _, status, usage = os.wait4(pid, 0)
    return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime


def in_a_process(function, *args):
    pid = os.fork()
    if pid == 0:
        try:
            function(*args)
            os._exit(0)
        finally:
            os._exit(1)
    if os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) != 0:
        raise RuntimeError("cannot make a model")


def fill(f, nbytes):
    """Weights, a hole, noise (too many escapes to code), weights: so that every coding is met, each for some groups."""
    rng = random.Random(4)
    trained, noise = weights(PIECE // 2), rng.randbytes(PIECE)
    kinds = (trained,) * 12 + (None,) * 6 + (noise,) * 6
    start = f.tell()
    for i, at in enumerate(range(0, nbytes, PIECE)):
        piece = kinds[i % len(kinds)]
        n = min(PIECE, nbytes - at)
        if piece is None:
            f.seek(n, os.SEEK_CUR)
        else:
            f.write(piece[:n])
    f.truncate(start + nbytes)


def train(path, start):
    """Moves every fourth weight by a step, in most places: copies, differences, and both in one tensor."""
    with open(path, "r+b") as f:
        f.seek(start)
        for i, piece in enumerate(iter(lambda: f.read(PIECE), b"")):
            if i % 5 != 0:
                out = bytearray(piece)
                out[::8] = bytes(b ^ 1 for b in out[::8])
                f.seek(-len(piece), os.SEEK_CUR)
                f.write(out)


def write_model(path, head, nbytes, tail):
    with open(path, "wb") as f:
        f.write(head)
        fill(f, nbytes)
        f.seek(0, os.SEEK_END)
        f.write(tail)


class Memory(Case):
    large = True

    def run_measured(self, threads, name, *args):
        status, size, cpu = peak(tool_command(name, *args, "-T%d" % threads), environment(TMPDIR=self.tmp))
        self.assertEqual(status, 0, (name, args))
        print("  %-40s %d threads %6.1f MiB, limit %d, %.1f s" % (self.what + " " + name, threads, size / MIB,
                                                                  limit(threads) // MIB, cpu), flush=True)
        self.assertLessEqual(size, limit(threads), "%s of %s with %d threads" % (name, self.what, threads))

    def make(self, shape, trailing=b""):
        source = self.path("model.safetensors")
        nbytes = 2
        for d in shape:
            nbytes *= d
        text = ('{"w":{"dtype":"BF16","shape":%s,"data_offsets":[0,%d]}}' % (list(shape), nbytes)).encode()
        text += b" " * (-len(text) % 8)
        in_a_process(write_model, source, struct.pack("<Q", len(text)) + text, nbytes, trailing)
        return source

    def measure(self, shape, trailing=b""):
        source, bundle, out = self.make(shape, trailing), self.path("bundle"), self.path("out")
        for profile in PROFILES:
            self.what = "%s%s %s" % (list(shape), " opaque" if trailing else "", profile)
            for threads in THREADS:
                self.run_measured(threads, "compress", source, "-o", bundle, "-f", "-p", profile)
                self.run_measured(threads, "verify", bundle)
                self.run_measured(threads, "decompress", bundle, "-o", out, "-f")
            same, _, _ = peak(["/usr/bin/cmp", source, out], dict(os.environ))
            self.assertEqual(same, 0)

    def test_matrix(self):
        self.measure((SIZE // 8192, 4096))

    def test_vector(self):
        self.measure((SIZE // 2,))

    def test_flat(self):
        """Too few rows for tiles: taken as a run of weights."""
        self.measure((4, SIZE // 8))

    def test_widest_tiles(self):
        """As wide as tiled order goes: the largest groups there are, 8 Mi weights."""
        self.measure((SIZE >> 24 << 6, 1 << 17))

    def test_bound(self):
        """--memory, with many threads asked for: a bundle made, made again of another one, verified, restored."""
        source = self.make((SIZE // 8192, 4096))
        for mib in 128, 256:
            for args in (["compress", source, "-o", self.path("b"), "-f"], ["compress", self.path("b"), "-o", self.path("c"), "-f"],
                         ["verify", self.path("b")], ["decompress", self.path("b"), "-o", self.path("out"), "-f"]):
                status, size, _ = peak(tool_command(*args, "-T16", "--memory", "%dM" % mib), environment(TMPDIR=self.tmp))
                self.assertEqual(status, 0, args)
                print("  %-40s %6.1f MiB, bound %d" % (args[0], size / MIB, mib), flush=True)
                self.assertLessEqual(size, (mib + BESIDE) * MIB, args)

    def test_base(self):
        """The largest groups over a base: its bytes and the differences come on top."""
        source, base, bundle, out = self.make((SIZE >> 24 << 6, 1 << 17)), self.path("base"), self.path("bundle"), self.path("out")
        self.run_tool("compress", source, "-o", base)
        in_a_process(train, source, 4096)
        self.what = "base"
        for threads in THREADS:
            self.run_measured(threads, "compress", source, "-o", bundle, "-f", "--base", base)
            self.run_measured(threads, "verify", bundle, "--base", base)
            self.run_measured(threads, "decompress", bundle, "-o", out, "-f", "--base", base)
        same, _, _ = peak(["/usr/bin/cmp", source, out], dict(os.environ))
        self.assertEqual(same, 0)

    def test_opaque(self):
        """One byte behind the last tensor: no safetensors file, carried as bytes."""
        self.measure((SIZE // 8192, 4096), b"\0")


if __name__ == "__main__":
    unittest.main()
