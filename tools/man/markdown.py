# SPDX-License-Identifier: Apache-2.0
"""The Markdown of our documents as roff: headings, paragraphs, lists, tables, indented code, emphasis, links."""

import re

from roff import escape, line


def plain(text):
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    return re.sub(r"(\*\*|\*|`)(\S(?:.*?\S)?)\1", r"\2", text)


def inline(text):
    """Emphasis in italics, code and strong words in bold."""
    out = []
    text = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text)
    for part in re.split(r"(`[^`]+`|\*\*[^*]+\*\*|(?<![\w*])\*[^*\s][^*]*\*(?![\w*]))", text):
        if part[:1] == "`" and part[-1:] == "`" and len(part) > 1:
            out.append("\\fB%s\\fR" % escape(part[1:-1]))
        elif part[:2] == "**" and len(part) > 4:
            out.append("\\fB%s\\fR" % escape(part[2:-2]))
        elif part[:1] == "*" and part[-1:] == "*" and len(part) > 2:
            out.append("\\fI%s\\fR" % escape(part[1:-1]))
        else:
            out.append(escape(part))
    return "".join(out)


def cells(row):
    return [c.strip().replace("\\|", "|") for c in re.split(r"(?<!\\)\|", row.strip()[1:-1])]


def table(rows):
    head, body = cells(rows[0]), [cells(r) for r in rows[2:]]
    left = len(head) - 1
    out = [".TS", "lb " * left + "lbx", "l " * left + "lx.", "\t".join(inline(c) for c in head)]
    for row in body:
        out.append("\t".join(inline(c) for c in row[:-1]) + "\tT{\n%s\nT}" % line(inline(row[-1]), escaped=True))
    return "\n".join(out + [".TE"])


def heading(text):
    level, title = re.fullmatch(r"(#+) (.*)", text).groups()
    title = inline(title)
    return "" if len(level) == 1 else "%s %s" % (".SH" if len(level) == 2 else ".SS", title.upper() if len(level) == 2 else title)


def kind_of(text):
    for kind, pattern in (("heading", "#"), ("table", r"\|"), ("code", "    "), ("item", r"- "), ("blank", r"\s*$")):
        if re.match(pattern, text):
            return kind
    return "text"


def blocks(text):
    """Runs of lines of one kind; text goes on behind an item."""
    kind, run = "blank", []
    for current in text.split("\n"):
        new = kind_of(current)
        if new in ("heading", "item", "blank") or (new != kind and not (kind == "item" and new in ("text", "code") and run)):
            if run:
                yield kind, run
            kind, run = new, []
        if new != "blank":
            run.append(current)
    if run:
        yield kind, run


def block(kind, run):
    if kind == "table":
        return table(run)
    if kind == "code":
        return ".nf\n.RS 4\n%s\n.RE\n.fi" % "\n".join("\\&" + escape(l[4:]) for l in run)
    return line(inline(" ".join(l.strip() for l in run)), escaped=True)


def to_roff(text):
    out = [".SH DESCRIPTION"]
    for kind, run in blocks(text):
        if kind == "heading":
            out.append(heading(run[0]))
        elif kind == "item":
            out.append(".IP \\(bu 2\n" + line(inline(" ".join(l.strip() for l in run)[2:]), escaped=True))
        else:
            if not out[-1].startswith((".SH", ".SS")):
                out.append(".PP")
            out.append(block(kind, run))
        out = [o for o in out if o]
    return "\n".join(out) + "\n"
