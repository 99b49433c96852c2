/* SPDX-License-Identifier: Apache-2.0 */
#include "exitcode.h"

enum uw_exit uw_exit_of_status(enum uw_status status)
{
	/* No default: the compiler names a status that is missing here. */
	switch (status) {
	case UW_OK: return UW_EXIT_OK;
	case UW_ERR_MISMATCH: return UW_EXIT_DIFFERS;
	case UW_ERR_ARG: return UW_EXIT_USAGE;
	case UW_ERR_NOT_FOUND:
	case UW_ERR_BASE:
	case UW_ERR_FORMAT:
	case UW_ERR_PATH: return UW_EXIT_INPUT;
	case UW_ERR_EXISTS: return UW_EXIT_EXISTS;
	case UW_ERR_MAGIC:
	case UW_ERR_TRUNCATED:
	case UW_ERR_LAYOUT:
	case UW_ERR_CHECKSUM:
	case UW_ERR_TABLE:
	case UW_ERR_BITS:
	case UW_ERR_PATCH: return UW_EXIT_CORRUPT;
	case UW_ERR_CANCELLED: return UW_EXIT_TIME; /* or by a signal, which main raises again */
	case UW_ERR_IO:
	case UW_ERR_DEVICE: return UW_EXIT_IO;
	case UW_ERR_NOMEM:
	case UW_ERR_NOSPACE: return UW_EXIT_SPACE;
	case UW_ERR_UNSUPPORTED:
	case UW_ERR_VERSION:
	case UW_ERR_FEATURE:
	case UW_ERR_NO_DEVICE:
	case UW_ERR_SHAPE: return UW_EXIT_UNSUPPORTED;
	case UW_ERR_SPACE: /* the tools size their own buffers */
	case UW_ERR_INTERNAL: return UW_EXIT_INTERNAL;
	}
	return UW_EXIT_INTERNAL;
}
