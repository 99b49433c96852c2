/* SPDX-License-Identifier: Apache-2.0 */
/* Fibers, warp instructions, who may touch what. The rest is in emu_async.cpp. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "emu.h"

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

#define STACK_NBYTES (128u * 1024)
#define GRANULE 2u

struct block emu_block;
struct fiber *emu_now;
uint8_t emu_garbage;
enum emu_fault emu_fault;

namespace {

const char *const instruction_names[] = {
	"none", "syncwarp", "ballot", "shfl", "shfl.up", "redux.or", "ldmatrix", "mma", "wgmma.wait",
};

const uint32_t NOBODY = ~0u, MANY = ~0u - 1, COPY_BEGUN = ~0u - 2, COPY_DONE = ~0u - 3;

struct block &b = emu_block;
uint64_t rng_state;
std::vector<struct emu_memory> ahead;

/* ---- fibers ---- */

void to_fiber(struct fiber *f)
{
	emu_now = f;
#ifdef EMU_ASAN
	__sanitizer_start_switch_fiber(&b.scheduler_fake_stack, f->stack.get(), STACK_NBYTES);
#endif
	swapcontext(&b.scheduler, &f->context);
#ifdef EMU_ASAN
	__sanitizer_finish_switch_fiber(b.scheduler_fake_stack, NULL, NULL);
#endif
	emu_now = NULL;
}

void switch_away(bool last)
{
	struct fiber *f = emu_now;

#ifdef EMU_ASAN
	__sanitizer_start_switch_fiber(last ? NULL : &f->fake_stack, b.scheduler_stack, b.scheduler_stack_nbytes);
#endif
	swapcontext(&f->context, &b.scheduler);
#ifdef EMU_ASAN
	__sanitizer_finish_switch_fiber(f->fake_stack, &b.scheduler_stack, &b.scheduler_stack_nbytes);
#endif
	(void)last;
}

void fiber_main(void)
{
#ifdef EMU_ASAN
	__sanitizer_finish_switch_fiber(NULL, &b.scheduler_stack, &b.scheduler_stack_nbytes);
#endif
	(*b.kernel)();
	for (const std::vector<struct lane_copy> &group : emu_now->copies) {
		if (!group.empty())
			emu_breach("exit with copies under way", (uint32_t)group.size());
	}
	for (const std::vector<struct product> &group : emu_now->products) {
		if (!group.empty())
			emu_breach("exit with products under way", (uint32_t)group.size());
	}
	emu_now->done = true;
	emu_warp().ndone++;
	switch_away(true);
}

bool can_run(struct fiber &f)
{
	if (f.done || f.wait_turn > b.warps[f.thread / LANES].turn || f.wait_block > b.turn)
		return false;
	return f.wait_barrier == 0 || emu_barrier_passes(f.wait_barrier, f.wait_parity);
}

void check_stuck(void)
{
	for (struct fiber &f : b.fibers) {
		struct warp &w = b.warps[f.thread / LANES];

		emu_now = &f;
		if (!f.done)
			emu_breach(w.ndone != 0 ? "waits for lanes that have left" : "waits for ever", w.turn);
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
			uint32_t k = emu_random() % i, swap = order[k];

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
		if (!emu_engine_run(!any) && !any)
			check_stuck();
	}
	emu_block_end();
	for (uint32_t i = 0; !ahead.empty() && i < b.nthreads; i++) {
		if (b.fibers[i].waited_ahead)
			return;
	}
	if (!ahead.empty())
		emu_breach("a block ends before the launch ahead", b.number);
}

void start_fiber(struct fiber *f, uint32_t thread)
{
	f->thread = thread;
	f->wait_turn = f->wait_block = f->wait_barrier = 0;
	f->done = f->fenced = f->waited_ahead = false;
	f->copies.assign(1, {});
	f->products.assign(1, {});
	f->clocks = {};
	f->fake_stack = NULL;
	if (!f->stack)
		f->stack.reset(new char[STACK_NBYTES]);
	getcontext(&f->context);
	f->context.uc_stack.ss_sp = f->stack.get();
	f->context.uc_stack.ss_size = STACK_NBYTES;
	f->context.uc_link = NULL;
	makecontext(&f->context, fiber_main, 0);
}

void start_block(uint32_t number, uint32_t shared_nbytes)
{
	size_t ngranules = (shared_nbytes + GRANULE - 1) / GRANULE, nwarps = b.nthreads / LANES;

	b.number = number;
	b.turn = b.narrived = b.engine_clock = 0;
	b.arrived = {};
	b.shared.assign(shared_nbytes, emu_garbage);
	b.writer.assign(ngranules, NOBODY);
	b.written_at.assign(ngranules, 0);
	b.reader.assign(ngranules * nwarps, NOBODY);
	b.read_at.assign(ngranules * nwarps, 0);
	b.warps.assign(nwarps, {});
	b.barriers.clear();
	b.engine.clear();
	for (uint32_t i = 0; i < b.nthreads; i++)
		start_fiber(&b.fibers[i], i);
}

