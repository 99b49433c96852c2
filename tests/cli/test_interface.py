# SPDX-License-Identifier: Apache-2.0
"""What scripts build on: exit codes, streams, what stands on the disk after success, failure, signals and kill; reports."""

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import resource
import select
import shutil
import signal
import struct
import subprocess
import tarfile
import termios
import time
import unittest
import xml.etree.ElementTree as ET

from common import (MANIFEST, TIMEOUT, Case, environment, histogram, read, read_manifest, read_tree, safetensors, seal, small_model,
                    tar_bytes, tar_member, tool_command, weights, words, write, write_tree)

ALL = "compress", "decompress", "verify", "inspect", "scan", "tune", "bench"
IS_ROOT = os.geteuid() == 0


class CommandLine(Case):
    def test_help(self):
        for tool in ALL:
            for flag in "-h", "--help":
                r = self.run_tool(tool, flag)
                self.assertTrue(r.stdout.startswith("Usage: unweight-%s " % tool))
                self.assertIn("--version", r.stdout)
                self.assertEqual(r.stderr, "")
            self.assertIn("Exit codes:", r.stdout)
            self.assertLessEqual(max(map(len, r.stdout.splitlines())), 120)

    def test_version(self):
        versions = {self.run_tool(tool, "--version").stdout.split(" ")[1] for tool in ALL}
        self.assertEqual(len(versions), 1)
        self.assertRegex(versions.pop(), r"^\d+\.\d+\.\d+\n$")

    def test_version_for_programs(self):
        for tool in ALL:
            r = self.run_tool(tool, "--version", "--json")
            top = json.loads(r.stdout)
            self.assertEqual(sorted(top), ["features", "formats", "libraries", "schema", "tool", "version"])
            self.assertEqual((top["schema"], top["tool"]), ("unweight-version-1", "unweight-" + tool))
            self.assertEqual("%s %s\n" % (top["tool"], top["version"]), self.run_tool(tool, "--version").stdout)
            self.assertIn(top["features"]["cpu"], ("c", "sse42", "avx2", "avx512", "avx512bf16", "amx"))
            self.assertIsInstance(top["features"]["cuda"], bool)
            for version in top["libraries"].values():
                self.assertRegex(version, r"^\d+\.\d+(\.\d+)?")
        self.bundle({"a": b"a"})
        self.assertIn(read_manifest(self.path("bundle"))["unweight_bundle"], top["formats"]["manifest"])
        with open("/dev/full", "w") as full:
            p = subprocess.run(tool_command("scan", "--version", "--json"), stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
        self.assertEqual(p.returncode, 6)

    def test_help_to_a_full_device(self):
        with open("/dev/full", "w") as full:
            for args in ["--help"], ["--version"]:
                p = subprocess.run(tool_command("compress", *args), stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT, check=False)
                self.assertEqual(p.returncode, 6)

    def test_usage_errors(self):
        self.bundle({"a": b"a"}, "b")
        cases = {"compress": [[], ["b"], ["-o", "x"], ["b", "b", "-o", "x"], ["b", "-o"], ["b", "-o", "x", "--profile", "fast"],
                              ["b", "-o", "x", "-T", "-1"], ["b", "-o", "x", "-T", "1x"], ["b", "-o", "x", "-T", "100000"],
                              ["b", "-o", "x", "--nosuch"], ["b", "-o", "x", "-Z"], ["b", "-o", "x", "--force=1"], ["b", "-o", "x", "--forc"],
                              ["b", "-o", "-", "--json", "-"], ["b", "-o", ""], ["b", "-o", "x.tar.gz"], ["b", "-o", "x.zip"],
                              ["b", "-o", "/"], ["b", "-o", ".."]],
                 "decompress": [[], ["b"], ["b", "-o"], ["b", "b", "-o", "x"], ["b", "-o", "x", "--tensor"], ["b", "-o", "x", "-p", "inference"]],
                 "verify": [[], ["b", "b"], ["b", "--level", "deep"], ["b", "--level"], ["b", "--against"]],
                 "inspect": [[], ["b", "t", "u"], ["b", "--nosuch"]]}
        for tool, lines in cases.items():
            for args in lines:
                with self.subTest(tool, args=args):
                    r = self.run_tool(tool, *args, expect=2)
                    self.assertEqual(r.stdout, "")
                    self.assertTrue(r.stderr.startswith("unweight-%s: " % tool), r.stderr)
        self.assertEqual(sorted(os.listdir(self.dir)), ["b", "b.source", "tmpdir"])

    def test_option_forms(self):
        self.model({"a": b"a"})
        for i, args in enumerate([["model", "-o", "b"], ["model", "-ob"], ["--output", "b", "model"], ["--output=b", "model"],
                                  ["-fvpinference", "-T2", "-ob", "--", "model"]]):
            with self.subTest(args):
                self.run_tool("compress", *args)
                self.run_tool("verify", "b")
                if i < 4:
                    shutil.rmtree(self.path("b"))

    def test_path_like_an_option(self):
        self.model({"a": b"a"}, "-m")
        self.run_tool("compress", "-o", "-b", "--", "-m")
        self.run_tool("verify", "--", "-b")

    def test_quiet_and_verbose(self):
        self.model({"x.safetensors": b"odd", "a": b"a"})
        normal = self.run_tool("compress", "model", "-o", "b", "-f").stderr
        self.assertIn("carried whole", normal)
        self.assertEqual(self.run_tool("compress", "model", "-o", "b", "-f", "-q").stderr, "")
        self.assertIn("a: 1 -> 1 bytes", self.run_tool("compress", "model", "-o", "b", "-f", "-v").stderr)
        self.assertNotEqual(self.run_tool("compress", "nosuch", "-o", "c", "-q", expect=3).stderr, "")
        self.assertEqual(self.run_tool("compress", "nosuch", "-o", "c", "-qq", expect=3).stderr, "")


class ExitCodes(Case):
    def test_silent_success(self):
        self.bundle({"m.safetensors": small_model(), "a": b"a"})
        for tool, *args in (("compress", "bundle.source", "-o", "b2"), ("decompress", "bundle", "-o", "r"), ("verify", "bundle")):
            r = self.run_tool(tool, *args)
            self.assertEqual((r.stdout, r.stderr), ("", ""))

    def test_missing_input(self):
        for tool, *args in (("compress", "-o", "x"), ("decompress", "-o", "x"), ("verify",), ("inspect",)):
            for path in "nosuch", "nosuch/nosuch", "":
                r = self.run_tool(tool, path, *args, expect=3)
                self.assertIn("No such file", r.stderr)
        self.assert_nothing("x")

    def test_missing_folder_of_output(self):
        self.bundle({"a": b"a"})
        for tool, source in ("compress", "bundle.source"), ("decompress", "bundle"):
            for out in "no/x", "no/x.tar":
                self.run_tool(tool, source, "-o", out, expect=3)
                self.assert_nothing("no")

    def test_special_files_as_input(self):
        os.mkfifo(self.path("fifo"))
        for path in "fifo", "/dev/null":
            for tool, *args in (("compress", "-o", "x"), ("decompress", "-o", "x"), ("verify",), ("inspect",)):
                with self.subTest(path, tool=tool):
                    r = self.run_tool(tool, path, *args, expect=None)
                    self.assertIn(r.returncode, (3, 5))
        self.run_tool("compress", self.model({"a": b"a"}), "-o", "b")
        self.assertIn(self.run_tool("verify", "b", "--against", "fifo", expect=None).returncode, (1, 3))

    @unittest.skipIf(IS_ROOT, "root reads everything")
    def test_unreadable(self):
        self.model({"a": b"a"})
        os.chmod(self.path("model/a"), 0)
        self.run_tool("compress", "model", "-o", "b", expect=6)
        self.assert_nothing("b")

    @unittest.skipUnless(IS_ROOT and shutil.which("mount"), "only root can mount")
    def test_full_disk(self):
        self.bundle({"m.safetensors": safetensors([("w", "BF16", (1000, 2000), weights(2000000))]), "plain": bytes(3 << 20)})
        small = self.path("small")
        os.mkdir(small)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", small], timeout=60, check=False, stderr=subprocess.DEVNULL).returncode:
            self.skipTest("mount is not allowed")
        try:
            for tool, source in ("compress", "bundle.source"), ("compress", "bundle.source/m.safetensors"), ("decompress", "bundle"):
                for out in "small/x", "small/x.tar":
                    with self.subTest(tool, source=source, out=out):
                        r = self.run_tool(tool, source, "-o", out, expect=7)
                        self.assertIn("space", r.stderr)
                        self.assertEqual(os.listdir(small), [])
            self.run_tool("compress", "bundle.source", "-o", "-", env={"TMPDIR": small}, expect=7)
            self.run_tool("compress", "-", "-o", "x", env={"TMPDIR": small}, expect=7,
                          input=tar_bytes([tar_member("a", bytes(2 << 20))]))
            self.assertEqual(os.listdir(small), [])
            self.assert_nothing("x")
        finally:
            subprocess.run(["umount", small], timeout=60, check=True)

    def test_limit_of_file_size(self):
        self.bundle({"m.safetensors": safetensors([("w", "BF16", (1000, 500), weights(500000))])})
        limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100000, 100000))
        for tool, source in ("compress", "bundle.source"), ("decompress", "bundle"):
            for out in "x", "x.tar":
                with self.subTest(tool, out=out):
                    self.run_tool(tool, source, "-o", out, preexec_fn=limit, expect=7)
                    self.assert_nothing(out)

    def test_standard_output_that_fails(self):
        self.bundle({"m.safetensors": small_model(), "a": bytes(3000000)})
        for tool, *args in (("compress", "bundle.source", "-o", "-"), ("decompress", "bundle", "-o", "-"),
                            ("inspect", "bundle"), ("inspect", "bundle", "--json"), ("verify", "bundle", "--json", "-")):
            with self.subTest(tool, args=args), open("/dev/full", "w") as full:
                p = subprocess.run(tool_command(tool, *args), stdout=full, stderr=subprocess.PIPE, timeout=TIMEOUT, cwd=self.dir,
                                   env=environment(TMPDIR=self.tmp), check=False)
                self.assertIn(p.returncode, (6, 7))
                self.assertNotEqual(p.stderr, b"")

    def test_closed_pipe(self):
        self.bundle({"a": bytes(3000000)})
        p = subprocess.Popen(tool_command("decompress", "bundle", "-o", "-"), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.dir,
                             env=environment(TMPDIR=self.tmp))
        p.stdout.close()
        p.stderr.read()
        p.stderr.close()
        self.assertIn(p.wait(TIMEOUT), (6, -signal.SIGPIPE))

    def test_data_alone_on_standard_output(self):
        self.bundle({"x.safetensors": b"odd", "a": b"a"})
        r = self.run_tool("compress", "bundle.source", "-o", "-", "-vv", text=False)
        self.assertIn("carried whole", r.stderr)
        self.assertEqual(r.stdout[:13], MANIFEST.encode())
        self.assertEqual(r.stdout, read(self.compress("bundle.source", "b.tar")))
        r = self.run_tool("decompress", "bundle", "-o", "-", "-vv", text=False)
        self.assertEqual(r.stdout, read(self.restore("bundle", "r.tar")))

    def test_unsupported_version(self):
        self.bundle({"a": b"a"})
        write(self.path("bundle/" + MANIFEST), seal({**read_manifest(self.path("bundle")), "unweight_bundle": 3}))
        for tool, *args in (("compress", "-o", "x"), ("decompress", "-o", "x"), ("verify",), ("inspect",)):
            self.assertIn("version", self.run_tool(tool, "bundle", *args, expect=8).stderr)
        self.assert_nothing("x")


