/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who multiplies what, and how partial sums come together: the same for all kernels.
 *
 *     tile of y    128 rows of W (two row blocks, a warp for each 16) times tile_n rows of x
 *     unit         a tile and 64 columns of W; tile t has the units from t * kblocks on, by ascending k
 *     range        units [T r / R, T (r + 1) / R) of the launch's T units; block b has the ranges b, b + nblocks, ...
 *     segment      what a range has of one tile
 *
 * R is the number of blocks (each has one range, all of a size), or the number of tiles times `parts`. Where a segment
 * is not its whole tile, its sums go to the workspace, and the warp that finds itself to be the last of the tile's
 * segments adds all of them in the order of k: the result does not depend on who that is.
 *
 *     workspace    counters, one for each tile and warp, zero between launches | sums of range 0, 1, ...: first those of
 *                  a tile that an earlier range began, then those of a tile that begins in the range; for each warp
 *                  16 x tile_n values, four of a lane together
 */
#ifndef UW_GEMM_WORK_CUH
#define UW_GEMM_WORK_CUH

#include "gemm_tile.cuh"

UW_HOST_DEVICE uint32_t uw_ceil_div(uint32_t a, uint32_t b)
{
	return (a + b - 1) / b;
}

/* ---- tiles ---- */

struct uw_y_tile {
	const struct uw_gpu_matrix *matrix;
	uint32_t row_tile; /* in the matrix */
	uint32_t first_x;  /* rows of x */
	uint32_t nx;
};

UW_DEVICE const struct uw_gpu_matrix *uw_matrix(const struct uw_gpu_gemm &gemm, uint32_t i)
{
	return gemm.nmatrices <= UW_GPU_GEMM_FEW ? &gemm.few[i] : gemm.matrices_dev + i;
}

/* Tile `number` of a matrix that meets `nx` rows of x. */
UW_DEVICE void uw_y_tile_at(const struct uw_gpu_gemm &gemm, const struct uw_gpu_matrix *matrix, uint32_t number,
			    uint32_t first_x, uint32_t nx, struct uw_y_tile *tile)
{
	uint32_t across = uw_ceil_div(nx, gemm.config.tile_n), rest;

	tile->matrix = matrix;
	tile->row_tile = number / across;
	rest = (number - tile->row_tile * across) * gemm.config.tile_n;
	tile->first_x = first_x + rest;
	tile->nx = nx - rest < gemm.config.tile_n ? nx - rest : gemm.config.tile_n;
}

/*
 * Tile `number` of the launch: by matrix, row tile, rows of x. Returns how many tiles there are, at least if that is
 * no more than `number`; what *tile is then does not matter. By a whole warp: a lane a matrix.
 */
UW_DEVICE uint32_t uw_find_tile(const struct uw_gpu_gemm &gemm, uint32_t number, uint32_t lane, struct uw_y_tile *tile)
{
	uint32_t before = 0;

	number = uw_opaque(number);
	if (gemm.nmatrices == 1 && gemm.offsets_dev == 0) {
		uw_y_tile_at(gemm, uw_matrix(gemm, 0), number, 0, gemm.nx, tile);
		return gemm.row_tiles * uw_ceil_div(gemm.nx, gemm.config.tile_n);
	}
	UW_NO_UNROLL
	for (uint32_t from = 0; from < gemm.nmatrices; from += 32) {
		uint32_t i = from + lane < gemm.nmatrices ? from + lane : gemm.nmatrices - 1;
		const struct uw_gpu_matrix *matrix = uw_matrix(gemm, i);
		uint32_t first_x = 0, nx = gemm.nx, n, sum, hit;

		if (gemm.offsets_dev != 0) {
			first_x = uw_load_global_u32(gemm.offsets_dev + matrix->bucket);
			nx = uw_load_global_u32(gemm.offsets_dev + matrix->bucket + 1) - first_x;
		}
		n = from + lane < gemm.nmatrices
			    ? uw_ceil_div(matrix->nrows, UW_ROW_TILE) * uw_ceil_div(nx, gemm.config.tile_n)
			    : 0;
		sum = n;
		UW_UNROLL
		for (uint32_t d = 1; d < 32; d *= 2) {
			uint32_t below = uw_from_below(sum, d);

			if (lane >= d)
				sum += below;
		}
		hit = uw_ballot(before + sum > number);
		if (hit != 0) {
			uint32_t at = uw_popcount(~hit & (hit - 1)); /* the lowest */

			before += uw_from_lane(sum - n, at);
			first_x = uw_from_lane(first_x, at);
			nx = uw_from_lane(nx, at);
			uw_y_tile_at(gemm, uw_matrix(gemm, from + at), number - before, first_x, nx, tile);
			return number + 1;
		}
		before += uw_from_lane(sum, 31);
	}
	return before;
}

