/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of CUDA. Its runtime is linked statically: it looks for the driver when it is first called, so a program
 * with this in it starts where there is none, and it shares the device's primary context, hence streams and memory,
 * with whatever other runtime the process has.
 */
#include <string.h>

#include <cuda_runtime_api.h>

#include "cublas_lt.cuh"
#include "cuda_status.cuh"

/* Where the driver says 0, as newer ones may for clocks: of an A100, about. They are for guesses, which divide by them. */
#define MEMORY_KHZ 1200000
#define MEMORY_BITS 5120
#define KHZ 1400000

static uint64_t known(int value, int otherwise)
{
	return (uint64_t)(value > 0 ? value : otherwise);
}

static enum uw_status open(int number, struct uw_gpu_facts *facts)
{
	struct uw_gpu_device device;
	int l2 = 0, width = 0, memory_khz = 0, khz = 0;
	cudaDeviceProp properties;
	cudaError_t error = cudaSetDevice(number);
	enum uw_status status;

	if (error == cudaSuccess)
		error = cudaGetDeviceProperties(&properties, number);
	if (error == cudaSuccess)
		error = cudaDeviceGetAttribute(&l2, cudaDevAttrL2CacheSize, number);
	if (error == cudaSuccess)
		error = cudaDeviceGetAttribute(&width, cudaDevAttrGlobalMemoryBusWidth, number);
	if (error == cudaSuccess)
		error = cudaDeviceGetAttribute(&memory_khz, cudaDevAttrMemoryClockRate, number);
	if (error == cudaSuccess)
		error = cudaDeviceGetAttribute(&khz, cudaDevAttrClockRate, number);
	if (error != cudaSuccess)
		return uw_status_of(error);
	status = uw_gpu_device_init(number, &device);
	*facts = { "", device, (uint64_t)l2, known(memory_khz, MEMORY_KHZ) * 1000 * known(width, MEMORY_BITS) / 8 * 2,
		   (uint32_t)known(khz, KHZ) / 1000 };
	memcpy(facts->name, properties.name, sizeof(facts->name) - 1);
	return status;
}

static enum uw_status alloc(uint64_t nbytes, void **memory_dev)
{
	return uw_status_of(cudaMalloc(memory_dev, nbytes));
}

static void free_memory(void *memory_dev)
{
	(void)cudaFree(memory_dev);
}

static enum uw_status copy_in(void *dst_dev, const void *src, uint64_t nbytes, cudaStream_t stream)
{
	return uw_status_of(cudaMemcpyAsync(dst_dev, src, nbytes, cudaMemcpyHostToDevice, stream));
}

static enum uw_status copy_out(void *dst, const void *src_dev, uint64_t nbytes, cudaStream_t stream)
{
	return uw_status_of(cudaMemcpyAsync(dst, src_dev, nbytes, cudaMemcpyDeviceToHost, stream));
}

static enum uw_status copy_within(void *dst_dev, const void *src_dev, uint64_t nbytes, cudaStream_t stream)
{
	return uw_status_of(cudaMemcpyAsync(dst_dev, src_dev, nbytes, cudaMemcpyDeviceToDevice, stream));
}

static enum uw_status zero(void *dst_dev, uint64_t nbytes, cudaStream_t stream)
{
	return uw_status_of(cudaMemsetAsync(dst_dev, 0, nbytes, stream));
}

/* ---- order ---- */

static enum uw_status stream_new(cudaStream_t *stream)
{
	return uw_status_of(cudaStreamCreateWithFlags(stream, cudaStreamNonBlocking));
}

static void stream_free(cudaStream_t stream)
{
	(void)cudaStreamDestroy(stream);
}

static enum uw_status stream_sync(cudaStream_t stream)
{
	return uw_status_of(cudaStreamSynchronize(stream));
}

static enum uw_status event_new(bool timed, cudaEvent_t *event)
{
	return uw_status_of(cudaEventCreateWithFlags(event, timed ? cudaEventDefault : cudaEventDisableTiming));
}

static void event_free(cudaEvent_t event)
{
	(void)cudaEventDestroy(event);
}

static enum uw_status event_record(cudaEvent_t event, cudaStream_t stream)
{
	return uw_status_of(cudaEventRecord(event, stream));
}

static enum uw_status event_await(cudaStream_t stream, cudaEvent_t event)
{
	return uw_status_of(cudaStreamWaitEvent(stream, event, 0));
}

static enum uw_status event_elapsed(cudaEvent_t begin, cudaEvent_t end, uint64_t *ns)
{
	float ms = 0;
	cudaError_t error = cudaEventSynchronize(end);

	if (error == cudaSuccess)
		error = cudaEventElapsedTime(&ms, begin, end);
	*ns = (uint64_t)((double)ms * 1e6);
	return uw_status_of(error);
}

/* ---- kernels ---- */

/* Of the two kinds of multiplication the one that uw_gpu_gemm_config_init takes: the other may have to be compiled. */
static enum uw_status preload(void)
{
	struct uw_gpu_device device;
	int number = 0;
	enum uw_status status = uw_status_of(cudaGetDevice(&number));

	if (status == UW_OK)
		status = uw_gpu_device_init(number, &device);
	if (status == UW_OK)
		status = uw_gpu_gemm_preload(device.capability == 90 ? UW_GPU_GEMM_WGMMA : UW_GPU_GEMM_MMA);
	if (status == UW_OK)
		status = uw_gpu_gather_preload();
	return status == UW_OK ? uw_gpu_decode_preload() : status;
}

const struct uw_gpu_ops *uw_gpu_ops_cuda(void)
{
	static const struct uw_gpu_ops ops = {
		"cuda", open, alloc, free_memory, copy_in, copy_out, copy_within, zero, stream_new, stream_free,
		stream_sync, event_new, event_free, event_record, event_await, event_elapsed, preload, uw_gpu_decode_p4,
		uw_gpu_decode_h, uw_gpu_transcode_h, uw_gpu_exponents_h, uw_gpu_matrix_map, uw_gpu_gemm, uw_gpu_gather,
		uw_cublas_lt_open, uw_cublas_lt_close, uw_cublas_lt_choose, uw_cublas_lt_multiply,
	};

	return &ops;
}
