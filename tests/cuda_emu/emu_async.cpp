/* SPDX-License-Identifier: Apache-2.0 */
/* Copies, barriers in shared memory, matrix instructions. */
#include <string.h>

#include <algorithm>

#include "emu.h"

namespace {

struct block &b = emu_block;

struct tensor_map {
	const uint8_t *base;
	uint64_t nrows, ncols, ld;
	uint32_t box_rows;
};

float from_bf16(uint32_t v)
{
	uint32_t word = v << 16;
	float x;

	memcpy(&x, &word, sizeof(x));
	return x;
}

/* ---- barriers ---- */

struct barrier &barrier_at(uint32_t addr)
{
	auto it = b.barriers.find(addr);

	if (it == b.barriers.end())
		emu_breach("no barrier here", addr);
	return it->second;
}

void end_phase(struct barrier *barrier)
{
	if (barrier->pending != 0 || barrier->nbytes != 0)
		return;
	barrier->phase++;
	barrier->pending = barrier->count;
}

void arrive_copy(size_t i)
{
	struct engine_copy copy = std::move(b.engine[i]);
	struct barrier &barrier = barrier_at(copy.barrier);

	b.engine.erase(b.engine.begin() + (ptrdiff_t)i);
	memcpy(b.shared.data() + (copy.addr - SHARED_BASE), copy.bytes.data(), copy.bytes.size());
	emu_engine_touch(copy.addr, (uint32_t)copy.bytes.size(), false);
	b.engine_clock++;
	barrier.clocks.seen[ENGINE] = b.engine_clock;
	barrier.nbytes -= (int64_t)copy.bytes.size();
	end_phase(&barrier);
}

void start_copy(uint32_t addr, uint32_t barrier, std::vector<uint8_t> bytes)
{
	(void)barrier_at(barrier);
	emu_engine_touch(addr, (uint32_t)bytes.size(), true);
	b.engine.push_back({ addr, barrier, std::move(bytes) });
}

/* ---- products ---- */

/* B's value in column n at k, both of the instruction: as the descriptor says, 128-byte swizzle. */
uint32_t b_addr(uint64_t desc, uint32_t n, uint32_t k)
{
	uint32_t addr = (uint32_t)(desc & 0x3FFF) << 4, stride = (uint32_t)(desc >> 32 & 0x3FFF) << 4;

	if (desc >> 62 != 1 || (desc >> 49 & 7) != 0)
		emu_breach("matrix descriptor without 128-byte swizzle", (uint32_t)(desc >> 48));
	addr += n / 8 * stride + n % 8 * 128 + 2 * k;
	return addr ^ (addr >> 7 & 7) << 4;
}

void read_b(const struct product &p, std::vector<float> *values)
{
	uint32_t ncols = 2 * p.nsums;

	values->resize(16 * ncols);
	for (uint32_t n = 0; n < ncols; n++) {
		for (uint32_t k = 0; k < 16; k++) {
			const uint8_t *at = emu_reach(b_addr(p.b, n, k), 2, false);

			(*values)[16 * n + k] = from_bf16(at[0] | (uint32_t)at[1] << 8);
		}
	}
}

/* One instruction for the 16 rows of a warp. p[l]: lane l's view. */
void execute(const struct product *const p[LANES])
{
	static std::vector<float> values;
	float a[16][16];

	for (uint32_t l = 0; l < LANES; l++) {
		if (p[l]->b != p[0]->b || p[l]->nsums != p[0]->nsums)
			emu_breach("lanes disagree about a product", l);
		for (uint32_t r = 0; r < 4; r++) {
			for (uint32_t h = 0; h < 2; h++)
				a[l / 4 + 8 * (r % 2)][2 * (l % 4) + h + 8 * (r / 2)] =
					from_bf16(p[l]->a[r] >> 16 * h & 0xFFFF);
		}
	}
	read_b(*p[0], &values);
	for (uint32_t l = 0; l < LANES; l++) {
		for (uint32_t i = 0; i < p[l]->nsums; i++) {
			uint32_t row = l / 4 + 8 * (i / 2 % 2), n = 8 * (i / 4) + 2 * (l % 4) + i % 2;
			float sum = p[l]->d[i];

			for (uint32_t k = 0; k < 16; k++)
				sum += a[row][k] * values[16 * n + k];
			p[l]->d[i] = sum;
		}
	}
}

/* All groups of the warp's lanes but the last n, when they have all come to the wait. */
void execute_groups(uint32_t n)
{
	struct fiber *lanes = &b.fibers[emu_now->thread / LANES * LANES];

	while (lanes[0].products.size() > n + 1) {
		size_t nproducts = lanes[0].products[0].size();

		for (uint32_t l = 0; l < LANES; l++) {
			if (lanes[l].products.size() != lanes[0].products.size() ||
			    lanes[l].products[0].size() != nproducts)
				emu_breach("lanes disagree about a group of products", l);
		}
		for (size_t i = 0; i < nproducts; i++) {
			const struct product *p[LANES];

			for (uint32_t l = 0; l < LANES; l++)
				p[l] = &lanes[l].products[0][i];
			execute(p);
			emu_warp().nproducts++;
		}
		for (uint32_t l = 0; l < LANES; l++)
			lanes[l].products.erase(lanes[l].products.begin());
	}
}

} // namespace

