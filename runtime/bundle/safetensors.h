/* SPDX-License-Identifier: Apache-2.0 */
/* Strict reading of a .safetensors file's header into the extents of a container. */
#ifndef UW_SAFETENSORS_H
#define UW_SAFETENSORS_H

#include "unweight/blob.h"

#define UW_SAFETENSORS_MAX_HEADER UINT64_C(100000000)

/* The whole file cut into extents as SPEC.md 2.3 demands: header first, then tensors by (begin, end, order in the
 * JSON text). Owns the names and dimensions its extents point to. xxh128, first_group and ngroups of the extents are
 * 0. */
struct uw_model_file {
	uint64_t nextents;
	struct uw_extent *extents;
};

/*
 * Parses and validates; all rules of the reference reader hold (header length, UTF-8, JSON object, string-to-string
 * __metadata__ or null, dtype/shape/data_offsets, no holes, no overlap, exact sizes for known dtypes, nothing behind
 * the last tensor), and stricter: duplicate keys anywhere are refused. Unknown dtypes are taken by their offsets.
 * Order by uw_extent_order. UW_ERR_FORMAT with the reason: the file has to be carried as opaque bytes.
 */
UW_MUST_CHECK enum uw_status uw_safetensors_parse(const struct uw_blob *blob, struct uw_model_file *file,
						  struct uw_error *err);

/* One opaque extent over the whole file (none if it is empty). */
UW_MUST_CHECK enum uw_status uw_opaque_file(uint64_t nbytes, struct uw_model_file *file, struct uw_error *err);

void uw_model_file_free(struct uw_model_file *file); /* and clears it */

#endif
