/* SPDX-License-Identifier: Apache-2.0 */
#include "verify.h"

#include <string.h>

#include "restore_model.h"
#include "safetensors.h"
#include "verdicts.h"

/* Index and, from UW_VERIFY_CHECKSUM on, all stored bytes of a container. */
static enum uw_status verify_container(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
				       enum uw_verify_level level, const struct uw_job *job, struct uw_error *err)
{
	struct uw_bundle_file opened;
	enum uw_status status = uw_bundle_file_open(bundle, file, &opened, err);

	if (status != UW_OK)
		return status;
	if (level >= UW_VERIFY_CHECKSUM)
		status = uw_container_check(&opened.container, job, err);
	uw_bundle_file_close(&opened);
	return status;
}

static bool same_tensor(const struct uw_extent *a, const struct uw_extent *b)
{
	return a->kind == b->kind && a->src_nbytes == b->src_nbytes && a->dtype == b->dtype && a->ndims == b->ndims &&
	       a->name_nbytes == b->name_nbytes &&
	       (a->name_nbytes == 0 || memcmp(a->name, b->name, a->name_nbytes) == 0) &&
	       (a->ndims == 0 || memcmp(a->dims, b->dims, a->ndims * sizeof(*a->dims)) == 0);
}

/* The index says again what the safetensors header says: a loader that trusts one must not see another model than one
 * that trusts the other. */
static enum uw_status verify_header(const struct uw_bundle_file *opened, struct uw_error *err)
{
	const struct uw_index *index = opened->container.index;
	struct uw_model_file header;
	enum uw_status status;

	if (index->nextents == 0 || index->extents[0].kind != UW_EXTENT_HEADER)
		return UW_OK;
	status = uw_safetensors_parse(&opened->source, &header, err);
	if (status == UW_ERR_FORMAT)
		return err->status = UW_ERR_LAYOUT;
	if (status != UW_OK)
		return status;
	if (header.nextents != index->nextents)
		status = uw_fail(err, UW_ERR_LAYOUT, index->index_off, "the index has other tensors than the header");
	for (uint64_t i = 0; i < header.nextents && status == UW_OK; i++) {
		const struct uw_extent *extent = &index->extents[i];

		if (!same_tensor(extent, &header.extents[i]))
			status = uw_fail(err, UW_ERR_LAYOUT, index->index_off,
					 "the index and the safetensors header disagree on tensor '%.*s'",
					 extent->name_nbytes < 100 ? (int)extent->name_nbytes : 100, extent->name);
	}
	uw_model_file_free(&header);
	return status;
}

/* All of it decoded, with the right SHA-256 in the end. */
static enum uw_status verify_decoded(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
				     const struct uw_job *job, struct uw_error *err)
{
	enum uw_status status = uw_file_restore(bundle, file, UW_RESTORE_SHA256, job, NULL, err);
	struct uw_bundle_file opened;

	if (status != UW_OK || !file->container)
		return status;
	status = uw_bundle_file_open(bundle, file, &opened, err);
	if (status == UW_OK) {
		status = verify_header(&opened, err);
		uw_bundle_file_close(&opened);
	}
	return status;
}

static enum uw_status verify_file(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
				  enum uw_verify_level level, const struct uw_job *job, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	if (file->container)
		status = verify_container(bundle, file, level, job, err);
	/* a plain file's checksum is its SHA-256: for it both levels are one */
	if (status == UW_OK && (level == UW_VERIFY_DECODE || (level == UW_VERIFY_CHECKSUM && !file->container)))
		status = verify_decoded(bundle, file, job, err);
	return status;
}

enum uw_status uw_bundle_verify(const struct uw_bundle *bundle, enum uw_verify_level level, const struct uw_job *job,
				uw_verdict_fn verdict, void *ctx)
{
	struct uw_verdicts v = { verdict, ctx, UW_OK };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	enum uw_status status = uw_bundle_check_strays(bundle, &err);

	if (status != UW_OK)
		uw_verdicts_add(&v, NULL, 0, status, &err);
	for (uint64_t i = 0; i < bundle->manifest.nfiles && v.worst != UW_ERR_CANCELLED; i++) {
		const struct uw_manifest_file *file = &bundle->manifest.files[i];

		err = (struct uw_error){ .file_off = UW_NO_OFFSET };
		status = verify_file(bundle, file, level, job, &err);
		uw_verdicts_add(&v, file->path, file->nbytes, status, &err);
	}
	return v.worst;
}
