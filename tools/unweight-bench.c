/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "onednn.h"
#include "places.h"

#define MAX_SIDE (1u << 20)
#define MAX_WEIGHTS (UINT64_C(1) << 30)

enum { OPT_SHAPE, OPT_BATCH, OPT_THREADS, OPT_JSON, OPT_SVG, OPT_BUDGET, OPT_CYCLE };

static const struct uw_option options[] = {
	{ 0, "shape", "NxK", "random weights of N rows and K columns instead of a bundle, in both profiles",
	  OPT_SHAPE },
	{ 'b', "batch", "LIST", "batches; default 1,2,4,8,16,32,64,128,256", OPT_BATCH },
	{ 'T', "threads", "N", "threads that multiply; 0 (the default) = all available CPUs", OPT_THREADS },
	{ 0, "json", "FILE", "write the report as JSON; - is standard output", OPT_JSON },
	{ 0, "svg", "FILE", "write a plot of speed over batch; - is standard output", OPT_SVG },
	{ 0, "budget", "SECONDS", "time to measure for, about; default 60", OPT_BUDGET },
	{ 0, "cycle", "MIB", "MiB of weights to cycle through; default more than the last-level cache", OPT_CYCLE },
	{ 0 },
};

static const struct uw_cli cli = {
	.name = "unweight-bench",
	.synopsis = "BUNDLE|--shape NxK [options]",
	.summary = "Multiplies by each shape of matrix in BUNDLE in all ways there are, in turns: from compressed\n"
		   "weights, from BF16 weights in memory (raw), and with oneDNN if that is installed.",
	.epilog = "The table has milliseconds of a product, GB of weights read a second, and how many times faster\n"
		  "than raw and than the faster one of oneDNN with weights as they lie and packed beforehand. These\n"
		  "are medians over rounds that no other work disturbed; ? marks those where all rounds were.\n"
		  "Weights are copied in memory until there are more of them than the caches hold: several times\n"
		  "--cycle is needed.\n\n"
		  "Exit codes: 0 done, 2 usage, 3 no coded matrix, 5 corrupt bundle, 6 I/O error, 7 out of space or\n"
		  "memory, 8 unsupported version, 70 bug.",
	.options = options,
	.min_args = 0,
	.max_args = 1,
};

struct opts {
	uint64_t nrows, ncols; /* 0: a bundle */
	struct uw_bench_report report;
	const char *json, *svg;
	double budget_s, cycle_mib;
};

static bool set_shape(struct opts *o, const char *arg)
{
	uint64_t *side[2] = { &o->nrows, &o->ncols };
	const char *p = arg;

	for (unsigned i = 0; i < 2; i++) {
		for (*side[i] = 0; *p >= '0' && *p <= '9' && *side[i] <= MAX_SIDE; p++)
			*side[i] = *side[i] * 10 + (uint64_t)(*p - '0');
		if (*side[i] == 0 || *side[i] > MAX_SIDE || *p != (i == 0 ? 'x' : '\0'))
			break;
		p += i == 0;
		if (i == 1 && o->nrows * o->ncols <= MAX_WEIGHTS)
			return true;
	}
	uw_msg_error("not a shape: '%s' (rows x columns like 4096x1024, at most %llu weights)", arg,
		     (unsigned long long)MAX_WEIGHTS);
	return false;
}

static bool set_option(void *ctx, int id, const char *arg)
{
	struct opts *o = ctx;

	switch (id) {
	case OPT_SHAPE: o->report.what = arg; return set_shape(o, arg);
	case OPT_BATCH:
		return uw_parse_numbers(arg, "batches", UW_LINEAR_MAX_BATCH, o->report.batches, UW_BENCH_MAX_BATCHES,
					&o->report.nbatches);
	case OPT_THREADS: return uw_parse_threads(arg, &o->report.nthreads);
	case OPT_JSON: o->json = arg; return true;
	case OPT_SVG: o->svg = arg; return true;
	case OPT_BUDGET: return uw_parse_amount(arg, "seconds", 1e6, &o->budget_s);
	case OPT_CYCLE: return uw_parse_amount(arg, "MiB", 1e6, &o->cycle_mib);
	}
	return false;
}

/* ---- measuring ---- */

struct bench {
	struct opts *o;
	struct uw_tool tool;
	struct uw_pool *pool;
	size_t ncases; /* that there will be */
};

static bool cancelled(void *ctx)
{
	return uw_interrupted();
}

static void progress(void *ctx, uint64_t batch)
{
	struct bench *b = ctx;
	char text[96], doing[32];

	snprintf(doing, sizeof(doing), "batch %llu", (unsigned long long)batch);
	snprintf(text, sizeof(text), "shape %zu of %zu, %s", b->o->report.ncases + 1, b->ncases,
		 batch != 0 ? doing : "preparing weights");
	uw_progress_say(&b->tool.progress, text);
	uw_msg_info("%s", text);
}

static enum uw_status run_case(struct bench *b, const struct uw_bench_input *input, struct uw_error *err)
{
	struct uw_bench_report *r = &b->o->report;
	struct uw_bench_how how = {
		.pool = b->pool,
		.seconds = b->o->budget_s / (double)(b->ncases * r->nbatches),
		.cancelled = cancelled,
		.progress = progress,
		.ctx = b,
	};
	enum uw_status status = uw_bench_run(&how, input, r, &r->cases[r->ncases], err);

	r->ncases += status == UW_OK;
	return status;
}

static enum uw_status make_cases(struct bench *b, size_t n, struct uw_error *err)
{
	b->ncases = n;
	b->o->report.cases = calloc(n, sizeof(*b->o->report.cases));
	return b->o->report.cases != NULL ? UW_OK : uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "report");
}

