/* SPDX-License-Identifier: Apache-2.0 */
/* Matrices and launches on a device, and the time that they take. */
#ifndef UW_BENCH_MATRIX_H
#define UW_BENCH_MATRIX_H

#include <algorithm>
#include <functional>
#include <string>

#include "bench_common.h"
#include "unweight/gpu_decode.h"
#include "unweight/gpu_gemm.h"

#define ROUNDS 20
#define TRIAL_ROUNDS 6 /* of one way among many */
#define STEP_SECONDS 20

enum form { RAW, P4, NIBBLES, E8, NFORMS };

static const char *const form_names[NFORMS] = { "raw", "p4", "h-nibbles", "h-exponents" };
static const enum uw_linear_source source_of[NFORMS] = { UW_LINEAR_RAW, UW_LINEAR_P4, UW_LINEAR_P4, UW_LINEAR_E8 };

/* ---- device memory ---- */

struct pool {
	std::vector<void *> memory;

	pool(void) = default;
	pool(const pool &) = delete;
	~pool(void)
	{
		for (void *p : memory)
			(void)cudaFree(p);
	}

	uint8_t *reserve(size_t nbytes)
	{
		void *p;

		cuda(cudaMalloc(&p, nbytes + 256), "cudaMalloc");
		memory.push_back(p);
		return (uint8_t *)p;
	}

	uint8_t *upload(const void *bytes, size_t nbytes)
	{
		uint8_t *p = reserve(nbytes);

		cuda(cudaMemcpy(p, bytes, nbytes, cudaMemcpyHostToDevice), "copy to the device");
		return p;
	}
};

/* ---- matrices ---- */

/*
 * Rows of a matrix as a container has them. A large matrix for timing has the same group several times, each with memory of
 * its own.
 */
struct matrix {
	uint64_t nrows, ncols, group_rows;
	std::vector<struct group> groups;
	std::vector<size_t> numbers; /* the group in each place */

	uint16_t at(uint64_t row, uint64_t col) const
	{
		return groups[numbers[row / group_rows]].weights[row % group_rows * ncols + col];
	}
};

static struct matrix make_matrix(uint64_t nrows, uint64_t ncols, uint64_t group_rows, unsigned one_odd_in, bool repeat)
{
	struct matrix m = { nrows, ncols, group_rows, {}, {} };

	for (uint64_t row = 0; row < nrows; row += group_rows) {
		uint64_t n = std::min(group_rows, nrows - row);

		if (!repeat || row == 0 || n != group_rows)
			m.groups.push_back(make_group(UW_ORDER_TILED, n, ncols, one_odd_in, row + ncols));
		m.numbers.push_back(m.groups.size() - 1);
	}
	for (struct group &g : m.groups) { /* they have moved */
		open_group(&g, UW_CODING_H);
		open_group(&g, UW_CODING_P4);
	}
	return m;
}

/* The exponent plane or the nibble plane, made on the device. */
static const uint8_t *make_plane(struct pool *pool, const struct uw_coded &coded, const uint8_t *stored, enum form form)
{
	size_t nbytes = (size_t)coded.shape.ntiles * (form == E8 ? 1024 : 512);
	uint8_t *plane = pool->reserve(nbytes);
	struct pool scratch;
	struct uw_gpu_decode decode;
	struct uw_gpu_group group;
	uint32_t zero = 0, *errors = (uint32_t *)scratch.upload(&zero, sizeof(zero));

	need(uw_gpu_group_init(&coded, stored, plane, &group) == UW_OK, "uw_gpu_group_init");
	struct uw_gpu_group *group_dev = (struct uw_gpu_group *)scratch.reserve(sizeof(group));

	need(uw_gpu_decode_init(&group, 1, group_dev, errors, &decode) == UW_OK, "uw_gpu_decode_init");
	cuda(cudaMemcpy(group_dev, &group, sizeof(group), cudaMemcpyHostToDevice), "copy");
	need((form == E8 ? uw_gpu_exponents_h : uw_gpu_transcode_h)(&decode, 0) == UW_OK, "making a plane");
	cuda(cudaDeviceSynchronize(), "making a plane");
	return plane;
}

static struct uw_gpu_matrix upload_raw(struct pool *pool, const struct matrix &m)
{
	uint64_t ld = (m.ncols + 7) / 8 * 8;
	uint16_t *weights = (uint16_t *)pool->reserve(m.nrows * ld * 2);
	struct uw_gpu_matrix described;

