/* SPDX-License-Identifier: Apache-2.0 */
/* Tuning files: text to list and back, what serves a batch; the planner on top of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "plan.h"
#include "unweight/tuning.h"

static struct uw_tuning *parse(const char *text)
{
	struct uw_tuning *tuning;

	assert_int_equal(uw_tuning_parse(text, strlen(text), &tuning, NULL), UW_OK);
	return tuning;
}

static void refuse(const char *text, const char *where)
{
	struct uw_tuning *tuning;
	struct uw_error err;

	assert_int_equal(uw_tuning_parse(text, strlen(text), &tuning, &err), UW_ERR_FORMAT);
	assert_non_null(strstr(err.what, where));
	assert_null(tuning);
}

static void text_comes_back(void **state)
{
	struct uw_tuning *tuning = parse("unweight-tuning 1\n"
					 "# a comment\n"
					 "\n"
					 "p4 14336 4096 16 palette 2650125\n"
					 "h 64 64 1 transcode 0\n"
					 "p4 14336 4096 1 decode 17\n"
					 "p4 14336 4096 16 raw 3\n");
	char *text;
	size_t n;

	assert_int_equal(uw_tuning_nentries(tuning), 3);
	assert_int_equal(uw_tuning_print(tuning, &text, &n, NULL), UW_OK);
	assert_int_equal(n, strlen(text));
	assert_string_equal(text, "unweight-tuning 1\n"
				  "h 64 64 1 transcode 0\n"
				  "p4 14336 4096 1 decode 17\n"
				  "p4 14336 4096 16 raw 3\n");
	free(text);
	uw_tuning_free(&tuning);
	assert_null(tuning);
}

static void devices_have_lines_of_their_own(void **state)
{
	static const char text[] = "unweight-tuning 1\n"
				   "p4 64 64 1 raw 3\n"
				   "device NVIDIA A100-SXM4-80GB\n"
				   "p4 64 64 1 palette 5 predicted\n"
				   "p4 64 64 16 decode 7 tile=16 blocks=2 parts=0\n"
				   "device NVIDIA H200\n"
				   "h 64 64 1 transcode 9 predicted tile=256 blocks=1 parts=12\n";
	struct uw_tuning *tuning = parse(text);
	const struct uw_tuning_entry *e;
	uint16_t device;
	char *out;
	size_t n;

	assert_int_equal(uw_tuning_print(tuning, &out, &n, NULL), UW_OK);
	assert_string_equal(out, text);
	free(out);
	assert_int_equal(uw_tuning_find(tuning, UW_CODING_P4, 64, 64, 1)->pipeline, UW_PIPELINE_RAW);
	assert_null(uw_tuning_find(tuning, UW_CODING_H, 64, 64, 1));
	assert_null(uw_tuning_find_device(tuning, "NVIDIA H100", UW_CODING_P4, 64, 64, 1));
	assert_null(uw_tuning_find_device(tuning, "NVIDIA H200", UW_CODING_P4, 64, 64, 1));
	e = uw_tuning_find_device(tuning, "NVIDIA A100-SXM4-80GB", UW_CODING_P4, 64, 64, 1);
	assert_true(e->pipeline == UW_PIPELINE_PALETTE && e->predicted && e->tile_n == 0);
	e = uw_tuning_find_device(tuning, "NVIDIA A100-SXM4-80GB", UW_CODING_P4, 64, 64, 2);
	assert_true(e->pipeline == UW_PIPELINE_DECODE && !e->predicted && e->tile_n == 16 && e->blocks_per_sm == 2);
	e = uw_tuning_find_device(tuning, "NVIDIA H200", UW_CODING_H, 64, 64, 4096);
	assert_true(e->predicted && e->tile_n == 256 && e->parts == 12);
	assert_string_equal(uw_tuning_device_name(tuning, 2), "NVIDIA H200");
	assert_null(uw_tuning_device_name(tuning, 0));
	assert_null(uw_tuning_device_name(tuning, 3));
	assert_int_equal(uw_tuning_device(tuning, "NVIDIA H200", &device, NULL), UW_OK);
	assert_int_equal(device, 2);
	assert_int_equal(uw_tuning_device(tuning, "", &device, NULL), UW_ERR_ARG);
	assert_int_equal(uw_tuning_device(tuning, "a\nb", &device, NULL), UW_ERR_ARG);
	uw_tuning_free(&tuning);
	refuse("unweight-tuning 1\np4 1 1 1 raw 1 tile=8 blocks=1 parts=0\n", "line 2"); /* not on a CPU */
	refuse("unweight-tuning 1\ndevice \n", "line 2");
	refuse("unweight-tuning 1\ndevice a\np4 1 1 1 raw 1 tile=9 blocks=1 parts=0\n", "line 3");
	refuse("unweight-tuning 1\ndevice a\np4 1 1 1 raw 1 tile=8 blocks=3 parts=0\n", "line 3");
	refuse("unweight-tuning 1\ndevice a\np4 1 1 1 raw 1 tile=8 blocks=1\n", "line 3");
	refuse("unweight-tuning 1\ndevice a\np4 1 1 1 raw 1 tile=8 blocks=1 parts=99999\n", "line 3");
	refuse("unweight-tuning 1\ndevice a\np4 1 1 1 raw 1 measured\n", "line 3");
}

static void last_line_may_lack_its_end(void **state)
{
	struct uw_tuning *tuning = parse("unweight-tuning 1\np4 1 1 1 raw 1");

	assert_int_equal(uw_tuning_nentries(tuning), 1);
	assert_null(uw_tuning_entry(tuning, 1));
	uw_tuning_free(&tuning);
}

