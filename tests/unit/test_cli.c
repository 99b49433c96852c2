/* SPDX-License-Identifier: Apache-2.0 */
/* Command lines, messages, sizes, exit codes and thread counts. */
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "cgroup.h"
#include "cli.h"

static const struct uw_option options[] = {
	{'o', "out", "PATH", "where to", 'o'},
	{'f', "force", NULL, "overwrite\non purpose", 'f'},
	{0, "level", "N", "how much", 'l'},
	{0, "a-name-far-too-long-for-the", "COLUMN", "help", 'x'},
	{0, NULL, NULL, NULL, 0},
};

static const struct uw_cli cli = {
	.name = "tool", .synopsis = "A [B]", .summary = "Does it.", .epilog = "The end.",
	.options = options, .min_args = 1, .max_args = 2,
};

/* Writes down what it is called with: "o=x f= ". A level that is no digit is no good. */
static bool handle(void *opts, int id, const char *arg)
{
	char *log = opts;
	size_t n = strlen(log);

	snprintf(log + n, 256 - n, "%c=%s ", id, arg != NULL ? arg : "");
	return id != 'l' || (arg[0] >= '0' && arg[0] <= '9' && arg[1] == '\0');
}

/* Runs parse with stdout or stderr caught. Words are split at spaces; "~" is an empty word. */
struct run {
	char log[256], args[256], output[4096];
	struct uw_cli_result result;
};

static int catch_begin(int fd, FILE **file)
{
	int saved = dup(fd);

	fflush(NULL);
	*file = tmpfile();
	assert_non_null(*file);
	dup2(fileno(*file), fd);
	return saved;
}

static void catch_end(int fd, int saved, FILE *file, char *text, size_t nbytes)
{
	fflush(NULL);
	dup2(saved, fd);
	close(saved);
	rewind(file);
	nbytes = fread(text, 1, nbytes - 1, file);
	text[nbytes] = '\0';
	fclose(file);
}

static void parse(const char *line, int fd, struct run *r)
{
	static char words[256];
	char *argv[32], *save;
	int argc = 1, saved;
	FILE *file;

	memset(r, 0, sizeof(*r));
	snprintf(words, sizeof(words), "%s", line);
	argv[0] = words + sizeof(words) - 1;
	for (char *w = strtok_r(words, " ", &save); w != NULL; w = strtok_r(NULL, " ", &save))
		argv[argc++] = strcmp(w, "~") == 0 ? w + 1 : w;
	argv[argc] = NULL;
	saved = catch_begin(fd, &file);
	r->result = uw_cli_parse(&cli, argc, argv, handle, r->log);
	catch_end(fd, saved, file, r->output, sizeof(r->output));
	for (int i = 0; i < r->result.nargs; i++) {
		strcat(r->args, r->result.args[i]);
		strcat(r->args, " ");
	}
}

