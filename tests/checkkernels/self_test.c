/* SPDX-License-Identifier: Apache-2.0 */
/* Does the harness see what it is there for? Wrong variants, each wrong in one way and rarely. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkkernels.h"

static struct uw_cpu_ops c; /* portable */

static volatile uint8_t sink;

static void split_one_value(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e)
{
	c.split[UW_ORDER_TILED](weights, ld, s, e);
	if (weights[7 * ld + 3] == 0x80FF)
		s[100] ^= 1;
}

static void split_reads_behind(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e)
{
	c.split[UW_ORDER_LINEAR](weights, ld, s, e);
	sink = (uint8_t)weights[UW_TILE_WEIGHTS];
}

static void merge_beside(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store)
{
	c.merge[UW_ORDER_TILED](weights, ld, s, e, store);
	if (ld > 64)
		weights[3 * ld + 64] = 1;
}

static void merge_stream_only(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store)
{
	c.merge[UW_ORDER_LINEAR](weights, ld, s, e, store);
	if (store == UW_STORE_STREAM)
		weights[1023] ^= 0x8000;
}

static void put_rows_upwards(uint16_t *const rows[UW_TILE_ROWS], const uint16_t *tile, enum uw_store store)
{
	c.put_rows(rows, tile, store);
	if (rows[15] < rows[0])
		rows[15][63] ^= 1;
}

static void histogram_narrow(const uint8_t *e, size_t n, uint32_t counts[256])
{
	uint32_t more[256] = { 0 };

	c.histogram(e, n, more);
	for (unsigned v = 0; v < 256; v++)
		counts[v] += more[v] % 8192; /* as 13-bit counters would */
}

static void symbols_escapes(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym, uint64_t *escapes)
{
	c.symbols(e, n, map, sym, escapes);
	escapes[n / 64 - 1] &= UINT64_MAX >> 1;
}

static void encode_behind(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code *code, const uint32_t *start,
			  uint8_t *dst)
{
	c.huff_encode(sym, ntiles, code, start, dst);
	dst[(start[UW_LANES] + 7) / 8] = 0;
}

static void encode_in_front(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code *code, const uint32_t *start,
			    uint8_t *dst)
{
	c.huff_encode(sym, ntiles, code, start, dst);
	if (start[0] >= 8)
		dst[start[0] / 8 - 1] = 0;
}

static void decode_reads_behind(struct uw_huff_chunk *chunks, uint32_t n, uint32_t ntiles,
				const struct uw_huff_entry *table)
{
	c.huff_decode(chunks, n, ntiles, table);
	sink = chunks[n - 1].src[chunks[n - 1].start[UW_LANES] / 8 + 231];
}

static void decode_good_lane(struct uw_huff_chunk *chunks, uint32_t n, uint32_t ntiles,
			     const struct uw_huff_entry *table)
{
	c.huff_decode(chunks, n, ntiles, table);
	if (n == UW_HUFF_BATCH && chunks[0].good)
		chunks[3].good = true;
}

static void pack_one_position(const uint8_t *sym, uint8_t *nib)
{
	c.p4_pack(sym, nib);
	if (sym[1000] == 13 && sym[1001] == 2)
		nib[5] ^= 1;
}

static void p4_reads_in_front(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib, const uint8_t *pairs,
			      enum uw_store store)
{
	sink = pairs[-1];
	c.p4_decode[UW_ORDER_LINEAR](weights, ld, s, nib, pairs, store);
}

static unsigned caught(struct ck *ck, const struct ck_op *ops, const char *name, const char *how)
{
	for (; ops->name != NULL; ops++) {
		for (uint64_t seed = 1; strcmp(ops->name, name) == 0 && seed <= 20; seed++) {
			ck->exhaustive = seed > 10; /* late: there ASan would end what guard pages catch */
			if (!ck_run(ck, ops, seed)) {
				printf("%-16s that %s: caught\n", name, how);
				return 0;
			}
		}
	}
	printf("%-16s that %s: NOT CAUGHT\n", name, how);
	return 1;
}

unsigned ck_self_test(struct ck *ck)
{
	struct uw_cpu_ops now;
	unsigned nmissed = 0;

	c = *ck->ref;
	ck->now = &now;
	ck->level = "self";
	ck->quiet = true;
#define WRONG(family, name, member, fn, how) \
	do { \
		now = c; \
		now.member = fn; \
		nmissed += caught(ck, family, name, how); \
	} while (0)
	WRONG(ck_split_merge, "split_tiled", split[UW_ORDER_TILED], split_one_value, "errs for one value in one place");
	WRONG(ck_split_merge, "split_linear", split[UW_ORDER_LINEAR], split_reads_behind, "reads behind its tile");
	WRONG(ck_split_merge, "merge_tiled", merge[UW_ORDER_TILED], merge_beside, "writes between the rows");
	WRONG(ck_split_merge, "merge_linear", merge[UW_ORDER_LINEAR], merge_stream_only, "errs in streaming stores");
	WRONG(ck_split_merge, "put_rows", put_rows, put_rows_upwards, "takes rows to ascend");
	WRONG(ck_symbols, "histogram", histogram, histogram_narrow, "overflows");
	WRONG(ck_symbols, "symbols", symbols, symbols_escapes, "loses an escape in the last place");
	WRONG(ck_huffman, "huff_encode", huff_encode, encode_behind, "writes behind its lanes");
	WRONG(ck_huffman, "huff_encode", huff_encode, encode_in_front, "clears the byte in front");
	WRONG(ck_huffman, "huff_decode", huff_decode, decode_reads_behind, "reads one byte beyond its slack");
	WRONG(ck_huffman, "huff_decode", huff_decode, decode_good_lane, "mixes up whose lanes are good");
	WRONG(ck_p4, "p4_pack", p4_pack, pack_one_position, "errs for two neighbours");
	WRONG(ck_p4, "p4_decode_linear", p4_decode[UW_ORDER_LINEAR], p4_reads_in_front, "reads before its palette");
#undef WRONG
	return nmissed;
}
