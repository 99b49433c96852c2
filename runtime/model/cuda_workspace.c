/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_workspace.h"

#include <stdlib.h>
#include <string.h>

/* ---- which linear ---- */

static int compare_ties(const void *a, const void *b)
{
	uintptr_t x = (uintptr_t)((const struct uw_cuda_tie *)a)->linear;
	uintptr_t y = (uintptr_t)((const struct uw_cuda_tie *)b)->linear;

	return (x > y) - (x < y);
}

const struct uw_cuda_tie *uw_cuda_tie_of(const struct uw_cuda_workspace *workspace, const struct uw_cuda_linear *linear)
{
	const struct uw_cuda_tie key = { .linear = linear };

	return bsearch(&key, workspace->ties, workspace->nties, sizeof(key), compare_ties);
}

struct uw_cuda_bound *uw_cuda_bound_of(const struct uw_cuda_tie *tie, uint64_t part, enum uw_pipeline pipeline,
				       uint32_t slot)
{
	return &tie->bound[(2 * part + (pipeline == UW_PIPELINE_EXPONENT)) * UW_CUDA_NSLOTS + slot];
}

static uint64_t nbound(const struct uw_cuda_linear *linear)
{
	return linear->nparts * 2 * UW_CUDA_NSLOTS;
}

static bool decodes(const struct uw_cuda_linear *linear)
{
	return uw_cuda_linear_uses(linear, UW_PIPELINE_DECODE) || uw_cuda_linear_uses(linear, UW_PIPELINE_EXPONENT);
}

/* ---- how much ---- */

enum uw_status uw_cuda_plan_launch(const struct uw_cuda_linear *linear, const struct uw_cuda_set *set,
				   const struct uw_gpu_gemm_config *config, uint64_t nx, struct uw_gpu_gemm *gemm)
{
	return uw_gpu_gemm_init(&linear->cuda->facts.device, config, set->host, set->n, set->dev, nx,
				linear->key.experts ? (uint32_t)linear->nparts : 0, gemm);
}

/* Bytes of a slot that a part wants. */
static uint64_t slot_nbytes(const struct uw_cuda_linear *linear, const struct uw_cuda_part *part)
{
	uint64_t planes = 0, dense = part->nrows * part->ld * sizeof(uint16_t);

	for (uint64_t i = 0; i < part->ngroups; i++)
		planes += part->groups[i].coding == UW_CODING_H ? part->groups[i].ntiles * UW_TILE_WEIGHTS : 0;
	if (!uw_cuda_linear_uses(linear, UW_PIPELINE_DECODE))
		dense = 0;
	return planes > dense ? planes : dense;
}

struct need {
	uint64_t counters, sums, slot, errors, sheet;
	bool cublas;
};

static void raise(uint64_t *most, uint64_t n)
{
	*most = n > *most ? n : *most;
}

static enum uw_status need_launch(const struct uw_cuda_linear *linear, const struct uw_cuda_set *set,
				  const struct uw_gpu_gemm_config *config, uint64_t nx, struct need *need)
{
	struct uw_gpu_gemm gemm;
	enum uw_status status;

	if (set->n == 0)
		return UW_OK;
	status = uw_cuda_plan_launch(linear, set, config, nx, &gemm);
	raise(&need->counters, gemm.counters_nbytes);
	raise(&need->sums, gemm.workspace_nbytes - gemm.counters_nbytes);
	return status;
}

static enum uw_status need_bucket(const struct uw_cuda_workspace *w, const struct uw_cuda_tie *tie, unsigned bucket,
				  struct need *need)
{
	const struct uw_cuda_linear *linear = tie->linear;
	const struct uw_cuda_choice *choice = &linear->choices[bucket];
	uint64_t nx = UINT64_C(1) << bucket;
	enum uw_status status;

	nx = nx < w->max_batch ? nx : w->max_batch;
	status = need_launch(linear, &linear->palette, &choice->config, nx, need);
	if (status == UW_OK)
		status = need_launch(linear, &linear->codes, &choice->config, nx, need);
	if (status == UW_OK)
		status = need_launch(linear, &linear->loose, &choice->config, nx, need);
	if (status == UW_OK)
		status = need_launch(linear, &linear->dense, &choice->config, nx, need);
	for (uint64_t i = 0; status == UW_OK && tie->bound != NULL && i < nbound(linear); i++)
		status = need_launch(linear, &tie->bound[i].set, &choice->config, nx, need);
	need->cublas |= uw_cuda_linear_is_dense(linear, choice->pipeline);
	return status;
}

