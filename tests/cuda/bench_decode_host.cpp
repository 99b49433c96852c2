/* SPDX-License-Identifier: Apache-2.0 */
/* tests/bench/gpu/bench_decode.cu without a GPU. */
#include "../bench/gpu/bench_decode.cu"
