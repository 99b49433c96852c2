/* SPDX-License-Identifier: Apache-2.0 */
#include "json_text.h"

#include <errno.h>
#include <string.h>

#include "sha256.h"

enum { MAX_DEPTH = 2048 }; /* jansson's */

struct scan {
	const char *at, *end;
	unsigned depth;
};

static bool value(struct scan *s);

static void skip_space(struct scan *s)
{
	while (s->at != s->end && memchr(" \t\r\n", *s->at, 4) != NULL)
		s->at++;
}

static bool take(struct scan *s, char c)
{
	if (s->at == s->end || *s->at != c)
		return false;
	s->at++;
	return true;
}

static bool word(struct scan *s, const char *text)
{
	size_t n = strlen(text);

	if ((size_t)(s->end - s->at) < n || memcmp(s->at, text, n) != 0)
		return false;
	s->at += n;
	return true;
}

static size_t digits(struct scan *s)
{
	const char *start = s->at;

	while (s->at != s->end && *s->at >= '0' && *s->at <= '9')
		s->at++;
	return (size_t)(s->at - start);
}

static bool number(struct scan *s)
{
	take(s, '-');
	if (!take(s, '0') && digits(s) == 0)
		return false;
	if (take(s, '.') && digits(s) == 0)
		return false;
	if (take(s, 'e') || take(s, 'E')) {
		if (!take(s, '+'))
			take(s, '-');
		return digits(s) != 0;
	}
	return true;
}

/* The four digits behind \u; -1 if they are not there. */
static long unit(struct scan *s)
{
	long u = 0;

	if (s->end - s->at < 4)
		return -1;
	for (int i = 0; i < 4; i++) {
		static const char hex[] = "0123456789abcdef0123456789ABCDEF";
		const char *digit = memchr(hex, *s->at++, sizeof(hex) - 1);

		if (digit == NULL)
			return -1;
		u = u << 4 | ((digit - hex) & 15);
	}
	return u;
}

static bool escape(struct scan *s)
{
	long u;

	if (!take(s, 'u'))
		return s->at != s->end && memchr("\"\\/bfnrt", *s->at++, 8) != NULL;
	u = unit(s);
	if (u >= 0xD800 && u < 0xDC00) {
		u = word(s, "\\u") ? unit(s) : -1;
		return u >= 0xDC00 && u < 0xE000;
	}
	return u >= 0 && !(u >= 0xDC00 && u < 0xE000);
}

static bool string(struct scan *s)
{
	if (!take(s, '"'))
		return false;
	while (s->at != s->end && *s->at != '"') {
		unsigned char c = (unsigned char)*s->at++;

		if (c < 0x20 || (c == '\\' && !escape(s)))
			return false;
	}
	return take(s, '"');
}

static bool item(struct scan *s, bool object)
{
	skip_space(s);
	if (object) {
		if (!string(s))
			return false;
		skip_space(s);
		if (!take(s, ':'))
			return false;
	}
	return value(s);
}

static bool items(struct scan *s, bool object)
{
	char end = object ? '}' : ']';
	bool good;

	if (++s->depth > MAX_DEPTH)
		return false;
	skip_space(s);
	if (take(s, end)) {
		s->depth--;
		return true;
	}
	do
		good = item(s, object);
	while (good && take(s, ','));
	s->depth--;
	return good && take(s, end);
}

static bool value(struct scan *s)
{
	bool good;

	skip_space(s);
	if (take(s, '{'))
		good = items(s, true);
	else if (take(s, '['))
		good = items(s, false);
	else if (s->at != s->end && *s->at == '"')
		good = string(s);
	else
		good = word(s, "true") || word(s, "false") || word(s, "null") || number(s);
	skip_space(s);
	return good;
}

bool uw_json_is_grammatical(const char *text, size_t n)
{
	struct scan s = { text, text + n, 0 };

	skip_space(&s);
	return s.at != s.end && (*s.at == '{' || *s.at == '[') && value(&s) && s.at == s.end;
}

/* The complaints that jansson makes of good text too, when it gets no memory. */
static bool may_be_memory(const json_error_t *why)
{
	enum json_error_code code = json_error_code(why);

	return why->text[0] == '\0' || /* and there is no code either */ code == json_error_invalid_syntax ||
	       code == json_error_premature_end_of_input || code == json_error_end_of_input_expected;
}

enum uw_status uw_json_load(const char *text, size_t n, size_t flags, enum uw_status refused, const char *what,
			    uint64_t base, json_t **value_, struct uw_error *err)
{
	json_error_t why;

	*value_ = json_loadb(text, n, flags, &why);
	if (*value_ != NULL)
		return UW_OK;
	if (json_error_code(&why) == json_error_out_of_memory ||
	    (may_be_memory(&why) && uw_json_is_grammatical(text, n)))
		return uw_fail_errno(err, ENOMEM, "%s", what);
	return uw_fail(err, refused, base + (uint64_t)(why.position > 0 ? why.position : 0), "%s: %s", what, why.text);
}

bool uw_json_is(const json_t *v, const char *text)
{
	return json_is_string(v) && json_string_length(v) == strlen(text) && strcmp(json_string_value(v), text) == 0;
}

bool uw_json_hex(const json_t *v, uint8_t *bytes, size_t n)
{
	return json_is_string(v) && uw_unhex(json_string_value(v), json_string_length(v), bytes, n);
}

bool uw_json_u64(const json_t *v, uint64_t *out)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return false;
	*out = (uint64_t)json_integer_value(v);
	return true;
}
