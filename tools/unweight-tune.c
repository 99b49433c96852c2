/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "autotune.h"
#include "message.h"
#include "tool.h"

enum { OPT_OUTPUT, OPT_THREADS, OPT_BUCKETS, OPT_BUDGET, OPT_DEVICE };

static const struct uw_option options[] = {
	{ 'o', "output", "FILE", "where to write the tuning; - (the default) = standard output", OPT_OUTPUT },
	{ 'T', "threads", "N", "threads that multiply; 0 (the default) = all available CPUs", OPT_THREADS },
	{ 0, "buckets", "LIST",
	  "batch sizes to tune for, powers of two up to 4096; default 1,2,4,8,16,32,64,128,256,512", OPT_BUCKETS },
	{ 0, "budget", "SECONDS", "time to spend, about; default 60", OPT_BUDGET },
	{ 0, "device", "NAME", "what to tune for: cpu", OPT_DEVICE, "cpu" },
	{ 0 },
};

static const struct uw_cli cli = {
	.name = "unweight-tune",
	.synopsis = "BUNDLE [-o FILE] [options]",
	.summary = "Measures which way of multiplying by the weights of BUNDLE is fastest on this machine, by matrix "
		   "and\n"
		   "batch size, and writes that as a tuning file for libunweight.",
	.epilog = "A table of what won, and by how much, goes to standard error. No result depends on a tuning, only "
		  "its time.\n\n"
		  "Exit codes: 0 done, 2 usage, 3 no coded matrix, 5 corrupt bundle, 6 I/O error, 7 out of space or "
		  "memory,\n"
		  "8 unsupported version, 70 bug.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

#define MAX_BUCKETS 13u

struct opts {
	const char *output;
	unsigned nthreads;
	unsigned long budget;
	uint16_t batches[MAX_BUCKETS];
	size_t nbatches;
};

/* ---- the command line ---- */

static bool parse_buckets(const char *text, struct opts *o)
{
	o->nbatches = 0;
	for (;;) {
		char *end;
		unsigned long n = *text >= '0' && *text <= '9' ? strtoul(text, &end, 10) : 0;

		if (n == 0 || n > UW_LINEAR_MAX_BATCH || (n & (n - 1)) != 0 || (*end != ',' && *end != '\0') ||
		    (o->nbatches != 0 && n <= o->batches[o->nbatches - 1]))
			break;
		o->batches[o->nbatches++] = (uint16_t)n;
		if (*end == '\0')
			return true;
		text = end + 1;
	}
	uw_msg_error("--buckets wants ascending powers of two up to %u", UW_LINEAR_MAX_BATCH);
	return false;
}

static bool parse_budget(const char *text, struct opts *o)
{
	char *end;

	o->budget = strtoul(text, &end, 10);
	if (*text >= '0' && *text <= '9' && *end == '\0' && o->budget >= 1 && o->budget <= 1000000)
		return true;
	uw_msg_error("--budget wants seconds");
	return false;
}

static bool set_option(void *ctx, int id, const char *arg)
{
	struct opts *o = ctx;

	switch (id) {
	case OPT_OUTPUT: o->output = arg; return true;
	case OPT_THREADS: return uw_parse_threads(arg, &o->nthreads);
	case OPT_BUCKETS: return parse_buckets(arg, o);
	case OPT_BUDGET: return parse_budget(arg, o);
	case OPT_DEVICE:
		if (strcmp(arg, "cpu") == 0)
			return true;
		uw_msg_error("--device: only cpu can be tuned for");
		return false;
	}
	return false;
}

/* ---- the table ---- */

struct report {
	struct uw_progress *progress;
	uint64_t shown;
	size_t n, room;
	struct uw_tuning_entry *candidates;
	bool out_of_memory;
};

static void keep(void *ctx, const struct uw_tuning_entry *candidate)
{
	struct report *r = ctx;

	if (r->n == r->room) {
		size_t room = r->room != 0 ? 2 * r->room : 256;
		struct uw_tuning_entry *more = realloc(r->candidates, room * sizeof(*more));

		if (more == NULL) {
			r->out_of_memory = true;
			return;
		}
		r->candidates = more;
		r->room = room;
	}
	r->candidates[r->n++] = *candidate;
}

static void advance(void *ctx, uint64_t done, uint64_t total)
{
	struct report *r = ctx;

	if (r->shown == 0)
		uw_progress_begin(r->progress, "tune", total);
	uw_progress_add(r->progress, done - r->shown);
	r->shown = done;
}

static bool interrupted(void *ctx)
{
	return uw_interrupted();
}

static void print_table(const struct report *r, const struct uw_tuning *tuning)
{
	fprintf(stderr, "%-4s %8s %8s %6s  %-10s %12s %8s  %s\n", "", "rows", "columns", "batch", "fastest",
		"microseconds", "GB/s", "others, times as long");
	for (size_t i = 0; i < uw_tuning_nentries(tuning); i++) {
		const struct uw_tuning_entry *e = uw_tuning_entry(tuning, i);

		fprintf(stderr, "%-4s %8llu %8llu %6u  %-10s %12.1f %8.1f ", e->coding == UW_CODING_H ? "h" : "p4",
			(unsigned long long)e->nrows, (unsigned long long)e->ncols, e->batch,
			uw_pipeline_name((enum uw_pipeline)e->pipeline), (double)e->nanoseconds / 1e3,
			2.0 * (double)e->nrows * (double)e->ncols / (double)e->nanoseconds);
		for (size_t k = 0; k < r->n; k++) {
			const struct uw_tuning_entry *c = &r->candidates[k];

			if (c->coding == e->coding && c->nrows == e->nrows && c->ncols == e->ncols &&
			    c->batch == e->batch && c->pipeline != e->pipeline && c->nanoseconds != 0)
				fprintf(stderr, " %s %.2f", uw_pipeline_name((enum uw_pipeline)c->pipeline),
					(double)c->nanoseconds / (double)e->nanoseconds);
		}
		fputc('\n', stderr);
	}
}

/* ---- main ---- */

struct text {
	char *bytes;
	size_t n;
};

static int print_text(const void *ctx, FILE *f)
{
	const struct text *text = ctx;

	return fwrite(text->bytes, 1, text->n, f) == text->n ? 0 : -1;
}

static enum uw_status write_tuning(const struct uw_tuning *tuning, const char *path, struct uw_error *err)
{
	struct text text;
	enum uw_status status = uw_tuning_print(tuning, &text.bytes, &text.n, err);

	if (status != UW_OK)
		return status;
	status = uw_write_text(path, print_text, &text, err);
	free(text.bytes);
	return status;
}

static int tune(struct uw_tool *tool, const struct opts *o, const struct uw_model *model, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct report report = { .progress = &tool->progress };
	struct uw_autotune how = {
		.nthreads = tool->job.nthreads,
		.batches = o->batches,
		.nbatches = o->nbatches,
		.budget_ns = o->budget * UINT64_C(1000000000),
		.cancelled = interrupted,
		.progress = advance,
		.candidate = keep,
		.ctx = &report,
	};
	struct uw_tuning *tuning;
	enum uw_status status = uw_tuning_create(&tuning, &err);

	if (status == UW_OK)
		status = uw_autotune_run(model, &how, tuning, &err);
	uw_progress_end(&tool->progress);
	if (status == UW_OK && report.out_of_memory)
		status = uw_fail(&err, UW_ERR_NOMEM, UW_NO_OFFSET, "table");
	if (status == UW_OK) {
		if (uw_message_verbosity() >= 0)
			print_table(&report, tuning);
		path = o->output;
		status = write_tuning(tuning, path, &err);
	}
	uw_tuning_free(&tuning);
	free(report.candidates);
	return status == UW_OK ? UW_EXIT_OK : uw_tool_failure(path, &err);
}

int main(int argc, char **argv)
{
	struct opts o = { .output = "-", .budget = 60 };
	struct uw_model_options model_options = { .flags = UW_MODEL_PREAD, .cpu_level = getenv("UW_CPU_LEVEL") };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_cli_result r;
	struct uw_model *model;
	struct uw_tool tool;
	int code;

	(void)parse_buckets("1,2,4,8,16,32,64,128,256,512", &o);
	r = uw_cli_parse(&cli, argc, argv, set_option, &o);
	if (r.exit_code >= 0)
		return r.exit_code;
	uw_tool_init(&tool, o.nthreads);
	if (uw_model_open(r.args[0], &model_options, &model, &err) != UW_OK)
		return uw_tool_exit(uw_tool_failure(r.args[0], &err));
	code = tune(&tool, &o, model, r.args[0]);
	uw_model_close(&model);
	return uw_tool_exit(code);
}
