/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Runs kernel source on the host: the functions of kernels/cuda/ptx.cuh that reach memory and other lanes.
 *
 * Every CUDA thread of a block is a fiber; blocks run one after the other. A fiber runs until it meets a warp
 * instruction and goes on when all 32 lanes have come to the same one. Which fiber is next is random by seed, so that
 * orders a missing barrier would allow do occur. Shared memory begins as garbage. Each access to it is checked: inside
 * the block's bytes, aligned, and no byte touched by two lanes of which one writes, without a barrier between.
 * Asynchronous copies happen when they are waited for, not before. Global memory is the host's: buffers of exact size
 * under ASan see every access outside. A breach of a rule ends the program with a message.
 */
#ifndef UW_CUDA_EMU_H
#define UW_CUDA_EMU_H

#include <stddef.h>
#include <stdint.h>

#include <functional>

/* Runs `kernel` once for each thread of `nblocks` blocks of `nthreads`, a multiple of 32. */
void emu_run(uint32_t nblocks, uint32_t nthreads, uint32_t shared_nbytes, uint64_t seed,
	     const std::function<void()> &kernel);

uint32_t uw_thread(void);
uint32_t uw_block(void);
uint32_t uw_shared(void);

uint32_t uw_load_global_u8(const uint8_t *p);
uint32_t uw_load_global_u16(const uint16_t *p);
uint32_t uw_load_global_u32(const uint32_t *p);
uint64_t uw_load_global_u64(const uint64_t *p);
struct uw_vec4 uw_load_global_once(const struct uw_vec4 *p);
void uw_store_global_u16(uint16_t *p, uint32_t v);
void uw_store_global_vec4(struct uw_vec4 *p, const struct uw_vec4 &v);
void uw_or_global(uint32_t *p, uint32_t bits);

uint32_t uw_load_shared_u8(uint32_t addr);
uint32_t uw_load_shared_u16(uint32_t addr);
uint32_t uw_load_shared_u32(uint32_t addr);
struct uw_vec4 uw_load_shared_vec4(uint32_t addr);
void uw_store_shared_u16(uint32_t addr, uint32_t v);
void uw_store_shared_u32(uint32_t addr, uint32_t v);
void uw_store_shared_vec4(uint32_t addr, const struct uw_vec4 &v);
void uw_copy_start(uint32_t addr, const struct uw_vec4 *p);
void uw_copy_wait(void);

void uw_sync_warp(void);
uint32_t uw_ballot(bool v);
uint32_t uw_from_lane(uint32_t v, uint32_t lane);
uint32_t uw_from_below(uint32_t v, uint32_t n);
uint32_t uw_or_lanes(uint32_t v);
#endif
