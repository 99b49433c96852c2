/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The report as JSON, schema "unweight-scan-1": one object with sorted keys. Files and tensors are dumped one by one,
 * a line each, so that a model of 100,000 tensors needs no tree of them in memory.
 */
#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#include "scan_view.h"

#define DUMP_FLAGS (JSON_COMPACT | JSON_SORT_KEYS | JSON_REAL_PRECISION(9))

/* Sizes are below 2^63; dimensions beside a 0 need not be. */
static json_t *whole(uint64_t value)
{
	return value <= INT64_MAX ? json_integer((json_int_t)value) : json_real((double)value);
}

/* The model's path comes from the command line and may be anything; it is escaped if it has to be. */
static json_t *string(const char *text, size_t n)
{
	json_t *value = json_stringn(text, n);
	char *printable;

	if (value != NULL)
		return value;
	printable = uw_scan_printable(text, n);
	value = printable != NULL ? json_string(printable) : NULL;
	free(printable);
	return value;
}

static json_t *by_coding(const uint64_t values[4])
{
	return json_pack("{s:o, s:o, s:o, s:o}", "raw", whole(values[0]), "zstd", whole(values[1]), "h",
			 whole(values[2]), "p4", whole(values[3]));
}

static json_t *profile_object(const struct uw_scan_tensor *t, int p)
{
	json_t *object = json_pack("{s:o, s:o, s:o, s:o, s:o}", "bytes", whole(t->profile[p].nbytes), "escapes",
				   whole(t->profile[p].nescapes), "tables", whole(t->profile[p].ntables), "groups",
				   by_coding(t->profile[p].groups), "source_bytes",
				   by_coding(t->profile[p].src_nbytes));

	if (object != NULL && uw_scan_is_bf16(t))
		json_object_set_new(object, "bits_per_weight", json_real(uw_scan_rate(t, p)));
	return object;
}

/* Statistics and histogram; the histogram as [exponent, count] pairs, for it is sparse. */
static json_t *exponents_object(const uint64_t counts[256])
{
	json_t *pairs = json_array();
	struct uw_scan_stats stats;

	uw_scan_stats_of(counts, &stats);
	for (int e = 0; e < 256; e++) {
		if (counts[e] != 0)
			json_array_append_new(pairs, json_pack("[i, o]", e, whole(counts[e])));
	}
	return json_pack("{s:f, s:f, s:i, s:o}", "entropy", stats.entropy, "top16", stats.top16, "distinct",
			 (int)stats.nexponents, "counts", pairs);
}

static json_t *tensor_object(const struct uw_scan_tensor *t)
{
	static const char *const kinds[] = {"opaque", "header", "tensor"};
	static const char *const orders[] = {"bytes", "linear", "tiled"};
	const char *dtype = uw_dtype_name(t->extent.dtype);
	json_t *object = json_pack("{s:s, s:o, s:o, s:o, s:o}", "kind", kinds[t->extent.kind <= 2 ? t->extent.kind : 0],
				   "file",
				   string(t->file, strlen(t->file)), "source_bytes", whole(t->extent.src_nbytes),
				   uw_scan_profile_names[0], profile_object(t, 0), uw_scan_profile_names[1],
				   profile_object(t, 1));
	json_t *dims;
	int layer;

	if (object == NULL || t->extent.kind != UW_EXTENT_TENSOR)
		return object;
	dims = json_array();
	for (int i = 0; i < t->extent.ndims; i++)
		json_array_append_new(dims, whole(t->extent.dims[i]));
	json_object_set_new(object, "shape", dims);
	json_object_set_new(object, "name", string(t->extent.name_nbytes != 0 ? t->extent.name : "",
						   t->extent.name_nbytes));
	json_object_set_new(object, "dtype", json_string(dtype != NULL ? dtype : "OTHER"));
	json_object_set_new(object, "order", json_string(orders[t->extent.order <= 2 ? t->extent.order : 0]));
	json_object_set_new(object, "role", json_string(uw_role_name(uw_scan_role_of(&t->extent))));
	layer = uw_scan_layer_of(&t->extent);
	json_object_set_new(object, "layer", layer >= 0 ? json_integer(layer) : json_null());
	if (uw_scan_is_bf16(t))
		json_object_set_new(object, "exponents", exponents_object(t->counts));
	return object;
}

