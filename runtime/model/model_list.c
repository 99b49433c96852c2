/* SPDX-License-Identifier: Apache-2.0 */
/* The list of a model's tensors, and finding in it. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "glob.h"
#include "model_private.h"

#define LARGE_WEIGHTS 1000000u /* a matrix that nobody wants to miss */

/* ---- making the list ---- */

static uint64_t stored_nbytes(const struct uw_place *place)
{
	const struct uw_group *groups = place->part->container.index->groups + place->extent->first_group;
	uint64_t n = 0;

	for (uint64_t i = 0; i < place->extent->ngroups; i++)
		n += groups[i].nbytes;
	return n;
}

static void classify(const struct uw_model *m, struct uw_tensor *t)
{
	t->meaning = uw_name_meaning(t->name, t->name_nbytes);
	for (size_t i = 0; i < m->options.nrules; i++) {
		if (uw_glob_matches(m->options.rules[i].glob, t->name, t->name_nbytes)) {
			t->meaning.role = m->options.rules[i].role;
			return;
		}
	}
}

static void describe(const struct uw_model *m, const struct uw_place *place, char *name, struct uw_tensor *t)
{
	const struct uw_extent *extent = place->extent;

	memcpy(name, extent->name, extent->name_nbytes);
	name[extent->name_nbytes] = '\0';
	*t = (struct uw_tensor){
		.name = name,
		.name_nbytes = extent->name_nbytes,
		.dtype = extent->dtype,
		.ndims = extent->ndims,
		.dims = extent->dims,
		.nbytes = extent->src_nbytes,
		.stored_nbytes = stored_nbytes(place),
		.file = place->part->path,
	};
	classify(m, t);
}

static int compare_names(const char *a, size_t na, const char *b, size_t nb)
{
	size_t n = na < nb ? na : nb;
	int c = n != 0 ? memcmp(a, b, n) : 0;

	return c != 0 ? c : (na > nb) - (na < nb);
}

static int compare_places(const void *a, const void *b)
{
	const struct uw_extent *x = ((const struct uw_place *)a)->extent, *y = ((const struct uw_place *)b)->extent;

	return compare_names(x->name, x->name_nbytes, y->name, y->name_nbytes);
}

static int compare_meanings(const struct uw_name_meaning *x, const struct uw_name_meaning *y)
{
	if (x->role != y->role)
		return x->role < y->role ? -1 : 1;
	if (x->layer != y->layer)
		return x->layer < y->layer ? -1 : 1;
	return (x->expert > y->expert) - (x->expert < y->expert);
}

/* Tensors of one meaning keep the order of their names. */
static int compare_roles(const void *a, const void *b)
{
	const struct uw_tensor *x = *(const struct uw_tensor *const *)a, *y = *(const struct uw_tensor *const *)b;
	int c = compare_meanings(&x->meaning, &y->meaning);

	return c != 0 ? c : (x > y) - (x < y);
}

/* Every tensor of every container; with NULL only counts them and the bytes of their names. */
static void collect(const struct uw_model *m, struct uw_place *places, size_t *n, size_t *names_nbytes)
{
	*n = *names_nbytes = 0;
	for (size_t p = 0; p < m->nparts; p++) {
		const struct uw_index *index = m->parts[p].container.index;

		for (uint64_t i = 0; i < index->nextents; i++) {
			if (index->extents[i].kind != UW_EXTENT_TENSOR)
				continue;
			if (places != NULL)
				places[*n] = (struct uw_place){ &m->parts[p], &index->extents[i] };
			++*n;
			*names_nbytes += index->extents[i].name_nbytes + 1u;
		}
	}
}

enum uw_status uw_model_list(struct uw_model *m, struct uw_error *err)
{
	size_t names_nbytes;
	char *name;

	collect(m, NULL, &m->ntensors, &names_nbytes);
	m->places = calloc(m->ntensors + 1, sizeof(*m->places));
	m->tensors = calloc(m->ntensors + 1, sizeof(*m->tensors));
	m->by_role = calloc(m->ntensors + 1, sizeof(*m->by_role));
	m->names = name = malloc(names_nbytes + 1);
	if (m->places == NULL || m->tensors == NULL || m->by_role == NULL || m->names == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of tensors");
	collect(m, m->places, &m->ntensors, &names_nbytes);
	qsort(m->places, m->ntensors, sizeof(*m->places), compare_places);
	for (size_t i = 0; i < m->ntensors; i++) {
		if (i > 0 && compare_places(&m->places[i - 1], &m->places[i]) == 0)
			return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "'%s' and '%s' both have a tensor '%s'",
				       m->places[i - 1].part->path, m->places[i].part->path, m->tensors[i - 1].name);
		describe(m, &m->places[i], name, &m->tensors[i]);
		name += m->tensors[i].name_nbytes + 1;
		m->by_role[i] = &m->tensors[i];
	}
	qsort(m->by_role, m->ntensors, sizeof(*m->by_role), compare_roles);
	return UW_OK;
}

/* ---- finding ---- */

size_t uw_model_ntensors(const struct uw_model *model)
{
	return model->ntensors;
}

