/* SPDX-License-Identifier: Apache-2.0 */
/* A whole bundle in a tar: opened, verified to the last bit, and read as a model; with the base that it wants, if it
 * wants one, else as the base of others. */
#include "base.h"
#include "fuzz.h"
#include "verify.h"

enum { BLOCK = 512, SIZE_AT = 124, SUM_AT = 148 };

/* The right sum for a tar header. */
static void seal_tar_header(uint8_t *header)
{
	unsigned sum = 8 * ' ';
	char text[9];

	for (int i = 0; i < BLOCK; i++)
		if (i < SUM_AT || i >= SUM_AT + 8)
			sum += header[i];
	snprintf(text, sizeof(text), "%06o", sum);
	memcpy(header + SUM_AT, text, 7);
	header[SUM_AT + 7] = ' ';
}

/* Seals every header, the manifest in front and the containers behind it, as far as sizes make sense. */
static void seal_tar(uint8_t *tar, size_t nbytes)
{
	for (size_t at = 0; at + BLOCK <= nbytes && tar[at] != 0;) {
		uint8_t *body = tar + at + BLOCK;
		size_t room = nbytes - at - BLOCK, n = 0;

		for (int i = 0; i < 11 && tar[at + SIZE_AT + i] >= '0' && tar[at + SIZE_AT + i] <= '7'; i++)
			n = n << 3 | (size_t)(tar[at + SIZE_AT + i] - '0');
		seal_tar_header(tar + at);
		if (n > room)
			return;
		if (at == 0 && n > FUZZ_SEAL_NBYTES)
			fuzz_seal_manifest((char *)body, n - FUZZ_SEAL_NBYTES);
		else if (at != 0)
			fuzz_seal_container(body, n);
		at += BLOCK + (n + BLOCK - 1) / BLOCK * BLOCK;
	}
}

static void read_model(const struct uw_bundle *bundle)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	const struct uw_entry *entry;
	struct uw_source *source;
	struct uw_blob blob;
	uint8_t head[64];

	if (uw_source_open_bundle(bundle, &source, &err) != UW_OK)
		return;
	while (uw_source_next(source, &entry, &err) == UW_OK && entry != NULL) {
		if (uw_source_entry_open(source, &blob, &err) != UW_OK)
			continue;
		FUZZ_ASSERT(blob.nbytes == entry->nbytes);
		if (blob.nbytes >= sizeof(head) && uw_blob_read(&blob, head, sizeof(head), 0, &err) != UW_OK)
			continue;
	}
	uw_source_close(&source);
}

enum { TASTE = 64 };

/* The beginning of an extent of the base itself, found by its name. */
static void find_again(const struct uw_bundle_base *base, const char *path, const struct uw_extent *extent)
{
	const struct uw_base *reads = uw_bundle_base(base);
	struct uw_slice slice = { .src_nbytes = extent->src_nbytes < TASTE ? extent->src_nbytes : TASTE };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_reference reference;
	uint8_t bytes[TASTE];

	if (!uw_bundle_base_like(base, path, extent, &slice, &reference))
		return;
	FUZZ_ASSERT(reference.file < uw_bundle_base_manifest(base)->nfiles);
	if (reads->read(reads->ctx, &reference, bytes, (size_t)slice.src_nbytes, &err) == UW_OK)
		FUZZ_ASSERT(reference.off + slice.src_nbytes <= uw_bundle_base_manifest(base)->files[reference.file].nbytes);
}

static void use_as_base(const struct uw_bundle *bundle, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_bundle_base *base;
	uint8_t byte;

	if (uw_bundle_base_open(path, fuzz_ops(), &base, &err) == UW_OK && uw_bundle_base_list(base, &err) == UW_OK) {
		const struct uw_base *reads = uw_bundle_base(base);

		for (uint64_t i = 0; i < bundle->manifest.nfiles; i++) {
			const struct uw_manifest_file *file = &bundle->manifest.files[i];
			const struct uw_reference beyond = { i, file->nbytes };
			struct uw_bundle_file opened;

			FUZZ_ASSERT(reads->read(reads->ctx, &beyond, &byte, 1, &err) != UW_OK);
			if (!file->container || uw_bundle_file_open(bundle, file, &opened, &err) != UW_OK)
				continue;
			for (uint64_t k = 0; k < opened.container.index->nextents; k++)
				find_again(base, file->path, &opened.container.index->extents[k]);
			uw_bundle_file_close(&opened);
		}
	}
	uw_bundle_base_close(&base);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_job job = fuzz_job();
	uint8_t *copy = fuzz_alloc(nbytes);
	struct uw_bundle bundle;
	struct uw_base base;
	const char *path;

	if (nbytes != 0)
		memcpy(copy, data, nbytes);
	seal_tar(copy, nbytes);
	fuzz_file(copy, nbytes, &path);
	if (uw_bundle_open(path, fuzz_ops(), &bundle, &err) == UW_OK) {
		enum uw_status status;

		base = fuzz_base(bundle.manifest.base.digest);
		FUZZ_ASSERT(uw_bundle_set_base(&bundle, &base, &err) == UW_OK);
		status = uw_bundle_verify(&bundle, UW_VERIFY_DECODE, &job, NULL, NULL);

		FUZZ_ASSERT(status != UW_ERR_INTERNAL && status != UW_ERR_ARG);
		read_model(&bundle);
		if (!bundle.manifest.base.needed)
			use_as_base(&bundle, path);
	}
	uw_bundle_close(&bundle);
	free(copy);
	return 0;
}
