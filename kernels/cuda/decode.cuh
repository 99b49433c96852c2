/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stored groups to weights, nibbles or exponents: what one warp does with one chunk. Source for the device and for the
 * emulator.
 *
 *     group on disk      head [tables | chunk words | patches | row order] E [streams or nibbles of chunk 0 | 1 ..]
 *                        S [tile 0 | 1 ..]
 *     chunk = 8 tiles    one warp; lane l decodes the 32 weights of lane l in each tile, without asking other lanes
 *     tile = 16 x 64     4 fragments a lane -> patches -> 16 rows of 128 bytes
 *
 *      lane l:  S0 S1 (16 bytes each)  |
 *               I (16 bytes)           |-> a[16] --STS--> staged tile, 2 KB a warp --LDS.128--> STG.128, 4 rows of
 *               or 32 codes of H       |                  ^ patches XOR in                      128 bytes a warp
 *
 * H keeps, besides, for each warp a window table (128 entries of 2 bytes: two words a bank, so a look-up of 32 lanes
 * takes at most two turns) and the chunk's stream (some 2.7 KB for trained weights), copied whole before the first
 * code. Lanes start where the 32-lane prefix sum of (base + d) << shift says. Eight codes of at most 7 bits come out
 * of one 64-bit window; a lane then moves on by their sum.
 *
 * Traffic in bytes a weight, and the weights that an SM of an H200 (132 SMs, 1.755 GHz, 4.3 TB/s) has to finish in a
 * clock to keep up with it:
 *     P4 -> BF16        1.5 + 2    = 3.5     5.3
 *     H  -> BF16        1.33 + 2   = 3.33    5.6
 *     H  -> nibbles     0.33 + 0.5 = 0.83   22
 *     H  -> exponents   0.33 + 1   = 1.33   14
 * Shared memory gives 32 words a clock. A tile of H -> BF16 takes 32 x 2 for look-ups, 12 x 3.5 for windows (random
 * banks), 32 for staging: 138 clocks, 7.4 weights a clock; so H -> BF16 waits for memory, the other two of H for
 * shared memory (9.7 weights a clock). ALU work, 64 operations a clock: see the figures in tests/cuda/gate.py.
 *
 * Reads: heads are trusted (uw_coded_open has checked them). A stream is used only if its 32 lanes end where the chunk
 * words say and if it fits the room reserved; from then on a lane reads at most 229 bytes beyond the stream, whatever
 * the codes are, and has 232 bytes of shared memory for that. What stands there does not matter: a lane that uses it
 * is corrupt. Writes: the tile's part of the output, or the chunk's part of a plane; addresses do not depend on
 * streams.
 */
#ifndef UW_DECODE_CUH
#define UW_DECODE_CUH

#include "fragment.cuh"
#include "unweight/gpu_decode.h"

#define UW_WARPS 4u                /* of a block; they have nothing to do with one another */
#define UW_STREAM_SLACK 232u       /* bytes of room behind a stream */
#define UW_ENTRIES_NBYTES 256u     /* a window table; aligned to as much, so that an index can be ORed to its address */

enum uw_gpu_output {
	UW_GPU_WEIGHTS,
	UW_GPU_NIBBLES,
	UW_GPU_EXPONENTS,
};

/* ---- shared memory of a block: window tables, staged tiles, streams; each kernel has the parts that it needs ---- */

/* Bytes of a warp's stream: up to 12 bytes before it and the slack behind, in whole vectors. */
UW_HOST_DEVICE uint32_t uw_stream_nbytes(uint32_t stream_room)
{
	return (12 + stream_room + UW_STREAM_SLACK + 15) / 16 * 16;
}

UW_HOST_DEVICE uint32_t uw_shared_nbytes(uint32_t coding, enum uw_gpu_output output, uint32_t stream_room)
{
	uint32_t nbytes = output == UW_GPU_WEIGHTS ? UW_STAGED_TILE_NBYTES : 0;

	if (coding == UW_CODING_H)
		nbytes += UW_ENTRIES_NBYTES + uw_stream_nbytes(stream_room);
	return UW_WARPS * nbytes;
}

/* ---- which chunk ---- */

