# SPDX-License-Identifier: Apache-2.0
"""What a pipeline demands of a model, a bundle and their sizes, and the lists of digests that it takes with it."""

import hashlib
import json
import os
import shutil
import subprocess

from common import Case, read, safetensors, small_model, weights, write


def sums(tree):
    return "".join("%s  %s\n" % (hashlib.sha256(tree[p]).hexdigest(), p) for p in sorted(tree, key=str.encode)).encode()


class Demands(Case):
    tree = {"m.safetensors": safetensors([("w", "BF16", (256, 256), weights(65536))]), "a/b": b"inner", "a-b": b"outer", "\u00e9": b""}

    def setUp(self):
        super().setUp()
        self.model(self.tree)
        self.digest = hashlib.sha256(sums(self.tree)).hexdigest()

    def test_sums(self):
        self.compress("model", "b", "--sha256sums", "SUMS")
        self.assertEqual(read(self.path("SUMS")), sums(self.tree))
        if shutil.which("sha256sum"):
            subprocess.run(["sha256sum", "--quiet", "--strict", "-c", "../SUMS"], cwd=self.path("model"), check=True, timeout=60)
        self.run_tool("verify", "b", "--sha256sums", "SUMS")
        r = self.run_tool("compress", "model", "-o", "b2", "--sha256sums", "-")
        self.assertEqual(r.stdout.encode(), sums(self.tree))

    def test_one_thing_on_standard_output(self):
        for args in ("-o", "-", "--sha256sums", "-"), ("-o", "b", "--json", "-", "--signing-statement", "-"):
            self.run_tool("compress", "model", *args, expect=2)
        self.assert_nothing("b")

    def test_lists_that_cannot_be_written(self):
        for i, option in enumerate(("--sha256sums", "--signing-statement")):
            self.run_tool("compress", "model", "-o", "b%d" % i, option, "no/such/folder", expect=3)

    def test_signing_statement(self):
        self.compress("model/", "b", "--signing-statement", "s.json")
        statement = json.loads(read(self.path("s.json")))
        (subject,) = statement["subject"]
        resources = statement["predicate"]["resources"]
        self.assertEqual((statement["_type"], statement["predicateType"]),
                         ("https://in-toto.io/Statement/v1", "https://model_signing/signature/v1.0"))
        self.assertEqual(statement["predicate"]["serialization"],
                         {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": []})
        self.assertEqual([r["name"] for r in resources], ["a/b", "a-b", "m.safetensors", "\u00e9"])     # by components
        self.assertEqual({r["name"]: r["digest"] for r in resources}, {p: hashlib.sha256(v).hexdigest() for p, v in self.tree.items()})
        self.assertEqual({r["algorithm"] for r in resources}, {"sha256"})
        root = hashlib.sha256(b"".join(bytes.fromhex(r["digest"]) for r in resources)).hexdigest()
        self.assertEqual(subject, {"name": "model", "digest": {"sha256": root}})

    def test_digest(self):
        report = json.loads(self.run_tool("compress", "model", "-o", "b", "--json", "-", "--expect-digest", self.digest.upper()).stdout)
        self.assertEqual(report["source_sha256"], self.digest)
        self.assertEqual({f["path"]: f["sha256"] for f in report["files"]}, {p: hashlib.sha256(v).hexdigest() for p, v in self.tree.items()})
        self.assertEqual(self.inspect("b")["source_sha256"], self.digest)
        self.assertIn(self.digest, self.run_tool("inspect", "b").stdout)
        self.compress("b", "inference", "-p", "inference", "--expect-digest", self.digest)
        self.run_tool("verify", "inference", "--expect-digest", self.digest)
        self.restore("b", "good", "--expect-digest", self.digest)
        wrong = "0" * 64
        r = self.run_tool("compress", "model", "-o", "c", "--sha256sums", "SUMS", "--expect-digest", wrong, expect=1)
        self.assertIn(self.digest, r.stderr)
        self.run_tool("decompress", "b", "-o", "c", "--expect-digest", wrong, expect=1)
        for name in "c", "SUMS":
            self.assert_nothing(name)
        r = self.run_tool("verify", "b", "--expect-digest", wrong, "--json", "-", expect=1)
        bad = [f for f in json.loads(r.stdout)["files"] if f["status"] != "good"]
        self.assertEqual([(f["check"], f["path"]) for f in bad], [("expect-digest", "(bundle)")])

    def test_digest_of_one_file(self):
        write(self.path("one.safetensors"), self.tree["m.safetensors"])
        digest = hashlib.sha256(self.tree["m.safetensors"]).hexdigest()
        self.compress("one.safetensors", "one", "--expect-digest", digest)
        self.run_tool("verify", "one", "--expect-digest", digest)
        self.run_tool("verify", "one", "--expect-digest", hashlib.sha256(sums({"one.safetensors": self.tree["m.safetensors"]})).hexdigest())
        self.run_tool("verify", "one", "--expect-digest", self.digest, expect=1)
        container = os.path.join("one", "one.safetensors.uw")
        self.run_tool("verify", container)
        for wrong in digest, "0" * 64:          # it holds none
            self.run_tool("verify", container, "--expect-digest", wrong, expect=1)
            self.run_tool("decompress", container, "-o", "out", "--expect-digest", wrong, expect=1)
        self.assert_nothing("out")

    def test_min_saving(self):
        saved = json.loads(self.run_tool("compress", "model", "-o", "b", "--json", "-").stdout)
        percent = 100 - 100 * saved["stored_bytes"] / saved["bytes"]
        self.assertGreater(percent, 20)
        for good in "0", "20", "20%", "%.2f" % (percent - 0.01):
            self.compress("model", "good", "-f", "--min-saving", good)
        r = self.run_tool("compress", "model", "-o", "bad", "--min-saving", "%.2f" % (percent + 0.01), expect=1)
        self.assertIn("saves %.2f %%" % percent, r.stderr)
        self.run_tool("compress", "model", "-o", "bad.tar", "--min-saving", "50", expect=1)
        self.run_tool("compress", "model", "-o", "-", "--min-saving", "50", expect=1)
        self.compress("model", "old")
        self.run_tool("compress", "model", "-f", "-o", "old", "--min-saving", "50", expect=1)
        self.run_tool("verify", "old")
        for name in "bad", "bad.tar":
            self.assert_nothing(name)

    def test_max_output(self):
        self.compress("model", "b")
        total = sum(map(len, self.tree.values()))
        for limit in str(total), "1M", "1MiB", "1MB", "2G", "1T":
            self.restore("b", "good", "-f", "--max-output", limit)
        for limit in str(total - 1), "0", "100K":
            for out in "bad", "bad.tar", "-":
                r = self.run_tool("decompress", "b", "-o", out, "--max-output", limit, expect=4)
                self.assertIn("%d bytes" % total, r.stderr)
                self.assertEqual(r.stdout, "")
                self.assert_nothing(out)
        self.run_tool("decompress", "b", "-o", "w", "--tensor", "w", "--max-output", "131072")
        self.run_tool("decompress", "b", "-o", "v", "--tensor", "w", "--max-output", "131071", expect=4)
        self.assert_nothing("v")

    def test_a_bomb_is_refused(self):
        write(self.path("zeros.safetensors"), safetensors([("z", "U8", (1 << 26,), bytes(1 << 26))]))
        self.compress("zeros.safetensors", "z")
        self.assertLess(os.stat(self.path("z/zeros.safetensors.uw")).st_size, 1 << 16)
        self.run_tool("decompress", "z", "-o", "out", "--max-output", "64M", expect=4)
        self.run_tool("decompress", os.path.join("z", "zeros.safetensors.uw"), "-o", "out", "--max-output", "64M", expect=4)
        self.assert_nothing("out")

    def test_github(self):
        self.compress("model", "b")
        write(self.path("b/a-b"), b"other")
        for env in {}, {"GITHUB_ACTIONS": ""}, {"GITHUB_ACTIONS": "false"}:
            self.assertEqual(self.run_tool("verify", "b", "--github", env={"GITHUB_ACTIONS": None, **env}, expect=5).stdout, "")
        env = {"GITHUB_ACTIONS": "true"}
        self.assertEqual(self.run_tool("verify", "b", env=env, expect=5).stdout, "")
        (line,) = self.run_tool("verify", "b", "--github", "--json", "r", env=env, expect=5).stdout.splitlines()
        self.assertRegex(line, r"^::error file=a-b,title=unweight-verify%3A decode::[^:]+$")
        self.run_tool("decompress", "b", "-o", "x", expect=5)
        self.model({"100%, or: so": b"1"}, "odd")
        self.compress("odd", "c")
        write(self.path("c/100%, or: so"), b"2")
        (line,) = self.run_tool("verify", "c", "--github", env=env, expect=5).stdout.splitlines()
        self.assertTrue(line.startswith("::error file=100%25%2C or%3A so,title="), line)
        (line,) = self.run_tool("verify", "no\nsuch", "--github", env=env, expect=3).stdout.splitlines()
        self.assertTrue(line.startswith("::error file=no%0Asuch,title=unweight-verify%3A open::"), line)
        for report in "--json", "--junit":
            self.run_tool("verify", "c", "--github", report, "-", expect=2)

    def git_id(self, data):
        return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()

    def hub(self, **changes):
        """As a hub lists a repository: large files by SHA-256, the others by git's id."""
        entries = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "sub"}]
        for path, data in self.tree.items():
            entry = {"type": "file", "path": path, "size": len(data), "oid": self.git_id(data)}
            if path.endswith(".safetensors"):
                entry.update(oid="0" * 40, lfs={"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134})
            entry.update(changes.get(path, {}))
            entries.append(entry)
        return entries

    def against(self, text, *bad, expect=0):
        """The files that differ from a list."""
        write(self.path("list"), text if isinstance(text, bytes) else json.dumps(text).encode())
        r = self.run_tool("verify", "b", "-l", "structure", "--against-manifest", "list", "--json", "-", expect=expect)
        files = [f for f in json.loads(r.stdout)["files"] if f["check"] == "against-manifest"]
        self.assertEqual([f["path"] for f in files if f["status"] != "good"], list(bad))
        if not bad:
            self.assertEqual(sorted(f["path"] for f in files), sorted(self.tree))
        with open(self.path("list"), "rb") as f:
            self.run_tool("verify", "b", "--against-manifest", "-", stdin=f, expect=expect)

    def test_manifests_of_others(self):
        self.compress("model", "b", "--sha256sums", "SUMS", "--signing-statement", "statement")
        large = next(p for p in self.tree if p.endswith(".safetensors"))
        small = next(p for p in self.tree if not p.endswith(".safetensors"))
        self.against(read(self.path("SUMS")))
        self.against(read(self.path("SUMS"))[:-1])
        self.against(b"0" + read(self.path("SUMS"))[1:].replace(b"\n", b"\r\n"), min(self.tree), expect=1)
        statement = json.loads(read(self.path("statement")))
        self.against(statement)
        self.against(b"\n " + read(self.path("statement")))
        self.against(self.hub())
        self.against(self.hub(**{large: {"lfs": {"oid": "0" * 64}}}), large, expect=1)
        self.against(self.hub(**{small: {"oid": "0" * 40}}), small, expect=1)
        self.against(self.hub(**{small: {"size": 12345}}), small, expect=1)
        self.against(self.hub()[:-1], list(self.tree)[-1], expect=1)
        self.against([*self.hub(), {"type": "file", "path": "new", "size": 0, "oid": self.git_id(b"")}], "new", expect=1)

    def test_manifests_that_are_wrong(self):
        self.compress("model", "b", "--signing-statement", "statement")
        statement = json.loads(read(self.path("statement")))
        resources = statement["predicate"]["resources"]
        resources[0]["digest"], good = "0" * 64, resources[0]["digest"]
        self.against(statement, resources[0]["name"], expect=1)
        resources[0]["digest"] = good
        left_out = resources.pop()
        self.against(statement, left_out["name"], expect=1)
        resources.append({**left_out, "algorithm": "blake2b"})
        write(self.path("list"), json.dumps(statement).encode())
        self.run_tool("verify", "b", "--against-manifest", "list", expect=3)
        resources[-1] = left_out
        statement["subject"][0]["digest"]["sha256"] = "0" * 64
        (entry, *rest) = self.hub()[1:]
        for wrong in (statement, {}, {"predicateType": 1}, {**statement, "predicateType": "x"}, [1], [{**entry, "path": 1}, *rest],
                      [{**entry, "oid": "x", "lfs": {"oid": "x"}}, *rest], [{**entry, "oid": None, "lfs": None}, *rest]):
            write(self.path("list"), json.dumps(wrong).encode())
            self.run_tool("verify", "b", "--against-manifest", "list", expect=3)
        for wrong in b"{", b"[}", b'{"a":1,"a":1}', b"[1]x", b'["\xff"]', b"hello":
            write(self.path("list"), wrong)
            self.run_tool("verify", "b", "--against-manifest", "list", expect=3)
        self.assertIn("nosuch: No such file", self.run_tool("verify", "b", "--against-manifest", "nosuch", expect=3).stderr)
        self.run_tool("verify", "b", "--sha256sums", "statement", expect=3)      # that one is as strict as its name

    def test_usage(self):
        self.bundle({"m.safetensors": small_model()}, "b")
        for tool, args in (("compress", ("b", "-o", "x")), ("decompress", ("b", "-o", "x")), ("verify", ("b",))):
            for wrong in "", "0" * 63, "0" * 65, "g" * 64:
                self.run_tool(tool, *args, "--expect-digest", wrong, expect=2)
        for wrong in "", "-1", "101", "nan", "inf", "20x", "x", "20%%", " 5":
            self.run_tool("compress", "b", "-o", "x", "--min-saving", wrong, expect=2)
        for wrong in "", "-1", "1X", "K", "1KK", "1KiBB", "99999999999999999999", "16777216T", " 5", "5 K":
            self.run_tool("decompress", "b", "-o", "x", "--max-output", wrong, expect=2)
        self.assert_nothing("x")
