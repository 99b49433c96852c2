/* SPDX-License-Identifier: Apache-2.0 */
/* uw_fence_fn for the loops from AVX2 on, the ones with streaming stores. */
#include <immintrin.h>

#include "x86.h"

void uw_fence_avx2(void)
{
	_mm_sfence();
}
