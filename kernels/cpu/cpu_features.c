/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/kernels.h"

#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)

#include <cpuid.h>

#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#define REQUEST_PERMISSION 0x1023 /* ARCH_REQ_XCOMP_PERM of arch_prctl(2) */
#define TILE_DATA 18

/* Linux gives the tile registers to processes that ask; it refuses where it does not save them. */
static bool have_tiles(void)
{
	return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

#else

static bool have_tiles(void)
{
	return false;
}

#endif

static bool have_amx(void)
{
	const unsigned amx = 1u << 22 | 1u << 24; /* AMX-BF16, AMX-TILE */
	unsigned a, b, c, d;

	return __get_cpuid_count(7, 0, &a, &b, &c, &d) && (d & amx) == amx && have_tiles();
}

/* The compiler's run-time support asks CPUID and checks that the system saves the registers. */
uint32_t uw_cpu_flags(void)
{
	uint32_t flags = 0;

	__builtin_cpu_init();
	if (!__builtin_cpu_supports("sse4.2") || !__builtin_cpu_supports("popcnt"))
		return flags;
	flags |= UW_CPU_SSE42;
	if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi") || !__builtin_cpu_supports("bmi2") ||
	    !__builtin_cpu_supports("fma"))
		return flags;
	flags |= UW_CPU_AVX2;
	if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
	    !__builtin_cpu_supports("avx512vl") || !__builtin_cpu_supports("avx512dq") ||
	    !__builtin_cpu_supports("avx512vbmi") || !__builtin_cpu_supports("avx512vbmi2") ||
	    !__builtin_cpu_supports("avx512bitalg") || !__builtin_cpu_supports("gfni"))
		return flags;
	flags |= UW_CPU_AVX512;
	if (!__builtin_cpu_supports("avx512bf16"))
		return flags;
	flags |= UW_CPU_AVX512BF16;
	return have_amx() ? flags | UW_CPU_AMX : flags;
}

#else

uint32_t uw_cpu_flags(void)
{
	return 0;
}

#endif

enum { NLEVELS = 6 };

static const char *const level_names[NLEVELS] = { "c", "sse42", "avx2", "avx512", "avx512bf16", "amx" };

/* The flags stand in this order. */
static uint32_t mask_of(unsigned level)
{
	return (1u << level) - 1;
}

bool uw_cpu_level_mask(const char *name, uint32_t *mask)
{
	for (unsigned n = 0; n < NLEVELS; n++) {
		if (strcmp(name, level_names[n]) == 0) {
			*mask = mask_of(n);
			return true;
		}
	}
	return false;
}

const char *uw_cpu_level_name(uint32_t flags)
{
	unsigned n = NLEVELS - 1;

	while ((mask_of(n) & ~flags) != 0)
		n--;
	return level_names[n];
}
