/* SPDX-License-Identifier: Apache-2.0 */
#include "autotune.h"

#include <stdlib.h>
#include <string.h>

#include "autotune_cpu.h"
#include "autotune_cuda.h"
#include "descent.h"
#include "machine.h"

#define PRUNE 1.5        /* times the best predicted time */
#define NEAR 1.1         /* times the best measured time: what descent tries */
#define SHAPES_SHARE 0.6 /* of the time; the rest is for layers */
#define MIN_ROUNDS 3u

struct tuner {
	struct uw_machine *machine;
	const struct uw_autotune_options *options;
	struct uw_survey survey;
	struct uw_autotune_state state;
	struct uw_autotune_report *report;
};

unsigned uw_autotune_fastest(const struct uw_autotune_cell *cell, bool allow_raw)
{
	unsigned best = 0;

	for (unsigned i = 1; i < cell->n; i++) {
		double t = cell->candidates[i].timing.seconds;

		if (t > 0 && ((best == 0 && !allow_raw) || t < cell->candidates[best].timing.seconds))
			best = i;
	}
	return best;
}

static bool allows_raw(const struct uw_autotune_options *o, const struct uw_autotune_shape *shape)
{
	return shape->nrows * shape->ncols <= o->raw_nbytes / sizeof(uint16_t);
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

struct turn {
	const struct uw_machine_ops *ops;
	struct uw_machine_stack *stack;
	uint64_t batch;
	const struct uw_candidate *const *steps;
	double seconds;
};

static enum uw_status run_turn(void *ctx, uint64_t number, struct uw_error *err)
{
	struct turn *turn = ctx;

	return turn->ops->run(turn->stack, number, turn->batch, turn->steps, &turn->seconds, err);
}

enum uw_status uw_machine_measure(struct uw_machine *machine, double seconds, struct uw_machine_stack *stack,
				  uint64_t batch, const struct uw_candidate *const *const *ways, size_t n,
				  struct uw_timing *timings, struct uw_error *err)
{
	struct turn turns[UW_MAX_RUNNERS] = { { 0 } };
	struct uw_runner runners[UW_MAX_RUNNERS] = { { 0 } };

	for (size_t i = 0; i < n; i++) {
		turns[i] = (struct turn){ machine->ops, stack, batch, ways[i], 0 };
		runners[i] = (struct uw_runner){ .run = run_turn, .ctx = &turns[i] };
		if (machine->ops->has_clock)
			runners[i].seconds = &turns[i].seconds;
	}
	machine->rounds.seconds = seconds;
	return uw_measure(&machine->rounds, runners, n, timings, err);
}

enum uw_status uw_machine_measure_cell(struct uw_machine *machine, double seconds, struct uw_machine_stack *stack,
				       uint64_t batch, uint32_t mask, struct uw_autotune_cell *cell,
				       struct uw_error *err)
{
	const struct uw_candidate *steps[UW_AUTOTUNE_MAX_CANDIDATES];
	const struct uw_candidate *const *ways[UW_AUTOTUNE_MAX_CANDIDATES] = { NULL };
	struct uw_timing timings[UW_AUTOTUNE_MAX_CANDIDATES];
	size_t n = 0;
	enum uw_status status;

	for (unsigned i = 0; i < cell->n; i++) {
		if (!(mask >> i & 1))
			continue;
		steps[n] = &cell->candidates[i];
		ways[n] = &steps[n];
		n++;
	}
	status = uw_machine_measure(machine, seconds, stack, batch, ways, n, timings, err);
	for (size_t i = 0; status == UW_OK && i < n; i++)
		cell->candidates[steps[i] - cell->candidates].timing = timings[i];
	return status;
}

/* ---- one shape ---- */

/* Which are worth measuring; RAW always is. */
static uint32_t prune(const struct uw_autotune_cell *cell)
{
	uint32_t mask = 1;
	double best = 0;

	for (unsigned i = 1; i < cell->n; i++) {
		if (best == 0 || cell->candidates[i].predicted < best)
			best = cell->candidates[i].predicted;
	}
	for (unsigned i = 1; i < cell->n; i++)
		mask |= (uint32_t)(cell->candidates[i].predicted <= PRUNE * best) << i;
	return mask;
}

static enum uw_status tune_stack(struct tuner *t, size_t index, struct uw_machine_stack *stack, struct uw_error *err)
{
	const struct uw_autotune_options *o = t->options;
	const struct uw_machine_ops *ops = t->machine->ops;
	struct uw_autotune_shape *shape = &t->report->shapes[index];
	double seconds = SHAPES_SHARE * o->seconds / (double)(t->survey.nshapes * (o->nbatches + 1));
	enum uw_status status = UW_OK;

	if (ops->probe != NULL)
		status = ops->probe(t->machine, seconds, stack, shape, err);
	for (unsigned b = 0; status == UW_OK && b < o->nbatches; b++) {
		struct uw_autotune_cell *cell = &shape->cells[b];

		t->state.done++;
		tell(t, false, index, o->batches[b]);
		status = ops->candidates(t->machine, shape, o->batches[b], cell, err);
		if (status == UW_OK)
			status = uw_machine_measure_cell(t->machine, seconds, stack, o->batches[b], prune(cell), cell,
							 err);
		cell->fastest = cell->chosen = uw_autotune_fastest(cell, allows_raw(o, shape));
	}
	return status;
}

static uint16_t max_batch(const struct uw_autotune_options *o)
{
	return o->batches[o->nbatches - 1];
}

/* Other copies are of the same model on a device, which has memory of its own for each. */
static const struct uw_model *copies_of(const struct tuner *t, const struct uw_survey_shape *shape)
{
	return t->options->cuda != NULL ? shape->weights[0].model : t->options->copies;
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
	};
	struct uw_machine_stack *stack = NULL;
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
	status = uw_survey_weights(from, copies_of(t, from), n, weights, err);
	if (status == UW_OK)
		status = t->machine->ops->stack_create(t->machine, &spec, &stack, err);
	if (status == UW_OK)
		status = tune_stack(t, index, stack, err);
	t->machine->ops->stack_free(&stack);
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
		status = uw_survey_weights(&s->shapes[i], copies_of(t, &s->shapes[i]), each * ncopies, list, err);
		for (size_t k = 0; k < s->nsteps * ncopies; k++) {
			if (s->steps[k % s->nsteps].shape == i)
				weights[k] = list[next++];
		}
		free(list);
	}
	return status;
}

