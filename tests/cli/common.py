# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line tools share: running a tool, making models and archives, looking at trees.

UW_TOOLS names the folder of the executables, UW_WRAPPER the command that runs them if this machine cannot by itself. They
may be built with sanitizers: what those find fails the test.
"""

import hashlib
import io
import json
import os
import random
import shlex
import shutil
import stat
import struct
import subprocess
import tarfile
import tempfile
import unittest
import zipfile
from array import array

TOOLS = os.environ.get("UW_TOOLS", "")
WRAPPER = shlex.split(os.environ.get("UW_WRAPPER", ""))
WRAPPER[:1] = [shutil.which(name) or name for name in WRAPPER[:1]]      # tests empty $PATH
TIMEOUT = 120
PROFILES = "distribution", "inference"
MANIFEST = "unweight.json"


def tool_path(name):
    return os.path.join(TOOLS, "unweight-" + name)


def tool_command(name, *args):
    return [*WRAPPER, tool_path(name), *args]


def environment(**changes):
    """The caller's environment without what would change a tool's behaviour; changes to None take a variable out."""
    env = {k: v for k, v in os.environ.items() if not k.startswith("LC_") and k not in ("CI", "NO_COLOR", "LANG")}
    env.setdefault("ASAN_OPTIONS", "exitcode=99")
    env.update(changes)
    return {k: v for k, v in env.items() if v is not None}


# ---- safetensors

def safetensors(tensors, metadata=None, align=8, text=None):
    """A file of tensors (name, dtype, shape, data), laid out in this order; align=1 leaves the header's size as it comes."""
    if text is None:
        header = {} if metadata is None else {"__metadata__": metadata}
        at = 0
        for name, dtype, shape, data in tensors:
            header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [at, at + len(data)]}
            at += len(data)
        text = json.dumps(header, ensure_ascii=False)
    head = text if isinstance(text, bytes) else text.encode()
    head += b" " * (-len(head) % align)
    return struct.pack("<Q", len(head)) + head + b"".join(t[3] for t in tensors)


def words(values):
    a = array("H", values)
    if struct.pack("=H", 1) != struct.pack("<H", 1):
        a.byteswap()
    return a.tobytes()


def bf16(exponents, rng):
    """Weights with these exponents, random signs and mantissas."""
    return words((s & 0x80) << 8 | e << 7 | s & 0x7F for e, s in zip(exponents, rng.randbytes(len(exponents))))


def weights(n, seed=1):
    """n weights as trained ones are: exponents around 120, each half as frequent as the one above it."""
    rng = random.Random(seed)
    block = rng.choices(range(104, 124), [2.0 ** min(i, 36 - i) for i in range(20)], k=min(n, 20000))
    exponents = (block * (n // max(len(block), 1) + 1))[:n]
    return bf16(exponents, rng)


def rows_of_scales(nrows, ncols, seed=1):
    """Weights whose rows have scales of their own, up to 2^6 apart."""
    rng = random.Random(seed)
    row = rng.choices(range(104, 124), [2.0 ** min(i, 36 - i) for i in range(20)], k=ncols)
    return b"".join(bf16([e + scale for e in row], rng) for scale in rng.choices((0, 2, 4, 6), k=nrows))


def histogram(counts, seed=1):
    """Weights with exactly this many of each exponent {exponent: count}, shuffled."""
    rng = random.Random(seed)
    exponents = [e for e, n in counts.items() for _ in range(n)]
    rng.shuffle(exponents)
    return bf16(exponents, rng)


def small_model(seed=1):
    return safetensors([("w", "BF16", (48, 64), weights(48 * 64, seed))], {"format": "pt"})


# ---- trees: {path: bytes, or (bytes, executable)}

def content(value):
    return value if isinstance(value, tuple) else (value, False)


def normal(tree):
    return {path: content(value) for path, value in tree.items()}


def write_tree(folder, tree):
    os.makedirs(folder, exist_ok=True)
    for path, value in tree.items():
        data, executable = content(value)
        full = os.path.join(folder, path)
        os.makedirs(os.path.dirname(full), exist_ok=True)
        with open(full, "wb") as f:
            f.write(data)
        os.chmod(full, 0o755 if executable else 0o644)
    return folder


def read_tree(folder):
    tree = {}
    for at, folders, files in os.walk(folder):
        for name in folders + files:
            full = os.path.join(at, name)
            mode = os.lstat(full).st_mode
            if stat.S_ISREG(mode):
                with open(full, "rb") as f:
                    tree[os.path.relpath(full, folder)] = f.read(), bool(mode & 0o100)
            elif not stat.S_ISDIR(mode):
                tree[os.path.relpath(full, folder)] = "no regular file", False
    return tree


def read(path):
    with open(path, "rb") as f:
        return f.read()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)
    return path


# ---- archives

def tar_member(path, data=b"", executable=False, **fields):
    """A member and its data; fields override those of tarfile.TarInfo."""
    info = tarfile.TarInfo(path)
    info.size = len(data)
    info.mode = 0o755 if executable else 0o644
    for name, value in fields.items():
        setattr(info, name, value)
    return info, data


def tar_bytes(members, fmt=tarfile.PAX_FORMAT):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=fmt) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def tar_of(tree, prefix=""):
    return tar_bytes(tar_member(prefix + path, *content(value)) for path, value in tree.items())


