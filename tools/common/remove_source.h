/* SPDX-License-Identifier: Apache-2.0 */
/* Removing a model that is safe elsewhere: --rm. */
#ifndef UW_REMOVE_SOURCE_H
#define UW_REMOVE_SOURCE_H

#include "file_list.h"
#include "manifest.h"

struct uw_removal {
	char *path;       /* of the model */
	bool single;      /* it is one file */
	uint64_t nfiles;
	struct uw_doomed *files; /* ascending by path */
};

/*
 * Before the model is read: notes what its files are. UW_ERR_EXISTS: a symbolic link leads to one of them, or to the
 * model; such a file belongs to somebody else too (the blobs of a hub cache do), and only the link could be removed.
 * Free in any case.
 */
UW_MUST_CHECK enum uw_status uw_removal_note(const char *path, const struct uw_file_list *only,
					     struct uw_removal *removal, struct uw_error *err);
void uw_removal_free(struct uw_removal *removal);

/*
 * Removes the files that the manifest has, then the folders that got empty, the model's own too. A file that is not the
 * one that was noted, or was written to since, stays: UW_ERR_MISMATCH. One that is gone already is fine. Goes on after
 * failures and gives the first; `where` is its file's path then, borrowed.
 */
UW_MUST_CHECK enum uw_status uw_removal_run(const struct uw_removal *removal, const struct uw_manifest *manifest,
					    const char **where, struct uw_error *err);

#endif
