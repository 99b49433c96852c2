/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multiplication for Hopper (sm_90a). A block has two warpgroups, which multiply a row block each, and one warp that
 * fetches for them:
 *
 *     warp 8      for each unit: waits for an empty stage, asks for x (tensor copy), the planes of both row blocks and the
 *                 patches of their chunks (bulk copies), writes what is to be known about each tile
 *     warps 0..7  for each unit: wait for the full stage, build 16 fragment registers, multiply (4 x wgmma m64 n k16, A
 *                 from registers, B from shared memory)
 *
 * One group of wgmma is always under way while the fragments of the next unit are built in the other set of registers.
 * The wait for a group stands behind the next group's begin, never before the building: there the compiler would move
 * the building behind the wait.
 *
 *     stage   x: tile_n rows of 128 bytes, swizzled | planes of row block 0 | 1 | infos of 8 tiles, patches of 2 chunks
 *     block   stages | overlays of 8 warps | barriers: full, empty
 *
 * x comes through a tensor map because it then takes one instruction of one lane, needs no pass over x before, and rows
 * and columns outside of x are zeros without a test. Planes need no map: they stand together.
 */
#ifndef UW_GEMM_WGMMA_CUH
#define UW_GEMM_WGMMA_CUH

#include "gemm_work.cuh"

#define UW_SIDE_PATCHES ((UW_SIDE_PATCHES_NBYTES - 12) / 4) /* the first one may stand 12 bytes in */

template <enum uw_linear_source SOURCE, uint32_t TILE_N> struct uw_stages {
	static constexpr uint32_t NBYTES = UW_WGMMA_STAGE_NBYTES(SOURCE, TILE_N);
	static constexpr uint32_t WEIGHTS_NBYTES = UW_WEIGHTS_NBYTES(SOURCE);
	static constexpr uint32_t SIDE = TILE_N * UW_X_ROW_NBYTES + UW_TILE_BLOCKS * WEIGHTS_NBYTES;

	uint32_t base, nstages;
	uint32_t now, parity; /* the next stage, and that of the phase in which it gets full */

	UW_MEMBER void init(const struct uw_gpu_gemm &gemm)
	{
		base = uw_shared();
		nstages = gemm.nstages;
		now = 0;
		parity = 0;
	}
	UW_MEMBER uint32_t overlays(void) const
	{
		return base + nstages * NBYTES;
	}
	UW_MEMBER uint32_t full(void) const
	{
		return base + nstages * NBYTES + UW_OVERLAYS_NBYTES(SOURCE);
	}
	UW_MEMBER uint32_t empty(void) const
	{
		return full() + 8 * UW_WGMMA_MAX_STAGES;
	}
	UW_MEMBER void advance(void)
	{
		if (++now == nstages) {
			now = 0;
			parity ^= 1;
		}
	}
	UW_MEMBER uint32_t x(void) const
	{
		return base + now * NBYTES;
	}
	UW_MEMBER uint32_t weights(uint32_t block) const
	{
		return x() + TILE_N * UW_X_ROW_NBYTES + block * WEIGHTS_NBYTES;
	}
	UW_MEMBER uint32_t info(uint32_t warp) const
	{
		return x() + SIDE + UW_INFO_NBYTES * warp;
	}
	UW_MEMBER uint32_t patches(uint32_t block) const
	{
		return x() + SIDE + UW_INFO_NBYTES * UW_TILE_WARPS + UW_SIDE_PATCHES_NBYTES * block;
	}
};

/* ---- the warp that fetches ---- */

/*
 * Units are fetched in batches of up to four: lane 8 i + w minds tile w of unit i, and lanes 8 i and 8 i + 4 ask for the
 * planes of its two row blocks.
 */
struct uw_fetch_lane {
	uint32_t unit, tile, block; /* unit of the batch, tile of the row block, row block */
	bool leads;
};

