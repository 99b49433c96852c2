/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/kernels.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

/* The compiler's run-time support asks CPUID and checks that the system saves the registers. */
uint32_t uw_cpu_flags(void)
{
	uint32_t flags = 0;

	__builtin_cpu_init();
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
		return flags;
	flags |= UW_CPU_SSE42;
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2"))
		return flags;
	flags |= UW_CPU_AVX2;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
	    !__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512vbmi2") ||
	    !__builtin_cpu_supports("avx512bitalg") || !__builtin_cpu_supports("gfni"))
		return flags;
	return flags | UW_CPU_AVX512;
}

#else

uint32_t uw_cpu_flags(void)
{
	return 0;
}

#endif

bool uw_cpu_level_mask(const char *name, uint32_t *mask)
{
	static const char *const names[] = { "c", "sse42", "avx2", "avx512" };

	for (unsigned n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		if (strcmp(name, names[n]) == 0) {
			*mask = (1u << n) - 1; /* the flags stand in this order */
			return true;
		}
	}
	return false;
}
