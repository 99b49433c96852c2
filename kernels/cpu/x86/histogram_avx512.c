/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_histogram_fn, AVX-512. The exponents of weights lie close together: 24 consecutive ones are counted as positional
 * population counts, the few others one by one. A table look-up turns an exponent into a byte with one bit set for
 * each of eight exponents; 128 such vectors are added in carry-save form, so that bit b of plane k of the sum has the
 * weight 2^k. A carry-save adder is two vpternlog: about 12 uops per 64 weights for all 24 exponents, where compare
 * and masked add take 48.
 */
#include <immintrin.h>
#include <string.h>

#include "x86.h"

#define GROUPS 3u /* of eight exponents */
#define WINDOW (8 * GROUPS)
#define ABOVE 4u /* how far the window goes beyond the largest of the first 64 */
#define PLANES 8u /* 128 vectors: sums up to 128 */
#define ADD3 0x96
#define CARRY 0xE8

/* Exponents that lie outside the window; `outside` marks them among the 64 at e. */
static void count_outside(const uint8_t *e, uint64_t outside, uint32_t counts[256])
{
	for (; outside != 0; outside &= outside - 1)
		counts[e[__builtin_ctzll(outside)]]++;
}

/* Half adder for the planes from `k` on; a carry out of the last plane does not occur. */
static inline void ripple(__m512i planes[PLANES], unsigned k, __m512i carry)
{
	for (; k < PLANES; k++) {
		__m512i next = _mm512_and_si512(planes[k], carry);

		planes[k] = _mm512_xor_si512(planes[k], carry);
		carry = next;
	}
}

static inline __m512i full_add(__m512i *sum, __m512i a, __m512i b)
{
	__m512i carry = _mm512_ternarylogic_epi64(*sum, a, b, CARRY);

	*sum = _mm512_ternarylogic_epi64(*sum, a, b, ADD3);
	return carry;
}

/*
 * Counts of the eight bits of a byte over all planes. An 8 x 8 bit transposition makes byte i of each qword the bits
 * of exponent i; the planes' population counts, weighted, fit a byte for planes 0 to 4 and for planes 5 to 7.
 */
static __m512i transposed_count(__m512i plane)
{
	/* affine(x, A): bit i of the result is the parity of row 7 - i of A and x. With A = plane and x = single
	 * bits, transposes. */
	const __m512i bits = _mm512_set1_epi64((long long)0x8040201008040201);

	return _mm512_popcnt_epi8(_mm512_gf2p8affine_epi64_epi8(bits, plane, 0));
}

static void add_counts(const __m512i planes[PLANES], uint32_t *counts)
{
	__m512i low = transposed_count(planes[4]), high = transposed_count(planes[7]), sum;
	__m256i half;

	for (unsigned k = 4; k-- > 0;)
		low = _mm512_add_epi8(_mm512_add_epi8(low, low), transposed_count(planes[k]));
	for (unsigned k = 7; k-- > 5;)
		high = _mm512_add_epi8(_mm512_add_epi8(high, high), transposed_count(planes[k]));
	/* bytes to words: 8 qwords of 8 bytes to 8 x 8 words in two halves; at most 8192 in all */
	sum = _mm512_add_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(low)),
			       _mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(low, 1)));
	sum = _mm512_add_epi16(sum, _mm512_slli_epi16(_mm512_add_epi16(
		_mm512_cvtepu8_epi16(_mm512_castsi512_si256(high)),
		_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(high, 1))), 5));
	half = _mm256_add_epi16(_mm512_castsi512_si256(sum), _mm512_extracti64x4_epi64(sum, 1));
	half = _mm256_cvtepu16_epi32(_mm_add_epi16(_mm256_castsi256_si128(half), _mm256_extracti128_si256(half, 1)));
	_mm256_storeu_si256((__m256i *)(void *)counts,
			    _mm256_add_epi32(_mm256_loadu_si256((const __m256i *)(const void *)counts), half));
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
	__m128i top = _mm_loadu_si128((const __m128i *)(const void *)e);
	unsigned end;

	for (unsigned i = 16; i < 64; i += 16)
		top = _mm_max_epu8(top, _mm_loadu_si128((const __m128i *)(const void *)(e + i)));
	end = (unsigned)_mm512_reduce_max_epu32(_mm512_cvtepu8_epi32(top)) + ABOVE + 1;
	if (end > 256)
		end = 256;
	return end < WINDOW ? 0 : end - WINDOW;
}

/* Sum of eight vectors: adds to planes 0 to 2 and returns the carry into plane 3. */
static inline __m512i add_eight(__m512i planes[PLANES], const __m512i w[8], __m512i lut)
{
	__m512i two[4], four[2];

	for (unsigned v = 0; v < 4; v++)
		two[v] = full_add(&planes[0], _mm512_permutexvar_epi8(w[2 * v], lut),
				  _mm512_permutexvar_epi8(w[2 * v + 1], lut));
	for (unsigned v = 0; v < 2; v++)
		four[v] = full_add(&planes[1], two[2 * v], two[2 * v + 1]);
	return full_add(&planes[2], four[0], four[1]);
}

void uw_histogram_avx512(const uint8_t *e, size_t n, uint32_t counts[256])
{
	const unsigned base = window_base(e);
	const __m512i base_v = _mm512_set1_epi8((char)base);
	__m512i lut[GROUPS], planes[GROUPS][PLANES];
	size_t noutside = 0;

	for (unsigned g = 0; g < GROUPS; g++) {
		/* index 8g + b gives bit b, all others nothing */
		lut[g] = _mm512_maskz_set1_epi64((__mmask8)(1u << g), (long long)0x8040201008040201);
		for (unsigned k = 0; k < PLANES; k++)
			planes[g][k] = _mm512_setzero_si512();
	}
	for (size_t i = 0; i < n; i += 1024) {
		__m512i carry[GROUPS] = { _mm512_setzero_si512() };

		if (noutside > 256 + i / 4) {
			histogram_scalar(e + i, n - i, counts);
			break;
		}
		for (unsigned part = 0; part < 2; part++) {
			__m512i w[8];

			for (unsigned v = 0; v < 8; v++) {
				const uint8_t *at = e + i + 512 * part + 64 * v;
				__mmask64 outside;

				w[v] = _mm512_sub_epi8(_mm512_loadu_si512(at), base_v);
				outside = _mm512_cmpgt_epu8_mask(w[v], _mm512_set1_epi8(WINDOW - 1));
				if (outside != 0) {
					noutside += (unsigned)__builtin_popcountll(outside);
					count_outside(at, outside, counts);
					/* an index without a bit */
					w[v] = _mm512_mask_set1_epi8(w[v], outside, WINDOW);
				}
			}
			for (unsigned g = 0; g < GROUPS; g++) {
				__m512i eight = add_eight(planes[g], w, lut[g]);

				if (part == 0)
					carry[g] = eight;
				else
					ripple(planes[g], 4, full_add(&planes[g][3], carry[g], eight));
			}
		}
	}
	for (unsigned g = 0; g < GROUPS; g++)
		add_counts(planes[g], counts + base + 8 * g);
}
