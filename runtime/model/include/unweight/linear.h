/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x on weights that stay compressed.
 *
 *   uw_pool_create(nthreads, &pool, err)
 *   uw_linear_create(model, parts, nparts, &options, &linear, err)     // once for each layer's gate+up, q+k+v, ...
 *   scratch = aligned_alloc(64, uw_linear_scratch_nbytes(linear, max_batch, nthreads))
 *   uw_linear_run(linear, pool, &args, err)                            // as often as there are tokens
 *   uw_linear_free(&linear), uw_pool_free(&pool)
 *
 * A linear is immutable: any number of threads may run it at once, each with a pool and scratch memory of its own. It
 * borrows the model, whose mapping its weights lie in; it owns what its pipelines make of them beforehand.
 *
 * Same bits. Within one CPU level and kernel, all pipelines give the same bits as multiplying by the weights in BF16
 * (UW_PIPELINE_RAW), whatever the number of threads. Kernels differ in the order of their sums, and which one runs
 * depends on the batch, unless `batch_invariant` asks for one and the same. Kernels of other CPU levels may differ in
 * the last bits. See linear_ops.h for NaN and subnormal values.
 */
#ifndef UNWEIGHT_LINEAR_H
#define UNWEIGHT_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/status.h"
#include "unweight/unweight.h"

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* ---- threads ------------------------------------------------------------------------------- */

/* Threads that multiply. One uw_linear_run at a time; create and free from one thread. */
struct uw_pool;

/* `nthreads` counts the one that calls uw_linear_run: with 1 no thread is created. At most 1024. */
UW_MUST_CHECK enum uw_status uw_pool_create(unsigned nthreads, struct uw_pool **pool, struct uw_error *err);
unsigned uw_pool_nthreads(const struct uw_pool *pool);
void uw_pool_free(struct uw_pool **pool); /* joins; NULL inside is fine */

/* ---- how ----------------------------------------------------------------------------------- */

/* Values are pinned: tuning files name them, other languages use them. */
enum uw_pipeline {
	UW_PIPELINE_AUTO = 0,      /* as the tuning says, or else the defaults */
	UW_PIPELINE_RAW = 1,       /* BF16 in memory, decoded once at uw_linear_create: 2 bytes a weight of memory */
	UW_PIPELINE_DECODE = 2,    /* each run decodes row blocks to BF16 in the cache, then multiplies */
	UW_PIPELINE_EXPONENT = 3,  /* each run decodes exponents only; weights are put together in registers */
	UW_PIPELINE_TRANSCODE = 4, /* Huffman streams become palette codes once (1/2 byte a weight); then as PALETTE */
	UW_PIPELINE_PALETTE = 5,   /* palette codes as they lie in the bundle */
};
#define UW_NPIPELINES 6

/* "auto", "raw", ...; NULL for other values. */
const char *uw_pipeline_name(enum uw_pipeline pipeline);
/* False: no pipeline has that name. */
bool uw_pipeline_of_name(const char *name, enum uw_pipeline *pipeline);

struct uw_tuning; /* tuning.h */

/*
 * Zero is the default of every member. A pipeline that a group of weights does not admit (PALETTE without palette
 * codes, EXPONENT and TRANSCODE without Huffman streams) is replaced for that group: PALETTE by TRANSCODE or the
 * other way round, EXPONENT by PALETTE; groups stored as they are, or as zstd frames, are always RAW.
 */
struct uw_linear_options {
	enum uw_pipeline pipeline;
	const struct uw_tuning *tuning; /* copied from; NULL: the defaults */
	bool require_bitexact;          /* only pipelines whose bits are those of RAW. Today these are all */
	bool batch_invariant;           /* the bits of a row of y do not depend on the batch */
};

/* One matrix: rows row_begin .. row_end and columns col_begin .. col_end of matrix number `expert` of a tensor of two
 * and more dimensions (expert: index over all leading dimensions; 0 if there are two). row_end or col_end 0: to the
 * end. Cuts may lie anywhere. */
struct uw_linear_part {
	const struct uw_tensor *tensor;
	uint64_t expert;
	uint64_t row_begin, row_end;
	uint64_t col_begin, col_end;
};

struct uw_linear;

/*
 * Prepares `nparts` matrices that are multiplied with the same x: all have the same number of columns. Decodes and
 * checks what the chosen pipelines want beforehand; touches weights only for that. UW_ERR_SHAPE: columns differ, a
 * cut is empty or outside; UW_ERR_UNSUPPORTED: a tensor is not BF16 or has one dimension.
 */
UW_MUST_CHECK enum uw_status uw_linear_create(const struct uw_model *model, const struct uw_linear_part *parts,
					      size_t nparts, const struct uw_linear_options *options,
					      struct uw_linear **linear, struct uw_error *err);
void uw_linear_free(struct uw_linear **linear); /* NULL inside is fine */

/* Rows of y of part i, columns of x. */
uint64_t uw_linear_nrows(const struct uw_linear *linear, size_t part);
uint64_t uw_linear_ncols(const struct uw_linear *linear);
/* Bytes of memory the linear owns, and bytes of weights one run reads. */
uint64_t uw_linear_owned_nbytes(const struct uw_linear *linear);
uint64_t uw_linear_read_nbytes(const struct uw_linear *linear, uint64_t batch);
/* Which pipeline serves a batch (that of the first group of part i). */
enum uw_pipeline uw_linear_pipeline(const struct uw_linear *linear, size_t part, uint64_t batch);

/* ---- running ------------------------------------------------------------------------------- */

#define UW_LINEAR_MAX_BATCH 4096u

/*
 * x: `batch` rows of ncols values, `ldx` values from row to row. y[i]: `batch` rows for part i, of
 * uw_linear_nrows(linear, i) values, ldy[i] values from row to row. Types are UW_DTYPE_BF16 (uint16_t) or
 * UW_DTYPE_F32 (float), in the machine's byte order. FP32 x is rounded to BF16 first, sums are FP32, BF16 y is
 * rounded at the end; all to nearest even. Natural alignment. x, y and scratch do not overlap.
 */
struct uw_linear_args {
	const void *x;
	uint8_t x_dtype;
	size_t ldx;
	uint64_t batch;       /* 1 to UW_LINEAR_MAX_BATCH */
	void *const *y;
	uint8_t y_dtype;
	const size_t *ldy;
	void *scratch;        /* aligned to 64 */
	size_t scratch_nbytes;
};

/* Scratch memory for every batch up to `max_batch`. */
size_t uw_linear_scratch_nbytes(const struct uw_linear *linear, uint64_t max_batch, unsigned nthreads);

/*
 * Allocates nothing, reads no files but the model's mapping. UW_ERR_ARG: batch, types, alignment; UW_ERR_SPACE:
 * scratch memory is too small; UW_ERR_BITS: a Huffman stream is corrupt (pipelines DECODE and EXPONENT read them in
 * every run), y is then undefined.
 */
UW_MUST_CHECK enum uw_status uw_linear_run(const struct uw_linear *linear, struct uw_pool *pool,
					   const struct uw_linear_args *args, struct uw_error *err);

/*
 * Experts: part e of the linear multiplies rows first[e] .. first[e + 1] of x, into the same rows of y[0] (first[0]
 * is 0, first[nparts] is the batch; experts without rows cost nothing). All parts have the same number of rows.
 */
UW_MUST_CHECK enum uw_status uw_linear_run_experts(const struct uw_linear *linear, struct uw_pool *pool,
						   const struct uw_linear_args *args, const uint64_t *first,
						   struct uw_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
