/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The decode kernels' own source under the emulator: groups that libcodec made come back bit for bit, wrong ones are
 * told as libcodec tells them, and nothing outside of a buffer is touched (buffers have their exact size: ASan sees).
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <memory>
#include <vector>

extern "C" {
#include <cmocka.h>
}

#include "decode.cuh"
#include "groups.h"

namespace {

void assert_same(const void *a, const void *b, size_t nbytes)
{
	assert_true(memcmp(a, b, nbytes) == 0);
}

/* ---- weights ---- */

uint16_t negative_zero(uint64_t)
{
	return 0x8000;
}

uint16_t nan_only(uint64_t)
{
	return (uint16_t)(bf16(255) | 0x40);
}

uint16_t sixteen_exponents(uint64_t)
{
	return bf16(112 + rng() % 16);
}

/* Lanes of different lengths, the more so the fewer exponents the first ones have: differences that need a shift. */
uint16_t four_and_sixteen(uint64_t i)
{
	return bf16(i / 8 % 32 < 16 ? 120 + rng() % 4 : 112 + rng() % 16);
}

uint16_t one_and_sixteen(uint64_t i)
{
	return bf16(i / 8 % 32 < 16 ? 120 : 112 + rng() % 16);
}

/* The last lane has all the long codes. */
uint16_t one_odd_lane(uint64_t i)
{
	unsigned lane = i / 8 % 32;

	return bf16(lane < 16 ? 120 : lane < 31 ? 121 + rng() % 2 : 108 + rng() % 12);
}

/* Another scale in every run of 24 chunks: several tables. */
uint16_t many_scales(uint64_t i)
{
	return (uint16_t)((gaussian(i) & 0x87FF) | (unsigned)(i / 196608 % 8) << 11);
}

/*
 * 16 exponents, and a hundred others in the first half of the third chunk, each too rare for the palette: 4096 patches
 * in one chunk.
 */
uint16_t crowded_chunk(uint64_t i)
{
	unsigned half = (unsigned)(i / 2);

	return bf16(i / 8192 == 2 && i % 2 == 0 ? half % 50 * 2 + half / 2 % 2 : 112 + half % 16);
}

/* `n` patches in the second chunk, spread over it; every other weight has one of two exponents. */
uint64_t patches_wanted;

uint16_t few_patches(uint64_t i)
{
	bool odd = i / 8192 == 1 && patches_wanted != 0 && i % 8192 % (8192 / patches_wanted) == 0 &&
		   i % 8192 / (8192 / patches_wanted) < patches_wanted;

	return bf16(odd ? 200 + (unsigned)(i / 8 % 20) : 112 + rng() % 16);
}

typedef uint16_t (*weight_fn)(uint64_t i);

/* ---- groups ---- */

/* A group, coded and decoded by libcodec. */
struct group {
	struct uw_shape shape;
	std::vector<uint16_t> weights;
	uint32_t ntables, npatches;
	uint32_t shifts, crowd; /* set of the chunks' shifts; most patches of a chunk */
	std::vector<uint8_t> exponents; /* plane */
	std::unique_ptr<struct buffer> h, p4; /* stored */
	struct uw_coded h_coded, p4_coded;
};

void fill_exponents(struct group *g)
{
	g->exponents = exponent_plane(g->p4_coded);
}

void look_at_words(struct group *g)
{
	g->shifts = g->crowd = 0;
	for (uint64_t c = 0; c < g->shape.nchunks; c++) {
		uint64_t word = uw_load_le64(g->h_coded.chunk_words + 8 * c);
		uint32_t end = g->npatches, n;

		if (c + 1 < g->shape.nchunks)
			end = uw_load_le64(g->h_coded.chunk_words + 8 * c + 8) >> 22 & 0xFFFFF;
		n = end - (word >> 22 & 0xFFFFF);
		g->shifts |= 1u << (word >> 57 & 7);
		g->crowd = n > g->crowd ? n : g->crowd;
	}
}

/* False: too many escapes. shuffled: rows are stored in a random order. */
bool make_group(struct group *g, enum uw_order order, uint64_t nrows, uint64_t ncols, weight_fn weight,
		bool shuffled = false)
{
	static struct uw_plan plan;
	enum uw_status status;

	if (order == UW_ORDER_TILED)
		status = uw_shape_tiled(nrows, ncols, &g->shape);
	else
		status = uw_shape_linear(nrows * ncols, &g->shape);
	assert_int_equal(status, UW_OK);
	g->weights.resize((size_t)g->shape.nweights);
	for (uint64_t i = 0; i < g->shape.nweights; i++)
		g->weights[i] = weight(i);

	buffer scratch(uw_codec_scratch_nbytes(&g->shape));
	std::vector<uint16_t> rows((size_t)(shuffled ? nrows : 0));

	for (uint32_t i = 0; i < rows.size(); i++) {
		uint32_t k = rng() % (i + 1);

		rows[i] = rows[k];
		rows[k] = (uint16_t)i;
	}
	if (uw_codec_plan_rows(&ops, &g->shape, g->weights.data(), UW_CODING_H, shuffled ? rows.data() : NULL,
			       scratch.at, &plan) != UW_OK)
		return false;
	g->ntables = plan.ntables;
	g->npatches = (uint32_t)plan.nescapes;
	g->h = encode(&g->shape, &plan, UW_CODING_H, scratch.at);
	g->p4 = encode(&g->shape, &plan, UW_CODING_P4, scratch.at);
	assert_int_equal(uw_coded_open(&g->shape, UW_CODING_H, g->ntables, g->npatches, g->h->at, g->h->nbytes,
				       &g->h_coded, NULL), UW_OK);
	assert_int_equal(uw_coded_open(&g->shape, UW_CODING_P4, g->ntables, g->npatches, g->p4->at, g->p4->nbytes,
				       &g->p4_coded, NULL), UW_OK);
	fill_exponents(g);
	look_at_words(g);
	return true;
}

/* ---- launches ---- */

size_t out_nbytes(const struct uw_shape *shape, enum uw_gpu_output output)
{
	switch (output) {
	case UW_GPU_WEIGHTS:
		return (size_t)shape->nweights * sizeof(uint16_t);
	case UW_GPU_NIBBLES:
		return (size_t)shape->ntiles * 512;
	default:
		return (size_t)shape->ntiles * 1024;
	}
}

/* A launch as a caller makes it, with the emulator in the device's place. */
struct launch {
	std::vector<struct uw_gpu_group> groups;
	std::vector<std::unique_ptr<struct buffer>> outs;
	std::vector<uint32_t> errors;
};

void run_kernel(const struct uw_gpu_decode &decode, enum uw_gpu_output output)
{
	uint32_t nbytes = uw_shared_nbytes(decode.coding, output, decode.stream_room);

	assert_true(nbytes <= 48 * 1024);
	emu_run((decode.nchunks - 1) / UW_WARPS + 1, 32 * UW_WARPS, nbytes, rng(), [&] {
		if (decode.coding == UW_CODING_P4)
			uw_warp_p4(decode);
		else if (output == UW_GPU_WEIGHTS)
			uw_warp_h<UW_GPU_WEIGHTS>(decode);
		else if (output == UW_GPU_NIBBLES)
			uw_warp_h<UW_GPU_NIBBLES>(decode);
		else
			uw_warp_h<UW_GPU_EXPONENTS>(decode);
	});
}

struct launch run(const std::vector<const struct uw_coded *> &coded, enum uw_gpu_output output, size_t shift)
{
	struct launch launch;
	struct uw_gpu_decode decode;
	uint32_t n = (uint32_t)coded.size();

