/* SPDX-License-Identifier: Apache-2.0 */
/* tools/common/safetensors.c: which headers are taken as tensor files, and that the extents tile the file. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "safetensors.h"
#include "unweight/bytes.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

/* A header's text and the size of the data behind it. */
struct header_case {
	const char *what;
	const char *text;
	uint64_t data_nbytes;
};

/* What one F32 tensor of 8 bytes needs besides its name. */
#define T8 "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]}"
#define T8_WITH(more) "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]," more "}"
#define TENSOR(dtype, shape, begin, end) \
	"{\"dtype\":\"" dtype "\",\"shape\":[" shape "],\"data_offsets\":[" #begin "," #end "]}"

static const struct header_case accepted[] = {
	{ "no tensors", "{}", 0 },
	{ "one tensor", "{\"a\":" T8 "}", 8 },
	{ "whitespace on both sides", " \t\r\n{\"a\":" T8 "}  \n", 8 },
	{ "metadata", "{\"__metadata__\":{\"format\":\"pt\"},\"a\":" T8 "}", 8 },
	{ "metadata last", "{\"a\":" T8 ",\"__metadata__\":{}}", 8 },
	{ "metadata null", "{\"__metadata__\":null}", 0 },
	{ "metadata with NUL escape", "{\"__metadata__\":{\"k\":\"a\\u0000b\"}}", 0 },
	{ "unknown field", "{\"a\":" T8_WITH("\"x\":[{\"y\":1e-05}]") "}", 8 },
	{ "scalar", "{\"a\":" TENSOR("F64", "", 0, 8) "}", 8 },
	{ "empty name", "{\"\":" T8 "}", 8 },
	{ "name that looks like a path", "{\"../../x\":" T8 "}", 8 },
	{ "escapes and surrogate pair in name", "{\"\\ud83d\\ude00\\n\":" T8 "}", 8 },
	{ "brackets in name", "{\"[[[[[[[[[[[{\\\"{{{\":" T8 "}", 8 },
	{ "zero size first", "{\"a\":" TENSOR("F32", "0", 0, 0) ",\"b\":" T8 "}", 8 },
	{ "zero size between and last",
	  "{\"a\":" T8 ",\"b\":" TENSOR("BF16", "4,0", 8, 8) ",\"c\":" TENSOR("F32", "0", 8, 8) ",\"d\":"
	  TENSOR("U8", "1", 8, 9) ",\"e\":" TENSOR("U8", "0", 9, 9) "}", 9 },
	{ "zero in front of a large product", "{\"a\":" TENSOR("F32", "0,4611686018427387904,4611686018427387904", 0,
							       0) "}", 0 },
	{ "tensors in any order of text", "{\"b\":" TENSOR("U8", "3", 8, 11) ",\"a\":" T8 "}", 11 },
	{ "sub-byte dtype", "{\"a\":" TENSOR("F6_E2M3", "4", 0, 3) "}", 3 },
	{ "unknown dtype", "{\"a\":" TENSOR("F3_NEW", "7", 0, 5) "}", 5 },
	{ "unknown dtype, overflowing shape", "{\"a\":" TENSOR("X", "4611686018427387904,4611686018427387904", 0,
							       5) "}", 5 },
	{ "our words are unknown dtypes", "{\"a\":" TENSOR("NONE", "7", 0, 5) "}", 5 },
};

