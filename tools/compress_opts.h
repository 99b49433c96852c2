/* SPDX-License-Identifier: Apache-2.0 */
/* The command line of unweight-compress. */
#ifndef UW_COMPRESS_OPTS_H
#define UW_COMPRESS_OPTS_H

#include "bounds.h"
#include "compress_parts.h"
#include "sha256.h"

struct uw_compress_opts {
	const char *output, *json, *sums, *signing, *base;
	bool expect;
	uint8_t expected[UW_SHA256_NBYTES];
	double min_saving; /* percent; negative: any */
	enum uw_profile profile;
	bool profile_given;
	unsigned nthreads;
	bool force, strict, no_check, skip_existing, rm;
	const char *files_from;
	bool from0;
	struct uw_file_list only; /* if files_from */
	struct uw_parts_opts parts;
	struct uw_bounds bounds;
};

extern const struct uw_cli uw_compress_cli;

/* As uw_option_fn; ctx is struct uw_compress_opts. */
bool uw_compress_option(void *ctx, int id, const char *arg);

/* Do the options go together, for the model at `path`, NULL if there is none? Reads the list of files. The exit code,
 * after printing if it is not 0. */
int uw_compress_check(struct uw_compress_opts *o, const char *path);

/* The list of files, or NULL: all. */
const struct uw_file_list *uw_compress_only(const struct uw_compress_opts *o);

#endif
