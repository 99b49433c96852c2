/* SPDX-License-Identifier: Apache-2.0 */
/* One matrix of a model as multiplying code sees it: groups of rows, each as it is stored. */
#ifndef UW_MATRIX_H
#define UW_MATRIX_H

#include "model.h"

/* Rows first_row .. + nrows. Pointers lie in the model's mapping or in the matrix's own memory. */
struct uw_matrix_group {
	uint64_t first_row;
	uint64_t nrows;
	enum uw_coding coding; /* H, P4: `coded`, in tiled order. RAW: `bf16` */
	struct uw_coded coded;
	const uint16_t *bf16;  /* nrows x ncols, in the machine's byte order */
	void *owned;
	uint64_t owned_nbytes;
};

struct uw_matrix {
	const struct uw_model *model;
	uint64_t nrows, ncols;
	uint64_t ngroups;
	struct uw_matrix_group *groups;
};

/* Matrix number `expert` of a BF16 tensor of two and more dimensions. Checks the heads of its groups; what
 * multiplying code cannot read as it lies (zstd frames, linear order, other byte order) is decoded into memory. */
UW_MUST_CHECK enum uw_status uw_matrix_open(const struct uw_model *model, const struct uw_tensor *tensor,
					    uint64_t expert, struct uw_matrix *matrix, struct uw_error *err);
void uw_matrix_close(struct uw_matrix *matrix); /* zeroed is fine */

#endif
