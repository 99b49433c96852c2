/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x through every pipeline: the same bits as from BF16 in memory, near the true value, whatever the batch,
 * threads, cuts and types; tensor-parallel cuts add up; experts.
 */
#include "model_common.h"

#include <math.h>

#include "unweight/linear.h"
#include "unweight/tuning.h"

static const struct want wants[] = {
	{ "wide", "BF16", 2, 2, { 200, 1216 }, FILL_GAUSSIAN }, /* odd number of tile columns: chunks straddle row
								   blocks */
	{ "tall", "BF16", 2, 2, { 1100, 192 }, FILL_GAUSSIAN },
	{ "ragged", "BF16", 2, 2, { 70, 100 }, FILL_GAUSSIAN }, /* linear order */
	{ "random", "BF16", 2, 2, { 128, 192 }, FILL_RANDOM },  /* stored as it is */
	{ "scaled", "BF16", 2, 2, { 400, 576 }, FILL_SCALED }, /* with a row order */
	{ "experts", "BF16", 2, 3, { 5, 512, 192 }, FILL_GAUSSIAN },
	{ "constant", "BF16", 2, 2, { 64, 192 }, FILL_CONSTANT },
	{ "vector", "BF16", 2, 1, { 64 }, FILL_GAUSSIAN },
	{ "floats", "F32", 4, 2, { 64, 64 }, FILL_GAUSSIAN },
};
enum { WIDE, TALL, RAGGED, RANDOM, SCALED, EXPERTS };

static struct source source;
static struct packed packed[2];
static struct uw_model *models[2];
static struct uw_pool *pools[4];

static int setup(void **state)
{
	use_level(state);
	rng_seed(7);
	source = make_source(wants, COUNT(wants));
	for (unsigned p = 0; p < 2; p++) {
		packed[p] = pack(&source, (enum uw_profile)p);
		models[p] = open_packed(&packed[p], NULL);
	}
	for (unsigned n = 1; n < COUNT(pools); n++)
		assert_int_equal(uw_pool_create(n, &pools[n], NULL), UW_OK);
	return 0;
}

static int teardown(void **state)
{
	for (unsigned n = 1; n < COUNT(pools); n++)
		uw_pool_free(&pools[n]);
	for (unsigned p = 0; p < 2; p++) {
		uw_model_close(&models[p]);
		free(packed[p].bytes);
	}
	free(source.bytes);
	return 0;
}

/* ---- running ---- */

static struct uw_linear *create(unsigned profile, const struct uw_linear_part *parts, size_t nparts,
				const struct uw_linear_options *options)
{
	struct uw_linear *linear;
	struct uw_error err;

	if (uw_linear_create(models[profile], parts, nparts, options, &linear, &err) != UW_OK)
		fail_msg("%s", err.what);
	return linear;
}

static struct uw_linear_part part_of(unsigned profile, const char *name)
{
	return (struct uw_linear_part){ .tensor = uw_model_find(models[profile], name) };
}

static void *need(size_t nbytes)
{
	void *p;

	assert_int_equal(posix_memalign(&p, 64, nbytes + 64), 0);
	return p;
}

struct product {
	float *y[3];
	size_t ld[3];
};

/* FP32 results of all parts, rows padded by 3 values that nobody may touch. */
static struct product run(const struct uw_linear *linear, size_t nparts, unsigned nthreads, const float *x,
			  uint64_t batch)
{
	struct product product = { 0 };
	struct uw_linear_args args = {
		.x = x,
		.x_dtype = UW_DTYPE_F32,
		.ldx = (size_t)uw_linear_ncols(linear),
		.batch = batch,
		.y = (void *const *)product.y,
		.y_dtype = UW_DTYPE_F32,
		.ldy = product.ld,
		.scratch_nbytes = uw_linear_scratch_nbytes(linear, batch, nthreads),
	};
	struct uw_error err;

	for (size_t i = 0; i < nparts; i++) {
		product.ld[i] = (size_t)uw_linear_nrows(linear, i) + 3;
		product.y[i] = need(product.ld[i] * batch * sizeof(float));
		memset(product.y[i], 0xA5, product.ld[i] * batch * sizeof(float));
	}
	args.scratch = need(args.scratch_nbytes);
	if (uw_linear_run(linear, pools[nthreads], &args, &err) != UW_OK)
		fail_msg("%s", err.what);
	free(args.scratch);
	return product;
}

