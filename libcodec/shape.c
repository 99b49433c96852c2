/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/checked.h"
#include "unweight/codec.h"

static enum uw_status finish(struct uw_shape *shape, uint64_t ntiles)
{
	if (ntiles == 0 || ntiles > UW_MAX_GROUP_WEIGHTS / UW_TILE_WEIGHTS)
		return UW_ERR_ARG;
	shape->ntiles = ntiles;
	shape->nchunks = uw_ceil_div(ntiles, UW_CHUNK_TILES);
	return UW_OK;
}

enum uw_status uw_shape_linear(uint64_t n, struct uw_shape *shape)
{
	*shape = (struct uw_shape){ .order = UW_ORDER_LINEAR, .nrows = 1, .ncols = n, .nweights = n };
	return finish(shape, uw_ceil_div(n, UW_TILE_WEIGHTS));
}

enum uw_status uw_shape_tiled(uint64_t nrows, uint64_t ncols, struct uw_shape *shape)
{
	uint64_t ntiles;

	*shape = (struct uw_shape){ .order = UW_ORDER_TILED, .nrows = nrows, .ncols = ncols };
	if (!uw_mul(nrows, ncols, &shape->nweights) ||
	    !uw_mul(uw_ceil_div(nrows, UW_TILE_ROWS), uw_ceil_div(ncols, UW_TILE_COLS), &ntiles))
		return UW_ERR_ARG;
	return finish(shape, ntiles);
}
