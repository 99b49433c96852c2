/* SPDX-License-Identifier: Apache-2.0 */
#include "decompress_select.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "each.h"
#include "sink_private.h"

/* Takes files[i] out unless it is wanted; *kept counts those that stay. */
static void take_or_leave(struct uw_manifest *manifest, uint64_t i, bool wanted, uint64_t *kept)
{
	if (wanted)
		manifest->files[(*kept)++] = manifest->files[i];
	else
		free(manifest->files[i].path);
}

enum uw_status uw_select_listed(struct uw_manifest *manifest, const struct uw_file_list *list, struct uw_error *err)
{
	struct uw_entry *files = calloc((size_t)manifest->nfiles + 1, sizeof(*files));
	const char *missing;
	uint64_t kept = 0;

	if (files == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of files");
	for (uint64_t i = 0; i < manifest->nfiles; i++)
		files[i].path = manifest->files[i].path;
	missing = uw_file_list_missing(list, files, (size_t)manifest->nfiles);
	free(files);
	if (missing != NULL)
		return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "there is no file '%s', which is in the list",
			       missing);
	for (uint64_t i = 0; i < manifest->nfiles; i++)
		take_or_leave(manifest, i, uw_file_list_has(list, manifest->files[i].path), &kept);
	manifest->nfiles = kept;
	return UW_OK;
}

/* -1 if there is no such file. */
static int open_restored(int root, const char *output, bool is_file, const char *path)
{
	const char *name;
	int folder, fd;

	if (is_file)
		return open(output, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	folder = root >= 0 ? uw_tree_open_above(root, path, false, NULL, &name) : -1;
	if (folder < 0)
		return -1;
	fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	close(folder);
	return fd;
}

static enum uw_status compare(const struct uw_job *job, int fd, const struct uw_manifest_file *file, bool *same,
			      struct uw_error *err)
{
	uint8_t digest[UW_SHA256_NBYTES];
	struct uw_blob blob;
	struct stat st;
	enum uw_status status;

	*same = false;
	if (fstat(fd, &st) != 0)
		return uw_fail_errno(err, errno, "cannot look at '%s'", file->path);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != file->nbytes ||
	    ((st.st_mode & S_IXUSR) != 0) != file->executable)
		return UW_OK;
	status = uw_blob_of_fd(&fd, &blob, err);
	if (status == UW_OK)
		status = uw_blob_sha256(job, &blob, digest, err);
	*same = status == UW_OK && memcmp(digest, file->sha256, sizeof(digest)) == 0;
	return status;
}

static enum uw_status compare_all(struct uw_manifest *manifest, int root, const char *output, bool is_file,
				  const struct uw_job *job, struct uw_error *err)
{
	enum uw_status status = UW_OK;
	uint64_t kept = 0;

	for (uint64_t i = 0; i < manifest->nfiles; i++) {
		int fd = status == UW_OK ? open_restored(root, output, is_file, manifest->files[i].path) : -1;
		bool same = false;

		if (fd >= 0) {
			status = compare(job, fd, &manifest->files[i], &same, err);
			close(fd);
		}
		take_or_leave(manifest, i, !same, &kept);
	}
	manifest->nfiles = kept;
	return status;
}

enum uw_status uw_select_stale(struct uw_bundle *bundle, const char *output, bool is_file, const struct uw_job *job,
			       struct uw_error *err)
{
	enum uw_status status;
	int root = -1;

	if (bundle->bare)
		return UW_OK;
	if (!is_file)
		root = open(output, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	status = compare_all(&bundle->manifest, root, output, is_file, job, err);
	if (root >= 0)
		close(root);
	return status;
}
