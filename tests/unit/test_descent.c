/* SPDX-License-Identifier: Apache-2.0 */
/* Coordinate descent on times that a formula gives. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "descent.h"

#define NSITES 3u

/* What a plan takes; times pass by a clock of their own. */
struct cost {
	double each[NSITES][8]; /* of a site's candidates */
	double together;        /* saved if sites 0 and 1 both have candidate 2 */
	unsigned ncompared, nplans;
	double longest;         /* comparison that was asked for */
	double slow;            /* how many times the seconds asked for it takes; 0: as long */
	enum uw_status status;
};

static double clock_s;

static double now(void)
{
	return clock_s;
}

static double cost_of(const struct cost *c, const uint8_t *plan)
{
	double s = plan[0] == 2 && plan[1] == 2 ? -c->together : 0;

	for (unsigned i = 0; i < NSITES; i++)
		s += c->each[i][plan[i]];
	return s;
}

static enum uw_status compare(void *ctx, double seconds, const uint8_t *const *plans, size_t n,
			      struct uw_timing *timings, struct uw_error *err)
{
	struct cost *c = ctx;

	c->ncompared++;
	c->nplans += (unsigned)n;
	c->longest = seconds > c->longest ? seconds : c->longest;
	clock_s += seconds * (c->slow > 0 ? c->slow : 1);
	for (size_t i = 0; i < n; i++) {
		double s = cost_of(c, plans[i]);

		timings[i] = (struct uw_timing){ s, cost_of(c, plans[0]) / s, 3 };
	}
	return c->status;
}

static struct uw_descent descent_of(struct cost *cost, uint8_t *plan, const uint32_t *others, double seconds)
{
	return (struct uw_descent){
		.nsites = NSITES,
		.plan = plan,
		.others = others,
		.seconds = seconds,
		.compare = compare,
		.now = now,
		.ctx = cost,
	};
}

static void finds_what_is_best_together(void **state)
{
	/* candidate 2 of site 0 is worth it once site 1 has changed, which only the second sweep can tell */
	struct cost cost = { .each = { { 5, 6, 5.2 }, { 5, 9, 4.5 }, { 3, 2, 1 } }, .together = 1 };
	const uint32_t others[NSITES] = { 7, 7, 3 }; /* of site 2 the best is not to be tried */
	uint8_t plan[NSITES] = { 0, 0, 0 };
	struct uw_descent d = descent_of(&cost, plan, others, 1000);

	assert_int_equal(uw_descend(&d, NULL), UW_OK);
	assert_memory_equal(plan, ((const uint8_t[]){ 2, 2, 1 }), NSITES);
	assert_true(cost.ncompared <= 3 * 5 && cost.nplans == 2 * cost.ncompared);
}

static void needs_more_than_noise(void **state)
{
	struct cost cost = { .each = { { 5, 4.96 }, { 5, 5 }, { 5, 5 } } };
	const uint32_t others[NSITES] = { 3, 3, 0 };
	uint8_t plan[NSITES] = { 0, 0, 7 }; /* a site without a say has anything */
	struct uw_descent d = descent_of(&cost, plan, others, 1000);

	cost.each[2][7] = 5;
	assert_int_equal(uw_descend(&d, NULL), UW_OK);
	assert_memory_equal(plan, ((const uint8_t[]){ 0, 0, 7 }), NSITES);
	assert_int_equal(cost.ncompared, 2); /* one sweep that changed nothing */
}

/* Every comparison improves, so it would go on: time ends it, and enough is left for the rivals. */
static void time_ends_it(void **state)
{
	const uint32_t others[NSITES] = { 0xFF, 0xFF, 0xFF };
	uint8_t plan[NSITES] = { 0 }, rival[NSITES] = { 7, 7, 7 };
	struct uw_rival rivals[1] = { { .plan = rival, .admitted = true } };
	struct cost cost = { .slow = 4 };
	struct uw_descent d = descent_of(&cost, plan, others, 6);
	struct uw_timing found;

	for (unsigned i = 0; i < NSITES * 8; i++)
		cost.each[i / 8][i % 8] = 10 - i % 8;
	clock_s = 100;
	assert_int_equal(uw_descend(&d, NULL), UW_OK);
	assert_true(clock_s >= 103.6 && clock_s <= 103.6 + 4 * cost.longest);
	assert_true(cost.ncompared < 21);
	assert_int_equal(uw_descent_settle(&d, rivals, 1, &found, NULL), UW_OK);
	assert_true(cost.longest > 2.39 && cost.longest < 2.41);
	d.seconds = 0;
	cost.ncompared = 0;
	assert_int_equal(uw_descend(&d, NULL), UW_OK);
	assert_int_equal(cost.ncompared, 0);
}

static void rivals_that_are_the_same_are_not_timed(void **state)
{
	struct cost cost = { .each = { { 4, 2, 3 }, { 4, 2, 3 }, { 4, 2, 3 } } };
	const uint32_t others[NSITES] = { 0 };
	static const uint8_t plans[4][NSITES] = { { 0, 0, 0 }, { 1, 1, 1 }, { 2, 2, 2 }, { 0, 0, 0 } };
	struct uw_rival rivals[4];
	uint8_t plan[NSITES] = { 0 };
	struct uw_descent d = descent_of(&cost, plan, others, 1);
	struct uw_timing found;

	for (unsigned i = 0; i < 4; i++)
		rivals[i] = (struct uw_rival){ .plan = plans[i], .admitted = i != 1 };
	assert_int_equal(uw_descent_settle(&d, rivals, 4, &found, NULL), UW_OK);
	assert_int_equal(cost.nplans, 3);
	assert_memory_equal(plan, plans[2], NSITES); /* the fastest, 1, is not admitted */
	assert_true(found.seconds > 8.99 && found.seconds < 9.01);
	assert_true(rivals[0].timing.seconds > 11.99 && rivals[3].timing.seconds > 11.99);
	assert_true(rivals[0].timing.ratio > 0.74 && rivals[0].timing.ratio < 0.76); /* to what was found */
	assert_true(rivals[1].timing.ratio > 1.49 && rivals[1].timing.ratio < 1.51);
	cost.nplans = 0;
	assert_int_equal(uw_descent_settle(&d, &rivals[2], 1, &found, NULL), UW_OK);
	assert_int_equal(cost.nplans, 1); /* but what was found is: it is what the report tells */
	assert_true(rivals[2].timing.ratio > 0.999 && rivals[2].timing.ratio < 1.001);
}

static void errors_come_back(void **state)
{
	struct cost cost = { .each = { { 1, 1 }, { 1, 1 }, { 1, 1 } }, .status = UW_ERR_DEVICE };
	const uint32_t others[NSITES] = { 3, 3, 3 };
	uint8_t plan[NSITES] = { 0 };
	struct uw_descent d = descent_of(&cost, plan, others, 1);
	struct uw_timing found;

	assert_int_equal(uw_descend(&d, NULL), UW_ERR_DEVICE);
	assert_int_equal(cost.ncompared, 1);
	assert_int_equal(uw_descent_settle(&d, NULL, 0, &found, NULL), UW_ERR_DEVICE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_what_is_best_together),
		cmocka_unit_test(needs_more_than_noise),
		cmocka_unit_test(time_ends_it),
		cmocka_unit_test(rivals_that_are_the_same_are_not_timed),
		cmocka_unit_test(errors_come_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
