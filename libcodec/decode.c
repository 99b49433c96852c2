/* SPDX-License-Identifier: Apache-2.0 */
/* Checking and decoding of a coded group (SPEC.md sections 6 and 7). Every byte of it is untrusted. */
#include <string.h>

#include "chunk.h"
#include "huffman.h"
#include "position.h"
#include "unweight/bytes.h"
#include "unweight/cpu_ops.h"

/* ---- head ---- */

static enum uw_status load_tables(struct uw_coded *coded, struct uw_error *err)
{
	for (uint32_t t = 0; t < coded->ntables; t++) {
		const uint8_t *src = coded->head + t * UW_TABLE_NBYTES;
		struct uw_table *table = &coded->tables[t];
		uint8_t any = 0;

		memcpy(table->pairs, src, UW_PAIRS);
		for (unsigned k = 0; k < UW_PAIRS; k++) {
			if (table->pairs[k] >= 128)
				return uw_fail(err, UW_ERR_TABLE, t * UW_TABLE_NBYTES + k, "palette of table %u", t);
		}
		for (unsigned s = 0; s < UW_SYMBOLS; s++) {
			table->lens[s] = src[UW_PAIRS + s / 2] >> s % 2 * 4 & 15;
			any |= table->lens[s];
		}
		if (coded->coding == UW_CODING_H ? !uw_huff_complete(table->lens) : any != 0)
			return uw_fail(err, UW_ERR_TABLE, t * UW_TABLE_NBYTES + UW_PAIRS, "code lengths of table %u",
				       t);
	}
	return UW_OK;
}

static struct uw_chunk_word chunk_word(const struct uw_coded *coded, uint64_t c)
{
	return uw_chunk_word_unpack(uw_load_le64(coded->chunk_words + c * UW_CHUNK_WORD_NBYTES));
}

static uint32_t patch_end(const struct uw_coded *coded, uint64_t c)
{
	return c + 1 < coded->shape.nchunks ? chunk_word(coded, c + 1).patch_start : coded->npatches;
}

static enum uw_status check_chunk_words(const struct uw_coded *coded, struct uw_error *err)
{
	struct uw_chunk_word last = { 0 };

	for (uint64_t c = 0; c < coded->shape.nchunks; c++) {
		const uint8_t *at = coded->chunk_words + c * UW_CHUNK_WORD_NBYTES;
		uint64_t raw = uw_load_le64(at);
		struct uw_chunk_word word = uw_chunk_word_unpack(raw);
		bool streams = coded->coding == UW_CODING_H ?
			word.shift <= UW_MAX_SHIFT && (c == 0 ? word.stream_start == 0 :
						       word.stream_start > last.stream_start) :
			(word.stream_start | word.base | word.shift) == 0;
		bool patches = c == 0 ? word.patch_start == 0 : word.patch_start >= last.patch_start;

		if ((raw & UW_CHUNK_WORD_RESERVED) != 0 || !streams || !patches || word.table >= coded->ntables ||
		    word.patch_start > coded->npatches)
			return uw_fail(err, UW_ERR_LAYOUT, (uint64_t)(at - coded->head), "word of chunk %llu",
				       (unsigned long long)c);
		last = word;
	}
	return UW_OK;
}

static enum uw_status check_patches(const struct uw_coded *coded, struct uw_error *err)
{
	for (uint64_t c = 0; c < coded->shape.nchunks; c++) {
		uint32_t end = patch_end(coded, c), limit = uw_chunk_ntiles(&coded->shape, c) * UW_TILE_WEIGHTS;
		uint32_t next = 0; /* lowest position allowed */

		for (uint32_t i = chunk_word(coded, c).patch_start; i < end; i++) {
			const uint8_t *at = coded->patches + (size_t)i * UW_PATCH_NBYTES;
			uint32_t patch = uw_load_le32(at), position = patch >> 16, flip = patch & 0xFFFF;

			if (position < next || position >= limit || flip == 0 || (flip & ~UW_PATCH_XOR_MASK) != 0)
				return uw_fail(err, UW_ERR_PATCH, (uint64_t)(at - coded->head), "patch %u", i);
			next = position + 1;
		}
	}
	return UW_OK;
}

static bool all_zero(const uint8_t *from, const uint8_t *to)
{
	while (from < to && *from == 0)
		from++;
	return from == to;
}

static enum uw_status check_padding(const struct uw_coded *coded, struct uw_error *err)
{
	const uint8_t *end = coded->patches + (size_t)coded->npatches * UW_PATCH_NBYTES;