class Outputs(Case):
    """What may be replaced, and what else stays as it is."""

    def setUp(self):
        super().setUp()
        self.model({"a": b"new"})
        self.compress("model", "bundle")
        write(self.path("file"), b"mine")
        write(self.path("some.tar"), b"mine")
        write_tree(self.path("folder"), {"mine": b"mine"})
        write_tree(self.path("emptied"), {})

    def test_existing_output_is_refused(self):
        before = read_tree(self.dir)
        for tool, source in ("compress", "model"), ("decompress", "bundle"):
            for out in "file", "folder", "emptied", "bundle", "some.tar":
                with self.subTest(tool, out=out):
                    r = self.run_tool(tool, source, "-o", out, expect=4)
                    self.assertIn("exists", r.stderr)
        self.assertEqual(read_tree(self.dir), before)

    def test_dangling_symlink_is_in_the_way(self):
        for name in "link", "link.tar":
            os.symlink("nowhere", self.path(name))
            for tool, source in ("compress", "model"), ("decompress", "bundle"):
                self.run_tool(tool, source, "-o", name, expect=4)
        self.assert_nothing("nowhere")

    def test_existing_tar_is_found_before_the_work(self):
        """Not after hours of it: the source is not even read."""
        write(self.path("model/b"), b"")
        os.truncate(self.path("model/b"), 1 << 40)
        start = time.monotonic()
        self.run_tool("compress", "model", "-o", "some.tar", expect=4)
        self.run_tool("decompress", "bundle", "-o", "some.tar", expect=4)
        self.assertLess(time.monotonic() - start, 20)

    def test_neighbours_are_not_in_the_way(self):
        for name in "x.tar.parts", "tmpdir/unweight-stdout":
            os.mkdir(self.path(name))
        write(self.path("y.tar.parts"), b"mine")
        self.compress("model", "x.tar")
        self.compress("model", "y.tar")
        self.run_tool("compress", "model", "-o", "-", text=False)
        self.assertEqual(read(self.path("y.tar.parts")), b"mine")
        os.rmdir(self.path("tmpdir/unweight-stdout"))

    def test_force_replaces_a_bundle(self):
        write_tree(self.path("model"), {"b": b"b"})
        self.compress("model", "bundle", "-f")
        self.run_tool("verify", "bundle", "--against", "model")
        os.unlink(self.path("model/a"))
        self.compress("model", "bundle", "-f")
        self.assertEqual(sorted(read_tree(self.path("bundle"))), ["b", MANIFEST])
        self.compress("model", "some.tar", "-f")
        self.run_tool("verify", "some.tar", "--against", "model")

    def test_force_refuses_what_is_no_bundle(self):
        before = read_tree(self.dir)
        for out in "folder", "emptied", "file", ".", "model", "folder/":
            with self.subTest(out):
                self.run_tool("compress", "model", "-o", out, "-f", expect=4)
        self.run_tool("decompress", "bundle", "-o", "file", "-f", expect=4)
        self.assertEqual(read_tree(self.dir), before)
        self.assertTrue(os.path.isdir(self.path("emptied")))

    def test_failure_keeps_the_old_bundle(self):
        before = read_tree(self.path("bundle"))
        self.model({"x.safetensors": b"odd"}, "odd")
        self.run_tool("compress", "odd", "-o", "bundle", "-f", "--strict", expect=3)
        self.assertEqual(read_tree(self.path("bundle")), before)
        write(self.path("bundle/a"), b"bad")
        self.run_tool("decompress", "bundle", "-o", "folder", "-f", expect=5)
        self.assert_tree(self.path("folder"), {"mine": b"mine"})

    def test_decompress_force_keeps_other_files(self):
        write_tree(self.path("folder"), {"a": (b"old", True)})
        self.restore("bundle", "folder", "-f")
        self.assert_tree(self.path("folder"), {"a": b"new", "mine": b"mine"})

    def test_decompress_into_an_empty_folder_with_force(self):
        self.restore("bundle", "emptied", "-f")
        self.assert_tree(self.path("emptied"), {"a": b"new"})

    def test_report_replaces_a_file(self):
        write(self.path("report"), b"old")
        self.run_tool("verify", "bundle", "--json", "report")
        self.assertTrue(json.loads(read(self.path("report")))["good"])

    def test_report_that_cannot_be_written(self):
        r = self.run_tool("verify", "bundle", "--json", "no/report", expect=None)
        self.assertNotIn(r.returncode, (0, 1))
        self.assertNotEqual(r.stderr, "")