static enum uw_status run_shape(struct bench *b, struct uw_error *err)
{
	const struct opts *o = b->o;
	size_t n = (size_t)uw_ncopies(o->nrows * o->ncols, o->report.cycle_nbytes);
	struct uw_bench_made made = { 0 };
	enum uw_status status = make_cases(b, 1, err);

	if (status == UW_OK) {
		progress(b, 0);
		status = uw_bench_make(&b->tool.job, getenv("UW_CPU_LEVEL"), o->nrows, o->ncols, n, &made, err);
	}
	if (status == UW_OK)
		status = run_case(b, &made.input, err);
	uw_bench_made_free(&made);
	return status;
}

static enum uw_status run_survey_shape(struct bench *b, const struct uw_survey_shape *shape,
				       const struct uw_model *copies, struct uw_error *err)
{
	size_t n = (size_t)uw_ncopies(shape->nrows * shape->ncols, b->o->report.cycle_nbytes);
	struct uw_weights *weights = calloc(n, sizeof(*weights));
	struct uw_bench_input input = {
		.nrows = shape->nrows,
		.ncols = shape->ncols,
		.n = n,
		.nsets = 1,
		.sets = { { shape->coding, weights } },
	};
	enum uw_status status;

	if (weights == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of matrices");
	status = uw_survey_weights(shape, copies, n, weights, err);
	if (status == UW_OK)
		status = run_case(b, &input, err);
	free(weights);
	return status;
}

static enum uw_status run_bundle(struct bench *b, struct uw_error *err)
{
	struct uw_model_options how = { .cpu_level = getenv("UW_CPU_LEVEL"), .cancelled = cancelled };
	struct uw_model *model = NULL, *copies = NULL;
	struct uw_survey survey = { 0 };
	enum uw_status status = uw_model_open(b->o->report.what, &how, &model, err);

	how.flags = UW_MODEL_PREAD;
	if (status == UW_OK)
		status = uw_model_open(b->o->report.what, &how, &copies, err);
	if (status == UW_OK)
		status = uw_survey_open(model, false, &survey, err);
	if (status == UW_OK)
		status = make_cases(b, survey.nshapes, err);
	for (size_t i = 0; status == UW_OK && i < survey.nshapes; i++)
		status = run_survey_shape(b, &survey.shapes[i], copies, err);
	uw_survey_close(&survey);
	uw_model_close(&copies);
	uw_model_close(&model);
	return status;
}

/* ---- reports ---- */

static int write_reports(const struct opts *o)
{
	const struct uw_bench_report *r = &o->report;
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	bool to_stdout = (o->json != NULL && strcmp(o->json, "-") == 0) || (o->svg != NULL && strcmp(o->svg, "-") == 0);

	if (o->json != NULL && uw_write_json(o->json, uw_bench_json(r), &err) != UW_OK)
		return uw_tool_failure(o->json, &err);
	if (o->svg != NULL && uw_write_text(o->svg, uw_bench_svg, r, &err) != UW_OK)
		return uw_tool_failure(o->svg, &err);
	if (!to_stdout && uw_write_text("-", uw_bench_text, r, &err) != UW_OK)
		return uw_tool_failure("standard output", &err);
	return UW_EXIT_OK;
}

static int run(struct opts *o)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct bench b = { .o = o };
	enum uw_status status;
	int code;

	uw_tool_init(&b.tool, o->report.nthreads);
	o->report.cycle_nbytes = o->cycle_mib > 0 ? (uint64_t)(o->cycle_mib * 1048576) : uw_cache_nbytes();
	uw_progress_begin(&b.tool.progress, "measuring", 0);
	status = uw_pool_create(o->report.nthreads, &b.pool, &err);
	if (status == UW_OK)
		status = o->nrows != 0 ? run_shape(&b, &err) : run_bundle(&b, &err);
	uw_progress_end(&b.tool.progress);
	code = status == UW_OK ? write_reports(o) : uw_tool_failure(o->report.what, &err);
	uw_pool_free(&b.pool);
	free(o->report.cases);
	return code;
}

/* OpenMP, which oneDNN is built on, reads it when that is loaded. Its threads must not spin while others are measured. */
static void prepare_openmp(unsigned nthreads)
{
	char wanted[16];

	snprintf(wanted, sizeof(wanted), "%u", nthreads);
	(void)setenv("OMP_NUM_THREADS", wanted, 1);
	(void)setenv("OMP_WAIT_POLICY", "passive", 1);
}

static int check_usage(const struct opts *o, const struct uw_cli_result *r)
{
	const struct uw_places places = { .reads = { r->nargs == 1 ? r->args[0] : NULL }, .reports = { o->json, o->svg } };

	if ((r->nargs == 1) != (o->nrows != 0))
		return uw_places_check(&places);
	uw_msg_error("give either a bundle or --shape");
	return UW_EXIT_USAGE;
}

int main(int argc, char **argv)
{
	struct opts o = {
		.report = { .nthreads = uw_cpus_available(), .nbatches = 9,
			    .batches = { 1, 2, 4, 8, 16, 32, 64, 128, 256 } },
		.budget_s = 60,
	};
	struct uw_cli_result r = uw_cli_parse(&cli, argc, argv, set_option, &o);

	if (r.exit_code >= 0)
		return r.exit_code;
	r.exit_code = check_usage(&o, &r);
	if (r.exit_code != UW_EXIT_OK)
		return r.exit_code;
	if (r.nargs == 1)
		o.report.what = r.args[0];
	prepare_openmp(o.report.nthreads);
	return uw_tool_exit(run(&o));
}
