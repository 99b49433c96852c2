/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fragments: the eight weights of one lane and step (SPEC.md section 5), from the planes that hold them. Host and
 * device.
 *
 *     tile of 16 x 64, step j = columns 16 j .. 16 j + 16        lane = 4 g + q
 *
 *                  columns  2q 2q+1          8+2q 8+2q+1
 *     row g                [ a0: i=0 i=1 ]  [ a2: i=4 i=5 ]      four words of two weights, low half first:
 *     row g + 8            [ a1: i=2 i=3 ]  [ a3: i=6 i=7 ]      the A fragment of mma m16n8k16 and of wgmma m64k16
 *
 * S0 holds sign and mantissa of a0 and, rotated left by 8, of a1; S1 those of a2 and a3. A fragment is built eight
 * bits off where the plane is and rotated once at the end: the halves need no shifts of their own.
 *
 * Operations per weight (LOP3, PRMT, SHF; counted by tests/cuda/gate.py): from nibbles 1.9, from exponent words 0.75,
 * from window entries 1.25. Placing entries: in nibble words 1.6, in exponent words 0.75.
 */
#ifndef UW_FRAGMENT_CUH
#define UW_FRAGMENT_CUH

#include "ptx.cuh"

/* Fields of a chunk word (SPEC.md 6.2). */
#define UW_WORD_START(word) ((uint32_t)(word) & 0x3FFFFF)
#define UW_WORD_PATCH(word) ((uint32_t)((word) >> 22) & 0xFFFFF)
#define UW_WORD_BASE(word) ((uint32_t)((word) >> 42) & 0x7FF)
#define UW_WORD_TABLE(word) ((uint32_t)((word) >> 53) & 15)
#define UW_WORD_SHIFT(word) ((uint32_t)((word) >> 57) & 7)

#define UW_S_EVEN 0x807F807Fu /* sign and mantissa of a0, a2 in an S word; the exponents of a0, a2 are the other bits */
#define UW_S_ODD 0x7F807F80u  /* those of a1, a3, rotated left by 8 */

/*
 * From a nibble word I (SPEC.md 6.4) and the palette, byte k = pair k, each below 128. 15 operations. The inner select
 * may leave anything where the outer one takes S, so three classes of bits need two selects.
 */
UW_HOST_DEVICE void uw_fragment_p4(uint32_t s0, uint32_t s1, uint32_t i, uint32_t pairs0, uint32_t pairs1,
				   uint32_t a[4])
{
	uint32_t selector = i & 0x77777777u; /* bit 3 of a selector would mean the sign */
	uint32_t top0 = uw_prmt(pairs0, pairs1, selector), top1 = uw_prmt(pairs0, pairs1, selector >> 16);
	uint32_t low1 = uw_rotr(i, 28);

	a[0] = uw_select(s0, uw_select(top0, i, 0x7F007F00u), UW_S_EVEN);
	a[1] = uw_rotr(uw_select(s0, uw_select(top0, i, 0x007F007Fu), UW_S_ODD), 8);
	a[2] = uw_select(s1, uw_select(top1, low1, 0x7F007F00u), UW_S_EVEN);
	a[3] = uw_rotr(uw_select(s1, uw_select(top1, low1, 0x007F007Fu), UW_S_ODD), 8);
}

/*
 * From exponent words: E0 and E1 hold the exponents of a fragment in the bits that S0 and S1 leave free,
 *     E0 = (a0 & ~UW_S_EVEN) | (rotl(a1, 8) & ~UW_S_ODD)        E1 the same of a2, a3.
 * 6 operations, any exponents. The exponent plane has the layout of the S plane: E0 at 16 lane + 4 j of a tile's 1024
 * bytes, E1 at 512 +.
 */
UW_HOST_DEVICE void uw_fragment_e8(uint32_t s0, uint32_t s1, uint32_t e0, uint32_t e1, uint32_t a[4])
{
	a[0] = uw_select(s0, e0, UW_S_EVEN);
	a[1] = uw_rotr(uw_select(s0, e0, UW_S_ODD), 8);
	a[2] = uw_select(s1, e1, UW_S_EVEN);
	a[3] = uw_rotr(uw_select(s1, e1, UW_S_ODD), 8);
}

