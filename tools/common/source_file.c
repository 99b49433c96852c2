/* SPDX-License-Identifier: Apache-2.0 */
/* A model that is one file without a folder. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source.h"

struct file_source {
	struct uw_source base;
	struct uw_entry entry; /* path points into `name` */
	char *name;            /* as the caller spelt it, for messages */
	int fd;
	struct uw_file_state state;
	bool listed;
};

static enum uw_status file_next(struct uw_source *source, const struct uw_entry **entry, struct uw_error *err)
{
	struct file_source *s = (struct file_source *)source;

	(void)err;
	*entry = s->listed ? NULL : &s->entry;
	s->listed = true;
	return UW_OK;
}

static enum uw_status file_open(struct uw_source *source, struct uw_blob *blob, struct uw_error *err)
{
	struct file_source *s = (struct file_source *)source;
	enum uw_status status = uw_blob_of_fd(&s->fd, blob, err);

	if (status == UW_OK && blob->nbytes != s->entry.nbytes)
		return uw_fail(err, UW_ERR_IO, UW_NO_OFFSET, "size of '%s' changed while it was in use", s->name);
	return status == UW_OK ? uw_file_state_note(s->fd, &s->state, err) : status;
}

static enum uw_status file_unchanged(struct uw_source *source, struct uw_error *err)
{
	const struct file_source *s = (const struct file_source *)source;

	return uw_file_state_compare(s->fd, &s->state, err);
}

static void file_close(struct uw_source *source)
{
	struct file_source *s = (struct file_source *)source;

	if (s->fd >= 0)
		close(s->fd);
	free(s->name);
	free(s);
}

static const struct uw_source_ops file_ops = { file_next, file_open, file_unchanged, file_close };

static enum uw_status open_regular(struct file_source *s, struct uw_error *err)
{
	const char *slash = strrchr(s->name, '/');
	struct stat st;

	s->entry.path = slash ? slash + 1 : s->name;
	s->fd = open(s->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY); /* a pipe must not make us wait */
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		return uw_fail_errno(err, errno, "cannot open '%s'", s->name);
	if (!S_ISREG(st.st_mode))
		return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "not a regular file: '%s'", s->name);
	s->entry.nbytes = (uint64_t)st.st_size;
	s->entry.executable = (st.st_mode & S_IXUSR) != 0;
	return uw_path_check(s->entry.path, strlen(s->entry.path), err);
}

enum uw_status uw_source_open_file(const char *path, struct uw_source **source, struct uw_error *err)
{
	struct file_source *s = calloc(1, sizeof(*s));
	enum uw_status status;

	if (s == NULL)
		return uw_fail_errno(err, ENOMEM, "cannot open '%s'", path);
	s->base.ops = &file_ops;
	s->base.single = true;
	s->fd = -1;
	s->name = strdup(path);
	status = s->name ? open_regular(s, err) : uw_fail_errno(err, ENOMEM, "cannot open '%s'", path);
	if (status != UW_OK) {
		file_close(&s->base);
		return status;
	}
	s->base.nbytes = s->entry.nbytes;
	*source = &s->base;
	return UW_OK;
}

enum uw_status uw_file_state_note(int fd, struct uw_file_state *state, struct uw_error *err)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return uw_fail_errno(err, errno, "cannot get the state of a file");
	*state = (struct uw_file_state){ .nbytes = (uint64_t)st.st_size, .modified = st.st_mtim };
	return UW_OK;
}

enum uw_status uw_file_state_compare(int fd, const struct uw_file_state *state, struct uw_error *err)
{
	struct uw_file_state now;
	enum uw_status status = uw_file_state_note(fd, &now, err);

	if (status == UW_OK && (now.nbytes != state->nbytes || now.modified.tv_sec != state->modified.tv_sec ||
				now.modified.tv_nsec != state->modified.tv_nsec))
		status = uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the file changed while it was read");
	return status;
}

void uw_source_close(struct uw_source **source)
{
	if (*source != NULL)
		(*source)->ops->close(*source);
	*source = NULL;
}
