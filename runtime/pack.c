/* SPDX-License-Identifier: Apache-2.0 */
/* Source file -> container: groups are read and encoded side by side, hashed in order, written in order. */
#include <stdlib.h>
#include <string.h>

#include "based.h"
#include "group.h"
#include "locate.h"
#include "memory.h"
#include "ordered.h"
#include "share.h"
#include "stage.h"

struct slot {
	struct uw_buffer src, decoded;
	struct uw_group_encoder encoder;
	struct uw_slice slice;
	uint64_t extent;
	bool wanted;
};

struct pack {
	const struct uw_job *job;
	enum uw_profile profile;
	const struct uw_blob *src;
	const struct uw_pack_options *options;
	struct uw_extent *extents; /* with src_off, first_group and ngroups */
	uint64_t nextents;
	struct slot *slots;
	struct uw_writer *writer;
	struct uw_shares shares;
	struct uw_hash128 *hash;   /* of the extent being written */
	uint64_t open_extent;      /* first extent that the writer does not have */
};

static enum uw_status compare(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	const uint8_t **src = ctx;
	bool same = memcmp(data, *src, nbytes) == 0;

	*src += nbytes;
	return same ? UW_OK : uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "decoded bytes");
}

/* Groups that refer to a base come whole, to where the encoder had the base's bytes; the scratch memory is free too. */
static enum uw_status prove_based(const struct uw_base *base, struct slot *slot, const uint8_t *src,
				  struct uw_error *err)
{
	struct uw_group_encoder *encoder = &slot->encoder;
	uint8_t *decoded = encoder->base.data;
	enum uw_status status = uw_based_decode(base, &slot->slice, &encoder->group, encoder->stored,
						&encoder->scratch, decoded, err);

	return status == UW_OK ? compare(&src, decoded, (size_t)slot->slice.src_nbytes, err) : status;
}

/* Decodes what was just encoded and compares it with the source, while both are in the cache. */
static enum uw_status prove(const struct pack *pack, const struct uw_extent *extent, struct slot *slot,
			    struct uw_error *err)
{
	const struct uw_job *job = pack->job;
	const struct uw_group_encoder *encoder = &slot->encoder;
	const uint8_t *src = slot->src.data;
	uint64_t clock = uw_stage_clock(job);
	enum uw_status status = UW_OK;

	if (uw_group_is_based(&encoder->group))
		status = prove_based(pack->options->base, slot, src, err);
	else if (encoder->group.coding != UW_CODING_RAW)
		status = uw_group_decode_pieces(job->ops, extent, &slot->slice, &encoder->group, encoder->stored,
						&slot->decoded, compare, &src, err);
	if (status != UW_OK && status != UW_ERR_NOMEM && status != UW_ERR_IO) /* the base may be unreadable by now */
		status = uw_fail(err, UW_ERR_INTERNAL, extent->src_off + slot->slice.src_off,
				 "what was encoded does not decode to the source; a bug, or a faulty machine");
	uw_stage_end(job, UW_STAGE_CHECK, &clock);
	return status;
}

static enum uw_status encode_group(const struct pack *pack, const struct uw_extent *extent, struct slot *slot,
				   struct uw_error *err)
{
	const struct uw_pack_options *options = pack->options;
	struct uw_reference like;

	if (options->base != NULL && options->like(options->ctx, extent, &slot->slice, &like))
		return uw_based_encode(&slot->encoder, pack->job->ops, pack->profile, options->base, &like, extent,
				       &slot->slice, slot->src.data, err);
	return uw_group_encode(&slot->encoder, pack->job->ops, pack->profile, extent, &slot->slice, slot->src.data,
			       err);
}

