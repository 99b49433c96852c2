# SPDX-License-Identifier: Apache-2.0
"""A sharded model compressed in parts, several at a time: what a worker takes of memory, and that the bundle merges and verifies.

UW_LARGE_SHARD sets the bytes of each of the 100 shards, 500000000 for the 50 GB of a real model; UW_LARGE_DIR where they are
made: they and the bundle take 1.7 times the model's size."""

import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import Case, environment, safetensors, tool_command, weights

SHARDS, PARTS, WORKERS = 100, 10, 2
SHARD = int(os.environ.get("UW_LARGE_SHARD", "1000000"))
LIMIT = 1 << 30     # bytes of memory of one worker


class Large(Case):
    large = True

    def setUp(self):
        super().setUp()
        if "UW_LARGE_DIR" in os.environ:
            self.dir = tempfile.mkdtemp(prefix="uw-large-", dir=os.environ["UW_LARGE_DIR"])
            self.addCleanup(shutil.rmtree, self.dir, True)

    def make_model(self):
        """Each shard begins at another place of the same weights: no two are alike."""
        rng = random.Random(1)
        block = weights(1 << 20)
        os.mkdir(self.path("model"))
        for i in range(SHARDS):
            rows = SHARD // 8192
            head = safetensors([("layers.%d.mlp.down_proj.weight" % i, "BF16", (rows, 4096), b"")],
                               text='{"layers.%d.mlp.down_proj.weight":{"dtype":"BF16","shape":[%d,4096],"data_offsets":[0,%d]}}'
                               % (i, rows, rows * 8192))
            start = 2 * rng.randrange(1 << 20)
            turned = block[start:] + block[:start]
            with open(self.path("model/model-%05d-of-%05d.safetensors" % (i + 1, SHARDS)), "wb") as f:
                f.write(head)
                for left in range(rows * 8192, 0, -len(turned)):
                    f.write(turned[:left])
        return SHARDS * (SHARD // 8192) * 8192

    def start(self, *args):
        return subprocess.Popen(tool_command(*args), cwd=self.dir, stdin=subprocess.DEVNULL, env=environment(TMPDIR=self.tmp))

    def finish(self, p):
        """Waits for the tool; gives the most memory that it had."""
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(p.returncode, 0)
        return usage.ru_maxrss * 1024

    def test_parts(self):
        nbytes = self.make_model()
        since = time.monotonic()
        peaks = []
        for first in range(1, PARTS + 1, WORKERS):
            workers = [self.start("compress", "--part", "%d/%d" % (i, PARTS), "model", "-o", "bundle", "-T1")
                       for i in range(first, first + WORKERS)]
            peaks += map(self.finish, workers)
        packed = time.monotonic()
        merge = self.finish(self.start("compress", "--merge", "-o", "bundle"))
        merged = time.monotonic()
        verify = self.finish(self.start("verify", "bundle"))
        verified = time.monotonic()
        stored = sum(os.path.getsize(os.path.join(self.path("bundle"), f)) for f in os.listdir(self.path("bundle")))
        print("%.1f MB -> %.1f MB in %.1f s by %d workers, peak %.0f MiB each; merged in %.2f s (%.0f MiB), verified in %.1f s (%.0f MiB)"
              % (nbytes / 1e6, stored / 1e6, packed - since, WORKERS, max(peaks) / 2**20, merged - packed, merge / 2**20,
                 verified - merged, verify / 2**20))
        self.assertLess(max(*peaks, merge, verify), LIMIT)
        self.assertLess(stored, 0.75 * nbytes)


if __name__ == "__main__":
    unittest.main()
