/* SPDX-License-Identifier: Apache-2.0 */
#include "format_common.h"

static uint64_t random_state = 1;

uint64_t random_u64(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return random_state;
}

uint64_t random_below(uint64_t n)
{
	return (random_u64() >> 11) % n;
}

enum uw_status mem_write(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
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

enum uw_status mem_pread(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	struct mem *m = ctx;

	assert_true(off <= m->nbytes && nbytes <= m->nbytes - off);
	assert_true(off + nbytes <= 64 || off >= m->no_touch);
	if (m->nreads_left-- == 0)
		return uw_fail(err, UW_ERR_IO, off, "unreadable");
	memcpy(dst, m->data + off, nbytes);
	return UW_OK;
}

enum uw_status mem_open(struct mem *m, struct uw_index **index, struct uw_error *err)
{
	m->nreads_left = UINT32_MAX;
	return uw_index_open(mem_pread, m, m->nbytes, index, err);
}

uint8_t *payload;

int payload_setup(void **state)
{
	(void)state;
	payload = malloc(PAYLOAD_NBYTES);
	if (payload == NULL)
		return -1;
	for (size_t i = 0; i < PAYLOAD_NBYTES; i++)
		payload[i] = (uint8_t)(i * 167 >> 3);
	return 0;
}

int payload_teardown(void **state)
{
	(void)state;
	free(payload);
	return 0;
}

void plan_group(struct plan *p, uint8_t coding, uint64_t nbytes, uint8_t ntables, uint32_t npatches)
{
	struct uw_group *g = &p->groups[p->ngroups++];

	*g = (struct uw_group){.nbytes = nbytes, .coding = coding, .ntables = ntables, .npatches = npatches};
	uw_hash64(payload, (size_t)nbytes, g->xxh64);
}

struct uw_extent *plan_extent(struct plan *p, uint8_t kind, uint8_t dtype, uint8_t order, const uint64_t *dims,
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

void plan_raw_groups(struct plan *p, const struct uw_extent *e)
{
	for (uint64_t i = 0; i < e->ngroups; i++) {
		struct uw_slice s;

		uw_extent_slice(e, i, &s);
		plan_group(p, RAW, s.src_nbytes, 0, 0);
	}
}

enum uw_status plan_write(const struct plan *p, uw_write_fn write, struct mem *m, struct uw_container_id *id,
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

void plan_sample(struct plan *p)
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
