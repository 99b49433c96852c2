/* SPDX-License-Identifier: Apache-2.0 */
/* The source files' digests in the forms that others read: sha256sum's list, one digest of all, a list to sign. */
#ifndef UW_PROVENANCE_H
#define UW_PROVENANCE_H

#include <stdio.h>

#include <jansson.h>

#include "bundle.h"

/* Is `digest` the source digest (uw_source_digest: SHA-256 of the text that uw_print_sums prints) or, of a bundle made
 * from one single file, that file's SHA-256? UW_ERR_MISMATCH if not. */
UW_MUST_CHECK enum uw_status uw_source_expect(const struct uw_manifest *manifest,
					      const uint8_t digest[UW_SHA256_NBYTES], struct uw_error *err);

/* The same for a bundle. One container by itself holds no digest, and so not the expected one. */
UW_MUST_CHECK enum uw_status uw_bundle_expect(const struct uw_bundle *bundle,
					      const uint8_t digest[UW_SHA256_NBYTES], struct uw_error *err);

/* The list as sha256sum writes it; ctx is the manifest. 0 or -1, for uw_write_text. */
int uw_print_sums(const void *ctx, FILE *f);

/* The in-toto statement that OpenSSF's model_signing signs (predicate v1.0, method "files"), in its order of paths.
 * NULL: out of memory. */
json_t *uw_signing_statement(const struct uw_manifest *manifest, const char *model_name);

/* Arguments of options; false after printing (uw_msg_error). */
bool uw_parse_digest(const char *arg, uint8_t digest[UW_SHA256_NBYTES]); /* 64 hexadecimal digits */
bool uw_parse_percent(const char *arg, double *percent);                 /* 0 to 100 */
bool uw_parse_size(const char *arg, uint64_t *nbytes);                   /* 123, 4K, 5MiB, 6G, 1T: powers of 1024 */

#endif
