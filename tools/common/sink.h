/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where files go: a folder, one single file, or a tar or zip stream. Nothing appears under its final name
 * before uw_sink_commit; uw_sink_close without commit removes what was written.
 */
#ifndef UW_SINK_H
#define UW_SINK_H

#include <stdbool.h>
#include <stdint.h>

#include "unweight/blob.h"

struct uw_sink;

struct uw_sink_ops {
	/* Starts a file; `path` as in uw_path_check, unique. `nbytes` is its exact size or UW_SIZE_UNKNOWN (folder
	 * and file sinks only). */
	enum uw_status (*begin)(struct uw_sink *sink, const char *path, uint64_t nbytes, bool executable,
				struct uw_error *err);
	enum uw_status (*write)(struct uw_sink *sink, const void *data, size_t nbytes, struct uw_error *err);
	/* Ends the file; it is an error if its size is not the one announced. */
	enum uw_status (*end)(struct uw_sink *sink, struct uw_error *err);
	/* Makes everything durable and gives it its final name. After it only close. */
	enum uw_status (*commit)(struct uw_sink *sink, struct uw_error *err);
	void (*close)(struct uw_sink *sink);
};

#define UW_SIZE_UNKNOWN UINT64_MAX

struct uw_sink {
	const struct uw_sink_ops *ops;
};

enum uw_replace {
	UW_REPLACE_NEVER,  /* the target must not exist: UW_ERR_EXISTS at open, and again at commit */
	UW_REPLACE_WHOLE,  /* folder: exchange the old folder for the new one, then delete the old one */
	UW_REPLACE_FILES,  /* folder: each file replaces its namesake, other files stay */
};

/*
 * Folder: everything is written below ".<name>.<pid>.tmp" beside the target (O_EXCL, mode 0700), files 0644 or 0755
 * less umask, each fsynced; commit fsyncs the folders, renames (RENAME_NOREPLACE or RENAME_EXCHANGE, with a fallback
 * where the file system has neither) and fsyncs the parent. UW_REPLACE_FILES with an existing folder moves file by
 * file with rename; a component of an existing path that is a symlink is replaced if it is a file's last component
 * and refused (UW_ERR_PATH) if it is a folder. File: the same for one file, or "-" for standard output; `path` of
 * begin is ignored; begin only once. Overwrites only if replace is not NEVER. Archive: a tar (restricted pax) or zip
 * written to the temporary file ".<name>.<pid>.tmp", or to `fd` 1 if path is "-" (commit then only flushes). mtime 0,
 * uid and gid 0, no names, mode 0644 or 0755: the same files give the same bytes.
 */
UW_MUST_CHECK enum uw_status uw_sink_open_folder(const char *path, enum uw_replace replace, struct uw_sink **sink,
						 struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_sink_open_file(const char *path, enum uw_replace replace, struct uw_sink **sink,
					       struct uw_error *err);

enum uw_archive_kind { UW_ARCHIVE_TAR, UW_ARCHIVE_TAR_GZ, UW_ARCHIVE_TAR_ZST, UW_ARCHIVE_ZIP };

UW_MUST_CHECK enum uw_status uw_sink_open_archive(const char *path, enum uw_archive_kind kind, enum uw_replace replace,
						  struct uw_sink **sink, struct uw_error *err);

/* Kind of archive a path's suffix asks for (.tar, .tar.gz, .tgz, .tar.zst, .tzst, .zip); false if none. */
bool uw_archive_kind_of_path(const char *path, enum uw_archive_kind *kind);

/* Folder sinks only: the temporary folder's path, for reading back what was written; borrowed. */
const char *uw_sink_folder_path(const struct uw_sink *sink);

static inline enum uw_status uw_sink_begin(struct uw_sink *s, const char *path, uint64_t nbytes, bool executable,
					   struct uw_error *err)
{
	return s->ops->begin(s, path, nbytes, executable, err);
}

static inline enum uw_status uw_sink_write(struct uw_sink *s, const void *data, size_t nbytes, struct uw_error *err)
{
	return s->ops->write(s, data, nbytes, err);
}

static inline enum uw_status uw_sink_end(struct uw_sink *s, struct uw_error *err)
{
	return s->ops->end(s, err);
}

static inline enum uw_status uw_sink_commit(struct uw_sink *s, struct uw_error *err)
{
	return s->ops->commit(s, err);
}

void uw_sink_close(struct uw_sink **sink); /* removes what was not committed, frees, sets NULL */

#endif
