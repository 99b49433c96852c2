/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Slices of tensors. A tensor is seen as nexperts x nrows x ncols values; its groups give pieces of its bytes, of
 * which the slice takes what it has. Pieces are as small as the coding allows: rows as stored, the slice's tile columns
 * of row blocks of tiled groups, whole groups otherwise.
 */
#include <string.h>

#include "group.h"
#include "model.h"
#include "unweight/checked.h"

struct uw_tensor_grid uw_tensor_grid(const struct uw_tensor *tensor)
{
	uint32_t nbits = uw_dtype_nbits(tensor->dtype);
	struct uw_tensor_grid grid = { 1, 1, 1, nbits / 8, nbits == 0 || nbits % 8 != 0 };

	if (grid.whole) {
		grid.ncols = tensor->nbytes;
		grid.size = 1;
		return grid;
	}
	for (uint8_t d = 0; d < tensor->ndims; d++) {
		if (d + 1 == tensor->ndims)
			grid.ncols = tensor->dims[d];
		else if (d + 2 == tensor->ndims)
			grid.nrows = tensor->dims[d];
		else
			grid.nexperts *= tensor->dims[d]; /* below 2^64: checked with the index */
	}
	return grid;
}

/* ---- slices ---- */

static bool cut(uint64_t *begin, uint64_t *end, uint64_t n)
{
	if (*end == 0)
		*end = n;
	return *begin < *end && *end <= n;
}

static bool is_whole(const struct uw_tensor_grid *grid, const struct uw_tensor_slice *s)
{
	return s->expert_begin == 0 && s->row_begin == 0 && s->col_begin == 0 && s->expert_end == grid->nexperts &&
	       s->row_end == grid->nrows && s->col_end == grid->ncols;
}

/* The slice with its ends filled in; false: empty, outside, or not to be cut. */
static bool resolve(const struct uw_tensor_grid *grid, const struct uw_tensor_slice *slice, struct uw_tensor_slice *out)
{
	*out = slice != NULL ? *slice : (struct uw_tensor_slice){ 0 };
	return cut(&out->expert_begin, &out->expert_end, grid->nexperts) &&
	       cut(&out->row_begin, &out->row_end, grid->nrows) && cut(&out->col_begin, &out->col_end, grid->ncols) &&
	       (!grid->whole || is_whole(grid, out));
}

static uint64_t slice_nbytes(const struct uw_tensor_grid *grid, const struct uw_tensor_slice *s)
{
	return (s->expert_end - s->expert_begin) * (s->row_end - s->row_begin) * (s->col_end - s->col_begin) *
	       grid->size; /* no more than the tensor has */
}

uint64_t uw_tensor_slice_nbytes(const struct uw_tensor *tensor, const struct uw_tensor_slice *slice)
{
	struct uw_tensor_grid grid = uw_tensor_grid(tensor);
	struct uw_tensor_slice resolved;

	return resolve(&grid, slice, &resolved) ? slice_nbytes(&grid, &resolved) : 0;
}

/* ---- pieces ---- */

struct read {
	const struct uw_model *model;
	struct uw_tensor_grid grid;
	struct uw_tensor_slice slice;
	bool in_place;         /* source bytes lie in dst as they lie in the tensor */
	uint8_t *dst;
	uint64_t stride;       /* bytes from row to row of dst */
	uint8_t *piece;        /* memory for one piece, or NULL */
	uint64_t piece_nbytes;
};

/* The first row (counted over all experts) of the slice at or behind `row`; UINT64_MAX: there is none. */
static uint64_t next_row(const struct read *read, uint64_t row)
{
	const struct uw_tensor_slice *s = &read->slice;
	uint64_t nrows = read->grid.nrows, expert = row / nrows, r = row % nrows;

	if (expert < s->expert_begin)
		return s->expert_begin * nrows + s->row_begin;
	if (expert >= s->expert_end)
		return UINT64_MAX;
	if (r < s->row_begin)
		return expert * nrows + s->row_begin;
	if (r < s->row_end)
		return row;
	return expert + 1 < s->expert_end ? (expert + 1) * nrows + s->row_begin : UINT64_MAX;
}

static bool wants(const struct read *read, uint64_t off, uint64_t nbytes)
{
	uint64_t row_nbytes = read->grid.ncols * read->grid.size;
	uint64_t row = next_row(read, off / row_nbytes);

	return row != UINT64_MAX && row * row_nbytes < off + nbytes;
}

