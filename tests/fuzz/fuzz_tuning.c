/* SPDX-License-Identifier: Apache-2.0 */
/* A tuning file: what is read is sorted and in range, finds itself, is printed and read again as the same. */
#include "fuzz.h"
#include "unweight/tuning.h"

static const struct uw_tuning_entry *find_again(const struct uw_tuning *tuning, const struct uw_tuning_entry *e)
{
	const char *device = uw_tuning_device_name(tuning, e->device);

	FUZZ_ASSERT((device != NULL) == (e->device != 0));
	if (device == NULL)
		return uw_tuning_find(tuning, e->coding, e->nrows, e->ncols, e->batch);
	return uw_tuning_find_device(tuning, device, e->coding, e->nrows, e->ncols, e->batch);
}

static void check_entries(const struct uw_tuning *tuning)
{
	for (size_t i = 0; i < uw_tuning_nentries(tuning); i++) {
		const struct uw_tuning_entry *e = uw_tuning_entry(tuning, i);

		FUZZ_ASSERT(e->nrows != 0 && e->ncols != 0 && e->pipeline != UW_PIPELINE_AUTO &&
			    e->pipeline < UW_NPIPELINES);
		FUZZ_ASSERT(e->batch != 0 && e->batch <= UW_LINEAR_MAX_BATCH && (e->batch & (e->batch - 1)) == 0);
		FUZZ_ASSERT(find_again(tuning, e) == e);
	}
	FUZZ_ASSERT(uw_tuning_entry(tuning, uw_tuning_nentries(tuning)) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct uw_tuning *tuning, *again;
	char *text, *text_again;
	size_t n, n_again;
	char *input = fuzz_alloc(nbytes); /* no byte behind it */

	if (nbytes != 0)
		memcpy(input, data, nbytes);
	if (uw_tuning_parse(input, nbytes, &tuning, NULL) == UW_OK) {
		check_entries(tuning);
		FUZZ_ASSERT(uw_tuning_print(tuning, &text, &n, NULL) == UW_OK);
		FUZZ_ASSERT(uw_tuning_parse(text, n, &again, NULL) == UW_OK);
		FUZZ_ASSERT(uw_tuning_nentries(again) == uw_tuning_nentries(tuning));
		FUZZ_ASSERT(uw_tuning_print(again, &text_again, &n_again, NULL) == UW_OK);
		FUZZ_ASSERT(n == n_again && memcmp(text, text_again, n) == 0);
		free(text);
		free(text_again);
		uw_tuning_free(&again);
	} else {
		FUZZ_ASSERT(tuning == NULL);
	}
	uw_tuning_free(&tuning);
	free(input);
	return 0;
}
