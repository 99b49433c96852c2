/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON text of a manifest, for manifest.c, which checks what concerns the files as a whole; and what other texts of
 * the same make are built of. */
#ifndef UW_MANIFEST_TEXT_H
#define UW_MANIFEST_TEXT_H

#include <jansson.h>
#include <stdio.h>

#include "manifest.h"

UW_MUST_CHECK enum uw_status uw_manifest_write_text(const struct uw_manifest *manifest, char **text, size_t *n,
						    struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_manifest_read_text(const char *text, size_t n, struct uw_manifest *manifest,
						   struct uw_error *err);

/* Ends a text that was written to `f`, an open_memstream of *text and *n: a JSON object up to the comma behind its last
 * but one member, which is followed by SPEC.md 1.1's manifest_sha256. Closes f. whole: all calls on f gave back that
 * they wrote; a stream into memory tells of lack of memory by that, and nowhere else. On failure the caller still frees
 * the text. */
UW_MUST_CHECK enum uw_status uw_manifest_seal(FILE *f, bool whole, char **text, size_t *n, struct uw_error *err);
/* Checks that digest and gives the object, which has no member twice; the caller's to json_decref. */
UW_MUST_CHECK enum uw_status uw_manifest_unseal(const char *text, size_t n, json_t **top, struct uw_error *err);

/* One file object, on one line without its end, false if it was not written whole; and the inverse: every rule for one
 * file, added to the manifest. */
UW_MUST_CHECK bool uw_manifest_write_file(FILE *f, const struct uw_manifest_file *file);
UW_MUST_CHECK enum uw_status uw_manifest_read_file(const json_t *v, struct uw_manifest *manifest, struct uw_error *err);

#endif