void emu_tensor_map(void *map, const void *base, uint64_t nrows, uint64_t ncols, uint64_t ld, uint32_t box_rows)
{
	struct tensor_map m = { (const uint8_t *)base, nrows, ncols, ld, box_rows };

	static_assert(sizeof(m) <= 128, "a tensor map has 128 bytes");
	memcpy(map, &m, sizeof(m));
}

bool emu_engine_run(bool one)
{
	bool had = !b.engine.empty();

	for (size_t i = b.engine.size(); i-- > 0;) {
		if (emu_random() % 4 == 0) {
			arrive_copy(i);
			one = false;
		}
	}
	if (one && !b.engine.empty())
		arrive_copy(emu_random() % b.engine.size());
	return had;
}

bool emu_barrier_passes(uint32_t addr, uint32_t parity)
{
	return (barrier_at(addr).phase & 1) != parity;
}

void emu_block_end(void)
{
	emu_now = NULL;
	if (!b.engine.empty())
		emu_breach("exit with copies of the engine under way", (uint32_t)b.engine.size());
	for (uint32_t w = 0; w < b.warps.size(); w++) {
		if (w / 4 * 4 + 3 < b.warps.size() && b.warps[w].nproducts != b.warps[w / 4 * 4].nproducts)
			emu_breach("warps of a warpgroup disagree about products", w);
	}
}

/* ---- barriers ---- */

void uw_barrier_init(uint32_t addr, uint32_t count)
{
	(void)emu_reach(addr, 8, true);
	b.barriers[addr] = { count, count, 0, 0, {} };
}

void uw_barrier_init_fence(void)
{
}

void uw_barrier_expect(uint32_t addr, uint32_t nbytes)
{
	(void)emu_reach(addr, 8, false);
	barrier_at(addr).nbytes += nbytes - (emu_fault == EMU_SHORT_EXPECT ? 16 : 0);
}

void uw_barrier_arrive(uint32_t addr)
{
	struct barrier &barrier = barrier_at(addr);
	uint32_t w = emu_now->thread / LANES;

	(void)emu_reach(addr, 8, false);
	barrier.clocks.join(emu_now->clocks);
	barrier.clocks.seen[w] = std::max(barrier.clocks.seen[w], emu_warp().barriers);
	if (barrier.pending == 0)
		emu_breach("more arrivals than the barrier counts", addr);
	barrier.pending--;
	end_phase(&barrier);
}

void uw_barrier_wait(uint32_t addr, uint32_t parity)
{
	bool multiplies = emu_now->thread < 8 * LANES;

	(void)emu_reach(addr, 8, false);
	(void)barrier_at(addr);
	if (emu_fault == (multiplies ? EMU_NO_WAIT_FULL : EMU_NO_WAIT_EMPTY))
		return;
	if (!emu_barrier_passes(addr, parity) || emu_random() % 4 == 0) {
		emu_now->wait_barrier = addr;
		emu_now->wait_parity = parity;
		emu_to_scheduler();
		emu_now->wait_barrier = 0;
	}
	emu_now->clocks.join(barrier_at(addr).clocks);
}

/* ---- copies ---- */

void uw_bulk_copy(uint32_t addr, const void *p, uint32_t nbytes, uint32_t barrier, uint64_t)
{
	const uint8_t *src = (const uint8_t *)p;

	if (addr % 16 != 0 || nbytes % 16 != 0 || (uintptr_t)src % 16 != 0 || nbytes == 0)
		emu_breach("bulk copy not aligned", nbytes);
	emu_reach_ahead(src);
	start_copy(addr, barrier, std::vector<uint8_t>(src, src + nbytes));
}

void uw_tensor_copy(uint32_t addr, const void *map, uint32_t column, uint32_t row, uint32_t barrier, uint64_t)
{
	struct tensor_map m;

	memcpy(&m, map, sizeof(m));
	emu_reach_ahead(m.base);
	if (addr % 1024 != 0)
		emu_breach("tensor copy not aligned", addr);

	std::vector<uint8_t> bytes(128 * m.box_rows);

	for (uint64_t r = 0; r < m.box_rows; r++) {
		for (uint64_t c = 0; c < 64; c++) {
			size_t at = 128 * r + 16 * (emu_fault == EMU_NO_SWIZZLE ? c / 8 : (c / 8) ^ (r & 7)) + 2 * (c % 8);

			if (row + r < m.nrows && column + c < m.ncols)
				memcpy(&bytes[at], m.base + 2 * ((row + r) * m.ld + column + c), 2);
		}
	}
	start_copy(addr, barrier, std::move(bytes));
}

