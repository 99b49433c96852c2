/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of a coded group whose head is checked (SPEC.md sections 6.3 to 7). Bit streams are untrusted. */
#include <string.h>

#include "coded.h"
#include "huffman.h"
#include "position.h"
#include "unweight/cpu_ops.h"

/* ---- bit streams ---- */

static enum uw_status fail_bits(const struct uw_coded *coded, uint64_t c, const uint8_t *at, struct uw_error *err)
{
	return uw_fail(err, UW_ERR_BITS, (uint64_t)(at - coded->head), "bit stream of chunk %llu",
		       (unsigned long long)c);
}

/*
 * Lane starts of chunk c. The chunk has to end exactly where the next one begins, or where E does: so no lane starts
 * behind E, and no decoder reads farther behind it than into the S plane.
 */
static enum uw_status lane_starts(const struct uw_coded *coded, uint64_t c, struct uw_chunk_word word,
				  uint32_t start[UW_LANES + 1], struct uw_error *err)
{
	uint64_t from = (uint64_t)word.stream_start * UW_STREAM_UNIT, to = coded->e_nbytes, end;
	bool last = c + 1 == coded->shape.nchunks;
	const uint8_t *stream = coded->e + from;

	if (!last)
		to = (uint64_t)uw_coded_word(coded, c + 1).stream_start * UW_STREAM_UNIT;
	if (to > coded->e_nbytes || from > to || to - from < UW_LANE_HEADER_NBYTES)
		return fail_bits(coded, c, coded->e, err);
	start[0] = 8 * UW_LANE_HEADER_NBYTES;
	for (unsigned k = 0; k < UW_LANES; k++)
		start[k + 1] = start[k] + ((word.base + stream[k]) << word.shift);
	end = ((uint64_t)start[UW_LANES] + 8 * UW_STREAM_UNIT - 1) / (8 * UW_STREAM_UNIT) * UW_STREAM_UNIT;
	if (last ? uw_region_align(from + end) != to : from + end != to)
		return fail_bits(coded, c, stream, err);
	if ((start[UW_LANES] % 8 != 0 && stream[start[UW_LANES] / 8] >> start[UW_LANES] % 8 != 0) ||
	    !uw_all_zero(stream + (start[UW_LANES] + 7) / 8, coded->e + to))
		return fail_bits(coded, c, stream + start[UW_LANES] / 8, err);
	return UW_OK;
}

/* A group's window tables, for exponents or for symbols. */
struct windows {
	struct uw_huff_entry table[UW_MAX_TABLES][128];
};

static void build_windows(const struct uw_coded *coded, bool symbols, struct windows *windows)
{
	for (uint32_t t = 0; t < coded->ntables; t++) {
		uint8_t values[UW_SYMBOLS];

		for (unsigned s = 0; s < UW_SYMBOLS; s++)
			values[s] = (uint8_t)(symbols ? s : 2u * coded->tables[t].pairs[s / 2] + s % 2);
		uw_huff_window_table(coded->tables[t].lens, values, windows->table[t]);
	}
}

/*
 * The order in which chunks are decoded: chunks of the same table stand together, so that several can be decoded side
 * by side. The last chunk of the group, which may be shorter, comes last by itself.
 */
struct order {
	uint64_t n;
	uint16_t chunk[UW_MAX_GROUP_WEIGHTS / UW_CHUNK_WEIGHTS];
};

static void order_by_table(const struct uw_coded *coded, struct order *order)
{
	uint64_t nchunks = coded->shape.nchunks;

	order->n = 0;
	for (uint32_t t = 0; t < coded->ntables; t++) {
		for (uint64_t c = 0; c + 1 < nchunks; c++) {
			if (uw_coded_word(coded, c).table == t)
				order->chunk[order->n++] = (uint16_t)c;
		}
	}
	order->chunk[order->n++] = (uint16_t)(nchunks - 1);
}

/* How many chunks from `at` on can be decoded together: same table, same number of tiles. */
static uint32_t batch_size(const struct uw_coded *coded, const struct order *order, uint64_t at)
{
	uint32_t table = uw_coded_word(coded, order->chunk[at]).table, n = 1;
	uint32_t ntiles = uw_chunk_ntiles(&coded->shape, order->chunk[at]);

	while (n < UW_HUFF_BATCH && at + n < order->n &&
	       uw_coded_word(coded, order->chunk[at + n]).table == table &&
	       uw_chunk_ntiles(&coded->shape, order->chunk[at + n]) == ntiles)
		n++;
	return n;
}