struct uw_warp_chunk {
	struct uw_gpu_group group;
	uint32_t number;  /* of the group in the launch */
	uint32_t chunk;   /* in the group */
	uint32_t ntiles;  /* of the chunk */
	uint64_t word;
	uint32_t stream_from, stream_to; /* H: in E */
	uint32_t patch_from, patch_to;
};

/*
 * The group of chunk `at` of the launch: the last one whose first chunk is not behind it. A round leaves a 32nd of the
 * groups.
 */
UW_DEVICE uint32_t uw_find_group(const struct uw_gpu_decode &decode, uint32_t at, uint32_t lane)
{
	uint32_t from = 0, n = decode.ngroups;

	while (n > 1) {
		uint32_t step = (n + 31) / 32, probe = lane * step;
		bool before = probe < n && uw_load_global_u32(&decode.groups_dev[from + probe].first_chunk) <= at;
		uint32_t skip = (uw_popcount(uw_ballot(before)) - 1) * step;

		from += skip;
		n = n - skip < step ? n - skip : step;
	}
	return from;
}

UW_DEVICE struct uw_warp_chunk uw_warp_chunk_open(const struct uw_gpu_decode &decode, uint32_t at, uint32_t lane)
{
	struct uw_warp_chunk c;
	const uint64_t *words;

	c.number = uw_find_group(decode, at, lane);
	c.group = decode.groups_dev[c.number];
	c.chunk = at - c.group.first_chunk;
	c.ntiles = c.group.ntiles - UW_CHUNK_TILES * c.chunk;
	if (c.ntiles > UW_CHUNK_TILES)
		c.ntiles = UW_CHUNK_TILES;
	words = (const uint64_t *)(c.group.stored_dev + c.group.words_off) + c.chunk;
	c.word = uw_load_global_u64(words);
	c.stream_from = 4 * UW_WORD_START(c.word);
	c.stream_to = c.group.e_nbytes;
	c.patch_from = UW_WORD_PATCH(c.word);
	c.patch_to = c.group.npatches;
	if (c.chunk + 1 < c.group.nchunks) {
		uint64_t next = uw_load_global_u64(words + 1);

		c.stream_to = 4 * UW_WORD_START(next);
		c.patch_to = UW_WORD_PATCH(next);
	}
	return c;
}

/* ---- which tile: the walk of libcodec/position.h ---- */

struct uw_tile_place {
	uint32_t block, col, in_block; /* tiled: row block, tile column, tile row in the row block */
	uint32_t high;                 /* tile rows of the row block */
	uint32_t cols, rows;           /* of the group, in tiles */
	uint32_t number;               /* linear: the tile's number */
};

UW_DEVICE uint32_t uw_block_high(const struct uw_tile_place &place)
{
	uint32_t left = place.rows - 4 * place.block;

	return left < 4 ? left : 4;
}

UW_DEVICE struct uw_tile_place uw_tile_seek(const struct uw_gpu_group &group, uint32_t tile)
{
	struct uw_tile_place place = {};
	uint32_t rest;

	place.number = tile;
	if (group.order == UW_ORDER_LINEAR)
		return place;
	place.cols = (group.ncols + UW_TILE_COLS - 1) / UW_TILE_COLS;
	place.rows = (group.nrows + UW_TILE_ROWS - 1) / UW_TILE_ROWS;
	place.block = tile / (4 * place.cols);
	place.high = uw_block_high(place);
	rest = tile - place.block * 4 * place.cols;
	place.col = rest / place.high;
	place.in_block = rest - place.col * place.high;
	return place;
}

UW_DEVICE void uw_tile_next(struct uw_tile_place *place)
{
	place->number++;
	if (++place->in_block < place->high)
		return;
	place->in_block = 0;
	if (++place->col < place->cols)
		return;
	place->col = 0;
	place->block++;
	place->high = uw_block_high(*place);
}

/* ---- a tile on its way out ---- */

