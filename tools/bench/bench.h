/* SPDX-License-Identifier: Apache-2.0 */
/* unweight-bench: weights, times, and reports of them. */
#ifndef UW_BENCH_H
#define UW_BENCH_H

#include <stdio.h>

#include "measure.h"
#include "survey.h"
#include "tool.h"

#define UW_BENCH_MAX_BATCHES 16u
#define UW_BENCH_MAX_SETS 2u

/* ---- weights ------------------------------------------------------------------------------- */

/* Matrices of one shape and coding, to be cycled through. */
struct uw_bench_set {
	enum uw_coding coding;
	struct uw_weights *weights; /* [n] */
};

/* What is compared: the same matrices, in one coding or in both. */
struct uw_bench_input {
	uint64_t nrows, ncols;
	size_t n;
	unsigned nsets;
	struct uw_bench_set sets[UW_BENCH_MAX_SETS];
};

/* Random weights (uw_gaussian_rows), packed in memory in both profiles, `n` times. */
struct uw_bench_made {
	struct uw_bench_input input;
	size_t nmodels;
	struct uw_model **models;
	uint8_t **bytes; /* of each model */
};
UW_MUST_CHECK enum uw_status uw_bench_make(const struct uw_job *job, const char *cpu_level, uint64_t nrows,
					   uint64_t ncols, size_t n, struct uw_bench_made *made,
					   struct uw_error *err);
void uw_bench_made_free(struct uw_bench_made *made); /* zeroed is fine */

/* ---- times --------------------------------------------------------------------------------- */

struct uw_bench_variant {
	char name[24];
	const char *pipeline; /* "raw", ...; "onednn" */
	const char *coding;   /* "h", "p4"; NULL: BF16 */
	double nbytes;        /* of weights that a product reads */
};

/* The first variant is RAW: ratios are to it. */
struct uw_bench_case {
	uint64_t nrows, ncols;
	size_t ncopies;
	unsigned nvariants;
	struct uw_bench_variant variants[UW_MAX_RUNNERS];
	struct uw_timing timings[UW_BENCH_MAX_BATCHES][UW_MAX_RUNNERS];
};

struct uw_bench_report {
	const char *what; /* path or shape */
	unsigned nthreads;
	uint64_t cycle_nbytes;
	size_t nbatches;
	uint64_t batches[UW_BENCH_MAX_BATCHES];
	size_t ncases;
	struct uw_bench_case *cases;
};

struct uw_bench_how {
	struct uw_pool *pool;
	double seconds; /* for each batch */
	bool (*cancelled)(void *ctx);
	void (*progress)(void *ctx, uint64_t batch); /* may be NULL */
	void *ctx;
};

/* Fills the case for the report's batches. */
UW_MUST_CHECK enum uw_status uw_bench_run(const struct uw_bench_how *how, const struct uw_bench_input *input,
					  const struct uw_bench_report *report, struct uw_bench_case *result,
					  struct uw_error *err);

/* ---- reports: of the type that uw_write_text wants; ctx is struct uw_bench_report ------------ */

int uw_bench_text(const void *ctx, FILE *f);
int uw_bench_svg(const void *ctx, FILE *f);
json_t *uw_bench_json(const struct uw_bench_report *report); /* NULL: out of memory */

/* Median ratio to the faster one of the oneDNN variants; 0: there are none. */
double uw_bench_ratio_to_onednn(const struct uw_bench_case *c, size_t batch, unsigned variant);

#endif
