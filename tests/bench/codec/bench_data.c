/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench_codec.h"
#include "gaussian.h"

#define NCOLS 14336u

void bench_die(const char *what)
{
	fprintf(stderr, "bench_codec: %s\n", what);
	exit(1);
}

void *bench_need(size_t nbytes)
{
	void *p = NULL;

	if (posix_memalign(&p, 1u << 21, nbytes) != 0) /* huge pages, if they come by themselves */
		bench_die("out of memory");
	memset(p, 0, nbytes);
	return p;
}

static float value(uint16_t weight)
{
	uint32_t word = (uint32_t)weight << 16;
	float v;

	memcpy(&v, &word, sizeof(v));
	return v;
}

static uint16_t bf16(float v)
{
	uint32_t word;

	memcpy(&word, &v, sizeof(word));
	return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

/* Each row has a sigma of its own, log-normal about 0.02; one weight in ten thousand is an outlier. */
static void fill_rowscaled(uint16_t *weights, uint64_t nrows)
{
	uint16_t *z = bench_need((size_t)nrows * sizeof(*z));
	uint32_t state = 1;

	uw_gaussian_fill(z, (size_t)nrows, 1, 7);
	for (uint64_t r = 0; r < nrows; r++) {
		uint16_t *row = weights + r * NCOLS;

		uw_gaussian_fill(row, NCOLS, 0.02f * expf(0.35f * value(z[r])), 1000 + r);
		for (uint32_t c = 0; c < NCOLS; c++) {
			state = state * 1664525 + 1013904223;
			if (state >> 8 < (1u << 24) / 10000)
				row[c] = bf16(30 * value(row[c]));
		}
	}
	free(z);
}

static void make_file(const char *path, struct bench_data *data)
{
	FILE *f = fopen(path, "rb");
	uint64_t n, dims[2];

	if (f == NULL || fread(&n, sizeof(n), 1, f) != 1 || n == 0 || n > 1u << 20)
		bench_die("cannot read the file of matrices");
	data->nmatrices = (unsigned)n;
	data->matrices = bench_need(n * sizeof(*data->matrices));
	for (unsigned i = 0; i < n; i++) {
		if (fread(dims, sizeof(dims), 1, f) != 1)
			bench_die("the file of matrices is short");
		data->matrices[i] = (struct bench_matrix){ dims[0], dims[1], data->nweights };
		data->nweights += (size_t)(dims[0] * dims[1]);
	}
	data->weights = bench_need(data->nweights * sizeof(*data->weights));
	if (fread(data->weights, sizeof(*data->weights), data->nweights, f) != data->nweights)
		bench_die("the file of matrices is short");
	fclose(f);
	data->name = "sample";
}

void bench_data_make(const char *name, size_t nweights, struct bench_data *data)
{
	bool rowscaled = strcmp(name, "rowscaled") == 0;
	uint64_t nrows = nweights / NCOLS;

	*data = (struct bench_data){ .name = name };
	if (!rowscaled && strcmp(name, "gaussian") != 0) {
		make_file(name, data);
	} else {
		data->nmatrices = 1;
		data->matrices = bench_need(sizeof(*data->matrices));
		data->matrices[0] = (struct bench_matrix){ nrows, NCOLS, 0 };
		data->nweights = (size_t)nrows * NCOLS;
		data->weights = bench_need(data->nweights * sizeof(*data->weights));
		if (rowscaled)
			fill_rowscaled(data->weights, nrows);
		else
			uw_gaussian_fill(data->weights, data->nweights, 0.02f, 1);
	}
	data->back = bench_need(data->nweights * sizeof(*data->back));
}

void bench_data_free(struct bench_data *data)
{
	free(data->matrices);
	free(data->weights);
	free(data->back);
}

double bench_data_entropy(const struct bench_data *data)
{
	uint64_t counts[256] = { 0 };
	double nbits = 0;

	for (size_t i = 0; i < data->nweights; i++)
		counts[data->weights[i] >> 7 & 255]++;
	for (unsigned e = 0; e < 256; e++) {
		double p = (double)counts[e] / (double)data->nweights;

		nbits -= counts[e] != 0 ? p * log2(p) : 0;
	}
	return 8 + nbits;
}
