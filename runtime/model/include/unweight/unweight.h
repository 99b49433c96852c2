/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libunweight: models whose weights stay compressed. This header opens bundles and reads tensors; linear.h
 * multiplies.
 *
 *   uw_model_open("bundle", NULL, &model, &err)
 *   t = uw_model_find(model, "model.layers.0.mlp.up_proj.weight")
 *   uw_tensor_read(model, t, NULL, dst, dst_nbytes, &err)      // or rows, columns, experts of it
 *   uw_model_close(&model)
 *
 * A bundle is a folder or tar that unweight-compress has made, or one container (NAME.uw) of it. Opening validates
 * manifest and indexes, every size and hash in them, and touches no weight.
 *
 * Errors. Functions that can fail return enum uw_status, UW_OK being 0; with another value, *err (may be NULL) says
 * what and where, and outputs are as before unless stated. The library prints nothing, never exits, has no global
 * state.
 *
 * Threads. A model is immutable: any number of threads may use it at once, until uw_model_close.
 *
 * Files. By default files are mapped; all sizes are checked against the manifest and the indexes first, so a file that
 * was cut short is an error when the model is opened. A mapped file that is cut short later is a SIGBUS when it is
 * used; one whose bytes change gives wrong weights or errors, but no access outside the library's memory, and
 * UW_MODEL_CHECK finds what changed before a group was read. With UW_MODEL_PREAD files are read instead, which turns
 * both into errors; it is also taken by itself where a mapping would be slow or dangerous: on network and user-space
 * file systems.
 */
#ifndef UNWEIGHT_UNWEIGHT_H
#define UNWEIGHT_UNWEIGHT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/dtype.h"
#include "unweight/pread.h"
#include "unweight/status.h"

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* ---- tensors ------------------------------------------------------------------------------- */

/* What a tensor is for, as its name says. It does not say how it lies: some families (GPT-2, Llama 4's experts) store
 * their matrices transposed, some interleave gate and up. Values are pinned. */
enum uw_role {
	UW_ROLE_Q = 0,
	UW_ROLE_K = 1,
	UW_ROLE_V = 2,
	UW_ROLE_KV = 3,       /* latent or fused keys and values */
	UW_ROLE_QKV = 4,      /* fused */
	UW_ROLE_O = 5,
	UW_ROLE_GATE = 6,
	UW_ROLE_UP = 7,
	UW_ROLE_GATE_UP = 8,  /* fused */
	UW_ROLE_DOWN = 9,
	UW_ROLE_SCALE = 10,   /* of quantised weights */
	UW_ROLE_OTHER = 11,
	UW_ROLE_EMBEDDING = 12,
	UW_ROLE_HEAD = 13,
	UW_ROLE_NORM = 14,
	UW_ROLE_ROUTER = 15,  /* of a mixture of experts */
};
#define UW_NROLES 16

/* "q", "gate_up", "embedding", ...; NULL for other values. */
const char *uw_role_name(enum uw_role role);

/* What the built-in table says of a name: role; number of the layer, of the expert, or -1. */
struct uw_name_meaning {
	enum uw_role role;
	int32_t layer;
	int32_t expert;
};
struct uw_name_meaning uw_name_meaning(const char *name, size_t nbytes);

/* Owned by the model. */
struct uw_tensor {
	const char *name;       /* UTF-8, terminated; may hold zero bytes */
	size_t name_nbytes;
	uint8_t dtype;          /* enum uw_dtype of format.h */
	uint8_t ndims;
	const uint64_t *dims;   /* outermost first */
	uint64_t nbytes;        /* decoded */
	uint64_t stored_nbytes; /* in the bundle */
	struct uw_name_meaning meaning;
	const char *file;       /* of the model that it is from, relative path */
};

/* ---- opening ------------------------------------------------------------------------------- */

struct uw_model;

enum uw_model_flag {
	UW_MODEL_PREAD = 1u << 0, /* never map */
	UW_MODEL_MMAP = 1u << 1,  /* map even where that is slow */
	UW_MODEL_CHECK = 1u << 2, /* compare the hash of stored bytes whenever a group is read (uw_tensor_read,
				     uw_linear_create) */
};

/* Memory for decoded and prepared weights, and for stored ones that are read and not mapped: the large things.
 * Functions may be called from any thread; alloc gives memory aligned to `align`, a power of two, or NULL. */
