/* SPDX-License-Identifier: Apache-2.0 */
/* Something of known size that can be read at any offset: a file, a spooled archive member, a restored file. */
#ifndef UNWEIGHT_BLOB_H
#define UNWEIGHT_BLOB_H

#include <stddef.h>
#include <stdint.h>

#include "unweight/format.h"

#ifdef __cplusplus
extern "C" {
#endif

struct uw_blob {
	uw_pread_fn pread; /* exactly nbytes at off, or an error; safe from many threads at once */
	void *ctx;
	uint64_t nbytes;
};

/* Reads exactly nbytes at off; a range beyond the end is UW_ERR_TRUNCATED. */
UW_MUST_CHECK enum uw_status uw_blob_read(const struct uw_blob *blob, void *dst, size_t nbytes, uint64_t off,
					  struct uw_error *err);

/* A blob over an open regular file; *fd is borrowed and must outlive the blob. Uses pread(2), survives EINTR and
 * short reads; a file that became shorter is UW_ERR_TRUNCATED, never SIGBUS. `nbytes` is the size at this moment. */
UW_MUST_CHECK enum uw_status uw_blob_of_fd(int *fd, struct uw_blob *blob, struct uw_error *err);

/* A blob over memory, borrowed: mem->data[0 .. blob->nbytes). */
struct uw_memory {
	const uint8_t *data;
};
void uw_blob_of_memory(struct uw_memory *mem, uint64_t nbytes, struct uw_blob *blob);

#ifdef __cplusplus
}
#endif
#endif
