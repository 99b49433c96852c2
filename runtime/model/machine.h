/* SPDX-License-Identifier: Apache-2.0 */
/* What the tuner drives without knowing whether it is the CPU or a device. Private to uwmeasure. */
#ifndef UW_MACHINE_H
#define UW_MACHINE_H

#include "autotune.h"

struct uw_machine {
	const struct uw_machine_ops *ops;
	const struct uw_autotune_options *options;
	struct uw_rounds rounds;
	struct uw_autotune_report *report;
};

/* Matrices in copies: struct uw_stack_spec. */
struct uw_machine_stack;

struct uw_machine_ops {
	bool has_clock; /* `run` says how long it took, not the host's clock */
	enum uw_status (*stack_create)(struct uw_machine *machine, const struct uw_stack_spec *spec,
				       struct uw_machine_stack **stack, struct uw_error *err);
	void (*stack_free)(struct uw_machine_stack **stack); /* NULL inside is fine */

	/* Multiplies once by the stack's steps, each in its way. *seconds: if the machine has a clock. */
	enum uw_status (*run)(struct uw_machine_stack *stack, uint64_t turn, uint64_t batch,
			      const struct uw_candidate *const *steps, double *seconds, struct uw_error *err);

	/* Measures for about `seconds` what the model of time has to know of a shape; NULL: it knows. */
	enum uw_status (*probe)(struct uw_machine *machine, double seconds, struct uw_machine_stack *stack,
				const struct uw_autotune_shape *shape, struct uw_error *err);
	/* What there is for the shape at a batch, RAW first, and how long each is predicted to take. */
	enum uw_status (*candidates)(struct uw_machine *machine, const struct uw_autotune_shape *shape, uint64_t batch,
				     struct uw_autotune_cell *cell, struct uw_error *err);
};

/* Lets n <= UW_MAX_RUNNERS ways through the stack take turns; ways[i] has a candidate for each step. */
UW_MUST_CHECK enum uw_status uw_machine_measure(struct uw_machine *machine, double seconds,
						struct uw_machine_stack *stack, uint64_t batch,
						const struct uw_candidate *const *const *ways, size_t n,
						struct uw_timing *timings, struct uw_error *err);

/* Times those candidates of a cell, which are for a stack of one step, whose bits are set: bit 0, RAW, is. */
UW_MUST_CHECK enum uw_status uw_machine_measure_cell(struct uw_machine *machine, double seconds,
						     struct uw_machine_stack *stack, uint64_t batch, uint32_t mask,
						     struct uw_autotune_cell *cell, struct uw_error *err);

/* All from here on, on a machine that has its ops and options. */
UW_MUST_CHECK enum uw_status uw_autotune_machine(struct uw_machine *machine, const struct uw_model *model,
						 const char *device, struct uw_tuning **tuning, struct uw_error *err);

#endif
