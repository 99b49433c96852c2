/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_p4_pack_fn, AVX-512. Byte n of a lane's eight becomes nibble n of its word: symbols are shuffled once to where
 * their pair goes and once to where their low bit goes (SPEC.md 6.4), a multiply-add joins two nibbles, one byte
 * permutation brings the four steps of a lane together. 10 uops per 64 symbols.
 */
#include <immintrin.h>

#include "x86.h"

/* Eight lanes of one step: their words, a byte in each 16 bits. */
static inline __m512i pack_step(const uint8_t *sym)
{
	const __m128i pair_from = _mm_setr_epi8(3, 0, 2, 1, 7, 4, 6, 5, 11, 8, 10, 9, 15, 12, 14, 13);
	const __m128i low_from = _mm_setr_epi8(4, 0, 6, 2, 5, 1, 7, 3, 12, 8, 14, 10, 13, 9, 15, 11);
	__m512i v = _mm512_loadu_si512(sym);
	__m512i pair = _mm512_shuffle_epi8(v, _mm512_broadcast_i32x4(pair_from));
	__m512i low = _mm512_shuffle_epi8(_mm512_and_si512(v, _mm512_set1_epi8(1)), _mm512_broadcast_i32x4(low_from));
	__m512i nibble = _mm512_ternarylogic_epi32(_mm512_srli_epi16(pair, 1), _mm512_set1_epi8(7),
						   _mm512_slli_epi16(low, 3), 0xEA); /* (a & b) | c */

	return _mm512_maddubs_epi16(nibble, _mm512_set1_epi16(0x1001));
}

static inline __m512i two_steps(const uint8_t *sym)
{
	return _mm512_or_si512(pack_step(sym), _mm512_slli_epi16(pack_step(sym + 256), 8));
}

void uw_p4_pack_avx512(const uint8_t *sym, uint8_t *nib)
{
	/* byte b of step j of lane l is byte 8 l + 2 b + j % 2 of the first two or the last two steps */
	const __m128i lane = _mm_setr_epi8(0, 2, 4, 6, 1, 3, 5, 7, 64, 66, 68, 70, 65, 67, 69, 71);
	const __m512i from = _mm512_add_epi8(_mm512_broadcast_i32x4(lane),
					     _mm512_setr_epi64(0, 0, 0x0808080808080808, 0x0808080808080808,
							       0x1010101010101010, 0x1010101010101010,
							       0x1818181818181818, 0x1818181818181818));
	const __m512i from_high = _mm512_add_epi8(from, _mm512_set1_epi8(32));

	for (unsigned n = 0; n < 4; n++, sym += 64, nib += 128) {
		__m512i first = two_steps(sym), last = two_steps(sym + 512);

		_mm512_storeu_si512(nib, _mm512_permutex2var_epi8(first, from, last));
		_mm512_storeu_si512(nib + 64, _mm512_permutex2var_epi8(first, from_high, last));
	}
}
