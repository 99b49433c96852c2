/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Upload. Of a matrix taken whole, groups go to the device as they are stored; a cut is read and coded anew, since
 * tiles, chunks and palettes of its own are what kernels want.
 *
 * Stored bytes are copied before they are checked: what was checked is what the device gets, whatever happens to the
 * file meanwhile. Huffman streams are decoded once, into nibbles where these are wanted, else just to see that they can be.
 */
#include "cuda_weights.h"

#include <stdlib.h>
#include <string.h>

#define REGION_ALIGN 64u

static uint64_t ceil_div(uint64_t a, uint64_t b)
{
	return a / b + (a % b != 0);
}

static uint64_t align_up(uint64_t a, uint64_t to)
{
	return ceil_div(a, to) * to;
}

/* ---- which groups ---- */

static enum uw_status check_cut(const struct uw_linear_part *from, const struct uw_tensor_grid *grid,
				struct uw_cuda_part *part, struct uw_error *err)
{
	part->row_begin = from->row_begin;
	part->row_end = from->row_end != 0 ? from->row_end : grid->nrows;
	part->col_begin = from->col_begin;
	part->col_end = from->col_end != 0 ? from->col_end : grid->ncols;
	if (from->expert >= grid->nexperts || part->row_begin >= part->row_end || part->row_end > grid->nrows ||
	    part->col_begin >= part->col_end || part->col_end > grid->ncols)
		return uw_fail(err, UW_ERR_SHAPE, UW_NO_OFFSET,
			       "matrix %llu, rows %llu to %llu, columns %llu to %llu of %llu matrices of %llu x %llu",
			       (unsigned long long)from->expert, (unsigned long long)part->row_begin,
			       (unsigned long long)part->row_end, (unsigned long long)part->col_begin,
			       (unsigned long long)part->col_end, (unsigned long long)grid->nexperts,
			       (unsigned long long)grid->nrows, (unsigned long long)grid->ncols);
	part->nrows = part->row_end - part->row_begin;
	part->ncols = part->col_end - part->col_begin;
	part->ld = align_up(part->ncols, 8);
	if (part->nrows > INT32_MAX || part->ld > INT32_MAX)
		return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "more than 2^31 rows or columns");
	return UW_OK;
}

/* Groups coded anew: whole row blocks. */
static void plan_cut(const struct uw_cuda *cuda, struct uw_cuda_part *part)
{
	uint64_t row_block = UW_BLOCK_TILE_ROWS * UW_TILE_ROWS;
	uint64_t blocks = cuda->cut_weights / (row_block * align_up(part->ncols, UW_TILE_COLS));

	part->group_nrows = row_block * (blocks != 0 ? blocks : 1);
	part->ngroups = ceil_div(part->nrows, part->group_nrows);
}

/* A coding that some group has: others had their reasons to be RAW. */
static enum uw_coding coding_of(const struct uw_extent *extent, const struct uw_group *groups)
{
	for (uint64_t i = 0; i < extent->ngroups; i++) {
		if (groups[i].coding == UW_CODING_H || groups[i].coding == UW_CODING_P4)
			return (enum uw_coding)groups[i].coding;
	}
	return UW_CODING_RAW;
}

static void describe_groups(struct uw_cuda_part *part, const struct uw_extent *extent, const struct uw_group *groups)
{
	enum uw_coding anew = coding_of(extent, groups);
	uint64_t row = 0;

	for (uint64_t i = 0; i < part->ngroups; i++) {
		struct uw_cuda_group *g = &part->groups[i];
		uint64_t left = part->nrows - row;

		g->first_row = row;
		g->nrows = left < part->group_nrows ? left : part->group_nrows;
		g->coding = anew;
		if (part->whole) {
			struct uw_slice slice;
			uint8_t coding = groups[part->first + i].coding;

			uw_extent_slice(extent, part->first + i, &slice);
			g->nrows = slice.nrows;
			g->coding = coding == UW_CODING_H || coding == UW_CODING_P4 ? (enum uw_coding)coding
										     : UW_CODING_RAW;
		}
		row += g->nrows;
	}
}

