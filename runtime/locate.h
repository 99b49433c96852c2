/* SPDX-License-Identifier: Apache-2.0 */
/* Which extent a group or a byte belongs to, and which group of it: bisection over ascending numbers. */
#ifndef UW_LOCATE_H
#define UW_LOCATE_H

#include "unweight/format.h"

/* Index of the extent that group `group` belongs to; extents without groups are never it. */
uint64_t uw_locate_group(const struct uw_extent *extents, uint64_t nextents, uint64_t group);

/* Index of the extent that holds source byte `off`; extents of size 0 are never it. */
uint64_t uw_locate_byte(const struct uw_extent *extents, uint64_t nextents, uint64_t off);

/* Number of the extent's group that holds its byte `off`, and its slice. */
uint64_t uw_locate_slice(const struct uw_extent *extent, uint64_t off, struct uw_slice *slice);

#endif
