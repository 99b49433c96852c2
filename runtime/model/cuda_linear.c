/* SPDX-License-Identifier: Apache-2.0 */
/* Making a linear resident: plan, upload, descriptors. */
#include "cuda_linear.h"

#include <stdlib.h>

/* ---- sets of matrices ---- */

enum uw_status uw_cuda_set_open(uint64_t n, struct uw_cuda_set *set, struct uw_error *err)
{
	*set = (struct uw_cuda_set){ 0 };
	if (n == 0)
		return UW_OK;
	if (n > UINT32_MAX || posix_memalign((void **)&set->host, alignof(struct uw_gpu_matrix),
					     (size_t)n * sizeof(struct uw_gpu_matrix)) != 0) {
		set->host = NULL;
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA descriptors");
	}
	return UW_OK;
}

void uw_cuda_set_send(struct uw_cuda_set *set, struct uw_cuda_sheet *sheet)
{
	set->dev = uw_cuda_sheet_add(sheet, set->host, set->n * sizeof(struct uw_gpu_matrix));
}

void uw_cuda_set_close(struct uw_cuda_set *set)
{
	free(set->host);
	*set = (struct uw_cuda_set){ 0 };
}

enum uw_status uw_cuda_dense_matrix(const struct uw_cuda *cuda, const void *weights_dev, uint64_t ld, uint64_t nrows,
				    uint64_t ncols, struct uw_gpu_matrix *matrix, struct uw_error *err)
{
	enum uw_status status = uw_gpu_matrix_init_raw(weights_dev, ld, nrows, ncols, matrix);

	if (status == UW_OK && cuda->facts.device.capability == 90)
		status = cuda->ops->matrix_map(matrix);
	return uw_cuda_status(status, "matrix", err);
}

void uw_cuda_place(const struct uw_cuda_linear *linear, uint32_t part, uint64_t y_off, struct uw_gpu_matrix *matrix)
{
	matrix->y_off = y_off;
	matrix->bucket = linear->key.experts ? part : 0;
}

bool uw_cuda_linear_uses(const struct uw_cuda_linear *linear, enum uw_pipeline pipeline)
{
	for (unsigned b = 0; b < UW_NBUCKETS; b++) {
		if (linear->choices[b].pipeline == pipeline)
			return true;
	}
	return false;
}

bool uw_cuda_linear_is_dense(const struct uw_cuda_linear *linear, enum uw_pipeline pipeline)
{
	return uw_cuda_is_dense(&linear->options, linear->cuda->dense != NULL, pipeline);
}

/* ---- parts ---- */

static enum uw_status open_parts(struct uw_cuda_linear *linear, const struct uw_model *model,
				 const struct uw_linear_part *from, uint64_t nparts, struct uw_error *err)
{
	struct uw_cuda_key *key = &linear->key;

	key->coding = UW_CODING_RAW;
	for (uint64_t i = 0; i < nparts; i++) {
		struct uw_cuda_part *part = &linear->parts[i];
		enum uw_status status = uw_cuda_part_open(linear->cuda, model, &from[i], part, err);

		if (status != UW_OK)
			return status;
		linear->nparts++; /* from here on it is closed with the others */
		if (part->ncols != linear->parts[0].ncols || (key->experts && part->nrows != linear->parts[0].nrows))
			return uw_fail(err, UW_ERR_SHAPE, UW_NO_OFFSET, "different %s in one multiplication",
				       part->ncols != linear->parts[0].ncols ? "columns" : "experts");
		linear->part_y[i] = key->experts ? 0 : key->nrows;
		key->nrows += part->nrows;
		linear->part_y[i + 1] = key->nrows;
		for (uint64_t g = 0; g < part->ngroups; g++) {
			enum uw_coding coding = part->groups[g].coding;

			if (coding == UW_CODING_H || (coding == UW_CODING_P4 && key->coding == UW_CODING_RAW))
				key->coding = coding;
		}
	}
	key->ncols = linear->parts[0].ncols;
	key->nparts = nparts;
	return UW_OK;
}

/* ---- the plan ---- */

static unsigned forms_of(enum uw_pipeline pipeline)
{
	switch (pipeline) {
	case UW_PIPELINE_RAW:
		return UW_CUDA_DENSE;
	case UW_PIPELINE_EXPONENT:
		return UW_CUDA_STORED;
	case UW_PIPELINE_DECODE:
		return 0; /* what there is, see below */
	default:
		return UW_CUDA_PALETTE;
	}
}

static enum uw_status plan(struct uw_cuda_linear *linear, const struct uw_cuda_linear_options *options,
			   struct uw_error *err)
{
	for (unsigned b = 0; b < UW_NBUCKETS; b++) {
		enum uw_status status = uw_cuda_choose(&linear->cuda->facts, linear->cuda->shipped, options,
						       &linear->key, b, &linear->choices[b]);

		if (status != UW_OK)
			return uw_cuda_status(status, "plan", err);
		linear->forms |= forms_of(linear->choices[b].pipeline);
	}
	if (uw_cuda_linear_uses(linear, UW_PIPELINE_DECODE) && !(linear->forms & UW_CUDA_PALETTE))
		linear->forms |= UW_CUDA_STORED;
	return UW_OK;
}