/* Before anything is bound: slots and descriptors. */
static void need_binding(const struct uw_cuda_linear *linear, struct need *need)
{
	if (!decodes(linear))
		return;
	for (uint64_t p = 0; p < linear->nparts; p++) {
		const struct uw_cuda_part *part = &linear->parts[p];
		uint64_t n = part->ngroups;

		raise(&need->slot, slot_nbytes(linear, part));
		raise(&need->errors, n * sizeof(uint32_t));
		/* two decoders for DECODE and one for EXPONENT, with the matrices of what they make */
		need->sheet += UW_CUDA_NSLOTS * (3 * uw_cuda_sheet_entry(n * sizeof(struct uw_gpu_group)) +
						 n * uw_cuda_sheet_entry(sizeof(struct uw_gpu_gemm_group)) +
						 (n + 1) * sizeof(struct uw_gpu_matrix));
	}
}

/* ---- binding ---- */

/* Sorts the part's groups for a decoder of `coding`; those that are in the slot at `out`. */
static enum uw_status bind_decoder(struct uw_cuda_workspace *w, const struct uw_cuda_part *part, enum uw_coding coding,
				   uint8_t *out, struct uw_gpu_group *groups, struct uw_gpu_decode *decode)
{
	uint32_t n = 0;
	enum uw_status status;

	*decode = (struct uw_gpu_decode){ 0 };
	for (uint64_t i = 0; i < part->ngroups; i++) {
		const struct uw_cuda_group *g = &part->groups[i];

		if (g->coding == UW_CODING_RAW || g->decode.coding != (uint32_t)coding)
			continue;
		groups[n] = g->decode;
		groups[n++].out_dev = out + g->first_row * part->ncols * sizeof(uint16_t);
	}
	if (n == 0)
		return UW_OK;
	status = uw_gpu_decode_init(groups, n, NULL, (uint32_t *)(void *)w->errors.at, decode);
	decode->groups_dev = uw_cuda_sheet_add(&w->sheet, groups, n * sizeof(*groups));
	return status;
}

static enum uw_status bind_decode(struct uw_cuda_workspace *w, const struct uw_cuda_linear *linear, uint32_t p,
				  uint32_t slot, struct uw_gpu_group *groups, struct uw_cuda_bound *bound,
				  struct uw_error *err)
{
	const struct uw_cuda_part *part = &linear->parts[p];
	enum uw_status status = bind_decoder(w, part, UW_CODING_H, w->slots[slot].at, groups, &bound->streams);

	if (status == UW_OK)
		status = bind_decoder(w, part, UW_CODING_P4, w->slots[slot].at, groups, &bound->codes);
	if (status != UW_OK)
		return uw_cuda_status(status, "descriptor", err);
	status = uw_cuda_set_open(1, &bound->set, err);
	if (status == UW_OK)
		status = uw_cuda_dense_matrix(w->cuda, w->slots[slot].at, part->ld, part->nrows, part->ncols,
					      bound->set.host, err);
	if (status != UW_OK)
		return status;
	bound->set.n = 1;
	uw_cuda_place(linear, p, linear->part_y[p], bound->set.host);
	uw_cuda_set_send(&bound->set, &w->sheet);
	return UW_OK;
}

/* The planes of the part's groups of coding H one after the other. */
static enum uw_status bind_planes(struct uw_cuda_workspace *w, const struct uw_cuda_part *part, uint32_t slot,
				  struct uw_gpu_group *groups, struct uw_gpu_decode *decode)
{
	uint8_t *out = w->slots[slot].at;
	uint32_t n = 0;
	enum uw_status status;

