/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes that the kernels and the host's planning agree on; C and C++. `source`: enum uw_linear_source. */
#ifndef UW_GEMM_LAYOUT_H
#define UW_GEMM_LAYOUT_H

#include "unweight/gpu_gemm.h"

/* Whether a launch begins before the one ahead has ended: see `early`. Numbers of rows on the device may come of that. */
static inline bool uw_gpu_gemm_begins_early(const struct uw_gpu_gemm *gemm)
{
	return gemm->early && gemm->config.kernel == UW_GPU_GEMM_WGMMA && gemm->offsets_dev == NULL;
}

#define UW_BLOCK_TILES 4u /* tiles of a row block, one below the other */
#define UW_TILE_BLOCKS 2u /* row blocks of a tile of y */
#define UW_TILE_WARPS (UW_BLOCK_TILES * UW_TILE_BLOCKS)
#define UW_ROW_TILE (UW_ROW_BLOCK * UW_TILE_BLOCKS)

#define UW_X_ROW_NBYTES 128u /* 64 columns of x */
#define UW_OVERLAY_NBYTES 2048u
#define UW_INFO_NBYTES 16u

/* Of a row block's 64 columns: S plane and nibbles, S plane and exponents, rows. */
#define UW_WEIGHTS_NBYTES(source) ((source) == UW_LINEAR_P4 ? 6144u : 8192u)
#define UW_OVERLAYS_NBYTES(source) ((source) == UW_LINEAR_RAW ? 0u : UW_TILE_WARPS * UW_OVERLAY_NBYTES)

/* ---- wgmma ---- */

#define UW_SIDE_NBYTES 1024u
#define UW_SIDE_PATCHES_NBYTES 448u /* of a row block, behind the infos */
#define UW_WGMMA_MIN_STAGES 3u
#define UW_WGMMA_MAX_STAGES 16u

#define UW_WGMMA_STAGE_NBYTES(source, tile_n) \
	((tile_n) * UW_X_ROW_NBYTES + UW_TILE_BLOCKS * UW_WEIGHTS_NBYTES(source) + \
	 ((source) == UW_LINEAR_RAW ? 0u : UW_SIDE_NBYTES))
/* Behind the stages: overlays, barriers. */
#define UW_WGMMA_FIXED_NBYTES(source) (UW_OVERLAYS_NBYTES(source) + 2u * 8u * UW_WGMMA_MAX_STAGES)

/*
 * A quarter of a multiprocessor has 16384 registers, so of 9 warps each can have 168 a lane, of 18 (two blocks) 96. With
 * tile_n 256 that is not enough: there are three warps more, which end at once, so that a whole warpgroup can leave
 * registers to the other two.
 */
#define UW_WGMMA_THREADS(tile_n) ((tile_n) == 256 ? 384u : 288u)
#define UW_WGMMA_MAX_BLOCKS(tile_n) ((tile_n) <= 64 ? 2u : 1u)

/*
 * Registers a lane with tile_n 256: all at the launch, then the warpgroup that fetches and those that multiply. A block
 * has no more than it was launched with: who asks for more than others left waits for ever.
 */
#define UW_WGMMA_LAUNCH_REGISTERS 168u
#define UW_WGMMA_FETCH_REGISTERS 56u
#define UW_WGMMA_MULTIPLY_REGISTERS 224u
#ifdef __cplusplus
static_assert(UW_WGMMA_FETCH_REGISTERS + 2 * UW_WGMMA_MULTIPLY_REGISTERS <= 3 * UW_WGMMA_LAUNCH_REGISTERS,
	      "one warpgroup leaves what two take");
#endif

/* ---- mma ---- */

#define UW_MMA_THREADS 256u
#define UW_MMA_MIN_STAGES 2u
#define UW_MMA_MAX_STAGES 4u

#define UW_MMA_STAGE_NBYTES(source, tile_n) \
	((tile_n) * UW_X_ROW_NBYTES + UW_TILE_BLOCKS * UW_WEIGHTS_NBYTES(source))
#define UW_MMA_FIXED_NBYTES(source) UW_OVERLAYS_NBYTES(source)
#define UW_MMA_MAX_BLOCKS(tile_n) ((tile_n) <= 64 ? 2u : 1u)
#endif
