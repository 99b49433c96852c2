/* SPDX-License-Identifier: Apache-2.0 */
/* What the cgroups that this process is in leave it, in version 1 and 2 of their file system. */
#include "cgroup.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

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

static uint64_t cpus_of_quota(long long quota, long long period)
{
	if (quota <= 0 || period <= 0)
		return UINT64_MAX; /* v1 says -1 for no limit */
	return (uint64_t)(quota / period + (quota % period != 0));
}

static uint64_t cpus_of_folder(const char *folder)
{
	char text[64], text_period[64];
	long long quota, period;

	if (read_text(folder, "cpu.max", text, sizeof(text)) && sscanf(text, "%lld %lld", &quota, &period) == 2)
		return cpus_of_quota(quota, period); /* "max 100000" does not scan: no limit */
	if (read_text(folder, "cpu.cfs_quota_us", text, sizeof(text)) && sscanf(text, "%lld", &quota) == 1 &&
	    read_text(folder, "cpu.cfs_period_us", text_period, sizeof(text_period)) &&
	    sscanf(text_period, "%lld", &period) == 1)
		return cpus_of_quota(quota, period);
	return UINT64_MAX;
}

static uint64_t memory_of_folder(const char *folder)
{
	unsigned long long nbytes;
	char text[64];

	if ((read_text(folder, "memory.max", text, sizeof(text)) ||
	     read_text(folder, "memory.limit_in_bytes", text, sizeof(text))) &&
	    sscanf(text, "%llu", &nbytes) == 1)
		return nbytes; /* "max" does not scan; v1 says some number that no machine has */
	return UINT64_MAX;
}

struct resource {
	const char *controller; /* its name in version 1 */
	uint64_t (*limit)(const char *folder);
};

/* The least limit of a group and its parents. In a container the path may name a folder that is not mounted here;
 * those levels count as no limit, and the mount itself is the container's own group. */
static uint64_t limit_of_group(const struct resource *resource, const char *mount, const char *controller,
			       const char *path)
{
	char folder[4096];
	size_t root;
	uint64_t least = UINT64_MAX;
	int n = snprintf(folder, sizeof(folder), "%s%s%s%s", mount, controller[0] != '\0' ? "/" : "", controller, path);

	if (n >= (int)sizeof(folder))
		return UINT64_MAX;
	root = (size_t)n - strlen(path);
	for (;;) {
		uint64_t limit = resource->limit(folder);
		char *slash = strrchr(folder + root, '/');

		if (limit < least)
			least = limit;
		if (slash == NULL)
			return least;
		*slash = '\0';
	}
}

/* "cpu,cpuacct" or "cpuacct,cpu" or "cpu": is cpu in the list? */
static bool lists(const char *controllers, const char *name)
{
	size_t n = strlen(name);

	for (const char *s = controllers; s != NULL; s = strchr(s, ',')) {
		s += *s == ',';
		if (strncmp(s, name, n) == 0 && (s[n] == ',' || s[n] == '\0'))
			return true;
	}
	return false;
}

/* One line of /proc/self/cgroup, "id:controllers:path"; version 2 has an empty list. */
static uint64_t limit_of_line(const struct resource *resource, char *line, const char *mount)
{
	char *controllers = strchr(line, ':');
	char *path = controllers != NULL ? strchr(controllers + 1, ':') : NULL;

	if (path == NULL)
		return UINT64_MAX;
	*path++ = '\0';
	controllers++;
	path[strcspn(path, "\n")] = '\0';
	if (controllers[0] != '\0' && !lists(controllers, resource->controller))
		return UINT64_MAX;
	return limit_of_group(resource, mount, controllers, path);
}

static uint64_t least_limit(const struct resource *resource, const char *self, const char *mount)
{
	char line[4096];
	uint64_t least = UINT64_MAX;
	FILE *f = fopen(self, "re");

	if (f == NULL)
		return UINT64_MAX;
	while (fgets(line, sizeof(line), f) != NULL) {
		uint64_t limit = limit_of_line(resource, line, mount);

		if (limit < least)
			least = limit;
	}
	fclose(f);
	return least;
}

unsigned uw_cgroup_cpus(const char *self, const char *mount)
{
	static const struct resource cpus = { "cpu", cpus_of_folder };
	uint64_t ncpus = least_limit(&cpus, self, mount);

	return ncpus < UINT_MAX ? (unsigned)ncpus : UINT_MAX;
}

uint64_t uw_cgroup_memory(const char *self, const char *mount)
{
	static const struct resource memory = { "memory", memory_of_folder };

	return least_limit(&memory, self, mount);
}
