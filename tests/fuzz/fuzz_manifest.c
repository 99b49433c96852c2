/* SPDX-License-Identifier: Apache-2.0 */
/* A manifest's text, less the digest at its end: what is read is written and read again as the same. */
#include "fuzz.h"
#include "manifest.h"
#include "source.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_manifest manifest = { 0 }, again = { 0 };
	char *text = fuzz_alloc(nbytes + FUZZ_SEAL_NBYTES), *out = NULL, *out_again = NULL;
	size_t n, n_again;

	if (nbytes != 0)
		memcpy(text, data, nbytes);
	fuzz_seal_manifest(text, nbytes);
	if (uw_manifest_parse(text, nbytes + FUZZ_SEAL_NBYTES, &manifest, &err) == UW_OK) {
		for (uint64_t i = 0; i < manifest.nfiles; i++) {
			const char *path = manifest.files[i].path;

			FUZZ_ASSERT(uw_path_check(path, strlen(path), NULL) == UW_OK);
			FUZZ_ASSERT(uw_manifest_find(&manifest, path) == &manifest.files[i]);
		}
		FUZZ_ASSERT(uw_manifest_render(&manifest, &out, &n, &err) == UW_OK);
		FUZZ_ASSERT(uw_manifest_parse(out, n, &again, &err) == UW_OK && again.nfiles == manifest.nfiles);
		FUZZ_ASSERT(uw_manifest_render(&again, &out_again, &n_again, &err) == UW_OK);
		FUZZ_ASSERT(n == n_again && memcmp(out, out_again, n) == 0);
	}
	uw_manifest_free(&manifest);
	uw_manifest_free(&again);
	free(out);
	free(out_again);
	free(text);
	return 0;
}
