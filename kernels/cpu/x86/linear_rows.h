/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x as dot products of rows in their natural order, for instruction sets without tiles. Coded row blocks are
 * decoded a few tile columns at a time into the first-level cache and multiplied from there; RAW rows are multiplied
 * where they are. Each product of a row has 32 partial sums, one for each pair of 64 columns, by ascending column
 * whatever the source, so the bits are the same.
 *
 * For a small batch that is too slow: there tiles are multiplied as they are decoded, in registers, which gives their
 * pairs in another order (linear_avx512.h). x and the partial sums are then in that order as well, until a row is
 * done. A tile at an edge of the range still goes by way of memory, as does a unit with patches.
 *
 * The file that includes this says for its instruction set:
 *   rows_decode_p4, rows_decode_e8   the codec's loops for tiles
 *   ROWS_X_NBYTES                    64 columns of x, as rows_pack_x packs them
 *   ROWS_FAR                         bytes between what is multiplied in a RAW row and what is prefetched
 *   rows_dots                        adds to the sums of some rows and of some of the batch
 *   rows_total, rows_total_pairs     the sum of 32 partial sums, in natural and in pair order
 *   ROWS_DIRECT_P4, ROWS_DIRECT_E8   the largest batch that rows_direct is for
 *   rows_direct                      adds to the sums of one tile's rows, in pair order, after rows_patch_lanes
 *   rows_decode_pairs                the tile's rows themselves, in pair order
 */
#ifndef UW_LINEAR_ROWS_H
#define UW_LINEAR_ROWS_H

#include <immintrin.h>

#include "../linear_tiles.h"
#include "x86.h"

#define ROWS_COLS 4u   /* tile columns that are decoded at a time: 32 KB */
#define ROWS_BATCH 24u /* of the batch at a time: sums of 192 KB for a row block */
#define ROWS_SUMS 32u
#define ROWS_AHEAD (UW_TILE_WEIGHTS * 5 / 2) /* weights between what is decoded and what is prefetched */

struct rows_job {
	const struct uw_linear_dims *dims;
	const struct uw_linear_run *run;
	struct uw_linear_cols cols;
	const uint8_t *x;   /* [batch][tile column] ROWS_X_NBYTES, as rows_dots wants it */
	uint64_t n0, nb;    /* the part of the batch */
	uint16_t *weights;  /* decoded: [64][ROWS_COLS][64] */
	float *sums;        /* [64][nb][ROWS_SUMS] */
};

/* A tile of a coded run. */
struct rows_tile {
	const uint8_t *s, *second;
	bool patched;
	uint32_t in_chunk;
};

static void rows_pack_x(const uint16_t x[UW_TILE_COLS], uint8_t *to);
static float rows_total(const float sums[ROWS_SUMS]);
static float rows_total_pairs(const float sums[ROWS_SUMS]);
/* nrows rows, `ld` apart, of nk tile columns; `far`: they come from memory. */
static void rows_dots(const uint16_t *weights, size_t ld, uint32_t nrows, uint64_t nk, bool far, const uint8_t *x,
		      size_t x_ld, uint64_t nb, float *sums);
/* One tile; `sums` of its first row, those of a row nb * ROWS_SUMS floats behind the one before. */
UW_INLINE void rows_direct(bool p4, const struct rows_tile *tile, const struct uw_linear_chunk *chunk, const uint8_t *x,
			   size_t x_ld, uint64_t nb, float *sums);
UW_INLINE void rows_decode_pairs(bool p4, const uint8_t *s, const uint8_t *second, const uint8_t *pairs,
				 uint16_t weights[UW_TILE_WEIGHTS]);

/* ---- pair order ---- */

/* Where pair p of 64 columns stands. Pairs i, i + 8, i + 16 and i + 24 stand together, from 4 i on. */
UW_INLINE uint32_t rows_pair(uint32_t p)
{
	return 16 * (p / 4 % 2) + 4 * (p % 4) + p / 8;
}

