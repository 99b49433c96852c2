/* SPDX-License-Identifier: Apache-2.0 */
/* Many threads share one model: each finds, reads slices and multiplies, and gets what it would get alone. Built with
 * -Db_sanitize=thread it shows that nothing is shared without order. */
#include "model_common.h"

#include <pthread.h>

#include "unweight/linear.h"

#define NTHREADS 64u

static const struct want wants[] = {
	{ "model.layers.0.self_attn.q_proj.weight", "BF16", 2, 2, { 192, 192 }, FILL_GAUSSIAN },
	{ "model.layers.0.mlp.experts.gate_up_proj", "BF16", 2, 3, { 3, 320, 256 }, FILL_GAUSSIAN },
	{ "model.norm.weight", "BF16", 2, 1, { 333 }, FILL_GAUSSIAN },
	{ "constant", "BF16", 2, 2, { 70, 90 }, FILL_CONSTANT },
};

static struct source source;
static struct packed packed;

static enum uw_status read_packed(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	memcpy(dst, packed.bytes + off, nbytes);
	return UW_OK;
}

struct shared {
	const struct uw_model *model;
	const struct uw_linear *linear;
	const float *x, *y; /* what one thread got */
};

struct thread {
	const struct shared *shared;
	unsigned me;
	bool good;
};

static bool reads_what_it_should(const struct uw_model *model, unsigned me)
{
	size_t i = me % COUNT(wants);
	const struct uw_tensor *t = uw_model_find(model, wants[i].name);
	uint64_t nrows = t->ndims > 1 ? t->dims[t->ndims - 2] : 1, row_nbytes = t->dims[t->ndims - 1] * 2;
	struct uw_tensor_slice slice = { .expert_end = 1, .row_begin = me % nrows };
	uint8_t *got = malloc((size_t)t->nbytes);
	size_t n = (size_t)((nrows - slice.row_begin) * row_nbytes);
	bool good = uw_tensor_read(model, t, &slice, got, n, NULL) == UW_OK &&
		    memcmp(got, source.bytes + source.off[i] + slice.row_begin * row_nbytes, n) == 0;

	good = good && uw_tensor_read(model, t, NULL, got, (size_t)t->nbytes, NULL) == UW_OK &&
	       memcmp(got, source.bytes + source.off[i], (size_t)t->nbytes) == 0;
	free(got);
	return good && uw_model_role(model, UW_ROLE_Q, 0, -1) != NULL;
}

static bool multiply(const struct uw_linear *linear, const float *x, float *y)
{
	const size_t ldy[] = { 192 };
	void *const ys[] = { y };
	struct uw_linear_args args = {
		.x = x,
		.x_dtype = UW_DTYPE_F32,
		.ldx = 192,
		.batch = 2,
		.y = ys,
		.y_dtype = UW_DTYPE_F32,
		.ldy = ldy,
		.scratch_nbytes = uw_linear_scratch_nbytes(linear, 2, 1),
	};
	struct uw_pool *pool;
	bool good;

	if (uw_pool_create(1, &pool, NULL) != UW_OK || posix_memalign(&args.scratch, 64, args.scratch_nbytes + 64) != 0)
		return false;
	good = uw_linear_run(linear, pool, &args, NULL) == UW_OK;
	free(args.scratch);
	uw_pool_free(&pool);
	return good;
}

static void *run(void *ctx)
{
	struct thread *thread = ctx;
	const struct shared *shared = thread->shared;
	float y[2 * 192];

	thread->good = true;
	for (unsigned i = 0; i < 4; i++)
		thread->good &= reads_what_it_should(shared->model, thread->me + i) &&
				multiply(shared->linear, shared->x, y) && memcmp(y, shared->y, sizeof(y)) == 0;
	return NULL;
}

static void share(struct uw_model *model)
{
	struct uw_linear_part part = { .tensor = uw_model_find(model, wants[0].name) };
	struct thread threads[NTHREADS];
	pthread_t ids[NTHREADS];
	float x[2 * 192], y[2 * 192];
	struct uw_linear *linear;
	struct shared shared = { .model = model, .x = x, .y = y };

	for (unsigned i = 0; i < COUNT(x); i++)
		x[i] = gaussian();
	assert_int_equal(uw_linear_create(model, &part, 1, NULL, &linear, NULL), UW_OK);
	shared.linear = linear;
	assert_true(multiply(linear, x, y));
	for (unsigned i = 0; i < NTHREADS; i++) {
		threads[i] = (struct thread){ .shared = &shared, .me = i };
		assert_int_equal(pthread_create(&ids[i], NULL, run, &threads[i]), 0);
	}
	for (unsigned i = 0; i < NTHREADS; i++) {
		assert_int_equal(pthread_join(ids[i], NULL), 0);
		assert_true(threads[i].good);
	}
	uw_linear_free(&linear);
	uw_model_close(&model);
}

static void share_a_mapped_model(void **state)
{
	struct uw_model_options options = { .flags = UW_MODEL_CHECK };

	share(open_packed(&packed, &options));
}

static void share_a_model_that_is_read(void **state)
{
	struct uw_model_options options = { .cpu_level = cpu_level };
	struct uw_model *model;

	assert_int_equal(uw_model_open_pread(read_packed, NULL, packed.nbytes, &options, &model, NULL), UW_OK);
	share(model);
}

static int setup(void **state)
{
	use_level(state);
	rng_seed(9);
	source = make_source(wants, COUNT(wants));
	packed = pack(&source, UW_PROFILE_DISTRIBUTION);
	return 0;
}

static int teardown(void **state)
{
	free(packed.bytes);
	free(source.bytes);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(share_a_mapped_model),
		cmocka_unit_test(share_a_model_that_is_read),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