void uw_tensor_map_fence(const void *)
{
}

void uw_grid_wait(void)
{
	if (emu_fault == EMU_NO_GRID_WAIT)
		return;
	emu_now->clocks.seen[AHEAD] = 1;
	emu_now->waited_ahead = true;
}

void uw_grid_let_next(void)
{
}

/* The bytes are claimed now and move at the wait: in between they are nobody's to read. */
void uw_copy_start(uint32_t addr, const struct uw_vec4 *p)
{
	memset(emu_reach(addr, sizeof(*p), true), emu_garbage, sizeof(*p));
	emu_now->copies.back().push_back({ addr, emu_aligned(p) });
}

void uw_copy_start_or_zero(uint32_t addr, const struct uw_vec4 *p, uint32_t nbytes)
{
	if (nbytes != 0) {
		uw_copy_start(addr, p);
		return;
	}
	memset(emu_reach(addr, sizeof(*p), true), emu_garbage, sizeof(*p));
	emu_now->copies.back().push_back({ addr, NULL });
}

void uw_copy_commit(void)
{
	emu_now->copies.emplace_back();
}

/* The open group counts for nothing: to wait for it, commit it. */
void emu_copy_wait_but(uint32_t n)
{
	std::vector<std::vector<struct lane_copy>> &groups = emu_now->copies;

	if (emu_fault == EMU_NO_COPY_WAIT)
		return;
	while (groups.size() > n + 1) {
		for (const struct lane_copy &copy : groups[0])
			uw_store_shared_vec4(copy.addr, copy.src ? *copy.src : uw_vec4{});
		groups.erase(groups.begin());
	}
}

void uw_copy_wait(void)
{
	uw_copy_commit();
	emu_copy_wait_but(0);
}

/* ---- matrices ---- */

struct uw_vec4 uw_ldmatrix(uint32_t addr)
{
	const struct meeting &m = emu_meet(INS_LDMATRIX, &addr, 1);
	uint32_t lane = emu_now->thread % LANES;
	struct uw_vec4 v;

	if (addr % 16 != 0)
		emu_breach("ldmatrix not aligned", addr);
	for (uint32_t i = 0; i < 4; i++)
		v.w[i] = uw_load_shared_u32(m.value[8 * i + lane / 4][0] + 4 * (lane % 4));
	return v;
}

void uw_mma(float c[4], const uint32_t a[4], uint32_t b0, uint32_t b1)
{
	uint32_t words[MEETING_WORDS] = { a[0], a[1], a[2], a[3], b0, b1 }, lane = emu_now->thread % LANES;
	const struct meeting &m = emu_meet(INS_MMA, words, MEETING_WORDS);

	for (uint32_t i = 0; i < 4; i++) {
		uint32_t row = lane / 4 + 8 * (i / 2), n = 2 * (lane % 4) + i % 2;

		for (uint32_t k = 0; k < 16; k++) {
			uint32_t q = k % 8 / 2, half = 16 * (k % 2);
			uint32_t av = m.value[4 * (row % 8) + q][row / 8 + 2 * (k / 8)] >> half & 0xFFFF;
			uint32_t bv = m.value[4 * n + q][4 + k / 8] >> half & 0xFFFF;

			c[i] += from_bf16(av) * from_bf16(bv);
		}
	}
}

void uw_wgmma_fence(void)
{
	if (emu_fault != EMU_NO_WGMMA_FENCE)
		emu_now->fenced = true;
}

void uw_wgmma_commit(void)
{
	emu_now->products.emplace_back();
	emu_now->fenced = false;
}

void emu_wgmma(float *d, uint32_t nsums, const uint32_t *a, uint64_t desc)
{
	if (!emu_now->fenced)
		emu_breach("wgmma without a fence", nsums);
	/* what it reads from shared memory has to be there now, though it is read later */
	(void)emu_reach(b_addr(desc, 0, 0), 2, false);
	(void)emu_reach(b_addr(desc, 2 * nsums - 1, 15), 2, false);
	emu_now->products.back().push_back({ d, nsums, a, desc });
}

void emu_wgmma_wait(uint32_t n)
{
	n += emu_fault == EMU_EARLY_WGMMA_WAIT;
	if (emu_fault != EMU_NO_WGMMA_WAIT)
		emu_meet(INS_WGMMA_WAIT, NULL, 0, [n] { execute_groups(n); });
}
