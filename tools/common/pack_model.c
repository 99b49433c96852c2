/* SPDX-License-Identifier: Apache-2.0 */
#include "pack_model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "each.h"
#include "exitcode.h"
#include "unweight/clock.h"

struct state {
	const struct uw_pack_model *options;
	struct uw_source *source;
	struct uw_sink *sink; /* NULL: only measure */
	struct uw_manifest *manifest;
	const char *path; /* of the file at hand */
	struct uw_base_matches matches; /* of it in the base */
	struct uw_classified classified;
	struct uw_sha256 sha256; /* of the file at hand */
};

/* ---- writing ---- */

static enum uw_status sink_write(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	return uw_sink_write(ctx, data, nbytes, err);
}

static void observe_source(void *ctx, const void *data, size_t nbytes)
{
	struct state *s = ctx;

	uw_sha256_update(&s->sha256, data, nbytes);
}

static void observe_group(void *ctx, const struct uw_packed_group *packed)
{
	struct state *s = ctx;

	s->options->group(s->options->ctx, &s->classified, packed);
}

static bool like(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice,
		 struct uw_reference *reference)
{
	const struct state *s = ctx;

	return uw_bundle_base_like(s->options->base, s->path, extent, slice, reference) ||
	       uw_base_matches_find(&s->matches, extent, slice, reference);
}

/* A plain file: hashed, and written unless this only measures. */
static enum uw_status take_plain(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	struct state *s = ctx;

	uw_sha256_update(&s->sha256, data, nbytes);
	return s->sink != NULL ? uw_sink_write(s->sink, data, nbytes, err) : UW_OK;
}

static enum uw_status write_container(struct state *s, const struct uw_blob *blob, struct uw_container_id *id,
				      struct uw_error *err)
{
	struct uw_pack_options options = {
		.prove = s->options->check && s->sink != NULL,
		.source = observe_source,
		.read_nbytes = s->source->read_nbytes,
		.group = s->options->group != NULL ? observe_group : NULL,
		.base = s->options->base != NULL ? uw_bundle_base(s->options->base) : NULL,
		.like = like,
		.ctx = s,
	};
	const struct uw_model_file *file = &s->classified.file;
	enum uw_status status = UW_OK;

	if (s->options->base != NULL)
		status = uw_bundle_base_match(s->options->base, &s->options->job, blob, file->extents, file->nextents,
					      &s->matches, err);
	if (status == UW_OK)
		status = uw_container_pack(&s->options->job, s->options->profile, blob, file->extents, file->nextents,
					   &options, s->sink != NULL ? sink_write : NULL, s->sink, id, err);
	uw_base_matches_free(&s->matches);
	return status;
}

/* ---- reading back ---- */

/* The container is the one that was written, byte for byte: the index by its hash, the groups by those in it. */
static enum uw_status check_container(const struct uw_job *job, const struct uw_blob *stored,
				      const struct uw_manifest_file *file, struct uw_error *err)
{
	struct uw_container container;
	enum uw_status status = uw_container_open(stored, job->ops, &container, err);

	if (status != UW_OK)
		return status;
	if (stored->nbytes != file->id.nbytes || container.index->src_nbytes != file->nbytes ||
	    memcmp(container.index->id.index_xxh64, file->id.index_xxh64, sizeof(file->id.index_xxh64)) != 0)
		status = uw_fail(err, UW_ERR_CHECKSUM, container.index->index_off, "another index");
	else
		status = uw_container_check(&container, job, err);
	uw_container_close(&container);
	return status;
}

static enum uw_status hash_bytes(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	uw_sha256_update(ctx, data, nbytes);
	return UW_OK;
}

/* A plain file: the bytes that were hashed on their way in. */
static enum uw_status check_plain(const struct uw_job *job, const struct uw_blob *stored,
				  const struct uw_manifest_file *file, struct uw_error *err)
{
	uint8_t digest[UW_SHA256_NBYTES];
	struct uw_sha256 sha256;
	uint64_t since = uw_clock_ns();
	enum uw_status status = uw_sha256_init(&sha256, err);

	if (status != UW_OK)
		return status;
	status = uw_blob_each(job, stored, hash_bytes, &sha256, err);
	if (job->spent != NULL)
		job->spent(job->ctx, UW_STAGE_CHECK, uw_clock_ns() - since);
	if (status != UW_OK) {
		uw_sha256_free(&sha256);
		return status;
	}
	status = uw_sha256_final(&sha256, digest, err);
	if (status == UW_OK && memcmp(digest, file->sha256, sizeof(digest)) != 0)
		status = uw_fail(err, UW_ERR_CHECKSUM, UW_NO_OFFSET, "another SHA-256");
	return status;
}

/* What the reading finds wrong is no fault of a bundle that somebody gave us. */
static enum uw_status blame_disk(struct uw_error *err)
{
	char what[sizeof(err->what)];

	memcpy(what, err->what, sizeof(what));
	return uw_fail(err, UW_ERR_IO, err->file_off, "what was written does not read back: %.160s", what);
}

/* Reads what was just written: these bytes, every group of which was decoded before, and no others. */
static enum uw_status check_written(struct state *s, const char *stored_path, const struct uw_manifest_file *file,
				    struct uw_error *err)
{
	struct uw_job job = s->options->job;
	struct uw_blob stored;
	enum uw_status status;
	int folder, fd = -1;

