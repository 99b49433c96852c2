/* SPDX-License-Identifier: Apache-2.0 */
/* Which files are taken apart, which are carried as bytes. */
#include <stdio.h>
#include <string.h>

#include "each.h"
#include "pack_model.h"
#include "tool.h"

#define WORTH_A_CONTAINER 4096 /* bytes; a container that refers to a base takes some hundreds */

static bool ends_with(const char *text, const char *end)
{
	size_t n = strlen(text), m = strlen(end);

	return n >= m && strcmp(text + n - m, end) == 0;
}

static bool is_pickle_name(const char *path)
{
	return ends_with(path, ".bin") || ends_with(path, ".pt") || ends_with(path, ".pth") ||
	       ends_with(path, ".ckpt") || ends_with(path, ".pkl") || ends_with(path, ".pickle");
}

/* A zip of pickles (PyTorch since 1.6), or a pickle of protocol 2 and later. Nothing is ever unpickled. */
static bool is_pickle(const char *path, const uint8_t *head, size_t n)
{
	if (!is_pickle_name(path))
		return false;
	return (n >= 4 && memcmp(head, "PK\x03\x04", 4) == 0) || (n >= 2 && head[0] == 0x80 && head[1] <= 5);
}

static enum uw_status opaque(struct uw_classified *c, uint64_t nbytes, const char *reason, struct uw_error *err)
{
	c->kind = UW_FILE_OPAQUE;
	c->odd = reason != NULL;
	if (reason != NULL)
		snprintf(c->reason, sizeof(c->reason), "%s", reason);
	return uw_opaque_file(nbytes, &c->file, err);
}

static enum uw_status classify(const struct uw_entry *entry, const struct uw_blob *blob, struct uw_classified *c,
			       struct uw_error *err)
{
	struct uw_error problem = { .file_off = UW_NO_OFFSET };
	uint8_t head[8] = { 0 };
	size_t n = blob->nbytes < sizeof(head) ? (size_t)blob->nbytes : sizeof(head);
	enum uw_status status = uw_blob_read(blob, head, n, 0, err);

	*c = (struct uw_classified){ .kind = UW_FILE_PLAIN };
	if (status != UW_OK)
		return status;
	if (ends_with(entry->path, ".safetensors")) {
		c->kind = UW_FILE_SAFETENSORS;
		status = uw_safetensors_parse(blob, &c->file, &problem);
		if (uw_json_lacked_memory()) {
			uw_classified_free(c);
			return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "safetensors");
		}
		if (status == UW_ERR_FORMAT)
			return opaque(c, blob->nbytes, problem.what, err);
		if (status != UW_OK && err != NULL)
			*err = problem;
		return status;
	}
	if (is_pickle(entry->path, head, n))
		return opaque(c, blob->nbytes,
			      "contains a pickle, which is never opened; convert it to safetensors to compress it", err);
	if (n >= 4 && memcmp(head, "GGUF", 4) == 0)
		return opaque(c, blob->nbytes, "GGUF is carried, not compressed tensor by tensor", err);
	return uw_manifest_name_taken(entry->path) ? opaque(c, blob->nbytes, NULL, err) : UW_OK;
}

/* Whether the base has the same file, and it is large enough for a container that says so. */
static enum uw_status is_in_base(const struct uw_entry *entry, const struct uw_blob *blob,
				 const struct uw_bundle_base *base, bool *is, struct uw_error *err)
{
	static const struct uw_job quiet; /* what is hashed here is read again */
	const struct uw_manifest_file *file = uw_manifest_find(uw_bundle_base_manifest(base), entry->path);
	uint8_t digest[UW_SHA256_NBYTES];
	enum uw_status status;

	*is = false;
	if (file == NULL || file->nbytes != blob->nbytes || file->nbytes < WORTH_A_CONTAINER)
		return UW_OK;
	status = uw_blob_sha256(&quiet, blob, digest, err);
	*is = status == UW_OK && memcmp(digest, file->sha256, sizeof(digest)) == 0;
	return status;
}

enum uw_status uw_classify(const struct uw_entry *entry, const struct uw_blob *blob, const struct uw_bundle_base *base,
			   struct uw_classified *c, struct uw_error *err)
{
	enum uw_status status = classify(entry, blob, c, err);
	bool shared;

	if (status != UW_OK || base == NULL || c->kind != UW_FILE_PLAIN)
		return status;
	status = is_in_base(entry, blob, base, &shared, err);
	return status == UW_OK && shared ? opaque(c, blob->nbytes, NULL, err) : status;
}

void uw_classified_free(struct uw_classified *c)
{
	uw_model_file_free(&c->file);
}
