/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Running: x is packed once, then threads take row blocks until none is left. Which thread takes which never changes a
 * result: a block is computed by one thread from packed x alone.
 */
#include <stdatomic.h>
#include <string.h>

#include "linear.h"
#include "pool.h"
#include "unweight/checked.h"
#include "unweight/format.h"

#define PACK_ROWS (4 * UW_PACK_ROWS) /* rows of x that a thread packs at a time */
#define TAKE_BLOCKS 4u               /* row blocks that a thread takes at a time, if there are plenty */

/* Rows of x that meet some parts: all of both, or those of one expert. */
struct segment {
	uint64_t first_piece, npieces;
	uint64_t first_block;          /* of the segments before it */
	uint64_t first_pack;           /* units of packing of the segments before it */
	uint64_t first_row;            /* of x and y */
	struct uw_linear_dims dims;
	const struct uw_linear_kernel *kernel;
	uint8_t *packed;
	uint64_t first_part;           /* goes to y[0] */
};

struct run {
	const struct uw_linear *linear;
	const struct uw_linear_args *args;
	struct segment *segments;
	uint64_t nsegments, nblocks, npacks;
	uint64_t take;
	uint8_t *thread_scratch;
	size_t kernel_nbytes, pipeline_nbytes, rows_nbytes; /* parts of a thread's scratch memory */
	atomic_uint_least64_t next_pack, next_block;
	atomic_flag failed;
	enum uw_status status;
	struct uw_error err;
};

static size_t align64(size_t n)
{
	return (n + 63) & ~(size_t)63;
}

/* ---- segments ---- */

static uint64_t blocks_of(const struct uw_linear *linear, uint64_t first_piece, uint64_t npieces)
{
	const struct uw_piece *last = &linear->pieces[first_piece + npieces - 1];

	return last->block0 + last->nblocks - linear->pieces[first_piece].block0;
}

static void add_segment(struct run *run, uint64_t first_part, uint64_t nparts, uint64_t first_row, uint64_t batch)
{
	const struct uw_linear *linear = run->linear;
	const struct uw_part *first = &linear->parts[first_part], *last = &linear->parts[first_part + nparts - 1];

	run->segments[run->nsegments++] = (struct segment){
		.first_piece = first->first_piece,
		.npieces = last->first_piece + last->npieces - first->first_piece,
		.first_block = run->nblocks,
		.first_pack = run->npacks,
		.first_row = first_row,
		.dims = { batch, linear->col_begin, linear->col_end },
		.kernel = uw_linear_choose(&linear->kernels, batch, linear->batch_invariant),
		.first_part = first_part,
	};
	run->nblocks += blocks_of(linear, first->first_piece, last->first_piece + last->npieces - first->first_piece);
	run->npacks += uw_ceil_div(batch, PACK_ROWS);
}

/* ---- scratch memory ---- */

static size_t pipeline_nbytes(const struct uw_linear *linear)
{
	size_t max = 0;

	for (uint64_t i = 0; i < linear->npieces; i++) {
		const struct uw_piece *piece = &linear->pieces[i];

		for (unsigned b = 0; b < UW_NBUCKETS; b++) {
			size_t n = uw_pipelines[piece->pipeline[b]].scratch_nbytes(&piece->prepared);

			max = n > max ? n : max;
		}
	}
	return align64(max);
}

static size_t thread_nbytes(const struct run *run)
{
	return run->kernel_nbytes + run->pipeline_nbytes + run->rows_nbytes;
}

/* Gives every part its place; *nbytes is what it takes. */
static void place(struct run *run, unsigned nthreads, size_t *nbytes)
{
	uint8_t *scratch = run->args->scratch;
	size_t at = align64((size_t)run->nsegments * sizeof(struct segment));
	uint64_t batch = 0;

	run->kernel_nbytes = 0;
	for (uint64_t i = 0; i < run->nsegments; i++) {
		struct segment *s = &run->segments[i];
		size_t n = align64(s->kernel->scratch_nbytes(&s->dims));

		s->packed = scratch + at;
		at += align64(s->kernel->packed_nbytes(&s->dims));
		run->kernel_nbytes = n > run->kernel_nbytes ? n : run->kernel_nbytes;
		batch = s->dims.batch > batch ? s->dims.batch : batch;
	}
	run->pipeline_nbytes = pipeline_nbytes(run->linear);
	run->rows_nbytes = align64((size_t)batch * UW_ROW_BLOCK * sizeof(float));
	run->thread_scratch = scratch + at;
	*nbytes = at + nthreads * thread_nbytes(run);
}

