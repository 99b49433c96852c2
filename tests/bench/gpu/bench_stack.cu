/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The matrices of LAYERS layers of an 8B Llama, one after the other in one graph: what a whole step of a model takes,
 * with the gaps between the kernels and the reading ahead across them. Built and run by tests/bench/gpu.sh.
 *
 *     bench_stack [--csv FILE] [--late] [--without N]..      as of bench_gemm
 *
 * A layer is q, k and v (one launch), o, gate and up (one launch), down; each multiplies what the one before it has
 * written. To cuBLASLt, q, k and v are one matrix and gate and up are one, and of the algorithms that its heuristic
 * names each product has the one that is fastest by itself; so has P4 of the cuts around the default one, and RAW the
 * same. No attention, no norms: they cost all three the same.
 * Before it is timed, P4 is compared with RAW bit for bit at the end of each layer.
 * Exit status: 0 good, 1 wrong results or an error, 3 a step took too long, 77 no device.
 */
#include "bench_cublas.h"
#include "bench_matrix.h"

#define LAYERS 8u
#define NPRODUCTS 4u

enum way { CUBLAS, TWIN, PALETTE, NWAYS };

static bool late; /* no launch begins before the one ahead has ended */

static const struct product {
	const char *name;
	uint64_t ncols;
	uint64_t nrows[3]; /* of the matrices of one launch; 0: no more */
} products[NPRODUCTS] = {
	{ "qkv", 4096, { 4096, 1024, 1024 } },
	{ "o", 4096, { 4096, 0, 0 } },
	{ "gate_up", 4096, { 14336, 14336, 0 } },
	{ "down", 14336, { 4096, 0, 0 } },
};

static uint64_t all_rows(const struct product &p)
{
	return p.nrows[0] + p.nrows[1] + p.nrows[2];
}

/* The weights of one product in one layer: raw ones stand one below the other, as cuBLASLt wants them. */
struct weights {
	std::vector<struct uw_gpu_matrix> raw, p4;
};

static struct weights upload_product(struct pool *pool, const struct product &p,
				     const std::vector<struct matrix> &parts)
{
	uint16_t *all = (uint16_t *)pool->reserve(2 * all_rows(p) * p.ncols);
	uint64_t row = 0;
	struct weights w;

	for (const struct matrix &m : parts) {
		struct uw_gpu_matrix raw;

		for (size_t i = 0; i < m.numbers.size(); i++) {
			const struct group &g = m.groups[m.numbers[i]];

			cuda(cudaMemcpy(all + (row + i * m.group_rows) * p.ncols, g.weights.data(), 2 * g.weights.size(),
					cudaMemcpyHostToDevice), "copy to the device");
		}
		need(uw_gpu_matrix_init_raw(all + row * p.ncols, p.ncols, m.nrows, m.ncols, &raw) == UW_OK,
		     "uw_gpu_matrix_init_raw");
		w.raw.push_back(raw);
		w.p4.push_back(upload(pool, m, P4));
		row += m.nrows;
	}
	return w;
}

struct stack {
	struct pool pool;
	std::vector<struct weights> weights; /* layer by layer, NPRODUCTS each */

	stack(void)
	{
		for (unsigned layer = 0; layer < LAYERS; layer++) {
			for (const struct product &p : products)
				weights.push_back(upload_product(&pool, p, make_parts(p)));
		}
	}

	static const std::vector<struct matrix> &make_parts(const struct product &p)
	{
		static std::vector<struct matrix> made[NPRODUCTS]; /* all layers are alike, each with memory of its own */
		std::vector<struct matrix> &parts = made[&p - products];

		for (size_t i = parts.size(); i < 3 && p.nrows[i] != 0; i++)
			parts.push_back(make_matrix(p.nrows[i], p.ncols, 64 * std::max<uint64_t>(1, 98304 / p.ncols), 0, true));
		return parts;
	}
};

/* What flows through a layer: y of each product is x of the next one, whose columns are its first ones. All layers
 * begin with the same x: sums that grow from layer to layer would end as infinities, which need less power. */
struct values {
	uint16_t *input, *y[NPRODUCTS];
	uint64_t n;

