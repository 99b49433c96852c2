/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_TEXT_H
#define UW_TEXT_H

#include <stddef.h>

#include "unweight/status.h"

/* All of a text of at most 1 GiB, whatever it is read from (a pipe, say; "-" is standard input), malloced, a NUL behind its
 * *nbytes. NULL after failure. */
UW_MUST_CHECK enum uw_status uw_text_read(const char *from, char **text, size_t *nbytes, struct uw_error *err);

#endif
