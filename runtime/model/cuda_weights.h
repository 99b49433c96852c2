/* SPDX-License-Identifier: Apache-2.0 */
/* A linear's matrices in device memory, in the forms that its pipelines want. */
#ifndef UW_CUDA_WEIGHTS_H
#define UW_CUDA_WEIGHTS_H

#include "cuda_device.h"
#include "model.h"

/* Forms of a matrix; groups stored RAW are BF16 in all of them. */
enum uw_cuda_form {
	UW_CUDA_STORED = 1u << 0,  /* Huffman streams, or palette codes, as they are stored */
	UW_CUDA_PALETTE = 1u << 1, /* palette codes, made of Huffman streams if need be */
	UW_CUDA_DENSE = 1u << 2,   /* all of it BF16, row-major */
};

/* Consecutive rows of a part. */
struct uw_cuda_group {
	enum uw_coding coding;            /* H, P4, RAW */
	uint64_t first_row, nrows;
	uint64_t ntiles;                  /* H, P4 */
	struct uw_cuda_memory stored;     /* H, P4: the stored bytes */
	struct uw_cuda_memory palette;    /* H: its head, S plane and nibbles */
	struct uw_cuda_memory dense;      /* RAW; ld values from row to row */
	struct uw_gpu_gemm_group p4;      /* PALETTE */
	struct uw_gpu_gemm_group e8;      /* H, STORED: e_dev is where the exponents will be */
	struct uw_gpu_group decode;       /* from what there is, the stored bytes first; out_dev is the caller's */
	struct uw_gpu_group exponents;    /* H, STORED */
};

/* One matrix, or a cut through one. */
struct uw_cuda_part {
	const struct uw_tensor *tensor;
	uint64_t expert;
	uint64_t row_begin, row_end, col_begin, col_end;
	uint64_t nrows, ncols;
	uint64_t ld;       /* of BF16: ncols rounded up to 8 */
	bool whole;        /* groups as they are stored; else coded anew */
	uint64_t first;    /* stored group of the matrix, if whole */
	uint64_t group_nrows;
	uint64_t ngroups;
	struct uw_cuda_group *groups;
	struct uw_cuda_memory dense; /* DENSE */
};

/* Finds out which groups the part has, and their coding as the index says; uploads nothing. */
UW_MUST_CHECK enum uw_status uw_cuda_part_open(const struct uw_cuda *cuda, const struct uw_model *model,
					       const struct uw_linear_part *from, struct uw_cuda_part *part,
					       struct uw_error *err);
/* Makes it resident in `forms`, an OR of enum uw_cuda_form. A group coded anew may turn out to be RAW. */
UW_MUST_CHECK enum uw_status uw_cuda_part_upload(const struct uw_cuda *cuda, const struct uw_model *model,
						 unsigned forms, struct uw_cuda_part *part, struct uw_error *err);
void uw_cuda_part_close(const struct uw_cuda *cuda, struct uw_cuda_part *part); /* zeroed is fine */
uint64_t uw_cuda_part_nbytes(const struct uw_cuda_part *part);

#endif
