/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times of multiplications whose weights come from memory. Not part of the installed library: unweight-tune and
 * unweight-bench use it. A stack is some matrices that are multiplied one after the other, in several copies that take
 * turns, so that the weights of a turn have left the caches when it comes round again.
 */
#ifndef UW_MEASURE_H
#define UW_MEASURE_H

#include "unweight/codec.h"
#include "unweight/linear.h"

/* ---- stacks -------------------------------------------------------------------------------- */

#define UW_WEIGHTS_MAX_ALSO 2u

/* One matrix, or several of the same columns that are multiplied as one; the model is borrowed. */
struct uw_weights {
	const struct uw_model *model;
	const struct uw_tensor *tensor;
	uint64_t expert;
	const struct uw_tensor *also[UW_WEIGHTS_MAX_ALSO]; /* those below it, NULL behind the last; on a device only */
};

struct uw_stack_spec {
	const struct uw_weights *weights; /* [ncopies][nsteps]; those of one step have the same shape */
	size_t nsteps, ncopies;
	uint32_t pipelines;               /* those to prepare: 1 << enum uw_pipeline */
	uint64_t max_batch;
	struct uw_pool *pool;             /* borrowed */
};

struct uw_stack;

/* A tuning for the device of this name (NULL: the CPU) under which a linear of nrows x ncols prepares all pipelines of the
 * mask, a bucket for each. Free it with uw_tuning_free, after failure too. */
UW_MUST_CHECK enum uw_status uw_stack_tuning(const char *device, uint64_t nrows, uint64_t ncols, uint32_t mask,
					     struct uw_tuning **tuning, struct uw_error *err);

/* Values between 2^-7 and 2^-3 of both signs: no sum is subnormal or overflows, and zeros would take less power, and
 * time, than what models multiply. */
void uw_stack_fill(uint16_t *x, size_t n);

UW_MUST_CHECK enum uw_status uw_stack_create(const struct uw_stack_spec *spec, struct uw_stack **stack,
					     struct uw_error *err);
void uw_stack_free(struct uw_stack **stack); /* NULL inside is fine */

/* Bytes of weights that a turn reads if pipelines[step] serve each step. */
uint64_t uw_stack_read_nbytes(struct uw_stack *stack, uint64_t batch, const uint8_t *pipelines);

/* The pipelines that multiply by groups of a coding, RAW among them: a mask of 1 << enum uw_pipeline. */
uint32_t uw_pipelines_for(enum uw_coding coding);

/* ---- rounds -------------------------------------------------------------------------------- */

/* Something to be timed: one turn. Weights follow from `turn`, which is another one for each call. */
struct uw_runner {
	enum uw_status (*run)(void *ctx, uint64_t turn, struct uw_error *err);
	void *ctx;
	const double *seconds; /* where `run` leaves the time by its own clock; NULL: it is the host's that counts */
};

/* A turn of a stack: its runner's ctx. */
struct uw_stack_turn {
	struct uw_stack *stack;
	uint64_t batch;
	const uint8_t *pipelines; /* of each step: enum uw_pipeline */
};
struct uw_runner uw_stack_runner(struct uw_stack_turn *turn);

/* The same in two steps: which pipeline serves a step from now on, in the copy of a turn; the turn. */
void uw_stack_choose(struct uw_stack *stack, uint64_t turn, size_t step, uint64_t batch, enum uw_pipeline pipeline);
UW_MUST_CHECK enum uw_status uw_stack_run(struct uw_stack *stack, uint64_t turn, uint64_t batch, struct uw_error *err);

struct uw_rounds {
	double seconds;          /* about how long to go on */
	unsigned min, max;       /* rounds; max at most UW_MAX_ROUNDS */
	unsigned nthreads;       /* that the runners use */
	uint64_t turn;           /* in and out: number of the next turn */
	double (*now)(void);     /* the clock that `seconds` are of; NULL: CLOCK_MONOTONIC */
	bool (*cancelled)(void *ctx); /* may be NULL */
	void *ctx;
};

struct uw_timing {
	double seconds;   /* of a turn: the median of its undisturbed rounds */
	double ratio;     /* median over rounds of the first runner's time by this one's */
	unsigned nrounds; /* undisturbed ones; 0: all were disturbed, and medians are those of all */
};

#define UW_MAX_ROUNDS 256u
#define UW_MAX_RUNNERS 16u

/*
 * Lets n <= UW_MAX_RUNNERS runners take turns, in another order each round, after one turn each that does not count.
 * A round is undisturbed for a runner if nobody took the CPU meanwhile: with one thread if its CPU time was the time
 * that passed, with more if the process was not preempted (threads also wait for each other).
 */
UW_MUST_CHECK enum uw_status uw_measure(struct uw_rounds *rounds, const struct uw_runner *runners, size_t n,
					struct uw_timing *timings, struct uw_error *err);

/* Bytes to cycle through: the last-level cache, as far as the system knows it, or else 64 MiB. */
uint64_t uw_cache_nbytes(void);

/* Copies of `nweights` weights of which all but one are at least `nbytes`, coded; 1 if that is 0. */
uint64_t uw_ncopies(uint64_t nweights, uint64_t nbytes);

#endif