template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_fetch_planes(const struct uw_stages<SOURCE, TILE_N> &stages, const struct uw_y_tile &tile,
			       const struct uw_row_block &b, uint32_t block, uint32_t kblocks, uint32_t k, uint64_t cache)
{
	uint32_t full = stages.full() + 8 * stages.now, to = stages.weights(block);

	if (SOURCE == UW_LINEAR_RAW) {
		uw_barrier_expect(full, stages.WEIGHTS_NBYTES);
		uw_tensor_copy(to, tile.matrix->map, UW_TILE_COLS * k, UW_ROW_BLOCK * b.block, full, cache);
		return;
	}

	uint64_t first = uw_first_tile(b, kblocks, k);
	uint32_t e_nbytes = SOURCE == UW_LINEAR_P4 ? 512 : 1024;

	uw_barrier_expect(full, b.high * (1024 + e_nbytes));
	uw_bulk_copy(to, b.group->s_dev + 1024 * first, 1024 * b.high, full, cache);
	uw_bulk_copy(to + 1024 * b.high, b.group->e_dev + e_nbytes * first, e_nbytes * b.high, full, cache);
}

/* The infos of a unit, and patches for all tiles of the row block that are in the chunk of its first one. */
template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_fetch_info(const struct uw_stages<SOURCE, TILE_N> &stages, const struct uw_gpu_gemm_group *group,
			     const struct uw_fetch_lane &me, const struct uw_vec4 &info)
{
	uint32_t full = stages.full() + 8 * stages.now, n = UW_INFO_STAGED(info);

	uw_store_shared_vec4(stages.info(UW_BLOCK_TILES * me.block + me.tile), info);
	if (me.leads && n != 0) {
		uintptr_t from = (uintptr_t)(group->patches_dev + UW_INFO_FIRST(info)), begin = from & ~(uintptr_t)15;
		uint32_t nbytes = ((uint32_t)(from - begin) + 4 * n + 15) & ~15u;

		uw_barrier_expect(full, nbytes);
		uw_bulk_copy(stages.patches(me.block), (const void *)begin, nbytes, full, UW_CACHE_NORMAL);
	}
}

/* What the lane has to know of its tile in a unit of the batch. */
UW_DEVICE struct uw_vec4 uw_fetch_lane_info(const struct uw_gpu_gemm &gemm, const struct uw_row_block &b,
					    const struct uw_fetch_lane &me, uint32_t kblocks, uint32_t k)
{
	uint32_t first = uw_first_tile(b, kblocks, k), at = first + me.tile;
	bool staged = first / UW_CHUNK_TILES == at / UW_CHUNK_TILES;

	return uw_tile_info(b.group, uw_tile_word_load(b.group, at), at, gemm.ncols - UW_TILE_COLS * k,
			    staged ? UW_SIDE_PATCHES : 0);
}

template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_fetch_segment(const struct uw_gpu_gemm &gemm, const void *x_map, const struct uw_work &work,
				const struct uw_segment &seg, const struct uw_y_tile &tile, const struct uw_fetch_lane &me,
				uint32_t lane, bool *waited, struct uw_stages<SOURCE, TILE_N> *stages)
{
	struct uw_row_block b = uw_row_block_open(tile, SOURCE, me.block);
	uint32_t batch = gemm.nstages > 4 ? 4 : 2;
	uint64_t cache = gemm.nx <= gemm.config.tile_n ? UW_CACHE_EVICT_FIRST : UW_CACHE_NORMAL;

	UW_NO_UNROLL
	for (uint32_t done = 0; done < seg.nk; done += batch) {
		uint32_t n = seg.nk - done < batch ? seg.nk - done : batch, k = seg.k + done;
		bool mine = me.unit < n && me.tile < b.high;
		struct uw_stages<SOURCE, TILE_N> at = *stages;
		struct uw_vec4 info = {};

		if (SOURCE != UW_LINEAR_RAW && mine)
			info = uw_fetch_lane_info(gemm, b, me, work.kblocks, k + me.unit);
		UW_NO_UNROLL
		for (uint32_t i = 0; i < n; i++) {
			uw_barrier_wait(at.empty() + 8 * at.now, at.parity ^ 1);
			if (mine && me.leads && me.unit == i)
				uw_fetch_planes(at, tile, b, me.block, work.kblocks, k + i, cache);
			at.advance();
		}
		if (!*waited) {
			uw_grid_wait();
			*waited = true;
		}
		UW_NO_UNROLL
		for (uint32_t i = 0; i < n; i++) {
			uint32_t full = stages->full() + 8 * stages->now;

			if (lane == 8 * i) {
				uw_barrier_expect(full, TILE_N * UW_X_ROW_NBYTES);
				uw_tensor_copy(stages->x(), x_map, UW_TILE_COLS * (k + i), tile.first_x, full,
					       UW_CACHE_NORMAL);
			}
			if (SOURCE != UW_LINEAR_RAW && mine && me.unit == i)
				uw_fetch_info(*stages, b.group, me, info);
			uw_sync_warp();
			if (lane == 0)
				uw_barrier_arrive(full);
			stages->advance();
		}
	}
}

