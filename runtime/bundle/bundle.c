/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_tar.h"

/* ---- what a file is ---- */

enum kind { KIND_NONE, KIND_FOLDER, KIND_TAR, KIND_BARE };

static const uint8_t container_magic[8] = { 0x89, 'U', 'W', 'C', '\r', '\n', 0x1A, '\n' };

/* As uw_blob_read; *whole false: the file ends before. */
static enum uw_status read_head(const struct uw_blob *blob, void *head, size_t n, uint64_t off, bool *whole,
				struct uw_error *err)
{
	*whole = off <= blob->nbytes && n <= blob->nbytes - off;
	return *whole ? uw_blob_read(blob, head, n, off, err) : UW_OK;
}

/* The manifest is the first member of a bundle's tar, perhaps behind pax headers, which other programs write for its
 * times. */
static enum uw_status is_tar_of_manifest(const struct uw_blob *blob, bool *is, struct uw_error *err)
{
	uint64_t off = 0;

	*is = false;
	for (int i = 0; i < 3; i++) {
		char head[512];
		bool whole;
		enum uw_status status = read_head(blob, head, sizeof(head), off, &whole, err);

		if (status != UW_OK || !whole || memcmp(head + 257, "ustar", 5) != 0)
			return status;
		if (head[156] != 'x' && head[156] != 'g') {
			*is = strcmp(strncmp(head, "./", 2) == 0 ? head + 2 : head, UW_MANIFEST_NAME) == 0;
			return UW_OK;
		}
		head[136] = '\0'; /* ends the size, 11 octal digits at 124 */
		off += 512 + ((strtoul(head + 124, NULL, 8) + 511) & ~511ul);
	}
	return UW_OK;
}

static enum uw_status kind_of_blob(const struct uw_blob *blob, enum kind *kind, struct uw_error *err)
{
	uint8_t head[sizeof(container_magic)];
	bool whole, tar = false;
	enum uw_status status = read_head(blob, head, sizeof(head), 0, &whole, err);

	*kind = KIND_NONE;
	if (status != UW_OK || !whole)
		return status;
	if (memcmp(head, container_magic, sizeof(head)) == 0)
		*kind = KIND_BARE;
	else if ((status = is_tar_of_manifest(blob, &tar, err)) == UW_OK && tar)
		*kind = KIND_TAR;
	return status;
}

/* *blob borrows *fd if it is a file. */
static enum uw_status kind_of_fd(int *fd, struct uw_blob *blob, enum kind *kind, struct uw_error *err)
{
	struct stat st;
	enum uw_status status;

	*kind = KIND_NONE;
	if (fstat(*fd, &st) != 0)
		return uw_fail_errno(err, errno, "bundle");
	if (S_ISREG(st.st_mode)) {
		status = uw_blob_of_fd(fd, blob, err);
		return status == UW_OK ? kind_of_blob(blob, kind, err) : status;
	}
	if (!S_ISDIR(st.st_mode))
		return UW_OK;
	if (fstatat(*fd, UW_MANIFEST_NAME, &st, 0) != 0)
		return errno == ENOENT ? UW_OK : uw_fail_errno(err, errno, UW_MANIFEST_NAME);
	if (S_ISREG(st.st_mode))
		*kind = KIND_FOLDER;
	return UW_OK;
}

static int open_readable(int dir, const char *path)
{
	return openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe in its place must not stop us */
}

enum uw_status uw_bundle_probe(const char *path, bool *is_bundle, struct uw_error *err)
{
	int fd = open_readable(AT_FDCWD, path);
	struct uw_blob blob;
	enum kind kind;
	enum uw_status status;

	*is_bundle = false;
	if (fd < 0)
		return uw_fail_errno(err, errno, "open");
	status = kind_of_fd(&fd, &blob, &kind, err);
	close(fd);
	*is_bundle = kind != KIND_NONE;
	return status;
}

/* ---- stored files ---- */

static enum uw_status stored_pread(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	const struct uw_stored *stored = ctx;

	return uw_blob_read(&stored->file, dst, nbytes, stored->base + off, err);
}

