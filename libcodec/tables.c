/* SPDX-License-Identifier: Apache-2.0 */
/*
 * k-means over chunks with description length as the distance: a cluster is a table, a chunk belongs where its
 * exponents cost the fewest bits. Starts from chunks sorted by mean exponent and cut into k equal parts; k grows as
 * long as the whole gets smaller. All costs are integers, so every machine chooses alike.
 *
 * Loops over the exponents of a chunk run in blocks of 32 16-bit values, which is a form that compilers turn into
 * multiply-add instructions even of the smallest x86-64; 32 hold all exponents of a usual group.
 */
#include "tables.h"

#include <string.h>

#include "huffman.h"

#define MAX_ROUNDS 4
#define PATIENCE 1 /* numbers of tables in a row that may fail to pay before the search ends */
#define MAX_CHUNKS (UW_MAX_GROUP_WEIGHTS / UW_CHUNK_WEIGHTS)
#define BLOCK 32u

/* The most frequent pairs first; on ties the lower one. Returns how many there are, at most UW_PAIRS. */
static unsigned sort_pairs(const uint64_t counts[256], uint8_t pairs[UW_PAIRS])
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
	return n;
}

void uw_table_map(const struct uw_table *table, uint8_t map[256])
{
	for (unsigned e = 0; e < 256; e++)
		map[e] = (uint8_t)(0x80 | (e & 1));
	/* unused places repeat a pair: the first place wins */
	for (unsigned s = UW_SYMBOLS; s-- > 0;) {
		if (table->lens[s] != 0)
			map[2 * table->pairs[s / 2] + s % 2] = (uint8_t)s;
	}
}

/* A palette and the weights of its symbols. */
struct palette {
	uint64_t symbols[UW_SYMBOLS]; /* of those that have a code */
	uint64_t escapes[2];          /* even and odd exponents that have none; symbols 0 and 1 stand in for them */
	uint64_t npadding;            /* more weights of symbol 0 */
};

/* Code lengths for a palette; returns the bits of all weights, patches included. */
static uint64_t code_lengths(const struct palette *p, uint32_t patch_nbits, uint8_t lens[UW_SYMBOLS])
{
	uint64_t symbols[UW_SYMBOLS], nbits = patch_nbits * (p->escapes[0] + p->escapes[1]);

	memcpy(symbols, p->symbols, sizeof(symbols));
	symbols[0] += p->escapes[0] + p->npadding;
	symbols[1] += p->escapes[1];
	uw_huff_lengths(symbols, lens);
	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		nbits += symbols[s] * lens[s];
	return nbits;
}

/* Rarest symbol that is coded for itself, or 0: the first pair keeps its codes. */
static unsigned rarest(const struct palette *p)
{
	unsigned at = 0;

	for (unsigned s = 2; s < UW_SYMBOLS; s++) {
		if (p->symbols[s] != 0 && (at == 0 || p->symbols[s] < p->symbols[at]))
			at = s;
	}
	return at;
}

/*
 * A code of at most 7 bits gives each symbol at least 1/128 of its space, and that is more than most of 16 are worth:
 * taking the code from the rarest one pays until its patches cost more.
 */
void uw_table_build(const uint64_t counts[256], uint64_t npadding, uint32_t patch_nbits, struct uw_table *table)
{
	struct palette p = { .npadding = npadding };
	unsigned n = sort_pairs(counts, table->pairs);
	uint64_t nbits;

	for (unsigned e = 0; e < 256; e++)
		p.escapes[e % 2] += counts[e];
	for (unsigned s = 0; s < 2 * n; s++) {
		p.symbols[s] = counts[2 * table->pairs[s / 2] + s % 2];
		p.escapes[s % 2] -= p.symbols[s];
	}
	nbits = code_lengths(&p, patch_nbits, table->lens);
	for (unsigned s; patch_nbits != UW_AVOID_PATCHES && (s = rarest(&p)) != 0;) {
		uint8_t lens[UW_SYMBOLS];
		uint64_t fewer;

		p.escapes[s % 2] += p.symbols[s];
		p.symbols[s] = 0;
		fewer = code_lengths(&p, patch_nbits, lens);
		if (fewer >= nbits)
			break;
		nbits = fewer;
		memcpy(table->lens, lens, sizeof(lens));
	}
	for (unsigned k = 1; k < UW_PAIRS; k++) { /* a pair without codes need not be named */
		if (table->lens[2 * k] == 0 && table->lens[2 * k + 1] == 0)
			table->pairs[k] = table->pairs[0];
	}
}

