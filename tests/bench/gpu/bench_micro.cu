/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the device itself can do, to say why a kernel is as fast as it is. Built and run by tests/bench/gpu.sh.
 *
 *     bench_micro [--csv FILE]
 *
 *     lanes per clock and multiprocessor of the instructions that rebuild weights (LOP3, SHF, PRMT) and of IMAD
 *     reading of memory, all that there is of it: by loads, and by bulk copies of several sizes and depths
 *     from kernel to kernel in a graph: empty kernels, with and without the early launch of the next one
 *     wgmma with A in registers and B in shared memory, tile_n 8 .. 256
 * Exit status: 0 good, 1 an error, 3 a step took too long, 77 no device.
 */
#include <algorithm>
#include <functional>
#include <string>

#include "bench_common.h"
#include "ptx_matrix.cuh"

#define ROUNDS 15
#define READ_NBYTES ((size_t)1 << 30)

/* Where figures go, each as soon as it is known. */
struct table {
	const char *device;
	struct csv csv;

	void add(const std::string &what, double value, const char *unit)
	{
		printf("%-52s %10.2f %s\n", what.c_str(), value, unit);
		csv.line("%s,\"%s\",%.3f,%s", device, what.c_str(), value, unit);
	}
};

/* Milliseconds of one launch by events; median. */
static double time_ms(const std::function<void(void)> &launch)
{
	std::vector<float> ms(ROUNDS);
	cudaEvent_t begin, end;

	cuda(cudaEventCreate(&begin), "event");
	cuda(cudaEventCreate(&end), "event");
	for (int i = -2; i < ROUNDS; i++) {
		cuda(cudaEventRecord(begin), "event");
		launch();
		cuda(cudaEventRecord(end), "event");
		cuda(cudaDeviceSynchronize(), "kernel");
		if (i >= 0)
			cuda(cudaEventElapsedTime(&ms[(size_t)i], begin, end), "event");
	}
	(void)cudaEventDestroy(begin);
	(void)cudaEventDestroy(end);
	std::sort(ms.begin(), ms.end());
	return (double)ms[ROUNDS / 2];
}

/* ---- instructions: a block on one multiprocessor, eight chains a thread ---- */

#define CHAINS 8
#define STEPS 256
#define INSTRUCTION_THREADS 1024

enum instruction { LOP3, SHF, PRMT, IMAD, NINSTRUCTIONS };

static const char *const instruction_names[NINSTRUCTIONS] = { "LOP3", "SHF", "PRMT", "IMAD" };

template <enum instruction I> __device__ static uint32_t step(uint32_t x, uint32_t y, uint32_t z)
{
	if (I == LOP3)
		asm volatile("lop3.b32 %0, %0, %1, %2, 0x96;" : "+r"(x) : "r"(y), "r"(z));
	else if (I == SHF)
		asm volatile("shf.l.wrap.b32 %0, %0, %1, %2;" : "+r"(x) : "r"(y), "r"(z));
	else if (I == PRMT)
		asm volatile("prmt.b32 %0, %0, %1, %2;" : "+r"(x) : "r"(y), "r"(z));
	else
		asm volatile("mad.lo.u32 %0, %0, %1, %2;" : "+r"(x) : "r"(y), "r"(z));
	return x;
}

template <enum instruction I>
__global__ void kernel_instruction(uint32_t y, uint32_t z, uint64_t *clocks, uint32_t *out)
{
	uint32_t x[CHAINS], sum = 0;
	long long begin;

	for (uint32_t c = 0; c < CHAINS; c++)
		x[c] = threadIdx.x + c;
	__syncthreads();
	begin = clock64();
	for (uint32_t i = 0; i < STEPS; i++) {
#pragma unroll
		for (uint32_t c = 0; c < CHAINS; c++)
			x[c] = step<I>(x[c], y, z);
	}
	__syncthreads();
	if (threadIdx.x == 0)
		*clocks = (uint64_t)(clock64() - begin);
	for (uint32_t c = 0; c < CHAINS; c++)
		sum ^= x[c];
	out[threadIdx.x] = sum;
}

