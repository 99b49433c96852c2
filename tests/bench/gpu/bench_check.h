/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the multiplication is right on a device; if not, where: enough to guess from which piece of the kernel it is. */
#ifndef UW_BENCH_CHECK_H
#define UW_BENCH_CHECK_H

#include "bench_matrix.h"

#define MOST_SHOWN 6u

static float value_of(uint16_t v)
{
	uint32_t word = (uint32_t)v << 16;
	float x;

	memcpy(&x, &word, sizeof(x));
	return x;
}

/* What is wrong in y, row n of x and row m of W. */
struct wrongs {
	std::string what;
	uint64_t count = 0, by_row[16] = {}, by_x[8] = {};

	void add(uint64_t n, uint64_t m, double got, double want)
	{
		char text[100];

		by_row[m / 16 % 8 * 2 + m / 8 % 2]++;
		by_x[n % 8]++;
		if (count++ < MOST_SHOWN) {
			snprintf(text, sizeof(text), " y[%llu][%llu] %.9g not %.9g;", (unsigned long long)n,
				 (unsigned long long)m, got, want);
			what += text;
		}
	}

	/* False: nothing is. */
	bool tell(const char *which, const char *about, uint64_t total) const
	{
		if (count == 0)
			return false;
		printf("%s: %s: %llu of %llu:%s\n  by row of W / 8 mod 16:", which, about, (unsigned long long)count,
		       (unsigned long long)total, what.c_str());
		for (uint64_t n : by_row)
			printf(" %llu", (unsigned long long)n);
		printf("; by row of x mod 8:");
		for (uint64_t n : by_x)
			printf(" %llu", (unsigned long long)n);
		printf("\n");
		return true;
	}
};

/* FP32 sums of K products in any order: no more than K 2^-24 of the sum of their amounts off, with a margin. */
static struct wrongs against_sums(const struct matrix &m, const std::vector<uint16_t> &x, uint64_t x_ld, uint64_t n,
				  const std::vector<float> &y)
{
	std::vector<float> w(m.nrows * m.ncols), values(n * m.ncols);
	struct wrongs wrong;

	for (uint64_t i = 0; i < w.size(); i++)
		w[i] = value_of(m.at(i / m.ncols, i % m.ncols));
	for (uint64_t i = 0; i < values.size(); i++)
		values[i] = value_of(x[i / m.ncols * x_ld + i % m.ncols]);
	for (uint64_t i = 0; i < n; i++) {
		for (uint64_t row = 0; row < m.nrows; row++) {
			double sum = 0, amount = 0, got = (double)y[i * m.nrows + row];
			bool good;

			for (uint64_t c = 0; c < m.ncols; c++) {
				double product = (double)w[row * m.ncols + c] * (double)values[i * m.ncols + c];

				sum += product;
				amount += fabs(product);
			}
			if (isnan(sum) || isinf(sum)) /* on the way to an infinity FP32 may have met the other one */
				good = isnan(sum) ? isnan(got) : got == sum || isnan(got);
			else if (!(amount < 3e38))
				good = true;
			else /* tensor cores may cut off where they align: twice the bound of rounding */
				good = fabs(got - sum) <= (double)(m.ncols + 32) * ldexp(1, -23) * amount;
			if (!good)
				wrong.add(i, row, got, sum);
		}
	}
	return wrong;
}

static struct wrongs against_bits(const std::vector<float> &y, const std::vector<float> &right, uint64_t nrows)
{
	struct wrongs wrong;

	for (uint64_t i = 0; i < y.size(); i++) {
		if (memcmp(&y[i], &right[i], sizeof(y[i])) != 0)
			wrong.add(i / nrows, i % nrows, (double)y[i], (double)right[i]);
	}
	return wrong;
}

