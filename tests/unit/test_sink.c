/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks: all or nothing under the final name, no way out of the target, the same bytes each time. Faults by --wrap. */
#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "sink_private.h"

/* Faults, off between tests. */
static struct {
	int write_errno;      /* every write fails with it */
	bool write_ragged;    /* every second write fails with EINTR, the others take at most 3 bytes */
	int fsync_errno;
	bool plain_rename;    /* renameat2 is not known */
	unsigned nwrites;
} fault;

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

static char work[] = "/tmp/uw-test-sink-XXXXXX";
static struct uw_error err;

static int enter(void **state)
{
	(void)state;
	memcpy(work + sizeof(work) - 7, "XXXXXX", 6);
	memset(&fault, 0, sizeof(fault));
	umask(022);
	return mkdtemp(work) == NULL || chdir(work) != 0;
}

static int leave(void **state)
{
	(void)state;
	memset(&fault, 0, sizeof(fault));
	return chdir("/") != 0 || uw_tree_remove(AT_FDCWD, work) != 0;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The folder holds exactly these names, given sorted and with a space after each. */
static void assert_holds(const char *folder, const char *names)
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

static char *slurp(const char *path, size_t *n)
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

static void assert_text(const char *path, const char *text)
{
	size_t n;
	char *data = slurp(path, &n);

	assert_string_equal(data, text);
	free(data);
}

static void assert_mode(const char *path, mode_t mode)
{
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static void make_file(const char *path, const char *text)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	fputs(text, f);
	fclose(f);
}

/* begin, write and end; the first status that is not UW_OK. */
static enum uw_status put(struct uw_sink *s, const char *path, const char *text, bool executable)
{
	enum uw_status status = uw_sink_begin(s, path, strlen(text), executable, &err);

	if (status == UW_OK)
		status = uw_sink_write(s, text, strlen(text), &err);
	return status == UW_OK ? uw_sink_end(s, &err) : status;
}

static struct uw_sink *open_folder(const char *path, enum uw_replace replace)
{
	struct uw_sink *s = NULL;

	assert_int_equal(uw_sink_open_folder(path, replace, &s, &err), UW_OK);
	return s;
}

static void commit(struct uw_sink **s)
{
	assert_int_equal(uw_sink_commit(*s, &err), UW_OK);
	uw_sink_close(s);
	assert_null(*s);
}

static enum uw_status open_refused(const char *path, enum uw_replace replace)
{
	struct uw_sink *s = NULL;
	enum uw_status status = uw_sink_open_folder(path, replace, &s, &err);

	assert_null(s);
	return status;
}

static void folder_appears_at_commit(void **state)
{
	struct uw_sink *s = open_folder("out", UW_REPLACE_NEVER);
	char tmp[64], path[256];

	(void)state;
	snprintf(tmp, sizeof(tmp), ".out.%ld.tmp ", (long)getpid());
	assert_holds(".", tmp);
	snprintf(path, sizeof(path), "./.out.%ld.tmp", (long)getpid());
	assert_int_equal(strcmp(uw_sink_folder_path(s), path), 0);
	assert_mode(path, 0700);
	assert_int_equal(put(s, "a/b/c.txt", "hello", false), UW_OK);
	assert_int_equal(put(s, "a/run", "#!", true), UW_OK);
	assert_int_equal(put(s, "empty", "", false), UW_OK);
	assert_int_equal(uw_sink_begin(s, "any", UW_SIZE_UNKNOWN, false, &err), UW_OK);
	assert_int_equal(uw_sink_write(s, "12", 2, &err), UW_OK);
	assert_int_equal(uw_sink_write(s, "3", 1, &err), UW_OK);
	assert_int_equal(uw_sink_end(s, &err), UW_OK);
	assert_holds(".", tmp);
	commit(&s);
	assert_holds(".", "out ");
	assert_holds("out", "a any empty ");
	assert_text("out/a/b/c.txt", "hello");
	assert_text("out/any", "123");
	assert_text("out/empty", "");
	assert_mode("out", 0755);
	assert_mode("out/a", 0755);
	assert_mode("out/a/run", 0755);
	assert_mode("out/a/b/c.txt", 0644);
}

static void umask_counts(void **state)
{
	struct uw_sink *s;

	(void)state;
	umask(077);
	s = open_folder("out", UW_REPLACE_NEVER);
	assert_int_equal(put(s, "d/x", "1", true), UW_OK);
	commit(&s);
	assert_mode("out", 0700);
	assert_mode("out/d", 0700);
	assert_mode("out/d/x", 0700);
}

static void close_without_commit_leaves_nothing(void **state)
{
	struct uw_sink *s = open_folder("out", UW_REPLACE_NEVER);

	(void)state;
	assert_int_equal(put(s, "a/b/c", "1", false), UW_OK);
	assert_int_equal(uw_sink_begin(s, "half", 100, false, &err), UW_OK);
	assert_int_equal(uw_sink_write(s, "x", 1, &err), UW_OK);
	uw_sink_close(&s);
	assert_holds(".", "");
	assert_int_equal(uw_sink_open_file("f", UW_REPLACE_NEVER, &s, &err), UW_OK);
	assert_int_equal(put(s, "", "1", false), UW_OK);
	uw_sink_close(&s);
	assert_int_equal(uw_sink_open_archive("f.tar", UW_ARCHIVE_TAR, UW_REPLACE_NEVER, &s, &err), UW_OK);
	assert_int_equal(put(s, "a", "1", false), UW_OK);
	uw_sink_close(&s);
	assert_holds(".", "");
	uw_sink_close(&s); /* NULL inside is fine */
}

static void removal_does_not_follow_links(void **state)
{
	struct uw_sink *s;
	char path[128];

	(void)state;
	assert_int_equal(mkdir("precious", 0755), 0);
	make_file("precious/file", "keep");
	s = open_folder("out", UW_REPLACE_NEVER);
	snprintf(path, sizeof(path), "%s/link", uw_sink_folder_path(s));
	assert_int_equal(symlink("../precious", path), 0);
	uw_sink_close(&s);
	assert_holds(".", "precious ");
	assert_text("precious/file", "keep");
}

static void deep_folders(void **state)
{
	struct uw_sink *s = open_folder("out", UW_REPLACE_NEVER);
	char path[1202];

	(void)state;
	for (size_t i = 0; i < 600; i++)
		memcpy(path + 2 * i, "d/", 2);
	memcpy(path + 1200, "f", 2);
	assert_int_equal(put(s, path, "1", false), UW_OK);
	commit(&s);
	s = open_folder("out", UW_REPLACE_WHOLE);
	commit(&s);
	assert_holds("out", "");
	assert_holds(".", "out ");
}

static void never_replaces(void **state)
{
	struct uw_sink *s;

	(void)state;
	assert_int_equal(mkdir("out", 0755), 0);
	assert_int_equal(symlink("nowhere", "dangling"), 0);
	assert_int_equal(open_refused("out", UW_REPLACE_NEVER), UW_ERR_EXISTS);
	assert_int_equal(open_refused("dangling", UW_REPLACE_NEVER), UW_ERR_EXISTS);
	assert_int_equal(uw_sink_open_file("dangling", UW_REPLACE_NEVER, &s, &err), UW_ERR_EXISTS);
	assert_int_equal(uw_sink_open_archive("out", UW_ARCHIVE_ZIP, UW_REPLACE_NEVER, &s, &err), UW_ERR_EXISTS);
	for (int i = 0; i < 2; i++) { /* it appears in the meantime */
		fault.plain_rename = i == 1;
		s = open_folder("late", UW_REPLACE_NEVER);
		assert_int_equal(mkdir("late", 0755), 0);
		assert_int_equal(uw_sink_commit(s, &err), UW_ERR_EXISTS);
		uw_sink_close(&s);
		assert_int_equal(rmdir("late"), 0);
		assert_int_equal(uw_sink_open_file("late", UW_REPLACE_NEVER, &s, &err), UW_OK);
		assert_int_equal(put(s, "", "new", false), UW_OK);
		make_file("late", "old");
		assert_int_equal(uw_sink_commit(s, &err), UW_ERR_EXISTS);
		uw_sink_close(&s);
		assert_text("late", "old");
		assert_int_equal(unlink("late"), 0);
	}
	assert_holds(".", "dangling out ");
}

static void replace_whole(void **state)
{
	(void)state;
	for (int i = 0; i < 2; i++) {
		struct uw_sink *s;

		fault.plain_rename = i == 1;
		s = open_folder("out", UW_REPLACE_WHOLE); /* with nothing there */
		assert_int_equal(put(s, "old/file", "old", false), UW_OK);
		commit(&s);
		s = open_folder("out", UW_REPLACE_WHOLE);
		assert_int_equal(put(s, "new", "new", false), UW_OK);
		assert_text("out/old/file", "old");
		commit(&s);
		assert_holds("out", "new ");
		assert_holds(".", "out ");
		assert_int_equal(uw_tree_remove(AT_FDCWD, "out"), 0);
	}
	make_file("file", "");
	assert_int_equal(open_refused("file", UW_REPLACE_WHOLE), UW_ERR_EXISTS);
	assert_int_equal(open_refused("file", UW_REPLACE_FILES), UW_ERR_EXISTS);
	assert_int_equal(symlink(".", "link"), 0);
	assert_int_equal(open_refused("link", UW_REPLACE_WHOLE), UW_ERR_EXISTS);
}

static void replace_files(void **state)
{
	struct uw_sink *s = open_folder("out", UW_REPLACE_FILES);

	(void)state;
	assert_int_equal(put(s, "keep", "keep", false), UW_OK);
	assert_int_equal(put(s, "d/x", "old", false), UW_OK);
	commit(&s);
	make_file("elsewhere", "elsewhere");
	assert_int_equal(symlink("../elsewhere", "out/link"), 0);
	s = open_folder("out", UW_REPLACE_FILES);
	assert_int_equal(put(s, "d/x", "new", true), UW_OK);
	assert_int_equal(put(s, "e/f/y", "new", false), UW_OK);
	assert_int_equal(put(s, "link", "file", false), UW_OK);
	assert_text("out/d/x", "old");
	assert_holds("out", "d keep link ");
	commit(&s);
	assert_holds("out", "d e keep link ");
	assert_text("out/keep", "keep");
	assert_text("out/d/x", "new");
	assert_mode("out/d/x", 0755);
	assert_text("out/e/f/y", "new");
	assert_text("out/link", "file");
	assert_text("elsewhere", "elsewhere");
	assert_holds(".", "elsewhere out ");
}

static void replace_files_refuses_links_and_folders(void **state)
{
	struct uw_sink *s;

	(void)state;
	assert_int_equal(mkdir("victim", 0755), 0);
	assert_int_equal(mkdir("out", 0755), 0);
	assert_int_equal(mkdir("out/folder", 0755), 0);
	make_file("out/file", "file");
	assert_int_equal(symlink("../victim", "out/link"), 0);

	static const struct {
		const char *path;
		enum uw_status status;
	} cases[] = {
		{"link/x", UW_ERR_PATH}, {"link/sub/x", UW_ERR_PATH}, {"file/x", UW_ERR_EXISTS}, {"folder", UW_ERR_EXISTS},
	};
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		s = open_folder("out", UW_REPLACE_FILES);
		assert_int_equal(uw_sink_begin(s, cases[i].path, 1, false, &err), cases[i].status);
		assert_int_equal(uw_sink_commit(s, &err), UW_ERR_ARG);
		uw_sink_close(&s);
	}
	/* The link appears after begin has looked. */
	s = open_folder("out", UW_REPLACE_FILES);
	assert_int_equal(put(s, "later/x", "evil", false), UW_OK);
	assert_int_equal(symlink("../victim", "out/later"), 0);
	assert_int_equal(uw_sink_commit(s, &err), UW_ERR_PATH);
	uw_sink_close(&s);
	assert_holds("victim", "");
	assert_holds(".", "out victim ");
}

