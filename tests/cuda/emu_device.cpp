/* SPDX-License-Identifier: Apache-2.0 */
#include "emu_device.h"

#include <algorithm>
#include <deque>
#include <iterator>
#include <map>
#include <set>

#include <sys/mman.h>

#include "launch_emu.h"

struct CUevent_st {
	uint64_t recorded, done;  /* how often it was queued, and met */
	std::vector<uint64_t> at; /* time, whenever it was met */
};

struct work {
	struct CUevent_st *awaits; /* NULL: none */
	uint64_t since;
	std::function<void()> run;
	uint64_t ns;               /* that it takes */
};

/* Streams have clocks of their own, which waiting sets: times do not depend on the order in which work is done here. */
struct CUstream_st {
	std::deque<struct work> queue;
	uint64_t ns;
};

struct emu_device emu_device;
static bool preloaded;

namespace {

struct CUstream_st default_stream;
std::set<struct CUstream_st *> streams;
struct allocation {
	uint64_t nbytes, number;
};
std::map<void *, struct allocation> live;
uint64_t nnumbers;

struct CUstream_st *stream_of(struct CUstream_st *stream)
{
	return stream != NULL ? stream : &default_stream;
}

enum uw_status queue(struct CUstream_st *stream, const std::function<void()> &run, uint64_t ns = 0)
{
	stream_of(stream)->queue.push_back({ NULL, 0, run, ns });
	return UW_OK;
}

/* A kernel, which moves so many bytes. */
enum uw_status launch(struct CUstream_st *stream, struct emu_launch launch, uint64_t nbytes,
		      const std::function<void()> &run)
{
	auto above = live.upper_bound((void *)launch.weights_dev);

	launch.allocation = above != live.begin() ? std::prev(above)->second.number : 0;
	if (emu_device.kernel_ns != NULL)
		return queue(stream, {}, emu_device.kernel_ns(&launch));
	return queue(stream, run, nbytes);
}

bool event_fails(void)
{
	if (emu_device.event_budget == 0)
		return true;
	emu_device.event_budget--;
	return false;
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
	if (work.awaits != NULL && work.since != 0)
		s->ns = std::max(s->ns, work.awaits->at[work.since - 1]);
	s->ns += work.ns;
	emu_device.ns = std::max(emu_device.ns, s->ns);
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

#define LARGE (UINT64_C(32) << 20) /* memory for cuBLASLt: it is not there, nobody touches it */

enum uw_status alloc(uint64_t nbytes, void **memory)
{
	if (emu_device.alloc_budget == 0)
		return UW_ERR_NOMEM;
	emu_device.alloc_budget--;
	if (nbytes < LARGE) {
		assert_int_equal(posix_memalign(memory, 256, nbytes), 0);
		memset(*memory, 0xA5, nbytes);
	} else {
		*memory = mmap(NULL, nbytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		assert_true(*memory != MAP_FAILED);
	}
	live[*memory] = { nbytes, ++nnumbers };
	emu_device.nallocs++;
	emu_device.nlive = live.size();
	return UW_OK;
}

void release(void *memory)
{
	uint64_t nbytes;

	finish_all();
	assert_int_equal(live.count(memory), 1);
	nbytes = live[memory].nbytes;
	live.erase(memory);
	emu_device.nlive = live.size();
	if (nbytes < LARGE)
		free(memory);
	else
		munmap(memory, nbytes);
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
	return queue(stream, [=] { memcpy(dst, src, nbytes); }, 2 * nbytes);
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
	if (event_fails())
		return UW_ERR_DEVICE;
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
	if (event_fails())
		return UW_ERR_DEVICE;

	uint64_t number = ++event->recorded;

	stream = stream_of(stream);
	return queue(stream, [=] {
		event->done = number;
		event->at.push_back(stream->ns);
	});
}

enum uw_status event_await(struct CUstream_st *stream, struct CUevent_st *event)
{
	if (event_fails())
		return UW_ERR_DEVICE;
	if (!emu_device.skip_waits)
		stream_of(stream)->queue.push_back({ event, event->recorded, {}, 0 });
	return UW_OK;
}

enum uw_status event_elapsed(struct CUevent_st *begin, struct CUevent_st *end, uint64_t *ns)
{
	if (event_fails())
		return UW_ERR_DEVICE;
	emu_device.nsyncs++;
	while (end->done < end->recorded)
		step();
	*ns = end->at.back() - begin->at.back();
	return UW_OK;
}

/* ---- kernels ---- */

enum uw_status preload(void)
{
	preloaded = true;
	return UW_OK;
}

template <enum uw_gpu_output OUTPUT>
enum uw_status queue_decode(const struct uw_gpu_decode *decode, enum uw_coding coding, struct CUstream_st *stream)
{
	struct uw_gpu_decode d = *decode;

	if (d.coding != (uint32_t)coding || d.nchunks == 0)
		return UW_ERR_ARG;
	emu_device.ndecode++;

	struct emu_launch l = { EMU_DECODE, (uint64_t)d.nchunks * UW_CHUNK_WEIGHTS, 0, 0, {}, 0, d.groups_dev, 0 };

	return launch(stream, l, (uint64_t)d.nchunks * UW_CHUNK_WEIGHTS * 3, emu_decode<OUTPUT>(d));
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
	if (!preloaded)
		return UW_ERR_DEVICE;
	emu_device.ngemm++;
	if (gemm->workspace_nbytes != 0)
		assert_true(live.count(gemm->workspace_dev) == 0 ||
			    live[gemm->workspace_dev].nbytes >= gemm->workspace_nbytes);

	struct emu_launch l = { EMU_GEMM, 0, copy.ncols, copy.nx, copy.config, copy.source, NULL, 0 };
	const struct uw_gpu_matrix *matrices = copy.nmatrices <= 3 ? copy.few : copy.matrices_dev;

	for (uint32_t i = 0; i < copy.nmatrices; i++)
		l.nrows += matrices[i].nrows;
	l.weights_dev = copy.source == UW_LINEAR_RAW ? (const void *)matrices->weights_dev : matrices->groups_dev;
	return launch(stream, l, gemm_nbytes(&copy), [=] { run_gemm(copy, rng()); });
}

enum uw_status gather(const struct uw_gpu_matrix *matrix, const uint32_t *rows, uint32_t nrows, uint16_t *y,
		      uint64_t ld, struct CUstream_st *stream)
{
	return queue(stream, emu_gather(*matrix, rows, nrows, y, ld));
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

	struct emu_launch l = { EMU_DENSE, copy.nrows, copy.ncols, copy.nx, {}, UW_LINEAR_RAW, copy.weights_dev, 0 };

	return launch(stream, l, copy.nrows * copy.ncols * 2, [=] { multiply_dense(copy); });
}

} // namespace

const struct uw_gpu_ops *emu_device_ops(void)
{
	static const struct uw_gpu_ops table = {
		"emulator", device_open, alloc, release, copy_in, copy_out, copy_within, zero, stream_new, stream_free,
		stream_sync, event_new, event_free, event_record, event_await, event_elapsed, preload, decode_p4,
		decode_h, transcode_h, exponents_h, emu_matrix_map, gemm, gather, dense_open, dense_close, dense_choose,
		dense,
	};

	return &table;
}

void emu_device_reset(uint64_t seed)
{
	emu_device = {};
	preloaded = false;
	emu_device.capability = 90;
	emu_device.has_dense = true;
	emu_device.alloc_budget = -1;
	emu_device.event_budget = -1;
	emu_device.nlive = live.size();
	default_stream.ns = 0;
	rng_state = seed;
}
