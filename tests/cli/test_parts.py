# SPDX-License-Identifier: Apache-2.0
"""A bundle made in parts: the same bytes whatever their number, order and accidents; parts that do not fit are refused."""

import json
import os
import random
import shutil
import signal
import subprocess
import time
import unittest

from common import (TIMEOUT, Case, environment, histogram, read, read_tree, safetensors, seal, small_model, tool_command, weights,
                    write, write_tree)

SCHEDULERS = ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT", "SLURM_ARRAY_TASK_MIN", "SLURM_ARRAY_TASK_STEP", "SLURM_PROCID",
              "SLURM_NTASKS", "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "PMI_RANK",
              "PMI_SIZE")


def sharded_model(nshards=5):
    tree = {"model-%05d-of-%05d.safetensors" % (i + 1, nshards): small_model(i) for i in range(nshards)}
    tree.update({"config.json": b"{}", "run.sh": (b"#!/bin/sh\n", True), "sub/odd.safetensors": b"no", "sub/x.uw": b"y" * 5000,
                 "sub/unweight.json": b"{}", "empty": b""})
    return tree


class Parts(Case):
    def setUp(self):
        super().setUp()
        self.tree = sharded_model()
        self.model(self.tree)
        self.one = self.compress("model", "one")

    def part(self, which, out="b", *args, **more):
        return self.run_tool("compress", "--part", which, "model", "-o", out, *args, **more)

    def parts(self, n, out="b", *args):
        for i in range(n):
            self.part("%d/%d" % (i + 1, n), out, *args)

    def merge(self, out="b", *args, **more):
        return self.run_tool("compress", "--merge", "-o", out, *args, **more)

    def status(self, out="b", expect=None):
        r = self.run_tool("compress", "--status", out, "--json", "-", expect=expect)
        return json.loads(r.stdout)

    def assert_same(self, out="b"):
        self.assert_tree(self.path(out), read_tree(self.one))
        self.assert_nothing(out + ".parts")

    def work(self, *names):
        return os.path.join(self.path("b.parts"), *names)

    def change_json(self, path, change):
        top = json.loads(read(path))
        change(top)
        write(path, seal(top))

    # ---- what comes out

    def test_any_number_of_parts(self):
        for n in 1, 2, 3, 7, 40:
            with self.subTest(n):
                self.parts(n)
                self.merge()
                self.assert_same()
                shutil.rmtree(self.path("b"))
        self.parts(2, "c/")
        self.merge("c/")
        self.assert_same("c")
        self.run_tool("verify", "c", "--against", "model")

    def test_options_and_single_file(self):
        self.compress("model", "serve", "-p", "inference")
        self.parts(3, "b", "-p", "inference", "-T", "2")
        self.merge()
        self.assert_tree(self.path("b"), read_tree(self.path("serve")))
        write(self.path("m.safetensors"), small_model())
        self.compress("m.safetensors", "m1")
        for i in 1, 2:
            self.run_tool("compress", "--part", "%d/2" % i, "m.safetensors", "-o", "m2")
        self.merge("m2")
        self.assert_tree(self.path("m2"), read_tree(self.path("m1")))

    def test_of_a_bundle(self):
        for i in 1, 2:
            self.run_tool("compress", "--part", "%d/2" % i, "one", "-o", "b")
        self.merge()
        self.assert_same()

    def test_again(self):
        self.parts(3)
        before = {os.path.join(at, f): os.stat(os.path.join(at, f)).st_ino for at, _, files in os.walk(self.work("files"))
                  for f in files}
        r = self.part("2/3", "b", "--json", "-")
        report = json.loads(r.stdout)
        self.assertTrue(report["files"] and all(f.get("kept") for f in report["files"]))
        self.assertEqual(before, {path: os.stat(path).st_ino for path in before})
        self.merge()
        self.merge()        # done: nothing to do
        self.assert_same()
        self.part("1/3", expect=4)

    def test_damage_is_made_good(self):
        self.parts(2)
        files = sorted(os.path.join(at, f) for at, _, names in os.walk(self.work("files")) for f in names)
        for i, path in enumerate(files):
            data = read(path)
            write(path, [data[:-1], data + b"x", bytes([data[0] ^ 1]) + data[1:] if data else b"z", b""][i % 4])
        os.remove(files[3])
        os.symlink("/dev/null", files[3])
        self.parts(2)
        self.merge()
        self.assert_same()

    def test_other_number_of_parts(self):
        self.part("1/2")
        self.parts(3)
        self.assertEqual([(d["parts"], d["missing"]) for d in self.status()["divisions"]], [(2, [2]), (3, [])])
        self.merge()
        self.assert_same()

    def test_force(self):
        self.compress("one", "b")
        self.part("1/1", expect=4)
        self.part("1/1", "b", "-f")
        self.merge(expect=4)
        self.merge("b", "-f")
        self.assert_same()
        self.model({"not a bundle": b""}, "folder")
        self.part("1/1", "folder", "-f", expect=4)
        self.assertEqual(os.listdir(self.path("folder")), ["not a bundle"])

    def test_source_is_read_only(self):
        for at, _, _ in os.walk(self.path("model")):
            os.chmod(at, 0o555)
        self.parts(2)
        self.merge()
        for at, _, _ in os.walk(self.path("model")):
            os.chmod(at, 0o755)
        self.assert_same()

    # ---- plan

    def test_plan(self):
        self.run_tool("compress", "--plan", "model", "-o", "plan.json")
        text = self.run_tool("compress", "--plan", "model", "-o", "-").stdout
        self.assertEqual(text.encode(), read(self.path("plan.json")))
        plan = json.loads(text)
        self.assertEqual([f["path"] for f in plan["files"]], sorted(self.tree))
        self.assertEqual(plan["bytes"], sum(len(v[0] if isinstance(v, tuple) else v) for v in self.tree.values()))
        self.assertEqual({f["path"]: f["kind"] for f in plan["files"]}["sub/odd.safetensors"], "opaque")
        self.part("1/2", "b", "--with-plan", "plan.json")
        self.assertEqual(read(self.work("plan.json")), text.encode())
        self.run_tool("compress", "--plan", "model", "-o", "x", "--strict", expect=3)
        self.assert_nothing("x")

    def test_plan_reads_no_weights(self):
        path = self.path("model/big.safetensors")
        head = safetensors([("w", "BF16", (1, 0), b"")], text=json.dumps({"w": {"dtype": "BF16", "shape": [1 << 35],
                                                                                "data_offsets": [0, 1 << 36]}}))
        with open(path, "wb") as f:
            f.write(head)
            f.truncate(len(head) + (1 << 36))
        since = time.monotonic()
        self.run_tool("compress", "--plan", "model", "-o", "plan.json")
        self.assertLess(time.monotonic() - since, 20)

    def test_parts_are_balanced(self):
        rng = random.Random(1)
        self.model({"f%d" % i: bytes(rng.randrange(1, 1000) * 10) for i in range(60)}, "many")
        sizes = []
        for i in range(7):
            r = self.run_tool("compress", "--part", "%d/7" % (i + 1), "many", "-o", "b", "--json", "-")
            sizes.append(json.loads(r.stdout)["bytes"])
        self.assertLess(max(sizes), 1.05 * min(sizes))

    # ---- the environment

    def test_environment(self):
        def env(**values):
            return {**dict.fromkeys(SCHEDULERS), **values}

        cases = [(dict(SLURM_ARRAY_TASK_ID="5", SLURM_ARRAY_TASK_COUNT="3", SLURM_ARRAY_TASK_MIN="4", SLURM_PROCID="0",
                       SLURM_NTASKS="1"), [], (2, 3)),
                 (dict(SLURM_ARRAY_TASK_ID="14", SLURM_ARRAY_TASK_COUNT="3", SLURM_ARRAY_TASK_MIN="4", SLURM_ARRAY_TASK_STEP="5"),
                  [], (3, 3)),
                 (dict(SLURM_ARRAY_TASK_ID="0", SLURM_ARRAY_TASK_COUNT="3", SLURM_ARRAY_TASK_MIN="0"), [], (1, 3)),
                 (dict(SLURM_ARRAY_TASK_ID="3", SLURM_ARRAY_TASK_COUNT="1", SLURM_ARRAY_TASK_MIN="3"), ["--parts", "4"], (4, 4)),
                 (dict(JOB_COMPLETION_INDEX="2"), ["--parts", "5"], (3, 5)),
                 (dict(JOB_COMPLETION_INDEX="2", JOB_COMPLETIONS="6"), [], (3, 6)),
                 (dict(OMPI_COMM_WORLD_RANK="0", OMPI_COMM_WORLD_SIZE="2"), [], (1, 2)),
                 (dict(PMI_RANK="1", PMI_SIZE="2"), [], (2, 2)),
                 (dict(SLURM_PROCID="3", SLURM_NTASKS="8"), [], (4, 8))]
        for values, args, (part, parts) in cases:
            with self.subTest(values):
                self.part("env", "b", *args, env=env(**values))
                self.assertTrue(os.path.exists(self.work("part-%d-of-%d.manifest.json" % (part, parts))))
                shutil.rmtree(self.work())
        for values in ({}, dict(SLURM_ARRAY_TASK_ID="1"), dict(SLURM_ARRAY_TASK_ID="1", SLURM_ARRAY_TASK_COUNT="2"),
                       dict(SLURM_ARRAY_TASK_ID="7", SLURM_ARRAY_TASK_COUNT="2", SLURM_ARRAY_TASK_MIN="3"),
                       dict(SLURM_ARRAY_TASK_ID="4", SLURM_ARRAY_TASK_COUNT="2", SLURM_ARRAY_TASK_MIN="3", SLURM_ARRAY_TASK_STEP="2"),
                       dict(SLURM_ARRAY_TASK_ID="4", SLURM_ARRAY_TASK_COUNT="2", SLURM_ARRAY_TASK_MIN="3", SLURM_ARRAY_TASK_STEP="0"),
                       dict(JOB_COMPLETION_INDEX="1"), dict(PMI_RANK="2", PMI_SIZE="2"), dict(PMI_RANK="-1", PMI_SIZE="2"),
                       dict(PMI_RANK="", PMI_SIZE="2"), dict(PMI_RANK="1", PMI_SIZE="99999999999999999999"),
                       dict(PMI_RANK="0", PMI_SIZE="0"), dict(PMI_RANK="0", PMI_SIZE="70000")):
            with self.subTest(values):
                self.part("env", "b", env=env(**values), expect=2)
                self.assert_nothing("b.parts")

    def test_usage(self):
        for args in (["--part", "0/2"], ["--part", "3/2"], ["--part", "1/0"], ["--part", "1"], ["--part", "1/2/3"], ["--part", "+1/2"],
                     ["--part", "1/70000"], ["--part", "1/99999999999999999999"], ["--part", ""], ["--part", "1/2", "--merge"],
                     ["--part", "1/2", "--parts", "2"], ["--parts", "2"], ["--plan", "--status"], ["--merge"], ["--status"],
                     ["--print-commands"], ["--print-commands", "--parts", "0"], ["--with-plan", "p"]):
            with self.subTest(args):
                self.run_tool("compress", *args, "model", "-o", "b", expect=2)
        for args in (["--merge", "-o", "b.tar"], ["--merge", "-o", "-"], ["--merge"], ["--merge", "-o", "."], ["--status"],
                     ["--part", "1/1", "model", "-o", ".."], ["--part", "1/1", "model", "-o", "b.tar"], ["--part", "1/1", "-o", "b"]):
            with self.subTest(args):
                self.run_tool("compress", *args, expect=2)
        self.assertEqual(sorted(os.listdir(self.dir)), ["model", "one", "tmpdir"])

    def test_print_commands(self):
        write_tree(self.path("it's"), self.tree)
        r = self.run_tool("compress", "--print-commands", "--parts", "3", "it's", "-o", "b b", "-p", "inference", "-T1")
        lines = r.stdout.splitlines()
        self.assertEqual(len(lines), 3)
        for line in reversed(lines):
            line = line.replace("unweight-compress", " ".join(tool_command("compress")), 1)
            subprocess.run(line, shell=True, check=True, cwd=self.dir, timeout=TIMEOUT, env=environment())
        self.merge("b b")
        self.compress("model", "serve", "-p", "inference")
        self.assert_tree(self.path("b b"), read_tree(self.path("serve")))

    def test_status(self):
        self.assertEqual(self.status(expect=1)["divisions"], [])
        for part in "1/4", "3/4":
            self.part(part)
        state = self.status(expect=1)
        self.assertEqual(state["divisions"], [{"parts": 4, "done": [1, 3], "missing": [2, 4]}])
        self.assertIn("missing: 2,4", self.run_tool("compress", "--status", "b", expect=1).stdout)
        self.part("2/4")
        self.part("4/4")
        self.assertTrue(self.status(expect=0)["complete"])
        self.merge()
        self.assertTrue(self.status(expect=0)["merged"])

    def test_status_of_something_else(self):
        self.assertIn("no part has been begun", self.run_tool("compress", "--status", "nosuch", expect=1).stdout)
        write(self.path("file"), b"x")
        for path in "model", "file", "model/config.json":
            r = self.run_tool("compress", "--status", path, expect=4)
            self.assertIn("no bundle", r.stderr)
            self.assertEqual(r.stdout, "")
        self.assertEqual(self.run_tool("compress", "--status", "one").stdout, "merged\n")

    def test_status_for_programs(self):
        self.part("1/2")
        r = self.run_tool("compress", "--status", "b", "--json", "-", "--progress=json", expect=1)
        self.assertEqual(r.stderr, "")
        self.assertFalse(json.loads(r.stdout)["complete"])

    def test_report_of_a_merge(self):
        self.compress("model", "serve", "-p", "inference", "--json", "whole.json")
        want = json.loads(read(self.path("whole.json")))
        self.parts(3, "b", "-p", "inference")
        for _ in 1, 2:          # the second time there is nothing left to do
            self.merge("b", "--json", "report")
            got = json.loads(read(self.path("report")))
            for top in want, got:
                top["files"] = [{k: f[k] for k in ("path", "bytes", "stored_bytes", "sha256")} for f in top["files"]]
            self.assertEqual(got, want)
            os.remove(self.path("report"))
        self.parts(1, "c")
        self.merge("c", "-p", "distribution", expect=2)
        self.merge("c")
        for args in (["--plan", "-o", "plan"], ["--print-commands", "--parts", "2", "-o", "d"]):
            self.run_tool("compress", *args, "model", "--json", "report", expect=2)
        self.assert_nothing("report")

    # ---- parts that do not fit together

    def test_files_of_a_plan_that_is_gone(self):
        """They may be of other options: the bundle would be a mixture."""
        self.part("1/2")
        os.remove(self.work("plan.json"))
        for args in ["-p", "inference"], []:
            r = self.part("1/2", "b", *args, expect=4)
            self.assertIn("remove it to begin anew", r.stderr)
        self.assertFalse(os.path.exists(self.work("plan.json")))
        shutil.rmtree(self.work())
        self.parts(2)
        self.merge()
        self.assert_same()

    def test_missing_part(self):
        self.merge(expect=4)
        self.part("1/3")
        self.part("3/3")
        r = self.merge(expect=4)
        self.assertIn("a part is missing", r.stderr)
        self.assert_nothing("b")
        self.part("2/3")
        self.merge()
        self.assert_same()

    def test_source_changes_between_parts(self):
        path = self.path("model/model-00001-of-00005.safetensors")
        changes = {"size": lambda: write(path, small_model(1) + b"x"),
                   "header": lambda: write(path, small_model(0).replace(b'"w"', b'"v"')),
                   "new file": lambda: write(self.path("model/new"), b""),
                   "no file": lambda: os.remove(self.path("model/config.json")),
                   "mode": lambda: os.chmod(path, 0o755)}
        for name, change in changes.items():
            with self.subTest(name):
                self.part("1/2")
                change()
                codes = [self.part("%d/2" % i, expect=None).returncode for i in (1, 2)]
                self.assertIn(1, codes)
                self.merge(expect=4)
                self.assert_nothing("b")
                shutil.rmtree(self.work())
                shutil.rmtree(self.path("model"))
                self.model(self.tree)

    def test_other_weights_in_another_part(self):
        self.parts(2)
        write(self.path("model/model-00001-of-00005.safetensors"), small_model(7))
        self.parts(3)
        r = self.merge(expect=1)
        self.assertIn("the source changed", r.stderr)
        self.assert_nothing("b")

    def test_other_options(self):
        self.part("1/2")
        r = self.part("2/2", "b", "-p", "inference", expect=1)
        self.assertIn("profile", r.stderr)
        self.run_tool("compress", "--plan", "model", "-o", "plan.json")
        self.change_json(self.path("plan.json"), lambda top: top.update(version="0.0.9"))
        r = self.part("2/2", "c", "--with-plan", "plan.json", expect=1)
        self.assertIn("version 0.0.9", r.stderr)
        self.assert_nothing("c.parts")

    def test_stored_file_is_not_the_one(self):
        self.parts(2)
        for name in "model-00002-of-00005.safetensors.uw", "config.json", "sub/x.uw.uw":
            with self.subTest(name):
                path = self.work("files", name)
                data = read(path)
                for other in data[:-1] + bytes([data[-1] ^ 1]), data[:-1], None:
                    if other is None:
                        os.remove(path)
                    else:
                        write(path, other)
                    self.merge(expect=5)
                    self.assert_nothing("b")
                write(path, data)
        write(self.work("files", "stray"), b"")
        self.assertIn("stray", self.merge(expect=5).stderr)
        os.remove(self.work("files", "stray"))
        self.merge()
        self.assert_same()

    def test_hostile_parts(self):
        self.parts(2)
        paths = [self.work("part-%d-of-2.manifest.json" % i) for i in (1, 2)]
        other = {f["path"]: f for f in json.loads(read(paths[1]))["files"]}
        changes = {
            "schema": lambda t: t.update(schema="unweight-part-9"),
            "extra member": lambda t: t.update(extra=1),
            "no files": lambda t: t.pop("files"),
            "files no array": lambda t: t.update(files={}),
            "part 0": lambda t: t.update(part=0),
            "part behind": lambda t: t.update(part=3),
            "part real": lambda t: t.update(part=1.0),
            "another part": lambda t: t.update(part=2),
            "parts": lambda t: t.update(parts=1 << 40),
            "another plan": lambda t: t.update(plan_sha256="0" * 64),
            "plan no digest": lambda t: t.update(plan_sha256="x"),
            "overlap": lambda t: (t["files"].append(next(iter(other.values()))), t["files"].sort(key=lambda f: f["path"])),
            "missing file": lambda t: t["files"].pop(),
            "twice": lambda t: t["files"].append(t["files"][-1]),
            "out of order": lambda t: t["files"].reverse(),
            "size": lambda t: t["files"][0].update(size=1 << 62),
            "negative": lambda t: t["files"][0].update(size=-1),
            "executable": lambda t: t["files"][0].update(executable=True),
            "container": lambda t: t["files"][-1].update(container={"size": 1, "index_xxh3": "0" * 16}),
        }
        for path in "../x", "/x", "a//b", "a/../b", "a\\b", "a\nb", "", "x\0y", ".":
            changes["path %r" % path] = lambda t, path=path: t["files"][0].update(path=path)
        good = read(paths[0])
        for name, change in changes.items():
            with self.subTest(name):
                write(paths[0], good)
                self.change_json(paths[0], change)
                self.assertIn(self.merge(expect=None).returncode, (1, 3, 5, 8), name)
                self.assert_nothing("b")
        for data in b"", b"{}", good[:-1], good + b" ", good.replace(b"size", b"sise", 1), b"\0" * 1000, good[:40] + good[39:]:
            write(paths[0], data)
            self.merge(expect=5)
        write(paths[0], good)
        write(self.work("part-1-of-9.manifest.json"), good)     # under another name
        self.merge(expect=5)
        os.remove(self.work("part-1-of-9.manifest.json"))
        write(self.work("part-01-of-02.manifest.json"), b"no name of a part")
        self.merge()
        self.assert_same()

    def test_hostile_plan(self):
        self.part("1/1")
        path = self.work("plan.json")
        good = read(path)
        changes = {
            "schema": (lambda t: t.update(schema="x"), 8),
            "extra": (lambda t: t.update(extra=1), 5),
            "version": (lambda t: t.update(version=1), 5),
            "long version": (lambda t: t.update(version="1" * 100), 5),
            "profile": (lambda t: t.update(profile="fast"), 5),
            "source": (lambda t: t.update(source="tar"), 5),
            "single": (lambda t: t.update(source="file"), 5),
            "sum": (lambda t: t.update(bytes=t["bytes"] + 1), 5),
            "no file": (lambda t: t.update(files=[], bytes=0), 5),
            "sizes": (lambda t: [f.update(size=(1 << 63) - 1) for f in t["files"]], 5),
            "negative": (lambda t: t["files"][0].update(size=-5), 5),
            "path": (lambda t: t["files"][0].update(path="../../etc/passwd"), 3),
            "absolute": (lambda t: t["files"][0].update(path="/etc/passwd"), 3),
            "order": (lambda t: t["files"].reverse(), 5),
            "kind": (lambda t: t["files"][0].update(kind="elephant"), 5),
            "digest": (lambda t: t["files"][0].update(header_sha256="00"), 5),
            "reserved": (lambda t: t["files"][0].update(path="a.uw", kind="plain", header_sha256=None), 5),
            "array": (lambda t: t.update(files=[[]]), 5),
        }
        for name, (change, code) in changes.items():
            with self.subTest(name):
                write(path, good)
                self.change_json(path, change)
                self.merge(expect=code)
                self.part("1/1", expect=code)
                self.run_tool("compress", "--status", "b", expect=code)
                self.part("1/1", "c", "--with-plan", path, expect=code)
        for data in b"", good[:-2], good.replace(b"kind", b"kint", 1), good[:60] + good[59:]:
            write(path, data)
            self.merge(expect=5)
        write(path, good)
        self.merge()
        self.assert_same()

    # ---- accidents

    def test_two_workers_race(self):
        self.model({"m%d.safetensors" % i: safetensors([("w", "BF16", (200, 1000), weights(200000, i))]) for i in range(6)}, "large")
        self.compress("large", "large1")
        workers = [subprocess.Popen(tool_command("compress", "--part", "%d/2" % (i % 2 + 1), "large", "-o", "b"), cwd=self.dir,
                                    stderr=subprocess.PIPE, env=environment(TMPDIR=self.tmp)) for i in range(6)]
        for w in workers:
            _, err = w.communicate(timeout=TIMEOUT)
            self.assertEqual((w.returncode, err), (0, b""))
        self.merge()
        self.assert_tree(self.path("b"), read_tree(self.path("large1")))

    def kill_some(self, rng, nkills, n):
        """Runs parts until so many were killed and then all are done; each attempt may be the first or find work done."""
        left = list(range(1, n + 1))
        while left:
            part = rng.choice(left)
            p = subprocess.Popen(tool_command("compress", "--part", "%d/%d" % (part, n), "large", "-o", "b", "-T2"), cwd=self.dir,
                                 stderr=subprocess.PIPE, env=environment(TMPDIR=self.tmp))
            if nkills > 0:
                time.sleep(rng.random() * self.usual)
                p.send_signal(signal.SIGKILL)
            _, err = p.communicate(timeout=TIMEOUT)
            self.assertIn(p.returncode, (0, -signal.SIGKILL), err)
            if p.returncode != 0:
                nkills -= 1
            elif nkills <= 0:
                left.remove(part)

    def test_killed_at_random(self):
        self.model({"m%d.safetensors" % i: safetensors([("w", "BF16", (400, 1000), weights(400000, i))]) for i in range(8)}, "large")
        self.compress("large", "large1")
        since = time.monotonic()
        self.run_tool("compress", "--part", "1/2", "large", "-o", "timed")
        self.usual = time.monotonic() - since
        seed = int(os.environ.get("UW_PARTS_SEED", "1"))
        self.kill_some(random.Random(seed), int(os.environ.get("UW_PARTS_KILLS", "8")), 2)
        self.merge()
        self.assert_tree(self.path("b"), read_tree(self.path("large1")))
        self.assert_nothing("b.parts")

    def test_merge_killed_half_way(self):
        self.parts(2)
        self.merge()
        os.mkdir(self.work())           # it had given the folder its name, but not removed the rest
        write(self.work("part-1-of-2.manifest.json"), b"")
        self.merge()
        self.assert_same()
        shutil.rmtree(self.path("b"))
        self.parts(2)
        shutil.copy(os.path.join(self.one, "unweight.json"), self.work("files"))    # it had written the manifest
        os.mkdir(self.work(".files.123.tmp"))
        write(self.work(".files.123.tmp", "half"), b"x" * 100)
        self.merge()
        self.assert_same()


if __name__ == "__main__":
    unittest.main()
