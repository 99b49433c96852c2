/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exponents of a nibble word, looked up as two words X0, X1 that have what S0 and S1 lack: one bit selection joins
 * X0 and S0 to fragment register a0, the opposite one to a1 rotated by 8 (SPEC.md section 5); the two selections are
 * one masked difference, added to either. Nibble n of the word holds the pair whose exponent belongs into byte n of
 * X0, X1.
 */
#ifndef UW_P4_AVX2_H
#define UW_P4_AVX2_H

#include "store_avx2.h"

/*
 * X0 or X1 of eight nibble words: `spread` doubles the bytes whose nibbles are wanted, and `low` has the low exponent
 * bits on top of its bytes. The table's index is a byte below 8.
 */
static inline __m256i uw_p4_look_up(__m256i words, __m256i spread, __m256i pairs, __m256i low)
{
	__m256i v = _mm256_shuffle_epi8(words, spread);
	__m256i even = _mm256_and_si256(v, _mm256_set1_epi16(0x0007));
	__m256i odd = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi16(0x0700));
	__m256i top = _mm256_shuffle_epi8(pairs, _mm256_or_si256(even, odd));

	return _mm256_or_si256(top, _mm256_and_si256(low, _mm256_set1_epi8(-128)));
}

/* *odd has yet to be rotated. */
static inline void uw_p4_select(__m256i s, __m256i x, __m256i *even, __m256i *odd)
{
	__m256i d = _mm256_and_si256(_mm256_xor_si256(s, x), _mm256_set1_epi32((int)UW_SIGN_MANTISSA));

	*even = _mm256_xor_si256(x, d);
	*odd = _mm256_xor_si256(s, d);
}

static inline void uw_p4_join(__m256i s, __m256i x, __m256i *even, __m256i *odd)
{
	uw_p4_select(s, x, even, odd);
	*odd = uw_ror8(*odd);
}

static inline __m128i uw_p4_spread_x0(void)
{
	return _mm_setr_epi8(0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13);
}

static inline __m128i uw_p4_spread_x1(void)
{
	return _mm_add_epi8(uw_p4_spread_x0(), _mm_set1_epi8(2));
}

static inline __m256i uw_p4_load_pairs(const uint8_t *pairs)
{
	return _mm256_broadcastsi128_si256(_mm_loadl_epi64((const __m128i *)(const void *)pairs));
}

/* X0 and X1 of eight nibble words. */
static inline void uw_p4_look_up_both(__m256i words, __m256i pairs, __m256i x[2])
{
	const __m256i index = _mm256_set1_epi8(0x07), lowest = _mm256_set1_epi8(-128);
	__m256i even = _mm256_shuffle_epi8(pairs, _mm256_and_si256(words, index));
	__m256i odd = _mm256_shuffle_epi8(pairs, _mm256_and_si256(_mm256_srli_epi32(words, 4), index));
	__m256 a = _mm256_castsi256_ps(_mm256_unpacklo_epi8(even, odd)); /* X0, X1, X0, X1 */
	__m256 b = _mm256_castsi256_ps(_mm256_unpackhi_epi8(even, odd));

	x[0] = _mm256_or_si256(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0x88)), _mm256_and_si256(words, lowest));
	x[1] = _mm256_or_si256(_mm256_castps_si256(_mm256_shuffle_ps(a, b, 0xDD)),
			       _mm256_and_si256(_mm256_slli_epi32(words, 4), lowest));
}

/* Two lanes, each with its four steps: v[r] is fragment register a0 .. a3, but a1 and a3 have yet to be rotated. */
static inline void uw_p4_two_lanes_select(const uint8_t *s, const uint8_t *nib, __m256i pairs, __m256i v[4])
{
	__m256i x[2];

	uw_p4_look_up_both(uw_load32(nib), pairs, x);
	uw_p4_select(uw_load32(s), x[0], &v[0], &v[1]);
	uw_p4_select(uw_load32(s + 512), x[1], &v[2], &v[3]);
}

static inline void uw_p4_two_lanes(const uint8_t *s, const uint8_t *nib, __m256i pairs, __m256i v[4])
{
	uw_p4_two_lanes_select(s, nib, pairs, v);
	v[1] = uw_ror8(v[1]);
	v[3] = uw_ror8(v[3]);
}

#endif