class Terminal(Case):
    """A bar and escapes on a terminal, none elsewhere."""

    def on_terminal(self, *line, env=None, expect=0):
        """Runs with stderr, and with stdin and stdout as they come, on a pty; returns what it showed."""
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        p = subprocess.Popen(tool_command(*line), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=slave,
                             cwd=self.dir, env=environment(**{"TMPDIR": self.tmp, "TERM": "xterm", **(env or {})}))
        os.close(slave)
        shown = b""
        deadline = time.monotonic() + TIMEOUT
        while time.monotonic() < deadline and select.select([master], [], [], 1)[0] or p.poll() is None:
            try:
                piece = os.read(master, 65536)
            except OSError:
                break
            if not piece:
                break
            shown += piece
        os.close(master)
        self.assertEqual(p.wait(TIMEOUT), expect, shown)
        return shown

    def test_bar(self):
        """A bar is drawn after a tenth of a second; where that is time enough for 300 MB of zeros, they are more."""
        os.mkdir(self.path("model"))
        write(self.path("model/zeros"), b"")
        for mib in 300, 1000, 3000:
            os.truncate(self.path("model/zeros"), mib << 20)
            shown = [self.on_terminal(*line).decode() for line in (("compress", "model", "-o", "b", "--no-check", "-f"),
                                                                   ("decompress", "b", "-o", "r", "-f"), ("verify", "b"))]
            if all(shown):
                break
        self.assertIn("compress", shown[0])
        self.assertRegex(shown[0], r"\r\x1b\[K$")
        self.assertRegex(shown[1], r"decompress +\d+% \[[# ]{20}\]")
        self.assertRegex(shown[2], r"verify +\d+% \[[# ]{20}\]")
        for env in {"NO_COLOR": "1"}, {"CI": "true"}, {"TERM": "dumb"}, {"TERM": None}:
            self.assertEqual(self.on_terminal("verify", "b", env=env), b"", env)
        self.assertEqual(self.on_terminal("verify", "b", "-q"), b"")
        self.assertEqual(self.run_tool("verify", "b").stderr, "")

    def test_hostile_names(self):
        """Names never reach a terminal as control bytes."""
        name = "\x1b]0;owned\x07\x1b[2J\r\n\x9b31m\u202e\u2066"
        self.model({"x.safetensors": safetensors([(name, "BF16", (9,), bytes(18))]),
                    "y.safetensors": safetensors([(name, "BF16", (9,), bytes(2))])})
        self.compress("model", "b")
        write(self.path("o.safetensors"), safetensors([(name, "BF16", (9,), bytes(17) + b"\1")]))
        self.compress("o.safetensors", "o")
        shown = [self.run_tool("compress", "model", "-o", "b2").stderr, self.run_tool("inspect", "b").stdout,
                 self.run_tool("inspect", "b", name).stdout, self.run_tool("inspect", "b", name + "x", expect=3).stderr,
                 self.run_tool("verify", "o", "--against", "model/x.safetensors", expect=1).stderr,
                 self.run_tool("decompress", "b", "--tensor", name + "\x1b", "-o", "t", expect=3).stderr,
                 self.run_tool("verify", "no" + name, expect=3).stderr, self.run_tool("verify", "b", "--" + name, expect=2).stderr,
                 self.run_tool("compress", "b", "-o", "x", "-p", name, expect=2).stderr]
        for text in shown:
            self.assertIn("\\x1B", text)
            self.assertEqual([c for c in text if c != "\n" and (c < " " or "\x7f" <= c <= "\x9f" or c in "\u202e\u2066")], [])
        self.assertNotIn("owned\n", "".join(shown))

    def test_archive_is_not_written_to_a_terminal(self):
        self.bundle({"a": b"a"})
        for tool, source in ("compress", "bundle.source"), ("decompress", "bundle"):
            master, slave = pty.openpty()
            p = subprocess.run(tool_command(tool, source, "-o", "-"), stdin=subprocess.DEVNULL, stdout=slave, stderr=subprocess.PIPE,
                               cwd=self.dir, env=environment(TMPDIR=self.tmp), timeout=TIMEOUT, check=False)
            os.close(slave)
            os.close(master)
            self.assertEqual(p.returncode, 2)
            self.assertIn(b"terminal", p.stderr)