static std::vector<float> run_once(const struct launch &launch, size_t nvalues)
{
	std::vector<float> y(nvalues);

	cuda(cudaMemset(launch.gemm.y_dev, 0xA5, 4 * nvalues), "cudaMemset");
	cuda(cudaDeviceSynchronize(), "cudaMemset");
	launch.run(plain_stream());
	cuda(cudaDeviceSynchronize(), "multiplication");
	cuda(cudaMemcpy(y.data(), launch.gemm.y_dev, 4 * nvalues, cudaMemcpyDeviceToHost), "copy back");
	return y;
}

static std::string name_of(const struct uw_gpu_gemm_config &config, uint64_t nrows, uint64_t ncols, uint64_t n,
			   enum form form)
{
	char what[140];

	snprintf(what, sizeof(what), "%s tile_n %u, %u a multiprocessor, parts %u, %llu x %llu x %llu, %s",
		 config.kernel == UW_GPU_GEMM_WGMMA ? "wgmma" : "mma", config.tile_n, config.blocks_per_sm, config.parts,
		 (unsigned long long)nrows, (unsigned long long)ncols, (unsigned long long)n, form_names[form]);
	return what;
}

/* RAW against sums in FP64 on the host, the others bit for bit like RAW; again, and begun early. */
static void check_config(const struct uw_gpu_device &device, const struct uw_gpu_gemm_config &config,
			 const struct matrix &m, const struct uw_gpu_matrix described[NFORMS], uint64_t n)
{
	static const char *const rounds[] = { "bits of RAW", "the same bits again", "the same bits, begun early" };
	struct pool pool;
	uint64_t x_ld = (m.ncols + 7) / 8 * 8;
	std::vector<uint16_t> x = make_x(n, m.ncols, x_ld);
	const uint16_t *x_dev = (const uint16_t *)pool.upload(x.data(), 2 * x.size());
	void *y_dev = pool.reserve(4 * n * m.nrows);
	std::vector<float> right;

	for (unsigned form = RAW; form < NFORMS; form++) {
		std::string what = name_of(config, m.nrows, m.ncols, n, (enum form)form);
		struct launch launch(&pool, device, config, { described[form] }, n, x_dev, x_ld, y_dev, UW_LINEAR_F32);

		for (unsigned round = 0; round < 3; round++) {
			begin_step(STEP_SECONDS, what.c_str());
			launch.gemm.early = round == 2;

			std::vector<float> y = run_once(launch, n * m.nrows);

			begin_step(0, "");
			if (form == RAW && round == 0) {
				check(!against_sums(m, x, x_ld, n, y).tell(what.c_str(), "sums", y.size()), what.c_str(),
				      "sums");
				right = y;
			}
			check(!against_bits(y, right, m.nrows).tell(what.c_str(), rounds[round], y.size()), what.c_str(),
			      rounds[round]);
		}
	}
}

/*
 * More matrices than travel with a launch, and experts: the same matrix each time, so that each has the bits that it has
 * by itself. parts 1: the order of sums does not depend on what else there is.
 */
static void check_many(const struct uw_gpu_device &device, uint32_t kernel, uint32_t tile_n, const struct matrix &m,
		       const struct uw_gpu_matrix described[NFORMS])
{
	static const std::vector<uint32_t> offsets = { 0, 3, 3, 12, 13, 20 };
	const struct uw_gpu_gemm_config config = { kernel, tile_n, 1, 1, device.nsms };
	const size_t n = 20, many = offsets.size() - 1, one = n * m.nrows;
	uint64_t x_ld = (m.ncols + 7) / 8 * 8;
	std::vector<uint16_t> x = make_x(n, m.ncols, x_ld);
	struct pool pool;
	const uint16_t *x_dev = (const uint16_t *)pool.upload(x.data(), 2 * x.size());
	void *y_dev = pool.reserve(4 * one * many);
	std::vector<float> right;

	for (enum form form : { RAW, P4, E8 }) {
		std::string what = name_of(config, m.nrows, m.ncols, n, form);
		std::vector<struct uw_gpu_matrix> all(many, described[form]);
		struct launch alone(&pool, device, config, { described[form] }, n, x_dev, x_ld, y_dev, UW_LINEAR_F32);
		struct launch beside(&pool, device, config, all, n, x_dev, x_ld, y_dev, UW_LINEAR_F32);
		struct launch experts(&pool, device, config, all, n, x_dev, x_ld, y_dev, UW_LINEAR_F32, offsets);

		begin_step(STEP_SECONDS, (what + ", many matrices").c_str());
		if (form == RAW)
			right = run_once(alone, one);

		std::vector<float> y = run_once(beside, one * many), want(one * many);

		for (size_t i = 0; i < want.size(); i++)
			want[i] = right[i / (many * m.nrows) * m.nrows + i % m.nrows];
		check(!against_bits(y, want, many * m.nrows).tell(what.c_str(), "many matrices", y.size()), what.c_str(),
		      "many matrices");
		y = run_once(experts, one);
		check(!against_bits(y, right, m.nrows).tell(what.c_str(), "experts", y.size()), what.c_str(), "experts");
	}
	begin_step(0, "");
}

