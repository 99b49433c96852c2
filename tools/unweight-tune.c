/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "autotune.h"
#include "message.h"
#include "places.h"
#include "tool.h"

enum {
	OPT_OUTPUT,
	OPT_DEVICE,
	OPT_THREADS,
	OPT_BUCKETS,
	OPT_BUDGET,
	OPT_CYCLE,
	OPT_RAW,
	OPT_BITEXACT,
	OPT_INVARIANT,
};

static const struct uw_option options[] = {
	{ 'o', "output", "FILE", "where to write the tuning; - (the default) = standard output", OPT_OUTPUT },
	{ 0, "device", "NAME", "what is to multiply: cpu (the default), cuda, or cuda:N for device N", OPT_DEVICE,
	  "cpu cuda" },
	{ 'T', "threads", "N", "threads that multiply; 0 (the default) = all available CPUs", OPT_THREADS },
	{ 0, "buckets", "LIST",
	  "batch sizes to tune for, powers of two; default 1,2,4,... 512, with cuda ... 4096", OPT_BUCKETS },
	{ 0, "budget", "SECONDS", "time to measure for, about; default 60", OPT_BUDGET },
	{ 0, "cycle", "MIB",
	  "MiB of weights to cycle through; default more than the last-level cache, of a device\n"
	  "3 times its L2",
	  OPT_CYCLE },
	{ 0, "allow-raw", NULL,
	  "BF16 weights in memory may win, which cost 2 bytes a weight; with cuda, matrices of up to\n"
	  "8 MiB in BF16 may anyway", OPT_RAW },
	{ 0, "require-bitexact", NULL, "cuda: for linears of which every pipeline gives the same bits", OPT_BITEXACT },
	{ 0, "batch-invariant", NULL, "cuda: for linears that give a row the same bits in every batch", OPT_INVARIANT },
	{ 0 },
};

static const struct uw_cli cli = {
	.name = "unweight-tune",
	.synopsis = "BUNDLE [options]",
	.summary = "Measures on this machine which way from compressed weights to a product is fastest, for each\n"
		   "shape of matrix in BUNDLE and each batch, and writes that as a tuning file for libunweight.",
	.epilog = "A line of the tuning serves batches up to its own. Tables of what won, and by how much, go to\n"
		  "standard error: milliseconds, with cuda microseconds; ~ where a model of the machine said that\n"
		  "measuring is not worth while, ? where other work disturbed every round; then how many times\n"
		  "faster the choice is. Matrices are copied in memory until there are more of them than the caches\n"
		  "hold: several times --cycle is needed. On the CPU no result depends on a tuning, only its time.\n\n"
		  "With cuda, matrices of a layer that are multiplied by the same vectors (q, k and v; gate and up)\n"
		  "are one, those of experts are left out, times are the device's own, and what wins may name how\n"
		  "products are cut: tile, blocks on a multiprocessor, parts of a sum. Linears made with\n"
		  "require_bitexact or batch_invariant want a tuning made with the same; their cuts are fixed.\n\n"
		  "Exit codes: 0 done, 2 usage, 3 no coded matrix, 5 corrupt bundle, 6 I/O error or one of the\n"
		  "device, 7 out of space or memory, also of the device, 8 unsupported version, or no device: no\n"
		  "driver, no device N, one before compute capability 8.0, or built without CUDA; 70 bug.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

#define CPU (-1)
#define CPU_BATCHES 10u /* 1 to 512 */
#define SMALL_RAW_NBYTES (UINT64_C(8) << 20)

struct opts {
	const char *output;
	int device; /* CPU, or the number of a CUDA device */
	unsigned nthreads;
	uint16_t batches[UW_AUTOTUNE_MAX_BATCHES];
	size_t nbatches;
	double budget_s, cycle_mib;
	bool allow_raw, require_bitexact, batch_invariant;
};

static bool set_buckets(struct opts *o, const char *arg)
{
	uint64_t values[UW_AUTOTUNE_MAX_BATCHES];

	if (!uw_parse_numbers(arg, "batches", UW_LINEAR_MAX_BATCH, values, UW_AUTOTUNE_MAX_BATCHES, &o->nbatches))
		return false;
	for (size_t i = 0; i < o->nbatches; i++) {
		if ((values[i] & (values[i] - 1)) != 0) {
			uw_msg_error("batch %llu is not a power of two", (unsigned long long)values[i]);
			return false;
		}
		o->batches[i] = (uint16_t)values[i];
	}
	return true;
}

static bool set_device(struct opts *o, const char *arg)
{
	static const char cuda[] = "cuda";
	const char *number = arg + sizeof(cuda) - 1;

	o->device = CPU;
	if (strcmp(arg, "cpu") == 0)
		return true;
	o->device = 0;
	if (strcmp(arg, cuda) == 0)
		return true;
	if (strncmp(arg, "cuda:", sizeof(cuda)) == 0 && strspn(number + 1, "0123456789") == strlen(number + 1) &&
	    strlen(number + 1) - 1 < 4) { /* 1 to 4 digits */
		o->device = atoi(number + 1);
		return true;
	}
	uw_msg_error("no device '%s'; there are cpu, cuda and cuda:N", arg);
	return false;
}

static bool set_option(void *ctx, int id, const char *arg)
{
	struct opts *o = ctx;

	switch (id) {
	case OPT_OUTPUT: o->output = arg; return true;
	case OPT_DEVICE:
		return set_device(o, arg);
	case OPT_THREADS: return uw_parse_threads(arg, &o->nthreads);
	case OPT_BUCKETS: return set_buckets(o, arg);
	case OPT_BUDGET: return uw_parse_amount(arg, "seconds", 1e6, &o->budget_s);
	case OPT_CYCLE: return uw_parse_amount(arg, "MiB", 1e6, &o->cycle_mib);
	case OPT_RAW: o->allow_raw = true; return true;
	case OPT_BITEXACT: o->require_bitexact = true; return true;
	case OPT_INVARIANT: o->batch_invariant = true; return true;
	}
	return false;
}

/* ---- tables ---- */

static const char *coding_name(enum uw_coding coding)
{
	return coding == UW_CODING_H ? "h" : "p4";
}

static void heading(FILE *f, const bool shown[UW_NPIPELINES], const char *rest)
{
	fprintf(f, "  %5s |", "batch");
	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		if (shown[p])
			fprintf(f, " %11s", uw_pipeline_name((enum uw_pipeline)p));
	}
	fprintf(f, " | %s\n", rest);
}

