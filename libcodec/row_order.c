/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A chunk has one table for 64 rows. Where rows have scales of their own, rows of like scale belong together.
 *
 * A row's key is the sum of the exponents of some of its weights. A row whose mean exponent is d above or below that
 * of its block costs about d^2 ln 2 bits a weight more than with a table of its own: that is what scaling a normal
 * distribution by 2^d costs to second order. So the gain of an order is how much of the variance within blocks it
 * takes away, and no histogram is needed to see that there is none, as for most matrices.
 */
#include "row_order.h"

#include <string.h>

#define BLOCK_ROWS (UW_BLOCK_TILE_ROWS * UW_TILE_ROWS)
#define MIN_COLS 256u
#define RUNS 8u      /* of neighbours, evenly spread over the row */
#define MAX_RUN 128u
#define SPAN 15      /* exponents that tell rows apart: low .. low + SPAN; others count as the nearest one */
#define BELOW 9      /* how many of them lie below the most frequent one */
#define RADIX 128u
#define SOME 4u      /* one row in so many tells whether there is anything to be gained at all */

struct sample {
	uint64_t nrows, ncols;
	uint64_t run;  /* weights of a run */
	uint64_t step; /* from run to run */
	int16_t low;
};

static int16_t exponent_of(uint16_t weight)
{
	return (int16_t)(weight >> 7 & 255);
}

/* The most frequent exponent of one run of up to 64 rows, the lowest one on ties, says where the span begins. */
static int16_t span_start(const struct sample *sample, const uint16_t *weights)
{
	uint64_t every = (sample->nrows + 63) / 64;
	uint32_t counts[256] = { 0 };
	int16_t top = 0;

	for (uint64_t r = 0; r < sample->nrows; r += every) {
		for (uint64_t i = 0; i < sample->run; i++)
			counts[exponent_of(weights[r * sample->ncols + i])]++;
	}
	for (int16_t e = 1; e < 256; e++) {
		if (counts[e] > counts[top])
			top = e;
	}
	return (int16_t)(top > BELOW ? top - BELOW : 0);
}

/* At most 128 x 15: fits 16 bits. */
static uint32_t run_key(const uint16_t *weights, uint64_t n, int16_t low)
{
	int16_t sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		int16_t e = (int16_t)(exponent_of(weights[i]) - low);

		e = e < 0 ? 0 : e;
		sum = (int16_t)(sum + (e > SPAN ? SPAN : e));
	}
	return (uint32_t)sum;
}

/* Key and number of every `every`th row; the key is below 2^14. Returns how many. */
static uint64_t make_keys(const struct sample *sample, const uint16_t *weights, uint64_t every, uint32_t *rows)
{
	uint64_t n = 0;

	for (uint64_t r = 0; r < sample->nrows; r += every) {
		uint32_t key = 0;

		for (uint64_t k = 0; k < RUNS; k++)
			key += run_key(weights + r * sample->ncols + k * sample->step, sample->run, sample->low);
		rows[n++] = key << 16 | (uint32_t)r;
	}
	return n;
}

/* One pass of radix sort, by seven bits from `shift` on. */
static void sort_by(const uint32_t *from, uint64_t n, unsigned shift, uint32_t *to)
{
	uint32_t start[RADIX + 1] = { 0 };

	for (uint64_t i = 0; i < n; i++)
		start[(from[i] >> shift) % RADIX + 1]++;
	for (unsigned d = 1; d < RADIX; d++)
		start[d] += start[d - 1];
	for (uint64_t i = 0; i < n; i++)
		to[start[(from[i] >> shift) % RADIX]++] = from[i];
}

/* Sum over the blocks of the squared distances of keys from their block's mean, at most 2^16 x 2^28. */
static uint64_t spread(const uint32_t *rows, uint64_t nrows, uint64_t block_rows)
{
	uint64_t total = 0;

	for (uint64_t from = 0; from < nrows; from += block_rows) {
		uint64_t n = nrows - from < block_rows ? nrows - from : block_rows, sum = 0, squares = 0;

		for (uint64_t i = from; i < from + n; i++) {
			uint64_t key = rows[i] >> 16;

			sum += key;
			squares += key * key;
		}
		total += squares - sum * sum / n;
	}
	return total;
}

/*
 * Whether taking away so much of the spread of nrows rows pays: ln 2 of it over the sample's size squared are bits a
 * column. It has to save twice the 16 bits a row that the order takes, and beyond that the two bits for each weight of
 * a row over those in the sample that chance alone makes it seem to save.
 */
static bool pays(const struct sample *sample, uint64_t nrows, uint64_t less)
{
	uint64_t n = RUNS * sample->run;

	return less / 10 * 7 * sample->ncols > nrows * n * (32 * n + 2 * sample->ncols);
}

bool uw_row_order_choose(const struct uw_shape *shape, const uint16_t *weights, uint32_t *work, uint16_t *order)
{
	struct sample sample = { .nrows = shape->nrows, .ncols = shape->ncols, .step = shape->ncols / RUNS };
	uint32_t *rows = work, *other = work + shape->nrows;
	uint64_t n, before, after;

	if (shape->order != UW_ORDER_TILED || shape->ncols < MIN_COLS || shape->nrows <= BLOCK_ROWS ||
	    shape->nrows > UW_MAX_ORDERED_ROWS)
		return false;
	sample.run = sample.step < MAX_RUN ? sample.step : MAX_RUN;
	sample.low = span_start(&sample, weights);
	n = make_keys(&sample, weights, SOME, rows);
	if (!pays(&sample, n, spread(rows, n, BLOCK_ROWS / SOME)))
		return false;
	n = make_keys(&sample, weights, 1, rows);
	before = spread(rows, n, BLOCK_ROWS);
	sort_by(rows, n, 16, other);
	sort_by(other, n, 23, rows);
	after = spread(rows, n, BLOCK_ROWS);
	if (after > before || !pays(&sample, n, before - after))
		return false;
	for (uint64_t i = 0; i < n; i++)
		order[i] = (uint16_t)rows[i];
	return true;
}