	for (uint64_t i = 0; i < part->ngroups; i++) {
		if (part->groups[i].coding != UW_CODING_H)
			continue;
		groups[n] = part->groups[i].exponents;
		groups[n++].out_dev = out;
		out += part->groups[i].ntiles * UW_TILE_WEIGHTS;
	}
	if (n == 0)
		return UW_OK;
	status = uw_gpu_decode_init(groups, n, NULL, (uint32_t *)(void *)w->errors.at, decode);
	decode->groups_dev = uw_cuda_sheet_add(&w->sheet, groups, n * sizeof(*groups));
	return status;
}

static enum uw_status bind_piece(struct uw_cuda_workspace *w, const struct uw_cuda_linear *linear,
				 const struct uw_cuda_piece *piece, const uint8_t **plane,
				 struct uw_gpu_gemm_group *groups, struct uw_cuda_set *set)
{
	const struct uw_gpu_gemm_group *groups_dev;
	struct uw_gpu_matrix *matrix = &set->host[set->n++];
	enum uw_status status;

	for (uint64_t i = 0; i < piece->ngroups; i++) {
		const struct uw_cuda_group *g = &linear->parts[piece->part].groups[piece->group + i];

		groups[i] = g->e8;
		groups[i].e_dev = *plane;
		*plane += g->ntiles * UW_TILE_WEIGHTS;
	}
	groups_dev = uw_cuda_sheet_add(&w->sheet, groups, piece->ngroups * sizeof(*groups));
	status = uw_gpu_matrix_init(groups, (uint32_t)piece->ngroups, groups_dev, UW_LINEAR_E8, matrix);
	uw_cuda_place(linear, piece->part, piece->y_off, matrix);
	return status;
}

static enum uw_status bind_exponent(struct uw_cuda_workspace *w, const struct uw_cuda_linear *linear, uint32_t p,
				    uint32_t slot, struct uw_gpu_group *groups, struct uw_gpu_gemm_group *gemm_groups,
				    struct uw_cuda_bound *bound, struct uw_error *err)
{
	const uint8_t *plane = w->slots[slot].at;
	enum uw_status status = uw_cuda_set_open(linear->parts[p].ngroups, &bound->set, err);

	if (status != UW_OK)
		return status;
	status = bind_planes(w, &linear->parts[p], slot, groups, &bound->streams);
	for (uint64_t i = 0; status == UW_OK && i < linear->npieces; i++) {
		const struct uw_cuda_piece *piece = &linear->pieces[i];

		if (piece->part == p && piece->coding == UW_CODING_H)
			status = bind_piece(w, linear, piece, &plane, gemm_groups, &bound->set);
	}
	uw_cuda_set_send(&bound->set, &w->sheet);
	return uw_cuda_status(status, "descriptor", err);
}

static enum uw_status bind_part(struct uw_cuda_workspace *w, struct uw_cuda_tie *tie, uint32_t p,
				struct uw_gpu_group *groups, struct uw_gpu_gemm_group *gemm_groups, struct uw_error *err)
{
	const struct uw_cuda_linear *linear = tie->linear;
	enum uw_status status = UW_OK;

	for (uint32_t slot = 0; status == UW_OK && slot < UW_CUDA_NSLOTS; slot++) {
		if (uw_cuda_linear_uses(linear, UW_PIPELINE_DECODE))
			status = bind_decode(w, linear, p, slot, groups,
					     uw_cuda_bound_of(tie, p, UW_PIPELINE_DECODE, slot), err);
		if (status == UW_OK && uw_cuda_linear_uses(linear, UW_PIPELINE_EXPONENT))
			status = bind_exponent(w, linear, p, slot, groups, gemm_groups,
					       uw_cuda_bound_of(tie, p, UW_PIPELINE_EXPONENT, slot), err);
	}
	return status;
}

static enum uw_status bind(struct uw_cuda_workspace *w, struct uw_cuda_tie *tie, struct uw_error *err)
{
	const struct uw_cuda_linear *linear = tie->linear;
	enum uw_status status = UW_OK;

