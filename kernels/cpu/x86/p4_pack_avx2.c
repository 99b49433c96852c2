/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_p4_pack_fn, AVX2. Byte n of a lane's eight becomes nibble n of its word: symbols are shuffled once to where
 * their pair goes and once to where their low bit goes (SPEC.md 6.4), and a multiply-add joins two nibbles.
 */
#include <immintrin.h>

#include "x86.h"

static inline __m256i each_half(__m128i v)
{
	return _mm256_broadcastsi128_si256(v);
}

/* Four lanes of one step: their words, a byte in each 16 bits. */
static inline __m256i pack_step(const uint8_t *sym)
{
	const __m256i pair_from = each_half(_mm_setr_epi8(3, 0, 2, 1, 7, 4, 6, 5, 11, 8, 10, 9, 15, 12, 14, 13));
	const __m256i low_from = each_half(_mm_setr_epi8(4, 0, 6, 2, 5, 1, 7, 3, 12, 8, 14, 10, 13, 9, 15, 11));
	__m256i v = _mm256_loadu_si256((const __m256i *)(const void *)sym);
	__m256i pair = _mm256_srli_epi16(_mm256_shuffle_epi8(v, pair_from), 1);
	__m256i low = _mm256_shuffle_epi8(_mm256_and_si256(v, _mm256_set1_epi8(1)), low_from);
	__m256i nibble = _mm256_or_si256(_mm256_and_si256(pair, _mm256_set1_epi8(7)), _mm256_slli_epi16(low, 3));

	return _mm256_maddubs_epi16(nibble, _mm256_set1_epi16(0x1001));
}

/* The words of two steps, side by side for each lane. */
static inline __m256i two_steps(const uint8_t *sym)
{
	const __m256i apart = each_half(_mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15));
	__m256i v = _mm256_or_si256(pack_step(sym), _mm256_slli_epi16(pack_step(sym + 256), 8));

	return _mm256_shuffle_epi8(v, apart);
}

void uw_p4_pack_avx2(const uint8_t *sym, uint8_t *nib)
{
	for (unsigned g = 0; g < 8; g++, sym += 32, nib += 64) {
		__m256i first = two_steps(sym), last = two_steps(sym + 512);
		__m256i even = _mm256_unpacklo_epi64(first, last), odd = _mm256_unpackhi_epi64(first, last); /* lanes */

		_mm256_storeu_si256((__m256i *)(void *)nib, _mm256_permute2x128_si256(even, odd, 0x20));
		_mm256_storeu_si256((__m256i *)(void *)(nib + 32), _mm256_permute2x128_si256(even, odd, 0x31));
	}
}
