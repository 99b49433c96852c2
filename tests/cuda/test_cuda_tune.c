/* SPDX-License-Identifier: Apache-2.0 */
/* Tuning for a CUDA device that is not there, whose clock the test sets: each launch takes what a formula says. */
#include "../unit/model_common.h"

#include "autotune.h"
#include "cuda_candidates.h"
#include "cuda_device.h"
#include "cuda_linear.h"
#include "emu_device.h"

#define LAYER "model.layers.0."

static const struct want wants[] = {
	{ "lm_head.weight", "BF16", 2, 2, { 640, 192 }, FILL_GAUSSIAN },
	{ LAYER "mlp.down_proj.weight", "BF16", 2, 2, { 192, 512 }, FILL_GAUSSIAN },
	{ LAYER "mlp.experts.0.up_proj.weight", "BF16", 2, 2, { 128, 192 }, FILL_GAUSSIAN },
	{ LAYER "mlp.gate_proj.weight", "BF16", 2, 2, { 512, 192 }, FILL_GAUSSIAN },
	{ LAYER "mlp.up_proj.weight", "BF16", 2, 2, { 512, 192 }, FILL_GAUSSIAN },
	{ LAYER "self_attn.k_proj.weight", "BF16", 2, 2, { 64, 192 }, FILL_GAUSSIAN },
	{ LAYER "self_attn.o_proj.weight", "BF16", 2, 2, { 192, 256 }, FILL_GAUSSIAN },
	{ LAYER "self_attn.q_proj.weight", "BF16", 2, 2, { 256, 192 }, FILL_GAUSSIAN },
	{ LAYER "self_attn.v_proj.weight", "BF16", 2, 2, { 64, 192 }, FILL_RANDOM }, /* stored as it is */
};

/* As the survey orders them. */
enum { O, DOWN, QKV, HEAD, GATE_UP, NSHAPES };
static const uint64_t shapes[NSHAPES][2] = { { 192, 256 }, { 192, 512 }, { 384, 192 }, { 640, 192 }, { 1024, 192 } };
static const uint16_t batches[] = { 1, 16, 256 };
#define NBATCHES COUNT(batches)

static struct source source;
static struct packed packed[2];
static struct uw_model *models[2];
static struct uw_cuda *cuda;

static int setup(void **state)
{
	use_level(state);
	rng_seed(11);
	source = make_source(wants, COUNT(wants));
	for (unsigned p = 0; p < 2; p++) {
		packed[p] = pack(&source, (enum uw_profile)p);
		models[p] = open_packed(&packed[p], NULL);
	}
	return 0;
}

static int teardown(void **state)
{
	for (unsigned p = 0; p < 2; p++) {
		uw_model_close(&models[p]);
		free(packed[p].bytes);
	}
	free(source.bytes);
	return 0;
}

/* ---- the clock ---- */

#define MAX_LAUNCHES 200000u

static struct {
	uint64_t (*ns)(const struct emu_launch *launch);
	struct emu_launch launches[MAX_LAUNCHES];
	size_t n;
} trace;

static uint64_t traced(const struct emu_launch *launch)
{
	if (trace.n < MAX_LAUNCHES)
		trace.launches[trace.n++] = *launch;
	return trace.ns(launch);
}

static double now(void)
{
	return 1e-9 * (double)emu_device.ns;
}

/* Memory that is slow enough for what has to be read to make a difference. */
static void open_cuda_of(uint32_t capability, uint64_t (*ns)(const struct emu_launch *launch))
{
	emu_device_reset(5);
	emu_device.capability = capability;
	trace.ns = ns;
	trace.n = 0;
	emu_device.kernel_ns = traced;
	assert_int_equal(uw_cuda_open_ops(emu_device_ops(), 0, NULL, &cuda, NULL), UW_OK);
	cuda->facts.bandwidth = 1000000000;
	cuda->facts.clock_mhz = 1;
}

static void open_cuda(uint64_t (*ns)(const struct emu_launch *launch))
{
	open_cuda_of(90, ns);
}

static void close_cuda(void)
{
	uw_cuda_close(&cuda);
	assert_int_equal(emu_device.nlive, 0);
}

