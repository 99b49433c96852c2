/* SPDX-License-Identifier: Apache-2.0 */
/* format/: dtypes, hashes, and how extents are cut. */
#include "format_common.h"

/* ---- dtypes and hashes ---- */

static void dtype_names_and_codes_agree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		const char *name = uw_dtype_name((uint8_t)i);

		assert_int_equal(name != NULL, i <= 22 || i == 255);
		if (name != NULL && i > 0)
			assert_int_equal(uw_dtype_code(name, strlen(name)), i);
		assert_int_equal(uw_dtype_nbits((uint8_t)i) != 0, i >= 1 && i <= 22);
	}
	assert_int_equal(uw_dtype_code("NONE", 4), UW_DTYPE_OTHER);
	assert_int_equal(uw_dtype_code("BF16", 3), UW_DTYPE_OTHER);
	assert_int_equal(uw_dtype_code("BF16x", 5), UW_DTYPE_OTHER);
	assert_int_equal(uw_dtype_code("", 0), UW_DTYPE_OTHER);
	assert_int_equal(uw_dtype_nbits(UW_DTYPE_BF16), 16);
	assert_int_equal(uw_dtype_nbits(UW_DTYPE_F6_E2M3), 6);
	assert_int_equal(uw_dtype_nbits(UW_DTYPE_F4), 4);
	assert_int_equal(uw_dtype_nbits(UW_DTYPE_C64), 64);
}

static void hashes_are_canonical_xxh3(void **state)
{
	/* xxHash's own values for the empty input */
	static const uint8_t empty64[8] = {0x2D, 0x06, 0x80, 0x05, 0x38, 0xD3, 0x94, 0xC2};
	static const uint8_t empty128[16] = {0x99, 0xAA, 0x06, 0xD3, 0x01, 0x47, 0x98, 0xD8,
					     0x60, 0x01, 0xC3, 0x24, 0x46, 0x8D, 0x49, 0x7F};
	uint8_t data[1000], out[16], again[16];
	struct uw_hash128 *h = uw_hash128_new();

	(void)state;
	assert_non_null(h);
	uw_hash64("", 0, out);
	assert_memory_equal(out, empty64, 8);
	uw_hash128_update(h, NULL, 0);
	uw_hash128_final(h, out);
	assert_memory_equal(out, empty128, 16);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random_u64();
	uw_hash128_update(h, data, sizeof(data));
	uw_hash128_final(h, out);
	uw_hash128_reset(h);
	uw_hash128_update(h, data, 1);
	uw_hash128_update(h, data + 1, sizeof(data) - 1);
	uw_hash128_final(h, again);
	assert_memory_equal(out, again, 16);
	uw_hash128_final64(h, again);
	uw_hash64(data, sizeof(data), out);
	assert_memory_equal(out, again, 8);
	uw_hash128_free(h);
	uw_hash128_free(NULL);
}

/* ---- how extents are cut ---- */

/* Slices follow one another from 0 to the end; in tiled order each is whole rows of one matrix, and full unless
 * last. */
static void check_slices(const struct uw_extent *e)
{
	uint64_t ngroups, off = 0;
	uint64_t nrows = e->order == TILED ? e->dims[e->ndims - 2] : 0;
	uint64_t ncols = e->order == TILED ? e->dims[e->ndims - 1] : 0;
	uint64_t nblocks = e->order == TILED ? 3 * 32768 / ((ncols + 63) / 64 * 64) : 0;
	uint64_t full = 64 * (nblocks > 0 ? nblocks : 1);

	assert_int_equal(uw_extent_ngroups(e->src_nbytes, e->order, e->dims, e->ndims, &ngroups), UW_OK);
	for (uint64_t i = 0; i < ngroups; i++) {
		struct uw_slice s;

		uw_extent_slice(e, i, &s);
		assert_int_equal(s.src_off, off);
		assert_true(s.src_nbytes > 0);
		off += s.src_nbytes;
		if (e->order == TILED) {
			uint64_t row = s.src_off / (2 * ncols) % nrows;

			assert_int_equal(s.src_off % (2 * ncols), 0);
			assert_int_equal(s.ncols, ncols);
			assert_int_equal(s.src_nbytes, 2 * s.nrows * ncols);
			assert_int_equal(s.nrows, nrows - row < full ? nrows - row : full);
		} else {
			assert_true(s.src_nbytes == (UINT64_C(1) << 23) || i == ngroups - 1);
			assert_int_equal(s.nrows, e->order == LINEAR ? 1 : 0);
			assert_int_equal(s.ncols, e->order == LINEAR ? s.src_nbytes / 2 : 0);
		}
	}
	assert_int_equal(off, e->src_nbytes);
}

static void slices_tile_tiled_extents(void **state)
{
	static const uint64_t shapes[][4] = {
		/* L1 L2 R C; a leading 0 is left out */
		{0, 0, 1, 1}, {0, 0, 1, 64}, {0, 0, 64, 64}, {0, 0, 65, 65}, {0, 0, 63, 63}, {0, 0, 1, 131072},
		{0, 0, 64, 131072}, {0, 0, 129, 131009}, {0, 0, 65536, 1}, {0, 0, 65537, 64}, {0, 0, 4096, 4096},
		{0, 0, 1025, 4097}, {0, 0, 64, 65537}, {0, 0, 100, 65536}, {0, 0, 11008, 4096}, {0, 0, 128256, 4096},
		{0, 3, 17, 33}, {0, 5, 1, 1}, {0, 8, 1024, 4096}, {0, 128, 768, 2048}, {2, 3, 1000, 100},
		{7, 1, 64, 70000}, {0, 2, 4097, 1024},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(shapes); i++) {
		uint8_t skip = shapes[i][0] != 0 ? 0 : shapes[i][1] != 0 ? 1 : 2;
		struct uw_extent e = {.order = TILED, .kind = UW_EXTENT_TENSOR, .dtype = UW_DTYPE_BF16,
				      .dims = shapes[i] + skip, .ndims = (uint8_t)(4 - skip)};

		e.src_nbytes = 2;
		for (uint8_t d = 0; d < e.ndims; d++)
			e.src_nbytes *= e.dims[d];
		check_slices(&e);
	}
	for (int i = 0; i < 500; i++) {
		uint64_t dims[3] = {1 + random_below(5), 1 + random_below(3000), 1 + random_below(131072)};
		struct uw_extent e = {.order = TILED, .dims = dims, .ndims = 3,
				      .src_nbytes = 2 * dims[0] * dims[1] * dims[2]};

		check_slices(&e);
	}
}

