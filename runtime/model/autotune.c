/* SPDX-License-Identifier: Apache-2.0 */
#include "autotune.h"

#include <stdlib.h>
#include <string.h>

#include "unweight/dtype.h"

#define PRUNE 1.5        /* times the best predicted time */
#define NEAR 1.1         /* times the best measured time: what descent tries */
#define BETTER 1.01      /* ratio at which descent changes its mind */
#define SHAPES_SHARE 0.6 /* of the time; the rest is for layers */
#define MIN_ROUNDS 3u
#define MAX_SWEEPS 3u

struct tuner {
	const struct uw_autotune_options *options;
	struct uw_survey survey;
	struct uw_pool *pool;
	struct uw_rounds rounds;
	struct uw_autotune_state state;
	struct uw_autotune_report *report;
};

/* ---- the model of the machine ---- */

static double greater(double a, double b)
{
	return a > b ? a : b;
}

static double flops_of(const struct uw_autotune_probe *p, uint64_t batch)
{
	return 2.0 * (double)p->nweights * (double)batch;
}

/* Seconds of reading or multiplying, whichever is more. */
static double floor_of(const struct uw_autotune_probe *p, enum uw_pipeline pipeline, uint64_t batch)
{
	double bytes_per_s = (double)p->read_nbytes[UW_PIPELINE_RAW] / p->first[UW_PIPELINE_RAW];
	double flops = flops_of(p, p->last_batch) / p->raw_last;

	return greater((double)p->read_nbytes[pipeline] / bytes_per_s, flops_of(p, batch) / flops);
}

double uw_autotune_predict(const struct uw_autotune_probe *p, enum uw_pipeline pipeline, uint64_t batch)
{
	double decoding = greater(0, p->first[pipeline] - floor_of(p, pipeline, p->first_batch));

	return decoding + floor_of(p, pipeline, batch);
}

enum uw_pipeline uw_autotune_fastest(const struct uw_autotune_cell *cell, bool allow_raw)
{
	enum uw_pipeline best = UW_PIPELINE_AUTO;

	for (unsigned p = allow_raw ? UW_PIPELINE_RAW : UW_PIPELINE_RAW + 1; p < UW_NPIPELINES; p++) {
		double t = cell->timing[p].seconds;

		if (t > 0 && (best == UW_PIPELINE_AUTO || t < cell->timing[best].seconds))
			best = (enum uw_pipeline)p;
	}
	return best;
}

/* ---- measuring ---- */

static void tell(struct tuner *t, bool stack, size_t shape, uint64_t batch)
{
	t->state.stack = stack;
	t->state.shape = shape;
	t->state.batch = batch;
	if (t->options->progress != NULL)
		t->options->progress(t->options->ctx, &t->state);
}

/* Times stacks that differ in their pipelines: pipelines[i] has one for each step. */
static enum uw_status measure(struct tuner *t, double seconds, struct uw_stack *stack, uint64_t batch,
			      const uint8_t *const *pipelines, size_t n, struct uw_timing *timings,
			      struct uw_error *err)
{
	struct uw_stack_turn turns[UW_NPIPELINES + 1];
	struct uw_runner runners[UW_NPIPELINES + 1] = { { 0 } };

	for (size_t i = 0; i < n; i++) {
		turns[i] = (struct uw_stack_turn){ stack, batch, pipelines[i] };
		runners[i] = uw_stack_runner(&turns[i]);
	}
	t->rounds.seconds = seconds;
	return uw_measure(&t->rounds, runners, n, timings, err);
}

static bool fits(enum uw_coding coding, unsigned p)
{
	return uw_pipelines_for(coding) >> p & 1;
}

/* Times the pipelines of a mask on one shape; RAW, which is one of them, first. */
static enum uw_status measure_some(struct tuner *t, double seconds, struct uw_stack *stack, uint64_t batch,
				   uint32_t mask, struct uw_timing timings[UW_NPIPELINES], struct uw_error *err)
{
	static const uint8_t names[UW_NPIPELINES] = { 0, 1, 2, 3, 4, 5 };
	const uint8_t *pipelines[UW_NPIPELINES];
	struct uw_timing measured[UW_NPIPELINES];
	size_t n = 0;
	enum uw_status status;

	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		if (mask & 1u << p)
			pipelines[n++] = &names[p];
	}
	status = measure(t, seconds, stack, batch, pipelines, n, measured, err);
	for (size_t i = 0; status == UW_OK && i < n; i++)
		timings[*pipelines[i]] = measured[i];
	return status;
}

