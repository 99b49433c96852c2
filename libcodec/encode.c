/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planning and encoding of a group. The plan does all the work that depends on the weights and leaves S plane, symbols
 * and patches in the scratch memory; encoding puts them together in one of two codings.
 *
 * A group is larger than the second cache, so passes over the scratch memory are what time goes into. There are three:
 * weights to S plane, exponents and histograms; exponents to symbols and sizes; symbols to streams. The second runs
 * from the last chunk to the first, so that each pass begins with what the one before it has touched last.
 */
#include <string.h>

#include "chunk.h"
#include "huffman.h"
#include "position.h"
#include "prefetch.h"
#include "row_order.h"
#include "tables.h"
#include "unweight/bytes.h"
#include "unweight/cpu_ops.h"

#define STREAM_NBYTES ((size_t)1 << 20)

/* The scratch memory's parts, in this order. The S plane is where the group's stored bytes end; head and E have room
 * before it. */
struct scratch {
	uint8_t *s;         /* ntiles x 1024: S plane */
	uint8_t *sym;       /* ntiles x 1024: first exponents, then symbols, in position order */
	uint32_t *patches;  /* ntiles x 32 */
	uint32_t *counts;   /* nchunks x 256: exponents of each chunk, padding not counted */
	uint32_t *npadding; /* nchunks */
	uint16_t *rows;     /* nchunks x 256: work memory of the choice of tables */
	uint8_t *units;     /* nchunks x 32: d[] of each chunk's stream */
	uint16_t *order;    /* nrows, if the rows are stored in an order of their own */
};

/* Most that head and E can take. */
static size_t front_nbytes(const struct uw_shape *shape)
{
	uint64_t streams = shape->ntiles * (UW_TILE_WEIGHTS / 8 * UW_MAX_CODE_LEN) +
			   shape->nchunks * (UW_LANE_HEADER_NBYTES + UW_LANES + UW_STREAM_UNIT);

	return (size_t)(uw_head_nbytes(shape, UW_MAX_TABLES, shape->ntiles * UW_MAX_TILE_PATCHES, true) +
			uw_region_align(streams));
}

static struct scratch scratch_of(const struct uw_shape *shape, void *memory)
{
	struct scratch m;

	m.s = (uint8_t *)memory + front_nbytes(shape);
	m.sym = m.s + shape->ntiles * UW_TILE_WEIGHTS;
	m.patches = (uint32_t *)(void *)(m.sym + shape->ntiles * UW_TILE_WEIGHTS);
	m.counts = m.patches + shape->ntiles * UW_MAX_TILE_PATCHES;
	m.npadding = m.counts + shape->nchunks * 256;
	m.rows = (uint16_t *)(void *)(m.npadding + shape->nchunks);
	m.units = (uint8_t *)(m.rows + shape->nchunks * 256);
	m.order = (uint16_t *)(void *)(m.units + shape->nchunks * UW_LANES);
	return m;
}

size_t uw_codec_scratch_nbytes(const struct uw_shape *shape)
{
	return front_nbytes(shape) +
	       (size_t)(shape->ntiles * (2 * UW_TILE_WEIGHTS + UW_MAX_TILE_PATCHES * sizeof(uint32_t)) +
			shape->nchunks * (257 * sizeof(uint32_t) + 256 * sizeof(uint16_t) + UW_LANES) +
			shape->nrows * UW_ROW_NBYTES);
}

/* ---- weights -> S plane, exponents, statistics ---- */

/* Weights, and which row is stored at which place; NULL: as they come. */
struct source {
	const uint16_t *weights;
	const uint16_t *row_order;
};

/* Row r of the tile. */
static const uint16_t *weights_of(const struct uw_shape *shape, const struct uw_tile *tile, const struct source *src,
				  uint32_t r)
{
	uint64_t row = src->row_order != NULL ? src->row_order[tile->row + r] : tile->row + r;

	return src->weights + (size_t)(row * shape->ncols + tile->col);
}