template <enum instruction I> static double lanes_per_clock(uint8_t *memory)
{
	uint64_t clocks[ROUNDS];

	for (unsigned i = 0; i < ROUNDS; i++) {
		kernel_instruction<I><<<1, INSTRUCTION_THREADS>>>(0x3210u, 5u, (uint64_t *)memory, (uint32_t *)memory + 64);
		cuda(cudaMemcpy(&clocks[i], memory, sizeof(clocks[i]), cudaMemcpyDeviceToHost), "instructions");
	}
	std::sort(clocks, clocks + ROUNDS);
	return (double)CHAINS * STEPS * INSTRUCTION_THREADS / (double)clocks[ROUNDS / 2];
}

static void time_instructions(uint8_t *memory, struct table *table)
{
	double lanes[NINSTRUCTIONS] = { lanes_per_clock<LOP3>(memory), lanes_per_clock<SHF>(memory),
					lanes_per_clock<PRMT>(memory), lanes_per_clock<IMAD>(memory) };

	for (unsigned i = 0; i < NINSTRUCTIONS; i++)
		table->add(instruction_names[i], lanes[i], "lanes/clock/SM");
}

/* ---- reading ---- */

/* Each block reads pieces of `nthreads` x 64 bytes, the blocks in turn. */
__global__ void kernel_loads(const uint4 *from, uint64_t n, uint32_t *out)
{
	uint64_t stride = (uint64_t)gridDim.x * blockDim.x * 4;
	uint32_t sum = 0;

	for (uint64_t i = (uint64_t)blockIdx.x * blockDim.x * 4 + threadIdx.x; i + 3 * blockDim.x < n; i += stride) {
		uint4 v[4];

#pragma unroll
		for (uint32_t j = 0; j < 4; j++)
			v[j] = __ldcs(from + i + j * blockDim.x);
#pragma unroll
		for (uint32_t j = 0; j < 4; j++)
			sum ^= v[j].x ^ v[j].y ^ v[j].z ^ v[j].w;
	}
	if (sum == 0x12345678)
		out[0] = sum;
}

/* One lane asks for pieces of `nbytes` into a ring of `depth` stages and waits for each; nothing is done with them. */
__global__ void kernel_bulk(const uint8_t *from, uint64_t npieces, uint32_t nbytes, uint32_t depth)
{
#if __CUDA_ARCH__ >= 900
	uint32_t ring = uw_shared(), barriers = ring + depth * nbytes;
	uint64_t asked = blockIdx.x, taken = blockIdx.x;
	uint32_t now = 0, parity = 0;

	if (threadIdx.x != 0)
		return;
	for (uint32_t i = 0; i < depth; i++)
		uw_barrier_init(barriers + 8 * i, 1);
	uw_barrier_init_fence();
	for (uint32_t i = 0; i < depth && asked < npieces; i++, asked += gridDim.x) {
		uw_barrier_expect(barriers + 8 * i, nbytes);
		uw_barrier_arrive(barriers + 8 * i);
		uw_bulk_copy(ring + i * nbytes, from + asked * nbytes, nbytes, barriers + 8 * i, UW_CACHE_EVICT_FIRST);
	}
	for (; taken < npieces; taken += gridDim.x) {
		uw_barrier_wait(barriers + 8 * now, parity);
		if (asked < npieces) {
			uw_barrier_expect(barriers + 8 * now, nbytes);
			uw_barrier_arrive(barriers + 8 * now);
			uw_bulk_copy(ring + now * nbytes, from + asked * nbytes, nbytes, barriers + 8 * now, UW_CACHE_EVICT_FIRST);
			asked += gridDim.x;
		}
		if (++now == depth) {
			now = 0;
			parity ^= 1;
		}
	}
#endif
}

