/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines: from a table of options to calls of the tool's handler, and the same table as help. */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "message.h"

enum { ID_HELP, ID_VERSION, ID_QUIET, ID_VERBOSE };

static const struct uw_option builtins[] = {
	{'q', "quiet", NULL, "only errors; twice: not even those", ID_QUIET, NULL},
	{'v', "verbose", NULL, "say more", ID_VERBOSE, NULL},
	{'h', "help", NULL, "show this text; --help may show more", ID_HELP, NULL},
	{0, "version", NULL, "show the version; with --json behind it formats, features and libraries, as JSON", ID_VERSION, NULL},
	{0, NULL, NULL, NULL, 0, NULL},
};

enum { LEFT_MAX = 28 }; /* columns for an option's names; longer ones get a line of their own */

struct parser {
	const struct uw_cli *cli;
	char **argv;
	int argc, at;          /* argv[at] is looked at */
	int verbosity;
	uw_option_fn handle;
	void *opts;
	int exit_code;         /* -1: go on */
};

static int option_names(const struct uw_option *o, char *buf, size_t nbytes)
{
	char short_name[] = "    ";

	if (o->short_name != 0)
		snprintf(short_name, sizeof(short_name), "-%c, ", o->short_name);
	return snprintf(buf, nbytes, "  %.4s--%s%s%s", short_name, o->long_name, o->arg != NULL ? " " : "",
			o->arg != NULL ? o->arg : "");
}

static int left_width(const struct uw_option *o, int width)
{
	char names[96];

	for (; o->long_name != NULL; o++) {
		int n = option_names(o, names, sizeof(names));

		if (n > width && n <= LEFT_MAX)
			width = n;
	}
	return width;
}

static void print_options(const struct uw_option *o, int width)
{
	char names[96];

	for (; o->long_name != NULL; o++) {
		const char *line = o->help;

		if (option_names(o, names, sizeof(names)) <= width)
			printf("%-*s  ", width, names);
		else
			printf("%s\n%*s", names, width + 2, "");
		for (const char *eol; (eol = strchr(line, '\n')) != NULL; line = eol + 1)
			printf("%.*s\n%*s", (int)(eol - line), line, width + 2, "");
		printf("%s\n", line);
	}
}

/* Help and version are the output asked for: that they cannot be written is an error. */
static int flush_stdout(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return UW_EXIT_OK;
	uw_msg_error("cannot write to standard output");
	return UW_EXIT_IO;
}

static int print_help(const struct uw_cli *cli, bool with_epilog)
{
	int width = left_width(cli->options, left_width(builtins, 0));

	printf("Usage: %s %s\n\n%s\n\nOptions:\n", cli->name, cli->synopsis, cli->summary);
	print_options(cli->options, width);
	print_options(builtins, width);
	if (with_epilog && cli->epilog != NULL)
		printf("\n%s\n", cli->epilog);
	return flush_stdout();
}

static void print_field(const char *text)
{
	putchar('\t');
	for (; text != NULL && *text != '\0'; text++) {
		if (*text == '\n')
			fputs("\\n", stdout);
		else
			putchar(*text);
	}
}

static void print_table_options(const struct uw_option *o)
{
	for (; o->long_name != NULL; o++) {
		const char short_name[2] = { o->short_name, '\0' };

		fputs("option", stdout);
		print_field(short_name);
		print_field(o->long_name);
		print_field(o->arg);
		print_field(o->values);
		print_field(o->help);
		putchar('\n');
	}
}

/* The same for programs: lines of fields between tabs, \n for line feeds. Manual pages and completions are made of
 * it. */
static int print_table(const struct uw_cli *cli)
{
	const char *const fields[][2] = { { "name", cli->name }, { "version", UW_VERSION },
					  { "synopsis", cli->synopsis },
					  { "summary", cli->summary }, { "epilog", cli->epilog } };

	for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
		fputs(fields[i][0], stdout);
		print_field(fields[i][1]);
		putchar('\n');
	}
	print_table_options(cli->options);
	print_table_options(builtins);
	return flush_stdout();
}

/* `more` is the word behind the option, or NULL. */
static int print_version(const struct uw_cli *cli, const char *more)
{
	if (more == NULL || strcmp(more, "--json") != 0)
		printf("%s %s\n", cli->name, UW_VERSION);
	else if (!uw_version_write_json(cli->name, stdout) && !ferror(stdout))
		return UW_EXIT_SPACE;
	return flush_stdout();
}

static void usage_hint(struct parser *p)
{
	uw_msg_error("try '%s -h'", p->cli->name);
	p->exit_code = UW_EXIT_USAGE;
}

static const struct uw_option *find_in(const struct uw_option *o, char short_name, const char *name, size_t n)
{
	for (; o->long_name != NULL; o++) {
		if (name != NULL ? strncmp(o->long_name, name, n) == 0 && o->long_name[n] == '\0'
				 : o->short_name == short_name)
			return o;
	}
	return NULL;
}