static void parsing(void **state)
{
	static const struct {
		const char *line;
		int exit_code;
		const char *log, *args;
		int verbosity;
	} cases[] = {
		{"a", -1, "", "a ", 0},
		{"a b", -1, "", "a b ", 0},
		{"-o x a", -1, "o=x ", "a ", 0},
		{"a -ox -f b", -1, "o=x f= ", "a b ", 0},
		{"-fox a", -1, "f= o=x ", "a ", 0},
		{"-fqo x a", -1, "f= o=x ", "a ", -1},
		{"-o=x a", -1, "o==x ", "a ", 0},
		{"--out=x a", -1, "o=x ", "a ", 0},
		{"--out x a", -1, "o=x ", "a ", 0},
		{"--out= a", -1, "o= ", "a ", 0},
		{"--out=a=b a", -1, "o=a=b ", "a ", 0},
		{"--out --force a", -1, "o=--force ", "a ", 0},
		{"-o -- a", -1, "o=-- ", "a ", 0},
		{"a --force b", -1, "f= ", "a b ", 0},
		{"-- -f --out", -1, "", "-f --out ", 0},
		{"a -- --", -1, "", "a -- ", 0},
		{"-", -1, "", "- ", 0},
		{"~", -1, "", " ", 0},
		{"-q a", -1, "", "a ", -1},
		{"-qq a", -1, "", "a ", -2},
		{"-qqqq a", -1, "", "a ", -2},
		{"-q --verbose --verbose a", -1, "", "a ", 1},
		{"--level 3 a", -1, "l=3 ", "a ", 0},
		{"--level=x a", 2, "l=x ", NULL, 0},
		{"", 2, "", NULL, 0},
		{"a b c", 2, "", NULL, 0},
		{"a -z", 2, "", NULL, 0},
		{"a -fz", 2, "f= ", NULL, 0},
		{"a --zzz", 2, "", NULL, 0},
		{"a --forc", 2, "", NULL, 0},
		{"a --forced", 2, "", NULL, 0},
		{"a --=x", 2, "", NULL, 0},
		{"a --force=x", 2, "", NULL, 0},
		{"a --help=x", 2, "", NULL, 0},
		{"a -o", 2, "", NULL, 0},
		{"a -fo", 2, "f= ", NULL, 0},
		{"a --out", 2, "", NULL, 0},
		{"-z --out=later a", 2, "", NULL, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct run r;

		parse(cases[i].line, STDERR_FILENO, &r);
		if (r.result.exit_code != cases[i].exit_code)
			fail_msg("'%s' exits %d", cases[i].line, r.result.exit_code);
		assert_string_equal(r.log, cases[i].log);
		if (cases[i].args != NULL)
			assert_string_equal(r.args, cases[i].args);
		if (cases[i].exit_code < 0)
			assert_int_equal(r.result.verbosity, cases[i].verbosity);
		if (cases[i].exit_code < 0)
			assert_string_equal(r.output, "");
	}
}

static void usage_errors_say_why(void **state)
{
	struct run r;

	(void)state;
	parse("a --zz\033[2J=1", STDERR_FILENO, &r);
	assert_string_equal(r.output, "tool: unknown option --zz\\x1B[2J\ntool: try 'tool -h'\n");
	parse("a -o", STDERR_FILENO, &r);
	assert_string_equal(r.output, "tool: option -o needs an argument: PATH\ntool: try 'tool -h'\n");
	parse("", STDERR_FILENO, &r);
	assert_string_equal(r.output, "tool: missing argument; usage: tool A [B]\ntool: try 'tool -h'\n");
	parse("a b c", STDERR_FILENO, &r);
	assert_string_equal(r.output, "tool: too many arguments: c\ntool: try 'tool -h'\n");
	parse("-qq", STDERR_FILENO, &r);
	assert_string_equal(r.output, "");
}

static void help(void **state)
{
	static const char text[] =
		"Usage: tool A [B]\n\nDoes it.\n\nOptions:\n"
		"  -o, --out PATH  where to\n"
		"  -f, --force     overwrite\n"
		"                  on purpose\n"
		"      --level N   how much\n"
		"      --a-name-far-too-long-for-the COLUMN\n"
		"                  help\n"
		"  -q, --quiet     only errors; twice: not even those\n"
		"  -v, --verbose   say more\n"
		"  -h, --help      show this text; --help may show more\n"
		"      --version   show the version; with --json behind it formats, features and libraries, as JSON\n";
	struct run r;

	(void)state;
	parse("-h --zzz", STDOUT_FILENO, &r); /* what follows does not matter */
	assert_int_equal(r.result.exit_code, 0);
	assert_string_equal(r.output, text);
	parse("--help", STDOUT_FILENO, &r);
	assert_int_equal(r.result.exit_code, 0);
	assert_int_equal(strncmp(r.output, text, strlen(text)), 0);
	assert_string_equal(r.output + strlen(text), "\nThe end.\n");
	parse("--version", STDOUT_FILENO, &r);
	assert_int_equal(r.result.exit_code, 0);
	assert_string_equal(r.output, "tool " UW_VERSION "\n");
}

static void assert_escaped(const char *text, size_t n, const char *expected)
{
	char *line = NULL;
	size_t nbytes;
	FILE *f = open_memstream(&line, &nbytes);

	assert_non_null(f);
	uw_print_escaped(f, text, n);
	fclose(f);
	assert_string_equal(line, expected);
	free(line);
}

static void escaping(void **state)
{
	static const struct {
		const char *text, *expected;
	} cases[] = {
		{"plain ~ text\\", "plain ~ text\\"},
		{"\n\t\x1b[31m\x7f", "\\x0A\\x09\\x1B[31m\\x7F"},
		{"na\xc3\xafve \xe6\xa8\xa1 \xf0\x9f\xa6\x99", "na\xc3\xafve \xe6\xa8\xa1 \xf0\x9f\xa6\x99"},
		{"\xc2\x9b" "31m\xc2\xa0", "\\xC2\\x9B31m\xc2\xa0"},                 /* C1 CSI; the next is a space */
		{"a\xe2\x80\xae" "b\xe2\x81\xa6\xd8\x9c", "a\\xE2\\x80\\xAEb\\xE2\\x81\\xA6\\xD8\\x9C"}, /* bidi */
		{"\xe2\x80\xa8\xe2\x80\x8f\xe2\x81\xa9", "\\xE2\\x80\\xA8\\xE2\\x80\\x8F\\xE2\\x81\\xA9"},
		{"\xe2\x80\xa7\xe2\x80\xaf", "\xe2\x80\xa7\xe2\x80\xaf"},             /* their neighbours */
		{"\x80\xff\xc3", "\\x80\\xFF\\xC3"},
		{"\xc0\xaf\xe0\x80\xaf\xf0\x80\x80\xaf", "\\xC0\\xAF\\xE0\\x80\\xAF\\xF0\\x80\\x80\\xAF"},
		/* overlong */
		{"\xed\xa0\x80\xf4\x90\x80\x80\xf5", "\\xED\\xA0\\x80\\xF4\\x90\\x80\\x80\\xF5"},
		{"\xe6\xa8z", "\\xE6\\xA8z"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_escaped(cases[i].text, strlen(cases[i].text), cases[i].expected);
	assert_escaped("a\0b\xe6\xa8\xa1", 5, "a\\x00b\\xE6\\xA8"); /* cut by n */
}

static void messages(void **state)
{
	static const struct uw_error full = {UW_ERR_IO, 5, 4096, "cannot read 'x\ny'"};
	static const struct uw_error bare = {.status = UW_ERR_CHECKSUM, .file_off = UW_NO_OFFSET};
	struct run r;
	char text[1024];
	FILE *file;
	int saved;

	(void)state;
	parse("a", STDERR_FILENO, &r);
	saved = catch_begin(STDERR_FILENO, &file);
	uw_msg_info("not shown");
	uw_msg_warn("%s %d", "warning", 1);
	assert_int_equal(uw_msg_failure("p\033", &full), UW_EXIT_IO);
	assert_int_equal(uw_msg_failure(NULL, &bare), UW_EXIT_CORRUPT);
	catch_end(STDERR_FILENO, saved, file, text, sizeof(text));
	assert_string_equal(text, "tool: warning 1\n"
				  "tool: p\\x1B: cannot read 'x\\x0Ay': Input/output error, at offset 4096\n"
				  "tool: checksum mismatch\n");
	parse("-q a", STDERR_FILENO, &r);
	saved = catch_begin(STDERR_FILENO, &file);
	uw_msg_warn("not shown");
	uw_msg_error("shown");
	catch_end(STDERR_FILENO, saved, file, text, sizeof(text));
	assert_string_equal(text, "tool: shown\n");
	parse("-v a", STDERR_FILENO, &r);
	saved = catch_begin(STDERR_FILENO, &file);
	uw_msg_info("shown");
	catch_end(STDERR_FILENO, saved, file, text, sizeof(text));
	assert_string_equal(text, "tool: shown\n");
}

static void progress_is_silent_off_a_terminal(void **state)
{
	struct uw_progress p;
	char text[64];
	FILE *file;
	int saved = catch_begin(STDERR_FILENO, &file);

	(void)state;
	uw_progress_begin(&p, "work", 100);
	uw_progress_add(&p, 60);
	uw_progress_add(&p, 40);
	uw_progress_end(&p);
	catch_end(STDERR_FILENO, saved, file, text, sizeof(text));
	assert_string_equal(text, "");
	assert_int_equal(p.done, 100);
}

static void human_sizes(void **state)
{
	static const struct {
		uint64_t nbytes;
		const char *text;
	} cases[] = {
		{0, "0 B"},           {1023, "1023 B"},         {1024, "1.00 KiB"},         {1536, "1.50 KiB"},
		{1048575, "1.00 MiB"}, {1048576, "1.00 MiB"},   {1320702444, "1.23 GiB"},   {UINT64_MAX, "16.00 EiB"},
	};
	char buf[32];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_string_equal(uw_human_size(cases[i].nbytes, buf), cases[i].text);
}

static void exit_codes(void **state)
{
	static const struct {
		enum uw_status status;
		int exit_code;
	} cases[] = {
		{UW_OK, 0},             {UW_ERR_ARG, 2},        {UW_ERR_SPACE, 70},    {UW_ERR_UNSUPPORTED, 8},
		{UW_ERR_EXISTS, 4},     {UW_ERR_NOT_FOUND, 3},  {UW_ERR_CANCELLED, 124}, {UW_ERR_MAGIC, 5},
		{UW_ERR_VERSION, 8},    {UW_ERR_FEATURE, 8},    {UW_ERR_TRUNCATED, 5}, {UW_ERR_LAYOUT, 5},
		{UW_ERR_CHECKSUM, 5},   {UW_ERR_MISMATCH, 1},   {UW_ERR_TABLE, 5},     {UW_ERR_BITS, 5},
		{UW_ERR_PATCH, 5},      {UW_ERR_FORMAT, 3},     {UW_ERR_PATH, 3},      {UW_ERR_IO, 6},
		{UW_ERR_NOMEM, 7},      {UW_ERR_NOSPACE, 7},    {UW_ERR_NO_DEVICE, 8}, {UW_ERR_DEVICE, 6},
		{UW_ERR_SHAPE, 8},      {UW_ERR_INTERNAL, 70},  {(enum uw_status)99, 70},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		assert_int_equal(uw_exit_of_status(cases[i].status), cases[i].exit_code);
}

static void thread_arguments(void **state)
{
	static const char *const bad[] = {"", "x", "-1", "+1", " 1", "1 ", "1x", "1025", "99999999999999999999"};
	unsigned n = 77;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(uw_parse_threads(bad[i], &n));
	assert_int_equal(n, 77);
	assert_true(uw_parse_threads("1024", &n));
	assert_int_equal(n, 1024);
	assert_true(uw_parse_threads("007", &n));
	assert_int_equal(n, 7);
	assert_true(uw_parse_threads("0", &n));
	assert_in_range(n, 1, 1024);
	assert_true(uw_cpus_available() >= 1);
}

static char work[] = "/tmp/uw-test-cli-XXXXXX";

static void put(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", work, name);
	f = fopen(path, "wb");
	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

static void put_folder(const char *name)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", work, name);
	assert_int_equal(mkdir(path, 0755), 0);
}

static unsigned quota(const char *self)
{
	char path[256];

	put("self", self);
	snprintf(path, sizeof(path), "%s/self", work);
	return uw_cgroup_cpus(path, work);
}

static uint64_t memory(const char *self)
{
	char path[256];

	put("self", self);
	snprintf(path, sizeof(path), "%s/self", work);
	return uw_cgroup_memory(path, work);
}

static void cgroup_quotas(void **state)
{
	static const char *const files[] = {
		"self", "memory.max", "a/memory.max", "memory/g/memory.limit_in_bytes", "memory/g", "memory",
		"cpu.max", "a/cpu.max", "a/b/cpu.max", "cpu,cpuacct/g/cpu.cfs_quota_us",
		"cpu,cpuacct/g/cpu.cfs_period_us", "cpu,cpuacct/g", "cpu,cpuacct", "a/b", "a", "",
	};

	(void)state;
	assert_non_null(mkdtemp(work));
	assert_int_equal(uw_cgroup_cpus("/nonexistent", work), UINT_MAX);
	put_folder("a");
	put_folder("a/b");
	put_folder("cpu,cpuacct");
	put_folder("cpu,cpuacct/g");
	assert_int_equal(quota("0::/a/b\n"), UINT_MAX);
	put("a/b/cpu.max", "max 100000\n");
	assert_int_equal(quota("0::/a/b\n"), UINT_MAX);
	put("a/cpu.max", "250000 100000\n"); /* the parent's counts; 2.5 CPUs are 3 threads */
	assert_int_equal(quota("0::/a/b\n"), 3);
	put("a/b/cpu.max", "1000 100000\n");
	assert_int_equal(quota("0::/a/b\n"), 1);
	put("cpu.max", "400000 100000\n");
	assert_int_equal(quota("0::/\n"), 4);
	assert_int_equal(quota("0::/not/mounted/here\n"), 4);
	put("cpu,cpuacct/g/cpu.cfs_period_us", "50000\n");
	put("cpu,cpuacct/g/cpu.cfs_quota_us", "100000\n");
	assert_int_equal(quota("5:memory:/g\n4:cpu,cpuacct:/g\n"), 2);
	assert_int_equal(quota("4:cpuset:/g\n"), UINT_MAX);
	put("cpu,cpuacct/g/cpu.cfs_quota_us", "-1\n");
	assert_int_equal(quota("4:cpu,cpuacct:/g\n"), UINT_MAX);
	assert_int_equal(quota("garbage\n\n:\n0:\n"), UINT_MAX);
	assert_true(memory("0::/a/b\n") == UINT64_MAX);
	put("a/memory.max", "max\n");
	assert_true(memory("0::/a/b\n") == UINT64_MAX);
	put("memory.max", "8589934592\n");
	assert_true(memory("0::/a/b\n") == UINT64_C(8) << 30);
	put("a/memory.max", "1048576\n");
	assert_true(memory("0::/a/b\n") == 1 << 20);
	put_folder("memory");
	put_folder("memory/g");
	put("memory/g/memory.limit_in_bytes", "4096\n");
	assert_true(memory("4:cpu,cpuacct:/g\n5:memory:/g\n") == 4096);
	assert_true(memory("4:memory,x:/none\n") == UINT64_MAX);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		char path[256];

		snprintf(path, sizeof(path), "%s/%s", work, files[i]);
		assert_int_equal(remove(path), 0);
	}
}

/* The flag is set, the process lives on, and dies of the signal in the end; an ignored one stays ignored. */
static void signals(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		bool good;

		signal(SIGHUP, SIG_IGN);
		uw_signals_install();
		uw_signals_reraise();
		raise(SIGHUP);
		good = !uw_interrupted();
		raise(SIGTERM);
		good = good && uw_interrupted();
		raise(SIGINT);
		if (good)
			uw_signals_reraise();
		_exit(1);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGTERM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(parsing),
		cmocka_unit_test(usage_errors_say_why),
		cmocka_unit_test(help),
		cmocka_unit_test(escaping),
		cmocka_unit_test(messages),
		cmocka_unit_test(progress_is_silent_off_a_terminal),
		cmocka_unit_test(human_sizes),
		cmocka_unit_test(exit_codes),
		cmocka_unit_test(thread_arguments),
		cmocka_unit_test(cgroup_quotas),
		cmocka_unit_test(signals),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
