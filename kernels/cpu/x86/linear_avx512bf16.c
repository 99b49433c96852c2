/* SPDX-License-Identifier: Apache-2.0 */
/* y = W x with AVX-512 BF16: partial sum i takes pair i of each 64 columns. */
#define ROWS_X_NBYTES 128u
#define ROWS_FAR 512u
#define ROWS_DIRECT_P4 3u
#define ROWS_DIRECT_E8 3u
#define rows_decode_p4 uw_p4_decode_tiled_avx512
#define rows_decode_e8 uw_merge_tiled_avx512

#include "linear_avx512.h"
#include "linear_rows.h"

static void rows_pack_x(const uint16_t x[UW_TILE_COLS], uint8_t *to)
{
	memcpy(to, x, ROWS_X_NBYTES);
}

static float rows_total(const float sums[ROWS_SUMS])
{
	return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_loadu_ps(sums), _mm512_loadu_ps(sums + 16)));
}

/* Adds what rows_total adds: pairs i and i + 16, the results of i and i + 8, then those of i and i + 4. */
static float rows_total_pairs(const float sums[ROWS_SUMS])
{
	__m512 v[2];
	__m128 total;

	for (unsigned h = 0; h < 2; h++) {
		v[h] = _mm512_loadu_ps(sums + 16 * h);
		v[h] = _mm512_add_ps(v[h], _mm512_permute_ps(v[h], 0x4E));
		v[h] = _mm512_add_ps(v[h], _mm512_permute_ps(v[h], 0xB1));
	}
	v[0] = _mm512_add_ps(v[0], v[1]);
	v[0] = _mm512_add_ps(v[0], _mm512_shuffle_f32x4(v[0], v[0], 0x4E));
	total = _mm512_castps512_ps128(v[0]);
	return _mm_cvtss_f32(_mm_add_ss(total, _mm512_extractf32x4_ps(v[0], 1)));
}

UW_INLINE __m512bh load(const void *p)
{
	return (__m512bh)_mm512_loadu_si512(p);
}

/* nr rows with nb of the batch: constants, and sums stay in registers. */
UW_INLINE void dots(const uint16_t *weights, size_t ld, uint32_t nr, uint64_t nk, bool far, const uint8_t *x,
		    size_t x_ld, uint32_t nb, size_t sums_ld, float *sums)
{
	__m512 acc[8][3][2];

	for (uint32_t r = 0; r < nr; r++) {
		for (uint32_t n = 0; n < nb; n++) {
			acc[r][n][0] = _mm512_loadu_ps(sums + r * sums_ld + n * ROWS_SUMS);
			acc[r][n][1] = _mm512_loadu_ps(sums + r * sums_ld + n * ROWS_SUMS + 16);
		}
	}
	for (uint64_t k = 0; k < nk; k++, weights += UW_TILE_COLS, x += ROWS_X_NBYTES) {
		for (uint32_t r = 0; r < nr; r++) {
			const uint16_t *w = weights + r * ld;
			__m512bh left = load(w), right = load(w + 32);

			if (far)
				rows_prefetch(w, ROWS_FAR, UW_TILE_COLS * sizeof(*w));
			for (uint32_t n = 0; n < nb; n++) {
				acc[r][n][0] = _mm512_dpbf16_ps(acc[r][n][0], load(x + n * x_ld), left);
				acc[r][n][1] = _mm512_dpbf16_ps(acc[r][n][1], load(x + n * x_ld + 64), right);
			}
		}
	}
	for (uint32_t r = 0; r < nr; r++) {
		for (uint32_t n = 0; n < nb; n++) {
			_mm512_storeu_ps(sums + r * sums_ld + n * ROWS_SUMS, acc[r][n][0]);
			_mm512_storeu_ps(sums + r * sums_ld + n * ROWS_SUMS + 16, acc[r][n][1]);
		}
	}
}

