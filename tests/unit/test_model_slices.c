/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every cut of experts, rows and columns of small odd tensors, in every coding and order; seeded ones of large tensors.
 * No encoder chooses all of these codings for tensors that small: the containers are written group by group.
 */
#include "model_common.h"

#include <zstd.h>

#include "unweight/codec.h"
#include "unweight/kernels.h"

struct sample {
	uint64_t nexperts, nrows, ncols;
	uint8_t order, coding;
	bool shuffled; /* rows stored in an order of their own */
};

static struct uw_cpu_ops ops;

/* ---- writing ---- */

static enum uw_status append(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	struct packed *p = ctx;

	memcpy(p->bytes + p->nbytes, data, nbytes); /* there is room */
	p->nbytes += nbytes;
	return UW_OK;
}

static void *need(size_t nbytes)
{
	void *p;

	assert_int_equal(posix_memalign(&p, 64, (nbytes + 63) / 64 * 64 + 64), 0);
	return p;
}

/* Weights of few exponents, so that every group has a code, with a patch here and there. */
static uint16_t *make_weights(size_t n)
{
	uint16_t *weights = need(n * sizeof(*weights));

	for (size_t i = 0; i < n; i++)
		weights[i] = (uint16_t)((rng() & 0x807F) | (rng() % 97 == 0 ? rng() & 255 : 118 + rng() % 8) << 7);
	return weights;
}

static uint8_t *encode_coded(const struct sample *s, const struct uw_slice *slice, const uint16_t *weights,
			     struct uw_group *group)
{
	static struct uw_plan plan;
	struct uw_shape shape;
	uint16_t *order = NULL;
	uint8_t *scratch, *stored;

	if (s->order == UW_ORDER_TILED)
		assert_int_equal(uw_shape_tiled(slice->nrows, slice->ncols, &shape), UW_OK);
	else
		assert_int_equal(uw_shape_linear(slice->ncols, &shape), UW_OK);
	if (s->shuffled) {
		order = need((size_t)slice->nrows * sizeof(*order));
		for (uint64_t i = 0; i < slice->nrows; i++)
			order[i] = (uint16_t)(slice->nrows - 1 - i);
		for (uint64_t i = slice->nrows - 1; i > 0; i--) {
			uint64_t j = rng() % (i + 1);
			uint16_t t = order[i];

			order[i] = order[j];
			order[j] = t;
		}
	}
	scratch = need(uw_codec_scratch_nbytes(&shape));
	assert_int_equal(uw_codec_plan_rows(&ops, &shape, weights, (enum uw_coding)s->coding, order, scratch, &plan),
			 UW_OK);
	*group = (struct uw_group){
		.nbytes = uw_codec_encoded_nbytes(&shape, &plan, (enum uw_coding)s->coding),
		.npatches = (uint32_t)plan.nescapes,
		.coding = s->coding,
		.ntables = (uint8_t)plan.ntables,
	};
	stored = need((size_t)group->nbytes);
	assert_int_equal(uw_codec_encode(&ops, &shape, &plan, (enum uw_coding)s->coding, scratch, stored,
					 (size_t)group->nbytes),
			 UW_OK);
	free(scratch);
	free(order);
	return stored;
}

static uint8_t *encode_bytes(const struct sample *s, const struct uw_slice *slice, const uint16_t *weights,
			     struct uw_group *group)
{
	size_t n = (size_t)slice->src_nbytes, room = ZSTD_compressBound(n);
	uint8_t *stored = need(room);

	if (s->coding == UW_CODING_ZSTD)
		n = ZSTD_compress(stored, room, weights, n, 1);
	else
		memcpy(stored, weights, n);
	assert_false(ZSTD_isError(n));
	*group = (struct uw_group){ .nbytes = n, .coding = s->coding };
	return stored;
}

