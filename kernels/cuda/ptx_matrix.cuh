/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One machine instruction per function, as in ptx.cuh: matrix instructions, copies that complete on their own, and what
 * orders them. All exist on the device and, by the same names, in the emulator of tests/cuda_emu.
 *
 * sm_80 and later:  uw_ldmatrix, uw_mma, uw_copy_commit, uw_copy_wait_but, uw_sync_block, global memory
 * sm_90 and later:  uw_barrier_*, uw_bulk_copy, uw_tensor_copy, uw_grid_*
 * sm_90a:           uw_wgmma*
 */
#ifndef UW_PTX_MATRIX_CUH
#define UW_PTX_MATRIX_CUH

#include <string.h>

#include "ptx.cuh"

/* ---- computing: host and device ---- */

/* FP32 to BF16, nearest even; a NaN becomes 0x7FFF. */
UW_HOST_DEVICE uint32_t uw_round_bf16(float x)
{
#ifdef __CUDA_ARCH__
	uint16_t d;

	asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(d) : "f"(x));
	return d;
#else
	uint32_t word;

	memcpy(&word, &x, sizeof(word));
	if ((word & 0x7FFFFFFF) > 0x7F800000)
		return 0x7FFF;
	return (word + 0x7FFF + (word >> 16 & 1)) >> 16;
#endif
}

/* Nothing; but the compiler computes what follows from the result here, not earlier. */
UW_HOST_DEVICE uint64_t uw_opaque(uint64_t x)
{
#ifdef __CUDA_ARCH__
	asm volatile("" : "+l"(x));
#endif
	return x;
}

UW_HOST_DEVICE uint32_t uw_opaque(uint32_t x)
{
#ifdef __CUDA_ARCH__
	asm volatile("" : "+r"(x));
#endif
	return x;
}

/*
 * The shared memory matrix descriptor of wgmma for B: rows of 128 bytes (64 values of one column of B, k ascending),
 * eight of them 1024 bytes, swizzled as by a tensor copy with 128-byte swizzle. `addr` is that of the tile, aligned to
 * 1024, plus 32 for each step of 16 in k.
 *
 *     bits 0 .. 14 address / 16; 16 .. 30 not used with swizzle, 1; 32 .. 46 from eight rows to the next, / 16;
 *     62 .. 64 1: 128-byte swizzle
 */
UW_HOST_DEVICE uint64_t uw_wgmma_b(uint32_t addr)
{
	return UINT64_C(1) << 62 | UINT64_C(64) << 32 | UINT64_C(1) << 16 | (addr & 0x3FFFF) >> 4;
}

/* What is to become of the lines of a copy in the second cache. */
#define UW_CACHE_NORMAL UINT64_C(0x1000000000000000)
#define UW_CACHE_EVICT_FIRST UINT64_C(0x12F0000000000000)

#if !defined(UW_CUDA_EMU) && defined(__CUDACC__)

UW_DEVICE uint32_t uw_nblocks(void)
{
	return gridDim.x;
}

/* ---- global memory that other blocks write ---- */

/* LDG past the first cache. */
UW_DEVICE struct uw_vec4 uw_load_global_shared(const struct uw_vec4 *p)
{
	struct uw_vec4 d;

	asm volatile("ld.global.cg.v4.u32 {%0, %1, %2, %3}, [%4];"
		     : "=r"(d.w[0]), "=r"(d.w[1]), "=r"(d.w[2]), "=r"(d.w[3])
		     : "l"(p)
		     : "memory");
	return d;
}

UW_DEVICE void uw_store_global_u32(uint32_t *p, uint32_t v)
{
	asm volatile("st.global.u32 [%0], %1;" :: "l"(p), "r"(v) : "memory");
}

/*
 * MEMBAR, ATOMG. Returns what was there. What the lane knows to be written, other lanes' stores before a barrier too, is
 * seen by who adds later, and by whom a barrier follows there.
 */
UW_DEVICE uint32_t uw_add_global(uint32_t *p, uint32_t v)
{
	uint32_t d;

	asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;" : "=r"(d) : "l"(p), "r"(v) : "memory");
	return d;
}

/* ---- the block ---- */

UW_DEVICE void uw_sync_block(void)
{
	__syncthreads();
}

/* ---- copies by lanes ---- */

/*
 * LDGSTS. As uw_copy_start, but of the first `nbytes` (0 or 16) bytes; zeros for the others. With 0 nothing is read.
 */
