/* SPDX-License-Identifier: Apache-2.0 */
/* The views of a scan report: their numbers, and that names of a hostile model stay text. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "scan_report.h"
#include "scan_view.h"

static const char hostile[] = "</script><img src=\"x\" onerror='alert(1)'>&amp;\x1B[31m\xE2\x80\xAE<!--.\0end";
static const uint64_t dims[] = {64, 16};
static const uint64_t huge_dims[] = {0, UINT64_MAX};

/* Two matrices, an I32 tensor, an empty one, a header, an opaque file; 100 times the second matrix if `many` asks for
 * it. */
static struct uw_scan_report *make_report(uint64_t many)
{
	struct uw_scan_report *r = calloc(1, sizeof(*r));
	uint64_t n = 5 + many;

	r->model = "/models/<b>&\"tiny\x01\xFF";
	r->nfiles = 3;
	r->files = calloc(3, sizeof(*r->files));
	r->files[0] = (struct uw_scan_file){"a.safetensors", 10000, {7000, 8000}, true, NULL};
	r->files[1] = (struct uw_scan_file){"x<i>.bin", 500, {400, 500}, true, "contains <pickle> & \"more\""};
	r->files[2] = (struct uw_scan_file){"config.json", 100, {100, 100}, false, NULL};
	r->manifest_nbytes[0] = r->manifest_nbytes[1] = 50;
	r->tensors = calloc(n, sizeof(*r->tensors));
	r->ntensors = n;
	for (uint64_t i = 0; i < n; i++) {
		struct uw_scan_tensor *t = &r->tensors[i];

		t->file = i == 4 ? r->files[1].path : r->files[0].path;
		t->extent = (struct uw_extent){.kind = UW_EXTENT_TENSOR, .dtype = UW_DTYPE_BF16, .order = 2,
					       .dims = dims, .ndims = 2,
					       .src_nbytes = 2048, .name = hostile, .name_nbytes = sizeof(hostile) - 1};
		t->counts[120] = 512;
		t->counts[121] = 512;
		t->profile[0].nbytes = 1200;
		t->profile[1].nbytes = 2048;
		t->profile[0].nescapes = 3;
		t->profile[0].groups[2] = t->profile[1].groups[0] = 1;
		t->profile[0].src_nbytes[2] = t->profile[1].src_nbytes[0] = 2048;
	}
	r->tensors[1].extent.name = "model.layers.3.mlp.down_proj.weight";
	r->tensors[1].extent.name_nbytes = (uint32_t)strlen(r->tensors[1].extent.name);
	r->tensors[2].extent = (struct uw_extent){.kind = UW_EXTENT_TENSOR, .dtype = UW_DTYPE_I32, .dims = dims,
						  .ndims = 2, .src_nbytes = 4096, .name = "packed", .name_nbytes = 6};
	r->tensors[3].extent = (struct uw_extent){.kind = UW_EXTENT_TENSOR, .dtype = UW_DTYPE_F32, .dims = huge_dims,
						  .ndims = 2, .name = NULL};
	r->tensors[4].extent = (struct uw_extent){.kind = UW_EXTENT_OPAQUE, .src_nbytes = 500};
	for (int i = 2; i < 5; i++) {
		memset(r->tensors[i].counts, 0, sizeof(r->tensors[i].counts));
		r->tensors[i].profile[0].nbytes = r->tensors[i].profile[1].nbytes = r->tensors[i].extent.src_nbytes;
	}
	return r;
}

static void free_report(struct uw_scan_report *r)
{
	free(r->files);
	free(r->tensors);
	free(r);
}

static char *written(int (*write)(const struct uw_scan_report *, FILE *), const struct uw_scan_report *r, size_t *n)
{
	char *text = NULL;
	FILE *f = open_memstream(&text, n);

	assert_non_null(f);
	assert_int_equal(write(r, f), 0);
	assert_int_equal(fclose(f), 0);
	assert_int_equal(strlen(text), *n);
	return text;
}

/* ---- numbers ------------------------------------------------------------------------------ */

