/* SPDX-License-Identifier: Apache-2.0 */
/* Size and speed of codings of BF16 matrices, ours and others: data sets, methods, rounds. */
#ifndef UW_BENCH_CODEC_H
#define UW_BENCH_CODEC_H

#include <stddef.h>
#include <stdint.h>

#include "unweight/kernels.h"

struct bench_matrix {
	uint64_t nrows, ncols;
	size_t first; /* index of its first weight */
};

struct bench_data {
	const char *name;
	unsigned nmatrices;
	struct bench_matrix *matrices;
	size_t nweights;
	uint16_t *weights;
	uint16_t *back; /* decoders write here */
};

/* "gaussian", "rowscaled", or a file of matrices that bench_codec.py writes: u64 count, count x (u64 nrows, u64 ncols),
 * then all weights. */
void bench_data_make(const char *name, size_t nweights, struct bench_data *data);
void bench_data_free(struct bench_data *data);
/* 8 + entropy of the exponents: what a coder with one table for all weights can reach. */
double bench_data_entropy(const struct bench_data *data);

struct bench_method {
	char name[32];
	size_t (*encode)(void *ctx); /* bytes stored */
	void (*decode)(void *ctx);
	void (*close)(void *ctx);
	void *ctx;
};

/* Each adds its methods at `m` and returns how many; at most 16 all in all. */
unsigned bench_methods_ours(const struct bench_data *data, struct bench_method *m);
unsigned bench_methods_zstd(const struct bench_data *data, struct bench_method *m);
unsigned bench_methods_lz4(const struct bench_data *data, struct bench_method *m); /* 0: built without */

void *bench_need(size_t nbytes); /* zeroed, aligned; or the end */
_Noreturn void bench_die(const char *what);

#endif
