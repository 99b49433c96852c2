/* SPDX-License-Identifier: Apache-2.0 */
#include "bounds.h"

#include <malloc.h>

#include "cgroup.h"
#include "provenance.h"

#define BUFFER_NBYTES (1 << 20)          /* larger allocations are buffers */
#define ENOUGH_NBYTES (UINT64_C(160) << 20) /* for one thread, whatever the model */

/* Three quarters of what the cgroup has: its page cache gives way, the rest of the process does not. Too few threads
 * are better than a process that is killed, but too little memory for one thread is only a guess here. */
static uint64_t default_nbytes(void)
{
	uint64_t nbytes = uw_cgroup_memory("/proc/self/cgroup", "/sys/fs/cgroup");

	if (nbytes > UINT64_MAX / 4)
		return 0;
	nbytes -= nbytes / 4;
	return nbytes > ENOUGH_NBYTES ? nbytes : ENOUGH_NBYTES;
}

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
		uw_stop_at(tool->start_ns + (uint64_t)(bounds->seconds * 1e9));
	if (bounds->memory != NULL)
		tool->job.memory = bounds->nbytes != 0 ? bounds->nbytes : 1; /* 0 would be no bound */
	else
		tool->job.memory = default_nbytes();
#ifdef M_MMAP_THRESHOLD
	/* Else glibc keeps for itself what was given back, in a heap for each thread. Where there is plenty, it may. */
	if (tool->job.memory != 0 && tool->job.memory / ENOUGH_NBYTES <= tool->job.nthreads)
		mallopt(M_MMAP_THRESHOLD, BUFFER_NBYTES);
#endif
}
