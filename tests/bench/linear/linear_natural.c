/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A BF16 GEMM that owes nothing to the compressed forms: our AMX loops with weights in their natural order, which they
 * only copy. Not a kernel of the library, since its sums are in an order of their own.
 */
#include "../../cpu_level.h"
#include "bench_linear.h"
#include "unweight/kernels.h"

#if defined(__AMX_BF16__)

#include "linear_amx.h"

static void pack(const struct uw_linear_dims *dims, const void *x, enum uw_linear_type type, size_t ld,
		 uint64_t first, uint64_t end, void *packed)
{
	amx_pack(true, dims, x, type, ld, first, end, packed);
}

static void gemm(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed, float *y,
		 size_t ld, void *scratch)
{
	struct amx_job job = { dims, run, uw_linear_cols(dims), packed, y, ld, scratch };

	amx_gemm(&job, UW_AMX_NATURAL);
}

unsigned bench_variants_natural(const struct bench_case *c, struct bench_variant *v)
{
	struct uw_linear_kernel kernel = {
		.name = "amx",
		.packed_nbytes = amx_packed_nbytes,
		.scratch_nbytes = amx_scratch_nbytes,
		.pack = pack,
		.gemm = { NULL, NULL, gemm },
	};

	if (!(cpu_level_flags() & UW_CPU_AMX))
		return 0;
	*v = bench_variant_of(c, &kernel, UW_LINEAR_RAW, "natural");
	return 1;
}

#else

unsigned bench_variants_natural(const struct bench_case *c, struct bench_variant *v)
{
	return 0;
}

#endif
