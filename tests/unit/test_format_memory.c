/* SPDX-License-Identifier: Apache-2.0 */
/* format/ without memory: whichever allocation fails, the call says so, and nothing leaks. */
#include <stdio.h>

#include "format_common.h"

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

static unsigned left = UINT32_MAX; /* allocations until one fails */
static bool failed;

static bool fails(void)
{
	if (left == UINT32_MAX || left-- != 0)
		return false;
	failed = true;
	left = UINT32_MAX;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return fails() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return fails() ? NULL : __real_realloc(p, n);
}

/* The sample and then tensors enough that every list of the writer has to grow. */
static void plan_many(struct plan *p)
{
	static const uint64_t dims[5] = { 1, 1, 1, 1, 2 };

	plan_sample(p);
	while (p->nextents < MAX_EXTENTS) {
		char name[16];
		int n = snprintf(name, sizeof(name), "tensor %d", (int)p->nextents);

		plan_raw_groups(p, plan_extent(p, UW_EXTENT_TENSOR, UW_DTYPE_U8, BYTES, dims, 5, name, (uint32_t)n, 0));
	}
}

static void discard(struct mem *m)
{
	free(m->data);
	*m = (struct mem){ 0 };
}

static enum uw_status drop(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	return UW_OK;
}

static void writer_without_memory(void **state)
{
	struct plan *p = calloc(1, sizeof(*p));
	unsigned n = 0;

	assert_non_null(p);
	plan_many(p);
	do {
		struct uw_container_id id;
		struct uw_error err;
		enum uw_status status;

		failed = false;
		left = n++;
		status = plan_write(p, drop, NULL, &id, &err);
		left = UINT32_MAX;
		assert_int_equal(status, failed ? UW_ERR_NOMEM : UW_OK);
	} while (failed);
	assert_true(n > 6);
	free(p);
}

static void reader_without_memory(void **state)
{
	struct plan *p = calloc(1, sizeof(*p));
	struct mem m = { 0 };
	struct uw_container_id id;
	unsigned n = 0;

	assert_non_null(p);
	plan_many(p);
	assert_int_equal(plan_write(p, mem_write, &m, &id, NULL), UW_OK);
	do {
		struct uw_index *index = NULL;
		enum uw_status status;

		failed = false;
		left = n++;
		status = mem_open(&m, &index, NULL);
		left = UINT32_MAX;
		assert_int_equal(status, failed ? UW_ERR_NOMEM : UW_OK);
		uw_index_free(&index);
	} while (failed);
	assert_true(n > 5);
	discard(&m);
	free(p);
}

static void hash_without_memory(void **state)
{
	left = 0; /* ours; the second one is libxxhash's own */
	assert_null(uw_hash128_new());
	left = UINT32_MAX;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(writer_without_memory),
		cmocka_unit_test(reader_without_memory),
		cmocka_unit_test(hash_without_memory),
	};

	return cmocka_run_group_tests(tests, payload_setup, payload_teardown);
}
