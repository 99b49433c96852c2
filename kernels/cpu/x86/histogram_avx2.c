/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_histogram_fn, AVX2. As histogram_avx512.c: a table look-up turns an exponent into a byte with one bit for each of
 * eight exponents, and positional population counts are kept in carry-save form. A carry-save adder takes 5
 * instructions here and a byte shuffle has 16 entries, so the window has 16 exponents: about 16 uops per 32 weights.
 */
#include <immintrin.h>
#include <string.h>

#include "x86.h"

#define GROUPS 2u /* of eight exponents */
#define WINDOW (8 * GROUPS)
#define ABOVE 2u   /* how far the window goes beyond the largest of the first 64 */
#define PLANES 8u  /* 128 vectors: sums up to 128 */
#define PART 4096u /* 128 vectors */

/* Exponents that lie outside the window; `outside` marks them among the 32 at e. */
static void count_outside(const uint8_t *e, uint32_t outside, uint32_t counts[256])
{
	for (; outside != 0; outside &= outside - 1)
		counts[e[__builtin_ctz(outside)]]++;
}

/* Half adder for the planes from `k` on; a carry out of the last plane does not occur. */
static inline void ripple(__m256i planes[PLANES], unsigned k, __m256i carry)
{
	for (; k < PLANES; k++) {
		__m256i next = _mm256_and_si256(planes[k], carry);

		planes[k] = _mm256_xor_si256(planes[k], carry);
		carry = next;
	}
}

static inline __m256i full_add(__m256i *sum, __m256i a, __m256i b)
{
	__m256i half = _mm256_xor_si256(a, b);
	__m256i carry = _mm256_or_si256(_mm256_and_si256(a, b), _mm256_and_si256(half, *sum));

	*sum = _mm256_xor_si256(half, *sum);
	return carry;
}

/* Sum of eight vectors: adds to planes 0 to 2 and returns the carry into plane 3. */
static inline __m256i add_eight(__m256i planes[PLANES], const __m256i w[8], __m256i lut)
{
	__m256i two[4], four[2];

	for (unsigned v = 0; v < 4; v++)
		two[v] = full_add(&planes[0], _mm256_shuffle_epi8(lut, w[2 * v]),
				  _mm256_shuffle_epi8(lut, w[2 * v + 1]));
	for (unsigned v = 0; v < 2; v++)
		four[v] = full_add(&planes[1], two[2 * v], two[2 * v + 1]);
	return full_add(&planes[2], four[0], four[1]);
}

static void add_counts(const __m256i planes[PLANES], uint32_t *counts)
{
	for (unsigned k = 0; k < PLANES; k++) {
		__m256i plane = planes[k];

		for (unsigned b = 8; b-- > 0; plane = _mm256_add_epi8(plane, plane))
			counts[b] += (uint32_t)__builtin_popcount((unsigned)_mm256_movemask_epi8(plane)) << k;
	}
}

/* Where weights are spread too far for the window: four tables, since equal neighbours would wait for each other's
 * store. */
static void histogram_scalar(const uint8_t *e, size_t n, uint32_t counts[256])
{
	uint16_t part[4][256];

	memset(part, 0, sizeof(part));
	for (size_t i = 0; i < n; i += 8) {
		uint64_t eight;

		memcpy(&eight, e + i, sizeof(eight));
		for (unsigned k = 0; k < 8; k++, eight >>= 8)
			part[k % 4][eight & 255]++;
	}
	for (unsigned v = 0; v < 256; v++)
		counts[v] += (uint32_t)part[0][v] + part[1][v] + part[2][v] + part[3][v];
}

/* First exponent of the window: what lies above the largest of the first 64 is rarer than what lies far below. */
static unsigned window_base(const uint8_t *e)
{
	unsigned top = 0, end;

	for (unsigned i = 0; i < 64; i++)
		top = e[i] > top ? e[i] : top;
	end = top + ABOVE + 1 > 256 ? 256 : top + ABOVE + 1;
	return end < WINDOW ? 0 : end - WINDOW;
}

/* Returns how many are outside the window. n is at most PART. */
static size_t count_part(const uint8_t *e, size_t n, unsigned base, uint32_t counts[256])
{
	const __m256i base_v = _mm256_set1_epi8((char)base), to_index = _mm256_set1_epi8(0x80 - WINDOW);
	const __m256i lut[GROUPS] = {
		_mm256_broadcastsi128_si256(_mm_set_epi64x(0, (long long)0x8040201008040201)),
		_mm256_broadcastsi128_si256(_mm_set_epi64x((long long)0x8040201008040201, 0)),
	};
	__m256i planes[GROUPS][PLANES], carry[GROUPS] = { _mm256_setzero_si256(), _mm256_setzero_si256() };
	size_t noutside = 0;

	for (unsigned g = 0; g < GROUPS; g++) {
		for (unsigned k = 0; k < PLANES; k++)
			planes[g][k] = _mm256_setzero_si256();
	}
	for (size_t i = 0; i < n; i += 256) {
		__m256i w[8];

		for (unsigned v = 0; v < 8; v++) {
			const uint8_t *at = e + i + 32 * v;
			uint32_t outside;

			/* inside the window 0x70 .. 0x7F: the shuffle takes the low four bits; outside bit 7: it
			 * gives 0 */
			w[v] = _mm256_sub_epi8(_mm256_loadu_si256((const __m256i *)(const void *)at), base_v);
			w[v] = _mm256_adds_epu8(w[v], to_index);
			outside = (uint32_t)_mm256_movemask_epi8(w[v]);
			if (outside != 0) {
				noutside += (unsigned)__builtin_popcount(outside);
				count_outside(at, outside, counts);
			}
		}
		for (unsigned g = 0; g < GROUPS; g++) {
			__m256i eight = add_eight(planes[g], w, lut[g]);

			if (i / 256 % 2 == 0)
				carry[g] = eight;
			else
				ripple(planes[g], 4, full_add(&planes[g][3], carry[g], eight));
		}
	}
	for (unsigned g = 0; g < GROUPS; g++)
		add_counts(planes[g], counts + base + 8 * g);
	return noutside;
}

void uw_histogram_avx2(const uint8_t *e, size_t n, uint32_t counts[256])
{
	const unsigned base = window_base(e);

	for (size_t i = 0, part; i < n; i += part) {
		/* the first part is short, to see whether the window is any good */
		part = i == 0 ? UW_TILE_WEIGHTS : n - i < PART ? n - i : PART;
		if (count_part(e + i, part, base, counts) > part / 4) {
			histogram_scalar(e + i + part, n - i - part, counts);
			return;
		}
	}
}
