/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_merge_fn, AVX2: sign and mantissa are brought into the order of the weights as dwords; exponents as bytes, which
 * are widened and shifted into their place. 64 weights take 30 (tiled) or 20 (linear) uops.
 */
#include "store_avx2.h"
#include "x86.h"

static inline __m256i join(__m256i s, __m256i e)
{
	return _mm256_or_si256(_mm256_and_si256(s, _mm256_set1_epi32((int)UW_SIGN_MANTISSA)), e);
}

/* ---- tiled ---- */

/*
 * The exponents of lanes 4 g .. 4 g + 4 and one step as words: those of registers a0 and a2 (row g), and of a1 and a3
 * (row g + 8).
 */
static inline void load_e(const uint8_t *e, __m256i words[2])
{
	const __m256i by_register = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 8, 9, 2, 3, 10, 11, 4, 5, 12, 13,
									       6, 7, 14, 15));
	__m256i v = _mm256_shuffle_epi8(uw_load32(e), by_register); /* of two lanes in each half */

	v = _mm256_permutevar8x32_epi32(v, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
	words[0] = _mm256_srli_epi16(_mm256_unpacklo_epi8(_mm256_setzero_si256(), v), 1);
	words[1] = _mm256_srli_epi16(_mm256_unpackhi_epi8(_mm256_setzero_si256(), v), 1);
}

/*
 * Rows g and g + 8 are the lanes 4 g .. 4 g + 4. The 16 weights of a row at step j are register a0 (row g + 8: a1) of
 * the four lanes, then a2 (a3); row g + 8 has the same dwords of the S plane as row g, rotated.
 */
static inline void merge_tiled(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, bool stream)
{
	for (unsigned g = 0; g < 8; g++, weights += ld, s += 64, e += 32) {
		__m256i row[4], below[4];

		uw_load_s(s, row);
		for (unsigned j = 0; j < 4; j++) {
			__m256i words[2];

			load_e(e + 256 * j, words);
			below[j] = join(uw_ror8(row[j]), words[1]);
			row[j] = join(row[j], words[0]);
		}
		uw_put_row(weights, row, stream);
		uw_put_row(weights + 8 * ld, below, stream);
	}
}

void uw_merge_tiled_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store)
{
	if (uw_can_stream(weights, ld, store))
		merge_tiled(weights, ld, s, e, true);
	else
		merge_tiled(weights, ld, s, e, false);
}

/* ---- linear ---- */

static inline __m256i load_words(const uint8_t *e)
{
	return _mm256_slli_epi16(_mm256_cvtepu8_epi16(uw_load16(e)), 7);
}

/* Dwords S0, S1 of an even step, then of an odd one, to S0, S0 rotated, S1, S1 rotated of one of them. */
static inline __m256i four_of(__m256i v, unsigned odd)
{
	const __m128i even_step = _mm_setr_epi8(0, 1, 2, 3, 1, 2, 3, 0, 4, 5, 6, 7, 5, 6, 7, 4);
	const __m128i order = odd ? _mm_add_epi8(even_step, _mm_set1_epi8(8)) : even_step;

	return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(order));
}

/* Four lanes at a time: a whole line of each step. */
static inline void merge_linear(uint16_t *weights, const uint8_t *s, const uint8_t *e, bool stream)
{
	for (unsigned g = 0; g < 8; g++, weights += 32, s += 64, e += 32) {
		__m256i s0 = uw_load32(s), s1 = uw_load32(s + 512), t0 = uw_load32(s + 32), t1 = uw_load32(s + 544);
		__m256i first[2] = { _mm256_unpacklo_epi32(s0, s1), _mm256_unpackhi_epi32(s0, s1) };
		__m256i last[2] = { _mm256_unpacklo_epi32(t0, t1), _mm256_unpackhi_epi32(t0, t1) };

		for (unsigned j = 0; j < 4; j++) {
			uw_put(weights + 256 * j, join(four_of(first[j / 2], j % 2), load_words(e + 256 * j)), stream);
			uw_put(weights + 256 * j + 16, join(four_of(last[j / 2], j % 2), load_words(e + 256 * j + 16)),
			       stream);
		}
	}
}

void uw_merge_linear_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store)
{
	if (uw_can_stream(weights, 0, store))
		merge_linear(weights, s, e, true);
	else
		merge_linear(weights, s, e, false);
}