/* Looks for a long name of n bytes, or for a short one if `name` is NULL. */
static const struct uw_option *find(const struct parser *p, char short_name, const char *name, size_t n, bool *builtin)
{
	const struct uw_option *o = find_in(p->cli->options, short_name, name, n);

	*builtin = o == NULL;
	return o != NULL ? o : find_in(builtins, short_name, name, n);
}

static void apply_builtin(struct parser *p, int id, bool long_form)
{
	switch (id) {
	case ID_HELP: p->exit_code = print_help(p->cli, long_form); break;
	case ID_VERSION: p->exit_code = print_version(p->cli, p->argv[p->at + 1]); break; /* NULL is the last */
	case ID_QUIET: p->verbosity -= p->verbosity > -2; break;
	case ID_VERBOSE: p->verbosity++; break;
	}
	uw_message_setup(p->cli->name, p->verbosity);
}

static void apply(struct parser *p, const struct uw_option *o, bool builtin, const char *arg, bool long_form)
{
	if (builtin)
		apply_builtin(p, o->id, long_form);
	else if (!p->handle(p->opts, o->id, arg))
		p->exit_code = UW_EXIT_USAGE;
}

static void parse_long(struct parser *p, const char *name)
{
	const char *equals = strchr(name, '=');
	size_t n = equals != NULL ? (size_t)(equals - name) : strlen(name);
	const char *arg = equals != NULL ? equals + 1 : NULL;
	bool builtin;
	const struct uw_option *o = find(p, 0, name, n, &builtin);

	if (builtin && o != NULL && o->id == ID_HELP && arg != NULL && strcmp(arg, "options") == 0) {
		p->exit_code = print_table(p->cli);
	} else if (o == NULL) {
		uw_msg_error("unknown option --%.*s", (int)n, name);
		usage_hint(p);
	} else if (o->arg == NULL && arg != NULL) {
		uw_msg_error("option --%s takes no argument", o->long_name);
		usage_hint(p);
	} else if (o->arg != NULL && arg == NULL && p->at + 1 == p->argc) {
		uw_msg_error("option --%s needs an argument: %s", o->long_name, o->arg);
		usage_hint(p);
	} else {
		if (o->arg != NULL && arg == NULL)
			arg = p->argv[++p->at];
		apply(p, o, builtin, arg, true);
	}
}

/* A bundle of short options; the first that takes an argument ends it: "-vofile". */
static void parse_short(struct parser *p, const char *s)
{
	for (; *s != '\0' && p->exit_code < 0; s++) {
		bool builtin;
		const struct uw_option *o = find(p, *s, NULL, 0, &builtin);
		const char *arg = NULL;

		if (o == NULL) {
			uw_msg_error("unknown option -%c", *s);
			usage_hint(p);
			return;
		}
		if (o->arg != NULL) {
			arg = s[1] != '\0' ? s + 1 : p->at + 1 < p->argc ? p->argv[++p->at] : NULL;
			if (arg == NULL) {
				uw_msg_error("option -%c needs an argument: %s", *s, o->arg);
				usage_hint(p);
				return;
			}
		}
		apply(p, o, builtin, arg, false);
		if (arg != NULL)
			return;
	}
}

static void check_nargs(struct parser *p, int nargs)
{
	if (nargs >= p->cli->min_args && nargs <= p->cli->max_args)
		return;
	if (nargs < p->cli->min_args)
		uw_msg_error("missing argument; usage: %s %s", p->cli->name, p->cli->synopsis);
	else
		uw_msg_error("too many arguments: %s", p->argv[1 + p->cli->max_args]);
	usage_hint(p);
}

/* A standard descriptor that was closed would be the next that is opened: messages would go into a bundle. A folder takes
 * its place, which can be neither read nor written. */
static void occupy_standard_descriptors(void)
{
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/", O_RDONLY | O_DIRECTORY) != fd)
			return; /* open gives the lowest that is free, unless there is none */
}

struct uw_cli_result uw_cli_parse(const struct uw_cli *cli, int argc, char **argv, uw_option_fn handle, void *opts)
{
	struct parser p = {.cli = cli, .argv = argv, .argc = argc, .handle = handle, .opts = opts, .exit_code = -1};
	bool only_args = false;
	int nargs = 0;

	occupy_standard_descriptors();
	uw_message_setup(cli->name, 0);
	for (p.at = 1; p.at < argc && p.exit_code < 0; p.at++) {
		char *word = argv[p.at];

		if (only_args || word[0] != '-' || word[1] == '\0') { /* "-" is an argument */
			argv[p.at] = argv[1 + nargs];
			argv[1 + nargs++] = word;
		} else if (strcmp(word, "--") == 0) {
			only_args = true;
		} else if (word[1] == '-') {
			parse_long(&p, word + 2);
		} else {
			parse_short(&p, word + 1);
		}
	}
	if (p.exit_code < 0)
		check_nargs(&p, nargs);
	return (struct uw_cli_result){.exit_code = p.exit_code, .nargs = nargs, .args = argv + 1,
				      .verbosity = p.verbosity};
}
