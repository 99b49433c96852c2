# SPDX-License-Identifier: Apache-2.0
"""Standard input, output and error as shells, schedulers and impatient readers leave them."""

import json
import os
import shlex
import signal
import subprocess
import time
import unittest

from common import TIMEOUT, WRAPPER, Case, environment, read, read_tree, small_model, tool_command, write

TREE = {"a.safetensors": small_model(), "big": os.urandom(3 << 20), **{"odd%d.safetensors" % i: b"no" for i in range(9)}}


@unittest.skipIf(WRAPPER, "the wrapper would open files under these numbers")
class Closed(Case):
    """Descriptors 0 to 2 that are not open: what is opened next must not get their number."""

    def run_closed(self, closed, tool, *args, expect=0):
        line = shlex.join(tool_command(tool, *args)) + " " + closed
        p = subprocess.run(["sh", "-c", line], cwd=self.dir, env=environment(TMPDIR=self.tmp), timeout=TIMEOUT, check=False,
                           capture_output=True)
        self.assertEqual(p.returncode, expect, (closed, tool, args, p.stderr))
        return p

    def test_messages_do_not_get_into_files(self):
        self.model(TREE)
        want = read_tree(self.compress("model", "b"))
        want_tar = read(self.compress("model", "b.tar"))
        for closed in "<&-", ">&-", "2>&-", "<&- >&-", ">&- 2>&-", "<&- >&- 2>&-":
            for progress in "none", "json":
                with self.subTest(closed, progress=progress):
                    self.run_closed(closed, "compress", "model", "-o", "x", "-fv", "--json", "r", "--progress", progress)
                    self.assert_tree(self.path("x"), want)
                    self.assertEqual(len(json.loads(read(self.path("r")))["files"]), len(TREE))
                    self.run_closed(closed, "compress", "model", "-o", "x.tar", "-fv", "--progress", progress)
                    self.assertTrue(read(self.path("x.tar")) == want_tar)
                    self.run_closed(closed, "decompress", "b", "-o", "y.tar", "-fv", "--progress", progress)
                    self.run_tool("verify", "b", "--against", "y.tar")

    def test_output_that_is_closed(self):
        self.model(TREE)
        self.compress("model", "b")
        self.run_closed(">&-", "compress", "model", "-o", "-", expect=6)
        self.run_closed(">&-", "decompress", "b", "-o", "-", expect=6)
        self.run_closed(">&-", "verify", "b", "--json", "-", expect=6)
        self.run_closed(">&-", "inspect", "b", expect=6)
        self.run_closed("<&-", "compress", "-", "-o", "x", expect=6)
        self.assert_nothing("x")


class Readers(Case):
    """Who reads what we write: goes away, or stops."""

    def writers(self):
        self.model(TREE)
        self.compress("model", "b")
        return (["compress", "model", "-o", "-"], ["decompress", "b", "-o", "-"], ["compress", "model", "-o", "x", "--json", "-"],
                ["compress", "model", "-o", "y", "--sha256sums", "-"], ["inspect", "b", "--json"])

    def start(self, args, **more):
        p = subprocess.Popen(tool_command(*args), cwd=self.dir, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
                             env=environment(TMPDIR=self.tmp), **more)
        self.addCleanup(p.stderr.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        return p

    def test_gone(self):
        """As `| head` does: the tool dies of it silently, like any other, but not before it has cleaned up."""
        for args in self.writers():
            with self.subTest(args):
                p = self.start(args)
                p.stdout.close()
                self.assertEqual(p.wait(TIMEOUT), -signal.SIGPIPE)
                self.assertNotIn(b"pipe", p.stderr.read())
                self.assert_clean()

    def test_gone_and_ignored(self):
        for args in self.writers():
            with self.subTest(args):
                p = self.start(args, preexec_fn=lambda: signal.signal(signal.SIGPIPE, signal.SIG_IGN), restore_signals=False)
                p.stdout.close()
                self.assertEqual(p.wait(TIMEOUT), 6)
                self.assertIn(b"Broken pipe", p.stderr.read())
                self.assert_clean()

    def test_errors_nobody_reads(self):
        self.model(TREE)
        p = subprocess.Popen(tool_command("compress", "model", "-o", "x", "-v"), cwd=self.dir, stderr=subprocess.PIPE,
                             env=environment(TMPDIR=self.tmp))
        p.stderr.close()
        self.assertEqual(p.wait(TIMEOUT), -signal.SIGPIPE)
        self.assert_nothing("x")

    def wait_until_full(self, p):
        """Until it sleeps for want of room."""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline:
            before = sum(map(int, read("/proc/%d/stat" % p.pid).rsplit(b")", 1)[1].split()[11:13]))
            time.sleep(0.5)
            if before == sum(map(int, read("/proc/%d/stat" % p.pid).rsplit(b")", 1)[1].split()[11:13])):
                return
        self.fail("still busy")

    def test_stopped(self):
        """A signal ends the tool though nobody makes room for what it has to write."""
        for args in self.writers()[:2]:
            for sig in signal.SIGTERM, signal.SIGINT:
                with self.subTest(args, signal=sig):
                    p = self.start(args)
                    self.wait_until_full(p)
                    self.assertIsNone(p.poll())
                    p.send_signal(sig)
                    self.assertEqual(p.wait(20), -sig)
                    p.stdout.close()
                    self.assert_clean()

    def test_too_late(self):
        for args in self.writers()[:2]:
            with self.subTest(args):
                p = self.start([*args, "--max-time", "1"])
                self.assertEqual(p.wait(20), 124)
                self.assertIn(b"--max-time", p.stderr.read())
                p.stdout.close()
                self.assert_clean()

    def test_slow(self):
        """All of it arrives, through a pipe that is full most of the time; and the pipe stays as its other users want it."""
        (args, *_) = self.writers()
        want = self.run_tool(*args, text=False).stdout
        read_end, write_end = os.pipe()
        p = subprocess.Popen(tool_command(*args), cwd=self.dir, stdout=write_end, env=environment(TMPDIR=self.tmp))
        self.assertTrue(os.get_blocking(write_end))
        got = b""
        while len(got) < len(want):
            self.assertTrue(os.get_blocking(write_end))
            got += os.read(read_end, 1 << 16)
        self.assertEqual(p.wait(TIMEOUT), 0)
        self.assertTrue(got == want)
        os.close(read_end)
        os.close(write_end)


if __name__ == "__main__":
    unittest.main()
