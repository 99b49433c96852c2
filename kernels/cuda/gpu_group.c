/* SPDX-License-Identifier: Apache-2.0 */
/* The host's side of unweight/gpu_decode.h: descriptors. Needs nothing of CUDA. */
#include <string.h>

#include "unweight/bytes.h"
#include "unweight/gpu_decode.h"

/* Hosts of 32 bits have no CUDA. */
_Static_assert(sizeof(struct uw_gpu_group) == 80 || sizeof(void *) != 8,
	       "device code and host code agree on the descriptor");
_Static_assert(sizeof(struct uw_gpu_decode) == 32 || sizeof(void *) != 8,
	       "device code and host code agree on the launch");

#define STORED_ALIGN 16u
#define STREAM_UNIT 4u
#define REGION_ALIGN 64u
#define MAX_S_OFF (UINT32_C(1) << 30) /* a container's groups end long before */

/*
 * A good lane has at most 7 bits for each of 256 symbols and fewer than 8 behind them; the last stream of E may be
 * followed by padding.
 */
#define MAX_STREAM_NBYTES (UW_LANES + (UW_LANES * (UW_MAX_CODE_LEN * 256u + 7u) + 7u) / 8u + REGION_ALIGN)

static uint32_t stream_start(const struct uw_coded *coded, uint64_t c)
{
	if (c == coded->shape.nchunks)
		return (uint32_t)coded->e_nbytes;
	return (uint32_t)(uw_load_le64(coded->chunk_words + 8 * c) & 0x3FFFFF) * STREAM_UNIT;
}

/*
 * Starts ascend up to the last one, as uw_coded_open has checked, but may lie behind the end of E. The device looks at
 * that.
 */
static uint32_t longest_stream(const struct uw_coded *coded)
{
	uint32_t longest = 0;

	for (uint64_t c = 0; c < coded->shape.nchunks; c++) {
		uint32_t from = stream_start(coded, c), to = stream_start(coded, c + 1);

		if (to > from && to - from > longest)
			longest = to - from;
	}
	return longest < MAX_STREAM_NBYTES ? longest : MAX_STREAM_NBYTES;
}

enum uw_status uw_gpu_group_init(const struct uw_coded *coded, const uint8_t *stored_dev, void *out_dev,
				 struct uw_gpu_group *group)
{
	const struct uw_shape *shape = &coded->shape;
	uint64_t s_off = coded->head_nbytes + coded->e_nbytes; /* no difference of pointers: the head may be a copy */

	if ((uintptr_t)stored_dev % STORED_ALIGN != 0 || (uintptr_t)out_dev % sizeof(uint16_t) != 0 ||
	    s_off > MAX_S_OFF)
		return UW_ERR_ARG;
	*group = (struct uw_gpu_group){
		.stored_dev = stored_dev,
		.out_dev = out_dev,
		.nchunks = (uint32_t)shape->nchunks,
		.ntiles = (uint32_t)shape->ntiles,
		.order = (uint32_t)shape->order,
		.nrows = (uint32_t)shape->nrows,
		.ncols = (uint32_t)shape->ncols,
		.words_off = (uint32_t)(coded->chunk_words - coded->head),
		.patches_off = (uint32_t)(coded->patches - coded->head),
		.e_off = (uint32_t)coded->head_nbytes,
		.e_nbytes = (uint32_t)coded->e_nbytes,
		.s_off = (uint32_t)s_off,
		.npatches = coded->npatches,
		.stream_room = coded->coding == UW_CODING_H ? longest_stream(coded) : 0,
		.coding = (uint32_t)coded->coding,
		.rows_off = coded->row_order != NULL ? (uint32_t)(coded->row_order - coded->head) : 0,
	};
	return UW_OK;
}

enum uw_status uw_gpu_decode_init(struct uw_gpu_group *groups, uint32_t ngroups, const struct uw_gpu_group *groups_dev,
				  uint32_t *errors_dev, struct uw_gpu_decode *decode)
{
	uint64_t nchunks = 0;

	*decode = (struct uw_gpu_decode){ .groups_dev = groups_dev, .errors_dev = errors_dev, .ngroups = ngroups };
	if (ngroups == 0)
		return UW_ERR_ARG;
	decode->coding = groups[0].coding;
	for (uint32_t i = 0; i < ngroups; i++) {
		if (groups[i].coding != decode->coding)
			return UW_ERR_ARG;
		groups[i].first_chunk = (uint32_t)nchunks;
		nchunks += groups[i].nchunks;
		if (nchunks > UINT32_MAX)
			return UW_ERR_ARG;
		if (groups[i].stream_room > decode->stream_room)
			decode->stream_room = groups[i].stream_room;
	}
	decode->nchunks = (uint32_t)nchunks;
	return UW_OK;
}
