/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The primitives of kernels/cuda against libcodec's portable loops, which are their meaning, and against SPEC.md. No
 * GPU.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

extern "C" {
#include <cmocka.h>
}

#include "fragment.cuh"
#include "unweight/bytes.h"
#include "unweight/cpu_ops.h"

namespace {

struct uw_cpu_ops ops;
uint64_t rng_state = 1;

uint32_t rng(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 32);
}

/* A tile in linear order: fragment f is its weights 8 f .. 8 f + 8, those of lane f mod 32 and step f / 32. */
struct tile {
	uint16_t weights[1024];
	uint8_t s[1024], e[1024], sym[1024], nib[512], pairs[8];
};

uint32_t word_of(const uint8_t *plane, unsigned f)
{
	return uw_load_le32(plane + 16 * (f % 32) + 4 * (f / 32));
}

void assert_fragment(const uint32_t a[4], const uint16_t *weights)
{
	for (unsigned r = 0; r < 4; r++)
		assert_int_equal(a[r], weights[2 * r] | (uint32_t)weights[2 * r + 1] << 16);
}

/* The ways to build fragment f that start from its exponents. */
void check_exponent_ways(const struct tile &tile, unsigned f)
{
	uint32_t s0 = word_of(tile.s, f), s1 = word_of(tile.s + 512, f), entry[8], a[4];

	for (unsigned i = 0; i < 8; i++)
		entry[i] = uw_entry_exponent(tile.e[8 * f + i], 1 + rng() % 7);
	uw_fragment_entries(s0, s1, entry, a);
	assert_fragment(a, tile.weights + 8 * f);

	uint32_t e0 = uw_place_exponents(entry), e1 = uw_place_exponents(entry + 4);

	uw_fragment_e8(s0, s1, e0, e1, a);
	assert_fragment(a, tile.weights + 8 * f);
	assert_int_equal(e0, (a[0] & ~0x807F807Fu) | (uw_rotr(a[1], 24) & ~0x7F807F80u));
	assert_int_equal(e1, (a[2] & ~0x807F807Fu) | (uw_rotr(a[3], 24) & ~0x7F807F80u));
}

/* ---- instructions ---- */

void test_instructions(void **)
{
	assert_int_equal(uw_prmt(0x33221100, 0x77665544, 0x7430), 0x77443300);
	assert_int_equal(uw_prmt(0x33221100, 0x776655C4, 0xCB84), 0xFF0000C4);
	assert_int_equal(uw_prmt(0x33221100, 0x77665544, 0xFFFF1234), 0x11223344); /* only four nibbles count */
	assert_int_equal(uw_select(0xAAAAAAAA, 0x55555555, 0xFF00F0F0), 0xAA55A5A5);
	assert_int_equal(uw_and_or(0x12345678, 0xFE, 0x400), 0x478);
	assert_int_equal(uw_shift_pair(0x89ABCDEF, 0x01234567, 0), 0x89ABCDEF);
	assert_int_equal(uw_shift_pair(0x89ABCDEF, 0x01234567, 4), 0x789ABCDE);
	assert_int_equal(uw_shift_pair(0x89ABCDEF, 0x01234567, 31), 0x02468ACF);
	assert_int_equal(uw_shift_pair(0x89ABCDEF, 0x01234567, 0xFFE4), 0x789ABCDE); /* 4 mod 32 */
	assert_int_equal(uw_rotr(0x12345678, 8), 0x78123456);
	assert_int_equal(uw_rotr(0x12345678, 0), 0x12345678);
	assert_int_equal(uw_reverse(0x12345678), 0x1E6A2C48);
	assert_int_equal(uw_popcount(0), 0);
	assert_int_equal(uw_popcount(0xF0F00001), 9);
	assert_int_equal(uw_popcount(0xFFFFFFFF), 32);
}

/* ---- fragments ---- */

/*
 * Each of the eight places of a fragment sees each pair, each low exponent bit and each byte of sign and mantissa,
 * under many palettes.
 */
void test_every_symbol_at_every_place(void **)
{
	static struct tile tile;

	for (unsigned n = 0; n < 4096 / 128 * 16; n++) {
		for (unsigned k = 0; k < 8; k++)
			tile.pairs[k] = (uint8_t)((n + 16 * k + (n < 256 ? 0 : rng())) % 128);
		for (unsigned p = 0; p < 1024; p++) {
			unsigned what = (128 * n + p / 8 + p % 8 * 517) % 4096, s = what % 16, byte = what / 16;
			unsigned e = 2u * tile.pairs[s / 2] + s % 2;

			tile.sym[p] = (uint8_t)s;
			tile.weights[p] = (uint16_t)((byte & 0x80) << 8 | e << 7 | (byte & 0x7F));
		}
		ops.split[UW_ORDER_LINEAR](tile.weights, 64, tile.s, tile.e);
		ops.p4_pack(tile.sym, tile.nib);
		for (unsigned f = 0; f < 128; f++) {
			uint32_t s0 = word_of(tile.s, f), s1 = word_of(tile.s + 512, f), i = word_of(tile.nib, f), a[4];
			uint32_t entry[8];

			uw_fragment_p4(s0, s1, i, uw_load_le32(tile.pairs), uw_load_le32(tile.pairs + 4), a);
			assert_fragment(a, tile.weights + 8 * f);
			for (unsigned k = 0; k < 8; k++)
				entry[k] = uw_entry_symbol(tile.sym[8 * f + k], 1 + rng() % 7);
			assert_int_equal(uw_place_nibbles(entry), i);
			check_exponent_ways(tile, f);
		}
	}
}

