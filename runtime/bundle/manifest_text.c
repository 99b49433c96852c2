/* SPDX-License-Identifier: Apache-2.0 */
#include "manifest_text.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "path.h"

/* Of the bundle: readers of the first one know of no base. */

#define DIGEST_HEAD "\"manifest_sha256\":\""
#define DIGEST_TAIL "\"}\n"
#define DIGEST_NBYTES (sizeof(DIGEST_HEAD) - 1 + 2 * UW_SHA256_NBYTES + sizeof(DIGEST_TAIL) - 1)

static enum uw_status digest_of(const char *text, size_t n, char hex[2 * UW_SHA256_NBYTES + 1], struct uw_error *err)
{
	uint8_t digest[UW_SHA256_NBYTES];
	struct uw_sha256 h;
	enum uw_status status = uw_sha256_init(&h, err);

	if (status != UW_OK)
		return status;
	uw_sha256_update(&h, text, n);
	status = uw_sha256_final(&h, digest, err);
	if (status == UW_OK)
		uw_hex(digest, sizeof(digest), hex);
	return status;
}

/* ---- writing: one file a line, so that a person can read and diff it ---- */

bool uw_manifest_write_file(FILE *f, const struct uw_manifest_file *file)
{
	char sha256[2 * UW_SHA256_NBYTES + 1], index[17];
	json_t *path = json_string(file->path);
	int head, tail;
	char *quoted = path != NULL ? json_dumps(path, JSON_ENCODE_ANY) : NULL;

	json_decref(path);
	if (quoted == NULL)
		return false;
	uw_hex(file->sha256, sizeof(file->sha256), sha256);
	uw_hex(file->id.index_xxh64, sizeof(file->id.index_xxh64), index);
	head = fprintf(f, "{\"path\":%s,\"size\":%" PRIu64 ",\"sha256\":\"%s\",\"executable\":%s,\"container\":",
		quoted, file->nbytes, sha256, file->executable ? "true" : "false");
	if (file->container)
		tail = fprintf(f, "{\"size\":%" PRIu64 ",\"index_xxh3\":\"%s\"}}", file->id.nbytes, index);
	else
		tail = fputs("null}", f);
	free(quoted);
	return head >= 0 && tail >= 0;
}

static enum uw_status fail_nomem(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "manifest");
}

enum uw_status uw_manifest_seal(FILE *f, bool whole, char **text, size_t *n, struct uw_error *err)
{
	char hex[2 * UW_SHA256_NBYTES + 1], *end;
	enum uw_status status;

	if (fclose(f) != 0 || !whole || *text == NULL)
		return fail_nomem(err);
	status = digest_of(*text, *n, hex, err);
	if (status != UW_OK)
		return status;
	end = realloc(*text, *n + DIGEST_NBYTES + 1);
	if (end == NULL)
		return fail_nomem(err);
	*text = end;
	snprintf(end + *n, DIGEST_NBYTES + 1, DIGEST_HEAD "%s" DIGEST_TAIL, hex);
	*n += DIGEST_NBYTES;
	return UW_OK;
}

enum uw_status uw_manifest_write_text(const struct uw_manifest *manifest, char **text, size_t *n,
				      struct uw_error *err)
{
	FILE *f = open_memstream(text, n);
	char base[2 * UW_SHA256_NBYTES + 1];
	bool whole;

	if (f == NULL)
		return fail_nomem(err);
	whole = fprintf(f, "{\"unweight_bundle\":%d,\n\"profile\":\"%s\",\n\"source\":\"%s\",\n",
			manifest->base.needed ? UW_MANIFEST_VERSION_BASED : UW_MANIFEST_VERSION,
			uw_profile_name(manifest->profile), manifest->single ? "file" : "folder") >= 0;
	if (manifest->base.needed) {
		uw_hex(manifest->base.digest, sizeof(manifest->base.digest), base);
		whole &= fprintf(f, "\"base\":{\"source_sha256\":\"%s\"},\n", base) >= 0;
	}
	whole &= fputs("\"files\":[", f) >= 0;
	for (uint64_t i = 0; i < manifest->nfiles; i++) {
		whole &= fputs(i == 0 ? "\n" : ",\n", f) >= 0;
		whole &= uw_manifest_write_file(f, &manifest->files[i]);
	}
	whole &= fputs("],\n", f) >= 0;
	return uw_manifest_seal(f, whole, text, n, err);
}

/* ---- reading ---- */

static enum uw_status bad(struct uw_error *err, const char *what)
{
	return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, UW_MANIFEST_NAME ": %s", what);
}

static enum uw_status read_container(const json_t *v, struct uw_manifest_file *file, struct uw_error *err)
{
	if (json_is_null(v))
		return uw_manifest_name_taken(file->path) ? bad(err, "a plain file has a reserved name") : UW_OK;
	file->container = true;
	if (!json_is_object(v) || json_object_size(v) != 2 || !uw_json_u64(json_object_get(v, "size"), &file->id.nbytes) ||
	    !uw_json_hex(json_object_get(v, "index_xxh3"), file->id.index_xxh64, sizeof(file->id.index_xxh64)))
		return bad(err, "\"container\" of a file");
	return UW_OK;
}