/* Fragments of step j of all lanes into the staged tile. Tiled: a register of 32 lanes is 8 rows of 16 bytes. */
UW_DEVICE void uw_stage(uint32_t staged, bool linear, uint32_t lane, const uint32_t a[16])
{
	UW_UNROLL
	for (uint32_t j = 0; j < 4; j++) {
		const uint32_t *b = a + 4 * j;

		if (linear) {
			struct uw_vec4 v = { { b[0], b[1], b[2], b[3] } };

			uw_store_shared_vec4(staged + uw_staged_vector(4 * j + lane / 8, lane % 8), v);
		} else {
			uint32_t row = lane / 4, left = staged + uw_staged_vector(row, 2 * j) + 4 * (lane % 4);
			uint32_t right = staged + uw_staged_vector(row, 2 * j + 1) + 4 * (lane % 4);

			uw_store_shared_u32(left, b[0]);
			uw_store_shared_u32(left + 8 * 128, b[1]);
			uw_store_shared_u32(right, b[2]);
			uw_store_shared_u32(right + 8 * 128, b[3]);
		}
	}
}

/*
 * XORs the patches of tile t of the chunk into the staged tile and moves `patch_from` behind them. Positions ascend,
 * so those of a tile stand together and no two lanes meet in a weight. A chunk without patches costs one comparison a
 * tile.
 */
UW_DEVICE void uw_stage_patches(struct uw_warp_chunk *c, uint32_t staged, uint32_t t, uint32_t lane)
{
	const uint32_t *patches = (const uint32_t *)(c->group.stored_dev + c->group.patches_off);
	bool linear = c->group.order == UW_ORDER_LINEAR;
	uint32_t n = 32;

	UW_NO_UNROLL
	while (n == 32 && c->patch_from < c->patch_to) {
		uint32_t patch = ~0u; /* of no tile */

		if (lane < c->patch_to - c->patch_from)
			patch = uw_load_global_u32(patches + c->patch_from + lane);
		if (patch >> 26 == t) {
			uint32_t addr = staged + uw_staged_weight(linear, patch >> 16 & 1023);

			uw_store_shared_u16(addr, uw_load_shared_u16(addr) ^ patch);
		}
		n = uw_popcount(uw_ballot(patch >> 26 == t));
		c->patch_from += n;
	}
}

/* The row of the group that stored row i is: SPEC.md section 6. Rows of padding stay what they are. */
UW_DEVICE uint32_t uw_group_row(const struct uw_gpu_group &group, uint32_t i)
{
	if (group.rows_off == 0 || i >= group.nrows)
		return i;
	return uw_load_global_u16((const uint16_t *)(group.stored_dev + group.rows_off) + i);
}

/*
 * The staged tile to its place, a vector of 8 weights after the other: for tiles at the edge, rows that are not
 * aligned and rows in an order of their own.
 */
UW_DEVICE void uw_unstage_slowly(const struct uw_gpu_group &group, const struct uw_tile_place &place, uint32_t staged,
				 uint32_t lane)
{
	bool linear = group.order == UW_ORDER_LINEAR;
	uint32_t rows = linear ? 0 : uw_group_row(group, 64 * place.block + 16 * place.in_block + lane % 16);

	UW_NO_UNROLL
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t row = 4 * i + lane / 8, vector = lane % 8, n;
		struct uw_vec4 v = uw_load_shared_vec4(staged + uw_staged_vector(row, vector));
		uint16_t *out = (uint16_t *)group.out_dev;

		if (linear) {
			uint32_t first = UW_TILE_WEIGHTS * place.number + 64 * row + 8 * vector;

			n = first < group.ncols ? group.ncols - first : 0;
			out += first;
		} else {
			uint32_t at_row = uw_from_lane(rows, row);
			uint32_t at_col = 64 * place.col + 8 * vector;

			n = at_row < group.nrows && at_col < group.ncols ? group.ncols - at_col : 0;
			out += (uint64_t)at_row * group.ncols + at_col;
		}
		if (n >= 8 && (uintptr_t)out % 16 == 0) {
			uw_store_global_vec4((struct uw_vec4 *)out, v);
			continue;
		}
		UW_UNROLL
		for (uint32_t k = 0; k < 8; k++) {
			if (k < n)
				uw_store_global_u16(out + k, v.w[k / 2] >> 16 * (k % 2));
		}
	}
}