static int compare_path(const void *key, const void *member)
{
	return strcmp(key, ((const struct uw_tar_member *)member)->path);
}

static enum uw_status open_member(const struct uw_bundle *bundle, const char *path, struct uw_stored *stored,
				  struct uw_error *err)
{
	const struct uw_tar_member *member = NULL;

	if (bundle->nmembers != 0)
		member = bsearch(path, bundle->members, (size_t)bundle->nmembers, sizeof(*member), compare_path);
	if (member == NULL)
		return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "'%s' is missing in the bundle", path);
	stored->fd = bundle->fd;
	stored->base = member->off;
	stored->file = bundle->blob;
	if (member->off > stored->file.nbytes || member->nbytes > stored->file.nbytes - member->off)
		return uw_fail(err, UW_ERR_TRUNCATED, stored->file.nbytes, "the tar ends inside '%s'", path);
	stored->blob = (struct uw_blob){ stored_pread, stored, member->nbytes };
	return UW_OK;
}

static enum uw_status open_in_folder(const struct uw_bundle *bundle, const char *path, struct uw_stored *stored,
				     struct uw_error *err)
{
	enum uw_status status;

	stored->fd = open_readable(bundle->fd, path);
	if (stored->fd < 0)
		return uw_fail_errno(err, errno, "'%s' in the bundle", path);
	stored->own_fd = true;
	status = uw_blob_of_fd(&stored->fd, &stored->file, err);
	if (status == UW_ERR_ARG)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "'%s' in the bundle is not a regular file", path);
	stored->blob = (struct uw_blob){ stored_pread, stored, stored->file.nbytes };
	return status;
}

static enum uw_status open_path(const struct uw_bundle *bundle, const char *path, struct uw_stored *stored,
				struct uw_error *err)
{
	*stored = (struct uw_stored){ .fd = -1 };
	if (bundle->bare) {
		stored->fd = bundle->fd;
		stored->blob = stored->file = bundle->blob;
		return UW_OK;
	}
	return bundle->tar ? open_member(bundle, path, stored, err) : open_in_folder(bundle, path, stored, err);
}

enum uw_status uw_bundle_corruption(enum uw_status status, struct uw_error *err)
{
	if (status == UW_ERR_NOT_FOUND)
		status = UW_ERR_TRUNCATED;
	else if (status == UW_ERR_FORMAT || status == UW_ERR_PATH)
		status = UW_ERR_LAYOUT;
	if (status != UW_OK && err != NULL)
		err->status = status;
	return status;
}

enum uw_status uw_bundle_stored_open(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
				     struct uw_stored *stored, struct uw_error *err)
{
	uint64_t want = file->container ? file->id.nbytes : file->nbytes;
	char *path = uw_manifest_stored_path(file);
	enum uw_status status;

	*stored = (struct uw_stored){ .fd = -1 };
	if (path == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "opening '%s'", file->path);
	status = uw_bundle_corruption(open_path(bundle, path, stored, err), err);
	if (status == UW_OK && !bundle->bare && stored->blob.nbytes != want)
		status = uw_fail(err, stored->blob.nbytes < want ? UW_ERR_TRUNCATED : UW_ERR_LAYOUT,
				 stored->blob.nbytes, "'%s' has %llu bytes instead of %llu", path,
				 (unsigned long long)stored->blob.nbytes, (unsigned long long)want);
	free(path);
	if (status != UW_OK)
		uw_stored_close(stored);
	return status;
}

void uw_stored_close(struct uw_stored *stored)
{
	if (stored->own_fd)
		close(stored->fd);
	stored->own_fd = false;
	stored->fd = -1;
}

static bool has_base_of(const struct uw_bundle *bundle, const struct uw_index *index)
{
	return !index->base.needed || uw_base_id_equal(&index->base, &bundle->manifest.base);
}

enum uw_status uw_bundle_file_open(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
				   struct uw_bundle_file *opened, struct uw_error *err)
{
	enum uw_status status = uw_bundle_stored_open(bundle, file, &opened->stored, err);
	const struct uw_container_id *id;

