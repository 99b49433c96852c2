/* SPDX-License-Identifier: Apache-2.0 */
#include "memory.h"

#include <zstd.h>

#include "buffer.h"
#include "group.h"
#include "ordered.h"

enum uw_status uw_job_fit(const struct uw_job *job, uint64_t slot_nbytes, struct uw_job *fitted, struct uw_error *err)
{
	uint64_t nslots = slot_nbytes != 0 ? job->memory / slot_nbytes : UINT64_MAX;

	*fitted = *job;
	if (job->memory == 0)
		return UW_OK;
	while (fitted->nthreads > 1 && uw_ordered_nslots(fitted->nthreads) > nslots)
		fitted->nthreads--;
	if (uw_ordered_nslots(fitted->nthreads) > nslots)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET,
			       "the buffers for one thread take %llu bytes, more than the %llu allowed",
			       (unsigned long long)slot_nbytes, (unsigned long long)job->memory);
	return UW_OK;
}

static void raise_to(uint64_t *most, uint64_t nbytes)
{
	if (nbytes > *most)
		*most = nbytes;
}

/* The first group of an extent is its largest. */
uint64_t uw_pack_slot_nbytes(const struct uw_extent *extents, uint64_t nextents, bool based)
{
	uint64_t src = 0, scratch = 0;

	for (uint64_t i = 0; i < nextents; i++) {
		struct uw_shape shape;
		struct uw_slice slice;

		if (extents[i].src_nbytes == 0)
			continue;
		uw_extent_slice(&extents[i], 0, &slice);
		raise_to(&src, slice.src_nbytes);
		if (extents[i].order != UW_ORDER_BYTES && uw_group_shape(&extents[i], &slice, &shape) == UW_OK)
			raise_to(&scratch, uw_codec_scratch_nbytes(&shape));
	}
	/* the source, what is decoded of it again, and what zstd makes of it; the base's bytes, the differences, and what
	 * reading a base takes that is in a bundle */
	return (based ? 6 : 2) * uw_buffer_nbytes(src) + uw_buffer_nbytes(scratch) +
	       uw_buffer_nbytes(ZSTD_compressBound((size_t)src));
}

uint64_t uw_stored_slot_nbytes(const struct uw_index *index)
{
	uint64_t most = 0;

	for (uint64_t g = 0; g < index->ngroups; g++)
		raise_to(&most, index->groups[g].nbytes);
	return uw_buffer_nbytes(most);
}

uint64_t uw_restored_slot_nbytes(const struct uw_index *index)
{
	uint64_t most = 0;

	for (uint64_t i = 0; i < index->nextents; i++) {
		struct uw_slice slice;

		if (index->extents[i].src_nbytes == 0)
			continue;
		uw_extent_slice(&index->extents[i], 0, &slice);
		raise_to(&most, slice.src_nbytes);
	}
	return uw_buffer_nbytes(most);
}
