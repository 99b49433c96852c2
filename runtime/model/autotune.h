/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds by measuring which pipeline is fastest for each shape of a model and batch on this machine. Not part of the
 * installed library: unweight-tune uses it.
 *
 * 1. A model of the machine drops candidates. A pipeline p that reads r bytes of weights for a product of f operations
 *    takes about
 *        t(p, batch) = d(p) + max(r / B, f / F)
 *    B: bytes a second that RAW reads at the smallest batch; F: operations a second of RAW at the largest one; d(p),
 *    not below 0: what p took at the smallest batch beyond this, its decoding, which does not depend on the batch.
 *    Candidates predicted at more than 1.5 times the best are not measured any further.
 * 2. The others take turns on each shape, RAW beside them for comparison.
 * 3. Coordinate descent on the time of a whole layer: starting from the fastest of each shape, one shape after the
 *    other tries its other candidates; one that makes the layer faster by more than 1 % stays, until none does. At the
 *    end every single pipeline for the whole layer is tried as well.
 *
 * The choice is a function of the times: ties, and differences within 1 %, go to what was there before, and first
 * to the lower number in enum uw_pipeline.
 */
#ifndef UW_AUTOTUNE_H
#define UW_AUTOTUNE_H

#include "measure.h"
#include "survey.h"
#include "unweight/tuning.h"

/* Where it is. */
struct uw_autotune_state {
	bool stack;      /* layers; otherwise shape `shape` */
	size_t shape, nshapes;
	uint64_t batch;  /* 0: preparing */
	unsigned done, total; /* measurements */
};

struct uw_autotune_options {
	const struct uw_model *copies; /* the same bundle opened with UW_MODEL_PREAD, for shapes with few matrices */
	const uint16_t *batches;       /* powers of two, ascending */
	unsigned nbatches;             /* 1 to UW_AUTOTUNE_MAX_BATCHES */
	unsigned nthreads;
	double seconds;                /* for measuring; preparing weights comes on top */
	uint64_t cycle_nbytes;         /* of weights, at least */
	bool allow_raw;                /* RAW may win, which costs 2 bytes a weight */
	bool (*cancelled)(void *ctx);  /* this and the next may be NULL */
	void (*progress)(void *ctx, const struct uw_autotune_state *state);
	void *ctx;
};

#define UW_AUTOTUNE_MAX_BATCHES 13u

struct uw_autotune_cell {
	bool fits[UW_NPIPELINES];               /* candidates, and RAW */
	double predicted[UW_NPIPELINES];        /* seconds */
	struct uw_timing timing[UW_NPIPELINES]; /* seconds 0: not measured; ratios are to RAW */
	enum uw_pipeline fastest;               /* for the shape by itself */
	enum uw_pipeline chosen;                /* after descent */
};

struct uw_autotune_shape {
	enum uw_coding coding;
	uint64_t nrows, ncols;
	size_t nmatrices, ncopies; /* in the bundle, cycled through */
	struct uw_autotune_cell cells[UW_AUTOTUNE_MAX_BATCHES];
};

/* A whole layer at one batch. */
struct uw_autotune_layer {
	struct uw_timing single[UW_NPIPELINES]; /* the same pipeline for all shapes; ratios are to `chosen` */
	struct uw_timing chosen;
};

struct uw_autotune_report {
	double bytes_per_s, flops; /* B and F; the largest over shapes */
	size_t nshapes;
	struct uw_autotune_shape *shapes;
	size_t nsteps;             /* matrices of the layer */
	struct uw_autotune_layer layers[UW_AUTOTUNE_MAX_BATCHES];
};

/* Both results are the caller's. *report has nothing to free but by uw_autotune_report_free. */
UW_MUST_CHECK enum uw_status uw_autotune(const struct uw_model *model, const struct uw_autotune_options *options,
					 struct uw_tuning **tuning, struct uw_autotune_report *report,
					 struct uw_error *err);
void uw_autotune_report_free(struct uw_autotune_report *report);

/* The pieces that are a function of numbers alone. */

/* Seconds of RAW at the smallest batch and at the largest, and of others at the smallest. */
struct uw_autotune_probe {
	double first[UW_NPIPELINES];
	double raw_last;
	uint64_t read_nbytes[UW_NPIPELINES];
	uint64_t nweights;
	uint64_t first_batch, last_batch;
};
double uw_autotune_predict(const struct uw_autotune_probe *probe, enum uw_pipeline pipeline, uint64_t batch);

/* The candidate of the least time; ties go to the lower number. */
enum uw_pipeline uw_autotune_fastest(const struct uw_autotune_cell *cell, bool allow_raw);

#endif
