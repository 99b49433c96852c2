/* SPDX-License-Identifier: Apache-2.0 */
/* Built where there is no nvcc. */
#include "unweight/gpu_ops.h"

const struct uw_gpu_ops *uw_gpu_ops_cuda(void)
{
	return NULL;
}
