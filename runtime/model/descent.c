/* SPDX-License-Identifier: Apache-2.0 */
#include "descent.h"

#include <stdlib.h>
#include <string.h>

#include "unweight/stopwatch.h"

#define BETTER 1.01       /* ratio at which it changes its mind */
#define MAX_SWEEPS 3u
#define LIKELY_SWEEPS 2   /* that there is to be time for */
#define RIVALS_SHARE 0.4  /* of the time */

/* Seconds of a comparison. */
static double share(const struct uw_descent *d)
{
	unsigned ntries = 1;

	for (size_t site = 0; site < d->nsites; site++) {
		for (unsigned i = 0; i < UW_DESCENT_MAX_CANDIDATES; i++)
			ntries += (d->others[site] >> i & 1) && i != d->plan[site];
	}
	return (1 - RIVALS_SHARE) * d->seconds / (LIKELY_SWEEPS * ntries);
}

static double now(const struct uw_descent *d)
{
	return d->now != NULL ? d->now() : stopwatch_clock(CLOCK_MONOTONIC);
}

struct sweep {
	double seconds; /* of a comparison */
	double end;     /* by the clock */
	uint8_t *tried; /* [nsites] */
	bool changed;
};

static enum uw_status try_others(struct uw_descent *d, struct sweep *s, size_t site, struct uw_error *err)
{
	const uint8_t *const plans[2] = { d->plan, s->tried };
	enum uw_status status = UW_OK;

	for (unsigned i = 0; status == UW_OK && i < UW_DESCENT_MAX_CANDIDATES; i++) {
		double left = s->end - now(d);
		struct uw_timing timings[2];

		if (!(d->others[site] >> i & 1) || i == d->plan[site] || left <= 0)
			continue;
		memcpy(s->tried, d->plan, d->nsites);
		s->tried[site] = (uint8_t)i;
		status = d->compare(d->ctx, left < s->seconds ? left : s->seconds, plans, 2, timings, err);
		if (status == UW_OK && timings[1].ratio > BETTER) {
			d->plan[site] = (uint8_t)i;
			s->changed = true;
		}
	}
	return status;
}

enum uw_status uw_descend(struct uw_descent *d, struct uw_error *err)
{
	struct sweep s = {
		.seconds = share(d),
		.end = now(d) + (1 - RIVALS_SHARE) * d->seconds,
		.changed = true,
	};
	enum uw_status status = UW_OK;

	s.tried = malloc(d->nsites + 1);
	if (s.tried == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "descent");
	for (unsigned i = 0; status == UW_OK && s.changed && i < MAX_SWEEPS; i++) {
		s.changed = false;
		for (size_t site = 0; status == UW_OK && site < d->nsites; site++)
			status = try_others(d, &s, site, err);
	}
	free(s.tried);
	return status;
}

enum uw_status uw_descent_settle(struct uw_descent *d, struct uw_rival *rivals, size_t n, struct uw_timing *found,
				 struct uw_error *err)
{
	const uint8_t *plans[UW_DESCENT_MAX_RIVALS + 1] = { d->plan };
	struct uw_timing timings[UW_DESCENT_MAX_RIVALS + 1];
	size_t nplans = 1, best = 0, at[UW_DESCENT_MAX_RIVALS];
	const uint8_t *winner = NULL;
	enum uw_status status;

	for (size_t i = 0; i < n; i++) {
		at[i] = memcmp(rivals[i].plan, d->plan, d->nsites) != 0 ? nplans++ : 0;
		if (at[i] != 0)
			plans[at[i]] = rivals[i].plan;
	}
	status = d->compare(d->ctx, RIVALS_SHARE * d->seconds, plans, nplans, timings, err);
	if (status != UW_OK)
		return status;
	for (size_t i = 0; i < n; i++) {
		double ratio = timings[at[i]].ratio;

		if (!rivals[i].admitted || ratio <= BETTER || (best != 0 && ratio <= timings[best].ratio))
			continue;
		best = at[i];
		winner = rivals[i].plan;
	}
	*found = timings[best];
	for (size_t i = 0; i < n; i++) {
		rivals[i].timing = timings[at[i]];
		if (best != 0)
			rivals[i].timing.ratio /= timings[best].ratio;
	}
	if (winner != NULL)
		memcpy(d->plan, winner, d->nsites);
	return UW_OK;
}
