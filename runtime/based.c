/* SPDX-License-Identifier: Apache-2.0 */
#include "based.h"

#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "unweight/bytes.h"

/* Differences that are sorted hold no strings to look for, only bytes to count: level 3 takes longer and makes them
 * larger. */
#define ZSTD_LEVEL 1

/* ---- differences ---- */

/* The class of a value: all but the lower mantissa bits of a BF16 value, but for its sign. An update of a model moves
 * values of like size by a like number of steps. */
static unsigned class_of(const uint8_t *value)
{
	return uw_load_le16(value) >> 7 & 0xFF;
}

/* n values in four runs, the last one with what is left over, that are walked side by side: where the next value of a
 * class goes depends on the one before it, and waiting for that is what takes the time. */
#define NRUNS 4

struct places {
	uint64_t next[NRUNS][256]; /* of each class, among n values by ascending class */
	uint64_t nrun;             /* values of a run */
};

static void find_places(const uint8_t *base, uint64_t n, struct places *places)
{
	uint64_t nrun = n / NRUNS, at = 0;

	memset(places, 0, sizeof(*places));
	places->nrun = nrun;
	for (uint64_t i = 0; i < nrun; i++) {
		for (unsigned k = 0; k < NRUNS; k++)
			places->next[k][class_of(base + 2 * (k * nrun + i))]++;
	}
	for (uint64_t i = NRUNS * nrun; i < n; i++)
		places->next[NRUNS - 1][class_of(base + 2 * i)]++;
	for (unsigned c = 0; c < 256; c++) {
		for (unsigned k = 0; k < NRUNS; k++) {
			uint64_t count = places->next[k][c];

			places->next[k][c] = at;
			at += count;
		}
	}
}

/* One of n differences to its place. */
static inline void put_difference(const uint8_t *base, const uint8_t *src, uint64_t n, uint64_t next[256],
				  uint8_t *planes)
{
	unsigned d = (uw_load_le16(src) - uw_load_le16(base)) & 0xFFFF;
	unsigned folded = (d << 1 ^ (d & 0x8000 ? 0xFFFF : 0)) & 0xFFFF; /* the sign last: what is small stays so */
	uint64_t at = next[class_of(base)]++;

	planes[at] = (uint8_t)(folded >> 8);
	planes[n + at] = (uint8_t)folded;
}

/* SPEC.md section 4: n differences by ascending class, upper bytes before lower ones. */
static void difference(const uint8_t *base, const uint8_t *src, uint64_t n, uint8_t *planes)
{
	struct places places;

	find_places(base, n, &places);
	for (uint64_t i = 0; i < places.nrun; i++) {
		for (unsigned k = 0; k < NRUNS; k++) {
			uint64_t off = 2 * (k * places.nrun + i);

			put_difference(base + off, src + off, n, places.next[k], planes);
		}
	}
	for (uint64_t i = NRUNS * places.nrun; i < n; i++)
		put_difference(base + 2 * i, src + 2 * i, n, places.next[NRUNS - 1], planes);
}

static inline void add_difference(const uint8_t *planes, uint64_t n, uint64_t next[256], uint8_t *value)
{
	uint64_t at = next[class_of(value)]++;
	unsigned folded = (unsigned)planes[at] << 8 | planes[n + at];
	unsigned d = folded >> 1 ^ (folded & 1 ? 0xFFFF : 0);

	uw_store_le16(value, (uint16_t)(uw_load_le16(value) + d));
}

/* The inverse: the base's values become the group's. */
static void add(const uint8_t *planes, uint64_t n, uint8_t *values)
{
	struct places places;

	find_places(values, n, &places);
	for (uint64_t i = 0; i < places.nrun; i++) {
		for (unsigned k = 0; k < NRUNS; k++)
			add_difference(planes, n, places.next[k], values + 2 * (k * places.nrun + i));
	}
	for (uint64_t i = NRUNS * places.nrun; i < n; i++)
		add_difference(planes, n, places.next[NRUNS - 1], values + 2 * i);
}

/* ---- encoding ---- */

static void take(struct uw_group_encoder *encoder, enum uw_coding coding, uint64_t nbytes)
{
	encoder->stored = encoder->delta.data;
	encoder->group = (struct uw_group){ .nbytes = nbytes, .coding = (uint8_t)coding };
	uw_hash64(encoder->stored, (size_t)nbytes, encoder->group.xxh64);
}

