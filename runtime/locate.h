/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_LOCATE_H
#define UW_LOCATE_H

#include "unweight/format.h"

/* Index of the extent that group `group` belongs to; extents without groups are never it. */
static inline uint64_t uw_locate_group(const struct uw_extent *extents, uint64_t nextents, uint64_t group)
{
	uint64_t low = 0, high = nextents; /* the last extent with first_group <= group */

	while (high - low > 1) {
		uint64_t mid = low + (high - low) / 2;

		if (extents[mid].first_group <= group)
			low = mid;
		else
			high = mid;
	}
	return low;
}

/* Index of the extent that holds source byte `off`; extents of size 0 are never it. */
static inline uint64_t uw_locate_byte(const struct uw_extent *extents, uint64_t nextents, uint64_t off)
{
	uint64_t low = 0, high = nextents;

	while (high - low > 1) {
		uint64_t mid = low + (high - low) / 2;

		if (extents[mid].src_off <= off)
			low = mid;
		else
			high = mid;
	}
	return low;
}

#endif
