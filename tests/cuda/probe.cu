/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Not to run: gate.py counts the instructions. Each kernel does to one lane's share of a tile, 32 weights, what its
 * name says, between loads and stores; `nothing` has the same loads and stores alone.
 */
#include "decode.cuh"

struct plane_words {
	struct uw_vec4 v[8];
};

template <class Work> UW_DEVICE void around(const struct plane_words *in, struct plane_words *out, Work work)
{
	struct plane_words x, y = {};

	for (uint32_t i = 0; i < 8; i++)
		x.v[i] = uw_load_global_once(&in[threadIdx.x].v[i]);
	work(x, &y);
	for (uint32_t i = 0; i < 8; i++)
		uw_store_global_vec4(&out[threadIdx.x].v[i], y.v[i]);
}

#define PROBE(name) \
	extern "C" __global__ void probe_##name(const struct plane_words *in, struct plane_words *out, uint32_t p0, \
						uint32_t p1)

PROBE(nothing)
{
	around(in, out, [&](const struct plane_words &x, struct plane_words *y) {
		*y = x;
		y->v[0].w[0] = p0;
		y->v[0].w[1] = p1;
	});
}

PROBE(fragment_p4)
{
	around(in, out, [&](const struct plane_words &x, struct plane_words *y) {
		for (uint32_t j = 0; j < 4; j++)
			uw_fragment_p4(x.v[0].w[j], x.v[1].w[j], x.v[2].w[j], p0, p1, y->v[j].w);
	});
}

PROBE(fragment_e8)
{
	around(in, out, [&](const struct plane_words &x, struct plane_words *y) {
		for (uint32_t j = 0; j < 4; j++)
			uw_fragment_e8(x.v[0].w[j], x.v[1].w[j], x.v[2].w[j], x.v[3].w[j], y->v[j].w);
	});
}

/* The entries of two steps, then of these once more in another order: 32 without so many loads. */
UW_DEVICE void entries_of(const struct plane_words &x, uint32_t j, uint32_t entry[8])
{
	for (uint32_t i = 0; i < 8; i++)
		entry[i] = x.v[2 * j + i / 4].w[i % 4];
}

PROBE(fragment_entries)
{
	around(in, out, [&](const struct plane_words &x, struct plane_words *y) {
		for (uint32_t j = 0; j < 4; j++) {
			uint32_t entry[8];

			entries_of(x, j, entry);
			uw_fragment_entries(x.v[j].w[3], x.v[j + 4].w[0], entry, y->v[j].w);
		}
	});
}

PROBE(place_nibbles)
{
	around(in, out, [&](const struct plane_words &x, struct plane_words *y) {
		for (uint32_t j = 0; j < 4; j++) {
			uint32_t entry[8];

			entries_of(x, j, entry);
			y->v[j].w[0] = uw_place_nibbles(entry);
		}
	});
}

PROBE(place_exponents)
{
	around(in, out, [&](const struct plane_words &x, struct plane_words *y) {
		for (uint32_t j = 0; j < 4; j++) {
			uint32_t entry[8];

			entries_of(x, j, entry);
			y->v[j].w[0] = uw_place_exponents(entry);
			y->v[j].w[1] = uw_place_exponents(entry + 4);
		}
	});
}

PROBE(next_entries)
{
	around(in, out, [&](const struct plane_words &x, struct plane_words *y) {
		uint32_t bit = p0;

		for (uint32_t j = 0; j < 4; j++) {
			uint32_t entry[8];

			uw_next_entries(p1, &bit, entry);
			for (uint32_t i = 0; i < 8; i++)
				y->v[2 * j + i / 4].w[i % 4] = entry[i];
		}
		y->v[7].w[3] = x.v[0].w[0];
		y->v[7].w[2] = bit;
	});
}
