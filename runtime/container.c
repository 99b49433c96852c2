/* SPDX-License-Identifier: Apache-2.0 */
/* Container -> source bytes: checking, restoring in order, and random access. */
#include "unweight/container.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "based.h"
#include "group.h"
#include "locate.h"
#include "memory.h"
#include "ordered.h"
#include "stage.h"

#define READ_NBYTES ((uint64_t)256 << 10) /* read, then hashed while the core's own cache holds it */

enum uw_status uw_container_open(const struct uw_blob *blob, const struct uw_cpu_ops *ops,
				 struct uw_container *container, struct uw_error *err)
{
	*container = (struct uw_container){ .blob = *blob, .ops = ops };
	return uw_index_open(blob->pread, blob->ctx, blob->nbytes, &container->index, err);
}

void uw_container_close(struct uw_container *container)
{
	uw_index_free(&container->index);
}

/* ---- one group ---- */

/* What one group needs; zero-initialise. */
struct slot {
	struct uw_buffer stored, out;
	struct uw_buffer differences; /* from a base */
	struct uw_hash128 *hash;      /* of stored bytes */
};

static void free_slot(struct slot *slot)
{
	uw_buffer_free(&slot->stored);
	uw_buffer_free(&slot->out);
	uw_buffer_free(&slot->differences);
	uw_hash128_free(slot->hash);
}

/* Says which extent a failure is about; keeps status, errno and offset. */
static enum uw_status name_failure(const struct uw_extent *extent, struct uw_error *err)
{
	char what[sizeof(err->what)];
	enum uw_status status = err->status;

	memcpy(what, err->what, sizeof(what));
	if (extent->kind == UW_EXTENT_TENSOR)
		snprintf(err->what, sizeof(err->what), "tensor '%.*s': %.90s",
			 extent->name_nbytes < 120 ? (int)extent->name_nbytes : 120, extent->name, what);
	else
		snprintf(err->what, sizeof(err->what), "%s: %.90s",
			 extent->kind == UW_EXTENT_HEADER ? "safetensors header" : "file contents", what);
	return status;
}

static const struct uw_extent *extent_of_group(const struct uw_container *container, uint64_t g)
{
	const struct uw_index *index = container->index;

	return &index->extents[uw_locate_group(index->extents, index->nextents, g)];
}

/* Reads the stored bytes of a group and checks their hash; they stay in the slot only if they are to be kept. *err is
 * never NULL below here. */
static enum uw_status read_group(const struct uw_container *container, uint64_t g, bool keep, struct slot *slot,
				 struct uw_error *err)
{
	const struct uw_group *group = &container->index->groups[g];
	uint64_t room = keep || group->nbytes < READ_NBYTES ? group->nbytes : READ_NBYTES;
	enum uw_status status = uw_buffer_reserve(&slot->stored, room, err);
	uint8_t hash[8];

	if (slot->hash == NULL)
		slot->hash = uw_hash128_new();
	if (slot->hash == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "reading");
	uw_hash128_reset(slot->hash);
	for (uint64_t at = 0, n; at < group->nbytes && status == UW_OK; at += n) {
		uint8_t *dst = slot->stored.data + (keep ? at : 0);

		n = group->nbytes - at < READ_NBYTES ? group->nbytes - at : READ_NBYTES;
		status = uw_blob_read(&container->blob, dst, (size_t)n, group->off + at, err);
		if (status == UW_OK)
			uw_hash128_update(slot->hash, dst, (size_t)n);
	}
	if (status != UW_OK)
		return status;
	uw_hash128_final64(slot->hash, hash);
	if (memcmp(hash, group->xxh64, sizeof(hash)) != 0)
		return uw_fail(err, UW_ERR_CHECKSUM, group->off, "checksum of group %llu", (unsigned long long)g);
	return UW_OK;
}

static enum uw_status base_missing(const struct uw_container *container, const struct uw_group *group,
				   struct uw_error *err)
{
	char hex[2 * UW_BASE_DIGEST_NBYTES + 1];

	for (unsigned i = 0; i < UW_BASE_DIGEST_NBYTES; i++)
		snprintf(hex + 2 * i, 3, "%02x", container->index->base.digest[i]);
	return uw_fail(err, UW_ERR_BASE, group->off, "needs base %s", hex);
}

