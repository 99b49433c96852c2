/* SPDX-License-Identifier: Apache-2.0 */
/* Tensor names: valid UTF-8, unique, found by bisection. */
#ifndef UNWEIGHT_FORMAT_NAMES_H
#define UNWEIGHT_FORMAT_NAMES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct uw_name {
	const char *text; /* nbytes bytes, NULs and all */
	uint32_t nbytes;
	uint32_t extent;
};

bool uw_name_valid(const char *text, size_t nbytes);

/* Sorts by bytes. Returns NULL, or of two equal names the one with the higher extent. */
const struct uw_name *uw_names_sort(struct uw_name *names, size_t n);

/* In a sorted array; NULL if it is not there. */
const struct uw_name *uw_names_find(const struct uw_name *names, size_t n, const char *text, size_t nbytes);

#endif
