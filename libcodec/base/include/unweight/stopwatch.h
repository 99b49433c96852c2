/* SPDX-License-Identifier: Apache-2.0 */
/* Times of one thread that say whether others took the CPU meanwhile. */
#ifndef UNWEIGHT_STOPWATCH_H
#define UNWEIGHT_STOPWATCH_H

#include <stdbool.h>
#include <stdlib.h>
#include <time.h>

struct stopwatch {
	double wall, cpu;
};

static inline double stopwatch_clock(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void stopwatch_start(struct stopwatch *w)
{
	w->cpu = stopwatch_clock(CLOCK_THREAD_CPUTIME_ID);
	w->wall = stopwatch_clock(CLOCK_MONOTONIC);
}

/*
 * Seconds since the start in *elapsed. False if the thread had to wait, that is wall time above 1.02 x its CPU time:
 * then *elapsed is the CPU time, the better guess.
 */
static inline bool stopwatch_stop(const struct stopwatch *w, double *elapsed)
{
	double wall = stopwatch_clock(CLOCK_MONOTONIC) - w->wall;
	double cpu = stopwatch_clock(CLOCK_THREAD_CPUTIME_ID) - w->cpu;
	bool good = wall <= 1.02 * cpu;

	*elapsed = good ? wall : cpu;
	return good;
}

static inline int stopwatch_ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Sorts v. n > 0. */
static inline double stopwatch_median(double *v, unsigned n)
{
	qsort(v, n, sizeof(*v), stopwatch_ascending);
	return n % 2 ? v[n / 2] : (v[n / 2 - 1] + v[n / 2]) / 2;
}

#endif
