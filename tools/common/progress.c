/* SPDX-License-Identifier: Apache-2.0 */
/* The progress bar: one line on a terminal, redrawn at most ten times a second; or JSON, a line a second. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "cli.h"
#include "message.h"

enum { REDRAW_MS = 100, JSON_MS = 1000, BAR_NCELLS = 20 };

enum progress_mode { PROGRESS_AUTO, PROGRESS_NONE, PROGRESS_JSON };

static enum progress_mode progress_mode;

static pthread_mutex_t progress_lock = PTHREAD_MUTEX_INITIALIZER;

static uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static bool is_set(const char *name)
{
	const char *value = getenv(name);

	return value != NULL && value[0] != '\0';
}

static bool wanted(void)
{
	const char *term = getenv("TERM");

	if (progress_mode != PROGRESS_AUTO)
		return progress_mode == PROGRESS_JSON;
	if (uw_message_verbosity() < 0 || !isatty(STDERR_FILENO) || is_set("CI") || is_set("NO_COLOR"))
		return false;
	return term != NULL && strcmp(term, "dumb") != 0;
}

/* Cuts the line to the terminal's width, between characters: a line that wraps cannot be erased. */
static size_t fit(const char *line, size_t n)
{
	struct winsize size;
	size_t ncols = 80;

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1)
		ncols = size.ws_col;
	if (n < ncols)
		return n;
	for (n = ncols - 1; n > 0 && ((unsigned char)line[n] & 0xC0) == 0x80; n--)
		;
	return n;
}

/* ---- JSON ---- */

static FILE *begin_event(const char *event, char **line, size_t *n)
{
	FILE *f = open_memstream(line, n);

	if (f != NULL)
		fprintf(f, "{\"event\":\"%s\"", event);
	return f;
}

static void end_event(FILE *f, char **line, const size_t *n)
{
	fputs("}\n", f);
	if (fclose(f) == 0)
		uw_message_write(*line, *n, false);
	free(*line);
}

static void print_total(FILE *f, uint64_t total)
{
	if (total != 0)
		fprintf(f, ",\"bytes\":%llu", (unsigned long long)total);
	else
		fputs(",\"bytes\":null", f); /* a stream: nobody knows how much there is */
}

/* "progress" or "end". */
static void tell(const struct uw_progress *p, const char *event, uint64_t now)
{
	char *line = NULL;
	size_t n = 0;
	FILE *f = begin_event(event, &line, &n);

	if (f == NULL)
		return;
	fputs(",\"job\":", f);
	uw_print_json_string(f, p->label);
	print_total(f, p->total);
	fprintf(f, ",\"done\":%llu,\"seconds\":%llu.%03u", (unsigned long long)p->done,
		(unsigned long long)((now - p->start_ms) / 1000), (unsigned)((now - p->start_ms) % 1000));
	end_event(f, &line, &n);
}

static void tell_begin(const struct uw_progress *p)
{
	char *line = NULL;
	size_t n = 0;
	FILE *f = begin_event("begin", &line, &n);

	if (f == NULL)
		return;
	fprintf(f, ",\"schema\":\"unweight-progress-1\",\"tool\":\"%s\",\"job\":", uw_message_tool());
	uw_print_json_string(f, p->label);
	print_total(f, p->total);
	end_event(f, &line, &n);
}

void uw_progress_file(const char *path, uint64_t nbytes, uint64_t stored_nbytes, const char *status)
{
	char *line = NULL;
	size_t n = 0;
	FILE *f = progress_mode == PROGRESS_JSON ? begin_event("file", &line, &n) : NULL;

	if (f == NULL)
		return;
	fputs(",\"path\":", f);
	uw_print_json_string(f, path);
	fprintf(f, ",\"bytes\":%llu", (unsigned long long)nbytes);
	if (stored_nbytes != UINT64_MAX)
		fprintf(f, ",\"stored_bytes\":%llu", (unsigned long long)stored_nbytes);
	if (status != NULL) {
		fputs(",\"status\":", f);
		uw_print_json_string(f, status);
	}
	end_event(f, &line, &n);
}

/* ---- the bar ---- */

static void draw(const struct uw_progress *p, uint64_t elapsed_ms)
{
	double part = p->total != 0 && p->done < p->total ? (double)p->done / (double)p->total : 1;
	double rate = elapsed_ms != 0 ? (double)p->done * 1000 / (double)elapsed_ms : 0;
	uint64_t left_s = rate > 0 && p->done < p->total ? (uint64_t)((double)(p->total - p->done) / rate) : 0;
	int ncells = (int)(part * BAR_NCELLS);
	char done[32], total[32], speed[32];
	char *line = NULL;
	size_t nbytes = 0;
	FILE *f = open_memstream(&line, &nbytes);

	if (f == NULL)
		return;
	uw_print_escaped(f, p->label, strlen(p->label));
	if (p->total == 0) /* a stream: nobody knows how much there is */
		fprintf(f, " %s  %s/s", uw_human_size(p->done, done), uw_human_size((uint64_t)rate, speed));
	else
		fprintf(f, " %3d%% [%.*s%*s] %s of %s  %s/s  %llu:%02u", (int)(part * 100), ncells,
			"####################", BAR_NCELLS - ncells, "", uw_human_size(p->done, done),
			uw_human_size(p->total, total), uw_human_size((uint64_t)rate, speed),
			(unsigned long long)(left_s / 60), (unsigned)(left_s % 60));
	if (fclose(f) == 0)
		uw_message_write(line, fit(line, nbytes), true);
	free(line);
}

/* ---- either ---- */

bool uw_parse_progress(const char *arg)
{
	static const char *const modes[] = { "auto", "none", "json" }; /* as enum progress_mode */

	for (int i = 0; i < 3; i++) {
		if (strcmp(arg, modes[i]) != 0)
			continue;
		progress_mode = (enum progress_mode)i;
		uw_message_use_json(progress_mode == PROGRESS_JSON);
		return true;
	}
	uw_msg_error("unknown progress '%s': it is auto, none or json", arg);
	return false;
}

void uw_progress_begin(struct uw_progress *p, const char *label, uint64_t total)
{
	uint64_t now = now_ms();

	*p = (struct uw_progress){.total = total, .label = label, .on = wanted(), .shown_ms = now, .start_ms = now};
	if (progress_mode == PROGRESS_JSON)
		tell_begin(p);
}

void uw_progress_add(struct uw_progress *p, uint64_t n)
{
	uint64_t now;

	pthread_mutex_lock(&progress_lock);
	p->done += n;
	now = p->on ? now_ms() : 0;
	if (p->on && now - p->shown_ms >= (progress_mode == PROGRESS_JSON ? JSON_MS : REDRAW_MS)) {
		p->shown_ms = now;
		if (progress_mode == PROGRESS_JSON)
			tell(p, "progress", now);
		else
			draw(p, now - p->start_ms);
	}
	pthread_mutex_unlock(&progress_lock);
}

void uw_progress_say(struct uw_progress *p, const char *text)
{
	char *line = NULL;
	size_t nbytes = 0;
	FILE *f = p->on ? open_memstream(&line, &nbytes) : NULL;

	if (f == NULL)
		return;
	uw_print_escaped(f, text, strlen(text));
	if (fclose(f) == 0)
		uw_message_write(line, fit(line, nbytes), true);
	free(line);
}

void uw_progress_end(struct uw_progress *p)
{
	if (progress_mode == PROGRESS_JSON && p->on)
		tell(p, "end", now_ms());
	else if (p->on)
		uw_message_write("", 0, false);
	p->on = false;
}
