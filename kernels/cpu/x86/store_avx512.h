/* SPDX-License-Identifier: Apache-2.0 */
/* How the AVX-512 loops store a tile's weights. */
#ifndef UW_STORE_AVX512_H
#define UW_STORE_AVX512_H

#include <immintrin.h>

#include "unweight/cpu_ops.h"

#define UW_SIGN_MANTISSA 0x807F807F /* of two weights */
#define UW_SELECT 0xCA              /* vpternlog: bits of the second where the first is set, else of the third */

/* Streaming stores take whole lines: every row has to begin at one. */
static inline bool uw_can_stream(const uint16_t *weights, size_t ld, enum uw_store store)
{
	return store == UW_STORE_STREAM && (((uintptr_t)weights | ld * sizeof(*weights)) & 63) == 0;
}

static inline void uw_put(uint16_t *weights, __m512i v, bool stream)
{
	if (stream)
		_mm512_stream_si512((__m512i *)(void *)weights, v);
	else
		_mm512_storeu_si512(weights, v);
}

#endif
