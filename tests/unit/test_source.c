/* SPDX-License-Identifier: Apache-2.0 */
/* tools/common/source_*.c and path.c: what a model's folder or archive may hold, in which order it comes, what is
 * refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "source.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define CAFE_NFC "caf\xc3\xa9.json"
#define CAFE_NFD "cafe\xcc\x81.json"

static char root[] = "/tmp/uw_test_source.XXXXXX";

/* ---- files below `root`, where all tests run ------------------------------------------------- */

static void put(const char *path, const void *data, size_t nbytes)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, nbytes, f), nbytes);
	assert_int_equal(fclose(f), 0);
}

static void put_text(const char *path, const char *text)
{
	put(path, text, strlen(text));
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) == NULL || chdir(root) != 0;
}

static int remove_root(void **state)
{
	(void)state;
	return chdir("/") != 0 || nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0;
}

/* Each test has a folder of its own. */
static int enter(void **state)
{
	(void)state;
	return mkdir("t", 0777) != 0 || chdir("t") != 0;
}

static int leave(void **state)
{
	(void)state;
	return chdir(root) != 0 || nftw("t", remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0;
}

/* ---- reading a source ----------------------------------------------------------------------------- */

/* "path=bytes" of each file, '*' behind the path of an executable, in the order they come. */
static enum uw_status read_source(struct uw_source *source, bool opened, char *text, size_t room, struct uw_error *err)
{
	const struct uw_entry *entry;
	enum uw_status status;
	struct uw_blob blob;
	size_t n = 0;

	text[0] = 0;
	while ((status = uw_source_next(source, &entry, err)) == UW_OK && entry != NULL) {
		char data[64] = "";

		if (opened) {
			status = uw_source_entry_open(source, &blob, err);
			if (status != UW_OK)
				return status;
			assert_int_equal(blob.nbytes, entry->nbytes);
			if (blob.nbytes < sizeof(data))
				assert_int_equal(uw_blob_read(&blob, data, blob.nbytes, 0, err), UW_OK);
		}
		n += (size_t)snprintf(text + n, room - n, "%s%s%s=%s", n ? " " : "", entry->path,
				      entry->executable ? "*" : "", data);
		assert_true(n < room);
	}
	return status;
}

static enum uw_status read_folder(const char *path, char *text, size_t room, struct uw_error *err)
{
	struct uw_source *source;
	enum uw_status status = uw_source_open_folder(path, &source, err);

	if (status == UW_OK) {
		status = read_source(source, true, text, room, err);
		uw_source_close(&source);
		assert_null(source);
	}
	return status;
}

static void assert_folder(const char *path, const char *want)
{
	struct uw_error err = { 0 };
	char text[512];

	if (read_folder(path, text, sizeof(text), &err) != UW_OK)
		fail_msg("%s", err.what);
	assert_string_equal(text, want);
}

static void assert_folder_fails(const char *path, enum uw_status want, const char *named)
{
	struct uw_error err = { 0 };
	char text[512];

	assert_int_equal(read_folder(path, text, sizeof(text), &err), want);
	assert_int_equal(err.status, want);
	if (strstr(err.what, named) == NULL)
		fail_msg("'%s' does not name '%s'", err.what, named);
}

static enum uw_status read_archive_fd(int fd, bool opened, char *text, size_t room, struct uw_error *err)
{
	struct uw_source *source;
	enum uw_status status = uw_source_open_archive(fd, "archive", ".", &source, err);

	if (status == UW_OK) {
		status = read_source(source, opened, text, room, err);
		uw_source_close(&source);
	}
	return status;
}

static enum uw_status read_archive(const char *path, bool opened, char *text, size_t room, struct uw_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum uw_status status;

	assert_true(fd >= 0);
	status = read_archive_fd(fd, opened, text, room, err);
	close(fd);
	return status;
}

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

/* ---- paths ------------------------------------------------------------------------------------ */

static void test_path_check(void **state)
{
	static const char *const good[] = { "a", "a/b", "...", "a/..b", "a b", "\xc3\xa9", "\xf0\x9f\x98\x80", "-", "\xed\x9f\xbf" };
	static const struct {
		const char *path;
		size_t n;
	} bad[] = {
		{ "", 0 },          { "/", 1 },         { "/a", 2 },           { "a/", 2 },        { "a//b", 4 },
		{ ".", 1 },         { "..", 2 },        { "a/.", 3 },          { "a/../b", 6 },    { "../a", 4 },
		{ "./a", 3 },       { "a\0b", 3 },      { "a\nb", 3 },         { "a\x1b", 2 },     { "a\x7f", 2 },
		{ "a\\b", 3 },      { "\xff", 1 },      { "\xc3", 1 },         { "\xc0\xaf", 2 },  { "\xe0\x80\xaf", 3 },
		{ "\xed\xa0\x80", 3 }, { "\xf4\x90\x80\x80", 4 }, { "\xf0\x80\x80\xaf", 4 }, { "\x80", 1 }, { "\xe2\x82", 2 },
	};
	char *path = malloc(4097);

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		assert_int_equal(uw_path_check(good[i], strlen(good[i]), NULL), UW_OK);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(uw_path_check(bad[i].path, bad[i].n, NULL), UW_ERR_PATH);
	assert_non_null(path);
	memset(path, 'a', 4097);
	assert_int_equal(uw_path_check(path, 4096, NULL), UW_OK);
	assert_int_equal(uw_path_check(path, 4097, NULL), UW_ERR_PATH);
	free(path);
}

static void test_tmpfile(void **state)
{
	struct stat st;
	int fd = uw_tmpfile(".");

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_nlink, 0);
	assert_int_equal(pwrite(fd, "x", 1, 0), 1);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	assert_int_equal(uw_tmpfile("missing"), -1);
	assert_int_equal(errno, ENOENT);
}

