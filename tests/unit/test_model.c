/* SPDX-License-Identifier: Apache-2.0 */
/* Models: finding tensors, and every slice of small ones in every coding against the source. */
#include "model_common.h"

static const struct want wants[] = {
	{ "model.embed_tokens.weight", "BF16", 2, 2, { 67, 130 }, FILL_GAUSSIAN },
	{ "model.layers.0.self_attn.q_proj.weight", "BF16", 2, 2, { 192, 192 }, FILL_GAUSSIAN },
	{ "model.layers.0.mlp.experts.gate_up_proj", "BF16", 2, 3, { 3, 320, 256 }, FILL_GAUSSIAN },
	{ "model.layers.0.mlp.down_proj.weight", "BF16", 2, 2, { 130, 67 }, FILL_RANDOM },
	{ "model.layers.0.mlp.gate.weight", "BF16", 2, 2, { 5, 40 }, FILL_CONSTANT },
	{ "model.layers.0.input_layernorm.weight", "BF16", 2, 1, { 333 }, FILL_GAUSSIAN },
	{ "model.layers.1.mlp.experts.7.w2.weight", "BF16", 2, 2, { 1, 64 }, FILL_GAUSSIAN },
	{ "halves", "F32", 4, 3, { 2, 3, 5 }, FILL_GAUSSIAN },
	{ "scaled", "BF16", 2, 2, { 400, 576 }, FILL_SCALED },
	{ "scalar", "I64", 8, 0, { 0 }, FILL_GAUSSIAN },
	{ "nothing", "BF16", 2, 2, { 0, 7 }, FILL_GAUSSIAN },
};

struct fixture {
	struct source source;
	struct packed packed[2];
	struct uw_model *models[2];
};

static struct fixture fixture;

static int setup(void **state)
{
	use_level(state);
	rng_seed(1);
	fixture.source = make_source(wants, COUNT(wants));
	for (unsigned p = 0; p < 2; p++) {
		fixture.packed[p] = pack(&fixture.source, (enum uw_profile)p);
		fixture.models[p] = open_packed(&fixture.packed[p], NULL);
	}
	return 0;
}

static void scaled_rows_have_an_order(void **state)
{
	struct uw_memory memory = { fixture.packed[0].bytes };
	struct uw_cpu_ops ops;
	struct uw_container container;
	const struct uw_extent *extent;
	const struct uw_group *group;
	struct uw_slice slice;
	struct uw_shape shape;
	struct uw_coded coded;
	struct uw_blob blob;

	uw_cpu_ops_init_c(&ops);
	uw_blob_of_memory(&memory, fixture.packed[0].nbytes, &blob);
	assert_int_equal(uw_container_open(&blob, &ops, &container, NULL), UW_OK);
	extent = uw_index_find(container.index, "scaled", 6);
	group = &container.index->groups[extent->first_group];
	uw_extent_slice(extent, 0, &slice);
	assert_int_equal(uw_shape_tiled(slice.nrows, slice.ncols, &shape), UW_OK);
	assert_int_equal(uw_coded_open(&shape, UW_CODING_H, group->ntables, group->npatches,
				       fixture.packed[0].bytes + group->off, (size_t)group->nbytes, &coded, NULL),
			 UW_OK);
	assert_non_null(coded.row_order); /* or the slices of it would prove nothing */
	uw_container_close(&container);
}

static int teardown(void **state)
{
	for (unsigned p = 0; p < 2; p++) {
		uw_model_close(&fixture.models[p]);
		assert_null(fixture.models[p]);
		free(fixture.packed[p].bytes);
	}
	free(fixture.source.bytes);
	return 0;
}

/* ---- slices ---- */

