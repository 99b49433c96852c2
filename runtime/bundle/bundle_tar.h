/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_BUNDLE_TAR_H
#define UW_BUNDLE_TAR_H

#include "bundle.h"

/* Fills members of an uncompressed tar with the regular files in bundle->blob, in archive order. Anything but files and
 * folders, and a path twice, is UW_ERR_LAYOUT; a damaged tar UW_ERR_FORMAT. */
UW_MUST_CHECK enum uw_status uw_bundle_tar_index(struct uw_bundle *bundle, struct uw_error *err);

#endif