/* What the clustering looks at: the histograms of the chunks, reduced to the exponents that occur in the group. */
struct input {
	const uint16_t *rows; /* nchunks x stride */
	const uint32_t *npadding;
	uint64_t nchunks;
	uint32_t patch_nbits;
	unsigned nactive, stride; /* stride: nactive rounded up to whole blocks, the rest zero */
	uint8_t active[256];
};

static void reduce_rows(const uint32_t *counts, const uint64_t total[256], uint16_t *rows, struct input *in)
{
	in->nactive = 0;
	for (unsigned e = 0; e < 256; e++) {
		if (total[e] != 0)
			in->active[in->nactive++] = (uint8_t)e;
	}
	in->stride = (in->nactive + BLOCK - 1) / BLOCK * BLOCK;
	in->rows = rows;
	for (uint64_t c = 0; c < in->nchunks; c++, counts += 256, rows += in->stride) {
		for (unsigned i = 0; i < in->nactive; i++)
			rows[i] = (uint16_t)counts[in->active[i]];
		memset(rows + in->nactive, 0, (in->stride - in->nactive) * sizeof(*rows));
	}
}

/* Bits that each active exponent costs under a table. A placeholder without a code would get one: at worst the
 * longest. */
static void exponent_costs(const struct uw_table *table, const struct input *in, int16_t cost[256])
{
	uint8_t map[256];

	uw_table_map(table, map);
	memset(cost, 0, 256 * sizeof(*cost));
	for (unsigned i = 0; i < in->nactive; i++) {
		uint8_t m = map[in->active[i]];
		uint32_t len = table->lens[m & 15];

		cost[i] = (int16_t)((len != 0 ? len : UW_MAX_CODE_LEN + 1) + (m & 0x80 ? in->patch_nbits : 0));
	}
}

/* At most 8192 weights of at most 1032 bits fit 32 bits; 8192 fits 16 bits with a sign. */
static uint32_t chunk_cost(const uint16_t *row, unsigned stride, const int16_t *cost)
{
	int32_t sum = 0;

	for (unsigned from = 0; from < stride; from += BLOCK) {
		for (unsigned i = 0; i < BLOCK; i++)
			sum += (int16_t)row[from + i] * cost[from + i];
	}
	return (uint32_t)sum;
}

static void add_row(uint32_t *sum, const uint16_t *row, unsigned stride)
{
	for (unsigned from = 0; from < stride; from += BLOCK) {
		for (unsigned i = 0; i < BLOCK; i++)
			sum[from + i] += row[from + i];
	}
}

/* A clustering under trial. */
struct trial {
	uint64_t nbits;
	uint32_t ntables;
	struct uw_table tables[UW_MAX_TABLES];
	uint8_t chunk_table[MAX_CHUNKS];
};

/* One table for each non-empty cluster; clusters are renumbered without gaps. */
static void build_tables(const struct input *in, uint32_t k, struct trial *trial)
{
	uint32_t sum[UW_MAX_TABLES][256], nmembers[UW_MAX_TABLES] = { 0 };
	uint64_t padding[UW_MAX_TABLES] = { 0 };
	uint8_t rename[UW_MAX_TABLES] = { 0 };

	for (uint32_t t = 0; t < k; t++)
		memset(sum[t], 0, in->stride * sizeof(**sum));
	for (uint64_t c = 0; c < in->nchunks; c++) {
		uint8_t t = trial->chunk_table[c];

		nmembers[t]++;
		padding[t] += in->npadding[c];
		add_row(sum[t], in->rows + c * in->stride, in->stride);
	}
	trial->ntables = 0;
	for (uint32_t t = 0; t < k; t++) {
		uint64_t counts[256] = { 0 };

		if (nmembers[t] == 0)
			continue;
		for (unsigned i = 0; i < in->nactive; i++)
			counts[in->active[i]] = sum[t][i];
		rename[t] = (uint8_t)trial->ntables;
		uw_table_build(counts, padding[t], in->patch_nbits, &trial->tables[trial->ntables++]);
	}
	for (uint64_t c = 0; c < in->nchunks; c++)
		trial->chunk_table[c] = rename[trial->chunk_table[c]];
}

