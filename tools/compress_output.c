/* SPDX-License-Identifier: Apache-2.0 */
#include "compress_output.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "each.h"

static enum uw_status to_sink(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	return uw_sink_write(ctx, data, nbytes, err);
}

static enum uw_status tar_file(const struct uw_job *job, int folder, const char *path, bool executable,
			       struct uw_sink *sink, struct uw_error *err)
{
	int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
	struct uw_blob blob;
	enum uw_status status;

	if (fd < 0)
		return uw_fail_errno(err, errno, "reading back '%s'", path);
	status = uw_blob_of_fd(&fd, &blob, err);
	if (status == UW_OK)
		status = uw_sink_begin(sink, path, blob.nbytes, executable, err);
	if (status == UW_OK)
		status = uw_blob_each(job, &blob, to_sink, sink, err);
	if (status == UW_OK)
		status = uw_sink_end(sink, err);
	close(fd);
	return status;
}

/* The tar is made of a finished folder: sizes have to be known before each member, the manifest comes first. */
static enum uw_status tar_up(const struct uw_job *job, const struct uw_manifest *manifest, int folder,
			     struct uw_sink *sink, struct uw_error *err)
{
	enum uw_status status = tar_file(job, folder, UW_MANIFEST_NAME, false, sink, err);

	for (uint64_t i = 0; i < manifest->nfiles && status == UW_OK; i++) {
		char *path = uw_manifest_stored_path(&manifest->files[i]);

		status = path == NULL ? uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tar") :
					tar_file(job, folder, path, manifest->files[i].executable, sink, err);
		free(path);
	}
	return status == UW_OK ? uw_sink_commit(sink, err) : status;
}

/* Opens both before the work, so that nothing is found in the way after it. The name of the tar's folder is not the
 * user's: whatever has it already is not in the way. */
enum uw_status uw_output_open(const char *path, bool force, struct uw_compress_output *out, struct uw_error *err)
{
	enum uw_replace replace = force ? UW_REPLACE_WHOLE : UW_REPLACE_NEVER;
	bool to_stdout = strcmp(path, "-") == 0;
	enum uw_archive_kind kind;
	enum uw_status status;
	char *folder;

	*out = (struct uw_compress_output){ NULL, NULL };
	if (!uw_path_is_archive(path, &kind))
		return uw_sink_open_folder(path, replace, &out->folder, err);
	status = uw_sink_open_archive(path, kind, replace, &out->tar, err);
	if (status != UW_OK)
		return status;
	if (asprintf(&folder, "%s%s.%ld.parts", to_stdout ? uw_tmp_dir() : path, to_stdout ? "/unweight" : "",
		     (long)getpid()) < 0)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "output");
	status = uw_sink_open_folder(folder, UW_REPLACE_WHOLE, &out->folder, err);
	free(folder);
	return status;
}

enum uw_status uw_output_commit(const struct uw_job *job, const struct uw_manifest *manifest,
				struct uw_compress_output *out, struct uw_error *err)
{
	enum uw_status status;
	int folder;

	if (out->tar == NULL)
		return uw_sink_commit(out->folder, err);
	folder = open(uw_sink_folder_path(out->folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return uw_fail_errno(err, errno, "reading back the bundle");
	status = tar_up(job, manifest, folder, out->tar, err);
	close(folder);
	return status;
}

void uw_output_close(struct uw_compress_output *out)
{
	if (out->folder != NULL)
		uw_sink_close(&out->folder);
	if (out->tar != NULL)
		uw_sink_close(&out->tar);
}
