/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of a coded group whose head is checked (SPEC.md sections 6.3 to 7). */
#include <string.h>

#include "coded.h"
#include "position.h"
#include "streams.h"
#include "unweight/cpu_ops.h"

/* ---- tiles to weights ---- */

/* Where tiles begin .. end of the group go: row first_row and column first_col of it to the start of weights, rows ld
 * apart. */
struct output {
	const struct uw_cpu_ops *ops;
	const struct uw_coded *coded;
	enum uw_store store;
	uint64_t begin, end;
	uint64_t first_row, first_col;
	bool reorder; /* stored row i goes where row uw_coded_row(i) belongs, not to row i */
	uint16_t *weights;
	size_t ld;
};

/* Row r of a tile. */
static uint16_t *place_of(const struct output *out, const struct uw_tile *tile, uint32_t r)
{
	uint64_t row = tile->row - out->first_row + r;

	if (out->reorder)
		row = uw_coded_row(out->coded, row);
	return out->weights + (size_t)row * out->ld + (tile->col - out->first_col);
}

/* Tile t of the group from its planes; e is NULL in coding P4. */
static void decode_whole_tile(const struct output *out, uint64_t t, const uint8_t *e, const uint8_t *pairs,
			      enum uw_store store, uint16_t *weights, size_t ld)
{
	const struct uw_coded *coded = out->coded;
	const uint8_t *s = coded->s + t * UW_TILE_WEIGHTS;

	if (e != NULL)
		out->ops->merge[coded->shape.order](weights, ld, s, e, store);
	else
		out->ops->p4_decode[coded->shape.order](weights, ld, s, coded->e + t * (UW_TILE_WEIGHTS / 2), pairs,
							store);
}

static void decode_tile(const struct output *out, uint64_t t, const struct uw_tile *tile, const uint8_t *e,
			const uint8_t *pairs)
{
	_Alignas(64) uint16_t whole[UW_TILE_WEIGHTS];
	uint16_t *rows[UW_TILE_ROWS];

	if (tile->full && !out->reorder) {
		decode_whole_tile(out, t, e, pairs, out->store, place_of(out, tile, 0), out->ld);
		return;
	}
	decode_whole_tile(out, t, e, pairs, UW_STORE_CACHED, whole, UW_TILE_COLS);
	for (uint32_t r = 0; r < tile->nrows; r++)
		rows[r] = place_of(out, tile, r);
	if (tile->full) {
		out->ops->put_rows(rows, whole, out->store);
		return;
	}
	for (uint32_t r = 0; r < tile->nrows; r++)
		memcpy(rows[r], whole + (size_t)r * UW_TILE_COLS, tile->ncols * sizeof(*whole));
}

/* The tiles of chunk c that are wanted; e are its exponents, or NULL in coding P4. */
static void decode_chunk(const struct output *out, uint64_t c, const uint8_t *e)
{
	const struct uw_shape *shape = &out->coded->shape;
	const uint8_t *pairs = out->coded->tables[uw_coded_word(out->coded, c).table].pairs;
	uint64_t first = c * UW_CHUNK_TILES;
	struct uw_tile_walk walk;

	uw_tile_walk_start(&walk, shape);
	uw_tile_walk_seek(&walk, first);
	for (uint64_t t = first; t < first + uw_chunk_ntiles(shape, c) && t < out->end; t++) {
		struct uw_tile tile = uw_tile_walk_next(&walk);

		if (t >= out->begin)
			decode_tile(out, t, &tile, e != NULL ? e + (t - first) * UW_TILE_WEIGHTS : NULL, pairs);
	}
}

static void take_exponents(void *ctx, uint64_t c, uint8_t *e)
{
	const struct output *out = ctx;

	uw_coded_patch_exponents(out->coded, c, e);
	decode_chunk(out, c, e);
}

/* ---- coding P4 ---- */

static void patch_weights(const struct output *out, uint64_t c)
{
	const struct uw_coded *coded = out->coded;
	bool linear = coded->shape.order == UW_ORDER_LINEAR;
	uint32_t end = uw_coded_patch_end(coded, c);

	for (uint32_t n = uw_coded_word(coded, c).patch_start; n < end; n++) {
		uint32_t patch = uw_load_le32(coded->patches + (size_t)n * UW_PATCH_NBYTES);
		uint32_t p = patch >> 16 & 1023, step = p / 256, lane = p / 8 % UW_LANES, i = p % 8;
		uint32_t row = linear ? 0 : uw_position_row(lane, i);
		uint32_t col = linear ? p : uw_position_col(step, lane, i);
		uint64_t t = c * UW_CHUNK_TILES + (patch >> 26);
		struct uw_tile_walk walk;
		struct uw_tile tile;

		if (t < out->begin || t >= out->end)
			continue;
		uw_tile_walk_start(&walk, &coded->shape);
		uw_tile_walk_seek(&walk, t);
		tile = uw_tile_walk_next(&walk);
		if (row < tile.nrows && col < tile.ncols)
			place_of(out, &tile, row)[col] ^= (uint16_t)patch;
	}
}

