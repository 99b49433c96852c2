/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source.h"

#define PATH_MAX_NBYTES 4096 /* SPEC.md 1.1 */

/* Size of the UTF-8 sequence at p, 0 if it is none: RFC 3629, shortest forms only, no surrogates. */
static size_t utf8_nbytes(const uint8_t *p, size_t n)
{
	size_t len = p[0] < 0x80 ? 1 : p[0] < 0xc2 ? 0 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : p[0] < 0xf5 ? 4 : 0;

	if (len > n)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	}
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

static const char *bad_bytes(const char *path, size_t n)
{
	const uint8_t *p = (const uint8_t *)path;

	for (size_t i = 0, len; i < n; i += len) {
		len = utf8_nbytes(p + i, n - i);
		if (len == 0)
			return "is not UTF-8";
		if (p[i] < 0x20 || p[i] == 0x7f)
			return "has a control character";
		if (p[i] == '\\')
			return "has a backslash";
	}
	return NULL;
}

static const char *bad_components(const char *path, size_t n)
{
	for (size_t begin = 0; begin <= n;) {
		const char *slash = memchr(path + begin, '/', n - begin);
		size_t end = slash ? (size_t)(slash - path) : n;
		size_t len = end - begin;

		if (len == 0)
			return begin == 0 ? "is absolute" : "has an empty component";
		if ((len == 1 && path[begin] == '.') || (len == 2 && memcmp(path + begin, "..", 2) == 0))
			return "has a component '.' or '..'";
		begin = end + 1;
	}
	return NULL;
}

enum uw_status uw_path_check(const char *path, size_t n, struct uw_error *err)
{
	const char *why;

	if (n == 0)
		return uw_fail(err, UW_ERR_PATH, UW_NO_OFFSET, "empty path");
	if (n > PATH_MAX_NBYTES)
		return uw_fail(err, UW_ERR_PATH, UW_NO_OFFSET, "path longer than %d bytes", PATH_MAX_NBYTES);
	why = bad_bytes(path, n);
	if (why == NULL)
		why = bad_components(path, n);
	if (why != NULL)
		return uw_fail(err, UW_ERR_PATH, UW_NO_OFFSET, "path %s: '%.*s'", why, (int)n, path);
	return UW_OK;
}

bool uw_looks_like_archive(const uint8_t *head, size_t n)
{
	static const struct {
		uint16_t off;
		uint8_t nbytes;
		const char *magic;
	} magics[] = {
		{ 257, 5, "ustar" },
		{ 0, 2, "\x1f\x8b" },
		{ 0, 4, "\x28\xb5\x2f\xfd" },
		{ 0, 6, "\xfd" "7zXZ\0" },
		{ 0, 4, "PK\3\4" },
		{ 0, 4, "PK\5\6" }, /* zip without members */
	};

	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++) {
		size_t off = magics[i].off, nbytes = magics[i].nbytes;

		if (n >= off + nbytes && memcmp(head + off, magics[i].magic, nbytes) == 0)
			return true;
	}
	return false;
}

/* For file systems without O_TMPFILE (NFS, some overlays). */
static int tmpfile_unlinked(const char *dir)
{
	char *path;
	int fd, saved;

	if (asprintf(&path, "%s/.unweight-XXXXXX", dir) < 0) {
		errno = ENOMEM;
		return -1;
	}
	fd = mkostemp(path, O_CLOEXEC);
	if (fd >= 0 && unlink(path) != 0) {
		saved = errno;
		close(fd);
		errno = saved;
		fd = -1;
	}
	saved = errno;
	free(path);
	errno = saved;
	return fd;
}

int uw_tmpfile(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

	if (fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL))
		fd = tmpfile_unlinked(dir);
	return fd;
}
