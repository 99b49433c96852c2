/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the fuzz targets share. Each target is one function, run by libFuzzer (-Dfuzz=true) or, in every other build, by
 * replay.c on the seeds and on the inputs that once found something.
 *
 * Checksums would stop nearly every mutated input at the door: targets put the right ones in place first.
 */
#ifndef UW_FUZZ_H
#define UW_FUZZ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unweight/container.h"
#include "unweight/cpu_ops.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes);

/* A property that does not hold is a finding, in release builds as well. */
#define FUZZ_ASSERT(cond)                                                                                              \
	do {                                                                                                           \
		if (!(cond)) {                                                                                         \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond);                             \
			abort();                                                                                       \
		}                                                                                                      \
	} while (0)

/* Numbers from the front of an input; 0 once it is used up. */
struct fuzz_input {
	const uint8_t *at, *end;
};

uint8_t fuzz_u8(struct fuzz_input *in);
uint16_t fuzz_u16(struct fuzz_input *in);
size_t fuzz_left(const struct fuzz_input *in);

/* As malloc, zeroed; never NULL. nbytes may be 0. The exact size, so that ASan sees every access outside. */
void *fuzz_alloc(size_t nbytes);

/* Portable C, and the fastest loops of this machine: what one decodes, the other does. */
const struct uw_cpu_ops *fuzz_ops_c(void);
const struct uw_cpu_ops *fuzz_ops(void);

/* A job of one thread. */
struct uw_job fuzz_job(void);

/* A base of two files of the same simple bytes, with this digest, or zeros. */
struct uw_base fuzz_base(const uint8_t digest[UW_BASE_DIGEST_NBYTES]);

/* A shape of at most 4 chunks. */
struct uw_shape fuzz_shape(struct fuzz_input *in);

/* `n` weights out of what is left of the input, whose first byte says how; sorted exponents of few kinds are likely. */
void fuzz_weights(struct fuzz_input *in, uint16_t *weights, uint64_t n);

/* Opens and decodes a stored group by both tables of loops; they agree on the status and on every bit. The weights
 * are the caller's to free; NULL if the group is not good. */
uint16_t *fuzz_decode(const struct uw_shape *shape, enum uw_coding coding, uint32_t ntables, uint32_t npatches,
		      const uint8_t *stored, size_t nbytes);

/* Puts the right hashes into whatever of a container is recognisable. */
void fuzz_seal_container(uint8_t *file, size_t nbytes);

/* Puts the right digest behind the text of a manifest: n + FUZZ_SEAL_NBYTES bytes at `text` are used. */
#define FUZZ_SEAL_NBYTES (19u + 64u + 3u)
void fuzz_seal_manifest(char *text, size_t n);

/* A file in memory with these bytes, at offset 0; the former one is closed. `path` opens it again. */
int fuzz_file(const uint8_t *data, size_t nbytes, const char **path);

#endif
