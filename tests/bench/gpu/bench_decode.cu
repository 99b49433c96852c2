/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decode kernels on a device: first that they are right, then how fast they are. Built and run by
 * tests/bench/gpu.sh.
 *
 *     bench_decode [--csv FILE] [--rows N] [--cols N]
 *     bench_decode --check        groups of odd shapes alone
 *
 * Right: groups of odd shapes and odd weights, and the matrix that is timed, against libcodec on the host, bit for
 * bit; damaged streams get their error word where libcodec says UW_ERR_BITS; a second run gives the same bytes. Fast:
 * a matrix of Gaussian weights, COPIES of it in turn so that no cache holds one; median of REPEATS launches by events.
 * Exit status: 0 good, 1 wrong results or an error, 3 a step took too long, 77 no device.
 */
#include <algorithm>
#include <atomic>
#include <thread>

#include "bench_common.h"
#include "unweight/gpu_decode.h"

#define COPIES 4
#define REPEATS 24

typedef enum uw_status (*launch_fn)(const struct uw_gpu_decode *decode, struct CUstream_st *stream);

enum output { WEIGHTS, NIBBLES, EXPONENTS };

static const struct kernel {
	const char *name;
	enum uw_coding coding;
	enum output output;
	launch_fn launch;
} kernels[] = {
	{ "P4 -> BF16", UW_CODING_P4, WEIGHTS, uw_gpu_decode_p4 },
	{ "H -> BF16", UW_CODING_H, WEIGHTS, uw_gpu_decode_h },
	{ "H -> nibbles", UW_CODING_H, NIBBLES, uw_gpu_transcode_h },
	{ "H -> exponents", UW_CODING_H, EXPONENTS, uw_gpu_exponents_h },
};

/* A matrix as a container has it: groups of 64 B rows (SPEC.md section 3). */
static std::vector<struct group> make_matrix(uint64_t nrows, uint64_t ncols)
{
	uint64_t padded = (ncols + 63) / 64 * 64, rows = 64 * std::max<uint64_t>(1, 98304 / padded);
	std::vector<struct group> groups((nrows + rows - 1) / rows);
	std::vector<std::thread> threads;
	std::atomic<size_t> next(0);

	for (unsigned t = 0; t < std::max(1u, std::thread::hardware_concurrency()); t++)
		threads.emplace_back([&] {
			for (size_t i; (i = next++) < groups.size();)
				groups[i] = make_group(UW_ORDER_TILED, std::min(rows, nrows - i * rows), ncols, 0,
						       i + 1);
		});
	for (std::thread &t : threads)
		t.join();
	for (struct group &g : groups) { /* they have moved */
		open_group(&g, UW_CODING_H);
		open_group(&g, UW_CODING_P4);
	}
	return groups;
}

static size_t out_nbytes(const struct uw_shape *shape, enum output output)
{
	return (size_t)(output == WEIGHTS ? 2 * shape->nweights : (output == NIBBLES ? 512 : 1024) * shape->ntiles);
}

/* ---- on the device ---- */

struct device_launch {
	struct uw_gpu_decode decode;
	std::vector<void *> memory;
	std::vector<struct uw_gpu_group> groups;

	void *reserve(size_t nbytes)
	{
		void *p;

		cuda(cudaMalloc(&p, nbytes + 256), "cudaMalloc");
		memory.push_back(p);
		return p;
	}

