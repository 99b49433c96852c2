/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x on a CUDA device, from coded weights that are put together on their way into the matrix instructions.
 *
 *   y[n][m] = sum over k of W[m][k] x[n][k]        x BF16, sums in FP32, y FP32 or rounded to BF16 once
 *
 * To multiply: describe each group (uw_gpu_gemm_group_init), from these each matrix (uw_gpu_matrix_init, _init_raw), and
 * a launch over one or more matrices with the same x (uw_gpu_gemm_init). Copy the descriptors to the device, zero the
 * workspace once, set x, y and the workspace in the launch, launch as often as you like.
 *
 * What is identical to what:
 *  - The weights that enter the sums are the original ones, bit for bit, whatever the source: escapes, NaN, infinities
 *    and zeros of either sign too. Padding has no influence.
 *  - With the same config, number of rows of x and kind of kernel, P4, E8 and RAW give the same bits: they differ in
 *    nothing but where a weight comes from.
 *  - The same launch gives the same bits each time, on any device with the same config, also when others run beside it:
 *    no float atomics, partial sums are added in the order of k.
 *  - The order of a row's sum depends on `tile_n`, `parts` and, where `parts` is 0, on the number of blocks and the
 *    number of rows of x. With `parts` > 0, neither other rows of x nor other rows of W nor the number of blocks have an
 *    influence; with one and the same tile_n besides (config_init with batch_invariant), a row of x gives the same bits
 *    in every batch.
 *  - cuBLAS adds in other orders: equality with it is not promised. Nor is it between kernels for different hardware.
 *  - A NaN is any NaN: which payload a sum has is the hardware's matter.
 *
 * A launch allocates nothing, does not wait and keeps no state outside of its workspace: it can be captured in a graph.
 * Launches that may run at the same time need workspaces of their own.
 */
#ifndef UNWEIGHT_GPU_GEMM_H
#define UNWEIGHT_GPU_GEMM_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "unweight/codec.h"
#include "unweight/linear_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUstream_st; /* cudaStream_t, without CUDA's headers */

/* ---- what is multiplied ---- */

/* One group in tiled order, as the kernels read it. Plain data, the same on host and device; 64 bytes. */
struct uw_gpu_gemm_group {
	const uint8_t *tables_dev;
	const uint64_t *words_dev;
	const uint32_t *patches_dev;
	const uint8_t *s_dev;
	const uint8_t *e_dev;      /* P4: 512 bytes a tile; E8: 1024 */
	const uint16_t *order_dev; /* row i of the planes is row order[i] of the group; NULL: row i */
	uint32_t nchunks;
	uint32_t npatches;
	uint32_t nrows;
	uint32_t ncols;
};

/* One matrix. Plain data, the same on host and device; 192 bytes, aligned to 64. */
struct uw_gpu_matrix {
	alignas(64) uint64_t map[16]; /* RAW on wgmma: the tensor map of weights_dev */
	const struct uw_gpu_gemm_group *groups_dev;
	const uint16_t *weights_dev; /* RAW: row-major */
	uint64_t weights_ld;         /* in weights */
	uint64_t y_off;              /* set by the caller: where this matrix's part of y begins, in values from y_dev */
	uint32_t nrows;
	uint32_t ncols;
	uint32_t group_blocks;       /* row blocks of each group but the last */
	uint32_t ngroups;
	uint32_t source;             /* enum uw_linear_source */
	uint32_t bucket;             /* set by the caller: which rows of x, see struct uw_gpu_gemm */
	uint32_t reserved[2];
};

/*
 * Describes a group that uw_coded_open has accepted and whose stored bytes are at `stored_dev` on the device.
 * Coding P4: plane_dev is NULL. Coding H: plane_dev is what uw_gpu_transcode_h or uw_gpu_exponents_h made of it; the
 * group is then of source P4 or E8. UW_ERR_ARG: not in tiled order, not aligned to 16, or a plane too many or missing.
 */
UW_MUST_CHECK enum uw_status uw_gpu_gemm_group_init(const struct uw_coded *coded, const uint8_t *stored_dev,
						    const uint8_t *plane_dev, struct uw_gpu_gemm_group *group);

/*
 * A matrix of groups, one below the other as a container has them: all of the same columns, all but the last of the
 * same rows, a multiple of 64. groups_dev: where groups[] will be on the device; aligned to 16. A matrix of which some
 * group is stored RAW has to be decoded and multiplied as RAW. y_off and bucket become 0. UW_ERR_ARG: anything else.
 */
UW_MUST_CHECK enum uw_status uw_gpu_matrix_init(const struct uw_gpu_gemm_group *groups, uint32_t ngroups,
						const struct uw_gpu_gemm_group *groups_dev, enum uw_linear_source source,
						struct uw_gpu_matrix *matrix);

/* A row-major matrix of BF16. weights_dev is aligned to 16, ld a multiple of 8 and at least ncols; else UW_ERR_ARG. */
UW_MUST_CHECK enum uw_status uw_gpu_matrix_init_raw(const uint16_t *weights_dev, uint64_t ld, uint64_t nrows,
						    uint64_t ncols, struct uw_gpu_matrix *matrix);

/* ---- how ---- */

enum uw_gpu_gemm_kernel {
	UW_GPU_GEMM_MMA,   /* sm_80 and everything later */
	UW_GPU_GEMM_WGMMA, /* sm_90 alone */
};

struct uw_gpu_device {
	uint32_t nsms;
	uint32_t capability;    /* 90: 9.0 */
	uint32_t shared_nbytes; /* shared memory of a multiprocessor */
};