struct uw_allocator {
	void *(*alloc)(void *ctx, size_t nbytes, size_t align);
	void (*free)(void *ctx, void *memory, size_t nbytes);
	void *ctx;
};

/* A rule of the caller about tensors whose name matches `glob` (see uw_model_glob). */
struct uw_role_rule {
	const char *glob;
	enum uw_role role;
};

/* Zero is the default of every member. Only used during uw_model_open, but for what the callbacks' ctx points to. */
struct uw_model_options {
	uint32_t flags;                  /* enum uw_model_flag */
	const char *cpu_level;           /* "c", "avx2", "avx512", ... at most; NULL: the best there is */
	const struct uw_allocator *allocator;
	const struct uw_role_rule *rules; /* the first that matches overrides the built-in table */
	size_t nrules;
	/* What a person running this should know (a file system that is not mapped); may be NULL. From the opening
	 * thread. */
	void (*log)(void *ctx, const char *text);
	/* Asked between files while opening, between groups while reading; true: UW_ERR_CANCELLED. May be NULL. Any
	 * thread. */
	bool (*cancelled)(void *ctx);
	/* So many more bytes of tensors have been decoded by uw_tensor_read. May be NULL. Any thread. */
	void (*progress)(void *ctx, uint64_t nbytes);
	void *ctx;
	/* Path of a bundle of the base, for a bundle that stores only what differs from one; others do not look at it.
	 * What refers to the base is decoded where it is used: such weights are multiplied as BF16. */
	const char *base;
};

/*
 * Opens the bundle at `path`; `options` may be NULL. O(size of the indexes). On success *model is to be closed with
 * uw_model_close. UW_ERR_NOT_FOUND, UW_ERR_IO, UW_ERR_MAGIC: no bundle; UW_ERR_TRUNCATED, UW_ERR_LAYOUT,
 * UW_ERR_CHECKSUM: a damaged one, *err names the file; UW_ERR_VERSION, UW_ERR_FEATURE: one of another version;
 * UW_ERR_UNSUPPORTED: two tensors of one name, no such cpu_level; UW_ERR_BASE: the bundle needs a base, *err says
 * which, and it is not the one in the options.
 */
UW_MUST_CHECK enum uw_status uw_model_open(const char *path, const struct uw_model_options *options,
					   struct uw_model **model, struct uw_error *err);

/* The same for an open folder or file, which stays the caller's and may be closed afterwards. Its read position does
 * not matter and is not changed. */
UW_MUST_CHECK enum uw_status uw_model_open_fd(int fd, const struct uw_model_options *options, struct uw_model **model,
					      struct uw_error *err);

/* A tar or one container in memory, aligned to 64, borrowed until uw_model_close. */
UW_MUST_CHECK enum uw_status uw_model_open_memory(const void *data, uint64_t nbytes,
						  const struct uw_model_options *options, struct uw_model **model,
						  struct uw_error *err);

/* A tar or one container of `nbytes` bytes behind a function that reads exactly what it is asked for; called from any
 * thread, until uw_model_close. What it returns other than UW_OK is returned to the caller. */
UW_MUST_CHECK enum uw_status uw_model_open_pread(uw_pread_fn pread, void *ctx, uint64_t nbytes,
						 const struct uw_model_options *options, struct uw_model **model,
						 struct uw_error *err);

void uw_model_close(struct uw_model **model); /* NULL inside is fine */

/* True if the weights of the model are mapped, not read. */
bool uw_model_is_mapped(const struct uw_model *model);

/* ---- finding ------------------------------------------------------------------------------- */

size_t uw_model_ntensors(const struct uw_model *model);
/* Tensor i < ntensors, ascending by the bytes of their names; NULL beyond. */
const struct uw_tensor *uw_model_tensor(const struct uw_model *model, size_t i);
/* Tensor of this (terminated) name, or NULL. O(log n). */
const struct uw_tensor *uw_model_find(const struct uw_model *model, const char *name);

/*
 * Tensors whose names match a glob: `*` any run of bytes, `?` any one, `[a-c]` one of these, `[!a-c]` any other; all of
 * them match dots too. Starts at index *i, returns the match and moves *i behind it; NULL when there is none left.
 */
