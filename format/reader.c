/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a container: outside in (header, trailer, index), each part's hash before its contents, each count before what
 * it counts. The index is read whole and checked once; after that nothing that the caller does with it can fail.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "layout.h"
#include "names.h"
#include "rules.h"

/* What uw_index_open hands out, with what only we look at. */
struct index {
	struct uw_index pub; /* first: the two pointers are one */
	struct uw_extent *extents;
	struct uw_group *groups;
	uint64_t *gaps; /* where the gap before each group begins; SHARED: it shares stored bytes */
	uint64_t last_gap; /* before the index */
	uint64_t *dims;
	char *text; /* all names */
	struct uw_name *names; /* sorted */
	size_t nnames;
};

#define SHARED UINT64_MAX

/* The file while it is opened. */
struct input {
	uw_pread_fn pread;
	void *ctx;
	struct uw_error *err;
	uint64_t file_nbytes;
	uint64_t index_off;
	uint64_t index_nbytes;
	uint8_t index_hash[8];
	bool based; /* the header says so */
	uint8_t *raw; /* the index */
	/* its counts, and where in it the parts begin */
	uint64_t nextents;
	uint64_t ngroups;
	uint64_t ndims;
	uint64_t names_nbytes;
	uint64_t extents_at;
	uint64_t groups_at;
	uint64_t dims_at;
	uint64_t names_at;
};

static bool all_zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i] != 0)
			return false;
	return true;
}

static bool hash_matches(const void *data, uint64_t nbytes, const uint8_t stored[8])
{
	uint8_t computed[8];

	uw_hash64(data, (size_t)nbytes, computed);
	return memcmp(computed, stored, sizeof(computed)) == 0;
}

/* The index breaks a rule at byte `at` of it. */
static enum uw_status bad_index(const struct input *in, uint64_t at, const char *what)
{
	return uw_fail(in->err, UW_ERR_LAYOUT, in->index_off + at, "index: %s", what);
}

static enum uw_status bad_extent(const struct input *in, uint64_t extent, uint32_t field, const char *what)
{
	return uw_fail(in->err, UW_ERR_LAYOUT, in->index_off + in->extents_at + extent * EXTENT_NBYTES + field,
		       "index, extent %" PRIu64 ": %s", extent, what);
}

static enum uw_status bad_group(const struct input *in, uint64_t group, uint32_t field, const char *what)
{
	return uw_fail(in->err, UW_ERR_LAYOUT, in->index_off + in->groups_at + group * GROUP_NBYTES + field,
		       "index, group %" PRIu64 ": %s", group, what);
}

/* ---- header and trailer ---- */

/* Another major version may mean anything by what follows it; but if the hash is right once ours is put in its place,
 * this is a header of ours with its version damaged. */
static enum uw_status bad_version(const struct input *in, const uint8_t *header)
{
	uint8_t ours[UW_HEADER_NBYTES];

	memcpy(ours, header, sizeof(ours));
	uw_store_le16(ours + HEADER_MAJOR, UW_CONTAINER_VERSION);
	if (hash_matches(ours, HEADER_HASH, ours + HEADER_HASH))
		return uw_fail(in->err, UW_ERR_CHECKSUM, HEADER_MAJOR, "header: wrong hash");
	return uw_fail(in->err, UW_ERR_VERSION, HEADER_MAJOR, "container of major version %u, we know %u",
		       (unsigned)uw_load_le16(header + HEADER_MAJOR), UW_CONTAINER_VERSION);
}

static enum uw_status check_header_fields(struct input *in, const uint8_t *header)
{
	if (uw_load_le16(header + HEADER_MAJOR) != UW_CONTAINER_VERSION)
		return bad_version(in, header);
	if (!hash_matches(header, HEADER_HASH, header + HEADER_HASH))
		return uw_fail(in->err, UW_ERR_CHECKSUM, HEADER_HASH, "header: wrong hash");
	if ((uw_load_le64(header + HEADER_INCOMPAT) & ~KNOWN_FEATURES) != 0)
		return uw_fail(in->err, UW_ERR_FEATURE, HEADER_INCOMPAT, "unknown incompatible features 0x%" PRIx64,
			       uw_load_le64(header + HEADER_INCOMPAT));
	if (uw_load_le32(header + HEADER_RESERVED) != 0)
		return uw_fail(in->err, UW_ERR_LAYOUT, HEADER_RESERVED, "header: reserved field is not 0");
	if (!all_zero(header + HEADER_RESERVED2, HEADER_HASH - HEADER_RESERVED2))
		return uw_fail(in->err, UW_ERR_LAYOUT, HEADER_RESERVED2, "header: reserved field is not 0");
	in->based = (uw_load_le64(header + HEADER_INCOMPAT) & FEATURE_BASE) != 0;
	return UW_OK;
}

