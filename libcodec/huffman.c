/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Package-merge (Larmore and Hirschberg, "A fast algorithm for optimal length-limited Huffman codes", 1990):
 * at each of 7 levels the symbols, sorted by count, are merged with the pairs of the level before;
 * a symbol's length is how often it occurs among the first 2n - 2 items of the last level.
 * With 16 symbols an item's members fit a vector of 16 small counters.
 */
#include "huffman.h"

#include <string.h>

struct item {
	uint64_t weight;
	uint8_t members[UW_SYMBOLS]; /* how often each symbol is in the package */
};

static struct item package(const struct item *a, const struct item *b)
{
	struct item sum = { .weight = a->weight + b->weight };

	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		sum.members[s] = (uint8_t)(a->members[s] + b->members[s]);
	return sum;
}

/* Leaves by ascending count, lower symbol first on ties. */
static unsigned sort_leaves(const uint64_t counts[UW_SYMBOLS], struct item leaves[UW_SYMBOLS])
{
	unsigned n = 0;

	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		unsigned at = n;

		if (counts[s] == 0)
			continue;
		for (; at > 0 && leaves[at - 1].weight > counts[s]; at--)
			leaves[at] = leaves[at - 1];
		leaves[at] = (struct item){ .weight = counts[s] };
		leaves[at].members[s] = 1;
		n++;
	}
	return n;
}

/* Merges leaves with the packages of `level` into `next`; a leaf goes first on ties. Returns the number of items. */
static unsigned next_level(const struct item *leaves, unsigned nleaves, const struct item *level, unsigned nlevel,
			   struct item *next)
{
	unsigned n = 0, leaf = 0;

	for (unsigned i = 0; i + 1 < nlevel; i += 2) {
		struct item pair = package(&level[i], &level[i + 1]);

		while (leaf < nleaves && leaves[leaf].weight <= pair.weight)
			next[n++] = leaves[leaf++];
		next[n++] = pair;
	}
	while (leaf < nleaves)
		next[n++] = leaves[leaf++];
	return n;
}

/* A code needs two symbols to be complete: take the lowest ones that are free. */
static void lengths_of_one(const uint64_t counts[UW_SYMBOLS], uint8_t lens[UW_SYMBOLS])
{
	unsigned n = 0;

	memset(lens, 0, UW_SYMBOLS);
	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		if (counts[s] != 0) {
			lens[s] = 1;
			n++;
		}
	}
	for (unsigned s = 0; n < 2; s++) {
		if (lens[s] == 0) {
			lens[s] = 1;
			n++;
		}
	}
}

void uw_huff_lengths(const uint64_t counts[UW_SYMBOLS], uint8_t lens[UW_SYMBOLS])
{
	struct item leaves[UW_SYMBOLS], levels[2][2 * UW_SYMBOLS];
	unsigned nleaves = sort_leaves(counts, leaves);
	unsigned nlevel = nleaves, now = 0;

	if (nleaves < 2) {
		lengths_of_one(counts, lens);
		return;
	}
	memcpy(levels[now], leaves, nleaves * sizeof(*leaves));
	for (unsigned depth = 1; depth < UW_MAX_CODE_LEN; depth++) {
		nlevel = next_level(leaves, nleaves, levels[now], nlevel, levels[!now]);
		now = !now;
	}
	memset(lens, 0, UW_SYMBOLS);
	for (unsigned i = 0; i < 2 * nleaves - 2; i++) {
		for (unsigned s = 0; s < UW_SYMBOLS; s++)
			lens[s] = (uint8_t)(lens[s] + levels[now][i].members[s]);
	}
}

bool uw_huff_complete(const uint8_t lens[UW_SYMBOLS])
{
	unsigned kraft = 0;

	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		if (lens[s] > UW_MAX_CODE_LEN)
			return false;
		if (lens[s] != 0)
			kraft += 1u << (UW_MAX_CODE_LEN - lens[s]);
	}
	return kraft == 1u << UW_MAX_CODE_LEN;
}

static uint8_t reverse(unsigned code, unsigned nbits)
{
	unsigned out = 0;

	for (; nbits != 0; nbits--, code >>= 1)
		out = out << 1 | (code & 1);
	return (uint8_t)out;
}

void uw_huff_codes(const uint8_t lens[UW_SYMBOLS], struct uw_huff_code code[UW_SYMBOLS])
{
	unsigned next = 0;

	memset(code, 0, UW_SYMBOLS * sizeof(*code));
	for (unsigned len = 1; len <= UW_MAX_CODE_LEN; len++, next *= 2) {
		for (unsigned s = 0; s < UW_SYMBOLS; s++) {
			if (lens[s] == len)
				code[s] = (struct uw_huff_code){ reverse(next++, len), (uint8_t)len };
		}
	}
}

void uw_huff_window_table(const uint8_t lens[UW_SYMBOLS], const uint8_t values[UW_SYMBOLS],
			  struct uw_huff_entry table[128])
{
	struct uw_huff_code code[UW_SYMBOLS];

	uw_huff_codes(lens, code);
	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		if (code[s].nbits == 0)
			continue;
		for (unsigned window = code[s].bits; window < 128; window += 1u << code[s].nbits)
			table[window] = (struct uw_huff_entry){ values[s], code[s].nbits };
	}
}
