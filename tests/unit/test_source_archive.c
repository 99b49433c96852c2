/* SPDX-License-Identifier: Apache-2.0 */
/* tools/common/source_archive.c: what a model's archive may hold, and what is refused. */
#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/wait.h>
#include <unistd.h>

#include "source_common.h"

/* ---- making archives ----------------------------------------------------------------------- */

struct member {
	const char *path;
	const char *data; /* or the target of a link */
	unsigned type;    /* AE_IF..., or HARDLINK */
	unsigned perm;
};

#define HARDLINK 1u
#define FILE_MEMBER(path, data) { path, data, AE_IFREG, 0644 }

static void write_member(struct archive *a, const struct member *m)
{
	struct archive_entry *e = archive_entry_new();
	size_t n = m->type == AE_IFREG ? strlen(m->data) : 0;

	archive_entry_copy_pathname(e, m->path);
	archive_entry_set_filetype(e, m->type == HARDLINK ? AE_IFREG : m->type);
	archive_entry_set_perm(e, (__LA_MODE_T)m->perm);
	archive_entry_set_size(e, (int64_t)n);
	if (m->type == AE_IFLNK)
		archive_entry_copy_symlink(e, m->data);
	if (m->type == HARDLINK)
		archive_entry_copy_hardlink(e, m->data);
	assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
	assert_int_equal(archive_write_data(a, m->data, n), n);
	archive_entry_free(e);
}

enum kind { TAR, TAR_GZ, TAR_ZST, TAR_XZ, ZIP, KINDS };

static void write_archive(const char *path, enum kind kind, const struct member *members, size_t n)
{
	locale_t utf8 = newlocale(LC_ALL_MASK, "C.UTF-8", (locale_t)0), former;
	struct archive *a = archive_write_new();

	assert_true(utf8 != (locale_t)0);
	former = uselocale(utf8);
	if (kind == ZIP)
		archive_write_set_format_zip(a);
	else
		archive_write_set_format_pax_restricted(a);
	if (kind == TAR_GZ)
		archive_write_add_filter_gzip(a);
	if (kind == TAR_ZST)
		archive_write_add_filter_zstd(a);
	if (kind == TAR_XZ)
		archive_write_add_filter_xz(a);
	assert_int_equal(archive_write_set_bytes_in_last_block(a, 1), ARCHIVE_OK);
	assert_int_equal(archive_write_open_filename(a, path), ARCHIVE_OK);
	for (size_t i = 0; i < n; i++)
		write_member(a, &members[i]);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	uselocale(former);
	freelocale(utf8);
}

static void assert_archive(const char *path, const char *want)
{
	struct uw_error err = { 0 };
	char text[512];

	if (read_archive(path, true, text, sizeof(text), &err) != UW_OK)
		fail_msg("%s: %s", path, err.what);
	assert_string_equal(text, want);
}

static const struct member model[] = {
	{ "./", "", AE_IFDIR, 0755 },
	{ "./model", "", AE_IFDIR, 0755 },
	FILE_MEMBER("./model/b.json", "{}"),
	{ "./model/a.sh", "#!", AE_IFREG, 0755 },
	FILE_MEMBER("model/empty", ""),
	FILE_MEMBER(CAFE_NFC, "x"),
};

#define MODEL_TEXT "model/b.json={} model/a.sh*=#! model/empty= " CAFE_NFC "=x"

static void test_archive_kinds(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		uint8_t head[512];
		FILE *f;
		size_t n;

		write_archive("archive", kind, model, COUNT(model));
		assert_archive("archive", MODEL_TEXT);
		f = fopen("archive", "rb");
		assert_non_null(f);
		n = fread(head, 1, sizeof(head), f);
		fclose(f);
		assert_true(uw_looks_like_archive(head, n));
		assert_false(uw_looks_like_archive(head, 1));
	}
	assert_false(uw_looks_like_archive((const uint8_t *)"\x40\0\0\0\0\0\0\0{\"a\":", 13));
}

