/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UNWEIGHT_PREAD_H
#define UNWEIGHT_PREAD_H

#include <stddef.h>
#include <stdint.h>

#include "unweight/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Reads exactly nbytes at off. */
typedef enum uw_status (*uw_pread_fn)(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err);

#ifdef __cplusplus
}
#endif
#endif
