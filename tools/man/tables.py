# SPDX-License-Identifier: Apache-2.0
"""A tool's own tables, as it prints them with --help=options."""

from typing import NamedTuple


class Option(NamedTuple):
    short: str
    long: str
    arg: str        # name of its argument, "" if it takes none
    values: list    # the words that the argument may be, if it is a choice
    help: str


class Tool(NamedTuple):
    name: str
    version: str
    synopsis: str
    summary: str
    epilog: str
    options: list


def read(path):
    fields, options = {}, []
    with open(path, encoding="utf-8") as f:
        for line in f:
            kind, *rest = (field.replace("\\n", "\n") for field in line.rstrip("\n").split("\t"))
            if kind == "option":
                short, long, arg, values, text = rest
                options.append(Option(short, long, arg, values.split(), text))
            else:
                fields[kind], = rest
    return Tool(options=options, **fields)
