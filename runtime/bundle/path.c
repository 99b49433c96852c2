/* SPDX-License-Identifier: Apache-2.0 */
#include "path.h"

#include <stdint.h>
#include <string.h>

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
