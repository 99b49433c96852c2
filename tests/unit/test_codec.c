/* SPDX-License-Identifier: Apache-2.0 */
/* Round trips of groups: sizes, distributions, special values, limits. */
#include "codec_common.h"

/* ---- weights ---- */

static uint16_t gaussian_with_escapes(uint64_t i)
{
	return rng() % 64 == 0 ? (uint16_t)rng() : gaussian(i);
}

static uint16_t one(uint64_t i)
{
	return 0x3F80;
}

static uint16_t zero(uint64_t i)
{
	return 0;
}

static uint16_t negative_zero(uint64_t i)
{
	return 0x8000;
}

static uint16_t nan_only(uint64_t i)
{
	return (uint16_t)(bf16(255) | 0x40);
}

static uint16_t one_exponent(uint64_t i)
{
	return bf16(121);
}

static uint16_t two_exponents_of_a_pair(uint64_t i)
{
	return bf16(120 + rng() % 2);
}

static uint16_t two_exponents(uint64_t i)
{
	return bf16(rng() % 2 ? 3 : 254);
}

static uint16_t sixteen_exponents(uint64_t i)
{
	return bf16(112 + rng() % 16);
}

/* The exponents 1 and 0: padding meets real weights of exponent 0. */
static uint16_t denormals(uint64_t i)
{
	return bf16(rng() % 8 == 0);
}

static uint16_t seventeen_exponents(uint64_t i)
{
	return bf16(rng() % 128 == 0 ? 128 : 112 + rng() % 16);
}

static uint16_t seventeen_equal_exponents(uint64_t i)
{
	return bf16(112 + rng() % 17);
}

struct kind {
	uint16_t (*weight)(uint64_t i);
	bool coded; /* never too many escapes */
};

static const struct kind kinds[] = {
	{ gaussian, true },
	{ gaussian_with_escapes, true },
	{ one, true },
	{ zero, true },
	{ negative_zero, true },
	{ nan_only, true },
	{ one_exponent, true },
	{ two_exponents_of_a_pair, true },
	{ two_exponents, true },
	{ sixteen_exponents, true },
	{ denormals, true },
	{ seventeen_exponents, true },
	{ seventeen_equal_exponents, false },
	{ fibonacci, true },
	{ random_bits, false },
};

/* ---- round trips ---- */

static void check_transcoded(const struct stored *h, const struct stored *p4)
{
	uint8_t *dst = need(p4->nbytes);
	struct uw_coded coded;

	assert_int_equal(uw_coded_open(&h->shape, h->coding, h->ntables, h->npatches, h->bytes, h->nbytes, &coded, NULL),
			 UW_OK);
	assert_int_equal(uw_coded_p4_nbytes(&coded), p4->nbytes);
	assert_int_equal(uw_coded_to_p4(&ops, &coded, NULL, 0, NULL), UW_ERR_SPACE);
	assert_int_equal(uw_coded_to_p4(&ops, &coded, dst, p4->nbytes - 1, NULL), UW_ERR_SPACE);
	memset(dst, 0xA5, p4->nbytes);
	assert_int_equal(uw_coded_to_p4(&ops, &coded, dst, p4->nbytes, NULL), UW_OK);
	assert_same(dst, p4->bytes, p4->nbytes);
	assert_int_equal(uw_coded_open(&p4->shape, p4->coding, p4->ntables, p4->npatches, p4->bytes, p4->nbytes, &coded,
				       NULL), UW_OK);
	assert_int_equal(uw_coded_to_p4(&ops, &coded, dst, p4->nbytes, NULL), UW_ERR_ARG);
	free(dst);
}

static void check_counts(const struct uw_shape *shape, const uint16_t *weights, const struct uw_plan *plan)
{
	uint64_t counts[256] = { 0 };

	for (uint64_t i = 0; i < shape->nweights; i++)
		counts[weights[i] >> 7 & 255]++;
	assert_same(plan->counts, counts, sizeof(counts));
}

/* Encodes, decodes and transcodes what has been planned with this status. False: the group has too many escapes. */
static bool check_plan(const struct uw_shape *shape, const uint16_t *weights, enum uw_status status, void *scratch,
		       const struct uw_plan *plan)
{
	check_counts(shape, weights, plan);
	if (status == UW_OK) {
		struct stored h = encode(shape, plan, UW_CODING_H, scratch);
		struct stored p4 = encode(shape, plan, UW_CODING_P4, scratch);

		check_decoded(&h, weights);
		check_decoded(&p4, weights);
		check_transcoded(&h, &p4);
		free(h.bytes);
		free(p4.bytes);
	} else {
		assert_int_equal(status, UW_ERR_UNSUPPORTED);
	}
	return status == UW_OK;
}

