/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The meaning of every codec loop, in portable C.
 *
 * A fragment is the eight weights of one lane and step as four words a0..a3 of two weights each. The S plane keeps
 * sign and mantissa of a0 and a2 where they are and those of a1 and a3 rotated by a byte into the places of the
 * exponents, so that a decoder needs two bit selections and one rotation per two words (SPEC.md section 5).
 */
#include <string.h>

#include "position.h"
#include "prefetch.h"
#include "unweight/bytes.h"
#include "unweight/cpu_ops.h"

#define MASK_EVEN 0x807F807Fu /* sign and mantissa of both weights of a0, a2 */
#define MASK_ODD 0x7F807F80u  /* those of a1, a3, rotated left by 8 */

static inline uint32_t rotl(uint32_t x, unsigned n)
{
	return x << n | x >> (32 - n);
}

static inline uint32_t pair(const uint16_t *p)
{
	return p[0] | (uint32_t)p[1] << 16;
}

static inline void put_pair(uint16_t *p, uint32_t a)
{
	p[0] = (uint16_t)a;
	p[1] = (uint16_t)(a >> 16);
}

static inline void split_fragment(const uint32_t a[4], uint8_t *s, uint8_t *e)
{
	uw_store_le32(s, (a[0] & MASK_EVEN) | (rotl(a[1], 8) & MASK_ODD));
	uw_store_le32(s + 512, (a[2] & MASK_EVEN) | (rotl(a[3], 8) & MASK_ODD));
	for (unsigned r = 0; r < 4; r++) {
		e[2 * r] = (uint8_t)(a[r] >> 7);
		e[2 * r + 1] = (uint8_t)(a[r] >> 23);
	}
}

static inline void merge_fragment(uint32_t a[4], const uint8_t *s, const uint8_t *e)
{
	uint32_t s0 = uw_load_le32(s), s1 = uw_load_le32(s + 512);

	a[0] = s0 & MASK_EVEN;
	a[1] = rotl(s0 & MASK_ODD, 24);
	a[2] = s1 & MASK_EVEN;
	a[3] = rotl(s1 & MASK_ODD, 24);
	for (unsigned r = 0; r < 4; r++)
		a[r] |= (uint32_t)e[2 * r] << 7 | (uint32_t)e[2 * r + 1] << 23;
}

static void split_tiled_c(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e)
{
	for (uint32_t step = 0; step < 4; step++) {
		for (uint32_t lane = 0; lane < UW_LANES; lane++) {
			const uint16_t *w = weights + uw_position_row(lane, 0) * ld + uw_position_col(step, lane, 0);
			uint32_t a[4] = { pair(w), pair(w + 8 * ld), pair(w + 8), pair(w + 8 * ld + 8) };

			split_fragment(a, s + 16 * lane + 4 * step, e + 256 * step + 8 * lane);
		}
	}
}

static void merge_tiled_c(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store)
{
	/* rows lie far apart, and the first step meets all of them */
	for (uint32_t row = 0; row < UW_TILE_ROWS; row++) {
		uw_prefetch(weights + row * ld);
		uw_prefetch(weights + row * ld + UW_TILE_COLS / 2);
	}
	for (uint32_t step = 0; step < 4; step++) {
		for (uint32_t lane = 0; lane < UW_LANES; lane++) {
			uint16_t *w = weights + uw_position_row(lane, 0) * ld + uw_position_col(step, lane, 0);
			uint32_t a[4];

			merge_fragment(a, s + 16 * lane + 4 * step, e + 256 * step + 8 * lane);
			put_pair(w, a[0]);
			put_pair(w + 8 * ld, a[1]);
			put_pair(w + 8, a[2]);
			put_pair(w + 8 * ld + 8, a[3]);
		}
	}
}

