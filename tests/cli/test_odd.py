# SPDX-License-Identifier: Apache-2.0
"""Odd files are carried and told; hostile archives and bundles are refused, and nothing is written outside the output."""

import hashlib
import json
import os
import pickle
import shutil
import tarfile
import unittest

from common import (MANIFEST, Case, change_manifest, read, read_manifest, read_tree, safetensors, seal, small_model, tar_bytes,
                    tar_member, weights, write, write_tree, zip_of)


def one_tensor(text, data=b"\x80\x3f" * 8, **options):
    return safetensors([("", "", (), data)], text=text, **options)


def text_of(*members):
    return "{%s}" % ",".join(members)


T = '"dtype":"BF16","shape":[8],"data_offsets":[0,16]'
GOOD = one_tensor(text_of('"a":{%s}' % T))

# Files that a loader would not take, and that we carry as bytes.
ODD = {
    "trailing bytes": GOOD + b"x",
    "truncated data": GOOD[:-1],
    "truncated header": GOOD[:20],
    "seven bytes": GOOD[:7],
    "empty": b"",
    "only a length": bytes(8),
    "header too long": b"\xff" * 7 + b"\x7f" + GOOD[8:],
    "header of 2^64-1": b"\xff" * 8 + GOOD[8:],
    "duplicate key": one_tensor(text_of('"a":{%s}' % T, '"a":{%s}' % T)),
    "duplicate by escape": one_tensor(text_of('"a":{%s}' % T, '"\\u0061":{%s}' % T)),
    "duplicate dtype": one_tensor(text_of('"a":{"dtype":"BF16",%s}' % T)),
    "duplicate metadata": one_tensor(text_of('"__metadata__":{}', '"__metadata__":{}', '"a":{%s}' % T)),
    "metadata not text": one_tensor(text_of('"__metadata__":{"x":1}', '"a":{%s}' % T)),
    "overlap": one_tensor(text_of('"a":{%s}' % T, '"b":{"dtype":"BF16","shape":[4],"data_offsets":[8,16]}')),
    "hole": one_tensor(text_of('"a":{"dtype":"BF16","shape":[7],"data_offsets":[2,16]}')),
    "shape too big": one_tensor(text_of('"a":{"dtype":"BF16","shape":[9],"data_offsets":[0,16]}')),
    "shape overflows": one_tensor(text_of('"a":{"dtype":"BF16","shape":[4294967296,4294967296,4],"data_offsets":[0,16]}')),
    "negative offset": one_tensor(text_of('"a":{"dtype":"BF16","shape":[8],"data_offsets":[-16,0]}')),
    "float offset": one_tensor(text_of('"a":{"dtype":"BF16","shape":[8],"data_offsets":[0,16.0]}')),
    "half a byte": one_tensor(text_of('"a":{"dtype":"F4","shape":[31],"data_offsets":[0,16]}')),
    "not UTF-8": one_tensor(b'{"\xff":{' + T.encode() + b"}}"),
    "lone surrogate": one_tensor(text_of('"\\ud800":{%s}' % T)),
    "byte order mark": one_tensor(b"\xef\xbb\xbf" + text_of('"a":{%s}' % T).encode()),
    "an array": one_tensor("[]", b""),
    "deep": one_tensor("{" + '"a":[' * 10000 + "]" * 10000 + "}"),
    "padded with NUL": one_tensor(text_of('"a":{%s}' % T) + "\0" * 5),
    "an HTML error page": b"<!DOCTYPE html><html><body>404</body></html>" * 30,
    "a git-lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:%s\nsize 5\n" % (b"0" * 64),
}


