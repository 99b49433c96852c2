/* SPDX-License-Identifier: Apache-2.0 */
#include "gaussian.h"

#include <math.h>
#include <string.h>

static uint64_t next(uint64_t *state)
{
	uint64_t z = *state += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return z ^ z >> 31;
}

static uint16_t bf16(float value)
{
	uint32_t word;

	memcpy(&word, &value, sizeof(word));
	return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

/* Box and Muller: two deviates of two uniforms. */
void uw_gaussian_fill(uint16_t *weights, size_t n, float sigma, uint64_t seed)
{
	for (size_t i = 0; i < n; i += 2) {
		uint64_t z = next(&seed);
		float u = ((float)(z >> 40) + 0.5f) * 0x1p-24f, angle = (float)(z & 0xFFFFFF) * (6.2831853f * 0x1p-24f);
		float r = sigma * sqrtf(-2 * logf(u));

		weights[i] = bf16(r * cosf(angle));
		if (i + 1 < n)
			weights[i + 1] = bf16(r * sinf(angle));
	}
}

void uw_gaussian_rows(uint16_t *weights, uint64_t first_row, uint64_t nrows, uint64_t ncols)
{
	for (uint64_t r = 0; r < nrows; r++) {
		uint64_t row = first_row + r;
		uint32_t word;
		uint16_t z;
		float v;

		uw_gaussian_fill(&z, 1, 1, 77 + row);
		word = (uint32_t)z << 16;
		memcpy(&v, &word, sizeof(v));
		uw_gaussian_fill(weights + r * ncols, (size_t)ncols, 0.02f * expf(0.25f * v), 1000 + row);
	}
}
