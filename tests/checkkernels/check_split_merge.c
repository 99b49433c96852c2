/* SPDX-License-Identifier: Apache-2.0 */
/* Weights to S plane and exponents, and back; rows that lie anywhere. */
#include <string.h>

#include "checkkernels.h"

#define NTILES UW_CHUNK_TILES
#define MAX_LD 1100u
#define TILE_NBYTES (UW_TILE_WEIGHTS * sizeof(uint16_t))

/* Odd ones, aligned ones, and 33 and 97 cache lines, whose rows do not fall into the same set. */
size_t ck_random_ld(struct ck *ck)
{
	static const size_t lds[] = { 64, 65, 66, 77, 96, 128, 512, 1000, 1024, 1056 };
	uint32_t n = ck_rng(ck) % (COUNT(lds) + 4);

	return n < COUNT(lds) ? lds[n] : 64 + ck_rng(ck) % (MAX_LD - 64);
}

size_t ck_tile_extent(enum uw_order order, size_t ld)
{
	return order == UW_ORDER_TILED ? 15 * ld + 64 : UW_TILE_WEIGHTS;
}

/* Tile n holds n + 3 p at position p: over all n, each position sees all 65,536 values. */
static void fill_tile(uint16_t *weights, uint32_t n)
{
	for (uint32_t p = 0; p < UW_TILE_WEIGHTS; p++)
		weights[p] = (uint16_t)(n + 3 * p);
}

static void check_split(struct ck *ck, const struct ck_op *op)
{
	for (uint32_t n = 0; n < (ck->exhaustive ? 65536u : 0u); n++) {
		static uint16_t weights[UW_TILE_WEIGHTS];
		static uint8_t s[2][UW_TILE_WEIGHTS], e[2][UW_TILE_WEIGHTS];

		fill_tile(weights, n);
		ck->ref->split[op->order](weights, 64, s[0], e[0]);
		ck->now->split[op->order](weights, 64, s[1], e[1]);
		ck_same(ck, "s", s[1], s[0], sizeof(s[0]), 1);
		ck_same(ck, "e", e[1], e[0], sizeof(e[0]), 1);
	}
	for (unsigned round = 0; round < 200; round++) {
		size_t ld = ck_random_ld(ck), n = ck_tile_extent(op->order, ld) * sizeof(uint16_t);
		uint8_t s[UW_TILE_WEIGHTS], e[UW_TILE_WEIGHTS], *s_now, *e_now;
		uint16_t *weights;

		ck_begin(ck);
		weights = ck_buf(ck, "weights", n, 2);
		s_now = ck_buf(ck, "s", sizeof(s), 1);
		e_now = ck_buf(ck, "e", sizeof(e), 1);
		ck_random(ck, weights, n);
		ck->ref->split[op->order](weights, ld, s, e);
		ck->now->split[op->order](weights, ld, s_now, e_now);
		ck_same(ck, "s", s_now, s, sizeof(s), 1);
		ck_same(ck, "e", e_now, e, sizeof(e), 1);
		ck_end(ck);
	}
}