static void rows_to_pairs(const uint16_t from[UW_TILE_COLS], uint16_t to[UW_TILE_COLS])
{
	for (uint32_t p = 0; p < UW_TILE_COLS / 2; p++)
		memcpy(to + 2 * rows_pair(p), from + 2 * p, 2 * sizeof(*to));
}

UW_INLINE bool rows_is_direct(const struct uw_linear_dims *dims, enum uw_linear_source source)
{
	return source != UW_LINEAR_RAW &&
	       dims->batch <= (source == UW_LINEAR_P4 ? ROWS_DIRECT_P4 : ROWS_DIRECT_E8);
}

/* ---- x: in natural order, and behind that in pair order for small batches ---- */

static size_t rows_order_nbytes(const struct uw_linear_dims *dims)
{
	return (size_t)(dims->batch * uw_linear_cols(dims).n) * ROWS_X_NBYTES;
}

static size_t rows_packed_nbytes(const struct uw_linear_dims *dims)
{
	return rows_order_nbytes(dims) * (rows_is_direct(dims, UW_LINEAR_P4) ? 2 : 1);
}

static void rows_pack(const struct uw_linear_dims *dims, const void *x, enum uw_linear_type type, size_t ld,
		      uint64_t first, uint64_t end, void *packed)
{
	struct uw_linear_cols cols = uw_linear_cols(dims);
	uint8_t *to = (uint8_t *)packed + (size_t)(first * cols.n) * ROWS_X_NBYTES;

	for (uint64_t n = first; n < end; n++) {
		for (uint64_t k = 0; k < cols.n; k++, to += ROWS_X_NBYTES) {
			uint16_t part[UW_TILE_COLS] = { 0 }, pairs[UW_TILE_COLS];
			uint32_t begin, stop;

			uw_linear_edge(&cols, k, &begin, &stop);
			for (uint32_t c = begin; c < stop; c++)
				part[c] = uw_linear_x_at(x, type, n * ld + k * UW_TILE_COLS + c - cols.head);
			rows_pack_x(part, to);
			if (!rows_is_direct(dims, UW_LINEAR_P4))
				continue;
			rows_to_pairs(part, pairs);
			rows_pack_x(pairs, to + rows_order_nbytes(dims));
		}
	}
}

/* ---- weights ---- */

static size_t rows_scratch_nbytes(const struct uw_linear_dims *dims)
{
	uint64_t nb = dims->batch < ROWS_BATCH ? dims->batch : ROWS_BATCH;

	return UW_ROW_BLOCK * (ROWS_COLS * UW_TILE_COLS * sizeof(uint16_t) + (size_t)nb * ROWS_SUMS * sizeof(float));
}

/* Adds the product of tile columns k .. k + nk. */
UW_INLINE void rows_multiply(const struct rows_job *job, const uint16_t *weights, size_t ld, uint32_t nrows, uint64_t k,
			     uint64_t nk, bool far)
{
	size_t x_ld = (size_t)job->cols.n * ROWS_X_NBYTES;

	rows_dots(weights, ld, nrows, nk, far, job->x + job->n0 * x_ld + k * ROWS_X_NBYTES, x_ld, job->nb, job->sums);
}

/* May point anywhere. */
UW_INLINE void rows_prefetch(const void *p, size_t ahead, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i += 64)
		_mm_prefetch((const char *)((uintptr_t)p + ahead + i), _MM_HINT_T0);
}

/* Part g of 8 of a tile's length, ROWS_AHEAD from here on: spread over the decoding of a tile, since a tile's lines at
 * once are more than the processor can wait for, and in the order in which they will be read. */
UW_INLINE void rows_prefetch_part(bool p4, const uint8_t *s, const uint8_t *second, uint32_t g)
{
	rows_prefetch(s + 64 * g, ROWS_AHEAD, 64);
	rows_prefetch(s + 64 * g + 512, ROWS_AHEAD, 64);
	if (p4) {
		rows_prefetch(second + 64 * g, ROWS_AHEAD / 2, 64);
	} else {
		rows_prefetch(second + g / 2 * 64 + g % 2 * 512, ROWS_AHEAD, 64);
		rows_prefetch(second + g / 2 * 64 + g % 2 * 512 + 256, ROWS_AHEAD, 64);
	}
}

