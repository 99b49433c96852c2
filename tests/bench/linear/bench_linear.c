/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One core, or two of them at once: variants take turns, each product with another matrix, so that weights come from
 * DRAM. A matrix is multiplied slice by slice, as groups of a bundle are, so x comes from a cache. A round counts for a
 * variant if nothing disturbed it there. Times are scaled to the whole matrix, and packing x is added. The ratio of a
 * variant is the median over rounds of the fastest baseline's time by its own.
 * CSV on stdout, for bench_linear.py.
 */
#include <getopt.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unweight/stopwatch.h"
#include "bench_linear.h"

#define MAX_ROUNDS 200u

struct settings {
	unsigned nthreads, min_rounds;
	double seconds; /* for each batch */
	size_t nbytes;
	const char *batches;
	const char *only;
	const char *level; /* UW_CPU_LEVEL; oneDNN does not know it */
};

/* ---- threads: both start a product at the same time, spinning, and it is over when both have done theirs ---- */

struct team {
	struct bench_variant *v;
	unsigned slice[BENCH_MAX_THREADS], span, nslices; /* each thread takes `span` slices from its own on */
	atomic_uint go, done;
	bool good, quit;
	pthread_t thread;
};

static void run_span(struct team *t, unsigned thread)
{
	for (unsigned i = 0; i < t->span; i++)
		t->v->run(t->v->ctx, (t->slice[thread] + i) % t->nslices, thread);
}

static void *second_thread(void *arg)
{
	struct team *t = arg;

	for (unsigned turn = 1;; turn++) {
		struct stopwatch watch;
		double wall;

		while (atomic_load(&t->go) < turn)
			;
		if (t->quit)
			return NULL;
		stopwatch_start(&watch);
		run_span(t, 1);
		t->good = stopwatch_stop(&watch, &wall);
		atomic_store(&t->done, turn);
	}
}

static bool run_once(struct team *t, struct bench_variant *v, unsigned nthreads, double *wall)
{
	struct stopwatch watch;
	bool good;

	t->v = v;
	if (nthreads == 1) {
		stopwatch_start(&watch);
		run_span(t, 0);
		return stopwatch_stop(&watch, wall);
	}
	stopwatch_start(&watch);
	atomic_fetch_add(&t->go, 1);
	run_span(t, 0);
	while (atomic_load(&t->done) != atomic_load(&t->go))
		;
	good = stopwatch_stop(&watch, wall);
	return good && t->good;
}

/* ---- one batch ---- */

struct results {
	unsigned nvariants, nrounds;
	struct bench_variant v[BENCH_MAX_VARIANTS];
	double time[BENCH_MAX_VARIANTS][MAX_ROUNDS]; /* of the matrix; 0: disturbed */
};

static double median_of(const double *times, unsigned n)
{
	double good[MAX_ROUNDS];
	unsigned ngood = 0;

	for (unsigned i = 0; i < n; i++) {
		if (times[i] > 0)
			good[ngood++] = times[i];
	}
	return ngood > 0 ? stopwatch_median(good, ngood) : 0;
}

static double ratio_of(const double *base, const double *times, unsigned n, unsigned *npairs)
{
	double ratios[MAX_ROUNDS];

	*npairs = 0;
	for (unsigned i = 0; i < n; i++) {
		if (base[i] > 0 && times[i] > 0)
			ratios[(*npairs)++] = base[i] / times[i];
	}
	return *npairs > 0 ? stopwatch_median(ratios, *npairs) : 0;
}

static void report(const struct settings *set, const struct bench_case *c, const struct results *r)
{
	const struct bench_weights *w = c->weights;
	double nbytes = (double)(w->nrows * w->ncols * 2), flops = (double)(2 * w->nrows * w->ncols * c->batch);
	unsigned base = 0;
	double best = INFINITY;

	for (unsigned i = 0; i < r->nvariants; i++) {
		double t = median_of(r->time[i], r->nrounds);

		if (r->v[i].baseline && t > 0 && t < best) {
			best = t;
			base = i;
		}
	}
	for (unsigned i = 0; i < r->nvariants; i++) {
		double t = median_of(r->time[i], r->nrounds);
		unsigned npairs;
		double ratio = ratio_of(r->time[base], r->time[i], r->nrounds, &npairs);

		printf("%s,%llux%llu,%u,%llu,%s,%d,%.4f,%.2f,%.1f,%.3f,%s,%u\n", set->level,
		       (unsigned long long)w->nrows, (unsigned long long)w->ncols, c->nthreads, (unsigned long long)c->batch,
		       r->v[i].name,
		       (int)r->v[i].baseline, t * 1e3, nbytes / t * 1e-9, flops / t * 1e-9, ratio, r->v[base].name,
		       npairs);
	}
	fflush(stdout);
}

/* All have to give about the same; a variant that does not is not worth measuring. */
static void check(const struct bench_case *c, struct results *r)
{
	size_t n = (size_t)(c->batch * c->weights->slice_rows);
	float *want = bench_need(n * sizeof(*want));

	for (unsigned i = 0; i < r->nvariants; i++) {
		double worst = 0;

		memset(c->y[0], 0xFF, n * sizeof(float));
		r->v[i].run(r->v[i].ctx, 0, 0);
		if (i == 0)
			memcpy(want, c->y[0], n * sizeof(float));
		for (size_t k = 0; k < n; k++) {
			double d = fabs((double)want[k] - (double)c->y[0][k]);

			worst = d <= worst ? worst : d; /* also if it is NaN */
		}
		if (!(worst < 1e-3))
			bench_die(r->v[i].name);
	}
	free(want);
}

