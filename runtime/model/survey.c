/* SPDX-License-Identifier: Apache-2.0 */
#include "survey.h"

#include <stdlib.h>
#include <string.h>

#include "model.h"

static bool is_multiplied(const struct uw_model *model, const struct uw_tensor *tensor, bool has_head)
{
	enum uw_role role = tensor->meaning.role;

	if (tensor->dtype != UW_DTYPE_BF16 || tensor->ndims < 2 || tensor->nbytes == 0)
		return false;
	return role != UW_ROLE_NORM && role != UW_ROLE_ROUTER && (role != UW_ROLE_EMBEDDING || !has_head);
}

/* Coding of the tensor's first coded group; RAW if none is. */
static enum uw_coding coding_of(const struct uw_model *model, const struct uw_tensor *tensor)
{
	const struct uw_extent *extent;
	const struct uw_model_part *part = uw_tensor_part(model, tensor, &extent);

	for (uint64_t i = 0; extent->order == UW_ORDER_TILED && i < extent->ngroups; i++) {
		uint8_t coding = part->container.index->groups[extent->first_group + i].coding;

		if (coding == UW_CODING_H || coding == UW_CODING_P4)
			return (enum uw_coding)coding;
	}
	return UW_CODING_RAW;
}

static enum uw_status no_memory(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of matrices");
}

/* Room for one more, at powers of two. */
static void *grow(void *array, size_t n, size_t size)
{
	return (n & (n - 1)) == 0 ? realloc(array, (n == 0 ? 1 : 2 * n) * size) : array;
}

/* ---- shapes ---- */

static struct uw_survey_shape *find(const struct uw_survey *s, enum uw_coding coding, uint64_t nrows, uint64_t ncols)
{
	for (size_t i = 0; i < s->nshapes; i++) {
		if (s->shapes[i].coding == coding && s->shapes[i].nrows == nrows && s->shapes[i].ncols == ncols)
			return &s->shapes[i];
	}
	return NULL;
}

static uint64_t nrows_of(const struct uw_weights *weights)
{
	uint64_t nrows = uw_tensor_grid(weights->tensor).nrows;

	for (unsigned i = 0; i < UW_WEIGHTS_MAX_ALSO && weights->also[i] != NULL; i++)
		nrows += uw_tensor_grid(weights->also[i]).nrows;
	return nrows;
}

static enum uw_status add(struct uw_survey *s, enum uw_coding coding, const struct uw_weights *weights,
			  struct uw_error *err)
{
	uint64_t nrows = nrows_of(weights), ncols = uw_tensor_grid(weights->tensor).ncols;
	struct uw_survey_shape *shape = find(s, coding, nrows, ncols);
	struct uw_weights *list;

	if (shape == NULL) {
		struct uw_survey_shape *shapes = grow(s->shapes, s->nshapes, sizeof(*shapes));

		if (shapes == NULL)
			return no_memory(err);
		s->shapes = shapes;
		shape = &s->shapes[s->nshapes++];
		*shape = (struct uw_survey_shape){ .coding = coding, .nrows = nrows, .ncols = ncols };
	}
	list = grow(shape->weights, shape->n, sizeof(*list));
	if (list == NULL)
		return no_memory(err);
	shape->weights = list;
	shape->weights[shape->n++] = *weights;
	return UW_OK;
}

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

static int compare_shapes(const void *pa, const void *pb)
{
	const struct uw_survey_shape *a = pa, *b = pb;
	int c = compare_u64(a->coding, b->coding);

	c = c != 0 ? c : compare_u64(a->nrows, b->nrows);
	return c != 0 ? c : compare_u64(a->ncols, b->ncols);
}

/* ---- the layer ---- */

static int compare_steps(const void *pa, const void *pb)
{
	const struct uw_tensor *a = ((const struct uw_survey_step *)pa)->weights.tensor;
	const struct uw_tensor *b = ((const struct uw_survey_step *)pb)->weights.tensor;
	int c = compare_u64(a->meaning.role, b->meaning.role);

	return c != 0 ? c : compare_u64((uintptr_t)a, (uintptr_t)b); /* by name: tensors lie in this order */
}

