# SPDX-License-Identifier: Apache-2.0
"""What a pipeline allows a tool of time and memory, and what it hears meanwhile."""

import json
import os
import pty
import subprocess
import time

from common import (MANIFEST, TIMEOUT, WRAPPER, Case, environment, read_tree, safetensors, seal, small_model, tar_bytes, tar_member, tool_command,
                    weights, write, write_tree)

TOO_LATE = 124
HUGE = 1 << 40          # bytes of a sparse file: minutes of work on any machine
RESERVED = 6 << 30      # of one whose copy is reserved on the disk before the seconds that it takes
SLOW_MACHINES = 0.5, 2, 8, 30      # seconds in which something small is done


def sparse(path, head, nbytes):
    write(path, head)
    os.truncate(path, len(head) + nbytes)


def sparse_shard(path):
    head = {"w": {"dtype": "BF16", "shape": [HUGE // 8192, 4096], "data_offsets": [0, HUGE]}}
    sparse(path, safetensors([], text=json.dumps(head)), HUGE)


class Progress(Case):
    tree = {"a.safetensors": small_model(), "odd.safetensors": b"no", "sub/b": b"b"}

    def events(self, tool, *args, expect=0):
        r = self.run_tool(tool, *args, "--progress=json", expect=expect)
        return [json.loads(line) for line in r.stderr.splitlines()]

    def check(self, events, tool, job, files):
        """One job from its begin to its end; the messages among it."""
        jobs = [e for e in events if e["event"] != "message"]
        begin, *middle, end = jobs
        self.assertEqual(begin, {"event": "begin", "schema": "unweight-progress-1", "tool": "unweight-" + tool, "job": job,
                                 "bytes": begin["bytes"]})
        self.assertEqual((end["event"], end["job"], end["bytes"]), ("end", job, begin["bytes"]))
        self.assertEqual(end["done"], begin["bytes"]) if job != "verify" else self.assertLess(0, end["done"])   # but for indexes
        self.assertIsInstance(end["seconds"], float)
        self.assertEqual([e["path"] for e in middle if e["event"] == "file"], files)
        self.assertLessEqual({e["event"] for e in middle}, {"file", "progress"})
        return [e for e in events if e["event"] == "message"], [e for e in middle if e["event"] == "file"]

    def test_events(self):
        self.model(self.tree)
        total = sum(map(len, self.tree.values()))
        messages, files = self.check(self.events("compress", "model", "-o", "b"), "compress", "compress", sorted(self.tree))
        self.assertEqual([(m["level"], "odd.safetensors" in m["text"]) for m in messages], [("warning", True)])
        self.assertEqual(sum(f["bytes"] for f in files), total)
        self.assertLess(files[0]["stored_bytes"], files[0]["bytes"])
        self.check(self.events("verify", "b"), "verify", "verify", sorted(self.tree))
        messages, files = self.check(self.events("decompress", "b", "-o", "r", "-q"), "decompress", "decompress", sorted(self.tree))
        self.assertEqual(messages, [])
        self.assertEqual(sum(f["bytes"] for f in files), total)
        jobs = [e["job"] for e in self.events("scan", "model") if e["event"] == "begin"]
        self.assertEqual(jobs, ["distribution", "inference"])

    def test_stream_and_parts(self):
        write(self.path("m.tar"), tar_bytes([tar_member("a", b"a"), tar_member("b", b"bb")]))
        with open(self.path("m.tar"), "rb") as f:
            r = self.run_tool("compress", "-", "-o", "t", "--progress=json", stdin=f)
        begin = json.loads(r.stderr.splitlines()[0])
        self.assertIsNone(begin["bytes"])
        self.model(self.tree)
        for status in None, "kept":
            events = self.events("compress", "model", "-o", "b", "--part", "1/1")
            self.assertEqual({e.get("status") for e in events if e["event"] == "file"}, {status})

    def test_messages(self):
        r = self.run_tool("verify", "no\tsuch\u202e\"\\", "--progress=json", expect=3)
        (line,) = r.stderr.splitlines()
        self.assertTrue(line.isascii())
        message = json.loads(line)
        self.assertEqual((message["event"], message["level"]), ("message", "error"))
        self.assertIn("no\tsuch\u202e\"\\: ", message["text"])
        (line,) = self.run_tool("verify", b"\xff", "--progress=json", expect=3).stderr.splitlines()
        self.assertIn("\\xFF: ", json.loads(line)["text"])
        self.assertEqual(self.events("compress", "x", expect=2)[0]["level"], "error")
        self.model(self.tree)
        self.compress("model", "b")
        write(self.path("b/sub/b"), b"c")
        events = self.events("verify", "b", expect=5)
        self.assertEqual([e["status"] for e in events if e["event"] == "file"][:2], ["good", "good"])
        self.assertNotEqual([e["status"] for e in events if e["event"] == "file"][2], "good")

    def test_what_a_terminal_shows(self):
        sparse_shard(self.path("m.safetensors"))
        for seconds in SLOW_MACHINES:
            auto = self.shown("auto", seconds)
            if b"compress   " in auto:
                break
        self.assertIn(b"compress   ", auto)
        none = self.shown("none", seconds)
        self.assertTrue(none.startswith(b"unweight-compress: m.safetensors: stopped"), none)
        self.assertEqual(none.count(b"\n"), 1)

    def shown(self, how, seconds):
        """What a terminal shows of a run that is stopped."""
        master, slave = pty.openpty()
        p = subprocess.Popen(tool_command("compress", "m.safetensors", "-o", "b", "--progress", how, "--max-time", str(seconds)),
                             stderr=slave, cwd=self.dir, stdin=subprocess.DEVNULL, env=environment(TMPDIR=self.tmp, TERM="xterm"))
        os.close(slave)
        self.assertEqual(p.wait(TIMEOUT), TOO_LATE)
        text = os.read(master, 65536)
        os.close(master)
        return text

    def test_usage(self):
        for wrong in "", "never", "JSON":
            self.run_tool("verify", "b", "--progress", wrong, expect=2)


class MaxTime(Case):
    large = True

    def too_late(self, tool, *args, seconds=0.3, **more):
        """Stops in time, says so, and leaves nothing."""
        since = time.monotonic()
        r = self.run_tool(tool, *args, "--max-time", str(seconds), expect=TOO_LATE, **more)
        self.assertLess(time.monotonic() - since, seconds + 30)
        self.assertIn("--max-time", r.stderr)
        self.assert_clean()
        return r

    def test_stops(self):
        os.mkdir(self.path("model"))
        sparse_shard(self.path("model/m.safetensors"))
        os.mkdir(self.path("bundle"))
        sparse(self.path("bundle/big"), b"", RESERVED)
        write(self.path("bundle/" + MANIFEST), seal({
            "unweight_bundle": 1, "profile": "distribution", "source": "folder",
            "files": [{"path": "big", "size": RESERVED, "sha256": "0" * 64, "executable": False, "container": None}]}))
        for out in "out", "out.tar":
            self.too_late("compress", "model", "-o", out)
            self.too_late("decompress", "bundle", "-o", out)
            self.assert_nothing(out)
        write_tree(self.path("old"), {"big": b"old"})
        self.too_late("decompress", "bundle", "-o", "old", "-f")
        self.assert_tree(self.path("old"), {"big": b"old"})
        self.too_late("verify", "bundle", "--json", "report")
        with open(self.path("report"), encoding="utf-8") as f:
            self.assertFalse(json.load(f)["good"])
        self.too_late("scan", "model")

    def test_waiting_for_input(self):
        read_end, write_end = os.pipe()
        with os.fdopen(read_end) as f:
            self.too_late("compress", "-", "-o", "out", stdin=f)
        os.close(write_end)
        self.assert_nothing("out")

    def test_finished_files_of_a_part_stay(self):
        """What is done is done: the next run begins behind it."""
        os.mkdir(self.path("model"))
        for i in 1, 2:
            write(self.path("model/%d.safetensors" % i), small_model(i))
        sparse_shard(self.path("model/3.safetensors"))
        part = "compress", "--part", "1/1", "model", "-o", "b", "-v"
        for seconds in SLOW_MACHINES[:1] + SLOW_MACHINES:
            r = self.too_late(*part, seconds=seconds)
            if "2.safetensors: done before" in r.stderr:
                break
        self.assertIn("1.safetensors: done before", r.stderr)
        self.assertEqual(sorted(os.listdir(self.path("b.parts/files"))), ["1.safetensors.uw", "2.safetensors.uw"])
        self.assert_nothing("b")

    def test_time_enough(self):
        self.bundle({"m.safetensors": small_model()}, "b", "--max-time", "90")
        for good in "1.5h", "1d", "2m", "60s", ".5m":
            self.run_tool("verify", "b", "--max-time", good)
        for wrong in "", "0", "-1", "x", "5w", "5ss", "1e12", "nan", "inf", " 1", "1 s":
            self.run_tool("verify", "b", "--max-time", wrong, expect=2)


class Threads(Case):
    def used(self, threads, *args, wait):
        """The threads of a tool that has something to do for all of them; looks for so many seconds, or until there are 3."""
        sparse_shard(self.path("m.safetensors"))
        p = subprocess.Popen(tool_command("scan", "m.safetensors", "--max-time", "20", *args), cwd=self.dir, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, env=environment(TMPDIR=self.tmp, UNWEIGHT_THREADS=threads))
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        most, deadline = 0, time.monotonic() + wait
        while time.monotonic() < deadline and most < 3:
            most = max(most, len(os.listdir("/proc/%d/task" % p.pid)))
        return most

    def test_environment(self):
        if WRAPPER:
            self.skipTest("the wrapper has threads of its own")
        self.assertEqual(self.used("3", wait=10), 3)
        self.assertEqual(self.used("3", "-T1", wait=0.5), 1)
        self.assertEqual(self.used("1", wait=0.5), 1)

    def test_wrong(self):
        for wrong in "x", "-1", "1025":
            r = self.run_tool("verify", "b", env={"UNWEIGHT_THREADS": wrong}, expect=2)
            self.assertIn("UNWEIGHT_THREADS", r.stderr)


class Memory(Case):
    """That it is kept to, tests/robust/test_memory.py measures."""

    def test_same_bytes(self):
        write(self.path("m.safetensors"), safetensors([("w", "BF16", (4096, 2048), weights(1 << 20) * 8), ("b", "U8", (1000,), bytes(1000))]))
        self.compress("m.safetensors", "b", "-T8")
        want = read_tree(self.path("b"))
        for i, limit in enumerate(("70M", "200M", "1G")):
            self.assert_tree(self.compress("m.safetensors", "b%d" % i, "-T8", "--memory", limit), want)
            self.run_tool("verify", "b", "-T8", "--memory", limit)
            self.restore("b", "r%d" % i, "-T8", "--memory", limit)
        for limit in "0", "1K", "10M":
            for tool, *args in (("compress", "m.safetensors", "-o", "x"), ("decompress", "b", "-o", "x"), ("verify", "b"),
                                ("scan", "m.safetensors")):
                r = self.run_tool(tool, *args, "--memory", limit, expect=7)
                self.assertIn("bytes, more than the", r.stderr)
                self.assert_nothing("x")
        for wrong in "", "-1", "x", "1X":
            self.run_tool("verify", "b", "--memory", wrong, expect=2)

    def test_printed_commands_carry_it(self):
        self.model({"a": b"a"})
        r = self.run_tool("compress", "--print-commands", "--parts", "2", "model", "-o", "b", "--memory", "1G", "--max-time", "2h")
        for line in r.stdout.splitlines():
            self.assertIn("--max-time '2h' --memory '1G' -- 'model'", line)
