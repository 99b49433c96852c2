/* SPDX-License-Identifier: Apache-2.0 */
/* A base (container.h) that is another bundle: the model inside it. */
#ifndef UW_BUNDLE_BASE_H
#define UW_BUNDLE_BASE_H

#include "bundle.h"

struct uw_bundle_base;

/* Opens the bundle; its files are opened as they are needed, some of them at a time. UW_ERR_UNSUPPORTED: it has a base
 * itself, or is one container, whose source has no digest. `ops` is borrowed. */
UW_MUST_CHECK enum uw_status uw_bundle_base_open(const char *path, const struct uw_cpu_ops *ops,
						 struct uw_bundle_base **base, struct uw_error *err);
void uw_bundle_base_close(struct uw_bundle_base **base); /* NULL inside is fine */

/* Lasts as long as the base. Safe from many threads. NULL of NULL. */
const struct uw_base *uw_bundle_base(const struct uw_bundle_base *base);
const struct uw_manifest *uw_bundle_base_manifest(const struct uw_bundle_base *base);

/* Of NULL: none is needed. */
struct uw_base_id uw_bundle_base_id(const struct uw_bundle_base *base);
/* Whether it is the one that is needed; NULL, if none is. */
bool uw_bundle_base_is(const struct uw_bundle_base *base, const struct uw_base_id *id);

/* Lists its tensors, for uw_bundle_base_like, unless that has been done. Opens all its containers. After failure there
 * is only closing. */
UW_MUST_CHECK enum uw_status uw_bundle_base_list(struct uw_bundle_base *base, struct uw_error *err);

/* Where a slice of an extent of the file `path` has its likeness: in the tensor of the same name, dtype and shape (but
 * for the first dimension), or in the file of the same path. False: nowhere. Safe from many threads. */
bool uw_bundle_base_like(const struct uw_bundle_base *base, const char *path, const struct uw_extent *extent,
			 const struct uw_slice *slice, struct uw_reference *reference);

/* Tensors of a file that have no likeness by name, but the same bytes as some tensor of the base. */
struct uw_base_matches {
	struct uw_base_match *list; /* ascending by where in the file they begin */
	uint64_t n;
};

/* Finds them, by XXH3-128: reads those tensors of `blob`, which `extents` tile, that have no likeness and are of the
 * size and dtype of one in the base. Free with uw_base_matches_free, after failure too. */
UW_MUST_CHECK enum uw_status uw_bundle_base_match(const struct uw_bundle_base *base, const struct uw_job *job,
						  const struct uw_blob *blob, const struct uw_extent *extents,
						  uint64_t nextents, struct uw_base_matches *matches,
						  struct uw_error *err);
void uw_base_matches_free(struct uw_base_matches *matches);

/* Where a slice of the extent, whose src_off is that in the file, has its like. False: it is none of them. */
bool uw_base_matches_find(const struct uw_base_matches *matches, const struct uw_extent *extent,
			  const struct uw_slice *slice, struct uw_reference *reference);

#endif