static void time_reading(const cudaDeviceProp &device, const uint8_t *memory, struct table *table)
{
	static const uint32_t shapes[][3] = { /* bytes of a piece, stages, blocks on a multiprocessor */
		{ 4096, 12, 1 }, { 4096, 24, 1 }, { 8192, 12, 1 }, { 12288, 8, 1 }, { 12288, 16, 1 }, { 24576, 8, 1 },
		{ 4096, 12, 2 }, { 12288, 8, 2 },
	};
	unsigned nsms = (unsigned)device.multiProcessorCount;

	for (unsigned nblocks : { 2 * nsms, 4 * nsms, 8 * nsms }) {
		double ms = time_ms([&] {
			kernel_loads<<<nblocks, 256>>>((const uint4 *)memory, READ_NBYTES / 16, (uint32_t *)memory);
		});

		table->add("read by loads, " + std::to_string(nblocks / nsms) + " blocks of 256",
				     (double)READ_NBYTES / ms / 1e6, "GB/s");
	}
	if (device.major < 9)
		return;
	cuda(cudaFuncSetAttribute(kernel_bulk, cudaFuncAttributeMaxDynamicSharedMemorySize, 216 << 10), "shared memory");
	cuda(cudaFuncSetAttribute(kernel_bulk, cudaFuncAttributePreferredSharedMemoryCarveout,
				  cudaSharedmemCarveoutMaxShared), "shared memory");
	for (const auto &shape : shapes) {
		uint32_t shared = shape[1] * (shape[0] + 8);
		double ms = time_ms([&] {
			kernel_bulk<<<shape[2] * nsms, 32, shared>>>(memory, READ_NBYTES / shape[0], shape[0], shape[1]);
		});

		table->add("read by bulk copies, " + std::to_string(shape[1]) + " of " + std::to_string(shape[0]) +
				     " bytes, blocks/SM " + std::to_string(shape[2]), (double)READ_NBYTES / ms / 1e6, "GB/s");
	}
}

/* ---- from kernel to kernel ---- */

#define EMPTY_KERNELS 256

__global__ void kernel_empty(void)
{
#if __CUDA_ARCH__ >= 900
	uw_grid_let_next();
	uw_grid_wait();
#endif
}

static double gap_us(unsigned nsms, bool early)
{
	cudaLaunchAttribute attribute = {};
	cudaLaunchConfig_t config = {};
	cudaStream_t stream;
	cudaGraph_t graph;
	cudaGraphExec_t exec;
	double ms;

	cuda(cudaStreamCreate(&stream), "stream");
	attribute.id = cudaLaunchAttributeProgrammaticStreamSerialization;
	attribute.val.programmaticStreamSerializationAllowed = 1;
	config.gridDim = dim3(nsms);
	config.blockDim = dim3(32);
	config.stream = stream;
	config.attrs = &attribute;
	config.numAttrs = early ? 1 : 0;
	kernel_empty<<<1, 32, 0, stream>>>();
	cuda(cudaStreamSynchronize(stream), "empty kernel");
	cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
	for (unsigned i = 0; i < EMPTY_KERNELS; i++)
		cuda(cudaLaunchKernelEx(&config, kernel_empty), "empty kernel");
	cuda(cudaStreamEndCapture(stream, &graph), "capture");
	cuda(cudaGraphInstantiate(&exec, graph, 0), "graph");
	ms = time_ms([&] { cuda(cudaGraphLaunch(exec, 0), "graph"); });
	(void)cudaGraphExecDestroy(exec);
	(void)cudaGraphDestroy(graph);
	(void)cudaStreamDestroy(stream);
	return 1e3 * ms / EMPTY_KERNELS;
}

/* ---- wgmma: two warpgroups a multiprocessor, as the kernel has them ---- */

#define WGMMA_STEPS 2048
#define WGMMA_THREADS 256

