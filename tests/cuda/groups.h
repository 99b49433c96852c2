/* SPDX-License-Identifier: Apache-2.0 */
/* Weights, and groups that libcodec makes of them: what the tests of the CUDA kernels have in common. */
#ifndef UW_TEST_GROUPS_H
#define UW_TEST_GROUPS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "unweight/bytes.h"
#include "unweight/cpu_ops.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

namespace {

struct uw_cpu_ops ops;
uint64_t rng_state;

uint32_t rng(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 32);
}

[[maybe_unused]] int seed(void **)
{
	rng_state = 1;
	return 0;
}

/* Memory of an exact size, aligned like a device's, or just not: `shift` bytes behind that. */
struct buffer {
	std::unique_ptr<uint8_t, void (*)(void *)> memory;
	uint8_t *at;
	size_t nbytes;

	explicit buffer(size_t n, size_t shift = 0) : memory(NULL, free), nbytes(n)
	{
		void *p;

		assert_int_equal(posix_memalign(&p, 256, n + shift), 0);
		memory.reset((uint8_t *)p);
		at = (uint8_t *)p + shift;
		memset(p, 0xA5, n + shift);
	}
};

/* ---- weights ---- */

[[maybe_unused]] uint16_t bf16(unsigned exponent)
{
	return (uint16_t)((rng() & 0x807F) | exponent << 7);
}

uint16_t gaussian(uint64_t)
{
	int32_t sum = -6 * 65536;
	uint32_t word;
	float value;

	for (unsigned n = 0; n < 12; n++)
		sum += (int32_t)(rng() >> 16);
	value = (float)sum * (0.02f / 65536);
	memcpy(&word, &value, sizeof(word));
	return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

/* NaNs with payloads, infinities, zeros of both signs, subnormals and anything else among them. */
[[maybe_unused]] uint16_t gaussian_with_escapes(uint64_t i)
{
	static const uint16_t odd[] = {
		0x0000, 0x8000, 0x0001, 0x807F, 0x7F80, 0xFF80, 0x7FC0, 0xFFFF, 0x7F81, 0x7F7F,
	};

	switch (rng() % 128) {
	case 0:
		return odd[rng() % COUNT(odd)];
	case 1:
		return (uint16_t)rng();
	default:
		return gaussian(i);
	}
}

std::unique_ptr<struct buffer> encode(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding,
				      const void *scratch)
{
	size_t nbytes = (size_t)uw_codec_encoded_nbytes(shape, plan, coding);
	std::unique_ptr<struct buffer> stored(new buffer(nbytes));

	assert_int_equal(uw_codec_encode(&ops, shape, plan, coding, scratch, stored->at, nbytes), UW_OK);
	return stored;
}

uint32_t rotl8(uint32_t x)
{
	return x << 8 | x >> 24;
}

/* The exponent plane by its definition in gpu_decode.h, from the symbols in the P4 form. */
std::vector<uint8_t> exponent_plane(const struct uw_coded &p4)
{
	static const uint8_t nibble[8] = { 1, 3, 2, 0, 5, 7, 6, 4 }, low[8] = { 7, 23, 15, 31, 3, 19, 11, 27 };
	std::vector<uint8_t> plane((size_t)p4.shape.ntiles * 1024);

	for (uint64_t f = 0; f < p4.shape.ntiles * 128; f++) {
		uint64_t tile = f / 128, word = uw_load_le64(p4.chunk_words + tile / 8 * 8);
		unsigned at = f % 32 * 16 + f / 32 % 4 * 4;
		const uint8_t *pairs = p4.tables[word >> 53 & 15].pairs;
		uint32_t i = uw_load_le32(p4.e + tile * 512 + at), a[4] = { 0, 0, 0, 0 };

		for (unsigned k = 0; k < 8; k++)
			a[k / 2] |= (2u * pairs[i >> 4 * nibble[k] & 7] + (i >> low[k] & 1)) << (7 + 16 * (k % 2));
		for (unsigned k = 0; k < 2; k++)
			uw_store_le32(&plane[tile * 1024 + 512 * k + at],
				      (a[2 * k] & ~0x807F807Fu) | (rotl8(a[2 * k + 1]) & ~0x7F807F80u));
	}
	return plane;
}

} // namespace
#endif
