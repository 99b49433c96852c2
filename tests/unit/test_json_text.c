/* SPDX-License-Identifier: Apache-2.0 */
/* Which texts are JSON: ours compared with jansson's judgement, on every text and on every prefix and change of it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "json_text.h"

/* What jansson says for reasons beyond the grammar is not compared. */
static void compare(const char *text, size_t n)
{
	json_error_t why;
	json_t *value = json_loadb(text, n, JSON_ALLOW_NUL, &why);
	enum json_error_code code = value != NULL ? json_error_unknown : json_error_code(&why);
	bool beyond = code == json_error_invalid_utf8 || code == json_error_numeric_overflow;

	if (!beyond && uw_json_is_grammatical(text, n) != (value != NULL))
		fail_msg("%.*s: jansson says %s", (int)n, text, value != NULL ? "good" : why.text);
	json_decref(value);
}

static const char *const texts[] = {
	"{}", " [ ] ", "[1,-2.5e+3,0,10E-2,0.25]", "{\"a\":[true,false,null],\"b\":{\"c\":\"d\\n\\u00e9\"}}",
	"[\"\\ud83d\\ude00\\\"\\/\\b\"]", "\t{ \"x\" : 1 , \"y\" : [ [ ] , { } ] }\r\n",
	"[01]", "[1.]", "[.5]", "[+1]", "[1e]", "[-]", "[\"\\ud83d\"]", "[\"\\udc00\"]", "[\"\\ud83dx\\ude00\"]", "[\"\\x\"]",
	"[1,]", "[,1]", "{\"a\"}", "{\"a\":}", "{a:1}", "{\"a\":1,}", "[1 2]", "[] []", "1", "\"a\"", "null", "", " ",
	"[tru]", "[nul]", "[NaN]", "[\"\t\"]", "[\"\\u12g4\"]", "[\"\\ud83d\\u0041\"]", "[1}", "{]",
};

static void agrees_with_jansson(void **state)
{
	static const char letters[] = "{}[],:\"\\u0019e.-+tn \x01";

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
		size_t n = strlen(texts[i]);
		char *copy = strdup(texts[i]);

		assert_non_null(copy);
		for (size_t k = 0; k <= n; k++)
			compare(texts[i], k);
		for (size_t k = 0; k < n; k++) {
			for (size_t c = 0; c + 1 < sizeof(letters); c++) {
				copy[k] = letters[c];
				compare(copy, n);
			}
			copy[k] = texts[i][k];
		}
		free(copy);
	}
}

static void deep(size_t n, bool good)
{
	char *text = malloc(2 * n);

	assert_non_null(text);
	memset(text, '[', n);
	memset(text + n, ']', n);
	assert_int_equal(uw_json_is_grammatical(text, 2 * n), good);
	free(text);
}

static void depth_is_bounded(void **state)
{
	deep(1, true);
	deep(2048, true);
	deep(2049, false);
	deep(1 << 20, false);
}

static void failures_have_their_status(void **state)
{
	struct uw_error err;
	json_t *value;

	assert_int_equal(uw_json_load("[1]", 3, 0, UW_ERR_FORMAT, "text", 0, &value, &err), UW_OK);
	json_decref(value);
	assert_int_equal(uw_json_load("[1,]", 4, 0, UW_ERR_FORMAT, "text", 100, &value, &err), UW_ERR_FORMAT);
	assert_null(value);
	assert_true(err.file_off >= 100 && err.file_off <= 104);
	assert_int_equal(uw_json_load("\"a\"", 3, 0, UW_ERR_LAYOUT, "text", 0, &value, &err), UW_ERR_LAYOUT);
	assert_int_equal(uw_json_load("{\"a\":1,\"a\":1}", 13, JSON_REJECT_DUPLICATES, UW_ERR_FORMAT, "text", 0, &value,
				      &err), UW_ERR_FORMAT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(agrees_with_jansson),
		cmocka_unit_test(depth_is_bounded),
		cmocka_unit_test(failures_have_their_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
