/* SPDX-License-Identifier: Apache-2.0 */
/* What a sample says of the whole. Figures worked out by hand. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <math.h>

#include <cmocka.h>

#include "forecast.h"

/* Ten groups of 10 bytes, of which four are looked at: 6, 7, 8 and 7 bytes stored. */
static const struct uw_forecast_class four = {
	.ngroups = 10, .nbytes = 100, .nlooked = 4, .x = 40, .xx = 400, .profile[0] = { .y = 28, .xy = 280, .yy = 198 },
};

static void test_ratio(void **state)
{
	struct uw_forecast f = { .classes[UW_FORECAST_WEIGHTS] = four, .known_nbytes[0] = 5 };
	double spread;

	(void)state;
	/* the ratio is 0.7, the sum of squares beside it 2 */
	assert_true(fabs(uw_forecast_nbytes(&f, 0, &spread) - 75) < 1e-9);
	assert_true(fabs(spread - 1.96 * sqrt(100 * 0.6 / 4 * 2 / 3)) < 1e-9);
	f.classes[UW_FORECAST_BYTES] = four;
	assert_true(fabs(uw_forecast_nbytes(&f, 0, &spread) - 145) < 1e-9);
	assert_true(fabs(spread - 1.96 * sqrt(2 * 100 * 0.6 / 4 * 2 / 3)) < 1e-9);
}

static void test_all_seen(void **state)
{
	struct uw_forecast f = { .classes[UW_FORECAST_WEIGHTS] = four };
	double spread;

	(void)state;
	f.classes[UW_FORECAST_WEIGHTS].ngroups = 4;
	f.classes[UW_FORECAST_WEIGHTS].nbytes = 40;
	assert_true(fabs(uw_forecast_nbytes(&f, 0, &spread) - 28) < 1e-9);
	assert_true(spread == 0);
}

/* From one group nothing follows for the others. */
static void test_too_few(void **state)
{
	struct uw_forecast f = { .classes[UW_FORECAST_BYTES] = { .ngroups = 3, .nbytes = 30, .nlooked = 1, .x = 10, .xx = 100,
								 .profile[0] = { .y = 1, .xy = 10, .yy = 1 } } };
	double spread;

	(void)state;
	assert_true(uw_forecast_nbytes(&f, 0, &spread) == 30);
	assert_true(spread == 0);
	f.classes[UW_FORECAST_BYTES].ngroups = 1;
	f.classes[UW_FORECAST_BYTES].nbytes = 10;
	assert_true(fabs(uw_forecast_nbytes(&f, 0, &spread) - 1) < 1e-9);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_ratio), cmocka_unit_test(test_all_seen), cmocka_unit_test(test_too_few),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
