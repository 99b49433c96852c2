/* SPDX-License-Identifier: Apache-2.0 */
#include "emu_device.h"

#include <deque>
#include <map>
#include <set>

#include "decode.cuh"
#include "gemm_emu.h"

struct CUevent_st {
	uint64_t recorded, done; /* how often it was queued, and met */
	uint64_t at;             /* time, when it was met */
};

struct work {
	struct CUevent_st *awaits; /* NULL: none */
	uint64_t since;
	std::function<void()> run;
};

struct CUstream_st {
	std::deque<struct work> queue;
};

struct emu_device emu_device;

namespace {

struct CUstream_st default_stream;
std::set<struct CUstream_st *> streams;
std::map<void *, uint64_t> live;

struct CUstream_st *stream_of(struct CUstream_st *stream)
{
	return stream != NULL ? stream : &default_stream;
}

enum uw_status queue(struct CUstream_st *stream, const std::function<void()> &run)
{
	stream_of(stream)->queue.push_back({ NULL, 0, run });
	return UW_OK;
}

bool is_ready(const struct CUstream_st *s)
{
	if (s->queue.empty())
		return false;

	const struct work &next = s->queue.front();

	return next.awaits == NULL || next.awaits->done >= next.since;
}

/* Does something of one stream that can go on; all are as likely. */
void step(void)
{
	std::vector<struct CUstream_st *> ready;

	for (struct CUstream_st *s : streams) {
		if (is_ready(s))
			ready.push_back(s);
	}
	if (is_ready(&default_stream))
		ready.push_back(&default_stream);
	assert_false(ready.empty()); /* streams wait for one another */

	struct CUstream_st *s = ready[rng() % ready.size()];
	struct work work = s->queue.front();

	s->queue.pop_front();
	if (work.run)
		work.run();
}

void finish(struct CUstream_st *stream)
{
	while (!stream->queue.empty())
		step();
}

void finish_all(void)
{
	finish(&default_stream);
	for (struct CUstream_st *s : streams)
		finish(s);
}

/* ---- memory ---- */

enum uw_status device_open(int number, struct uw_gpu_facts *facts)
{
	if (number != 0)
		return UW_ERR_NO_DEVICE;
	*facts = { "Emulated GPU", emu_device.capability == 90 ? hopper : ampere, 1 << 20, UINT64_C(4800000000000),
		   1755 };
	facts->device.capability = emu_device.capability;
	return UW_OK;
}

enum uw_status alloc(uint64_t nbytes, void **memory)
{
	if (emu_device.alloc_budget == 0)
		return UW_ERR_NOMEM;
	emu_device.alloc_budget--;
	assert_int_equal(posix_memalign(memory, 256, nbytes), 0);
	memset(*memory, 0xA5, nbytes);
	live[*memory] = nbytes;
	emu_device.nallocs++;
	emu_device.nlive = live.size();
	return UW_OK;
}

void release(void *memory)
{
	finish_all();
	assert_int_equal(live.erase(memory), 1);
	emu_device.nlive = live.size();
	free(memory);
}

enum uw_status copy_in(void *dst, const void *src, uint64_t nbytes, struct CUstream_st *stream)
{
	std::vector<uint8_t> bytes((const uint8_t *)src, (const uint8_t *)src + nbytes);

	return queue(stream, [=] { memcpy(dst, bytes.data(), bytes.size()); });
}

enum uw_status copy_out(void *dst, const void *src, uint64_t nbytes, struct CUstream_st *stream)
{
	emu_device.nreads++;
	return queue(stream, [=] { memcpy(dst, src, nbytes); });
}

enum uw_status copy_within(void *dst, const void *src, uint64_t nbytes, struct CUstream_st *stream)
{
	return queue(stream, [=] {
		memcpy(dst, src, nbytes);
		emu_device.nbytes_moved += 2 * nbytes;
	});
}

enum uw_status zero(void *dst, uint64_t nbytes, struct CUstream_st *stream)
{
	return queue(stream, [=] { memset(dst, 0, nbytes); });
}

/* ---- order ---- */

enum uw_status stream_new(struct CUstream_st **stream)
{
	*stream = new CUstream_st();
	streams.insert(*stream);
	return UW_OK;
}

void stream_free(struct CUstream_st *stream)
{
	finish(stream);
	streams.erase(stream);
	delete stream;
}

enum uw_status stream_sync(struct CUstream_st *stream)
{
	emu_device.nsyncs++;
	finish(stream_of(stream));
	return UW_OK;
}

enum uw_status event_new(bool, struct CUevent_st **event)
{
	*event = new CUevent_st();
	return UW_OK;
}

void event_free(struct CUevent_st *event)
{
	finish_all();
	delete event;
}

enum uw_status event_record(struct CUevent_st *event, struct CUstream_st *stream)
{
	uint64_t number = ++event->recorded;