/*
 * Window entries: what the next 7 bits of a lane mean, 16 bits. The code's length is in the lowest bits; five of them
 * are a shift count as they stand, and eight entries added up have their lengths' sum in the low six.
 *
 *     bits 0 .. 3 length, 3 .. 7 zero
 *     exponent entry: bits 7 .. 15 the exponent
 *     symbol entry:   bits 8 .. 16 the symbol's nibble twice: bit 3 s mod 2, bits 0 .. 3 s / 2
 */
#define UW_ENTRY_LENGTHS 63u

UW_HOST_DEVICE uint32_t uw_entry_exponent(uint32_t exponent, uint32_t length)
{
	return exponent << 7 | length;
}

UW_HOST_DEVICE uint32_t uw_entry_symbol(uint32_t s, uint32_t length)
{
	return ((s & 1) << 3 | s >> 1) * 0x1100u | length;
}

/* From eight exponent entries: a pair of them has its exponents where a fragment word wants them. 10 operations. */
UW_HOST_DEVICE void uw_fragment_entries(uint32_t s0, uint32_t s1, const uint32_t entry[8], uint32_t a[4])
{
	a[0] = uw_select(s0, uw_prmt(entry[0], entry[1], 0x5410), UW_S_EVEN);
	a[1] = uw_select(uw_rotr(s0, 8), uw_prmt(entry[2], entry[3], 0x5410), UW_S_EVEN);
	a[2] = uw_select(s1, uw_prmt(entry[4], entry[5], 0x5410), UW_S_EVEN);
	a[3] = uw_select(uw_rotr(s1, 8), uw_prmt(entry[6], entry[7], 0x5410), UW_S_EVEN);
}

/* Four exponent entries to an exponent word: E0 of the first four, E1 of the others. 3 operations. */
UW_HOST_DEVICE uint32_t uw_place_exponents(const uint32_t entry[4])
{
	return uw_select(uw_prmt(entry[0], entry[1], 0x5410), uw_prmt(entry[2], entry[3], 0x4105), ~UW_S_EVEN);
}

/*
 * Eight symbol entries to a nibble word. Gathers the bytes [0 1 2 3] and [4 5 6 7]; the word's upper nibbles are the
 * pairs of the weights [0 1 4 5], its lower ones those of [3 2 7 6], bits 7 of its bytes s mod 2 of [0 2 1 3], bits 3
 * that of [4 6 5 7]. 13 operations.
 */
UW_HOST_DEVICE uint32_t uw_place_nibbles(const uint32_t entry[8])
{
	uint32_t x = uw_prmt(uw_prmt(entry[0], entry[1], 0x0051), uw_prmt(entry[2], entry[3], 0x0051), 0x5410);
	uint32_t y = uw_prmt(uw_prmt(entry[4], entry[5], 0x0051), uw_prmt(entry[6], entry[7], 0x0051), 0x5410);
	uint32_t low = uw_select(uw_prmt(x, x, 0x3120), uw_prmt(y, y, 0x3120), 0x80808080u);

	return uw_select(uw_prmt(x, y, 0x5410), uw_select(uw_prmt(x, y, 0x6723), low, 0x07070707u), 0x70707070u);
}

/* ---- a tile in shared memory ---- */

/*
 * 16 rows of 128 bytes. The eight 16-byte columns of row r change places by XOR with r mod 8: the 32 words that a warp
 * stores for one fragment register, and the 16-byte columns of any rows that it loads, fall into different banks.
 * Linear order is treated as 16 rows of 64 consecutive weights.
 */
#define UW_STAGED_TILE_NBYTES 2048u

UW_HOST_DEVICE uint32_t uw_staged_vector(uint32_t row, uint32_t vector)
{
	return 128 * row + 16 * (vector ^ (row & 7));
}

/* Where the two bytes of the weight at position p (0 .. 1024) lie. */
UW_HOST_DEVICE uint32_t uw_staged_weight(bool linear, uint32_t p)
{
	uint32_t step = p / 256, lane = p / 8 % 32, i = p % 8;
	uint32_t row = linear ? p / 64 : lane / 4 + 8 * (i / 2 % 2);
	uint32_t col = linear ? p % 64 : 16 * step + 2 * (lane % 4) + i % 2 + 8 * (i / 4);

	return uw_staged_vector(row, col / 8) + 2 * (col % 8);
}
#endif