	if (!decodes(linear))
		return UW_OK;
	tie->bound = calloc((size_t)nbound(linear), sizeof(*tie->bound));
	if (tie->bound == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA descriptors");
	for (uint32_t p = 0; status == UW_OK && p < linear->nparts; p++) {
		size_t n = (size_t)linear->parts[p].ngroups;
		struct uw_gpu_group *groups = calloc(n, sizeof(*groups));
		struct uw_gpu_gemm_group *gemm_groups = calloc(n, sizeof(*gemm_groups));

		if (groups != NULL && gemm_groups != NULL)
			status = bind_part(w, tie, p, groups, gemm_groups, err);
		else
			status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA descriptors");
		free(groups);
		free(gemm_groups);
	}
	return status;
}

static enum uw_status make_asked(const struct uw_cuda_workspace *w, struct uw_cuda_tie *tie, struct uw_error *err)
{
	bool any = false;

	for (unsigned b = 0; b <= uw_bucket_of(w->max_batch); b++)
		any = any || uw_cuda_linear_is_dense(tie->linear, tie->linear->choices[b].pipeline);
	if (!any)
		return UW_OK;
	tie->asked = calloc((size_t)tie->linear->nparts * UW_NBUCKETS, sizeof(*tie->asked));
	return tie->asked != NULL ? UW_OK : uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA descriptors");
}

/* ---- all of it ---- */

static enum uw_status make_order(struct uw_cuda_workspace *w, struct uw_error *err)
{
	const struct uw_gpu_ops *ops = w->cuda->ops;
	enum uw_status status = ops->stream_new(&w->side);

	if (status == UW_OK)
		status = ops->event_new(false, &w->fork);
	if (status == UW_OK)
		status = ops->event_new(false, &w->join);
	for (uint32_t i = 0; status == UW_OK && i < UW_CUDA_NSLOTS; i++)
		status = ops->event_new(false, &w->decoded[i]);
	return uw_cuda_status(status, "stream", err);
}

static enum uw_status make_slots(struct uw_cuda_workspace *w, const struct need *need, struct uw_error *err)
{
	const struct uw_cuda *cuda = w->cuda;
	enum uw_status status = UW_OK;

	if (need->slot == 0)
		return UW_OK;
	for (uint32_t i = 0; status == UW_OK && i < UW_CUDA_NSLOTS; i++)
		status = uw_cuda_memory_alloc(cuda, need->slot, &w->slots[i], err);
	if (status == UW_OK)
		status = uw_cuda_memory_alloc(cuda, need->errors, &w->errors, err);
	if (status == UW_OK)
		status = uw_cuda_status(cuda->ops->zero(w->errors.at, need->errors, NULL), "zero", err);
	if (status == UW_OK)
		status = uw_cuda_sheet_open(cuda, need->sheet, &w->sheet, err);
	return status == UW_OK ? make_order(w, err) : status;
}

static enum uw_status make_sums(struct uw_cuda_workspace *w, const struct need *need, struct uw_error *err)
{
	const struct uw_cuda *cuda = w->cuda;
	enum uw_status status = UW_OK;

	w->counters_nbytes = need->counters;
	if (need->counters + need->sums != 0) {
		status = uw_cuda_memory_alloc(cuda, need->counters + need->sums, &w->sums, err);
		if (status == UW_OK)
			status = uw_cuda_status(cuda->ops->zero(w->sums.at, need->counters, NULL), "zero", err);
	}
	return status == UW_OK ? uw_cuda_sync(cuda, NULL, err) : status;
}

static enum uw_status make_dense(struct uw_cuda_workspace *w, const struct need *need, struct uw_error *err)
{
	if (!need->cublas || w->dense.at != NULL)
		return UW_OK;
	return uw_cuda_memory_alloc(w->cuda, uw_cuda_dense_workspace_nbytes(), &w->dense, err);
}

static enum uw_status build(struct uw_cuda_workspace *w, const struct uw_cuda_linear *const *linears, size_t nlinears,
			    struct uw_error *err)
{
	struct need need = { 0 };
	enum uw_status status;