/* ---- pieces and their matrices ---- */

/* Whether the group can be in a matrix with those before it, from `first` on. */
static bool goes_on(const struct uw_cuda_part *part, uint64_t first, uint64_t i)
{
	const struct uw_cuda_group *a = &part->groups[first], *before = &part->groups[i - 1], *g = &part->groups[i];

	return g->coding == a->coding && g->coding != UW_CODING_RAW && before->nrows == a->nrows &&
	       a->nrows % (UW_BLOCK_TILE_ROWS * UW_TILE_ROWS) == 0 && g->nrows <= a->nrows;
}

static void find_pieces(struct uw_cuda_linear *linear)
{
	for (uint64_t p = 0; p < linear->nparts; p++) {
		const struct uw_cuda_part *part = &linear->parts[p];

		for (uint64_t first = 0, end; first < part->ngroups; first = end) {
			for (end = first + 1; end < part->ngroups && goes_on(part, first, end);)
				end++;
			linear->pieces[linear->npieces++] = (struct uw_cuda_piece){
				.part = (uint32_t)p,
				.group = first,
				.ngroups = end - first,
				.coding = part->groups[first].coding,
				.y_off = linear->part_y[p] + part->groups[first].first_row,
			};
		}
	}
}

static enum uw_status add_palette(struct uw_cuda_linear *linear, const struct uw_cuda_piece *piece,
				  struct uw_gpu_gemm_group *groups, struct uw_cuda_set *set, struct uw_error *err)
{
	struct uw_gpu_matrix *matrix = &set->host[set->n++];
	const struct uw_gpu_gemm_group *groups_dev;
	enum uw_status status;

	for (uint64_t i = 0; i < piece->ngroups; i++)
		groups[i] = linear->parts[piece->part].groups[piece->group + i].p4;
	groups_dev = uw_cuda_sheet_add(&linear->sheet, groups, piece->ngroups * sizeof(*groups));
	status = uw_gpu_matrix_init(groups, (uint32_t)piece->ngroups, groups_dev, UW_LINEAR_P4, matrix);
	uw_cuda_place(linear, piece->part, piece->y_off, matrix);
	return uw_cuda_status(status, "matrix", err);
}

static enum uw_status add_loose(struct uw_cuda_linear *linear, const struct uw_cuda_piece *piece, struct uw_error *err)
{
	const struct uw_cuda_part *part = &linear->parts[piece->part];
	const struct uw_cuda_group *group = &part->groups[piece->group];
	struct uw_gpu_matrix *matrix = &linear->loose.host[linear->loose.n++];
	enum uw_status status = uw_cuda_dense_matrix(linear->cuda, group->dense.at, part->ld, group->nrows, part->ncols,
						     matrix, err);

	uw_cuda_place(linear, piece->part, piece->y_off, matrix);
	return status;
}

static enum uw_status add_dense(struct uw_cuda_linear *linear, struct uw_error *err)
{
	for (uint32_t p = 0; p < linear->nparts; p++) {
		const struct uw_cuda_part *part = &linear->parts[p];
		struct uw_gpu_matrix *matrix = &linear->dense.host[linear->dense.n++];
		enum uw_status status = uw_cuda_dense_matrix(linear->cuda, part->dense.at, part->ld, part->nrows,
							     part->ncols, matrix, err);

		if (status != UW_OK)
			return status;
		uw_cuda_place(linear, p, linear->part_y[p], matrix);
	}
	return UW_OK;
}

static enum uw_status describe(struct uw_cuda_linear *linear, struct uw_gpu_gemm_group *groups, struct uw_error *err)
{
	bool palette = linear->forms & UW_CUDA_PALETTE, coded = linear->forms & ~(unsigned)UW_CUDA_DENSE;
	bool exponents = uw_cuda_linear_uses(linear, UW_PIPELINE_EXPONENT);
	enum uw_status status = UW_OK;

	for (uint64_t i = 0; status == UW_OK && i < linear->npieces; i++) {
		const struct uw_cuda_piece *piece = &linear->pieces[i];

		if (piece->coding == UW_CODING_RAW && coded)
			status = add_loose(linear, piece, err);
		else if (piece->coding != UW_CODING_RAW && palette)
			status = add_palette(linear, piece, groups, &linear->palette, err);
		if (status == UW_OK && piece->coding == UW_CODING_P4 && exponents)
			status = add_palette(linear, piece, groups, &linear->codes, err);
	}
	if (status == UW_OK && (linear->forms & UW_CUDA_DENSE))
		status = add_dense(linear, err);
	uw_cuda_set_send(&linear->palette, &linear->sheet);
	uw_cuda_set_send(&linear->codes, &linear->sheet);
	uw_cuda_set_send(&linear->loose, &linear->sheet);
	uw_cuda_set_send(&linear->dense, &linear->sheet);
	return status == UW_OK ? uw_cuda_sheet_send(linear->cuda, &linear->sheet, err) : status;
}

