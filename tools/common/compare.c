/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing a bundle with something else, and saying exactly where they part. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "each.h"
#include "verdicts.h"

/* ---- where two files part ---- */

struct comparison {
	const struct uw_blob *other;
	uint8_t *buffer; /* UW_PIECE_NBYTES */
	uint64_t off;    /* of the next bytes of a plain file */
};

static double bf16_value(uint32_t bits)
{
	union {
		uint32_t u;
		float f;
	} v = { bits << 16 };

	return (double)v.f;
}

/* Values as hexadecimal bits, most significant digit first; BF16 also as a number. */
static void describe_element(const struct uw_extent *extent, const uint8_t *ours, const uint8_t *theirs, char *text,
			     size_t n)
{
	uint32_t nbytes = uw_dtype_nbits(extent->dtype) / 8;
	uint64_t a = 0, b = 0;

	for (uint32_t i = nbytes; i-- > 0;) {
		a = a << 8 | ours[i];
		b = b << 8 | theirs[i];
	}
	if (extent->dtype == UW_DTYPE_BF16)
		snprintf(text, n, "0x%04" PRIx64 " (%.9g) here, 0x%04" PRIx64 " (%.9g) there", a,
			 bf16_value((uint32_t)a), b, bf16_value((uint32_t)b));
	else
		snprintf(text, n, "0x%0*" PRIx64 " here, 0x%0*" PRIx64 " there", (int)(2 * nbytes), a,
			 (int)(2 * nbytes), b);
}

/* The place of element i: row (all dimensions but the last, as one number) and column. */
static enum uw_status fail_tensor(const struct uw_extent *extent, uint64_t byte, const uint8_t *ours,
				  const uint8_t *theirs, struct uw_error *err)
{
	uint64_t i = byte / (uw_dtype_nbits(extent->dtype) / 8);
	uint64_t ncols = extent->ndims != 0 ? extent->dims[extent->ndims - 1] : 1;
	int name_nbytes = extent->name_nbytes < 100 ? (int)extent->name_nbytes : 100;
	char values[80];

	describe_element(extent, ours, theirs, values, sizeof(values));
	return uw_fail(err, UW_ERR_MISMATCH, extent->src_off + byte,
		       "tensor '%.*s', row %" PRIu64 ", column %" PRIu64 ": %s",
		       name_nbytes, extent->name, i / ncols, i % ncols, values);
}

/* `ours` and `theirs` differ somewhere; both start at byte `from` of the extent and hold whole elements. */
static enum uw_status fail_extent(const struct uw_extent *extent, uint64_t from, const uint8_t *ours,
				  const uint8_t *theirs, struct uw_error *err)
{
	uint32_t element = uw_dtype_nbits(extent->dtype) / 8;
	size_t at = 0;

	while (ours[at] == theirs[at])
		at++;
	if (extent->kind == UW_EXTENT_TENSOR && element != 0) {
		at -= (from + at) % element;
		return fail_tensor(extent, from + at, ours + at, theirs + at, err);
	}
	return uw_fail(err, UW_ERR_MISMATCH, extent->src_off + from + at, "byte %" PRIu64 ": 0x%02x here, 0x%02x there",
		       extent->src_off + from + at, ours[at], theirs[at]);
}

static enum uw_status compare_piece(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice,
				    const void *data, struct uw_error *err)
{
	const struct comparison *c = ctx;
	const uint8_t *ours = data;

	/* pieces of a size that every element size divides */
	for (uint64_t done = 0, n; done < slice->src_nbytes; done += n) {
		uint64_t from = slice->src_off + done;
		enum uw_status status;

		n = slice->src_nbytes - done < UW_PIECE_NBYTES ? slice->src_nbytes - done : UW_PIECE_NBYTES;
		status = uw_blob_read(c->other, c->buffer, (size_t)n, extent->src_off + from, err);
		if (status != UW_OK)
			return status;
		if (memcmp(ours + done, c->buffer, (size_t)n) != 0)
			return fail_extent(extent, from, ours + done, c->buffer, err);
	}
	return UW_OK;
}

/* A plain file is compared as one opaque extent. */
static enum uw_status compare_bytes(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	struct comparison *c = ctx;
	struct uw_extent extent = { .kind = UW_EXTENT_OPAQUE };
	struct uw_slice slice = { .src_off = c->off, .src_nbytes = nbytes };

	c->off += nbytes;
	return compare_piece(c, &extent, &slice, data, err);
}

