/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x with AMX: weights are decoded into tiles in the first-level cache, 16 rows x 16 pairs each, and multiplied
 * by packed x, 16 pairs x 16 columns of the batch. Two tiles of weights make one of the codec's: the first vectors of
 * its rows, then the second ones (linear_avx512.h). Every sum is one accumulator from the first column to the last, so
 * that neither the source nor the batch nor the blocking changes it.
 *
 * A batch of up to 16 keeps the sums of a row block in four tile registers, one of up to 32 those of half of it; both
 * decode a tile of the next column, then multiply one of this, and so on: more of either in a row is more than the
 * processor reorders, and memory would wait. Larger batches take panels of two tile rows x PANEL_COLS tile columns:
 * decoded once, then multiplied by the whole batch, with sums in memory.
 */
#ifndef UW_LINEAR_AMX_H
#define UW_LINEAR_AMX_H

#include "linear_avx512.h"

#define UW_AMX_PAIR 2048u  /* bytes of a decoded tile, first and second vectors; also of 64 columns of x, 16 rows */
#define UW_AMX_TILE 1024u
#define UW_AMX_NATURAL 3u  /* a source beside those of enum uw_linear_source: RAW in its own order, to compare with */

#define PANEL_COLS 4u      /* 2 tile rows x 4 columns, twice: weights and x are 32 of the 48 KB of the first level */
#define PANEL_BLOCKS 4u    /* row blocks that share x in the second level, if the batch is large */
#define PANEL_SHARED 16u   /* ... which is from this many 16 rows of it on */
#define PANEL_BATCH 512u   /* of the batch at a time */

/* Halves of tiles between what is decoded and what is prefetched into the first and, unless it is 0, the second level;
 * for RAW, of tile columns. What stays in a half of a row block goes ahead by whole tile columns of it. */
struct amx_ahead {
	size_t near, far;
};

#define AHEAD ((struct amx_ahead){ 5, 0 })
#define AHEAD_RAW ((struct amx_ahead){ 6, 0 })
#define AHEAD_X ((struct amx_ahead){ 4, 0 }) /* x, if the batch is up to 16 */
#define AHEAD_HALF ((struct amx_ahead){ 8, 0 })
#define AHEAD_FAR ((struct amx_ahead){ 8, 16 })

/* Tile registers: sums 0 .. 3, weights 4, 5, x 6, 7. Those of sums and x are as wide as x. */

/* The intrinsics of gcc do not say that they read and write memory. */
#define BARRIER() __asm__ volatile("" ::: "memory")

struct amx_config {
	uint8_t palette, start_row, reserved[14];
	uint16_t colsb[16];
	uint8_t rows[16];
};

UW_INLINE void amx_begin(uint32_t width)
{
	struct amx_config config = { .palette = 1 };

	for (unsigned i = 0; i < 8; i++) {
		config.colsb[i] = (uint16_t)(i == 4 || i == 5 ? 64 : width * sizeof(float));
		config.rows[i] = 16;
	}
	BARRIER();
	_tile_loadconfig(&config);
	BARRIER();
}

UW_INLINE void amx_end(void)
{
	BARRIER();
	_tile_release();
}

/* One call of gemm. */
struct amx_job {
	const struct uw_linear_dims *dims;
	const struct uw_linear_run *run;
	struct uw_linear_cols cols;
	const uint8_t *x; /* amx_x_off */
	float *y;
	size_t ld;
	uint8_t *scratch;
};

UW_INLINE uint64_t amx_nsteps(const struct uw_linear_dims *dims) /* of 16 rows of the batch */
{
	return (dims->batch + UW_PACK_ROWS - 1) / UW_PACK_ROWS;
}

/* x is packed in whole pairs of 16 rows where there are more than 16, and as few of them as will do where there are
 * fewer: it competes with the weights for the caches. */
UW_INLINE uint64_t amx_packed_steps(const struct uw_linear_dims *dims)
{
	uint64_t nsteps = amx_nsteps(dims);

	return nsteps == 1 ? 1 : (nsteps + 1) / 2 * 2;
}

