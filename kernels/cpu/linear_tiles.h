/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernels of y = W x share: where tiles lie, their palettes and patches, edges, rounding. */
#ifndef UW_LINEAR_TILES_H
#define UW_LINEAR_TILES_H

#include <stdbool.h>
#include <string.h>

#include "unweight/bytes.h"
#include "unweight/linear_ops.h"

/* For what takes the source, or a size, as a constant: loops are fast only if they are made for it. */
#if defined(__GNUC__)
#define UW_INLINE static inline __attribute__((always_inline))
#else
#define UW_INLINE static inline
#endif

#define UW_BLOCK_TILES (UW_ROW_BLOCK / UW_TILE_ROWS)

/* ---- columns ---- */

/* Tile columns that the range meets, and the part of it in the first and last one. */
struct uw_linear_cols {
	uint64_t first, n; /* tile columns of the group */
	uint32_t head;     /* columns before the range in the first one */
	uint32_t tail;     /* columns behind it in the last one */
};

static inline struct uw_linear_cols uw_linear_cols(const struct uw_linear_dims *dims)
{
	uint64_t first = dims->col_begin / UW_TILE_COLS, end = (dims->col_end + UW_TILE_COLS - 1) / UW_TILE_COLS;
	struct uw_linear_cols cols = {
		.first = first,
		.n = end - first,
		.head = (uint32_t)(dims->col_begin % UW_TILE_COLS),
		.tail = (uint32_t)(end * UW_TILE_COLS - dims->col_end),
	};

	return cols;
}

/* Columns of tile column k of the range (0 .. n) that count: [*begin, *end) of 64. True: not all of them. */
static inline bool uw_linear_edge(const struct uw_linear_cols *cols, uint64_t k, uint32_t *begin, uint32_t *end)
{
	*begin = k == 0 ? cols->head : 0;
	*end = UW_TILE_COLS - (k + 1 == cols->n ? cols->tail : 0);
	return *begin != 0 || *end != UW_TILE_COLS;
}

/* ---- rows ---- */

/* Rows of row block b of the run. */
static inline uint32_t uw_linear_block_rows(const struct uw_linear_run *run, uint64_t b)
{
	uint64_t left = run->nrows - (run->first_block + b) * UW_ROW_BLOCK;

	return left < UW_ROW_BLOCK ? (uint32_t)left : UW_ROW_BLOCK;
}

/* ---- palettes and patches ---- */

/* A walk over tiles of ascending number that keeps the chunk it is in: its palette, and its patches from here on. */
struct uw_linear_chunk {
	const struct uw_linear_run *run;
	uint64_t first_tile; /* of the run in the group */
	uint64_t chunk;
	const uint8_t *pairs; /* P4 */
	const uint8_t *patch, *patch_end;
};

static inline void uw_linear_chunk_start(struct uw_linear_chunk *at, const struct uw_linear_run *run)
{
	at->run = run;
	at->first_tile = run->first_block * uw_linear_block_tiles(run->ncols);
	at->chunk = UINT64_MAX;
	at->pairs = NULL;
	at->patch = at->patch_end = run->patches;
}

/* Chunk words: SPEC.md 6.2. */
static inline uint32_t uw_linear_patch_start(const struct uw_linear_run *run, uint64_t c)
{
	return c < run->nchunks ? (uint32_t)(uw_load_le64(run->chunk_words + 8 * c) >> 22 & 0xFFFFF) : run->npatches;
}

static inline void uw_linear_chunk_load(struct uw_linear_chunk *at, uint64_t c)
{
	const struct uw_linear_run *run = at->run;

	at->chunk = c;
	if (run->chunk_words == NULL)
		return;
	if (run->tables != NULL)
		at->pairs = run->tables[uw_load_le64(run->chunk_words + 8 * c) >> 53 & 15].pairs;
	at->patch = run->patches + (size_t)4 * uw_linear_patch_start(run, c);
	at->patch_end = run->patches + (size_t)4 * uw_linear_patch_start(run, c + 1);
}

/* Moves to tile t of the run. True: it has patches, the first of which is at->patch. */
static inline bool uw_linear_chunk_seek(struct uw_linear_chunk *at, uint64_t t)
{
	uint32_t in_chunk;

	t += at->first_tile;
	if (t / UW_CHUNK_TILES != at->chunk)
		uw_linear_chunk_load(at, t / UW_CHUNK_TILES);
	in_chunk = (uint32_t)(t % UW_CHUNK_TILES);
	while (at->patch != at->patch_end && uw_load_le32(at->patch) >> 26 < in_chunk)
		at->patch += 4;
	return at->patch != at->patch_end && uw_load_le32(at->patch) >> 26 == in_chunk;
}

/* One patch: what to XOR to which weight of its tile. */
struct uw_linear_patch {
	uint32_t row, step, lane, i; /* SPEC.md section 5 */
	uint16_t flip;
};

/* The next patch of the tile that the walk is at; false: there is none left. */
static inline bool uw_linear_patch_next(struct uw_linear_chunk *at, uint32_t tile, struct uw_linear_patch *patch)
{
	uint32_t word;

	if (at->patch == at->patch_end)
		return false;
	word = uw_load_le32(at->patch);
	if (word >> 26 != tile)
		return false;
	patch->step = word >> 24 & 3;
	patch->lane = word >> 19 & 31;
	patch->i = word >> 16 & 7;
	patch->row = patch->lane / 4 + 8 * (patch->i / 2 % 2);
	patch->flip = (uint16_t)word;
	at->patch += 4;
	return true;
}

static inline uint32_t uw_linear_patch_col(const struct uw_linear_patch *patch)
{
	return 16 * patch->step + 2 * (patch->lane % 4) + patch->i % 2 + 8 * (patch->i / 4);
}

/* ---- numbers ---- */

/* To the nearest BF16, ties to even; a NaN stays one. */
static inline uint16_t uw_linear_round(float v)
{
	uint32_t word;

	memcpy(&word, &v, sizeof(word));
	if ((word & 0x7FFFFFFF) > 0x7F800000)
		return (uint16_t)(word >> 16 | 0x40);
	return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

static inline float uw_linear_widen(uint16_t v)
{
	uint32_t word = (uint32_t)v << 16;
	float f;

	memcpy(&f, &word, sizeof(f));
	return f;
}

/* The one NaN that a result may be: its payload would depend on which operand of an instruction came first. */
static inline float uw_linear_result(float v)
{
	const uint32_t nan = 0x7FC00000;

	if (v != v)
		memcpy(&v, &nan, sizeof(v));
	return v;
}

/* Element c of row n of x, counted from col_begin, as BF16. */
static inline uint16_t uw_linear_x_at(const void *x, enum uw_linear_type type, size_t i)
{
	return type == UW_LINEAR_BF16 ? ((const uint16_t *)x)[i] : uw_linear_round(((const float *)x)[i]);
}

#endif
