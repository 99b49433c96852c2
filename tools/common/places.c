/* SPDX-License-Identifier: Apache-2.0 */
#include "places.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle.h"
#include "sink_private.h"
#include "tool.h"

/* ---- one path and another ---- */

/* The path without links in its folders; what stands there itself, link or nothing, is not followed. */
static char *location_of_name(const char *path)
{
	size_t n = strlen(path), above;
	char *folder, *real, *location = NULL;

	while (n > 1 && path[n - 1] == '/')
		n--;
	for (above = n; above > 0 && path[above - 1] != '/'; above--)
		continue;
	folder = above != 0 ? strndup(path, above) : strdup(".");
	real = folder != NULL ? realpath(folder, NULL) : NULL;
	if (real != NULL && asprintf(&location, "%s/%.*s", strcmp(real, "/") == 0 ? "" : real, (int)(n - above),
				     path + above) < 0)
		location = NULL;
	free(folder);
	free(real);
	return location;
}

static char *location_of(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISDIR(st.st_mode) ? realpath(path, NULL) : location_of_name(path);
}

static bool is_place(const char *path)
{
	return path != NULL && path[0] != '\0' && strcmp(path, "-") != 0;
}

char *uw_path_below(const char *path, const char *top)
{
	bool known = is_place(path) && is_place(top);
	char *at = known ? location_of(path) : NULL, *from = known ? location_of(top) : NULL, *below = NULL;
	size_t n = from != NULL ? strlen(from) : 0;

	if (at != NULL && from != NULL && strncmp(at, from, n) == 0) {
		if (at[n] == '\0' || from[n - 1] == '/')
			below = strdup(at + n);
		else if (at[n] == '/')
			below = strdup(at + n + 1);
	}
	free(at);
	free(from);
	return below;
}

bool uw_path_lies_in(const char *path, const char *top)
{
	char *below = uw_path_below(path, top);
	bool lies_in = below != NULL;

	free(below);
	return lies_in;
}

/* ---- all that a tool writes ---- */

/* A model that is a folder may get a new file: that is its owner's business. */
static bool would_spoil(const char *report, const char *read)
{
	struct uw_error err;
	bool is_bundle = false;

	if (!uw_path_lies_in(report, read))
		return false;
	return access(report, F_OK) == 0 || uw_bundle_probe(read, &is_bundle, &err) != UW_OK || is_bundle;
}

static bool one_on_stdout(const struct uw_places *p)
{
	int n = p->output != NULL && strcmp(p->output, "-") == 0;

	for (int i = 0; i < UW_PLACES_MAX; i++)
		n += p->reports[i] != NULL && strcmp(p->reports[i], "-") == 0;
	if (n > 1)
		uw_msg_error("only one thing can be written to standard output");
	return n <= 1;
}

static bool is_apart(const struct uw_places *p, int k)
{
	const char *report = p->reports[k], *other = NULL;

	for (int i = 0; i < UW_PLACES_MAX; i++) {
		if (i > k && uw_path_lies_in(report, p->reports[i]))
			other = p->reports[i];
		if (would_spoil(report, p->reads[i]))
			other = p->reads[i];
	}
	if (uw_path_lies_in(report, p->output))
		other = p->output;
	if (other != NULL)
		uw_msg_error("%s: would spoil '%s'; give another place", report, other);
	return other == NULL;
}

/* Hours of work must not end with a report that cannot be written. */
static enum uw_status try_report(const char *path, struct uw_error *err)
{
	struct uw_target target;
	enum uw_status status = uw_target_open_file(&target, path, true, err);

	if (status != UW_OK)
		return status;
	if (faccessat(target.dir_fd, ".", W_OK | X_OK, AT_EACCESS) != 0)
		status = uw_fail_errno(err, errno, "cannot create a file in '%s'", target.dir);
	uw_target_close(&target);
	return status;
}

int uw_places_check(const struct uw_places *p)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };

	if (!one_on_stdout(p))
		return UW_EXIT_USAGE;
	for (int i = 0; i < UW_PLACES_MAX; i++) {
		if (!is_place(p->reports[i]))
			continue;
		if (!is_apart(p, i))
			return UW_EXIT_USAGE;
		if (try_report(p->reports[i], &err) != UW_OK)
			return uw_tool_failure(p->reports[i], &err);
	}
	return UW_EXIT_OK;
}
