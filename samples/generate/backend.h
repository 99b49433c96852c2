/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a model's matrices are multiplied: on the processor or on a CUDA device. Activations are FP32 and in host
 * memory with both; matrices see them rounded to BF16, sums are FP32. Public headers of libunweight only.
 *
 * open; load all that will be multiplied, and the embedding; ready; multiply and embed as often as there are tokens;
 * close. One thread at a time.
 */
#ifndef BACKEND_H
#define BACKEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <unweight/linear.h>
#include <unweight/unweight.h>

#define BACKEND_MAX_PARTS 3u

struct backend_options {
	const struct uw_model *model; /* outlives the backend */
	enum uw_pipeline pipeline;
	bool batch_invariant;
	uint32_t max_batch;           /* rows of x */
	unsigned nthreads;            /* processor: that multiply */
	int number;                   /* CUDA: of the device */
};

struct backend {
	const struct backend_ops *ops; /* the rest is the backend's own */
};

struct backend_ops {
	/* Prepares 1 to BACKEND_MAX_PARTS matrices that are multiplied with the same x; multiply knows them by *id. */
	enum uw_status (*load)(struct backend *b, const struct uw_linear_part *parts, size_t nparts, size_t *id,
			       struct uw_error *err);
	enum uw_status (*load_embedding)(struct backend *b, const struct uw_tensor *embedding, struct uw_error *err);
	enum uw_status (*ready)(struct backend *b, struct uw_error *err);

	/* y[i] = W[i] x; x and y[i] have n rows, without gaps. */
	enum uw_status (*multiply)(struct backend *b, size_t id, const float *x, uint32_t n, float *const y[],
				   struct uw_error *err);
	/* Row i of x is row ids[i] of the embedding. */
	enum uw_status (*embed)(struct backend *b, const uint32_t *ids, uint32_t n, float *x, struct uw_error *err);
	void (*close)(struct backend *b);
};

/* On this machine's processor. */
enum uw_status backend_open_cpu(const struct backend_options *options, struct backend **backend, struct uw_error *err);

/*
 * On a CUDA device; UW_ERR_NO_DEVICE where there is none. Whatever the pipeline, y has the bits that multiplying by
 * BF16 weights gives (require_bitexact of unweight/cuda.h). Activations are copied there and back around each product,
 * which a program made for speed would not do.
 */
enum uw_status backend_open_cuda(const struct backend_options *options, struct backend **backend,
				 struct uw_error *err);

/* A BF16 value as FP32. */
static inline float backend_widen(uint16_t v)
{
	uint32_t word = (uint32_t)v << 16;
	float f;

	memcpy(&f, &word, sizeof(f));
	return f;
}

#endif