class OddFiles(Case):
    def carried(self, tree, odd_paths):
        """Compresses with a warning for each odd path; restores the same files; --strict refuses."""
        self.model(tree)
        r = self.run_tool("compress", "model", "-o", "bundle", "--json", "report.json")
        warned = [line for line in r.stderr.splitlines() if "carried whole" in line]
        for path in odd_paths:
            self.assertTrue(any(path in line for line in warned), "no warning on " + path)
        self.assertEqual(len(warned), len(odd_paths), r.stderr)
        report = json.loads(read(self.path("report.json")))
        self.assertEqual({f["path"] for f in report["files"]}, set(tree))
        self.assertEqual({f["path"] for f in report["files"] if f["warning"]}, set(odd_paths))
        self.run_tool("verify", "bundle", "--against", "model")
        self.assert_tree(self.restore("bundle", "r"), tree)
        self.run_tool("compress", "model", "-o", "strict", "--strict", expect=3 if odd_paths else 0)
        if odd_paths:
            self.assert_nothing("strict")
        return r

    def test_safetensors(self):
        tree = {kind + ".safetensors": data for kind, data in ODD.items()}
        self.carried({**tree, "good.safetensors": GOOD, "config.json": b"{}"}, list(tree))

    def test_each_is_refused_by_strict(self):
        for kind, data in ODD.items():
            with self.subTest(kind):
                write(self.path("x.safetensors"), data)
                r = self.run_tool("compress", "x.safetensors", "-o", "b", "--strict", expect=3)
                self.assertIn("x.safetensors", r.stderr)
                self.assert_nothing("b")

    def test_unknown_dtype_is_fine(self):
        self.carried({"x.safetensors": safetensors([("a", "F3_E9M9", (5,), b"12345")])}, [])

    def test_pickles(self):
        class Bomb:
            def __reduce__(self):
                return os.mkdir, (canary,)
        canary = self.path("canary")
        tree = {"pytorch_model.bin": zip_of({"archive/data.pkl": pickle.dumps(Bomb(), 2), "archive/data/0": bytes(64)}),
                "old.pt": pickle.dumps(Bomb(), 2), "new.pth": pickle.dumps(Bomb(), 5), "x.ckpt": pickle.dumps([1], 4),
                "y.pkl": pickle.dumps([1], 3), "z.pickle": pickle.dumps([1], 2)}
        r = self.carried({**tree, "plain.bin": b"not a pickle", "data.zip": tree["pytorch_model.bin"]}, list(tree))
        self.assertIn("pickle", r.stderr)
        self.assert_nothing("canary")

    def test_gguf(self):
        self.carried({"x.gguf": b"GGUF" + bytes(200), "named otherwise": b"GGUF" + bytes(300)}, ["x.gguf", "named otherwise"])

    def test_names_like_ours(self):
        tree = {"x.uw": b"1", "x": b"2", "unweight.json/x": b"3", "sub/unweight.json": b"4", "sub/.uw": b"5", "x.uw.uw": b"6",
                "y.safetensors": small_model(), "y.safetensors.uw": b"7", "manifest_sha256": b"8"}
        del tree["unweight.json/x"]
        self.carried(tree, [])

    def test_manifest_of_ours_in_a_single_file(self):
        write(self.path("unweight.json"), b"{}")
        self.restore(self.compress("unweight.json"), "r")
        self.assertEqual(read(self.path("r")), b"{}")

    def test_manifest_name_from_an_archive(self):
        """In a folder it would be a bundle's; out of an archive it can be a file of the model."""
        tree = {"a": b"a", MANIFEST: b"{}", "b.uw": b"b"}
        write(self.path("m.tar"), tar_bytes(tar_member(path, data) for path, data in tree.items()))
        self.assert_tree(self.restore(self.compress("m.tar"), "r"), tree)

    def test_names_that_cannot_be_stored(self):
        """Two files that need one place in the bundle: refused before anything is there."""
        for i, tree in enumerate([{"a.safetensors": GOOD, "a.safetensors.uw/x": b"1"}, {"a.uw/x": b"1", "a.uw.uw": b"2"}]):
            with self.subTest(i):
                self.model(tree, "m%d" % i)
                r = self.run_tool("compress", "m%d" % i, "-o", "b%d" % i, expect=None)
                if r.returncode == 0:
                    self.assert_tree(self.restore("b%d" % i, "r%d" % i), tree)
                else:
                    self.assertEqual(r.returncode, 3, r.stderr)
                    self.assert_nothing("b%d" % i)

    def test_long_odd_names(self):
        """Messages cut names; the reports stay whole, and valid UTF-8."""
        for n in range(98, 130):
            name = "x" * n + "界" * 60
            self.model({"m.safetensors": one_tensor(text_of('"%s":{"dtype":"BF16","shape":[9],"data_offsets":[0,16]}' % name)), "a": b""})
            self.run_tool("compress", "model", "-o", "b", "-f", "--json", "report.json", env={"LC_ALL": "C"})
            self.assertEqual(len(json.loads(read(self.path("report.json")))["files"]), 2)

    def test_folders_that_are_refused(self):
        cases = {"fifo": lambda p: os.mkfifo(p), "dangling": lambda p: os.symlink("nowhere", p), "loop": lambda p: os.symlink(".", p),
                 "line\nfeed": lambda p: write(p, b""), "back\\slash": lambda p: write(p, b""), b"\xff": lambda p: write(p, b"")}
        for name, make in cases.items():
            with self.subTest(name):
                folder = self.model({"a": b"a"}, "m")
                make(os.path.join(os.fsencode(folder), name) if isinstance(name, bytes) else os.path.join(folder, name))
                self.run_tool("compress", "m", "-o", "b", expect=3)
                self.assert_nothing("b")
                shutil.rmtree(folder)

    def test_empty_folder(self):
        os.mkdir(self.path("m"))
        self.run_tool("compress", "m", "-o", "b", expect=3)
        self.assert_nothing("b")


