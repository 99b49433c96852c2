/* SPDX-License-Identifier: Apache-2.0 */
/* A CUDA device as a machine to tune. */
#include "autotune_cuda.h"

#include <stdlib.h>

#include "cuda_candidates.h"
#include "cuda_device.h"
#include "cuda_stack.h"
#include "machine.h"

#define LEAST_SECONDS 200e-6 /* that are timed at once, about: what events tell is good to half a microsecond */
#define MAX_PASSES 32u
#define CYCLE_L2 3u

struct device {
	struct uw_machine machine;
	struct uw_cuda_linear_options modes;
	struct uw_cuda_search search;
};

struct uw_machine_stack {
	const struct device *device;
	struct uw_cuda_stack *stack;
	size_t nsteps;
	struct uw_cuda_choice *choices; /* [nsteps] */
};

uint64_t uw_cuda_cycle_nbytes(const struct uw_cuda *cuda)
{
	return CYCLE_L2 * cuda->facts.l2_nbytes;
}

/* ---- stacks ---- */

static void stack_free(struct uw_machine_stack **stack)
{
	struct uw_machine_stack *s = *stack;

	*stack = NULL;
	if (s == NULL)
		return;
	uw_cuda_stack_free(&s->stack);
	free(s->choices);
	free(s);
}

static enum uw_status stack_create(struct uw_machine *machine, const struct uw_stack_spec *spec,
				   struct uw_machine_stack **stack, struct uw_error *err)
{
	const struct device *device = (const struct device *)machine;
	struct uw_machine_stack *s = calloc(1, sizeof(*s));
	enum uw_status status;

	*stack = s;
	if (s == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "measurement");
	s->device = device;
	s->nsteps = spec->nsteps;
	s->choices = calloc(spec->nsteps, sizeof(*s->choices));
	if (s->choices == NULL)
		status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "measurement");
	else
		status = uw_cuda_stack_create(machine->options->cuda, spec, &device->modes, &s->stack, err);
	if (status != UW_OK)
		stack_free(stack);
	return status;
}

static enum uw_status run(struct uw_machine_stack *s, uint64_t turn, uint64_t batch,
			  const struct uw_candidate *const *steps, double *seconds, struct uw_error *err)
{
	unsigned npasses = 1;
	double pass = 0;

	for (size_t i = 0; i < s->nsteps; i++) {
		enum uw_status status = uw_cuda_candidate_choice(&s->device->search, uw_cuda_stack_key(s->stack, i),
								 batch, steps[i], &s->choices[i], err);

		if (status != UW_OK)
			return status;
		pass += steps[i]->predicted;
	}
	while (npasses < MAX_PASSES && npasses * pass < LEAST_SECONDS)
		npasses++;
	return uw_cuda_stack_run(s->stack, batch, npasses, s->choices, seconds, err);
}

/* ---- candidates ---- */

static enum uw_status candidates(struct uw_machine *machine, const struct uw_autotune_shape *shape, uint64_t batch,
				 struct uw_autotune_cell *cell, struct uw_error *err)
{
	const struct device *device = (const struct device *)machine;
	const struct uw_cuda_key key = {
		.coding = shape->coding,
		.nrows = shape->nrows,
		.ncols = shape->ncols,
		.nparts = 1,
	};

	return uw_cuda_candidates(&device->search, &key, batch, cell, err);
}

/* ---- all of it ---- */

enum uw_status uw_autotune_cuda(const struct uw_model *model, const struct uw_autotune_options *options,
				struct uw_tuning **tuning, struct uw_autotune_report *report, struct uw_error *err)
{
	static const struct uw_machine_ops ops = {
		.has_clock = true,
		.stack_create = stack_create,
		.stack_free = stack_free,
		.run = run,
		.candidates = candidates,
	};
	struct device device = {
		.machine = { .ops = &ops, .options = options, .report = report },
		.modes = {
			.require_bitexact = options->require_bitexact,
			.batch_invariant = options->batch_invariant,
		},
		.search = { .facts = &options->cuda->facts, .dense = options->cuda->dense != NULL },
	};

	device.search.options = &device.modes;
	return uw_autotune_machine(&device.machine, model, uw_cuda_name(options->cuda), tuning, err);
}
