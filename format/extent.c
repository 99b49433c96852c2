/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How an extent is cut into groups (SPEC.md section 3). Everything follows from size, order and dimensions, so the
 * container stores no geometry and nothing stored can contradict it.
 */
#include <stdbool.h>

#include "layout.h"

#define WEIGHT_NBYTES 2u
#define TILE_ROWS 16u
#define TILE_COLS 64u
#define GROUP_TARGET_COLS (UINT64_C(3) << 15) /* padded columns times row blocks of a full group */
#define MIN_STACKED_MATRIX (UINT64_C(1) << 16) /* weights; smaller matrices make groups too small to be worth it */

/* Tiled order: L matrices of nrows x ncols, each in ngroups runs of group_rows rows. */
struct tiling {
	uint64_t nmatrices;
	uint64_t nrows;
	uint64_t ncols;
	uint64_t group_rows;
	uint64_t ngroups;
};

static bool has_zero(const uint64_t *dims, uint8_t ndims)
{
	for (uint8_t i = 0; i < ndims; i++)
		if (dims[i] == 0)
			return true;
	return false;
}

/* False if there is no such tiling; then *t is not complete. */
static bool tiling_of(const uint64_t *dims, uint8_t ndims, struct tiling *t)
{
	uint64_t padded_cols, nblocks;

	if (ndims < 2 || has_zero(dims, ndims))
		return false;
	t->nmatrices = 1;
	for (uint8_t i = 0; i < ndims - 2; i++)
		if (!uw_mul(t->nmatrices, dims[i], &t->nmatrices))
			return false;
	t->nrows = dims[ndims - 2];
	t->ncols = dims[ndims - 1];
	if (!uw_align_up(t->ncols, TILE_COLS, &padded_cols) || padded_cols > UW_MAX_TILED_COLS)
		return false;
	nblocks = padded_cols < GROUP_TARGET_COLS ? GROUP_TARGET_COLS / padded_cols : 1;
	t->group_rows = UW_BLOCK_ROWS * nblocks;
	t->ngroups = uw_ceil_div(t->nrows, t->group_rows);
	return true;
}

static enum uw_status tiled_ngroups(uint64_t src_nbytes, const uint64_t *dims, uint8_t ndims, uint64_t *ngroups)
{
	struct tiling t;
	uint64_t nbytes;

	if (!tiling_of(dims, ndims, &t))
		return UW_ERR_LAYOUT;
	if (!uw_mul(t.nmatrices, t.nrows, &nbytes) || !uw_mul(nbytes, t.ncols, &nbytes) ||
	    !uw_mul(nbytes, WEIGHT_NBYTES, &nbytes) || nbytes != src_nbytes)
		return UW_ERR_LAYOUT;
	*ngroups = t.nmatrices * t.ngroups; /* at most nmatrices * nrows */
	return UW_OK;
}

enum uw_status uw_extent_ngroups(uint64_t src_nbytes, uint8_t order, const uint64_t *dims, uint8_t ndims,
				 uint64_t *ngroups)
{
	switch (order) {
	case ORDER_TILED:
		return tiled_ngroups(src_nbytes, dims, ndims, ngroups);
	case ORDER_LINEAR:
		if (src_nbytes % WEIGHT_NBYTES != 0)
			return UW_ERR_LAYOUT;
		break;
	case ORDER_BYTES:
		break;
	default:
		return UW_ERR_LAYOUT;
	}
	*ngroups = uw_ceil_div(src_nbytes, UW_BYTES_GROUP_NBYTES);
	return UW_OK;
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void tiled_slice(const struct uw_extent *extent, uint64_t i, struct uw_slice *slice)
{
	struct tiling t;
	uint64_t row;

	if (!tiling_of(extent->dims, extent->ndims, &t)) { /* no valid extent; stay defined */
		*slice = (struct uw_slice){0};
		return;
	}
	row = i % t.ngroups * t.group_rows;
	slice->nrows = min_u64(t.group_rows, t.nrows - row);
	slice->ncols = t.ncols;
	slice->src_off = (i / t.ngroups * t.nrows + row) * t.ncols * WEIGHT_NBYTES;
	slice->src_nbytes = slice->nrows * t.ncols * WEIGHT_NBYTES;
}

void uw_extent_slice(const struct uw_extent *extent, uint64_t i, struct uw_slice *slice)
{
	if (extent->order == ORDER_TILED) {
		tiled_slice(extent, i, slice);
		return;
	}
	slice->src_off = i * UW_BYTES_GROUP_NBYTES;
	slice->src_nbytes = min_u64(UW_BYTES_GROUP_NBYTES, extent->src_nbytes - slice->src_off);
	slice->nrows = extent->order == ORDER_LINEAR;
	slice->ncols = extent->order == ORDER_LINEAR ? slice->src_nbytes / WEIGHT_NBYTES : 0;
}

/* align(R, 16) Cp <= 1.03 R C, in whole numbers. Sizes at which that overflows exist in no file: say no. */
static bool little_padding(uint64_t nrows, uint64_t ncols)
{
	uint64_t padded_rows, padded_cols, padded, exact;

	return uw_align_up(nrows, TILE_ROWS, &padded_rows) && uw_align_up(ncols, TILE_COLS, &padded_cols) &&
	       uw_mul(padded_rows, padded_cols, &padded) && uw_mul(padded, 100, &padded) &&
	       uw_mul(nrows, ncols, &exact) && uw_mul(exact, 103, &exact) && padded <= exact;
}

uint8_t uw_extent_order(uint8_t dtype, const uint64_t *dims, uint8_t ndims)
{
	struct tiling t;

	if (dtype != UW_DTYPE_BF16)
		return ORDER_BYTES;
	if (!tiling_of(dims, ndims, &t) || !little_padding(t.nrows, t.ncols))
		return ORDER_LINEAR;
	if (ndims > 2 && t.nrows * t.ncols < MIN_STACKED_MATRIX) /* little_padding has multiplied them */
		return ORDER_LINEAR;
	return ORDER_TILED;
}

/* ---- sizes ---- */

uint64_t uw_index_nbytes(uint64_t nextents, uint64_t ngroups, uint64_t ndims, uint64_t names_nbytes)
{
	uint64_t nbytes = INDEX_HEAD_NBYTES + nextents * EXTENT_NBYTES + ngroups * GROUP_NBYTES + ndims * DIM_NBYTES +
			  names_nbytes;

	return (nbytes + INDEX_PAD - 1) / INDEX_PAD * INDEX_PAD;
}

uint64_t uw_group_room(uint64_t nbytes)
{
	uint64_t room;

	return uw_group_place(nbytes, nbytes, &room) ? room : nbytes;
}
