/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_MAX_NBYTES = 1 << 30 };

static enum uw_status read_all(FILE *f, char **text, size_t *n, struct uw_error *err)
{
	size_t room = 0;

	for (*n = 0;;) {
		if (*n + 1 >= room) {
			char *bigger = room < TEXT_MAX_NBYTES ? realloc(*text, room = 2 * room + 4096) : NULL;

			if (bigger == NULL)
				return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of files");
			*text = bigger;
		}
		*n += fread(*text + *n, 1, room - *n - 1, f);
		if (ferror(f))
			return uw_fail_errno(err, errno, "read");
		if (feof(f))
			break;
	}
	(*text)[*n] = '\0';
	return UW_OK;
}

enum uw_status uw_text_read(const char *from, char **text, size_t *nbytes, struct uw_error *err)
{
	FILE *f = strcmp(from, "-") == 0 ? stdin : fopen(from, "re");
	enum uw_status status;

	*text = NULL;
	if (f == NULL)
		return uw_fail_errno(err, errno, "open");
	status = read_all(f, text, nbytes, err);
	if (f != stdin)
		fclose(f);
	if (status != UW_OK) {
		free(*text);
		*text = NULL;
	}
	return status;
}
