# SPDX-License-Identifier: Apache-2.0
"""The manifest of a bundle (1.1)."""

import hashlib

from rules import Corrupt, check, parse_json

MANIFEST = "unweight.json"
SEAL = b'"manifest_sha256":"'


def is_hex(value, digits):
    return isinstance(value, str) and len(value) == digits and set(value) <= set("0123456789abcdef")


def is_size(value):
    return type(value) is int and 0 <= value < 1 << 63


def members(value, names, what):
    check(isinstance(value, dict) and set(value) == set(names), what + ": not an object of the members " + ", ".join(names))


def check_path(path):
    check(isinstance(path, str), "manifest: path is not a string")
    try:
        raw = path.encode("utf-8")
    except UnicodeEncodeError:
        raise Corrupt("manifest: path is not UTF-8") from None
    check(1 <= len(raw) <= 4096, "manifest: length of a path")
    check(all(part not in ("", ".", "..") for part in path.split("/")), "manifest: bad component in a path")
    check(all(byte >= 0x20 and byte != 0x7F and byte != ord("\\") for byte in raw), "manifest: bad byte in a path")
    return raw


def parse_manifest(data):
    """The file objects of the manifest, and the digest of the base or None."""
    text, seal, tail = data[:-86], data[-86:-67], data[-67:]
    check(len(data) >= 86 and seal == SEAL and tail[64:] == b'"}\n', "manifest: does not end in its digest")
    check(hashlib.sha256(text).hexdigest().encode() == tail[:64], "manifest: wrong digest")
    top = parse_json(data, "manifest")
    check(isinstance(top, dict) and type(top.get("unweight_bundle")) is int, "manifest: no version")
    check(top["unweight_bundle"] in (1, 2), "manifest: unknown version")
    based = top["unweight_bundle"] == 2
    members(top, ("unweight_bundle", "profile", "source", "files", "manifest_sha256") + ("base",) * based, "manifest")
    if based:
        members(top["base"], ("source_sha256",), "manifest: base")
        check(is_hex(top["base"]["source_sha256"], 64), "manifest: bad digest of the base")
    check(top["profile"] in ("distribution", "inference"), "manifest: unknown profile")
    check(top["source"] in ("folder", "file"), "manifest: unknown source")
    files = top["files"]
    check(isinstance(files, list), "manifest: files is not an array")
    before = b""
    paths = set()
    for file in files:
        members(file, ("path", "size", "sha256", "executable", "container"), "manifest: file")
        path = check_path(file["path"])
        check(path > before, "manifest: paths do not ascend")
        before = path
        check(is_size(file["size"]), "manifest: bad size")
        check(is_hex(file["sha256"], 64), "manifest: bad sha256")
        check(isinstance(file["executable"], bool), "manifest: executable is not a boolean")
        container = file["container"]
        if container is None:
            check(not path.endswith(b".uw") and file["path"] != MANIFEST, "manifest: such a file cannot be plain")
        else:
            members(container, ("size", "index_xxh3"), "manifest: container")
            check(is_size(container["size"]), "manifest: bad container size")
            check(is_hex(container["index_xxh3"], 16), "manifest: bad index_xxh3")
        paths.add(file["path"])
    for path in paths:
        parts = path.split("/")
        check(all("/".join(parts[:i]) not in paths for i in range(1, len(parts))), "manifest: a file is also a folder")
    check(top["source"] != "file" or len(files) == 1, "manifest: source is a file, but there is not exactly one")
    return files, top["base"]["source_sha256"] if based else None