/* Plans are of shapes: which candidate of its cell each has. */
struct layer {
	struct tuner *t;
	struct uw_machine_stack *stack;
	unsigned b;
	struct uw_descent descent;
	uint32_t *others;                 /* [nshapes] */
	bool *in_layer;                   /* [nshapes] */
	uint8_t *plan;                    /* [nshapes] */
	uint8_t *singles;                 /* [UW_NPIPELINES][nshapes] */
	const struct uw_candidate **steps; /* [UW_MAX_RUNNERS][nsteps] */
};

static const struct uw_autotune_cell *cell_of(const struct layer *l, size_t shape)
{
	return &l->t->report->shapes[shape].cells[l->b];
}

static enum uw_status compare(void *ctx, double seconds, const uint8_t *const *plans, size_t n,
			      struct uw_timing *timings, struct uw_error *err)
{
	struct layer *l = ctx;
	const struct uw_survey *s = &l->t->survey;
	const struct uw_candidate *const *ways[UW_MAX_RUNNERS];

	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < s->nsteps; k++) {
			size_t shape = s->steps[k].shape;

			l->steps[i * s->nsteps + k] = &cell_of(l, shape)->candidates[plans[i][shape]];
		}
		ways[i] = l->steps + i * s->nsteps;
	}
	return uw_machine_measure(l->t->machine, seconds, l->stack, l->t->options->batches[l->b], ways, n, timings,
				  err);
}

/* Candidates of a shape that may win in the layer's time though they did not in the shape's. */
static uint32_t others_of(const struct layer *l, size_t shape)
{
	const struct uw_autotune_cell *cell = cell_of(l, shape);
	uint32_t mask = 0;

	for (unsigned i = 0; l->in_layer[shape] && i < cell->n; i++) {
		double time = cell->candidates[i].timing.seconds;

		if (time > 0 && time <= NEAR * cell->candidates[cell->fastest].timing.seconds &&
		    (i != 0 || allows_raw(l->t->options, &l->t->report->shapes[shape])))
			mask |= 1u << i;
	}
	return mask;
}

static double time_of(const struct uw_candidate *candidate)
{
	return candidate->timing.seconds > 0 ? candidate->timing.seconds : candidate->predicted;
}

