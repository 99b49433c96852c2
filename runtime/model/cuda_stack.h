/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stacks (measure.h) on a CUDA device: matrices with copies of their own in its memory, in all forms that candidates
 * want, and times by its own clock.
 */
#ifndef UW_CUDA_STACK_H
#define UW_CUDA_STACK_H

#include "cuda_plan.h"
#include "measure.h"

struct uw_cuda_stack;

/* options: the modes are taken from it. spec: each step's first copy says which pipelines fit; `pool` is not used. */
UW_MUST_CHECK enum uw_status uw_cuda_stack_create(const struct uw_cuda *cuda, const struct uw_stack_spec *spec,
						  const struct uw_cuda_linear_options *options,
						  struct uw_cuda_stack **stack, struct uw_error *err);
void uw_cuda_stack_free(struct uw_cuda_stack **stack); /* waits; NULL inside is fine */

/* What all parts of a step's linear are together. */
const struct uw_cuda_key *uw_cuda_stack_key(const struct uw_cuda_stack *stack, size_t step);

/*
 * Multiplies by copies in turn, `npasses` times through all steps, choices[step] each; *seconds: of one pass. Another
 * pass goes ahead that is not timed: the host queues work while it runs, so that times are the device's and not those
 * of launching. Weights are decoded one step ahead, as serving code does.
 */
UW_MUST_CHECK enum uw_status uw_cuda_stack_run(struct uw_cuda_stack *stack, uint64_t batch, unsigned npasses,
					       const struct uw_cuda_choice *choices, double *seconds,
					       struct uw_error *err);

#endif
