/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_p4_decode_fn, AVX-512: exponents from p4_avx512.h, joined to sign and mantissa. 64 weights take 9 (tiled) or 11
 * (linear) uops, 4 or 6 of them on the shuffle port.
 */
#include "p4_avx512.h"
#include "x86.h"

static inline __m512i load(const uint8_t *p)
{
	return _mm512_loadu_si512(p);
}

/* ---- tiled ---- */

/*
 * Rows g and g + 8 are the lanes 4 g .. 4 g + 4. Dword 8 j + 4 h + q of a row is register 2 h (in row g + 8: 2 h + 1)
 * of lane 4 g + q and step j: it comes from dword 4 q + j of S0, X0 (h = 0) or S1, X1.
 */
static inline void p4_decode_tiled(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib, __m512i pairs,
				   bool stream)
{
	const __m512i left = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
	const __m512i order[2] = { left, _mm512_add_epi32(left, _mm512_set1_epi32(2)) };
	const __m512i mask = _mm512_set1_epi32((int)UW_SIGN_MANTISSA);

	for (unsigned g = 0; g < 8; g++, weights += ld, s += 64, nib += 64) {
		__m512i s0 = load(s), s1 = load(s + 512), x[2], below[2];

		uw_p4_look_up(load(nib), pairs, x);
		for (unsigned h = 0; h < 2; h++) {
			__m512i sm = _mm512_permutex2var_epi32(s0, order[h], s1);
			__m512i ex = _mm512_permutex2var_epi32(x[0], order[h], x[1]);

			uw_put(weights + 32 * h, _mm512_ternarylogic_epi32(mask, sm, ex, UW_SELECT), stream);
			below[h] = _mm512_ror_epi32(_mm512_ternarylogic_epi32(mask, ex, sm, UW_SELECT), 8);
		}
		uw_put(weights + 8 * ld, below[0], stream);
		uw_put(weights + 8 * ld + 32, below[1], stream);
	}
}

void uw_p4_decode_tiled_avx512(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib,
			       const uint8_t *pairs, enum uw_store store)
{
	if (uw_can_stream(weights, ld, store))
		p4_decode_tiled(weights, ld, s, nib, uw_p4_load_pairs(pairs), true);
	else
		p4_decode_tiled(weights, ld, s, nib, uw_p4_load_pairs(pairs), false);
}

/* ---- linear ---- */

/*
 * Registers a0 .. a3 of four lanes and four steps become, by a 4 x 4 transposition of dwords, the weights of four
 * lanes for each step.
 */
static inline void p4_decode_linear(uint16_t *weights, const uint8_t *s, const uint8_t *nib, __m512i pairs,
				    bool stream)
{
	const __m512i mask = _mm512_set1_epi32((int)UW_SIGN_MANTISSA);

	for (unsigned g = 0; g < 8; g++, weights += 32, s += 64, nib += 64) {
		__m512i a[4], lo[2], hi[2], x[2];

		uw_p4_look_up(load(nib), pairs, x);
		for (unsigned h = 0; h < 2; h++) {
			__m512i sm = load(s + 512 * h);

			a[2 * h] = _mm512_ternarylogic_epi32(mask, sm, x[h], UW_SELECT);
			a[2 * h + 1] = _mm512_ror_epi32(_mm512_ternarylogic_epi32(mask, x[h], sm, UW_SELECT), 8);
			lo[h] = _mm512_unpacklo_epi32(a[2 * h], a[2 * h + 1]);
			hi[h] = _mm512_unpackhi_epi32(a[2 * h], a[2 * h + 1]);
		}
		uw_put(weights, _mm512_unpacklo_epi64(lo[0], lo[1]), stream);
		uw_put(weights + 256, _mm512_unpackhi_epi64(lo[0], lo[1]), stream);
		uw_put(weights + 512, _mm512_unpacklo_epi64(hi[0], hi[1]), stream);
		uw_put(weights + 768, _mm512_unpackhi_epi64(hi[0], hi[1]), stream);
	}
}

void uw_p4_decode_linear_avx512(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib,
				const uint8_t *pairs, enum uw_store store)
{
	if (uw_can_stream(weights, 0, store))
		p4_decode_linear(weights, s, nib, uw_p4_load_pairs(pairs), true);
	else
		p4_decode_linear(weights, s, nib, uw_p4_load_pairs(pairs), false);
}
