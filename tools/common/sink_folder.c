/* SPDX-License-Identifier: Apache-2.0 */
/* A sink for a folder: all of it grows in a temporary folder beside the target, and moves there at commit. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_private.h"
#include "source.h"

struct folder_sink {
	struct uw_sink base;
	struct uw_target target;
	struct uw_outfile file;
	enum uw_phase phase;
	bool whole;              /* UW_REPLACE_WHOLE */
	int tmp_fd;
	int old_fd;              /* the existing folder that gets the files one by one; -1: the folder moves as one */
	mode_t mode;             /* final mode of the folder */
	char *tmp_path;
	struct uw_names files;   /* paths in order of begin; used if old_fd is open */
	struct uw_names folders; /* folders made below the temporary one, parents first */
};

/* errno of uw_tree_open as a status. */
static enum uw_status fail_folder(struct uw_error *err, const char *path)
{
	if (errno == ELOOP)
		return uw_fail(err, UW_ERR_PATH, UW_NO_OFFSET, "a symbolic link is in the way of '%s'", path);
	if (errno == ENOTDIR)
		return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "a file is in the way of '%s'", path);
	return uw_fail_errno(err, errno, "cannot open the folder of '%s'", path);
}

/* Could `path` be moved into the existing folder? Asked before the work, so that commit does not stop halfway. */
static enum uw_status check_old(const struct folder_sink *s, const char *path, struct uw_error *err)
{
	const char *name;
	int fd = uw_tree_open_above(s->old_fd, path, false, NULL, &name);
	struct stat st;
	bool is_folder;

	if (fd < 0)
		return errno == ENOENT ? UW_OK : fail_folder(err, path);
	is_folder = fstatat(fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
	close(fd);
	if (is_folder)
		return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "a folder is in the way of '%s'", path);
	return UW_OK;
}

static enum uw_status create(struct folder_sink *s, const char *path, bool executable, int *fd, struct uw_error *err)
{
	const char *name;
	int dir_fd = uw_tree_open_above(s->tmp_fd, path, true, &s->folders, &name);
	enum uw_status status = UW_OK;

	if (dir_fd < 0)
		return fail_folder(err, path);
	*fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, executable ? 0755 : 0644);
	if (*fd < 0)
		status = uw_fail_errno(err, errno, "cannot create '%s'", path);
	close(dir_fd);
	return status;
}

static enum uw_status start(struct folder_sink *s, const char *path, uint64_t nbytes, bool executable,
			    struct uw_error *err)
{
	enum uw_status status = uw_path_check(path, strlen(path), err);
	int fd = -1;

	if (status == UW_OK && s->old_fd >= 0)
		status = check_old(s, path, err);
	if (status == UW_OK && s->old_fd >= 0 && uw_names_add(&s->files, path, strlen(path)) != 0)
		status = uw_fail_errno(err, ENOMEM, "'%s'", path);
	if (status == UW_OK)
		status = create(s, path, executable, &fd, err);
	return status == UW_OK ? uw_outfile_begin(&s->file, fd, nbytes, err) : status;
}

static enum uw_status folder_begin(struct uw_sink *sink, const char *path, uint64_t nbytes, bool executable,
				   struct uw_error *err)
{
	struct folder_sink *s = (struct folder_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_IDLE, err);

	if (status == UW_OK)
		status = start(s, path, nbytes, executable, err);
	return uw_phase_move(&s->phase, UW_PHASE_FILE, status);
}

static enum uw_status folder_write(struct uw_sink *sink, const void *data, size_t nbytes, struct uw_error *err)
{
	struct folder_sink *s = (struct folder_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_FILE, err);

	if (status == UW_OK)
		status = uw_outfile_write(&s->file, data, nbytes, err);
	return uw_phase_move(&s->phase, UW_PHASE_FILE, status);
}

static enum uw_status folder_end(struct uw_sink *sink, struct uw_error *err)
{
	struct folder_sink *s = (struct folder_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_FILE, err);

	if (status == UW_OK)
		status = uw_outfile_end(&s->file, err);
	return uw_phase_move(&s->phase, UW_PHASE_IDLE, status);
}

/* Flushes root and the folders below it that hold our files. */
static enum uw_status sync_folders(const struct folder_sink *s, int root_fd, struct uw_error *err)
{
	for (size_t i = 0; i < s->folders.n; i++) {
		const char *path = s->folders.name[i];
		int fd = uw_tree_open(root_fd, path, strlen(path), false, NULL);
		int failed = fd < 0 || uw_sync_folder(fd) != 0 ? errno : 0;

		if (fd >= 0)
			close(fd);
		if (failed != 0)
			return uw_fail_errno(err, failed, "cannot flush the folder '%s' to disk", path);
	}
	if (uw_sync_folder(root_fd) != 0)
		return uw_fail_errno(err, errno, "cannot flush the folder to disk");
	return UW_OK;
}