/* Copies what the group has of the tile into a whole one, zeros where it ends. */
static void copy_tile(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct uw_tile *tile,
		      const struct source *src, uint16_t whole[UW_TILE_WEIGHTS])
{
	const uint16_t *rows[UW_TILE_ROWS];

	for (uint32_t r = 0; r < tile->nrows; r++)
		rows[r] = weights_of(shape, tile, src, r);
	if (tile->full && shape->order == UW_ORDER_TILED) {
		ops->get_rows(rows, whole);
		return;
	}
	memset(whole, 0, UW_TILE_WEIGHTS * sizeof(*whole));
	for (uint32_t r = 0; r < tile->nrows; r++)
		memcpy(whole + (size_t)r * UW_TILE_COLS, rows[r], tile->ncols * sizeof(*whole));
}

/* Rows lie far apart; what is on the right of a tile is split soon. */
static void prefetch_right(const struct uw_shape *shape, const struct uw_tile *tile, const struct source *src)
{
	if (shape->order != UW_ORDER_TILED)
		return;
	for (uint32_t r = 0; r < tile->nrows; r++) {
		uintptr_t right = (uintptr_t)weights_of(shape, tile, src, r) + UW_TILE_COLS * sizeof(uint16_t);

		uw_prefetch((const void *)right);
		uw_prefetch((const void *)(right + 64));
	}
}

/* Splits and counts one chunk: what has just been split is counted while the first cache holds it. */
static void split_chunk(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct source *src,
			uint64_t c, struct uw_tile_walk *walk, const struct scratch *m)
{
	uint32_t ntiles = uw_chunk_ntiles(shape, c), *counts = m->counts + 256 * c;
	uint8_t *s = m->s + c * UW_CHUNK_WEIGHTS, *e = m->sym + c * UW_CHUNK_WEIGHTS;

	m->npadding[c] = 0;
	for (uint32_t t = 0; t < ntiles; t++, s += UW_TILE_WEIGHTS, e += UW_TILE_WEIGHTS) {
		struct uw_tile tile = uw_tile_walk_next(walk);

		prefetch_right(shape, &tile, src);
		if (tile.full && src->row_order == NULL) {
			ops->split[shape->order](src->weights + uw_tile_first(shape, &tile), (size_t)shape->ncols, s, e);
		} else {
			_Alignas(64) uint16_t whole[UW_TILE_WEIGHTS];

			copy_tile(ops, shape, &tile, src, whole);
			ops->split[shape->order](whole, UW_TILE_COLS, s, e);
			m->npadding[c] += UW_TILE_WEIGHTS - tile.nrows * tile.ncols;
		}
	}
	memset(counts, 0, 256 * sizeof(*counts));
	ops->histogram(m->sym + c * UW_CHUNK_WEIGHTS, ntiles * UW_TILE_WEIGHTS, counts);
	counts[0] -= m->npadding[c]; /* padding was split as zero weights */
}

static void split_all(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct source *src,
		      const struct scratch *m, uint64_t total[256])
{
	uint32_t sum[256] = { 0 };
	struct uw_tile_walk walk;

	uw_tile_walk_start(&walk, shape);
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		split_chunk(ops, shape, src, c, &walk, m);
		for (unsigned e = 0; e < 256; e++)
			sum[e] += m->counts[256 * c + e];
	}
	for (unsigned e = 0; e < 256; e++)
		total[e] = sum[e];
}

/* ---- exponents -> symbols and patches ---- */

/* Padding must come out as symbol 0, whatever symbol exponent 0 has. Splitting a tile that is all ones where there
 * is padding tells where that is in position order. */
