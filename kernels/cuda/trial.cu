/* SPDX-License-Identifier: Apache-2.0 */
/* Compiled by meson.build to see whether nvcc and its host compiler work. */
#include <cuda_runtime_api.h>

__global__ void trial(unsigned *p)
{
	*p = threadIdx.x;
}
