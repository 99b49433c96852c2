/* SPDX-License-Identifier: Apache-2.0 */
/* All ways to multiply by the same matrices, in turns: ours on each coding, and oneDNN on BF16. */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "onednn.h"

#define MIN_ROUNDS 5u
#define NONEDNN 2u /* weights as they lie, packed */

struct onednn {
	struct uw_onednn *at_batch;
	size_t nweights;
};

struct bench {
	const struct uw_bench_how *how;
	const struct uw_bench_input *input;
	struct uw_bench_case *result;
	struct uw_rounds rounds;
	struct uw_stack *stacks[UW_BENCH_MAX_SETS];
	struct uw_stack_turn turns[UW_MAX_RUNNERS];
	uint8_t pipelines[UW_MAX_RUNNERS];
	unsigned set[UW_MAX_RUNNERS]; /* of each of our variants */
	unsigned nours;
	/* for oneDNN */
	uint16_t **bf16;              /* of each matrix */
	uint16_t *x;
	float *y;
	struct onednn onednn[NONEDNN];
};

static enum uw_status no_memory(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "weights");
}

static void *aligned(size_t nbytes)
{
	void *p = NULL;

	return posix_memalign(&p, 4096, nbytes) == 0 ? p : NULL;
}

/* ---- ours ---- */

static struct uw_bench_variant *add_variant(struct bench *b, const char *pipeline, const char *coding, double nbytes)
{
	struct uw_bench_variant *v = &b->result->variants[b->result->nvariants++];

	*v = (struct uw_bench_variant){ .pipeline = pipeline, .coding = coding, .nbytes = nbytes };
	snprintf(v->name, sizeof(v->name), "%s%s%s", coding != NULL ? coding : "", coding != NULL ? " " : "", pipeline);
	return v;
}

/* RAW is the same for all sets: only the first one has it. */
static enum uw_status add_set(struct bench *b, unsigned i, uint64_t max_batch, struct uw_error *err)
{
	const struct uw_bench_set *set = &b->input->sets[i];
	struct uw_stack_spec spec = {
		.weights = set->weights,
		.nsteps = 1,
		.ncopies = b->input->n,
		.max_batch = max_batch,
		.pool = b->how->pool,
		.pipelines = uw_pipelines_for(set->coding),
	};
	enum uw_status status;

	if (i != 0)
		spec.pipelines &= ~(1u << UW_PIPELINE_RAW);
	status = uw_stack_create(&spec, &b->stacks[i], err);
	for (unsigned p = UW_PIPELINE_RAW; status == UW_OK && p < UW_NPIPELINES; p++) {
		const char *coding = set->coding == UW_CODING_H ? "h" : "p4";
		const uint8_t name = (uint8_t)p;

		if (!(spec.pipelines & 1u << p))
			continue;
		b->set[b->nours] = i;
		b->pipelines[b->nours++] = name;
		add_variant(b, uw_pipeline_name((enum uw_pipeline)p), p == UW_PIPELINE_RAW ? NULL : coding,
			    (double)uw_stack_read_nbytes(b->stacks[i], 1, &name));
	}
	return status;
}

/* ---- oneDNN ---- */

static enum uw_status read_bf16(struct bench *b, uint64_t max_batch, struct uw_error *err)
{
	const struct uw_bench_input *in = b->input;
	size_t nbytes = (size_t)(in->nrows * in->ncols * 2), nx = (size_t)(max_batch * in->ncols);
	enum uw_status status = UW_OK;

	b->bf16 = calloc(in->n, sizeof(uint16_t *));
	b->x = aligned(nx * sizeof(*b->x));
	b->y = aligned((size_t)(max_batch * in->nrows) * sizeof(*b->y));
	if (b->bf16 == NULL || b->x == NULL || b->y == NULL)
		return no_memory(err);
	for (size_t i = 0; i < nx; i++)
		b->x[i] = (uint16_t)(0x3C00 + i * 2654435761u % 0x200);
	for (size_t i = 0; status == UW_OK && i < in->n; i++) {
		const struct uw_weights *w = &in->sets[0].weights[i];
		struct uw_tensor_slice slice = { .expert_begin = w->expert, .expert_end = w->expert + 1 };

		b->bf16[i] = aligned(nbytes);
		if (b->bf16[i] == NULL)
			return no_memory(err);
		status = uw_tensor_read(w->model, w->tensor, &slice, b->bf16[i], nbytes, err);
	}
	add_variant(b, "onednn", NULL, (double)nbytes);
	strcpy(add_variant(b, "onednn", NULL, (double)nbytes)->name, "onednn packed");
	return status;
}

