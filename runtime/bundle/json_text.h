/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_JSON_TEXT_H
#define UW_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "unweight/status.h"

/*
 * json_loadb that tells lack of memory from bad text; jansson by itself calls most of the former a syntax error.
 * UW_ERR_NOMEM, or `refused` with jansson's words and `base` + its position. The caller gives back *value.
 */
UW_MUST_CHECK enum uw_status uw_json_load(const char *text, size_t n, size_t flags, enum uw_status refused,
					  const char *what, uint64_t base, json_t **value, struct uw_error *err);

/* Whether the text is one JSON object or array by RFC 8259, nested at most 2048 deep. Allocates nothing. */
bool uw_json_is_grammatical(const char *text, size_t n);

#endif
