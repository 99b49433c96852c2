/* SPDX-License-Identifier: Apache-2.0 */
/* Models whose bundle stores only what differs from a base: read and multiplied as if it stored everything. */
#include "model_common.h"

#include <stdio.h>
#include <sys/stat.h>

#include "bundle_common.h"
#include "unweight/linear.h"

/* Groups of a tensor of many rows: some copied, some differences. */
static const struct want wants[] = {
	{ "model.layers.0.mlp.up_proj.weight", "BF16", 2, 2, { 320, 512 }, FILL_GAUSSIAN },
	{ "model.layers.0.mlp.experts.gate_up_proj", "BF16", 2, 3, { 3, 320, 256 }, FILL_GAUSSIAN },
	{ "model.layers.0.self_attn.q_proj.weight", "BF16", 2, 2, { 192, 192 }, FILL_SCALED },
	{ "same", "BF16", 2, 2, { 128, 64 }, FILL_GAUSSIAN },
	{ "random", "BF16", 2, 2, { 64, 64 }, FILL_RANDOM },
	{ "model.norm.weight", "BF16", 2, 1, { 333 }, FILL_GAUSSIAN },
	{ "floats", "F32", 4, 2, { 8, 9 }, FILL_GAUSSIAN },
};

static char root[4096];
static struct source source;

/* Moves values of all BF16 tensors but "same" by a step. */
static void train(void)
{
	for (size_t i = 0; i < COUNT(wants); i++) {
		size_t end = i + 1 < COUNT(wants) ? source.off[i + 1] : source.nbytes;

		if (wants[i].size != 2 || strcmp(wants[i].name, "same") == 0)
			continue;
		for (size_t at = source.off[i]; at < end; at += 6)
			source.bytes[at] ^= 1;
	}
}

static int setup(void **state)
{
	use_level(state);
	rng_seed(5);
	enter_new_folder(root);
	source = make_source(wants, COUNT(wants));
	assert_int_equal(mkdir("model", 0755), 0);
	put_file("model/m.safetensors", source.bytes, source.nbytes);
	make_bundle("model", UW_PROFILE_DISTRIBUTION, "base");
	make_bundle("model", UW_PROFILE_INFERENCE, "serve");
	train();
	put_file("model/m.safetensors", source.bytes, source.nbytes);
	make_bundle("model", UW_PROFILE_DISTRIBUTION, "whole");
	make_bundle_on("base", "model", "tuned");
	make_tar("tuned", "tuned.tar");
	return 0;
}

static int teardown(void **state)
{
	free(source.bytes);
	remove_folder(root);
	return 0;
}

static struct uw_model *open_on(const char *path, const char *base, uint32_t flags)
{
	struct uw_model_options options = { .flags = flags, .cpu_level = cpu_level, .base = base };
	struct uw_model *model;
	struct uw_error err;

	if (uw_model_open(path, &options, &model, &err) != UW_OK)
		fail_msg("%s: %s", path, err.what);
	return model;
}

static const char *const paths[] = { "tuned", "tuned.tar", "tuned/m.safetensors.uw" };
static const char *const bases[] = { "base", "serve" };
static const uint32_t all_flags[] = { 0, UW_MODEL_PREAD, UW_MODEL_MMAP, UW_MODEL_CHECK };

static void tensors_and_slices(void **state)
{
	(void)state;
	for (size_t k = 0; k < COUNT(paths) * COUNT(bases) * COUNT(all_flags); k++) {
		struct uw_model *model = open_on(paths[k % COUNT(paths)], bases[k / COUNT(paths) % COUNT(bases)],
						 all_flags[k / COUNT(paths) / COUNT(bases)]);

		for (size_t i = 0; i < COUNT(wants); i++) {
			const struct uw_tensor *t = uw_model_find(model, wants[i].name);
			uint8_t *got = malloc((size_t)t->nbytes);

			assert_int_equal(uw_tensor_read(model, t, NULL, got, (size_t)t->nbytes, NULL), UW_OK);
			assert_memory_equal(got, source.bytes + source.off[i], t->nbytes);
			free(got);
		}
		uw_model_close(&model);
	}
}

