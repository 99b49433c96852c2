/* SPDX-License-Identifier: Apache-2.0 */
/* What a model is before it is compressed in parts: its files, from listings and headers alone. */
#ifndef UW_PARTS_PLAN_H
#define UW_PARTS_PLAN_H

#include "pack_model.h"

#define UW_PLAN_SCHEMA "unweight-plan-1"
#define UW_PLAN_SCHEMA_BASED "unweight-plan-2" /* with a base */
#define UW_MAX_PARTS 65536u

struct uw_parts_plan_file {
	char *path;
	uint64_t nbytes;
	bool executable;
	enum uw_file_kind kind;
	uint8_t header_sha256[UW_SHA256_NBYTES]; /* of a safetensors file's size field and header; else zeros */
};

/* Made of the model and the options only, whatever the number of parts: so its digest names both. */
struct uw_parts_plan {
	char version[32]; /* of the program: another one may choose other codings */
	enum uw_profile profile;
	bool single;
	struct uw_base_id base;
	uint64_t nfiles, nbytes;
	struct uw_parts_plan_file *files; /* ascending by path */
	char sha256[2 * UW_SHA256_NBYTES + 1]; /* of its text, as at its end */
};

/* Name of a kind in plans and reports. */
const char *uw_file_kind_name(enum uw_file_kind kind);

/* Lists a source that gives its files in ascending order: UW_ERR_UNSUPPORTED for one that does not. Of the options it
 * takes profile, base and `strict`: an odd file is UW_ERR_FORMAT. `where` as in uw_model_pack. Free with uw_plan_free,
 * after failure too. */
UW_MUST_CHECK enum uw_status uw_plan_make(struct uw_source *source, const struct uw_pack_model *options,
					  struct uw_parts_plan *plan, char **where, struct uw_error *err);

/* Adds a copy of *file (path copied too). */
UW_MUST_CHECK enum uw_status uw_plan_add(struct uw_parts_plan *plan, const struct uw_parts_plan_file *file,
					 struct uw_error *err);
void uw_plan_free(struct uw_parts_plan *plan); /* and clears it */

/* UW_ERR_MISMATCH unless the entry, or its absence if NULL, is what the plan says of file i. */
UW_MUST_CHECK enum uw_status uw_plan_expect(const struct uw_parts_plan *plan, uint64_t i, const struct uw_entry *entry,
					    struct uw_error *err);
/* The same for the opened file's header. */
UW_MUST_CHECK enum uw_status uw_plan_expect_header(const struct uw_parts_plan_file *file, const struct uw_blob *blob,
						   const struct uw_bundle_base *base, struct uw_error *err);

/* Part 0 .. nparts of each file into part_of[nfiles]: the largest first, each to the part that has least. Depends on
 * sizes and paths alone. 1 <= nparts <= UW_MAX_PARTS. */
UW_MUST_CHECK enum uw_status uw_plan_assign(const struct uw_parts_plan *plan, uint32_t nparts, uint32_t *part_of,
					    struct uw_error *err);

/* The text, malloced, and its digest into the plan; and the inverse, everything checked: UW_ERR_LAYOUT,
 * UW_ERR_CHECKSUM, UW_ERR_VERSION, UW_ERR_PATH. */
UW_MUST_CHECK enum uw_status uw_plan_render(struct uw_parts_plan *plan, char **text, size_t *n, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_plan_parse(const char *text, size_t n, struct uw_parts_plan *plan,
					   struct uw_error *err);

#endif
