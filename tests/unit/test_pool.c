/* SPDX-License-Identifier: Apache-2.0 */
/* The pool: every thread works once a round, rounds do not mix, threads that slept wake up. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "pool.h"

#define MAX 8u

struct tally {
	atomic_uint ncalls[MAX];
	atomic_uint inside;
};

static void count(void *ctx, unsigned thread)
{
	struct tally *tally = ctx;

	assert_true(thread < MAX);
	atomic_fetch_add(&tally->inside, 1);
	atomic_fetch_add(&tally->ncalls[thread], 1);
}

static void each_thread_works_once(void **state)
{
	for (unsigned n = 1; n <= MAX; n++) {
		struct tally tally = { 0 };
		struct uw_pool *pool;

		assert_int_equal(uw_pool_create(n, &pool, NULL), UW_OK);
		assert_int_equal(uw_pool_nthreads(pool), n);
		for (unsigned round = 1; round <= 2000; round++) {
			uw_pool_run(pool, count, &tally);
			assert_int_equal(atomic_load(&tally.inside), round * n); /* all are back */
		}
		for (unsigned i = 0; i < n; i++)
			assert_int_equal(atomic_load(&tally.ncalls[i]), 2000);
		uw_pool_free(&pool);
		assert_null(pool);
	}
}

static void sleepers_wake_up(void **state)
{
	struct timespec longer_than_any_spin = { .tv_nsec = 20000000 };
	struct tally tally = { 0 };
	struct uw_pool *pool;

	assert_int_equal(uw_pool_create(3, &pool, NULL), UW_OK);
	for (unsigned round = 1; round <= 5; round++) {
		nanosleep(&longer_than_any_spin, NULL);
		uw_pool_run(pool, count, &tally);
		assert_int_equal(atomic_load(&tally.inside), 3 * round);
	}
	nanosleep(&longer_than_any_spin, NULL);
	uw_pool_free(&pool);
	uw_pool_free(&pool);
}

static void sizes_are_checked(void **state)
{
	struct uw_pool *pool;

	assert_int_equal(uw_pool_create(0, &pool, NULL), UW_ERR_ARG);
	assert_int_equal(uw_pool_create(100000, &pool, NULL), UW_ERR_ARG);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_thread_works_once),
		cmocka_unit_test(sleepers_wake_up),
		cmocka_unit_test(sizes_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
