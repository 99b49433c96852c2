/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON text of a manifest; used by manifest.c only, which checks what concerns the files as a whole. */
#ifndef UW_MANIFEST_TEXT_H
#define UW_MANIFEST_TEXT_H

#include "manifest.h"

UW_MUST_CHECK enum uw_status uw_manifest_write_text(const struct uw_manifest *manifest, char **text, size_t *n,
						    struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_manifest_read_text(const char *text, size_t n, struct uw_manifest *manifest,
						   struct uw_error *err);

#endif