template <uint32_t TILE_N> __global__ void __launch_bounds__(WGMMA_THREADS, 1) kernel_wgmma(float *out)
{
#if defined(__CUDA_ARCH_FEAT_SM90_ALL)
	uint32_t base = uw_shared() + 1023 & ~1023u, a[4] = { threadIdx.x, 0x3F803F80, 0x3F003F00, 0x3F803F00 };
	uint64_t b = uw_wgmma_b(base);
	float d[TILE_N / 2], sum = 0;

	for (uint32_t i = 0; i < TILE_N / 2; i++)
		d[i] = 0;
	for (uint32_t i = 16 * threadIdx.x; i < 128 * TILE_N; i += 16 * WGMMA_THREADS)
		uw_store_shared_vec4(base + i, uw_vec4{ { 0x3F803F80, 0x3F803F80, 0x3F803F80, 0x3F803F80 } });
	asm volatile("fence.proxy.async;" ::: "memory");
	__syncthreads();
	for (uint32_t i = 0; i < WGMMA_STEPS; i += 4) {
		uw_wgmma_fence();
#pragma unroll
		for (uint32_t j = 0; j < 4; j++)
			uw_wgmma(d, a, b + 2 * j);
		uw_wgmma_commit();
		uw_wgmma_wait<0>();
	}
	uw_wgmma_settle(d);
	for (uint32_t i = 0; i < TILE_N / 2; i++)
		sum += d[i];
	out[blockIdx.x * blockDim.x + threadIdx.x] = sum;
#endif
}

template <uint32_t TILE_N> static void time_wgmma(unsigned nsms, float *out, struct table *table)
{
	uint32_t shared = 128 * TILE_N + 1024;
	double flops = 2.0 * 64 * 16 * TILE_N * WGMMA_STEPS * (WGMMA_THREADS / 128) * nsms, ms;

	cuda(cudaFuncSetAttribute(kernel_wgmma<TILE_N>, cudaFuncAttributeMaxDynamicSharedMemorySize, (int)shared),
	     "shared memory");
	ms = time_ms([&] { kernel_wgmma<TILE_N><<<nsms, WGMMA_THREADS, shared>>>(out); });
	table->add("wgmma, A in registers, tile_n " + std::to_string(TILE_N), flops / ms / 1e9, "TFLOP/s");
}

int main(int argc, char **argv)
{
	const char *csv_name = argc == 3 && strcmp(argv[1], "--csv") == 0 ? argv[2] : NULL;
	cudaDeviceProp device;
	uint8_t *memory = NULL;
	int ndevices = 0;
	unsigned nsms;

	need(argc == 1 || csv_name != NULL, "usage: bench_micro [--csv FILE]");
	begin_step(60, "opening the device");
	if (cudaGetDeviceCount(&ndevices) != cudaSuccess || ndevices == 0) {
		printf("no device: nothing was measured\n");
		return NO_DEVICE;
	}
	cuda(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
	nsms = (unsigned)device.multiProcessorCount;
	cuda(cudaMalloc((void **)&memory, READ_NBYTES), "cudaMalloc");
	cuda(cudaMemset(memory, 0x5A, READ_NBYTES), "cudaMemset");

	struct table table = { device.name, { csv_name, "device,what,value,unit" } };

	printf("\n%s, %u SMs; medians of %d\n", device.name, nsms, ROUNDS);
	begin_step(10, "instructions");
	time_instructions(memory, &table);
	begin_step(10, "reading");
	time_reading(device, memory, &table);
	begin_step(10, "empty kernels");
	table.add("empty kernel in a graph", gap_us(nsms, false), "us");
	if (device.major >= 9)
		table.add("empty kernel in a graph, early launch", gap_us(nsms, true), "us");
	if (device.major == 9) {
		begin_step(10, "wgmma");
		time_wgmma<8>(nsms, (float *)memory, &table);
		time_wgmma<16>(nsms, (float *)memory, &table);
		time_wgmma<32>(nsms, (float *)memory, &table);
		time_wgmma<64>(nsms, (float *)memory, &table);
		time_wgmma<128>(nsms, (float *)memory, &table);
		time_wgmma<256>(nsms, (float *)memory, &table);
	}
	begin_step(0, "");
	return 0;
}
