/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_huff_bits_fn, AVX-512. A qword holds the eight symbols of one lane and turn: a byte shuffle makes them lengths,
 * vpsadbw sums the eight. 4 uops per 64 weights.
 */
#include <immintrin.h>

#include "x86.h"

void uw_huff_bits_avx512(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
			 uint32_t nbits[UW_LANES])
{
	const __m512i zero = _mm512_setzero_si512();
	__m512i sum[4] = { zero, zero, zero, zero };
	uint8_t len[UW_SYMBOLS];
	__m512i lens;

	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		len[s] = code[s].nbits;
	lens = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)len));
	for (uint32_t turn = 0; turn < 4 * ntiles; turn++, sym += 256) {
		for (unsigned v = 0; v < 4; v++) {
			__m512i l = _mm512_shuffle_epi8(lens, _mm512_loadu_si512(sym + 64 * v));

			sum[v] = _mm512_add_epi64(sum[v], _mm512_sad_epu8(l, zero));
		}
	}
	for (unsigned v = 0; v < 4; v++)
		_mm256_storeu_si256((__m256i *)(void *)(nbits + 8 * v), _mm512_cvtepi64_epi32(sum[v]));
}