	launch.groups.resize(n);
	launch.errors.resize(n);
	for (uint32_t i = 0; i < n; i++) {
		launch.outs.emplace_back(new buffer(out_nbytes(&coded[i]->shape, output), shift));
		assert_int_equal(uw_gpu_group_init(coded[i], coded[i]->head, launch.outs[i]->at, &launch.groups[i]),
				 UW_OK);
	}
	assert_int_equal(uw_gpu_decode_init(launch.groups.data(), n, launch.groups.data(), launch.errors.data(),
					    &decode), UW_OK);
	run_kernel(decode, output);
	return launch;
}

/* All kernels over all groups at once. */
void check_groups(const std::vector<struct group> &groups, size_t shift)
{
	std::vector<const struct uw_coded *> h, p4;

	for (const struct group &g : groups) {
		h.push_back(&g.h_coded);
		p4.push_back(&g.p4_coded);
	}
	struct launch weights_p4 = run(p4, UW_GPU_WEIGHTS, shift), weights_h = run(h, UW_GPU_WEIGHTS, shift);
	struct launch nibbles = run(h, UW_GPU_NIBBLES, 0), exponents = run(h, UW_GPU_EXPONENTS, 0);

	for (size_t i = 0; i < groups.size(); i++) {
		const struct group &g = groups[i];
		size_t nbytes = g.weights.size() * sizeof(uint16_t);

		assert_int_equal(weights_p4.errors[i] | weights_h.errors[i], 0);
		assert_int_equal(nibbles.errors[i] | exponents.errors[i], 0);
		assert_same(weights_p4.outs[i]->at, g.weights.data(), nbytes);
		assert_same(weights_h.outs[i]->at, g.weights.data(), nbytes);
		assert_same(nibbles.outs[i]->at, g.p4_coded.e, nibbles.outs[i]->nbytes);
		assert_same(exponents.outs[i]->at, g.exponents.data(), exponents.outs[i]->nbytes);
	}
}

struct group group_of(enum uw_order order, uint64_t nrows, uint64_t ncols, weight_fn weight)
{
	struct group g;