	device_launch(const std::vector<const struct uw_coded *> &coded, const struct kernel &kernel)
	{
		uint32_t n = (uint32_t)coded.size();

		groups.resize(n);
		for (uint32_t i = 0; i < n; i++) {
			size_t nbytes = (size_t)(coded[i]->s - coded[i]->head) + (size_t)coded[i]->shape.ntiles * 1024;
			uint8_t *stored = (uint8_t *)reserve(nbytes);
			void *out = reserve(out_nbytes(&coded[i]->shape, kernel.output));

			cuda(cudaMemcpy(stored, coded[i]->head, nbytes, cudaMemcpyHostToDevice), "copy to the device");
			cuda(cudaMemset(out, 0xA5, out_nbytes(&coded[i]->shape, kernel.output) + 256), "cudaMemset");
			need(uw_gpu_group_init(coded[i], stored, out, &groups[i]) == UW_OK, "uw_gpu_group_init");
		}
		struct uw_gpu_group *groups_dev = (struct uw_gpu_group *)reserve(n * sizeof(*groups_dev));
		uint32_t *errors_dev = (uint32_t *)reserve(n * sizeof(*errors_dev));

		need(uw_gpu_decode_init(groups.data(), n, groups_dev, errors_dev, &decode) == UW_OK,
		     "uw_gpu_decode_init");
		cuda(cudaMemcpy(groups_dev, groups.data(), n * sizeof(*groups_dev), cudaMemcpyHostToDevice), "copy");
		cuda(cudaMemset(errors_dev, 0, n * sizeof(*errors_dev)), "cudaMemset");
	}

	device_launch(device_launch &&) = default;

	~device_launch(void)
	{
		for (void *p : memory)
			(void)cudaFree(p);
	}

	void run(const struct kernel &kernel)
	{
		enum uw_status status = kernel.launch(&decode, 0);

		need(status == UW_OK, uw_status_text(status));
	}

	std::vector<uint32_t> errors(void)
	{
		std::vector<uint32_t> words(groups.size());

		cuda(cudaDeviceSynchronize(), "kernel");
		cuda(cudaMemcpy(words.data(), decode.errors_dev, words.size() * 4, cudaMemcpyDeviceToHost),
		     "copy back");
		return words;
	}

	/* With the 64 bytes behind it, which have to be as they were. */
	std::vector<uint8_t> out(size_t i, size_t nbytes)
	{
		std::vector<uint8_t> bytes(nbytes + 64);

		cuda(cudaMemcpy(bytes.data(), groups[i].out_dev, nbytes + 64, cudaMemcpyDeviceToHost), "copy back");
		return bytes;
	}
};

/* ---- right ---- */

static std::vector<const struct uw_coded *> coded_of(const std::vector<struct group> &groups, enum uw_coding coding)
{
	std::vector<const struct uw_coded *> coded;

	for (const struct group &g : groups)
		coded.push_back(&g.coded[coding]);
	return coded;
}

static uint32_t word_at(const std::vector<uint8_t> &bytes, size_t at)
{
	uint32_t word;

	memcpy(&word, &bytes[at], sizeof(word));
	return word;
}

/*
 * An exponent plane with the S plane gives the weights before patches: compare where there are none, by tiles' words
 * with the P4 form.
 */
static bool exponents_match(const struct group &g, const std::vector<uint8_t> &plane)
{
	static const uint8_t nibble[8] = { 1, 3, 2, 0, 5, 7, 6, 4 }, low[8] = { 7, 23, 15, 31, 3, 19, 11, 27 };
	const struct uw_coded &coded = g.coded[UW_CODING_P4];
	size_t e_off = (size_t)(coded.e - coded.head);

	for (uint64_t f = 0; f < g.shape.ntiles * 128; f++) {
		size_t tile = f / 128, at = f % 32 * 16 + f / 32 % 4 * 4;
		uint32_t i = word_at(g.stored[UW_CODING_P4], e_off + 512 * tile + at), a[4] = { 0, 0, 0, 0 };
		uint64_t word;

		memcpy(&word, coded.chunk_words + tile / 8 * 8, sizeof(word));
		const uint8_t *pairs = coded.tables[word >> 53 & 15].pairs;

		for (unsigned k = 0; k < 8; k++)
			a[k / 2] |= (2u * pairs[i >> 4 * nibble[k] & 7] + (i >> low[k] & 1)) << (7 + 16 * (k % 2));
		for (unsigned k = 0; k < 2; k++) {
			uint32_t rest = a[2 * k + 1] << 8 | a[2 * k + 1] >> 24;
			uint32_t want = (a[2 * k] & ~0x807F807Fu) | (rest & ~0x7F807F80u);

			if (word_at(plane, 1024 * tile + 512 * k + at) != want)
				return false;
		}
	}
	return true;
}