static enum uw_status make_matrices(struct uw_cuda_linear *linear, struct uw_error *err)
{
	uint64_t ngroups = 0, room;
	struct uw_gpu_gemm_group *groups;
	enum uw_status status;

	for (uint64_t p = 0; p < linear->nparts; p++)
		ngroups += linear->parts[p].ngroups;
	linear->pieces = calloc((size_t)ngroups, sizeof(*linear->pieces));
	groups = calloc((size_t)ngroups, sizeof(*groups));
	if (linear->pieces == NULL || groups == NULL) {
		free(groups);
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "CUDA descriptors");
	}
	find_pieces(linear);
	room = 2 * ngroups * uw_cuda_sheet_entry(sizeof(*groups)) +
	       (3 * linear->npieces + linear->nparts) * sizeof(struct uw_gpu_matrix);
	status = uw_cuda_set_open(linear->npieces, &linear->palette, err);
	if (status == UW_OK)
		status = uw_cuda_set_open(linear->npieces, &linear->codes, err);
	if (status == UW_OK)
		status = uw_cuda_set_open(linear->npieces, &linear->loose, err);
	if (status == UW_OK)
		status = uw_cuda_set_open(linear->nparts, &linear->dense, err);
	if (status == UW_OK)
		status = uw_cuda_sheet_open(linear->cuda, room, &linear->sheet, err);
	if (status == UW_OK)
		status = describe(linear, groups, err);
	free(groups);
	return status;
}

/* ---- public ---- */

static enum uw_status build(struct uw_cuda_linear *linear, const struct uw_model *model,
			    const struct uw_linear_part *parts, size_t nparts,
			    const struct uw_cuda_linear_options *options, struct uw_error *err)
{
	enum uw_status status;

	linear->key.experts = options->experts;
	linear->options = *options;
	linear->options.tuning = NULL;
	linear->parts = calloc(nparts, sizeof(*linear->parts));
	linear->part_y = calloc(nparts + 1, sizeof(*linear->part_y));
	if (linear->parts == NULL || linear->part_y == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "multiplication");
	status = open_parts(linear, model, parts, nparts, err);
	if (status == UW_OK)
		status = plan(linear, options, err);
	for (uint64_t i = 0; status == UW_OK && i < nparts; i++)
		status = uw_cuda_part_upload(linear->cuda, model, linear->forms, &linear->parts[i], err);
	return status == UW_OK ? make_matrices(linear, err) : status;
}

enum uw_status uw_cuda_linear_create(const struct uw_cuda *cuda, const struct uw_model *model,
				     const struct uw_linear_part *parts, size_t nparts,
				     const struct uw_cuda_linear_options *options, struct uw_cuda_linear **linear,
				     struct uw_error *err)
{
	static const struct uw_cuda_linear_options defaults;
	struct uw_cuda_linear *l;
	enum uw_status status;

	options = options != NULL ? options : &defaults;
	if (nparts == 0 || nparts > INT32_MAX || (unsigned)options->pipeline >= UW_NPIPELINES)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "parts or pipeline of a multiplication");
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "multiplication");
	l->cuda = cuda;
	status = build(l, model, parts, nparts, options, err);
	if (status != UW_OK)
		uw_cuda_linear_free(&l);
	else
		*linear = l;
	return status;
}

void uw_cuda_linear_free(struct uw_cuda_linear **linear)
{
	struct uw_cuda_linear *l = *linear;

	*linear = NULL;
	if (l == NULL)
		return;
	for (uint64_t i = 0; i < l->nparts; i++)
		uw_cuda_part_close(l->cuda, &l->parts[i]);
	uw_cuda_sheet_close(l->cuda, &l->sheet);
	uw_cuda_set_close(&l->palette);
	uw_cuda_set_close(&l->codes);
	uw_cuda_set_close(&l->loose);
	uw_cuda_set_close(&l->dense);
	free(l->pieces);
	free(l->part_y);
	free(l->parts);
	free(l);
}

uint64_t uw_cuda_linear_nrows(const struct uw_cuda_linear *linear)
{
	return linear->key.experts ? linear->parts[0].nrows : linear->key.nrows;
}

uint64_t uw_cuda_linear_part_nrows(const struct uw_cuda_linear *linear, size_t part)
{
	return linear->parts[part].nrows;
}

uint64_t uw_cuda_linear_ncols(const struct uw_cuda_linear *linear)
{
	return linear->key.ncols;
}

uint64_t uw_cuda_linear_owned_nbytes(const struct uw_cuda_linear *linear)
{
	uint64_t n = linear->sheet.memory.nbytes;

	for (uint64_t i = 0; i < linear->nparts; i++)
		n += uw_cuda_part_nbytes(&linear->parts[i]);
	return n;
}

void uw_cuda_linear_force(struct uw_cuda_linear *linear, unsigned bucket, const struct uw_cuda_choice *choice)
{
	linear->choices[bucket] = *choice;
}

enum uw_pipeline uw_cuda_linear_pipeline(const struct uw_cuda_linear *linear, uint64_t batch)
{
	return linear->choices[uw_bucket_of(batch)].pipeline;
}
