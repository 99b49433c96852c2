/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <memory>
#include <vector>

#include "ptx.cuh"

#if defined(__SANITIZE_ADDRESS__)
#define EMU_ASAN
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define EMU_ASAN
#endif
#endif
#ifdef EMU_ASAN
#include <sanitizer/common_interface_defs.h>
#endif

#define LANES 32u
#define STACK_NBYTES (128u * 1024)
#define SHARED_BASE 1024u /* as on the device, where the system takes the first kilobyte */

namespace {

enum instruction {
	INS_NONE,
	INS_SYNC,
	INS_BALLOT,
	INS_FROM_LANE,
	INS_FROM_BELOW,
	INS_OR,
};

const char *const instruction_names[] = { "none", "syncwarp", "ballot", "shfl", "shfl.up", "redux.or" };

/*
 * A warp instruction that lanes are coming to. Two take turns: none can come to the one after the next before all have
 * read this one.
 */
struct meeting {
	enum instruction what;
	uint32_t narrived;
	uint32_t value[LANES];
};

struct warp {
	struct meeting meeting[2];
	uint32_t turn;     /* meetings that are over */
	uint32_t barriers; /* those that order memory: only syncwarp does */
	uint32_t ndone;
};

struct copy {
	uint32_t addr;
	const struct uw_vec4 *src;
};

struct fiber {
	ucontext_t context;
	std::unique_ptr<char[]> stack;
	uint32_t thread;
	uint32_t wait_turn; /* waits while its warp's turn is below */
	bool done;
	std::vector<struct copy> copies;
	void *fake_stack;
};

/* Who last touched a byte of shared memory, and how many barriers its warp had passed. Several readers are MANY. */
struct touch {
	uint32_t writer, written_at;
	uint32_t reader, read_at;
};

const uint32_t NOBODY = ~0u, MANY = ~0u - 1;

struct block {
	uint32_t number, nthreads;
	std::vector<uint8_t> shared;
	std::vector<struct touch> touches;
	std::vector<struct warp> warps;
	std::vector<struct fiber> fibers;
	const std::function<void()> *kernel;
	ucontext_t scheduler;
	const void *scheduler_stack;
	size_t scheduler_stack_nbytes;
	void *scheduler_fake_stack;
};

struct block b;
struct fiber *now;
uint64_t rng_state;
uint8_t garbage;

uint32_t rng(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 32);
}

[[noreturn]] void breach(const char *what, uint32_t detail)
{
	fprintf(stderr, "cuda_emu: block %u thread %u: %s (%u)\n", b.number, now ? now->thread : 0, what, detail);
	abort();
}

/* ---- fibers ---- */

void to_scheduler(bool last)
{
	struct fiber *f = now;

#ifdef EMU_ASAN
	__sanitizer_start_switch_fiber(last ? NULL : &f->fake_stack, b.scheduler_stack, b.scheduler_stack_nbytes);
#endif
	swapcontext(&f->context, &b.scheduler);
#ifdef EMU_ASAN
	__sanitizer_finish_switch_fiber(f->fake_stack, &b.scheduler_stack, &b.scheduler_stack_nbytes);
#endif
	(void)last;
}

void to_fiber(struct fiber *f)
{
	now = f;
#ifdef EMU_ASAN
	__sanitizer_start_switch_fiber(&b.scheduler_fake_stack, f->stack.get(), STACK_NBYTES);
#endif
	swapcontext(&b.scheduler, &f->context);
#ifdef EMU_ASAN
	__sanitizer_finish_switch_fiber(b.scheduler_fake_stack, NULL, NULL);
#endif
	now = NULL;
}

void fiber_main(void)
{
#ifdef EMU_ASAN
	__sanitizer_finish_switch_fiber(NULL, &b.scheduler_stack, &b.scheduler_stack_nbytes);
#endif
	(*b.kernel)();
	if (!now->copies.empty())
		breach("exit with copies under way", (uint32_t)now->copies.size());
	now->done = true;
	b.warps[now->thread / LANES].ndone++;
	to_scheduler(true);
}

bool can_run(const struct fiber &f)
{
	return !f.done && f.wait_turn <= b.warps[f.thread / LANES].turn;
}

