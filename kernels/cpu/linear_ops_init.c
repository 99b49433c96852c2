/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/kernels.h"
#include "unweight/linear_ops.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "x86/x86.h"

/* The kernels of a level replace those of the one below; AMX stands beside. */
static void init_x86(struct uw_linear_ops *ops, uint32_t flags)
{
	if (flags & UW_CPU_AVX2)
		uw_linear_kernel_avx2(&ops->kernels[0]);
	if (flags & UW_CPU_AVX512BF16)
		uw_linear_kernel_avx512bf16(&ops->kernels[0]);
	if (flags & UW_CPU_AMX)
		uw_linear_kernel_amx(&ops->kernels[ops->nkernels++]);
}

#else

static void init_x86(struct uw_linear_ops *ops, uint32_t flags)
{
}

#endif

void uw_linear_ops_init(struct uw_linear_ops *ops, uint32_t cpu_flags)
{
	uw_linear_ops_init_c(ops);
	init_x86(ops, cpu_flags);
}

const struct uw_linear_kernel *uw_linear_choose(const struct uw_linear_ops *ops, uint64_t batch, bool batch_invariant)
{
	uint32_t n = ops->nkernels - 1; /* the one for large batches, where the choice matters most */

	while (!batch_invariant && n > 0 && ops->kernels[n].min_batch > batch)
		n--;
	return &ops->kernels[n];
}
