/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs kernel source on the host: the functions of kernels/cuda/ptx.cuh and ptx_matrix.cuh that reach memory and other
 * lanes.
 *
 * Every CUDA thread of a block is a fiber; blocks run one after the other, in random order. A fiber runs until it meets
 * an instruction that waits and goes on when what it waits for has come. Which fiber is next is random by seed, so that
 * orders a missing barrier would allow do occur. Shared memory begins as garbage. Each access to it is checked: inside
 * the block's bytes, aligned, and no byte touched by two lanes of which one writes, without a barrier between (of the
 * warp, of the block, or in shared memory). Global memory is the host's: buffers of exact size under ASan see every
 * access outside. A breach of a rule ends the program with a message.
 *
 * What is asynchronous happens late. Copies by lanes happen when they are waited for. Copies of the engine make their
 * target unreadable at once, read their source at once and arrive at a random time. Products of warpgroups are computed
 * at the wait, from what registers and shared memory hold then. A launch that begins early meets memory that the one
 * ahead still uses.
 *
 * Not here: how the hardware rounds within an instruction, the memory model between blocks, time.
 */
#ifndef UW_CUDA_EMU_H
#define UW_CUDA_EMU_H

#include <stddef.h>
#include <stdint.h>

#include <functional>

/* Runs `kernel` once for each thread of `nblocks` blocks of `nthreads`, a multiple of 32 and at most 384. */
void emu_run(uint32_t nblocks, uint32_t nthreads, uint32_t shared_nbytes, uint64_t seed,
	     const std::function<void()> &kernel);

/* From now on an instruction does nothing, as if it were missing in the kernel: to see that this is seen. */
enum emu_fault {
	EMU_NO_FAULT,
	EMU_NO_SYNC_WARP,
	EMU_NO_SYNC_BLOCK,
	EMU_NO_WAIT_FULL,    /* uw_barrier_wait in the warps that multiply */
	EMU_NO_WAIT_EMPTY,   /* in the others */
	EMU_NO_WGMMA_WAIT,
	EMU_EARLY_WGMMA_WAIT, /* waits for one group less */
	EMU_NO_WGMMA_FENCE,
	EMU_NO_COPY_WAIT,
	EMU_SHORT_EXPECT,    /* 16 bytes too few announced */
	EMU_NO_SWIZZLE,      /* tensor copies do not swizzle */
	EMU_NO_GRID_WAIT,
};

void emu_set_fault(enum emu_fault fault);

/* What the launch ahead may use while this one has begun, until it waits for that; none: there is no such launch. */
struct emu_memory {
	const void *at;
	size_t nbytes;
};
void emu_set_ahead(const struct emu_memory *memory, size_t n);

/* Makes a tensor map: a row-major matrix of 16-bit values, 128-byte swizzle, boxes of 64 columns. */
void emu_tensor_map(void *map, const void *base, uint64_t nrows, uint64_t ncols, uint64_t ld, uint32_t box_rows);

uint32_t uw_thread(void);
uint32_t uw_block(void);
uint32_t uw_nblocks(void);
uint32_t uw_shared(void);

uint32_t uw_load_global_u8(const uint8_t *p);
uint32_t uw_load_global_u16(const uint16_t *p);
uint32_t uw_load_global_u32(const uint32_t *p);
uint64_t uw_load_global_u64(const uint64_t *p);
struct uw_vec4 uw_load_global_once(const struct uw_vec4 *p);
struct uw_vec4 uw_load_global_shared(const struct uw_vec4 *p);
void uw_store_global_u16(uint16_t *p, uint32_t v);
void uw_store_global_u32(uint32_t *p, uint32_t v);
void uw_store_global_vec4(struct uw_vec4 *p, const struct uw_vec4 &v);
void uw_or_global(uint32_t *p, uint32_t bits);
uint32_t uw_add_global(uint32_t *p, uint32_t v);

uint32_t uw_load_shared_u8(uint32_t addr);
uint32_t uw_load_shared_u16(uint32_t addr);
uint32_t uw_load_shared_u32(uint32_t addr);
struct uw_vec4 uw_load_shared_vec4(uint32_t addr);
void uw_store_shared_u16(uint32_t addr, uint32_t v);
void uw_store_shared_u32(uint32_t addr, uint32_t v);
void uw_store_shared_vec4(uint32_t addr, const struct uw_vec4 &v);
void uw_copy_start(uint32_t addr, const struct uw_vec4 *p);
void uw_copy_start_or_zero(uint32_t addr, const struct uw_vec4 *p, uint32_t nbytes);
void uw_copy_wait(void);
void uw_copy_commit(void);
void emu_copy_wait_but(uint32_t n);

void uw_sync_warp(void);
void uw_sync_block(void);
uint32_t uw_ballot(bool v);
uint32_t uw_from_lane(uint32_t v, uint32_t lane);
uint32_t uw_from_below(uint32_t v, uint32_t n);
uint32_t uw_or_lanes(uint32_t v);
struct uw_vec4 uw_ldmatrix(uint32_t addr);
void uw_mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1);

void uw_barrier_init(uint32_t barrier, uint32_t count);
void uw_barrier_init_fence(void);
void uw_barrier_expect(uint32_t barrier, uint32_t nbytes);
void uw_barrier_arrive(uint32_t barrier);
void uw_barrier_wait(uint32_t barrier, uint32_t parity);
void uw_bulk_copy(uint32_t addr, const void *p, uint32_t nbytes, uint32_t barrier, uint64_t cache);
void uw_tensor_copy(uint32_t addr, const void *map, uint32_t column, uint32_t row, uint32_t barrier, uint64_t cache);
void uw_tensor_map_fence(const void *map);
void uw_grid_wait(void);
void uw_grid_let_next(void);

void uw_wgmma_fence(void);
void uw_wgmma_commit(void);
void emu_wgmma(float *d, uint32_t nsums, const uint32_t *a, uint64_t b);
void emu_wgmma_wait(uint32_t n);

template <uint32_t N> void uw_copy_wait_but(void)
{
	emu_copy_wait_but(N);
}

template <uint32_t N> void uw_wgmma(float (&d)[N], const uint32_t a[4], uint64_t b)
{
	emu_wgmma(d, N, a, b);
}

template <uint32_t N> void uw_wgmma_wait(void)
{
	emu_wgmma_wait(N);
}

template <uint32_t N> void uw_wgmma_settle(float (&)[N])
{
}

template <uint32_t N> void uw_fewer_registers(void)
{
}

template <uint32_t N> void uw_more_registers(void)
{
}
#endif
