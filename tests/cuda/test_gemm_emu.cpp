/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The multiplication kernels' own source under the emulator: P4, nibbles and exponents of H give the bits that RAW
 * gives, RAW is within the error bound of FP64, nothing outside of y is written, nothing outside of a buffer read (ASan).
 */
#include <signal.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "gemm_emu.h"

namespace {

/* ---- weights ---- */

uint16_t one_in_eight_odd(uint64_t i)
{
	static const uint16_t odd[] = { 0x7F80, 0xFF80, 0x7FC1, 0x0000, 0x8000, 0x0001, 0x8003, 0x7F7F };

	return rng() % 8 == 0 ? odd[rng() % 6 + 2 * (rng() % 2)] : gaussian(i);
}

/* Finite, so that sums say something: zeros of both signs, subnormals, large and small ones. */
uint16_t finite_escapes(uint64_t i)
{
	static const uint16_t odd[] = { 0x0000, 0x8000, 0x0001, 0x807F, 0x4780, 0xC7A1, 0x2001 };

	return rng() % 100 == 0 ? odd[rng() % COUNT(odd)] : gaussian(i);
}

uint16_t unit_gaussian(uint64_t i)
{
	uint16_t v = gaussian(i);

	return v % 0x8000 == 0 ? v : (uint16_t)(v + (6 << 7));
}

uint16_t with_odd_values(uint64_t i)
{
	static const uint16_t odd[] = { 0x7F80, 0xFF80, 0xFFC1, 0x8000, 0x0001 };

	return rng() % 64 == 0 ? odd[rng() % COUNT(odd)] : unit_gaussian(i);
}

/*
 * Weights of 64 columns: 16 exponents that take the palette, and `wanted` in the second chunk (two blocks of 64 x 64) whose
 * exponents are too rare for it.
 */
uint32_t wanted;

uint16_t crowded(uint64_t i)
{
	uint64_t in_chunk = i % 8192;
	bool odd = i / 8192 == 1 && wanted != 0 && in_chunk % (8192 / wanted) == 0 && in_chunk / (8192 / wanted) < wanted;

	return bf16(odd ? 60 + (unsigned)(i / (8192 / wanted) % 50) : 112 + rng() % 16);
}

/* ---- configs ---- */

struct uw_gpu_gemm_config config_of(enum uw_gpu_gemm_kernel kernel, uint32_t tile_n, uint32_t parts, uint32_t nblocks)
{
	return { (uint32_t)kernel, tile_n, 1, parts, nblocks };
}

const enum uw_gpu_gemm_kernel kernels[] = { UW_GPU_GEMM_WGMMA, UW_GPU_GEMM_MMA };

uint32_t most_n(enum uw_gpu_gemm_kernel kernel)
{
	return kernel == UW_GPU_GEMM_WGMMA ? 256 : 128;
}

/* ---- tests ---- */

/* Odd shapes and tails; every size of tile; all ways to cut. */
void test_shapes(void **)
{
	static const struct {
		uint32_t nrows, ncols, group_rows;
	} sizes[] = {
		{ 1, 1, 64 },    { 16, 64, 64 },  { 17, 65, 64 },   { 48, 192, 64 }, { 64, 7, 64 },    { 65, 129, 64 },
		{ 100, 200, 64 }, { 128, 64, 128 }, { 176, 328, 64 }, { 200, 72, 192 }, { 304, 456, 192 },
	};
	static const uint32_t batches[] = { 1, 3, 8, 17, 31, 40 };
	unsigned turn = 0;

	for (const auto &size : sizes) {
		struct matrix m = make_matrix(size.nrows, size.ncols, size.group_rows, finite_escapes);

		for (enum uw_gpu_gemm_kernel kernel : kernels) {
			for (uint32_t tile_n = 8; tile_n <= 32; tile_n *= 2) {
				uint32_t n = batches[turn % COUNT(batches)];
				struct activations x = make_x(n, size.ncols, unit_gaussian);
				struct product_of p = { &x, { &m }, {}, turn % 2 ? UW_LINEAR_F32 : UW_LINEAR_BF16, NULL,
							turn % 3 == 0 ? 98304u : 0 };

				p.config = config_of(kernel, tile_n, turn % 4, 1 + turn % 5);
				(void)check_product(p);
				turn++;
			}
		}
	}
}

void test_large_tiles(void **)
{
	struct matrix m = make_matrix(130, 200, 64, finite_escapes);

	for (enum uw_gpu_gemm_kernel kernel : kernels) {
		for (uint32_t tile_n = 64; tile_n <= most_n(kernel); tile_n *= 2) {
			struct activations x = make_x(tile_n + 9, 200, unit_gaussian);
			struct product_of p = { &x, { &m }, config_of(kernel, tile_n, 0, 3), UW_LINEAR_F32, NULL, 0 };

			(void)check_product(p);
		}
	}
}

/* None, one, more than a warp takes at once, more than a stage keeps, half of all weights of two blocks. */
void test_patches(void **)
{
	static const uint32_t counts[] = { 0, 1, 33, 150, 4096 };

	for (uint32_t count : counts) {
		wanted = count;

		/* a group may have 32 a tile */
		struct matrix m = make_matrix(count > 1024 ? 2048 : 512, 64, 2048, crowded);
		struct activations x = make_x(5, 64, unit_gaussian);

		assert_int_equal(m.npatches, count);
		for (enum uw_gpu_gemm_kernel kernel : kernels) {
			struct product_of p = { &x, { &m }, config_of(kernel, 8, 0, 2), UW_LINEAR_F32, NULL, 0 };

			(void)check_product(p);
		}
	}
}

/* NaN, infinities and zeros of both signs, on either side. */
void test_odd_values(void **)
{
	struct matrix m = make_matrix(80, 130, 64, gaussian_with_escapes), zeros = make_matrix(16, 64, 64, [](uint64_t) {
		return (uint16_t)0x8000;
	});

	for (enum uw_gpu_gemm_kernel kernel : kernels) {
		struct activations x = make_x(9, 130, with_odd_values), y = make_x(3, 64, unit_gaussian);

		for (unsigned type = UW_LINEAR_BF16; type <= UW_LINEAR_F32; type++) {
			struct product_of p = { &x, { &m }, config_of(kernel, 16, 0, 3), (enum uw_linear_type)type, NULL,
						0 };

			(void)check_product(p);
			p.x = &y;
			p.matrices[0] = &zeros;
			(void)check_product(p);
		}
	}
}

/* Padding may hold anything, NaN too: it has no influence. */
void test_padding(void **)
{
	struct matrix m = make_matrix(40, 70, 64, one_in_eight_odd);
	struct activations x = make_x(4, 70, unit_gaussian);
	unsigned ninfinite = 0;

	for (enum uw_gpu_gemm_kernel kernel : kernels) {
		struct product_of p = { &x, { &m }, config_of(kernel, 8, 0, 2), UW_LINEAR_F32, NULL, 0 };
		std::vector<uint8_t> before = check_product(p);

		/* tiles of the second column of tiles; step 1 on, and step 0 from lane column 6 / 2 on, is padding */
		for (unsigned form = FORM_P4; form < NFORMS; form++) {
			struct uw_gpu_gemm_group &g = m.groups[form][0];
			uint32_t e_nbytes = form == FORM_E8 ? 1024 : 512;

			for (uint32_t i = 3; i < 6; i++) {
				uint8_t *s = (uint8_t *)(uintptr_t)g.s_dev + 1024 * i;
				uint8_t *e = (uint8_t *)(uintptr_t)g.e_dev + e_nbytes * i;

				for (uint32_t at = 0; at < 1024; at++) {
					bool padding = at / 4 % 4 != 0 || at / 512 == 1 || at / 16 % 4 == 3;

					if (padding)
						s[at] = (uint8_t)rng();
					if (e_nbytes == 1024 ? padding : at < 512 && at / 4 % 4 != 0)
						e[at] = (uint8_t)(form == FORM_E8 ? 0xFF : rng());
				}
			}
		}
		for (uint32_t r = 0; r < m.nrows; r++)
			ninfinite += (m.at(r, 0) & 0x7F80) == 0x7F80;
		assert_true(check_product(p) == before);
	}
	assert_true(ninfinite != 0);
}

/* The order in which blocks and lanes run has no influence; nor has the number of stages. */
void test_same_bits_again(void **)
{
	struct matrix m = make_matrix(200, 520, 64, finite_escapes);
	struct activations x = make_x(11, 520, unit_gaussian);

	for (enum uw_gpu_gemm_kernel kernel : kernels) {
		struct product_of p = { &x, { &m }, config_of(kernel, 8, 0, 5), UW_LINEAR_F32, NULL, 0 };
		std::vector<uint8_t> first = multiply(p, FORM_P4);

		for (unsigned round = 0; round < 4; round++) {
			p.shared_nbytes = round % 2 ? 0 : 80000;
			p.late = round == 2;
			assert_true(multiply(p, FORM_P4) == first);
		}
	}
}

/* With parts, a row of x has the same result in every batch, whatever else is multiplied beside it. */
void test_batch_invariance(void **)
{
	struct matrix m = make_matrix(150, 700, 64, finite_escapes), other = make_matrix(70, 700, 64, finite_escapes);
	struct activations x = make_x(70, 700, unit_gaussian);
	const uint32_t parts_wanted[] = { 1, 2, 3 };

	for (enum uw_gpu_gemm_kernel kernel : kernels) {
		for (uint32_t parts : parts_wanted) {
			std::vector<uint8_t> whole;

			for (uint32_t n : { 70u, 3u, 1u }) {
				struct activations few = make_x(n, 700, unit_gaussian);
				struct product_of p = { &few, { &m }, config_of(kernel, 64, parts, 2 + n % 3),
							UW_LINEAR_F32, NULL, 0 };

				memcpy(few.values->at, x.values->at, few.values->nbytes);
				if (n == 3)
					p.matrices.push_back(&other);
				std::vector<uint8_t> y = multiply(p, FORM_P4);

				if (n == 70)
					whole = y;
				/* the row's first 150 values, whatever the matrices beside it */
				assert_true(memcmp(y.data(), whole.data(), 150 * 4) == 0);
			}
		}
	}
}

/* Gate and up, or q, k and v: one launch; and more matrices than a launch carries with it. */
void test_many_matrices(void **)
{
	std::vector<struct matrix> all;
	struct activations x = make_x(6, 130, unit_gaussian);

	for (uint32_t i = 0; i < 35; i++)
		all.push_back(make_matrix(16 + 40 * (i % 4), 130, 64, finite_escapes));
	for (enum uw_gpu_gemm_kernel kernel : kernels) {
		for (size_t n : { 2u, 3u, 4u, 35u }) {
			struct product_of p = { &x, {}, config_of(kernel, 8, n == 4, 3), UW_LINEAR_BF16, NULL, 0 };

			for (size_t i = 0; i < n; i++)
				p.matrices.push_back(&all[i]);
			(void)check_product(p);
		}
	}
}

/* Experts: rows of x by bucket, some of them empty, counts on the device. */
void test_experts(void **)
{
	static const std::vector<uint32_t> counts[] = {
		{ 0, 3, 12, 12, 13, 20 }, { 0, 0, 0, 0, 0, 20 }, { 5, 9, 9, 9, 9, 9 }, { 0, 0, 0, 0, 0, 0 },
	};
	std::vector<struct matrix> all;
	struct activations x = make_x(20, 200, unit_gaussian);

	for (uint32_t i = 0; i < 5; i++)
		all.push_back(make_matrix(140, 200, 64, finite_escapes));
	for (enum uw_gpu_gemm_kernel kernel : kernels) {
		for (const std::vector<uint32_t> &offsets : counts) {
			for (uint32_t parts = 0; parts < 3; parts++) {
				struct product_of p = { &x, {}, config_of(kernel, 8, parts, 3), UW_LINEAR_F32, &offsets, 0 };

				for (const struct matrix &m : all)
					p.matrices.push_back(&m);
				(void)check_product(p);
			}
		}
	}
}

/* Rows of the planes that are other rows of the matrix. */
void test_row_order(void **)
{
	struct matrix m = make_matrix(300, 130, 128, finite_escapes, true);
	struct activations x = make_x(9, 130, unit_gaussian);

	for (enum uw_gpu_gemm_kernel kernel : kernels) {
		struct product_of p = { &x, { &m }, config_of(kernel, 8, 0, 3), UW_LINEAR_F32, NULL, 0 };

		(void)check_product(p);
	}
}

/* ---- rows of an embedding ---- */

void check_gather(const struct matrix &m, size_t y_ld)
{
	std::vector<uint32_t> rows = { m.nrows - 1, 0, m.nrows / 2, m.nrows, 0, UINT32_MAX };

	for (uint32_t i = 0; i < 12; i++)
		rows.push_back(rng() % m.nrows);
	for (unsigned form = FORM_P4; form < NFORMS; form++) {
		uint32_t n = (uint32_t)rows.size(), batches = (m.ncols + 511) / 512;
		buffer y(n * y_ld * sizeof(uint16_t));
		struct uw_gather gather = { m.described[form], rows.data(), (uint16_t *)y.at, y_ld, n, batches };

		emu_run((n * batches + UW_GATHER_WARPS - 1) / UW_GATHER_WARPS, 32 * UW_GATHER_WARPS, 0, rng(),
			[&] { uw_gather_warp(gather); });
		for (uint32_t i = 0; i < n; i++) {
			for (uint32_t c = 0; c < y_ld; c++) {
				uint32_t want = c >= m.ncols ? 0xA5A5u : rows[i] < m.nrows ? m.at(rows[i], c) : 0;

				assert_int_equal(((const uint16_t *)y.at)[i * y_ld + c], want);
			}
		}
	}
}

void test_gather(void **)
{
	static const uint32_t sizes[][3] = { { 1, 1, 64 }, { 100, 64, 64 }, { 300, 1100, 128 }, { 176, 129, 64 } };

	for (const auto &size : sizes) {
		struct matrix m = make_matrix(size[0], size[1], size[2], size[1] == 1 ? gaussian : gaussian_with_escapes);

		check_gather(m, m.ncols);
		check_gather(m, m.ncols + 3);
	}
	wanted = 4096;
	check_gather(make_matrix(2048, 64, 2048, crowded), 64);
	check_gather(make_matrix(200, 130, 128, gaussian_with_escapes, true), 130);
}

/* ---- what is missing is seen ---- */

/* A child's product is the right one. It may die on the way. */
bool still_right(const struct product_of &p, enum form form, const std::vector<uint8_t> &right, enum emu_fault fault)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		signal(SIGABRT, SIG_DFL);
		signal(SIGSEGV, SIG_DFL);
		if (freopen("/dev/null", "w", stderr) == NULL)
			_exit(2);
		emu_set_fault(fault);
		_exit(multiply(p, form) == right ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

void test_faults(void **)
{
	static const struct {
		enum emu_fault fault;
		enum uw_gpu_gemm_kernel kernel;
		enum form form;
	} cases[] = {
		{ EMU_NO_SYNC_WARP, UW_GPU_GEMM_WGMMA, FORM_P4 },   { EMU_NO_SYNC_WARP, UW_GPU_GEMM_MMA, FORM_P4 },
		{ EMU_NO_SYNC_BLOCK, UW_GPU_GEMM_WGMMA, FORM_RAW }, { EMU_NO_SYNC_BLOCK, UW_GPU_GEMM_MMA, FORM_RAW },
		{ EMU_NO_WAIT_FULL, UW_GPU_GEMM_WGMMA, FORM_E8 },   { EMU_NO_WAIT_EMPTY, UW_GPU_GEMM_WGMMA, FORM_RAW },
		{ EMU_NO_WGMMA_WAIT, UW_GPU_GEMM_WGMMA, FORM_RAW }, { EMU_NO_WGMMA_FENCE, UW_GPU_GEMM_WGMMA, FORM_P4 },
		{ EMU_SHORT_EXPECT, UW_GPU_GEMM_WGMMA, FORM_P4 },   { EMU_NO_SWIZZLE, UW_GPU_GEMM_WGMMA, FORM_P4 },
		{ EMU_EARLY_WGMMA_WAIT, UW_GPU_GEMM_WGMMA, FORM_P4 }, { EMU_NO_COPY_WAIT, UW_GPU_GEMM_MMA, FORM_P4 },
		{ EMU_NO_GRID_WAIT, UW_GPU_GEMM_WGMMA, FORM_RAW },
	};
	struct matrix m = make_matrix(130, 1000, 64, finite_escapes);
	struct activations x = make_x(8, 1000, unit_gaussian);

	assert_true(m.npatches != 0);
	for (const auto &c : cases) {
		struct product_of p = { &x, { &m }, config_of(c.kernel, 8, 0, 2), UW_LINEAR_F32, NULL, 80000 };
		std::vector<uint8_t> right = multiply(p, c.form);

		assert_true(still_right(p, c.form, right, EMU_NO_FAULT));
		if (still_right(p, c.form, right, c.fault))
			fail_msg("fault %d of kernel %d is not seen", c.fault, c.kernel);
	}
}

/* ---- the host's side ---- */

void test_arguments(void **)
{
	struct matrix m = make_matrix(130, 200, 64, finite_escapes), narrow = make_matrix(64, 100, 64, finite_escapes);
	struct uw_gpu_gemm_config config = config_of(UW_GPU_GEMM_WGMMA, 8, 0, 4);
	struct uw_gpu_matrix two[2] = { m.described[FORM_P4], narrow.described[FORM_P4] };
	struct uw_gpu_gemm_group wrong[2] = { m.groups[FORM_P4][0], m.groups[FORM_P4][1] };
	struct uw_gpu_matrix matrix;
	struct uw_gpu_gemm gemm;
	alignas(16) static const uint16_t none[8] = {}; /* never looked at */

	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 1, NULL, 5, 0, &gemm), UW_OK);
	assert_true(gemm.shared_nbytes + 1024 <= hopper.shared_nbytes && gemm.nstages == 15);
	assert_int_equal(gemm.workspace_nbytes, gemm.counters_nbytes + 2u * 4 * 128 * 8 * 4);
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 0, NULL, 5, 0, &gemm), UW_ERR_ARG);
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 2, NULL, 5, 0, &gemm), UW_ERR_ARG);
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 1, NULL, 0, 0, &gemm), UW_ERR_ARG);
	assert_int_equal(uw_gpu_gemm_init(&ampere, &config, two, 1, NULL, 5, 0, &gemm), UW_ERR_ARG);
	two[0].bucket = 3;
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 1, NULL, 5, 3, &gemm), UW_ERR_ARG);
	two[1] = two[0];
	two[0].bucket = two[1].bucket = 2;
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 2, NULL, 5, 3, &gemm), UW_OK);
	two[1].bucket = 1;
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 2, NULL, 5, 3, &gemm), UW_ERR_ARG);
	two[1] = m.described[FORM_RAW];
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 2, NULL, 5, 0, &gemm), UW_ERR_ARG);
	for (uint32_t tile_n : { 0u, 4u, 24u, 512u }) {
		config.tile_n = tile_n;
		assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 1, NULL, 5, 0, &gemm), UW_ERR_ARG);
	}
	config = config_of(UW_GPU_GEMM_MMA, 256, 0, 4);
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, two, 1, NULL, 5, 0, &gemm), UW_ERR_ARG);

	wrong[0].nrows = 63;
	assert_int_equal(uw_gpu_matrix_init(wrong, 2, wrong, UW_LINEAR_P4, &matrix), UW_ERR_ARG);
	wrong[0].nrows = 64;
	wrong[1].ncols = 199;
	assert_int_equal(uw_gpu_matrix_init(wrong, 2, wrong, UW_LINEAR_P4, &matrix), UW_ERR_ARG);
	assert_int_equal(uw_gpu_matrix_init(wrong, 1, wrong, UW_LINEAR_RAW, &matrix), UW_ERR_ARG);
	assert_int_equal(uw_gpu_matrix_init_raw(none + 1, 8, 8, 8, &matrix), UW_ERR_ARG);
	assert_int_equal(uw_gpu_matrix_init_raw(none, 9, 8, 8, &matrix), UW_ERR_ARG);
	assert_int_equal(uw_gpu_matrix_init_raw(none, 8, 8, 9, &matrix), UW_ERR_ARG);
}

