/* SPDX-License-Identifier: Apache-2.0 */
/* The bundle's manifest (SPEC.md 1.1): a value, its text and back. */
#ifndef UW_MANIFEST_H
#define UW_MANIFEST_H

#include <stdbool.h>

#include "sha256.h"
#include "unweight/container.h"

#define UW_MANIFEST_NAME "unweight.json"
#define UW_MANIFEST_VERSION 1
#define UW_MANIFEST_VERSION_BASED 2 /* with a base */
#define UW_CONTAINER_SUFFIX ".uw"
#define UW_MANIFEST_MAX_PATH 4096u
#define UW_MANIFEST_MAX_NBYTES (UINT64_C(256) << 20)

struct uw_manifest_file {
	char *path; /* in the model; owned by the manifest */
	uint64_t nbytes;
	uint8_t sha256[UW_SHA256_NBYTES];
	bool executable;
	bool container;                /* stored as path + ".uw" */
	struct uw_container_id id;     /* if container */
};

struct uw_manifest {
	enum uw_profile profile;
	bool single; /* made from one file without a folder */
	struct uw_base_id base; /* that containers may refer to */
	uint64_t nfiles;
	struct uw_manifest_file *files;
};

/* "distribution" or "inference". */
const char *uw_profile_name(enum uw_profile profile);

/* True if a model file of this path can only be stored as a container, because its own name is taken. */
bool uw_manifest_name_taken(const char *path);

/* Path of the stored file relative to the bundle; malloced, NULL if out of memory. */
char *uw_manifest_stored_path(const struct uw_manifest_file *file);

/* Appends a copy of *file (path copied too). */
UW_MUST_CHECK enum uw_status uw_manifest_add(struct uw_manifest *manifest, const struct uw_manifest_file *file,
					     struct uw_error *err);

/* Sorts the files and gives the text, malloced, *n bytes. UW_ERR_PATH: a path twice, or one a folder of another. */
UW_MUST_CHECK enum uw_status uw_manifest_render(struct uw_manifest *manifest, char **text, size_t *n,
						struct uw_error *err);

/* The inverse, every rule of SPEC.md 1.1 checked. UW_ERR_LAYOUT, UW_ERR_CHECKSUM, UW_ERR_VERSION, UW_ERR_PATH. */
UW_MUST_CHECK enum uw_status uw_manifest_parse(const char *text, size_t n, struct uw_manifest *manifest,
					       struct uw_error *err);

/* File of this path, or NULL. The manifest is sorted: rendered or parsed. */
struct uw_manifest_file *uw_manifest_find(const struct uw_manifest *manifest, const char *path);

/* True if a bundle with this manifest has a stored file of this path. The same holds. */
bool uw_manifest_is_stored(const struct uw_manifest *manifest, const char *path);

/* The source digest (SPEC.md 1.1): the same for every bundle of a model, whatever made it. The same holds. */
UW_MUST_CHECK enum uw_status uw_source_digest(const struct uw_manifest *manifest, uint8_t digest[UW_SHA256_NBYTES],
					      struct uw_error *err);

void uw_manifest_free(struct uw_manifest *manifest); /* and clears it */

#endif
