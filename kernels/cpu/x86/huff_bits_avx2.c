/* SPDX-License-Identifier: Apache-2.0 */
/* uw_huff_bits_fn, AVX2: a byte shuffle makes symbols lengths, vpsadbw sums the eight of each lane. 4 uops per 32
 * weights. */
#include <immintrin.h>

#include "x86.h"

void uw_huff_bits_avx2(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
		       uint32_t nbits[UW_LANES])
{
	const __m256i zero = _mm256_setzero_si256();
	__m256i sum[8] = { zero, zero, zero, zero, zero, zero, zero, zero };
	uint8_t len[UW_SYMBOLS];
	__m256i lens;

	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		len[s] = code[s].nbits;
	lens = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)len));
	for (uint32_t turn = 0; turn < 4 * ntiles; turn++, sym += 256) {
		for (unsigned v = 0; v < 8; v++) {
			__m256i x = _mm256_loadu_si256((const __m256i *)(const void *)(sym + 32 * v));

			sum[v] = _mm256_add_epi64(sum[v], _mm256_sad_epu8(_mm256_shuffle_epi8(lens, x), zero));
		}
	}
	for (unsigned v = 0; v < 8; v++) {
		/* qwords to dwords */
		__m256i n = _mm256_permutevar8x32_epi32(sum[v], _mm256_set_epi32(7, 5, 3, 1, 6, 4, 2, 0));

		_mm_storeu_si128((__m128i *)(void *)(nbits + 4 * v), _mm256_castsi256_si128(n));
	}
}
