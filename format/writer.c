/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Streams a container: header at once, groups as they come, index and trailer at the end. What the index will hold is
 * kept in its stored form, one growing run of bytes for each of its parts, so that finishing is joining them.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "layout.h"
#include "names.h"
#include "rules.h"

struct pool {
	uint8_t *data;
	uint64_t nbytes;
	uint64_t nbytes_max;
};

struct uw_writer {
	uw_write_fn write; /* NULL: a dry run */
	void *ctx;
	bool usable;          /* false inside a call, hence after a failed one, and when finished */
	uint64_t off;         /* bytes written so far */
	uint64_t src_nbytes;  /* as promised at open */
	uint64_t extents_src; /* source bytes of the extents so far */
	uint64_t nextents;
	uint64_t ngroups;
	uint64_t ngroups_taken; /* by extents */
	uint64_t ntensors;
	uint8_t first_kind;
	struct uw_base_id base;
	struct pool extents;
	struct pool groups;
	struct pool dims;
	struct pool names;
};

/* Room for `n` > 0 bytes at the end, or NULL. Valid until the next call. */
static uint8_t *pool_add(struct pool *p, uint64_t n)
{
	uint64_t need, room;
	uint8_t *data;

	if (!uw_add(p->nbytes, n, &need))
		return NULL;
	if (need > p->nbytes_max) {
		if (!uw_mul(p->nbytes_max, 2, &room) || room < need)
			room = need;
		if (room < 4096)
			room = 4096;
		if (room > PTRDIFF_MAX)
			return NULL;
		data = realloc(p->data, (size_t)room);
		if (data == NULL)
			return NULL;
		p->data = data;
		p->nbytes_max = room;
	}
	data = p->data + p->nbytes;
	p->nbytes = need;
	return data;
}

static bool pool_append(struct pool *p, const void *data, uint64_t n)
{
	uint8_t *dst;

	if (n == 0)
		return true;
	dst = pool_add(p, n);
	if (dst == NULL)
		return false;
	memcpy(dst, data, (size_t)n);
	return true;
}

static enum uw_status no_memory(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "no memory for the container's index");
}

/* ---- output ---- */

static enum uw_status put(struct uw_writer *w, const void *data, uint64_t nbytes, struct uw_error *err)
{
	uint64_t end;
	enum uw_status status;

	/* Offsets and their alignments must have room above any end. */
	if (!uw_add(w->off, nbytes, &end) || end > INT64_MAX)
		return uw_fail(err, UW_ERR_ARG, w->off, "container of 2^63 bytes or more");
	if (w->write != NULL && nbytes > 0) {
		if (data == NULL || nbytes > SIZE_MAX)
			return uw_fail(err, UW_ERR_ARG, w->off, "no stored bytes");
		status = w->write(w->ctx, data, (size_t)nbytes, err);
		if (status != UW_OK)
			return status;
	}
	w->off = end;
	return UW_OK;
}

static enum uw_status put_zeros_to(struct uw_writer *w, uint64_t off, struct uw_error *err)
{
	static const uint8_t zeros[BIG_GROUP_ALIGN];

	return put(w, zeros, off - w->off, err); /* less than the largest alignment */
}

static enum uw_status put_header(struct uw_writer *w, struct uw_error *err)
{
	uint8_t header[UW_HEADER_NBYTES] = {0};

	memcpy(header + HEADER_MAGIC, HEADER_MAGIC_BYTES, MAGIC_NBYTES);
	uw_store_le16(header + HEADER_MAJOR, UW_CONTAINER_VERSION);
	uw_store_le16(header + HEADER_MINOR, VERSION_MINOR);
	uw_store_le64(header + HEADER_INCOMPAT, w->base.needed ? FEATURE_BASE : 0);
	uw_hash64(header, HEADER_HASH, header + HEADER_HASH);
	return put(w, header, sizeof(header), err);
}

enum uw_status uw_writer_open_based(struct uw_writer **writer, uw_write_fn write, void *ctx, uint64_t src_nbytes,
				    const uint8_t *digest, struct uw_error *err)
{
	struct uw_writer *w = calloc(1, sizeof(*w));
	enum uw_status status;

	*writer = NULL;
	if (w == NULL)
		return no_memory(err);
	w->write = write;
	w->ctx = ctx;
	w->src_nbytes = src_nbytes;
	w->base.needed = digest != NULL;
	if (w->base.needed)
		memcpy(w->base.digest, digest, sizeof(w->base.digest));
	status = put_header(w, err);
	if (status != UW_OK) {
		uw_writer_free(w);
		return status;
	}
	w->usable = true;
	*writer = w;
	return UW_OK;
}

enum uw_status uw_writer_open(struct uw_writer **writer, uw_write_fn write, void *ctx, uint64_t src_nbytes,
			      struct uw_error *err)
{
	return uw_writer_open_based(writer, write, ctx, src_nbytes, NULL, err);
}

void uw_writer_free(struct uw_writer *w)
{
	if (w == NULL)
		return;
	free(w->extents.data);
	free(w->groups.data);
	free(w->dims.data);
	free(w->names.data);
	free(w);
}

