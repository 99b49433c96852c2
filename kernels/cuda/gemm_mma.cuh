/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multiplication with mma.sync: sm_80, sm_89 and whatever comes later. A block has eight warps, each with 16 rows of
 * W; x is common to them.
 *
 *     for each unit   wait for its copies (cp.async) | barrier: x is there, and the stage before this one is free |
 *                     ask for the unit nstages - 1 ahead | build 16 fragment registers, multiply (m16n8k16)
 *
 *     stage   x: tile_n rows of 128 bytes, columns of 16 bytes exchanged by XOR with the row mod 8 | planes of row block 0 | 1
 *     block   stages | overlays of 8 warps
 *
 * Each warp copies its own tile of W. What is to be known about it is read from the group directly, one unit ahead;
 * patches when they are needed.
 */
#ifndef UW_GEMM_MMA_CUH
#define UW_GEMM_MMA_CUH

#include "gemm_work.cuh"

struct uw_mma_warp {
	uint32_t thread, warp, lane;
	struct uw_row_block b;
	uint32_t tile;    /* in the row block */
	uint32_t overlay;
};

/*
 * 16 bytes of a row: 8 values from column `col` on, zeros from `ncols` on. A row that there is not has no columns. The
 * piece with the last column, if it is not whole, comes without cp.async: its rest must not be read as values.
 */
UW_DEVICE void uw_copy_piece(uint32_t to, const uint16_t *row, uint32_t col, uint32_t ncols)
{
	struct uw_vec4 v = {};

	if (col >= ncols || col + 8 <= ncols) {
		bool there = col < ncols;

		uw_copy_start_or_zero(to, (const struct uw_vec4 *)(there ? row + col : row), there ? 16 : 0);
		return;
	}
	UW_UNROLL
	for (uint32_t i = 0; i < 8; i++) {
		if (col + i < ncols)
			v.w[i / 2] |= uw_load_global_u16(row + col + i) << 16 * (i % 2);
	}
	uw_store_shared_vec4(to, v);
}

template <uint32_t TILE_N>
UW_DEVICE void uw_copy_x(const struct uw_gpu_gemm &gemm, const struct uw_y_tile &tile, uint32_t thread, uint32_t to,
			 uint32_t k)
{
	UW_UNROLL
	for (uint32_t i = 0; i < (8 * TILE_N + UW_MMA_THREADS - 1) / UW_MMA_THREADS; i++) {
		uint32_t piece = UW_MMA_THREADS * i + thread, row = piece / 8;

		if (piece < 8 * TILE_N)
			uw_copy_piece(to + uw_staged_vector(row, piece % 8),
				      gemm.x_dev + (row < tile.nx ? (tile.first_x + row) * gemm.x_ld : 0),
				      UW_TILE_COLS * k + 8 * (piece % 8), row < tile.nx ? gemm.ncols : 0);
	}
}

/* The warp's tile. `to`: its row block's planes. */
template <enum uw_linear_source SOURCE>
UW_DEVICE void uw_copy_tile(const struct uw_gpu_gemm &gemm, const struct uw_y_tile &tile, const struct uw_mma_warp &me,
			    uint32_t to, uint32_t kblocks, uint32_t k)
{
	if (SOURCE == UW_LINEAR_RAW) {
		UW_UNROLL
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t in_tile = 4 * i + me.lane / 8;
			uint32_t row = UW_ROW_BLOCK * me.b.block + UW_TILE_ROWS * me.tile + in_tile;
			bool there = row < me.b.nrows;

			uw_copy_piece(to + 2048 * me.tile + uw_staged_vector(in_tile, me.lane % 8),
				      tile.matrix->weights_dev + (there ? row * tile.matrix->weights_ld : 0),
				      UW_TILE_COLS * k + 8 * (me.lane % 8), there ? gemm.ncols : 0);
		}
		return;
	}

	uint64_t at = uw_first_tile(me.b, kblocks, k) + me.tile;
	uint32_t e_nbytes = SOURCE == UW_LINEAR_P4 ? 512 : 1024, e_to = to + 1024 * me.b.high + e_nbytes * me.tile;
	const struct uw_vec4 *s = (const struct uw_vec4 *)(me.b.group->s_dev + 1024 * at);
	const struct uw_vec4 *e = (const struct uw_vec4 *)(me.b.group->e_dev + e_nbytes * at);

	to += 1024 * me.tile;
	UW_UNROLL
	for (uint32_t i = 0; i < 2; i++)
		uw_copy_start(to + 512 * i + 16 * me.lane, s + 32 * i + me.lane);
	UW_UNROLL
	for (uint32_t i = 0; i < e_nbytes / 512; i++)
		uw_copy_start(e_to + 512 * i + 16 * me.lane, e + 32 * i + me.lane);
}

/* All groups of copies but the last nstages - 2 are there. */
UW_DEVICE void uw_mma_wait(uint32_t nstages)
{
	if (nstages == 4)
		uw_copy_wait_but<2>();
	else if (nstages == 3)
		uw_copy_wait_but<1>();
	else
		uw_copy_wait_but<0>();
}