static void split_linear_c(const uint16_t *weights, size_t ld, uint8_t *s, uint8_t *e)
{
	for (uint32_t step = 0; step < 4; step++) {
		for (uint32_t lane = 0; lane < UW_LANES; lane++) {
			const uint16_t *w = weights + 256 * step + 8 * lane;
			uint32_t a[4] = { pair(w), pair(w + 2), pair(w + 4), pair(w + 6) };

			split_fragment(a, s + 16 * lane + 4 * step, e + 256 * step + 8 * lane);
		}
	}
}

static void merge_linear_c(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *e, enum uw_store store)
{
	for (uint32_t step = 0; step < 4; step++) {
		for (uint32_t lane = 0; lane < UW_LANES; lane++) {
			uint16_t *w = weights + 256 * step + 8 * lane;
			uint32_t a[4];

			merge_fragment(a, s + 16 * lane + 4 * step, e + 256 * step + 8 * lane);
			for (unsigned r = 0; r < 4; r++)
				put_pair(w + 2 * r, a[r]);
		}
	}
}

/* Four tables: equal neighbours would otherwise wait for each other's store. */
static void histogram_c(const uint8_t *e, size_t n, uint32_t counts[256])
{
	uint16_t part[4][256]; /* n <= 8192: no overflow */

	memset(part, 0, sizeof(part));
	for (size_t i = 0; i < n; i += 4) {
		part[0][e[i]]++;
		part[1][e[i + 1]]++;
		part[2][e[i + 2]]++;
		part[3][e[i + 3]]++;
	}
	for (unsigned v = 0; v < 256; v++)
		counts[v] += (uint32_t)part[0][v] + part[1][v] + part[2][v] + part[3][v];
}

static void symbols_c(const uint8_t *e, size_t n, const uint8_t map[256], uint8_t *sym, uint64_t *escapes)
{
	for (size_t i = 0; i < n; i += 64) {
		uint64_t word = 0;

		for (unsigned k = 0; k < 64; k++) {
			uint8_t m = map[e[i + k]];

			word |= (uint64_t)(m >> 7) << k;
			sym[i + k] = m & 15;
		}
		*escapes++ = word;
	}
}

static void huff_bits_c(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
			uint32_t nbits[UW_LANES])
{
	memset(nbits, 0, UW_LANES * sizeof(*nbits));
	for (uint32_t turn = 0; turn < 4 * ntiles; turn++) {
		for (uint32_t lane = 0; lane < UW_LANES; lane++) {
			for (uint32_t i = 0; i < 8; i++)
				nbits[lane] += code[sym[i]].nbits;
			sym += 8;
		}
	}
}

/* Eight codes make at most 56 bits; with up to 7 bits left from before they fit the accumulator. */
static void huff_encode_c(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
			  const uint32_t start[UW_LANES + 1], uint8_t *dst)
{
	for (uint32_t lane = 0; lane < UW_LANES; lane++) {
		const uint8_t *in = sym + 8 * lane;
		uint8_t *out = dst + start[lane] / 8;
		uint64_t acc = 0;
		uint32_t nacc = start[lane] % 8;

		for (uint32_t turn = 0; turn < 4 * ntiles; turn++, in += 256) {
			for (uint32_t i = 0; i < 8; i++) {
				acc |= (uint64_t)code[in[i]].bits << nacc;
				nacc += code[in[i]].nbits;
			}
			for (; nacc >= 8; nacc -= 8, acc >>= 8)
				*out++ |= (uint8_t)acc;
		}
		if (nacc != 0)
			*out |= (uint8_t)acc;
	}
}

/*
 * The two symbols that a window of TWO_NBITS bits begins with: the values in bits 16 .. 24 and 24 .. 32, and in bits
 * 0 .. 6 the length of both codes, or 0 if they are longer than the window, which is rare.
 */
#define TWO_NBITS 10u
#define TWO_WINDOWS (1u << TWO_NBITS)

