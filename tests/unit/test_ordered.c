/* SPDX-License-Identifier: Apache-2.0 */
/* The pipeline: every item through every stage, in order and alone there; slots are not shared; which failure counts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "ordered.h"

enum { NITEMS = 300, NSLOTS_MAX = 16, NONE = -1 };

struct probe {
	atomic_int owner[NSLOTS_MAX];        /* item + 1 in the slot, 0: free */
	atomic_int inside[UW_ORDERED_NSTAGES];
	uint64_t seen[UW_ORDERED_NSTAGES];   /* items through the stage */
	atomic_uint_fast64_t worked;
	atomic_bool broken;
	int fail_item[1 + UW_ORDERED_NSTAGES]; /* in work, in each stage; NONE: nowhere */
};

/* Now and then slow, so that items overtake each other. */
static void dawdle(uint64_t item)
{
	if (item % 7 == 0)
		usleep(200);
}

static enum uw_status result(const struct probe *p, int place, uint64_t item, struct uw_error *err)
{
	if (p->fail_item[place] != NONE && item == (uint64_t)p->fail_item[place])
		return uw_fail(err, UW_ERR_IO, item, "place %d", place);
	return UW_OK;
}

static enum uw_status work(void *ctx, unsigned slot, uint64_t item, struct uw_error *err)
{
	struct probe *p = ctx;

	if (slot >= NSLOTS_MAX || atomic_exchange(&p->owner[slot], (int)item + 1) != 0)
		p->broken = true;
	dawdle(item);
	p->worked++;
	return result(p, 0, item, err);
}

static enum uw_status stage(struct probe *p, int number, unsigned slot, uint64_t item, struct uw_error *err)
{
	if (p->inside[number]++ != 0 || p->seen[number] != item || p->owner[slot] != (int)item + 1)
		p->broken = true;
	dawdle(item + (uint64_t)number);
	p->seen[number]++;
	if (number == UW_ORDERED_NSTAGES - 1)
		p->owner[slot] = 0;
	p->inside[number]--;
	return result(p, 1 + number, item, err);
}

static enum uw_status stage_0(void *ctx, unsigned slot, uint64_t item, struct uw_error *err)
{
	return stage(ctx, 0, slot, item, err);
}

static enum uw_status stage_1(void *ctx, unsigned slot, uint64_t item, struct uw_error *err)
{
	return stage(ctx, 1, slot, item, err);
}

static enum uw_status stage_2(void *ctx, unsigned slot, uint64_t item, struct uw_error *err)
{
	return stage(ctx, 2, slot, item, err);
}

static enum uw_status run(struct probe *p, uint64_t nitems, unsigned nworkers, struct uw_error *err)
{
	struct uw_ordered job = {
		.nitems = nitems, .nworkers = nworkers, .work = work, .stage = { stage_0, stage_1, stage_2 },
		.ctx = p,
	};

	return uw_ordered_run(&job, err);
}

static enum uw_status count(void *ctx, unsigned slot, uint64_t item, struct uw_error *err)
{
	struct probe *p = ctx;

	p->worked++;
	return UW_OK;
}

static const struct probe fresh = { .fail_item = { NONE, NONE, NONE, NONE } };

static void test_all_in_order(void **state)
{
	for (unsigned nworkers = 1; nworkers <= 9; nworkers++) {
		for (uint64_t nitems = 0; nitems <= NITEMS; nitems += nitems < 5 ? 1 : 59) {
			struct probe p = fresh;

			assert_int_equal(run(&p, nitems, nworkers, NULL), UW_OK);
			assert_false(p.broken);
			assert_int_equal(p.worked, nitems);
			for (int i = 0; i < UW_ORDERED_NSTAGES; i++)
				assert_int_equal(p.seen[i], nitems);
		}
	}
}

/* With stages left out, the others see every item, and the slots come back. */
static void test_missing_stages(void **state)
{
	for (unsigned there = 0; there < 1u << UW_ORDERED_NSTAGES; there++) {
		for (unsigned nworkers = 1; nworkers <= 4; nworkers++) {
			struct probe p = fresh;
			struct uw_ordered job = { .nitems = NITEMS, .nworkers = nworkers, .work = count, .ctx = &p };

			job.stage[0] = (there & 1) != 0 ? stage_0 : NULL;
			job.stage[1] = (there & 2) != 0 ? stage_1 : NULL;
			job.stage[2] = (there & 4) != 0 ? stage_2 : NULL;
			assert_int_equal(uw_ordered_run(&job, NULL), UW_OK);
			assert_int_equal(p.worked, NITEMS);
			for (int i = 0; i < UW_ORDERED_NSTAGES; i++)
				assert_int_equal(p.seen[i], (there >> i & 1) != 0 ? NITEMS : 0);
		}
	}
}

static void test_lowest_failure(void **state)
{
	/* in work, in each stage */
	static const int fails[][1 + UW_ORDERED_NSTAGES] = {
		{ 0, NONE, NONE, NONE }, { 40, NONE, NONE, NONE }, { NONE, 40, NONE, NONE }, { NONE, NONE, 40, NONE },
		{ NONE, NONE, NONE, 40 }, { 40, 41, 42, 43 }, { 43, 42, 41, 40 }, { 41, 40, 42, 43 },
		{ NITEMS - 1, NONE, NONE, NONE }, { NONE, NONE, NONE, NITEMS - 1 },
	};

	for (size_t i = 0; i < sizeof(fails) / sizeof(fails[0]); i++) {
		for (unsigned nworkers = 1; nworkers <= 5; nworkers++) {
			struct uw_error err = { .file_off = UW_NO_OFFSET };
			struct probe p = fresh;
			uint64_t lowest = NITEMS;

			for (int place = 0; place <= UW_ORDERED_NSTAGES; place++) {
				p.fail_item[place] = fails[i][place];
				if (fails[i][place] != NONE && (uint64_t)fails[i][place] < lowest)
					lowest = (uint64_t)fails[i][place];
			}
			assert_int_equal(run(&p, NITEMS, nworkers, &err), UW_ERR_IO);
			assert_false(p.broken);
			assert_int_equal(err.file_off, lowest);
			/* those before it are through; the one itself got as far as where it failed */
			assert_int_equal(p.seen[UW_ORDERED_NSTAGES - 1],
					 lowest + (fails[i][UW_ORDERED_NSTAGES] == (int)lowest));
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_all_in_order),
		cmocka_unit_test(test_missing_stages),
		cmocka_unit_test(test_lowest_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