enum uw_status uw_cuda_part_open(const struct uw_cuda *cuda, const struct uw_model *model,
				 const struct uw_linear_part *from, struct uw_cuda_part *part, struct uw_error *err)
{
	const struct uw_tensor *tensor = from->tensor;
	const struct uw_extent *extent;
	const struct uw_model_part *file = uw_tensor_part(model, tensor, &extent);
	const struct uw_group *groups = &file->container.index->groups[extent->first_group];
	struct uw_tensor_grid grid = uw_tensor_grid(tensor);
	enum uw_status status;

	*part = (struct uw_cuda_part){ .tensor = tensor, .expert = from->expert };
	if (tensor->dtype != UW_DTYPE_BF16 || tensor->ndims < 2 || tensor->nbytes == 0)
		return uw_tensor_failed(tensor, uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "no matrix of BF16"),
					err);
	status = check_cut(from, &grid, part, err);
	if (status != UW_OK)
		return uw_tensor_failed(tensor, status, err);
	part->whole = extent->order == UW_ORDER_TILED && part->nrows == grid.nrows && part->ncols == grid.ncols;
	plan_cut(cuda, part);
	if (part->whole) {
		part->ngroups = extent->ngroups / grid.nexperts;
		part->first = part->expert * part->ngroups;
	}
	part->groups = calloc((size_t)part->ngroups, sizeof(*part->groups));
	if (part->groups == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "groups of a matrix");
	describe_groups(part, extent, groups);
	return UW_OK;
}

/* ---- the host's side of a group ---- */

/* Stored bytes in memory of our own, checked. */
struct coded_group {
	struct uw_coded coded;
	uint8_t *bytes;
	uint64_t nbytes;
	uint64_t room;
};

static enum uw_status load_stored(const struct uw_model *model, const struct uw_cuda_part *part, uint64_t i,
				  struct coded_group *g, struct uw_error *err)
{
	struct uw_stored_group stored;
	enum uw_status status = uw_stored_group_open(model, part->tensor, part->first + i, &stored, err);

	if (status != UW_OK)
		return status;
	status = uw_stored_group_own(model, &stored, err);
	if (status == UW_OK)
		status = uw_stored_group_coded(model, &stored, &g->coded, err);
	if (status == UW_OK) {
		g->bytes = stored.owned;
		g->nbytes = stored.group->nbytes;
		g->room = stored.owned_nbytes;
		stored.owned = NULL;
	}
	uw_stored_group_close(model, &stored);
	return status;
}

static struct uw_tensor_slice slice_of(const struct uw_cuda_part *part, const struct uw_cuda_group *group)
{
	return (struct uw_tensor_slice){
		.expert_begin = part->expert,
		.expert_end = part->expert + 1,
		.row_begin = part->row_begin + group->first_row,
		.row_end = part->row_begin + group->first_row + group->nrows,
		.col_begin = part->col_begin,
		.col_end = part->col_end,
	};
}

/* Plans and encodes weights. UW_ERR_UNSUPPORTED: they have to stay as they are. */
static enum uw_status encode(const struct uw_model *model, const struct uw_shape *shape, enum uw_coding coding,
			     const uint16_t *weights, void *scratch, struct coded_group *g)
{
	const struct uw_cpu_ops *ops = uw_model_cpu_ops(model);
	struct uw_plan *plan = malloc(sizeof(*plan));
	enum uw_status status = plan != NULL ? UW_OK : UW_ERR_NOMEM;

	if (status == UW_OK)
		status = uw_codec_plan(ops, shape, weights, coding, scratch, plan);
	if (status == UW_OK) {
		g->nbytes = g->room = uw_codec_encoded_nbytes(shape, plan, coding);
		g->bytes = uw_model_alloc(model, g->room);
		status = g->bytes != NULL ? UW_OK : UW_ERR_NOMEM;
	}
	if (status == UW_OK)
		status = uw_codec_encode(ops, shape, plan, coding, scratch, g->bytes, (size_t)g->nbytes);
	if (status == UW_OK)
		status = uw_coded_open(shape, coding, plan->ntables, (uint32_t)plan->nescapes, g->bytes,
				       (size_t)g->nbytes, &g->coded, NULL);
	free(plan);
	return status;
}