/* ---- one file -------------------------------------------------------------------------------- */

static void test_file(void **state)
{
	struct uw_source *source;
	char text[64];

	(void)state;
	assert_int_equal(mkdir("d", 0777), 0);
	put_text("d/m.safetensors", "abc");
	assert_int_equal(uw_source_open_file("d/m.safetensors", &source, NULL), UW_OK);
	assert_true(source->single);
	assert_int_equal(read_source(source, true, text, sizeof(text), NULL), UW_OK);
	assert_string_equal(text, "m.safetensors=abc");
	uw_source_close(&source);
	uw_source_close(&source);
	assert_int_equal(uw_source_open_file("d", &source, NULL), UW_ERR_FORMAT);
	assert_int_equal(uw_source_open_file("d/missing", &source, NULL), UW_ERR_NOT_FOUND);
	assert_int_equal(mkfifo("p", 0666), 0);
	assert_int_equal(uw_source_open_file("p", &source, NULL), UW_ERR_FORMAT);
}

static void test_shrunk_file(void **state)
{
	const struct uw_entry *entry;
	struct uw_source *source;
	struct uw_blob blob;
	char data[8];

	(void)state;
	put_text("m", "12345678");
	assert_int_equal(uw_source_open_file("m", &source, NULL), UW_OK);
	assert_int_equal(uw_source_next(source, &entry, NULL), UW_OK);
	assert_int_equal(uw_source_entry_open(source, &blob, NULL), UW_OK);
	assert_int_equal(uw_blob_read(&blob, data, 8, 1, NULL), UW_ERR_TRUNCATED);
	assert_int_equal(uw_blob_read(&blob, data, 1, UINT64_MAX, NULL), UW_ERR_TRUNCATED);
	assert_int_equal(truncate("m", 4), 0);
	assert_int_equal(uw_blob_read(&blob, data, 8, 0, NULL), UW_ERR_TRUNCATED);
	assert_int_equal(uw_source_entry_open(source, &blob, NULL), UW_ERR_IO);
	uw_source_close(&source);
}

/* ---- folders ------------------------------------------------------------------------------------ */

