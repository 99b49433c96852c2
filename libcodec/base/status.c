/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/status.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

const char *uw_status_text(enum uw_status status)
{
	switch (status) {
	case UW_OK: return "success";
	case UW_ERR_ARG: return "invalid argument";
	case UW_ERR_SPACE: return "destination too small";
	case UW_ERR_UNSUPPORTED: return "not supported by this build";
	case UW_ERR_EXISTS: return "output already exists";
	case UW_ERR_NOT_FOUND: return "not found";
	case UW_ERR_CANCELLED: return "cancelled";
	case UW_ERR_BASE: return "base is missing";
	case UW_ERR_MAGIC: return "not an Unweight file";
	case UW_ERR_VERSION: return "unknown format version";
	case UW_ERR_FEATURE: return "unknown format feature";
	case UW_ERR_TRUNCATED: return "file is truncated";
	case UW_ERR_LAYOUT: return "corrupt structure";
	case UW_ERR_CHECKSUM: return "checksum mismatch";
	case UW_ERR_MISMATCH: return "contents differ";
	case UW_ERR_TABLE: return "corrupt palette or code table";
	case UW_ERR_BITS: return "corrupt bit stream";
	case UW_ERR_PATCH: return "corrupt patch list";
	case UW_ERR_FORMAT: return "malformed input";
	case UW_ERR_PATH: return "unsafe path";
	case UW_ERR_IO: return "input/output error";
	case UW_ERR_NOMEM: return "out of memory";
	case UW_ERR_NOSPACE: return "no space left";
	case UW_ERR_NO_DEVICE: return "no usable device";
	case UW_ERR_DEVICE: return "device error";
	case UW_ERR_SHAPE: return "shape not served";
	case UW_ERR_INTERNAL: return "internal error";
	}
	return "unknown status";
}

static UW_PRINTF(5, 0) void fill(struct uw_error *err, enum uw_status status, int os_errno, uint64_t file_off,
				 const char *fmt, va_list args)
{
	if (err == NULL)
		return;
	err->status = status;
	err->os_errno = os_errno;
	err->file_off = file_off;
	vsnprintf(err->what, sizeof(err->what), fmt, args);
}

enum uw_status uw_fail(struct uw_error *err, enum uw_status status, uint64_t file_off, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	fill(err, status, 0, file_off, fmt, args);
	va_end(args);
	return status;
}

static enum uw_status status_of_errno(int os_errno)
{
	switch (os_errno) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG: return UW_ERR_NOSPACE;
	case ENOMEM: return UW_ERR_NOMEM;
	case ENOENT:
	case ENOTDIR: return UW_ERR_NOT_FOUND;
	case EEXIST:
	case ENOTEMPTY: return UW_ERR_EXISTS;
	case ECANCELED: return UW_ERR_CANCELLED;
	default: return UW_ERR_IO;
	}
}

enum uw_status uw_fail_errno(struct uw_error *err, int os_errno, const char *fmt, ...)
{
	enum uw_status status = status_of_errno(os_errno);
	va_list args;

	va_start(args, fmt);
	fill(err, status, os_errno, UW_NO_OFFSET, fmt, args);
	va_end(args);
	return status;
}
