/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of unweight/gpu_gemm.h: descriptors and plans. Needs nothing of CUDA. */
#include <string.h>

#include "gemm_layout.h"

/* Hosts of 32 bits have no CUDA. */
_Static_assert(sizeof(struct uw_gpu_gemm_group) == 64 || sizeof(void *) != 8,
	       "device code and host code agree on the group");
_Static_assert(sizeof(struct uw_gpu_matrix) == 192 || sizeof(void *) != 8,
	       "device code and host code agree on the matrix");

#define VECTOR_ALIGN 16u
#define MAX_UNITS (UINT64_C(1) << 31)
#define RESERVED_SHARED 1024u   /* of a block, for the system */
#define WORKSPACE_ALIGN 256u
#define INVARIANT_TILE_N 64u
#define INVARIANT_UNITS 16u     /* of a part, at least */
#define WAVES_WITHOUT_CUTS 8u   /* from so many tiles a block on, whole tiles cost less than cut ones */

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

static uint64_t align_up(uint64_t a, uint64_t to)
{
	return ceil_div(a, to) * to;
}

enum uw_status uw_gpu_gemm_group_init(const struct uw_coded *coded, const uint8_t *stored_dev, const uint8_t *plane_dev,
				      struct uw_gpu_gemm_group *group)
{
	const uint8_t *e_dev = stored_dev + coded->head_nbytes; /* the head may be a copy: no difference of pointers */

	if (coded->shape.order != UW_ORDER_TILED || (uintptr_t)stored_dev % VECTOR_ALIGN != 0 ||
	    (uintptr_t)plane_dev % VECTOR_ALIGN != 0 || (coded->coding == UW_CODING_P4) != (plane_dev == NULL))
		return UW_ERR_ARG;
	*group = (struct uw_gpu_gemm_group){
		.tables_dev = stored_dev,
		.words_dev = (const uint64_t *)(const void *)(stored_dev + (coded->chunk_words - coded->head)),
		.patches_dev = (const uint32_t *)(const void *)(stored_dev + (coded->patches - coded->head)),
		.s_dev = e_dev + coded->e_nbytes,
		.e_dev = plane_dev != NULL ? plane_dev : e_dev,
		.order_dev = coded->row_order != NULL
				     ? (const uint16_t *)(const void *)(stored_dev + (coded->row_order - coded->head))
				     : NULL,
		.nchunks = (uint32_t)coded->shape.nchunks,
		.npatches = coded->npatches,
		.nrows = (uint32_t)coded->shape.nrows,
		.ncols = (uint32_t)coded->shape.ncols,
	};
	return UW_OK;
}

enum uw_status uw_gpu_matrix_init(const struct uw_gpu_gemm_group *groups, uint32_t ngroups,
				  const struct uw_gpu_gemm_group *groups_dev, enum uw_linear_source source,
				  struct uw_gpu_matrix *matrix)
{
	uint64_t nrows = 0;

	if (ngroups == 0 || (source != UW_LINEAR_P4 && source != UW_LINEAR_E8) ||
	    (uintptr_t)groups_dev % VECTOR_ALIGN != 0)
		return UW_ERR_ARG;
	for (uint32_t i = 0; i < ngroups; i++) {
		const struct uw_gpu_gemm_group *group = &groups[i];

		if (group->ncols != groups[0].ncols || group->nrows == 0 || group->nrows > groups[0].nrows)
			return UW_ERR_ARG;
		if (i + 1 < ngroups && (group->nrows != groups[0].nrows || group->nrows % UW_ROW_BLOCK != 0))
			return UW_ERR_ARG;
		nrows += group->nrows;
	}
	if (nrows > INT32_MAX)
		return UW_ERR_ARG;
	*matrix = (struct uw_gpu_matrix){
		.groups_dev = groups_dev,
		.nrows = (uint32_t)nrows,
		.ncols = groups[0].ncols,
		.group_blocks = (uint32_t)ceil_div(groups[0].nrows, UW_ROW_BLOCK),
		.ngroups = ngroups,
		.source = (uint32_t)source,
	};
	return UW_OK;
}

enum uw_status uw_gpu_matrix_init_raw(const uint16_t *weights_dev, uint64_t ld, uint64_t nrows, uint64_t ncols,
				      struct uw_gpu_matrix *matrix)
{
	if ((uintptr_t)weights_dev % VECTOR_ALIGN != 0 || ld % 8 != 0 || ld < ncols || nrows == 0 || ncols == 0 ||
	    nrows > INT32_MAX || ld > INT32_MAX)
		return UW_ERR_ARG;
	*matrix = (struct uw_gpu_matrix){
		.weights_dev = weights_dev,
		.weights_ld = ld,
		.nrows = (uint32_t)nrows,
		.ncols = (uint32_t)ncols,
		.source = UW_LINEAR_RAW,
	};
	return UW_OK;
}