/* The largest of any kernel for up to max_batch rows in one segment; kernels want more for more. */
static size_t max_kernel_nbytes(const struct uw_linear *linear, uint64_t batch, bool packed)
{
	struct uw_linear_dims dims = { batch, linear->col_begin, linear->col_end };
	size_t max = 0;

	for (uint32_t i = 0; i < linear->kernels.nkernels; i++) {
		const struct uw_linear_kernel *k = &linear->kernels.kernels[i];
		size_t n = align64(packed ? k->packed_nbytes(&dims) : k->scratch_nbytes(&dims));

		max = n > max ? n : max;
	}
	return max;
}

size_t uw_linear_scratch_nbytes(const struct uw_linear *linear, uint64_t max_batch, unsigned nthreads)
{
	uint64_t experts = linear->nparts < max_batch ? linear->nparts : max_batch;
	size_t packed = max_kernel_nbytes(linear, max_batch, true);
	/* each expert's rows are packed by themselves, rounded up to whole packs */
	size_t apart = (size_t)(uw_ceil_div(max_batch, UW_PACK_ROWS) + experts) *
		       max_kernel_nbytes(linear, UW_PACK_ROWS, true);
	size_t thread = max_kernel_nbytes(linear, max_batch, false) + pipeline_nbytes(linear) +
			align64((size_t)max_batch * UW_ROW_BLOCK * sizeof(float));

	return align64((size_t)linear->nparts * sizeof(struct segment)) + (apart > packed ? apart : packed) +
	       nthreads * thread;
}

/* ---- errors of threads ---- */

static void report(struct run *run, enum uw_status status, const struct uw_error *err)
{
	if (atomic_flag_test_and_set(&run->failed))
		return;
	run->status = status; /* read after the threads have met */
	run->err = *err;
}

/* ---- packing ---- */

static size_t element_nbytes(uint8_t dtype)
{
	return dtype == UW_DTYPE_BF16 ? sizeof(uint16_t) : sizeof(float);
}

/* Segment that holds unit `unit`; `at` is one at or before it. */
static struct segment *segment_of_pack(const struct run *run, struct segment *at, uint64_t unit)
{
	while (at + 1 < run->segments + run->nsegments && at[1].first_pack <= unit)
		at++;
	return at;
}

static void pack_units(void *ctx, unsigned thread)
{
	struct run *run = ctx;
	const struct uw_linear_args *args = run->args;
	struct segment *s = run->segments;
	uint64_t unit;

	while ((unit = atomic_fetch_add(&run->next_pack, 1)) < run->npacks) {
		uint64_t first, end;
		const uint8_t *x;

		s = segment_of_pack(run, s, unit);
		first = (unit - s->first_pack) * PACK_ROWS;
		end = first + PACK_ROWS < s->dims.batch ? first + PACK_ROWS : s->dims.batch;
		x = (const uint8_t *)args->x + (size_t)s->first_row * args->ldx * element_nbytes(args->x_dtype);
		s->kernel->pack(&s->dims, x, args->x_dtype == UW_DTYPE_BF16 ? UW_LINEAR_BF16 : UW_LINEAR_F32, args->ldx,
				first, end, s->packed);
	}
}

/* ---- multiplying ---- */

/* To the nearest, ties to even. NaNs have one form. */
static uint16_t bf16_of(float v)
{
	uint32_t word;

	memcpy(&word, &v, sizeof(word));
	if (v != v)
		return (uint16_t)(word >> 16);
	return (uint16_t)((word + 0x7FFF + (word >> 16 & 1)) >> 16);
}

/* Where a thread writes: its own memory, and the rows of y that are its segment's. */
struct place {
	void *kernel_scratch, *pipeline_scratch;
	float *rows; /* [batch][UW_ROW_BLOCK] */
};

static struct place place_of(const struct run *run, unsigned thread)
{
	uint8_t *at = run->thread_scratch + thread * thread_nbytes(run);
	struct place place = {
		.kernel_scratch = at,
		.pipeline_scratch = at + run->kernel_nbytes,
		.rows = (float *)(void *)(at + run->kernel_nbytes + run->pipeline_nbytes),
	};

	return place;
}

