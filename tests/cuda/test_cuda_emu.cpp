/* SPDX-License-Identifier: Apache-2.0 */
/* The emulator sees what it is there to see: planted breaches, each in a process of its own, end that process. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include <cmocka.h>
}

#include "ptx.cuh"

namespace {

const uint32_t NBYTES = 2048;

uint32_t lane(void)
{
	return uw_thread() % 32;
}

/* Every lane stores a word and reads its neighbour's. */
void exchange(bool barrier)
{
	uint32_t mine = uw_shared() + 128 * (uw_thread() / 32) + 4 * lane();

	uw_store_shared_u32(mine, uw_thread());
	if (barrier)
		uw_sync_warp();
	if (uw_load_shared_u32(mine ^ 4) != (uw_thread() ^ 1))
		abort();
}

bool dies(uint32_t nthreads, void (*kernel)(void))
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGABRT, SIG_DFL); /* cmocka's handler would go on with the next test */
		assert_non_null(freopen("/dev/null", "w", stderr));
		emu_run(1, nthreads, NBYTES, 1, kernel);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return !(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void test_good_kernels(void **)
{
	static uint32_t out[2 * 64];

	emu_run(2, 64, NBYTES, 7, [] {
		uint32_t at = 64 * uw_block() + uw_thread(), below = uw_from_below(lane(), 3);
		bool good;

		exchange(true);
		good = uw_ballot(lane() % 2) == 0xAAAAAAAA && uw_from_lane(lane(), 5) == 5 &&
		       below == (lane() < 3 ? lane() : lane() - 3) && uw_or_lanes(1u << lane()) == 0xFFFFFFFF;
		if (good)
			uw_or_global(&out[at], at + 1);
	});
	for (uint32_t i = 0; i < 2 * 64; i++)
		assert_int_equal(out[i], i + 1);
	assert_false(dies(64, [] { exchange(true); }));
}

void test_missing_barrier(void **)
{
	assert_true(dies(32, [] { exchange(false); }));
	/* a vote is no barrier for memory */
	assert_true(dies(32, [] {
		uw_store_shared_u32(uw_shared() + 4 * lane(), 0);
		(void)uw_ballot(true);
		(void)uw_load_shared_u32(uw_shared() + 4 * (lane() ^ 1));
	}));
	/* write after read */
	assert_true(dies(32, [] {
		(void)uw_load_shared_u32(uw_shared());
		if (lane() == 31)
			uw_store_shared_u32(uw_shared(), 0);
	}));
	/* a barrier of the warp does not reach other warps */
	assert_true(dies(64, [] {
		if (uw_thread() == 0)
			uw_store_shared_u32(uw_shared(), 0);
		uw_sync_warp();
		(void)uw_load_shared_u32(uw_shared());
	}));
}

void test_shared_memory(void **)
{
	assert_true(dies(32, [] { (void)uw_load_shared_u32(uw_shared() + NBYTES); }));
	assert_true(dies(32, [] { (void)uw_load_shared_u16(uw_shared() + NBYTES - 1); }));
	assert_true(dies(32, [] { (void)uw_load_shared_u8(uw_shared() - 1); }));
	assert_true(dies(32, [] { (void)uw_load_shared_u32(uw_shared() + 2); }));
}

void test_lanes_apart(void **)
{
	assert_true(dies(32, [] {
		if (lane() < 16)
			uw_sync_warp();
		else
			(void)uw_ballot(true);
	}));
	assert_true(dies(32, [] {
		if (lane() != 7)
			uw_sync_warp();
	}));
}

void test_copies(void **)
{
	static struct uw_vec4 vectors[32] = { { { 42, 0, 0, 0 } } };

	assert_false(dies(32, [] {
		uw_copy_start(uw_shared() + 16 * lane(), &vectors[lane()]);
		uw_copy_wait();
		uw_sync_warp();
		if (uw_load_shared_u32(uw_shared()) != 42)
			abort();
	}));
	/* not waited for */
	assert_true(dies(32, [] { uw_copy_start(uw_shared() + 16 * lane(), &vectors[lane()]); }));
	/* read before the wait */
	assert_true(dies(32, [] {
		uw_copy_start(uw_shared() + 16 * lane(), &vectors[lane()]);
		uw_sync_warp();
		if (uw_load_shared_u32(uw_shared()) != 42)
			abort();
		uw_sync_warp();
		uw_copy_wait();
	}));
	/* waited for by the lane that asked only */
	assert_true(dies(32, [] {
		uw_copy_start(uw_shared() + 16 * lane(), &vectors[lane()]);
		uw_copy_wait();
		(void)uw_load_shared_u32(uw_shared());
	}));
}

} // namespace

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_good_kernels),
		cmocka_unit_test(test_missing_barrier),
		cmocka_unit_test(test_shared_memory),
		cmocka_unit_test(test_lanes_apart),
		cmocka_unit_test(test_copies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
