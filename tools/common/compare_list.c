/* SPDX-License-Identifier: Apache-2.0 */
/* A bundle against what others say of its files. */
#include <inttypes.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "each.h"
#include "json_text.h"
#include "provenance.h"
#include "text.h"
#include "verdicts.h"

enum { SHA1_NBYTES = 20 };

struct comparison {
	struct uw_verdicts v;
	const struct uw_bundle *bundle;
	const struct uw_job *job;
	bool *seen;
};

/* What a list says of one file; UINT64_MAX and NULL: nothing. */
struct listed {
	const char *path;
	uint64_t nbytes;
	const uint8_t *sha256, *git_id;
};

/* ---- git's object id of a file: SHA-1 of its size and bytes ---- */

static enum uw_status update_sha1(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	if (EVP_DigestUpdate(ctx, data, nbytes) != 1)
		return uw_fail(err, UW_ERR_INTERNAL, UW_NO_OFFSET, "SHA-1");
	return UW_OK;
}

static enum uw_status hash_object(const struct comparison *c, const struct uw_blob *blob, EVP_MD_CTX *sha1,
				  uint8_t id[SHA1_NBYTES], struct uw_error *err)
{
	struct uw_job quiet = *c->job;
	char head[32];
	int n = snprintf(head, sizeof(head), "blob %" PRIu64, blob->nbytes);
	enum uw_status status;

	quiet.progress = NULL;
	if (sha1 == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "SHA-1");
	if (EVP_DigestInit_ex(sha1, EVP_sha1(), NULL) != 1)
		return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "git's object ids need SHA-1, which is disabled here");
	status = update_sha1(sha1, head, (size_t)n + 1, err);
	if (status == UW_OK)
		status = uw_blob_each(&quiet, blob, update_sha1, sha1, err);
	if (status == UW_OK && EVP_DigestFinal_ex(sha1, id, NULL) != 1)
		status = uw_fail(err, UW_ERR_INTERNAL, UW_NO_OFFSET, "SHA-1");
	return status;
}

static enum uw_status compare_git_id(const struct comparison *c, const struct uw_manifest_file *file,
				     const uint8_t *git_id, struct uw_error *err)
{
	struct uw_bundle_file opened;
	EVP_MD_CTX *sha1 = EVP_MD_CTX_new();
	uint8_t id[SHA1_NBYTES];
	enum uw_status status = uw_bundle_file_open(c->bundle, file, &opened, err);

	if (status == UW_OK) {
		status = hash_object(c, &opened.source, sha1, id, err);
		uw_bundle_file_close(&opened);
	}
	EVP_MD_CTX_free(sha1);
	if (status == UW_OK && memcmp(id, git_id, sizeof(id)) != 0)
		status = uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "git's object id differs from the list");
	return status;
}

/* ---- one file ---- */

static void compare_listed(struct comparison *c, const struct listed *listed)
{
	const struct uw_manifest_file *file = uw_manifest_find(&c->bundle->manifest, listed->path);
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	enum uw_status status = UW_OK;

	if (file == NULL) {
		uw_verdicts_add(&c->v, listed->path, 0,
				uw_fail(&err, UW_ERR_MISMATCH, UW_NO_OFFSET, "is not in the bundle"), &err);
		return;
	}
	c->seen[file - c->bundle->manifest.files] = true;
	if (listed->nbytes != UINT64_MAX && listed->nbytes != file->nbytes)
		status = uw_fail(&err, UW_ERR_MISMATCH, UW_NO_OFFSET, "size differs from the list");
	else if (listed->sha256 != NULL && memcmp(listed->sha256, file->sha256, UW_SHA256_NBYTES) != 0)
		status = uw_fail(&err, UW_ERR_MISMATCH, UW_NO_OFFSET, "SHA-256 differs from the list");
	else if (listed->git_id != NULL)
		status = compare_git_id(c, file, listed->git_id, &err);
	uw_verdicts_add(&c->v, file->path, file->nbytes, status, &err);
}

static void bad_list(struct comparison *c, uint64_t off, const char *what)
{
	struct uw_error err;

	uw_verdicts_add(&c->v, NULL, 0, uw_fail(&err, UW_ERR_FORMAT, off, "%s", what), &err);
}

/* ---- sha256sum's list ---- */

/* "<64 hex> <space or *><path>"; false if the line is none. A leading backslash (escaped names) is not served. */
static bool parse_sum(char *line, uint8_t digest[UW_SHA256_NBYTES], const char **path)
{
	size_t n = strlen(line);

	while (n > 0 && line[n - 1] == '\r')
		line[--n] = '\0';
	if (n < 67 || line[64] != ' ' || (line[65] != ' ' && line[65] != '*') ||
	    !uw_unhex(line, 64, digest, UW_SHA256_NBYTES))
		return false;
	*path = line + 66;
	if (strncmp(*path, "./", 2) == 0)
		*path += 2;
	return true;
}

static void compare_sums(struct comparison *c, char *text, size_t n)
{
	for (char *line = text, *end; line < text + n && c->v.worst != UW_ERR_CANCELLED; line = end + 1) {
		struct listed listed = { .nbytes = UINT64_MAX };
		uint8_t digest[UW_SHA256_NBYTES];

		end = memchr(line, '\n', (size_t)(text + n - line));
		if (end == NULL)
			end = text + n;
		*end = '\0';
		listed.sha256 = digest;
		if (parse_sum(line, digest, &listed.path))
			compare_listed(c, &listed);
		else
			bad_list(c, (uint64_t)(line - text), "the list of sums has a line that is none");
	}
}

