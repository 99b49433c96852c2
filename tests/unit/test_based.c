/* SPDX-License-Identifier: Apache-2.0 */
/* Groups that refer to a base: what SPEC.md section 4 says, round trips, and references and differences that lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "based.h"
#include "unweight/bytes.h"
#include "unweight/kernels.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static struct uw_cpu_ops ops;
static uint32_t seed = 1;

static uint32_t random_u32(void)
{
	seed = seed * 1664525u + 1013904223u;
	return seed >> 8;
}

/* A base of two files, the second of `nbytes`; the first has one byte. */
struct model {
	const uint8_t *data;
	uint64_t nbytes;
	enum uw_status fails;
	unsigned nreads;
};

static enum uw_status read_model(void *ctx, const struct uw_reference *reference, void *dst, size_t nbytes,
				 struct uw_error *err)
{
	struct model *m = ctx;

	m->nreads++;
	if (m->fails != UW_OK)
		return uw_fail(err, m->fails, UW_NO_OFFSET, "base");
	if (reference->file != 1 || reference->off > m->nbytes || nbytes > m->nbytes - reference->off)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "not in the base");
	memcpy(dst, m->data + reference->off, nbytes);
	return UW_OK;
}

static struct uw_base base_of(struct model *m)
{
	return (struct uw_base){ .read = read_model, .ctx = m };
}

/* A frame of one raw block. */
static size_t make_frame(const uint8_t *data, uint32_t nbytes, uint8_t *frame)
{
	uw_store_le32(frame, 0xFD2FB528);
	frame[4] = 0xA0;
	uw_store_le32(frame + 5, nbytes);
	frame[9] = (uint8_t)(nbytes << 3 | 1);
	frame[10] = (uint8_t)(nbytes >> 5);
	frame[11] = (uint8_t)(nbytes >> 13);
	memcpy(frame + 12, data, nbytes);
	return 12 + nbytes;
}

/* Decodes `stored` of nbytes over the model, into n values. */
static enum uw_status decode(struct model *m, enum uw_coding coding, const uint8_t *stored, uint64_t nbytes,
			     uint8_t *dst, uint64_t n, struct uw_error *err)
{
	struct uw_group group = { .nbytes = nbytes, .coding = (uint8_t)coding };
	struct uw_slice slice = { .src_nbytes = 2 * n, .nrows = 1, .ncols = n };
	struct uw_base base = base_of(m);
	struct uw_buffer buffer = { 0 };
	enum uw_status status = uw_based_decode(&base, &slice, &group, stored, &buffer, dst, err);

	uw_buffer_free(&buffer);
	return status;
}

/* SPEC.md 9.2 */
static void worked_example(void **state)
{
	static const uint16_t base[] = { 0x3F80, 0xBF00, 0x3F81, 0x3E80 }, want[] = { 0x3F82, 0xBF00, 0x3F80, 0x3E7F };
	static const uint8_t planes[] = { 0, 0, 0, 0, 1, 0, 4, 1 };
	uint8_t bytes[8], stored[64], dst[8];
	struct model m = { .data = bytes, .nbytes = sizeof(bytes) };
	size_t n;

	for (unsigned i = 0; i < 4; i++)
		uw_store_le16(bytes + 2 * i, base[i]);
	uw_reference_store(&(struct uw_reference){ 1, 0 }, stored);
	n = make_frame(planes, sizeof(planes), stored + UW_REFERENCE_NBYTES);
	assert_int_equal(decode(&m, UW_CODING_DELTA, stored, UW_REFERENCE_NBYTES + n, dst, 4, NULL), UW_OK);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(uw_load_le16(dst + 2 * i), want[i]);
	assert_int_equal(decode(&m, UW_CODING_COPY, stored, UW_REFERENCE_NBYTES, dst, 4, NULL), UW_OK);
	assert_memory_equal(dst, bytes, sizeof(dst));
}

#define N 65536u

