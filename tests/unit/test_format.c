/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format/: cutting extents, writing and reading containers, refusing broken ones. Offsets are SPEC.md's, written out
 * as numbers, so that a slip in format/layout.h shows.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unweight/bytes.h"
#include "unweight/format.h"

#define BYTES 0
#define LINEAR 1
#define TILED 2

#define RAW 0
#define ZSTD 1
#define H 2
#define P4 3

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static uint64_t random_state = 1;

static uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

static uint64_t random_below(uint64_t n)
{
	return (random_u64() >> 11) % n;
}

/* ---- a file in memory ---- */

struct mem {
	uint8_t *data;
	size_t nbytes;
	size_t nbytes_max;
	size_t fail_at;     /* writing ends with UW_ERR_NOSPACE here */
	uint64_t no_touch;  /* reading below here and above the header is an error of the reader */
	unsigned nreads_left;
};

static enum uw_status mem_write(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	struct mem *m = ctx;

	if (m->fail_at != 0 && m->nbytes + nbytes >= m->fail_at)
		return uw_fail(err, UW_ERR_NOSPACE, m->nbytes, "full");
	if (m->nbytes + nbytes > m->nbytes_max) {
		m->nbytes_max = 2 * (m->nbytes + nbytes);
		m->data = realloc(m->data, m->nbytes_max);
		assert_non_null(m->data);
	}
	memcpy(m->data + m->nbytes, data, nbytes);
	m->nbytes += nbytes;
	return UW_OK;
}

static enum uw_status mem_pread(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	struct mem *m = ctx;

	assert_true(off <= m->nbytes && nbytes <= m->nbytes - off);
	assert_true(off + nbytes <= 64 || off >= m->no_touch);
	if (m->nreads_left-- == 0)
		return uw_fail(err, UW_ERR_IO, off, "unreadable");
	memcpy(dst, m->data + off, nbytes);
	return UW_OK;
}

static enum uw_status mem_open(struct mem *m, struct uw_index **index, struct uw_error *err)
{
	m->nreads_left = UINT32_MAX;
	return uw_index_open(mem_pread, m, m->nbytes, index, err);
}

/* ---- dtypes and hashes ---- */

static void dtype_names_and_codes_agree(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 256; i++) {
		const char *name = uw_dtype_name((uint8_t)i);

		assert_int_equal(name != NULL, i <= 22 || i == 255);
		if (name != NULL && i > 0)
			assert_int_equal(uw_dtype_code(name, strlen(name)), i);
		assert_int_equal(uw_dtype_nbits((uint8_t)i) != 0, i >= 1 && i <= 22);
	}
	assert_int_equal(uw_dtype_code("NONE", 4), UW_DTYPE_OTHER);
	assert_int_equal(uw_dtype_code("BF16", 3), UW_DTYPE_OTHER);
	assert_int_equal(uw_dtype_code("BF16x", 5), UW_DTYPE_OTHER);
	assert_int_equal(uw_dtype_code("", 0), UW_DTYPE_OTHER);
	assert_int_equal(uw_dtype_nbits(UW_DTYPE_BF16), 16);
	assert_int_equal(uw_dtype_nbits(UW_DTYPE_F6_E2M3), 6);
	assert_int_equal(uw_dtype_nbits(UW_DTYPE_F4), 4);
	assert_int_equal(uw_dtype_nbits(UW_DTYPE_C64), 64);
}

static void hashes_are_canonical_xxh3(void **state)
{
	/* xxHash's own values for the empty input */
	static const uint8_t empty64[8] = {0x2D, 0x06, 0x80, 0x05, 0x38, 0xD3, 0x94, 0xC2};
	static const uint8_t empty128[16] = {0x99, 0xAA, 0x06, 0xD3, 0x01, 0x47, 0x98, 0xD8,
					     0x60, 0x01, 0xC3, 0x24, 0x46, 0x8D, 0x49, 0x7F};
	uint8_t data[1000], out[16], again[16];
	struct uw_hash128 *h = uw_hash128_new();

	(void)state;
	assert_non_null(h);
	uw_hash64("", 0, out);
	assert_memory_equal(out, empty64, 8);
	uw_hash128_update(h, NULL, 0);
	uw_hash128_final(h, out);
	assert_memory_equal(out, empty128, 16);

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = (uint8_t)random_u64();
	uw_hash128_update(h, data, sizeof(data));
	uw_hash128_final(h, out);
	uw_hash128_reset(h);
	uw_hash128_update(h, data, 1);
	uw_hash128_update(h, data + 1, sizeof(data) - 1);
	uw_hash128_final(h, again);
	assert_memory_equal(out, again, 16);
	uw_hash128_free(h);
	uw_hash128_free(NULL);
}

/* ---- how extents are cut ---- */

/* Slices follow one another from 0 to the end; in tiled order each is whole rows of one matrix, and full unless last. */
static void check_slices(const struct uw_extent *e)
{
	uint64_t ngroups, off = 0;
	uint64_t nrows = e->order == TILED ? e->dims[e->ndims - 2] : 0;
	uint64_t ncols = e->order == TILED ? e->dims[e->ndims - 1] : 0;
	uint64_t nblocks = e->order == TILED ? 3 * 32768 / ((ncols + 63) / 64 * 64) : 0;
	uint64_t full = 64 * (nblocks > 0 ? nblocks : 1);

	assert_int_equal(uw_extent_ngroups(e->src_nbytes, e->order, e->dims, e->ndims, &ngroups), UW_OK);
	for (uint64_t i = 0; i < ngroups; i++) {
		struct uw_slice s;

		uw_extent_slice(e, i, &s);
		assert_int_equal(s.src_off, off);
		assert_true(s.src_nbytes > 0);
		off += s.src_nbytes;
		if (e->order == TILED) {
			uint64_t row = s.src_off / (2 * ncols) % nrows;

			assert_int_equal(s.src_off % (2 * ncols), 0);
			assert_int_equal(s.ncols, ncols);
			assert_int_equal(s.src_nbytes, 2 * s.nrows * ncols);
			assert_int_equal(s.nrows, nrows - row < full ? nrows - row : full);
		} else {
			assert_true(s.src_nbytes == (UINT64_C(1) << 23) || i == ngroups - 1);
			assert_int_equal(s.nrows, e->order == LINEAR ? 1 : 0);
			assert_int_equal(s.ncols, e->order == LINEAR ? s.src_nbytes / 2 : 0);
		}
	}
	assert_int_equal(off, e->src_nbytes);
}

