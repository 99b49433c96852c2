/* SPDX-License-Identifier: Apache-2.0 */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "provenance.h"
#include "source_bundle.h"
#include "tool.h"

enum { OPT_JSON };

static const struct uw_option options[] = {
	{ 0, "json", NULL, "print JSON instead of tables", OPT_JSON },
	{ 0 },
};

static const struct uw_cli cli = {
	.name = "unweight-inspect",
	.synopsis = "BUNDLE [TENSOR] [options]",
	.summary = "Shows what is in a bundle: files, tensors, codings, sizes; for one TENSOR also its groups, palettes\n"
		   "and code lengths.",
	.epilog = "Exit codes: 0 done, 2 usage, 3 no such tensor, 5 corrupt bundle, 6 I/O error, 8 unsupported version.",
	.options = options,
	.min_args = 1,
	.max_args = 2,
};

struct opts {
	bool json;
};

static bool set_option(void *ctx, int id, const char *arg)
{
	struct opts *o = ctx;

	o->json = true;
	return true;
}

static const char *const coding_names[] = { "raw", "zstd", "H", "P4", "copy", "delta" };
static const char *const order_names[] = { "bytes", "linear", "tiled" };

/* ---- values ---- */

static json_t *dims_of(const struct uw_extent *extent)
{
	json_t *dims = json_array();

	for (unsigned i = 0; i < extent->ndims; i++)
		json_array_append_new(dims, json_integer((json_int_t)extent->dims[i]));
	return dims;
}

/* Coding of the extent: the name if all groups agree, "mixed" if not, "-" if there are none. */
static const char *coding_of(const struct uw_index *index, const struct uw_extent *extent, uint64_t *stored_nbytes,
			     uint64_t *npatches, uint64_t *nshared)
{
	const char *name = "-";

	*stored_nbytes = *npatches = *nshared = 0;
	for (uint64_t i = 0; i < extent->ngroups; i++) {
		const struct uw_group *group = &index->groups[extent->first_group + i];
		bool shared = uw_index_group_shared(index, extent->first_group + i);

		name = i == 0 || name == coding_names[group->coding] ? coding_names[group->coding] : "mixed";
		*stored_nbytes += shared ? 0 : group->nbytes; /* counted where it stands first */
		*nshared += shared;
		*npatches += group->npatches;
	}
	return name;
}

static json_t *extent_json(const struct uw_index *index, const struct uw_extent *extent)
{
	uint64_t stored, npatches, nshared;
	const char *coding = coding_of(index, extent, &stored, &npatches, &nshared);
	char xxh128[33];

	uw_hex(extent->xxh128, sizeof(extent->xxh128), xxh128);
	return json_pack("{s:s%, s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:s}", "name", extent->name,
			 (size_t)extent->name_nbytes, "dtype", uw_dtype_name(extent->dtype), "shape",
			 dims_of(extent), "coding", coding, "order", order_names[extent->order], "bytes",
			 (json_int_t)extent->src_nbytes, "stored_bytes", (json_int_t)stored, "groups",
			 (json_int_t)extent->ngroups, "shared_groups", (json_int_t)nshared, "patches", (json_int_t)npatches, "xxh3_128", xxh128);
}

/* ---- one tensor in depth ---- */

static json_t *table_json(const struct uw_coded *coded, uint32_t t)
{
	json_t *exponents = json_array(), *lengths = json_array();

	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		json_array_append_new(exponents, json_integer(2 * coded->tables[t].pairs[s / 2] + (int)(s % 2)));
		json_array_append_new(lengths, json_integer(coded->tables[t].lens[s]));
	}
	if (coded->coding != UW_CODING_H) {
		json_decref(lengths);
		lengths = NULL;
	}
	return json_pack("{s:o, s:o*}", "exponents", exponents, "lengths", lengths);
}

