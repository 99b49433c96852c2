/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where every field of a container stands (SPEC.md section 2). Records are built and read field by field through
 * bytes.h, so neither the host's byte order nor its struct padding matters; each pair of functions below writes and
 * reads the same record and stands side by side.
 */
#ifndef UNWEIGHT_FORMAT_LAYOUT_H
#define UNWEIGHT_FORMAT_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "unweight/bytes.h"
#include "unweight/checked.h"
#include "unweight/format.h"

#define MAGIC_NBYTES 8u
#define HEADER_MAGIC_BYTES "\x89UWC\r\n\x1a\n"
#define TRAILER_MAGIC_BYTES "\x89UWT\r\n\x1a\n"

#define VERSION_MINOR 0u

#define GROUP_ALIGN 64u
#define BIG_GROUP_ALIGN 4096u /* direct I/O wants whole pages */
#define BIG_GROUP_NBYTES (UINT64_C(1) << 20)
#define INDEX_ALIGN 64u
#define INDEX_PAD 8u

/* The values of codec.h's enum uw_order and enum uw_coding, which this folder cannot see. */
enum { ORDER_BYTES = 0, ORDER_LINEAR = 1, ORDER_TILED = 2 };
enum { CODING_RAW = 0, CODING_ZSTD = 1, CODING_H = 2, CODING_P4 = 3, CODING_COPY = 4, CODING_DELTA = 5 };

/* Bits of the incompatible features. */
#define FEATURE_BASE UINT64_C(1)
#define KNOWN_FEATURES FEATURE_BASE

enum {
	HEADER_MAGIC = 0,
	HEADER_MAJOR = 8,
	HEADER_MINOR = 10,
	HEADER_RESERVED = 12,
	HEADER_INCOMPAT = 16,
	HEADER_COMPAT = 24,
	HEADER_RESERVED2 = 32,
	HEADER_HASH = 56, /* of the bytes before it */
};
_Static_assert(HEADER_HASH + 8 == UW_HEADER_NBYTES, "header");

enum {
	TRAILER_INDEX_OFF = 0,
	TRAILER_INDEX_NBYTES = 8,
	TRAILER_FILE_NBYTES = 16,
	TRAILER_INDEX_HASH = 24,
	TRAILER_RESERVED = 32,
	TRAILER_HASH = 48, /* of the bytes before it */
	TRAILER_MAGIC = 56,
};
_Static_assert(TRAILER_MAGIC + MAGIC_NBYTES == UW_TRAILER_NBYTES, "trailer");

enum {
	INDEX_SRC_NBYTES = 0,
	INDEX_NEXTENTS = 8,
	INDEX_NGROUPS = 12,
	INDEX_NDIMS = 16,
	INDEX_NAMES_NBYTES = 20,
	INDEX_RESERVED = 24,
	INDEX_HEAD_NBYTES = 32, /* then the base's digest, if there is a base */
};
_Static_assert(INDEX_RESERVED + 8 == INDEX_HEAD_NBYTES, "index");

enum {
	EXTENT_SRC_NBYTES = 0,
	EXTENT_HASH = 8,
	EXTENT_FIRST_GROUP = 24,
	EXTENT_NGROUPS = 28,
	EXTENT_FIRST_DIM = 32,
	EXTENT_NAME_OFF = 36,
	EXTENT_NAME_NBYTES = 40,
	EXTENT_KIND = 44,
	EXTENT_DTYPE = 45,
	EXTENT_ORDER = 46,
	EXTENT_NDIMS = 47,
	EXTENT_NBYTES = 48,
};
_Static_assert(EXTENT_NDIMS + 1 == EXTENT_NBYTES, "extent record");

enum {
	GROUP_OFF = 0,
	GROUP_STORED_NBYTES = 8,
	GROUP_HASH = 16,
	GROUP_NPATCHES = 24,
	GROUP_CODING = 28,
	GROUP_NTABLES = 29,
	GROUP_RESERVED = 30,
	GROUP_NBYTES = 32,
};
_Static_assert(GROUP_RESERVED + 2 == GROUP_NBYTES, "group record");

enum { DIM_NBYTES = 8 };

/* The caller has checked that the 64-bit numbers of `e` fit their fields. */
static inline void uw_extent_store(uint8_t *p, const struct uw_extent *e, uint32_t first_dim, uint32_t name_off)
{
	uw_store_le64(p + EXTENT_SRC_NBYTES, e->src_nbytes);
	memcpy(p + EXTENT_HASH, e->xxh128, sizeof(e->xxh128));
	uw_store_le32(p + EXTENT_FIRST_GROUP, (uint32_t)e->first_group);
	uw_store_le32(p + EXTENT_NGROUPS, (uint32_t)e->ngroups);
	uw_store_le32(p + EXTENT_FIRST_DIM, first_dim);
	uw_store_le32(p + EXTENT_NAME_OFF, name_off);
	uw_store_le32(p + EXTENT_NAME_NBYTES, e->name_nbytes);
	p[EXTENT_KIND] = e->kind;
	p[EXTENT_DTYPE] = e->dtype;
	p[EXTENT_ORDER] = e->order;
	p[EXTENT_NDIMS] = e->ndims;
}

/* Leaves src_off, dims and name to the caller: they follow from the records before. */
static inline void uw_extent_load(const uint8_t *p, struct uw_extent *e, uint32_t *first_dim, uint32_t *name_off)
{
	e->src_nbytes = uw_load_le64(p + EXTENT_SRC_NBYTES);
	memcpy(e->xxh128, p + EXTENT_HASH, sizeof(e->xxh128));
	e->first_group = uw_load_le32(p + EXTENT_FIRST_GROUP);
	e->ngroups = uw_load_le32(p + EXTENT_NGROUPS);
	*first_dim = uw_load_le32(p + EXTENT_FIRST_DIM);
	*name_off = uw_load_le32(p + EXTENT_NAME_OFF);
	e->name_nbytes = uw_load_le32(p + EXTENT_NAME_NBYTES);
	e->kind = p[EXTENT_KIND];
	e->dtype = p[EXTENT_DTYPE];
	e->order = p[EXTENT_ORDER];
	e->ndims = p[EXTENT_NDIMS];
}

static inline void uw_group_store(uint8_t *p, const struct uw_group *g)
{
	uw_store_le64(p + GROUP_OFF, g->off);
	uw_store_le64(p + GROUP_STORED_NBYTES, g->nbytes);
	memcpy(p + GROUP_HASH, g->xxh64, sizeof(g->xxh64));
	uw_store_le32(p + GROUP_NPATCHES, g->npatches);
	p[GROUP_CODING] = g->coding;
	p[GROUP_NTABLES] = g->ntables;
	uw_store_le16(p + GROUP_RESERVED, 0);
}

/* The reserved field is the reader's business. */
static inline void uw_group_load(const uint8_t *p, struct uw_group *g)
{
	g->off = uw_load_le64(p + GROUP_OFF);
	g->nbytes = uw_load_le64(p + GROUP_STORED_NBYTES);
	memcpy(g->xxh64, p + GROUP_HASH, sizeof(g->xxh64));
	g->npatches = uw_load_le32(p + GROUP_NPATCHES);
	g->coding = p[GROUP_CODING];
	g->ntables = p[GROUP_NTABLES];
}

/* Where a group of `nbytes` begins if the one before it ends at `end`. */
static inline bool uw_group_place(uint64_t end, uint64_t nbytes, uint64_t *off)
{
	return uw_align_up(end, nbytes >= BIG_GROUP_NBYTES ? BIG_GROUP_ALIGN : GROUP_ALIGN, off);
}

#endif