/* ---- one shape ---- */

static enum uw_status probe(struct tuner *t, double seconds, struct uw_stack *stack, struct uw_autotune_shape *shape,
			    struct uw_autotune_probe *p, struct uw_error *err)
{
	const struct uw_autotune_options *o = t->options;
	struct uw_timing timings[UW_NPIPELINES] = { { 0 } };
	enum uw_status status;

	*p = (struct uw_autotune_probe){
		.nweights = shape->nrows * shape->ncols,
		.first_batch = o->batches[0],
		.last_batch = o->batches[o->nbatches - 1],
	};
	status = measure_some(t, seconds / 2, stack, p->last_batch, 1u << UW_PIPELINE_RAW, timings, err);
	p->raw_last = timings[UW_PIPELINE_RAW].seconds;
	if (status == UW_OK)
		status = measure_some(t, seconds / 2, stack, p->first_batch, uw_pipelines_for(shape->coding), timings,
				      err);
	for (unsigned i = UW_PIPELINE_RAW; i < UW_NPIPELINES; i++) {
		const uint8_t name = (uint8_t)i;

		p->first[i] = timings[i].seconds;
		if (fits(shape->coding, i))
			p->read_nbytes[i] = uw_stack_read_nbytes(stack, p->first_batch, &name);
	}
	if (status == UW_OK) {
		t->report->bytes_per_s = greater(t->report->bytes_per_s, (double)p->read_nbytes[UW_PIPELINE_RAW] /
						 p->first[UW_PIPELINE_RAW]);
		t->report->flops = greater(t->report->flops, flops_of(p, p->last_batch) / p->raw_last);
	}
	return status;
}

/* Predicts all, and says which are worth measuring; RAW always is. */
static uint32_t prune(const struct uw_autotune_shape *shape, const struct uw_autotune_probe *p, uint64_t batch,
		      struct uw_autotune_cell *cell)
{
	uint32_t mask = 1u << UW_PIPELINE_RAW;
	double best = 0;

	for (unsigned i = UW_PIPELINE_RAW; i < UW_NPIPELINES; i++) {
		cell->fits[i] = fits(shape->coding, i);
		if (!cell->fits[i])
			continue;
		cell->predicted[i] = uw_autotune_predict(p, (enum uw_pipeline)i, batch);
		if (i != UW_PIPELINE_RAW && (best == 0 || cell->predicted[i] < best))
			best = cell->predicted[i];
	}
	for (unsigned i = UW_PIPELINE_RAW; i < UW_NPIPELINES; i++)
		mask |= (uint32_t)(cell->fits[i] && cell->predicted[i] <= PRUNE * best) << i;
	return mask;
}

static enum uw_status tune_stack(struct tuner *t, size_t index, struct uw_stack *stack, struct uw_error *err)
{
	const struct uw_autotune_options *o = t->options;
	struct uw_autotune_shape *shape = &t->report->shapes[index];
	double seconds = SHAPES_SHARE * o->seconds / (double)(t->survey.nshapes * (o->nbatches + 1));
	struct uw_autotune_probe p;
	enum uw_status status = probe(t, seconds, stack, shape, &p, err);

	for (unsigned b = 0; status == UW_OK && b < o->nbatches; b++) {
		struct uw_autotune_cell *cell = &shape->cells[b];

		t->state.done++;
		tell(t, false, index, o->batches[b]);
		status = measure_some(t, seconds, stack, o->batches[b], prune(shape, &p, o->batches[b], cell),
				      cell->timing, err);
		cell->fastest = cell->chosen = uw_autotune_fastest(cell, o->allow_raw);
	}
	return status;
}

static uint16_t max_batch(const struct uw_autotune_options *o)
{
	return o->batches[o->nbatches - 1];
}

static enum uw_status tune_shape(struct tuner *t, size_t index, struct uw_error *err)
{
	const struct uw_survey_shape *from = &t->survey.shapes[index];
	struct uw_autotune_shape *shape = &t->report->shapes[index];
	size_t n = (size_t)uw_ncopies(from->nrows * from->ncols, t->options->cycle_nbytes);
	struct uw_weights *weights = calloc(n, sizeof(*weights));
	struct uw_stack_spec spec = {
		.weights = weights,
		.nsteps = 1,
		.ncopies = n,
		.pipelines = uw_pipelines_for(from->coding),
		.max_batch = max_batch(t->options),
		.pool = t->pool,
	};
	struct uw_stack *stack = NULL;
	enum uw_status status;

