/* SPDX-License-Identifier: Apache-2.0 */
#include "linear_common.h"

#include <sys/mman.h>
#include <unistd.h>

#include "position.h"

/* ---- guarded memory ---- */

#define NMAPS 64u

static struct {
	void *p;
	size_t nbytes;
} maps[NMAPS];
static unsigned nmaps;

void *guarded(size_t nbytes, size_t align, uint8_t fill)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), body = (nbytes + align + page - 1) / page * page;
	uint8_t *p = mmap(NULL, body + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	assert_true(p != MAP_FAILED && nmaps < NMAPS);
	assert_int_equal(mprotect(p + body, page, PROT_NONE), 0);
	maps[nmaps].p = p;
	maps[nmaps++].nbytes = body + page;
	p += (body - nbytes) / align * align;
	return memset(p, fill, nbytes);
}

void guarded_free(void)
{
	while (nmaps > 0) {
		nmaps--;
		munmap(maps[nmaps].p, maps[nmaps].nbytes);
	}
}

static void *guarded_copy(const void *from, size_t nbytes)
{
	return memcpy(guarded(nbytes, 1, 0), from, nbytes);
}

/* ---- forms ---- */

static uint32_t position_of(uint32_t lane, uint32_t step, uint32_t i)
{
	return 256 * step + 8 * lane + i;
}

/* Nonsense in the padding of a tile; `second` is nibbles or exponents. */
static void spoil_padding(const struct uw_tile *tile, uint8_t *s, uint8_t *second, bool nibbles)
{
	for (uint32_t p = 0; p < UW_TILE_WEIGHTS; p++) {
		uint32_t step = p / 256, lane = p / 8 % 32, i = p % 8;
		uint32_t odd = i / 2 % 2, half = i / 4, off = 512 * half + 16 * lane + 4 * step;

		if (uw_position_row(lane, i) < tile->nrows && uw_position_col(step, lane, i) < tile->ncols)
			continue;
		s[off + i % 2 * 2 + odd] ^= (uint8_t)(rng() & 0x7F); /* its mantissa; bit 7 is another one's sign */
		if (!nibbles)
			second[position_of(lane, step, i)] = 255;
	}
}

static void make_e8(struct linear_group *g, const uint16_t *weights, bool patched, bool noise)
{
	const struct uw_coded *coded = &g->coded;
	struct uw_linear_run *run = &g->runs[patched ? FORM_E8_PATCHES : FORM_E8];
	size_t nbytes = (size_t)coded->shape.ntiles * UW_TILE_WEIGHTS;
	uint8_t *s = guarded_copy(coded->s, nbytes), *e = guarded(nbytes, 1, 127);
	struct uw_tile_walk walk;

	uw_tile_walk_start(&walk, &coded->shape);
	for (uint64_t t = 0; t < coded->shape.ntiles; t++) {
		struct uw_tile tile = uw_tile_walk_next(&walk);
		const uint16_t *from = weights + uw_tile_first(&coded->shape, &tile);
		uint8_t *to = e + t * UW_TILE_WEIGHTS;

		for (uint32_t p = 0; p < UW_TILE_WEIGHTS; p++) {
			uint32_t row = uw_position_row(p / 8 % 32, p % 8);
			uint32_t col = uw_position_col(p / 256, p / 8 % 32, p % 8);

			if (row < tile.nrows && col < tile.ncols)
				to[p] = (uint8_t)(from[row * g->ncols + col] >> 7);
		}
		if (noise)
			spoil_padding(&tile, s + t * UW_TILE_WEIGHTS, to, false);
	}
	*run = uw_linear_run_of(coded);
	run->s = s;
	run->second = e;
	run->tables = NULL;
	if (!patched) {
		run->chunk_words = run->patches = NULL;
		run->nchunks = run->npatches = 0;
		return;
	}
	for (uint64_t c = 0; c < coded->shape.nchunks; c++) {
		struct uw_chunk_word word = uw_chunk_word_unpack(uw_load_le64(coded->chunk_words + 8 * c));
		uint32_t end = c + 1 < coded->shape.nchunks ?
			uw_chunk_word_unpack(uw_load_le64(coded->chunk_words + 8 * (c + 1))).patch_start :
			coded->npatches;

		for (uint32_t i = word.patch_start; i < end; i++) {
			uint32_t patch = uw_load_le32(coded->patches + 4 * (size_t)i);

			e[c * UW_CHUNK_WEIGHTS + (patch >> 16)] ^= (uint8_t)(patch >> 7);
		}
	}
}