const struct uw_tensor *uw_model_tensor(const struct uw_model *model, size_t i)
{
	return i < model->ntensors ? &model->tensors[i] : NULL;
}

const struct uw_tensor *uw_model_find(const struct uw_model *model, const char *name)
{
	size_t begin = 0, end = model->ntensors, n = strlen(name);

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;
		const struct uw_tensor *t = &model->tensors[middle];
		int c = compare_names(t->name, t->name_nbytes, name, n);

		if (c == 0)
			return t;
		if (c < 0)
			begin = middle + 1;
		else
			end = middle;
	}
	return NULL;
}

const struct uw_tensor *uw_model_glob(const struct uw_model *model, const char *glob, size_t *i)
{
	while (*i < model->ntensors) {
		const struct uw_tensor *t = &model->tensors[(*i)++];

		if (uw_glob_matches(glob, t->name, t->name_nbytes))
			return t;
	}
	return NULL;
}

/* How many tensors have the meaning, 2 for more; the first of them in m->by_role. */
static size_t find_role(const struct uw_model *m, const struct uw_name_meaning *meaning, size_t *first)
{
	size_t begin = 0, end = m->ntensors, n = 0;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (compare_meanings(&m->by_role[middle]->meaning, meaning) < 0)
			begin = middle + 1;
		else
			end = middle;
	}
	*first = begin;
	while (begin + n < m->ntensors && n < 2 && compare_meanings(&m->by_role[begin + n]->meaning, meaning) == 0)
		n++;
	return n;
}

const struct uw_tensor *uw_model_role(const struct uw_model *model, enum uw_role role, int32_t layer, int32_t expert)
{
	struct uw_name_meaning meaning = { role, layer, expert };
	size_t first;

	return find_role(model, &meaning, &first) == 1 ? model->by_role[first] : NULL;
}

/* A list of names for an error: as many as fit, then how many there are. */
struct missing {
	char text[160];
	size_t used, n;
};

static void add_missing(struct missing *missing, const char *name)
{
	size_t n = strlen(name);

	missing->n++;
	if (missing->used + n + 3 >= sizeof(missing->text))
		return;
	missing->used += (size_t)snprintf(missing->text + missing->used, sizeof(missing->text) - missing->used, "%s%s",
					  missing->used != 0 ? ", " : "", name);
}

enum uw_status uw_model_find_all(const struct uw_model *model, const char *const *names, size_t n,
				 const struct uw_tensor **tensors, struct uw_error *err)
{
	struct missing missing = { .n = 0 };

	for (size_t i = 0; i < n; i++) {
		tensors[i] = uw_model_find(model, names[i]);
		if (tensors[i] == NULL)
			add_missing(&missing, names[i]);
	}
	if (missing.n == 0)
		return UW_OK;
	return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "%zu tensors are missing: %s", missing.n, missing.text);
}

/* "gate of layer 3 of expert 5" */
static void describe_meaning(const struct uw_name_meaning *meaning, const char *how, char text[96])
{
	const char *role = uw_role_name(meaning->role);
	int n = snprintf(text, 96, "%s%s", role != NULL ? role : "no role", how);

	if (meaning->layer >= 0)
		n += snprintf(text + n, 96 - (size_t)n, " of layer %" PRId32, meaning->layer);
	if (meaning->expert >= 0)
		snprintf(text + n, 96 - (size_t)n, " of expert %" PRId32, meaning->expert);
}

enum uw_status uw_model_find_roles(const struct uw_model *model, const struct uw_name_meaning *meanings, size_t n,
				   const struct uw_tensor **tensors, struct uw_error *err)
{
	struct missing missing = { .n = 0 };

	for (size_t i = 0; i < n; i++) {
		size_t first, found = find_role(model, &meanings[i], &first);
		char text[96];

		tensors[i] = found == 1 ? model->by_role[first] : NULL;
		if (found == 1)
			continue;
		describe_meaning(&meanings[i], found == 0 ? "" : " (several)", text);
		add_missing(&missing, text);
	}
	if (missing.n == 0)
		return UW_OK;
	return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "%zu tensors are missing: %s", missing.n, missing.text);
}

enum uw_status uw_model_check_roles(const struct uw_model *model, struct uw_error *err)
{
	struct missing missing = { .n = 0 };

	for (size_t i = 0; i < model->ntensors; i++) {
		const struct uw_tensor *t = &model->tensors[i];

		if (t->meaning.role == UW_ROLE_OTHER && t->ndims >= 2 && t->dtype == UW_DTYPE_BF16 &&
		    t->nbytes / sizeof(uint16_t) >= LARGE_WEIGHTS)
			add_missing(&missing, t->name);
	}
	if (missing.n == 0)
		return UW_OK;
	return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "%zu large matrices of no known role: %s", missing.n,
		       missing.text);
}

/* ---- for the rest of the library ---- */

const struct uw_model_part *uw_tensor_part(const struct uw_model *model, const struct uw_tensor *tensor,
					   const struct uw_extent **extent)
{
	const struct uw_place *place = &model->places[tensor - model->tensors];

	*extent = place->extent;
	return place->part;
}
