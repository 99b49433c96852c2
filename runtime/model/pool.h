/* SPDX-License-Identifier: Apache-2.0 */
/* Threads that stay, for work that comes thousands of times a second. The public part is in linear.h. */
#ifndef UW_POOL_H
#define UW_POOL_H

#include "unweight/linear.h"

/* Calls work(ctx, i) once on each thread, i < uw_pool_nthreads(pool), and returns when all have returned. One at a
 * time. */
void uw_pool_run(struct uw_pool *pool, void (*work)(void *ctx, unsigned thread), void *ctx);

#endif
