/* SPDX-License-Identifier: Apache-2.0 */
/* unweight-compress --skip-existing: is what stands at the output already what would be written there? */
#ifndef UW_COMPRESS_EXISTING_H
#define UW_COMPRESS_EXISTING_H

#include "pack_model.h"
#include "tool.h"

struct uw_existing {
	const char *output;
	enum uw_profile profile;
	struct uw_bundle_base *base; /* NULL: without one */
	bool strict;
	bool decode; /* and what is stored decodes to the source */
};

/*
 * UW_OK: a bundle of this profile whose stored bytes are right by their checksums (and more if `decode` is set), and
 * whose source is this one by path, executable bit and SHA-256 of every file; `manifest` is its manifest then. The
 * source is read up. UW_ERR_MISMATCH: a good bundle of another source, profile or base; UW_ERR_EXISTS: no bundle; any status
 * of a bundle that is corrupt, or of a failure. `where` gets the path it happened at, malloced. Free the manifest in
 * any case.
 */
UW_MUST_CHECK enum uw_status uw_existing_look(const struct uw_existing *existing, struct uw_tool *tool,
					      struct uw_source *source, struct uw_manifest *manifest, char **where,
					      struct uw_error *err);

#endif
