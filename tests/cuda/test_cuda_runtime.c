/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The CUDA backend of libunweight on a device that is not there: every pipeline against RAW bit for bit and RAW against
 * sums in FP64; the promises of unweight/cuda.h; what a run must not do; failures on the way.
 */
#include "../unit/model_common.h"

#include <math.h>

#include "cuda_device.h"
#include "emu_device.h"
#include "model.h"
#include "unweight/cuda.h"

static const struct want wants[] = {
	{ "wide", "BF16", 2, 2, { 142, 320 }, FILL_GAUSSIAN }, /* odd number of tile columns */
	{ "tall", "BF16", 2, 2, { 208, 192 }, FILL_GAUSSIAN },
	{ "ragged", "BF16", 2, 2, { 70, 100 }, FILL_GAUSSIAN }, /* linear order */
	{ "random", "BF16", 2, 2, { 128, 192 }, FILL_RANDOM },  /* stored as it is */
	{ "scaled", "BF16", 2, 2, { 256, 192 }, FILL_SCALED },  /* with a row order */
	{ "experts", "BF16", 2, 3, { 4, 256, 256 }, FILL_GAUSSIAN },
	{ "mixed", "BF16", 2, 2, { 250, 192 }, FILL_GAUSSIAN }, /* cut into groups, not all of which can be coded */
	{ "vector", "BF16", 2, 1, { 64 }, FILL_GAUSSIAN },
};
enum { WIDE, TALL, RAGGED, RANDOM, SCALED, EXPERTS, MIXED };

static struct source source;
static struct packed packed[2];
static struct uw_model *models[2];
static struct uw_cuda *cuda;

static int setup(void **state)
{
	use_level(state);
	rng_seed(7);
	source = make_source(wants, COUNT(wants));
	for (size_t i = 0; i < 64 * 192; i++) { /* the second row block; no NaN or infinity */
		uint16_t word = (uint16_t)(rng() & 0xBFFF);

		memcpy(source.bytes + source.off[MIXED] + 2 * (64 * 192 + i), &word, 2);
	}
	for (unsigned p = 0; p < 2; p++) {
		packed[p] = pack(&source, (enum uw_profile)p);
		models[p] = open_packed(&packed[p], NULL);
	}
	return 0;
}

/* What the tensors are coded as, or the tests would test little. */
static void test_codings(void **state)
{
	for (unsigned want = WIDE; want <= MIXED; want++) {
		for (unsigned profile = 0; profile < 2; profile++) {
			const struct uw_tensor *tensor = uw_model_find(models[profile], wants[want].name);
			const struct uw_extent *extent;
			const struct uw_model_part *part = uw_tensor_part(models[profile], tensor, &extent);
			uint8_t coding = part->container.index->groups[extent->first_group].coding;

			assert_int_equal(extent->order, want == RAGGED ? UW_ORDER_LINEAR : UW_ORDER_TILED);
			if (want == MIXED)
				continue;
			if (want == RANDOM)
				assert_int_equal(coding, UW_CODING_RAW);
			else
				assert_int_equal(coding, profile == 0 ? UW_CODING_H : UW_CODING_P4);
		}
	}
}

static int teardown(void **state)
{
	for (unsigned p = 0; p < 2; p++) {
		uw_model_close(&models[p]);
		free(packed[p].bytes);
	}
	free(source.bytes);
	return 0;
}

static void open_cuda(uint32_t capability, bool has_dense)
{
	emu_device_reset(1);
	emu_device.capability = capability;
	emu_device.has_dense = has_dense;
	assert_int_equal(uw_cuda_open_ops(emu_device_ops(), 0, NULL, &cuda, NULL), UW_OK);
	assert_string_equal(uw_cuda_name(cuda), "Emulated GPU");
	assert_int_equal(uw_cuda_has_cublas(cuda), has_dense);
}

static void close_cuda(void)
{
	uw_cuda_close(&cuda);
	assert_int_equal(emu_device.nlive, 0);
}

/* ---- what is multiplied ---- */

static struct uw_linear_part part_of(unsigned profile, unsigned want)
{
	return (struct uw_linear_part){ .tensor = uw_model_find(models[profile], wants[want].name) };
}

static struct uw_cuda_linear *create(unsigned profile, const struct uw_linear_part *parts, size_t nparts,
				     struct uw_cuda_linear_options options)
{
	struct uw_cuda_linear *linear;
	struct uw_error err;

