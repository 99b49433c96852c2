/* SPDX-License-Identifier: Apache-2.0 */
/* The JSON text of a plan. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "manifest_text.h"
#include "parts_plan.h"

static enum uw_status fail_nomem(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "plan");
}

/* ---- writing: one file a line, as a manifest ---- */

/* False: not written whole. */
static bool write_file(FILE *f, const struct uw_parts_plan_file *file)
{
	char hex[2 * UW_SHA256_NBYTES + 1];
	json_t *path = json_string(file->path);
	char *quoted = path != NULL ? json_dumps(path, JSON_ENCODE_ANY) : NULL;
	int head, tail;

	json_decref(path);
	if (quoted == NULL)
		return false;
	uw_hex(file->header_sha256, sizeof(file->header_sha256), hex);
	head = fprintf(f, "{\"path\":%s,\"size\":%" PRIu64 ",\"executable\":%s,\"kind\":\"%s\",\"header_sha256\":",
		       quoted, file->nbytes, file->executable ? "true" : "false", uw_file_kind_name(file->kind));
	tail = file->kind == UW_FILE_SAFETENSORS ? fprintf(f, "\"%s\"}", hex) : fputs("null}", f);
	free(quoted);
	return head >= 0 && tail >= 0;
}

/* The digest at the end of a sealed text, which has one. */
static void note_digest(struct uw_parts_plan *plan, const char *text, size_t n)
{
	size_t ndigits = sizeof(plan->sha256) - 1;

	memcpy(plan->sha256, text + n - strlen("\"}\n") - ndigits, ndigits);
	plan->sha256[ndigits] = '\0';
}

enum uw_status uw_plan_render(struct uw_parts_plan *plan, char **text, size_t *n, struct uw_error *err)
{
	FILE *f = open_memstream(text, n);
	char base[2 * UW_SHA256_NBYTES + 1];
	enum uw_status status;
	bool whole;

	if (f == NULL)
		return fail_nomem(err);
	whole = fprintf(f, "{\"schema\":\"%s\",\n\"version\":\"%s\",\n\"profile\":\"%s\",\n",
			plan->base.needed ? UW_PLAN_SCHEMA_BASED : UW_PLAN_SCHEMA, plan->version,
			uw_profile_name(plan->profile)) >= 0;
	if (plan->base.needed) {
		uw_hex(plan->base.digest, sizeof(plan->base.digest), base);
		whole &= fprintf(f, "\"base\":\"%s\",\n", base) >= 0;
	}
	whole &= fprintf(f, "\"source\":\"%s\",\n\"bytes\":%" PRIu64 ",\n\"files\":[",
			 plan->single ? "file" : "folder", plan->nbytes) >= 0;
	for (uint64_t i = 0; i < plan->nfiles; i++) {
		whole &= fputs(i == 0 ? "\n" : ",\n", f) >= 0;
		whole &= write_file(f, &plan->files[i]);
	}
	whole &= fputs("],\n", f) >= 0;
	status = uw_manifest_seal(f, whole, text, n, err);
	if (status == UW_OK)
		note_digest(plan, *text, *n);
	return status;
}

/* ---- reading ---- */

static enum uw_status bad(struct uw_error *err, const char *what)
{
	return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "plan: %s", what);
}

/* Of letters that no text has to escape. */
static bool is_version(const char *text, size_t n)
{
	static const char letters[] = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.+~-";

	return n < sizeof(((struct uw_parts_plan *)0)->version) && strspn(text, letters) == n;
}

static bool read_kind(const json_t *kind, const json_t *header, struct uw_parts_plan_file *file)
{
	for (int i = UW_FILE_PLAIN; i <= UW_FILE_OPAQUE; i++) {
		file->kind = (enum uw_file_kind)i;
		if (!uw_json_is(kind, uw_file_kind_name(file->kind)))
			continue;
		if (file->kind != UW_FILE_SAFETENSORS)
			return json_is_null(header);
		return json_is_string(header) && uw_unhex(json_string_value(header), json_string_length(header),
							  file->header_sha256, sizeof(file->header_sha256));
	}
	return false;
}

