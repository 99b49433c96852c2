/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_symbols_fn, AVX2. The exponents that have symbols usually lie within 32 consecutive ones: two byte shuffles look
 * those up, 12 uops per 32 weights. Others are escapes and are mapped one by one. A map that is wider takes the scalar
 * loop.
 */
#include <immintrin.h>

#include "x86.h"

#define WINDOW 32u

/* 32 weights. Returns their escapes. */
static uint32_t symbols_scalar(const uint8_t *e, const uint8_t map[256], uint8_t *sym)
{
	uint32_t escapes = 0;

	for (unsigned i = 0; i < 32; i++) {
		uint8_t m = map[e[i]];

		escapes |= (uint32_t)(m >> 7) << i;
		sym[i] = m & 15;
	}
	return escapes;
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

/* The window of a map that the shuffles look up. */
struct window {
	const uint8_t *map;
	__m256i first, map0, map1;
};

static struct window window_at(const uint8_t map[256], unsigned first)
{
	return (struct window){
		.map = map,
		.first = _mm256_set1_epi8((char)first),
		.map0 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(map + first))),
		.map1 = _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)(map + first + 16))),
	};
}

/* 32 weights. Returns their escapes. */
static inline uint32_t symbols_window(const uint8_t *e, const struct window *window, uint8_t *sym)
{
	__m256i v = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)(const void *)e), window->first);
	/* bit 7 of an index is set outside the half that the shuffle is for, and it gives 0 */
	__m256i m0 = _mm256_shuffle_epi8(window->map0, _mm256_adds_epu8(v, _mm256_set1_epi8(0x70)));
	__m256i m1 = _mm256_shuffle_epi8(window->map1, _mm256_adds_epu8(_mm256_sub_epi8(v, _mm256_set1_epi8(16)),
									_mm256_set1_epi8(0x70)));
	__m256i m = _mm256_or_si256(m0, m1);
	uint32_t outside = (uint32_t)_mm256_movemask_epi8(_mm256_adds_epu8(v, _mm256_set1_epi8(0x60)));
	uint32_t escapes = (uint32_t)_mm256_movemask_epi8(m) | outside;

	_mm256_storeu_si256((__m256i *)(void *)sym, _mm256_and_si256(m, _mm256_set1_epi8(15)));
	for (; outside != 0; outside &= outside - 1) {
		unsigned at = (unsigned)__builtin_ctz(outside);

		sym[at] = window->map[e[at]] & 15;
	}
	return escapes;
}

void uw_symbols_avx2(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym, uint64_t *escapes)
{
	unsigned first, last;
	struct window window;

	if (!symbol_range(map, &first, &last) || last - first >= WINDOW) {
		for (size_t i = 0; i < n; i += 64)
			*escapes++ = symbols_scalar(e + i, map, sym + i) |
				     (uint64_t)symbols_scalar(e + i + 32, map, sym + i + 32) << 32;
		return;
	}
	window = window_at(map, first > 256 - WINDOW ? 256 - WINDOW : first);
	for (size_t i = 0; i < n; i += 64)
		*escapes++ = symbols_window(e + i, &window, sym + i) |
			     (uint64_t)symbols_window(e + i + 32, &window, sym + i + 32) << 32;
}