static struct uw_autotune_options options_of(double seconds)
{
	return (struct uw_autotune_options){
		.cuda = cuda,
		.batches = batches,
		.nbatches = NBATCHES,
		.seconds = seconds,
		.cycle_nbytes = 500000,
		.now = now,
	};
}

struct result {
	struct uw_tuning *tuning;
	struct uw_autotune_report report;
};

static struct result tune(unsigned profile, const struct uw_autotune_options *options)
{
	struct result r;
	struct uw_error err;

	if (uw_autotune(models[profile], options, &r.tuning, &r.report, &err) != UW_OK)
		fail_msg("%s", err.what);
	assert_int_equal(r.report.nshapes, NSHAPES);
	assert_int_equal(r.report.nsteps, 4);
	for (unsigned i = 0; i < NSHAPES; i++) {
		assert_int_equal(r.report.shapes[i].nrows, shapes[i][0]);
		assert_int_equal(r.report.shapes[i].ncols, shapes[i][1]);
	}
	return r;
}

static void free_result(struct result *r)
{
	uw_tuning_free(&r->tuning);
	uw_autotune_report_free(&r->report);
}

static const struct uw_tuning_entry *entry_of(const struct result *r, unsigned profile, unsigned shape, uint64_t batch)
{
	const struct uw_tuning_entry *e =
		uw_tuning_find_device(r->tuning, "Emulated GPU", profile == 0 ? UW_CODING_H : UW_CODING_P4,
				      shapes[shape][0], shapes[shape][1], batch);

	assert_non_null(e);
	assert_int_equal(e->batch, batch);
	return e;
}

/* ---- what wins ---- */

/* Candidates as the tuner lists them; profile 1. */
static void list(unsigned shape, uint64_t batch, bool bitexact, struct uw_autotune_cell *cell)
{
	struct uw_cuda_linear_options modes = { .require_bitexact = bitexact };
	struct uw_cuda_search search = { &cuda->facts, &modes, true };
	struct uw_cuda_key key = { UW_CODING_P4, shapes[shape][0], shapes[shape][1], 1, false };

	*cell = (struct uw_autotune_cell){ 0 };
	assert_int_equal(uw_cuda_candidates(&search, &key, batch, cell, NULL), UW_OK);
	assert_int_equal(cell->candidates[0].pipeline, UW_PIPELINE_RAW);
}

/* The cut that is best for a shape and batch: another one for each. */
static struct uw_gpu_gemm_config planted[NSHAPES][NBATCHES];
static unsigned planted_index[NSHAPES][NBATCHES];

static uint64_t planted_ns(const struct emu_launch *l)
{
	if (l->kernel == EMU_DENSE)
		return 60000;
	if (l->kernel == EMU_DECODE)
		return 30000;
	for (unsigned i = 0; i < NSHAPES; i++) {
		for (unsigned b = 0; b < NBATCHES; b++) {
			const struct uw_gpu_gemm_config *c = &planted[i][b];

			if (l->ncols == shapes[i][1] && l->nx == batches[b] && c->tile_n == l->config.tile_n &&
			    c->blocks_per_sm == l->config.blocks_per_sm && c->parts == l->config.parts &&
			    (l->nrows == shapes[i][0] || (i == QKV && l->nrows == 320)))
				return 40000;
		}
	}
	return l->nrows == 64 ? 1000 : 50000; /* v_proj is a launch of its own */
}

/* The last one, less `skip`, that the model does not rule out. */
static unsigned pick(unsigned shape, uint64_t batch, unsigned skip, struct uw_gpu_gemm_config *config)
{
	struct uw_autotune_cell cell;
	const struct uw_candidate *c;
	double best = 1;

	list(shape, batch, false, &cell);
	for (unsigned k = 1; k < cell.n; k++)
		best = cell.candidates[k].predicted < best ? cell.candidates[k].predicted : best;
	for (c = &cell.candidates[cell.n - 1]; c->predicted > 1.5 * best || skip-- != 0; c--)
		;
	assert_true(c->pipeline == UW_PIPELINE_PALETTE && c->tile_n != 0);
	*config = (struct uw_gpu_gemm_config){ .tile_n = c->tile_n, .blocks_per_sm = c->blocks_per_sm,
					       .parts = c->parts };
	return (unsigned)(c - cell.candidates);
}

