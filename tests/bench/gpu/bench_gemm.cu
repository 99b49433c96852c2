/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multiplication on a device: first that it is right, then how fast it is. Built and run by tests/bench/gpu.sh.
 *
 *     bench_gemm [--csv FILE] [--quick] [--check]      --quick: fewer sizes; --check: no timing, two small matrices
 *
 * Right: every kernel that the device has, for each source; RAW against sums in FP64 on the host, the others bit for bit
 * like RAW; a second run gives the same bits. Fast: matrices of Gaussian weights, so many copies in turn that no cache
 * holds one, in a graph; against cuBLASLt's best algorithm (of those that its heuristic names) and the RAW twin.
 * Exit status: 0 good, 1 wrong results or an error, 77 no device.
 */
#include <algorithm>
#include <functional>
#include <string>

#include "bench_common.h"
#include "bench_cublas.h"
#include "unweight/gpu_decode.h"
#include "unweight/gpu_gemm.h"

#define CACHED_NBYTES (200u << 20) /* copies of a matrix have more together */
#define MAX_COPIES 16u
#define ROUNDS 20

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

/* A launch with all that it needs. */
struct launch {
	struct uw_gpu_gemm gemm;

	launch(struct pool *pool, const struct uw_gpu_device &device, const struct uw_gpu_gemm_config &config,
	       struct uw_gpu_matrix matrix, uint64_t n, const uint16_t *x_dev, uint64_t x_ld, void *y_dev,
	       enum uw_linear_type type)
	{
		if (matrix.source == UW_LINEAR_RAW && config.kernel == UW_GPU_GEMM_WGMMA)
			need(uw_gpu_matrix_map(&matrix) == UW_OK, "uw_gpu_matrix_map");
		need(uw_gpu_gemm_init(&device, &config, &matrix, 1, NULL, n, 0, &gemm) == UW_OK, "uw_gpu_gemm_init");
		gemm.x_dev = x_dev;
		gemm.x_ld = x_ld;
		gemm.y_dev = y_dev;
		gemm.y_ld = matrix.nrows;
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

/* ---- right ---- */

static float value_of(uint16_t v)
{
	uint32_t word = (uint32_t)v << 16;
	float x;

	memcpy(&x, &word, sizeof(x));
	return x;
}

/* FP32 sums of K products in any order: no more than K 2^-24 of the sum of their amounts off, with a margin. */
static bool close_to_sums(const struct matrix &m, const std::vector<uint16_t> &x, uint64_t x_ld, uint64_t n,
			  const std::vector<float> &y)
{
	for (uint64_t i = 0; i < n; i++) {
		for (uint64_t row = 0; row < m.nrows; row++) {
			double sum = 0, amount = 0, got = (double)y[i * m.nrows + row];

			for (uint64_t c = 0; c < m.ncols; c++) {
				double product = (double)value_of(m.at(row, c)) * (double)value_of(x[i * x_ld + c]);

				sum += product;
				amount += fabs(product);
			}
			if (isnan(sum) ? !isnan(got) : isinf(sum) ? got != sum : false)
				return false;
			/* tensor cores may cut off where they align: twice the bound of rounding */
			if (isfinite(sum) && amount < 3e38 && !(fabs(got - sum) <= (m.ncols + 32) * ldexp(1, -23) * amount))
				return false;
		}
	}
	return true;
}

static std::vector<float> run_once(const struct launch &launch, size_t nvalues)
{
	std::vector<float> y(nvalues);

	cuda(cudaMemset(launch.gemm.y_dev, 0xA5, 4 * nvalues), "cudaMemset");
	launch.run(0);
	cuda(cudaDeviceSynchronize(), "multiplication");
	cuda(cudaMemcpy(y.data(), launch.gemm.y_dev, 4 * nvalues, cudaMemcpyDeviceToHost), "copy back");
	return y;
}

static void check_config(const struct uw_gpu_device &device, const struct uw_gpu_gemm_config &config,
			 const struct matrix &m, const struct uw_gpu_matrix described[NFORMS], uint64_t n)
{
	struct pool pool;
	uint64_t x_ld = (m.ncols + 7) / 8 * 8;
	std::vector<uint16_t> x = make_x(n, m.ncols, x_ld);
	const uint16_t *x_dev = (const uint16_t *)pool.upload(x.data(), 2 * x.size());
	void *y_dev = pool.reserve(4 * n * m.nrows);
	std::vector<float> right;
	char what[100];

	for (unsigned form = RAW; form < NFORMS; form++) {
		struct launch launch(&pool, device, config, described[form], n, x_dev, x_ld, y_dev, UW_LINEAR_F32);

		snprintf(what, sizeof(what), "%s tile_n %u parts %u, %llu x %llu x %llu, %s",
			 config.kernel == UW_GPU_GEMM_WGMMA ? "wgmma" : "mma", config.tile_n, config.parts,
			 (unsigned long long)m.nrows, (unsigned long long)m.ncols, (unsigned long long)n,
			 form_names[form]);
		for (unsigned round = 0; round < 3; round++) {
			launch.gemm.early = round == 2;

			std::vector<float> y = run_once(launch, n * m.nrows);

			if (form == RAW && round == 0) {
				check(close_to_sums(m, x, x_ld, n, y), what, "sums");
				right = y;
			}
			check(memcmp(y.data(), right.data(), 4 * y.size()) == 0, what,
			      round == 0 ? "bits of RAW" : "the same bits again");
		}
	}
}

static void check_gather(const struct matrix &m, const struct uw_gpu_matrix described[NFORMS])
{
	std::vector<uint32_t> rows;
	struct pool pool;

	for (uint32_t i = 0; i < 20; i++)
		rows.push_back(i * 7919 % (uint32_t)m.nrows);
	const uint32_t *rows_dev = (const uint32_t *)pool.upload(rows.data(), 4 * rows.size());
	uint16_t *y_dev = (uint16_t *)pool.reserve(2 * rows.size() * m.ncols);

	for (unsigned form = P4; form < NFORMS; form++) {
		std::vector<uint16_t> y(rows.size() * m.ncols);
		bool good = true;

		need(uw_gpu_gather(&described[form], rows_dev, (uint32_t)rows.size(), y_dev, m.ncols, 0) == UW_OK,
		     "uw_gpu_gather");
		cuda(cudaMemcpy(y.data(), y_dev, 2 * y.size(), cudaMemcpyDeviceToHost), "copy back");
		for (size_t i = 0; i < y.size(); i++)
			good &= y[i] == m.at(rows[i / m.ncols], i % m.ncols);
		check(good, "gather", form_names[form]);
	}
}

static void check_all(const struct uw_gpu_device &device, bool small)
{
	static const uint64_t sizes[][3] = { { 17, 65, 64 }, { 200, 520, 64 }, { 300, 1000, 192 }, { 1000, 2056, 256 },
					     { 130, 7, 64 } };
	static const uint64_t batches[] = { 1, 3, 8, 17, 100, 300 };

	for (unsigned s = 0; s < (small ? 2 : 5); s++) {
		struct matrix m = make_matrix(sizes[s][0], sizes[s][1], sizes[s][2], s == 2 ? 50 : 1000, false);
		struct uw_gpu_matrix described[NFORMS];
		struct pool pool;

		for (unsigned form = RAW; form < NFORMS; form++)
			described[form] = upload(&pool, m, (enum form)form);
		check_gather(m, described);
		for (uint32_t kernel = UW_GPU_GEMM_MMA; kernel <= (device.capability == 90 ? 1u : 0u); kernel++) {
			for (uint32_t tile_n = 8; tile_n <= (kernel == UW_GPU_GEMM_WGMMA ? 256 : 128); tile_n *= 2) {
				for (uint32_t parts = 0; parts < 3; parts += 2) {
					struct uw_gpu_gemm_config config = { kernel, tile_n, 1, parts, device.nsms };
					unsigned turn = s + tile_n / 8 + parts;

					check_config(device, config, m, described, batches[turn % (small ? 4 : 6)]);
				}
			}
		}
	}
}

/* ---- fast ---- */

/* Microseconds of one launch: `ncopies` of them in a graph, median over replays. */
static double time_us(unsigned ncopies, const std::function<void(unsigned, cudaStream_t)> &work)
{
	cudaStream_t stream;
	cudaGraph_t graph;
	cudaGraphExec_t exec;
	cudaEvent_t begin, end;
	std::vector<float> ms(ROUNDS);

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
	for (int i = -2; i < ROUNDS; i++) {
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
	return 1e3 * (double)ms[ROUNDS / 2] / ncopies;
}

struct figure {
	uint64_t nrows, ncols, n;
	double us[3]; /* cuBLASLt, raw, P4; 0: not measured */
	struct uw_gpu_gemm_config config;
};

struct sweep {
	const struct uw_gpu_device &device;
	struct cublas *cublas;
	const struct matrix &m;
	unsigned ncopies;
	std::vector<struct uw_gpu_matrix> raw, p4;
};

static double time_form(struct pool *pool, const struct sweep &s, const std::vector<struct uw_gpu_matrix> &matrices,
			const struct uw_gpu_gemm_config &config, uint64_t n, const uint16_t *x_dev, void *y_dev)
{
	std::vector<struct launch> launches;

	for (const struct uw_gpu_matrix &matrix : matrices) {
		launches.emplace_back(pool, s.device, config, matrix, n, x_dev, s.m.ncols, y_dev, UW_LINEAR_BF16);
		launches.back().gemm.early = 1;
	}
	return time_us(s.ncopies, [&](unsigned i, cudaStream_t stream) { launches[i].run(stream); });
}

static struct figure time_batch(const struct sweep &s, uint64_t n)
{
	struct figure f = { s.m.nrows, s.m.ncols, n, { 0, 0, 0 }, {} };
	std::vector<uint16_t> x = make_x(n, s.m.ncols, s.m.ncols);
	struct pool pool;
	const uint16_t *x_dev = (const uint16_t *)pool.upload(x.data(), 2 * x.size());
	void *y_dev = pool.reserve(2 * n * s.m.nrows);

	need(uw_gpu_gemm_config_init(&s.device, s.m.nrows, s.m.ncols, n, false, &f.config) == UW_OK,
	     "uw_gpu_gemm_config_init");
	if (s.cublas != NULL) {
		struct cublas_product product(s.cublas, s.m.nrows, s.m.ncols, n, x_dev, y_dev);

		for (size_t a = 0; a < product.nalgorithms(); a++) {
			double us = time_us(s.ncopies, [&](unsigned i, cudaStream_t stream) {
				product.run(a, s.raw[i].weights_dev, stream);
			});

			f.us[0] = f.us[0] == 0 || us < f.us[0] ? us : f.us[0];
		}
	}
	f.us[1] = time_form(&pool, s, s.raw, f.config, n, x_dev, y_dev);
	f.us[2] = time_form(&pool, s, s.p4, f.config, n, x_dev, y_dev);
	return f;
}

static void time_matrix(const struct uw_gpu_device &device, struct cublas *cublas, uint64_t nrows, uint64_t ncols,
			bool quick, std::vector<struct figure> *figures)
{
	uint64_t group_rows = 64 * std::max<uint64_t>(1, 98304 / ncols);
	struct matrix m = make_matrix(nrows, ncols, group_rows, 0, true);
	unsigned ncopies = (unsigned)std::min<uint64_t>(MAX_COPIES, CACHED_NBYTES * 2 / (3 * nrows * ncols) + 2);
	struct sweep sweep = { device, cublas, m, ncopies, {}, {} };
	struct pool pool;

	for (unsigned i = 0; i < ncopies; i++) {
		sweep.raw.push_back(upload(&pool, m, RAW));
		sweep.p4.push_back(upload(&pool, m, P4));
	}
	for (uint64_t n = 1; n <= 4096; n *= quick ? 4 : 2)
		figures->push_back(time_batch(sweep, n));
}

static void print_figures(const std::vector<struct figure> &figures, FILE *csv, const char *device)
{
	if (csv != NULL)
		fprintf(csv, "device,rows,cols,batch,tile_n,blocks,parts,cublaslt_us,raw_us,p4_us,p4_gb_per_s,speedup\n");
	printf("%-14s %6s %7s %10s %9s %9s %9s %8s %8s\n", "matrix", "batch", "tile_n", "cuBLASLt", "raw us", "P4 us",
	       "P4 GB/s", "P4/raw", "speedup");
	for (const struct figure &f : figures) {
		double gb = 1.5 * (double)f.nrows * (double)f.ncols / f.us[2] / 1e3, speedup = f.us[0] / f.us[2];
		char matrix[32];

		snprintf(matrix, sizeof(matrix), "%llux%llu", (unsigned long long)f.nrows, (unsigned long long)f.ncols);
		printf("%-14s %6llu %7u %10.2f %9.2f %9.2f %9.0f %8.3f %8.3f\n", matrix, (unsigned long long)f.n,
		       f.config.tile_n, f.us[0], f.us[1], f.us[2], gb, f.us[2] / f.us[1], speedup);
		if (csv != NULL)
			fprintf(csv, "%s,%llu,%llu,%llu,%u,%u,%u,%.3f,%.3f,%.3f,%.1f,%.4f\n", device,
				(unsigned long long)f.nrows, (unsigned long long)f.ncols, (unsigned long long)f.n,
				f.config.tile_n, f.config.nblocks, f.config.parts, f.us[0], f.us[1], f.us[2], gb, speedup);
	}
}

int main(int argc, char **argv)
{
	static const uint64_t sizes[][2] = { { 4096, 4096 }, { 6144, 4096 }, { 28672, 4096 }, { 4096, 14336 }, { 8192, 3584 } };
	bool quick = false, only_check = false;
	std::vector<struct figure> figures;
	struct uw_gpu_device device;
	const char *csv_name = NULL;
	cudaDeviceProp properties;
	struct cublas cublas;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--quick") == 0)
			quick = true;
		else if (strcmp(argv[i], "--check") == 0)
			only_check = true;
		else if (strcmp(argv[i], "--csv") == 0 && i + 1 < argc)
			csv_name = argv[++i];
		else
			need(false, "usage: bench_gemm [--csv FILE] [--quick] [--check]");
	}
	if (uw_gpu_device_init(0, &device) != UW_OK) {
		printf("no device: nothing was checked, nothing measured\n");
		return NO_DEVICE;
	}
	cuda(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
	uw_cpu_ops_init_c(&ops);
	check_all(device, only_check);
	printf("correctness: %s\n\n", nwrong == 0 ? "RAW within the bound, all else bit for bit like RAW" : "WRONG, see above");
	if (only_check)
		return nwrong == 0 ? 0 : 1;

	bool with_cublas = cublas.open();

	for (const auto &size : sizes)
		time_matrix(device, with_cublas ? &cublas : NULL, size[0], size[1], quick, &figures);

	FILE *csv = csv_name != NULL ? fopen(csv_name, "w") : NULL;

	need(csv_name == NULL || csv != NULL, "cannot write the CSV file");
	printf("%s, %u SMs, capability %u; random weights, BF16 out, graph of %u and fewer copies, median of %d replays%s\n",
	       properties.name, device.nsms, device.capability, MAX_COPIES, ROUNDS,
	       with_cublas ? "" : "; no cuBLASLt here");
	print_figures(figures, csv, properties.name);
	need(csv == NULL || fclose(csv) == 0, "cannot write the CSV file");
	return nwrong == 0 ? 0 : 1;
}
