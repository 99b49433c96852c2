/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Single rows of a matrix to BF16, such as those of an embedding.
 *
 * A row of a coded matrix is in the lanes 4 g .. 4 g + 3 of its tiles, g = row mod 8. A warp takes eight tiles of one
 * row at once: lane 4 i + q has what lane 4 g + q of the i-th tile has, and half of its fragment registers are the row's.
 */
#ifndef UW_GATHER_CUH
#define UW_GATHER_CUH

#include "gemm_work.cuh"

#define UW_GATHER_TILES 8u
#define UW_GATHER_WARPS 4u

struct uw_gather {
	struct uw_gpu_matrix matrix;
	const uint32_t *rows_dev;
	uint16_t *y_dev;
	uint64_t y_ld;
	uint32_t nrows;
	uint32_t batches; /* of eight tiles, in a row */
};

/* Where the planes have row `row` of the group. By a whole warp. */
UW_DEVICE uint32_t uw_stored_row(const struct uw_gpu_gemm_group *group, uint32_t row, uint32_t lane)
{
	if (group->order_dev == 0)
		return row;
	UW_NO_UNROLL
	for (uint32_t from = 0; from < group->nrows; from += 32) {
		uint32_t i = from + lane;
		uint32_t hit = uw_ballot(i < group->nrows && uw_load_global_u16(group->order_dev + i) == row);

		if (hit != 0)
			return from + uw_popcount((hit & (0u - hit)) - 1);
	}
	return 0; /* not reached: an order has every row */
}

/* Patches of the tile that are for tile lane `at`. */
UW_DEVICE void uw_gather_patches(const struct uw_gpu_gemm_group *group, const struct uw_vec4 &info, uint32_t at,
				 uint32_t a[16])
{
	const uint32_t *patches = group->patches_dev + UW_INFO_FIRST(info);

	UW_NO_UNROLL
	for (uint32_t i = 0; i < UW_INFO_PATCHES(info); i++) {
		uint32_t patch = uw_load_global_u32(patches + i), p = patch >> 16 & 1023;

		if (patch >> 26 != UW_INFO_TILE(info) || p / 8 % 32 != at)
			continue;
		UW_UNROLL
		for (uint32_t k = 0; k < 16; k++)
			a[k] ^= k == p / 256 * 4 + p % 8 / 2 ? (patch & 0xFFFF) << 16 * (p % 2) : 0;
	}
}

/* The fragments of lane `at` of a tile. */
UW_DEVICE void uw_gather_fragments(const struct uw_gather &gather, const struct uw_gpu_gemm_group *group, uint64_t tile,
				   uint32_t at, uint32_t a[16])
{
	const struct uw_vec4 *s = (const struct uw_vec4 *)(group->s_dev + 1024 * tile) + at;
	struct uw_vec4 s0 = uw_load_global_once(s), s1 = uw_load_global_once(s + 32), info;

	info = uw_tile_info(group, uw_tile_word_load(group, (uint32_t)tile), (uint32_t)tile, UW_TILE_COLS, 0);
	if (gather.matrix.source == UW_LINEAR_P4) {
		struct uw_vec4 e = uw_load_global_once((const struct uw_vec4 *)(group->e_dev + 512 * tile) + at);

		UW_UNROLL
		for (uint32_t j = 0; j < 4; j++)
			uw_fragment_p4(s0.w[j], s1.w[j], e.w[j], info.w[0], info.w[1], a + 4 * j);
	} else {
		const struct uw_vec4 *e = (const struct uw_vec4 *)(group->e_dev + 1024 * tile) + at;
		struct uw_vec4 e0 = uw_load_global_once(e), e1 = uw_load_global_once(e + 32);

		UW_UNROLL
		for (uint32_t j = 0; j < 4; j++)
			uw_fragment_e8(s0.w[j], s1.w[j], e0.w[j], e1.w[j], a + 4 * j);
	}
	uw_gather_patches(group, info, at, a);
}

/* Two weights to column `col`. */
UW_DEVICE void uw_gather_put(const struct uw_gather &gather, uint16_t *y, uint32_t col, uint32_t pair)
{
	if (col + 1 < gather.matrix.ncols && (uintptr_t)(y + col) % 4 == 0) {
		uw_store_global_u32((uint32_t *)(void *)(y + col), pair);
		return;
	}
	if (col < gather.matrix.ncols)
		uw_store_global_u16(y + col, pair & 0xFFFF);
	if (col + 1 < gather.matrix.ncols)
		uw_store_global_u16(y + col + 1, pair >> 16);
}

/* A row of a RAW matrix: as the fragments of a coded one would hold it, only those that the row is in. */
UW_DEVICE void uw_gather_raw(const struct uw_gather &gather, uint32_t row, uint32_t kt, uint32_t q, uint32_t a[16])
{
	const uint16_t *from = gather.matrix.weights_dev + (uint64_t)row * gather.matrix.weights_ld;

	UW_UNROLL
	for (uint32_t i = 0; i < 8; i++) {
		uint32_t col = UW_TILE_COLS * kt + 8 * i + 2 * q, pair = 0;

		if (col < gather.matrix.ncols)
			pair = uw_load_global_u16(from + col);
		if (col + 1 < gather.matrix.ncols)
			pair |= uw_load_global_u16(from + col + 1) << 16;
		a[2 * i] = pair;
	}
}

UW_DEVICE void uw_gather_warp(const struct uw_gather &gather)
{
	uint32_t lane = uw_thread() % 32, unit = UW_GATHER_WARPS * uw_block() + uw_thread() / 32;
	uint32_t i = unit / gather.batches, kblocks = uw_ceil_div(gather.matrix.ncols, UW_TILE_COLS);
	uint32_t kt = UW_GATHER_TILES * (unit - i * gather.batches) + lane / 4, a[16] = {}, row, half = 0;

	if (i >= gather.nrows)
		return;
	row = uw_load_global_u32(gather.rows_dev + i);
	if (gather.matrix.source == UW_LINEAR_RAW) {
		if (row < gather.matrix.nrows)
			uw_gather_raw(gather, row, kt, lane % 4, a);
	} else if (row < gather.matrix.nrows) {
		uint32_t number = row / (UW_ROW_BLOCK * gather.matrix.group_blocks);
		const struct uw_gpu_gemm_group *group = gather.matrix.groups_dev + number;
		uint32_t stored = uw_stored_row(group, row - number * UW_ROW_BLOCK * gather.matrix.group_blocks, lane);
		uint32_t block = stored / UW_ROW_BLOCK, tile = stored % UW_ROW_BLOCK / UW_TILE_ROWS;
		uint32_t high = uw_ceil_div(group->nrows - UW_ROW_BLOCK * block, UW_TILE_ROWS);

		high = high < UW_BLOCK_TILES ? high : UW_BLOCK_TILES;
		half = stored / 8 % 2;
		if (kt < kblocks)
			uw_gather_fragments(gather, group,
					    (uint64_t)UW_BLOCK_TILES * block * kblocks + high * kt + tile,
					    4 * (stored % 8) + lane % 4, a);
	}
	UW_UNROLL
	for (uint32_t j = 0; j < 4; j++) {
		uint32_t col = UW_TILE_COLS * kt + 16 * j + 2 * (lane % 4);
		uint16_t *y = gather.y_dev + i * gather.y_ld;

		uw_gather_put(gather, y, col, half ? a[4 * j + 1] : a[4 * j]);
		uw_gather_put(gather, y, col + 8, half ? a[4 * j + 3] : a[4 * j + 2]);
	}
}
#endif
