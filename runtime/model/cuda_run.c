/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running: launches over what is resident, decoding into slots and what is multiplied out of them.
 *
 * Decoding happens on the workspace's own stream, part by part, always one part ahead. It waits for the caller's stream
 * as that is when the decoding is queued: so for the last multiplication out of the slot, which was queued before that,
 * and not for the one that it is to overlap with, which will be queued after it.
 *
 *     caller   fork 0 | fork 1 | await 0, multiply 0 | fork 0 | await 1, multiply 1 | ..
 *     side     decode 0 | decode 1 .................. | decode 0 (next part) ...
 */
#include "cuda_workspace.h"

#include <string.h>

struct run {
	const struct uw_cuda_linear *linear;
	const struct uw_cuda_tie *tie;
	struct uw_cuda_workspace *w;
	const struct uw_cuda_linear_args *args;
	const uint32_t *offsets_dev;
	struct CUstream_st *stream;
	const struct uw_cuda_choice *choice;
};

static uint32_t y_type(const struct run *run)
{
	return run->args->y_dtype == UW_DTYPE_F32 ? UW_LINEAR_F32 : UW_LINEAR_BF16;
}

/* ---- multiplying ---- */

static enum uw_status multiply(const struct run *run, const struct uw_cuda_set *set)
{
	struct uw_gpu_gemm gemm;
	enum uw_status status;

	if (set->n == 0)
		return UW_OK;
	status = uw_cuda_plan_launch(run->linear, set, &run->choice->config, run->args->batch, &gemm);
	if (status != UW_OK)
		return status;
	/* sums of all launches begin behind the most counters: what one launch adds up is no other's counter */
	gemm.counters_nbytes = run->w->counters_nbytes;
	gemm.workspace_dev = run->w->sums.at;
	gemm.x_dev = run->args->x_dev;
	gemm.x_ld = run->args->ldx;
	gemm.y_dev = run->args->y_dev;
	gemm.y_ld = run->args->ldy;
	gemm.y_type = y_type(run);
	gemm.offsets_dev = run->offsets_dev;
	return run->w->cuda->ops->gemm(&gemm, run->stream);
}

/* The heuristic costs more time of the host than a small product: it is asked again when the question is another. */
static enum uw_status call_dense(const struct run *run, uint64_t p, const struct uw_gpu_dense *dense)
{
	const struct uw_cuda *cuda = run->w->cuda;
	struct uw_cuda_asked *asked = &run->tie->asked[p * UW_NBUCKETS + uw_bucket_of(run->args->batch)];
	struct uw_cuda_asked now = { .key = uw_gpu_dense_key(dense) };

	if (memcmp(&asked->key, &now.key, sizeof(now.key)) != 0) {
		enum uw_status status = cuda->ops->dense_choose(cuda->dense, &now.key, &now.algo);

		if (status != UW_OK)
			return status;
		*asked = now;
	}
	return cuda->ops->dense(cuda->dense, dense, &asked->algo, run->stream);
}

/* A part's weights that are BF16 in memory. */
static enum uw_status multiply_dense(const struct run *run, uint64_t p, const uint16_t *weights_dev)
{
	const struct uw_cuda_part *part = &run->linear->parts[p];
	uint64_t y_off = run->linear->part_y[p] * (y_type(run) == UW_LINEAR_F32 ? sizeof(float) : sizeof(uint16_t));
	struct uw_gpu_dense dense = {
		.weights_dev = weights_dev,
		.weights_ld = part->ld,
		.nrows = part->nrows,
		.ncols = part->ncols,
		.x_dev = run->args->x_dev,
		.x_ld = run->args->ldx,
		.nx = run->args->batch,
		.y_dev = (uint8_t *)run->args->y_dev + y_off,
		.y_ld = run->args->ldy,
		.y_type = y_type(run),
		.workspace_dev = run->w->dense.at,
		.workspace_nbytes = run->w->dense.nbytes,
	};

	return call_dense(run, p, &dense);
}

static enum uw_status run_raw(const struct run *run)
{
	enum uw_status status = UW_OK;

	if (!uw_cuda_linear_is_dense(run->linear, UW_PIPELINE_RAW))
		return multiply(run, &run->linear->dense);
	for (uint64_t p = 0; status == UW_OK && p < run->linear->nparts; p++)
		status = multiply_dense(run, p, (const uint16_t *)(const void *)run->linear->parts[p].dense.at);
	return status;
}

static enum uw_status run_palette(const struct run *run)
{
	enum uw_status status = multiply(run, &run->linear->palette);

	return status == UW_OK ? multiply(run, &run->linear->loose) : status;
}

/* ---- decoding ---- */

static enum uw_status decode_rows(const struct uw_cuda_workspace *w, const struct uw_cuda_part *part, uint32_t slot)
{
	uint8_t *to = w->slots[slot].at;
	enum uw_status status = UW_OK;

