# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random points of a run: what has a final name is whole, and the next run gives the bytes of an undisturbed one.

UW_KILLS is how often (40 if not set); UW_SEED repeats a run's choices, though not its timing.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))

from common import Case, environment, read_tree, rows_of_scales, safetensors, tool_command, weights

KILLS = int(os.environ.get("UW_KILLS") or 40)
SEED = int(os.environ.get("UW_SEED") or random.randrange(1 << 31))


def shard(name, seed):
    return safetensors([(name + ".a", "BF16", (512, 512), weights(512 * 512, seed)),
                        (name + ".b", "BF16", (256, 256), rows_of_scales(256, 256, seed)), (name + ".c", "F32", (64, 64), bytes(16384))])


class Kill(Case):
    leaves = True  # temporary files, after each kill

    def setUp(self):
        super().setUp()
        self.model({"model-%d-of-3.safetensors" % i: shard("t%d" % i, i) for i in range(1, 4)} |
                   {"config.json": b"{}\n", "bin/run.sh": (b"#!/bin/sh\n", True)})
        self.compress("model", "whole")
        self.compress("model", "serve", "-p", "inference")

    def content(self, name):
        """A folder's tree, a file's bytes, or None."""
        path = self.path("out/" + name)
        if not os.path.lexists(path):
            return None
        if os.path.isdir(path):
            return read_tree(path)
        with open(path, "rb") as f:
            return f.read()

    def duration(self, tool, args):
        start = time.monotonic()
        self.run_tool(tool, *args, cwd=self.path("out"))
        return time.monotonic() - start

    def test_kill(self):
        """Each way of writing in turn; with -f the old output stays until the new one is whole."""
        ways = [("compress", "../model", "b"), ("compress", "../model", "b.tar"), ("decompress", "../whole", "r"),
                ("decompress", "../whole", "r.tar"), ("compress", "../whole", "s", "-p", "inference"),
                ("compress", "../model", "old", "-f"), ("decompress", "../serve", "old.tar", "-f")]
        rng = random.Random(SEED)
        golden, seconds, killed, done = {}, {}, 0, 0
        for tool, source, out, *more in ways:
            shutil.rmtree(self.path("out"), True)
            os.mkdir(self.path("out"))
            seconds[out] = self.duration(tool, [source, "-o", out, *more])
            golden[out] = self.content(out)
        before = dict.fromkeys(golden)
        before["old"], before["old.tar"] = read_tree(self.path("serve")), b"old"
        while killed < KILLS:
            tool, source, out, *more = ways[(killed + done) % len(ways)]
            with self.subTest(out=out, seed=SEED, kill=killed):
                shutil.rmtree(self.path("out"), True)
                os.mkdir(self.path("out"))
                if out == "old":
                    shutil.copytree(self.path("serve"), self.path("out/old"))
                elif out == "old.tar":
                    with open(self.path("out/old.tar"), "wb") as f:
                        f.write(before[out])
                p = subprocess.Popen(tool_command(tool, source, "-o", out, *more), cwd=self.path("out"), stderr=subprocess.DEVNULL,
                                     stdin=subprocess.DEVNULL, env=environment(TMPDIR=self.tmp))
                try:
                    p.wait(rng.random() * seconds[out] * 1.05)
                except subprocess.TimeoutExpired:
                    p.kill()
                status = p.wait(30)
                self.assertIn(status, (0, -signal.SIGKILL))
                if status == 0:
                    done += 1
                    seconds[out] *= 0.9         # was measured when the machine had more to do
                else:
                    killed += 1
                    seconds[out] *= 1.05
                self.assertLess(done, 4 * KILLS + 40)
                found = self.content(out)
                self.assertTrue(found in (before[out], golden[out]), "%s is neither as it was nor whole" % out)
                if found == golden[out] and "-f" not in more:
                    self.run_tool(tool, source, "-o", out, *more, cwd=self.path("out"), expect=4)
                else:
                    self.run_tool(tool, source, "-o", out, *more, cwd=self.path("out"))
                self.assertTrue(self.content(out) == golden[out], "%s has other bytes" % out)
        print("  %d killed, %d had ended before" % (killed, done), flush=True)


if __name__ == "__main__":
    unittest.main()