static void check_merge(struct ck *ck, const struct ck_op *op)
{
	for (uint32_t n = 0; n < (ck->exhaustive ? 65536u : 0u); n++) {
		static _Alignas(64) uint16_t weights[UW_TILE_WEIGHTS], back[UW_TILE_WEIGHTS];
		static uint8_t s[UW_TILE_WEIGHTS], e[UW_TILE_WEIGHTS];

		fill_tile(weights, n);
		ck->ref->split[op->order](weights, 64, s, e);
		for (unsigned store = UW_STORE_CACHED; store <= UW_STORE_STREAM; store++) {
			memset(back, 0xA5, sizeof(back));
			ck->now->merge[op->order](back, 64, s, e, store);
			ck->now->fence();
			ck_same(ck, "weights", back, weights, sizeof(back), 2);
		}
	}
	for (unsigned round = 0; round < 200; round++) {
		size_t ld = ck_random_ld(ck), n = ck_tile_extent(op->order, ld) * sizeof(uint16_t);
		size_t align = (size_t)2 << ck_rng(ck) % 6;
		enum uw_store store = ck_rng(ck) % 2 ? UW_STORE_STREAM : UW_STORE_CACHED;
		uint16_t *want, *got;
		uint8_t *s, *e;

		ck_begin(ck);
		want = ck_buf(ck, "weights", n, 2);
		got = ck_buf(ck, "weights", n, align);
		s = ck_buf(ck, "s", UW_TILE_WEIGHTS, 1);
		e = ck_buf(ck, "e", UW_TILE_WEIGHTS, 1);
		ck_random(ck, s, UW_TILE_WEIGHTS);
		ck_random(ck, e, UW_TILE_WEIGHTS);
		ck->ref->merge[op->order](want, ld, s, e, store);
		ck->now->merge[op->order](got, ld, s, e, store);
		ck->now->fence();
		ck_same(ck, "weights", got, want, n, 2); /* what lies between the rows stays */
		ck_end(ck);
	}
}

/* Rows in a buffer of 16 rows, ld apart, in any order and possibly none of them aligned. */
static void random_rows(struct ck *ck, uint16_t *weights, size_t ld, uint16_t *rows[UW_TILE_ROWS])
{
	for (uint32_t r = 0; r < UW_TILE_ROWS; r++) {
		uint32_t k = ck_rng(ck) % (r + 1);

		rows[r] = rows[k];
		rows[k] = weights + r * ld;
	}
}

static void check_get_rows(struct ck *ck, const struct ck_op *op)
{
	for (unsigned round = 0; round < 200; round++) {
		size_t ld = ck_random_ld(ck), n = ck_tile_extent(UW_ORDER_TILED, ld) * sizeof(uint16_t);
		uint16_t *weights, *want, *got, *rows[UW_TILE_ROWS];

		ck_begin(ck);
		weights = ck_buf(ck, "weights", n, 2);
		want = ck_buf(ck, "tile", TILE_NBYTES, 64);
		got = ck_buf(ck, "tile", TILE_NBYTES, 64);
		ck_random(ck, weights, n);
		random_rows(ck, weights, ld, rows);
		ck->ref->get_rows((const uint16_t *const *)rows, want);
		ck->now->get_rows((const uint16_t *const *)rows, got);
		ck_same(ck, "tile", got, want, TILE_NBYTES, 2);
		ck_end(ck);
	}
}

static void check_put_rows(struct ck *ck, const struct ck_op *op)
{
	for (unsigned round = 0; round < 200; round++) {
		size_t ld = ck_random_ld(ck), n = ck_tile_extent(UW_ORDER_TILED, ld) * sizeof(uint16_t);
		size_t align = (size_t)2 << ck_rng(ck) % 6;
		enum uw_store store = ck_rng(ck) % 2 ? UW_STORE_STREAM : UW_STORE_CACHED;
		uint16_t *tile, *want, *got, *rows[UW_TILE_ROWS];
		uint64_t rng;

		ck_begin(ck);
		tile = ck_buf(ck, "tile", TILE_NBYTES, 64);
		want = ck_buf(ck, "weights", n, 2);
		got = ck_buf(ck, "weights", n, align);
		ck_random(ck, tile, TILE_NBYTES);
		rng = ck->rng;
		random_rows(ck, want, ld, rows);
		ck->ref->put_rows(rows, tile, store);
		ck->rng = rng;
		random_rows(ck, got, ld, rows);
		ck->now->put_rows(rows, tile, store);
		ck->now->fence();
		ck_same(ck, "weights", got, want, n, 2); /* what lies between the rows stays */
		ck_end(ck);
	}
}

/* Nothing to see, but it has to be there. */
static void check_fence(struct ck *ck, const struct ck_op *op)
{
	ck->now->fence();
}