	if (uw_cuda_linear_create(cuda, models[profile], parts, nparts, &options, &linear, &err) != UW_OK)
		fail_msg("%s", err.what);
	return linear;
}

static struct uw_cuda_workspace *workspace_of(const struct uw_cuda_linear *const *linears, size_t n, uint64_t batch)
{
	struct uw_cuda_workspace *w;
	struct uw_error err;

	if (uw_cuda_workspace_create(cuda, linears, n, batch, &w, &err) != UW_OK)
		fail_msg("%s", err.what);
	return w;
}

/* Rows of x: the same value at the same place, whatever the batch. */
struct x {
	uint16_t *dev;
	uint64_t batch, ncols, ld;
};

static uint16_t x_at(uint64_t row, uint64_t col)
{
	return bf16_of((float)((row * 7919 + col * 104729) % 2048) / 1024.0f - 1.0f);
}

static struct x make_x(uint64_t batch, uint64_t ncols)
{
	struct x x = { NULL, batch, ncols, (ncols + 7) / 8 * 8 + 8 };
	uint16_t *host = malloc(batch * x.ld * 2);
	void *dev;

	memset(host, 0xFF, batch * x.ld * 2); /* NaN beyond the columns */
	for (uint64_t r = 0; r < batch; r++) {
		for (uint64_t c = 0; c < ncols; c++)
			host[r * x.ld + c] = x_at(r, c);
	}
	assert_int_equal(uw_cuda_alloc(cuda, batch * x.ld * 2, &dev, NULL), UW_OK);
	assert_int_equal(uw_cuda_copy_in(cuda, dev, host, batch * x.ld * 2, NULL, NULL), UW_OK);
	x.dev = dev;
	free(host);
	return x;
}

static void free_x(struct x *x)
{
	uw_cuda_free(cuda, x->dev, x->batch * x->ld * 2);
}

/* A product: queued by begin_y, read by end_y. Rows of y have a gap that nothing may touch. */
#define GAP 3u
struct y {
	void *dev;
	uint64_t batch, nrows, nbytes;
	struct uw_cuda_linear_args args;
};

static struct y begin_y(const struct uw_cuda_linear *linear, struct uw_cuda_workspace *w, const struct x *x,
			uint64_t batch, uint8_t dtype, const uint32_t *offsets, struct CUstream_st *stream)
{
	struct y y = { NULL, batch, uw_cuda_linear_nrows(linear), 0, { 0 } };
	struct uw_error err;
	enum uw_status status;
	uint64_t allocs, syncs = 0, reads;

	y.nbytes = batch * (y.nrows + GAP) * (dtype == UW_DTYPE_F32 ? 4 : 2);
	assert_int_equal(uw_cuda_alloc(cuda, y.nbytes, &y.dev, NULL), UW_OK);
	y.args = (struct uw_cuda_linear_args){ x->dev, x->ld, batch, y.dev, dtype, y.nrows + GAP };
	allocs = emu_device.nallocs;
	syncs = emu_device.nsyncs;
	reads = emu_device.nreads;
	if (offsets != NULL)
		status = uw_cuda_linear_run_experts(linear, w, &y.args, offsets, stream, &err);
	else
		status = uw_cuda_linear_run(linear, w, &y.args, stream, &err);
	if (status != UW_OK)
		fail_msg("%s", err.what);
	assert_int_equal(emu_device.nallocs, allocs);
	assert_int_equal(emu_device.nsyncs, syncs);
	assert_int_equal(emu_device.nreads, reads);
	return y;
}

static uint8_t *end_y(struct y *y, struct CUstream_st *stream)
{
	uint8_t *host = malloc(y->nbytes);

	assert_int_equal(uw_cuda_copy_out(cuda, host, y->dev, y->nbytes, stream, NULL), UW_OK);
	uw_cuda_free(cuda, y->dev, y->nbytes);
	return host;
}

/* One product by itself: all bytes of y, gaps too. */
static uint8_t *product(unsigned profile, const struct uw_linear_part *parts, size_t nparts,
			struct uw_cuda_linear_options options, uint64_t batch, uint8_t dtype, struct y *y)
{
	struct uw_cuda_linear *linear = create(profile, parts, nparts, options);
	struct uw_cuda_workspace *w = workspace_of((const struct uw_cuda_linear *[]){ linear }, 1, batch);
	struct x x = make_x(batch, uw_cuda_linear_ncols(linear));
	uint8_t *host;

