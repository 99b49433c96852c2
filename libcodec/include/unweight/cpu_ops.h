/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec's hot loops as a table. libcodec fills it with portable C, which is the meaning of each
 * entry; kernels/ replaces entries by faster variants that give the same results.
 *
 * Kernels allocate nothing, do no I/O and use no globals. Buffers do not overlap. Alignment is that of
 * the type unless a line says more. "Position order" is that of SPEC.md section 5; e[] are exponents, sym[] symbols,
 * one byte per weight; s[] is one tile of the S plane, nib[] one tile of the P4 nibble plane.
 */
#ifndef UNWEIGHT_CPU_OPS_H
#define UNWEIGHT_CPU_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * What the next 7 bits of a lane mean: value is a symbol or an exponent, as the table's builder chose; nbits is 1 to
 * 7. A table is that of a complete prefix code, so bit 6 of a window never changes nbits.
 */
struct uw_huff_entry {
	uint8_t value;
	uint8_t nbits;
};

/* A symbol's code as it stands in the bit string: first bit lowest. nbits 0: the symbol does not occur. */
struct uw_huff_code {
	uint8_t bits;
	uint8_t nbits;
};

/* Chunks that are decoded side by side: enough independent lanes to fill wide vectors and hide their latency. */
#define UW_HUFF_BATCH 4u

struct uw_huff_chunk {
	const uint8_t *src;
	uint32_t start[UW_LANES + 1]; /* of each lane, in bits from src; the last one is the end */
	uint32_t shift;
	bool good;                    /* set by the decoder */
	uint8_t *out;                 /* 1024 * ntiles values in position order; alignment 64 */
	/* What the caller reads next, to be prefetched meanwhile; only hints, any address will do. */
	const uint8_t *next;          /* a stream of about this one's size */
	const uint8_t *plane;         /* 1024 * ntiles bytes */
};

/* One tile: 1024 weights to S plane and exponents. Tiled: 16 rows of 64 weights, `ld` weights apart. Linear: 1024
 * consecutive weights, ld is not used. */
typedef void (*uw_split_fn)(const uint16_t *weights, size_t ld, uint8_t s[UW_TILE_WEIGHTS],
			    uint8_t e[UW_TILE_WEIGHTS]);
/* The inverse. */
typedef void (*uw_merge_fn)(uint16_t *weights, size_t ld, const uint8_t s[UW_TILE_WEIGHTS],
			    const uint8_t e[UW_TILE_WEIGHTS], enum uw_store store);
/* Adds the values of e[0 .. n) to counts; n is a multiple of UW_TILE_WEIGHTS and at most UW_CHUNK_WEIGHTS. */
typedef void (*uw_histogram_fn)(const uint8_t *e, size_t n, uint32_t counts[256]);
/* sym[i] = map[e[i]] & 15; bit i % 64 of escapes[i / 64] = bit 7 of map[e[i]]. n as above. */
typedef void (*uw_symbols_fn)(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym, uint64_t *escapes);
/* nbits[k] = bits of lane k's codes, for a chunk of ntiles tiles. */
typedef void (*uw_huff_bits_fn)(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
				uint32_t nbits[UW_LANES]);
/* Writes the codes of lane k from bit start[k] of dst on; bits are ORed into dst, which is zero before; start[k] +
 * its bits <= start[k + 1]. Touches no byte at or beyond (start[32] + 7) / 8. */
typedef void (*uw_huff_encode_fn)(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
				  const uint32_t start[UW_LANES + 1], uint8_t *dst);
/* Decodes n chunks of ntiles tiles each with one table; n is 1 to UW_HUFF_BATCH. Lane k of a chunk is decoded from
 * bit start[k] of src on: 32 * ntiles values, stored at the lane's positions of out[]. Reads up to 231 bytes beyond
 * start[32] / 8. Sets good to whether every lane ends within start[k + 1] and less than 2^shift bits before it; out
 * is complete even if not. */
typedef void (*uw_huff_decode_fn)(struct uw_huff_chunk *chunks, uint32_t n, uint32_t ntiles,
				  const struct uw_huff_entry table[128]);
/* One tile of symbols to the nibble plane. */
typedef void (*uw_p4_pack_fn)(const uint8_t sym[UW_TILE_WEIGHTS], uint8_t nib[UW_TILE_WEIGHTS / 2]);
/* One tile of the nibble plane to exponents in position order. pairs[k] < 128. */
typedef void (*uw_p4_exponents_fn)(const uint8_t nib[UW_TILE_WEIGHTS / 2], const uint8_t pairs[UW_PAIRS],
				   uint8_t e[UW_TILE_WEIGHTS]);
/* One tile from planes to weights; tiled and linear as for split. pairs[k] < 128. */
typedef void (*uw_p4_decode_fn)(uint16_t *weights, size_t ld, const uint8_t s[UW_TILE_WEIGHTS],
				const uint8_t nib[UW_TILE_WEIGHTS / 2], const uint8_t pairs[UW_PAIRS],
				enum uw_store store);
/* Rows of 64 weights that lie anywhere to one tile, one after the other; it is aligned to 64. */
typedef void (*uw_get_rows_fn)(const uint16_t *const rows[UW_TILE_ROWS], uint16_t tile[UW_TILE_WEIGHTS]);
/* The inverse. */
typedef void (*uw_put_rows_fn)(uint16_t *const rows[UW_TILE_ROWS], const uint16_t tile[UW_TILE_WEIGHTS],
			       enum uw_store store);
/* Makes streaming stores visible to other threads. */
typedef void (*uw_fence_fn)(void);

struct uw_cpu_ops {
	uw_split_fn split[3];         /* by enum uw_order; [UW_ORDER_BYTES] is NULL */
	uw_merge_fn merge[3];
	uw_histogram_fn histogram;
	uw_symbols_fn symbols;
	uw_huff_bits_fn huff_bits;
	uw_huff_encode_fn huff_encode;
	uw_huff_decode_fn huff_decode;
	uw_p4_pack_fn p4_pack;
	uw_p4_exponents_fn p4_exponents;
	uw_p4_decode_fn p4_decode[3];
	uw_get_rows_fn get_rows;
	uw_put_rows_fn put_rows;
	uw_fence_fn fence;            /* call once after the last streaming store */
};

/* Fills every entry with portable C. */
void uw_cpu_ops_init_c(struct uw_cpu_ops *ops);

#ifdef __cplusplus
}
#endif
#endif
