/* SPDX-License-Identifier: Apache-2.0 */
#include "unweight/tuning.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "unweight/codec.h"

#define FIRST_LINE "unweight-tuning 1"
#define MAX_LINE 256u
#define MAX_ENTRIES 1000000u
#define MAX_DEVICES 255u
#define MAX_NAME 64u
#define DEVICE "device "

struct uw_tuning {
	size_t n, room;
	struct uw_tuning_entry *entries;
	size_t ndevices;
	char (*devices)[MAX_NAME];
};

/* ---- the list ---- */

static int compare_u64(uint64_t a, uint64_t b)
{
	return (a > b) - (a < b);
}

/* By device, coding, matrix, batch. */
static int compare(const struct uw_tuning_entry *a, const struct uw_tuning_entry *b)
{
	int c = compare_u64(a->device, b->device);

	c = c != 0 ? c : compare_u64(a->coding, b->coding);
	c = c != 0 ? c : compare_u64(a->nrows, b->nrows);
	c = c != 0 ? c : compare_u64(a->ncols, b->ncols);
	return c != 0 ? c : compare_u64(a->batch, b->batch);
}

/* Number of entries before `key`. */
static size_t lower_bound(const struct uw_tuning *tuning, const struct uw_tuning_entry *key)
{
	size_t begin = 0, end = tuning->n;

	while (begin < end) {
		size_t middle = begin + (end - begin) / 2;

		if (compare(&tuning->entries[middle], key) < 0)
			begin = middle + 1;
		else
			end = middle;
	}
	return begin;
}

enum uw_status uw_tuning_create(struct uw_tuning **tuning, struct uw_error *err)
{
	*tuning = calloc(1, sizeof(**tuning));
	return *tuning != NULL ? UW_OK : uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tuning");
}

void uw_tuning_free(struct uw_tuning **tuning)
{
	if (*tuning != NULL) {
		free((*tuning)->entries);
		free((*tuning)->devices);
	}
	free(*tuning);
	*tuning = NULL;
}

static enum uw_status make_room(struct uw_tuning *tuning, struct uw_error *err)
{
	size_t room = tuning->room != 0 ? 2 * tuning->room : 64;
	struct uw_tuning_entry *entries;

	if (tuning->n < tuning->room)
		return UW_OK;
	entries = tuning->n < MAX_ENTRIES ? realloc(tuning->entries, room * sizeof(*entries)) : NULL;
	if (entries == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tuning of %zu entries", tuning->n);
	tuning->entries = entries;
	tuning->room = room;
	return UW_OK;
}

/* ---- devices ---- */

const char *uw_tuning_device_name(const struct uw_tuning *tuning, uint16_t device)
{
	return device != 0 && device <= tuning->ndevices ? tuning->devices[device - 1] : NULL;
}

/* 0: there is none of that name. */
static uint16_t find_device(const struct uw_tuning *tuning, const char *name)
{
	for (size_t i = 0; i < tuning->ndevices; i++) {
		if (strcmp(tuning->devices[i], name) == 0)
			return (uint16_t)(i + 1);
	}
	return 0;
}

enum uw_status uw_tuning_device(struct uw_tuning *tuning, const char *name, uint16_t *device, struct uw_error *err)
{
	size_t n = strlen(name);
	char (*devices)[MAX_NAME];

	*device = find_device(tuning, name);
	if (*device != 0)
		return UW_OK;
	if (n == 0 || n >= MAX_NAME || strchr(name, '\n') != NULL)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "name of a device");
	devices = tuning->ndevices < MAX_DEVICES
			  ? realloc(tuning->devices, (tuning->ndevices + 1) * sizeof(*devices))
			  : NULL;
	if (devices == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tuning of %zu devices", tuning->ndevices);
	memcpy(devices[tuning->ndevices], name, n + 1);
	tuning->devices = devices;
	*device = (uint16_t)++tuning->ndevices;
	return UW_OK;
}

/* ---- entries ---- */

/* How a product is cut: none on the CPU; else all or nothing. */
static bool is_config(const struct uw_tuning_entry *e)
{
	if (e->tile_n == 0)
		return e->blocks_per_sm == 0 && e->parts == 0;
	return e->device != 0 && e->tile_n >= 8 && e->tile_n <= 256 && (e->tile_n & (e->tile_n - 1)) == 0 &&
	       (e->blocks_per_sm == 1 || e->blocks_per_sm == 2);
}

static bool is_valid(const struct uw_tuning *tuning, const struct uw_tuning_entry *e)
{
	return e->device <= tuning->ndevices && e->predicted <= 1 && is_config(e) &&
	       (e->coding == UW_CODING_H || e->coding == UW_CODING_P4) && e->pipeline != UW_PIPELINE_AUTO &&
	       e->pipeline < UW_NPIPELINES && e->batch != 0 && e->batch <= UW_LINEAR_MAX_BATCH &&
	       (e->batch & (e->batch - 1)) == 0 && e->nrows != 0 && e->ncols != 0;
}

enum uw_status uw_tuning_set(struct uw_tuning *tuning, const struct uw_tuning_entry *entry, struct uw_error *err)
{
	size_t at = lower_bound(tuning, entry);
	enum uw_status status;

