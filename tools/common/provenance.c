/* SPDX-License-Identifier: Apache-2.0 */
#include "provenance.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "unweight/checked.h"

/* ---- digests ---- */

int uw_print_sums(const void *ctx, FILE *f)
{
	const struct uw_manifest *manifest = ctx;

	for (uint64_t i = 0; i < manifest->nfiles; i++) {
		char hex[2 * UW_SHA256_NBYTES + 1];

		uw_hex(manifest->files[i].sha256, UW_SHA256_NBYTES, hex);
		fprintf(f, "%s  %s\n", hex, manifest->files[i].path); /* paths need no escapes: SPEC.md 1.1 */
	}
	return ferror(f) ? -1 : 0;
}

enum uw_status uw_source_expect(const struct uw_manifest *manifest, const uint8_t digest[UW_SHA256_NBYTES],
				struct uw_error *err)
{
	char hex[2 * UW_SHA256_NBYTES + 1];
	uint8_t found[UW_SHA256_NBYTES];
	enum uw_status status = uw_source_digest(manifest, found, err);

	if (status != UW_OK || memcmp(found, digest, sizeof(found)) == 0)
		return status;
	if (manifest->single && memcmp(manifest->files[0].sha256, digest, sizeof(found)) == 0)
		return UW_OK;
	uw_hex(manifest->single ? manifest->files[0].sha256 : found, sizeof(found), hex);
	return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "not the digest that is expected, but %s", hex);
}

enum uw_status uw_bundle_expect(const struct uw_bundle *bundle, const uint8_t digest[UW_SHA256_NBYTES],
				struct uw_error *err)
{
	if (bundle->bare)
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET,
			       "a container by itself holds no digest of its source to compare with");
	return uw_source_expect(&bundle->manifest, digest, err);
}

/* ---- a list to sign ---- */

/* Component by component: '/' before all other bytes of a path. */
static int compare_components(const void *a, const void *b)
{
	const struct uw_manifest_file *x = *(const struct uw_manifest_file *const *)a;
	const struct uw_manifest_file *y = *(const struct uw_manifest_file *const *)b;
	const unsigned char *p = (const unsigned char *)x->path, *q = (const unsigned char *)y->path;

	while (*p == *q && *p != '\0') {
		p++;
		q++;
	}
	return (*p == '/' ? 1 : *p) - (*q == '/' ? 1 : *q); /* no path has a byte 1 */
}

static json_t *resources_of(const struct uw_manifest_file *const *files, uint64_t n, struct uw_sha256 *root)
{
	json_t *resources = json_array();

	for (uint64_t i = 0; i < n; i++) {
		char hex[2 * UW_SHA256_NBYTES + 1];

		uw_sha256_update(root, files[i]->sha256, UW_SHA256_NBYTES);
		uw_hex(files[i]->sha256, UW_SHA256_NBYTES, hex);
		json_array_append_new(resources, json_pack("{s:s, s:s, s:s}", "name", files[i]->path, "algorithm",
							   "sha256", "digest", hex));
	}
	return resources;
}

json_t *uw_signing_statement(const struct uw_manifest *manifest, const char *model_name)
{
	const struct uw_manifest_file **files = calloc((size_t)manifest->nfiles + 1, sizeof(*files));
	char hex[2 * UW_SHA256_NBYTES + 1];
	uint8_t digest[UW_SHA256_NBYTES];
	struct uw_sha256 root;
	struct uw_error err;
	json_t *resources;

	if (files == NULL || uw_sha256_init(&root, &err) != UW_OK) {
		free(files);
		return NULL;
	}
	for (uint64_t i = 0; i < manifest->nfiles; i++)
		files[i] = &manifest->files[i];
	qsort(files, (size_t)manifest->nfiles, sizeof(*files), compare_components);
	resources = resources_of(files, manifest->nfiles, &root);
	free(files);
	if (uw_sha256_final(&root, digest, &err) != UW_OK) {
		json_decref(resources);
		return NULL;
	}
	uw_hex(digest, sizeof(digest), hex);
	return json_pack("{s:s, s:[{s:s, s:{s:s}}], s:s, s:{s:{s:s, s:s, s:b, s:[]}, s:o}}", "_type",
			 "https://in-toto.io/Statement/v1", "subject", "name", model_name, "digest", "sha256", hex,
			 "predicateType", "https://model_signing/signature/v1.0", "predicate", "serialization", "method",
			 "files", "hash_type", "sha256", "allow_symlinks", 0, "ignore_paths", "resources", resources);
}

/* ---- arguments ---- */

bool uw_parse_digest(const char *arg, uint8_t digest[UW_SHA256_NBYTES])
{
	char lower[2 * UW_SHA256_NBYTES + 1];
	size_t n = strlen(arg);

	if (n == sizeof(lower) - 1) {
		for (size_t i = 0; i <= n; i++)
			lower[i] = (char)tolower((unsigned char)arg[i]);
		if (uw_unhex(lower, n, digest, UW_SHA256_NBYTES))
			return true;
	}
	uw_msg_error("not a SHA-256 in 64 hexadecimal digits: '%s'", arg);
	return false;
}

bool uw_parse_percent(const char *arg, double *percent)
{
	char *end;

	*percent = strtod(arg, &end);
	if (end != arg && strcmp(end, "%") == 0)
		end++;
	if (end != arg && *end == '\0' && isdigit((unsigned char)arg[0]) && isfinite(*percent) && *percent <= 100)
		return true;
	uw_msg_error("not a percentage: '%s' (0 to 100)", arg);
	return false;
}

bool uw_parse_size(const char *arg, uint64_t *nbytes)
{
	static const char units[] = "KMGT";
	const char *s = arg, *unit;
	uint64_t n = 0;
	bool good = isdigit((unsigned char)*s);

	for (; isdigit((unsigned char)*s) && good; s++)
		good = uw_mul(n, 10, &n) && uw_add(n, (uint64_t)(*s - '0'), &n);
	if (*s != '\0' && (unit = strchr(units, toupper((unsigned char)*s))) != NULL) {
		good = good && uw_mul(n, UINT64_C(1024) << (10 * (unit - units)), &n);
		s++;
		if (strcmp(s, "iB") == 0 || strcmp(s, "B") == 0)
			s += strlen(s);
	}
	*nbytes = n;
	if (good && *s == '\0')
		return true;
	uw_msg_error("not a size: '%s' (bytes, or with K, M, G or T, which are powers of 1024)", arg);
	return false;
}
