/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_merge_fn, AVX-512: sign and mantissa are brought into the order of the weights as dwords, exponents as bytes;
 * one vpternlog puts them together. 64 weights take 9 (tiled) or 10 (linear) uops, at most 4 of them on the shuffle
 * port.
 */
#include "store_avx512.h"
#include "x86.h"

static inline __m512i load(const uint8_t *p)
{
	return _mm512_loadu_si512(p);
}

/* 32 bytes each from p and from 256 bytes on: those of two steps. */
static inline __m512i load_steps(const uint8_t *p)
{
	__m256i a = _mm256_loadu_si256((const __m256i *)(const void *)p);
	__m256i b = _mm256_loadu_si256((const __m256i *)(const void *)(p + 256));

	return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* ---- tiled ---- */

/*
 * 32 weights of a row. `order` names for each weight the byte of e that is its exponent, twice: as both halves of
 * a word it is in place once the word is shifted right by one.
 */
static inline __m512i join(__m512i s, __m512i e, __m512i order)
{
	e = _mm512_srli_epi16(_mm512_permutexvar_epi8(order, e), 1);
	return _mm512_ternarylogic_epi32(_mm512_set1_epi32((int)UW_SIGN_MANTISSA), s, e, UW_SELECT);
}

/*
 * Rows g and g + 8 are the lanes 4 g .. 4 g + 4. Of a row's dwords, number 8 j + 4 h + q is fragment register 2 h (in
 * row g + 8: 2 h + 1) of lane 4 g + q and step j, so it comes from dword 4 q + j of S0 (h = 0) or S1, and from bytes
 * 8 q + 4 h on of step j of e. Row g + 8 has the same dwords of the S plane as row g, rotated.
 */
static inline void merge_tiled(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, bool stream)
{
	const __m512i from_s = _mm512_setr_epi32(0, 4, 8, 12, 16, 20, 24, 28, 1, 5, 9, 13, 17, 21, 25, 29);
	const __m512i from_s_right = _mm512_add_epi32(from_s, _mm512_set1_epi32(2));
	const __m512i from_e = _mm512_setr_epi32(0x01010000, 0x09090808, 0x11111010, 0x19191818,
						 0x05050404, 0x0D0D0C0C, 0x15151414, 0x1D1D1C1C,
						 0x21212020, 0x29292828, 0x31313030, 0x39393838,
						 0x25252424, 0x2D2D2C2C, 0x35353434, 0x3D3D3C3C);
	const __m512i from_e_below = _mm512_add_epi8(from_e, _mm512_set1_epi8(2));

	for (unsigned g = 0; g < 8; g++, weights += ld, s += 64, e += 32) {
		__m512i s0 = load(s), s1 = load(s + 512), left_e = load_steps(e), right_e = load_steps(e + 512);
		__m512i left = _mm512_permutex2var_epi32(s0, from_s, s1);
		__m512i right = _mm512_permutex2var_epi32(s0, from_s_right, s1);
		uint16_t *below = weights + 8 * ld;

		uw_put(weights, join(left, left_e, from_e), stream);
		uw_put(weights + 32, join(right, right_e, from_e), stream);
		uw_put(below, join(_mm512_ror_epi32(left, 8), left_e, from_e_below), stream);
		uw_put(below + 32, join(_mm512_ror_epi32(right, 8), right_e, from_e_below), stream);
	}
}

void uw_merge_tiled_avx512(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store)
{
	if (uw_can_stream(weights, ld, store))
		merge_tiled(weights, ld, s, e, true);
	else
		merge_tiled(weights, ld, s, e, false);
}

/* ---- linear ---- */

/*
 * The weights of four lanes and one step: dwords 4 q + 0 and 1 are dword 4 q + j of S0 and the same rotated, 2 and 3
 * of S1.
 */
static inline void merge_linear(uint16_t *weights, const uint8_t *s, const uint8_t *e, bool stream)
{
	const __m512i from_s = _mm512_setr_epi32(0, 0, 16, 16, 4, 4, 20, 20, 8, 8, 24, 24, 12, 12, 28, 28);
	const __m512i turn = _mm512_set1_epi64(8LL << 32); /* odd dwords by 8 */

	for (int step = 0; step < 4; step++) {
		__m512i from_s_step = _mm512_add_epi32(from_s, _mm512_set1_epi32(step));

		for (unsigned g = 0; g < 8; g++, weights += 32, e += 32) {
			__m512i sm = _mm512_permutex2var_epi32(load(s + 64 * g), from_s_step, load(s + 512 + 64 * g));
			__m512i ex = _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)(const void *)e));
			__m512i mask = _mm512_set1_epi32((int)UW_SIGN_MANTISSA);

			sm = _mm512_rorv_epi32(sm, turn);
			ex = _mm512_slli_epi16(ex, 7);
			uw_put(weights, _mm512_ternarylogic_epi32(mask, sm, ex, UW_SELECT), stream);
		}
	}
}

void uw_merge_linear_avx512(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store)
{
	if (uw_can_stream(weights, 0, store))
		merge_linear(weights, s, e, true);
	else
		merge_linear(weights, s, e, false);
}