/* The pipeline's best candidate for a shape, measured rather than predicted; `without` if it has none. */
static uint8_t best_of(const struct uw_autotune_cell *cell, unsigned pipeline, uint8_t without)
{
	unsigned best = cell->n;

	for (unsigned i = 0; i < cell->n; i++) {
		const struct uw_candidate *c = &cell->candidates[i], *b = &cell->candidates[best];
		bool measured = c->timing.seconds > 0;

		if ((unsigned)c->pipeline != pipeline)
			continue;
		if (best == cell->n || measured > (b->timing.seconds > 0) ||
		    (measured == (b->timing.seconds > 0) && time_of(c) < time_of(b)))
			best = i;
	}
	return best < cell->n ? (uint8_t)best : without;
}

/* Against each pipeline for all: what the report tells, and the last word. */
static enum uw_status settle(struct layer *l, struct uw_error *err)
{
	struct uw_autotune_layer *layer = &l->t->report->layers[l->b];
	size_t nshapes = l->t->survey.nshapes, n = 0;
	struct uw_rival rivals[UW_NPIPELINES] = { { 0 } };
	unsigned names[UW_NPIPELINES];
	enum uw_status status;

	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		uint8_t *plan = l->singles + p * nshapes;
		bool any = false, admitted = true;

		memcpy(plan, l->plan, nshapes);
		for (size_t i = 0; i < nshapes; i++) {
			const struct uw_autotune_cell *cell = cell_of(l, i);

			if (!l->in_layer[i])
				continue;
			plan[i] = best_of(cell, p, plan[i]);
			any |= (unsigned)cell->candidates[plan[i]].pipeline == p;
			admitted &= plan[i] != 0 || allows_raw(l->t->options, &l->t->report->shapes[i]);
		}
		if (!any)
			continue;
		names[n] = p;
		rivals[n++] = (struct uw_rival){ .plan = plan, .admitted = admitted };
	}
	status = uw_descent_settle(&l->descent, rivals, n, &layer->chosen, err);
	for (size_t i = 0; status == UW_OK && i < n; i++) {
		layer->single[names[i]] = rivals[i].timing;
		layer->admitted[names[i]] = rivals[i].admitted;
	}
	return status;
}

static enum uw_status tune_batch(struct layer *l, struct uw_error *err)
{
	size_t nshapes = l->t->survey.nshapes;
	enum uw_status status;

	for (size_t i = 0; i < nshapes; i++) {
		l->plan[i] = (uint8_t)cell_of(l, i)->fastest;
		l->others[i] = others_of(l, i);
	}
	status = uw_descend(&l->descent, err);
	if (status == UW_OK)
		status = settle(l, err);
	for (size_t i = 0; status == UW_OK && i < nshapes; i++)
		l->t->report->shapes[i].cells[l->b].chosen = l->plan[i];
	return status;
}

static enum uw_status tune_batches(struct layer *l, struct uw_error *err)
{
	const struct uw_autotune_options *o = l->t->options;
	const struct uw_survey *s = &l->t->survey;
	enum uw_status status = UW_OK;

	l->descent = (struct uw_descent){
		.nsites = s->nshapes,
		.plan = l->plan,
		.others = l->others,
		.seconds = (1 - SHAPES_SHARE) * o->seconds / (double)o->nbatches,
		.compare = compare,
		.now = o->now,
		.ctx = l,
	};
	for (size_t k = 0; k < s->nsteps; k++)
		l->in_layer[s->steps[k].shape] = true;
	for (l->b = 0; status == UW_OK && l->b < o->nbatches; l->b++) {
		l->t->state.done++;
		tell(l->t, true, 0, o->batches[l->b]);
		status = tune_batch(l, err);
	}
	return status;
}

static enum uw_status tune_plans(struct tuner *t, struct uw_machine_stack *stack, struct uw_error *err)
{
	size_t nshapes = t->survey.nshapes;
	struct layer l = { .t = t, .stack = stack };
	enum uw_status status;

	l.others = calloc(nshapes, sizeof(*l.others));
	l.in_layer = calloc(nshapes, sizeof(*l.in_layer));
	l.plan = calloc(nshapes, sizeof(*l.plan));
	l.singles = calloc(nshapes, UW_NPIPELINES * sizeof(*l.singles));
	l.steps = calloc(t->survey.nsteps, UW_MAX_RUNNERS * sizeof(*l.steps));
	if (l.others != NULL && l.in_layer != NULL && l.plan != NULL && l.singles != NULL && l.steps != NULL)
		status = tune_batches(&l, err);
	else
		status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "layer");
	free(l.others);
	free(l.in_layer);
	free(l.plan);
	free(l.singles);
	free(l.steps);
	return status;
}

