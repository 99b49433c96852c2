/* SPDX-License-Identifier: Apache-2.0 */
/* A device, and what the parts of the CUDA backend share: its memory, descriptors on their way there. */
#ifndef UW_CUDA_DEVICE_H
#define UW_CUDA_DEVICE_H

#include "unweight/cuda.h"
#include "unweight/gpu_ops.h"

struct uw_cuda {
	const struct uw_gpu_ops *ops;
	struct uw_gpu_facts facts;
	struct uw_allocator memory; /* the caller's; none: that of ops */
	void *dense;                /* cuBLASLt, or NULL */
	struct uw_tuning *shipped;  /* with the library */
	uint64_t cut_weights;       /* of a group that is coded anew, about */
};

/* uw_cuda_open with a table of functions in CUDA's place. */
UW_MUST_CHECK enum uw_status uw_cuda_open_ops(const struct uw_gpu_ops *ops, int number,
					      const struct uw_allocator *memory, struct uw_cuda **cuda,
					      struct uw_error *err);

/* Says in *err what failed, unless status is UW_OK; returns it. */
enum uw_status uw_cuda_status(enum uw_status status, const char *what, struct uw_error *err);

/* Device memory with its size, as uw_cuda_free wants it. */
struct uw_cuda_memory {
	uint8_t *at;
	uint64_t nbytes;
};
UW_MUST_CHECK enum uw_status uw_cuda_memory_alloc(const struct uw_cuda *cuda, uint64_t nbytes,
						  struct uw_cuda_memory *memory, struct uw_error *err);
void uw_cuda_memory_free(const struct uw_cuda *cuda, struct uw_cuda_memory *memory); /* zeroed is fine */

/*
 * Descriptors that are made on the host, and point to one another where they will be on the device. Room is asked for
 * once, so that addresses are known from the beginning.
 */
struct uw_cuda_sheet {
	struct uw_cuda_memory memory;
	uint8_t *host;
	uint64_t used;
};
#define UW_CUDA_SHEET_ALIGN 64u
/* Bytes that an entry takes. */
static inline uint64_t uw_cuda_sheet_entry(uint64_t nbytes)
{
	return (nbytes + UW_CUDA_SHEET_ALIGN - 1) / UW_CUDA_SHEET_ALIGN * UW_CUDA_SHEET_ALIGN;
}
UW_MUST_CHECK enum uw_status uw_cuda_sheet_open(const struct uw_cuda *cuda, uint64_t room, struct uw_cuda_sheet *sheet,
						struct uw_error *err);
/* A copy of the entry; where it will be on the device. */
const void *uw_cuda_sheet_add(struct uw_cuda_sheet *sheet, const void *entry, uint64_t nbytes);
/* Copies it to the device and waits; the host's copy goes. */
UW_MUST_CHECK enum uw_status uw_cuda_sheet_send(const struct uw_cuda *cuda, struct uw_cuda_sheet *sheet,
						struct uw_error *err);
void uw_cuda_sheet_close(const struct uw_cuda *cuda, struct uw_cuda_sheet *sheet); /* zeroed is fine */

#endif