/* What times are told in. */
static const char *unit_of(const struct opts *o)
{
	return o->device == CPU ? "milliseconds" : "microseconds";
}

static void time_cell(FILE *f, const struct opts *o, const struct uw_timing *timing, double predicted)
{
	double per_second = o->device == CPU ? 1e3 : 1e6;

	if (timing->seconds > 0)
		fprintf(f, " %10.3f%s", per_second * timing->seconds, timing->nrounds != 0 ? " " : "?");
	else
		fprintf(f, " ~%9.3f ", per_second * predicted);
}

/* The pipeline's fastest candidate, or the one predicted to be if none was measured; NULL: there is none. */
static const struct uw_candidate *fastest_of(const struct uw_autotune_cell *cell, unsigned pipeline)
{
	const struct uw_candidate *best = NULL;

	for (unsigned i = 0; i < cell->n; i++) {
		const struct uw_candidate *c = &cell->candidates[i];
		bool measured = c->timing.seconds > 0;

		if ((unsigned)c->pipeline != pipeline)
			continue;
		if (best == NULL || measured > (best->timing.seconds > 0) ||
		    (measured && c->timing.seconds < best->timing.seconds) ||
		    (!measured && best->timing.seconds <= 0 && c->predicted < best->predicted))
			best = c;
	}
	return best;
}

/* Of the fastest pipeline that was not chosen, RAW left aside. */
static double next_best(const struct uw_autotune_cell *cell)
{
	double best = 0;

	for (unsigned i = 1; i < cell->n; i++) {
		double t = cell->candidates[i].timing.seconds;

		if (cell->candidates[i].pipeline != cell->candidates[cell->chosen].pipeline && t > 0 &&
		    (best == 0 || t < best))
			best = t;
	}
	return best;
}

static void print_choice(FILE *f, const struct uw_autotune_cell *cell)
{
	const struct uw_candidate *chosen = &cell->candidates[cell->chosen];
	double next = next_best(cell), time = chosen->timing.seconds;

	fprintf(f, " | %-9s", uw_pipeline_name(chosen->pipeline));
	if (time > 0)
		fprintf(f, " %6.3f", chosen->timing.ratio);
	else /* pruned here; the layer's time spoke for it */
		fputs("      -", f);
	if (next > 0 && time > 0)
		fprintf(f, "  %6.3f", next / time);
	else
		fputs("       -", f);
	if (chosen->tile_n != 0)
		fprintf(f, "  tile %u, blocks %u, parts %u", chosen->tile_n, chosen->blocks_per_sm, chosen->parts);
	fputs(cell->chosen != cell->fastest ? "  (for the layer's sake)\n" : "\n", f);
}

