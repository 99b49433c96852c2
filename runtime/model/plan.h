/* SPDX-License-Identifier: Apache-2.0 */
/* Which pipeline a matrix takes: a pure function of what is known before anything runs. */
#ifndef UW_PLAN_H
#define UW_PLAN_H

#include "unweight/codec.h"
#include "unweight/linear.h"

struct uw_plan_key {
	enum uw_coding coding; /* of the group at hand */
	uint64_t nrows, ncols; /* of the matrix */
	unsigned bucket;       /* of the batch */
};

/* Never UW_PIPELINE_AUTO. It need not fit the group: uw_pipeline_serving sees to that. */
enum uw_pipeline uw_plan_choose(const struct uw_linear_options *options, const struct uw_plan_key *key);

#endif