def zip_of(tree):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for path, value in tree.items():
            data, executable = content(value)
            info = zipfile.ZipInfo(path)
            info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            z.writestr(info, data)
    return out.getvalue()


def tree_of_tar(data):
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return {m.name: (tar.extractfile(m).read() if m.isreg() else "no regular file", bool(m.mode & 0o100)) for m in tar}


def tree_of_zip(path):
    with zipfile.ZipFile(path) as z:
        return {i.filename: (z.read(i), bool(i.external_attr >> 16 & 0o100)) for i in z.infolist()}


# ---- manifests

def seal(top):
    """The text of a manifest, with the digest that makes it look right."""
    head = json.dumps({k: v for k, v in top.items() if k != "manifest_sha256"}, ensure_ascii=False)[:-1] + ",\n"
    return (head + '"manifest_sha256":"%s"}\n' % hashlib.sha256(head.encode()).hexdigest()).encode()


def read_manifest(bundle):
    return json.loads(read(os.path.join(bundle, MANIFEST)))


def change_manifest(bundle, change):
    top = read_manifest(bundle)
    change(top)
    write(os.path.join(bundle, MANIFEST), seal(top))


def has_room(folder):
    """For what one test writes; a container's /dev/shm may have 64 MiB."""
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free >= 2 << 30


# ---- test cases

class Case(unittest.TestCase):
    """A folder for each test, and the promise that tools leave no temporary files in it or in $TMPDIR."""
    leaves = False  # set by a test that kills a tool
    large = False   # set by tests of gigabytes; the others need no disk, which would be flushed thousands of times
    maxDiff = 2000

    def setUp(self):
        self.assertTrue(os.path.exists(tool_path("compress")), "UW_TOOLS has to name the folder of the tools")
        in_memory = not self.large and "TMPDIR" not in os.environ and has_room("/dev/shm")
        self.dir = tempfile.mkdtemp(prefix="uw-cli-", dir="/dev/shm" if in_memory else None)
        self.addCleanup(shutil.rmtree, self.dir, True)
        self.tmp = self.path("tmpdir")
        os.mkdir(self.tmp)

    def tearDown(self):
        if not self.leaves:
            self.assert_clean()

    def assert_clean(self):
        self.assertEqual(os.listdir(self.tmp), [])
        for at, folders, files in os.walk(self.dir):
            self.assertEqual([n for n in folders + files if n.endswith(".tmp")], [], at)

    def path(self, name):
        return os.path.join(self.dir, name)

    def check_output(self, r):
        for text in ("Sanitizer", "runtime error:"):
            self.assertNotIn(text, r.stderr, r.args)
        self.assertNotEqual(r.returncode, 70, r.stderr)

    def run_tool(self, name, *args, expect=0, text=True, env=None, **more):
        """Runs a tool; stdout is text unless told otherwise, stderr always is."""
        more.setdefault("cwd", self.dir)
        if "input" not in more:
            more.setdefault("stdin", subprocess.DEVNULL)
        r = subprocess.run(tool_command(name, *args), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=TIMEOUT,
                           env=environment(**{"TMPDIR": self.tmp, **(env or {})}), check=False, **more)
        r.stderr = r.stderr.decode("utf-8", "backslashreplace")
        if text:
            r.stdout = r.stdout.decode()
        self.check_output(r)
        if expect is not None:
            self.assertEqual(r.returncode, expect, "%s: %s" % (args, r.stderr))
        return r

    def compress(self, source, out="bundle", *args, **more):
        r = self.run_tool("compress", source, "-o", out, *args, **more)
        self.assertEqual(r.stdout, "" if more.get("text", True) else b"")
        return self.path(out)

    def restore(self, bundle, out="restored", *args, **more):
        self.run_tool("decompress", bundle, "-o", out, *args, **more)
        return self.path(out)

    def inspect(self, bundle, *args):
        return json.loads(self.run_tool("inspect", "--json", bundle, *args).stdout)

    def model(self, tree, name="model"):
        return write_tree(self.path(name), tree)

    def bundle(self, tree, name="bundle", *args):
        self.model(tree, name + ".source")
        return self.compress(name + ".source", name, *args)

    def assert_tree(self, folder, tree):
        got, want = read_tree(folder), normal(tree)
        self.assertEqual(sorted(got), sorted(want))
        for path in want:
            self.assertTrue(got[path] == want[path], "%s differs from its source" % path)

    def assert_nothing(self, name):
        self.assertFalse(os.path.lexists(self.path(name)), name)