/* ---- plans ---- */

static bool is_tile_n(const struct uw_gpu_gemm_config *config)
{
	uint32_t n = config->tile_n;

	return n >= 8 && n <= (config->kernel == UW_GPU_GEMM_WGMMA ? 256u : 128u) && (n & (n - 1)) == 0;
}

static uint32_t max_blocks(uint32_t kernel, uint32_t tile_n)
{
	return kernel == UW_GPU_GEMM_WGMMA ? UW_WGMMA_MAX_BLOCKS(tile_n) : UW_MMA_MAX_BLOCKS(tile_n);
}

/* Sets nstages and shared_nbytes: as many stages as there is room for. False: too few. */
static bool plan_shared(const struct uw_gpu_device *device, struct uw_gpu_gemm *gemm)
{
	const struct uw_gpu_gemm_config *config = &gemm->config;
	bool wgmma = config->kernel == UW_GPU_GEMM_WGMMA;
	uint32_t stage = wgmma ? UW_WGMMA_STAGE_NBYTES(gemm->source, config->tile_n)
			       : UW_MMA_STAGE_NBYTES(gemm->source, config->tile_n);
	uint32_t fixed = wgmma ? UW_WGMMA_FIXED_NBYTES(gemm->source) : UW_MMA_FIXED_NBYTES(gemm->source);
	uint32_t most = wgmma ? UW_WGMMA_MAX_STAGES : UW_MMA_MAX_STAGES;
	uint32_t room = device->shared_nbytes / config->blocks_per_sm;

	if (room < fixed + RESERVED_SHARED)
		return false;
	gemm->nstages = (room - fixed - RESERVED_SHARED) / stage;
	if (gemm->nstages > most)
		gemm->nstages = most;
	gemm->shared_nbytes = fixed + gemm->nstages * stage;
	return gemm->nstages >= (wgmma ? UW_WGMMA_MIN_STAGES : UW_MMA_MIN_STAGES);
}

enum uw_status uw_gpu_gemm_config_check(const struct uw_gpu_device *device, const struct uw_gpu_gemm_config *config)
{
	/* E8 needs most of it: whether there is room must not depend on the source */
	struct uw_gpu_gemm gemm = { .config = *config, .source = UW_LINEAR_E8 };

	if (config->kernel > UW_GPU_GEMM_WGMMA || !is_tile_n(config) || config->nblocks == 0 ||
	    config->blocks_per_sm == 0 || config->blocks_per_sm > max_blocks(config->kernel, config->tile_n) ||
	    (config->kernel == UW_GPU_GEMM_WGMMA && device->capability != 90) || device->capability < 80 ||
	    !plan_shared(device, &gemm))
		return UW_ERR_ARG;
	return UW_OK;
}

enum uw_status uw_gpu_gemm_config_init(const struct uw_gpu_device *device, uint64_t nrows, uint64_t ncols, uint64_t nx,
				       bool batch_invariant, struct uw_gpu_gemm_config *config)
{
	uint32_t most = device->capability == 90 ? 256 : 128;
	uint64_t ntiles, kblocks = ceil_div(ncols, UW_TILE_COLS);

	if (device->nsms == 0 || nrows == 0 || ncols == 0 || nx == 0 || nrows > INT32_MAX || nx > INT32_MAX)
		return UW_ERR_ARG;
	if (device->capability < 80)
		return UW_ERR_UNSUPPORTED;
	*config = (struct uw_gpu_gemm_config){
		.kernel = device->capability == 90 ? UW_GPU_GEMM_WGMMA : UW_GPU_GEMM_MMA,
		.tile_n = batch_invariant ? INVARIANT_TILE_N : 8,
	};
	while (!batch_invariant && config->tile_n < nx && config->tile_n < most)
		config->tile_n *= 2;
	config->blocks_per_sm = max_blocks(config->kernel, config->tile_n);
	config->nblocks = device->nsms * config->blocks_per_sm;
	while (config->blocks_per_sm > 1 && uw_gpu_gemm_config_check(device, config) != UW_OK) {
		config->blocks_per_sm--;
		config->nblocks = device->nsms * config->blocks_per_sm;
	}
	ntiles = ceil_div(nrows, UW_ROW_TILE) * ceil_div(nx, config->tile_n);
	if (batch_invariant) {
		/* by the matrix alone, not by nx: as many parts as fill the device with one tile across */
		uint64_t parts = ceil_div(config->nblocks, ceil_div(nrows, UW_ROW_TILE));
		uint64_t longest = ceil_div(kblocks, INVARIANT_UNITS);

		config->parts = (uint32_t)(parts < longest ? parts : longest);
	} else if (ntiles >= (uint64_t)WAVES_WITHOUT_CUTS * config->nblocks) {
		config->parts = 1;
	}
	return UW_OK;
}

