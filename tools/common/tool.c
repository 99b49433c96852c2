/* SPDX-License-Identifier: Apache-2.0 */
#include "tool.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "text.h"
#include "unweight/clock.h"
#include "unweight/kernels.h"

/* Jansson drops what it had no memory for: members of an array or object, even letters of a long text, and says
 * nothing. Hence nothing that it made counts once that has happened. */
static _Atomic bool json_lacked_memory;

static void *json_allocate(size_t nbytes)
{
	void *memory = malloc(nbytes);

	if (memory == NULL && nbytes != 0)
		json_lacked_memory = true;
	return memory;
}

bool uw_json_lacked_memory(void)
{
	return json_lacked_memory;
}

/* libarchive calls exit(1) where it cannot get memory for a name. 1 would be an answer. */
static bool ends_by_itself;

static void at_exit(void)
{
	if (!ends_by_itself)
		_exit(UW_EXIT_SPACE);
}

static bool cancelled(void *ctx)
{
	(void)ctx;
	return uw_stopped();
}

static void add_progress(void *ctx, uint64_t nbytes)
{
	struct uw_tool *tool = ctx;

	uw_progress_add(&tool->progress, nbytes);
}

/* For tests: UW_CPU_LEVEL (enum uw_cpu_flag) holds the loops down to a level. Output bytes are the same at all. */
static uint32_t cpu_flags(void)
{
	const char *name = getenv("UW_CPU_LEVEL");
	uint32_t mask = UINT32_MAX;

	if (name != NULL && !uw_cpu_level_mask(name, &mask)) {
		uw_msg_error("UW_CPU_LEVEL: no level \"%s\"; there are c, sse42, avx2, avx512, avx512bf16, amx", name);
		exit(UW_EXIT_USAGE);
	}
	return uw_cpu_flags() & mask;
}

/* UNWEIGHT_THREADS stands for -T where there is none. */
static unsigned default_threads(void)
{
	const char *text = getenv("UNWEIGHT_THREADS");
	unsigned nthreads;

	if (text == NULL || text[0] == '\0')
		return uw_cpus_available();
	if (!uw_parse_threads(text, &nthreads)) {
		uw_msg_error("that was UNWEIGHT_THREADS");
		exit(UW_EXIT_USAGE);
	}
	return nthreads;
}

static void add_time(void *ctx, enum uw_stage stage, uint64_t ns)
{
	struct uw_tool *tool = ctx;

	tool->spent_ns[stage] += ns;
}

void uw_tool_tell_times(const struct uw_tool *tool, const char *code, uint64_t nbytes)
{
	char check[32] = "";
	double wall = (double)(uw_clock_ns() - tool->start_ns) * 1e-9, spent[UW_NSTAGES];

	for (int i = 0; i < UW_NSTAGES; i++)
		spent[i] = (double)tool->spent_ns[i] * 1e-9;
	if (spent[UW_STAGE_CHECK] != 0)
		snprintf(check, sizeof(check), ", check %.2f", spent[UW_STAGE_CHECK]);
	uw_msg_info("%.2f s in all, %.2f GB/s; thread seconds: read %.2f, %s %.2f, hash %.2f, write %.2f%s", wall,
		    (double)nbytes * 1e-9 / wall, spent[UW_STAGE_READ], code, spent[UW_STAGE_CODE],
		    spent[UW_STAGE_HASH], spent[UW_STAGE_OUTPUT], check);
}

void uw_tool_init(struct uw_tool *tool, unsigned nthreads)
{
	*tool = (struct uw_tool){ 0 };
	uw_cpu_ops_init(&tool->ops, cpu_flags());
	tool->job = (struct uw_job){
		.ops = &tool->ops,
		.nthreads = nthreads != 0 ? nthreads : default_threads(),
		.cancelled = cancelled,
		.progress = add_progress,
		.spent = add_time,
		.ctx = tool,
	};
	tool->start_ns = uw_clock_ns();
	json_set_alloc_funcs(json_allocate, free);
	if (atexit(at_exit) != 0)
		ends_by_itself = true; /* what it guards from is rarer still */
	uw_signals_install();
}

static void warn(void *ctx, const char *text)
{
	uw_msg_warn("%s", text);
}

