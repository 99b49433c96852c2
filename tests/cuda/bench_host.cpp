/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The runtime of host_cuda/cuda_runtime_api.h and the launches of unweight/gpu_*.h, for a driver of tests/bench/gpu. With
 * UW_BENCH_IDLE launches are looked at and do nothing: what is left is the driver. They are too large to be emulated.
 */
#include <cuda_runtime_api.h>

#include <chrono>

#include "launch_emu.h"

struct CUgraph_st {
	std::vector<std::function<void()>> work;
};

struct CUstream_st {
	struct CUgraph_st *capture; /* NULL: work is done at once */
};

struct CUevent_st {
	std::chrono::steady_clock::time_point at;
};

namespace {

bool preloaded[2];

/* A launch may be captured; its kernel must not be loaded then. */
enum uw_status queue(struct CUstream_st *stream, const std::function<void()> &run)
{
	static const bool idle = getenv("UW_BENCH_IDLE") != NULL;

	if (stream != NULL && stream->capture != NULL)
		stream->capture->work.push_back(idle ? [] {} : run);
	else if (!idle)
		run();
	return UW_OK;
}

template <enum uw_gpu_output OUTPUT>
enum uw_status decode(const struct uw_gpu_decode *d, enum uw_coding coding, struct CUstream_st *stream)
{
	return d->coding != (uint32_t)coding || d->nchunks == 0 ? UW_ERR_ARG : queue(stream, emu_decode<OUTPUT>(*d));
}

} // namespace

/* ---- runtime ---- */

const char *cudaGetErrorString(cudaError_t error)
{
	return error == cudaSuccess ? "success" : "invalid value";
}

cudaError_t cudaGetDeviceCount(int *n)
{
	*n = 1;
	return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(struct cudaDeviceProp *properties, int)
{
	*properties = { "Emulated GPU", (int)hopper.nsms };
	return cudaSuccess;
}

cudaError_t cudaMalloc(void **p, size_t nbytes)
{
	return posix_memalign(p, 256, nbytes) == 0 ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaFree(void *p)
{
	free(p);
	return cudaSuccess;
}

cudaError_t cudaMemset(void *p, int value, size_t nbytes)
{
	if (nbytes != 0)
		memset(p, value, nbytes);
	return cudaSuccess;
}

cudaError_t cudaMemcpy(void *to, const void *from, size_t nbytes, cudaMemcpyKind)
{
	if (nbytes != 0)
		memcpy(to, from, nbytes);
	return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void *to, const void *from, size_t nbytes, cudaMemcpyKind kind, cudaStream_t)
{
	return cudaMemcpy(to, from, nbytes, kind);
}

cudaError_t cudaMemcpy2D(void *to, size_t to_pitch, const void *from, size_t from_pitch, size_t width, size_t height,
			 cudaMemcpyKind)
{
	for (size_t i = 0; i < height; i++)
		memcpy((uint8_t *)to + i * to_pitch, (const uint8_t *)from + i * from_pitch, width);
	return cudaSuccess;
}

cudaError_t cudaDeviceSynchronize(void)
{
	return cudaSuccess;
}

cudaError_t cudaStreamCreate(cudaStream_t *stream)
{
	*stream = new CUstream_st{ NULL };
	return cudaSuccess;
}

cudaError_t cudaStreamDestroy(cudaStream_t stream)
{
	delete stream;
	return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream)
{
	return stream == NULL || stream->capture == NULL ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode)
{
	if (stream == NULL || stream->capture != NULL)
		return cudaErrorInvalidValue;
	stream->capture = new CUgraph_st;
	return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t *graph)
{
	*graph = stream->capture;
	stream->capture = NULL;
	return *graph != NULL ? cudaSuccess : cudaErrorInvalidValue;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t *exec, cudaGraph_t graph, unsigned long long)
{
	*exec = new CUgraph_st(*graph);
	return cudaSuccess;
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t exec, cudaStream_t)
{
	for (const std::function<void()> &run : exec->work)
		run();
	return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t exec)
{
	delete exec;
	return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph)
{
	delete graph;
	return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t *event)
{
	*event = new CUevent_st{};
	return cudaSuccess;
}

cudaError_t cudaEventDestroy(cudaEvent_t event)
{
	delete event;
	return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t)
{
	event->at = std::chrono::steady_clock::now();
	return cudaSuccess;
}

cudaError_t cudaEventElapsedTime(float *ms, cudaEvent_t begin, cudaEvent_t end)
{
	*ms = std::chrono::duration<float, std::milli>(end->at - begin->at).count();
	return cudaSuccess;
}

/* ---- launches ---- */

enum uw_status uw_gpu_device_init(int, struct uw_gpu_device *device)
{
	*device = hopper;
	return UW_OK;
}

enum uw_status uw_gpu_gemm_preload(enum uw_gpu_gemm_kernel kind)
{
	preloaded[kind] = true;
	return UW_OK;
}

enum uw_status uw_gpu_decode_preload(void)
{
	return UW_OK;
}

enum uw_status uw_gpu_matrix_map(struct uw_gpu_matrix *matrix)
{
	return emu_matrix_map(matrix);
}

enum uw_status uw_gpu_gemm(const struct uw_gpu_gemm *gemm, struct CUstream_st *stream)
{
	struct uw_gpu_gemm g = *gemm;

	if (g.x_dev == NULL || (uintptr_t)g.x_dev % 16 != 0 || g.x_ld % 8 != 0 || g.x_ld < g.ncols || g.y_dev == NULL ||
	    (g.workspace_nbytes != 0 && (g.workspace_dev == NULL || (uintptr_t)g.workspace_dev % 256 != 0)))
		return UW_ERR_ARG;
	if (!preloaded[g.config.kernel] || g.shared_nbytes + 1024 > hopper.shared_nbytes / g.config.blocks_per_sm)
		return UW_ERR_DEVICE;
	return queue(stream, [=] { run_gemm(g, rng()); });
}

enum uw_status uw_gpu_gather(const struct uw_gpu_matrix *matrix, const uint32_t *rows_dev, uint32_t nrows,
			     uint16_t *y_dev, uint64_t y_ld, struct CUstream_st *stream)
{
	return queue(stream, emu_gather(*matrix, rows_dev, nrows, y_dev, y_ld));
}

enum uw_status uw_gpu_decode_p4(const struct uw_gpu_decode *d, struct CUstream_st *stream)
{
	return decode<UW_GPU_WEIGHTS>(d, UW_CODING_P4, stream);
}

enum uw_status uw_gpu_decode_h(const struct uw_gpu_decode *d, struct CUstream_st *stream)
{
	return decode<UW_GPU_WEIGHTS>(d, UW_CODING_H, stream);
}

enum uw_status uw_gpu_transcode_h(const struct uw_gpu_decode *d, struct CUstream_st *stream)
{
	return decode<UW_GPU_NIBBLES>(d, UW_CODING_H, stream);
}

enum uw_status uw_gpu_exponents_h(const struct uw_gpu_decode *d, struct CUstream_st *stream)
{
	return decode<UW_GPU_EXPONENTS>(d, UW_CODING_H, stream);
}