static void test_hub_cache(void **state)
{
	(void)state;
	assert_int_equal(mkdir("blobs", 0777) | mkdir("snap", 0777) | mkdir("snap/sub", 0777), 0);
	put_text("blobs/1", "one");
	put_text("blobs/2", "two");
	assert_int_equal(symlink("../blobs/1", "snap/model.safetensors"), 0);
	assert_int_equal(symlink("../../blobs/2", "snap/sub/config.json"), 0);
	assert_int_equal(symlink("../blobs", "snap/all"), 0);
	assert_int_equal(symlink("snap", "latest"), 0);
	assert_folder("latest", "all/1=one all/2=two model.safetensors=one sub/config.json=two");
}

static void test_folder_order_and_modes(void **state)
{
	(void)state;
	assert_int_equal(mkdir("m", 0777) | mkdir("m/a", 0777) | mkdir("m/empty", 0777), 0);
	put_text("m/a/z", "1");
	put_text("m/a.b", "2");
	put_text("m/a0", "3");
	put_text("m/\xc3\xa9", "4");
	put_text("m/Z", "5");
	assert_int_equal(chmod("m/a.b", 0755), 0);
	assert_folder("m", "Z=5 a.b*=2 a/z=1 a0=3 \xc3\xa9=4");
	assert_folder("m/empty", "");
}

static void count_warning(void *ctx, const char *text)
{
	assert_non_null(strstr(text, "'pip'"));
	++*(int *)ctx;
}

static void test_skipped_folders(void **state)
{
	struct uw_source *source;
	char text[512];
	int nwarnings = 0;

	(void)state;
	assert_int_equal(mkdir(".git", 0777) | mkdir("x", 0777) | mkdir("x/.cache", 0777), 0);
	assert_int_equal(mkdir(".cache", 0777) | mkdir(".cache/huggingface", 0777) | mkdir("x/.cache/huggingface", 0777), 0);
	assert_int_equal(mkdir("pip", 0777) | mkdir("no", 0777) | mkdir("y.cache", 0777) | mkdir("y.cache/huggingface", 0777), 0);
	put_text(".git/HEAD", "-");
	put_text(".gitattributes", "g");
	put_text(".cache/huggingface/x", "-");
	put_text(".cache/other", "o");
	put_text("x/.cache/huggingface/x", "-");
	put_text("y.cache/huggingface/k", "k");
	put_text("pip/CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n# x\n");
	put_text("pip/x", "-");
	put_text("no/CACHEDIR.TAG", "tag");
	assert_int_equal(uw_source_open_folder(".", &source, NULL), UW_OK);
	source->warn = count_warning;
	source->watch_ctx = &nwarnings;
	assert_int_equal(read_source(source, true, text, sizeof(text), NULL), UW_OK);
	uw_source_close(&source);
	assert_string_equal(text, ".cache/other=o .gitattributes=g no/CACHEDIR.TAG=tag y.cache/huggingface/k=k");
	assert_int_equal(nwarnings, 1);
}

static void test_folder_links_that_fail(void **state)
{
	(void)state;
	assert_int_equal(mkdir("a", 0777) | mkdir("a/b", 0777) | symlink("..", "a/b/up"), 0);
	assert_folder_fails("a", UW_ERR_PATH, "'b/up'");
	assert_int_equal(mkdir("c", 0777) | symlink("self", "c/self"), 0);
	assert_folder_fails("c", UW_ERR_PATH, "'self'");
	assert_int_equal(mkdir("d", 0777) | mkdir("d/e", 0777) | symlink("missing", "d/e/gone"), 0);
	assert_folder_fails("d", UW_ERR_PATH, "dangling symbolic link: 'e/gone'");
	assert_folder_fails("missing", UW_ERR_NOT_FOUND, "missing");
}