static void bad_paths(void **state)
{
	static const char *const paths[] = {"", "/abs", "../up", "a/../b", "a//b", "./a", "a/", "a\nb", "a\\b", "\xff"};

	(void)state;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct uw_sink *s = open_folder("out", UW_REPLACE_NEVER);

		assert_int_equal(put(s, paths[i], "x", false), UW_ERR_PATH);
		uw_sink_close(&s);
		assert_int_equal(uw_sink_open_archive("a.tar", UW_ARCHIVE_TAR, UW_REPLACE_NEVER, &s, &err), UW_OK);
		assert_int_equal(put(s, paths[i], "x", false), UW_ERR_PATH);
		uw_sink_close(&s);
	}
	assert_holds(".", "");
}

/* Two paths that cannot both be files, in every kind of sink. */
static void clashing_paths(void **state)
{
	static const char *const pairs[][2] = {{"a", "a"}, {"a", "a/b"}, {"a/b", "a"}, {"a/b/c", "a/b"}, {"x/y", "x/y"}};

	(void)state;
	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		struct uw_sink *s = open_folder("out", UW_REPLACE_NEVER);

		assert_int_equal(put(s, pairs[i][0], "x", false), UW_OK);
		assert_int_equal(put(s, pairs[i][1], "x", false), UW_ERR_EXISTS);
		uw_sink_close(&s);
		assert_int_equal(uw_sink_open_archive("a.zip", UW_ARCHIVE_ZIP, UW_REPLACE_NEVER, &s, &err), UW_OK);
		assert_int_equal(put(s, pairs[i][0], "x", false), UW_OK);
		assert_int_equal(put(s, pairs[i][1], "x", false), UW_ERR_EXISTS);
		uw_sink_close(&s);
	}
	assert_holds(".", "");
}

