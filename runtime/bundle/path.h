/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_PATH_H
#define UW_PATH_H

#include <stddef.h>

#include "unweight/status.h"

/* SPEC.md 1.1's rule for paths: UW_ERR_PATH with the reason, or UW_OK. */
UW_MUST_CHECK enum uw_status uw_path_check(const char *path, size_t n, struct uw_error *err);

#endif
