/* SPDX-License-Identifier: Apache-2.0 */
/* Files of text, as a whole. */
#ifndef UW_TEXT_H
#define UW_TEXT_H

#include <stdbool.h>
#include <stddef.h>

#include "unweight/status.h"

/* All of a text of at most 1 GiB, whatever it is read from (a pipe, say; "-" is standard input), malloced, a NUL behind its
 * *nbytes. NULL after failure. */
UW_MUST_CHECK enum uw_status uw_text_read(const char *from, char **text, size_t *nbytes, struct uw_error *err);

/* A regular file of at most UW_MANIFEST_MAX_NBYTES, malloced, of *n bytes without a NUL; and the inverse, atomically,
 * replacing or not, to standard output for "-". */
UW_MUST_CHECK enum uw_status uw_text_load(const char *path, char **text, size_t *n, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_text_store(const char *path, bool replace, const char *text, size_t n,
					   struct uw_error *err);

#endif
