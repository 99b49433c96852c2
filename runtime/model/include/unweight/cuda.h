/* SPDX-License-Identifier: Apache-2.0 */
/*
 * y = W x on a CUDA device, on weights that stay compressed in its memory.
 *
 *   uw_cuda_open(0, NULL, &cuda, err)                                    // UW_ERR_NO_DEVICE where there is none
 *   uw_cuda_linear_create(cuda, model, parts, nparts, &options, &linear, err)  // each layer's gate+up, q+k+v, ...
 *   uw_cuda_workspace_create(cuda, linears, nlinears, max_batch, &workspace, err)  // once, for all of them
 *   uw_cuda_linear_run(linear, workspace, &args, stream, err)            // as often as there are tokens
 *
 * Creating uploads and checks; it allocates and waits. Running queues work on the caller's stream and returns: it
 * allocates nothing, does not wait and reads nothing back, so a graph can capture it. Where cuBLASLt multiplies (RAW,
 * DECODE), a run with the same arguments goes before the capture, the last one of its linear and bucket of batches: it
 * asks for an algorithm and loads its kernel, which cuBLASLt cannot do in a capture. The library needs neither driver nor
 * cuBLASLt to start: both are looked for when a device is opened.
 *
 * Device. uw_cuda_open makes the device the calling thread's current one; it has to be current in every thread that
 * calls a function of this header, as with CUDA's own. It is the primary context that is used: streams and memory of
 * any other CUDA library in the process, PyTorch's too, are good here.
 *
 * Threads. A device and a linear are immutable, any number of threads may use them; a workspace is for one stream and
 * one thread at a time. A linear outlives the workspaces made with it; the device outlives both.
 *
 * ---- Which bits are the same ----
 *
 * Weights. Those that enter the sums are the model's, bit for bit, in every pipeline: NaN payloads, infinities, zeros of
 * either sign. What can differ is only the order in which products are added.
 *
 * Run to run. The same call, with the same batch and options on the same kind of device, gives the same bits each time:
 * sums are added in a fixed order.
 *
 * RAW and DECODE multiply weights that lie in memory as BF16. They call cuBLASLt, with the algorithm that its heuristic
 * names first for the dimensions, types and alignment at hand: y has the bits that the same call of cuBLASLt, with
 * uw_cuda_dense_workspace_nbytes() of workspace, gives on the original weights, and RAW and DECODE have the same bits.
 *
 * EXPONENT, TRANSCODE and PALETTE put weights together on their way into the matrix instructions, in kernels of this
 * library. These add in another order than cuBLASLt, whose order depends on version, device and batch: equality with it
 * is not promised and would mean nothing.
 *
 * require_bitexact: every pipeline gives the bits of RAW. All multiply with this library's kernels then (RAW and DECODE
 * too), and how a sum is cut depends on the dimensions, the batch's bucket (the next power of two) and the device alone:
 * not on how tensors are stored or which pipeline the tuning names. A compressed and an uncompressed copy of a model
 * give the same bits. It costs the freedom to cut sums where that would be fastest.
 *
 * batch_invariant: what require_bitexact says, and a row of y has the same bits in every batch. It costs speed at both
 * ends, as one size of tile serves all batches.
 *
 * Processors: linear.h adds in yet other orders, by kernel. The same weights and x give sums that differ by rounding in
 * FP32, and nothing more is promised.
 *
 * A NaN is any NaN: which payload a sum has is the hardware's matter.
 */
#ifndef UNWEIGHT_CUDA_H
#define UNWEIGHT_CUDA_H

#include "unweight/linear.h"

