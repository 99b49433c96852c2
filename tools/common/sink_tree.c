/* SPDX-License-Identifier: Apache-2.0 */
/* Folders below a descriptor, one component at a time, so that no symlink can lead elsewhere. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_private.h"

enum { OPEN_FOLDER = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC };

int uw_names_add(struct uw_names *names, const char *s, size_t n)
{
	char *copy = strndup(s, n);

	if (copy == NULL)
		return -1;
	if (names->n == names->cap) {
		size_t cap = names->cap != 0 ? names->cap * 2 : 16;
		char **grown = reallocarray(names->name, cap, sizeof(*grown));

		if (grown == NULL) {
			free(copy);
			return -1;
		}
		names->name = grown;
		names->cap = cap;
	}
	names->name[names->n++] = copy;
	return 0;
}

void uw_names_free(struct uw_names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->name[i]);
	free(names->name);
	*names = (struct uw_names){0};
}

size_t uw_tree_folder_len(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? (size_t)(slash - path) : 0;
}

/* With O_DIRECTORY a symlink gives ENOTDIR like a file does: tells them apart in errno. */
static int open_folder(int dir_fd, const char *name)
{
	int fd = openat(dir_fd, name, OPEN_FOLDER);
	struct stat st;

	if (fd < 0 && errno == ENOTDIR)
		errno = fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) ? ELOOP : ENOTDIR;
	return fd;
}

/* Opens, or makes and opens, the folder `name` in dir_fd; path[0 .. n) is its path, for `made`. */
static int step(int dir_fd, const char *name, bool make, struct uw_names *made, const char *path, size_t n)
{
	if (make) {
		if (mkdirat(dir_fd, name, 0755) == 0) {
			if (made != NULL && uw_names_add(made, path, n) != 0)
				return -1;
		} else if (errno != EEXIST) {
			return -1;
		}
	}
	return open_folder(dir_fd, name);
}

int uw_tree_open(int root_fd, const char *path, size_t n, bool make, struct uw_names *made)
{
	int fd = fcntl(root_fd, F_DUPFD_CLOEXEC, 0);

	for (size_t at = 0; fd >= 0 && at < n;) {
		const char *slash = memchr(path + at, '/', n - at);
		size_t end = slash != NULL ? (size_t)(slash - path) : n;
		char name[NAME_MAX + 1];
		int next = -1, saved;

		if (end - at > NAME_MAX) {
			errno = ENAMETOOLONG;
		} else {
			memcpy(name, path + at, end - at);
			name[end - at] = '\0';
			next = step(fd, name, make, made, path, end);
		}
		saved = errno;
		close(fd);
		errno = saved;
		fd = next;
		at = end + 1;
	}
	return fd;
}

int uw_tree_open_above(int root_fd, const char *path, bool make, struct uw_names *made, const char **name)
{
	size_t n = uw_tree_folder_len(path);

	*name = path + n + (n != 0);
	return uw_tree_open(root_fd, path, n, make, made);
}

enum { SWEEP_DEPTH = 16 };

/* Removal of one folder. What lies deeper than SWEEP_DEPTH is moved up to the top and removed in the next turn. */
struct sweep {
	int top_fd;
	unsigned nmoved; /* in all, for new names */
	int os_errno;    /* first failure, 0 if none */
};

static void note_failure(struct sweep *s)
{
	if (s->os_errno == 0)
		s->os_errno = errno;
}

static void sweep_folder(struct sweep *s, int fd, unsigned depth);

static void sweep_subfolder(struct sweep *s, int dir_fd, const char *name, unsigned depth)
{
	char moved[32];
	int fd;

	if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
		return;
	if (depth == SWEEP_DEPTH) {
		snprintf(moved, sizeof(moved), ".uw-sweep-%u", s->nmoved);
		if (renameat(dir_fd, name, s->top_fd, moved) == 0)
			s->nmoved++;
		else
			note_failure(s);
		return;
	}
	fd = openat(dir_fd, name, OPEN_FOLDER);
	if (fd < 0) {
		note_failure(s);
		return;
	}
	sweep_folder(s, fd, depth + 1);
	if (unlinkat(dir_fd, name, AT_REMOVEDIR) != 0)
		note_failure(s);
}

/* Removes what fd holds; takes fd. */
static void sweep_folder(struct sweep *s, int fd, unsigned depth)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *entry;

	if (dir == NULL) {
		note_failure(s);
		close(fd);
		return;
	}
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		if (unlinkat(fd, entry->d_name, 0) == 0)
			continue;
		if (errno == EISDIR || errno == EPERM)
			sweep_subfolder(s, fd, entry->d_name, depth);
		else
			note_failure(s);
	}
	closedir(dir);
}

int uw_tree_remove(int dir_fd, const char *name)
{
	struct sweep s = {0};
	unsigned before;

	if (unlinkat(dir_fd, name, 0) == 0)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return -1;
	s.top_fd = openat(dir_fd, name, OPEN_FOLDER);
	if (s.top_fd < 0)
		return -1;
	do {
		int fd = openat(s.top_fd, ".", OPEN_FOLDER);

		before = s.nmoved;
		if (fd < 0)
			note_failure(&s);
		else
			sweep_folder(&s, fd, 0);
	} while (s.nmoved != before && s.os_errno == 0);
	close(s.top_fd);
	if (s.os_errno == 0 && unlinkat(dir_fd, name, AT_REMOVEDIR) == 0)
		return 0;
	errno = s.os_errno != 0 ? s.os_errno : errno;
	return -1;
}
