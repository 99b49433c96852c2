/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A model in a tar or zip, read from front to back by libarchive with two formats and three filters switched on.
 *
 * Names are bytes. libarchive converts those that are declared UTF-8 to the locale's charset and, if that is UTF-8 too,
 * normalises them. In the C locale a tar's name comes through untouched with a warning; a zip's does not come
 * at all, so zips are read in C.UTF-8. The process's own locale never matters.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <poll.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "source.h"
#include "unweight/checked.h"

#define READ_NBYTES (256u << 10)

struct archive_source {
	struct uw_source base;
	struct uw_entry entry;
	struct archive *a;
	struct archive_entry *member; /* the current one, or NULL; libarchive's */
	char *name;                   /* as the caller spelt it, for messages */
	char *tmp_dir;
	void *paths; /* tsearch tree of all paths so far, ordered by path_order */
	uint64_t npaths;
	locale_t locale;
	int fd;    /* our own descriptor of the archive */
	char *block; /* READ_NBYTES of it, in libarchive's hands */
	bool started;
	int spool; /* the current member's bytes, or -1 */
	bool is_tar;
};

/* Equal if the paths are the same or one of them is a folder of the other. The order is total on a set without such
 * pairs if the end of a path and '/' come before all other bytes. */
static int path_order(const void *a, const void *b)
{
	const uint8_t *p = a, *q = b;
	size_t i = 0;

	while (p[i] == q[i] && p[i] != 0)
		i++;
	if ((p[i] == 0 && (q[i] == 0 || q[i] == '/')) || (q[i] == 0 && p[i] == '/'))
		return 0;
	return (p[i] == '/' ? 0 : p[i]) - (q[i] == '/' ? 0 : q[i]);
}

/* libarchive reports a failed read of `fd` by its errno and damaged bytes by numbers of its own. */
static enum uw_status archive_failed(struct archive_source *s, struct uw_error *err)
{
	int os_errno = archive_errno(s->a);
	const char *text = archive_error_string(s->a);

	if (os_errno == ECANCELED)
		return uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled");
	if (os_errno > 0 && os_errno != EILSEQ && os_errno != EINVAL)
		return uw_fail_errno(err, os_errno, "cannot read archive '%s'", s->name);
	return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s': %s", s->name, text ? text : "damaged");
}

/* The one warning that is none: see the head of this file. Others mean that libarchive guesses. */
static bool is_charset_warning(struct archive_source *s, int r)
{
	const char *text = archive_error_string(s->a);

	return r == ARCHIVE_WARN && s->is_tar && text != NULL && strstr(text, "can't be converted from") != NULL;
}

static int next_header(struct archive_source *s)
{
	locale_t former = uselocale(s->locale);
	int r = archive_read_next_header(s->a, &s->member);

	uselocale(former);
	s->is_tar = (archive_format(s->a) & ARCHIVE_FORMAT_BASE_MASK) == ARCHIVE_FORMAT_TAR;
	return r;
}

/* Steps over what is left of the current member, then to the next header; s->member = NULL at the end. */
static enum uw_status next_member(struct archive_source *s, struct uw_error *err)
{
	int64_t begin;
	int r;

	if (s->member != NULL && archive_read_data_skip(s->a) != ARCHIVE_OK)
		return archive_failed(s, err);
	s->member = NULL;
	begin = archive_filter_bytes(s->a, 0);
	r = next_header(s);
	if (r == ARCHIVE_EOF) {
		s->member = NULL;
		/* libarchive lets a tar end without its closing zero blocks; a cut one looks the same. */
		if (s->is_tar && archive_filter_bytes(s->a, 0) == begin)
			return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s' ends too early", s->name);
		return UW_OK;
	}
	if (r != ARCHIVE_OK && !is_charset_warning(s, r))
		return archive_failed(s, err);
	return UW_OK;
}

static enum uw_status member_path(struct archive_source *s, const char **path, struct uw_error *err)
{
	locale_t former = uselocale(s->locale);
	const char *p = archive_entry_pathname(s->member);

	uselocale(former);
	if (p == NULL)
		return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s': a name cannot be read", s->name);
	if (strncmp(p, "./", 2) == 0)
		p += 2;
	*path = p;
	return UW_OK;
}

static enum uw_status check_kind(struct archive_source *s, const char *path, struct uw_error *err)
{
	locale_t former = uselocale(s->locale);
	bool hardlink = archive_entry_hardlink(s->member) != NULL;

	uselocale(former);
	if (hardlink || archive_entry_filetype(s->member) == AE_IFLNK)
		return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s': '%s' is a link", s->name, path);
	if (archive_entry_filetype(s->member) != AE_IFREG)
		return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s': '%s' is no regular file", s->name, path);
	return UW_OK;
}

/* Copies a new path into the tree, which then owns it. */
static enum uw_status add_path(struct archive_source *s, const char *path, const char **kept, struct uw_error *err)
{
	char *copy, **node;

