/* SPDX-License-Identifier: Apache-2.0 */
/* A sink for one single file, or for standard output. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sink_private.h"

struct file_sink {
	struct uw_sink base;
	struct uw_target target;
	struct uw_outfile file;
	enum uw_phase phase;
	bool replace;
	bool to_stdout; /* then target is not used */
	bool whole; /* the file is written */
};

static enum uw_status start(struct file_sink *s, uint64_t nbytes, bool executable, struct uw_error *err)
{
	int fd;
	enum uw_status status;

	if (s->whole)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "the output is one single file");
	if (s->to_stdout) {
		fd = uw_stdout_open();
		s->file = (struct uw_outfile){.fd = fd, .nbytes = nbytes};
		return fd >= 0 ? UW_OK : uw_fail_errno(err, errno, "standard output");
	}
	status = uw_target_create_file(&s->target, executable ? 0755 : 0644, &fd, err);
	return status == UW_OK ? uw_outfile_begin(&s->file, fd, nbytes, err) : status;
}

static enum uw_status file_begin(struct uw_sink *sink, const char *path, uint64_t nbytes, bool executable,
				 struct uw_error *err)
{
	struct file_sink *s = (struct file_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_IDLE, err);

	(void)path;
	if (status == UW_OK)
		status = start(s, nbytes, executable, err);
	return uw_phase_move(&s->phase, UW_PHASE_FILE, status);
}

static enum uw_status file_write(struct uw_sink *sink, const void *data, size_t nbytes, struct uw_error *err)
{
	struct file_sink *s = (struct file_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_FILE, err);

	if (status == UW_OK)
		status = uw_outfile_write(&s->file, data, nbytes, err);
	return uw_phase_move(&s->phase, UW_PHASE_FILE, status);
}

static enum uw_status file_end(struct uw_sink *sink, struct uw_error *err)
{
	struct file_sink *s = (struct file_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_FILE, err);

	if (status == UW_OK && !s->to_stdout)
		status = uw_outfile_end(&s->file, err);
	s->whole = status == UW_OK;
	return uw_phase_move(&s->phase, UW_PHASE_IDLE, status);
}

static enum uw_status file_commit(struct uw_sink *sink, struct uw_error *err)
{
	struct file_sink *s = (struct file_sink *)sink;
	enum uw_status status = uw_phase_expect(&s->phase, UW_PHASE_IDLE, err);

	if (status == UW_OK && !s->whole)
		status = uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "no file was written");
	if (status == UW_OK && !s->to_stdout)
		status = uw_target_publish_file(&s->target, s->replace, err);
	return uw_phase_move(&s->phase, UW_PHASE_DONE, status);
}

static void file_close(struct uw_sink *sink)
{
	struct file_sink *s = (struct file_sink *)sink;

	uw_outfile_drop(&s->file);
	if (!s->to_stdout)
		uw_target_close(&s->target);
	free(s);
}

enum uw_status uw_sink_open_file(const char *path, enum uw_replace replace, struct uw_sink **sink,
				 struct uw_error *err)
{
	static const struct uw_sink_ops ops = {file_begin, file_write, file_end, file_commit, file_close};
	struct file_sink *s = calloc(1, sizeof(*s));
	enum uw_status status;

	if (s == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "output");
	s->file.fd = -1;
	s->replace = replace != UW_REPLACE_NEVER;
	s->to_stdout = strcmp(path, "-") == 0;
	s->base.ops = &ops;
	if (!s->to_stdout)
		status = uw_target_open_file(&s->target, path, s->replace, err);
	else if (!s->replace && isatty(STDOUT_FILENO))
		status = uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "refusing to write raw bytes to a terminal");
	else
		status = UW_OK;
	if (status != UW_OK) {
		free(s);
		return status;
	}
	*sink = &s->base;
	return UW_OK;
}
