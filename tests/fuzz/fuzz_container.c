/* SPDX-License-Identifier: Apache-2.0 */
/* A whole container: opened, checked, restored, and read through the blob that decodes; all of them agree. Without a
 * base, then with one: two files of the same simple bytes. */
#include "fuzz.h"

struct restored {
	uint8_t *bytes;
	uint64_t nbytes, room;
};

static enum uw_status take(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice, const void *data,
			   struct uw_error *err)
{
	struct restored *r = ctx;

	FUZZ_ASSERT(extent->src_off + slice->src_off == r->nbytes && slice->src_nbytes <= r->room - r->nbytes);
	memcpy(r->bytes + r->nbytes, data, slice->src_nbytes);
	r->nbytes += slice->src_nbytes;
	return UW_OK;
}

static void restore(const struct uw_container *container)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct restored r = { .room = container->index->src_nbytes };
	struct uw_pieces pieces = { .output = take, .ctx = &r };
	struct uw_job job = fuzz_job();
	struct uw_blob source;
	uint8_t *again;

	if (r.room > 64u << 20)
		return;
	r.bytes = fuzz_alloc(r.room);
	if (uw_container_restore(container, &job, 0, container->index->nextents, &pieces, &err) == UW_OK) {
		FUZZ_ASSERT(r.nbytes == r.room);
		again = fuzz_alloc(r.room);
		uw_container_source_blob(container, &source);
		FUZZ_ASSERT(source.nbytes == r.room && uw_blob_read(&source, again, r.room, 0, &err) == UW_OK);
		FUZZ_ASSERT(r.room == 0 || memcmp(r.bytes, again, r.room) == 0);
		free(again);
	}
	free(r.bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	const struct uw_base base = fuzz_base(NULL);
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	uint8_t *copy = fuzz_alloc(nbytes);
	struct uw_memory mem = { copy };
	struct uw_container container;
	struct uw_job job = fuzz_job();
	struct uw_blob blob;

	if (nbytes != 0)
		memcpy(copy, data, nbytes);
	fuzz_seal_container(copy, nbytes);
	uw_blob_of_memory(&mem, nbytes, &blob);
	if (uw_container_open(&blob, fuzz_ops(), &container, &err) == UW_OK) {
		enum uw_status status = uw_container_check(&container, &job, &err);

		FUZZ_ASSERT(status == UW_OK || status == UW_ERR_LAYOUT || status == UW_ERR_CHECKSUM);
		restore(&container);
		container.base = &base;
		restore(&container);
		uw_container_close(&container);
	}
	free(copy);
	return 0;
}
