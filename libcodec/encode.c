/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Planning and encoding of a group. The plan does all the work that depends on the weights and leaves
 * S plane, symbols and patches in the scratch memory; encoding puts them together in one of two codings.
 */
#include <string.h>

#include "chunk.h"
#include "huffman.h"
#include "position.h"
#include "tables.h"
#include "unweight/bytes.h"
#include "unweight/cpu_ops.h"

/* The scratch memory's parts, in this order. */
struct scratch {
	uint8_t *s;         /* ntiles x 1024: S plane */
	uint8_t *sym;       /* ntiles x 1024: first exponents, then symbols, in position order */
	uint32_t *patches;  /* ntiles x 32 */
	uint32_t *counts;   /* nchunks x 256: exponents of each chunk, padding not counted */
	uint32_t *npadding; /* nchunks */
};

static struct scratch scratch_of(const struct uw_shape *shape, void *memory)
{
	struct scratch m;

	m.s = memory;
	m.sym = m.s + shape->ntiles * UW_TILE_WEIGHTS;
	m.patches = (uint32_t *)(void *)(m.sym + shape->ntiles * UW_TILE_WEIGHTS);
	m.counts = m.patches + shape->ntiles * UW_MAX_TILE_PATCHES;
	m.npadding = m.counts + shape->nchunks * 256;
	return m;
}

size_t uw_codec_scratch_nbytes(const struct uw_shape *shape)
{
	return (size_t)(shape->ntiles * (2 * UW_TILE_WEIGHTS + UW_MAX_TILE_PATCHES * sizeof(uint32_t)) +
			shape->nchunks * 257 * sizeof(uint32_t));
}

/* ---- weights -> S plane and exponents ---- */

static void split_partial(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct uw_tile *tile,
			  const uint16_t *weights, uint8_t *s, uint8_t *e)
{
	uint16_t whole[UW_TILE_WEIGHTS] = { 0 };

	for (uint32_t r = 0; r < tile->nrows; r++)
		memcpy(whole + (size_t)r * UW_TILE_COLS, weights + tile->first + r * (size_t)shape->ncols,
		       tile->ncols * sizeof(*whole));
	ops->split[shape->order](whole, UW_TILE_COLS, s, e);
}

static void split_all(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const uint16_t *weights,
		      const struct scratch *m)
{
	struct uw_tile_walk walk;

	memset(m->npadding, 0, (size_t)shape->nchunks * sizeof(*m->npadding));
	uw_tile_walk_start(&walk, shape);
	for (uint64_t t = 0; t < shape->ntiles; t++) {
		struct uw_tile tile = uw_tile_walk_next(&walk);
		uint8_t *s = m->s + t * UW_TILE_WEIGHTS, *e = m->sym + t * UW_TILE_WEIGHTS;

		if (tile.full) {
			ops->split[shape->order](weights + tile.first, (size_t)shape->ncols, s, e);
		} else {
			split_partial(ops, shape, &tile, weights, s, e);
			m->npadding[t / UW_CHUNK_TILES] += UW_TILE_WEIGHTS - tile.nrows * tile.ncols;
		}
	}
}

/* ---- statistics ---- */

static void count_all(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct scratch *m,
		      struct uw_plan *plan)
{
	memset(m->counts, 0, (size_t)shape->nchunks * 256 * sizeof(*m->counts));
	memset(plan->counts, 0, sizeof(plan->counts));
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		uint32_t *counts = m->counts + 256 * c;

		ops->histogram(m->sym + c * UW_CHUNK_WEIGHTS, uw_chunk_ntiles(shape, c) * UW_TILE_WEIGHTS, counts);
		counts[0] -= m->npadding[c]; /* padding was split as zero weights */
		for (unsigned e = 0; e < 256; e++)
			plan->counts[e] += counts[e];
	}
}

/* ---- exponents -> symbols and patches ---- */

static bool is_padding(const struct uw_shape *shape, const struct uw_tile *tile, uint32_t p)
{
	uint32_t step = p / 256, lane = p / 8 % UW_LANES, i = p % 8;

	if (shape->order == UW_ORDER_LINEAR)
		return p >= tile->ncols;
	return uw_position_row(lane, i) >= tile->nrows || uw_position_col(step, lane, i) >= tile->ncols;
}

