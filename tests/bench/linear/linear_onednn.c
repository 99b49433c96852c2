/* SPDX-License-Identifier: Apache-2.0 */
/* oneDNN's BF16 matmul: weights as they lie in memory, and packed as it likes them. */
#include <stdlib.h>
#include <string.h>

#include "bench_linear.h"
#include "onednn.h"

static void run(void *ctx, unsigned slice, unsigned thread)
{
	if (!uw_onednn_run(ctx, slice, thread))
		bench_die("oneDNN");
}

static void close_onednn(void *ctx)
{
	struct uw_onednn *o = ctx;

	uw_onednn_free(&o);
}

static struct bench_variant make(const struct bench_case *c, bool packed)
{
	struct bench_variant v = { .name = "oneDNN", .baseline = true, .run = run, .close = close_onednn };
	const struct bench_weights *w = c->weights;
	const uint16_t **weights = calloc(w->nslices, sizeof(*weights));
	struct uw_onednn_spec spec = {
		.nrows = w->slice_rows,
		.ncols = w->ncols,
		.batch = c->batch,
		.x = c->x,
		.y = c->y,
		.nstreams = c->nthreads,
		.weights = weights,
		.nweights = w->nslices,
		.packed = packed,
	};
	struct uw_onednn *o;

	if (weights == NULL)
		bench_die("out of memory");
	for (unsigned i = 0; i < w->nslices; i++)
		weights[i] = w->slices[i].weights;
	if (!uw_onednn_create(&spec, &o))
		bench_die("oneDNN");
	free(weights);
	if (packed)
		strcpy(v.name, "oneDNN packed");
	v.ctx = o;
	return v;
}

unsigned bench_variants_onednn(const struct bench_case *c, struct bench_variant *v)
{
	if (!uw_onednn_is_there())
		return 0;
	v[0] = make(c, false);
	v[1] = make(c, true);
	return 2;
}