	if (!is_valid(tuning, entry))
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "tuning entry");
	if (at < tuning->n && compare(&tuning->entries[at], entry) == 0) {
		tuning->entries[at] = *entry;
		return UW_OK;
	}
	status = make_room(tuning, err);
	if (status != UW_OK)
		return status;
	memmove(tuning->entries + at + 1, tuning->entries + at, (tuning->n - at) * sizeof(*tuning->entries));
	tuning->entries[at] = *entry;
	tuning->n++;
	return UW_OK;
}

size_t uw_tuning_nentries(const struct uw_tuning *tuning)
{
	return tuning->n;
}

const struct uw_tuning_entry *uw_tuning_entry(const struct uw_tuning *tuning, size_t i)
{
	return i < tuning->n ? &tuning->entries[i] : NULL;
}

static bool same_matrix(const struct uw_tuning_entry *a, const struct uw_tuning_entry *b)
{
	return a->device == b->device && a->coding == b->coding && a->nrows == b->nrows && a->ncols == b->ncols;
}

static const struct uw_tuning_entry *find(const struct uw_tuning *tuning, uint16_t device, uint8_t coding,
					  uint64_t nrows, uint64_t ncols, uint64_t batch)
{
	struct uw_tuning_entry key = {
		.coding = coding,
		.batch = (uint16_t)(batch < UW_LINEAR_MAX_BATCH ? batch : UW_LINEAR_MAX_BATCH),
		.nrows = nrows,
		.ncols = ncols,
		.device = device,
	};
	size_t at = lower_bound(tuning, &key);

	if (at < tuning->n && same_matrix(&tuning->entries[at], &key))
		return &tuning->entries[at];
	if (at > 0 && same_matrix(&tuning->entries[at - 1], &key)) /* larger than all that were measured */
		return &tuning->entries[at - 1];
	return NULL;
}

const struct uw_tuning_entry *uw_tuning_find(const struct uw_tuning *tuning, uint8_t coding, uint64_t nrows,
					     uint64_t ncols, uint64_t batch)
{
	return find(tuning, 0, coding, nrows, ncols, batch);
}

const struct uw_tuning_entry *uw_tuning_find_device(const struct uw_tuning *tuning, const char *name, uint8_t coding,
						    uint64_t nrows, uint64_t ncols, uint64_t batch)
{
	uint16_t device = find_device(tuning, name);

	return device != 0 ? find(tuning, device, coding, nrows, ncols, batch) : NULL;
}

/* ---- text ---- */

static const char *coding_name(uint8_t coding)
{
	return coding == UW_CODING_H ? "h" : "p4";
}

/* What may stand behind an entry: "predicted", "tile=8 blocks=2 parts=0". */
static bool parse_rest(const char *rest, struct uw_tuning_entry *entry)
{
	static const char predicted[] = " predicted";
	unsigned tile, blocks, parts;
	int end = 0;

	if (strncmp(rest, predicted, sizeof(predicted) - 1) == 0) {
		entry->predicted = 1;
		rest += sizeof(predicted) - 1;
	}
	if (*rest == '\0')
		return true;
	if (sscanf(rest, " tile=%3u blocks=%1u parts=%5u%n", &tile, &blocks, &parts, &end) != 3 || rest[end] != '\0' ||
	    parts > UINT16_MAX || tile == 0)
		return false;
	entry->tile_n = (uint16_t)tile;
	entry->blocks_per_sm = (uint8_t)blocks;
	entry->parts = (uint16_t)parts;
	return true;
}

