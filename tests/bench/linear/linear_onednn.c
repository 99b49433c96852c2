/* SPDX-License-Identifier: Apache-2.0 */
/* oneDNN's BF16 matmul (C interface of version 2): weights as they lie in memory, and packed as it likes them. */
#include <stdlib.h>
#include <string.h>

#include "bench_linear.h"

#ifdef HAVE_ONEDNN

#include <oneapi/dnnl/dnnl.h>

struct onednn {
	const struct bench_case *c;
	dnnl_engine_t engine;
	dnnl_primitive_t matmul;
	dnnl_stream_t stream[BENCH_MAX_THREADS];
	dnnl_memory_t x, y[BENCH_MAX_THREADS], *weights; /* of each slice */
	uint8_t *packed;
};

static void ok(dnnl_status_t status)
{
	if (status != dnnl_success)
		bench_die("oneDNN");
}

static void run(void *ctx, unsigned slice, unsigned thread)
{
	const struct onednn *o = ctx;
	const dnnl_exec_arg_t args[] = {
		{ DNNL_ARG_SRC, o->x },
		{ DNNL_ARG_WEIGHTS, o->weights[slice] },
		{ DNNL_ARG_DST, o->y[thread] },
	};

	ok(dnnl_primitive_execute(o->matmul, o->stream[thread], 3, args));
	ok(dnnl_stream_wait(o->stream[thread]));
}

static void close_onednn(void *ctx)
{
	struct onednn *o = ctx;

	for (unsigned i = 0; i < o->c->weights->nslices; i++)
		dnnl_memory_destroy(o->weights[i]);
	for (unsigned t = 0; t < o->c->nthreads; t++) {
		dnnl_memory_destroy(o->y[t]);
		dnnl_stream_destroy(o->stream[t]);
	}
	dnnl_memory_destroy(o->x);
	dnnl_primitive_destroy(o->matmul);
	dnnl_engine_destroy(o->engine);
	free(o->weights);
	free(o->packed);
	free(o);
}

/* Weights as W^T, [ncols][rows]: row-major W is its transposed layout. */
static void plain_desc(dnnl_memory_desc_t *desc, uint64_t ncols, uint64_t rows)
{
	const dnnl_dims_t dims = { (int64_t)ncols, (int64_t)rows };

	ok(dnnl_memory_desc_init_by_tag(desc, 2, dims, dnnl_bf16, dnnl_ba));
}

static void pack_weights(struct onednn *o, const dnnl_memory_desc_t *plain, const dnnl_memory_desc_t *packed)
{
	const struct bench_weights *w = o->c->weights;
	size_t nbytes = (dnnl_memory_desc_get_size(packed) + 4095) / 4096 * 4096;
	dnnl_primitive_desc_t desc;
	dnnl_primitive_t reorder;

	o->packed = bench_need(nbytes * w->nslices);
	ok(dnnl_reorder_primitive_desc_create(&desc, plain, o->engine, packed, o->engine, NULL));
	ok(dnnl_primitive_create(&reorder, desc));
	for (unsigned i = 0; i < w->nslices; i++) {
		dnnl_exec_arg_t args[2] = { { DNNL_ARG_FROM, NULL }, { DNNL_ARG_TO, NULL } };

		ok(dnnl_memory_create(&args[0].memory, plain, o->engine,
				      (void *)(uintptr_t)w->slices[i].weights));
		ok(dnnl_memory_create(&o->weights[i], packed, o->engine, o->packed + i * nbytes));
		args[1].memory = o->weights[i];
		ok(dnnl_primitive_execute(reorder, o->stream[0], 2, args));
		ok(dnnl_stream_wait(o->stream[0]));
		dnnl_memory_destroy(args[0].memory);
	}
	dnnl_primitive_destroy(reorder);
	dnnl_primitive_desc_destroy(desc);
}

static struct bench_variant make(const struct bench_case *c, bool pack)
{
	struct bench_variant v = { .name = "oneDNN", .baseline = true, .run = run, .close = close_onednn };
	const struct bench_weights *w = c->weights;
	const dnnl_dims_t x_dims = { (int64_t)c->batch, (int64_t)w->ncols };
	const dnnl_dims_t y_dims = { (int64_t)c->batch, (int64_t)w->slice_rows };
	const dnnl_dims_t w_dims = { (int64_t)w->ncols, (int64_t)w->slice_rows };
	struct onednn *o = calloc(1, sizeof(*o));
	dnnl_memory_desc_t x, y, plain, wanted;
	dnnl_primitive_desc_t desc;
	dnnl_matmul_desc_t matmul;

	if (o == NULL)
		bench_die("out of memory");
	o->c = c;
	o->weights = calloc(w->nslices, sizeof(dnnl_memory_t));
	ok(dnnl_engine_create(&o->engine, dnnl_cpu, 0));
	ok(dnnl_memory_desc_init_by_tag(&x, 2, x_dims, dnnl_bf16, dnnl_ab));
	ok(dnnl_memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab));
	plain_desc(&plain, w->ncols, w->slice_rows);
	wanted = plain;
	if (pack)
		ok(dnnl_memory_desc_init_by_tag(&wanted, 2, w_dims, dnnl_bf16, dnnl_format_tag_any));
	ok(dnnl_matmul_desc_init(&matmul, &x, &wanted, NULL, &y));
	ok(dnnl_primitive_desc_create(&desc, &matmul, NULL, o->engine, NULL));
	ok(dnnl_primitive_create(&o->matmul, desc));
	ok(dnnl_memory_create(&o->x, &x, o->engine, (void *)(uintptr_t)c->x));
	for (unsigned t = 0; t < c->nthreads; t++) {
		ok(dnnl_stream_create(&o->stream[t], o->engine, dnnl_stream_default_flags));
		ok(dnnl_memory_create(&o->y[t], &y, o->engine, c->y[t]));
	}
	if (pack)
		pack_weights(o, &plain, dnnl_primitive_desc_query_md(desc, dnnl_query_weights_md, 0));
	for (unsigned i = 0; i < w->nslices && !pack; i++)
		ok(dnnl_memory_create(&o->weights[i], &plain, o->engine, (void *)(uintptr_t)w->slices[i].weights));
	dnnl_primitive_desc_destroy(desc);
	if (pack)
		strcpy(v.name, "oneDNN packed");
	v.ctx = o;
	return v;
}

unsigned bench_variants_onednn(const struct bench_case *c, struct bench_variant *v)
{
	v[0] = make(c, false);
	v[1] = make(c, true);
	return 2;
}

#else

unsigned bench_variants_onednn(const struct bench_case *c, struct bench_variant *v)
{
	return 0;
}

#endif