static enum uw_status restore_group(const struct uw_container *container, const struct uw_job *job, uint64_t g,
				    struct slot *slot, uint8_t *dst, struct uw_error *err)
{
	uint64_t clock = uw_stage_clock(job);
	const struct uw_extent *extent = extent_of_group(container, g);
	const struct uw_group *group = &container->index->groups[g];
	struct uw_slice slice;
	enum uw_status status = read_group(container, g, true, slot, err);

	uw_stage_end(job, UW_STAGE_READ, &clock);
	uw_extent_slice(extent, g - extent->first_group, &slice);
	if (status == UW_OK && uw_group_is_based(group) && container->base == NULL)
		status = base_missing(container, group, err);
	else if (status == UW_OK && uw_group_is_based(group))
		status = uw_based_decode(container->base, &slice, group, slot->stored.data, &slot->differences, dst,
					 err);
	else if (status == UW_OK)
		status = uw_group_decode(container->ops, extent, &slice, group, slot->stored.data, dst, err);
	uw_stage_end(job, UW_STAGE_CODE, &clock);
	return status == UW_OK ? UW_OK : name_failure(extent, err);
}

uint64_t uw_container_read_nbytes(const struct uw_container *container)
{
	uint64_t restored = uw_restored_slot_nbytes(container->index);

	/* with a base: differences, and what reading a base takes that is in a bundle */
	return uw_stored_slot_nbytes(container->index) + (container->base != NULL ? 4 : 1) * restored;
}

/* ---- restoring in order ---- */

struct walk {
	const struct uw_container *container;
	const struct uw_job *job;
	struct slot *slots;
	const struct uw_pieces *pieces;
	uint64_t first_group;
	uint64_t open_extent, end_extent;
	struct uw_hash128 *hash;
};

static enum uw_status cancelled(const struct uw_job *job, struct uw_error *err)
{
	if (job->cancelled != NULL && job->cancelled(job->ctx))
		return uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled");
	return UW_OK;
}

/* Group number `item` of the walk: the extent it belongs to, its slice, and its number in the container. */
static const struct uw_extent *group_at(const struct walk *walk, uint64_t item, uint64_t *g, struct uw_slice *slice)
{
	const struct uw_extent *extent;

	*g = walk->first_group + item;
	extent = extent_of_group(walk->container, *g);
	uw_extent_slice(extent, *g - extent->first_group, slice);
	return extent;
}

/* Gives decoded bytes to one of the caller's functions, if there is one. */
static enum uw_status hand_over(const struct walk *walk, enum uw_stage stage, uw_piece_fn fn,
				const struct uw_extent *extent, const struct uw_slice *slice, const struct slot *slot,
				struct uw_error *err)
{
	uint64_t clock = uw_stage_clock(walk->job);
	enum uw_status status;

	if (fn == NULL)
		return UW_OK;
	status = fn(walk->pieces->ctx, extent, slice, slot->out.data, err);
	uw_stage_end(walk->job, stage, &clock);
	return status;
}

static enum uw_status restore_work(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct walk *walk = ctx;
	struct slot *slot = &walk->slots[slot_number];
	enum uw_status status = cancelled(walk->job, err);
	struct uw_slice slice;
	uint64_t g;

	(void)group_at(walk, item, &g, &slice);
	if (status == UW_OK)
		status = uw_buffer_reserve(&slot->out, slice.src_nbytes, err);
	if (status == UW_OK)
		status = restore_group(walk->container, walk->job, g, slot, slot->out.data, err);
	return status;
}

/* Compares the hashes of all extents that are complete. */
static enum uw_status close_extents(struct walk *walk, uint64_t groups_done, struct uw_error *err)
{
	const struct uw_index *index = walk->container->index;

	for (; walk->open_extent < walk->end_extent; walk->open_extent++) {
		const struct uw_extent *extent = &index->extents[walk->open_extent];
		uint8_t hash[16];

		if (extent->first_group + extent->ngroups > groups_done)
			break;
		uw_hash128_final(walk->hash, hash);
		uw_hash128_reset(walk->hash);
		if (memcmp(hash, extent->xxh128, sizeof(hash)) != 0) {
			(void)uw_fail(err, UW_ERR_CHECKSUM, UW_NO_OFFSET, "checksum of the restored bytes");
			return name_failure(extent, err);
		}
	}
	return UW_OK;
}

