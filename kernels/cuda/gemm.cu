/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Launches of the multiplication and of the gather. The one function of the driver that is needed is asked for at run
 * time: a program with this in it starts where there is no driver.
 */
#include <cuda.h>
#include <cuda_runtime_api.h>

#include "cuda_status.cuh"
#include "gather.cuh"
#include "gemm_kernels.cuh"
#include "gpu_kernels.cuh"

enum uw_status uw_gpu_device_init(int number, struct uw_gpu_device *device)
{
	int nsms, major, minor, shared;
	cudaError_t error = cudaDeviceGetAttribute(&nsms, cudaDevAttrMultiProcessorCount, number);

	if (error == cudaSuccess)
		error = cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, number);
	if (error == cudaSuccess)
		error = cudaDeviceGetAttribute(&minor, cudaDevAttrComputeCapabilityMinor, number);
	if (error == cudaSuccess)
		error = cudaDeviceGetAttribute(&shared, cudaDevAttrMaxSharedMemoryPerMultiprocessor, number);
	if (error != cudaSuccess)
		return uw_status_of(error);
	*device = { (uint32_t)nsms, (uint32_t)(10 * major + minor), (uint32_t)shared };
	return UW_OK;
}

/* ---- tensor maps ---- */

typedef CUresult (*encode_fn)(CUtensorMap *, CUtensorMapDataType, cuuint32_t, void *, const cuuint64_t *,
			      const cuuint64_t *, const cuuint32_t *, const cuuint32_t *, CUtensorMapInterleave,
			      CUtensorMapSwizzle, CUtensorMapL2promotion, CUtensorMapFloatOOBfill);

/* A row-major matrix of BF16, boxes of 64 columns. */
static enum uw_status encode_map(void *map, const void *base, uint64_t nrows, uint64_t ncols, uint64_t ld,
				 uint32_t box_rows)
{
	const cuuint64_t dims[2] = { ncols, nrows }, strides[1] = { 2 * ld };
	const cuuint32_t box[2] = { UW_TILE_COLS, box_rows }, steps[2] = { 1, 1 };
	cudaDriverEntryPointQueryResult found;
	void *entry = NULL;
	cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry, 12000,
							     cudaEnableDefault, &found);

	if (error != cudaSuccess)
		return uw_status_of(error);
	if (found != cudaDriverEntryPointSuccess || entry == NULL)
		return UW_ERR_NO_DEVICE;
	if (((encode_fn)entry)((CUtensorMap *)map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, (void *)base, dims, strides, box,
			       steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
			       CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE) != CUDA_SUCCESS)
		return UW_ERR_DEVICE;
	return UW_OK;
}

enum uw_status uw_gpu_matrix_map(struct uw_gpu_matrix *matrix)
{
	if (matrix->source != UW_LINEAR_RAW)
		return UW_ERR_ARG;
	return encode_map(matrix->map, matrix->weights_dev, matrix->nrows, matrix->ncols, matrix->weights_ld,
			  UW_ROW_BLOCK);
}

/* ---- launches ---- */

static const void *const *const tables[2][UW_LINEAR_NSOURCES] = {
	{ uw_mma_p4_kernels, uw_mma_e8_kernels, uw_mma_raw_kernels },
	{ uw_wgmma_p4_kernels, uw_wgmma_e8_kernels, uw_wgmma_raw_kernels },
};

enum uw_status uw_gpu_gemm_preload(enum uw_gpu_gemm_kernel kind)
{
	uint32_t nsizes = kind == UW_GPU_GEMM_WGMMA ? UW_WGMMA_SIZES : UW_MMA_SIZES;
	int number = 0, most_nbytes = 0;
	cudaError_t error = cudaGetDevice(&number);

	if (error == cudaSuccess)
		error = cudaDeviceGetAttribute(&most_nbytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, number);
	for (const void *const *kernels : tables[kind]) {
		for (uint32_t i = 0; error == cudaSuccess && i < nsizes; i++)
			error = uw_preload_kernel(kernels[i], most_nbytes);
	}
	return uw_status_of(error);
}

