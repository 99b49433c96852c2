/* SPDX-License-Identifier: Apache-2.0 */
/* The text of a plan or of what a part has done, less the digest at its end: what is read is written and read again as
 * the same, and a plan's files are dealt out. */
#include "fuzz.h"
#include "parts.h"

static void check_assignment(const struct uw_parts_plan *plan)
{
	uint32_t *part_of = fuzz_alloc((size_t)plan->nfiles * sizeof(*part_of));

	FUZZ_ASSERT(uw_plan_assign(plan, 3, part_of, NULL) == UW_OK);
	for (uint64_t i = 0; i < plan->nfiles; i++)
		FUZZ_ASSERT(part_of[i] < 3 && uw_path_check(plan->files[i].path, strlen(plan->files[i].path), NULL) == UW_OK);
	free(part_of);
}

static void check_plan(const char *text, size_t nbytes)
{
	struct uw_parts_plan plan, again;
	char *out = NULL, *out_again = NULL;
	size_t n, n_again;

	if (uw_plan_parse(text, nbytes, &plan, NULL) == UW_OK) {
		check_assignment(&plan);
		FUZZ_ASSERT(uw_plan_render(&plan, &out, &n, NULL) == UW_OK);
		FUZZ_ASSERT(uw_plan_parse(out, n, &again, NULL) == UW_OK && again.nfiles == plan.nfiles);
		FUZZ_ASSERT(uw_plan_render(&again, &out_again, &n_again, NULL) == UW_OK);
		FUZZ_ASSERT(n == n_again && memcmp(out, out_again, n) == 0);
		uw_plan_free(&again);
	}
	uw_plan_free(&plan);
	free(out);
	free(out_again);
}

static void check_part(const char *text, size_t nbytes)
{
	struct uw_parts_plan plan = { 0 };
	struct uw_part_manifest part, again;
	char *out = NULL;
	size_t n;

	memset(plan.sha256, '0', sizeof(plan.sha256) - 1); /* as in the seeds */
	if (uw_part_parse_text(text, nbytes, &plan, &part, NULL) == UW_OK) {
		FUZZ_ASSERT(part.id.part < part.id.nparts && part.id.nparts <= UW_MAX_PARTS);
		FUZZ_ASSERT(uw_part_render(&plan, &part, &out, &n, NULL) == UW_OK);
		FUZZ_ASSERT(uw_part_parse_text(out, n, &plan, &again, NULL) == UW_OK);
		FUZZ_ASSERT(again.stored.nfiles == part.stored.nfiles && again.id.part == part.id.part);
		uw_manifest_free(&again.stored);
	}
	uw_manifest_free(&part.stored);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	char *text = fuzz_alloc(nbytes + FUZZ_SEAL_NBYTES);

	if (nbytes != 0)
		memcpy(text, data, nbytes);
	fuzz_seal_manifest(text, nbytes);
	check_plan(text, nbytes + FUZZ_SEAL_NBYTES);
	check_part(text, nbytes + FUZZ_SEAL_NBYTES);
	free(text);
	return 0;
}
