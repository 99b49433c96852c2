/* SPDX-License-Identifier: Apache-2.0 */
/* Stored groups that are wrong: refused, or decoded to something without an access outside. */
#include "codec_common.h"

enum { WRONG_H_LINEAR, WRONG_P4_LINEAR, WRONG_H_TILED, WRONG_P4_TILED, WRONG_H_ROWS, WRONG_P4_ROWS, NWRONG };

/* Those of coding H. */
static const unsigned wrong_h[] = { WRONG_H_LINEAR, WRONG_H_TILED, WRONG_H_ROWS };

/* Three chunks, the last one with a table of its own; patches in each; partial tiles at the end. */
static void make_group(enum uw_order order, bool row_order, struct stored *h, struct stored *p4)
{
	static struct uw_plan plan;
	struct uw_shape shape = order == UW_ORDER_LINEAR ? shape_of(order, 1, 2 * UW_CHUNK_WEIGHTS + 1100) :
							   shape_of(order, 60, 257);
	uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights)), rows[60];
	void *scratch = need_scratch(&shape);

	for (uint32_t i = 0; i < shape.nweights; i++) {
		bool last = order == UW_ORDER_LINEAR ? i >= 2 * UW_CHUNK_WEIGHTS : i % 257 == 256;

		weights[i] = last ? bf16(200 + rng() % 16) : fibonacci(i);
		if (i % 1291 == 700 || i % (31 * 257) == 6 * 257 - 1)
			weights[i] = bf16(240);
	}
	shuffle_rows(rows, 60);
	assert_int_equal(uw_codec_plan_rows(&ops, &shape, weights, UW_CODING_H, row_order ? rows : NULL, scratch, &plan),
			 UW_OK);
	assert_int_equal(plan.ntables, 2);
	assert_int_equal(uw_chunk_word_unpack(plan.chunk_words[0]).table, 0);
	assert_int_equal(uw_chunk_word_unpack(plan.chunk_words[1]).table, 0);
	assert_int_equal(uw_chunk_word_unpack(plan.chunk_words[2]).table, 1);
	assert_in_range(uw_chunk_word_unpack(plan.chunk_words[1]).patch_start, 2, plan.nescapes - 2);
	assert_in_range(uw_chunk_word_unpack(plan.chunk_words[2]).patch_start, 4, plan.nescapes - 1);
	*h = encode(&shape, &plan, UW_CODING_H, scratch);
	*p4 = encode(&shape, &plan, UW_CODING_P4, scratch);
	check_decoded(h, weights);
	free(weights);
	free(scratch);
}

static int make_groups(void **state)
{
	static struct stored groups[NWRONG];
	uint64_t same;

	rng_state = 1;
	make_group(UW_ORDER_LINEAR, false, &groups[WRONG_H_LINEAR], &groups[WRONG_P4_LINEAR]);
	same = rng_state;
	make_group(UW_ORDER_TILED, false, &groups[WRONG_H_TILED], &groups[WRONG_P4_TILED]);
	rng_state = same;
	make_group(UW_ORDER_TILED, true, &groups[WRONG_H_ROWS], &groups[WRONG_P4_ROWS]);
	*state = groups;
	return 0;
}

static int free_groups(void **state)
{
	struct stored *groups = *state;

	for (unsigned n = 0; n < NWRONG; n++)
		free(groups[n].bytes);
	return 0;
}

static struct uw_chunk_word word_of(const struct stored *g, uint64_t c)
{
	return uw_chunk_word_unpack(uw_load_le64(g->bytes + g->ntables * UW_TABLE_NBYTES + 8 * c));
}

static void set_word(struct stored *g, uint64_t c, struct uw_chunk_word word)
{
	uw_store_le64(g->bytes + g->ntables * UW_TABLE_NBYTES + 8 * c, uw_chunk_word_pack(word));
}

static size_t head_nbytes(const struct stored *g)
{
	return (size_t)uw_head_nbytes(&g->shape, g->ntables, g->npatches, word_of(g, 0).row_order);
}

/* Where the stream of chunk c begins; behind the last one, where E ends. */
static size_t stream_off(const struct stored *g, uint64_t c)
{
	if (c == g->shape.nchunks)
		return g->nbytes - (size_t)g->shape.ntiles * UW_TILE_WEIGHTS;
	return head_nbytes(g) + (size_t)word_of(g, c).stream_start * UW_STREAM_UNIT;
}