UW_INLINE uint32_t amx_width(const struct uw_linear_dims *dims)
{
	uint32_t width = 1;

	while (width < UW_PACK_ROWS && width < dims->batch)
		width *= 2;
	return width;
}

UW_INLINE uint64_t amx_npanels(const struct uw_linear_dims *dims)
{
	return (uw_linear_cols(dims).n + PANEL_COLS - 1) / PANEL_COLS;
}

/* Bytes of 64 columns of x. */
UW_INLINE size_t amx_x_nbytes(uint32_t width)
{
	return UW_AMX_PAIR / UW_PACK_ROWS * width;
}

/* Where x of 16 rows and of tile column k of the range is packed: what is multiplied by one panel of weights stands
 * together, since pieces some power of two apart would meet in the same few lines of a cache. */
UW_INLINE size_t amx_x_off(uint64_t nsteps, uint64_t step, uint64_t k)
{
	return (size_t)((k / PANEL_COLS * nsteps + step) * PANEL_COLS + k % PANEL_COLS) * UW_AMX_PAIR;
}

/* ---- weights to tiles ---- */

/* A place in the weights: tile column k of the range, tile row w of row block b. */
struct amx_place {
	uint64_t b, k;
	uint32_t w, high; /* tile rows of the block */
};

UW_INLINE uint32_t amx_block_high(const struct amx_job *job, uint64_t b)
{
	return (uw_linear_block_rows(job->run, b) + UW_TILE_ROWS - 1) / UW_TILE_ROWS;
}

/* What is ahead of p, which may be anywhere, in what has `nbytes` a tile. */
UW_INLINE void prefetch_line(const void *p, struct amx_ahead ahead, size_t nbytes)
{
	_mm_prefetch((const char *)((uintptr_t)p + ahead.near * nbytes / 2), _MM_HINT_T0);
	if (ahead.far > 0)
		_mm_prefetch((const char *)((uintptr_t)p + ahead.far * nbytes / 2), _MM_HINT_T1);
}

UW_INLINE void put_unit(uint8_t *to, unsigned g, const __m512i a[4])
{
	_mm512_store_si512(to + 64 * g, a[0]);
	_mm512_store_si512(to + 64 * (g + 8), a[1]);
	_mm512_store_si512(to + UW_AMX_TILE + 64 * g, a[2]);
	_mm512_store_si512(to + UW_AMX_TILE + 64 * (g + 8), a[3]);
}

UW_INLINE void decode_p4(const uint8_t *s, const uint8_t *nib, const uint8_t *palette, struct amx_ahead ahead,
			 uint8_t *to)
{
	__m512i pairs = uw_p4_load_pairs(palette);

	for (unsigned g = 0; g < 8; g++) {
		__m512i a[4];

		prefetch_line(s + 64 * g, ahead, UW_TILE_WEIGHTS);
		prefetch_line(s + 64 * g + 512, ahead, UW_TILE_WEIGHTS);
		prefetch_line(nib + 64 * g, ahead, UW_TILE_WEIGHTS / 2);
		uw_unit_p4(s + 64 * g, nib + 64 * g, pairs, a);
		put_unit(to, g, a);
	}
}

UW_INLINE void decode_e8(const uint8_t *s, const uint8_t *e, struct amx_ahead ahead, uint8_t *to)
{
	for (unsigned g = 0; g < 8; g++) {
		__m512i a[4];

		prefetch_line(s + 64 * g, ahead, UW_TILE_WEIGHTS);
		prefetch_line(s + 64 * g + 512, ahead, UW_TILE_WEIGHTS);
		prefetch_line(e + 64 * g, ahead, UW_TILE_WEIGHTS);
		prefetch_line(e + 64 * g + 512, ahead, UW_TILE_WEIGHTS);
		uw_unit_e8(s + 64 * g, e + 32 * g, a);
		put_unit(to, g, a);
	}
}