UW_DEVICE void uw_copy_start_or_zero(uint32_t addr, const struct uw_vec4 *p, uint32_t nbytes)
{
	asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(addr), "l"(p), "r"(nbytes) : "memory");
}

/* LDGDEPBAR. The copies since the last one form a group. */
UW_DEVICE void uw_copy_commit(void)
{
	asm volatile("cp.async.commit_group;" ::: "memory");
}

/* DEPBAR. All groups but the last N are there, for the lane that asked. */
template <uint32_t N> UW_DEVICE void uw_copy_wait_but(void)
{
	asm volatile("cp.async.wait_group %0;" :: "n"(N) : "memory");
}

/* ---- matrices by warps ---- */

/* LDSM. Four matrices of 8 rows of 16 bytes; lane l names row l mod 8 of matrix l / 8. */
UW_DEVICE struct uw_vec4 uw_ldmatrix(uint32_t addr)
{
	struct uw_vec4 d;

	asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
		     : "=r"(d.w[0]), "=r"(d.w[1]), "=r"(d.w[2]), "=r"(d.w[3])
		     : "r"(addr)
		     : "memory");
	return d;
}

/* HMMA. c += A B: 16 x 16 by 16 x 8. */
UW_DEVICE void uw_mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
	asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
		     "{%8, %9}, {%0, %1, %2, %3};"
		     : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
		     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

/* ---- launches that overlap ---- */

/* ACQBULK. The launch before this one has ended and what it wrote can be read. */
UW_DEVICE void uw_grid_wait(void)
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

/* PREEXIT. The next launch may begin. */
UW_DEVICE void uw_grid_let_next(void)
{
#if __CUDA_ARCH__ >= 900
	asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

/* The pass for the host has to see the names of what follows. */
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/* ---- barriers in shared memory: 8 bytes, a phase ends when `count` arrivals and all announced bytes have come ---- */

UW_DEVICE void uw_barrier_init(uint32_t barrier, uint32_t count)
{
	asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(count) : "memory");
}

/* Between the last uw_barrier_init and a barrier of the block: other lanes and the copy engine see them. */
UW_DEVICE void uw_barrier_init_fence(void)
{
	asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
	asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

/* Announces bytes; no arrival. */
UW_DEVICE void uw_barrier_expect(uint32_t barrier, uint32_t nbytes)
{
	asm volatile("mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%0], %1;" :: "r"(barrier), "r"(nbytes) : "memory");
}

UW_DEVICE void uw_barrier_arrive(uint32_t barrier)
{
	asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" :: "r"(barrier) : "memory");
}

/* Waits for the end of the phase of this parity: the first phase has parity 0, and that before it counts as ended. */
UW_DEVICE void uw_barrier_wait(uint32_t barrier, uint32_t parity)
{
	asm volatile("{\n"
		     ".reg .pred done;\n"
		     "again:\n"
		     "mbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n"
		     "@!done bra again;\n"
		     "}" :: "r"(barrier), "r"(parity) : "memory");
}

/* ---- copies by the copy engine; they announce nothing, and report their bytes to a barrier ---- */

/* UBLKCP. Addresses and size are multiples of 16. */
UW_DEVICE void uw_bulk_copy(uint32_t addr, const void *p, uint32_t nbytes, uint32_t barrier, uint64_t cache)
{
	asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
		     "[%0], [%1], %2, [%3], %4;"
		     :: "r"(addr), "l"(p), "r"(nbytes), "r"(barrier), "l"(cache)
		     : "memory");
}

/* UTMALDG. The box at (column, row) of a matrix; zeros outside of the matrix, counted like others. */
UW_DEVICE void uw_tensor_copy(uint32_t addr, const void *map, uint32_t column, uint32_t row, uint32_t barrier,
			      uint64_t cache)
{
	asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
		     "[%0], [%1, {%2, %3}], [%4], %5;"
		     :: "r"(addr), "l"(map), "r"(column), "r"(row), "r"(barrier), "l"(cache)
		     : "memory");
}

/* Before the first use of a map that lies in global memory. */
UW_DEVICE void uw_tensor_map_fence(const void *map)
{
	asm volatile("fence.proxy.tensormap::generic.acquire.gpu [%0], 128;" :: "l"(map) : "memory");
}
#endif

