/* SPDX-License-Identifier: Apache-2.0 */
/* The checks on the head of a coded group (SPEC.md section 6). Every byte of it is untrusted. */
#include <string.h>

#include "coded.h"
#include "huffman.h"
#include "position.h"

static enum uw_status load_tables(struct uw_coded *coded, struct uw_error *err)
{
	for (uint32_t t = 0; t < coded->ntables; t++) {
		const uint8_t *src = coded->head + t * UW_TABLE_NBYTES;
		struct uw_table *table = &coded->tables[t];
		uint8_t any = 0;

		memcpy(table->pairs, src, UW_PAIRS);
		for (unsigned k = 0; k < UW_PAIRS; k++) {
			if (table->pairs[k] >= 128)
				return uw_fail(err, UW_ERR_TABLE, t * UW_TABLE_NBYTES + k, "palette of table %u", t);
		}
		for (unsigned s = 0; s < UW_SYMBOLS; s++) {
			table->lens[s] = src[UW_PAIRS + s / 2] >> s % 2 * 4 & 15;
			any |= table->lens[s];
		}
		if (coded->coding == UW_CODING_H ? !uw_huff_complete(table->lens) : any != 0)
			return uw_fail(err, UW_ERR_TABLE, t * UW_TABLE_NBYTES + UW_PAIRS, "code lengths of table %u",
				       t);
	}
	return UW_OK;
}

static enum uw_status check_chunk_words(const struct uw_coded *coded, struct uw_error *err)
{
	struct uw_chunk_word last = { 0 };

	for (uint64_t c = 0; c < coded->shape.nchunks; c++) {
		const uint8_t *at = coded->chunk_words + c * UW_CHUNK_WORD_NBYTES;
		uint64_t raw = uw_load_le64(at);
		struct uw_chunk_word word = uw_chunk_word_unpack(raw);
		bool streams = coded->coding == UW_CODING_H ?
			word.shift <= UW_MAX_SHIFT && (c == 0 ? word.stream_start == 0 :
						       word.stream_start > last.stream_start) :
			(word.stream_start | word.base | word.shift) == 0;
		bool rows = !word.row_order || (c == 0 && coded->row_order != NULL);
		bool patches = c == 0 ? word.patch_start == 0 : word.patch_start >= last.patch_start;

		if ((raw & UW_CHUNK_WORD_RESERVED) != 0 || !streams || !patches || !rows || word.table >= coded->ntables ||
		    word.patch_start > coded->npatches)
			return uw_fail(err, UW_ERR_LAYOUT, (uint64_t)(at - coded->head), "word of chunk %llu",
				       (unsigned long long)c);
		last = word;
	}
	return UW_OK;
}

static enum uw_status check_patches(const struct uw_coded *coded, struct uw_error *err)
{
	for (uint64_t c = 0; c < coded->shape.nchunks; c++) {
		uint32_t end = uw_coded_patch_end(coded, c), limit = uw_chunk_ntiles(&coded->shape, c) * UW_TILE_WEIGHTS;
		uint32_t next = 0; /* lowest position allowed */

		for (uint32_t i = uw_coded_word(coded, c).patch_start; i < end; i++) {
			const uint8_t *at = coded->patches + (size_t)i * UW_PATCH_NBYTES;
			uint32_t patch = uw_load_le32(at), position = patch >> 16, flip = patch & 0xFFFF;

			if (position < next || position >= limit || flip == 0 || (flip & ~UW_PATCH_XOR_MASK) != 0)
				return uw_fail(err, UW_ERR_PATCH, (uint64_t)(at - coded->head), "patch %u", i);
			next = position + 1;
		}
	}
	return UW_OK;
}

/* Every row of the group once. */
static enum uw_status check_row_order(const struct uw_coded *coded, struct uw_error *err)
{
	uint64_t seen[UW_MAX_ORDERED_ROWS / 64] = { 0 };

	for (uint64_t i = 0; coded->row_order != NULL && i < coded->shape.nrows; i++) {
		uint64_t row = uw_coded_row(coded, i);

		if (row >= coded->shape.nrows || seen[row / 64] >> row % 64 & 1)
			return uw_fail(err, UW_ERR_LAYOUT, (uint64_t)(coded->row_order - coded->head) + i * UW_ROW_NBYTES,
				       "place %llu in the order of rows", (unsigned long long)i);
		seen[row / 64] |= UINT64_C(1) << row % 64;
	}
	return UW_OK;
}