static void slices_tile_tiled_extents(void **state)
{
	static const uint64_t shapes[][4] = {
		/* L1 L2 R C; a leading 0 is left out */
		{0, 0, 1, 1}, {0, 0, 1, 64}, {0, 0, 64, 64}, {0, 0, 65, 65}, {0, 0, 63, 63}, {0, 0, 1, 131072},
		{0, 0, 64, 131072}, {0, 0, 129, 131009}, {0, 0, 65536, 1}, {0, 0, 65537, 64}, {0, 0, 4096, 4096},
		{0, 0, 1025, 4097}, {0, 0, 64, 65537}, {0, 0, 100, 65536}, {0, 0, 11008, 4096}, {0, 0, 128256, 4096},
		{0, 3, 17, 33}, {0, 5, 1, 1}, {0, 8, 1024, 4096}, {0, 128, 768, 2048}, {2, 3, 1000, 100}, {7, 1, 64, 70000},
		{0, 2, 4097, 1024},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(shapes); i++) {
		uint8_t skip = shapes[i][0] != 0 ? 0 : shapes[i][1] != 0 ? 1 : 2;
		struct uw_extent e = {.order = TILED, .kind = UW_EXTENT_TENSOR, .dtype = UW_DTYPE_BF16,
				      .dims = shapes[i] + skip, .ndims = (uint8_t)(4 - skip)};

		e.src_nbytes = 2;
		for (uint8_t d = 0; d < e.ndims; d++)
			e.src_nbytes *= e.dims[d];
		check_slices(&e);
	}
	for (int i = 0; i < 500; i++) {
		uint64_t dims[3] = {1 + random_below(5), 1 + random_below(3000), 1 + random_below(131072)};
		struct uw_extent e = {.order = TILED, .dims = dims, .ndims = 3,
				      .src_nbytes = 2 * dims[0] * dims[1] * dims[2]};

		check_slices(&e);
	}
}

static void slices_tile_runs(void **state)
{
	static const uint64_t sizes[] = {0, 2, 1 << 23, (1 << 23) - 2, (1 << 23) + 2, UINT64_C(5) << 23, 123456790};

	(void)state;
	for (size_t i = 0; i < COUNT(sizes); i++) {
		struct uw_extent e = {.order = LINEAR, .src_nbytes = sizes[i]};

		check_slices(&e);
		e.order = BYTES;
		check_slices(&e);
		e.src_nbytes++;
		check_slices(&e);
	}
}

static void misfit_geometry_is_refused(void **state)
{
	static const struct {
		uint64_t src_nbytes;
		uint8_t order;
		uint64_t dims[3];
		uint8_t ndims;
		enum uw_status status;
	} cases[] = {
		{262144, TILED, {1, 131072}, 2, UW_OK},
		{262146, TILED, {1, 131073}, 2, UW_ERR_LAYOUT}, /* Cp beyond 2^17 */
		{128, TILED, {64}, 1, UW_ERR_LAYOUT},
		{2, TILED, {0}, 0, UW_ERR_LAYOUT},
		{0, TILED, {0, 64}, 2, UW_ERR_LAYOUT},
		{0, TILED, {64, 0}, 2, UW_ERR_LAYOUT},
		{0, TILED, {0, 64, 64}, 3, UW_ERR_LAYOUT},
		{8192, TILED, {64, 63}, 2, UW_ERR_LAYOUT},
		{8192, TILED, {(UINT64_C(1) << 63) + 64, 64}, 2, UW_ERR_LAYOUT}, /* wraps to 8192 */
		{8192, TILED, {UINT64_MAX, UINT64_MAX, 64}, 3, UW_ERR_LAYOUT},
		{8192, TILED, {64, UINT64_MAX}, 2, UW_ERR_LAYOUT},
		{3, LINEAR, {1}, 1, UW_ERR_LAYOUT},
		{2, 3, {1}, 1, UW_ERR_LAYOUT},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++) {
		uint64_t ngroups;

		assert_int_equal(uw_extent_ngroups(cases[i].src_nbytes, cases[i].order, cases[i].dims, cases[i].ndims,
						   &ngroups), cases[i].status);
	}
}

