/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_candidates.h"

#include <stdlib.h>

#include "cuda_device.h"
#include "pipelines.h"

#define MAX_LISTED 128u

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

/* ---- the model of time ---- */

#define ROW_TILE (2 * UW_BLOCK_TILE_ROWS * UW_TILE_ROWS) /* rows of W in a tile of the product */

double uw_cuda_predict_cut(const struct uw_gpu_facts *facts, const struct uw_cuda_key *key, enum uw_pipeline pipeline,
			   uint64_t batch, const struct uw_gpu_gemm_config *config)
{
	uint64_t across = ceil_div(batch, config->tile_n), tiles = ceil_div(key->nrows, ROW_TILE) * across;
	uint64_t pieces = config->parts != 0 ? tiles * config->parts : config->nblocks;
	double ns = (double)uw_cuda_predict_ns(facts, key, pipeline, across * config->tile_n), sums = 0;

	if (config->parts != 0) /* the last wave is not full */
		ns *= (double)(ceil_div(pieces, config->nblocks) * config->nblocks) / (double)pieces;
	if (config->parts != 1) /* written and read once */
		sums = 2.0 * (double)pieces * ROW_TILE * config->tile_n * sizeof(float);
	return 1e-9 * ns + sums / (double)facts->bandwidth;
}

/* ---- one of them ---- */

static enum uw_status choose(const struct uw_cuda_search *s, const struct uw_cuda_key *key, enum uw_pipeline pipeline,
			     uint64_t batch, struct uw_cuda_choice *choice, struct uw_error *err)
{
	struct uw_cuda_linear_options options = *s->options;

	options.pipeline = pipeline;
	options.tuning = NULL;
	return uw_cuda_status(uw_cuda_choose(s->facts, NULL, &options, key, uw_bucket_of(batch), choice), "plan", err);
}

enum uw_status uw_cuda_candidate_choice(const struct uw_cuda_search *s, const struct uw_cuda_key *key, uint64_t batch,
					const struct uw_candidate *candidate, struct uw_cuda_choice *choice,
					struct uw_error *err)
{
	enum uw_status status = choose(s, key, candidate->pipeline, batch, choice, err);

	if (status != UW_OK || candidate->tile_n == 0)
		return status;
	choice->config.tile_n = candidate->tile_n;
	choice->config.blocks_per_sm = candidate->blocks_per_sm;
	choice->config.parts = candidate->parts;
	choice->config.nblocks = s->facts->device.nsms * candidate->blocks_per_sm;
	return UW_OK;
}

/* ---- all of them ---- */

struct list {
	struct uw_candidate items[MAX_LISTED];
	unsigned n;
};

static void add(struct list *list, enum uw_pipeline pipeline, const struct uw_gpu_gemm_config *config, double predicted)
{
	struct uw_candidate *c = &list->items[list->n++];

	*c = (struct uw_candidate){ .pipeline = pipeline, .predicted = predicted };
	if (config == NULL)
		return;
	c->tile_n = (uint16_t)config->tile_n;
	c->blocks_per_sm = (uint8_t)config->blocks_per_sm;
	c->parts = (uint16_t)config->parts;
}

/* Whether parts of a sum can be of use: they take memory, and there may be tiles enough for all blocks without them. */
static bool is_of_use(const struct uw_cuda_key *key, uint64_t batch, const struct uw_gpu_gemm_config *c)
{
	return c->parts <= 1 || ceil_div(key->nrows, ROW_TILE) * ceil_div(batch, c->tile_n) < 2 * (uint64_t)c->nblocks;
}

/* Other cuts than the default one. */
static void add_cuts(const struct uw_cuda_search *s, const struct uw_cuda_key *key, enum uw_pipeline pipeline,
		     uint64_t batch, const struct uw_gpu_gemm_config *standard, struct list *list)
{
	static const uint32_t parts[] = { 0, 1, 2, 4 };

	for (uint32_t tile_n = standard->tile_n / 2; tile_n <= 2 * standard->tile_n; tile_n *= 2) {
		for (unsigned i = 0; i < 2 * sizeof(parts) / sizeof(parts[0]); i++) {
			struct uw_gpu_gemm_config c = *standard;

			c.tile_n = tile_n;
			c.blocks_per_sm = 1 + i % 2;
			c.parts = parts[i / 2];
			c.nblocks = s->facts->device.nsms * c.blocks_per_sm;
			if ((c.tile_n == standard->tile_n && c.blocks_per_sm == standard->blocks_per_sm &&
			     c.parts == standard->parts) ||
			    !is_of_use(key, batch, &c) ||
			    uw_gpu_gemm_config_check(&s->facts->device, &c) != UW_OK)
				continue;
			add(list, pipeline, &c, uw_cuda_predict_cut(s->facts, key, pipeline, batch, &c));
		}
	}
}

/* Defaults first, then by time; ties as they were listed. */
static int compare_use(const void *pa, const void *pb)
{
	const struct uw_candidate *a = *(const struct uw_candidate *const *)pa;
	const struct uw_candidate *b = *(const struct uw_candidate *const *)pb;

	if ((a->tile_n == 0) != (b->tile_n == 0))
		return a->tile_n == 0 ? -1 : 1;
	if (a->predicted < b->predicted || a->predicted > b->predicted)
		return a->predicted < b->predicted ? -1 : 1;
	return (a > b) - (a < b);
}

static int compare_order(const void *pa, const void *pb)
{
	const struct uw_candidate *a = *(const struct uw_candidate *const *)pa;
	const struct uw_candidate *b = *(const struct uw_candidate *const *)pb;

	return a->pipeline != b->pipeline ? (a->pipeline > b->pipeline) - (a->pipeline < b->pipeline)
					  : compare_use(pa, pb);
}

static void fill_cell(const struct list *list, struct uw_autotune_cell *cell)
{
	const struct uw_candidate *sorted[MAX_LISTED];

	for (unsigned i = 0; i < list->n; i++)
		sorted[i] = &list->items[i];
	qsort(sorted, list->n, sizeof(sorted[0]), compare_use);
	cell->n = list->n < UW_AUTOTUNE_MAX_CANDIDATES ? list->n : UW_AUTOTUNE_MAX_CANDIDATES;
	qsort(sorted, cell->n, sizeof(sorted[0]), compare_order);
	for (unsigned i = 0; i < cell->n; i++)
		cell->candidates[i] = *sorted[i];
}

enum uw_status uw_cuda_candidates(const struct uw_cuda_search *s, const struct uw_cuda_key *key, uint64_t batch,
				  struct uw_autotune_cell *cell, struct uw_error *err)
{
	bool fixed = s->options->require_bitexact || s->options->batch_invariant;
	struct list list = { .n = 0 };

	for (unsigned i = UW_PIPELINE_RAW; i < UW_NPIPELINES; i++) {
		enum uw_pipeline p = (enum uw_pipeline)i;
		bool cut = !uw_cuda_is_dense(s->options, s->dense, p);
		struct uw_cuda_choice choice;
		enum uw_status status;
		double predicted;

		if (!uw_cuda_fits(p, key))
			continue;
		status = choose(s, key, p, batch, &choice, err);
		if (status != UW_OK)
			return status;
		predicted = cut ? uw_cuda_predict_cut(s->facts, key, p, batch, &choice.config)
				: 1e-9 * (double)uw_cuda_predict_ns(s->facts, key, p, batch);
		add(&list, p, NULL, predicted);
		if (!fixed && cut)
			add_cuts(s, key, p, batch, &choice.config, &list);
	}
	fill_cell(&list, cell);
	return UW_OK;
}
