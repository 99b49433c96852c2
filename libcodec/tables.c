/* SPDX-License-Identifier: Apache-2.0 */
/*
 * k-means over chunks with description length as the distance: a cluster is a table, a chunk belongs where its
 * exponents cost the fewest bits. Starts from chunks sorted by mean exponent and cut into k equal parts;
 * k doubles as long as the whole gets smaller. All costs are integers, so every machine chooses alike.
 */
#include "tables.h"

#include <string.h>

#include "huffman.h"

#define MAX_ROUNDS 4
#define MAX_CHUNKS (UW_MAX_GROUP_WEIGHTS / UW_CHUNK_WEIGHTS)

static void choose_palette(const uint64_t counts[256], uint8_t pairs[UW_PAIRS])
{
	uint64_t best[UW_PAIRS] = { 0 };
	unsigned n = 0;

	memset(pairs, 0, UW_PAIRS);
	for (unsigned p = 0; p < 128; p++) {
		uint64_t count = counts[2 * p] + counts[2 * p + 1];
		unsigned at = n;

		if (count == 0 || (n == UW_PAIRS && count <= best[n - 1]))
			continue;
		if (n < UW_PAIRS)
			n++;
		else
			at--;
		for (; at > 0 && best[at - 1] < count; at--) {
			best[at] = best[at - 1];
			pairs[at] = pairs[at - 1];
		}
		best[at] = count;
		pairs[at] = (uint8_t)p;
	}
}

void uw_table_map(const struct uw_table *table, uint8_t map[256])
{
	for (unsigned e = 0; e < 256; e++)
		map[e] = (uint8_t)(0x80 | (e & 1));
	/* unused places repeat pair 0: the first place wins */
	for (unsigned k = UW_PAIRS; k-- > 0;) {
		map[2 * table->pairs[k]] = (uint8_t)(2 * k);
		map[2 * table->pairs[k] + 1] = (uint8_t)(2 * k + 1);
	}
}

void uw_table_build(const uint64_t counts[256], uint64_t npadding, struct uw_table *table)
{
	uint64_t symbols[UW_SYMBOLS] = { npadding };
	uint8_t map[256];

	choose_palette(counts, table->pairs);
	uw_table_map(table, map);
	for (unsigned e = 0; e < 256; e++)
		symbols[map[e] & 15] += counts[e];
	uw_huff_lengths(symbols, table->lens);
}

/* The exponents that occur at all, so that the inner loops run over some 30 values and not 256. */
struct active {
	unsigned n;
	uint8_t e[256];
};

static void find_active(const uint32_t *counts, uint64_t nchunks, struct active *active)
{
	uint8_t seen[256] = { 0 };

	for (uint64_t c = 0; c < nchunks; c++) {
		for (unsigned e = 0; e < 256; e++)
			seen[e] |= counts[256 * c + e] != 0;
	}
	active->n = 0;
	for (unsigned e = 0; e < 256; e++) {
		if (seen[e])
			active->e[active->n++] = (uint8_t)e;
	}
}

/* Bits that each active exponent costs under a table. A symbol without a code would get one: at worst the longest. */
static void exponent_costs(const struct uw_table *table, const struct active *active, uint32_t cost[256])
{
	uint8_t map[256];

	uw_table_map(table, map);
	for (unsigned i = 0; i < active->n; i++) {
		uint8_t m = map[active->e[i]];
		uint32_t len = table->lens[m & 15];

		cost[i] = (len != 0 ? len : UW_MAX_CODE_LEN + 1) + (m & 0x80 ? UW_PATCH_NBITS : 0);
	}
}

static uint64_t chunk_cost(const uint32_t *counts, const struct active *active, const uint32_t cost[256])
{
	uint32_t sum = 0; /* at most 8192 weights of at most 40 bits */

	for (unsigned i = 0; i < active->n; i++)
		sum += counts[active->e[i]] * cost[i];
	return sum;
}

/* One table for each non-empty cluster; clusters are renumbered without gaps. */
static uint32_t build_tables(const uint32_t *counts, const uint32_t *npadding, uint64_t nchunks, uint32_t k,
			     const struct active *active, struct uw_table *tables, uint8_t *chunk_table)
{
	uint8_t rename[UW_MAX_TABLES] = { 0 };
	uint32_t n = 0;

	for (uint32_t t = 0; t < k; t++) {
		uint64_t sum[256] = { 0 }, padding = 0;
		bool used = false;

		for (uint64_t c = 0; c < nchunks; c++) {
			if (chunk_table[c] != t)
				continue;
			used = true;
			padding += npadding[c];
			for (unsigned i = 0; i < active->n; i++)
				sum[active->e[i]] += counts[256 * c + active->e[i]];
		}
		if (!used)
			continue;
		rename[t] = (uint8_t)n;
		uw_table_build(sum, padding, &tables[n++]);
	}
	for (uint64_t c = 0; c < nchunks; c++)
		chunk_table[c] = rename[chunk_table[c]];
	return n;
}

