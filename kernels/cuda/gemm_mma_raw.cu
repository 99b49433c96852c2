/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm_kernels.cuh"
#include "gemm_mma.cuh"

UW_MMA_KERNELS(raw, UW_LINEAR_RAW)
