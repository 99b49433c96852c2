/* SPDX-License-Identifier: Apache-2.0 */
#include "sink.h"

#include <string.h>

#include "sink_private.h"

bool uw_archive_kind_of_path(const char *path, enum uw_archive_kind *kind)
{
	static const struct {
		const char *suffix;
		enum uw_archive_kind kind;
	} table[] = {
		{".tar", UW_ARCHIVE_TAR},         {".tar.gz", UW_ARCHIVE_TAR_GZ}, {".tgz", UW_ARCHIVE_TAR_GZ},
		{".tar.zst", UW_ARCHIVE_TAR_ZST}, {".tzst", UW_ARCHIVE_TAR_ZST},  {".zip", UW_ARCHIVE_ZIP},
	};
	size_t n = strlen(path);

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++) {
		size_t len = strlen(table[i].suffix);

		if (n > len && strcmp(path + n - len, table[i].suffix) == 0) {
			*kind = table[i].kind;
			return true;
		}
	}
	return false;
}

enum uw_status uw_phase_expect(const enum uw_phase *phase, enum uw_phase want, struct uw_error *err)
{
	if (*phase == want)
		return UW_OK;
	return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, *phase == UW_PHASE_FAILED ? "the output failed before"
									       : "output calls out of order");
}

enum uw_status uw_phase_move(enum uw_phase *phase, enum uw_phase next, enum uw_status status)
{
	*phase = status == UW_OK ? next : UW_PHASE_FAILED;
	return status;
}

void uw_sink_close(struct uw_sink **sink)
{
	if (*sink != NULL)
		(*sink)->ops->close(*sink);
	*sink = NULL;
}