/*
 * Experts of several matrices each: no counts of rows give more tiles than the workspace has counters for, and some give
 * nearly as many.
 */
void test_most_tiles(void **)
{
	static const uint32_t nrows[] = { 130, 300, 64, 1, 128, 129 }, buckets[] = { 0, 0, 1, 3, 3, 4 };
	enum { N = COUNT(nrows), NBUCKETS = 5, NX = 201, TILE_N = 8 };
	struct uw_gpu_gemm_config config = config_of(UW_GPU_GEMM_WGMMA, TILE_N, 2, 4);
	alignas(64) struct uw_gpu_matrix matrices[N] = {};
	struct uw_gpu_gemm gemm;
	uint64_t most = 0, room;

	for (uint32_t i = 0; i < N; i++) {
		matrices[i].nrows = nrows[i];
		matrices[i].ncols = 64;
		matrices[i].bucket = buckets[i];
		matrices[i].source = UW_LINEAR_RAW;
	}
	assert_int_equal(uw_gpu_gemm_init(&hopper, &config, matrices, N, matrices, NX, NBUCKETS, &gemm), UW_OK);
	room = gemm.counters_nbytes / (UW_TILE_WARPS * sizeof(uint32_t));
	for (uint32_t round = 0; round < 100000; round++) {
		uint32_t count[NBUCKETS], left = NX;
		uint64_t ntiles = 0;

		for (uint32_t b = 0; b < NBUCKETS; b++) { /* often nearly all of them */
			count[b] = rng() % 4 == 0 ? rng() % (left + 1) : rng() % (left < 2 ? left + 1 : 2);
			left -= count[b];
		}
		count[rng() % NBUCKETS] += left;
		for (uint32_t i = 0; i < N; i++)
			ntiles += (uint64_t)((nrows[i] + UW_ROW_TILE - 1) / UW_ROW_TILE) *
				  ((count[buckets[i]] + TILE_N - 1) / TILE_N);
		most = ntiles > most ? ntiles : most;
	}
	assert_true(most <= room);
	assert_true(most + 32 >= room);
}

