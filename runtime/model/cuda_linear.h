/* SPDX-License-Identifier: Apache-2.0 */
/* What cuda_linear.c makes resident, cuda_workspace.c binds and cuda_run.c runs. The public part is unweight/cuda.h. */
#ifndef UW_CUDA_LINEAR_H
#define UW_CUDA_LINEAR_H

#include "cuda_plan.h"
#include "cuda_weights.h"
#include "pipelines.h"

/* Matrices of one source, for one launch. */
struct uw_cuda_set {
	uint32_t n;
	struct uw_gpu_matrix *host;
	const struct uw_gpu_matrix *dev;
};

/* Consecutive groups of a part that one matrix descriptor can describe: of the same coding and rows. */
struct uw_cuda_piece {
	uint32_t part;
	uint64_t group, ngroups;
	enum uw_coding coding;
	uint64_t y_off; /* of its first row, in values from the beginning of a row of y */
};

struct uw_cuda_linear {
	const struct uw_cuda *cuda;
	struct uw_cuda_key key;
	struct uw_cuda_linear_options options; /* but for the tuning */
	uint64_t nparts;
	struct uw_cuda_part *parts;
	uint64_t *part_y;                 /* where a part's values begin in a row of y; nparts + 1 */
	uint64_t npieces;
	struct uw_cuda_piece *pieces;     /* ascending */
	struct uw_cuda_choice choices[UW_NBUCKETS];
	unsigned forms;

	/* in the sheet */
	struct uw_cuda_sheet sheet;
	struct uw_cuda_set palette; /* coded pieces, from palette codes */
	struct uw_cuda_set codes;   /* only those that are stored as such, for EXPONENT */
	struct uw_cuda_set loose;   /* pieces that are stored RAW */
	struct uw_cuda_set dense;   /* parts that are BF16 */
};

/* Room in the sheet for a set of n matrices; host memory for them. */
UW_MUST_CHECK enum uw_status uw_cuda_set_open(uint64_t n, struct uw_cuda_set *set, struct uw_error *err);
void uw_cuda_set_send(struct uw_cuda_set *set, struct uw_cuda_sheet *sheet);
void uw_cuda_set_close(struct uw_cuda_set *set); /* zeroed is fine */

/* A BF16 matrix of nrows x ncols, with its tensor map. */
UW_MUST_CHECK enum uw_status uw_cuda_dense_matrix(const struct uw_cuda *cuda, const void *weights_dev, uint64_t ld,
						  uint64_t nrows, uint64_t ncols, struct uw_gpu_matrix *matrix,
						  struct uw_error *err);

/* The piece as it is in the launches of its part alone, or of all parts. */
void uw_cuda_place(const struct uw_cuda_linear *linear, uint32_t part, uint64_t y_off, struct uw_gpu_matrix *matrix);

/* Whether runs of a pipeline decode to the workspace first. */
static inline bool uw_cuda_decodes(enum uw_pipeline pipeline)
{
	return pipeline == UW_PIPELINE_DECODE || pipeline == UW_PIPELINE_EXPONENT;
}

/* For measuring: from now on batches of a bucket are served so, by a pipeline that some bucket had when the linear and
 * its workspaces were made; each workspace has to reserve anew. Not between uw_cuda_linear_ahead and the run. */
void uw_cuda_linear_force(struct uw_cuda_linear *linear, unsigned bucket, const struct uw_cuda_choice *choice);

/* Whether cuBLASLt multiplies for a pipeline. */
bool uw_cuda_linear_is_dense(const struct uw_cuda_linear *linear, enum uw_pipeline pipeline);

/* Whether some bucket has the pipeline. */
bool uw_cuda_linear_uses(const struct uw_cuda_linear *linear, enum uw_pipeline pipeline);

#endif