/* Patches, and zeros outside of the column range: rare. */
static __attribute__((noinline)) void amx_patch(struct uw_linear_chunk *at, uint32_t in_chunk, uint8_t *to)
{
	uint16_t *weights = (uint16_t *)(void *)to;
	struct uw_linear_patch patch;

	while (uw_linear_patch_next(at, in_chunk, &patch))
		weights[512 * (patch.i / 4) + 32 * patch.row + 8 * (patch.lane % 4) + 2 * patch.step + patch.i % 2] ^=
			patch.flip;
}

static __attribute__((noinline)) void amx_clip(uint64_t cols, uint8_t *to)
{
	for (unsigned i = 0; i < 32; i++, to += 64) {
		__m512i v = _mm512_load_si512(to);

		_mm512_store_si512(to, _mm512_maskz_mov_epi16(uw_pair_mask(cols, i / 16), v));
	}
}

/* One tile of P4 or E8 into UW_AMX_PAIR bytes. */
UW_INLINE void decode_coded(const struct amx_job *job, unsigned source, const struct amx_place *at,
				struct uw_linear_chunk *chunk, struct amx_ahead ahead, uint8_t *to)
{
	const struct uw_linear_run *run = job->run;
	uint64_t t = at->b * uw_linear_block_tiles(run->ncols) + (job->cols.first + at->k) * at->high + at->w;
	bool patched = uw_linear_chunk_seek(chunk, t);
	const uint8_t *s = run->s + t * UW_TILE_WEIGHTS;
	uint32_t begin, end;

	if (source == UW_LINEAR_P4)
		decode_p4(s, run->second + t * (UW_TILE_WEIGHTS / 2), chunk->pairs, ahead, to);
	else
		decode_e8(s, run->second + t * UW_TILE_WEIGHTS, ahead, to);
	if (patched)
		amx_patch(chunk, (uint32_t)((chunk->first_tile + t) % UW_CHUNK_TILES), to);
	if (uw_linear_edge(&job->cols, at->k, &begin, &end))
		amx_clip(uw_col_mask(begin, end), to);
}

/* 16 rows x 64 columns of RAW. Rows that do not exist stay what they are: sums of theirs are not used. */
UW_INLINE void decode_raw(const struct amx_job *job, unsigned source, const struct amx_place *at,
			  struct amx_ahead ahead, uint8_t *to)
{
	const struct uw_linear_run *run = job->run;
	const uint16_t *row = run->weights + (at->b * UW_ROW_BLOCK + at->w * UW_TILE_ROWS) * run->ld +
			      (job->cols.first + at->k) * UW_TILE_COLS;
	uint32_t nrows = uw_linear_block_rows(run, at->b) - at->w * UW_TILE_ROWS, begin, end;
	bool edge = uw_linear_edge(&job->cols, at->k, &begin, &end);
	uint64_t cols = uw_col_mask(begin, end);

	nrows = nrows < UW_TILE_ROWS ? nrows : UW_TILE_ROWS;
	for (uint32_t r = 0; r < nrows; r++, row += run->ld, to += 64) {
		__m512i left, right, a[2];

		prefetch_line(row, ahead, 128);
		prefetch_line(row + 32, ahead, 128);
		if (edge) {
			left = _mm512_maskz_loadu_epi16((__mmask32)cols, row);
			right = _mm512_maskz_loadu_epi16((__mmask32)(cols >> 32), row + 32);
		} else {
			left = _mm512_loadu_si512(row);
			right = _mm512_loadu_si512(row + 32);
		}
		if (source == UW_AMX_NATURAL) {
			a[0] = left;
			a[1] = right;
		} else {
			uw_row_to_pairs(left, right, a);
		}
		_mm512_store_si512(to, a[0]);
		_mm512_store_si512(to + UW_AMX_TILE, a[1]);
	}
}

UW_INLINE bool is_raw(unsigned source)
{
	return source == UW_LINEAR_RAW || source == UW_AMX_NATURAL;
}

