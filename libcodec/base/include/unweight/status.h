/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Status codes and error records shared by every layer.
 *
 * Every function that can fail returns enum uw_status and is marked UW_MUST_CHECK;
 * results come back through pointers and are valid only after UW_OK. Functions that
 * touch files or structured bytes take a last `struct uw_error *err` (may be NULL)
 * and say there where and what; the codec and the kernels never format text.
 */
#ifndef UNWEIGHT_STATUS_H
#define UNWEIGHT_STATUS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

#if defined(__GNUC__)
#define UW_MUST_CHECK __attribute__((warn_unused_result))
#define UW_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define UW_MUST_CHECK
#define UW_PRINTF(fmt, args)
#endif

/* Values are pinned: they may be stored, compared across versions and printed. Classes of ten. */
enum uw_status {
	UW_OK = 0,
	/* the caller's request */
	UW_ERR_ARG = 10,         /* an argument breaks the function's contract */
	UW_ERR_SPACE = 11,       /* the destination is too small */
	UW_ERR_UNSUPPORTED = 12, /* valid, but not served by this build */
	UW_ERR_EXISTS = 13,      /* the output is already there */
	UW_ERR_NOT_FOUND = 14,   /* no such file, tensor or entry */
	UW_ERR_CANCELLED = 15,   /* stopped on request */
	UW_ERR_BASE = 16,        /* needs the base that it was made with: none was given, or another */
	/* the container's bytes */
	UW_ERR_MAGIC = 20,     /* not a file of ours */
	UW_ERR_VERSION = 21,   /* a major version we do not know */
	UW_ERR_FEATURE = 22,   /* an incompatible feature bit we do not know */
	UW_ERR_TRUNCATED = 23, /* the file ends too early */
	UW_ERR_LAYOUT = 24,    /* an offset, size, count or reserved field breaks a rule of SPEC.md */
	UW_ERR_CHECKSUM = 25,  /* stored and computed hash differ */
	UW_ERR_MISMATCH = 26,  /* bytes differ from what they were compared with */
	/* the coded weights */
	UW_ERR_TABLE = 30, /* bad palette or code lengths */
	UW_ERR_BITS = 31,  /* a bit stream does not decode to what its header says */
	UW_ERR_PATCH = 32, /* bad patch list */
	/* source models */
	UW_ERR_FORMAT = 35, /* malformed safetensors, JSON or archive */
	UW_ERR_PATH = 36,   /* a file path that must not be used */
	/* the system */
	UW_ERR_IO = 40,      /* see os_errno */
	UW_ERR_NOMEM = 41,   /* out of memory */
	UW_ERR_NOSPACE = 42, /* disk or quota full */
	/* the device */
	UW_ERR_NO_DEVICE = 50,
	UW_ERR_DEVICE = 51,
	UW_ERR_SHAPE = 52,
	/* our own bug */
	UW_ERR_INTERNAL = 70,
};

#define UW_NO_OFFSET UINT64_MAX

/* Where something went wrong. Written only on failure; the caller owns it. */
struct uw_error {
	enum uw_status status;
	int os_errno;      /* errno of the failing system call, or 0 */
	uint64_t file_off; /* byte offset in the file at hand, or UW_NO_OFFSET */
	char what[232];    /* what, and in which file or tensor; always terminated; may hold any bytes of a name */
};

/* Short English text for a status; never NULL. Thread-safe. */
const char *uw_status_text(enum uw_status status);

/* Fills *err (if not NULL) and returns `status`, so that `return uw_fail(err, UW_ERR_X, off, "...")` reads well. */
enum uw_status uw_fail(struct uw_error *err, enum uw_status status, uint64_t file_off, const char *fmt, ...)
	UW_PRINTF(4, 5);

/* The same for a failed system call: maps `os_errno` to UW_ERR_IO, UW_ERR_NOSPACE, UW_ERR_NOMEM,
 * UW_ERR_NOT_FOUND or UW_ERR_EXISTS and keeps it. */
enum uw_status uw_fail_errno(struct uw_error *err, int os_errno, const char *fmt, ...) UW_PRINTF(3, 4);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
