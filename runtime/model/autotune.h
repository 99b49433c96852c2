/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Finds by measuring which pipeline is fastest for each shape of a model and batch on this machine: its CPU, or a CUDA
 * device of it. Not part of the installed library: unweight-tune uses it.
 *
 * 1. A model of the machine drops candidates: those predicted at more than 1.5 times the best are not measured.
 *    A candidate is a pipeline and, on a device, how products are cut. RAW is always there for comparison.
 *    CPU: a pipeline p that reads r bytes of weights for a product of f operations takes about
 *        t(p, batch) = d(p) + max(r / B, f / F)
 *    B: bytes a second that RAW reads at the smallest batch; F: operations a second of RAW at the largest one; d(p),
 *    not below 0: what p took at the smallest batch beyond this, its decoding, which does not depend on the batch.
 *    Device: cuda_plan.h from the device's facts, and what a cut wastes in rows of padding, idle multiprocessors and
 *    partial sums.
 * 2. The others take turns on each shape. On a device, events measure them.
 * 3. Coordinate descent on the time of a whole layer (descent.h), starting from the fastest of each shape. At the end
 *    every single pipeline for the whole layer is tried as well.
 *
 * On a device, matrices that are multiplied by the same x are one: q+k+v, gate+up. Those of experts are left out: their
 * batches are the router's.
 *
 * The choice is a function of the times: ties, and differences within 1 %, go to what was there before, and first
 * to the lower number in enum uw_pipeline.
 */
#ifndef UW_AUTOTUNE_H
#define UW_AUTOTUNE_H

#include "measure.h"
#include "survey.h"
#include "unweight/cuda.h"
#include "unweight/tuning.h"

/* Where it is. */
struct uw_autotune_state {
	bool stack;      /* layers; otherwise shape `shape` */
	size_t shape, nshapes;
	uint64_t batch;  /* 0: preparing */
	unsigned done, total; /* measurements */
};

struct uw_autotune_options {
	const struct uw_cuda *cuda;    /* what to tune, current in the calling thread; NULL: the CPU */
	const struct uw_model *copies; /* the same bundle opened with UW_MODEL_PREAD, for shapes with few matrices;
					* a device needs none */
	const uint16_t *batches;       /* powers of two, ascending */
	unsigned nbatches;             /* 1 to UW_AUTOTUNE_MAX_BATCHES */
	unsigned nthreads;             /* of the CPU */
	double seconds;                /* for measuring; preparing weights comes on top */
	uint64_t cycle_nbytes;         /* of weights, at least */
	uint64_t raw_nbytes;           /* RAW, which costs 2 bytes a weight, may win for matrices of so many in BF16 */
	bool require_bitexact;         /* device: as in struct uw_cuda_linear_options */
	bool batch_invariant;
	double (*now)(void);           /* the clock that `seconds` are of; NULL: CLOCK_MONOTONIC */
	bool (*cancelled)(void *ctx);  /* this and the next may be NULL */
	void (*progress)(void *ctx, const struct uw_autotune_state *state);
	void *ctx;
};

#define UW_AUTOTUNE_MAX_BATCHES 13u
#define UW_AUTOTUNE_MAX_CANDIDATES UW_MAX_RUNNERS

/* A way to multiply. */
struct uw_candidate {
	enum uw_pipeline pipeline;
	uint8_t blocks_per_sm;   /* device, as in struct uw_tuning_entry; all 0: by default */
	uint16_t tile_n, parts;
	double predicted;        /* seconds */
	struct uw_timing timing; /* seconds 0: not measured; the ratio is to RAW */
};

/* A shape at a batch. */
struct uw_autotune_cell {
	unsigned n;
	struct uw_candidate candidates[UW_AUTOTUNE_MAX_CANDIDATES]; /* RAW, then by pipeline */
	unsigned fastest;        /* candidate for the shape by itself */
	unsigned chosen;         /* after descent */
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
	bool admitted[UW_NPIPELINES];           /* it might have won */
	struct uw_timing chosen;
};

struct uw_autotune_report {
	double bytes_per_s, flops; /* CPU: B and F; the largest over shapes */
	size_t nshapes;
	struct uw_autotune_shape *shapes;
	size_t nsteps;             /* matrices of the layer */
	struct uw_autotune_layer layers[UW_AUTOTUNE_MAX_BATCHES];
};

/*
 * Both results are the caller's. *report has nothing to free but by uw_autotune_report_free. A tuning's time was
 * measured unless its line is marked predicted: then it was the layer's time that spoke for the choice.
 */
UW_MUST_CHECK enum uw_status uw_autotune(const struct uw_model *model, const struct uw_autotune_options *options,
					 struct uw_tuning **tuning, struct uw_autotune_report *report,
					 struct uw_error *err);
void uw_autotune_report_free(struct uw_autotune_report *report);

/* Of weights to cycle through on a device: several times its L2. */
uint64_t uw_cuda_cycle_nbytes(const struct uw_cuda *cuda);

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

/* The measured candidate of the least time; ties go to the first. RAW, which is the first, only if it is the only one
 * or allowed. */
unsigned uw_autotune_fastest(const struct uw_autotune_cell *cell, bool allow_raw);

#endif
