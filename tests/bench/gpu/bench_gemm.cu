/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multiplication on a device: first that it is right, then how fast it is. Built and run by tests/bench/gpu.sh.
 *
 *     bench_gemm --check [--small] [--kernel mma|wgmma] [--tile N]
 *     bench_gemm [--csv FILE] [--matrix N] [--quick] [--late] [--without N]..
 *         --small: two matrices; --kernel, --tile: of these only; --matrix: one of five, from 0 on; --quick: fewer batches;
 *         --late: no launch begins before the one ahead has ended; --without: not with this tile_n
 *
 * Right: each source; RAW against sums in FP64 on the host, the others bit for bit like RAW; a second run gives the same
 * bits. Fast: matrices of Gaussian weights, so many copies in turn that no cache holds one, in a graph; against cuBLASLt's
 * best algorithm (of those that its heuristic names) and the RAW twin. P4 takes the cut that is fastest, which is looked
 * for around the default one; RAW takes the same. CSV: every way that was timed.
 * Exit status: 0 good, 1 wrong results or an error, 3 a step took too long, 77 no device.
 */
#include "bench_check.h"
#include "bench_cublas.h"

#define CACHED_NBYTES (200u << 20) /* copies of a matrix have more together */
#define MAX_COPIES 16u
#define MOST_COMPARED 64u          /* rows of x */
#define MOST_MMA 64u

static const uint64_t sizes[][2] = { { 4096, 4096 }, { 6144, 4096 }, { 28672, 4096 }, { 4096, 14336 }, { 8192, 3584 } };
#define NSIZES (sizeof(sizes) / sizeof(sizes[0]))

struct options {
	bool check, small, quick, late;
	int kernel; /* negative: both */
	uint32_t tile_n, matrix;
	const char *csv;
};

struct sweep {
	const struct uw_gpu_device &device;
	const struct options &options;
	struct cublas *cublas;
	const struct matrix &m;
	unsigned ncopies;
	struct csv *csv;
	const char *device_name;
	std::vector<struct uw_gpu_matrix> raw, p4;
};

/* One batch's vectors. */
struct vectors {
	struct pool pool;
	uint64_t n;
	const uint16_t *x_dev;
	void *y_dev;
	size_t y_nbytes;

	vectors(const struct matrix &m, uint64_t batch) : n(batch), y_nbytes(2 * batch * m.nrows)
	{
		std::vector<uint16_t> x = make_x(n, m.ncols, m.ncols);

		x_dev = (const uint16_t *)pool.upload(x.data(), 2 * x.size());
		y_dev = pool.reserve(y_nbytes);
		cuda(cudaMemset(y_dev, 0xA5, y_nbytes), "cudaMemset");
	}

	/* What the last product has written, from now on no more there. */
	std::vector<uint16_t> take_y(void) const
	{
		std::vector<uint16_t> y(y_nbytes / 2);

		cuda(cudaMemcpy(y.data(), y_dev, y_nbytes, cudaMemcpyDeviceToHost), "copy back");
		cuda(cudaMemset(y_dev, 0xA5, y_nbytes), "cudaMemset");
		return y;
	}
};

static void write_line(const struct sweep &s, uint64_t n, const char *form, const struct uw_gpu_gemm_config &c,
		       int rounds, double us)
{
	s.csv->line("%s,%llu,%llu,%llu,%s,%s,%u,%u,%u,%d,%.3f", s.device_name, (unsigned long long)s.m.nrows,
		    (unsigned long long)s.m.ncols, (unsigned long long)n,
		    c.tile_n == 0 ? "cublaslt" : c.kernel == UW_GPU_GEMM_WGMMA ? "wgmma" : "mma", form, c.tile_n,
		    c.blocks_per_sm, c.parts, rounds, us);
}

static double time_form(const struct sweep &s, const struct vectors &v, enum form form,
			const struct uw_gpu_gemm_config &config, int rounds)
{
	const std::vector<struct uw_gpu_matrix> &matrices = form == RAW ? s.raw : s.p4;
	std::vector<struct launch> launches;
	struct pool pool;
	double us;

	begin_step(STEP_SECONDS, name_of(config, s.m.nrows, s.m.ncols, v.n, form).c_str());
	for (const struct uw_gpu_matrix &matrix : matrices) {
		launches.emplace_back(&pool, s.device, config, std::vector<struct uw_gpu_matrix>{ matrix }, v.n, v.x_dev,
				      s.m.ncols, v.y_dev, UW_LINEAR_BF16);
		launches.back().gemm.early = !s.options.late;
	}
	us = time_us(s.ncopies, rounds, [&](unsigned i, cudaStream_t stream) { launches[i].run(stream); });
	begin_step(0, "");
	write_line(s, v.n, form_names[form], config, rounds, us);
	return us;
}

