/* SPDX-License-Identifier: Apache-2.0 */
#include "remove_source.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_private.h"

/* One file, and what tells it from another one, or from itself after it was changed. */
struct uw_doomed {
	char *path;
	dev_t dev;
	ino_t ino;
	off_t nbytes;
	struct timespec modified, changed;
};

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool is_same(const struct uw_doomed *file, const struct stat *st)
{
	return S_ISREG(st->st_mode) && st->st_dev == file->dev && st->st_ino == file->ino &&
	       st->st_size == file->nbytes && same_time(&st->st_mtim, &file->modified) &&
	       same_time(&st->st_ctim, &file->changed);
}

/* ---- before ---- */

static enum uw_status refuse_link(const char *path, struct uw_error *err)
{
	return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET,
		       "'%s' is reached through a symbolic link: --rm removes files only where they lie", path);
}

static enum uw_status note_file(struct uw_removal *r, int folder, const char *name, const char *path,
				struct uw_error *err)
{
	struct uw_doomed *file = &r->files[r->nfiles];
	struct stat st;

	if (fstatat(folder, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return uw_fail_errno(err, errno, "cannot look at '%s'", path);
	if (!S_ISREG(st.st_mode))
		return refuse_link(path, err);
	*file = (struct uw_doomed){
		.path = strdup(path), .dev = st.st_dev, .ino = st.st_ino, .nbytes = st.st_size,
		.modified = st.st_mtim, .changed = st.st_ctim,
	};
	if (file->path == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "--rm");
	r->nfiles++;
	return UW_OK;
}

static enum uw_status note_entry(struct uw_removal *r, int root, const char *path, struct uw_error *err)
{
	const char *name;
	int folder = uw_tree_open_above(root, path, false, NULL, &name);
	enum uw_status status;

	if (folder < 0 && (errno == ELOOP || errno == ENOTDIR))
		return refuse_link(path, err);
	if (folder < 0)
		return uw_fail_errno(err, errno, "cannot open the folder of '%s'", path);
	status = note_file(r, folder, name, path, err);
	close(folder);
	return status;
}

static enum uw_status note_folder(struct uw_removal *r, const struct uw_file_list *only, struct uw_error *err)
{
	struct uw_source *source = NULL;
	const struct uw_entry *entry;
	int root = open(r->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum uw_status status;

	if (root < 0)
		return uw_fail_errno(err, errno, "open");
	status = uw_source_open_folder_of(r->path, only, &source, err);
	while (status == UW_OK && (status = uw_source_next(source, &entry, err)) == UW_OK && entry != NULL) {
		if ((r->nfiles & (r->nfiles - 1)) == 0) {
			struct uw_doomed *bigger = realloc(r->files, (size_t)(r->nfiles == 0 ? 1 : 2 * r->nfiles) *
								     sizeof(*bigger));

			if (bigger == NULL) {
				status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "--rm");
				break;
			}
			r->files = bigger;
		}
		status = note_entry(r, root, entry->path, err);
	}
	uw_source_close(&source);
	close(root);
	return status;
}

/* A slash at the end would have lstat follow a link. */
static char *without_slashes(const char *path)
{
	size_t n = strlen(path);

	while (n > 1 && path[n - 1] == '/')
		n--;
	return strndup(path, n);
}

enum uw_status uw_removal_note(const char *path, const struct uw_file_list *only, struct uw_removal *removal,
			       struct uw_error *err)
{
	const char *slash;
	struct stat st;

	*removal = (struct uw_removal){ .path = without_slashes(path) };
	if (removal->path == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "--rm");
	if (lstat(removal->path, &st) != 0)
		return uw_fail_errno(err, errno, "open");
	if (S_ISDIR(st.st_mode))
		return note_folder(removal, only, err);
	removal->single = true;
	removal->files = calloc(1, sizeof(*removal->files));
	if (removal->files == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "--rm");
	slash = strrchr(removal->path, '/');
	return note_file(removal, AT_FDCWD, removal->path, slash != NULL ? slash + 1 : removal->path, err);
}

void uw_removal_free(struct uw_removal *removal)
{
	for (uint64_t i = 0; i < removal->nfiles; i++)
		free(removal->files[i].path);
	free(removal->files);
	free(removal->path);
	*removal = (struct uw_removal){ 0 };
}

/* ---- after ---- */

/* The file lost a name, which counts as a change of it: not for its other names in the model. */
static void forgive_siblings(const struct uw_removal *r, const struct uw_doomed *file, int fd)
{
	struct stat st;

	if (fstat(fd, &st) != 0 || st.st_nlink == 0 || st.st_size != file->nbytes ||
	    !same_time(&st.st_mtim, &file->modified))
		return;
	for (struct uw_doomed *other = r->files; other < r->files + r->nfiles; other++)
		if (other->dev == file->dev && other->ino == file->ino)
			other->changed = st.st_ctim;
}

static enum uw_status remove_opened(const struct uw_removal *r, const struct uw_doomed *file, int fd, int folder,
				    const char *name, struct uw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return uw_fail_errno(err, errno, "cannot look at '%s'", file->path);
	if (!is_same(file, &st))
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "changed while it was compressed; it stays");
	if (unlinkat(folder, name, 0) != 0 && errno != ENOENT)
		return uw_fail_errno(err, errno, "cannot remove '%s'", file->path);
	forgive_siblings(r, file, fd);
	return UW_OK;
}

static enum uw_status remove_file(const struct uw_removal *r, const struct uw_doomed *file, int folder,
				  const char *name, struct uw_error *err)
{
	int fd = openat(folder, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	enum uw_status status;

	if (fd < 0)
		return errno == ENOENT ? UW_OK : uw_fail_errno(err, errno, "cannot look at '%s'", file->path);
	status = remove_opened(r, file, fd, folder, name, err);
	close(fd);
	return status;
}

static enum uw_status remove_entry(const struct uw_removal *r, const struct uw_doomed *file, int root,
				   struct uw_error *err)
{
	const char *name;
	int folder = uw_tree_open_above(root, file->path, false, NULL, &name);
	enum uw_status status;

	if (folder < 0)
		return errno == ENOENT ? UW_OK : uw_fail_errno(err, errno, "cannot open the folder of '%s'", file->path);
	status = remove_file(r, file, folder, name, err);
	close(folder);
	return status;
}

/* The folders above a path, innermost first, as long as they are empty. */
static void remove_folders(int root, const char *path)
{
	char *folder = strndup(path, uw_tree_folder_len(path));

	while (folder != NULL && folder[0] != '\0') {
		const char *name;
		int up = uw_tree_open_above(root, folder, false, NULL, &name);
		bool gone = up >= 0 && (unlinkat(up, name, AT_REMOVEDIR) == 0 || errno == ENOENT);

		if (up >= 0)
			close(up);
		if (!gone)
			break;
		folder[uw_tree_folder_len(folder)] = '\0';
	}
	free(folder);
}

enum uw_status uw_removal_run(const struct uw_removal *removal, const struct uw_manifest *manifest, const char **where,
			      struct uw_error *err)
{
	int root = removal->single ? -1 : open(removal->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	enum uw_status first = UW_OK;

	*where = removal->path;
	if (!removal->single && root < 0)
		return uw_fail_errno(err, errno, "open");
	for (uint64_t i = 0; i < removal->nfiles; i++) {
		const struct uw_doomed *file = &removal->files[i];
		struct uw_error own = { .file_off = UW_NO_OFFSET };
		enum uw_status status;

		if (uw_manifest_find(manifest, file->path) == NULL)
			continue;
		status = removal->single ? remove_file(removal, file, AT_FDCWD, removal->path, &own) :
					   remove_entry(removal, file, root, &own);
		if (status == UW_OK || first != UW_OK)
			continue;
		first = status;
		*where = file->path;
		*err = own;
	}
	for (uint64_t i = removal->nfiles; root >= 0 && i-- > 0;)
		remove_folders(root, removal->files[i].path);
	if (root >= 0) {
		close(root);
		(void)rmdir(removal->path); /* if it is empty */
	}
	return first;
}
