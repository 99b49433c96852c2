/* SPDX-License-Identifier: Apache-2.0 */
#include "compress_existing.h"

#include <stdlib.h>
#include <string.h>

#include "each.h"
#include "source_bundle.h"
#include "verify.h"

static enum uw_status differs(struct uw_error *err, const char *what)
{
	return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the existing bundle %s", what);
}

/* The opened file of the source, which the bundle's manifest has under its name. */
static enum uw_status compare_file(const struct uw_existing *existing, const struct uw_job *job,
				   const struct uw_entry *entry, const struct uw_blob *blob,
				   const struct uw_manifest_file *file, struct uw_error *err)
{
	struct uw_classified classified;
	uint8_t digest[UW_SHA256_NBYTES];
	enum uw_status status = uw_classify(entry, blob, existing->base, &classified, err);

	if (status != UW_OK)
		return status;
	if (classified.odd && existing->strict)
		status = uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "%s", classified.reason);
	else if (blob->nbytes != file->nbytes || entry->executable != file->executable ||
		 file->container != (classified.kind != UW_FILE_PLAIN))
		status = differs(err, "has another file");
	uw_classified_free(&classified);
	if (status == UW_OK)
		status = uw_blob_sha256(job, blob, digest, err);
	if (status == UW_OK && memcmp(digest, file->sha256, sizeof(digest)) != 0)
		status = differs(err, "has another file");
	return status;
}

static enum uw_status compare_source(const struct uw_existing *existing, const struct uw_job *job,
				     struct uw_source *source, const struct uw_manifest *manifest, char **where,
				     struct uw_error *err)
{
	const struct uw_entry *entry = NULL;
	uint64_t nfiles = 0;
	enum uw_status status;

	while ((status = uw_source_next(source, &entry, err)) == UW_OK && entry != NULL) {
		const struct uw_manifest_file *file = uw_manifest_find(manifest, entry->path);
		struct uw_blob blob;

		nfiles++;
		status = file != NULL ? uw_source_entry_open(source, &blob, err) : differs(err, "does not have it");
		if (status == UW_OK)
			status = compare_file(existing, job, entry, &blob, file, err);
		if (status == UW_OK)
			status = uw_source_entry_unchanged(source, err);
		if (status != UW_OK) {
			*where = strdup(entry->path);
			return status;
		}
	}
	if (status == UW_OK && nfiles != manifest->nfiles)
		status = differs(err, "has files that the source does not have");
	return status;
}

struct worst {
	struct uw_error *err;
	char **where;
};

static void take_verdict(void *ctx, const struct uw_verdict *verdict)
{
	struct worst *worst = ctx;

	if (verdict->status == UW_OK || worst->err->status != UW_OK)
		return;
	*worst->err = verdict->err;
	if (verdict->path != NULL)
		*worst->where = strdup(verdict->path);
}

static enum uw_status compare(const struct uw_existing *existing, struct uw_tool *tool, struct uw_source *source,
			      const struct uw_bundle *bundle, char **where, struct uw_error *err)
{
	struct uw_job quiet = tool->job;
	struct uw_error found = { .file_off = UW_NO_OFFSET };
	struct worst worst = { &found, where };
	enum uw_status status;

	if (bundle->bare || bundle->manifest.profile != existing->profile || bundle->manifest.single != source->single)
		return differs(err, bundle->bare ? "is a container by itself" :
				    bundle->manifest.single != source->single ? "was made of another source" :
									        "has another profile");
	uw_progress_begin(&tool->progress, "compare", source->nbytes);
	status = compare_source(existing, &tool->job, source, &bundle->manifest, where, err);
	uw_progress_end(&tool->progress);
	if (status != UW_OK)
		return status;
	quiet.progress = NULL;
	status = uw_bundle_verify(bundle, existing->decode ? UW_VERIFY_DECODE : UW_VERIFY_CHECKSUM, &quiet,
				  take_verdict, &worst);
	if (status != UW_OK)
		*err = found;
	return status;
}

enum uw_status uw_existing_look(const struct uw_existing *existing, struct uw_tool *tool, struct uw_source *source,
				struct uw_manifest *manifest, char **where, struct uw_error *err)
{
	struct uw_bundle bundle = { .fd = -1 };
	enum uw_status status;
	bool is_bundle = false;

	*manifest = (struct uw_manifest){ 0 };
	*where = NULL;
	status = uw_bundle_probe(existing->output, &is_bundle, err);
	if (status == UW_OK && !is_bundle)
		status = uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "output exists and is no bundle");
	if (status == UW_OK)
		status = uw_bundle_open(existing->output, &tool->ops, &bundle, err);
	if (status == UW_OK && !uw_bundle_base_is(existing->base, &bundle.manifest.base))
		status = differs(err, "has another base");
	if (status == UW_OK)
		status = uw_bundle_set_base(&bundle, uw_bundle_base(existing->base), err);
	if (status == UW_OK)
		status = compare(existing, tool, source, &bundle, where, err);
	if (status == UW_OK) {
		*manifest = bundle.manifest;
		bundle.manifest = (struct uw_manifest){ 0 };
	}
	uw_bundle_close(&bundle);
	return status;
}
