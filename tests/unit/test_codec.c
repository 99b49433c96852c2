/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec at every CPU level: loops against SPEC.md, round trips of groups, and stored groups that are wrong.
 * Buffers have their exact size, so that under ASan every access outside is an error.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "chunk.h"
#include "huffman.h"
#include "unweight/bytes.h"
#include "unweight/kernels.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))
#define DECODE_SLACK 231u /* what cpu_ops.h lets huff_decode read beyond its last lane */

static struct uw_cpu_ops ops; /* of the level under test */
static bool portable;
static uint64_t rng_state;

static uint32_t rng(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 32);
}

static int seed(void **state)
{
	rng_state = 1;
	return 0;
}

static void *need(size_t nbytes)
{
	void *p = malloc(nbytes);

	assert_non_null(p);
	return p;
}

static void assert_same(const void *a, const void *b, size_t nbytes)
{
	assert_true(memcmp(a, b, nbytes) == 0);
}

/* ---- weights ---- */

static uint16_t bf16(unsigned exponent)
{
	return (uint16_t)((rng() & 0x807F) | exponent << 7);
}

/* Twelve uniforms make a normal deviate; all values are exact, so every machine makes the same weights. */
static uint16_t gaussian(uint64_t i)
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

/* Exponent 100 + k with the frequency of the k-th last Fibonacci number. */
static uint16_t fibonacci(uint64_t i)
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

