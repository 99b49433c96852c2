/* SPDX-License-Identifier: Apache-2.0 */
/* How the AVX2 loops store a tile's weights, and what they share. */
#ifndef UW_STORE_AVX2_H
#define UW_STORE_AVX2_H

#include <immintrin.h>

#include "unweight/cpu_ops.h"

#define UW_SIGN_MANTISSA 0x807F807F /* of two weights */

/* Streaming stores take whole lines: every row has to begin at one. */
static inline bool uw_can_stream(const uint16_t *weights, size_t ld, enum uw_store store)
{
	return store == UW_STORE_STREAM && (((uintptr_t)weights | ld * sizeof(*weights)) & 63) == 0;
}

static inline void uw_put(uint16_t *weights, __m256i v, bool stream)
{
	if (stream)
		_mm256_stream_si256((__m256i *)(void *)weights, v);
	else
		_mm256_storeu_si256((__m256i *)(void *)weights, v);
}

static inline __m128i uw_load16(const uint8_t *p)
{
	return _mm_loadu_si128((const __m128i *)(const void *)p);
}

static inline __m256i uw_load32(const uint8_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* Transposes 4 x 4 dwords in each half. */
static inline void uw_transpose(__m256i v[4])
{
	__m256i a = _mm256_unpacklo_epi32(v[0], v[1]), b = _mm256_unpackhi_epi32(v[0], v[1]);
	__m256i c = _mm256_unpacklo_epi32(v[2], v[3]), d = _mm256_unpackhi_epi32(v[2], v[3]);

	v[0] = _mm256_unpacklo_epi64(a, c);
	v[1] = _mm256_unpackhi_epi64(a, c);
	v[2] = _mm256_unpacklo_epi64(b, d);
	v[3] = _mm256_unpackhi_epi64(b, d);
}

/* Four lanes of the S plane by step: v[j] is S0 of the four lanes and step j, then S1. */
static inline void uw_load_s(const uint8_t *s, __m256i v[4])
{
	for (unsigned q = 0; q < 4; q++)
		v[q] = _mm256_inserti128_si256(_mm256_castsi128_si256(uw_load16(s + 16 * q)),
					       uw_load16(s + 512 + 16 * q), 1);
	uw_transpose(v);
}

/* Dwords rotated right by a byte. */
static inline __m256i uw_ror8(__m256i v)
{
	return _mm256_shuffle_epi8(v, _mm256_broadcastsi128_si256(_mm_setr_epi8(1, 2, 3, 0, 5, 6, 7, 4, 9, 10, 11, 8,
										13, 14, 15, 12)));
}

/* A row of a tile, two whole lines one after the other. */
static inline void uw_put_row(uint16_t *weights, const __m256i v[4], bool stream)
{
	for (unsigned j = 0; j < 4; j++)
		uw_put(weights + 16 * j, v[j], stream);
}

#endif