/* The part that piece `piece` of the segment belongs to. */
static const struct uw_part *part_of(const struct run *run, const struct segment *s, uint64_t piece, size_t *y)
{
	const struct uw_part *part = &run->linear->parts[s->first_part];

	*y = 0;
	while (piece >= part->first_piece + part->npieces) {
		part++;
		++*y;
	}
	return part;
}

/* Scatters the rows of one block, `rows`[n][r], to where they belong in y. `order`: whose row order they have, or
 * NULL. */
static void store_block(const struct run *run, const struct segment *s, const struct uw_part *part, size_t y,
			const struct uw_matrix_group *group, const struct uw_coded *order, uint64_t block,
			const float *rows)
{
	const struct uw_linear_args *args = run->args;
	uint64_t first = block * UW_ROW_BLOCK, left = group->nrows - first;
	uint32_t nrows = left < UW_ROW_BLOCK ? (uint32_t)left : UW_ROW_BLOCK;

	for (uint64_t n = 0; n < s->dims.batch; n++) {
		size_t at = (size_t)(s->first_row + n) * args->ldy[y];

		for (uint32_t r = 0; r < nrows; r++) {
			uint64_t row = group->first_row + (order != NULL ? uw_coded_row(order, first + r) : first + r);
			float v = rows[n * UW_ROW_BLOCK + r];

			if (row < part->row_begin || row >= part->row_end)
				continue;
			if (args->y_dtype == UW_DTYPE_F32)
				((float *)args->y[y])[at + (size_t)(row - part->row_begin)] = v;
			else
				((uint16_t *)args->y[y])[at + (size_t)(row - part->row_begin)] = bf16_of(v);
		}
	}
}

/* Row blocks first .. + nblocks of a piece's group. */
static enum uw_status multiply(const struct run *run, const struct segment *s, uint64_t piece_index, uint64_t first,
			       uint64_t nblocks, const struct place *place, struct uw_error *err)
{
	const struct uw_piece *piece = &run->linear->pieces[piece_index];
	const struct uw_matrix_group *group = piece->prepared.group;
	const struct uw_pipeline_ops *pipeline = &uw_pipelines[piece->pipeline[uw_bucket_of(s->dims.batch)]];
	bool ordered = pipeline->stored_order && group->coded.row_order != NULL;
	size_t y;
	const struct uw_part *part = part_of(run, s, piece_index, &y);
	uint64_t row = group->first_row + first * UW_ROW_BLOCK, end = row + nblocks * UW_ROW_BLOCK;
	struct uw_task task = {
		.ops = run->linear->ops,
		.kernel = s->kernel,
		.dims = &s->dims,
		.packed = s->packed,
		.prepared = &piece->prepared,
		.first = first,
		.nblocks = nblocks,
		.scratch = place->pipeline_scratch,
		.kernel_scratch = place->kernel_scratch,
	};
	enum uw_status status = UW_OK;

	end = end < group->first_row + group->nrows ? end : group->first_row + group->nrows;
	if (run->args->y_dtype == UW_DTYPE_F32 && !ordered && row >= part->row_begin && end <= part->row_end) {
		float *to = (float *)run->args->y[y] + (size_t)s->first_row * run->args->ldy[y];

		return pipeline->gemm(&task, to + (row - part->row_begin), run->args->ldy[y], err);
	}
	task.nblocks = 1;
	for (; status == UW_OK && task.first < first + nblocks; task.first++) {
		status = pipeline->gemm(&task, place->rows, UW_ROW_BLOCK, err);
		if (status == UW_OK)
			store_block(run, s, part, y, group, ordered ? &group->coded : NULL, task.first, place->rows);
	}
	return status;
}

static void multiply_blocks(void *ctx, unsigned thread)
{
	struct run *run = ctx;
	struct place place = place_of(run, thread);
	const struct segment *s = run->segments;
	uint64_t begin, piece = s->first_piece;

	while ((begin = atomic_fetch_add(&run->next_block, run->take)) < run->nblocks) {
		uint64_t end = begin + run->take < run->nblocks ? begin + run->take : run->nblocks;

		while (begin < end) { /* units ascend, so the walk only goes forward */
			const struct uw_piece *p;
			uint64_t block, n;
			struct uw_error err = { .file_off = UW_NO_OFFSET };
			enum uw_status status;

			while (s + 1 < run->segments + run->nsegments && s[1].first_block <= begin)
				piece = (++s)->first_piece;
			block = begin - s->first_block + run->linear->pieces[s->first_piece].block0;
			while (run->linear->pieces[piece].block0 + run->linear->pieces[piece].nblocks <= block)
				piece++;
			p = &run->linear->pieces[piece];
			n = p->block0 + p->nblocks - block;
			n = n < end - begin ? n : end - begin;
			status = multiply(run, s, piece, p->first + block - p->block0, n, &place, &err);
			if (status != UW_OK)
				report(run, status, &err);
			begin += n;
		}
	}
}