static void test_stats(void **state)
{
	uint64_t counts[256] = {0};
	struct uw_scan_stats s;

	(void)state;
	uw_scan_stats_of(counts, &s);
	assert_true(s.entropy == 0 && s.top16 == 0 && s.nexponents == 0);
	counts[255] = UINT64_C(1) << 40;
	uw_scan_stats_of(counts, &s);
	assert_true(s.entropy == 0 && s.top16 == 1 && s.nexponents == 1);
	counts[0] = UINT64_C(1) << 40;
	uw_scan_stats_of(counts, &s);
	assert_float_equal(s.entropy, 1, 1e-12);
	for (int i = 0; i < 256; i++)
		counts[i] = 7;
	uw_scan_stats_of(counts, &s);
	assert_float_equal(s.entropy, 8, 1e-12);
	assert_float_equal(s.top16, 1.0 / 16, 1e-12);
	assert_float_equal(s.nexponents, 256, 0);
	memset(counts, 0, sizeof(counts));
	counts[10] = 2;
	counts[20] = counts[30] = 1;
	uw_scan_stats_of(counts, &s);
	assert_float_equal(s.entropy, 1.5, 1e-12);
}

static void test_totals(void **state)
{
	struct uw_scan_report *r = make_report(0);
	struct uw_scan_totals t;

	(void)state;
	uw_scan_totals_of(r, &t);
	assert_int_equal(t.all.src_nbytes, 10600);
	assert_int_equal(t.all.nbytes[0], 7550);
	assert_int_equal(t.dtype[UW_DTYPE_BF16].src_nbytes, 4096);
	assert_int_equal(t.dtype[UW_DTYPE_BF16].nbytes[0], 2400);
	assert_int_equal(t.rest.src_nbytes, 10600 - 4096 - 4096 - 500);
	assert_int_equal(t.nweights, 2048);
	assert_float_equal(t.src.sign_mantissa, 2048, 0);
	assert_float_equal(t.src.exponent, 256, 1e-9); /* 1 bit of 2048 weights */
	assert_float_equal(t.src.overhead, 2048 - 256, 1e-9);
	assert_float_equal(t.profile[0].overhead, 2400 - 2048 - 256, 1e-9);
	free_report(r);
}

