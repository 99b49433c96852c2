/* SPDX-License-Identifier: Apache-2.0 */
#include "gemm_kernels.cuh"
#include "gemm_wgmma.cuh"

UW_WGMMA_KERNELS(raw, UW_LINEAR_RAW)
