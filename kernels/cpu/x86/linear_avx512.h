/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Weights in pair order, for the loops of y = W x.
 *
 * 64 bytes of the S plane hold rows g and g + 8 of a tile, 16 dwords each of which is two weights of either row. Left
 * in place, they are fragment registers a0 .. a3 of lanes 4 g .. 4 g + 4 (SPEC.md section 5): dword d = 4 q + j of a0
 * is columns 16 j + 2 q and the one behind it, in a2 the same 8 columns further. So the 64 columns of a tile are two
 * vectors of 16 pairs, the first and the second; x is packed alike, and weights need no shuffle.
 */
#ifndef UW_LINEAR_AVX512_H
#define UW_LINEAR_AVX512_H

#include "../linear_tiles.h"
#include "p4_avx512.h"

/* a[0], a[1]: first vectors of rows g and g + 8; a[2], a[3]: second ones. */
static inline void uw_unit_join(const uint8_t *s, const __m512i x[2], __m512i a[4])
{
	const __m512i mask = _mm512_set1_epi32((int)UW_SIGN_MANTISSA);

	for (unsigned h = 0; h < 2; h++) {
		__m512i sm = _mm512_loadu_si512(s + 512 * h);

		a[2 * h] = _mm512_ternarylogic_epi32(mask, sm, x[h], UW_SELECT);
		a[2 * h + 1] = _mm512_ror_epi32(_mm512_ternarylogic_epi32(mask, x[h], sm, UW_SELECT), 8);
	}
}

/* Unit g of a tile of P4: s, nib are those of the tile plus 64 g. */
static inline void uw_unit_p4(const uint8_t *s, const uint8_t *nib, __m512i pairs, __m512i a[4])
{
	__m512i x[2];

	uw_p4_look_up(_mm512_loadu_si512(nib), pairs, x);
	uw_unit_join(s, x, a);
}

/* 32 bytes each from p and from 256 bytes on: those of two steps. */
static inline __m512i uw_unit_steps(const uint8_t *p)
{
	__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 256));

	return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* Unit g of a tile of E8: s is that of the tile plus 64 g, e plus 32 g. A dword of e is the exponents of a0 and a1; in
 * the order lo, lo, hi, hi, rotated by 7, it is X0. */
static inline void uw_unit_e8(const uint8_t *s, const uint8_t *e, __m512i a[4])
{
	const __m512i order = _mm512_setr_epi32(0, 8, 16, 24, 2, 10, 18, 26, 4, 12, 20, 28, 6, 14, 22, 30);
	const __m512i halves = _mm512_broadcast_i32x4(_mm_setr_epi8(0, 2, 1, 3, 4, 6, 5, 7, 8, 10, 9, 11, 12, 14, 13,
								    15));
	__m512i left = uw_unit_steps(e), right = uw_unit_steps(e + 512), x[2];

	for (int h = 0; h < 2; h++) {
		x[h] = _mm512_permutex2var_epi32(left, _mm512_add_epi32(order, _mm512_set1_epi32(h)), right);
		x[h] = _mm512_rol_epi32(_mm512_shuffle_epi8(x[h], halves), 7);
	}
	uw_unit_join(s, x, a);
}

/* The 64 weights of a row in natural order to the first and the second vector. */
static inline void uw_row_to_pairs(__m512i left, __m512i right, __m512i a[2])
{
	const __m512i order = _mm512_setr_epi32(0, 8, 16, 24, 1, 9, 17, 25, 2, 10, 18, 26, 3, 11, 19, 27);

	a[0] = _mm512_permutex2var_epi32(left, order, right);
	a[1] = _mm512_permutex2var_epi32(left, _mm512_add_epi32(order, _mm512_set1_epi32(4)), right);
}

/* Columns [begin, end) of 64 as bits, and the same for the halves of a row. */
static inline uint64_t uw_col_mask(uint32_t begin, uint32_t end)
{
	return UINT64_MAX << begin & UINT64_MAX >> (64 - end);
}

/* A column mask in pair order: of the first vector (0) and the second one (1). */
static inline __mmask32 uw_pair_mask(uint64_t cols, unsigned h)
{
	uint32_t mask = 0;

	for (unsigned d = 0; d < 16; d++)
		mask |= (uint32_t)(cols >> (16 * (d % 4) + 2 * (d / 4) + 8 * h) & 3) << 2 * d;
	return mask;
}

#endif
