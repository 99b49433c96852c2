/* SPDX-License-Identifier: Apache-2.0 */
/* The report as JSON, schema "unweight-bench-1". */
#include "bench.h"

static json_t *time_object(const struct uw_bench_case *c, size_t b, unsigned i)
{
	const struct uw_timing *t = &c->timings[b][i];
	double to_onednn = uw_bench_ratio_to_onednn(c, b, i);
	json_t *object = json_pack("{s:s, s:s, s:s?, s:f, s:f, s:f, s:i}", "name", c->variants[i].name, "pipeline",
				   c->variants[i].pipeline, "coding", c->variants[i].coding, "seconds", t->seconds,
				   "gb_per_s", 1e-9 * c->variants[i].nbytes / t->seconds, "x_raw", t->ratio,
				   "undisturbed_rounds", (int)t->nrounds);

	if (object != NULL && to_onednn > 0)
		json_object_set_new(object, "x_onednn", json_real(to_onednn));
	return object;
}

static json_t *case_object(const struct uw_bench_report *r, const struct uw_bench_case *c)
{
	json_t *batches = json_array();

	for (size_t b = 0; b < r->nbatches; b++) {
		json_t *times = json_array();

		for (unsigned i = 0; i < c->nvariants; i++)
			json_array_append_new(times, time_object(c, b, i));
		json_array_append_new(batches, json_pack("{s:I, s:o}", "batch", (json_int_t)r->batches[b], "times",
							 times));
	}
	return json_pack("{s:I, s:I, s:I, s:o}", "rows", (json_int_t)c->nrows, "columns", (json_int_t)c->ncols,
			 "copies", (json_int_t)c->ncopies, "batches", batches);
}

json_t *uw_bench_json(const struct uw_bench_report *r)
{
	json_t *cases = json_array();

	for (size_t i = 0; i < r->ncases; i++)
		json_array_append_new(cases, case_object(r, &r->cases[i]));
	return json_pack("{s:s, s:o, s:i, s:I, s:o}", "schema", "unweight-bench-1", "what", uw_json_text(r->what),
			 "threads", (int)r->nthreads, "cycle_bytes", (json_int_t)r->cycle_nbytes, "shapes", cases);
}
