/* SPDX-License-Identifier: Apache-2.0 */
/* A .safetensors file, good or not, through a container of each profile: every byte returns. */
#include "fuzz.h"
#include "pack_model.h"

struct bytes {
	uint8_t *at;
	size_t n, room;
};

static enum uw_status append(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	struct bytes *b = ctx;

	if (nbytes > b->room - b->n) {
		b->room = 2 * (b->n + nbytes);
		b->at = realloc(b->at, b->room);
		FUZZ_ASSERT(b->at != NULL);
	}
	if (nbytes != 0)
		memcpy(b->at + b->n, data, nbytes);
	b->n += nbytes;
	return UW_OK;
}

static enum uw_status append_piece(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice,
				   const void *data, struct uw_error *err)
{
	return append(ctx, data, (size_t)slice->src_nbytes, err);
}

static void check(const uint8_t *file, size_t nbytes, const struct uw_model_file *cut, enum uw_profile profile)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_memory mem = { file }, stored_mem;
	struct bytes stored = { 0 }, restored = { 0 };
	struct uw_pieces pieces = { .output = append_piece, .ctx = &restored };
	struct uw_container container;
	struct uw_job job = fuzz_job();
	struct uw_container_id id;
	struct uw_blob blob;

	uw_blob_of_memory(&mem, nbytes, &blob);
	FUZZ_ASSERT(uw_container_pack(&job, profile, &blob, cut->extents, cut->nextents, NULL, append, &stored, &id,
				      &err) == UW_OK);
	FUZZ_ASSERT(id.nbytes == stored.n);
	stored_mem.data = stored.at;
	uw_blob_of_memory(&stored_mem, stored.n, &blob);
	FUZZ_ASSERT(uw_container_open(&blob, fuzz_ops_c(), &container, &err) == UW_OK);
	FUZZ_ASSERT(uw_container_check(&container, &job, &err) == UW_OK);
	FUZZ_ASSERT(uw_container_restore(&container, &job, 0, container.index->nextents, &pieces, &err) == UW_OK);
	FUZZ_ASSERT(restored.n == nbytes && (nbytes == 0 || memcmp(restored.at, file, nbytes) == 0));
	uw_container_close(&container);
	free(stored.at);
	free(restored.at);
}

static const struct {
	const char *name;
	unsigned nbytes;
} dtypes[] = { { "BF16", 2 }, { "F32", 4 }, { "U8", 1 }, { "X9", 3 } };

/* A file of up to four tensors, their dtypes, shapes and bytes being the input's. */
static struct bytes make_file(struct fuzz_input *in)
{
	char text[512] = "{", *end = text + 1;
	struct bytes file = { 0 }, body = { 0 };
	uint8_t size[8] = { 0 };
	unsigned ntensors = fuzz_u8(in) % 5;

	for (unsigned i = 0; i < ntensors; i++) {
		uint8_t how = fuzz_u8(in);
		unsigned dtype = how % 4, rows = fuzz_u8(in), cols = fuzz_u8(in);
		uint64_t n = (uint64_t)rows * cols;
		uint16_t *weights = fuzz_alloc((size_t)n * 4 + 1);
		size_t begin = body.n;

		fuzz_weights(in, weights, dtype == 0 ? n : n < 64 ? n : 64);
		FUZZ_ASSERT(append(&body, weights, (size_t)n * dtypes[dtype].nbytes, NULL) == UW_OK);
		free(weights);
		end += sprintf(end, "%s\"t%u\":{\"dtype\":\"%s\",\"shape\":[%u,%u],\"data_offsets\":[%zu,%zu]}",
			       i == 0 ? "" : ",", i, dtypes[dtype].name, rows, cols, begin, body.n);
	}
	end += sprintf(end, "}");
	size[0] = (uint8_t)(end - text);
	size[1] = (uint8_t)((end - text) >> 8);
	FUZZ_ASSERT(append(&file, size, sizeof(size), NULL) == UW_OK);
	FUZZ_ASSERT(append(&file, text, (size_t)(end - text), NULL) == UW_OK);
	FUZZ_ASSERT(append(&file, body.at, body.n, NULL) == UW_OK);
	free(body.at);
	return file;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_entry entry = { .path = "x.safetensors" };
	struct fuzz_input in = { data, data + nbytes };
	bool made = fuzz_u8(&in) & 1;
	struct bytes file = { 0 };
	struct uw_classified c;
	struct uw_memory mem;
	struct uw_blob blob;

	if (made)
		file = make_file(&in);
	else
		FUZZ_ASSERT(append(&file, in.at, fuzz_left(&in), NULL) == UW_OK);
	mem.data = file.at;
	uw_blob_of_memory(&mem, file.n, &blob);
	FUZZ_ASSERT(uw_classify(&entry, &blob, NULL, &c, &err) == UW_OK);
	FUZZ_ASSERT(!made || c.kind == UW_FILE_SAFETENSORS);
	check(file.at, file.n, &c.file, UW_PROFILE_DISTRIBUTION);
	check(file.at, file.n, &c.file, UW_PROFILE_INFERENCE);
	uw_classified_free(&c);
	free(file.at);
	return 0;
}
