/* SPDX-License-Identifier: Apache-2.0 */
/* A sink for a tar or zip: the same files in the same order give the same bytes, in any locale and at any time. */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "sink_private.h"
#include "source.h"

enum { BLOCK_NBYTES = 1 << 20 }; /* libarchive's own 10 KiB means 100 system calls where one does */

struct archive_sink {
	struct uw_sink base;
	struct uw_target target; /* not used for standard output */
	struct uw_outfile file;
	struct archive *archive;
	struct archive_entry *entry;
	locale_t utf8;           /* (locale_t)0 if this system has none */
	enum uw_phase phase;
	enum uw_replace replace;
	bool to_stdout;
	uint64_t left;           /* bytes that the current file still needs */
	void *paths;             /* tree of the paths so far, and of their folders with a '/' at the end */
	bool broken;             /* writing failed: *failure says how, and nothing is written any more */
	struct uw_error failure;
	bool aborted;            /* by close without commit */
};

/* A failure is kept for us to find: libarchive would lose its buffers over it. Only an abort is told, so that it
 * does not first fill up a member of many gigabytes. */
static la_ssize_t write_block(struct archive *a, void *ctx, const void *data, size_t nbytes)
{
	struct archive_sink *s = ctx;

	if (s->aborted) {
		archive_set_error(a, ECANCELED, "aborted");
		return -1;
	}
	if (!s->broken)
		s->broken = uw_outfile_write(&s->file, data, nbytes, &s->failure) != UW_OK;
	return (la_ssize_t)nbytes;
}

static enum uw_status fail_archive(struct archive_sink *s, const char *what, struct uw_error *err)
{
	const char *text = archive_error_string(s->archive);

	if (s->broken) {
		if (err != NULL)
			*err = s->failure;
		return s->failure.status;
	}
	if (archive_errno(s->archive) == ENOMEM || text == NULL) /* it is silent where it lacks memory */
		return uw_fail_errno(err, ENOMEM, "%s", what);
	return uw_fail(err, UW_ERR_IO, UW_NO_OFFSET, "%s: %s", what, text);
}

/* libarchive converts names from the thread's locale: ours is UTF-8 while it does. */
static locale_t enter_utf8(const struct archive_sink *s)
{
	return s->utf8 != (locale_t)0 ? uselocale(s->utf8) : (locale_t)0;
}

static void leave_utf8(locale_t before)
{
	if (before != (locale_t)0)
		uselocale(before);
}

static bool is_ascii(const char *s)
{
	while (*s != '\0' && (unsigned char)*s < 0x80)
		s++;
	return *s == '\0';
}

static int compare_paths(const void *a, const void *b)
{
	return strcmp(a, b);
}

/* Adds path[0 .. n) to the tree; *known tells that it was there. False: out of memory. */
static bool remember(struct archive_sink *s, const char *path, size_t n, bool *known)
{
	char *copy = strndup(path, n);
	char **node = copy != NULL ? tsearch(copy, &s->paths, compare_paths) : NULL;

	*known = node != NULL && *node != copy;
	if (node == NULL || *known)
		free(copy);
	return node != NULL;
}

/* Refuses what a folder could not hold: a path twice, or a file where another path needs a folder. */
static enum uw_status claim_path(struct archive_sink *s, const char *path, struct uw_error *err)
{
	char as_folder[4096 + 2];
	bool known;

	if (snprintf(as_folder, sizeof(as_folder), "%s/", path) >= (int)sizeof(as_folder))
		return uw_fail(err, UW_ERR_PATH, UW_NO_OFFSET, "path too long");
	if (tfind(as_folder, &s->paths, compare_paths) != NULL)
		return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "a folder is in the way of '%s'", path);
	for (char *slash = strchr(as_folder, '/'); slash != NULL && slash[1] != '\0'; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (tfind(as_folder, &s->paths, compare_paths) != NULL)
			return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "a file is in the way of '%s'", path);
		*slash = '/';
		if (!remember(s, as_folder, (size_t)(slash - as_folder) + 1, &known))
			return uw_fail_errno(err, ENOMEM, "'%s'", path);
	}
	if (!remember(s, path, strlen(path), &known))
		return uw_fail_errno(err, ENOMEM, "'%s'", path);
	return known ? uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "'%s' twice in one archive", path) : UW_OK;
}