static void plant(void)
{
	for (unsigned i = 0; i < NSHAPES; i++) {
		for (unsigned b = 0; b < NBATCHES; b++)
			planted_index[i][b] = pick(i, batches[b], (i + b) % 2, &planted[i][b]);
	}
}

static void finds_what_was_planted(void **state)
{
	struct uw_autotune_options o;
	struct result r;

	open_cuda(planted_ns);
	plant();
	o = options_of(20);
	r = tune(1, &o);
	for (unsigned i = 0; i < NSHAPES; i++) {
		for (unsigned b = 0; b < NBATCHES; b++) {
			const struct uw_autotune_cell *cell = &r.report.shapes[i].cells[b];
			const struct uw_tuning_entry *e = entry_of(&r, 1, i, batches[b]);

			assert_int_equal(cell->fastest, planted_index[i][b]);
			assert_int_equal(cell->chosen, planted_index[i][b]);
			assert_int_equal(e->pipeline, UW_PIPELINE_PALETTE);
			assert_int_equal(e->tile_n, planted[i][b].tile_n);
			assert_int_equal(e->blocks_per_sm, planted[i][b].blocks_per_sm);
			assert_int_equal(e->parts, planted[i][b].parts);
			assert_int_equal(e->predicted, 0);
			assert_in_range(e->nanoseconds, 39990, i == QKV ? 41010 : 40010);
			assert_true(cell->candidates[cell->chosen].timing.ratio > 1.4);
		}
	}
	free_result(&r);
	close_cuda();
}

/* What the model rules out is not launched while shapes are measured. */
static void measures_what_the_model_leaves(void **state)
{
	struct uw_autotune_options o;
	struct result r;
	unsigned npruned = 0, nmeasured = 0;

	open_cuda(planted_ns);
	plant();
	o = options_of(0);
	r = tune(1, &o);
	for (unsigned i = 0; i < NSHAPES; i++) {
		for (unsigned b = 0; b < NBATCHES; b++) {
			const struct uw_autotune_cell *cell = &r.report.shapes[i].cells[b];
			double best = 1e9;

			for (unsigned k = 1; k < cell->n; k++)
				best = cell->candidates[k].predicted < best ? cell->candidates[k].predicted : best;
			for (unsigned k = 0; k < cell->n; k++) {
				bool worth = k == 0 || cell->candidates[k].predicted <= 1.5 * best;

				assert_int_equal(cell->candidates[k].timing.seconds > 0, worth);
				nmeasured += worth;
				npruned += !worth;
			}
			if (b == 0) /* memory is what takes the time */
				assert_true(cell->candidates[1].pipeline == UW_PIPELINE_DECODE &&
					    cell->candidates[1].timing.seconds <= 0);
		}
	}
	assert_true(npruned > NSHAPES && nmeasured > NSHAPES * NBATCHES * 3);
	free_result(&r);
	close_cuda();
}

/* Between two multiplications by the same copy, others are read that are more than asked for. */
static void weights_have_left_the_cache(void **state)
{
	struct uw_autotune_options o;
	struct result r;
	size_t nrepeated = 0;

	open_cuda(planted_ns);
	o = options_of(0);
	r = tune(1, &o);
	assert_true(trace.n < MAX_LAUNCHES);
	for (size_t i = 0; i < trace.n; i++) {
		const struct emu_launch *l = &trace.launches[i];
		uint64_t nweights = 0;

		if (l->kernel != EMU_GEMM || l->source != UW_LINEAR_P4)
			continue; /* what is BF16 may be a buffer of decoded weights */
		for (size_t k = i + 1; k < trace.n; k++) {
			if (trace.launches[k].weights_dev == l->weights_dev &&
			    trace.launches[k].allocation == l->allocation) {
				assert_true(nweights * 4 / 3 + l->nrows * l->ncols >= 500000);
				nrepeated++;
				break;
			}
			if (trace.launches[k].kernel != EMU_DECODE)
				nweights += trace.launches[k].nrows * trace.launches[k].ncols;
			if (nweights > 1000000)
				break;
		}
	}
	assert_true(nrepeated > 100);
	free_result(&r);
	close_cuda();
}

