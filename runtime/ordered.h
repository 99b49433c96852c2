/* SPDX-License-Identifier: Apache-2.0 */
/* Many workers, one order: items are worked on side by side and committed one after the other. */
#ifndef UW_ORDERED_H
#define UW_ORDERED_H

#include <stdint.h>

#include "unweight/status.h"

/* Each gets the number of its worker, 0 .. nworkers, so that it can keep buffers in a slot of its own. */
typedef enum uw_status (*uw_ordered_fn)(void *ctx, unsigned worker, uint64_t item, struct uw_error *err);

struct uw_ordered {
	uint64_t nitems;
	unsigned nworkers;    /* at least 1; 1 means: in the calling thread */
	uw_ordered_fn work;   /* side by side */
	uw_ordered_fn commit; /* in order of the items, one at a time, by the worker that did the work */
	void *ctx;
};

/* Runs all items. On failure: the status and error of the lowest item that failed; items behind it are not committed. */
UW_MUST_CHECK enum uw_status uw_ordered_run(const struct uw_ordered *job, struct uw_error *err);

#endif
