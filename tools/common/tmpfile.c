/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source.h"

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
