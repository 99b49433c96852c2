/* SPDX-License-Identifier: Apache-2.0 */
#include "parts_plan.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum uw_status fail_nomem(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "plan");
}

const char *uw_file_kind_name(enum uw_file_kind kind)
{
	static const char *const names[] = { "plain", "safetensors", "opaque" };

	return names[kind];
}

enum uw_status uw_plan_add(struct uw_parts_plan *plan, const struct uw_parts_plan_file *file, struct uw_error *err)
{
	uint64_t n = plan->nfiles;
	char *path;

	if (n >= UW_SOURCE_MAX_FILES)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "too many files");
	if (plan->nbytes > INT64_MAX - file->nbytes)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "sizes of files");
	if ((n & (n - 1)) == 0) { /* grows at powers of two */
		struct uw_parts_plan_file *files = realloc(plan->files, (size_t)(n == 0 ? 1 : 2 * n) * sizeof(*files));

		if (files == NULL)
			return fail_nomem(err);
		plan->files = files;
	}
	path = strdup(file->path);
	if (path == NULL)
		return fail_nomem(err);
	plan->files[n] = *file;
	plan->files[n].path = path;
	plan->nfiles++;
	plan->nbytes += file->nbytes;
	return UW_OK;
}

void uw_plan_free(struct uw_parts_plan *plan)
{
	for (uint64_t i = 0; i < plan->nfiles; i++)
		free(plan->files[i].path);
	free(plan->files);
	*plan = (struct uw_parts_plan){ 0 };
}

/* ---- from a source ---- */

/* The file is a safetensors file that has been parsed: its header's size is sound. */
static enum uw_status digest_header(const struct uw_blob *blob, uint8_t digest[UW_SHA256_NBYTES], struct uw_error *err)
{
	uint8_t buf[65536];
	uint64_t nbytes = 8;
	struct uw_sha256 h;
	enum uw_status status = uw_sha256_init(&h, err);

	if (status != UW_OK)
		return status;
	for (uint64_t off = 0; off < nbytes;) {
		size_t n = nbytes - off < sizeof(buf) ? (size_t)(nbytes - off) : sizeof(buf);

		status = uw_blob_read(blob, buf, n, off, err);
		if (status != UW_OK) {
			uw_sha256_free(&h);
			return status;
		}
		if (off == 0)
			for (int i = 0; i < 8; i++)
				nbytes += (uint64_t)buf[i] << 8 * i;
		uw_sha256_update(&h, buf, n);
		off += n;
	}
	return uw_sha256_final(&h, digest, err);
}

static enum uw_status plan_entry(struct uw_parts_plan *plan, struct uw_source *source, const struct uw_entry *entry,
				 const struct uw_pack_model *options, struct uw_error *err)
{
	struct uw_parts_plan_file file = { .path = (char *)(uintptr_t)entry->path, /* copied by uw_plan_add */
				     .executable = entry->executable };
	struct uw_classified classified;
	struct uw_blob blob;
	enum uw_status status = uw_source_entry_open(source, &blob, err);

	if (status == UW_OK)
		status = uw_classify(entry, &blob, options->base, &classified, err);
	if (status != UW_OK)
		return status;
	file.nbytes = blob.nbytes;
	file.kind = classified.kind;
	if (classified.odd && options->strict)
		status = uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "%s", classified.reason);
	else if (file.kind == UW_FILE_SAFETENSORS)
		status = digest_header(&blob, file.header_sha256, err);
	uw_classified_free(&classified);
	if (status == UW_OK && plan->nfiles != 0 &&
	    strcmp(plan->files[plan->nfiles - 1].path, entry->path) >= 0)
		status = uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET,
				 "parts are made of a folder, a file or a bundle; unpack archives first");
	return status == UW_OK ? uw_plan_add(plan, &file, err) : status;
}

