/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../cpu_level.h"
#include "unweight/stopwatch.h"
#include "bench_linear.h"

struct ours {
	const struct bench_case *c;
	struct uw_linear_kernel kernel;
	enum uw_linear_source source;
	struct uw_linear_dims dims;
	void *packed;
	void *scratch[BENCH_MAX_THREADS];
};

static void run(void *ctx, unsigned slice, unsigned thread)
{
	const struct ours *o = ctx;
	const struct bench_slice *s = &o->c->weights->slices[slice];
	struct uw_linear_run r = uw_linear_run_of(&s->coded);

	if (o->source == UW_LINEAR_E8) {
		r.second = s->e;
		r.chunk_words = NULL;
	}
	r.weights = s->weights;
	r.ld = (size_t)r.ncols;
	o->kernel.gemm[o->source](&o->dims, &r, o->packed, o->c->y[thread], (size_t)o->c->weights->slice_rows,
				  o->scratch[thread]);
}

static void close_ours(void *ctx)
{
	struct ours *o = ctx;

	free(o->packed);
	for (unsigned t = 0; t < BENCH_MAX_THREADS; t++)
		free(o->scratch[t]);
	free(o);
}

struct bench_variant bench_variant_of(const struct bench_case *c, const struct uw_linear_kernel *kernel,
				      enum uw_linear_source source, const char *name)
{
	struct bench_variant v = { .baseline = source == UW_LINEAR_RAW, .run = run, .close = close_ours };
	struct ours *o = calloc(1, sizeof(*o));
	struct stopwatch watch;
	double times[5];

	if (o == NULL)
		bench_die("out of memory");
	*o = (struct ours){ .c = c, .kernel = *kernel, .source = source,
			    .dims = { c->batch, 0, c->weights->ncols } };
	o->packed = bench_need(kernel->packed_nbytes(&o->dims));
	for (unsigned t = 0; t < c->nthreads; t++)
		o->scratch[t] = bench_need(kernel->scratch_nbytes(&o->dims));
	for (unsigned i = 0; i < 5; i++) {
		stopwatch_start(&watch);
		kernel->pack(&o->dims, c->x, UW_LINEAR_BF16, (size_t)c->weights->ncols, 0, c->batch, o->packed);
		(void)stopwatch_stop(&watch, &times[i]);
	}
	v.pack_s = stopwatch_median(times, 5);
	snprintf(v.name, sizeof(v.name), "%s %s", name, kernel->name);
	v.ctx = o;
	return v;
}

/* Every kernel that may be the fastest for the batch. */
unsigned bench_variants_ours(const struct bench_case *c, struct bench_variant *v)
{
	static const char *const names[] = { "P4", "E8", "RAW" };
	struct uw_linear_ops ops;
	unsigned n = 0;

	uw_linear_ops_init(&ops, cpu_level_flags());
	for (unsigned k = 0; k < ops.nkernels; k++) {
		if (k + 1 < ops.nkernels && c->batch > 2 * ops.kernels[k + 1].min_batch)
			continue; /* too slow by far */
		for (unsigned s = 0; s < UW_LINEAR_NSOURCES; s++)
			v[n++] = bench_variant_of(c, &ops.kernels[k], (enum uw_linear_source)s, names[s]);
	}
	return n;
}
