/* SPDX-License-Identifier: Apache-2.0 */
/* The kernels of decode.cuh and their launches. */
#include <cuda_runtime_api.h>

#include "cuda_status.cuh"
#include "decode.cuh"
#include "gpu_kernels.cuh"

#define THREADS (32 * UW_WARPS)

extern "C" __global__ void __launch_bounds__(THREADS) uw_kernel_decode_p4(const struct uw_gpu_decode decode)
{
	uw_warp_p4(decode);
}

extern "C" __global__ void __launch_bounds__(THREADS) uw_kernel_decode_h(const struct uw_gpu_decode decode)
{
	uw_warp_h<UW_GPU_WEIGHTS>(decode);
}

extern "C" __global__ void __launch_bounds__(THREADS) uw_kernel_transcode_h(const struct uw_gpu_decode decode)
{
	uw_warp_h<UW_GPU_NIBBLES>(decode);
}

extern "C" __global__ void __launch_bounds__(THREADS) uw_kernel_exponents_h(const struct uw_gpu_decode decode)
{
	uw_warp_h<UW_GPU_EXPONENTS>(decode);
}

enum uw_status uw_gpu_decode_preload(void)
{
	static const void *const kernels[] = {
		(const void *)uw_kernel_decode_p4,
		(const void *)uw_kernel_decode_h,
		(const void *)uw_kernel_transcode_h,
		(const void *)uw_kernel_exponents_h,
	};
	cudaError_t error = cudaSuccess;

	for (const void *kernel : kernels) {
		if (error == cudaSuccess)
			error = uw_preload_kernel(kernel, 0);
	}
	return uw_status_of(error);
}

/* At most 39 KB of shared memory a block: every device gives that without being asked. */
static enum uw_status launch(const void *kernel, const struct uw_gpu_decode *decode, enum uw_coding coding,
			     enum uw_gpu_output output, cudaStream_t stream)
{
	struct uw_gpu_decode copy = *decode;
	void *params[] = { &copy };

	if (decode->coding != (uint32_t)coding || decode->nchunks == 0)
		return UW_ERR_ARG;
	return uw_status_of(cudaLaunchKernel(kernel, dim3((decode->nchunks - 1) / UW_WARPS + 1), dim3(THREADS), params,
					     uw_shared_nbytes(decode->coding, output, decode->stream_room), stream));
}

enum uw_status uw_gpu_decode_p4(const struct uw_gpu_decode *decode, struct CUstream_st *stream)
{
	return launch((const void *)uw_kernel_decode_p4, decode, UW_CODING_P4, UW_GPU_WEIGHTS, stream);
}

enum uw_status uw_gpu_decode_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream)
{
	return launch((const void *)uw_kernel_decode_h, decode, UW_CODING_H, UW_GPU_WEIGHTS, stream);
}

enum uw_status uw_gpu_transcode_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream)
{
	return launch((const void *)uw_kernel_transcode_h, decode, UW_CODING_H, UW_GPU_NIBBLES, stream);
}

enum uw_status uw_gpu_exponents_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream)
{
	return launch((const void *)uw_kernel_exponents_h, decode, UW_CODING_H, UW_GPU_EXPONENTS, stream);
}