static enum uw_status write_header(struct archive_sink *s, const char *path, uint64_t nbytes, bool executable,
				   struct uw_error *err)
{
	locale_t before = enter_utf8(s);
	int rc;

	archive_entry_clear(s->entry);
	archive_entry_copy_pathname(s->entry, path);
	archive_entry_set_filetype(s->entry, AE_IFREG);
	archive_entry_set_perm(s->entry, executable ? 0755 : 0644);
	archive_entry_set_size(s->entry, (la_int64_t)nbytes);
	archive_entry_set_mtime(s->entry, 0, 0);
	archive_entry_set_uid(s->entry, 0);
	archive_entry_set_gid(s->entry, 0);
	rc = archive_write_header(s->archive, s->entry);
	leave_utf8(before);
	/* A warning says that something, most likely the name, is not in the archive as it was given. */
	return rc == ARCHIVE_OK && !s->broken ? UW_OK : fail_archive(s, "cannot write an archive member", err);
}

static enum uw_status start(struct archive_sink *s, const char *path, uint64_t nbytes, bool executable,
			    struct uw_error *err)
{
	enum uw_status status = uw_path_check(path, strlen(path), err);

	if (status == UW_OK && nbytes > INT64_MAX)
		status = uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "an archive needs the size of '%s' in advance", path);
	if (status == UW_OK && s->utf8 == (locale_t)0 && !is_ascii(path))
		status = uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "no UTF-8 locale here for the name '%s'", path);
	if (status == UW_OK)
		status = claim_path(s, path, err);
	s->left = nbytes;
	return status == UW_OK ? write_header(s, path, nbytes, executable, err) : status;
}

static enum uw_status archive_begin(struct uw_sink *sink, const char *path, uint64_t nbytes, bool executable,
				    struct uw_error *err)
{
	struct archive_sink *s = (struct archive_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_IDLE, err);

	if (status == UW_OK)
		status = start(s, path, nbytes, executable, err);
	return uw_phase_move(&s->phase, UW_PHASE_FILE, status);
}

static enum uw_status add_data(struct archive_sink *s, const char *p, size_t nbytes, struct uw_error *err)
{
	if (nbytes > s->left)
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "more bytes than announced");
	s->left -= nbytes;
	while (nbytes > 0) {
		la_ssize_t n = archive_write_data(s->archive, p, nbytes);

		if (n <= 0 || s->broken)
			return fail_archive(s, "cannot write an archive member", err);
		p += n;
		nbytes -= (size_t)n;
	}
	return UW_OK;
}

static enum uw_status archive_sink_write(struct uw_sink *sink, const void *data, size_t nbytes, struct uw_error *err)
{
	struct archive_sink *s = (struct archive_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_FILE, err);

	if (status == UW_OK)
		status = add_data(s, data, nbytes, err);
	return uw_phase_move(&s->phase, UW_PHASE_FILE, status);
}

static enum uw_status archive_end(struct uw_sink *sink, struct uw_error *err)
{
	struct archive_sink *s = (struct archive_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_FILE, err);

	if (status == UW_OK && s->left != 0)
		status = uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "fewer bytes than announced");
	if (status == UW_OK && (archive_write_finish_entry(s->archive) != ARCHIVE_OK || s->broken))
		status = fail_archive(s, "cannot write an archive member", err);
	return uw_phase_move(&s->phase, UW_PHASE_IDLE, status);
}

static enum uw_status finish(struct archive_sink *s, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	if (archive_write_close(s->archive) != ARCHIVE_OK || s->broken)
		return fail_archive(s, "cannot finish the archive", err);
	if (!s->to_stdout)
		status = uw_outfile_end(&s->file, err);
	if (status == UW_OK && !s->to_stdout)
		status = uw_target_publish_file(&s->target, s->replace != UW_REPLACE_NEVER, err);
	return status;
}

static enum uw_status archive_commit(struct uw_sink *sink, struct uw_error *err)
{
	struct archive_sink *s = (struct archive_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_IDLE, err);

	if (status == UW_OK)
		status = finish(s, err);
	return uw_phase_move(&s->phase, UW_PHASE_DONE, status);
}

static void archive_sink_close(struct uw_sink *sink)
{
	struct archive_sink *s = (struct archive_sink *)sink;

	if (s->archive != NULL) {
		/* Else free would write an end that makes half an archive on standard output look whole. */
		s->aborted = true;
		archive_write_free(s->archive);
	}
	archive_entry_free(s->entry);
	uw_outfile_drop(&s->file);
	if (!s->to_stdout)
		uw_target_close(&s->target);
	if (s->utf8 != (locale_t)0)
		freelocale(s->utf8);
	tdestroy(s->paths, free);
	free(s);
}