static bool out_matches(const struct group &g, const struct kernel &kernel, const std::vector<uint8_t> &out)
{
	size_t nbytes = out_nbytes(&g.shape, kernel.output);

	for (size_t i = nbytes; i < out.size(); i++) {
		if (out[i] != 0xA5)
			return false;
	}
	switch (kernel.output) {
	case WEIGHTS:
		return memcmp(out.data(), g.weights.data(), nbytes) == 0;
	case NIBBLES:
		return memcmp(out.data(), g.coded[UW_CODING_P4].e, nbytes) == 0;
	default:
		return exponents_match(g, out);
	}
}

static void check_groups(const std::vector<struct group> &groups, const char *which)
{
	for (const struct kernel &kernel : kernels) {
		device_launch launch(coded_of(groups, kernel.coding), kernel);

		for (unsigned round = 0; round < 2; round++) {
			launch.run(kernel);
			for (uint32_t error : launch.errors())
				check(error == 0, kernel.name, "error word of a good group");
			for (size_t i = 0; i < groups.size(); i++)
				check(out_matches(groups[i], kernel,
						  launch.out(i, out_nbytes(&groups[i].shape, kernel.output))),
				      kernel.name, which);
		}
	}
}

static std::vector<struct group> odd_groups(void)
{
	static const struct {
		enum uw_order order;
		uint64_t nrows, ncols;
	} sizes[] = {
		{ UW_ORDER_LINEAR, 1, 1 },     { UW_ORDER_LINEAR, 1, 1023 },    { UW_ORDER_LINEAR, 1, 8193 },
		{ UW_ORDER_LINEAR, 1, 30000 }, { UW_ORDER_LINEAR, 1, 1 << 22 }, { UW_ORDER_TILED, 1, 1000 },
		{ UW_ORDER_TILED, 300, 1 },    { UW_ORDER_TILED, 17, 65 },      { UW_ORDER_TILED, 65, 129 },
		{ UW_ORDER_TILED, 128, 200 },  { UW_ORDER_TILED, 64, 131072 },  { UW_ORDER_TILED, 1000, 1001 },
	};
	std::vector<struct group> groups;

	groups.reserve(64);
	for (unsigned n = 0; n < 48; n++) {
		const auto &size = sizes[n % 12];

		/* about one weight in 40 is anything: patches in every tile; the large ones once */
		if (n < 12 || size.nrows * size.ncols < 100000)
			groups.push_back(make_group(size.order, size.nrows, size.ncols,
						    size.nrows * size.ncols < 100 ? 0 : 40, n));
	}
	for (struct group &g : groups) {
		open_group(&g, UW_CODING_H);
		open_group(&g, UW_CODING_P4);
	}
	return groups;
}

/* A bit flipped in E: the error word says what libcodec says, and the groups beside it are untouched. */
static void check_damaged(void)
{
	struct group good = make_group(UW_ORDER_TILED, 64, 1000, 100, 5);
	struct random r = { 9 };
	std::vector<uint16_t> weights(good.weights.size());
	unsigned nbad = 0;

	open_group(&good, UW_CODING_H);
	for (unsigned round = 0; round < 200; round++) {
		struct group wrong = good;
		size_t e_off = (size_t)(good.coded[UW_CODING_H].e - good.coded[UW_CODING_H].head);
		size_t e_nbytes = (size_t)good.coded[UW_CODING_H].e_nbytes;

		size_t at = e_off + (round < 40 ? round : r.next() % e_nbytes);

		wrong.stored[UW_CODING_H][at] ^= (uint8_t)(1u << r.next() % 8);
		open_group(&wrong, UW_CODING_H);

		enum uw_status status = uw_coded_decode(&ops, &wrong.coded[UW_CODING_H], UW_STORE_CACHED,
							weights.data(), NULL);

		nbad += status != UW_OK;
		for (const struct kernel &kernel : kernels) {
			if (kernel.coding != UW_CODING_H)
				continue;
			const struct uw_coded *beside = &good.coded[UW_CODING_H];
			device_launch launch({ beside, &wrong.coded[UW_CODING_H], beside }, kernel);

			launch.run(kernel);
			std::vector<uint32_t> errors = launch.errors();

			check(errors[0] == 0 && errors[2] == 0, kernel.name, "error word beside a damaged group");
			check(errors[1] == (status == UW_OK ? 0 : UW_GPU_ERR_BITS), kernel.name,
			      "error word of a damaged group");
		}
	}
	check(nbad > 100, "damaged streams", "too few are corrupt");
}