static void expect_slice(const struct uw_model *model, size_t i, struct uw_tensor_slice s)
{
	const struct want *w = &wants[i];
	const struct uw_tensor *t = uw_model_find(model, w->name);
	uint64_t ncols = w->ndims > 0 ? w->dims[w->ndims - 1] : 1, nrows = w->ndims > 1 ? w->dims[w->ndims - 2] : 1;
	uint64_t width = (s.col_end - s.col_begin) * w->size;
	uint64_t n = (s.expert_end - s.expert_begin) * (s.row_end - s.row_begin) * width, at = 0;
	uint8_t *got = malloc((size_t)n + 3);
	struct uw_error err;

	assert_non_null(got);
	memset(got, 0xA5, (size_t)n + 3);
	assert_int_equal(uw_tensor_slice_nbytes(t, &s), n);
	assert_int_equal(uw_tensor_read(model, t, &s, got + 1, (size_t)n - 1, &err), UW_ERR_SPACE);
	if (uw_tensor_read(model, t, &s, got + 1, (size_t)n, &err) != UW_OK) /* at an odd address */
		fail_msg("%s", err.what);
	for (uint64_t e = s.expert_begin; e < s.expert_end; e++) {
		for (uint64_t r = s.row_begin; r < s.row_end; r++, at += width) {
			const uint8_t *want = fixture.source.bytes + fixture.source.off[i] +
					      ((e * nrows + r) * ncols + s.col_begin) * w->size;

			assert_memory_equal(got + 1 + at, want, width);
		}
	}
	assert_int_equal(got[0], 0xA5);
	assert_int_equal(got[n + 1], 0xA5);
	free(got);
}

static const uint64_t edges[] = { 0, 1, 2, 15, 16, 17, 63, 64, 65, 127, 128, 129, 191, 255, 256 };

/* All cuts of a dimension of n at the edges near which something could go wrong, and at its end. */
static unsigned cuts(uint64_t n, uint64_t begins[], uint64_t ends[])
{
	uint64_t at[COUNT(edges) + 2];
	unsigned nat = 0, ncuts = 0;

	for (unsigned i = 0; i < COUNT(edges) && edges[i] < n; i++)
		at[nat++] = edges[i];
	if (n > 1 && at[nat - 1] != n - 1)
		at[nat++] = n - 1;
	at[nat++] = n;
	for (unsigned i = 0; i < nat; i++) {
		for (unsigned j = i + 1; j < nat; j++, ncuts++) {
			begins[ncuts] = at[i];
			ends[ncuts] = at[j];
		}
	}
	return ncuts;
}

static void every_cut_gives_what_the_source_has(void **state)
{
	static uint64_t rb[200], re[200], cb[200], ce[200];

	for (size_t i = 0; i < COUNT(wants); i++) {
		const struct want *w = &wants[i];
		uint64_t ncols = w->ndims > 0 ? w->dims[w->ndims - 1] : 1,
			 nrows = w->ndims > 1 ? w->dims[w->ndims - 2] : 1;
		uint64_t nexperts = w->ndims > 2 ? w->dims[0] : 1;
		unsigned nr, nc;

		if (nrows == 0)
			continue;
		nr = cuts(nrows, rb, re);
		nc = cuts(ncols, cb, ce);
		for (unsigned r = 0; r < nr; r++) {
			for (unsigned c = r % 7; c < nc; c += 7) { /* each pair of edges, not each pair of pairs */
				uint64_t e = (r + c) % nexperts;

				for (unsigned p = 0; p < 2; p++)
					expect_slice(fixture.models[p], i, (struct uw_tensor_slice){
						e, e + 1 + (r + c) % (nexperts - e), rb[r], re[r], cb[c], ce[c] });
			}
		}
	}
}

static void whole_tensors(void **state)
{
	for (unsigned p = 0; p < 2; p++) {
		for (size_t i = 0; i < COUNT(wants); i++) {
			const struct uw_tensor *t = uw_model_find(fixture.models[p], wants[i].name);
			uint8_t *got = malloc((size_t)t->nbytes + 1);

			assert_int_equal(uw_tensor_read(fixture.models[p], t, NULL, got, (size_t)t->nbytes, NULL),
					 UW_OK);
			assert_memory_equal(got, fixture.source.bytes + fixture.source.off[i], t->nbytes);
			free(got);
		}
	}
}

static void bad_slices_are_refused(void **state)
{
	const struct uw_model *m = fixture.models[0];
	const struct uw_tensor *t = uw_model_find(m, wants[0].name);
	static const struct uw_tensor_slice bad[] = {
		{ 0, 2, 0, 0, 0, 0 }, { 1, 1, 0, 0, 0, 0 }, { 0, 0, 0, 68, 0, 0 }, { 0, 0, 67, 0, 0, 0 },
		{ 0, 0, 5, 5, 0, 0 }, { 0, 0, 6, 5, 0, 0 }, { 0, 0, 0, 0, 130, 131 }, { 0, 0, 0, 0, 0, UINT64_MAX },
	};
	uint8_t dst[16];

	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(uw_tensor_slice_nbytes(t, &bad[i]), 0);
		assert_int_equal(uw_tensor_read(m, t, &bad[i], dst, sizeof(dst), NULL), UW_ERR_SHAPE);
	}
}

