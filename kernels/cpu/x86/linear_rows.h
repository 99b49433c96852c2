/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x as dot products of rows in their natural order, for instruction sets without tiles. Coded row blocks are
 * decoded a few tile columns at a time into the first-level cache and multiplied from there; RAW rows are multiplied
 * where they are. Each product of a row has 32 partial sums, which take 64 columns at a time by ascending column
 * whatever the source, so the bits are the same.
 *
 * The file that includes this says for its instruction set:
 *   rows_decode_p4, rows_decode_e8   the codec's loops for tiles
 *   ROWS_X_NBYTES                    64 columns of x, as rows_pack_x packs them
 *   rows_dots                        adds to the sums of some rows and of some of the batch
 *   rows_total                       the sum of 32 partial sums
 */
#ifndef UW_LINEAR_ROWS_H
#define UW_LINEAR_ROWS_H

#include <immintrin.h>

#include "../linear_tiles.h"
#include "x86.h"

#define UW_INLINE static inline __attribute__((always_inline))

#define ROWS_COLS 4u   /* tile columns that are decoded at a time: 32 KB */
#define ROWS_BATCH 24u /* of the batch at a time: sums of 192 KB for a row block */
#define ROWS_SUMS 32u
#define ROWS_AHEAD 8u  /* tiles between the one that is decoded and the one that is prefetched */

struct rows_job {
	const struct uw_linear_dims *dims;
	const struct uw_linear_run *run;
	struct uw_linear_cols cols;
	const uint8_t *x;   /* [batch][tile column] ROWS_X_NBYTES */
	uint64_t n0, nb;    /* the part of the batch */
	uint16_t *weights;  /* decoded: [64][ROWS_COLS][64] */
	float *sums;        /* [64][nb][ROWS_SUMS] */
};

static void rows_pack_x(const uint16_t x[UW_TILE_COLS], uint8_t *to);
static float rows_total(const float sums[ROWS_SUMS]);
/* nrows rows, `ld` apart, of nk tile columns; `far`: they come from memory. */
static void rows_dots(const uint16_t *weights, size_t ld, uint32_t nrows, uint64_t nk, bool far, const uint8_t *x,
		      size_t x_ld, uint64_t nb, float *sums);

/* ---- x ---- */

static size_t rows_packed_nbytes(const struct uw_linear_dims *dims)
{
	return (size_t)(dims->batch * uw_linear_cols(dims).n) * ROWS_X_NBYTES;
}

static void rows_pack(const struct uw_linear_dims *dims, const void *x, enum uw_linear_type type, size_t ld,
		      uint64_t first, uint64_t end, void *packed)
{
	struct uw_linear_cols cols = uw_linear_cols(dims);
	uint8_t *to = (uint8_t *)packed + (size_t)(first * cols.n) * ROWS_X_NBYTES;

	for (uint64_t n = first; n < end; n++) {
		for (uint64_t k = 0; k < cols.n; k++, to += ROWS_X_NBYTES) {
			uint16_t part[UW_TILE_COLS] = { 0 };
			uint32_t begin, stop;

			uw_linear_edge(&cols, k, &begin, &stop);
			for (uint32_t c = begin; c < stop; c++)
				part[c] = uw_linear_x_at(x, type, n * ld + k * UW_TILE_COLS + c - cols.head);
			rows_pack_x(part, to);
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

UW_INLINE void rows_prefetch(const uint8_t *p, size_t ahead, size_t nbytes)
{
	for (size_t i = 0; i < nbytes; i += 64)
		_mm_prefetch((const char *)((uintptr_t)p + ahead + i), _MM_HINT_T0); /* may point anywhere */
}

static void rows_patch(struct uw_linear_chunk *at, uint32_t in_chunk, uint16_t *weights, size_t ld)
{
	struct uw_linear_patch patch;

	while (uw_linear_patch_next(at, in_chunk, &patch))
		weights[patch.row * ld + uw_linear_patch_col(&patch)] ^= patch.flip;
}

/* Zeros outside of the range in one tile column. */
static void rows_clip(uint16_t *weights, size_t ld, uint32_t begin, uint32_t end)
{
	for (uint32_t r = 0; r < UW_ROW_BLOCK; r++, weights += ld) {
		memset(weights, 0, begin * sizeof(*weights));
		memset(weights + end, 0, (UW_TILE_COLS - end) * sizeof(*weights));
	}
}

/* Tile column k of block b, `high` tiles, to 64 columns of job->weights. */
UW_INLINE void rows_decode(const struct rows_job *job, bool p4, struct uw_linear_chunk *chunk, uint64_t b, uint64_t k,
			   uint32_t high, uint16_t *weights)
{
	const struct uw_linear_run *run = job->run;
	const size_t ld = ROWS_COLS * UW_TILE_COLS, second = p4 ? UW_TILE_WEIGHTS / 2 : UW_TILE_WEIGHTS;
	uint64_t t = b * uw_linear_block_tiles(run->ncols) + (job->cols.first + k) * high;
	uint32_t begin, end;

	for (uint32_t w = 0; w < high; w++, t++) {
		uint16_t *to = weights + w * UW_TILE_ROWS * ld;
		const uint8_t *s = run->s + t * UW_TILE_WEIGHTS, *e = run->second + t * second;
		bool patched = uw_linear_chunk_seek(chunk, t);

		rows_prefetch(s, ROWS_AHEAD * UW_TILE_WEIGHTS, UW_TILE_WEIGHTS);
		rows_prefetch(e, ROWS_AHEAD * second, second);
		if (p4)
			rows_decode_p4(to, ld, s, e, chunk->pairs, UW_STORE_CACHED);
		else
			rows_decode_e8(to, ld, s, e, UW_STORE_CACHED);
		if (patched)
			rows_patch(chunk, (uint32_t)((chunk->first_tile + t) % UW_CHUNK_TILES), to, ld);
	}
	if (uw_linear_edge(&job->cols, k, &begin, &end))
		rows_clip(weights, ld, begin, end);
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
	rows_clip(job->weights, UW_TILE_COLS, begin, end);
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
	struct rows_job job = { dims, run, uw_linear_cols(dims), packed, 0, 0, scratch,
				(float *)(void *)((uint8_t *)scratch + weights_nbytes) };

	for (job.n0 = 0; job.n0 < dims->batch; job.n0 += job.nb) {
		struct uw_linear_chunk chunk;

		job.nb = dims->batch - job.n0 < ROWS_BATCH ? dims->batch - job.n0 : ROWS_BATCH;
		uw_linear_chunk_start(&chunk, run);
		for (uint64_t b = 0; b < run->nblocks; b++) {
			uint32_t nrows = uw_linear_block_rows(run, b);
			float *to = y + job.n0 * ld + b * UW_ROW_BLOCK;

			memset(job.sums, 0, nrows * (size_t)job.nb * ROWS_SUMS * sizeof(float));
			if (source == UW_LINEAR_RAW)
				rows_raw_block(&job, b);
			else
				rows_coded_block(&job, source == UW_LINEAR_P4, &chunk, b);
			for (uint64_t n = 0; n < job.nb; n++) {
				for (uint32_t r = 0; r < nrows; r++)
					to[n * ld + r] = uw_linear_result(
						rows_total(job.sums + (r * job.nb + n) * ROWS_SUMS));
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
