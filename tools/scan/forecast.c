/* SPDX-License-Identifier: Apache-2.0 */
#include "forecast.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "manifest.h"
#include "pack_model.h"
#include "unweight/bytes.h"

#define SMALL_NBYTES (UINT64_C(1) << 20)    /* groups below this are all looked at */
#define ENOUGH_NBYTES (UINT64_C(768) << 20) /* to look at: some 64 groups of usual size */

struct look {
	struct uw_forecast *forecast;
	const struct uw_job *job;
	struct uw_source *source;
	uint64_t file;       /* number of the one at hand */
	int profile;         /* the pass at hand */
	double share;        /* of the file's large groups */
	const struct uw_model_file *model_file;
	struct uw_manifest manifest; /* for its size */
};

static struct uw_forecast_class *class_of(struct uw_forecast *forecast, const struct uw_extent *extent)
{
	return &forecast->classes[extent->order == UW_ORDER_BYTES ? UW_FORECAST_BYTES : UW_FORECAST_WEIGHTS];
}

/* By chance, but the same in both passes, and for the same model every time. */
static bool is_wanted(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice)
{
	const struct look *look = ctx;
	uint8_t key[16], hash[8];

	if (slice->src_nbytes < SMALL_NBYTES)
		return true;
	uw_store_le64(key, look->file);
	uw_store_le64(key + 8, extent->src_off + slice->src_off);
	uw_hash64(key, sizeof(key), hash);
	return (hash[0] << 16 | hash[1] << 8 | hash[2]) < look->share * (1 << 24);
}

static void take_group(void *ctx, const struct uw_packed_group *packed)
{
	struct look *look = ctx;
	struct uw_forecast *forecast = look->forecast;
	struct uw_forecast_class *class = class_of(forecast, &look->model_file->extents[packed->extent]);
	double x = (double)packed->slice.src_nbytes, y = (double)uw_group_room(packed->group.nbytes);

	if (look->profile == 0)
		forecast->looked_nbytes += packed->slice.src_nbytes;
	if (packed->slice.src_nbytes < SMALL_NBYTES) {
		forecast->known_nbytes[look->profile] += packed->shared ? 0 : y;
		return;
	}
	if (look->profile == 0) {
		class->nlooked++;
		class->x += x;
		class->xx += x * x;
	}
	class->profile[look->profile].y += y;
	class->profile[look->profile].xy += x * y;
	class->profile[look->profile].yy += y * y;
}

/* ---- what is no sample ---- */

/* Counts the large groups; *ngroups is all of them. */
static enum uw_status count_groups(struct look *look, uint64_t *ngroups, struct uw_error *err)
{
	const struct uw_model_file *file = look->model_file;

	*ngroups = 0;
	for (uint64_t i = 0; i < file->nextents; i++) {
		const struct uw_extent *extent = &file->extents[i];
		uint64_t n;
		enum uw_status status = uw_extent_ngroups(extent->src_nbytes, extent->order, extent->dims, extent->ndims, &n);

		if (status != UW_OK)
			return uw_fail(err, status, UW_NO_OFFSET, "extent %llu", (unsigned long long)i);
		*ngroups += n;
		for (uint64_t g = 0; g < n; g++) {
			struct uw_slice slice;

			uw_extent_slice(extent, g, &slice);
			if (slice.src_nbytes < SMALL_NBYTES)
				continue;
			class_of(look->forecast, extent)->ngroups++;
			class_of(look->forecast, extent)->nbytes += slice.src_nbytes;
		}
	}
	return UW_OK;
}

static double index_nbytes(const struct uw_model_file *file, uint64_t ngroups)
{
	uint64_t ndims = 0, names = 0;

	for (uint64_t i = 0; i < file->nextents; i++) {
		ndims += file->extents[i].ndims;
		names += file->extents[i].name_nbytes;
	}
	return (double)uw_index_nbytes(file->nextents, ngroups, ndims, names);
}

/* All hashes are zeros: they are as long as others. */
static enum uw_status add_to_manifest(struct look *look, const struct uw_entry *entry, uint64_t nbytes, bool container,
				      struct uw_error *err)
{
	const struct uw_manifest_file file = {
		.path = (char *)(uintptr_t)entry->path, /* copied by uw_manifest_add */
		.nbytes = nbytes,
		.executable = entry->executable,
		.container = container,
		.id.nbytes = nbytes,
	};

	return uw_manifest_add(&look->manifest, &file, err);
}

/* ---- looking ---- */

static enum uw_status look_at_container(struct look *look, const struct uw_blob *blob, struct uw_error *err)
{
	const struct uw_pack_options options = {
		.wanted = is_wanted,
		.read_nbytes = look->source->read_nbytes,
		.group = take_group,
		.ctx = look,
	};
	const struct uw_model_file *file = look->model_file;
	struct uw_container_id id;
	uint64_t ngroups;
	enum uw_status status = count_groups(look, &ngroups, err);

