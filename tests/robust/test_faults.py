# SPDX-License-Identifier: Apache-2.0
"""Faults: whichever call fails, a tool ends with the right exit code and a message, leaves what was there as it was, and
gives nothing a final name that is not whole. Interrupted and short calls do not fail at all.

faults.c, preloaded, makes the Nth call of a kind fail; here N goes over all of a run's calls. UW_FAULTS is how many calls of
memory allocation are tried of each run (evenly spread, from a start that differs from run to run); "all" tries every one.
Those that libcrypto and libarchive make are left out: without memory they crash by themselves.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import unittest

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "cli"))

from common import (Case, environment, read, read_tree, safetensors, tar_bytes, tar_member, tool_command, weights,
                    write, write_tree)

LIBRARY = os.environ["UW_FAULT_LIBRARY"]
SPARE = "libcrypto.so libarchive.so"
LIMIT = os.environ.get("UW_FAULTS") or "40"
ALL = LIMIT == "all"
SEED = int(os.environ.get("UW_SEED") or random.randrange(1 << 31))
TIMEOUT = 60
CODES = {"ENOMEM": 7, "ENOSPC": 7, "EDQUOT": 7, "EIO": 6, "EMFILE": 6, "EAGAIN": 7, "EACCES": 6}
TEMPORARY = re.compile(r"\..*\.tmp/")
HARMLESS = "EINTR", "short"
# what each kind of call is made to do; "+": that call and all later ones
FAULTS = {
    "alloc": ("ENOMEM",), "open": ("EIO", "EMFILE"), "read": ("EIO", "EINTR", "short"),
    "write": ("ENOSPC", "ENOSPC+", "EDQUOT", "EIO", "EINTR", "short"), "sync": ("EIO", "EIO+", "ENOSPC", "EINTR"),
    "rename": ("EIO", "ENOSPC"), "mmap": ("ENOMEM",), "reserve": ("ENOSPC", "EDQUOT", "EIO", "EINTR"),
    "close": ("EIO", "EINTR"), "mkdir": ("ENOSPC", "EIO"), "stat": ("EIO",), "chmod": ("EIO",), "thread": ("EAGAIN",),
}
MODEL = {
    "m.safetensors": safetensors([("a", "BF16", (64, 64), weights(4096)), ("b", "BF16", (100,), weights(100, 2)),
                                  ("f", "F32", (16, 16), bytes(1024))], {"format": "pt"}),
    "config.json": b'{"a": 1}\n', "bin/run.sh": (b"#!/bin/sh\n", True),
}
# most of it a step away from MODEL's
TUNED = {**MODEL, "m.safetensors": safetensors([
    ("a", "BF16", (64, 64), bytes(b ^ 1 if i % 6 == 0 else b for i, b in enumerate(weights(4096)))),
    ("other b", "BF16", (100,), weights(100, 2)), ("f", "F32", (16, 16), bytes(1024))], {"format": "pt"})}


def run(name, args, cwd, fault=None, spare=SPARE, report=None):
    """Runs a tool with a fault; calls by kind, and "fired"."""
    env = environment(TMPDIR=os.path.join(cwd, "tmpdir"), LD_PRELOAD=LIBRARY, UW_FAULT=fault, UW_FAULT_REPORT=report,
                      UW_FAULT_SPARE=spare, MALLOC_PERTURB_="165")
    return subprocess.run(tool_command(name, *args), cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)


def calls(report):
    return {kind: int(n) for kind, n in (line.split() for line in read(report).decode().splitlines())}


class Faults(Case):
    """Inputs in self.dir, made once; each run has a folder of its own, new."""

    def setUp(self):
        super().setUp()
        self.nfaults = 0
        self.model(MODEL)
        write(self.path("model.tar"), tar_bytes([tar_member(p, *(v if isinstance(v, tuple) else (v,)))
                                                 for p, v in MODEL.items()]))
        self.compress("model", "bundle")
        self.compress("model", "bundle.tar")
        self.compress("model", "serve", "-p", "inference")
        self.report = self.path("report")
        self.out = self.path("out")

    def run_once(self, tool, args, before, fault=None, spare=SPARE):
        shutil.rmtree(self.out, True)
        write_tree(self.out, before)
        os.mkdir(os.path.join(self.out, "tmpdir"))
        if os.path.exists(self.report):
            os.unlink(self.report)
        r = run(tool, args, self.out, fault, spare, self.report)
        return r, read_tree(self.out)

    def check(self, kind, what, r, tree, before, golden, stdout):
        """One run that met a fault. Where the removal of what was replaced, or of what a tar was made of, is what fails, the
        temporary folder stays; and where the new one is not surely on the disk, so does the old one, under its name."""
        harmless = what in HARMLESS
        errors = r.stderr.decode("utf-8", "backslashreplace")
        self.assertIn(r.returncode, (0,) if harmless else (0, CODES[what.rstrip("+")]), errors)
        if r.returncode == 0:
            self.assertTrue({p: v for p, v in tree.items() if not TEMPORARY.match(p) or kind not in ("alloc", "open")} == golden,
                            "other files or bytes: %s" % list(tree))
            self.assertTrue(r.stdout == stdout, "other text")
            return
        self.assertNotEqual(errors.strip(), "")
        removing = set(golden) <= set(tree) and kind in ("alloc", "open", "sync")
        self.assertTrue(removing or set(tree) <= {*before, *golden}, "temporary files: %s" % list(tree))
        for name in {path.split("/")[0] for path in [*before, *golden]}:
            part = [{p: v for p, v in t.items() if p.split("/")[0] == name} for t in (tree, before, golden)]
            self.assertTrue(part[0] in part[1:], "%s is neither as it was nor whole" % name)
        self.assertEqual(os.listdir(os.path.join(self.out, "tmpdir")), [], "temporary files")
        if not removing:
            self.assertEqual([n for n in os.listdir(self.out) if n.endswith(".tmp")], [], "temporary files")

    def check_removal(self, kind, what, r, tree, before, golden, stdout):
        """--rm: no file of the model is gone, nor has changed, before the bundle is whole under its name."""
        if r.returncode == 0:
            self.check(kind, what, r, tree, before, golden, stdout)
            return
        errors = r.stderr.decode("utf-8", "backslashreplace")
        self.assertEqual(r.returncode, CODES[what.rstrip("+")], errors)
        self.assertNotEqual(errors.strip(), "")
        bundle, model = ({p: v for p, v in tree.items() if p.startswith(name)} for name in ("b/", "m/"))
        self.assertTrue(bundle in ({}, golden), "a bundle that is not whole")
        self.assertTrue(model == before or (bundle == golden and model.items() <= before.items()), "lost: %s" % list(tree))

    def numbers(self, kind, n):
        """Which calls of n to try."""
        if ALL or kind != "alloc" or n <= int(LIMIT):
            return range(1, n + 1)
        stride = -(-n // int(LIMIT))
        return range(1 + random.Random(SEED).randrange(stride), n + 1, stride)

    def all_faults(self, tool, *args, before=None, kinds=tuple(FAULTS), check=None):
        check = check or self.check
        before = {p: v if isinstance(v, tuple) else (v, False) for p, v in (before or {}).items()}
        r, golden = self.run_once(tool, args, before)
        self.assertEqual(r.returncode, 0, r.stderr)
        ncalls, stdout = calls(self.report), r.stdout
        for kind in kinds:
            for what in FAULTS[kind]:
                how = "+" if what.endswith("+") else ""
                for n in self.numbers(kind, ncalls[kind]):
                    fault = "%s:%s%d:%s" % (kind, how, n, what.rstrip("+"))
                    with self.subTest(fault=fault, tool=tool, args=args, seed=SEED):
                        r, tree = self.run_once(tool, args, before, fault)
                        check(kind, what, r, tree, before, golden, stdout)
                        self.assertGreaterEqual(calls(self.report)["fired"], 1, "no fault")
                        self.nfaults += 1
        for fault in "read:*1:short", "write:*1:short", "read:*2:EINTR", "write:*2:EINTR":
            with self.subTest(fault=fault, tool=tool, args=args):
                r, tree = self.run_once(tool, args, before, fault)
                check(fault, "short", r, tree, before, golden, stdout)
        self.assertGreater(ncalls["alloc"], 50)
        self.assertGreater(ncalls["open"], 1)
        print("  %-50s %s: %d faults" % (" ".join([tool, *args]), " ".join("%s %d" % c for c in ncalls.items()
                                                                          if c[1] != 0), self.nfaults), flush=True)

    def test_compress(self):
        self.all_faults("compress", "../model", "-o", "b", "--json", "r", "-T1")

    def test_compress_to_tar(self):
        self.all_faults("compress", "../model", "-o", "b.tar", "-T1")

    def test_compress_over_another(self):
        old = {"b/" + p: v for p, v in read_tree(self.path("bundle")).items()}
        self.all_faults("compress", "../model", "-o", "b", "-f", "-p", "inference", "-T1", before=old)

    def test_remove_the_source(self):
        self.all_faults("compress", "m", "-o", "b", "--rm", "-T1", before={"m/" + p: v for p, v in MODEL.items()},
                        check=self.check_removal)

    def test_skip_and_select(self):
        write(self.path("list"), "\n".join(MODEL).encode())
        old = {"b/" + p: v for p, v in read_tree(self.path("bundle")).items()}
        self.all_faults("compress", "../model", "-o", "b", "--skip-existing", "--files-from", "../list", "-T1", before=old)

    def test_compress_from_tar(self):
        self.all_faults("compress", "../model.tar", "-o", "b", "-T1")

    def test_transcode(self):
        self.all_faults("compress", "../bundle", "-o", "b", "-p", "inference", "-T1")

    def test_decompress(self):
        self.all_faults("decompress", "../bundle", "-o", "r", "-T1")

    def test_decompress_from_and_to_tar(self):
        self.all_faults("decompress", "../bundle.tar", "-o", "r.tar", "-T1")

    def test_decompress_to_zip(self):
        self.all_faults("decompress", "../serve", "-o", "r.zip", "-T1")

    def test_base(self):
        self.model(TUNED, "tuned")
        self.compress("tuned", "tuned.uwb", "--base", "bundle")
        self.all_faults("compress", "../tuned", "-o", "b", "--base", "../bundle", "-T1")
        self.all_faults("decompress", "../tuned.uwb", "-o", "r", "--base", "../bundle.tar", "-T1")

    def test_verify(self):
        self.all_faults("verify", "../bundle", "--against", "../model", "-T1")

    def test_inspect(self):
        self.all_faults("inspect", "../bundle", "--json")

    def test_scan(self):
        self.all_faults("scan", "../model", "--json", "j", "--html", "h", "-T1")

    def test_libarchive_without_memory(self):
        """Whatever becomes of the tool, it does not say 1, which is an answer, and nothing gets its name."""
        args = "decompress", ["../bundle.tar", "-o", "r.tar", "-T1"], {}
        r, golden = self.run_once(*args, spare="libcrypto.so")
        n = calls(self.report)["alloc"]
        self.assertEqual(r.returncode, 0)
        for i in self.numbers("alloc", n):
            with self.subTest(i):
                r, tree = self.run_once(*args, "alloc:%d:ENOMEM" % i, "libcrypto.so")
                if r.returncode == 0:
                    self.assertTrue(tree == golden)
                else:
                    self.assertIn(r.returncode, (5, 6, 7, 8, -signal.SIGSEGV), r.stderr)
                    self.assertFalse("r.tar" in tree and tree["r.tar"] != golden["r.tar"])

    def test_threads(self):
        """More than one thread: calls come in another order each time."""
        self.all_faults("compress", "../model", "-o", "b", "-T3", kinds=("thread", "read", "write"))
        self.all_faults("decompress", "../bundle", "-o", "r", "-T3", kinds=("thread", "read", "write"))


if __name__ == "__main__":
    unittest.main()