static enum uw_status open_group(const struct uw_container *container, const struct uw_extent *extent, uint64_t i,
				 uint8_t **stored, struct uw_coded *coded, struct uw_error *err)
{
	const struct uw_group *group = &container->index->groups[extent->first_group + i];
	struct uw_slice slice;
	struct uw_shape shape;
	enum uw_status status;

	uw_extent_slice(extent, i, &slice);
	status = extent->order == UW_ORDER_TILED ? uw_shape_tiled(slice.nrows, slice.ncols, &shape) :
						   uw_shape_linear(slice.ncols, &shape);
	*stored = status == UW_OK ? malloc((size_t)group->nbytes) : NULL;
	if (*stored == NULL)
		return uw_fail(err, UW_ERR_NOMEM, group->off, "group");
	status = uw_blob_read(&container->blob, *stored, (size_t)group->nbytes, group->off, err);
	if (status == UW_OK)
		status = uw_coded_open(&shape, (enum uw_coding)group->coding, group->ntables, group->npatches,
				       *stored, (size_t)group->nbytes, coded, err);
	return status;
}

static enum uw_status group_json(const struct uw_container *container, const struct uw_extent *extent, uint64_t i,
				 json_t *groups, struct uw_error *err)
{
	const struct uw_group *group = &container->index->groups[extent->first_group + i];
	json_t *entry, *tables = json_array();
	enum uw_status status = UW_OK;
	bool row_order = false;
	uint8_t *stored = NULL;
	struct uw_coded coded;
	struct uw_slice slice;

	uw_extent_slice(extent, i, &slice);
	entry = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:b}", "coding", coding_names[group->coding], "offset",
			  (json_int_t)group->off, "stored_bytes", (json_int_t)group->nbytes, "bytes",
			  (json_int_t)slice.src_nbytes, "rows", (json_int_t)slice.nrows, "patches",
			  (json_int_t)group->npatches, "shared",
			  uw_index_group_shared(container->index, extent->first_group + i));
	if (group->coding == UW_CODING_H || group->coding == UW_CODING_P4) {
		status = open_group(container, extent, i, &stored, &coded, err);
		for (uint32_t t = 0; status == UW_OK && t < coded.ntables; t++)
			json_array_append_new(tables, table_json(&coded, t));
		row_order = status == UW_OK && coded.row_order != NULL;
		free(stored);
	}
	json_object_set_new(entry, "row_order", json_boolean(row_order));
	json_object_set_new(entry, "tables", tables);
	json_array_append_new(groups, entry);
	return status;
}

static enum uw_status tensor_json(const struct uw_container *container, const struct uw_extent *extent, json_t **out,
				  struct uw_error *err)
{
	json_t *groups = json_array();
	enum uw_status status = UW_OK;

	for (uint64_t i = 0; i < extent->ngroups && status == UW_OK; i++)
		status = group_json(container, extent, i, groups, err);
	*out = extent_json(container->index, extent);
	json_object_set_new(*out, "detail", groups);
	return status;
}

/* ---- the whole bundle ---- */

/* Groups by how they lean on a base. */
static void count_based(const struct uw_index *index, json_t *entry)
{
	uint64_t ncopies = 0, ndeltas = 0;

	for (uint64_t g = 0; g < index->ngroups; g++) {
		ncopies += index->groups[g].coding == UW_CODING_COPY;
		ndeltas += index->groups[g].coding == UW_CODING_DELTA;
	}
	json_object_set_new(entry, "groups", json_integer((json_int_t)index->ngroups));
	json_object_set_new(entry, "copy_groups", json_integer((json_int_t)ncopies));
	json_object_set_new(entry, "delta_groups", json_integer((json_int_t)ndeltas));
}

static json_t *file_json(const struct uw_manifest_file *file, const struct uw_index *index, bool bare)
{
	char sha256[2 * UW_SHA256_NBYTES + 1];
	json_t *tensors = json_array(), *entry;
	uint64_t header = 0, npatches, nshared;

	uw_hex(file->sha256, sizeof(file->sha256), sha256);
	for (uint64_t i = 0; index != NULL && i < index->nextents; i++) {
		if (index->extents[i].kind == UW_EXTENT_TENSOR)
			json_array_append_new(tensors, extent_json(index, &index->extents[i]));
		else
			coding_of(index, &index->extents[i], &header, &npatches, &nshared);
	}
	entry = json_pack("{s:s, s:I, s:b, s:b, s:I, s:o}", "path", file->path, "bytes", (json_int_t)file->nbytes,
			  "executable", file->executable, "container", file->container, "stored_bytes",
			  (json_int_t)(file->container ? file->id.nbytes : file->nbytes), "tensors", tensors);
	if (!bare)
		json_object_set_new(entry, "sha256", json_string(sha256));
	if (index != NULL)
		json_object_set_new(entry, "header_stored_bytes", json_integer((json_int_t)header));
	if (index != NULL && index->base.needed)
		count_based(index, entry);
	return entry;
}