	values(struct pool *pool, uint64_t batch) : n(batch)
	{
		std::vector<uint16_t> x = make_x(n, products[0].ncols, products[0].ncols);

		input = (uint16_t *)pool->upload(x.data(), 2 * x.size());
		for (unsigned i = 0; i < NPRODUCTS; i++) {
			y[i] = (uint16_t *)pool->reserve(2 * n * all_rows(products[i]));
			cuda(cudaMemset(y[i], 0xA5, 2 * n * all_rows(products[i])), "cudaMemset");
		}
	}
	const uint16_t *x(unsigned product) const
	{
		return product == 0 ? input : y[product - 1];
	}
	uint64_t x_ld(unsigned product) const
	{
		return product == 0 ? products[0].ncols : all_rows(products[product - 1]);
	}
	/* What the last product has written, from now on no more there. */
	std::vector<uint16_t> take_end(void) const
	{
		std::vector<uint16_t> v(n * all_rows(products[NPRODUCTS - 1]));

		cuda(cudaMemcpy(v.data(), y[NPRODUCTS - 1], 2 * v.size(), cudaMemcpyDeviceToHost), "copy back");
		cuda(cudaMemset(y[NPRODUCTS - 1], 0xA5, 2 * v.size()), "cudaMemset");
		return v;
	}
};

static struct launch make_launch(struct pool *pool, const struct uw_gpu_device &device, const struct stack &stack,
				 const struct values &values, enum way way, size_t i,
				 const struct uw_gpu_gemm_config &config)
{
	unsigned p = (unsigned)(i % NPRODUCTS);
	struct launch launch(pool, device, config, way == TWIN ? stack.weights[i].raw : stack.weights[i].p4, values.n,
			     values.x(p), values.x_ld(p), values.y[p], UW_LINEAR_BF16);

	launch.gemm.early = !late;
	return launch;
}

/* The fastest cut of a product, over the layers' weights in turn. */
static struct uw_gpu_gemm_config choose_config(const struct uw_gpu_device &device, const struct stack &stack,
					       const struct values &values, unsigned p)
{
	uint32_t kernel = device.capability == 90 ? UW_GPU_GEMM_WGMMA : UW_GPU_GEMM_MMA;
	struct uw_gpu_gemm_config best = {};
	double best_us = 0;

	for (const struct uw_gpu_gemm_config &config :
	     configs_for(device, kernel, all_rows(products[p]), products[p].ncols, values.n)) {
		std::vector<struct launch> launches;
		struct pool pool;

		begin_step(STEP_SECONDS, products[p].name);
		for (size_t layer = 0; layer < LAYERS; layer++)
			launches.push_back(make_launch(&pool, device, stack, values, PALETTE, layer * NPRODUCTS + p,
						       config));

		double us = time_us(LAYERS, TRIAL_ROUNDS, [&](unsigned i, cudaStream_t stream) {
			launches[i].run(stream);
		});

		if (best_us == 0 || us < best_us) {
			best_us = us;
			best = config;
		}
	}
	need(best_us != 0, "no kernel to time");
	return best;
}

static std::vector<struct launch> make_launches(struct pool *pool, const struct uw_gpu_device &device,
						const struct stack &stack, const struct values &values, enum way way,
						const struct uw_gpu_gemm_config configs[NPRODUCTS])
{
	std::vector<struct launch> launches;

	for (size_t i = 0; i < stack.weights.size(); i++)
		launches.push_back(make_launch(pool, device, stack, values, way, i, configs[i % NPRODUCTS]));
	return launches;
}

/* All layers are alike: each has to end with `right`, or with what the first one ends with if that is empty. */
static void check_layers(const std::vector<struct launch> &launches, const struct values &values,
			 std::vector<uint16_t> *right)
{
	for (size_t i = 0; i < launches.size(); i++) {
		launches[i].run(plain_stream());
		if (i % NPRODUCTS != NPRODUCTS - 1)
			continue;
		cuda(cudaDeviceSynchronize(), "layer");

		std::vector<uint16_t> got = values.take_end();

		if (right->empty())
			*right = got;
		check(got == *right, "end of a layer", "bits of RAW");
	}
}

/* The fastest algorithm of a product, over the layers' weights in turn. */
static size_t choose_algorithm(const struct stack &stack, unsigned p, const struct cublas_product &product)
{
	double best = 0;
	size_t choice = 0;

	for (size_t a = 0; a < product.nalgorithms(); a++) {
		begin_step(STEP_SECONDS, "cuBLASLt");

		double us = time_us(LAYERS, TRIAL_ROUNDS, [&](unsigned i, cudaStream_t stream) {
			product.run(a, stack.weights[i * NPRODUCTS + p].raw[0].weights_dev, stream);
		});

		if (best == 0 || us < best) {
			best = us;
			choice = a;
		}
	}
	return choice;
}

