/* SPDX-License-Identifier: Apache-2.0 */
/* Globs over names: bytes, whatever the locale; unweight.h says what they mean (uw_model_glob). */
#ifndef UW_GLOB_H
#define UW_GLOB_H

#include <stdbool.h>
#include <stddef.h>

bool uw_glob_matches(const char *glob, const char *text, size_t n);

#endif