static enum uw_status code_anew(const struct uw_model *model, const struct uw_cuda_part *part,
				const struct uw_cuda_group *group, struct coded_group *g, struct uw_error *err)
{
	struct uw_tensor_slice slice = slice_of(part, group);
	uint64_t nbytes = group->nrows * part->ncols * sizeof(uint16_t), scratch_nbytes;
	struct uw_shape shape;
	enum uw_status status = uw_shape_tiled(group->nrows, part->ncols, &shape);
	uint16_t *weights;
	void *scratch;

	if (status != UW_OK)
		return UW_ERR_UNSUPPORTED; /* rows of more than a group may have */
	scratch_nbytes = uw_codec_scratch_nbytes(&shape);
	weights = uw_model_alloc(model, nbytes);
	scratch = uw_model_alloc(model, scratch_nbytes);
	if (weights == NULL || scratch == NULL)
		status = uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "coding a cut");
	if (status == UW_OK)
		status = uw_tensor_read(model, part->tensor, &slice, weights, (size_t)nbytes, err);
	if (status == UW_OK) {
		status = encode(model, &shape, group->coding, weights, scratch, g);
		if (status == UW_ERR_NOMEM)
			(void)uw_fail(err, status, UW_NO_OFFSET, "coding a cut");
	}
	uw_model_free(model, weights, nbytes);
	uw_model_free(model, scratch, scratch_nbytes);
	return status;
}

/* ---- upload ---- */

/* Rows first .. + nrows of the part as BF16 to the device. */
static enum uw_status upload_rows(const struct uw_cuda *cuda, const struct uw_model *model,
				  const struct uw_cuda_part *part, const struct uw_tensor_slice *slice,
				  struct uw_cuda_memory *memory, struct uw_error *err)
{
	uint64_t nbytes = (slice->row_end - slice->row_begin) * part->ld * sizeof(uint16_t);
	uint8_t *rows = uw_model_alloc(model, nbytes);
	enum uw_status status;

	if (rows == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "%llu bytes of weights", (unsigned long long)nbytes);
	if (part->ld != part->ncols)
		memset(rows, 0, (size_t)nbytes);
	status = uw_tensor_read_rows(model, part->tensor, slice, rows, (size_t)nbytes,
				     (size_t)part->ld * sizeof(uint16_t), err);
	if (status == UW_OK)
		status = uw_cuda_memory_alloc(cuda, nbytes, memory, err);
	if (status == UW_OK)
		status = uw_cuda_copy_in(cuda, memory->at, rows, nbytes, NULL, err);
	uw_model_free(model, rows, nbytes);
	return status;
}

