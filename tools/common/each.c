/* SPDX-License-Identifier: Apache-2.0 */
#include "each.h"

#include <stdlib.h>

enum uw_status uw_blob_each(const struct uw_job *job, const struct uw_blob *blob, uw_bytes_fn bytes, void *ctx,
			    struct uw_error *err)
{
	uint8_t *buffer = malloc(blob->nbytes < UW_PIECE_NBYTES ? (size_t)blob->nbytes + 1 : UW_PIECE_NBYTES);
	enum uw_status status = UW_OK;

	if (buffer == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "reading");
	for (uint64_t off = 0, n; off < blob->nbytes && status == UW_OK; off += n) {
		n = blob->nbytes - off < UW_PIECE_NBYTES ? blob->nbytes - off : UW_PIECE_NBYTES;
		if (job->cancelled != NULL && job->cancelled(job->ctx))
			status = uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled");
		if (status == UW_OK)
			status = uw_blob_read(blob, buffer, (size_t)n, off, err);
		if (status == UW_OK)
			status = bytes(ctx, buffer, (size_t)n, err);
		if (status == UW_OK && job->progress != NULL)
			job->progress(job->ctx, n);
	}
	free(buffer);
	return status;
}

static enum uw_status hash_bytes(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	(void)err;
	uw_sha256_update(ctx, data, nbytes);
	return UW_OK;
}

enum uw_status uw_blob_sha256(const struct uw_job *job, const struct uw_blob *blob, uint8_t digest[UW_SHA256_NBYTES],
			      struct uw_error *err)
{
	struct uw_sha256 h;
	enum uw_status status = uw_sha256_init(&h, err);

	if (status != UW_OK)
		return status;
	status = uw_blob_each(job, blob, hash_bytes, &h, err);
	if (status == UW_OK)
		return uw_sha256_final(&h, digest, err);
	uw_sha256_free(&h);
	return status;
}
