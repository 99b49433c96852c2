/* SPDX-License-Identifier: Apache-2.0 */
/* A blob's bytes from the first to the last, in pieces of bounded size. */
#ifndef UW_EACH_H
#define UW_EACH_H

#include "sha256.h"
#include "unweight/container.h"

#define UW_PIECE_NBYTES ((size_t)4 << 20) /* a multiple of every element size */

/* Gets bytes in order, at most UW_PIECE_NBYTES at a time. Any other status than UW_OK ends the walk. */
typedef enum uw_status (*uw_bytes_fn)(void *ctx, const void *data, size_t nbytes, struct uw_error *err);

/* Cancellation and progress as the job says. */
UW_MUST_CHECK enum uw_status uw_blob_each(const struct uw_job *job, const struct uw_blob *blob, uw_bytes_fn bytes,
					  void *ctx, struct uw_error *err);

/* SHA-256 of all of it; the same holds. */
UW_MUST_CHECK enum uw_status uw_blob_sha256(const struct uw_job *job, const struct uw_blob *blob,
					    uint8_t digest[UW_SHA256_NBYTES], struct uw_error *err);

#endif
