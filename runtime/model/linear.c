/* SPDX-License-Identifier: Apache-2.0 */
/* Preparing: which groups a linear needs, which pipelines serve them, what those want beforehand. */
#include "linear.h"

#include <stdlib.h>

#include "plan.h"

/* ---- parts: matrices and cuts ---- */

static enum uw_status check_cut(const struct uw_linear_part *from, const struct uw_matrix *matrix,
				struct uw_part *part, uint64_t *col_end, struct uw_error *err)
{
	part->row_begin = from->row_begin;
	part->row_end = from->row_end != 0 ? from->row_end : matrix->nrows;
	*col_end = from->col_end != 0 ? from->col_end : matrix->ncols;
	if (part->row_begin >= part->row_end || part->row_end > matrix->nrows || from->col_begin >= *col_end ||
	    *col_end > matrix->ncols)
		return uw_fail(err, UW_ERR_SHAPE, UW_NO_OFFSET,
			       "rows %llu to %llu, columns %llu to %llu of a matrix of %llu x %llu",
			       (unsigned long long)part->row_begin, (unsigned long long)part->row_end,
			       (unsigned long long)from->col_begin, (unsigned long long)*col_end,
			       (unsigned long long)matrix->nrows, (unsigned long long)matrix->ncols);
	return UW_OK;
}

static enum uw_status open_part(const struct uw_model *model, const struct uw_linear_part *from,
				struct uw_linear *linear, struct uw_error *err)
{
	struct uw_part *part = &linear->parts[linear->nparts];
	uint64_t col_end;
	enum uw_status status = uw_matrix_open(model, from->tensor, from->expert, &part->matrix, err);

	if (status != UW_OK)
		return status;
	linear->nparts++; /* from here on it is closed with the others */
	status = check_cut(from, &part->matrix, part, &col_end, err);
	if (status != UW_OK)
		return status;
	if (linear->nparts == 1) {
		linear->col_begin = from->col_begin;
		linear->col_end = col_end;
	}
	if (from->col_begin != linear->col_begin || col_end != linear->col_end)
		return uw_fail(err, UW_ERR_SHAPE, UW_NO_OFFSET,
			       "matrices with different columns in one multiplication");
	return UW_OK;
}

/* ---- pieces: groups and pipelines ---- */

static bool meets(const struct uw_part *part, const struct uw_matrix_group *group)
{
	return group->first_row < part->row_end && part->row_begin < group->first_row + group->nrows;
}

static uint64_t count_pieces(const struct uw_linear *linear)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < linear->nparts; i++) {
		for (uint64_t g = 0; g < linear->parts[i].matrix.ngroups; g++)
			n += meets(&linear->parts[i], &linear->parts[i].matrix.groups[g]);
	}
	return n;
}

static bool has_row_order(const struct uw_matrix_group *group)
{
	return group->coding != UW_CODING_RAW && group->coded.row_order != NULL;
}

static struct uw_piece piece_of(const struct uw_part *part, const struct uw_matrix_group *group)
{
	uint64_t begin = part->row_begin > group->first_row ? part->row_begin - group->first_row : 0;
	uint64_t end = part->row_end - group->first_row;
	struct uw_piece piece = {
		.prepared = { .model = part->matrix.model, .group = group, .ncols = part->matrix.ncols },
		.first = begin / UW_ROW_BLOCK,
	};

	end = end < group->nrows ? end : group->nrows;
	if (has_row_order(group)) { /* the rows may be in any block */
		piece.first = 0;
		end = group->nrows;
	}
	piece.nblocks = (end + UW_ROW_BLOCK - 1) / UW_ROW_BLOCK - piece.first;
	return piece;
}

static enum uw_status prepare(const struct uw_linear *linear, const struct uw_matrix *matrix,
			      const struct uw_linear_options *options, struct uw_piece *piece, struct uw_error *err)
{
	bool done[UW_NPIPELINES] = { false };

	for (unsigned b = 0; b < UW_NBUCKETS; b++) {
		struct uw_plan_key key = {
			.coding = piece->prepared.group->coding,
			.nrows = matrix->nrows,
			.ncols = matrix->ncols,
			.bucket = b,
		};
		enum uw_pipeline p = uw_pipeline_serving(uw_plan_choose(options, &key), piece->prepared.group);
		enum uw_status status = UW_OK;

		piece->pipeline[b] = (uint8_t)p;
		if (!done[p] && uw_pipelines[p].prepare != NULL)
			status = uw_pipelines[p].prepare(linear->ops, &piece->prepared, err);
		if (status != UW_OK)
			return status;
		done[p] = true;
	}
	return UW_OK;
}