/* ---- fast ---- */

static double median_ms(const std::vector<cudaEvent_t> &events)
{
	std::vector<float> ms;

	for (size_t i = 0; i + 1 < events.size(); i++) {
		float one;

		cuda(cudaEventElapsedTime(&one, events[i], events[i + 1]), "cudaEventElapsedTime");
		ms.push_back(one);
	}
	std::sort(ms.begin(), ms.end());
	return ms[ms.size() / 2];
}

template <class Work> static double time_ms(Work work)
{
	std::vector<cudaEvent_t> events(REPEATS + 1);
	double ms;

	for (unsigned i = 0; i < COPIES; i++)
		work(i);
	for (cudaEvent_t &event : events)
		cuda(cudaEventCreate(&event), "cudaEventCreate");
	cuda(cudaEventRecord(events[0], 0), "cudaEventRecord");
	for (unsigned i = 0; i < REPEATS; i++) {
		work(i % COPIES);
		cuda(cudaEventRecord(events[i + 1], 0), "cudaEventRecord");
	}
	cuda(cudaDeviceSynchronize(), "kernel");
	ms = median_ms(events);
	for (cudaEvent_t event : events)
		(void)cudaEventDestroy(event);
	return ms;
}

static double copy_ms(size_t nbytes)
{
	uint8_t *from[COPIES], *to[COPIES];
	double ms;

	for (unsigned i = 0; i < COPIES; i++) {
		cuda(cudaMalloc((void **)&from[i], nbytes), "cudaMalloc");
		cuda(cudaMalloc((void **)&to[i], nbytes), "cudaMalloc");
		cuda(cudaMemset(from[i], 0x5A, nbytes), "cudaMemset");
	}
	ms = time_ms([&](unsigned i) {
		cuda(cudaMemcpyAsync(to[i], from[i], nbytes, cudaMemcpyDeviceToDevice, 0), "copy");
	});
	for (unsigned i = 0; i < COPIES; i++) {
		(void)cudaFree(from[i]);
		(void)cudaFree(to[i]);
	}
	return ms;
}

struct figure {
	const char *name;
	double ms, traffic, nbytes_bf16;
};

static struct figure time_kernel(const struct kernel &kernel, const std::vector<struct group> &groups)
{
	std::vector<device_launch> copies;
	struct figure figure = { kernel.name, 0, 0, 0 };

	copies.reserve(COPIES);
	for (unsigned i = 0; i < COPIES; i++)
		copies.emplace_back(coded_of(groups, kernel.coding), kernel);
	for (const struct group &g : groups) {
		const struct uw_coded &coded = g.coded[kernel.coding];

		figure.traffic += (double)(coded.e - coded.head) + (double)coded.e_nbytes +
				  (double)out_nbytes(&g.shape, kernel.output);
		if (kernel.output == WEIGHTS)
			figure.traffic += 1024.0 * (double)g.shape.ntiles;
		figure.nbytes_bf16 += 2.0 * (double)g.shape.nweights;
	}
	figure.ms = time_ms([&](unsigned i) { copies[i].run(kernel); });
	for (struct device_launch &copy : copies) {
		for (uint32_t error : copy.errors())
			check(error == 0, kernel.name, "error word while timing");
	}
	return figure;
}