/* The first UTF-8 locale there is. Only its character set matters. */
static locale_t open_utf8(void)
{
	static const char *const names[] = {"C.UTF-8", "C.utf8", "en_US.UTF-8"};
	locale_t utf8 = (locale_t)0;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]) && utf8 == (locale_t)0; i++)
		utf8 = newlocale(LC_CTYPE_MASK, names[i], (locale_t)0);
	return utf8;
}

static int set_format(struct archive *a, enum uw_archive_kind kind)
{
	int rc = kind == UW_ARCHIVE_ZIP ? archive_write_set_format_zip(a) : archive_write_set_format_pax_restricted(a);

	if (rc == ARCHIVE_OK && kind == UW_ARCHIVE_TAR_GZ) {
		rc = archive_write_add_filter_gzip(a);
		if (rc == ARCHIVE_OK)
			rc = archive_write_set_filter_option(a, "gzip", "timestamp", NULL);
	}
	if (rc == ARCHIVE_OK && kind == UW_ARCHIVE_TAR_ZST)
		rc = archive_write_add_filter_zstd(a);
	if (rc == ARCHIVE_OK && kind == UW_ARCHIVE_ZIP)
		rc = archive_write_set_format_option(a, "zip", "hdrcharset", "UTF-8");
	/* No padding at the end: a file and a pipe get the same bytes. */
	if (rc == ARCHIVE_OK)
		rc = archive_write_set_bytes_per_block(a, BLOCK_NBYTES);
	if (rc == ARCHIVE_OK)
		rc = archive_write_set_bytes_in_last_block(a, 1);
	return rc;
}

static enum uw_status open_archive(struct archive_sink *s, enum uw_archive_kind kind, struct uw_error *err)
{
	locale_t before;
	int rc;

	s->utf8 = open_utf8();
	s->entry = archive_entry_new();
	s->archive = archive_write_new();
	if (s->entry == NULL || s->archive == NULL)
		return uw_fail_errno(err, ENOMEM, "archive");
	before = enter_utf8(s);
	rc = set_format(s->archive, kind);
	if (rc == ARCHIVE_OK)
		rc = archive_write_open(s->archive, s, NULL, write_block, NULL);
	leave_utf8(before);
	return rc == ARCHIVE_OK && !s->broken ? UW_OK : fail_archive(s, "cannot start the archive", err);
}

static enum uw_status open_output(struct archive_sink *s, const char *path, struct uw_error *err)
{
	bool replace = s->replace != UW_REPLACE_NEVER;
	enum uw_status status;
	int fd;

	if (s->to_stdout && !replace && isatty(STDOUT_FILENO))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "refusing to write an archive to a terminal");
	if (s->to_stdout) {
		fd = uw_stdout_open();
		s->file = (struct uw_outfile){.fd = fd, .nbytes = UW_SIZE_UNKNOWN};
		return fd >= 0 ? UW_OK : uw_fail_errno(err, errno, "standard output");
	}
	status = uw_target_open_file(&s->target, path, replace, err);
	if (status == UW_OK)
		status = uw_target_create_file(&s->target, 0644, &fd, err);
	return status == UW_OK ? uw_outfile_begin(&s->file, fd, UW_SIZE_UNKNOWN, err) : status;
}

enum uw_status uw_sink_open_archive(const char *path, enum uw_archive_kind kind, enum uw_replace replace,
				    struct uw_sink **sink, struct uw_error *err)
{
	static const struct uw_sink_ops ops = {archive_begin, archive_sink_write, archive_end, archive_commit,
					       archive_sink_close};
	struct archive_sink *s = calloc(1, sizeof(*s));
	enum uw_status status;

	if (s == NULL)
		return uw_fail_errno(err, ENOMEM, "output");
	s->base.ops = &ops;
	s->file.fd = s->target.dir_fd = -1;
	s->replace = replace;
	s->to_stdout = strcmp(path, "-") == 0;
	status = open_output(s, path, err);
	if (status == UW_OK)
		status = open_archive(s, kind, err);
	if (status != UW_OK) {
		archive_sink_close(&s->base);
		return status;
	}
	*sink = &s->base;
	return UW_OK;
}
