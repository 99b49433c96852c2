# SPDX-License-Identifier: Apache-2.0
"""Text as roff wants it."""

SPECIAL = {"\\": "\\(rs", "-": "\\-", "'": "\\(aq", "`": "\\(ga", "^": "\\(ha", "~": "\\(ti", "\u00b7": "\\(bu", "\u2264": "\\(<=",
           "\u2265": "\\(>=", "\u00d7": "\\(mu", "\u2026": "...", "\u2192": "\\(->"}


def escape(text):
    out = "".join(SPECIAL.get(c, c) for c in text)
    if not out.isascii():
        raise ValueError("no roff for %r" % [c for c in out if not c.isascii()])
    return out


def line(text, escaped=False):
    """A paragraph: sentences on lines of their own, none of which looks like a request."""
    out = text if escaped else escape(text)
    lines = out.replace(". ", ".\n").replace("? ", "?\n").split("\n")
    return "\n".join("\\&" + l if l[:1] in (".", "'") else l for l in lines)


def header(name, section, version):
    return ".TH %s %d \"\" \"unweight %s\"\n" % (escape(name.upper()), section, version)
