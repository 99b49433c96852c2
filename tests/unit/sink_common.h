/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of sinks share: a folder to work in, files in it, and faults by --wrap. */
#ifndef UW_SINK_COMMON_H
#define UW_SINK_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <sys/stat.h>

#include "sink_private.h"

/* Faults, off between tests. */
struct fault {
	int write_errno;      /* every write fails with it */
	bool write_ragged;    /* every second write fails with EINTR, the others take at most 3 bytes */
	int fsync_errno;
	bool plain_rename;    /* renameat2 is not known */
	unsigned nwrites;
};
extern struct fault fault;

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter, leave)

extern char work[]; /* path of the folder in which the test runs */
extern struct uw_error err;

int enter(void **state);
int leave(void **state);
/* The folder holds exactly these names, given sorted and with a space after each. */
void assert_holds(const char *folder, const char *names);
/* The whole file, malloced and terminated. */
char *slurp(const char *path, size_t *n);
void assert_text(const char *path, const char *text);
void assert_mode(const char *path, mode_t mode);
void make_file(const char *path, const char *text);
/* begin, write and end; the first status that is not UW_OK. */
enum uw_status put(struct uw_sink *s, const char *path, const char *text, bool executable);
struct uw_sink *open_folder(const char *path, enum uw_replace replace);
void commit(struct uw_sink **s);
enum uw_status open_refused(const char *path, enum uw_replace replace);

#endif