static enum uw_status check_header(struct input *in)
{
	uint8_t header[UW_HEADER_NBYTES] = {0};
	size_t nbytes = in->file_nbytes < sizeof(header) ? (size_t)in->file_nbytes : sizeof(header);
	enum uw_status status;

	if (nbytes > 0) {
		status = in->pread(in->ctx, header, nbytes, 0, in->err);
		if (status != UW_OK)
			return status;
	}
	if (memcmp(header, HEADER_MAGIC_BYTES, nbytes < MAGIC_NBYTES ? nbytes : MAGIC_NBYTES) != 0)
		return uw_fail(in->err, UW_ERR_MAGIC, HEADER_MAGIC, "not an Unweight container");
	if (nbytes < sizeof(header))
		return uw_fail(in->err, UW_ERR_TRUNCATED, in->file_nbytes, "file ends within the header");
	return check_header_fields(in, header);
}

static enum uw_status bad_trailer(const struct input *in, enum uw_status status, uint32_t field, const char *what)
{
	return uw_fail(in->err, status, in->file_nbytes - UW_TRAILER_NBYTES + field, "trailer: %s", what);
}

static enum uw_status check_trailer_fields(struct input *in, const uint8_t *trailer)
{
	uint64_t end;

	if (memcmp(trailer + TRAILER_MAGIC, TRAILER_MAGIC_BYTES, MAGIC_NBYTES) != 0)
		return bad_trailer(in, UW_ERR_TRUNCATED, TRAILER_MAGIC, "not at the end of the file");
	if (!hash_matches(trailer, TRAILER_HASH, trailer + TRAILER_HASH))
		return bad_trailer(in, UW_ERR_CHECKSUM, TRAILER_HASH, "wrong hash");
	if (!all_zero(trailer + TRAILER_RESERVED, TRAILER_HASH - TRAILER_RESERVED))
		return bad_trailer(in, UW_ERR_LAYOUT, TRAILER_RESERVED, "reserved field is not 0");
	if (uw_load_le64(trailer + TRAILER_FILE_NBYTES) != in->file_nbytes)
		return bad_trailer(in, UW_ERR_LAYOUT, TRAILER_FILE_NBYTES, "size differs from the file's");
	in->index_off = uw_load_le64(trailer + TRAILER_INDEX_OFF);
	in->index_nbytes = uw_load_le64(trailer + TRAILER_INDEX_NBYTES);
	if (in->index_off < UW_HEADER_NBYTES || in->index_off % INDEX_ALIGN != 0)
		return bad_trailer(in, UW_ERR_LAYOUT, TRAILER_INDEX_OFF, "impossible offset of the index");
	if (in->index_nbytes < INDEX_HEAD_NBYTES || !uw_add(in->index_off, in->index_nbytes, &end) ||
	    end != in->file_nbytes - UW_TRAILER_NBYTES)
		return bad_trailer(in, UW_ERR_LAYOUT, TRAILER_INDEX_NBYTES, "index does not end at the trailer");
	memcpy(in->index_hash, trailer + TRAILER_INDEX_HASH, sizeof(in->index_hash));
	return UW_OK;
}

static enum uw_status check_trailer(struct input *in)
{
	uint8_t trailer[UW_TRAILER_NBYTES];
	enum uw_status status;

	if (in->file_nbytes < UW_HEADER_NBYTES + INDEX_HEAD_NBYTES + UW_TRAILER_NBYTES)
		return uw_fail(in->err, UW_ERR_TRUNCATED, in->file_nbytes, "file ends before index and trailer");
	status = in->pread(in->ctx, trailer, sizeof(trailer), in->file_nbytes - sizeof(trailer), in->err);
	return status == UW_OK ? check_trailer_fields(in, trailer) : status;
}

/* ---- index ---- */

/* Holds the counts against the size of the index, which is bounded by the file: from here on they are safe to
 * allocate by. 32-bit counts times small records cannot overflow 64 bits. */
static enum uw_status load_counts(struct input *in, const uint8_t *head)
{
	uint64_t nbytes;