/* 64 columns: two steps of 16 a load of x. */
template <uint32_t TILE_N> UW_DEVICE void uw_mma_unit(float (&d)[TILE_N / 2], const uint32_t a[16], uint32_t x, uint32_t lane)
{
	uint32_t at = x + uw_staged_vector(lane % 8, lane / 8);

	UW_UNROLL
	for (uint32_t h = 0; h < 2; h++) {
		UW_UNROLL
		for (uint32_t i = 0; i < TILE_N / 8; i++) {
			struct uw_vec4 v = uw_ldmatrix((at ^ 64 * h) + 8 * UW_X_ROW_NBYTES * i);

			uw_mma(d + 4 * i, a + 8 * h, v.w[0], v.w[1]);
			uw_mma(d + 4 * i, a + 8 * h + 4, v.w[2], v.w[3]);
		}
	}
}

template <enum uw_linear_source SOURCE, uint32_t TILE_N> struct uw_mma_segment {
	static constexpr uint32_t STAGE = UW_MMA_STAGE_NBYTES(SOURCE, TILE_N);

	const struct uw_gpu_gemm &gemm;
	const struct uw_work &work;
	const struct uw_segment &seg;
	const struct uw_y_tile &tile;
	const struct uw_mma_warp &me;

	UW_MEMBER uint32_t weights(uint32_t stage) const
	{
		return uw_shared() + STAGE * stage + TILE_N * UW_X_ROW_NBYTES +
		       me.warp / UW_BLOCK_TILES * UW_WEIGHTS_NBYTES(SOURCE);
	}

	/* One group of copies, empty behind the end. */
	UW_MEMBER void ask(uint32_t unit, uint32_t stage) const
	{
		if (unit < seg.nk) {
			uw_copy_x<TILE_N>(gemm, tile, me.thread, uw_shared() + STAGE * stage, seg.k + unit);
			if (me.tile < me.b.high)
				uw_copy_tile<SOURCE>(gemm, tile, me, weights(stage), work.kblocks, seg.k + unit);
		}
		uw_copy_commit();
	}

	UW_MEMBER uint32_t tile_number(uint32_t unit) const
	{
		return uw_first_tile(me.b, work.kblocks, seg.k + unit) + me.tile;
	}

	UW_MEMBER struct uw_tile_word word(uint32_t unit) const
	{
		return uw_tile_word_load(me.b.group, tile_number(unit < seg.nk ? unit : seg.nk - 1));
	}

	UW_MEMBER struct uw_vec4 info(uint32_t unit, const struct uw_tile_word &word) const
	{
		return uw_tile_info(me.b.group, word, tile_number(unit),
				    gemm.ncols - UW_TILE_COLS * (seg.k + unit), 0);
	}

	UW_MEMBER void run(float (&d)[TILE_N / 2]) const
	{
		bool coded = SOURCE != UW_LINEAR_RAW && me.tile < me.b.high;
		uint32_t stage = 0, ahead = gemm.nstages - 1;
		struct uw_tile_word next_word = {};
		struct uw_vec4 next_info = {};

		for (uint32_t i = 0; i < ahead; i++)
			ask(i, i);
		if (coded) {
			next_info = info(0, word(0));
			next_word = word(1);
		}
		UW_NO_UNROLL
		for (uint32_t unit = 0; unit < seg.nk; unit++) {
			struct uw_vec4 now = next_info;
			uint32_t a[16];

			uw_mma_wait(gemm.nstages);
			uw_sync_block();
			ask(unit + ahead, stage == 0 ? ahead : stage - 1);
			if (coded && unit + 1 < seg.nk) {
				next_info = info(unit + 1, next_word);
				next_word = word(unit + 2);
			}
			if (me.tile < me.b.high) {
				uw_tile_fragments<SOURCE>(weights(stage), me.b.high, me.tile, me.lane, now, a);
				if (SOURCE != UW_LINEAR_RAW && now.w[2] != 0)
					uw_mend_fragments(now, 0, me.b.group->patches_dev, me.overlay, me.lane, a);
				uw_mma_unit<TILE_N>(d, a, uw_shared() + STAGE * stage, me.lane);
			}
			stage = stage + 1 == gemm.nstages ? 0 : stage + 1;
		}
	}
};

template <enum uw_linear_source SOURCE, uint32_t TILE_N> UW_DEVICE void uw_gemm_mma(const struct uw_gpu_gemm &gemm)
{
	uint32_t lane = uw_thread() % 32, warp = uw_from_lane(uw_thread() / 32, 0);
	struct uw_mma_warp me = { uw_thread(), warp, lane, {}, warp % UW_BLOCK_TILES, 0 };
	float d[TILE_N / 2];
	struct uw_segment seg;

	uw_grid_let_next();
	uw_grid_wait();
	me.overlay = uw_shared() + gemm.nstages * UW_MMA_STAGE_NBYTES(SOURCE, TILE_N) + UW_OVERLAY_NBYTES * warp;
	if (SOURCE != UW_LINEAR_RAW) {
		uw_overlay_clear(me.overlay, lane);
		uw_sync_warp();
	}

	struct uw_work work = uw_work_open(gemm, lane);

	for (bool more = uw_segment_first(work, &seg); more; more = uw_segment_next(work, &seg)) {
		struct uw_y_tile tile;

		(void)uw_find_tile(gemm, seg.tile, lane, &tile);
		me.b = uw_row_block_open(tile, SOURCE, warp / UW_BLOCK_TILES);
		UW_UNROLL
		for (uint32_t i = 0; i < TILE_N / 2; i++)
			d[i] = 0;
		uw_mma_segment<SOURCE, TILE_N>{ gemm, work, seg, tile, me }.run(d);
		uw_sync_block(); /* all have read the stages */
		if (me.tile < me.b.high)
			uw_finish<SOURCE>(gemm, work, seg, warp, lane, d);
	}
}
#endif
