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
#include "bench_cublas.h"
#include "bench_matrix.h"

#define CACHED_NBYTES (200u << 20) /* copies of a matrix have more together */
#define MAX_COPIES 16u

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
		struct launch launch(&pool, device, config, { described[form] }, n, x_dev, x_ld, y_dev, UW_LINEAR_F32);

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
		launches.emplace_back(pool, s.device, config, std::vector<struct uw_gpu_matrix>{ matrix }, n, x_dev,
				      s.m.ncols, y_dev, UW_LINEAR_BF16);
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
		struct cublas_product product(s.cublas, s.m.nrows, s.m.ncols, n, x_dev, s.m.ncols, y_dev);

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
	static const uint64_t sizes[][2] = { { 4096, 4096 }, { 6144, 4096 }, { 28672, 4096 }, { 4096, 14336 },
					     { 8192, 3584 } };
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
	printf("correctness: %s\n\n",
	       nwrong == 0 ? "RAW within the bound, all else bit for bit like RAW" : "WRONG, see above");
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
