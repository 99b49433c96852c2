/* SPDX-License-Identifier: Apache-2.0 */
/* An output that appears at once: made under a temporary name beside the target, renamed when it is whole. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_private.h"

enum {
	NAME_TRIES = 1000,
	BASE_MAX = NAME_MAX - 32, /* bytes of the final name in the temporary one: leaves room for dots, pid and count */
};

/* Length of path without the slashes and "." components at its end; 0 for "/" and ".". */
static size_t trimmed_len(const char *path)
{
	size_t n = strlen(path);

	for (;;) {
		if (n > 0 && path[n - 1] == '/')
			n--;
		else if (n > 0 && path[n - 1] == '.' && (n == 1 || path[n - 2] == '/'))
			n--;
		else
			return n;
	}
}

/* "." has no name to put a temporary beside: takes the working folder's own. */
static char *working_folder(const char *path)
{
	return path[0] == '.' ? getcwd(NULL, 0) : strdup(path);
}

static enum uw_status split(struct uw_target *t, const char *path, struct uw_error *err)
{
	size_t n = trimmed_len(path), folder_n = n;

	while (folder_n > 0 && path[folder_n - 1] != '/')
		folder_n--;
	if (n == 0 || (n - folder_n == 2 && memcmp(path + folder_n, "..", 2) == 0))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "not a name for an output: '%s'", path);
	t->dir = folder_n != 0 ? strndup(path, folder_n) : strdup(".");
	t->base = strndup(path + folder_n, n - folder_n);
	if (t->dir == NULL || t->base == NULL)
		return uw_fail_errno(err, ENOMEM, "output name");
	return UW_OK;
}

enum uw_status uw_target_open(struct uw_target *t, const char *path, struct uw_error *err)
{
	char *full = trimmed_len(path) == 0 ? working_folder(path) : strdup(path);
	enum uw_status status;

	*t = (struct uw_target){.dir_fd = -1};
	if (full == NULL)
		return uw_fail_errno(err, errno, "output name");
	status = split(t, full, err);
	free(full);
	if (status == UW_OK) {
		t->dir_fd = open(t->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (t->dir_fd < 0)
			status = uw_fail_errno(err, errno, "cannot open the output's folder '%s'", t->dir);
	}
	if (status != UW_OK)
		uw_target_close(t);
	return status;
}

enum uw_status uw_target_look(const struct uw_target *t, enum uw_target_kind *kind, struct uw_error *err)
{
	struct stat st;

	*kind = UW_TARGET_NONE;
	if (fstatat(t->dir_fd, t->base, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		if (errno == ENOENT)
			return UW_OK;
		return uw_fail_errno(err, errno, "cannot look at the output '%s'", t->base);
	}
	*kind = S_ISREG(st.st_mode) ? UW_TARGET_FILE : S_ISDIR(st.st_mode) ? UW_TARGET_FOLDER : UW_TARGET_OTHER;
	/* A link to a device or folder, say /dev/stdout, stands for more than a file. */
	if (S_ISLNK(st.st_mode) && (fstatat(t->dir_fd, t->base, &st, 0) != 0 || S_ISREG(st.st_mode)))
		*kind = UW_TARGET_FILE;
	return UW_OK;
}

enum uw_status uw_target_open_file(struct uw_target *t, const char *path, bool replace, struct uw_error *err)
{
	enum uw_target_kind kind;
	enum uw_status status = uw_target_open(t, path, err);

	if (status != UW_OK)
		return status;
	status = uw_target_look(t, &kind, err);
	if (status == UW_OK && kind != UW_TARGET_NONE && !replace)
		status = uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "output already exists");
	else if (status == UW_OK && kind != UW_TARGET_NONE && kind != UW_TARGET_FILE)
		status = uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "output exists and is not a regular file");
	if (status != UW_OK)
		uw_target_close(t);
	return status;
}

/* ".<base>.<pid>.tmp". A killed process may have left that name behind, and in containers pids repeat: then
 * ".<base>.<pid>-1.tmp" and so on. */
static void name_temporary(struct uw_target *t, unsigned attempt)
{
	char count[16] = "";
	size_t n = strlen(t->base);

	if (n > BASE_MAX)
		for (n = BASE_MAX; n > 0 && ((unsigned char)t->base[n] & 0xC0) == 0x80; n--)
			;
	if (attempt != 0)
		snprintf(count, sizeof(count), "-%u", attempt);
	snprintf(t->tmp, sizeof(t->tmp), ".%.*s.%ld%s.tmp", (int)n, t->base, (long)getpid(), count);
}