void check_stuck(void)
{
	for (struct fiber &f : b.fibers) {
		struct warp &w = b.warps[f.thread / LANES];

		now = &f;
		if (!f.done)
			breach(w.ndone != 0 ? "waits for lanes that have left" : "waits for ever", w.turn);
	}
}

void run_block(void)
{
	std::vector<uint32_t> order(b.nthreads);
	uint32_t ndone = 0;

	for (uint32_t i = 0; i < b.nthreads; i++)
		order[i] = i;
	while (ndone < b.nthreads) {
		bool any = false;

		for (uint32_t i = b.nthreads; i > 1; i--) {
			uint32_t k = rng() % i, swap = order[k];

			order[k] = order[i - 1];
			order[i - 1] = swap;
		}
		for (uint32_t i : order) {
			struct fiber &f = b.fibers[i];

			if (!can_run(f))
				continue;
			any = true;
			to_fiber(&f);
			ndone += f.done;
		}
		if (!any)
			check_stuck();
	}
}

void start_block(uint32_t number, uint32_t shared_nbytes)
{
	b.number = number;
	b.shared.assign(shared_nbytes, garbage);
	b.touches.assign(shared_nbytes, { NOBODY, 0, NOBODY, 0 });
	b.warps.assign(b.nthreads / LANES, {});
	for (uint32_t i = 0; i < b.nthreads; i++) {
		struct fiber &f = b.fibers[i];

		f.thread = i;
		f.wait_turn = 0;
		f.done = false;
		f.fake_stack = NULL;
		if (!f.stack)
			f.stack.reset(new char[STACK_NBYTES]);
		getcontext(&f.context);
		f.context.uc_stack.ss_sp = f.stack.get();
		f.context.uc_stack.ss_size = STACK_NBYTES;
		f.context.uc_link = NULL;
		makecontext(&f.context, fiber_main, 0);
	}
}

/* ---- warp instructions ---- */

const struct meeting &meet(enum instruction what, uint32_t value)
{
	struct warp &w = b.warps[now->thread / LANES];
	uint32_t turn = w.turn;
	struct meeting &m = w.meeting[turn % 2];

	if (m.narrived == 0)
		m.what = what;
	if (m.what != what) {
		fprintf(stderr, "cuda_emu: %s meets %s\n", instruction_names[what], instruction_names[m.what]);
		breach("lanes come to different warp instructions", turn);
	}
	m.value[now->thread % LANES] = value;
	if (++m.narrived == LANES) {
		w.meeting[(turn + 1) % 2].narrived = 0;
		w.turn++;
		w.barriers += what == INS_SYNC;
	}
	now->wait_turn = turn + 1;
	to_scheduler(false);
	return m;
}

/* ---- shared memory ---- */

bool ordered(uint32_t thread, uint32_t at)
{
	const struct warp &w = b.warps[now->thread / LANES];

	if (thread == NOBODY || thread == now->thread)
		return true;
	if (thread == MANY)
		return at < w.barriers;
	return thread / LANES == now->thread / LANES && at < w.barriers;
}

uint8_t *reach(uint32_t addr, uint32_t nbytes, bool writes)
{
	uint32_t barriers = b.warps[now->thread / LANES].barriers;

	if (addr < SHARED_BASE || addr - SHARED_BASE > b.shared.size() ||
	    nbytes > b.shared.size() - (addr - SHARED_BASE))
		breach("access outside of shared memory", addr);
	if (addr % nbytes != 0)
		breach("unaligned access to shared memory", addr);
	addr -= SHARED_BASE;
	for (uint32_t i = addr; i < addr + nbytes; i++) {
		struct touch &t = b.touches[i];

		if (!ordered(t.writer, t.written_at) || (writes && !ordered(t.reader, t.read_at)))
			breach("race in shared memory", i);
		if (writes) {
			t.writer = now->thread;
			t.written_at = barriers;
		} else {
			bool alone = t.reader == NOBODY || t.reader == now->thread || t.read_at < barriers;

			t.reader = alone ? now->thread : MANY;
			t.read_at = barriers;
		}
	}
	return b.shared.data() + addr;
}

template <class T> T load_shared(uint32_t addr)
{
	T v;

	memcpy(&v, reach(addr, sizeof(v), false), sizeof(v));
	return v;
}

