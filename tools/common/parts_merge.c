/* SPDX-License-Identifier: Apache-2.0 */
/* How far the parts of a bundle are, and making one of them. */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle.h"
#include "each.h"
#include "parts.h"
#include "restore_model.h"
#include "source_bundle.h"
#include "text.h"

static enum uw_status fail_nomem(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "parts");
}

/* ---- looking ---- */

/* "part-I-of-N.manifest.json" as uw_part_path writes it, and nothing else. */
static bool id_of_name(const char *name, struct uw_part_id *id)
{
	char number[32], back[64];
	unsigned part, nparts;

	if (sscanf(name, "part-%5u-of-%5u.manifest.json", &part, &nparts) != 2)
		return false;
	snprintf(number, sizeof(number), "%u/%u", part, nparts);
	snprintf(back, sizeof(back), "part-%u-of-%u.manifest.json", part, nparts);
	return uw_part_parse(number, id) && strcmp(name, back) == 0;
}

static int compare_ids(const void *a, const void *b)
{
	const struct uw_part_id *x = a, *y = b;

	if (x->nparts != y->nparts)
		return x->nparts < y->nparts ? -1 : 1;
	return x->part < y->part ? -1 : x->part > y->part;
}

static enum uw_status list_ids(DIR *d, struct uw_parts_state *state, struct uw_error *err)
{
	const struct dirent *entry;
	struct uw_part_id id;

	while (errno = 0, (entry = readdir(d)) != NULL) {
		if (!id_of_name(entry->d_name, &id))
			continue;
		if ((state->nids & (state->nids + 1)) == 0) { /* grows at powers of two */
			struct uw_part_id *ids = realloc(state->ids, (size_t)(2 * state->nids + 1) * sizeof(*ids));

			if (ids == NULL)
				return fail_nomem(err);
			state->ids = ids;
		}
		state->ids[state->nids++] = id;
	}
	if (errno != 0)
		return uw_fail_errno(err, errno, "cannot list the parts");
	if (state->nids != 0)
		qsort(state->ids, (size_t)state->nids, sizeof(*state->ids), compare_ids);
	return UW_OK;
}

static enum uw_status count_stored(const struct uw_parts_dir *dir, struct uw_parts_state *state, struct uw_error *err)
{
	for (uint64_t i = 0; i < state->plan.nfiles; i++) {
		const struct uw_parts_plan_file *file = &state->plan.files[i];
		struct stat st;
		char *path;

		if (asprintf(&path, "%s/%s%s", dir->files, file->path,
			     file->kind != UW_FILE_PLAIN ? UW_CONTAINER_SUFFIX : "") < 0)
			return fail_nomem(err);
		state->nstored += lstat(path, &st) == 0 && S_ISREG(st.st_mode);
		free(path);
	}
	return UW_OK;
}

enum uw_status uw_parts_look(const struct uw_parts_dir *dir, struct uw_parts_state *state, struct uw_error *err)
{
	enum uw_status status = UW_OK;
	struct stat st;
	DIR *d;

	*state = (struct uw_parts_state){ .merged = lstat(dir->bundle, &st) == 0 };
	d = opendir(dir->work);
	if (d == NULL)
		return errno == ENOENT ? UW_OK : uw_fail_errno(err, errno, "cannot list the parts");
	status = list_ids(d, state, err);
	closedir(d);
	state->planned = status == UW_OK && access(dir->plan, F_OK) == 0;
	if (state->planned)
		status = uw_plan_load(dir->plan, &state->plan, err);
	return status == UW_OK ? count_stored(dir, state, err) : status;
}

void uw_parts_state_free(struct uw_parts_state *state)
{
	uw_plan_free(&state->plan);
	free(state->ids);
	*state = (struct uw_parts_state){ 0 };
}

/* ---- putting together ---- */

struct merge {
	const struct uw_parts_dir *dir;
	const struct uw_job *job;
	const struct uw_parts_plan *plan;
	struct uw_manifest *manifest; /* one place for each file of the plan; `path` NULL: no part had it yet */
	uint32_t *part_of;
};

