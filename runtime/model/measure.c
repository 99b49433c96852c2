/* SPDX-License-Identifier: Apache-2.0 */
#include "measure.h"

#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "linear.h"
#include "unweight/stopwatch.h"
#include "unweight/tuning.h"

struct uw_stack {
	struct uw_pool *pool;
	size_t nsteps, ncopies;
	struct uw_linear **linears; /* [ncopies][nsteps] */
	uint16_t *x;
	float *y;
	void *scratch;
	size_t scratch_nbytes;
};

/* ---- preparing ---- */

enum uw_status uw_stack_tuning(const char *device, uint64_t nrows, uint64_t ncols, uint32_t mask,
			       struct uw_tuning **tuning, struct uw_error *err)
{
	enum uw_status status = uw_tuning_create(tuning, err);
	uint16_t number = 0;

	if (status == UW_OK && device != NULL)
		status = uw_tuning_device(*tuning, device, &number, err);
	for (unsigned coding = UW_CODING_H; status == UW_OK && coding <= UW_CODING_P4; coding++) {
		unsigned bucket = 0;

		for (unsigned p = UW_PIPELINE_RAW; status == UW_OK && p < UW_NPIPELINES; p++) {
			struct uw_tuning_entry entry = {
				.coding = (uint8_t)coding,
				.pipeline = (uint8_t)p,
				.batch = (uint16_t)(1u << bucket),
				.nrows = nrows,
				.ncols = ncols,
				.device = number,
			};

			if (!(mask & 1u << p))
				continue;
			status = uw_tuning_set(*tuning, &entry, err);
			bucket++;
		}
	}
	return status;
}

static enum uw_status prepare(const struct uw_weights *w, uint32_t mask, struct uw_linear **linear,
			      struct uw_error *err)
{
	struct uw_linear_part part = { .tensor = w->tensor, .expert = w->expert };
	struct uw_tensor_grid grid = uw_tensor_grid(w->tensor);
	struct uw_linear_options options = { 0 };
	struct uw_tuning *tuning = NULL;
	enum uw_status status = uw_stack_tuning(NULL, grid.nrows, grid.ncols, mask, &tuning, err);

	options.tuning = tuning;
	if (status == UW_OK)
		status = uw_linear_create(w->model, &part, 1, &options, linear, err);
	uw_tuning_free(&tuning);
	return status;
}

void uw_stack_fill(uint16_t *x, size_t n)
{
	for (size_t i = 0; i < n; i++)
		x[i] = (uint16_t)(0x3C00 + i * 2654435761u % 0x200 + (i * 40503u >> 3 & 1) * 0x8000);
}

static void *aligned(size_t nbytes)
{
	void *p = NULL;

	return posix_memalign(&p, 64, nbytes) == 0 ? p : NULL;
}

static enum uw_status make_room(struct uw_stack *s, uint64_t max_batch, struct uw_error *err)
{
	uint64_t nrows = 0, ncols = 0;

	for (size_t i = 0; i < s->nsteps * s->ncopies; i++) {
		const struct uw_linear *l = s->linears[i];
		size_t n = uw_linear_scratch_nbytes(l, max_batch, uw_pool_nthreads(s->pool));

		nrows = uw_linear_nrows(l, 0) > nrows ? uw_linear_nrows(l, 0) : nrows;
		ncols = uw_linear_ncols(l) > ncols ? uw_linear_ncols(l) : ncols;
		s->scratch_nbytes = n > s->scratch_nbytes ? n : s->scratch_nbytes;
	}
	s->x = aligned((size_t)(max_batch * ncols) * sizeof(*s->x));
	s->y = aligned((size_t)(max_batch * nrows) * sizeof(*s->y));
	s->scratch = aligned(s->scratch_nbytes);
	if (s->x == NULL || s->y == NULL || s->scratch == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "vectors to multiply");
	uw_stack_fill(s->x, (size_t)(max_batch * ncols));
	return UW_OK;
}

enum uw_status uw_stack_create(const struct uw_stack_spec *spec, struct uw_stack **stack, struct uw_error *err)
{
	struct uw_stack *s = calloc(1, sizeof(*s));
	enum uw_status status = UW_OK;