/* ---- matrices by warpgroups (four warps): asynchronous ---- */

#if !defined(__CUDA_ARCH__) || defined(__CUDA_ARCH_FEAT_SM90_ALL)

/* For all four warps: the registers of each lane from now on, less or more than at the launch. */
template <uint32_t N> UW_DEVICE void uw_fewer_registers(void)
{
	asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" :: "n"(N));
}

template <uint32_t N> UW_DEVICE void uw_more_registers(void)
{
	asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" :: "n"(N));
}

/* Registers written before are seen by the next uw_wgmma. */
UW_DEVICE void uw_wgmma_fence(void)
{
	asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

UW_DEVICE void uw_wgmma_commit(void)
{
	asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

/* All groups but the last N have ended: their sums, fragments and shared memory are free. */
template <uint32_t N> UW_DEVICE void uw_wgmma_wait(void)
{
	asm volatile("wgmma.wait_group.sync.aligned %0;" :: "n"(N) : "memory");
}

/* Keeps the compiler from reading the sums before the wait above. */
template <uint32_t N> UW_DEVICE void uw_wgmma_settle(float (&d)[N])
{
	UW_UNROLL
	for (uint32_t i = 0; i < N; i++)
		asm volatile("" : "+f"(d[i]) :: "memory");
}

#define UW_R4(d, i) "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3])
#define UW_R8(d, i) UW_R4(d, i), UW_R4(d, i + 4)
#define UW_R16(d, i) UW_R8(d, i), UW_R8(d, i + 8)
#define UW_R32(d, i) UW_R16(d, i), UW_R16(d, i + 16)
#define UW_R64(d, i) UW_R32(d, i), UW_R32(d, i + 32)
#define UW_R128(d, i) UW_R64(d, i), UW_R64(d, i + 64)
#define UW_N4 "%0, %1, %2, %3"
#define UW_N8 UW_N4 ", %4, %5, %6, %7"
#define UW_N16 UW_N8 ", %8, %9, %10, %11, %12, %13, %14, %15"
#define UW_N32 UW_N16 ", %16, %17, %18, %19, %20, %21, %22, %23, %24, %25, %26, %27, %28, %29, %30, %31"
#define UW_N64 \
	UW_N32 ", %32, %33, %34, %35, %36, %37, %38, %39, %40, %41, %42, %43, %44, %45, %46, %47" \
	       ", %48, %49, %50, %51, %52, %53, %54, %55, %56, %57, %58, %59, %60, %61, %62, %63"
#define UW_N128 \
	UW_N64 ", %64, %65, %66, %67, %68, %69, %70, %71, %72, %73, %74, %75, %76, %77, %78, %79" \
	       ", %80, %81, %82, %83, %84, %85, %86, %87, %88, %89, %90, %91, %92, %93, %94, %95" \
	       ", %96, %97, %98, %99, %100, %101, %102, %103, %104, %105, %106, %107, %108, %109, %110, %111" \
	       ", %112, %113, %114, %115, %116, %117, %118, %119, %120, %121, %122, %123, %124, %125, %126, %127"

#define UW_WGMMA(n, count, a0, a1, a2, a3, b) \
	UW_DEVICE void uw_wgmma(float (&d)[count], const uint32_t a[4], uint64_t desc) \
	{ \
		asm volatile("wgmma.mma_async.sync.aligned.m64n" #n "k16.f32.bf16.bf16 {" UW_N##count "}, " \
			     "{%" #a0 ", %" #a1 ", %" #a2 ", %" #a3 "}, %" #b ", 1, 1, 1, 0;" \
			     : UW_R##count(d, 0) \
			     : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(desc) \
			     : "memory"); \
	}

/*
 * HGMMA. d += A B, 64 x 16 by 16 x n: each warp holds the fragments of its 16 rows, and 16 x n sums as uw_mma has them,
 * eight columns after the other. `desc` as uw_wgmma_b gives it.
 */
UW_WGMMA(8, 4, 4, 5, 6, 7, 8)
UW_WGMMA(16, 8, 8, 9, 10, 11, 12)
UW_WGMMA(32, 16, 16, 17, 18, 19, 20)
UW_WGMMA(64, 32, 32, 33, 34, 35, 36)
UW_WGMMA(128, 64, 64, 65, 66, 67, 68)
UW_WGMMA(256, 128, 128, 129, 130, 131, 132)
#endif
#endif
#endif