template <class T> void store_shared(uint32_t addr, const T &v)
{
	memcpy(reach(addr, sizeof(v), true), &v, sizeof(v));
}

template <class T> T *aligned(T *p)
{
	if ((uintptr_t)p % sizeof(T) != 0)
		breach("unaligned access to global memory", sizeof(T));
	return p;
}

} // namespace

void emu_run(uint32_t nblocks, uint32_t nthreads, uint32_t shared_nbytes, uint64_t seed,
	     const std::function<void()> &kernel)
{
	rng_state = seed;
	garbage = rng() % 2 ? 0xFF : 0xCD;
	b.nthreads = nthreads;
	b.kernel = &kernel;
	if (b.fibers.size() != nthreads)
		b.fibers = std::vector<struct fiber>(nthreads);
	for (uint32_t i = 0; i < nblocks; i++) {
		start_block(i, shared_nbytes);
		run_block();
	}
}

uint32_t uw_thread(void)
{
	return now->thread;
}

uint32_t uw_block(void)
{
	return b.number;
}

uint32_t uw_shared(void)
{
	return SHARED_BASE;
}

uint32_t uw_load_global_u8(const uint8_t *p)
{
	return *p;
}

uint32_t uw_load_global_u16(const uint16_t *p)
{
	return *aligned(p);
}

uint32_t uw_load_global_u32(const uint32_t *p)
{
	return *aligned(p);
}

uint64_t uw_load_global_u64(const uint64_t *p)
{
	return *aligned(p);
}

struct uw_vec4 uw_load_global_once(const struct uw_vec4 *p)
{
	return *aligned(p);
}

void uw_store_global_u16(uint16_t *p, uint32_t v)
{
	*aligned(p) = (uint16_t)v;
}

void uw_store_global_vec4(struct uw_vec4 *p, const struct uw_vec4 &v)
{
	*aligned(p) = v;
}

void uw_or_global(uint32_t *p, uint32_t bits)
{
	*aligned(p) |= bits;
}

uint32_t uw_load_shared_u8(uint32_t addr)
{
	return load_shared<uint8_t>(addr);
}

uint32_t uw_load_shared_u16(uint32_t addr)
{
	return load_shared<uint16_t>(addr);
}

uint32_t uw_load_shared_u32(uint32_t addr)
{
	return load_shared<uint32_t>(addr);
}

struct uw_vec4 uw_load_shared_vec4(uint32_t addr)
{
	return load_shared<struct uw_vec4>(addr);
}

void uw_store_shared_u16(uint32_t addr, uint32_t v)
{
	store_shared(addr, (uint16_t)v);
}

void uw_store_shared_u32(uint32_t addr, uint32_t v)
{
	store_shared(addr, v);
}

void uw_store_shared_vec4(uint32_t addr, const struct uw_vec4 &v)
{
	store_shared(addr, v);
}

/* The bytes are claimed now and move at the wait: in between they are nobody's to read. */
void uw_copy_start(uint32_t addr, const struct uw_vec4 *p)
{
	memset(reach(addr, sizeof(*p), true), garbage, sizeof(*p));
	now->copies.push_back({ addr, aligned(p) });
}

void uw_copy_wait(void)
{
	for (const struct copy &copy : now->copies)
		store_shared(copy.addr, *copy.src);
	now->copies.clear();
}

void uw_sync_warp(void)
{
	meet(INS_SYNC, 0);
}

uint32_t uw_ballot(bool v)
{
	const struct meeting &m = meet(INS_BALLOT, v);
	uint32_t bits = 0;

	for (uint32_t i = 0; i < LANES; i++)
		bits |= m.value[i] << i;
	return bits;
}

uint32_t uw_from_lane(uint32_t v, uint32_t lane)
{
	return meet(INS_FROM_LANE, v).value[lane & 31];
}

uint32_t uw_from_below(uint32_t v, uint32_t n)
{
	uint32_t lane = now->thread % LANES;

	return meet(INS_FROM_BELOW, v).value[lane >= n ? lane - n : lane];
}

uint32_t uw_or_lanes(uint32_t v)
{
	const struct meeting &m = meet(INS_OR, v);
	uint32_t bits = 0;

	for (uint32_t i = 0; i < LANES; i++)
		bits |= m.value[i];
	return bits;
}