/* Moves each chunk to its cheapest table; returns the bits of all, tables included. */
static uint64_t assign(const uint32_t *counts, uint64_t nchunks, const struct active *active,
		       const struct uw_table *tables, uint32_t ntables, uint8_t *chunk_table, bool *moved)
{
	uint32_t cost[UW_MAX_TABLES][256];
	uint64_t total = ntables * UW_TABLE_NBITS;

	*moved = false;
	for (uint32_t t = 0; t < ntables; t++)
		exponent_costs(&tables[t], active, cost[t]);
	for (uint64_t c = 0; c < nchunks; c++) {
		uint64_t best = UINT64_MAX;
		uint8_t at = 0;

		for (uint32_t t = 0; t < ntables; t++) {
			uint64_t bits = chunk_cost(counts + 256 * c, active, cost[t]);

			if (bits < best) {
				best = bits;
				at = (uint8_t)t;
			}
		}
		*moved |= at != chunk_table[c];
		chunk_table[c] = at;
		total += best;
	}
	return total;
}

/* Chunk numbers by ascending mean exponent: shell sort on (sum of exponents, number). */
static void sort_by_mean(const uint32_t *counts, uint64_t nchunks, const struct active *active, uint16_t *sorted)
{
	uint32_t key[MAX_CHUNKS];

	for (uint64_t c = 0; c < nchunks; c++) {
		uint64_t sum = 0, n = 0;

		for (unsigned i = 0; i < active->n; i++) {
			uint64_t count = counts[256 * c + active->e[i]];

			sum += count * active->e[i];
			n += count;
		}
		key[c] = n != 0 ? (uint32_t)(sum * 4096 / n) : 0;
		sorted[c] = (uint16_t)c;
	}
	for (uint64_t gap = nchunks / 2; gap > 0; gap /= 2) {
		for (uint64_t i = gap; i < nchunks; i++) {
			uint16_t c = sorted[i];
			uint64_t at = i;

			for (; at >= gap; at -= gap) {
				uint16_t other = sorted[at - gap];

				if (key[other] < key[c] || (key[other] == key[c] && other < c))
					break;
				sorted[at] = other;
			}
			sorted[at] = c;
		}
	}
}

/* A clustering under trial. */
struct trial {
	uint64_t nbits;
	uint32_t ntables;
	struct uw_table tables[UW_MAX_TABLES];
	uint8_t chunk_table[MAX_CHUNKS];
};

static void cluster(const uint32_t *counts, const uint32_t *npadding, uint64_t nchunks, const struct active *active,
		    const uint16_t *sorted, uint32_t k, struct trial *trial)
{
	bool moved = true;

	for (uint64_t i = 0; i < nchunks; i++)
		trial->chunk_table[sorted[i]] = (uint8_t)(i * k / nchunks);
	trial->ntables = build_tables(counts, npadding, nchunks, k, active, trial->tables, trial->chunk_table);
	for (int round = 0; round < MAX_ROUNDS && moved; round++) {
		trial->nbits = assign(counts, nchunks, active, trial->tables, trial->ntables, trial->chunk_table,
				      &moved);
		if (moved)
			trial->ntables = build_tables(counts, npadding, nchunks, trial->ntables, active,
						      trial->tables, trial->chunk_table);
	}
}

uint32_t uw_tables_choose(const uint32_t *counts, const uint32_t *npadding, uint64_t nchunks,
			  struct uw_table tables[UW_MAX_TABLES], uint8_t *chunk_table)
{
	struct trial trials[2], *best = &trials[0], *next = &trials[1];
	uint16_t sorted[MAX_CHUNKS] = { 0 };
	struct active active;

	find_active(counts, nchunks, &active);
	sort_by_mean(counts, nchunks, &active, sorted);
	cluster(counts, npadding, nchunks, &active, sorted, 1, best);
	for (uint32_t k = 2; k <= UW_MAX_TABLES && k <= nchunks; k *= 2) {
		struct trial *better = next;

		cluster(counts, npadding, nchunks, &active, sorted, k, next);
		if (next->nbits >= best->nbits)
			break;
		next = best;
		best = better;
	}
	memcpy(tables, best->tables, best->ntables * sizeof(*tables));
	memcpy(chunk_table, best->chunk_table, (size_t)nchunks);
	return best->ntables;
}
