# SPDX-License-Identifier: Apache-2.0
"""Completions of one tool for one shell: make_completion.py bash|zsh|fish TABLES"""

import sys

import tables

FILES = {"FILE", "PATH", "BUNDLE"}


def quoted(text):
    return "'%s'" % text.replace("'", "'\\''")


def words(o):
    return (["-" + o.short] if o.short else []) + ["--" + o.long]


def bash(tool):
    function = "_" + tool.name.replace("-", "_")
    cases = ""
    for o in tool.options:
        if o.values:
            action = 'COMPREPLY=($(compgen -W "%s" -- "$cur"))' % " ".join(o.values)
        elif o.arg in FILES:
            action = 'COMPREPLY=($(compgen -f -- "$cur"))'
        elif o.arg:
            action = ":"
        else:
            continue
        cases += "\t%s) %s; return ;;\n" % (" | ".join(words(o)), action)
    names = " ".join(w for o in tool.options for w in words(o))
    return """# bash completion of %(name)s, made of its option table
%(function)s()
{
	local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}
	local IFS=$' \\t\\n'
	case $prev in
%(cases)s	esac
	if [[ $cur == -* ]]; then
		COMPREPLY=($(compgen -W "%(names)s" -- "$cur"))
	else
		IFS=$'\\n'
		COMPREPLY=($(compgen -f -- "$cur"))
	fi
}
complete -o filenames -F %(function)s %(name)s
""" % {"name": tool.name, "function": function, "cases": cases, "names": names}


def zsh(tool):
    def spec(o):
        def escape(text):
            return text.split("\n")[0].replace("\\", "\\\\").replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")

        value = ""
        if o.values:
            value = ":%s:(%s)" % (o.arg, " ".join(o.values))
        elif o.arg:
            value = ":%s:%s" % (o.arg, "_files" if o.arg in FILES else " ")
        repeat = "*" if o.long in ("verbose", "quiet") else "(%s)" % " ".join(words(o))
        for w in words(o):
            sign = "=" if o.arg and w.startswith("--") else "+" if o.arg else ""
            yield "\t%s \\\n" % quoted("%s%s%s[%s]%s" % (repeat, w, sign, escape(o.help), value))

    return "#compdef %s\n# zsh completion, made of the option table\n_arguments -s -S \\\n%s\t'*:path:_files'\n" % (
        tool.name, "".join(line for o in tool.options for line in spec(o)))


def fish(tool):
    out = "# fish completion of %s, made of its option table\n" % tool.name
    for o in tool.options:
        line = "complete -c %s" % tool.name + (" -s " + o.short if o.short else "") + " -l " + o.long
        if o.values:
            line += " -x -a %s" % quoted(" ".join(o.values))
        elif o.arg:
            line += " -r -F" if o.arg in FILES else " -x"
        out += line + " -d %s\n" % ("'%s'" % o.help.replace("\n", " ").replace("\\", "\\\\").replace("'", "\\'"))
    return out


def main():
    sys.stdout.write({"bash": bash, "zsh": zsh, "fish": fish}[sys.argv[1]](tables.read(sys.argv[2])))


if __name__ == "__main__":
    main()
