/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all tools share on the command line: option tables, messages, progress, signals.
 * Only main() files call into this; nothing here is used by the other modules of tools/common.
 */
#ifndef UW_CLI_H
#define UW_CLI_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "exitcode.h"

/* One option. Tables end with an entry whose long_name is NULL. */
struct uw_option {
	char short_name;       /* 0: none */
	const char *long_name;
	const char *arg;       /* name of its argument in the help, or NULL for a switch */
	const char *help;      /* one line; may contain \n */
	int id;                /* given to the handler */
	const char *values;    /* the words its argument may be, for completions: "a b c"; NULL if it is no choice */
};

/* A tool's command line. -h/--help, --version, -q/--quiet, -v/--verbose and "--" are built in and need no entry. */
struct uw_cli {
	const char *name;      /* "unweight-compress" */
	const char *synopsis;  /* "PATH -o BUNDLE [options]" */
	const char *summary;   /* one or two sentences */
	const char *epilog;    /* printed at the end of --help only; may be NULL */
	const struct uw_option *options;
	int min_args, max_args;
};

/* Called for each option in turn. Returns false after printing (uw_msg_error) if the argument is no good: exit 2. */
typedef bool (*uw_option_fn)(void *opts, int id, const char *arg);

struct uw_cli_result {
	int exit_code;    /* -1: go on; else leave main with it (help, version, usage error) */
	int nargs;
	char **args;      /* points into argv, which is permuted */
	int verbosity;    /* 0 normal, -1 quiet, -2 silent, 1.. verbose */
};

/* Parses argv: short options may be bundled and take "-oX" or "-o X", long ones "--out=X" or "--out X"; unique
 * prefixes of long names are NOT accepted. -h prints one screen, --help the same and the epilog, to stdout;
 * --help=options, which the help does not mention, the tables for tools/man. Usage
 * errors go to stderr with a hint at -h. Sets the verbosity for uw_msg_*. */
struct uw_cli_result uw_cli_parse(const struct uw_cli *cli, int argc, char **argv, uw_option_fn handle, void *opts);

/* Number of threads from an argument: 1..1024, or 0 = the CPUs available to this process (affinity mask and cgroup
 * cpu.max). False after printing if it is no such number. uw_cpus_available is at least 1. */
bool uw_parse_threads(const char *arg, unsigned *nthreads);
unsigned uw_cpus_available(void);

/* A list "1,8,16" of numbers from 1 to `max`; at most `room` of them, ascending. False after printing if it is none. */
bool uw_parse_numbers(const char *arg, const char *what, uint64_t max, uint64_t *values, size_t room, size_t *n);
/* A number of seconds or the like, above 0, with or without a decimal point. */
bool uw_parse_amount(const char *arg, const char *what, double max, double *value);
/* "90", "1.5h": seconds, or with one of s, m, h, d; above 0. */
bool uw_parse_duration(const char *arg, double *seconds);

/* What this program is made of, as a JSON object: unweight(7) describes it. False: out of memory. */
bool uw_version_write_json(const char *tool, FILE *f);

/* Messages to stderr, "NAME: text" with unprintable bytes escaped as \xNN (valid UTF-8 stays, C1 controls and bidi
 * overrides do not). */
void uw_msg_error(const char *fmt, ...) UW_PRINTF(1, 2);   /* verbosity >= -1 */
void uw_msg_warn(const char *fmt, ...) UW_PRINTF(1, 2);    /* verbosity >= 0 */
void uw_msg_info(const char *fmt, ...) UW_PRINTF(1, 2);    /* verbosity >= 1 */
/* Prints *err as an error ("PATH: what: strerror, at offset N") and gives the exit code of its status. */
enum uw_exit uw_msg_failure(const char *path, const struct uw_error *err);
/* Writes text to f with the same escaping, for tables on stdout. */
void uw_print_escaped(FILE *f, const char *text, size_t n);
/* As a JSON string with its quotes; bytes that are no UTF-8 escaped as above. */
void uw_print_json_string(FILE *f, const char *text);

/* Human size: "1.23 GiB"; buf of 32 bytes. */
const char *uw_human_size(uint64_t nbytes, char buf[32]);

/*
 * How stderr is used, for the whole program: "auto", "none" or "json". False after printing if it is none of these.
 * auto: a progress bar, only if stderr is a terminal, verbosity >= 0, and none of CI, NO_COLOR, TERM=dumb says no.
 * json: no bar, and all that goes to stderr, messages too, are JSON objects, one a line: unweight(7) describes them.
 */
bool uw_parse_progress(const char *arg);

struct uw_progress {
	uint64_t total, done;
	const char *label;
	bool on;    /* something is shown */
	uint64_t shown_ms, start_ms;
};
void uw_progress_begin(struct uw_progress *p, const char *label, uint64_t total);
void uw_progress_add(struct uw_progress *p, uint64_t n); /* thread-safe; redraws at most 10 times a second */
void uw_progress_say(struct uw_progress *p, const char *text); /* instead of the bar: what is being done now */
void uw_progress_end(struct uw_progress *p);             /* erases the bar */

/* For json: a file is done, in whatever job is going on. `stored_nbytes` is UINT64_MAX if it says nothing, `status`
 * NULL. */
void uw_progress_file(const char *path, uint64_t nbytes, uint64_t stored_nbytes, const char *status);

/* SIGINT, SIGTERM, SIGHUP and SIGPIPE (unless ignored at start) only set a flag; main cleans up and calls
 * uw_signals_reraise last, so that a shell sees the signal. */
void uw_signals_install(void);
bool uw_interrupted(void);

/* The time of uw_clock_ns at which the program has to stop, and whether that or a signal has come. */
void uw_stop_at(uint64_t ns);
bool uw_stopped(void);
void uw_signals_reraise(void); /* returns if there was no signal */

#endif
