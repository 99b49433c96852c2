# SPDX-License-Identifier: Apache-2.0
"""The decoder on whole bundles, good and bad."""

import contextlib
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
import unittest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

import unweight_decoder as unweight
from manifest import check_path
from slow_encoder import container, flip, opaque, raw, small, source_of
from unweight_decoder import Corrupt


# Bundles

def manifest(top):
    text = json.dumps(top, ensure_ascii=False, separators=(",", ":"))[:-1] + ","
    return seal_manifest(text.encode())


def seal_manifest(text):
    return text + b'"manifest_sha256":"' + hashlib.sha256(text).hexdigest().encode() + b'"}\n'


def make_bundle(files):
    """files: path -> (source bytes, container or None, executable). Gives the manifest as an object, and the contents by place."""
    entries, places = [], {}
    for path in sorted(files, key=str.encode):
        source, packed, executable = files[path]
        entry = {"path": path, "size": len(source), "sha256": hashlib.sha256(source).hexdigest(), "executable": executable,
                 "container": None}
        if packed is None:
            places[path] = source
        else:
            places[path + ".uw"] = packed
            entry["container"] = {"size": len(packed), "index_xxh3": packed[-40:-32].hex()}
        entries.append(entry)
    return {"unweight_bundle": 1, "profile": "inference", "source": "folder", "files": entries}, places


class BundleTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        self.count = 0
        extents = small()
        self.files = {
            "config.json": (b"{}\n", None, False),
            "model.safetensors": (source_of(extents), container(extents), False),
            "bin/run \u00e9": (b"#!/bin/sh\n", None, True),
            "unweight.json": (b"abc", container([opaque(b"abc", raw(b"abc"))]), False),
            "x.uw": (b"", container([]), False),
        }
        self.top, self.places = make_bundle(self.files)

    def new(self):
        self.count += 1
        return os.path.join(self.folder, str(self.count))

    def write_folder(self, manifest_bytes, places):
        bundle = self.new()
        for place, data in {"unweight.json": manifest_bytes, **places}.items():
            path = os.path.join(bundle, place)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(data)
        return bundle

    def write_tar(self, members, format=tarfile.PAX_FORMAT):
        bundle = self.new() + ".tar"
        with tarfile.open(bundle, "w", format=format) as tar:
            for name, data in members:
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return bundle

    def run_decoder(self, *arguments):
        with contextlib.redirect_stderr(io.StringIO()) as stderr:
            code = unweight.main(list(arguments))
        return code, stderr.getvalue()

    def assertRestores(self, bundle):
        out = self.new()
        self.assertEqual(self.run_decoder(bundle, out), (0, ""))
        found = {}
        for folder, _, names in os.walk(out):
            for name in names:
                path = os.path.join(folder, name)
                with open(path, "rb") as file:
                    found[os.path.relpath(path, out)] = file.read(), bool(os.stat(path).st_mode & 0o100)
        self.assertEqual(found, {path: (source, executable) for path, (source, _, executable) in self.files.items()})

    def assertRejects(self, bundle, reason):
        code, message = self.run_decoder(bundle, self.new())
        self.assertEqual(code, 5, message)
        self.assertRegex(message, reason)

    def test_restore(self):
        good = manifest(self.top)
        self.assertRestores(self.write_folder(good, self.places))
        for format in (tarfile.PAX_FORMAT, tarfile.USTAR_FORMAT):
            self.assertRestores(self.write_tar([("unweight.json", good), *self.places.items()], format))

    def test_command(self):
        source = os.path.join(self.folder, "c.uw")
        with open(source, "wb") as file:
            file.write(self.places["unweight.json.uw"])
        out = self.new()
        command = [sys.executable, unweight.__file__, "--container", source, out]
        self.assertEqual(subprocess.run(command).returncode, 0)
        with open(out, "rb") as file:
            self.assertEqual(file.read(), b"abc")
        with open(source, "ab") as file:
            file.write(b"\0")
        os.unlink(out)
        result = subprocess.run(command, stderr=subprocess.PIPE)
        self.assertEqual(result.returncode, 5)
        self.assertIn(b"corrupt", result.stderr)
        self.assertFalse(os.path.exists(out))

    def test_tar_rules(self):
        good = manifest(self.top)
        members = [("unweight.json", good), *self.places.items()]
        self.assertRejects(self.write_tar(members[1:] + members[:1]), "not the first member")
        self.assertRejects(self.write_tar(members + members[1:2]), "twice")
        self.assertRejects(self.write_tar(members[:-1]), "missing")
        self.assertRejects(self.write_tar(members + [("more", b"")]), "not in the manifest")
        self.assertRejects(self.write_tar(members, tarfile.GNU_FORMAT), "neither a ustar")

    def test_contents(self):
        good = manifest(self.top)
        places = dict(self.places)
        self.assertRejects(self.write_folder(good, dict(places, more=b"")), "not in the manifest")
        self.assertRejects(self.write_folder(good, dict(places, **{"config.json": b"[]\n"})), "wrong SHA-256")
        self.assertRejects(self.write_folder(good, dict(places, **{"config.json": b"{}"})), "wrong size")
        self.assertRejects(self.write_folder(good, dict(places, **{"x.uw.uw": container([opaque(b"")])})), "container of wrong size")
        other = container([opaque(b"abd", raw(b"abd"))])
        self.assertRejects(self.write_folder(good, dict(places, **{"unweight.json.uw": other})), "index hash")
        del places["x.uw.uw"]
        self.assertRejects(self.write_folder(good, places), "missing")

    def test_manifest(self):
        def bad(reason, change=None, data=None):
            top = json.loads(json.dumps(self.top))
            if change is not None:
                change(top, top["files"])
            with self.assertRaisesRegex(Corrupt, reason):
                unweight.parse_manifest(manifest(top) if data is None else data)

        def put(name, value, *way):
            def change(top, files):
                target = top
                for step in way:
                    target = target[step]
                target[name] = value
            return change

        good = manifest(self.top)
        unweight.parse_manifest(good)
        for bit in range(0, 8 * len(good), 5):
            bad("", data=flip(good, bit))
        for data in (b"", good[:-1], good + b"\n", b" " + good):
            bad("digest", data=data)
        text = good[:-86]
        bad("duplicate key", data=seal_manifest(text + b'"profile":"inference",'))
        bad("not JSON", data=seal_manifest(text[:-1]))
        bad("not JSON", data=seal_manifest(text.replace(b"config", b"conf\xffg")))
        bad("not JSON", data=seal_manifest(b"\xef\xbb\xbf" + text))
        bad("not a number", data=seal_manifest(text.replace(b'"size":3', b'"size":NaN')))
        bad("bad size", data=seal_manifest(text.replace(b'"size":3', b'"size":3.0')))
        bad("not JSON", data=seal_manifest(b'{"files":' + b"[" * 100000))
        bad("members", put("more", 1))
        bad("members", put("more", 1, "files", 0))
        bad("members", lambda top, files: top.pop("profile"))
        bad("members", lambda top, files: files[0].pop("executable"))
        bad("members", put("unweight_bundle", 2))
        bad("members", put("base", {"source_sha256": "0" * 64}))
        bad("version", put("unweight_bundle", 3))
        bad("version", put("unweight_bundle", True))
        bad("profile", put("profile", "archive"))
        bad("source", put("source", "pipe"))
        bad("not exactly one", put("source", "file"))
        bad("not an array", lambda top, files: top.update(files={}))
        bad("do not ascend", lambda top, files: files.reverse())
        bad("do not ascend", lambda top, files: files.insert(0, files[0]))
        for size in (-1, 1 << 63, "3", None, True):
            bad("bad size", put("size", size, "files", 0))
        for digest in ("", "0" * 63, "A" * 64, 5):
            bad("bad sha256", put("sha256", digest, "files", 0))
        bad("not a boolean", put("executable", 1, "files", 0))
        bad("members", put("container", {}, "files", 2))
        bad("container size", put("size", 1 << 63, "files", 2, "container"))
        bad("index_xxh3", put("index_xxh3", "0" * 15, "files", 2, "container"))
        for path in ("", "/a", "a/", "a//b", ".", "..", "a/../b", "./a", "a\x1f", "a\x7f", "a\\b", "a\0", "\ud800", "a" * 4097, 7, None):
            with self.assertRaises(Corrupt):
                check_path(path)
        for path in ("a", "a/b", "...", ".a", "a b", "\u00e9" * 2048, "a:*?"):
            check_path(path)
        for path in ("unweight.json", "x.uw", ".uw"):
            bad("cannot be plain", lambda top, files: files.__setitem__(slice(None), [dict(files[0], path=path)]))
        clash = [dict(self.top["files"][1], path=path) for path in ("a", "a.b", "a/b/c")]
        bad("also a folder", lambda top, files: files.__setitem__(slice(None), clash))


if __name__ == "__main__":
    unittest.main()
