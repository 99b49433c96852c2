/* SPDX-License-Identifier: Apache-2.0 */
/* How many threads: as told, or the CPUs that the affinity mask and the cgroups' quotas leave us. */
#include "cgroup.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>

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

/* Reads a small file below a folder; false if it is not there. */
static bool read_text(const char *folder, const char *name, char *buf, size_t nbytes)
{
	char path[4096 + 64];
	size_t n;
	FILE *f;

	if (snprintf(path, sizeof(path), "%s/%s", folder, name) >= (int)sizeof(path))
		return false;
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	n = fread(buf, 1, nbytes - 1, f);
	buf[n] = '\0';
	fclose(f);
	return true;
}

static unsigned cpus_of_quota(long long quota, long long period)
{
	if (quota <= 0 || period <= 0)
		return UINT_MAX; /* v1 says -1 for no limit */
	return quota / period >= NCPUS_MAX ? UINT_MAX : (unsigned)(quota / period + (quota % period != 0));
}

static unsigned limit_of_folder(const char *folder)
{
	char text[64], text_period[64];
	long long quota, period;

	if (read_text(folder, "cpu.max", text, sizeof(text)) && sscanf(text, "%lld %lld", &quota, &period) == 2)
		return cpus_of_quota(quota, period); /* "max 100000" does not scan: no limit */
	if (read_text(folder, "cpu.cfs_quota_us", text, sizeof(text)) && sscanf(text, "%lld", &quota) == 1 &&
	    read_text(folder, "cpu.cfs_period_us", text_period, sizeof(text_period)) &&
	    sscanf(text_period, "%lld", &period) == 1)
		return cpus_of_quota(quota, period);
	return UINT_MAX;
}

/* The least limit of a group and its parents. In a container the path may name a folder that is not mounted here;
 * those levels count as no limit, and the mount itself is the container's own group. */
static unsigned limit_of_group(const char *mount, const char *controller, const char *path)
{
	char folder[4096];
	size_t root;
	unsigned least = UINT_MAX;
	int n = snprintf(folder, sizeof(folder), "%s%s%s%s", mount, controller[0] != '\0' ? "/" : "", controller, path);

	if (n >= (int)sizeof(folder))
		return UINT_MAX;
	root = (size_t)n - strlen(path);
	for (;;) {
		unsigned limit = limit_of_folder(folder);
		char *slash = strrchr(folder + root, '/');

		if (limit < least)
			least = limit;
		if (slash == NULL)
			return least;
		*slash = '\0';
	}
}

/* "cpu,cpuacct" or "cpuacct,cpu" or "cpu": is cpu in the list? */
static bool lists_cpu(const char *controllers)
{
	for (const char *s = controllers; s != NULL; s = strchr(s, ',')) {
		s += *s == ',';
		if (strncmp(s, "cpu", 3) == 0 && (s[3] == ',' || s[3] == '\0'))
			return true;
	}
	return false;
}

/* One line of /proc/self/cgroup, "id:controllers:path"; version 2 has an empty list. */
static unsigned limit_of_line(char *line, const char *mount)
{
	char *controllers = strchr(line, ':');
	char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (path == NULL)
		return UINT_MAX;
	*path++ = '\0';
	controllers++;
	path[strcspn(path, "\n")] = '\0';
	if (controllers[0] != '\0' && !lists_cpu(controllers))
		return UINT_MAX;
	return limit_of_group(mount, controllers, path);
}

unsigned uw_cgroup_cpus(const char *self, const char *mount)
{
	char line[4096];
	unsigned least = UINT_MAX;
	FILE *f = fopen(self, "re");

	if (f == NULL)
		return UINT_MAX;
	while (fgets(line, sizeof(line), f) != NULL) {
		unsigned limit = limit_of_line(line, mount);

		if (limit < least)
			least = limit;
	}
	fclose(f);
	return least;
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
