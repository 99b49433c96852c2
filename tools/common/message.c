/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people: escaping, sizes, and messages on stderr, each written in one piece. */
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "message.h"

static const char *tool_name = "unweight";
static int tool_verbosity;
static bool as_json;

static pthread_mutex_t stderr_lock = PTHREAD_MUTEX_INITIALIZER;
static bool bar_shown;

void uw_message_setup(const char *name, int verbosity)
{
	tool_name = name;
	tool_verbosity = verbosity;
}

const char *uw_message_tool(void)
{
	return tool_name;
}

void uw_message_use_json(bool json)
{
	as_json = json;
}

int uw_message_verbosity(void)
{
	return tool_verbosity;
}

void uw_message_write(const char *text, size_t nbytes, bool bar)
{
	pthread_mutex_lock(&stderr_lock);
	if (bar_shown)
		fputs("\r\033[K", stderr);
	fwrite(text, 1, nbytes, stderr);
	fflush(stderr);
	bar_shown = bar;
	pthread_mutex_unlock(&stderr_lock);
}

/* Length of the UTF-8 character at s, 0 if there is none: no overlong forms, surrogates or values above U+10FFFF. */
static size_t utf8_decode(const unsigned char *s, size_t n, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t len = s[0] < 0x80 ? 1 : s[0] < 0xC2 ? 0 : s[0] < 0xE0 ? 2 : s[0] < 0xF0 ? 3 : s[0] < 0xF5 ? 4 : 0;
	uint32_t c;

	if (len == 0 || len > n)
		return 0;
	c = len == 1 ? s[0] : s[0] & (0x7Fu >> len);
	for (size_t i = 1; i < len; i++) {
		if ((s[i] & 0xC0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3F);
	}
	if (c < least[len] || c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF))
		return 0;
	*code = c;
	return len;
}

/* Controls, and what changes the order or lines of the text around it. */
static bool is_printable(uint32_t c)
{
	if (c < 0x20 || (c >= 0x7F && c <= 0x9F))
		return false;
	if (c == 0x061C || c == 0x200E || c == 0x200F) /* marks of direction */
		return false;
	return !(c >= 0x2028 && c <= 0x202E) && !(c >= 0x2066 && c <= 0x2069); /* separators, embeddings, isolates */
}

void uw_print_escaped(FILE *f, const char *text, size_t n)
{
	const unsigned char *s = (const unsigned char *)text;

	for (size_t i = 0; i < n;) {
		uint32_t code = 0;
		size_t len = utf8_decode(s + i, n - i, &code);

		if (len != 0 && is_printable(code)) {
			fwrite(s + i, 1, len, f);
			i += len;
			continue;
		}
		for (size_t end = i + (len != 0 ? len : 1); i < end; i++)
			fprintf(f, "\\x%02X", s[i]);
	}
}

/* One character of it; gives its bytes. */
static size_t print_json_char(FILE *f, const unsigned char *s, size_t n)
{
	uint32_t code = 0;
	size_t len = utf8_decode(s, n, &code);

	if (len == 0) {
		fprintf(f, "\\\\x%02X", s[0]);
		return 1;
	}
	if (!is_printable(code))
		fprintf(f, "\\u%04x", (unsigned)code); /* these are all below U+10000 */
	else if (code == '"' || code == '\\')
		fprintf(f, "\\%c", s[0]);
	else
		fwrite(s, 1, len, f);
	return len;
}

void uw_print_json_string(FILE *f, const char *text)
{
	size_t n = strlen(text);

	fputc('"', f);
	for (size_t i = 0; i < n;)
		i += print_json_char(f, (const unsigned char *)text + i, n - i);
	fputc('"', f);
}

static void print_message(FILE *f, const char *level, const char *text)
{
	if (as_json) {
		fprintf(f, "{\"event\":\"message\",\"level\":\"%s\",\"text\":", level);
		uw_print_json_string(f, text);
		fputs("}\n", f);
		return;
	}
	fprintf(f, "%s: ", tool_name);
	uw_print_escaped(f, text, strlen(text));
	fputc('\n', f);
}

/* Through memory, because stderr has no buffer: lines of several threads must not mix. */
static void UW_PRINTF(2, 0) say(const char *level, const char *fmt, va_list args)
{
	char *text = NULL, *line = NULL;
	size_t line_nbytes = 0;
	int n = vasprintf(&text, fmt, args);
	FILE *f = n < 0 ? NULL : open_memstream(&line, &line_nbytes);

	if (f != NULL) {
		print_message(f, level, text);
		if (fclose(f) == 0)
			uw_message_write(line, line_nbytes, false);
		free(line);
	}
	if (n >= 0)
		free(text);
}

void uw_msg_error(const char *fmt, ...)
{
	va_list args;

	if (tool_verbosity < -1)
		return;
	va_start(args, fmt);
	say("error", fmt, args);
	va_end(args);
}

void uw_msg_warn(const char *fmt, ...)
{
	va_list args;

	if (tool_verbosity < 0)
		return;
	va_start(args, fmt);
	say("warning", fmt, args);
	va_end(args);
}

void uw_msg_info(const char *fmt, ...)
{
	va_list args;

	if (tool_verbosity < 1)
		return;
	va_start(args, fmt);
	say("info", fmt, args);
	va_end(args);
}

enum uw_exit uw_msg_failure(const char *path, const struct uw_error *err)
{
	const char *what = err->what[0] != '\0' ? err->what : uw_status_text(err->status);
	char offset[48] = "";

	if (err->file_off != UW_NO_OFFSET)
		snprintf(offset, sizeof(offset), ", at offset %llu", (unsigned long long)err->file_off);
	uw_msg_error("%s%s%s%s%s%s", path != NULL ? path : "", path != NULL ? ": " : "", what,
		     err->os_errno != 0 ? ": " : "", err->os_errno != 0 ? strerror(err->os_errno) : "", offset);
	return uw_exit_of_status(err->status);
}

const char *uw_human_size(uint64_t nbytes, char buf[32])
{
	static const char units[] = "KMGTPE";
	double value = (double)nbytes / 1024;
	size_t unit = 0;

	if (nbytes < 1024) {
		snprintf(buf, 32, "%u B", (unsigned)nbytes);
		return buf;
	}
	for (; value >= 1023.995; unit++) /* what %.2f would round up to 1024.00 */
		value /= 1024;
	snprintf(buf, 32, "%.2f %ciB", value, units[unit]);
	return buf;
}