template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_fetch(const struct uw_gpu_gemm &gemm, const void *x_map, uint32_t lane)
{
	struct uw_fetch_lane me = { lane / 8, lane % 4, lane / 4 % 2, lane % 4 == 0 };
	struct uw_stages<SOURCE, TILE_N> stages;
	bool waited = !gemm.early;
	struct uw_y_tile tile;
	struct uw_segment seg;

	stages.init(gemm);
	if (waited)
		uw_grid_wait();

	struct uw_work work = uw_work_open(gemm, lane);

	for (bool more = uw_segment_first(work, &seg); more; more = uw_segment_next(work, &seg)) {
		(void)uw_find_tile(gemm, seg.tile, lane, &tile);
		if (SOURCE == UW_LINEAR_RAW && gemm.nmatrices > UW_GPU_GEMM_FEW)
			uw_tensor_map_fence(tile.matrix->map); /* not of a parameter's: only of global memory */
		uw_fetch_segment(gemm, x_map, work, seg, tile, me, lane, &waited, &stages);
	}
	if (!waited) /* a launch does not end before the one ahead: the next one waits for this one alone */
		uw_grid_wait();
}

/* ---- warps that multiply ---- */

struct uw_multiplier {
	uint32_t warp, lane;
	uint32_t block, tile; /* its row block, and its tile there */
	uint32_t high;
	uint32_t overlay;
	const uint32_t *patches;
};

/* Fragments of the next unit, when it is there. */
template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_next_fragments(const struct uw_stages<SOURCE, TILE_N> &stages, const struct uw_multiplier &me,
				 uint32_t a[16])
{
	struct uw_vec4 info = {};

	uw_barrier_wait(stages.full() + 8 * stages.now, stages.parity);
	if (SOURCE != UW_LINEAR_RAW)
		info = uw_load_shared_vec4(stages.info(UW_BLOCK_TILES * me.block + me.tile));
	uw_tile_fragments<SOURCE>(stages.weights(me.block), me.high, me.tile, me.lane, info, a);
	if (SOURCE != UW_LINEAR_RAW && info.w[2] != 0) {
		uint32_t skip = (uint32_t)(uintptr_t)(me.patches + UW_INFO_FIRST(info)) & 15;

		uw_mend_fragments(info, stages.patches(me.block) + skip, me.patches, me.overlay, me.lane, a);
	}
}

/* Begins a group: 64 columns of W and x. */
template <uint32_t NSUMS> UW_DEVICE void uw_begin_products(float (&d)[NSUMS], const uint32_t a[16], uint32_t x)
{
	uint64_t b = uw_wgmma_b(x);

	uw_wgmma_fence();
	UW_UNROLL
	for (uint32_t j = 0; j < 4; j++)
		uw_wgmma(d, a + 4 * j, b + 2 * j);
	uw_wgmma_commit();
}

/* The warp has read all of a stage. */
UW_DEVICE void uw_give_back(uint32_t empty, uint32_t lane)
{
	uw_sync_warp();
	if (lane == 0)
		uw_barrier_arrive(empty);
}

template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_multiply_segment(uint32_t nk, const struct uw_multiplier &me, struct uw_stages<SOURCE, TILE_N> *stages,
				   float (&d)[TILE_N / 2])
{
	uint32_t a0[16], a1[16], empty = stages->empty(), before = 0, n = nk;
	bool any = false; /* a stage before this one is in use */

	UW_UNROLL
	for (uint32_t i = 0; i < TILE_N / 2; i++)
		d[i] = 0;
	uw_next_fragments(*stages, me, a0);
	UW_NO_UNROLL
	for (; n > 1; n -= 2) {
		uw_begin_products(d, a0, stages->x());
		uw_wgmma_wait<1>();
		if (any)
			uw_give_back(empty + 8 * before, me.lane);
		before = stages->now;
		stages->advance();
		uw_next_fragments(*stages, me, a1);
		uw_begin_products(d, a1, stages->x());
		uw_wgmma_wait<1>();
		uw_give_back(empty + 8 * before, me.lane);
		before = stages->now;
		any = true;
		stages->advance();
		if (n > 2)
			uw_next_fragments(*stages, me, a0);
	}
	if (n == 1)
		uw_begin_products(d, a0, stages->x());
	uw_wgmma_wait<0>();
	uw_wgmma_settle(d);
	if (any)
		uw_give_back(empty + 8 * before, me.lane);
	if (n == 1) {
		uw_give_back(empty + 8 * stages->now, me.lane);
		stages->advance();
	}
}

