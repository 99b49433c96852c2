/* SPDX-License-Identifier: Apache-2.0 */
/* The multiplication kernels in the emulator, as a caller would launch them on a device. */
#ifndef UW_TEST_GEMM_EMU_H
#define UW_TEST_GEMM_EMU_H

#include <math.h>

#include "gather.cuh"
#include "gemm_mma.cuh"
#include "gemm_wgmma.cuh"
#include "groups.h"

namespace {

/* What the kernels can be given for one matrix, made of the same weights. */
enum form {
	FORM_RAW,
	FORM_P4,      /* coding P4 */
	FORM_NIBBLES, /* coding H, nibble plane */
	FORM_E8,      /* coding H, exponent plane */
	NFORMS,
};

const enum uw_linear_source source_of[NFORMS] = { UW_LINEAR_RAW, UW_LINEAR_P4, UW_LINEAR_P4, UW_LINEAR_E8 };

struct matrix {
	uint32_t nrows, ncols;
	size_t ld;
	std::unique_ptr<struct buffer> weights; /* rows of ld, what is beyond ncols is NaN */
	std::vector<std::unique_ptr<struct buffer>> stored, planes;
	std::vector<std::unique_ptr<struct buffer>> orders; /* of each group; none: empty */
	std::vector<struct uw_gpu_gemm_group> groups[NFORMS];
	struct uw_gpu_matrix described[NFORMS];
	uint32_t npatches, crowd; /* in all; most of a chunk */