/* ---- reading instead of mapping ---- */

static enum uw_status read_packed(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	const struct packed *packed = ctx;

	memcpy(dst, packed->bytes + off, nbytes);
	return UW_OK;
}

struct counts {
	unsigned allocs, frees;
	size_t bytes;
	uint64_t progress;
	unsigned asked, stop_at;
};

static void *count_alloc(void *ctx, size_t nbytes, size_t align)
{
	struct counts *counts = ctx;
	void *p;

	counts->allocs++;
	counts->bytes += nbytes;
	return posix_memalign(&p, align, nbytes) == 0 ? p : NULL;
}

static void count_free(void *ctx, void *memory, size_t nbytes)
{
	struct counts *counts = ctx;

	counts->frees++;
	counts->bytes -= nbytes;
	free(memory);
}

static bool stop(void *ctx)
{
	struct counts *counts = ctx;

	return ++counts->asked == counts->stop_at;
}

static void advance(void *ctx, uint64_t nbytes)
{
	((struct counts *)ctx)->progress += nbytes;
}

static void callbacks(void **state)
{
	struct counts counts = { 0 };
	struct uw_allocator allocator = { count_alloc, count_free, &counts };
	struct uw_model_options options = {
		.flags = UW_MODEL_CHECK,
		.allocator = &allocator,
		.cancelled = stop,
		.progress = advance,
		.ctx = &counts,
	};
	struct uw_model *model;
	const struct uw_tensor *t;
	uint8_t *dst;

	assert_int_equal(uw_model_open_pread(read_packed, &fixture.packed[0], fixture.packed[0].nbytes, &options,
					     &model, NULL),
			 UW_OK);
	assert_false(uw_model_is_mapped(model));
	assert_true(uw_model_is_mapped(fixture.models[0]));
	t = uw_model_find(model, wants[2].name);
	dst = malloc((size_t)t->nbytes);
	assert_int_equal(uw_tensor_read(model, t, NULL, dst, (size_t)t->nbytes, NULL), UW_OK);
	assert_memory_equal(dst, fixture.source.bytes + fixture.source.off[2], t->nbytes);
	assert_int_equal(counts.progress, t->nbytes);
	assert_true(counts.allocs >= 3);
	assert_int_equal(counts.frees, counts.allocs);
	assert_int_equal(counts.bytes, 0);
	counts.stop_at = counts.asked + 2;
	assert_int_equal(uw_tensor_read(model, t, NULL, dst, (size_t)t->nbytes, NULL), UW_ERR_CANCELLED);
	assert_int_equal(counts.bytes, 0);
	free(dst);
	uw_model_close(&model);
}

static void damage_is_found(void **state)
{
	struct packed bad = { .nbytes = fixture.packed[1].nbytes };
	struct uw_model_options check = { .flags = UW_MODEL_CHECK };
	struct uw_model *model;
	const struct uw_tensor *t;
	struct uw_error err;
	uint8_t *dst;

	assert_int_equal(posix_memalign((void **)&bad.bytes, 64, bad.nbytes), 0);
	memcpy(bad.bytes, fixture.packed[1].bytes, bad.nbytes);
	model = open_packed(&bad, &check);
	t = uw_model_find(model, wants[1].name);
	dst = malloc((size_t)t->nbytes);
	assert_int_equal(uw_tensor_read(model, t, NULL, dst, (size_t)t->nbytes, NULL), UW_OK);
	for (size_t i = 64; i < bad.nbytes / 2; i++)
		bad.bytes[i] ^= 1;
	assert_int_equal(uw_tensor_read(model, t, NULL, dst, (size_t)t->nbytes, &err), UW_ERR_CHECKSUM);
	assert_non_null(strstr(err.what, wants[1].name));
	uw_model_close(&model);
	bad.bytes[bad.nbytes - 100] ^= 1;
	assert_int_equal(uw_model_open_memory(bad.bytes, bad.nbytes, NULL, &model, NULL), UW_ERR_CHECKSUM);
	assert_null(model);
	assert_int_equal(uw_model_open_memory(bad.bytes, bad.nbytes - 64, NULL, &model, NULL), UW_ERR_TRUNCATED);
	assert_int_equal(uw_model_open_memory(bad.bytes + 1, bad.nbytes - 64, NULL, &model, NULL), UW_ERR_ARG);
	free(bad.bytes);
	free(dst);
}

