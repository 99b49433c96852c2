/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The compute kernels of y = W x: rows of BF16 weights, stored in one of three ways, times a batch of activations.
 *
 *   y[n][r] = sum over columns c of W[r][c] x[n][c],  n < batch, x rounded to BF16 first, sums in FP32
 *
 * A kernel is a packed form of x and a loop for each source. Use: choose a kernel, pack x once, then call gemm for
 * each run of row blocks, from as many threads as there are runs.
 *
 * What holds for every kernel, and is tested:
 *  - P4, E8 and RAW give the same bits for the same weights: they add in the same order. Different kernels add in
 *    different orders.
 *  - A result depends on its row of weights, its row of x and the column range alone: not on the batch, the other
 *    rows, or how rows are cut into runs. So one kernel for every batch size is batch invariant.
 *  - A NaN is always 0x7FC00000. Otherwise values are those of IEEE arithmetic in the default environment, but the
 *    kernels "avx512bf16" and "amx" take subnormal weights, activations and sums for zeros of their sign.
 *  - Weights outside of the column range have no influence, whatever they are; so has the padding of tiles.
 *
 * Kernels allocate nothing, do no I/O and use no globals; any number may run at once on distinct y and scratch.
 * Buffers do not overlap. Alignment is that of the type unless a line says more. No byte outside the described arrays
 * is read or written.
 */
#ifndef UNWEIGHT_LINEAR_OPS_H
#define UNWEIGHT_LINEAR_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UW_ROW_BLOCK 64u /* rows of a row block: what kernels work on, and the unit in which rows are cut into runs */
#define UW_MAX_BATCH 4096u
#define UW_PACK_ROWS 16u /* rows of x that are packed together */

/* How weights are stored. */
enum uw_linear_source {
	UW_LINEAR_P4,  /* S plane, and nibble plane with palettes */
	UW_LINEAR_E8,  /* S plane, and one exponent byte a weight in position order, as uw_huff_decode_fn gives them */
	UW_LINEAR_RAW, /* row-major BF16 */
};

#define UW_LINEAR_NSOURCES 3u

enum uw_linear_type {
	UW_LINEAR_BF16, /* uint16_t */
	UW_LINEAR_F32,  /* float; rounded to BF16, nearest even */
};

/* What is multiplied: x has col_end - col_begin columns, the first one meeting column col_begin of the weights.
 * 1 <= batch <= UW_MAX_BATCH, col_begin < col_end <= ncols of the weights. */
struct uw_linear_dims {
	uint64_t batch;
	uint64_t col_begin, col_end;
};

/*
 * Row blocks first_block .. first_block + nblocks of a group in tiled order (SPEC.md section 5), or of a row-major
 * matrix. At least one block, and every one has a row: 64 (first_block + nblocks - 1) < nrows. The last one of the
 * group may have fewer rows than 64.
 */
struct uw_linear_run {
	uint64_t nrows, ncols; /* of the whole group */
	uint64_t first_block, nblocks;

	/* RAW: first row of first_block; rows are `ld` weights apart, ld >= ncols. May be NULL otherwise. */
	const uint16_t *weights;
	size_t ld;

	/* P4, E8: the planes from the first tile of first_block on, tile by tile: 1024 bytes each of S and, in second,
	 * 512 (nibbles) or 1024 (exponents). Fastest if aligned to 64. */
	const uint8_t *s;
	const uint8_t *second;

	/*
	 * P4, E8: of the whole group, as in struct uw_coded, checked by uw_coded_open. `tables` is for P4 only.
	 * chunk_words NULL (E8 only): there are no patches, or they are already in the exponents.
	 */
	const struct uw_table *tables;
	const uint8_t *chunk_words;
	const uint8_t *patches;
	uint64_t nchunks;
	uint32_t npatches;
};

/* Sizes in bytes of packed x, and of the scratch memory of one call of gemm. */
typedef size_t (*uw_linear_nbytes_fn)(const struct uw_linear_dims *dims);

/*
 * Packs rows first .. end of x: x[n * ld + c] is row n of the batch, column col_begin + c. `first` is a multiple of
 * UW_PACK_ROWS, `end` is another one or the batch. All of [0, batch) have to be packed before gemm; calls for distinct
 * ranges may run at once. `packed` is aligned to 64; nothing but this table's gemm knows its contents.
 */
typedef void (*uw_linear_pack_fn)(const struct uw_linear_dims *dims, const void *x, enum uw_linear_type type,
				  size_t ld, uint64_t first, uint64_t end, void *packed);

/*
 * y[n * ld + r], n < batch, is overwritten with the product of row n of x and row r of the run, in stored order:
 * r = 0 is the first row of first_block. Rows from nrows on are not written. `scratch` is aligned to 64, its contents
 * do not matter before and after.
 */
typedef void (*uw_linear_gemm_fn)(const struct uw_linear_dims *dims, const struct uw_linear_run *run,
				  const void *packed, float *y, size_t ld, void *scratch);

struct uw_linear_kernel {
	const char *name;
	uint64_t min_batch; /* from here on it is the fastest of its table; it serves every batch */
	uw_linear_nbytes_fn packed_nbytes;
	uw_linear_nbytes_fn scratch_nbytes;
	uw_linear_pack_fn pack;
	uw_linear_gemm_fn gemm[UW_LINEAR_NSOURCES]; /* by enum uw_linear_source */
};

#define UW_LINEAR_MAX_KERNELS 2u

/* What a CPU level has: kernels by ascending min_batch, that of the first one being 1. */
struct uw_linear_ops {
	uint32_t nkernels;
	struct uw_linear_kernel kernels[UW_LINEAR_MAX_KERNELS];
};

/* One kernel, "c": portable C, which works on any machine. */
void uw_linear_ops_init_c(struct uw_linear_ops *ops);

/* The kernels for these levels (enum uw_cpu_flag). */
void uw_linear_ops_init(struct uw_linear_ops *ops, uint32_t cpu_flags);

/* The fastest kernel for a batch; or, if results must not depend on the batch, one and the same for all of them. */
const struct uw_linear_kernel *uw_linear_choose(const struct uw_linear_ops *ops, uint64_t batch, bool batch_invariant);

/* All rows of a checked group of coding P4 in tiled order; shares its memory and that of its tables. */
static inline struct uw_linear_run uw_linear_run_of(const struct uw_coded *coded)
{
	struct uw_linear_run run = {
		.nrows = coded->shape.nrows,
		.ncols = coded->shape.ncols,
		.nblocks = (coded->shape.nrows + UW_ROW_BLOCK - 1) / UW_ROW_BLOCK,
		.s = coded->s,
		.second = coded->e,
		.tables = coded->tables,
		.chunk_words = coded->chunk_words,
		.patches = coded->patches,
		.nchunks = coded->shape.nchunks,
		.npatches = coded->npatches,
	};

	return run;
}

/* Tiles of a full row block; the planes of block first_block + b begin b times that many tiles in. */
static inline uint64_t uw_linear_block_tiles(uint64_t ncols)
{
	return (ncols + UW_TILE_COLS - 1) / UW_TILE_COLS * (UW_ROW_BLOCK / UW_TILE_ROWS);
}

#ifdef __cplusplus
}
#endif
#endif