enum uw_status uw_plan_make(struct uw_source *source, const struct uw_pack_model *options, struct uw_parts_plan *plan,
			    char **where, struct uw_error *err)
{
	const struct uw_entry *entry;
	enum uw_status status;
	char *text = NULL;
	size_t n;

	*where = NULL;
	*plan = (struct uw_parts_plan){ .version = UW_VERSION, .profile = options->profile, .single = source->single,
					.base = uw_bundle_base_id(options->base) };
	while ((status = uw_source_next(source, &entry, err)) == UW_OK && entry != NULL) {
		status = plan_entry(plan, source, entry, options, err);
		if (status != UW_OK) {
			*where = strdup(entry->path);
			return status;
		}
	}
	if (status == UW_OK && plan->nfiles == 0)
		status = uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "there is no file in it");
	if (status == UW_OK)
		status = uw_plan_render(plan, &text, &n, err);
	free(text);
	return status;
}

enum uw_status uw_plan_expect(const struct uw_parts_plan *plan, uint64_t i, const struct uw_entry *entry,
			      struct uw_error *err)
{
	const struct uw_parts_plan_file *file = i < plan->nfiles ? &plan->files[i] : NULL;

	if (file == NULL && entry == NULL)
		return UW_OK;
	if (entry == NULL || (file != NULL && strcmp(file->path, entry->path) < 0))
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the plan has a file '%s' that is not in the source",
			       file->path);
	if (file == NULL || strcmp(file->path, entry->path) != 0)
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the source has a file '%s' that is not in the plan",
			       entry->path);
	if (file->nbytes != entry->nbytes || file->executable != entry->executable)
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "'%s' has another size or mode than in the plan",
			       entry->path);
	return UW_OK;
}

enum uw_status uw_plan_expect_header(const struct uw_parts_plan_file *file, const struct uw_blob *blob,
				     const struct uw_bundle_base *base, struct uw_error *err)
{
	const struct uw_entry entry = { .path = file->path, .nbytes = blob->nbytes };
	uint8_t digest[UW_SHA256_NBYTES] = { 0 };
	struct uw_classified classified;
	enum uw_status status = uw_classify(&entry, blob, base, &classified, err);

	if (status != UW_OK)
		return status;
	if (classified.kind == UW_FILE_SAFETENSORS)
		status = digest_header(blob, digest, err);
	if (status == UW_OK &&
	    (classified.kind != file->kind || memcmp(digest, file->header_sha256, sizeof(digest)) != 0))
		status = uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the header is not the one that was planned");
	uw_classified_free(&classified);
	return status;
}

/* ---- who gets what ---- */

struct load {
	uint64_t nbytes, nfiles;
	uint32_t part;
};

static bool lighter(const struct load *a, const struct load *b)
{
	if (a->nbytes != b->nbytes)
		return a->nbytes < b->nbytes;
	return a->nfiles != b->nfiles ? a->nfiles < b->nfiles : a->part < b->part;
}

/* Restores the heap, lightest first, after its head has grown. */
static void sift(struct load *heap, size_t n)
{
	for (size_t i = 0, child; (child = 2 * i + 1) < n; i = child) {
		struct load grown = heap[i];

		if (child + 1 < n && lighter(&heap[child + 1], &heap[child]))
			child++;
		if (!lighter(&heap[child], &grown))
			return;
		heap[i] = heap[child];
		heap[child] = grown;
	}
}

struct item {
	uint64_t nbytes, index;
};

static int larger_first(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	if (x->nbytes != y->nbytes)
		return x->nbytes > y->nbytes ? -1 : 1;
	return x->index < y->index ? -1 : 1;
}

enum uw_status uw_plan_assign(const struct uw_parts_plan *plan, uint32_t nparts, uint32_t *part_of,
			      struct uw_error *err)
{
	struct load *heap = calloc(nparts, sizeof(*heap));
	struct item *items = calloc((size_t)plan->nfiles + 1, sizeof(*items));

	if (heap != NULL && items != NULL) {
		for (uint32_t i = 0; i < nparts; i++)
			heap[i].part = i; /* equal loads in order are a heap */
		for (uint64_t i = 0; i < plan->nfiles; i++)
			items[i] = (struct item){ plan->files[i].nbytes, i };
		qsort(items, (size_t)plan->nfiles, sizeof(*items), larger_first);
		for (uint64_t i = 0; i < plan->nfiles; i++) {
			part_of[items[i].index] = heap[0].part;
			heap[0].nbytes += items[i].nbytes;
			heap[0].nfiles++;
			sift(heap, nparts);
		}
	}
	free(items);
	free(heap);
	return heap != NULL && items != NULL ? UW_OK : fail_nomem(err);
}
