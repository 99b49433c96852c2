/* SPDX-License-Identifier: Apache-2.0 */
/* One file being written: every byte or an error, the announced size, and on disk before it counts. */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cli.h"
#include "sink_private.h"

enum { POLL_MS = 100 };

int uw_stdout_open(void)
{
	struct stat st;
	int fd = -1;

	/* A description of our own: the one that we were given is our neighbours' too. */
	if (fstat(STDOUT_FILENO, &st) == 0 && S_ISFIFO(st.st_mode))
		fd = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	return fd >= 0 ? fd : fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
}

/* Until it can be written to, or may be; false if it is time to stop. */
static bool wait_for_room(int fd)
{
	struct pollfd ready = {.fd = fd, .events = POLLOUT};

	poll(&ready, 1, POLL_MS);
	return !uw_stopped();
}

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
		} else if (errno == EAGAIN) { /* a pipe */
			if (!wait_for_room(fd)) {
				errno = ECANCELED;
				return -1;
			}
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

/* A full disk shows now and not after hours; 0 or an errno. A tmpfs would clear all of the memory at once, while nobody
 * decodes: there it has to do that as much is free. Not posix_fallocate: where the file system cannot, it writes zeros. */
static int reserve(int fd, uint64_t nbytes)
{
	struct statfs fs;

	if (nbytes == 0 || nbytes > INT64_MAX)
		return 0;
	if (fstatfs(fd, &fs) == 0 && fs.f_type == TMPFS_MAGIC) /* without a limit it has 0 blocks */
		return fs.f_blocks != 0 && nbytes / (uint64_t)fs.f_bsize > fs.f_bavail ? ENOSPC : 0;
	if (fallocate(fd, 0, 0, (off_t)nbytes) != 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
		return errno;
	return 0;
}

enum uw_status uw_outfile_begin(struct uw_outfile *f, int fd, uint64_t nbytes, struct uw_error *err)
{
	int problem = reserve(fd, nbytes);

	*f = (struct uw_outfile){.fd = fd, .nbytes = nbytes};
	if (problem != 0) {
		enum uw_status status = uw_fail_errno(err, problem, "cannot reserve %llu bytes", (unsigned long long)nbytes);

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
