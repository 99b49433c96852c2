/* SPDX-License-Identifier: Apache-2.0 */
/* Where unweight-compress puts a bundle: a folder, or a tar made of one. */
#ifndef UW_COMPRESS_OUTPUT_H
#define UW_COMPRESS_OUTPUT_H

#include "manifest.h"
#include "tool.h"

struct uw_compress_output {
	struct uw_sink *folder; /* the bundle's own, or for a tar one that is never committed */
	struct uw_sink *tar;    /* NULL if the bundle is a folder */
};

/* Close it in any case. */
UW_MUST_CHECK enum uw_status uw_output_open(const char *path, bool force, struct uw_compress_output *out,
					    struct uw_error *err);

/* Once the folder is written: gives the bundle its name. */
UW_MUST_CHECK enum uw_status uw_output_commit(const struct uw_job *job, const struct uw_manifest *manifest,
					      struct uw_compress_output *out, struct uw_error *err);
void uw_output_close(struct uw_compress_output *out);

#endif
