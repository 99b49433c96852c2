/* SPDX-License-Identifier: Apache-2.0 */
/* How verify.c, compare.c and compare_list.c hand out verdicts and remember the worst one. */
#ifndef UW_VERDICTS_H
#define UW_VERDICTS_H

#include "verify.h"

struct uw_verdicts {
	uw_verdict_fn verdict;
	void *ctx;
	enum uw_status worst;
};

static inline void uw_verdicts_add(struct uw_verdicts *v, const char *path, uint64_t nbytes, enum uw_status status,
				   const struct uw_error *err)
{
	struct uw_verdict verdict = { .path = path, .nbytes = nbytes, .status = status, .err = *err };

	if (v->worst == UW_OK || status == UW_ERR_CANCELLED)
		v->worst = status;
	if (v->verdict != NULL)
		v->verdict(v->ctx, &verdict);
}

/* Files of the bundle that were not met elsewhere. */
static inline void uw_verdicts_unseen(struct uw_verdicts *v, const struct uw_bundle *bundle, const bool *seen)
{
	for (uint64_t i = 0; i < bundle->manifest.nfiles; i++) {
		const struct uw_manifest_file *file = &bundle->manifest.files[i];
		struct uw_error err;

		if (seen[i])
			continue;
		uw_verdicts_add(v, file->path, file->nbytes,
		       uw_fail(&err, UW_ERR_MISMATCH, UW_NO_OFFSET, "is only in the bundle"), &err);
	}
}

#endif