static void stays_inside_the_budget(void **state)
{
	static const double budgets[] = { 1, 10 };

	for (unsigned i = 0; i < COUNT(budgets); i++) {
		struct uw_autotune_options o;
		struct result r;
		double start;

		open_cuda(planted_ns);
		plant();
		o = options_of(budgets[i]);
		start = now();
		r = tune(1, &o);
		assert_true(now() - start < 1.1 * budgets[i]);
		assert_true(now() - start > 0.2 * budgets[i]); /* and makes use of it */
		free_result(&r);
		close_cuda();
	}
}

/* By itself, one cut of gate+up is the best; behind another shape's launch it is the worst. */
static uint64_t last_nrows;
static struct uw_gpu_gemm_config alone, in_layer;

static bool is_cut(const struct emu_launch *l, const struct uw_gpu_gemm_config *c)
{
	return l->config.tile_n == c->tile_n && l->config.blocks_per_sm == c->blocks_per_sm &&
	       l->config.parts == c->parts;
}

static uint64_t neighbourly_ns(const struct emu_launch *l)
{
	bool behind_another = last_nrows != l->nrows;

	last_nrows = l->nrows;
	if (l->kernel != EMU_GEMM || l->nrows != shapes[GATE_UP][0])
		return l->kernel == EMU_GEMM ? 40000 : 60000;
	if (is_cut(l, &alone))
		return behind_another ? 90000 : 40000;
	return is_cut(l, &in_layer) ? 42000 : 50000;
}

static void the_layer_has_the_last_word(void **state)
{
	struct uw_autotune_options o;
	struct result r;
	unsigned first, second;

	open_cuda(neighbourly_ns);
	first = pick(GATE_UP, 16, 0, &alone);
	second = pick(GATE_UP, 16, 1, &in_layer);
	o = options_of(20);
	r = tune(1, &o);
	assert_int_equal(r.report.shapes[GATE_UP].cells[1].fastest, first);
	assert_int_equal(r.report.shapes[GATE_UP].cells[1].chosen, second);
	assert_int_equal(entry_of(&r, 1, GATE_UP, 16)->nanoseconds / 1000, 42);
	/* the palette pipeline throughout has the default cut's or `alone`'s time; either is slower */
	assert_true(r.report.layers[1].single[UW_PIPELINE_PALETTE].ratio < 0.99);
	assert_true(r.report.layers[1].chosen.ratio > 0.9);
	free_result(&r);
	close_cuda();
}

static uint64_t raw_wins_ns(const struct emu_launch *l)
{
	return l->kernel == EMU_DENSE ? 20000 : 50000;
}

static void small_matrices_may_be_raw(void **state)
{
	static const uint64_t limits[] = { 0, 2 * 192 * 512, UINT64_MAX };

	for (unsigned i = 0; i < 2 * COUNT(limits); i++) {
		struct uw_autotune_options o;
		struct result r;

		open_cuda(raw_wins_ns);
		o = options_of(2);
		o.raw_nbytes = limits[i / 2];
		r = tune(i % 2, &o);
		for (unsigned k = 0; k < NSHAPES; k++) {
			bool small = shapes[k][0] * shapes[k][1] * 2 <= o.raw_nbytes;
			bool several = k == QKV || k == GATE_UP; /* whose parts cuBLASLt multiplies one by one */

			if (small && !several)
				assert_int_equal(entry_of(&r, i % 2, k, 1)->pipeline, UW_PIPELINE_RAW);
			if (!small)
				assert_int_not_equal(entry_of(&r, i % 2, k, 1)->pipeline, UW_PIPELINE_RAW);
		}
		free_result(&r);
		close_cuda();
	}
}

/* ---- modes ---- */

static uint64_t by_source_ns(const struct emu_launch *l)
{
	return l->kernel == EMU_DECODE ? 30000 : l->kernel == EMU_GEMM && l->source == UW_LINEAR_P4 ? 40000 : 50000;
}

