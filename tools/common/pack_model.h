/* SPDX-License-Identifier: Apache-2.0 */
/* A whole model into a bundle: which file becomes what, proven, written and read back. */
#ifndef UW_PACK_MODEL_H
#define UW_PACK_MODEL_H

#include "base.h"
#include "safetensors.h"
#include "sink.h"
#include "source.h"

/* What a file of the model is. */
enum uw_file_kind {
	UW_FILE_PLAIN,       /* carried as it is */
	UW_FILE_SAFETENSORS, /* a container of its tensors */
	UW_FILE_OPAQUE,      /* a container of its bytes */
};

struct uw_classified {
	enum uw_file_kind kind;
	struct uw_model_file file; /* extents, unless plain */
	bool odd;                  /* weights that we carry, but cannot take apart: `reason` says why */
	char reason[232];
};

/* Decides by name and first bytes; parses a safetensors header. With a base, a file that would be plain and that the
 * base has too is read and becomes a container of its bytes, which can refer to them. Fails only on I/O and memory.
 * Free with uw_classified_free. */
UW_MUST_CHECK enum uw_status uw_classify(const struct uw_entry *entry, const struct uw_blob *blob,
					 const struct uw_bundle_base *base, struct uw_classified *classified,
					 struct uw_error *err);
void uw_classified_free(struct uw_classified *classified);

/* What became of one file; borrowed, valid during the call. */
struct uw_packed_file {
	const struct uw_manifest_file *file;
	const struct uw_classified *classified;
	uint64_t stored_nbytes;
};

struct uw_pack_model {
	struct uw_job job;
	enum uw_profile profile;
	bool strict; /* an odd file is UW_ERR_FORMAT */
	bool check;  /* decode and compare each group, read back what was written; demands a folder sink */
	bool files_only; /* no manifest into the sink */
	struct uw_bundle_base *base; /* not NULL: stores only what differs from it */
	void (*file)(void *ctx, const struct uw_packed_file *packed); /* in order of the source; may be NULL */
	void (*group)(void *ctx, const struct uw_classified *classified, const struct uw_packed_group *packed);
	void *ctx;
};

/*
 * Packs all files of `source` into `sink` (NULL: only measures) and writes the manifest; `manifest` is the result, to
 * be freed by the caller, after failure too. `where` gets the path of the file at which a failure happened, malloced,
 * or NULL.
 */
UW_MUST_CHECK enum uw_status uw_model_pack(const struct uw_pack_model *options, struct uw_source *source,
					   struct uw_sink *sink, struct uw_manifest *manifest, char **where,
					   struct uw_error *err);

#endif