/* Values of up to UW_HUFF_BATCH chunks. */
struct batch {
	_Alignas(64) uint8_t values[UW_HUFF_BATCH][UW_CHUNK_WEIGHTS];
};

static const uint8_t *stream_of(const struct uw_coded *coded, uint64_t c)
{
	return coded->e + (size_t)uw_coded_word(coded, c).stream_start * UW_STREAM_UNIT;
}

/* The same of a chunk that is not checked yet, to be prefetched. */
static const uint8_t *likely_stream_of(const struct uw_coded *coded, uint64_t c)
{
	size_t at = (size_t)uw_coded_word(coded, c).stream_start * UW_STREAM_UNIT;

	return coded->e + (at < coded->e_nbytes ? at : 0);
}

/* Decodes the n chunks that stand at `at` in the order. */
static enum uw_status decode_batch(const struct uw_cpu_ops *ops, const struct uw_coded *coded,
				   const struct order *order, uint64_t at, uint32_t n, const struct windows *windows,
				   struct batch *batch, struct uw_error *err)
{
	const uint16_t *chunk = order->chunk + at;
	struct uw_huff_chunk streams[UW_HUFF_BATCH];

	for (uint32_t i = 0; i < n; i++) {
		struct uw_chunk_word word = uw_coded_word(coded, chunk[i]);
		enum uw_status status = lane_starts(coded, chunk[i], word, streams[i].start, err);

		if (status != UW_OK)
			return status;
		streams[i].src = stream_of(coded, chunk[i]);
		streams[i].shift = word.shift;
		streams[i].out = batch->values[i];
		streams[i].next = likely_stream_of(coded, order->chunk[at + n + i < order->n ? at + n + i : at]);
		streams[i].plane = coded->s + (size_t)chunk[i] * UW_CHUNK_WEIGHTS;
	}
	ops->huff_decode(streams, n, uw_chunk_ntiles(&coded->shape, chunk[0]),
			 windows->table[uw_coded_word(coded, chunk[0]).table]);
	for (uint32_t i = 0; i < n; i++) {
		if (!streams[i].good)
			return fail_bits(coded, chunk[i], streams[i].src, err);
	}
	return UW_OK;
}

/* ---- tiles to weights ---- */

struct output {
	const struct uw_cpu_ops *ops;
	const struct uw_coded *coded;
	enum uw_store store;
	uint16_t *weights;
};

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
	size_t ld = (size_t)out->coded->shape.ncols;
	uint16_t whole[UW_TILE_WEIGHTS];

	if (tile->full) {
		decode_whole_tile(out, t, e, pairs, out->store, out->weights + tile->first, ld);
		return;
	}
	decode_whole_tile(out, t, e, pairs, UW_STORE_CACHED, whole, UW_TILE_COLS);
	for (uint32_t r = 0; r < tile->nrows; r++)
		memcpy(out->weights + tile->first + r * ld, whole + (size_t)r * UW_TILE_COLS,
		       tile->ncols * sizeof(*whole));
}

/* All tiles of chunk c; e are its exponents, or NULL in coding P4. */
static void decode_chunk(const struct output *out, uint64_t c, const uint8_t *e)
{
	const struct uw_shape *shape = &out->coded->shape;
	const uint8_t *pairs = out->coded->tables[uw_coded_word(out->coded, c).table].pairs;
	struct uw_tile_walk walk;

	uw_tile_walk_start(&walk, shape);
	uw_tile_walk_seek(&walk, c * UW_CHUNK_TILES);
	for (uint32_t t = 0; t < uw_chunk_ntiles(shape, c); t++) {
		struct uw_tile tile = uw_tile_walk_next(&walk);

		decode_tile(out, c * UW_CHUNK_TILES + t, &tile, e != NULL ? e + t * UW_TILE_WEIGHTS : NULL, pairs);
	}
}

/* ---- coding H ---- */

/* A patch has only bits of the exponent, so it can be applied before exponents are put together with the rest. */
static void patch_exponents(const struct uw_coded *coded, uint64_t c, uint8_t *e)
{
	uint32_t end = uw_coded_patch_end(coded, c);

	for (uint32_t n = uw_coded_word(coded, c).patch_start; n < end; n++) {
		uint32_t patch = uw_load_le32(coded->patches + (size_t)n * UW_PATCH_NBYTES);

		e[patch >> 16] ^= (uint8_t)(patch >> 7);
	}
}

static enum uw_status decode_huffman(const struct output *out, struct uw_error *err)
{
	const struct uw_coded *coded = out->coded;
	struct windows windows;
	struct order order;
	struct batch batch;