/* All that is launched is cut as linears with the option cut it, and cuBLASLt has no part in it. */
static void modes_fix_cuts(void **state)
{
	for (unsigned mode = 0; mode < 4; mode++) {
		struct uw_cuda_linear_options linear = { .require_bitexact = mode & 1, .batch_invariant = mode >> 1 };
		struct uw_autotune_options o;
		struct result r;
		size_t ncompared = 0;

		open_cuda(by_source_ns);
		o = options_of(1);
		o.require_bitexact = linear.require_bitexact;
		o.batch_invariant = linear.batch_invariant;
		r = tune(0, &o);
		for (size_t i = 0; i < trace.n; i++) {
			const struct emu_launch *l = &trace.launches[i];
			struct uw_cuda_key key = { UW_CODING_H, l->nrows, l->ncols, 1, false };
			struct uw_cuda_choice choice;

			assert_true(mode == 0 || l->kernel != EMU_DENSE);
			if (mode == 0 || l->kernel != EMU_GEMM || l->nrows == 64 || l->nrows == 320 || l->nrows == 512)
				continue; /* parts of a linear: cut as all of it */
			assert_int_equal(uw_cuda_choose(&cuda->facts, NULL, &linear, &key, uw_bucket_of(l->nx),
							&choice), UW_OK);
			assert_true(is_cut(l, &choice.config));
			ncompared++;
		}
		assert_true(mode == 0 || ncompared > 1000);
		for (unsigned i = 0; i < NSHAPES; i++) {
			for (unsigned b = 0; b < NBATCHES; b++) {
				const struct uw_tuning_entry *e = entry_of(&r, 0, i, batches[b]);

				assert_int_equal(e->pipeline, UW_PIPELINE_TRANSCODE);
				assert_true(mode == 0 || e->tile_n == 0);
			}
		}
		free_result(&r);
		close_cuda();
	}
}

/* Without cuBLASLt everything goes through kernels of the library, which can be cut. */
static void without_cublas(void **state)
{
	struct uw_autotune_options o;
	struct result r;

	open_cuda(by_source_ns);
	uw_cuda_close(&cuda);
	emu_device.has_dense = false;
	assert_int_equal(uw_cuda_open_ops(emu_device_ops(), 0, NULL, &cuda, NULL), UW_OK);
	o = options_of(1);
	o.raw_nbytes = UINT64_MAX;
	r = tune(1, &o);
	assert_int_equal(emu_device.ndense, 0);
	for (unsigned i = 0; i < NSHAPES; i++)
		assert_int_equal(entry_of(&r, 1, i, 16)->pipeline, /* v needs another launch but if all is BF16 */
				 i == QKV ? UW_PIPELINE_RAW : UW_PIPELINE_PALETTE);
	free_result(&r);
	close_cuda();
}

/* ---- the file ---- */

static void linears_do_as_the_file_says(void **state)
{
	struct uw_linear_part parts[3] = { { 0 } };
	struct uw_cuda_linear_options how = { 0 };
	struct uw_autotune_options o;
	struct uw_tuning *again;
	struct uw_cuda_linear *linear;
	struct result r;
	char *text;
	size_t nbytes;

	open_cuda(planted_ns);
	plant();
	o = options_of(20);
	r = tune(1, &o);
	assert_int_equal(uw_tuning_print(r.tuning, &text, &nbytes, NULL), UW_OK);
	assert_non_null(strstr(text, "\ndevice Emulated GPU\np4 192 256 1 palette "));
	assert_null(strstr(text, "predicted"));
	assert_int_equal(uw_tuning_parse(text, nbytes, &again, NULL), UW_OK);
	how.tuning = again;
	parts[0].tensor = uw_model_find(models[1], LAYER "self_attn.q_proj.weight");
	parts[1].tensor = uw_model_find(models[1], LAYER "self_attn.k_proj.weight");
	parts[2].tensor = uw_model_find(models[1], LAYER "self_attn.v_proj.weight");
	assert_int_equal(uw_cuda_linear_create(cuda, models[1], parts, 3, &how, &linear, NULL), UW_OK);
	for (unsigned b = 0; b < NBATCHES; b++) {
		const struct uw_cuda_choice *c = &linear->choices[uw_bucket_of(batches[b])];

		assert_int_equal(c->pipeline, UW_PIPELINE_PALETTE);
		assert_int_equal(c->config.tile_n, planted[QKV][b].tile_n);
		assert_int_equal(c->config.blocks_per_sm, planted[QKV][b].blocks_per_sm);
		assert_int_equal(c->config.parts, planted[QKV][b].parts);
		assert_int_equal(c->config.nblocks, cuda->facts.device.nsms * c->config.blocks_per_sm);
	}
	uw_cuda_linear_free(&linear);
	uw_tuning_free(&again);
	free(text);
	free_result(&r);
	close_cuda();
}