static void target_spellings(void **state)
{
	static const char *const good[] = {"out", "out/", "out//", "./out", "out/.", ".//./out/./", "sub/../out/"};
	static const char *const bad[] = {"", "/", "//", "/.", "..", "../", "sub/..", "sub/../."};
	struct uw_sink *s;
	char path[128];

	(void)state;
	assert_int_equal(mkdir("sub", 0755), 0);
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		s = open_folder(good[i], UW_REPLACE_NEVER);
		commit(&s);
		assert_int_equal(rmdir("out"), 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(open_refused(bad[i], UW_REPLACE_WHOLE), UW_ERR_ARG);
	assert_int_equal(open_refused("none/out", UW_REPLACE_WHOLE), UW_ERR_NOT_FOUND);
	snprintf(path, sizeof(path), "%s/abs/", work);
	s = open_folder(path, UW_REPLACE_NEVER);
	commit(&s);
	assert_int_equal(chdir("abs"), 0);
	s = open_folder(".", UW_REPLACE_FILES);
	assert_int_equal(put(s, "f", "1", false), UW_OK);
	commit(&s);
	assert_text("f", "1");
	assert_holds("..", "abs sub ");
}

static void long_and_stale_names(void **state)
{
	char name[256], stale[64], names[320];
	struct uw_sink *s;

	(void)state;
	memset(name, 'n', 255);
	name[255] = '\0';
	assert_int_equal(uw_sink_open_file(name, UW_REPLACE_NEVER, &s, &err), UW_OK);
	assert_int_equal(put(s, "", "1", false), UW_OK);
	commit(&s);
	assert_int_equal(unlink(name), 0);
	/* What a killed process with our pid left is neither used nor touched. */
	snprintf(stale, sizeof(stale), ".out.%ld.tmp", (long)getpid());
	make_file(stale, "stale");
	assert_int_equal(uw_sink_open_file("out", UW_REPLACE_NEVER, &s, &err), UW_OK);
	assert_int_equal(put(s, "", "1", false), UW_OK);
	commit(&s);
	snprintf(names, sizeof(names), "%s out ", stale);
	assert_holds(".", names);
	assert_text(stale, "stale");
}

static void single_file(void **state)
{
	struct uw_sink *s;

	(void)state;
	for (int i = 0; i < 2; i++) {
		fault.plain_rename = i == 1;
		assert_int_equal(uw_sink_open_file("f", UW_REPLACE_NEVER, &s, &err), UW_OK);
		assert_null(uw_sink_folder_path(s));
		assert_int_equal(put(s, "../ignored", "one", true), UW_OK);
		assert_int_equal(access("f", F_OK), -1);
		commit(&s);
		assert_text("f", "one");
		assert_mode("f", 0755);
		assert_holds(".", "f ");
		assert_int_equal(unlink("f"), 0);
	}
	make_file("other", "other");
	assert_int_equal(symlink("other", "f"), 0);
	assert_int_equal(uw_sink_open_file("f", UW_REPLACE_FILES, &s, &err), UW_OK);
	assert_int_equal(put(s, "", "two", false), UW_OK);
	commit(&s);
	assert_text("f", "two");
	assert_text("other", "other");
	assert_int_equal(symlink("/dev/null", "null"), 0);
	assert_int_equal(uw_sink_open_file("null", UW_REPLACE_FILES, &s, &err), UW_ERR_EXISTS);
	assert_int_equal(uw_sink_open_file("/dev/null", UW_REPLACE_FILES, &s, &err), UW_ERR_EXISTS);
	assert_int_equal(uw_sink_open_file(".", UW_REPLACE_FILES, &s, &err), UW_ERR_EXISTS);
	assert_int_equal(uw_sink_open_file("f", UW_REPLACE_FILES, &s, &err), UW_OK);
	assert_int_equal(uw_sink_commit(s, &err), UW_ERR_ARG); /* nothing written */
	uw_sink_close(&s);
	assert_int_equal(uw_sink_open_file("f", UW_REPLACE_FILES, &s, &err), UW_OK);
	assert_int_equal(put(s, "", "1", false), UW_OK);
	assert_int_equal(put(s, "", "2", false), UW_ERR_ARG); /* only one */
	uw_sink_close(&s);
	assert_text("f", "two");
}

static struct uw_sink *open_kind(int kind)
{
	struct uw_sink *s = NULL;
	enum uw_status status;

	if (kind == 0)
		status = uw_sink_open_folder("out", UW_REPLACE_NEVER, &s, &err);
	else if (kind == 1)
		status = uw_sink_open_file("out", UW_REPLACE_NEVER, &s, &err);
	else
		status = uw_sink_open_archive("out", (enum uw_archive_kind)(kind - 2), UW_REPLACE_NEVER, &s, &err);
	assert_int_equal(status, UW_OK);
	return s;
}

enum { NKINDS = 6 };

static void pieces_in_any_order(void **state)
{
	(void)state;
	for (int kind = 0; kind < NKINDS; kind++) {
		struct uw_sink *s = open_kind(kind);

		if (uw_sink_any_order(s)) {
			assert_int_equal(uw_sink_begin(s, "a", 5, false, &err), UW_OK);
			assert_int_equal(uw_sink_write_at(s, "45", 2, 3, &err), UW_OK);
			assert_int_equal(uw_sink_write_at(s, "6", 1, 5, &err), UW_ERR_MISMATCH);
			assert_int_equal(uw_sink_write_at(s, "56", 2, 4, &err), UW_ERR_MISMATCH);
			assert_int_equal(uw_sink_write_at(s, "12", 2, UINT64_MAX, &err), UW_ERR_MISMATCH);
			assert_int_equal(uw_sink_write_at(s, "12", 2, 0, &err), UW_OK);
			assert_int_equal(uw_sink_end(s, &err), UW_ERR_MISMATCH); /* one byte is missing */
			assert_int_equal(uw_sink_commit(s, &err), UW_ERR_ARG);
		}
		uw_sink_close(&s);
	}
}

static void sizes_must_match(void **state)
{
	(void)state;
	for (int kind = 0; kind < NKINDS; kind++) {
		struct uw_sink *s = open_kind(kind);

		assert_int_equal(uw_sink_begin(s, "a", 2, false, &err), UW_OK);
		assert_int_equal(uw_sink_write(s, "1", 1, &err), UW_OK);
		assert_int_equal(uw_sink_end(s, &err), UW_ERR_MISMATCH);
		assert_int_equal(uw_sink_commit(s, &err), UW_ERR_ARG);
		uw_sink_close(&s);
		s = open_kind(kind);
		assert_int_equal(uw_sink_begin(s, "a", 2, false, &err), UW_OK);
		assert_int_equal(uw_sink_write(s, "123", 3, &err), UW_ERR_MISMATCH);
		assert_int_equal(uw_sink_end(s, &err), UW_ERR_ARG);
		uw_sink_close(&s);
		if (kind >= 2) {
			s = open_kind(kind);
			assert_int_equal(uw_sink_begin(s, "a", UW_SIZE_UNKNOWN, false, &err), UW_ERR_ARG);
			uw_sink_close(&s);
		}
	}
	assert_holds(".", "");
}

static void calls_out_of_order(void **state)
{
	(void)state;
	for (int kind = 0; kind < NKINDS; kind++) {
		struct uw_sink *s = open_kind(kind);

		assert_int_equal(uw_sink_write(s, "1", 1, &err), UW_ERR_ARG);
		uw_sink_close(&s);
		s = open_kind(kind);
		assert_int_equal(uw_sink_end(s, &err), UW_ERR_ARG);
		uw_sink_close(&s);
		s = open_kind(kind);
		assert_int_equal(uw_sink_begin(s, "a", 0, false, &err), UW_OK);
		assert_int_equal(uw_sink_commit(s, &err), UW_ERR_ARG);
		uw_sink_close(&s);
		s = open_kind(kind);
		assert_int_equal(put(s, "a", "1", false), UW_OK);
		assert_int_equal(uw_sink_commit(s, &err), UW_OK);
		assert_int_equal(uw_sink_begin(s, "b", 0, false, &err), UW_ERR_ARG);
		uw_sink_close(&s);
		assert_int_equal(uw_tree_remove(AT_FDCWD, "out"), 0);
	}
	assert_holds(".", "");
}

static enum uw_status put_and_commit(struct uw_sink *s)
{
	enum uw_status status = put(s, "a/b", "some bytes", false);

	return status == UW_OK ? uw_sink_commit(s, &err) : status;
}

static void system_faults(void **state)
{
	(void)state;
	for (int kind = 0; kind < NKINDS; kind++) {
		struct uw_sink *s = open_kind(kind);

		fault.write_errno = ENOSPC;
		assert_int_equal(put_and_commit(s), UW_ERR_NOSPACE);
		assert_int_equal(err.os_errno, ENOSPC);
		fault.write_errno = 0;
		uw_sink_close(&s);
		s = open_kind(kind);
		fault.fsync_errno = EIO;
		assert_int_equal(put_and_commit(s), UW_ERR_IO);
		fault.fsync_errno = 0;
		uw_sink_close(&s);
		assert_holds(".", "");
		s = open_kind(kind);
		fault.write_ragged = true;
		assert_int_equal(put_and_commit(s), UW_OK);
		fault.write_ragged = false;
		uw_sink_close(&s);
		if (kind < 2)
			assert_text(kind == 0 ? "out/a/b" : "out", "some bytes");
		assert_int_equal(uw_tree_remove(AT_FDCWD, "out"), 0);
	}
}

static void absurd_size_fails_at_begin(void **state)
{
	struct uw_sink *s = open_folder("out", UW_REPLACE_NEVER);

	(void)state;
	assert_int_equal(uw_sink_begin(s, "huge", INT64_MAX, false, &err), UW_ERR_NOSPACE);
	uw_sink_close(&s);
	assert_holds(".", "");
}

/* Long for ustar, not ASCII, and a name in the decomposed form, which nobody may normalize. */
#define LONG_NAME                                                                                                      \
	"long/0123456789012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789" \
	"0123456789"
static const char *const member_paths[] = {"config.json", "sub/run.sh", "na\xc3\xafve/\xe6\xa8\xa1\xe5\x9e\x8b.bin",
					   "e\xcc\x81", LONG_NAME, "empty"};
static const char *const member_texts[] = {"{}", "#!/bin/sh\n", "weights", "x", "long", ""};
enum { DECOMPOSED = 3, NMEMBERS = sizeof(member_paths) / sizeof(member_paths[0]) };

static void write_archive(const char *path, enum uw_archive_kind kind)
{
	struct uw_sink *s = NULL;

	assert_int_equal(uw_sink_open_archive(path, kind, UW_REPLACE_FILES, &s, &err), UW_OK);
	for (size_t i = 0; i < NMEMBERS; i++)
		assert_int_equal(put(s, member_paths[i], member_texts[i], i == 1), UW_OK);
	assert_int_equal(path[0] == '-' || access(path, F_OK) != 0, 1);
	commit(&s);
}

static void check_archive(const char *path)
{
	struct archive *a = archive_read_new();
	struct archive_entry *e;
	char data[64];

	archive_read_support_filter_all(a);
	archive_read_support_format_tar(a);
	archive_read_support_format_zip(a);
	assert_int_equal(archive_read_open_filename(a, path, 4096), ARCHIVE_OK);
	for (size_t i = 0; i < NMEMBERS; i++) {
		assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_OK);
		if (i != DECOMPOSED) /* which this reader composes */
			assert_string_equal(archive_entry_pathname(e), member_paths[i]);
		assert_int_equal(archive_entry_size(e), strlen(member_texts[i]));
		assert_int_equal(archive_entry_mode(e), AE_IFREG | (i == 1 ? 0755 : 0644));
		assert_int_equal(archive_entry_mtime(e), 0);
		assert_int_equal(archive_entry_uid(e) + archive_entry_gid(e), 0);
		assert_true(archive_entry_uname(e) == NULL || archive_entry_uname(e)[0] == '\0');
		assert_true(archive_entry_gname(e) == NULL || archive_entry_gname(e)[0] == '\0');
		assert_int_equal(archive_read_data(a, data, sizeof(data)), strlen(member_texts[i]));
		assert_memory_equal(data, member_texts[i], strlen(member_texts[i]));
	}
	assert_int_equal(archive_read_next_header(a, &e), ARCHIVE_EOF);
	archive_read_free(a);
}