static void free_product(struct product *product)
{
	for (unsigned i = 0; i < 3; i++)
		free(product->y[i]);
}

static float *make_x(uint64_t batch, uint64_t ncols)
{
	float *x = need((size_t)(batch * ncols) * sizeof(*x));

	for (uint64_t i = 0; i < batch * ncols; i++)
		x[i] = gaussian();
	return x;
}

static void expect_same(const struct product *a, const struct product *b, size_t nparts, uint64_t batch)
{
	for (size_t i = 0; i < nparts; i++) {
		assert_int_equal(a->ld[i], b->ld[i]);
		assert_memory_equal(a->y[i], b->y[i], a->ld[i] * batch * sizeof(float));
	}
}

static float source_weight(size_t tensor, uint64_t i)
{
	const uint8_t *bytes = source.bytes + source.off[tensor] + 2 * i; /* little-endian, whatever this machine is */

	return float_of((uint16_t)(bytes[0] | bytes[1] << 8));
}

/* Within the rounding of an FP32 sum in any order: n 2^-23 of the sum of magnitudes, and what a BF16 kernel makes of
 * subnormal numbers. */
static void expect_true_values(size_t tensor, uint64_t expert, const struct product *p, const float *x, uint64_t batch)
{
	uint64_t ncols = wants[tensor].dims[wants[tensor].ndims - 1],
		 nrows = wants[tensor].dims[wants[tensor].ndims - 2];

	for (uint64_t n = 0; n < batch; n++) {
		for (uint64_t r = 0; r < nrows; r++) {
			double sum = 0, size = 0;

			for (uint64_t c = 0; c < ncols; c++) {
				double v = (double)source_weight(tensor, (expert * nrows + r) * ncols + c) *
					   (double)float_of(bf16_of(x[n * ncols + c]));

				sum += v;
				size += fabs(v);
			}
			if (size > 1e37) /* may overflow on the way */
				continue;
			assert_true(fabs((double)p->y[0][n * p->ld[0] + r] - sum) <=
				    1e-30 + size * (double)ncols * 0x1p-23);
		}
		assert_memory_equal((uint8_t *)&p->y[0][n * p->ld[0] + nrows], "\xA5\xA5\xA5\xA5", 4);
	}
}

static const uint64_t batches[] = { 1, 2, 3, 4, 8, 15, 17, 33, 64, 100 };
static const char *const names[] = { "wide", "tall", "ragged", "random", "scaled" };

static void pipelines_give_the_same_bits(void **state)
{
	for (unsigned i = 0; i < COUNT(names); i++) {
		for (unsigned b = 0; b < COUNT(batches); b++) {
			float *x = make_x(batches[b], wants[i].dims[1]);
			struct uw_linear_part part = part_of(0, names[i]);
			struct uw_linear *raw = create(0, &part, 1, &(struct uw_linear_options){ UW_PIPELINE_RAW });
			struct product want = run(raw, 1, 1, x, batches[b]);

			expect_true_values(i, 0, &want, x, batches[b]);
			for (unsigned profile = 0; profile < 2; profile++) {
				for (unsigned p = 0; p < UW_NPIPELINES; p++) {
					struct uw_linear_options options = { .pipeline = (enum uw_pipeline)p };
					unsigned nthreads = 1 + (p + b) % 3;
					struct uw_linear *linear;
					struct product got;

					part = part_of(profile, names[i]);
					linear = create(profile, &part, 1, &options);
					got = run(linear, 1, nthreads, x, batches[b]);
					expect_same(&got, &want, 1, batches[b]);
					free_product(&got);
					uw_linear_free(&linear);
				}
			}
			free_product(&want);
			uw_linear_free(&raw);
			free(x);
		}
	}
}

