/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "bench_linear.h"
#include "gaussian.h"
#include "unweight/kernels.h"

#define SLICE_NBYTES (8u << 20)
#define HUGE_NBYTES (2u << 20)

void bench_die(const char *what)
{
	fprintf(stderr, "bench_linear: %s\n", what);
	exit(1);
}

void *bench_need(size_t nbytes)
{
	void *p = NULL;

	nbytes = (nbytes + HUGE_NBYTES - 1) / HUGE_NBYTES * HUGE_NBYTES;
	if (posix_memalign(&p, HUGE_NBYTES, nbytes) != 0)
		bench_die("out of memory");
	(void)madvise(p, nbytes, MADV_HUGEPAGE);
	memset(p, 0, nbytes);
	return p;
}

static void exponents(const struct uw_cpu_ops *ops, const struct uw_coded *coded, const uint16_t *weights, uint8_t *e)
{
	uint64_t cols = coded->shape.ncols, tile = 0;
	uint8_t s[UW_TILE_WEIGHTS];

	for (uint64_t rb = 0; rb < coded->shape.nrows; rb += UW_ROW_BLOCK) {
		for (uint64_t c = 0; c < cols; c += UW_TILE_COLS) {
			for (uint64_t r = rb; r < rb + UW_ROW_BLOCK; r += UW_TILE_ROWS)
				ops->split[UW_ORDER_TILED](weights + r * cols + c, (size_t)cols, s,
							   e + tile++ * UW_TILE_WEIGHTS);
		}
	}
}

/* A slice is a group. Its stored bytes are packed one behind the other, at multiples of a line, as in a bundle. */
static void encode(struct bench_weights *w)
{
	size_t slice = (size_t)(w->slice_rows * w->ncols);
	struct uw_plan *plan = bench_need(sizeof(*plan));
	uint8_t *stored = bench_need(w->nslices * slice * 14 / 8), *e = bench_need(w->nslices * slice);
	struct uw_shape shape;
	struct uw_cpu_ops ops;
	void *scratch;
	size_t at = 0;

	uw_cpu_ops_init(&ops, uw_cpu_flags());
	if (uw_shape_tiled(w->slice_rows, w->ncols, &shape) != UW_OK)
		bench_die("no such shape");
	scratch = bench_need(uw_codec_scratch_nbytes(&shape));
	for (unsigned i = 0; i < w->nslices; i++) {
		struct bench_slice *s = &w->slices[i];
		uint32_t npatches;
		size_t nbytes;

		s->weights = w->raw + i * slice;
		if (uw_codec_plan(&ops, &shape, s->weights, UW_CODING_P4, scratch, plan) != UW_OK)
			bench_die("cannot code these weights");
		nbytes = (size_t)uw_codec_encoded_nbytes(&shape, plan, UW_CODING_P4);
		npatches = (uint32_t)plan->nescapes;
		if (uw_codec_encode(&ops, &shape, plan, UW_CODING_P4, scratch, stored + at, nbytes) != UW_OK ||
		    uw_coded_open(&shape, UW_CODING_P4, plan->ntables, npatches, stored + at, nbytes, &s->coded,
				  NULL) != UW_OK)
			bench_die("cannot code these weights");
		s->e = e + i * slice;
		exponents(&ops, &s->coded, s->weights, e + i * slice);
		at += nbytes;
	}
	w->bits = 8.0 * (double)at / (double)(w->nslices * slice);
	free(scratch);
	free(plan);
}

void bench_weights_make(uint64_t nrows, uint64_t ncols, size_t nbytes, struct bench_weights *w)
{
	uint64_t slice_rows = SLICE_NBYTES / (2 * ncols) / 256 * 256, total;

	slice_rows = slice_rows < 256 ? 256 : slice_rows;
	*w = (struct bench_weights){ .nrows = nrows, .ncols = ncols, .slice_rows = slice_rows };
	w->nslices = (unsigned)((nbytes + slice_rows * ncols * 2 - 1) / (slice_rows * ncols * 2));
	if (ncols % UW_TILE_COLS != 0 || slice_rows * ncols > UW_MAX_GROUP_WEIGHTS)
		bench_die("columns have to be a multiple of 64, and not too many");
	total = w->nslices * slice_rows;
	w->slices = bench_need(w->nslices * sizeof(*w->slices));
	w->raw = bench_need((size_t)(total * ncols) * sizeof(*w->raw));
	uw_gaussian_rows(w->raw, 0, total, w->ncols);
	encode(w);
}

void bench_weights_free(struct bench_weights *w)
{
	if (w->nslices == 0)
		return;
	free((void *)(uintptr_t)w->slices[0].coded.head);
	free((void *)(uintptr_t)w->slices[0].e);
	free(w->slices);
	free(w->raw);
	*w = (struct bench_weights){ 0 };
}