/* A view with its head elsewhere describes the same stored bytes. */
void test_copied_head(void **)
{
	struct matrix m = make_matrix(130, 200, 192, finite_escapes, true);
	const struct buffer &stored = *m.stored[1]; /* P4 */
	struct uw_shape shape;
	struct uw_coded plain, copied;
	struct uw_gpu_gemm_group want, got;
	uint32_t npatches = m.groups[FORM_P4][0].npatches;

	assert_int_equal(uw_shape_tiled(130, 200, &shape), UW_OK);
	assert_int_equal(uw_coded_open(&shape, UW_CODING_P4, 1, npatches, stored.at, stored.nbytes, &plain, NULL),
			 UW_OK);

	buffer head((size_t)plain.head_nbytes);

	memcpy(head.at, stored.at, head.nbytes);
	assert_int_equal(uw_coded_open_copied(&shape, UW_CODING_P4, 1, npatches, head.at, stored.at, stored.nbytes,
					      &copied, NULL), UW_OK);
	assert_ptr_equal(copied.head, head.at);
	assert_int_equal(uw_gpu_gemm_group_init(&plain, stored.at, NULL, &want), UW_OK);
	assert_int_equal(uw_gpu_gemm_group_init(&copied, stored.at, NULL, &got), UW_OK);
	assert_memory_equal(&got, &want, sizeof(got));
	assert_ptr_equal(got.s_dev, plain.s);
	assert_ptr_equal(got.e_dev, plain.e);
}