def heed_signals():
    """Under nohup, say, the tests inherit that a signal is ignored; the tools would go on ignoring it, as they should."""
    for sig in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
        signal.signal(sig, signal.SIG_DFL)


SPARSE = 6 << 30


class Signals(Case):
    """Stopped in the middle: nothing under the final name, no temporary, and the shell sees the signal."""
    large = True

    def need_space(self):
        """Outputs are reserved."""
        if shutil.disk_usage(self.dir).free < SPARSE + (2 << 30):
            self.skipTest("too little space")

    def sparse_bundle(self):
        """A bundle with a plain file that nobody has written: it takes seconds to read."""
        self.need_space()
        size = SPARSE
        os.mkdir(self.path("bundle"))
        write(self.path("bundle/big"), b"")
        os.truncate(self.path("bundle/big"), size)
        write(self.path("bundle/" + MANIFEST), seal({
            "unweight_bundle": 1, "profile": "distribution", "source": "folder",
            "files": [{"path": "big", "size": size, "sha256": "0" * 64, "executable": False, "container": None}]}))
        head = safetensors([], text=json.dumps({"w": {"dtype": "BF16", "shape": [size // 8192, 4096], "data_offsets": [0, size]}}))
        os.mkdir(self.path("model"))
        write(self.path("model/m.safetensors"), head)
        os.truncate(self.path("model/m.safetensors"), len(head) + size)

    def start(self, tool, *args, **more):
        p = subprocess.Popen(tool_command(tool, *args), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=self.dir,
                             env=environment(TMPDIR=self.tmp),
                             **{"stdin": subprocess.DEVNULL, "preexec_fn": heed_signals, **more})
        self.addCleanup(p.stderr.close)
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        return p

    def wait_for(self, found):
        deadline = time.monotonic() + 30
        while not found():
            self.assertLess(time.monotonic(), deadline, "the tool did not get to work")
            time.sleep(0.01)

    def has_temporary(self):
        return any(name.endswith(".tmp") for name in os.listdir(self.dir))

    def stopped(self, p, sig):
        p.send_signal(sig)
        self.assertEqual(p.wait(30), -sig)
        self.assertEqual(p.stderr.read(), b"")
        self.assert_clean()

    def test_compress(self):
        self.sparse_bundle()
        for sig in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            for out in "out", "out.tar":
                with self.subTest(sig, out=out):
                    p = self.start("compress", "model", "-o", out)
                    self.wait_for(self.has_temporary)
                    time.sleep(0.05)
                    self.stopped(p, sig)
                    self.assert_nothing(out)

    def test_decompress(self):
        self.sparse_bundle()
        for sig in signal.SIGINT, signal.SIGTERM, signal.SIGHUP:
            for out in ("out", "out.tar") if sig == signal.SIGINT else ("out",):
                with self.subTest(sig, out=out):
                    p = self.start("decompress", "bundle", "-o", out)
                    self.wait_for(self.has_temporary)
                    time.sleep(0.05)
                    self.stopped(p, sig)
                    self.assert_nothing(out)

    def test_verify(self):
        self.sparse_bundle()
        p = self.start("verify", "bundle", "--json", "report")
        time.sleep(0.3)
        self.stopped(p, signal.SIGTERM)

    def test_force_keeps_what_was_there(self):
        self.sparse_bundle()
        write_tree(self.path("out"), {"big": b"old"})
        p = self.start("decompress", "bundle", "-o", "out", "-f")
        self.wait_for(self.has_temporary)
        self.stopped(p, signal.SIGTERM)
        self.assert_tree(self.path("out"), {"big": b"old"})

    def test_large_member_of_an_archive(self):
        """A member is copied to a temporary file first; that can be stopped too: the rest of the member is not read."""
        self.need_space()
        info = tarfile.TarInfo("big")
        info.size = SPARSE
        p = self.start("compress", "-", "-o", "out", stdin=subprocess.PIPE, bufsize=0)
        p.stdin.write(info.tobuf())
        nread, piece = 0, bytes(1 << 20)
        while nread < 64 << 20:
            nread += p.stdin.write(piece)
        p.send_signal(signal.SIGTERM)
        with contextlib.suppress(BrokenPipeError):
            while nread < info.size:
                nread += p.stdin.write(piece)
        p.stdin.close()
        self.stopped(p, signal.SIGTERM)
        self.assertLess(nread, info.size)
        self.assert_nothing("out")

    def test_standard_input_that_stalls(self):
        """A tar whose other end hangs: a signal ends the wait, in the middle of a member and before the first byte."""
        head = tar_bytes([tar_member("a", b"a"), tar_member("b", bytes(100000))])[:60000]
        for data in b"", head:
            for sig in signal.SIGINT, signal.SIGTERM:
                with self.subTest(sig, nbytes=len(data)):
                    p = self.start("compress", "-", "-o", "out", stdin=subprocess.PIPE)
                    p.stdin.write(data)
                    p.stdin.flush()
                    if data:
                        self.wait_for(self.has_temporary)
                    time.sleep(0.3)
                    try:
                        self.stopped(p, sig)
                    finally:
                        p.stdin.close()
                    self.assert_nothing("out")

    def test_ignored_signals_stay_ignored(self):
        """nohup: a tool that was started with SIGHUP ignored goes on."""
        data = tar_bytes([tar_member("a", b"a")])
        p = self.start("compress", "-", "-o", "out", stdin=subprocess.PIPE, preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        p.stdin.write(data[:700])
        p.stdin.flush()
        self.wait_for(self.has_temporary)
        p.send_signal(signal.SIGHUP)
        time.sleep(0.2)
        p.stdin.write(data[700:])
        p.stdin.close()
        self.assertEqual(p.wait(30), 0)
        self.run_tool("verify", "out")

    def test_kill(self):
        self.leaves = True
        self.sparse_bundle()
        for tool, source in ("compress", "model"), ("decompress", "bundle"):
            p = self.start(tool, source, "-o", "out")
            self.wait_for(self.has_temporary)
            time.sleep(0.1)
            p.kill()
            p.wait(30)
            self.assert_nothing("out")
            for name in os.listdir(self.dir):
                if name.endswith(".tmp"):
                    self.assertEqual(os.stat(self.path(name)).st_mode & 0o077, 0)
        os.unlink(self.path("bundle/big"))
        shutil.rmtree(self.path("bundle"))
        shutil.rmtree(self.path("model"))
        self.compress(self.model({"a": b"a"}), "out")  # what a killed tool left is not in the way
        self.run_tool("verify", "out", "--against", "model")


class Verify(Case):
    def setUp(self):
        super().setUp()
        self.data = weights(70 * 130)
        self.tree = {"m.safetensors": safetensors([("first", "BF16", (3,), bytes(6)), ("layers.0.w", "BF16", (70, 130), self.data),
                                                   ("e", "F32", (2, 3, 4), bytes(96))]),
                     "config.json": b'{"a": 1}\n', "run.sh": (b"#!/bin/sh\n", True)}
        self.bundle(self.tree)

    def reports(self, *args, expect):
        """Runs verify with both reports; they have to agree with the exit code and with each other."""
        r = self.run_tool("verify", "bundle", *args, "--json", "v.json", "--junit", "v.xml", expect=expect)
        report = json.loads(read(self.path("v.json")))
        suite = ET.fromstring(read(self.path("v.xml")))
        bad = [f for f in report["files"] if f["status"] != "good"]
        self.assertEqual(report["good"], expect == 0)
        self.assertEqual(bool(bad), expect != 0)
        cases = suite.findall("testcase")
        self.assertEqual((int(suite.get("tests")), int(suite.get("failures"))), (len(report["files"]), len(bad)))
        self.assertEqual(len(cases), len(report["files"]))
        self.assertEqual([c.find("failure").text for c in cases if c.find("failure") is not None], [f["what"] for f in bad])
        return report, r.stderr

    def flip(self, at, mask):
        """The model with one bit of m.safetensors changed; `at` counts from the start of the big tensor."""
        shutil.rmtree(self.path("other"), True)
        data = bytearray(self.tree["m.safetensors"])
        start = data.index(self.data[:100])
        data[start + at] ^= mask
        self.model({**self.tree, "m.safetensors": bytes(data)}, "other")
        return start + at

    def test_good(self):
        for level in "structure", "checksum", "decode":
            report, _ = self.reports("--level", level, "--against", "bundle.source", expect=0)
            self.assertEqual(report["level"], level)
            self.assertEqual(sorted((f["check"], f["path"]) for f in report["files"]),
                             sorted((check, path) for check in (level, "against") for path in self.tree))

    def test_one_bit(self):
        for row, column, byte, mask in (0, 0, 0, 1), (69, 129, 1, 0x80), (41, 7, 1, 0x40), (64, 64, 0, 0x80):
            with self.subTest((row, column)):
                index = row * 130 + column
                offset = self.flip(2 * index + byte, mask)
                report, text = self.reports("--against", "other", expect=1)
                here = int.from_bytes(self.data[2 * index:2 * index + 2], "little")
                there = here ^ mask << 8 * byte
                for part in ("'layers.0.w'", "row %d, column %d" % (row, column), "0x%04x" % here, "0x%04x" % there):
                    self.assertIn(part, text)
                numbers = [struct.unpack("<f", struct.pack("<I", x << 16))[0] for x in (here, there)]
                for x in numbers:
                    self.assertIn("(%.9g)" % x, text)
                bad, = [f for f in report["files"] if f["status"] != "good"]
                self.assertEqual((bad["path"], bad["offset"]), ("m.safetensors", offset - byte))

    def test_against_the_other_profile_and_forms(self):
        self.compress("bundle", "i", "-p", "inference")
        self.restore("i", "r.tar.gz")
        for other in "i", "r.tar.gz", "bundle.source", "bundle":
            self.reports("--against", other, expect=0)

    def test_other_dtype(self):
        data = self.tree["m.safetensors"]
        self.model({**self.tree, "m.safetensors": data[:-4] + b"\0\0\x80\x3f"}, "other")
        _, text = self.reports("--against", "other", expect=1)
        self.assertIn("'e', row 5, column 3: 0x00000000 here, 0x3f800000 there", text)

    def test_other_bytes(self):
        for path, change, part in (("config.json", lambda b: b[:5] + b"2" + b[6:], "byte 5"), ("config.json", lambda b: b + b" ", "bytes"),
                                   ("config.json", lambda b: b[:-1], "bytes"), ("m.safetensors", lambda b: b + b"\0", "bytes"),
                                   ("m.safetensors", lambda b: b[:-1], "bytes"), ("m.safetensors", lambda b: b[:9] + b" " + b[10:], "byte 9"),
                                   ("config.json", lambda b: b"", "bytes")):
            with self.subTest(path, part=part):
                shutil.rmtree(self.path("other"), True)
                self.model({**self.tree, path: change(self.tree[path])}, "other")
                report, text = self.reports("--against", "other", expect=1)
                self.assertIn(part, text)
                self.assertEqual([f["path"] for f in report["files"] if f["status"] != "good"], [path])

    def test_other_files(self):
        self.model({**self.tree, "more": b""}, "other")
        os.unlink(self.path("other/config.json"))
        os.chmod(self.path("other/run.sh"), 0o644)
        report, _ = self.reports("--against", "other", expect=1)
        self.assertEqual(sorted(f["path"] for f in report["files"] if f["status"] != "good"), ["config.json", "more", "run.sh"])

    def test_against_what_is_no_model(self):
        self.run_tool("verify", "bundle", "--against", "nosuch", expect=3)
        write(self.path("bad.tar"), b"no tar")
        self.run_tool("verify", "bundle", "--against", "bad.tar", expect=3)

    def sums(self, **changes):
        sums = {p: hashlib.sha256(v if isinstance(v, bytes) else v[0]).hexdigest() for p, v in self.tree.items()}
        sums.update({p.replace("_", "."): s for p, s in changes.items()})
        return "".join("%s  %s\n" % (s, p) for p, s in sums.items() if s).encode()

    def test_sums(self):
        good = self.sums()
        for text in good, good.replace(b"  ", b" *"), good.replace(b"  ", b"  ./"), good.replace(b"\n", b"\r\n"), good[:-1]:
            write(self.path("SHA256SUMS"), text)
            self.reports("--sha256sums", "SHA256SUMS", expect=0)
        for text, path in ((self.sums(config_json="0" * 64), "config.json"), (self.sums(config_json=None), "config.json"),
                           (self.sums(more="0" * 64), "more")):
            write(self.path("SHA256SUMS"), text)
            report, _ = self.reports("--sha256sums", "SHA256SUMS", expect=1)
            self.assertEqual([f["path"] for f in report["files"] if f["status"] != "good"], [path])
        for text in b"hello\n", good + b"\n", good.replace(b"a", b"g"):
            write(self.path("SHA256SUMS"), text)
            self.reports("--sha256sums", "SHA256SUMS", expect=3)
        self.run_tool("verify", "bundle", "--sha256sums", "nosuch", expect=3)

    def test_sums_by_sha256sum(self):
        if not shutil.which("sha256sum"):
            self.skipTest("no sha256sum")
        r = subprocess.run("sha256sum $(find . -type f)", shell=True, cwd=self.path("bundle.source"), check=True, timeout=60, capture_output=True)
        write(self.path("SHA256SUMS"), r.stdout)
        self.reports("--sha256sums", "SHA256SUMS", expect=0)

    def test_sums_with_bad_names(self):
        write(self.path("SHA256SUMS"), self.sums() + b"0" * 64 + b"  \xff<&\"\x01\x1b\xef\xbf\xbf]]>\n")
        self.reports("--sha256sums", "SHA256SUMS", expect=1)

    def test_corrupt(self):
        path = self.path("bundle/m.safetensors.uw")
        data = bytearray(read(path))
        data[300] ^= 1
        write(path, data)
        self.reports(expect=5)
        self.reports("--level", "checksum", expect=5)
        os.unlink(path)
        report, _ = self.reports("--level", "structure", expect=5)
        self.assertEqual([f["path"] for f in report["files"]], ["(bundle)"])

    def test_all_files_are_reported(self):
        for path in "config.json", "run.sh":
            write(self.path("bundle/" + path), b"x" * len(read(self.path("bundle/" + path))))
        report, _ = self.reports(expect=5)
        self.assertEqual([f["path"] for f in report["files"] if f["status"] != "good"], ["config.json", "run.sh"])

    def test_report_of_odd_names(self):
        """Long names are cut in messages, but never within a character; what XML cannot say is escaped."""
        for n in range(90, 104):
            with self.subTest(n):
                name = "x" * n + "界" * 60
                tree = {"\uffff\u0085]]><&'\".safetensors": safetensors([(name, "BF16", (1,), b"\1\1")])}
                self.model(tree, "odd%d" % n)
                self.model({p: d[:-1] + b"\0" for p, d in tree.items()}, "differs%d" % n)
                self.compress("odd%d" % n, "bundle", "-f")
                self.reports("--against", "differs%d" % n, expect=1)

    def test_bundle_name_not_utf8(self):
        os.rename(os.fsencode(self.path("bundle")), os.path.join(os.fsencode(self.dir), b"b\xff"))
        r = self.run_tool("verify", b"b\xff", "--json", "-")
        self.assertTrue(json.loads(r.stdout)["good"])

    def test_both_reports_on_standard_output(self):
        r = self.run_tool("verify", "bundle", "--junit", "-")
        self.assertEqual(ET.fromstring(r.stdout).get("failures"), "0")
        self.assertEqual(len(json.loads(self.run_tool("verify", "bundle", "--json", "-").stdout)["files"]), 3)


class Reports(Case):
    def test_compress(self):
        self.model({"m.safetensors": small_model(), "x.safetensors": b"odd", "a": b"12345"})
        r = self.run_tool("compress", "model", "-o", "b", "--json", "-", "-q")
        report = json.loads(r.stdout)
        files = {f["path"]: f for f in report["files"]}
        self.assertEqual(list(files), sorted(files))
        self.assertEqual({p: f["kind"] for p, f in files.items()}, {"m.safetensors": "safetensors", "x.safetensors": "opaque", "a": "plain"})
        self.assertEqual((report["profile"], report["checked"], report["schema"]), ("distribution", True, "unweight-compress-1"))
        self.assertEqual(files["a"]["stored_bytes"], 5)
        self.assertEqual(files["m.safetensors"]["stored_bytes"], os.stat(self.path("b/m.safetensors.uw")).st_size)
        self.assertEqual(report["bytes"], sum(f["bytes"] for f in report["files"]))
        self.assertEqual(report["stored_bytes"], sum(f["stored_bytes"] for f in report["files"]))
        self.assertIsNone(files["a"]["warning"])
        again = self.run_tool("compress", "model", "-o", "b2", "--json", "-", "-q", "--no-check").stdout
        self.assertEqual(again.replace('"checked": false', '"checked": true'), r.stdout)

    def test_compress_to_standard_output(self):
        self.model({"a": b"a"})
        self.run_tool("compress", "model", "-o", "-", "--json", "report.json", text=False)
        self.assertEqual(json.loads(read(self.path("report.json")))["bytes"], 1)

    def test_inspect(self):
        exponents = {112 + i: 5000 for i in range(16)}
        self.model({"m.safetensors": safetensors([("t", "BF16", (200, 400), histogram(exponents)), ("z", "BF16", (), words([1]))])})
        for profile, lengths in ("distribution", [4] * 16), ("inference", None):
            self.compress("model", profile, "-p", profile)
            report = json.loads(self.run_tool("inspect", profile, "--json").stdout)
            self.assertEqual(report["profile"], profile)
            tensor = json.loads(self.run_tool("inspect", profile, "t", "--json").stdout)
            self.assertEqual({**report["files"][0]["tensors"][0], "detail": 0}, {**tensor, "detail": 0})
            self.assertEqual(sum(g["bytes"] for g in tensor["detail"]), 160000)
            for table in tensor["detail"][0]["tables"]:
                self.assertEqual(sorted(table["exponents"]), sorted(exponents))
                self.assertEqual(table.get("lengths"), lengths)
        self.run_tool("inspect", "inference", "nosuch", "--json", expect=3)


if __name__ == "__main__":
    unittest.main()
