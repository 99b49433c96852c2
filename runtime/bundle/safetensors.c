/* SPDX-License-Identifier: Apache-2.0 */
#include "safetensors.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "json_text.h"
#include "unweight/bytes.h"
#include "unweight/checked.h"

#define MAX_DEPTH 8 /* nothing legal nests deeper than 3 */

/* What the header asks for, known before anything is allocated for it. All bounded by the header's size. */
struct counts {
	size_t ntensors;
	size_t ndims;
	size_t names_nbytes; /* each name with a terminator */
};

/* Where the next tensor's dimensions and name go. */
struct cursor {
	struct uw_extent *extent;
	uint64_t *dims;
	char *name;
};

static enum uw_status refuse(struct uw_error *err, const char *name, const char *why)
{
	return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "safetensors: tensor '%.120s' %s", name, why);
}

static enum uw_status read_text(const struct uw_blob *blob, char **text, size_t *n, struct uw_error *err)
{
	enum uw_status status;
	uint8_t head[8];
	uint64_t nbytes;

	if (blob->nbytes < sizeof(head))
		return uw_fail(err, UW_ERR_FORMAT, 0, "safetensors: shorter than 8 bytes");
	status = uw_blob_read(blob, head, sizeof(head), 0, err);
	if (status != UW_OK)
		return status;
	nbytes = uw_load_le64(head);
	if (nbytes > UW_SAFETENSORS_MAX_HEADER || nbytes > blob->nbytes - sizeof(head))
		return uw_fail(err, UW_ERR_FORMAT, 0, "safetensors: header is longer than allowed or than the file");
	*n = (size_t)nbytes;
	*text = malloc(*n + 1); /* never 0 */
	if (*text == NULL)
		return uw_fail_errno(err, ENOMEM, "safetensors: header");
	status = uw_blob_read(blob, *text, *n, sizeof(head), err);
	if (status != UW_OK)
		free(*text);
	return status;
}

/* jansson takes "-0" for the integer 0, the reference reader takes it for a float. */
static bool is_negative_zero(const char *text, size_t n, size_t i)
{
	if (text[i] != '-' || n - i < 2 || text[i + 1] != '0' || (i != 0 && memchr("eE", text[i - 1], 2) != NULL))
		return false;
	return n - i < 3 || memchr(".eE", text[i + 2], 3) == NULL;
}

/* Keeps hostile text cheap: bounds depth, and containers to one in 16 bytes, as the shortest tensor has three in 50. */
static enum uw_status prescan(const char *text, size_t n, struct uw_error *err)
{
	size_t depth = 0, ncontainers = 0;
	bool string = false;

	for (size_t i = 0; i < n; i++) {
		char c = text[i];

		if (string) {
			if (c == '\\')
				i++;
			else if (c == '"')
				string = false;
		} else if (c == '"') {
			string = true;
		} else if (c == '{' || c == '[') {
			if (++depth > MAX_DEPTH || ++ncontainers > 16 + n / 16)
				return uw_fail(err, UW_ERR_FORMAT, 8 + i, "safetensors: JSON too deep or too branched");
		} else if ((c == '}' || c == ']') && depth != 0) {
			depth--;
		} else if (is_negative_zero(text, n, i)) {
			return uw_fail(err, UW_ERR_FORMAT, 8 + i, "safetensors: negative zero");
		}
	}
	return UW_OK;
}

/* Stricter than the reference reader in keys: none twice, none with U+0000 (which jansson does not take). */
static enum uw_status parse_text(const char *text, size_t n, json_t **root, struct uw_error *err)
{
	enum uw_status status = prescan(text, n, err);

	if (status == UW_OK)
		status = uw_json_load(text, n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, UW_ERR_FORMAT, "safetensors", 8,
				      root, err);
	if (status != UW_OK)
		return status;
	if (!json_is_object(*root)) {
		json_decref(*root);
		return uw_fail(err, UW_ERR_FORMAT, 8, "safetensors: header is no JSON object");
	}
	return UW_OK;
}

