/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_stack.h"

#include <stdlib.h>

#include "cuda_workspace.h"
#include "unweight/tuning.h"

struct uw_cuda_stack {
	const struct uw_cuda *cuda;
	size_t nsteps, ncopies;
	struct uw_cuda_linear **linears; /* [ncopies][nsteps] */
	struct uw_cuda_workspace *workspace;
	struct uw_cuda_memory x, y;
	struct CUevent_st *begin, *end;
	size_t next;                     /* copy */
};

/* ---- preparing ---- */

/* How many there are; rows of all of them. */
static size_t list_parts(const struct uw_weights *w, struct uw_linear_part *parts, uint64_t *nrows)
{
	size_t n = 1;

	parts[0] = (struct uw_linear_part){ .tensor = w->tensor, .expert = w->expert };
	*nrows = uw_tensor_grid(w->tensor).nrows;
	for (unsigned i = 0; i < UW_WEIGHTS_MAX_ALSO && w->also[i] != NULL; i++) {
		parts[n++] = (struct uw_linear_part){ .tensor = w->also[i] };
		*nrows += uw_tensor_grid(w->also[i]).nrows;
	}
	return n;
}

static enum uw_status prepare(const struct uw_cuda *cuda, const struct uw_weights *w, uint32_t mask,
			      const struct uw_cuda_linear_options *options, struct uw_cuda_linear **linear,
			      struct uw_error *err)
{
	struct uw_linear_part parts[1 + UW_WEIGHTS_MAX_ALSO];
	struct uw_cuda_linear_options all = *options;
	struct uw_tuning *tuning = NULL;
	uint64_t nrows;
	size_t nparts = list_parts(w, parts, &nrows);
	enum uw_status status = uw_stack_tuning(uw_cuda_name(cuda), nrows, uw_tensor_grid(w->tensor).ncols, mask,
						&tuning, err);

	all.tuning = tuning;
	all.pipeline = UW_PIPELINE_AUTO;
	if (status == UW_OK)
		status = uw_cuda_linear_create(cuda, w->model, parts, nparts, &all, linear, err);
	uw_tuning_free(&tuning);
	return status;
}

static uint64_t padded(uint64_t ncols)
{
	return (ncols + 7) / 8 * 8;
}

static enum uw_status make_vectors(struct uw_cuda_stack *s, uint64_t max_batch, struct uw_error *err)
{
	uint64_t nrows = 0, ncols = 0, n;
	uint16_t *x;
	enum uw_status status;

	for (size_t i = 0; i < s->nsteps; i++) {
		const struct uw_cuda_linear *l = s->linears[i];

		nrows = uw_cuda_linear_nrows(l) > nrows ? uw_cuda_linear_nrows(l) : nrows;
		ncols = uw_cuda_linear_ncols(l) > ncols ? uw_cuda_linear_ncols(l) : ncols;
	}
	n = max_batch * padded(ncols);
	x = malloc((size_t)n * sizeof(*x));
	if (x == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "vectors to multiply");
	uw_stack_fill(x, (size_t)n);
	status = uw_cuda_memory_alloc(s->cuda, n * sizeof(*x), &s->x, err);
	if (status == UW_OK)
		status = uw_cuda_copy_in(s->cuda, s->x.at, x, n * sizeof(*x), NULL, err);
	if (status == UW_OK)
		status = uw_cuda_memory_alloc(s->cuda, max_batch * nrows * sizeof(uint16_t), &s->y, err);
	free(x);
	return status;
}

static enum uw_status build(struct uw_cuda_stack *s, const struct uw_stack_spec *spec,
			    const struct uw_cuda_linear_options *options, struct uw_error *err)
{
	const struct uw_gpu_ops *ops = s->cuda->ops;
	size_t n = spec->ncopies * spec->nsteps;
	enum uw_status status = UW_OK;

	s->linears = calloc(n, sizeof(struct uw_cuda_linear *));
	if (s->linears == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "measurement");
	s->nsteps = spec->nsteps;
	s->ncopies = spec->ncopies;
	for (size_t i = 0; status == UW_OK && i < n; i++)
		status = prepare(s->cuda, &spec->weights[i], spec->pipelines, options, &s->linears[i], err);
	if (status == UW_OK)
		status = uw_cuda_workspace_create(s->cuda, (const struct uw_cuda_linear *const *)s->linears, n,
						  spec->max_batch, &s->workspace, err);
	if (status == UW_OK)
		status = make_vectors(s, spec->max_batch, err);
	if (status == UW_OK)
		status = uw_cuda_status(ops->event_new(true, &s->begin), "event", err);
	if (status == UW_OK)
		status = uw_cuda_status(ops->event_new(true, &s->end), "event", err);
	return status;
}

