/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_p4_decode_fn, AVX2: the exponents of a nibble word are looked up as two words X0, X1 that have what S0 and S1
 * lack: one bit selection joins X0 and S0 to fragment register a0, the opposite one to a1 rotated by 8 (SPEC.md
 * section 5); the two selections are one masked difference, added to either. Nibble n of the word holds the pair
 * whose exponent belongs into byte n of X0, X1.
 */
#include "store_avx2.h"
#include "x86.h"

/*
 * X0 or X1 of eight nibble words: `spread` doubles the bytes whose nibbles are wanted, and `low` has the low exponent
 * bits on top of its bytes. The table's index is a byte below 8.
 */
static inline __m256i look_up(__m256i words, __m256i spread, __m256i pairs, __m256i low)
{
	__m256i v = _mm256_shuffle_epi8(words, spread);
	__m256i even = _mm256_and_si256(v, _mm256_set1_epi16(0x0007));
	__m256i odd = _mm256_and_si256(_mm256_srli_epi16(v, 4), _mm256_set1_epi16(0x0700));
	__m256i top = _mm256_shuffle_epi8(pairs, _mm256_or_si256(even, odd));

	return _mm256_or_si256(top, _mm256_and_si256(low, _mm256_set1_epi8(-128)));
}

static inline void join(__m256i s, __m256i x, __m256i *even, __m256i *odd)
{
	__m256i d = _mm256_and_si256(_mm256_xor_si256(s, x), _mm256_set1_epi32((int)UW_SIGN_MANTISSA));

	*even = _mm256_xor_si256(x, d);
	*odd = uw_ror8(_mm256_xor_si256(s, d));
}

static inline __m128i spread_of_x0(void)
{
	return _mm_setr_epi8(0, 0, 1, 1, 4, 4, 5, 5, 8, 8, 9, 9, 12, 12, 13, 13);
}

static inline __m128i spread_of_x1(void)
{
	return _mm_add_epi8(spread_of_x0(), _mm_set1_epi8(2));
}

static inline __m256i load_pairs(const uint8_t *pairs)
{
	return _mm256_broadcastsi128_si256(_mm_loadl_epi64((const __m128i *)(const void *)pairs));
}

/* ---- tiled ---- */

/*
 * Rows g and g + 8 are the lanes 4 g .. 4 g + 4. The 16 weights of a row at step j are register a0 (row g + 8: a1) of
 * the four lanes, then a2 (a3): the low half of the vectors is for S0 and X0, the high one for S1 and X1.
 */
static inline void p4_decode_tiled(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib, __m256i pairs,
				   bool stream)
{
	const __m256i spread = _mm256_setr_m128i(spread_of_x0(), spread_of_x1());
	const __m256i to_top = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);

	for (unsigned g = 0; g < 8; g++, weights += ld, s += 64, nib += 64) {
		__m256i row[4], below[4], words[4];

		uw_load_s(s, row);
		for (unsigned q = 0; q < 4; q++)
			words[q] = _mm256_broadcastsi128_si256(uw_load16(nib + 16 * q));
		uw_transpose(words);
		for (unsigned j = 0; j < 4; j++) {
			__m256i x = look_up(words[j], spread, pairs, _mm256_sllv_epi32(words[j], to_top));

			join(row[j], x, &row[j], &below[j]);
		}
		uw_put_row(weights, row, stream);
		uw_put_row(weights + 8 * ld, below, stream);
	}
}

void uw_p4_decode_tiled_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib, const uint8_t *pairs,
			     enum uw_store store)
{
	if (uw_can_stream(weights, ld, store))
		p4_decode_tiled(weights, ld, s, nib, load_pairs(pairs), true);
	else
		p4_decode_tiled(weights, ld, s, nib, load_pairs(pairs), false);
}

/* ---- linear ---- */

/* The weights of two lanes: v[j] those of step j. */
static inline void two_lanes(const uint8_t *s, const uint8_t *nib, __m256i pairs, __m256i v[4])
{
	__m256i words = uw_load32(nib);
	__m256i x0 = look_up(words, _mm256_broadcastsi128_si256(spread_of_x0()), pairs, words);
	__m256i x1 = look_up(words, _mm256_broadcastsi128_si256(spread_of_x1()), pairs, _mm256_slli_epi32(words, 4));

	join(uw_load32(s), x0, &v[0], &v[1]);
	join(uw_load32(s + 512), x1, &v[2], &v[3]);
	uw_transpose(v);
}

/* Four lanes at a time: a whole line of each step. */
static inline void p4_decode_linear(uint16_t *weights, const uint8_t *s, const uint8_t *nib, __m256i pairs,
				    bool stream)
{
	for (unsigned g = 0; g < 8; g++, weights += 32, s += 64, nib += 64) {
		__m256i first[4], last[4];

		two_lanes(s, nib, pairs, first);
		two_lanes(s + 32, nib + 32, pairs, last);
		for (unsigned j = 0; j < 4; j++) {
			uw_put(weights + 256 * j, first[j], stream);
			uw_put(weights + 256 * j + 16, last[j], stream);
		}
	}
}

void uw_p4_decode_linear_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib,
			      const uint8_t *pairs, enum uw_store store)
{
	if (uw_can_stream(weights, 0, store))
		p4_decode_linear(weights, s, nib, load_pairs(pairs), true);
	else
		p4_decode_linear(weights, s, nib, load_pairs(pairs), false);
}