static void write_group(struct uw_writer *w, const struct sample *s, const struct uw_slice *slice,
			const uint16_t *weights)
{
	bool coded = s->coding == UW_CODING_H || s->coding == UW_CODING_P4;
	struct uw_group group;
	uint8_t *stored = coded ? encode_coded(s, slice, weights, &group) : encode_bytes(s, slice, weights, &group);

	uw_hash64(stored, (size_t)group.nbytes, group.xxh64);
	assert_int_equal(uw_writer_group(w, stored, &group, NULL), UW_OK);
	free(stored);
}

static void write_extent(struct uw_writer *w, struct uw_extent *extent, const uint8_t *src)
{
	struct uw_hash128 *hash = uw_hash128_new();

	uw_hash128_reset(hash);
	uw_hash128_update(hash, src, (size_t)extent->src_nbytes);
	uw_hash128_final(hash, extent->xxh128);
	uw_hash128_free(hash);
	assert_int_equal(uw_writer_extent(w, extent, NULL), UW_OK);
}

/* A container with one tensor, "t". */
static struct packed write_container(const struct sample *s, const uint16_t *weights)
{
	static const uint8_t json[] = "\2\0\0\0\0\0\0\0{}";
	const uint64_t dims[] = { s->nexperts, s->nrows, s->ncols };
	struct uw_extent header = { .src_nbytes = sizeof(json) - 1, .kind = UW_EXTENT_HEADER };
	struct uw_extent tensor = {
		.src_nbytes = 2 * s->nexperts * s->nrows * s->ncols,
		.dims = dims,
		.name = "t",
		.name_nbytes = 1,
		.kind = UW_EXTENT_TENSOR,
		.dtype = UW_DTYPE_BF16,
		.order = s->order,
		.ndims = 3,
	};
	struct packed packed = { .bytes = need((size_t)tensor.src_nbytes * 2 + ((size_t)s->nexperts << 16) +
					       (1 << 20)) };
	struct uw_group group = { .nbytes = sizeof(json) - 1 };
	struct uw_container_id id;
	struct uw_writer *w;

	assert_int_equal(uw_writer_open(&w, append, &packed, header.src_nbytes + tensor.src_nbytes, NULL), UW_OK);
	uw_hash64(json, sizeof(json) - 1, group.xxh64);
	assert_int_equal(uw_writer_group(w, json, &group, NULL), UW_OK);
	write_extent(w, &header, json);
	assert_int_equal(uw_extent_ngroups(tensor.src_nbytes, tensor.order, dims, 3, &tensor.ngroups), UW_OK);
	for (uint64_t i = 0; i < tensor.ngroups; i++) {
		struct uw_slice slice;

		uw_extent_slice(&tensor, i, &slice);
		write_group(w, s, &slice, weights + slice.src_off / 2);
	}
	write_extent(w, &tensor, (const uint8_t *)weights);
	assert_int_equal(uw_writer_finish(w, &id, NULL), UW_OK);
	uw_writer_free(w);
	return packed;
}

/* ---- cutting ---- */

struct opened {
	const struct sample *sample;
	uint16_t *weights;
	struct packed packed;
	struct uw_model *model;
	const struct uw_tensor *tensor;
	uint8_t *got;
};

static struct opened open_sample(const struct sample *s)
{
	struct opened o = { .sample = s };
	size_t n = (size_t)(s->nexperts * s->nrows * s->ncols);

	o.weights = make_weights(n);
	o.packed = write_container(s, o.weights);
	o.model = open_packed(&o.packed, NULL);
	o.tensor = uw_model_find(o.model, "t");
	o.got = need(n * 2 + 2);
	return o;
}

static void close_sample(struct opened *o)
{
	uw_model_close(&o->model);
	free(o->packed.bytes);
	free(o->weights);
	free(o->got);
}

