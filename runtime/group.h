/* SPDX-License-Identifier: Apache-2.0 */
/* One group between source bytes and stored bytes, whatever its coding. */
#ifndef UW_GROUP_H
#define UW_GROUP_H

#include "buffer.h"
#include "unweight/container.h"

/* A slice of weights as the codec sees it; fails as uw_shape_tiled does. */
UW_MUST_CHECK enum uw_status uw_group_shape(const struct uw_extent *extent, const struct uw_slice *slice,
					    struct uw_shape *shape);

/* What encoding one group needs; reused from group to group by one thread. */
struct uw_group_encoder {
	struct uw_buffer scratch, zstd;
	struct uw_buffer base, delta; /* based.h */
	struct uw_plan plan;
	bool planned;            /* plan.counts are those of the last group */
	struct uw_group group;   /* the last result; off is not set */
	const uint8_t *stored;   /* its bytes: in one of the buffers, or the source itself */
};

/* Encodes the slice at `src` (aligned to 2 if the extent is BF16) and leaves the result in the encoder. */
UW_MUST_CHECK enum uw_status uw_group_encode(struct uw_group_encoder *encoder, const struct uw_cpu_ops *ops,
					     enum uw_profile profile, const struct uw_extent *extent,
					     const struct uw_slice *slice, uint8_t *src, struct uw_error *err);
void uw_group_encoder_free(struct uw_group_encoder *encoder);

/* Decodes a Zstandard frame of nbytes among the stored bytes of `group` into exactly dst_nbytes. */
UW_MUST_CHECK enum uw_status uw_frame_decode(const struct uw_group *group, const uint8_t *frame, uint64_t nbytes,
					     uint8_t *dst, uint64_t dst_nbytes, struct uw_error *err);

/* Decodes into slice->src_nbytes bytes at dst (aligned to 2). Not for groups that refer to a base (based.h). Errors
 * carry the offset within the container. */
UW_MUST_CHECK enum uw_status uw_group_decode(const struct uw_cpu_ops *ops, const struct uw_extent *extent,
					     const struct uw_slice *slice, const struct uw_group *group,
					     const uint8_t *stored, uint8_t *dst, struct uw_error *err);

/* The same bytes in order, piece by piece, each while it is still in the core's own cache; `buffer` is for the pieces.
 * Any other status than UW_OK from `take` ends it. */
UW_MUST_CHECK enum uw_status uw_group_decode_pieces(const struct uw_cpu_ops *ops, const struct uw_extent *extent,
						    const struct uw_slice *slice, const struct uw_group *group,
						    const uint8_t *stored, struct uw_buffer *buffer, uw_write_fn take,
						    void *ctx, struct uw_error *err);

#endif
