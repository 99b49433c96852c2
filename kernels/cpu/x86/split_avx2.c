/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_split_fn, AVX2: one tile to S plane and exponents. Reads the tile's 64 columns of 16 rows (linear: 1024 weights)
 * and nothing beside them. About 20 uops per 32 weights tiled, 12 linear.
 */
#include <immintrin.h>

#include "x86.h"

#define MASK_EVEN ((int)0x807F807F) /* sign and mantissa that stay where they are; cpu_ops_c.c */

/* (a & mask) | (b & ~mask). */
static inline __m256i choose_bits(__m256i mask, __m256i a, __m256i b)
{
	return _mm256_or_si256(_mm256_and_si256(mask, a), _mm256_andnot_si256(mask, b));
}

static inline void store(uint8_t *p, __m256i v)
{
	_mm256_storeu_si256((__m256i *)(void *)p, v);
}

static inline __m256i load(const uint16_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Exponents of row g in the low bytes and of row g + 8 in the high bytes of words, to the order of the lanes 4g ..
 * 4g+3. */
static inline __m256i tiled_exponents(__m256i upper, __m256i lower)
{
	const __m256i by_row =
		_mm256_broadcastsi128_si256(_mm_set_epi32(0x0F0D0E0C, 0x0B090A08, 0x07050604, 0x03010200));
	__m256i x = choose_bits(_mm256_set1_epi16(0xFF), _mm256_srli_epi16(upper, 7), _mm256_slli_epi16(lower, 1));

	return _mm256_permutevar8x32_epi32(_mm256_shuffle_epi8(x, by_row), _mm256_set_epi32(7, 3, 6, 2, 5, 1, 4, 0));
}

/* a0 and a1 of four lanes in the low half, a2 and a3 in the high half; a byte shuffle rotates a1 and a3. */
static inline __m256i tiled_s(__m256i upper, __m256i lower)
{
	const __m256i rotate =
		_mm256_broadcastsi128_si256(_mm_set_epi32(0x0E0D0C0F, 0x0A09080B, 0x06050407, 0x02010003));

	return choose_bits(_mm256_set1_epi32(MASK_EVEN), upper, _mm256_shuffle_epi8(lower, rotate));
}

void uw_split_tiled_avx2(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e)
{
	for (unsigned g = 0; g < 8; g++, s += 64, e += 32) {
		const uint16_t *upper = weights + g * ld, *lower = weights + (g + 8) * ld;
		__m256i step[4], low01, low23, high01, high23, lane[4];

		for (unsigned j = 0; j < 4; j++) {
			__m256i a = load(upper + 16 * j), b = load(lower + 16 * j);

			step[j] = tiled_s(a, b);
			store(e + 256 * j, tiled_exponents(a, b));
		}
		low01 = _mm256_unpacklo_epi32(step[0], step[1]);
		low23 = _mm256_unpacklo_epi32(step[2], step[3]);
		high01 = _mm256_unpackhi_epi32(step[0], step[1]);
		high23 = _mm256_unpackhi_epi32(step[2], step[3]);
		lane[0] = _mm256_unpacklo_epi64(low01, low23);
		lane[1] = _mm256_unpackhi_epi64(low01, low23);
		lane[2] = _mm256_unpacklo_epi64(high01, high23);
		lane[3] = _mm256_unpackhi_epi64(high01, high23);
		store(s, _mm256_permute2x128_si256(lane[0], lane[1], 0x20));
		store(s + 32, _mm256_permute2x128_si256(lane[2], lane[3], 0x20));
		store(s + 512, _mm256_permute2x128_si256(lane[0], lane[1], 0x31));
		store(s + 544, _mm256_permute2x128_si256(lane[2], lane[3], 0x31));
	}
}

/* A fragment is 16 consecutive bytes a0 .. a3: its S0 and S1 in the dwords of a0 and a2. */
static inline __m256i fragments(__m256i w)
{
	const __m256i odd = _mm256_broadcastsi128_si256(_mm_set_epi32(0, 0x0E0D0C0F, 0, 0x06050407));

	return choose_bits(_mm256_set1_epi32(MASK_EVEN), w, _mm256_shuffle_epi8(w, odd));
}

static inline void linear_s(const __m256i w[4], uint8_t *s)
{
	__m256i step01 = _mm256_blend_epi32(fragments(w[0]), _mm256_slli_epi64(fragments(w[1]), 32), 0xAA);
	__m256i step23 = _mm256_blend_epi32(fragments(w[2]), _mm256_slli_epi64(fragments(w[3]), 32), 0xAA);

	store(s, _mm256_unpacklo_epi64(step01, step23));
	store(s + 512, _mm256_unpackhi_epi64(step01, step23));
}

static inline __m256i exponent_words(__m256i w)
{
	return _mm256_and_si256(_mm256_srli_epi16(w, 7), _mm256_set1_epi16(0xFF));
}

void uw_split_linear_avx2(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e)
{
	for (unsigned m = 0; m < 8; m++, weights += 32, s += 64, e += 32) { /* lanes 4m .. 4m+3 */
		__m256i first[4], second[4];

		for (unsigned j = 0; j < 4; j++) {
			__m256i x;

			first[j] = load(weights + 256 * j);
			second[j] = load(weights + 256 * j + 16);
			x = _mm256_packus_epi16(exponent_words(first[j]), exponent_words(second[j]));
			store(e + 256 * j, _mm256_permute4x64_epi64(x, 0xD8));
		}
		linear_s(first, s);
		linear_s(second, s + 32);
	}
}
