/* SPDX-License-Identifier: Apache-2.0 */
/* Groups to planes that multiplying code reads: exponents, the nibbles of coding P4. */
#include <string.h>

#include "coded.h"
#include "position.h"
#include "streams.h"
#include "unweight/cpu_ops.h"

/* ---- exponents ---- */

struct exponents {
	const struct uw_cpu_ops *ops;
	const struct uw_coded *coded;
	uint64_t first_chunk;
	uint8_t *e;
};

static void take_exponents(void *ctx, uint64_t c, uint8_t *values)
{
	const struct exponents *to = ctx;

	uw_coded_patch_exponents(to->coded, c, values);
	memcpy(to->e + (size_t)(c - to->first_chunk) * UW_CHUNK_WEIGHTS, values,
	       (size_t)uw_chunk_ntiles(&to->coded->shape, c) * UW_TILE_WEIGHTS);
}

static void unpack_chunk(const struct exponents *to, uint64_t c)
{
	const struct uw_coded *coded = to->coded;
	const uint8_t *pairs = coded->tables[uw_coded_word(coded, c).table].pairs;
	const uint8_t *nib = coded->e + (size_t)c * (UW_CHUNK_WEIGHTS / 2);
	uint8_t *e = to->e + (size_t)(c - to->first_chunk) * UW_CHUNK_WEIGHTS;

	for (uint32_t t = 0; t < uw_chunk_ntiles(&coded->shape, c); t++)
		to->ops->p4_exponents(nib + t * (UW_TILE_WEIGHTS / 2), pairs, e + t * UW_TILE_WEIGHTS);
	uw_coded_patch_exponents(coded, c, e);
}

enum uw_status uw_coded_exponents(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint64_t first_chunk,
				  uint64_t nchunks, uint8_t *e, struct uw_error *err)
{
	struct exponents to = { ops, coded, first_chunk, e };

	if (first_chunk > coded->shape.nchunks || nchunks > coded->shape.nchunks - first_chunk)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "exponents of a group");
	if (coded->coding == UW_CODING_H)
		return uw_streams_decode(ops, coded, first_chunk, first_chunk + nchunks, UW_STREAM_EXPONENTS,
					 take_exponents, &to, err);
	for (uint64_t c = first_chunk; c < first_chunk + nchunks; c++)
		unpack_chunk(&to, c);
	return UW_OK;
}

/* ---- H to P4 ---- */

struct nibbles {
	const struct uw_cpu_ops *ops;
	const struct uw_shape *shape;
	uint8_t *nib;
};

static void take_symbols(void *ctx, uint64_t c, uint8_t *values)
{
	const struct nibbles *to = ctx;

	for (uint32_t t = 0; t < uw_chunk_ntiles(to->shape, c); t++)
		to->ops->p4_pack(values + t * UW_TILE_WEIGHTS,
				 to->nib + (c * UW_CHUNK_TILES + t) * (UW_TILE_WEIGHTS / 2));
}

enum uw_status uw_coded_nibbles(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint8_t *nib,
				struct uw_error *err)
{
	struct nibbles to = { ops, &coded->shape, nib };

	if (coded->coding != UW_CODING_H)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "transcode of a group that is not H");
	return uw_streams_decode(ops, coded, 0, coded->shape.nchunks, UW_STREAM_SYMBOLS, take_symbols, &to, err);
}

uint64_t uw_coded_p4_nbytes(const struct uw_coded *coded)
{
	return uw_head_nbytes(&coded->shape, coded->ntables, coded->npatches, coded->row_order != NULL) +
	       coded->shape.ntiles * (UW_TILE_WEIGHTS + UW_TILE_WEIGHTS / 2);
}

static void p4_head(const struct uw_coded *coded, uint8_t *dst)
{
	memcpy(dst, coded->head, (size_t)coded->head_nbytes);
	for (uint32_t t = 0; t < coded->ntables; t++)
		memset(dst + (size_t)t * UW_TABLE_NBYTES + UW_PAIRS, 0, UW_TABLE_NBYTES - UW_PAIRS);
	dst += (size_t)coded->ntables * UW_TABLE_NBYTES;
	for (uint64_t c = 0; c < coded->shape.nchunks; c++) {
		struct uw_chunk_word word = uw_coded_word(coded, c);

		word.stream_start = word.base = word.shift = 0;
		uw_store_le64(dst + c * UW_CHUNK_WORD_NBYTES, uw_chunk_word_pack(word));
	}
}

enum uw_status uw_coded_to_p4(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint8_t *dst,
			      size_t dst_nbytes, struct uw_error *err)
{
	uint64_t ntiles = coded->shape.ntiles;
	enum uw_status status;
	uint8_t *nib;

	if (coded->coding != UW_CODING_H)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "transcode of a group that is not H");
	if (dst_nbytes < uw_coded_p4_nbytes(coded))
		return uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET, "transcode of a group");
	nib = dst + coded->head_nbytes;
	status = uw_coded_nibbles(ops, coded, nib, err);
	if (status != UW_OK)
		return status;
	p4_head(coded, dst);
	memcpy(nib + ntiles * (UW_TILE_WEIGHTS / 2), coded->s, (size_t)(ntiles * UW_TILE_WEIGHTS));
	return UW_OK;
}