/* ---- kernels that run ---- */

/* With kernels behind the launches: what candidates write to has room for them, whatever they cut. */
static void kernels_that_run(void **state)
{
	static const struct want one[] = { { "w", "BF16", 2, 2, { 192, 128 }, FILL_GAUSSIAN } };
	struct source one_source = make_source(one, 1);

	for (unsigned p = 0; p < 2; p++) {
		struct packed one_packed = pack(&one_source, (enum uw_profile)p);
		struct uw_model *model = open_packed(&one_packed, NULL);
		struct uw_autotune_report report;
		struct uw_tuning *tuning;
		struct uw_autotune_options o;

		open_cuda_of(p == 0 ? 90 : 80, by_source_ns);
		emu_device.kernel_ns = NULL;
		o = options_of(0);
		o.batches = (const uint16_t[]){ 16 };
		o.nbatches = 1;
		o.cycle_nbytes = 1;
		assert_int_equal(uw_autotune(model, &o, &tuning, &report, NULL), UW_OK);
		assert_int_equal(uw_tuning_nentries(tuning), 1);
		assert_true(emu_device.ngemm > 50 && emu_device.ndense > 5);
		assert_true(report.layers[0].chosen.seconds > 0);
		uw_tuning_free(&tuning);
		uw_autotune_report_free(&report);
		close_cuda();
		uw_model_close(&model);
		free(one_packed.bytes);
	}
	free(one_source.bytes);
}

/* ---- failures ---- */

/* Memory or events fail at any time: an error, and all memory comes back. */
static void failures_come_back(void **state)
{
	for (unsigned what = 0; what < 2; what++) {
		bool done = false;
		unsigned nfailed = 0;

		for (int64_t budget = 0; !done; budget += 1 + budget / 8) {
			struct uw_autotune_report report;
			struct uw_tuning *tuning = NULL;
			struct uw_autotune_options o;
			enum uw_status status;

			open_cuda(by_source_ns);
			*(what == 0 ? &emu_device.alloc_budget : &emu_device.event_budget) = budget;
			o = options_of(0);
			o.nbatches = 2;
			o.cycle_nbytes = 1;
			status = uw_autotune(models[0], &o, &tuning, &report, NULL);
			done = status == UW_OK;
			assert_true(done || status == (what == 0 ? UW_ERR_NOMEM : UW_ERR_DEVICE));
			nfailed += !done;
			uw_tuning_free(&tuning);
			uw_autotune_report_free(&report);
			close_cuda();
		}
		assert_true(nfailed > 10);
	}
}

static uint64_t no_ns(const struct emu_launch *l)
{
	return 0;
}

static bool yes(void *ctx)
{
	return true;
}

/* A clock that stands still, and somebody who has enough of it. */
static void odd_machines(void **state)
{
	struct uw_autotune_report report;
	struct uw_tuning *tuning;
	struct uw_autotune_options o;
	struct result r;

	open_cuda(no_ns);
	o = options_of(1);
	o.nbatches = 1;
	r = tune(0, &o);
	for (unsigned i = 0; i < NSHAPES; i++)
		assert_int_not_equal(entry_of(&r, 0, i, 1)->pipeline, UW_PIPELINE_RAW);
	free_result(&r);
	o.cancelled = yes;
	assert_int_equal(uw_autotune(models[0], &o, &tuning, &report, NULL), UW_ERR_CANCELLED);
	close_cuda();
}

/* ---- candidates ---- */