/* Moves each chunk to its cheapest table, on ties to the first; returns whether any moved. */
static bool assign(const struct input *in, struct trial *trial)
{
	int16_t cost[UW_MAX_TABLES][256];
	bool moved = false;

	trial->nbits = trial->ntables * UW_TABLE_NBITS;
	for (uint32_t t = 0; t < trial->ntables; t++)
		exponent_costs(&trial->tables[t], in, cost[t]);
	for (uint64_t c = 0; c < in->nchunks; c++) {
		const uint16_t *row = in->rows + c * in->stride;
		uint32_t best = UINT32_MAX;
		uint8_t at = 0;

		for (uint32_t t = 0; t < trial->ntables; t++) {
			uint32_t bits = chunk_cost(row, in->stride, cost[t]);

			if (bits < best) {
				best = bits;
				at = (uint8_t)t;
			}
		}
		moved |= at != trial->chunk_table[c];
		trial->chunk_table[c] = at;
		trial->nbits += best;
	}
	return moved;
}

/* Chunk numbers by ascending mean exponent: shell sort on (mean, number). */
static void sort_by_mean(const struct input *in, uint16_t *sorted)
{
	uint32_t key[MAX_CHUNKS];

	for (uint64_t c = 0; c < in->nchunks; c++) {
		const uint16_t *row = in->rows + c * in->stride;
		uint32_t sum = 0, n = 0;

		for (unsigned i = 0; i < in->nactive; i++) {
			sum += (uint32_t)row[i] * in->active[i];
			n += row[i];
		}
		key[c] = n != 0 ? (uint32_t)((uint64_t)sum * 4096 / n) : 0;
		sorted[c] = (uint16_t)c;
	}
	for (uint64_t gap = in->nchunks / 2; gap > 0; gap /= 2) {
		for (uint64_t i = gap; i < in->nchunks; i++) {
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

static void cluster(const struct input *in, const uint16_t *sorted, uint32_t k, struct trial *trial)
{
	for (uint64_t i = 0; i < in->nchunks; i++)
		trial->chunk_table[sorted[i]] = (uint8_t)(i * k / in->nchunks);
	build_tables(in, k, trial);
	for (int round = 0; round < MAX_ROUNDS && assign(in, trial); round++)
		build_tables(in, trial->ntables, trial);
}

uint32_t uw_tables_choose(const uint32_t *counts, const uint64_t total[256], const uint32_t *npadding, uint64_t nchunks,
			  uint32_t patch_nbits, uint16_t *rows, struct uw_table tables[UW_MAX_TABLES],
			  uint8_t *chunk_table)
{
	static const uint8_t ladder[] = { 2, 4, 8, 16 };
	struct input in = { .npadding = npadding, .nchunks = nchunks, .patch_nbits = patch_nbits };
	struct trial trials[2], *best = &trials[0], *next = &trials[1];
	uint16_t sorted[MAX_CHUNKS];
	unsigned failed = 0;

	reduce_rows(counts, total, rows, &in);
	sort_by_mean(&in, sorted);
	cluster(&in, sorted, 1, best);
	for (unsigned i = 0; i < sizeof(ladder) && ladder[i] <= nchunks && failed < PATIENCE; i++) {
		cluster(&in, sorted, ladder[i], next);
		if (next->nbits < best->nbits) {
			struct trial *worse = best;

			best = next;
			next = worse;
			failed = 0;
		} else {
			failed++;
		}
	}
	memcpy(tables, best->tables, best->ntables * sizeof(*tables));
	memcpy(chunk_table, best->chunk_table, (size_t)nchunks);
	return best->ntables;
}
