/* SPDX-License-Identifier: Apache-2.0 */
/* A bundle back into the files it was made of. */
#ifndef UW_RESTORE_MODEL_H
#define UW_RESTORE_MODEL_H

#include "bundle.h"
#include "each.h"
#include "sink.h"

/* What is compared beyond the checksums of all that is stored and, in a container, of all that is restored. These stand
 * beside the SHA-256 and miss no accident that it would find; it tells more where it is compared with one from elsewhere,
 * and takes longer than all the rest. */
enum uw_restore_check {
	UW_RESTORE_CHECKSUMS,
	UW_RESTORE_SHA256, /* of each file, with the manifest's. A plain file has no other checksum: always */
};

/* Restores one file. The sink, in which the file is begun, may be NULL: then this only verifies. */
UW_MUST_CHECK enum uw_status uw_file_restore(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
					     enum uw_restore_check check, const struct uw_job *job,
					     struct uw_sink *sink, struct uw_error *err);

/* All files into the sink, which the caller commits; `done`, which may be NULL, is called after each. `where` gets the
 * path at which a failure happened, borrowed from the bundle, or NULL. */
UW_MUST_CHECK enum uw_status uw_model_restore(const struct uw_bundle *bundle, enum uw_restore_check check,
					      const struct uw_job *job, struct uw_sink *sink,
					      void (*done)(const struct uw_manifest_file *file),
					      const char **where, struct uw_error *err);

/* Size of one tensor; statuses as of uw_tensor_restore. */
UW_MUST_CHECK enum uw_status uw_tensor_nbytes(const struct uw_bundle *bundle, const char *name, uint64_t *nbytes,
					      struct uw_error *err);

/* The bytes of one tensor into a sink file that is begun. UW_ERR_NOT_FOUND: no container has it; UW_ERR_ARG: several
 * have. */
UW_MUST_CHECK enum uw_status uw_tensor_restore(const struct uw_bundle *bundle, const char *name,
					       const struct uw_job *job, struct uw_sink *sink, struct uw_error *err);

#endif
