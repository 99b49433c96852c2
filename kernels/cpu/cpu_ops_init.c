/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/kernels.h"

void uw_cpu_ops_init(struct uw_cpu_ops *ops, uint32_t cpu_flags)
{
	uw_cpu_ops_init_c(ops);
}
