/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_device.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "cuda_plan.h"
#include "unweight/tuning.h"

#define MEMORY_ALIGN 256u
#define MIN_CAPABILITY 80u
#define CUT_WEIGHTS (UINT64_C(1) << 22)
#define DENSE_WORKSPACE_NBYTES (UINT64_C(32) << 20) /* as NVIDIA recommends for Hopper */

enum uw_status uw_cuda_status(enum uw_status status, const char *what, struct uw_error *err)
{
	return status == UW_OK ? UW_OK : uw_fail(err, status, UW_NO_OFFSET, "CUDA: %s", what);
}

/* ---- the device ---- */

enum uw_status uw_cuda_open_ops(const struct uw_gpu_ops *ops, int number, const struct uw_allocator *memory,
				struct uw_cuda **cuda, struct uw_error *err)
{
	struct uw_cuda *c = calloc(1, sizeof(*c));
	enum uw_status status;

	if (c == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA device");
	c->ops = ops;
	c->cut_weights = CUT_WEIGHTS;
	if (memory != NULL)
		c->memory = *memory;
	status = uw_cuda_status(ops->open(number, &c->facts), "opening the device", err);
	if (status == UW_ERR_NO_DEVICE)
		status = uw_fail(err, status, UW_NO_OFFSET,
				 "CUDA: no driver, or no device %d that this build has code for", number);
	if (status == UW_OK && c->facts.device.capability < MIN_CAPABILITY)
		status = uw_fail(err, UW_ERR_NO_DEVICE, UW_NO_OFFSET, "%s is of compute capability %u.%u, 8.0 is wanted",
				 c->facts.name, c->facts.device.capability / 10, c->facts.device.capability % 10);
	if (status == UW_OK)
		status = uw_cuda_status(ops->preload(), "loading kernels", err);
	if (status == UW_OK) {
		status = ops->dense_open(&c->dense);
		if (status == UW_ERR_UNSUPPORTED)
			status = UW_OK; /* there are kernels of our own */
		status = uw_cuda_status(status, "cuBLASLt", err);
	}
	if (status == UW_OK)
		status = uw_tuning_parse(uw_cuda_tuning, strlen(uw_cuda_tuning), &c->shipped, err);
	if (status == UW_OK)
		*cuda = c;
	else
		uw_cuda_close(&c);
	return status;
}

enum uw_status uw_cuda_open(int number, const struct uw_allocator *memory, struct uw_cuda **cuda, struct uw_error *err)
{
	const struct uw_gpu_ops *ops = uw_gpu_ops_cuda();

	if (ops == NULL)
		return uw_fail(err, UW_ERR_NO_DEVICE, UW_NO_OFFSET, "libunweight was built without CUDA");
	return uw_cuda_open_ops(ops, number, memory, cuda, err);
}

void uw_cuda_close(struct uw_cuda **cuda)
{
	struct uw_cuda *c = *cuda;

	*cuda = NULL;
	if (c == NULL)
		return;
	if (c->dense != NULL)
		c->ops->dense_close(c->dense);
	uw_tuning_free(&c->shipped);
	free(c);
}

const char *uw_cuda_name(const struct uw_cuda *cuda)
{
	return cuda->facts.name;
}

bool uw_cuda_has_cublas(const struct uw_cuda *cuda)
{
	return cuda->dense != NULL;
}

uint64_t uw_cuda_dense_workspace_nbytes(void)
{
	return DENSE_WORKSPACE_NBYTES;
}

/* ---- memory ---- */

enum uw_status uw_cuda_alloc(const struct uw_cuda *cuda, uint64_t nbytes, void **memory_dev, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	nbytes = nbytes != 0 ? nbytes : 1;
	if (cuda->memory.alloc == NULL) {
		status = cuda->ops->alloc(nbytes, memory_dev);
	} else {
		*memory_dev = nbytes <= SIZE_MAX ? cuda->memory.alloc(cuda->memory.ctx, (size_t)nbytes, MEMORY_ALIGN)
						 : NULL;
		status = *memory_dev != NULL ? UW_OK : UW_ERR_NOMEM;
	}
	if (status == UW_ERR_NOMEM)
		return uw_fail(err, status, UW_NO_OFFSET, "%llu bytes of device memory", (unsigned long long)nbytes);
	return uw_cuda_status(status, "memory", err);
}

void uw_cuda_free(const struct uw_cuda *cuda, void *memory_dev, uint64_t nbytes)
{
	if (memory_dev == NULL)
		return;
	if (cuda->memory.alloc == NULL)
		cuda->ops->free(memory_dev);
	else
		cuda->memory.free(cuda->memory.ctx, memory_dev, (size_t)(nbytes != 0 ? nbytes : 1));
}

enum uw_status uw_cuda_sync(const struct uw_cuda *cuda, struct CUstream_st *stream, struct uw_error *err)
{
	return uw_cuda_status(cuda->ops->stream_sync(stream), "waiting", err);
}

enum uw_status uw_cuda_copy_in(const struct uw_cuda *cuda, void *dst_dev, const void *src, uint64_t nbytes,
			       struct CUstream_st *stream, struct uw_error *err)
{
	enum uw_status status =
		uw_cuda_status(cuda->ops->copy_in(dst_dev, src, nbytes, stream), "copy to the device", err);

