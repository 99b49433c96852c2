/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The container's bytes (SPEC.md sections 2 and 3): a writer that streams and a reader that
 * validates once. Moves opaque runs of stored bytes; knows their sizes, not their meaning.
 */
#ifndef UNWEIGHT_FORMAT_H
#define UNWEIGHT_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "unweight/dtype.h"
#include "unweight/pread.h"
#include "unweight/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UW_CONTAINER_VERSION 1u /* the major one */
#define UW_HEADER_NBYTES 64u
#define UW_TRAILER_NBYTES 64u
#define UW_BYTES_GROUP_NBYTES (UINT64_C(1) << 23) /* orders 0 and 1 */
#define UW_BLOCK_ROWS 64u                          /* rows of a row block, order 2 */
#define UW_MAX_TILED_COLS (UINT64_C(1) << 17)
#define UW_BASE_DIGEST_NBYTES 32u
#define UW_REFERENCE_NBYTES 16u /* at the beginning of a group of coding COPY or DELTA */

enum uw_extent_kind {
	UW_EXTENT_OPAQUE = 0,
	UW_EXTENT_HEADER = 1,
	UW_EXTENT_TENSOR = 2,
};

/* An extent as the caller describes it and as the reader gives it back. */
struct uw_extent {
	uint64_t src_off;       /* in the source file; the reader derives it, the writer ignores it */
	uint64_t src_nbytes;
	uint8_t xxh128[16];     /* canonical XXH3-128 of the source bytes */
	uint64_t first_group;   /* the writer ignores it */
	uint64_t ngroups;       /* the writer ignores it */
	const uint64_t *dims;   /* ndims values, outermost first */
	const char *name;       /* name_nbytes bytes, not terminated */
	uint32_t name_nbytes;
	uint8_t kind;           /* enum uw_extent_kind */
	uint8_t dtype;          /* enum uw_dtype */
	uint8_t order;          /* enum uw_order of codec.h: 0 bytes, 1 linear, 2 tiled */
	uint8_t ndims;
};

/* Which source bytes one group of an extent holds: offsets are relative to the extent. For order 2,
 * nrows x ncols whole rows of one matrix; for order 1, nrows = 1 and ncols = weights; for order 0 both are 0. */
struct uw_slice {
	uint64_t src_off;
	uint64_t src_nbytes;
	uint64_t nrows;
	uint64_t ncols;
};

/* How SPEC.md section 3 cuts an extent of this size, order and shape: number of groups, and slice `i` of them.
 * UW_ERR_LAYOUT if order and dimensions do not fit together. uw_extent_slice demands i < ngroups of a valid extent. */
UW_MUST_CHECK enum uw_status uw_extent_ngroups(uint64_t src_nbytes, uint8_t order, const uint64_t *dims, uint8_t ndims,
					       uint64_t *ngroups);
void uw_extent_slice(const struct uw_extent *extent, uint64_t i, struct uw_slice *slice);

/* The order SPEC.md section 3 advises for a tensor: tiled, linear or bytes. */
uint8_t uw_extent_order(uint8_t dtype, const uint64_t *dims, uint8_t ndims);

/* Sizes of what a writer makes beside stored bytes: an index without base, and a group with the zeros behind it up to
 * where one of its size may begin. */
uint64_t uw_index_nbytes(uint64_t nextents, uint64_t ngroups, uint64_t ndims, uint64_t names_nbytes);
uint64_t uw_group_room(uint64_t nbytes);

struct uw_group {
	uint64_t off;        /* in the container; the writer sets it */
	uint64_t nbytes;     /* stored size */
	uint8_t xxh64[8];    /* canonical XXH3-64 of the stored bytes */
	uint32_t npatches;
	uint8_t coding;      /* enum uw_coding */
	uint8_t ntables;
};

/* What a group of coding COPY or DELTA refers to: as many bytes of a source file of the base as the group has. */
struct uw_reference {
	uint64_t file; /* its number among the base's files by ascending path */
	uint64_t off;
};

/* The first UW_REFERENCE_NBYTES stored bytes of such a group, and back; UW_ERR_LAYOUT if a reserved field is not 0. */
void uw_reference_store(const struct uw_reference *reference, uint8_t *stored);
UW_MUST_CHECK enum uw_status uw_reference_load(const uint8_t *stored, struct uw_reference *reference);

/* Hashes, canonical form. Thread-safe. */
void uw_hash64(const void *data, size_t nbytes, uint8_t out[8]);
struct uw_hash128; /* streaming XXH3-128 */
struct uw_hash128 *uw_hash128_new(void); /* NULL: out of memory */
void uw_hash128_reset(struct uw_hash128 *h);
void uw_hash128_update(struct uw_hash128 *h, const void *data, size_t nbytes);
void uw_hash128_final(const struct uw_hash128 *h, uint8_t out[16]);
void uw_hash128_final64(const struct uw_hash128 *h, uint8_t out[8]); /* what uw_hash64 has for the same bytes */
void uw_hash128_free(struct uw_hash128 *h); /* NULL is fine */