static void expect_cut(const struct opened *o, const struct uw_tensor_slice *cut)
{
	const struct sample *s = o->sample;
	size_t width = (size_t)(cut->col_end - cut->col_begin) * 2;
	size_t n = (size_t)((cut->expert_end - cut->expert_begin) * (cut->row_end - cut->row_begin)) * width, at = 0;
	struct uw_error err;

	o->got[n] = 0xA5;
	if (uw_tensor_read(o->model, o->tensor, cut, o->got, n, &err) != UW_OK)
		fail_msg("%s", err.what);
	for (uint64_t e = cut->expert_begin; e < cut->expert_end; e++) {
		for (uint64_t r = cut->row_begin; r < cut->row_end; r++, at += width) {
			if (memcmp(o->got + at, o->weights + (e * s->nrows + r) * s->ncols + cut->col_begin, width) !=
			    0)
				fail_msg("order %u coding %u: expert %u row %u columns %u .. %u", s->order, s->coding,
					 (unsigned)e, (unsigned)r, (unsigned)cut->col_begin, (unsigned)cut->col_end);
		}
	}
	assert_int_equal(o->got[n], 0xA5);
}

/* All cuts of one dimension, one after the other; false behind the last. */
static bool next_cut(uint64_t n, uint64_t *begin, uint64_t *end)
{
	if (++*end <= n)
		return true;
	*end = ++*begin + 1;
	return *begin < n;
}

static unsigned long all_cuts(const struct opened *o)
{
	const struct sample *s = o->sample;
	struct uw_tensor_slice cut = { 0 };
	unsigned long n = 0;

	for (cut.expert_begin = cut.expert_end = 0; next_cut(s->nexperts, &cut.expert_begin, &cut.expert_end);) {
		for (cut.row_begin = cut.row_end = 0; next_cut(s->nrows, &cut.row_begin, &cut.row_end);) {
			for (cut.col_begin = cut.col_end = 0; next_cut(s->ncols, &cut.col_begin, &cut.col_end); n++)
				expect_cut(o, &cut);
		}
	}
	return n;
}

/* All cuts of rows with some of the columns, and the other way round. */
static unsigned long cuts_of_each(const struct opened *o)
{
	const struct sample *s = o->sample;
	struct uw_tensor_slice cut = { .expert_end = s->nexperts };
	unsigned long n = 0;

	for (cut.row_begin = cut.row_end = 0; next_cut(s->nrows, &cut.row_begin, &cut.row_end); n++) {
		cut.col_begin = rng() % s->ncols;
		cut.col_end = cut.col_begin + 1 + rng() % (s->ncols - cut.col_begin);
		expect_cut(o, &cut);
	}
	for (cut.col_begin = cut.col_end = 0; next_cut(s->ncols, &cut.col_begin, &cut.col_end); n++) {
		cut.row_begin = rng() % s->nrows;
		cut.row_end = cut.row_begin + 1 + rng() % (s->nrows - cut.row_begin);
		expect_cut(o, &cut);
	}
	return n;
}

static unsigned long some_cuts(const struct opened *o, unsigned n)
{
	const struct sample *s = o->sample;

	for (unsigned i = 0; i < n; i++) {
		struct uw_tensor_slice cut = { rng() % s->nexperts, 0, rng() % s->nrows, 0, rng() % s->ncols, 0 };

		cut.expert_end = cut.expert_begin + 1 + rng() % (s->nexperts - cut.expert_begin);
		cut.row_end = cut.row_begin + 1 + rng() % (s->nrows - cut.row_begin);
		cut.col_end = cut.col_begin + 1 + rng() % (s->ncols - cut.col_begin);
		expect_cut(o, &cut);
	}
	return n;
}

static const struct {
	uint8_t order, coding;
	bool shuffled;
} ways[] = {
	{ UW_ORDER_BYTES, UW_CODING_RAW, false },   { UW_ORDER_BYTES, UW_CODING_ZSTD, false },
	{ UW_ORDER_LINEAR, UW_CODING_RAW, false },  { UW_ORDER_LINEAR, UW_CODING_ZSTD, false },
	{ UW_ORDER_LINEAR, UW_CODING_H, false },    { UW_ORDER_LINEAR, UW_CODING_P4, false },
	{ UW_ORDER_TILED, UW_CODING_RAW, false },   { UW_ORDER_TILED, UW_CODING_ZSTD, false },
	{ UW_ORDER_TILED, UW_CODING_H, false },     { UW_ORDER_TILED, UW_CODING_P4, false },
	{ UW_ORDER_TILED, UW_CODING_H, true },      { UW_ORDER_TILED, UW_CODING_P4, true },
};

