/* SPDX-License-Identifier: Apache-2.0 */
#include "base.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PIECE_NBYTES ((uint64_t)1 << 20)
#define MAX_OPEN 32 /* files kept open: a model may have more than a process may have */

struct open_file {
	struct uw_bundle_file file;
	uint64_t number;
	uint64_t used; /* when last, by the base's clock; 0: not open */
	unsigned nusers;
};

struct tensor {
	struct uw_extent extent; /* name and dims point into `text` and `dims` of the base */
	uint64_t file;
};

/* Names and dimensions of the tensors of one file. */
struct page {
	struct page *next;
	uint64_t *dims;
	char *text;
};

struct uw_bundle_base {
	struct uw_base base;
	struct uw_bundle bundle;
	pthread_mutex_t lock; /* of the rest */
	uint64_t clock;
	struct open_file files[MAX_OPEN];
	/* by name, then file; from uw_bundle_base_list on, and then only read */
	struct tensor *tensors;
	const struct tensor **by_hash; /* by dtype, size and hash, then as above */
	uint64_t ntensors;
	bool listed;
	struct page *pages;
};

/* ---- open files ---- */

/* Says that a failure is one of the base. What is damaged there has no offset in the file at hand. */
static enum uw_status blame(const struct uw_manifest_file *file, enum uw_status status, struct uw_error *err)
{
	char what[sizeof(err->what)];

	if (status == UW_OK || err == NULL)
		return status;
	memcpy(what, err->what, sizeof(what));
	snprintf(err->what, sizeof(err->what), "base, '%.90s': %.120s", file->path, what);
	err->file_off = UW_NO_OFFSET;
	return status;
}

/* The slot that has the file, or one that may have it, or NULL: all are in use. With the lock held. */
static struct open_file *find_slot(struct uw_bundle_base *b, uint64_t number)
{
	struct open_file *oldest = NULL;

	for (unsigned i = 0; i < MAX_OPEN; i++) {
		struct open_file *file = &b->files[i];

		if (file->used != 0 && file->number == number)
			return file;
		if (file->nusers == 0 && (oldest == NULL || file->used < oldest->used))
			oldest = file;
	}
	return oldest;
}

static enum uw_status open_in(struct uw_bundle_base *b, struct open_file *slot, uint64_t number, struct uw_error *err)
{
	enum uw_status status;

	if (slot->used != 0 && slot->number == number)
		return UW_OK;
	if (slot->used != 0)
		uw_bundle_file_close(&slot->file);
	slot->used = 0;
	slot->number = number;
	status = uw_bundle_file_open(&b->bundle, &b->bundle.manifest.files[number], &slot->file, err);
	if (status == UW_OK)
		slot->used = ++b->clock;
	return status;
}

/* Opens the file, or finds it open; `spare` serves if all slots are in use. */
static enum uw_status acquire(struct uw_bundle_base *b, uint64_t number, struct open_file *spare,
			      struct open_file **slot, struct uw_error *err)
{
	enum uw_status status;

	pthread_mutex_lock(&b->lock);
	*slot = find_slot(b, number);
	if (*slot == NULL)
		*slot = spare;
	status = open_in(b, *slot, number, err);
	if (status == UW_OK) {
		(*slot)->nusers++;
		(*slot)->used = ++b->clock;
	}
	pthread_mutex_unlock(&b->lock);
	return status;
}

static void release(struct uw_bundle_base *b, struct open_file *slot, const struct open_file *spare)
{
	pthread_mutex_lock(&b->lock);
	slot->nusers--;
	if (slot == spare)
		uw_bundle_file_close(&slot->file);
	pthread_mutex_unlock(&b->lock);
}

/* ---- reading ---- */

static enum uw_status read_base(void *ctx, const struct uw_reference *reference, void *dst, size_t nbytes,
				struct uw_error *err)
{
	struct uw_bundle_base *b = ctx;
	const struct uw_manifest *manifest = &b->bundle.manifest;
	const struct uw_manifest_file *file;
	struct open_file spare = { 0 }, *slot;
	enum uw_status status;

	if (reference->file >= manifest->nfiles)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "refers to file %llu of a base that has %llu",
			       (unsigned long long)reference->file, (unsigned long long)manifest->nfiles);
	file = &manifest->files[reference->file];
	if (reference->off > file->nbytes || nbytes > file->nbytes - reference->off)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "refers to bytes beyond the base's '%.90s'",
			       file->path);
	status = acquire(b, reference->file, &spare, &slot, err);
	if (status == UW_OK) {
		status = uw_blob_read(&slot->file.source, dst, nbytes, reference->off, err);
		release(b, slot, &spare);
	}
	return blame(file, status, err);
}

