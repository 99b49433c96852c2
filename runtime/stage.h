/* SPDX-License-Identifier: Apache-2.0 */
/* Accounting of time for uw_job.spent. */
#ifndef UW_STAGE_H
#define UW_STAGE_H

#include "unweight/clock.h"
#include "unweight/container.h"

static inline uint64_t uw_stage_clock(const struct uw_job *job)
{
	return job->spent != NULL ? uw_clock_ns() : 0;
}

/* Ends a stage that began at *since; the next one begins. */
static inline void uw_stage_end(const struct uw_job *job, enum uw_stage stage, uint64_t *since)
{
	uint64_t now = uw_stage_clock(job);

	if (job->spent != NULL)
		job->spent(job->ctx, stage, now - *since);
	*since = now;
}

#endif
