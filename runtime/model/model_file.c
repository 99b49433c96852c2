/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the model beside its tensors. */
#include <string.h>

#include "model_private.h"

static enum uw_status find(const struct uw_model *model, const char *path, const struct uw_manifest_file **file,
			   struct uw_error *err)
{
	*file = uw_manifest_find(&model->bundle.manifest, path);
	return *file != NULL ? UW_OK : uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "the model has no file '%s'", path);
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
	return status;
}
