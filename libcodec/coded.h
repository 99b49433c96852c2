/* SPDX-License-Identifier: Apache-2.0 */
/* What checking and decoding of a coded group share. */
#ifndef UW_CODED_H
#define UW_CODED_H

#include "chunk.h"
#include "unweight/bytes.h"

static inline struct uw_chunk_word uw_coded_word(const struct uw_coded *coded, uint64_t c)
{
	return uw_chunk_word_unpack(uw_load_le64(coded->chunk_words + c * UW_CHUNK_WORD_NBYTES));
}

static inline uint32_t uw_coded_patch_end(const struct uw_coded *coded, uint64_t c)
{
	return c + 1 < coded->shape.nchunks ? uw_coded_word(coded, c + 1).patch_start : coded->npatches;
}

/* Applies the patches of chunk c to its exponents in position order: a patch has only bits of the exponent. */
static inline void uw_coded_patch_exponents(const struct uw_coded *coded, uint64_t c, uint8_t *e)
{
	uint32_t end = uw_coded_patch_end(coded, c);

	for (uint32_t n = uw_coded_word(coded, c).patch_start; n < end; n++) {
		uint32_t patch = uw_load_le32(coded->patches + (size_t)n * UW_PATCH_NBYTES);

		e[patch >> 16] ^= (uint8_t)(patch >> 7);
	}
}

static inline bool uw_all_zero(const uint8_t *from, const uint8_t *to)
{
	while (from < to && *from == 0)
		from++;
	return from >= to;
}

#endif