	for (uint64_t i = 0; status == UW_OK && i < part->ngroups; i++) {
		const struct uw_cuda_group *g = &part->groups[i];

		if (g->coding == UW_CODING_RAW)
			status = w->cuda->ops->copy_within(to + g->first_row * part->ld * sizeof(uint16_t), g->dense.at,
							   g->dense.nbytes, w->side);
	}
	return status;
}

static enum uw_status decode(const struct uw_cuda_workspace *w, const struct uw_cuda_job *job,
			     const struct uw_cuda_bound *bound)
{
	const struct uw_gpu_ops *ops = w->cuda->ops;
	bool exponents = job->pipeline == UW_PIPELINE_EXPONENT;
	enum uw_status status = UW_OK;

	if (bound->streams.ngroups != 0)
		status = (exponents ? ops->exponents_h : ops->decode_h)(&bound->streams, w->side);
	if (status == UW_OK && bound->codes.ngroups != 0)
		status = ops->decode_p4(&bound->codes, w->side);
	if (status == UW_OK && !exponents)
		status = decode_rows(w, &job->linear->parts[job->part], job->slot);
	return status;
}

/* Queues the decoding of a part to the next slot. There is one free. */
static enum uw_status add_job(struct uw_cuda_workspace *w, const struct uw_cuda_tie *tie, uint64_t part,
			      enum uw_pipeline pipeline, struct CUstream_st *stream)
{
	const struct uw_gpu_ops *ops = w->cuda->ops;
	struct uw_cuda_job job = { tie->linear, part, pipeline, w->next_slot };
	enum uw_status status = ops->event_record(w->fork, stream);

	if (status == UW_OK)
		status = ops->event_await(w->side, w->fork);
	if (status != UW_OK)
		return status;
	w->forked = true;
	status = decode(w, &job, uw_cuda_bound_of(tie, part, pipeline, job.slot));
	if (status == UW_OK)
		status = ops->event_record(w->decoded[job.slot], w->side);
	if (status != UW_OK)
		return status;
	w->jobs[w->njobs++] = job;
	w->next_slot = (w->next_slot + 1) % UW_CUDA_NSLOTS;
	return UW_OK;
}

static bool is_job(const struct uw_cuda_job *job, const struct uw_cuda_linear *linear, uint64_t part,
		   enum uw_pipeline pipeline)
{
	return job->linear == linear && job->part == part && job->pipeline == pipeline;
}

/* The oldest job becomes that of the part: what else was decoded is dropped. */
static enum uw_status find_job(const struct run *run, uint64_t part)
{
	struct uw_cuda_workspace *w = run->w;

	if (w->njobs != 0 && is_job(&w->jobs[0], run->linear, part, run->choice->pipeline))
		return UW_OK;
	w->njobs = 0;
	return add_job(w, run->tie, part, run->choice->pipeline, run->stream);
}

static enum uw_status run_job(const struct run *run, const struct uw_cuda_job *job)
{
	const struct uw_cuda_bound *bound = uw_cuda_bound_of(run->tie, job->part, job->pipeline, job->slot);
	enum uw_status status = run->w->cuda->ops->event_await(run->stream, run->w->decoded[job->slot]);

	if (status != UW_OK)
		return status;
	if (uw_cuda_linear_is_dense(run->linear, job->pipeline))
		return multiply_dense(run, job->part, (const uint16_t *)(const void *)run->w->slots[job->slot].at);
	return multiply(run, &bound->set);
}

static enum uw_status run_decoding(const struct run *run)
{
	struct uw_cuda_workspace *w = run->w;
	uint64_t nparts = run->linear->nparts;
	enum uw_status status = UW_OK;

	for (uint64_t p = 0; status == UW_OK && p < nparts; p++) {
		struct uw_cuda_job job;

		status = find_job(run, p);
		if (status == UW_OK && p + 1 < nparts && w->njobs < UW_CUDA_NSLOTS)
			status = add_job(w, run->tie, p + 1, run->choice->pipeline, run->stream);
		if (status != UW_OK)
			break;
		job = w->jobs[0];
		w->jobs[0] = w->jobs[1];
		w->njobs--;
		status = run_job(run, &job);
	}
	if (status == UW_OK && run->choice->pipeline == UW_PIPELINE_EXPONENT) {
		status = multiply(run, &run->linear->codes);
		if (status == UW_OK)
			status = multiply(run, &run->linear->loose);
	}
	if (status != UW_OK)
		w->njobs = 0;
	return status;
}

/* ---- the table ---- */

static enum uw_status (*const runners[UW_NPIPELINES])(const struct run *run) = {
	[UW_PIPELINE_RAW] = run_raw,
	[UW_PIPELINE_DECODE] = run_decoding,
	[UW_PIPELINE_EXPONENT] = run_decoding,
	[UW_PIPELINE_TRANSCODE] = run_palette,
	[UW_PIPELINE_PALETTE] = run_palette,
};