	*y = begin_y(linear, w, &x, batch, dtype, NULL, NULL);
	host = end_y(y, NULL);
	free_x(&x);
	uw_cuda_workspace_free(&w);
	uw_cuda_linear_free(&linear);
	return host;
}

static float weight_at(unsigned want, uint64_t expert, uint64_t row, uint64_t col)
{
	uint64_t n = wants[want].ndims == 3 ? wants[want].dims[2] : wants[want].dims[1];
	uint64_t m = wants[want].ndims == 3 ? wants[want].dims[1] : wants[want].dims[0];
	uint16_t word;

	memcpy(&word, source.bytes + source.off[want] + 2 * ((expert * m + row) * n + col), 2);
	return float_of(word);
}

/* FP32 y of one part against FP64; the bound of any order of adding. first: the part's first row in y. */
static void check(const uint8_t *host, const struct y *y, unsigned want, const struct uw_linear_part *part,
		  uint64_t first, uint64_t from, uint64_t to)
{
	uint64_t rows = part->row_end != 0 ? part->row_end : wants[want].dims[wants[want].ndims - 2];
	uint64_t cols = part->col_end != 0 ? part->col_end : wants[want].dims[wants[want].ndims - 1];

	for (uint64_t n = from; n < to; n++) {
		for (uint64_t r = part->row_begin; r < rows; r++) {
			double sum = 0, amount = 0;
			float got;

			for (uint64_t c = part->col_begin; c < cols; c++) {
				double p = (double)weight_at(want, part->expert, r, c) *
					   (double)float_of(x_at(n, c - part->col_begin));

				sum += p;
				amount += fabs(p);
			}
			memcpy(&got, host + 4 * (n * (y->nrows + GAP) + first + r - part->row_begin), 4);
			if (!isfinite(sum) || amount > 3e38)
				continue;
			assert_true(fabs((double)got - sum) <=
				    1.01 * (double)(cols + 1) * ldexp(1, -24) * amount + 1e-40);
		}
		for (unsigned i = 0; i < 4 * GAP; i++)
			assert_int_equal(host[4 * (n * (y->nrows + GAP) + y->nrows) + i], 0xA5);
	}
}

/* ---- same bits ---- */

static void check_pipelines(unsigned want, unsigned profile, uint64_t batch, bool invariant)
{
	struct uw_linear_part part = part_of(profile, want);
	struct uw_cuda_linear_options options = { .require_bitexact = true, .batch_invariant = invariant };
	struct y y;
	uint8_t *raw;

	options.pipeline = UW_PIPELINE_RAW;
	raw = product(profile, &part, 1, options, batch, UW_DTYPE_F32, &y);
	check(raw, &y, want, &part, 0, 0, batch);
	for (unsigned p = UW_PIPELINE_AUTO; p < UW_NPIPELINES; p++) {
		uint8_t *other;

		options.pipeline = (enum uw_pipeline)p;
		other = product(profile, &part, 1, options, batch, UW_DTYPE_F32, &y);
		assert_memory_equal(other, raw, y.nbytes);
		free(other);
	}
	free(raw);
}

static void test_same_bits(void **state)
{
	static const uint32_t capabilities[] = { 90, 80 };

	for (unsigned c = 0; c < COUNT(capabilities); c++) {
		open_cuda(capabilities[c], true);
		for (unsigned want = WIDE; want <= SCALED; want++) {
			for (unsigned profile = 0; profile < 2; profile++)
				check_pipelines(want, profile, 3, false);
		}
		check_pipelines(WIDE, 0, 20, false);
		check_pipelines(WIDE, 1, 1, true);
		close_cuda();
	}
	assert_int_equal(emu_device.ndense, 0);
}

