/* SPDX-License-Identifier: Apache-2.0 */
#include "backend.h"

#include <stdlib.h>

struct cpu_linear {
	struct uw_linear *linear;
	size_t nparts;
};

struct cpu {
	struct backend backend;
	struct backend_options options;
	struct uw_pool *pool;
	struct cpu_linear *linears;
	size_t nlinears;
	const struct uw_tensor *embedding;
	uint16_t *row; /* of the embedding */
	void *scratch;
	size_t scratch_nbytes;
};

static struct cpu *cpu_of(struct backend *b)
{
	return (struct cpu *)(void *)b;
}

static enum uw_status fail_nomem(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "memory for activations");
}

static enum uw_status load(struct backend *b, const struct uw_linear_part *parts, size_t nparts, size_t *id,
			   struct uw_error *err)
{
	struct cpu *c = cpu_of(b);
	const struct uw_linear_options options = {
		.pipeline = c->options.pipeline,
		.batch_invariant = c->options.batch_invariant,
	};
	struct cpu_linear *more = realloc(c->linears, (c->nlinears + 1) * sizeof(*more));
	enum uw_status status;

	if (more == NULL)
		return fail_nomem(err);
	c->linears = more;
	more[c->nlinears].nparts = nparts;
	status = uw_linear_create(c->options.model, parts, nparts, &options, &more[c->nlinears].linear, err);
	if (status == UW_OK)
		*id = c->nlinears++;
	return status;
}

static enum uw_status load_embedding(struct backend *b, const struct uw_tensor *embedding, struct uw_error *err)
{
	struct cpu *c = cpu_of(b);

	c->embedding = embedding;
	c->row = malloc((size_t)embedding->dims[1] * sizeof(*c->row));
	return c->row != NULL ? UW_OK : fail_nomem(err);
}

static enum uw_status ready(struct backend *b, struct uw_error *err)
{
	struct cpu *c = cpu_of(b);

	for (size_t i = 0; i < c->nlinears; i++) {
		size_t n = uw_linear_scratch_nbytes(c->linears[i].linear, c->options.max_batch, c->options.nthreads);

		c->scratch_nbytes = n > c->scratch_nbytes ? n : c->scratch_nbytes;
	}
	c->scratch = aligned_alloc(64, (c->scratch_nbytes + 63) / 64 * 64);
	return c->scratch != NULL ? UW_OK : fail_nomem(err);
}

static enum uw_status multiply(struct backend *b, size_t id, const float *x, uint32_t n, float *const y[],
			       struct uw_error *err)
{
	struct cpu *c = cpu_of(b);
	const struct cpu_linear *l = &c->linears[id];
	size_t widths[BACKEND_MAX_PARTS];
	const struct uw_linear_args args = {
		.x = x,
		.x_dtype = UW_DTYPE_F32,
		.ldx = (size_t)uw_linear_ncols(l->linear),
		.batch = n,
		.y = (void *const *)y,
		.y_dtype = UW_DTYPE_F32,
		.ldy = widths,
		.scratch = c->scratch,
		.scratch_nbytes = c->scratch_nbytes,
	};

	for (size_t i = 0; i < l->nparts; i++)
		widths[i] = (size_t)uw_linear_nrows(l->linear, i);
	return uw_linear_run(l->linear, c->pool, &args, err);
}

/* Decodes one row of the embedding at a time; the rest of it stays as it is. */
static enum uw_status embed(struct backend *b, const uint32_t *ids, uint32_t n, float *x, struct uw_error *err)
{
	struct cpu *c = cpu_of(b);
	size_t ncols = (size_t)c->embedding->dims[1];
	enum uw_status status = UW_OK;

	for (uint32_t t = 0; status == UW_OK && t < n; t++) {
		const struct uw_tensor_slice row = { .row_begin = ids[t], .row_end = ids[t] + UINT64_C(1) };

		status = uw_tensor_read(c->options.model, c->embedding, &row, c->row, ncols * sizeof(*c->row), err);
		for (size_t i = 0; status == UW_OK && i < ncols; i++)
			x[t * ncols + i] = backend_widen(c->row[i]);
	}
	return status;
}

static void close_cpu(struct backend *b)
{
	struct cpu *c = cpu_of(b);

	for (size_t i = 0; i < c->nlinears; i++)
		uw_linear_free(&c->linears[i].linear);
	uw_pool_free(&c->pool);
	free(c->linears);
	free(c->row);
	free(c->scratch);
	free(c);
}

enum uw_status backend_open_cpu(const struct backend_options *options, struct backend **backend, struct uw_error *err)
{
	static const struct backend_ops ops = { load, load_embedding, ready, multiply, embed, close_cpu };
	struct cpu *c = calloc(1, sizeof(*c));
	enum uw_status status;

	if (c == NULL)
		return fail_nomem(err);
	c->backend.ops = &ops;
	c->options = *options;
	status = uw_pool_create(options->nthreads, &c->pool, err);
	if (status == UW_OK)
		*backend = &c->backend;
	else
		close_cpu(&c->backend);
	return status;
}
