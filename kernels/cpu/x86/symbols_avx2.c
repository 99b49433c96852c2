/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_symbols_fn, AVX2. The exponents that have symbols usually lie within 32 consecutive ones: two byte shuffles look
 * those up, 12 uops per 32 weights. Others are escapes and are mapped one by one. A map that is wider takes the scalar
 * loop.
 */
#include <immintrin.h>

#include "x86.h"

#define WINDOW 32u

static uint32_t symbols_scalar(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym)
{
	uint32_t nescapes = 0;

	for (size_t i = 0; i < n; i++) {
		uint8_t m = map[e[i]];

		nescapes += m >> 7;
		sym[i] = m & 15;
	}
	return nescapes;
}

/* First and last exponent that have symbols. False: none has. */
static bool symbol_range(const uint8_t map[256], unsigned *first, unsigned *last)
{
	bool found = false;

	for (unsigned i = 0; i < 256; i += 32) {
		__m256i m = _mm256_loadu_si256((const __m256i *)(const void *)(map + i));
		uint32_t has = ~(uint32_t)_mm256_movemask_epi8(m);

		if (has == 0)
			continue;
		if (!found)
			*first = i + (unsigned)__builtin_ctz(has);
		*last = i + 31 - (unsigned)__builtin_clz(has);
		found = true;
	}
	return found;
}

uint32_t uw_symbols_avx2(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym)
{
	const __m256i low4 = _mm256_set1_epi8(15);
	unsigned first, last;
	uint32_t nescapes = 0;
	__m256i map0, map1, first_v;

	if (!symbol_range(map, &first, &last) || last - first >= WINDOW)
		return symbols_scalar(e, n, map, sym);
	if (first > 256 - WINDOW)
		first = 256 - WINDOW;
	first_v = _mm256_set1_epi8((char)first);
	map0 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(map + first)));
	map1 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(map + first + 16)));
	for (size_t i = 0; i < n; i += 32) {
		__m256i v = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)(const void *)(e + i)), first_v);
		/* bit 7 of an index is set outside the half that the shuffle is for, and it gives 0 */
		__m256i m0 = _mm256_shuffle_epi8(map0, _mm256_adds_epu8(v, _mm256_set1_epi8(0x70)));
		__m256i m1 = _mm256_shuffle_epi8(map1, _mm256_adds_epu8(_mm256_sub_epi8(v, _mm256_set1_epi8(16)),
									_mm256_set1_epi8(0x70)));
		__m256i m = _mm256_or_si256(m0, m1);
		uint32_t outside = (uint32_t)_mm256_movemask_epi8(_mm256_adds_epu8(v, _mm256_set1_epi8(0x60)));
		uint32_t escapes = (uint32_t)_mm256_movemask_epi8(m) | outside;

		_mm256_storeu_si256((__m256i *)(void *)(sym + i), _mm256_and_si256(m, low4));
		nescapes += (uint32_t)__builtin_popcount(escapes);
		for (; outside != 0; outside &= outside - 1) {
			unsigned at = (unsigned)__builtin_ctz(outside);

			sym[i + at] = map[e[i + at]] & 15;
		}
	}
	return nescapes;
}
