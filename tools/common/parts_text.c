/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers and texts of parts. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "manifest_text.h"
#include "parts.h"

#define UW_PART_SCHEMA "unweight-part-1"

/* ---- which part ---- */

/* Decimal digits only, nothing behind them but `end`. */
static bool parse_number(const char *text, char end, uint64_t max, uint64_t *n, const char **rest)
{
	uint64_t value = 0;
	const char *p = text;

	for (; *p >= '0' && *p <= '9'; p++) {
		value = 10 * value + (uint64_t)(*p - '0');
		if (value > max)
			return false;
	}
	if (p == text || *p != end)
		return false;
	*n = value;
	*rest = p + 1;
	return true;
}

bool uw_part_parse(const char *text, struct uw_part_id *id)
{
	uint64_t part, nparts;
	const char *rest;

	if (!parse_number(text, '/', UW_MAX_PARTS, &part, &rest) ||
	    !parse_number(rest, '\0', UW_MAX_PARTS, &nparts, &rest) || part < 1 || part > nparts)
		return false;
	*id = (struct uw_part_id){ (uint32_t)part - 1, (uint32_t)nparts };
	return true;
}

static enum uw_status env_number(char *(*getenv_)(const char *), const char *name, uint64_t fallback, uint64_t *n,
				 struct uw_error *err)
{
	const char *text = getenv_(name), *rest;

	*n = fallback;
	if (text == NULL && fallback != UINT64_MAX)
		return UW_OK;
	if (text == NULL)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "%s is not set: give --parts N", name);
	if (!parse_number(text, '\0', UINT32_MAX, n, &rest))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "%s is not a number: '%s'", name, text);
	return UW_OK;
}

/* An array's ids begin anywhere and may lie apart. */
static enum uw_status slurm_array(char *(*getenv_)(const char *), uint64_t *index, struct uw_error *err)
{
	uint64_t id = *index, min = 0, step = 1;
	enum uw_status status = env_number(getenv_, "SLURM_ARRAY_TASK_MIN", UINT64_MAX, &min, err);

	if (status == UW_OK)
		status = env_number(getenv_, "SLURM_ARRAY_TASK_STEP", 1, &step, err);
	if (status != UW_OK)
		return status;
	if (step == 0 || id < min || (id - min) % step != 0)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET,
			       "SLURM_ARRAY_TASK_ID does not follow from _MIN and _STEP");
	*index = (id - min) / step;
	return UW_OK;
}

enum uw_status uw_part_from_env(char *(*getenv_)(const char *), uint32_t nparts, struct uw_part_id *id,
				struct uw_error *err)
{
	static const char *const names[][2] = {
		{ "SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT" },
		{ "JOB_COMPLETION_INDEX", "JOB_COMPLETIONS" }, /* the second one is not set by Kubernetes itself */
		{ "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE" },
		{ "PMI_RANK", "PMI_SIZE" },
		{ "SLURM_PROCID", "SLURM_NTASKS" },
	};
	size_t k = 0, n = sizeof(names) / sizeof(names[0]);
	uint64_t index, count = nparts;
	enum uw_status status;

	while (k < n && getenv_(names[k][0]) == NULL)
		k++;
	if (k == n)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET,
			       "no scheduler's index in the environment (Slurm, Kubernetes, Open MPI, PMI)");
	status = env_number(getenv_, names[k][0], UINT64_MAX, &index, err);
	if (status == UW_OK && nparts == 0)
		status = env_number(getenv_, names[k][1], UINT64_MAX, &count, err);
	if (status == UW_OK && nparts == 0 && k == 0)
		status = slurm_array(getenv_, &index, err);
	if (status != UW_OK)
		return status;
	if (count == 0 || count > UW_MAX_PARTS || index >= count)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "%s: index %" PRIu64 " (from 0) of %" PRIu64 " parts",
			       names[k][0], index, count);
	*id = (struct uw_part_id){ (uint32_t)index, (uint32_t)count };
	return UW_OK;
}