/* The same where all 16 rows are whole and aligned: each warp instruction writes 4 rows of 128 bytes. */
UW_DEVICE void uw_unstage_whole(uint16_t *out, uint64_t stride, uint32_t staged, uint32_t lane)
{
	uint32_t even = staged + uw_staged_vector(lane / 8, lane % 8);
	uint32_t odd = staged + uw_staged_vector(lane / 8 + 4, lane % 8);

	out += lane / 8 * stride + 8 * (lane % 8);
	UW_UNROLL
	for (uint32_t i = 0; i < 4; i++) {
		struct uw_vec4 v = uw_load_shared_vec4((i % 2 ? odd - 512 : even) + 512 * i);

		uw_store_global_vec4((struct uw_vec4 *)out, v);
		out += 4 * stride;
	}
}

UW_DEVICE void uw_unstage(const struct uw_gpu_group &group, const struct uw_tile_place &place, bool aligned,
			  uint32_t staged, uint32_t lane)
{
	uint16_t *out = (uint16_t *)group.out_dev;
	uint32_t row = 64 * place.block + 16 * place.in_block, col = 64 * place.col;

	if (group.order == UW_ORDER_LINEAR && aligned && UW_TILE_WEIGHTS * (place.number + 1) <= group.ncols)
		uw_unstage_whole(out + UW_TILE_WEIGHTS * (uint64_t)place.number, 64, staged, lane);
	else if (group.order == UW_ORDER_TILED && aligned && group.rows_off == 0 && row + 16 <= group.nrows &&
		 col + 64 <= group.ncols)
		uw_unstage_whole(out + (uint64_t)row * group.ncols + col, group.ncols, staged, lane);
	else
		uw_unstage_slowly(group, place, staged, lane);
}

/* Fragments of tile t of the chunk, at `place`, to weights. */
UW_DEVICE void uw_put_tile(struct uw_warp_chunk *c, const struct uw_tile_place &place, uint32_t t, const uint32_t a[16],
			   uint32_t staged, uint32_t lane)
{
	bool linear = c->group.order == UW_ORDER_LINEAR;
	bool aligned = (uintptr_t)c->group.out_dev % 16 == 0 && (linear || c->group.ncols % 8 == 0);

	uw_sync_warp(); /* the tile before this one has been read */
	uw_stage(staged, linear, lane, a);
	uw_sync_warp();
	if (c->patch_from < c->patch_to) {
		uw_stage_patches(c, staged, t, lane);
		uw_sync_warp();
	}
	uw_unstage(c->group, place, aligned, staged, lane);
}

/* ---- planes ---- */

struct uw_s_vectors {
	struct uw_vec4 s0, s1;
};

/* What the lane has of tile t of the chunk in the S plane. */
UW_DEVICE struct uw_s_vectors uw_load_s(const struct uw_warp_chunk &c, uint32_t t, uint32_t lane)
{
	const uint8_t *s = c.group.stored_dev + c.group.s_off + (UW_CHUNK_TILES * c.chunk + t) * UW_TILE_WEIGHTS;
	struct uw_s_vectors v;

	v.s0 = uw_load_global_once((const struct uw_vec4 *)s + lane);
	v.s1 = uw_load_global_once((const struct uw_vec4 *)s + 32 + lane);
	return v;
}

UW_DEVICE struct uw_vec4 uw_load_nibbles(const struct uw_warp_chunk &c, uint32_t t, uint32_t lane)
{
	const uint8_t *nibbles = c.group.stored_dev + c.group.e_off +
				 (UW_CHUNK_TILES * c.chunk + t) * (UW_TILE_WEIGHTS / 2);

	return uw_load_global_once((const struct uw_vec4 *)nibbles + lane);
}

/* Table of the chunk: palette in words 0 and 1, code lengths in 2 and 3. */
UW_DEVICE struct uw_vec4 uw_load_table(const struct uw_warp_chunk &c)
{
	return uw_load_global_once((const struct uw_vec4 *)c.group.stored_dev + UW_WORD_TABLE(c.word));
}

/* ---- P4 ---- */

