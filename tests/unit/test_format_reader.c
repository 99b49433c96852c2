/* SPDX-License-Identifier: Apache-2.0 */
/*
 * format/: what the reader refuses. Offsets are SPEC.md's, written out as numbers, so that a slip in format/layout.h
 * shows.
 */
#include "format_common.h"

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
	{"incompatible feature", {{{HEADER, 0, 16}, 8, 2}}, UW_ERR_FEATURE, {HEADER, 0, 16}},
	{"base without its digest", {{{HEADER, 0, 16}, 8, 1}}, X, {INDEX, 0, 8}},
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
	{"half a byte", {{{EXTENT, 4, 45}, 1, UW_DTYPE_F4}, {{DIM, 6, 0}, 8, 33}, {{DIM, 7, 0}, 8, 1}}, X,
	 {EXTENT, 4, 0}},
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
	{"copy without a base", {{{GROUP, 0, 28}, 1, 4}}, X, {GROUP, 0, 28}},
	{"differences without a base", {{{GROUP, 2, 28}, 1, 5}}, X, {GROUP, 2, 28}},
	{"unknown coding", {{{GROUP, 1, 28}, 1, 6}}, X, {GROUP, 1, 28}},
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
		cmocka_unit_test(hostile_containers_are_refused),
		cmocka_unit_test(leftovers_are_refused),
		cmocka_unit_test(reserved_fields_are_zero),
		cmocka_unit_test(every_flipped_bit_is_noticed),
		cmocka_unit_test(every_truncation_is_noticed),
		cmocka_unit_test(more_bytes_are_noticed),
		cmocka_unit_test(other_files_are_not_ours),
		cmocka_unit_test(read_errors_come_through),
	};

	return cmocka_run_group_tests_name("format_reader", tests, payload_setup, payload_teardown);
}
