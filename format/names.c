/* SPDX-License-Identifier: Apache-2.0 */
#include "names.h"

#include <stdlib.h>
#include <string.h>

/* Length of the UTF-8 sequence at `p`, or 0. The ranges of the second byte shut out overlong forms, surrogates and
 * what lies beyond U+10FFFF (Unicode, table 3-7). */
static size_t sequence_nbytes(const uint8_t *p, size_t nbytes_avail)
{
	uint8_t low = 0x80, high = 0xBF;
	size_t n;

	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xC2 || p[0] > 0xF4)
		return 0;
	n = p[0] < 0xE0 ? 2 : p[0] < 0xF0 ? 3 : 4;
	if (n > nbytes_avail)
		return 0;
	switch (p[0]) {
	case 0xE0: low = 0xA0; break;
	case 0xED: high = 0x9F; break;
	case 0xF0: low = 0x90; break;
	case 0xF4: high = 0x8F; break;
	default: break;
	}
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (p[i] < 0x80 || p[i] > 0xBF)
			return 0;
	return n;
}

bool uw_name_valid(const char *text, size_t nbytes)
{
	const uint8_t *p = (const uint8_t *)text;

	for (size_t i = 0, n; i < nbytes; i += n) {
		n = sequence_nbytes(p + i, nbytes - i);
		if (n == 0)
			return false;
	}
	return true;
}

static int compare(const char *a, size_t a_nbytes, const char *b, size_t b_nbytes)
{
	size_t n = a_nbytes < b_nbytes ? a_nbytes : b_nbytes;
	int order = n > 0 ? memcmp(a, b, n) : 0;

	return order != 0 ? order : (a_nbytes > b_nbytes) - (a_nbytes < b_nbytes);
}

static int compare_for_qsort(const void *left, const void *right)
{
	const struct uw_name *a = left, *b = right;
	int order = compare(a->text, a->nbytes, b->text, b->nbytes);

	return order != 0 ? order : (a->extent > b->extent) - (a->extent < b->extent);
}

const struct uw_name *uw_names_sort(struct uw_name *names, size_t n)
{
	if (n < 2)
		return NULL;
	qsort(names, n, sizeof(*names), compare_for_qsort);
	for (size_t i = 1; i < n; i++)
		if (compare(names[i - 1].text, names[i - 1].nbytes, names[i].text, names[i].nbytes) == 0)
			return &names[i];
	return NULL;
}

const struct uw_name *uw_names_find(const struct uw_name *names, size_t n, const char *text, size_t nbytes)
{
	size_t low = 0, high = n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;
		int order = compare(text, nbytes, names[mid].text, names[mid].nbytes);

		if (order == 0)
			return &names[mid];
		if (order < 0)
			high = mid;
		else
			low = mid + 1;
	}
	return NULL;
}
