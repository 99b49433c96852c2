/* SPDX-License-Identifier: Apache-2.0 */
/* Code lengths: of any counts, and any lengths at all. */
#include "fuzz.h"
#include "huffman.h"

/* Kraft's sum, in 128ths. */
static unsigned kraft(const uint8_t lens[UW_SYMBOLS])
{
	unsigned sum = 0;

	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		if (lens[s] != 0)
			sum += 128u >> lens[s];
	return sum;
}

/* Each window begins with the code of the symbol it decodes to, and of no other. */
static void check_code(const uint8_t lens[UW_SYMBOLS])
{
	struct uw_huff_code code[UW_SYMBOLS];
	struct uw_huff_entry table[128];
	uint8_t values[UW_SYMBOLS];

	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		values[s] = (uint8_t)(3 * s);
	uw_huff_codes(lens, code);
	uw_huff_window_table(lens, values, table);
	for (unsigned w = 0; w < 128; w++) {
		unsigned found = 0;

		for (unsigned s = 0; s < UW_SYMBOLS; s++) {
			if (lens[s] == 0 || (w & ((1u << lens[s]) - 1)) != code[s].bits)
				continue;
			FUZZ_ASSERT(table[w].value == values[s] && table[w].nbits == lens[s]);
			found++;
		}
		FUZZ_ASSERT(found == 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t nbytes)
{
	struct fuzz_input in = { data, data + nbytes };
	uint64_t counts[UW_SYMBOLS];
	uint8_t lens[UW_SYMBOLS], made[UW_SYMBOLS];
	bool fits = true;

	for (unsigned s = 0; s < UW_SYMBOLS; s++)
		lens[s] = fuzz_u8(&in);
	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		unsigned shift = lens[s] % 40;

		counts[s] = (uint64_t)fuzz_u16(&in) << shift;
		fits &= lens[s] <= UW_MAX_CODE_LEN;
	}
	FUZZ_ASSERT(uw_huff_complete(lens) == (fits && kraft(lens) == 128));
	if (uw_huff_complete(lens))
		check_code(lens);
	uw_huff_lengths(counts, made);
	FUZZ_ASSERT(uw_huff_complete(made));
	for (unsigned s = 0; s < UW_SYMBOLS; s++) {
		FUZZ_ASSERT(counts[s] == 0 || made[s] != 0);
		for (unsigned t = 0; t < UW_SYMBOLS; t++)
			FUZZ_ASSERT(counts[s] <= counts[t] || counts[t] == 0 || made[s] <= made[t]);
	}
	check_code(made);
	return 0;
}