	if (!all_zero(end, coded->e))
		return uw_fail(err, UW_ERR_LAYOUT, (uint64_t)(end - coded->head), "padding is not zero");
	return UW_OK;
}

enum uw_status uw_coded_open(const struct uw_shape *shape, enum uw_coding coding, uint32_t ntables, uint32_t npatches,
			     const uint8_t *stored, size_t stored_nbytes, struct uw_coded *coded,
			     struct uw_error *err)
{
	uint64_t s_nbytes = shape->ntiles * UW_TILE_WEIGHTS;
	enum uw_status status;
	uint64_t head;

	if ((coding != UW_CODING_H && coding != UW_CODING_P4) || ntables == 0 || ntables > UW_MAX_TABLES ||
	    npatches > shape->ntiles * UW_MAX_TILE_PATCHES)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "counts of a coded group");
	head = uw_head_nbytes(shape, ntables, npatches);
	if (stored_nbytes < head + s_nbytes || (stored_nbytes - head) % UW_REGION_ALIGN != 0)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "stored size %zu of a coded group", stored_nbytes);
	*coded = (struct uw_coded){
		.shape = *shape,
		.coding = coding,
		.ntables = ntables,
		.npatches = npatches,
		.head = stored,
		.chunk_words = stored + (size_t)ntables * UW_TABLE_NBYTES,
		.patches = stored + (size_t)ntables * UW_TABLE_NBYTES + shape->nchunks * UW_CHUNK_WORD_NBYTES,
		.e = stored + head,
		.e_nbytes = stored_nbytes - head - s_nbytes,
		.s = stored + stored_nbytes - s_nbytes,
	};
	if (coding == UW_CODING_P4 && coded->e_nbytes != s_nbytes / 2)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "stored size %zu of a coded group", stored_nbytes);
	status = load_tables(coded, err);
	if (status == UW_OK)
		status = check_chunk_words(coded, err);
	if (status == UW_OK)
		status = check_patches(coded, err);
	if (status == UW_OK)
		status = check_padding(coded, err);
	return status;
}

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
		to = (uint64_t)chunk_word(coded, c + 1).stream_start * UW_STREAM_UNIT;
	if (to > coded->e_nbytes || from > to || to - from < UW_LANE_HEADER_NBYTES)
		return fail_bits(coded, c, coded->e, err);
	start[0] = 8 * UW_LANE_HEADER_NBYTES;
	for (unsigned k = 0; k < UW_LANES; k++)
		start[k + 1] = start[k] + ((word.base + stream[k]) << word.shift);
	end = ((uint64_t)start[UW_LANES] + 8 * UW_STREAM_UNIT - 1) / (8 * UW_STREAM_UNIT) * UW_STREAM_UNIT;
	if (last ? uw_region_align(from + end) != to : from + end != to)
		return fail_bits(coded, c, stream, err);
	if ((start[UW_LANES] % 8 != 0 && stream[start[UW_LANES] / 8] >> start[UW_LANES] % 8 != 0) ||
	    !all_zero(stream + (start[UW_LANES] + 7) / 8, coded->e + to))
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

static enum uw_status decode_stream(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint64_t c,
				    const struct windows *windows, uint8_t *out, struct uw_error *err)
{
	struct uw_chunk_word word = chunk_word(coded, c);
	const uint8_t *stream = coded->e + (size_t)word.stream_start * UW_STREAM_UNIT;
	uint32_t start[UW_LANES + 1];
	enum uw_status status = lane_starts(coded, c, word, start, err);

	if (status != UW_OK)
		return status;
	if (!ops->huff_decode(stream, start, word.shift, uw_chunk_ntiles(&coded->shape, c),
			      windows->table[word.table], out))
		return fail_bits(coded, c, stream, err);
	return UW_OK;
}

/* ---- tiles to weights ---- */

/* What decode_tile needs beside the tile itself. */
struct tile_source {
	const uint8_t *s;
	const uint8_t *e;   /* exponents (H), or NULL */
	const uint8_t *nib; /* nibble plane (P4) */
	const uint8_t *pairs;
};

static void decode_whole_tile(const struct uw_cpu_ops *ops, enum uw_order order, const struct tile_source *src,
			      uint16_t *weights, size_t ld)
{
	if (src->e != NULL)
		ops->merge[order](weights, ld, src->s, src->e);
	else
		ops->p4_decode[order](weights, ld, src->s, src->nib, src->pairs);
}

