/* SPDX-License-Identifier: Apache-2.0 */
/* Groups of one container that hold the same source bytes in the same shape: found by what they are stored as, proven
 * by the source. */
#ifndef UW_SHARE_H
#define UW_SHARE_H

#include "unweight/container.h"

struct uw_shares {
	struct uw_share *slots; /* open addressing; a power of two of them */
	uint64_t nslots, n;
	uint8_t *buffer;
};

/*
 * Group number `g`, of `slice` in an extent of this order that begins at `extent_off`, was encoded from `src` into
 * `group`. *same is the number of an earlier one that it equals, or UINT64_MAX: then it is remembered. Only if a hash
 * of stored bytes occurs again, the earlier group's source bytes are read from `blob` and compared.
 */
UW_MUST_CHECK enum uw_status uw_shares_find(struct uw_shares *shares, const struct uw_blob *blob, uint64_t g,
					    uint8_t order, uint64_t extent_off, const struct uw_slice *slice,
					    const struct uw_group *group, const uint8_t *src, uint64_t *same,
					    struct uw_error *err);
void uw_shares_free(struct uw_shares *shares);

#endif