UW_INLINE void decode_tile(const struct amx_job *job, unsigned source, const struct amx_place *at,
			       struct uw_linear_chunk *chunk, struct amx_ahead ahead, uint8_t *to)
{
	if (is_raw(source))
		decode_raw(job, source, at, ahead, to);
	else
		decode_coded(job, source, at, chunk, ahead, to);
}

/* ---- sums to y ---- */

/* 4 x 4 blocks of 4 x 4: rows become columns. */
UW_INLINE void transpose(__m512 v[16])
{
	__m512 t[16];

	for (unsigned i = 0; i < 16; i += 4) {
		__m512d a = _mm512_castps_pd(_mm512_unpacklo_ps(v[i], v[i + 1]));
		__m512d b = _mm512_castps_pd(_mm512_unpackhi_ps(v[i], v[i + 1]));
		__m512d c = _mm512_castps_pd(_mm512_unpacklo_ps(v[i + 2], v[i + 3]));
		__m512d d = _mm512_castps_pd(_mm512_unpackhi_ps(v[i + 2], v[i + 3]));

		t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
		t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
		t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
		t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
	}
	for (unsigned i = 0; i < 4; i++) {
		__m512 a = _mm512_shuffle_f32x4(t[i], t[i + 4], 0x88), b = _mm512_shuffle_f32x4(t[i], t[i + 4], 0xDD);
		__m512 c = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0x88);
		__m512 d = _mm512_shuffle_f32x4(t[i + 8], t[i + 12], 0xDD);

		v[i] = _mm512_shuffle_f32x4(a, c, 0x88);
		v[i + 4] = _mm512_shuffle_f32x4(b, d, 0x88);
		v[i + 8] = _mm512_shuffle_f32x4(a, c, 0xDD);
		v[i + 12] = _mm512_shuffle_f32x4(b, d, 0xDD);
	}
}

/* Sums of tile row w of block b and 16 rows of the batch, from `step` on: 16 rows of 16 columns. */
UW_INLINE void put_sums(const struct amx_job *job, uint64_t b, uint32_t w, uint64_t step, const float *sums)
{
	uint64_t first = step * UW_PACK_ROWS, left = job->dims->batch - first;
	uint32_t nrows = uw_linear_block_rows(job->run, b) - w * UW_TILE_ROWS;
	float *y = job->y + first * job->ld + b * UW_ROW_BLOCK + w * UW_TILE_ROWS;
	__mmask16 rows = nrows < UW_TILE_ROWS ? (__mmask16)((1u << nrows) - 1) : 0xFFFF;
	__m512 v[16];

	if (first >= job->dims->batch)
		return;
	for (unsigned i = 0; i < 16; i++)
		v[i] = _mm512_loadu_ps(sums + 16 * i);
	transpose(v);
	for (unsigned i = 0; i < 16 && i < left; i++, y += job->ld) {
		__mmask16 nan = _mm512_cmp_ps_mask(v[i], v[i], _CMP_UNORD_Q);

		_mm512_mask_storeu_ps(y, rows, _mm512_mask_mov_ps(v[i], nan, _mm512_castsi512_ps(
										     _mm512_set1_epi32(0x7FC00000))));
	}
}

/* ---- products: weights in one place, [tile row][PANEL_COLS or fewer tile columns], x in another ---- */

/* 64 columns of x. */
UW_INLINE void load_x(const uint8_t *x, uint32_t width)
{
	_tile_loadd(6, x, width * sizeof(float));
	_tile_loadd(7, x + amx_x_nbytes(width) / 2, width * sizeof(float));
}

/* A tile of weights with this x, to sums i. */
UW_INLINE void multiply_tile(const uint8_t *weights, uint32_t i)
{
	_tile_loadd(4, weights, 64);
	_tile_loadd(5, weights + UW_AMX_TILE, 64);
	if (i == 0) {
		_tile_dpbf16ps(0, 4, 6);
		_tile_dpbf16ps(0, 5, 7);
	} else if (i == 1) {
		_tile_dpbf16ps(1, 4, 6);
		_tile_dpbf16ps(1, 5, 7);
	} else if (i == 2) {
		_tile_dpbf16ps(2, 4, 6);
		_tile_dpbf16ps(2, 5, 7);
	} else {
		_tile_dpbf16ps(3, 4, 6);
		_tile_dpbf16ps(3, 5, 7);
	}
}