static void decode_tile(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct uw_tile *tile,
			const struct tile_source *src, uint16_t *weights)
{
	uint16_t whole[UW_TILE_WEIGHTS];

	if (tile->full) {
		decode_whole_tile(ops, shape->order, src, weights + tile->first, (size_t)shape->ncols);
		return;
	}
	decode_whole_tile(ops, shape->order, src, whole, UW_TILE_COLS);
	for (uint32_t r = 0; r < tile->nrows; r++)
		memcpy(weights + tile->first + r * (size_t)shape->ncols, whole + (size_t)r * UW_TILE_COLS,
		       tile->ncols * sizeof(*whole));
}

static void apply_patches(const struct uw_coded *coded, uint64_t c, const struct uw_tile tiles[UW_CHUNK_TILES],
			  uint16_t *weights)
{
	uint32_t end = patch_end(coded, c);

	for (uint32_t n = chunk_word(coded, c).patch_start; n < end; n++) {
		uint32_t patch = uw_load_le32(coded->patches + (size_t)n * UW_PATCH_NBYTES);
		uint32_t p = patch >> 16 & 1023, step = p / 256, lane = p / 8 % UW_LANES, i = p % 8;
		const struct uw_tile *tile = &tiles[patch >> 26];
		bool linear = coded->shape.order == UW_ORDER_LINEAR;
		uint32_t row = linear ? 0 : uw_position_row(lane, i);
		uint32_t col = linear ? p : uw_position_col(step, lane, i);

		if (row < tile->nrows && col < tile->ncols)
			weights[tile->first + row * (size_t)coded->shape.ncols + col] ^= (uint16_t)patch;
	}
}

enum uw_status uw_coded_decode(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint16_t *weights,
			       struct uw_error *err)
{
	const struct uw_shape *shape = &coded->shape;
	bool huffman = coded->coding == UW_CODING_H;
	struct tile_source src = { .s = coded->s, .nib = coded->e };
	uint8_t e[UW_CHUNK_WEIGHTS];
	struct windows windows;
	struct uw_tile_walk walk;

	if (huffman)
		build_windows(coded, false, &windows);
	uw_tile_walk_start(&walk, shape);
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		struct uw_tile tiles[UW_CHUNK_TILES];
		uint32_t ntiles = uw_chunk_ntiles(shape, c);

		if (huffman) {
			enum uw_status status = decode_stream(ops, coded, c, &windows, e, err);

			if (status != UW_OK)
				return status;
		}
		src.pairs = coded->tables[chunk_word(coded, c).table].pairs;
		for (uint32_t t = 0; t < ntiles; t++) {
			tiles[t] = uw_tile_walk_next(&walk);
			src.e = huffman ? e + t * UW_TILE_WEIGHTS : NULL;
			decode_tile(ops, shape, &tiles[t], &src, weights);
			src.s += UW_TILE_WEIGHTS;
			src.nib += UW_TILE_WEIGHTS / 2;
		}
		apply_patches(coded, c, tiles, weights);
	}
	return UW_OK;
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
		struct uw_chunk_word word = chunk_word(coded, c);

		word.stream_start = word.base = word.shift = 0;
		uw_store_le64(dst + c * UW_CHUNK_WORD_NBYTES, uw_chunk_word_pack(word));
	}
}

enum uw_status uw_coded_to_p4(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint8_t *dst,
			      size_t dst_nbytes, struct uw_error *err)
{
	const struct uw_shape *shape = &coded->shape;
	uint8_t sym[UW_CHUNK_WEIGHTS], *nib;
	struct windows windows;

	if (coded->coding != UW_CODING_H)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "transcode of a group that is not H");
	if (dst_nbytes < uw_coded_p4_nbytes(coded))
		return uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET, "transcode of a group");
	p4_head(coded, dst);
	nib = dst + (coded->e - coded->head);
	build_windows(coded, true, &windows);
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		enum uw_status status = decode_stream(ops, coded, c, &windows, sym, err);

		if (status != UW_OK)
			return status;
		for (uint32_t t = 0; t < uw_chunk_ntiles(shape, c); t++, nib += UW_TILE_WEIGHTS / 2)
			ops->p4_pack(sym + t * UW_TILE_WEIGHTS, nib);
	}
	memcpy(nib, coded->s, (size_t)(shape->ntiles * UW_TILE_WEIGHTS));
	return UW_OK;
}