static enum uw_status check_padding(const struct uw_coded *coded, struct uw_error *err)
{
	const uint8_t *end = coded->patches + (size_t)coded->npatches * UW_PATCH_NBYTES;

	if (coded->row_order != NULL)
		end = coded->row_order + (size_t)coded->shape.nrows * UW_ROW_NBYTES;
	if (!uw_all_zero(end, coded->head + coded->head_nbytes))
		return uw_fail(err, UW_ERR_LAYOUT, (uint64_t)(end - coded->head), "padding is not zero");
	return UW_OK;
}

/* Groups of other shapes have no row order: that the bit is set there is found later. */
static bool has_row_order(const struct uw_shape *shape, const uint8_t *first_word)
{
	return uw_chunk_word_unpack(uw_load_le64(first_word)).row_order && shape->order == UW_ORDER_TILED &&
	       shape->nrows <= UW_MAX_ORDERED_ROWS;
}

uint64_t uw_coded_head_room(const struct uw_shape *shape, uint32_t ntables, uint32_t npatches)
{
	return uw_head_nbytes(shape, ntables, npatches, true);
}

enum uw_status uw_coded_open(const struct uw_shape *shape, enum uw_coding coding, uint32_t ntables, uint32_t npatches,
			     const uint8_t *stored, size_t stored_nbytes, struct uw_coded *coded,
			     struct uw_error *err)
{
	return uw_coded_open_copied(shape, coding, ntables, npatches, stored, stored, stored_nbytes, coded, err);
}

enum uw_status uw_coded_open_copied(const struct uw_shape *shape, enum uw_coding coding, uint32_t ntables,
				    uint32_t npatches, const uint8_t *head, const uint8_t *stored,
				    size_t stored_nbytes, struct uw_coded *coded, struct uw_error *err)
{
	uint64_t s_nbytes = shape->ntiles * UW_TILE_WEIGHTS;
	enum uw_status status;
	const uint8_t *row_order = NULL;
	uint64_t head_nbytes;

	if ((coding != UW_CODING_H && coding != UW_CODING_P4) || ntables == 0 || ntables > UW_MAX_TABLES ||
	    npatches > shape->ntiles * UW_MAX_TILE_PATCHES)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "counts of a coded group");
	head_nbytes = uw_head_nbytes(shape, ntables, npatches, false);
	if (stored_nbytes >= head_nbytes && has_row_order(shape, head + (size_t)ntables * UW_TABLE_NBYTES)) {
		row_order = head + (size_t)ntables * UW_TABLE_NBYTES + shape->nchunks * UW_CHUNK_WORD_NBYTES +
			    (size_t)npatches * UW_PATCH_NBYTES;
		head_nbytes = uw_head_nbytes(shape, ntables, npatches, true);
	}
	if (stored_nbytes < head_nbytes + s_nbytes || (stored_nbytes - head_nbytes) % UW_REGION_ALIGN != 0)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "stored size %zu of a coded group", stored_nbytes);
	*coded = (struct uw_coded){
		.shape = *shape,
		.coding = coding,
		.ntables = ntables,
		.npatches = npatches,
		.head = head,
		.head_nbytes = head_nbytes,
		.chunk_words = head + (size_t)ntables * UW_TABLE_NBYTES,
		.patches = head + (size_t)ntables * UW_TABLE_NBYTES + shape->nchunks * UW_CHUNK_WORD_NBYTES,
		.row_order = row_order,
		.e = stored + head_nbytes,
		.e_nbytes = stored_nbytes - head_nbytes - s_nbytes,
		.s = stored + stored_nbytes - s_nbytes,
	};
	if (coding == UW_CODING_P4 && coded->e_nbytes != s_nbytes / 2)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "stored size %zu of a coded group", stored_nbytes);
	status = load_tables(coded, err);
	if (status == UW_OK)
		status = check_chunk_words(coded, err);
	if (status == UW_OK)
		status = check_patches(coded, err);
	if (status == UW_OK)
		status = check_row_order(coded, err);
	if (status == UW_OK)
		status = check_padding(coded, err);
	return status;
}