static void settle_padding(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct uw_tile *tile,
			   uint8_t *e, const struct uw_table *table)
{
	uint16_t whole[UW_TILE_WEIGHTS];
	uint8_t s[UW_TILE_WEIGHTS], padding[UW_TILE_WEIGHTS];
	uint8_t settled = (uint8_t)(2 * table->pairs[0]);

	memset(whole, 0xFF, sizeof(whole));
	for (uint32_t r = 0; r < tile->nrows; r++)
		memset(whole + (size_t)r * UW_TILE_COLS, 0, tile->ncols * sizeof(*whole));
	ops->split[shape->order](whole, UW_TILE_COLS, s, padding);
	for (uint32_t p = 0; p < UW_TILE_WEIGHTS; p++)
		e[p] = (uint8_t)((e[p] & ~padding[p]) | (settled & padding[p]));
}

static void settle_chunk(const struct uw_cpu_ops *ops, const struct uw_shape *shape, uint64_t c, uint8_t *e,
			 const struct uw_table *table)
{
	struct uw_tile_walk walk;

	uw_tile_walk_start(&walk, shape);
	uw_tile_walk_seek(&walk, c * UW_CHUNK_TILES);
	for (uint32_t t = 0; t < uw_chunk_ntiles(shape, c); t++, e += UW_TILE_WEIGHTS) {
		struct uw_tile tile = uw_tile_walk_next(&walk);

		if (!tile.full)
			settle_padding(ops, shape, &tile, e, table);
	}
}

/* A table with what the symbols and patches of a chunk need of it. */
struct coder {
	const struct uw_table *table;
	struct uw_huff_code code[UW_SYMBOLS];
	uint8_t map[256];
	uint8_t escape[256]; /* exponents of the group that are escapes */
	uint32_t nescape;
};

static void coder_init(struct coder *coder, const struct uw_table *table, const uint64_t total[256])
{
	uw_table_map(table, coder->map);
	coder->table = table;
	coder->nescape = 0;
	for (unsigned e = 0; e < 256; e++) {
		if (total[e] != 0 && coder->map[e] & 0x80)
			coder->escape[coder->nescape++] = (uint8_t)e;
	}
	uw_huff_codes(table->lens, coder->code);
}

static uint32_t count_escapes(const struct coder *coder, const uint32_t counts[256])
{
	uint32_t n = 0;

	for (uint32_t i = 0; i < coder->nescape; i++)
		n += counts[coder->escape[i]];
	return n;
}

/* The patches of up to 64 escapes, those of the weights from position p of their chunk on. Returns the end of them. */
static uint32_t *add_patches(const uint8_t *e, uint32_t p, uint64_t escapes, uint32_t placeholder, uint32_t *patch)
{
	for (; escapes != 0; escapes &= escapes - 1) {
		uint32_t i = (uint32_t)__builtin_ctzll(escapes);

		*patch++ = (p + i) << 16 | ((placeholder + (e[p + i] & 1u)) ^ e[p + i]) << 7;
	}
	return patch;
}

/* Turns one chunk's exponents into symbols in place. */
static void chunk_symbols(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct scratch *m,
			  uint64_t c, const struct coder *coder, uint32_t *patches)
{
	uint32_t n = uw_chunk_ntiles(shape, c) * UW_TILE_WEIGHTS;
	uint8_t *e = m->sym + c * UW_CHUNK_WEIGHTS, sym[UW_CHUNK_WEIGHTS];
	uint64_t escapes[UW_CHUNK_WEIGHTS / 64];

	if (m->npadding[c] != 0)
		settle_chunk(ops, shape, c, e, coder->table);
	for (uint32_t i = 0; i < UW_CHUNK_WEIGHTS && c != 0; i += 64) /* the chunk that is next */
		uw_prefetch(e + i - UW_CHUNK_WEIGHTS);
	ops->symbols(e, n, coder->map, sym, escapes);
	for (uint32_t p = 0; p < n; p += 64)
		patches = add_patches(e, p, escapes[p / 64], 2u * coder->table->pairs[0], patches);
	memcpy(e, sym, n);
}

/* ---- sizes of the streams ---- */

/* Lane sizes as base and differences in units of 2^shift bits, with the smallest shift whose differences fit 8 bits.
 * Returns the size of the stream in units of 4 bytes. */
