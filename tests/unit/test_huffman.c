/* SPDX-License-Identifier: Apache-2.0 */
/* Code lengths against exhaustive search, codes against the text of SPEC.md 6.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "huffman.h"

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

/* ---- references ---- */

static uint64_t cost(const uint64_t counts[UW_SYMBOLS], const uint8_t lens[UW_SYMBOLS])
{
	uint64_t sum = 0;

	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		sum += counts[s] * lens[s];
	return sum;
}

/*
 * Cheapest complete code for counts[0 .. n), descending: lengths ascend, so few sequences exist and all are tried.
 * `room` is what is left of the code space in units of 2^-7, `len` the length of the symbol before.
 */
static uint64_t best_cost(const uint64_t *counts, unsigned n, unsigned len, unsigned room)
{
	uint64_t best = UINT64_MAX;

	if (n == 0)
		return room == 0 ? 0 : UINT64_MAX;
	for (; len <= UW_MAX_CODE_LEN; len++) {
		unsigned used = 1u << (UW_MAX_CODE_LEN - len);
		uint64_t rest;

		if (n * used < room) /* no later share is larger: the room could not be filled */
			break;
		if (used > room)
			continue;
		rest = best_cost(counts + 1, n - 1, len, room - used);
		if (rest != UINT64_MAX && rest + counts[0] * len < best)
			best = rest + counts[0] * len;
	}
	return best;
}

static uint64_t optimum(const uint64_t counts[UW_SYMBOLS])
{
	uint64_t sorted[UW_SYMBOLS];
	unsigned n = 0;

	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		unsigned at = n;

		if (counts[s] == 0)
			continue;
		for (; at > 0 && sorted[at - 1] < counts[s]; at--)
			sorted[at] = sorted[at - 1];
		sorted[at] = counts[s];
		n++;
	}
	return best_cost(sorted, n, 1, 128);
}

static void check_optimal(const uint64_t counts[UW_SYMBOLS], uint8_t lens[UW_SYMBOLS])
{
	uw_huff_lengths(counts, lens);
	assert_true(uw_huff_complete(lens));
	assert_int_equal(cost(counts, lens), optimum(counts));
	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		assert_int_equal(lens[s] == 0, counts[s] == 0);
}

/* Between 2 and 16 symbols with counts of very different size. */
static void random_counts(uint64_t counts[UW_SYMBOLS])
{
	unsigned n = 2 + rng() % 15, spread = 1 + rng() % 23;

	memset(counts, 0, UW_SYMBOLS * sizeof(*counts));
	while (n > 0) {
		unsigned s = rng() % UW_SYMBOLS, shift = 9 + rng() % spread;

		if (counts[s] != 0)
			continue;
		counts[s] = 1 + (rng() >> shift);
		n--;
	}
}

/* ---- tests ---- */

static void test_lengths_are_optimal(void **state)
{
	for (unsigned round = 0; round < 4000; round++) {
		uint64_t counts[UW_SYMBOLS];
		uint8_t lens[UW_SYMBOLS];

		random_counts(counts);
		check_optimal(counts, lens);
	}
}

static void test_ties_are_optimal(void **state)
{
	for (unsigned n = 2; n <= UW_SYMBOLS; n++) {
		uint64_t counts[UW_SYMBOLS] = { 0 };
		uint8_t lens[UW_SYMBOLS];

		for (unsigned s = 0; s < n; s++)
			counts[(5 * s) % UW_SYMBOLS] = 3;
		check_optimal(counts, lens);
	}
}

/* Without a limit these counts need n - 1 bits for the rarest two. */
static void test_fibonacci_hits_the_limit(void **state)
{
	for (unsigned n = 2; n <= UW_SYMBOLS; n++) {
		uint64_t counts[UW_SYMBOLS] = { 0 }, a = 1, b = 1;
		uint8_t lens[UW_SYMBOLS], longest = 0;

		for (unsigned s = 0; s < n; s++) {
			uint64_t sum = a + b;

			counts[s] = a;
			a = b;
			b = sum;
		}
		check_optimal(counts, lens);
		for (unsigned s = 0; s < n; s++)
			longest = lens[s] > longest ? lens[s] : longest;
		assert_int_equal(longest, n - 1 < UW_MAX_CODE_LEN ? n - 1 : UW_MAX_CODE_LEN);
	}
}

static void test_largest_counts_do_not_overflow(void **state)
{
	uint64_t counts[UW_SYMBOLS];
	uint8_t lens[UW_SYMBOLS];

	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		counts[s] = UW_MAX_GROUP_WEIGHTS >> s;
	check_optimal(counts, lens);
}

/* Fewer than two symbols still make a complete code: two codes of one bit. */
static void test_few_symbols(void **state)
{
	uint64_t counts[UW_SYMBOLS] = { 0 };
	uint8_t lens[UW_SYMBOLS];
	unsigned sum;

	uw_huff_lengths(counts, lens);
	assert_true(uw_huff_complete(lens));
	for (unsigned a = 0; a < UW_SYMBOLS; a++) {
		counts[a] = 7;
		uw_huff_lengths(counts, lens);
		assert_true(uw_huff_complete(lens));
		sum = 0;
		for (unsigned s = 0; s < UW_SYMBOLS; s++)
			sum += lens[s];
		assert_int_equal(lens[a], 1);
		assert_int_equal(sum, 2);
		for (unsigned b = 0; b < UW_SYMBOLS; b++) {
			if (b == a)
				continue;
			counts[b] = 1;
			uw_huff_lengths(counts, lens);
			assert_true(uw_huff_complete(lens));
			assert_int_equal(lens[a], 1);
			assert_int_equal(lens[b], 1);
			counts[b] = 0;
		}
		counts[a] = 0;
	}
}

