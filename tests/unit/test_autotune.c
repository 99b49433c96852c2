/* SPDX-License-Identifier: Apache-2.0 */
/* What unweight-tune and unweight-bench measure, and what follows from times; how long things take is never asserted. */
#include "model_common.h"

#include "autotune.h"

/* ---- rounds ---- */

#define MAX_TURNS 256u

struct fake {
	struct fake_shared *shared;
	unsigned ncalls;
};

struct fake_shared {
	uint64_t nturns;
	unsigned fail_at; /* turn; 0: never */
	const struct fake *first[MAX_TURNS]; /* whose turn it was */
};

static enum uw_status take_turn(void *ctx, uint64_t turn, struct uw_error *err)
{
	struct fake *f = ctx;

	assert_int_equal(turn, f->shared->nturns);
	assert_in_range(turn, 0, MAX_TURNS - 1);
	f->shared->first[f->shared->nturns++] = f;
	f->ncalls++;
	return f->shared->fail_at != 0 && turn == f->shared->fail_at
		       ? uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "fake")
		       : UW_OK;
}

static enum uw_status measure_three(struct uw_rounds *rounds, struct fake_shared *shared, struct fake fakes[3],
				    struct uw_timing timings[3])
{
	struct uw_runner runners[3];

	for (unsigned i = 0; i < 3; i++) {
		fakes[i] = (struct fake){ .shared = shared };
		runners[i] = (struct uw_runner){ take_turn, &fakes[i] };
	}
	return uw_measure(rounds, runners, 3, timings, NULL);
}

static void each_round_is_a_turn_of_each(void **state)
{
	struct uw_rounds rounds = { .seconds = 1000, .min = 3, .max = 20, .nthreads = 1 };
	struct fake_shared shared = { 0 };
	struct fake fakes[3];
	struct uw_timing timings[3];
	unsigned nfirst[3] = { 0 };

	assert_int_equal(measure_three(&rounds, &shared, fakes, timings), UW_OK);
	assert_int_equal(rounds.turn, 3 * 21); /* one round more, which does not count */
	for (unsigned r = 0; r < 21; r++) {
		unsigned seen = 0;

		for (unsigned k = 0; k < 3; k++)
			seen |= 1u << (shared.first[3 * r + k] - fakes);
		assert_int_equal(seen, 7);
		nfirst[shared.first[3 * r] - fakes]++;
	}
	for (unsigned i = 0; i < 3; i++) {
		assert_int_equal(fakes[i].ncalls, 21);
		assert_true(nfirst[i] > 0 && nfirst[i] < 21); /* no fixed order */
		assert_true(timings[i].seconds > 0 && timings[i].ratio > 0 && timings[i].nrounds <= 20);
	}
	assert_true(timings[0].ratio == 1);
}

static bool yes(void *ctx)
{
	return true;
}

static void rounds_end(void **state)
{
	struct uw_rounds rounds = { .seconds = 0, .min = 4, .max = 20, .nthreads = 1 };
	struct fake_shared shared = { 0 }, failing = { .fail_at = 7 }, none = { 0 };
	struct fake fakes[3];
	struct uw_timing timings[3];

	assert_int_equal(measure_three(&rounds, &shared, fakes, timings), UW_OK);
	assert_int_equal(fakes[2].ncalls, 1 + 4);
	rounds.turn = 0;
	assert_int_equal(measure_three(&rounds, &failing, fakes, timings), UW_ERR_FORMAT);
	assert_int_equal(failing.nturns, 8);
	rounds.cancelled = yes;
	assert_int_equal(measure_three(&rounds, &none, fakes, timings), UW_ERR_CANCELLED);
	assert_int_equal(none.nturns, 0);
}

static void copies_outlast_the_cache(void **state)
{
	assert_int_equal(uw_ncopies(1000, 0), 1);
	for (uint64_t nweights = 1; nweights < 5000; nweights += 7) {
		for (uint64_t nbytes = 1; nbytes < 100000; nbytes += 997) {
			uint64_t n = uw_ncopies(nweights, nbytes), each = nweights + nweights / 3;

			assert_true((n - 1) * each >= nbytes && (n == 2 || (n - 2) * each < nbytes));
		}
	}
	assert_true(uw_cache_nbytes() > 0);
}

/* ---- the choice ---- */