/* Part of what the result's bits depend on. A tuner may keep it; the fields are its search space. */
struct uw_gpu_gemm_config {
	uint32_t kernel;        /* enum uw_gpu_gemm_kernel */
	uint32_t tile_n;        /* rows of x in a tile: 8, 16, 32, 64, 128; wgmma: 256 too */
	uint32_t blocks_per_sm; /* 1 or 2; 1 from tile_n 128 on */
	uint32_t parts;         /* 0: tiles are cut where equal shares of the blocks end; else each into so many in k */
	uint32_t nblocks;       /* of the launch */
};

#define UW_GPU_GEMM_FEW 3u /* matrices that travel with the launch */

/*
 * One launch: over matrices that share x, such as gate and up, or q, k and v; or over the experts of a layer. Filled by
 * uw_gpu_gemm_init but for the part that the caller sets, which may change from launch to launch.
 *
 * offsets_dev NULL: every matrix meets all rows of x. Otherwise nbuckets + 1 ascending numbers on the device, the last
 * one at most nx: a matrix meets rows offsets[bucket] .. offsets[bucket + 1] of x, and writes the same rows of y.
 */
struct uw_gpu_gemm {
	struct uw_gpu_matrix few[UW_GPU_GEMM_FEW]; /* the matrices, if there are no more */
	const struct uw_gpu_matrix *matrices_dev;

	/* set by the caller */
	const uint16_t *x_dev;       /* row-major BF16, nx rows; aligned to 16 */
	uint64_t x_ld;               /* in values; a multiple of 8, at least the matrices' ncols */
	void *y_dev;                 /* row n begins at y_dev + n * y_ld; aligned to its type */
	uint64_t y_ld;
	void *workspace_dev;         /* workspace_nbytes, aligned to 256, zeroed once; NULL if there are none */
	const uint32_t *offsets_dev;
	uint32_t y_type;             /* enum uw_linear_type */
	uint32_t early;              /* 1: begin to read weights before the launch ahead in the stream has ended; it must
				      * not be writing them. No effect with offsets_dev */

	struct uw_gpu_gemm_config config;
	uint64_t workspace_nbytes;
	uint64_t counters_nbytes;    /* at the beginning of the workspace; zero before and after each launch */
	uint32_t nmatrices;
	uint32_t source;             /* of all matrices */
	uint32_t nx;
	uint32_t ncols;
	uint32_t nbuckets;
	uint32_t row_tiles;          /* of all matrices */
	uint32_t shared_nbytes;
	uint32_t nstages;
};

/* What suits a matrix of these dimensions and `nx` rows of x. batch_invariant: the same order of sums for every nx. */
UW_MUST_CHECK enum uw_status uw_gpu_gemm_config_init(const struct uw_gpu_device *device, uint64_t nrows, uint64_t ncols,
						     uint64_t nx, bool batch_invariant,
						     struct uw_gpu_gemm_config *config);

/* UW_ERR_ARG: no kernel serves the config on this device, whatever the source. */
UW_MUST_CHECK enum uw_status uw_gpu_gemm_config_check(const struct uw_gpu_device *device,
						      const struct uw_gpu_gemm_config *config);

/*
 * Plans one launch over matrices[] for nx rows of x. nbuckets: 0, or how many there are in
 * offsets_dev. matrices_dev: where matrices[] will be on the device, aligned to 64; may be NULL if there are at most 3.
 * UW_ERR_ARG: matrices of different sources or columns, a bucket that there is not, buckets that do not ascend from
 * matrix to matrix, a config that no kernel serves, or more than 2^31 pieces of work.
 */
UW_MUST_CHECK enum uw_status uw_gpu_gemm_init(const struct uw_gpu_device *device,
					      const struct uw_gpu_gemm_config *config,
					      const struct uw_gpu_matrix *matrices,
					      uint32_t nmatrices, const struct uw_gpu_matrix *matrices_dev, uint64_t nx,
					      uint32_t nbuckets, struct uw_gpu_gemm *gemm);

/* ---- on the device; UW_ERR_NO_DEVICE: there is none, or none that this build has code for ---- */

UW_MUST_CHECK enum uw_status uw_gpu_device_init(int number, struct uw_gpu_device *device);

/*
 * Loads the kernels of one kind: once for each device before it launches one of them, not in a capture. Without it
 * uw_gpu_gemm says UW_ERR_DEVICE.
 */
UW_MUST_CHECK enum uw_status uw_gpu_gemm_preload(enum uw_gpu_gemm_kernel kind);

/* Fills matrix->map of a RAW matrix for wgmma: after uw_gpu_matrix_init_raw, before uw_gpu_gemm_init. */
UW_MUST_CHECK enum uw_status uw_gpu_matrix_map(struct uw_gpu_matrix *matrix);

/* Launches. UW_ERR_ARG: x, y or workspace break the rules above; UW_ERR_DEVICE: anything else that the launch reports. */
UW_MUST_CHECK enum uw_status uw_gpu_gemm(const struct uw_gpu_gemm *gemm, struct CUstream_st *stream);

/* ---- rows of an embedding ---- */

/*
 * y[i][..] = row rows[i] of a matrix of any source, as BF16: i below nrows, ncols values, y_ld >= ncols from row to row.
 * matrix: the host's descriptor. A number that is not below the matrix's nrows gives a row of zeros.
 */
UW_MUST_CHECK enum uw_status uw_gpu_gather_preload(void); /* as uw_gpu_gemm_preload, but optional */
UW_MUST_CHECK enum uw_status uw_gpu_gather(const struct uw_gpu_matrix *matrix, const uint32_t *rows_dev, uint32_t nrows,
					   uint16_t *y_dev, uint64_t y_ld, struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif
#endif
