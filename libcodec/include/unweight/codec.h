/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The codec: BF16 weights of one group <-> the stored bytes of codings H and P4
 * (SPEC.md sections 5 to 7). Knows nothing of files, tensors or containers.
 *
 * Weights are the 16-bit words of BF16 values in the machine's byte order; on big-endian
 * machines the caller swaps. Nothing here allocates, keeps state or touches globals: every
 * function may be called from any number of threads at once.
 */
#ifndef UNWEIGHT_CODEC_H
#define UNWEIGHT_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define UW_TILE_WEIGHTS 1024u
#define UW_TILE_ROWS 16u
#define UW_TILE_COLS 64u
#define UW_BLOCK_TILE_ROWS 4u /* tile rows of a row block */
#define UW_CHUNK_TILES 8u
#define UW_CHUNK_WEIGHTS (UW_CHUNK_TILES * UW_TILE_WEIGHTS)
#define UW_LANES 32u
#define UW_SYMBOLS 16u
#define UW_PAIRS 8u
#define UW_MAX_CODE_LEN 7u
#define UW_MAX_TABLES 16u
#define UW_MAX_TILE_PATCHES 32u /* escapes a group may have, per tile */
#define UW_MAX_ORDERED_ROWS 65536u /* a group with a row order has no more */
#define UW_MAX_GROUP_WEIGHTS (UINT64_C(1) << 23)

struct uw_cpu_ops;

/* How the weights of a group lie in tiles. The values are those of SPEC.md's extent orders. */
enum uw_order {
	UW_ORDER_BYTES = 0,
	UW_ORDER_LINEAR = 1,
	UW_ORDER_TILED = 2,
};

/* The values are those of SPEC.md's group codings. */
enum uw_coding {
	UW_CODING_RAW = 0,
	UW_CODING_ZSTD = 1,
	UW_CODING_H = 2,
	UW_CODING_P4 = 3,
	UW_CODING_COPY = 4,  /* this and the next refer to a base: not the codec's business */
	UW_CODING_DELTA = 5,
};

/* How decoded weights are stored. STREAM goes past the caches: for output that is larger than they are and not used
 * soon. Kernels may take it as CACHED where addresses are not aligned to 64. */
enum uw_store {
	UW_STORE_CACHED,
	UW_STORE_STREAM,
};

/* Geometry of a group's weights; everything follows from order, nrows and ncols. */
struct uw_shape {
	enum uw_order order; /* LINEAR or TILED */
	uint64_t nrows;      /* LINEAR: 1 */
	uint64_t ncols;      /* LINEAR: number of weights */
	uint64_t nweights;
	uint64_t ntiles;
	uint64_t nchunks;
};

/* Shape of a run of `n` weights, or of `nrows` whole rows of `ncols` weights.
 * Sizes above UW_MAX_GROUP_WEIGHTS (padding included) or of 0 are UW_ERR_ARG. */
UW_MUST_CHECK enum uw_status uw_shape_linear(uint64_t n, struct uw_shape *shape);
UW_MUST_CHECK enum uw_status uw_shape_tiled(uint64_t nrows, uint64_t ncols, struct uw_shape *shape);

/* One palette and one canonical Huffman code (SPEC.md 6.1). */
struct uw_table {
	uint8_t pairs[UW_PAIRS];   /* e >> 1 of each exponent pair */
	uint8_t lens[UW_SYMBOLS];  /* code lengths; all 0 in coding P4 */
};

/*
 * What uw_codec_plan decides for one group: tables, which chunk uses which, exact sizes. The symbols, the S plane
 * and the patches themselves stay in the scratch memory, where uw_codec_encode picks them up.
 */
