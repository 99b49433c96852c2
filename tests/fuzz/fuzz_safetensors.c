/* SPDX-License-Identifier: Apache-2.0 */
/* A safetensors file's header: what is taken tiles the file. */
#include "fuzz.h"
#include "safetensors.h"

static void check_tiles(const struct uw_model_file *file, uint64_t nbytes)
{
	uint64_t at = 0, ngroups;

	for (uint64_t i = 0; i < file->nextents; i++) {
		const struct uw_extent *e = &file->extents[i];

		FUZZ_ASSERT(e->src_off == at && e->src_nbytes <= nbytes - at);
		FUZZ_ASSERT(e->kind == (i == 0 ? UW_EXTENT_HEADER : UW_EXTENT_TENSOR));
		FUZZ_ASSERT(uw_extent_ngroups(e->src_nbytes, e->order, e->dims, e->ndims, &ngroups) == UW_OK);
		at += e->src_nbytes;
	}
	FUZZ_ASSERT(at == nbytes);
}

/* The input is the header's text, one byte of it how much data follows; or, if that is 255, the file as it is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct fuzz_input in = { data, data + nbytes };
	struct uw_model_file file = { 0 };
	uint8_t more = fuzz_u8(&in);
	size_t left = fuzz_left(&in), n = more == 255 ? left : 8 + left + more;
	uint8_t *bytes = fuzz_alloc(n);
	struct uw_memory mem = { bytes };
	struct uw_blob blob;

	if (left != 0)
		memcpy(bytes + (more == 255 ? 0 : 8), in.at, left);
	if (more != 255)
		bytes[0] = (uint8_t)left, bytes[1] = (uint8_t)(left >> 8), bytes[2] = (uint8_t)(left >> 16);
	uw_blob_of_memory(&mem, n, &blob);
	if (uw_safetensors_parse(&blob, &file, &err) == UW_OK)
		check_tiles(&file, n);
	else
		FUZZ_ASSERT(err.status == UW_ERR_FORMAT && memchr(err.what, 0, sizeof(err.what)) != NULL);
	uw_model_file_free(&file);
	free(bytes);
	return 0;
}
