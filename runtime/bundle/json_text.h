/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_JSON_TEXT_H
#define UW_JSON_TEXT_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/status.h"

/*
 * json_loadb that tells lack of memory from bad text; jansson by itself calls most of the former a syntax error.
 * UW_ERR_NOMEM, or `refused` with jansson's words and `base` + its position. The caller gives back *value.
 */
UW_MUST_CHECK enum uw_status uw_json_load(const char *text, size_t n, size_t flags, enum uw_status refused,
					  const char *what, uint64_t base, json_t **value, struct uw_error *err);

/* Whether the text is one JSON object or array by RFC 8259, nested at most 2048 deep. Allocates nothing. */
bool uw_json_is_grammatical(const char *text, size_t n);

/* A value, NULL too, as what it ought to be; false if it is not. uw_json_is: this text. uw_json_hex: n bytes in lower-case
 * hexadecimal digits. uw_json_u64: a whole number, 0 or more. */
bool uw_json_is(const json_t *v, const char *text);
bool uw_json_hex(const json_t *v, uint8_t *bytes, size_t n);
bool uw_json_u64(const json_t *v, uint64_t *out);

#endif
