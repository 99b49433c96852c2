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

#include <string.h>

#include "ptx_matrix.cuh"

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

/* ---- the engine, barriers in shared memory, products ---- */

uint8_t bytes[1024] __attribute__((aligned(16)));

uint32_t barrier_at(void)
{
	return uw_shared() + 2032;
}

/* Lane 0 asks for 1024 bytes; all others wait for them. */
void fetch(bool announce, bool wait, bool init_seen)
{
	if (uw_thread() == 0) {
		uw_barrier_init(barrier_at(), 1);
		uw_barrier_init_fence();
	}
	if (init_seen)
		uw_sync_block();
	if (uw_thread() == 0) {
		if (announce)
			uw_barrier_expect(barrier_at(), 1024);
		uw_bulk_copy(uw_shared(), bytes, 1024, barrier_at(), 0);
		uw_barrier_arrive(barrier_at());
	}
	if (wait)
		uw_barrier_wait(barrier_at(), 0);
	if (uw_load_shared_u8(uw_shared() + uw_thread()) != (uint8_t)uw_thread())
		abort();
}

void test_engine(void **)
{
	for (uint32_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)i;
	assert_false(dies(64, [] { fetch(true, true, true); }));
	assert_true(dies(64, [] { fetch(false, true, true); }));
	assert_true(dies(64, [] { fetch(true, false, true); }));
	assert_true(dies(64, [] { fetch(true, true, false); }));
	/* more arrivals than counted */
	assert_true(dies(32, [] {
		if (lane() == 0) {
			uw_barrier_init(barrier_at(), 2);
			uw_barrier_expect(barrier_at(), 16);
			for (uint32_t i = 0; i < 3; i++)
				uw_barrier_arrive(barrier_at());
		}
	}));
	/* the target is asked for while another warp may still read it */
	assert_true(dies(64, [] {
		if (uw_thread() == 0)
			uw_barrier_init(barrier_at(), 1);
		uw_sync_block();
		if (uw_thread() == 32)
			(void)uw_load_shared_u32(uw_shared());
		if (uw_thread() == 0) {
			uw_barrier_expect(barrier_at(), 16);
			uw_bulk_copy(uw_shared(), bytes, 16, barrier_at(), 0);
			uw_barrier_arrive(barrier_at());
			uw_barrier_wait(barrier_at(), 0);
		}
	}));
	/* not a multiple of 16 */
	assert_true(dies(32, [] {
		if (lane() == 0) {
			uw_barrier_init(barrier_at(), 1);
			uw_bulk_copy(uw_shared(), bytes + 4, 16, barrier_at(), 0);
		}
	}));
}

/* 64 x 16 by 16 x 8, all ones; B is in shared memory. `spoil`: A's registers are overwritten before the wait. */
void product(bool wait, bool spoil)
{
	uint32_t a[4] = { 0x3F803F80, 0x3F803F80, 0x3F803F80, 0x3F803F80 };
	float d[4] = { 0, 0, 0, 0 };

	for (uint32_t i = 4 * uw_thread(); i < 1024; i += 512)
		uw_store_shared_u32(uw_shared() + i, 0x3F803F80);
	uw_sync_block();
	uw_wgmma_fence();
	uw_wgmma(d, a, uw_wgmma_b(uw_shared()));
	uw_wgmma_commit();
	if (spoil)
		a[0] = 0;
	if (wait)
		uw_wgmma_wait<0>();
	for (uint32_t i = 0; i < 4; i++) {
		if (d[i] != 16)
			abort();
	}
}

void test_products(void **)
{
	assert_false(dies(128, [] { product(true, false); }));
	assert_true(dies(128, [] { product(false, false); }));
	assert_true(dies(128, [] { product(true, true); }));
	/* one warp of four stays away */
	assert_true(dies(128, [] {
		if (uw_thread() < 96)
			return product(true, false);
		uw_sync_block();
	}));
}

/* ldmatrix and mma agree with the fragments of section 5 of the specification. */
void test_warp_matrices(void **)
{
	assert_false(dies(32, [] {
		struct uw_vec4 v;
		float c[4] = { 0, 0, 0, 0 };

		/* matrix i has i + 1 in row r, column r */
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t row = lane() / 4, col = 2 * (lane() % 4), one = uw_round_bf16((float)(i + 1));

			uw_store_shared_u32(uw_shared() + 128 * i + 16 * row + 2 * col,
					    row == col ? one : row == col + 1 ? one << 16 : 0);
		}
		uw_sync_warp();
		v = uw_ldmatrix(uw_shared() + 16 * lane());
		/* A of four diagonals, B the first diagonal twice: c = [1 + 3 | 2 + 4] on the diagonals */
		uw_mma(c, v.w, v.w[0], v.w[0]);
		for (uint32_t i = 0; i < 4; i++) {
			bool diagonal = lane() / 4 == 2 * (lane() % 4) + i % 2;

			if (c[i] != (diagonal ? (i < 2 ? 4.0f : 6.0f) : 0.0f))
				abort();
		}
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
		cmocka_unit_test(test_engine),
		cmocka_unit_test(test_products),
		cmocka_unit_test(test_warp_matrices),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