static uint32_t lane_units(const uint32_t nbits[UW_LANES], struct uw_chunk_word *word, uint8_t units[UW_LANES])
{
	uint32_t low = nbits[0], high = nbits[0], sum = 0;

	for (unsigned k = 1; k < UW_LANES; k++) {
		low = nbits[k] < low ? nbits[k] : low;
		high = nbits[k] > high ? nbits[k] : high;
	}
	for (word->shift = 0;; word->shift++) {
		uint32_t round = (1u << word->shift) - 1;

		word->base = (low + round) >> word->shift;
		if (((high + round) >> word->shift) - word->base <= 255)
			break;
	}
	for (unsigned k = 0; k < UW_LANES; k++) {
		uint32_t n = (nbits[k] + (1u << word->shift) - 1) >> word->shift;

		units[k] = (uint8_t)(n - word->base);
		sum += n;
	}
	return (8 * UW_LANE_HEADER_NBYTES + (sum << word->shift) + 8 * UW_STREAM_UNIT - 1) / (8 * UW_STREAM_UNIT);
}

/* Tables for the group, and where each chunk's patches begin. Returns their number. */
static uint64_t choose(const struct uw_shape *shape, const struct scratch *m, uint32_t patch_nbits,
		       struct uw_plan *plan, struct coder coders[UW_MAX_TABLES])
{
	uint8_t chunk_table[UW_MAX_GROUP_WEIGHTS / UW_CHUNK_WEIGHTS];
	uint64_t nescapes = 0;

	plan->ntables = uw_tables_choose(m->counts, plan->counts, m->npadding, shape->nchunks, patch_nbits, m->rows,
					 plan->tables, chunk_table);
	for (uint32_t t = 0; t < plan->ntables; t++)
		coder_init(&coders[t], &plan->tables[t], plan->counts);
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		struct uw_chunk_word word = { .table = chunk_table[c], .patch_start = (uint32_t)nescapes };

		plan->chunk_words[c] = uw_chunk_word_pack(word);
		nescapes += count_escapes(&coders[word.table], m->counts + 256 * c);
	}
	return nescapes;
}

static enum uw_status make_plan(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct source *src,
				enum uw_coding coding, void *memory, struct uw_plan *plan)
{
	uint32_t patch_nbits = coding == UW_CODING_P4 ? UW_AVOID_PATCHES : UW_PATCH_NBITS;
	struct scratch m = scratch_of(shape, memory);
	uint64_t max_escapes = shape->ntiles * UW_MAX_TILE_PATCHES;
	struct coder coders[UW_MAX_TABLES];
	uint32_t start = 0;

	plan->row_order = src->row_order != NULL;
	split_all(ops, shape, src, &m, plan->counts);
	plan->nescapes = choose(shape, &m, patch_nbits, plan, coders);
	if (plan->nescapes > max_escapes && patch_nbits != UW_AVOID_PATCHES)
		plan->nescapes = choose(shape, &m, UW_AVOID_PATCHES, plan, coders);
	if (plan->nescapes > max_escapes)
		return UW_ERR_UNSUPPORTED;

	for (uint64_t c = shape->nchunks; c-- > 0;) {
		struct uw_chunk_word word = uw_chunk_word_unpack(plan->chunk_words[c]);
		const struct coder *coder = &coders[word.table];
		uint32_t nbits[UW_LANES];

		chunk_symbols(ops, shape, &m, c, coder, m.patches + word.patch_start);
		ops->huff_bits(m.sym + c * UW_CHUNK_WEIGHTS, uw_chunk_ntiles(shape, c), coder->code, nbits);
		word.stream_start = lane_units(nbits, &word, m.units + c * UW_LANES); /* for now: the stream's size */
		plan->chunk_words[c] = uw_chunk_word_pack(word);
	}
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		struct uw_chunk_word word = uw_chunk_word_unpack(plan->chunk_words[c]);
		uint32_t size = word.stream_start;