static void order_is_the_advised_one(void **state)
{
	static const struct {
		uint8_t dtype;
		uint64_t dims[3];
		uint8_t ndims;
		uint8_t order;
	} cases[] = {
		{UW_DTYPE_BF16, {4096, 4096}, 2, TILED},
		{UW_DTYPE_F16, {4096, 4096}, 2, BYTES},
		{UW_DTYPE_OTHER, {4096, 4096}, 2, BYTES},
		{UW_DTYPE_BF16, {4096}, 1, LINEAR},
		{UW_DTYPE_BF16, {0}, 0, LINEAR},
		{UW_DTYPE_BF16, {16, 64}, 2, TILED},
		{UW_DTYPE_BF16, {16, 63}, 2, TILED},            /* 1024 <= 1.03 * 1008 */
		{UW_DTYPE_BF16, {16, 62}, 2, LINEAR},
		{UW_DTYPE_BF16, {100, 6400}, 2, LINEAR},        /* 112 > 103 */
		{UW_DTYPE_BF16, {1600, 6213}, 2, TILED},        /* 6272 <= 1.03 * 6213 */
		{UW_DTYPE_BF16, {103, 64}, 2, LINEAR},
		{UW_DTYPE_BF16, {16, 131072}, 2, TILED},
		{UW_DTYPE_BF16, {16, 131073}, 2, LINEAR},
		{UW_DTYPE_BF16, {16, 0}, 2, LINEAR},
		{UW_DTYPE_BF16, {0, 64}, 2, LINEAR},
		{UW_DTYPE_BF16, {3, 256, 256}, 3, TILED},
		{UW_DTYPE_BF16, {3, 240, 256}, 3, LINEAR},      /* small matrices in a stack */
		{UW_DTYPE_BF16, {1, 240, 256}, 3, LINEAR},
		{UW_DTYPE_BF16, {0, 256, 256}, 3, LINEAR},
		{UW_DTYPE_BF16, {UINT64_MAX, 64}, 2, LINEAR},
		{UW_DTYPE_BF16, {UINT64_MAX, UINT64_MAX, UINT64_MAX}, 3, LINEAR},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(cases); i++)
		assert_int_equal(uw_extent_order(cases[i].dtype, cases[i].dims, cases[i].ndims), cases[i].order);
}

/* ---- containers: a plan, written and compared with what the reader gives back ---- */

#define MAX_EXTENTS 40
#define MAX_GROUPS 400

struct plan {
	struct uw_extent extents[MAX_EXTENTS];
	uint64_t dims[MAX_EXTENTS][5];
	char names[MAX_EXTENTS][16];
	struct uw_group groups[MAX_GROUPS];
	uint64_t nextents;
	uint64_t ngroups;
	uint64_t src_nbytes;
};

static uint8_t *payload; /* what every group stores the beginning of */
#define PAYLOAD_NBYTES (UINT64_C(9) << 20)

static int payload_setup(void **state)
{
	(void)state;
	payload = malloc(PAYLOAD_NBYTES);
	if (payload == NULL)
		return -1;
	for (size_t i = 0; i < PAYLOAD_NBYTES; i++)
		payload[i] = (uint8_t)(i * 167 >> 3);
	return 0;
}

static int payload_teardown(void **state)
{
	(void)state;
	free(payload);
	return 0;
}

static void plan_group(struct plan *p, uint8_t coding, uint64_t nbytes, uint8_t ntables, uint32_t npatches)
{
	struct uw_group *g = &p->groups[p->ngroups++];

	*g = (struct uw_group){.nbytes = nbytes, .coding = coding, .ntables = ntables, .npatches = npatches};
	uw_hash64(payload, (size_t)nbytes, g->xxh64);
}

/* Adds an extent without groups; the size follows from the dimensions unless the dtype has no size. */
static struct uw_extent *plan_extent(struct plan *p, uint8_t kind, uint8_t dtype, uint8_t order, const uint64_t *dims,
				     uint8_t ndims, const char *name, uint32_t name_nbytes, uint64_t src_nbytes)
{
	uint64_t k = p->nextents++;
	struct uw_extent *e = &p->extents[k];

	*e = (struct uw_extent){.src_off = p->src_nbytes, .src_nbytes = src_nbytes, .first_group = p->ngroups,
				.dims = p->dims[k], .ndims = ndims, .name = p->names[k],
				.name_nbytes = name_nbytes, .kind = kind, .dtype = dtype, .order = order};
	if (ndims > 0)
		memcpy(p->dims[k], dims, ndims * sizeof(*dims));
	memcpy(p->names[k], name, name_nbytes);
	if (uw_dtype_nbits(dtype) != 0) {
		e->src_nbytes = uw_dtype_nbits(dtype);
		for (uint8_t i = 0; i < ndims; i++)
			e->src_nbytes *= dims[i];
		e->src_nbytes /= 8;
	}
	for (size_t i = 0; i < sizeof(e->xxh128); i++)
		e->xxh128[i] = (uint8_t)random_u64();
	assert_int_equal(uw_extent_ngroups(e->src_nbytes, order, e->dims, ndims, &e->ngroups), UW_OK);
	p->src_nbytes += e->src_nbytes;
	return e;
}

static void plan_raw_groups(struct plan *p, const struct uw_extent *e)
{
	for (uint64_t i = 0; i < e->ngroups; i++) {
		struct uw_slice s;

		uw_extent_slice(e, i, &s);
		plan_group(p, RAW, s.src_nbytes, 0, 0);
	}
}

static enum uw_status plan_write(const struct plan *p, uw_write_fn write, struct mem *m, struct uw_container_id *id,
				 struct uw_error *err)
{
	struct uw_writer *w;
	enum uw_status status = uw_writer_open(&w, write, m, p->src_nbytes, err);
	uint64_t g = 0;

	if (status != UW_OK) {
		assert_null(w);
		return status;
	}
	for (uint64_t i = 0; status == UW_OK && i < p->nextents; i++) {
		for (uint64_t k = 0; status == UW_OK && k < p->extents[i].ngroups; k++, g++)
			status = uw_writer_group(w, write != NULL ? payload : NULL, &p->groups[g], err);
		if (status == UW_OK)
			status = uw_writer_extent(w, &p->extents[i], err);
	}
	if (status == UW_OK)
		status = uw_writer_finish(w, id, err);
	/* Failed or finished: nothing more is taken. */
	assert_int_equal(uw_writer_extent(w, &p->extents[0], NULL), UW_ERR_ARG);
	assert_int_equal(uw_writer_group(w, payload, &p->groups[0], NULL), UW_ERR_ARG);
	assert_int_equal(uw_writer_finish(w, id, NULL), UW_ERR_ARG);
	uw_writer_free(w);
	return status;
}

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

