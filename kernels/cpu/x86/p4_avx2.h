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

static inline void uw_p4_join(__m256i s, __m256i x, __m256i *even, __m256i *odd)
{
	__m256i d = _mm256_and_si256(_mm256_xor_si256(s, x), _mm256_set1_epi32((int)UW_SIGN_MANTISSA));

	*even = _mm256_xor_si256(x, d);
	*odd = uw_ror8(_mm256_xor_si256(s, d));
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

/* Two lanes, each with its four steps: v[r] is fragment register a0 .. a3. */
static inline void uw_p4_two_lanes(const uint8_t *s, const uint8_t *nib, __m256i pairs, __m256i v[4])
{
	__m256i words = uw_load32(nib);
	__m256i x0 = uw_p4_look_up(words, _mm256_broadcastsi128_si256(uw_p4_spread_x0()), pairs, words);
	__m256i x1 = uw_p4_look_up(words, _mm256_broadcastsi128_si256(uw_p4_spread_x1()), pairs,
				   _mm256_slli_epi32(words, 4));

	uw_p4_join(uw_load32(s), x0, &v[0], &v[1]);
	uw_p4_join(uw_load32(s + 512), x1, &v[2], &v[3]);
}

#endif
