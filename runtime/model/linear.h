/* SPDX-License-Identifier: Apache-2.0 */
/* What linear.c prepares and linear_run.c runs. The public part is unweight/linear.h. */
#ifndef UW_LINEAR_PRIVATE_H
#define UW_LINEAR_PRIVATE_H

#include "pipelines.h"

/* The row blocks of one group that a part needs. */
struct uw_piece {
	struct uw_prepared prepared;
	uint64_t first, nblocks; /* of the group */
	uint64_t block0;         /* blocks of the linear's pieces before it */
	uint8_t pipeline[UW_NBUCKETS];
};

struct uw_part {
	struct uw_matrix matrix;
	uint64_t row_begin, row_end;
	uint64_t first_piece, npieces;
};

struct uw_linear {
	const struct uw_cpu_ops *ops;
	struct uw_linear_ops kernels;
	bool batch_invariant;
	uint64_t col_begin, col_end;
	uint64_t nparts;
	struct uw_part *parts;
	uint64_t npieces;
	struct uw_piece *pieces;
};

/* For measuring: from now on `pipeline` serves the batches of a bucket. It has to be one that the linear was prepared
 * for, or scratch memory for it is not reckoned with and what it needs is missing. Not while the linear runs. */
void uw_linear_force(struct uw_linear *linear, unsigned bucket, enum uw_pipeline pipeline);

#endif
