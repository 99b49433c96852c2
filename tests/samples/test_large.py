# SPDX-License-Identifier: Apache-2.0
"""A sharded model compressed in parts, several at a time: what a worker takes of memory, that the bundle merges and verifies,
and that every shard in it has the SHA-256 that it was made with.

UW_LARGE_SHARD sets the bytes of each of the 100 shards, 500000000 for the 50 GB of a real model; UW_LARGE_DIR where they are
made. Planning needs headers only: a shard has its weights from just before its part runs until the part is done, and is a hole
else. So the disk has to hold the bundle, 0.7 of the model's size, and a tenth of the model beside it."""

import hashlib
import json
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

from common import Case, environment, read, safetensors, tool_command, weights, write

SHARDS, PARTS, WORKERS = 100, 20, 2
SHARD = int(os.environ.get("UW_LARGE_SHARD", "1000000"))
BLOCK = 1000003      # weights
LIMIT = 1 << 30     # bytes of memory of one worker
ROWS = SHARD // 8192
WEIGHTS_NBYTES = ROWS * 8192
NBYTES = SHARDS * WEIGHTS_NBYTES
DISK = 0.8 * NBYTES + (64 << 20)


class Shard:
    """Weights that begin at another place of the same block in each shard: no two are alike, nor two groups of a shard, since
    the block is no part of a group."""
    block = weights(BLOCK)

    def __init__(self, folder, i):
        self.name = "model-%05d-of-%05d.safetensors" % (i + 1, SHARDS)
        self.path = os.path.join(folder, self.name)
        self.start = 2 * random.Random(i).randrange(BLOCK)
        name = "layers.%d.mlp.down_proj.weight" % i
        self.head = safetensors([], text=json.dumps({name: {"dtype": "BF16", "shape": [ROWS, 4096], "data_offsets": [0, WEIGHTS_NBYTES]}}))
        write(self.path, self.head)
        self.empty()

    def empty(self):
        os.truncate(self.path, len(self.head))
        os.truncate(self.path, len(self.head) + WEIGHTS_NBYTES)

    def fill(self):
        """Gives its SHA-256."""
        digest = hashlib.sha256(self.head)
        turned = memoryview(self.block[self.start:] + self.block[:self.start])
        with open(self.path, "r+b") as f:
            f.seek(len(self.head))
            for left in range(WEIGHTS_NBYTES, 0, -len(turned)):
                digest.update(turned[:left])
                f.write(turned[:left])
        return digest.hexdigest()


class Large(Case):
    large = True

    def setUp(self):
        super().setUp()
        if "UW_LARGE_DIR" in os.environ:
            self.dir = tempfile.mkdtemp(prefix="uw-large-", dir=os.environ["UW_LARGE_DIR"])
            self.addCleanup(shutil.rmtree, self.dir, True)
        self.assertGreater(shutil.disk_usage(self.dir).free, DISK, "bytes free where the model is made")
        os.mkdir(self.path("model"))
        self.shards = [Shard(self.path("model"), i) for i in range(SHARDS)]
        self.disk = 0
        self.peaks = []
        self.seconds = dict.fromkeys(("made", "packed", "merged", "verified"), 0)

    def start(self, *args):
        return subprocess.Popen(tool_command(*args, "-T1", "--memory", "512M"), cwd=self.dir, stdin=subprocess.DEVNULL,
                                env=environment(TMPDIR=self.tmp))

    def finish(self, p):
        """Waits for the tool and notes the most memory that it had."""
        _, status, usage = os.wait4(p.pid, 0)
        p.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(p.returncode, 0)
        self.peaks.append(usage.ru_maxrss * 1024)

    def timed(self, what, function, *args):
        since = time.monotonic()
        result = function(*args)
        self.seconds[what] += time.monotonic() - since
        return result

    def note_disk(self):
        self.disk = max(self.disk, sum(os.lstat(os.path.join(at, f)).st_blocks * 512 for at, _, files in os.walk(self.dir) for f in files))

    def work(self, *commands):
        for p in [self.start("compress", *c) for c in commands]:
            self.finish(p)

    def do_parts(self, parts, sums):
        """Shards of one size go to the parts in turn; a part that took others would find holes."""
        shards = [s for i, s in enumerate(self.shards) if i % PARTS in parts]
        for s in shards:
            sums[s.name] = self.timed("made", s.fill)
        self.timed("packed", self.work, *(("--part", "%d/%d" % (i + 1, PARTS), "model", "-o", "bundle") for i in parts))
        self.note_disk()
        for s in shards:
            s.empty()

    def test_parts(self):
        sums = {}
        for first in range(0, PARTS, WORKERS):
            self.do_parts(range(first, first + WORKERS), sums)
        self.timed("merged", self.work, ("--merge", "-o", "bundle"))
        write(self.path("SHA256SUMS"), "".join("%s  %s\n" % (sums[name], name) for name in sorted(sums)).encode())
        self.timed("verified", lambda: self.finish(self.start("verify", "bundle", "--sha256sums", "SHA256SUMS")))
        self.note_disk()
        stored = sum(os.path.getsize(os.path.join(self.path("bundle"), f)) for f in os.listdir(self.path("bundle")))
        print("%.1f MB -> %.1f MB by %d workers, peak %.0f MiB each, %.1f MB of disk; %s" % (
            NBYTES / 1e6, stored / 1e6, WORKERS, max(self.peaks) / 2**20, self.disk / 1e6,
            ", ".join("%s in %.1f s" % (what, s) for what, s in self.seconds.items())))
        self.assertEqual([f["path"] for f in json.loads(read(self.path("bundle/unweight.json")))["files"]], sorted(sums))
        self.assertLess(max(self.peaks), LIMIT)
        self.assertLess(stored, 0.75 * NBYTES)
        self.assertLess(self.disk, DISK)


if __name__ == "__main__":
    unittest.main()
