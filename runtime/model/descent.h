/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coordinate descent on the time of something as a whole, such as a layer. It is made of sites, such as shapes of
 * matrices, each of which has candidates; a plan says which candidate each site has. What a plan costs is asked of the
 * caller. Nothing here knows what is timed.
 */
#ifndef UW_DESCENT_H
#define UW_DESCENT_H

#include "measure.h"

#define UW_DESCENT_MAX_CANDIDATES 32u
#define UW_DESCENT_MAX_RIVALS (UW_MAX_RUNNERS - 1)

struct uw_descent {
	size_t nsites;
	uint8_t *plan;          /* [nsites]: where to begin, and what was found */
	const uint32_t *others; /* [nsites]: candidates worth trying, 1 << number */
	double seconds;         /* for all comparisons, about */

	/* Lets n plans take turns for so long; timings[i].ratio: how many times plans[i] is faster than plans[0]. */
	enum uw_status (*compare)(void *ctx, double seconds, const uint8_t *const *plans, size_t n,
				  struct uw_timing *timings, struct uw_error *err);
	double (*now)(void);    /* the clock that `seconds` are of; NULL: CLOCK_MONOTONIC */
	void *ctx;
};

/*
 * One site after the other tries its other candidates; one that makes the whole faster by more than 1 % stays, until
 * none does or time is up. A part of the time is left for the rivals.
 */
UW_MUST_CHECK enum uw_status uw_descend(struct uw_descent *descent, struct uw_error *err);

/* A plan made in another way. */
struct uw_rival {
	const uint8_t *plan;     /* [nsites] */
	bool admitted;           /* may win; else for comparison only */
	struct uw_timing timing; /* out; the ratio is to what was found */
};

/*
 * The plan found against n rivals, at most UW_DESCENT_MAX_RIVALS; the best takes its place, if it is faster by more
 * than 1 %. A rival that is the same plan is not timed once more. *found: the time of what is in descent->plan then.
 */
UW_MUST_CHECK enum uw_status uw_descent_settle(struct uw_descent *descent, struct uw_rival *rivals, size_t n,
					       struct uw_timing *found, struct uw_error *err);

#endif