char *uw_part_path(const struct uw_parts_dir *dir, struct uw_part_id id)
{
	char *path;

	if (asprintf(&path, "%s/part-%" PRIu32 "-of-%" PRIu32 ".manifest.json", dir->work, id.part + 1, id.nparts) < 0)
		return NULL;
	return path;
}

/* ---- what it stored ---- */

enum uw_status uw_part_render(const struct uw_parts_plan *plan, const struct uw_part_manifest *part, char **text,
			      size_t *n, struct uw_error *err)
{
	FILE *f = open_memstream(text, n);
	bool whole;

	if (f == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "part");
	whole = fprintf(f, "{\"schema\":\"" UW_PART_SCHEMA "\",\n\"plan_sha256\":\"%s\",\n\"part\":%" PRIu32
			",\n\"parts\":%" PRIu32 ",\n\"files\":[", plan->sha256, part->id.part + 1, part->id.nparts) >= 0;
	for (uint64_t i = 0; i < part->stored.nfiles; i++) {
		whole &= fputs(i == 0 ? "\n" : ",\n", f) >= 0;
		whole &= uw_manifest_write_file(f, &part->stored.files[i]);
	}
	whole &= fputs("],\n", f) >= 0;
	return uw_manifest_seal(f, whole, text, n, err);
}

static enum uw_status bad(struct uw_error *err, const char *what)
{
	return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "part: %s", what);
}

static bool in_range(const json_t *v, json_int_t max)
{
	return json_is_integer(v) && json_integer_value(v) >= 1 && json_integer_value(v) <= max;
}

static enum uw_status read_top(const json_t *top, const struct uw_parts_plan *plan, struct uw_part_manifest *part,
			       struct uw_error *err)
{
	const json_t *number = json_object_get(top, "part"), *count = json_object_get(top, "parts");
	const json_t *files = json_object_get(top, "files"), *digest = json_object_get(top, "plan_sha256");
	uint8_t unused[UW_SHA256_NBYTES];

	if (!uw_json_is(json_object_get(top, "schema"), UW_PART_SCHEMA))
		return uw_fail(err, UW_ERR_VERSION, UW_NO_OFFSET, "not a part of the form " UW_PART_SCHEMA);
	if (json_object_size(top) != 6)
		return bad(err, "unknown or missing members");
	if (!in_range(count, UW_MAX_PARTS) || !in_range(number, json_integer_value(count)))
		return bad(err, "\"part\" or \"parts\"");
	part->id.part = (uint32_t)json_integer_value(number) - 1;
	part->id.nparts = (uint32_t)json_integer_value(count);
	if (!json_is_string(digest) ||
	    !uw_unhex(json_string_value(digest), json_string_length(digest), unused, sizeof(unused)))
		return bad(err, "\"plan_sha256\"");
	if (!uw_json_is(digest, plan->sha256))
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET,
			       "made for another plan: the source, the options or the program differed");
	if (!json_is_array(files))
		return bad(err, "\"files\"");
	for (size_t i = 0; i < json_array_size(files); i++) {
		enum uw_status status = uw_manifest_read_file(json_array_get(files, i), &part->stored, err);

		if (status != UW_OK)
			return status;
		if (i > 0 && strcmp(part->stored.files[i - 1].path, part->stored.files[i].path) >= 0)
			return bad(err, "a path stands twice or out of order");
	}
	return UW_OK;
}

enum uw_status uw_part_parse_text(const char *text, size_t n, const struct uw_parts_plan *plan,
				  struct uw_part_manifest *part, struct uw_error *err)
{
	json_t *top;
	enum uw_status status = uw_manifest_unseal(text, n, &top, err);

	*part = (struct uw_part_manifest){ 0 };
	if (status == UW_OK)
		status = read_top(top, plan, part, err);
	json_decref(top);
	return status;
}