/* ---- finding ---- */

static void tensors_are_found(void **state)
{
	static const char *const names[] = { "scalar", "gone", "halves", "model.gone.weight" };
	const struct uw_model *m = fixture.models[1];
	const struct uw_tensor *found[4];
	struct uw_error err;
	size_t i = 0;

	assert_int_equal(uw_model_ntensors(m), COUNT(wants));
	for (size_t k = 1; k < COUNT(wants); k++)
		assert_true(strcmp(uw_model_tensor(m, k - 1)->name, uw_model_tensor(m, k)->name) < 0);
	assert_null(uw_model_tensor(m, COUNT(wants)));
	assert_null(uw_model_find(m, ""));
	assert_null(uw_model_find(m, "scala"));
	assert_int_equal(uw_model_find(m, "scalar")->ndims, 0);
	assert_int_equal(uw_model_find_all(m, names, 4, found, &err), UW_ERR_NOT_FOUND);
	assert_non_null(strstr(err.what, "2 tensors are missing: gone, model.gone.weight"));
	assert_non_null(found[0]);
	assert_null(found[1]);
	assert_string_equal(uw_model_glob(m, "*.0.*proj*", &i)->name, "model.layers.0.mlp.down_proj.weight");
	assert_string_equal(uw_model_glob(m, "*.0.*proj*", &i)->name, "model.layers.0.mlp.experts.gate_up_proj");
	assert_string_equal(uw_model_glob(m, "*.0.*proj*", &i)->name, "model.layers.0.self_attn.q_proj.weight");
	assert_null(uw_model_glob(m, "*.0.*proj*", &i));
}

static void roles(void **state)
{
	static const struct uw_role_rule rules[] = { { "halv?s", UW_ROLE_HEAD }, { "*.down_proj.*", UW_ROLE_OTHER } };
	struct uw_model_options options = { .rules = rules, .nrules = 2 };
	static const struct uw_name_meaning meanings[] = {
		{ UW_ROLE_DOWN, 1, 7 }, { UW_ROLE_OTHER, -1, -1 }, { UW_ROLE_HEAD, -1, -1 }, { UW_ROLE_DOWN, 1, 6 },
	};
	const struct uw_model *m = fixture.models[1];
	const struct uw_tensor *found[COUNT(meanings)];
	struct uw_error err;
	struct uw_model *ruled = open_packed(&fixture.packed[1], &options);

	assert_string_equal(uw_model_role(m, UW_ROLE_EMBEDDING, -1, -1)->name, "model.embed_tokens.weight");
	assert_string_equal(uw_model_role(m, UW_ROLE_Q, 0, -1)->name, "model.layers.0.self_attn.q_proj.weight");
	assert_string_equal(uw_model_role(m, UW_ROLE_GATE_UP, 0, -1)->name, "model.layers.0.mlp.experts.gate_up_proj");
	assert_string_equal(uw_model_role(m, UW_ROLE_DOWN, 1, 7)->name, "model.layers.1.mlp.experts.7.w2.weight");
	assert_string_equal(uw_model_role(m, UW_ROLE_ROUTER, 0, -1)->name, "model.layers.0.mlp.gate.weight");
	assert_string_equal(uw_model_role(m, UW_ROLE_NORM, 0, -1)->name, "model.layers.0.input_layernorm.weight");
	assert_null(uw_model_role(m, UW_ROLE_OTHER, -1, -1)); /* there are several */
	assert_null(uw_model_role(m, UW_ROLE_HEAD, -1, -1));
	assert_string_equal(uw_model_role(ruled, UW_ROLE_HEAD, -1, -1)->name, "halves");
	assert_null(uw_model_role(ruled, UW_ROLE_DOWN, 0, -1));
	assert_int_equal(uw_model_check_roles(ruled, NULL), UW_OK); /* none is large */
	assert_int_equal(uw_model_find_roles(m, meanings, COUNT(meanings), found, &err), UW_ERR_NOT_FOUND);
	assert_non_null(strstr(err.what, "3 tensors are missing: other (several), head, down of layer 1 of expert 6"));
	assert_string_equal(found[0]->name, "model.layers.1.mlp.experts.7.w2.weight");
	assert_null(found[1]);
	assert_int_equal(uw_model_find_roles(m, meanings, 1, found, &err), UW_OK);
	assert_string_equal(uw_role_name(UW_ROLE_GATE_UP), "gate_up");
	assert_null(uw_role_name((enum uw_role)UW_NROLES));
	uw_model_close(&ruled);
}

