/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x in portable C. Sixteen rows at a time are brought into one form, a row-major panel of whole tile columns
 * with zeros outside of the column range, and multiplied with all of x. Sums: column c of a tile goes to partial sum
 * c mod 16, by ascending column; the sixteen are added pairwise.
 */
#include "linear_tiles.h"
#include "unweight/cpu_ops.h"

#define NSUMS 16u

struct panel {
	uint16_t *weights; /* 16 rows */
	size_t ld;         /* columns, a multiple of 64 */
};

static size_t panel_cols(const struct uw_linear_dims *dims)
{
	return (size_t)(uw_linear_cols(dims).n * UW_TILE_COLS);
}

/* ---- x: FP32 rows of whole tile columns, zeros outside of the range ---- */

static size_t packed_nbytes(const struct uw_linear_dims *dims)
{
	return (size_t)dims->batch * panel_cols(dims) * sizeof(float);
}

static void pack(const struct uw_linear_dims *dims, const void *x, enum uw_linear_type type, size_t ld,
		 uint64_t first, uint64_t end, void *packed)
{
	size_t cols = panel_cols(dims), head = uw_linear_cols(dims).head;
	size_t nx = (size_t)(dims->col_end - dims->col_begin);

	for (uint64_t n = first; n < end; n++) {
		float *row = (float *)packed + n * cols;

		memset(row, 0, cols * sizeof(*row));
		for (size_t c = 0; c < nx; c++)
			row[head + c] = uw_linear_widen(uw_linear_x_at(x, type, n * ld + c));
	}
}

/* ---- panels ---- */

static size_t scratch_nbytes(const struct uw_linear_dims *dims)
{
	return UW_TILE_ROWS * panel_cols(dims) * sizeof(uint16_t);
}

/* Zeros outside of the range in the first and last tile column. */
static void clear_edges(const struct panel *panel, const struct uw_linear_cols *cols)
{
	for (uint32_t r = 0; r < UW_TILE_ROWS; r++) {
		uint16_t *row = panel->weights + r * panel->ld;

		memset(row, 0, cols->head * sizeof(*row));
		memset(row + panel->ld - cols->tail, 0, cols->tail * sizeof(*row));
	}
}

static void apply_patches(struct uw_linear_chunk *at, uint32_t in_chunk, uint16_t *weights, size_t ld)
{
	struct uw_linear_patch patch;

	while (uw_linear_patch_next(at, in_chunk, &patch))
		weights[patch.row * ld + uw_linear_patch_col(&patch)] ^= patch.flip;
}

/* Tile row w of block b. */
static void coded_panel(const struct uw_linear_run *run, bool p4, const struct uw_linear_cols *cols, uint64_t b,
			uint32_t w, const struct panel *panel)
{
	uint32_t high = (uw_linear_block_rows(run, b) + UW_TILE_ROWS - 1) / UW_TILE_ROWS;
	struct uw_linear_chunk at;
	struct uw_cpu_ops ops;

	uw_cpu_ops_init_c(&ops);
	uw_linear_chunk_start(&at, run);
	for (uint64_t k = 0; k < cols->n; k++) {
		uint64_t t = b * uw_linear_block_tiles(run->ncols) + (cols->first + k) * high + w;
		const uint8_t *s = run->s + t * UW_TILE_WEIGHTS;
		uint16_t *tile = panel->weights + k * UW_TILE_COLS;
		bool patched = uw_linear_chunk_seek(&at, t);

		if (p4)
			ops.p4_decode[UW_ORDER_TILED](tile, panel->ld, s, run->second + t * (UW_TILE_WEIGHTS / 2),
						      at.pairs, UW_STORE_CACHED);
		else
			ops.merge[UW_ORDER_TILED](tile, panel->ld, s, run->second + t * UW_TILE_WEIGHTS,
						  UW_STORE_CACHED);
		if (patched)
			apply_patches(&at, (uint32_t)((at.first_tile + t) % UW_CHUNK_TILES), tile, panel->ld);
	}
	clear_edges(panel, cols);
}

static void raw_panel(const struct uw_linear_dims *dims, const struct uw_linear_run *run,
		      const struct uw_linear_cols *cols, uint64_t first_row, uint32_t nrows, const struct panel *panel)
{
	size_t nbytes = (size_t)(dims->col_end - dims->col_begin) * sizeof(*panel->weights);

	clear_edges(panel, cols);
	for (uint32_t r = 0; r < nrows; r++)
		memcpy(panel->weights + r * panel->ld + cols->head,
		       run->weights + (first_row + r) * run->ld + dims->col_begin, nbytes);
}

/* ---- the product ---- */

static float dot(const uint16_t *weights, const float *x, size_t n)
{
	float sums[NSUMS] = { 0 };

	for (size_t c = 0; c < n; c += NSUMS) {
		for (unsigned i = 0; i < NSUMS; i++)
			sums[i] += uw_linear_widen(weights[c + i]) * x[c + i];
	}
	for (unsigned half = NSUMS / 2; half > 0; half /= 2) {
		for (unsigned i = 0; i < half; i++)
			sums[i] += sums[i + half];
	}
	return uw_linear_result(sums[0]);
}

static void multiply(const struct uw_linear_dims *dims, const struct panel *panel, uint32_t nrows, const float *x,
		     float *y, size_t ld)
{
	for (uint64_t n = 0; n < dims->batch; n++) {
		for (uint32_t r = 0; r < nrows; r++)
			y[n * ld + r] = dot(panel->weights + r * panel->ld, x + n * panel->ld, panel->ld);
	}
}

static void gemm(enum uw_linear_source source, const struct uw_linear_dims *dims, const struct uw_linear_run *run,
		 const void *packed, float *y, size_t ld, void *scratch)
{
	struct panel panel = { scratch, panel_cols(dims) };
	struct uw_linear_cols cols = uw_linear_cols(dims);

	for (uint64_t b = 0; b < run->nblocks; b++) {
		uint32_t rows = uw_linear_block_rows(run, b);

		for (uint32_t r = 0; r < rows; r += UW_TILE_ROWS) {
			uint32_t nrows = rows - r < UW_TILE_ROWS ? rows - r : UW_TILE_ROWS;
			uint64_t first_row = b * UW_ROW_BLOCK + r;

			if (source == UW_LINEAR_RAW)
				raw_panel(dims, run, &cols, first_row, nrows, &panel);
			else
				coded_panel(run, source == UW_LINEAR_P4, &cols, b, r / UW_TILE_ROWS, &panel);
			multiply(dims, &panel, nrows, packed, y + first_row, ld);
		}
	}
}

static void gemm_p4(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed, float *y,
		    size_t ld, void *scratch)
{
	gemm(UW_LINEAR_P4, dims, run, packed, y, ld, scratch);
}

static void gemm_e8(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed, float *y,
		    size_t ld, void *scratch)
{
	gemm(UW_LINEAR_E8, dims, run, packed, y, ld, scratch);
}

static void gemm_raw(const struct uw_linear_dims *dims, const struct uw_linear_run *run, const void *packed, float *y,
		     size_t ld, void *scratch)
{
	gemm(UW_LINEAR_RAW, dims, run, packed, y, ld, scratch);
}

void uw_linear_ops_init_c(struct uw_linear_ops *ops)
{
	*ops = (struct uw_linear_ops){
		.nkernels = 1,
		.kernels = { {
			.name = "c",
			.min_batch = 1,
			.packed_nbytes = packed_nbytes,
			.scratch_nbytes = scratch_nbytes,
			.pack = pack,
			.gemm = { gemm_p4, gemm_e8, gemm_raw },
		} },
	};
}