	assert_true(make_group(&g, order, nrows, ncols, weight));
	return g;
}

/* ---- good groups ---- */

const struct {
	enum uw_order order;
	uint64_t nrows, ncols;
} sizes[] = {
	{ UW_ORDER_LINEAR, 1, 1 },    { UW_ORDER_LINEAR, 1, 7 },    { UW_ORDER_LINEAR, 1, 8 },
	{ UW_ORDER_LINEAR, 1, 65 },   { UW_ORDER_LINEAR, 1, 1023 }, { UW_ORDER_LINEAR, 1, 1024 },
	{ UW_ORDER_LINEAR, 1, 1025 }, { UW_ORDER_LINEAR, 1, 8191 }, { UW_ORDER_LINEAR, 1, 8192 },
	{ UW_ORDER_LINEAR, 1, 8193 }, { UW_ORDER_LINEAR, 1, 30000 },
	{ UW_ORDER_TILED, 1, 1 },     { UW_ORDER_TILED, 1, 1000 },  { UW_ORDER_TILED, 300, 1 },
	{ UW_ORDER_TILED, 15, 63 },   { UW_ORDER_TILED, 16, 64 },   { UW_ORDER_TILED, 17, 65 },
	{ UW_ORDER_TILED, 64, 64 },   { UW_ORDER_TILED, 65, 129 },  { UW_ORDER_TILED, 80, 192 },
	{ UW_ORDER_TILED, 33, 72 },   { UW_ORDER_TILED, 128, 200 }, { UW_ORDER_TILED, 200, 136 },
};

const weight_fn kinds[] = { gaussian, gaussian_with_escapes, negative_zero, nan_only, sixteen_exponents };

/* All sizes in one launch, both orders beside each other; then with rows that are not aligned. */
void test_sizes_and_distributions(void **)
{
	for (weight_fn weight : kinds) {
		std::vector<struct group> groups;

		for (size_t n = 0; n < COUNT(sizes); n++) {
			struct group g;

			if (make_group(&g, sizes[n].order, sizes[n].nrows, sizes[n].ncols, weight))
				groups.push_back(std::move(g));
		}
		assert_true(groups.size() >= COUNT(sizes) - 4); /* tiny ones may have too many escapes */
		check_groups(groups, 0);
		check_groups(groups, 2);
	}
}

/* Rows in an order of their own, beside groups that have none, aligned and not. */
void test_row_orders(void **)
{
	for (weight_fn weight : kinds) {
		std::vector<struct group> groups;

		for (size_t n = 0; n < COUNT(sizes); n++) {
			bool shuffled = sizes[n].order == UW_ORDER_TILED;
			struct group g;

			if (make_group(&g, sizes[n].order, sizes[n].nrows, sizes[n].ncols, weight, shuffled)) {
				assert_int_equal(g.h_coded.row_order != NULL, shuffled);
				assert_int_equal(g.p4_coded.row_order != NULL, shuffled);
				groups.push_back(std::move(g));
			}
		}
		assert_true(groups.size() >= COUNT(sizes) - 4);
		check_groups(groups, 0);
		check_groups(groups, 2);
	}
}

/* More groups than lanes, so that finding one takes two rounds; most have one chunk, some two or three. */
void test_many_groups(void **)
{
	std::vector<struct group> groups;

	for (unsigned n = 0; n < 70; n++)
		groups.push_back(group_of(UW_ORDER_LINEAR, 1, n % 9 == 4 ? 8192u + 97 * n : 40 + n, gaussian));
	check_groups(groups, 0);
	groups.resize(33);
	check_groups(groups, 0);
	groups.resize(1);
	check_groups(groups, 0);
}

void test_patches(void **)
{
	static const struct {
		weight_fn weight;
		uint64_t wanted;
		uint32_t crowd;
	} cases[] = {
		{ few_patches, 0, 0 },  { few_patches, 1, 1 },   { few_patches, 32, 32 }, { few_patches, 33, 33 },
		{ few_patches, 64, 64 }, { few_patches, 512, 512 }, { crowded_chunk, 0, 4096 },
	};

	for (size_t n = 0; n < COUNT(cases); n++) {
		patches_wanted = cases[n].wanted;
		for (unsigned order = UW_ORDER_LINEAR; order <= UW_ORDER_TILED; order++) {
			std::vector<struct group> groups;

			/* 16 chunks; where rows are 1024 wide, a chunk of weights in order is not one of tiles */
			groups.push_back(group_of((enum uw_order)order, 128, 1024, cases[n].weight));
			if (order == UW_ORDER_LINEAR) {
				assert_int_equal(groups[0].crowd, cases[n].crowd);
				assert_int_equal(groups[0].npatches, cases[n].crowd);
			}
			check_groups(groups, 0);
		}
	}
}

void test_tables_and_shifts(void **)
{
	std::vector<struct group> groups;
	uint32_t shifts = 0;

	groups.push_back(group_of(UW_ORDER_LINEAR, 1, 120 * 8192, many_scales));
	assert_true(groups[0].ntables >= 3);
	groups.push_back(group_of(UW_ORDER_LINEAR, 1, 2 * 8192 + 900, four_and_sixteen));
	groups.push_back(group_of(UW_ORDER_LINEAR, 1, 3 * 8192 + 5000, one_and_sixteen));
	groups.push_back(group_of(UW_ORDER_LINEAR, 1, 2 * 8192, one_odd_lane));
	for (const struct group &g : groups)
		shifts |= g.shifts;
	assert_int_equal(shifts, 15);
	check_groups(groups, 0);
}

/* ---- wrong streams ---- */

/* Decodes damaged stored bytes, whose head is still good, here and there. Returns what libcodec says. */
enum uw_status check_damaged(const struct group &good, const uint8_t *stored, size_t nbytes)
{
	struct uw_coded coded;
	std::vector<uint16_t> want((size_t)good.shape.nweights);