	cuda(cudaMemset(weights, 0xFF, m.nrows * ld * 2), "cudaMemset"); /* NaN where there is no weight */
	for (size_t i = 0; i < m.numbers.size(); i++) {
		const struct group &g = m.groups[m.numbers[i]];

		cuda(cudaMemcpy2D(weights + i * m.group_rows * ld, 2 * ld, g.weights.data(), 2 * m.ncols, 2 * m.ncols,
				  (size_t)g.shape.nrows, cudaMemcpyHostToDevice), "copy to the device");
	}
	need(uw_gpu_matrix_init_raw(weights, ld, m.nrows, m.ncols, &described) == UW_OK, "uw_gpu_matrix_init_raw");
	return described;
}

static struct uw_gpu_matrix upload(struct pool *pool, const struct matrix &m, enum form form)
{
	enum uw_coding coding = form == P4 ? UW_CODING_P4 : UW_CODING_H;
	std::vector<struct uw_gpu_gemm_group> groups;
	struct uw_gpu_matrix described;

	if (form == RAW)
		return upload_raw(pool, m);
	for (size_t number : m.numbers) {
		const struct group &g = m.groups[number];
		const std::vector<uint8_t> &stored = g.stored[coding];
		const uint8_t *stored_dev = pool->upload(stored.data(), stored.size()), *plane = NULL;
		struct uw_gpu_gemm_group described_group;

		if (form != P4)
			plane = make_plane(pool, g.coded[coding], stored_dev, form);
		need(uw_gpu_gemm_group_init(&g.coded[coding], stored_dev, plane, &described_group) == UW_OK,
		     "uw_gpu_gemm_group_init");
		groups.push_back(described_group);
	}
	const struct uw_gpu_gemm_group *groups_dev = (const struct uw_gpu_gemm_group *)pool->upload(
		groups.data(), groups.size() * sizeof(groups[0]));

	need(uw_gpu_matrix_init(groups.data(), (uint32_t)groups.size(), groups_dev, source_of[form], &described) ==
		     UW_OK, "uw_gpu_matrix_init");
	return described;
}

static std::vector<uint16_t> make_x(uint64_t n, uint64_t ncols, uint64_t ld)
{
	std::vector<uint16_t> x(n * ld, 0x7FC0);
	struct random r = { n };

	for (uint64_t i = 0; i < n; i++) {
		for (uint64_t c = 0; c < ncols; c++)
			x[i * ld + c] = (uint16_t)(r.gaussian() + (5 << 7));
	}
	return x;
}

/*
 * A launch over `described` matrices, one row of y after the other, with all that it needs. With `offsets` each matrix
 * has a bucket of its own, and all write to the same columns of y.
 */
struct launch {
	struct uw_gpu_gemm gemm;

	launch(struct pool *pool, const struct uw_gpu_device &device, const struct uw_gpu_gemm_config &config,
	       std::vector<struct uw_gpu_matrix> described, uint64_t n, const uint16_t *x_dev, uint64_t x_ld, void *y_dev,
	       enum uw_linear_type type, const std::vector<uint32_t> &offsets = {})
	{
		uint64_t nrows = 0;
		uint32_t number = 0;

		for (struct uw_gpu_matrix &matrix : described) {
			matrix.y_off = offsets.empty() ? nrows : 0;
			matrix.bucket = offsets.empty() ? 0 : number++;
			nrows = matrix.y_off + matrix.nrows;
			if (matrix.source == UW_LINEAR_RAW && config.kernel == UW_GPU_GEMM_WGMMA)
				need(uw_gpu_matrix_map(&matrix) == UW_OK, "uw_gpu_matrix_map");
		}

		const struct uw_gpu_matrix *matrices_dev = (const struct uw_gpu_matrix *)pool->upload(
			described.data(), described.size() * sizeof(described[0]));

		need(uw_gpu_gemm_init(&device, &config, described.data(), (uint32_t)described.size(), matrices_dev, n,
				      number, &gemm) == UW_OK, "uw_gpu_gemm_init");
		if (!offsets.empty())
			gemm.offsets_dev = (const uint32_t *)pool->upload(offsets.data(), 4 * offsets.size());
		gemm.x_dev = x_dev;
		gemm.x_ld = x_ld;
		gemm.y_dev = y_dev;
		gemm.y_ld = nrows;
		gemm.y_type = type;
		gemm.workspace_dev = pool->reserve((size_t)gemm.workspace_nbytes);
		cuda(cudaMemset(gemm.workspace_dev, 0, (size_t)gemm.counters_nbytes), "cudaMemset");
	}

