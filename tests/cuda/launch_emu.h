/* SPDX-License-Identifier: Apache-2.0 */
/* What launches of unweight/gpu_*.h do in the emulator, for whoever stands in the device's place and says when. */
#ifndef UW_TEST_LAUNCH_EMU_H
#define UW_TEST_LAUNCH_EMU_H

#include <functional>

#include "decode.cuh"
#include "gemm_emu.h"

namespace {

template <enum uw_gpu_output OUTPUT>
std::function<void()> emu_decode(const struct uw_gpu_decode &d)
{
	return [=] {
		emu_run((d.nchunks - 1) / UW_WARPS + 1, 32 * UW_WARPS, uw_shared_nbytes(d.coding, OUTPUT, d.stream_room),
			rng(), [&] {
				if (d.coding == UW_CODING_P4)
					uw_warp_p4(d);
				else
					uw_warp_h<OUTPUT>(d);
			});
	};
}

inline std::function<void()> emu_gather(const struct uw_gpu_matrix &matrix, const uint32_t *rows, uint32_t nrows,
					uint16_t *y, uint64_t ld)
{
	uint32_t batches = (matrix.ncols - 1) / (UW_TILE_COLS * UW_GATHER_TILES) + 1;
	uint32_t nblocks = (nrows * batches + UW_GATHER_WARPS - 1) / UW_GATHER_WARPS;
	struct uw_gather gather = { matrix, rows, y, ld, nrows, batches };

	return [=] { emu_run(nblocks, 32 * UW_GATHER_WARPS, 0, rng(), [&] { uw_gather_warp(gather); }); };
}

inline enum uw_status emu_matrix_map(struct uw_gpu_matrix *matrix)
{
	if (matrix->source != UW_LINEAR_RAW)
		return UW_ERR_ARG;
	emu_tensor_map(matrix->map, matrix->weights_dev, matrix->nrows, matrix->ncols, matrix->weights_ld, UW_ROW_BLOCK);
	return UW_OK;
}

} // namespace

#endif