/* A copy with `nzeros` zero bytes put in at `off`. */
static struct stored grown(const struct stored *g, size_t off, size_t nzeros)
{
	struct stored copy = *g;

	copy.nbytes += nzeros;
	copy.bytes = need(copy.nbytes);
	memcpy(copy.bytes, g->bytes, off);
	memset(copy.bytes + off, 0, nzeros);
	memcpy(copy.bytes + off + nzeros, g->bytes + off, g->nbytes - off);
	return copy;
}

/* Opens and decodes whatever is there. A group that decodes has to transcode, and to the same weights. */
static enum uw_status try_group(const struct stored *g)
{
	size_t nbytes = (size_t)g->shape.nweights * sizeof(uint16_t);
	struct uw_error err = { .what = "?" };
	uint16_t *weights, *again;
	struct stored p4 = *g;
	struct uw_coded coded;
	enum uw_status status;

	status = uw_coded_open(&g->shape, g->coding, g->ntables, g->npatches, g->bytes, g->nbytes, &coded, &err);
	if (status != UW_OK) {
		assert_int_equal(err.status, status);
		assert_true(err.file_off < g->nbytes || err.file_off == UW_NO_OFFSET);
		return status;
	}
	weights = need(nbytes);
	again = need(nbytes);
	p4.coding = UW_CODING_P4;
	p4.nbytes = (size_t)uw_coded_p4_nbytes(&coded);
	p4.bytes = need(p4.nbytes);
	status = uw_coded_decode(&ops, &coded, UW_STORE_CACHED, weights, &err);
	if (g->coding == UW_CODING_H)
		assert_int_equal(uw_coded_to_p4(&ops, &coded, p4.bytes, p4.nbytes, &err), status);
	else
		memcpy(p4.bytes, g->bytes, g->nbytes);
	if (status == UW_OK) {
		assert_int_equal(uw_coded_open(&p4.shape, UW_CODING_P4, p4.ntables, p4.npatches, p4.bytes, p4.nbytes,
					       &coded, &err), UW_OK);
		assert_int_equal(uw_coded_decode(&ops, &coded, UW_STORE_CACHED, again, &err), UW_OK);
		assert_same(again, weights, nbytes);
	} else {
		assert_int_equal(err.status, status);
		assert_true(err.file_off < g->nbytes);
	}
	free(weights);
	free(again);
	free(p4.bytes);
	return status;
}

/* The group with the low bytes of `flip` XORed into the bytes at `off`. */
static enum uw_status try_flipped(const struct stored *g, size_t off, uint64_t flip)
{
	enum uw_status status;

	for (unsigned n = 0; n < 8 && flip >> 8 * n != 0; n++)
		g->bytes[off + n] ^= (uint8_t)(flip >> 8 * n);
	status = try_group(g);
	for (unsigned n = 0; n < 8 && flip >> 8 * n != 0; n++)
		g->bytes[off + n] ^= (uint8_t)(flip >> 8 * n);
	return status;
}

static void test_every_bit_of_the_headers(void **state)
{
	const struct stored *groups = *state;

	for (unsigned n = 0; n < NWRONG; n++) {
		const struct stored *g = &groups[n];
		size_t head = head_nbytes(g);

		for (size_t bit = 0; bit < 8 * head; bit++)
			(void)try_flipped(g, bit / 8, 1u << bit % 8);
		for (uint64_t c = 0; g->coding == UW_CODING_H && c < g->shape.nchunks; c++) {
			for (size_t bit = 0; bit < 8 * UW_LANE_HEADER_NBYTES; bit++)
				assert_int_equal(try_flipped(g, stream_off(g, c) + bit / 8, 1u << bit % 8), UW_ERR_BITS);
		}
		assert_int_equal(try_group(g), UW_OK);
	}
}

static void test_random_damage(void **state)
{
	const struct stored *groups = *state;

	for (unsigned round = 0; round < 600; round++) {
		const struct stored *g = &groups[round % NWRONG];
		struct stored copy = grown(g, 0, 0);
		unsigned nbytes = 1 + rng() % 8;

		for (unsigned n = 0; n < nbytes; n++) {
			size_t off = rng() % (round % 3 == 0 ? head_nbytes(g) + 64 : g->nbytes);

			copy.bytes[off] ^= (uint8_t)rng();
		}
		(void)try_group(&copy);
		free(copy.bytes);
	}
}

