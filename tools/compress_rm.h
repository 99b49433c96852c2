/* SPDX-License-Identifier: Apache-2.0 */
/* unweight-compress --rm: when the model may go. */
#ifndef UW_COMPRESS_RM_H
#define UW_COMPRESS_RM_H

#include "remove_source.h"
#include "tool.h"

/* Before the work: notes the files. Prints what forbids it and gives the exit code. Free the removal in any case. */
int uw_rm_note(const char *path, const struct uw_file_list *only, struct uw_removal *removal);

/* After the bundle got its name: a tar, which is another file than the one that was read back, is proven by its
 * checksums; then the files in the manifest are removed. Gives the exit code. */
int uw_rm_run(struct uw_tool *tool, const char *output, const struct uw_removal *removal,
	      const struct uw_manifest *manifest);

#endif