	*shape = (struct uw_autotune_shape){
		.coding = from->coding,
		.nrows = from->nrows,
		.ncols = from->ncols,
		.nmatrices = from->n,
		.ncopies = n,
	};
	tell(t, false, index, 0);
	if (weights == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of matrices");
	status = uw_survey_weights(from, t->options->copies, n, weights, err);
	if (status == UW_OK)
		status = uw_stack_create(&spec, &stack, err);
	if (status == UW_OK)
		status = tune_stack(t, index, stack, err);
	uw_stack_free(&stack);
	free(weights);
	return status;
}

/* ---- a whole layer ---- */

/* The layer's matrices `ncopies` times: copy c of a step is the next matrix of its shape that no step has yet. */
static enum uw_status layer_weights(struct tuner *t, size_t ncopies, struct uw_weights *weights, struct uw_error *err)
{
	const struct uw_survey *s = &t->survey;
	enum uw_status status = UW_OK;

	for (size_t i = 0; status == UW_OK && i < s->nshapes; i++) {
		size_t each = 0, next = 0;
		struct uw_weights *list;

		for (size_t k = 0; k < s->nsteps; k++)
			each += s->steps[k].shape == i;
		list = calloc(each * ncopies + 1, sizeof(*list));
		if (list == NULL)
			return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of matrices");
		status = uw_survey_weights(&s->shapes[i], t->options->copies, each * ncopies, list, err);
		for (size_t k = 0; k < s->nsteps * ncopies; k++) {
			if (s->steps[k % s->nsteps].shape == i)
				weights[k] = list[next++];
		}
		free(list);
	}
	return status;
}

/* What serves each step, if shapes have pipelines[shape]. */
static void spread(const struct tuner *t, const uint8_t *pipelines, uint8_t *steps)
{
	for (size_t k = 0; k < t->survey.nsteps; k++)
		steps[k] = pipelines[t->survey.steps[k].shape];
}

struct descent {
	struct uw_stack *stack;
	unsigned b;
	double seconds;      /* for one comparison */
	uint8_t *chosen;     /* [nshapes] */
	uint8_t *steps[2];   /* [nsteps]: as chosen, and as tried */
	bool *in_layer;      /* [nshapes] */
};

/* One shape's other candidates in turn, on the whole layer. */
static enum uw_status try_others(struct tuner *t, struct descent *d, size_t shape, bool *changed,
				 struct uw_error *err)
{
	const struct uw_autotune_cell *cell = &t->report->shapes[shape].cells[d->b];
	enum uw_status status = UW_OK;

	for (unsigned p = UW_PIPELINE_RAW; status == UW_OK && p < UW_NPIPELINES; p++) {
		const uint8_t *const pipelines[2] = { d->steps[0], d->steps[1] };
		uint8_t was = d->chosen[shape];
		double time = cell->timing[p].seconds;
		struct uw_timing timings[2];

		if (p == was || time <= 0 || time > NEAR * cell->timing[cell->fastest].seconds ||
		    (p == UW_PIPELINE_RAW && !t->options->allow_raw))
			continue;
		spread(t, d->chosen, d->steps[0]);
		d->chosen[shape] = (uint8_t)p;
		spread(t, d->chosen, d->steps[1]);
		status = measure(t, d->seconds, d->stack, t->options->batches[d->b], pipelines, 2, timings, err);
		if (status == UW_OK && timings[1].ratio > BETTER)
			*changed = true;
		else
			d->chosen[shape] = was;
	}
	return status;
}

/* Against each pipeline for all: what the report tells, and the last word. */
static enum uw_status compare_singles(struct tuner *t, struct descent *d, struct uw_error *err)
{
	struct uw_autotune_layer *layer = &t->report->layers[d->b];
	uint8_t *steps = calloc(UW_NPIPELINES, t->survey.nsteps);
	const uint8_t *pipelines[UW_NPIPELINES + 1] = { d->steps[0] };
	uint8_t names[UW_NPIPELINES + 1] = { UW_PIPELINE_AUTO };
	struct uw_timing timings[UW_NPIPELINES + 1];
	uint32_t mask = 0;
	size_t n = 1, best = 0;
	enum uw_status status;

