# SPDX-License-Identifier: Apache-2.0
"""What a pipeline takes of a folder, what it does when it runs again, and what it leaves of its source."""

import fcntl
import hashlib
import json
import os
import select
import signal
import socket
import subprocess
import unittest

from common import (TIMEOUT, Case, change_manifest, content, environment, normal, read, read_manifest, read_tree, small_model, tar_of,
                    tool_command, tree_of_tar, write, write_tree)

IS_ROOT = os.geteuid() == 0
TREE = {"a.safetensors": small_model(1), "b.safetensors": small_model(2), "config.json": b"{}", "run.sh": (b"#!/bin/sh\n", True),
        "sub/a": b"a", "sub/deep/b": b"b", "sub-c": b"c", "#x y": b"x"}


class FilesFrom(Case):
    def setUp(self):
        super().setUp()
        self.model(TREE)

    def select(self, text, *paths, args=(), expect=0):
        """Compresses what a list names; the bundle is that of a folder of just these files."""
        write(self.path("list"), text)
        r = self.run_tool("compress", "model", "-o", "b", "-f", "--files-from", "list", *args, expect=expect)
        if expect == 0:
            tree = {p: TREE[p] for p in paths}
            self.assertEqual(sorted(f["path"] for f in read_manifest(self.path("b"))["files"]), sorted(paths))
            self.restore("b", "r", "-f")
            for path, value in tree.items():
                self.assertEqual(read(self.path("r/" + path)), content(value)[0])
            write_tree(self.path("only"), tree)
            self.assert_tree(self.compress("only", "want", "-f"), read_tree(self.path("b")))
            for path in tree:
                os.remove(self.path("only/" + path))
        return r

    def test_lists(self):
        self.select(b"config.json\na.safetensors\n", "config.json", "a.safetensors")
        self.select(b"config.json", "config.json")                       # no line feed at the end
        self.select(b"./config.json\n\nconfig.json\n././/sub//\n", "config.json", "sub/a", "sub/deep/b")
        self.select(b"sub\nsub/a\nsub/deep\n", "sub/a", "sub/deep/b")
        self.select(b"sub/deep", "sub/deep/b")
        self.select(b"#x y\nsub-c\n", "#x y", "sub-c")
        self.select(b"#x y\0sub/deep/b\0", "#x y", "sub/deep/b", args=("--from0",))
        self.select(b"sub-c\0", "sub-c", args=("-0",))
        self.select("\n".join(TREE).encode(), *TREE)

    def test_standard_input(self):
        r = self.run_tool("compress", "model", "-o", "b", "--files-from", "-", input=b"sub\n")
        self.assertEqual(r.stdout, "")
        self.assertEqual([f["path"] for f in read_manifest(self.path("b"))["files"]], ["sub/a", "sub/deep/b"])

    def test_wrong_lists(self):
        for text in b"nosuch\n", b"config.json\nnosuch\n", b"config.json/x\n", b"sub/dee\n", b"su\n", b"sub/a/\nsub/a/b\n":
            self.assertIn("which is in the list", self.select(text, expect=3).stderr)
        for text in b"/etc/passwd\n", b"../model/config.json\n", b"sub/../config.json\n", b"sub//a\n", b"\xff\n", b".\n", b"a\0":
            self.select(text, expect=3)
        self.assertIn("--from0", self.select(b"config.json\0", expect=3).stderr)
        self.select(b"", expect=3)
        self.run_tool("compress", "model", "-o", "b", "--files-from", "nosuch", expect=3)
        self.assert_nothing("b")

    def test_what_is_not_in_the_list_is_not_looked_at(self):
        os.symlink("nowhere", self.path("model/dangling"))
        os.symlink("..", self.path("model/sub/cycle"))
        with socket.socket(socket.AF_UNIX) as s:
            cwd = os.getcwd()
            os.chdir(self.path("model"))
            try:
                s.bind("socket")
            finally:
                os.chdir(cwd)
            self.run_tool("compress", "model", "-o", "x", expect=3)
            self.select(b"config.json\nsub/deep\n", "config.json", "sub/deep/b")
            self.select(b"dangling\n", expect=3)

    def test_parts(self):
        write(self.path("list"), b"a.safetensors\nb.safetensors\nsub\n")
        for i in 1, 2:
            self.run_tool("compress", "--part", "%d/2" % i, "model", "-o", "b", "--files-from", "list")
        self.run_tool("compress", "--merge", "-o", "b")
        self.compress("model", "one", "--files-from", "list")
        self.assert_tree(self.path("b"), read_tree(self.path("one")))
        self.run_tool("compress", "--part", "1/2", "model", "-o", "c", "--files-from", "list")
        self.run_tool("compress", "--part", "2/2", "model", "-o", "c", expect=1)        # another model
        write(self.path("it's"), b"config.json\0")
        r = self.run_tool("compress", "--print-commands", "--parts", "1", "model", "-o", "b", "-0", "--files-from", "it's")
        self.assertIn(" -0 --files-from 'it'\\''s' -- 'model'", r.stdout)

    def test_usage(self):
        self.compress("model", "b")
        write(self.path("m.tar"), tar_of(TREE))
        write(self.path("list"), b"config.json\n")
        for path in "b", "m.tar", "model/config.json", "-":
            self.run_tool("compress", path, "-o", "x", "--files-from", "list", expect=2)
        self.run_tool("compress", "model", "-o", "x", "-0", expect=2)
        self.run_tool("compress", "--merge", "-o", "x", "--files-from", "list", expect=2)
        self.run_tool("compress", "--print-commands", "--parts", "1", "model", "-o", "b", "--files-from", "-", expect=2)
        self.assert_nothing("x")


