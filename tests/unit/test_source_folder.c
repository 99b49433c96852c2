/* SPDX-License-Identifier: Apache-2.0 */
/* tools/common/source_*.c and path.c: what a model's folder may hold, in which order it comes, what is refused. */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source_common.h"

/* ---- paths ------------------------------------------------------------------------------------ */

static void test_path_check(void **state)
{
	static const char *const good[] = { "a", "a/b", "...", "a/..b", "a b", "\xc3\xa9", "\xf0\x9f\x98\x80", "-",
					    "\xed\x9f\xbf" };
	static const struct {
		const char *path;
		size_t n;
	} bad[] = {
		{ "", 0 },          { "/", 1 },         { "/a", 2 },           { "a/", 2 },        { "a//b", 4 },
		{ ".", 1 },         { "..", 2 },        { "a/.", 3 },          { "a/../b", 6 },    { "../a", 4 },
		{ "./a", 3 },       { "a\0b", 3 },      { "a\nb", 3 },         { "a\x1b", 2 },     { "a\x7f", 2 },
		{ "a\\b", 3 },      { "\xff", 1 },      { "\xc3", 1 },         { "\xc0\xaf", 2 },
		{ "\xe0\x80\xaf", 3 },
		{ "\xed\xa0\x80", 3 }, { "\xf4\x90\x80\x80", 4 }, { "\xf0\x80\x80\xaf", 4 }, { "\x80", 1 },
		{ "\xe2\x82", 2 },
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
	assert_int_equal(mkdir(".cache", 0777) | mkdir(".cache/huggingface", 0777) | mkdir("x/.cache/huggingface",
											   0777), 0);
	assert_int_equal(mkdir("pip", 0777) | mkdir("no", 0777) | mkdir("y.cache", 0777) | mkdir("y.cache/huggingface",
												 0777), 0);
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
	};

	return cmocka_run_group_tests_name("source_folder", tests, make_root, remove_root);
}