	void run(cudaStream_t stream) const
	{
		enum uw_status status = uw_gpu_gemm(&gemm, stream);

		need(status == UW_OK, uw_status_text(status));
	}
};

/* A stream for what is not timed: the default one may not admit launches that begin early. Never destroyed. */
static cudaStream_t plain_stream(void)
{
	static cudaStream_t stream;

	if (stream == NULL)
		cuda(cudaStreamCreate(&stream), "stream");
	return stream;
}

/* ---- time ---- */

/* Microseconds of one launch: `ncopies` of them in a graph, median over `rounds` replays. */
static double time_us(unsigned ncopies, int rounds, const std::function<void(unsigned, cudaStream_t)> &work)
{
	cudaStream_t stream;
	cudaGraph_t graph;
	cudaGraphExec_t exec;
	cudaEvent_t begin, end;
	std::vector<float> ms((size_t)rounds);

	cuda(cudaStreamCreate(&stream), "stream");
	cuda(cudaEventCreate(&begin), "event");
	cuda(cudaEventCreate(&end), "event");
	work(0, stream); /* loads the kernel before the capture */
	cuda(cudaStreamSynchronize(stream), "kernel");
	cuda(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), "capture");
	for (unsigned i = 0; i < ncopies; i++)
		work(i, stream);
	cuda(cudaStreamEndCapture(stream, &graph), "capture");
	cuda(cudaGraphInstantiate(&exec, graph, 0), "graph");
	for (int i = -2; i < rounds; i++) {
		cuda(cudaEventRecord(begin, stream), "event");
		cuda(cudaGraphLaunch(exec, stream), "graph");
		cuda(cudaEventRecord(end, stream), "event");
		cuda(cudaStreamSynchronize(stream), "graph");
		if (i >= 0)
			cuda(cudaEventElapsedTime(&ms[(size_t)i], begin, end), "event");
	}
	std::sort(ms.begin(), ms.end());
	(void)cudaGraphExecDestroy(exec);
	(void)cudaGraphDestroy(graph);
	(void)cudaEventDestroy(begin);
	(void)cudaEventDestroy(end);
	(void)cudaStreamDestroy(stream);
	return 1e3 * (double)ms[(size_t)rounds / 2] / ncopies;
}

/* ---- ways to cut a product ---- */

#define MAX_WORKSPACE (512u << 20)

/* What the device is not to be asked for, by log2(tile_n): see --without. */
static unsigned without;

/* For the kernels of one kind: what uw_gpu_gemm_config_init takes, if it is of that kind, and others like it. */
static std::vector<struct uw_gpu_gemm_config> configs_for(const struct uw_gpu_device &device, uint32_t kernel,
							  uint64_t nrows, uint64_t ncols, uint64_t n)
{
	std::vector<struct uw_gpu_gemm_config> configs;
	struct uw_gpu_gemm_config standard;
	uint64_t high = (nrows + 127) / 128;

	need(uw_gpu_gemm_config_init(&device, nrows, ncols, n, false, &standard) == UW_OK, "uw_gpu_gemm_config_init");
	if (standard.kernel == kernel && !(without >> (31 - __builtin_clz(standard.tile_n)) & 1))
		configs.push_back(standard);
	for (uint32_t tile_n = std::max(8u, standard.tile_n / 2); tile_n <= 2 * standard.tile_n; tile_n *= 2) {
		for (unsigned i = 0; i < 10; i++) {
			uint32_t parts = i / 2 == 0 ? 0 : 1u << (i / 2 - 1), blocks = 1 + i % 2;
			struct uw_gpu_gemm_config c = { kernel, tile_n, blocks, parts, blocks * device.nsms };
			uint64_t tiles = high * ((n + tile_n - 1) / tile_n);
			uint64_t ranges = parts != 0 ? parts * tiles : c.nblocks;
			bool again = !configs.empty() && memcmp(&c, &configs[0], sizeof(c)) == 0;

			if (!again && !(without >> (31 - __builtin_clz(tile_n)) & 1) &&
			    (parts < 2 || tiles < 2 * c.nblocks) &&
			    ranges * 2 * 128 * tile_n * sizeof(float) <= MAX_WORKSPACE &&
			    uw_gpu_gemm_config_check(&device, &c) == UW_OK)
				configs.push_back(c);
		}
	}
	return configs;
}
#endif
