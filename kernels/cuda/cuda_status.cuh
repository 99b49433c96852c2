/* SPDX-License-Identifier: Apache-2.0 */
/* What CUDA says, as a status. */
#ifndef UW_CUDA_STATUS_CUH
#define UW_CUDA_STATUS_CUH

#include <cuda_runtime_api.h>

#include "unweight/status.h"

static inline enum uw_status uw_status_of(cudaError_t error)
{
	switch (error) {
	case cudaSuccess:
		return UW_OK;
	case cudaErrorNoDevice:
	case cudaErrorInvalidDevice:
	case cudaErrorInsufficientDriver:
	case cudaErrorNoKernelImageForDevice:
	case cudaErrorUnsupportedPtxVersion:
	case cudaErrorStubLibrary:
		return UW_ERR_NO_DEVICE;
	case cudaErrorMemoryAllocation:
		return UW_ERR_NOMEM;
	default:
		return UW_ERR_DEVICE;
	}
}
#endif
