/* SPDX-License-Identifier: Apache-2.0 */
/* Which pipeline a linear takes on a device, and how its products are cut: pure functions of what is known before. */
#ifndef UW_CUDA_PLAN_H
#define UW_CUDA_PLAN_H

#include "unweight/cuda.h"
#include "unweight/gpu_ops.h"

/* All parts of a linear together. */
struct uw_cuda_key {
	enum uw_coding coding; /* H if any group is, else P4 if any group is, else RAW */
	uint64_t nrows, ncols;
	uint64_t nparts;
	bool experts;
};

struct uw_cuda_choice {
	enum uw_pipeline pipeline; /* one that fits, never AUTO */
	struct uw_gpu_gemm_config config;
};

/* For batches of a bucket (pipelines.h). UW_ERR_ARG: no kernel serves a config of the tuning on this device. */
UW_MUST_CHECK enum uw_status uw_cuda_choose(const struct uw_gpu_facts *facts, const struct uw_tuning *shipped,
					    const struct uw_cuda_linear_options *options, const struct uw_cuda_key *key,
					    unsigned bucket, struct uw_cuda_choice *choice);

/* Whether cuBLASLt, if there is one, multiplies what the pipeline has in memory; else a kernel of this library does. */
bool uw_cuda_is_dense(const struct uw_cuda_linear_options *options, bool has_cublas, enum uw_pipeline pipeline);

/* The tuning that ships with the library: text as of unweight/tuning.h. */
extern const char uw_cuda_tuning[];

/* Whether a pipeline can serve the matrices, and which one does in its place. */
bool uw_cuda_fits(enum uw_pipeline pipeline, const struct uw_cuda_key *key);
enum uw_pipeline uw_cuda_serving(enum uw_pipeline wanted, const struct uw_cuda_key *key);

/*
 * The model of time: what a product is predicted to take, from bytes that have to be moved, what the matrix units can do
 * and how fast streams decode. For choosing, and for leaving out candidates; it knows nothing of what was measured.
 */
enum uw_pipeline uw_cuda_predict(const struct uw_gpu_facts *facts, const struct uw_cuda_key *key, uint64_t batch);
uint64_t uw_cuda_predict_ns(const struct uw_gpu_facts *facts, const struct uw_cuda_key *key, enum uw_pipeline pipeline,
			    uint64_t batch);

#endif