/* The first (h = 0) or second vectors of two tiles of weights, `apart` bytes from each other, with two of x. */
UW_INLINE void multiply_square(const uint8_t *weights, size_t apart, const uint8_t *x, unsigned h)
{
	weights += h * UW_AMX_TILE;
	x += h * UW_AMX_TILE;
	_tile_loadd(4, weights, 64);
	_tile_loadd(6, x, 64);
	_tile_dpbf16ps(0, 4, 6);
	_tile_loadd(7, x + PANEL_COLS * UW_AMX_PAIR, 64);
	_tile_dpbf16ps(1, 4, 7);
	_tile_loadd(5, weights + apart, 64);
	_tile_dpbf16ps(2, 5, 6);
	_tile_dpbf16ps(3, 5, 7);
}

UW_INLINE void zero_sums(void)
{
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
}

/* `apart` floats between the first two and the last two. */
UW_INLINE void load_sums(const float *from, size_t apart)
{
	_tile_loadd(0, from, 64);
	_tile_loadd(1, from + 256, 64);
	_tile_loadd(2, from + apart, 64);
	_tile_loadd(3, from + apart + 256, 64);
}

UW_INLINE void save_sums(float *to, size_t apart)
{
	_tile_stored(0, to, 64);
	_tile_stored(1, to + 256, 64);
	_tile_stored(2, to + apart, 64);
	_tile_stored(3, to + apart + 256, 64);
	BARRIER();
}

/* ---- a batch of up to 16 ---- */

UW_INLINE void decode_column(const struct amx_job *job, unsigned source, struct amx_place at, uint32_t nw,
			     struct amx_ahead ahead, struct uw_linear_chunk *chunk, uint8_t *to)
{
	for (uint32_t end = at.w + nw; at.w < end; at.w++, to += UW_AMX_PAIR)
		decode_tile(job, source, &at, chunk, ahead, to);
}

/* Tile rows at.w .. + nw with one product each, over all columns. Scratch: two columns of tiles, then the sums. */
UW_INLINE void multiply_rows(const struct amx_job *job, unsigned source, struct amx_place at, uint32_t nw,
			     struct uw_linear_chunk *chunk)
{
	const struct amx_ahead ahead = is_raw(source) ? AHEAD_RAW : AHEAD;
	const uint32_t first = at.w, width = amx_width(job->dims);
	const size_t x_nbytes = amx_x_nbytes(width);
	const uint8_t *x = job->x;
	uint8_t *ring = job->scratch;
	float *sums = (float *)(void *)(ring + 8 * UW_AMX_PAIR);

	zero_sums();
	decode_column(job, source, at, nw, ahead, chunk, ring);
	for (uint64_t k = 0; k < job->cols.n; k++, x += x_nbytes) {
		uint8_t *next = ring + (k + 1) % 2 * 4 * UW_AMX_PAIR, *now = ring + k % 2 * 4 * UW_AMX_PAIR;

		BARRIER();
		load_x(x, width);
		at.k = k + 1;
		for (uint32_t i = 0; i < nw; i++) {
			for (size_t line = i * 64; line < x_nbytes; line += nw * 64)
				prefetch_line(x + line, AHEAD_X, x_nbytes);
			at.w = first + i;
			if (at.k < job->cols.n)
				decode_tile(job, source, &at, chunk, ahead, next + i * UW_AMX_PAIR);
			BARRIER();
			multiply_tile(now + i * UW_AMX_PAIR, i);
			BARRIER();
		}
	}
	save_sums(sums, 512);
	for (uint32_t i = 0; i < nw; i++)
		put_sums(job, at.b, first + i, 0, sums + 256 * i);
}

/* Coded tiles are read in the order in which they are stored. RAW rows are read sixteen at a time, which is faster than
 * more of them. */