	assert_int_equal(uw_coded_open(&good.shape, UW_CODING_H, good.ntables, good.npatches, stored, nbytes, &coded,
				       NULL), UW_OK);

	enum uw_status status = uw_coded_decode(&ops, &coded, UW_STORE_CACHED, want.data(), NULL);
	/* a good group on either side: their words stay 0, their weights right */
	std::vector<const struct uw_coded *> all = { &good.h_coded, &coded, &good.h_coded };

	for (unsigned output = UW_GPU_WEIGHTS; output <= UW_GPU_EXPONENTS; output++) {
		struct launch launch = run(all, (enum uw_gpu_output)output, 0);

		assert_int_equal(launch.errors[0] | launch.errors[2], 0);
		assert_int_equal(launch.errors[1], status == UW_OK ? 0 : UW_GPU_ERR_BITS);
		if (output == UW_GPU_WEIGHTS) {
			for (unsigned i = 0; i < 3; i += 2)
				assert_same(launch.outs[i]->at, good.weights.data(), good.weights.size() * 2);
			if (status == UW_OK)
				assert_same(launch.outs[1]->at, want.data(), want.size() * 2);
		}
	}
	return status;
}

/* The zero bits behind the last code of each chunk, in the byte where that code ends: the last of them set. */
void damage_padding(const struct group &g)
{
	const struct uw_coded &h = g.h_coded;

	for (uint64_t c = 0; c < g.shape.nchunks; c++) {
		uint64_t word = uw_load_le64(h.chunk_words + 8 * c), from = 4 * (word & 0x3FFFFF), end = 256;
		buffer wrong(g.h->nbytes);

		for (unsigned k = 0; k < 32; k++)
			end += ((word >> 42 & 0x7FF) + h.e[from + k]) << (word >> 57 & 7);
		if (end % 8 == 0)
			continue;
		memcpy(wrong.at, g.h->at, g.h->nbytes);
		wrong.at[(size_t)(h.e - h.head) + from + end / 8] |= 0x80;
		assert_int_equal(check_damaged(g, wrong.at, wrong.nbytes), UW_ERR_BITS);
	}
}

void test_damaged_streams(void **)
{
	static const struct {
		enum uw_order order;
		uint64_t nrows, ncols;
		weight_fn weight;
	} cases[] = {
		{ UW_ORDER_LINEAR, 1, 700, gaussian },
		{ UW_ORDER_LINEAR, 1, 9000, one_and_sixteen },
		{ UW_ORDER_TILED, 64, 130, gaussian_with_escapes },
	};
	unsigned nbad = 0, nok = 0;

	for (size_t n = 0; n < COUNT(cases); n++) {
		struct group g = group_of(cases[n].order, cases[n].nrows, cases[n].ncols, cases[n].weight);
		size_t e_off = (size_t)(g.h_coded.e - g.h_coded.head), e_nbytes = (size_t)g.h_coded.e_nbytes;

		damage_padding(g);
		for (unsigned round = 0; round < 60; round++) {
			buffer wrong(g.h->nbytes);
			size_t at = round < 33 ? round : rng() % e_nbytes;

			if (round >= 33 && round < 43)
				at = e_nbytes - 1 - (round - 33) * 3;

			memcpy(wrong.at, g.h->at, g.h->nbytes);
			wrong.at[e_off + at] ^= (uint8_t)(1u << rng() % 8);
			if (check_damaged(g, wrong.at, wrong.nbytes) == UW_OK)
				nok++;
			else
				nbad++;
		}
	}
	assert_true(nbad >= 100);
	print_message("%u damaged streams told, %u decode to other weights\n", nbad, nok);
}

/* Streams all of ones, of zeros and of noise; the S plane behind them too, for lanes that run on into it. */
void test_hostile_streams(void **)
{
	for (unsigned round = 0; round < 12; round++) {
		enum uw_order order = round % 2 ? UW_ORDER_TILED : UW_ORDER_LINEAR;
		struct group g = group_of(order, 16, 64u * (1 + round), gaussian);
		size_t e_off = (size_t)(g.h_coded.e - g.h_coded.head), keep = round < 6 ? e_off + 32 : e_off;
		buffer wrong(g.h->nbytes);

		memcpy(wrong.at, g.h->at, g.h->nbytes);
		for (size_t i = keep; i < wrong.nbytes; i++)
			wrong.at[i] = (uint8_t)(round % 3 == 0 ? 0xFF : round % 3 == 1 ? 0 : rng());
		if (round % 3 != 1)
			assert_int_equal(check_damaged(g, wrong.at, wrong.nbytes), UW_ERR_BITS);
		else
			(void)check_damaged(g, wrong.at, wrong.nbytes);
	}
}

/*
 * Chunk words that a head's check lets pass: starts in the wrong place or behind E, any base and shift. Streams of
 * zeros say least.
 */
void test_hostile_words(void **)
{
	struct group g = group_of(UW_ORDER_LINEAR, 1, 4 * 8192 + 100, gaussian);
	size_t words_off = (size_t)(g.h_coded.chunk_words - g.h_coded.head);

	for (unsigned round = 0; round < 60; round++) {
		buffer wrong(g.h->nbytes);
		uint64_t start = 0;

		memcpy(wrong.at, g.h->at, g.h->nbytes);
		for (uint64_t c = 0; c < g.shape.nchunks; c++) {
			uint8_t *at = wrong.at + words_off + 8 * c;
			uint64_t word = uw_load_le64(at), change = rng() % 4;

			if (c == 1 && round % 4 == 3)
				start = 20000 + rng() % 3000000; /* far outside, but not long */
			else if (c != 0)
				start += 1 + rng() % (round % 3 == 0 ? 100 : round % 3 == 1 ? 900 : 300000);
			if (round >= 20 || c != 0)
				word = (word & ~UINT64_C(0x3FFFFF)) | start;
			if (change == 0)
				word = (word & ~(UINT64_C(0x7FF) << 42)) | (uint64_t)(rng() % 2048) << 42;
			if (change == 1)
				word = (word & ~(UINT64_C(7) << 57)) | (uint64_t)(rng() % 4) << 57;
			uw_store_le64(at, word);
		}
		if (round % 5 == 0)
			memset(wrong.at + (g.h_coded.e - g.h_coded.head), 0, (size_t)g.h_coded.e_nbytes);
		assert_int_equal(check_damaged(g, wrong.at, wrong.nbytes), UW_ERR_BITS);
	}
}

/* A lane that runs as far as it can: its start at the very end of the stream, codes of 7 bits all over the S plane. */
void test_farthest_reads(void **)
{
	for (unsigned ntiles = 1; ntiles <= 8; ntiles++) {
		struct group g = group_of(UW_ORDER_LINEAR, 1, 1024 * ntiles, sixteen_exponents);
		size_t e_off = (size_t)(g.h_coded.e - g.h_coded.head);
		/*
		 * an E of 64 bytes: 32 header bytes, then lane 0 with 248 bits of zeros; all other lanes begin at its
		 * last byte
		 */
		size_t nbytes = e_off + 64 + (size_t)ntiles * 1024;
		buffer wrong(nbytes);
		uint8_t lens[8] = { 0x21, 0x43, 0x65, 0x77, 0, 0, 0, 0 };

		memcpy(wrong.at, g.h->at, e_off);
		memset(wrong.at + e_off, 0, 64);
		memset(wrong.at + e_off + 64, 0xFF, nbytes - e_off - 64);
		for (uint32_t t = 0; t < g.ntables; t++)
			memcpy(wrong.at + 16 * t + 8, lens, sizeof(lens));
		uint64_t word = uw_load_le64(g.h_coded.chunk_words);

		word &= ~(UINT64_C(0x7FF) << 42 | UINT64_C(7) << 57);
		uw_store_le64(wrong.at + (g.h_coded.chunk_words - g.h_coded.head), word);
		wrong.at[e_off] = 248;
		assert_int_equal(check_damaged(g, wrong.at, wrong.nbytes), UW_ERR_BITS);

		/* and by themselves, four warps of a block, where no larger group makes room for them */
		struct uw_coded coded;

		assert_int_equal(uw_coded_open(&g.shape, UW_CODING_H, g.ntables, g.npatches, wrong.at, wrong.nbytes,
					       &coded, NULL), UW_OK);
		/* by several seeds, as garbage in shared memory is of several kinds */
		for (unsigned round = 0; round < 6; round++) {
			struct launch launch = run({ &coded, &coded, &coded, &coded }, UW_GPU_EXPONENTS, 0);

			for (uint32_t error : launch.errors)
				assert_int_equal(error, UW_GPU_ERR_BITS);
		}
	}
}

/* ---- the host's side ---- */

void test_arguments(void **)
{
	std::vector<struct group> groups;
	struct uw_gpu_group described[2];
	struct uw_gpu_decode decode;
	alignas(16) static uint8_t device[16]; /* never looked at */

	groups.push_back(group_of(UW_ORDER_LINEAR, 1, 20000, gaussian));
	assert_int_equal(uw_gpu_group_init(&groups[0].h_coded, device + 8, device, &described[0]), UW_ERR_ARG);
	assert_int_equal(uw_gpu_group_init(&groups[0].h_coded, device, device + 1, &described[0]), UW_ERR_ARG);
	assert_int_equal(uw_gpu_group_init(&groups[0].h_coded, device, device, &described[0]), UW_OK);
	assert_int_equal(uw_gpu_group_init(&groups[0].p4_coded, device, device, &described[1]), UW_OK);
	assert_int_equal(uw_gpu_decode_init(described, 0, NULL, NULL, &decode), UW_ERR_ARG);
	assert_int_equal(uw_gpu_decode_init(described, 2, NULL, NULL, &decode), UW_ERR_ARG);
	described[1] = described[0];
	assert_int_equal(uw_gpu_decode_init(described, 2, NULL, NULL, &decode), UW_OK);
	assert_int_equal(described[1].first_chunk, 3);
	assert_int_equal(decode.nchunks, 6);
	assert_int_equal(decode.coding, UW_CODING_H);
	assert_int_equal(decode.stream_room, described[0].stream_room);
	assert_true(decode.stream_room > 2000 && decode.stream_room < 4000);
}

/* A view with its head elsewhere describes the same stored bytes. */
void test_copied_head(void **)
{
	struct group g = group_of(UW_ORDER_LINEAR, 1, 20000, gaussian_with_escapes);
	struct uw_gpu_group want, got;
	struct uw_coded copied;
	buffer head((size_t)g.h_coded.head_nbytes);

	memcpy(head.at, g.h->at, head.nbytes);
	assert_int_equal(uw_coded_open_copied(&g.shape, UW_CODING_H, g.ntables, g.npatches, head.at, g.h->at,
					      g.h->nbytes, &copied, NULL), UW_OK);
	assert_ptr_equal(copied.head, head.at);
	assert_int_equal(uw_gpu_group_init(&g.h_coded, g.h->at, NULL, &want), UW_OK);
	assert_int_equal(uw_gpu_group_init(&copied, g.h->at, NULL, &got), UW_OK);
	assert_memory_equal(&got, &want, sizeof(got));
	assert_ptr_equal(g.h->at + got.s_off, g.h_coded.s);
	assert_ptr_equal(g.h->at + got.e_off, g.h_coded.e);
}

/* Planes that cannot be stored 16 bytes at a time are refused, not written. */
void test_unaligned_planes(void **)
{
	struct group g = group_of(UW_ORDER_LINEAR, 1, 20000, gaussian);

	for (unsigned output = UW_GPU_NIBBLES; output <= UW_GPU_EXPONENTS; output++) {
		struct launch launch = run({ &g.h_coded }, (enum uw_gpu_output)output, 8);

		assert_int_equal(launch.errors[0], UW_GPU_ERR_ALIGN);
		for (size_t i = 0; i < launch.outs[0]->nbytes; i++)
			assert_int_equal(launch.outs[0]->at[i], 0xA5);
	}
}

} // namespace

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_sizes_and_distributions, seed),
		cmocka_unit_test_setup(test_row_orders, seed),
		cmocka_unit_test_setup(test_many_groups, seed),
		cmocka_unit_test_setup(test_patches, seed),
		cmocka_unit_test_setup(test_tables_and_shifts, seed),
		cmocka_unit_test_setup(test_damaged_streams, seed),
		cmocka_unit_test_setup(test_hostile_streams, seed),
		cmocka_unit_test_setup(test_hostile_words, seed),
		cmocka_unit_test_setup(test_farthest_reads, seed),
		cmocka_unit_test_setup(test_arguments, seed),
		cmocka_unit_test_setup(test_copied_head, seed),
		cmocka_unit_test_setup(test_unaligned_planes, seed),
	};

	uw_cpu_ops_init_c(&ops);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
