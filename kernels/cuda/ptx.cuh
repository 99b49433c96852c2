/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One machine instruction per function, nothing else.
 *
 * Instructions that only compute have a host version of the same meaning, so what is built of them is host and device
 * code from one source. Those that reach memory or other lanes exist on the device, and in the emulator of
 * tests/cuda_emu, which supplies functions of the same names where UW_CUDA_EMU is defined.
 *
 * Conventions: shared memory is addressed by 32-bit numbers; warp instructions are for all 32 lanes.
 */
#ifndef UW_PTX_CUH
#define UW_PTX_CUH

#include <stdint.h>

#ifdef __CUDACC__
#define UW_HOST_DEVICE static __host__ __device__ __forceinline__
#define UW_DEVICE static __device__ __forceinline__
#define UW_MEMBER __device__ __forceinline__
#define UW_UNROLL _Pragma("unroll")
#define UW_NO_UNROLL _Pragma("unroll 1")
#else
#define UW_HOST_DEVICE static inline
#define UW_DEVICE static inline
#define UW_MEMBER inline
#define UW_UNROLL
#define UW_NO_UNROLL
#endif

/* Four words that a lane loads or stores at once; addresses are multiples of 16. */
struct alignas(16) uw_vec4 {
	uint32_t w[4];
};

/* ---- computing: host and device ---- */

/*
 * PRMT. Byte n of the result is the byte of b:a (a lowest) that nibble n of `selector` names. Bit 3 of a nibble makes
 * eight copies of the byte's sign instead. Not __byte_perm: that masks the selector, one instruction more.
 */
UW_HOST_DEVICE uint32_t uw_prmt(uint32_t a, uint32_t b, uint32_t selector)
{
	uint32_t d;
#ifdef __CUDA_ARCH__
	asm("prmt.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(a), "r"(b), "r"(selector));
#else
	uint64_t bytes = (uint64_t)b << 32 | a;

	d = 0;
	for (unsigned n = 0; n < 4; n++) {
		uint32_t nibble = selector >> 4 * n & 15, byte = (uint32_t)(bytes >> 8 * (nibble & 7)) & 255;

		if (nibble & 8)
			byte = byte & 128 ? 255 : 0;
		d |= byte << 8 * n;
	}
#endif
	return d;
}

/* LOP3. Bits of x where `mask` is set, of y elsewhere. */
UW_HOST_DEVICE uint32_t uw_select(uint32_t x, uint32_t y, uint32_t mask)
{
	uint32_t d;
#ifdef __CUDA_ARCH__
	asm("lop3.b32 %0, %1, %2, %3, 0xE4;" : "=r"(d) : "r"(x), "r"(y), "r"(mask));
#else
	d = (x & mask) | (y & ~mask);
#endif
	return d;
}

/* LOP3. (x & mask) | bits. */
UW_HOST_DEVICE uint32_t uw_and_or(uint32_t x, uint32_t mask, uint32_t bits)
{
	uint32_t d;
#ifdef __CUDA_ARCH__
	asm("lop3.b32 %0, %1, %2, %3, 0xEA;" : "=r"(d) : "r"(x), "r"(mask), "r"(bits));
#else
	d = (x & mask) | bits;
#endif
	return d;
}

/* SHF. The low word of hi:lo moved right by n mod 32: higher bits of n do not matter. */
UW_HOST_DEVICE uint32_t uw_shift_pair(uint32_t lo, uint32_t hi, uint32_t n)
{
	uint32_t d;
#ifdef __CUDA_ARCH__
	asm("shf.r.wrap.b32 %0, %1, %2, %3;" : "=r"(d) : "r"(lo), "r"(hi), "r"(n));
#else
	d = (uint32_t)(((uint64_t)hi << 32 | lo) >> (n & 31));
#endif
	return d;
}

/* SHF. */
UW_HOST_DEVICE uint32_t uw_rotr(uint32_t x, uint32_t n)
{
	return uw_shift_pair(x, x, n);
}

/* BREV. */
UW_HOST_DEVICE uint32_t uw_reverse(uint32_t x)
{
	uint32_t d;
#ifdef __CUDA_ARCH__
	asm("brev.b32 %0, %1;" : "=r"(d) : "r"(x));
#else
	d = 0;
	for (unsigned n = 0; n < 32; n++)
		d |= (x >> n & 1) << (31 - n);
#endif
	return d;
}

/* POPC. */
UW_HOST_DEVICE uint32_t uw_popcount(uint32_t x)
{
	uint32_t d;
#ifdef __CUDA_ARCH__
	asm("popc.b32 %0, %1;" : "=r"(d) : "r"(x));
#else
	for (d = 0; x != 0; x &= x - 1)
		d++;
#endif
	return d;
}

/* ---- memory and other lanes: device, or the emulator ---- */

#ifdef UW_CUDA_EMU
#include "cuda_emu.h"
#elif defined(__CUDACC__)

UW_DEVICE uint32_t uw_thread(void)
{
	return threadIdx.x;
}

UW_DEVICE uint32_t uw_block(void)
{
	return blockIdx.x;
}

/* Address of the block's dynamic shared memory. */
UW_DEVICE uint32_t uw_shared(void)
{
	extern __shared__ __align__(1024) uint8_t uw_shared_bytes[];

	return (uint32_t)__cvta_generic_to_shared(uw_shared_bytes);
}

/* LDG of data that nobody writes while the kernel runs. */
UW_DEVICE uint32_t uw_load_global_u8(const uint8_t *p)
{
	uint32_t d;

	asm("ld.global.nc.u8 %0, [%1];" : "=r"(d) : "l"(p));
	return d;
}

UW_DEVICE uint32_t uw_load_global_u16(const uint16_t *p)
{
	uint16_t d;

	asm("ld.global.nc.u16 %0, [%1];" : "=h"(d) : "l"(p));
	return d;
}

UW_DEVICE uint32_t uw_load_global_u32(const uint32_t *p)
{
	uint32_t d;

	asm("ld.global.nc.u32 %0, [%1];" : "=r"(d) : "l"(p));
	return d;
}

UW_DEVICE uint64_t uw_load_global_u64(const uint64_t *p)
{
	uint64_t d;

	asm("ld.global.nc.u64 %0, [%1];" : "=l"(d) : "l"(p));
	return d;
}

/*
 * The same for planes that are read once: they leave the first cache to others. Volatile: it stays where the source
 * asks for it, early.
 */
UW_DEVICE struct uw_vec4 uw_load_global_once(const struct uw_vec4 *p)
{
	struct uw_vec4 d;

	asm volatile("ld.global.nc.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
		     : "=r"(d.w[0]), "=r"(d.w[1]), "=r"(d.w[2]), "=r"(d.w[3])
		     : "l"(p));
	return d;
}

UW_DEVICE void uw_store_global_u16(uint16_t *p, uint32_t v)
{
	asm volatile("st.global.u16 [%0], %1;" :: "l"(p), "h"((uint16_t)v) : "memory");
}

UW_DEVICE void uw_store_global_vec4(struct uw_vec4 *p, const struct uw_vec4 &v)
{
	asm volatile("st.global.v4.u32 [%0], {%1, %2, %3, %4};"
		     :: "l"(p), "r"(v.w[0]), "r"(v.w[1]), "r"(v.w[2]), "r"(v.w[3])
		     : "memory");
}

/* RED.OR. */
UW_DEVICE void uw_or_global(uint32_t *p, uint32_t bits)
{
	asm volatile("red.relaxed.gpu.global.or.b32 [%0], %1;" :: "l"(p), "r"(bits) : "memory");
}

/* LDS. Volatile: ordered against the stores and barriers around them. */
UW_DEVICE uint32_t uw_load_shared_u8(uint32_t addr)
{
	uint32_t d;

	asm volatile("ld.shared.u8 %0, [%1];" : "=r"(d) : "r"(addr) : "memory");
	return d;
}

UW_DEVICE uint32_t uw_load_shared_u16(uint32_t addr)
{
	uint16_t d;

	asm volatile("ld.shared.u16 %0, [%1];" : "=h"(d) : "r"(addr) : "memory");
	return d;
}

UW_DEVICE uint32_t uw_load_shared_u32(uint32_t addr)
{
	uint32_t d;

	asm volatile("ld.shared.u32 %0, [%1];" : "=r"(d) : "r"(addr) : "memory");
	return d;
}

UW_DEVICE struct uw_vec4 uw_load_shared_vec4(uint32_t addr)
{
	struct uw_vec4 d;

	asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
		     : "=r"(d.w[0]), "=r"(d.w[1]), "=r"(d.w[2]), "=r"(d.w[3])
		     : "r"(addr)
		     : "memory");
	return d;
}

