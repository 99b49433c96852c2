/* SPDX-License-Identifier: Apache-2.0 */
#include "rules.h"

#include "layout.h"
#include "names.h"

#define MAX_TABLES 16u
#define TILE_WEIGHTS 1024u
#define MAX_TILE_PATCHES 32u
#define ZSTD_SLACK 1024u                     /* a frame around bytes that do not shrink */
#define CODED_SLACK (UINT64_C(1) << 20)      /* tables, padding; the codec knows exactly */

static const char *fault(uint32_t *field, uint32_t at, const char *what)
{
	*field = at;
	return what;
}

/* Opaque bytes and headers: all that describes a tensor is absent. */
static const char *plain_fault(const struct uw_extent *e, uint32_t *field)
{
	if (e->dtype != UW_DTYPE_NONE)
		return fault(field, EXTENT_DTYPE, "dtype without a tensor");
	if (e->order != ORDER_BYTES)
		return fault(field, EXTENT_ORDER, "order of weights without a tensor");
	if (e->ndims != 0)
		return fault(field, EXTENT_NDIMS, "dimensions without a tensor");
	if (e->name_nbytes != 0)
		return fault(field, EXTENT_NAME_NBYTES, "name without a tensor");
	return NULL;
}

/* Whether dimensions times dtype make up the size, multiplied from the first dimension on. */
static bool size_fits(const struct uw_extent *e)
{
	uint64_t nbits = 1;

	for (uint8_t i = 0; i < e->ndims; i++)
		if (!uw_mul(nbits, e->dims[i], &nbits))
			return false;
	return uw_mul(nbits, uw_dtype_nbits(e->dtype), &nbits) && nbits % 8 == 0 && nbits / 8 == e->src_nbytes;
}

static const char *tensor_fault(const struct uw_extent *e, uint32_t *field)
{
	if (e->dtype == UW_DTYPE_NONE || uw_dtype_name(e->dtype) == NULL)
		return fault(field, EXTENT_DTYPE, "unknown dtype");
	if (e->dtype != UW_DTYPE_OTHER && !size_fits(e))
		return fault(field, EXTENT_SRC_NBYTES, "size differs from dimensions times dtype");
	if (e->order != ORDER_BYTES && e->dtype != UW_DTYPE_BF16)
		return fault(field, EXTENT_ORDER, "order of weights for a dtype other than BF16");
	if (!uw_name_valid(e->name, e->name_nbytes))
		return fault(field, EXTENT_NAME_NBYTES, "name is not UTF-8");
	return NULL;
}

const char *uw_extent_fault(const struct uw_extent *extent, uint32_t *field)
{
	const char *what;
	uint64_t ngroups;

	if (extent->kind > UW_EXTENT_TENSOR)
		return fault(field, EXTENT_KIND, "unknown kind");
	what = extent->kind == UW_EXTENT_TENSOR ? tensor_fault(extent, field) : plain_fault(extent, field);
	if (what != NULL)
		return what;
	if (uw_extent_ngroups(extent->src_nbytes, extent->order, extent->dims, extent->ndims, &ngroups) != UW_OK)
		return fault(field, EXTENT_ORDER, "order does not fit the dimensions");
	if (ngroups != extent->ngroups)
		return fault(field, EXTENT_NGROUPS, "wrong number of groups");
	return NULL;
}

static uint64_t slice_ntiles(uint8_t order, const struct uw_slice *slice)
{
	if (order == ORDER_TILED)
		return uw_ceil_div(slice->nrows, 16) * uw_ceil_div(slice->ncols, 64);
	return uw_ceil_div(slice->ncols, TILE_WEIGHTS);
}

/* Codings H and P4: bounds only, so that no allocation by these numbers runs wild. The codec checks the rest. */
static const char *weights_fault(const struct uw_group *g, uint8_t order, const struct uw_slice *slice,
				 uint32_t *field)
{
	if (order != ORDER_LINEAR && order != ORDER_TILED)
		return fault(field, GROUP_CODING, "coding of weights in an extent of bytes");
	if (g->ntables < 1 || g->ntables > MAX_TABLES)
		return fault(field, GROUP_NTABLES, "number of tables is not 1 to 16");
	if (g->npatches > MAX_TILE_PATCHES * slice_ntiles(order, slice))
		return fault(field, GROUP_NPATCHES, "more than 32 patches a tile");
	if (g->nbytes > 2 * slice->src_nbytes + CODED_SLACK)
		return fault(field, GROUP_STORED_NBYTES, "stored size is absurd");
	return NULL;
}

static const char *bytes_fault(const struct uw_group *g, const struct uw_slice *slice, uint32_t *field)
{
	if (g->npatches != 0)
		return fault(field, GROUP_NPATCHES, "patches without coded weights");
	if (g->ntables != 0)
		return fault(field, GROUP_NTABLES, "tables without coded weights");
	if (g->coding == CODING_RAW && g->nbytes != slice->src_nbytes)
		return fault(field, GROUP_STORED_NBYTES, "stored size of raw bytes differs from their size");
	if (g->coding != CODING_RAW && g->nbytes > slice->src_nbytes + ZSTD_SLACK)
		return fault(field, GROUP_STORED_NBYTES, "stored size is absurd");
	return NULL;
}

/* Codings COPY and DELTA. */
static const char *based_fault(const struct uw_group *g, const struct uw_extent *extent, bool based,
			       const struct uw_slice *slice, uint32_t *field)
{
	if (!based)
		return fault(field, GROUP_CODING, "refers to a base, and there is none");
	if (g->coding == CODING_COPY && g->nbytes != UW_REFERENCE_NBYTES)
		return fault(field, GROUP_STORED_NBYTES, "stored size is not that of a reference");
	if (g->coding == CODING_DELTA && extent->dtype != UW_DTYPE_BF16 && extent->dtype != UW_DTYPE_F16)
		return fault(field, GROUP_CODING, "differences in an extent without 16-bit floats");
	if (g->coding == CODING_DELTA && g->nbytes <= UW_REFERENCE_NBYTES)
		return fault(field, GROUP_STORED_NBYTES, "no differences behind the reference");
	return bytes_fault(g, slice, field);
}

const char *uw_group_fault(const struct uw_group *group, const struct uw_extent *extent, bool based,
			   const struct uw_slice *slice, uint32_t *field)
{
	if (group->nbytes == 0)
		return fault(field, GROUP_STORED_NBYTES, "stored size is 0");
	switch (group->coding) {
	case CODING_RAW:
	case CODING_ZSTD:
		return bytes_fault(group, slice, field);
	case CODING_H:
	case CODING_P4:
		return weights_fault(group, extent->order, slice, field);
	case CODING_COPY:
	case CODING_DELTA:
		return based_fault(group, extent, based, slice, field);
	default:
		return fault(field, GROUP_CODING, "unknown coding");
	}
}

bool uw_kind_fits(uint64_t i, uint8_t first, uint8_t kind)
{
	if (i == 0)
		return kind != UW_EXTENT_TENSOR;
	return first == UW_EXTENT_HEADER && kind == UW_EXTENT_TENSOR;
}