/* Takes what the slice has of the tensor's bytes off .. off + nbytes. */
static void take(const struct read *read, const uint8_t *data, uint64_t off, uint64_t nbytes)
{
	const struct uw_tensor_slice *s = &read->slice;
	uint64_t size = read->grid.size, row_nbytes = read->grid.ncols * size, nrows = read->grid.nrows;
	uint64_t width = (s->col_end - s->col_begin) * size;

	for (uint64_t row = next_row(read, off / row_nbytes); row != UINT64_MAX && row * row_nbytes < off + nbytes;
	     row = next_row(read, row + 1)) {
		uint64_t begin = row * row_nbytes + s->col_begin * size, end = begin + width;
		uint64_t from = begin > off ? begin : off, to = end < off + nbytes ? end : off + nbytes;
		uint64_t at =
			(row / nrows - s->expert_begin) * (s->row_end - s->row_begin) + row % nrows - s->row_begin;

		if (from < to)
			memcpy(read->dst + at * read->stride + (from - begin), data + (from - off), (size_t)(to - from));
	}
}

static enum uw_status need_piece(struct read *read, uint64_t nbytes, struct uw_error *err)
{
	if (nbytes <= read->piece_nbytes)
		return UW_OK;
	uw_model_free(read->model, read->piece, read->piece_nbytes);
	read->piece_nbytes = 0;
	read->piece = uw_model_alloc(read->model, nbytes);
	if (read->piece == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "%llu bytes", (unsigned long long)nbytes);
	read->piece_nbytes = nbytes;
	return UW_OK;
}

/* ---- groups ---- */

/* On big-endian machines row blocks come in the wrong byte order: uw_group_decode is used there. */
static bool is_little_endian(void)
{
	const uint16_t one = 1;

	return *(const uint8_t *)&one == 1;
}

/* The codec counts from the group's first byte on. */
static enum uw_status in_group(const struct uw_stored_group *group, enum uw_status status, struct uw_error *err)
{
	if (status != UW_OK && err->file_off != UW_NO_OFFSET)
		err->file_off += group->group->off;
	return status;
}

static enum uw_status decode_whole_group(const struct read *read, struct uw_stored_group *group, uint8_t *to,
					 struct uw_error *err)
{
	const struct uw_cpu_ops *ops = uw_model_cpu_ops(read->model);
	struct uw_coded coded;
	enum uw_status status;

	if (group->group->coding == UW_CODING_ZSTD || !is_little_endian())
		return uw_group_decode(ops, group->extent, &group->slice, group->group, group->stored, to, err);
	status = uw_stored_group_coded(read->model, group, &coded, err);
	if (status != UW_OK)
		return status;
	return in_group(group, uw_coded_decode(ops, &coded, UW_STORE_CACHED, (uint16_t *)(void *)to, err), err);
}

static enum uw_status take_whole_group(struct read *read, struct uw_stored_group *group, struct uw_error *err)
{
	const struct uw_slice *slice = &group->slice;
	bool in_place = read->in_place && (uintptr_t)(read->dst + slice->src_off) % 2 == 0;
	enum uw_status status = in_place ? UW_OK : need_piece(read, slice->src_nbytes, err);
	uint8_t *to = in_place ? read->dst + slice->src_off : read->piece;

	if (status == UW_OK)
		status = decode_whole_group(read, group, to, err);
	if (status == UW_OK && !in_place)
		take(read, to, slice->src_off, slice->src_nbytes);
	return status;
}

static uint64_t row_off(const struct uw_slice *slice, const struct uw_coded *coded, uint64_t stored_row)
{
	return slice->src_off + uw_coded_row(coded, stored_row) * slice->ncols * sizeof(uint16_t);
}

static bool wants_rows(const struct read *read, const struct uw_slice *slice, const struct uw_coded *coded, uint64_t b)
{
	for (uint64_t r = b * UW_BLOCK_ROWS; r < (b + 1) * UW_BLOCK_ROWS && r < slice->nrows; r++) {
		if (wants(read, row_off(slice, coded, r), slice->ncols * sizeof(uint16_t)))
			return true;
	}
	return false;
}

/* Tile columns first .. + ncols of a group in tiled order, decoded row block after row block. */
static enum uw_status take_blocks(struct read *read, struct uw_stored_group *group, struct uw_error *err)
{
	const struct uw_slice *slice = &group->slice;
	uint64_t first = read->slice.col_begin / UW_TILE_COLS;
	uint64_t ncols = (read->slice.col_end + UW_TILE_COLS - 1) / UW_TILE_COLS - first, skip = first * UW_TILE_COLS;
	uint64_t width = slice->ncols - skip < ncols * UW_TILE_COLS ? slice->ncols - skip : ncols * UW_TILE_COLS;
	struct uw_coded coded;
	enum uw_status status = uw_stored_group_coded(read->model, group, &coded, err);

