/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Speed of one op. In each round memcpy of as many bytes, the portable loop and the variant run one after the other; a
 * round counts only if nobody disturbed any of them: wall time at most 1.02 x the thread's CPU time (if that never
 * happens, the CPU times of all rounds are given, marked "disturbed"). Medians of the rounds; ratios are medians of the
 * rounds' own ratios, which other work on the machine moves less than GB/s.
 */
#include <stdio.h>
#include <string.h>

#include "unweight/stopwatch.h"
#include "checkkernels.h"

#define MIN_RUN_S 5e-4 /* long enough for the clocks */
#define MAX_ROUNDS 99u
#define HOT_NBYTES (64u << 10)

enum { COPY, REF, NOW, NKINDS };

static _Alignas(64) uint8_t from[HOT_NBYTES], to[HOT_NBYTES];

static void once(const struct ck *ck, const struct ck_work *work, int kind)
{
	if (kind != COPY) {
		work->run(work->ctx, kind == REF ? ck->ref : ck->now);
	} else {
		memcpy(work->from != NULL ? work->to : to, work->from != NULL ? work->from : from, work->nbytes);
		__asm__ volatile("" ::: "memory");
	}
}

/* Mean wall seconds of a run; false: disturbed. */
static bool timed(const struct ck *ck, const struct ck_work *work, int kind, unsigned ntimes, double *wall)
{
	struct stopwatch watch;
	bool good;

	stopwatch_start(&watch);
	for (unsigned n = 0; n < ntimes; n++)
		once(ck, work, kind);
	good = stopwatch_stop(&watch, wall);
	*wall /= ntimes;
	return good;
}

struct rounds {
	double now[MAX_ROUNDS], to_ref[MAX_ROUNDS], to_copy[MAX_ROUNDS];
	unsigned n;
};

static void print(const struct ck *ck, const struct ck_op *op, const struct ck_work *work, struct rounds *r)
{
	printf("%-7s %-16s %-4s %8.2f GB/s %7.2f x C %7.3f x memcpy", ck->level, op->name, work->where,
	       (double)work->nbytes / stopwatch_median(r->now, r->n) * 1e-9, stopwatch_median(r->to_ref, r->n),
	       stopwatch_median(r->to_copy, r->n));
}

/* How often to run each to get a time worth measuring. */
static void calibrate(const struct ck *ck, const struct ck_work *work, bool same, unsigned ntimes[NKINDS])
{
	for (int kind = 0; kind < NKINDS; kind++) {
		double wall;

		if (same && kind == REF)
			continue;
		for (ntimes[kind] = 1; ntimes[kind] < 1u << 20; ntimes[kind] *= 2) {
			(void)timed(ck, work, kind, ntimes[kind], &wall);
			if (wall * ntimes[kind] >= MIN_RUN_S)
				break;
		}
	}
}

void ck_measure(struct ck *ck, const struct ck_op *op, const struct ck_work *work)
{
	static struct rounds rounds[2]; /* disturbed, good */
	double t[NKINDS] = { 1, 1, 1 };
	unsigned ntimes[NKINDS] = { 0 }, nrounds = 0;
	bool same = strcmp(ck->level, "c") == 0;

	memset(from, 1, sizeof(from)); /* else all pages are the one zero page */
	calibrate(ck, work, same, ntimes);
	rounds[0].n = rounds[1].n = 0;
	while (rounds[1].n < work->nrounds && nrounds < MAX_ROUNDS && nrounds < 4 * work->nrounds) {
		struct rounds *r;
		bool good = true;

		nrounds++;
		for (int kind = 0; kind < NKINDS; kind++)
			good &= (same && kind == REF) || timed(ck, work, kind, ntimes[kind], &t[kind]);
		r = &rounds[good];
		r->now[r->n] = t[NOW];
		r->to_ref[r->n] = same ? 1 : t[REF] / t[NOW];
		r->to_copy[r->n++] = t[COPY] / t[NOW];
	}
	if (rounds[1].n != 0) {
		print(ck, op, work, &rounds[1]);
		printf("   %u of %u rounds\n", rounds[1].n, nrounds);
	} else {
		print(ck, op, work, &rounds[0]);
		puts("   disturbed");
	}
}
