/* SPDX-License-Identifier: Apache-2.0 */
/* format/: what the writer writes the reader gives back, and what the writer refuses. */
#include "format_common.h"

static void check_groups(const struct plan *p, const struct uw_index *index, const struct mem *m)
{
	uint64_t end = 64;

	for (uint64_t i = 0; i <= p->ngroups; i++) {
		bool last = i == p->ngroups;
		uint64_t align = !last && p->groups[i].nbytes >= 1 << 20 ? 4096 : 64;
		uint64_t off = last ? index->index_off : index->groups[i].off;

		assert_int_equal(off, (end + align - 1) / align * align);
		assert_int_equal(uw_index_gap_off(index, i), end);
		for (uint64_t at = end; at < off; at++)
			assert_int_equal(m->data[at], 0);
		if (last)
			break;
		assert_int_equal(index->groups[i].nbytes, p->groups[i].nbytes);
		assert_int_equal(index->groups[i].npatches, p->groups[i].npatches);
		assert_int_equal(index->groups[i].coding, p->groups[i].coding);
		assert_int_equal(index->groups[i].ntables, p->groups[i].ntables);
		assert_memory_equal(index->groups[i].xxh64, p->groups[i].xxh64, 8);
		assert_int_equal(memcmp(m->data + off, payload, p->groups[i].nbytes), 0);
		end = off + p->groups[i].nbytes;
	}
}

static void check_extents(const struct plan *p, const struct uw_index *index)
{
	for (uint64_t i = 0; i < p->nextents; i++) {
		const struct uw_extent *want = &p->extents[i], *got = &index->extents[i];

		assert_int_equal(got->src_off, want->src_off);
		assert_int_equal(got->src_nbytes, want->src_nbytes);
		assert_memory_equal(got->xxh128, want->xxh128, 16);
		assert_int_equal(got->first_group, want->first_group);
		assert_int_equal(got->ngroups, want->ngroups);
		assert_int_equal(got->kind, want->kind);
		assert_int_equal(got->dtype, want->dtype);
		assert_int_equal(got->order, want->order);
		assert_int_equal(got->ndims, want->ndims);
		assert_int_equal(got->name_nbytes, want->name_nbytes);
		assert_int_equal(memcmp(got->dims, want->dims, want->ndims * sizeof(*want->dims)), 0);
		assert_int_equal(memcmp(got->name, want->name, want->name_nbytes), 0);
		if (want->kind == UW_EXTENT_TENSOR)
			assert_ptr_equal(uw_index_find(index, want->name, want->name_nbytes), got);
	}
	assert_null(uw_index_find(index, "no such name", 12));
}

/* Written and read, a plan comes back; a dry run knows the container's size and index hash without its bytes. */
static void check_identity(const struct plan *p)
{
	struct uw_container_id id, dry;
	struct mem m = {0};
	struct uw_index *index;
	struct uw_error err;

	assert_int_equal(plan_write(p, NULL, NULL, &dry, &err), UW_OK);
	assert_int_equal(plan_write(p, mem_write, &m, &id, &err), UW_OK);
	assert_int_equal(id.nbytes, m.nbytes);
	assert_int_equal(dry.nbytes, m.nbytes);
	assert_memory_equal(dry.index_xxh64, id.index_xxh64, 8);
	m.no_touch = uw_load_le64(m.data + m.nbytes - 64);
	assert_int_equal(mem_open(&m, &index, &err), UW_OK);
	assert_int_equal(index->src_nbytes, p->src_nbytes);
	assert_int_equal(index->nextents, p->nextents);
	assert_int_equal(index->ngroups, p->ngroups);
	assert_int_equal(index->id.nbytes, m.nbytes);
	assert_memory_equal(index->id.index_xxh64, id.index_xxh64, 8);
	check_extents(p, index);
	check_groups(p, index, &m);
	uw_index_free(&index);
	assert_null(index);
	free(m.data);
}