/* The default configs of all sizes can be launched. */
void test_default_configs(void **)
{
	static const struct uw_gpu_device devices[] = {
		{ 132, 90, 233472 }, { 108, 80, 167936 }, { 142, 89, 102400 }, { 84, 86, 102400 }, { 148, 100, 233472 },
	};
	static const uint64_t sizes[][2] = { { 4096, 4096 }, { 28672, 4096 }, { 4096, 14336 }, { 128256, 4096 }, { 64, 64 } };

	for (const struct uw_gpu_device &device : devices) {
		for (const auto &size : sizes) {
			for (uint64_t nx = 1; nx <= 8192; nx *= 2) {
				for (unsigned i = 0; i < 6; i++) {
					struct uw_gpu_gemm_config config;
					struct uw_gpu_matrix matrix = {};
					struct uw_gpu_gemm gemm;

					matrix.nrows = (uint32_t)size[0];
					matrix.ncols = (uint32_t)size[1];
					matrix.source = i / 2;
					assert_int_equal(uw_gpu_gemm_config_init(&device, size[0], size[1], nx, i % 2,
										 &config), UW_OK);
					assert_int_equal(uw_gpu_gemm_init(&device, &config, &matrix, 1, NULL, nx, 0,
									  &gemm), UW_OK);
					assert_true(i % 2 == 0 || (config.parts != 0 && config.tile_n == 64));
				}
			}
		}
	}
}

} // namespace

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_shapes, seed),
		cmocka_unit_test_setup(test_large_tiles, seed),
		cmocka_unit_test_setup(test_patches, seed),
		cmocka_unit_test_setup(test_odd_values, seed),
		cmocka_unit_test_setup(test_padding, seed),
		cmocka_unit_test_setup(test_same_bits_again, seed),
		cmocka_unit_test_setup(test_batch_invariance, seed),
		cmocka_unit_test_setup(test_many_matrices, seed),
		cmocka_unit_test_setup(test_experts, seed),
		cmocka_unit_test_setup(test_row_order, seed),
		cmocka_unit_test_setup(test_gather, seed),
		cmocka_unit_test_setup(test_faults, seed),
		cmocka_unit_test_setup(test_arguments, seed),
		cmocka_unit_test_setup(test_most_tiles, seed),
		cmocka_unit_test_setup(test_copied_head, seed),
		cmocka_unit_test_setup(test_default_configs, seed),
	};

	uw_cpu_ops_init_c(&ops);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