static bool round_trip(const struct uw_shape *shape, const uint16_t *weights, struct uw_plan *plan)
{
	void *scratch = need_scratch(shape);
	enum uw_status status = uw_codec_plan(&ops, shape, weights, UW_CODING_H, scratch, plan);
	bool coded = check_plan(shape, weights, status, scratch, plan);

	free(scratch);
	return coded;
}

static void test_sizes_and_distributions(void **state)
{
	static struct uw_plan plan;

	for (unsigned n = 0; n < NSIZES; n++) {
		struct uw_shape shape = shape_of(sizes[n].order, sizes[n].nrows, sizes[n].ncols);
		uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));

		for (unsigned k = 0; k < COUNT(kinds); k++) {
			fill(weights, shape.nweights, kinds[k].weight);
			if (!round_trip(&shape, weights, &plan))
				assert_false(kinds[k].coded);
			else if (kinds[k].weight == random_bits)
				assert_true(shape.nweights < 1000);
		}
		free(weights);
	}
}

/* Any order of rows, in any shape that has rows. */
static void test_forced_row_orders(void **state)
{
	static const unsigned some_kinds[] = { 0, 1, 7, 10, 13 };
	static struct uw_plan plan;

	for (unsigned n = 0; n < NSIZES; n++) {
		struct uw_shape shape = shape_of(sizes[n].order, sizes[n].nrows, sizes[n].ncols);
		uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));
		uint16_t *order = need((size_t)shape.nrows * sizeof(*order));
		void *scratch = need_scratch(&shape);

		for (unsigned k = 0; k < COUNT(some_kinds); k++) {
			const uint16_t *rows = shape.order == UW_ORDER_TILED ? order : NULL;
			enum uw_status status;

			fill(weights, shape.nweights, kinds[some_kinds[k]].weight);
			shuffle_rows(order, shape.nrows);
			status = uw_codec_plan_rows(&ops, &shape, weights, k % 2 ? UW_CODING_P4 : UW_CODING_H, rows,
						    scratch, &plan);
			assert_int_equal(plan.row_order, rows != NULL);
			assert_true(check_plan(&shape, weights, status, scratch, &plan));
		}
		if (shape.order == UW_ORDER_LINEAR)
			assert_int_equal(uw_codec_plan_rows(&ops, &shape, weights, UW_CODING_H, order, scratch, &plan),
					 UW_ERR_ARG);
		free(weights);
		free(order);
		free(scratch);
	}
}

/* 65,536 rows have a number of 16 bits, more do not. */
static void test_most_rows(void **state)
{
	static struct uw_plan plan;

	for (uint64_t nrows = UW_MAX_ORDERED_ROWS; nrows <= UW_MAX_ORDERED_ROWS + 1; nrows++) {
		struct uw_shape shape = shape_of(UW_ORDER_TILED, nrows, 1);
		uint16_t *weights = need((size_t)nrows * sizeof(*weights)), *order = need((size_t)nrows * sizeof(*order));
		void *scratch = need_scratch(&shape);
		enum uw_status status;

		fill(weights, nrows, gaussian);
		shuffle_rows(order, nrows);
		status = uw_codec_plan_rows(&ops, &shape, weights, UW_CODING_H, order, scratch, &plan);
		if (nrows > UW_MAX_ORDERED_ROWS) {
			assert_int_equal(status, UW_ERR_ARG);
		} else {
			struct stored h;

			assert_int_equal(status, UW_OK);
			h = encode(&shape, &plan, UW_CODING_H, scratch);
			check_decoded_whole(&h, weights);
			free(h.bytes);
		}
		free(weights);
		free(order);
		free(scratch);
	}
}

/* Gaussian rows with a scale of 2^(octave of the row). */
static void fill_rows(uint16_t *weights, const struct uw_shape *shape, unsigned (*octave)(uint64_t row))
{
	for (uint64_t r = 0; r < shape->nrows; r++) {
		for (uint64_t c = 0; c < shape->ncols; c++)
			weights[r * shape->ncols + c] = (uint16_t)(gaussian(c) + (octave(r) << 7));
	}
}

