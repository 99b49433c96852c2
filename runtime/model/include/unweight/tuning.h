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
 *
 * Lines are for the CPU until one names a CUDA device, as the driver does; the matrix is then all parts of a linear, one
 * below the other. A line may say that its time was predicted, not measured, and how the kernels of this library cut the
 * product (struct uw_gpu_gemm_config; without: by default):
 *
 *   device NVIDIA H200
 *   p4 28672 4096 16 palette 43120 predicted
 *   p4 28672 4096 32 palette 44811 tile=32 blocks=2 parts=0
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
	uint16_t device;        /* number of uw_tuning_device; 0: the CPU */
	uint8_t predicted;      /* 1: nobody has measured it */
	uint8_t blocks_per_sm;  /* device: with tile_n and parts; all 0: by default */
	uint16_t tile_n;
	uint16_t parts;
};

/* A list of entries, sorted; no two with the same device, coding, matrix and batch. Changing it is for one thread at a
 * time. */
struct uw_tuning;

UW_MUST_CHECK enum uw_status uw_tuning_create(struct uw_tuning **tuning, struct uw_error *err);
void uw_tuning_free(struct uw_tuning **tuning); /* NULL inside is fine */

/* Adds an entry or replaces the one in its place. UW_ERR_ARG: values out of range. */
UW_MUST_CHECK enum uw_status uw_tuning_set(struct uw_tuning *tuning, const struct uw_tuning_entry *entry,
					   struct uw_error *err);
size_t uw_tuning_nentries(const struct uw_tuning *tuning);
const struct uw_tuning_entry *uw_tuning_entry(const struct uw_tuning *tuning, size_t i);

/* Number of the device of this name (at most 63 bytes, no line end), which is added if need be. */
UW_MUST_CHECK enum uw_status uw_tuning_device(struct uw_tuning *tuning, const char *name, uint16_t *device,
					      struct uw_error *err);
/* Its name; NULL for 0 and beyond the last. */
const char *uw_tuning_device_name(const struct uw_tuning *tuning, uint16_t device);

/* The entry for the CPU that serves a batch, or NULL. */
const struct uw_tuning_entry *uw_tuning_find(const struct uw_tuning *tuning, uint8_t coding, uint64_t nrows,
					     uint64_t ncols, uint64_t batch);
/* The same for a device. */
const struct uw_tuning_entry *uw_tuning_find_device(const struct uw_tuning *tuning, const char *name, uint8_t coding,
						    uint64_t nrows, uint64_t ncols, uint64_t batch);

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
