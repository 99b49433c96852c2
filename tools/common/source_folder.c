/* SPDX-License-Identifier: Apache-2.0 */
/* A model in a folder: walked once at open, every path checked, then sorted. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "file_list.h"

struct list {
	struct uw_entry *v; /* owns the paths */
	size_t n, cap;
};

struct folder_source {
	struct uw_source base;
	struct list files;
	struct list skipped; /* folders with a CACHEDIR.TAG: told by the first call of next, when warn is set */
	char *name;          /* as the caller spelt it, for messages */
	size_t pos;          /* files given out */
	int root;
	int fd; /* of the current file, or -1 */
	struct uw_file_state state; /* of that file */
};

/* The folders from the one at hand up to the root: finding one again below itself is a cycle. */
struct ancestor {
	const struct ancestor *up;
	dev_t dev;
	ino_t ino;
};

struct walk {
	struct folder_source *s;
	const struct uw_file_list *only; /* NULL: all files */
	struct uw_error *err;
	uint64_t nseen;
	size_t path_n;
	char path[4096 + 2]; /* of the entry at hand, relative to the root; one byte more than a good path needs */
};

static enum uw_status list_add(struct list *list, const char *path, const struct stat *st, struct uw_error *err)
{
	struct uw_entry *entry;

	if (list->n == list->cap) {
		size_t cap = list->cap ? 2 * list->cap : 64; /* n <= UW_SOURCE_MAX_FILES */
		struct uw_entry *v = realloc(list->v, cap * sizeof(*v));

		if (v == NULL)
			return uw_fail_errno(err, ENOMEM, "cannot list a folder");
		list->v = v;
		list->cap = cap;
	}
	entry = &list->v[list->n];
	*entry = (struct uw_entry){
		.path = strdup(path),
		.nbytes = (uint64_t)st->st_size,
		.executable = (st->st_mode & S_IXUSR) != 0,
	};
	if (entry->path == NULL)
		return uw_fail_errno(err, ENOMEM, "cannot list a folder");
	list->n++;
	return UW_OK;
}

static void list_free(struct list *list)
{
	for (size_t i = 0; i < list->n; i++)
		free((char *)list->v[i].path);
	free(list->v);
}

static bool is_skipped_name(const struct walk *w, const char *name)
{
	static const char hub[] = ".cache/huggingface";
	size_t n = sizeof(hub) - 1;

	if (strcmp(name, ".git") == 0)
		return true;
	return w->path_n >= n && strcmp(w->path + w->path_n - n, hub) == 0 &&
	       (w->path_n == n || w->path[w->path_n - n - 1] == '/');
}

/* A tag counts only with its signature (bford.info/cachedir): the name alone may be a file of the model. */
static bool has_cachedir_tag(int dir)
{
	static const char signature[] = "Signature: 8a477f597d28d172789f06886806bc55";
	char head[sizeof(signature) - 1];
	int fd = openat(dir, "CACHEDIR.TAG", O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	bool yes;

	if (fd < 0)
		return false;
	yes = read(fd, head, sizeof(head)) == (ssize_t)sizeof(head) && memcmp(head, signature, sizeof(head)) == 0;
	close(fd);
	return yes;
}

static enum uw_status stat_failed(const struct walk *w, int dir, const char *name)
{
	int os_errno = errno;
	struct stat st;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode)) {
		if (os_errno == ELOOP)
			return uw_fail(w->err, UW_ERR_PATH, UW_NO_OFFSET, "cycle of symbolic links: '%s'", w->path);
		if (os_errno == ENOENT || os_errno == ENOTDIR)
			return uw_fail(w->err, UW_ERR_PATH, UW_NO_OFFSET, "dangling symbolic link: '%s'", w->path);
	}
	return uw_fail_errno(w->err, os_errno, "cannot look at '%s' in '%s'", w->path, w->s->name);
}

static enum uw_status walk_dir(struct walk *w, int fd, const struct ancestor *up);

static enum uw_status walk_subdir(struct walk *w, int dir, const char *name, const struct stat *st,
				  const struct ancestor *here)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	enum uw_status status;

	if (fd < 0)
		return uw_fail_errno(w->err, errno, "cannot open folder '%s' in '%s'", w->path, w->s->name);
	if (has_cachedir_tag(fd)) {
		status = list_add(&w->s->skipped, w->path, st, w->err);
		close(fd);
		return status;
	}
	return walk_dir(w, fd, here);
}

