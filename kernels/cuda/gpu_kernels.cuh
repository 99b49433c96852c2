/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of decode.cu and gemm.cu, for whoever loads them beforehand. */
#ifndef UW_GPU_KERNELS_CUH
#define UW_GPU_KERNELS_CUH

#include "unweight/gpu_ops.h"

#define UW_DECODE_KERNELS 4u

extern const void *const uw_decode_kernels[UW_DECODE_KERNELS];
extern const void *const uw_gather_kernel;
#endif
