/* SPDX-License-Identifier: Apache-2.0 */
/* Stored bytes of one group, wherever they are. */
#include <stdio.h>
#include <string.h>

#include "based.h"
#include "model.h"

static enum uw_status own(const struct uw_model *model, struct uw_stored_group *group, uint64_t nbytes,
			  struct uw_error *err)
{
	group->owned = uw_model_alloc(model, nbytes);
	if (group->owned == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "group of %llu bytes", (unsigned long long)nbytes);
	group->owned_nbytes = nbytes;
	return UW_OK;
}

static enum uw_status read_stored(const struct uw_model *model, const struct uw_model_part *part,
				  struct uw_stored_group *group, struct uw_error *err)
{
	const struct uw_group *g = group->group;
	enum uw_status status;

	if (part->map != NULL && g->coding != UW_CODING_ZSTD && !uw_group_is_based(g)) {
		group->stored = part->map + g->off;
		return UW_OK;
	}
	status = own(model, group, g->nbytes, err);
	if (status != UW_OK)
		return status;
	group->stored = group->owned;
	if (part->map == NULL)
		return uw_blob_read(&part->container.blob, group->owned, (size_t)g->nbytes, g->off, err);
	memcpy(group->owned, part->map + g->off, (size_t)g->nbytes);
	return UW_OK;
}

/* Puts the source bytes in place of the stored ones. */
static enum uw_status decode_based(const struct uw_model *model, const struct uw_base *base,
				   struct uw_stored_group *group, struct uw_error *err)
{
	struct uw_stored_group decoded = *group;
	struct uw_buffer differences = { 0 };
	enum uw_status status = own(model, &decoded, group->slice.src_nbytes, err);

	if (status != UW_OK)
		return status;
	status = uw_based_decode(base, &group->slice, group->group, group->stored, &differences, decoded.owned, err);
	uw_buffer_free(&differences);
	uw_stored_group_close(model, group);
	*group = decoded;
	group->stored = group->owned;
	group->decoded = (struct uw_group){
		.off = group->group->off,
		.nbytes = group->slice.src_nbytes,
		.coding = UW_CODING_RAW,
	};
	group->group = &group->decoded;
	return status;
}

enum uw_status uw_stored_group_open(const struct uw_model *model, const struct uw_tensor *tensor, uint64_t i,
				    struct uw_stored_group *group, struct uw_error *err)
{
	const struct uw_extent *extent;
	const struct uw_model_part *part = uw_tensor_part(model, tensor, &extent);
	enum uw_status status;

	*group = (struct uw_stored_group){
		.extent = extent,
		.group = &part->container.index->groups[extent->first_group + i],
	};
	uw_extent_slice(extent, i, &group->slice);
	status = read_stored(model, part, group, err);
	if (status == UW_OK && uw_model_is_checked(model)) {
		uint8_t hash[8];

		uw_hash64(group->stored, (size_t)group->group->nbytes, hash);
		if (memcmp(hash, group->group->xxh64, sizeof(hash)) != 0)
			status = uw_fail(err, UW_ERR_CHECKSUM, group->group->off, "stored bytes of group %llu",
					 (unsigned long long)i);
	}
	if (status == UW_OK && uw_group_is_based(group->group))
		status = decode_based(model, part->container.base, group, err);
	if (status != UW_OK)
		uw_stored_group_close(model, group);
	return status;
}

void uw_stored_group_close(const struct uw_model *model, struct uw_stored_group *group)
{
	uw_model_free(model, group->owned, group->owned_nbytes);
	group->owned = NULL;
}

enum uw_status uw_stored_group_own(const struct uw_model *model, struct uw_stored_group *group, struct uw_error *err)
{
	const uint8_t *mapped = group->stored;
	enum uw_status status;

	if (group->owned != NULL)
		return UW_OK;
	status = own(model, group, group->group->nbytes, err);
	if (status == UW_OK)
		group->stored = memcpy(group->owned, mapped, (size_t)group->group->nbytes);
	return status;
}

/* The first bytes of the group, with its whole head, where nobody else writes. */
static enum uw_status copy_head(const struct uw_model *model, struct uw_stored_group *group,
				const struct uw_shape *shape, const uint8_t **head, struct uw_error *err)
{
	const struct uw_group *g = group->group;
	uint64_t room = uw_coded_head_room(shape, g->ntables, g->npatches);
	enum uw_status status;

	*head = group->stored;
	if (group->owned != NULL)
		return UW_OK;
	if (room > g->nbytes)
		room = g->nbytes;
	status = own(model, group, room, err);
	if (status != UW_OK)
		return status;
	*head = memcpy(group->owned, group->stored, (size_t)room);
	return UW_OK;
}

enum uw_status uw_stored_group_coded(const struct uw_model *model, struct uw_stored_group *group,
				     struct uw_coded *coded, struct uw_error *err)
{
	const struct uw_group *g = group->group;
	struct uw_error inner = { .file_off = UW_NO_OFFSET };
	struct uw_shape shape;
	const uint8_t *head;
	enum uw_status status;

	if (group->extent->order == UW_ORDER_TILED)
		status = uw_shape_tiled(group->slice.nrows, group->slice.ncols, &shape);
	else
		status = uw_shape_linear(group->slice.ncols, &shape);
	if (status != UW_OK)
		return uw_fail(err, UW_ERR_LAYOUT, g->off, "shape of a coded group");
	status = copy_head(model, group, &shape, &head, err);
	if (status != UW_OK)
		return status;
	status = uw_coded_open_copied(&shape, (enum uw_coding)g->coding, g->ntables, g->npatches, head, group->stored,
				      (size_t)g->nbytes, coded, &inner);
	if (status != UW_OK)
		return uw_fail(err, status, g->off + (inner.file_off == UW_NO_OFFSET ? 0 : inner.file_off), "%s",
			       inner.what);
	return UW_OK;
}

enum uw_status uw_tensor_failed(const struct uw_tensor *tensor, enum uw_status status, struct uw_error *err)
{
	char what[sizeof(err->what)];

	if (err == NULL)
		return status;
	memcpy(what, err->what, sizeof(what));
	snprintf(err->what, sizeof(err->what), "tensor '%.*s': %.*s", 100, tensor->name, 110, what);
	err->status = status;
	return status;
}