/* Every value of the base, in some order, with every difference: against the specification, word by word. */
static void every_difference(void **state)
{
	uint8_t *base = malloc(2 * N), *planes = malloc(2 * N), *stored = malloc(2 * N + 64), *dst = malloc(2 * N);
	uint16_t *values = malloc(2 * N), *folded = malloc(2 * N);
	struct model m = { .data = base, .nbytes = 2 * N };
	size_t n;

	for (uint32_t i = 0; i < N; i++)
		values[i] = folded[i] = (uint16_t)i;
	for (uint32_t i = N - 1; i > 0; i--) {
		uint32_t a = random_u32() % (i + 1), b = random_u32() % (i + 1);
		uint16_t value = values[i], f = folded[i];

		values[i] = values[a];
		values[a] = value;
		folded[i] = folded[b];
		folded[b] = f;
	}
	for (uint32_t c = 0, k = 0; c < 256; c++) {
		for (uint32_t i = 0; i < N; i++) {
			if ((values[i] >> 7 & 0xFF) != c)
				continue;
			planes[k] = (uint8_t)(folded[i] >> 8);
			planes[N + k] = (uint8_t)folded[i];
			k++;
		}
	}
	for (uint32_t i = 0; i < N; i++)
		uw_store_le16(base + 2 * i, values[i]);
	uw_reference_store(&(struct uw_reference){ 1, 0 }, stored);
	n = make_frame(planes, 2 * N, stored + UW_REFERENCE_NBYTES);
	assert_int_equal(decode(&m, UW_CODING_DELTA, stored, UW_REFERENCE_NBYTES + n, dst, N, NULL), UW_OK);
	for (uint32_t i = 0; i < N; i++) {
		uint32_t f = folded[i], d = f % 2 != 0 ? 65535 - (f - 1) / 2 : f / 2;

		assert_int_equal(uw_load_le16(dst + 2 * i), (values[i] + d) & 0xFFFF);
	}
	free(base);
	free(planes);
	free(stored);
	free(dst);
	free(values);
	free(folded);
}

/* Encodes n values at src over the model from `off` on, decodes, and gives the coding. */
static enum uw_coding round_trip(struct model *m, uint64_t off, uint8_t dtype, uint8_t *src, uint64_t n,
				 uint64_t *nbytes)
{
	struct uw_extent extent = {
		.src_nbytes = 2 * n,
		.kind = UW_EXTENT_TENSOR,
		.dtype = dtype,
		.order = dtype == UW_DTYPE_BF16 ? UW_ORDER_LINEAR : UW_ORDER_BYTES,
	};
	struct uw_slice slice = { .src_nbytes = 2 * n, .nrows = 1, .ncols = n };
	struct uw_reference like = { 1, off };
	struct uw_group_encoder encoder = { 0 };
	struct uw_base base = base_of(m);
	uint8_t *dst = malloc((size_t)(2 * n)), hash[8];
	enum uw_coding coding;

	assert_int_equal(uw_based_encode(&encoder, &ops, UW_PROFILE_DISTRIBUTION, &base, &like, &extent, &slice, src,
					 NULL), UW_OK);
	uw_hash64(encoder.stored, (size_t)encoder.group.nbytes, hash);
	assert_memory_equal(hash, encoder.group.xxh64, sizeof(hash));
	coding = (enum uw_coding)encoder.group.coding;
	*nbytes = encoder.group.nbytes;
	if (uw_group_is_based(&encoder.group))
		assert_int_equal(decode(m, coding, encoder.stored, *nbytes, dst, n, NULL), UW_OK);
	else
		assert_int_equal(uw_group_decode(&ops, &extent, &slice, &encoder.group, encoder.stored, dst, NULL),
				 UW_OK);
	assert_memory_equal(dst, src, (size_t)(2 * n));
	uw_group_encoder_free(&encoder);
	free(dst);
	return coding;
}

/* A model of random values, and one some steps away from it. */
static void make_models(uint8_t *base, uint8_t *src, uint64_t n, uint32_t nsteps)
{
	for (uint64_t i = 0; i < n; i++) {
		uint16_t value = (uint16_t)random_u32();

		uw_store_le16(base + 2 * i, value);
		uw_store_le16(src + 2 * i, (uint16_t)(value + random_u32() % (2 * nsteps + 1) - nsteps));
	}
}

static void models_come_back(void **state)
{
	static const uint8_t dtypes[] = { UW_DTYPE_BF16, UW_DTYPE_F16 };
	static const uint64_t sizes[] = { 1, 2, 7, 8, 9, 63, 1000, 1024, 70001 };
	uint8_t *base = malloc(2 * 70001 + 6), *src = malloc(2 * 70001);
	struct model m = { .data = base, .nbytes = 2 * 70001 + 6 };
	uint64_t nbytes;

	for (size_t i = 0; i < COUNT(sizes) * COUNT(dtypes); i++) {
		uint64_t n = sizes[i % COUNT(sizes)];
		uint8_t dtype = dtypes[i / COUNT(sizes)];
		enum uw_coding coding;

		make_models(base + 6, src, n, 0);
		coding = round_trip(&m, 6, dtype, src, n, &nbytes);
		assert_int_equal(coding, 2 * n > UW_REFERENCE_NBYTES ? UW_CODING_COPY : UW_CODING_RAW);
		make_models(base + 6, src, n, 3);
		coding = round_trip(&m, 6, dtype, src, n, &nbytes);
		if (n >= 1000) {
			assert_int_equal(coding, UW_CODING_DELTA);
			assert_true(nbytes < n); /* of at most 2.81 bits each */
		}
		make_models(base + 6, src, n, 30000);
		round_trip(&m, 6, dtype, src, n, &nbytes);
		assert_true(nbytes <= 2 * n);
	}
	/* other dtypes are copied or left alone */
	make_models(base, src, 1000, 3);
	assert_int_equal(round_trip(&m, 0, UW_DTYPE_I16, src, 1000, &nbytes), UW_CODING_RAW);
	make_models(base, src, 1000, 0);
	assert_int_equal(round_trip(&m, 0, UW_DTYPE_I16, src, 1000, &nbytes), UW_CODING_COPY);
	free(base);
	free(src);
}