/* Each place sees all 65,536 weights. */
void test_every_weight_at_every_place(void **)
{
	static struct tile tile;

	for (unsigned n = 0; n < 65536; n += 128) {
		for (unsigned p = 0; p < 1024; p++)
			tile.weights[p] = (uint16_t)(n + p / 8 + p % 8 * 8193);
		ops.split[UW_ORDER_LINEAR](tile.weights, 64, tile.s, tile.e);
		for (unsigned f = 0; f < 128; f++)
			check_exponent_ways(tile, f);
	}
}

/* Any bits in the planes, not only those of an encoder: the same weights as libcodec's. */
void test_any_planes(void **)
{
	static struct tile tile;

	for (unsigned n = 0; n < 2000; n++) {
		for (unsigned i = 0; i < 1024; i++)
			tile.s[i] = (uint8_t)rng();
		for (unsigned i = 0; i < 512; i++)
			tile.nib[i] = (uint8_t)rng();
		for (unsigned k = 0; k < 8; k++)
			tile.pairs[k] = (uint8_t)(rng() % 128);
		ops.p4_decode[UW_ORDER_LINEAR](tile.weights, 64, tile.s, tile.nib, tile.pairs, UW_STORE_CACHED);
		for (unsigned f = 0; f < 128; f++) {
			uint32_t a[4];

			uw_fragment_p4(word_of(tile.s, f), word_of(tile.s + 512, f), word_of(tile.nib, f),
				       uw_load_le32(tile.pairs), uw_load_le32(tile.pairs + 4), a);
			assert_fragment(a, tile.weights + 8 * f);
		}
	}
}

/*
 * Every bit of the planes goes where it should, and nowhere else: one bit at a time, palette of distinct single bits.
 */
void test_every_bit(void **)
{
	static const uint8_t pairs[8] = { 0, 1, 2, 4, 8, 16, 32, 64 };
	static const uint8_t nibble[8] = { 1, 3, 2, 0, 5, 7, 6, 4 }, low[8] = { 7, 23, 15, 31, 3, 19, 11, 27 };
	uint32_t pairs0 = uw_load_le32(pairs), pairs1 = uw_load_le32(pairs + 4), a[4];
	uint32_t seen[4] = { 0, 0, 0, 0 };

	for (unsigned bit = 0; bit < 64; bit++) {
		uint32_t s0 = bit < 32 ? 1u << bit : 0, s1 = bit < 32 ? 0 : 1u << (bit - 32), any;

		uw_fragment_p4(s0, s1, 0, pairs0, pairs1, a);
		any = a[0] | a[1] | a[2] | a[3];
		assert_int_equal(uw_popcount(a[0]) + uw_popcount(a[1]) + uw_popcount(a[2]) + uw_popcount(a[3]), 1);
		assert_int_equal(any & ~0x807F807Fu, 0);
		for (unsigned r = 0; r < 4; r++) {
			assert_int_equal(seen[r] & a[r], 0);
			seen[r] |= a[r];
		}
	}
	for (unsigned i = 0; i < 8; i++) {
		unsigned half = 16 * (i % 2);

		for (unsigned pair = 0; pair < 8; pair++) {
			uw_fragment_p4(0, 0, pair << 4 * nibble[i] | 1u << low[i], pairs0, pairs1, a);
			for (unsigned r = 0; r < 4; r++)
				assert_int_equal(a[r], r == i / 2 ? (2u * pairs[pair] + 1) << (7 + half) : 0);
		}
	}
}

/* ---- the staged tile ---- */

void test_staged_weights(void **)
{
	for (unsigned linear = 0; linear < 2; linear++) {
		bool seen[1024] = { false };

		for (unsigned p = 0; p < 1024; p++) {
			unsigned j = p / 256, lane = p / 8 % 32, i = p % 8;
			unsigned g = lane / 4, q = lane % 4, r = i / 2, h = i % 2;
			unsigned row = linear ? p / 64 : g + 8 * (r % 2);
			unsigned col = linear ? p % 64 : 16 * j + 2 * q + h + 8 * (r / 2);
			uint32_t at = uw_staged_weight(linear != 0, p);

			assert_int_equal(at, uw_staged_vector(row, col / 8) + 2 * (col % 8));
			assert_true(at < UW_STAGED_TILE_NBYTES && at % 2 == 0 && !seen[at / 2]);
			seen[at / 2] = true;
		}
	}
}

/*
 * A warp's words of one fragment register take each bank once; eight lanes' vectors of a row, or of a linear step, all
 * banks.
 */
void test_staged_banks(void **)
{
	for (unsigned j = 0; j < 4; j++) {
		for (unsigned r = 0; r < 4; r++) {
			uint32_t banks = 0;

			for (unsigned lane = 0; lane < 32; lane++)
				banks |= 1u << uw_staged_weight(false, 256 * j + 8 * lane + 2 * r) / 4 % 32;
			assert_int_equal(banks, 0xFFFFFFFFu);
		}
	}
	for (unsigned row = 0; row < 16; row++) {
		uint32_t quarters = 0;

		for (unsigned vector = 0; vector < 8; vector++)
			quarters |= 1u << uw_staged_vector(row, vector) / 16 % 8;
		assert_int_equal(quarters, 0xFF);
	}
}

} // namespace

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_instructions),
		cmocka_unit_test(test_every_symbol_at_every_place),
		cmocka_unit_test(test_every_weight_at_every_place),
		cmocka_unit_test(test_any_planes),
		cmocka_unit_test(test_every_bit),
		cmocka_unit_test(test_staged_weights),
		cmocka_unit_test(test_staged_banks),
	};

	uw_cpu_ops_init_c(&ops);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