	opened->is_container = file->container;
	opened->container = (struct uw_container){ 0 };
	opened->source = opened->stored.blob;
	if (status != UW_OK || !file->container)
		return status;
	/* the index lies at the end: reading ahead would only fetch payload that nobody asked for yet */
	(void)posix_fadvise(opened->stored.fd, 0, 0, POSIX_FADV_RANDOM);
	status = uw_container_open(&opened->stored.blob, bundle->ops, &opened->container, err);
	(void)posix_fadvise(opened->stored.fd, 0, 0, POSIX_FADV_NORMAL);
	if (status == UW_OK && !bundle->bare) {
		id = &opened->container.index->id;
		if (memcmp(id->index_xxh64, file->id.index_xxh64, sizeof(id->index_xxh64)) != 0 ||
		    opened->container.index->src_nbytes != file->nbytes)
			status = uw_fail(err, UW_ERR_CHECKSUM, opened->container.index->index_off,
					 "the container is not the one that the manifest names");
		else if (!has_base_of(bundle, opened->container.index))
			status = uw_fail(err, UW_ERR_LAYOUT, opened->container.index->index_off,
					 "the container has another base than the manifest");
	}
	opened->container.base = bundle->base;
	if (status != UW_OK)
		uw_bundle_file_close(opened);
	else
		uw_container_source_blob(&opened->container, &opened->source);
	return status;
}

void uw_bundle_file_close(struct uw_bundle_file *opened)
{
	if (opened->is_container)
		uw_container_close(&opened->container);
	uw_stored_close(&opened->stored);
}

/* ---- the bundle ---- */

static enum uw_status read_manifest(struct uw_bundle *bundle, struct uw_error *err)
{
	struct uw_stored stored;
	enum uw_status status = open_path(bundle, UW_MANIFEST_NAME, &stored, err);
	char *text = NULL;

	if (status == UW_OK && stored.blob.nbytes > UW_MANIFEST_MAX_NBYTES)
		status = uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "the manifest is too large");
	if (status == UW_OK) {
		text = malloc((size_t)stored.blob.nbytes + 1);
		status = text == NULL ? uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "manifest") :
					uw_blob_read(&stored.blob, text, (size_t)stored.blob.nbytes, 0, err);
	}
	if (status == UW_OK)
		status = uw_manifest_parse(text, (size_t)stored.blob.nbytes, &bundle->manifest, err);
	free(text);
	uw_stored_close(&stored);
	return uw_bundle_corruption(status, err);
}

static const char *base_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* A manifest for one container: what its name and its index say. */
static enum uw_status invent_manifest(struct uw_bundle *bundle, struct uw_error *err)
{
	struct uw_manifest_file file = { .container = true };
	char *name = strdup(base_name(bundle->path));
	size_t n = name != NULL ? strlen(name) : 0, suffix = strlen(UW_CONTAINER_SUFFIX);
	struct uw_bundle_file opened;
	enum uw_status status;

	if (name == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "manifest");
	if (n > suffix && strcmp(name + n - suffix, UW_CONTAINER_SUFFIX) == 0)
		name[n - suffix] = '\0';
	file.path = name;
	status = uw_bundle_file_open(bundle, &file, &opened, err);
	if (status == UW_OK) {
		file.nbytes = opened.source.nbytes;
		file.id = opened.container.index->id;
		bundle->manifest.single = true;
		bundle->manifest.base = opened.container.index->base;
		for (uint64_t g = 0; g < opened.container.index->ngroups; g++) {
			if (opened.container.index->groups[g].coding == UW_CODING_P4)
				bundle->manifest.profile = UW_PROFILE_INFERENCE;
		}
		status = uw_manifest_add(&bundle->manifest, &file, err);
		uw_bundle_file_close(&opened);
	}
	free(name);
	return status;
}

static enum uw_status check_stored(const struct uw_bundle *bundle, struct uw_error *err)
{
	for (uint64_t i = 0; i < bundle->manifest.nfiles; i++) {
		struct uw_stored stored;
		enum uw_status status = uw_bundle_stored_open(bundle, &bundle->manifest.files[i], &stored, err);

		if (status != UW_OK)
			return status;
		uw_stored_close(&stored);
	}
	return UW_OK;
}

