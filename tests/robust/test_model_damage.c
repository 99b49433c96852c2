/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime on damaged containers: every bit flipped and every length, through opening, reading and multiplying. With
 * hashes compared nothing but an error or the true weights may come out; without, anything, but inside the library's
 * own memory (which sanitizers watch). The same for bytes that change while the model is open.
 */
#include "../unit/model_common.h"

#include "unweight/linear.h"

static const struct want wants[] = {
	{ "tiled", "BF16", 2, 2, { 64, 64 }, FILL_GAUSSIAN },
	{ "linear", "BF16", 2, 1, { 1000 }, FILL_GAUSSIAN },
	{ "constant", "BF16", 2, 2, { 10, 64 }, FILL_CONSTANT },
	{ "random", "BF16", 2, 2, { 5, 8 }, FILL_RANDOM },
	{ "floats", "F32", 4, 2, { 5, 10 }, FILL_GAUSSIAN },
};

static struct source source;
static struct packed packed[2];
static struct uw_pool *pool;

static int setup(void **state)
{
	use_level(state);
	rng_seed(5);
	source = make_source(wants, COUNT(wants));
	for (unsigned p = 0; p < 2; p++)
		packed[p] = pack(&source, (enum uw_profile)p);
	return uw_pool_create(1, &pool, NULL) != UW_OK;
}

static int teardown(void **state)
{
	uw_pool_free(&pool);
	for (unsigned p = 0; p < 2; p++)
		free(packed[p].bytes);
	free(source.bytes);
	return 0;
}

static struct packed copy_of(const struct packed *p)
{
	struct packed copy = { .nbytes = p->nbytes };

	assert_int_equal(posix_memalign((void **)&copy.bytes, 64, p->nbytes), 0);
	memcpy(copy.bytes, p->bytes, p->nbytes);
	return copy;
}

static struct uw_model *open_or_null(const struct packed *p, uint32_t flags)
{
	struct uw_model_options options = { .flags = flags, .cpu_level = cpu_level };
	struct uw_model *model;

	if (uw_model_open_memory(p->bytes, p->nbytes, &options, &model, NULL) == UW_OK)
		return model;
	assert_null(model);
	return NULL;
}

/* What became of reading all tensors, each as a whole and in part. */
struct outcome {
	unsigned nerrors;
	unsigned nwrong; /* no error, but not the source's bytes */
};

static void read_whole(const struct uw_model *model, const struct uw_tensor *t, size_t i, struct outcome *out)
{
	uint8_t *got = malloc((size_t)t->nbytes);

	if (uw_tensor_read(model, t, NULL, got, (size_t)t->nbytes, NULL) != UW_OK)
		out->nerrors++;
	else if (memcmp(got, source.bytes + source.off[i], (size_t)t->nbytes) != 0)
		out->nwrong++;
	free(got);
}

static void read_part(const struct uw_model *model, const struct uw_tensor *t, size_t i, struct outcome *out)
{
	const struct want *w = &wants[i];
	struct uw_tensor_slice part = { .col_begin = 3, .col_end = 5 };
	uint8_t got[2 * 4];

	part.row_end = 1;
	if (uw_tensor_read(model, t, &part, got, 2 * w->size, NULL) != UW_OK)
		out->nerrors++;
	else if (memcmp(got, source.bytes + source.off[i] + 3 * (size_t)w->size, 2 * (size_t)w->size) != 0)
		out->nwrong++;
}

static struct outcome read_all(const struct uw_model *model)
{
	struct outcome out = { 0 };

	for (size_t i = 0; i < COUNT(wants); i++) {
		const struct uw_tensor *t = uw_model_find(model, wants[i].name);

		assert_non_null(t); /* names are covered by the hash of the index */
		read_whole(model, t, i, &out);
		read_part(model, t, i, &out);
	}
	return out;
}

/* ---- flips ---- */

