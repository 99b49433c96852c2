/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_huff_decode_fn, AVX-512: two chunks at a time make the 64 lanes of a byte vector, two such pairs in flight.
 *
 * Bit buffers are never shifted. The 64 bits at a lane's next byte stand in a qword, gathered anew every eight
 * symbols (7 + 8 * 7 bits fit). vpmultishiftqb takes 8 bits from anywhere in a qword for each byte of it; bits that a
 * look-up does not want are not masked, since it looks at the low six bits of a position, vpermb at the low six of a
 * window, vpermi2b at the low seven. Two symbols are taken at a time: eight multishifts give 16 bits of each lane,
 * merged to two vectors, and two more the second window out of those. One multishift a lane and symbol would be 16
 * for two symbols, and all of them go to the one shuffle port. Merging is done by vpternlog: writes under a byte mask
 * have thrice its latency.
 *
 * Two symbols of 64 lanes take 35 uops, 16 of them on the shuffle port; the refill, every eight symbols, 8 gathers
 * and 26 others; the transposition of the eight 24 unpacks. A pair alone is bound by latency, and takes a third
 * longer than its half of two.
 */
#include <immintrin.h>

#include "huff_next.h"
#include "x86.h"

#define STEPS 8u   /* symbols between refills */
#define BUFFERS 8u /* vectors of eight qwords for 64 lanes */

/*
 * The window table by column. The length of a code is known from six bits: below a node of depth 6 both codes have 7.
 */
struct table {
	__m512i values[2]; /* of windows 0 .. 64 and 64 .. 128 */
	__m512i nbits;
};

struct pair {
	struct uw_huff_chunk *chunk[2];
};

/*
 * Qword q of buffer i + 4 o stands for byte 8 q + 2 i + o of a vector of windows or values (i < 4, o < 2), and is lane
 * 8 i + 2 (q / 2) + o of chunk q % 2: the order in which the transposition leaves qwords that can be stored.
 */
struct lanes {
	__m512i at[BUFFERS]; /* address of each lane's next byte */
	__m512i pos[2];      /* [o]: its next bit, from there, in byte 2 i of qword q; in byte 2 i + 1 that plus 8 */
};

static inline __m512i load(const void *p)
{
	return _mm512_loadu_si512(p);
}

static inline __m512i widen(const uint32_t *p)
{
	return _mm512_cvtepu32_epi64(_mm256_loadu_si256((const __m256i *)(const void *)p));
}

static inline __m512i low_bytes(__m512i a, __m512i b)
{
	return _mm512_inserti64x4(_mm512_castsi256_si512(_mm512_cvtepi16_epi8(a)), _mm512_cvtepi16_epi8(b), 1);
}

static struct table load_table(const struct uw_huff_entry entries[128])
{
	const __m512i low[2] = { load(entries), load(entries + 32) };
	const __m512i high[2] = { load(entries + 64), load(entries + 96) };

	return (struct table){
		.values = { low_bytes(low[0], low[1]), low_bytes(high[0], high[1]) },
		.nbits = low_bytes(_mm512_srli_epi16(low[0], 8), _mm512_srli_epi16(low[1], 8)),
	};
}

/* Where the lanes of buffers i and i + 4 start, in bits from src, or with `next` 1 those behind them. */
static inline void lane_bits(const struct pair *pair, unsigned i, unsigned next, __m512i bits[2])
{
	__m512i a = widen(pair->chunk[0]->start + 8 * i + next), b = widen(pair->chunk[1]->start + 8 * i + next);

	bits[0] = _mm512_unpacklo_epi64(a, b);
	bits[1] = _mm512_unpackhi_epi64(a, b);
}

static inline __m512i sources(const struct pair *pair)
{
	long long a = (long long)(uintptr_t)pair->chunk[0]->src, b = (long long)(uintptr_t)pair->chunk[1]->src;

	return _mm512_set_epi64(b, a, b, a, b, a, b, a);
}