/* ---- ranges and segments ---- */

struct uw_work {
	uint32_t kblocks;
	uint32_t nranges;
	uint32_t nunits;
};

UW_DEVICE struct uw_work uw_work_open(const struct uw_gpu_gemm &gemm, uint32_t lane)
{
	struct uw_work work;
	struct uw_y_tile none;
	uint32_t ntiles;

	if (gemm.offsets_dev == 0)
		ntiles = gemm.row_tiles * uw_ceil_div(gemm.nx, gemm.config.tile_n);
	else
		ntiles = uw_find_tile(gemm, UINT32_MAX, lane, &none);
	work.kblocks = uw_ceil_div(gemm.ncols, UW_TILE_COLS);
	work.nunits = ntiles * work.kblocks;
	work.nranges = gemm.config.parts != 0 ? ntiles * gemm.config.parts : gemm.config.nblocks;
	if (work.nranges > work.nunits)
		work.nranges = work.nunits;
	return work;
}

UW_DEVICE uint32_t uw_range_begin(const struct uw_work &work, uint32_t range)
{
	return (uint32_t)((uint64_t)work.nunits * range / work.nranges);
}

/* The range that has the unit. */
UW_DEVICE uint32_t uw_range_of(const struct uw_work &work, uint32_t unit)
{
	return (uint32_t)((((uint64_t)unit + 1) * work.nranges - 1) / work.nunits);
}

struct uw_segment {
	uint32_t range;
	uint32_t unit, end; /* what is left of the range; the segment is at its beginning */
	uint32_t tile;
	uint32_t k, nk;     /* blocks of 64 columns */
};

UW_DEVICE void uw_segment_cut(const struct uw_work &work, struct uw_segment *seg)
{
	seg->tile = seg->unit / work.kblocks;
	seg->k = seg->unit - seg->tile * work.kblocks;
	seg->nk = work.kblocks - seg->k;
	if (seg->nk > seg->end - seg->unit)
		seg->nk = seg->end - seg->unit;
}

/* The segment that begins at a unit. */
UW_DEVICE void uw_segment_at(const struct uw_work &work, uint32_t unit, struct uw_segment *seg)
{
	seg->unit = unit;
	seg->range = uw_range_of(work, unit);
	seg->end = uw_range_begin(work, seg->range + 1);
	uw_segment_cut(work, seg);
}

/* The block's first segment; false if it has none. */
UW_DEVICE bool uw_segment_first(const struct uw_work &work, struct uw_segment *seg)
{
	seg->range = uw_block();
	if (seg->range >= work.nranges)
		return false;
	seg->unit = uw_range_begin(work, seg->range);
	seg->end = uw_range_begin(work, seg->range + 1);
	uw_segment_cut(work, seg);
	return true;
}

UW_DEVICE bool uw_segment_next(const struct uw_work &work, struct uw_segment *seg)
{
	seg->unit += seg->nk;
	if (seg->unit == seg->end) {
		seg->range += uw_nblocks();
		if (seg->range >= work.nranges)
			return false;
		seg->unit = uw_range_begin(work, seg->range);
		seg->end = uw_range_begin(work, seg->range + 1);
	}
	uw_segment_cut(work, seg);
	return true;
}

/* ---- row blocks ---- */

struct uw_row_block {
	const struct uw_gpu_gemm_group *group; /* RAW: none */
	uint32_t block;     /* row block in the group; RAW: in the matrix */
	uint32_t first_row; /* the group's first row in the matrix */
	uint32_t nrows;     /* of the group; RAW: of the matrix */
	uint32_t high;      /* tiles; 0: there is no such row block */
};