/* The caller's hash may be the slowest stage of all: alone. */
static enum uw_status restore_hash(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct walk *walk = ctx;
	const struct slot *slot = &walk->slots[slot_number];
	struct uw_slice slice;
	uint64_t g;
	const struct uw_extent *extent = group_at(walk, item, &g, &slice);

	return hand_over(walk, UW_STAGE_HASH, walk->pieces->hash, extent, &slice, slot, err);
}

static enum uw_status restore_check(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct walk *walk = ctx;
	const struct slot *slot = &walk->slots[slot_number];
	struct uw_slice slice;
	uint64_t g;
	uint64_t clock = uw_stage_clock(walk->job);
	enum uw_status status;

	(void)group_at(walk, item, &g, &slice);
	uw_hash128_update(walk->hash, slot->out.data, (size_t)slice.src_nbytes);
	status = close_extents(walk, g + 1, err);
	uw_stage_end(walk->job, UW_STAGE_HASH, &clock);
	return status;
}

static enum uw_status restore_output(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct walk *walk = ctx;
	const struct slot *slot = &walk->slots[slot_number];
	struct uw_slice slice;
	uint64_t g;
	const struct uw_extent *extent = group_at(walk, item, &g, &slice);
	enum uw_status status = hand_over(walk, UW_STAGE_OUTPUT, walk->pieces->output, extent, &slice, slot, err);

	if (status == UW_OK && walk->job->progress != NULL)
		walk->job->progress(walk->job->ctx, slice.src_nbytes);
	return status;
}

static void free_slots(struct slot *slots, const struct uw_job *job)
{
	for (unsigned i = 0; slots != NULL && i < uw_ordered_nslots(job->nthreads); i++)
		free_slot(&slots[i]);
	free(slots);
}

enum uw_status uw_container_restore(const struct uw_container *container, const struct uw_job *job, uint64_t first,
				    uint64_t n, const struct uw_pieces *pieces, struct uw_error *err)
{
	const struct uw_index *index = container->index;
	struct uw_job fitted;
	struct walk walk = {
		.container = container,
		.job = &fitted,
		.open_extent = first,
		.end_extent = first + n,
		.pieces = pieces,
	};
	struct uw_ordered run = {
		.work = restore_work,
		.stage = { restore_hash, restore_check, restore_output },
		.ctx = &walk,
	};
	enum uw_status status;

	if (first > index->nextents || n > index->nextents - first)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "extents");
	if (n == 0)
		return UW_OK;
	status = uw_job_fit(job, uw_container_read_nbytes(container), &fitted, err);
	if (status != UW_OK)
		return status;
	run.nworkers = fitted.nthreads;
	walk.first_group = index->extents[first].first_group;
	run.nitems = index->extents[first + n - 1].first_group + index->extents[first + n - 1].ngroups -
		     walk.first_group;
	walk.slots = calloc(uw_ordered_nslots(fitted.nthreads), sizeof(*walk.slots));
	walk.hash = uw_hash128_new();
	if (walk.slots == NULL || walk.hash == NULL)
		status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "restoring");
	if (status == UW_OK)
		status = close_extents(&walk, walk.first_group, err);
	if (status == UW_OK)
		status = uw_ordered_run(&run, err);
	uw_hash128_free(walk.hash);
	free_slots(walk.slots, &fitted);
	return status;
}

/* ---- checking stored bytes ---- */

/* The padding in front of group g (or of the index) is shorter than the largest alignment. */
static enum uw_status check_gap(const struct uw_container *container, uint64_t g, struct uw_error *err)
{
	const struct uw_index *index = container->index;
	uint64_t from = uw_index_gap_off(index, g);
	uint64_t to = g < index->ngroups ? index->groups[g].off : index->index_off;
	uint8_t padding[4096];
	enum uw_status status;

	if (to == from)
		return UW_OK;
	status = uw_blob_read(&container->blob, padding, (size_t)(to - from), from, err);
	if (status != UW_OK)
		return status;
	for (uint64_t i = 0; i < to - from; i++) {
		if (padding[i] != 0)
			return uw_fail(err, UW_ERR_LAYOUT, from + i, "padding is not zero");
	}
	return UW_OK;
}

