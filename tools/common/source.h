/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where a model comes from: a single file, a folder, a tar or zip archive, a tar on standard input,
 * or (bundle.c) a bundle. A source lists the model's regular files; each opens as a blob.
 */
#ifndef UW_SOURCE_H
#define UW_SOURCE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "path.h"
#include "unweight/blob.h"

/* One file of the model. Borrowed from the source. */
struct uw_entry {
	const char *path;   /* relative, '/' between components, checked by uw_path_check; for a single file its base name */
	uint64_t nbytes;
	bool executable;    /* by its owner */
	const uint8_t *sha256; /* of its bytes as a bundle's manifest has it; NULL if not known */
};

struct uw_source;

/* What each kind of source implements. Functions get the source's own struct, which begins with struct uw_source. */
struct uw_source_ops {
	/* Moves to the next entry; *entry = NULL at the end. The former entry's blob is closed.
	 * Folders and bundles list in ascending byte order of the path; archives in their own order. */
	enum uw_status (*next)(struct uw_source *source, const struct uw_entry **entry, struct uw_error *err);
	/* Opens the current entry's bytes. The blob is valid until the next call of next or close. */
	enum uw_status (*open)(struct uw_source *source, struct uw_blob *blob, struct uw_error *err);
	/* After the current entry was read: has its file stayed the same? UW_ERR_MISMATCH if not. NULL: nobody else can
	 * get at it. */
	enum uw_status (*unchanged)(struct uw_source *source, struct uw_error *err);
	/* Releases everything, the struct itself too. */
	void (*close)(struct uw_source *source);
};

struct uw_source {
	const struct uw_source_ops *ops;
	bool single;         /* one single file without a folder */
	uint64_t nbytes;     /* of all entries together; 0 if that is not known beforehand */
	uint64_t read_nbytes; /* most memory that one read of the opened entry takes for buffers */
	/* Set by whoever opened it (uw_tool_watch), before the first call of next; may be NULL. */
	void (*warn)(void *ctx, const char *text);
	bool (*cancelled)(void *ctx); /* asked while an archive is read, also while its other end keeps us waiting: UW_ERR_CANCELLED */
	void *watch_ctx;
};

/* Files and folders a source may list: far more than any model has, few enough to bound a hostile farm of symlinks. */
#define UW_SOURCE_MAX_FILES (UINT64_C(1) << 18)

/*
 * Each opener sets *source on success; close it with uw_source_close. `path` is kept in messages, not used after.
 * File: any regular file. Folder: walks regular files; symlinks are followed to regular files and folders also
 * outside (a hub cache is a farm of them), cycles and dangling links are errors that name the path; skips .git,
 * .cache/huggingface and folders with a CACHEDIR.TAG; sockets, devices and pipes are errors. The list is made at open
 * and sorted. Archive: `fd`, duplicated, at the start of a tar (plain, gz, zstd, xz; a pipe will do) or zip (from a
 * pipe only with ASCII names, and without modes); a member is spooled to an unlinked file in `tmp_dir` when it is
 * opened; entries that are no regular files: folders are skipped, a symlink or hardlink inside the archive to an
 * earlier or later member is UW_ERR_FORMAT with the name (not followed), devices the same. A common leading folder
 * ("model/") is kept as it is; a leading "./" is dropped. A member path that fails uw_path_check is UW_ERR_PATH; the
 * same path twice, or one that is a folder of another, is UW_ERR_FORMAT.
 */
UW_MUST_CHECK enum uw_status uw_source_open_file(const char *path, struct uw_source **source, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_source_open_folder(const char *path, struct uw_source **source, struct uw_error *err);
/* The same folder, but only the files that the list has: what else lies there is not even looked at.
 * UW_ERR_NOT_FOUND: a path of the list has no file. */
struct uw_file_list;
UW_MUST_CHECK enum uw_status uw_source_open_folder_of(const char *path, const struct uw_file_list *only,
						      struct uw_source **source, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_source_open_archive(int fd, const char *path, const char *tmp_dir,
						    struct uw_source **source, struct uw_error *err);

static inline enum uw_status uw_source_next(struct uw_source *s, const struct uw_entry **entry, struct uw_error *err)
{
	return s->ops->next(s, entry, err);
}

static inline enum uw_status uw_source_entry_open(struct uw_source *s, struct uw_blob *blob, struct uw_error *err)
{
	return s->ops->open(s, blob, err);
}

static inline enum uw_status uw_source_entry_unchanged(struct uw_source *s, struct uw_error *err)
{
	return s->ops->unchanged != NULL ? s->ops->unchanged(s, err) : UW_OK;
}

/* What a file looked like when it was opened. */
struct uw_file_state {
	uint64_t nbytes;
	struct timespec modified;
};

/* For sources of files: notes the state of an open file; UW_ERR_MISMATCH if it is another one later, as size and time
 * of modification tell. */
UW_MUST_CHECK enum uw_status uw_file_state_note(int fd, struct uw_file_state *state, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_file_state_compare(int fd, const struct uw_file_state *state, struct uw_error *err);

void uw_source_close(struct uw_source **source); /* closes, frees, sets NULL; NULL inside is fine */

/* True if the first bytes of the file look like an archive we read (tar magic, gzip, zstd, xz, zip magic). */
bool uw_looks_like_archive(const uint8_t *head, size_t n);

/* An unlinked temporary file in `dir`, read-write, close-on-exec; -1 and errno on failure. */
int uw_tmpfile(const char *dir);

#endif
