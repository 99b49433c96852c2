/* SPDX-License-Identifier: Apache-2.0 */
#include "group.h"

#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#define ZSTD_LEVEL 3
#define PIECE_NBYTES (UINT64_C(512) << 10) /* fits a core's own cache beside what it is decoded from */
#define SMALL_NBYTES 65536u /* below this the fixed costs of a coded group count: always try zstd too */

/* The codec works on words in the machine's order, files are little-endian. */
static void swap_words_if_big_endian(uint8_t *data, uint64_t nbytes)
{
	const uint16_t one = 1;

	if (*(const uint8_t *)&one == 1)
		return;
	for (uint64_t i = 0; i + 1 < nbytes; i += 2) {
		uint8_t low = data[i];

		data[i] = data[i + 1];
		data[i + 1] = low;
	}
}

enum uw_status uw_group_shape(const struct uw_extent *extent, const struct uw_slice *slice, struct uw_shape *shape)
{
	if (extent->order == UW_ORDER_TILED)
		return uw_shape_tiled(slice->nrows, slice->ncols, shape);
	return uw_shape_linear(slice->ncols, shape);
}

/* ---- encoding ---- */

static enum uw_status try_codec(struct uw_group_encoder *encoder, const struct uw_cpu_ops *ops,
				enum uw_profile profile, const struct uw_extent *extent,
				const struct uw_slice *slice, uint8_t *src, struct uw_error *err)
{
	enum uw_coding coding = profile == UW_PROFILE_INFERENCE ? UW_CODING_P4 : UW_CODING_H;
	struct uw_plan *plan = &encoder->plan;
	struct uw_shape shape;
	enum uw_status status = uw_group_shape(extent, slice, &shape);
	uint64_t nbytes;
	uint8_t *coded;

	if (status != UW_OK)
		return uw_fail(err, UW_ERR_INTERNAL, UW_NO_OFFSET, "group of %llu x %llu weights",
			       (unsigned long long)slice->nrows, (unsigned long long)slice->ncols);
	status = uw_buffer_reserve(&encoder->scratch, uw_codec_scratch_nbytes(&shape), err);
	if (status != UW_OK)
		return status;
	swap_words_if_big_endian(src, slice->src_nbytes);
	status = uw_codec_plan(ops, &shape, (const uint16_t *)(const void *)src, coding,
			       encoder->scratch.data, plan);
	swap_words_if_big_endian(src, slice->src_nbytes);
	encoder->planned = true;
	if (status == UW_ERR_UNSUPPORTED)
		return UW_OK;
	nbytes = uw_codec_encoded_nbytes(&shape, plan, coding);
	if (nbytes >= encoder->group.nbytes)
		return UW_OK;
	coded = uw_codec_place(&shape, plan, coding, encoder->scratch.data);
	status = uw_codec_encode(ops, &shape, plan, coding, encoder->scratch.data, coded, (size_t)nbytes);
	if (status != UW_OK)
		return status;
	encoder->stored = coded;
	encoder->group = (struct uw_group){
		.nbytes = nbytes,
		.npatches = (uint32_t)plan->nescapes,
		.coding = (uint8_t)coding,
		.ntables = (uint8_t)plan->ntables,
	};
	return UW_OK;
}

/* Trained weights spread over some ten exponents; where one has most of them there may be more for zstd to find. */
static bool looks_constant(const struct uw_plan *plan, uint64_t nweights)
{
	for (unsigned e = 0; e < 256; e++) {
		if (plan->counts[e] > nweights / 4 * 3)
			return true;
	}
	return false;
}

static bool worth_zstd(const struct uw_group_encoder *encoder, enum uw_profile profile, const struct uw_extent *extent,
		       const struct uw_slice *slice)
{
	if (profile == UW_PROFILE_INFERENCE && extent->kind == UW_EXTENT_TENSOR)
		return false; /* serving code wants to use these bytes where they lie */
	return !encoder->planned || encoder->group.coding == UW_CODING_RAW || slice->src_nbytes < SMALL_NBYTES ||
	       looks_constant(&encoder->plan, slice->src_nbytes / 2);
}

static enum uw_status try_zstd(struct uw_group_encoder *encoder, const uint8_t *src, uint64_t nbytes,
			       struct uw_error *err)
{
	size_t bound = ZSTD_compressBound((size_t)nbytes), n;
	enum uw_status status = uw_buffer_reserve(&encoder->zstd, bound, err);

