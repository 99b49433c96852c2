/* SPDX-License-Identifier: Apache-2.0 */
/* The fastest loops this machine has, in the table that libcodec/ defines. */
#ifndef UNWEIGHT_KERNELS_H
#define UNWEIGHT_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "unweight/cpu_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* CPU levels, cumulative: a level's bit is only set together with those below it. */
enum uw_cpu_flag {
	UW_CPU_SSE42 = 1u << 0,      /* x86-64-v2 */
	UW_CPU_AVX2 = 1u << 1,       /* x86-64-v3: with BMI1, BMI2, FMA */
	UW_CPU_AVX512 = 1u << 2,     /* F, BW, VL, DQ, VBMI, VBMI2, BITALG, GFNI */
	UW_CPU_AVX512BF16 = 1u << 3, /* BF16 */
	UW_CPU_AMX = 1u << 4,        /* AMX-TILE, AMX-BF16 */
};

/* Levels of this machine that the operating system enables. Asks Linux to let this process use the tile registers of
 * AMX, as it has to before any thread does. */
uint32_t uw_cpu_flags(void);

/* All levels up to the one of that name: "c" (0), "sse42", "avx2", "avx512", "avx512bf16", "amx". False: there is
 * no such level. */
bool uw_cpu_level_mask(const char *name, uint32_t *mask);
/* Name of the highest level that is in flags. */
const char *uw_cpu_level_name(uint32_t flags);

/* The table for these levels: portable C first, then each level's variants over it. */
void uw_cpu_ops_init(struct uw_cpu_ops *ops, uint32_t cpu_flags);

#ifdef __cplusplus
}
#endif
#endif