	if (steps == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "layer");
	spread(t, d->chosen, d->steps[0]);
	for (size_t i = 0; i < t->survey.nshapes; i++)
		mask |= d->in_layer[i] ? uw_pipelines_for(t->survey.shapes[i].coding) : 0;
	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		if (!(mask & 1u << p))
			continue;
		names[n] = (uint8_t)p;
		memset(steps + p * t->survey.nsteps, (int)p, t->survey.nsteps);
		pipelines[n++] = steps + p * t->survey.nsteps;
	}
	status = measure(t, 3 * d->seconds, d->stack, t->options->batches[d->b], pipelines, n, timings, err);
	for (size_t i = 1; status == UW_OK && i < n; i++) {
		if (names[i] == UW_PIPELINE_RAW && !t->options->allow_raw)
			continue;
		if (timings[i].ratio > BETTER && timings[i].ratio > timings[best].ratio)
			best = i;
	}
	for (size_t i = 0; status == UW_OK && i < t->survey.nshapes; i++) {
		if (best != 0 && d->in_layer[i] && fits(t->survey.shapes[i].coding, names[best]))
			d->chosen[i] = names[best];
	}
	for (size_t i = 0; status == UW_OK && i < n; i++)
		*(i == 0 ? &layer->chosen : &layer->single[names[i]]) = timings[i];
	if (status == UW_OK && best != 0) {
		layer->chosen = timings[best];
		for (size_t i = 1; i < n; i++)
			layer->single[names[i]].ratio /= timings[best].ratio;
	}
	free(steps);
	return status;
}

static enum uw_status descend(struct tuner *t, struct descent *d, struct uw_error *err)
{
	enum uw_status status = UW_OK;
	bool changed = true;

	for (size_t i = 0; i < t->survey.nshapes; i++)
		d->chosen[i] = (uint8_t)t->report->shapes[i].cells[d->b].fastest;
	for (unsigned sweep = 0; status == UW_OK && changed && sweep < MAX_SWEEPS; sweep++) {
		changed = false;
		for (size_t i = 0; status == UW_OK && i < t->survey.nshapes; i++) {
			if (d->in_layer[i])
				status = try_others(t, d, i, &changed, err);
		}
	}
	if (status == UW_OK)
		status = compare_singles(t, d, err);
	for (size_t i = 0; status == UW_OK && i < t->survey.nshapes; i++)
		t->report->shapes[i].cells[d->b].chosen = (enum uw_pipeline)d->chosen[i];
	return status;
}

static enum uw_status descend_all(struct tuner *t, struct uw_stack *stack, struct uw_error *err)
{
	const struct uw_autotune_options *o = t->options;
	size_t nshapes = t->survey.nshapes, nsteps = t->survey.nsteps;
	uint8_t *memory = calloc(2 * nshapes + 2 * nsteps, 1);
	struct descent d = { .stack = stack };
	enum uw_status status = UW_OK;

	if (memory == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "layer");
	d.chosen = memory;
	d.in_layer = (bool *)(memory + nshapes);
	d.steps[0] = memory + 2 * nshapes;
	d.steps[1] = d.steps[0] + nsteps;
	d.seconds = (1 - SHAPES_SHARE) * o->seconds / (double)(o->nbatches * (nshapes + 3));
	for (size_t k = 0; k < nsteps; k++)
		d.in_layer[t->survey.steps[k].shape] = true;
	for (d.b = 0; status == UW_OK && d.b < o->nbatches; d.b++) {
		t->state.done++;
		tell(t, true, 0, o->batches[d.b]);
		status = descend(t, &d, err);
	}
	free(memory);
	return status;
}

static enum uw_status tune_layer(struct tuner *t, struct uw_error *err)
{
	const struct uw_survey *s = &t->survey;
	struct uw_stack_spec spec = { .nsteps = s->nsteps, .max_batch = max_batch(t->options), .pool = t->pool };
	struct uw_weights *weights;
	struct uw_stack *stack = NULL;
	uint64_t nweights = 0;
	enum uw_status status;

