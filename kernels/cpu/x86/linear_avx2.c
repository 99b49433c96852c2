/* SPDX-License-Identifier: Apache-2.0 */
/* y = W x with AVX2 and FMA: partial sum i takes pair i of each 64 columns, first its even column, then the odd one. */
#define ROWS_X_NBYTES 256u
#define ROWS_FAR 1024u
#define ROWS_DIRECT_P4 2u
#define ROWS_DIRECT_E8 0u
#define rows_decode_p4 uw_p4_decode_tiled_avx2
#define rows_decode_e8 uw_merge_tiled_avx2

#include "linear_rows.h"
#include "p4_avx2.h"

/* FP32: for each 16 columns the eight even ones, then the odd ones. */
static void rows_pack_x(const uint16_t x[UW_TILE_COLS], uint8_t *to)
{
	float *v = (float *)(void *)to;

	for (uint32_t c = 0; c < UW_TILE_COLS; c++)
		v[c / 16 * 16 + c % 2 * 8 + c % 16 / 2] = uw_linear_widen(x[c]);
}

static float rows_total(const float sums[ROWS_SUMS])
{
	__m256 a = _mm256_add_ps(_mm256_loadu_ps(sums), _mm256_loadu_ps(sums + 8));
	__m256 b = _mm256_add_ps(_mm256_loadu_ps(sums + 16), _mm256_loadu_ps(sums + 24));
	__m128 c;

	a = _mm256_add_ps(a, b);
	c = _mm_add_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
	c = _mm_add_ps(c, _mm_movehl_ps(c, c));
	return _mm_cvtss_f32(_mm_add_ss(c, _mm_shuffle_ps(c, c, 1)));
}

/* Adds what rows_total adds: pairs i and i + 8, i + 16 and i + 24, and so on. */
static float rows_total_pairs(const float sums[ROWS_SUMS])
{
	__m256 a = _mm256_hadd_ps(_mm256_loadu_ps(sums), _mm256_loadu_ps(sums + 8));
	__m256 b = _mm256_hadd_ps(_mm256_loadu_ps(sums + 16), _mm256_loadu_ps(sums + 24));

	a = _mm256_hadd_ps(a, b); /* the totals of i = 0, 2, 4, 6; 1, 3, 5, 7 */
	a = _mm256_add_ps(a, _mm256_permute_ps(a, 0x4E));
	a = _mm256_add_ps(a, _mm256_permute_ps(a, 0xB1));
	return _mm_cvtss_f32(_mm_add_ss(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1)));
}

/* Eight pairs as FP32; `rotated`: they have yet to be rotated right by a byte. */
UW_INLINE void widen(__m256i pairs, bool rotated, __m256 *even, __m256 *odd)
{
	const __m128i low = _mm_setr_epi8(-1, -1, 1, 2, -1, -1, 5, 6, -1, -1, 9, 10, -1, -1, 13, 14);
	const __m128i high = _mm_setr_epi8(-1, -1, 3, 0, -1, -1, 7, 4, -1, -1, 11, 8, -1, -1, 15, 12);

	if (rotated) {
		*even = _mm256_castsi256_ps(_mm256_shuffle_epi8(pairs, _mm256_broadcastsi128_si256(low)));
		*odd = _mm256_castsi256_ps(_mm256_shuffle_epi8(pairs, _mm256_broadcastsi128_si256(high)));
	} else {
		*even = _mm256_castsi256_ps(_mm256_slli_epi32(pairs, 16));
		*odd = _mm256_castsi256_ps(_mm256_and_si256(pairs, _mm256_set1_epi32((int)0xFFFF0000)));
	}
}

/* 16 weights with the same columns of x: pairs of them to eight sums. */
UW_INLINE __m256 add_pairs(__m256 sums, __m256i pairs, const float *x)
{
	__m256 even, odd;

	widen(pairs, false, &even, &odd);
	sums = _mm256_fmadd_ps(even, _mm256_loadu_ps(x), sums);
	return _mm256_fmadd_ps(odd, _mm256_loadu_ps(x + 8), sums);
}

/* nr rows with nb of the batch: constants, and sums stay in registers. */
UW_INLINE void dots(const uint16_t *weights, size_t ld, uint32_t nr, uint64_t nk, bool far, const uint8_t *x,
		    size_t x_ld, uint32_t nb, size_t sums_ld, float *sums)
{
	__m256 acc[2][2][4];

	for (uint32_t r = 0; r < nr; r++) {
		for (uint32_t n = 0; n < nb; n++) {
			for (uint32_t i = 0; i < 4; i++)
				acc[r][n][i] = _mm256_loadu_ps(sums + r * sums_ld + n * ROWS_SUMS + 8 * i);
		}
	}
	for (uint64_t k = 0; k < nk; k++, weights += UW_TILE_COLS, x += ROWS_X_NBYTES) {
		for (uint32_t r = 0; r < nr; r++) {
			const uint16_t *w = weights + r * ld;

			if (far)
				rows_prefetch(w, ROWS_FAR, UW_TILE_COLS * sizeof(*w));
			for (uint32_t i = 0; i < 4; i++) {
				__m256i pairs = _mm256_loadu_si256((const __m256i *)(const void *)(w + 16 * i));

				for (uint32_t n = 0; n < nb; n++)
					acc[r][n][i] = add_pairs(acc[r][n][i], pairs,
								 (const float *)(const void *)(x + n * x_ld) + 16 * i);
			}
		}
	}
	for (uint32_t r = 0; r < nr; r++) {
		for (uint32_t n = 0; n < nb; n++) {
			for (uint32_t i = 0; i < 4; i++)
				_mm256_storeu_ps(sums + r * sums_ld + n * ROWS_SUMS + 8 * i, acc[r][n][i]);
		}
	}
}