	in->nextents = uw_load_le32(head + INDEX_NEXTENTS);
	in->ngroups = uw_load_le32(head + INDEX_NGROUPS);
	in->ndims = uw_load_le32(head + INDEX_NDIMS);
	in->names_nbytes = uw_load_le32(head + INDEX_NAMES_NBYTES);
	in->extents_at = INDEX_HEAD_NBYTES + (in->based ? UW_BASE_DIGEST_NBYTES : 0);
	in->groups_at = in->extents_at + in->nextents * EXTENT_NBYTES;
	in->dims_at = in->groups_at + in->ngroups * GROUP_NBYTES;
	in->names_at = in->dims_at + in->ndims * DIM_NBYTES;
	if (!uw_align_up(in->names_at + in->names_nbytes, INDEX_PAD, &nbytes) || nbytes != in->index_nbytes)
		return bad_index(in, INDEX_NEXTENTS, "counts do not add up to its size");
	return UW_OK;
}

static void *alloc_array(uint64_t n, size_t nbytes_each)
{
	uint64_t nbytes;

	if (!uw_mul(n, nbytes_each, &nbytes) || nbytes > PTRDIFF_MAX)
		return NULL;
	return malloc(nbytes > 0 ? (size_t)nbytes : 1);
}

static enum uw_status no_memory(const struct input *in)
{
	return uw_fail(in->err, UW_ERR_NOMEM, in->index_off, "no memory for an index of %" PRIu64 " bytes",
		       in->index_nbytes);
}

static enum uw_status read_index(struct input *in)
{
	uint8_t head[INDEX_HEAD_NBYTES];
	enum uw_status status;

	status = in->pread(in->ctx, head, sizeof(head), in->index_off, in->err);
	if (status == UW_OK)
		status = load_counts(in, head);
	if (status != UW_OK)
		return status;
	in->raw = alloc_array(in->index_nbytes, 1);
	if (in->raw == NULL)
		return no_memory(in);
	/* Not read twice: the counts must stay what they were, whoever else writes to the file. */
	memcpy(in->raw, head, sizeof(head));
	if (in->index_nbytes > sizeof(head)) {
		status = in->pread(in->ctx, in->raw + sizeof(head), (size_t)(in->index_nbytes - sizeof(head)),
				   in->index_off + sizeof(head), in->err);
		if (status != UW_OK)
			return status;
	}
	if (!hash_matches(in->raw, in->index_nbytes, in->index_hash))
		return uw_fail(in->err, UW_ERR_CHECKSUM, in->index_off, "index: wrong hash");
	return UW_OK;
}

static enum uw_status check_reserved(const struct input *in)
{
	uint64_t names_end = in->names_at + in->names_nbytes;

	if (!all_zero(in->raw + INDEX_RESERVED, INDEX_HEAD_NBYTES - INDEX_RESERVED))
		return bad_index(in, INDEX_RESERVED, "reserved field is not 0");
	if (!all_zero(in->raw + names_end, (size_t)(in->index_nbytes - names_end)))
		return bad_index(in, names_end, "padding is not 0");
	return UW_OK;
}

static enum uw_status alloc_index(const struct input *in, struct index **index)
{
	struct index *ix = calloc(1, sizeof(*ix));

	*index = ix;
	if (ix == NULL)
		return no_memory(in);
	ix->extents = alloc_array(in->nextents, sizeof(*ix->extents));
	ix->groups = alloc_array(in->ngroups, sizeof(*ix->groups));
	ix->gaps = alloc_array(in->ngroups, sizeof(*ix->gaps));
	ix->dims = alloc_array(in->ndims, sizeof(*ix->dims));
	ix->text = alloc_array(in->names_nbytes, 1);
	ix->names = alloc_array(in->nextents, sizeof(*ix->names));
	if (ix->extents == NULL || ix->groups == NULL || ix->gaps == NULL || ix->dims == NULL || ix->text == NULL || ix->names == NULL)
		return no_memory(in);
	ix->pub.src_nbytes = uw_load_le64(in->raw + INDEX_SRC_NBYTES);
	ix->pub.nextents = in->nextents;
	ix->pub.ngroups = in->ngroups;
	ix->pub.index_off = in->index_off;
	ix->pub.base.needed = in->based;
	if (in->based)
		memcpy(ix->pub.base.digest, in->raw + INDEX_HEAD_NBYTES, sizeof(ix->pub.base.digest));
	ix->pub.id.nbytes = in->file_nbytes;
	memcpy(ix->pub.id.index_xxh64, in->index_hash, sizeof(in->index_hash));
	ix->pub.extents = ix->extents;
	ix->pub.groups = ix->groups;
	for (uint64_t i = 0; i < in->ndims; i++)
		ix->dims[i] = uw_load_le64(in->raw + in->dims_at + i * DIM_NBYTES);
	memcpy(ix->text, in->raw + in->names_at, (size_t)in->names_nbytes);
	return UW_OK;
}

/* ---- extents ---- */

/* What the extents before add up to. */
struct sums {
	uint64_t src;
	uint64_t groups;
	uint64_t dims;
	uint64_t names;
};