struct best {
	double us; /* 0: none */
	struct uw_gpu_gemm_config config;
};

/* The fastest cut for P4 and kernels of one kind. */
static struct best find_best(const struct sweep &s, const struct vectors &v, uint32_t kernel)
{
	struct best best = { 0, {} };

	for (const struct uw_gpu_gemm_config &config : configs_for(s.device, kernel, s.m.nrows, s.m.ncols, v.n)) {
		double us = time_form(s, v, P4, config, TRIAL_ROUNDS);

		if (best.us == 0 || us < best.us)
			best = { us, config };
	}
	if (best.us != 0)
		best.us = time_form(s, v, P4, best.config, ROUNDS);
	return best;
}

static double time_cublas(const struct sweep &s, const struct vectors &v)
{
	struct cublas_product product(s.cublas, s.raw[0].weights_dev, s.m.nrows, s.m.ncols, v.n, v.x_dev, s.m.ncols,
				      v.y_dev);
	double best = 0;
	size_t choice = 0;

	for (size_t a = 0; a < product.nalgorithms(); a++) {
		begin_step(STEP_SECONDS, "cuBLASLt");

		double us = time_us(s.ncopies, TRIAL_ROUNDS, [&](unsigned i, cudaStream_t stream) {
			product.run(a, s.raw[i].weights_dev, stream);
		});

		if (best == 0 || us < best) {
			best = us;
			choice = a;
		}
	}
	if (best != 0)
		best = time_us(s.ncopies, ROUNDS, [&](unsigned i, cudaStream_t stream) {
			product.run(choice, s.raw[i].weights_dev, stream);
		});
	begin_step(0, "");
	write_line(s, v.n, "raw", {}, ROUNDS, best);
	return best;
}

/* ||a - b|| / ||b|| */
static double distance(const std::vector<uint16_t> &a, const std::vector<uint16_t> &b)
{
	double difference = 0, amount = 0;

	for (size_t i = 0; i < a.size(); i++) {
		double x = (double)value_of(a[i]), y = (double)value_of(b[i]);

		difference += (x - y) * (x - y);
		amount += y * y;
	}
	return sqrt(difference / amount);
}

/* All have multiplied by copies of the same weights. y of both kinds is rounded to 8 bits. */
static void compare(const char *what, const std::vector<uint16_t> &y, const std::vector<uint16_t> &raw, bool bits)
{
	double d = distance(y, raw);

	check(bits ? y == raw : d < 5e-3, what, bits ? "bits of RAW" : "distance from RAW");
	if (bits ? y != raw : !(d < 5e-3))
		printf("  distance %.3g\n", d);
}

static void time_batch(const struct sweep &s, uint64_t n)
{
	struct vectors v(s.m, n);
	bool hopper = s.device.capability == 90;
	struct best best = find_best(s, v, hopper ? UW_GPU_GEMM_WGMMA : UW_GPU_GEMM_MMA), mma = { 0, {} };
	double raw = 0, cublas = 0, weights = (double)s.m.nrows * (double)s.m.ncols;
	std::vector<uint16_t> y, right;

	if (best.us != 0) {
		if (n <= MOST_COMPARED)
			y = v.take_y();
		raw = time_form(s, v, RAW, best.config, ROUNDS);
		if (n <= MOST_COMPARED) {
			right = v.take_y();
			compare("P4 of the sweep", y, right, true);
		}
	}
	if (s.cublas != NULL) {
		cublas = time_cublas(s, v);
		if (cublas != 0 && !right.empty())
			compare("cuBLASLt", v.take_y(), right, false);
	}
	if (hopper && n <= MOST_MMA)
		mma = find_best(s, v, UW_GPU_GEMM_MMA);
	printf("%6llu %7u %3u %5u %10.2f %9.2f %9.2f %9.2f %7.0f %8.3f %8.3f\n", (unsigned long long)n, best.config.tile_n,
	       best.config.blocks_per_sm, best.config.parts, cublas, raw, best.us, mma.us,
	       best.us != 0 ? 1.5 * weights / best.us / 1e3 : 0, raw != 0 ? best.us / raw : 0,
	       best.us != 0 ? cublas / best.us : 0);
}