static const struct header_case refused[] = {
	{ "empty text", "", 0 },
	{ "whitespace only", "   ", 0 },
	{ "array", "[]", 0 },
	{ "string", "\"a\"", 0 },
	{ "two values", "{}{}", 0 },
	{ "BOM", "\xef\xbb\xbf{}", 0 },
	{ "trailing comma", "{\"a\":" T8 ",}", 8 },
	{ "comment", "{/**/}", 0 },
	{ "data but no tensors", "{}", 1 },
	{ "duplicate name, same offsets", "{\"a\":" T8 ",\"a\":" T8 "}", 8 },
	{ "duplicate name, other offsets", "{\"a\":" T8 ",\"a\":" TENSOR("U8", "1", 8, 9) "}", 9 },
	{ "duplicate name by escape", "{\"a\":" T8 ",\"\\u0061\":" TENSOR("U8", "1", 8, 9) "}", 9 },
	{ "duplicate metadata", "{\"__metadata__\":{},\"__metadata__\":{}}", 0 },
	{ "duplicate dtype", "{\"a\":" T8_WITH("\"dtype\":\"F32\"") "}", 8 },
	{ "duplicate shape", "{\"a\":" T8_WITH("\"shape\":[2]") "}", 8 },
	{ "duplicate key in metadata", "{\"__metadata__\":{\"a\":\"b\",\"a\":\"b\"}}", 0 },
	{ "metadata with a number", "{\"__metadata__\":{\"a\":1}}", 0 },
	{ "metadata with null", "{\"__metadata__\":{\"a\":null}}", 0 },
	{ "metadata is a list", "{\"__metadata__\":[]}", 0 },
	{ "metadata is a string", "{\"__metadata__\":\"pt\"}", 0 },
	{ "NUL escape in name", "{\"a\\u0000\":" T8 "}", 8 },
	{ "lone surrogate in name", "{\"\\ud800\":" T8 "}", 8 },
	{ "lone surrogate in metadata", "{\"__metadata__\":{\"a\":\"\\udc00\"}}", 0 },
	{ "invalid UTF-8", "{\"\xff\":" T8 "}", 8 },
	{ "overlong UTF-8", "{\"\xc0\xaf\":" T8 "}", 8 },
	{ "encoded surrogate", "{\"\xed\xa0\x80\":" T8 "}", 8 },
	{ "control character in name", "{\"a\nb\":" T8 "}", 8 },
	{ "tensor is null", "{\"a\":null}", 0 },
	{ "tensor is a list", "{\"a\":[\"F32\",[2],[0,8]]}", 8 },
	{ "no dtype", "{\"a\":{\"shape\":[2],\"data_offsets\":[0,8]}}", 8 },
	{ "dtype is a number", "{\"a\":{\"dtype\":5,\"shape\":[2],\"data_offsets\":[0,8]}}", 8 },
	{ "no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,8]}}", 8 },
	{ "no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2]}}", 8 },
	{ "shape null", "{\"a\":{\"dtype\":\"F32\",\"shape\":null,\"data_offsets\":[0,8]}}", 8 },
	{ "float in shape", "{\"a\":" TENSOR("F32", "2.0", 0, 8) "}", 8 },
	{ "exponent in shape", "{\"a\":" TENSOR("F32", "2e0", 0, 8) "}", 8 },
	{ "negative shape", "{\"a\":" TENSOR("F32", "-2,-1", 0, 8) "}", 8 },
	{ "negative zero", "{\"a\":" TENSOR("F32", "2", -0, 8) "}", 8 },
	{ "string in shape", "{\"a\":" TENSOR("F32", "\"2\"", 0, 8) "}", 8 },
	{ "leading zero", "{\"a\":" TENSOR("F32", "02", 0, 8) "}", 8 },
	{ "float offset", "{\"a\":" TENSOR("F32", "2", 0, 8.0) "}", 8 },
	{ "offset of 2^64", "{\"a\":" TENSOR("F32", "2", 0, 18446744073709551616) "}", 8 },
	{ "offset of 2^64 - 1", "{\"a\":" TENSOR("X", "2", 0, 18446744073709551615) "}", 8 },
	{ "offset of 2^63 - 1", "{\"a\":" TENSOR("X", "2", 0, 9223372036854775807) "}", 8 },
	{ "three offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8,8]}}", 8 },
	{ "one offset", "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[8]}}", 8 },
	{ "end before begin", "{\"a\":" T8 ",\"b\":" TENSOR("X", "", 8, 4) "}", 8 },
	{ "first begin not 0", "{\"a\":" TENSOR("F32", "2", 1, 9) "}", 9 },
	{ "hole", "{\"a\":" T8 ",\"b\":" TENSOR("U8", "1", 9, 10) "}", 10 },
	{ "overlap", "{\"a\":" T8 ",\"b\":" TENSOR("U8", "1", 7, 8) "}", 8 },
	{ "same range twice", "{\"a\":" T8 ",\"b\":" T8 "}", 8 },
	{ "zero size inside another one", "{\"a\":" T8 ",\"b\":" TENSOR("U8", "0", 4, 4) "}", 8 },
	{ "trailing data", "{\"a\":" T8 "}", 9 },
	{ "data too short", "{\"a\":" T8 "}", 7 },
	{ "larger than its shape", "{\"a\":" TENSOR("F32", "2", 0, 9) "}", 9 },
	{ "smaller than its shape", "{\"a\":" TENSOR("F32", "2", 0, 7) "}", 7 },
	{ "sub-byte size is no whole byte", "{\"a\":" TENSOR("F4", "3", 0, 2) "}", 2 },
	{ "overflow before a zero", "{\"a\":" TENSOR("F32", "4611686018427387904,4611686018427387904,0", 0, 0) "}", 0 },
	{ "overflow of bits", "{\"a\":" TENSOR("F32", "576460752303423488", 0, 0) "}", 0 },
	{ "overflow to the right size", "{\"a\":" TENSOR("U8", "4294967296,4294967296", 0, 0) "}", 0 },
	{ "nesting", "{\"a\":" T8_WITH("\"x\":[[[[[[[]]]]]]]") "}", 8 },
	{ "unclosed nesting", "[[[[[[[[[[[[[[[[", 0 },
	{ "many containers",
	  "{\"a\":" T8_WITH("\"x\":[[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],"
					      "[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[],[]]") "}", 8 },
};