	return queue(stream, [=] {
		event->done = number;
		event->at = emu_device.nbytes_moved;
	});
}

enum uw_status event_await(struct CUstream_st *stream, struct CUevent_st *event)
{
	if (!emu_device.skip_waits)
		stream_of(stream)->queue.push_back({ event, event->recorded, {} });
	return UW_OK;
}

enum uw_status event_elapsed(struct CUevent_st *begin, struct CUevent_st *end, uint64_t *ns)
{
	emu_device.nsyncs++;
	while (end->done < end->recorded)
		step();
	*ns = end->at - begin->at;
	return UW_OK;
}

/* ---- kernels ---- */

enum uw_status preload(void)
{
	return UW_OK;
}

template <enum uw_gpu_output OUTPUT>
enum uw_status queue_decode(const struct uw_gpu_decode *decode, enum uw_coding coding, struct CUstream_st *stream)
{
	struct uw_gpu_decode d = *decode;

	if (d.coding != (uint32_t)coding || d.nchunks == 0)
		return UW_ERR_ARG;
	emu_device.ndecode++;
	return queue(stream, [=] {
		emu_run((d.nchunks - 1) / UW_WARPS + 1, 32 * UW_WARPS, uw_shared_nbytes(d.coding, OUTPUT, d.stream_room),
			rng(), [&] {
				if (coding == UW_CODING_P4)
					uw_warp_p4(d);
				else
					uw_warp_h<OUTPUT>(d);
			});
		emu_device.nbytes_moved += (uint64_t)d.nchunks * UW_CHUNK_WEIGHTS * 3;
	});
}

enum uw_status decode_p4(const struct uw_gpu_decode *decode, struct CUstream_st *stream)
{
	return queue_decode<UW_GPU_WEIGHTS>(decode, UW_CODING_P4, stream);
}

enum uw_status decode_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream)
{
	return queue_decode<UW_GPU_WEIGHTS>(decode, UW_CODING_H, stream);
}

enum uw_status transcode_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream)
{
	return queue_decode<UW_GPU_NIBBLES>(decode, UW_CODING_H, stream);
}

enum uw_status exponents_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream)
{
	return queue_decode<UW_GPU_EXPONENTS>(decode, UW_CODING_H, stream);
}

enum uw_status matrix_map(struct uw_gpu_matrix *matrix)
{
	if (matrix->source != UW_LINEAR_RAW)
		return UW_ERR_ARG;
	emu_tensor_map(matrix->map, matrix->weights_dev, matrix->nrows, matrix->ncols, matrix->weights_ld,
		       UW_ROW_BLOCK);
	return UW_OK;
}

uint64_t gemm_nbytes(const struct uw_gpu_gemm *gemm)
{
	uint64_t tiles = (uint64_t)gemm->row_tiles * UW_ROW_TILE * gemm->ncols;

	return gemm->source == UW_LINEAR_P4 ? tiles * 3 / 2 : tiles * 2;
}

enum uw_status gemm(const struct uw_gpu_gemm *gemm, struct CUstream_st *stream)
{
	struct uw_gpu_gemm copy = *gemm;

	if (gemm->x_dev == NULL || (uintptr_t)gemm->x_dev % 16 != 0 || gemm->x_ld % 8 != 0 ||
	    gemm->x_ld < gemm->ncols || (gemm->workspace_nbytes != 0 && gemm->workspace_dev == NULL) ||
	    (gemm->nbuckets != 0) != (gemm->offsets_dev != NULL))
		return UW_ERR_ARG;
	emu_device.ngemm++;
	return queue(stream, [=] {
		run_gemm(copy, rng());
		emu_device.nbytes_moved += gemm_nbytes(&copy);
	});
}

