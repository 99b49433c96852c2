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
	struct activations a = { dims, type, ld, guarded(n * unit, unit, 0xFF),
				 need(dims.batch * nx * sizeof(double)) };

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

static uint32_t fewest_patches; /* that a group has to have, if a test is about them */

static void check_shape(const struct uw_linear_kernel *kernel, uint64_t nrows, uint64_t ncols,
			uint16_t (*weight)(uint64_t i), struct uw_linear_dims dims)
{
	uint16_t *weights = weights_of(nrows, ncols, weight);
	struct linear_group g;

	linear_group_make(weights, nrows, ncols, rng() % 2, &g);
	assert_true(g.coded.npatches >= fewest_patches);
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

/* More row blocks than share x, batches in several parts, and more columns than a panel. */
static void large_of(const struct uw_linear_kernel *kernel)
{
	static const struct uw_linear_dims dims[] = {
		{ 530, 3, 257 }, { 257, 0, 600 }, { 66, 0, 1100 }, { 40, 64, 1100 }, { 3, 0, 1100 },
	};

	for (unsigned i = 0; i < COUNT(dims); i++)
		check_shape(kernel, i == 0 ? 70 : 400, dims[i].col_end, outliers, dims[i]);
}

/* Row blocks one by one or two by two are the same bits as all at once. */
static void rows_of(const struct uw_linear_kernel *kernel)
{
	const uint64_t nrows = 290, ncols = 200; /* an odd number of tile columns is not a multiple of a chunk */
	uint16_t *weights = weights_of(nrows, ncols, outliers);
	struct linear_group g;

	for (unsigned i = 0; i < 4; i++) {
		struct uw_linear_dims dims = { (const uint64_t[]){ 1, 5, 20, 70 }[i], 0, ncols };

		for (enum form form = FORM_RAW; form < NFORMS; form++) {
			struct activations a;
			void *packed;
			uint32_t *all;

			linear_group_make(weights, nrows, ncols, true, &g);
			a = make_x(dims, UW_LINEAR_F32);
			packed = pack(kernel, &a);
			all = product(kernel, &g, form, &a, packed, 0, 5, nrows);
			for (uint64_t b = 0; b < 5; b += 2) {
				uint64_t n = b == 4 ? 1 : 2, rows = b == 4 ? nrows - 256 : 128;
				uint32_t *y = product(kernel, &g, form, &a, packed, b, n, rows);

				for (size_t k = 0; k < dims.batch; k++)
					assert_same(y + k * rows, all + k * nrows + b * UW_ROW_BLOCK, rows * 4);
			}
			free(a.rounded);
			guarded_free();
		}
	}
	free(weights);
}

/* A row of x gives the same bits alone, and wherever it stands in whatever batch. */
static void invariance_of(const struct uw_linear_kernel *kernel)
{
	const uint64_t nrows = 100, ncols = 300;
	uint16_t *weights = weights_of(nrows, ncols, outliers);
	struct uw_linear_dims dims = { 129, 5, 299 };

	for (unsigned i = 0; i < COUNT(batches); i++) {
		uint64_t at = rng() % (129 - batches[i] + 1);
		struct linear_group g;
		struct activations a, part;
		uint32_t *all, *some;

		linear_group_make(weights, nrows, ncols, true, &g);
		a = make_x(dims, UW_LINEAR_BF16);
		all = product(kernel, &g, FORM_P4, &a, pack(kernel, &a), 0, 2, nrows);
		part = a;
		part.dims.batch = batches[i];
		part.x = (uint16_t *)a.x + at * a.ld;
		some = product(kernel, &g, FORM_P4, &part, pack(kernel, &part), 0, 2, nrows);
		assert_same(some, all + at * nrows, batches[i] * nrows * 4);
		free(a.rounded);
		guarded_free();
	}
	free(weights);
}

/* Numbers at the edges: every kind of them, each kind by itself, and none. */
static uint32_t kinds;

static uint16_t special(uint64_t i)
{
	static const uint16_t values[] = { 0x7F80, 0xFF80, 0x7FC0, 0xFF81, 0x0000, 0x8000, 0x0001, 0x807F, 0x0080 };
	uint32_t kind = rng() % COUNT(values);

	return rng() % 40 == 0 && (kinds >> kind & 1) != 0 ? values[kind] : gaussian(i);
}

static void special_of(const struct uw_linear_kernel *kernel)
{
	for (unsigned i = 0; i < 12; i++) {
		for (unsigned b = 0; b < COUNT(batches); b += 3) {
			struct uw_linear_dims dims = { batches[b], i % 3 * 7, 250 - i % 2 * 13 };

			kinds = i < 9 ? 1u << i : i == 9 ? UINT32_MAX : 0x1F0;
			check_shape(kernel, 80, 250, special, dims);
		}
	}
}

/* Patches where they hurt: all in one tile, at both ends of it, none in the others. */
static uint64_t patched_per_tile, patched_cols, patched_tile;

static uint16_t patched(uint64_t i)
{
	uint64_t row = i / patched_cols, col = i % patched_cols;
	uint64_t tile = row / UW_TILE_ROWS * ((patched_cols + 63) / 64) + col / UW_TILE_COLS;
	uint64_t in_tile = row % UW_TILE_ROWS * UW_TILE_COLS + col % UW_TILE_COLS;

	if (patched_tile != UINT64_MAX && tile != patched_tile)
		return gaussian(i);
	if (in_tile < patched_per_tile / 2 || in_tile >= UW_TILE_WEIGHTS - (patched_per_tile + 1) / 2)
		return bf16((in_tile % 40 < 20 ? 60 : 130) + in_tile % 20); /* forty exponents, each rare */
	return gaussian(i);
}

static void patches_of(const struct uw_linear_kernel *kernel)
{
	static const struct {
		uint64_t per_tile, tile;
	} cases[] = { { 1, UINT64_MAX }, { 20, UINT64_MAX }, { 32, 5 }, { 33, 8 }, { 200, 3 }, { 500, 0 } };

	for (unsigned i = 0; i < COUNT(cases); i++) {
		for (unsigned b = 0; b < COUNT(batches); b += 4) {
			struct uw_linear_dims dims = { batches[b], 0, 320 };

			patched_per_tile = cases[i].per_tile;
			patched_tile = cases[i].tile;
			patched_cols = 320;
			fewest_patches = (uint32_t)patched_per_tile / 2;
			check_shape(kernel, 128, 320, patched, dims);
		}
	}
	fewest_patches = 0;
}

/* Would a wrong bit be seen? Each bit of a weight changes the result, in each form. */
static void control_of(const struct uw_linear_kernel *kernel)
{
	uint16_t *weights = weights_of(64, 128, gaussian);
	struct uw_linear_dims dims = { 1, 0, 128 };
	struct activations a;
	void *packed;

	for (enum form form = FORM_P4; form < FORM_E8_PATCHES; form++) {
		for (unsigned bit = 0; bit < 32; bit++) {
			struct linear_group g;
			uint32_t *y, *z;
			uint8_t *s;

			linear_group_make(weights, 64, 128, false, &g);
			a = make_x(dims, UW_LINEAR_F32);
			packed = pack(kernel, &a);
			y = product(kernel, &g, form, &a, packed, 0, 1, 64);
			s = guarded(8 * UW_TILE_WEIGHTS, 1, 0);
			memcpy(s, g.runs[form].s, 8 * UW_TILE_WEIGHTS);
			s[rng() % 8 * UW_TILE_WEIGHTS + rng() % 256 * 4 + bit / 8] ^= (uint8_t)(1u << bit % 8);
			g.runs[form].s = s;
			z = product(kernel, &g, form, &a, packed, 0, 1, 64);
			assert_true(memcmp(y, z, 64 * sizeof(*y)) != 0);
			free(a.rounded);
			guarded_free();
		}
	}
	free(weights);
}

/* The choice: always a kernel of the table; one for all batches if results must not depend on them. */
static void test_choice(void **state)
{
	struct uw_linear_ops table;

	uw_linear_ops_init(&table, cpu_level_flags());
	assert_in_range(table.nkernels, 1, UW_LINEAR_MAX_KERNELS);
	assert_int_equal(table.kernels[0].min_batch, 1);
	for (uint64_t n = 1; n <= UW_MAX_BATCH; n++) {
		assert_true(uw_linear_choose(&table, n, false)->min_batch <= n);
		assert_ptr_equal(uw_linear_choose(&table, n, true), uw_linear_choose(&table, 1, true));
	}
}

/* FP32 is rounded to the nearest BF16, ties to even, and NaNs stay NaNs: products with 1 show it. */
static void rounding_of(const struct uw_linear_kernel *kernel)
{
	static const uint32_t in[] = { 0x3F808000, 0x3F818000, 0x3F807FFF, 0x3F808001, 0xBF80FFFF, 0x7F7FFFFF,
				       0x7F800001, 0xFFFFFFFF, 0x7F800000, 0x80000000 };
	static const uint32_t out[] = { 0x3F800000, 0x3F820000, 0x3F800000, 0x3F810000, 0xBF810000, 0x7F800000,
					0x7FC00000, 0x7FC00000, 0x7F800000, 0x00000000 };
	uint16_t one = 0x3F80;
	struct linear_group g;

	for (unsigned i = 0; i < COUNT(in); i++) {
		struct activations a = { { 1, 0, 1 }, UW_LINEAR_F32, 1, guarded(4, 4, 0), NULL };

		linear_group_make(&one, 1, 1, false, &g);
		memcpy(a.x, &in[i], 4);
		assert_int_equal(*product(kernel, &g, FORM_P4, &a, pack(kernel, &a), 0, 1, 1), out[i]);
		guarded_free();
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
TEST(large)
TEST(rows)
TEST(invariance)
TEST(special)
TEST(patches)
TEST(control)
TEST(rounding)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_shapes, seed),
		cmocka_unit_test_setup(test_batches, seed),
		cmocka_unit_test_setup(test_columns, seed),
		cmocka_unit_test_setup(test_large, seed),
		cmocka_unit_test_setup(test_rows, seed),
		cmocka_unit_test_setup(test_invariance, seed),
		cmocka_unit_test_setup(test_special, seed),
		cmocka_unit_test_setup(test_patches, seed),
		cmocka_unit_test_setup(test_control, seed),
		cmocka_unit_test_setup(test_rounding, seed),
		cmocka_unit_test_setup(test_choice, seed),
	};

	return cmocka_run_group_tests(tests, use_level, NULL);
}