int uw_tool_open_base(const struct uw_tool *tool, const char *path, struct uw_bundle_base **base)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };

	*base = NULL;
	if (path == NULL || uw_bundle_base_open(path, &tool->ops, base, &err) == UW_OK)
		return UW_EXIT_OK;
	return uw_tool_failure(path, &err);
}

void uw_tool_watch(struct uw_tool *tool, struct uw_source *source)
{
	source->warn = warn;
	source->cancelled = cancelled;
	source->watch_ctx = tool;
}

const char *uw_tmp_dir(void)
{
	const char *dir = getenv("TMPDIR");

	return dir != NULL && dir[0] != '\0' ? dir : "/tmp";
}

int uw_tool_failure(const char *path, const struct uw_error *err)
{
	if (uw_interrupted() && (err->status == UW_ERR_CANCELLED || err->os_errno == EPIPE))
		return uw_exit_of_status(err->status);
	if (json_lacked_memory && err->status != UW_ERR_NOMEM) {
		struct uw_error memory = { .status = UW_ERR_NOMEM, .file_off = UW_NO_OFFSET };

		return uw_msg_failure(path, &memory);
	}
	if (err->status == UW_ERR_CANCELLED) {
		uw_msg_error("%s: stopped, the time of --max-time is over", path);
		return UW_EXIT_TIME;
	}
	return uw_msg_failure(path, err);
}

int uw_tool_exit(int code)
{
	if (fflush(stdout) != 0 || ferror(stdout)) {
		if (!uw_interrupted())
			uw_msg_error("standard output: %s", strerror(errno));
		code = code == UW_EXIT_OK ? UW_EXIT_IO : code;
	}
	uw_signals_reraise();
	ends_by_itself = true;
	return code;
}

bool uw_path_is_archive(const char *path, enum uw_archive_kind *kind)
{
	*kind = UW_ARCHIVE_TAR;
	return strcmp(path, "-") == 0 || uw_archive_kind_of_path(path, kind);
}

/* ---- reports ---- */

/* Not open_memstream, which drops what it has no memory for and does not tell ferror. */
struct text {
	char *at;
	size_t n, room;
};

static ssize_t append(void *ctx, const char *data, size_t n)
{
	struct text *t = ctx;

	if (n > t->room - t->n) {
		size_t room = 2 * (t->room + n);
		char *at = realloc(t->at, room);

		if (at == NULL)
			return 0;
		t->at = at;
		t->room = room;
	}
	memcpy(t->at + t->n, data, n);
	t->n += n;
	return (ssize_t)n;
}

enum uw_status uw_write_text(const char *path, int (*print)(const void *ctx, FILE *f), const void *ctx,
			     struct uw_error *err)
{
	enum uw_status status = UW_OK;
	struct text text = { 0 };
	bool bad;
	FILE *f;

	if (strcmp(path, "-") == 0 && fflush(stdout) != 0)
		return uw_fail_errno(err, errno, "cannot write");
	f = fopencookie(&text, "w", (cookie_io_functions_t){ .write = append });
	if (f == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "report");
	bad = print(ctx, f) != 0 || json_lacked_memory;
	bad |= (ferror(f) | fclose(f)) != 0;
	status = bad ? uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "report") : uw_text_store(path, true, text.at, text.n, err);
	free(text.at);
	return status;
}

static int print_json(const void *ctx, FILE *f)
{
	const json_t *report = ctx;

	if (json_dumpf(report, f, JSON_SORT_KEYS | JSON_INDENT(2)) != 0)
		return -1;
	return fputc('\n', f) == EOF ? -1 : 0;
}

json_t *uw_json_text(const char *text)
{
	json_t *value = json_string(text);
	char *escaped = NULL;
	size_t n = 0;
	FILE *f;

	if (value != NULL || (f = open_memstream(&escaped, &n)) == NULL)
		return value;
	uw_print_escaped(f, text, strlen(text));
	if (fclose(f) == 0)
		value = json_stringn(escaped, n);
	free(escaped);
	return value;
}

enum uw_status uw_write_json(const char *path, json_t *report, struct uw_error *err)
{
	enum uw_status status;

	if (report == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "report");
	status = uw_write_text(path, print_json, report, err);
	json_decref(report);
	return status;
}