/* One of each: the base of the tests with broken containers below. 6 extents, 5 groups, 10 dimensions, 14 name bytes. */
static void plan_sample(struct plan *p)
{
	memset(p, 0, sizeof(*p));
	plan_raw_groups(p, plan_extent(p, UW_EXTENT_HEADER, 0, BYTES, NULL, 0, "", 0, 100));
	plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_BF16, TILED, (uint64_t[]){20, 70}, 2, "tile", 4, 0);
	plan_group(p, H, 192, 2, 3);
	plan_raw_groups(p, plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_BF16, LINEAR, (uint64_t[]){5}, 1, "li\0e", 4, 0));
	plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_U8, BYTES, (uint64_t[]){3, 2, 0}, 3, "", 0, 0);
	plan_raw_groups(p, plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_F32, BYTES, (uint64_t[]){2, 2}, 2, "tilf", 4, 0));
	plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_OTHER, BYTES, (uint64_t[]){3, 5}, 2, "\xC3\xA9", 2, 7);
	plan_group(p, ZSTD, 100, 0, 0);
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
		plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_U8, BYTES, (uint64_t[]){0}, 1, "\0\0\0\0\0\0\0\0\0\0", 9 - n, 0);
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
	static const char *const good[] = {"a", "\x7F", "\xC2\x80", "\xDF\xBF", "\xE0\xA0\x80", "\xED\x9F\xBF", "\xEE\x80\x80",
					   "\xEF\xBF\xBF", "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF", "x\xE2\x82\xACy"};
	static const char *const bad[] = {"\x80", "\xBF", "\xC0\x80", "\xC1\xBF", "\xC2", "\xC2x", "\xC2\xC2", "\xE0\x9F\xBF",
					  "\xED\xA0\x80", "\xED\xBF\xBF", "\xE2\x82", "\xE2\x82x", "\xF0\x8F\xBF\xBF",
					  "\xF4\x90\x80\x80", "\xF5\x80\x80\x80", "\xF0\x90\x80", "\xF0\x90\x80x", "\xFF"};

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

/* ---- what the reader refuses ---- */

struct box {
	struct mem m;
	uint64_t index_off;
	uint64_t index_nbytes;
};

enum part { HEADER, TRAILER, INDEX, EXTENT, GROUP, DIM, NAME };

/* Byte `off` of the `i`th record of a part of the sample container. */
struct place {
	enum part part;
	unsigned i;
	unsigned off;
};

static uint64_t place_off(const struct box *b, struct place at)
{
	uint64_t groups = b->index_off + 32 + 6 * 48, dims = groups + 5 * 32, names = dims + 10 * 8;

	switch (at.part) {
	case HEADER: return at.off;
	case TRAILER: return b->m.nbytes - 64 + at.off;
	case INDEX: return b->index_off + at.off;
	case EXTENT: return b->index_off + 32 + 48 * at.i + at.off;
	case GROUP: return groups + 32 * at.i + at.off;
	case DIM: return dims + 8 * at.i + at.off;
	case NAME: return names + at.i + at.off;
	}
	return 0;
}

static void box_make(struct box *b)
{
	struct plan *p = calloc(1, sizeof(*p));
	struct uw_container_id id;

	memset(b, 0, sizeof(*b));
	plan_sample(p);
	assert_int_equal(plan_write(p, mem_write, &b->m, &id, NULL), UW_OK);
	b->index_off = uw_load_le64(b->m.data + b->m.nbytes - 64);
	b->index_nbytes = b->m.nbytes - 64 - b->index_off;
	b->m.no_touch = b->index_off;
	assert_int_equal(b->index_nbytes, 32 + 6 * 48 + 5 * 32 + 10 * 8 + 14 + 2);
	free(p);
}

/* Makes all hashes right again: only structure is wrong then. */
static void box_seal(struct box *b)
{
	uint8_t *trailer = b->m.data + b->m.nbytes - 64;

	uw_hash64(b->m.data, 56, b->m.data + 56);
	uw_hash64(b->m.data + b->index_off, (size_t)b->index_nbytes, trailer + 24);
	uw_hash64(trailer, 48, trailer + 48);
}

static void box_expect(struct box *b, const char *what, enum uw_status status, uint64_t file_off)
{
	struct uw_index *index = NULL;
	struct uw_error err = {0};
	enum uw_status got = mem_open(&b->m, &index, &err);

	if (got != status || (status != UW_OK && err.file_off != file_off))
		fail_msg("%s: status %d at %llu (%s), expected %d at %llu", what, (int)got,
			 (unsigned long long)err.file_off, err.what, (int)status, (unsigned long long)file_off);
	if (status != UW_OK) {
		assert_null(index);
		assert_int_equal(err.status, status);
		assert_true(err.what[0] != '\0');
	} else {
		uw_index_free(&index);
	}
}

struct edit {
	struct place at;
	unsigned nbytes;
	uint64_t value;
};

struct hostile {
	const char *what;
	struct edit edits[3]; /* those of 0 bytes do nothing */
	enum uw_status status;
	struct place blamed;
};

static void edit_apply(struct box *b, const struct edit *edit)
{
	for (unsigned i = 0; i < edit->nbytes; i++)
		b->m.data[place_off(b, edit->at) + i] = (uint8_t)(edit->value >> 8 * i);
}

#define X UW_ERR_LAYOUT

