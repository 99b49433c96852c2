/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels of y = W x, those of every CPU level up to the one under test: compressed against raw bit for bit, raw
 * against a double loop in FP64, cuts of rows and columns, numbers at the edges, memory between guards.
 */
#include <math.h>

#include "../cpu_level.h"
#include "linear_common.h"

static const char *const levels[] = { "c", "sse42", "avx2", "avx512", "avx512bf16", "amx" };

static const uint64_t batches[] = { 1, 2, 3, 4, 5, 8, 15, 16, 17, 31, 32, 33, 48, 64, 65, 100, 129 };

/* Calls `test` for each kernel that a level up to the one under test has. */
static void each_kernel(void (*test)(const struct uw_linear_kernel *kernel))
{
	char seen[COUNT(levels)][16];
	unsigned nseen = 0;

	for (unsigned n = 0; n < COUNT(levels); n++) {
		struct uw_linear_ops table;
		uint32_t mask = 0;

		assert_true(uw_cpu_level_mask(levels[n], &mask));
		if ((mask & ~cpu_level_flags()) != 0)
			break;
		uw_linear_ops_init(&table, mask);
		for (unsigned k = 0; k < table.nkernels; k++) {
			bool old = false;

			for (unsigned i = 0; i < nseen; i++)
				old |= strcmp(seen[i], table.kernels[k].name) == 0;
			if (old)
				continue;
			assert_true(nseen < COUNT(seen));
			snprintf(seen[nseen++], sizeof(seen[0]), "%s", table.kernels[k].name);
			rng_state = 1;
			test(&table.kernels[k]);
		}
	}
}

/* ---- one product ---- */

/* Activations: as FP32, with their BF16 values in `rounded`. */
struct activations {
	struct uw_linear_dims dims;
	enum uw_linear_type type;
	size_t ld;
	void *x;
	double *rounded;
};

static double bf16_value(uint16_t v)
{
	uint32_t word = (uint32_t)v << 16;
	float f;

	memcpy(&f, &word, sizeof(f));
	return f;
}

static struct activations make_x(struct uw_linear_dims dims, enum uw_linear_type type)
{
	size_t nx = (size_t)(dims.col_end - dims.col_begin), ld = nx + rng() % 3;
	size_t unit = type == UW_LINEAR_F32 ? sizeof(float) : sizeof(uint16_t);
	size_t n = ((size_t)dims.batch - 1) * ld + nx;
	struct activations a = { dims, type, ld, guarded(n * unit, unit, 0xFF), need(dims.batch * nx * sizeof(double)) };

	for (size_t b = 0; b < dims.batch; b++) {
		for (size_t c = 0; c < nx; c++) {
			uint16_t v = bf16(120 + rng() % 8);
			uint32_t word = (uint32_t)v << 16;

			a.rounded[b * nx + c] = bf16_value(v);
			if (type == UW_LINEAR_BF16) {
				((uint16_t *)a.x)[b * ld + c] = v;
				continue;
			}
			word += rng() % 0x8000; /* less than half a unit: rounds down */
			memcpy((float *)a.x + b * ld + c, &word, sizeof(word));
		}
	}
	return a;
}

#define CANARY 0x5A5A5A5Au

static void *pack(const struct uw_linear_kernel *kernel, const struct activations *a)
{
	uint8_t fill = (uint8_t)rng();
	void *packed = guarded(kernel->packed_nbytes(&a->dims), 64, fill);
	uint64_t half = a->dims.batch / 2 / UW_PACK_ROWS * UW_PACK_ROWS;

	kernel->pack(&a->dims, a->x, a->type, a->ld, half, a->dims.batch, packed);
	if (half > 0)
		kernel->pack(&a->dims, a->x, a->type, a->ld, 0, half, packed);
	return packed;
}

/* y of row blocks first .. first + n in rows of `ld`, with canaries where nothing is to be written. */
static uint32_t *product(const struct uw_linear_kernel *kernel, const struct linear_group *g, enum form form,
			 const struct activations *a, const void *packed, uint64_t first, uint64_t n, size_t ld)
{
	struct uw_linear_run run = blocks_of(g, form, first, n);
	uint64_t left = g->nrows - first * UW_ROW_BLOCK, nrows = left < n * UW_ROW_BLOCK ? left : n * UW_ROW_BLOCK;
	size_t count = ((size_t)a->dims.batch - 1) * ld + (size_t)nrows;
	uint32_t *y = guarded(count * sizeof(*y), 4, CANARY & 255);

	kernel->gemm[source_of(form)](&a->dims, &run, packed, (float *)y, ld,
				      guarded(kernel->scratch_nbytes(&a->dims), 64, (uint8_t)rng()));
	for (size_t i = 0; i < count; i++) {
		if (i % ld >= nrows)
			assert_int_equal(y[i], CANARY);
	}
	return y;
}

