/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a CUDA device does for the runtime, as a table of functions: that of CUDA where the build has it, or one that
 * does the same on memory of the host, which is what tests put in its place.
 *
 * Work that takes a stream is queued there and done in order; functions return before it is. They allocate nothing and
 * do not wait, unless that is what they are for, so that a graph can capture them. A stream is CUDA's own, NULL its
 * default one. The device opened is the calling thread's current one, as everywhere in CUDA; streams and events are
 * used on the device that they were made on.
 *
 * Status: UW_ERR_NO_DEVICE: there is none, or no driver, or none that this build has code for; UW_ERR_NOMEM: of the
 * device; UW_ERR_ARG: as the functions' own headers say; UW_ERR_DEVICE: anything else that CUDA reports.
 */
#ifndef UNWEIGHT_GPU_OPS_H
#define UNWEIGHT_GPU_OPS_H

#include "unweight/gpu_decode.h"
#include "unweight/gpu_gemm.h"

#ifdef __cplusplus
extern "C" {
#endif

struct CUevent_st; /* cudaEvent_t, without CUDA's headers */

/* What plans and the model of time need to know. */
struct uw_gpu_facts {
	char name[64];
	struct uw_gpu_device device;
	uint64_t l2_nbytes;
	uint64_t bandwidth; /* of memory, bytes a second, as its clock and width have it */
	uint32_t clock_mhz; /* of the multiprocessors, at most */
};

/* y[n][m] = sum over k of W[m][k] x[n][k], all of it BF16 but y if y_type says so; sums in FP32. */
struct uw_gpu_dense {
	const uint16_t *weights_dev; /* row-major, aligned to 16 */
	uint64_t weights_ld;
	uint64_t nrows, ncols;
	const uint16_t *x_dev;       /* row-major, nx rows, aligned to 16 */
	uint64_t x_ld;
	uint64_t nx;
	void *y_dev;                 /* row n begins at y_dev + n * y_ld */
	uint64_t y_ld;
	uint32_t y_type;             /* enum uw_linear_type */
	void *workspace_dev;         /* aligned to 256 */
	uint64_t workspace_nbytes;
};

/* What cuBLASLt's choice of an algorithm depends on. No padding, so that bytes can be compared. */
struct uw_gpu_dense_key {
	uint64_t nrows, ncols, nx, weights_ld, x_ld, y_ld, workspace_nbytes;
	uint32_t x_align, y_align; /* powers of two, up to 256 */
	uint32_t y_type, reserved;
};

static inline uint32_t uw_gpu_alignment(const void *p)
{
	uintptr_t at = (uintptr_t)p | 256;

	return (uint32_t)(at & (~at + 1));
}

static inline struct uw_gpu_dense_key uw_gpu_dense_key(const struct uw_gpu_dense *dense)
{
	struct uw_gpu_dense_key key = {
		dense->nrows, dense->ncols, dense->nx, dense->weights_ld, dense->x_ld, dense->y_ld,
		dense->workspace_nbytes, uw_gpu_alignment(dense->x_dev), uw_gpu_alignment(dense->y_dev), dense->y_type,
		0,
	};

	return key;
}

/* An algorithm, in cuBLASLt's own bytes: good for all products of the key that it was chosen for. */
struct uw_gpu_dense_algo {
	uint64_t words[8];
};

struct uw_gpu_ops {
	const char *name;

	/* Makes device `number` the calling thread's current one. */
	enum uw_status (*open)(int number, struct uw_gpu_facts *facts);

	/* ---- memory; aligned to 256. free waits for all work that uses it ---- */
	enum uw_status (*alloc)(uint64_t nbytes, void **memory_dev);
	void (*free)(void *memory_dev);
	enum uw_status (*copy_in)(void *dst_dev, const void *src, uint64_t nbytes, struct CUstream_st *stream);
	enum uw_status (*copy_out)(void *dst, const void *src_dev, uint64_t nbytes, struct CUstream_st *stream);
	enum uw_status (*copy_within)(void *dst_dev, const void *src_dev, uint64_t nbytes, struct CUstream_st *stream);
	enum uw_status (*zero)(void *dst_dev, uint64_t nbytes, struct CUstream_st *stream);

	/* ---- order ---- */
	enum uw_status (*stream_new)(struct CUstream_st **stream); /* does not wait for the default one */
	void (*stream_free)(struct CUstream_st *stream);
	enum uw_status (*stream_sync)(struct CUstream_st *stream); /* waits */
	enum uw_status (*event_new)(bool timed, struct CUevent_st **event);
	void (*event_free)(struct CUevent_st *event);
	enum uw_status (*event_record)(struct CUevent_st *event, struct CUstream_st *stream);
	enum uw_status (*event_await)(struct CUstream_st *stream, struct CUevent_st *event); /* the stream waits */
	enum uw_status (*event_elapsed)(struct CUevent_st *begin, struct CUevent_st *end, uint64_t *ns); /* waits */

	/* ---- kernels: gpu_decode.h, gpu_gemm.h ---- */
	enum uw_status (*preload)(void); /* loads their code: before the first launch, not in a capture */
	enum uw_status (*decode_p4)(const struct uw_gpu_decode *decode, struct CUstream_st *stream);
	enum uw_status (*decode_h)(const struct uw_gpu_decode *decode, struct CUstream_st *stream);
	enum uw_status (*transcode_h)(const struct uw_gpu_decode *decode, struct CUstream_st *stream);
	enum uw_status (*exponents_h)(const struct uw_gpu_decode *decode, struct CUstream_st *stream);
	enum uw_status (*matrix_map)(struct uw_gpu_matrix *matrix);
	enum uw_status (*gemm)(const struct uw_gpu_gemm *gemm, struct CUstream_st *stream);
	enum uw_status (*gather)(const struct uw_gpu_matrix *matrix, const uint32_t *rows_dev, uint32_t nrows,
				 uint16_t *y_dev, uint64_t y_ld, struct CUstream_st *stream);

	/*
	 * ---- cuBLASLt, which is loaded when it is opened; UW_ERR_UNSUPPORTED: there is none ----
	 * dense_choose: the algorithm that its heuristic names first; it takes some time of the host, and is not for
	 * captures: nor is the first `dense` with that algorithm.
	 */
	enum uw_status (*dense_open)(void **library);
	void (*dense_close)(void *library);
	enum uw_status (*dense_choose)(void *library, const struct uw_gpu_dense_key *key,
				       struct uw_gpu_dense_algo *algo);
	enum uw_status (*dense)(void *library, const struct uw_gpu_dense *dense, const struct uw_gpu_dense_algo *algo,
				struct CUstream_st *stream);
};

/* CUDA's, or NULL: the build has none. */
const struct uw_gpu_ops *uw_gpu_ops_cuda(void);

#ifdef __cplusplus
}
#endif
#endif