	*stack = NULL;
	if (s == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "measurement");
	s->pool = spec->pool;
	s->nsteps = spec->nsteps;
	s->ncopies = spec->ncopies;
	s->linears = calloc(s->nsteps * s->ncopies, sizeof(struct uw_linear *));
	if (s->linears == NULL)
		status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "measurement");
	for (size_t i = 0; status == UW_OK && i < s->nsteps * s->ncopies; i++)
		status = prepare(&spec->weights[i], spec->pipelines, &s->linears[i], err);
	if (status == UW_OK)
		status = make_room(s, spec->max_batch, err);
	if (status == UW_OK)
		*stack = s;
	else
		uw_stack_free(&s);
	return status;
}

void uw_stack_free(struct uw_stack **stack)
{
	struct uw_stack *s = *stack;

	*stack = NULL;
	if (s == NULL)
		return;
	for (size_t i = 0; s->linears != NULL && i < s->nsteps * s->ncopies; i++)
		uw_linear_free(&s->linears[i]);
	free(s->linears);
	free(s->x);
	free(s->y);
	free(s->scratch);
	free(s);
}

uint32_t uw_pipelines_for(enum uw_coding coding)
{
	const struct uw_matrix_group like = { .coding = coding };
	uint32_t mask = 0;

	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++)
		mask |= (uint32_t)uw_pipelines[p].fits(&like) << p;
	return mask;
}

/* ---- running ---- */

void uw_stack_choose(struct uw_stack *s, uint64_t turn, size_t step, uint64_t batch, enum uw_pipeline pipeline)
{
	uw_linear_force(s->linears[turn % s->ncopies * s->nsteps + step], uw_bucket_of(batch), pipeline);
}

static void choose(struct uw_stack *s, uint64_t turn, uint64_t batch, const uint8_t *pipelines)
{
	for (size_t i = 0; i < s->nsteps; i++)
		uw_stack_choose(s, turn, i, batch, (enum uw_pipeline)pipelines[i]);
}

uint64_t uw_stack_read_nbytes(struct uw_stack *s, uint64_t batch, const uint8_t *pipelines)
{
	uint64_t n = 0;

	choose(s, 0, batch, pipelines);
	for (size_t i = 0; i < s->nsteps; i++)
		n += uw_linear_read_nbytes(s->linears[i], batch);
	return n;
}

enum uw_status uw_stack_run(struct uw_stack *s, uint64_t turn, uint64_t batch, struct uw_error *err)
{
	size_t copy = (size_t)(turn % s->ncopies);
	enum uw_status status = UW_OK;

	for (size_t i = 0; status == UW_OK && i < s->nsteps; i++) {
		const struct uw_linear *l = s->linears[copy * s->nsteps + i];
		size_t ldy = (size_t)uw_linear_nrows(l, 0);
		void *y = s->y;
		struct uw_linear_args args = {
			.x = s->x,
			.x_dtype = UW_DTYPE_BF16,
			.ldx = (size_t)uw_linear_ncols(l),
			.batch = batch,
			.y = &y,
			.y_dtype = UW_DTYPE_F32,
			.ldy = &ldy,
			.scratch = s->scratch,
			.scratch_nbytes = s->scratch_nbytes,
		};

		status = uw_linear_run(l, s->pool, &args, err);
	}
	return status;
}

static enum uw_status run_turn(void *ctx, uint64_t turn, struct uw_error *err)
{
	const struct uw_stack_turn *t = ctx;

	choose(t->stack, turn, t->batch, t->pipelines);
	return uw_stack_run(t->stack, turn, t->batch, err);
}

struct uw_runner uw_stack_runner(struct uw_stack_turn *turn)
{
	return (struct uw_runner){ .run = run_turn, .ctx = turn };
}

/* ---- rounds ---- */

struct sample {
	double seconds;
	bool good;
};

static long preemptions(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) == 0 ? usage.ru_nivcsw : 0;
}

static double now(const struct uw_rounds *rounds)
{
	return rounds->now != NULL ? rounds->now() : stopwatch_clock(CLOCK_MONOTONIC);
}

static enum uw_status time_turn(struct uw_rounds *rounds, const struct uw_runner *runner, struct sample *sample,
				struct uw_error *err)
{
	long before = preemptions();
	double start = stopwatch_clock(CLOCK_MONOTONIC);
	struct stopwatch watch;
	enum uw_status status;