/* RAW and DECODE through "cuBLASLt": the same bits, both types. */
static void test_dense(void **state)
{
	open_cuda(90, true);
	for (unsigned want = WIDE; want <= SCALED; want++) {
		for (uint8_t i = 0; i < 2; i++) {
			struct uw_linear_part part = part_of(want % 2, want);
			uint8_t dtype = i == 0 ? UW_DTYPE_F32 : UW_DTYPE_BF16, *raw, *decoded;
			struct y y;

			if (want == RAGGED) /* rows that do not begin at multiples of 16 bytes */
				continue;
			raw = product(want % 2, &part, 1, (struct uw_cuda_linear_options){ .pipeline = UW_PIPELINE_RAW },
				      2, dtype, &y);
			assert_true(emu_device.ndense != 0);
			if (dtype == UW_DTYPE_F32)
				check(raw, &y, want, &part, 0, 0, 2);
			emu_device.ndense = 0;
			decoded = product(want % 2, &part, 1,
					  (struct uw_cuda_linear_options){ .pipeline = UW_PIPELINE_DECODE }, 2, dtype,
					  &y);
			assert_true(emu_device.ndense != 0);
			assert_memory_equal(raw, decoded, y.nbytes);
			free(raw);
			free(decoded);
		}
	}
	close_cuda();
	open_cuda(90, false); /* without it, kernels of the library */
	for (unsigned p = UW_PIPELINE_RAW; p <= UW_PIPELINE_DECODE; p++) {
		struct uw_linear_part part = part_of(0, WIDE);
		struct y y;
		uint8_t *raw = product(0, &part, 1, (struct uw_cuda_linear_options){ .pipeline = (enum uw_pipeline)p },
				       2, UW_DTYPE_F32, &y);

		assert_int_equal(emu_device.ndense, 0);
		check(raw, &y, WIDE, &part, 0, 0, 2);
		free(raw);
	}
	close_cuda();
}

/* cuBLASLt is asked for an algorithm once for each part and question; the device checks that it is the right one. */
static void test_dense_choices(void **state)
{
	static const struct {
		uint64_t batch;
		unsigned shift; /* of y, in values */
		unsigned asked;
	} runs[] = {
		{ 5, 0, 2 }, { 5, 0, 0 }, { 1, 0, 2 }, { 5, 0, 0 },          /* another bucket */
		{ 7, 0, 2 }, { 7, 0, 0 }, { 5, 0, 2 },                       /* the same bucket */
		{ 5, 1, 2 }, { 5, 1, 0 }, { 5, 64, 2 }, { 1, 0, 0 },         /* alignment */
	};

	for (unsigned p = UW_PIPELINE_RAW; p <= UW_PIPELINE_DECODE; p++) {
		struct uw_linear_part parts[2] = { part_of(0, TALL), part_of(0, SCALED) };
		struct uw_cuda_linear *linear;
		struct uw_cuda_workspace *w;
		struct x x;
		void *y;

		open_cuda(90, true);
		linear = create(0, parts, 2, (struct uw_cuda_linear_options){ .pipeline = (enum uw_pipeline)p });
		w = workspace_of((const struct uw_cuda_linear *[]){ linear }, 1, 8);
		x = make_x(8, 192);
		assert_int_equal(uw_cuda_alloc(cuda, 8 * 640 * 4, &y, NULL), UW_OK);
		for (unsigned i = 0; i < COUNT(runs); i++) {
			struct uw_cuda_linear_args args = { x.dev, x.ld, runs[i].batch, (float *)y + runs[i].shift,
							    UW_DTYPE_F32, 512 };

			emu_device.nchosen = emu_device.ndense = 0;
			assert_int_equal(uw_cuda_linear_run(linear, w, &args, NULL, NULL), UW_OK);
			assert_int_equal(emu_device.nchosen, runs[i].asked);
			assert_int_equal(emu_device.ndense, 2);
		}
		assert_int_equal(uw_cuda_sync(cuda, NULL, NULL), UW_OK);
		uw_cuda_free(cuda, y, 8 * 640 * 4);
		free_x(&x);
		uw_cuda_workspace_free(&w);
		uw_cuda_linear_free(&linear);
		close_cuda();
	}
}

static void test_batch_invariance(void **state)
{
	struct uw_linear_part part = part_of(1, WIDE);
	struct uw_cuda_linear_options options = { .batch_invariant = true };
	struct y y, small;
	uint8_t *all;

	open_cuda(90, true);
	all = product(1, &part, 1, options, 70, UW_DTYPE_F32, &y);
	for (uint64_t batch = 1; batch < 64; batch = 3 * batch + 1) {
		uint8_t *some = product(1, &part, 1, options, batch, UW_DTYPE_F32, &small);

		assert_memory_equal(all, some, small.nbytes);
		free(some);
	}
	free(all);
	close_cuda();
}

/* ---- several parts, cuts, experts, rows ---- */