	uint16_t at(uint32_t row, uint32_t col) const
	{
		return ((const uint16_t *)weights->at)[row * ld + col];
	}
};

typedef uint16_t (*weight_fn)(uint64_t i);

inline float bf16_value(uint16_t v)
{
	return uw_float_of((uint32_t)v << 16);
}

inline uint8_t *keep(std::vector<std::unique_ptr<struct buffer>> *buffers, const void *bytes, size_t nbytes)
{
	buffers->emplace_back(new buffer(nbytes));
	memcpy(buffers->back()->at, bytes, nbytes);
	return buffers->back()->at;
}

inline void describe(struct matrix *m, enum form form, const struct uw_coded &coded, const uint8_t *plane)
{
	struct uw_gpu_gemm_group group;

	assert_int_equal(uw_gpu_gemm_group_init(&coded, coded.head, plane, &group), UW_OK);
	if (!m->orders.empty())
		group.order_dev = (const uint16_t *)m->orders.back()->at;
	m->groups[form].push_back(group);
}

/* One group of the matrix: rows first .. first + n, in a random order if `ordered`. */
inline void add_group(struct matrix *m, uint32_t first, uint32_t n, bool ordered)
{
	static struct uw_plan plan;
	struct uw_shape shape;
	struct uw_coded h, p4;
	std::vector<uint16_t> order(n), weights((size_t)n * m->ncols);

	for (uint32_t i = 0; i < n; i++) {
		uint32_t k = rng() % (i + 1);

		order[i] = order[k];
		order[k] = (uint16_t)i;
	}
	for (uint32_t i = 0; i < n; i++) {
		for (uint32_t c = 0; c < m->ncols; c++)
			weights[(size_t)i * m->ncols + c] = m->at(first + (ordered ? order[i] : i), c);
	}
	assert_int_equal(uw_shape_tiled(n, m->ncols, &shape), UW_OK);

	buffer scratch(uw_codec_scratch_nbytes(&shape));

	assert_int_equal(uw_codec_plan(&ops, &shape, weights.data(), UW_CODING_P4, scratch.at, &plan), UW_OK);
	m->npatches += (uint32_t)plan.nescapes;
	if (ordered)
		(void)keep(&m->orders, order.data(), n * sizeof(order[0]));
	m->stored.push_back(encode(&shape, &plan, UW_CODING_H, scratch.at));
	assert_int_equal(uw_coded_open(&shape, UW_CODING_H, plan.ntables, (uint32_t)plan.nescapes,
				       m->stored.back()->at, m->stored.back()->nbytes, &h, NULL), UW_OK);
	m->stored.push_back(encode(&shape, &plan, UW_CODING_P4, scratch.at));
	assert_int_equal(uw_coded_open(&shape, UW_CODING_P4, plan.ntables, (uint32_t)plan.nescapes,
				       m->stored.back()->at, m->stored.back()->nbytes, &p4, NULL), UW_OK);
	for (uint64_t c = 0; c < shape.nchunks; c++) {
		uint32_t end = p4.npatches;

		if (c + 1 < shape.nchunks)
			end = UW_WORD_PATCH(uw_load_le64(p4.chunk_words + 8 * c + 8));
		end -= UW_WORD_PATCH(uw_load_le64(p4.chunk_words + 8 * c));
		m->crowd = end > m->crowd ? end : m->crowd;
	}

	std::vector<uint8_t> exponents = exponent_plane(p4);

	describe(m, FORM_P4, p4, NULL);
	describe(m, FORM_NIBBLES, h, keep(&m->planes, p4.e, (size_t)p4.e_nbytes));
	describe(m, FORM_E8, h, keep(&m->planes, exponents.data(), exponents.size()));
}

/* Groups of group_rows rows, a multiple of 64. */
inline struct matrix make_matrix(uint32_t nrows, uint32_t ncols, uint32_t group_rows, weight_fn weight,
				 bool ordered = false)
{
	struct matrix m = {};

	m.nrows = nrows;
	m.ncols = ncols;
	m.ld = (ncols + 7) / 8 * 8 + 8;
	m.weights.reset(new buffer(nrows * m.ld * sizeof(uint16_t)));
	memset(m.weights->at, 0xFF, m.weights->nbytes);
	for (uint32_t r = 0; r < nrows; r++) {
		for (uint32_t c = 0; c < ncols; c++)
			((uint16_t *)m.weights->at)[r * m.ld + c] = weight((uint64_t)r * ncols + c);
	}
	for (uint32_t first = 0; first < nrows; first += group_rows)
		add_group(&m, first, nrows - first < group_rows ? nrows - first : group_rows, ordered);
	for (unsigned form = FORM_P4; form < NFORMS; form++)
		assert_int_equal(uw_gpu_matrix_init(m.groups[form].data(), (uint32_t)m.groups[form].size(),
						    m.groups[form].data(), source_of[form], &m.described[form]),
				 UW_OK);
	assert_int_equal(uw_gpu_matrix_init_raw((const uint16_t *)m.weights->at, m.ld, nrows, ncols,
						&m.described[FORM_RAW]), UW_OK);
	emu_tensor_map(m.described[FORM_RAW].map, m.weights->at, nrows, ncols, m.ld, UW_ROW_BLOCK);
	return m;
}

/* ---- x and y ---- */

struct activations {
	uint32_t nrows, ncols;
	size_t ld;
	std::unique_ptr<struct buffer> values; /* what is beyond ncols is NaN */