static unsigned reversed(unsigned code, unsigned nbits)
{
	unsigned out = 0;

	for (unsigned n = 0; n < nbits; n++)
		out |= (code >> n & 1) << (nbits - 1 - n);
	return out;
}

/* The loop of SPEC.md 6.3, word by word. */
static void test_codes_are_canonical(void **state)
{
	for (unsigned round = 0; round < 500; round++) {
		struct uw_huff_code code[UW_SYMBOLS];
		uint64_t counts[UW_SYMBOLS];
		uint8_t lens[UW_SYMBOLS];
		unsigned next = 0;

		random_counts(counts);
		uw_huff_lengths(counts, lens);
		uw_huff_codes(lens, code);
		for (unsigned length = 1; length < 8; length++) {
			for (unsigned s = 0; s < UW_SYMBOLS; s++) {
				if (lens[s] == length)
					assert_int_equal(code[s].bits, reversed(next++, length));
			}
			next *= 2;
		}
		for (unsigned s = 0; s < UW_SYMBOLS; s++)
			assert_int_equal(code[s].nbits, lens[s]);
	}
}

static void test_codes_are_prefix_free(void **state)
{
	for (unsigned round = 0; round < 500; round++) {
		struct uw_huff_code code[UW_SYMBOLS];
		uint64_t counts[UW_SYMBOLS];
		uint8_t lens[UW_SYMBOLS];

		random_counts(counts);
		uw_huff_lengths(counts, lens);
		uw_huff_codes(lens, code);
		for (unsigned a = 0; a < UW_SYMBOLS; a++) {
			for (unsigned b = 0; b < UW_SYMBOLS; b++) {
				unsigned mask = (1u << lens[a]) - 1;

				if (a != b && lens[a] != 0 && lens[a] <= lens[b])
					assert_int_not_equal(code[b].bits & mask, code[a].bits);
			}
		}
	}
}

static void test_window_table_agrees_with_codes(void **state)
{
	for (unsigned round = 0; round < 500; round++) {
		struct uw_huff_entry table[128];
		struct uw_huff_code code[UW_SYMBOLS];
		uint64_t counts[UW_SYMBOLS];
		uint8_t lens[UW_SYMBOLS], values[UW_SYMBOLS];

		random_counts(counts);
		uw_huff_lengths(counts, lens);
		uw_huff_codes(lens, code);
		for (unsigned s = 0; s < UW_SYMBOLS; s++)
			values[s] = (uint8_t)(13 * s + round);
		memset(table, 0xEE, sizeof(table));
		uw_huff_window_table(lens, values, table);
		for (unsigned window = 0; window < 128; window++) {
			unsigned nmatches = 0;

			for (unsigned s = 0; s < UW_SYMBOLS; s++) {
				if (lens[s] == 0 || (window & ((1u << lens[s]) - 1)) != code[s].bits)
					continue;
				nmatches++;
				assert_int_equal(table[window].nbits, lens[s]);
				assert_int_equal(table[window].value, values[s]);
			}
			assert_int_equal(nmatches, 1);
		}
	}
}

static void test_complete_rejects_other_codes(void **state)
{
	static const struct {
		uint8_t lens[UW_SYMBOLS];
		bool complete;
	} cases[] = {
		{ { 0 }, false },
		{ { 1 }, false },
		{ { 1, 1 }, true },
		{ { 1, 1, 7 }, false },
		{ { 1, 2 }, false },
		{ { 1, 2, 2 }, true },
		{ { 1, 2, 3, 4, 5, 6, 7, 7 }, true },
		{ { 1, 2, 3, 4, 5, 6, 7 }, false },
		{ { 7, 7, 6, 5, 4, 3, 2, 1, 7 }, false },
		{ { 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4 }, true },
		{ { 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 0 }, false },
		{ { 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 3 }, false },
		{ { 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1 }, false },
		{ { 1, 2, 3, 4, 5, 6, 8, 8 }, false },
		{ { 1, 2, 3, 4, 5, 6, 7, 8, 8 }, false },
		{ { 1, 1, 15 }, false },
		{ { 1, 1, 255 }, false },
	};

	for (unsigned n = 0; n < sizeof(cases) / sizeof(cases[0]); n++)
		assert_int_equal(uw_huff_complete(cases[n].lens), cases[n].complete);
}

/* Any change of one length of a complete code breaks it. */
static void test_complete_rejects_every_single_change(void **state)
{
	for (unsigned round = 0; round < 200; round++) {
		uint64_t counts[UW_SYMBOLS];
		uint8_t lens[UW_SYMBOLS];

		random_counts(counts);
		uw_huff_lengths(counts, lens);
		for (unsigned s = 0; s < UW_SYMBOLS; s++) {
			uint8_t good = lens[s];

			for (unsigned len = 0; len < 256; len++) {
				lens[s] = (uint8_t)len;
				assert_int_equal(uw_huff_complete(lens), len == good);
			}
			lens[s] = good;
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_lengths_are_optimal, seed),
		cmocka_unit_test_setup(test_ties_are_optimal, seed),
		cmocka_unit_test_setup(test_fibonacci_hits_the_limit, seed),
		cmocka_unit_test_setup(test_largest_counts_do_not_overflow, seed),
		cmocka_unit_test_setup(test_few_symbols, seed),
		cmocka_unit_test_setup(test_codes_are_canonical, seed),
		cmocka_unit_test_setup(test_codes_are_prefix_free, seed),
		cmocka_unit_test_setup(test_window_table_agrees_with_codes, seed),
		cmocka_unit_test_setup(test_complete_rejects_other_codes, seed),
		cmocka_unit_test_setup(test_complete_rejects_every_single_change, seed),
	};

	return cmocka_run_group_tests_name("huffman", tests, NULL, NULL);
}
