/* SPDX-License-Identifier: Apache-2.0 */
/* y = W x with AMX: the entries of the table. The loops are in linear_amx.h. */
#include "linear_amx.h"
#include "x86.h"

static void pack(const struct uw_linear_dims *dims, const void *x, enum uw_linear_type type, size_t ld,
		 uint64_t first, uint64_t end, void *packed)
{
	amx_pack(false, dims, x, type, ld, first, end, packed);
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