/* Makes a file and gives its descriptor, or makes a folder and gives 0. */
static int create(struct uw_target *t, bool folder, mode_t mode)
{
	for (unsigned attempt = 0; attempt < NAME_TRIES; attempt++) {
		int fd;

		name_temporary(t, attempt);
		fd = folder ? mkdirat(t->dir_fd, t->tmp, mode)
			    : openat(t->dir_fd, t->tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
		if (fd >= 0)
			return fd;
		if (errno != EEXIST)
			break;
	}
	t->tmp[0] = '\0';
	return -1;
}

enum uw_status uw_target_create_file(struct uw_target *t, mode_t mode, int *fd, struct uw_error *err)
{
	*fd = create(t, false, mode);
	if (*fd < 0)
		return uw_fail_errno(err, errno, "cannot create a file in '%s'", t->dir);
	return UW_OK;
}

enum uw_status uw_target_create_folder(struct uw_target *t, int *fd, struct uw_error *err)
{
	*fd = -1;
	if (create(t, true, 0755) == 0)
		*fd = openat(t->dir_fd, t->tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		return uw_fail_errno(err, errno, "cannot create a folder in '%s'", t->dir);
	return UW_OK;
}

/* Renames the temporary unless the name is taken. Where the file system cannot do that in one step: a file by hard
 * link, else by looking first; then a file made in between is lost, but a folder only if it is empty. */
static int rename_new(struct uw_target *t)
{
	struct stat st;

	if (renameat2(t->dir_fd, t->tmp, t->dir_fd, t->base, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	if (linkat(t->dir_fd, t->tmp, t->dir_fd, t->base, 0) == 0)
		return unlinkat(t->dir_fd, t->tmp, 0);
	if (errno != EEXIST && fstatat(t->dir_fd, t->base, &st, AT_SYMLINK_NOFOLLOW) != 0 && errno == ENOENT)
		return renameat(t->dir_fd, t->tmp, t->dir_fd, t->base);
	errno = EEXIST;
	return -1;
}

/* The old folder gets the temporary's name, in one step or, where that is not known, in three. */
static int exchange(struct uw_target *t)
{
	char aside[NAME_MAX + 1];
	int saved;

	if (renameat2(t->dir_fd, t->tmp, t->dir_fd, t->base, RENAME_EXCHANGE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return -1;
	snprintf(aside, sizeof(aside), "%.*s.old.tmp", (int)(strlen(t->tmp) - strlen(".tmp")), t->tmp);
	if (renameat(t->dir_fd, t->base, t->dir_fd, aside) != 0)
		return -1;
	if (renameat(t->dir_fd, t->tmp, t->dir_fd, t->base) != 0) {
		saved = errno;
		renameat(t->dir_fd, aside, t->dir_fd, t->base);
		errno = saved;
		return -1;
	}
	memcpy(t->tmp, aside, sizeof(aside));
	return 0;
}

static enum uw_status sync_dir(const struct uw_target *t, struct uw_error *err)
{
	if (uw_sync_folder(t->dir_fd) != 0)
		return uw_fail_errno(err, errno, "cannot flush the folder '%s' to disk", t->dir);
	return UW_OK;
}

enum uw_status uw_target_publish_file(struct uw_target *t, bool replace, struct uw_error *err)
{
	if ((replace ? renameat(t->dir_fd, t->tmp, t->dir_fd, t->base) : rename_new(t)) != 0)
		return uw_fail_errno(err, errno, "cannot give the output its name");
	t->tmp[0] = '\0';
	return sync_dir(t, err);
}

enum uw_status uw_target_publish_folder(struct uw_target *t, bool replace, struct uw_error *err)
{
	enum uw_target_kind kind = UW_TARGET_NONE;
	enum uw_status status = replace ? uw_target_look(t, &kind, err) : UW_OK;

	if (status != UW_OK)
		return status;
	if (kind != UW_TARGET_NONE && kind != UW_TARGET_FOLDER)
		return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "output exists and is not a folder");
	if ((kind == UW_TARGET_FOLDER ? exchange(t) : rename_new(t)) != 0)
		return uw_fail_errno(err, errno, "cannot give the output its name");
	if (kind == UW_TARGET_NONE)
		t->tmp[0] = '\0';
	status = sync_dir(t, err);
	if (status != UW_OK) {
		t->tmp[0] = '\0'; /* the new folder may not be safe: the old one stays */
		return status;
	}
	return uw_target_discard(t, err);
}

enum uw_status uw_target_discard(struct uw_target *t, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	if (t->tmp[0] != '\0' && uw_tree_remove(t->dir_fd, t->tmp) != 0)
		status = uw_fail_errno(err, errno, "cannot remove '%s'", t->tmp);
	t->tmp[0] = '\0';
	return status;
}

void uw_target_close(struct uw_target *t)
{
	if (uw_target_discard(t, NULL) != UW_OK) {
		/* nobody to tell; what was lost is only space */
	}
	if (t->dir_fd >= 0)
		close(t->dir_fd);
	free(t->dir);
	free(t->base);
	*t = (struct uw_target){.dir_fd = -1};
}
