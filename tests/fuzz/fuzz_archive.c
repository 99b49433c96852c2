/* SPDX-License-Identifier: Apache-2.0 */
/* A model in an archive: what is listed has a path that may be used, and the size that it says. */
#include "fuzz.h"
#include "source.h"

#define PATIENCE 400u /* questions after which a reader is told to stop: small inputs unfold to gigabytes */
#define MOST_NBYTES (8u << 20)

static bool impatient(void *ctx)
{
	unsigned *asked = ctx;

	return ++*asked > PATIENCE;
}

static void read_all(const struct uw_blob *blob)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	uint8_t block[4096];
	uint64_t off = 0;

	while (off < blob->nbytes && off < MOST_NBYTES) {
		size_t n = blob->nbytes - off < sizeof(block) ? (size_t)(blob->nbytes - off) : sizeof(block);

		FUZZ_ASSERT(uw_blob_read(blob, block, n, off, &err) == UW_OK);
		off += n;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	const struct uw_entry *entry;
	struct uw_source *source;
	struct uw_blob blob;
	unsigned asked = 0;
	int fd = fuzz_file(data, nbytes, NULL);

	if (uw_source_open_archive(fd, "fuzz", "/dev/shm", &source, &err) != UW_OK)
		return 0;
	source->cancelled = impatient;
	source->watch_ctx = &asked;
	while (uw_source_next(source, &entry, &err) == UW_OK && entry != NULL) {
		FUZZ_ASSERT(uw_path_check(entry->path, strlen(entry->path), NULL) == UW_OK);
		if (uw_source_entry_open(source, &blob, &err) != UW_OK)
			break;
		FUZZ_ASSERT(blob.nbytes == entry->nbytes);
		read_all(&blob);
	}
	uw_source_close(&source);
	return 0;
}
