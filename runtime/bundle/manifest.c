/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest.h"

#include <stdlib.h>
#include <string.h>

#include "manifest_text.h"

const char *uw_profile_name(enum uw_profile profile)
{
	return profile == UW_PROFILE_INFERENCE ? "inference" : "distribution";
}

bool uw_manifest_name_taken(const char *path)
{
	size_t n = strlen(path), suffix = strlen(UW_CONTAINER_SUFFIX);

	return strcmp(path, UW_MANIFEST_NAME) == 0 ||
	       (n >= suffix && strcmp(path + n - suffix, UW_CONTAINER_SUFFIX) == 0);
}

char *uw_manifest_stored_path(const struct uw_manifest_file *file)
{
	const char *suffix = file->container ? UW_CONTAINER_SUFFIX : "";
	size_t n = strlen(file->path), nsuffix = strlen(suffix);
	char *path = malloc(n + nsuffix + 1);

	if (path != NULL) {
		memcpy(path, file->path, n);
		memcpy(path + n, suffix, nsuffix + 1);
	}
	return path;
}

enum uw_status uw_manifest_add(struct uw_manifest *manifest, const struct uw_manifest_file *file,
			       struct uw_error *err)
{
	uint64_t n = manifest->nfiles;
	char *path = strdup(file->path);

	/* grows at powers of two */
	if (path != NULL && (n & (n - 1)) == 0) {
		struct uw_manifest_file *files = NULL;

		if (n < SIZE_MAX / 2 / sizeof(*files))
			files = realloc(manifest->files, (size_t)(n == 0 ? 1 : 2 * n) * sizeof(*files));
		if (files == NULL) {
			free(path);
			path = NULL;
		} else {
			manifest->files = files;
		}
	}
	if (path == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "manifest");
	manifest->files[n] = *file;
	manifest->files[n].path = path;
	manifest->nfiles++;
	return UW_OK;
}

static int compare_files(const void *a, const void *b)
{
	const struct uw_manifest_file *x = a, *y = b;

	return strcmp(x->path, y->path);
}

struct uw_manifest_file *uw_manifest_find(const struct uw_manifest *manifest, const char *path)
{
	struct uw_manifest_file key = { .path = (char *)(uintptr_t)path };

	if (manifest->nfiles == 0)
		return NULL;
	return bsearch(&key, manifest->files, (size_t)manifest->nfiles, sizeof(key), compare_files);
}

bool uw_manifest_is_stored(const struct uw_manifest *manifest, const char *path)
{
	const struct uw_manifest_file *file = uw_manifest_find(manifest, path);
	size_t n = strlen(path), suffix = strlen(UW_CONTAINER_SUFFIX);
	char source[UW_MANIFEST_MAX_PATH + 1];

	if (strcmp(path, UW_MANIFEST_NAME) == 0 || (file != NULL && !file->container))
		return true;
	if (n <= suffix || n - suffix > UW_MANIFEST_MAX_PATH || strcmp(path + n - suffix, UW_CONTAINER_SUFFIX) != 0)
		return false;
	memcpy(source, path, n - suffix);
	source[n - suffix] = '\0';
	file = uw_manifest_find(manifest, source);
	return file != NULL && file->container;
}

/* No path twice, no leading folder of one a file of the model or a stored file. The files are sorted. */
static enum uw_status check_tree(const struct uw_manifest *manifest, enum uw_status status, struct uw_error *err)
{
	for (uint64_t i = 0; i < manifest->nfiles; i++) {
		const char *path = manifest->files[i].path;
		char folder[UW_MANIFEST_MAX_PATH + 1];

		if (i > 0 && strcmp(manifest->files[i - 1].path, path) >= 0)
			return uw_fail(err, status, UW_NO_OFFSET,
				       UW_MANIFEST_NAME ": '%s' stands twice or out of order", path);
		for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
			size_t n = (size_t)(slash - path);

			if (n >= sizeof(folder))
				return uw_fail(err, UW_ERR_PATH, UW_NO_OFFSET, UW_MANIFEST_NAME ": a path is too long");
			memcpy(folder, path, n);
			folder[n] = '\0';
			if (uw_manifest_find(manifest, folder) != NULL || uw_manifest_is_stored(manifest, folder))
				return uw_fail(err, status, UW_NO_OFFSET,
					       UW_MANIFEST_NAME ": a folder of '%s' has the name of a file", path);
		}
	}
	return UW_OK;
}

enum uw_status uw_source_digest(const struct uw_manifest *manifest, uint8_t digest[UW_SHA256_NBYTES],
				struct uw_error *err)
{
	struct uw_sha256 sha256;
	enum uw_status status = uw_sha256_init(&sha256, err);

	if (status != UW_OK)
		return status;
	for (uint64_t i = 0; i < manifest->nfiles; i++) {
		char hex[2 * UW_SHA256_NBYTES + 1];

		uw_hex(manifest->files[i].sha256, UW_SHA256_NBYTES, hex);
		uw_sha256_update(&sha256, hex, sizeof(hex) - 1);
		uw_sha256_update(&sha256, "  ", 2);
		uw_sha256_update(&sha256, manifest->files[i].path, strlen(manifest->files[i].path));
		uw_sha256_update(&sha256, "\n", 1);
	}
	return uw_sha256_final(&sha256, digest, err);
}

void uw_manifest_free(struct uw_manifest *manifest)
{
	for (uint64_t i = 0; i < manifest->nfiles; i++)
		free(manifest->files[i].path);
	free(manifest->files);
	*manifest = (struct uw_manifest){ 0 };
}

enum uw_status uw_manifest_render(struct uw_manifest *manifest, char **text, size_t *n, struct uw_error *err)
{
	enum uw_status status;

	if (manifest->nfiles != 0)
		qsort(manifest->files, (size_t)manifest->nfiles, sizeof(*manifest->files), compare_files);
	status = check_tree(manifest, UW_ERR_PATH, err);
	return status == UW_OK ? uw_manifest_write_text(manifest, text, n, err) : status;
}

enum uw_status uw_manifest_parse(const char *text, size_t n, struct uw_manifest *manifest, struct uw_error *err)
{
	enum uw_status status = uw_manifest_read_text(text, n, manifest, err);

	if (status == UW_OK)
		status = check_tree(manifest, UW_ERR_LAYOUT, err);
	if (status != UW_OK)
		uw_manifest_free(manifest);
	return status;
}