static void two_symbol_table(const struct uw_huff_entry table[128], uint32_t twos[TWO_WINDOWS])
{
	for (uint32_t window = 0; window < TWO_WINDOWS; window++) {
		struct uw_huff_entry first = table[window & 127];
		struct uw_huff_entry second = table[window >> first.nbits & 127];
		uint32_t nbits = (uint32_t)first.nbits + second.nbits;

		twos[window] = (uint32_t)first.value << 16 | (uint32_t)second.value << 24 |
			       (nbits <= TWO_NBITS ? nbits : 0);
	}
}

/* Decodes eight symbols of a lane from bit `pos` of src on: 7 + 8 * 7 bits fit 64. Returns the bit behind them. */
static uint32_t decode_eight(const uint8_t *src, uint32_t pos, const struct uw_huff_entry table[128], uint8_t *out)
{
	uint64_t window = uw_load_le64(src + pos / 8) >> pos % 8;

	for (unsigned i = 0; i < 8; i++) {
		struct uw_huff_entry entry = table[window & 127];

		out[i] = entry.value;
		window >>= entry.nbits;
		pos += entry.nbits;
	}
	return pos;
}

/* The same by four look-ups. A window that is too short for two symbols stays as it is, so the last look-up tells. */
static inline uint32_t decode_two_by_two(const uint8_t *src, uint32_t pos, const uint32_t twos[TWO_WINDOWS],
					 const struct uw_huff_entry table[128], uint8_t *out)
{
	uint64_t window = uw_load_le64(src + pos / 8) >> pos % 8;
	uint32_t two[4];

	for (unsigned i = 0; i < 4; i++) {
		two[i] = twos[window & (TWO_WINDOWS - 1)];
		window >>= two[i] & 63;
	}
	if ((two[3] & 63) == 0)
		return decode_eight(src, pos, table, out);
	uw_store_le32(out, two[0] >> 16 | (two[1] & 0xFFFF0000));
	uw_store_le32(out + 4, two[2] >> 16 | (two[3] & 0xFFFF0000));
	return pos + ((two[0] + two[1] + two[2] + two[3]) & 255);
}

/* The part of what the caller reads next that falls to this turn. */
static void prefetch_next(const struct uw_huff_chunk *chunk, uint32_t turn, uint32_t ntiles)
{
	uintptr_t next = (uintptr_t)chunk->next + turn * (chunk->start[UW_LANES] / (32 * ntiles) + 1);

	uw_prefetch((const void *)next);
	uw_prefetch((const void *)(next + 64));
	for (uint32_t n = 0; n < 256; n += 64)
		uw_prefetch((const void *)((uintptr_t)chunk->plane + 256 * turn + n));
}

/* Positions advance by at most 7 * 32 * ntiles bits whatever the data, and the output address does not depend on it. */
static void huff_decode_chunk(struct uw_huff_chunk *chunk, uint32_t ntiles, const uint32_t twos[TWO_WINDOWS],
			      const struct uw_huff_entry table[128])
{
	const uint8_t *src = chunk->src;
	uint8_t *out = chunk->out;
	uint32_t pos[UW_LANES];

	memcpy(pos, chunk->start, sizeof(pos));
	for (uint32_t turn = 0; turn < 4 * ntiles; turn++) {
		prefetch_next(chunk, turn, ntiles);
		for (uint32_t lane = 0; lane < UW_LANES; lane++, out += 8)
			pos[lane] = decode_two_by_two(src, pos[lane], twos, table, out);
	}
	chunk->good = true;
	for (uint32_t lane = 0; lane < UW_LANES; lane++) {
		uint32_t end = chunk->start[lane + 1];

		chunk->good &= pos[lane] <= end && end - pos[lane] < 1u << chunk->shift;
	}
}

static void huff_decode_c(struct uw_huff_chunk *chunks, uint32_t n, uint32_t ntiles,
			  const struct uw_huff_entry table[128])
{
	uint32_t twos[TWO_WINDOWS];

	two_symbol_table(table, twos);
	for (uint32_t c = 0; c < n; c++)
		huff_decode_chunk(&chunks[c], ntiles, twos, table);
}