	w->ties = calloc(nlinears + 1, sizeof(*w->ties));
	if (w->ties == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA workspace");
	for (size_t i = 0; i < nlinears; i++) {
		w->ties[w->nties++].linear = linears[i];
		need_binding(linears[i], &need);
	}
	qsort(w->ties, w->nties, sizeof(*w->ties), compare_ties);
	status = make_slots(w, &need, err);
	for (size_t i = 0; status == UW_OK && i < w->nties; i++) {
		status = bind(w, &w->ties[i], err);
		if (status == UW_OK)
			status = make_asked(w, &w->ties[i], err);
	}
	if (status == UW_OK && w->side != NULL)
		status = uw_cuda_sheet_send(w->cuda, &w->sheet, err);
	for (size_t i = 0; status == UW_OK && i < w->nties; i++) {
		for (unsigned b = 0; status == UW_OK && b <= uw_bucket_of(w->max_batch); b++)
			status = uw_cuda_status(need_bucket(w, &w->ties[i], b, &need), "plan of a launch", err);
	}
	if (status == UW_OK)
		status = make_sums(w, &need, err);
	return status == UW_OK ? make_dense(w, &need, err) : status;
}

enum uw_status uw_cuda_workspace_reserve(struct uw_cuda_workspace *w, unsigned bucket, struct uw_error *err)
{
	struct need need = { .counters = w->counters_nbytes, .sums = w->sums.nbytes - w->counters_nbytes };
	enum uw_status status = UW_OK;

	for (size_t i = 0; status == UW_OK && i < w->nties; i++)
		status = uw_cuda_status(need_bucket(w, &w->ties[i], bucket, &need), "plan of a launch", err);
	if (status == UW_OK && need.counters + need.sums > w->sums.nbytes) {
		uw_cuda_memory_free(w->cuda, &w->sums);
		status = make_sums(w, &need, err);
	}
	return status == UW_OK ? make_dense(w, &need, err) : status;
}

enum uw_status uw_cuda_workspace_create(const struct uw_cuda *cuda, const struct uw_cuda_linear *const *linears,
					size_t nlinears, uint64_t max_batch, struct uw_cuda_workspace **workspace,
					struct uw_error *err)
{
	struct uw_cuda_workspace *w;
	enum uw_status status;

	if (max_batch == 0 || max_batch > UW_LINEAR_MAX_BATCH)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "max_batch of a workspace");
	w = calloc(1, sizeof(*w));
	if (w == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA workspace");
	w->cuda = cuda;
	w->max_batch = max_batch;
	status = build(w, linears, nlinears, err);
	if (status != UW_OK)
		uw_cuda_workspace_free(&w);
	else
		*workspace = w;
	return status;
}

static void free_order(struct uw_cuda_workspace *w)
{
	const struct uw_gpu_ops *ops = w->cuda->ops;

	if (w->side != NULL) {
		(void)ops->stream_sync(w->side);
		ops->stream_free(w->side);
	}
	if (w->fork != NULL)
		ops->event_free(w->fork);
	if (w->join != NULL)
		ops->event_free(w->join);
	for (uint32_t i = 0; i < UW_CUDA_NSLOTS; i++) {
		if (w->decoded[i] != NULL)
			ops->event_free(w->decoded[i]);
	}
}

void uw_cuda_workspace_free(struct uw_cuda_workspace **workspace)
{
	struct uw_cuda_workspace *w = *workspace;

	*workspace = NULL;
	if (w == NULL)
		return;
	free_order(w);
	for (size_t i = 0; i < w->nties; i++) {
		for (uint64_t k = 0; w->ties[i].bound != NULL && k < nbound(w->ties[i].linear); k++)
			uw_cuda_set_close(&w->ties[i].bound[k].set);
		free(w->ties[i].bound);
		free(w->ties[i].asked);
	}
	for (uint32_t i = 0; i < UW_CUDA_NSLOTS; i++)
		uw_cuda_memory_free(w->cuda, &w->slots[i]);
	uw_cuda_memory_free(w->cuda, &w->errors);
	uw_cuda_memory_free(w->cuda, &w->sums);
	uw_cuda_memory_free(w->cuda, &w->dense);
	uw_cuda_sheet_close(w->cuda, &w->sheet);
	free(w->ties);
	free(w);
}

uint64_t uw_cuda_workspace_nbytes(const struct uw_cuda_workspace *workspace)
{
	uint64_t n = workspace->sheet.memory.nbytes + workspace->sums.nbytes + workspace->errors.nbytes +
		     workspace->dense.nbytes;

	for (uint32_t i = 0; i < UW_CUDA_NSLOTS; i++)
		n += workspace->slots[i].nbytes;
	return n;
}