/* Padding must come out as symbol 0, whatever symbol exponent 0 has. */
static void settle_padding(const struct uw_shape *shape, const struct uw_tile *tile, uint8_t *e,
			   const struct uw_table *table)
{
	for (uint32_t p = 0; p < UW_TILE_WEIGHTS; p++) {
		if (is_padding(shape, tile, p))
			e[p] = (uint8_t)(2 * table->pairs[0]);
	}
}

static void add_patches(const uint8_t *e, uint32_t n, const uint8_t map[256], const struct uw_table *table,
			uint32_t *patch)
{
	for (uint32_t p = 0; p < n; p++) {
		if (map[e[p]] & 0x80) {
			uint32_t placeholder = 2u * table->pairs[0] + (e[p] & 1);

			*patch++ = p << 16 | (placeholder ^ e[p]) << 7;
		}
	}
}

/* Turns one chunk's exponents into symbols in place. Returns false if the group has too many escapes. */
static bool chunk_symbols(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct scratch *m,
			  struct uw_tile_walk *walk, uint64_t c, const struct uw_table *table, uint64_t *npatches)
{
	uint32_t ntiles = uw_chunk_ntiles(shape, c), n = ntiles * UW_TILE_WEIGHTS;
	uint8_t *e = m->sym + c * UW_CHUNK_WEIGHTS;
	uint8_t sym[UW_CHUNK_WEIGHTS], map[256];
	uint32_t nescapes;

	uw_table_map(table, map);
	for (uint32_t t = 0; t < ntiles; t++) {
		struct uw_tile tile = uw_tile_walk_next(walk);

		if (!tile.full)
			settle_padding(shape, &tile, e + t * UW_TILE_WEIGHTS, table);
	}
	nescapes = ops->symbols(e, n, map, sym);
	if (*npatches + nescapes > shape->ntiles * UW_MAX_TILE_PATCHES)
		return false;
	if (nescapes != 0)
		add_patches(e, n, map, table, m->patches + *npatches);
	*npatches += nescapes;
	memcpy(e, sym, n);
	return true;
}

/* ---- sizes of the streams ---- */

/* Lane sizes as base and differences in units of 2^shift bits, with the smallest shift whose differences fit 8 bits. */
static void lane_units(const uint32_t nbits[UW_LANES], uint32_t *base, uint32_t *shift, uint32_t *total_bits)
{
	uint32_t low = nbits[0], high = nbits[0];

	for (unsigned k = 1; k < UW_LANES; k++) {
		low = nbits[k] < low ? nbits[k] : low;
		high = nbits[k] > high ? nbits[k] : high;
	}
	for (*shift = 0;; ++*shift) {
		uint32_t round = (1u << *shift) - 1;

		*base = (low + round) >> *shift;
		if (((high + round) >> *shift) - *base <= 255)
			break;
	}
	*total_bits = 0;
	for (unsigned k = 0; k < UW_LANES; k++)
		*total_bits += ((nbits[k] + (1u << *shift) - 1) >> *shift) << *shift;
}

static uint32_t stream_units(uint32_t total_bits)
{
	return (8 * UW_LANE_HEADER_NBYTES + total_bits + 8 * UW_STREAM_UNIT - 1) / (8 * UW_STREAM_UNIT);
}