static void rows_dots(const uint16_t *weights, size_t ld, uint32_t nrows, uint64_t nk, bool far, const uint8_t *x,
		      size_t x_ld, uint64_t nb, float *sums)
{
	size_t sums_ld = (size_t)nb * ROWS_SUMS;
	uint32_t r = 0;

	for (; r + 2 <= nrows && nb == 1; r += 2)
		dots(weights + r * ld, ld, 2, nk, far, x, x_ld, 1, sums_ld, sums + r * sums_ld);
	for (; r < nrows; r++) {
		uint64_t n = 0;

		for (; n + 2 <= nb; n += 2)
			dots(weights + r * ld, ld, 1, nk, far, x + n * x_ld, x_ld, 2, sums_ld,
			     sums + r * sums_ld + n * ROWS_SUMS);
		for (; n < nb; n++)
			dots(weights + r * ld, ld, 1, nk, far, x + n * x_ld, x_ld, 1, sums_ld,
			     sums + r * sums_ld + n * ROWS_SUMS);
	}
}

/* ---- small batches ---- */

UW_INLINE void patch(const struct uw_linear_chunk *chunk, const struct rows_tile *tile, uint32_t lane, __m256i a[4])
{
	uint32_t regs[32];

	for (uint32_t r = 0; r < 4; r++)
		_mm256_storeu_si256((__m256i *)(void *)(regs + 8 * r), a[r]);
	rows_patch_lanes(chunk, tile, lane, 2, true, regs);
	for (uint32_t r = 0; r < 4; r++)
		a[r] = _mm256_loadu_si256((const __m256i *)(const void *)(regs + 8 * r));
}

/* Row g takes a0 and a2, row g + 8 a1 and a3; half of a unit are two lanes, sums and columns 8 half of 16. */
UW_INLINE void direct(const struct rows_tile *tile, const struct uw_linear_chunk *chunk, const uint8_t *x, size_t x_ld,
		      uint32_t nb, float *sums)
{
	const size_t below = 8 * (size_t)nb * ROWS_SUMS;
	__m256i pairs = uw_p4_load_pairs(chunk->pairs);
	uint32_t units = rows_patched_units(chunk, tile);

	for (uint32_t i = 0; i < 16; i++) {
		float *to = sums + i / 2 * (size_t)nb * ROWS_SUMS + i % 2 * 8;
		__m256i a[4];

		if (i % 2 == 0)
			rows_prefetch_part(true, tile->s, tile->second, i / 2);
		uw_p4_two_lanes_select(tile->s + 32 * i, tile->second + 32 * i, pairs, a);
		if (units >> i / 2 & 1)
			patch(chunk, tile, 2 * i, a);
		for (uint32_t r = 0; r < 4; r++) {
			float *at = to + r % 2 * below + r / 2 * 16;
			__m256 even, odd;

			widen(a[r], r % 2 == 1, &even, &odd);
			for (uint32_t n = 0; n < nb; n++, at += ROWS_SUMS) {
				const float *v = (const float *)(const void *)(x + n * x_ld) + i % 2 * 16 + r / 2 * 32;
				__m256 sum = _mm256_fmadd_ps(even, _mm256_loadu_ps(v), _mm256_loadu_ps(at));

				_mm256_storeu_ps(at, _mm256_fmadd_ps(odd, _mm256_loadu_ps(v + 8), sum));
			}
		}
	}
}

UW_INLINE void rows_direct(bool p4, const struct rows_tile *tile, const struct uw_linear_chunk *chunk, const uint8_t *x,
			   size_t x_ld, uint64_t nb, float *sums)
{
	if (nb == 1)
		direct(tile, chunk, x, x_ld, 1, sums);
	else
		direct(tile, chunk, x, x_ld, 2, sums);
}

UW_INLINE void rows_decode_pairs(bool p4, const uint8_t *s, const uint8_t *second, const uint8_t *palette,
				 uint16_t weights[UW_TILE_WEIGHTS])
{
	__m256i pairs = uw_p4_load_pairs(palette);

	for (uint32_t i = 0; i < 16; i++, s += 32, second += 32) {
		uint16_t *to = weights + i / 2 * UW_TILE_COLS + i % 2 * 16;
		__m256i a[4];

		if (i % 2 == 0)
			rows_prefetch_part(true, s - 32 * i, second - 32 * i, i / 2);
		uw_p4_two_lanes(s, second, pairs, a);
		for (uint32_t r = 0; r < 4; r++)
			_mm256_storeu_si256((__m256i *)(void *)(to + r % 2 * 8 * UW_TILE_COLS + r / 2 * 32), a[r]);
	}
}

void uw_linear_kernel_avx2(struct uw_linear_kernel *kernel)
{
	rows_kernel("avx2", kernel);
}