static unsigned no_octave(uint64_t row)
{
	return 0;
}

static unsigned octave_of_block(uint64_t row)
{
	return (unsigned)(row / 64 % 4);
}

static unsigned octave_of_row(uint64_t row)
{
	return (unsigned)(row * 2654435761u >> 16 & 3);
}

static uint64_t planned_nbytes(const struct uw_shape *shape, const uint16_t *weights, enum uw_coding coding, bool order)
{
	static struct uw_plan plan;
	void *scratch = need_scratch(shape);
	uint64_t nbytes;

	assert_int_equal(uw_codec_plan(&ops, shape, weights, coding, scratch, &plan), UW_OK);
	assert_int_equal(plan.row_order, order);
	assert_true(check_plan(shape, weights, UW_OK, scratch, &plan));
	nbytes = uw_codec_encoded_nbytes(shape, &plan, coding);
	free(scratch);
	return nbytes;
}

/* Rows are put in order where their scales differ from row to row, and it saves what it should; nowhere else. */
static void test_choice_of_row_order(void **state)
{
	static const struct group_size shapes[] = {
		{ UW_ORDER_TILED, 256, 1024 }, { UW_ORDER_TILED, 250, 1000 }, { UW_ORDER_TILED, 1000, 300 },
	};
	static struct uw_plan plan;

	for (unsigned n = 0; n < COUNT(shapes); n++) {
		struct uw_shape shape = shape_of(UW_ORDER_TILED, shapes[n].nrows, shapes[n].ncols);
		uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));
		void *scratch = need_scratch(&shape);
		uint64_t ordered, plain;

		fill_rows(weights, &shape, no_octave);
		(void)planned_nbytes(&shape, weights, UW_CODING_H, false);
		fill_rows(weights, &shape, octave_of_block);
		(void)planned_nbytes(&shape, weights, UW_CODING_H, false);
		fill_rows(weights, &shape, octave_of_row);
		(void)planned_nbytes(&shape, weights, UW_CODING_P4, false);
		ordered = planned_nbytes(&shape, weights, UW_CODING_H, true);
		assert_int_equal(uw_codec_plan_rows(&ops, &shape, weights, UW_CODING_H, NULL, scratch, &plan), UW_OK);
		plain = uw_codec_encoded_nbytes(&shape, &plan, UW_CODING_H);
		assert_true(8 * (plain - ordered) * 10 > 3 * shape.nweights); /* 0.3 bits a weight */
		free(weights);
		free(scratch);
	}
}

/* Too few rows or columns, or none to tell apart: never an order. */
static void test_no_row_order(void **state)
{
	static const struct group_size shapes[] = {
		{ UW_ORDER_TILED, 64, 1024 }, { UW_ORDER_TILED, 256, 255 }, { UW_ORDER_LINEAR, 256, 1024 },
	};

	for (unsigned n = 0; n < COUNT(shapes); n++) {
		struct uw_shape rows = shape_of(UW_ORDER_TILED, shapes[n].nrows, shapes[n].ncols);
		struct uw_shape shape = shape_of(shapes[n].order, shapes[n].nrows, shapes[n].ncols);
		uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));

		fill_rows(weights, &rows, octave_of_row);
		(void)planned_nbytes(&shape, weights, UW_CODING_H, false);
		memset(weights, 0, (size_t)shape.nweights * sizeof(*weights));
		(void)planned_nbytes(&shape, weights, UW_CODING_H, false);
		free(weights);
	}
}

static void test_shapes_outside_the_contract(void **state)
{
	struct uw_shape shape;

	assert_int_equal(uw_shape_linear(0, &shape), UW_ERR_ARG);
	assert_int_equal(uw_shape_linear(UW_MAX_GROUP_WEIGHTS, &shape), UW_OK);
	assert_int_equal(uw_shape_linear(UW_MAX_GROUP_WEIGHTS + 1, &shape), UW_ERR_ARG);
	assert_int_equal(uw_shape_linear(UINT64_MAX, &shape), UW_ERR_ARG);
	assert_int_equal(uw_shape_tiled(0, 5, &shape), UW_ERR_ARG);
	assert_int_equal(uw_shape_tiled(5, 0, &shape), UW_ERR_ARG);
	assert_int_equal(uw_shape_tiled(64, 131072, &shape), UW_OK);
	assert_int_equal(uw_shape_tiled(64, 131073, &shape), UW_ERR_ARG);
	assert_int_equal(uw_shape_tiled(1, UW_MAX_GROUP_WEIGHTS, &shape), UW_ERR_ARG); /* padding counts */
	assert_int_equal(uw_shape_tiled(UINT64_MAX, 1, &shape), UW_ERR_ARG);
	assert_int_equal(uw_shape_tiled(UINT64_MAX, UINT64_MAX, &shape), UW_ERR_ARG);
	assert_int_equal(uw_shape_tiled(UINT64_C(1) << 36, UINT64_C(1) << 38, &shape), UW_ERR_ARG);
}

