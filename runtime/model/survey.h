/* SPDX-License-Identifier: Apache-2.0 */
/* Which matrices of a model are multiplied: their shapes, and those of one layer in order. */
#ifndef UW_SURVEY_H
#define UW_SURVEY_H

#include "measure.h"
#include "unweight/codec.h"

/* Matrices that a tuning does not tell apart. */
struct uw_survey_shape {
	enum uw_coding coding; /* H or P4 */
	uint64_t nrows, ncols; /* rows of all that are joined */
	size_t n;
	struct uw_weights *weights; /* by name, experts of a tensor in order */
};

struct uw_survey_step {
	size_t shape; /* index */
	struct uw_weights weights;
};

struct uw_survey {
	size_t nshapes;
	struct uw_survey_shape *shapes; /* by coding, rows, columns */
	size_t nsteps;
	struct uw_survey_step *steps;   /* of the first layer, by role; of experts the first one */
	int32_t layer;                  /* -1: no name speaks of layers, and every shape is a step */
};

/*
 * Coded BF16 matrices that linears multiply: not norms and routers, nor the embedding unless it is the head as well.
 * Looks at the index only. joined: those of a layer that have the same x (q, k and v; gate and up) are one matrix, and
 * those of experts are left out. UW_ERR_NOT_FOUND: there are none.
 */
UW_MUST_CHECK enum uw_status uw_survey_open(const struct uw_model *model, bool joined, struct uw_survey *survey,
					    struct uw_error *err);
void uw_survey_close(struct uw_survey *survey); /* zeroed is fine */

/*
 * Fills weights[0 .. n) with the first matrices of a shape. Those beyond its own are from `copies`, the same bundle
 * opened with UW_MODEL_PREAD, whose linears each have memory of their own.
 */
UW_MUST_CHECK enum uw_status uw_survey_weights(const struct uw_survey_shape *shape, const struct uw_model *copies,
					       size_t n, struct uw_weights *weights, struct uw_error *err);

#endif
