/* SPDX-License-Identifier: Apache-2.0 */
/* cuBLASLt, for weights that are BF16 in memory. See dense in unweight/gpu_ops.h. */
#ifndef UW_CUBLAS_LT_CUH
#define UW_CUBLAS_LT_CUH

#include "unweight/gpu_ops.h"

enum uw_status uw_cublas_lt_open(void **library);
void uw_cublas_lt_close(void *library);
enum uw_status uw_cublas_lt_choose(void *library, const struct uw_gpu_dense_key *key, struct uw_gpu_dense_algo *algo);
enum uw_status uw_cublas_lt_multiply(void *library, const struct uw_gpu_dense *dense,
				     const struct uw_gpu_dense_algo *algo, struct CUstream_st *stream);
#endif