/* A palette and one chunk word, E, one tile of the S plane; all codes have one bit. */
#define ALONE_H_NBYTES (64 + 192 + 1024)
#define ALONE_P4_NBYTES (64 + 512 + 1024)

static uint16_t one_weight_through(const struct uw_shape *shape, enum uw_coding coding, uint16_t weight, void *scratch)
{
	static struct uw_plan plan;
	uint8_t stored[ALONE_P4_NBYTES];
	size_t nbytes = coding == UW_CODING_P4 ? ALONE_P4_NBYTES : ALONE_H_NBYTES;
	struct uw_coded coded;
	uint16_t back = (uint16_t)~weight;

	assert_int_equal(uw_codec_plan(&ops, shape, &weight, UW_CODING_H, scratch, &plan), UW_OK);
	assert_int_equal(plan.nescapes, 0);
	assert_int_equal(plan.counts[weight >> 7 & 255], 1);
	assert_int_equal(uw_codec_encoded_nbytes(shape, &plan, coding), nbytes);
	assert_int_equal(uw_codec_encode(&ops, shape, &plan, coding, scratch, stored, nbytes), UW_OK);
	assert_int_equal(uw_coded_open(shape, coding, plan.ntables, 0, stored, nbytes, &coded, NULL), UW_OK);
	assert_int_equal(uw_coded_decode(&ops, &coded, UW_STORE_CACHED, &back, NULL), UW_OK);
	return back;
}

/* One weight: the smallest group, for each of its values. */
static void test_every_pattern_alone(void **state)
{
	struct uw_shape shapes[2] = { shape_of(UW_ORDER_LINEAR, 1, 1), shape_of(UW_ORDER_TILED, 1, 1) };
	void *scratch = need_scratch(&shapes[0]);

	for (uint32_t pattern = 0; pattern < 65536; pattern++) {
		const struct uw_shape *shape = &shapes[pattern % 2];
		enum uw_coding coding = pattern / 2 % 2 ? UW_CODING_P4 : UW_CODING_H;

		assert_int_equal(one_weight_through(shape, coding, (uint16_t)pattern, scratch), pattern);
	}
	free(scratch);
}

/*
 * Weights of 16 exponents, and 32 others in each tile: over the tiles all 65,536 patterns, scattered. Tile t puts
 * them at the positions 32 n + t mod 32, so that every position is an escape in some tile.
 */
static void check_every_pattern_as_escape(enum uw_order order, uint64_t nrows, uint64_t ncols)
{
	static struct uw_plan plan;
	struct uw_shape shape = shape_of(order, nrows, ncols);
	uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));
	uint64_t nescapes = 0;

	assert_int_equal(shape.nweights, 2048 * 1024);
	for (uint32_t i = 0; i < shape.nweights; i++) {
		uint64_t tile = order == UW_ORDER_LINEAR ? i / 1024 : i / ncols / 16 * (ncols / 64) + i % ncols / 64;
		uint64_t place = order == UW_ORDER_LINEAR ? i % 1024 : i / ncols % 16 * 64 + i % 64;
		uint16_t pattern = (uint16_t)((32 * tile + place / 32) * 40503);
		bool odd = place % 32 == tile % 32;

		weights[i] = odd ? pattern : bf16(112 + (i * 7 + i / 64) % 16);
		nescapes += odd && (pattern >> 7 & 255) / 16 != 7;
	}
	assert_true(round_trip(&shape, weights, &plan));
	assert_int_equal(plan.nescapes, nescapes);
	assert_int_equal(nescapes, 65536 / 16 * 15);
	free(weights);
}

static void test_every_pattern_as_escape(void **state)
{
	check_every_pattern_as_escape(UW_ORDER_LINEAR, 1, 2048 * 1024);
	check_every_pattern_as_escape(UW_ORDER_TILED, 1024, 2048);
}