static enum uw_status check_work(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct walk *walk = ctx;
	const struct uw_container *container = walk->container;
	uint64_t clock = uw_stage_clock(walk->job);
	enum uw_status status = cancelled(walk->job, err);

	if (status == UW_OK)
		status = check_gap(container, item, err);
	if (status != UW_OK || item == container->index->ngroups || uw_index_group_shared(container->index, item))
		return status; /* shared bytes are read once */
	status = read_group(container, item, false, &walk->slots[slot_number], err);
	uw_stage_end(walk->job, UW_STAGE_CHECK, &clock);
	return status == UW_OK ? UW_OK : name_failure(extent_of_group(container, item), err);
}

static enum uw_status check_done(void *ctx, unsigned slot_number, uint64_t item, struct uw_error *err)
{
	struct walk *walk = ctx;

	if (walk->job->progress != NULL && item < walk->container->index->ngroups &&
	    !uw_index_group_shared(walk->container->index, item))
		walk->job->progress(walk->job->ctx, walk->container->index->groups[item].nbytes);
	return UW_OK;
}

enum uw_status uw_container_check(const struct uw_container *container, const struct uw_job *job,
				  struct uw_error *err)
{
	struct uw_job fitted;
	struct walk walk = { .container = container, .job = &fitted };
	struct uw_ordered run = {
		.nitems = container->index->ngroups + 1, /* the last one is the gap before the index */
		.work = check_work,
		.stage = { check_done },
		.ctx = &walk,
	};
	enum uw_status status = uw_job_fit(job, uw_stored_slot_nbytes(container->index), &fitted, err);

	if (status != UW_OK)
		return status;
	run.nworkers = fitted.nthreads;
	walk.slots = calloc(uw_ordered_nslots(fitted.nthreads), sizeof(*walk.slots));
	if (walk.slots == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "checking");
	status = uw_ordered_run(&run, err);
	free_slots(walk.slots, &fitted);
	return status;
}

/* ---- random access ---- */

static const struct uw_job untimed; /* random access is nobody's job */

/* nbytes of group g from byte `skip` on. */
static enum uw_status read_part(const struct uw_container *container, uint64_t g, uint64_t slice_nbytes,
				uint8_t *dst, uint64_t nbytes, uint64_t skip, struct slot *slot,
				struct uw_error *err)
{
	enum uw_status status;

	/* the decoder stores 16-bit words */
	if (skip == 0 && nbytes == slice_nbytes && (uintptr_t)dst % 2 == 0)
		return restore_group(container, &untimed, g, slot, dst, err);
	status = uw_buffer_reserve(&slot->out, slice_nbytes, err);
	if (status == UW_OK)
		status = restore_group(container, &untimed, g, slot, slot->out.data, err);
	if (status == UW_OK)
		memcpy(dst, slot->out.data + skip, (size_t)nbytes);
	return status;
}

static enum uw_status read_source(const struct uw_container *container, uint8_t *dst, uint64_t nbytes, uint64_t off,
				  struct slot *slot, struct uw_error *err)
{
	const struct uw_index *index = container->index;
	uint64_t end = off + nbytes;

	while (off < end) {
		const struct uw_extent *extent =
			&index->extents[uw_locate_byte(index->extents, index->nextents, off)];
		uint64_t inside = off - extent->src_off, n, i;
		struct uw_slice slice;
		enum uw_status status;

		i = uw_locate_slice(extent, inside, &slice);
		n = slice.src_off + slice.src_nbytes - inside;
		if (n > end - off)
			n = end - off;
		status = read_part(container, extent->first_group + i, slice.src_nbytes, dst, n,
				   inside - slice.src_off, slot, err);
		if (status != UW_OK)
			return status;
		dst += n;
		off += n;
	}
	return UW_OK;
}

static enum uw_status source_pread(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	struct uw_error own = { .file_off = UW_NO_OFFSET };
	struct slot slot = { 0 };
	enum uw_status status = read_source(ctx, dst, nbytes, off, &slot, err != NULL ? err : &own);

	free_slot(&slot);
	return status;
}

void uw_container_source_blob(const struct uw_container *container, struct uw_blob *blob)
{
	*blob = (struct uw_blob){
		.pread = source_pread,
		.ctx = (void *)(uintptr_t)container,
		.nbytes = container->index->src_nbytes,
	};
}
