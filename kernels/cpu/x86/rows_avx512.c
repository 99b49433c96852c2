/* SPDX-License-Identifier: Apache-2.0 */
/* uw_get_rows_fn and uw_put_rows_fn, AVX-512. */
#include "store_avx512.h"
#include "x86.h"

void uw_get_rows_avx512(const uint16_t *const rows[UW_TILE_ROWS], uint16_t *tile)
{
	for (unsigned r = 0; r < UW_TILE_ROWS; r++, tile += UW_TILE_COLS) {
		for (unsigned j = 0; j < 2; j++)
			_mm512_store_si512(tile + 32 * j, _mm512_loadu_si512(rows[r] + 32 * j));
	}
}

static inline void put_rows(uint16_t *const rows[UW_TILE_ROWS], const uint16_t *tile, bool stream)
{
	for (unsigned r = 0; r < UW_TILE_ROWS; r++, tile += UW_TILE_COLS) {
		for (unsigned j = 0; j < 2; j++)
			uw_put(rows[r] + 32 * j, _mm512_load_si512(tile + 32 * j), stream);
	}
}

void uw_put_rows_avx512(uint16_t *const rows[UW_TILE_ROWS], const uint16_t *tile, enum uw_store store)
{
	uintptr_t any = 0;

	for (unsigned r = 0; r < UW_TILE_ROWS; r++)
		any |= (uintptr_t)rows[r];
	if (uw_can_stream((const uint16_t *)any, 0, store))
		put_rows(rows, tile, true);
	else
		put_rows(rows, tile, false);
}