/* ---- opening ---- */

static enum uw_status open_bundle(struct uw_bundle_base *b, const char *path, const struct uw_cpu_ops *ops,
				  struct uw_error *err)
{
	enum uw_status status = uw_bundle_open(path, ops, &b->bundle, err);

	if (status != UW_OK)
		return status;
	if (b->bundle.bare)
		return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET,
			       "one container is no base: it holds no digest of its source");
	if (b->bundle.manifest.base.needed)
		return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET,
			       "a bundle that needs a base itself is no base");
	return uw_source_digest(&b->bundle.manifest, b->base.digest, err);
}

enum uw_status uw_bundle_base_open(const char *path, const struct uw_cpu_ops *ops, struct uw_bundle_base **base,
				   struct uw_error *err)
{
	struct uw_bundle_base *b = calloc(1, sizeof(*b));
	enum uw_status status;

	*base = NULL;
	if (b == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "base");
	b->bundle.fd = -1;
	b->base.read = read_base;
	b->base.ctx = b;
	pthread_mutex_init(&b->lock, NULL);
	*base = b;
	status = open_bundle(b, path, ops, err);
	if (status != UW_OK)
		uw_bundle_base_close(base);
	return status;
}

void uw_bundle_base_close(struct uw_bundle_base **base)
{
	struct uw_bundle_base *b = *base;

	*base = NULL;
	if (b == NULL)
		return;
	for (unsigned i = 0; i < MAX_OPEN; i++) {
		if (b->files[i].used != 0)
			uw_bundle_file_close(&b->files[i].file);
	}
	while (b->pages != NULL) {
		struct page *page = b->pages;

		b->pages = page->next;
		free(page->dims);
		free(page->text);
		free(page);
	}
	free(b->tensors);
	free(b->by_hash);
	uw_bundle_close(&b->bundle);
	pthread_mutex_destroy(&b->lock);
	free(b);
}

const struct uw_base *uw_bundle_base(const struct uw_bundle_base *base)
{
	return base != NULL ? &base->base : NULL;
}

const struct uw_manifest *uw_bundle_base_manifest(const struct uw_bundle_base *base)
{
	return &base->bundle.manifest;
}

struct uw_base_id uw_bundle_base_id(const struct uw_bundle_base *base)
{
	struct uw_base_id id = { .needed = base != NULL };

	if (base != NULL)
		memcpy(id.digest, base->base.digest, sizeof(id.digest));
	return id;
}

bool uw_bundle_base_is(const struct uw_bundle_base *base, const struct uw_base_id *id)
{
	struct uw_base_id own = uw_bundle_base_id(base);

	return uw_base_id_equal(&own, id);
}

/* ---- likenesses ---- */

static int compare_names(const struct uw_extent *a, const struct uw_extent *b)
{
	size_t n = a->name_nbytes < b->name_nbytes ? a->name_nbytes : b->name_nbytes;
	int order = n != 0 ? memcmp(a->name, b->name, n) : 0;

	return order != 0 ? order : (a->name_nbytes > b->name_nbytes) - (a->name_nbytes < b->name_nbytes);
}

static int compare_tensors(const void *a, const void *b)
{
	const struct tensor *x = a, *y = b;
	int order = compare_names(&x->extent, &y->extent);

	return order != 0 ? order : (x->file > y->file) - (x->file < y->file);
}

/* Copies what outlives the index. */
static bool keep_tensors(struct uw_bundle_base *b, const struct uw_index *index, uint64_t file)
{
	struct page *page = calloc(1, sizeof(*page));
	uint64_t ndims = 0, nbytes = 0, room = b->ntensors + index->nextents;
	struct tensor *tensors;

	if (page == NULL)
		return false;
	page->next = b->pages;
	b->pages = page;
	for (uint64_t i = 0; i < index->nextents; i++) {
		ndims += index->extents[i].ndims;
		nbytes += index->extents[i].name_nbytes;
	}
	page->dims = malloc((size_t)(ndims + 1) * sizeof(*page->dims));
	page->text = malloc((size_t)nbytes + 1);
	tensors = realloc(b->tensors, (size_t)(room + 1) * sizeof(*tensors));
	if (tensors != NULL)
		b->tensors = tensors;
	if (page->dims == NULL || page->text == NULL || tensors == NULL)
		return false;
	ndims = nbytes = 0;
	for (uint64_t i = 0; i < index->nextents; i++) {
		struct tensor *tensor = &b->tensors[b->ntensors];
		const struct uw_extent *extent = &index->extents[i];

		if (extent->kind != UW_EXTENT_TENSOR)
			continue;
		*tensor = (struct tensor){ *extent, file };
		tensor->extent.dims = memcpy(page->dims + ndims, extent->dims, extent->ndims * sizeof(*extent->dims));
		tensor->extent.name = memcpy(page->text + nbytes, extent->name, extent->name_nbytes);
		ndims += extent->ndims;
		nbytes += extent->name_nbytes;
		b->ntensors++;
	}
	return true;
}

