/* SPDX-License-Identifier: Apache-2.0 */
/* A list of files of a model, as a command line names it: --files-from. */
#ifndef UW_FILE_LIST_H
#define UW_FILE_LIST_H

#include <stdio.h>

#include "source.h"

struct uw_file_list {
	char *text;         /* what was read */
	const char **paths; /* in it; ascending, none twice */
	size_t npaths;
};

/*
 * Reads a list, one path a line or, with `nul`, one before each NUL; `from` "-" is standard input. Paths are relative
 * to the model, that of a folder stands for all below it; empty ones, "./" in front and "/" at the end count for
 * nothing. UW_ERR_PATH: a path that no file of a model can have. Free in any case.
 */
UW_MUST_CHECK enum uw_status uw_file_list_read(const char *from, bool nul, struct uw_file_list *list,
					       struct uw_error *err);
void uw_file_list_free(struct uw_file_list *list);

/* Is the file in the list, or below a folder that is? */
bool uw_file_list_has(const struct uw_file_list *list, const char *path);
/* The same for a folder, or is something in the list below it? */
bool uw_file_list_leads_into(const struct uw_file_list *list, const char *folder);

/* The first path of the list that is none of these files, ascending by path, nor a folder of any; NULL if there is
 * none. */
const char *uw_file_list_missing(const struct uw_file_list *list, const struct uw_entry *files, size_t nfiles);

#endif