	for (size_t k = 0; k < s->nsteps; k++) {
		const struct uw_survey_shape *shape = &s->shapes[s->steps[k].shape];

		nweights += shape->nrows * shape->ncols;
		spec.pipelines |= uw_pipelines_for(shape->coding);
	}
	spec.ncopies = (size_t)uw_ncopies(nweights, t->options->cycle_nbytes);
	tell(t, true, 0, 0);
	weights = calloc(spec.ncopies * s->nsteps, sizeof(*weights));
	if (weights == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of matrices");
	spec.weights = weights;
	status = layer_weights(t, spec.ncopies, weights, err);
	if (status == UW_OK)
		status = uw_stack_create(&spec, &stack, err);
	if (status == UW_OK)
		status = descend_all(t, stack, err);
	uw_stack_free(&stack);
	free(weights);
	return status;
}

/* ---- all of it ---- */

static enum uw_status make_tuning(const struct tuner *t, struct uw_tuning **tuning, struct uw_error *err)
{
	const struct uw_autotune_options *o = t->options;
	enum uw_status status = uw_tuning_create(tuning, err);

	for (size_t i = 0; status == UW_OK && i < t->survey.nshapes; i++) {
		const struct uw_autotune_shape *shape = &t->report->shapes[i];

		for (unsigned b = 0; status == UW_OK && b < o->nbatches; b++) {
			const struct uw_autotune_cell *cell = &shape->cells[b];
			double measured = cell->timing[cell->chosen].seconds; /* 0: the layer's spoke for it */
			struct uw_tuning_entry entry = {
				.coding = (uint8_t)shape->coding,
				.pipeline = (uint8_t)cell->chosen,
				.batch = o->batches[b],
				.nrows = shape->nrows,
				.ncols = shape->ncols,
				.nanoseconds = (uint64_t)(1e9 * (measured > 0 ? measured
										 : cell->predicted[cell->chosen])),
			};

			status = uw_tuning_set(*tuning, &entry, err);
		}
	}
	if (status != UW_OK)
		uw_tuning_free(tuning);
	return status;
}

static enum uw_status check(const struct uw_autotune_options *o, struct uw_error *err)
{
	bool good = o->nbatches != 0 && o->nbatches <= UW_AUTOTUNE_MAX_BATCHES && o->seconds >= 0;

	for (unsigned b = 0; good && b < o->nbatches; b++) {
		uint16_t n = o->batches[b];

		good = n != 0 && n <= UW_LINEAR_MAX_BATCH && (n & (n - 1)) == 0 && (b == 0 || n > o->batches[b - 1]);
	}
	return good ? UW_OK : uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "batches or seconds");
}

static enum uw_status run(struct tuner *t, const struct uw_model *model, struct uw_error *err)
{
	const struct uw_autotune_options *o = t->options;
	enum uw_status status = uw_survey_open(model, &t->survey, err);

	if (status != UW_OK)
		return status;
	t->report->nshapes = t->state.nshapes = t->survey.nshapes;
	t->report->nsteps = t->survey.nsteps;
	t->state.total = (unsigned)(t->survey.nshapes * o->nbatches + o->nbatches);
	t->report->shapes = calloc(t->survey.nshapes, sizeof(*t->report->shapes));
	if (t->report->shapes == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "report");
	status = uw_pool_create(o->nthreads, &t->pool, err);
	for (size_t i = 0; status == UW_OK && i < t->survey.nshapes; i++)
		status = tune_shape(t, i, err);
	return status == UW_OK ? tune_layer(t, err) : status;
}

enum uw_status uw_autotune(const struct uw_model *model, const struct uw_autotune_options *options,
			   struct uw_tuning **tuning, struct uw_autotune_report *report, struct uw_error *err)
{
	struct tuner t = {
		.options = options,
		.rounds = {
			.min = MIN_ROUNDS,
			.max = UW_MAX_ROUNDS,
			.nthreads = options->nthreads,
			.cancelled = options->cancelled,
			.ctx = options->ctx,
		},
		.report = report,
	};
	enum uw_status status = check(options, err);

	*report = (struct uw_autotune_report){ 0 };
	if (status == UW_OK)
		status = run(&t, model, err);
	if (status == UW_OK)
		status = make_tuning(&t, tuning, err);
	uw_pool_free(&t.pool);
	uw_survey_close(&t.survey);
	if (status != UW_OK)
		uw_autotune_report_free(report);
	return status;
}

void uw_autotune_report_free(struct uw_autotune_report *report)
{
	free(report->shapes);
	*report = (struct uw_autotune_report){ 0 };
}