static void rows_patch(struct uw_linear_chunk *at, uint32_t in_chunk, uint16_t *weights, size_t ld)
{
	struct uw_linear_patch patch;

	while (uw_linear_patch_next(at, in_chunk, &patch))
		weights[patch.row * ld + uw_linear_patch_col(&patch)] ^= patch.flip;
}

/* Units g, rows g and g + 8, that have patches. */
UW_INLINE uint32_t rows_patched_units(const struct uw_linear_chunk *at, const struct rows_tile *tile)
{
	struct uw_linear_chunk walk = *at;
	struct uw_linear_patch patch;
	uint32_t units = 0;

	while (tile->patched && uw_linear_patch_next(&walk, tile->in_chunk, &patch))
		units |= 1u << patch.lane / 4;
	return units;
}

/* The patches of n lanes, from `lane` on: fragment registers a0 .. a3, 4 n dwords of each. `rotated`: a1 and a3 still
 * lack their rotation right by a byte. */
UW_INLINE void rows_patch_lanes(const struct uw_linear_chunk *at, const struct rows_tile *tile, uint32_t lane,
				uint32_t n, bool rotated, uint32_t *regs)
{
	struct uw_linear_chunk walk = *at;
	struct uw_linear_patch patch;

	while (uw_linear_patch_next(&walk, tile->in_chunk, &patch)) {
		uint32_t reg = patch.i / 2, flip = (uint32_t)patch.flip << 16 * (patch.i % 2);

		if (patch.lane - lane >= n) /* below 0, too */
			continue;
		if (rotated && reg % 2 == 1)
			flip = flip << 8 | flip >> 24;
		regs[reg * 4 * n + 4 * (patch.lane - lane) + patch.step] ^= flip;
	}
}

/* Zeros outside of the range in one tile column. */
static void rows_clip(uint16_t *weights, size_t ld, uint32_t nrows, uint32_t begin, uint32_t end)
{
	for (uint32_t r = 0; r < nrows; r++, weights += ld) {
		memset(weights, 0, begin * sizeof(*weights));
		memset(weights + end, 0, (UW_TILE_COLS - end) * sizeof(*weights));
	}
}

/* Tile t of the run, with its palette and patches in *chunk. */
UW_INLINE struct rows_tile rows_tile(const struct rows_job *job, bool p4, struct uw_linear_chunk *chunk, uint64_t t)
{
	const size_t second = p4 ? UW_TILE_WEIGHTS / 2 : UW_TILE_WEIGHTS;
	struct rows_tile tile = {
		.s = job->run->s + t * UW_TILE_WEIGHTS,
		.second = job->run->second + t * second,
		.patched = uw_linear_chunk_seek(chunk, t),
		.in_chunk = (uint32_t)((chunk->first_tile + t) % UW_CHUNK_TILES),
	};

	return tile;
}

UW_INLINE void rows_decode_tile(const struct rows_tile *tile, bool p4, struct uw_linear_chunk *chunk, uint16_t *to,
				size_t ld)
{
	for (uint32_t g = 0; g < 8; g++)
		rows_prefetch_part(p4, tile->s, tile->second, g);
	if (p4)
		rows_decode_p4(to, ld, tile->s, tile->second, chunk->pairs, UW_STORE_CACHED);
	else
		rows_decode_e8(to, ld, tile->s, tile->second, UW_STORE_CACHED);
	if (tile->patched)
		rows_patch(chunk, tile->in_chunk, to, ld);
}

UW_INLINE uint64_t rows_first_tile(const struct rows_job *job, uint64_t b, uint32_t high)
{
	return b * uw_linear_block_tiles(job->run->ncols) + job->cols.first * high;
}

