/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of a chunk word (SPEC.md 6.2) and sizes of a group's parts (SPEC.md 6). */
#ifndef UW_CHUNK_H
#define UW_CHUNK_H

#include "unweight/codec.h"

#define UW_TABLE_NBYTES 16u
#define UW_CHUNK_WORD_NBYTES 8u
#define UW_PATCH_NBYTES 4u
#define UW_ROW_NBYTES 2u /* an entry of the row order */
#define UW_REGION_ALIGN 64u
#define UW_LANE_HEADER_NBYTES 32u
#define UW_STREAM_UNIT 4u /* chunk streams start and end at multiples of this */
#define UW_MAX_SHIFT 3u
#define UW_PATCH_XOR_MASK 0x7F00u

struct uw_chunk_word {
	uint32_t stream_start; /* in units of UW_STREAM_UNIT */
	uint32_t patch_start;
	uint32_t base;
	uint32_t table;
	uint32_t shift;
	bool row_order; /* first chunk: head has a row order */
};

static inline uint64_t uw_chunk_word_pack(struct uw_chunk_word w)
{
	return (uint64_t)w.stream_start | (uint64_t)w.patch_start << 22 | (uint64_t)w.base << 42 |
	       (uint64_t)w.table << 53 | (uint64_t)w.shift << 57 | (uint64_t)w.row_order << 60;
}

static inline struct uw_chunk_word uw_chunk_word_unpack(uint64_t v)
{
	return (struct uw_chunk_word){
		.stream_start = (uint32_t)(v & 0x3FFFFF),
		.patch_start = (uint32_t)(v >> 22 & 0xFFFFF),
		.base = (uint32_t)(v >> 42 & 0x7FF),
		.table = (uint32_t)(v >> 53 & 15),
		.shift = (uint32_t)(v >> 57 & 7),
		.row_order = v >> 60 & 1,
	};
}

#define UW_CHUNK_WORD_RESERVED (UINT64_C(7) << 61)

static inline uint64_t uw_region_align(uint64_t nbytes)
{
	return (nbytes + UW_REGION_ALIGN - 1) & ~(uint64_t)(UW_REGION_ALIGN - 1);
}

/* Size of head; the counts are bounded, so nothing overflows. */
static inline uint64_t uw_head_nbytes(const struct uw_shape *shape, uint64_t ntables, uint64_t npatches,
				      bool row_order)
{
	return uw_region_align(ntables * UW_TABLE_NBYTES + shape->nchunks * UW_CHUNK_WORD_NBYTES +
			       npatches * UW_PATCH_NBYTES + (row_order ? shape->nrows * UW_ROW_NBYTES : 0));
}

#endif