static enum uw_status move_file(const struct folder_sink *s, const char *path, struct uw_error *err)
{
	const char *name;
	int to_fd = uw_tree_open_above(s->old_fd, path, true, NULL, &name);
	int from_fd;
	enum uw_status status = UW_OK;

	if (to_fd < 0)
		return fail_folder(err, path);
	from_fd = uw_tree_open_above(s->tmp_fd, path, false, NULL, &name);
	if (from_fd < 0 || renameat(from_fd, name, to_fd, name) != 0)
		status = uw_fail_errno(err, errno, "cannot move '%s' to its place", path);
	if (from_fd >= 0)
		close(from_fd);
	close(to_fd);
	return status;
}

static enum uw_status merge(struct folder_sink *s, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	for (size_t i = 0; i < s->files.n && status == UW_OK; i++)
		status = move_file(s, s->files.name[i], err);
	if (status == UW_OK)
		status = sync_folders(s, s->old_fd, err);
	return status == UW_OK ? uw_target_discard(&s->target, err) : status;
}

static enum uw_status publish(struct folder_sink *s, struct uw_error *err)
{
	enum uw_status status;

	if (s->old_fd >= 0)
		return merge(s, err); /* files are flushed already; the folders they leave go away */
	if (fchmod(s->tmp_fd, s->mode) != 0)
		return uw_fail_errno(err, errno, "cannot open the folder to others");
	status = sync_folders(s, s->tmp_fd, err);
	return status == UW_OK ? uw_target_publish_folder(&s->target, s->whole, err) : status;
}

static enum uw_status folder_commit(struct uw_sink *sink, struct uw_error *err)
{
	struct folder_sink *s = (struct folder_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_IDLE, err);

	if (status == UW_OK)
		status = publish(s, err);
	return uw_phase_move(&s->phase, UW_PHASE_DONE, status);
}

static void folder_close(struct uw_sink *sink)
{
	struct folder_sink *s = (struct folder_sink *)sink;

	uw_outfile_drop(&s->file);
	if (s->tmp_fd >= 0)
		close(s->tmp_fd);
	if (s->old_fd >= 0)
		close(s->old_fd);
	uw_target_close(&s->target);
	uw_names_free(&s->files);
	uw_names_free(&s->folders);
	free(s->tmp_path);
	free(s);
}

/* Decides what happens to a folder that is there. */
static enum uw_status look_at_old(struct folder_sink *s, enum uw_replace replace, struct uw_error *err)
{
	enum uw_target_kind kind;
	enum uw_status status = uw_target_look(&s->target, &kind, err);

	if (status != UW_OK || kind == UW_TARGET_NONE)
		return status;
	if (replace == UW_REPLACE_NEVER)
		return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "output already exists");
	if (kind != UW_TARGET_FOLDER)
		return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "output exists and is not a folder");
	if (replace == UW_REPLACE_WHOLE)
		return UW_OK;
	s->old_fd = openat(s->target.dir_fd, s->target.base, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return s->old_fd >= 0 ? UW_OK : uw_fail_errno(err, errno, "cannot open the existing folder");
}

/* Made with its final mode, less umask and what the parent hands down, and closed to others until commit. */
static enum uw_status make_temporary(struct folder_sink *s, struct uw_error *err)
{
	enum uw_status status = uw_target_create_folder(&s->target, &s->tmp_fd, err);
	struct stat st;

	if (status != UW_OK)
		return status;
	if (fstat(s->tmp_fd, &st) != 0 || fchmod(s->tmp_fd, (st.st_mode & S_ISGID) | 0700) != 0)
		return uw_fail_errno(err, errno, "cannot close the temporary folder to others");
	s->mode = st.st_mode & 07777;
	if (asprintf(&s->tmp_path, "%s/%s", s->target.dir, s->target.tmp) < 0) {
		s->tmp_path = NULL;
		return uw_fail_errno(err, ENOMEM, "output");
	}
	return UW_OK;
}

static const struct uw_sink_ops folder_ops = {folder_begin, folder_write, folder_end, folder_commit, folder_close};

enum uw_status uw_sink_open_folder(const char *path, enum uw_replace replace, struct uw_sink **sink,
				   struct uw_error *err)
{
	struct folder_sink *s = calloc(1, sizeof(*s));
	enum uw_status status;

	if (s == NULL)
		return uw_fail_errno(err, ENOMEM, "output");
	s->base.ops = &folder_ops;
	s->file.fd = s->tmp_fd = s->old_fd = -1;
	s->whole = replace == UW_REPLACE_WHOLE;
	status = uw_target_open(&s->target, path, err);
	if (status == UW_OK)
		status = look_at_old(s, replace, err);
	if (status == UW_OK)
		status = make_temporary(s, err);
	if (status != UW_OK) {
		folder_close(&s->base);
		return status;
	}
	*sink = &s->base;
	return UW_OK;
}

const char *uw_sink_folder_path(const struct uw_sink *sink)
{
	return sink->ops == &folder_ops ? ((const struct folder_sink *)sink)->tmp_path : NULL;
}