static uint8_t *build(const char *text, size_t text_nbytes, uint64_t data_nbytes, uint64_t *nbytes)
{
	uint8_t *file = calloc(1, 8 + text_nbytes + data_nbytes);

	assert_non_null(file);
	uw_store_le64(file, text_nbytes);
	memcpy(file + 8, text, text_nbytes);
	*nbytes = 8 + text_nbytes + data_nbytes;
	return file;
}

/* Parses from an allocation of exactly this size, so that a byte read too far is seen. */
static enum uw_status parse_bytes(const uint8_t *bytes, uint64_t nbytes, struct uw_model_file *file)
{
	uint8_t *copy = malloc(nbytes ? nbytes : 1);
	struct uw_memory mem = { .data = copy };
	struct uw_blob blob;
	struct uw_error err;
	enum uw_status status;

	assert_non_null(copy);
	memcpy(copy, bytes, nbytes);
	uw_blob_of_memory(&mem, nbytes, &blob);
	status = uw_safetensors_parse(&blob, file, &err);
	if (status != UW_OK) {
		assert_int_equal(err.status, status);
		assert_null(file->extents);
	}
	free(copy);
	return status;
}

static enum uw_status parse(const char *text, uint64_t data_nbytes, struct uw_model_file *file)
{
	uint64_t nbytes;
	uint8_t *bytes = build(text, strlen(text), data_nbytes, &nbytes);
	enum uw_status status = parse_bytes(bytes, nbytes, file);

	free(bytes);
	return status;
}

static void assert_tiles(const struct uw_model_file *file, uint64_t nbytes)
{
	uint64_t pos = 0;

	assert_int_equal(file->extents[0].kind, UW_EXTENT_HEADER);
	for (uint64_t i = 0; i < file->nextents; i++) {
		const struct uw_extent *extent = &file->extents[i];
		uint64_t ngroups;

		assert_int_equal(extent->src_off, pos);
		pos += extent->src_nbytes;
		assert_int_equal(extent->kind == UW_EXTENT_TENSOR, i != 0);
		assert_int_equal(uw_extent_ngroups(extent->src_nbytes, extent->order, extent->dims, extent->ndims,
						   &ngroups), UW_OK);
	}
	assert_int_equal(pos, nbytes);
}

static void test_accepted(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(accepted); i++) {
		const struct header_case *c = &accepted[i];
		struct uw_model_file file;

		if (parse(c->text, c->data_nbytes, &file) != UW_OK)
			fail_msg("refused: %s", c->what);
		assert_tiles(&file, 8 + strlen(c->text) + c->data_nbytes);
		uw_model_file_free(&file);
	}
}

static void test_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(refused); i++) {
		const struct header_case *c = &refused[i];
		struct uw_model_file file;

		if (parse(c->text, c->data_nbytes, &file) != UW_ERR_FORMAT)
			fail_msg("not refused: %s", c->what);
	}
}

static void test_order_of_extents(void **state)
{
	static const char text[] =
		"{\"z\":" TENSOR("BF16", "64,64", 8, 8200) ",\"e2\":" TENSOR("U8", "0", 8,
									     8) ",\"__metadata__\":{},\"\":"
		TENSOR("BF16", "3", 8200, 8206) ",\"e1\":" TENSOR("BF16", "0,2", 8, 8) ",\"a\":" T8 ",\"o\":"
		TENSOR("NEW", "1,2,3", 8206, 8207) "}";
	static const struct {
		const char *name;
		uint8_t dtype, order, ndims;
	} want[] = {
		{ "a", UW_DTYPE_F32, 0, 1 }, { "e2", UW_DTYPE_U8, 0, 1 }, { "e1", UW_DTYPE_BF16, 1, 2 },
		{ "z", UW_DTYPE_BF16, 2, 2 }, { "", UW_DTYPE_BF16, 1, 1 }, { "o", UW_DTYPE_OTHER, 0, 3 },
	};
	struct uw_model_file file;

	(void)state;
	assert_int_equal(parse(text, 8207, &file), UW_OK);
	assert_tiles(&file, 8 + strlen(text) + 8207);
	assert_int_equal(file.nextents, 1 + COUNT(want));
	for (size_t i = 0; i < COUNT(want); i++) {
		const struct uw_extent *extent = &file.extents[1 + i];

		assert_int_equal(extent->name_nbytes, strlen(want[i].name));
		assert_memory_equal(extent->name, want[i].name, extent->name_nbytes);
		assert_int_equal(extent->dtype, want[i].dtype);
		assert_int_equal(extent->order, want[i].order);
		assert_int_equal(extent->ndims, want[i].ndims);
	}
	assert_int_equal(file.extents[6].dims[0], 1);
	assert_int_equal(file.extents[6].dims[2], 3);
	uw_model_file_free(&file);
	assert_int_equal(file.nextents, 0);
}