/* The `n`-th row block of a tile of y. */
UW_DEVICE struct uw_row_block uw_row_block_open(const struct uw_y_tile &tile, enum uw_linear_source source, uint32_t n)
{
	const struct uw_gpu_matrix *matrix = tile.matrix;
	uint32_t number = UW_TILE_BLOCKS * tile.row_tile + n, high;
	struct uw_row_block b = { 0, number, 0, matrix->nrows, 0 };

	if (UW_ROW_BLOCK * number >= matrix->nrows)
		return b;
	if (source != UW_LINEAR_RAW) {
		uint32_t at = number / matrix->group_blocks;

		b.group = matrix->groups_dev + at;
		b.block = number - at * matrix->group_blocks;
		b.first_row = at * matrix->group_blocks * UW_ROW_BLOCK;
		b.nrows = b.group->nrows;
	}
	high = uw_ceil_div(b.nrows - UW_ROW_BLOCK * b.block, UW_TILE_ROWS);
	b.high = high < UW_BLOCK_TILES ? high : UW_BLOCK_TILES;
	return b;
}

/* Number of the row block's first tile in the group, at 64 columns number `k`. */
UW_DEVICE uint32_t uw_first_tile(const struct uw_row_block &b, uint32_t kblocks, uint32_t k)
{
	return UW_BLOCK_TILES * b.block * kblocks + b.high * k;
}

/*
 * Which row of the matrix the row `stored` of the group's planes is; UINT32_MAX: none, padding. The one place that
 * knows about row orders.
 */
UW_DEVICE uint32_t uw_output_row(const struct uw_row_block &b, uint32_t stored)
{
	if (stored >= b.nrows)
		return UINT32_MAX;
	if (b.group != 0 && b.group->order_dev != 0)
		stored = uw_load_global_u16(b.group->order_dev + stored);
	return b.first_row + stored;
}

/* ---- chunk words ---- */

/* What the group says about a tile: its chunk's word, and where the patches end. */
struct uw_tile_word {
	uint64_t word;
	uint32_t patch_to;
};

UW_DEVICE struct uw_tile_word uw_tile_word_load(const struct uw_gpu_gemm_group *group, uint32_t tile)
{
	const uint64_t *words = group->words_dev + tile / UW_CHUNK_TILES;
	struct uw_tile_word w = { uw_load_global_u64(words), group->npatches };

	if (tile / UW_CHUNK_TILES + 1 < group->nchunks)
		w.patch_to = UW_WORD_PATCH(uw_load_global_u64(words + 1));
	return w;
}

/* The tile's info, if `room` patches of its chunk can be in shared memory. */
UW_DEVICE struct uw_vec4 uw_tile_info(const struct uw_gpu_gemm_group *group, const struct uw_tile_word &w, uint32_t tile,
				      uint32_t ncols_left, uint32_t room)
{
	uint32_t from = UW_WORD_PATCH(w.word), n = w.patch_to - from;
	struct uw_vec4 table = uw_load_global_once((const struct uw_vec4 *)group->tables_dev + UW_WORD_TABLE(w.word));

	return uw_info(table.w[0], table.w[1], n, n < room ? n : room, ncols_left, from, tile % UW_CHUNK_TILES);
}

/* ---- sums ---- */

/* Where the sums of a warp go: range `range`, of a tile that began in it or not. */
UW_DEVICE struct uw_vec4 *uw_partial(const struct uw_gpu_gemm &gemm, uint32_t range, bool begun, uint32_t warp,
				     uint32_t lane)
{
	uint64_t nvectors = 4 * gemm.config.tile_n; /* a warp's */
	struct uw_vec4 *sums = (struct uw_vec4 *)((uint8_t *)gemm.workspace_dev + gemm.counters_nbytes);

	return sums + ((2 * (uint64_t)range + begun) * UW_TILE_WARPS + warp) * nvectors + lane;
}

UW_HOST_DEVICE uint32_t uw_float_bits(float x)
{
	uint32_t word;

	memcpy(&word, &x, sizeof(word));
	return word;
}

UW_HOST_DEVICE float uw_float_of(uint32_t word)
{
	float x;

	memcpy(&x, &word, sizeof(x));
	return x;
}

/*
 * Puts the warp's part of a segment that is not its whole tile with the others. True: this was the last one, d holds the
 * tile's sums.
 */