static void failures_of_the_base_come_through(void **state)
{
	static const enum uw_status statuses[] = { UW_ERR_IO, UW_ERR_CHECKSUM, UW_ERR_NOMEM, UW_ERR_CANCELLED };
	struct uw_extent extent = {
		.src_nbytes = 64, .kind = UW_EXTENT_TENSOR, .dtype = UW_DTYPE_BF16, .order = UW_ORDER_LINEAR,
	};
	struct uw_slice slice = { .src_nbytes = 64, .nrows = 1, .ncols = 32 };
	struct uw_reference like = { 1, 0 };
	uint8_t bytes[64] = { 0 }, stored[UW_REFERENCE_NBYTES], dst[64];
	struct model m = { .data = bytes, .nbytes = sizeof(bytes) };
	struct uw_base base = base_of(&m);

	uw_reference_store(&like, stored);
	for (size_t i = 0; i < COUNT(statuses); i++) {
		struct uw_group_encoder encoder = { 0 };

		m.fails = statuses[i];
		assert_int_equal(uw_based_encode(&encoder, &ops, UW_PROFILE_DISTRIBUTION, &base, &like, &extent,
						 &slice, bytes, NULL), statuses[i]);
		uw_group_encoder_free(&encoder);
		assert_int_equal(decode(&m, UW_CODING_COPY, stored, sizeof(stored), dst, 32, NULL), statuses[i]);
	}
}

static void hostile_groups_are_refused(void **state)
{
	uint8_t bytes[64] = { 0 }, planes[65] = { 0 }, stored[128], dst[64];
	struct model m = { .data = bytes, .nbytes = sizeof(bytes) };
	static const struct uw_reference beyond[] = {
		{ 0, 0 }, { 2, 0 }, { UINT32_MAX, 0 }, { 1, 1 }, { 1, 64 }, { 1, 65 }, { 1, UINT64_MAX },
		{ 1, UINT64_MAX - 63 },
	};
	size_t n;

	for (size_t i = 0; i < COUNT(beyond); i++) {
		uw_reference_store(&beyond[i], stored);
		assert_int_equal(decode(&m, UW_CODING_COPY, stored, UW_REFERENCE_NBYTES, dst, 32, NULL), UW_ERR_LAYOUT);
	}
	/* frames of another size, and cut short, and with bytes behind */
	uw_reference_store(&(struct uw_reference){ 1, 0 }, stored);
	for (uint32_t nbytes = 63; nbytes <= 65; nbytes++) {
		n = UW_REFERENCE_NBYTES + make_frame(planes, nbytes, stored + UW_REFERENCE_NBYTES);
		assert_int_equal(decode(&m, UW_CODING_DELTA, stored, n, dst, 32, NULL),
				 nbytes == 64 ? UW_OK : UW_ERR_LAYOUT);
	}
	n = UW_REFERENCE_NBYTES + make_frame(planes, 64, stored + UW_REFERENCE_NBYTES);
	for (size_t cut = UW_REFERENCE_NBYTES + 1; cut < n; cut++)
		assert_int_equal(decode(&m, UW_CODING_DELTA, stored, cut, dst, 32, NULL), UW_ERR_LAYOUT);
	stored[n] = 0;
	assert_int_equal(decode(&m, UW_CODING_DELTA, stored, n + 1, dst, 32, NULL), UW_ERR_LAYOUT);
	/* a block of a kind that there is not */
	stored[UW_REFERENCE_NBYTES + 9] |= 6;
	assert_int_not_equal(decode(&m, UW_CODING_DELTA, stored, n, dst, 32, NULL), UW_OK);
	/* reserved bytes */
	n = UW_REFERENCE_NBYTES + make_frame(planes, 64, stored + UW_REFERENCE_NBYTES);
	stored[5] = 1;
	m.nreads = 0;
	assert_int_equal(decode(&m, UW_CODING_DELTA, stored, n, dst, 32, NULL), UW_ERR_LAYOUT);
	assert_int_equal(m.nreads, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(worked_example),
		cmocka_unit_test(every_difference),
		cmocka_unit_test(models_come_back),
		cmocka_unit_test(failures_of_the_base_come_through),
		cmocka_unit_test(hostile_groups_are_refused),
	};

	uw_cpu_ops_init(&ops, 0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
