/* SPDX-License-Identifier: Apache-2.0 */
/* Weights as models have them, for measurements. */
#ifndef UW_GAUSSIAN_H
#define UW_GAUSSIAN_H

#include <stddef.h>
#include <stdint.h>

/* n BF16 values of N(0, sigma^2), rounded to nearest even; the same for the same seed. */
void uw_gaussian_fill(uint16_t *weights, size_t n, float sigma, uint64_t seed);

/* Rows of N(0, sigma^2) with a sigma of their own, 0.02 exp(0.25 z), z a deviate; the same for the same first_row. */
void uw_gaussian_rows(uint16_t *weights, uint64_t first_row, uint64_t nrows, uint64_t ncols);

#endif
