/* SPDX-License-Identifier: Apache-2.0 */
/* What runs write to, and descriptors that have addresses of it. */
#ifndef UW_CUDA_WORKSPACE_H
#define UW_CUDA_WORKSPACE_H

#include "cuda_linear.h"

#define UW_CUDA_NSLOTS 2u

/* How a part is decoded into a slot, for DECODE or EXPONENT. Nothing to decode: ngroups 0. */
struct uw_cuda_bound {
	struct uw_gpu_decode streams; /* to BF16, or to exponents */
	struct uw_gpu_decode codes;   /* to BF16 */
	struct uw_cuda_set set;       /* what is multiplied then: the slot as BF16, or the pieces of coding H */
};

/* What cuBLASLt was last asked for a part and a bucket, and said. */
struct uw_cuda_asked {
	struct uw_gpu_dense_key key; /* zero: never */
	struct uw_gpu_dense_algo algo;
};

struct uw_cuda_tie {
	const struct uw_cuda_linear *linear;
	struct uw_cuda_bound *bound; /* of each part both slots, first for DECODE, then for EXPONENT; NULL: none */
	struct uw_cuda_asked *asked; /* of each part by bucket; NULL: cuBLASLt multiplies in none */
};

/* A part that is, or will soon be, decoded in a slot. */
struct uw_cuda_job {
	const struct uw_cuda_linear *linear;
	uint64_t part;
	enum uw_pipeline pipeline;
	uint32_t slot;
};

struct uw_cuda_workspace {
	const struct uw_cuda *cuda;
	uint64_t max_batch;
	size_t nties;
	struct uw_cuda_tie *ties;    /* ascending by linear */
	struct uw_cuda_sheet sheet;
	struct uw_cuda_memory sums;  /* counters, zero between launches, then partial sums */
	uint64_t counters_nbytes;
	struct uw_cuda_memory errors; /* a word for each group; nobody reads them: streams were checked before */
	struct uw_cuda_memory dense; /* cuBLASLt's */
	struct uw_cuda_memory slots[UW_CUDA_NSLOTS];

	struct CUstream_st *side;    /* decodes ahead; made if any linear decodes */
	struct CUevent_st *fork, *join, *decoded[UW_CUDA_NSLOTS];
	bool forked;                 /* since the last reset */
	struct uw_cuda_job jobs[UW_CUDA_NSLOTS]; /* the oldest first */
	uint32_t njobs, next_slot;
};

/* NULL: the workspace was made without the linear. */
const struct uw_cuda_tie *uw_cuda_tie_of(const struct uw_cuda_workspace *workspace, const struct uw_cuda_linear *linear);
struct uw_cuda_bound *uw_cuda_bound_of(const struct uw_cuda_tie *tie, uint64_t part, enum uw_pipeline pipeline,
				       uint32_t slot);

/* After uw_cuda_linear_force, if nothing is decoded ahead: makes room for what serves a bucket now, which is at most
 * that of max_batch. Waits if that takes more memory; after an error the workspace can only be freed. */
UW_MUST_CHECK enum uw_status uw_cuda_workspace_reserve(struct uw_cuda_workspace *workspace, unsigned bucket,
						       struct uw_error *err);

/* A launch over a set for nx rows of x; x, y and workspace are to be filled in. */
UW_MUST_CHECK enum uw_status uw_cuda_plan_launch(const struct uw_cuda_linear *linear, const struct uw_cuda_set *set,
						 const struct uw_gpu_gemm_config *config, uint64_t nx,
						 struct uw_gpu_gemm *gemm);

#endif