enum uw_status gather(const struct uw_gpu_matrix *matrix, const uint32_t *rows, uint32_t nrows, uint16_t *y,
		      uint64_t ld, struct CUstream_st *stream)
{
	uint32_t batches = (matrix->ncols - 1) / (UW_TILE_COLS * UW_GATHER_TILES) + 1;
	uint32_t nblocks = (nrows * batches + UW_GATHER_WARPS - 1) / UW_GATHER_WARPS;
	struct uw_gather gather = { *matrix, rows, y, ld, nrows, batches };

	return queue(stream, [=] {
		emu_run(nblocks, 32 * UW_GATHER_WARPS, 0, rng(), [&] { uw_gather_warp(gather); });
	});
}

/* ---- instead of cuBLASLt: sums in the order of k ---- */

enum uw_status dense_open(void **library)
{
	if (!emu_device.has_dense)
		return UW_ERR_UNSUPPORTED;
	*library = &emu_device;
	return UW_OK;
}

void dense_close(void *library)
{
	assert_ptr_equal(library, &emu_device);
}

void multiply_dense(const struct uw_gpu_dense &d)
{
	for (uint64_t n = 0; n < d.nx; n++) {
		for (uint64_t m = 0; m < d.nrows; m++) {
			const uint16_t *w = d.weights_dev + m * d.weights_ld, *x = d.x_dev + n * d.x_ld;
			uint64_t at = n * d.y_ld + m;
			float sum = 0;

			for (uint64_t k = 0; k < d.ncols; k++)
				sum += bf16_value(w[k]) * bf16_value(x[k]);
			if (d.y_type == UW_LINEAR_F32)
				((float *)d.y_dev)[at] = sum;
			else
				((uint16_t *)d.y_dev)[at] = (uint16_t)uw_round_bf16(sum);
		}
	}
}

/* An algorithm is for its key alone. */
struct uw_gpu_dense_algo algo_of(const struct uw_gpu_dense_key &key)
{
	struct uw_gpu_dense_algo algo = {};
	const uint8_t *bytes = (const uint8_t *)&key;

	for (size_t i = 0; i < sizeof(key); i++)
		algo.words[i % 8] = algo.words[i % 8] * 257 + bytes[i];
	return algo;
}

enum uw_status dense_choose(void *library, const struct uw_gpu_dense_key *key, struct uw_gpu_dense_algo *algo)
{
	assert_ptr_equal(library, &emu_device);
	emu_device.nchosen++;
	*algo = algo_of(*key);
	return UW_OK;
}

enum uw_status dense(void *library, const struct uw_gpu_dense *dense, const struct uw_gpu_dense_algo *algo,
		     struct CUstream_st *stream)
{
	struct uw_gpu_dense copy = *dense;
	struct uw_gpu_dense_algo right = algo_of(uw_gpu_dense_key(dense));

	assert_memory_equal(algo, &right, sizeof(right));
	assert_ptr_equal(library, &emu_device);
	assert_non_null(dense->workspace_dev);
	emu_device.ndense++;
	return queue(stream, [=] {
		multiply_dense(copy);
		emu_device.nbytes_moved += copy.nrows * copy.ncols * 2;
	});
}

} // namespace

const struct uw_gpu_ops *emu_device_ops(void)
{
	static const struct uw_gpu_ops table = {
		"emulator", device_open, alloc, release, copy_in, copy_out, copy_within, zero, stream_new, stream_free,
		stream_sync, event_new, event_free, event_record, event_await, event_elapsed, preload, decode_p4,
		decode_h, transcode_h, exponents_h, matrix_map, gemm, gather, dense_open, dense_close, dense_choose,
		dense,
	};

	return &table;
}

void emu_device_reset(uint64_t seed)
{
	emu_device = {};
	emu_device.capability = 90;
	emu_device.has_dense = true;
	emu_device.alloc_budget = -1;
	emu_device.nlive = live.size();
	rng_state = seed;
}