static void print_shape(FILE *f, const struct uw_autotune_shape *shape, const struct opts *o)
{
	bool shown[UW_NPIPELINES];

	fprintf(f, "\n%s, %llu x %llu: %zu in the bundle, %zu cycled through; %s\n",
		coding_name(shape->coding), (unsigned long long)shape->nrows, (unsigned long long)shape->ncols,
		shape->nmatrices, shape->ncopies, unit_of(o));
	for (unsigned p = 0; p < UW_NPIPELINES; p++)
		shown[p] = fastest_of(&shape->cells[0], p) != NULL;
	heading(f, shown, "chosen     x raw  x next");
	for (size_t b = 0; b < o->nbatches; b++) {
		const struct uw_autotune_cell *cell = &shape->cells[b];

		fprintf(f, "  %5u |", o->batches[b]);
		for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
			const struct uw_candidate *c = fastest_of(cell, p);

			if (c != NULL)
				time_cell(f, o, &c->timing, c->predicted);
		}
		print_choice(f, cell);
	}
}

/* How many times faster the tuned layer is than with one pipeline throughout. */
static void print_layer(FILE *f, const struct uw_autotune_report *report, const struct opts *o)
{
	bool fits[UW_NPIPELINES];

	for (unsigned p = 0; p < UW_NPIPELINES; p++)
		fits[p] = report->layers[0].single[p].seconds > 0;
	fprintf(f, "\none layer, %zu matrices: %s with one pipeline throughout, and as tuned\n", report->nsteps,
		unit_of(o));
	heading(f, fits, "     tuned   x raw  x best single");
	for (size_t b = 0; b < o->nbatches; b++) {
		const struct uw_autotune_layer *layer = &report->layers[b];
		double best = 0;

		fprintf(f, "  %5u |", o->batches[b]);
		for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
			if (!fits[p])
				continue;
			time_cell(f, o, &layer->single[p], 0);
			if (layer->admitted[p] && layer->single[p].ratio > best)
				best = layer->single[p].ratio;
		}
		fputs(" |", f);
		time_cell(f, o, &layer->chosen, 0);
		fprintf(f, " %6.3f  %6.3f\n", 1 / layer->single[UW_PIPELINE_RAW].ratio, best > 0 ? 1 / best : 0);
	}
}

struct tables {
	const struct uw_autotune_report *report;
	const struct opts *opts;
	const char *device; /* NULL: the CPU */
};

static int print_tables(const void *ctx, FILE *f)
{
	const struct tables *t = ctx;

	if (t->device != NULL)
		fprintf(f, "%s\n", t->device);
	else
		fprintf(f, "%u thread%s; BF16 weights in memory: %.1f GB/s read, %.0f GFLOP/s multiplied\n",
			t->opts->nthreads, t->opts->nthreads == 1 ? "" : "s", 1e-9 * t->report->bytes_per_s,
			1e-9 * t->report->flops);
	for (size_t i = 0; i < t->report->nshapes; i++)
		print_shape(f, &t->report->shapes[i], t->opts);
	print_layer(f, t->report, t->opts);
	return ferror(f) ? -1 : 0;
}

/* ---- doing it ---- */

static bool cancelled(void *ctx)
{
	return uw_interrupted();
}

static void progress(void *ctx, const struct uw_autotune_state *s)
{
	char text[128], what[32], doing[32];

	snprintf(what, sizeof(what), "shape %zu of %zu", s->shape + 1, s->nshapes);
	snprintf(doing, sizeof(doing), "batch %llu", (unsigned long long)s->batch);
	snprintf(text, sizeof(text), "%3u%%  %s, %s", 100 * s->done / (s->total + 1), s->stack ? "layer" : what,
		 s->batch != 0 ? doing : "preparing weights");
	uw_progress_say(ctx, text);
	uw_msg_info("%s", text);
}

static enum uw_status open_models(const char *path, struct uw_model **model, struct uw_model **copies,
				  struct uw_error *err)
{
	struct uw_model_options how = { .cpu_level = getenv("UW_CPU_LEVEL"), .cancelled = cancelled };
	enum uw_status status = uw_model_open(path, &how, model, err);

	how.flags = UW_MODEL_PREAD;
	return status == UW_OK ? uw_model_open(path, &how, copies, err) : status;
}