static bool is_metadata(const char *key)
{
	return strcmp(key, "__metadata__") == 0;
}

static bool is_good_metadata(json_t *meta)
{
	const char *key;
	json_t *value;

	if (json_is_null(meta))
		return true;
	if (!json_is_object(meta))
		return false;
	json_object_foreach(meta, key, value) {
		if (!json_is_string(value))
			return false;
	}
	return true;
}

static enum uw_status count_tensors(json_t *root, struct counts *counts, struct uw_error *err)
{
	const char *key;
	json_t *value;
	size_t n;

	json_object_keylen_foreach(root, key, n, value) {
		json_t *shape = json_object_get(value, "shape");

		if (is_metadata(key)) {
			if (!is_good_metadata(value))
				return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET,
					       "safetensors: __metadata__ does not map strings to strings");
			continue;
		}
		if (!json_is_array(shape) || json_array_size(shape) > UINT8_MAX)
			return refuse(err, key, "has no shape, or more than 255 dimensions");
		counts->ntensors++;
		counts->ndims += json_array_size(shape);
		counts->names_nbytes += n + 1;
	}
	return UW_OK;
}

/* One allocation: extents, dimensions, names. The sums are bounded by the header's 100 MB. */
static enum uw_status allocate(const struct counts *counts, struct uw_model_file *file, struct cursor *at,
			       struct uw_error *err)
{
	size_t nextents = 1 + counts->ntensors;
	size_t dims_off = nextents * sizeof(struct uw_extent);
	size_t names_off = dims_off + counts->ndims * sizeof(uint64_t);
	char *block = calloc(1, names_off + counts->names_nbytes);

	if (block == NULL)
		return uw_fail_errno(err, ENOMEM, "safetensors: %zu tensors", counts->ntensors);
	file->extents = (struct uw_extent *)(void *)block;
	file->nextents = nextents;
	at->extent = file->extents + 1;
	at->dims = (uint64_t *)(void *)(block + dims_off);
	at->name = block + names_off;
	return UW_OK;
}

/* The offsets are still those of the text, relative to the data. */
static bool read_offsets(json_t *offsets, struct uw_extent *extent)
{
	uint64_t end;

	if (json_array_size(offsets) != 2 || !uw_json_u64(json_array_get(offsets, 0), &extent->src_off) ||
	    !uw_json_u64(json_array_get(offsets, 1), &end) || end < extent->src_off)
		return false;
	extent->src_nbytes = end - extent->src_off;
	return true;
}

/* As the reference reader multiplies: from the first dimension on, so that an early overflow is one even before a 0. */
static bool is_exact_size(const struct uw_extent *extent)
{
	uint64_t n = 1;

	if (extent->dtype == UW_DTYPE_OTHER)
		return true;
	for (size_t i = 0; i < extent->ndims; i++) {
		if (!uw_mul(n, extent->dims[i], &n))
			return false;
	}
	return uw_mul(n, uw_dtype_nbits(extent->dtype), &n) && n % 8 == 0 && n / 8 == extent->src_nbytes;
}

static enum uw_status read_tensor(const char *key, size_t n, json_t *value, struct cursor *at, struct uw_error *err)
{
	json_t *dtype = json_object_get(value, "dtype"), *shape = json_object_get(value, "shape");
	struct uw_extent *extent = at->extent++;

	extent->kind = UW_EXTENT_TENSOR;
	extent->name = memcpy(at->name, key, n);
	extent->name_nbytes = (uint32_t)n;
	at->name += n + 1;
	extent->dims = at->dims;
	extent->ndims = (uint8_t)json_array_size(shape); /* count_tensors saw to it */
	at->dims += extent->ndims;
	for (size_t i = 0; i < extent->ndims; i++) {
		if (!uw_json_u64(json_array_get(shape, i), (uint64_t *)&extent->dims[i]))
			return refuse(err, key, "has a bad shape");
	}
	if (!json_is_string(dtype))
		return refuse(err, key, "has no dtype");
	extent->dtype = uw_dtype_code(json_string_value(dtype), json_string_length(dtype));
	if (!read_offsets(json_object_get(value, "data_offsets"), extent))
		return refuse(err, key, "has bad data_offsets");
	if (!is_exact_size(extent))
		return refuse(err, key, "has a size that is not that of its shape and dtype");
	extent->order = uw_extent_order(extent->dtype, extent->dims, extent->ndims);
	return UW_OK;
}