static void empty_and_opaque_files(void **state)
{
	static const uint64_t sizes[] = {0, 1, 63, 64, 4096, 1 << 20, (1 << 23) + 5};
	struct plan *p = calloc(1, sizeof(*p));

	(void)state;
	check_identity(p);
	for (size_t i = 0; i < COUNT(sizes); i++) {
		memset(p, 0, sizeof(*p));
		plan_raw_groups(p, plan_extent(p, UW_EXTENT_OPAQUE, 0, BYTES, NULL, 0, "", 0, sizes[i]));
		check_identity(p);
	}
	memset(p, 0, sizeof(*p));
	plan_raw_groups(p, plan_extent(p, UW_EXTENT_HEADER, 0, BYTES, NULL, 0, "", 0, 10));
	check_identity(p);
	free(p);
}


static void big_groups_lie_on_pages(void **state)
{
	struct plan *p = calloc(1, sizeof(*p));

	(void)state;
	plan_raw_groups(p, plan_extent(p, UW_EXTENT_HEADER, 0, BYTES, NULL, 0, "", 0, 11));
	plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_BF16, LINEAR, (uint64_t[]){(5 << 22) + 1}, 1, "a", 1, 0);
	plan_group(p, H, (1 << 20) - 1, 16, 0);
	plan_group(p, H, 1 << 20, 16, 0);
	plan_group(p, P4, (1 << 20) + 1, 1, 131072);
	plan_group(p, ZSTD, 1, 0, 0);
	plan_group(p, RAW, 1 << 23, 0, 0);
	plan_group(p, RAW, 2, 0, 0);
	check_identity(p);
	free(p);
}

static void plan_random_tensor(struct plan *p)
{
	static const uint8_t dtypes[] = {UW_DTYPE_BF16, UW_DTYPE_BF16, UW_DTYPE_BF16, UW_DTYPE_F32, UW_DTYPE_BOOL,
					 UW_DTYPE_F4, UW_DTYPE_OTHER};
	uint8_t dtype = dtypes[random_below(COUNT(dtypes))], ndims = (uint8_t)random_below(5), order;
	uint64_t dims[5];
	char name[16] = {0};
	uint32_t name_nbytes = (uint32_t)random_below(8);
	struct uw_extent *e;

	for (uint8_t i = 0; i < ndims; i++)
		dims[i] = random_below(8) == 0 ? 0 : 8 * (1 + random_below(ndims < 3 ? 60 : 4));
	if (dtype == UW_DTYPE_F4 && ndims == 0)
		dims[ndims++] = 2;
	order = random_below(4) == 0 ? BYTES : uw_extent_order(dtype, dims, ndims);
	for (uint32_t i = 2; i < name_nbytes; i++)
		name[i] = (char)random_below(128);
	name[0] = (char)p->nextents; /* unique and possibly NUL */
	e = plan_extent(p, UW_EXTENT_TENSOR, dtype, order, dims, ndims, name, name_nbytes + 1, random_below(10000));
	for (uint64_t i = 0; i < e->ngroups; i++) {
		struct uw_slice s;

		uw_extent_slice(e, i, &s);
		switch (random_below(3)) {
		case 0: plan_group(p, RAW, s.src_nbytes, 0, 0); break;
		case 1: plan_group(p, ZSTD, 1 + random_below(s.src_nbytes + 1024), 0, 0); break;
		default:
			if (order == BYTES)
				plan_group(p, ZSTD, 1, 0, 0);
			else
				plan_group(p, P4, 1 + random_below(2000), (uint8_t)(1 + random_below(16)), 32);
		}
	}
}

static void random_containers_come_back(void **state)
{
	struct plan *p = calloc(1, sizeof(*p));

	(void)state;
	for (int i = 0; i < 60; i++) {
		uint64_t ntensors = random_below(MAX_EXTENTS);

		memset(p, 0, sizeof(*p));
		plan_raw_groups(p, plan_extent(p, UW_EXTENT_HEADER, 0, BYTES, NULL, 0, "", 0, random_below(5000)));
		for (uint64_t k = 0; k < ntensors; k++)
			plan_random_tensor(p);
		check_identity(p);
	}
	plan_sample(p);
	check_identity(p);
	free(p);
}