/* ---- public ---- */

static bool is_aligned(const void *p, size_t n)
{
	return (uintptr_t)p % n == 0;
}

static enum uw_status check_args(const struct uw_linear *linear, const struct uw_linear_args *args, uint64_t ny,
				 struct uw_error *err)
{
	bool types = (args->x_dtype == UW_DTYPE_BF16 || args->x_dtype == UW_DTYPE_F32) &&
		     (args->y_dtype == UW_DTYPE_BF16 || args->y_dtype == UW_DTYPE_F32);

	if (args->batch == 0 || args->batch > UW_LINEAR_MAX_BATCH || !types ||
	    !is_aligned(args->x, element_nbytes(args->x_dtype)) || !is_aligned(args->scratch, 64) ||
	    args->ldx < uw_linear_ncols(linear))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "batch, types, alignment or leading dimension");
	for (uint64_t i = 0; i < ny; i++) {
		if (args->ldy[i] < uw_linear_nrows(linear, i) ||
		    !is_aligned(args->y[i], element_nbytes(args->y_dtype)))
			return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "y of part %llu", (unsigned long long)i);
	}
	return UW_OK;
}

/* Runs what add_segment has described. */
static enum uw_status run_segments(struct run *run, struct uw_pool *pool, struct uw_error *err)
{
	unsigned nthreads = uw_pool_nthreads(pool);
	size_t nbytes;

	place(run, nthreads, &nbytes);
	if (nbytes > run->args->scratch_nbytes)
		return uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET,
			       "multiplication: %zu bytes of scratch memory, %zu wanted", run->args->scratch_nbytes,
			       nbytes);
	run->take = run->nblocks / (4 * nthreads);
	run->take = run->take > TAKE_BLOCKS ? TAKE_BLOCKS : run->take < 1 ? 1 : run->take;
	if (run->npacks == 1)
		pack_units(run, 0);
	else
		uw_pool_run(pool, pack_units, run);
	uw_pool_run(pool, multiply_blocks, run);
	if (run->status != UW_OK && err != NULL)
		*err = run->err;
	return run->status;
}

static void start(struct run *run, const struct uw_linear *linear, const struct uw_linear_args *args)
{
	run->linear = linear;
	run->args = args;
	run->segments = args->scratch;
	run->nsegments = run->nblocks = run->npacks = 0;
	atomic_init(&run->next_pack, 0);
	atomic_init(&run->next_block, 0);
	atomic_flag_clear(&run->failed);
	run->status = UW_OK;
}

enum uw_status uw_linear_run(const struct uw_linear *linear, struct uw_pool *pool, const struct uw_linear_args *args,
			     struct uw_error *err)
{
	enum uw_status status = check_args(linear, args, linear->nparts, err);
	struct run run;

	if (status != UW_OK)
		return status;
	if (args->scratch_nbytes < sizeof(struct segment))
		return uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET, "multiplication: no scratch memory");
	start(&run, linear, args);
	add_segment(&run, 0, linear->nparts, 0, args->batch);
	return run_segments(&run, pool, err);
}

enum uw_status uw_linear_run_experts(const struct uw_linear *linear, struct uw_pool *pool,
				     const struct uw_linear_args *args, const uint64_t *first, struct uw_error *err)
{
	enum uw_status status = check_args(linear, args, 1, err);
	struct run run;

	if (status != UW_OK)
		return status;
	if (args->scratch_nbytes < linear->nparts * sizeof(struct segment))
		return uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET, "multiplication: no scratch memory");
	if (first[0] != 0 || first[linear->nparts] != args->batch)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "rows of experts");
	start(&run, linear, args);
	for (uint64_t e = 0; e < linear->nparts; e++) {
		if (first[e] > first[e + 1] || first[e + 1] > args->batch ||
		    uw_linear_nrows(linear, e) != uw_linear_nrows(linear, 0))
			return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "rows of expert %llu", (unsigned long long)e);
		if (first[e] < first[e + 1])
			add_segment(&run, e, 1, first[e], first[e + 1] - first[e]);
	}
	return run_segments(&run, pool, err);
}
