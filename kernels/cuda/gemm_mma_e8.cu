/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm_kernels.cuh"
#include "gemm_mma.cuh"

UW_MMA_KERNELS(e8, UW_LINEAR_E8)
