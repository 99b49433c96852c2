/* SPDX-License-Identifier: Apache-2.0 */
/* The nibble plane. */
#include "checkkernels.h"

#define NIB_NBYTES (UW_TILE_WEIGHTS / 2)
#define NTILES UW_CHUNK_TILES

static void fill_symbols(struct ck *ck, uint8_t *sym)
{
	ck_random(ck, sym, UW_TILE_WEIGHTS);
	for (unsigned p = 0; p < UW_TILE_WEIGHTS; p++)
		sym[p] &= 15;
}

static void check_pack(struct ck *ck, const struct ck_op *op)
{
	uint8_t want[NIB_NBYTES];

	if (ck->exhaustive) { /* each symbol at each position */
		uint8_t sym[UW_TILE_WEIGHTS], got[NIB_NBYTES];

		fill_symbols(ck, sym);
		for (unsigned n = 0; n < 16 * UW_TILE_WEIGHTS; n++) {
			sym[n / 16] = n % 16;
			ck->ref->p4_pack(sym, want);
			ck->now->p4_pack(sym, got);
			ck_same(ck, "nib", got, want, sizeof(want), 1);
		}
	}
	for (unsigned round = 0; round < 200; round++) {
		uint8_t *sym, *nib;

		ck_begin(ck);
		sym = ck_buf(ck, "sym", UW_TILE_WEIGHTS, 1);
		nib = ck_buf(ck, "nib", NIB_NBYTES, 1);
		fill_symbols(ck, sym);
		ck->ref->p4_pack(sym, want);
		ck->now->p4_pack(sym, nib);
		ck_same(ck, "nib", nib, want, sizeof(want), 1);
		ck_end(ck);
	}
}

static void fill_pairs(struct ck *ck, uint8_t pairs[UW_PAIRS])
{
	ck_random(ck, pairs, UW_PAIRS);
	for (unsigned k = 0; k < UW_PAIRS; k++)
		pairs[k] &= 127;
}

static void check_decode(struct ck *ck, const struct ck_op *op)
{
	if (ck->exhaustive) { /* each half byte of the plane with each value */
		static _Alignas(64) uint16_t want[UW_TILE_WEIGHTS], got[UW_TILE_WEIGHTS];
		uint8_t s[UW_TILE_WEIGHTS], nib[NIB_NBYTES], pairs[UW_PAIRS];

		ck_random(ck, s, sizeof(s));
		ck_random(ck, nib, sizeof(nib));
		fill_pairs(ck, pairs);
		for (unsigned n = 0; n < 32 * NIB_NBYTES; n++) {
			unsigned half = n / 16 % 2 * 4;

			nib[n / 32] = (uint8_t)((nib[n / 32] & 0xF0 >> half) | n % 16 << half);
			ck->ref->p4_decode[op->order](want, 64, s, nib, pairs, UW_STORE_CACHED);
			ck->now->p4_decode[op->order](got, 64, s, nib, pairs, UW_STORE_CACHED);
			ck_same(ck, "weights", got, want, sizeof(want), 2);
		}
	}
	for (unsigned round = 0; round < 200; round++) {
		size_t ld = ck_random_ld(ck), n = ck_tile_extent(op->order, ld) * sizeof(uint16_t);
		size_t align = (size_t)2 << ck_rng(ck) % 6;
		enum uw_store store = ck_rng(ck) % 2 ? UW_STORE_STREAM : UW_STORE_CACHED;
		uint8_t *s, *nib, *pairs;
		uint16_t *want, *got;

		ck_begin(ck);
		want = ck_buf(ck, "weights", n, 2);
		got = ck_buf(ck, "weights", n, align);
		s = ck_buf(ck, "s", UW_TILE_WEIGHTS, 1);
		nib = ck_buf(ck, "nib", NIB_NBYTES, 1);
		pairs = ck_buf(ck, "pairs", UW_PAIRS, 1);
		ck_random(ck, s, UW_TILE_WEIGHTS);
		ck_random(ck, nib, NIB_NBYTES);
		fill_pairs(ck, pairs);
		ck->ref->p4_decode[op->order](want, ld, s, nib, pairs, store);
		ck->now->p4_decode[op->order](got, ld, s, nib, pairs, store);
		ck->now->fence();
		ck_same(ck, "weights", got, want, n, 2);
		ck_end(ck);
	}
}

struct bench {
	enum uw_order order;
	_Alignas(64) uint16_t weights[NTILES * UW_TILE_WEIGHTS];
	_Alignas(64) uint8_t s[NTILES][UW_TILE_WEIGHTS], nib[NTILES][NIB_NBYTES], sym[NTILES][UW_TILE_WEIGHTS];
	uint8_t pairs[UW_PAIRS];
};

static void run_pack(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;

	for (uint32_t t = 0; t < NTILES; t++)
		ops->p4_pack(b->sym[t], b->nib[t]);
}

static void run_decode(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;
	size_t step = b->order == UW_ORDER_TILED ? UW_TILE_COLS : UW_TILE_WEIGHTS;

	for (uint32_t t = 0; t < NTILES; t++)
		ops->p4_decode[b->order](b->weights + t * step, NTILES * UW_TILE_COLS, b->s[t], b->nib[t], b->pairs,
					 UW_STORE_CACHED);
}

static void bench(struct ck *ck, const struct ck_op *op, void (*run)(void *ctx, const struct uw_cpu_ops *ops))
{
	static struct bench b;
	struct ck_work work = { .where = "hot", .nbytes = sizeof(b.weights), .nrounds = 15, .run = run, .ctx = &b };

	b.order = op->order;
	ck_random(ck, b.s, sizeof(b.s));
	ck_random(ck, b.nib, sizeof(b.nib));
	for (uint32_t t = 0; t < NTILES; t++)
		fill_symbols(ck, b.sym[t]);
	fill_pairs(ck, b.pairs);
	ck_measure(ck, op, &work);
}

static void bench_pack(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_pack);
}

static void bench_decode(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_decode);
}

#define ENTRY(member) offsetof(struct uw_cpu_ops, member)

const struct ck_op ck_p4[] = {
	{ "p4_pack", ENTRY(p4_pack), UW_ORDER_BYTES, check_pack, bench_pack },
	{ "p4_decode_linear", ENTRY(p4_decode[UW_ORDER_LINEAR]), UW_ORDER_LINEAR, check_decode, bench_decode },
	{ "p4_decode_tiled", ENTRY(p4_decode[UW_ORDER_TILED]), UW_ORDER_TILED, check_decode, bench_decode },
	{ NULL, 0, UW_ORDER_BYTES, NULL, NULL },
};
