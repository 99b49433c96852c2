/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_huff_encode_fn, AVX-512. A qword holds the eight symbols of one lane and turn. Three levels of
 *
 *     A = lo | hi << len_lo
 *
 * from bytes to words, dwords and qwords join their codes to the lane's packet of at most 56 bits: 18 uops per 64
 * weights. Packets are appended to an accumulator of 64 bits a lane, which is scattered when the next packet might not
 * fit: about every second turn. Lanes go to rows of their own first, because a whole word scattered at the end of one
 * lane would overwrite the begin of the next; the rows are then shifted into place in ascending order. That costs 2
 * cycles per 64 weights and keeps every store inside the stream.
 */
#include <immintrin.h>

#include "x86.h"

#define ROW 256u /* bytes; a lane has at most 224, and a word is stored from byte 223 on at the latest */

struct packets {
	__m512i bits;
	__m512i nbits;
};

/* (a & mask) | b. */
static inline __m512i low_or(__m512i a, __m512i mask, __m512i b)
{
	return _mm512_ternarylogic_epi64(a, mask, b, 0xEA);
}

static inline struct packets join_codes(__m512i sym, __m512i codes, __m512i lens)
{
	const __m512i low8 = _mm512_set1_epi16(0xFF), low16 = _mm512_set1_epi32(0xFFFF);
	const __m512i low32 = _mm512_set1_epi64(0xFFFFFFFF);
	__m512i c = _mm512_shuffle_epi8(codes, sym), len = _mm512_shuffle_epi8(lens, sym), len16, len32;
	struct packets p;

	c = low_or(c, low8, _mm512_sllv_epi16(_mm512_srli_epi16(c, 8), _mm512_and_si512(len, low8)));
	len16 = _mm512_maddubs_epi16(len, _mm512_set1_epi8(1));
	c = low_or(c, low16, _mm512_sllv_epi32(_mm512_srli_epi32(c, 16), _mm512_and_si512(len16, low16)));
	len32 = _mm512_madd_epi16(len16, _mm512_set1_epi16(1));
	p.bits = low_or(c, low32, _mm512_sllv_epi64(_mm512_srli_epi64(c, 32), _mm512_and_si512(len32, low32)));
	p.nbits = _mm512_sad_epu8(len, _mm512_setzero_si512());
	return p;
}

/* Eight lanes that are being written. */
struct writer {
	__m512i acc;
	__m512i nacc; /* bits in acc, at most 64 */
	__m512i at;   /* byte offset of acc in the rows */
};

/* Stores acc and keeps the bits of its last, incomplete byte. */
static inline void flush(struct writer *w, uint8_t *rows)
{
	_mm512_i64scatter_epi64(rows, w->at, w->acc, 1);
	w->at = _mm512_add_epi64(w->at, _mm512_srli_epi64(w->nacc, 3));
	w->acc = _mm512_srlv_epi64(w->acc, _mm512_and_si512(w->nacc, _mm512_set1_epi64(0x78)));
	w->nacc = _mm512_and_si512(w->nacc, _mm512_set1_epi64(7));
}

static inline void append(struct writer *w, struct packets p, uint8_t *rows)
{
	__m512i n = _mm512_add_epi64(w->nacc, p.nbits);

	if (_mm512_cmpgt_epu64_mask(n, _mm512_set1_epi64(64)) != 0) { /* some lane: all of them, 7 + 56 bits fit */
		flush(w, rows);
		n = _mm512_add_epi64(w->nacc, p.nbits);
	}
	w->acc = _mm512_or_si512(w->acc, _mm512_sllv_epi64(p.bits, w->nacc));
	w->nacc = n;
}

/* Byte i of a row that is shifted up by `shift` bits; i is at least 1. */
static inline uint32_t shifted_byte(const uint8_t *row, uint32_t i, uint32_t shift)
{
	return (((uint32_t)row[i] << 8 | row[i - 1]) >> (8 - shift)) & 0xFF;
}

/*
 * Appends the lanes' rows to dst, shifted up by 0 to 7 bits. The bits of the byte that a lane shares with the one
 * before it travel in a register (`carry`): loading that byte back would wait for the store. Every store ends with its
 * lane's last byte.
 */
static void join_rows(const uint8_t *rows, const uint32_t nbits[UW_LANES], const uint32_t start[UW_LANES + 1],
		      uint8_t *dst)
{
	uint32_t carry = start[0] % 8 != 0 ? dst[start[0] / 8] : 0;

	for (unsigned k = 0; k < UW_LANES; k++) {
		const uint8_t *row = rows + (size_t)k * ROW;
		uint32_t shift = start[k] % 8, n = (shift + nbits[k] + 7) / 8;
		__m512i shifts = _mm512_set1_epi64(shift);
		__m512i before = _mm512_mask_set1_epi64(_mm512_loadu_si512(row - 8), 1,
							(long long)((uint64_t)carry << 56 << (8 - shift)));

		for (uint32_t i = 0; i < n; i += 64) {
			__m512i v = _mm512_shldv_epi64(_mm512_loadu_si512(row + i), before, shifts);

			_mm512_mask_storeu_epi8(dst + start[k] / 8 + i, _bzhi_u64(~UINT64_C(0), n - i), v);
			before = _mm512_loadu_si512(row + i + 56);
		}
		if (n == 0 || start[k] / 8 + n - 1 != start[k + 1] / 8)
			carry = 0;
		else if (n > 1)
			carry = shifted_byte(row, n - 1, shift);
		else
			carry |= (uint32_t)row[0] << shift & 0xFF;
	}
}

void uw_huff_encode_avx512(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
			   const uint32_t start[UW_LANES + 1], uint8_t *dst)
{
	/* the first row is read from 8 bytes before it on, the last one up to 56 bytes behind it */
	_Alignas(64) uint8_t memory[64 + UW_LANES * ROW + 64];
	uint8_t *rows = memory + 64, bits[UW_SYMBOLS], len[UW_SYMBOLS];
	uint32_t nbits[UW_LANES];
	struct writer w[4];
	__m512i codes, lens, first[4];

	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		bits[s] = code[s].bits;
		len[s] = code[s].nbits;
	}
	codes = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)bits));
	lens = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(const void *)len));
	_mm512_store_si512(memory, _mm512_setzero_si512());
	for (unsigned v = 0; v < 4; v++) {
		first[v] = _mm512_add_epi64(_mm512_set1_epi64(8 * v * ROW), _mm512_set_epi64(7 * ROW, 6 * ROW, 5 * ROW,
					    4 * ROW, 3 * ROW, 2 * ROW, ROW, 0));
		w[v] = (struct writer){ _mm512_setzero_si512(), _mm512_setzero_si512(), first[v] };
	}
	for (uint32_t turn = 0; turn < 4 * ntiles; turn++, sym += 256) {
		for (unsigned v = 0; v < 4; v++)
			append(&w[v], join_codes(_mm512_loadu_si512(sym + 64 * v), codes, lens), rows);
	}
	for (unsigned v = 0; v < 4; v++) {
		__m512i n = _mm512_slli_epi64(_mm512_sub_epi64(w[v].at, first[v]), 3);

		n = _mm512_add_epi64(n, w[v].nacc);
		_mm256_storeu_si256((__m256i *)(void *)(nbits + 8 * v), _mm512_cvtepi64_epi32(n));
		flush(&w[v], rows);
		flush(&w[v], rows); /* zeros behind a word that was full */
	}
	join_rows(rows, nbits, start, dst);
}