	job.progress = NULL;
	folder = open(uw_sink_folder_path(s->sink), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder >= 0)
		fd = openat(folder, stored_path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		status = uw_fail_errno(err, errno, "reading back '%s'", stored_path);
	else
		status = uw_blob_of_fd(&fd, &stored, err);
	if (status == UW_OK)
		status = file->container ? check_container(&job, &stored, file, err) :
					   check_plain(&job, &stored, file, err);
	if (status != UW_OK && uw_exit_of_status(status) == UW_EXIT_CORRUPT)
		status = blame_disk(err);
	if (fd >= 0)
		close(fd);
	if (folder >= 0)
		close(folder);
	return status;
}

/* ---- one file ---- */

static enum uw_status write_file(struct state *s, const struct uw_blob *blob, const char *stored_path,
				 struct uw_manifest_file *file, struct uw_error *err)
{
	enum uw_status status = uw_sha256_init(&s->sha256, err);

	if (status != UW_OK)
		return status;
	if (s->sink != NULL)
		status = uw_sink_begin(s->sink, stored_path, file->container ? UW_SIZE_UNKNOWN : file->nbytes,
				       file->executable, err);
	if (status == UW_ERR_EXISTS && err != NULL) /* not the user's file, but another one of this model */
		status = err->status = UW_ERR_PATH;
	if (status == UW_OK)
		status = file->container ? write_container(s, blob, &file->id, err) :
					   uw_blob_each(&s->options->job, blob, take_plain, s, err);
	if (status == UW_OK && s->sink != NULL)
		status = uw_sink_end(s->sink, err);
	if (status != UW_OK) {
		uw_sha256_free(&s->sha256);
		return status;
	}
	return uw_sha256_final(&s->sha256, file->sha256, err);
}

static enum uw_status pack_file(struct state *s, const struct uw_entry *entry, const struct uw_blob *blob,
				struct uw_error *err)
{
	struct uw_manifest_file file = {
		.path = (char *)(uintptr_t)entry->path, /* copied by uw_manifest_add */
		.nbytes = blob->nbytes,
		.executable = entry->executable,
		.container = s->classified.kind != UW_FILE_PLAIN,
	};
	struct uw_packed_file packed = { &file, &s->classified, 0 };
	char *stored_path = uw_manifest_stored_path(&file);
	enum uw_status status;

	if (stored_path == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "packing");
	s->path = entry->path;
	status = write_file(s, blob, stored_path, &file, err);
	if (status == UW_OK && entry->sha256 != NULL && memcmp(entry->sha256, file.sha256, UW_SHA256_NBYTES) != 0)
		status = uw_fail(err, UW_ERR_CHECKSUM, UW_NO_OFFSET,
				 "SHA-256 of the restored file is not that of the source bundle's manifest");
	if (status == UW_OK)
		status = uw_source_entry_unchanged(s->source, err);
	if (status == UW_OK && s->options->check && s->sink != NULL)
		status = check_written(s, stored_path, &file, err);
	if (status == UW_OK)
		status = uw_manifest_add(s->manifest, &file, err);
	packed.stored_nbytes = file.container ? file.id.nbytes : file.nbytes;
	if (status == UW_OK && s->options->file != NULL)
		s->options->file(s->options->ctx, &packed);
	free(stored_path);
	return status;
}

static enum uw_status pack_entry(struct state *s, const struct uw_entry *entry, struct uw_error *err)
{
	struct uw_blob blob;
	enum uw_status status = uw_source_entry_open(s->source, &blob, err);

	if (status == UW_OK)
		status = uw_classify(entry, &blob, s->options->base, &s->classified, err);
	if (status != UW_OK)
		return status;
	if (s->classified.odd && s->options->strict)
		status = uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "%s", s->classified.reason);
	if (status == UW_OK)
		status = pack_file(s, entry, &blob, err);
	uw_classified_free(&s->classified);
	return status;
}

static enum uw_status write_manifest(struct state *s, struct uw_error *err)
{
	char *text = NULL;
	size_t n = 0;
	enum uw_status status = uw_manifest_render(s->manifest, &text, &n, err);

	if (status == UW_OK && s->sink != NULL) {
		status = uw_sink_begin(s->sink, UW_MANIFEST_NAME, n, false, err);
		if (status == UW_OK)
			status = uw_sink_write(s->sink, text, n, err);
		if (status == UW_OK)
			status = uw_sink_end(s->sink, err);
	}
	free(text);
	return status;
}

enum uw_status uw_model_pack(const struct uw_pack_model *options, struct uw_source *source, struct uw_sink *sink,
			     struct uw_manifest *manifest, char **where, struct uw_error *err)
{
	struct state s = { .options = options, .source = source, .sink = sink, .manifest = manifest };
	const struct uw_entry *entry;
	enum uw_status status;

	*where = NULL;
	*manifest = (struct uw_manifest){ .profile = options->profile, .single = source->single,
					  .base = uw_bundle_base_id(options->base) };
	if (options->base != NULL) {
		status = uw_bundle_base_list(options->base, err);
		if (status != UW_OK)
			return status;
	}
	while ((status = uw_source_next(source, &entry, err)) == UW_OK && entry != NULL) {
		status = pack_entry(&s, entry, err);
		if (status != UW_OK) {
			*where = strdup(entry->path);
			return status;
		}
	}
	if (status == UW_OK && manifest->nfiles == 0)
		status = uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "there is no file in it");
	return status == UW_OK && !options->files_only ? write_manifest(&s, err) : status;
}
