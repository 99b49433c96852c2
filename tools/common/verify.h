/* SPDX-License-Identifier: Apache-2.0 */
/* Proof that a bundle is whole, and that it is the model it says it is. */
#ifndef UW_VERIFY_H
#define UW_VERIFY_H

#include "source_bundle.h"

enum uw_verify_level {
	UW_VERIFY_STRUCTURE, /* manifest, every container's index, sizes, no stray files; payload is not read */
	UW_VERIFY_CHECKSUM,  /* and every stored byte is covered by a checksum that is right, or is zero padding */
	UW_VERIFY_DECODE,    /* and everything decodes to bytes with the SHA-256 of the source */
};

/* Result for one file of the model, or for the bundle as a whole (path NULL). */
struct uw_verdict {
	const char *path;
	uint64_t nbytes;        /* of the source file */
	enum uw_status status;  /* UW_OK: good; UW_ERR_MISMATCH: differs from what it was compared with */
	struct uw_error err;    /* if not good */
};

/* Called for each file, in the manifest's order, and for the bundle if something is wrong with it as a whole. */
typedef void (*uw_verdict_fn)(void *ctx, const struct uw_verdict *verdict);

/* Verifies what can be opened; a bundle that does not open has no files to report. Returns the worst status: UW_OK,
 * or that of the first failure; UW_ERR_CANCELLED ends it at once. */
UW_MUST_CHECK enum uw_status uw_bundle_verify(const struct uw_bundle *bundle, enum uw_verify_level level,
					      const struct uw_job *job, uw_verdict_fn verdict, void *ctx);

/* Compares the bundle's files with those of a source, byte for byte. A difference is UW_ERR_MISMATCH; its err->what
 * names the tensor, row, column and both values, or the byte. Files that only one side has are differences too. */
UW_MUST_CHECK enum uw_status uw_bundle_compare(const struct uw_bundle *bundle, struct uw_source *source,
					       const struct uw_job *job, uw_verdict_fn verdict, void *ctx);

enum uw_list_form {
	UW_LIST_SUMS, /* as sha256sum(1) writes it */
	UW_LIST_ANY,  /* or JSON: an in-toto statement of model_signing, or a hub's listing of a repository */
};

/*
 * Compares the bundle with a list of files and their digests ("-": standard input). Paths are relative to the model; names in
 * the list that the bundle does not have, and files of the bundle that the list lacks, are differences. A hub names
 * the SHA-256 of large files; the others, of which it names git's object id, are restored and hashed.
 */
UW_MUST_CHECK enum uw_status uw_bundle_compare_list(const struct uw_bundle *bundle, const char *list_path,
						    enum uw_list_form form, const struct uw_job *job,
						    uw_verdict_fn verdict, void *ctx);

#endif
