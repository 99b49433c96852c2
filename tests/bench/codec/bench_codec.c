/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread, DRAM to DRAM. Methods take turns; each measurement is paired with a memcpy of the same weights just
 * before it and counts only if nothing disturbed either of them. A method that was disturbed each time is given by CPU
 * times, with 0 samples. Medians; the ratio to memcpy is what compares between runs. CSV on stdout, for bench_codec.py.
 */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unweight/stopwatch.h"
#include "bench_codec.h"

#define MAX_METHODS 16u
#define MAX_SAMPLES 64u

struct series {
	double gbs[MAX_SAMPLES], ratio[MAX_SAMPLES];
	unsigned n;
	bool good;
};

struct settings {
	unsigned nrounds;
	size_t nweights;
	double max_s; /* a data set */
	const char *dump;
};

static size_t nbytes_of(const struct bench_data *data)
{
	return data->nweights * sizeof(*data->weights);
}

static double gbs(const struct bench_data *data, double wall)
{
	return (double)nbytes_of(data) / wall * 1e-9;
}

/* memcpy: the yardstick. */
static bool copy(const struct bench_data *data, double *wall)
{
	struct stopwatch watch;

	stopwatch_start(&watch);
	memcpy(data->back, data->weights, nbytes_of(data));
	__asm__ volatile("" ::: "memory");
	return stopwatch_stop(&watch, wall);
}

/* The first undisturbed sample drives out all others. */
static void add(const struct bench_data *data, struct series *s, bool good, double wall, double memcpy_s)
{
	if (good && !s->good)
		*s = (struct series){ .good = true };
	if (good != s->good || s->n == MAX_SAMPLES)
		return;
	s->gbs[s->n] = gbs(data, wall);
	s->ratio[s->n++] = memcpy_s / wall;
}

static unsigned ngood(const struct series *s)
{
	return s->good ? s->n : 0;
}

/* One pair. Decoding goes over old contents that are right; main has looked at the first result. */
static void sample(const struct bench_data *data, const struct bench_method *m, bool decoding, struct series *s)
{
	struct stopwatch watch;
	double memcpy_s, wall;
	bool good = copy(data, &memcpy_s);

	stopwatch_start(&watch);
	if (decoding)
		m->decode(m->ctx);
	else
		(void)m->encode(m->ctx);
	good &= stopwatch_stop(&watch, &wall);
	add(data, s, good, wall, memcpy_s);
}

static double check(const struct bench_data *data, const struct bench_method *m)
{
	size_t nbytes = m->encode(m->ctx);

	memset(data->back, 0xA5, nbytes_of(data));
	m->decode(m->ctx);
	if (memcmp(data->back, data->weights, nbytes_of(data)) != 0)
		bench_die(m->name);
	return 8.0 * (double)nbytes / (double)data->nweights;
}

static void print_series(struct series *s)
{
	if (s->n == 0)
		printf(",,");
	else
		printf(",%.4f,%.4f", stopwatch_median(s->gbs, s->n), stopwatch_median(s->ratio, s->n));
}

static void run(const char *name, const struct settings *set)
{
	static struct series encode[MAX_METHODS], decode[MAX_METHODS], memcpy_series;
	struct bench_method m[MAX_METHODS];
	double bits[MAX_METHODS];
	struct bench_data data;
	double start = stopwatch_clock(CLOCK_MONOTONIC), wall;
	unsigned n = 0;
	bool good;

	memset(encode, 0, sizeof(encode));
	memset(decode, 0, sizeof(decode));
	memset(&memcpy_series, 0, sizeof(memcpy_series));
	bench_data_make(name, set->nweights, &data);
	n += bench_methods_ours(&data, m + n);
	n += bench_methods_zstd(&data, m + n);
	n += bench_methods_lz4(&data, m + n);
	for (unsigned i = 0; i < n; i++)
		bits[i] = check(&data, &m[i]);
	for (unsigned round = 0; round < 3 * set->nrounds; round++) {
		if (stopwatch_clock(CLOCK_MONOTONIC) - start > set->max_s)
			break;
		for (unsigned i = 0; i < n; i++) {
			if (ngood(&encode[i]) < set->nrounds)
				sample(&data, &m[i], false, &encode[i]);
			if (ngood(&decode[i]) < set->nrounds)
				sample(&data, &m[i], true, &decode[i]);
		}
		good = copy(&data, &wall);
		add(&data, &memcpy_series, good, wall, wall);
	}
	printf("%s,entropy,%.4f,,,,,\n", data.name, bench_data_entropy(&data));
	printf("%s,memcpy,16.0000", data.name);
	print_series(&memcpy_series);
	print_series(&memcpy_series);
	printf(",%u\n", ngood(&memcpy_series));
	for (unsigned i = 0; i < n; i++) {
		printf("%s,%s,%.4f", data.name, m[i].name, bits[i]);
		print_series(&encode[i]);
		print_series(&decode[i]);
		printf(",%u\n", ngood(&encode[i]) < ngood(&decode[i]) ? ngood(&encode[i]) : ngood(&decode[i]));
		m[i].close(m[i].ctx);
	}
	fflush(stdout);
	bench_data_free(&data);
}

static void dump(const char *name, const struct settings *set)
{
	FILE *f = fopen(set->dump, "wb");
	struct bench_data data;

	bench_data_make(name, set->nweights, &data);
	if (f == NULL || fwrite(data.weights, nbytes_of(&data), 1, f) != 1 || fclose(f) != 0)
		bench_die("cannot write");
	bench_data_free(&data);
}

int main(int argc, char **argv)
{
	struct settings set = { .nrounds = 7, .nweights = (size_t)4096 * 14336, .max_s = 50 };
	int c;

	while ((c = getopt(argc, argv, "r:n:t:d:")) != -1) {
		if (c == 'r')
			set.nrounds = (unsigned)atoi(optarg);
		else if (c == 'n')
			set.nweights = (size_t)atoll(optarg);
		else if (c == 't')
			set.max_s = atof(optarg);
		else if (c == 'd')
			set.dump = optarg;
		else
			optind = argc;
	}
	if (optind == argc || set.nrounds == 0 || set.nrounds > MAX_SAMPLES || set.nweights < 14336) {
		fprintf(stderr, "usage: bench_codec [-r ROUNDS] [-n WEIGHTS] [-t SECONDS] [-d DUMP] "
			"gaussian|rowscaled|FILE...\n");
		return 2;
	}
	if (set.dump == NULL)
		puts("data,method,bits,encode_gbs,encode_x,decode_gbs,decode_x,samples");
	for (; optind < argc; optind++) {
		if (set.dump != NULL)
			dump(argv[optind], &set);
		else
			run(argv[optind], &set);
	}
	return 0;
}