/* One opened file: its entry for the report, or the tensor that is asked for. */
static enum uw_status inspect_file(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
				   const char *tensor, json_t *files, json_t **found, struct uw_error *err)
{
	const struct uw_extent *extent = NULL;
	struct uw_bundle_file opened;
	enum uw_status status = uw_bundle_file_open(bundle, file, &opened, err);

	if (status != UW_OK)
		return status;
	if (tensor == NULL)
		json_array_append_new(files, file_json(file, opened.is_container ? opened.container.index : NULL,
						       bundle->bare));
	else if (opened.is_container)
		extent = uw_index_find(opened.container.index, tensor, strlen(tensor));
	if (extent != NULL)
		status = tensor_json(&opened.container, extent, found, err);
	uw_bundle_file_close(&opened);
	return status;
}

/* ---- tables ---- */

static const char *text_of(const json_t *object, const char *key)
{
	return json_string_value(json_object_get(object, key));
}

static long long number_of(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static double bits_per_weight(const json_t *tensor)
{
	long long nbytes = number_of(tensor, "bytes");

	return nbytes != 0 ? 16.0 * (double)number_of(tensor, "stored_bytes") / (double)nbytes : 0;
}

static void shape_text(const json_t *tensor, char *text, size_t n)
{
	const json_t *shape = json_object_get(tensor, "shape"), *dim;
	size_t i, at = 0;

	text[0] = '\0';
	json_array_foreach(shape, i, dim) {
		if (at < n)
			at += (size_t)snprintf(text + at, n - at, "%s%lld", i == 0 ? "" : "x",
					       (long long)json_integer_value(dim));
	}
}

static void print_tensor_line(const json_t *tensor)
{
	const json_t *name = json_object_get(tensor, "name");
	bool bf16 = strcmp(text_of(tensor, "dtype"), "BF16") == 0;
	char shape[64], bits[32] = "-";

	shape_text(tensor, shape, sizeof(shape));
	if (bf16)
		snprintf(bits, sizeof(bits), "%.3f", bits_per_weight(tensor));
	printf("  %-8s %-16s %-6s %-6s %14lld %14lld %8s %8lld  ", text_of(tensor, "dtype"), shape,
	       text_of(tensor, "coding"), text_of(tensor, "order"), number_of(tensor, "bytes"),
	       number_of(tensor, "stored_bytes"), bits, number_of(tensor, "patches"));
	uw_print_escaped(stdout, json_string_value(name), json_string_length(name));
	putchar('\n');
}

static void print_files(const json_t *report)
{
	const json_t *file, *tensor;
	size_t i, k;

	printf("profile %s, %zu files\n", text_of(report, "profile"), json_array_size(json_object_get(report, "files")));
	if (text_of(report, "source_sha256") != NULL)
		printf("source digest %s\n", text_of(report, "source_sha256"));
	if (json_object_get(report, "base") != NULL)
		printf("needs the base %s\n", text_of(json_object_get(report, "base"), "source_sha256"));
	json_array_foreach(json_object_get(report, "files"), i, file) {
		const json_t *tensors = json_object_get(file, "tensors");

		putchar('\n');
		uw_print_escaped(stdout, text_of(file, "path"), strlen(text_of(file, "path")));
		printf(": %lld bytes, stored as %lld%s", number_of(file, "bytes"), number_of(file, "stored_bytes"),
		       json_is_true(json_object_get(file, "container")) ? " in a container" : ", plain");
		if (json_object_get(file, "copy_groups") != NULL)
			printf("; of %lld groups %lld copied from the base, %lld differences",
			       number_of(file, "groups"), number_of(file, "copy_groups"),
			       number_of(file, "delta_groups"));
		putchar('\n');
		if (json_array_size(tensors) != 0)
			printf("  %-8s %-16s %-6s %-6s %14s %14s %8s %8s  %s\n", "dtype", "shape", "coding", "order",
			       "bytes", "stored", "bits/w", "patches", "name");
		json_array_foreach(tensors, k, tensor)
			print_tensor_line(tensor);
	}
}

static void print_numbers(const char *label, const json_t *numbers)
{
	const json_t *n;
	size_t i;

	printf("      %-10s", label);
	json_array_foreach(numbers, i, n)
		printf(" %3lld", (long long)json_integer_value(n));
	putchar('\n');
}

static void print_detail(const json_t *tensor)
{
	const json_t *group, *table;
	size_t i, k;

	print_tensor_line(tensor);
	json_array_foreach(json_object_get(tensor, "detail"), i, group) {
		printf("  group %zu: %s, %lld rows%s, %lld -> %lld bytes at offset %lld%s, %lld patches\n", i,
		       text_of(group, "coding"), number_of(group, "rows"),
		       json_is_true(json_object_get(group, "row_order")) ? " in an order of their own" : "",
		       number_of(group, "bytes"),
		       number_of(group, "stored_bytes"), number_of(group, "offset"),
		       json_is_true(json_object_get(group, "shared")) ? " (shared)" : "",
		       number_of(group, "patches"));
		json_array_foreach(json_object_get(group, "tables"), k, table) {
			printf("    table %zu\n", k);
			print_numbers("exponents", json_object_get(table, "exponents"));
			if (json_object_get(table, "lengths") != NULL)
				print_numbers("lengths", json_object_get(table, "lengths"));
		}
	}
}

/* The digest that --expect-digest of the other tools takes. */
static void add_digest(const struct uw_bundle *bundle, json_t *report)
{
	char hex[2 * UW_SHA256_NBYTES + 1];
	uint8_t digest[UW_SHA256_NBYTES];
	struct uw_error err;

	if (bundle->bare || uw_source_digest(&bundle->manifest, digest, &err) != UW_OK)
		return;
	uw_hex(digest, sizeof(digest), hex);
	json_object_set_new(report, "source_sha256", json_string(hex));
}

static void add_base(const struct uw_bundle *bundle, json_t *report)
{
	char hex[2 * UW_SHA256_NBYTES + 1];

	if (!bundle->manifest.base.needed)
		return;
	uw_hex(bundle->manifest.base.digest, sizeof(bundle->manifest.base.digest), hex);
	json_object_set_new(report, "base", json_pack("{s:s}", "source_sha256", hex));
}

static int inspect(const struct opts *o, const struct uw_bundle *bundle, const char *path, const char *tensor)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	json_t *files = json_array(), *found = NULL, *report;
	int code = UW_EXIT_OK;

	for (uint64_t i = 0; i < bundle->manifest.nfiles && code == UW_EXIT_OK && found == NULL; i++) {
		const struct uw_manifest_file *file = &bundle->manifest.files[i];

		if (inspect_file(bundle, file, tensor, files, &found, &err) != UW_OK)
			code = uw_tool_failure(file->path, &err);
	}
	if (code == UW_EXIT_OK && tensor != NULL && found == NULL) {
		(void)uw_fail(&err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "there is no tensor '%s'", tensor);
		code = uw_tool_failure(path, &err);
	}
	report = found != NULL ? found : json_pack("{s:s, s:s, s:O}", "schema", "unweight-inspect-1", "profile",
						   uw_profile_name(bundle->manifest.profile), "files", files);
	if (found == NULL) {
		add_digest(bundle, report);
		add_base(bundle, report);
	}
	if (code == UW_EXIT_OK && o->json) {
		if (uw_write_json("-", json_incref(report), &err) != UW_OK)
			code = uw_tool_failure("standard output", &err);
	} else if (code == UW_EXIT_OK && found != NULL) {
		print_detail(found);
	} else if (code == UW_EXIT_OK) {
		print_files(report);
	}
	json_decref(report);
	json_decref(files);
	return code;
}

int main(int argc, char **argv)
{
	struct opts o = { 0 };
	struct uw_cli_result r = uw_cli_parse(&cli, argc, argv, set_option, &o);
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_bundle bundle;
	struct uw_tool tool;
	int code;

	if (r.exit_code >= 0)
		return r.exit_code;
	uw_tool_init(&tool, 1);
	if (uw_bundle_open(r.args[0], &tool.ops, &bundle, &err) != UW_OK)
		code = uw_tool_failure(r.args[0], &err);
	else
		code = inspect(&o, &bundle, r.args[0], r.nargs > 1 ? r.args[1] : NULL);
	uw_bundle_close(&bundle);
	return uw_tool_exit(code);
}
