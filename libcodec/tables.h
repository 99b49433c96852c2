/* SPDX-License-Identifier: Apache-2.0 */
/* From exponent histograms to tables: palette and code of a set of chunks, and which chunks share one. */
#ifndef UW_TABLES_H
#define UW_TABLES_H

#include "unweight/codec.h"

#define UW_PATCH_NBITS 32u
#define UW_TABLE_NBITS 128u
#define UW_AVOID_PATCHES 1024u /* for patch_nbits: as few patches as the palettes allow */

/* Palette and Huffman lengths for a histogram of exponents plus `npadding` weights of symbol 0; a patch counts for
 * patch_nbits, at most 1024. */
void uw_table_build(const uint64_t counts[256], uint64_t npadding, uint32_t patch_nbits, struct uw_table *table);

/* map[e] = symbol of exponent e, or 0x80 | symbol of its placeholder. */
void uw_table_map(const struct uw_table *table, uint8_t map[256]);

/*
 * Chooses tables for chunks with the given exponent histograms. Writes at most UW_MAX_TABLES tables and the number of
 * each chunk's table; returns how many. `counts` and the work memory `rows` hold nchunks x 256 values, `npadding`
 * nchunks; `total` is the sum of all counts. Deterministic, integers only.
 */
uint32_t uw_tables_choose(const uint32_t *counts, const uint64_t total[256], const uint32_t *npadding, uint64_t nchunks,
			  uint32_t patch_nbits, uint16_t *rows, struct uw_table tables[UW_MAX_TABLES],
			  uint8_t *chunk_table);

#endif
