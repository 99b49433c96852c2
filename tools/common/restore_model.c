/* SPDX-License-Identifier: Apache-2.0 */
#include "restore_model.h"

#include <string.h>

struct restore {
	bool sha256_wanted; /* always of a plain file: it has no other checksum */
	struct uw_sha256 sha256;
	struct uw_sink *sink; /* NULL: only verifies */
};

static enum uw_status hash_piece(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice,
				 const void *data, struct uw_error *err)
{
	struct restore *r = ctx;

	uw_sha256_update(&r->sha256, data, (size_t)slice->src_nbytes);
	return UW_OK;
}

static enum uw_status output_piece(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice,
				   const void *data, struct uw_error *err)
{
	const struct restore *r = ctx;

	return uw_sink_write(r->sink, data, (size_t)slice->src_nbytes, err);
}

static enum uw_status restore_container(struct restore *r, const struct uw_container *container,
					const struct uw_job *job, struct uw_error *err)
{
	const struct uw_pieces pieces = {
		.hash = r->sha256_wanted ? hash_piece : NULL,
		.output = r->sink != NULL ? output_piece : NULL,
		.ctx = r,
	};

	return uw_container_restore(container, job, 0, container->index->nextents, &pieces, err);
}

/* A plain file's bytes. */
static enum uw_status take_bytes(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	struct restore *r = ctx;

	uw_sha256_update(&r->sha256, data, nbytes);
	return r->sink != NULL ? uw_sink_write(r->sink, data, nbytes, err) : UW_OK;
}

/* The opened file's bytes, and their SHA-256 compared with the manifest. */
static enum uw_status restore_with_sha256(struct restore *r, const struct uw_bundle_file *opened,
					  const struct uw_manifest_file *file, const struct uw_job *job,
					  struct uw_error *err)
{
	uint8_t digest[UW_SHA256_NBYTES];
	enum uw_status status = uw_sha256_init(&r->sha256, err);

	if (status != UW_OK)
		return status;
	status = opened->is_container ? restore_container(r, &opened->container, job, err) :
					uw_blob_each(job, &opened->source, take_bytes, r, err);
	if (status != UW_OK) {
		uw_sha256_free(&r->sha256);
		return status;
	}
	status = uw_sha256_final(&r->sha256, digest, err);
	if (status == UW_OK && memcmp(digest, file->sha256, sizeof(digest)) != 0)
		status = uw_fail(err, UW_ERR_CHECKSUM, UW_NO_OFFSET, "SHA-256 is not that of the manifest");
	return status;
}

enum uw_status uw_file_restore(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
			       enum uw_restore_check check, const struct uw_job *job, struct uw_sink *sink,
			       struct uw_error *err)
{
	struct uw_bundle_file opened;
	enum uw_status status = uw_bundle_file_open(bundle, file, &opened, err);
	struct restore r = { .sink = sink };

	if (status != UW_OK)
		return status;
	r.sha256_wanted = !bundle->bare && (check == UW_RESTORE_SHA256 || !opened.is_container);
	status = r.sha256_wanted ? restore_with_sha256(&r, &opened, file, job, err) :
				   restore_container(&r, &opened.container, job, err);
	uw_bundle_file_close(&opened);
	return status;
}

enum uw_status uw_model_restore(const struct uw_bundle *bundle, enum uw_restore_check check, const struct uw_job *job,
				struct uw_sink *sink, void (*done)(const struct uw_manifest_file *file),
				const char **where, struct uw_error *err)
{
	*where = NULL;
	for (uint64_t i = 0; i < bundle->manifest.nfiles; i++) {
		const struct uw_manifest_file *file = &bundle->manifest.files[i];
		enum uw_status status = uw_sink_begin(sink, file->path, file->nbytes, file->executable, err);

		if (status == UW_OK)
			status = uw_file_restore(bundle, file, check, job, sink, err);
		if (status == UW_OK)
			status = uw_sink_end(sink, err);
		if (status != UW_OK) {
			*where = file->path;
			return status;
		}
		if (done != NULL)
			done(file);
	}
	return UW_OK;
}

/* ---- one tensor ---- */

/* Index of the one container that has the tensor, or nfiles. */
static enum uw_status find_tensor(const struct uw_bundle *bundle, const char *name, uint64_t *at,
				  struct uw_error *err)
{
	*at = bundle->manifest.nfiles;
	for (uint64_t i = 0; i < bundle->manifest.nfiles; i++) {
		const struct uw_manifest_file *file = &bundle->manifest.files[i];
		struct uw_bundle_file opened;
		enum uw_status status;
		bool has;

		if (!file->container)
			continue;
		status = uw_bundle_file_open(bundle, file, &opened, err);
		if (status != UW_OK)
			return status;
		has = uw_index_find(opened.container.index, name, strlen(name)) != NULL;
		uw_bundle_file_close(&opened);
		if (has && *at != bundle->manifest.nfiles)
			return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "tensor '%s' is in '%s' and in '%s'", name,
				       bundle->manifest.files[*at].path, file->path);
		if (has)
			*at = i;
	}
	if (*at == bundle->manifest.nfiles)
		return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "there is no tensor '%s'", name);
	return UW_OK;
}

enum uw_status uw_tensor_nbytes(const struct uw_bundle *bundle, const char *name, uint64_t *nbytes,
				struct uw_error *err)
{
	struct uw_bundle_file opened;
	enum uw_status status;
	uint64_t at;

	status = find_tensor(bundle, name, &at, err);
	if (status == UW_OK)
		status = uw_bundle_file_open(bundle, &bundle->manifest.files[at], &opened, err);
	if (status != UW_OK)
		return status;
	*nbytes = uw_index_find(opened.container.index, name, strlen(name))->src_nbytes;
	uw_bundle_file_close(&opened);
	return UW_OK;
}

enum uw_status uw_tensor_restore(const struct uw_bundle *bundle, const char *name, const struct uw_job *job,
				 struct uw_sink *sink, struct uw_error *err)
{
	struct restore r = { .sink = sink };
	const struct uw_pieces pieces = { .output = output_piece, .ctx = &r };
	struct uw_bundle_file opened;
	const struct uw_extent *extent;
	enum uw_status status;
	uint64_t at;

	status = find_tensor(bundle, name, &at, err);
	if (status == UW_OK)
		status = uw_bundle_file_open(bundle, &bundle->manifest.files[at], &opened, err);
	if (status != UW_OK)
		return status;
	extent = uw_index_find(opened.container.index, name, strlen(name));
	status = uw_container_restore(&opened.container, job, (uint64_t)(extent - opened.container.index->extents), 1,
				      &pieces, err);
	uw_bundle_file_close(&opened);
	return status;
}