static enum uw_status try_size(const struct stored *g, size_t nbytes)
{
	struct stored cut = *g;
	enum uw_status status;

	cut.bytes = calloc(nbytes + (nbytes == 0), 1);
	assert_non_null(cut.bytes);
	cut.nbytes = nbytes;
	memcpy(cut.bytes, g->bytes, nbytes < g->nbytes ? nbytes : g->nbytes);
	status = try_group(&cut);
	free(cut.bytes);
	return status;
}

static void test_every_other_size(void **state)
{
	const struct stored *groups = *state;

	for (unsigned n = 0; n < NWRONG; n++) {
		const struct stored *g = &groups[n];

		for (size_t nbytes = 0; nbytes < g->nbytes + 300; nbytes++) {
			if (nbytes % 64 != 0 && nbytes % 64 != 1 && nbytes % 64 != 63)
				continue;
			assert_int_equal(try_size(g, nbytes) == UW_OK, nbytes == g->nbytes);
		}
	}
}

/* Numbers that the index hands down can be wrong as well. */
static void test_wrong_counts_and_shapes(void **state)
{
	const struct stored *groups = *state;

	for (unsigned n = 0; n < NWRONG; n++) {
		struct stored g = groups[n];

		for (g.ntables = 0; g.ntables < 20; g.ntables++)
			assert_int_equal(try_group(&g) == UW_OK, g.ntables == groups[n].ntables);
		g.ntables = groups[n].ntables;
		for (g.npatches = 0; g.npatches < 600; g.npatches++)
			assert_int_equal(try_group(&g) == UW_OK, g.npatches == groups[n].npatches);
		g.npatches = UINT32_MAX;
		assert_int_equal(try_group(&g), UW_ERR_LAYOUT);
		g.npatches = groups[n].npatches;
		g.coding = g.coding == UW_CODING_H ? UW_CODING_P4 : UW_CODING_H;
		assert_int_not_equal(try_group(&g), UW_OK);
		g.coding = UW_CODING_RAW;
		assert_int_equal(try_group(&g), UW_ERR_LAYOUT);
		g.coding = groups[n].coding;
		for (unsigned k = 0; k < NSIZES; k++) {
			g.shape = shape_of(sizes[k].order, sizes[k].nrows, sizes[k].ncols);
			(void)try_group(&g);
		}
	}
}

/* Lanes that are noise behind good words and lane headers: the decoder meets every window. */
static void test_noise_in_the_lanes(void **state)
{
	const struct stored *groups = *state;

	for (unsigned round = 0; round < 100; round++) {
		const struct stored *g = &groups[wrong_h[round % COUNT(wrong_h)]];
		struct stored copy = grown(g, 0, 0);

		for (uint64_t c = 0; c < g->shape.nchunks; c++) {
			size_t from = stream_off(g, c) + UW_LANE_HEADER_NBYTES;
			size_t to = stream_off(g, c + 1) - (c + 1 < g->shape.nchunks ? 4 : 68); /* keep the padding */

			for (size_t i = from; i < to; i++)
				copy.bytes[i] = (uint8_t)(round < 2 ? 0xFF : rng());
		}
		assert_int_equal(try_group(&copy), UW_ERR_BITS);
		free(copy.bytes);
	}
}

/* Zero bytes behind a stream, and all that follows moved on: streams leave no gaps. */
static void test_gaps_between_streams(void **state)
{
	const struct stored *groups = *state;

	for (unsigned i = 0; i < COUNT(wrong_h); i++) {
		const struct stored *g = &groups[wrong_h[i]];

		for (uint64_t c = 1; c <= g->shape.nchunks; c++) {
			struct stored copy = grown(g, stream_off(g, c), 64);

			for (uint64_t next = c; next < copy.shape.nchunks; next++) {
				struct uw_chunk_word word = word_of(&copy, next);

				word.stream_start += 64 / UW_STREAM_UNIT;
				set_word(&copy, next, word);
			}
			assert_int_equal(try_group(&copy), UW_ERR_BITS);
			free(copy.bytes);
		}
	}
}

