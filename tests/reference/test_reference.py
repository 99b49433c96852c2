#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Our reader of safetensors against the reference reader, on files that are nearly safetensors (headers.py).

verdicts.txt holds what safetensors 0.8.0 says of each; `test_reference.py --record` writes it anew where that package is
installed. Where it is, the test asks it as well. UW_TOOLS names the folder of our tools.
"""

import hashlib
import json
import os
import sys
import unittest

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(HERE, "..", "cli"))

from common import Case, write_tree
from headers import cases

try:
    import safetensors
except ImportError:
    safetensors = None

VERDICTS = os.path.join(HERE, "verdicts.txt")
TAKEN, REFUSED = "taken", "refused"

# Where we differ on purpose. Refused by us, and so carried whole: duplicate keys, NUL in a name, numbers from 2^63 on,
# a tensor described by an array, and unknown fields that nest deeper than anything has a reason to.
STRICTER = {"name twice, same place", "name twice by an escape", "name twice, last is good", 'field ,"x":1,"x":2',
            'metadata {"k":"v","k":"w"}', 'metadata last {"k":"v","k":"w"}', "escape '\\\\u0000'", "tensor as array",
            "shape [0,9223372036854775808,9223372036854775808]", "shape [18446744073709551615,0]", "nested 8", "nested 60"}
# Taken by us: dtypes that nobody knows yet, by their offsets.
LOOSER = {"dtype bf16", "dtype F32 ", 'dtype ""', "dtype FLOAT", "dtype F128", "damage 15", "damage 24", "damage 28", "damage 231"}

def reference(data):
    try:
        tensors = safetensors.deserialize(data)
    except safetensors.SafetensorError:
        return REFUSED, None
    return TAKEN, {name: (t["dtype"], list(t["shape"])) for name, t in tensors}


def recorded():
    with open(VERDICTS, encoding="ascii") as f:
        return [line.split() for line in f if not line.startswith("#")]


def record():
    with open(VERDICTS, "w", encoding="ascii") as f:
        f.write("# Of headers.py's cases, in order: the file's SHA-256, and what safetensors %s says.\n" % safetensors.__version__)
        for _, data in cases():
            f.write("%s %s\n" % (hashlib.sha256(data).hexdigest()[:16], reference(data)[0]))


class Reference(Case):
    def ours(self, files):
        """{file: kind and warning} of the tool, and the bundle."""
        write_tree(self.path("model"), files)
        self.run_tool("compress", "model", "-o", "bundle", "--json", "report")
        with open(self.path("report"), encoding="utf-8") as f:
            return {file["path"]: file for file in json.load(f)["files"]}

    def test_verdicts(self):
        wanted, files = recorded(), {}
        all_cases = cases()
        self.assertEqual(len(wanted), len(all_cases))
        for i, ((what, data), (digest, _)) in enumerate(zip(all_cases, wanted)):
            self.assertEqual(hashlib.sha256(data).hexdigest()[:16], digest, what)
            files["%04d.safetensors" % i] = data
        report = self.ours(files)
        for i, ((what, _), (_, verdict)) in enumerate(zip(all_cases, wanted)):
            file = report["%04d.safetensors" % i]
            got = TAKEN if file["kind"] == "safetensors" else REFUSED
            want = REFUSED if what in STRICTER else TAKEN if what in LOOSER else verdict
            with self.subTest(what=what):
                self.assertEqual(got, want, file.get("warning"))
                if what in STRICTER | LOOSER:
                    self.assertNotEqual(got, verdict, "no difference any more")
        self.assert_tree(self.restore("bundle"), files)

    @unittest.skipIf(safetensors is None, "needs the package safetensors")
    def test_the_reference_itself(self):
        for (what, data), (_, verdict) in zip(cases(), recorded()):
            self.assertEqual(reference(data)[0], verdict, what)

    @unittest.skipIf(safetensors is None, "needs the package safetensors")
    def test_tensors(self):
        taken = {"%04d.safetensors" % i: data for i, (what, data) in enumerate(cases())
                 if reference(data)[0] == TAKEN and what not in STRICTER}
        self.ours(taken)
        for file in self.inspect("bundle")["files"]:
            found = {t["name"]: (t["dtype"], t["shape"]) for t in file["tensors"]}
            self.assertEqual(found, reference(taken[file["path"]])[1], file["path"])


if __name__ == "__main__":
    if sys.argv[1:] == ["--record"]:
        record()
    else:
        unittest.main()
