/* SPDX-License-Identifier: Apache-2.0 */
/* Where in its base a group of coding COPY or DELTA has its likeness (SPEC.md section 4). */
#include "layout.h"

enum {
	REFERENCE_FILE = 0,
	REFERENCE_RESERVED = 4,
	REFERENCE_OFF = 8,
};
_Static_assert(REFERENCE_OFF + 8 == UW_REFERENCE_NBYTES, "reference");

void uw_reference_store(const struct uw_reference *reference, uint8_t *stored)
{
	uw_store_le32(stored + REFERENCE_FILE, (uint32_t)reference->file); /* a manifest has fewer files */
	uw_store_le32(stored + REFERENCE_RESERVED, 0);
	uw_store_le64(stored + REFERENCE_OFF, reference->off);
}

enum uw_status uw_reference_load(const uint8_t *stored, struct uw_reference *reference)
{
	reference->file = uw_load_le32(stored + REFERENCE_FILE);
	reference->off = uw_load_le64(stored + REFERENCE_OFF);
	return uw_load_le32(stored + REFERENCE_RESERVED) == 0 ? UW_OK : UW_ERR_LAYOUT;
}