/* Tiles of the launch, at least as many as it can have. Linear: it is asked for at every launch. */
static uint64_t most_tiles(const struct uw_gpu_gemm *gemm, const struct uw_gpu_matrix *matrices)
{
	uint64_t across = ceil_div(gemm->nx, gemm->config.tile_n), most = 0, high = 0;

	if (gemm->nbuckets == 0)
		return gemm->row_tiles * across;
	/*
	 * A bucket has at most one tile across more than its rows fill. If all rows are in the bucket with the most row
	 * tiles, and all others have just one row, there are no more than:
	 */
	for (uint32_t i = 0; i < gemm->nmatrices; i++) {
		if (i != 0 && matrices[i].bucket != matrices[i - 1].bucket)
			high = 0;
		high += ceil_div(matrices[i].nrows, UW_ROW_TILE);
		most = high > most ? high : most;
	}
	return gemm->row_tiles + most * across;
}

enum uw_status uw_gpu_gemm_init(const struct uw_gpu_device *device, const struct uw_gpu_gemm_config *config,
				const struct uw_gpu_matrix *matrices, uint32_t nmatrices,
				const struct uw_gpu_matrix *matrices_dev, uint64_t nx, uint32_t nbuckets,
				struct uw_gpu_gemm *gemm)
{
	uint64_t row_tiles = 0, ntiles, nranges;

	*gemm = (struct uw_gpu_gemm){ .matrices_dev = matrices_dev, .config = *config, .nmatrices = nmatrices };
	if (nmatrices == 0 || nx == 0 || nx > INT32_MAX || !is_tile_n(config) || config->nblocks == 0 ||
	    config->kernel > UW_GPU_GEMM_WGMMA || config->blocks_per_sm == 0 ||
	    config->blocks_per_sm > max_blocks(config->kernel, config->tile_n) ||
	    (config->kernel == UW_GPU_GEMM_WGMMA && device->capability != 90) || device->capability < 80 ||
	    (nmatrices > UW_GPU_GEMM_FEW && (matrices_dev == NULL || (uintptr_t)matrices_dev % alignof(struct uw_gpu_matrix) != 0)))
		return UW_ERR_ARG;
	gemm->source = matrices[0].source;
	gemm->ncols = matrices[0].ncols;
	gemm->nx = (uint32_t)nx;
	gemm->nbuckets = nbuckets;
	for (uint32_t i = 0; i < nmatrices; i++) {
		if (matrices[i].source != gemm->source || matrices[i].ncols != gemm->ncols ||
		    (nbuckets != 0 && (matrices[i].bucket >= nbuckets ||
				       (i != 0 && matrices[i].bucket < matrices[i - 1].bucket))))
			return UW_ERR_ARG;
		row_tiles += ceil_div(matrices[i].nrows, UW_ROW_TILE);
		if (row_tiles > INT32_MAX)
			return UW_ERR_ARG;
	}
	gemm->row_tiles = (uint32_t)row_tiles;
	if (nmatrices <= UW_GPU_GEMM_FEW)
		memcpy(gemm->few, matrices, nmatrices * sizeof(*matrices));
	ntiles = most_tiles(gemm, matrices);
	nranges = config->parts != 0 ? config->parts : config->nblocks;
	if (ntiles > MAX_UNITS / ceil_div(gemm->ncols, UW_TILE_COLS) || nranges > MAX_UNITS ||
	    (config->parts != 0 && ntiles > MAX_UNITS / config->parts) || !plan_shared(device, gemm))
		return UW_ERR_ARG;
	if (config->parts != 0)
		nranges = ntiles * config->parts;
	if (config->parts == 1)
		return UW_OK;
	gemm->counters_nbytes = align_up(ntiles * UW_TILE_WARPS * sizeof(uint32_t), WORKSPACE_ALIGN);
	gemm->workspace_nbytes = gemm->counters_nbytes + 2 * nranges * UW_ROW_TILE * config->tile_n * sizeof(float);
	return UW_OK;
}