static bool same_file(const struct uw_manifest_file *a, const struct uw_manifest_file *b)
{
	return a->nbytes == b->nbytes && a->executable == b->executable && a->container == b->container &&
	       memcmp(a->sha256, b->sha256, sizeof(a->sha256)) == 0 &&
	       (!a->container || (a->id.nbytes == b->id.nbytes &&
				  memcmp(a->id.index_xxh64, b->id.index_xxh64, sizeof(a->id.index_xxh64)) == 0));
}

/* `file` is the part's record of file i. */
static enum uw_status take_file(struct merge *m, uint64_t i, const struct uw_manifest_file *file, struct uw_error *err)
{
	const struct uw_parts_plan_file *planned = &m->plan->files[i];
	struct uw_manifest_file *place = &m->manifest->files[i];

	if (file->nbytes != planned->nbytes || file->executable != planned->executable ||
	    file->container != (planned->kind != UW_FILE_PLAIN))
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "'%s' is not the file that was planned", file->path);
	if (place->path != NULL)
		return same_file(place, file) ? UW_OK :
						uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET,
							"'%s' differs in another part: the source changed", file->path);
	*place = *file;
	place->path = strdup(file->path);
	return place->path != NULL ? UW_OK : fail_nomem(err);
}

/* A part has the files that are its by the plan, all of them and no others. */
static enum uw_status take_part(struct merge *m, const struct uw_part_manifest *part, struct uw_error *err)
{
	enum uw_status status = uw_plan_assign(m->plan, part->id.nparts, m->part_of, err);
	uint64_t k = 0;

	for (uint64_t i = 0; i < m->plan->nfiles && status == UW_OK; i++) {
		const char *path = m->plan->files[i].path;

		if (m->part_of[i] != part->id.part)
			continue;
		if (k == part->stored.nfiles || strcmp(part->stored.files[k].path, path) != 0)
			return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "part: '%s' is its to do, but not in it",
				       path);
		status = take_file(m, i, &part->stored.files[k++], err);
	}
	if (status == UW_OK && k != part->stored.nfiles)
		status = uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "part: '%s' is in it, but another part's",
				 part->stored.files[k].path);
	return status;
}

static enum uw_status load_part(struct merge *m, const char *path, struct uw_part_id id, struct uw_error *err)
{
	struct uw_part_manifest part = { 0 };
	char *text;
	size_t n;
	enum uw_status status = uw_text_load(path, &text, &n, err);

	if (status == UW_OK)
		status = uw_part_parse_text(text, n, m->plan, &part, err);
	if (status == UW_OK && compare_ids(&part.id, &id) != 0)
		status = uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "part: has the name of another one");
	if (status == UW_OK)
		status = take_part(m, &part, err);
	uw_manifest_free(&part.stored);
	free(text);
	return status;
}

static enum uw_status check_complete(const struct merge *m, struct uw_error *err)
{
	for (uint64_t i = 0; i < m->plan->nfiles; i++)
		if (m->manifest->files[i].path == NULL)
			return uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET,
				       "a part is missing (see --status): none has '%s'", m->plan->files[i].path);
	return UW_OK;
}

static enum uw_status load_parts(struct merge *m, const struct uw_parts_state *state, char **where,
				 struct uw_error *err)
{
	enum uw_status status = UW_OK;

	m->manifest->files = calloc((size_t)m->plan->nfiles, sizeof(*m->manifest->files));
	m->part_of = calloc((size_t)m->plan->nfiles, sizeof(*m->part_of));
	if (m->manifest->files == NULL || m->part_of == NULL)
		return fail_nomem(err);
	m->manifest->nfiles = m->plan->nfiles;
	for (uint64_t i = 0; i < state->nids && status == UW_OK; i++) {
		char *path = uw_part_path(m->dir, state->ids[i]);

		status = path != NULL ? load_part(m, path, state->ids[i], err) : fail_nomem(err);
		if (status != UW_OK)
			*where = path;
		else
			free(path);
	}
	return status == UW_OK ? check_complete(m, err) : status;
}

/* ---- the bundle ---- */