static void candidates_of_all_devices(void **state)
{
	static const struct uw_gpu_facts devices[] = {
		{ "Hopper", { 132, 90, 233472 }, 60u << 20, UINT64_C(4800000000000), 1980 },
		{ "Ampere", { 108, 80, 167936 }, 40u << 20, UINT64_C(2000000000000), 1410 },
		{ "Ada", { 142, 89, 102400 }, 96u << 20, UINT64_C(860000000000), 2520 },
	};
	static const uint64_t dims[][2] = { { 64, 64 }, { 6144, 4096 }, { 28672, 4096 }, { 128256, 8192 },
					    { 100, 1001 } };

	for (unsigned i = 0; i < COUNT(devices) * COUNT(dims) * 13 * 8; i++) {
		const struct uw_gpu_facts *facts = &devices[i % 3];
		struct uw_cuda_linear_options modes = { .require_bitexact = i / 3 % 4 == 1,
							.batch_invariant = i / 3 % 4 == 2 };
		struct uw_cuda_search search = { facts, &modes, i / 12 % 2 };
		uint64_t batch = UINT64_C(1) << i / 24 % 13;
		enum uw_coding coding = i % 2 ? UW_CODING_H : UW_CODING_P4;
		struct uw_cuda_key key = { coding, dims[i % 5][0], dims[i % 5][1], 1, false };
		struct uw_autotune_cell cell = { 0 };

		assert_int_equal(uw_cuda_candidates(&search, &key, batch, &cell, NULL), UW_OK);
		assert_in_range(cell.n, 2, UW_AUTOTUNE_MAX_CANDIDATES);
		for (unsigned k = 0; k < cell.n; k++) {
			const struct uw_candidate *c = &cell.candidates[k];
			struct uw_cuda_choice choice;

			assert_true(uw_cuda_fits(c->pipeline, &key) && c->predicted > 0);
			assert_true(k == 0 || c->pipeline >= c[-1].pipeline);
			assert_true(c->tile_n == 0 || (!modes.require_bitexact && !modes.batch_invariant));
			assert_int_equal(uw_cuda_candidate_choice(&search, &key, batch, c, &choice, NULL), UW_OK);
			assert_int_equal(choice.pipeline, c->pipeline);
			assert_int_equal(uw_gpu_gemm_config_check(&facts->device, &choice.config), UW_OK);
			/* sums in parts take memory: never where tiles alone keep the device busy */
			assert_true(c->parts <= 1 || ((key.nrows + 127) / 128) * ((batch + c->tile_n - 1) / c->tile_n) <
							     2 * choice.config.nblocks);
			for (unsigned j = 0; j < k; j++) /* no two are the same */
				assert_true(cell.candidates[j].pipeline != c->pipeline ||
					    cell.candidates[j].tile_n != c->tile_n ||
					    cell.candidates[j].parts != c->parts ||
					    cell.candidates[j].blocks_per_sm != c->blocks_per_sm);
		}
	}
}

/* Waste costs: padding, a last wave that is not full, sums in parts. */
static void cuts_cost_what_they_waste(void **state)
{
	static const struct uw_gpu_facts h200 = { "Hopper", { 132, 90, 233472 }, 60u << 20, UINT64_C(4800000000000),
						  1980 };
	struct uw_cuda_key key = { UW_CODING_P4, 133 * 128, 4096, 1, false };
	struct uw_gpu_gemm_config c = { UW_GPU_GEMM_WGMMA, 64, 1, 1, 132 }, wide = c, even = c;

	wide.tile_n = 256;
	assert_true(uw_cuda_predict_cut(&h200, &key, UW_PIPELINE_PALETTE, 300, &wide) >
		    uw_cuda_predict_cut(&h200, &key, UW_PIPELINE_PALETTE, 300, &c));
	even.parts = 0;
	assert_true(uw_cuda_predict_cut(&h200, &key, UW_PIPELINE_PALETTE, 8, &even) <
		    uw_cuda_predict_cut(&h200, &key, UW_PIPELINE_PALETTE, 8, &c)); /* 133 tiles, two waves */
	key.nrows = 132 * 128;
	assert_true(uw_cuda_predict_cut(&h200, &key, UW_PIPELINE_PALETTE, 8, &even) >
		    uw_cuda_predict_cut(&h200, &key, UW_PIPELINE_PALETTE, 8, &c));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_was_planted),
		cmocka_unit_test(measures_what_the_model_leaves),
		cmocka_unit_test(weights_have_left_the_cache),
		cmocka_unit_test(stays_inside_the_budget),
		cmocka_unit_test(the_layer_has_the_last_word),
		cmocka_unit_test(small_matrices_may_be_raw),
		cmocka_unit_test(modes_fix_cuts),
		cmocka_unit_test(without_cublas),
		cmocka_unit_test(linears_do_as_the_file_says),
		cmocka_unit_test(kernels_that_run),
		cmocka_unit_test(failures_come_back),
		cmocka_unit_test(odd_machines),
		cmocka_unit_test(candidates_of_all_devices),
		cmocka_unit_test(cuts_cost_what_they_waste),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
