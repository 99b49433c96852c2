/* SPDX-License-Identifier: Apache-2.0 */
#include "matrix.h"

#include <stdlib.h>

#include "group.h"

static bool is_little_endian(void)
{
	const uint16_t one = 1;

	return *(const uint8_t *)&one == 1;
}

/* Groups of a tiled tensor hold rows of one matrix each: those of matrix `expert` follow one another. */
static void groups_of(const struct uw_extent *extent, const struct uw_tensor_grid *grid, uint64_t expert,
		      uint64_t *first, uint64_t *n)
{
	uint64_t each = extent->ngroups / grid->nexperts;

	*first = expert * each;
	*n = each;
}

/* Decodes what cannot be multiplied as it lies. */
static enum uw_status decode(const struct uw_model *model, const struct uw_stored_group *stored,
			     struct uw_matrix_group *group, struct uw_error *err)
{
	uint64_t nbytes = stored->slice.src_nbytes;
	uint16_t *words = uw_model_alloc(model, nbytes);
	enum uw_status status;

	if (words == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "%llu bytes of weights", (unsigned long long)nbytes);
	group->coding = UW_CODING_RAW;
	group->owned = words;
	group->owned_nbytes = nbytes;
	group->bf16 = words;
	status = uw_group_decode(uw_model_cpu_ops(model), stored->extent, &stored->slice, stored->group, stored->stored,
				 (uint8_t *)words, err);
	if (!is_little_endian()) {
		for (uint64_t i = 0; i < nbytes / 2; i++)
			words[i] = (uint16_t)(words[i] << 8 | words[i] >> 8);
	}
	return status;
}

/* Uses the stored bytes, taking them over from *stored, or decodes them. */
static enum uw_status use(const struct uw_model *model, struct uw_stored_group *stored, struct uw_matrix_group *group,
			  struct uw_error *err)
{
	bool raw = stored->group->coding == UW_CODING_RAW && is_little_endian();
	bool coded = stored->group->coding == UW_CODING_H || stored->group->coding == UW_CODING_P4;
	enum uw_status status = UW_OK;

	if (!raw && !coded)
		return decode(model, stored, group, err);
	group->coding = (enum uw_coding)stored->group->coding;
	if (coded)
		status = uw_stored_group_coded(model, stored, &group->coded, err);
	else
		group->bf16 = (const uint16_t *)(const void *)stored->stored;
	group->owned = stored->owned;
	group->owned_nbytes = stored->owned_nbytes;
	stored->owned = NULL;
	return status;
}

static enum uw_status open_tiled(const struct uw_model *model, const struct uw_tensor *tensor, uint64_t first,
				 struct uw_matrix *matrix, struct uw_error *err)
{
	uint64_t row = 0;

	for (uint64_t i = 0; i < matrix->ngroups; i++) {
		struct uw_matrix_group *group = &matrix->groups[i];
		struct uw_stored_group stored;
		enum uw_status status = uw_stored_group_open(model, tensor, first + i, &stored, err);

		if (status != UW_OK)
			return status;
		group->first_row = row;
		group->nrows = stored.slice.nrows;
		row += group->nrows;
		status = use(model, &stored, group, err);
		uw_stored_group_close(model, &stored);
		if (status != UW_OK)
			return status;
	}
	return UW_OK;
}

/* Small or ragged matrices, which are not in tiled order: all of it in BF16. */
static enum uw_status open_linear(const struct uw_model *model, const struct uw_tensor *tensor, uint64_t expert,
				  struct uw_matrix *matrix, struct uw_error *err)
{
	struct uw_tensor_slice slice = { .expert_begin = expert, .expert_end = expert + 1 };
	uint64_t nbytes = uw_tensor_slice_nbytes(tensor, &slice);
	struct uw_matrix_group *group = &matrix->groups[0];
	uint16_t *words = uw_model_alloc(model, nbytes);
	enum uw_status status;

	if (words == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "%llu bytes of weights", (unsigned long long)nbytes);
	*group = (struct uw_matrix_group){
		.nrows = matrix->nrows,
		.coding = UW_CODING_RAW,
		.bf16 = words,
		.owned = words,
		.owned_nbytes = nbytes,
	};
	status = uw_tensor_read(model, tensor, &slice, words, (size_t)nbytes, err);
	if (!is_little_endian()) {
		for (uint64_t i = 0; i < nbytes / 2; i++)
			words[i] = (uint16_t)(words[i] << 8 | words[i] >> 8);
	}
	return status;
}

enum uw_status uw_matrix_open(const struct uw_model *model, const struct uw_tensor *tensor, uint64_t expert,
			      struct uw_matrix *matrix, struct uw_error *err)
{
	struct uw_tensor_grid grid = uw_tensor_grid(tensor);
	const struct uw_extent *extent;
	enum uw_status status;
	uint64_t first = 0;

	(void)uw_tensor_part(model, tensor, &extent);
	if (tensor->dtype != UW_DTYPE_BF16 || tensor->ndims < 2 || tensor->nbytes == 0)
		return uw_tensor_failed(tensor, uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "no matrix of BF16"),
					err);
	if (expert >= grid.nexperts)
		return uw_tensor_failed(tensor, uw_fail(err, UW_ERR_SHAPE, UW_NO_OFFSET, "it has %llu matrices",
							(unsigned long long)grid.nexperts), err);
	*matrix = (struct uw_matrix){ .model = model, .nrows = grid.nrows, .ncols = grid.ncols, .ngroups = 1 };
	if (extent->order == UW_ORDER_TILED)
		groups_of(extent, &grid, expert, &first, &matrix->ngroups);
	matrix->groups = calloc((size_t)matrix->ngroups, sizeof(*matrix->groups));
	if (matrix->groups == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "groups of a matrix");
	if (extent->order == UW_ORDER_TILED)
		status = open_tiled(model, tensor, first, matrix, err);
	else
		status = open_linear(model, tensor, expert, matrix, err);
	if (status == UW_OK)
		return UW_OK;
	uw_matrix_close(matrix);
	return uw_tensor_failed(tensor, status, err);
}

void uw_matrix_close(struct uw_matrix *matrix)
{
	for (uint64_t i = 0; matrix->groups != NULL && i < matrix->ngroups; i++)
		uw_model_free(matrix->model, matrix->groups[i].owned, matrix->groups[i].owned_nbytes);
	free(matrix->groups);
	*matrix = (struct uw_matrix){ 0 };
}
