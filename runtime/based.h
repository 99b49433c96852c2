/* SPDX-License-Identifier: Apache-2.0 */
/* Groups that refer to a base: a copy of some of its bytes, or what differs from them. */
#ifndef UW_BASED_H
#define UW_BASED_H

#include "group.h"

static inline bool uw_group_is_based(const struct uw_group *group)
{
	return group->coding == UW_CODING_COPY || group->coding == UW_CODING_DELTA;
}

/* As uw_group_encode, with the base's bytes at `like` at hand: whatever is smallest. */
UW_MUST_CHECK enum uw_status uw_based_encode(struct uw_group_encoder *encoder, const struct uw_cpu_ops *ops,
					     enum uw_profile profile, const struct uw_base *base,
					     const struct uw_reference *like, const struct uw_extent *extent,
					     const struct uw_slice *slice, uint8_t *src, struct uw_error *err);

/* As uw_group_decode, for a group that is based; `buffer` is for its differences. */
UW_MUST_CHECK enum uw_status uw_based_decode(const struct uw_base *base, const struct uw_slice *slice,
					     const struct uw_group *group, const uint8_t *stored,
					     struct uw_buffer *buffer, uint8_t *dst, struct uw_error *err);

#endif
