/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x with AMX: weights are decoded into tiles in the first-level cache, 16 rows x 16 pairs each, and multiplied
 * by packed x, 16 pairs x 16 columns of the batch. Two tiles of weights make one of the codec's: the first vectors of
 * its rows, then the second ones (linear_avx512.h). Every sum is one accumulator from the first column to the last, so
 * that neither the source nor the batch nor the blocking changes it.
 *
 * A batch of up to 16 keeps the sums of a row block in four tile registers, one of up to 32 those of half of it; both
 * decode the next tiles while these are multiplied, and read weights once. Larger batches take panels of PANEL_COLS
 * tile columns: one is decoded, a tile now and then, while the one before is multiplied by the whole batch with sums
 * in memory.
 */
#ifndef UW_LINEAR_AMX_H
#define UW_LINEAR_AMX_H

#include "linear_avx512.h"

#define UW_AMX_PAIR 2048u  /* bytes of a decoded tile, first and second vectors; also of 64 columns of x, 16 rows */
#define UW_AMX_TILE 1024u
#define UW_AMX_NATURAL 3u  /* a source beside those of enum uw_linear_source: RAW in its own order, to compare with */

#define PANEL_COLS 8u      /* 2 tile rows x 8 columns: 32 KB of the 48 KB */
#define PANEL_BLOCKS 4u    /* row blocks that share x in the second-level cache */
#define PANEL_BATCH 512u
#define AHEAD 8u           /* tiles between the one that is decoded and the one that is prefetched */

/* Tile registers: sums 0 .. 3, weights 4, 5, x 6, 7. */

/* The intrinsics of gcc do not say that they read and write memory. */
#define BARRIER() __asm__ volatile("" ::: "memory")

struct amx_config {
	uint8_t palette, start_row, reserved[14];
	uint16_t colsb[16];
	uint8_t rows[16];
};

static inline void amx_begin(void)
{
	struct amx_config config = { .palette = 1 };

	for (unsigned i = 0; i < 8; i++) {
		config.colsb[i] = 64;
		config.rows[i] = 16;
	}
	BARRIER();
	_tile_loadconfig(&config);
	BARRIER();
}

static inline void amx_end(void)
{
	BARRIER();
	_tile_release();
}

/* One call of gemm. */
struct amx_job {
	const struct uw_linear_dims *dims;
	const struct uw_linear_run *run;
	struct uw_linear_cols cols;
	const uint8_t *x; /* [16 rows of the batch][tile column] UW_AMX_PAIR bytes */
	float *y;
	size_t ld;
	uint8_t *scratch;
};

static inline uint64_t amx_nsteps(const struct uw_linear_dims *dims) /* of 16 rows of the batch */
{
	return (dims->batch + UW_PACK_ROWS - 1) / UW_PACK_ROWS;
}

/* ---- weights to tiles ---- */

/* A place in the weights: tile column k of the range, tile row w of row block b. */
struct amx_place {
	uint64_t b, k;
	uint32_t w, high; /* tile rows of the block */
};

static inline uint32_t amx_block_high(const struct amx_job *job, uint64_t b)
{
	return (uw_linear_block_rows(job->run, b) + UW_TILE_ROWS - 1) / UW_TILE_ROWS;
}

static inline void prefetch_line(const void *p, size_t ahead)
{
	_mm_prefetch((const char *)((uintptr_t)p + ahead), _MM_HINT_T0); /* may point anywhere */
}

static inline void put_unit(uint8_t *to, unsigned g, const __m512i a[4])
{
	_mm512_store_si512(to + 64 * g, a[0]);
	_mm512_store_si512(to + 64 * (g + 8), a[1]);
	_mm512_store_si512(to + UW_AMX_TILE + 64 * g, a[2]);
	_mm512_store_si512(to + UW_AMX_TILE + 64 * (g + 8), a[3]);
}

static inline void decode_p4(const uint8_t *s, const uint8_t *nib, const uint8_t *palette, uint8_t *to)
{
	__m512i pairs = uw_p4_load_pairs(palette);

	for (unsigned g = 0; g < 8; g++) {
		__m512i a[4];

		prefetch_line(s + 64 * g, AHEAD * UW_TILE_WEIGHTS);
		prefetch_line(s + 64 * g + 512, AHEAD * UW_TILE_WEIGHTS);
		prefetch_line(nib + 64 * g, AHEAD * UW_TILE_WEIGHTS / 2);
		uw_unit_p4(s + 64 * g, nib + 64 * g, pairs, a);
		put_unit(to, g, a);
	}
}