	if (++s->npaths > UW_SOURCE_MAX_FILES)
		return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "too many files in '%s'", s->name);
	copy = strdup(path);
	node = copy ? tsearch(copy, &s->paths, path_order) : NULL;
	if (node == NULL) {
		free(copy);
		return uw_fail_errno(err, ENOMEM, "cannot list '%s'", s->name);
	}
	*kept = *node;
	if (*node == copy)
		return UW_OK;
	free(copy);
	return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s': '%s' %s", s->name, path,
		       strcmp(*kept, path) == 0 ? "is there twice" : "needs the place of another file");
}

static enum uw_status write_at(int fd, const void *data, size_t nbytes, uint64_t off, struct uw_error *err)
{
	const uint8_t *p = data;

	while (nbytes != 0) {
		ssize_t n = pwrite(fd, p, nbytes, (off_t)off);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return uw_fail_errno(err, errno, "cannot write a temporary file");
		p += n;
		off += (uint64_t)n;
		nbytes -= (size_t)n;
	}
	return UW_OK;
}

/* Copies the member's data to the spool and says where they end. Holes are left as holes: sparse tars have them. */
static enum uw_status copy_data(struct archive_source *s, uint64_t limit, uint64_t *nbytes, struct uw_error *err)
{
	bool sparse = archive_entry_sparse_count(s->member) != 0;
	uint64_t pos = 0, end;
	enum uw_status status;
	const void *data;
	int64_t off;
	size_t n;
	int r;

	while ((r = archive_read_data_block(s->a, &data, &n, &off)) == ARCHIVE_OK) {
		if (n == 0)
			continue;
		if (off < 0 || (uint64_t)off < pos || ((uint64_t)off != pos && !sparse) ||
		    !uw_add((uint64_t)off, n, &end) || end > limit)
			return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s': '%s' has not the size it says",
				       s->name, s->entry.path);
		status = write_at(s->spool, data, n, (uint64_t)off, err);
		if (status != UW_OK)
			return status;
		pos = end;
	}
	if (r != ARCHIVE_EOF)
		return archive_failed(s, err);
	*nbytes = sparse ? limit : pos;
	return UW_OK;
}

static enum uw_status spool_member(struct archive_source *s, struct uw_error *err)
{
	bool sized = archive_entry_size_is_set(s->member);
	uint64_t nbytes = 0;
	enum uw_status status;

	s->spool = uw_tmpfile(s->tmp_dir);
	if (s->spool < 0)
		return uw_fail_errno(err, errno, "cannot make a temporary file in '%s'", s->tmp_dir);
	status = copy_data(s, sized ? s->entry.nbytes : INT64_MAX, &nbytes, err);
	if (status != UW_OK)
		return status;
	if (sized && nbytes != s->entry.nbytes)
		return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s': '%s' has not the size it says", s->name,
			       s->entry.path);
	while (ftruncate(s->spool, (off_t)nbytes) != 0) { /* a hole at the end */
		if (errno != EINTR)
			return uw_fail_errno(err, errno, "cannot write a temporary file");
	}
	s->entry.nbytes = nbytes;
	return UW_OK;
}

static enum uw_status take_member(struct archive_source *s, struct uw_error *err)
{
	enum uw_status status;
	const char *path = NULL;

	status = member_path(s, &path, err);
	if (status == UW_OK)
		status = uw_path_check(path, strlen(path), err);
	if (status == UW_OK)
		status = check_kind(s, path, err);
	if (status == UW_OK)
		status = add_path(s, path, &s->entry.path, err);
	if (status != UW_OK)
		return status;
	s->entry.executable = (archive_entry_perm(s->member) & 0100) != 0;
	if (!archive_entry_size_is_set(s->member)) /* a zip that was written to a pipe */
		return spool_member(s, err);
	if (archive_entry_size(s->member) < 0)
		return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "archive '%s': '%s' has no size", s->name, path);
	s->entry.nbytes = (uint64_t)archive_entry_size(s->member);
	return UW_OK;
}

static void spool_close(struct archive_source *s)
{
	if (s->spool >= 0)
		close(s->spool);
	s->spool = -1;
}

/* ---- reading the archive itself ---- */

/* A signal does not end read(2), which starts again; poll(2) it ends, and between both there is the timeout. */
static la_ssize_t read_block(struct archive *a, void *ctx, const void **data)
{
	struct archive_source *s = ctx;
	struct pollfd ready = { .fd = s->fd, .events = POLLIN };
	ssize_t n;

	*data = s->block;
	for (;;) {
		if (s->base.cancelled != NULL && s->base.cancelled(s->base.watch_ctx)) {
			archive_set_error(a, ECANCELED, "cancelled");
			return ARCHIVE_FATAL;
		}
		if (poll(&ready, 1, 100) <= 0)
			continue;
		n = read(s->fd, s->block, READ_NBYTES);
		if (n >= 0)
			return n;
		if (errno != EINTR && errno != EAGAIN) {
			archive_set_error(a, errno, "read");
			return ARCHIVE_FATAL;
		}
	}
}