/* Loads of the next tile are under way while one is decoded. */
UW_DEVICE void uw_warp_p4(const struct uw_gpu_decode &decode)
{
	uint32_t lane = uw_thread() % 32, warp = uw_thread() / 32, at = UW_WARPS * uw_block() + warp;
	uint32_t staged = uw_shared() + warp * UW_STAGED_TILE_NBYTES;

	if (at >= decode.nchunks)
		return;
	struct uw_warp_chunk c = uw_warp_chunk_open(decode, at, lane);
	struct uw_tile_place place = uw_tile_seek(c.group, UW_CHUNK_TILES * c.chunk);
	struct uw_vec4 table = uw_load_table(c), nibbles = uw_load_nibbles(c, 0, lane);
	struct uw_s_vectors s = uw_load_s(c, 0, lane);

	UW_NO_UNROLL
	for (uint32_t t = 0; t < c.ntiles; t++) {
		struct uw_vec4 now = nibbles;
		struct uw_s_vectors s_now = s;
		uint32_t a[16];

		if (t + 1 < c.ntiles) {
			nibbles = uw_load_nibbles(c, t + 1, lane);
			s = uw_load_s(c, t + 1, lane);
		}
		UW_UNROLL
		for (uint32_t j = 0; j < 4; j++)
			uw_fragment_p4(s_now.s0.w[j], s_now.s1.w[j], now.w[j], table.w[0], table.w[1], a + 4 * j);
		uw_put_tile(&c, place, t, a, staged, lane);
		uw_tile_next(&place);
	}
}

/* ---- H: one stream ---- */

/*
 * The window table of the chunk: entry of window w (first bit lowest) at 2 w. Lane s has symbol s. Turned round, so
 * that the first bit is the highest, the windows of a code are a run that begins at `first`, and the runs ascend with
 * the code: by length, then by symbol. So the symbol of a window is the `rank`-th one, where rank counts the runs that
 * have begun; `runs` has a bit for each beginning. The order of entries by rank passes through the upper lanes' own
 * places, which are written only afterwards.
 */
template <enum uw_gpu_output OUTPUT>
UW_DEVICE void uw_build_entries(uint32_t entries, const struct uw_vec4 &table, uint32_t lane)
{
	uint32_t s = lane % 16, length = uw_shift_pair(s < 8 ? table.w[2] : table.w[3], 0, 4 * (s % 8)) & 15;
	uint32_t pair = uw_shift_pair(s < 8 ? table.w[0] : table.w[1], 0, 8 * (s / 2 % 4)) & 255;
	uint32_t entry = OUTPUT == UW_GPU_NIBBLES ? uw_entry_symbol(s, length)
						  : uw_entry_exponent(2 * pair + s % 2, length);
	uint32_t below = (1u << s) - 1, first = 0, rank = 0, first_all = 0, rank_all = 0, runs[4], before = 0;

	if (lane >= 16)
		length = 0;
	UW_UNROLL
	for (uint32_t l = 1; l <= UW_MAX_CODE_LEN; l++) {
		uint32_t same = uw_ballot(length == l), n = uw_popcount(same), k = uw_popcount(same & below);

		if (length == l) {
			first = first_all + (k << (UW_MAX_CODE_LEN - l));
			rank = rank_all + k;
		}
		first_all += n << (UW_MAX_CODE_LEN - l);
		rank_all += n;
	}
	UW_UNROLL
	for (uint32_t i = 0; i < 4; i++) {
		runs[i] = uw_or_lanes(length != 0 && first / 32 == i ? 1u << first % 32 : 0);
		if (i < lane / 8)
			before += uw_popcount(runs[i]);
	}
	/* Lane k < 16 gets the entry of rank k: a complete code leaves no rank below rank_all empty. */
	if (length != 0)
		uw_store_shared_u16(entries + 2 * rank, entry);
	uw_sync_warp();
	entry = uw_load_shared_u16(entries + 2 * s);
	uw_sync_warp();
	/* The windows 4 lane .. + 4, turned round, all in the same word of `runs`. */
	uint32_t mine = lane < 8 ? runs[0] : lane < 16 ? runs[1] : lane < 24 ? runs[2] : runs[3];

	UW_UNROLL
	for (uint32_t i = 0; i < 4; i++) {
		uint32_t turned = 4 * lane + i, begun = before + uw_popcount(mine << (31 - turned % 32));
		uint32_t v = uw_from_lane(entry, begun - 1);

		uw_store_shared_u16(entries + (uw_reverse(turned) >> 24), v);
	}
}

/*
 * Asks for the stream; false if it is not inside of E or has no room. A start behind the end makes the size huge, and
 * one of less than the 32 bytes d fails with its lanes' ends. On the way *stream becomes the address of the stream's
 * first byte.
 */