/* By its index; a plain file, which has none, by its SHA-256. */
static enum uw_status check_file(const struct merge *m, const struct uw_bundle *bundle,
				 const struct uw_manifest_file *file, struct uw_error *err)
{
	struct uw_bundle_file opened;
	enum uw_status status;

	if (!file->container)
		return uw_file_restore(bundle, file, UW_RESTORE_SHA256, m->job, NULL, err);
	status = uw_bundle_file_open(bundle, file, &opened, err);
	if (status == UW_OK)
		uw_bundle_file_close(&opened);
	return status;
}

static enum uw_status check_bundle(const struct merge *m, char **where, struct uw_error *err)
{
	struct uw_bundle bundle;
	enum uw_status status = uw_bundle_open(m->dir->files, m->job->ops, &bundle, err);

	if (status == UW_OK)
		status = uw_bundle_check_strays(&bundle, err);
	for (uint64_t i = 0; i < bundle.manifest.nfiles && status == UW_OK; i++) {
		status = check_file(m, &bundle, &bundle.manifest.files[i], err);
		if (status != UW_OK)
			*where = strdup(bundle.manifest.files[i].path);
	}
	uw_bundle_close(&bundle);
	return status;
}

/* Through a folder sink: what a killed merge leaves is beside `files`, not in it. */
static enum uw_status write_text(struct uw_sink *sink, const char *text, size_t n, struct uw_error *err)
{
	enum uw_status status = uw_sink_begin(sink, UW_MANIFEST_NAME, n, false, err);

	if (status == UW_OK)
		status = uw_sink_write(sink, text, n, err);
	if (status == UW_OK)
		status = uw_sink_end(sink, err);
	return status == UW_OK ? uw_sink_commit(sink, err) : status;
}

static enum uw_status store_manifest(const struct merge *m, struct uw_error *err)
{
	struct uw_sink *sink = NULL;
	char *text = NULL;
	size_t n;
	enum uw_status status = uw_manifest_render(m->manifest, &text, &n, err);

	if (status == UW_OK)
		status = uw_sink_open_folder(m->dir->files, UW_REPLACE_FILES, &sink, err);
	if (status == UW_OK)
		status = write_text(sink, text, n, err);
	if (sink != NULL)
		uw_sink_close(&sink);
	free(text);
	return status;
}

static enum uw_status put_together(struct merge *m, const struct uw_parts_state *state, bool replace, char **where,
				   struct uw_error *err)
{
	enum uw_status status = load_parts(m, state, where, err);

	if (status == UW_OK)
		status = store_manifest(m, err);
	if (status == UW_OK)
		status = check_bundle(m, where, err);
	if (status == UW_OK)
		status = uw_folder_adopt(m->dir->bundle, m->dir->files, replace, err);
	return status;
}

/* Of a bundle that was merged before. */
static enum uw_status read_merged(const struct merge *m, struct uw_error *err)
{
	struct uw_bundle bundle;
	enum uw_status status = uw_bundle_open(m->dir->bundle, m->job->ops, &bundle, err);

	if (status == UW_OK) {
		*m->manifest = bundle.manifest;
		bundle.manifest = (struct uw_manifest){ 0 };
	}
	uw_bundle_close(&bundle);
	return status;
}

enum uw_status uw_parts_merge(const struct uw_parts_dir *dir, const struct uw_job *job, bool replace,
			      struct uw_manifest *manifest, char **where, struct uw_error *err)
{
	struct uw_parts_state state;
	struct merge m = { .dir = dir, .job = job, .plan = &state.plan, .manifest = manifest };
	enum uw_status status = uw_parts_look(dir, &state, err);
	bool done = false;

	*where = NULL;
	*manifest = (struct uw_manifest){ .profile = state.plan.profile, .single = state.plan.single,
					  .base = state.plan.base };
	if (status == UW_OK && state.merged && access(dir->files, F_OK) != 0)
		status = uw_bundle_probe(dir->bundle, &done, err);
	if (status == UW_OK && state.merged && !done && !replace)
		status = uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "output already exists");
	else if (status == UW_OK && !state.planned && !done)
		status = uw_fail(err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "no part has been begun: there is no '%s'",
				 dir->plan);
	if (status == UW_OK)
		status = done ? read_merged(&m, err) : put_together(&m, &state, replace, where, err);
	if (status == UW_OK)
		status = uw_folder_remove(dir->work, err);
	free(m.part_of);
	uw_parts_state_free(&state);
	return status;
}