static la_int64_t seek_block(struct archive *a, void *ctx, la_int64_t off, int whence)
{
	struct archive_source *s = ctx;
	off_t pos = lseek(s->fd, off, whence);

	if (pos >= 0)
		return pos;
	archive_set_error(a, errno, "seek");
	return ARCHIVE_FATAL;
}

/* A zip on disk is read by its directory at the end, which alone knows kinds and modes; without one it is damaged.
 * From a pipe there is only what stands before each member. */
static bool is_zip_on_disk(int fd)
{
	char magic[4];

	return pread(fd, magic, 4, 0) == 4 && (memcmp(magic, "PK\3\4", 4) == 0 || memcmp(magic, "PK\5\6", 4) == 0);
}

static enum uw_status start_reading(struct archive_source *s, struct uw_error *err)
{
	bool zip = is_zip_on_disk(s->fd);
	int r;

	s->locale = newlocale(LC_ALL_MASK, zip ? "C.UTF-8" : "C", (locale_t)0);
	if (s->locale == (locale_t)0) /* then names beyond ASCII are refused */
		s->locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
	s->a = archive_read_new();
	s->block = malloc(READ_NBYTES);
	if (s->locale == (locale_t)0 || s->a == NULL || s->block == NULL)
		return uw_fail_errno(err, ENOMEM, "cannot open '%s'", s->name);
	if (zip) {
		r = archive_read_support_format_zip_seekable(s->a);
	} else {
		/* ARCHIVE_WARN: the library was built without one of them and would call a program instead */
		r = archive_read_support_filter_gzip(s->a) | archive_read_support_filter_zstd(s->a) |
		    archive_read_support_filter_xz(s->a) | archive_read_support_format_tar(s->a) |
		    archive_read_support_format_zip_streamable(s->a);
	}
	/* Read on behind the closing zero blocks: what stands there must not be lost, and filters check themselves at
	 * their end. */
	if (r == ARCHIVE_OK && !zip)
		r = archive_read_set_format_option(s->a, "tar", "read_concatenated_archives", "1");
	if (r != ARCHIVE_OK)
		return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "libarchive lacks gzip, zstd, xz or zip");
	if (zip)
		archive_read_set_seek_callback(s->a, seek_block);
	archive_read_set_read_callback(s->a, read_block);
	archive_read_set_callback_data(s->a, s);
	return archive_read_open1(s->a) == ARCHIVE_OK ? UW_OK : archive_failed(s, err);
}

/* ---- members ---- */

static enum uw_status archive_next(struct uw_source *source, const struct uw_entry **entry, struct uw_error *err)
{
	struct archive_source *s = (struct archive_source *)source;
	enum uw_status status;

	spool_close(s);
	if (!s->started) {
		s->started = true;
		status = start_reading(s, err);
		if (status != UW_OK)
			return status;
	}
	do {
		status = next_member(s, err);
		if (status != UW_OK)
			return status;
	} while (s->member != NULL && archive_entry_filetype(s->member) == AE_IFDIR);
	*entry = NULL;
	if (s->member == NULL)
		return UW_OK;
	status = take_member(s, err);
	if (status == UW_OK)
		*entry = &s->entry;
	return status;
}

static enum uw_status archive_open(struct uw_source *source, struct uw_blob *blob, struct uw_error *err)
{
	struct archive_source *s = (struct archive_source *)source;
	enum uw_status status = UW_OK;

	if (s->member == NULL)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "no current entry");
	if (s->spool < 0)
		status = spool_member(s, err);
	return status == UW_OK ? uw_blob_of_fd(&s->spool, blob, err) : status;
}

static void archive_close(struct uw_source *source)
{
	struct archive_source *s = (struct archive_source *)source;

	spool_close(s);
	archive_read_free(s->a);
	if (s->fd >= 0)
		close(s->fd);
	free(s->block);
	tdestroy(s->paths, free);
	if (s->locale != (locale_t)0)
		freelocale(s->locale);
	free(s->tmp_dir);
	free(s->name);
	free(s);
}

static const struct uw_source_ops archive_ops = { archive_next, archive_open, NULL, archive_close };

enum uw_status uw_source_open_archive(int fd, const char *path, const char *tmp_dir, struct uw_source **source,
				      struct uw_error *err)
{
	struct archive_source *s = calloc(1, sizeof(*s));
	enum uw_status status;

	if (s == NULL)
		return uw_fail_errno(err, ENOMEM, "cannot open '%s'", path);
	s->base.ops = &archive_ops;
	s->spool = -1;
	s->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	s->name = strdup(path);
	s->tmp_dir = strdup(tmp_dir);
	if (s->name == NULL || s->tmp_dir == NULL)
		status = uw_fail_errno(err, ENOMEM, "cannot open '%s'", path);
	else if (s->fd < 0)
		status = uw_fail_errno(err, errno, "cannot open '%s'", path);
	else
		status = UW_OK;
	if (status != UW_OK) {
		archive_close(&s->base);
		return status;
	}
	*source = &s->base;
	return UW_OK;
}
