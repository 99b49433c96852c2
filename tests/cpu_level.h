/* SPDX-License-Identifier: Apache-2.0 */
/* Tests run at the level that UW_CPU_LEVEL names, or at the machine's own: the whole suite is run once for each. */
#ifndef UW_CPU_LEVEL_H
#define UW_CPU_LEVEL_H

#include <stdio.h>
#include <stdlib.h>

#include "unweight/kernels.h"

static inline uint32_t cpu_level_flags(void)
{
	const char *name = getenv("UW_CPU_LEVEL");
	uint32_t mask = UINT32_MAX;

	if (name != NULL && !uw_cpu_level_mask(name, &mask)) {
		fprintf(stderr, "UW_CPU_LEVEL: no level \"%s\"\n", name);
		exit(2);
	}
	return uw_cpu_flags() & mask;
}

#endif