UW_INLINE void gemm_16(const struct amx_job *job, unsigned source)
{
	struct uw_linear_chunk chunk;

	uw_linear_chunk_start(&chunk, job->run);
	for (uint64_t b = 0; b < job->run->nblocks; b++) {
		struct amx_place at = { .b = b, .high = amx_block_high(job, b) };

		if (!is_raw(source)) {
			multiply_rows(job, source, at, at.high, &chunk);
			continue;
		}
		for (; at.w < at.high; at.w++)
			multiply_rows(job, source, at, 1, &chunk);
	}
}

/* ---- a batch of up to 32 ---- */

/*
 * Tile rows at.w and at.w + 1; scratch as above. One tile of the next column is decoded, then half of this one is
 * multiplied, and so on: with both of them first, the products would wait outside of what the processor can reorder.
 */
UW_INLINE void multiply_half(const struct amx_job *job, unsigned source, struct amx_place at)
{
	const struct amx_ahead ahead = is_raw(source) ? AHEAD_RAW : AHEAD_FAR;
	uint32_t first = at.w, nw = at.high - first < 2 ? at.high - first : 2;
	uint8_t *ring = job->scratch;
	float *sums = (float *)(void *)(ring + 8 * UW_AMX_PAIR);
	struct uw_linear_chunk chunk;

	uw_linear_chunk_start(&chunk, job->run);
	zero_sums();
	decode_column(job, source, at, nw, ahead, &chunk, ring);
	for (uint64_t k = 0; k < job->cols.n; k++) {
		uint8_t *next = ring + (k + 1) % 2 * 2 * UW_AMX_PAIR;

		at.k = k + 1;
		for (unsigned h = 0; h < 2; h++) {
			at.w = first + h;
			if (at.k < job->cols.n && h < nw)
				decode_tile(job, source, &at, &chunk, ahead, next + h * UW_AMX_PAIR);
			BARRIER();
			multiply_square(ring + k % 2 * 2 * UW_AMX_PAIR, UW_AMX_PAIR, job->x + amx_x_off(2, 0, k), h);
			BARRIER();
		}
	}
	save_sums(sums, 512);
	for (uint32_t i = 0; i < 2 * nw; i++)
		put_sums(job, at.b, first + i / 2, i % 2, sums + 256 * i);
}

UW_INLINE void gemm_32(const struct amx_job *job, unsigned source)
{
	for (uint64_t b = 0; b < job->run->nblocks; b++) {
		struct amx_place at = { .b = b, .high = amx_block_high(job, b) };

		for (; at.w < at.high; at.w += 2)
			multiply_half(job, source, at);
	}
}

/* ---- larger batches ---- */

/* Part of a large batch: 16 rows each, `nsteps` is even (beyond the batch x is zero). */
struct amx_part {
	uint64_t first, nsteps;
	uint64_t k;     /* panel: first tile column */
	uint32_t ncols; /* and how many */
	float *sums;    /* of all row blocks that share x: [tile row][step] tiles */
};

/* Half a panel, tile rows at.w and at.w + 1, to [2][PANEL_COLS] tiles. */
UW_INLINE void decode_half(const struct amx_job *job, unsigned source, const struct amx_part *part, struct amx_place at,
			   uint8_t *to)
{
	uint32_t first = at.w, nw = at.high - first < 2 ? at.high - first : 2;
	struct uw_linear_chunk chunk;

	uw_linear_chunk_start(&chunk, job->run);
	for (uint32_t i = 0; i < nw * part->ncols; i++) {
		uint32_t k = is_raw(source) ? i % part->ncols : i / nw, w = is_raw(source) ? i / part->ncols : i % nw;

		at.k = part->k + k;
		at.w = first + w;
		decode_tile(job, source, &at, &chunk, is_raw(source) ? AHEAD_RAW : AHEAD_HALF,
			    to + (w * PANEL_COLS + k) * UW_AMX_PAIR);
	}
	BARRIER();
}

