/* SPDX-License-Identifier: Apache-2.0 */
/* format/: groups that share the stored bytes of an earlier one. */
#include "format_common.h"

#define RAW_NBYTES 96u

/* Header, then tensors "a" to "d" of 96 bytes, each with one group; c and d share what a stores. */
struct box {
	struct mem m;
	uint64_t index_off, index_nbytes, groups_at;
};

static const uint64_t dims[] = { RAW_NBYTES };

static void add_extent(struct uw_writer *w, uint8_t kind, const char *name)
{
	struct uw_extent e = {
		.src_nbytes = RAW_NBYTES,
		.kind = kind,
		.dtype = kind == UW_EXTENT_TENSOR ? UW_DTYPE_U8 : UW_DTYPE_NONE,
		.dims = dims,
		.ndims = kind == UW_EXTENT_TENSOR,
		.name = name,
		.name_nbytes = (uint32_t)strlen(name),
	};

	assert_int_equal(uw_writer_extent(w, &e, NULL), UW_OK);
}

static void add_group(struct uw_writer *w, uint8_t fill)
{
	uint8_t bytes[RAW_NBYTES];
	struct uw_group g = { .nbytes = RAW_NBYTES, .coding = RAW };

	memset(bytes, fill, sizeof(bytes));
	uw_hash64(bytes, sizeof(bytes), g.xxh64);
	assert_int_equal(uw_writer_group(w, bytes, &g, NULL), UW_OK);
}

static void box_make(struct box *b)
{
	struct uw_container_id id;
	struct uw_writer *w;

	memset(b, 0, sizeof(*b));
	assert_int_equal(uw_writer_open(&w, mem_write, &b->m, 5 * RAW_NBYTES, NULL), UW_OK);
	add_group(w, 1);
	add_extent(w, UW_EXTENT_HEADER, "");
	add_group(w, 2);
	add_extent(w, UW_EXTENT_TENSOR, "a");
	add_group(w, 3);
	add_extent(w, UW_EXTENT_TENSOR, "b");
	assert_int_equal(uw_writer_group_shared(w, 1, NULL), UW_OK);
	add_extent(w, UW_EXTENT_TENSOR, "c");
	assert_int_equal(uw_writer_group_shared(w, 3, NULL), UW_OK); /* itself one that shares */
	add_extent(w, UW_EXTENT_TENSOR, "d");
	assert_int_equal(uw_writer_finish(w, &id, NULL), UW_OK);
	uw_writer_free(w);
	b->index_off = uw_load_le64(b->m.data + b->m.nbytes - 64);
	b->index_nbytes = b->m.nbytes - 64 - b->index_off;
	b->groups_at = b->index_off + 32 + 5 * 48;
	assert_int_equal(id.nbytes, b->m.nbytes);
	assert_int_equal(b->index_off, 64 + 3 * 128);
}

/* Makes the hashes right again. */
static void box_seal(struct box *b)
{
	uint8_t *trailer = b->m.data + b->m.nbytes - 64;

	uw_hash64(b->m.data + b->index_off, (size_t)b->index_nbytes, trailer + 24);
	uw_hash64(trailer, 48, trailer + 48);
}

static void shared_groups_come_back(void **state)
{
	static const uint64_t offs[] = { 64, 192, 320, 192, 192 }, gaps[] = { 64, 160, 288, 192, 192, 416 };
	struct uw_index *index;
	struct box b;

	(void)state;
	box_make(&b);
	assert_int_equal(mem_open(&b.m, &index, NULL), UW_OK);
	assert_int_equal(index->ngroups, 5);
	for (unsigned i = 0; i < 5; i++) {
		assert_int_equal(index->groups[i].off, offs[i]);
		assert_int_equal(uw_index_group_shared(index, i), i >= 3);
		assert_int_equal(uw_index_gap_off(index, i), gaps[i]);
	}
	assert_int_equal(uw_index_gap_off(index, 5), gaps[5]);
	assert_memory_equal(index->groups[4].xxh64, index->groups[1].xxh64, 8);
	uw_index_free(&index);
	free(b.m.data);
}

