# SPDX-License-Identifier: Apache-2.0
"""Manual pages.

    make_page.py tool TABLES TEMPLATE           a tool's page, out of its tables and what only the page says
    make_page.py concepts VERSION TEMPLATE README.md    unweight(7); exit codes are README's
    make_page.py format VERSION SPEC.md         unweight-format(5), which is SPEC.md
"""

import re
import sys

import markdown
import tables
from roff import escape, header, line


def bold(text):
    return "\\fB%s\\fR" % escape(text)


def argument(text):
    return "\\fI%s\\fR" % escape(text)


def option(o):
    names = ["\\-" + escape(o.short)] if o.short else []
    names.append("\\-\\-" + escape(o.long))
    shown = ", ".join("\\fB%s\\fR" % n for n in names)
    return ".TP\n%s\n%s\n" % (shown + (" " + argument(o.arg) if o.arg else ""), line(o.help.replace("\n", " ")))


def synopsis(tool):
    words = [argument(w) if re.fullmatch(r"\[?[A-Z]+\]?", w) else bold(w) if w.startswith("-") else escape(w)
             for w in tool.synopsis.split()]
    return ".B %s\n%s\n" % (escape(tool.name), " ".join(words))


def description(tool):
    parts = [tool.summary] + (tool.epilog.split("\n\n") if tool.epilog else [])
    parts = [p.replace("\n", " ") for p in parts]
    codes = [p for p in parts if p.startswith("Exit codes: ")]
    text = "\n.PP\n".join(line(p) for p in parts if p not in codes) + "\n"
    status = "".join(".SH EXIT STATUS\n%s\n.PP\n.BR unweight (7)\nsays what each stands for.\n" % line(c[len("Exit codes: "):].capitalize())
                     for c in codes)
    return text, status


def tool_page(tables_path, template_path):
    tool = tables.read(tables_path)
    text, status = description(tool)
    with open(template_path, encoding="utf-8") as f:
        template = f.read()
    fill = {"HEADER": header(tool.name, 1, tool.version), "SYNOPSIS": synopsis(tool), "DESCRIPTION": text,
            "OPTIONS": "".join(option(o) for o in tool.options), "EXIT STATUS": status}
    return re.sub(r"^@([A-Z ]+)@\n", lambda m: fill[m.group(1)], template, flags=re.M)


def concepts_page(version, template_path, readme):
    with open(readme, encoding="utf-8") as f:
        codes = re.findall(r"^\| (\d+) \| (.*) \|$", f.read(), flags=re.M)
    with open(template_path, encoding="utf-8") as f:
        template = f.read()
    fill = {"HEADER": header("unweight", 7, version),
            "EXIT CODES": "".join(".TP\n.B %s\n%s\n" % (code, line(markdown.plain(text))) for code, text in codes)}
    return re.sub(r"^@([A-Z ]+)@\n", lambda m: fill[m.group(1)], template, flags=re.M)


def format_page(version, spec):
    with open(spec, encoding="utf-8") as f:
        text = f.read()
    return ("'\\\" t\n" + header("unweight-format", 5, version) +
            ".SH NAME\nunweight-format \\- bundles and containers of compressed weights\n" + markdown.to_roff(text))


def main():
    make = {"tool": tool_page, "concepts": concepts_page, "format": format_page}[sys.argv[1]]
    sys.stdout.reconfigure(encoding="utf-8")
    sys.stdout.write(make(*sys.argv[2:]))


if __name__ == "__main__":
    main()
