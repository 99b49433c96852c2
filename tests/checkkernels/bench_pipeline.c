/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The whole codec on a matrix larger than the caches, in groups as the container makes them: "full" from DRAM to DRAM,
 * decoding with streaming stores; "tile" from DRAM into a buffer that stays in L2, as a consumer that multiplies at
 * once has it.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "checkkernels.h"
#include "gaussian.h"

#define NROWS 15360u
#define NCOLS 4096u
#define NWEIGHTS ((size_t)NROWS * NCOLS) /* 126 MB */
#define FULL_ROWS 1536u                  /* SPEC.md section 3 */
#define TILE_ROWS 64u                    /* 512 KiB decoded */
#define NROUNDS 7u

/* The matrix in groups of equal shape. */
struct groups {
	struct uw_shape shape;
	unsigned n;
	enum uw_coding coding;
	struct uw_coded *coded;
	uint8_t **stored;
	size_t *room;
	size_t nbytes;
};

struct job {
	struct groups *groups;
	enum uw_store store;
};

static struct {
	uint16_t *weights, *back;
	void *scratch;
	struct uw_plan *plan;
} data;

static void *need(size_t nbytes)
{
	void *p = NULL;

	if (posix_memalign(&p, 1u << 21, nbytes) != 0) {
		perror("memory");
		exit(3);
	}
	memset(p, 0, nbytes);
	return p;
}

static void must(enum uw_status status)
{
	if (status != UW_OK) {
		printf("pipeline: %s\n", uw_status_text(status));
		exit(1);
	}
}

static void need_data(void)
{
	struct uw_shape shape;

	if (data.weights != NULL)
		return;
	must(uw_shape_tiled(FULL_ROWS, NCOLS, &shape));
	data.weights = need(NWEIGHTS * sizeof(*data.weights));
	data.back = need(NWEIGHTS * sizeof(*data.back));
	data.scratch = need(uw_codec_scratch_nbytes(&shape));
	data.plan = need(sizeof(*data.plan));
	uw_gaussian_fill(data.weights, NWEIGHTS, 0.02f, 1);
}

void ck_pipeline_free(void)
{
	free(data.weights);
	free(data.back);
	free(data.scratch);
	free(data.plan);
}

static void encode(const struct groups *g, unsigned i, const struct uw_cpu_ops *ops)
{
	const uint16_t *weights = data.weights + i * g->shape.nweights;

	must(uw_codec_plan(ops, &g->shape, weights, g->coding, data.scratch, data.plan));
	if (g->stored[i] == NULL) {
		g->room[i] = (size_t)uw_codec_encoded_nbytes(&g->shape, data.plan, g->coding);
		g->stored[i] = need(g->room[i]);
	}
	must(uw_codec_encode(ops, &g->shape, data.plan, g->coding, data.scratch, g->stored[i], g->room[i]));
}

static void groups_make(struct groups *g, const struct uw_cpu_ops *ops, uint64_t nrows, enum uw_coding coding)
{
	*g = (struct groups){ .n = (unsigned)(NROWS / nrows), .coding = coding };
	must(uw_shape_tiled(nrows, NCOLS, &g->shape));
	g->coded = need(g->n * sizeof(*g->coded));
	g->stored = need(g->n * sizeof(*g->stored));
	g->room = need(g->n * sizeof(*g->room));
	for (unsigned i = 0; i < g->n; i++) {
		encode(g, i, ops);
		must(uw_coded_open(&g->shape, coding, data.plan->ntables, (uint32_t)data.plan->nescapes, g->stored[i],
				   g->room[i], &g->coded[i], NULL));
		g->nbytes += g->room[i];
	}
}

static void groups_free(struct groups *g)
{
	for (unsigned i = 0; i < g->n; i++)
		free(g->stored[i]);
	free(g->coded);
	free(g->stored);
	free(g->room);
}

static void run_encode(void *ctx, const struct uw_cpu_ops *ops)
{
	const struct job *job = ctx;

	for (unsigned i = 0; i < job->groups->n; i++)
		encode(job->groups, i, ops);
}

static void run_decode(void *ctx, const struct uw_cpu_ops *ops)
{
	const struct job *job = ctx;
	const struct groups *g = job->groups;

	for (unsigned i = 0; i < g->n; i++) {
		uint16_t *to = data.back + (job->store == UW_STORE_STREAM ? i * g->shape.nweights : 0);

		must(uw_coded_decode(ops, &g->coded[i], job->store, to, NULL));
	}
}

static void bench(struct ck *ck, const struct ck_op *op, enum uw_coding coding, uint64_t nrows, bool decode)
{
	struct groups g;
	struct job job = { .groups = &g, .store = nrows == FULL_ROWS ? UW_STORE_STREAM : UW_STORE_CACHED };
	struct ck_work work = {
		.where = nrows == FULL_ROWS ? "full" : "tile",
		.nbytes = NWEIGHTS * sizeof(*data.weights),
		.nrounds = NROUNDS,
		.run = decode ? run_decode : run_encode,
		.ctx = &job,
	};

	need_data();
	work.from = data.weights;
	work.to = data.back;
	groups_make(&g, ck->now, nrows, coding);
	ck_measure(ck, op, &work);
	if (decode && nrows == FULL_ROWS) {
		run_decode(&job, ck->now);
		if (memcmp(data.back, data.weights, work.nbytes) != 0)
			printf("%-7s %-16s WRONG\n", ck->level, op->name);
	}
	groups_free(&g);
}

static void encode_h(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, UW_CODING_H, FULL_ROWS, false);
}

static void encode_p4(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, UW_CODING_P4, FULL_ROWS, false);
}

static void decode_h(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, UW_CODING_H, FULL_ROWS, true);
	bench(ck, op, UW_CODING_H, TILE_ROWS, true);
}

static void decode_p4(struct ck *ck, const struct ck_op *op)
{
	bench(ck, op, UW_CODING_P4, FULL_ROWS, true);
	bench(ck, op, UW_CODING_P4, TILE_ROWS, true);
}

const struct ck_op ck_pipeline[] = {
	{ "encode_h", CK_NO_POINTER, UW_ORDER_TILED, NULL, encode_h },
	{ "encode_p4", CK_NO_POINTER, UW_ORDER_TILED, NULL, encode_p4 },
	{ "decode_h", CK_NO_POINTER, UW_ORDER_TILED, NULL, decode_h },
	{ "decode_p4", CK_NO_POINTER, UW_ORDER_TILED, NULL, decode_p4 },
	{ NULL, 0, UW_ORDER_BYTES, NULL, NULL },
};
