/* SPDX-License-Identifier: Apache-2.0 */
/* One file being written: every byte or an error, the announced size, and on disk before it counts. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "sink_private.h"

int uw_write_all(int fd, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		ssize_t done = write(fd, p, n);

		if (done > 0) {
			p += done;
			n -= (size_t)done;
		} else if (done == 0) {
			errno = EIO;
			return -1;
		} else if (errno == EAGAIN) { /* somebody made our standard output non-blocking */
			struct pollfd ready = {.fd = fd, .events = POLLOUT};

			poll(&ready, 1, -1);
		} else if (errno != EINTR) {
			return -1;
		}
	}
	return 0;
}

/* Network file systems may be interrupted. */
static int flush(int fd)
{
	int failed;

	do
		failed = fsync(fd);
	while (failed != 0 && errno == EINTR);
	return failed;
}

int uw_sync_folder(int fd)
{
	return flush(fd) == 0 || errno == EINVAL || errno == ENOTSUP ? 0 : -1;
}

enum uw_status uw_outfile_begin(struct uw_outfile *f, int fd, uint64_t nbytes, struct uw_error *err)
{
	*f = (struct uw_outfile){.fd = fd, .nbytes = nbytes};
	/* A full disk shows now and not after hours. Not posix_fallocate: where the file system cannot, it writes
	 * zeros. */
	if (nbytes != 0 && nbytes <= INT64_MAX && fallocate(fd, 0, 0, (off_t)nbytes) != 0 &&
	    (errno == ENOSPC || errno == EDQUOT || errno == EFBIG)) {
		enum uw_status status = uw_fail_errno(err, errno, "cannot reserve %llu bytes", (unsigned long long)nbytes);

		uw_outfile_drop(f);
		return status;
	}
	return UW_OK;
}

enum uw_status uw_outfile_write(struct uw_outfile *f, const void *data, size_t n, struct uw_error *err)
{
	if (n > f->nbytes - f->written)
		return uw_fail(err, UW_ERR_MISMATCH, f->written, "more bytes than the %llu announced",
			       (unsigned long long)f->nbytes);
	if (uw_write_all(f->fd, data, n) != 0)
		return uw_fail_errno(err, errno, "cannot write");
	f->written += n;
	return UW_OK;
}

enum uw_status uw_outfile_write_at(struct uw_outfile *f, const void *data, size_t n, uint64_t off,
				   struct uw_error *err)
{
	const char *p = data;

	if (f->nbytes > INT64_MAX || off > f->nbytes || n > f->nbytes - off)
		return uw_fail(err, UW_ERR_MISMATCH, off, "bytes behind the %llu announced",
			       (unsigned long long)f->nbytes);
	for (size_t left = n; left > 0;) {
		ssize_t done = pwrite(f->fd, p, left, (off_t)off);

		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return uw_fail_errno(err, done < 0 ? errno : EIO, "cannot write");
		p += done;
		off += (uint64_t)done;
		left -= (size_t)done;
	}
	f->written += n;
	return UW_OK;
}

enum uw_status uw_outfile_end(struct uw_outfile *f, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	if (f->nbytes != UW_SIZE_UNKNOWN && f->written != f->nbytes)
		status = uw_fail(err, UW_ERR_MISMATCH, f->written, "fewer bytes than the %llu announced",
				 (unsigned long long)f->nbytes);
	else if (flush(f->fd) != 0)
		status = uw_fail_errno(err, errno, "cannot flush to disk");
	uw_outfile_drop(f);
	return status;
}

void uw_outfile_drop(struct uw_outfile *f)
{
	if (f->fd >= 0)
		close(f->fd); /* errors have shown at fsync */
	f->fd = -1;
}
