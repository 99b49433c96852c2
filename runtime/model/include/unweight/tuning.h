/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was measured on some machine: which pipeline is fastest for a matrix and a batch. A tuning is a list of lines
 * that people can read, edit and compare:
 *
 *   unweight-tuning 1
 *   # coding rows columns batch pipeline nanoseconds
 *   p4 14336 4096 1 palette 2650125
 *
 * A line serves batches up to its own (a power of two), down to that of the line before it for the same coding and
 * matrix; the largest one serves all larger batches too. Lines that begin with # are comments.
 */
#ifndef UNWEIGHT_TUNING_H
#define UNWEIGHT_TUNING_H

#include "unweight/linear.h"

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

struct uw_tuning_entry {
	uint8_t coding;         /* enum uw_coding: 2 H, 3 P4 */
	uint8_t pipeline;       /* enum uw_pipeline, not AUTO */
	uint16_t batch;         /* a power of two, at most UW_LINEAR_MAX_BATCH */
	uint64_t nrows, ncols;
	uint64_t nanoseconds;   /* of one run; for people */
};

/* A list of entries, sorted; no two with the same coding, matrix and batch. Changing it is for one thread at a time. */
struct uw_tuning;

UW_MUST_CHECK enum uw_status uw_tuning_create(struct uw_tuning **tuning, struct uw_error *err);
void uw_tuning_free(struct uw_tuning **tuning); /* NULL inside is fine */

/* Adds an entry or replaces the one in its place. UW_ERR_ARG: values out of range. */
UW_MUST_CHECK enum uw_status uw_tuning_set(struct uw_tuning *tuning, const struct uw_tuning_entry *entry,
					   struct uw_error *err);
size_t uw_tuning_nentries(const struct uw_tuning *tuning);
const struct uw_tuning_entry *uw_tuning_entry(const struct uw_tuning *tuning, size_t i);

/* The entry that serves a batch, or NULL. */
const struct uw_tuning_entry *uw_tuning_find(const struct uw_tuning *tuning, uint8_t coding, uint64_t nrows,
					     uint64_t ncols, uint64_t batch);

/* Reads the text of a tuning. UW_ERR_FORMAT says in which line what is wrong. */
UW_MUST_CHECK enum uw_status uw_tuning_parse(const char *text, size_t nbytes, struct uw_tuning **tuning,
					     struct uw_error *err);
/* Its text, without comments; the caller frees. Parsing it gives the same tuning. */
UW_MUST_CHECK enum uw_status uw_tuning_print(const struct uw_tuning *tuning, char **text, size_t *nbytes,
					     struct uw_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
