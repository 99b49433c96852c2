/* SPDX-License-Identifier: Apache-2.0 */
/* SHA-256 through libcrypto. */
#ifndef UW_SHA256_H
#define UW_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/status.h"

#define UW_SHA256_NBYTES 32u

struct uw_sha256 {
	void *evp;   /* EVP_MD_CTX */
	bool failed; /* libcrypto failed: uw_sha256_final says so */
};

UW_MUST_CHECK enum uw_status uw_sha256_init(struct uw_sha256 *h, struct uw_error *err);
void uw_sha256_update(struct uw_sha256 *h, const void *data, size_t nbytes);
/* Frees the state whatever happens. */
UW_MUST_CHECK enum uw_status uw_sha256_final(struct uw_sha256 *h, uint8_t digest[UW_SHA256_NBYTES],
					     struct uw_error *err);
void uw_sha256_free(struct uw_sha256 *h); /* for a state that never came to final */

/* Lower-case hexadecimal; `hex` gets 2 * n digits and a terminator. */
void uw_hex(const uint8_t *bytes, size_t n, char *hex);
/* The inverse; false unless `hex` has 2 * n lower-case digits and `nhex` says so. */
bool uw_unhex(const char *hex, size_t nhex, uint8_t *bytes, size_t n);

#endif
