# SPDX-License-Identifier: Apache-2.0
"""Manual pages and completions: every option is in them, and the programs that read them do so without complaint.

UW_TOOLS names the folder of the tools; pages and completions lie in its folder man/.
"""

import os
import re
import shutil
import subprocess
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import TOOLS, Case, read

ALL = "compress", "decompress", "verify", "inspect", "scan", "tune", "bench"
MAN = os.path.join(TOOLS, "man")
PAGES = ["unweight-%s.1" % tool for tool in ALL] + ["unweight.7", "unweight-format.5"]
LINT_EXCUSED = "missing date"     # pages are the same whenever they are built


def needs(program):
    return unittest.skipUnless(shutil.which(program), "needs " + program)


class Pages(Case):
    def options(self, tool):
        """As people see them in --help, not out of the table that the pages are made of."""
        return re.findall(r"^  (?:-(\w), |    )--([\w-]+)", self.run_tool(tool, "--help").stdout, flags=re.M)

    def output(self, *command, **more):
        r = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, text=True, check=False, **more)
        self.assertEqual(r.returncode, 0, r.stdout)
        return r.stdout

    def file(self, name):
        return os.path.join(MAN, name)

    def test_every_option(self):
        for tool in ALL:
            options = self.options(tool)
            self.assertGreaterEqual(len(options), 5)
            page, fish = (read(self.file("unweight-%s.%s" % (tool, end))).decode().replace("\\-", "-") for end in ("1", "fish"))
            bash, zsh = (read(self.file(before + "unweight-" + tool)).decode() for before in ("", "_"))
            for short, name in options:
                with self.subTest(tool=tool, option=name):
                    self.assertRegex(page, r"\n\.TP\n%s\\fB--%s\\fR" % (r"\\fB-%s\\fR, " % short if short else "", name))
                    self.assertRegex(bash, r"compgen -W \"[^\"]*--%s[ \"]" % name)
                    self.assertRegex(zsh, r"--%s=?\[" % name)
                    self.assertRegex(fish, r" -l %s " % name)
                    if short:
                        self.assertIn(" -s %s -l %s " % (short, name), fish)

    def test_exit_codes(self):
        codes = re.findall(r"^\.B (\d+)$", read(self.file("unweight.7")).decode(), flags=re.M)
        self.assertEqual(codes, ["0", "1", "2", "3", "4", "5", "6", "7", "8", "70", "124"])

    def test_format_is_the_specification(self):
        spec = read(os.path.join(HERE, "..", "..", "SPEC.md")).decode()
        page = read(self.file("unweight-format.5")).decode().replace("\\-", "-")
        for title in re.findall(r"^### (.*)$", spec, flags=re.M):
            self.assertIn(".SS " + title, page)
        self.assertEqual(page.count("\n.TS\n"), len(re.findall(r"^\|--", spec, flags=re.M)))

    @needs("man")
    def test_man(self):
        for page in PAGES:
            with self.subTest(page=page):
                r = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", self.file(page)], stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, env={**os.environ, "MANWIDTH": "100", "LC_ALL": "C.UTF-8"}, check=False)
                self.assertEqual((r.returncode, r.stderr.decode()), (0, ""))
                self.assertIn("NAME", r.stdout.decode())

    @needs("mandoc")
    def test_lint(self):
        for page in PAGES:
            with self.subTest(page=page):
                out = subprocess.run(["mandoc", "-T", "lint", "-W", "warning", self.file(page)], stdout=subprocess.PIPE, text=True,
                                     check=False).stdout
                self.assertEqual([l for l in out.splitlines() if LINT_EXCUSED not in l], [])

    def test_bash(self):
        def complete(*words):
            script = 'source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _unweight_compress; printf "%s\\n" "${COMPREPLY[@]}"'
            return self.output("bash", "-u", "-c", script, self.file("unweight-compress"), *words, cwd=self.dir).split()

        open(self.path("model.safetensors"), "w").close()
        self.assertEqual(complete("unweight-compress", "--pro"), ["--profile", "--progress"])
        self.assertEqual(complete("unweight-compress", "--profile", ""), ["distribution", "inference"])
        self.assertEqual(complete("unweight-compress", "-p", "i"), ["inference"])
        self.assertEqual(complete("unweight-compress", "--progress", ""), ["auto", "none", "json"])
        self.assertEqual(complete("unweight-compress", "-T", ""), [])
        self.assertEqual(complete("unweight-compress", "-o", "mod"), ["model.safetensors"])
        self.assertEqual(complete("unweight-compress", "mod"), ["model.safetensors"])
        for tool in ALL:
            self.assertEqual(self.output("bash", "-n", self.file("unweight-" + tool)), "")

    @needs("zsh")
    def test_zsh(self):
        for tool in ALL:
            self.assertEqual(self.output("zsh", "-n", self.file("_unweight-" + tool)), "")

    @needs("fish")
    def test_fish(self):
        def complete(line):
            env = {**os.environ, "HOME": self.dir, "XDG_CONFIG_HOME": self.dir, "XDG_DATA_HOME": self.dir}
            out = self.output("fish", "-N", "-c", 'source $argv[1]; complete -C $argv[2]', self.file("unweight-compress.fish"), line,
                              cwd=self.dir, env=env)
            return [l.split("\t")[0] for l in out.splitlines()]

        self.assertEqual(complete("unweight-compress --pro"), ["--profile", "--progress"])
        self.assertEqual(complete("unweight-compress --profile "), ["distribution", "inference"])
        for tool in ALL:
            self.assertEqual(self.output("fish", "-n", self.file("unweight-%s.fish" % tool)), "")


if __name__ == "__main__":
    unittest.main()
