/* SPDX-License-Identifier: Apache-2.0 */
/* Where a position of a tile lies, and where tiles lie in a group (SPEC.md section 5). */
#ifndef UW_POSITION_H
#define UW_POSITION_H

#include "unweight/codec.h"

/* Eight weights of one lane and step are the fragment registers a0..a3, two weights each. */
static inline uint32_t uw_position_row(uint32_t lane, uint32_t i)
{
	return lane / 4 + 8 * (i / 2 % 2);
}

static inline uint32_t uw_position_col(uint32_t step, uint32_t lane, uint32_t i)
{
	return 16 * step + 2 * (lane % 4) + i % 2 + 8 * (i / 4);
}

/* Part of the group that a tile covers. */
struct uw_tile {
	uint64_t row;   /* of its first weight, in the group; linear: 0 */
	uint64_t col;
	uint32_t nrows; /* of 16; linear: 1 */
	uint32_t ncols; /* of 64; linear: of 1024 */
	bool full;
};

/* Index of the tile's first weight among the group's weights. */
static inline size_t uw_tile_first(const struct uw_shape *shape, const struct uw_tile *tile)
{
	return (size_t)(tile->row * shape->ncols + tile->col);
}

/* A walk over the tiles of a group in order: uw_tile_walk_start, then uw_tile_walk_next ntiles times. */
struct uw_tile_walk {
	const struct uw_shape *shape;
	uint64_t tile_rows;  /* tiled: tiles from top to bottom */
	uint64_t row_block;  /* first tile row of the row block */
	uint64_t tile_col;
	uint64_t in_block;   /* 0..3: tile row within the row block */
	uint64_t linear_off;
};

static inline void uw_tile_walk_start(struct uw_tile_walk *walk, const struct uw_shape *shape)
{
	*walk = (struct uw_tile_walk){
		.shape = shape,
		.tile_rows = (shape->nrows + UW_TILE_ROWS - 1) / UW_TILE_ROWS,
	};
}

/* Moves the walk to tile t of the group. */
static inline void uw_tile_walk_seek(struct uw_tile_walk *walk, uint64_t t)
{
	uint64_t cols = (walk->shape->ncols + UW_TILE_COLS - 1) / UW_TILE_COLS;
	uint64_t block = t / (UW_BLOCK_TILE_ROWS * cols), rest = t % (UW_BLOCK_TILE_ROWS * cols);
	uint64_t left = walk->tile_rows - UW_BLOCK_TILE_ROWS * block; /* only the last row block may have fewer */
	uint64_t high = left < UW_BLOCK_TILE_ROWS ? left : UW_BLOCK_TILE_ROWS;

	walk->linear_off = t * UW_TILE_WEIGHTS;
	walk->row_block = UW_BLOCK_TILE_ROWS * block;
	walk->tile_col = rest / high;
	walk->in_block = rest % high;
}

static inline struct uw_tile uw_tile_linear(struct uw_tile_walk *walk)
{
	uint64_t left = walk->shape->nweights - walk->linear_off;
	struct uw_tile tile = {
		.col = walk->linear_off,
		.nrows = 1,
		.ncols = left < UW_TILE_WEIGHTS ? (uint32_t)left : UW_TILE_WEIGHTS,
		.full = left >= UW_TILE_WEIGHTS,
	};

	walk->linear_off += UW_TILE_WEIGHTS;
	return tile;
}

static inline struct uw_tile uw_tile_walk_next(struct uw_tile_walk *walk)
{
	const struct uw_shape *shape = walk->shape;

	if (shape->order == UW_ORDER_LINEAR)
		return uw_tile_linear(walk);

	uint64_t row = (walk->row_block + walk->in_block) * UW_TILE_ROWS;
	uint64_t col = walk->tile_col * UW_TILE_COLS;
	uint64_t rows_left = shape->nrows - row;
	uint64_t cols_left = shape->ncols - col;
	struct uw_tile tile = {
		.row = row,
		.col = col,
		.nrows = rows_left < UW_TILE_ROWS ? (uint32_t)rows_left : UW_TILE_ROWS,
		.ncols = cols_left < UW_TILE_COLS ? (uint32_t)cols_left : UW_TILE_COLS,
		.full = rows_left >= UW_TILE_ROWS && cols_left >= UW_TILE_COLS,
	};

	walk->in_block++;
	if (walk->in_block == UW_BLOCK_TILE_ROWS || walk->row_block + walk->in_block == walk->tile_rows) {
		walk->in_block = 0;
		walk->tile_col++;
		if (walk->tile_col * UW_TILE_COLS >= shape->ncols) {
			walk->tile_col = 0;
			walk->row_block += UW_BLOCK_TILE_ROWS;
		}
	}
	return tile;
}

static inline uint32_t uw_chunk_ntiles(const struct uw_shape *shape, uint64_t chunk)
{
	uint64_t left = shape->ntiles - chunk * UW_CHUNK_TILES;

	return left < UW_CHUNK_TILES ? (uint32_t)left : UW_CHUNK_TILES;
}

#endif