static enum uw_status read_file(const json_t *v, struct uw_parts_plan *plan, struct uw_error *err)
{
	const json_t *path = json_object_get(v, "path"), *size = json_object_get(v, "size");
	const json_t *executable = json_object_get(v, "executable");
	struct uw_parts_plan_file file = { .executable = json_is_true(executable) };
	enum uw_status status;

	if (!json_is_object(v) || json_object_size(v) != 5 || !json_is_string(path) || !json_is_boolean(executable) ||
	    !json_is_integer(size) || json_integer_value(size) < 0 ||
	    !read_kind(json_object_get(v, "kind"), json_object_get(v, "header_sha256"), &file))
		return bad(err, "members of a file");
	status = uw_path_check(json_string_value(path), json_string_length(path), err);
	if (status != UW_OK)
		return status;
	file.path = (char *)(uintptr_t)json_string_value(path); /* copied by uw_plan_add */
	file.nbytes = (uint64_t)json_integer_value(size);
	if (plan->nfiles != 0 && strcmp(plan->files[plan->nfiles - 1].path, file.path) >= 0)
		return bad(err, "a path stands twice or out of order");
	if (file.kind == UW_FILE_PLAIN && uw_manifest_name_taken(file.path))
		return bad(err, "a plain file has a reserved name");
	return uw_plan_add(plan, &file, err);
}

static enum uw_status read_top(const json_t *top, struct uw_parts_plan *plan, struct uw_error *err)
{
	const json_t *version = json_object_get(top, "version"), *profile = json_object_get(top, "profile");
	const json_t *source = json_object_get(top, "source"), *files = json_object_get(top, "files");
	const json_t *nbytes = json_object_get(top, "bytes"), *base = json_object_get(top, "base");

	plan->base.needed = uw_json_is(json_object_get(top, "schema"), UW_PLAN_SCHEMA_BASED);
	if (!plan->base.needed && !uw_json_is(json_object_get(top, "schema"), UW_PLAN_SCHEMA))
		return uw_fail(err, UW_ERR_VERSION, UW_NO_OFFSET, "not a plan of the form " UW_PLAN_SCHEMA);
	if (json_object_size(top) != (plan->base.needed ? 8u : 7u))
		return bad(err, "unknown or missing members");
	if (plan->base.needed && (!json_is_string(base) ||
				  !uw_unhex(json_string_value(base), json_string_length(base), plan->base.digest,
					    sizeof(plan->base.digest))))
		return bad(err, "\"base\"");
	if (!json_is_string(version) || !is_version(json_string_value(version), json_string_length(version)))
		return bad(err, "\"version\"");
	memcpy(plan->version, json_string_value(version), json_string_length(version) + 1);
	if (uw_json_is(profile, "inference"))
		plan->profile = UW_PROFILE_INFERENCE;
	else if (!uw_json_is(profile, "distribution"))
		return bad(err, "\"profile\"");
	plan->single = uw_json_is(source, "file");
	if (!plan->single && !uw_json_is(source, "folder"))
		return bad(err, "\"source\"");
	if (!json_is_array(files) || json_array_size(files) == 0 || (plan->single && json_array_size(files) != 1))
		return bad(err, "\"files\"");
	for (size_t i = 0; i < json_array_size(files); i++) {
		enum uw_status status = read_file(json_array_get(files, i), plan, err);

		if (status != UW_OK)
			return status;
	}
	if (!json_is_integer(nbytes) || json_integer_value(nbytes) < 0 ||
	    (uint64_t)json_integer_value(nbytes) != plan->nbytes)
		return bad(err, "\"bytes\" is not the sum of the files");
	return UW_OK;
}

enum uw_status uw_plan_parse(const char *text, size_t n, struct uw_parts_plan *plan, struct uw_error *err)
{
	json_t *top;
	enum uw_status status = uw_manifest_unseal(text, n, &top, err);

	*plan = (struct uw_parts_plan){ 0 };
	if (status == UW_OK) {
		note_digest(plan, text, n);
		status = read_top(top, plan, err);
	}
	json_decref(top);
	return status;
}