static void pipelines_are_what_was_asked_for(void **state)
{
	static const struct {
		unsigned profile;
		enum uw_pipeline asked, got;
		bool owns;
	} cases[] = {
		{ 0, UW_PIPELINE_AUTO, UW_PIPELINE_TRANSCODE, true },
		{ 0, UW_PIPELINE_RAW, UW_PIPELINE_RAW, true },
		{ 0, UW_PIPELINE_DECODE, UW_PIPELINE_DECODE, false },
		{ 0, UW_PIPELINE_EXPONENT, UW_PIPELINE_EXPONENT, false },
		{ 0, UW_PIPELINE_TRANSCODE, UW_PIPELINE_TRANSCODE, true },
		{ 0, UW_PIPELINE_PALETTE, UW_PIPELINE_TRANSCODE, true },
		{ 1, UW_PIPELINE_AUTO, UW_PIPELINE_PALETTE, false },
		{ 1, UW_PIPELINE_RAW, UW_PIPELINE_RAW, true },
		{ 1, UW_PIPELINE_DECODE, UW_PIPELINE_DECODE, false },
		{ 1, UW_PIPELINE_EXPONENT, UW_PIPELINE_EXPONENT, false },
		{ 1, UW_PIPELINE_TRANSCODE, UW_PIPELINE_PALETTE, false },
		{ 1, UW_PIPELINE_PALETTE, UW_PIPELINE_PALETTE, false },
	};

	for (unsigned i = 0; i < COUNT(cases); i++) {
		struct uw_linear_part part = part_of(cases[i].profile, "tall");
		struct uw_linear *linear = create(cases[i].profile, &part, 1,
						  &(struct uw_linear_options){ cases[i].asked });

		assert_int_equal(uw_linear_pipeline(linear, 0, 1), cases[i].got);
		assert_int_equal(uw_linear_pipeline(linear, 0, 4096), cases[i].got);
		assert_true(uw_linear_read_nbytes(linear, 1) > 0);
		/* copies of the groups' heads are always owned */
		assert_int_equal(uw_linear_owned_nbytes(linear) > uw_linear_read_nbytes(linear, 1) / 8, cases[i].owns);
		uw_linear_free(&linear);
	}
}

static void several_matrices_at_once(void **state)
{
	struct uw_linear_part parts[3] = { part_of(1, "tall"), part_of(1, "random"), part_of(1, "constant") };
	struct uw_linear *all = create(1, parts, 3, NULL);
	float *x = make_x(20, 192);

	for (unsigned nthreads = 1; nthreads < COUNT(pools); nthreads++) {
		struct product got = run(all, 3, nthreads, x, 20);

		for (unsigned i = 0; i < 3; i++) {
			struct uw_linear *one = create(1, &parts[i], 1, NULL);
			struct product want = run(one, 1, 1, x, 20);

			assert_memory_equal(got.y[i], want.y[0], want.ld[0] * 20 * sizeof(float));
			free_product(&want);
			uw_linear_free(&one);
		}
		free_product(&got);
	}
	free(x);
	uw_linear_free(&all);
}

/* ---- cuts ---- */

/* Rows first .. end of one result are those of the whole one. */
static void expect_rows(const struct product *cut, const struct product *whole, uint64_t first, uint64_t end,
			uint64_t batch)
{
	for (uint64_t n = 0; n < batch; n++)
		assert_memory_equal(cut->y[0] + n * cut->ld[0], whole->y[0] + n * whole->ld[0] + first,
				    (end - first) * sizeof(float));
}

static void check_row_cuts(size_t tensor, const uint64_t *at, unsigned nat)
{
	uint64_t ncols = wants[tensor].dims[1];
	struct uw_linear_part part = part_of(0, wants[tensor].name);
	struct uw_linear *whole = create(0, &part, 1, NULL);
	float *x = make_x(5, ncols);
	struct product want = run(whole, 1, 1, x, 5);

	for (unsigned i = 0; i < nat; i++) {
		for (unsigned j = i + 1; j < nat; j++) {
			for (unsigned p = 0; p < UW_NPIPELINES; p++) {
				struct uw_linear_options options = { .pipeline = (enum uw_pipeline)p };
				struct uw_linear *cut;
				struct product got;

				part.row_begin = at[i];
				part.row_end = at[j];
				cut = create(0, &part, 1, &options);
				assert_int_equal(uw_linear_nrows(cut, 0), at[j] - at[i]);
				got = run(cut, 1, 2, x, 5);
				expect_rows(&got, &want, at[i], at[j], 5);
				free_product(&got);
				uw_linear_free(&cut);
			}
		}
	}
	free_product(&want);
	uw_linear_free(&whole);
	free(x);
}