static int compare_hashes(const struct uw_extent *a, const struct uw_extent *b)
{
	if (a->dtype != b->dtype)
		return a->dtype < b->dtype ? -1 : 1;
	if (a->src_nbytes != b->src_nbytes)
		return a->src_nbytes < b->src_nbytes ? -1 : 1;
	return memcmp(a->xxh128, b->xxh128, sizeof(a->xxh128));
}

static int compare_by_hash(const void *a, const void *b)
{
	const struct tensor *x = *(const struct tensor *const *)a, *y = *(const struct tensor *const *)b;
	int order = compare_hashes(&x->extent, &y->extent);

	return order != 0 ? order : (x > y) - (x < y);
}

static bool sort_tensors(struct uw_bundle_base *b)
{
	b->by_hash = calloc((size_t)b->ntensors + 1, sizeof(*b->by_hash));
	if (b->by_hash == NULL)
		return false;
	if (b->ntensors == 0)
		return true;
	qsort(b->tensors, (size_t)b->ntensors, sizeof(*b->tensors), compare_tensors);
	for (uint64_t i = 0; i < b->ntensors; i++)
		b->by_hash[i] = &b->tensors[i];
	qsort(b->by_hash, (size_t)b->ntensors, sizeof(struct tensor *), compare_by_hash);
	return true;
}

enum uw_status uw_bundle_base_list(struct uw_bundle_base *b, struct uw_error *err)
{
	const struct uw_manifest *manifest = &b->bundle.manifest;

	for (uint64_t i = 0; i < manifest->nfiles && !b->listed; i++) {
		struct open_file spare = { 0 }, *slot;
		enum uw_status status;
		bool kept;

		if (!manifest->files[i].container)
			continue;
		status = acquire(b, i, &spare, &slot, err);
		if (status != UW_OK)
			return blame(&manifest->files[i], status, err);
		kept = keep_tensors(b, slot->file.container.index, i);
		release(b, slot, &spare);
		if (!kept)
			return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tensors of the base");
	}
	if (!b->listed && !sort_tensors(b))
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tensors of the base");
	b->listed = true;
	return UW_OK;
}

/* The first of this name, or NULL. */
static const struct tensor *find_tensor(const struct uw_bundle_base *b, const struct uw_extent *extent)
{
	uint64_t low = 0, high = b->ntensors;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (compare_names(&b->tensors[middle].extent, extent) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == b->ntensors || compare_names(&b->tensors[low].extent, extent) != 0)
		return NULL;
	return &b->tensors[low];
}

/* More or fewer rows (of a larger vocabulary, say) leave each row where it was. */
static bool same_rows(const struct uw_extent *a, const struct uw_extent *b)
{
	return a->dtype == b->dtype && a->ndims == b->ndims &&
	       (a->ndims < 2 || memcmp(a->dims + 1, b->dims + 1, (a->ndims - 1u) * sizeof(*a->dims)) == 0);
}

bool uw_bundle_base_like(const struct uw_bundle_base *b, const char *path, const struct uw_extent *extent,
			 const struct uw_slice *slice, struct uw_reference *reference)
{
	const struct uw_manifest *manifest = &b->bundle.manifest;
	const struct uw_manifest_file *file;
	const struct tensor *tensor;
	uint64_t end = slice->src_off + slice->src_nbytes;

	if (extent->kind == UW_EXTENT_TENSOR) {
		tensor = find_tensor(b, extent);
		if (tensor == NULL || !same_rows(&tensor->extent, extent) || end > tensor->extent.src_nbytes)
			return false;
		*reference = (struct uw_reference){ tensor->file, tensor->extent.src_off + slice->src_off };
		return true;
	}
	file = uw_manifest_find(manifest, path);
	if (file == NULL && manifest->single)
		file = &manifest->files[0];
	if (file == NULL || end > file->nbytes)
		return false;
	*reference = (struct uw_reference){ (uint64_t)(file - manifest->files), slice->src_off };
	return true;
}

