/* SPDX-License-Identifier: Apache-2.0 */
/* Measuring which pipeline is fastest for the matrices of a model on this machine. */
#ifndef UW_AUTOTUNE_H
#define UW_AUTOTUNE_H

#include "unweight/tuning.h"

/* One measured candidate, or one that the model of time ruled out (nanoseconds 0). */
typedef void (*uw_candidate_fn)(void *ctx, const struct uw_tuning_entry *candidate);

struct uw_autotune {
	unsigned nthreads;
	const uint16_t *batches;  /* powers of two, ascending */
	size_t nbatches;
	uint64_t budget_ns;       /* to be spent about; each candidate is measured at least three times */
	bool (*cancelled)(void *ctx);
	void (*progress)(void *ctx, uint64_t done, uint64_t total);
	uw_candidate_fn candidate;
	void *ctx;                /* of the three functions, none of which may be NULL */
};

/*
 * Adds the fastest pipeline for each coding, shape and batch of the model's matrices to `tuning`. The model should
 * have been opened with UW_MODEL_PREAD, so that several copies of a matrix lie in several places. UW_ERR_NOT_FOUND:
 * no matrix is coded.
 */
UW_MUST_CHECK enum uw_status uw_autotune_run(const struct uw_model *model, const struct uw_autotune *options,
					     struct uw_tuning *tuning, struct uw_error *err);

#endif