static void rows_can_be_cut_anywhere(void **state)
{
	check_row_cuts(WIDE, (uint64_t[]){ 0, 1, 63, 64, 65, 130, 199, 200 }, 8);
	check_row_cuts(SCALED, (uint64_t[]){ 0, 1, 64, 200, 399, 400 }, 6);
}

/* Tensor parallelism over columns: partial sums of n cuts add up, up to rounding; all pipelines agree on each. */
static void columns_can_be_cut_anywhere(void **state)
{
	static const unsigned ways[] = { 2, 3, 4, 8 };
	const uint64_t ncols = 1216, batch = 6;
	struct uw_linear_part part = part_of(1, "wide");
	struct uw_linear *whole = create(1, &part, 1, NULL);
	float *x = make_x(batch, ncols), *cut_x = need((size_t)(batch * ncols) * sizeof(*x));
	struct product want = run(whole, 1, 1, x, batch);

	for (unsigned w = 0; w < COUNT(ways); w++) {
		double *sum = calloc((size_t)(batch * 200), sizeof(*sum));

		for (unsigned k = 0; k < ways[w]; k++) {
			struct product first = { 0 };

			part.col_begin = ncols * k / ways[w];
			part.col_end = ncols * (k + 1) / ways[w];
			for (uint64_t n = 0; n < batch; n++)
				memcpy(cut_x + n * (part.col_end - part.col_begin), x + n * ncols + part.col_begin,
				       (size_t)(part.col_end - part.col_begin) * sizeof(*x));
			for (unsigned p = 0; p < UW_NPIPELINES; p++) {
				struct uw_linear *cut = create(1, &part, 1,
							       &(struct uw_linear_options){ (enum uw_pipeline)p });
				struct product got = run(cut, 1, 1 + p % 3, cut_x, batch);

				if (p == 0) {
					first = got;
				} else {
					expect_same(&got, &first, 1, batch);
					free_product(&got);
				}
				uw_linear_free(&cut);
			}
			for (uint64_t i = 0; i < batch * 200; i++)
				sum[i] += (double)first.y[0][i / 200 * first.ld[0] + i % 200];
			free_product(&first);
		}
		for (uint64_t i = 0; i < batch * 200; i++) {
			float v = want.y[0][i / 200 * want.ld[0] + i % 200];

			if (isfinite(v) && fabs((double)v) < 1e30)
				assert_true(fabs(sum[i] - (double)v) <= 1e-3 * (1 + fabs((double)v)) ||
					    fabs((double)v) > 1e6);
		}
		free(sum);
	}
	free_product(&want);
	uw_linear_free(&whole);
	free(x);
	free(cut_x);
}

/* ---- types ---- */

