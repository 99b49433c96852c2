/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shape is all matrices of one coding and size. For each, pipelines are measured one after the other on copies that
 * do not fit the cache (unless the whole model does). What multiplying costs does not depend on where weights come
 * from, and what getting weights costs does not depend on the batch; so time at a batch is predicted from that at the
 * smallest batch and from RAW's, and only candidates are measured that are predicted to come near the best. Last,
 * coordinate descent on a whole layer: shape by shape, the second best is tried in the company of all others.
 */
#include "autotune.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "matrix.h"
#include "pipelines.h"
#include "unweight/clock.h"

#define MAX_COPIES 64u
#define MAX_COLD (UINT64_C(1) << 30) /* BF16 bytes of copies; so much is more than most caches */
#define NEAR 1.3                     /* predicted to take longer than this times the best: not measured */
#define BETTER 0.98                  /* of a layer's time: what a change has to come down to */
#define MIN_ROUNDS 3u
#define MAX_ROUNDS 101u

struct part {
	const struct uw_tensor *tensor;
	uint64_t expert;
	uint32_t shape;
};

struct shape {
	uint8_t coding;
	uint64_t nrows, ncols;
	/* by bucket: measured or predicted times, 0 for none; the two best pipelines */
	uint64_t ns[UW_NPIPELINES][UW_NBUCKETS];
};

struct tune {
	const struct uw_model *model;
	const struct uw_autotune *options;
	struct uw_tuning *tuning;
	struct uw_pool *pool;
	size_t nparts, nshapes;
	struct part *parts;
	struct shape *shapes;
	uint64_t model_nbytes;        /* of all parts in BF16 */
	uint64_t candidate_ns;        /* budget of one candidate */
	uint64_t done, total;
	float *x, *y;
	void *scratch;
	size_t scratch_nbytes;
};

/* ---- matrices and shapes ---- */

static enum uw_status add_part(struct tune *t, const struct uw_tensor *tensor, uint64_t expert, struct uw_error *err)
{
	struct uw_matrix matrix;
	enum uw_status status = uw_matrix_open(t->model, tensor, expert, &matrix, err);
	uint8_t coding;
	uint32_t i = 0;

	if (status != UW_OK)
		return status;
	coding = (uint8_t)matrix.groups[0].coding;
	if (coding == UW_CODING_H || coding == UW_CODING_P4) {
		while (i < t->nshapes && (t->shapes[i].coding != coding || t->shapes[i].nrows != matrix.nrows ||
					  t->shapes[i].ncols != matrix.ncols))
			i++;
		if (i == t->nshapes)
			t->shapes[t->nshapes++] = (struct shape){ coding, matrix.nrows, matrix.ncols, { { 0 } } };
		t->parts[t->nparts++] = (struct part){ tensor, expert, i };
		t->model_nbytes += matrix.nrows * matrix.ncols * sizeof(uint16_t);
	}
	uw_matrix_close(&matrix);
	return UW_OK;
}

static enum uw_status find_parts(struct tune *t, struct uw_error *err)
{
	size_t room = 0;

	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < uw_model_ntensors(t->model); i++) {
			const struct uw_tensor *tensor = uw_model_tensor(t->model, i);
			uint64_t n = uw_tensor_grid(tensor).nexperts;

			if (tensor->dtype != UW_DTYPE_BF16 || tensor->ndims < 2 || tensor->nbytes == 0)
				continue;
			room += pass == 0 ? (size_t)n : 0;
			for (uint64_t e = 0; pass == 1 && e < n; e++) {
				enum uw_status status = add_part(t, tensor, e, err);

				if (status != UW_OK)
					return status;
			}
		}
		if (pass == 0) {
			t->parts = calloc(room + 1, sizeof(*t->parts));
			t->shapes = calloc(room + 1, sizeof(*t->shapes));
			if (t->parts == NULL || t->shapes == NULL)
				return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tuning");
		}
	}
	return t->nparts != 0 ? UW_OK : uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "the model has no coded matrix");
}

/* ---- timing ---- */

/* Linears that are run one after the other. */
struct set {
	size_t n;
	struct uw_linear *linears[MAX_COPIES];
};

static void free_set(struct set *set)
{
	for (size_t i = 0; i < set->n; i++)
		uw_linear_free(&set->linears[i]);
	set->n = 0;
}