enum uw_status uw_cuda_stack_create(const struct uw_cuda *cuda, const struct uw_stack_spec *spec,
				    const struct uw_cuda_linear_options *options, struct uw_cuda_stack **stack,
				    struct uw_error *err)
{
	struct uw_cuda_stack *s = calloc(1, sizeof(*s));
	enum uw_status status;

	*stack = NULL;
	if (s == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "measurement");
	s->cuda = cuda;
	status = build(s, spec, options, err);
	if (status == UW_OK)
		*stack = s;
	else
		uw_cuda_stack_free(&s);
	return status;
}

void uw_cuda_stack_free(struct uw_cuda_stack **stack)
{
	struct uw_cuda_stack *s = *stack;

	*stack = NULL;
	if (s == NULL)
		return;
	uw_cuda_workspace_free(&s->workspace);
	for (size_t i = 0; s->linears != NULL && i < s->nsteps * s->ncopies; i++)
		uw_cuda_linear_free(&s->linears[i]);
	if (s->begin != NULL)
		s->cuda->ops->event_free(s->begin);
	if (s->end != NULL)
		s->cuda->ops->event_free(s->end);
	uw_cuda_memory_free(s->cuda, &s->x);
	uw_cuda_memory_free(s->cuda, &s->y);
	free(s->linears);
	free(s);
}

const struct uw_cuda_key *uw_cuda_stack_key(const struct uw_cuda_stack *stack, size_t step)
{
	return &stack->linears[step]->key;
}

/* ---- running ---- */

/* Step i of all passes. */
static const struct uw_cuda_linear *linear_of(const struct uw_cuda_stack *s, size_t i)
{
	return s->linears[(s->next + i / s->nsteps) % s->ncopies * s->nsteps + i % s->nsteps];
}

static enum uw_status choose(struct uw_cuda_stack *s, uint64_t batch, const struct uw_cuda_choice *choices,
			     struct uw_error *err)
{
	for (size_t i = 0; i < s->nsteps * s->ncopies; i++)
		uw_cuda_linear_force(s->linears[i], uw_bucket_of(batch), &choices[i % s->nsteps]);
	return uw_cuda_workspace_reserve(s->workspace, uw_bucket_of(batch), err);
}

static enum uw_status run_step(struct uw_cuda_stack *s, const struct uw_cuda_linear *linear, uint64_t batch,
			       struct uw_error *err)
{
	struct uw_cuda_linear_args args = {
		.x_dev = (const uint16_t *)(const void *)s->x.at,
		.ldx = padded(uw_cuda_linear_ncols(linear)),
		.batch = batch,
		.y_dev = s->y.at,
		.y_dtype = UW_DTYPE_BF16,
		.ldy = uw_cuda_linear_nrows(linear),
	};

	return uw_cuda_linear_run(linear, s->workspace, &args, NULL, err);
}

static enum uw_status queue(struct uw_cuda_stack *s, uint64_t batch, size_t nsteps, struct uw_error *err)
{
	const struct uw_gpu_ops *ops = s->cuda->ops;
	enum uw_status status = uw_cuda_linear_ahead(linear_of(s, 0), s->workspace, batch, NULL, err);

	for (size_t i = 0; status == UW_OK && i < nsteps; i++) {
		if (i == s->nsteps)
			status = uw_cuda_status(ops->event_record(s->begin, NULL), "event", err);
		if (status == UW_OK) /* behind the last step too, as when there are more to come */
			status = uw_cuda_linear_ahead(linear_of(s, i + 1), s->workspace, batch, NULL, err);
		if (status == UW_OK)
			status = run_step(s, linear_of(s, i), batch, err);
	}
	if (status == UW_OK)
		status = uw_cuda_status(ops->event_record(s->end, NULL), "event", err);
	return status == UW_OK ? uw_cuda_workspace_reset(s->workspace, NULL, err) : status;
}

enum uw_status uw_cuda_stack_run(struct uw_cuda_stack *s, uint64_t batch, unsigned npasses,
				 const struct uw_cuda_choice *choices, double *seconds, struct uw_error *err)
{
	enum uw_status status = choose(s, batch, choices, err);
	uint64_t ns = 0;

	if (status == UW_OK)
		status = queue(s, batch, (1 + (size_t)npasses) * s->nsteps, err);
	if (status == UW_OK)
		status = uw_cuda_status(s->cuda->ops->event_elapsed(s->begin, s->end, &ns), "measuring", err);
	if (status != UW_OK)
		return status;
	s->next = (s->next + 1 + npasses) % s->ncopies;
	*seconds = (double)(ns != 0 ? ns : 1) * 1e-9 / npasses;
	return UW_OK;
}