static void bf16_in_and_out(void **state)
{
	struct uw_linear_part part = part_of(1, "tall");
	struct uw_linear *linear = create(1, &part, 1, NULL);
	const uint64_t batch = 9;
	float *x = make_x(batch, 192);
	uint16_t *x16 = need((size_t)batch * 192 * 2), *y16 = need((size_t)batch * 1100 * 2);
	size_t ld = 1100, nbytes = uw_linear_scratch_nbytes(linear, batch, 2);
	struct product want = run(linear, 1, 1, x, batch);
	struct uw_linear_args args = { x16,           UW_DTYPE_BF16, 192,          batch, (void *[]){ y16 },
				       UW_DTYPE_BF16, &ld,           need(nbytes), nbytes };

	for (uint64_t i = 0; i < batch * 192; i++)
		x16[i] = bf16_of(x[i]);
	assert_int_equal(uw_linear_run(linear, pools[2], &args, NULL), UW_OK);
	for (uint64_t n = 0; n < batch; n++) {
		for (uint64_t r = 0; r < 1100; r++) {
			float v = want.y[0][n * want.ld[0] + r];

			assert_int_equal(y16[n * 1100 + r], isnan(v) ? 0x7FC0 : bf16_of(v));
		}
	}
	args.scratch_nbytes = 0;
	assert_int_equal(uw_linear_run(linear, pools[2], &args, NULL), UW_ERR_SPACE);
	args.scratch_nbytes = 4096;
	assert_int_equal(uw_linear_run(linear, pools[2], &args, NULL), UW_ERR_SPACE);
	args.scratch_nbytes = nbytes;
	args.batch = 0;
	assert_int_equal(uw_linear_run(linear, pools[2], &args, NULL), UW_ERR_ARG);
	args.batch = UW_LINEAR_MAX_BATCH + 1;
	assert_int_equal(uw_linear_run(linear, pools[2], &args, NULL), UW_ERR_ARG);
	args.batch = batch;
	args.x_dtype = UW_DTYPE_F16;
	assert_int_equal(uw_linear_run(linear, pools[2], &args, NULL), UW_ERR_ARG);
	free(args.scratch);
	free(x);
	free(x16);
	free(y16);
	free_product(&want);
	uw_linear_free(&linear);
}

static void bad_parts_are_refused(void **state)
{
	struct uw_linear_part good = part_of(1, "wide"), bad[] = { good, good, good, good, good }, two[2];
	struct uw_linear *linear;

	bad[0].row_begin = 200;
	bad[1].row_end = 201;
	bad[2].col_begin = bad[2].col_end = 7;
	bad[3].col_end = 1217;
	bad[4].expert = 1;
	for (unsigned i = 0; i < COUNT(bad); i++)
		assert_int_equal(uw_linear_create(models[1], &bad[i], 1, NULL, &linear, NULL), UW_ERR_SHAPE);
	two[0] = good;
	two[1] = part_of(1, "tall");
	assert_int_equal(uw_linear_create(models[1], two, 2, NULL, &linear, NULL), UW_ERR_SHAPE);
	good = part_of(1, "vector");
	assert_int_equal(uw_linear_create(models[1], &good, 1, NULL, &linear, NULL), UW_ERR_UNSUPPORTED);
	good = part_of(1, "floats");
	assert_int_equal(uw_linear_create(models[1], &good, 1, NULL, &linear, NULL), UW_ERR_UNSUPPORTED);
	assert_int_equal(uw_linear_create(models[1], two, 0, NULL, &linear, NULL), UW_ERR_ARG);
}

/* ---- experts, modes ---- */

static void experts(void **state)
{
	static const uint64_t first[] = { 0, 3, 3, 20, 21, 40 }; /* the second one has none */
	struct uw_linear_part parts[5];
	float *x = make_x(40, 192);
	float *y = need(40 * 512 * sizeof(float));

	for (unsigned profile = 0; profile < 2; profile++) {
		for (unsigned p = 0; p < UW_NPIPELINES; p++) {
			struct uw_linear_options options = { .pipeline = (enum uw_pipeline)p };
			struct uw_linear *all;
			size_t ld = 512, nbytes;
			struct uw_linear_args args;

			for (unsigned e = 0; e < 5; e++) {
				parts[e] = part_of(profile, "experts");
				parts[e].expert = e;
			}
			all = create(profile, parts, 5, &options);
			nbytes = uw_linear_scratch_nbytes(all, 40, 3);
			args = (struct uw_linear_args){ x,   UW_DTYPE_F32, 192,   40, (void *[]){ y }, UW_DTYPE_F32,
							&ld, need(nbytes), nbytes };
			memset(y, 0xA5, 40 * 512 * sizeof(float));
			assert_int_equal(uw_linear_run_experts(all, pools[3], &args, first, NULL), UW_OK);
			for (unsigned e = 0; e < 5; e++) {
				uint64_t n = first[e + 1] - first[e];
				struct uw_linear *one;
				struct product want;

				if (n == 0)
					continue;
				one = create(profile, &parts[e], 1, NULL);
				want = run(one, 1, 1, x + first[e] * 192, n);
				expect_true_values(EXPERTS, e, &want, x + first[e] * 192, n);
				for (uint64_t i = 0; i < n; i++)
					assert_memory_equal(y + (first[e] + i) * 512, want.y[0] + i * want.ld[0],
							    512 * sizeof(float));
				free_product(&want);
				uw_linear_free(&one);
			}
			assert_int_equal(uw_linear_run_experts(all, pools[3], &args,
							       (uint64_t[]){ 0, 5, 4, 20, 21, 40 }, NULL),
					 UW_ERR_ARG);
			assert_int_equal(uw_linear_run_experts(all, pools[3], &args,
							       (uint64_t[]){ 0, 5, 6, 20, 21, 39 }, NULL),
					 UW_ERR_ARG);
			free(args.scratch);
			uw_linear_free(&all);
		}
	}
	free(x);
	free(y);
}