static enum uw_status tune_layer(struct tuner *t, struct uw_error *err)
{
	const struct uw_survey *s = &t->survey;
	struct uw_stack_spec spec = { .nsteps = s->nsteps, .max_batch = max_batch(t->options) };
	struct uw_weights *weights;
	struct uw_machine_stack *stack = NULL;
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
		status = t->machine->ops->stack_create(t->machine, &spec, &stack, err);
	if (status == UW_OK)
		status = tune_plans(t, stack, err);
	t->machine->ops->stack_free(&stack);
	free(weights);
	return status;
}

/* ---- all of it ---- */

static enum uw_status add_shape(const struct tuner *t, const struct uw_autotune_shape *shape, uint16_t device,
				struct uw_tuning *tuning, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	for (unsigned b = 0; status == UW_OK && b < t->options->nbatches; b++) {
		const struct uw_autotune_cell *cell = &shape->cells[b];
		const struct uw_candidate *chosen = &cell->candidates[cell->chosen];
		struct uw_tuning_entry entry = {
			.coding = (uint8_t)shape->coding,
			.pipeline = (uint8_t)chosen->pipeline,
			.batch = t->options->batches[b],
			.nrows = shape->nrows,
			.ncols = shape->ncols,
			.nanoseconds = (uint64_t)(1e9 * time_of(chosen)),
			.device = device,
			.predicted = chosen->timing.seconds <= 0,
			.blocks_per_sm = chosen->blocks_per_sm,
			.tile_n = chosen->tile_n,
			.parts = chosen->parts,
		};

		status = uw_tuning_set(tuning, &entry, err);
	}
	return status;
}

static enum uw_status make_tuning(const struct tuner *t, const char *device, struct uw_tuning **tuning,
				  struct uw_error *err)
{
	enum uw_status status = uw_tuning_create(tuning, err);
	uint16_t number = 0;

	if (status == UW_OK && device != NULL)
		status = uw_tuning_device(*tuning, device, &number, err);
	for (size_t i = 0; status == UW_OK && i < t->survey.nshapes; i++)
		status = add_shape(t, &t->report->shapes[i], number, *tuning, err);
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
	enum uw_status status = uw_survey_open(model, o->cuda != NULL, &t->survey, err);

	if (status != UW_OK)
		return status;
	t->report->nshapes = t->state.nshapes = t->survey.nshapes;
	t->report->nsteps = t->survey.nsteps;
	t->state.total = (unsigned)(t->survey.nshapes * o->nbatches + o->nbatches);
	t->report->shapes = calloc(t->survey.nshapes, sizeof(*t->report->shapes));
	if (t->report->shapes == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "report");
	for (size_t i = 0; status == UW_OK && i < t->survey.nshapes; i++)
		status = tune_shape(t, i, err);
	return status == UW_OK ? tune_layer(t, err) : status;
}

enum uw_status uw_autotune_machine(struct uw_machine *machine, const struct uw_model *model, const char *device,
				   struct uw_tuning **tuning, struct uw_error *err)
{
	const struct uw_autotune_options *o = machine->options;
	struct tuner t = { .machine = machine, .options = o, .report = machine->report };
	enum uw_status status;

	machine->rounds = (struct uw_rounds){
		.min = MIN_ROUNDS,
		.max = UW_MAX_ROUNDS,
		.nthreads = o->nthreads,
		.now = o->now,
		.cancelled = o->cancelled,
		.ctx = o->ctx,
	};
	status = run(&t, model, err);
	if (status == UW_OK)
		status = make_tuning(&t, device, tuning, err);
	uw_survey_close(&t.survey);
	return status;
}

enum uw_status uw_autotune(const struct uw_model *model, const struct uw_autotune_options *options,
			   struct uw_tuning **tuning, struct uw_autotune_report *report, struct uw_error *err)
{
	enum uw_status status = check(options, err);

	*report = (struct uw_autotune_report){ 0 };
	if (status == UW_OK && options->cuda != NULL)
		status = uw_autotune_cuda(model, options, tuning, report, err);
	else if (status == UW_OK)
		status = uw_autotune_cpu(model, options, tuning, report, err);
	if (status != UW_OK)
		uw_autotune_report_free(report);
	return status;
}

void uw_autotune_report_free(struct uw_autotune_report *report)
{
	free(report->shapes);
	*report = (struct uw_autotune_report){ 0 };
}