static enum uw_status compare_blobs(const struct uw_bundle_file *ours, const struct uw_job *job, struct comparison *c,
				    struct uw_error *err)
{
	enum uw_status status;

	if (ours->is_container) {
		const struct uw_pieces pieces = { .output = compare_piece, .ctx = c };
		uint64_t nextents = ours->container.index->nextents;

		/* the shorter of both must be a prefix: look for a difference there first */
		if (ours->source.nbytes > c->other->nbytes)
			nextents = 0;
		status = uw_container_restore(&ours->container, job, 0, nextents, &pieces, err);
	} else {
		status = ours->source.nbytes > c->other->nbytes ? UW_OK : uw_blob_each(job, &ours->source,
										       compare_bytes, c, err);
	}
	if (status == UW_OK && ours->source.nbytes != c->other->nbytes)
		status = uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "%" PRIu64 " bytes here, %" PRIu64 " there",
				 ours->source.nbytes, c->other->nbytes);
	return status;
}

/* ---- bundle against source ---- */

static enum uw_status compare_file(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
				   const struct uw_blob *other, const struct uw_job *job, struct uw_error *err)
{
	struct comparison c = { .other = other, .buffer = malloc(UW_PIECE_NBYTES) };
	struct uw_bundle_file opened;
	enum uw_status status;

	if (c.buffer == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "comparing");
	status = uw_bundle_file_open(bundle, file, &opened, err);
	if (status == UW_OK) {
		status = compare_blobs(&opened, job, &c, err);
		uw_bundle_file_close(&opened);
	}
	free(c.buffer);
	return status;
}

/* A bundle of a single file is compared with any single file, whatever its name. */
static const struct uw_manifest_file *counterpart(const struct uw_bundle *bundle, const struct uw_source *source,
						  const struct uw_entry *entry)
{
	if (bundle->manifest.single && source->single)
		return &bundle->manifest.files[0];
	return uw_manifest_find(&bundle->manifest, entry->path);
}

static void compare_entry(struct uw_verdicts *v, const struct uw_bundle *bundle, struct uw_source *source,
			  const struct uw_entry *entry, bool *seen, const struct uw_job *job)
{
	const struct uw_manifest_file *file = counterpart(bundle, source, entry);
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_blob other;
	enum uw_status status;

	if (file == NULL) {
		status = uw_fail(&err, UW_ERR_MISMATCH, UW_NO_OFFSET, "is not in the bundle");
		uw_verdicts_add(v, entry->path, entry->nbytes, status, &err);
		return;
	}
	seen[file - bundle->manifest.files] = true;
	status = uw_source_entry_open(source, &other, &err);
	if (status == UW_OK)
		status = compare_file(bundle, file, &other, job, &err);
	if (status == UW_OK && entry->executable != file->executable && !source->single)
		status = uw_fail(&err, UW_ERR_MISMATCH, UW_NO_OFFSET, "is %sexecutable here, but not there",
				 file->executable ? "" : "not ");
	uw_verdicts_add(v, file->path, file->nbytes, status, &err);
}

enum uw_status uw_bundle_compare(const struct uw_bundle *bundle, struct uw_source *source, const struct uw_job *job,
				 uw_verdict_fn verdict, void *ctx)
{
	struct uw_verdicts v = { verdict, ctx, UW_OK };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	bool *seen = calloc((size_t)bundle->manifest.nfiles + 1, sizeof(*seen));
	const struct uw_entry *entry;
	enum uw_status status = UW_OK;

	if (seen == NULL) {
		uw_verdicts_add(&v, NULL, 0, uw_fail(&err, UW_ERR_NOMEM, UW_NO_OFFSET, "comparing"), &err);
		return v.worst;
	}
	while (v.worst != UW_ERR_CANCELLED) {
		status = uw_source_next(source, &entry, &err);
		if (status != UW_OK || entry == NULL)
			break;
		compare_entry(&v, bundle, source, entry, seen, job);
	}
	if (status != UW_OK)
		uw_verdicts_add(&v, NULL, 0, status, &err);
	else if (v.worst != UW_ERR_CANCELLED)
		uw_verdicts_unseen(&v, bundle, seen);
	free(seen);
	return v.worst;
}
