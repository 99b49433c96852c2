/* SPDX-License-Identifier: Apache-2.0 */
/* The loops for x86-64; contracts in unweight/cpu_ops.h. A file is compiled for the level in its name. */
#ifndef UW_X86_H
#define UW_X86_H

#include "unweight/cpu_ops.h"
#include "unweight/linear_ops.h"

/* ---- AVX2, BMI1, BMI2 ---- */

void uw_split_tiled_avx2(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e);
void uw_split_linear_avx2(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e);
void uw_histogram_avx2(const uint8_t *e, size_t n, uint32_t counts[256]);
void uw_symbols_avx2(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym, uint64_t *escapes);
void uw_huff_bits_avx2(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
		       uint32_t nbits[UW_LANES]);
void uw_huff_encode_avx2(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
			 const uint32_t start[UW_LANES + 1], uint8_t *dst);

void uw_merge_tiled_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store);
void uw_merge_linear_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store);
void uw_huff_decode_avx2(struct uw_huff_chunk *chunks, uint32_t n, uint32_t ntiles,
			 const struct uw_huff_entry table[128]);
void uw_p4_pack_avx2(const uint8_t *sym, uint8_t *nib);
void uw_p4_decode_tiled_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib, const uint8_t *pairs,
			     enum uw_store store);
void uw_p4_decode_linear_avx2(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib,
			      const uint8_t *pairs, enum uw_store store);
void uw_get_rows_avx2(const uint16_t *const rows[UW_TILE_ROWS], uint16_t *tile);
void uw_put_rows_avx2(uint16_t *const rows[UW_TILE_ROWS], const uint16_t *tile, enum uw_store store);
void uw_fence_avx2(void);

/* ---- AVX-512 F, BW, VL, DQ, VBMI, VBMI2, BITALG, GFNI ---- */

void uw_split_tiled_avx512(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e);
void uw_split_linear_avx512(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e);
void uw_histogram_avx512(const uint8_t *e, size_t n, uint32_t counts[256]);
void uw_symbols_avx512(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym, uint64_t *escapes);
void uw_huff_bits_avx512(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
			 uint32_t nbits[UW_LANES]);
void uw_huff_encode_avx512(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
			   const uint32_t start[UW_LANES + 1], uint8_t *dst);

void uw_merge_tiled_avx512(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store);
void uw_merge_linear_avx512(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store);
void uw_huff_decode_avx512(struct uw_huff_chunk *chunks, uint32_t n, uint32_t ntiles,
			   const struct uw_huff_entry table[128]);
void uw_p4_pack_avx512(const uint8_t *sym, uint8_t *nib);
void uw_p4_decode_tiled_avx512(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib,
			       const uint8_t *pairs, enum uw_store store);
void uw_p4_decode_linear_avx512(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib,
				const uint8_t *pairs, enum uw_store store);
void uw_get_rows_avx512(const uint16_t *const rows[UW_TILE_ROWS], uint16_t *tile);
void uw_put_rows_avx512(uint16_t *const rows[UW_TILE_ROWS], const uint16_t *tile, enum uw_store store);

/* ---- y = W x (unweight/linear_ops.h): AVX2 with FMA; AVX-512 as above with BF16; the same with AMX ---- */

void uw_linear_kernel_avx2(struct uw_linear_kernel *kernel);
void uw_linear_kernel_avx512bf16(struct uw_linear_kernel *kernel);
void uw_linear_kernel_amx(struct uw_linear_kernel *kernel);

#endif
