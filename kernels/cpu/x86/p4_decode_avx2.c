/* SPDX-License-Identifier: Apache-2.0 */
/* uw_p4_decode_fn, AVX2: exponents from p4_avx2.h, joined to sign and mantissa. */
#include "p4_avx2.h"
#include "x86.h"

/* ---- tiled ---- */

/*
 * Rows g and g + 8 are the lanes 4 g .. 4 g + 4. The 16 weights of a row at step j are register a0 (row g + 8: a1) of
 * the four lanes, then a2 (a3): the low half of the vectors is for S0 and X0, the high one for S1 and X1.
 */
static inline void p4_decode_tiled(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib, __m256i pairs,
				   bool stream)
{
	const __m256i spread = _mm256_setr_m128i(uw_p4_spread_x0(), uw_p4_spread_x1());
	const __m256i to_top = _mm256_setr_epi32(0, 0, 0, 0, 4, 4, 4, 4);

	for (unsigned g = 0; g < 8; g++, weights += ld, s += 64, nib += 64) {
		__m256i row[4], below[4], words[4];

		uw_load_s(s, row);
		for (unsigned q = 0; q < 4; q++)
			words[q] = _mm256_broadcastsi128_si256(uw_load16(nib + 16 * q));
		uw_transpose(words);
		for (unsigned j = 0; j < 4; j++) {
			__m256i x = uw_p4_look_up(words[j], spread, pairs, _mm256_sllv_epi32(words[j], to_top));

			uw_p4_join(row[j], x, &row[j], &below[j]);
		}
		uw_put_row(weights, row, stream);
		uw_put_row(weights + 8 * ld, below, stream);
	}
}

void uw_p4_decode_tiled_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib, const uint8_t *pairs,
			     enum uw_store store)
{
	if (uw_can_stream(weights, ld, store))
		p4_decode_tiled(weights, ld, s, nib, uw_p4_load_pairs(pairs), true);
	else
		p4_decode_tiled(weights, ld, s, nib, uw_p4_load_pairs(pairs), false);
}

/* ---- linear ---- */

/* Four lanes at a time: a whole line of each step. */
static inline void p4_decode_linear(uint16_t *weights, const uint8_t *s, const uint8_t *nib, __m256i pairs,
				    bool stream)
{
	for (unsigned g = 0; g < 8; g++, weights += 32, s += 64, nib += 64) {
		__m256i first[4], last[4];

		uw_p4_two_lanes(s, nib, pairs, first);
		uw_p4_two_lanes(s + 32, nib + 32, pairs, last);
		uw_transpose(first); /* now by step */
		uw_transpose(last);
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
		p4_decode_linear(weights, s, nib, uw_p4_load_pairs(pairs), true);
	else
		p4_decode_linear(weights, s, nib, uw_p4_load_pairs(pairs), false);
}
