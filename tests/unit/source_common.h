/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of sources share: folders to work in, and what a source lists as one line of text. */
#ifndef UW_SOURCE_COMMON_H
#define UW_SOURCE_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "source.h"

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

#define CAFE_NFC "caf\xc3\xa9.json"
#define CAFE_NFD "cafe\xcc\x81.json"

#define TEST(function) cmocka_unit_test_setup_teardown(function, enter, leave)

void put(const char *path, const void *data, size_t nbytes);
void put_text(const char *path, const char *text);
int make_root(void **state);
int remove_root(void **state);
/* Tests run in a folder below `root`; each has a folder of its own. */
int enter(void **state);
int leave(void **state);
/* "path=bytes" of each file, '*' behind the path of an executable, in the order they come. */
enum uw_status read_source(struct uw_source *source, bool opened, char *text, size_t room, struct uw_error *err);
enum uw_status read_folder(const char *path, char *text, size_t room, struct uw_error *err);
void assert_folder(const char *path, const char *want);
void assert_folder_fails(const char *path, enum uw_status want, const char *named);
enum uw_status read_archive_fd(int fd, bool opened, char *text, size_t room, struct uw_error *err);
enum uw_status read_archive(const char *path, bool opened, char *text, size_t room, struct uw_error *err);

#endif
