/* SPDX-License-Identifier: Apache-2.0 */
/* Bit streams: sizes, encoding, and decoding of good and of damaged ones. */
#include <stdlib.h>
#include <string.h>

#include "checkkernels.h"
#include "huffman.h"

#define SLACK_NBYTES 231u /* what cpu_ops.h lets huff_decode read beyond start[32] / 8 */

struct code {
	uint8_t lens[UW_SYMBOLS];
	struct uw_huff_code code[UW_SYMBOLS];
	uint8_t values[UW_SYMBOLS];
	struct uw_huff_entry table[128];
	uint8_t symbol_of[128]; /* of a window */
	uint8_t longest, shortest;
};

/* Splits leaves of a tree until there are `nsymbols`, and gives them to random symbols. */
static void random_lens(struct ck *ck, unsigned nsymbols, uint8_t lens[UW_SYMBOLS])
{
	uint8_t leaves[UW_SYMBOLS] = { 0 };

	for (unsigned n = 1; n < nsymbols;) {
		unsigned k = ck_rng(ck) % n;

		if (leaves[k] < UW_MAX_CODE_LEN)
			leaves[n++] = ++leaves[k];
	}
	memset(lens, 0, UW_SYMBOLS);
	for (unsigned n = 0; n < nsymbols;) {
		unsigned s = ck_rng(ck) % UW_SYMBOLS;

		if (lens[s] == 0)
			lens[s] = leaves[n++];
	}
}

static void random_code(struct ck *ck, struct code *c)
{
	static const uint8_t fixed[][UW_SYMBOLS] = {
		{ 1, 1 },
		{ 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1 },
		{ 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 4 },
		{ 1, 2, 3, 4, 5, 6, 7, 7 },
		{ 0, 7, 7, 6, 5, 4, 3, 2, 1 },
		{ 7, 7, 7, 7, 7, 7, 7, 7, 6, 6, 5, 4, 4, 3, 3, 1 },
	};
	unsigned kind = ck_rng(ck) % (COUNT(fixed) + 6);
	uint8_t identity[UW_SYMBOLS];
	struct uw_huff_entry symbols[128];

	if (kind < COUNT(fixed))
		memcpy(c->lens, fixed[kind], sizeof(c->lens));
	else
		random_lens(ck, 2 + ck_rng(ck) % (UW_SYMBOLS - 1), c->lens);
	if (!uw_huff_complete(c->lens))
		abort();
	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		identity[s] = (uint8_t)s;
	if (ck_rng(ck) % 2)
		memcpy(c->values, identity, sizeof(identity));
	else
		ck_random(ck, c->values, sizeof(c->values));
	memset(c->code, 0, sizeof(c->code));
	uw_huff_codes(c->lens, c->code);
	uw_huff_window_table(c->lens, c->values, c->table);
	uw_huff_window_table(c->lens, identity, symbols);
	c->longest = c->shortest = symbols[0].value;
	for (unsigned w = 0; w < 128; w++) {
		c->symbol_of[w] = symbols[w].value;
		if (c->lens[symbols[w].value] > c->lens[c->longest])
			c->longest = symbols[w].value;
		if (c->lens[symbols[w].value] < c->lens[c->shortest])
			c->shortest = symbols[w].value;
	}
}

/* As the code expects them, evenly, only the longest or the shortest code, or lanes of very different length. */
static void random_symbols(struct ck *ck, const struct code *c, uint32_t ntiles, uint8_t *sym)
{
	unsigned kind = ck_rng(ck) % 8;

	for (uint32_t p = 0; p < ntiles * UW_TILE_WEIGHTS; p++) {
		uint32_t x = ck_rng(ck);

		sym[p] = c->symbol_of[x % 128];
		if (kind == 0)
			sym[p] = c->longest;
		else if (kind == 1)
			sym[p] = c->shortest;
		else if (kind == 2)
			sym[p] = x % 64 < p / 8 % UW_LANES ? c->longest : c->shortest;
		else if (kind == 3 && c->lens[x % UW_SYMBOLS] != 0)
			sym[p] = x % UW_SYMBOLS;
	}
}