static void make_p4(struct linear_group *g, const uint16_t *weights, bool noise)
{
	struct uw_shape shape = shape_of(UW_ORDER_TILED, g->nrows, g->ncols);
	void *scratch = need_scratch(&shape);
	struct uw_plan *plan = need(sizeof(*plan));
	struct uw_linear_run *run = &g->runs[FORM_P4];
	struct uw_tile_walk walk;
	struct stored stored;
	uint8_t *bytes, *s;

	assert_int_equal(uw_codec_plan(&ops, &shape, weights, UW_CODING_P4, scratch, plan), UW_OK);
	stored = encode(&shape, plan, UW_CODING_P4, scratch);
	bytes = guarded_copy(stored.bytes, stored.nbytes);
	assert_int_equal(uw_coded_open(&shape, UW_CODING_P4, stored.ntables, stored.npatches, bytes, stored.nbytes,
				       &g->coded, NULL), UW_OK);
	free(stored.bytes);
	free(scratch);
	free(plan);
	*run = uw_linear_run_of(&g->coded);
	run->tables = guarded_copy(g->coded.tables, g->coded.ntables * sizeof(*run->tables));
	run->chunk_words = guarded_copy(g->coded.chunk_words, (size_t)g->coded.shape.nchunks * 8);
	run->patches = guarded_copy(g->coded.patches, (size_t)g->coded.npatches * 4);
	run->second = guarded_copy(g->coded.e, (size_t)g->coded.e_nbytes);
	s = guarded_copy(g->coded.s, (size_t)shape.ntiles * UW_TILE_WEIGHTS);
	run->s = s;
	uw_tile_walk_start(&walk, &shape);
	for (uint64_t t = 0; t < shape.ntiles && noise; t++) {
		struct uw_tile tile = uw_tile_walk_next(&walk);

		spoil_padding(&tile, s + t * UW_TILE_WEIGHTS, NULL, true);
	}
}

void linear_group_make(const uint16_t *weights, uint64_t nrows, uint64_t ncols, bool noise, struct linear_group *g)
{
	struct uw_linear_run *raw = &g->runs[FORM_RAW];
	uint16_t *rows;

	*g = (struct linear_group){ .nrows = nrows, .ncols = ncols, .ld = (size_t)ncols + rng() % 3 * 7 };
	rows = guarded((((size_t)nrows - 1) * g->ld + (size_t)ncols) * sizeof(*rows), 2, 0xFF);
	for (uint64_t r = 0; r < nrows; r++)
		memcpy(rows + r * g->ld, weights + r * ncols, (size_t)ncols * sizeof(*rows));
	g->weights = rows;
	*raw = (struct uw_linear_run){
		.nrows = nrows,
		.ncols = ncols,
		.nblocks = (nrows + UW_ROW_BLOCK - 1) / UW_ROW_BLOCK,
		.weights = rows,
		.ld = g->ld,
	};
	make_p4(g, weights, noise);
	make_e8(g, weights, false, noise);
	make_e8(g, weights, true, noise);
}

enum uw_linear_source source_of(enum form form)
{
	static const enum uw_linear_source sources[NFORMS] = { UW_LINEAR_RAW, UW_LINEAR_P4, UW_LINEAR_E8,
							       UW_LINEAR_E8 };

	return sources[form];
}

struct uw_linear_run blocks_of(const struct linear_group *g, enum form form, uint64_t first, uint64_t n)
{
	struct uw_linear_run run = g->runs[form];
	uint64_t tiles = first * uw_linear_block_tiles(g->ncols);

	run.first_block = first;
	run.nblocks = n;
	if (form == FORM_RAW) {
		run.weights += first * UW_ROW_BLOCK * run.ld;
		return run;
	}
	run.s += tiles * UW_TILE_WEIGHTS;
	run.second += tiles * (form == FORM_P4 ? UW_TILE_WEIGHTS / 2 : UW_TILE_WEIGHTS);
	return run;
}