static void test_parts(void **state)
{
	static const unsigned which[] = { TALL, RANDOM, SCALED, TALL, SCALED };

	open_cuda(90, true);
	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		struct uw_linear_part parts[COUNT(which)];
		struct y y;
		uint64_t first = 0;
		uint8_t *host;

		for (unsigned i = 0; i < COUNT(which); i++)
			parts[i] = part_of(p % 2, which[i]);
		host = product(p % 2, parts, COUNT(which),
			       (struct uw_cuda_linear_options){ .pipeline = (enum uw_pipeline)p }, 2, UW_DTYPE_F32, &y);
		for (unsigned i = 0; i < COUNT(which); i++) {
			check(host, &y, which[i], &parts[i], first, 0, 2);
			first += wants[which[i]].dims[0];
		}
		free(host);
	}
	close_cuda();
}

static void test_cuts(void **state)
{
	static const uint64_t cuts[][4] = { { 0, 64, 0, 0 }, { 5, 131, 0, 0 }, { 0, 0, 64, 192 }, { 64, 128, 3, 130 } };

	open_cuda(90, true);
	for (unsigned i = 0; i < 2 * COUNT(cuts); i++) {
		struct uw_linear_part part = part_of(i % 2, WIDE);
		const uint64_t *cut = cuts[i / 2];
		struct y y;
		uint8_t *host;

		part.row_begin = cut[0];
		part.row_end = cut[1];
		part.col_begin = cut[2];
		part.col_end = cut[3];
		host = product(i % 2, &part, 1, (struct uw_cuda_linear_options){ .pipeline = UW_PIPELINE_PALETTE }, 2,
			       UW_DTYPE_F32, &y);
		check(host, &y, WIDE, &part, 0, 0, 2);
		free(host);
	}
	close_cuda();
}

/* Cuts of several groups of 64 rows, one of which stays as it is: all pipelines, the same bits. */
static void test_groups(void **state)
{
	open_cuda(90, true);
	cuda->cut_weights = 64 * 192;
	for (unsigned profile = 0; profile < 2; profile++) {
		struct uw_linear_part parts[2] = { part_of(profile, MIXED), part_of(profile, TALL) };
		uint8_t *raw = NULL;

		parts[0].row_end = 240;
		parts[1].row_begin = 5;
		for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
			struct uw_cuda_linear_options options = { .pipeline = (enum uw_pipeline)p,
								  .require_bitexact = true };
			struct y y;
			uint8_t *host = product(profile, parts, 2, options, 2, UW_DTYPE_F32, &y);

			check(host, &y, MIXED, &parts[0], 0, 0, 2);
			check(host, &y, TALL, &parts[1], 240, 0, 2);
			if (raw == NULL) {
				raw = host;
				continue;
			}
			assert_memory_equal(raw, host, y.nbytes);
			free(host);
		}
		free(raw);
	}
	close_cuda();
}

static void test_experts(void **state)
{
	static const uint32_t offsets[] = { 0, 3, 3, 4, 9 };
	uint8_t *raw = NULL;

	open_cuda(90, true);
	for (unsigned p = UW_PIPELINE_RAW; p < UW_NPIPELINES; p++) {
		struct uw_cuda_linear_options options = { .pipeline = (enum uw_pipeline)p, .require_bitexact = true,
							  .experts = true };
		struct uw_linear_part parts[4];
		struct uw_cuda_linear *linear;
		struct uw_cuda_workspace *w;
		struct x x;
		struct y y;
		uint8_t *host;

		for (unsigned e = 0; e < 4; e++) {
			parts[e] = part_of(p % 2, EXPERTS);
			parts[e].expert = e;
		}
		linear = create(p % 2, parts, 4, options);
		w = workspace_of((const struct uw_cuda_linear *[]){ linear }, 1, 9);
		x = make_x(9, 256);
		assert_int_equal(uw_cuda_linear_run(linear, w, &(struct uw_cuda_linear_args){ 0 }, NULL, NULL),
				 UW_ERR_ARG);
		y = begin_y(linear, w, &x, 9, UW_DTYPE_F32, offsets, NULL);
		host = end_y(&y, NULL);
		for (unsigned e = 0; e < 4; e++)
			check(host, &y, EXPERTS, &parts[e], 0, offsets[e], offsets[e + 1]);
		if (raw == NULL) {
			raw = host;
		} else {
			assert_memory_equal(raw, host, y.nbytes);
			free(host);
		}
		free_x(&x);
		uw_cuda_workspace_free(&w);
		uw_cuda_linear_free(&linear);
	}
	free(raw);
	close_cuda();
}