	uint16_t at(uint32_t row, uint32_t col) const
	{
		return ((const uint16_t *)values->at)[row * ld + col];
	}
};

inline struct activations make_x(uint32_t nrows, uint32_t ncols, weight_fn value)
{
	struct activations x = { nrows, ncols, (ncols + 7) / 8 * 8 + 16, {} };

	x.values.reset(new buffer(nrows * x.ld * sizeof(uint16_t)));
	memset(x.values->at, 0xFF, x.values->nbytes);
	for (uint32_t r = 0; r < nrows; r++) {
		for (uint32_t c = 0; c < ncols; c++)
			((uint16_t *)x.values->at)[r * x.ld + c] = value((uint64_t)r * ncols + c);
	}
	return x;
}

/* ---- launches ---- */

template <enum uw_linear_source SOURCE, uint32_t TILE_N>
void run_blocks(const struct uw_gpu_gemm &gemm, const void *x_map, uint64_t seed)
{
	const struct uw_gpu_gemm_config &config = gemm.config;
	bool wgmma = config.kernel == UW_GPU_GEMM_WGMMA;

	emu_run(config.nblocks, wgmma ? UW_WGMMA_THREADS(TILE_N) : UW_MMA_THREADS, gemm.shared_nbytes, seed, [&] {
		if (wgmma)
			uw_gemm_wgmma<SOURCE, TILE_N>(gemm, x_map);
		else
			uw_gemm_mma<SOURCE, TILE_N>(gemm);
	});
}

template <uint32_t TILE_N> void run_source(const struct uw_gpu_gemm &gemm, const void *x_map, uint64_t seed)
{
	if (gemm.source == UW_LINEAR_P4)
		run_blocks<UW_LINEAR_P4, TILE_N>(gemm, x_map, seed);
	else if (gemm.source == UW_LINEAR_E8)
		run_blocks<UW_LINEAR_E8, TILE_N>(gemm, x_map, seed);
	else
		run_blocks<UW_LINEAR_RAW, TILE_N>(gemm, x_map, seed);
}

inline void run_gemm(const struct uw_gpu_gemm &gemm, uint64_t seed)
{
	alignas(64) uint64_t x_map[16];

	emu_tensor_map(x_map, gemm.x_dev, gemm.nx, gemm.ncols, gemm.x_ld, gemm.config.tile_n);
	switch (gemm.config.tile_n) {
	case 8:
		return run_source<8>(gemm, x_map, seed);
	case 16:
		return run_source<16>(gemm, x_map, seed);
	case 32:
		return run_source<32>(gemm, x_map, seed);
	case 64:
		return run_source<64>(gemm, x_map, seed);
	case 128:
		return run_source<128>(gemm, x_map, seed);
	default:
		assert_int_equal(gemm.config.tile_n, 256);
		return run_source<256>(gemm, x_map, seed);
	}
}

const struct uw_gpu_device hopper = { 4, 90, 233472 }, ampere = { 4, 80, 167936 };

struct product_of {
	const struct activations *x;
	std::vector<const struct matrix *> matrices;
	struct uw_gpu_gemm_config config;
	enum uw_linear_type type;
	const std::vector<uint32_t> *offsets; /* NULL, or one bucket a matrix */
	uint32_t shared_nbytes;               /* 0, or what the device has: fewer stages */
	bool late;                            /* begins when the launch ahead has ended */
};

/*
 * All of y, and what is around it: rows of ld values, 0xA5 where nothing was written. The matrices stand side by side, or,
 * with offsets, in the rows of their bucket.
 */
inline std::vector<uint8_t> multiply(const struct product_of &p, enum form form)
{
	struct uw_gpu_device device = p.config.kernel == UW_GPU_GEMM_WGMMA ? hopper : ampere;
	std::vector<struct uw_gpu_matrix> described;
	struct uw_gpu_gemm gemm;
	size_t width = 0, value = p.type == UW_LINEAR_F32 ? 4 : 2;

	if (p.shared_nbytes != 0)
		device.shared_nbytes = p.shared_nbytes;
	for (const struct matrix *m : p.matrices) {
		described.push_back(m->described[form]);
		if (p.offsets != NULL) {
			described.back().bucket = (uint32_t)described.size() - 1;
			width = m->nrows > width ? m->nrows : width;
		} else {
			described.back().y_off = width;
			width += m->nrows;
		}
	}
	uint32_t n = (uint32_t)described.size(), nbuckets = p.offsets != NULL ? n : 0;

	assert_int_equal(uw_gpu_gemm_init(&device, &p.config, described.data(), n, described.data(), p.x->nrows,
					  nbuckets, &gemm), UW_OK);

	buffer y(p.x->nrows * (width + 3) * value), workspace((size_t)gemm.workspace_nbytes);

	memset(workspace.at, 0, (size_t)gemm.counters_nbytes);
	gemm.x_dev = (const uint16_t *)p.x->values->at;
	gemm.x_ld = p.x->ld;
	gemm.y_dev = y.at;
	gemm.y_ld = width + 3;
	gemm.y_type = p.type;
	gemm.workspace_dev = workspace.at;
	gemm.offsets_dev = p.offsets != NULL ? p.offsets->data() : NULL;
	gemm.early = !p.late;

	const struct emu_memory ahead[] = {
		{ gemm.x_dev, p.x->values->nbytes }, { y.at, y.nbytes }, { workspace.at, workspace.nbytes },
	};

	emu_set_ahead(ahead, uw_gpu_gemm_begins_early(&gemm) ? COUNT(ahead) : 0);
	run_gemm(gemm, rng());
	emu_set_ahead(NULL, 0);
	for (size_t i = 0; i < gemm.counters_nbytes; i++)
		assert_int_equal(workspace.at[i], 0);
	return std::vector<uint8_t>(y.at, y.at + y.nbytes);
}

inline float y_value(const struct product_of &p, const std::vector<uint8_t> &y, size_t at)
{
	uint32_t word = 0;

	memcpy(&word, &y[at * (p.type == UW_LINEAR_F32 ? 4 : 2)], p.type == UW_LINEAR_F32 ? 4 : 2);
	return uw_float_of(p.type == UW_LINEAR_F32 ? word : word << 16);
}

/*
 * Against sums in FP64. K products added in FP32 in any order are off by no more than K 2^-24 times the sum of their
 * amounts (first order; products are exact); rounding to BF16 adds 2^-8 of the result. NaN and infinity: as in FP64.
 */
inline void check_value(const struct product_of &p, const struct matrix &m, uint32_t row, uint32_t n, float got)
{
	double sum = 0, amount = 0, bound;

	for (uint32_t c = 0; c < m.ncols; c++) {
		double product = (double)bf16_value(m.at(row, c)) * (double)bf16_value(p.x->at(n, c));

		sum += product;
		amount += fabs(product);
	}
	if (isnan(sum) || isinf(sum)) {
		assert_true(isnan(sum) ? isnan(got) : (double)got == sum);
		return;
	}
	if (amount > 3e38) /* FP32 may overflow on the way */
		return;
	bound = 1.01 * (m.ncols + 1) * ldexp(1, -24) * amount + 1e-40;
	if (p.type == UW_LINEAR_BF16)
		bound += ldexp(fabs(sum) + bound, -8);
	assert_true(fabs((double)got - sum) <= bound);
}

inline void check_y(const struct product_of &p, const std::vector<uint8_t> &y)
{
	size_t width = 0, first = 0, value = p.type == UW_LINEAR_F32 ? 4 : 2;
	std::vector<bool> written;

	for (const struct matrix *m : p.matrices)
		width = p.offsets != NULL ? (m->nrows > width ? m->nrows : width) : width + m->nrows;
	written.resize(p.x->nrows * (width + 3));
	for (size_t i = 0; i < p.matrices.size(); i++) {
		const struct matrix &m = *p.matrices[i];
		uint32_t from = p.offsets != NULL ? (*p.offsets)[i] : 0;
		uint32_t to = p.offsets != NULL ? (*p.offsets)[i + 1] : p.x->nrows;

		for (uint32_t n = from; n < to; n++) {
			for (uint32_t row = 0; row < m.nrows; row++) {
				size_t at = n * (width + 3) + first + row;

				check_value(p, m, row, n, y_value(p, y, at));
				written[at] = true;
			}
		}
		first += p.offsets != NULL ? 0 : m.nrows;
	}
	for (size_t i = 0; i < written.size(); i++) {
		for (size_t k = 0; k < value && !written[i]; k++)
			assert_int_equal(y[i * value + k], 0xA5);
	}
}

/* RAW is right; the others give the same bits. */
inline std::vector<uint8_t> check_product(const struct product_of &p)
{
	std::vector<uint8_t> y = multiply(p, FORM_RAW);

	check_y(p, y);
	for (unsigned form = FORM_P4; form < NFORMS; form++) {
		std::vector<uint8_t> other = multiply(p, (enum form)form);

		assert_true(memcmp(y.data(), other.data(), y.size()) == 0);
	}
	return y;
}

} // namespace
#endif