/* In the C locale, in which this program runs, and in one of UTF-8; NFD and NFC are two names. */
static void test_archive_names(void **state)
{
	static const struct member members[] = { FILE_MEMBER(CAFE_NFD, "d"), FILE_MEMBER(CAFE_NFC, "c") };

	(void)state;
	assert_string_equal(setlocale(LC_ALL, NULL), "C");
	write_archive("t.tar", TAR, members, 2);
	write_archive("c.zip", ZIP, members + 1, 1);
	for (int i = 0; i < 2; i++) {
		assert_archive("t.tar", CAFE_NFD "=d " CAFE_NFC "=c");
		assert_archive("c.zip", CAFE_NFC "=c");
		assert_non_null(setlocale(LC_ALL, "C.UTF-8"));
	}
	setlocale(LC_ALL, "C");
}

static void test_hostile_members(void **state)
{
	static const struct {
		enum uw_status want;
		struct member members[2];
	} cases[] = {
		{ UW_ERR_PATH, { FILE_MEMBER("a", "1"), FILE_MEMBER("../evil", "1") } },
		{ UW_ERR_PATH, { FILE_MEMBER("a", "1"), FILE_MEMBER("a/../../evil", "1") } },
		{ UW_ERR_PATH, { FILE_MEMBER("a", "1"), FILE_MEMBER("/evil", "1") } },
		{ UW_ERR_PATH, { FILE_MEMBER("a", "1"), FILE_MEMBER(".//evil", "1") } },
		{ UW_ERR_PATH, { FILE_MEMBER("a", "1"), FILE_MEMBER("b//evil", "1") } },
		{ UW_ERR_PATH, { FILE_MEMBER("a", "1"), FILE_MEMBER("evil\n", "1") } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("a", "1"), { "evil", "a", AE_IFLNK, 0777 } } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("a", "1"), { "evil", "/etc/" CAFE_NFC, AE_IFLNK, 0777 } } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("a", "1"), FILE_MEMBER("a", "evil") } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("evil", "1"), FILE_MEMBER("./evil", "1") } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("evil", "1"), FILE_MEMBER("evil/b", "1") } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("evil/b/c", "1"), FILE_MEMBER("evil/b", "1") } },
		/* those below only in a tar; of zips, libarchive takes '\\' for '/' where there is no '/' */
		{ UW_ERR_PATH, { FILE_MEMBER("a", "1"), FILE_MEMBER("b\\evil", "1") } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("a", "1"), { "evil", "a", HARDLINK, 0644 } } },
		{ UW_ERR_FORMAT, { FILE_MEMBER(CAFE_NFC, "1"), { "evil", CAFE_NFC, HARDLINK, 0644 } } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("a", "1"), { "evil", "", AE_IFCHR, 0644 } } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("a", "1"), { "evil", "", AE_IFBLK, 0644 } } },
		{ UW_ERR_FORMAT, { FILE_MEMBER("a", "1"), { "evil", "", AE_IFIFO, 0644 } } },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		for (int zip = 0; zip < 2; zip++) {
			struct uw_error err = { 0 };
			char text[512];

			if (zip && i >= 12)
				continue;
			write_archive("archive", zip ? ZIP : TAR, cases[i].members, 2);
			if (read_archive("archive", true, text, sizeof(text), &err) != cases[i].want)
				fail_msg("case %zu, zip %d: '%s'", i, zip, err.what);
			if (strstr(err.what, "evil") == NULL && strstr(err.what, "'a'") == NULL)
				fail_msg("case %zu, zip %d not named: '%s'", i, zip, err.what);
		}
	}
}

static void test_paths_that_nearly_clash(void **state)
{
	static const struct member members[] = { FILE_MEMBER("a", "1"), FILE_MEMBER("a.b", "2"), FILE_MEMBER("a0", "3"),
						 FILE_MEMBER("b/a", "4"), FILE_MEMBER("b-", "5"),
						 FILE_MEMBER("b/c", "6") };

	(void)state;
	write_archive("archive", TAR, members, COUNT(members));
	assert_archive("archive", "a=1 a.b=2 a0=3 b/a=4 b-=5 b/c=6");
}