/* Marks the writer unusable until the caller succeeds. */
static enum uw_status enter(struct uw_writer *w, struct uw_error *err)
{
	if (!w->usable)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "container writer has failed or finished before");
	w->usable = false;
	return UW_OK;
}

/* ---- groups ---- */

static enum uw_status add_group(struct uw_writer *w, const void *stored, const struct uw_group *group,
				struct uw_error *err)
{
	struct uw_group g = *group;
	enum uw_status status;
	uint8_t *record;

	if (w->ngroups == UINT32_MAX)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "more groups than a container can count");
	if (!uw_group_place(w->off, g.nbytes, &g.off))
		return uw_fail(err, UW_ERR_ARG, w->off, "container of 2^63 bytes or more");
	status = put_zeros_to(w, g.off, err);
	if (status == UW_OK)
		status = put(w, stored, g.nbytes, err);
	if (status != UW_OK)
		return status;
	record = pool_add(&w->groups, GROUP_NBYTES);
	if (record == NULL)
		return no_memory(err);
	uw_group_store(record, &g);
	w->ngroups++;
	return UW_OK;
}

enum uw_status uw_writer_group(struct uw_writer *w, const void *stored, const struct uw_group *group,
			       struct uw_error *err)
{
	enum uw_status status = enter(w, err);

	if (status == UW_OK) {
		status = add_group(w, stored, group, err);
		w->usable = status == UW_OK;
	}
	return status;
}

static enum uw_status share_group(struct uw_writer *w, uint64_t earlier, struct uw_error *err)
{
	uint8_t copy[GROUP_NBYTES], *record;

	if (earlier >= w->ngroups || w->ngroups == UINT32_MAX)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "no earlier group %" PRIu64, earlier);
	memcpy(copy, w->groups.data + earlier * GROUP_NBYTES, sizeof(copy));
	record = pool_add(&w->groups, GROUP_NBYTES);
	if (record == NULL)
		return no_memory(err);
	memcpy(record, copy, sizeof(copy));
	w->ngroups++;
	return UW_OK;
}

enum uw_status uw_writer_group_shared(struct uw_writer *w, uint64_t earlier, struct uw_error *err)
{
	enum uw_status status = enter(w, err);

	if (status == UW_OK) {
		status = share_group(w, earlier, err);
		w->usable = status == UW_OK;
	}
	return status;
}

/* ---- extents ---- */

static enum uw_status check_extent(const struct uw_writer *w, const struct uw_extent *e, struct uw_error *err)
{
	uint8_t first_kind = w->nextents == 0 ? e->kind : w->first_kind;
	struct uw_slice slice;
	struct uw_group group;
	const char *what;
	uint32_t field;

	if (!uw_kind_fits(w->nextents, first_kind, e->kind))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "extent %" PRIu64 ": kind out of place", w->nextents);
	what = uw_extent_fault(e, &field);
	if (what != NULL)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "extent %" PRIu64 ": %s", w->nextents, what);
	for (uint64_t i = 0; i < e->ngroups; i++) {
		uw_group_load(w->groups.data + (e->first_group + i) * GROUP_NBYTES, &group);
		uw_extent_slice(e, i, &slice);
		what = uw_group_fault(&group, e, w->base.needed, &slice, &field);
		if (what != NULL)
			return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "extent %" PRIu64 ", group %" PRIu64 ": %s",
				       w->nextents, i, what);
	}
	return UW_OK;
}

static bool append_dims(struct pool *dims, const struct uw_extent *e)
{
	uint8_t dim[DIM_NBYTES];

	for (uint8_t i = 0; i < e->ndims; i++) {
		uw_store_le64(dim, e->dims[i]);
		if (!pool_append(dims, dim, sizeof(dim)))
			return false;
	}
	return true;
}

static enum uw_status add_extent(struct uw_writer *w, const struct uw_extent *extent, struct uw_error *err)
{
	uint64_t first_dim = w->dims.nbytes / DIM_NBYTES, name_off = w->names.nbytes;
	struct uw_extent e = *extent;
	enum uw_status status;
	uint8_t *record;

	if (w->nextents == UINT32_MAX || first_dim + e.ndims > UINT32_MAX || name_off + e.name_nbytes > UINT32_MAX)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "more extents than a container can count");
	if (!uw_add(w->extents_src, e.src_nbytes, &w->extents_src) || w->extents_src > w->src_nbytes)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "extents exceed the source file");
	e.first_group = w->ngroups_taken;
	e.ngroups = w->ngroups - w->ngroups_taken;
	status = check_extent(w, &e, err);
	if (status != UW_OK)
		return status;
	record = pool_add(&w->extents, EXTENT_NBYTES);
	if (record == NULL || !append_dims(&w->dims, &e) || !pool_append(&w->names, e.name, e.name_nbytes))
		return no_memory(err);
	uw_extent_store(record, &e, (uint32_t)first_dim, (uint32_t)name_off);
	if (w->nextents == 0)
		w->first_kind = e.kind;
	w->nextents++;
	w->ntensors += e.kind == UW_EXTENT_TENSOR;
	w->ngroups_taken = w->ngroups;
	return UW_OK;
}