static enum uw_status run_once(struct tune *t, const struct uw_linear *linear, uint16_t batch, struct uw_error *err)
{
	size_t ldy = (size_t)uw_linear_nrows(linear, 0);
	struct uw_linear_args args = {
		.x = t->x,
		.x_dtype = UW_DTYPE_F32,
		.ldx = (size_t)uw_linear_ncols(linear),
		.batch = batch,
		.y = (void *[]){ t->y },
		.y_dtype = UW_DTYPE_F32,
		.ldy = &ldy,
		.scratch = t->scratch,
		.scratch_nbytes = t->scratch_nbytes,
	};

	return uw_linear_run(linear, t->pool, &args, err);
}

static int compare_ns(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* Median time of running all of the set once, the first time not counted. */
static enum uw_status time_set(struct tune *t, const struct set *set, uint16_t batch, uint64_t budget, uint64_t *ns,
			       struct uw_error *err)
{
	uint64_t times[MAX_ROUNDS], start = uw_clock_ns();
	size_t n = 0;

	for (size_t round = 0; n < MAX_ROUNDS && (n < MIN_ROUNDS || uw_clock_ns() - start < budget); round++) {
		uint64_t begin = uw_clock_ns();

		if (t->options->cancelled(t->options->ctx))
			return uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled");
		for (size_t i = 0; i < set->n; i++) {
			enum uw_status status = run_once(t, set->linears[i], batch, err);

			if (status != UW_OK)
				return status;
		}
		if (round > 0)
			times[n++] = uw_clock_ns() - begin;
	}
	qsort(times, n, sizeof(*times), compare_ns);
	*ns = times[n / 2];
	return UW_OK;
}

/* ---- one shape ---- */

static uint64_t cold_nbytes(const struct tune *t)
{
	long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
	uint64_t want = cache > 0 ? 2 * (uint64_t)cache : MAX_COLD;

	want = want < MAX_COLD ? want : MAX_COLD;
	return want < t->model_nbytes ? want : t->model_nbytes;
}

/* Copies of matrices of the shape, all through one pipeline. */
static enum uw_status make_copies(struct tune *t, uint32_t shape, enum uw_pipeline pipeline, struct set *set,
				  struct uw_error *err)
{
	struct uw_linear_options options = { .pipeline = pipeline };
	uint64_t each = t->shapes[shape].nrows * t->shapes[shape].ncols * sizeof(uint16_t), cold = cold_nbytes(t);

	set->n = 0;
	while (set->n < MAX_COPIES && (set->n == 0 || set->n * each < cold)) {
		for (size_t i = 0; i < t->nparts && set->n < MAX_COPIES && (set->n == 0 || set->n * each < cold); i++) {
			struct uw_linear_part part = { .tensor = t->parts[i].tensor, .expert = t->parts[i].expert };
			enum uw_status status;

			if (t->parts[i].shape != shape)
				continue;
			status = uw_linear_create(t->model, &part, 1, &options, &set->linears[set->n], err);
			if (status != UW_OK) {
				free_set(set);
				return status;
			}
			set->n++;
		}
	}
	return UW_OK;
}

/* Time at batch b of what took first_ns at the first one: RAW's difference is that of multiplying. */
static double predict(const struct shape *s, uint64_t first_ns, unsigned first, unsigned b)
{
	double more = (double)s->ns[UW_PIPELINE_RAW][b] - (double)s->ns[UW_PIPELINE_RAW][first];

	return (double)first_ns + (more > 0 ? more : 0);
}

static bool is_near(const struct shape *s, enum uw_pipeline pipeline, unsigned first, unsigned b)
{
	double best = (double)s->ns[UW_PIPELINE_RAW][b];

	if (pipeline == UW_PIPELINE_RAW || b == first)
		return true;
	for (unsigned p = UW_PIPELINE_DECODE; p < UW_NPIPELINES; p++) {
		double other = s->ns[p][b] != 0 ? (double)s->ns[p][b] : predict(s, s->ns[p][first], first, b);

		if (s->ns[p][first] != 0)
			best = other < best ? other : best;
	}
	return predict(s, s->ns[pipeline][first], first, b) <= NEAR * best;
}

static enum uw_status measure_pipeline(struct tune *t, uint32_t shape, enum uw_pipeline pipeline, struct uw_error *err)
{
	struct shape *s = &t->shapes[shape];
	unsigned first = uw_bucket_of(t->options->batches[0]);
	struct set set;
	enum uw_status status = make_copies(t, shape, pipeline, &set, err);

	for (size_t i = 0; status == UW_OK && i < t->options->nbatches; i++) {
		struct uw_tuning_entry e = { s->coding, (uint8_t)pipeline, t->options->batches[i],
					     s->nrows,  s->ncols,          0 };
		unsigned b = uw_bucket_of(e.batch);

		if (is_near(s, pipeline, first, b)) {
			status = time_set(t, &set, e.batch, t->candidate_ns, &e.nanoseconds, err);
			e.nanoseconds /= set.n;
			s->ns[pipeline][b] = e.nanoseconds;
		}
		if (status == UW_OK)
			t->options->candidate(t->options->ctx, &e);
		t->options->progress(t->options->ctx, ++t->done, t->total);
	}
	free_set(&set);
	return status;
}

/* The fastest pipeline but `not`; AUTO if there is none. */
static enum uw_pipeline fastest(const struct shape *s, unsigned b, enum uw_pipeline not)
{
	enum uw_pipeline best = UW_PIPELINE_AUTO;

	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		if (s->ns[p][b] != 0 && p != not && (best == UW_PIPELINE_AUTO || s->ns[p][b] < s->ns[best][b]))
			best = (enum uw_pipeline)p;
	}
	return best;
}

