/* SPDX-License-Identifier: Apache-2.0 */
/* Sinks into archives: the same bytes each time, and nothing that looks whole and is not. */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_common.h"

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

enum { NARCHIVES = UW_ARCHIVE_ZIP + 1 };

static void archives_are_deterministic(void **state)
{
	(void)state;
	for (int kind = 0; kind < NARCHIVES; kind++) {
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(archives_are_deterministic),
		TEST(abort_on_stdout_writes_no_end),
		TEST(large_members),
		TEST(archive_suffixes),
	};

	return cmocka_run_group_tests_name("sink_archive", tests, NULL, NULL);
}
