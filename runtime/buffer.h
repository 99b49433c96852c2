/* SPDX-License-Identifier: Apache-2.0 */
/* A buffer that grows, aligned to 64. Zero-initialise; uw_buffer_free gives it back. */
#ifndef UW_BUFFER_H
#define UW_BUFFER_H

#include <stddef.h>
#include <stdint.h>

#include "unweight/status.h"

struct uw_buffer {
	uint8_t *data;
	size_t nbytes;
};

/* At least nbytes afterwards; contents are lost if it has to grow. */
UW_MUST_CHECK enum uw_status uw_buffer_reserve(struct uw_buffer *buffer, uint64_t nbytes, struct uw_error *err);
void uw_buffer_free(struct uw_buffer *buffer);
/* What a buffer for nbytes takes. */
uint64_t uw_buffer_nbytes(uint64_t nbytes);

#endif
