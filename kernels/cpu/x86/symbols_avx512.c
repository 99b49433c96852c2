/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_symbols_fn, AVX-512. The map of 256 bytes is four vectors; vpermi2b looks up 128 of its entries by the low seven
 * bits of an exponent and ignores the eighth. Exponents from 128 on are weights of 2 and more: rare, so their half is
 * looked up only where one occurs.
 */
#include <immintrin.h>

#include "x86.h"

void uw_symbols_avx512(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym, uint64_t *escapes)
{
	const __m512i map0 = _mm512_loadu_si512(map), map1 = _mm512_loadu_si512(map + 64);
	const __m512i map2 = _mm512_loadu_si512(map + 128), map3 = _mm512_loadu_si512(map + 192);
	const __m512i low4 = _mm512_set1_epi8(15);

	for (size_t i = 0; i < n; i += 64) {
		__m512i v = _mm512_loadu_si512(e + i);
		__m512i m = _mm512_permutex2var_epi8(map0, v, map1);
		__mmask64 upper = _mm512_movepi8_mask(v);

		if (upper != 0)
			m = _mm512_mask_blend_epi8(upper, m, _mm512_permutex2var_epi8(map2, v, map3));
		*escapes++ = _mm512_movepi8_mask(m);
		_mm512_storeu_si512(sym + i, _mm512_and_si512(m, low4));
	}
}