class HostileArchives(Case):
    def refused(self, data, name="m.tar", outs=("b", "b.tar")):
        before = read_tree(self.dir)
        write(self.path(name), data)
        for out in outs:
            self.run_tool("compress", name, "-o", out, expect=3)
        os.unlink(self.path(name))
        self.assertEqual(read_tree(self.dir), before)

    def test_members(self):
        links = {"symlink": {"type": tarfile.SYMTYPE, "linkname": "a"}, "symlink outside": {"type": tarfile.SYMTYPE, "linkname": "/etc"},
                 "hardlink": {"type": tarfile.LNKTYPE, "linkname": "a"}, "fifo": {"type": tarfile.FIFOTYPE},
                 "character device": {"type": tarfile.CHRTYPE, "devmajor": 1, "devminor": 3}, "block device": {"type": tarfile.BLKTYPE}}
        cases = {kind: tar_member("x", **fields) for kind, fields in links.items()}
        for path in "../x", "a/../../x", "..", "/tmp/x", "//x", "d//x", "d/./x", "d/../x", "x\\y", "x\ny", "x\x7fy", "a", "./a", "a/x":
            cases["path %r" % path] = tar_member(path, b"x")
        for kind, member in cases.items():
            with self.subTest(kind):
                self.refused(tar_bytes([tar_member("a", b"a"), member]))
                self.refused(tar_bytes([tar_member("sub/w.safetensors", small_model()), tar_member("a", b"a"), member]))

    def test_zip_members(self):
        for path in "../x", "/tmp/x", "d/../x", "x\ny", "a", "a/x":
            with self.subTest(path):
                data = zip_of({"a": b"a", "b" * len(path): b"x"}).replace(b"b" * len(path), path.encode())
                self.refused(data, "m.zip")

    def test_zip_backslash(self):
        """libarchive may take it for a slash; it may not lead outside."""
        write(self.path("m.zip"), zip_of({"..\\..\\x": b"x"}))
        self.run_tool("compress", "m.zip", "-o", "b", expect=3)
        write(self.path("m.zip"), zip_of({"d\\x": b"x"}))
        if self.run_tool("compress", "m.zip", "-o", "b", expect=None).returncode == 0:
            self.assert_tree(self.restore("b", "r"), {"d/x": b"x"})

    def test_zip_symlink(self):
        data = zip_of({"a": b"a", "x": b"/etc/passwd"})
        mode = (0o100644 << 16).to_bytes(4, "little")
        at = data.rindex(mode)  # of x, in the directory at the end
        self.refused(data[:at] + (0o120777 << 16).to_bytes(4, "little") + data[at + 4:], "m.zip")

    def test_damaged(self):
        good = tar_bytes([tar_member("a", b"a" * 3000), tar_member("b", b"b" * 3000)])
        for n in 1, 511, 600, 2000, 3584, 4000, 4500, 6000:
            with self.subTest(cut=n):
                self.refused(good[:n])
        self.refused(good[:4] + b"\xff" + good[5:])
        self.refused(b"", "m.tar")
        self.refused(b"not an archive" * 100, "m.tar")
        self.refused(zip_of({"a": b"a" * 1000})[:-30], "m.zip")

    def test_standard_input(self):
        for data in b"", b"x" * 10000, tar_bytes([tar_member("../x", b"x")]), tar_bytes([]):
            with self.subTest(len(data)):
                self.run_tool("compress", "-", "-o", "b", input=data, expect=3)
                self.assert_nothing("b")


