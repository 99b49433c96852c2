/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "manifest.h"
#include "sink.h"

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

enum uw_status uw_text_load(const char *path, char **text, size_t *n, struct uw_error *err)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	struct uw_blob blob;
	enum uw_status status;

	*text = NULL;
	if (fd < 0)
		return uw_fail_errno(err, errno, "open");
	status = uw_blob_of_fd(&fd, &blob, err);
	if (status == UW_OK && blob.nbytes > UW_MANIFEST_MAX_NBYTES)
		status = uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "the file is too large");
	if (status == UW_OK) {
		*n = (size_t)blob.nbytes;
		*text = malloc(*n + 1);
		status = *text != NULL ? uw_blob_read(&blob, *text, *n, 0, err) : uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "text");
	}
	close(fd);
	return status;
}

enum uw_status uw_text_store(const char *path, bool replace, const char *text, size_t n, struct uw_error *err)
{
	struct uw_sink *sink;
	enum uw_status status = uw_sink_open_file(path, replace ? UW_REPLACE_FILES : UW_REPLACE_NEVER, &sink, err);

	if (status != UW_OK)
		return status;
	status = uw_sink_begin(sink, "text", n, false, err);
	if (status == UW_OK)
		status = uw_sink_write(sink, text, n, err);
	if (status == UW_OK)
		status = uw_sink_end(sink, err);
	if (status == UW_OK)
		status = uw_sink_commit(sink, err);
	uw_sink_close(&sink);
	return status;
}
