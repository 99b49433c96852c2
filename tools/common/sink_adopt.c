/* SPDX-License-Identifier: Apache-2.0 */
/* A folder that others made becomes an output. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "parts.h"
#include "sink_private.h"

/* `from` is "<path>SUFFIX/NAME": its path from the target's folder is short and has the target's base in it. */
enum uw_status uw_folder_adopt(const char *path, const char *from, bool replace, struct uw_error *err)
{
	size_t n = strlen(path);
	struct uw_target target;
	enum uw_status status = uw_target_open(&target, path, err);

	if (status != UW_OK)
		return status;
	if (strncmp(from, path, n) != 0 || snprintf(target.tmp, sizeof(target.tmp), "%s%s", target.base, from + n) >=
						   (int)sizeof(target.tmp))
		status = uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "the output's name is too long");
	else
		status = uw_target_publish_folder(&target, replace, err);
	if (status != UW_OK)
		target.tmp[0] = '\0'; /* what others made stays */
	uw_target_close(&target);
	return status;
}

enum uw_status uw_folder_remove(const char *path, struct uw_error *err)
{
	if (uw_tree_remove(AT_FDCWD, path) != 0 && errno != ENOENT)
		return uw_fail_errno(err, errno, "cannot remove '%s'", path);
	return UW_OK;
}
