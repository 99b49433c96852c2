/* SPDX-License-Identifier: Apache-2.0 */
/* Which pipeline a linear takes on a device: the model of time, the tuning that ships, the caller's, the options. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cuda_plan.h"
#include "pipelines.h"
#include "unweight/tuning.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* As CUDA reports them. */
static const struct uw_gpu_facts devices[] = {
	{ "NVIDIA H100 80GB HBM3", { 132, 90, 233472 }, 50u << 20, UINT64_C(2619000000) * 5120 / 8 * 2, 1980 },
	{ "NVIDIA H200", { 132, 90, 233472 }, 60u << 20, UINT64_C(3201000000) * 6144 / 8 * 2, 1980 },
	{ "NVIDIA A100-SXM4-80GB", { 108, 80, 167936 }, 40u << 20, UINT64_C(1593000000) * 5120 / 8 * 2, 1410 },
	{ "NVIDIA L40S", { 142, 89, 102400 }, 96u << 20, UINT64_C(9001000000) * 384 / 8 * 2, 2520 },
};

static struct uw_tuning *shipped;

static int setup(void **state)
{
	return uw_tuning_parse(uw_cuda_tuning, strlen(uw_cuda_tuning), &shipped, NULL) == UW_OK ? 0 : -1;
}

static int teardown(void **state)
{
	uw_tuning_free(&shipped);
	return 0;
}

static struct uw_cuda_key key_of(enum uw_coding coding, uint64_t nrows, uint64_t ncols)
{
	return (struct uw_cuda_key){ .coding = coding, .nrows = nrows, .ncols = ncols, .nparts = 1 };
}

static enum uw_pipeline choose(const struct uw_gpu_facts *facts, const struct uw_cuda_linear_options *options,
			       const struct uw_cuda_key *key, uint64_t batch, struct uw_gpu_gemm_config *config)
{
	struct uw_cuda_choice choice;

	assert_int_equal(uw_cuda_choose(facts, shipped, options, key, uw_bucket_of(batch), &choice), UW_OK);
	*config = choice.config;
	return choice.pipeline;
}

/* Each shipped line is what the model says, if it is marked so; and every batch up to it has that pipeline. */
static void shipped_lines(void **state)
{
	unsigned last = 0;

	for (size_t i = 0; i < uw_tuning_nentries(shipped); i++) {
		const struct uw_tuning_entry *e = uw_tuning_entry(shipped, i);
		const char *name = uw_tuning_device_name(shipped, e->device);
		struct uw_cuda_key key = key_of((enum uw_coding)e->coding, e->nrows, e->ncols);
		const struct uw_gpu_facts *facts = devices;

		assert_non_null(name);
		while (facts < devices + COUNT(devices) && strcmp(facts->name, name) != 0)
			facts++;
		assert_true(facts < devices + COUNT(devices));
		last += e->batch == UW_LINEAR_MAX_BATCH;
		if (!e->predicted)
			continue;
		assert_int_equal(e->pipeline, uw_cuda_predict(facts, &key, e->batch));
		assert_int_equal(e->nanoseconds,
				 uw_cuda_predict_ns(facts, &key, (enum uw_pipeline)e->pipeline, e->batch));
		for (uint64_t batch = 1; batch <= UW_LINEAR_MAX_BATCH; batch *= 2) {
			const struct uw_tuning_entry *found =
				uw_tuning_find_device(shipped, name, e->coding, e->nrows, e->ncols, batch);

			assert_int_equal(found->pipeline, uw_cuda_predict(facts, &key, batch));
		}
	}
	assert_true(last >= 2 * 2 * 8); /* devices, codings, shapes */
}

/* What has to hold whatever the constants are: less to read is faster while memory is what takes the time; more rows of
 * x never take less time; decoding on top of the same product is never free. */
static void model_of_time(void **state)
{
	for (size_t d = 0; d < COUNT(devices); d++) {
		for (unsigned coding = UW_CODING_H; coding <= UW_CODING_P4; coding++) {
			struct uw_cuda_key key = key_of((enum uw_coding)coding, 28672, 4096);
			enum uw_pipeline codes = uw_cuda_serving(UW_PIPELINE_PALETTE, &key);
			double raw = (double)uw_cuda_predict_ns(&devices[d], &key, UW_PIPELINE_RAW, 1);
			double p4 = (double)uw_cuda_predict_ns(&devices[d], &key, codes, 1);

			assert_true(raw / p4 > 1.2 && raw / p4 < 4.0 / 3.0);
			assert_int_equal(uw_cuda_predict(&devices[d], &key, 1), codes);
			for (uint64_t batch = 1; batch <= UW_LINEAR_MAX_BATCH; batch *= 2) {
				for (unsigned i = UW_PIPELINE_RAW; i < UW_NPIPELINES; i++) {
					enum uw_pipeline p = (enum uw_pipeline)i;

					assert_true(uw_cuda_predict_ns(&devices[d], &key, p, batch) <=
						    uw_cuda_predict_ns(&devices[d], &key, p, 2 * batch));
				}
				assert_true(uw_cuda_predict_ns(&devices[d], &key, UW_PIPELINE_DECODE, batch) >
					    uw_cuda_predict_ns(&devices[d], &key, UW_PIPELINE_RAW, batch));
			}
		}
	}
}