/* By begin, then end, then place in the text: names lie in memory in the text's order, each at an address of its own. */
static int extent_order(const void *a, const void *b)
{
	const struct uw_extent *p = a, *q = b;

	if (p->src_off != q->src_off)
		return p->src_off < q->src_off ? -1 : 1;
	if (p->src_nbytes != q->src_nbytes)
		return p->src_nbytes < q->src_nbytes ? -1 : 1;
	return (p->name > q->name) - (p->name < q->name);
}

/* Sorts the tensors, turns their offsets into the file's and demands that they tile it. */
static enum uw_status lay_out(struct uw_model_file *file, uint64_t header_nbytes, uint64_t file_nbytes,
			      struct uw_error *err)
{
	uint64_t pos = header_nbytes;

	file->extents[0].kind = UW_EXTENT_HEADER;
	file->extents[0].src_nbytes = header_nbytes;
	qsort(file->extents + 1, (size_t)file->nextents - 1, sizeof(*file->extents), extent_order);
	for (uint64_t i = 1; i < file->nextents; i++) {
		struct uw_extent *extent = &file->extents[i];

		if (extent->src_off != pos - header_nbytes)
			return refuse(err, extent->name, "leaves a hole or overlaps another one");
		extent->src_off = pos;
		if (!uw_add(pos, extent->src_nbytes, &pos) || pos > file_nbytes)
			return refuse(err, extent->name, "goes beyond the end of the file");
	}
	if (pos != file_nbytes)
		return uw_fail(err, UW_ERR_FORMAT, pos, "safetensors: bytes behind the last tensor");
	return UW_OK;
}

static enum uw_status read_tensors(json_t *root, struct uw_model_file *file, struct uw_error *err)
{
	struct counts counts = { 0 };
	enum uw_status status = count_tensors(root, &counts, err);
	struct cursor at = { 0 };
	const char *key;
	json_t *value;
	size_t n;

	if (status == UW_OK)
		status = allocate(&counts, file, &at, err);
	if (status != UW_OK)
		return status;
	json_object_keylen_foreach(root, key, n, value) {
		if (!is_metadata(key))
			status = read_tensor(key, n, value, &at, err);
		if (status != UW_OK)
			return status;
	}
	return UW_OK;
}

enum uw_status uw_safetensors_parse(const struct uw_blob *blob, struct uw_model_file *file, struct uw_error *err)
{
	enum uw_status status;
	json_t *root = NULL;
	char *text = NULL;
	size_t n = 0;

	*file = (struct uw_model_file){ 0 };
	status = read_text(blob, &text, &n, err);
	if (status != UW_OK)
		return status;
	status = parse_text(text, n, &root, err);
	free(text);
	if (status != UW_OK)
		return status;
	status = read_tensors(root, file, err);
	json_decref(root);
	if (status == UW_OK)
		status = lay_out(file, 8 + (uint64_t)n, blob->nbytes, err);
	if (status != UW_OK)
		uw_model_file_free(file);
	return status;
}

enum uw_status uw_opaque_file(uint64_t nbytes, struct uw_model_file *file, struct uw_error *err)
{
	*file = (struct uw_model_file){ 0 };
	if (nbytes == 0)
		return UW_OK;
	file->extents = calloc(1, sizeof(*file->extents));
	if (file->extents == NULL)
		return uw_fail_errno(err, ENOMEM, "cannot describe a file");
	file->extents[0].src_nbytes = nbytes; /* kind 0 is opaque */
	file->nextents = 1;
	return UW_OK;
}

void uw_model_file_free(struct uw_model_file *file)
{
	free(file->extents);
	*file = (struct uw_model_file){ 0 };
}