static enum uw_status choose(struct tune *t, const struct shape *s, uint16_t batch, enum uw_pipeline pipeline,
			     struct uw_error *err)
{
	struct uw_tuning_entry e = { s->coding, (uint8_t)pipeline, batch, s->nrows, s->ncols,
				     s->ns[pipeline][uw_bucket_of(batch)] };

	return uw_tuning_set(t->tuning, &e, err);
}

static enum uw_status tune_shape(struct tune *t, uint32_t shape, struct uw_error *err)
{
	const struct shape *s = &t->shapes[shape];
	enum uw_status status = UW_OK;

	for (unsigned p = UW_PIPELINE_RAW; status == UW_OK && p < UW_NPIPELINES; p++) {
		struct uw_matrix_group like = { .coding = (enum uw_coding)s->coding };

		if (uw_pipelines[p].fits(&like))
			status = measure_pipeline(t, shape, (enum uw_pipeline)p, err);
	}
	for (size_t i = 0; status == UW_OK && i < t->options->nbatches; i++) {
		uint16_t batch = t->options->batches[i];

		status = choose(t, s, batch, fastest(s, uw_bucket_of(batch), UW_PIPELINE_AUTO), err);
	}
	return status;
}

/* ---- a whole layer ---- */

/* The matrices of the first layer; of the whole model if names speak of no layers. */
static enum uw_status make_layer(struct tune *t, struct set *set, struct uw_error *err)
{
	struct uw_linear_options options = { .tuning = t->tuning };
	int32_t layer = INT32_MAX;

	for (size_t i = 0; i < t->nparts; i++) {
		int32_t l = t->parts[i].tensor->meaning.layer;

		layer = l >= 0 && l < layer ? l : layer;
	}
	set->n = 0;
	for (size_t i = 0; i < t->nparts && set->n < MAX_COPIES; i++) {
		struct uw_linear_part part = { .tensor = t->parts[i].tensor, .expert = t->parts[i].expert };
		enum uw_status status;

		if (layer != INT32_MAX && part.tensor->meaning.layer != layer)
			continue;
		status = uw_linear_create(t->model, &part, 1, &options, &set->linears[set->n], err);
		if (status != UW_OK) {
			free_set(set);
			return status;
		}
		set->n++;
	}
	return UW_OK;
}

static enum uw_status time_layer(struct tune *t, uint16_t batch, uint64_t *ns, struct uw_error *err)
{
	struct set set;
	enum uw_status status = make_layer(t, &set, err);

	if (status == UW_OK)
		status = time_set(t, &set, batch, t->candidate_ns, ns, err);
	free_set(&set);
	return status;
}

/* Tries the second best of one shape at one batch; goes back if the layer does not become faster by it. */
static enum uw_status try_second(struct tune *t, const struct shape *s, uint16_t batch, uint64_t *layer_ns,
				 struct uw_error *err)
{
	unsigned b = uw_bucket_of(batch);
	enum uw_pipeline best = fastest(s, b, UW_PIPELINE_AUTO), second = fastest(s, b, best);
	enum uw_status status;
	uint64_t ns;

