/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/kernels.h"

#if defined(__x86_64__) && defined(__GNUC__)

#include "x86/x86.h"

/* A staircase: each level writes over the one below, and an entry that a level has no better loop for stays. */
static void init_x86(struct uw_cpu_ops *ops, uint32_t flags)
{
	if (!(flags & UW_CPU_AVX2))
		return;
	/* encoding */
	ops->split[UW_ORDER_LINEAR] = uw_split_linear_avx2;
	ops->split[UW_ORDER_TILED] = uw_split_tiled_avx2;
	ops->histogram = uw_histogram_avx2;
	ops->symbols = uw_symbols_avx2;
	ops->huff_bits = uw_huff_bits_avx2;
	ops->huff_encode = uw_huff_encode_avx2;
	/* decoding */
	ops->merge[UW_ORDER_LINEAR] = uw_merge_linear_avx2;
	ops->merge[UW_ORDER_TILED] = uw_merge_tiled_avx2;
	ops->huff_decode = uw_huff_decode_avx2;
	ops->p4_pack = uw_p4_pack_avx2;
	ops->p4_decode[UW_ORDER_LINEAR] = uw_p4_decode_linear_avx2;
	ops->p4_decode[UW_ORDER_TILED] = uw_p4_decode_tiled_avx2;
	ops->get_rows = uw_get_rows_avx2;
	ops->put_rows = uw_put_rows_avx2;
	ops->fence = uw_fence_avx2;

	if (!(flags & UW_CPU_AVX512))
		return;
	/* encoding */
	ops->split[UW_ORDER_LINEAR] = uw_split_linear_avx512;
	ops->split[UW_ORDER_TILED] = uw_split_tiled_avx512;
	ops->histogram = uw_histogram_avx512;
	ops->symbols = uw_symbols_avx512;
	ops->huff_bits = uw_huff_bits_avx512;
	ops->huff_encode = uw_huff_encode_avx512;
	/* decoding */
	ops->merge[UW_ORDER_LINEAR] = uw_merge_linear_avx512;
	ops->merge[UW_ORDER_TILED] = uw_merge_tiled_avx512;
	ops->huff_decode = uw_huff_decode_avx512;
	ops->p4_pack = uw_p4_pack_avx512;
	ops->p4_decode[UW_ORDER_LINEAR] = uw_p4_decode_linear_avx512;
	ops->p4_decode[UW_ORDER_TILED] = uw_p4_decode_tiled_avx512;
	ops->get_rows = uw_get_rows_avx512;
	ops->put_rows = uw_put_rows_avx512;
}

#else

static void init_x86(struct uw_cpu_ops *ops, uint32_t flags)
{
}

#endif

void uw_cpu_ops_init(struct uw_cpu_ops *ops, uint32_t cpu_flags)
{
	uw_cpu_ops_init_c(ops);
	init_x86(ops, cpu_flags);
}
