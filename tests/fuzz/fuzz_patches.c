/* SPDX-License-Identifier: Apache-2.0 */
/* Patch lists: a good group of two or three chunks gets the input's list, and decodes to what the list says. */
#include "chunk.h"
#include "fuzz.h"
#include "unweight/bytes.h"

enum { NROWS = 96, NCOLS = 190 };

struct base {
	struct uw_shape shape;
	struct uw_plan plan;
	uint8_t *stored;
	size_t nbytes, head;
};

static const struct base *base_of(enum uw_coding coding)
{
	static struct base bases[2];
	struct base *b = &bases[coding == UW_CODING_P4];
	struct fuzz_input none = { NULL, NULL };
	uint16_t *weights;
	void *scratch;

	if (b->stored != NULL)
		return b;
	FUZZ_ASSERT(uw_shape_tiled(NROWS, NCOLS, &b->shape) == UW_OK);
	weights = fuzz_alloc(b->shape.nweights * sizeof(*weights));
	fuzz_weights(&none, weights, b->shape.nweights);
	FUZZ_ASSERT(posix_memalign(&scratch, 64, uw_codec_scratch_nbytes(&b->shape)) == 0);
	FUZZ_ASSERT(uw_codec_plan(fuzz_ops(), &b->shape, weights, coding, scratch, &b->plan) == UW_OK);
	FUZZ_ASSERT(b->plan.nescapes == 0 && !b->plan.row_order);
	b->nbytes = (size_t)uw_codec_encoded_nbytes(&b->shape, &b->plan, coding);
	b->head = (size_t)uw_head_nbytes(&b->shape, b->plan.ntables, 0, false);
	b->stored = fuzz_alloc(b->nbytes);
	FUZZ_ASSERT(uw_codec_encode(fuzz_ops(), &b->shape, &b->plan, coding, scratch, b->stored, b->nbytes) == UW_OK);
	free(scratch);
	free(weights);
	return b;
}

/* Number of the first patch of each chunk: where the input says so, or where positions stop ascending. */
static void place_patches(const struct base *b, uint8_t *words, const uint8_t *patches, uint32_t n, uint16_t given)
{
	uint32_t at = 0;

	for (uint64_t c = 0; c < b->shape.nchunks; c++) {
		uint8_t *p = words + c * UW_CHUNK_WORD_NBYTES;
		struct uw_chunk_word word = uw_chunk_word_unpack(uw_load_le64(p));

		word.patch_start = given != 0 && c != 0 ? given * (uint32_t)c : at;
		uw_store_le64(p, uw_chunk_word_pack(word));
		while (at < n && (at == word.patch_start || uw_load_le16(patches + 4 * at + 2) >
			       uw_load_le16(patches + 4 * at - 2)))
			at++;
	}
}

static uint64_t npatched(const uint16_t *a, const uint16_t *b, uint64_t n)
{
	uint64_t count = 0;

	for (uint64_t i = 0; i < n; i++) {
		FUZZ_ASSERT(((a[i] ^ b[i]) & ~UW_PATCH_XOR_MASK) == 0);
		count += a[i] != b[i];
	}
	return count;
}

static uint16_t *patched(enum uw_coding coding, const uint8_t *patches, uint32_t n, uint16_t given)
{
	const struct base *b = base_of(coding);
	uint32_t ntables = b->plan.ntables;
	size_t words_at = (size_t)ntables * UW_TABLE_NBYTES;
	size_t patches_at = words_at + b->shape.nchunks * UW_CHUNK_WORD_NBYTES;
	size_t head = (size_t)uw_head_nbytes(&b->shape, ntables, n, false), nbytes = b->nbytes - b->head + head;
	uint8_t *stored = fuzz_alloc(nbytes);
	uint16_t *weights, *plain;

	memcpy(stored, b->stored, patches_at);
	if (n != 0)
		memcpy(stored + patches_at, patches, (size_t)n * UW_PATCH_NBYTES);
	memcpy(stored + head, b->stored + b->head, b->nbytes - b->head);
	place_patches(b, stored + words_at, patches, n, given);
	weights = fuzz_decode(&b->shape, coding, ntables, n, stored, nbytes);
	if (weights != NULL) { /* padding may be patched too; so no more than n differ */
		plain = fuzz_decode(&b->shape, coding, ntables, 0, b->stored, b->nbytes);
		FUZZ_ASSERT(plain != NULL && npatched(weights, plain, b->shape.nweights) <= n);
		free(plain);
	}
	free(stored);
	return weights;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct fuzz_input in = { data, data + nbytes };
	uint16_t given = fuzz_u16(&in);
	uint32_t most = (uint32_t)base_of(UW_CODING_H)->shape.ntiles * UW_MAX_TILE_PATCHES;
	uint32_t n = (uint32_t)(fuzz_left(&in) / UW_PATCH_NBYTES);
	uint16_t *h, *p4;

	if (n > most)
		n = most;
	h = patched(UW_CODING_H, in.at, n, given);
	p4 = patched(UW_CODING_P4, in.at, n, given);
	FUZZ_ASSERT((h == NULL) == (p4 == NULL));
	FUZZ_ASSERT(h == NULL || memcmp(h, p4, sizeof(*h) * NROWS * NCOLS) == 0);
	free(h);
	free(p4);
	return 0;
}
