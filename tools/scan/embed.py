# SPDX-License-Identifier: Apache-2.0
"""embed.py OUT NAME=FILE...: a C header with each file as a string, for the page has to stand alone."""
import sys

out, *items = sys.argv[1:]
with open(out, "w", encoding="ascii") as f:
    f.write("/* Made by embed.py. */\n")
    for item in items:
        name, path = item.split("=", 1)
        with open(path, "rb") as source:
            data = source.read()
        f.write(f"static const char {name}[] =")
        for line in data.splitlines(keepends=True):
            text = "".join(chr(b) if 32 <= b < 127 and b not in b'"\\?' else f"\\{b:03o}" for b in line)
            f.write(f'\n\t"{text}"')
        f.write(";\n")