static void time_matrix(const struct uw_gpu_device &device, const struct options &options, struct cublas *cublas,
			const char *device_name, struct csv *csv, uint32_t number)
{
	uint64_t nrows = sizes[number][0], ncols = sizes[number][1];
	uint64_t group_rows = 64 * std::max<uint64_t>(1, 98304 / ncols);
	struct matrix m = make_matrix(nrows, ncols, group_rows, 0, true);
	unsigned ncopies = (unsigned)std::min<uint64_t>(MAX_COPIES, CACHED_NBYTES * 2 / (3 * nrows * ncols) + 2);
	struct sweep sweep = { device, options, cublas, m, ncopies, csv, device_name, {}, {} };
	struct pool pool;

	for (unsigned i = 0; i < ncopies; i++) {
		sweep.raw.push_back(upload(&pool, m, RAW));
		sweep.p4.push_back(upload(&pool, m, P4));
	}
	printf("\n%s; %llu x %llu random weights, BF16 out, graph of %u copies, median of %d replays%s%s\n", device_name,
	       (unsigned long long)nrows, (unsigned long long)ncols, ncopies, ROUNDS, options.late ? "; --late" : "",
	       cublas != NULL ? "" : "; no cuBLASLt here");
	printf("%6s %7s %3s %5s %10s %9s %9s %9s %7s %8s %8s\n", "batch", "tile_n", "/SM", "parts", "cuBLASLt", "raw us",
	       "P4 us", "mma us", "P4 GB/s", "P4/raw", "speedup");
	for (uint64_t n = 1; n <= 4096; n *= options.quick ? 4 : 2)
		time_batch(sweep, n);
}

static const char usage[] = "usage: bench_gemm --check [--small] [--kernel mma|wgmma] [--tile N] | "
			    "[--csv FILE] [--matrix N] [--quick] [--late] [--without N]..";

static void read_options(int argc, char **argv, struct options *o)
{
	*o = { false, false, false, false, -1, 0, NSIZES, NULL };
	for (int i = 1; i < argc; i++) {
		std::string name = argv[i];
		bool valued = name == "--kernel" || name == "--tile" || name == "--matrix" || name == "--csv" ||
			      name == "--without";
		const char *value = valued && i + 1 < argc ? argv[++i] : "";
		unsigned long number = strtoul(value, NULL, 10);

		o->check |= name == "--check";
		o->small |= name == "--small";
		o->quick |= name == "--quick";
		o->late |= name == "--late";
		if (name == "--kernel")
			o->kernel = strcmp(value, "wgmma") == 0 ? UW_GPU_GEMM_WGMMA : UW_GPU_GEMM_MMA;
		else if (name == "--tile")
			o->tile_n = (uint32_t)number;
		else if (name == "--matrix")
			o->matrix = (uint32_t)number;
		else if (name == "--csv")
			o->csv = value;
		else if (name == "--without" && number != 0)
			without |= 1u << (31 - __builtin_clz((unsigned)number));
		else
			need(name == "--check" || name == "--small" || name == "--quick" || name == "--late", usage);
		need(!valued || value[0] != '\0', usage);
	}
}

/* False: the device has none of the kernels. */
static bool prepare(const struct uw_gpu_device &device, const struct options &options)
{
	bool any = false;

	for (uint32_t kernel = UW_GPU_GEMM_MMA; kernel <= (device.capability == 90 ? 1u : 0u); kernel++) {
		if (options.kernel >= 0 && (uint32_t)options.kernel != kernel)
			continue;
		begin_step(60, "loading kernels");
		need(uw_gpu_gemm_preload((enum uw_gpu_gemm_kernel)kernel) == UW_OK, "uw_gpu_gemm_preload");
		if (options.check)
			check_kernels(device, kernel, options.tile_n, options.small);
		any = true;
	}
	begin_step(0, "");
	return any;
}

static void time_all(const struct uw_gpu_device &device, const struct options &options)
{
	struct csv csv(options.csv, "device,rows,cols,batch,kernel,form,tile_n,blocks_per_sm,parts,rounds,us");
	cudaDeviceProp properties;
	struct cublas cublas;
	bool with_cublas = cublas.open();

	cuda(cudaGetDeviceProperties(&properties, 0), "cudaGetDeviceProperties");
	for (uint32_t i = 0; i < NSIZES; i++) {
		if (options.matrix == NSIZES || options.matrix == i)
			time_matrix(device, options, with_cublas ? &cublas : NULL, properties.name, &csv, i);
	}
}

int main(int argc, char **argv)
{
	struct uw_gpu_device device;
	struct options options;

	read_options(argc, argv, &options);
	begin_step(60, "opening the device");
	if (uw_gpu_device_init(0, &device) != UW_OK) {
		printf("no device: nothing was checked, nothing measured\n");
		return NO_DEVICE;
	}
	uw_cpu_ops_init_c(&ops);
	if (!prepare(device, options)) {
		printf("no such kernel on this device\n");
		return NO_DEVICE;
	}
	if (!options.check)
		time_all(device, options);
	else
		printf("%s\n", nwrong == 0 ? "right: RAW within the bound, all else bit for bit like RAW"
					   : "done; WRONG, see above");
	return nwrong == 0 ? 0 : 1;
}