static enum uw_status check_args(const struct uw_cuda_linear *linear, const struct uw_cuda_workspace *workspace,
				 const struct uw_cuda_linear_args *args, struct uw_error *err)
{
	size_t value = args->y_dtype == UW_DTYPE_F32 ? sizeof(float) : sizeof(uint16_t);

	if (args->batch == 0 || args->batch > workspace->max_batch || args->x_dev == NULL || args->y_dev == NULL ||
	    (uintptr_t)args->x_dev % 16 != 0 || args->ldx % 8 != 0 || args->ldx < linear->key.ncols ||
	    (uintptr_t)args->y_dev % value != 0 || args->ldy < uw_cuda_linear_nrows(linear) ||
	    (args->y_dtype != UW_DTYPE_BF16 && args->y_dtype != UW_DTYPE_F32))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "batch, type, alignment or leading dimension");
	return UW_OK;
}

static enum uw_status start(const struct uw_cuda_linear *linear, struct uw_cuda_workspace *workspace,
			    const struct uw_cuda_linear_args *args, const uint32_t *offsets_dev,
			    struct CUstream_st *stream, struct uw_error *err)
{
	struct run run = {
		.linear = linear,
		.tie = uw_cuda_tie_of(workspace, linear),
		.w = workspace,
		.args = args,
		.offsets_dev = offsets_dev,
		.stream = stream,
	};
	enum uw_status status = check_args(linear, workspace, args, err);

	if (status != UW_OK)
		return status;
	if (run.tie == NULL)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "a linear that the workspace does not know");
	if (linear->key.experts != (offsets_dev != NULL))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "experts and offsets go together");
	run.choice = &linear->choices[uw_bucket_of(args->batch)];
	return uw_cuda_status(runners[run.choice->pipeline](&run), "launch", err);
}

enum uw_status uw_cuda_linear_run(const struct uw_cuda_linear *linear, struct uw_cuda_workspace *workspace,
				  const struct uw_cuda_linear_args *args, struct CUstream_st *stream,
				  struct uw_error *err)
{
	return start(linear, workspace, args, NULL, stream, err);
}

enum uw_status uw_cuda_linear_run_experts(const struct uw_cuda_linear *linear, struct uw_cuda_workspace *workspace,
					  const struct uw_cuda_linear_args *args, const uint32_t *offsets_dev,
					  struct CUstream_st *stream, struct uw_error *err)
{
	if (offsets_dev == NULL)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "offsets of experts");
	return start(linear, workspace, args, offsets_dev, stream, err);
}

/* ---- decoding ahead ---- */

enum uw_status uw_cuda_linear_ahead(const struct uw_cuda_linear *linear, struct uw_cuda_workspace *workspace,
				    uint64_t batch, struct CUstream_st *stream, struct uw_error *err)
{
	const struct uw_cuda_tie *tie = uw_cuda_tie_of(workspace, linear);
	enum uw_pipeline pipeline;

	if (tie == NULL || batch == 0 || batch > workspace->max_batch)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "batch, or a linear that the workspace does not know");
	pipeline = uw_cuda_linear_pipeline(linear, batch);
	if (!uw_cuda_decodes(pipeline) || workspace->njobs == UW_CUDA_NSLOTS)
		return UW_OK; /* no slot is free: the run decodes for itself */
	return uw_cuda_status(add_job(workspace, tie, 0, pipeline, stream), "launch", err);
}

enum uw_status uw_cuda_workspace_reset(struct uw_cuda_workspace *workspace, struct CUstream_st *stream,
				       struct uw_error *err)
{
	const struct uw_gpu_ops *ops = workspace->cuda->ops;
	enum uw_status status = UW_OK;

	workspace->njobs = 0;
	if (workspace->forked) {
		status = ops->event_record(workspace->join, workspace->side);
		if (status == UW_OK)
			status = ops->event_await(stream, workspace->join);
	}
	workspace->forked = false;
	return uw_cuda_status(status, "stream", err);
}

/* ---- rows of an embedding ---- */

enum uw_status uw_cuda_gather(const struct uw_cuda_linear *linear, const uint32_t *rows_dev, uint32_t nrows,
			      uint16_t *y_dev, uint64_t ldy, struct CUstream_st *stream, struct uw_error *err)
{
	const struct uw_cuda_set *sets[] = { &linear->palette, &linear->codes, &linear->loose, &linear->dense };
	bool room = y_dev != NULL && rows_dev != NULL && (uintptr_t)y_dev % sizeof(uint16_t) == 0;

	if (linear->nparts != 1 || ldy < linear->key.ncols || !room)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "parts, memory or leading dimension");
	for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
		if (sets[i]->n == 1 && sets[i]->host[0].nrows == linear->key.nrows)
			return uw_cuda_status(linear->cuda->ops->gather(&sets[i]->host[0], rows_dev, nrows, y_dev, ldy,
									stream), "launch", err);
	}
	return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "rows of a matrix that is coded in different ways");
}