static void names_may_differ_by_their_end_alone(void **state)
{
	struct plan *p = calloc(1, sizeof(*p));

	(void)state;
	plan_raw_groups(p, plan_extent(p, UW_EXTENT_HEADER, 0, BYTES, NULL, 0, "", 0, 10));
	for (uint32_t n = 0; n < 10; n++)
		plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_U8, BYTES, (uint64_t[]){0}, 1, "\0\0\0\0\0\0\0\0\0\0", 9 - n,
			    0);
	plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_U8, BYTES, (uint64_t[]){0}, 1, "\0x", 2, 0);
	check_identity(p);
	free(p);
}

/* ---- what the writer refuses ---- */

static enum uw_status write_sample_with(void (*edit)(struct plan *p))
{
	struct plan *p = calloc(1, sizeof(*p));
	struct uw_container_id id;
	struct uw_error err;
	enum uw_status status;

	plan_sample(p);
	edit(p);
	status = plan_write(p, NULL, NULL, &id, &err);
	if (status != UW_OK)
		assert_int_equal(err.status, status);
	free(p);
	return status;
}

static void edit_nothing(struct plan *p) { (void)p; }
static void edit_kind(struct plan *p) { p->extents[2].kind = UW_EXTENT_HEADER; }
static void edit_first_kind(struct plan *p) { p->extents[0].kind = UW_EXTENT_OPAQUE; }
static void edit_dtype(struct plan *p) { p->extents[5].dtype = 23; }
static void edit_dims(struct plan *p) { p->dims[4][1] = 3; }
static void edit_order(struct plan *p) { p->extents[4].order = LINEAR; }
static void edit_twice(struct plan *p) { memcpy(p->names[4], "tile", 4); }
static void edit_patches(struct plan *p) { p->groups[1].npatches = 32 * 4 + 1; }
static void edit_empty_group(struct plan *p) { p->groups[4].nbytes = 0; }
static void edit_raw(struct plan *p) { p->groups[0].nbytes = 99; }
static void edit_long_frame(struct plan *p) { p->groups[4].nbytes = 7 + 1024; }
static void edit_longer_frame(struct plan *p) { p->groups[4].nbytes = 7 + 1025; }
static void edit_long_weights(struct plan *p) { p->groups[1].nbytes = 2 * 2800 + (1 << 20); }
static void edit_longer_weights(struct plan *p) { p->groups[1].nbytes = 2 * 2800 + (1 << 20) + 1; }
static void edit_more_source(struct plan *p) { p->src_nbytes++; }
static void edit_less_source(struct plan *p) { p->src_nbytes--; }
static void edit_surplus_group(struct plan *p) { p->extents[4].ngroups = 2; }
static void edit_no_group(struct plan *p) { p->extents[4].ngroups = 0; }

static void writer_refuses_what_the_reader_would(void **state)
{
	(void)state;
	assert_int_equal(write_sample_with(edit_nothing), UW_OK);
	assert_int_equal(write_sample_with(edit_kind), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_first_kind), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_dtype), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_dims), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_order), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_twice), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_patches), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_empty_group), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_raw), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_long_frame), UW_OK);
	assert_int_equal(write_sample_with(edit_longer_frame), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_long_weights), UW_OK);
	assert_int_equal(write_sample_with(edit_longer_weights), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_more_source), UW_ERR_LAYOUT);
	assert_int_equal(write_sample_with(edit_less_source), UW_ERR_LAYOUT);
	assert_int_equal(write_sample_with(edit_surplus_group), UW_ERR_ARG);
	assert_int_equal(write_sample_with(edit_no_group), UW_ERR_ARG);
}

static enum uw_status write_name(const char *name, uint32_t nbytes)
{
	struct plan *p = calloc(1, sizeof(*p));
	struct uw_container_id id;
	enum uw_status status;

