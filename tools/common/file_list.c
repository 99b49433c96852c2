/* SPDX-License-Identifier: Apache-2.0 */
#include "file_list.h"

#include <stdlib.h>
#include <string.h>

#include "text.h"

/* ---- reading ---- */

/* Cuts off what counts for nothing. The path ends with a NUL. */
static char *trim(char *path)
{
	size_t n;

	while (path[0] == '.' && path[1] == '/')
		for (path += 2; *path == '/'; path++)
			;
	n = strlen(path);
	while (n > 1 && path[n - 1] == '/')
		path[--n] = '\0';
	return path;
}

static enum uw_status add(struct uw_file_list *list, char *path, struct uw_error *err)
{
	size_t n = list->npaths;

	path = trim(path);
	if (path[0] == '\0')
		return UW_OK;
	if ((n & (n - 1)) == 0) {
		const char **bigger = realloc(list->paths, (n == 0 ? 1 : 2 * n) * sizeof(*bigger));

		if (bigger == NULL)
			return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "list of files");
		list->paths = bigger;
	}
	list->paths[list->npaths++] = path;
	return uw_path_check(path, strlen(path), err);
}

static int ascending(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The text ends with a NUL. */
static enum uw_status split(struct uw_file_list *list, size_t n, bool nul, struct uw_error *err)
{
	enum uw_status status = UW_OK;
	size_t from = 0, kept = 0;

	if (!nul && strlen(list->text) != n)
		return uw_fail(err, UW_ERR_PATH, UW_NO_OFFSET, "a NUL in the list: it needs --from0");
	for (size_t i = 0; i <= n && status == UW_OK; i++) {
		if (i < n && list->text[i] != (nul ? '\0' : '\n'))
			continue;
		list->text[i] = '\0';
		status = add(list, list->text + from, err);
		from = i + 1;
	}
	if (list->npaths != 0)
		qsort(list->paths, list->npaths, sizeof(*list->paths), ascending);
	for (size_t i = 0; i < list->npaths; i++)
		if (kept == 0 || strcmp(list->paths[kept - 1], list->paths[i]) != 0)
			list->paths[kept++] = list->paths[i];
	list->npaths = kept;
	return status;
}

enum uw_status uw_file_list_read(const char *from, bool nul, struct uw_file_list *list, struct uw_error *err)
{
	enum uw_status status;
	size_t n = 0;

	*list = (struct uw_file_list){ 0 };
	status = uw_text_read(from, &list->text, &n, err);
	return status == UW_OK ? split(list, n, nul, err) : status;
}

void uw_file_list_free(struct uw_file_list *list)
{
	free(list->text);
	free(list->paths);
	*list = (struct uw_file_list){ 0 };
}

/* ---- asking ---- */

/* As strcmp, for the first n bytes of `path` with `more` behind them. */
static int compare(const char *path, size_t n, const char *more, const char *other)
{
	int order = strncmp(path, other, n);

	return order != 0 ? order : strcmp(more, other + n);
}

/* Index of the first path in the list that is not below this one. */
static size_t find(const struct uw_file_list *list, const char *path, size_t n, const char *more)
{
	size_t from = 0, to = list->npaths;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (compare(path, n, more, list->paths[middle]) > 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from;
}

static bool lists(const struct uw_file_list *list, const char *path, size_t n)
{
	size_t i = find(list, path, n, "");

	return i < list->npaths && compare(path, n, "", list->paths[i]) == 0;
}

bool uw_file_list_has(const struct uw_file_list *list, const char *path)
{
	for (const char *slash = strchr(path, '/'); slash != NULL; slash = strchr(slash + 1, '/'))
		if (lists(list, path, (size_t)(slash - path)))
			return true;
	return lists(list, path, strlen(path));
}

bool uw_file_list_leads_into(const struct uw_file_list *list, const char *folder)
{
	size_t n = strlen(folder), i = find(list, folder, n, "/");

	return uw_file_list_has(list, folder) ||
	       (i < list->npaths && strncmp(list->paths[i], folder, n) == 0 && list->paths[i][n] == '/');
}

/* Is there a file of this path, or with `more` "/" one below it? */
static bool is_there(const struct uw_entry *files, size_t nfiles, const char *path, const char *more)
{
	size_t from = 0, to = nfiles, n = strlen(path);

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (compare(path, n, more, files[middle].path) > 0)
			from = middle + 1;
		else
			to = middle;
	}
	return from < nfiles && strncmp(files[from].path, path, n) == 0 && files[from].path[n] == more[0];
}

const char *uw_file_list_missing(const struct uw_file_list *list, const struct uw_entry *files, size_t nfiles)
{
	for (size_t i = 0; i < list->npaths; i++)
		if (!is_there(files, nfiles, list->paths[i], "") && !is_there(files, nfiles, list->paths[i], "/"))
			return list->paths[i];
	return NULL;
}