/* The decomposed name's bytes are in the file as given; not to be asked of compressed headers. */
static void check_decomposed(const char *path)
{
	size_t n;
	char *data = slurp(path, &n);

	assert_non_null(memmem(data, n, member_paths[DECOMPOSED], strlen(member_paths[DECOMPOSED])));
	free(data);
}

static void assert_same_file(const char *a, const char *b)
{
	size_t na, nb;
	char *da = slurp(a, &na), *db = slurp(b, &nb);

	assert_int_equal(na, nb);
	assert_memory_equal(da, db, na);
	free(da);
	free(db);
}

static void write_to_stdout(const char *path, enum uw_archive_kind kind)
{
	int saved = dup(STDOUT_FILENO), fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(saved >= 0 && fd >= 0);
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	close(fd);
	write_archive("-", kind);
	dup2(saved, STDOUT_FILENO);
	close(saved);
}

static void archives_are_deterministic(void **state)
{
	(void)state;
	for (int kind = 0; kind < NKINDS - 2; kind++) {
		setenv("TZ", "America/Los_Angeles", 1);
		tzset();
		write_archive("one", (enum uw_archive_kind)kind);
		assert_mode("one", 0644);
		usleep(2000);
		setenv("TZ", "Asia/Tokyo", 1);
		tzset();
		setlocale(LC_ALL, "C.UTF-8");
		umask(027);
		write_archive("two", (enum uw_archive_kind)kind);
		assert_mode("two", 0640);
		write_to_stdout("three", (enum uw_archive_kind)kind);
		assert_same_file("one", "two");
		assert_same_file("one", "three");
		check_archive("one");
		if (kind == UW_ARCHIVE_TAR || kind == UW_ARCHIVE_ZIP)
			check_decomposed("one");
		assert_holds(".", "one three two ");
		setlocale(LC_ALL, "C");
		umask(022);
		assert_int_equal(unlink("one") | unlink("two") | unlink("three"), 0);
	}
	unsetenv("TZ");
	tzset();
}

