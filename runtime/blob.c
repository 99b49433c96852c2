/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/blob.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "unweight/checked.h"

enum uw_status uw_blob_read(const struct uw_blob *blob, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	uint64_t end;

	if (!uw_add(off, nbytes, &end) || end > blob->nbytes)
		return uw_fail(err, UW_ERR_TRUNCATED, off, "%zu bytes wanted beyond the end of the file", nbytes);
	if (nbytes == 0)
		return UW_OK;
	return blob->pread(blob->ctx, dst, nbytes, off, err);
}

static enum uw_status fd_pread(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	const int *fd = ctx;
	uint8_t *p = dst;

	if (off > INT64_MAX || nbytes > INT64_MAX - off)
		return uw_fail(err, UW_ERR_TRUNCATED, off, "offset beyond the end of any file");
	while (nbytes != 0) {
		ssize_t n = pread(*fd, p, nbytes, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return uw_fail_errno(err, errno, "cannot read");
		if (n == 0)
			return uw_fail(err, UW_ERR_TRUNCATED, off, "the file became shorter while it was read");
		p += n;
		off += (uint64_t)n;
		nbytes -= (size_t)n;
	}
	return UW_OK;
}

enum uw_status uw_blob_of_fd(int *fd, struct uw_blob *blob, struct uw_error *err)
{
	struct stat st;

	if (fstat(*fd, &st) != 0)
		return uw_fail_errno(err, errno, "cannot get the size of a file");
	if (!S_ISREG(st.st_mode))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "not a regular file");
	*blob = (struct uw_blob){ .pread = fd_pread, .ctx = fd, .nbytes = (uint64_t)st.st_size };
	return UW_OK;
}

static enum uw_status memory_pread(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	const struct uw_memory *mem = ctx;

	(void)err;
	memcpy(dst, mem->data + off, nbytes);
	return UW_OK;
}

void uw_blob_of_memory(struct uw_memory *mem, uint64_t nbytes, struct uw_blob *blob)
{
	*blob = (struct uw_blob){ .pread = memory_pread, .ctx = mem, .nbytes = nbytes };
}