static void check_gather(unsigned want, unsigned profile, enum uw_pipeline pipeline)
{
	static const uint32_t rows[] = { 1, 0, 69, 1000, 33 };
	struct uw_linear_part part = part_of(profile, want);
	struct uw_cuda_linear *linear =
		create(profile, &part, 1, (struct uw_cuda_linear_options){ .pipeline = pipeline });
	uint64_t ncols = uw_cuda_linear_ncols(linear), nbytes = COUNT(rows) * ncols * 2;
	uint16_t *host = malloc(nbytes);
	void *dev, *rows_dev;

	assert_int_equal(uw_cuda_alloc(cuda, nbytes, &dev, NULL), UW_OK);
	assert_int_equal(uw_cuda_alloc(cuda, sizeof(rows), &rows_dev, NULL), UW_OK);
	assert_int_equal(uw_cuda_copy_in(cuda, rows_dev, rows, sizeof(rows), NULL, NULL), UW_OK);
	assert_int_equal(uw_cuda_gather(linear, rows_dev, COUNT(rows), dev, ncols, NULL, NULL), UW_OK);
	assert_int_equal(uw_cuda_copy_out(cuda, host, dev, nbytes, NULL, NULL), UW_OK);
	for (unsigned i = 0; i < COUNT(rows); i++) {
		for (uint64_t c = 0; c < ncols; c++) {
			uint16_t word = 0;

			if (rows[i] < uw_cuda_linear_nrows(linear))
				memcpy(&word, source.bytes + source.off[want] + 2 * (rows[i] * ncols + c), 2);
			assert_int_equal(host[i * ncols + c], word);
		}
	}
	assert_int_equal(uw_cuda_gather(linear, rows_dev, 1, dev, ncols - 1, NULL, NULL), UW_ERR_ARG);
	free(host);
	uw_cuda_free(cuda, dev, nbytes);
	uw_cuda_free(cuda, rows_dev, sizeof(rows));
	uw_cuda_linear_free(&linear);
}

static void test_gather(void **state)
{
	open_cuda(90, true);
	for (unsigned want = WIDE; want <= SCALED; want++) {
		check_gather(want, want % 2, UW_PIPELINE_RAW);
		check_gather(want, 0, UW_PIPELINE_TRANSCODE);
		check_gather(want, 1, UW_PIPELINE_PALETTE);
	}
	close_cuda();
}

/* ---- decoding ahead ---- */

enum { NLAYERS = 4 };

/* Runs layers one after the other on a stream, each decoded while the one before is multiplied; true: all bits right. */
static bool run_ahead(const struct uw_cuda_linear *const *linears, struct uw_cuda_workspace *w, const struct x *x,
		      uint8_t *const *want)
{
	struct CUstream_st *stream;
	struct y y[NLAYERS];
	bool same = true;

	assert_int_equal(emu_device_ops()->stream_new(&stream), UW_OK);
	assert_int_equal(uw_cuda_linear_ahead(linears[0], w, 2, stream, NULL), UW_OK);
	for (unsigned i = 0; i < NLAYERS; i++) {
		if (i + 1 < NLAYERS)
			assert_int_equal(uw_cuda_linear_ahead(linears[i + 1], w, 2, stream, NULL), UW_OK);
		y[i] = begin_y(linears[i], w, x, 2, UW_DTYPE_F32, NULL, stream);
	}
	assert_int_equal(uw_cuda_workspace_reset(w, stream, NULL), UW_OK);
	for (unsigned i = 0; i < NLAYERS; i++) {
		uint8_t *host = end_y(&y[i], stream);

		same = same && memcmp(host, want[i], y[i].nbytes) == 0;
		free(host);
	}
	emu_device_ops()->stream_free(stream);
	return same;
}