static json_t *file_object(const struct uw_scan_file *file)
{
	return json_pack("{s:o, s:o, s:o, s:o, s:b, s:o}", "path", string(file->path, strlen(file->path)), "bytes",
			 whole(file->nbytes), "distribution_bytes", whole(file->bundle_nbytes[UW_SCAN_DISTRIBUTION]),
			 "inference_bytes", whole(file->bundle_nbytes[UW_SCAN_INFERENCE]), "container",
			 (int)file->container,
			 "warning", file->warning != NULL ? string(file->warning, strlen(file->warning)) : json_null());
}

static json_t *sum_object(const struct uw_scan_sum *sum, const char *number)
{
	json_t *object = json_pack("{s:o, s:o, s:o}", "source_bytes", whole(sum->src_nbytes), "distribution_bytes",
				   whole(sum->nbytes[UW_SCAN_DISTRIBUTION]), "inference_bytes",
				   whole(sum->nbytes[UW_SCAN_INFERENCE]));

	if (object != NULL && number != NULL)
		json_object_set_new(object, number, whole(sum->n));
	return object;
}

static json_t *dtypes_object(const struct uw_scan_totals *totals)
{
	json_t *object = json_object();

	for (int d = 0; d < 256; d++) {
		const char *name = uw_dtype_name((uint8_t)d);

		if (totals->dtype[d].n != 0)
			json_object_set_new(object, name != NULL ? name : "?",
					    sum_object(&totals->dtype[d], "tensors"));
	}
	return object;
}

static json_t *totals_object(const struct uw_scan_report *report, const struct uw_scan_totals *totals)
{
	json_t *object = sum_object(&totals->all, "files");
	double src = (double)totals->all.src_nbytes;

	if (object == NULL)
		return NULL;
	json_object_set_new(object, "bf16_bytes", whole(totals->dtype[UW_DTYPE_BF16].src_nbytes));
	json_object_set_new(object, "opaque", sum_object(&totals->opaque, "extents"));
	json_object_set_new(object, "headers", sum_object(&totals->header, "extents"));
	json_object_set_new(object, "rest", sum_object(&totals->rest, NULL));
	for (int p = 0; p < UW_SCAN_NPROFILES; p++) {
		char key[40];

		snprintf(key, sizeof(key), "%s_ratio", uw_scan_profile_names[p]);
		json_object_set_new(object, key,
				    src > 0 ? json_real((double)totals->all.nbytes[p] / src) : json_null());
		snprintf(key, sizeof(key), "%s_manifest_bytes", uw_scan_profile_names[p]);
		json_object_set_new(object, key, whole(report->manifest_nbytes[p]));
	}
	return object;
}

/* Takes `value`. False if there is none: out of memory. */
static bool dump(FILE *f, const char *before, json_t *value)
{
	bool ok = value != NULL;

	fputs(before, f);
	if (ok)
		ok = json_dumpf(value, f, DUMP_FLAGS | JSON_ENCODE_ANY) == 0 || ferror(f);
	json_decref(value);
	if (!ok)
		errno = ENOMEM;
	return ok;
}

int uw_scan_write_json(const struct uw_scan_report *report, FILE *f)
{
	struct uw_scan_totals totals;
	bool ok;

	errno = 0;
	uw_scan_totals_of(report, &totals);
	ok = dump(f, "{\"dtypes\":", dtypes_object(&totals));
	fputs(",\n\"files\":[", f);
	for (uint64_t i = 0; ok && i < report->nfiles; i++)
		ok = dump(f, i != 0 ? ",\n" : "\n", file_object(&report->files[i]));
	ok = ok && dump(f, "],\n\"model\":", string(report->model, strlen(report->model)));
	ok = ok && dump(f, ",\n\"schema\":", json_string("unweight-scan-1"));
	fputs(",\n\"tensors\":[", f);
	for (uint64_t i = 0; ok && i < report->ntensors; i++)
		ok = dump(f, i != 0 ? ",\n" : "\n", tensor_object(&report->tensors[i]));
	ok = ok && dump(f, "],\n\"totals\":", totals_object(report, &totals));
	fputs("}\n", f);
	return uw_scan_close(f) == 0 && ok ? 0 : -1;
}
