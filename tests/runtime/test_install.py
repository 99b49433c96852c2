# SPDX-License-Identifier: Apache-2.0
"""What is installed is enough: a program outside the tree, built with pkg-config alone; and nothing leaves the library that no header declares."""

import glob
import os
import re
import shlex
import subprocess
import tempfile
import unittest

BUILD = os.environ["UW_BUILD"]
SAMPLE = os.path.join(os.path.dirname(__file__), "..", "..", "samples", "shakespeare-llama")
PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include <unweight/linear.h>
#include <unweight/tuning.h>
#include <unweight/unweight.h>

int main(int argc, char **argv)
{
	struct uw_model *model;
	struct uw_error err;
	uint64_t sum = 0;

	if (uw_model_open(argv[1], NULL, &model, &err) != UW_OK) {
		fprintf(stderr, "%s: %s\n", uw_status_text(err.status), err.what);
		return 1;
	}
	for (size_t i = 0; i < uw_model_ntensors(model); i++) {
		const struct uw_tensor *t = uw_model_tensor(model, i);
		uint8_t *bytes = (uint8_t *)malloc((size_t)t->nbytes);

		if (uw_tensor_read(model, t, NULL, bytes, (size_t)t->nbytes, &err) != UW_OK)
			return 1;
		for (uint64_t k = 0; k < t->nbytes; k++)
			sum += bytes[k];
		free(bytes);
	}
	uw_model_close(&model);
	printf("%llu\n", (unsigned long long)sum);
	return 0;
}
"""


def sum_of_source():
    total = 0
    for path in glob.glob(os.path.join(SAMPLE, "*.safetensors")):
        with open(path, "rb") as f:
            data = f.read()
        total += sum(data[8 + int.from_bytes(data[:8], "little"):])
    return total


@unittest.skipIf(os.environ.get("UW_SANITIZED"), "a program of other flags cannot link a sanitized library")
class Install(unittest.TestCase):
    def test_a_program_outside_the_tree(self):
        with tempfile.TemporaryDirectory(prefix="unweight-install-") as tmp:
            env = dict(os.environ, DESTDIR=tmp)
            subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet"], check=True, env=env, capture_output=True)
            pc = glob.glob(os.path.join(tmp, "**", "unweight.pc"), recursive=True)
            self.assertEqual(len(pc), 1)
            bundle, libdir = os.path.join(tmp, "bundle"), os.path.dirname(os.path.dirname(pc[0]))
            compress = glob.glob(os.path.join(tmp, "**", "bin", "unweight-compress"), recursive=True)[0]
            subprocess.run([compress, SAMPLE, "-o", bundle], check=True, capture_output=True)
            prefix = os.path.dirname(os.path.dirname(compress))
            flags = subprocess.run(["pkg-config", "--define-variable=prefix=" + prefix, "--cflags", "--libs", "unweight"],
                                   check=True, env=dict(os.environ, PKG_CONFIG_PATH=os.path.dirname(pc[0])),
                                   capture_output=True, text=True).stdout
            for compiler, suffix, extra in ("cc", ".c", ["-std=c11"]), ("c++", ".cpp", ["-std=c++17"]):
                source, program = os.path.join(tmp, "p" + suffix), os.path.join(tmp, "p" + compiler)
                with open(source, "w", encoding="utf-8") as f:
                    f.write(PROGRAM)
                subprocess.run([compiler, "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", *extra, source, *shlex.split(flags), "-o",
                                program], check=True)
                r = subprocess.run([program, bundle], capture_output=True, text=True, env=dict(os.environ, LD_LIBRARY_PATH=libdir))
                self.assertEqual(r.stdout, "%d\n" % sum_of_source(), r.stderr)
            soname = subprocess.run(["readelf", "-d", os.path.join(libdir, "libunweight.so")], capture_output=True, text=True).stdout
            self.assertRegex(soname, r"SONAME.*\[libunweight\.so\.0\]")
            headers = "".join(open(p, encoding="utf-8").read() for p in glob.glob(
                os.path.join(tmp, "**", "include", "unweight", "*.h"), recursive=True))
            self.check_symbols(os.path.join(libdir, "libunweight.so"), headers)

    def check_symbols(self, library, headers):
        lines = subprocess.run(["nm", "-D", "--defined-only", library], check=True, capture_output=True, text=True).stdout
        names = {line.split()[-1].split("@")[0] for line in lines.splitlines()} - {"UNWEIGHT_0"}
        declared = set(re.findall(r"\b(uw_\w+)\(", headers))
        self.assertGreater(len(names), 40)
        self.assertEqual(names - declared, set(), "symbols that no installed header declares")
        functions = set(re.findall(r"^[\w *]*?\b(uw_\w+)\(", re.sub(r"/\*.*?\*/", "", headers, flags=re.S), flags=re.M))
        self.assertEqual({f for f in functions if not f.endswith("_fn")} - names, set(), "declared, but not in the library")


if __name__ == "__main__":
    unittest.main()