static void test_folder_entries_that_fail(void **state)
{
	static const char *const names[] = { "a\nb", "a\\b", "\xff", "a\x1b[31m" };

	(void)state;
	assert_int_equal(mkdir("a", 0777) | mkfifo("a/pipe", 0666), 0);
	assert_folder_fails("a", UW_ERR_FORMAT, "'pipe'");
	assert_int_equal(mkdir("b", 0777) | symlink("/dev/null", "b/null"), 0);
	assert_folder_fails("b", UW_ERR_FORMAT, "'null'");
	assert_int_equal(mkdir("c", 0777), 0);
	for (size_t i = 0; i < COUNT(names); i++) {
		char path[32];

		snprintf(path, sizeof(path), "c/%s", names[i]);
		put_text(path, "");
		assert_folder_fails("c", UW_ERR_PATH, names[i]);
		assert_int_equal(unlink(path), 0);
	}
}

/* Two links in each of 30 folders: 2^30 paths. */
static void test_folder_of_doubling_links(void **state)
{
	char path[16], target[16];

	(void)state;
	for (int i = 0; i <= 30; i++) {
		snprintf(path, sizeof(path), "%d", i);
		assert_int_equal(mkdir(path, 0777), 0);
		snprintf(target, sizeof(target), "../%d", i + 1);
		snprintf(path, sizeof(path), "%d/a", i);
		if (i < 30)
			assert_int_equal(symlink(target, path), 0);
		path[strlen(path) - 1] = 'b';
		if (i < 30)
			assert_int_equal(symlink(target, path), 0);
	}
	assert_folder_fails("0", UW_ERR_FORMAT, "too many");
}

static void test_folder_too_deep(void **state)
{
	char name[201];
	int fd, up[22];

	(void)state;
	memset(name, 'd', 200);
	name[200] = 0;
	assert_int_equal(mkdir("m", 0777), 0);
	fd = open("m", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (size_t i = 0; i < COUNT(up); i++) {
		up[i] = fd;
		assert_int_equal(mkdirat(fd, name, 0777), 0);
		fd = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(fd >= 0);
	}
	close(fd);
	assert_folder_fails("m", UW_ERR_PATH, "longer");
	for (size_t i = COUNT(up); i-- != 0;) { /* nftw cannot reach that deep */
		assert_int_equal(unlinkat(up[i], name, AT_REMOVEDIR), 0);
		close(up[i]);
	}
}

static void test_folder_changed_after_listing(void **state)
{
	const struct uw_entry *entry;
	struct uw_source *source;
	struct uw_blob blob;

	(void)state;
	put_text("a", "1");
	put_text("b", "1");
	assert_int_equal(uw_source_open_folder(".", &source, NULL), UW_OK);
	put_text("a", "12");
	assert_int_equal(unlink("b"), 0);
	assert_int_equal(uw_source_next(source, &entry, NULL), UW_OK);
	assert_int_equal(uw_source_entry_open(source, &blob, NULL), UW_ERR_IO);
	assert_int_equal(uw_source_next(source, &entry, NULL), UW_OK);
	assert_int_equal(uw_source_entry_open(source, &blob, NULL), UW_ERR_NOT_FOUND);
	uw_source_close(&source);
}

/* ---- archives ----------------------------------------------------------------------------------- */

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
						 FILE_MEMBER("b/a", "4"), FILE_MEMBER("b-", "5"), FILE_MEMBER("b/c", "6") };

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
					fail_msg("kind %d cut at %zu of %zu, opened %d: status %d, %s", kind, cut, n, opened,
						 status, text);
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

#define TEST(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_path_check),
		TEST(test_tmpfile),
		TEST(test_file),
		TEST(test_shrunk_file),
		TEST(test_hub_cache),
		TEST(test_folder_order_and_modes),
		TEST(test_skipped_folders),
		TEST(test_folder_links_that_fail),
		TEST(test_folder_entries_that_fail),
		TEST(test_folder_of_doubling_links),
		TEST(test_folder_too_deep),
		TEST(test_folder_changed_after_listing),
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

	return cmocka_run_group_tests(tests, make_root, remove_root);
}
