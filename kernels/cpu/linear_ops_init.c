/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/kernels.h"
#include "unweight/linear_ops.h"

void uw_linear_ops_init(struct uw_linear_ops *ops, uint32_t cpu_flags)
{
	uw_linear_ops_init_c(ops);
}

const struct uw_linear_kernel *uw_linear_choose(const struct uw_linear_ops *ops, uint64_t batch, bool batch_invariant)
{
	uint32_t n = ops->nkernels - 1; /* the one for large batches, where the choice matters most */

	while (!batch_invariant && n > 0 && ops->kernels[n].min_batch > batch)
		n--;
	return &ops->kernels[n];
}