/* STS. */
UW_DEVICE void uw_store_shared_u16(uint32_t addr, uint32_t v)
{
	asm volatile("st.shared.u16 [%0], %1;" :: "r"(addr), "h"((uint16_t)v) : "memory");
}

UW_DEVICE void uw_store_shared_u32(uint32_t addr, uint32_t v)
{
	asm volatile("st.shared.u32 [%0], %1;" :: "r"(addr), "r"(v) : "memory");
}

UW_DEVICE void uw_store_shared_vec4(uint32_t addr, const struct uw_vec4 &v)
{
	asm volatile("st.shared.v4.u32 [%0], {%1, %2, %3, %4};"
		     :: "r"(addr), "r"(v.w[0]), "r"(v.w[1]), "r"(v.w[2]), "r"(v.w[3])
		     : "memory");
}

/*
 * LDGSTS. 16 bytes from global to shared memory; there for the lane that asked after uw_copy_wait, for others after a
 * barrier too.
 */
UW_DEVICE void uw_copy_start(uint32_t addr, const struct uw_vec4 *p)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(addr), "l"(p) : "memory");
}

UW_DEVICE void uw_copy_wait(void)
{
	asm volatile("cp.async.wait_all;" ::: "memory");
}

UW_DEVICE void uw_sync_warp(void)
{
	asm volatile("bar.warp.sync 0xFFFFFFFF;" ::: "memory");
}

/* VOTE. Bit n: what lane n said. */
UW_DEVICE uint32_t uw_ballot(bool v)
{
	return __ballot_sync(0xFFFFFFFFu, v);
}

/* SHFL. The value of lane (lane & 31). */
UW_DEVICE uint32_t uw_from_lane(uint32_t v, uint32_t lane)
{
	return __shfl_sync(0xFFFFFFFFu, v, (int)lane);
}

/* SHFL. The value of the lane n below; lanes below n get their own. */
UW_DEVICE uint32_t uw_from_below(uint32_t v, uint32_t n)
{
	return __shfl_up_sync(0xFFFFFFFFu, v, n);
}

/* REDUX. The values of all lanes, ORed. */
UW_DEVICE uint32_t uw_or_lanes(uint32_t v)
{
	return __reduce_or_sync(0xFFFFFFFFu, v);
}
#endif
#endif