const struct uw_tensor *uw_model_glob(const struct uw_model *model, const char *glob, size_t *i);

/* The tensor with this meaning (layer, expert: -1 for none), or NULL; so also if there are several. O(log n). */
const struct uw_tensor *uw_model_role(const struct uw_model *model, enum uw_role role, int32_t layer, int32_t expert);

/*
 * Finds all of `names`, to tensors[0 .. n). UW_ERR_NOT_FOUND names those that are missing in *err, as many as fit,
 * and how many there are; tensors[i] is NULL for each of them.
 */
UW_MUST_CHECK enum uw_status uw_model_find_all(const struct uw_model *model, const char *const *names, size_t n,
					       const struct uw_tensor **tensors, struct uw_error *err);

/* The same for meanings; one that several tensors have counts as missing. */
UW_MUST_CHECK enum uw_status uw_model_find_roles(const struct uw_model *model, const struct uw_name_meaning *meanings,
						 size_t n, const struct uw_tensor **tensors, struct uw_error *err);

/* UW_ERR_NOT_FOUND if matrices of a million weights and more have UW_ROLE_OTHER, naming as many as fit: nobody would
 * notice that they are left out. For a full list, walk the tensors. */
UW_MUST_CHECK enum uw_status uw_model_check_roles(const struct uw_model *model, struct uw_error *err);

/* ---- reading ------------------------------------------------------------------------------- */

/*
 * Part of a tensor of n dimensions as matrices: experts (indexes over all leading dimensions but two) expert_begin ..
 * expert_end, rows and columns of each. An end of 0 means to the end. Tensors of one dimension are one row, those of
 * none one value.
 */
struct uw_tensor_slice {
	uint64_t expert_begin, expert_end;
	uint64_t row_begin, row_end;
	uint64_t col_begin, col_end;
};

/* Bytes of a slice, without gaps; NULL is the whole tensor. 0 if the slice is empty, outside, or of a dtype of less
 * than 8 bits or unknown size that is not taken whole. */
uint64_t uw_tensor_slice_nbytes(const struct uw_tensor *tensor, const struct uw_tensor_slice *slice);

/*
 * Decodes a slice to dst: experts, rows, columns, without gaps, the dtype's own bytes, little-endian as in the source
 * file. Any alignment. Decodes only what it has to: tiles of 64 rows and columns of large matrices, otherwise groups
 * (SPEC.md section 3); takes memory for one group from the model's allocator while it runs. UW_ERR_SPACE: dst is too
 * small; UW_ERR_SHAPE: slice empty or outside; UW_ERR_BITS, UW_ERR_TABLE, UW_ERR_PATCH, UW_ERR_LAYOUT,
 * UW_ERR_CHECKSUM: the tensor is damaged; UW_ERR_IO, UW_ERR_NOMEM, UW_ERR_CANCELLED. dst is then partly written.
 */
UW_MUST_CHECK enum uw_status uw_tensor_read(const struct uw_model *model, const struct uw_tensor *tensor,
					    const struct uw_tensor_slice *slice, void *dst, size_t dst_nbytes,
					    struct uw_error *err);

/* The same with `row_stride` bytes, at least the bytes of one, from row to row of the slice; 0: without gaps, as above.
 * What lies between rows is left alone. UW_ERR_ARG: row_stride. */
UW_MUST_CHECK enum uw_status uw_tensor_read_rows(const struct uw_model *model, const struct uw_tensor *tensor,
						 const struct uw_tensor_slice *slice, void *dst, size_t dst_nbytes,
						 size_t row_stride, struct uw_error *err);

/* ---- other files of the model -------------------------------------------------------------- */

/* Size of a file of the model (config.json, ...), or UW_ERR_NOT_FOUND. `path` as in the model. */
UW_MUST_CHECK enum uw_status uw_model_file_nbytes(const struct uw_model *model, const char *path, uint64_t *nbytes,
						  struct uw_error *err);
/* Reads all of it to dst, any alignment; restores it if it is compressed. Compares its SHA-256 with the manifest's:
 * UW_ERR_CHECKSUM. UW_ERR_SPACE: room is less than its size. */
UW_MUST_CHECK enum uw_status uw_model_file_read(const struct uw_model *model, const char *path, void *dst, size_t room,
						struct uw_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
