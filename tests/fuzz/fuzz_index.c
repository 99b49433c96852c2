/* SPDX-License-Identifier: Apache-2.0 */
/* A container's header, trailer and index: what opens keeps every promise of unweight/format.h. */
#include "fuzz.h"

static void check_groups(const struct uw_index *index, const struct uw_extent *e)
{
	uint64_t at = 0;

	FUZZ_ASSERT(e->first_group <= index->ngroups && e->ngroups <= index->ngroups - e->first_group);
	for (uint64_t i = 0; i < e->ngroups; i++) {
		const struct uw_group *g = &index->groups[e->first_group + i];
		struct uw_slice slice;

		uw_extent_slice(e, i, &slice);
		FUZZ_ASSERT(slice.src_off == at && slice.src_nbytes != 0);
		FUZZ_ASSERT(slice.src_nbytes <= e->src_nbytes - at);
		FUZZ_ASSERT(g->off <= index->index_off && g->nbytes <= index->index_off - g->off);
		FUZZ_ASSERT(uw_index_gap_off(index, e->first_group + i) <= g->off);
		at += slice.src_nbytes;
	}
	FUZZ_ASSERT(at == e->src_nbytes);
}

static void check_index(const struct uw_index *index)
{
	uint64_t at = 0;

	for (uint64_t i = 0; i < index->nextents; i++) {
		const struct uw_extent *e = &index->extents[i];

		FUZZ_ASSERT(e->src_off == at && e->src_nbytes <= index->src_nbytes - at);
		at += e->src_nbytes;
		check_groups(index, e);
		if (e->kind == UW_EXTENT_TENSOR)
			FUZZ_ASSERT(uw_index_find(index, e->name, e->name_nbytes) == e);
	}
	FUZZ_ASSERT(at == index->src_nbytes);
	FUZZ_ASSERT(uw_index_gap_off(index, index->ngroups) <= index->index_off);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	uint8_t *copy = fuzz_alloc(nbytes);
	struct uw_memory mem = { copy };
	struct uw_index *index = NULL;
	struct uw_blob blob;

	if (nbytes != 0)
		memcpy(copy, data, nbytes);
	fuzz_seal_container(copy, nbytes);
	uw_blob_of_memory(&mem, nbytes, &blob);
	if (uw_index_open(blob.pread, blob.ctx, nbytes, &index, &err) == UW_OK)
		check_index(index);
	uw_index_free(&index);
	free(copy);
	return 0;
}