/* Patches come last: a weight that has just been stored past the caches would have to be waited for. */
static void decode_palette(const struct output *out, uint64_t begin, uint64_t end)
{
	for (uint64_t c = begin; c < end; c++)
		decode_chunk(out, c, NULL);
	for (uint64_t c = begin; c < end; c++)
		patch_weights(out, c);
}

/* ---- groups ---- */

static enum uw_status decode_tiles(struct output *out, struct uw_error *err)
{
	uint64_t begin = out->begin / UW_CHUNK_TILES, end = (out->end + UW_CHUNK_TILES - 1) / UW_CHUNK_TILES;
	enum uw_status status = UW_OK;

	if (out->coded->coding == UW_CODING_H)
		status = uw_streams_decode(out->ops, out->coded, begin, end, UW_STREAM_EXPONENTS, take_exponents, out,
					   err);
	else
		decode_palette(out, begin, end);
	if (out->store == UW_STORE_STREAM)
		out->ops->fence();
	return status;
}

enum uw_status uw_coded_decode(const struct uw_cpu_ops *ops, const struct uw_coded *coded, enum uw_store store,
			       uint16_t *weights, struct uw_error *err)
{
	struct output out = {
		.ops = ops,
		.coded = coded,
		.store = store,
		.end = coded->shape.ntiles,
		.reorder = coded->row_order != NULL,
		.weights = weights,
		.ld = (size_t)coded->shape.ncols,
	};

	return decode_tiles(&out, err);
}

enum uw_status uw_coded_decode_blocks(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint64_t first,
				      uint64_t nblocks, enum uw_store store, uint16_t *weights, size_t ld,
				      struct uw_error *err)
{
	const struct uw_shape *shape = &coded->shape;
	uint64_t rows = UW_TILE_ROWS * UW_BLOCK_TILE_ROWS, total = (shape->nrows + rows - 1) / rows;
	uint64_t block_tiles = (shape->ncols + UW_TILE_COLS - 1) / UW_TILE_COLS * UW_BLOCK_TILE_ROWS;
	struct output out = {
		.ops = ops,
		.coded = coded,
		.store = store,
		.begin = first * block_tiles,
		.end = first + nblocks < total ? (first + nblocks) * block_tiles : shape->ntiles,
		.first_row = first * rows,
		.weights = weights,
		.ld = ld,
	};

	if (shape->order != UW_ORDER_TILED || first > total || nblocks > total - first || ld < shape->ncols)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "row blocks of a group");
	return nblocks != 0 ? decode_tiles(&out, err) : UW_OK;
}

enum uw_status uw_coded_decode_columns(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint64_t block,
				       uint64_t first_col, uint64_t ncols, enum uw_store store, uint16_t *weights,
				       size_t ld, struct uw_error *err)
{
	const struct uw_shape *shape = &coded->shape;
	uint64_t tile_rows = (shape->nrows + UW_TILE_ROWS - 1) / UW_TILE_ROWS;
	uint64_t tile_cols = (shape->ncols + UW_TILE_COLS - 1) / UW_TILE_COLS;
	uint64_t nblocks = (tile_rows + UW_BLOCK_TILE_ROWS - 1) / UW_BLOCK_TILE_ROWS;
	uint64_t high = block + 1 < nblocks ? UW_BLOCK_TILE_ROWS : tile_rows - block * UW_BLOCK_TILE_ROWS;
	uint64_t base = block * UW_BLOCK_TILE_ROWS * tile_cols; /* tiles stand column by column in a row block */
	struct output out = {
		.ops = ops,
		.coded = coded,
		.store = store,
		.begin = base + first_col * high,
		.end = base + (first_col + ncols) * high,
		.first_row = block * UW_BLOCK_TILE_ROWS * UW_TILE_ROWS,
		.first_col = first_col * UW_TILE_COLS,
		.weights = weights,
		.ld = ld,
	};

	if (shape->order != UW_ORDER_TILED || block >= nblocks || first_col > tile_cols ||
	    ncols > tile_cols - first_col)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "tile columns of a group");
	if (ncols == 0)
		return UW_OK;
	if (ld < (first_col + ncols < tile_cols ? ncols * UW_TILE_COLS : shape->ncols - out.first_col))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "tile columns of a group");
	return decode_tiles(&out, err);
}
