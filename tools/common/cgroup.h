/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_CGROUP_H
#define UW_CGROUP_H

#include <limits.h>
#include <stdint.h>

/* CPUs the cgroups allow: `self` is a text like /proc/self/cgroup, `mount` the folder /sys/fs/cgroup. UINT_MAX: no
 * limit. */
unsigned uw_cgroup_cpus(const char *self, const char *mount);
/* The same for bytes of memory; UINT64_MAX: no limit, or one beyond all machines. */
uint64_t uw_cgroup_memory(const char *self, const char *mount);

#endif
