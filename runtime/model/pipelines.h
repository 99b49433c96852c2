/* SPDX-License-Identifier: Apache-2.0 */
/* The ways from stored weights to a product. Adding one: its functions and a line of the table in pipelines.c. */
#ifndef UW_PIPELINES_H
#define UW_PIPELINES_H

#include "matrix.h"
#include "unweight/cpu_ops.h"
#include "unweight/linear.h"
#include "unweight/linear_ops.h"

/* Batches up to 2^b are of bucket b. */
#define UW_NBUCKETS 13u

static inline unsigned uw_bucket_of(uint64_t batch)
{
	unsigned b = 0;

	while (b + 1 < UW_NBUCKETS && (UINT64_C(1) << b) < batch)
		b++;
	return b;
}

/* What pipelines have made of a group beforehand. */
struct uw_prepared {
	const struct uw_model *model; /* whose allocator what is owned comes from */
	const struct uw_matrix_group *group;
	uint64_t ncols;
	const uint16_t *bf16; /* RAW; = owned_bf16, or the group's own */
	uint16_t *owned_bf16;
	uint8_t *nibbles;     /* TRANSCODE; owned */
};

/* Row blocks first .. first + nblocks of a group times packed x. */
struct uw_task {
	const struct uw_cpu_ops *ops;
	const struct uw_linear_kernel *kernel;
	const struct uw_linear_dims *dims;
	const void *packed;
	const struct uw_prepared *prepared;
	uint64_t first, nblocks;
	void *scratch;        /* scratch_nbytes() of the pipeline; aligned to 64 */
	void *kernel_scratch;
};

struct uw_pipeline_ops {
	const char *name;
	bool stored_order; /* it gives rows as they are stored (uw_coded_row), not as they come in the group */
	bool (*fits)(const struct uw_matrix_group *group);
	/* NULL: nothing to prepare. Each makes its own members of *prepared. */
	enum uw_status (*prepare)(const struct uw_cpu_ops *ops, struct uw_prepared *prepared, struct uw_error *err);
	size_t (*scratch_nbytes)(const struct uw_prepared *prepared);
	/* y[n * ld + r]: row r of the first row block on; FP32. */
	enum uw_status (*gemm)(const struct uw_task *task, float *y, size_t ld, struct uw_error *err);
	/* Bytes of weights that multiplying by the whole group reads. */
	uint64_t (*read_nbytes)(const struct uw_prepared *prepared);
};

/* By enum uw_pipeline; that of AUTO has no functions. */
extern const struct uw_pipeline_ops uw_pipelines[UW_NPIPELINES];

/* The pipeline that serves the group when `wanted` (not AUTO) is asked for; see struct uw_linear_options. */
enum uw_pipeline uw_pipeline_serving(enum uw_pipeline wanted, const struct uw_matrix_group *group);

void uw_prepared_free(struct uw_prepared *prepared);
uint64_t uw_prepared_owned_nbytes(const struct uw_prepared *prepared);

#endif