static void test_roles(void **state)
{
	static const struct {
		const char *name;
		enum uw_role role;
		int layer;
	} cases[] = {
		{"model.layers.12.mlp.down_proj.weight", UW_ROLE_DOWN, 12},
		{"model.layers.0.self_attn.q_proj.weight", UW_ROLE_Q, 0},
		{"model.language_model.layers.7.self_attn.o_proj.weight", UW_ROLE_O, 7},
		{"layers.3.feed_forward.w1.weight", UW_ROLE_GATE, 3},
		{"layers.3.feed_forward.w2.weight", UW_ROLE_DOWN, 3},
		{"layers.3.attention.wk.weight", UW_ROLE_K, 3},
		{"model.layers.5.block_sparse_moe.experts.6.w3.weight", UW_ROLE_UP, 5},
		{"model.layers.5.block_sparse_moe.gate.weight", UW_ROLE_OTHER, 5},
		{"model.layers.61.mlp.experts.255.gate_proj.weight", UW_ROLE_GATE, 61},
		{"model.layers.4.mlp.experts.gate_up_proj", UW_ROLE_GATE_UP, 4},
		{"model.layers.4.mlp.gate.weight", UW_ROLE_OTHER, 4}, /* the router */
		{"model.layers.4.self_attn.gate_proj.weight", UW_ROLE_OTHER, 4},
		{"model.layers.4.mlp.experts.1.up_proj.weight_scale", UW_ROLE_SCALE, 4},
		{"model.layers.4.mlp.experts.1.up_proj.weight_packed", UW_ROLE_OTHER, 4},
		{"model.layers.4.mlp.up_proj.bias", UW_ROLE_OTHER, 4},
		{"model.layers.4.self_attn.kv_a_proj_with_mqa.weight", UW_ROLE_KV, 4},
		{"h.2.attn.c_proj.weight", UW_ROLE_O, 2},
		{"h.2.mlp.c_proj.weight", UW_ROLE_DOWN, 2},
		{"visual.blocks.9.attn.q_proj.weight", UW_ROLE_OTHER, 9},
		{"model.embed_tokens.weight", UW_ROLE_OTHER, -1},
		{"model.layers.99999999.mlp.up_proj.weight", UW_ROLE_UP, -1},
		{"layers", UW_ROLE_OTHER, -1},
		{"weight", UW_ROLE_OTHER, -1},
		{"...", UW_ROLE_OTHER, -1},
		{"", UW_ROLE_OTHER, -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct uw_extent extent = {.name = cases[i].name, .name_nbytes = (uint32_t)strlen(cases[i].name)};

		if (uw_scan_role_of(&extent) != cases[i].role || uw_scan_layer_of(&extent) != cases[i].layer)
			fail_msg("%s: role %s, layer %d", cases[i].name, uw_role_name(uw_scan_role_of(&extent)),
				 uw_scan_layer_of(&extent));
	}
}

/* ---- views -------------------------------------------------------------------------------- */

static void test_text(void **state)
{
	struct uw_scan_report *r = make_report(0);
	size_t n;
	char *text = written(uw_scan_write_text, r, &n);

	(void)state;
	for (size_t i = 0; i < n; i++)
		assert_true(text[i] == '\n' || (text[i] >= 0x20 && text[i] < 0x7F));
	assert_non_null(strstr(text, "\\x1B[31m\\xE2\\x80\\xAE"));
	assert_non_null(strstr(text, "\\x00end"));
	assert_non_null(strstr(text, "tiny\\x01\\xFF"));
	assert_non_null(strstr(text, "Only 38.6 % of the bytes are BF16 (38.6 % are I32)"));
	assert_non_null(strstr(text, "28.8 % smaller as a distribution bundle"));
	assert_non_null(strstr(text, "9.38 b/w"));
	assert_non_null(strstr(text, "carried opaque: x<i>.bin"));
	free(text);
	free_report(r);
}

static json_int_t integer_at(json_t *object, const char *a, const char *b)
{
	json_t *inner = json_object_get(object, a);

	return json_integer_value(b != NULL ? json_object_get(inner, b) : inner);
}

static void test_json(void **state)
{
	struct uw_scan_report *r = make_report(0);
	size_t n;
	char *text = written(uw_scan_write_json, r, &n), *again = written(uw_scan_write_json, r, &n);
	json_t *root = json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL), *tensor, *name;

	(void)state;
	assert_string_equal(text, again);
	assert_non_null(root);
	assert_string_equal(json_string_value(json_object_get(root, "schema")), "unweight-scan-1");
	assert_int_equal(integer_at(json_object_get(root, "totals"), "source_bytes", NULL), 10600);
	assert_int_equal(integer_at(json_object_get(root, "totals"), "distribution_bytes", NULL), 7550);
	assert_int_equal(integer_at(json_object_get(root, "dtypes"), "BF16", "source_bytes"), 4096);
	assert_int_equal(json_array_size(json_object_get(root, "files")), 3);
	assert_int_equal(json_array_size(json_object_get(root, "tensors")), 5);
	tensor = json_array_get(json_object_get(root, "tensors"), 0);
	name = json_object_get(tensor, "name");
	assert_int_equal(json_string_length(name), sizeof(hostile) - 1);
	assert_memory_equal(json_string_value(name), hostile, sizeof(hostile) - 1);
	assert_int_equal(integer_at(tensor, "distribution", "bytes"), 1200);
	assert_int_equal(integer_at(json_object_get(tensor, "distribution"), "groups", "h"), 1);
	assert_int_equal(integer_at(json_object_get(tensor, "inference"), "source_bytes", "raw"), 2048);
	assert_float_equal(json_real_value(json_object_get(json_object_get(tensor, "exponents"), "entropy")), 1, 1e-9);
	tensor = json_array_get(json_object_get(root, "tensors"), 1);
	assert_int_equal(integer_at(tensor, "layer", NULL), 3);
	assert_string_equal(json_string_value(json_object_get(tensor, "role")), "down");
	json_decref(root);
	free(text);
	free(again);
	free_report(r);
}

static size_t occurrences(const char *text, const char *what)
{
	size_t n = 0;

	for (; (text = strstr(text, what)) != NULL; text++)
		n++;
	return n;
}

/* The page without its hints where a name may be broken into lines. */
static char *page_of(const struct uw_scan_report *r)
{
	size_t n;
	char *text = written(uw_scan_write_html, r, &n), *to = text;

	for (const char *from = text; *from != '\0';) {
		if (strncmp(from, "<wbr>", 5) == 0)
			from += 5;
		else
			*to++ = *from++;
	}
	*to = '\0';
	return text;
}