static uint16_t random_bits(uint64_t i)
{
	return (uint16_t)rng();
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

static void fill(uint16_t *weights, uint64_t n, uint16_t (*weight)(uint64_t i))
{
	for (uint64_t i = 0; i < n; i++)
		weights[i] = weight(i);
}

/* ---- loops against the text of SPEC.md ---- */

/* Section 5: index of position p of a tile whose rows are `ld` weights apart. */
static size_t spec_index(enum uw_order order, size_t ld, unsigned p)
{
	unsigned j = p / 256, lane = p / 8 % 32, i = p % 8;
	unsigned g = lane / 4, q = lane % 4, r = i / 2, h = i % 2;

	if (order == UW_ORDER_LINEAR)
		return p;
	return (g + 8 * (r % 2)) * ld + 16 * j + 2 * q + h + 8 * (r / 2);
}

static uint32_t rotl32(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static void check_split(enum uw_order order, size_t ld)
{
	size_t n = order == UW_ORDER_TILED ? 15 * ld + 64 : 1024;
	uint16_t *weights = need(n * sizeof(*weights));
	uint8_t *s = need(1024), *e = need(1024);

	fill(weights, n, random_bits);
	ops.split[order](weights, ld, s, e);
	for (unsigned p = 0; p < 1024; p++)
		assert_int_equal(e[p], weights[spec_index(order, ld, p)] >> 7 & 255);
	for (unsigned p = 0; p < 1024; p += 8) {
		unsigned j = p / 256, lane = p / 8 % 32;
		uint32_t a[4];

		for (unsigned r = 0; r < 4; r++)
			a[r] = weights[spec_index(order, ld, p + 2 * r)] |
			       (uint32_t)weights[spec_index(order, ld, p + 2 * r + 1)] << 16;
		assert_int_equal(uw_load_le32(s + 16 * lane + 4 * j),
				 (a[0] & 0x807F807F) | (rotl32(a[1], 8) & 0x7F807F80));
		assert_int_equal(uw_load_le32(s + 512 + 16 * lane + 4 * j),
				 (a[2] & 0x807F807F) | (rotl32(a[3], 8) & 0x7F807F80));
	}
	free(weights);
	free(s);
	free(e);
}

static void test_split_is_spec(void **state)
{
	static const size_t lds[] = { 64, 65, 77, 128, 1000 };

	for (unsigned n = 0; n < COUNT(lds); n++)
		check_split(UW_ORDER_TILED, lds[n]);
	for (unsigned round = 0; round < 5; round++)
		check_split(UW_ORDER_LINEAR, 0);
}

/* Tile n holds n + 3 p at position p: over all n, each position sees all 65,536 values. */
static void test_every_value_at_every_position(void **state)
{
	uint16_t *weights = need(1024 * sizeof(*weights)), *back = need(1024 * sizeof(*back));
	uint8_t *s = need(1024), *e = need(1024);

	for (unsigned order = UW_ORDER_LINEAR; order <= UW_ORDER_TILED; order++) {
		for (uint32_t n = 0; n < 65536; n++) {
			for (unsigned p = 0; p < 1024; p++)
				weights[p] = (uint16_t)(n + 3 * p);
			ops.split[order](weights, 64, s, e);
			ops.merge[order](back, 64, s, e, UW_STORE_CACHED);
			assert_same(back, weights, 1024 * sizeof(*back));
		}
	}
	free(weights);
	free(back);
	free(s);
	free(e);
}

/* What lies beside the tile's 64 columns stays. */
static void test_merge_keeps_neighbours(void **state)
{
	const size_t ld = 75, n = 15 * ld + 64;
	uint16_t *weights = need(n * sizeof(*weights)), *back = need(n * sizeof(*back));
	uint8_t s[1024], e[1024];

	fill(weights, n, random_bits);
	ops.split[UW_ORDER_TILED](weights, ld, s, e);
	memset(back, 0x5A, n * sizeof(*back));
	ops.merge[UW_ORDER_TILED](back, ld, s, e, UW_STORE_CACHED);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(back[i], i % ld < 64 ? weights[i] : 0x5A5A);
	free(weights);
	free(back);
}

static void test_histogram_and_symbols(void **state)
{
	for (uint32_t ntiles = 1; ntiles <= UW_CHUNK_TILES; ntiles++) {
		size_t n = ntiles * 1024;
		uint8_t *e = need(n), *sym = need(n), map[256];
		uint32_t counts[256], got[256], nescapes = 0;

		for (unsigned v = 0; v < 256; v++) {
			map[v] = (uint8_t)(rng() & 0x8F);
			got[v] = counts[v] = rng() % 1000;
		}
		for (size_t i = 0; i < n; i++) {
			e[i] = (uint8_t)(ntiles == 3 ? 200 : rng());
			counts[e[i]]++;
			nescapes += map[e[i]] >> 7;
		}
		ops.histogram(e, n, got);
		assert_same(got, counts, sizeof(counts));
		assert_int_equal(ops.symbols(e, n, map, sym), nescapes);
		for (size_t i = 0; i < n; i++)
			assert_int_equal(sym[i], map[e[i]] & 15);
		free(e);
		free(sym);
	}
}

/* Section 6.4 for packing; decoding equals the merge of the exponents that the symbols mean. */
static void test_p4_is_spec(void **state)
{
	static const uint8_t nibble[8] = { 1, 3, 2, 0, 5, 7, 6, 4 };
	static const uint8_t low[8] = { 7, 23, 15, 31, 3, 19, 11, 27 };
	uint8_t *sym = need(1024), *e = need(1024), *s = need(1024), *nib = need(512), pairs[UW_PAIRS];
	uint16_t *want = need(1024 * sizeof(*want)), *got = need(1024 * sizeof(*got));

	for (unsigned round = 0; round < 512; round++) {
		for (unsigned k = 0; k < UW_PAIRS; k++)
			pairs[k] = (uint8_t)(rng() % 128);
		for (unsigned p = 0; p < 1024; p++) {
			sym[p] = (uint8_t)(round < 16 ? (round + p) % 16 : rng() % 16);
			e[p] = (uint8_t)(2 * pairs[sym[p] / 2] + sym[p] % 2);
			s[p] = (uint8_t)rng();
		}
		ops.p4_pack(sym, nib);
		for (unsigned p = 0; p < 1024; p += 8) {
			uint32_t word = 0;

			for (unsigned i = 0; i < 8; i++)
				word |= (uint32_t)(sym[p + i] / 2) << 4 * nibble[i] | (uint32_t)(sym[p + i] % 2) << low[i];
			assert_int_equal(uw_load_le32(nib + 16 * (p / 8 % 32) + 4 * (p / 256)), word);
		}
		for (unsigned order = UW_ORDER_LINEAR; order <= UW_ORDER_TILED; order++) {
			ops.merge[order](want, 64, s, e, UW_STORE_CACHED);
			ops.p4_decode[order](got, 64, s, nib, pairs, UW_STORE_CACHED);
			assert_same(got, want, 1024 * sizeof(*got));
		}
	}
	free(sym);
	free(e);
	free(s);
	free(nib);
	free(want);
	free(got);
}

/* ---- bit streams against SPEC.md 6.3 ---- */

static const uint8_t some_lens[][UW_SYMBOLS] = {
	{ 1, 1 },
	{ 0, 0, 0, 0, 0, 2, 1, 0, 0, 2 },
	{ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4 },
	{ 1, 2, 3, 4, 5, 6, 7, 7 },
	{ 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 5, 4, 4, 3, 3, 1 },
};

/* The codes as the text assigns them: a number, most significant bit first. */
static void spec_codes(const uint8_t lens[UW_SYMBOLS], unsigned code[UW_SYMBOLS])
{
	unsigned next = 0;

	for (unsigned length = 1; length < 8; length++) {
		for (unsigned s = 0; s < UW_SYMBOLS; s++) {
			if (lens[s] == length)
				code[s] = next++;
		}
		next *= 2;
	}
}

static void put_bit(uint8_t *bits, uint32_t at, unsigned bit)
{
	bits[at / 8] = (uint8_t)(bits[at / 8] | bit << at % 8);
}

/* Writes lane k's codes from bit `at` on; returns the bit behind them. */
static uint32_t spec_lane(const uint8_t *sym, uint32_t ntiles, unsigned lane, const uint8_t lens[UW_SYMBOLS],
			  uint32_t at, uint8_t *bits)
{
	unsigned code[UW_SYMBOLS] = { 0 };

	spec_codes(lens, code);
	for (uint32_t p = 0; p < 1024 * ntiles; p++) {
		if (p / 8 % 32 != lane)
			continue;
		for (unsigned n = lens[sym[p]]; n-- > 0;)
			put_bit(bits, at++, code[sym[p]] >> n & 1);
	}
	return at;
}

static unsigned random_symbol(const uint8_t lens[UW_SYMBOLS])
{
	for (;;) {
		unsigned s = rng() % UW_SYMBOLS;

		if (lens[s] != 0)
			return s;
	}
}

static bool huff_decode_one(const uint8_t *src, const uint32_t start[UW_LANES + 1], uint32_t shift, uint32_t ntiles,
			    const struct uw_huff_entry table[128], uint8_t *out)
{
	struct uw_huff_chunk chunk = { .src = src, .shift = shift, .out = out };

	memcpy(chunk.start, start, sizeof(chunk.start));
	ops.huff_decode(&chunk, 1, ntiles, table);
	return chunk.good;
}

static void check_decode(const uint8_t *bits, const uint32_t start[UW_LANES + 1], uint32_t shift, uint32_t ntiles,
			 const struct uw_huff_entry table[128], const uint8_t *sym)
{
	size_t nbytes = (start[UW_LANES] + 7) / 8, nreadable = start[UW_LANES] / 8 + DECODE_SLACK;
	uint8_t *src = need(nreadable), *out = need(1024 * ntiles);
	uint32_t wrong[UW_LANES + 1];

	for (size_t i = 0; i < nreadable; i++)
		src[i] = i < nbytes ? bits[i] : (uint8_t)rng();
	assert_true(huff_decode_one(src, start, shift, ntiles, table, out));
	assert_same(out, sym, 1024 * ntiles);

	memcpy(wrong, start, sizeof(wrong));
	wrong[UW_LANES] -= 1u << shift; /* ends too early */
	assert_false(huff_decode_one(src, wrong, shift, ntiles, table, out));
	wrong[UW_LANES] += 2u << shift; /* ends too late */
	src = realloc(src, wrong[UW_LANES] / 8 + DECODE_SLACK);
	assert_non_null(src);
	assert_false(huff_decode_one(src, wrong, shift, ntiles, table, out));
	free(src);
	free(out);
}

static void check_stream(const uint8_t lens[UW_SYMBOLS], uint32_t ntiles, uint32_t shift)
{
	uint8_t *sym = need(1024 * ntiles), *bits, *got;
	uint32_t start[UW_LANES + 1], nbits[UW_LANES], want_nbits[UW_LANES] = { 0 };
	uint8_t values[UW_SYMBOLS];
	struct uw_huff_code code[UW_SYMBOLS] = { { 0 } };
	struct uw_huff_entry table[128];
	size_t nbytes;

	for (uint32_t p = 0; p < 1024 * ntiles; p++) {
		sym[p] = (uint8_t)random_symbol(lens);
		want_nbits[p / 8 % 32] += lens[sym[p]];
	}
	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		values[s] = (uint8_t)s;
	uw_huff_codes(lens, code);
	uw_huff_window_table(lens, values, table);
	ops.huff_bits(sym, ntiles, code, nbits);
	assert_same(nbits, want_nbits, sizeof(nbits));

	start[0] = 256 + rng() % 32;
	for (unsigned k = 0; k < UW_LANES; k++)
		start[k + 1] = start[k] + ((nbits[k] + (1u << shift) - 1) >> shift << shift);
	nbytes = (start[UW_LANES] + 7) / 8;
	bits = calloc(nbytes, 1);
	got = calloc(nbytes, 1);
	assert_non_null(bits);
	assert_non_null(got);
	for (unsigned k = 0; k < UW_LANES; k++)
		assert_int_equal(spec_lane(sym, ntiles, k, lens, start[k], bits), start[k] + nbits[k]);
	ops.huff_encode(sym, ntiles, code, start, got);
	assert_same(got, bits, nbytes);
	check_decode(bits, start, shift, ntiles, table, sym);
	free(sym);
	free(bits);
	free(got);
}

static void test_streams_are_spec(void **state)
{
	for (unsigned n = 0; n < COUNT(some_lens); n++) {
		assert_true(uw_huff_complete(some_lens[n]));
		for (uint32_t ntiles = 1; ntiles <= UW_CHUNK_TILES; ntiles++) {
			for (uint32_t shift = 0; shift <= UW_MAX_SHIFT; shift++)
				check_stream(some_lens[n], ntiles, shift);
		}
	}
}

/* All bits set is the longest code: every lane runs as far as it can, from the last bit of the stream on. */
static void test_decode_stays_inside_its_slack(void **state)
{
	static const uint8_t lens[UW_SYMBOLS] = { 1, 2, 3, 4, 5, 6, 7, 7 }, values[UW_SYMBOLS] = { 0 };
	struct uw_huff_entry table[128];

	uw_huff_window_table(lens, values, table);
	for (uint32_t ntiles = 1; ntiles <= UW_CHUNK_TILES; ntiles++) {
		for (uint32_t at = 256; at < 256 + 16; at++) {
			size_t nreadable = at / 8 + DECODE_SLACK;
			uint8_t *src = need(nreadable), *out = need(1024 * ntiles);
			uint32_t start[UW_LANES + 1];

			memset(src, 0xFF, nreadable);
			for (unsigned k = 0; k <= UW_LANES; k++)
				start[k] = at;
			assert_false(huff_decode_one(src, start, 3, ntiles, table, out));
			free(src);
			free(out);
		}
	}
}

/* ---- groups ---- */

struct stored {
	struct uw_shape shape;
	enum uw_coding coding;
	uint32_t ntables;
	uint32_t npatches;
	uint8_t *bytes;
	size_t nbytes;
};

static struct uw_shape shape_of(enum uw_order order, uint64_t nrows, uint64_t ncols)
{
	struct uw_shape shape;

	if (order == UW_ORDER_TILED)
		assert_int_equal(uw_shape_tiled(nrows, ncols, &shape), UW_OK);
	else
		assert_int_equal(uw_shape_linear(nrows * ncols, &shape), UW_OK);
	return shape;
}

static void *need_scratch(const struct uw_shape *shape)
{
	void *scratch;

	assert_int_equal(posix_memalign(&scratch, 64, uw_codec_scratch_nbytes(shape)), 0);
	return scratch;
}

/* Encodes twice, over different old contents: every byte is written, and the same way. */
static struct stored encode(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding,
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

static void check_decoded(const struct stored *g, const uint16_t *weights)
{
	size_t nbytes = (size_t)g->shape.nweights * sizeof(*weights);
	uint16_t *back = need(nbytes);
	struct uw_coded coded;

	assert_int_equal(uw_coded_open(&g->shape, g->coding, g->ntables, g->npatches, g->bytes, g->nbytes, &coded, NULL),
			 UW_OK);
	memset(back, 0xA5, nbytes);
	assert_int_equal(uw_coded_decode(&ops, &coded, UW_STORE_CACHED, back, NULL), UW_OK);
	assert_same(back, weights, nbytes);
	free(back);
}

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

/* Plans, encodes, decodes and transcodes. False: the group has too many escapes. */
static bool round_trip(const struct uw_shape *shape, const uint16_t *weights, struct uw_plan *plan)
{
	void *scratch = need_scratch(shape);
	enum uw_status status = uw_codec_plan(&ops, shape, weights, scratch, plan);

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
	free(scratch);
	return status == UW_OK;
}

static const struct {
	enum uw_order order;
	uint64_t nrows, ncols;
} sizes[] = {
	{ UW_ORDER_LINEAR, 1, 1 },     { UW_ORDER_LINEAR, 1, 2 },    { UW_ORDER_LINEAR, 1, 63 },
	{ UW_ORDER_LINEAR, 1, 64 },    { UW_ORDER_LINEAR, 1, 65 },   { UW_ORDER_LINEAR, 1, 1023 },
	{ UW_ORDER_LINEAR, 1, 1024 },  { UW_ORDER_LINEAR, 1, 1025 }, { UW_ORDER_LINEAR, 1, 8191 },
	{ UW_ORDER_LINEAR, 1, 8192 },  { UW_ORDER_LINEAR, 1, 8193 }, { UW_ORDER_LINEAR, 1, 30000 },
	{ UW_ORDER_TILED, 1, 1 },      { UW_ORDER_TILED, 1, 1000 },  { UW_ORDER_TILED, 700, 1 },
	{ UW_ORDER_TILED, 15, 63 },    { UW_ORDER_TILED, 16, 64 },   { UW_ORDER_TILED, 17, 65 },
	{ UW_ORDER_TILED, 64, 64 },    { UW_ORDER_TILED, 65, 129 },  { UW_ORDER_TILED, 80, 192 },
	{ UW_ORDER_TILED, 128, 1000 },
};

static void test_sizes_and_distributions(void **state)
{
	static struct uw_plan plan;

	for (unsigned n = 0; n < COUNT(sizes); n++) {
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

	assert_int_equal(uw_codec_plan(&ops, shape, &weight, scratch, &plan), UW_OK);
	assert_int_equal(plan.nescapes, 0);
	assert_int_equal(plan.counts[weight >> 7 & 255], 1);
	assert_int_equal(uw_codec_encoded_nbytes(shape, &plan, coding), nbytes);
	assert_int_equal(uw_codec_encode(&ops, shape, &plan, coding, scratch, stored, nbytes), UW_OK);
	assert_int_equal(uw_coded_open(shape, coding, plan.ntables, 0, stored, nbytes, &coded, NULL), UW_OK);
	assert_int_equal(uw_coded_decode(&ops, &coded, UW_STORE_CACHED, &back, NULL), UW_OK);
	return back;
}

/* One weight: the smallest group, for each of its values (faster loops meet all in test_every_value_at_every_position). */
static void test_every_pattern_alone(void **state)
{
	struct uw_shape shapes[2] = { shape_of(UW_ORDER_LINEAR, 1, 1), shape_of(UW_ORDER_TILED, 1, 1) };
	void *scratch = need_scratch(&shapes[0]);

	for (uint32_t pattern = 0; pattern < 65536; pattern += portable ? 1 : 13) {
		const struct uw_shape *shape = &shapes[pattern % 2];
		enum uw_coding coding = pattern / 2 % 2 ? UW_CODING_P4 : UW_CODING_H;

		assert_int_equal(one_weight_through(shape, coding, (uint16_t)pattern, scratch), pattern);
	}
	free(scratch);
}

/*
 * Weights of 16 exponents, and 32 others in each tile: over the tiles all 65,536 patterns, scattered. Tile t puts them at
 * the positions 32 n + t mod 32, so that every position is an escape in some tile.
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

	assert_int_equal(uw_codec_plan(&ops, shape, weights, scratch, &plan), UW_OK);
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

/* ---- wrong groups ---- */

enum { WRONG_H_LINEAR, WRONG_P4_LINEAR, WRONG_H_TILED, WRONG_P4_TILED, NWRONG };

/* Three chunks, the last one with a table of its own; patches in each; partial tiles at the end. */
static void make_group(enum uw_order order, struct stored *h, struct stored *p4)
{
	static struct uw_plan plan;
	struct uw_shape shape = order == UW_ORDER_LINEAR ? shape_of(order, 1, 2 * UW_CHUNK_WEIGHTS + 1100) :
							   shape_of(order, 60, 257);
	uint16_t *weights = need((size_t)shape.nweights * sizeof(*weights));
	void *scratch = need_scratch(&shape);

	for (uint32_t i = 0; i < shape.nweights; i++) {
		bool last = order == UW_ORDER_LINEAR ? i >= 2 * UW_CHUNK_WEIGHTS : i % 257 == 256;

		weights[i] = last ? bf16(200 + rng() % 16) : fibonacci(i);
		if (i % 1291 == 700 || i % (31 * 257) == 6 * 257 - 1)
			weights[i] = bf16(240);
	}
	assert_int_equal(uw_codec_plan(&ops, &shape, weights, scratch, &plan), UW_OK);
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

	rng_state = 1;
	make_group(UW_ORDER_LINEAR, &groups[WRONG_H_LINEAR], &groups[WRONG_P4_LINEAR]);
	make_group(UW_ORDER_TILED, &groups[WRONG_H_TILED], &groups[WRONG_P4_TILED]);
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
	return (size_t)uw_head_nbytes(&g->shape, g->ntables, g->npatches);
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
		for (unsigned k = 0; k < COUNT(sizes); k++) {
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
		const struct stored *g = &groups[round % 2 ? WRONG_H_LINEAR : WRONG_H_TILED];
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

	for (unsigned n = WRONG_H_LINEAR; n <= WRONG_H_TILED; n += WRONG_H_TILED - WRONG_H_LINEAR) {
		for (uint64_t c = 1; c <= groups[n].shape.nchunks; c++) {
			struct stored copy = grown(&groups[n], stream_off(&groups[n], c), 64);

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

	for (unsigned n = WRONG_H_LINEAR; n <= WRONG_H_TILED; n += WRONG_H_TILED - WRONG_H_LINEAR) {
		for (uint64_t c = 0; c < groups[n].shape.nchunks; c++) {
			for (uint32_t shift = 0; shift <= UW_MAX_SHIFT; shift++) {
				for (uint32_t base = 1023; base <= 2047; base += 128)
					check_long_lanes(&groups[n], c, base, shift);
			}
		}
	}
}

/* Each condition that sections 6.1 to 6.5 call corrupt. Words are at w0 .. w2, patches at p0, p1 .. last. */
static void check_rules(const struct stored *g)
{
	size_t w0 = 2 * UW_TABLE_NBYTES, w1 = w0 + 8, w2 = w1 + 8;
	size_t p0 = w2 + 8, p1 = p0 + 4, last = p0 + 4 * (size_t)(g->npatches - 1);
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
		{ w0 + 7, 0x10, UW_ERR_LAYOUT },
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
		{ last + 4, 1, UW_ERR_LAYOUT },
		{ head_nbytes(g) - 1, 0x80, UW_ERR_LAYOUT },
		{ stream_off(g, g->shape.nchunks) - 1, 0x80, h ? UW_ERR_BITS : UW_OK },
	};

	assert_true(last + 4 < head_nbytes(g));
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

int main(void)
{
	static const struct {
		const char *name;
		uint32_t flags;
	} levels[] = {
		{ "codec, portable", 0 },
		{ "codec, SSE4.2", UW_CPU_SSE42 },
		{ "codec, AVX2", UW_CPU_SSE42 | UW_CPU_AVX2 },
		{ "codec, AVX-512", UW_CPU_SSE42 | UW_CPU_AVX2 | UW_CPU_AVX512 },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_split_is_spec, seed),
		cmocka_unit_test_setup(test_every_value_at_every_position, seed),
		cmocka_unit_test_setup(test_merge_keeps_neighbours, seed),
		cmocka_unit_test_setup(test_histogram_and_symbols, seed),
		cmocka_unit_test_setup(test_p4_is_spec, seed),
		cmocka_unit_test_setup(test_streams_are_spec, seed),
		cmocka_unit_test_setup(test_decode_stays_inside_its_slack, seed),
		cmocka_unit_test_setup(test_sizes_and_distributions, seed),
		cmocka_unit_test_setup(test_shapes_outside_the_contract, seed),
		cmocka_unit_test_setup(test_every_pattern_alone, seed),
		cmocka_unit_test_setup(test_every_pattern_as_escape, seed),
		cmocka_unit_test_setup(test_every_class_at_every_position, seed),
		cmocka_unit_test_setup(test_limit_of_escapes, seed),
		cmocka_unit_test_setup(test_lanes_of_different_length, seed),
		cmocka_unit_test_setup(test_many_tables, seed),
		cmocka_unit_test_setup(test_largest_group, seed),
		cmocka_unit_test_setup(test_size_of_a_gaussian_group, seed),
		cmocka_unit_test_setup_teardown(test_every_bit_of_the_headers, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_random_damage, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_every_other_size, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_wrong_counts_and_shapes, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_noise_in_the_lanes, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_gaps_between_streams, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_streams_beyond_the_group, make_groups, free_groups),
		cmocka_unit_test_setup_teardown(test_each_rule_of_the_head, make_groups, free_groups),
	};
	struct uw_cpu_ops below = { 0 };
	int nfailed = 0;

	for (unsigned n = 0; n < COUNT(levels); n++) {
		portable = n == 0;
		uw_cpu_ops_init(&ops, levels[n].flags & uw_cpu_flags());
		if (memcmp(&ops, &below, sizeof(ops)) == 0) /* the same loops as the level below */
			continue;
		below = ops;
		nfailed += cmocka_run_group_tests_name(levels[n].name, tests, NULL, NULL);
	}
	return nfailed;
}