/* Where the symbol of weight i of a fragment goes in its nibble word: pair index and low exponent bit. */
static const uint8_t pair_shift[8] = { 4, 12, 8, 0, 20, 28, 24, 16 };
static const uint8_t low_shift[8] = { 7, 23, 15, 31, 3, 19, 11, 27 };

static void p4_pack_c(const uint8_t *sym, uint8_t *nib)
{
	for (uint32_t step = 0; step < 4; step++) {
		for (uint32_t lane = 0; lane < UW_LANES; lane++, sym += 8) {
			uint32_t word = 0;

			for (unsigned i = 0; i < 8; i++) {
				word |= (uint32_t)(sym[i] >> 1) << pair_shift[i];
				word |= (uint32_t)(sym[i] & 1) << low_shift[i];
			}
			uw_store_le32(nib + 16 * lane + 4 * step, word);
		}
	}
}

static void p4_exponents_c(const uint8_t *nib, const uint8_t pairs[UW_PAIRS], uint8_t e[UW_TILE_WEIGHTS])
{
	for (uint32_t step = 0; step < 4; step++) {
		for (uint32_t lane = 0; lane < UW_LANES; lane++, e += 8) {
			uint32_t word = uw_load_le32(nib + 16 * lane + 4 * step);

			for (unsigned i = 0; i < 8; i++) {
				uint32_t top = pairs[word >> pair_shift[i] & 7];

				e[i] = (uint8_t)(2 * top + (word >> low_shift[i] & 1));
			}
		}
	}
}

static void p4_decode_tiled_c(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib,
			      const uint8_t pairs[UW_PAIRS], enum uw_store store)
{
	uint8_t e[UW_TILE_WEIGHTS];

	p4_exponents_c(nib, pairs, e);
	merge_tiled_c(weights, ld, s, e, store);
}

static void p4_decode_linear_c(uint16_t *weights, size_t ld, const uint8_t *s, const uint8_t *nib,
			       const uint8_t pairs[UW_PAIRS], enum uw_store store)
{
	uint8_t e[UW_TILE_WEIGHTS];

	p4_exponents_c(nib, pairs, e);
	merge_linear_c(weights, ld, s, e, store);
}

static void get_rows_c(const uint16_t *const rows[UW_TILE_ROWS], uint16_t *tile)
{
	for (uint32_t r = 0; r < UW_TILE_ROWS; r++, tile += UW_TILE_COLS)
		memcpy(tile, rows[r], UW_TILE_COLS * sizeof(*tile));
}

static void put_rows_c(uint16_t *const rows[UW_TILE_ROWS], const uint16_t *tile, enum uw_store store)
{
	/* rows lie far apart, and what is on their right follows soon */
	for (uint32_t r = 0; r < UW_TILE_ROWS; r++) {
		uintptr_t right = (uintptr_t)rows[r] + UW_TILE_COLS * sizeof(*tile);

		uw_prefetch((const void *)right);
		uw_prefetch((const void *)(right + 64));
	}
	for (uint32_t r = 0; r < UW_TILE_ROWS; r++, tile += UW_TILE_COLS)
		memcpy(rows[r], tile, UW_TILE_COLS * sizeof(*tile));
}

static void fence_c(void)
{
}

void uw_cpu_ops_init_c(struct uw_cpu_ops *ops)
{
	*ops = (struct uw_cpu_ops){
		.split = { NULL, split_linear_c, split_tiled_c },
		.merge = { NULL, merge_linear_c, merge_tiled_c },
		.histogram = histogram_c,
		.symbols = symbols_c,
		.huff_bits = huff_bits_c,
		.huff_encode = huff_encode_c,
		.huff_decode = huff_decode_c,
		.p4_pack = p4_pack_c,
		.p4_exponents = p4_exponents_c,
		.p4_decode = { NULL, p4_decode_linear_c, p4_decode_tiled_c },
		.get_rows = get_rows_c,
		.put_rows = put_rows_c,
		.fence = fence_c,
	};
}
