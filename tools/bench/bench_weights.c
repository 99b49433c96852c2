/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "bench.h"
#include "gaussian.h"
#include "safetensors.h"
#include "unweight/bytes.h"

#define HEADER_NBYTES 256u

struct output {
	uint8_t *bytes;
	size_t n, room;
};

static enum uw_status no_memory(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "weights");
}

static uint8_t *aligned(size_t nbytes)
{
	void *p = NULL;

	return posix_memalign(&p, 64, nbytes) == 0 ? p : NULL;
}

/* A safetensors file of one matrix. */
static uint8_t *make_source(uint64_t nrows, uint64_t ncols, size_t *nbytes)
{
	size_t data = (size_t)(nrows * ncols * 2);
	uint8_t *source = aligned(HEADER_NBYTES + data);
	uint16_t *weights;

	if (source == NULL)
		return NULL;
	memset(source, ' ', HEADER_NBYTES);
	uw_store_le64(source, HEADER_NBYTES - 8);
	source[8 + snprintf((char *)source + 8, HEADER_NBYTES - 8,
			    "{\"w\":{\"dtype\":\"BF16\",\"shape\":[%llu,%llu],\"data_offsets\":[0,%zu]}}",
			    (unsigned long long)nrows, (unsigned long long)ncols, data)] = ' ';
	weights = (uint16_t *)(void *)(source + HEADER_NBYTES);
	uw_gaussian_rows(weights, 0, nrows, ncols);
	for (size_t i = 0; i < data / 2; i++) /* little-endian, wherever this runs */
		uw_store_le16((uint8_t *)&weights[i], weights[i]);
	*nbytes = HEADER_NBYTES + data;
	return source;
}

static enum uw_status append(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	struct output *out = ctx;

	if (nbytes > out->room - out->n)
		return no_memory(err);
	memcpy(out->bytes + out->n, data, nbytes);
	out->n += nbytes;
	return UW_OK;
}

/* out->bytes is to be freed, also after a failure. */
static enum uw_status pack(const struct uw_job *job, enum uw_profile profile, const uint8_t *source, size_t nbytes,
			   struct output *out, struct uw_error *err)
{
	struct uw_memory memory = { source };
	struct uw_container_id id;
	struct uw_model_file file;
	struct uw_blob blob;
	enum uw_status status;

	*out = (struct output){ .room = nbytes + nbytes / 8 + (1u << 20) };
	out->bytes = aligned(out->room);
	if (out->bytes == NULL)
		return no_memory(err);
	uw_blob_of_memory(&memory, nbytes, &blob);
	status = uw_safetensors_parse(&blob, &file, err);
	if (status != UW_OK)
		return status;
	status = uw_container_pack(job, profile, &blob, file.extents, file.nextents, NULL, append, out, &id, err);
	uw_model_file_free(&file);
	return status;
}

/* One more model, of a copy of the container; its matrix is added to the set. */
static enum uw_status add_model(struct uw_bench_made *made, const struct output *packed, const char *cpu_level,
				struct uw_weights *weights, struct uw_error *err)
{
	struct uw_model_options options = { .cpu_level = cpu_level };
	size_t i = made->nmodels;
	enum uw_status status;

	made->bytes[i] = aligned(packed->n);
	if (made->bytes[i] == NULL)
		return no_memory(err);
	made->nmodels++;
	memcpy(made->bytes[i], packed->bytes, packed->n);
	status = uw_model_open_memory(made->bytes[i], packed->n, &options, &made->models[i], err);
	if (status == UW_OK)
		*weights = (struct uw_weights){ made->models[i], uw_model_tensor(made->models[i], 0), 0 };
	return status;
}

static enum uw_status add_set(const struct uw_job *job, const char *cpu_level, enum uw_profile profile,
			      const uint8_t *source, size_t nbytes, struct uw_bench_made *made, struct uw_error *err)
{
	struct uw_bench_set *set = &made->input.sets[made->input.nsets++];
	struct uw_survey survey = { 0 };
	struct output packed;
	enum uw_status status = pack(job, profile, source, nbytes, &packed, err);

	set->weights = calloc(made->input.n, sizeof(*set->weights));
	if (status == UW_OK && set->weights == NULL)
		status = no_memory(err);
	for (size_t i = 0; status == UW_OK && i < made->input.n; i++)
		status = add_model(made, &packed, cpu_level, &set->weights[i], err);
	if (status == UW_OK)
		status = uw_survey_open(set->weights[0].model, false, &survey, err);
	if (status == UW_OK)
		set->coding = survey.shapes[0].coding;
	uw_survey_close(&survey);
	free(packed.bytes);
	return status;
}

enum uw_status uw_bench_make(const struct uw_job *job, const char *cpu_level, uint64_t nrows, uint64_t ncols, size_t n,
			     struct uw_bench_made *made, struct uw_error *err)
{
	static const enum uw_profile profiles[UW_BENCH_MAX_SETS] = { UW_PROFILE_DISTRIBUTION, UW_PROFILE_INFERENCE };
	size_t nbytes = 0;
	uint8_t *source = make_source(nrows, ncols, &nbytes);
	enum uw_status status = UW_OK;

	*made = (struct uw_bench_made){ .input = { .nrows = nrows, .ncols = ncols, .n = n } };
	made->models = calloc(UW_BENCH_MAX_SETS * n, sizeof(struct uw_model *));
	made->bytes = calloc(UW_BENCH_MAX_SETS * n, sizeof(uint8_t *));
	if (source == NULL || made->models == NULL || made->bytes == NULL)
		status = no_memory(err);
	for (unsigned i = 0; status == UW_OK && i < UW_BENCH_MAX_SETS; i++)
		status = add_set(job, cpu_level, profiles[i], source, nbytes, made, err);
	free(source);
	if (status != UW_OK)
		uw_bench_made_free(made);
	return status;
}

void uw_bench_made_free(struct uw_bench_made *made)
{
	for (size_t i = 0; i < made->nmodels; i++) {
		uw_model_close(&made->models[i]);
		free(made->bytes[i]);
	}
	for (unsigned i = 0; i < made->input.nsets; i++)
		free(made->input.sets[i].weights);
	free(made->models);
	free(made->bytes);
	*made = (struct uw_bench_made){ 0 };
}