static inline void decode_e8(const uint8_t *s, const uint8_t *e, uint8_t *to)
{
	for (unsigned g = 0; g < 8; g++) {
		__m512i a[4];

		prefetch_line(s + 64 * g, AHEAD * UW_TILE_WEIGHTS);
		prefetch_line(s + 64 * g + 512, AHEAD * UW_TILE_WEIGHTS);
		prefetch_line(e + 64 * g, AHEAD * UW_TILE_WEIGHTS);
		prefetch_line(e + 64 * g + 512, AHEAD * UW_TILE_WEIGHTS);
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
static inline void decode_coded(const struct amx_job *job, unsigned source, const struct amx_place *at,
				struct uw_linear_chunk *chunk, uint8_t *to)
{
	const struct uw_linear_run *run = job->run;
	uint64_t t = at->b * uw_linear_block_tiles(run->ncols) + (job->cols.first + at->k) * at->high + at->w;
	bool patched = uw_linear_chunk_seek(chunk, t);
	const uint8_t *s = run->s + t * UW_TILE_WEIGHTS;
	uint32_t begin, end;

	if (source == UW_LINEAR_P4)
		decode_p4(s, run->second + t * (UW_TILE_WEIGHTS / 2), chunk->pairs, to);
	else
		decode_e8(s, run->second + t * UW_TILE_WEIGHTS, to);
	if (patched)
		amx_patch(chunk, (uint32_t)((chunk->first_tile + t) % UW_CHUNK_TILES), to);
	if (uw_linear_edge(&job->cols, at->k, &begin, &end))
		amx_clip(uw_col_mask(begin, end), to);
}

/* 16 rows x 64 columns of RAW. Rows that do not exist stay what they are: sums of theirs are not used. */
static inline void decode_raw(const struct amx_job *job, unsigned source, const struct amx_place *at, uint8_t *to)
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

		prefetch_line(row, 512);
		prefetch_line(row, 576);
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

static inline void decode_tile(const struct amx_job *job, unsigned source, const struct amx_place *at,
			       struct uw_linear_chunk *chunk, uint8_t *to)
{
	if (source == UW_LINEAR_RAW || source == UW_AMX_NATURAL)
		decode_raw(job, source, at, to);
	else
		decode_coded(job, source, at, chunk, to);
}

/* ---- sums to y ---- */

/* 4 x 4 blocks of 4 x 4: rows become columns. */
static inline void transpose(__m512 v[16])
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
static inline void put_sums(const struct amx_job *job, uint64_t b, uint32_t w, uint64_t step, const float *sums)
{
	uint64_t first = step * UW_PACK_ROWS, left = job->dims->batch - first;
	uint32_t nrows = uw_linear_block_rows(job->run, b) - w * UW_TILE_ROWS;
	float *y = job->y + first * job->ld + b * UW_ROW_BLOCK + w * UW_TILE_ROWS;
	__mmask16 rows = nrows < UW_TILE_ROWS ? (__mmask16)((1u << nrows) - 1) : 0xFFFF;
	__m512 v[16];

	for (unsigned i = 0; i < 16; i++)
		v[i] = _mm512_loadu_ps(sums + 16 * i);
	transpose(v);
	for (unsigned i = 0; i < 16 && i < left; i++, y += job->ld) {
		__mmask16 nan = _mm512_cmp_ps_mask(v[i], v[i], _CMP_UNORD_Q);

		_mm512_mask_storeu_ps(y, rows, _mm512_mask_mov_ps(v[i], nan, _mm512_castsi512_ps(
										     _mm512_set1_epi32(0x7FC00000))));
	}
}

/* ---- a batch of up to 16 ---- */


/* `high` tiles of weights from `w` on, all with the same x. */
static inline void multiply_column(const uint8_t *weights, uint32_t high, const uint8_t *x)
{
	for (unsigned h = 0; h < 2; h++, weights += UW_AMX_TILE, x += UW_AMX_TILE) {
		_tile_loadd(6, x, 64);
		_tile_loadd(4, weights, 64);
		_tile_dpbf16ps(0, 4, 6);
		if (high > 1) {
			_tile_loadd(5, weights + UW_AMX_PAIR, 64);
			_tile_dpbf16ps(1, 5, 6);
		}
		if (high > 2) {
			_tile_loadd(4, weights + 2 * UW_AMX_PAIR, 64);
			_tile_dpbf16ps(2, 4, 6);
		}
		if (high > 3) {
			_tile_loadd(5, weights + 3 * UW_AMX_PAIR, 64);
			_tile_dpbf16ps(3, 5, 6);
		}
	}
}

static inline void zero_sums(void)
{
	_tile_zero(0);
	_tile_zero(1);
	_tile_zero(2);
	_tile_zero(3);
}

static inline void store_sums(float *to)
{
	_tile_stored(0, to, 64);
	_tile_stored(1, to + 256, 64);
	_tile_stored(2, to + 512, 64);
	_tile_stored(3, to + 768, 64);
	BARRIER();
}

static inline void decode_column(const struct amx_job *job, unsigned source, struct amx_place at, uint32_t nw,
				 struct uw_linear_chunk *chunk, uint8_t *to)
{
	for (uint32_t end = at.w + nw; at.w < end; at.w++, to += UW_AMX_PAIR)
		decode_tile(job, source, &at, chunk, to);
}

/* Scratch: two columns of four tiles, then the sums. */
static inline void gemm_16(const struct amx_job *job, unsigned source)
{
	uint8_t *ring = job->scratch;
	float *sums = (float *)(void *)(ring + 8 * UW_AMX_PAIR);
	struct uw_linear_chunk chunk;

	uw_linear_chunk_start(&chunk, job->run);
	for (uint64_t b = 0; b < job->run->nblocks; b++) {
		struct amx_place at = { .b = b, .high = amx_block_high(job, b) };

		zero_sums();
		decode_column(job, source, at, at.high, &chunk, ring);
		for (uint64_t k = 0; k < job->cols.n; k++) {
			at.k = k + 1;
			if (at.k < job->cols.n)
				decode_column(job, source, at, at.high, &chunk,
					      ring + at.k % 2 * 4 * UW_AMX_PAIR);
			BARRIER();
			multiply_column(ring + k % 2 * 4 * UW_AMX_PAIR, at.high, job->x + k * UW_AMX_PAIR);
			BARRIER();
		}
		store_sums(sums);
		for (uint32_t w = 0; w < at.high; w++)
			put_sums(job, b, w, 0, sums + 256 * w);
	}
}

/* ---- a batch of up to 32, or 2 x 2 tiles of sums ---- */

/* Two tiles of weights, `apart` bytes from each other, with two of x. */
static inline void multiply_square(const uint8_t *weights, size_t apart, const uint8_t *x, size_t x_apart)
{
	for (unsigned h = 0; h < 2; h++, weights += UW_AMX_TILE, x += UW_AMX_TILE) {
		_tile_loadd(4, weights, 64);
		_tile_loadd(6, x, 64);
		_tile_dpbf16ps(0, 4, 6);
		_tile_loadd(7, x + x_apart, 64);
		_tile_dpbf16ps(1, 4, 7);
		_tile_loadd(5, weights + apart, 64);
		_tile_dpbf16ps(2, 5, 6);
		_tile_dpbf16ps(3, 5, 7);
	}
}

static inline void gemm_32(const struct amx_job *job, unsigned source)
{
	uint8_t *ring = job->scratch;
	float *sums = (float *)(void *)(ring + 4 * UW_AMX_PAIR);
	size_t x_apart = (size_t)job->cols.n * UW_AMX_PAIR;

	for (uint64_t i = 0; i < 2 * job->run->nblocks; i++) {
		struct amx_place at = { .b = i / 2, .w = i % 2 * 2, .high = amx_block_high(job, i / 2) };
		uint32_t nw = at.high - at.w < 2 ? at.high - at.w : 2;
		struct uw_linear_chunk chunk;

		if (at.w >= at.high)
			continue;
		uw_linear_chunk_start(&chunk, job->run);
		zero_sums();
		decode_column(job, source, at, nw, &chunk, ring);
		for (uint64_t k = 0; k < job->cols.n; k++) {
			at.k = k + 1;
			if (at.k < job->cols.n)
				decode_column(job, source, at, nw, &chunk, ring + at.k % 2 * 2 * UW_AMX_PAIR);
			BARRIER();
			multiply_square(ring + k % 2 * 2 * UW_AMX_PAIR, UW_AMX_PAIR, job->x + k * UW_AMX_PAIR,
					x_apart);
			BARRIER();
		}
		store_sums(sums);
		for (uint32_t w = 0; w < nw; w++) {
			put_sums(job, at.b, at.w + w, 0, sums + 512 * w);
			put_sums(job, at.b, at.w + w, 1, sums + 512 * w + 256);
		}
	}
}

/* ---- larger batches ---- */

/*
 * Panels in the order in which they are multiplied: for each PANEL_BLOCKS row blocks, for each PANEL_COLS tile columns,
 * those blocks. The decoder is one panel ahead.
 */
struct amx_panel {
	uint64_t b, k;      /* first tile column */
	uint64_t group_end; /* of the row blocks */
	uint32_t ncols, high;
};

static inline void panel_start(const struct amx_job *job, uint64_t b, struct amx_panel *p)
{
	uint64_t left = job->run->nblocks - b;

	p->b = b;
	p->k = 0;
	p->group_end = b + (left < PANEL_BLOCKS ? left : PANEL_BLOCKS);
}

static inline void panel_size(const struct amx_job *job, struct amx_panel *p)
{
	uint64_t left = job->cols.n - p->k;

	p->ncols = left < PANEL_COLS ? (uint32_t)left : PANEL_COLS;
	p->high = amx_block_high(job, p->b);
}

/* False: there is no next panel. */
static inline bool panel_next(const struct amx_job *job, struct amx_panel *p)
{
	uint64_t first = p->b / PANEL_BLOCKS * PANEL_BLOCKS;

	p->b++;
	if (p->b == p->group_end) {
		p->b = first;
		p->k += PANEL_COLS;
		if (p->k >= job->cols.n) {
			if (p->group_end == job->run->nblocks)
				return false;
			panel_start(job, p->group_end, p);
		}
	}
	panel_size(job, p);
	return true;
}

/* Decodes a panel tile by tile, as often as it is asked to: a panel is [tile row][tile column]. */
struct amx_decoder {
	struct amx_panel panel;
	struct uw_linear_chunk chunk;
	uint32_t done, ntiles;
	uint8_t *to;
};

static inline void decoder_start(const struct amx_job *job, struct amx_decoder *d, uint8_t *to)
{
	uw_linear_chunk_start(&d->chunk, job->run);
	d->done = 0;
	d->ntiles = d->panel.ncols * d->panel.high;
	d->to = to;
}

static inline void decoder_step(const struct amx_job *job, unsigned source, struct amx_decoder *d)
{
	uint32_t k = d->done / d->panel.high, w = d->done % d->panel.high;
	struct amx_place at = { .b = d->panel.b, .k = d->panel.k + k, .w = w, .high = d->panel.high };

	decode_tile(job, source, &at, &d->chunk, d->to + (w * PANEL_COLS + k) * UW_AMX_PAIR);
	d->done++;
}

/* Where the sums of tile row w and 16 rows of the batch are kept: neighbours in the batch behind each other. */
static inline float *sums_at(float *sums, uint64_t nsteps, uint64_t w, uint64_t step)
{
	return sums + (w * nsteps + step) * 256;
}

static inline void load_sums(const float *from, size_t apart)
{
	_tile_loadd(0, from, 64);
	_tile_loadd(1, from + 256, 64);
	_tile_loadd(2, from + apart, 64);
	_tile_loadd(3, from + apart + 256, 64);
}

static inline void save_sums(float *to, size_t apart)
{
	_tile_stored(0, to, 64);
	_tile_stored(1, to + 256, 64);
	_tile_stored(2, to + apart, 64);
	_tile_stored(3, to + apart + 256, 64);
}

/*
 * Steps first .. first + nsteps of the batch, nsteps even (beyond the batch x is zero). Scratch: two panels, then sums
 * of PANEL_BLOCKS row blocks.
 */
static inline void gemm_panels(const struct amx_job *job, unsigned source, uint64_t first, uint64_t nsteps)
{
	const size_t panel_nbytes = UW_BLOCK_TILES * PANEL_COLS * UW_AMX_PAIR;
	float *all_sums = (float *)(void *)(job->scratch + 2 * panel_nbytes);
	size_t x_apart = (size_t)job->cols.n * UW_AMX_PAIR, apart = (size_t)nsteps * 256;
	uint64_t end = amx_nsteps(job->dims);
	struct amx_decoder next;
	struct amx_panel now;
	bool more = true;

	panel_start(job, 0, &next.panel);
	panel_size(job, &next.panel);
	decoder_start(job, &next, job->scratch);
	while (next.done < next.ntiles)
		decoder_step(job, source, &next);
	for (unsigned turn = 0; more; turn++) {
		const uint8_t *panel = job->scratch + turn % 2 * panel_nbytes;
		uint32_t turns, credit = 0;
		float *sums;

		now = next.panel;
		more = panel_next(job, &next.panel);
		if (more)
			decoder_start(job, &next, job->scratch + (turn + 1) % 2 * panel_nbytes);
		turns = (uint32_t)((now.high + 1) / 2 * (nsteps / 2) * now.ncols);
		sums = all_sums + now.b % PANEL_BLOCKS * UW_BLOCK_TILES * apart;
		for (uint32_t w = 0; w < now.high; w += 2) {
			for (uint64_t step = 0; step < nsteps; step += 2) {
				const uint8_t *weights = panel + w * PANEL_COLS * UW_AMX_PAIR;
				const uint8_t *x = job->x + (first + step) * x_apart + now.k * UW_AMX_PAIR;
				float *at = sums_at(sums, nsteps, w, step);

				if (now.k == 0)
					zero_sums();
				else
					load_sums(at, apart);
				for (uint32_t k = 0; k < now.ncols; k++) {
					multiply_square(weights + k * UW_AMX_PAIR, PANEL_COLS * UW_AMX_PAIR,
							x + k * UW_AMX_PAIR, x_apart);
					credit += next.ntiles;
					if (credit >= turns && next.done < next.ntiles) {
						credit -= turns;
						decoder_step(job, source, &next);
					}
				}
				save_sums(at, apart);
				BARRIER();
				if (now.k + now.ncols < job->cols.n)
					continue;
				for (uint32_t i = 0; i < 4; i++) {
					if (w + i / 2 < now.high && first + step + i % 2 < end)
						put_sums(job, now.b, w + i / 2, first + step + i % 2,
							 sums_at(sums, nsteps, w + i / 2, step + i % 2));
				}
			}
		}
		while (more && next.done < next.ntiles)
			decoder_step(job, source, &next);
		BARRIER();
	}
}

/* ---- the whole ---- */

/* x is packed in whole pairs of 16 rows where there are more than 16. */
static inline uint64_t amx_packed_steps(const struct uw_linear_dims *dims)
{
	uint64_t nsteps = amx_nsteps(dims);

	return nsteps == 1 ? 1 : (nsteps + 1) / 2 * 2;
}

static inline size_t amx_packed_nbytes(const struct uw_linear_dims *dims)
{
	return (size_t)(amx_packed_steps(dims) * uw_linear_cols(dims).n) * UW_AMX_PAIR;
}

static inline size_t amx_scratch_nbytes(const struct uw_linear_dims *dims)
{
	uint64_t nsteps = amx_packed_steps(dims);

	if (nsteps <= 2)
		return 8 * UW_AMX_PAIR + 4 * UW_AMX_TILE;
	if (nsteps > PANEL_BATCH / UW_PACK_ROWS)
		nsteps = PANEL_BATCH / UW_PACK_ROWS;
	return 2 * UW_BLOCK_TILES * PANEL_COLS * UW_AMX_PAIR +
	       (size_t)nsteps * PANEL_BLOCKS * UW_BLOCK_TILES * UW_AMX_TILE;
}

static inline void amx_gemm(const struct amx_job *job, unsigned source)
{
	uint64_t nsteps = amx_packed_steps(job->dims);

	amx_begin();
	if (nsteps == 1)
		gemm_16(job, source);
	else if (nsteps == 2)
		gemm_32(job, source);
	for (uint64_t first = 0; nsteps > 2 && first < nsteps; first += PANEL_BATCH / UW_PACK_ROWS) {
		uint64_t left = nsteps - first;

		gemm_panels(job, source, first,
			    left < PANEL_BATCH / UW_PACK_ROWS ? left : PANEL_BATCH / UW_PACK_ROWS);
	}
	amx_end();
}

#endif
