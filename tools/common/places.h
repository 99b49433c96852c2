/* SPDX-License-Identifier: Apache-2.0 */
/* What a tool writes must not get in the way of what it reads, nor of what else it writes. */
#ifndef UW_PLACES_H
#define UW_PLACES_H

#include <stdbool.h>

/* Where `path` lies from the folder or file `top`: "" if it is that, else its path below it, malloced. NULL if it lies
 * elsewhere, or one of them cannot be found (it need not exist, but the folder it is in), is NULL, empty or "-". */
char *uw_path_below(const char *path, const char *top);
bool uw_path_lies_in(const char *path, const char *top); /* its not being NULL */

enum { UW_PLACES_MAX = 5 };

/* Paths as the command line has them; NULL: none, "-": standard input or output. */
struct uw_places {
	const char *reads[UW_PLACES_MAX];   /* models, bundles, lists */
	const char *output;                 /* a bundle or model to be written */
	const char *reports[UW_PLACES_MAX]; /* files to be written beside it, at the end */
};

/*
 * Before the work. The exit code, after printing if it is not 0: UW_EXIT_USAGE if two things would be written to standard
 * output or to one place, a report into the output or into a bundle, or over a file of a model; else why a report's
 * file cannot be created.
 */
int uw_places_check(const struct uw_places *places);

#endif