static void test_truncations(void **state)
{
	static const char text[] = "{\"a\":" T8 ",\"b\":" TENSOR("BF16", "2,2", 8, 16) "} ";
	struct uw_model_file file;
	uint64_t nbytes;
	uint8_t *bytes = build(text, strlen(text), 16, &nbytes);

	(void)state;
	assert_int_equal(parse_bytes(bytes, nbytes, &file), UW_OK);
	uw_model_file_free(&file);
	for (uint64_t n = 0; n < nbytes; n++)
		assert_int_equal(parse_bytes(bytes, n, &file), UW_ERR_FORMAT);
	free(bytes);
}

static void test_header_length(void **state)
{
	static const uint64_t lengths[] = { 3, 9, 100000000, 100000001, UINT64_C(1) << 63, UINT64_MAX };
	struct uw_model_file file;
	uint64_t nbytes;
	uint8_t *bytes = build("{}", 2, 0, &nbytes);

	(void)state;
	for (size_t i = 0; i < COUNT(lengths); i++) {
		uw_store_le64(bytes, lengths[i]);
		assert_int_equal(parse_bytes(bytes, nbytes, &file), UW_ERR_FORMAT);
	}
	free(bytes);
}

static enum uw_status pread_no_text(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	(void)ctx;
	if (off != 0 || nbytes != 8)
		return uw_fail(err, UW_ERR_IO, off, "text read");
	uw_store_le64(dst, UW_SAFETENSORS_MAX_HEADER + 1);
	return UW_OK;
}

static void test_long_header_is_not_read(void **state)
{
	struct uw_blob blob = { .pread = pread_no_text, .nbytes = UINT64_MAX };
	struct uw_model_file file;

	(void)state;
	assert_int_equal(uw_safetensors_parse(&blob, &file, NULL), UW_ERR_FORMAT);
}

static void test_nul_padding(void **state)
{
	static const char text[] = "{}\0\0\0\0\0\0";
	struct uw_model_file file;
	uint64_t nbytes;
	uint8_t *bytes = build(text, 8, 0, &nbytes);

	(void)state;
	assert_int_equal(parse_bytes(bytes, nbytes, &file), UW_ERR_FORMAT);
	memset(bytes + 10, ' ', 6);
	assert_int_equal(parse_bytes(bytes, nbytes, &file), UW_OK);
	uw_model_file_free(&file);
	free(bytes);
}

/* {"n...":{... "shape":[1,1,...]}} with a name of name_nbytes and ndims dimensions. */
static enum uw_status parse_long(size_t name_nbytes, unsigned ndims, struct uw_model_file *file)
{
	char *text = malloc(name_nbytes + 2 * ndims + 128), *p = text;
	enum uw_status status;

	assert_non_null(text);
	p += sprintf(p, "{\"");
	memset(p, 'n', name_nbytes);
	p += name_nbytes;
	p += sprintf(p, "\":{\"dtype\":\"BF16\",\"data_offsets\":[0,2],\"shape\":[");
	for (unsigned i = 0; i < ndims; i++)
		p += sprintf(p, "%s1", i ? "," : "");
	sprintf(p, "]}}");
	status = parse(text, 2, file);
	free(text);
	return status;
}

static void test_long_shapes_and_names(void **state)
{
	struct uw_model_file file;

	(void)state;
	assert_int_equal(parse_long(1 << 20, 255, &file), UW_OK);
	assert_int_equal(file.extents[1].name_nbytes, 1 << 20);
	assert_int_equal(file.extents[1].ndims, 255);
	uw_model_file_free(&file);
	assert_int_equal(parse_long(1, 256, &file), UW_ERR_FORMAT);
}

static void test_opaque(void **state)
{
	struct uw_model_file file;

	(void)state;
	assert_int_equal(uw_opaque_file(0, &file, NULL), UW_OK);
	assert_int_equal(file.nextents, 0);
	uw_model_file_free(&file);
	assert_int_equal(uw_opaque_file(7, &file, NULL), UW_OK);
	assert_int_equal(file.nextents, 1);
	assert_int_equal(file.extents[0].kind, UW_EXTENT_OPAQUE);
	assert_int_equal(file.extents[0].src_nbytes, 7);
	uw_model_file_free(&file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_accepted),
		cmocka_unit_test(test_refused),
		cmocka_unit_test(test_order_of_extents),
		cmocka_unit_test(test_truncations),
		cmocka_unit_test(test_header_length),
		cmocka_unit_test(test_long_header_is_not_read),
		cmocka_unit_test(test_nul_padding),
		cmocka_unit_test(test_long_shapes_and_names),
		cmocka_unit_test(test_opaque),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