static enum uw_status walk_entry(struct walk *w, int dir, const char *name, const struct ancestor *here)
{
	enum uw_status status = uw_path_check(w->path, w->path_n, w->err);
	struct stat st;

	if (w->only != NULL && !uw_file_list_leads_into(w->only, w->path))
		return UW_OK;
	if (status != UW_OK)
		return status;
	if (++w->nseen > UW_SOURCE_MAX_FILES)
		return uw_fail(w->err, UW_ERR_FORMAT, UW_NO_OFFSET, "too many files in '%s'", w->s->name);
	if (fstatat(dir, name, &st, 0) != 0)
		return stat_failed(w, dir, name);
	if (S_ISDIR(st.st_mode))
		return walk_subdir(w, dir, name, &st, here);
	if (w->only != NULL && !uw_file_list_has(w->only, w->path))
		return UW_OK; /* the list has it as a folder: told when all are known */
	if (S_ISREG(st.st_mode))
		return list_add(&w->s->files, w->path, &st, w->err);
	return uw_fail(w->err, UW_ERR_FORMAT, UW_NO_OFFSET, "neither file nor folder: '%s'", w->path);
}

/* Appends a component to the path at hand; one too long for it is cut, which uw_path_check refuses by its size. */
static void path_push(struct walk *w, const char *name)
{
	size_t n = strlen(name), room = sizeof(w->path) - 1 - w->path_n;

	if (w->path_n != 0 && room != 0) {
		w->path[w->path_n++] = '/';
		room--;
	}
	if (n > room)
		n = room;
	memcpy(w->path + w->path_n, name, n);
	w->path_n += n;
	w->path[w->path_n] = 0;
}

static enum uw_status walk_names(struct walk *w, DIR *dir, const struct ancestor *here)
{
	size_t path_n = w->path_n;
	enum uw_status status = UW_OK;
	struct dirent *d;

	while (status == UW_OK && (errno = 0, d = readdir(dir)) != NULL) {
		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		path_push(w, d->d_name);
		if (!is_skipped_name(w, d->d_name))
			status = walk_entry(w, dirfd(dir), d->d_name, here);
		w->path_n = path_n;
		w->path[path_n] = 0;
	}
	if (status == UW_OK && errno != 0)
		status = uw_fail_errno(w->err, errno, "cannot list '%s' in '%s'", w->path, w->s->name);
	return status;
}

/* Takes `fd`. The depth is bounded: each level adds two bytes or more to a path of at most 4096. */
static enum uw_status walk_dir(struct walk *w, int fd, const struct ancestor *up)
{
	DIR *dir = fdopendir(fd);
	struct ancestor here = { .up = up };
	enum uw_status status = UW_OK;
	struct stat st;

	if (dir == NULL || fstat(fd, &st) != 0) {
		status = uw_fail_errno(w->err, errno, "cannot list '%s' in '%s'", w->path, w->s->name);
		if (dir != NULL)
			closedir(dir);
		else
			close(fd);
		return status;
	}
	here.dev = st.st_dev;
	here.ino = st.st_ino;
	for (; up != NULL && status == UW_OK; up = up->up) {
		if (up->dev == here.dev && up->ino == here.ino)
			status = uw_fail(w->err, UW_ERR_PATH, UW_NO_OFFSET, "folder contains itself: '%s'", w->path);
	}
	if (status == UW_OK)
		status = walk_names(w, dir, &here);
	closedir(dir);
	return status;
}

static int entry_order(const void *a, const void *b)
{
	return strcmp(((const struct uw_entry *)a)->path, ((const struct uw_entry *)b)->path);
}

static void file_done(struct folder_source *s)
{
	if (s->fd >= 0)
		close(s->fd);
	s->fd = -1;
}

static void tell_skipped(const struct folder_source *s)
{
	char text[256];

	for (size_t i = 0; s->base.warn != NULL && i < s->skipped.n; i++) {
		snprintf(text, sizeof(text), "cache folder left out (CACHEDIR.TAG): '%s'", s->skipped.v[i].path);
		s->base.warn(s->base.watch_ctx, text);
	}
}

