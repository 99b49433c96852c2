/* SPDX-License-Identifier: Apache-2.0 */
/* What cli.c and progress.c share with message.c: the tool's name and verbosity, and one lock for stderr. */
#ifndef UW_MESSAGE_H
#define UW_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>

void uw_message_setup(const char *name, int verbosity); /* name is borrowed for good */
int uw_message_verbosity(void);
const char *uw_message_tool(void);

/* From here on messages are JSON objects. */
void uw_message_use_json(bool json);

/* Writes to stderr after erasing the bar that stands there; `bar` says that the text is the next bar. */
void uw_message_write(const char *text, size_t nbytes, bool bar);

#endif