static inline void start_lanes(const struct pair *pair, struct lanes *lanes)
{
	const __m512i seven = _mm512_set1_epi64(7);

	lanes->pos[0] = lanes->pos[1] = _mm512_setzero_si512();
	for (unsigned i = 0; i < BUFFERS / 2; i++) {
		__m512i bits[2];

		lane_bits(pair, i, 0, bits);
		for (unsigned o = 0; o < 2; o++) {
			__m512i pos = _mm512_and_si512(bits[o], seven);

			pos = _mm512_or_si512(pos, _mm512_slli_epi64(pos, 8));
			pos = _mm512_or_si512(pos, _mm512_set1_epi64(0x0800));
			lanes->at[i + 4 * o] = _mm512_add_epi64(sources(pair), _mm512_srli_epi64(bits[o], 3));
			lanes->pos[o] = _mm512_or_si512(lanes->pos[o], _mm512_slli_epi64(pos, 16 * i));
		}
	}
}

/* Whether every lane has stopped less than 2^shift bits before its end, and not behind it. */
static inline void check_ends(const struct pair *pair, const struct lanes *lanes)
{
	long long a = 1LL << pair->chunk[0]->shift, b = 1LL << pair->chunk[1]->shift;
	const __m512i limit = _mm512_set_epi64(b, a, b, a, b, a, b, a);
	unsigned good = 0xFF;

	for (unsigned i = 0; i < BUFFERS / 2; i++) {
		__m512i ends[2];

		lane_bits(pair, i, 1, ends);
		for (unsigned o = 0; o < 2; o++) {
			__m512i bit = _mm512_and_si512(_mm512_srli_epi64(lanes->pos[o], 16 * i),
						       _mm512_set1_epi64(255));
			__m512i at = _mm512_slli_epi64(_mm512_sub_epi64(lanes->at[i + 4 * o], sources(pair)), 3);
			__m512i left = _mm512_sub_epi64(ends[o], _mm512_add_epi64(at, bit));

			good &= _mm512_cmplt_epu64_mask(left, limit);
		}
	}
	pair->chunk[0]->good = (good & 0x55) == 0x55;
	pair->chunk[1]->good = (good & 0xAA) == 0xAA;
}

static inline void gather(const struct lanes *lanes, __m512i buffer[BUFFERS])
{
	for (unsigned i = 0; i < BUFFERS; i++)
		buffer[i] = _mm512_i64gather_epi64(lanes->at[i], NULL, 1);
}

static inline __m512i choose(__m512i mask, __m512i a, __m512i b)
{
	return _mm512_ternarylogic_epi64(mask, a, b, 0xCA);
}

/* The next 16 bits of the lanes of four buffers: word i of qword q is that of buffer i. */
static inline __m512i bits16(const __m512i buffer[4], __m512i pos)
{
	const __m512i low_word = _mm512_set1_epi32(0xFFFF), low_dword = _mm512_set1_epi64(0xFFFFFFFF);
	__m512i w[4];

	for (unsigned i = 0; i < 4; i++)
		w[i] = _mm512_multishift_epi64_epi8(pos, buffer[i]);
	return choose(low_dword, choose(low_word, w[0], w[1]), choose(low_word, w[2], w[3]));
}

static inline __m512i value_of(const struct table *table, __m512i windows)
{
	return _mm512_permutex2var_epi8(table->values[0], windows, table->values[1]);
}

static inline __m512i length_of(const struct table *table, __m512i windows)
{
	return _mm512_permutexvar_epi8(windows, table->nbits);
}

static inline void two_steps(const struct table *table, const __m512i buffer[BUFFERS], __m512i pos[2], __m512i v[2])
{
	const __m512i low_byte = _mm512_set1_epi16(0xFF), of_word = _mm512_set1_epi64(0x3030202010100000);
	__m512i a = bits16(buffer, pos[0]), b = bits16(buffer + 4, pos[1]), windows, second, n;

	windows = choose(low_byte, a, _mm512_slli_epi16(b, 8));
	v[0] = value_of(table, windows);
	n = length_of(table, windows);

	second = _mm512_add_epi8(n, of_word);
	windows = choose(low_byte, _mm512_multishift_epi64_epi8(second, a), _mm512_multishift_epi64_epi8(second, b));
	v[1] = value_of(table, windows);
	n = _mm512_add_epi8(n, length_of(table, windows));

	pos[0] = _mm512_add_epi8(pos[0], choose(low_byte, n, _mm512_slli_epi16(n, 8)));
	pos[1] = _mm512_add_epi8(pos[1], choose(low_byte, _mm512_srli_epi16(n, 8), n));
}