static enum uw_status load_extent(const struct input *in, struct index *ix, uint64_t i, struct sums *sums)
{
	struct uw_extent *e = &ix->extents[i];
	uint32_t first_dim, name_off, field;
	const char *what;

	uw_extent_load(in->raw + in->extents_at + i * EXTENT_NBYTES, e, &first_dim, &name_off);
	if (!uw_kind_fits(i, ix->extents[0].kind, e->kind))
		return bad_extent(in, i, EXTENT_KIND, "kind out of place");
	if (e->first_group != sums->groups)
		return bad_extent(in, i, EXTENT_FIRST_GROUP, "groups do not follow those before");
	if (e->ngroups > in->ngroups - sums->groups)
		return bad_extent(in, i, EXTENT_NGROUPS, "more groups than there are");
	if (first_dim != sums->dims)
		return bad_extent(in, i, EXTENT_FIRST_DIM, "dimensions do not follow those before");
	if (e->ndims > in->ndims - sums->dims)
		return bad_extent(in, i, EXTENT_NDIMS, "more dimensions than there are");
	if (name_off != sums->names)
		return bad_extent(in, i, EXTENT_NAME_OFF, "name does not follow the one before");
	if (e->name_nbytes > in->names_nbytes - sums->names)
		return bad_extent(in, i, EXTENT_NAME_NBYTES, "name ends beyond the names");
	if (e->src_nbytes > ix->pub.src_nbytes - sums->src)
		return bad_extent(in, i, EXTENT_SRC_NBYTES, "ends beyond the source file");
	e->src_off = sums->src;
	e->dims = ix->dims + sums->dims;
	e->name = ix->text + sums->names;
	what = uw_extent_fault(e, &field);
	if (what != NULL)
		return bad_extent(in, i, field, what);
	sums->src += e->src_nbytes;
	sums->groups += e->ngroups;
	sums->dims += e->ndims;
	sums->names += e->name_nbytes;
	return UW_OK;
}

static enum uw_status load_extents(const struct input *in, struct index *ix)
{
	struct sums sums = {0};

	for (uint64_t i = 0; i < in->nextents; i++) {
		enum uw_status status = load_extent(in, ix, i, &sums);

		if (status != UW_OK)
			return status;
	}
	if (sums.src != ix->pub.src_nbytes)
		return bad_index(in, INDEX_SRC_NBYTES, "extents do not add up to the source file");
	if (sums.groups != in->ngroups)
		return bad_index(in, INDEX_NGROUPS, "groups without an extent");
	if (sums.dims != in->ndims)
		return bad_index(in, INDEX_NDIMS, "dimensions without an extent");
	if (sums.names != in->names_nbytes)
		return bad_index(in, INDEX_NAMES_NBYTES, "names without an extent");
	return UW_OK;
}

static enum uw_status sort_names(const struct input *in, struct index *ix)
{
	const struct uw_name *twice;

	for (uint32_t i = 0; i < in->nextents; i++) {
		const struct uw_extent *e = &ix->extents[i];

		if (e->kind == UW_EXTENT_TENSOR)
			ix->names[ix->nnames++] =
				(struct uw_name){.text = e->name, .nbytes = e->name_nbytes, .extent = i};
	}
	twice = uw_names_sort(ix->names, ix->nnames);
	return twice == NULL ? UW_OK : bad_extent(in, twice->extent, EXTENT_NAME_OFF, "name used before");
}

/* ---- groups ---- */

/* The groups while they are loaded. */
struct payload {
	uint64_t end;    /* of the stored bytes so far */
	uint32_t *owned; /* groups with stored bytes of their own, by ascending offset */
	uint64_t nowned;
};