/* The decoded half with 32 rows of the batch. */
UW_INLINE void multiply_panel(const struct amx_job *job, const struct amx_part *part, const struct amx_place *at,
			      uint64_t step, const uint8_t *half, float *sums)
{
	const uint8_t *x = job->x + amx_x_off(amx_packed_steps(job->dims), part->first + step, part->k);
	size_t apart = (size_t)part->nsteps * 256;

	if (part->k == 0)
		zero_sums();
	else
		load_sums(sums, apart);
	for (uint32_t k = 0; k < part->ncols; k++) {
		for (unsigned h = 0; h < 2; h++)
			multiply_square(half + k * UW_AMX_PAIR, PANEL_COLS * UW_AMX_PAIR, x + k * UW_AMX_PAIR, h);
	}
	save_sums(sums, apart);
	if (part->k + part->ncols < job->cols.n)
		return;
	for (uint32_t i = 0; i < 4; i++) {
		if (at->w + i / 2 < at->high)
			put_sums(job, at->b, at->w + i / 2, part->first + step + i % 2,
				 sums + i / 2 * apart + i % 2 * 256);
	}
}

/* Scratch: half a panel, then the sums. */
UW_INLINE void multiply_block(const struct amx_job *job, unsigned source, const struct amx_part *part, uint64_t b,
			      float *sums)
{
	struct amx_place at = { .b = b, .high = amx_block_high(job, b) };

	for (; at.w < at.high; at.w += 2) {
		decode_half(job, source, part, at, job->scratch);
		for (uint64_t step = 0; step < part->nsteps; step += 2)
			multiply_panel(job, part, &at, step, job->scratch,
				       sums + (at.w * part->nsteps + step) * 256);
	}
}

UW_INLINE void gemm_panels(const struct amx_job *job, unsigned source, struct amx_part *part)
{
	uint64_t nblocks = part->nsteps < PANEL_SHARED ? 1 : PANEL_BLOCKS;

	part->sums = (float *)(void *)(job->scratch + 2 * PANEL_COLS * UW_AMX_PAIR);
	for (uint64_t b = 0; b < job->run->nblocks; b += nblocks) {
		uint64_t left = job->run->nblocks - b, n = left < nblocks ? left : nblocks;

		for (part->k = 0; part->k < job->cols.n; part->k += part->ncols) {
			uint64_t cols = job->cols.n - part->k;

			part->ncols = cols < PANEL_COLS ? (uint32_t)cols : PANEL_COLS;
			for (uint64_t i = 0; i < n; i++)
				multiply_block(job, source, part, b + i,
					       part->sums + i * UW_BLOCK_TILES * part->nsteps * 256);
		}
	}
}

/* ---- x ---- */

/* 16 elements, those of `mask` from p on and zeros, as BF16 by uw_linear_round. */
UW_INLINE __m256i amx_round(__mmask16 mask, const float *p)
{
	__m512i v = _mm512_maskz_loadu_epi32(mask, p), lowest = _mm512_set1_epi32(1);
	__m512i odd = _mm512_and_si512(_mm512_srli_epi32(v, 16), lowest);
	__m512i up = _mm512_add_epi32(v, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7FFF)));
	__mmask16 nan = _mm512_cmp_ps_mask(_mm512_castsi512_ps(v), _mm512_castsi512_ps(v), _CMP_UNORD_Q);

	up = _mm512_mask_or_epi32(up, nan, v, _mm512_set1_epi32(0x400000));
	return _mm512_cvtepi32_epi16(_mm512_srli_epi32(up, 16));
}

/* Columns of `mask` out of 64, the first of which is element `at` of x, which may lie before x; others are zeros. */
UW_INLINE void amx_load_x(const void *x, enum uw_linear_type type, size_t at, uint64_t mask, __m512i v[2])
{
	for (unsigned h = 0; h < 2; h++, at += 32, mask >>= 32) {
		const float *p = (const float *)((uintptr_t)x + at * sizeof(*p));

		if (type == UW_LINEAR_BF16) {
			v[h] = _mm512_maskz_loadu_epi16((__mmask32)mask,
							(const void *)((uintptr_t)x + at * sizeof(uint16_t)));
			continue;
		}
		v[h] = _mm512_inserti64x4(_mm512_castsi256_si512(amx_round((__mmask16)mask, p)),
					  amx_round((__mmask16)(mask >> 16), p + 16), 1);
	}
}

