/* SPDX-License-Identifier: Apache-2.0 */
/* y = W x from compressed weights against BF16 ones: weights, variants, rounds. */
#ifndef UW_BENCH_LINEAR_H
#define UW_BENCH_LINEAR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/linear_ops.h"

#define BENCH_MAX_THREADS 2u

/* Weights in DRAM, cut into slices of whole row blocks: every product takes another slice. */
struct bench_slice {
	const uint16_t *weights; /* row-major, ncols apart */
	struct uw_coded coded;   /* P4 */
	const uint8_t *e;        /* exponents in position order, as a plane */
};

struct bench_weights {
	uint64_t nrows, ncols;   /* of a matrix; there are several of them */
	uint64_t slice_rows;
	unsigned nslices;
	struct bench_slice *slices;
	double bits;             /* of a coded weight */
	uint16_t *raw;
};

/* Gaussian weights, each row with a sigma of its own; at least `nbytes` of BF16. */
void bench_weights_make(uint64_t nrows, uint64_t ncols, size_t nbytes, struct bench_weights *w);
void bench_weights_free(struct bench_weights *w);

/* What all variants compute: x is BF16, [batch][ncols]; y is FP32, [batch][slice_rows], one for each thread. */
struct bench_case {
	const struct bench_weights *weights;
	uint64_t batch;
	const uint16_t *x;
	float *y[BENCH_MAX_THREADS];
	unsigned nthreads;
};

struct bench_variant {
	char name[24];
	bool baseline;
	double pack_s; /* packing x, once for all slices: to be added */
	void (*run)(void *ctx, unsigned slice, unsigned thread);
	void (*close)(void *ctx);
	void *ctx;
};

#define BENCH_MAX_VARIANTS 16u

/* Each adds its variants at `v` and returns how many. */
unsigned bench_variants_ours(const struct bench_case *c, struct bench_variant *v);
unsigned bench_variants_natural(const struct bench_case *c, struct bench_variant *v); /* 0: no AMX */
unsigned bench_variants_onednn(const struct bench_case *c, struct bench_variant *v);  /* 0: built without */

/* The FP32 GEMM of a kernel, as a variant. */
struct bench_variant bench_variant_of(const struct bench_case *c, const struct uw_linear_kernel *kernel,
				      enum uw_linear_source source, const char *name);

void *bench_need(size_t nbytes); /* zeroed, aligned, in huge pages if there are; or the end */
_Noreturn void bench_die(const char *what);

#endif
