/* SPDX-License-Identifier: Apache-2.0 */
/* Huffman streams of coding H (SPEC.md 6.3): chunks to symbols or exponents. Bit streams are untrusted. */
#include "streams.h"

#include "coded.h"
#include "huffman.h"
#include "position.h"
#include "unweight/cpu_ops.h"

static enum uw_status fail_bits(const struct uw_coded *coded, uint64_t c, const uint8_t *at, struct uw_error *err)
{
	return uw_fail(err, UW_ERR_BITS, coded->head_nbytes + (uint64_t)(at - coded->e), "bit stream of chunk %llu",
		       (unsigned long long)c);
}

/*
 * Lane starts of chunk c. The chunk has to end exactly where the next one begins, or where E does: so no lane starts
 * behind E, and no decoder reads farther behind it than into the S plane.
 */
static enum uw_status lane_starts(const struct uw_coded *coded, uint64_t c, struct uw_chunk_word word,
				  uint32_t start[UW_LANES + 1], struct uw_error *err)
{
	uint64_t from = (uint64_t)word.stream_start * UW_STREAM_UNIT, to = coded->e_nbytes, end;
	bool last = c + 1 == coded->shape.nchunks;
	const uint8_t *stream = coded->e + from;

	if (!last)
		to = (uint64_t)uw_coded_word(coded, c + 1).stream_start * UW_STREAM_UNIT;
	if (to > coded->e_nbytes || from > to || to - from < UW_LANE_HEADER_NBYTES)
		return fail_bits(coded, c, coded->e, err);
	start[0] = 8 * UW_LANE_HEADER_NBYTES;
	for (unsigned k = 0; k < UW_LANES; k++)
		start[k + 1] = start[k] + ((word.base + stream[k]) << word.shift);
	end = ((uint64_t)start[UW_LANES] + 8 * UW_STREAM_UNIT - 1) / (8 * UW_STREAM_UNIT) * UW_STREAM_UNIT;
	if (last ? uw_region_align(from + end) != to : from + end != to)
		return fail_bits(coded, c, stream, err);
	if ((start[UW_LANES] % 8 != 0 && stream[start[UW_LANES] / 8] >> start[UW_LANES] % 8 != 0) ||
	    !uw_all_zero(stream + (start[UW_LANES] + 7) / 8, coded->e + to))
		return fail_bits(coded, c, stream + start[UW_LANES] / 8, err);
	return UW_OK;
}

/* A group's window tables, for exponents or for symbols. */
struct windows {
	struct uw_huff_entry table[UW_MAX_TABLES][128];
};

static void build_windows(const struct uw_coded *coded, bool symbols, struct windows *windows)
{
	for (uint32_t t = 0; t < coded->ntables; t++) {
		uint8_t values[UW_SYMBOLS];

		for (unsigned s = 0; s < UW_SYMBOLS; s++)
			values[s] = (uint8_t)(symbols ? s : 2u * coded->tables[t].pairs[s / 2] + s % 2);
		uw_huff_window_table(coded->tables[t].lens, values, windows->table[t]);
	}
}

/*
 * The order in which chunks are decoded: chunks of the same table stand together, so that several can be decoded side
 * by side. The last chunk of the group, which may be shorter, comes last by itself.
 */
struct order {
	uint64_t n;
	uint16_t chunk[UW_MAX_GROUP_WEIGHTS / UW_CHUNK_WEIGHTS];
};

static void order_by_table(const struct uw_coded *coded, uint64_t begin, uint64_t end, struct order *order)
{
	uint64_t last = coded->shape.nchunks - 1;

	order->n = 0;
	for (uint32_t t = 0; t < coded->ntables; t++) {
		for (uint64_t c = begin; c < end && c < last; c++) {
			if (uw_coded_word(coded, c).table == t)
				order->chunk[order->n++] = (uint16_t)c;
		}
	}
	if (end > last)
		order->chunk[order->n++] = (uint16_t)last;
}

/* How many chunks from `at` on can be decoded together: same table, same number of tiles. */
static uint32_t batch_size(const struct uw_coded *coded, const struct order *order, uint64_t at)
{
	uint32_t table = uw_coded_word(coded, order->chunk[at]).table, n = 1;
	uint32_t ntiles = uw_chunk_ntiles(&coded->shape, order->chunk[at]);

	while (n < UW_HUFF_BATCH && at + n < order->n &&
	       uw_coded_word(coded, order->chunk[at + n]).table == table &&
	       uw_chunk_ntiles(&coded->shape, order->chunk[at + n]) == ntiles)
		n++;
	return n;
}

/* Values of up to UW_HUFF_BATCH chunks. */
struct batch {
	_Alignas(64) uint8_t values[UW_HUFF_BATCH][UW_CHUNK_WEIGHTS];
};

static const uint8_t *stream_of(const struct uw_coded *coded, uint64_t c)
{
	return coded->e + (size_t)uw_coded_word(coded, c).stream_start * UW_STREAM_UNIT;
}

/* The same of a chunk that is not checked yet, to be prefetched. */
static const uint8_t *likely_stream_of(const struct uw_coded *coded, uint64_t c)
{
	size_t at = (size_t)uw_coded_word(coded, c).stream_start * UW_STREAM_UNIT;

	return coded->e + (at < coded->e_nbytes ? at : 0);
}

/* Decodes the n chunks that stand at `at` in the order. */
static enum uw_status decode_batch(const struct uw_cpu_ops *ops, const struct uw_coded *coded,
				   const struct order *order, uint64_t at, uint32_t n, const struct windows *windows,
				   struct batch *batch, struct uw_error *err)
{
	const uint16_t *chunk = order->chunk + at;
	struct uw_huff_chunk streams[UW_HUFF_BATCH];

	for (uint32_t i = 0; i < n; i++) {
		struct uw_chunk_word word = uw_coded_word(coded, chunk[i]);
		enum uw_status status = lane_starts(coded, chunk[i], word, streams[i].start, err);

		if (status != UW_OK)
			return status;
		streams[i].src = stream_of(coded, chunk[i]);
		streams[i].shift = word.shift;
		streams[i].out = batch->values[i];
		streams[i].next = likely_stream_of(coded, order->chunk[at + n + i < order->n ? at + n + i : at]);
		streams[i].plane = coded->s + (size_t)chunk[i] * UW_CHUNK_WEIGHTS;
	}
	ops->huff_decode(streams, n, uw_chunk_ntiles(&coded->shape, chunk[0]),
			 windows->table[uw_coded_word(coded, chunk[0]).table]);
	for (uint32_t i = 0; i < n; i++) {
		if (!streams[i].good)
			return fail_bits(coded, chunk[i], streams[i].src, err);
	}
	return UW_OK;
}

enum uw_status uw_streams_decode(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint64_t begin,
				 uint64_t end, enum uw_stream_values values, uw_take_chunk_fn take, void *ctx,
				 struct uw_error *err)
{
	struct windows windows;
	struct order order;
	struct batch batch;

	build_windows(coded, values == UW_STREAM_SYMBOLS, &windows);
	order_by_table(coded, begin, end, &order);
	for (uint64_t at = 0, n; at < order.n; at += n) {
		enum uw_status status;

		n = batch_size(coded, &order, at);
		status = decode_batch(ops, coded, &order, at, (uint32_t)n, &windows, &batch, err);
		if (status != UW_OK)
			return status;
		for (uint64_t i = 0; i < n; i++)
			take(ctx, order.chunk[at + i], batch.values[i]);
	}
	return UW_OK;
}
