/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_CGROUP_H
#define UW_CGROUP_H

#include <limits.h>

/* CPUs the cgroups allow: `self` is a text like /proc/self/cgroup, `mount` the folder /sys/fs/cgroup. UINT_MAX: no
 * limit. */
unsigned uw_cgroup_cpus(const char *self, const char *mount);

#endif
