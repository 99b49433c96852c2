/* SPDX-License-Identifier: Apache-2.0 */
#include "plan.h"

#include "unweight/tuning.h"

/* Without a tuning: palette codes, which read the least where reading is what takes the time and are as good as any
 * where multiplying is (tests/bench/results/linear.md). */
static enum uw_pipeline standard(enum uw_coding coding)
{
	return coding == UW_CODING_H ? UW_PIPELINE_TRANSCODE : UW_PIPELINE_PALETTE;
}

enum uw_pipeline uw_plan_choose(const struct uw_linear_options *options, const struct uw_plan_key *key)
{
	const struct uw_tuning_entry *entry = NULL;

	if (options->pipeline != UW_PIPELINE_AUTO)
		return options->pipeline;
	if (options->tuning != NULL)
		entry = uw_tuning_find(options->tuning, (uint8_t)key->coding, key->nrows, key->ncols,
				       UINT64_C(1) << key->bucket);
	return entry != NULL ? (enum uw_pipeline)entry->pipeline : standard(key->coding);
}
