/* SPDX-License-Identifier: Apache-2.0 */
/* Where the members of a tar lie. libarchive reads the headers; the bytes are then read in place. Names are bytes: in
 * the C locale they come through as they are, those that a pax header declares UTF-8 with a warning. */
#include "bundle_tar.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "path.h"

static enum uw_status add_member(struct uw_bundle *bundle, const char *path, uint64_t off, uint64_t nbytes,
				 struct uw_error *err)
{
	uint64_t n = bundle->nmembers;
	char *copy = strdup(path);

	if (copy != NULL && (n & (n - 1)) == 0) {
		struct uw_tar_member *members =
			realloc(bundle->members, (size_t)(n == 0 ? 1 : 2 * n) * sizeof(*members));

		if (members == NULL) {
			free(copy);
			copy = NULL;
		} else {
			bundle->members = members;
		}
	}
	if (copy == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tar index");
	bundle->members[n] = (struct uw_tar_member){ copy, off, nbytes };
	bundle->nmembers++;
	return UW_OK;
}

static enum uw_status index_entry(struct uw_bundle *bundle, struct archive *a, struct archive_entry *entry,
				  struct uw_error *err)
{
	const char *path = archive_entry_pathname(entry);
	uint64_t off = (uint64_t)archive_filter_bytes(a, 0); /* consumed so far: the headers */
	enum uw_status status;

	if (path == NULL)
		return uw_fail(err, UW_ERR_LAYOUT, off, "a tar member has no path");
	if (strncmp(path, "./", 2) == 0)
		path += 2;
	if (archive_entry_filetype(entry) == AE_IFDIR)
		return UW_OK;
	if (archive_entry_filetype(entry) != AE_IFREG || archive_entry_hardlink(entry) != NULL ||
	    archive_entry_sparse_count(entry) > 0 || !archive_entry_size_is_set(entry))
		return uw_fail(err, UW_ERR_LAYOUT, off, "tar member '%s' is not a plain file", path);
	status = uw_path_check(path, strlen(path), err);
	return status == UW_OK ? add_member(bundle, path, off, (uint64_t)archive_entry_size(entry), err) : status;
}

static int compare_members(const void *a, const void *b)
{
	const struct uw_tar_member *x = a, *y = b;

	return strcmp(x->path, y->path);
}

/* The tar as libarchive reads it: a page at a time, since only headers are wanted; it skips what lies between. */
struct input {
	const struct uw_blob *blob;
	uint64_t off;
	struct uw_error *err;
	enum uw_status status; /* of a failed read */
	uint8_t page[4096];
};

static la_ssize_t read_page(struct archive *a, void *ctx, const void **data)
{
	struct input *in = ctx;
	uint64_t left = in->blob->nbytes - in->off;
	size_t n = left < sizeof(in->page) ? (size_t)left : sizeof(in->page);

	in->status = uw_blob_read(in->blob, in->page, n, in->off, in->err);
	if (in->status != UW_OK) {
		archive_set_error(a, EIO, "cannot read");
		return -1;
	}
	in->off += n;
	*data = in->page;
	return (la_ssize_t)n;
}

static la_int64_t skip_ahead(struct archive *a, void *ctx, la_int64_t n)
{
	struct input *in = ctx;
	uint64_t left = in->blob->nbytes - in->off;

	if (n < 0)
		return 0;
	if ((uint64_t)n > left)
		n = (la_int64_t)left;
	in->off += (uint64_t)n;
	return n;
}

static enum uw_status index_all(struct uw_bundle *bundle, struct archive *a, struct uw_error *err)
{
	struct input in = { .blob = &bundle->blob, .err = err };
	struct archive_entry *entry;
	enum uw_status status = UW_OK;
	int r = archive_read_open2(a, &in, NULL, read_page, skip_ahead, NULL);

	while (r >= ARCHIVE_WARN && status == UW_OK) {
		r = archive_read_next_header(a, &entry);
		if (r == ARCHIVE_EOF)
			break;
		if (r >= ARCHIVE_WARN)
			status = index_entry(bundle, a, entry, err);
	}
	if (in.status != UW_OK)
		return in.status;
	if (status == UW_OK && r < ARCHIVE_WARN && archive_errno(a) == ENOMEM)
		return uw_fail_errno(err, ENOMEM, "tar");
	if (status == UW_OK && r < ARCHIVE_WARN)
		status = uw_fail(err, UW_ERR_FORMAT, (uint64_t)archive_filter_bytes(a, 0), "tar: %s",
				 archive_error_string(a) != NULL ? archive_error_string(a) : "damaged");
	return status;
}

enum uw_status uw_bundle_tar_index(struct uw_bundle *bundle, struct uw_error *err)
{
	locale_t c = newlocale(LC_ALL_MASK, "C", (locale_t)0), former;
	struct archive *a = archive_read_new();
	enum uw_status status;

	if (a == NULL || c == (locale_t)0) {
		archive_read_free(a);
		if (c != (locale_t)0)
			freelocale(c);
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tar");
	}
	former = uselocale(c);
	archive_read_support_format_tar(a);
	status = index_all(bundle, a, err);
	archive_read_free(a);
	uselocale(former);
	freelocale(c);
	if (status != UW_OK || bundle->nmembers == 0)
		return status;
	qsort(bundle->members, (size_t)bundle->nmembers, sizeof(*bundle->members), compare_members);
	for (uint64_t i = 1; i < bundle->nmembers; i++) {
		if (strcmp(bundle->members[i - 1].path, bundle->members[i].path) == 0)
			return uw_fail(err, UW_ERR_LAYOUT, bundle->members[i].off, "tar member '%s' stands twice",
				       bundle->members[i].path);
	}
	return UW_OK;
}
