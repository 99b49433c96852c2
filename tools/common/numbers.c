/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers from the command line. */
#include <stdlib.h>
#include <string.h>

#include "cli.h"

enum { DURATION_MAX = 1000000000 }; /* seconds: as nanoseconds it fits 64 bits */

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool uw_parse_numbers(const char *arg, const char *what, uint64_t max, uint64_t *values, size_t room, size_t *n)
{
	const char *p = arg;

	for (*n = 0; *n < room; p++) {
		uint64_t value = 0;
		const char *start = p;

		for (; is_digit(*p) && value <= max; p++)
			value = value * 10 + (uint64_t)(*p - '0');
		if (p == start || value == 0 || value > max || (*n > 0 && value <= values[*n - 1]))
			break;
		values[(*n)++] = value;
		if (*p == '\0')
			return true;
		if (*p != ',')
			break;
	}
	uw_msg_error("not a list of %s: '%s' (ascending numbers from 1 to %llu, commas between them, at most %zu)",
		     what, arg, (unsigned long long)max, room);
	return false;
}

bool uw_parse_amount(const char *arg, const char *what, double max, double *value)
{
	char *end;

	*value = is_digit(arg[0]) || arg[0] == '.' ? strtod(arg, &end) : -1;
	if (*value > 0 && *value <= max && *end == '\0')
		return true;
	uw_msg_error("not a number of %s: '%s' (above 0, at most %g)", what, arg, max);
	return false;
}

bool uw_parse_duration(const char *arg, double *seconds)
{
	static const char units[] = "smhd";
	static const double nseconds[] = { 1, 60, 3600, 86400 };
	const char *unit;
	char *end = NULL;

	*seconds = is_digit(arg[0]) || arg[0] == '.' ? strtod(arg, &end) : -1;
	if (*seconds > 0 && *end != '\0' && (unit = strchr(units, *end)) != NULL) {
		*seconds *= nseconds[unit - units];
		end++;
	}
	if (*seconds > 0 && *seconds <= DURATION_MAX && *end == '\0')
		return true;
	uw_msg_error("not a duration: '%s' (above 0; seconds, or with s, m, h or d)", arg);
	return false;
}