/* For a row block that there is not: only the stages pass. */
template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_pass_segment(uint32_t nk, uint32_t lane, struct uw_stages<SOURCE, TILE_N> *stages)
{
	UW_NO_UNROLL
	for (; nk > 0; nk--) {
		uw_barrier_wait(stages->full() + 8 * stages->now, stages->parity);
		uw_give_back(stages->empty() + 8 * stages->now, lane);
		stages->advance();
	}
}

/* The warp's tile in a segment. False: there is no such row block. */
template <enum uw_linear_source SOURCE>
UW_DEVICE bool uw_multiplier_open(const struct uw_gpu_gemm &gemm, const struct uw_segment &seg, struct uw_multiplier *me)
{
	struct uw_row_block b;
	struct uw_y_tile tile;

	(void)uw_find_tile(gemm, seg.tile, me->lane, &tile);
	b = uw_row_block_open(tile, SOURCE, me->block);
	me->high = SOURCE == UW_LINEAR_RAW ? UW_BLOCK_TILES : b.high;
	me->tile = me->warp % UW_BLOCK_TILES;
	if (me->tile >= me->high)
		me->tile = me->high - 1; /* no rows: takes those of another, and its sums go nowhere */
	if (SOURCE != UW_LINEAR_RAW && b.high != 0)
		me->patches = b.group->patches_dev;
	return b.high != 0;
}

template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_multiply(const struct uw_gpu_gemm &gemm, uint32_t warp, uint32_t lane)
{
	struct uw_work work = uw_work_open(gemm, lane);
	struct uw_stages<SOURCE, TILE_N> stages;
	struct uw_multiplier me;
	struct uw_segment seg;
	float d[TILE_N / 2];

	stages.init(gemm);
	me.warp = warp;
	me.lane = lane;
	me.block = warp / UW_BLOCK_TILES;
	me.overlay = stages.overlays() + UW_OVERLAY_NBYTES * warp;
	for (bool more = uw_segment_first(work, &seg); more; more = uw_segment_next(work, &seg)) {
		if (!uw_multiplier_open<SOURCE>(gemm, seg, &me)) {
			uw_pass_segment(seg.nk, lane, &stages);
			continue;
		}
		uw_multiply_segment(seg.nk, me, &stages, d);
		/* everything once more: registers are dearer than that */
		uw_segment_at(work, uw_opaque(seg.unit), &seg);
		uw_finish<SOURCE>(gemm, work, seg, warp, lane, d);
	}
}

/* ---- a block ---- */

template <enum uw_linear_source SOURCE, uint32_t TILE_N>
UW_DEVICE void uw_gemm_wgmma(const struct uw_gpu_gemm &gemm, const void *x_map)
{
	uint32_t lane = uw_thread() % 32, warp = uw_from_lane(uw_thread() / 32, 0);
	struct uw_stages<SOURCE, TILE_N> stages;

	stages.init(gemm);
	uw_grid_let_next();
	if (uw_thread() == 0) {
		for (uint32_t i = 0; i < gemm.nstages; i++) {
			uw_barrier_init(stages.full() + 8 * i, 1);
			uw_barrier_init(stages.empty() + 8 * i, UW_TILE_WARPS);
		}
		uw_barrier_init_fence();
	}
	if (SOURCE != UW_LINEAR_RAW && warp < UW_TILE_WARPS)
		uw_overlay_clear(stages.overlays() + UW_OVERLAY_NBYTES * warp, lane);
	uw_sync_block();
	if (warp >= UW_TILE_WARPS) {
		if (TILE_N == 256)
			uw_fewer_registers<UW_WGMMA_FETCH_REGISTERS>();
		if (warp == UW_TILE_WARPS)
			uw_fetch<SOURCE, TILE_N>(gemm, x_map, lane);
	} else {
		if (TILE_N == 256)
			uw_more_registers<UW_WGMMA_MULTIPLY_REGISTERS>();
		uw_multiply<SOURCE, TILE_N>(gemm, warp, lane);
	}
}
#endif