	if (status == UW_OK)
		status = need_piece(read, UW_BLOCK_ROWS * width * sizeof(uint16_t), err);
	for (uint64_t b = 0; status == UW_OK && b * UW_BLOCK_ROWS < slice->nrows; b++) {
		if (!wants_rows(read, slice, &coded, b))
			continue;
		status = uw_coded_decode_columns(uw_model_cpu_ops(read->model), &coded, b, first, ncols,
						 UW_STORE_CACHED, (uint16_t *)(void *)read->piece, (size_t)width, err);
		status = in_group(group, status, err);
		for (uint64_t r = b * UW_BLOCK_ROWS;
		     status == UW_OK && r < (b + 1) * UW_BLOCK_ROWS && r < slice->nrows; r++)
			take(read, read->piece + (r - b * UW_BLOCK_ROWS) * width * sizeof(uint16_t),
			     row_off(slice, &coded, r) + skip * sizeof(uint16_t), width * sizeof(uint16_t));
	}
	return status;
}

static enum uw_status take_group(struct read *read, struct uw_stored_group *group, struct uw_error *err)
{
	uint8_t coding = group->group->coding;

	if (coding == UW_CODING_RAW) {
		take(read, group->stored, group->slice.src_off, group->slice.src_nbytes);
		return UW_OK;
	}
	if (!read->in_place && coding != UW_CODING_ZSTD && group->extent->order == UW_ORDER_TILED && is_little_endian())
		return take_blocks(read, group, err);
	return take_whole_group(read, group, err);
}

static enum uw_status take_groups(struct read *read, const struct uw_tensor *tensor, struct uw_error *err)
{
	const struct uw_extent *extent;

	(void)uw_tensor_part(read->model, tensor, &extent);
	for (uint64_t i = 0; i < extent->ngroups; i++) {
		struct uw_stored_group group;
		struct uw_slice slice;
		enum uw_status status;

		uw_extent_slice(extent, i, &slice);
		if (!wants(read, slice.src_off, slice.src_nbytes))
			continue;
		if (uw_model_is_cancelled(read->model))
			return uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled");
		status = uw_stored_group_open(read->model, tensor, i, &group, err);
		if (status != UW_OK)
			return status;
		status = take_group(read, &group, err);
		uw_stored_group_close(read->model, &group);
		if (status != UW_OK)
			return status;
		uw_model_progress(read->model, slice.src_nbytes);
	}
	return UW_OK;
}

/* Bytes that rows `stride` apart take; false: rows overlap, or more than an address can say. */
static bool room_of(const struct read *read, uint64_t *nbytes)
{
	const struct uw_tensor_slice *s = &read->slice;
	uint64_t nrows = (s->expert_end - s->expert_begin) * (s->row_end - s->row_begin);
	uint64_t width = (s->col_end - s->col_begin) * read->grid.size;

	return read->stride >= width && uw_mul(nrows - 1, read->stride, nbytes) && uw_add(*nbytes, width, nbytes);
}

enum uw_status uw_tensor_read_rows(const struct uw_model *model, const struct uw_tensor *tensor,
				   const struct uw_tensor_slice *slice, void *dst, size_t dst_nbytes,
				   size_t row_stride, struct uw_error *err)
{
	struct uw_error own = { .file_off = UW_NO_OFFSET };
	struct read read = { .model = model, .grid = uw_tensor_grid(tensor), .dst = dst };
	enum uw_status status;
	uint64_t width, room;

	if (err == NULL)
		err = &own;
	if (slice == NULL && tensor->nbytes == 0)
		return UW_OK;
	if (!resolve(&read.grid, slice, &read.slice))
		return uw_tensor_failed(tensor, uw_fail(err, UW_ERR_SHAPE, UW_NO_OFFSET, "slice"), err);
	width = (read.slice.col_end - read.slice.col_begin) * read.grid.size;
	read.stride = row_stride != 0 ? row_stride : width;
	if (!room_of(&read, &room) || (row_stride != 0 && (size_t)room != room)) /* 32-bit: nobody has that room */
		return uw_tensor_failed(
			tensor, uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "rows %zu bytes apart", row_stride), err);
	if (dst_nbytes < room)
		return uw_tensor_failed(
			tensor, uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET, "room of %zu bytes", dst_nbytes), err);
	read.in_place = is_whole(&read.grid, &read.slice) && read.stride == width;
	status = take_groups(&read, tensor, err);
	uw_model_free(model, read.piece, read.piece_nbytes);
	return status == UW_OK ? UW_OK : uw_tensor_failed(tensor, status, err);
}

enum uw_status uw_tensor_read(const struct uw_model *model, const struct uw_tensor *tensor,
			      const struct uw_tensor_slice *slice, void *dst, size_t dst_nbytes, struct uw_error *err)
{
	return uw_tensor_read_rows(model, tensor, slice, dst, dst_nbytes, 0, err);
}