static void check_bits(struct ck *ck, const struct ck_op *op)
{
	for (unsigned round = 0; round < 200; round++) {
		uint32_t ntiles = 1 + round % UW_CHUNK_TILES, want[UW_LANES], *got;
		struct uw_huff_code *code;
		struct code c;
		uint8_t *sym;

		ck_begin(ck);
		random_code(ck, &c);
		sym = ck_buf(ck, "sym", ntiles * UW_TILE_WEIGHTS, 1);
		code = ck_buf(ck, "code", sizeof(c.code), 1);
		got = ck_buf(ck, "nbits", sizeof(want), 4);
		memcpy(code, c.code, sizeof(c.code));
		random_symbols(ck, &c, ntiles, sym);
		ck->ref->huff_bits(sym, ntiles, code, want);
		ck->now->huff_bits(sym, ntiles, code, got);
		ck_same(ck, "nbits", got, want, sizeof(want), 4);
		ck_end(ck);
	}
}

/* Lane starts behind each other, from any bit on. Gaps are below 2^shift; `wide`: some are larger. */
static void random_starts(struct ck *ck, const uint32_t nbits[UW_LANES], uint32_t shift, bool wide,
			  uint32_t start[UW_LANES + 1])
{
	start[0] = ck_rng(ck) % 2 ? 256 : ck_rng(ck) % 600;
	for (unsigned k = 0; k < UW_LANES; k++) {
		start[k + 1] = start[k] + nbits[k] + ck_rng(ck) % (1u << shift);
		if (wide && ck_rng(ck) % 4 == 0)
			start[k + 1] += ck_rng(ck) % 100;
	}
}

static void check_encode(struct ck *ck, const struct ck_op *op)
{
	for (unsigned round = 0; round < 200; round++) {
		uint32_t ntiles = 1 + round % UW_CHUNK_TILES, nbits[UW_LANES], first[UW_LANES + 1], *start;
		size_t n = ntiles * UW_TILE_WEIGHTS, nbytes;
		static uint8_t want[CK_SLOT_NBYTES], back[UW_CHUNK_WEIGHTS];
		struct uw_huff_chunk chunk;
		struct uw_huff_code *code;
		uint8_t *sym, *dst;
		struct code c;

		ck_begin(ck);
		random_code(ck, &c);
		sym = ck_buf(ck, "sym", n, 1);
		code = ck_buf(ck, "code", sizeof(c.code), 1);
		start = ck_buf(ck, "start", sizeof(first), 4);
		memcpy(code, c.code, sizeof(c.code));
		random_symbols(ck, &c, ntiles, sym);
		ck->ref->huff_bits(sym, ntiles, code, nbits);
		random_starts(ck, nbits, round % 4, round % 3 == 0, first);
		memcpy(start, first, sizeof(first));
		nbytes = (start[UW_LANES] + 7) / 8;
		dst = ck_buf(ck, "dst", nbytes, 1);
		memset(dst + start[0] / 8, 0, nbytes - start[0] / 8); /* what lies before is not the lanes' */
		memset(want, 0, sizeof(want));
		memcpy(want, dst, nbytes);
		ck->ref->huff_encode(sym, ntiles, code, start, want);
		ck->now->huff_encode(sym, ntiles, code, start, dst);
		ck_same(ck, "dst", dst, want, nbytes, 1);
		ck_end(ck);

		memcpy(want, dst, nbytes);
		chunk = (struct uw_huff_chunk){ .src = want, .shift = 3, .out = back };
		memcpy(chunk.start, first, sizeof(first));
		ck->now->huff_decode(&chunk, 1, ntiles, c.table);
		for (size_t p = 0; p < n; p++) {
			if (back[p] != c.values[sym[p]])
				ck_fail(ck, "decode(encode(x)) differs at %zu of %zu", p, n);
		}
	}
}

static uint32_t random_end(struct ck *ck, uint32_t from, unsigned kind)
{
	return kind == 0 ? from : from + ck_rng(ck) % (kind == 1 ? 64u : kind == 2 ? 1792u : 2302u << 3);
}