	stopwatch_start(&watch);
	status = runner->run(runner->ctx, rounds->turn++, err);
	sample->good = stopwatch_stop(&watch, &sample->seconds);
	if (rounds->nthreads > 1) {
		sample->seconds = stopwatch_clock(CLOCK_MONOTONIC) - start;
		sample->good = preemptions() == before;
	}
	if (runner->seconds != NULL)
		*sample = (struct sample){ *runner->seconds, true };
	return status;
}

/* Median of times, or of ratios to `base` if that is not NULL, over rounds that are good, or over all. */
static double median_of(const struct sample *base, const struct sample *samples, unsigned nrounds, bool all,
			unsigned *n)
{
	double values[UW_MAX_ROUNDS];

	*n = 0;
	for (unsigned i = 0; i < nrounds; i++) {
		if (all || (samples[i].good && (base == NULL || base[i].good)))
			values[(*n)++] = base != NULL ? base[i].seconds / samples[i].seconds : samples[i].seconds;
	}
	return *n != 0 ? stopwatch_median(values, *n) : 0;
}

static struct uw_timing timing_of(const struct sample *base, const struct sample *samples, unsigned nrounds)
{
	struct uw_timing timing;
	unsigned n;

	timing.seconds = median_of(NULL, samples, nrounds, false, &timing.nrounds);
	if (timing.nrounds == 0)
		timing.seconds = median_of(NULL, samples, nrounds, true, &n);
	timing.ratio = median_of(base, samples, nrounds, false, &n);
	if (n == 0)
		timing.ratio = median_of(base, samples, nrounds, true, &n);
	return timing;
}

/* A permutation of 0 .. n, another one each round: nobody always runs behind the same neighbour. */
static void shuffle(uint64_t seed, size_t *order, size_t n)
{
	for (size_t i = 0; i < n; i++)
		order[i] = i;
	for (size_t i = n - 1; i > 0; i--) {
		size_t k, was = order[i];

		seed = seed * 6364136223846793005u + 1442695040888963407u;
		k = (size_t)((seed >> 33) % (i + 1));
		order[i] = order[k];
		order[k] = was;
	}
}

static enum uw_status one_round(struct uw_rounds *rounds, const struct uw_runner *runners, size_t n, unsigned round,
				struct sample (*samples)[UW_MAX_ROUNDS], struct uw_error *err)
{
	size_t order[UW_MAX_RUNNERS];

	shuffle(round, order, n);
	for (size_t k = 0; k < n; k++) {
		size_t i = order[k];
		enum uw_status status;

		if (rounds->cancelled != NULL && rounds->cancelled(rounds->ctx))
			return uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "measuring");
		status = time_turn(rounds, &runners[i], &samples[i][round], err);
		if (status != UW_OK)
			return status;
	}
	return UW_OK;
}

enum uw_status uw_measure(struct uw_rounds *rounds, const struct uw_runner *runners, size_t n,
			  struct uw_timing *timings, struct uw_error *err)
{
	struct sample (*samples)[UW_MAX_ROUNDS] = calloc(n, sizeof(*samples));
	enum uw_status status = UW_OK;
	unsigned nrounds = 0;
	double start;

	if (samples == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "measurement");
	start = now(rounds);
	status = one_round(rounds, runners, n, 0, samples, err); /* warms up: overwritten by the next */
	for (; status == UW_OK && nrounds < rounds->max; nrounds++) {
		if (nrounds >= rounds->min && now(rounds) - start > rounds->seconds)
			break;
		status = one_round(rounds, runners, n, nrounds, samples, err);
	}
	for (size_t i = 0; status == UW_OK && i < n; i++)
		timings[i] = timing_of(samples[0], samples[i], nrounds);
	free(samples);
	return status;
}

/* ---- sizes ---- */

uint64_t uw_cache_nbytes(void)
{
	long n = -1;

#if defined(_SC_LEVEL4_CACHE_SIZE)
	n = sysconf(_SC_LEVEL4_CACHE_SIZE);
	if (n <= 0)
		n = sysconf(_SC_LEVEL3_CACHE_SIZE);
#endif
	return n > 0 ? (uint64_t)n : UINT64_C(64) << 20;
}

/* A coded weight has about 4/3 bytes; those of the others are read before a copy comes round again. */
uint64_t uw_ncopies(uint64_t nweights, uint64_t nbytes)
{
	uint64_t each = nweights + nweights / 3;

	return nbytes == 0 || each == 0 ? 1 : (nbytes - 1) / each + 2;
}
