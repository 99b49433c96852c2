/* SPDX-License-Identifier: Apache-2.0 */
/* The codec's loops against the text of SPEC.md. */
#include "codec_common.h"
#include "huffman.h"

#define DECODE_SLACK 231u /* what cpu_ops.h lets huff_decode read beyond its last lane */

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
		uint32_t counts[256], got[256];
		uint64_t escapes[UW_CHUNK_WEIGHTS / 64];

		for (unsigned v = 0; v < 256; v++) {
			map[v] = (uint8_t)(rng() & 0x8F);
			got[v] = counts[v] = rng() % 1000;
		}
		for (size_t i = 0; i < n; i++) {
			e[i] = (uint8_t)(ntiles == 3 ? 200 : rng());
			counts[e[i]]++;
		}
		ops.histogram(e, n, got);
		assert_same(got, counts, sizeof(counts));
		ops.symbols(e, n, map, sym, escapes);
		for (size_t i = 0; i < n; i++) {
			assert_int_equal(sym[i], map[e[i]] & 15);
			assert_int_equal(escapes[i / 64] >> i % 64 & 1, map[e[i]] >> 7);
		}
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

/* As cpu_ops.h wants it: aligned to 64. */
static uint8_t *need_out(uint32_t ntiles)
{
	void *out;

	assert_int_equal(posix_memalign(&out, 64, ntiles * UW_TILE_WEIGHTS), 0);
	return out;
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
	uint8_t *src = need(nreadable), *out = need_out(ntiles);
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
			uint8_t *src = need(nreadable), *out = need_out(ntiles);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_split_is_spec, seed),
		cmocka_unit_test_setup(test_every_value_at_every_position, seed),
		cmocka_unit_test_setup(test_merge_keeps_neighbours, seed),
		cmocka_unit_test_setup(test_histogram_and_symbols, seed),
		cmocka_unit_test_setup(test_p4_is_spec, seed),
		cmocka_unit_test_setup(test_streams_are_spec, seed),
		cmocka_unit_test_setup(test_decode_stays_inside_its_slack, seed),
	};

	return cmocka_run_group_tests_name("cpu_ops", tests, use_level, NULL);
}