/* Fills chunk i: good lanes, good ones with damage, or none at all. */
static void random_chunk(struct ck *ck, const struct code *c, uint32_t ntiles, struct uw_huff_chunk *chunk)
{
	static uint8_t stream[CK_SLOT_NBYTES];
	unsigned kind = ck_rng(ck) % 8, lens = ck_rng(ck) % 4;
	uint32_t nbits[UW_LANES];
	uint8_t sym[UW_CHUNK_WEIGHTS], *src;
	size_t nbytes;

	chunk->shift = ck_rng(ck) % 4;
	chunk->good = ck_rng(ck) % 2;
	if (kind < 6) {
		random_symbols(ck, c, ntiles, sym);
		ck->ref->huff_bits(sym, ntiles, c->code, nbits);
		random_starts(ck, nbits, chunk->shift, kind == 5, chunk->start);
		memset(stream, 0, sizeof(stream));
		ck->ref->huff_encode(sym, ntiles, c->code, chunk->start, stream);
	} else {
		chunk->start[0] = ck_rng(ck) % 600;
		for (unsigned k = 0; k < UW_LANES; k++)
			chunk->start[k + 1] = random_end(ck, chunk->start[k], lens);
		ck_random(ck, stream, sizeof(stream));
		if (kind == 7)
			memset(stream, ck_rng(ck) % 2 ? 0xFF : 0, sizeof(stream));
	}
	if (kind == 3) { /* the last lane ends elsewhere: nearly right, or far off */
		uint32_t room = chunk->start[UW_LANES] - chunk->start[UW_LANES - 1];

		chunk->start[UW_LANES] -= ck_rng(ck) % (ck_rng(ck) % 2 ? 9 : room);
	} else if (kind == 4) {
		for (unsigned n = ck_rng(ck) % 4; n-- > 0;)
			stream[ck_rng(ck) % (chunk->start[UW_LANES] / 8)] ^= (uint8_t)(1u << ck_rng(ck) % 8);
		chunk->shift = ck_rng(ck) % 4;
	}
	nbytes = chunk->start[UW_LANES] / 8 + SLACK_NBYTES;
	src = ck_buf(ck, "src", nbytes, 1);
	memcpy(src, stream, nbytes);
	for (size_t i = (chunk->start[UW_LANES] + 7) / 8; kind < 6 && i < nbytes; i++)
		src[i] = (uint8_t)ck_rng(ck);
	chunk->src = src;
	if (ck_rng(ck) % 2) { /* hints may be any address: NULL, and one that faults if it is more than a hint */
		chunk->next = src + nbytes + CK_SLOT_NBYTES;
		chunk->plane = ck->arenas[0] - 1;
	}
}

static void check_decode(struct ck *ck, const struct ck_op *op)
{
	for (unsigned round = 0; round < 200; round++) {
		uint32_t ntiles = 1 + ck_rng(ck) % UW_CHUNK_TILES, n = 1 + ck_rng(ck) % UW_HUFF_BATCH;
		struct uw_huff_chunk want[UW_HUFF_BATCH], *got;
		struct uw_huff_entry *table;
		struct code c;

		ck_begin(ck);
		random_code(ck, &c);
		table = ck_buf(ck, "table", sizeof(c.table), 1);
		got = ck_buf(ck, "chunks", n * sizeof(*got), _Alignof(struct uw_huff_chunk));
		memcpy(table, c.table, sizeof(c.table));
		memset(want, 0, sizeof(want));
		for (uint32_t i = 0; i < n; i++) {
			random_chunk(ck, &c, ntiles, &want[i]);
			memcpy(&got[i], &want[i], sizeof(*got));
			want[i].out = ck_buf(ck, "want", ntiles * UW_TILE_WEIGHTS, 64);
			got[i].out = ck_buf(ck, "out", ntiles * UW_TILE_WEIGHTS, 64);
		}
		ck->ref->huff_decode(want, n, ntiles, table);
		ck->now->huff_decode(got, n, ntiles, table);
		for (uint32_t i = 0; i < n; i++) {
			ck_same(ck, "out", got[i].out, want[i].out, ntiles * UW_TILE_WEIGHTS, 1);
			if (got[i].good != want[i].good)
				ck_fail(ck, "chunk %u of %u is %s", i, n, want[i].good ? "good" : "not good");
			if (got[i].src != want[i].src || got[i].shift != want[i].shift || got[i].next != want[i].next ||
			    got[i].plane != want[i].plane ||
			    memcmp(got[i].start, want[i].start, sizeof(want[i].start)) != 0)
				ck_fail(ck, "changes its chunks");
		}
		ck_end(ck);
	}
}