static void test_ahead(void **state)
{
	static const unsigned layers[NLAYERS] = { TALL, SCALED, TALL, RANDOM };

	for (unsigned p = UW_PIPELINE_DECODE; p <= UW_PIPELINE_EXPONENT; p++) {
		struct uw_cuda_linear *linears[NLAYERS];
		struct uw_cuda_workspace *w;
		uint8_t *want[NLAYERS];
		struct x x;
		unsigned wrong = 0;

		open_cuda(90, true);
		for (unsigned i = 0; i < NLAYERS; i++) {
			struct uw_linear_part parts[2] = { part_of(0, layers[i]), part_of(0, SCALED) };
			struct uw_cuda_linear_options options = { .pipeline = (enum uw_pipeline)p };
			struct y y;

			linears[i] = create(0, parts, 2, options);
			want[i] = product(0, parts, 2, options, 2, UW_DTYPE_F32, &y);
		}
		w = workspace_of((const struct uw_cuda_linear *const *)linears, NLAYERS, 2);
		x = make_x(2, 192);
		for (unsigned round = 0; round < 6; round++)
			assert_true(run_ahead((const struct uw_cuda_linear *const *)linears, w, &x, want));
		emu_device.skip_waits = true;
		for (unsigned round = 0; round < 6; round++)
			wrong += !run_ahead((const struct uw_cuda_linear *const *)linears, w, &x, want);
		assert_true(wrong != 0); /* it does matter */
		emu_device.skip_waits = false;
		free_x(&x);
		uw_cuda_workspace_free(&w);
		for (unsigned i = 0; i < NLAYERS; i++) {
			uw_cuda_linear_free(&linears[i]);
			free(want[i]);
		}
		close_cuda();
	}
}

/* ---- failures ---- */

static void test_no_device(void **state)
{
	struct uw_cuda *none = NULL;

	emu_device_reset(1);
	assert_int_equal(uw_cuda_open_ops(emu_device_ops(), 1, NULL, &none, NULL), UW_ERR_NO_DEVICE);
	emu_device.capability = 75;
	assert_int_equal(uw_cuda_open_ops(emu_device_ops(), 0, NULL, &none, NULL), UW_ERR_NO_DEVICE);
	/* The real one: no driver, no device or no CUDA in the build where this is tested; a device also is fine. */
	if (uw_cuda_open(0, NULL, &none, NULL) == UW_OK)
		uw_cuda_close(&none);
	else
		assert_int_equal(uw_cuda_open(0, NULL, &none, NULL), UW_ERR_NO_DEVICE);
	assert_null(none);
}

/* Memory runs out at any allocation: an error, and all of it comes back. */
static void test_no_memory(void **state)
{
	struct uw_linear_part parts[2] = { part_of(0, TALL), part_of(0, RANDOM) };
	bool done = false;

	for (int64_t budget = 0; !done; budget++) {
		struct uw_cuda_linear_options options = { .pipeline = UW_PIPELINE_DECODE };
		struct uw_cuda_linear *linear = NULL;
		struct uw_cuda_workspace *w = NULL;
		struct uw_error err;
		enum uw_status status;

		open_cuda(90, true);
		emu_device.alloc_budget = budget;
		status = uw_cuda_linear_create(cuda, models[0], parts, 2, &options, &linear, &err);
		if (status == UW_OK)
			status = uw_cuda_workspace_create(cuda, (const struct uw_cuda_linear *[]){ linear }, 1, 8, &w,
							  &err);
		done = status == UW_OK;
		assert_true(done || status == UW_ERR_NOMEM);
		uw_cuda_workspace_free(&w);
		uw_cuda_linear_free(&linear);
		close_cuda();
	}
}

/* A flipped bit in Huffman streams is found when they become resident, in every pipeline that reads them. */
static void test_corrupt_stream(void **state)
{
	const struct uw_tensor *wide = uw_model_find(models[0], "wide");
	const struct uw_extent *extent;
	const struct uw_model_part *file = uw_tensor_part(models[0], wide, &extent);
	const struct uw_group *group = &file->container.index->groups[extent->first_group];
	/* streams end where the S plane begins, which is at the end */
	uint64_t end = group->off + group->nbytes - 144 * 320;
	struct packed bad = { NULL, packed[0].nbytes };
	unsigned found = 0;

	open_cuda(90, true);
	assert_int_equal(posix_memalign((void **)&bad.bytes, 64, bad.nbytes), 0);
	for (unsigned i = 0; i < 40; i++) {
		static const enum uw_pipeline pipelines[] = { UW_PIPELINE_DECODE, UW_PIPELINE_EXPONENT,
							      UW_PIPELINE_TRANSCODE };
		struct uw_cuda_linear_options options = { .pipeline = pipelines[i % 3] };
		struct uw_linear_part part;
		struct uw_cuda_linear *linear = NULL;
		struct uw_model *model;
		enum uw_status status;

		memcpy(bad.bytes, packed[0].bytes, bad.nbytes);
		bad.bytes[end - 1 - rng() % 8192] ^= (uint8_t)(1u << rng() % 8);
		model = open_packed(&bad, NULL);
		part = (struct uw_linear_part){ .tensor = uw_model_find(model, "wide") };
		status = uw_cuda_linear_create(cuda, model, &part, 1, &options, &linear, NULL);
		found += status == UW_ERR_BITS;
		assert_true(status == UW_OK || status == UW_ERR_BITS || status == UW_ERR_LAYOUT ||
			    status == UW_ERR_TABLE || status == UW_ERR_PATCH);
		uw_cuda_linear_free(&linear);
		uw_model_close(&model);
	}
	assert_true(found != 0);
	free(bad.bytes);
	close_cuda();
}