/* FP64, with the sum of magnitudes: what the error of FP32 sums is measured by. */
static void check_against_fp64(const struct linear_group *g, const struct activations *a, const uint32_t *y, size_t ld)
{
	size_t nx = (size_t)(a->dims.col_end - a->dims.col_begin);

	for (size_t n = 0; n < a->dims.batch; n++) {
		for (size_t r = 0; r < g->nrows; r++) {
			const uint16_t *w = g->weights + r * g->ld + a->dims.col_begin;
			double sum = 0, magnitude = 0;
			float got;

			memcpy(&got, &y[n * ld + r], sizeof(got));
			for (size_t c = 0; c < nx; c++) {
				double p = bf16_value(w[c]) * a->rounded[n * nx + c];

				sum += p;
				magnitude += fabs(p);
			}
			if (isnan(sum))
				assert_int_equal(y[n * ld + r], 0x7FC00000);
			else if (isinf(sum))
				assert_true(got == (float)sum);
			else if (!(fabs(got - sum) <= 0x1p-24 * (double)(nx + 8) * magnitude + 0x1p-100))
				fail_msg("row %zu of batch %zu: %.9g, not %.9g", r, n, (double)got, sum);
		}
	}
}

/* All forms of all rows; the raw one is checked by itself. */
static void check_forms(const struct uw_linear_kernel *kernel, const struct linear_group *g, struct uw_linear_dims dims,
			enum uw_linear_type type)
{
	struct activations a = make_x(dims, type);
	void *packed = pack(kernel, &a);
	size_t ld = (size_t)g->nrows + rng() % 5, count = (dims.batch - 1) * ld + (size_t)g->nrows;
	uint64_t nblocks = g->runs[FORM_RAW].nblocks;
	uint32_t *raw = product(kernel, g, FORM_RAW, &a, packed, 0, nblocks, ld);

	check_against_fp64(g, &a, raw, ld);
	for (enum form form = FORM_P4; form < NFORMS; form++) {
		uint32_t *y = product(kernel, g, form, &a, packed, 0, nblocks, ld);

		if (memcmp(y, raw, count * sizeof(*y)) != 0)
			fail_msg("%s: form %d differs from raw: %llu x %llu, batch %llu, columns %llu..%llu",
				 kernel->name, (int)form, (unsigned long long)g->nrows, (unsigned long long)g->ncols,
				 (unsigned long long)dims.batch, (unsigned long long)dims.col_begin,
				 (unsigned long long)dims.col_end);
	}
	free(a.rounded);
}

static uint16_t *weights_of(uint64_t nrows, uint64_t ncols, uint16_t (*weight)(uint64_t i))
{
	uint16_t *weights = need((size_t)(nrows * ncols) * sizeof(*weights));

	fill(weights, nrows * ncols, weight);
	return weights;
}

static void check_shape(const struct uw_linear_kernel *kernel, uint64_t nrows, uint64_t ncols,
			uint16_t (*weight)(uint64_t i), struct uw_linear_dims dims)
{
	uint16_t *weights = weights_of(nrows, ncols, weight);
	struct linear_group g;

	linear_group_make(weights, nrows, ncols, rng() % 2, &g);
	check_forms(kernel, &g, dims, rng() % 2 ? UW_LINEAR_F32 : UW_LINEAR_BF16);
	free(weights);
	guarded_free();
}

/* ---- tests ---- */

/* Everyday weights with rare outliers: a few patches. */
static uint16_t outliers(uint64_t i)
{
	return rng() % 300 == 0 ? bf16(90 + rng() % 60) : gaussian(i);
}

static void shapes_of(const struct uw_linear_kernel *kernel)
{
	static const uint64_t nrows[] = { 1, 15, 16, 17, 63, 64, 65, 100, 128, 130, 200 };
	static const uint64_t ncols[] = { 1, 2, 63, 64, 65, 127, 128, 192, 320, 448, 700 };

	for (unsigned i = 0; i < COUNT(nrows); i++) {
		for (unsigned j = 0; j < COUNT(ncols); j++) {
			struct uw_linear_dims dims = { batches[rng() % COUNT(batches)], 0, ncols[j] };

			check_shape(kernel, nrows[i], ncols[j], outliers, dims);
		}
	}
}

static void batches_of(const struct uw_linear_kernel *kernel)
{
	for (unsigned i = 0; i < COUNT(batches); i++) {
		struct uw_linear_dims dims = { batches[i], 0, 200 };

		check_shape(kernel, 97, 200, outliers, dims);
	}
}

static void columns_of(const struct uw_linear_kernel *kernel)
{
	static const uint64_t cuts[] = { 0, 1, 31, 32, 63, 64, 65, 100, 128, 190, 192, 255, 256, 300 };

	for (unsigned i = 0; i < COUNT(cuts); i++) {
		for (unsigned j = i + 1; j < COUNT(cuts); j++) {
			struct uw_linear_dims dims = { batches[rng() % COUNT(batches)], cuts[i], cuts[j] };

			check_shape(kernel, 70, 300, outliers, dims);
		}
	}
}

#define TEST(name)                            \
	static void test_##name(void **state) \
	{                                     \
		each_kernel(name##_of);       \
	}

TEST(shapes)
TEST(batches)
TEST(columns)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_shapes, seed),
		cmocka_unit_test_setup(test_batches, seed),
		cmocka_unit_test_setup(test_columns, seed),
	};

	return cmocka_run_group_tests(tests, use_level, NULL);
}