enum uw_status uw_manifest_read_file(const json_t *v, struct uw_manifest *manifest, struct uw_error *err)
{
	const json_t *path = json_object_get(v, "path"), *executable = json_object_get(v, "executable");
	struct uw_manifest_file file = { .executable = json_is_true(executable) };
	enum uw_status status;

	if (!json_is_object(v) || json_object_size(v) != 5)
		return bad(err, "a file does not have the five members it must have");
	if (!json_is_string(path) || !json_is_boolean(executable) ||
	    !uw_json_u64(json_object_get(v, "size"), &file.nbytes) ||
	    !uw_json_hex(json_object_get(v, "sha256"), file.sha256, sizeof(file.sha256)))
		return bad(err, "members of a file");
	status = uw_path_check(json_string_value(path), json_string_length(path), err);
	if (status != UW_OK)
		return status;
	file.path = (char *)(uintptr_t)json_string_value(path); /* copied by uw_manifest_add */
	status = read_container(json_object_get(v, "container"), &file, err);
	return status == UW_OK ? uw_manifest_add(manifest, &file, err) : status;
}

static bool read_base(const json_t *v, struct uw_base_id *base)
{
	return json_is_object(v) && json_object_size(v) == 1 &&
	       uw_json_hex(json_object_get(v, "source_sha256"), base->digest, sizeof(base->digest));
}

static enum uw_status read_top(const json_t *top, struct uw_manifest *manifest, struct uw_error *err)
{
	const json_t *version = json_object_get(top, "unweight_bundle"), *profile = json_object_get(top, "profile");
	const json_t *source = json_object_get(top, "source"), *files = json_object_get(top, "files");

	if (!json_is_integer(version))
		return bad(err, "\"unweight_bundle\" is missing");
	if (json_integer_value(version) != UW_MANIFEST_VERSION &&
	    json_integer_value(version) != UW_MANIFEST_VERSION_BASED)
		return uw_fail(err, UW_ERR_VERSION, UW_NO_OFFSET,
			       UW_MANIFEST_NAME ": bundle version %" JSON_INTEGER_FORMAT, json_integer_value(version));
	manifest->base.needed = json_integer_value(version) == UW_MANIFEST_VERSION_BASED;
	if (json_object_size(top) != (manifest->base.needed ? 6u : 5u))
		return bad(err, "unknown or missing members");
	if (manifest->base.needed && !read_base(json_object_get(top, "base"), &manifest->base))
		return bad(err, "\"base\"");
	if (uw_json_is(profile, "inference"))
		manifest->profile = UW_PROFILE_INFERENCE;
	else if (!uw_json_is(profile, "distribution"))
		return bad(err, "\"profile\"");
	manifest->single = uw_json_is(source, "file");
	if (!manifest->single && !uw_json_is(source, "folder"))
		return bad(err, "\"source\"");
	if (!json_is_array(files) || (manifest->single && json_array_size(files) != 1))
		return bad(err, "\"files\"");
	for (size_t i = 0; i < json_array_size(files); i++) {
		enum uw_status status = uw_manifest_read_file(json_array_get(files, i), manifest, err);

		if (status != UW_OK)
			return status;
	}
	return UW_OK;
}

static enum uw_status check_digest(const char *text, size_t n, struct uw_error *err)
{
	char hex[2 * UW_SHA256_NBYTES + 1], end[DIGEST_NBYTES + 1];
	enum uw_status status;

	if (n < DIGEST_NBYTES)
		return uw_fail(err, UW_ERR_TRUNCATED, n, UW_MANIFEST_NAME ": too short");
	status = digest_of(text, n - DIGEST_NBYTES, hex, err);
	if (status != UW_OK)
		return status;
	snprintf(end, sizeof(end), DIGEST_HEAD "%s" DIGEST_TAIL, hex);
	if (memcmp(text + n - DIGEST_NBYTES, end, DIGEST_NBYTES) != 0)
		return uw_fail(err, UW_ERR_CHECKSUM, n - DIGEST_NBYTES, UW_MANIFEST_NAME ": SHA-256 at its end");
	return UW_OK;
}

enum uw_status uw_manifest_unseal(const char *text, size_t n, json_t **top, struct uw_error *err)
{
	enum uw_status status = check_digest(text, n, err);

	*top = NULL;
	if (status == UW_OK)
		status = uw_json_load(text, n, JSON_REJECT_DUPLICATES, UW_ERR_LAYOUT, UW_MANIFEST_NAME, 0, top, err);
	if (status != UW_OK || json_is_object(*top))
		return status;
	json_decref(*top);
	*top = NULL;
	return bad(err, "not an object");
}

enum uw_status uw_manifest_read_text(const char *text, size_t n, struct uw_manifest *manifest, struct uw_error *err)
{
	json_t *top;
	enum uw_status status = uw_manifest_unseal(text, n, &top, err);

	*manifest = (struct uw_manifest){ 0 };
	if (status == UW_OK)
		status = read_top(top, manifest, err);
	json_decref(top);
	return status;
}
