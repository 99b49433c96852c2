/* SPDX-License-Identifier: Apache-2.0 */
/* What every main() sets up: loops for this CPU, threads, progress, cancellation, reports. */
#ifndef UW_TOOL_H
#define UW_TOOL_H

#include <jansson.h>

#include "base.h"
#include "cli.h"
#include "sink.h"
#include "source.h"
#include "unweight/container.h"

struct uw_tool {
	struct uw_cpu_ops ops;
	struct uw_progress progress;
	struct uw_job job; /* borrows the two above: the tool must not be moved */
	uint64_t start_ns;
	_Atomic uint64_t spent_ns[UW_NSTAGES];
};

/* nthreads 0: what UNWEIGHT_THREADS says, or all CPUs available. Installs the signal handlers. Ends the program (exit
 * 2) if that is no number, or UW_CPU_LEVEL names no level. */
void uw_tool_init(struct uw_tool *tool, unsigned nthreads);

/* What --base names, *base NULL if `path` is; close it in any case. The exit code, after printing a failure. */
int uw_tool_open_base(const struct uw_tool *tool, const char *path, struct uw_bundle_base **base);

/* Shows the source's warnings, and lets signals stop its waiting. */
void uw_tool_watch(struct uw_tool *tool, struct uw_source *source);

/* With -v: where the time went since uw_tool_init, for a job over nbytes of source; `code` says what UW_STAGE_CODE is
 * here. */
void uw_tool_tell_times(const struct uw_tool *tool, const char *code, uint64_t nbytes);

/* Whether JSON that was read or made may have holes: out of memory. */
bool uw_json_lacked_memory(void);

/* Folder for temporary files: $TMPDIR or /tmp. */
const char *uw_tmp_dir(void);

/* Prints the failure (nothing for a cancellation by signal) and gives the exit code. */
int uw_tool_failure(const char *path, const struct uw_error *err);

/* Ends main: re-raises a signal that came in, else gives back the code. Checks that stdout could be written. */
int uw_tool_exit(int code);

/* Writes `report` with sorted keys to `path`, or to stdout for "-"; takes the reference. A NULL report is out of
 * memory. Files are replaced atomically. */
UW_MUST_CHECK enum uw_status uw_write_json(const char *path, json_t *report, struct uw_error *err);

/* A string for a report: `text` as it is or, if it is not UTF-8 (a name cut by a message, a path of the command
 * line), escaped as on a terminal. */
json_t *uw_json_text(const char *text);

/* What uw_write_json does, for a function that prints to a stream and returns 0 or -1. */
UW_MUST_CHECK enum uw_status uw_write_text(const char *path, int (*print)(const void *ctx, FILE *f), const void *ctx,
					   struct uw_error *err);

/* A sink for restored files or bundles by the form of the path: "-" and archive suffixes make an archive. */
bool uw_path_is_archive(const char *path, enum uw_archive_kind *kind);

#endif
