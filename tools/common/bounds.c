/* SPDX-License-Identifier: Apache-2.0 */
#include "bounds.h"

#include <malloc.h>

#include "provenance.h"

enum { BUFFER_NBYTES = 1 << 20 }; /* larger allocations are buffers */

bool uw_bounds_option(struct uw_bounds *bounds, int id, const char *arg)
{
	switch (id) {
	case UW_OPT_PROGRESS: return uw_parse_progress(arg);
	case UW_OPT_MAX_TIME: bounds->max_time = arg; return uw_parse_duration(arg, &bounds->seconds);
	case UW_OPT_MEMORY: bounds->memory = arg; return uw_parse_size(arg, &bounds->nbytes);
	}
	return false;
}

void uw_bounds_apply(const struct uw_bounds *bounds, struct uw_tool *tool)
{
	if (bounds->max_time != NULL)
		tool->end_ns = tool->start_ns + (uint64_t)(bounds->seconds * 1e9);
	if (bounds->memory == NULL)
		return;
	tool->job.memory = bounds->nbytes != 0 ? bounds->nbytes : 1; /* 0 would be no bound */
#ifdef M_MMAP_THRESHOLD
	/* Else glibc keeps for itself what was given back, in a heap for each thread. */
	mallopt(M_MMAP_THRESHOLD, BUFFER_NBYTES);
#endif
}
