/* SPDX-License-Identifier: Apache-2.0 */
/* Codings H and P4 of all groups, as the container cuts them; its records (some 64 bytes a group) are not counted. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_codec.h"

struct group {
	struct uw_shape shape;
	size_t first;
	uint8_t *stored;
	size_t nbytes, room;
	struct uw_coded coded;
};

struct ours {
	const struct bench_data *data;
	struct uw_cpu_ops ops;
	enum uw_coding coding;
	unsigned ngroups;
	struct group *groups;
	void *scratch;
	struct uw_plan plan;
};

static void must(enum uw_status status)
{
	if (status != UW_OK)
		bench_die(uw_status_text(status));
}

/* SPEC.md section 3: whole row blocks of 64 rows, at most 2^23 weights. */
static uint64_t rows_of_group(uint64_t ncols)
{
	uint64_t padded = (ncols + 63) / 64 * 64;

	return 64 * (padded < 98304 ? 98304 / padded : 1);
}

static void cut(struct ours *o)
{
	size_t scratch = 0;

	for (unsigned m = 0; m < o->data->nmatrices; m++) {
		uint64_t rows = rows_of_group(o->data->matrices[m].ncols);

		o->ngroups += (unsigned)((o->data->matrices[m].nrows + rows - 1) / rows);
	}
	o->groups = bench_need(o->ngroups * sizeof(*o->groups));
	o->ngroups = 0;
	for (unsigned m = 0; m < o->data->nmatrices; m++) {
		const struct bench_matrix *matrix = &o->data->matrices[m];
		uint64_t rows = rows_of_group(matrix->ncols);

		for (uint64_t r = 0; r < matrix->nrows; r += rows) {
			struct group *g = &o->groups[o->ngroups++];
			uint64_t left = matrix->nrows - r;
			size_t need;

			must(uw_shape_tiled(left < rows ? left : rows, matrix->ncols, &g->shape));
			g->first = matrix->first + (size_t)(r * matrix->ncols);
			need = uw_codec_scratch_nbytes(&g->shape);
			scratch = need > scratch ? need : scratch;
		}
	}
	o->scratch = bench_need(scratch);
}

static size_t encode(void *ctx)
{
	struct ours *o = ctx;
	size_t total = 0;

	for (unsigned i = 0; i < o->ngroups; i++) {
		struct group *g = &o->groups[i];

		must(uw_codec_plan(&o->ops, &g->shape, o->data->weights + g->first, o->coding, o->scratch,
				   &o->plan));
		g->nbytes = (size_t)uw_codec_encoded_nbytes(&g->shape, &o->plan, o->coding);
		if (g->nbytes > g->room) {
			free(g->stored);
			g->stored = bench_need(g->nbytes);
			g->room = g->nbytes;
		}
		must(uw_codec_encode(&o->ops, &g->shape, &o->plan, o->coding, o->scratch, g->stored, g->room));
		must(uw_coded_open(&g->shape, o->coding, o->plan.ntables, (uint32_t)o->plan.nescapes, g->stored,
				   g->nbytes, &g->coded, NULL));
		total += g->nbytes;
	}
	return total;
}

static void decode(void *ctx)
{
	struct ours *o = ctx;

	for (unsigned i = 0; i < o->ngroups; i++) {
		const struct group *g = &o->groups[i];

		must(uw_coded_decode(&o->ops, &g->coded, UW_STORE_STREAM, o->data->back + g->first, NULL));
	}
}

static void close_ours(void *ctx)
{
	struct ours *o = ctx;

	for (unsigned i = 0; i < o->ngroups; i++)
		free(o->groups[i].stored);
	free(o->groups);
	free(o->scratch);
	free(o);
}

static struct bench_method make(const struct bench_data *data, const struct uw_cpu_ops *ops, const char *level,
				enum uw_coding coding)
{
	struct bench_method m = { .encode = encode, .decode = decode, .close = close_ours };
	struct ours *o = bench_need(sizeof(*o));

	*o = (struct ours){ .data = data, .ops = *ops, .coding = coding };
	cut(o);
	snprintf(m.name, sizeof(m.name), "%s %s", coding == UW_CODING_H ? "H" : "P4", level);
	m.ctx = o;
	return m;
}

unsigned bench_methods_ours(const struct bench_data *data, struct bench_method *m)
{
	static const char *const levels[] = { "c", "sse42", "avx2", "avx512" };
	struct uw_cpu_ops below = { 0 }, ops;
	unsigned n = 0;

	for (unsigned i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		uint32_t mask = 0;

		if (!uw_cpu_level_mask(levels[i], &mask) || (mask & ~uw_cpu_flags()) != 0)
			break;
		uw_cpu_ops_init(&ops, mask);
		if (memcmp(&ops, &below, sizeof(ops)) == 0)
			continue;
		below = ops;
		m[n++] = make(data, &ops, levels[i], UW_CODING_H);
		m[n++] = make(data, &ops, levels[i], UW_CODING_P4);
	}
	return n;
}