static void columns_and_rows(void **state)
{
	struct uw_model *model = open_on("tuned", "base", 0);
	const struct uw_tensor *t = uw_model_find(model, wants[1].name);
	struct uw_tensor_slice slice = { 1, 2, 100, 217, 31, 201 };
	uint16_t got[117 * 170];

	(void)state;
	assert_int_equal(uw_tensor_read(model, t, &slice, got, sizeof(got), NULL), UW_OK);
	for (size_t r = 0; r < 117; r++) {
		const uint8_t *row = source.bytes + source.off[1] + 2 * 256 * (320 + 100 + r);

		assert_memory_equal(got + 170 * r, row + 2 * 31, 340);
	}
	uw_model_close(&model);
}

static void multiply(const struct uw_model *model, uint64_t expert, const float *x, float *y)
{
	const struct uw_tensor *tensor = uw_model_find(model, wants[1].name);
	struct uw_linear_part part = { .tensor = tensor, .expert = expert, .row_end = 320 };
	struct uw_linear_args args = {
		.x = x, .x_dtype = UW_DTYPE_F32, .ldx = 256, .batch = 1,
		.y = (void *[]){ y }, .y_dtype = UW_DTYPE_F32, .ldy = (size_t[]){ 320 },
	};
	struct uw_linear *linear;
	struct uw_pool *pool;
	void *scratch;

	assert_int_equal(uw_linear_create(model, &part, 1, NULL, &linear, NULL), UW_OK);
	assert_int_equal(uw_pool_create(1, &pool, NULL), UW_OK);
	args.scratch_nbytes = (size_t)uw_linear_scratch_nbytes(linear, 1, 1);
	scratch = aligned_alloc(64, args.scratch_nbytes + 64 - args.scratch_nbytes % 64);
	args.scratch = scratch;
	assert_int_equal(uw_linear_run(linear, pool, &args, NULL), UW_OK);
	uw_pool_free(&pool);
	uw_linear_free(&linear);
	free(scratch);
}

/* All pipelines give the same bits, so these do too. */
static void products(void **state)
{
	struct uw_model *tuned = open_on("tuned", "base", 0), *whole = open_on("whole", NULL, 0);
	float x[256], a[320], b[320];

	(void)state;
	for (size_t i = 0; i < COUNT(x); i++)
		x[i] = gaussian();
	for (uint64_t expert = 0; expert < 3; expert++) {
		multiply(tuned, expert, x, a);
		multiply(whole, expert, x, b);
		assert_memory_equal(a, b, sizeof(a));
	}
	uw_model_close(&tuned);
	uw_model_close(&whole);
}

static void files(void **state)
{
	struct uw_model *model = open_on("tuned", "base", 0);
	uint8_t *all = malloc(source.nbytes);

	(void)state;
	assert_int_equal(uw_model_file_read(model, "m.safetensors", all, source.nbytes, NULL), UW_OK);
	assert_memory_equal(all, source.bytes, source.nbytes);
	free(all);
	uw_model_close(&model);
}

static void expect_refused(const char *path, const char *base, enum uw_status status)
{
	struct uw_model_options options = { .cpu_level = cpu_level, .base = base };
	struct uw_model *model;
	struct uw_error err = { 0 };

	assert_int_equal(uw_model_open(path, &options, &model, &err), status);
	assert_int_equal(err.status, status);
	assert_null(model);
}

static void bases_are_checked(void **state)
{
	struct uw_model *model;

	(void)state;
	for (size_t i = 0; i < COUNT(paths); i++) {
		expect_refused(paths[i], NULL, UW_ERR_BASE);
		expect_refused(paths[i], "whole", UW_ERR_BASE);
		expect_refused(paths[i], "tuned", UW_ERR_UNSUPPORTED);
		expect_refused(paths[i], "nowhere", UW_ERR_NOT_FOUND);
	}
	model = open_on("whole", "nowhere", 0); /* not needed, not looked at */
	uw_model_close(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(tensors_and_slices),
		cmocka_unit_test(columns_and_rows),
		cmocka_unit_test(products),
		cmocka_unit_test(files),
		cmocka_unit_test(bases_are_checked),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
