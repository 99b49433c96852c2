/* SPDX-License-Identifier: Apache-2.0 */
/* format/: containers whose groups may refer to a base. */
#include "format_common.h"

#define COPY 4
#define DELTA 5

#define HEADER_NBYTES 100u
#define NWEIGHTS 300u

/* A header, copied, and the tensors "a" (BF16, linear), "b" (F16) and "c" (U8), as many weights or bytes each; by these
 * codings and stored sizes. */
struct sort {
	uint8_t coding[4];
	uint32_t nbytes[4];
};

static const struct sort good = { { COPY, DELTA, DELTA, COPY }, { 16, 100, 17, 16 } };

static const uint64_t dims[] = { NWEIGHTS };

struct box {
	struct mem m;
	uint64_t index_off, index_nbytes;
};

static const uint8_t *digest_of(uint8_t digest[UW_BASE_DIGEST_NBYTES])
{
	for (unsigned i = 0; i < UW_BASE_DIGEST_NBYTES; i++)
		digest[i] = (uint8_t)(i + 1);
	return digest;
}

static struct uw_extent extent_of(unsigned i)
{
	static const uint8_t dtypes[] = { UW_DTYPE_NONE, UW_DTYPE_BF16, UW_DTYPE_F16, UW_DTYPE_U8 };
	static const uint32_t nbytes[] = { HEADER_NBYTES, 2 * NWEIGHTS, 2 * NWEIGHTS, NWEIGHTS };
	static const char *const names[] = { "", "a", "b", "c" };

	return (struct uw_extent){
		.src_nbytes = nbytes[i],
		.kind = i == 0 ? UW_EXTENT_HEADER : UW_EXTENT_TENSOR,
		.dtype = dtypes[i],
		.order = i == 1 ? LINEAR : BYTES,
		.dims = dims,
		.ndims = i != 0,
		.name = names[i],
		.name_nbytes = i != 0,
	};
}

/* The status of the first call that fails. */
static enum uw_status box_write(struct box *b, const struct sort *sort, bool based)
{
	uint8_t digest[UW_BASE_DIGEST_NBYTES];
	struct uw_container_id id;
	struct uw_writer *w;
	enum uw_status status;

	memset(b, 0, sizeof(*b));
	status = uw_writer_open_based(&w, mem_write, &b->m, HEADER_NBYTES + 5 * NWEIGHTS,
				      based ? digest_of(digest) : NULL, NULL);
	for (unsigned i = 0; i < 4 && status == UW_OK; i++) {
		struct uw_group g = { .nbytes = sort->nbytes[i], .coding = sort->coding[i] };
		struct uw_extent e = extent_of(i);

		uw_hash64(payload, (size_t)g.nbytes, g.xxh64);
		status = uw_writer_group(w, payload, &g, NULL);
		if (status == UW_OK)
			status = uw_writer_extent(w, &e, NULL);
	}
	if (status == UW_OK)
		status = uw_writer_finish(w, &id, NULL);
	uw_writer_free(w);
	if (status == UW_OK) {
		b->index_off = uw_load_le64(b->m.data + b->m.nbytes - 64);
		b->index_nbytes = b->m.nbytes - 64 - b->index_off;
	}
	return status;
}

static void box_seal(struct box *b)
{
	uint8_t *trailer = b->m.data + b->m.nbytes - 64;

	uw_hash64(b->m.data, 56, b->m.data + 56);
	uw_hash64(b->m.data + b->index_off, (size_t)b->index_nbytes, trailer + 24);
	uw_hash64(trailer, 48, trailer + 48);
}

static void comes_back(void **state)
{
	uint8_t digest[UW_BASE_DIGEST_NBYTES];
	struct uw_index *index;
	struct box b;

	(void)state;
	assert_int_equal(box_write(&b, &good, true), UW_OK);
	assert_int_equal(uw_load_le64(b.m.data + 16), 1);
	assert_int_equal(b.index_nbytes, 32 + 32 + 4 * 48 + 4 * 32 + 3 * 8 + 8);
	assert_memory_equal(b.m.data + b.index_off + 32, digest_of(digest), sizeof(digest));
	assert_int_equal(mem_open(&b.m, &index, NULL), UW_OK);
	assert_true(index->base.needed);
	assert_memory_equal(index->base.digest, digest, sizeof(digest));
	for (unsigned i = 0; i < 4; i++) {
		assert_int_equal(index->groups[i].coding, good.coding[i]);
		assert_int_equal(index->groups[i].nbytes, good.nbytes[i]);
	}
	uw_index_free(&index);
	free(b.m.data);

	/* a base that no group refers to */
	assert_int_equal(box_write(&b, &(struct sort){ { RAW, RAW, RAW, RAW }, { 100, 600, 600, 300 } }, true), UW_OK);
	assert_int_equal(mem_open(&b.m, &index, NULL), UW_OK);
	assert_true(index->base.needed);
	uw_index_free(&index);
	free(b.m.data);

	assert_int_equal(box_write(&b, &(struct sort){ { RAW, RAW, RAW, RAW }, { 100, 600, 600, 300 } }, false), UW_OK);
	assert_int_equal(mem_open(&b.m, &index, NULL), UW_OK);
	assert_false(index->base.needed);
	uw_index_free(&index);
	free(b.m.data);
}

