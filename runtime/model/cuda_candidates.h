/* SPDX-License-Identifier: Apache-2.0 */
/* Candidates on a CUDA device: pure functions of its facts and the model of time in cuda_plan.h. */
#ifndef UW_CUDA_CANDIDATES_H
#define UW_CUDA_CANDIDATES_H

#include "autotune.h"
#include "cuda_plan.h"

/* options: only the modes count. Those fix how products are cut: only pipelines are left to choose. dense: whether there
 * is a cuBLASLt. */
struct uw_cuda_search {
	const struct uw_gpu_facts *facts;
	const struct uw_cuda_linear_options *options;
	bool dense;
};

/* Fills the cell with RAW and, of each other pipeline that fits, the default cut first and those that are predicted to
 * take the least time behind it. */
UW_MUST_CHECK enum uw_status uw_cuda_candidates(const struct uw_cuda_search *search, const struct uw_cuda_key *key,
						uint64_t batch, struct uw_autotune_cell *cell, struct uw_error *err);

/* What a linear runs for a candidate. */
UW_MUST_CHECK enum uw_status uw_cuda_candidate_choice(const struct uw_cuda_search *search,
						      const struct uw_cuda_key *key, uint64_t batch,
						      const struct uw_candidate *candidate,
						      struct uw_cuda_choice *choice, struct uw_error *err);

/* Seconds, with what the cut wastes: rows of padding, multiprocessors that idle at the end, partial sums. */
double uw_cuda_predict_cut(const struct uw_gpu_facts *facts, const struct uw_cuda_key *key, enum uw_pipeline pipeline,
			   uint64_t batch, const struct uw_gpu_gemm_config *config);

#endif