/* Tile column k of block b, `high` tiles, to 64 columns of job->weights. */
UW_INLINE void rows_decode(const struct rows_job *job, bool p4, struct uw_linear_chunk *chunk, uint64_t b, uint64_t k,
			   uint32_t high, uint16_t *weights)
{
	const size_t ld = ROWS_COLS * UW_TILE_COLS;
	uint64_t t = rows_first_tile(job, b, high) + k * high;
	uint32_t begin, end;

	for (uint32_t w = 0; w < high; w++, t++) {
		struct rows_tile tile = rows_tile(job, p4, chunk, t);

		rows_decode_tile(&tile, p4, chunk, weights + w * UW_TILE_ROWS * ld, ld);
	}
	if (uw_linear_edge(&job->cols, k, &begin, &end))
		rows_clip(weights, ld, UW_ROW_BLOCK, begin, end);
}

/* Patches, and zeros outside of the range, in a tile in pair order. */
static void rows_mend(struct uw_linear_chunk *at, const struct rows_tile *tile, uint32_t begin, uint32_t end,
		      uint16_t weights[UW_TILE_WEIGHTS])
{
	struct uw_linear_patch patch;

	while (tile->patched && uw_linear_patch_next(at, tile->in_chunk, &patch)) {
		uint32_t p = uw_linear_patch_col(&patch) / 2;

		weights[patch.row * UW_TILE_COLS + 2 * rows_pair(p) + patch.i % 2] ^= patch.flip;
	}
	for (uint32_t c = 0; c < UW_TILE_COLS; c++) {
		if (c == begin && end > begin)
			c = end;
		for (uint32_t r = 0; r < UW_TILE_ROWS && c < UW_TILE_COLS; r++)
			weights[r * UW_TILE_COLS + 2 * rows_pair(c / 2) + c % 2] = 0;
	}
}

UW_INLINE void rows_direct_block(const struct rows_job *job, bool p4, struct uw_linear_chunk *chunk, uint64_t b)
{
	uint32_t high = (uw_linear_block_rows(job->run, b) + UW_TILE_ROWS - 1) / UW_TILE_ROWS;
	const uint8_t *x = job->x + rows_order_nbytes(job->dims);
	size_t x_ld = (size_t)job->cols.n * ROWS_X_NBYTES;
	uint64_t t = rows_first_tile(job, b, high);

	for (uint64_t k = 0; k < job->cols.n; k++, x += ROWS_X_NBYTES) {
		uint32_t begin, end;
		bool edge = uw_linear_edge(&job->cols, k, &begin, &end);

		for (uint32_t w = 0; w < high; w++, t++) {
			struct rows_tile tile = rows_tile(job, p4, chunk, t);
			float *sums = job->sums + w * UW_TILE_ROWS * (size_t)job->nb * ROWS_SUMS;

			if (!edge) {
				rows_direct(p4, &tile, chunk, x, x_ld, job->nb, sums);
				continue;
			}
			rows_decode_pairs(p4, tile.s, tile.second, chunk->pairs, job->weights);
			rows_mend(chunk, &tile, begin, end, job->weights);
			rows_dots(job->weights, UW_TILE_COLS, UW_TILE_ROWS, 1, false, x, x_ld, job->nb, sums);
		}
	}
}

UW_INLINE void rows_coded_block(const struct rows_job *job, bool p4, struct uw_linear_chunk *chunk, uint64_t b)
{
	uint32_t nrows = uw_linear_block_rows(job->run, b), high = (nrows + UW_TILE_ROWS - 1) / UW_TILE_ROWS;

	for (uint64_t k = 0; k < job->cols.n; k += ROWS_COLS) {
		uint64_t left = job->cols.n - k, nk = left < ROWS_COLS ? left : ROWS_COLS;

		for (uint64_t i = 0; i < nk; i++)
			rows_decode(job, p4, chunk, b, k + i, high, job->weights + i * UW_TILE_COLS);
		rows_multiply(job, job->weights, ROWS_COLS * UW_TILE_COLS, nrows, k, nk, false);
	}
}

/* Tile column k of RAW rows, a part of which is outside of the range: by way of job->weights. */
static void rows_raw_edge(const struct rows_job *job, const uint16_t *weights, uint32_t nrows, uint64_t k)
{
	uint32_t begin, end;

	uw_linear_edge(&job->cols, k, &begin, &end);
	rows_clip(job->weights, UW_TILE_COLS, UW_ROW_BLOCK, begin, end);
	for (uint32_t r = 0; r < nrows; r++)
		memcpy(job->weights + r * UW_TILE_COLS + begin,
		       weights + r * job->run->ld + (job->cols.first + k) * UW_TILE_COLS + begin,
		       (end - begin) * sizeof(*weights));
	rows_multiply(job, job->weights, UW_TILE_COLS, nrows, k, 1, false);
}

