/* SPDX-License-Identifier: Apache-2.0 */
/* Bundles as sources, and the choice of a source by path. */
#ifndef UW_SOURCE_BUNDLE_H
#define UW_SOURCE_BUNDLE_H

#include "bundle.h"
#include "source.h"

/* UW_ERR_LAYOUT naming the first file in the bundle that the manifest does not account for. */
UW_MUST_CHECK enum uw_status uw_bundle_check_strays(const struct uw_bundle *bundle, struct uw_error *err);

/* The model inside, restored as it is read. The bundle is borrowed. */
UW_MUST_CHECK enum uw_status uw_source_open_bundle(const struct uw_bundle *bundle, struct uw_source **source,
						   struct uw_error *err);

/* A folder that is no bundle, of which only the files in the list are taken; `only` NULL: as uw_source_open_path.
 * UW_ERR_ARG: the path is something else. */
UW_MUST_CHECK enum uw_status uw_source_open_selected(const char *path, const struct uw_file_list *only,
						     const struct uw_cpu_ops *ops, const char *tmp_dir,
						     struct uw_bundle *bundle, struct uw_source **source,
						     struct uw_error *err);

/* What a command line names as a model: "-" (a tar on standard input), a bundle, a folder, an archive by its suffix,
 * or any other file. `bundle` is used if it is one and has to outlive the source; it is zeroed otherwise, and
 * uw_bundle_close is always fine. */
UW_MUST_CHECK enum uw_status uw_source_open_path(const char *path, const struct uw_cpu_ops *ops, const char *tmp_dir,
						 struct uw_bundle *bundle, struct uw_source **source,
						 struct uw_error *err);

#endif
