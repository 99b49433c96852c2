/* SPDX-License-Identifier: Apache-2.0 */
#include "codec_common.h"

#include "../cpu_level.h"

struct uw_cpu_ops ops;
uint64_t rng_state;

int use_level(void **state)
{
	uw_cpu_ops_init(&ops, cpu_level_flags());
	return 0;
}

int seed(void **state)
{
	rng_state = 1;
	return 0;
}

uint32_t rng(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 32);
}

void *need(size_t nbytes)
{
	void *p = malloc(nbytes);

	assert_non_null(p);
	return p;
}

void assert_same(const void *a, const void *b, size_t nbytes)
{
	assert_true(memcmp(a, b, nbytes) == 0);
}

uint16_t bf16(unsigned exponent)
{
	return (uint16_t)((rng() & 0x807F) | exponent << 7);
}

/* Twelve uniforms make a normal deviate; all values are exact, so every machine makes the same weights. */
uint16_t gaussian(uint64_t i)
{
	int32_t sum = -6 * 65536;
	uint32_t word;
	float value;

	for (unsigned n = 0; n < 12; n++)
		sum += (int32_t)(rng() >> 16);
	value = (float)sum * (0.02f / 65536);
	memcpy(&word, &value, sizeof(word));
	return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

/* Exponent 100 + k with the frequency of the k-th last Fibonacci number. */
uint16_t fibonacci(uint64_t i)
{
	uint32_t a = 610, b = 987, k = 0, at = rng() % 2583;

	while (at >= b && k < 15) {
		uint32_t next = b - a;

		at -= b;
		b = a;
		a = next;
		k++;
	}
	return bf16(100 + k);
}

void shuffle_rows(uint16_t *order, uint64_t nrows)
{
	for (uint64_t i = 0; i < nrows; i++) {
		uint64_t k = rng() % (i + 1);

		order[i] = order[k];
		order[k] = (uint16_t)i;
	}
}

uint16_t random_bits(uint64_t i)
{
	return (uint16_t)rng();
}

void fill(uint16_t *weights, uint64_t n, uint16_t (*weight)(uint64_t i))
{
	for (uint64_t i = 0; i < n; i++)
		weights[i] = weight(i);
}

struct uw_shape shape_of(enum uw_order order, uint64_t nrows, uint64_t ncols)
{
	struct uw_shape shape;

	if (order == UW_ORDER_TILED)
		assert_int_equal(uw_shape_tiled(nrows, ncols, &shape), UW_OK);
	else
		assert_int_equal(uw_shape_linear(nrows * ncols, &shape), UW_OK);
	return shape;
}

void *need_scratch(const struct uw_shape *shape)
{
	void *scratch;

	assert_int_equal(posix_memalign(&scratch, 64, uw_codec_scratch_nbytes(shape)), 0);
	return scratch;
}

struct stored encode(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding,
		     const void *scratch)
{
	struct stored g = { *shape, coding, plan->ntables, (uint32_t)plan->nescapes, NULL, 0 };
	uint8_t *again;

	g.nbytes = (size_t)uw_codec_encoded_nbytes(shape, plan, coding);
	g.bytes = need(g.nbytes);
	again = need(g.nbytes);
	memset(g.bytes, 0xA5, g.nbytes);
	memset(again, 0x5A, g.nbytes);
	assert_int_equal(uw_codec_encode(&ops, shape, plan, coding, scratch, again, g.nbytes - 1), UW_ERR_SPACE);
	assert_int_equal(uw_codec_encode(&ops, shape, plan, coding, scratch, g.bytes, g.nbytes), UW_OK);
	assert_int_equal(uw_codec_encode(&ops, shape, plan, coding, scratch, again, g.nbytes), UW_OK);
	assert_same(g.bytes, again, g.nbytes);
	free(again);
	return g;
}

/* Every run of row blocks, rows as they are stored, farther apart; what lies between them is left alone. */
static void check_blocks(const struct uw_coded *coded, const uint16_t *weights)
{
	size_t ncols = (size_t)coded->shape.ncols, ld = ncols + 3;
	uint64_t nrows = coded->shape.nrows, nblocks = (nrows + 63) / 64;
	uint16_t *rows = need((size_t)nrows * ld * sizeof(*rows));

	for (uint64_t first = 0; first < nblocks; first++) {
		for (uint64_t n = 0; n <= nblocks - first; n++) {
			uint64_t end = 64 * (first + n) < nrows ? 64 * (first + n) : nrows;

			memset(rows, 0xA5, (size_t)nrows * ld * sizeof(*rows));
			assert_int_equal(uw_coded_decode_blocks(&ops, coded, first, n, UW_STORE_CACHED, rows, ld, NULL),
					 UW_OK);
			for (uint64_t r = 64 * first; n != 0 && r < end; r++) {
				assert_same(rows + (r - 64 * first) * ld, weights + uw_coded_row(coded, r) * ncols,
					    ncols * sizeof(*rows));
				assert_int_equal(rows[(r - 64 * first) * ld + ncols], 0xA5A5);
			}
		}
	}
	assert_int_equal(uw_coded_decode_blocks(&ops, coded, 0, nblocks + 1, UW_STORE_CACHED, rows, ld, NULL),
			 UW_ERR_ARG);
	assert_int_equal(uw_coded_decode_blocks(&ops, coded, nblocks, 1, UW_STORE_CACHED, rows, ld, NULL), UW_ERR_ARG);
	assert_int_equal(uw_coded_decode_blocks(&ops, coded, 0, 1, UW_STORE_CACHED, rows, ncols - 1, NULL), UW_ERR_ARG);
	free(rows);
}

/* Runs of tile columns of the first and the last row block: all of narrow groups, some of wide ones. */
static void check_columns(const struct uw_coded *coded, const uint16_t *weights)
{
	size_t ncols = (size_t)coded->shape.ncols, ld = ncols + 3;
	uint64_t nrows = coded->shape.nrows, nblocks = (nrows + 63) / 64, tile_cols = (ncols + 63) / 64;
	uint16_t *rows = need(64 * ld * sizeof(*rows));

	uint64_t step = 1 + tile_cols / 6;

	for (uint64_t first = 0; first < tile_cols; first += step) {
		for (uint64_t n = 0; n <= tile_cols - first; n += step) {
			uint64_t b = (first + n) % 2 * (nblocks - 1), from = 64 * first;
			uint64_t width = n == 0 ? 0 : 64 * (first + n) < ncols ? 64 * n : ncols - from;

			memset(rows, 0xA5, 64 * ld * sizeof(*rows));
			assert_int_equal(
				uw_coded_decode_columns(&ops, coded, b, first, n, UW_STORE_CACHED, rows, ld, NULL),
				UW_OK);
			for (uint64_t r = 64 * b; r < 64 * b + 64 && r < nrows; r++) {
				const uint16_t *row = rows + (r - 64 * b) * ld;

				assert_same(row, weights + uw_coded_row(coded, r) * ncols + from,
					    (size_t)width * sizeof(*rows));
				assert_int_equal(row[width], 0xA5A5);
			}
		}
	}
	assert_int_equal(uw_coded_decode_columns(&ops, coded, 0, 0, tile_cols + 1, UW_STORE_CACHED, rows, ld, NULL),
			 UW_ERR_ARG);
	assert_int_equal(uw_coded_decode_columns(&ops, coded, nblocks, 0, 1, UW_STORE_CACHED, rows, ld, NULL),
			 UW_ERR_ARG);
	assert_int_equal(uw_coded_decode_columns(&ops, coded, 0, 0, tile_cols, UW_STORE_CACHED, rows, ncols - 1, NULL),
			 UW_ERR_ARG);
	free(rows);
}

/* With a copy of its head the group decodes whatever becomes of the head it was copied from. */
static void check_copied(const struct stored *g, const uint16_t *weights)
{
	size_t nbytes = (size_t)g->shape.nweights * sizeof(*weights);
	uint64_t room = uw_coded_head_room(&g->shape, g->ntables, g->npatches);
	size_t nhead = room < g->nbytes ? (size_t)room : g->nbytes;
	uint8_t *stored = need(g->nbytes), *head = need(nhead);
	uint16_t *back = need(nbytes);
	struct uw_coded coded;

	memcpy(stored, g->bytes, g->nbytes);
	memcpy(head, g->bytes, nhead);
	assert_int_equal(uw_coded_open_copied(&g->shape, g->coding, g->ntables, g->npatches, head, stored, g->nbytes,
					      &coded, NULL),
			 UW_OK);
	memset(stored, 0xFF, (size_t)coded.head_nbytes);
	assert_int_equal(uw_coded_decode(&ops, &coded, UW_STORE_CACHED, back, NULL), UW_OK);
	assert_same(back, weights, nbytes);
	free(stored);
	free(head);
	free(back);
}

/* Exponents of all chunks at once and one by one, through merge: they are the weights. */
static void check_exponents(const struct uw_coded *coded, const uint16_t *weights)
{
	uint64_t nchunks = coded->shape.nchunks;
	uint8_t *all = need((size_t)nchunks * UW_CHUNK_WEIGHTS), *single = need(UW_CHUNK_WEIGHTS);
	struct uw_tile_walk walk;

	assert_int_equal(uw_coded_exponents(&ops, coded, 0, nchunks + 1, all, NULL), UW_ERR_ARG);
	assert_int_equal(uw_coded_exponents(&ops, coded, 0, nchunks, all, NULL), UW_OK);
	for (uint64_t c = 0; c < nchunks; c++) {
		assert_int_equal(uw_coded_exponents(&ops, coded, c, 1, single, NULL), UW_OK);
		assert_same(single, all + c * UW_CHUNK_WEIGHTS, uw_chunk_ntiles(&coded->shape, c) * UW_TILE_WEIGHTS);
	}
	uw_tile_walk_start(&walk, &coded->shape);
	for (uint64_t t = 0; t < coded->shape.ntiles; t++) {
		struct uw_tile tile = uw_tile_walk_next(&walk);
		uint16_t whole[UW_TILE_WEIGHTS];

		ops.merge[coded->shape.order](whole, UW_TILE_COLS, coded->s + t * UW_TILE_WEIGHTS,
					      all + t * UW_TILE_WEIGHTS, UW_STORE_CACHED);
		for (uint32_t r = 0; r < tile.nrows; r++)
			assert_same(whole + r * UW_TILE_COLS,
				    weights + uw_coded_row(coded, tile.row + r) * coded->shape.ncols + tile.col,
				    tile.ncols * sizeof(*whole));
	}
	free(all);
	free(single);
}

struct uw_coded check_decoded_whole(const struct stored *g, const uint16_t *weights)
{
	size_t nbytes = (size_t)g->shape.nweights * sizeof(*weights);
	uint16_t *back = need(nbytes);
	struct uw_coded coded;

	assert_int_equal(uw_coded_open(&g->shape, g->coding, g->ntables, g->npatches, g->bytes, g->nbytes, &coded,
				       NULL), UW_OK);
	for (unsigned store = UW_STORE_CACHED; store <= UW_STORE_STREAM; store++) {
		memset(back, 0xA5, nbytes);
		assert_int_equal(uw_coded_decode(&ops, &coded, store, back, NULL), UW_OK);
		assert_same(back, weights, nbytes);
	}
	free(back);
	return coded;
}

void check_decoded(const struct stored *g, const uint16_t *weights)
{
	struct uw_coded coded = check_decoded_whole(g, weights);
	uint16_t none;

	check_copied(g, weights);
	if (g->shape.order == UW_ORDER_TILED) {
		check_blocks(&coded, weights);
		check_columns(&coded, weights);
	} else {
		assert_int_equal(uw_coded_decode_columns(&ops, &coded, 0, 0, 1, UW_STORE_CACHED, &none,
							 (size_t)g->shape.ncols, NULL), UW_ERR_ARG);
		assert_int_equal(uw_coded_decode_blocks(&ops, &coded, 0, 1, UW_STORE_CACHED, &none,
							(size_t)g->shape.ncols, NULL), UW_ERR_ARG);
	}
	check_exponents(&coded, weights);
}

const struct group_size sizes[NSIZES] = {
	{ UW_ORDER_LINEAR, 1, 1 },     { UW_ORDER_LINEAR, 1, 2 },    { UW_ORDER_LINEAR, 1, 63 },
	{ UW_ORDER_LINEAR, 1, 64 },    { UW_ORDER_LINEAR, 1, 65 },   { UW_ORDER_LINEAR, 1, 1023 },
	{ UW_ORDER_LINEAR, 1, 1024 },  { UW_ORDER_LINEAR, 1, 1025 }, { UW_ORDER_LINEAR, 1, 8191 },
	{ UW_ORDER_LINEAR, 1, 8192 },  { UW_ORDER_LINEAR, 1, 8193 }, { UW_ORDER_LINEAR, 1, 30000 },
	{ UW_ORDER_TILED, 1, 1 },      { UW_ORDER_TILED, 1, 1000 },  { UW_ORDER_TILED, 700, 1 },
	{ UW_ORDER_TILED, 15, 63 },    { UW_ORDER_TILED, 16, 64 },   { UW_ORDER_TILED, 17, 65 },
	{ UW_ORDER_TILED, 64, 64 },    { UW_ORDER_TILED, 65, 129 },  { UW_ORDER_TILED, 80, 192 },
	{ UW_ORDER_TILED, 128, 1000 },
};