/* ---- JSON ---- */

static void compare_resource(struct comparison *c, const json_t *resource)
{
	struct listed listed = { .path = json_string_value(json_object_get(resource, "name")), .nbytes = UINT64_MAX };
	uint8_t digest[UW_SHA256_NBYTES];

	listed.sha256 = digest;
	if (listed.path != NULL && uw_json_is(json_object_get(resource, "algorithm"), "sha256") &&
	    uw_json_hex(json_object_get(resource, "digest"), digest, sizeof(digest)))
		compare_listed(c, &listed);
	else
		bad_list(c, UW_NO_OFFSET, "the statement has a resource without name and SHA-256");
}

/* The digest of all that is signed: it follows from the others, or the statement contradicts itself. */
static void compare_subject(struct comparison *c, const json_t *statement)
{
	const json_t *subject = json_array_get(json_object_get(statement, "subject"), 0);
	json_t *ours = uw_signing_statement(&c->bundle->manifest, "");
	const json_t *our_subject = json_array_get(json_object_get(ours, "subject"), 0);

	if (!json_equal(json_object_get(subject, "digest"), json_object_get(our_subject, "digest")))
		bad_list(c, UW_NO_OFFSET, "the statement's digest of all files does not follow from those of the files");
	json_decref(ours);
}

static void compare_statement(struct comparison *c, const json_t *statement)
{
	const json_t *resources = json_object_get(json_object_get(statement, "predicate"), "resources");
	const json_t *resource;
	size_t i;

	if (!uw_json_is(json_object_get(statement, "predicateType"), "https://model_signing/signature/v1.0") ||
	    !json_is_array(resources)) {
		bad_list(c, UW_NO_OFFSET, "no statement of model_signing's version 1.0");
		return;
	}
	json_array_foreach(resources, i, resource)
		compare_resource(c, resource);
	uw_verdicts_unseen(&c->v, c->bundle, c->seen);
	if (c->v.worst == UW_OK)
		compare_subject(c, statement);
}

/* A file of a hub's repository, as its interface "tree" lists it: large ones by SHA-256. */
static void compare_hub_file(struct comparison *c, const json_t *entry)
{
	const json_t *lfs = json_object_get(entry, "lfs"), *size = json_object_get(entry, "size");
	struct listed listed = { .path = json_string_value(json_object_get(entry, "path")) };
	uint8_t digest[UW_SHA256_NBYTES], git_id[SHA1_NBYTES];

	if (uw_json_is(json_object_get(entry, "type"), "directory"))
		return;
	if (json_is_object(lfs) && uw_json_hex(json_object_get(lfs, "oid"), digest, sizeof(digest)))
		listed.sha256 = digest;
	else if (!json_is_object(lfs) && uw_json_hex(json_object_get(entry, "oid"), git_id, sizeof(git_id)))
		listed.git_id = git_id;
	listed.nbytes = json_is_integer(size) ? (uint64_t)json_integer_value(size) : UINT64_MAX;
	if (listed.path != NULL && (listed.sha256 != NULL || listed.git_id != NULL))
		compare_listed(c, &listed);
	else
		bad_list(c, UW_NO_OFFSET, "the listing has an entry without path and digest");
}

static void compare_hub(struct comparison *c, const json_t *tree)
{
	const json_t *entry;
	size_t i;

	json_array_foreach(tree, i, entry)
		if (c->v.worst != UW_ERR_CANCELLED)
			compare_hub_file(c, entry);
	if (c->v.worst != UW_ERR_CANCELLED)
		uw_verdicts_unseen(&c->v, c->bundle, c->seen);
}

static void compare_json(struct comparison *c, const char *text, size_t n)
{
	struct uw_error err;
	json_t *top;
	enum uw_status status = uw_json_load(text, n, JSON_REJECT_DUPLICATES, UW_ERR_FORMAT, "the list", 0, &top, &err);

	if (status != UW_OK)
		uw_verdicts_add(&c->v, NULL, 0, status, &err);
	else if (json_is_array(top))
		compare_hub(c, top);
	else
		compare_statement(c, top);
	json_decref(top);
}

enum uw_status uw_bundle_compare_list(const struct uw_bundle *bundle, const char *list_path, enum uw_list_form form,
				      const struct uw_job *job, uw_verdict_fn verdict, void *ctx)
{
	struct comparison c = { .v = { verdict, ctx, UW_OK }, .bundle = bundle, .job = job };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	char *text = NULL;
	size_t n = 0, blank;
	enum uw_status status = uw_text_read(list_path, &text, &n, &err);

	c.seen = calloc((size_t)bundle->manifest.nfiles + 1, sizeof(*c.seen));
	if (status != UW_OK && err.os_errno != 0)
		status = uw_fail_errno(&err, err.os_errno, "%s", list_path);
	if (status == UW_OK && c.seen == NULL)
		status = uw_fail(&err, UW_ERR_NOMEM, UW_NO_OFFSET, "comparing");
	if (status != UW_OK) {
		uw_verdicts_add(&c.v, NULL, 0, status, &err);
	} else {
		blank = strspn(text, " \t\r\n");
		if (form == UW_LIST_ANY && (text[blank] == '{' || text[blank] == '[')) {
			compare_json(&c, text, n);
		} else {
			compare_sums(&c, text, n);
			uw_verdicts_unseen(&c.v, bundle, c.seen);
		}
	}
	free(c.seen);
	free(text);
	return c.v.worst;
}
