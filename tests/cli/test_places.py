# SPDX-License-Identifier: Apache-2.0
"""Outputs that would get in the way of what is read, or of each other: refused before anything is done."""

import os
import shutil
import unittest

from common import Case, read, read_tree, small_model, tar_of, write

TREE = {"a.safetensors": small_model(1), "config.json": b"{}", "sub/a": b"a"}
IS_ROOT = os.geteuid() == 0


class Places(Case):
    def setUp(self):
        super().setUp()
        self.model(TREE)
        self.compress("model", "b")
        self.compress("model", "base")
        write(self.path("m.safetensors"), small_model(2))
        os.symlink("model", self.path("link"))
        os.symlink("b", self.path("bundle.link"))
        write(self.path("list"), b"a.safetensors\n")
        write(self.path("sub.list"), b"sub\n")
        self.before = read_tree(self.dir)

    def refused(self, tool, *args, expect=2):
        r = self.run_tool(tool, *args, expect=expect)
        self.assertNotEqual(r.stderr, "")
        self.assertEqual(read_tree(self.dir), self.before)
        return r

    def test_bundle_in_its_model(self):
        for model, out in (("model", "model/b"), ("model/", "./model//sub/b"), ("link", "model/b"), ("model", "link/b"),
                           ("model", "model/b.tar"), (self.path("model"), "model/b/"), ("b", "b/x"), ("b", "bundle.link/x"), ("bundle.link", "b/x")):
            self.assertIn("lies in", self.refused("compress", model, "-o", out).stderr)
        self.run_tool("compress", ".", "-o", "b", cwd=self.path("model"), expect=2)
        self.refused("compress", "--part", "1/1", "model", "-o", "model/b")
        self.refused("compress", "--plan", "model", "-o", "model/plan.json")
        self.refused("compress", "--print-commands", "--parts", "2", "model", "-o", "model/b")
        self.refused("compress", "model", "-o", "model/b", "--skip-existing")
        self.refused("compress", "model", "-o", "model/sub/b", "--files-from", "sub.list")

    def test_what_is_no_part_of_the_model(self):
        self.compress("model", "model/b", "--files-from", "list")
        self.compress("model", "modelb")
        self.compress("m.safetensors", "m.safetensors.b")
        self.compress("b", "b", "-f", "-p", "inference")
        self.run_tool("verify", "b", "--against", "base")

    def test_base(self):
        self.model({**TREE, "sub/a": b"b"}, "tuned")
        self.before = read_tree(self.dir)
        for out in "base/x", "base":
            for force in [], ["-f"]:
                self.refused("compress", "tuned", "-o", out, "--base", "base", *force)
        self.compress("tuned", "t", "--base", "base")
        self.before = read_tree(self.dir)
        self.refused("decompress", "t", "--base", "base", "-o", "base", "-f")

    def test_removing_the_base(self):
        """The bundle could never be restored."""
        shutil.copytree(self.path("base"), self.path("model/base"))
        write(self.path("model/base.tar"), read(self.compress("model/base", "base.tar")))
        self.before = read_tree(self.dir)
        for base in "model/base", "model/base.tar", "link/base":
            self.assertIn("--rm would remove the base", self.refused("compress", "model", "-o", "x", "--base", base, "--rm").stderr)
        self.run_tool("compress", "model", "-o", "x", "--base", "model/base", "--rm", "--files-from", "list")
        self.run_tool("verify", "x", "--base", "model/base")

    def test_files_in_a_bundle(self):
        for out in "b", "b/r", "./bundle.link/sub/r":
            self.refused("decompress", "b", "-o", out, "-f")
        self.refused("decompress", "b", "-o", "b/w", "--tensor", "w")

    def test_reports(self):
        self.refused("compress", "model", "-o", "x", "--json", "x/report", expect=3)
        self.refused("compress", "model", "-o", "base", "-f", "--json", "base/report")
        for report in "x", "x/", "b/new", "b/config.json", "model/config.json", "link/config.json", "list":
            self.refused("compress", "model", "-o", "x", "--json", report, "--base", "b", "--files-from", "list")
        for args in (["--json", "r", "--sha256sums", "r"], ["--sha256sums", "r", "--signing-statement", "./r"],
                     ["--json", "x.tar"], ["--json", "-", "--sha256sums", "-"]):
            self.refused("compress", "model", "-o", "x.tar", *args)
        self.refused("compress", "m.safetensors", "-o", "x", "--json", "m.safetensors")
        self.refused("compress", "--merge", "-o", "b", "--json", "b/r")
        for report in "b/r", "b/config.json", "b/unweight.json", "model/config.json", "base/r", "list":
            for option in "--json", "--junit":
                self.refused("verify", "b", "--against", "model", "--base", "base", "--sha256sums", "list", option, report)
        self.refused("verify", "b", "--json", "r", "--junit", "r")
        for option in "--json", "--html":
            self.refused("scan", "model", option, "model/a.safetensors")
            self.refused("scan", "b", option, "b/r")
        self.refused("scan", "model", "--json", "r", "--html", "r")
        self.refused("tune", "b", "-o", "b/tuning")
        self.refused("bench", "b", "--json", "b/r")
        self.refused("bench", "b", "--svg", "r", "--json", "r")
        write(self.path("m.tar"), tar_of(TREE))
        self.before = read_tree(self.dir)
        self.refused("scan", "m.tar", "--json", "m.tar")

    def test_reports_that_are_fine(self):
        self.compress("model", "x", "--json", "model/new.json", "--sha256sums", "sums")
        self.run_tool("scan", "model", "--json", "new.json", cwd=self.path("model/sub"), expect=3)
        self.run_tool("verify", "b", "--json", "../report", "--junit", "report", cwd=self.path("model"), expect=3)
        self.run_tool("verify", "b", "--json", "r", "--junit", "r.xml")
        self.run_tool("verify", "b", "--json", "r", "--junit", "r.xml")

    def test_report_that_cannot_be_written(self):
        """Found out before the work, not after it."""
        os.mkdir(self.path("folder"))
        for report, code in (("no/such/r", 3), ("folder", 4), ("/dev/null", 4)):
            for option in "--json", "--sha256sums", "--signing-statement":
                self.refused("compress", "model", "-o", "x", option, report, expect=code)
            self.refused("verify", "b", "--junit", report, expect=code)
            self.refused("scan", "b", "--html", report, expect=code)

    @unittest.skipIf(IS_ROOT, "root may write anywhere")
    def test_report_in_a_folder_of_others(self):
        os.mkdir(self.path("others"), 0o555)
        self.refused("compress", "model", "-o", "x", "--json", "others/r", expect=6)


if __name__ == "__main__":
    unittest.main()
