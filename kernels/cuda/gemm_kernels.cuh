/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The kernels themselves, a table for each source and kind of hardware. A .cu file makes one table: they compile beside
 * one another.
 */
#ifndef UW_GEMM_KERNELS_CUH
#define UW_GEMM_KERNELS_CUH

#include "gemm_layout.h"

#define UW_WGMMA_SIZES 6u /* tile_n 8 .. 256 */
#define UW_MMA_SIZES 5u   /* 8 .. 128 */

/* CUtensorMap, without CUDA's headers. */
struct uw_tensor_map {
	alignas(64) uint64_t words[16];
};

/* By log2(tile_n) - 3. Parameters: struct uw_gpu_gemm and, for wgmma, the tensor map of x. */
extern const void *const uw_wgmma_p4_kernels[UW_WGMMA_SIZES], *const uw_wgmma_e8_kernels[UW_WGMMA_SIZES];
extern const void *const uw_wgmma_raw_kernels[UW_WGMMA_SIZES];
extern const void *const uw_mma_p4_kernels[UW_MMA_SIZES], *const uw_mma_e8_kernels[UW_MMA_SIZES];
extern const void *const uw_mma_raw_kernels[UW_MMA_SIZES];

#define UW_WGMMA_KERNEL(source, SOURCE, n) \
	extern "C" __global__ void __launch_bounds__(UW_WGMMA_THREADS(n), UW_WGMMA_MAX_BLOCKS(n)) \
	uw_kernel_wgmma_##source##_##n(const __grid_constant__ struct uw_gpu_gemm gemm, \
				       const __grid_constant__ struct uw_tensor_map x) \
	{ \
		uw_gemm_wgmma<SOURCE, n>(gemm, &x); \
	}

#define UW_WGMMA_KERNELS(source, SOURCE) \
	UW_WGMMA_KERNEL(source, SOURCE, 8) \
	UW_WGMMA_KERNEL(source, SOURCE, 16) \
	UW_WGMMA_KERNEL(source, SOURCE, 32) \
	UW_WGMMA_KERNEL(source, SOURCE, 64) \
	UW_WGMMA_KERNEL(source, SOURCE, 128) \
	UW_WGMMA_KERNEL(source, SOURCE, 256) \
	const void *const uw_wgmma_##source##_kernels[UW_WGMMA_SIZES] = { \
		(const void *)uw_kernel_wgmma_##source##_8,   (const void *)uw_kernel_wgmma_##source##_16, \
		(const void *)uw_kernel_wgmma_##source##_32,  (const void *)uw_kernel_wgmma_##source##_64, \
		(const void *)uw_kernel_wgmma_##source##_128, (const void *)uw_kernel_wgmma_##source##_256, \
	};

#define UW_MMA_KERNEL(source, SOURCE, n) \
	extern "C" __global__ void __launch_bounds__(UW_MMA_THREADS, UW_MMA_MAX_BLOCKS(n)) \
	uw_kernel_mma_##source##_##n(const __grid_constant__ struct uw_gpu_gemm gemm) \
	{ \
		uw_gemm_mma<SOURCE, n>(gemm); \
	}

#define UW_MMA_KERNELS(source, SOURCE) \
	UW_MMA_KERNEL(source, SOURCE, 8) \
	UW_MMA_KERNEL(source, SOURCE, 16) \
	UW_MMA_KERNEL(source, SOURCE, 32) \
	UW_MMA_KERNEL(source, SOURCE, 64) \
	UW_MMA_KERNEL(source, SOURCE, 128) \
	const void *const uw_mma_##source##_kernels[UW_MMA_SIZES] = { \
		(const void *)uw_kernel_mma_##source##_8,  (const void *)uw_kernel_mma_##source##_16, \
		(const void *)uw_kernel_mma_##source##_32, (const void *)uw_kernel_mma_##source##_64, \
		(const void *)uw_kernel_mma_##source##_128, \
	};
#endif
