/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pipeline: items are worked on side by side, then go through stages in order. No stage has a thread of its own; a
 * worker takes whatever can go on, so that one of them hashes while the others code, and with one worker nothing waits.
 */
#ifndef UW_ORDERED_H
#define UW_ORDERED_H

#include <stdint.h>

#include "unweight/status.h"

/* Each gets the number of the item's slot, 0 .. uw_ordered_nslots, which is the item's alone from work to last stage:
 * what it keeps there may be seen by a later stage, whichever thread that runs in. */
typedef enum uw_status (*uw_ordered_fn)(void *ctx, unsigned slot, uint64_t item, struct uw_error *err);

#define UW_ORDERED_NSTAGES 3

struct uw_ordered {
	uint64_t nitems;
	unsigned nworkers; /* at least 1; 1 means: in the calling thread */
	uw_ordered_fn work;
	/* In order of the items, one at a time; an item enters a stage after the one before it, which goes on with the
	 * next one meanwhile. NULL does nothing. The slowest should be stage 0: it is never kept waiting for the sake of
	 * other work. */
	uw_ordered_fn stage[UW_ORDERED_NSTAGES];
	void *ctx;
};

/* Items that are under way at most: one more than can be worked on. Each has buffers of its own, and more of them cost
 * more in cache misses than waiting less brings. */
static inline unsigned uw_ordered_nslots(unsigned nworkers)
{
	return nworkers == 1 ? 1 : nworkers + 1;
}

/* Runs all items. On failure: the status and error of the lowest item that failed, at any number of workers; items
 * before it have gone through all stages, those behind it through the last one never. */
UW_MUST_CHECK enum uw_status uw_ordered_run(const struct uw_ordered *job, struct uw_error *err);

#endif