static void rows_raw_block(const struct rows_job *job, uint64_t b)
{
	const uint16_t *weights = job->run->weights + b * UW_ROW_BLOCK * job->run->ld;
	uint32_t nrows = uw_linear_block_rows(job->run, b), begin, end;
	uint64_t k = 0, n = job->cols.n;

	if (uw_linear_edge(&job->cols, 0, &begin, &end))
		rows_raw_edge(job, weights, nrows, k++);
	if (k < n && uw_linear_edge(&job->cols, n - 1, &begin, &end))
		n--;
	if (k < n)
		rows_multiply(job, weights + (job->cols.first + k) * UW_TILE_COLS, job->run->ld, nrows, k, n - k, true);
	if (n < job->cols.n)
		rows_raw_edge(job, weights, nrows, n);
}

/* ---- the whole ---- */

UW_INLINE void rows_gemm(enum uw_linear_source source, const struct uw_linear_dims *dims,
			 const struct uw_linear_run *run, const void *packed, float *y, size_t ld, void *scratch)
{
	const size_t weights_nbytes = UW_ROW_BLOCK * ROWS_COLS * UW_TILE_COLS * sizeof(uint16_t);
	bool direct = rows_is_direct(dims, source);
	struct rows_job job = { dims, run, uw_linear_cols(dims), packed, 0, 0, scratch,
				(float *)(void *)((uint8_t *)scratch + weights_nbytes) };

	for (job.n0 = 0; job.n0 < dims->batch; job.n0 += job.nb) {
		struct uw_linear_chunk chunk;

		job.nb = dims->batch - job.n0 < ROWS_BATCH ? dims->batch - job.n0 : ROWS_BATCH;
		uw_linear_chunk_start(&chunk, run);
		for (uint64_t b = 0; b < run->nblocks; b++) {
			uint32_t nrows = uw_linear_block_rows(run, b);
			float *to = y + job.n0 * ld + b * UW_ROW_BLOCK;

			memset(job.sums, 0, UW_ROW_BLOCK * (size_t)job.nb * ROWS_SUMS * sizeof(float));
			if (source == UW_LINEAR_RAW)
				rows_raw_block(&job, b);
			else if (direct)
				rows_direct_block(&job, source == UW_LINEAR_P4, &chunk, b);
			else
				rows_coded_block(&job, source == UW_LINEAR_P4, &chunk, b);
			for (uint64_t n = 0; n < job.nb; n++) {
				for (uint32_t r = 0; r < nrows; r++) {
					const float *sums = job.sums + (r * job.nb + n) * ROWS_SUMS;

					to[n * ld + r] = uw_linear_result(direct ? rows_total_pairs(sums) :
									  rows_total(sums));
				}
			}
		}
	}
}

static void rows_gemm_p4(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed,
			 float *y, size_t ld, void *scratch)
{
	rows_gemm(UW_LINEAR_P4, dims, run, packed, y, ld, scratch);
}

static void rows_gemm_e8(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed,
			 float *y, size_t ld, void *scratch)
{
	rows_gemm(UW_LINEAR_E8, dims, run, packed, y, ld, scratch);
}

static void rows_gemm_raw(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed,
			  float *y, size_t ld, void *scratch)
{
	rows_gemm(UW_LINEAR_RAW, dims, run, packed, y, ld, scratch);
}

static void rows_kernel(const char *name, struct uw_linear_kernel *kernel)
{
	*kernel = (struct uw_linear_kernel){
		.name = name,
		.min_batch = 1,
		.packed_nbytes = rows_packed_nbytes,
		.scratch_nbytes = rows_scratch_nbytes,
		.pack = rows_pack,
		.gemm = { rows_gemm_p4, rows_gemm_e8, rows_gemm_raw },
	};
}

#endif