static uint8_t *slurp(const char *path, size_t *n)
{
	uint8_t *data = malloc(1 << 16);
	FILE *f = fopen(path, "rb");

	assert_non_null(data);
	assert_non_null(f);
	*n = fread(data, 1, 1 << 16, f);
	fclose(f);
	return data;
}

/* Whether members are opened or stepped over (which seeks). Only the last zero block of a tar may be missing. */
static void test_truncated_archives(void **state)
{
	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		struct uw_error err;
		char text[512];
		uint8_t *data;
		size_t n, step;

		write_archive("archive", kind, model, COUNT(model));
		data = slurp("archive", &n);
		step = kind == TAR ? 64 : 1;
		for (size_t cut = 0; cut < n; cut += step) {
			put("cut", data, cut);
			for (int opened = 0; opened < 2; opened++) {
				enum uw_status status = read_archive("cut", opened, text, sizeof(text), &err);

				if (status != UW_ERR_FORMAT && !(kind == TAR && cut >= n - 512))
					fail_msg("kind %d cut at %zu of %zu, opened %d: status %d, %s", kind, cut, n,
						 opened, status, text);
			}
		}
		free(data);
	}
}

static void test_damaged_archives(void **state)
{
	static const struct member members[] = { FILE_MEMBER("a", "0123456789012345678901234567890123456789") };
	struct uw_error err;
	char text[512];
	uint8_t *data;
	size_t n;

	(void)state;
	write_archive("t.tar", TAR, members, 1);
	data = slurp("t.tar", &n);
	data[1] ^= 1; /* in the header */
	put("bad", data, n);
	assert_int_equal(read_archive("bad", true, text, sizeof(text), &err), UW_ERR_FORMAT);
	free(data);
	write_archive("t.zip", ZIP, members, 1);
	data = slurp("t.zip", &n);
	for (size_t i = 35; i < n - 22; i++) { /* data, descriptor, directory: never other bytes than those put in */
		data[i] ^= 0x10;
		put("bad", data, n);
		if (read_archive("bad", true, text, sizeof(text), &err) == UW_OK && strstr(text, "=0") != NULL)
			assert_non_null(strstr(text, "=0123456789012345678901234567890123456789"));
		data[i] ^= 0x10;
	}
	free(data);
}

static void append(const char *path, const void *data, size_t nbytes)
{
	FILE *f = fopen(path, "ab");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, nbytes, f), nbytes);
	assert_int_equal(fclose(f), 0);
}

/* Zero blocks are padding, another tar goes on, anything else is damage. */
static void test_bytes_behind_a_tar(void **state)
{
	static const struct member a = FILE_MEMBER("a", "1"), b = FILE_MEMBER("b", "2");
	static const uint8_t zeros[1536];
	struct uw_error err;
	char text[512];
	uint8_t *data;
	size_t n;

	(void)state;
	write_archive("b.tar", TAR, &b, 1);
	write_archive("a.tar", TAR, &a, 1);
	append("a.tar", zeros, sizeof(zeros));
	assert_archive("a.tar", "a=1");
	data = slurp("b.tar", &n);
	append("a.tar", data, n);
	free(data);
	assert_archive("a.tar", "a=1 b=2");
	append("a.tar", "junk", 4);
	assert_int_equal(read_archive("a.tar", true, text, sizeof(text), &err), UW_ERR_FORMAT);
}

static void test_not_an_archive(void **state)
{
	static const char *const texts[] = { "", "#mtree\nfile size=1 type=file\n", "!<arch>\n", "070707", "hello" };
	struct uw_error err;
	char text[512];

	(void)state;
	for (size_t i = 0; i < COUNT(texts); i++) {
		put_text("x", texts[i]);
		assert_int_equal(read_archive("x", true, text, sizeof(text), &err), UW_ERR_FORMAT);
	}
}

