/* SPDX-License-Identifier: Apache-2.0 */
#include "backend.h"

#include <stdlib.h>
#include <string.h>

#include <unweight/cuda.h>

struct cuda_linear {
	struct uw_cuda_linear *linear;
	size_t nparts;
};

/* The same bytes on the host and on the device. */
struct staged {
	void *host, *dev;
	uint64_t nbytes;
};

struct cuda {
	struct backend backend;
	struct backend_options options;
	struct uw_cuda *device;
	struct cuda_linear *linears;
	size_t nlinears;
	struct uw_cuda_linear *embedding; /* not among linears: it is not multiplied by */
	struct uw_cuda_workspace *workspace;
	struct staged x; /* BF16; rows begin at multiples of 16 bytes */
	struct staged y; /* FP32 of a product, BF16 of the embedding */
	struct staged ids;
};

static struct cuda *cuda_of(struct backend *b)
{
	return (struct cuda *)(void *)b;
}

static enum uw_status fail_nomem(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "memory for activations");
}

static uint64_t larger(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* Values from row to row of x. */
static uint64_t ld_of(const struct uw_cuda_linear *linear)
{
	return (uw_cuda_linear_ncols(linear) + 7) / 8 * 8;
}

/* To nearest, ties to even. */
static uint16_t round_bf16(float f)
{
	uint32_t word;

	memcpy(&word, &f, sizeof(word));
	if ((word & 0x7FFFFFFF) > 0x7F800000)
		return (uint16_t)(word >> 16 | 0x40); /* a NaN stays one */
	return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

/* ---- memory ---- */

static enum uw_status stage(const struct cuda *c, uint64_t nbytes, struct staged *s, struct uw_error *err)
{
	s->nbytes = nbytes;
	s->host = nbytes <= SIZE_MAX ? calloc(1, (size_t)nbytes) : NULL;
	if (s->host == NULL)
		return fail_nomem(err);
	return uw_cuda_alloc(c->device, nbytes, &s->dev, err);
}

static void unstage(const struct cuda *c, struct staged *s)
{
	if (s->dev != NULL)
		uw_cuda_free(c->device, s->dev, s->nbytes);
	free(s->host);
}

static enum uw_status copy_in(const struct cuda *c, const struct staged *s, uint64_t nbytes, struct uw_error *err)
{
	return uw_cuda_copy_in(c->device, s->dev, s->host, nbytes, NULL, err);
}

/* Waits for what was queued before. */
static enum uw_status copy_out(const struct cuda *c, const struct staged *s, uint64_t nbytes, struct uw_error *err)
{
	return uw_cuda_copy_out(c->device, s->host, s->dev, nbytes, NULL, err);
}

/* ---- loading ---- */

static enum uw_status load(struct backend *b, const struct uw_linear_part *parts, size_t nparts, size_t *id,
			   struct uw_error *err)
{
	struct cuda *c = cuda_of(b);
	const struct uw_cuda_linear_options options = {
		.pipeline = c->options.pipeline,
		.require_bitexact = true,
		.batch_invariant = c->options.batch_invariant,
	};
	struct cuda_linear *more = realloc(c->linears, (c->nlinears + 1) * sizeof(*more));
	enum uw_status status;

	if (more == NULL)
		return fail_nomem(err);
	c->linears = more;
	more[c->nlinears].nparts = nparts;
	status = uw_cuda_linear_create(c->device, c->options.model, parts, nparts, &options, &more[c->nlinears].linear,
				       err);
	if (status == UW_OK)
		*id = c->nlinears++;
	return status;
}

/* Rows are gathered from palette codes or from BF16: pipelines that decode anew each time keep neither. */
static enum uw_status load_embedding(struct backend *b, const struct uw_tensor *embedding, struct uw_error *err)
{
	struct cuda *c = cuda_of(b);
	const struct uw_linear_part part = { .tensor = embedding };
	const struct uw_cuda_linear_options options = {
		.pipeline = c->options.pipeline == UW_PIPELINE_RAW ? UW_PIPELINE_RAW : UW_PIPELINE_PALETTE,
	};

	return uw_cuda_linear_create(c->device, c->options.model, &part, 1, &options, &c->embedding, err);
}

/* ---- running ---- */

static enum uw_status embed(struct backend *b, const uint32_t *ids, uint32_t n, float *x, struct uw_error *err)
{
	struct cuda *c = cuda_of(b);
	uint64_t ncols = uw_cuda_linear_ncols(c->embedding);
	const uint16_t *rows = c->y.host;
	enum uw_status status;

	memcpy(c->ids.host, ids, n * sizeof(*ids));
	status = copy_in(c, &c->ids, n * sizeof(*ids), err);
	if (status == UW_OK)
		status = uw_cuda_gather(c->embedding, c->ids.dev, n, c->y.dev, ncols, NULL, err);
	if (status == UW_OK)
		status = copy_out(c, &c->y, n * ncols * sizeof(*rows), err);
	for (uint64_t i = 0; status == UW_OK && i < n * ncols; i++)
		x[i] = backend_widen(rows[i]);
	return status;
}

static enum uw_status multiply(struct backend *b, size_t id, const float *x, uint32_t n, float *const y[],
			       struct uw_error *err)
{
	struct cuda *c = cuda_of(b);
	const struct cuda_linear *l = &c->linears[id];
	uint64_t ncols = uw_cuda_linear_ncols(l->linear), nrows = uw_cuda_linear_nrows(l->linear), first = 0;
	const struct uw_cuda_linear_args args = {
		.x_dev = c->x.dev,
		.ldx = ld_of(l->linear),
		.batch = n,
		.y_dev = c->y.dev,
		.y_dtype = UW_DTYPE_F32,
		.ldy = nrows,
	};
	uint16_t *rounded = c->x.host;
	const float *sums = c->y.host;
	enum uw_status status;

	for (uint32_t t = 0; t < n; t++) {
		for (uint64_t i = 0; i < ncols; i++)
			rounded[t * args.ldx + i] = round_bf16(x[t * ncols + i]);
	}
	status = copy_in(c, &c->x, n * args.ldx * sizeof(*rounded), err);
	if (status == UW_OK)
		status = uw_cuda_linear_run(l->linear, c->workspace, &args, NULL, err);
	if (status == UW_OK)
		status = copy_out(c, &c->y, n * nrows * sizeof(*sums), err);
	for (size_t p = 0; status == UW_OK && p < l->nparts; p++) {
		uint64_t width = uw_cuda_linear_part_nrows(l->linear, p);

		for (uint32_t t = 0; t < n; t++)
			memcpy(y[p] + t * width, sums + t * nrows + first, (size_t)width * sizeof(*sums));
		first += width;
	}
	return status;
}

/* ---- the workspace, and memory for activations ---- */

static enum uw_status create_workspace(struct cuda *c, struct uw_error *err)
{
	const struct uw_cuda_linear **linears = malloc((c->nlinears + 1) * sizeof(*linears));
	enum uw_status status;

	if (linears == NULL)
		return fail_nomem(err);
	for (size_t i = 0; i < c->nlinears; i++)
		linears[i] = c->linears[i].linear;
	status = uw_cuda_workspace_create(c->device, linears, c->nlinears, c->options.max_batch, &c->workspace, err);
	free(linears);
	return status;
}

static enum uw_status ready(struct backend *b, struct uw_error *err)
{
	struct cuda *c = cuda_of(b);
	uint64_t x = 0, y = uw_cuda_linear_ncols(c->embedding) * sizeof(uint16_t), batch = c->options.max_batch;
	enum uw_status status = create_workspace(c, err);

	for (size_t i = 0; i < c->nlinears; i++) {
		x = larger(x, ld_of(c->linears[i].linear) * sizeof(uint16_t));
		y = larger(y, uw_cuda_linear_nrows(c->linears[i].linear) * sizeof(float));
	}
	if (status == UW_OK)
		status = stage(c, batch * x, &c->x, err);
	if (status == UW_OK)
		status = stage(c, batch * y, &c->y, err);
	if (status == UW_OK)
		status = stage(c, batch * sizeof(uint32_t), &c->ids, err);
	return status;
}

static void close_cuda(struct backend *b)
{
	struct cuda *c = cuda_of(b);

	uw_cuda_workspace_free(&c->workspace);
	for (size_t i = 0; i < c->nlinears; i++)
		uw_cuda_linear_free(&c->linears[i].linear);
	uw_cuda_linear_free(&c->embedding);
	unstage(c, &c->x);
	unstage(c, &c->y);
	unstage(c, &c->ids);
	uw_cuda_close(&c->device);
	free(c->linears);
	free(c);
}

enum uw_status backend_open_cuda(const struct backend_options *options, struct backend **backend,
				 struct uw_error *err)
{
	static const struct backend_ops ops = { load, load_embedding, ready, multiply, embed, close_cuda };
	struct cuda *c = calloc(1, sizeof(*c));
	enum uw_status status;

	if (c == NULL)
		return fail_nomem(err);
	c->backend.ops = &ops;
	c->options = *options;
	status = uw_cuda_open(options->number, NULL, &c->device, err);
	if (status == UW_OK)
		*backend = &c->backend;
	else
		close_cuda(&c->backend);
	return status;
}