/* Each class of special values at each position of a tile, 32 of them in a tile. */
static void test_every_class_at_every_position(void **state)
{
	static const uint16_t classes[] = {
		0x0000, 0x8000, 0x0001, 0x807F, 0x0080, 0x80FF, 0x3F80, 0xBF80,
		0x4000, 0x7F7F, 0xFF7F, 0x7F80, 0xFF80, 0x7FC0, 0xFFFF, 0x7F81,
	};
	static struct uw_plan plan;
	struct uw_shape shape = shape_of(UW_ORDER_TILED, 512, 1024);
	uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));

	for (unsigned order = UW_ORDER_LINEAR; order <= UW_ORDER_TILED; order++) {
		shape = shape_of(order, 512, 1024);
		for (uint32_t i = 0; i < shape.nweights; i++) {
			uint32_t tile = order == UW_ORDER_LINEAR ? i / 1024 : i / 16384 * 16 + i % 1024 / 64;
			uint32_t place = order == UW_ORDER_LINEAR ? i % 1024 : i / 1024 % 16 * 64 + i % 64;

			weights[i] = place / 32 == tile % 32 ? classes[tile / 32] : bf16(96 + rng() % 16);
		}
		assert_true(round_trip(&shape, weights, &plan));
		assert_int_equal(plan.nescapes, shape.nweights / 32);
	}
	free(weights);
}

/* 32 escapes a tile are coded, one more is not. Each is an exponent of its own, so none gets into the palette. */
static void test_limit_of_escapes(void **state)
{
	static struct uw_plan plan;
	struct uw_shape shape = shape_of(UW_ORDER_LINEAR, 1, 2048);
	uint16_t weights[2048];

	for (unsigned nescapes = 63; nescapes <= 65; nescapes++) {
		for (unsigned i = 0; i < 2048; i++)
			weights[i] = bf16(i < nescapes ? 2 * i : 200 + i % 16);
		assert_int_equal(round_trip(&shape, weights, &plan), nescapes <= 64);
	}
}

/*
 * Lane by lane ever rarer symbols: half of the chunk one exponent, a quarter the next, and so on `depth` times. The
 * longest lane has up to 1408 bits more than the shortest.
 */
static void test_lanes_of_different_length(void **state)
{
	static const uint32_t shift_of_depth[] = { 0, 0, 1, 2, 2, 3, 3, 3 };
	static struct uw_plan plan;
	struct uw_shape shape = shape_of(UW_ORDER_LINEAR, 1, UW_CHUNK_WEIGHTS);
	uint16_t weights[UW_CHUNK_WEIGHTS];

	for (unsigned depth = 1; depth <= 7; depth++) {
		for (uint32_t p = 0; p < UW_CHUNK_WEIGHTS; p++) {
			uint32_t x = p / 8 % 32 * 256 + p / 256 * 8 + p % 8;
			unsigned symbol = 0;

			while (symbol < depth && x >= UW_CHUNK_WEIGHTS - (UW_CHUNK_WEIGHTS >> (symbol + 1)))
				symbol++;
			weights[p] = bf16(100 + symbol);
		}
		assert_true(round_trip(&shape, weights, &plan));
		assert_int_equal(uw_chunk_word_unpack(plan.chunk_words[0]).shift, shift_of_depth[depth]);
	}
}

/* Sixteen kinds of chunks that share no exponent: all patterns, and none escapes. */
static void test_many_tables(void **state)
{
	static struct uw_plan plan;
	struct uw_shape shape = shape_of(UW_ORDER_LINEAR, 1, 64 * UW_CHUNK_WEIGHTS - 5);
	uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));
	uint32_t seen = 0;

	for (uint32_t i = 0; i < shape.nweights; i++) {
		uint32_t chunk = i / UW_CHUNK_WEIGHTS, pattern = (i + chunk) * 77 % 4096;

		weights[i] = (uint16_t)(chunk % 16 << 11 | (pattern & 0x7FF) | (pattern & 0x800) << 4);
	}
	assert_true(round_trip(&shape, weights, &plan));
	assert_int_equal(plan.ntables, 16);
	assert_int_equal(plan.nescapes, 0);
	for (uint32_t c = 0; c < shape.nchunks; c++)
		seen |= 1u << uw_chunk_word_unpack(plan.chunk_words[c]).table;
	assert_int_equal(seen, 0xFFFF);
	free(weights);
}

