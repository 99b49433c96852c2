/* SPDX-License-Identifier: Apache-2.0 */
#include "model_common.h"

#include <math.h>
#include <stdio.h>

#include "safetensors.h"
#include "unweight/bytes.h"
#include "unweight/kernels.h"

const char *cpu_level;
static uint64_t rng_state;

int use_level(void **state)
{
	cpu_level = getenv("UW_CPU_LEVEL");
	return 0;
}

void rng_seed(uint64_t seed)
{
	rng_state = seed;
}

uint32_t rng(void)
{
	rng_state = rng_state * 6364136223846793005u + 1442695040888963407u;
	return (uint32_t)(rng_state >> 32);
}

/* A sum of uniform numbers: near enough. */
float gaussian(void)
{
	float sum = 0;

	for (int i = 0; i < 12; i++)
		sum += (float)rng() / 4294967296.0f;
	return sum - 6;
}

uint16_t bf16_of(float v)
{
	uint32_t word;

	memcpy(&word, &v, sizeof(word));
	return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

float float_of(uint16_t v)
{
	uint32_t word = (uint32_t)v << 16;
	float f;

	memcpy(&f, &word, sizeof(f));
	return f;
}

static uint16_t weight(enum fill fill)
{
	if (fill == FILL_CONSTANT)
		return 0x3F80;
	if (fill == FILL_RANDOM)
		return (uint16_t)(rng() & 0xBFFF); /* finite */
	return rng() % 500 == 0 ? (uint16_t)(rng() & 0xBFFF) : bf16_of(0.02f * gaussian());
}

/* Each row has one of many scales. */
static void fill_scaled(const struct want *want, uint8_t *to, size_t n)
{
	size_t ncols = (size_t)want->dims[want->ndims - 1];
	float scale = 1;

	for (size_t i = 0; i < n / 2; i++) {
		if (i % ncols == 0)
			scale = ldexpf(0.02f, (int)(rng() % 12));
		uw_store_le16(to + 2 * i, bf16_of(scale * gaussian()));
	}
}

static void fill_tensor(const struct want *want, uint8_t *to, size_t n)
{
	if (want->fill == FILL_SCALED) {
		fill_scaled(want, to, n);
		return;
	}
	for (size_t i = 0; i + 1 < n + 1; i += 2) {
		uint16_t w = weight(want->fill);

		to[i] = (uint8_t)w;
		if (i + 1 < n)
			to[i + 1] = (uint8_t)(w >> 8);
	}
}

static size_t nbytes_of(const struct want *want)
{
	size_t n = want->size;

	for (unsigned d = 0; d < want->ndims; d++)
		n *= (size_t)want->dims[d];
	return n;
}

struct source make_source(const struct want *wants, size_t n)
{
	struct source source = { 0 };
	char *json = malloc(65536);
	size_t at = 0, end = 0, data = 0;

	assert_non_null(json);
	assert_true(n <= COUNT(source.off));
	for (size_t i = 0; i < n; i++)
		data += nbytes_of(&wants[i]);
	at += (size_t)sprintf(json + at, "{");
	for (size_t i = 0; i < n; i++) {
		at += (size_t)sprintf(json + at, "%s\"%s\":{\"dtype\":\"%s\",\"shape\":[", i != 0 ? "," : "",
				      wants[i].name, wants[i].dtype);
		for (unsigned d = 0; d < wants[i].ndims; d++)
			at += (size_t)sprintf(json + at, "%s%llu", d != 0 ? "," : "",
					      (unsigned long long)wants[i].dims[d]);
		at += (size_t)sprintf(json + at, "],\"data_offsets\":[%zu,%zu]}", end, end + nbytes_of(&wants[i]));
		source.off[i] = end;
		end += nbytes_of(&wants[i]);
	}
	at += (size_t)sprintf(json + at, "}");
	while (at % 8 != 0)
		json[at++] = ' ';
	source.nbytes = 8 + at + data;
	source.bytes = malloc(source.nbytes);
	assert_non_null(source.bytes);
	uw_store_le64(source.bytes, at);
	memcpy(source.bytes + 8, json, at);
	for (size_t i = 0; i < n; i++) {
		source.off[i] += 8 + at;
		fill_tensor(&wants[i], source.bytes + source.off[i], nbytes_of(&wants[i]));
	}
	free(json);
	return source;
}

static enum uw_status append(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	struct packed *p = ctx;
	uint8_t *bytes;

	assert_int_equal(posix_memalign((void **)&bytes, 64, p->nbytes + nbytes + 1), 0);
	if (p->nbytes != 0)
		memcpy(bytes, p->bytes, p->nbytes);
	memcpy(bytes + p->nbytes, data, nbytes);
	free(p->bytes);
	p->bytes = bytes;
	p->nbytes += nbytes;
	return UW_OK;
}

struct packed pack(const struct source *source, enum uw_profile profile)
{
	struct uw_memory memory = { source->bytes };
	struct uw_container_id id;
	struct uw_model_file file;
	struct packed packed = { 0 };
	struct uw_cpu_ops ops;
	struct uw_job job = { .ops = &ops, .nthreads = 1 };
	struct uw_blob blob;

	uw_cpu_ops_init(&ops, uw_cpu_flags());
	uw_blob_of_memory(&memory, source->nbytes, &blob);
	assert_int_equal(uw_safetensors_parse(&blob, &file, NULL), UW_OK);
	assert_int_equal(uw_container_pack(&job, profile, &blob, file.extents, file.nextents, NULL, append, &packed,
					   &id, NULL),
			 UW_OK);
	assert_int_equal(id.nbytes, packed.nbytes);
	uw_model_file_free(&file);
	return packed;
}

struct uw_model *open_packed(const struct packed *packed, const struct uw_model_options *options)
{
	struct uw_model_options own = options != NULL ? *options : (struct uw_model_options){ 0 };
	struct uw_model *model;
	struct uw_error err;

	own.cpu_level = cpu_level;
	if (uw_model_open_memory(packed->bytes, packed->nbytes, &own, &model, &err) != UW_OK)
		fail_msg("%s", err.what);
	return model;
}