static enum uw_status run_onednn(void *ctx, uint64_t turn, struct uw_error *err)
{
	const struct onednn *o = ctx;

	return uw_onednn_run(o->at_batch, (size_t)(turn % o->nweights), 0)
		       ? UW_OK
		       : uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "oneDNN");
}

static enum uw_status start_onednn(struct bench *b, uint64_t batch, struct uw_runner *runners, struct uw_error *err)
{
	for (unsigned i = 0; b->bf16 != NULL && i < NONEDNN; i++) {
		struct uw_onednn_spec spec = {
			.nrows = b->input->nrows,
			.ncols = b->input->ncols,
			.batch = batch,
			.x = b->x,
			.y = &b->y,
			.nstreams = 1,
			.weights = (const uint16_t *const *)b->bf16,
			.nweights = b->input->n,
			.packed = i == 1,
		};

		if (!uw_onednn_create(&spec, &b->onednn[i].at_batch))
			return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "oneDNN");
		b->onednn[i].nweights = b->input->n;
		runners[i] = (struct uw_runner){ run_onednn, &b->onednn[i] };
	}
	return UW_OK;
}

/* ---- all of them ---- */

static enum uw_status run_batch(struct bench *b, uint64_t batch, struct uw_timing *timings, struct uw_error *err)
{
	struct uw_runner runners[UW_MAX_RUNNERS] = { { 0 } };
	enum uw_status status;

	for (unsigned i = 0; i < b->nours; i++) {
		b->turns[i] = (struct uw_stack_turn){ b->stacks[b->set[i]], batch, &b->pipelines[i] };
		runners[i] = uw_stack_runner(&b->turns[i]);
	}
	status = start_onednn(b, batch, runners + b->nours, err);
	if (status == UW_OK)
		status = uw_measure(&b->rounds, runners, b->result->nvariants, timings, err);
	for (unsigned i = 0; i < NONEDNN; i++)
		uw_onednn_free(&b->onednn[i].at_batch);
	return status;
}

static void finish(struct bench *b)
{
	for (unsigned i = 0; i < UW_BENCH_MAX_SETS; i++)
		uw_stack_free(&b->stacks[i]);
	for (size_t i = 0; b->bf16 != NULL && i < b->input->n; i++)
		free(b->bf16[i]);
	free(b->bf16);
	free(b->x);
	free(b->y);
}

enum uw_status uw_bench_run(const struct uw_bench_how *how, const struct uw_bench_input *input,
			    const struct uw_bench_report *report, struct uw_bench_case *result, struct uw_error *err)
{
	uint64_t max_batch = report->batches[report->nbatches - 1];
	struct bench b = {
		.how = how,
		.input = input,
		.result = result,
		.rounds = {
			.seconds = how->seconds,
			.min = MIN_ROUNDS,
			.max = UW_MAX_ROUNDS,
			.nthreads = report->nthreads,
			.cancelled = how->cancelled,
			.ctx = how->ctx,
		},
	};
	enum uw_status status = UW_OK;

	*result = (struct uw_bench_case){ .nrows = input->nrows, .ncols = input->ncols, .ncopies = input->n };
	if (how->progress != NULL)
		how->progress(how->ctx, 0);
	for (unsigned i = 0; status == UW_OK && i < input->nsets; i++)
		status = add_set(&b, i, max_batch, err);
	if (status == UW_OK && uw_onednn_is_there())
		status = read_bf16(&b, max_batch, err);
	for (size_t i = 0; status == UW_OK && i < report->nbatches; i++) {
		if (how->progress != NULL)
			how->progress(how->ctx, report->batches[i]);
		status = run_batch(&b, report->batches[i], result->timings[i], err);
	}
	finish(&b);
	return status;
}

double uw_bench_ratio_to_onednn(const struct uw_bench_case *c, size_t batch, unsigned variant)
{
	const struct uw_timing *t = c->timings[batch];
	double best = 0;

	for (unsigned i = 0; i < c->nvariants; i++) {
		if (strcmp(c->variants[i].pipeline, "onednn") == 0 && t[i].ratio > best)
			best = t[i].ratio;
	}
	return best > 0 ? t[variant].ratio / best : 0;
}