/* ---- speed: chunks of a Gaussian ---- */

struct bench {
	struct uw_huff_chunk chunks[UW_HUFF_BATCH];
	struct code c;
	uint32_t nbits[UW_LANES];
	uint8_t sym[UW_HUFF_BATCH][UW_CHUNK_WEIGHTS];
	_Alignas(64) uint8_t out[UW_HUFF_BATCH][UW_CHUNK_WEIGHTS];
	uint8_t src[UW_HUFF_BATCH][UW_CHUNK_WEIGHTS];
};

static void run_bits(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;

	for (unsigned i = 0; i < UW_HUFF_BATCH; i++)
		ops->huff_bits(b->sym[i], UW_CHUNK_TILES, b->c.code, b->nbits);
}

/* Over what is already there: ORed again, the same bits stay the same. */
static void run_encode(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;

	for (unsigned i = 0; i < UW_HUFF_BATCH; i++)
		ops->huff_encode(b->sym[i], UW_CHUNK_TILES, b->c.code, b->chunks[i].start, b->src[i]);
}

static void run_decode(void *ctx, const struct uw_cpu_ops *ops)
{
	struct bench *b = ctx;

	ops->huff_decode(b->chunks, UW_HUFF_BATCH, UW_CHUNK_TILES, b->c.table);
}

static void bench(struct ck *ck, const struct ck_op *op, void (*run)(void *ctx, const struct uw_cpu_ops *ops))
{
	static const uint8_t lens[UW_SYMBOLS] = { 2, 1, 4, 3, 6, 5, 7, 7 };
	static struct bench b;
	struct ck_work work = { .where = "hot", .nbytes = 2 * sizeof(b.out), .nrounds = 15, .run = run, .ctx = &b };

	memset(&b, 0, sizeof(b));
	memcpy(b.c.lens, lens, sizeof(lens));
	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		b.c.values[s] = (uint8_t)s;
	uw_huff_codes(b.c.lens, b.c.code);
	uw_huff_window_table(b.c.lens, b.c.values, b.c.table);
	for (unsigned i = 0; i < UW_HUFF_BATCH; i++) {
		for (unsigned p = 0; p < UW_CHUNK_WEIGHTS; p++)
			b.sym[i][p] = b.c.table[ck_rng(ck) % 128].value;
		b.chunks[i] = (struct uw_huff_chunk){
			.src = b.src[i], .shift = 3, .out = b.out[i], .next = b.src[i], .plane = b.out[i]
		};
		ck->ref->huff_bits(b.sym[i], UW_CHUNK_TILES, b.c.code, b.nbits);
		b.chunks[i].start[0] = 256;
		for (unsigned k = 0; k < UW_LANES; k++)
			b.chunks[i].start[k + 1] = b.chunks[i].start[k] + b.nbits[k];
		ck->ref->huff_encode(b.sym[i], UW_CHUNK_TILES, b.c.code, b.chunks[i].start, b.src[i]);
	}
	ck_measure(ck, op, &work);
}

static void bench_bits(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_bits);
}

static void bench_encode(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_encode);
}

static void bench_decode(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, run_decode);
}

#define ENTRY(member) offsetof(struct uw_cpu_ops, member)

const struct ck_op ck_huffman[] = {
	{ "huff_bits", ENTRY(huff_bits), UW_ORDER_BYTES, check_bits, bench_bits },
	{ "huff_encode", ENTRY(huff_encode), UW_ORDER_BYTES, check_encode, bench_encode },
	{ "huff_decode", ENTRY(huff_decode), UW_ORDER_BYTES, check_decode, bench_decode },
	{ NULL, 0, UW_ORDER_BYTES, NULL, NULL },
};
