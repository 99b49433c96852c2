/* SPDX-License-Identifier: Apache-2.0 */
/* What the sinks share: the target and its temporary name, one file being written, folders walked without symlinks. */
#ifndef UW_SINK_PRIVATE_H
#define UW_SINK_PRIVATE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "sink.h"

/* Order of calls: begin, write.., end, again or commit. A sink that failed once takes nothing any more. */
enum uw_phase { UW_PHASE_IDLE, UW_PHASE_FILE, UW_PHASE_DONE, UW_PHASE_FAILED };

/* UW_ERR_ARG unless *phase is `want`. */
UW_MUST_CHECK enum uw_status uw_phase_expect(const enum uw_phase *phase, enum uw_phase want, struct uw_error *err);

/* *phase = next after UW_OK, else failed; returns status. */
enum uw_status uw_phase_move(enum uw_phase *phase, enum uw_phase next, enum uw_status status);

/* sink_target.c: an output that appears at once */

struct uw_target {
	int dir_fd;             /* folder that holds it */
	char *dir;              /* that folder's path */
	char *base;             /* final name in it */
	char tmp[NAME_MAX + 1]; /* temporary name in it; empty while there is none */
};

enum uw_target_kind { UW_TARGET_NONE, UW_TARGET_FILE, UW_TARGET_FOLDER, UW_TARGET_OTHER };

/* Splits path and opens the folder; nothing is created. On failure there is nothing to close. */
UW_MUST_CHECK enum uw_status uw_target_open(struct uw_target *t, const char *path, struct uw_error *err);

/* What stands under the final name now. A symlink to a file, or to nothing, is a file: rename replaces the link
 * itself. */
UW_MUST_CHECK enum uw_status uw_target_look(const struct uw_target *t, enum uw_target_kind *kind, struct uw_error *err);

/* Opens like uw_target_open and refuses what a file must not replace. */
UW_MUST_CHECK enum uw_status uw_target_open_file(struct uw_target *t, const char *path, bool replace,
						 struct uw_error *err);

/* Creates the temporary; a file is open for writing, a folder for openat. */
UW_MUST_CHECK enum uw_status uw_target_create_file(struct uw_target *t, mode_t mode, int *fd, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_target_create_folder(struct uw_target *t, int *fd, struct uw_error *err);

/* Gives the temporary its final name and makes that durable. `replace`: a file replaces, a folder changes places with
 * the old one, which is then deleted. */
UW_MUST_CHECK enum uw_status uw_target_publish_file(struct uw_target *t, bool replace, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_target_publish_folder(struct uw_target *t, bool replace, struct uw_error *err);

/* Removes the temporary, if there is one. */
UW_MUST_CHECK enum uw_status uw_target_discard(struct uw_target *t, struct uw_error *err);
void uw_target_close(struct uw_target *t); /* discards and frees */

/* sink_outfile.c: one file being written */

struct uw_outfile {
	int fd;           /* -1: none */
	uint64_t nbytes;  /* announced, or UW_SIZE_UNKNOWN */
	uint64_t written;
};

/* Standard output, to be closed; writing to it when it is a pipe does not block. -1 and errno on failure. */
int uw_stdout_open(void);

/* All of n bytes, through EINTR, short writes and a pipe that is full and non-blocking; -1 and errno on failure, ECANCELED
 * if the program is to stop while such a pipe stays full. */
int uw_write_all(int fd, const void *data, size_t n);

/* fsync of a folder; file systems that cannot do it are taken as done. */
int uw_sync_folder(int fd);

/* Takes the descriptor, also on failure, and reserves the space. */
UW_MUST_CHECK enum uw_status uw_outfile_begin(struct uw_outfile *f, int fd, uint64_t nbytes, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_outfile_write(struct uw_outfile *f, const void *data, size_t n, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_outfile_end(struct uw_outfile *f, struct uw_error *err); /* size check, fsync, close */
void uw_outfile_drop(struct uw_outfile *f);

/* sink_tree.c: folders below a descriptor; symlinks are never followed */

struct uw_names {
	char **name;
	size_t n, cap;
};

int uw_names_add(struct uw_names *names, const char *s, size_t n); /* -1 and errno ENOMEM on failure */
void uw_names_free(struct uw_names *names);

/* Length of the folder part of a relative path: 1 for "a/b", 0 for "a". */
size_t uw_tree_folder_len(const char *path);

/*
 * Opens the folder path[0 .. n) below root; n 0 is root itself. With `make`, folders that are missing are made, 0755
 * less umask, and if `made` is not NULL added to it. -1 and errno on failure: ELOOP if a symlink is in the way,
 * ENOTDIR if a file is.
 */
int uw_tree_open(int root_fd, const char *path, size_t n, bool make, struct uw_names *made);

/* The same for the folder that holds `path`, whose last component is *name then. */
int uw_tree_open_above(int root_fd, const char *path, bool make, struct uw_names *made, const char **name);

/* Removes a file or a folder with all it holds; -1 and errno if something is left. Depth costs no descriptors. */
int uw_tree_remove(int dir_fd, const char *name);

#endif
