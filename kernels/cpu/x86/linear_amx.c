/* SPDX-License-Identifier: Apache-2.0 */
/* y = W x with AMX: the entries of the table. The loops are in linear_amx.h. */
#include "linear_amx.h"
#include "x86.h"

/* Row i of a step holds, for each tile column and pair, dword i of 16: pair p of the first vectors, then of the second
 * ones. */
static void pack(const struct uw_linear_dims *dims, const void *x, enum uw_linear_type type, size_t ld,
		 uint64_t first, uint64_t end, void *packed)
{
	struct uw_linear_cols cols = uw_linear_cols(dims);
	uint64_t nsteps = amx_packed_steps(dims), last = end == dims->batch ? nsteps * UW_PACK_ROWS : end;
	size_t nx = (size_t)(dims->col_end - dims->col_begin);

	for (uint64_t n = first; n < last; n++) {
		for (uint64_t k = 0; k < cols.n; k++) {
			uint16_t *to = (uint16_t *)packed + amx_x_off(nsteps, n / UW_PACK_ROWS, k) / sizeof(*to) +
				       2 * (n % UW_PACK_ROWS);

			for (uint32_t c = 0; c < UW_TILE_COLS; c++) {
				uint32_t p = 16 * (c / 8 % 2) + 4 * (c / 2 % 4) + c / 16;
				size_t at = (size_t)k * UW_TILE_COLS + c - cols.head;
				bool inside = n < end && at < nx; /* before the range, `at` is huge */

				to[32 * p + c % 2] = inside ? uw_linear_x_at(x, type, n * ld + at) : 0;
			}
		}
	}
}

static struct amx_job job_of(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed,
			     float *y, size_t ld, void *scratch)
{
	return (struct amx_job){ dims, run, uw_linear_cols(dims), packed, y, ld, scratch };
}

static void gemm_p4(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed, float *y,
		    size_t ld, void *scratch)
{
	struct amx_job job = job_of(dims, run, packed, y, ld, scratch);

	amx_gemm(&job, UW_LINEAR_P4);
}

static void gemm_e8(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed, float *y,
		    size_t ld, void *scratch)
{
	struct amx_job job = job_of(dims, run, packed, y, ld, scratch);

	amx_gemm(&job, UW_LINEAR_E8);
}

static void gemm_raw(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed, float *y,
		     size_t ld, void *scratch)
{
	struct amx_job job = job_of(dims, run, packed, y, ld, scratch);

	amx_gemm(&job, UW_LINEAR_RAW);
}

void uw_linear_kernel_amx(struct uw_linear_kernel *kernel)
{
	*kernel = (struct uw_linear_kernel){
		.name = "amx",
		.min_batch = 2,
		.packed_nbytes = amx_packed_nbytes,
		.scratch_nbytes = amx_scratch_nbytes,
		.pack = pack,
		.gemm = { gemm_p4, gemm_e8, gemm_raw },
	};
}