/* ---- writer ------------------------------------------------------------------------------- */

/* Receives the container's bytes in order. Returns UW_OK or the status that ends the writing. */
typedef enum uw_status (*uw_write_fn)(void *ctx, const void *data, size_t nbytes, struct uw_error *err);

struct uw_writer;

/*
 * Order of calls: open; for each extent its groups in order, then the extent itself; finish; free.
 * The writer copies what it is given. `src_nbytes` is the size of the source file. After a failed call only
 * free may follow. One thread at a time.
 *
 *   uw_writer_open(&w, write, ctx, src_nbytes, err)
 *   for each extent: for each group: uw_writer_group(w, stored, &group, err)   // off is set here
 *                    uw_writer_extent(w, &extent, err)                         // takes the groups since the last
 * extent uw_writer_finish(w, &total, err);  uw_writer_free(w)
 */
UW_MUST_CHECK enum uw_status uw_writer_open(struct uw_writer **w, uw_write_fn write, void *ctx, uint64_t src_nbytes,
					    struct uw_error *err);
/* The same for a container whose groups may refer to a base: `digest` are the 32 bytes of its source digest (SPEC.md
 * 1.1), NULL without a base. */
UW_MUST_CHECK enum uw_status uw_writer_open_based(struct uw_writer **w, uw_write_fn write, void *ctx,
						  uint64_t src_nbytes, const uint8_t *digest, struct uw_error *err);
/* `stored` may be NULL if the write function was NULL at open: then only sizes are computed (a dry run). */
UW_MUST_CHECK enum uw_status uw_writer_group(struct uw_writer *w, const void *stored, const struct uw_group *group,
					     struct uw_error *err);
/* The next group shares the stored bytes of group number `earlier`, and its record. */
UW_MUST_CHECK enum uw_status uw_writer_group_shared(struct uw_writer *w, uint64_t earlier, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_writer_extent(struct uw_writer *w, const struct uw_extent *extent,
					      struct uw_error *err);

struct uw_container_id {
	uint64_t nbytes;        /* size of the container */
	uint8_t index_xxh64[8]; /* its index hash */
};

/* UW_ERR_LAYOUT: the extents do not add up to the source size. */
UW_MUST_CHECK enum uw_status uw_writer_finish(struct uw_writer *w, struct uw_container_id *id, struct uw_error *err);
void uw_writer_free(struct uw_writer *w); /* NULL is fine */

/* ---- reader ------------------------------------------------------------------------------- */

/* The base that groups may refer to. */
struct uw_base_id {
	bool needed;                           /* there is one */
	uint8_t digest[UW_BASE_DIGEST_NBYTES]; /* of its source; zeros if there is none */
};

/* The same base, or none. */
static inline bool uw_base_id_equal(const struct uw_base_id *a, const struct uw_base_id *b)
{
	return a->needed == b->needed && (!a->needed || memcmp(a->digest, b->digest, sizeof(a->digest)) == 0);
}

/* A validated index. Immutable after open, safe from many threads; owns all memory it points to. */
struct uw_index {
	uint64_t src_nbytes;
	uint64_t nextents;
	uint64_t ngroups;
	uint64_t index_off;
	struct uw_base_id base;
	struct uw_container_id id;
	const struct uw_extent *extents;
	const struct uw_group *groups;
};

/*
 * Reads header, trailer and index through `pread` from a container of `file_nbytes` bytes and checks every rule of
 * SPEC.md section 2 and 3 that concerns them; touches no group. O(index) time and memory. On success *index owns
 * everything; uw_index_free frees it and sets it to NULL. Errors: UW_ERR_MAGIC, _VERSION, _FEATURE, _TRUNCATED,
 * _LAYOUT, _CHECKSUM with file_off in *err; UW_ERR_NOMEM; whatever `pread` returns.
 */
UW_MUST_CHECK enum uw_status uw_index_open(uw_pread_fn pread, void *ctx, uint64_t file_nbytes, struct uw_index **index,
					   struct uw_error *err);
void uw_index_free(struct uw_index **index);

/* Tensor of this name, or NULL. O(log n). */
const struct uw_extent *uw_index_find(const struct uw_index *index, const char *name, size_t name_nbytes);

/* Does group i share the stored bytes of an earlier group? */
bool uw_index_group_shared(const struct uw_index *index, uint64_t i);

/* First byte of the gap of padding in front of group i (i == ngroups: in front of the index); it ends at the group's
 * offset. In front of a group that shares stored bytes there is none. */
uint64_t uw_index_gap_off(const struct uw_index *index, uint64_t i);

#ifdef __cplusplus
}
#endif
#endif