static void bad_text_is_refused(void **state)
{
	char line[600];
	struct uw_tuning *tuning;

	refuse("", "line 1");
	refuse("unweight-tuning 2\n", "line 1");
	refuse("unweight-tuning 1 \n", "line 1");
	refuse("unweight-tuning 1\np4 1 1 3 raw 1\n", "line 2");          /* no power of two */
	refuse("unweight-tuning 1\np4 1 1 8192 raw 1\n", "line 2");
	refuse("unweight-tuning 1\np4 1 1 0 raw 1\n", "line 2");
	refuse("unweight-tuning 1\np4 0 1 1 raw 1\n", "line 2");
	refuse("unweight-tuning 1\np5 1 1 1 raw 1\n", "line 2");
	refuse("unweight-tuning 1\np4 1 1 1 auto 1\n", "line 2");
	refuse("unweight-tuning 1\np4 1 1 1 fast 1\n", "line 2");
	refuse("unweight-tuning 1\np4 1 1 1 raw -1\n", "line 2");
	refuse("unweight-tuning 1\np4 1 1 1 raw 1.5\n", "line 2");
	refuse("unweight-tuning 1\np4 1 1 1 raw\n", "line 2");
	refuse("unweight-tuning 1\np4 -1 1 1 raw 1\n", "line 2");
	refuse("unweight-tuning 1\n\np4 1 1 1 raw 1 more\n", "line 3");
	memset(line, 'x', sizeof(line));
	memcpy(line, "unweight-tuning 1\n#", 19);
	line[sizeof(line) - 1] = '\0';
	refuse(line, "line 2");
	assert_int_equal(uw_tuning_parse("unweight-tuning 1\n\0\n", 20, &tuning, NULL), UW_ERR_FORMAT);
}

static void batches_find_their_line(void **state)
{
	struct uw_tuning *tuning = parse("unweight-tuning 1\n"
					 "p4 100 200 2 palette 1\n"
					 "p4 100 200 64 decode 1\n"
					 "p4 100 201 1 raw 1\n");

	assert_int_equal(uw_tuning_find(tuning, UW_CODING_P4, 100, 200, 1)->pipeline, UW_PIPELINE_PALETTE);
	assert_int_equal(uw_tuning_find(tuning, UW_CODING_P4, 100, 200, 2)->pipeline, UW_PIPELINE_PALETTE);
	assert_int_equal(uw_tuning_find(tuning, UW_CODING_P4, 100, 200, 3)->pipeline, UW_PIPELINE_DECODE);
	assert_int_equal(uw_tuning_find(tuning, UW_CODING_P4, 100, 200, 64)->pipeline, UW_PIPELINE_DECODE);
	assert_int_equal(uw_tuning_find(tuning, UW_CODING_P4, 100, 200, UINT64_MAX)->pipeline, UW_PIPELINE_DECODE);
	assert_int_equal(uw_tuning_find(tuning, UW_CODING_P4, 100, 201, 4096)->pipeline, UW_PIPELINE_RAW);
	assert_null(uw_tuning_find(tuning, UW_CODING_H, 100, 200, 1));
	assert_null(uw_tuning_find(tuning, UW_CODING_P4, 99, 200, 1));
	assert_null(uw_tuning_find(tuning, UW_CODING_P4, 100, 199, 1));
	uw_tuning_free(&tuning);
}

static void the_plan_follows_options_then_tuning_then_defaults(void **state)
{
	struct uw_tuning *tuning = parse("unweight-tuning 1\nh 100 200 8 exponent 1\n");
	struct uw_linear_options forced = { .pipeline = UW_PIPELINE_RAW, .tuning = tuning };
	struct uw_linear_options tuned = { .tuning = tuning }, none = { 0 };
	struct uw_plan_key key = { UW_CODING_H, 100, 200, 3 };

	assert_int_equal(uw_plan_choose(&forced, &key), UW_PIPELINE_RAW);
	assert_int_equal(uw_plan_choose(&tuned, &key), UW_PIPELINE_EXPONENT);
	assert_int_equal(uw_plan_choose(&none, &key), UW_PIPELINE_TRANSCODE);
	key.coding = UW_CODING_P4;
	assert_int_equal(uw_plan_choose(&tuned, &key), UW_PIPELINE_PALETTE);
	uw_tuning_free(&tuning);
}

static void entries_are_checked(void **state)
{
	struct uw_tuning_entry entry = { UW_CODING_P4, UW_PIPELINE_RAW, 1, 1, 1, 1 };
	struct uw_tuning *tuning;

	assert_int_equal(uw_tuning_create(&tuning, NULL), UW_OK);
	for (uint64_t i = 300; i > 0; i--) {
		entry.nrows = i;
		assert_int_equal(uw_tuning_set(tuning, &entry, NULL), UW_OK);
	}
	assert_int_equal(uw_tuning_nentries(tuning), 300);
	for (size_t i = 0; i < 300; i++)
		assert_int_equal(uw_tuning_entry(tuning, i)->nrows, i + 1);
	entry.pipeline = UW_PIPELINE_AUTO;
	assert_int_equal(uw_tuning_set(tuning, &entry, NULL), UW_ERR_ARG);
	uw_tuning_free(&tuning);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_comes_back),
		cmocka_unit_test(devices_have_lines_of_their_own),
		cmocka_unit_test(last_line_may_lack_its_end),
		cmocka_unit_test(bad_text_is_refused),
		cmocka_unit_test(batches_find_their_line),
		cmocka_unit_test(the_plan_follows_options_then_tuning_then_defaults),
		cmocka_unit_test(entries_are_checked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