/* Moves each lane's whole bytes from its position to its address. */
static inline void advance(struct lanes *lanes)
{
	const __m512i seven = _mm512_set1_epi64(7);

	for (unsigned i = 0; i < BUFFERS; i++) {
		__m512i n = _mm512_and_si512(_mm512_srli_epi64(lanes->pos[i / 4], 16 * (i % 4) + 3), seven);

		lanes->at[i] = _mm512_add_epi64(lanes->at[i], n);
	}
	for (unsigned o = 0; o < 2; o++) /* (pos & 7) | 8 in odd bytes */
		lanes->pos[o] = _mm512_ternarylogic_epi64(lanes->pos[o], _mm512_set1_epi8(7),
							  _mm512_set1_epi16(0x0800), 0xEA);
}

/*
 * Value s of lane b is byte b of v[s]; stores eight values of each lane. 8 x 8 bytes in three rounds of in-lane
 * unpacks.
 */
static inline void store_turn(const struct pair *pair, uint32_t turn, const __m512i v[STEPS])
{
	__m512i two[8], four[8];

	for (unsigned k = 0; k < 4; k++) {
		two[k] = _mm512_unpacklo_epi8(v[2 * k], v[2 * k + 1]);
		two[4 + k] = _mm512_unpackhi_epi8(v[2 * k], v[2 * k + 1]);
	}
	for (unsigned k = 0; k < 4; k++) {
		four[2 * k] = _mm512_unpacklo_epi16(two[2 * k], two[2 * k + 1]);
		four[2 * k + 1] = _mm512_unpackhi_epi16(two[2 * k], two[2 * k + 1]);
	}
	for (unsigned c = 0; c < 2; c++) {
		uint8_t *out = pair->chunk[c]->out + 256 * turn;
		const __m512i *f = four + 4 * c;

		_mm512_store_si512(out, _mm512_unpacklo_epi32(f[0], f[2]));
		_mm512_store_si512(out + 64, _mm512_unpackhi_epi32(f[0], f[2]));
		_mm512_store_si512(out + 128, _mm512_unpacklo_epi32(f[1], f[3]));
		_mm512_store_si512(out + 192, _mm512_unpackhi_epi32(f[1], f[3]));
	}
}

static inline void decode(const struct pair *pairs, unsigned npairs, uint32_t ntiles, const struct table *table)
{
	struct lanes lanes[2];

	for (unsigned p = 0; p < npairs; p++)
		start_lanes(&pairs[p], &lanes[p]);
	for (uint32_t turn = 0; turn < 4 * ntiles; turn++) {
		__m512i buffer[2][BUFFERS], v[2][STEPS];

		for (unsigned p = 0; p < npairs; p++)
			gather(&lanes[p], buffer[p]);
		for (unsigned p = 0; p < npairs; p++) {
			uw_prefetch_next(pairs[p].chunk[0], turn, ntiles);
			uw_prefetch_next(pairs[p].chunk[1], turn, ntiles);
		}
		for (unsigned s = 0; s < STEPS; s += 2) {
			for (unsigned p = 0; p < npairs; p++)
				two_steps(table, buffer[p], lanes[p].pos, &v[p][s]);
		}
		for (unsigned p = 0; p < npairs; p++) {
			advance(&lanes[p]);
			store_turn(&pairs[p], turn, v[p]);
		}
	}
	for (unsigned p = 0; p < npairs; p++)
		check_ends(&pairs[p], &lanes[p]);
}

/* An odd chunk is its own partner: both halves of the vectors do the same and store the same. */
void uw_huff_decode_avx512(struct uw_huff_chunk *chunks, uint32_t n, uint32_t ntiles,
			   const struct uw_huff_entry entries[128])
{
	struct table table = load_table(entries);
	struct pair pairs[2];

	pairs[0].chunk[0] = &chunks[0];
	pairs[0].chunk[1] = &chunks[n > 1 ? 1 : 0];
	pairs[1].chunk[0] = &chunks[n > 2 ? 2 : 0];
	pairs[1].chunk[1] = &chunks[n - 1];
	if (n > 2)
		decode(pairs, 2, ntiles, &table);
	else
		decode(pairs, 1, ntiles, &table);
}