static const struct hostile hostiles[] = {
	{"untouched", {{{HEADER, 0, 0}, 0, 0}}, UW_OK, {HEADER, 0, 0}},
	{"other minor version", {{{HEADER, 0, 10}, 2, 7}}, UW_OK, {HEADER, 0, 0}},
	{"compatible features", {{{HEADER, 0, 24}, 8, UINT64_MAX}}, UW_OK, {HEADER, 0, 0}},
	{"magic", {{{HEADER, 0, 4}, 1, '\n'}}, UW_ERR_MAGIC, {HEADER, 0, 0}},
	{"major 0", {{{HEADER, 0, 8}, 2, 0}}, UW_ERR_VERSION, {HEADER, 0, 8}},
	{"major 2", {{{HEADER, 0, 8}, 2, 2}}, UW_ERR_VERSION, {HEADER, 0, 8}},
	{"incompatible feature", {{{HEADER, 0, 16}, 8, 1}}, UW_ERR_FEATURE, {HEADER, 0, 16}},
	{"incompatible feature 63", {{{HEADER, 0, 23}, 1, 0x80}}, UW_ERR_FEATURE, {HEADER, 0, 16}},

	{"trailer magic", {{{TRAILER, 0, 59}, 1, 'C'}}, UW_ERR_TRUNCATED, {TRAILER, 0, 56}},
	{"index at 0", {{{TRAILER, 0, 0}, 8, 0}}, X, {TRAILER, 0, 0}},
	{"index at 2^64 - 64", {{{TRAILER, 0, 0}, 8, UINT64_MAX - 63}}, X, {TRAILER, 0, 8}},
	{"index not aligned", {{{TRAILER, 0, 0}, 8, 65}}, X, {TRAILER, 0, 0}},
	{"index of 2^64 - 1", {{{TRAILER, 0, 8}, 8, UINT64_MAX}}, X, {TRAILER, 0, 8}},
	{"index of 0", {{{TRAILER, 0, 8}, 8, 0}}, X, {TRAILER, 0, 8}},
	{"file of 0", {{{TRAILER, 0, 16}, 8, 0}}, X, {TRAILER, 0, 16}},
	{"file of 2^64 - 1", {{{TRAILER, 0, 16}, 8, UINT64_MAX}}, X, {TRAILER, 0, 16}},

	{"2^32 - 1 extents", {{{INDEX, 0, 8}, 4, UINT32_MAX}}, X, {INDEX, 0, 8}},
	{"2^32 - 1 groups", {{{INDEX, 0, 12}, 4, UINT32_MAX}}, X, {INDEX, 0, 8}},
	{"2^32 - 1 dimensions", {{{INDEX, 0, 16}, 4, UINT32_MAX}}, X, {INDEX, 0, 8}},
	{"2^32 - 1 name bytes", {{{INDEX, 0, 20}, 4, UINT32_MAX}}, X, {INDEX, 0, 8}},
	{"2^32 - 1 of everything", {{{INDEX, 0, 8}, 8, UINT64_MAX}, {{INDEX, 0, 16}, 8, UINT64_MAX}}, X, {INDEX, 0, 8}},
	{"no extents", {{{INDEX, 0, 8}, 4, 0}}, X, {INDEX, 0, 8}},
	{"extents taken for groups", {{{INDEX, 0, 8}, 4, 4}, {{INDEX, 0, 12}, 4, 8}}, X, {INDEX, 0, 0}},
	{"names taken for a dimension", {{{INDEX, 0, 16}, 4, 11}, {{INDEX, 0, 20}, 4, 6}}, X, {EXTENT, 2, 40}},
	{"a dimension taken for names", {{{INDEX, 0, 16}, 4, 9}, {{INDEX, 0, 20}, 4, 22}}, X, {EXTENT, 5, 47}},
	{"a name byte nobody has", {{{INDEX, 0, 20}, 4, 15}}, X, {INDEX, 0, 20}},
	{"name taken for padding", {{{INDEX, 0, 20}, 4, 13}}, X, {NAME, 13, 0}},
	{"padding", {{{NAME, 14, 0}, 1, 1}}, X, {NAME, 14, 0}},
	{"source larger", {{{INDEX, 0, 0}, 8, 2934}}, X, {INDEX, 0, 0}},
	{"source smaller", {{{INDEX, 0, 0}, 8, 2932}}, X, {EXTENT, 5, 0}},
	{"source of 2^64 - 1", {{{INDEX, 0, 0}, 8, UINT64_MAX}}, X, {INDEX, 0, 0}},

	{"hole before the groups", {{{EXTENT, 0, 24}, 4, 1}}, X, {EXTENT, 0, 24}},
	{"groups of another", {{{EXTENT, 2, 24}, 4, 1}}, X, {EXTENT, 2, 24}},
	{"a group less", {{{EXTENT, 1, 28}, 4, 0}}, X, {EXTENT, 1, 28}},
	{"a group more", {{{EXTENT, 1, 28}, 4, 2}}, X, {EXTENT, 1, 28}},
	{"2^32 - 1 groups in one", {{{EXTENT, 1, 28}, 4, UINT32_MAX}}, X, {EXTENT, 1, 28}},
	{"group for no bytes", {{{EXTENT, 3, 28}, 4, 1}}, X, {EXTENT, 3, 28}},
	{"dimensions of another", {{{EXTENT, 2, 32}, 4, 1}}, X, {EXTENT, 2, 32}},
	{"hole in the dimensions", {{{EXTENT, 2, 32}, 4, 3}}, X, {EXTENT, 2, 32}},
	{"255 dimensions", {{{EXTENT, 5, 47}, 1, 255}}, X, {EXTENT, 5, 47}},
	{"a dimension nobody has", {{{EXTENT, 5, 47}, 1, 1}}, X, {INDEX, 0, 16}},
	{"name of another", {{{EXTENT, 2, 36}, 4, 0}}, X, {EXTENT, 2, 36}},
	{"hole in the names", {{{EXTENT, 2, 36}, 4, 5}}, X, {EXTENT, 2, 36}},
	{"name of 2^32 - 1", {{{EXTENT, 5, 40}, 4, UINT32_MAX}}, X, {EXTENT, 5, 40}},
	{"name not UTF-8", {{{NAME, 1, 0}, 1, 0xFF}}, X, {EXTENT, 1, 40}},
	{"UTF-8 cut by the end of the name", {{{NAME, 3, 0}, 2, 0xA9C3}}, X, {EXTENT, 1, 40}},
	{"same name twice", {{{NAME, 11, 0}, 1, 'e'}}, X, {EXTENT, 4, 36}},
	{"empty name twice",
	 {{{EXTENT, 5, 40}, 4, 0}, {{INDEX, 0, 20}, 4, 12}, {{NAME, 12, 0}, 2, 0}}, X, {EXTENT, 5, 36}},
	{"size of 2^64 - 1", {{{EXTENT, 0, 0}, 8, UINT64_MAX}}, X, {EXTENT, 0, 0}},
	{"sizes that wrap around", {{{EXTENT, 5, 0}, 8, UINT64_MAX}}, X, {EXTENT, 5, 0}},

	{"tensor first", {{{EXTENT, 0, 44}, 1, 2}}, X, {EXTENT, 0, 44}},
	{"opaque bytes first", {{{EXTENT, 0, 44}, 1, 0}}, X, {EXTENT, 1, 44}},
	{"unknown kind first", {{{EXTENT, 0, 44}, 1, 3}}, X, {EXTENT, 0, 44}},
	{"second header", {{{EXTENT, 1, 44}, 1, 1}}, X, {EXTENT, 1, 44}},
	{"opaque bytes among tensors", {{{EXTENT, 3, 44}, 1, 0}}, X, {EXTENT, 3, 44}},
	{"unknown kind", {{{EXTENT, 3, 44}, 1, 255}}, X, {EXTENT, 3, 44}},
	{"header with a dtype", {{{EXTENT, 0, 45}, 1, 2}}, X, {EXTENT, 0, 45}},
	{"header with an order", {{{EXTENT, 0, 46}, 1, 1}}, X, {EXTENT, 0, 46}},
	{"header with dimensions", {{{EXTENT, 0, 47}, 1, 1}}, X, {EXTENT, 0, 47}},
	{"header with a name", {{{EXTENT, 0, 40}, 4, 1}}, X, {EXTENT, 0, 40}},
	{"tensor without dtype", {{{EXTENT, 4, 45}, 1, 0}}, X, {EXTENT, 4, 45}},
	{"dtype 23", {{{EXTENT, 5, 45}, 1, 23}}, X, {EXTENT, 5, 45}},
	{"dtype 254", {{{EXTENT, 5, 45}, 1, 254}}, X, {EXTENT, 5, 45}},
	{"dtype of another size", {{{EXTENT, 4, 45}, 1, UW_DTYPE_F64}}, X, {EXTENT, 4, 0}},
	{"half a byte", {{{EXTENT, 4, 45}, 1, UW_DTYPE_F4}, {{DIM, 6, 0}, 8, 33}, {{DIM, 7, 0}, 8, 1}}, X, {EXTENT, 4, 0}},
	{"dimensions of another size", {{{DIM, 6, 0}, 8, 3}}, X, {EXTENT, 4, 0}},
	{"product of dimensions overflows", {{{DIM, 6, 0}, 8, UINT64_C(1) << 63}}, X, {EXTENT, 4, 0}},
	{"bits overflow", {{{DIM, 6, 0}, 8, (UINT64_C(1) << 58) + 2}}, X, {EXTENT, 4, 0}},
	{"overflow before a 0", {{{DIM, 3, 0}, 8, UINT64_C(1) << 63}}, X, {EXTENT, 3, 0}},
	{"overflow but for a 0 before", {{{DIM, 3, 0}, 8, 0}, {{DIM, 4, 0}, 8, UINT64_MAX}, {{DIM, 5, 0}, 8, 2}}, UW_OK,
	 {EXTENT, 3, 0}},
	{"overflow of a dtype without size", {{{DIM, 8, 0}, 8, UINT64_MAX}}, UW_OK, {EXTENT, 5, 0}},
	{"a dimension of 0", {{{DIM, 6, 0}, 8, 0}}, X, {EXTENT, 4, 0}},
	{"order for F32", {{{EXTENT, 4, 46}, 1, 1}}, X, {EXTENT, 4, 46}},
	{"order for any other dtype", {{{EXTENT, 5, 46}, 1, 2}}, X, {EXTENT, 5, 46}},
	{"tiled with one dimension", {{{EXTENT, 2, 46}, 1, 2}}, X, {EXTENT, 2, 46}},
	{"order 3", {{{EXTENT, 1, 46}, 1, 3}}, X, {EXTENT, 1, 46}},
	{"order 255", {{{EXTENT, 1, 46}, 1, 255}}, X, {EXTENT, 1, 46}},
	{"tiled without elements", {{{EXTENT, 3, 45}, 1, UW_DTYPE_BF16}, {{EXTENT, 3, 46}, 1, 2}}, X, {EXTENT, 3, 46}},

	{"group in the header", {{{GROUP, 0, 0}, 8, 0}}, X, {GROUP, 0, 0}},
	{"groups overlap", {{{GROUP, 1, 0}, 8, 128}}, X, {GROUP, 1, 0}},
	{"two groups in one place", {{{GROUP, 1, 0}, 8, 64}}, X, {GROUP, 1, 0}},
	{"hole between groups", {{{GROUP, 1, 0}, 8, 256}}, X, {GROUP, 1, 0}},
	{"group not aligned", {{{GROUP, 1, 0}, 8, 164}}, X, {GROUP, 1, 0}},
	{"group at 2^64 - 1", {{{GROUP, 1, 0}, 8, UINT64_MAX}}, X, {GROUP, 1, 0}},
	{"group of 0", {{{GROUP, 1, 8}, 8, 0}}, X, {GROUP, 1, 8}},
	{"group of 2^64 - 1", {{{GROUP, 1, 8}, 8, UINT64_MAX}}, X, {GROUP, 1, 8}},
	{"group longer", {{{GROUP, 1, 8}, 8, 193}}, X, {GROUP, 2, 0}},
	{"group shorter", {{{GROUP, 1, 8}, 8, 128}}, X, {GROUP, 2, 0}},
	{"large group off the page", {{{GROUP, 1, 8}, 8, 1 << 20}}, X, {GROUP, 1, 0}},
	{"last group into the index", {{{GROUP, 4, 8}, 8, 129}}, X, {GROUP, 4, 8}},
	{"hole before the index", {{{GROUP, 4, 8}, 8, 64}}, X, {TRAILER, 0, 0}},
	{"raw group shorter", {{{GROUP, 0, 8}, 8, 99}}, X, {GROUP, 0, 8}},
	{"raw group longer", {{{GROUP, 0, 8}, 8, 101}}, X, {GROUP, 0, 8}},
	{"absurd frame", {{{GROUP, 3, 8}, 8, 16 + 1025}, {{GROUP, 3, 28}, 1, ZSTD}}, X, {GROUP, 3, 8}},
	{"absurd weights", {{{GROUP, 1, 8}, 8, 2 * 2800 + (1 << 20) + 1}}, X, {GROUP, 1, 8}},
	{"patches to raw bytes", {{{GROUP, 0, 24}, 4, 1}}, X, {GROUP, 0, 24}},
	{"patches to a frame", {{{GROUP, 4, 24}, 4, 1}}, X, {GROUP, 4, 24}},
	{"as many patches as may be", {{{GROUP, 1, 24}, 4, 32 * 4}}, UW_OK, {GROUP, 1, 24}},
	{"a patch too many", {{{GROUP, 1, 24}, 4, 32 * 4 + 1}}, X, {GROUP, 1, 24}},
	{"2^32 - 1 patches", {{{GROUP, 1, 24}, 4, UINT32_MAX}}, X, {GROUP, 1, 24}},
	{"a linear patch too many",
	 {{{GROUP, 2, 24}, 8, UINT64_C(0x010200000021)}}, X, {GROUP, 2, 24}}, /* 33 patches, coding H, 1 table */
	{"weights in bytes", {{{GROUP, 3, 28}, 2, 0x0102}}, X, {GROUP, 3, 28}},
	{"palette in bytes", {{{GROUP, 3, 28}, 2, 0x0103}}, X, {GROUP, 3, 28}},
	{"unknown coding", {{{GROUP, 1, 28}, 1, 4}}, X, {GROUP, 1, 28}},
	{"coding 255", {{{GROUP, 1, 28}, 1, 255}}, X, {GROUP, 1, 28}},
	{"tables for raw bytes", {{{GROUP, 0, 29}, 1, 1}}, X, {GROUP, 0, 29}},
	{"tables for a frame", {{{GROUP, 4, 29}, 1, 1}}, X, {GROUP, 4, 29}},
	{"no tables", {{{GROUP, 1, 29}, 1, 0}}, X, {GROUP, 1, 29}},
	{"17 tables", {{{GROUP, 1, 29}, 1, 17}}, X, {GROUP, 1, 29}},
	{"16 tables", {{{GROUP, 1, 29}, 1, 16}}, UW_OK, {GROUP, 1, 29}},
};