static void writer_refuses(void **state)
{
	static const struct sort bad[] = {
		{ { COPY, DELTA, DELTA, COPY }, { 15, 100, 100, 16 } },
		{ { COPY, DELTA, DELTA, COPY }, { 17, 100, 100, 16 } },
		{ { COPY, DELTA, DELTA, COPY }, { 16, 16, 100, 16 } },
		{ { COPY, DELTA, DELTA, COPY }, { 16, 100, 600 + 1025, 16 } },
		{ { DELTA, DELTA, DELTA, COPY }, { 100, 100, 100, 16 } },
		{ { COPY, DELTA, DELTA, DELTA }, { 16, 100, 100, 100 } },
		{ { COPY, 6, DELTA, COPY }, { 16, 100, 100, 16 } },
	};
	struct box b;

	(void)state;
	for (size_t i = 0; i < COUNT(bad); i++) {
		assert_int_equal(box_write(&b, &bad[i], true), UW_ERR_ARG);
		free(b.m.data);
	}
	assert_int_equal(box_write(&b, &good, false), UW_ERR_ARG);
	free(b.m.data);
}

/* What stands in a record: group, offset in it, size, value; and the byte of the record to blame. */
static void reader_refuses(void **state)
{
	static const struct {
		unsigned group, at, nbytes;
		uint64_t value;
		unsigned blamed;
	} edits[] = {
		{ 0, 8, 8, 15, 8 },  { 3, 8, 8, 17, 8 },  { 1, 8, 8, 16, 8 },          { 2, 8, 8, 600 + 1025, 8 },
		{ 0, 28, 1, 5, 28 }, { 3, 28, 1, 5, 28 }, { 0, 24, 4, 1, 24 },         { 1, 29, 1, 1, 29 },
		{ 1, 28, 1, 6, 28 }, { 1, 28, 1, 4, 8 },  { 2, 8, 8, UINT64_MAX, 8 },
	};

	(void)state;
	for (size_t i = 0; i < COUNT(edits); i++) {
		struct uw_error err = { 0 };
		struct uw_index *index;
		struct box b;
		uint64_t record;

		assert_int_equal(box_write(&b, &good, true), UW_OK);
		record = b.index_off + 64 + 4 * 48 + 32 * edits[i].group;
		for (unsigned k = 0; k < edits[i].nbytes; k++)
			b.m.data[record + edits[i].at + k] = (uint8_t)(edits[i].value >> 8 * k);
		box_seal(&b);
		assert_int_equal(mem_open(&b.m, &index, &err), UW_ERR_LAYOUT);
		assert_int_equal(err.file_off, record + edits[i].blamed);
		free(b.m.data);
	}
}

/* Without the feature the index has no room for a digest; with others it is not ours. */
static void features_are_checked(void **state)
{
	static const struct {
		uint64_t features;
		enum uw_status status;
	} cases[] = { { 0, UW_ERR_LAYOUT }, { 1, UW_OK }, { 2, UW_ERR_FEATURE }, { 3, UW_ERR_FEATURE } };

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		struct uw_index *index;
		struct box b;

		assert_int_equal(box_write(&b, &good, true), UW_OK);
		uw_store_le64(b.m.data + 16, cases[i].features);
		box_seal(&b);
		assert_int_equal(mem_open(&b.m, &index, NULL), cases[i].status);
		if (index != NULL)
			uw_index_free(&index);
		free(b.m.data);
	}
}

static void flipped_bits_are_noticed(void **state)
{
	struct uw_index *index;
	struct box b;

	(void)state;
	assert_int_equal(box_write(&b, &good, true), UW_OK);
	for (uint64_t off = 0; off < b.m.nbytes; off = off == 63 ? b.index_off : off + 1) {
		for (unsigned bit = 0; bit < 8; bit++) {
			b.m.data[off] ^= (uint8_t)(1 << bit);
			assert_int_not_equal(mem_open(&b.m, &index, NULL), UW_OK);
			b.m.data[off] ^= (uint8_t)(1 << bit);
		}
	}
	free(b.m.data);
}

static void references_come_back(void **state)
{
	static const uint8_t stored[UW_REFERENCE_NBYTES] = { 4, 3, 2, 1, 0, 0, 0, 0, 8, 7, 6, 5, 4, 3, 2, 1 };
	struct uw_reference reference;
	uint8_t bytes[UW_REFERENCE_NBYTES];

	(void)state;
	assert_int_equal(uw_reference_load(stored, &reference), UW_OK);
	assert_int_equal(reference.file, 0x01020304);
	assert_int_equal(reference.off, UINT64_C(0x0102030405060708));
	uw_reference_store(&reference, bytes);
	assert_memory_equal(bytes, stored, sizeof(bytes));
	for (unsigned i = 4; i < 8; i++) {
		bytes[i] = 0x80;
		assert_int_equal(uw_reference_load(bytes, &reference), UW_ERR_LAYOUT);
		bytes[i] = 0;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(comes_back),
		cmocka_unit_test(writer_refuses),
		cmocka_unit_test(reader_refuses),
		cmocka_unit_test(features_are_checked),
		cmocka_unit_test(flipped_bits_are_noticed),
		cmocka_unit_test(references_come_back),
	};

	return cmocka_run_group_tests(tests, payload_setup, payload_teardown);
}