		word.stream_start = start;
		word.row_order = c == 0 && plan->row_order;
		plan->chunk_words[c] = uw_chunk_word_pack(word);
		start += size;
	}
	plan->stream_nbytes = (uint64_t)start * UW_STREAM_UNIT;
	return UW_OK;
}

enum uw_status uw_codec_plan(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const uint16_t *weights,
			     enum uw_coding coding, void *memory, struct uw_plan *plan)
{
	struct scratch m = scratch_of(shape, memory);
	struct source src = { .weights = weights };

	/* a chunk has 1 KB of counts, at least 8 bytes for each row of its tiles */
	if (coding == UW_CODING_H && uw_row_order_choose(shape, weights, m.counts, m.order))
		src.row_order = m.order;
	return make_plan(ops, shape, &src, coding, memory, plan);
}

enum uw_status uw_codec_plan_rows(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const uint16_t *weights,
				  enum uw_coding coding, const uint16_t *row_order, void *memory, struct uw_plan *plan)
{
	struct scratch m = scratch_of(shape, memory);
	struct source src = { weights, row_order };

	if (row_order != NULL) {
		if (shape->order != UW_ORDER_TILED || shape->nrows > UW_MAX_ORDERED_ROWS)
			return UW_ERR_ARG;
		memcpy(m.order, row_order, (size_t)shape->nrows * sizeof(*m.order));
		src.row_order = m.order;
	}
	return make_plan(ops, shape, &src, coding, memory, plan);
}

/* ---- putting it together ---- */

static uint64_t e_nbytes(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding)
{
	return coding == UW_CODING_P4 ? shape->ntiles * (UW_TILE_WEIGHTS / 2) : uw_region_align(plan->stream_nbytes);
}

static uint64_t head_nbytes(const struct uw_shape *shape, const struct uw_plan *plan)
{
	return uw_head_nbytes(shape, plan->ntables, plan->nescapes, plan->row_order);
}

uint64_t uw_codec_encoded_nbytes(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding)
{
	return head_nbytes(shape, plan) + e_nbytes(shape, plan, coding) +
	       shape->ntiles * UW_TILE_WEIGHTS;
}

static void store_table(const struct uw_table *table, enum uw_coding coding, uint8_t *dst)
{
	memcpy(dst, table->pairs, UW_PAIRS);
	for (unsigned k = 0; k < UW_SYMBOLS / 2; k++)
		dst[UW_PAIRS + k] = coding == UW_CODING_P4 ? 0 :
				    (uint8_t)(table->lens[2 * k] | table->lens[2 * k + 1] << 4);
}

static void store_head(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding,
		       const struct scratch *m, uint8_t *dst, uint8_t *end)
{
	for (uint32_t t = 0; t < plan->ntables; t++, dst += UW_TABLE_NBYTES)
		store_table(&plan->tables[t], coding, dst);
	for (uint64_t c = 0; c < shape->nchunks; c++, dst += UW_CHUNK_WORD_NBYTES) {
		struct uw_chunk_word word = uw_chunk_word_unpack(plan->chunk_words[c]);

		if (coding == UW_CODING_P4)
			word.stream_start = word.base = word.shift = 0;
		uw_store_le64(dst, uw_chunk_word_pack(word));
	}
	for (uint64_t i = 0; i < plan->nescapes; i++, dst += UW_PATCH_NBYTES)
		uw_store_le32(dst, m->patches[i]);
	for (uint64_t i = 0; plan->row_order && i < shape->nrows; i++, dst += UW_ROW_NBYTES)
		uw_store_le16(dst, m->order[i]);
	memset(dst, 0, (size_t)(end - dst));
}