	if (status != UW_OK)
		return status;
	n = ZSTD_compress(encoder->zstd.data, encoder->zstd.nbytes, src, (size_t)nbytes, ZSTD_LEVEL);
	if (ZSTD_isError(n))
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "zstd: %s", ZSTD_getErrorName(n));
	if (n < encoder->group.nbytes) {
		encoder->stored = encoder->zstd.data;
		encoder->group = (struct uw_group){ .nbytes = n, .coding = UW_CODING_ZSTD };
	}
	return UW_OK;
}

enum uw_status uw_group_encode(struct uw_group_encoder *encoder, const struct uw_cpu_ops *ops, enum uw_profile profile,
			       const struct uw_extent *extent, const struct uw_slice *slice, uint8_t *src,
			       struct uw_error *err)
{
	enum uw_status status = UW_OK;

	encoder->stored = src;
	encoder->group = (struct uw_group){ .nbytes = slice->src_nbytes, .coding = UW_CODING_RAW };
	encoder->planned = false;
	if (extent->order != UW_ORDER_BYTES)
		status = try_codec(encoder, ops, profile, extent, slice, src, err);
	if (status == UW_OK && worth_zstd(encoder, profile, extent, slice))
		status = try_zstd(encoder, src, slice->src_nbytes, err);
	if (status == UW_OK)
		uw_hash64(encoder->stored, (size_t)encoder->group.nbytes, encoder->group.xxh64);
	return status;
}

void uw_group_encoder_free(struct uw_group_encoder *encoder)
{
	uw_buffer_free(&encoder->scratch);
	uw_buffer_free(&encoder->zstd);
	uw_buffer_free(&encoder->base);
	uw_buffer_free(&encoder->delta);
}

/* ---- decoding ---- */

enum uw_status uw_frame_decode(const struct uw_group *group, const uint8_t *frame, uint64_t nbytes, uint8_t *dst,
			       uint64_t dst_nbytes, struct uw_error *err)
{
	unsigned long long declared = ZSTD_getFrameContentSize(frame, (size_t)nbytes);
	size_t n;

	if (declared != dst_nbytes || ZSTD_findFrameCompressedSize(frame, (size_t)nbytes) != nbytes)
		return uw_fail(err, UW_ERR_LAYOUT, group->off, "zstd frame is not of the size of its group");
	n = ZSTD_decompress(dst, (size_t)dst_nbytes, frame, (size_t)nbytes);
	if (ZSTD_isError(n) && ZSTD_getErrorCode(n) == ZSTD_error_memory_allocation)
		return uw_fail(err, UW_ERR_NOMEM, group->off, "zstd");
	if (ZSTD_isError(n) || n != dst_nbytes)
		return uw_fail(err, UW_ERR_BITS, group->off, "zstd: %s",
			       ZSTD_isError(n) ? ZSTD_getErrorName(n) : "short frame");
	return UW_OK;
}

/* An error within stored bytes as one within the container. */
static enum uw_status fail_at(const struct uw_group *group, const struct uw_error *inner, struct uw_error *err)
{
	return uw_fail(err, inner->status, group->off + (inner->file_off == UW_NO_OFFSET ? 0 : inner->file_off), "%s",
		       inner->what);
}

static enum uw_status open_codec(const struct uw_extent *extent, const struct uw_slice *slice,
				 const struct uw_group *group, const uint8_t *stored, struct uw_coded *coded,
				 struct uw_error *err)
{
	struct uw_error inner = { .file_off = UW_NO_OFFSET };
	struct uw_shape shape;

	if (uw_group_shape(extent, slice, &shape) != UW_OK)
		return uw_fail(err, UW_ERR_LAYOUT, group->off, "shape of a coded group");
	if (uw_coded_open(&shape, (enum uw_coding)group->coding, group->ntables, group->npatches, stored,
			  (size_t)group->nbytes, coded, &inner) != UW_OK)
		return fail_at(group, &inner, err);
	return UW_OK;
}

static enum uw_status decode_codec(const struct uw_cpu_ops *ops, const struct uw_extent *extent,
				   const struct uw_slice *slice, const struct uw_group *group, const uint8_t *stored,
				   uint8_t *dst, struct uw_error *err)
{
	struct uw_error inner = { .file_off = UW_NO_OFFSET };
	struct uw_coded coded;
	enum uw_status status = open_codec(extent, slice, group, stored, &coded, err);

	if (status != UW_OK)
		return status;
	if (uw_coded_decode(ops, &coded, UW_STORE_CACHED, (uint16_t *)(void *)dst, &inner) != UW_OK)
		return fail_at(group, &inner, err);
	swap_words_if_big_endian(dst, slice->src_nbytes);
	return UW_OK;
}