/* What is left to do when kind, fd and blob are known. */
static enum uw_status open_kind(struct uw_bundle *bundle, enum kind kind, const char *path, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	if (kind == KIND_NONE)
		return uw_fail(err, UW_ERR_MAGIC, UW_NO_OFFSET,
			       "neither a folder with %s, nor a tar that begins with it, nor a container",
			       UW_MANIFEST_NAME);
	bundle->bare = kind == KIND_BARE;
	bundle->tar = kind == KIND_TAR;
	bundle->path = strdup(path);
	if (bundle->path == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "bundle");
	if (bundle->tar)
		status = uw_bundle_corruption(uw_bundle_tar_index(bundle, err), err);
	if (status == UW_OK)
		status = bundle->bare ? invent_manifest(bundle, err) : read_manifest(bundle, err);
	if (status == UW_OK)
		status = check_stored(bundle, err);
	return status;
}

/* Takes over `fd`. */
static enum uw_status open_owned(int fd, const char *path, const struct uw_cpu_ops *ops, struct uw_bundle *bundle,
				 struct uw_error *err)
{
	enum kind kind;
	enum uw_status status;

	*bundle = (struct uw_bundle){ .fd = fd, .ops = ops };
	if (fd < 0)
		return uw_fail_errno(err, errno, "open");
	status = kind_of_fd(&bundle->fd, &bundle->blob, &kind, err);
	return status == UW_OK ? open_kind(bundle, kind, path, err) : status;
}

enum uw_status uw_bundle_open(const char *path, const struct uw_cpu_ops *ops, struct uw_bundle *bundle,
			      struct uw_error *err)
{
	return open_owned(open_readable(AT_FDCWD, path), path, ops, bundle, err);
}

enum uw_status uw_bundle_open_fd(int fd, const struct uw_cpu_ops *ops, struct uw_bundle *bundle, struct uw_error *err)
{
	return open_owned(fcntl(fd, F_DUPFD_CLOEXEC, 0), "", ops, bundle, err);
}

enum uw_status uw_bundle_open_blob(const struct uw_blob *blob, const struct uw_cpu_ops *ops, struct uw_bundle *bundle,
				   struct uw_error *err)
{
	enum kind kind;
	enum uw_status status = kind_of_blob(blob, &kind, err);

	*bundle = (struct uw_bundle){ .fd = -1, .ops = ops, .blob = *blob };
	return status == UW_OK ? open_kind(bundle, kind, "", err) : status;
}

void uw_bundle_close(struct uw_bundle *bundle)
{
	if (bundle->fd >= 0 && bundle->ops != NULL) /* not just zeroed */
		close(bundle->fd);
	for (uint64_t i = 0; i < bundle->nmembers; i++)
		free(bundle->members[i].path);
	free(bundle->members);
	free(bundle->path);
	uw_manifest_free(&bundle->manifest);
	*bundle = (struct uw_bundle){ .fd = -1 };
}

enum uw_status uw_bundle_set_base(struct uw_bundle *bundle, const struct uw_base *base, struct uw_error *err)
{
	char wanted[2 * UW_SHA256_NBYTES + 1], given[2 * UW_SHA256_NBYTES + 1];

	bundle->base = NULL;
	if (!bundle->manifest.base.needed)
		return UW_OK;
	uw_hex(bundle->manifest.base.digest, sizeof(bundle->manifest.base.digest), wanted);
	if (base == NULL)
		return uw_fail(err, UW_ERR_BASE, UW_NO_OFFSET, "needs its base, the model with the digest %s", wanted);
	if (memcmp(base->digest, bundle->manifest.base.digest, sizeof(base->digest)) != 0) {
		uw_hex(base->digest, sizeof(base->digest), given);
		return uw_fail(err, UW_ERR_BASE, UW_NO_OFFSET, "needs the base with the digest %s; given is %s", wanted,
			       given);
	}
	bundle->base = base;
	return UW_OK;
}
