/* SPDX-License-Identifier: Apache-2.0 */
/* From source bytes to a container and back: the one place that knows both the format and the codec. */
#ifndef UNWEIGHT_CONTAINER_H
#define UNWEIGHT_CONTAINER_H

#include <stdbool.h>

#include "unweight/blob.h"
#include "unweight/codec.h"
#include "unweight/cpu_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

enum uw_profile {
	UW_PROFILE_DISTRIBUTION = 0, /* smallest: Huffman streams, zstd for what the codec does not serve */
	UW_PROFILE_INFERENCE = 1,    /* for serving: palette codes, tensors of other dtypes as they are */
};

/* Where the time of a long job goes. */
enum uw_stage {
	UW_STAGE_READ = 0,   /* reading source or stored bytes */
	UW_STAGE_CODE = 1,   /* encoding or decoding, checksums of stored bytes */
	UW_STAGE_HASH = 2,   /* hashes of source bytes */
	UW_STAGE_OUTPUT = 3, /* writing, or whatever the caller does with restored bytes */
	UW_STAGE_CHECK = 4,  /* decoding and comparing what was encoded, reading back stored bytes */
};
#define UW_NSTAGES 5

/* How a long job runs. The callbacks may be NULL; they are called from any thread, `progress` one at a time. */
struct uw_job {
	const struct uw_cpu_ops *ops;
	unsigned nthreads;                             /* at least 1; never changes a result */
	/* Most bytes that the buffers of what is under way may take, 0 for no bound: fewer threads work if it is not
	 * enough for all of them, UW_ERR_NOMEM if it is not enough for one. Lists of groups and tensors come on top. */
	uint64_t memory;
	bool (*cancelled)(void *ctx);                  /* true: stop soon with UW_ERR_CANCELLED */
	void (*progress)(void *ctx, uint64_t nbytes);  /* so many more source bytes are done */
	void (*spent)(void *ctx, enum uw_stage stage, uint64_t ns); /* time of one thread, waiting for I/O included */
	void *ctx;
};

/*
 * A base: a model whose bytes groups may be copies of, or differences from (SPEC.md section 4). `read` gives nbytes of
 * the source file of this number, or an error that says that it is the base's; a range that is not in the base is
 * UW_ERR_LAYOUT. Called from any thread.
 */
struct uw_base {
	enum uw_status (*read)(void *ctx, const struct uw_reference *reference, void *dst, size_t nbytes,
			       struct uw_error *err);
	void *ctx;
	uint8_t digest[UW_BASE_DIGEST_NBYTES]; /* its source digest */
};

/* ---- packing ------------------------------------------------------------------------------ */

/* What became of one group, for reports. `counts` are its exponents, NULL if it has no BF16 weights; valid during the
 * call. */
struct uw_packed_group {
	uint64_t extent; /* index */
	struct uw_slice slice;
	struct uw_group group;
	bool shared; /* stored already: an earlier group of the container has the same bytes */
	const uint64_t *counts;
};

/* Zero is the default of every member. */
struct uw_pack_options {
	bool prove; /* decode each group and compare it with its source before it is written: UW_ERR_INTERNAL */
	/* All source bytes, in order, while groups before are written; may be NULL. */
	void (*source)(void *ctx, const void *data, size_t nbytes);
	uint64_t read_nbytes; /* most memory that one read of the source takes, for uw_job.memory */
	void (*group)(void *ctx, const struct uw_packed_group *packed); /* in order; may be NULL */
	/* Not NULL, for a sample: the other groups are not even read, there is no container to write (`write` has to be
	 * NULL) and no id. Says the same each time it is asked; from any thread. */
	bool (*wanted)(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice);
	/* Not NULL: stores only what differs from it. The container can then be restored with this base only. */
	const struct uw_base *base;
	/* With a base: where in it a slice of an extent probably has its likeness; false if it has none. Whatever it
	 * says, what is packed is right. From any thread. */
	bool (*like)(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice,
		     struct uw_reference *reference);
	void *ctx;
};

/*
 * Packs `src`, cut into `extents` (which tile it), into a container written through `write` in order; a NULL `write`
 * only measures; NULL `options` are the defaults. The bytes written depend on the source bytes, the extents, the
 * profile and the base alone. Peak memory: about 64 MiB for each of nthreads + 1 groups at worst (one group with one
 * thread), 33 MiB on usual shapes; with a base 32 MiB more at worst, for its bytes and the differences.
 */
UW_MUST_CHECK enum uw_status uw_container_pack(const struct uw_job *job, enum uw_profile profile,
					       const struct uw_blob *src, const struct uw_extent *extents,
					       uint64_t nextents, const struct uw_pack_options *options,
					       uw_write_fn write, void *write_ctx, struct uw_container_id *id,
					       struct uw_error *err);

/* ---- reading ------------------------------------------------------------------------------ */

/* An open container. Immutable, safe from many threads. */
struct uw_container {
	struct uw_blob blob; /* borrowed: what it reads must outlive the container */
	struct uw_index *index;
	const struct uw_cpu_ops *ops;
	const struct uw_base *base; /* borrowed; NULL: groups that refer to a base are UW_ERR_BASE */
};

/* O(index); validates all of it, touches no payload. Close frees. `ops` is borrowed. The caller sets the base, if it is
 * the one that the index names. */
UW_MUST_CHECK enum uw_status uw_container_open(const struct uw_blob *blob, const struct uw_cpu_ops *ops,
					       struct uw_container *container, struct uw_error *err);
void uw_container_close(struct uw_container *container);

/* A piece of restored source bytes: slice of an extent. `data` is valid until the piece has been through all functions
 * of struct uw_pieces and must not be changed. Any other status than UW_OK ends the walk. */
typedef enum uw_status (*uw_piece_fn)(void *ctx, const struct uw_extent *extent, const struct uw_slice *slice,
				      const void *data, struct uw_error *err);

/* Where the pieces go, in order, one at a time; either function may be NULL, and without any this only verifies. Each
 * piece goes through `hash` first, which takes the next one while `output` runs. */
struct uw_pieces {
	uw_piece_fn hash;   /* its time counts as UW_STAGE_HASH */
	uw_piece_fn output; /* that of this one as UW_STAGE_OUTPUT */
	void *ctx;
};

/* Restores the extents from `first` on, `n` of them: decodes every group, checks its hash and each extent's hash, hands
 * the pieces over. Peak memory: about 32 MiB for each of nthreads + 1 groups at worst. */
UW_MUST_CHECK enum uw_status uw_container_restore(const struct uw_container *container, const struct uw_job *job,
						  uint64_t first, uint64_t n, const struct uw_pieces *pieces,
						  struct uw_error *err);

/* Most memory that one read through uw_container_source_blob takes. */
uint64_t uw_container_read_nbytes(const struct uw_container *container);

/* Reads all stored bytes: checks the hash of every group and that the padding is zero. Decodes nothing. */
UW_MUST_CHECK enum uw_status uw_container_check(const struct uw_container *container, const struct uw_job *job,
						struct uw_error *err);

/* The source file as a blob that decodes what is read; whole groups are fastest. The container is borrowed. */
void uw_container_source_blob(const struct uw_container *container, struct uw_blob *blob);

#ifdef __cplusplus
}
#endif
#endif
