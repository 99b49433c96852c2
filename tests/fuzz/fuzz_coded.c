/* SPDX-License-Identifier: Apache-2.0 */
/* The stored bytes of one group: head and E are the input's, S is given. Loops of all kinds agree on them. */
#include "chunk.h"
#include "fuzz.h"
#include "unweight/bytes.h"

static void check_transcode(const struct uw_shape *shape, uint32_t ntables, uint32_t npatches, const uint8_t *stored,
			    size_t nbytes, const uint16_t *weights)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_coded coded;
	uint16_t *again;
	uint8_t *p4;
	size_t n;

	FUZZ_ASSERT(uw_coded_open(shape, UW_CODING_H, ntables, npatches, stored, nbytes, &coded, &err) == UW_OK);
	n = (size_t)uw_coded_p4_nbytes(&coded);
	p4 = fuzz_alloc(n);
	FUZZ_ASSERT(uw_coded_to_p4(fuzz_ops(), &coded, p4, n, &err) == UW_OK);
	again = fuzz_decode(shape, UW_CODING_P4, ntables, npatches, p4, n);
	FUZZ_ASSERT(again != NULL && memcmp(again, weights, shape->nweights * sizeof(*weights)) == 0);
	free(again);
	free(p4);
}

/* The rows backwards from some row on: a good order, which no mutation would find. */
static void put_row_order(uint8_t *at, uint64_t nrows, uint64_t start)
{
	for (uint64_t i = 0; i < nrows; i++)
		uw_store_le16(at + 2 * i, (uint16_t)((start + nrows - i) % nrows));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct fuzz_input in = { data, data + nbytes };
	struct uw_shape shape = fuzz_shape(&in);
	uint8_t how = fuzz_u8(&in);
	enum uw_coding coding = how & 1 ? UW_CODING_P4 : UW_CODING_H;
	uint32_t ntables = 1 + (how >> 1) % UW_MAX_TABLES;
	uint32_t npatches = fuzz_u16(&in) % (uint32_t)(shape.ntiles * UW_MAX_TILE_PATCHES + 1);
	size_t left = fuzz_left(&in), word_at = (size_t)ntables * UW_TABLE_NBYTES;
	bool rows = shape.order == UW_ORDER_TILED && left >= word_at + UW_CHUNK_WORD_NBYTES &&
		    uw_chunk_word_unpack(uw_load_le64(in.at + word_at)).row_order;
	size_t s_nbytes = shape.ntiles * UW_TILE_WEIGHTS;
	size_t head = (size_t)uw_head_nbytes(&shape, ntables, npatches, rows);
	size_t e = left > head ? (size_t)uw_region_align(left - head) : 0, n;
	uint16_t *weights;
	uint8_t *stored;

	if (coding == UW_CODING_P4)
		e = s_nbytes / 2;
	n = head + e + s_nbytes;
	stored = fuzz_alloc(n);
	memset(stored + head + e, 0xA5, s_nbytes);
	if (left != 0)
		memcpy(stored, in.at, left < head + e ? left : head + e);
	if (rows && how & 0x40)
		put_row_order(stored + word_at + shape.nchunks * UW_CHUNK_WORD_NBYTES + npatches * UW_PATCH_NBYTES,
			      shape.nrows, how >> 7);
	weights = fuzz_decode(&shape, coding, ntables, npatches, stored, n);
	if (weights != NULL && coding == UW_CODING_H)
		check_transcode(&shape, ntables, npatches, stored, n, weights);
	free(weights);
	free(stored);
	return 0;
}