static enum uw_status encode(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct pack *pack = ctx;
	const struct uw_pack_options *options = pack->options;
	struct slot *slot = &pack->slots[slot_number];
	uint64_t clock = uw_stage_clock(pack->job);
	const struct uw_extent *extent;
	enum uw_status status;

	if (pack->job->cancelled != NULL && pack->job->cancelled(pack->job->ctx))
		return uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled");
	slot->extent = uw_locate_group(pack->extents, pack->nextents, item);
	extent = &pack->extents[slot->extent];
	uw_extent_slice(extent, item - extent->first_group, &slot->slice);
	slot->wanted = options->wanted == NULL || options->wanted(options->ctx, extent, &slot->slice);
	if (!slot->wanted)
		return UW_OK;
	status = uw_buffer_reserve(&slot->src, slot->slice.src_nbytes, err);
	if (status == UW_OK)
		status = uw_blob_read(pack->src, slot->src.data, (size_t)slot->slice.src_nbytes,
				      extent->src_off + slot->slice.src_off, err);
	uw_stage_end(pack->job, UW_STAGE_READ, &clock);
	if (status == UW_OK)
		status = encode_group(pack, extent, slot, err);
	uw_stage_end(pack->job, UW_STAGE_CODE, &clock);
	if (status == UW_OK && options->prove)
		status = prove(pack, extent, slot, err);
	return status;
}

/* Alone in its stage: the caller's hash may be the slowest of all. */
static enum uw_status hash(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct pack *pack = ctx;
	const struct slot *slot = &pack->slots[slot_number];
	uint64_t clock = uw_stage_clock(pack->job);

	(void)item;
	(void)err;
	if (pack->options->source != NULL && slot->wanted)
		pack->options->source(pack->options->ctx, slot->src.data, (size_t)slot->slice.src_nbytes);
	uw_stage_end(pack->job, UW_STAGE_HASH, &clock);
	return UW_OK;
}

/* Hands the writer, if there is one, all extents whose groups are complete. */
static enum uw_status close_extents(struct pack *pack, uint64_t groups_done, struct uw_error *err)
{
	while (pack->writer != NULL && pack->open_extent < pack->nextents) {
		struct uw_extent *extent = &pack->extents[pack->open_extent];
		enum uw_status status;

		if (extent->first_group + extent->ngroups > groups_done)
			break;
		uw_hash128_final(pack->hash, extent->xxh128);
		uw_hash128_reset(pack->hash);
		status = uw_writer_extent(pack->writer, extent, err);
		if (status != UW_OK)
			return status;
		pack->open_extent++;
	}
	return UW_OK;
}

/* Equal groups are stored once. */
static enum uw_status write_group(struct pack *pack, const struct slot *slot, uint64_t g, bool *shared,
				  struct uw_error *err)
{
	const struct uw_extent *extent = &pack->extents[slot->extent];
	const struct uw_group *group = &slot->encoder.group;
	uint64_t same;
	enum uw_status status = uw_shares_find(&pack->shares, pack->src, g, extent->order, extent->src_off,
					       &slot->slice, group, slot->src.data, &same, err);

	*shared = same != UINT64_MAX;
	if (status != UW_OK || pack->writer == NULL)
		return status;
	return *shared ? uw_writer_group_shared(pack->writer, same, err) :
			 uw_writer_group(pack->writer, slot->encoder.stored, group, err);
}

static void tell(const struct pack *pack, const struct slot *slot, bool shared)
{
	const struct uw_group_encoder *encoder = &slot->encoder;
	struct uw_packed_group packed = {
		.extent = slot->extent,
		.slice = slot->slice,
		.group = encoder->group,
		.shared = shared,
		.counts = encoder->planned ? encoder->plan.counts : NULL,
	};

	if (pack->options->group != NULL)
		pack->options->group(pack->options->ctx, &packed);
}