	return status == UW_OK ? uw_cuda_sync(cuda, stream, err) : status;
}

enum uw_status uw_cuda_copy_out(const struct uw_cuda *cuda, void *dst, const void *src_dev, uint64_t nbytes,
				struct CUstream_st *stream, struct uw_error *err)
{
	enum uw_status status =
		uw_cuda_status(cuda->ops->copy_out(dst, src_dev, nbytes, stream), "copy from the device", err);

	return status == UW_OK ? uw_cuda_sync(cuda, stream, err) : status;
}

enum uw_status uw_cuda_memory_alloc(const struct uw_cuda *cuda, uint64_t nbytes, struct uw_cuda_memory *memory,
				    struct uw_error *err)
{
	void *at = NULL;
	enum uw_status status = uw_cuda_alloc(cuda, nbytes, &at, err);

	if (status == UW_OK)
		*memory = (struct uw_cuda_memory){ at, nbytes };
	return status;
}

void uw_cuda_memory_free(const struct uw_cuda *cuda, struct uw_cuda_memory *memory)
{
	uw_cuda_free(cuda, memory->at, memory->nbytes);
	*memory = (struct uw_cuda_memory){ 0 };
}

/* ---- descriptors ---- */

enum uw_status uw_cuda_sheet_open(const struct uw_cuda *cuda, uint64_t room, struct uw_cuda_sheet *sheet,
				  struct uw_error *err)
{
	*sheet = (struct uw_cuda_sheet){ .host = calloc(1, (size_t)room + 1) };
	if (sheet->host == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA descriptors");
	return uw_cuda_memory_alloc(cuda, room, &sheet->memory, err);
}

const void *uw_cuda_sheet_add(struct uw_cuda_sheet *sheet, const void *entry, uint64_t nbytes)
{
	uint64_t at = sheet->used;

	assert(at + uw_cuda_sheet_entry(nbytes) <= sheet->memory.nbytes);
	if (nbytes != 0)
		memcpy(sheet->host + at, entry, (size_t)nbytes);
	sheet->used += uw_cuda_sheet_entry(nbytes);
	return sheet->memory.at + at;
}

enum uw_status uw_cuda_sheet_send(const struct uw_cuda *cuda, struct uw_cuda_sheet *sheet, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	if (sheet->used != 0)
		status = uw_cuda_copy_in(cuda, sheet->memory.at, sheet->host, sheet->used, NULL, err);
	free(sheet->host);
	sheet->host = NULL;
	return status;
}

void uw_cuda_sheet_close(const struct uw_cuda *cuda, struct uw_cuda_sheet *sheet)
{
	free(sheet->host);
	uw_cuda_memory_free(cuda, &sheet->memory);
	*sheet = (struct uw_cuda_sheet){ 0 };
}