UW_DEVICE bool uw_fetch_stream(const struct uw_warp_chunk &c, uint32_t stream_room, uint32_t lane, uint32_t *stream)
{
	uint32_t before = c.stream_from % 16, nbytes = c.stream_to - c.stream_from;
	const uint8_t *src = c.group.stored_dev + c.group.e_off + (c.stream_from - before);

	if (c.stream_to > c.group.e_nbytes || nbytes > stream_room)
		return false;
	for (uint32_t i = 16 * lane; i < before + nbytes; i += 16 * 32)
		uw_copy_start(*stream + i, (const struct uw_vec4 *)(src + i));
	*stream += before;
	return true;
}

/* Where the lane's codes begin and end, in bits of the stream. */
struct uw_lane_bits {
	uint32_t start, end;
};

UW_DEVICE struct uw_lane_bits uw_lane_bits_of(const struct uw_warp_chunk &c, uint32_t stream, uint32_t lane)
{
	uint32_t nbits = (UW_WORD_BASE(c.word) + uw_load_shared_u8(stream + lane)) << UW_WORD_SHIFT(c.word);
	uint32_t sum = nbits;

	UW_UNROLL
	for (uint32_t n = 1; n < 32; n *= 2) {
		uint32_t below = uw_from_below(sum, n);

		if (lane >= n)
			sum += below;
	}
	return { 8 * UW_LANES + sum - nbits, 8 * UW_LANES + sum };
}

/* The chunk ends where the next one begins, and what is between is zero. Every lane gets the answer. */
UW_DEVICE bool uw_stream_ends_well(const struct uw_warp_chunk &c, uint32_t stream, uint32_t end, uint32_t lane)
{
	bool last = c.chunk + 1 == c.group.nchunks, zero = true;
	uint32_t nbytes = c.stream_to - c.stream_from, used = (end + 31) / 32 * 4;

	if (last ? (c.stream_from + used + 63) / 64 * 64 != c.stream_to : used != nbytes)
		return false;
	if (lane == 0 && end % 8 != 0)
		zero = uw_load_shared_u8(stream + end / 8) >> end % 8 == 0;
	for (uint32_t i = (end + 7) / 8 + lane; i < nbytes; i += 32)
		zero &= uw_load_shared_u8(stream + i) == 0;
	return uw_ballot(zero) == 0xFFFFFFFFu;
}

/*
 * The next eight codes of the lane. `bit` counts from address 0 of shared memory and is one less than the first code's
 * bit: so a window, read there, is twice the index of its entry. Four codes of at most 7 bits come out of a word, 56
 * bits out of three words.
 */
UW_DEVICE void uw_next_entries(uint32_t entries, uint32_t *bit, uint32_t entry[8])
{
	uint32_t addr = *bit >> 5 << 2, w0 = uw_load_shared_u32(addr), w1 = uw_load_shared_u32(addr + 4);
	uint32_t w2 = uw_load_shared_u32(addr + 8);
	uint32_t lo = uw_shift_pair(w0, w1, *bit), hi = uw_shift_pair(w1, w2, *bit), window = lo, sum = 0;

	UW_UNROLL
	for (uint32_t i = 0; i < 8; i++) {
		if (i == 4)
			window = uw_shift_pair(lo, hi, sum);
		entry[i] = uw_load_shared_u16(uw_and_or(window, 0xFE, entries));
		sum += entry[i];
		window = uw_shift_pair(window, 0, entry[i]);
	}
	*bit += sum & UW_ENTRY_LENGTHS;
}

/* ---- H ---- */

