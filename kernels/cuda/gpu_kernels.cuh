/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of a kernel before it is launched for the first time. */
#ifndef UW_GPU_KERNELS_CUH
#define UW_GPU_KERNELS_CUH

#include <cuda_runtime_api.h>

/*
 * Loads a kernel; a block of it may have up to `most_nbytes` of dynamic shared memory. Shared memory gets all that the
 * first cache can do without, for each kernel alike: a multiprocessor has to be idle to divide it anew, and kernels that
 * want it divided otherwise could not run beside one another.
 */
static inline cudaError_t uw_preload_kernel(const void *kernel, int most_nbytes)
{
	cudaFuncAttributes attributes;
	cudaError_t error = cudaFuncGetAttributes(&attributes, kernel);

	if (error == cudaSuccess && most_nbytes > attributes.maxDynamicSharedSizeBytes)
		error = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, most_nbytes);
	if (error == cudaSuccess)
		error = cudaFuncSetAttribute(kernel, cudaFuncAttributePreferredSharedMemoryCarveout,
					     cudaSharedmemCarveoutMaxShared);
	return error;
}
#endif