#ifdef __cplusplus
extern "C" {
#endif
#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

struct CUstream_st; /* a cudaStream_t or CUstream, without CUDA's headers; NULL: the default stream */

/* ---- the device ---------------------------------------------------------------------------- */

struct uw_cuda;

/*
 * Opens device `number`. memory: where device memory comes from, in place of cudaMalloc; its functions are called while
 * something is created or freed, ask for alignments up to 256 and free what queued work may still use, as cudaFree does;
 * NULL: cudaMalloc. UW_ERR_NO_DEVICE: no driver, no such device, or one before compute capability 8.0; so it always is
 * if the library was built without CUDA.
 */
UW_MUST_CHECK enum uw_status uw_cuda_open(int number, const struct uw_allocator *memory, struct uw_cuda **cuda,
					  struct uw_error *err);
void uw_cuda_close(struct uw_cuda **cuda); /* NULL inside is fine */

/* As the driver names it: "NVIDIA H200". Tunings know devices by it. */
const char *uw_cuda_name(const struct uw_cuda *cuda);
/* Whether cuBLASLt was found. Where it was not, RAW and DECODE multiply with this library's kernels. */
bool uw_cuda_has_cublas(const struct uw_cuda *cuda);
uint64_t uw_cuda_dense_workspace_nbytes(void);

/*
 * For programs that have no CUDA of their own. Memory is aligned to 256; copies wait until they are done.
 * UW_ERR_NOMEM, UW_ERR_DEVICE; uw_cuda_sync also reports what work before it has run into.
 */
UW_MUST_CHECK enum uw_status uw_cuda_alloc(const struct uw_cuda *cuda, uint64_t nbytes, void **memory_dev,
					   struct uw_error *err);
void uw_cuda_free(const struct uw_cuda *cuda, void *memory_dev, uint64_t nbytes);
UW_MUST_CHECK enum uw_status uw_cuda_copy_in(const struct uw_cuda *cuda, void *dst_dev, const void *src, uint64_t nbytes,
					     struct CUstream_st *stream, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_cuda_copy_out(const struct uw_cuda *cuda, void *dst, const void *src_dev,
					      uint64_t nbytes, struct CUstream_st *stream, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_cuda_sync(const struct uw_cuda *cuda, struct CUstream_st *stream, struct uw_error *err);

/* ---- matrices ------------------------------------------------------------------------------ */

/*
 * Zero is the default of every member. One pipeline serves all parts of a linear, for each bucket of batches.
 *   RAW        BF16 in memory: 16 bits a weight
 *   DECODE     each run decodes to BF16 in the workspace, ahead of the multiplication, on a stream of its own
 *   EXPONENT   each run decodes exponents to the workspace
 *   TRANSCODE  Huffman streams become palette codes once: 12 bits a weight; then as PALETTE
 *   PALETTE    palette codes as they lie in the bundle: 12 bits a weight
 * A pipeline that the matrices do not admit is replaced: see struct uw_linear_options in linear.h. DECODE, of
 * columns that are no multiple of 8, becomes TRANSCODE or PALETTE. Several pipelines for several batches share what
 * they have in memory; DECODE decodes palette codes where these are there anyway.
 */
struct uw_cuda_linear_options {
	enum uw_pipeline pipeline;
	const struct uw_tuning *tuning; /* copied from; NULL: the shipped table, or else the model of time */
	bool require_bitexact;          /* see the head of this file */
	bool batch_invariant;
	bool experts;                   /* for uw_cuda_linear_run_experts: parts are experts, all of the same rows.
					 * DECODE and EXPONENT become TRANSCODE or PALETTE; RAW takes this library's
					 * kernels */
};

struct uw_cuda_linear;

/*
 * Makes parts resident that are multiplied with the same x; they share launches. Parts, errors: as uw_linear_create in
 * linear.h. Huffman streams are decoded once here, so that later runs cannot meet a corrupt one: UW_ERR_BITS. A part
 * that is a cut through a tensor's groups is coded anew. UW_ERR_NOMEM: of host or device. Waits for the device.
 */
UW_MUST_CHECK enum uw_status uw_cuda_linear_create(const struct uw_cuda *cuda, const struct uw_model *model,
						   const struct uw_linear_part *parts, size_t nparts,
						   const struct uw_cuda_linear_options *options,
						   struct uw_cuda_linear **linear, struct uw_error *err);
void uw_cuda_linear_free(struct uw_cuda_linear **linear); /* NULL inside is fine */

/* Rows of all parts together, of part i; columns. */
uint64_t uw_cuda_linear_nrows(const struct uw_cuda_linear *linear);
uint64_t uw_cuda_linear_part_nrows(const struct uw_cuda_linear *linear, size_t part);
uint64_t uw_cuda_linear_ncols(const struct uw_cuda_linear *linear);
/* Bytes of device memory that it owns. */
uint64_t uw_cuda_linear_owned_nbytes(const struct uw_cuda_linear *linear);
enum uw_pipeline uw_cuda_linear_pipeline(const struct uw_cuda_linear *linear, uint64_t batch);

/* ---- running ------------------------------------------------------------------------------- */

/*
 * Device memory for runs of `linears`, one at a time, with batches up to max_batch (at most UW_LINEAR_MAX_BATCH). All
 * that runs need beyond the linears is allocated here: partial sums, two buffers for decoded weights of one part, a
 * stream for decoding.
 */
struct uw_cuda_workspace;
UW_MUST_CHECK enum uw_status uw_cuda_workspace_create(const struct uw_cuda *cuda,
						      const struct uw_cuda_linear *const *linears, size_t nlinears,
						      uint64_t max_batch, struct uw_cuda_workspace **workspace,
						      struct uw_error *err);
void uw_cuda_workspace_free(struct uw_cuda_workspace **workspace); /* waits; NULL inside is fine */
uint64_t uw_cuda_workspace_nbytes(const struct uw_cuda_workspace *workspace);

/*
 * x: `batch` rows of ncols BF16 values, ldx values from row to row. y: `batch` rows of all parts' values side by side,
 * ldy values from row to row; BF16, rounded once, or FP32. All device memory; x aligned to 16, ldx a multiple of 8;
 * y aligned to its type.
 */
struct uw_cuda_linear_args {
	const uint16_t *x_dev;
	uint64_t ldx;
	uint64_t batch;   /* 1 to the workspace's max_batch */
	void *y_dev;
	uint8_t y_dtype;  /* UW_DTYPE_BF16 or UW_DTYPE_F32 */
	uint64_t ldy;
};

/* Queues y = W x. UW_ERR_ARG: a rule above is broken, or the workspace was made without the linear. */
UW_MUST_CHECK enum uw_status uw_cuda_linear_run(const struct uw_cuda_linear *linear,
						struct uw_cuda_workspace *workspace,
						const struct uw_cuda_linear_args *args, struct CUstream_st *stream,
						struct uw_error *err);

/*
 * Queues, beside the stream's other work, the decoding that the next uw_cuda_linear_run of `linear` at this batch will
 * want; nothing if its pipeline decodes nothing. To overlap it with what runs before: ahead(A); ahead(B), run(A);
 * ahead(C), run(B); ... Decoded weights that something else was run in between are decoded again.
 */
UW_MUST_CHECK enum uw_status uw_cuda_linear_ahead(const struct uw_cuda_linear *linear,
						  struct uw_cuda_workspace *workspace, uint64_t batch,
						  struct CUstream_st *stream, struct uw_error *err);

/*
 * Forgets what was decoded ahead and joins the decoding stream to `stream`. To be called before a capture begins and, in
 * it, as the last thing if uw_cuda_linear_ahead was used.
 */
UW_MUST_CHECK enum uw_status uw_cuda_workspace_reset(struct uw_cuda_workspace *workspace, struct CUstream_st *stream,
						     struct uw_error *err);

/*
 * Experts: part e multiplies rows offsets[e] .. offsets[e + 1] of x into the same rows of y, which has the values of one
 * part. offsets_dev: nparts + 1 ascending numbers on the device, the first 0, the last at most the batch; read when the
 * work is done.
 */
UW_MUST_CHECK enum uw_status uw_cuda_linear_run_experts(const struct uw_cuda_linear *linear,
							struct uw_cuda_workspace *workspace,
							const struct uw_cuda_linear_args *args,
							const uint32_t *offsets_dev, struct CUstream_st *stream,
							struct uw_error *err);

/*
 * Rows of an embedding: row i of y_dev is row rows_dev[i] of the linear's first part, in BF16, ldy values from row to
 * row; zeros for a number that is no row. A linear of one part. UW_ERR_UNSUPPORTED: its groups are coded in different
 * ways, and no bucket is RAW.
 */
UW_MUST_CHECK enum uw_status uw_cuda_gather(const struct uw_cuda_linear *linear, const uint32_t *rows_dev,
					    uint32_t nrows, uint16_t *y_dev, uint64_t ldy, struct CUstream_st *stream,
					    struct uw_error *err);

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#ifdef __cplusplus
}
#endif
#endif