/* Row i of a step holds, for each tile column and pair, dword i of 16: pair p of the first vectors, then of the second
 * ones; natural: pair p is columns 2 p and 2 p + 1. */
UW_INLINE void amx_pack(bool natural, const struct uw_linear_dims *dims, const void *x, enum uw_linear_type type,
			size_t ld, uint64_t first, uint64_t end, uint8_t *packed)
{
	struct uw_linear_cols cols = uw_linear_cols(dims);
	uint64_t nsteps = amx_packed_steps(dims), last = end == dims->batch ? nsteps * UW_PACK_ROWS : end;
	const uint32_t width = amx_width(dims);

	for (uint64_t n = first; n < last; n += UW_PACK_ROWS) {
		for (uint64_t k = 0; k < cols.n; k++) {
			uint8_t *to = packed + (nsteps == 1 ? (size_t)k * amx_x_nbytes(width) :
							      amx_x_off(nsteps, n / UW_PACK_ROWS, k));
			__m512 v[2][UW_PACK_ROWS];
			uint32_t begin, stop;

			uw_linear_edge(&cols, k, &begin, &stop);
			for (unsigned i = 0; i < UW_PACK_ROWS; i++) {
				uint64_t mask = n + i < end ? uw_col_mask(begin, stop) : 0;
				__m512i row[2], pairs[2];

				amx_load_x(x, type, (size_t)((n + i) * ld + k * UW_TILE_COLS - cols.head), mask, row);
				uw_row_to_pairs(row[0], row[1], pairs);
				for (unsigned h = 0; h < 2; h++)
					v[h][i] = _mm512_castsi512_ps(natural ? row[h] : pairs[h]);
			}
			for (unsigned h = 0; h < 2; h++) {
				transpose(v[h]);
				for (unsigned p = 0; p < 16; p++, to += width * sizeof(float))
					_mm512_mask_storeu_ps(to, (__mmask16)((1u << width) - 1), v[h][p]);
			}
		}
	}
}

/* ---- the whole ---- */

UW_INLINE size_t amx_packed_nbytes(const struct uw_linear_dims *dims)
{
	uint64_t nsteps = amx_packed_steps(dims);

	if (nsteps == 1)
		return (size_t)uw_linear_cols(dims).n * amx_x_nbytes(amx_width(dims));
	return (size_t)(nsteps * amx_npanels(dims)) * PANEL_COLS * UW_AMX_PAIR;
}

UW_INLINE size_t amx_scratch_nbytes(const struct uw_linear_dims *dims)
{
	uint64_t nsteps = amx_packed_steps(dims);

	if (nsteps <= 2)
		return 8 * UW_AMX_PAIR + 4 * UW_AMX_TILE;
	if (nsteps > PANEL_BATCH / UW_PACK_ROWS)
		nsteps = PANEL_BATCH / UW_PACK_ROWS;
	return 2 * PANEL_COLS * UW_AMX_PAIR + (size_t)nsteps * PANEL_BLOCKS * UW_BLOCK_TILES * UW_AMX_TILE;
}

UW_INLINE void amx_gemm(const struct amx_job *job, unsigned source)
{
	uint64_t nsteps = amx_packed_steps(job->dims);
	struct amx_part part = { .first = 0 };

	amx_begin(amx_width(job->dims));
	if (nsteps == 1)
		gemm_16(job, source);
	else if (nsteps == 2)
		gemm_32(job, source);
	for (; nsteps > 2 && part.first < nsteps; part.first += part.nsteps) {
		uint64_t left = nsteps - part.first;

		part.nsteps = left < PANEL_BATCH / UW_PACK_ROWS ? left : PANEL_BATCH / UW_PACK_ROWS;
		gemm_panels(job, source, &part);
	}
	amx_end();
}

#endif
