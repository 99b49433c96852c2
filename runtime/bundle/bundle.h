/* SPDX-License-Identifier: Apache-2.0 */
/* An existing bundle: a folder, a tar of it, or one container by itself. */
#ifndef UW_BUNDLE_H
#define UW_BUNDLE_H

#include "manifest.h"

struct uw_tar_member {
	char *path;
	uint64_t off, nbytes; /* of its bytes in the tar */
};

/* Immutable after open and safe from many threads. Must not be moved while open. */
struct uw_bundle {
	char *path; /* as the caller named it; empty if there is none. For messages: files are found through `fd` */
	struct uw_manifest manifest;
	bool bare; /* one container without a manifest: its file's SHA-256 is not known */
	bool tar;
	int fd;    /* the folder, the tar or the container; -1: behind `blob` is no file */
	struct uw_blob blob; /* the tar or the container */
	uint64_t nmembers;
	struct uw_tar_member *members;
	const struct uw_cpu_ops *ops;
	const struct uw_base *base; /* uw_bundle_set_base */
};

/* Whether `path` is a folder with a manifest, a tar whose first member is one, or a container. A path that cannot be
 * read is a failure: it may be one. */
UW_MUST_CHECK enum uw_status uw_bundle_probe(const char *path, bool *is_bundle, struct uw_error *err);

/* Opens and checks the manifest and that every stored file is there with the right size; opens no container.
 * `ops` is borrowed. Close with uw_bundle_close, after failure too. */
UW_MUST_CHECK enum uw_status uw_bundle_open(const char *path, const struct uw_cpu_ops *ops, struct uw_bundle *bundle,
					    struct uw_error *err);
/* The same for an open folder or file; `fd` is duplicated. */
UW_MUST_CHECK enum uw_status uw_bundle_open_fd(int fd, const struct uw_cpu_ops *ops, struct uw_bundle *bundle,
					       struct uw_error *err);
/* The same for a tar or a container behind a blob; what it reads is borrowed. */
UW_MUST_CHECK enum uw_status uw_bundle_open_blob(const struct uw_blob *blob, const struct uw_cpu_ops *ops,
						 struct uw_bundle *bundle, struct uw_error *err);
void uw_bundle_close(struct uw_bundle *bundle);

/* Gives a bundle the base that it was made with, borrowed (base.h), or NULL: then only what does not refer to a base
 * can be restored. UW_ERR_BASE, naming the digest that it wants, if the bundle has a base and this is not the one; a
 * base that is not needed is left alone. */
UW_MUST_CHECK enum uw_status uw_bundle_set_base(struct uw_bundle *bundle, const struct uw_base *base,
						struct uw_error *err);

/* A stored file of the bundle, as it is. Must not be moved while open. */
struct uw_stored {
	int fd;              /* the file that it is in, or -1 as in struct uw_bundle */
	bool own_fd;
	uint64_t base;       /* its first byte there */
	struct uw_blob file; /* the whole of it */
	struct uw_blob blob; /* the stored file */
};

UW_MUST_CHECK enum uw_status uw_bundle_stored_open(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
						   struct uw_stored *stored, struct uw_error *err);
void uw_stored_close(struct uw_stored *stored);

/* A file of the model inside the bundle, opened: `source` are its restored bytes. Must not be moved while open. */
struct uw_bundle_file {
	struct uw_stored stored;
	bool is_container;
	struct uw_container container; /* if is_container */
	struct uw_blob source;
};

/* Also checks that a container is the one that the manifest names. */
UW_MUST_CHECK enum uw_status uw_bundle_file_open(const struct uw_bundle *bundle, const struct uw_manifest_file *file,
						 struct uw_bundle_file *opened, struct uw_error *err);
void uw_bundle_file_close(struct uw_bundle_file *opened);

/* What is missing in a bundle, malformed or badly named is corruption, not the caller's mistake: the status to report,
 * in *err too. */
enum uw_status uw_bundle_corruption(enum uw_status status, struct uw_error *err);

#endif