/* Tags of the page: if names could open one, there would be more of them than without those names. */
static void check_html(uint64_t many)
{
	struct uw_scan_report *r = make_report(many);
	size_t ntags, nquotes;
	char *text = page_of(r), *data, *end;
	json_t *root;

	assert_null(strstr(text, "http:"));
	assert_null(strstr(text, "https:"));
	assert_null(strstr(text, "url(//"));
	assert_null(strstr(text, " src=\"x"));
	assert_null(strstr(text, "<!--"));
	assert_null(strstr(text, "<b>&amp;"));
	assert_null(strstr(text, "<i>."));
	assert_null(strstr(text, "<pickle"));
	assert_null(strchr(text, 0x1B));
	assert_null(strstr(text, "\xE2\x80\xAE"));
	assert_non_null(strstr(text,
			       "&lt;/script&gt;&lt;img src=&quot;x&quot; "
			       "onerror=&#39;alert(1)&#39;&gt;&amp;amp;\\x1B[31m"));
	assert_int_equal(occurrences(text, "</script"), 2);
	assert_int_equal(occurrences(text, "<img"), 1);
	data = strstr(text, "id=\"data\">");
	assert_non_null(data);
	data += strlen("id=\"data\">");
	end = strstr(data, "</script>");
	assert_null(memchr(data, '<', (size_t)(end - data)));
	root = json_loadb(data, (size_t)(end - data), 0, NULL);
	assert_non_null(root);
	assert_int_equal(json_array_size(json_object_get(root, "tensors")), r->ntensors);
	assert_int_equal(json_array_size(json_object_get(root, "rows")), 2 + many);
	assert_int_equal(json_string_length(json_object_get(root, "cells")), (2 + many) * 2 * 2);
	json_decref(root);

	ntags = occurrences(text, "<");
	nquotes = occurrences(text, "\"") - occurrences(text, "\\\"");
	free(text);
	for (uint64_t i = 0; i < r->ntensors; i++) {
		if (r->tensors[i].extent.name == hostile)
			r->tensors[i].extent.name = memset(malloc(sizeof(hostile)), 'x', sizeof(hostile));
	}
	text = page_of(r);
	assert_int_equal(occurrences(text, "<"), ntags);
	assert_int_equal(occurrences(text, "\"") - occurrences(text, "\\\""), nquotes);
	for (uint64_t i = 0; i < r->ntensors; i++) {
		if (r->tensors[i].extent.name != NULL && r->tensors[i].extent.name[0] == 'x')
			free((void *)(uintptr_t)r->tensors[i].extent.name);
	}
	free(text);
	free_report(r);
}

static void test_html(void **state)
{
	(void)state;
	check_html(0);
}

static void test_html_many(void **state)
{
	(void)state;
	check_html(3000);
}

static void test_empty(void **state)
{
	struct uw_scan_report r = {.model = ""};
	size_t n;
	char *text;

	(void)state;
	text = written(uw_scan_write_text, &r, &n);
	free(text);
	text = written(uw_scan_write_html, &r, &n);
	assert_null(strstr(text, "nan"));
	free(text);
	text = written(uw_scan_write_json, &r, &n);
	free(text);
}

static void test_write_error(void **state)
{
	struct uw_scan_report *r = make_report(0);
	int (*const writers[])(const struct uw_scan_report *, FILE *) = {uw_scan_write_text, uw_scan_write_json,
									 uw_scan_write_html};

	(void)state;
	for (int i = 0; i < 3; i++) {
		FILE *f = fopen("/dev/full", "w");

		if (f == NULL)
			skip();
		assert_int_equal(writers[i](r, f), -1);
		assert_int_equal(errno, ENOSPC);
		fclose(f);
	}
	free_report(r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_stats), cmocka_unit_test(test_totals), cmocka_unit_test(test_roles),
		cmocka_unit_test(test_text), cmocka_unit_test(test_json), cmocka_unit_test(test_html),
		cmocka_unit_test(test_html_many), cmocka_unit_test(test_empty), cmocka_unit_test(test_write_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