static void candidates_of_a_coding(void **state)
{
	const uint32_t both = 1u << UW_PIPELINE_RAW | 1u << UW_PIPELINE_DECODE | 1u << UW_PIPELINE_EXPONENT;

	assert_int_equal(uw_pipelines_for(UW_CODING_H), both | 1u << UW_PIPELINE_TRANSCODE);
	assert_int_equal(uw_pipelines_for(UW_CODING_P4), both | 1u << UW_PIPELINE_PALETTE);
}

static void expect_near(double a, double b)
{
	assert_true(a > 0.999 * b && a < 1.001 * b);
}

static void prediction(void **state)
{
	/* 1 GB/s read, 1 GFLOP/s multiplied: reading takes over up to batch 1000. */
	const struct uw_autotune_probe p = {
		.first = { [UW_PIPELINE_RAW] = 2e-3, [UW_PIPELINE_DECODE] = 5e-3, [UW_PIPELINE_PALETTE] = 1.5e-3 },
		.raw_last = 8e-3,
		.read_nbytes = { [UW_PIPELINE_RAW] = 2000000, [UW_PIPELINE_DECODE] = 1500000,
				 [UW_PIPELINE_PALETTE] = 1500000 },
		.nweights = 1000000,
		.first_batch = 1,
		.last_batch = 64,
	};

	expect_near(uw_autotune_predict(&p, UW_PIPELINE_RAW, 1), 2e-3);
	expect_near(uw_autotune_predict(&p, UW_PIPELINE_RAW, 8), 2e-3);   /* reading hides multiplying, 1 ms */
	expect_near(uw_autotune_predict(&p, UW_PIPELINE_RAW, 64), 8e-3);
	expect_near(uw_autotune_predict(&p, UW_PIPELINE_PALETTE, 8), 1.5e-3);
	expect_near(uw_autotune_predict(&p, UW_PIPELINE_PALETTE, 32), 4e-3);
	expect_near(uw_autotune_predict(&p, UW_PIPELINE_DECODE, 1), 5e-3);
	expect_near(uw_autotune_predict(&p, UW_PIPELINE_DECODE, 64), 11.5e-3); /* 3.5 ms of decoding on top */
}

static void fastest_of_a_cell(void **state)
{
	struct uw_autotune_cell cell = { .n = 5 };

	cell.candidates[0].timing.seconds = 1; /* RAW */
	cell.candidates[1].timing.seconds = 3;
	cell.candidates[2].timing.seconds = 2;
	cell.candidates[4].timing.seconds = 2; /* 3: not measured */
	assert_int_equal(uw_autotune_fastest(&cell, true), 0);
	assert_int_equal(uw_autotune_fastest(&cell, false), 2);
	cell.candidates[4].timing.seconds = 1.9;
	assert_int_equal(uw_autotune_fastest(&cell, false), 4);
	cell.n = 1;
	assert_int_equal(uw_autotune_fastest(&cell, false), 0);
}

/* ---- a model ---- */

static const struct want wants[] = {
	{ "lm_head.weight", "BF16", 2, 2, { 256, 192 }, FILL_GAUSSIAN },
	{ "model.embed_tokens.weight", "BF16", 2, 2, { 320, 192 }, FILL_GAUSSIAN }, /* looked up, not multiplied */
	{ "model.layers.3.input_layernorm.weight", "BF16", 2, 1, { 192 }, FILL_GAUSSIAN },
	{ "model.layers.3.mlp.down_proj.weight", "BF16", 2, 2, { 192, 512 }, FILL_GAUSSIAN },
	{ "model.layers.3.mlp.up_proj.weight", "BF16", 2, 2, { 512, 192 }, FILL_GAUSSIAN },
	{ "model.layers.3.self_attn.q_proj.weight", "BF16", 2, 2, { 512, 192 }, FILL_GAUSSIAN },
	{ "model.layers.4.mlp.gate.weight", "BF16", 2, 2, { 64, 192 }, FILL_GAUSSIAN }, /* a router */
	{ "model.layers.4.mlp.up_proj.weight", "BF16", 2, 2, { 512, 192 }, FILL_GAUSSIAN },
	{ "model.layers.4.self_attn.q_proj.weight", "BF16", 2, 2, { 64, 192 }, FILL_RANDOM }, /* not compressed */
};

static struct source source;
static struct packed packed[2];
static struct uw_model *models[2], *copies[2];

static int setup(void **state)
{
	const struct uw_model_options pread = { .flags = UW_MODEL_PREAD };

	use_level(state);
	rng_seed(3);
	source = make_source(wants, COUNT(wants));
	for (unsigned p = 0; p < 2; p++) {
		packed[p] = pack(&source, (enum uw_profile)p);
		models[p] = open_packed(&packed[p], NULL);
		copies[p] = open_packed(&packed[p], &pread);
	}
	return 0;
}

