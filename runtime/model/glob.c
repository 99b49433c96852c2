/* SPDX-License-Identifier: Apache-2.0 */
/* At most one `*` has to be remembered: if the rest behind a later one can be matched at all, then also with the former
 * one taking as little as it did. So the time is bounded by the product of the lengths. */
#include "glob.h"

#include <string.h>

/* A class [...] from its bracket on: whether it has `c`, and where it ends; NULL: no closing bracket, it means
 * itself. */
static const char *match_class(const char *glob, unsigned char c, bool *has)
{
	const char *p = glob + 1;
	bool negated = *p == '!';

	*has = false;
	p += negated;
	for (const char *begin = p; *p != ']' || p == begin; p++) {
		unsigned char low = (unsigned char)*p, high = low;

		if (low == '\0')
			return NULL;
		if (p[1] == '-' && p[2] != ']' && p[2] != '\0') {
			high = (unsigned char)p[2];
			p += 2;
		}
		*has |= low <= c && c <= high;
	}
	*has ^= negated;
	return p + 1;
}

/* Matches one character; returns the glob behind it, or NULL. */
static const char *match_one(const char *glob, unsigned char c)
{
	if (*glob == '?')
		return glob + 1;
	if (*glob == '[') {
		bool has;
		const char *end = match_class(glob, c, &has);

		if (end != NULL)
			return has ? end : NULL;
	}
	return *glob != '\0' && (unsigned char)*glob == c ? glob + 1 : NULL;
}

bool uw_glob_matches(const char *glob, const char *text, size_t n)
{
	const char *star = NULL; /* what follows the last star */
	size_t at = 0, taken = 0; /* up to where that star has taken */

	while (at < n) {
		const char *next;

		if (*glob == '*') {
			star = ++glob;
			taken = at;
			continue;
		}
		next = match_one(glob, (unsigned char)text[at]);
		if (next != NULL) {
			glob = next;
			at++;
		} else if (star != NULL) {
			glob = star;
			at = ++taken;
		} else {
			return false;
		}
	}
	return glob[strspn(glob, "*")] == '\0';
}