class SkipExisting(Case):
    def setUp(self):
        super().setUp()
        self.model(TREE)
        self.compress("model", "b")
        self.compress("model", "b.tar")
        self.before = {name: self.look(name) for name in ("b", "b.tar")}

    def look(self, name):
        path = self.path(name)
        st = os.stat(path)
        return st.st_ino, st.st_mtime_ns, read_tree(path) if os.path.isdir(path) else read(path)

    def skip(self, *args, out="b", expect=0, **more):
        return self.run_tool("compress", *args, "-o", out, "--skip-existing", expect=expect, **more)

    def assert_untouched(self, *names):
        for name in names or self.before:
            self.assertEqual(self.look(name), self.before[name])

    def test_same(self):
        for out in "b", "b.tar":
            for force in [], ["-f"]:
                self.skip("model", *force, out=out)
        self.skip("b")          # another bundle of the same files
        with open(write(self.path("in.tar"), tar_of(TREE)), "rb") as f:
            self.skip("-", stdin=f)
        self.assert_untouched()
        report = json.loads(self.skip("model", "--json", "-", "--sha256sums", "SUMS").stdout)
        self.assertTrue(all(f["kept"] for f in report["files"]))
        self.assertEqual({f["path"]: f["sha256"] for f in report["files"]},
                         {p: hashlib.sha256(content(v)[0]).hexdigest() for p, v in TREE.items()})
        self.assertEqual(report["bytes"], sum(len(content(v)[0]) for v in TREE.values()))
        self.assertIn(hashlib.sha256(b"{}").hexdigest() + "  config.json\n", read(self.path("SUMS")).decode())
        self.skip("model", "--expect-digest", report["source_sha256"], "--min-saving", "1")
        self.skip("model", "--expect-digest", "0" * 64, expect=1)
        self.skip("model", "--min-saving", "99", expect=1)
        self.assert_untouched()

    def test_nothing_there(self):
        self.skip("model", out="new")
        self.assert_tree(self.path("new"), read_tree(self.path("b")))

    def change(self, path, data, mode=0o644):
        write(self.path("model/" + path), data)
        os.chmod(self.path("model/" + path), mode)

    def test_another_source(self):
        changes = {
            "same size": lambda: self.change("config.json", b"[]"),
            "tensor": lambda: self.change("a.safetensors", small_model(3)),
            "longer": lambda: self.change("config.json", b"{ }"),
            "executable": lambda: self.change("config.json", b"{}", 0o755),
            "more": lambda: self.change("zzz", b""),
            "fewer": lambda: os.remove(self.path("model/sub-c")),
            "renamed": lambda: os.rename(self.path("model/sub-c"), self.path("model/sub-d")),
        }
        for what, change in changes.items():
            with self.subTest(what):
                change()
                for out in "b", "b.tar":
                    r = self.skip("model", out=out, expect=1)
                    self.assertIn("the existing bundle", r.stderr)
                self.assert_untouched()
                self.skip("model", "-f")
                self.run_tool("verify", "b", "--against", "model")
                write_tree(self.path("model"), TREE)
                for extra in "zzz", "sub-d":
                    if os.path.exists(self.path("model/" + extra)):
                        os.remove(self.path("model/" + extra))
                self.compress("model", "b", "-f")
                self.before["b"] = self.look("b")

    def test_another_profile(self):
        self.assertIn("profile", self.skip("model", "-p", "inference", expect=1).stderr)
        self.assert_untouched()
        self.skip("model", "-p", "inference", "-f")
        self.assertEqual(read_manifest(self.path("b"))["profile"], "inference")

    def test_strict(self):
        write(self.path("model/odd.safetensors"), b"no")
        self.compress("model", "b", "-f")
        self.skip("model")
        self.skip("model", "--strict", expect=3)

    def test_damage(self):
        def flip(name):
            path = self.path("b/" + name)
            data = bytearray(read(path))
            data[len(data) // 3] ^= 1
            write(path, data)
        for damage in (lambda: flip("a.safetensors.uw"), lambda: flip("config.json"), lambda: os.remove(self.path("b/sub-c")),
                       lambda: write(self.path("b/stray"), b""), lambda: change_manifest(self.path("b"), lambda m: m["files"].pop())):
            damage()
            before = self.look("b")
            r = self.skip("model", expect=None)
            self.assertIn(r.returncode, (1, 5), r.stderr)
            self.assertEqual(self.look("b"), before)
            self.skip("model", "-f")
            self.run_tool("verify", "b", "--against", "model")
        os.remove(self.path("b/unweight.json"))     # what no longer is a bundle is not ours to replace
        self.skip("model", expect=4)
        self.skip("model", "-f", expect=4)

    def test_no_bundle(self):
        write(self.path("file"), b"x")
        os.mkdir(self.path("folder"))
        os.symlink("nowhere", self.path("link"))
        for out in "file", "folder":
            self.assertIn("no bundle", self.skip("model", out=out, expect=4).stderr)
        self.skip("model", out="link", expect=3)
        self.assertEqual(read(self.path("file")), b"x")

    def test_usage(self):
        self.skip("model", out="-", expect=2)
        self.skip("-", "-f", expect=2)
        self.skip("model", "--part", "1/1", expect=2)
        self.assert_untouched()


class Restore(Case):
    """The same switches of decompress."""
    def setUp(self):
        super().setUp()
        self.model(TREE)
        self.compress("model", "b")
        self.compress("model", "b.tar")

    def stamps(self, folder):
        return {os.path.join(at, f): os.stat(os.path.join(at, f)).st_ino for at, _, files in os.walk(self.path(folder)) for f in files}

    def test_files_from(self):
        write(self.path("list"), b"sub\nrun.sh\n")
        want = {p: TREE[p] for p in ("sub/a", "sub/deep/b", "run.sh")}
        self.assert_tree(self.restore("b", "r", "--files-from", "list"), want)
        self.assert_tree(self.restore("b.tar", "r2", "--files-from", "list"), want)
        self.run_tool("decompress", "b", "-o", "r3", "--files-from", "-", "-0", input=b"sub\0run.sh\0")
        self.assert_tree(self.path("r3"), want)
        self.restore("b", "out.tar", "--files-from", "list")
        self.assertEqual(tree_of_tar(read(self.path("out.tar"))), normal(want))
        nbytes = sum(len(content(v)[0]) for v in want.values())
        self.restore("b", "r4", "--files-from", "list", "--max-output", str(nbytes))
        self.run_tool("decompress", "b", "-o", "x", "--files-from", "list", "--max-output", str(nbytes - 1), expect=4)
        digest = self.inspect("b")["source_sha256"]
        self.restore("b", "r5", "--files-from", "list", "--expect-digest", digest)
        for text in b"nosuch\n", b"run.sh/x\n", b"", b"../x\n":
            write(self.path("list"), text)
            self.run_tool("decompress", "b", "-o", "x", "--files-from", "list", expect=3)
        self.assert_nothing("x")

    def test_skip_existing(self):
        self.restore("b", "r", "--skip-existing")
        before = self.stamps("r")
        for extra in [], ["-f"]:
            self.restore("b", "r", "--skip-existing", *extra)
            self.restore("b.tar", "r/", "--skip-existing", *extra)
        self.assertEqual(self.stamps("r"), before)
        write(self.path("r/own"), b"own")
        for damage in (lambda: write(self.path("r/a.safetensors"), read(self.path("r/a.safetensors"))[:-1] + b"x"),
                       lambda: os.chmod(self.path("r/run.sh"), 0o644), lambda: os.remove(self.path("r/sub/deep/b")),
                       lambda: write(self.path("r/sub-c"), b"cc"),
                       lambda: (os.remove(self.path("r/config.json")), os.symlink("../model/config.json", self.path("r/config.json")))):
            damage()
            now = self.stamps("r")
            self.assertIn("is missing or another", self.run_tool("decompress", "b", "-o", "r", "--skip-existing", expect=1).stderr)
            self.assertEqual(self.stamps("r"), now)
            self.restore("b", "r", "--skip-existing", "-f")
            self.assert_tree(self.path("r"), {**TREE, "own": b"own"})
            changed = {p for p, inode in self.stamps("r").items() if before.get(p) not in (None, inode)}
            self.assertLessEqual(len(changed), 1)
            before = self.stamps("r")

    def test_selected_files_that_are_there(self):
        write(self.path("list"), b"config.json\n")
        self.restore("b", "r", "--files-from", "list")
        self.restore("b", "r", "--files-from", "list", "--skip-existing")
        self.run_tool("decompress", "b", "-o", "r", "--skip-existing", expect=1)
        self.restore("b", "r", "--skip-existing", "-f")
        self.assert_tree(self.path("r"), TREE)

    def test_single_file(self):
        write(self.path("m.safetensors"), small_model())
        self.compress("m.safetensors", "one")
        self.restore("one", "copy")
        inode = os.stat(self.path("copy")).st_ino
        self.restore("one", "copy", "--skip-existing")
        self.restore("one", ".", "--skip-existing")
        self.assertEqual(os.stat(self.path("copy")).st_ino, inode)
        write(self.path("copy"), b"no")
        self.run_tool("decompress", "one", "-o", "copy", "--skip-existing", expect=1)
        self.restore("one", "copy", "--skip-existing", "-f")
        self.assertEqual(read(self.path("copy")), small_model())
        container = os.path.join("one", "m.safetensors.uw")         # it knows no SHA-256
        self.run_tool("decompress", container, "-o", "copy", "--skip-existing", expect=1)
        self.restore(container, "copy", "--skip-existing", "-f")

    def test_usage(self):
        write(self.path("list"), b"config.json\n")
        for args in (["-0"], ["--tensor", "w", "--files-from", "list"], ["--tensor", "w", "--skip-existing"]):
            self.run_tool("decompress", "b", "-o", "x", *args, expect=2)
        for out in "x.tar", "x.zip", "-":
            self.run_tool("decompress", "b", "-o", out, "--skip-existing", expect=2)
        self.assert_nothing("x")


class Rm(Case):
    def setUp(self):
        super().setUp()
        self.model(TREE)

    def rm(self, *args, out="b", expect=0, **more):
        return self.run_tool("compress", *args, "-o", out, "--rm", expect=expect, **more)

    def assert_safe(self, out="b"):
        self.restore(out, "restored", "-f")
        self.assert_tree(self.path("restored"), TREE)

    def test_folder(self):
        for out in "b", "b.tar":
            for spelling in "model", "model/", "./model":
                self.model(TREE)
                self.rm(spelling, "-f", out=out)
                self.assert_nothing("model")
                self.assert_safe(out)

    def test_single_file(self):
        os.mkdir(self.path("d"))
        write(self.path("d/m.safetensors"), small_model())
        self.rm("d/m.safetensors")
        self.assertEqual(os.listdir(self.path("d")), [])
        self.restore("b", "m")
        self.assertEqual(read(self.path("m")), small_model())

    def test_what_is_not_in_the_bundle_stays(self):
        os.makedirs(self.path("model/.git"))
        write(self.path("model/.git/HEAD"), b"ref")
        os.mkdir(self.path("model/empty"))
        self.rm("model")
        self.assertEqual(read_tree(self.path("model")), {".git/HEAD": (b"ref", False)})
        self.assertEqual(sorted(os.listdir(self.path("model"))), [".git", "empty"])
        self.assert_safe()

    def test_selected_files(self):
        write(self.path("list"), b"a.safetensors\nsub/deep\n")
        self.rm("model", "--files-from", "list")
        self.assert_tree(self.path("model"), {p: v for p, v in TREE.items() if p not in ("a.safetensors", "sub/deep/b")})
        self.assertFalse(os.path.exists(self.path("model/sub/deep")))

    def test_not_if_anything_is_wrong(self):
        for args in (["--min-saving", "99"], ["--expect-digest", "0" * 64], ["--sha256sums", "no/such"], ["--json", "no/such"],
                     ["--strict"], ["--memory", "1K"]):
            if args == ["--strict"]:
                write(self.path("model/odd.safetensors"), b"no")
            self.rm("model", "-f", *args, expect=None)
            self.assertLessEqual(set(TREE), set(read_tree(self.path("model"))), args)
        os.remove(self.path("model/odd.safetensors"))
        write(self.path("file"), b"")
        self.rm("model", out="file", expect=4)
        self.rm("model", out="file/b", expect=None)
        self.assert_tree(self.path("model"), TREE)

    def test_links_are_refused(self):
        """The blobs of a hub cache belong to other snapshots too."""
        write_tree(self.path("blobs"), TREE)
        for target, link in (("blobs/config.json", "farm/config.json"), ("blobs/sub", "farm/sub")):
            os.makedirs(self.path("farm"), exist_ok=True)
            os.symlink("../" + target, self.path(link))
            r = self.rm("farm", expect=4)
            self.assertIn("symbolic link", r.stderr)
            os.remove(self.path(link))
        os.symlink("blobs", self.path("link"))
        os.symlink("blobs/a.safetensors", self.path("link.safetensors"))
        for path in "link", "link/", "link.safetensors":
            self.assertIn("symbolic link", self.rm(path, expect=4).stderr)
        self.assert_tree(self.path("blobs"), TREE)
        self.assert_nothing("b")

    def test_hard_links_are_only_names(self):
        os.link(self.path("model/config.json"), self.path("other"))
        self.rm("model")
        self.assertEqual(read(self.path("other")), b"{}")

    def test_hard_links_inside_the_model(self):
        """One file of several names: to lose one of them is no change of the others."""
        for name in "a.link", "sub/link", "zzz":
            os.link(self.path("model/config.json"), self.path("model/" + name))
        os.link(self.path("model/sub-c"), self.path("outside"))
        self.rm("model")
        self.assert_nothing("model")
        self.restore("b", "restored")
        self.assert_tree(self.path("restored"), {**TREE, **dict.fromkeys(("a.link", "sub/link", "zzz"), b"{}")})
        self.assertEqual(read(self.path("outside")), b"c")

    @unittest.skipIf(IS_ROOT, "root may remove anything")
    def test_may_not_remove(self):
        os.chmod(self.path("model/sub"), 0o555)
        self.addCleanup(os.chmod, self.path("model/sub"), 0o755)
        self.rm("model", expect=6)
        self.assertEqual(set(read_tree(self.path("model"))), {"sub/a"})
        self.assert_safe()

    def test_again_after_it_was_stopped(self):
        """Killed between the bundle and the removal: the next run has to prove the bundle, and removes."""
        self.compress("model", "b")
        self.rm("model", "--skip-existing")
        self.assert_nothing("model")
        self.assert_safe()
        self.model(TREE)
        write(self.path("b/config.json"), b"[]")
        self.rm("model", "--skip-existing", expect=5)
        self.assert_tree(self.path("model"), TREE)
        self.rm("model", "--skip-existing", "-f")
        self.assert_nothing("model")
        self.assert_safe()

    def test_usage(self):
        self.compress("model", "old")
        write(self.path("m.tar"), tar_of(TREE))
        for args in (["model", "--no-check"], ["-"], ["m.tar"], ["old"], ["old/a.safetensors.uw"], ["model", "--part", "1/1"]):
            self.rm(*args, expect=2)
        self.rm("model", out="-", expect=2)
        self.run_tool("compress", "--merge", "-o", "b", "--rm", expect=2)
        self.rm("nosuch", expect=3)
        self.assert_nothing("b")
        self.assert_tree(self.path("model"), TREE)

    def start_with_full_pipe(self, tree):
        """A tool that has made its bundle, but cannot say so."""
        self.model({"%03d" % i + "x" * 200: b"" for i in range(100)}, "many")
        self.model(tree, "many")
        read_end, write_end = os.pipe()
        fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, 4096)    # the report does not fit: the tool waits for its reader
        p = subprocess.Popen(tool_command("compress", "many", "-o", "b", "--rm", "--json", "-"), cwd=self.dir, stdout=write_end,
                             stderr=subprocess.PIPE, env=environment(TMPDIR=self.tmp))
        os.close(write_end)
        report = self.enterContext(open(read_end, "rb"))
        self.addCleanup(p.wait)
        self.addCleanup(p.kill)
        self.assertTrue(select.select([report], [], [], TIMEOUT)[0])
        self.assertTrue(os.path.exists(self.path("b/unweight.json")))
        return p, report

    def test_stopped_before_the_removal(self):
        p, _ = self.start_with_full_pipe(TREE)
        before = read_tree(self.path("many"))
        p.send_signal(signal.SIGTERM)
        p.communicate(timeout=TIMEOUT)
        self.assertEqual(p.returncode, -signal.SIGTERM)
        self.assert_tree(self.path("many"), before)
        self.run_tool("verify", "b", "--against", "many")

    def test_changed_meanwhile(self):
        """A file that is written to, or replaced, before the removal stays, whatever the bundle has of it."""
        p, report = self.start_with_full_pipe({"a": b"old", "b": b"old", "z": b"old"})
        before = os.stat(self.path("many/a"))
        write(self.path("many/a"), b"new")
        os.utime(self.path("many/a"), ns=(before.st_atime_ns, before.st_mtime_ns))
        os.rename(write(self.path("new"), b"old"), self.path("many/b"))
        os.remove(self.path("many/z"))
        report.read()
        _, errors = p.communicate(timeout=TIMEOUT)
        self.assertEqual(p.returncode, 1, errors)
        self.assertIn(b"a: changed while", errors)
        self.assert_tree(self.path("many"), {"a": b"new", "b": b"old"})


if __name__ == "__main__":
    unittest.main()