static void rows_dots(const uint16_t *weights, size_t ld, uint32_t nrows, uint64_t nk, bool far, const uint8_t *x,
		      size_t x_ld, uint64_t nb, float *sums)
{
	size_t sums_ld = (size_t)nb * ROWS_SUMS;
	uint32_t r = 0;

	for (; r + 8 <= nrows && nb == 1; r += 8)
		dots(weights + r * ld, ld, 8, nk, far, x, x_ld, 1, sums_ld, sums + r * sums_ld);
	for (; r + 4 <= nrows; r += 4) {
		const uint16_t *w = weights + r * ld;
		float *to = sums + r * sums_ld;
		uint64_t n = 0;

		for (; n + 3 <= nb; n += 3)
			dots(w, ld, 4, nk, far, x + n * x_ld, x_ld, 3, sums_ld, to + n * ROWS_SUMS);
		for (; n + 2 <= nb; n += 2)
			dots(w, ld, 4, nk, far, x + n * x_ld, x_ld, 2, sums_ld, to + n * ROWS_SUMS);
		for (; n < nb; n++)
			dots(w, ld, 4, nk, far, x + n * x_ld, x_ld, 1, sums_ld, to + n * ROWS_SUMS);
	}
	for (; r < nrows; r++) {
		for (uint64_t n = 0; n < nb; n++)
			dots(weights + r * ld, ld, 1, nk, far, x + n * x_ld, x_ld, 1, sums_ld,
			     sums + r * sums_ld + n * ROWS_SUMS);
	}
}

/* ---- small batches ---- */

UW_INLINE void add(float *sums, __m512bh x, __m512i weights)
{
	_mm512_storeu_ps(sums, _mm512_dpbf16_ps(_mm512_loadu_ps(sums), x, (__m512bh)weights));
}

UW_INLINE void patch(const struct uw_linear_chunk *chunk, const struct rows_tile *tile, uint32_t g, __m512i a[4])
{
	uint32_t regs[64];

	for (uint32_t i = 0; i < 4; i++)
		_mm512_storeu_si512(regs + 16 * i, a[i]);
	rows_patch_lanes(chunk, tile, 4 * g, 4, false, regs);
	for (uint32_t i = 0; i < 4; i++)
		a[i] = _mm512_loadu_si512(regs + 16 * i);
}

UW_INLINE void direct(bool p4, const struct rows_tile *tile, const struct uw_linear_chunk *chunk, const uint8_t *x,
		      size_t x_ld, uint32_t nb, float *sums)
{
	const size_t below = 8 * (size_t)nb * ROWS_SUMS;
	__m512i pairs = p4 ? uw_p4_load_pairs(chunk->pairs) : _mm512_setzero_si512();
	uint32_t units = rows_patched_units(chunk, tile);
	__m512bh v[3][2];

	for (uint32_t n = 0; n < nb; n++) {
		v[n][0] = load(x + n * x_ld);
		v[n][1] = load(x + n * x_ld + 64);
	}
	for (uint32_t g = 0; g < 8; g++) {
		__m512i a[4];

		rows_prefetch_part(p4, tile->s, tile->second, g);
		if (p4)
			uw_unit_p4(tile->s + 64 * g, tile->second + 64 * g, pairs, a);
		else
			uw_unit_e8(tile->s + 64 * g, tile->second + 32 * g, a);
		if (units >> g & 1)
			patch(chunk, tile, g, a);
		for (uint32_t n = 0; n < nb; n++, sums += ROWS_SUMS) {
			add(sums, v[n][0], a[0]);
			add(sums + 16, v[n][1], a[2]);
			add(sums + below, v[n][0], a[1]);
			add(sums + below + 16, v[n][1], a[3]);
		}
	}
}

UW_INLINE void rows_direct(bool p4, const struct rows_tile *tile, const struct uw_linear_chunk *chunk, const uint8_t *x,
			   size_t x_ld, uint64_t nb, float *sums)
{
	if (nb == 1)
		direct(p4, tile, chunk, x, x_ld, 1, sums);
	else if (nb == 2)
		direct(p4, tile, chunk, x, x_ld, 2, sums);
	else
		direct(p4, tile, chunk, x, x_ld, 3, sums);
}

UW_INLINE void rows_decode_pairs(bool p4, const uint8_t *s, const uint8_t *second, const uint8_t *palette,
				 uint16_t weights[UW_TILE_WEIGHTS])
{
	__m512i pairs = p4 ? uw_p4_load_pairs(palette) : _mm512_setzero_si512();

	for (uint32_t g = 0; g < 8; g++, weights += UW_TILE_COLS) {
		__m512i a[4];

		rows_prefetch_part(p4, s, second, g);
		if (p4)
			uw_unit_p4(s + 64 * g, second + 64 * g, pairs, a);
		else
			uw_unit_e8(s + 64 * g, second + 32 * g, a);
		for (uint32_t i = 0; i < 4; i++)
			_mm512_storeu_si512(weights + i % 2 * 8 * UW_TILE_COLS + i / 2 * 32, a[i]);
	}
}

void uw_linear_kernel_avx512bf16(struct uw_linear_kernel *kernel)
{
	rows_kernel("avx512bf16", kernel);
}
