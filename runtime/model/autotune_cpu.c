/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU as a machine to tune: stacks of linears, threads, and a model of time that some measurements calibrate. */
#include "autotune_cpu.h"

#include <stdlib.h>

#include "machine.h"

struct uw_machine_stack {
	struct uw_stack *stack;
	size_t nsteps;
};

struct cpu {
	struct uw_machine machine;
	struct uw_pool *pool;
	struct uw_autotune_probe probe; /* of the shape at hand */
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

/* ---- stacks ---- */

static enum uw_status stack_create(struct uw_machine *machine, const struct uw_stack_spec *spec,
				   struct uw_machine_stack **stack, struct uw_error *err)
{
	struct cpu *cpu = (struct cpu *)machine;
	struct uw_stack_spec with_pool = *spec;
	struct uw_machine_stack *s = calloc(1, sizeof(*s));
	enum uw_status status;

	if (s == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "measurement");
	with_pool.pool = cpu->pool;
	s->nsteps = spec->nsteps;
	status = uw_stack_create(&with_pool, &s->stack, err);
	if (status == UW_OK)
		*stack = s;
	else
		free(s);
	return status;
}

static void stack_free(struct uw_machine_stack **stack)
{
	if (*stack != NULL)
		uw_stack_free(&(*stack)->stack);
	free(*stack);
	*stack = NULL;
}

static enum uw_status run(struct uw_machine_stack *stack, uint64_t turn, uint64_t batch,
			  const struct uw_candidate *const *steps, double *seconds, struct uw_error *err)
{
	for (size_t i = 0; i < stack->nsteps; i++)
		uw_stack_choose(stack->stack, turn, i, batch, steps[i]->pipeline);
	return uw_stack_run(stack->stack, turn, batch, err);
}

/* ---- candidates ---- */

static void list(enum uw_coding coding, struct uw_autotune_cell *cell)
{
	uint32_t mask = uw_pipelines_for(coding);

	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		if (mask >> p & 1)
			cell->candidates[cell->n++] = (struct uw_candidate){ .pipeline = (enum uw_pipeline)p };
	}
}

static enum uw_status probe(struct uw_machine *machine, double seconds, struct uw_machine_stack *stack,
			    const struct uw_autotune_shape *shape, struct uw_error *err)
{
	const struct uw_autotune_options *o = machine->options;
	struct uw_autotune_probe *p = &((struct cpu *)machine)->probe;
	struct uw_autotune_cell cell = { 0 };
	double raw;
	enum uw_status status;

	*p = (struct uw_autotune_probe){
		.nweights = shape->nrows * shape->ncols,
		.first_batch = o->batches[0],
		.last_batch = o->batches[o->nbatches - 1],
	};
	list(shape->coding, &cell);
	status = uw_machine_measure_cell(machine, seconds / 2, stack, p->last_batch, 1, &cell, err);
	p->raw_last = cell.candidates[0].timing.seconds;
	if (status == UW_OK)
		status = uw_machine_measure_cell(machine, seconds / 2, stack, p->first_batch, UINT32_MAX, &cell, err);
	if (status != UW_OK)
		return status;
	for (unsigned i = 0; i < cell.n; i++) {
		const uint8_t name = (uint8_t)cell.candidates[i].pipeline;

		p->first[name] = cell.candidates[i].timing.seconds;
		p->read_nbytes[name] = uw_stack_read_nbytes(stack->stack, p->first_batch, &name);
	}
	raw = p->first[UW_PIPELINE_RAW];
	machine->report->bytes_per_s =
		greater(machine->report->bytes_per_s, (double)p->read_nbytes[UW_PIPELINE_RAW] / raw);
	machine->report->flops = greater(machine->report->flops, flops_of(p, p->last_batch) / p->raw_last);
	return UW_OK;
}

static enum uw_status candidates(struct uw_machine *machine, const struct uw_autotune_shape *shape, uint64_t batch,
				 struct uw_autotune_cell *cell, struct uw_error *err)
{
	const struct cpu *cpu = (const struct cpu *)machine;

	list(shape->coding, cell);
	for (unsigned i = 0; i < cell->n; i++)
		cell->candidates[i].predicted = uw_autotune_predict(&cpu->probe, cell->candidates[i].pipeline, batch);
	return UW_OK;
}

/* ---- all of it ---- */

enum uw_status uw_autotune_cpu(const struct uw_model *model, const struct uw_autotune_options *options,
			       struct uw_tuning **tuning, struct uw_autotune_report *report, struct uw_error *err)
{
	static const struct uw_machine_ops ops = {
		.stack_create = stack_create,
		.stack_free = stack_free,
		.run = run,
		.probe = probe,
		.candidates = candidates,
	};
	struct cpu cpu = { .machine = { .ops = &ops, .options = options, .report = report } };
	enum uw_status status = uw_pool_create(options->nthreads, &cpu.pool, err);

	if (status == UW_OK)
		status = uw_autotune_machine(&cpu.machine, model, NULL, tuning, err);
	uw_pool_free(&cpu.pool);
	return status;
}
