/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic on untrusted 64-bit numbers. Each returns false on overflow and then leaves *out alone. */
#ifndef UNWEIGHT_CHECKED_H
#define UNWEIGHT_CHECKED_H

#include <stdbool.h>
#include <stdint.h>

static inline bool uw_add(uint64_t a, uint64_t b, uint64_t *out)
{
	if (a > UINT64_MAX - b)
		return false;
	*out = a + b;
	return true;
}

static inline bool uw_mul(uint64_t a, uint64_t b, uint64_t *out)
{
	if (b != 0 && a > UINT64_MAX / b)
		return false;
	*out = a * b;
	return true;
}

/* Rounds `a` up to a multiple of `align`, a power of two. */
static inline bool uw_align_up(uint64_t a, uint64_t align, uint64_t *out)
{
	if (a > UINT64_MAX - (align - 1))
		return false;
	*out = (a + (align - 1)) & ~(align - 1);
	return true;
}

/* ceil(a / b) without overflow; b > 0. */
static inline uint64_t uw_ceil_div(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

#endif