	plan_raw_groups(p, plan_extent(p, UW_EXTENT_HEADER, 0, BYTES, NULL, 0, "", 0, 10));
	plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_U8, BYTES, (uint64_t[]){0}, 1, name, nbytes, 0);
	status = plan_write(p, NULL, NULL, &id, NULL);
	free(p);
	return status;
}

static void names_are_utf8(void **state)
{
	static const char *const good[] = {"a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF",
					   "\xEE\x80\x80",
					   "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "x\xE2\x82\xACy"};
	static const char *const bad[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2x", "\xC2\xC2",
					  "\xE0\x9F\xBF",
					  "\xED\xA0\x80", "\xED\xBF\xBF", "\xE2\x82", "\xE2\x82x", "\xF0\x8F\xBF\xBF",
					  "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x90\x80", "\xF0\x90\x80x",
					  "\xFF"};

	(void)state;
	for (size_t i = 0; i < COUNT(good); i++)
		assert_int_equal(write_name(good[i], (uint32_t)strlen(good[i])), UW_OK);
	for (size_t i = 0; i < COUNT(bad); i++)
		assert_int_equal(write_name(bad[i], (uint32_t)strlen(bad[i])), UW_ERR_ARG);
}

static void write_errors_come_through(void **state)
{
	struct plan *p = calloc(1, sizeof(*p));
	struct uw_container_id id;
	struct mem whole = {0};

	(void)state;
	plan_sample(p);
	assert_int_equal(plan_write(p, mem_write, &whole, &id, NULL), UW_OK);
	for (size_t at = 1; at <= whole.nbytes; at++) {
		struct mem m = {.fail_at = at};

		assert_int_equal(plan_write(p, mem_write, &m, &id, NULL), UW_ERR_NOSPACE);
		free(m.data);
	}
	free(whole.data);
	free(p);
}

static void groups_need_bytes_and_an_extent(void **state)
{
	struct uw_group g = {.nbytes = 10};
	struct uw_container_id id;
	struct uw_writer *w;
	struct mem m = {0};

	(void)state;
	assert_int_equal(uw_writer_open(&w, mem_write, &m, 0, NULL), UW_OK);
	assert_int_equal(uw_writer_group(w, NULL, &g, NULL), UW_ERR_ARG);
	uw_writer_free(w);
	assert_int_equal(uw_writer_open(&w, mem_write, &m, 0, NULL), UW_OK);
	assert_int_equal(uw_writer_group(w, payload, &g, NULL), UW_OK);
	assert_int_equal(uw_writer_finish(w, &id, NULL), UW_ERR_ARG);
	uw_writer_free(w);
	m.fail_at = 1;
	assert_int_equal(uw_writer_open(&w, mem_write, &m, 0, NULL), UW_ERR_NOSPACE);
	assert_null(w);
	free(m.data);
}

static void huge_dry_runs_do_not_wrap(void **state)
{
	struct uw_group g = {.nbytes = UINT64_MAX - 100};
	struct uw_writer *w;

	(void)state;
	assert_int_equal(uw_writer_open(&w, NULL, NULL, 0, NULL), UW_OK);
	assert_int_equal(uw_writer_group(w, NULL, &g, NULL), UW_ERR_ARG);
	uw_writer_free(w);
	uw_writer_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_and_opaque_files),
		cmocka_unit_test(big_groups_lie_on_pages),
		cmocka_unit_test(random_containers_come_back),
		cmocka_unit_test(names_may_differ_by_their_end_alone),
		cmocka_unit_test(writer_refuses_what_the_reader_would),
		cmocka_unit_test(names_are_utf8),
		cmocka_unit_test(write_errors_come_through),
		cmocka_unit_test(groups_need_bytes_and_an_extent),
		cmocka_unit_test(huge_dry_runs_do_not_wrap),
	};

	return cmocka_run_group_tests_name("format_writer", tests, payload_setup, payload_teardown);
}
