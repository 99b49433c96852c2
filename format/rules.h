/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The rules of SPEC.md 2.3 that concern one extent or one group, in one place: the reader rejects what breaks them,
 * the writer refuses to write it, so that whatever a writer finishes opens.
 */
#ifndef UNWEIGHT_FORMAT_RULES_H
#define UNWEIGHT_FORMAT_RULES_H

#include <stdbool.h>
#include <stdint.h>

#include "unweight/format.h"

/* What is wrong, or NULL; *field is then the offset of the offending field in the record. dims and name must be
 * readable. Covers everything but sums over extents and the uniqueness of names. */
const char *uw_extent_fault(const struct uw_extent *extent, uint32_t *field);

/* Likewise for a group that codes `slice` of the extent, in a container that has a base or none. `off` is not looked
 * at. */
const char *uw_group_fault(const struct uw_group *group, const struct uw_extent *extent, bool based,
			   const struct uw_slice *slice, uint32_t *field);

/* Whether extent `i` may be of this kind if the first one is of kind `first`. */
bool uw_kind_fits(uint64_t i, uint8_t first, uint8_t kind);

#endif
