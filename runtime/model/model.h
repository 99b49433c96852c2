/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of libunweight share about a model: its groups, its memory. */
#ifndef UW_MODEL_H
#define UW_MODEL_H

#include "unweight/container.h"
#include "unweight/unweight.h"

/* A file of the bundle that is a container. */
struct uw_model_part {
	const char *path;             /* of the model's file */
	struct uw_container container;
	const uint8_t *map;           /* the container's first byte, or NULL: it is read */
	void *map_base;               /* page-aligned, as munmap wants it */
	size_t map_nbytes;
};

struct uw_model; /* model.c */

/* The container and extent of a tensor of the model. */
const struct uw_model_part *uw_tensor_part(const struct uw_model *model, const struct uw_tensor *tensor,
					   const struct uw_extent **extent);

/* The fastest loops of the model's CPU level, and its flags (enum uw_cpu_flag). */
const struct uw_cpu_ops *uw_model_cpu_ops(const struct uw_model *model);
uint32_t uw_model_cpu_flags(const struct uw_model *model);

/* Memory aligned to 64 by the caller's allocator; NULL: there is none. Free with the same size; NULL is fine. */
void *uw_model_alloc(const struct uw_model *model, uint64_t nbytes);
void uw_model_free(const struct uw_model *model, void *memory, uint64_t nbytes);

bool uw_model_is_checked(const struct uw_model *model); /* UW_MODEL_CHECK */
bool uw_model_is_cancelled(const struct uw_model *model);
void uw_model_progress(const struct uw_model *model, uint64_t nbytes);

/*
 * Stored bytes of group i of a tensor: in the mapping, or read into memory of its own. Aligned to 64. Others may write
 * to a mapped file: what is checked and then used again has to lie in memory of our own. So heads of coded groups are
 * copied (uw_stored_group_coded), and zstd frames, whose decoder does not expect such a thing. A group that refers to a
 * base is decoded at once, and is from then on one of coding RAW. Must not be moved while open.
 */
struct uw_stored_group {
	const struct uw_extent *extent;
	struct uw_slice slice;
	const struct uw_group *group; /* for one that refers to a base, `decoded` */
	struct uw_group decoded;
	const uint8_t *stored;
	void *owned; /* the stored bytes, or the head of mapped ones, or NULL */
	uint64_t owned_nbytes;
};

/* Checks the hash if the model is to. */
UW_MUST_CHECK enum uw_status uw_stored_group_open(const struct uw_model *model, const struct uw_tensor *tensor,
						  uint64_t i, struct uw_stored_group *group, struct uw_error *err);
void uw_stored_group_close(const struct uw_model *model, struct uw_stored_group *group);

/* Copies the stored bytes to memory of our own, where they are not there already. */
UW_MUST_CHECK enum uw_status uw_stored_group_own(const struct uw_model *model, struct uw_stored_group *group,
						 struct uw_error *err);

/* Checks the head of a group of coding H or P4 and describes it. *coded lasts as long as what the group owns. Once
 * for a group. */
UW_MUST_CHECK enum uw_status uw_stored_group_coded(const struct uw_model *model, struct uw_stored_group *group,
						   struct uw_coded *coded, struct uw_error *err);

/* Puts the tensor's name in front of what *err says; returns `status`. */
enum uw_status uw_tensor_failed(const struct uw_tensor *tensor, enum uw_status status, struct uw_error *err);

/* The tensor as `nexperts` matrices of nrows x ncols values of `size` bytes. A dtype that has no whole bytes: one row
 * of bytes. */
struct uw_tensor_grid {
	uint64_t nexperts, nrows, ncols, size;
	bool whole; /* can only be taken whole */
};
struct uw_tensor_grid uw_tensor_grid(const struct uw_tensor *tensor);

#endif