static enum uw_status add_step(struct uw_survey *s, size_t shape, const struct uw_weights *weights,
			       struct uw_error *err)
{
	struct uw_survey_step *steps = grow(s->steps, s->nsteps, sizeof(*steps));

	if (steps == NULL)
		return no_memory(err);
	s->steps = steps;
	s->steps[s->nsteps++] = (struct uw_survey_step){ shape, *weights };
	return UW_OK;
}

static int32_t first_layer(const struct uw_survey *s)
{
	int32_t first = -1;

	for (size_t i = 0; i < s->nshapes; i++) {
		for (size_t k = 0; k < s->shapes[i].n; k++) {
			int32_t layer = s->shapes[i].weights[k].tensor->meaning.layer;

			if (layer >= 0 && (first < 0 || layer < first))
				first = layer;
		}
	}
	return first;
}

static bool is_step(const struct uw_survey *s, const struct uw_survey_shape *shape, size_t k)
{
	const struct uw_weights *w = &shape->weights[k];

	if (s->layer < 0)
		return k == 0;
	return w->tensor->meaning.layer == s->layer && w->tensor->meaning.expert <= 0 && w->expert == 0;
}

static enum uw_status find_layer(struct uw_survey *s, struct uw_error *err)
{
	s->layer = first_layer(s);
	for (size_t i = 0; i < s->nshapes; i++) {
		for (size_t k = 0; k < s->shapes[i].n; k++) {
			enum uw_status status;

			if (!is_step(s, &s->shapes[i], k))
				continue;
			status = add_step(s, i, &s->shapes[i].weights[k], err);
			if (status != UW_OK)
				return status;
		}
	}
	qsort(s->steps, s->nsteps, sizeof(*s->steps), compare_steps);
	return UW_OK;
}

/* ---- matrices that are multiplied by the same x ---- */

#define NO_ROLE ((enum uw_role)UW_NROLES)

/* Those that stand below the first one, if they are beside it in the model. */
static const enum uw_role together[][1 + UW_WEIGHTS_MAX_ALSO] = {
	{ UW_ROLE_Q, UW_ROLE_K, UW_ROLE_V },
	{ UW_ROLE_GATE, UW_ROLE_UP, NO_ROLE },
};

/* Bytes of a name before the matrix's own and ".weight". */
static size_t parent_nbytes(const struct uw_tensor *tensor)
{
	size_t n = tensor->name_nbytes;

	for (unsigned ndots = 0; n > 0; n--) {
		ndots += tensor->name[n - 1] == '.';
		if (ndots == 2)
			break;
	}
	return n;
}

/* The matrix of a role that has the same x as `tensor`, or NULL. */
static const struct uw_tensor *find_beside(const struct uw_model *model, const struct uw_tensor *tensor,
					   enum uw_role role)
{
	size_t n = parent_nbytes(tensor);

	for (size_t i = 0; role != NO_ROLE && i < uw_model_ntensors(model); i++) {
		const struct uw_tensor *t = uw_model_tensor(model, i);

		if (t->meaning.role == role && t->meaning.layer == tensor->meaning.layer && parent_nbytes(t) == n &&
		    memcmp(t->name, tensor->name, n) == 0 && is_multiplied(model, t, true) &&
		    uw_tensor_grid(t).nexperts == 1 && uw_tensor_grid(t).ncols == uw_tensor_grid(tensor).ncols)
			return t;
	}
	return NULL;
}

/* Joins what belongs together. False: it is part of another one, or of experts. */
static bool join(struct uw_weights *weights)
{
	const struct uw_tensor *tensor = weights->tensor;
	unsigned n = 0;

	if (tensor->meaning.expert >= 0 || uw_tensor_grid(tensor).nexperts != 1)
		return false;
	for (size_t i = 0; i < sizeof(together) / sizeof(together[0]); i++) {
		const enum uw_role *roles = together[i];

		for (unsigned k = 1; k <= UW_WEIGHTS_MAX_ALSO; k++) {
			const struct uw_tensor *below = NULL;

			if (tensor->meaning.role == roles[0])
				below = find_beside(weights->model, tensor, roles[k]);
			else if (tensor->meaning.role == roles[k] &&
				 find_beside(weights->model, tensor, roles[0]) != NULL)
				return false;
			if (below != NULL)
				weights->also[n++] = below;
		}
	}
	return true;
}