static void hostile_containers_are_refused(void **state)
{
	(void)state;
	for (size_t i = 0; i < COUNT(hostiles); i++) {
		const struct hostile *h = &hostiles[i];
		struct box b;

		box_make(&b);
		for (size_t k = 0; k < COUNT(h->edits); k++)
			edit_apply(&b, &h->edits[k]);
		box_seal(&b);
		box_expect(&b, h->what, h->status, place_off(&b, h->blamed));
		free(b.m.data);
	}
}

/* An index without extents that claims this many groups, dimensions and bytes of names, and has room for them. */
static void expect_without_extents(uint32_t ngroups, uint32_t ndims, uint32_t names_nbytes, enum uw_status status,
				   uint64_t file_off)
{
	uint8_t file[64 + 32 + 32 + 64] = {0}, *index = file + 64;
	struct box b = {.m = {.data = file}, .index_off = 64};
	uint8_t *trailer;

	b.index_nbytes = 32 + 32 * ngroups + 8 * ndims + names_nbytes;
	b.m.nbytes = (size_t)(64 + b.index_nbytes + 64);
	memcpy(file, "\x89UWC\r\n\x1a\n\1", 9);
	uw_store_le32(index + 12, ngroups);
	uw_store_le32(index + 16, ndims);
	uw_store_le32(index + 20, names_nbytes);
	trailer = file + b.m.nbytes - 64;
	uw_store_le64(trailer, 64);
	uw_store_le64(trailer + 8, b.index_nbytes);
	uw_store_le64(trailer + 16, b.m.nbytes);
	memcpy(trailer + 56, "\x89UWT\r\n\x1a\n", 8);
	box_seal(&b);
	box_expect(&b, "without extents", status, file_off);
}

