/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_huff_encode_fn, AVX2 and BMI2. As in huff_encode_avx512.c the eight codes of a lane and turn are joined to a
 * packet of at most 56 bits; where AVX2 has no shift by variable amounts, codes are multiplied by powers of two: 21
 * uops per 32 weights. Packets are then appended in scalar code, lane after lane: 3 cycles each, the latency of shift,
 * or and shift.
 */
#include <immintrin.h>
#include <string.h>

#include "x86.h"

#define MAX_TURNS (4 * UW_CHUNK_TILES)

/* What the 16 symbols map to, in both halves of a vector. */
struct codes {
	__m256i bits;
	__m256i nbits;
	__m256i power; /* 2^nbits, up to 128 */
};

/* Packets of four lanes, by turn. */
struct packets {
	_Alignas(32) uint64_t bits[MAX_TURNS][4];
	_Alignas(32) uint64_t nbits[MAX_TURNS][4];
};

static struct codes load_codes(const struct uw_huff_code code[UW_SYMBOLS])
{
	uint8_t bits[UW_SYMBOLS], nbits[UW_SYMBOLS], power[UW_SYMBOLS];

	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		bits[s] = code[s].bits;
		nbits[s] = code[s].nbits;
		power[s] = (uint8_t)(1u << code[s].nbits);
	}
	return (struct codes){
		_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)bits)),
		_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)nbits)),
		_mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(const void *)power)),
	};
}

static inline void join_codes(__m256i sym, const struct codes *codes, uint64_t *bits, uint64_t *nbits)
{
	const __m256i low32 = _mm256_set1_epi64x(0xFFFFFFFF);
	__m256i c = _mm256_shuffle_epi8(codes->bits, sym), len = _mm256_shuffle_epi8(codes->nbits, sym);
	__m256i power = _mm256_shuffle_epi8(codes->power, sym), len32, high;

	/* words: lo * 1 + hi * 2^len_lo, of at most 14 bits */
	c = _mm256_maddubs_epi16(_mm256_or_si256(_mm256_slli_epi16(power, 8), _mm256_set1_epi16(1)), c);
	/* dwords: the same with 2^(len + len) of the low word, at most 2^14 */
	power = _mm256_mullo_epi16(_mm256_and_si256(power, _mm256_set1_epi16(0xFF)), _mm256_srli_epi16(power, 8));
	c = _mm256_madd_epi16(_mm256_or_si256(_mm256_slli_epi32(power, 16), _mm256_set1_epi32(1)), c);
	len32 = _mm256_madd_epi16(_mm256_maddubs_epi16(len, _mm256_set1_epi8(1)), _mm256_set1_epi16(1));
	high = _mm256_sllv_epi64(_mm256_srli_epi64(c, 32), _mm256_and_si256(len32, low32));
	_mm256_store_si256((__m256i *)(void *)bits, _mm256_or_si256(_mm256_and_si256(c, low32), high));
	_mm256_store_si256((__m256i *)(void *)nbits, _mm256_sad_epu8(len, _mm256_setzero_si256()));
}

/* Where the next bits go: `nacc` bits of acc, fewer than 8, belong to the byte at dst. */
struct writer {
	uint8_t *dst;
	uint64_t acc;
	uint32_t nacc;
};

/* Every append stores 8 bytes. What it puts behind the lane are zeros, where there are zeros already. */
static void append_lane(struct writer *w, const struct packets *p, unsigned lane, uint32_t nturns)
{
	uint8_t *dst = w->dst;
	uint64_t acc = w->acc, nacc = w->nacc;

	for (uint32_t turn = 0; turn < nturns; turn++) {
		acc |= p->bits[turn][lane] << nacc;
		memcpy(dst, &acc, sizeof(acc));
		nacc += p->nbits[turn][lane];
		dst += nacc >> 3;
		acc >>= nacc & 0x38;
		nacc &= 7;
	}
	*w = (struct writer){ dst, acc, (uint32_t)nacc };
}

/* The same for lanes at the end of the stream: byte by byte, none behind the lane's last. */
static void append_last_lane(struct writer *w, const struct packets *p, unsigned lane, uint32_t nturns)
{
	for (uint32_t turn = 0; turn < nturns; turn++) {
		w->acc |= p->bits[turn][lane] << w->nacc;
		w->nacc += (uint32_t)p->nbits[turn][lane];
		for (; w->nacc >= 8; w->nacc -= 8, w->acc >>= 8)
			*w->dst++ = (uint8_t)w->acc;
	}
	if (w->nacc != 0)
		*w->dst = (uint8_t)w->acc;
}

/* Moves on to bit `start` of dst. If that is in the byte that is being written, acc has its first bits. */
static void start_lane(struct writer *w, uint8_t *dst, uint32_t start)
{
	if (w->dst != dst + start / 8)
		*w = (struct writer){ .dst = dst + start / 8 };
	w->nacc = start % 8;
}

void uw_huff_encode_avx2(const uint8_t *sym, uint32_t ntiles, const struct uw_huff_code code[UW_SYMBOLS],
			 const uint32_t start[UW_LANES + 1], uint8_t *dst)
{
	const struct codes codes = load_codes(code);
	const uint32_t nturns = 4 * ntiles, end = (start[UW_LANES] + 7) / 8;
	struct packets packets;
	struct writer w = { .dst = dst + start[0] / 8, .acc = start[0] % 8 != 0 ? dst[start[0] / 8] : 0 };

	for (unsigned first = 0; first < UW_LANES; first += 4) {
		for (uint32_t turn = 0; turn < nturns; turn++)
			join_codes(_mm256_loadu_si256((const __m256i *)(const void *)(sym + 256 * turn + 8 * first)),
				   &codes, packets.bits[turn], packets.nbits[turn]);
		for (unsigned k = 0; k < 4; k++) {
			start_lane(&w, dst, start[first + k]);
			if (start[first + k + 1] / 8 + 8 <= end)
				append_lane(&w, &packets, k, nturns);
			else
				append_last_lane(&w, &packets, k, nturns);
		}
	}
}