static void time_all(const char *device, int nsms, const std::vector<struct group> &matrix, uint64_t nrows,
		     uint64_t ncols, const char *csv_name)
{
	struct csv csv(csv_name, "device,rows,cols,kernel,ms,bf16_gb_per_s,traffic_gb_per_s,of_copy");
	double nbytes = 2.0 * (double)nrows * (double)ncols, copied = 0;

	printf("%s, %d SMs; %llu x %llu Gaussian weights, median of %d\n", device, nsms, (unsigned long long)nrows,
	       (unsigned long long)ncols, REPEATS);
	printf("%-16s %9s %14s %14s %8s\n", "kernel", "ms", "BF16 GB/s", "traffic GB/s", "of copy");
	for (size_t i = 0; i <= sizeof(kernels) / sizeof(kernels[0]); i++) {
		begin_step(30, i == 0 ? "copy" : kernels[i - 1].name);

		struct figure g = { "copy", 0, 2 * nbytes, nbytes };

		if (i == 0)
			g.ms = copy_ms((size_t)nbytes);
		else
			g = time_kernel(kernels[i - 1], matrix);

		double bf16 = g.nbytes_bf16 / g.ms / 1e6, traffic = g.traffic / g.ms / 1e6;

		copied = i == 0 ? traffic : copied;
		printf("%-16s %9.4f %14.0f %14.0f %7.0f%%\n", g.name, g.ms, bf16, traffic, 100 * traffic / copied);
		csv.line("%s,%llu,%llu,%s,%.5f,%.1f,%.1f,%.4f", device, (unsigned long long)nrows,
			 (unsigned long long)ncols, g.name, g.ms, bf16, traffic, traffic / copied);
	}
}

int main(int argc, char **argv)
{
	uint64_t nrows = 4096, ncols = 14336;
	const char *csv_name = NULL;
	cudaDeviceProp device;
	int ndevices = 0;

	bool only_check = argc == 2 && strcmp(argv[1], "--check") == 0;

	for (int i = 1; i < argc && !only_check; i += 2) {
		need(i + 1 < argc, "usage: bench_decode [--csv FILE] [--rows N] [--cols N]");
		if (strcmp(argv[i], "--csv") == 0)
			csv_name = argv[i + 1];
		else if (strcmp(argv[i], "--rows") == 0)
			nrows = strtoull(argv[i + 1], NULL, 10);
		else if (strcmp(argv[i], "--cols") == 0)
			ncols = strtoull(argv[i + 1], NULL, 10);
		else
			need(false, "usage: bench_decode [--csv FILE] [--rows N] [--cols N]");
	}
	begin_step(60, "opening the device");
	if (cudaGetDeviceCount(&ndevices) != cudaSuccess || ndevices == 0) {
		printf("no device: nothing was checked, nothing measured\n");
		return NO_DEVICE;
	}
	cuda(cudaGetDeviceProperties(&device, 0), "cudaGetDeviceProperties");
	need(uw_gpu_decode_preload() == UW_OK, "uw_gpu_decode_preload");
	uw_cpu_ops_init_c(&ops);

	begin_step(30, "odd groups");
	check_groups(odd_groups(), "odd groups");
	if (only_check)
		return nwrong == 0 ? 0 : 1;
	begin_step(30, "damaged groups");
	check_damaged();
	begin_step(60, "a matrix");

	std::vector<struct group> matrix = make_matrix(nrows, ncols);

	check_groups(matrix, "matrix");
	printf("%s\n\n", nwrong == 0 ? "right: all bytes and error words as on the host" : "WRONG, see above");
	time_all(device.name, device.multiProcessorCount, matrix, nrows, ncols, csv_name);
	begin_step(0, "");
	return nwrong == 0 ? 0 : 1;
}