/* Feeds the file through a pipe from a child. */
static enum uw_status read_pipe(const char *path, char *text, size_t room, struct uw_error *err)
{
	enum uw_status status;
	int ends[2], child_status;
	uint8_t *data;
	size_t n;
	pid_t pid;

	data = slurp(path, &n);
	assert_int_equal(pipe(ends), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(ends[0]);
		for (size_t i = 0; i < n; i += 700) {
			size_t part = n - i < 700 ? n - i : 700;

			if (write(ends[1], data + i, part) != (ssize_t)part)
				_exit(1);
		}
		_exit(0);
	}
	close(ends[1]);
	status = read_archive_fd(ends[0], true, text, room, err);
	close(ends[0]);
	waitpid(pid, &child_status, 0);
	free(data);
	return status;
}

/* A zip from a pipe has no modes, and no sizes in front of its members if it was written to one. */
static void test_archives_from_a_pipe(void **state)
{
	struct uw_error err = { 0 };
	char text[512];

	(void)state;
	for (enum kind kind = 0; kind < KINDS; kind++) {
		write_archive("archive", kind, model, kind == ZIP ? COUNT(model) - 1 : COUNT(model));
		if (read_pipe("archive", text, sizeof(text), &err) != UW_OK)
			fail_msg("kind %d: %s", kind, err.what);
		if (kind == ZIP)
			assert_non_null(strstr(text, "model/b.json={} model/a.sh"));
		else
			assert_string_equal(text, MODEL_TEXT);
	}
}

/* Data with a hole of 1 MiB inside and one at the end. */
static void test_sparse_member(void **state)
{
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();
	const struct uw_entry *entry;
	struct uw_source *source;
	struct uw_blob blob;
	char *data = calloc(1, 3 << 20), back[4];
	int fd;

	(void)state;
	assert_non_null(data);
	memcpy(data, "head", 4);
	memcpy(data + (1 << 20), "tail", 4);
	archive_write_set_format_pax(a);
	assert_int_equal(archive_write_open_filename(a, "s.tar"), ARCHIVE_OK);
	archive_entry_copy_pathname(e, "s");
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_size(e, 3 << 20);
	archive_entry_sparse_add_entry(e, 0, 512);
	archive_entry_sparse_add_entry(e, 1 << 20, 512);
	assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, data, 3 << 20), 3 << 20);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_write_free(a);
	archive_entry_free(e);
	free(data);

	fd = open("s.tar", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(uw_source_open_archive(fd, "s.tar", ".", &source, NULL), UW_OK);
	assert_int_equal(uw_source_next(source, &entry, NULL), UW_OK);
	assert_int_equal(entry->nbytes, 3 << 20);
	assert_int_equal(uw_source_entry_open(source, &blob, NULL), UW_OK);
	assert_int_equal(blob.nbytes, 3 << 20);
	assert_int_equal(uw_blob_read(&blob, back, 4, 1 << 20, NULL), UW_OK);
	assert_memory_equal(back, "tail", 4);
	assert_int_equal(uw_blob_read(&blob, back, 4, (3 << 20) - 4, NULL), UW_OK);
	assert_memory_equal(back, "\0\0\0\0", 4);
	assert_int_equal(uw_source_next(source, &entry, NULL), UW_OK);
	assert_null(entry);
	uw_source_close(&source);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_archive_kinds),
		TEST(test_archive_names),
		TEST(test_hostile_members),
		TEST(test_paths_that_nearly_clash),
		TEST(test_truncated_archives),
		TEST(test_damaged_archives),
		TEST(test_bytes_behind_a_tar),
		TEST(test_not_an_archive),
		TEST(test_archives_from_a_pipe),
		TEST(test_sparse_member),
	};

	return cmocka_run_group_tests_name("source_archive", tests, make_root, remove_root);
}
