/* SPDX-License-Identifier: Apache-2.0 */
/* Exit codes of all tools: an interface, documented in README.md. */
#ifndef UW_EXITCODE_H
#define UW_EXITCODE_H

#include "unweight/status.h"

enum uw_exit {
	UW_EXIT_OK = 0,
	UW_EXIT_DIFFERS = 1,     /* a negative answer: contents differ */
	UW_EXIT_USAGE = 2,       /* bad command line */
	UW_EXIT_INPUT = 3,       /* input not acceptable: malformed, or odd under --strict */
	UW_EXIT_EXISTS = 4,      /* refuses to overwrite, or another precondition fails */
	UW_EXIT_CORRUPT = 5,     /* corrupt or untrusted bundle */
	UW_EXIT_IO = 6,          /* input/output error, may be retried */
	UW_EXIT_SPACE = 7,       /* out of disk space, quota or memory */
	UW_EXIT_UNSUPPORTED = 8, /* version, feature or kind not supported */
	UW_EXIT_INTERNAL = 70,   /* a bug of ours */
	UW_EXIT_TIME = 124,      /* --max-time is over; the number is that of timeout(1) */
};

/* Class of a library status. */
enum uw_exit uw_exit_of_status(enum uw_status status);

#endif