enum uw_status uw_writer_extent(struct uw_writer *w, const struct uw_extent *extent, struct uw_error *err)
{
	enum uw_status status = enter(w, err);

	if (status == UW_OK) {
		status = add_extent(w, extent, err);
		w->usable = status == UW_OK;
	}
	return status;
}

/* ---- index and trailer ---- */

static void list_names(const struct uw_writer *w, struct uw_name *names)
{
	struct uw_extent e;
	uint32_t first_dim, name_off;
	uint64_t n = 0;

	for (uint32_t i = 0; i < w->nextents; i++) {
		uw_extent_load(w->extents.data + (uint64_t)i * EXTENT_NBYTES, &e, &first_dim, &name_off);
		if (e.kind != UW_EXTENT_TENSOR)
			continue;
		names[n].text = e.name_nbytes > 0 ? (const char *)w->names.data + name_off : "";
		names[n].nbytes = e.name_nbytes;
		names[n].extent = i;
		n++;
	}
}

static enum uw_status check_names(const struct uw_writer *w, struct uw_error *err)
{
	const struct uw_name *twice;
	struct uw_name *names;
	uint64_t nbytes;

	if (w->ntensors == 0)
		return UW_OK;
	if (!uw_mul(w->ntensors, sizeof(*names), &nbytes) || nbytes > PTRDIFF_MAX)
		return no_memory(err);
	names = malloc((size_t)nbytes);
	if (names == NULL)
		return no_memory(err);
	list_names(w, names);
	twice = uw_names_sort(names, (size_t)w->ntensors);
	if (twice != NULL)
		uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "extent %" PRIu32 ": name used before", twice->extent);
	free(names);
	return twice == NULL ? UW_OK : UW_ERR_ARG;
}

static bool join_index(const struct uw_writer *w, struct pool *index)
{
	static const uint8_t zeros[INDEX_PAD];
	uint8_t head[INDEX_HEAD_NBYTES] = {0};

	uw_store_le64(head + INDEX_SRC_NBYTES, w->src_nbytes);
	uw_store_le32(head + INDEX_NEXTENTS, (uint32_t)w->nextents);
	uw_store_le32(head + INDEX_NGROUPS, (uint32_t)w->ngroups);
	uw_store_le32(head + INDEX_NDIMS, (uint32_t)(w->dims.nbytes / DIM_NBYTES));
	uw_store_le32(head + INDEX_NAMES_NBYTES, (uint32_t)w->names.nbytes);
	return pool_append(index, head, sizeof(head)) &&
	       pool_append(index, w->base.digest, w->base.needed ? sizeof(w->base.digest) : 0) &&
	       pool_append(index, w->extents.data, w->extents.nbytes) &&
	       pool_append(index, w->groups.data, w->groups.nbytes) &&
	       pool_append(index, w->dims.data, w->dims.nbytes) &&
	       pool_append(index, w->names.data, w->names.nbytes) &&
	       pool_append(index, zeros, (INDEX_PAD - index->nbytes % INDEX_PAD) % INDEX_PAD);
}

static enum uw_status put_index(struct uw_writer *w, const struct pool *index, struct uw_container_id *id,
				struct uw_error *err)
{
	uint8_t trailer[UW_TRAILER_NBYTES] = {0};
	enum uw_status status;
	uint64_t index_off;

	if (!uw_align_up(w->off, INDEX_ALIGN, &index_off))
		return uw_fail(err, UW_ERR_ARG, w->off, "container of 2^63 bytes or more");
	status = put_zeros_to(w, index_off, err);
	if (status == UW_OK)
		status = put(w, index->data, index->nbytes, err);
	if (status != UW_OK)
		return status;
	id->nbytes = w->off + UW_TRAILER_NBYTES;
	uw_hash64(index->data, (size_t)index->nbytes, id->index_xxh64);

	uw_store_le64(trailer + TRAILER_INDEX_OFF, index_off);
	uw_store_le64(trailer + TRAILER_INDEX_NBYTES, index->nbytes);
	uw_store_le64(trailer + TRAILER_FILE_NBYTES, id->nbytes);
	memcpy(trailer + TRAILER_INDEX_HASH, id->index_xxh64, sizeof(id->index_xxh64));
	uw_hash64(trailer, TRAILER_HASH, trailer + TRAILER_HASH);
	memcpy(trailer + TRAILER_MAGIC, TRAILER_MAGIC_BYTES, MAGIC_NBYTES);
	return put(w, trailer, sizeof(trailer), err);
}

enum uw_status uw_writer_finish(struct uw_writer *w, struct uw_container_id *id, struct uw_error *err)
{
	struct pool index = {0};
	enum uw_status status = enter(w, err);

	if (status != UW_OK)
		return status;
	if (w->extents_src != w->src_nbytes)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "extents do not add up to the source file");
	if (w->ngroups_taken != w->ngroups)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "groups without an extent");
	status = check_names(w, err);
	if (status != UW_OK)
		return status;
	status = join_index(w, &index) ? put_index(w, &index, id, err) : no_memory(err);
	free(index.data);
	return status;
}