static enum uw_status folder_next(struct uw_source *source, const struct uw_entry **entry, struct uw_error *err)
{
	struct folder_source *s = (struct folder_source *)source;

	(void)err;
	file_done(s);
	if (s->pos == 0)
		tell_skipped(s);
	*entry = s->pos < s->files.n ? &s->files.v[s->pos++] : NULL;
	return UW_OK;
}

static enum uw_status folder_open(struct uw_source *source, struct uw_blob *blob, struct uw_error *err)
{
	struct folder_source *s = (struct folder_source *)source;
	const struct uw_entry *entry;
	enum uw_status status;
	struct stat st;

	if (s->pos == 0)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "no current entry");
	entry = &s->files.v[s->pos - 1];
	file_done(s);
	s->fd = openat(s->root, entry->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (s->fd < 0 || fstat(s->fd, &st) != 0)
		return uw_fail_errno(err, errno, "cannot open '%s' in '%s'", entry->path, s->name);
	if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != entry->nbytes)
		return uw_fail(err, UW_ERR_IO, UW_NO_OFFSET, "'%s' in '%s' changed after it was listed", entry->path,
			       s->name);
	status = uw_file_state_note(s->fd, &s->state, err);
	return status == UW_OK ? uw_blob_of_fd(&s->fd, blob, err) : status;
}

static enum uw_status folder_unchanged(struct uw_source *source, struct uw_error *err)
{
	const struct folder_source *s = (const struct folder_source *)source;

	return uw_file_state_compare(s->fd, &s->state, err);
}

static void folder_close(struct uw_source *source)
{
	struct folder_source *s = (struct folder_source *)source;

	file_done(s);
	if (s->root >= 0)
		close(s->root);
	list_free(&s->files);
	list_free(&s->skipped);
	free(s->name);
	free(s);
}

static const struct uw_source_ops folder_ops = { folder_next, folder_open, folder_unchanged, folder_close };

static enum uw_status check_missing(const struct folder_source *s, const struct uw_file_list *only,
				    struct uw_error *err)
{
	const char *missing = only != NULL ? uw_file_list_missing(only, s->files.v, s->files.n) : NULL;

	if (missing == NULL)
		return UW_OK;
	return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "'%s' has no file '%s', which is in the list", s->name,
		       missing);
}

static enum uw_status list_folder(struct folder_source *s, const struct uw_file_list *only, struct uw_error *err)
{
	struct walk w = { .s = s, .only = only, .err = err };
	enum uw_status status;
	int fd;

	s->root = open(s->name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (s->root < 0)
		return uw_fail_errno(err, errno, "cannot open folder '%s'", s->name);
	fd = openat(s->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC); /* the walk's own file position */
	if (fd < 0)
		return uw_fail_errno(err, errno, "cannot open folder '%s'", s->name);
	status = walk_dir(&w, fd, NULL);
	if (status == UW_OK && s->files.n != 0)
		qsort(s->files.v, s->files.n, sizeof(*s->files.v), entry_order);
	if (status == UW_OK)
		status = check_missing(s, only, err);
	for (size_t i = 0; i < s->files.n; i++)
		s->base.nbytes += s->files.v[i].nbytes;
	return status;
}

enum uw_status uw_source_open_folder(const char *path, struct uw_source **source, struct uw_error *err)
{
	return uw_source_open_folder_of(path, NULL, source, err);
}

enum uw_status uw_source_open_folder_of(const char *path, const struct uw_file_list *only, struct uw_source **source,
					struct uw_error *err)
{
	struct folder_source *s = calloc(1, sizeof(*s));
	enum uw_status status;

	if (s == NULL)
		return uw_fail_errno(err, ENOMEM, "cannot open '%s'", path);
	s->base.ops = &folder_ops;
	s->root = -1;
	s->fd = -1;
	s->name = strdup(path);
	status = s->name ? list_folder(s, only, err) : uw_fail_errno(err, ENOMEM, "cannot open '%s'", path);
	if (status != UW_OK) {
		folder_close(&s->base);
		return status;
	}
	*source = &s->base;
	return UW_OK;
}