static void flip_all(uint32_t flags, unsigned step, bool may_be_wrong)
{
	unsigned long ncases = 0, nrefused = 0, nerrors = 0, nwrong = 0;

	for (unsigned p = 0; p < 2; p++) {
		struct packed copy = copy_of(&packed[p]);

		for (size_t bit = 0; bit < 8 * copy.nbytes; bit += step, ncases++) {
			struct uw_model *model;

			copy.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
			model = open_or_null(&copy, flags);
			if (model == NULL) {
				nrefused++;
			} else {
				struct outcome out = read_all(model);

				nerrors += out.nerrors;
				nwrong += out.nwrong;
				if (out.nwrong != 0 && !may_be_wrong)
					fail_msg("profile %u, bit %zu: wrong weights", p, bit);
				uw_model_close(&model);
			}
			copy.bytes[bit / 8] = packed[p].bytes[bit / 8];
		}
		free(copy.bytes);
	}
	print_message("%lu flips: %lu models refused, %lu reads refused, %lu wrong\n", ncases, nrefused, nerrors,
		      nwrong);
	assert_true(nrefused > 0 && nerrors > 0);
	assert_int_equal(nwrong != 0, may_be_wrong); /* or the test would prove nothing */
}

static void checked_flips_are_errors(void **state)
{
	flip_all(UW_MODEL_CHECK, 1, false);
}

static void unchecked_flips_stay_inside(void **state)
{
	flip_all(0, 3, true);
}

static void every_length(void **state)
{
	for (unsigned p = 0; p < 2; p++) {
		for (size_t n = 0; n < packed[p].nbytes; n++) {
			struct packed cut = { .nbytes = n };

			/* of its own, so that reading beyond its end is noticed */
			assert_int_equal(posix_memalign((void **)&cut.bytes, 64, n + 1), 0);
			memcpy(cut.bytes, packed[p].bytes, n);
			assert_null(open_or_null(&cut, 0));
			free(cut.bytes);
		}
	}
}

/* ---- bytes that change while they are used ---- */

static struct uw_linear *prepare(const struct uw_model *model, enum uw_pipeline pipeline)
{
	struct uw_linear_part part = { .tensor = uw_model_find(model, "tiled") };
	struct uw_linear_options options = { .pipeline = pipeline };
	struct uw_linear *linear;

	assert_int_equal(uw_linear_create(model, &part, 1, &options, &linear, NULL), UW_OK);
	return linear;
}

static void multiply(const struct uw_linear *linear)
{
	static float x[64], y[64];
	void *const ys[] = { y };
	const size_t ldy[] = { 64 };
	struct uw_linear_args args = {
		.x = x,
		.x_dtype = UW_DTYPE_F32,
		.ldx = 64,
		.batch = 1,
		.y = ys,
		.y_dtype = UW_DTYPE_F32,
		.ldy = ldy,
		.scratch_nbytes = uw_linear_scratch_nbytes(linear, 1, 1),
	};
	enum uw_status status;

	assert_int_equal(posix_memalign(&args.scratch, 64, args.scratch_nbytes + 64), 0);
	status = uw_linear_run(linear, pool, &args, NULL);
	assert_true(status == UW_OK || status == UW_ERR_BITS);
	free(args.scratch);
}

static void bytes_may_change_meanwhile(void **state)
{
	for (unsigned i = 0; i < 2 * UW_NPIPELINES * 12; i++) {
		unsigned p = i % 2;
		enum uw_pipeline pipeline = (enum uw_pipeline)(i / 2 % UW_NPIPELINES);
		struct packed copy = copy_of(&packed[p]);
		struct uw_model *model = open_or_null(&copy, 0);
		struct uw_linear *linear = prepare(model, pipeline);

		for (size_t b = 0; b < copy.nbytes; b++)
			copy.bytes[b] = i < 24 ? 0xFF : i < 48 ? 0 : (uint8_t)rng();
		multiply(linear);
		(void)read_all(model);
		uw_linear_free(&linear);
		uw_model_close(&model);
		free(copy.bytes);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(checked_flips_are_errors),
		cmocka_unit_test(unchecked_flips_stay_inside),
		cmocka_unit_test(every_length),
		cmocka_unit_test(bytes_may_change_meanwhile),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
