/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The exponents of a nibble word, looked up as two words X0, X1 that have what S0 and S1 lack: one bit selection joins
 * X0 and S0 to fragment register a0, the opposite one to a1 rotated by 8 (SPEC.md section 5). The fields are laid out
 * for that: nibble n of the word holds the pair whose exponent belongs into byte n of X0, X1, and the low exponent
 * bits stand on the top bits of the bytes of X0 and, moved by 4, of X1.
 */
#ifndef UW_P4_AVX512_H
#define UW_P4_AVX512_H

#include "store_avx512.h"

/* `pairs` repeats the palette, so vpermb, which looks at six bits, ignores what stands above a nibble's three. */
static inline __m512i uw_p4_exponents(__m512i nibbles, __m512i shifts, __m512i pairs, __m512i low)
{
	__m512i top = _mm512_permutexvar_epi8(_mm512_multishift_epi64_epi8(shifts, nibbles), pairs);

	return _mm512_ternarylogic_epi32(_mm512_set1_epi8(0x7F), top, low, UW_SELECT);
}

/* X0 and X1 of 16 nibble words. */
static inline void uw_p4_look_up(__m512i nibbles, __m512i pairs, __m512i x[2])
{
	const __m512i shifts = _mm512_set1_epi64(0x2C2824200C080400);

	x[0] = uw_p4_exponents(nibbles, shifts, pairs, nibbles);
	x[1] = uw_p4_exponents(nibbles, _mm512_add_epi8(shifts, _mm512_set1_epi8(16)), pairs,
			       _mm512_rol_epi32(nibbles, 4));
}

static inline __m512i uw_p4_load_pairs(const uint8_t *pairs)
{
	return _mm512_broadcastq_epi64(_mm_loadl_epi64((const __m128i *)(const void *)pairs));
}

#endif
