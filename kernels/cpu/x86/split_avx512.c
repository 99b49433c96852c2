/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_split_fn, AVX-512: one tile to S plane and exponents. Reads the tile's 64 columns of 16 rows (linear: 1024
 * weights) and nothing beside them. About 13 uops per 64 weights, at most 3 of them on the shuffle port.
 */
#include <immintrin.h>

#include "x86.h"

#define MASK_EVEN 0x807F807F /* sign and mantissa that stay where they are; cpu_ops_c.c */
#define SELECT 0xE4          /* ternlog: c ? a : b, bit by bit */

/* Words of which the low byte is the exponent of a and the high byte that of b: two shifts and a selection, where
 * packing would need the shuffle port twice. */
static inline __m512i exponents_of_two(__m512i a, __m512i b)
{
	return _mm512_ternarylogic_epi32(_mm512_srli_epi16(a, 7), _mm512_slli_epi16(b, 1), _mm512_set1_epi16(0xFF),
					 SELECT);
}

/*
 * Rows g and g + 8 hold the lanes 4g .. 4g+3. In a vector of 32 columns the dwords are a0 (a1 in row g + 8) of four
 * lanes, then their a2 (a3), for one step and then for the next.
 */
void uw_split_tiled_avx512(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e)
{
	/* e: byte i of lane q from word 2q + (i & 1) + 8 (i / 4), low byte for row g, high byte for row g + 8 */
	const __m512i e_order = _mm512_set_epi64(0x3F3D3E3C2F2D2E2C, 0x3B393A382B292A28, 0x3735363427252624,
						 0x3331323023212220, 0x1F1D1E1C0F0D0E0C, 0x1B191A180B090A08,
						 0x1715161407050604, 0x1311121003010200);
	/* S: dword 4q + j from dword q of step j; the second vector's steps are 2 and 3 */
	const __m512i s0_order = _mm512_set_epi32(27, 19, 11, 3, 26, 18, 10, 2, 25, 17, 9, 1, 24, 16, 8, 0);
	const __m512i s1_order = _mm512_add_epi32(s0_order, _mm512_set1_epi32(4));
	const __m512i even = _mm512_set1_epi32((int)MASK_EVEN);

	for (unsigned g = 0; g < 8; g++) {
		const uint16_t *upper = weights + g * ld, *lower = weights + (g + 8) * ld;
		__m512i a[2], b[2], sm[2], x;

		for (unsigned n = 0; n < 2; n++) {
			a[n] = _mm512_loadu_si512(upper + 32 * n);
			b[n] = _mm512_loadu_si512(lower + 32 * n);
			sm[n] = _mm512_ternarylogic_epi32(a[n], _mm512_rol_epi32(b[n], 8), even, SELECT);
			x = _mm512_permutexvar_epi8(e_order, exponents_of_two(a[n], b[n]));
			_mm256_storeu_si256((__m256i *)(void *)(e + 512 * n + 32 * g), _mm512_castsi512_si256(x));
			_mm256_storeu_si256((__m256i *)(void *)(e + 512 * n + 256 + 32 * g),
					    _mm512_extracti64x4_epi64(x, 1));
		}
		_mm512_storeu_si512(s + 64 * g, _mm512_permutex2var_epi32(sm[0], s0_order, sm[1]));
		_mm512_storeu_si512(s + 512 + 64 * g, _mm512_permutex2var_epi32(sm[0], s1_order, sm[1]));
	}
}

/* The eight weights of a fragment are 16 consecutive bytes: a0 .. a3 are the dwords of a 128-bit lane, and a byte
 * shuffle rotates a1 and a3 while it moves them over a0 and a2. */
static inline __m512i fragments(__m512i w)
{
	const __m512i odd = _mm512_broadcast_i32x4(_mm_set_epi32(0, 0x0E0D0C0F, 0, 0x06050407));

	return _mm512_ternarylogic_epi32(w, _mm512_shuffle_epi8(w, odd), _mm512_set1_epi32((int)MASK_EVEN), SELECT);
}

static inline void store_s(const __m512i w[4], uint8_t *s)
{
	__m512i step01 = _mm512_mask_shuffle_epi32(fragments(w[0]), 0xAAAA, fragments(w[1]), (_MM_PERM_ENUM)0xA0);
	__m512i step23 = _mm512_mask_shuffle_epi32(fragments(w[2]), 0xAAAA, fragments(w[3]), (_MM_PERM_ENUM)0xA0);

	_mm512_storeu_si512(s, _mm512_unpacklo_epi64(step01, step23));
	_mm512_storeu_si512(s + 512, _mm512_unpackhi_epi64(step01, step23));
}

void uw_split_linear_avx512(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e)
{
	/* e: low bytes of all words, then their high bytes */
	const __m512i e_order = _mm512_set_epi64(0x3F3D3B3937353331, 0x2F2D2B2927252321, 0x1F1D1B1917151311,
						 0x0F0D0B0907050301, 0x3E3C3A3836343230, 0x2E2C2A2826242220,
						 0x1E1C1A1816141210, 0x0E0C0A0806040200);

	(void)ld;
	for (unsigned m = 0; m < 4; m++) { /* lanes 8m .. 8m+7 */
		__m512i first[4], second[4];

		for (unsigned j = 0; j < 4; j++) {
			first[j] = _mm512_loadu_si512(weights + 256 * j + 64 * m);
			second[j] = _mm512_loadu_si512(weights + 256 * j + 64 * m + 32);
			_mm512_storeu_si512(e + 256 * j + 64 * m,
					    _mm512_permutexvar_epi8(e_order, exponents_of_two(first[j], second[j])));
		}
		store_s(first, s + 128 * m);
		store_s(second, s + 128 * m + 64);
	}
}