/* Chunk c claims lanes of that size, and the next chunk to begin where they end: beyond E, beyond the group. */
static void check_long_lanes(const struct stored *g, uint64_t c, uint32_t base, uint32_t shift)
{
	struct stored copy = grown(g, 0, 0);
	struct uw_chunk_word word = word_of(g, c);
	uint32_t nbits = 8 * UW_LANE_HEADER_NBYTES, end;

	word.base = base;
	word.shift = shift;
	set_word(&copy, c, word);
	for (unsigned k = 0; k < UW_LANES; k++)
		nbits += (base + g->bytes[stream_off(g, c) + k]) << shift;
	end = word.stream_start + (nbits + 31) / 32;
	while (++c < g->shape.nchunks) {
		word = word_of(g, c);
		word.stream_start = end++;
		set_word(&copy, c, word);
	}
	assert_int_equal(try_group(&copy), UW_ERR_BITS);
	free(copy.bytes);
}

static void test_streams_beyond_the_group(void **state)
{
	const struct stored *groups = *state;

	for (unsigned i = 0; i < COUNT(wrong_h); i++) {
		const struct stored *g = &groups[wrong_h[i]];

		for (uint64_t c = 0; c < g->shape.nchunks; c++) {
			for (uint32_t shift = 0; shift <= UW_MAX_SHIFT; shift++) {
				for (uint32_t base = 1023; base <= 2047; base += 128)
					check_long_lanes(g, c, base, shift);
			}
		}
	}
}

/* Each condition that sections 6.1 to 6.5 call corrupt. Words are at w0 .. w2, patches at p0, p1 .. last. */
static void check_rules(const struct stored *g)
{
	size_t w0 = 2 * UW_TABLE_NBYTES, w1 = w0 + 8, w2 = w1 + 8;
	size_t p0 = w2 + 8, p1 = p0 + 4, last = p0 + 4 * (size_t)(g->npatches - 1);
	size_t padding = last + 4 + (word_of(g, 0).row_order ? 2 * 60 : 0);
	bool h = g->coding == UW_CODING_H;
	struct uw_chunk_word word1 = word_of(g, 1);
	uint64_t patch0 = uw_load_le32(g->bytes + p0), patch1 = uw_load_le32(g->bytes + p1);
	uint64_t place = uw_load_le32(g->bytes + last) >> 16;
	uint64_t limit = (g->shape.ntiles - 2 * UW_CHUNK_TILES) * UW_TILE_WEIGHTS;
	const struct {
		size_t off;
		uint64_t flip;
		enum uw_status status;
	} rules[] = {
		/* palettes below 128 */
		{ 0, g->bytes[0] ^ 0x80u, UW_ERR_TABLE },
		{ UW_TABLE_NBYTES + 7, 0x80, UW_ERR_TABLE },
		/* H: complete code lengths; P4: none */
		{ 8, 0x01, UW_ERR_TABLE },
		{ UW_TABLE_NBYTES + 15, 0x80, UW_ERR_TABLE },
		/* reserved bits */
		{ w0 + 7, 0x20, UW_ERR_LAYOUT },
		{ w1 + 7, 0x10, UW_ERR_LAYOUT },
		{ w1 + 7, 0x80, UW_ERR_LAYOUT },
		/* shift 4; P4: no shift, no base */
		{ w0 + 7, 0x08, UW_ERR_LAYOUT },
		{ w0, UINT64_C(1) << 57, h ? UW_ERR_BITS : UW_ERR_LAYOUT },
		{ w1, UINT64_C(1) << 42, h ? UW_ERR_BITS : UW_ERR_LAYOUT },
		/* table 2 of 2 */
		{ w2, UINT64_C(3) << 53, UW_ERR_LAYOUT },
		/* starts: the first is 0, the others ascend and are in E; P4: none */
		{ w0, 1, UW_ERR_LAYOUT },
		{ w1, h ? word1.stream_start : 1, UW_ERR_LAYOUT },
		{ w2, h ? UINT64_C(1) << 21 : 1, h ? UW_ERR_BITS : UW_ERR_LAYOUT },
		/* first patches: the first is 0, the others do not descend or exceed M */
		{ w0, UINT64_C(1) << 22, UW_ERR_LAYOUT },
		{ w1, (uint64_t)(word1.patch_start ^ g->npatches) << 22, UW_ERR_LAYOUT },
		{ w2, UINT64_C(1) << 41, UW_ERR_LAYOUT },
		/* a patch changes something, and only bits 8 .. 15 */
		{ p0, patch0 & 0x7F00, UW_ERR_PATCH },
		{ p0, 0x0001, UW_ERR_PATCH },
		{ p0, 0x0080, UW_ERR_PATCH },
		{ p0, 0x8000, UW_ERR_PATCH },
		{ p0, UINT64_C(1) << 29, UW_ERR_PATCH },
		{ p0, UINT64_C(1) << 31, UW_ERR_PATCH },
		/* the same position twice; the first one behind the last tile */
		{ p1, (patch0 ^ patch1) & 0x1FFF0000, UW_ERR_PATCH },
		{ last, (place ^ limit) << 16, UW_ERR_PATCH },
		/* padding of head and of E; P4 has none in E */
		{ padding, 1, UW_ERR_LAYOUT },
		{ head_nbytes(g) - 1, 0x80, UW_ERR_LAYOUT },
		{ stream_off(g, g->shape.nchunks) - 1, 0x80, h ? UW_ERR_BITS : UW_OK },
	};

	assert_true(padding < head_nbytes(g));
	for (unsigned n = 0; n < COUNT(rules); n++) {
		enum uw_status status = try_flipped(g, rules[n].off, rules[n].flip);

		if (status != rules[n].status)
			print_error("rule %u\n", n);
		assert_int_equal(status, rules[n].status);
	}
}