static enum uw_status output(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct pack *pack = ctx;
	const struct slot *slot = &pack->slots[slot_number];
	uint64_t clock = uw_stage_clock(pack->job);
	bool shared;

	if (slot->wanted) {
		enum uw_status status = write_group(pack, slot, item, &shared, err);

		uw_stage_end(pack->job, UW_STAGE_OUTPUT, &clock);
		if (status != UW_OK)
			return status;
		uw_hash128_update(pack->hash, slot->src.data, (size_t)slot->slice.src_nbytes);
		uw_stage_end(pack->job, UW_STAGE_HASH, &clock);
		tell(pack, slot, shared);
	}
	if (pack->job->progress != NULL)
		pack->job->progress(pack->job->ctx, slot->slice.src_nbytes);
	return close_extents(pack, item + 1, err);
}

/* The extents with offsets and group numbers filled in; the caller frees. */
static enum uw_status lay_out(struct pack *pack, const struct uw_extent *extents, uint64_t *ngroups,
			      struct uw_error *err)
{
	uint64_t off = 0;

	*ngroups = 0;
	pack->extents = calloc(pack->nextents + 1, sizeof(*pack->extents));
	if (pack->extents == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "%llu extents", (unsigned long long)pack->nextents);
	for (uint64_t i = 0; i < pack->nextents; i++) {
		struct uw_extent *extent = &pack->extents[i];
		enum uw_status status;

		*extent = extents[i];
		extent->src_off = off;
		extent->first_group = *ngroups;
		status = uw_extent_ngroups(extent->src_nbytes, extent->order, extent->dims, extent->ndims,
					   &extent->ngroups);
		if (status != UW_OK || extent->src_nbytes > pack->src->nbytes - off)
			return uw_fail(err, UW_ERR_ARG, off, "extent %llu", (unsigned long long)i);
		off += extent->src_nbytes;
		*ngroups += extent->ngroups;
	}
	return UW_OK;
}

static void free_slots(struct pack *pack)
{
	for (unsigned i = 0; pack->slots != NULL && i < uw_ordered_nslots(pack->job->nthreads); i++) {
		uw_buffer_free(&pack->slots[i].src);
		uw_buffer_free(&pack->slots[i].decoded);
		uw_group_encoder_free(&pack->slots[i].encoder);
	}
	free(pack->slots);
}

enum uw_status uw_container_pack(const struct uw_job *job, enum uw_profile profile, const struct uw_blob *src,
				 const struct uw_extent *extents, uint64_t nextents,
				 const struct uw_pack_options *options, uw_write_fn write, void *write_ctx,
				 struct uw_container_id *id, struct uw_error *err)
{
	static const struct uw_pack_options defaults;
	struct uw_job fitted = *job;
	struct pack pack = {
		.job = &fitted,
		.profile = profile,
		.src = src,
		.options = options != NULL ? options : &defaults,
		.nextents = nextents,
	};
	struct uw_ordered run = { .work = encode, .stage = { hash, output }, .ctx = &pack };
	enum uw_status status = lay_out(&pack, extents, &run.nitems, err);

	if (status == UW_OK)
		status = uw_job_fit(job, uw_pack_slot_nbytes(pack.extents, nextents, pack.options->base != NULL) +
						 pack.options->read_nbytes, &fitted, err);
	if (status == UW_OK) {
		run.nworkers = fitted.nthreads;
		pack.slots = calloc(uw_ordered_nslots(fitted.nthreads), sizeof(*pack.slots));
		pack.hash = uw_hash128_new();
		if (pack.slots == NULL || pack.hash == NULL)
			status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "packing");
	}
	if (status == UW_OK && pack.options->wanted == NULL)
		status = uw_writer_open_based(&pack.writer, write, write_ctx, src->nbytes,
					      pack.options->base != NULL ? pack.options->base->digest : NULL, err);
	if (status == UW_OK)
		status = close_extents(&pack, 0, err);
	if (status == UW_OK)
		status = uw_ordered_run(&run, err);
	*id = (struct uw_container_id){ 0 };
	if (status == UW_OK && pack.writer != NULL)
		status = uw_writer_finish(pack.writer, id, err);
	uw_writer_free(pack.writer);
	uw_hash128_free(pack.hash);
	uw_shares_free(&pack.shares);
	free_slots(&pack);
	free(pack.extents);
	return status;
}