static enum uw_status make_pieces(struct uw_linear *linear, const struct uw_linear_options *options,
				  struct uw_error *err)
{
	uint64_t n = count_pieces(linear), nblocks = 0;

	linear->pieces = calloc((size_t)n, sizeof(*linear->pieces));
	if (linear->pieces == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "pieces of matrices");
	for (uint64_t i = 0; i < linear->nparts; i++) {
		struct uw_part *part = &linear->parts[i];

		part->first_piece = linear->npieces;
		for (uint64_t g = 0; g < part->matrix.ngroups; g++) {
			struct uw_piece *piece = &linear->pieces[linear->npieces];
			enum uw_status status;

			if (!meets(part, &part->matrix.groups[g]))
				continue;
			*piece = piece_of(part, &part->matrix.groups[g]);
			piece->block0 = nblocks;
			nblocks += piece->nblocks;
			linear->npieces++;
			part->npieces++;
			status = prepare(linear, &part->matrix, options, piece, err);
			if (status != UW_OK)
				return status;
		}
	}
	return UW_OK;
}

/* ---- public ---- */

enum uw_status uw_linear_create(const struct uw_model *model, const struct uw_linear_part *parts, size_t nparts,
				const struct uw_linear_options *options, struct uw_linear **linear,
				struct uw_error *err)
{
	static const struct uw_linear_options defaults;
	struct uw_linear *l;
	enum uw_status status = UW_OK;

	if (nparts == 0 || (options != NULL && (unsigned)options->pipeline >= UW_NPIPELINES))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "parts or pipeline of a multiplication");
	options = options != NULL ? options : &defaults;
	l = calloc(1, sizeof(*l));
	if (l == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "multiplication");
	l->ops = uw_model_cpu_ops(model);
	uw_linear_ops_init(&l->kernels, uw_model_cpu_flags(model));
	l->batch_invariant = options->batch_invariant;
	l->parts = calloc(nparts, sizeof(*l->parts));
	if (l->parts == NULL)
		status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "multiplication");
	for (size_t i = 0; status == UW_OK && i < nparts; i++)
		status = open_part(model, &parts[i], l, err);
	if (status == UW_OK)
		status = make_pieces(l, options, err);
	if (status != UW_OK)
		uw_linear_free(&l);
	else
		*linear = l;
	return status;
}

void uw_linear_free(struct uw_linear **linear)
{
	struct uw_linear *l = *linear;

	*linear = NULL;
	if (l == NULL)
		return;
	for (uint64_t i = 0; i < l->npieces; i++)
		uw_prepared_free(&l->pieces[i].prepared);
	for (uint64_t i = 0; i < l->nparts; i++)
		uw_matrix_close(&l->parts[i].matrix);
	free(l->pieces);
	free(l->parts);
	free(l);
}

void uw_linear_force(struct uw_linear *linear, unsigned bucket, enum uw_pipeline pipeline)
{
	for (uint64_t i = 0; i < linear->npieces; i++) {
		struct uw_piece *piece = &linear->pieces[i];

		piece->pipeline[bucket] = (uint8_t)uw_pipeline_serving(pipeline, piece->prepared.group);
	}
}

uint64_t uw_linear_nrows(const struct uw_linear *linear, size_t part)
{
	return linear->parts[part].row_end - linear->parts[part].row_begin;
}

uint64_t uw_linear_ncols(const struct uw_linear *linear)
{
	return linear->col_end - linear->col_begin;
}

uint64_t uw_linear_owned_nbytes(const struct uw_linear *linear)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < linear->npieces; i++)
		n += uw_prepared_owned_nbytes(&linear->pieces[i].prepared);
	for (uint64_t i = 0; i < linear->nparts; i++) {
		for (uint64_t g = 0; g < linear->parts[i].matrix.ngroups; g++)
			n += linear->parts[i].matrix.groups[g].owned_nbytes;
	}
	return n;
}

uint64_t uw_linear_read_nbytes(const struct uw_linear *linear, uint64_t batch)
{
	uint64_t n = 0;

	for (uint64_t i = 0; i < linear->npieces; i++) {
		const struct uw_piece *piece = &linear->pieces[i];

		n += uw_pipelines[piece->pipeline[uw_bucket_of(batch)]].read_nbytes(&piece->prepared);
	}
	return n;
}

enum uw_pipeline uw_linear_pipeline(const struct uw_linear *linear, size_t part, uint64_t batch)
{
	return (enum uw_pipeline)linear->pieces[linear->parts[part].first_piece].pipeline[uw_bucket_of(batch)];
}
