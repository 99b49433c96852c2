/* SPDX-License-Identifier: Apache-2.0 */
/* Weights to stored bytes and back: every loop writes the same, and every bit returns. */
#include "fuzz.h"

struct encoded {
	enum uw_status status;
	uint8_t *bytes;
	size_t nbytes;
};

static struct encoded encode(const struct uw_cpu_ops *ops, const struct uw_shape *shape, const uint16_t *weights,
			     enum uw_coding planned, enum uw_coding coding, const uint16_t *row_order,
			     struct uw_plan *plan)
{
	struct encoded e = { 0 };
	void *scratch;

	FUZZ_ASSERT(posix_memalign(&scratch, 64, uw_codec_scratch_nbytes(shape)) == 0);
	if (row_order != NULL)
		e.status = uw_codec_plan_rows(ops, shape, weights, planned, row_order, scratch, plan);
	else
		e.status = uw_codec_plan(ops, shape, weights, planned, scratch, plan);
	if (e.status == UW_OK) {
		e.nbytes = (size_t)uw_codec_encoded_nbytes(shape, plan, coding);
		e.bytes = fuzz_alloc(e.nbytes);
		FUZZ_ASSERT(uw_codec_encode(ops, shape, plan, coding, scratch, e.bytes, e.nbytes) == UW_OK);
	}
	free(scratch);
	return e;
}

static void check(const struct uw_shape *shape, const uint16_t *weights, enum uw_coding planned, enum uw_coding coding,
		  const uint16_t *row_order)
{
	static struct uw_plan plan;
	struct encoded one = encode(fuzz_ops_c(), shape, weights, planned, coding, row_order, &plan);
	struct encoded other = encode(fuzz_ops(), shape, weights, planned, coding, row_order, &plan);
	uint16_t *back;

	FUZZ_ASSERT(one.status == other.status && one.nbytes == other.nbytes);
	FUZZ_ASSERT(one.status == UW_OK || one.status == UW_ERR_UNSUPPORTED);
	if (one.status == UW_OK) {
		FUZZ_ASSERT(memcmp(one.bytes, other.bytes, one.nbytes) == 0);
		back = fuzz_decode(shape, coding, plan.ntables, (uint32_t)plan.nescapes, one.bytes, one.nbytes);
		FUZZ_ASSERT(back != NULL && memcmp(back, weights, shape->nweights * sizeof(*weights)) == 0);
		free(back);
	}
	free(one.bytes);
	free(other.bytes);
}

static const uint16_t *backwards(const struct uw_shape *shape)
{
	static uint16_t order[UW_BLOCK_TILE_ROWS * UW_TILE_ROWS * 4];

	FUZZ_ASSERT(shape->nrows <= sizeof(order) / sizeof(order[0]));
	for (uint64_t i = 0; i < shape->nrows; i++)
		order[i] = (uint16_t)(shape->nrows - 1 - i);
	return order;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct fuzz_input in = { data, data + nbytes };
	struct uw_shape shape = fuzz_shape(&in);
	uint16_t *weights = fuzz_alloc(shape.nweights * sizeof(*weights));
	enum uw_coding planned = UW_CODING_H, coding = UW_CODING_H;
	const uint16_t *row_order = NULL;

	switch (fuzz_u8(&in) % 4) { /* one at a time: each is slow under sanitizers */
	case 1: coding = UW_CODING_P4; break;
	case 2: planned = coding = UW_CODING_P4; break;
	case 3: row_order = shape.order == UW_ORDER_TILED ? backwards(&shape) : NULL; break;
	}
	fuzz_weights(&in, weights, shape.nweights);
	check(&shape, weights, planned, coding, row_order);
	free(weights);
	return 0;
}
