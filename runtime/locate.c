/* SPDX-License-Identifier: Apache-2.0 */
#include "locate.h"

typedef uint64_t (*value_fn)(const void *array, uint64_t i);

/* The last i below n with value(i) <= key. The values ascend, and value(0) <= key. */
static uint64_t last_at_most(const void *array, uint64_t n, value_fn value, uint64_t key)
{
	uint64_t low = 0, high = n;

	while (high - low > 1) {
		uint64_t mid = low + (high - low) / 2;

		if (value(array, mid) <= key)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static uint64_t first_group(const void *array, uint64_t i)
{
	return ((const struct uw_extent *)array)[i].first_group;
}

static uint64_t src_off(const void *array, uint64_t i)
{
	return ((const struct uw_extent *)array)[i].src_off;
}

static uint64_t slice_off(const void *array, uint64_t i)
{
	struct uw_slice slice;

	uw_extent_slice(array, i, &slice);
	return slice.src_off;
}

uint64_t uw_locate_group(const struct uw_extent *extents, uint64_t nextents, uint64_t group)
{
	return last_at_most(extents, nextents, first_group, group);
}

uint64_t uw_locate_byte(const struct uw_extent *extents, uint64_t nextents, uint64_t off)
{
	return last_at_most(extents, nextents, src_off, off);
}

uint64_t uw_locate_slice(const struct uw_extent *extent, uint64_t off, struct uw_slice *slice)
{
	uint64_t i = last_at_most(extent, extent->ngroups, slice_off, off);

	uw_extent_slice(extent, i, slice);
	return i;
}