static void test_each_rule_of_the_head(void **state)
{
	const struct stored *groups = *state;

	for (unsigned n = 0; n < NWRONG; n++)
		check_rules(&groups[n]);
}

/* A row twice, one that does not exist, an order that ends early or that stands where there can be none. */
static void test_wrong_row_orders(void **state)
{
	const struct stored *groups = *state;

	for (unsigned n = 0; n < NWRONG; n++) {
		const struct stored *g = &groups[n];
		size_t at = g->ntables * UW_TABLE_NBYTES + 8 * (size_t)g->shape.nchunks + 4 * (size_t)g->npatches;
		size_t word0 = g->ntables * UW_TABLE_NBYTES;
		struct stored cut = *g;

		assert_int_not_equal(try_flipped(g, word0 + 7, 0x10), UW_OK);
		if (n < WRONG_H_ROWS)
			continue;
		assert_int_equal(uw_head_nbytes(&g->shape, g->ntables, g->npatches, true), head_nbytes(g));
		for (unsigned i = 0; i < 60; i++) {
			uint64_t row = uw_load_le16(g->bytes + at + 2 * i);
			uint64_t next = uw_load_le16(g->bytes + at + 2 * ((i + 1) % 60));

			assert_int_equal(try_flipped(g, at + 2 * i, row ^ next), UW_ERR_LAYOUT);
			assert_int_equal(try_flipped(g, at + 2 * i, row ^ 60), UW_ERR_LAYOUT);
			assert_int_equal(try_flipped(g, at + 2 * i, row ^ 0xFFFF), UW_ERR_LAYOUT);
			assert_int_equal(try_flipped(g, at + 2 * i, 0x8000), UW_ERR_LAYOUT);
		}
		for (cut.nbytes = 0; cut.nbytes < at + 200; cut.nbytes++)
			assert_int_equal(try_size(g, cut.nbytes), UW_ERR_LAYOUT);
		for (cut = *g, cut.shape = shape_of(UW_ORDER_TILED, 61, 257); cut.shape.nrows < 65;
		     cut.shape = shape_of(UW_ORDER_TILED, cut.shape.nrows + 1, 257))
			assert_int_not_equal(try_group(&cut), UW_OK);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(test_every_bit_of_the_headers, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_random_damage, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_every_other_size, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_wrong_counts_and_shapes, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_noise_in_the_lanes, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_gaps_between_streams, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_streams_beyond_the_group, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_each_rule_of_the_head, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_wrong_row_orders, make_groups, free_groups),
	};

	return cmocka_run_group_tests_name("coded_hostile", tests, use_level, NULL);
}