	build_windows(coded, false, &windows);
	order_by_table(coded, &order);
	for (uint64_t at = 0, n; at < order.n; at += n) {
		enum uw_status status;

		n = batch_size(coded, &order, at);
		status = decode_batch(out->ops, coded, &order, at, (uint32_t)n, &windows, &batch, err);
		if (status != UW_OK)
			return status;
		for (uint64_t i = 0; i < n; i++) {
			patch_exponents(coded, order.chunk[at + i], batch.values[i]);
			decode_chunk(out, order.chunk[at + i], batch.values[i]);
		}
	}
	return UW_OK;
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
		struct uw_tile_walk walk;
		struct uw_tile tile;

		uw_tile_walk_start(&walk, &coded->shape);
		uw_tile_walk_seek(&walk, c * UW_CHUNK_TILES + (patch >> 26));
		tile = uw_tile_walk_next(&walk);
		if (row < tile.nrows && col < tile.ncols)
			out->weights[tile.first + row * (size_t)coded->shape.ncols + col] ^= (uint16_t)patch;
	}
}

/* Patches come last: a weight that has just been stored past the caches would have to be waited for. */
static void decode_palette(const struct output *out)
{
	uint64_t nchunks = out->coded->shape.nchunks;

	for (uint64_t c = 0; c < nchunks; c++)
		decode_chunk(out, c, NULL);
	for (uint64_t c = 0; c < nchunks; c++)
		patch_weights(out, c);
}

enum uw_status uw_coded_decode(const struct uw_cpu_ops *ops, const struct uw_coded *coded, enum uw_store store,
			       uint16_t *weights, struct uw_error *err)
{
	struct output out = { ops, coded, store, weights };
	enum uw_status status = UW_OK;

	if (coded->coding == UW_CODING_H)
		status = decode_huffman(&out, err);
	else
		decode_palette(&out);
	if (store == UW_STORE_STREAM)
		ops->fence();
	return status;
}

/* ---- H to P4 ---- */

uint64_t uw_coded_p4_nbytes(const struct uw_coded *coded)
{
	return uw_head_nbytes(&coded->shape, coded->ntables, coded->npatches) +
	       coded->shape.ntiles * (UW_TILE_WEIGHTS + UW_TILE_WEIGHTS / 2);
}

static void p4_head(const struct uw_coded *coded, uint8_t *dst)
{
	memcpy(dst, coded->head, (size_t)(coded->e - coded->head));
	for (uint32_t t = 0; t < coded->ntables; t++)
		memset(dst + (size_t)t * UW_TABLE_NBYTES + UW_PAIRS, 0, UW_TABLE_NBYTES - UW_PAIRS);
	dst += (size_t)coded->ntables * UW_TABLE_NBYTES;
	for (uint64_t c = 0; c < coded->shape.nchunks; c++) {
		struct uw_chunk_word word = uw_coded_word(coded, c);

		word.stream_start = word.base = word.shift = 0;
		uw_store_le64(dst + c * UW_CHUNK_WORD_NBYTES, uw_chunk_word_pack(word));
	}
}

enum uw_status uw_coded_to_p4(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint8_t *dst,
			      size_t dst_nbytes, struct uw_error *err)
{
	const struct uw_shape *shape = &coded->shape;
	struct windows windows;
	struct order order;
	struct batch batch;
	uint8_t *nib;

	if (coded->coding != UW_CODING_H)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "transcode of a group that is not H");
	if (dst_nbytes < uw_coded_p4_nbytes(coded))
		return uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET, "transcode of a group");
	p4_head(coded, dst);
	nib = dst + (coded->e - coded->head);
	build_windows(coded, true, &windows);
	order_by_table(coded, &order);
	for (uint64_t at = 0, n; at < order.n; at += n) {
		enum uw_status status;

		n = batch_size(coded, &order, at);
		status = decode_batch(ops, coded, &order, at, (uint32_t)n, &windows, &batch, err);
		if (status != UW_OK)
			return status;
		for (uint64_t i = 0; i < n; i++) {
			uint64_t first = order.chunk[at + i] * (uint64_t)UW_CHUNK_TILES;

			for (uint32_t t = 0; t < uw_chunk_ntiles(shape, order.chunk[at + i]); t++)
				ops->p4_pack(batch.values[i] + t * UW_TILE_WEIGHTS,
					     nib + (first + t) * (UW_TILE_WEIGHTS / 2));
		}
	}
	memcpy(nib + shape->ntiles * (UW_TILE_WEIGHTS / 2), coded->s, (size_t)(shape->ntiles * UW_TILE_WEIGHTS));
	return UW_OK;
}