/* ---- shared memory ---- */

/* What `thread` did at `at` is in the past of the lane that runs. */
bool ordered(uint32_t thread, uint32_t warp, uint32_t at)
{
	if (thread == NOBODY || thread == emu_now->thread)
		return true;
	if (warp == emu_now->thread / LANES)
		return at < emu_warp().barriers;
	return at < emu_now->clocks.seen[warp];
}

bool write_ordered(size_t granule)
{
	uint32_t writer = b.writer[granule];

	if (writer == COPY_BEGUN)
		return false;
	if (writer == COPY_DONE)
		return b.written_at[granule] < emu_now->clocks.seen[ENGINE];
	return ordered(writer, writer / LANES, b.written_at[granule]);
}

bool reads_ordered(size_t granule)
{
	uint32_t nwarps = b.nthreads / LANES;

	for (uint32_t w = 0; w < nwarps; w++) {
		if (!ordered(b.reader[granule * nwarps + w], w, b.read_at[granule * nwarps + w]))
			return false;
	}
	return true;
}

void check_bounds(uint32_t addr, uint32_t nbytes)
{
	if (addr < SHARED_BASE || addr - SHARED_BASE > b.shared.size() ||
	    nbytes > b.shared.size() - (addr - SHARED_BASE))
		emu_breach("access outside of shared memory", addr);
}

template <class T> T load_shared(uint32_t addr)
{
	T v;

	memcpy(&v, emu_reach(addr, sizeof(v), false), sizeof(v));
	return v;
}

template <class T> void store_shared(uint32_t addr, const T &v)
{
	memcpy(emu_reach(addr, sizeof(v), true), &v, sizeof(v));
}

} // namespace

uint32_t emu_random(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 32);
}

void emu_breach(const char *what, uint32_t detail)
{
	fprintf(stderr, "cuda_emu: block %u thread %u: %s (%u)\n", b.number, emu_now ? emu_now->thread : 0, what,
		detail);
	abort();
}

void emu_to_scheduler(void)
{
	switch_away(false);
}

const struct meeting &emu_meet(enum instruction what, const uint32_t *words, uint32_t nwords,
			       const std::function<void()> &last)
{
	struct warp &w = emu_warp();
	uint32_t turn = w.turn;
	struct meeting &m = w.meeting[turn % 2];
	bool orders = what == INS_SYNC || what == INS_WGMMA_WAIT;

	if (m.narrived == 0) {
		m.what = what;
		m.clocks = {};
	}
	if (m.what != what) {
		fprintf(stderr, "cuda_emu: %s meets %s\n", instruction_names[what], instruction_names[m.what]);
		emu_breach("lanes come to different warp instructions", turn);
	}
	for (uint32_t i = 0; i < nwords; i++)
		m.value[emu_now->thread % LANES][i] = words[i];
	m.clocks.join(emu_now->clocks);
	if (++m.narrived == LANES) {
		if (last)
			last();
		w.meeting[(turn + 1) % 2].narrived = 0;
		w.turn++;
		w.barriers += orders;
	}
	emu_now->wait_turn = turn + 1;
	emu_to_scheduler();
	if (orders)
		emu_now->clocks.join(m.clocks);
	return m;
}

uint8_t *emu_reach(uint32_t addr, uint32_t nbytes, bool writes)
{
	uint32_t barriers = emu_warp().barriers, nwarps = b.nthreads / LANES, warp = emu_now->thread / LANES;

	check_bounds(addr, nbytes);
	if (addr % (nbytes < 16 ? nbytes : 16) != 0)
		emu_breach("unaligned access to shared memory", addr);
	addr -= SHARED_BASE;
	for (size_t i = addr / GRANULE; i <= (addr + nbytes - 1) / GRANULE; i++) {
		uint32_t &reader = b.reader[i * nwarps + warp], &read_at = b.read_at[i * nwarps + warp];

		if (!write_ordered(i) || (writes && !reads_ordered(i)))
			emu_breach("race in shared memory", addr);
		if (writes) {
			b.writer[i] = emu_now->thread;
			b.written_at[i] = barriers;
		} else {
			bool alone = reader == NOBODY || reader == emu_now->thread || read_at < barriers;

			reader = alone ? emu_now->thread : MANY;
			read_at = barriers;
		}
	}
	return b.shared.data() + addr;
}

void emu_engine_touch(uint32_t addr, uint32_t nbytes, bool begun)
{
	check_bounds(addr, nbytes);
	if (begun)
		memset(emu_reach(addr, nbytes, true), emu_garbage, nbytes);
	addr -= SHARED_BASE;
	for (size_t i = addr / GRANULE; i < (addr + nbytes) / GRANULE; i++) {
		b.writer[i] = begun ? COPY_BEGUN : COPY_DONE;
		b.written_at[i] = b.engine_clock;
	}
}