enum uw_status uw_group_decode(const struct uw_cpu_ops *ops, const struct uw_extent *extent,
			       const struct uw_slice *slice, const struct uw_group *group, const uint8_t *stored,
			       uint8_t *dst, struct uw_error *err)
{
	switch (group->coding) {
	case UW_CODING_RAW:
		memcpy(dst, stored, (size_t)slice->src_nbytes); /* sizes agree: checked with the index */
		return UW_OK;
	case UW_CODING_ZSTD:
		return uw_frame_decode(group, stored, group->nbytes, dst, slice->src_nbytes, err);
	case UW_CODING_H:
	case UW_CODING_P4:
		return decode_codec(ops, extent, slice, group, stored, dst, err);
	default: /* based.h's business */
		break;
	}
	return uw_fail(err, UW_ERR_LAYOUT, group->off, "coding %u", group->coding);
}

/* All of it, however its rows are ordered. */
static enum uw_status decode_whole(const struct uw_cpu_ops *ops, const struct uw_extent *extent,
				   const struct uw_slice *slice, const struct uw_group *group, const uint8_t *stored,
				   struct uw_buffer *buffer, uw_write_fn take, void *ctx, struct uw_error *err)
{
	enum uw_status status = uw_buffer_reserve(buffer, slice->src_nbytes, err);

	if (status == UW_OK)
		status = uw_group_decode(ops, extent, slice, group, stored, buffer->data, err);
	return status == UW_OK ? take(ctx, buffer->data, (size_t)slice->src_nbytes, err) : status;
}

/* Some row blocks after the other, if rows are stored as they come. */
static enum uw_status decode_blocks(const struct uw_cpu_ops *ops, const struct uw_extent *extent,
				    const struct uw_slice *slice, const struct uw_group *group, const uint8_t *stored,
				    struct uw_buffer *buffer, uw_write_fn take, void *ctx, struct uw_error *err)
{
	uint64_t block_nbytes = UW_BLOCK_ROWS * slice->ncols * 2, n;
	uint64_t nblocks = block_nbytes < PIECE_NBYTES ? PIECE_NBYTES / block_nbytes : 1;
	uint64_t total = (slice->nrows + UW_BLOCK_ROWS - 1) / UW_BLOCK_ROWS;
	struct uw_error inner = { .file_off = UW_NO_OFFSET };
	struct uw_coded coded;
	enum uw_status status = open_codec(extent, slice, group, stored, &coded, err);

	if (status == UW_OK && coded.row_order != NULL)
		return decode_whole(ops, extent, slice, group, stored, buffer, take, ctx, err);
	if (status == UW_OK)
		status = uw_buffer_reserve(buffer, nblocks * block_nbytes, err);
	for (uint64_t b = 0; b < total && status == UW_OK; b += nblocks) {
		if (nblocks > total - b)
			nblocks = total - b;
		n = slice->src_nbytes - b * block_nbytes;
		if (n > nblocks * block_nbytes)
			n = nblocks * block_nbytes;
		if (uw_coded_decode_blocks(ops, &coded, b, nblocks, UW_STORE_CACHED,
					   (uint16_t *)(void *)buffer->data, (size_t)slice->ncols, &inner) != UW_OK)
			return fail_at(group, &inner, err);
		swap_words_if_big_endian(buffer->data, n);
		status = take(ctx, buffer->data, (size_t)n, err);
	}
	return status;
}

enum uw_status uw_group_decode_pieces(const struct uw_cpu_ops *ops, const struct uw_extent *extent,
				      const struct uw_slice *slice, const struct uw_group *group,
				      const uint8_t *stored, struct uw_buffer *buffer, uw_write_fn take, void *ctx,
				      struct uw_error *err)
{
	bool coded = group->coding == UW_CODING_H || group->coding == UW_CODING_P4;

	if (coded && extent->order == UW_ORDER_TILED)
		return decode_blocks(ops, extent, slice, group, stored, buffer, take, ctx, err);
	if (group->coding == UW_CODING_RAW)
		return take(ctx, stored, (size_t)slice->src_nbytes, err);
	return decode_whole(ops, extent, slice, group, stored, buffer, take, ctx, err);
}
