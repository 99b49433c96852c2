/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the model beside its tensors. */
#include <string.h>

#include "model_private.h"
#include "sha256.h"

static enum uw_status find(const struct uw_model *model, const char *path, const struct uw_manifest_file **file,
			   struct uw_error *err)
{
	*file = uw_manifest_find(&model->bundle.manifest, path);
	return *file != NULL ? UW_OK : uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "the model has no file '%s'", path);
}

static enum uw_status check(const struct uw_manifest_file *file, const void *data, struct uw_error *err)
{
	uint8_t digest[UW_SHA256_NBYTES];
	struct uw_sha256 sha256;
	enum uw_status status = uw_sha256_init(&sha256, err);

	if (status != UW_OK)
		return status;
	uw_sha256_update(&sha256, data, (size_t)file->nbytes);
	status = uw_sha256_final(&sha256, digest, err);
	if (status == UW_OK && memcmp(digest, file->sha256, sizeof(digest)) != 0)
		status = uw_fail(err, UW_ERR_CHECKSUM, UW_NO_OFFSET, "SHA-256 of '%s'", file->path);
	return status;
}

enum uw_status uw_model_file_nbytes(const struct uw_model *model, const char *path, uint64_t *nbytes,
				    struct uw_error *err)
{
	const struct uw_manifest_file *file;
	enum uw_status status = find(model, path, &file, err);

	if (status == UW_OK)
		*nbytes = file->nbytes;
	return status;
}

enum uw_status uw_model_file_read(const struct uw_model *model, const char *path, void *dst, size_t room,
				  struct uw_error *err)
{
	const struct uw_manifest_file *file;
	struct uw_bundle_file opened;
	enum uw_status status = find(model, path, &file, err);

	if (status != UW_OK)
		return status;
	if (room < file->nbytes)
		return uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET, "room of %zu bytes for '%s'", room, path);
	status = uw_bundle_file_open(&model->bundle, file, &opened, err);
	if (status != UW_OK)
		return status;
	status = uw_blob_read(&opened.source, dst, (size_t)file->nbytes, 0, err);
	uw_bundle_file_close(&opened);
	return status == UW_OK && !model->bundle.bare ? check(file, dst, err) : status;
}
