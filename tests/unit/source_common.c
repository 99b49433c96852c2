/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source_common.h"

static char root[] = "/tmp/uw_test_source.XXXXXX";

void put(const char *path, const void *data, size_t nbytes)
{
	FILE *f = fopen(path, "wb");

	assert_non_null(f);
	assert_int_equal(fwrite(data, 1, nbytes, f), nbytes);
	assert_int_equal(fclose(f), 0);
}

void put_text(const char *path, const char *text)
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

int make_root(void **state)
{
	(void)state;
	return mkdtemp(root) == NULL || chdir(root) != 0;
}

int remove_root(void **state)
{
	(void)state;
	return chdir("/") != 0 || nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0;
}

int enter(void **state)
{
	(void)state;
	return mkdir("t", 0777) != 0 || chdir("t") != 0;
}

int leave(void **state)
{
	(void)state;
	return chdir(root) != 0 || nftw("t", remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0;
}

enum uw_status read_source(struct uw_source *source, bool opened, char *text, size_t room, struct uw_error *err)
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

enum uw_status read_folder(const char *path, char *text, size_t room, struct uw_error *err)
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

void assert_folder(const char *path, const char *want)
{
	struct uw_error err = { 0 };
	char text[512];

	if (read_folder(path, text, sizeof(text), &err) != UW_OK)
		fail_msg("%s", err.what);
	assert_string_equal(text, want);
}

void assert_folder_fails(const char *path, enum uw_status want, const char *named)
{
	struct uw_error err = { 0 };
	char text[512];

	assert_int_equal(read_folder(path, text, sizeof(text), &err), want);
	assert_int_equal(err.status, want);
	if (strstr(err.what, named) == NULL)
		fail_msg("'%s' does not name '%s'", err.what, named);
}

enum uw_status read_archive_fd(int fd, bool opened, char *text, size_t room, struct uw_error *err)
{
	struct uw_source *source;
	enum uw_status status = uw_source_open_archive(fd, "archive", ".", &source, err);

	if (status == UW_OK) {
		status = read_source(source, opened, text, room, err);
		uw_source_close(&source);
	}
	return status;
}

enum uw_status read_archive(const char *path, bool opened, char *text, size_t room, struct uw_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	enum uw_status status;

	assert_true(fd >= 0);
	status = read_archive_fd(fd, opened, text, room, err);
	close(fd);
	return status;
}