	if (second == UW_PIPELINE_AUTO || (double)s->ns[second][b] > NEAR * (double)s->ns[best][b])
		return UW_OK;
	status = choose(t, s, batch, second, err);
	if (status == UW_OK)
		status = time_layer(t, batch, &ns, err);
	if (status != UW_OK)
		return status;
	if ((double)ns > BETTER * (double)*layer_ns)
		return choose(t, s, batch, best, err);
	*layer_ns = ns;
	return UW_OK;
}

static enum uw_status descend(struct tune *t, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	for (size_t i = 0; status == UW_OK && i < t->options->nbatches; i++) {
		uint64_t ns = 0;

		status = time_layer(t, t->options->batches[i], &ns, err);
		for (size_t s = 0; status == UW_OK && s < t->nshapes; s++)
			status = try_second(t, &t->shapes[s], t->options->batches[i], &ns, err);
		t->options->progress(t->options->ctx, ++t->done, t->total);
	}
	return status;
}

/* ---- all of it ---- */

static enum uw_status make_memory(struct tune *t, struct uw_error *err)
{
	size_t batch = t->options->batches[t->options->nbatches - 1], nrows = 0, ncols = 0;

	for (size_t i = 0; i < t->nparts; i++) {
		const struct shape *s = &t->shapes[t->parts[i].shape];

		nrows = s->nrows > nrows ? (size_t)s->nrows : nrows;
		ncols = s->ncols > ncols ? (size_t)s->ncols : ncols;
	}
	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		for (uint32_t s = 0; s < t->nshapes; s++) {
			struct uw_linear_options options = { .pipeline = (enum uw_pipeline)p };
			struct uw_linear_part part = { 0 };
			struct uw_linear *linear;
			enum uw_status status;
			size_t n;

			for (size_t i = t->nparts; i-- > 0;) {
				if (t->parts[i].shape == s)
					part = (struct uw_linear_part){ .tensor = t->parts[i].tensor,
									.expert = t->parts[i].expert };
			}
			status = uw_linear_create(t->model, &part, 1, &options, &linear, err);
			if (status != UW_OK)
				return status;
			n = uw_linear_scratch_nbytes(linear, batch, t->options->nthreads);
			t->scratch_nbytes = n > t->scratch_nbytes ? n : t->scratch_nbytes;
			uw_linear_free(&linear);
		}
	}
	t->x = malloc(batch * ncols * sizeof(*t->x));
	t->y = malloc(batch * nrows * sizeof(*t->y));
	t->scratch = uw_model_alloc(t->model, t->scratch_nbytes);
	if (t->x == NULL || t->y == NULL || t->scratch == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tuning");
	for (size_t i = 0; i < batch * ncols; i++)
		t->x[i] = (float)(i * 2654435761u % 2048) / 1024.0f - 1.0f;
	return UW_OK;
}

static void plan_time(struct tune *t)
{
	uint64_t nbatches = t->options->nbatches, candidates = t->nshapes * nbatches * (UW_NPIPELINES - 2);

	t->total = nbatches;
	for (size_t s = 0; s < t->nshapes; s++) {
		struct uw_matrix_group like = { .coding = (enum uw_coding)t->shapes[s].coding };

		for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++)
			t->total += uw_pipelines[p].fits(&like) ? nbatches : 0;
	}
	t->candidate_ns = t->options->budget_ns / (candidates + nbatches * (1 + t->nshapes));
}

enum uw_status uw_autotune_run(const struct uw_model *model, const struct uw_autotune *options,
			       struct uw_tuning *tuning, struct uw_error *err)
{
	struct tune t = { .model = model, .options = options, .tuning = tuning };
	enum uw_status status = find_parts(&t, err);

	if (status == UW_OK)
		status = uw_pool_create(options->nthreads, &t.pool, err);
	if (status == UW_OK)
		status = make_memory(&t, err);
	if (status == UW_OK)
		plan_time(&t);
	for (uint32_t s = 0; status == UW_OK && s < t.nshapes; s++)
		status = tune_shape(&t, s, err);
	if (status == UW_OK)
		status = descend(&t, err);
	uw_model_free(model, t.scratch, t.scratch_nbytes);
	uw_pool_free(&t.pool);
	free(t.parts);
	free(t.shapes);
	free(t.x);
	free(t.y);
	return status;
}
