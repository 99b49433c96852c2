/* SPDX-License-Identifier: Apache-2.0 */
/* uw_get_rows_fn and uw_put_rows_fn, AVX2. */
#include "store_avx2.h"
#include "x86.h"

void uw_get_rows_avx2(const uint16_t *const rows[UW_TILE_ROWS], uint16_t *tile)
{
	for (unsigned r = 0; r < UW_TILE_ROWS; r++, tile += UW_TILE_COLS) {
		for (unsigned j = 0; j < 4; j++)
			_mm256_store_si256((__m256i *)(void *)(tile + 16 * j),
					   _mm256_loadu_si256((const __m256i *)(const void *)(rows[r] + 16 * j)));
	}
}

static inline void put_rows(uint16_t *const rows[UW_TILE_ROWS], const uint16_t *tile, bool stream)
{
	for (unsigned r = 0; r < UW_TILE_ROWS; r++, tile += UW_TILE_COLS) {
		for (unsigned j = 0; j < 4; j++)
			uw_put(rows[r] + 16 * j, _mm256_load_si256((const __m256i *)(const void *)(tile + 16 * j)), stream);
	}
}

void uw_put_rows_avx2(uint16_t *const rows[UW_TILE_ROWS], const uint16_t *tile, enum uw_store store)
{
	uintptr_t any = 0;

	for (unsigned r = 0; r < UW_TILE_ROWS; r++)
		any |= (uintptr_t)rows[r];
	if (uw_can_stream((const uint16_t *)any, 0, store))
		put_rows(rows, tile, true);
	else
		put_rows(rows, tile, false);
}