static bool parse_entry(const char *line, struct uw_tuning_entry *entry)
{
	char coding[8], pipeline[16];
	enum uw_pipeline p;
	unsigned batch;
	int end = 0;

	if (sscanf(line, "%7s %" SCNu64 " %" SCNu64 " %u %15s %" SCNu64 "%n", coding, &entry->nrows, &entry->ncols,
		   &batch, pipeline, &entry->nanoseconds, &end) != 6 || strchr(line, '-') != NULL ||
	    !parse_rest(line + end, entry))
		return false;
	if (strcmp(coding, "h") != 0 && strcmp(coding, "p4") != 0)
		return false;
	if (!uw_pipeline_of_name(pipeline, &p) || batch > UW_LINEAR_MAX_BATCH)
		return false;
	entry->coding = strcmp(coding, "h") == 0 ? UW_CODING_H : UW_CODING_P4;
	entry->pipeline = (uint8_t)p;
	entry->batch = (uint16_t)batch;
	return true;
}

static enum uw_status fail_line(size_t number, struct uw_error *err)
{
	return uw_fail(err, UW_ERR_FORMAT, UW_NO_OFFSET, "tuning: line %zu", number);
}

/* *device: that of the lines before, and of those behind. */
static enum uw_status parse_line(const char *line, size_t number, struct uw_tuning *tuning, uint16_t *device,
				 struct uw_error *err)
{
	struct uw_tuning_entry entry = { .device = *device };

	if (number == 1)
		return strcmp(line, FIRST_LINE) == 0 ? UW_OK : fail_line(1, err);
	if (line[0] == '#' || line[strspn(line, " \t\r")] == '\0')
		return UW_OK;
	if (strncmp(line, DEVICE, sizeof(DEVICE) - 1) == 0)
		return uw_tuning_device(tuning, line + sizeof(DEVICE) - 1, device, NULL) == UW_OK
			       ? UW_OK
			       : fail_line(number, err);
	if (!parse_entry(line, &entry) || !is_valid(tuning, &entry))
		return fail_line(number, err);
	return uw_tuning_set(tuning, &entry, err);
}

enum uw_status uw_tuning_parse(const char *text, size_t nbytes, struct uw_tuning **tuning, struct uw_error *err)
{
	enum uw_status status = uw_tuning_create(tuning, err);
	size_t number = 0;
	uint16_t device = 0;

	if (status == UW_OK && nbytes == 0)
		status = fail_line(1, err);
	for (size_t at = 0, n; status == UW_OK && at < nbytes; at += n + 1) {
		const char *end = memchr(text + at, '\n', nbytes - at);
		char line[MAX_LINE];

		n = end != NULL ? (size_t)(end - text) - at : nbytes - at;
		number++;
		if (n >= sizeof(line) || memchr(text + at, '\0', n) != NULL) {
			status = fail_line(number, err);
			break;
		}
		memcpy(line, text + at, n);
		line[n] = '\0';
		status = parse_line(line, number, *tuning, &device, err);
	}
	if (status != UW_OK)
		uw_tuning_free(tuning);
	return status;
}

static size_t print_entry(const struct uw_tuning_entry *e, char *out, size_t room)
{
	size_t at = (size_t)snprintf(out, room, "%s %" PRIu64 " %" PRIu64 " %u %s %" PRIu64 "%s", coding_name(e->coding),
				     e->nrows, e->ncols, e->batch, uw_pipeline_name((enum uw_pipeline)e->pipeline),
				     e->nanoseconds, e->predicted ? " predicted" : "");

	if (e->tile_n != 0)
		at += (size_t)snprintf(out + at, room - at, " tile=%u blocks=%u parts=%u", e->tile_n, e->blocks_per_sm,
				       e->parts);
	return at + (size_t)snprintf(out + at, room - at, "\n");
}

enum uw_status uw_tuning_print(const struct uw_tuning *tuning, char **text, size_t *nbytes, struct uw_error *err)
{
	size_t room = sizeof(FIRST_LINE) + 1 + (tuning->n + tuning->ndevices) * MAX_LINE, at;
	uint16_t device = 0;
	char *out = malloc(room);

	if (out == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "text of a tuning");
	at = (size_t)snprintf(out, room, "%s\n", FIRST_LINE);
	for (size_t i = 0; i < tuning->n; i++) {
		const struct uw_tuning_entry *e = &tuning->entries[i];

		if (e->device != device)
			at += (size_t)snprintf(out + at, room - at, DEVICE "%s\n",
					       uw_tuning_device_name(tuning, e->device));
		device = e->device;
		at += print_entry(e, out + at, room - at);
	}
	*text = out;
	*nbytes = at;
	return UW_OK;
}
