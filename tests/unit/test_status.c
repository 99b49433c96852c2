/* SPDX-License-Identifier: Apache-2.0 */
/* Statuses: each has a text of its own; which errno means which. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "unweight/status.h"

static void texts_differ(void **state)
{
	const char *unknown = uw_status_text((enum uw_status)9999);
	int n = 0;

	for (int a = -100; a < 300; a++) {
		const char *text = uw_status_text((enum uw_status)a);

		assert_non_null(text);
		if (text == unknown)
			continue;
		n++;
		for (int b = -100; b < a; b++)
			assert_string_not_equal(text, uw_status_text((enum uw_status)b));
	}
	assert_int_equal(n, 27);
}

static void errno_has_a_status(void **state)
{
	static const struct {
		int os_errno;
		enum uw_status status;
	} cases[] = {
		{ ENOSPC, UW_ERR_NOSPACE },  { EDQUOT, UW_ERR_NOSPACE },   { EFBIG, UW_ERR_NOSPACE },
		{ ENOMEM, UW_ERR_NOMEM },    { ENOENT, UW_ERR_NOT_FOUND }, { ENOTDIR, UW_ERR_NOT_FOUND },
		{ EEXIST, UW_ERR_EXISTS },   { ENOTEMPTY, UW_ERR_EXISTS }, { EIO, UW_ERR_IO },
		{ EACCES, UW_ERR_IO },       { ECANCELED, UW_ERR_CANCELLED },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct uw_error err;

		assert_int_equal(uw_fail_errno(&err, cases[i].os_errno, "file %d", 7), cases[i].status);
		assert_int_equal(err.status, cases[i].status);
		assert_int_equal(err.os_errno, cases[i].os_errno);
		assert_true(err.file_off == UW_NO_OFFSET);
		assert_string_equal(err.what, "file 7");
		assert_int_equal(uw_fail_errno(NULL, cases[i].os_errno, "no one listens"), cases[i].status);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts_differ),
		cmocka_unit_test(errno_has_a_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
