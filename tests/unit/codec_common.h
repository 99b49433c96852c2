/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of the codec share: random weights, buffers, groups. Buffers have their exact size, so that under ASan
 * every access outside is an error. Loops are those of the level that UW_CPU_LEVEL names.
 */
#ifndef UW_CODEC_COMMON_H
#define UW_CODEC_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chunk.h"
#include "position.h"
#include "unweight/bytes.h"
#include "unweight/kernels.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

extern struct uw_cpu_ops ops; /* of the level under test */
extern uint64_t rng_state;

/* Group setup: fills ops. */
int use_level(void **state);
/* Test setup: every test begins with the same random numbers. */
int seed(void **state);
uint32_t rng(void);

void *need(size_t nbytes);
void assert_same(const void *a, const void *b, size_t nbytes);

/* Weights; i is their index. */
uint16_t bf16(unsigned exponent); /* with random sign and mantissa */
uint16_t gaussian(uint64_t i);
uint16_t fibonacci(uint64_t i);
uint16_t random_bits(uint64_t i);
void fill(uint16_t *weights, uint64_t n, uint16_t (*weight)(uint64_t i));
/* A random order of rows. */
void shuffle_rows(uint16_t *order, uint64_t nrows);

struct stored {
	struct uw_shape shape;
	enum uw_coding coding;
	uint32_t ntables;
	uint32_t npatches;
	uint8_t *bytes;
	size_t nbytes;
};

struct uw_shape shape_of(enum uw_order order, uint64_t nrows, uint64_t ncols);
void *need_scratch(const struct uw_shape *shape);
/* Encodes twice, over different old contents: every byte is written, and the same way. */
struct stored encode(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding,
		     const void *scratch);
/* The group opens and decodes to the weights; also block by block, and its exponents. */
struct uw_coded check_decoded_whole(const struct stored *g, const uint16_t *weights);
void check_decoded(const struct stored *g, const uint16_t *weights);

struct group_size {
	enum uw_order order;
	uint64_t nrows, ncols;
};

#define NSIZES 22u
extern const struct group_size sizes[NSIZES];

#endif