static enum uw_status add_joined(struct uw_survey *s, const struct uw_model *model, const struct uw_tensor *tensor,
				 struct uw_error *err)
{
	struct uw_weights weights = { .model = model, .tensor = tensor };
	enum uw_coding coding = coding_of(model, tensor);

	if (!join(&weights))
		return UW_OK;
	for (unsigned i = 0; i < UW_WEIGHTS_MAX_ALSO && weights.also[i] != NULL; i++) {
		enum uw_coding other = coding_of(model, weights.also[i]);

		if (other == UW_CODING_H || coding == UW_CODING_RAW)
			coding = other;
	}
	return coding != UW_CODING_RAW ? add(s, coding, &weights, err) : UW_OK;
}

/* ---- all of it ---- */

static bool any_head(const struct uw_model *model)
{
	for (size_t i = 0; i < uw_model_ntensors(model); i++) {
		if (uw_model_tensor(model, i)->meaning.role == UW_ROLE_HEAD)
			return true;
	}
	return false;
}

static enum uw_status add_tensor(struct uw_survey *s, const struct uw_model *model, const struct uw_tensor *tensor,
				 struct uw_error *err)
{
	enum uw_coding coding = coding_of(model, tensor);
	enum uw_status status = UW_OK;

	for (uint64_t e = 0; status == UW_OK && coding != UW_CODING_RAW && e < uw_tensor_grid(tensor).nexperts; e++)
		status = add(s, coding, &(struct uw_weights){ model, tensor, e }, err);
	return status;
}

enum uw_status uw_survey_open(const struct uw_model *model, bool joined, struct uw_survey *survey, struct uw_error *err)
{
	bool has_head = any_head(model);
	enum uw_status status = UW_OK;

	*survey = (struct uw_survey){ 0 };
	for (size_t i = 0; status == UW_OK && i < uw_model_ntensors(model); i++) {
		const struct uw_tensor *tensor = uw_model_tensor(model, i);

		if (is_multiplied(model, tensor, has_head))
			status = (joined ? add_joined : add_tensor)(survey, model, tensor, err);
	}
	if (status == UW_OK && survey->nshapes == 0)
		status = uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "no compressed BF16 matrix to multiply by");
	if (status == UW_OK) {
		qsort(survey->shapes, survey->nshapes, sizeof(*survey->shapes), compare_shapes);
		status = find_layer(survey, err);
	}
	if (status != UW_OK)
		uw_survey_close(survey);
	return status;
}

void uw_survey_close(struct uw_survey *survey)
{
	for (size_t i = 0; i < survey->nshapes; i++)
		free(survey->shapes[i].weights);
	free(survey->shapes);
	free(survey->steps);
	*survey = (struct uw_survey){ 0 };
}

static bool find_again(const struct uw_model *model, struct uw_weights *weights)
{
	bool found = true;

	weights->model = model;
	weights->tensor = uw_model_find(model, weights->tensor->name);
	for (unsigned i = 0; i < UW_WEIGHTS_MAX_ALSO && weights->also[i] != NULL; i++) {
		weights->also[i] = uw_model_find(model, weights->also[i]->name);
		found &= weights->also[i] != NULL;
	}
	return found && weights->tensor != NULL;
}

enum uw_status uw_survey_weights(const struct uw_survey_shape *shape, const struct uw_model *copies, size_t n,
				 struct uw_weights *weights, struct uw_error *err)
{
	for (size_t i = 0; i < n; i++) {
		weights[i] = shape->weights[i % shape->n];
		if (i < shape->n)
			continue;
		if (!find_again(copies, &weights[i]))
			return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "the bundle has changed");
	}
	return UW_OK;
}
