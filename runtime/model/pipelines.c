/* SPDX-License-Identifier: Apache-2.0 */
#include "pipelines.h"

#include <string.h>

/* Rows of a decoded block begin at multiples of 64 bytes, but not all at the same place of a page. */
static size_t block_ld(uint64_t ncols)
{
	size_t lines = (size_t)(ncols + 31) / 32;

	return 32 * (lines | 1);
}

static size_t no_scratch(const struct uw_prepared *prepared)
{
	return 0;
}

static enum uw_status fail_nomem(uint64_t nbytes, struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "%llu bytes of prepared weights", (unsigned long long)nbytes);
}

static uint64_t group_nbytes(const struct uw_prepared *prepared)
{
	return prepared->group->nrows * prepared->ncols * sizeof(uint16_t);
}

static uint64_t ntiles(const struct uw_prepared *prepared)
{
	return prepared->group->coded.shape.ntiles;
}

static uint64_t nibbles_nbytes(const struct uw_prepared *prepared)
{
	return ntiles(prepared) * (UW_TILE_WEIGHTS / 2);
}

static bool is_coded(const struct uw_matrix_group *group)
{
	return group->coding == UW_CODING_H || group->coding == UW_CODING_P4;
}

/* ---- raw: BF16 in memory ---- */

static bool raw_fits(const struct uw_matrix_group *group)
{
	return true;
}

static enum uw_status raw_prepare(const struct uw_cpu_ops *ops, struct uw_prepared *prepared, struct uw_error *err)
{
	if (!is_coded(prepared->group)) {
		prepared->bf16 = prepared->group->bf16;
		return UW_OK;
	}
	prepared->bf16 = prepared->owned_bf16 = uw_model_alloc(prepared->model, group_nbytes(prepared));
	if (prepared->owned_bf16 == NULL)
		return fail_nomem(group_nbytes(prepared), err);
	return uw_coded_decode(ops, &prepared->group->coded, UW_STORE_CACHED, prepared->owned_bf16, err);
}

static void gemm_rows(const struct uw_task *task, uint64_t first, uint64_t nblocks, const uint16_t *weights, size_t ld,
		      float *y, size_t y_ld)
{
	struct uw_linear_run run = {
		.nrows = task->prepared->group->nrows,
		.ncols = task->prepared->ncols,
		.first_block = first,
		.nblocks = nblocks,
		.weights = weights,
		.ld = ld,
	};

	task->kernel->gemm[UW_LINEAR_RAW](task->dims, &run, task->packed, y, y_ld, task->kernel_scratch);
}

static enum uw_status raw_gemm(const struct uw_task *task, float *y, size_t ld, struct uw_error *err)
{
	size_t ncols = (size_t)task->prepared->ncols;

	gemm_rows(task, task->first, task->nblocks, task->prepared->bf16 + task->first * UW_ROW_BLOCK * ncols, ncols, y,
		  ld);
	return UW_OK;
}

/* ---- decode: a row block at a time to BF16 in the cache ---- */

static size_t decode_scratch_nbytes(const struct uw_prepared *prepared)
{
	return UW_ROW_BLOCK * block_ld(prepared->ncols) * sizeof(uint16_t);
}

static enum uw_status decode_gemm(const struct uw_task *task, float *y, size_t ld, struct uw_error *err)
{
	const struct uw_coded *coded = &task->prepared->group->coded;
	size_t row = block_ld(task->prepared->ncols);

	for (uint64_t b = 0; b < task->nblocks; b++) {
		enum uw_status status = uw_coded_decode_blocks(task->ops, coded, task->first + b, 1, UW_STORE_CACHED,
							       task->scratch, row, err);

		if (status != UW_OK)
			return status;
		gemm_rows(task, task->first + b, 1, task->scratch, row, y + b * UW_ROW_BLOCK, ld);
	}
	return UW_OK;
}

static uint64_t stored_nbytes(const struct uw_prepared *prepared)
{
	return prepared->group->coded.e_nbytes + ntiles(prepared) * UW_TILE_WEIGHTS;
}

/* ---- exponent: a row block's exponents at a time; kernels put them together with the S plane ---- */

/* Tiles of row block b of a group, and the chunks that hold them. */
struct block_tiles {
	uint64_t first;
	uint64_t chunk, nchunks;
};

static struct block_tiles block_tiles(const struct uw_shape *shape, uint64_t b)
{
	uint64_t n = uw_linear_block_tiles(shape->ncols);
	uint64_t first = b * n, end = first + n < shape->ntiles ? first + n : shape->ntiles;
	struct block_tiles tiles = { .first = first, .chunk = first / UW_CHUNK_TILES };

	tiles.nchunks = (end + UW_CHUNK_TILES - 1) / UW_CHUNK_TILES - tiles.chunk;
	return tiles;
}

static size_t exponent_scratch_nbytes(const struct uw_prepared *prepared)
{
	return (size_t)(uw_linear_block_tiles(prepared->ncols) + 2 * UW_CHUNK_TILES) * UW_TILE_WEIGHTS;
}

static enum uw_status exponent_gemm(const struct uw_task *task, float *y, size_t ld, struct uw_error *err)
{
	const struct uw_coded *coded = &task->prepared->group->coded;