struct uw_plan {
	uint64_t counts[256];   /* exponents of the group; valid even if the plan fails with UW_ERR_UNSUPPORTED */
	uint64_t nescapes;      /* weights coded by a patch: outside their palette, or without a code */
	uint64_t stream_nbytes; /* all H streams, before the padding of E */
	bool row_order;         /* rows are stored in another order, which the scratch memory holds */
	uint32_t ntables;
	struct uw_table tables[UW_MAX_TABLES];
	uint64_t chunk_words[UW_MAX_GROUP_WEIGHTS / UW_CHUNK_WEIGHTS]; /* as stored by coding H */
};

/* Bytes of scratch memory that planning and encoding need for `shape`; alignment 64. */
size_t uw_codec_scratch_nbytes(const struct uw_shape *shape);

/* Chooses tables for the group at `weights` (shape->nweights words, row-major). Fills *plan and the scratch memory.
 * For coding H the whole is as small as it gets, rare symbols being patched to shorten the others; for P4 there are
 * as few patches as possible, since serving code meets each of them in its inner loop, and rows stay as they come.
 * Either plan can be encoded in both codings. UW_ERR_UNSUPPORTED: too many escapes, the group has to be stored RAW. */
UW_MUST_CHECK enum uw_status uw_codec_plan(const struct uw_cpu_ops *ops, const struct uw_shape *shape,
					   const uint16_t *weights, enum uw_coding coding, void *scratch,
					   struct uw_plan *plan);

/* The same with rows stored in a given order: stored row i is row row_order[i], a permutation of the shape->nrows rows.
 * NULL: as they come. UW_ERR_ARG: not in tiled order, or more than UW_MAX_ORDERED_ROWS rows. */
UW_MUST_CHECK enum uw_status uw_codec_plan_rows(const struct uw_cpu_ops *ops, const struct uw_shape *shape,
						const uint16_t *weights, enum uw_coding coding,
						const uint16_t *row_order, void *scratch, struct uw_plan *plan);

/* Exact stored size under `plan`; coding is H or P4. */
uint64_t uw_codec_encoded_nbytes(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding);

/* Where in the scratch memory uw_codec_encode can write the stored bytes without copying the S plane: as its dst, with
 * uw_codec_encoded_nbytes() bytes. They stay until the next plan or encode there; the plan stays good. */
uint8_t *uw_codec_place(const struct uw_shape *shape, const struct uw_plan *plan, enum uw_coding coding, void *scratch);

/* Writes the stored bytes of the group: exactly uw_codec_encoded_nbytes() of them. `scratch` is as uw_codec_plan left
 * it, so one plan serves both codings. dst is aligned to 64 for speed only. UW_ERR_SPACE: dst_nbytes is less. */
UW_MUST_CHECK enum uw_status uw_codec_encode(const struct uw_cpu_ops *ops, const struct uw_shape *shape,
					     const struct uw_plan *plan, enum uw_coding coding, const void *scratch,
					     uint8_t *dst, size_t dst_nbytes);

/*
 * A coded group, checked: pointers into the stored bytes, which have to outlive the view and must not change meanwhile.
 * All of head is validated by uw_coded_open, lane headers by the decoder as it meets them; with
 * that, decoding reads and writes inside its buffers whatever the other bytes are.
 */
struct uw_coded {
	struct uw_shape shape;
	enum uw_coding coding;
	uint32_t ntables;
	uint32_t npatches;
	struct uw_table tables[UW_MAX_TABLES];
	const uint8_t *head;        /* tables, chunk words, patches, row order */
	uint64_t head_nbytes;
	const uint8_t *chunk_words; /* shape.nchunks x u64 */
	const uint8_t *patches;     /* npatches x u32 */
	const uint8_t *row_order;   /* shape.nrows x u16, see uw_coded_row; NULL: rows are stored as they come */
	const uint8_t *e;           /* E region: bit streams or nibble plane; in the stored bytes, from head_nbytes on */
	uint64_t e_nbytes;
	const uint8_t *s;           /* S plane, shape.ntiles x 1024; in the stored bytes, behind E */
};

/* The row of the group that stored row i is. Tiles, row blocks and patches count stored rows; i < shape.nrows, and so
 * is the result. */