template <uint32_t NSUMS>
UW_DEVICE bool uw_sum_parts(const struct uw_gpu_gemm &gemm, const struct uw_work &work, const struct uw_segment &seg,
			    uint32_t warp, uint32_t lane, float (&d)[NSUMS])
{
	uint32_t *counter = (uint32_t *)gemm.workspace_dev + (uint64_t)UW_TILE_WARPS * seg.tile + warp;
	uint32_t unit = uw_opaque(seg.tile * work.kblocks), first = uw_range_of(work, unit);
	uint32_t last = uw_range_of(work, unit + work.kblocks - 1), arrived = 0;
	struct uw_vec4 *mine = uw_partial(gemm, seg.range, seg.k == 0, warp, lane);

	UW_UNROLL
	for (uint32_t i = 0; i < NSUMS / 4; i++)
		uw_store_global_vec4(mine + 32 * i, { { uw_float_bits(d[4 * i]), uw_float_bits(d[4 * i + 1]),
							uw_float_bits(d[4 * i + 2]), uw_float_bits(d[4 * i + 3]) } });
	uw_sync_warp(); /* what all have stored, lane 0 releases */
	if (lane == 0)
		arrived = uw_add_global(counter, 1);
	if (uw_from_lane(arrived, 0) != last - first)
		return false;
	uw_sync_warp(); /* what lane 0 has acquired, all have */
	if (lane == 0)
		uw_store_global_u32(counter, 0);
	UW_UNROLL
	for (uint32_t i = 0; i < NSUMS; i++)
		d[i] = -0.0f; /* x + -0 is x, also if that is -0 */
	UW_NO_UNROLL
	for (uint32_t range = first; range <= last; range++) {
		const struct uw_vec4 *part = uw_partial(gemm, range, range == first, warp, lane);

		UW_UNROLL
		for (uint32_t i = 0; i < NSUMS / 4; i++) {
			struct uw_vec4 v = uw_load_global_shared(part + 32 * i);

			for (uint32_t k = 0; k < 4; k++)
				d[4 * i + k] += uw_float_of(v.w[k]);
		}
	}
	return true;
}

UW_DEVICE void uw_put(const struct uw_gpu_gemm &gemm, uint64_t at, float value)
{
	if (gemm.y_type == UW_LINEAR_F32)
		uw_store_global_u32((uint32_t *)gemm.y_dev + at, uw_float_bits(value));
	else
		uw_store_global_u16((uint16_t *)gemm.y_dev + at, uw_round_bf16(value));
}

/*
 * The warp's sums to y, if the segment completes its tile. d[4 i + 2 h + c] is row lane / 4 + 8 h of the warp's 16 and
 * row 8 i + 2 (lane mod 4) + c of the tile's rows of x.
 */
template <enum uw_linear_source SOURCE, uint32_t NSUMS>
UW_DEVICE void uw_finish(const struct uw_gpu_gemm &gemm, const struct uw_work &work, const struct uw_segment &seg,
			 uint32_t warp, uint32_t lane, float (&d)[NSUMS])
{
	struct uw_row_block b;
	struct uw_y_tile tile;
	uint32_t row, m[2];

	if (seg.nk != work.kblocks && !uw_sum_parts(gemm, work, seg, warp, lane, d))
		return;
	(void)uw_find_tile(gemm, seg.tile, lane, &tile);
	b = uw_row_block_open(tile, SOURCE, warp / UW_BLOCK_TILES);
	row = UW_ROW_BLOCK * b.block + UW_TILE_ROWS * (warp % UW_BLOCK_TILES) + lane / 4;
	m[0] = uw_output_row(b, row);
	m[1] = uw_output_row(b, row + 8);

	uint64_t at = tile.matrix->y_off + (tile.first_x + 2 * (lane % 4)) * gemm.y_ld;

	UW_UNROLL
	for (uint32_t i = 0; i < NSUMS / 4; i++) {
		UW_UNROLL
		for (uint32_t c = 0; c < 2; c++) {
			at = uw_opaque(at); /* or all rows' addresses would be kept through the main loop */
			if (8 * i + 2 * (lane % 4) + c < tile.nx) {
				if (m[0] != UINT32_MAX)
					uw_put(gemm, at + m[0], d[4 * i + c]);
				if (m[1] != UINT32_MAX)
					uw_put(gemm, at + m[1], d[4 * i + 2 + c]);
			}
			at += c == 0 ? gemm.y_ld : 7 * gemm.y_ld;
		}
	}
}
#endif
