/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/gpu/bench_stack.cu without a GPU. */
#include "../bench/gpu/bench_stack.cu"