static int print_tuning(const void *ctx, FILE *f)
{
	const struct uw_tuning *tuning = ctx;
	struct uw_error err;
	char *text = NULL;
	size_t n = 0;
	bool good = uw_tuning_print(tuning, &text, &n, &err) == UW_OK && fwrite(text, 1, n, f) == n;

	free(text);
	return good ? 0 : -1;
}

static int write_results(const struct opts *o, const struct uw_cuda *cuda, const struct uw_tuning *tuning,
			 const struct uw_autotune_report *report)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct tables tables = { report, o, cuda != NULL ? uw_cuda_name(cuda) : NULL };

	if (uw_message_verbosity() >= 0)
		(void)print_tables(&tables, stderr);
	if (uw_write_text(o->output, print_tuning, tuning, &err) != UW_OK)
		return uw_tool_failure(o->output, &err);
	return UW_EXIT_OK;
}

static struct uw_autotune_options options_of(const struct opts *o, const struct uw_cuda *cuda, void *ctx)
{
	uint64_t cycle = cuda != NULL ? uw_cuda_cycle_nbytes(cuda) : uw_cache_nbytes();

	return (struct uw_autotune_options){
		.cuda = cuda,
		.batches = o->batches,
		.nbatches = (unsigned)o->nbatches,
		.nthreads = o->nthreads,
		.seconds = o->budget_s,
		.cycle_nbytes = o->cycle_mib > 0 ? (uint64_t)(o->cycle_mib * 1048576) : cycle,
		.raw_nbytes = o->allow_raw ? UINT64_MAX : cuda != NULL ? SMALL_RAW_NBYTES : 0,
		.require_bitexact = o->require_bitexact,
		.batch_invariant = o->batch_invariant,
		.cancelled = cancelled,
		.progress = progress,
		.ctx = ctx,
	};
}

static int tune(struct opts *o, const char *path, const struct uw_cuda *cuda)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_model *model = NULL, *copies = NULL;
	struct uw_autotune_report report = { 0 };
	struct uw_tuning *tuning = NULL;
	struct uw_tool tool;
	enum uw_status status;
	int code;

	uw_tool_init(&tool, o->nthreads);
	o->nthreads = tool.job.nthreads;
	status = open_models(path, &model, &copies, &err);
	uw_progress_begin(&tool.progress, "tuning", 0);
	if (status == UW_OK) {
		struct uw_autotune_options how = options_of(o, cuda, &tool.progress);

		how.copies = copies;
		status = uw_autotune(model, &how, &tuning, &report, &err);
	}
	uw_progress_end(&tool.progress);
	code = status == UW_OK ? write_results(o, cuda, tuning, &report) : uw_tool_failure(path, &err);
	uw_autotune_report_free(&report);
	uw_tuning_free(&tuning);
	uw_model_close(&copies);
	uw_model_close(&model);
	return code;
}

static int run(struct opts *o, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_cuda *cuda = NULL;
	char name[32];
	int code;

	if (o->device == CPU)
		return tune(o, path, NULL);
	snprintf(name, sizeof(name), "cuda:%d", o->device);
	if (uw_cuda_open(o->device, NULL, &cuda, &err) != UW_OK)
		return uw_tool_failure(name, &err);
	code = tune(o, path, cuda);
	uw_cuda_close(&cuda);
	return code;
}

/* What is said of one device alone, and the batches that it is worth tuning for. */
static bool settle_options(struct opts *o)
{
	if (o->device == CPU && (o->require_bitexact || o->batch_invariant)) {
		uw_msg_error("--require-bitexact and --batch-invariant are for --device cuda");
		return false;
	}
	if (o->nbatches == 0) {
		o->nbatches = o->device == CPU ? CPU_BATCHES : UW_AUTOTUNE_MAX_BATCHES;
		for (size_t i = 0; i < o->nbatches; i++)
			o->batches[i] = (uint16_t)(1u << i);
	}
	return true;
}

int main(int argc, char **argv)
{
	struct opts o = { .output = "-", .device = CPU, .budget_s = 60 };
	struct uw_cli_result r = uw_cli_parse(&cli, argc, argv, set_option, &o);

	if (r.exit_code >= 0)
		return r.exit_code;
	if (!settle_options(&o))
		return UW_EXIT_USAGE;
	r.exit_code = uw_places_check(&(struct uw_places){ .reads = { r.args[0] }, .reports = { o.output } });
	return r.exit_code != UW_EXIT_OK ? r.exit_code : uw_tool_exit(run(&o, r.args[0]));
}