enum uw_status uw_codec_plan(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const uint16_t *weights,
			     void *memory, struct uw_plan *plan)
{
	struct scratch m = scratch_of(shape, memory);
	uint8_t chunk_table[UW_MAX_GROUP_WEIGHTS / UW_CHUNK_WEIGHTS];
	struct uw_huff_code codes[UW_MAX_TABLES][UW_SYMBOLS];
	struct uw_tile_walk walk;
	struct uw_chunk_word word = { 0 };

	split_all(ops, shape, weights, &m);
	count_all(ops, shape, &m, plan);
	plan->ntables = uw_tables_choose(m.counts, m.npadding, shape->nchunks, plan->tables, chunk_table);
	for (uint32_t t = 0; t < plan->ntables; t++)
		uw_huff_codes(plan->tables[t].lens, codes[t]);

	plan->nescapes = 0;
	uw_tile_walk_start(&walk, shape);
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		const struct uw_table *table = &plan->tables[chunk_table[c]];
		uint32_t nbits[UW_LANES], total_bits;

		word.table = chunk_table[c];
		word.patch_start = (uint32_t)plan->nescapes;
		if (!chunk_symbols(ops, shape, &m, &walk, c, table, &plan->nescapes))
			return UW_ERR_UNSUPPORTED;
		ops->huff_bits(m.sym + c * UW_CHUNK_WEIGHTS, uw_chunk_ntiles(shape, c), codes[word.table], nbits);
		lane_units(nbits, &word.base, &word.shift, &total_bits);
		plan->chunk_words[c] = uw_chunk_word_pack(word);
		word.stream_start += stream_units(total_bits);
	}
	plan->stream_nbytes = (uint64_t)word.stream_start * UW_STREAM_UNIT;
	return UW_OK;
}

/* ---- putting it together ---- */

static uint64_t e_nbytes(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding)
{
	return coding == UW_CODING_P4 ? shape->ntiles * (UW_TILE_WEIGHTS / 2) : uw_region_align(plan->stream_nbytes);
}

uint64_t uw_codec_encoded_nbytes(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding)
{
	return uw_head_nbytes(shape, plan->ntables, plan->nescapes) + e_nbytes(shape, plan, coding) +
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
		       const uint32_t *patches, uint8_t *dst)
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
		uw_store_le32(dst, patches[i]);
}

static void store_stream(const struct uw_cpu_ops *ops, const uint8_t *sym, uint32_t ntiles,
			 const struct uw_huff_code code[UW_SYMBOLS], struct uw_chunk_word word, uint8_t *dst)
{
	uint32_t nbits[UW_LANES], start[UW_LANES + 1];

	ops->huff_bits(sym, ntiles, code, nbits);
	start[0] = 8 * UW_LANE_HEADER_NBYTES;
	for (unsigned k = 0; k < UW_LANES; k++) {
		uint32_t units = (nbits[k] + (1u << word.shift) - 1) >> word.shift;

		dst[k] = (uint8_t)(units - word.base);
		start[k + 1] = start[k] + (units << word.shift);
	}
	ops->huff_encode(sym, ntiles, code, start, dst);
}

static void store_exponents(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct uw_plan *plan,
			    enum uw_coding coding, const uint8_t *sym, uint8_t *dst)
{
	struct uw_huff_code codes[UW_MAX_TABLES][UW_SYMBOLS];

	if (coding == UW_CODING_P4) {
		for (uint64_t t = 0; t < shape->ntiles; t++)
			ops->p4_pack(sym + t * UW_TILE_WEIGHTS, dst + t * (UW_TILE_WEIGHTS / 2));
		return;
	}
	for (uint32_t t = 0; t < plan->ntables; t++)
		uw_huff_codes(plan->tables[t].lens, codes[t]);
	for (uint64_t c = 0; c < shape->nchunks; c++) {
		struct uw_chunk_word word = uw_chunk_word_unpack(plan->chunk_words[c]);

		store_stream(ops, sym + c * UW_CHUNK_WEIGHTS, uw_chunk_ntiles(shape, c), codes[word.table], word,
			     dst + (size_t)word.stream_start * UW_STREAM_UNIT);
	}
}

enum uw_status uw_codec_encode(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const struct uw_plan *plan,
			       enum uw_coding coding, const void *memory, uint8_t *dst, size_t dst_nbytes)
{
	struct scratch m = scratch_of(shape, (void *)(uintptr_t)memory);
	uint64_t head = uw_head_nbytes(shape, plan->ntables, plan->nescapes);
	uint64_t e = e_nbytes(shape, plan, coding);
	uint64_t s = shape->ntiles * UW_TILE_WEIGHTS;

	if (dst_nbytes < head + e + s)
		return UW_ERR_SPACE;
	memset(dst, 0, (size_t)(head + e)); /* padding is zero, and bits are ORed in */
	store_head(shape, plan, coding, m.patches, dst);
	store_exponents(ops, shape, plan, coding, m.sym, dst + head);
	memcpy(dst + head + e, m.s, (size_t)s);
	return UW_OK;
}
