/* SPDX-License-Identifier: Apache-2.0 */
/* How many threads: as told, or the CPUs that the affinity mask and the cgroups' quotas leave us. */
#include "cgroup.h"

#include <sched.h>

#include "cli.h"

enum { NTHREADS_MAX = 1024, NCPUS_MAX = 1 << 16 };

static unsigned affinity_cpus(void)
{
	/* The kernel refuses a mask smaller than its own with EINVAL: grow until it fits. */
	for (int ncpus = 1024; ncpus <= NCPUS_MAX; ncpus *= 2) {
		cpu_set_t *set = CPU_ALLOC(ncpus);
		size_t nbytes = CPU_ALLOC_SIZE(ncpus);
		int n = 0;

		if (set == NULL)
			break;
		if (sched_getaffinity(0, nbytes, set) == 0)
			n = CPU_COUNT_S(nbytes, set);
		CPU_FREE(set);
		if (n > 0)
			return (unsigned)n;
	}
	return 1;
}

unsigned uw_cpus_available(void)
{
	unsigned ncpus = affinity_cpus();
	unsigned limit = uw_cgroup_cpus("/proc/self/cgroup", "/sys/fs/cgroup");

	return limit < ncpus ? limit : ncpus;
}

bool uw_parse_threads(const char *arg, unsigned *nthreads)
{
	const char *s = arg;
	unsigned n = 0;

	for (; *s >= '0' && *s <= '9' && n <= NTHREADS_MAX; s++)
		n = n * 10 + (unsigned)(*s - '0');
	if (s == arg || *s != '\0' || n > NTHREADS_MAX) {
		uw_msg_error("not a number of threads: '%s' (0 to %d; 0 = all available CPUs)", arg, NTHREADS_MAX);
		return false;
	}
	if (n == 0)
		n = uw_cpus_available();
	*nthreads = n < NTHREADS_MAX ? n : NTHREADS_MAX;
	return true;
}
