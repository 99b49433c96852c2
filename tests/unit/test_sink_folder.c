/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks into folders and files: all or nothing under the final name, no way out of the target. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "sink_common.h"

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
		{"link/x", UW_ERR_PATH}, {"link/sub/x", UW_ERR_PATH}, {"file/x", UW_ERR_EXISTS},
		{"folder", UW_ERR_EXISTS},
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
	static const char *const pairs[][2] = {{"a", "a"}, {"a", "a/b"}, {"a/b", "a"}, {"a/b/c", "a/b"},
					       {"x/y", "x/y"}};

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

/* Nobody's tmpfs has room for that: refused before any of it is written. */
static void too_large_for_tmpfs(void **state)
{
	struct uw_sink *s;
	struct statfs fs;
	char path[64];

	(void)state;
	if (statfs("/dev/shm", &fs) != 0 || fs.f_type != TMPFS_MAGIC || fs.f_blocks == 0)
		skip();
	snprintf(path, sizeof(path), "/dev/shm/uw-test-%ld", (long)getpid());
	assert_int_equal(uw_sink_open_file(path, UW_REPLACE_NEVER, &s, &err), UW_OK);
	assert_int_not_equal(uw_sink_begin(s, "a", UINT64_C(1) << 60, false, &err), UW_OK);
	assert_int_equal(err.os_errno, ENOSPC);
	uw_sink_close(&s);
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
		TEST(too_large_for_tmpfs),
		TEST(sizes_must_match),
		TEST(calls_out_of_order),
		TEST(system_faults),
		TEST(absurd_size_fails_at_begin),
	};

	return cmocka_run_group_tests_name("sink_folder", tests, NULL, NULL);
}
