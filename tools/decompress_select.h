/* SPDX-License-Identifier: Apache-2.0 */
/* unweight-decompress: which of the bundle's files are to be restored. */
#ifndef UW_DECOMPRESS_SELECT_H
#define UW_DECOMPRESS_SELECT_H

#include "bundle.h"
#include "file_list.h"

/* Both take files out of an open bundle's manifest; it is still good for restoring, no longer for its digests. */

/* Leaves the files in the list. UW_ERR_NOT_FOUND: the list has a path that the bundle does not have. */
UW_MUST_CHECK enum uw_status uw_select_listed(struct uw_manifest *manifest, const struct uw_file_list *list,
					      struct uw_error *err);

/*
 * Leaves the files that are not at `output` yet, with their executable bit and SHA-256: in that folder, or with
 * `is_file` the one file that the bundle is of. What is behind symbolic links is not there. One container by itself
 * knows no SHA-256: it is left.
 */
UW_MUST_CHECK enum uw_status uw_select_stale(struct uw_bundle *bundle, const char *output, bool is_file,
					     const struct uw_job *job, struct uw_error *err);

#endif