void emu_run(uint32_t nblocks, uint32_t nthreads, uint32_t shared_nbytes, uint64_t seed,
	     const std::function<void()> &kernel)
{
	std::vector<uint32_t> order(nblocks);

	rng_state = seed;
	emu_garbage = emu_random() % 2 ? 0xFF : 0xCD;
	b.nthreads = nthreads;
	b.nblocks = nblocks;
	b.kernel = &kernel;
	if (nthreads % LANES != 0 || nthreads > LANES * MAX_WARPS)
		emu_breach("number of threads", nthreads);
	if (b.fibers.size() != nthreads)
		b.fibers = std::vector<struct fiber>(nthreads);
	for (uint32_t i = 0; i < nblocks; i++) {
		uint32_t k = emu_random() % (i + 1);

		order[i] = order[k];
		order[k] = i;
	}
	for (uint32_t i : order) {
		start_block(i, shared_nbytes);
		run_block();
	}
}

void emu_set_ahead(const struct emu_memory *memory, size_t n)
{
	ahead.assign(memory, memory + n);
}

void emu_reach_ahead(const void *at)
{
	for (const struct emu_memory &m : ahead) {
		if ((uintptr_t)at - (uintptr_t)m.at < m.nbytes && emu_now->clocks.seen[AHEAD] == 0)
			emu_breach("memory that the launch ahead may be using", (uint32_t)(&m - ahead.data()));
	}
}

void emu_set_fault(enum emu_fault fault)
{
	emu_fault = fault;
}

/* ---- where ---- */

uint32_t uw_thread(void)
{
	return emu_now->thread;
}

uint32_t uw_block(void)
{
	return b.number;
}

uint32_t uw_nblocks(void)
{
	return b.nblocks;
}

uint32_t uw_shared(void)
{
	return SHARED_BASE;
}

/* ---- global memory ---- */

uint32_t uw_load_global_u8(const uint8_t *p)
{
	return *emu_global(p);
}

uint32_t uw_load_global_u16(const uint16_t *p)
{
	return *emu_global(p);
}

uint32_t uw_load_global_u32(const uint32_t *p)
{
	return *emu_global(p);
}

uint64_t uw_load_global_u64(const uint64_t *p)
{
	return *emu_global(p);
}

struct uw_vec4 uw_load_global_once(const struct uw_vec4 *p)
{
	return *emu_global(p);
}

struct uw_vec4 uw_load_global_shared(const struct uw_vec4 *p)
{
	return *emu_global(p);
}

void uw_store_global_u16(uint16_t *p, uint32_t v)
{
	*emu_global(p) = (uint16_t)v;
}

void uw_store_global_u32(uint32_t *p, uint32_t v)
{
	*emu_global(p) = v;
}

void uw_store_global_vec4(struct uw_vec4 *p, const struct uw_vec4 &v)
{
	*emu_global(p) = v;
}

void uw_or_global(uint32_t *p, uint32_t bits)
{
	*emu_global(p) |= bits;
}

uint32_t uw_add_global(uint32_t *p, uint32_t v)
{
	uint32_t old = *emu_global(p);

	*p += v;
	return old;
}

/* ---- shared memory ---- */

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

/* ---- warps and blocks ---- */

void uw_sync_warp(void)
{
	if (emu_fault != EMU_NO_SYNC_WARP)
		emu_meet(INS_SYNC, NULL, 0);
}

void uw_sync_block(void)
{
	uint32_t turn = b.turn;

	if (emu_fault == EMU_NO_SYNC_BLOCK)
		return;
	b.arrived.join(emu_now->clocks);
	if (++b.narrived == b.nthreads) {
		b.narrived = 0;
		b.turn++;
		for (uint32_t w = 0; w < b.nthreads / LANES; w++)
			b.arrived.seen[w] = ++b.warps[w].barriers;
	}
	emu_now->wait_block = turn + 1;
	emu_to_scheduler();
	emu_now->clocks.join(b.arrived);
}

uint32_t uw_ballot(bool v)
{
	uint32_t word = v, bits = 0;
	const struct meeting &m = emu_meet(INS_BALLOT, &word, 1);

	for (uint32_t i = 0; i < LANES; i++)
		bits |= m.value[i][0] << i;
	return bits;
}

uint32_t uw_from_lane(uint32_t v, uint32_t lane)
{
	return emu_meet(INS_FROM_LANE, &v, 1).value[lane & 31][0];
}

uint32_t uw_from_below(uint32_t v, uint32_t n)
{
	uint32_t lane = emu_now->thread % LANES;

	return emu_meet(INS_FROM_BELOW, &v, 1).value[lane >= n ? lane - n : lane][0];
}

uint32_t uw_or_lanes(uint32_t v)
{
	const struct meeting &m = emu_meet(INS_OR, &v, 1);
	uint32_t bits = 0;

	for (uint32_t i = 0; i < LANES; i++)
		bits |= m.value[i][0];
	return bits;
}