static enum uw_status check_launch(const struct uw_gpu_gemm *gemm)
{
	uintptr_t y_align = gemm->y_type == UW_LINEAR_F32 ? 4 : 2;

	if (gemm->x_dev == NULL || (uintptr_t)gemm->x_dev % 16 != 0 || gemm->x_ld % 8 != 0 || gemm->x_ld < gemm->ncols)
		return UW_ERR_ARG;
	if (gemm->y_dev == NULL || (uintptr_t)gemm->y_dev % y_align != 0 || gemm->y_type > UW_LINEAR_F32)
		return UW_ERR_ARG;
	if (gemm->workspace_nbytes != 0 && (gemm->workspace_dev == NULL || (uintptr_t)gemm->workspace_dev % 256 != 0))
		return UW_ERR_ARG;
	return (gemm->nbuckets != 0) == (gemm->offsets_dev != NULL) ? UW_OK : UW_ERR_ARG;
}

static const void *kernel_of(const struct uw_gpu_gemm *gemm)
{
	uint32_t size = 0;

	while (8u << size < gemm->config.tile_n)
		size++;
	return tables[gemm->config.kernel][gemm->source][size];
}

enum uw_status uw_gpu_gemm(const struct uw_gpu_gemm *gemm, struct CUstream_st *stream)
{
	bool wgmma = gemm->config.kernel == UW_GPU_GEMM_WGMMA;
	const void *kernel = kernel_of(gemm);
	struct uw_gpu_gemm copy = *gemm;
	struct uw_tensor_map x_map;
	void *params[] = { &copy, &x_map };
	enum uw_status status = check_launch(gemm);
	cudaLaunchAttribute early = {};
	cudaLaunchConfig_t config = {};

	if (status == UW_OK && wgmma)
		status = encode_map(&x_map, gemm->x_dev, gemm->nx, gemm->ncols, gemm->x_ld, gemm->config.tile_n);
	if (status != UW_OK)
		return status;
	early.id = cudaLaunchAttributeProgrammaticStreamSerialization;
	early.val.programmaticStreamSerializationAllowed = 1;
	config.gridDim = dim3(gemm->config.nblocks);
	config.blockDim = dim3(wgmma ? UW_WGMMA_THREADS(gemm->config.tile_n) : UW_MMA_THREADS);
	config.dynamicSmemBytes = gemm->shared_nbytes;
	config.stream = stream;
	config.attrs = &early;
	config.numAttrs = uw_gpu_gemm_begins_early(gemm) ? 1 : 0;
	return uw_status_of(cudaLaunchKernelExC(&config, kernel, params));
}

extern "C" __global__ void __launch_bounds__(32 * UW_GATHER_WARPS)
uw_kernel_gather(const __grid_constant__ struct uw_gather gather)
{
	uw_gather_warp(gather);
}

enum uw_status uw_gpu_gather_preload(void)
{
	return uw_status_of(uw_preload_kernel((const void *)uw_kernel_gather, 0));
}

enum uw_status uw_gpu_gather(const struct uw_gpu_matrix *matrix, const uint32_t *rows_dev, uint32_t nrows,
			     uint16_t *y_dev, uint64_t y_ld, struct CUstream_st *stream)
{
	uint32_t batches = (matrix->ncols - 1) / (UW_TILE_COLS * UW_GATHER_TILES) + 1;
	struct uw_gather gather = { *matrix, rows_dev, y_dev, y_ld, nrows, batches };
	uint64_t nblocks = ((uint64_t)nrows * batches + UW_GATHER_WARPS - 1) / UW_GATHER_WARPS;
	void *params[] = { &gather };

	if (y_ld < matrix->ncols || nblocks > INT32_MAX)
		return UW_ERR_ARG;
	if (nrows == 0)
		return UW_OK;
	return uw_status_of(cudaLaunchKernel((const void *)uw_kernel_gather, dim3((uint32_t)nblocks),
					  dim3(32 * UW_GATHER_WARPS), params, 0, stream));
}