/* Is the record that of the earlier group at the same offset? */
static bool shares(const struct input *in, const struct index *ix, const struct payload *p, uint64_t i)
{
	const uint8_t *records = in->raw + in->groups_at;
	uint64_t low = 0, high = p->nowned, off = ix->groups[i].off;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2, at = ix->groups[p->owned[middle]].off;

		if (at == off)
			return memcmp(records + p->owned[middle] * (uint64_t)GROUP_NBYTES, records + i * GROUP_NBYTES,
				      GROUP_NBYTES) == 0;
		if (at < off)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

/* Group `i` of the file, the `k`th of `extent`. */
static enum uw_status load_group(const struct input *in, struct index *ix, uint64_t i, const struct uw_extent *extent,
				 uint64_t k, struct payload *p)
{
	const uint8_t *record = in->raw + in->groups_at + i * GROUP_NBYTES;
	struct uw_group *g = &ix->groups[i];
	struct uw_slice slice;
	const char *what;
	uint32_t field;
	uint64_t off;

	uw_group_load(record, g);
	if (uw_load_le16(record + GROUP_RESERVED) != 0)
		return bad_group(in, i, GROUP_RESERVED, "reserved field is not 0");
	uw_extent_slice(extent, k, &slice);
	what = uw_group_fault(g, extent, in->based, &slice, &field);
	if (what != NULL)
		return bad_group(in, i, field, what);
	if (g->off < p->end && shares(in, ix, p, i)) {
		ix->gaps[i] = SHARED;
		return UW_OK;
	}
	if (!uw_group_place(p->end, g->nbytes, &off) || g->off != off)
		return bad_group(in, i, GROUP_OFF, "neither follows the one before nor is that of an earlier one");
	ix->gaps[i] = p->end;
	p->owned[p->nowned++] = (uint32_t)i;
	if (!uw_add(off, g->nbytes, &p->end) || p->end > in->index_off)
		return bad_group(in, i, GROUP_STORED_NBYTES, "ends beyond the index");
	return UW_OK;
}

static enum uw_status load_all_groups(const struct input *in, struct index *ix, struct payload *p)
{
	uint64_t index_off;

	for (uint64_t e = 0; e < in->nextents; e++) {
		const struct uw_extent *extent = &ix->extents[e];

		for (uint64_t k = 0; k < extent->ngroups; k++) {
			enum uw_status status = load_group(in, ix, extent->first_group + k, extent, k, p);

			if (status != UW_OK)
				return status;
		}
	}
	if (!uw_align_up(p->end, INDEX_ALIGN, &index_off) || index_off != in->index_off)
		return bad_trailer(in, UW_ERR_LAYOUT, TRAILER_INDEX_OFF, "index does not follow the groups");
	ix->last_gap = p->end;
	return UW_OK;
}

static enum uw_status load_groups(const struct input *in, struct index *ix)
{
	struct payload p = {.end = UW_HEADER_NBYTES, .owned = alloc_array(in->ngroups, sizeof(*p.owned))};
	enum uw_status status = p.owned != NULL ? load_all_groups(in, ix, &p) : no_memory(in);

	free(p.owned);
	return status;
}

/* ---- the whole ---- */

static void free_index(struct index *ix)
{
	if (ix == NULL)
		return;
	free(ix->extents);
	free(ix->groups);
	free(ix->gaps);
	free(ix->dims);
	free(ix->text);
	free(ix->names);
	free(ix);
}

static enum uw_status load_index(const struct input *in, struct index **index)
{
	struct index *ix;
	enum uw_status status = check_reserved(in);

	if (status != UW_OK)
		return status;
	status = alloc_index(in, &ix);
	if (status == UW_OK)
		status = load_extents(in, ix);
	if (status == UW_OK)
		status = sort_names(in, ix);
	if (status == UW_OK)
		status = load_groups(in, ix);
	if (status != UW_OK) {
		free_index(ix);
		return status;
	}
	*index = ix;
	return UW_OK;
}

enum uw_status uw_index_open(uw_pread_fn pread, void *ctx, uint64_t file_nbytes, struct uw_index **index,
			     struct uw_error *err)
{
	struct input in = {.pread = pread, .ctx = ctx, .err = err, .file_nbytes = file_nbytes};
	struct index *ix = NULL;
	enum uw_status status;

	*index = NULL;
	status = check_header(&in);
	if (status == UW_OK)
		status = check_trailer(&in);
	if (status == UW_OK)
		status = read_index(&in);
	if (status == UW_OK)
		status = load_index(&in, &ix);
	free(in.raw);
	if (status == UW_OK)
		*index = &ix->pub;
	return status;
}

void uw_index_free(struct uw_index **index)
{
	free_index((struct index *)*index);
	*index = NULL;
}

const struct uw_extent *uw_index_find(const struct uw_index *index, const char *name, size_t name_nbytes)
{
	const struct index *ix = (const struct index *)index;
	const struct uw_name *found = uw_names_find(ix->names, ix->nnames, name, name_nbytes);

	return found != NULL ? &ix->extents[found->extent] : NULL;
}

bool uw_index_group_shared(const struct uw_index *index, uint64_t i)
{
	return ((const struct index *)index)->gaps[i] == SHARED;
}

uint64_t uw_index_gap_off(const struct uw_index *index, uint64_t i)
{
	const struct index *ix = (const struct index *)index;

	if (i == index->ngroups)
		return ix->last_gap;
	return ix->gaps[i] == SHARED ? index->groups[i].off : ix->gaps[i];
}