static int teardown(void **state)
{
	for (unsigned p = 0; p < 2; p++) {
		uw_model_close(&copies[p]);
		uw_model_close(&models[p]);
		free(packed[p].bytes);
	}
	free(source.bytes);
	return 0;
}

static void shapes_and_the_first_layer(void **state)
{
	static const uint64_t shapes[][3] = { { 192, 512, 1 }, { 256, 192, 1 }, { 512, 192, 3 } };

	for (unsigned p = 0; p < 2; p++) {
		struct uw_weights weights[5];
		struct uw_survey s;

		assert_int_equal(uw_survey_open(models[p], false, &s, NULL), UW_OK);
		assert_int_equal(s.nshapes, COUNT(shapes));
		for (size_t i = 0; i < COUNT(shapes); i++) {
			assert_int_equal(s.shapes[i].coding, p == 0 ? UW_CODING_H : UW_CODING_P4);
			assert_int_equal(s.shapes[i].nrows, shapes[i][0]);
			assert_int_equal(s.shapes[i].ncols, shapes[i][1]);
			assert_int_equal(s.shapes[i].n, shapes[i][2]);
		}
		assert_int_equal(s.layer, 3);
		assert_int_equal(s.nsteps, 3);
		assert_int_equal(uw_survey_weights(&s.shapes[2], copies[p], 5, weights, NULL), UW_OK);
		for (unsigned i = 0; i < 5; i++) {
			assert_ptr_equal(weights[i].model, i < 3 ? models[p] : copies[p]);
			assert_string_equal(weights[i].tensor->name, s.shapes[2].weights[i % 3].tensor->name);
		}
		uw_survey_close(&s);
	}
}

static void every_cell_gets_a_choice(void **state)
{
	static const uint16_t batches[] = { 1, 16 };

	for (unsigned p = 0; p < 2; p++) {
		const struct uw_autotune_options options = {
			.copies = copies[p], .batches = batches, .nbatches = 2, .nthreads = 1 + p, .cycle_nbytes = 200000,
		};
		struct uw_autotune_report report;
		struct uw_tuning *tuning;

		assert_int_equal(uw_autotune(models[p], &options, &tuning, &report, NULL), UW_OK);
		assert_int_equal(uw_tuning_nentries(tuning), 6);
		assert_int_equal(report.nshapes, 3);
		assert_int_equal(report.nsteps, 3);
		for (size_t i = 0; i < 6; i++) {
			const struct uw_tuning_entry *e = uw_tuning_entry(tuning, i);
			const struct uw_autotune_cell *cell = &report.shapes[i / 2].cells[i % 2];

			assert_int_equal(e->nrows, report.shapes[i / 2].nrows);
			assert_int_equal(e->batch, batches[i % 2]);
			assert_in_range(cell->chosen, 1, cell->n - 1); /* not RAW */
			assert_int_equal(e->pipeline, cell->candidates[cell->chosen].pipeline);
			assert_true(cell->candidates[cell->chosen].predicted > 0);
		}
		uw_tuning_free(&tuning);
		uw_autotune_report_free(&report);
	}
}

static void bad_options_are_refused(void **state)
{
	static const uint16_t lists[][2] = { { 0, 1 }, { 3, 4 }, { 2, 2 }, { 4, 2 }, { 1, 8192 } };
	struct uw_autotune_options options = { .copies = copies[0], .nbatches = 2, .nthreads = 1 };
	struct uw_autotune_report report;
	struct uw_tuning *tuning;

	for (size_t i = 0; i < COUNT(lists); i++) {
		options.batches = lists[i];
		assert_int_equal(uw_autotune(models[0], &options, &tuning, &report, NULL), UW_ERR_ARG);
	}
	options.batches = (const uint16_t[]){ 1, 2 };
	options.cancelled = yes;
	assert_int_equal(uw_autotune(models[0], &options, &tuning, &report, NULL), UW_ERR_CANCELLED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_round_is_a_turn_of_each),
		cmocka_unit_test(rounds_end),
		cmocka_unit_test(copies_outlast_the_cache),
		cmocka_unit_test(candidates_of_a_coding),
		cmocka_unit_test(prediction),
		cmocka_unit_test(fastest_of_a_cell),
		cmocka_unit_test(shapes_and_the_first_layer),
		cmocka_unit_test(every_cell_gets_a_choice),
		cmocka_unit_test(bad_options_are_refused),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