static void check_largest(const struct uw_shape *shape, const uint16_t *weights)
{
	static struct uw_plan plan;
	void *scratch = need_scratch(shape);
	struct stored h;

	assert_int_equal(uw_codec_plan(&ops, shape, weights, UW_CODING_H, scratch, &plan), UW_OK);
	h = encode(shape, &plan, UW_CODING_H, scratch);
	check_decoded(&h, weights);
	free(h.bytes);
	free(scratch);
}

/* 7-bit codes for one weight in four, everywhere: numbers of streams and patches come near their limits. */
static void test_largest_group(void **state)
{
	struct uw_shape shape = shape_of(UW_ORDER_TILED, 64, 131072);
	uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));

	for (uint32_t i = 0; i < shape.nweights; i++) {
		uint32_t x = i * 2654435769u >> 16;

		weights[i] = (uint16_t)(i % 33 == 0 ? x : x % 2048 + (100u << 7));
	}
	check_largest(&shape, weights);
	free(weights);
}

static void test_size_of_a_gaussian_group(void **state)
{
	static struct uw_plan plan;
	struct uw_shape shape = shape_of(UW_ORDER_TILED, 1024, 1024);
	uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));

	fill(weights, shape.nweights, gaussian);
	assert_true(round_trip(&shape, weights, &plan));
	assert_true(uw_codec_encoded_nbytes(&shape, &plan, UW_CODING_H) * 800 < shape.nweights * 1072);
	assert_true(uw_codec_encoded_nbytes(&shape, &plan, UW_CODING_P4) * 800 < shape.nweights * 1205);
	free(weights);
}

/* The S plane of a large group goes past the caches where the destination is aligned to 64; an odd number of tiles. */
static void test_where_a_large_group_goes(void **state)
{
	static struct uw_plan plan;
	struct uw_shape shape = shape_of(UW_ORDER_LINEAR, 1, 1025 * UW_TILE_WEIGHTS - 5);
	uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));
	void *scratch = need_scratch(&shape);

	fill(weights, shape.nweights, gaussian_with_escapes);
	for (enum uw_coding coding = UW_CODING_H; coding <= UW_CODING_P4; coding++) {
		uint8_t *aligned, *place;
		size_t n;

		assert_int_equal(uw_codec_plan(&ops, &shape, weights, coding, scratch, &plan), UW_OK);
		n = (size_t)uw_codec_encoded_nbytes(&shape, &plan, coding);
		assert_int_equal(posix_memalign((void **)&aligned, 64, n + 129), 0);
		memset(aligned, 0xA5, n + 129);
		assert_int_equal(uw_codec_encode(&ops, &shape, &plan, coding, scratch, aligned, n), UW_OK);
		place = uw_codec_place(&shape, &plan, coding, scratch);
		assert_int_equal(uw_codec_encode(&ops, &shape, &plan, coding, scratch, place, n), UW_OK);
		assert_same(aligned, place, n);
		for (size_t i = n; i < n + 129; i++)
			assert_int_equal(aligned[i], 0xA5);
		assert_int_equal(uw_codec_encode(&ops, &shape, &plan, coding, scratch, aligned + 65, n), UW_OK);
		assert_same(aligned + 65, place, n);
		free(aligned);
	}
	free(scratch);
	free(weights);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_where_a_large_group_goes, seed),
		cmocka_unit_test_setup(test_sizes_and_distributions, seed),
		cmocka_unit_test_setup(test_forced_row_orders, seed),
		cmocka_unit_test_setup(test_most_rows, seed),
		cmocka_unit_test_setup(test_choice_of_row_order, seed),
		cmocka_unit_test_setup(test_no_row_order, seed),
		cmocka_unit_test_setup(test_shapes_outside_the_contract, seed),
		cmocka_unit_test_setup(test_every_pattern_alone, seed),
		cmocka_unit_test_setup(test_every_pattern_as_escape, seed),
		cmocka_unit_test_setup(test_every_class_at_every_position, seed),
		cmocka_unit_test_setup(test_limit_of_escapes, seed),
		cmocka_unit_test_setup(test_lanes_of_different_length, seed),
		cmocka_unit_test_setup(test_many_tables, seed),
		cmocka_unit_test_setup(test_largest_group, seed),
		cmocka_unit_test_setup(test_size_of_a_gaussian_group, seed),
	};

	return cmocka_run_group_tests_name("codec", tests, use_level, NULL);
}
