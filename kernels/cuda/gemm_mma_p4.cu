/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm_kernels.cuh"
#include "gemm_mma.cuh"

UW_MMA_KERNELS(p4, UW_LINEAR_P4)
