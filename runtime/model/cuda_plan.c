/* SPDX-License-Identifier: Apache-2.0 */
#include "cuda_plan.h"

#include "pipelines.h"
#include "unweight/tuning.h"

/* ---- which pipelines there are for a matrix ---- */

bool uw_cuda_fits(enum uw_pipeline pipeline, const struct uw_cuda_key *key)
{
	switch (pipeline) {
	case UW_PIPELINE_RAW:
		return true;
	case UW_PIPELINE_DECODE: /* rows have to begin at multiples of 16 bytes; cuBLASLt wants counts on the host */
		return key->coding != UW_CODING_RAW && key->ncols % 8 == 0 && !key->experts;
	case UW_PIPELINE_EXPONENT:
		return key->coding == UW_CODING_H && !key->experts;
	case UW_PIPELINE_TRANSCODE:
		return key->coding == UW_CODING_H;
	case UW_PIPELINE_PALETTE:
		return key->coding == UW_CODING_P4;
	default:
		return false;
	}
}

enum uw_pipeline uw_cuda_serving(enum uw_pipeline wanted, const struct uw_cuda_key *key)
{
	if (uw_cuda_fits(wanted, key))
		return wanted;
	if (key->coding == UW_CODING_RAW)
		return UW_PIPELINE_RAW;
	return key->coding == UW_CODING_H ? UW_PIPELINE_TRANSCODE : UW_PIPELINE_PALETTE;
}

bool uw_cuda_is_dense(const struct uw_cuda_linear_options *options, bool has_cublas, enum uw_pipeline pipeline)
{
	bool own = options->require_bitexact || options->batch_invariant || options->experts;

	return has_cublas && !own && (pipeline == UW_PIPELINE_RAW || pipeline == UW_PIPELINE_DECODE);
}

/* ---- the model of time ---- */

#define STREAMING 0.9       /* of a memory's bandwidth that is reached */
#define DENSE_MATH 0.74     /* of what matrix units could do at the highest clock: cuBLASLt */
#define OWN_MATH 0.67       /* kernels of this library, wgmma */
#define OWN_MMA_MATH 0.5    /* mma.sync */
#define START_NS 2000.0
#define STREAM_WEIGHTS 6.0  /* Huffman-decoded by a multiprocessor in a clock */
#define HIDDEN 0.5          /* of decoding ahead, while memory idles; it takes multiprocessors from the product */
#define STREAM_NBYTES 0.36  /* of a weight's exponent */
#define MIN_TILE 8u

static double math_per_clock(uint32_t capability)
{
	if (capability >= 100)
		return 8192;
	if (capability >= 90)
		return 4096;
	return capability == 80 ? 2048 : 1024;
}

static double bytes_ns(const struct uw_gpu_facts *facts, double nbytes)
{
	return nbytes / (STREAMING * (double)facts->bandwidth * 1e-9);
}

static double clocks_per_ns(const struct uw_gpu_facts *facts)
{
	return (double)facts->clock_mhz * 1e-3 * facts->device.nsms;
}

/* Time of the matrix units, `share` of which are used. */
static double math_ns(const struct uw_gpu_facts *facts, double weights, uint64_t batch, double share)
{
	double n = (double)(batch < MIN_TILE ? MIN_TILE : batch);

	return 2 * weights * n / (share * math_per_clock(facts->device.capability) * clocks_per_ns(facts));
}

static double larger(double a, double b)
{
	return a > b ? a : b;
}

/* A product whose weights are `each` bytes in memory. */
static double product_ns(const struct uw_gpu_facts *facts, const struct uw_cuda_key *key, uint64_t batch, double each,
			 double share, double *idle)
{
	double weights = (double)key->nrows * (double)key->ncols;
	double xy = (double)batch * 2 * (double)(key->nrows + key->ncols);
	double memory = bytes_ns(facts, each * weights + xy), math = math_ns(facts, weights, batch, share);

	*idle = math > memory ? math - memory : 0;
	return larger(memory, math) + START_NS;
}

/* Decoding of `weights` in each run: `in` bytes are read, `out` written, for each. */
static double decode_ns(const struct uw_gpu_facts *facts, double weights, bool streams, double in, double out)
{
	double memory = bytes_ns(facts, weights * (in + out));
	double math = streams ? weights / (STREAM_WEIGHTS * clocks_per_ns(facts)) : 0;

	return larger(memory, math) + START_NS;
}

/* What decoding ahead adds to a product that leaves memory idle for so long. */
static double added_ns(double decode, double idle)
{
	return decode - (HIDDEN * decode < idle ? HIDDEN * decode : idle);
}

