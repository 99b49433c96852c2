/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The A operand: fragments of a 16 x 64 tile of weights out of shared memory, whatever the source. Both kernels read
 * the same pieces in the same way.
 *
 *     P4    S plane 1024 bytes of a tile, nibbles 512      60 operations for 32 weights of a lane
 *     E8    S plane 1024, exponent plane 1024              24
 *     RAW   16 rows of 128 bytes, columns of 16 bytes      none (ldmatrix)
 *           exchanged by XOR with the row mod 8
 *
 * In shared memory the S planes of a row block's tiles stand first, then their E planes.
 *
 * Escapes and the last columns of a matrix are mended afterwards, where the tile has any: a tile without costs one
 * comparison. Patches go through an overlay of 2 KB a warp that is zero between uses: each lane puts the XOR of a patch
 * where the lane that has the weight looks for it.
 */
#ifndef UW_GEMM_TILE_CUH
#define UW_GEMM_TILE_CUH

#include "fragment.cuh"
#include "gemm_layout.h"
#include "ptx_matrix.cuh"

/*
 * What is to be done with a tile, 16 bytes:
 *     w[0], w[1]   its palette
 *     w[2]         0: nothing to mend. Bits 0 .. 14 patches of its chunk; 14 .. 21 those of them in shared memory;
 *                  21 .. 27 columns that count, 0: all
 *     w[3]         bits 0 .. 20 number of the chunk's first patch in the group; 20 .. 23 number of the tile in the
 *                  chunk
 */
UW_HOST_DEVICE struct uw_vec4 uw_info(uint32_t pairs0, uint32_t pairs1, uint32_t npatches, uint32_t nstaged,
				      uint32_t ncols_left, uint32_t first_patch, uint32_t tile)
{
	return { { pairs0, pairs1, npatches | nstaged << 14 | (ncols_left < 64 ? ncols_left << 21 : 0),
		   first_patch | tile << 20 } };
}

#define UW_INFO_PATCHES(info) ((info).w[2] & 0x3FFF)
#define UW_INFO_STAGED(info) ((info).w[2] >> 14 & 127)
#define UW_INFO_COLS(info) ((info).w[2] >> 21)
#define UW_INFO_FIRST(info) ((info).w[3] & 0xFFFFF)
#define UW_INFO_TILE(info) ((info).w[3] >> 20)

/*
 * Fragments of tile `tile` of the row block whose `high` tiles are at `at`. RAW: at + 2048 tile is aligned to 1024.
 */
template <enum uw_linear_source SOURCE>
UW_DEVICE void uw_tile_fragments(uint32_t at, uint32_t high, uint32_t tile, uint32_t lane, const struct uw_vec4 &info,
				 uint32_t a[16])
{
	if (SOURCE == UW_LINEAR_RAW) {
		uint32_t row = lane % 8 + lane / 8 % 2 * 8, left = at + 2048 * tile + uw_staged_vector(row, lane / 16);

		UW_UNROLL
		for (uint32_t j = 0; j < 4; j++) {
			struct uw_vec4 v = uw_ldmatrix(left ^ 32 * j);

			for (uint32_t r = 0; r < 4; r++)
				a[4 * j + r] = v.w[r];
		}
		return;
	}

	uint32_t s_at = at + 1024 * tile + 16 * lane, e_at = at + 1024 * high;
	struct uw_vec4 s0 = uw_load_shared_vec4(s_at), s1 = uw_load_shared_vec4(s_at + 512);

	if (SOURCE == UW_LINEAR_P4) {
		struct uw_vec4 nibbles = uw_load_shared_vec4(e_at + 512 * tile + 16 * lane);

		UW_UNROLL
		for (uint32_t j = 0; j < 4; j++)
			uw_fragment_p4(s0.w[j], s1.w[j], nibbles.w[j], info.w[0], info.w[1], a + 4 * j);
	} else {
		struct uw_vec4 e0 = uw_load_shared_vec4(e_at + 1024 * tile + 16 * lane);
		struct uw_vec4 e1 = uw_load_shared_vec4(e_at + 1024 * tile + 512 + 16 * lane);

		UW_UNROLL
		for (uint32_t j = 0; j < 4; j++)
			uw_fragment_e8(s0.w[j], s1.w[j], e0.w[j], e1.w[j], a + 4 * j);
	}
}

UW_DEVICE void uw_overlay_clear(uint32_t overlay, uint32_t lane)
{
	struct uw_vec4 zero = { { 0, 0, 0, 0 } };

	UW_UNROLL
	for (uint32_t j = 0; j < 4; j++)
		uw_store_shared_vec4(overlay + 512 * j + 16 * lane, zero);
}

/*
 * Patches of the tile. `staged`: where the first ones of the chunk are in shared memory; `patches`: the group's list.
 * Position 256 j + 8 lane + i of a weight is its place in the overlay, in halfwords.
 */
UW_DEVICE void uw_patch_fragments(const struct uw_vec4 &info, uint32_t staged, const uint32_t *patches, uint32_t overlay,
				  uint32_t lane, uint32_t a[16])
{
	uint32_t n = UW_INFO_PATCHES(info), nstaged = UW_INFO_STAGED(info);
	bool any = false;

	UW_NO_UNROLL
	for (uint32_t i = lane; i < n; i += 32) {
		uint32_t patch = i < nstaged ? uw_load_shared_u32(staged + 4 * i)
					     : uw_load_global_u32(patches + UW_INFO_FIRST(info) + i);

		if (patch >> 26 == UW_INFO_TILE(info)) {
			uw_store_shared_u16(overlay + 2 * (patch >> 16 & 1023), patch);
			any = true;
		}
	}
	if (uw_ballot(any) == 0)
		return;
	uw_sync_warp();
	UW_UNROLL
	for (uint32_t j = 0; j < 4; j++) {
		struct uw_vec4 v = uw_load_shared_vec4(overlay + 512 * j + 16 * lane);

		for (uint32_t r = 0; r < 4; r++)
			a[4 * j + r] ^= v.w[r];
	}
	uw_overlay_clear(overlay, lane);
	uw_sync_warp();
}

/* Zeros for the columns from `ncols` on: what padding holds is nobody's business. */
UW_DEVICE void uw_cut_fragments(uint32_t ncols, uint32_t lane, uint32_t a[16])
{
	UW_UNROLL
	for (uint32_t i = 0; i < 16; i++) {
		uint32_t col = 16 * (i / 4) + 8 * (i / 2 % 2) + 2 * (lane % 4);

		a[i] = col + 1 < ncols ? a[i] : col < ncols ? a[i] & 0xFFFF : 0;
	}
}

UW_DEVICE void uw_mend_fragments(const struct uw_vec4 &info, uint32_t staged, const uint32_t *patches, uint32_t overlay,
				 uint32_t lane, uint32_t a[16])
{
	if (UW_INFO_PATCHES(info) != 0)
		uw_patch_fragments(info, staged, patches, overlay, lane, a);
	if (UW_INFO_COLS(info) != 0)
		uw_cut_fragments(UW_INFO_COLS(info), lane, a);
}
#endif
