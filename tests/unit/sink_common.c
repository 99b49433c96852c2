/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_common.h"

struct fault fault;

ssize_t __real_write(int fd, const void *data, size_t n);
ssize_t __wrap_write(int fd, const void *data, size_t n);
int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __real_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);
int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags);

ssize_t __wrap_write(int fd, const void *data, size_t n)
{
	if (fault.write_errno != 0 || (fault.write_ragged && fault.nwrites++ % 2 == 0)) {
		errno = fault.write_errno != 0 ? fault.write_errno : EINTR;
		return -1;
	}
	return __real_write(fd, data, fault.write_ragged && n > 3 ? 3 : n);
}

int __wrap_fsync(int fd)
{
	if (fault.fsync_errno == 0)
		return __real_fsync(fd);
	errno = fault.fsync_errno;
	return -1;
}

int __wrap_renameat2(int from_fd, const char *from, int to_fd, const char *to, unsigned flags)
{
	if (!fault.plain_rename)
		return __real_renameat2(from_fd, from, to_fd, to, flags);
	errno = EINVAL;
	return -1;
}

char work[] = "/tmp/uw-test-sink-XXXXXX";
struct uw_error err;

int enter(void **state)
{
	(void)state;
	memcpy(work + sizeof(work) - 7, "XXXXXX", 6);
	memset(&fault, 0, sizeof(fault));
	umask(022);
	return mkdtemp(work) == NULL || chdir(work) != 0;
}

int leave(void **state)
{
	(void)state;
	memset(&fault, 0, sizeof(fault));
	return chdir("/") != 0 || uw_tree_remove(AT_FDCWD, work) != 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

void assert_holds(const char *folder, const char *names)
{
	char *entries[64], text[1024] = "";
	size_t n = 0, len = 0;
	DIR *dir = opendir(folder);
	const struct dirent *entry;

	assert_non_null(dir);
	while ((entry = readdir(dir)) != NULL) {
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0 && n < 64)
			entries[n++] = strdup(entry->d_name);
	}
	closedir(dir);
	qsort(entries, n, sizeof(entries[0]), by_name);
	for (size_t i = 0; i < n; i++) {
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s ", entries[i]);
		free(entries[i]);
	}
	assert_string_equal(text, names);
}

char *slurp(const char *path, size_t *n)
{
	char *data = malloc(1 << 20);
	FILE *f = fopen(path, "rb");

	assert_non_null(data);
	assert_non_null(f);
	*n = fread(data, 1, (1 << 20) - 1, f);
	data[*n] = '\0';
	fclose(f);
	return data;
}

void assert_text(const char *path, const char *text)
{
	size_t n;
	char *data = slurp(path, &n);

	assert_string_equal(data, text);
	free(data);
}

void assert_mode(const char *path, mode_t mode)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

void make_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

enum uw_status put(struct uw_sink *s, const char *path, const char *text, bool executable)
{
	enum uw_status status = uw_sink_begin(s, path, strlen(text), executable, &err);

	if (status == UW_OK)
		status = uw_sink_write(s, text, strlen(text), &err);
	return status == UW_OK ? uw_sink_end(s, &err) : status;
}

struct uw_sink *open_folder(const char *path, enum uw_replace replace)
{
	struct uw_sink *s = NULL;

	assert_int_equal(uw_sink_open_folder(path, replace, &s, &err), UW_OK);
	return s;
}

void commit(struct uw_sink **s)
{
	assert_int_equal(uw_sink_commit(*s, &err), UW_OK);
	uw_sink_close(s);
	assert_null(*s);
}

enum uw_status open_refused(const char *path, enum uw_replace replace)
{
	struct uw_sink *s = NULL;
	enum uw_status status = uw_sink_open_folder(path, replace, &s, &err);

	assert_null(s);
	return status;
}