static void each_way(uint64_t nexperts, uint64_t nrows, uint64_t ncols, unsigned long (*cut)(const struct opened *o))
{
	unsigned long n = 0;

	for (size_t i = 0; i < COUNT(ways); i++) {
		struct sample s = { nexperts, nrows, ncols, ways[i].order, ways[i].coding, ways[i].shuffled };
		struct opened o = open_sample(&s);

		n += cut(&o);
		close_sample(&o);
	}
	print_message("%u x %u x %u: %lu cuts\n", (unsigned)nexperts, (unsigned)nrows, (unsigned)ncols, n);
}

static void every_cut_of_small_tensors(void **state)
{
	each_way(3, 5, 7, all_cuts);
	each_way(2, 1, 1, all_cuts);
	each_way(1, 17, 11, all_cuts);
	each_way(1, 2, 67, all_cuts);
}

static void every_row_and_every_column(void **state)
{
	each_way(2, 67, 131, cuts_of_each);
	each_way(1, 130, 65, cuts_of_each);
}

static unsigned long few(const struct opened *o)
{
	return some_cuts(o, 20);
}

/* Several groups in a matrix and several matrices; a group ends inside a row where the order is linear. */
static void large_tensors(void **state)
{
	each_way(2, 1601, 6211, few);
	each_way(1, 199, 65601, few);
}

/* Pieces of a cut into n parts, as tensor parallelism wants them, make up the whole. */
static void cuts_into_parts(void **state)
{
	static const struct sample s = { 1, 688, 200, UW_ORDER_TILED, UW_CODING_P4, false };
	static const uint64_t parts[] = { 2, 3, 4, 8 };
	struct opened o = open_sample(&s);
	uint16_t *whole = need(688 * 200 * 2);

	for (size_t i = 0; i < COUNT(parts); i++) {
		for (uint64_t k = 0; k < parts[i]; k++) {
			struct uw_tensor_slice rows = { .row_begin = 688 * k / parts[i],
							.row_end = 688 * (k + 1) / parts[i] };
			uint16_t *to = whole + rows.row_begin * 200;

			assert_int_equal(uw_tensor_read(o.model, o.tensor, &rows, to,
							(size_t)(rows.row_end - rows.row_begin) * 400, NULL), UW_OK);
		}
		assert_memory_equal(whole, o.weights, 688 * 200 * 2);
		memset(whole, 0, 688 * 200 * 2);
		for (uint64_t k = 0; k < parts[i]; k++) {
			struct uw_tensor_slice cols = { .col_begin = 200 * k / parts[i],
							.col_end = 200 * (k + 1) / parts[i] };
			uint16_t *to = whole + cols.col_begin;

			assert_int_equal(uw_tensor_read_rows(o.model, o.tensor, &cols, to,
							     (688 * 200 - (size_t)cols.col_begin) * 2, 400, NULL),
					 UW_OK);
		}
		assert_memory_equal(whole, o.weights, 688 * 200 * 2);
		memset(whole, 0, 688 * 200 * 2);
	}
	free(whole);
	close_sample(&o);
}

static int setup(void **state)
{
	uint32_t mask = UINT32_MAX;

	use_level(state);
	if (cpu_level != NULL && !uw_cpu_level_mask(cpu_level, &mask))
		return 1;
	uw_cpu_ops_init(&ops, uw_cpu_flags() & mask);
	rng_seed(20261121);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_cut_of_small_tensors),
		cmocka_unit_test(every_row_and_every_column),
		cmocka_unit_test(large_tensors),
		cmocka_unit_test(cuts_into_parts),
	};

	return cmocka_run_group_tests(tests, setup, NULL);
}