/* Runs a decoder of Huffman streams over one group, to `out`; waits and looks whether it met a corrupt one. */
static enum uw_status decode_streams(const struct uw_cuda *cuda, const struct uw_gpu_group *group, bool to_nibbles,
				     uint8_t *out, struct uw_error *err)
{
	struct {
		struct uw_gpu_group group;
		uint32_t error;
	} sheet = { *group, 0 };
	uint64_t error_at = (const uint8_t *)&sheet.error - (const uint8_t *)&sheet;
	struct uw_cuda_memory memory;
	struct uw_gpu_decode decode;
	enum uw_status status = uw_cuda_memory_alloc(cuda, sizeof(sheet), &memory, err);

	if (status != UW_OK)
		return status;
	sheet.group.out_dev = out;
	status = uw_gpu_decode_init(&sheet.group, 1, (const struct uw_gpu_group *)(const void *)memory.at,
				    (uint32_t *)(void *)(memory.at + error_at), &decode);
	if (status == UW_OK)
		status = cuda->ops->copy_in(memory.at, &sheet, sizeof(sheet), NULL);
	if (status == UW_OK)
		status = to_nibbles ? cuda->ops->transcode_h(&decode, NULL) : cuda->ops->exponents_h(&decode, NULL);
	if (status == UW_OK)
		status = cuda->ops->copy_out(&sheet.error, memory.at + error_at, sizeof(sheet.error), NULL);
	if (status == UW_OK)
		status = cuda->ops->stream_sync(NULL);
	uw_cuda_memory_free(cuda, &memory);
	if (status == UW_OK && sheet.error != 0)
		return uw_fail(err, UW_ERR_BITS, UW_NO_OFFSET, "corrupt Huffman stream");
	return uw_cuda_status(status, "decoding", err);
}

/* Palette codes of a group of coding H: head, S plane, nibbles, each as in the stored bytes of a group of coding P4. */
static enum uw_status make_palette(const struct uw_cuda *cuda, const struct coded_group *host,
				   struct uw_cuda_group *group, struct uw_error *err)
{
	const struct uw_coded *coded = &host->coded;
	uint64_t head = coded->head_nbytes, s = head + coded->e_nbytes;
	uint64_t s_nbytes = group->ntiles * UW_TILE_WEIGHTS, to_s = align_up(head, REGION_ALIGN), to_e = to_s + s_nbytes;
	enum uw_status status =
		uw_cuda_memory_alloc(cuda, to_e + group->ntiles * (UW_TILE_WEIGHTS / 2), &group->palette, err);
	uint8_t *at = group->palette.at;

	if (status == UW_OK)
		status = decode_streams(cuda, &group->exponents, true, at + to_e, err);
	if (status == UW_OK)
		status = uw_cuda_status(cuda->ops->copy_within(at, group->stored.at, head, NULL), "copy", err);
	if (status == UW_OK)
		status = uw_cuda_status(cuda->ops->copy_within(at + to_s, group->stored.at + s, s_nbytes, NULL), "copy",
					err);
	if (status == UW_OK)
		status = uw_cuda_status(uw_gpu_gemm_group_init(coded, at, at + to_e, &group->p4), "descriptor", err);
	if (status != UW_OK)
		return status;
	group->p4.s_dev = at + to_s;
	group->decode.stored_dev = at;
	group->decode.coding = UW_CODING_P4;
	group->decode.s_off = (uint32_t)to_s;
	group->decode.e_off = (uint32_t)to_e;
	group->decode.e_nbytes = (uint32_t)(group->ntiles * (UW_TILE_WEIGHTS / 2));
	group->decode.stream_room = 0;
	return UW_OK;
}

static enum uw_status check_streams(const struct uw_cuda *cuda, const struct uw_cuda_group *group, struct uw_error *err)
{
	struct uw_cuda_memory plane;
	enum uw_status status = uw_cuda_memory_alloc(cuda, group->ntiles * UW_TILE_WEIGHTS, &plane, err);

	if (status != UW_OK)
		return status;
	status = decode_streams(cuda, &group->exponents, false, plane.at, err);
	uw_cuda_memory_free(cuda, &plane);
	return status;
}

static enum uw_status describe_stored(struct uw_cuda_group *group, const struct uw_coded *coded)
{
	const uint8_t *at = group->stored.at;
	enum uw_status status = uw_gpu_group_init(coded, at, NULL, &group->decode);

	group->exponents = group->decode;
	if (status == UW_OK && coded->coding == UW_CODING_P4)
		return uw_gpu_gemm_group_init(coded, at, NULL, &group->p4);
	if (status == UW_OK) /* any address but NULL: the workspace has the right one */
		status = uw_gpu_gemm_group_init(coded, at, at, &group->e8);
	return status;
}