static bool can_differ(const struct uw_extent *extent)
{
	return extent->dtype == UW_DTYPE_BF16 || extent->dtype == UW_DTYPE_F16;
}

/* Differences behind the reference in encoder->delta; *nbytes is all of it, or UINT64_MAX: not smaller than the source.
 * They pass through the scratch memory: nothing is there before the codec has run. */
static enum uw_status try_delta(struct uw_group_encoder *encoder, const struct uw_slice *slice, const uint8_t *src,
				uint64_t *nbytes, struct uw_error *err)
{
	uint64_t room = encoder->delta.nbytes - UW_REFERENCE_NBYTES;
	enum uw_status status = uw_buffer_reserve(&encoder->scratch, slice->src_nbytes, err);
	size_t n;

	*nbytes = UINT64_MAX;
	if (status != UW_OK)
		return status;
	difference(encoder->base.data, src, slice->src_nbytes / 2, encoder->scratch.data);
	n = ZSTD_compress(encoder->delta.data + UW_REFERENCE_NBYTES, (size_t)room, encoder->scratch.data,
			  (size_t)slice->src_nbytes, ZSTD_LEVEL);
	if (ZSTD_isError(n) && ZSTD_getErrorCode(n) != ZSTD_error_dstSize_tooSmall)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "zstd: %s", ZSTD_getErrorName(n));
	if (!ZSTD_isError(n))
		*nbytes = UW_REFERENCE_NBYTES + n;
	return UW_OK;
}

enum uw_status uw_based_encode(struct uw_group_encoder *encoder, const struct uw_cpu_ops *ops, enum uw_profile profile,
			       const struct uw_base *base, const struct uw_reference *like,
			       const struct uw_extent *extent, const struct uw_slice *slice, uint8_t *src,
			       struct uw_error *err)
{
	enum uw_status status = uw_buffer_reserve(&encoder->base, slice->src_nbytes, err);
	uint64_t nbytes = UINT64_MAX;

	encoder->planned = false;
	if (status == UW_OK)
		status = uw_buffer_reserve(&encoder->delta, slice->src_nbytes + UW_REFERENCE_NBYTES, err);
	if (status == UW_OK)
		status = base->read(base->ctx, like, encoder->base.data, (size_t)slice->src_nbytes, err);
	if (status != UW_OK)
		return status;
	uw_reference_store(like, encoder->delta.data);
	if (slice->src_nbytes > UW_REFERENCE_NBYTES &&
	    memcmp(encoder->base.data, src, (size_t)slice->src_nbytes) == 0) {
		take(encoder, UW_CODING_COPY, UW_REFERENCE_NBYTES);
		return UW_OK;
	}
	if (can_differ(extent))
		status = try_delta(encoder, slice, src, &nbytes, err);
	/* no coding of weights takes less than half: their signs and mantissas are stored as they are */
	if (status == UW_OK && nbytes > slice->src_nbytes / 2)
		status = uw_group_encode(encoder, ops, profile, extent, slice, src, err);
	else
		encoder->group.nbytes = UINT64_MAX;
	if (status == UW_OK && nbytes < encoder->group.nbytes)
		take(encoder, UW_CODING_DELTA, nbytes);
	return status;
}

/* ---- decoding ---- */

enum uw_status uw_based_decode(const struct uw_base *base, const struct uw_slice *slice, const struct uw_group *group,
			       const uint8_t *stored, struct uw_buffer *buffer, uint8_t *dst, struct uw_error *err)
{
	struct uw_reference reference;
	enum uw_status status;

	if (uw_reference_load(stored, &reference) != UW_OK)
		return uw_fail(err, UW_ERR_LAYOUT, group->off, "reference: reserved field is not 0");
	status = base->read(base->ctx, &reference, dst, (size_t)slice->src_nbytes, err);
	if (status != UW_OK || group->coding == UW_CODING_COPY)
		return status;
	status = uw_buffer_reserve(buffer, slice->src_nbytes, err);
	if (status == UW_OK)
		status = uw_frame_decode(group, stored + UW_REFERENCE_NBYTES, group->nbytes - UW_REFERENCE_NBYTES,
					 buffer->data, slice->src_nbytes, err);
	if (status == UW_OK)
		add(buffer->data, slice->src_nbytes / 2, dst);
	return status;
}
