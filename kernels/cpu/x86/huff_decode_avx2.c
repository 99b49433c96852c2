/* SPDX-License-Identifier: Apache-2.0 */
/*
 * uw_huff_decode_fn, AVX2 and BMI2: scalar, two symbols a look-up. A table of 2^10 windows, made anew by each call,
 * names the two symbols that most windows begin with; where two codes are longer than 10 bits, the window's length is
 * 0 and the same eight symbols are decoded again one by one. Such a window is not shifted away, so the last of four
 * look-ups tells.
 *
 * 45 uops decode eight symbols. Their chain takes some 45 cycles, but the next lane's eight do not depend on it and
 * the output address not on the data: the processor overlaps lanes by itself, which it does better than code that
 * interleaves them and runs out of registers.
 */
#include <immintrin.h>
#include <string.h>

#include "huff_next.h"
#include "x86.h"

#define WINDOW 10u

/* Bits 0 .. 8: length of both codes, or 0; bits 16 .. 32: the values. */
struct twos {
	uint32_t entry[1u << WINDOW];
};

static inline __m256i load(const uint32_t *p)
{
	return _mm256_loadu_si256((const __m256i *)(const void *)p);
}

/* About 1000 cycles, where a chunk takes 9000. */
static void build(const struct uw_huff_entry table[128], struct twos *twos)
{
	const __m256i byte = _mm256_set1_epi32(255), low7 = _mm256_set1_epi32(127);
	uint32_t one[128];

	for (unsigned w = 0; w < 128; w++)
		one[w] = table[w].nbits | (uint32_t)table[w].value << 8;
	for (int w = 0; w < 1 << WINDOW; w += 8) {
		__m256i window = _mm256_add_epi32(_mm256_set1_epi32(w), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
		__m256i first = load(one + w % 128);
		__m256i rest = _mm256_srlv_epi32(window, _mm256_and_si256(first, byte));
		__m256i second = _mm256_i32gather_epi32((const int *)(const void *)one,
							_mm256_and_si256(rest, low7), 4);
		__m256i nbits = _mm256_and_si256(_mm256_add_epi32(first, second), byte);
		__m256i values = _mm256_or_si256(_mm256_slli_epi32(_mm256_srli_epi32(first, 8), 16),
						 _mm256_slli_epi32(_mm256_srli_epi32(second, 8), 24));

		nbits = _mm256_andnot_si256(_mm256_cmpgt_epi32(nbits, _mm256_set1_epi32(WINDOW)), nbits);
		_mm256_storeu_si256((__m256i *)(void *)(twos->entry + w), _mm256_or_si256(values, nbits));
	}
}

static inline uint64_t load64(const uint8_t *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

/* Eight symbols one by one; returns their length. */
static uint32_t decode_slowly(uint64_t window, const struct uw_huff_entry table[128], uint8_t *out)
{
	uint32_t nbits = 0;

	for (unsigned i = 0; i < 8; i++) {
		struct uw_huff_entry entry = table[window & 127];

		out[i] = entry.value;
		window >>= entry.nbits;
		nbits += entry.nbits;
	}
	return nbits;
}

/* Both values of the first entry, then those of the second. */
static inline void store_four(uint8_t *out, uint32_t first, uint32_t second)
{
	uint32_t values = first >> 16 | (second & 0xFFFF0000);

	memcpy(out, &values, sizeof(values));
}

/* Eight symbols of a lane; 7 + 8 * 7 bits fit a window. Returns where the next one begins. */
static inline uint32_t decode_eight(const uint8_t *src, uint32_t pos, const struct twos *twos,
				    const struct uw_huff_entry table[128], uint8_t *out)
{
	uint64_t window = load64(src + pos / 8) >> pos % 8;
	uint32_t entry[4];

	for (unsigned i = 0; i < 4; i++) {
		entry[i] = twos->entry[_bzhi_u64(window, WINDOW)];
		__asm__("" : "+r"(entry[i])); /* keeps gcc from packing them into vectors, which takes a third longer */
		window >>= entry[i] & 63;
	}
	if ((entry[3] & 63) == 0)
		return pos + decode_slowly(load64(src + pos / 8) >> pos % 8, table, out);
	store_four(out, entry[0], entry[1]);
	store_four(out + 4, entry[2], entry[3]);
	return pos + ((entry[0] + entry[1] + entry[2] + entry[3]) & 255);
}

static void decode_chunk(struct uw_huff_chunk *chunk, uint32_t ntiles, const struct twos *twos,
			 const struct uw_huff_entry table[128])
{
	const uint8_t *src = chunk->src;
	uint8_t *out = chunk->out;
	uint32_t pos[UW_LANES];

	memcpy(pos, chunk->start, sizeof(pos));
	for (uint32_t turn = 0; turn < 4 * ntiles; turn++) {
		uw_prefetch_next(chunk, turn, ntiles);
		for (uint32_t lane = 0; lane < UW_LANES; lane++, out += 8)
			pos[lane] = decode_eight(src, pos[lane], twos, table, out);
	}
	chunk->good = true;
	for (uint32_t lane = 0; lane < UW_LANES; lane++)
		chunk->good &= chunk->start[lane + 1] - pos[lane] < 1u << chunk->shift;
}

void uw_huff_decode_avx2(struct uw_huff_chunk *chunks, uint32_t n, uint32_t ntiles,
			 const struct uw_huff_entry table[128])
{
	struct twos twos;

	build(table, &twos);
	for (uint32_t c = 0; c < n; c++)
		decode_chunk(&chunks[c], ntiles, &twos, table);
}