static void leftovers_are_refused(void **state)
{
	(void)state;
	expect_without_extents(0, 0, 0, UW_OK, 0);
	expect_without_extents(1, 0, 0, UW_ERR_LAYOUT, 64 + 12);
	expect_without_extents(0, 4, 0, UW_ERR_LAYOUT, 64 + 16);
	expect_without_extents(0, 0, 8, UW_ERR_LAYOUT, 64 + 20);
}

static void reserved_fields_are_zero(void **state)
{
	static const struct {
		struct place at;
		unsigned nbytes;
	} fields[] = {
		{{HEADER, 0, 12}, 4}, {{HEADER, 0, 32}, 24}, {{TRAILER, 0, 32}, 16}, {{INDEX, 0, 24}, 8},
		{{GROUP, 0, 30}, 2}, {{GROUP, 4, 30}, 2}, {{NAME, 14, 0}, 2},
	};

	(void)state;
	for (size_t i = 0; i < COUNT(fields); i++) {
		for (unsigned bit = 0; bit < 8 * fields[i].nbytes; bit++) {
			struct box b;
			uint64_t off;

			box_make(&b);
			off = place_off(&b, fields[i].at);
			b.m.data[off + bit / 8] = (uint8_t)(1 << bit % 8);
			box_seal(&b);
			box_expect(&b, "reserved", UW_ERR_LAYOUT, off);
			free(b.m.data);
		}
	}
}