/* Whatever bit of a sharing record differs, it is neither the earlier record nor the next place. Its fields other than
 * the offset must agree too, or two readers could see two models. */
static void every_bit_of_a_sharing_record_counts(void **state)
{
	(void)state;
	for (unsigned bit = 0; bit < 2 * 32 * 8; bit++) {
		struct uw_index *index = NULL;
		struct box b;

		box_make(&b);
		b.m.data[b.groups_at + 3 * 32 + bit / 8] ^= (uint8_t)(1u << bit % 8);
		box_seal(&b);
		if (mem_open(&b.m, &index, NULL) != UW_ERR_LAYOUT)
			fail_msg("bit %u of the records that share is not noticed", bit);
		assert_null(index);
		free(b.m.data);
	}
}

static void expect_bad_field(unsigned group, uint64_t off, unsigned field)
{
	struct uw_error err = {0};
	struct uw_index *index;
	struct box b;

	box_make(&b);
	uw_store_le64(b.m.data + b.groups_at + (uint64_t)group * 32, off);
	box_seal(&b);
	assert_int_equal(mem_open(&b.m, &index, &err), UW_ERR_LAYOUT);
	assert_int_equal(err.file_off, b.groups_at + (uint64_t)group * 32 + field);
	free(b.m.data);
}

static void expect_bad_offset(unsigned group, uint64_t off)
{
	expect_bad_field(group, off, 0);
}

static void only_earlier_groups_are_shared(void **state)
{
	(void)state;
	expect_bad_offset(1, 320); /* what a later group stores */
	expect_bad_offset(0, 0);   /* the header */
	expect_bad_offset(3, 0);
	expect_bad_offset(3, 256); /* within a group */
	expect_bad_offset(3, 64);  /* a group with other contents */
	expect_bad_offset(3, 320);
	expect_bad_field(3, 448, 8); /* the next place is that of the index */
	expect_bad_offset(3, UINT64_MAX - 63);
}

/* A record that would do for the earlier group, but not for the extent that shares it. */
static void a_shared_group_fits_its_own_extent(void **state)
{
	struct uw_error err = {0};
	struct uw_index *index;
	struct box b;

	(void)state;
	box_make(&b);
	uw_store_le64(b.m.data + b.index_off + 32 + 3 * 48, RAW_NBYTES - 1); /* sizes of c and d, dimensions with them */
	uw_store_le64(b.m.data + b.index_off + 32 + 4 * 48, RAW_NBYTES + 1);
	uw_store_le64(b.m.data + b.groups_at + 5 * 32 + 2 * 8, RAW_NBYTES - 1);
	uw_store_le64(b.m.data + b.groups_at + 5 * 32 + 3 * 8, RAW_NBYTES + 1);
	box_seal(&b);
	assert_int_equal(mem_open(&b.m, &index, &err), UW_ERR_LAYOUT);
	assert_int_equal(err.file_off, b.groups_at + 3 * 32 + 8);
	free(b.m.data);
}

static void the_writer_shares_only_what_it_has(void **state)
{
	struct mem m = {0};
	struct uw_writer *w;

	(void)state;
	for (uint64_t earlier = 1; earlier != 0; earlier = earlier == 1 ? UINT64_MAX : 0) {
		assert_int_equal(uw_writer_open(&w, mem_write, &m, RAW_NBYTES, NULL), UW_OK);
		add_group(w, 1);
		assert_int_equal(uw_writer_group_shared(w, earlier, NULL), UW_ERR_ARG);
		assert_int_equal(uw_writer_group_shared(w, 0, NULL), UW_ERR_ARG); /* failed before */
		uw_writer_free(w);
	}
	free(m.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shared_groups_come_back),
		cmocka_unit_test(every_bit_of_a_sharing_record_counts),
		cmocka_unit_test(only_earlier_groups_are_shared),
		cmocka_unit_test(a_shared_group_fits_its_own_extent),
		cmocka_unit_test(the_writer_shares_only_what_it_has),
	};

	return cmocka_run_group_tests(tests, payload_setup, payload_teardown);
}