static void check_gather(const struct matrix &m, const struct uw_gpu_matrix described[NFORMS])
{
	std::vector<uint32_t> rows;
	struct pool pool;

	for (uint32_t i = 0; i < 20; i++)
		rows.push_back(i * 7919 % (uint32_t)m.nrows);
	const uint32_t *rows_dev = (const uint32_t *)pool.upload(rows.data(), 4 * rows.size());
	uint16_t *y_dev = (uint16_t *)pool.reserve(2 * rows.size() * m.ncols);

	for (unsigned form = RAW; form < NFORMS; form++) {
		std::vector<uint16_t> y(rows.size() * m.ncols);
		bool good = true;

		begin_step(STEP_SECONDS, "gather");
		need(uw_gpu_gather(&described[form], rows_dev, (uint32_t)rows.size(), y_dev, m.ncols, 0) == UW_OK,
		     "uw_gpu_gather");
		cuda(cudaMemcpy(y.data(), y_dev, 2 * y.size(), cudaMemcpyDeviceToHost), "copy back");
		for (size_t i = 0; i < y.size(); i++)
			good &= y[i] == m.at(rows[i / m.ncols], i % m.ncols);
		check(good, "gather", form_names[form]);
	}
	begin_step(0, "");
}

/* The kernels of one kind; tile_n 0: all sizes. */
static void check_kernels(const struct uw_gpu_device &device, uint32_t kernel, uint32_t tile_n, bool small)
{
	static const uint64_t sizes[][3] = { { 17, 65, 64 }, { 200, 520, 64 }, { 300, 1000, 192 }, { 1000, 2056, 256 },
					     { 130, 7, 64 } };
	static const uint64_t batches[] = { 1, 3, 8, 17, 100, 300 };
	uint32_t from = tile_n != 0 ? tile_n : 8, to = tile_n != 0 ? tile_n : 256;

	for (unsigned s = 0; s < (small ? 2 : 5); s++) {
		struct matrix m = make_matrix(sizes[s][0], sizes[s][1], sizes[s][2], s == 2 ? 50 : 1000, false);
		struct uw_gpu_matrix described[NFORMS];
		struct pool pool;

		begin_step(STEP_SECONDS, "planes");
		for (unsigned form = RAW; form < NFORMS; form++)
			described[form] = upload(&pool, m, (enum form)form);
		check_gather(m, described);
		for (uint32_t size = from; size <= to; size *= 2) {
			if (s == 1 && !(kernel == UW_GPU_GEMM_MMA && size == 256))
				check_many(device, kernel, size, m, described);
			for (uint32_t parts = 0; parts < 3; parts += 2) {
				uint32_t blocks = size <= 64 && (s + parts) % 2 ? 2 : 1;
				struct uw_gpu_gemm_config config = { kernel, size, blocks, parts, blocks * device.nsms };
				unsigned turn = s + size / 8 + parts;

				if (uw_gpu_gemm_config_check(&device, &config) == UW_OK)
					check_config(device, config, m, described, batches[turn % (small ? 4 : 6)]);
			}
		}
	}
}
#endif