static double time_cublas(struct cublas *cublas, const struct stack &stack, const struct values &values)
{
	std::vector<struct cublas_product> made;
	size_t algorithm[NPRODUCTS];

	for (unsigned p = 0; p < NPRODUCTS; p++) {
		made.emplace_back(cublas, stack.weights[p].raw[0].weights_dev, all_rows(products[p]), products[p].ncols,
				  values.n, values.x(p), values.x_ld(p), values.y[p]);
		if (made[p].nalgorithms() == 0)
			return 0;
		algorithm[p] = choose_algorithm(stack, p, made[p]);
	}
	return time_us(1, ROUNDS, [&](unsigned, cudaStream_t stream) {
		for (size_t i = 0; i < stack.weights.size(); i++)
			made[i % NPRODUCTS].run(algorithm[i % NPRODUCTS], stack.weights[i].raw[0].weights_dev, stream);
	});
}

struct figure {
	uint64_t n;
	double us[NWAYS]; /* 0: not measured */
};

static struct figure time_batch(const struct uw_gpu_device &device, struct cublas *cublas, const struct stack &stack,
				uint64_t n)
{
	struct figure f = { n, { 0, 0, 0 } };
	struct pool pool;
	struct values values(&pool, n);
	struct uw_gpu_gemm_config configs[NPRODUCTS];
	std::vector<uint16_t> right;

	for (unsigned p = 0; p < NPRODUCTS; p++)
		configs[p] = choose_config(device, stack, values, p);
	for (enum way way : { TWIN, PALETTE }) {
		std::vector<struct launch> launches = make_launches(&pool, device, stack, values, way, configs);

		begin_step(STEP_SECONDS, way == TWIN ? "the stack, raw" : "the stack, P4");
		check_layers(launches, values, &right);
		f.us[way] = time_us(1, ROUNDS, [&](unsigned, cudaStream_t stream) {
			for (const struct launch &launch : launches)
				launch.run(stream);
		});
	}
	if (cublas != NULL)
		f.us[CUBLAS] = time_cublas(cublas, stack, values);
	return f;
}

static void read_options(int argc, char **argv, const char **csv_name)
{
	static const char usage[] = "usage: bench_stack [--csv FILE] [--late] [--without N]..";

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "--late") == 0) {
			late = true;
			continue;
		}
		need(i + 1 < argc, usage);
		if (strcmp(argv[i], "--csv") == 0)
			*csv_name = argv[++i];
		else if (strcmp(argv[i], "--without") == 0)
			without |= 1u << (31 - __builtin_clz((unsigned)strtoul(argv[++i], NULL, 10) | 1));
		else
			need(false, usage);
	}
}

int main(int argc, char **argv)
{
	const char *csv_name = NULL;
	struct uw_gpu_device device;
	cudaDeviceProp properties;
	struct cublas cublas;

	read_options(argc, argv, &csv_name);
	begin_step(60, "opening the device");
	if (uw_gpu_device_init(0, &device) != UW_OK) {
		printf("no device: nothing was checked, nothing measured\n");
		return NO_DEVICE;
	}
	cuda(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
	need(uw_gpu_gemm_preload(device.capability == 90 ? UW_GPU_GEMM_WGMMA : UW_GPU_GEMM_MMA) == UW_OK,
	     "uw_gpu_gemm_preload");
	uw_cpu_ops_init_c(&ops);

	bool with_cublas = cublas.open();
	struct stack stack;
	struct csv csv(csv_name, "device,layers,batch,cublaslt_us,raw_us,p4_us,speedup");

	printf("\n%s; %u layers of an 8B Llama in one graph, random weights, BF16, median of %d replays%s%s\n",
	       properties.name, LAYERS, ROUNDS, late ? "; --late" : "", with_cublas ? "" : "; no cuBLASLt here");
	printf("%6s %12s %10s %10s %8s %8s\n", "batch", "cuBLASLt us", "raw us", "P4 us", "P4/raw", "speedup");
	for (uint64_t n : { 1, 8, 32, 512 }) {
		struct figure f = time_batch(device, with_cublas ? &cublas : NULL, stack, n);

		printf("%6llu %12.1f %10.1f %10.1f %8.3f %8.3f\n", (unsigned long long)f.n, f.us[CUBLAS], f.us[TWIN],
		       f.us[PALETTE], f.us[PALETTE] / f.us[TWIN], f.us[CUBLAS] / f.us[PALETTE]);
		csv.line("%s,%u,%llu,%.2f,%.2f,%.2f,%.4f", properties.name, LAYERS, (unsigned long long)f.n, f.us[CUBLAS],
			 f.us[TWIN], f.us[PALETTE], f.us[CUBLAS] / f.us[PALETTE]);
	}
	begin_step(0, "");
	return nwrong == 0 ? 0 : 1;
}