/* Whether `glob` finds the tensor named `name`, which is one of `wants`. */
static bool finds(const char *glob, const char *name)
{
	const struct uw_tensor *t;
	size_t i = 0;

	while ((t = uw_model_glob(fixture.models[0], glob, &i)) != NULL) {
		if (strcmp(t->name, name) == 0)
			return true;
	}
	return false;
}

static void globs(void **state)
{
	static const struct {
		const char *glob;
		bool matches;
	} cases[] = {
		{ "halves", true },        { "*", true },           { "h*", true },       { "*s", true },
		{ "h*l*s", true },         { "**s", true },         { "halve?", true },   { "halve[s]", true },
		{ "halve[a-z]", true },    { "halve[!a-r]", true }, { "?alves*", true },  { "h*ves", true },
		{ "*h*a*l*v*e*s*", true }, { "halve[]s]", true },   { "[h]alves", true }, { "", false },
		{ "halve", false },        { "halvess", false },    { "?halves", false }, { "halve[a-r]", false },
		{ "halve[!s]", false },    { "halve[s", false },    { "h*x", false },     { "*?halves", false },
		{ "halves?", false },      { "halve[t-z]", false }, { "HALVES", false },  { "halve\\s", false },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		if (finds(cases[i].glob, "halves") != cases[i].matches)
			fail_msg("%s", cases[i].glob);
	}
}

/* Rows farther apart than they are wide; nothing between them is touched. */
static void rows_may_be_apart(void **state)
{
	static const struct uw_tensor_slice slice = { 0, 0, 3, 66, 5, 129 };
	const size_t width = 124 * 2, stride = width + 9, room = 62 * stride + width;
	uint8_t *dst = malloc(room + 9);

	for (unsigned p = 0; p < 2; p++) {
		const struct uw_model *m = fixture.models[p];
		const struct uw_tensor *t = uw_model_find(m, wants[0].name);

		memset(dst, 0xA5, room + 9);
		assert_int_equal(uw_tensor_read_rows(m, t, &slice, dst, room - 1, stride, NULL), UW_ERR_SPACE);
		assert_int_equal(uw_tensor_read_rows(m, t, &slice, dst, room, width - 1, NULL), UW_ERR_ARG);
		assert_int_equal(uw_tensor_read_rows(m, t, &slice, dst, room, SIZE_MAX, NULL), UW_ERR_ARG);
		assert_int_equal(uw_tensor_read_rows(m, t, &slice, dst, room, stride, NULL), UW_OK);
		for (size_t r = 0; r < 63; r++) {
			assert_memory_equal(dst + r * stride,
					    fixture.source.bytes + fixture.source.off[0] + ((r + 3) * 130 + 5) * 2,
					    width);
			for (size_t i = width; i < stride; i++)
				assert_int_equal(dst[r * stride + i], 0xA5);
		}
		/* whole, but not as the tensor lies */
		free(dst);
		dst = malloc(67 * 300);
		assert_int_equal(uw_tensor_read_rows(m, t, NULL, dst, 67 * 300, 300, NULL), UW_OK);
		for (size_t r = 0; r < 67; r++)
			assert_memory_equal(dst + r * 300, fixture.source.bytes + fixture.source.off[0] + r * 260, 260);
	}
	free(dst);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scaled_rows_have_an_order),
		cmocka_unit_test(every_cut_gives_what_the_source_has),
		cmocka_unit_test(whole_tensors),
		cmocka_unit_test(bad_slices_are_refused),
		cmocka_unit_test(callbacks),
		cmocka_unit_test(damage_is_found),
		cmocka_unit_test(tensors_are_found),
		cmocka_unit_test(roles),
		cmocka_unit_test(globs),
		cmocka_unit_test(rows_may_be_apart),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