/* One chunk's stream, `room` bytes. Bits are ORed in: first zeros. */
static void store_stream(const struct uw_cpu_ops *ops, const uint8_t *sym, uint32_t ntiles,
			 const struct uw_huff_code code[UW_SYMBOLS], struct uw_chunk_word word,
			 const uint8_t units[UW_LANES], uint8_t *dst, size_t room)
{
	uint32_t start[UW_LANES + 1];

	start[0] = 8 * UW_LANE_HEADER_NBYTES;
	for (unsigned k = 0; k < UW_LANES; k++)
		start[k + 1] = start[k] + ((word.base + units[k]) << word.shift);
	memcpy(dst, units, UW_LANE_HEADER_NBYTES);
	memset(dst + UW_LANE_HEADER_NBYTES, 0, room - UW_LANE_HEADER_NBYTES);
	ops->huff_encode(sym, ntiles, code, start, dst);
}

static void store_streams(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct uw_plan *plan,
			  const struct scratch *m, uint8_t *dst)
{
	struct uw_huff_code codes[UW_MAX_TABLES][UW_SYMBOLS];
	size_t end = (size_t)uw_region_align(plan->stream_nbytes);

	for (uint32_t t = 0; t < plan->ntables; t++)
		uw_huff_codes(plan->tables[t].lens, codes[t]);
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		struct uw_chunk_word word = uw_chunk_word_unpack(plan->chunk_words[c]);
		size_t from = (size_t)word.stream_start * UW_STREAM_UNIT, to = end;

		if (c + 1 < shape->nchunks)
			to = (size_t)uw_chunk_word_unpack(plan->chunk_words[c + 1]).stream_start * UW_STREAM_UNIT;
		store_stream(ops, m->sym + c * UW_CHUNK_WEIGHTS, uw_chunk_ntiles(shape, c), codes[word.table], word,
			     m->units + c * UW_LANES, dst + from, to - from);
	}
}

static void store_nibbles(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const uint8_t *sym, uint8_t *dst)
{
	for (uint64_t t = 0; t < shape->ntiles; t++)
		ops->p4_pack(sym + t * UW_TILE_WEIGHTS, dst + t * (UW_TILE_WEIGHTS / 2));
}

/* Copies the S plane: past the caches, as rows of 64 words, if a core's own cache would not hold it. */
static void store_s(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const uint8_t *s, uint8_t *dst)
{
	size_t n = (size_t)shape->ntiles * UW_TILE_WEIGHTS, row = UW_TILE_COLS * sizeof(uint16_t), at = 0;
	bool stream = n >= STREAM_NBYTES && (uintptr_t)dst % 64 == 0;

	for (; stream && n - at >= UW_TILE_ROWS * row; at += UW_TILE_ROWS * row) {
		uint16_t *rows[UW_TILE_ROWS];

		for (uint32_t r = 0; r < UW_TILE_ROWS; r++)
			rows[r] = (uint16_t *)(void *)(dst + at + r * row);
		ops->put_rows(rows, (const uint16_t *)(const void *)(s + at), UW_STORE_STREAM);
	}
	if (stream)
		ops->fence();
	memcpy(dst + at, s + at, n - at);
}

uint8_t *uw_codec_place(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding, void *memory)
{
	return scratch_of(shape, memory).s - e_nbytes(shape, plan, coding) - head_nbytes(shape, plan);
}

enum uw_status uw_codec_encode(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct uw_plan *plan,
			       enum uw_coding coding, const void *memory, uint8_t *dst, size_t dst_nbytes)
{
	struct scratch m = scratch_of(shape, (void *)(uintptr_t)memory);
	uint64_t head = head_nbytes(shape, plan);
	uint64_t e = e_nbytes(shape, plan, coding);
	uint64_t s = shape->ntiles * UW_TILE_WEIGHTS;

	if (dst_nbytes < head + e + s)
		return UW_ERR_SPACE;
	store_head(shape, plan, coding, &m, dst, dst + head);
	dst += head;
	if (coding == UW_CODING_P4)
		store_nibbles(ops, shape, m.sym, dst);
	else
		store_streams(ops, shape, plan, &m, dst);
	if (dst + e != m.s)
		store_s(ops, shape, m.s, dst + e);
	return UW_OK;
}