	for (uint64_t b = 0; b < task->nblocks; b++) {
		struct block_tiles tiles = block_tiles(&coded->shape, task->first + b);
		uint8_t *e = task->scratch;
		struct uw_linear_run run = {
			.nrows = coded->shape.nrows,
			.ncols = coded->shape.ncols,
			.first_block = task->first + b,
			.nblocks = 1,
			.s = coded->s + tiles.first * UW_TILE_WEIGHTS,
			.second = e + (tiles.first - tiles.chunk * UW_CHUNK_TILES) * UW_TILE_WEIGHTS,
		};
		enum uw_status status = uw_coded_exponents(task->ops, coded, tiles.chunk, tiles.nchunks, e, err);

		if (status != UW_OK)
			return status;
		task->kernel->gemm[UW_LINEAR_E8](task->dims, &run, task->packed, y + b * UW_ROW_BLOCK, ld,
						 task->kernel_scratch);
	}
	return UW_OK;
}

/* ---- palette codes, as stored or made of Huffman streams beforehand ---- */

static bool is_h(const struct uw_matrix_group *group)
{
	return group->coding == UW_CODING_H;
}

static bool is_p4(const struct uw_matrix_group *group)
{
	return group->coding == UW_CODING_P4;
}

static enum uw_status transcode_prepare(const struct uw_cpu_ops *ops, struct uw_prepared *prepared,
					struct uw_error *err)
{
	prepared->nibbles = uw_model_alloc(prepared->model, nibbles_nbytes(prepared));
	if (prepared->nibbles == NULL)
		return fail_nomem(nibbles_nbytes(prepared), err);
	return uw_coded_nibbles(ops, &prepared->group->coded, prepared->nibbles, err);
}

static enum uw_status palette_gemm(const struct uw_task *task, float *y, size_t ld, struct uw_error *err)
{
	const struct uw_coded *coded = &task->prepared->group->coded;
	uint64_t tile = task->first * uw_linear_block_tiles(coded->shape.ncols);
	struct uw_linear_run run = uw_linear_run_of(coded);

	if (is_h(task->prepared->group))
		run.second = task->prepared->nibbles;
	run.first_block = task->first;
	run.nblocks = task->nblocks;
	run.s += tile * UW_TILE_WEIGHTS;
	run.second += tile * (UW_TILE_WEIGHTS / 2);
	task->kernel->gemm[UW_LINEAR_P4](task->dims, &run, task->packed, y, ld, task->kernel_scratch);
	return UW_OK;
}

static uint64_t palette_nbytes(const struct uw_prepared *prepared)
{
	return ntiles(prepared) * (UW_TILE_WEIGHTS + UW_TILE_WEIGHTS / 2);
}

/* ---- the table ---- */

const struct uw_pipeline_ops uw_pipelines[UW_NPIPELINES] = {
	[UW_PIPELINE_AUTO] = { .name = "auto" },
	[UW_PIPELINE_RAW] = { "raw", false, raw_fits, raw_prepare, no_scratch, raw_gemm, group_nbytes },
	[UW_PIPELINE_DECODE] = { "decode", true, is_coded, NULL, decode_scratch_nbytes, decode_gemm, stored_nbytes },
	[UW_PIPELINE_EXPONENT] = { "exponent", true, is_coded, NULL, exponent_scratch_nbytes, exponent_gemm,
				   stored_nbytes },
	[UW_PIPELINE_TRANSCODE] = { "transcode", true, is_h, transcode_prepare, no_scratch, palette_gemm,
				    palette_nbytes },
	[UW_PIPELINE_PALETTE] = { "palette", true, is_p4, NULL, no_scratch, palette_gemm, palette_nbytes },
};

const char *uw_pipeline_name(enum uw_pipeline pipeline)
{
	return (unsigned)pipeline < UW_NPIPELINES ? uw_pipelines[pipeline].name : NULL;
}

bool uw_pipeline_of_name(const char *name, enum uw_pipeline *pipeline)
{
	for (unsigned i = 0; i < UW_NPIPELINES; i++) {
		if (strcmp(name, uw_pipelines[i].name) == 0) {
			*pipeline = (enum uw_pipeline)i;
			return true;
		}
	}
	return false;
}

enum uw_pipeline uw_pipeline_serving(enum uw_pipeline wanted, const struct uw_matrix_group *group)
{
	if (uw_pipelines[wanted].fits(group))
		return wanted;
	if (!is_coded(group))
		return UW_PIPELINE_RAW;
	return is_h(group) ? UW_PIPELINE_TRANSCODE : UW_PIPELINE_PALETTE;
}

void uw_prepared_free(struct uw_prepared *prepared)
{
	if (prepared->owned_bf16 != NULL)
		uw_model_free(prepared->model, prepared->owned_bf16, group_nbytes(prepared));
	if (prepared->nibbles != NULL)
		uw_model_free(prepared->model, prepared->nibbles, nibbles_nbytes(prepared));
}

uint64_t uw_prepared_owned_nbytes(const struct uw_prepared *prepared)
{
	return (prepared->owned_bf16 != NULL ? group_nbytes(prepared) : 0) +
	       (prepared->nibbles != NULL ? nibbles_nbytes(prepared) : 0);
}