static void slices_tile_runs(void **state)
{
	static const uint64_t sizes[] = {0, 2, 1 << 23, (1 << 23) - 2, (1 << 23) + 2, UINT64_C(5) << 23, 123456790};

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct uw_extent e = {.order = LINEAR, .src_nbytes = sizes[i]};

		check_slices(&e);
		e.order = BYTES;
		check_slices(&e);
		e.src_nbytes++;
		check_slices(&e);
	}
}

static void misfit_geometry_is_refused(void **state)
{
	static const struct {
		uint64_t src_nbytes;
		uint8_t order;
		uint64_t dims[3];
		uint8_t ndims;
		enum uw_status status;
	} cases[] = {
		{262144, TILED, {1, 131072}, 2, UW_OK},
		{262146, TILED, {1, 131073}, 2, UW_ERR_LAYOUT}, /* Cp beyond 2^17 */
		{128, TILED, {64}, 1, UW_ERR_LAYOUT},
		{2, TILED, {0}, 0, UW_ERR_LAYOUT},
		{0, TILED, {0, 64}, 2, UW_ERR_LAYOUT},
		{0, TILED, {64, 0}, 2, UW_ERR_LAYOUT},
		{0, TILED, {0, 64, 64}, 3, UW_ERR_LAYOUT},
		{8192, TILED, {64, 63}, 2, UW_ERR_LAYOUT},
		{8192, TILED, {(UINT64_C(1) << 63) + 64, 64}, 2, UW_ERR_LAYOUT}, /* wraps to 8192 */
		{8192, TILED, {UINT64_MAX, UINT64_MAX, 64}, 3, UW_ERR_LAYOUT},
		{8192, TILED, {64, UINT64_MAX}, 2, UW_ERR_LAYOUT},
		{3, LINEAR, {1}, 1, UW_ERR_LAYOUT},
		{2, 3, {1}, 1, UW_ERR_LAYOUT},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t ngroups;

		assert_int_equal(uw_extent_ngroups(cases[i].src_nbytes, cases[i].order, cases[i].dims, cases[i].ndims,
						   &ngroups), cases[i].status);
	}
}

static void order_is_the_advised_one(void **state)
{
	static const struct {
		uint8_t dtype;
		uint64_t dims[3];
		uint8_t ndims;
		uint8_t order;
	} cases[] = {
		{UW_DTYPE_BF16, {4096, 4096}, 2, TILED},
		{UW_DTYPE_F16, {4096, 4096}, 2, BYTES},
		{UW_DTYPE_OTHER, {4096, 4096}, 2, BYTES},
		{UW_DTYPE_BF16, {4096}, 1, LINEAR},
		{UW_DTYPE_BF16, {0}, 0, LINEAR},
		{UW_DTYPE_BF16, {16, 64}, 2, TILED},
		{UW_DTYPE_BF16, {16, 63}, 2, TILED},            /* 1024 <= 1.03 * 1008 */
		{UW_DTYPE_BF16, {16, 62}, 2, LINEAR},
		{UW_DTYPE_BF16, {100, 6400}, 2, LINEAR},        /* 112 > 103 */
		{UW_DTYPE_BF16, {1600, 6213}, 2, TILED},        /* 6272 <= 1.03 * 6213 */
		{UW_DTYPE_BF16, {103, 64}, 2, LINEAR},
		{UW_DTYPE_BF16, {16, 131072}, 2, TILED},
		{UW_DTYPE_BF16, {16, 131073}, 2, LINEAR},
		{UW_DTYPE_BF16, {16, 0}, 2, LINEAR},
		{UW_DTYPE_BF16, {0, 64}, 2, LINEAR},
		{UW_DTYPE_BF16, {3, 256, 256}, 3, TILED},
		{UW_DTYPE_BF16, {3, 240, 256}, 3, LINEAR},      /* small matrices in a stack */
		{UW_DTYPE_BF16, {1, 240, 256}, 3, LINEAR},
		{UW_DTYPE_BF16, {0, 256, 256}, 3, LINEAR},
		{UW_DTYPE_BF16, {UINT64_MAX, 64}, 2, LINEAR},
		{UW_DTYPE_BF16, {UINT64_MAX, UINT64_MAX, UINT64_MAX}, 3, LINEAR},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(uw_extent_order(cases[i].dtype, cases[i].dims, cases[i].ndims), cases[i].order);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dtype_names_and_codes_agree),
		cmocka_unit_test(hashes_are_canonical_xxh3),
		cmocka_unit_test(slices_tile_tiled_extents),
		cmocka_unit_test(slices_tile_runs),
		cmocka_unit_test(misfit_geometry_is_refused),
		cmocka_unit_test(order_is_the_advised_one),
	};

	return cmocka_run_group_tests_name("format_extents", tests, NULL, NULL);
}
