/* SPDX-License-Identifier: Apache-2.0 */
/* What the drivers for a device have in common: failing, and groups of random weights made on the host. */
#ifndef UW_BENCH_COMMON_H
#define UW_BENCH_COMMON_H

#include <cuda_runtime_api.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <vector>

#include "unweight/cpu_ops.h"

#define NO_DEVICE 77 /* exit status */
#define TIMEOUT 3    /* the same */

static struct uw_cpu_ops ops;
static unsigned nwrong;

static void need(bool good, const char *what)
{
	if (!good) {
		fprintf(stderr, "%s\n", what);
		exit(1);
	}
}

static void cuda(cudaError_t error, const char *what)
{
	if (error != cudaSuccess) {
		fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
		exit(1);
	}
}

static void check(bool good, const char *what, const char *which)
{
	if (!good) {
		printf("WRONG: %s: %s\n", what, which);
		nwrong++;
	}
}

/* ---- steps that may hang: the program ends then, and says which one it was ---- */

static char step_name[160];

static void give_up(int)
{
	static const char said[] = "TIMEOUT: ";

	if (write(1, said, sizeof(said) - 1) < 0 || write(1, step_name, strlen(step_name)) < 0 || write(1, "\n", 1) < 0)
		_exit(1);
	_exit(TIMEOUT);
}

/* The step before has ended. UW_BENCH_PATIENCE: times as long, for tools that make everything slow. */
static void begin_step(unsigned seconds, const char *what)
{
	const char *patience = getenv("UW_BENCH_PATIENCE");

	alarm(0);
	if (step_name[0] == '\0')
		(void)setvbuf(stdout, NULL, _IOLBF, 0); /* what was said before is not lost */
	snprintf(step_name, sizeof(step_name), "%s", what);
	(void)signal(SIGALRM, give_up);
	alarm(patience != NULL ? seconds * (unsigned)strtoul(patience, NULL, 10) : seconds);
}

/* ---- tables: each line is written when it is known ---- */

struct csv {
	FILE *file;

	/* name NULL: none. Appends to a file of the same columns. */
	csv(const char *name, const char *columns) : file(NULL)
	{
		if (name == NULL)
			return;
		file = fopen(name, "a");
		need(file != NULL, "cannot write the CSV file");
		if (ftell(file) == 0)
			fprintf(file, "%s\n", columns);
	}
	csv(const csv &) = delete;

	template <class... T> void line(const char *format, T... values)
	{
		if (file == NULL)
			return;
		fprintf(file, format, values...);
		need(fputc('\n', file) != EOF && fflush(file) == 0, "cannot write the CSV file");
	}
};

/* ---- weights and groups on the host ---- */

struct random {
	uint64_t state;

	uint32_t next(void)
	{
		state = state * 6364136223846793005u + 1442695040888963407u;
		return (uint32_t)(state >> 32);
	}

	uint16_t gaussian(void)
	{
		int32_t sum = -6 * 65536;
		uint32_t word;
		float value;

		for (unsigned n = 0; n < 12; n++)
			sum += (int32_t)(next() >> 16);
		value = (float)sum * (0.02f / 65536);
		memcpy(&word, &value, sizeof(word));
		return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
	}
};

struct group {
	struct uw_shape shape;
	std::vector<uint16_t> weights;
	uint32_t ntables, npatches;
	std::vector<uint8_t> stored[4]; /* by coding */
	struct uw_coded coded[4];
};

static void open_group(struct group *g, enum uw_coding coding)
{
	need(uw_coded_open(&g->shape, coding, g->ntables, g->npatches, g->stored[coding].data(),
			   g->stored[coding].size(), &g->coded[coding], NULL) == UW_OK, "uw_coded_open");
}

static void encode_group(struct group *g)
{
	struct uw_plan *plan = (struct uw_plan *)malloc(sizeof(*plan));
	void *scratch = NULL;

	need(plan != NULL && posix_memalign(&scratch, 64, uw_codec_scratch_nbytes(&g->shape)) == 0, "memory");
	need(uw_codec_plan(&ops, &g->shape, g->weights.data(), UW_CODING_H, scratch, plan) == UW_OK, "uw_codec_plan");
	g->ntables = plan->ntables;
	g->npatches = (uint32_t)plan->nescapes;
	for (enum uw_coding coding : { UW_CODING_H, UW_CODING_P4 }) {
		std::vector<uint8_t> &stored = g->stored[coding];

		stored.resize((size_t)uw_codec_encoded_nbytes(&g->shape, plan, coding));
		need(uw_codec_encode(&ops, &g->shape, plan, coding, scratch, stored.data(), stored.size()) == UW_OK,
		     "uw_codec_encode");
		open_group(g, coding);
	}
	free(scratch);
	free(plan);
}

static struct group make_group(enum uw_order order, uint64_t nrows, uint64_t ncols, unsigned one_odd_in, uint64_t seed)
{
	struct group g;
	struct random r = { seed };

	need((order == UW_ORDER_TILED ? uw_shape_tiled(nrows, ncols, &g.shape)
				      : uw_shape_linear(nrows * ncols, &g.shape)) == UW_OK, "shape");
	g.weights.resize((size_t)g.shape.nweights);
	for (uint16_t &w : g.weights)
		w = one_odd_in != 0 && r.next() % one_odd_in == 0 ? (uint16_t)r.next() : r.gaussian();
	encode_group(&g);
	return g;
}
#endif
