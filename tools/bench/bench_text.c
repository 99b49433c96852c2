/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>

#include "bench.h"

static void print_batch(FILE *f, const struct uw_bench_report *r, const struct uw_bench_case *c, size_t b)
{
	for (unsigned i = 0; i < c->nvariants; i++) {
		const struct uw_timing *t = &c->timings[b][i];
		double to_onednn = uw_bench_ratio_to_onednn(c, b, i);

		fprintf(f, "  %5llu  %-14s %10.3f%s %7.2f %9.1f %7.3f ", (unsigned long long)r->batches[b],
			c->variants[i].name, 1e3 * t->seconds, t->nrounds != 0 ? " " : "?",
			1e-9 * c->variants[i].nbytes / t->seconds,
			2e-9 * (double)(c->nrows * c->ncols * r->batches[b]) / t->seconds, t->ratio);
		if (to_onednn > 0)
			fprintf(f, "%9.3f", to_onednn);
		else
			fputs("        -", f);
		fprintf(f, " %7u\n", t->nrounds);
	}
}

int uw_bench_text(const void *ctx, FILE *f)
{
	const struct uw_bench_report *r = ctx;

	uw_print_escaped(f, r->what, strlen(r->what));
	fprintf(f, ": %u thread%s, %.0f MiB to cycle through\n", r->nthreads, r->nthreads == 1 ? "" : "s",
		(double)r->cycle_nbytes / 1048576);
	for (size_t i = 0; i < r->ncases; i++) {
		const struct uw_bench_case *c = &r->cases[i];

		fprintf(f, "\n%llu x %llu, %zu of them\n  batch  %-14s %10s  %7s %9s %7s %8s %7s\n",
			(unsigned long long)c->nrows, (unsigned long long)c->ncols, c->ncopies, "pipeline", "ms",
			"GB/s", "GFLOP/s", "x raw", "x onednn", "rounds");
		for (size_t b = 0; b < r->nbatches; b++)
			print_batch(f, r, c, b);
	}
	return ferror(f) ? -1 : 0;
}