/* Tile t of the chunk: 32 codes of each lane, and what becomes of them. */
template <enum uw_gpu_output OUTPUT>
UW_DEVICE void uw_decode_tile(struct uw_warp_chunk *c, const struct uw_tile_place &place, uint32_t t, uint32_t entries,
			      uint32_t *bit, uint32_t staged, uint32_t lane)
{
	uint64_t tile = UW_CHUNK_TILES * c->chunk + t;
	struct uw_s_vectors s = {};
	struct uw_vec4 x, y;
	uint32_t a[16];

	if (OUTPUT == UW_GPU_WEIGHTS)
		s = uw_load_s(*c, t, lane);
	UW_UNROLL
	for (uint32_t j = 0; j < 4; j++) {
		uint32_t entry[8];

		uw_next_entries(entries, bit, entry);
		if (OUTPUT == UW_GPU_WEIGHTS) {
			uw_fragment_entries(s.s0.w[j], s.s1.w[j], entry, a + 4 * j);
		} else if (OUTPUT == UW_GPU_NIBBLES) {
			x.w[j] = uw_place_nibbles(entry);
		} else {
			x.w[j] = uw_place_exponents(entry);
			y.w[j] = uw_place_exponents(entry + 4);
		}
	}
	if (OUTPUT == UW_GPU_WEIGHTS) {
		uw_put_tile(c, place, t, a, staged, lane);
	} else if (OUTPUT == UW_GPU_NIBBLES) {
		uw_store_global_vec4((struct uw_vec4 *)c->group.out_dev + 32 * tile + lane, x);
	} else {
		uw_store_global_vec4((struct uw_vec4 *)c->group.out_dev + 64 * tile + lane, x);
		uw_store_global_vec4((struct uw_vec4 *)c->group.out_dev + 64 * tile + 32 + lane, y);
	}
}

/* False: the stream is corrupt. `shared` is the warp's: where its parts begin. */
template <enum uw_gpu_output OUTPUT>
UW_DEVICE bool uw_decode_chunk(struct uw_warp_chunk *c, uint32_t stream_room, uint32_t entries, uint32_t staged,
			       uint32_t stream, uint32_t lane)
{
	struct uw_tile_place place = {};

	if (!uw_fetch_stream(*c, stream_room, lane, &stream))
		return false;
	uw_build_entries<OUTPUT>(entries, uw_load_table(*c), lane);
	if (OUTPUT == UW_GPU_WEIGHTS)
		place = uw_tile_seek(c->group, UW_CHUNK_TILES * c->chunk);
	uw_copy_wait();
	uw_sync_warp();

	struct uw_lane_bits bits = uw_lane_bits_of(*c, stream, lane);

	if (!uw_stream_ends_well(*c, stream, uw_from_lane(bits.end, 31), lane))
		return false;

	uint32_t bit = 8 * stream + bits.start - 1, end = 8 * stream + bits.end - 1;

	UW_NO_UNROLL
	for (uint32_t t = 0; t < c->ntiles; t++) {
		uw_decode_tile<OUTPUT>(c, place, t, entries, &bit, staged, lane);
		if (OUTPUT == UW_GPU_WEIGHTS)
			uw_tile_next(&place);
	}
	return uw_ballot(bit <= end && end - bit < 1u << UW_WORD_SHIFT(c->word)) == 0xFFFFFFFFu;
}

template <enum uw_gpu_output OUTPUT> UW_DEVICE void uw_warp_h(const struct uw_gpu_decode &decode)
{
	uint32_t lane = uw_thread() % 32, warp = uw_thread() / 32, at = UW_WARPS * uw_block() + warp;
	uint32_t staged_nbytes = OUTPUT == UW_GPU_WEIGHTS ? UW_STAGED_TILE_NBYTES : 0;
	uint32_t entries = uw_shared() + warp * UW_ENTRIES_NBYTES;
	uint32_t staged = uw_shared() + UW_WARPS * UW_ENTRIES_NBYTES + warp * staged_nbytes;
	uint32_t stream = uw_shared() + UW_WARPS * (UW_ENTRIES_NBYTES + staged_nbytes) +
			  warp * uw_stream_nbytes(decode.stream_room);

	if (at >= decode.nchunks)
		return;
	struct uw_warp_chunk c = uw_warp_chunk_open(decode, at, lane);
	uint32_t error = 0;

	if (OUTPUT != UW_GPU_WEIGHTS && (uintptr_t)c.group.out_dev % 16 != 0)
		error = UW_GPU_ERR_ALIGN;
	else if (!uw_decode_chunk<OUTPUT>(&c, decode.stream_room, entries, staged, stream, lane))
		error = UW_GPU_ERR_BITS;
	if (error != 0 && lane == 0)
		uw_or_global(decode.errors_dev + c.number, error);
}
#endif
