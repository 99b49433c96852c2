/* SPDX-License-Identifier: Apache-2.0 */
/* A bundle as a source of the model inside it, and the choice of a source by path. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink.h"
#include "source_bundle.h"

struct source_bundle {
	struct uw_source source;
	const struct uw_bundle *bundle;
	uint64_t next;
	bool open;
	struct uw_entry entry;
	struct uw_bundle_file file;
};

static void close_file(struct source_bundle *s)
{
	if (s->open)
		uw_bundle_file_close(&s->file);
	s->open = false;
}

static enum uw_status next(struct uw_source *source, const struct uw_entry **entry, struct uw_error *err)
{
	struct source_bundle *s = (struct source_bundle *)source;
	const struct uw_manifest_file *file;

	close_file(s);
	*entry = NULL;
	if (s->next == s->bundle->manifest.nfiles)
		return UW_OK;
	file = &s->bundle->manifest.files[s->next++];
	s->entry = (struct uw_entry){
		.path = file->path,
		.nbytes = file->nbytes,
		.executable = file->executable,
		.sha256 = s->bundle->bare ? NULL : file->sha256,
	};
	*entry = &s->entry;
	return UW_OK;
}

static enum uw_status open_entry(struct uw_source *source, struct uw_blob *blob, struct uw_error *err)
{
	struct source_bundle *s = (struct source_bundle *)source;
	enum uw_status status;

	close_file(s);
	status = uw_bundle_file_open(s->bundle, &s->bundle->manifest.files[s->next - 1], &s->file, err);
	if (status != UW_OK)
		return status;
	s->open = true;
	s->source.read_nbytes = s->file.is_container ? uw_container_read_nbytes(&s->file.container) : 0;
	*blob = s->file.source;
	return UW_OK;
}

static void close_source(struct uw_source *source)
{
	struct source_bundle *s = (struct source_bundle *)source;

	close_file(s);
	free(s);
}

static const struct uw_source_ops bundle_ops = { next, open_entry, NULL, close_source };

enum uw_status uw_source_open_bundle(const struct uw_bundle *bundle, struct uw_source **source, struct uw_error *err)
{
	struct source_bundle *s = calloc(1, sizeof(*s));

	if (s == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "bundle");
	s->source.ops = &bundle_ops;
	s->source.single = bundle->manifest.single;
	s->bundle = bundle;
	for (uint64_t i = 0; i < bundle->manifest.nfiles; i++)
		s->source.nbytes += bundle->manifest.files[i].nbytes;
	*source = &s->source;
	return UW_OK;
}

static enum uw_status open_archive(const char *path, const char *tmp_dir, struct uw_source **source,
				   struct uw_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum uw_status status;

	if (fd < 0)
		return uw_fail_errno(err, errno, "open");
	status = uw_source_open_archive(fd, path, tmp_dir, source, err);
	close(fd);
	return status;
}

enum uw_status uw_source_open_path(const char *path, const struct uw_cpu_ops *ops, const char *tmp_dir,
				   struct uw_bundle *bundle, struct uw_source **source, struct uw_error *err)
{
	enum uw_archive_kind kind;
	struct stat st;
	enum uw_status status;
	bool is_bundle;

	*bundle = (struct uw_bundle){ .fd = -1 };
	if (path[0] == '-' && path[1] == '\0')
		return uw_source_open_archive(STDIN_FILENO, "standard input", tmp_dir, source, err);
	if (stat(path, &st) != 0)
		return uw_fail_errno(err, errno, "open");
	status = uw_bundle_probe(path, &is_bundle, err);
	if (status != UW_OK)
		return status;
	if (is_bundle) {
		status = uw_bundle_open(path, ops, bundle, err);
		return status == UW_OK ? uw_source_open_bundle(bundle, source, err) : status;
	}
	if (S_ISDIR(st.st_mode))
		return uw_source_open_folder(path, source, err);
	if (uw_archive_kind_of_path(path, &kind))
		return open_archive(path, tmp_dir, source, err);
	return uw_source_open_file(path, source, err);
}

enum uw_status uw_source_open_selected(const char *path, const struct uw_file_list *only, const struct uw_cpu_ops *ops,
				       const char *tmp_dir, struct uw_bundle *bundle, struct uw_source **source,
				       struct uw_error *err)
{
	enum uw_status status;
	bool is_bundle = false;
	struct stat st;

	if (only == NULL)
		return uw_source_open_path(path, ops, tmp_dir, bundle, source, err);
	*bundle = (struct uw_bundle){ .fd = -1 };
	if (stat(path, &st) != 0)
		return uw_fail_errno(err, errno, "open");
	status = uw_bundle_probe(path, &is_bundle, err);
	if (status != UW_OK)
		return status;
	if (is_bundle || !S_ISDIR(st.st_mode))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "a list selects files of a folder, and this is none");
	return uw_source_open_folder_of(path, only, source, err);
}

/* ---- files that nobody asked for ---- */

static enum uw_status stray(const char *path, struct uw_error *err)
{
	return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "'%s' is not in the manifest", path);
}

enum uw_status uw_bundle_check_strays(const struct uw_bundle *bundle, struct uw_error *err)
{
	const struct uw_entry *entry;
	struct uw_source *source;
	enum uw_status status;

	if (bundle->bare)
		return UW_OK;
	for (uint64_t i = 0; i < bundle->nmembers; i++) {
		if (!uw_manifest_is_stored(&bundle->manifest, bundle->members[i].path))
			return stray(bundle->members[i].path, err);
	}
	if (bundle->tar)
		return UW_OK;
	status = uw_bundle_corruption(uw_source_open_folder(bundle->path, &source, err), err);
	if (status != UW_OK)
		return status;
	while ((status = uw_source_next(source, &entry, err)) == UW_OK && entry != NULL) {
		if (!uw_manifest_is_stored(&bundle->manifest, entry->path)) {
			status = stray(entry->path, err);
			break;
		}
	}
	uw_source_close(&source);
	return status;
}