static void what_fits(void **state)
{
	struct uw_cuda_key h = key_of(UW_CODING_H, 64, 64), p4 = key_of(UW_CODING_P4, 64, 100);
	struct uw_cuda_key raw = key_of(UW_CODING_RAW, 64, 64);

	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		assert_true(uw_cuda_fits(uw_cuda_serving((enum uw_pipeline)p, &h), &h));
		assert_true(uw_cuda_fits(uw_cuda_serving((enum uw_pipeline)p, &p4), &p4));
		assert_int_equal(uw_cuda_serving((enum uw_pipeline)p, &raw), UW_PIPELINE_RAW);
	}
	assert_int_equal(uw_cuda_serving(UW_PIPELINE_PALETTE, &h), UW_PIPELINE_TRANSCODE);
	assert_int_equal(uw_cuda_serving(UW_PIPELINE_TRANSCODE, &p4), UW_PIPELINE_PALETTE);
	assert_int_equal(uw_cuda_serving(UW_PIPELINE_DECODE, &p4), UW_PIPELINE_PALETTE); /* 100 columns */
	h.experts = true;
	assert_int_equal(uw_cuda_serving(UW_PIPELINE_DECODE, &h), UW_PIPELINE_TRANSCODE);
	assert_int_equal(uw_cuda_serving(UW_PIPELINE_EXPONENT, &h), UW_PIPELINE_TRANSCODE);
}

/* The caller's tuning comes first, with its config, but not where the options fix how sums are cut. */
static void tunings_and_options(void **state)
{
	static const char text[] = "unweight-tuning 1\n"
				   "p4 4096 4096 1 decode 1\n"
				   "device NVIDIA H200\n"
				   "p4 4096 4096 8 raw 5\n"
				   "p4 4096 4096 64 palette 5 tile=32 blocks=1 parts=3\n"
				   "p4 64 64 1 palette 5 tile=256 blocks=2 parts=3\n";
	struct uw_cuda_linear_options options = { .pipeline = UW_PIPELINE_AUTO };
	struct uw_cuda_key key = key_of(UW_CODING_P4, 4096, 4096), bad = key_of(UW_CODING_P4, 64, 64);
	struct uw_gpu_gemm_config config, other;
	struct uw_cuda_choice choice;
	struct uw_tuning *tuning;

	assert_int_equal(uw_tuning_parse(text, sizeof(text) - 1, &tuning, NULL), UW_OK);
	options.tuning = tuning;
	assert_int_equal(choose(&devices[1], &options, &key, 8, &config), UW_PIPELINE_RAW);
	assert_int_equal(choose(&devices[1], &options, &key, 16, &config), UW_PIPELINE_PALETTE);
	assert_true(config.tile_n == 32 && config.blocks_per_sm == 1 && config.parts == 3 && config.nblocks == 132);
	assert_int_equal(choose(&devices[0], &options, &key, 8, &config), UW_PIPELINE_PALETTE); /* as shipped */
	assert_int_equal(uw_cuda_choose(&devices[1], shipped, &options, &bad, 0, &choice), UW_ERR_ARG);
	options.pipeline = UW_PIPELINE_DECODE;
	assert_int_equal(choose(&devices[1], &options, &key, 16, &config), UW_PIPELINE_DECODE);
	assert_int_not_equal(config.parts, 3);
	options.pipeline = UW_PIPELINE_AUTO;
	options.require_bitexact = true;
	assert_int_equal(choose(&devices[1], &options, &key, 16, &config), UW_PIPELINE_PALETTE);
	assert_true(config.parts != 0 && config.tile_n == 16);
	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) { /* whatever is asked for, and however it is coded */
		struct uw_cuda_key raw = key_of(UW_CODING_RAW, 4096, 4096);

		options.pipeline = (enum uw_pipeline)p;
		(void)choose(&devices[1], &options, &key, 16, &other);
		assert_memory_equal(&other, &config, sizeof(config));
		(void)choose(&devices[1], &options, &raw, 16, &other);
		assert_memory_equal(&other, &config, sizeof(config));
	}
	options.batch_invariant = true;
	(void)choose(&devices[1], &options, &key, 1, &config);
	for (uint64_t batch = 1; batch <= UW_LINEAR_MAX_BATCH; batch *= 2) {
		(void)choose(&devices[1], &options, &key, batch, &other);
		assert_true(other.tile_n == config.tile_n && other.parts == config.parts && other.parts != 0);
	}
	uw_tuning_free(&tuning);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shipped_lines),
		cmocka_unit_test(model_of_time),
		cmocka_unit_test(what_fits),
		cmocka_unit_test(tunings_and_options),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
