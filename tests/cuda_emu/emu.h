/* SPDX-License-Identifier: Apache-2.0 */
/* What the parts of the emulator share. */
#ifndef UW_EMU_H
#define UW_EMU_H

#include <stdint.h>
#include <ucontext.h>

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "ptx_matrix.cuh"

#define LANES 32u
#define MAX_WARPS 12u
#define ENGINE MAX_WARPS  /* the copy engine's place among the warps' clocks */
#define AHEAD (ENGINE + 1) /* that of the launch ahead: 1 for who knows that it has ended */
#define NCLOCKS (AHEAD + 1)
#define SHARED_BASE 1024u /* as on the device, where the system takes the first kilobyte */

enum instruction {
	INS_NONE,
	INS_SYNC,
	INS_BALLOT,
	INS_FROM_LANE,
	INS_FROM_BELOW,
	INS_OR,
	INS_LDMATRIX,
	INS_MMA,
	INS_WGMMA_WAIT,
};

/*
 * Time. A warp's clock ticks at each of its barriers, the engine's with each copy that arrives. What happened in a warp
 * at clock c is in the past of a lane that has seen more than c of that warp.
 */
struct clocks {
	uint32_t seen[NCLOCKS];

	void join(const struct clocks &other)
	{
		for (uint32_t w = 0; w < NCLOCKS; w++)
			seen[w] = other.seen[w] > seen[w] ? other.seen[w] : seen[w];
	}
};

#define MEETING_WORDS 6u

/*
 * A warp instruction that lanes are coming to. Two take turns: none can come to the one after the next before all have
 * read this one.
 */
struct meeting {
	enum instruction what;
	uint32_t narrived;
	uint32_t value[LANES][MEETING_WORDS];
	struct clocks clocks;
};

/* A matrix instruction of a warpgroup, one lane's view: executed at the wait, with what the registers hold then. */
struct product {
	float *d;
	uint32_t nsums;
	const uint32_t *a;
	uint64_t b;
};

struct warp {
	struct meeting meeting[2];
	uint32_t turn;     /* meetings that are over */
	uint32_t barriers; /* the clock */
	uint32_t ndone;
	uint32_t nproducts; /* executed */
};

struct lane_copy {
	uint32_t addr;
	const struct uw_vec4 *src; /* NULL: zeros */
};

struct fiber {
	ucontext_t context;
	std::unique_ptr<char[]> stack;
	uint32_t thread;
	uint32_t wait_turn;    /* waits while its warp's turn is below */
	uint32_t wait_block;   /* waits while the block's turn is below */
	uint32_t wait_barrier; /* address; 0: waits for none */
	uint32_t wait_parity;
	bool done;
	std::vector<std::vector<struct lane_copy>> copies; /* groups; the last one is still open */
	std::vector<std::vector<struct product>> products; /* the same */
	bool fenced;
	bool waited_ahead;
	struct clocks clocks;
	void *fake_stack;
};

/* A barrier in shared memory. */
struct barrier {
	uint32_t count, pending, phase;
	int64_t nbytes;
	struct clocks clocks;
};

/* A copy that the engine has not made yet. */
struct engine_copy {
	uint32_t addr, barrier;
	std::vector<uint8_t> bytes;
};

struct block {
	uint32_t number, nblocks, nthreads;
	uint32_t turn, narrived; /* barriers of the block */
	struct clocks arrived;
	std::vector<uint8_t> shared;
	/* of two bytes each: who wrote last, when; of each warp who read last, when */
	std::vector<uint32_t> writer, written_at, reader, read_at;
	std::vector<struct warp> warps;
	std::vector<struct fiber> fibers;
	std::map<uint32_t, struct barrier> barriers;
	std::vector<struct engine_copy> engine;
	uint32_t engine_clock;
	const std::function<void()> *kernel;
	ucontext_t scheduler;
	const void *scheduler_stack;
	size_t scheduler_stack_nbytes;
	void *scheduler_fake_stack;
};

extern struct block emu_block;
extern struct fiber *emu_now;
extern uint8_t emu_garbage;
extern enum emu_fault emu_fault;

uint32_t emu_random(void);
[[noreturn]] void emu_breach(const char *what, uint32_t detail);
void emu_to_scheduler(void);

inline struct warp &emu_warp(void)
{
	return emu_block.warps[emu_now->thread / LANES];
}

/* Waits for all lanes of the warp; `last` runs when they are there, before any goes on. */
const struct meeting &emu_meet(enum instruction what, const uint32_t *words, uint32_t nwords,
			       const std::function<void()> &last = {});

/* The bytes, if the lane may touch them now. */
uint8_t *emu_reach(uint32_t addr, uint32_t nbytes, bool writes);
/* The same for the engine: `begun` takes the bytes away, !begun gives them back with what has arrived. */
void emu_engine_touch(uint32_t addr, uint32_t nbytes, bool begun);

/* Lets copies arrive: some, or one at least. False: there is none. */
bool emu_engine_run(bool one);
bool emu_barrier_passes(uint32_t addr, uint32_t parity);
void emu_block_end(void);
/* Memory that the launch ahead may use until it has ended: only for who knows that it has. */
void emu_reach_ahead(const void *at);

template <class T> T *emu_aligned(T *p)
{
	if ((uintptr_t)p % sizeof(T) != 0)
		emu_breach("unaligned access to global memory", sizeof(T));
	return p;
}

template <class T> T *emu_global(T *p)
{
	emu_reach_ahead(p);
	return emu_aligned(p);
}
#endif