uint64_t uw_cuda_predict_ns(const struct uw_gpu_facts *facts, const struct uw_cuda_key *key, enum uw_pipeline pipeline,
			    uint64_t batch)
{
	double own = facts->device.capability == 90 ? OWN_MATH : OWN_MMA_MATH, idle, ns, decode;
	double weights = (double)key->nrows * (double)key->ncols;
	bool streams = key->coding == UW_CODING_H;

	switch (pipeline) {
	case UW_PIPELINE_DECODE:
		ns = product_ns(facts, key, batch, 2, DENSE_MATH, &idle);
		decode = decode_ns(facts, weights, streams, streams ? 1 + STREAM_NBYTES : 1.5, 2);
		ns += added_ns(decode, idle);
		break;
	case UW_PIPELINE_EXPONENT:
		ns = product_ns(facts, key, batch, 2, own, &idle);
		decode = decode_ns(facts, weights, true, STREAM_NBYTES, 1);
		ns += added_ns(decode, idle);
		break;
	case UW_PIPELINE_TRANSCODE:
	case UW_PIPELINE_PALETTE:
		ns = product_ns(facts, key, batch, 1.5, own, &idle);
		break;
	default:
		ns = product_ns(facts, key, batch, 2, key->experts ? own : DENSE_MATH, &idle);
		break;
	}
	return (uint64_t)ns;
}

/* The fastest, among those that keep weights compressed. */
enum uw_pipeline uw_cuda_predict(const struct uw_gpu_facts *facts, const struct uw_cuda_key *key, uint64_t batch)
{
	enum uw_pipeline best = uw_cuda_serving(UW_PIPELINE_PALETTE, key);

	for (unsigned p = UW_PIPELINE_DECODE; p < UW_NPIPELINES; p++) {
		if (uw_cuda_fits((enum uw_pipeline)p, key) &&
		    uw_cuda_predict_ns(facts, key, (enum uw_pipeline)p, batch) <
			    uw_cuda_predict_ns(facts, key, best, batch))
			best = (enum uw_pipeline)p;
	}
	return best;
}

/* ---- how products are cut ---- */

#define LEAST_UNITS 16u /* of 64 columns, in a part of a sum */

/*
 * Cuts that depend on the launch as a whole would differ between pipelines, which launch differently. So each tile is
 * cut into as many parts as fill the device at a full bucket.
 */
static void fix_parts(const struct uw_cuda_key *key, uint64_t batch, struct uw_gpu_gemm_config *config)
{
	uint64_t kblocks = (key->ncols + UW_TILE_COLS - 1) / UW_TILE_COLS, across = (batch - 1) / config->tile_n + 1;
	uint64_t tiles = ((key->nrows - 1) / (2 * UW_BLOCK_TILE_ROWS * UW_TILE_ROWS) + 1) * across;
	uint64_t parts = (config->nblocks - 1) / tiles + 1, most = (kblocks - 1) / LEAST_UNITS + 1;

	config->parts = (uint32_t)(parts < most ? parts : most);
}

/* The caller's tuning, or else what ships; NULL: neither knows the matrix on this device. */
static const struct uw_tuning_entry *entry_of(const struct uw_gpu_facts *facts, const struct uw_tuning *shipped,
					      const struct uw_tuning *tuning, const struct uw_cuda_key *key,
					      uint64_t batch)
{
	const struct uw_tuning *tunings[] = { tuning, shipped };
	const struct uw_tuning_entry *entry = NULL;

	for (size_t i = 0; i < 2 && entry == NULL; i++) {
		if (tunings[i] != NULL)
			entry = uw_tuning_find_device(tunings[i], facts->name, (uint8_t)key->coding, key->nrows,
						      key->ncols, batch);
	}
	return entry;
}

static enum uw_status use_config(const struct uw_gpu_facts *facts, const struct uw_tuning_entry *entry,
				 struct uw_gpu_gemm_config *config)
{
	config->tile_n = entry->tile_n;
	config->blocks_per_sm = entry->blocks_per_sm;
	config->parts = entry->parts;
	config->nblocks = facts->device.nsms * entry->blocks_per_sm;
	return uw_gpu_gemm_config_check(&facts->device, config);
}

enum uw_status uw_cuda_choose(const struct uw_gpu_facts *facts, const struct uw_tuning *shipped,
			      const struct uw_cuda_linear_options *options, const struct uw_cuda_key *key,
			      unsigned bucket, struct uw_cuda_choice *choice)
{
	uint64_t batch = UINT64_C(1) << bucket, rows = batch;
	const struct uw_tuning_entry *entry = entry_of(facts, shipped, options->tuning, key, batch);
	bool fixed = options->require_bitexact || options->batch_invariant;
	enum uw_status status;

	if (key->experts) /* of each, if they are even */
		rows = (batch - 1) / key->nparts + 1;
	status = uw_gpu_gemm_config_init(&facts->device, key->nrows, key->ncols, rows, options->batch_invariant,
					 &choice->config);
	if (status != UW_OK)
		return status;
	if (options->require_bitexact && choice->config.parts == 0)
		fix_parts(key, batch, &choice->config);
	if (options->pipeline != UW_PIPELINE_AUTO)
		choice->pipeline = uw_cuda_serving(options->pipeline, key);
	else if (entry != NULL)
		choice->pipeline = uw_cuda_serving((enum uw_pipeline)entry->pipeline, key);
	else
		choice->pipeline = uw_cuda_predict(facts, key, batch);
	/* a config was found with a pipeline: it is not for others */
	if (!fixed && !key->experts && entry != NULL && entry->tile_n != 0 &&
	    choice->pipeline == (enum uw_pipeline)entry->pipeline)
		status = use_config(facts, entry, &choice->config);
	return status;
}