struct bench {
	enum uw_order order;
	size_t ld;
	_Alignas(64) uint16_t weights[NTILES * UW_TILE_WEIGHTS], tile[UW_TILE_WEIGHTS];
	_Alignas(64) uint8_t s[NTILES][UW_TILE_WEIGHTS], e[NTILES][UW_TILE_WEIGHTS];
};

/* Tiles stand side by side: a row block of 16 x 512. */
static size_t tile_at(const struct bench *b, uint32_t t)
{
	return b->order == UW_ORDER_TILED ? t * UW_TILE_COLS : t * UW_TILE_WEIGHTS;
}

static void run_split(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;

	for (uint32_t t = 0; t < NTILES; t++)
		ops->split[b->order](b->weights + tile_at(b, t), b->ld, b->s[t], b->e[t]);
}

static void run_merge(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;

	for (uint32_t t = 0; t < NTILES; t++)
		ops->merge[b->order](b->weights + tile_at(b, t), b->ld, b->s[t], b->e[t], UW_STORE_CACHED);
}

static void rows_of(struct bench *b, uint32_t t, uint16_t *rows[UW_TILE_ROWS])
{
	for (uint32_t r = 0; r < UW_TILE_ROWS; r++)
		rows[r] = b->weights + r * 5 % UW_TILE_ROWS * b->ld + t * UW_TILE_COLS;
}

static void run_get_rows(void *ctx, const struct uw_cpu_ops *ops)
{
	uint16_t *rows[UW_TILE_ROWS];
	struct bench *b = ctx;

	for (uint32_t t = 0; t < NTILES; t++) {
		rows_of(b, t, rows);
		ops->get_rows((const uint16_t *const *)rows, b->tile);
	}
}

static void run_put_rows(void *ctx, const struct uw_cpu_ops *ops)
{
	uint16_t *rows[UW_TILE_ROWS];
	struct bench *b = ctx;

	for (uint32_t t = 0; t < NTILES; t++) {
		rows_of(b, t, rows);
		ops->put_rows(rows, b->tile, UW_STORE_CACHED);
	}
}

static void bench(struct ck *ck, const struct ck_op *op, void (*run)(void *ctx, const struct uw_cpu_ops *ops))
{
	static struct bench b;
	struct ck_work work = { .where = "hot", .nbytes = sizeof(b.weights), .nrounds = 15, .run = run, .ctx = &b };

	b.order = op->order;
	b.ld = NTILES * UW_TILE_COLS;
	ck_random(ck, b.weights, sizeof(b.weights));
	ck_random(ck, b.s, sizeof(b.s));
	ck_random(ck, b.e, sizeof(b.e));
	ck_measure(ck, op, &work);
}

static void bench_split(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_split);
}

static void bench_merge(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_merge);
}

static void bench_get_rows(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_get_rows);
}

static void bench_put_rows(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_put_rows);
}

#define ENTRY(member) offsetof(struct uw_cpu_ops, member)

const struct ck_op ck_split_merge[] = {
	{ "split_linear", ENTRY(split[UW_ORDER_LINEAR]), UW_ORDER_LINEAR, check_split, bench_split },
	{ "split_tiled", ENTRY(split[UW_ORDER_TILED]), UW_ORDER_TILED, check_split, bench_split },
	{ "merge_linear", ENTRY(merge[UW_ORDER_LINEAR]), UW_ORDER_LINEAR, check_merge, bench_merge },
	{ "merge_tiled", ENTRY(merge[UW_ORDER_TILED]), UW_ORDER_TILED, check_merge, bench_merge },
	{ "get_rows", ENTRY(get_rows), UW_ORDER_TILED, check_get_rows, bench_get_rows },
	{ "put_rows", ENTRY(put_rows), UW_ORDER_TILED, check_put_rows, bench_put_rows },
	{ "fence", ENTRY(fence), UW_ORDER_BYTES, check_fence, NULL },
	{ NULL, 0, UW_ORDER_BYTES, NULL, NULL },
};
