/* SPDX-License-Identifier: Apache-2.0 */
/* Models made in memory, for tests of the runtime. */
#ifndef MODEL_COMMON_H
#define MODEL_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unweight/container.h"
#include "unweight/unweight.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

enum fill {
	FILL_GAUSSIAN,  /* with a few wild exponents: coded, patches */
	FILL_RANDOM,    /* stored as it is */
	FILL_CONSTANT,  /* zstd where the profile allows it */
	FILL_SCALED,    /* rows of scales of their own: the encoder gives them an order */
};

struct want {
	const char *name;
	const char *dtype; /* as safetensors spells it */
	unsigned size;     /* bytes a value */
	unsigned ndims;
	uint64_t dims[4];
	enum fill fill;
};

/* A safetensors file's bytes, and where each tensor's begin. */
struct source {
	uint8_t *bytes;
	size_t nbytes;
	size_t off[32];
};

struct packed {
	uint8_t *bytes; /* aligned to 64 */
	size_t nbytes;
};

extern const char *cpu_level; /* UW_CPU_LEVEL of the environment, or NULL */

int use_level(void **state);
uint32_t rng(void);
void rng_seed(uint64_t seed);
float gaussian(void);
uint16_t bf16_of(float v);
float float_of(uint16_t v);

struct source make_source(const struct want *wants, size_t n);
struct packed pack(const struct source *source, enum uw_profile profile);
struct uw_model *open_packed(const struct packed *packed, const struct uw_model_options *options);

#endif