static void every_flipped_bit_is_noticed(void **state)
{
	struct box b;

	(void)state;
	box_make(&b);
	for (uint64_t off = 0; off < b.m.nbytes; off = off == 63 ? b.index_off : off + 1) {
		for (unsigned bit = 0; bit < 8; bit++) {
			struct uw_index *index;
			struct uw_error err = {0};

			b.m.data[off] ^= (uint8_t)(1 << bit);
			assert_int_not_equal(mem_open(&b.m, &index, &err), UW_OK);
			assert_true(err.file_off < b.m.nbytes);
			b.m.data[off] ^= (uint8_t)(1 << bit);
		}
	}
	/* Groups and the gaps between them are not looked at; no_touch has the reader fail if it does. */
	memset(b.m.data + 64, 0xFF, (size_t)(b.index_off - 64));
	box_expect(&b, "payload", UW_OK, 0);
	free(b.m.data);
}

static void every_truncation_is_noticed(void **state)
{
	struct box b;
	size_t nbytes;

	(void)state;
	box_make(&b);
	b.m.no_touch = 0;
	for (nbytes = b.m.nbytes - 1;; nbytes--) {
		struct uw_index *index;
		struct uw_error err;
		/* exactly as large as the file: a byte too far is found by ASan */
		struct mem m = {.data = malloc(nbytes + !nbytes), .nbytes = nbytes};

		memcpy(m.data, b.m.data, nbytes);
		assert_int_equal(mem_open(&m, &index, &err), UW_ERR_TRUNCATED);
		assert_true(err.file_off <= nbytes);
		free(m.data);
		if (nbytes == 0)
			break;
	}
	free(b.m.data);
}

static void more_bytes_are_noticed(void **state)
{
	struct box b;
	uint8_t trailer[64] = {0};

	(void)state;
	box_make(&b);
	b.m.no_touch = 0;
	memcpy(trailer, b.m.data + b.m.nbytes - 64, 64);
	assert_int_equal(mem_write(&b.m, "\0", 1, NULL), UW_OK);
	box_expect(&b, "one more", UW_ERR_TRUNCATED, b.m.nbytes - 8);
	b.m.nbytes--;
	assert_int_equal(mem_write(&b.m, trailer, 64, NULL), UW_OK);
	box_expect(&b, "second trailer", UW_ERR_LAYOUT, b.m.nbytes - 64 + 16);
	free(b.m.data);
}

static void other_files_are_not_ours(void **state)
{
	uint8_t zeros[200] = {0};
	struct mem m = {.data = zeros, .nbytes = 1};
	struct uw_index *index;

	(void)state;
	for (; m.nbytes <= sizeof(zeros); m.nbytes++)
		assert_int_equal(mem_open(&m, &index, NULL), UW_ERR_MAGIC);
}

static void read_errors_come_through(void **state)
{
	struct uw_index *index;
	struct uw_error err;
	struct box b;

	(void)state;
	box_make(&b);
	for (unsigned n = 0; n < 4; n++) {
		b.m.nreads_left = n;
		assert_int_equal(uw_index_open(mem_pread, &b.m, b.m.nbytes, &index, &err), UW_ERR_IO);
		assert_null(index);
	}
	free(b.m.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dtype_names_and_codes_agree),
		cmocka_unit_test(hashes_are_canonical_xxh3),
		cmocka_unit_test(slices_tile_tiled_extents),
		cmocka_unit_test(slices_tile_runs),
		cmocka_unit_test(misfit_geometry_is_refused),
		cmocka_unit_test(order_is_the_advised_one),
		cmocka_unit_test(empty_and_opaque_files),
		cmocka_unit_test(big_groups_lie_on_pages),
		cmocka_unit_test(random_containers_come_back),
		cmocka_unit_test(names_may_differ_by_their_end_alone),
		cmocka_unit_test(writer_refuses_what_the_reader_would),
		cmocka_unit_test(names_are_utf8),
		cmocka_unit_test(write_errors_come_through),
		cmocka_unit_test(groups_need_bytes_and_an_extent),
		cmocka_unit_test(huge_dry_runs_do_not_wrap),
		cmocka_unit_test(hostile_containers_are_refused),
		cmocka_unit_test(leftovers_are_refused),
		cmocka_unit_test(reserved_fields_are_zero),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(every_truncation_is_noticed),
		cmocka_unit_test(more_bytes_are_noticed),
		cmocka_unit_test(other_files_are_not_ours),
		cmocka_unit_test(read_errors_come_through),
	};

	return cmocka_run_group_tests_name("format", tests, payload_setup, payload_teardown);
}
