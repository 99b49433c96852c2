/* SPDX-License-Identifier: Apache-2.0 */
/* Exponents to counts, and to symbols. */
#include "checkkernels.h"

/* All equal, two values, few, those of a Gaussian, any. */
static void fill_exponents(struct ck *ck, uint8_t *e, size_t n)
{
	unsigned kind = ck_rng(ck) % 5;
	uint32_t r = ck_rng(ck);

	for (size_t i = 0; i < n; i++) {
		uint32_t x = ck_rng(ck);
		unsigned zeros = 0;

		while (zeros < 20 && (x >> zeros & 1) == 0)
			zeros++;
		e[i] = (uint8_t)(kind == 0 ? r : kind == 1 ? r >> 8 * (x % 2) : kind == 2 ? r + x % 16 :
				 kind == 3 ? 121 - zeros : x);
	}
}

static void check_histogram(struct ck *ck, const struct ck_op *op)
{
	for (unsigned round = 0; round < 200; round++) {
		size_t n = UW_TILE_WEIGHTS * (1 + round % UW_CHUNK_TILES);
		uint32_t want[256], *got;
		uint8_t *e;

		ck_begin(ck);
		e = ck_buf(ck, "e", n, 1);
		got = ck_buf(ck, "counts", sizeof(want), 4);
		fill_exponents(ck, e, n);
		ck_random(ck, want, sizeof(want));
		for (unsigned v = 0; v < 256; v++)
			got[v] = want[v];
		ck->ref->histogram(e, n, want);
		ck->now->histogram(e, n, got);
		ck_same(ck, "counts", got, want, sizeof(want), 4);
		ck_end(ck);
	}
}

static void check_symbols(struct ck *ck, const struct ck_op *op)
{
	for (unsigned round = 0; round < 200; round++) {
		size_t n = UW_TILE_WEIGHTS * (1 + round % UW_CHUNK_TILES);
		uint8_t want[UW_CHUNK_WEIGHTS], *e, *map, *sym;
		uint64_t want_escapes[UW_CHUNK_WEIGHTS / 64], *escapes;

		ck_begin(ck);
		e = ck_buf(ck, "e", n, 1);
		map = ck_buf(ck, "map", 256, 1);
		sym = ck_buf(ck, "sym", n, 1);
		escapes = ck_buf(ck, "escapes", n / 8, 8);
		fill_exponents(ck, e, n);
		ck_random(ck, map, 256);
		for (unsigned v = 0; v < 256; v++) /* no, some or only escapes */
			map[v] = (uint8_t)(round % 4 == 0 ? map[v] & 127 : round % 4 == 1 ? map[v] | 128 : map[v]);
		ck->ref->symbols(e, n, map, want, want_escapes);
		ck->now->symbols(e, n, map, sym, escapes);
		ck_same(ck, "sym", sym, want, n, 1);
		ck_same(ck, "escapes", escapes, want_escapes, n / 8, 8);
		ck_end(ck);
	}
}

struct bench {
	_Alignas(64) uint8_t e[UW_CHUNK_WEIGHTS], sym[UW_CHUNK_WEIGHTS];
	uint8_t map[256];
	uint32_t counts[256];
	uint64_t escapes[UW_CHUNK_WEIGHTS / 64];
};

static void run_histogram(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;

	ops->histogram(b->e, sizeof(b->e), b->counts);
}

static void run_symbols(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;

	ops->symbols(b->e, sizeof(b->e), b->map, b->sym, b->escapes);
}

static void bench(struct ck *ck, const struct ck_op *op, void (*run)(void *ctx, const struct uw_cpu_ops *ops))
{
	static struct bench b;
	struct ck_work work = { .where = "hot", .nbytes = 2 * UW_CHUNK_WEIGHTS, .nrounds = 15, .run = run, .ctx = &b };

	for (unsigned i = 0; i < UW_CHUNK_WEIGHTS; i++) {
		uint32_t x = ck_rng(ck) | 1u << 20, zeros = 0;

		while ((x >> zeros & 1) == 0)
			zeros++;
		b.e[i] = (uint8_t)(121 - zeros);
	}
	for (unsigned v = 0; v < 256; v++)
		b.map[v] = (uint8_t)(v & 15);
	ck_measure(ck, op, &work);
}

static void bench_histogram(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_histogram);
}

static void bench_symbols(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_symbols);
}

const struct ck_op ck_symbols[] = {
	{ "histogram", offsetof(struct uw_cpu_ops, histogram), UW_ORDER_BYTES, check_histogram, bench_histogram },
	{ "symbols", offsetof(struct uw_cpu_ops, symbols), UW_ORDER_BYTES, check_symbols, bench_symbols },
	{ NULL, 0, UW_ORDER_BYTES, NULL, NULL },
};