static void run_batch(const struct settings *set, struct team *team, struct bench_case *c)
{
	static struct results r;
	const struct bench_weights *w = c->weights;
	double start, scale;
	static unsigned cursor;

	memset(&r, 0, sizeof(r));
	team->span = (unsigned)(w->nrows / w->slice_rows / c->nthreads);
	team->span = team->span < 1 ? 1 : team->span;
	team->nslices = w->nslices;
	scale = (double)w->nrows / (double)(w->slice_rows * team->span * c->nthreads);
	r.nvariants = bench_variants_ours(c, r.v);
	r.nvariants += bench_variants_natural(c, r.v + r.nvariants);
	r.nvariants += bench_variants_onednn(c, r.v + r.nvariants);
	for (unsigned i = 0; i < r.nvariants && set->only != NULL; i++) {
		if (strstr(r.v[i].name, set->only) == NULL) {
			r.v[i].close(r.v[i].ctx);
			r.v[i--] = r.v[--r.nvariants];
		}
	}

	check(c, &r);
	start = stopwatch_clock(CLOCK_MONOTONIC);
	for (unsigned round = 0; round < MAX_ROUNDS; round++) {
		if (round >= set->min_rounds && stopwatch_clock(CLOCK_MONOTONIC) - start > set->seconds)
			break;
		for (unsigned k = 0; k < r.nvariants; k++) {
			unsigned i = (k + round) % r.nvariants;
			double wall;

			/* always the slices that were not read for longest: what is left in a cache helps nobody */
			for (unsigned t = 0; t < c->nthreads; t++)
				team->slice[t] = (cursor + t * team->span) % w->nslices;
			if (run_once(team, &r.v[i], c->nthreads, &wall))
				r.time[i][round] = wall * scale + r.v[i].pack_s;
			cursor = (cursor + c->nthreads * team->span) % w->nslices;
		}
		r.nrounds = round + 1;
	}
	report(set, c, &r);
	for (unsigned i = 0; i < r.nvariants; i++)
		r.v[i].close(r.v[i].ctx);
}

static void run_shape(const struct settings *set, struct team *team, uint64_t nrows, uint64_t ncols)
{
	struct bench_weights w;
	const char *p = set->batches;
	char *end;

	bench_weights_make(nrows, ncols, set->nbytes, &w);
	fprintf(stderr, "%llu x %llu: %u slices of %llu rows, %.3f bits a weight\n", (unsigned long long)nrows,
		(unsigned long long)ncols, w.nslices, (unsigned long long)w.slice_rows, w.bits);
	for (;; p = end + 1) {
		uint64_t batch = strtoull(p, &end, 10);
		struct bench_case c = { .weights = &w, .batch = batch, .nthreads = set->nthreads };
		uint16_t *x = bench_need((size_t)(batch * ncols) * sizeof(*x));

		if (end == p || batch == 0 || batch > UW_MAX_BATCH)
			bench_die("batches?");
		for (size_t i = 0; i < batch * ncols; i++)
			x[i] = (uint16_t)(0x3C00 + i * 2654435761u % 0x200 + (i * 40503u >> 3 & 1) * 0x8000);
		c.x = x;
		for (unsigned t = 0; t < c.nthreads; t++)
			c.y[t] = bench_need((size_t)(batch * w.slice_rows) * sizeof(float));
		run_batch(set, team, &c);
		for (unsigned t = 0; t < c.nthreads; t++)
			free(c.y[t]);
		free(x);
		if (*end != ',')
			break;
	}
	bench_weights_free(&w);
}

int main(int argc, char **argv)
{
	struct settings set = { 1, 9, 1.5, (size_t)1 << 30, "1,2,4,8,16,32,64,128,256,512,1024", NULL, "all" };
	static struct team team;
	int c;

	while ((c = getopt(argc, argv, "b:t:s:m:o:r:")) != -1) {
		if (c == 'b')
			set.batches = optarg;
		else if (c == 't')
			set.nthreads = (unsigned)atoi(optarg);
		else if (c == 's')
			set.seconds = atof(optarg);
		else if (c == 'm')
			set.nbytes = (size_t)atoll(optarg) << 20;
		else if (c == 'o')
			set.only = optarg;
		else if (c == 'r')
			set.min_rounds = (unsigned)atoi(optarg);
		else
			optind = argc;
	}
	if (optind == argc || set.nthreads < 1 || set.nthreads > BENCH_MAX_THREADS || set.min_rounds > MAX_ROUNDS) {
		fputs("usage: bench_linear [-b BATCHES] [-t THREADS] [-s SECONDS] [-m MB] [-o NAME] [-r ROUNDS] "
		      "ROWSxCOLS...\n", stderr);
		return 2;
	}
	if (getenv("UW_CPU_LEVEL") != NULL)
		set.level = getenv("UW_CPU_LEVEL");
	setenv("OMP_NUM_THREADS", "1", 0); /* oneDNN's, read when it is loaded; each of our threads calls it */
	if (set.nthreads > 1 && pthread_create(&team.thread, NULL, second_thread, &team) != 0)
		bench_die("no thread");
	for (; optind < argc; optind++) {
		unsigned long long nrows, ncols;

		if (sscanf(argv[optind], "%llux%llu", &nrows, &ncols) != 2)
			bench_die("a shape is ROWSxCOLS");
		run_shape(&set, &team, nrows, ncols);
	}
	if (set.nthreads > 1) {
		team.quit = true;
		atomic_fetch_add(&team.go, 1);
		pthread_join(team.thread, NULL);
	}
	return 0;
}