static void test_arguments(void **state)
{
	struct uw_linear_part parts[2] = { part_of(0, WIDE), part_of(0, TALL) };
	struct uw_cuda_linear *linear = NULL, *other;
	struct uw_cuda_workspace *w = NULL;
	struct x x;

	open_cuda(90, true);
	assert_int_equal(uw_cuda_linear_create(cuda, models[0], parts, 0, NULL, &linear, NULL), UW_ERR_ARG);
	assert_int_equal(uw_cuda_linear_create(cuda, models[0], parts, 2, NULL, &linear, NULL), UW_ERR_SHAPE);
	parts[1].tensor = uw_model_find(models[0], "vector");
	assert_int_equal(uw_cuda_linear_create(cuda, models[0], &parts[1], 1, NULL, &linear, NULL), UW_ERR_UNSUPPORTED);
	parts[1] = (struct uw_linear_part){ .tensor = parts[0].tensor, .row_begin = 5, .row_end = 5 };
	assert_int_equal(uw_cuda_linear_create(cuda, models[0], &parts[1], 1, NULL, &linear, NULL), UW_ERR_SHAPE);
	parts[1] = (struct uw_linear_part){ .tensor = parts[0].tensor, .expert = 1 };
	assert_int_equal(uw_cuda_linear_create(cuda, models[0], &parts[1], 1, NULL, &linear, NULL), UW_ERR_SHAPE);
	linear = create(0, parts, 1, (struct uw_cuda_linear_options){ 0 });
	other = create(0, parts, 1, (struct uw_cuda_linear_options){ 0 });
	assert_int_equal(uw_cuda_workspace_create(cuda, (const struct uw_cuda_linear *[]){ linear }, 1, 4097, &w, NULL),
			 UW_ERR_ARG);
	w = workspace_of((const struct uw_cuda_linear *[]){ linear }, 1, 4);
	x = make_x(4, 320);
	for (unsigned i = 0; i < 9; i++) {
		struct uw_cuda_linear_args args = { x.dev, x.ld, 4, x.dev, UW_DTYPE_F32, 136 };

		args.batch = i == 0 ? 5 : i == 1 ? 0 : 4;
		args.x_dev = i == 2 ? NULL : i == 3 ? x.dev + 1 : x.dev;
		args.ldx = i == 4 ? 316 : i == 5 ? 312 : x.ld;
		args.y_dev = i == 6 ? (uint8_t *)x.dev + 2 : (uint8_t *)x.dev;
		args.ldy = i == 7 ? 135 : 136;
		args.y_dtype = i == 8 ? UW_DTYPE_F64 : UW_DTYPE_F32;
		assert_int_equal(uw_cuda_linear_run(linear, w, &args, NULL, NULL), UW_ERR_ARG);
	}
	assert_int_equal(uw_cuda_linear_run(other, w, &(struct uw_cuda_linear_args){ x.dev, x.ld, 4, x.dev, UW_DTYPE_F32,
										     136 }, NULL, NULL), UW_ERR_ARG);
	assert_int_equal(uw_cuda_linear_ahead(other, w, 1, NULL, NULL), UW_ERR_ARG);
	free_x(&x);
	uw_cuda_workspace_free(&w);
	uw_cuda_linear_free(&linear);
	uw_cuda_linear_free(&other);
	close_cuda();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_codings),		cmocka_unit_test(test_same_bits),
		cmocka_unit_test(test_dense),		cmocka_unit_test(test_dense_choices),
		cmocka_unit_test(test_groups),
		cmocka_unit_test(test_batch_invariance), cmocka_unit_test(test_parts),
		cmocka_unit_test(test_cuts),		cmocka_unit_test(test_experts),
		cmocka_unit_test(test_gather),		cmocka_unit_test(test_ahead),
		cmocka_unit_test(test_no_device),	cmocka_unit_test(test_no_memory),
		cmocka_unit_test(test_corrupt_stream),	cmocka_unit_test(test_arguments),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
