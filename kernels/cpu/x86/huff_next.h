/* SPDX-License-Identifier: Apache-2.0 */
/* What the Huffman decoders of both levels share. */
#ifndef UW_X86_HUFF_NEXT_H
#define UW_X86_HUFF_NEXT_H

#include <immintrin.h>

#include "unweight/cpu_ops.h"

/*
 * The part of what the caller reads next that falls to this turn. Streams are prefetched for their lanes: those begin
 * all over them.
 */
static inline void uw_prefetch_next(const struct uw_huff_chunk *chunk, uint32_t turn, uint32_t ntiles)
{
	uintptr_t next = (uintptr_t)chunk->next + turn * (chunk->start[UW_LANES] / (32 * ntiles) + 1);
	uintptr_t plane = (uintptr_t)chunk->plane + 256 * turn;

	_mm_prefetch((const char *)next, _MM_HINT_T0);
	_mm_prefetch((const char *)(next + 64), _MM_HINT_T0);
	for (unsigned n = 0; n < 256; n += 64)
		_mm_prefetch((const char *)(plane + n), _MM_HINT_T1);
}

#endif