/* ---- tensors of other names ---- */

struct uw_base_match {
	uint64_t src_off; /* in the file at hand */
	struct uw_reference reference;
};

/* The first entry of by_hash that is not below the extent. */
static uint64_t find_hash(const struct uw_bundle_base *b, const struct uw_extent *extent)
{
	uint64_t low = 0, high = b->ntensors;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (compare_hashes(&b->by_hash[middle]->extent, extent) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* Is it worth to read this extent? Its hash is zeros. */
static bool may_match(const struct uw_bundle_base *b, const struct uw_extent *extent)
{
	const struct tensor *named = find_tensor(b, extent);
	uint64_t i = find_hash(b, extent);

	if (extent->kind != UW_EXTENT_TENSOR || extent->src_nbytes == 0 ||
	    (named != NULL && same_rows(&named->extent, extent)))
		return false;
	return i < b->ntensors && b->by_hash[i]->extent.dtype == extent->dtype &&
	       b->by_hash[i]->extent.src_nbytes == extent->src_nbytes;
}

static enum uw_status hash_extent(const struct uw_job *job, const struct uw_blob *blob, struct uw_hash128 *hash,
				  uint8_t *buffer, struct uw_extent *extent, struct uw_error *err)
{
	uw_hash128_reset(hash);
	for (uint64_t done = 0, n; done < extent->src_nbytes; done += n) {
		enum uw_status status;

		n = extent->src_nbytes - done < PIECE_NBYTES ? extent->src_nbytes - done : PIECE_NBYTES;
		if (job->cancelled != NULL && job->cancelled(job->ctx))
			return uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled");
		status = uw_blob_read(blob, buffer, (size_t)n, extent->src_off + done, err);
		if (status != UW_OK)
			return status;
		uw_hash128_update(hash, buffer, (size_t)n);
	}
	uw_hash128_final(hash, extent->xxh128);
	return UW_OK;
}

static enum uw_status match_all(const struct uw_bundle_base *b, const struct uw_job *job, const struct uw_blob *blob,
				const struct uw_extent *extents, uint64_t nextents, struct uw_hash128 *hash,
				uint8_t *buffer, struct uw_base_matches *matches, struct uw_error *err)
{
	uint64_t off = 0;

	for (uint64_t k = 0; k < nextents; k++) {
		struct uw_extent extent = extents[k];
		enum uw_status status;
		uint64_t i;

		extent.src_off = off;
		off += extent.src_nbytes;
		if (!may_match(b, &extent))
			continue;
		status = hash_extent(job, blob, hash, buffer, &extent, err);
		if (status != UW_OK)
			return status;
		i = find_hash(b, &extent);
		if (i < b->ntensors && compare_hashes(&b->by_hash[i]->extent, &extent) == 0)
			matches->list[matches->n++] = (struct uw_base_match){
				.src_off = extent.src_off,
				.reference = { b->by_hash[i]->file, b->by_hash[i]->extent.src_off },
			};
	}
	return UW_OK;
}

enum uw_status uw_bundle_base_match(const struct uw_bundle_base *base, const struct uw_job *job,
				    const struct uw_blob *blob, const struct uw_extent *extents, uint64_t nextents,
				    struct uw_base_matches *matches, struct uw_error *err)
{
	struct uw_hash128 *hash = uw_hash128_new();
	uint8_t *buffer = malloc(PIECE_NBYTES);
	enum uw_status status;

	*matches = (struct uw_base_matches){ calloc((size_t)nextents + 1, sizeof(*matches->list)), 0 };
	if (hash == NULL || buffer == NULL || matches->list == NULL)
		status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "comparing with the base");
	else
		status = match_all(base, job, blob, extents, nextents, hash, buffer, matches, err);
	uw_hash128_free(hash);
	free(buffer);
	return status;
}

void uw_base_matches_free(struct uw_base_matches *matches)
{
	free(matches->list);
	*matches = (struct uw_base_matches){ 0 };
}

bool uw_base_matches_find(const struct uw_base_matches *matches, const struct uw_extent *extent,
			  const struct uw_slice *slice, struct uw_reference *reference)
{
	uint64_t low = 0, high = matches->n;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;

		if (matches->list[middle].src_off < extent->src_off)
			low = middle + 1;
		else
			high = middle;
	}
	if (low == matches->n || matches->list[low].src_off != extent->src_off)
		return false;
	*reference = matches->list[low].reference;
	reference->off += slice->src_off;
	return true;
}