static enum uw_status upload_coded(const struct uw_cuda *cuda, const struct coded_group *host, unsigned forms,
				   struct uw_cuda_group *group, struct uw_error *err)
{
	enum uw_status status = uw_cuda_memory_alloc(cuda, host->nbytes, &group->stored, err);

	group->ntiles = host->coded.shape.ntiles;
	if (status == UW_OK)
		status = uw_cuda_copy_in(cuda, group->stored.at, host->bytes, host->nbytes, NULL, err);
	if (status == UW_OK)
		status = uw_cuda_status(describe_stored(group, &host->coded), "descriptor", err);
	if (status != UW_OK || group->coding == UW_CODING_P4)
		return status;
	if (!(forms & UW_CUDA_PALETTE))
		return check_streams(cuda, group, err);
	status = make_palette(cuda, host, group, err);
	if (status == UW_OK && !(forms & UW_CUDA_STORED)) {
		status = uw_cuda_sync(cuda, NULL, err);
		uw_cuda_memory_free(cuda, &group->stored);
	}
	return status;
}

static enum uw_status upload_group(const struct uw_cuda *cuda, const struct uw_model *model, unsigned forms,
				   struct uw_cuda_part *part, uint64_t i, struct uw_error *err)
{
	struct uw_cuda_group *group = &part->groups[i];
	struct uw_tensor_slice slice = slice_of(part, group);
	struct coded_group host = { .bytes = NULL };
	enum uw_status status = UW_OK;

	if (group->coding != UW_CODING_RAW && part->whole)
		status = load_stored(model, part, i, &host, err);
	else if (group->coding != UW_CODING_RAW)
		status = code_anew(model, part, group, &host, err);
	if (status == UW_ERR_UNSUPPORTED && !part->whole) {
		group->coding = UW_CODING_RAW;
		status = UW_OK;
	}
	if (status == UW_OK && group->coding != UW_CODING_RAW)
		status = upload_coded(cuda, &host, forms, group, err);
	else if (status == UW_OK)
		status = upload_rows(cuda, model, part, &slice, &group->dense, err);
	uw_model_free(model, host.bytes, host.room);
	return status;
}

enum uw_status uw_cuda_part_upload(const struct uw_cuda *cuda, const struct uw_model *model, unsigned forms,
				   struct uw_cuda_part *part, struct uw_error *err)
{
	struct uw_cuda_group all = { .nrows = part->nrows };
	struct uw_tensor_slice slice = slice_of(part, &all);
	enum uw_status status = UW_OK;

	for (uint64_t i = 0; status == UW_OK && i < part->ngroups && (forms & ~(unsigned)UW_CUDA_DENSE) != 0; i++)
		status = upload_group(cuda, model, forms, part, i, err);
	if (status == UW_OK && (forms & UW_CUDA_DENSE))
		status = upload_rows(cuda, model, part, &slice, &part->dense, err);
	return status == UW_OK ? UW_OK : uw_tensor_failed(part->tensor, status, err);
}

void uw_cuda_part_close(const struct uw_cuda *cuda, struct uw_cuda_part *part)
{
	for (uint64_t i = 0; part->groups != NULL && i < part->ngroups; i++) {
		uw_cuda_memory_free(cuda, &part->groups[i].stored);
		uw_cuda_memory_free(cuda, &part->groups[i].palette);
		uw_cuda_memory_free(cuda, &part->groups[i].dense);
	}
	uw_cuda_memory_free(cuda, &part->dense);
	free(part->groups);
	*part = (struct uw_cuda_part){ 0 };
}

uint64_t uw_cuda_part_nbytes(const struct uw_cuda_part *part)
{
	uint64_t n = part->dense.nbytes;

	for (uint64_t i = 0; i < part->ngroups; i++)
		n += part->groups[i].stored.nbytes + part->groups[i].palette.nbytes + part->groups[i].dense.nbytes;
	return n;
}