static void batch_invariant_rows_do_not_depend_on_the_batch(void **state)
{
	struct uw_linear_options options = { .batch_invariant = true, .require_bitexact = true };
	struct uw_linear_part part = part_of(1, "wide");
	struct uw_linear *linear = create(1, &part, 1, &options);
	float *x = make_x(100, 1216);
	struct product all = run(linear, 1, 2, x, 100);

	for (unsigned b = 0; b < COUNT(batches); b++) {
		struct product some = run(linear, 1, 1, x, batches[b]);

		for (uint64_t n = 0; n < batches[b]; n++)
			assert_memory_equal(some.y[0] + n * some.ld[0], all.y[0] + n * all.ld[0], 200 * sizeof(float));
		free_product(&some);
	}
	free_product(&all);
	free(x);
	uw_linear_free(&linear);
}

static void tuning_is_followed(void **state)
{
	static const char text[] =
		"unweight-tuning 1\np4 1100 192 2 palette 1\np4 1100 192 16 decode 1\np4 1100 192 4096 raw 1\n";
	struct uw_linear_part part = part_of(1, "tall");
	struct uw_linear_options options = { 0 };
	struct uw_tuning *tuning;
	struct uw_linear *linear;

	assert_int_equal(uw_tuning_parse(text, sizeof(text) - 1, &tuning, NULL), UW_OK);
	options.tuning = tuning;
	linear = create(1, &part, 1, &options);
	uw_tuning_free(&tuning);
	assert_int_equal(uw_linear_pipeline(linear, 0, 1), UW_PIPELINE_PALETTE);
	assert_int_equal(uw_linear_pipeline(linear, 0, 2), UW_PIPELINE_PALETTE);
	assert_int_equal(uw_linear_pipeline(linear, 0, 3), UW_PIPELINE_DECODE);
	assert_int_equal(uw_linear_pipeline(linear, 0, 16), UW_PIPELINE_DECODE);
	assert_int_equal(uw_linear_pipeline(linear, 0, 17), UW_PIPELINE_RAW);
	for (uint64_t batch = 2; batch <= 32; batch *= 4) {
		struct uw_linear *plain = create(1, &part, 1, NULL);
		float *x = make_x(batch, 192);
		struct product got = run(linear, 1, 2, x, batch), want = run(plain, 1, 1, x, batch);

		expect_same(&got, &want, 1, batch);
		free_product(&got);
		free_product(&want);
		free(x);
		uw_linear_free(&plain);
	}
	uw_linear_free(&linear);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pipelines_give_the_same_bits),
		cmocka_unit_test(pipelines_are_what_was_asked_for),
		cmocka_unit_test(several_matrices_at_once),
		cmocka_unit_test(rows_can_be_cut_anywhere),
		cmocka_unit_test(columns_can_be_cut_anywhere),
		cmocka_unit_test(bf16_in_and_out),
		cmocka_unit_test(bad_parts_are_refused),
		cmocka_unit_test(experts),
		cmocka_unit_test(batch_invariant_rows_do_not_depend_on_the_batch),
		cmocka_unit_test(tuning_is_followed),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