class Hostile(Case):
    """A good bundle to damage, and a folder beside it that nothing may touch."""

    def setUp(self):
        super().setUp()
        self.tree = {"a.txt": b"plain", "sub/m.safetensors": small_model(1), "sub/n.safetensors": small_model(2), "z": (b"z", True)}
        self.good = self.bundle(self.tree, "good")
        write_tree(self.path("canary"), {"file": b"untouched", "sub/file": b"untouched"})
        self.before = read_tree(self.dir)

    def copy(self):
        shutil.rmtree(self.path("bad"), True)
        shutil.copytree(self.good, self.path("bad"))
        return self.path("bad")

    def refused(self, bundle, expect=5, decompress=True):
        """Every tool refuses; decompress into every form of output; nothing has changed around."""
        self.run_tool("verify", bundle, expect=expect)
        for out in ("out", "out.tar", "canary") if decompress else ():
            self.run_tool("decompress", bundle, "-o", out, "-f", expect=expect)
        if decompress:
            self.run_tool("compress", bundle, "-o", "again", "-p", "inference", expect=expect)
        after = {p: v for p, v in read_tree(self.dir).items() if not p.startswith(os.path.basename(bundle))}
        self.assertEqual(after, self.before)


class HostileBundles(Hostile):
    """Whatever a bundle says: exit 5, and no byte outside the output or under its final name."""

    def refused_manifest(self, kind, change):
        with self.subTest(kind):
            bundle = self.copy()
            change_manifest(bundle, change)
            self.refused(bundle)

    def refused_text(self, head):
        """A manifest of this text and the digest that makes it look right."""
        bundle = self.copy()
        write(os.path.join(bundle, MANIFEST), head + b'"manifest_sha256":"%s"}\n' % hashlib.sha256(head).hexdigest().encode())
        self.refused(bundle)

    def good_text(self):
        return seal(read_manifest(self.good)).split(b'"manifest_sha256"')[0]

    def test_paths(self):
        for path in ("../canary/file", "sub/../../canary/file", "..", ".", "", "/tmp/uw-evil", "sub//x", "sub/", "./a.txt", "a\\b", "C:\\x",
                     "a\nb", "a\x7fb", "a\0b", "a\x1bb", "x" * 4097):
            def change(top, path=path):
                top["files"][0]["path"] = path
                top["files"].sort(key=lambda f: f["path"].encode())
            self.refused_manifest(path[:20], change)

    def test_paths_that_are_no_text(self):
        for bad in b"a\xff.txt", b"a\xed\xa0\x80.txt", b"a\\ud800.txt", b"a\\u0000.txt":
            with self.subTest(bad):
                self.refused_text(self.good_text().replace(b"a.txt", bad))

    def test_members(self):
        def each(member, values, where=lambda top: top["files"][0]):
            for value in values:
                def change(top, value=value):
                    where(top)[member] = value
                self.refused_manifest((member, value), change)

        each("size", [-1, 4, 6, 5.0, "5", None, 2 ** 63, 2 ** 64, True])
        each("sha256", ["", "0" * 64, "A" * 64, None])
        each("executable", [0, None, "true"])
        each("container", [{}, False, {"size": 5, "index_xxh3": "0" * 16}])
        each("extra", [1])
        each("size", [0, 2 ** 62], lambda top: top["files"][1]["container"])
        each("index_xxh3", ["0" * 16, "", None], lambda top: top["files"][1]["container"])
        each("files", [None, {}], lambda top: top)
        each("profile", ["", None, "fast"], lambda top: top)
        each("source", ["file", "", None], lambda top: top)
        each("extra", [1], lambda top: top)
        for member in "path", "size", "sha256", "executable", "container":
            self.refused_manifest("without " + member, lambda top, member=member: top["files"][0].pop(member))

    def test_order_and_repetition(self):
        self.refused_manifest("reversed", lambda top: top["files"].reverse())
        self.refused_manifest("twice", lambda top: top["files"].insert(0, top["files"][0]))
        self.refused_manifest("reserved", lambda top: top["files"][0].update(path="a.uw"))
        self.refused_manifest("missing file", lambda top: top["files"].insert(0, {**top["files"][0], "path": "a"}))

        def folder_is_file(top):
            top["files"].insert(1, {**top["files"][0], "path": "a.txt/x"})
        self.refused_manifest("file as folder", folder_is_file)

    def test_manifest_text(self):
        text = read(os.path.join(self.good, MANIFEST))
        for kind, bad in (("digest", text.replace(b'"size":5', b'"size":6')), ("no line feed", text[:-1]), ("more", text + b"\n"),
                          ("empty", b""), ("short", text[:50]), ("BOM", b"\xef\xbb\xbf" + text), ("upper case", text[:-70] + text[-70:].upper())):
            with self.subTest(kind):
                bundle = self.copy()
                write(os.path.join(bundle, MANIFEST), bad)
                self.refused(bundle)

    def test_duplicate_members(self):
        self.refused_text(self.good_text().replace(b'"profile"', b'"profile": "inference", "profile"', 1))

    def test_future_version(self):
        bundle = self.copy()
        change_manifest(bundle, lambda top: top.update(unweight_bundle=3))
        self.refused(bundle, expect=8)

    def test_swapped_containers(self):
        bundle = self.copy()
        a, b = (os.path.join(bundle, "sub/%s.safetensors.uw" % n) for n in "mn")
        shutil.copy(a, self.path("tmpdir/x"))
        shutil.copy(b, a)
        os.rename(self.path("tmpdir/x"), b)
        self.assertNotEqual(read(a), read(b))
        self.refused(bundle)

    def test_exchanged_digests(self):
        def change(top):
            a, b = top["files"][1], top["files"][2]
            a["sha256"], b["sha256"] = b["sha256"], a["sha256"]
        bundle = self.copy()
        change_manifest(bundle, change)
        self.run_tool("verify", bundle, expect=5)
        self.run_tool("compress", bundle, "-o", "again", "-p", "inference", expect=5)
        for out in "out", "out.tar", "canary":
            r = self.run_tool("decompress", bundle, "-o", out, "-f", "--sha256", expect=5)
            self.assertIn("sub/m.safetensors: ", r.stderr)
        after = {p: v for p, v in read_tree(self.dir).items() if not p.startswith("bad")}
        self.assertEqual(after, self.before)
        self.assert_tree(self.restore(bundle, "out"), self.tree)  # all it restores has the right checksums
        self.assert_tree(self.restore("good", "whole", "--sha256"), self.tree)

    def test_missing_files(self):
        for path in "a.txt", "sub/m.safetensors.uw", "z":
            with self.subTest(path):
                bundle = self.copy()
                os.unlink(os.path.join(bundle, path))
                self.refused(bundle)

    def test_stray_files(self):
        for path in "stray", "sub/stray", "a.txt.uw", "sub/m.safetensors":
            with self.subTest(path):
                bundle = self.copy()
                write(os.path.join(bundle, path), b"")
                self.refused(bundle, decompress=False)

    def test_stray_things(self):
        for make in (lambda p: os.mkfifo(p), lambda p: os.symlink("nowhere", p), lambda p: os.symlink(".", p)):
            bundle = self.copy()
            make(os.path.join(bundle, "stray"))
            self.refused(bundle, decompress=False)

    def test_replaced_files(self):
        def replace(path, make):
            with self.subTest(path):
                bundle = self.copy()
                os.unlink(os.path.join(bundle, path))
                make(os.path.join(bundle, path))
                r = self.run_tool("verify", bundle, expect=None)
                self.assertIn(r.returncode, (5, 6), r.stderr)
                self.run_tool("decompress", bundle, "-o", "out", expect=r.returncode)
                self.assert_nothing("out")
        for path in "a.txt", "sub/m.safetensors.uw":
            replace(path, os.mkdir)
            replace(path, os.mkfifo)
            replace(path, lambda p: os.symlink("/dev/zero", p))

    def test_every_byte_counts(self):
        """No byte of a bundle can change without being noticed; decompress may overlook padding, but restores the same."""
        tree = {"m.safetensors": safetensors([("w", "BF16", (20, 50), weights(1000))]), "a": b"0123456789"}
        self.model(tree, "little")
        bundle = self.compress("little", "b")
        for path in sorted(read_tree(bundle)):
            data = read(os.path.join(bundle, path))
            step = max(1, len(data) // 60)
            for at in range(0, len(data), step):
                changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1:]
                write(os.path.join(bundle, path), changed)
                r = self.run_tool("verify", bundle, "--level", "checksum", expect=None)
                self.assertIn(r.returncode, (5, 8), "%s byte %d: %s" % (path, at, r.stderr))
                if at % 5 == 0:
                    d = self.run_tool("decompress", bundle, "-o", "r", expect=None)
                    if d.returncode == 0:
                        self.assert_tree(self.path("r"), tree)
                        shutil.rmtree(self.path("r"))
                    else:
                        self.assertEqual(d.returncode, r.returncode)
                        self.assert_nothing("r")
            write(os.path.join(bundle, path), data)
        self.run_tool("verify", bundle)

    def test_truncated_and_extended(self):
        for path in "a.txt", "sub/m.safetensors.uw":
            data = read(os.path.join(self.good, path))
            for bad in data[:-1], data[:len(data) // 2], data[:1], b"", data + b"\0":
                bundle = self.copy()
                write(os.path.join(bundle, path), bad)
                self.refused(bundle)

    def test_bare_container(self):
        data = read(os.path.join(self.good, "sub/m.safetensors.uw"))
        for bad in data[:-1], data + b"\0", data[:64], data[:100], data[:200] + b"\xff" + data[201:]:
            write(self.path("x.uw"), bad)
            self.run_tool("verify", "x.uw", expect=5)
            self.run_tool("decompress", "x.uw", "-o", "x", expect=5)
            self.assert_nothing("x")
        write(self.path("x.uw"), data[:8] + b"\x02" + data[9:56] + bytes(8) + data[64:])  # another version may hash otherwise
        self.run_tool("verify", "x.uw", expect=8)

    def test_no_bundle(self):
        write(self.path("file"), b"hello" * 1000)
        os.mkdir(self.path("folder"))
        write(self.path("empty"), b"")
        for name in "file", "folder", "empty":
            for tool, *args in ("verify",), ("inspect",), ("decompress", "-o", "out"):
                with self.subTest(name, tool=tool):
                    self.run_tool(tool, name, *args, expect=5)
                    self.assert_nothing("out")


class HostileTars(Hostile):
    """The same for tars, with what a folder cannot even hold."""

    def setUp(self):
        super().setUp()
        tree = read_tree(self.good)
        self.members = [tar_member(MANIFEST, tree.pop(MANIFEST)[0])] + [tar_member(p, *v) for p, v in sorted(tree.items())]

    def refused_tar(self, members):
        write(self.path("bad.tar"), tar_bytes(members))
        self.refused(self.path("bad.tar"))
        os.unlink(self.path("bad.tar"))

    def test_good(self):
        write(self.path("t.tar"), tar_bytes(self.members))
        self.run_tool("verify", "t.tar", "--against", "good.source")
        self.assert_tree(self.restore("t.tar", "r"), self.tree)

    def test_extra_members(self):
        cases = {"symlink": tar_member("x", type=tarfile.SYMTYPE, linkname="../canary"),
                 "hardlink": tar_member("x", type=tarfile.LNKTYPE, linkname="a.txt"), "fifo": tar_member("x", type=tarfile.FIFOTYPE),
                 "device": tar_member("x", type=tarfile.CHRTYPE), "twice": self.members[1], "manifest twice": self.members[0]}
        for path in "../canary/file", "/tmp/uw-evil", "sub/../../canary/x", "sub//x", "sub\\x", "sub\nx":
            cases[repr(path)] = tar_member(path, b"evil")
        for kind, member in cases.items():
            with self.subTest(kind):
                self.refused_tar(self.members + [member])

    def test_file_is_a_symlink(self):
        for i in range(1, len(self.members)):
            name = self.members[i][0].name
            link = tar_member(name, type=tarfile.SYMTYPE, linkname="/etc/passwd")
            with self.subTest(name):
                self.refused_tar(self.members[:i] + [link] + self.members[i + 1:])

    def test_stray_files(self):
        write(self.path("bad.tar"), tar_bytes(self.members + [tar_member("stray", b"")]))
        self.refused(self.path("bad.tar"), decompress=False)

    def test_missing_files(self):
        for i in range(1, len(self.members)):
            self.refused_tar(self.members[:i] + self.members[i + 1:])

    def test_paths(self):
        for path in "../canary/file", "/tmp/uw-evil", "a\\b", "a\nb":
            def change(top, path=path):
                top["files"][0]["path"] = path
                top["files"].sort(key=lambda f: f["path"].encode())
            bundle = self.copy()
            change_manifest(bundle, change)
            manifest = tar_member(MANIFEST, read(os.path.join(bundle, MANIFEST)))
            shutil.rmtree(bundle)
            for members in [manifest] + self.members[1:], [manifest] + self.members[2:] + [tar_member(path, b"plain")]:
                with self.subTest(path):
                    self.refused_tar(members)

    def test_truncated_and_extended(self):
        data = tar_bytes(self.members)
        for n in 512, 700, 1024, 3000, 7000, data.rindex(b"ustar") - 300:
            with self.subTest(cut=n):
                write(self.path("bad.tar"), data[:n])
                self.refused(self.path("bad.tar"))
                os.unlink(self.path("bad.tar"))


class OutputFolders(Case):
    """decompress -f into a folder that somebody has prepared."""

    def setUp(self):
        super().setUp()
        self.tree = {"sub/deep/x": b"new", "y": b"new"}
        self.bundle(self.tree, "bundle")
        write_tree(self.path("outside"), {"x": b"old", "deep/x": b"old", "y": b"old"})

    def assert_outside_untouched(self):
        self.assert_tree(self.path("outside"), {"x": b"old", "deep/x": b"old", "y": b"old"})

    def test_folder_is_a_symlink(self):
        for link, target in ("out/sub", "../outside"), ("out/sub/deep", "../../outside"), ("out/sub", self.path("outside")):
            with self.subTest(link):
                shutil.rmtree(self.path("out"), True)
                write_tree(self.path("out"), {"keep": b"keep", "y": b"old"})
                os.makedirs(os.path.dirname(self.path(link)), exist_ok=True)
                os.symlink(target, self.path(link))
                r = self.run_tool("decompress", "bundle", "-o", "out", "-f", expect=None)
                self.assertIn(r.returncode, (3, 4), r.stderr)
                self.assertIn("symbolic link", r.stderr)
                self.assert_outside_untouched()
                self.assertEqual(read(self.path("out/y")), b"old")
                self.assertTrue(os.path.islink(self.path(link)))

    def test_file_is_a_symlink(self):
        write_tree(self.path("out"), {"keep": b"keep"})
        os.symlink("../outside/y", self.path("out/y"))
        self.restore("bundle", "out", "-f")
        self.assert_outside_untouched()
        self.assert_tree(self.path("out"), {**self.tree, "keep": b"keep"})

    def test_output_is_a_symlink(self):
        os.symlink("outside", self.path("out"))
        for args, codes in ([], (4,)), (["-f"], (3, 4)):
            r = self.run_tool("decompress", "bundle", "-o", "out", *args, expect=None)
            self.assertIn(r.returncode, codes, r.stderr)
            self.assert_outside_untouched()

    def test_folder_in_the_way(self):
        write_tree(self.path("out"), {"y/inside": b"mine"})
        self.run_tool("decompress", "bundle", "-o", "out", "-f", expect=4)
        self.assert_tree(self.path("out"), {"y/inside": b"mine"})

    def test_file_in_the_way(self):
        write_tree(self.path("out"), {"sub": b"mine"})
        self.run_tool("decompress", "bundle", "-o", "out", "-f", expect=4)
        self.assert_tree(self.path("out"), {"sub": b"mine"})

    def test_single_file_into_a_symlink(self):
        write(self.path("y"), b"new")
        self.compress("y", "b1")
        os.mkdir(self.path("out"))
        os.symlink("../outside/y", self.path("out/y"))
        self.run_tool("decompress", "b1", "-o", "out", expect=4)
        self.restore("b1", "out", "-f")
        self.assert_outside_untouched()
        self.assertEqual(read(self.path("out/y")), b"new")
        self.assertFalse(os.path.islink(self.path("out/y")))


if __name__ == "__main__":
    unittest.main()