static inline uint64_t uw_coded_row(const struct uw_coded *coded, uint64_t i)
{
	const uint8_t *at = coded->row_order;

	return at != NULL ? at[2 * i] | (uint64_t)at[2 * i + 1] << 8 : i;
}

/* Validates the head of a stored group. `err->file_off` is relative to `stored`. */
UW_MUST_CHECK enum uw_status uw_coded_open(const struct uw_shape *shape, enum uw_coding coding, uint32_t ntables,
					   uint32_t npatches, const uint8_t *stored, size_t stored_nbytes,
					   struct uw_coded *coded, struct uw_error *err);

/*
 * The same where others may write to the stored bytes: `head` is the caller's copy of the first bytes of them, as many
 * as uw_coded_head_room says or there are. What was checked is then what is used; bits and planes may change at any
 * time, which gives wrong weights or UW_ERR_BITS, but reads and writes stay inside their buffers.
 */
uint64_t uw_coded_head_room(const struct uw_shape *shape, uint32_t ntables, uint32_t npatches);
UW_MUST_CHECK enum uw_status uw_coded_open_copied(const struct uw_shape *shape, enum uw_coding coding, uint32_t ntables,
						  uint32_t npatches, const uint8_t *head, const uint8_t *stored,
						  size_t stored_nbytes, struct uw_coded *coded, struct uw_error *err);

/* Decodes the whole group into shape.nweights words, row-major, aligned to 64 for speed only.
 * UW_ERR_BITS names the chunk in *err; `weights` is then partly written. */
UW_MUST_CHECK enum uw_status uw_coded_decode(const struct uw_cpu_ops *ops, const struct uw_coded *coded,
					     enum uw_store store, uint16_t *weights, struct uw_error *err);

/* Row blocks (of 64 rows) first .. first + nblocks of a group in tiled order: their rows to weights, as they are
 * stored, ld >= ncols weights from row to row. UW_ERR_ARG: order, blocks or ld; UW_ERR_BITS as above. Row block b has
 * the stored rows from 64 b on; which ones of the group these are, uw_coded_row says. */
UW_MUST_CHECK enum uw_status uw_coded_decode_blocks(const struct uw_cpu_ops *ops, const struct uw_coded *coded,
						    uint64_t first, uint64_t nblocks, enum uw_store store,
						    uint16_t *weights, size_t ld, struct uw_error *err);

/* The same for tile columns (of 64 columns) first_col .. + ncols of one row block: weights begins with column 64
 * first_col. */
UW_MUST_CHECK enum uw_status uw_coded_decode_columns(const struct uw_cpu_ops *ops, const struct uw_coded *coded,
						     uint64_t block, uint64_t first_col, uint64_t ncols,
						     enum uw_store store, uint16_t *weights, size_t ld,
						     struct uw_error *err);

/* The true exponents (patches applied) of chunks first_chunk .. + nchunks in position order, one byte a weight, 1024
 * bytes a tile, padding included. UW_ERR_ARG: no such chunks; UW_ERR_BITS as above. */
UW_MUST_CHECK enum uw_status uw_coded_exponents(const struct uw_cpu_ops *ops, const struct uw_coded *coded,
						uint64_t first_chunk, uint64_t nchunks, uint8_t *e,
						struct uw_error *err);

/* Coding H: the nibble plane of the same group as P4, 512 bytes a tile. Palettes and patches stay as they are. */
UW_MUST_CHECK enum uw_status uw_coded_nibbles(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint8_t *nib,
					      struct uw_error *err);

/* Stored size of the same group as P4, and the transcode from H: E and the code lengths change, nothing else. */
uint64_t uw_coded_p4_nbytes(const struct uw_coded *coded);
UW_MUST_CHECK enum uw_status uw_coded_to_p4(const struct uw_cpu_ops *ops, const struct uw_coded *coded, uint8_t *dst,
					    size_t dst_nbytes, struct uw_error *err);

#ifdef __cplusplus
}
#endif
#endif