static void abort_on_stdout_writes_no_end(void **state)
{
	int saved = dup(STDOUT_FILENO), fd = open("out", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	struct uw_sink *s;
	struct stat st;

	(void)state;
	fflush(stdout);
	dup2(fd, STDOUT_FILENO);
	close(fd);
	assert_int_equal(uw_sink_open_archive("-", UW_ARCHIVE_TAR, UW_REPLACE_NEVER, &s, &err), UW_OK);
	assert_int_equal(put(s, "a", "1", false), UW_OK);
	uw_sink_close(&s);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	assert_int_equal(stat("out", &st), 0);
	assert_int_equal(st.st_size, 0);
}

/* ustar ends at 8 GiB: the header must carry the size in pax form. */
static void large_members(void **state)
{
	enum { N = 2 << 20 };
	static char zeros[N];
	struct uw_sink *s;
	char path[64];
	size_t n;
	char *data;

	(void)state;
	assert_int_equal(uw_sink_open_archive("big.tar", UW_ARCHIVE_TAR, UW_REPLACE_NEVER, &s, &err), UW_OK);
	assert_int_equal(uw_sink_begin(s, "big", 9663676416, false, &err), UW_OK);
	assert_int_equal(uw_sink_write(s, zeros, N, &err), UW_OK);
	snprintf(path, sizeof(path), ".big.tar.%ld.tmp", (long)getpid());
	data = slurp(path, &n);
	assert_non_null(memmem(data, n, "size=9663676416\n", 16));
	free(data);
	uw_sink_close(&s);
	assert_holds(".", "");
}

static void archive_suffixes(void **state)
{
	static const struct {
		const char *path;
		int kind; /* -1: none */
	} cases[] = {
		{"a.tar", UW_ARCHIVE_TAR},        {"a.tar.gz", UW_ARCHIVE_TAR_GZ}, {"d/a.tgz", UW_ARCHIVE_TAR_GZ},
		{"a.tar.zst", UW_ARCHIVE_TAR_ZST}, {"a.tzst", UW_ARCHIVE_TAR_ZST},  {"a.b.zip", UW_ARCHIVE_ZIP},
		{".tar", -1},                     {"tar", -1},                     {"a.gz", -1},
		{"a.tar/b", -1},                  {"", -1},                        {"a.zip2", -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		enum uw_archive_kind kind = UW_ARCHIVE_TAR;

		assert_int_equal(uw_archive_kind_of_path(cases[i].path, &kind), cases[i].kind >= 0);
		assert_true(cases[i].kind < 0 || (int)kind == cases[i].kind);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(folder_appears_at_commit),
		TEST(umask_counts),
		TEST(close_without_commit_leaves_nothing),
		TEST(removal_does_not_follow_links),
		TEST(deep_folders),
		TEST(never_replaces),
		TEST(replace_whole),
		TEST(replace_files),
		TEST(replace_files_refuses_links_and_folders),
		TEST(bad_paths),
		TEST(clashing_paths),
		TEST(target_spellings),
		TEST(long_and_stale_names),
		TEST(single_file),
		TEST(pieces_in_any_order),
		TEST(sizes_must_match),
		TEST(calls_out_of_order),
		TEST(system_faults),
		TEST(absurd_size_fails_at_begin),
		TEST(archives_are_deterministic),
		TEST(abort_on_stdout_writes_no_end),
		TEST(large_members),
		TEST(archive_suffixes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