	for (int p = 0; p < UW_SCAN_NPROFILES && status == UW_OK; p++) {
		look->profile = p;
		look->forecast->known_nbytes[p] += UW_HEADER_NBYTES + index_nbytes(file, ngroups) + UW_TRAILER_NBYTES;
		status = uw_container_pack(look->job, p == UW_SCAN_INFERENCE ? UW_PROFILE_INFERENCE :
					   UW_PROFILE_DISTRIBUTION, blob, file->extents, file->nextents, &options,
					   NULL, NULL, &id, err);
	}
	return status;
}

static enum uw_status look_at_entry(struct look *look, const struct uw_entry *entry, struct uw_error *err)
{
	struct uw_forecast *forecast = look->forecast;
	uint64_t total = look->source->nbytes != 0 ? look->source->nbytes : entry->nbytes;
	struct uw_classified classified;
	struct uw_blob blob;
	enum uw_status status = uw_source_entry_open(look->source, &blob, err);

	if (status == UW_OK)
		status = uw_classify(entry, &blob, NULL, &classified, err);
	if (status != UW_OK)
		return status;
	look->model_file = &classified.file;
	look->share = total != 0 ? (double)ENOUGH_NBYTES / (double)total : 1;
	if (look->share < forecast->share)
		look->share = forecast->share;
	forecast->nfiles++;
	forecast->nbytes += blob.nbytes;
	if (classified.kind != UW_FILE_PLAIN)
		status = look_at_container(look, &blob, err);
	else
		for (int p = 0; p < UW_SCAN_NPROFILES; p++)
			forecast->known_nbytes[p] += (double)blob.nbytes;
	if (status == UW_OK)
		status = add_to_manifest(look, entry, blob.nbytes, classified.kind != UW_FILE_PLAIN, err);
	if (status == UW_OK)
		status = uw_source_entry_unchanged(look->source, err);
	uw_classified_free(&classified);
	return status;
}

static enum uw_status look_at_all(struct look *look, char **where, struct uw_error *err)
{
	const struct uw_entry *entry;
	enum uw_status status;

	while ((status = uw_source_next(look->source, &entry, err)) == UW_OK && entry != NULL) {
		status = look_at_entry(look, entry, err);
		if (status != UW_OK) {
			*where = strdup(entry->path);
			return status;
		}
		look->file++;
	}
	if (status == UW_OK && look->file == 0)
		status = uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "there is no file in it");
	return status;
}

enum uw_status uw_forecast_look(struct uw_forecast *forecast, const struct uw_job *job, struct uw_source *source,
				char **where, struct uw_error *err)
{
	struct look look = { .forecast = forecast, .job = job, .source = source, .manifest.single = source->single };
	char *text = NULL;
	size_t n = 0;
	enum uw_status status;

	*where = NULL;
	status = look_at_all(&look, where, err);
	if (status == UW_OK)
		status = uw_manifest_render(&look.manifest, &text, &n, err);
	for (int p = 0; p < UW_SCAN_NPROFILES; p++)
		forecast->known_nbytes[p] += (double)n;
	free(text);
	uw_manifest_free(&look.manifest);
	return status;
}

/* ---- expecting ---- */

/* Stored bytes of all large groups of a class, by their ratio in those that were looked at, and the variance of that
 * (Cochran, Sampling Techniques, 6.4: the ratio estimate and its error). */
static double expect(const struct uw_forecast_class *class, int profile, double *variance)
{
	double n = (double)class->nlooked, all = (double)class->ngroups, ratio, rest;

	*variance = 0;
	if (class->nlooked < 2 && class->nlooked < class->ngroups)
		return (double)class->nbytes; /* too few to tell: as if nothing was saved */
	if (class->nlooked == 0)
		return 0;
	ratio = class->profile[profile].y / class->x;
	rest = class->profile[profile].yy - 2 * ratio * class->profile[profile].xy + ratio * ratio * class->xx;
	if (class->nlooked < class->ngroups && rest > 0)
		*variance = all * all * (1 - n / all) / n * rest / (n - 1);
	return ratio * (double)class->nbytes;
}

double uw_forecast_nbytes(const struct uw_forecast *forecast, int profile, double *spread)
{
	double nbytes = forecast->known_nbytes[profile], sum = 0, variance;

	for (int c = 0; c < UW_FORECAST_NCLASSES; c++) {
		nbytes += expect(&forecast->classes[c], profile, &variance);
		sum += variance;
	}
	*spread = 1.96 * sqrt(sum);
	return nbytes;
}
