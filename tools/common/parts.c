/* SPDX-License-Identifier: Apache-2.0 */
/* One part of a bundle. */
#include "parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle.h"
#include "each.h"
#include "exitcode.h"
#include "restore_model.h"
#include "text.h"

static enum uw_status fail_nomem(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "parts");
}

struct part {
	const struct uw_parts_run *run;
	const struct uw_parts_dir *dir;
	struct uw_source *source;
	struct uw_parts_plan *plan;
	struct uw_part_manifest done;
};

/* ---- the folder ---- */

enum uw_status uw_parts_dir_init(struct uw_parts_dir *dir, const char *bundle, struct uw_error *err)
{
	size_t n = strlen(bundle);
	const char *base;

	*dir = (struct uw_parts_dir){ 0 };
	while (n > 1 && bundle[n - 1] == '/')
		n--;
	dir->bundle = strndup(bundle, n);
	if (dir->bundle == NULL)
		return fail_nomem(err);
	base = strrchr(dir->bundle, '/');
	base = base != NULL ? base + 1 : dir->bundle;
	if (base[0] == '\0' || strcmp(base, ".") == 0 || strcmp(base, "..") == 0)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "not a name for an output: '%s'", bundle);
	if (asprintf(&dir->work, "%s.parts", dir->bundle) < 0)
		dir->work = NULL;
	else if (asprintf(&dir->plan, "%s/plan.json", dir->work) < 0)
		dir->plan = NULL;
	else if (asprintf(&dir->files, "%s/files", dir->work) < 0)
		dir->files = NULL;
	return dir->files != NULL ? UW_OK : fail_nomem(err);
}

void uw_parts_dir_free(struct uw_parts_dir *dir)
{
	free(dir->bundle);
	free(dir->work);
	free(dir->plan);
	free(dir->files);
	*dir = (struct uw_parts_dir){ 0 };
}

static enum uw_status make_folder(const char *path, struct uw_error *err)
{
	if (mkdir(path, 0755) != 0 && errno != EEXIST)
		return uw_fail_errno(err, errno, "cannot create the folder '%s'", path);
	return UW_OK;
}

static enum uw_status make_folders(const struct uw_parts_run *run, const struct uw_parts_dir *dir, struct uw_error *err)
{
	struct stat st;
	enum uw_status status;

	if (!run->force && lstat(dir->bundle, &st) == 0)
		return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "output already exists");
	status = make_folder(dir->work, err);
	return status == UW_OK ? make_folder(dir->files, err) : status;
}

static bool is_empty(const char *folder)
{
	const struct dirent *entry;
	DIR *d = opendir(folder);
	bool empty = true;

	while (d != NULL && empty && (entry = readdir(d)) != NULL)
		empty = strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	if (d != NULL)
		closedir(d);
	return empty;
}

/* Files without the plan that they were stored by may be of other options; a container does not say. Who stores files
 * has seen the plan, and it stays: if it is not there after files are seen, it was taken away. */
static enum uw_status refuse_leftovers(const struct uw_parts_dir *dir, struct uw_error *err)
{
	if (access(dir->plan, F_OK) == 0 || is_empty(dir->files) || access(dir->plan, F_OK) == 0)
		return UW_OK;
	return uw_fail(err, UW_ERR_EXISTS, UW_NO_OFFSET, "'%s' has files of a plan that is gone: remove it to begin anew",
		       dir->work);
}

enum uw_status uw_plan_load(const char *path, struct uw_parts_plan *plan, struct uw_error *err)
{
	char *text;
	size_t n = 0;
	enum uw_status status = uw_text_load(path, &text, &n, err);

	*plan = (struct uw_parts_plan){ 0 };
	if (status == UW_OK)
		status = uw_plan_parse(text, n, plan, err);
	free(text);
	return status;
}

/* ---- the plan that all parts share ---- */

static enum uw_status other_plan(struct uw_error *err)
{
	return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET,
		       "parts were begun with another plan: the source, the options or the program differed");
}

/* Puts the plan where the other parts find it, unless one of them has done so. */
static enum uw_status publish_plan(const struct uw_parts_dir *dir, struct uw_parts_plan *plan, struct uw_error *err)
{
	struct uw_parts_plan there;
	char *text = NULL;
	size_t n;
	enum uw_status status = uw_plan_render(plan, &text, &n, err);

	if (status == UW_OK)
		status = uw_text_store(dir->plan, false, text, n, err);
	free(text);
	if (status != UW_ERR_EXISTS)
		return status;
	status = uw_plan_load(dir->plan, &there, err);
	if (status == UW_OK && strcmp(there.sha256, plan->sha256) != 0)
		status = other_plan(err);
	uw_plan_free(&there);
	return status;
}

enum uw_status uw_parts_find_plan(const struct uw_parts_dir *dir, const char *with_plan, struct uw_parts_plan *plan,
				  bool *found, char **where, struct uw_error *err)
{
	const char *from = with_plan != NULL ? with_plan : dir->plan;
	enum uw_status status = UW_OK;

	*where = NULL;
	*plan = (struct uw_parts_plan){ 0 };
	*found = with_plan != NULL || access(dir->plan, F_OK) == 0;
	if (*found)
		status = uw_plan_load(from, plan, err);
	if (status != UW_OK)
		*where = strdup(from);
	return status;
}

static enum uw_status check_plan(const struct part *p, struct uw_error *err)
{
	enum uw_profile profile = p->run->pack.profile;

	if (strcmp(p->plan->version, UW_VERSION) != 0)
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the plan was made by version %s, not " UW_VERSION,
			       p->plan->version);
	if (p->plan->profile != profile)
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the plan is for profile %s, not %s",
			       uw_profile_name(p->plan->profile), uw_profile_name(profile));
	if (!uw_bundle_base_is(p->run->pack.base, &p->plan->base))
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the plan is for another base, or for none");
	if (p->plan->single != p->source->single)
		return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "the plan is for a %s",
			       p->plan->single ? "single file" : "folder");
	return UW_OK;
}

/* ---- one file ---- */

/* A source of just the entry that another source is at. */
struct single_source {
	struct uw_source base;
	struct uw_source *of;
	const struct uw_entry *entry; /* NULL when it was given out */
};

static enum uw_status single_next(struct uw_source *source, const struct uw_entry **entry, struct uw_error *err)
{
	struct single_source *s = (struct single_source *)source;

	*entry = s->entry;
	s->entry = NULL;
	return UW_OK;
}

static enum uw_status single_open(struct uw_source *source, struct uw_blob *blob, struct uw_error *err)
{
	return uw_source_entry_open(((struct single_source *)source)->of, blob, err);
}

static enum uw_status single_unchanged(struct uw_source *source, struct uw_error *err)
{
	return uw_source_entry_unchanged(((struct single_source *)source)->of, err);
}

static const struct uw_source_ops single_ops = { single_next, single_open, single_unchanged, NULL };

/* The container's size and index hash, of whatever stands there. */
static enum uw_status identify(const struct uw_bundle *stored, const char *path, struct uw_manifest_file *file,
			       struct uw_error *err)
{
	struct uw_container container;
	struct uw_blob blob;
	int fd = openat(stored->fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
	enum uw_status status;

	if (fd < 0)
		return uw_fail_errno(err, errno, "'%s'", path);
	status = uw_blob_of_fd(&fd, &blob, err);
	if (status == UW_OK)
		status = uw_container_open(&blob, stored->ops, &container, err);
	if (status == UW_OK) {
		file->id = container.index->id;
		uw_container_close(&container);
	}
	close(fd);
	return status;
}

/* *kept: the stored file is there, whole, and restores to the source's bytes. Anything else but a failure of ours is
 * no error: it will be stored again. */
static enum uw_status try_keep(const struct part *p, const struct uw_blob *blob, const char *path,
			       struct uw_manifest_file *file, bool *kept, struct uw_error *err)
{
	struct uw_bundle stored = { .ops = p->run->pack.job.ops, .base = uw_bundle_base(p->run->pack.base) };
	struct uw_error problem = { .file_off = UW_NO_OFFSET };
	struct uw_job quiet = p->run->pack.job;
	enum uw_status status = UW_OK;
	struct stat st;

	*kept = false;
	quiet.progress = NULL; /* the restoring counts */
	stored.manifest.base = p->plan->base;
	stored.fd = open(p->dir->files, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (stored.fd < 0)
		return uw_fail_errno(err, errno, "cannot open '%s'", p->dir->files);
	if (fstatat(stored.fd, path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode) &&
	    ((st.st_mode & S_IXUSR) != 0) == file->executable) {
		status = file->container ? identify(&stored, path, file, &problem) : UW_OK;
		if (status == UW_OK)
			status = uw_blob_sha256(&quiet, blob, file->sha256, &problem);
		if (status == UW_OK)
			status = uw_file_restore(&stored, file, UW_RESTORE_SHA256, &p->run->pack.job, NULL, &problem);
		*kept = status == UW_OK;
		if (uw_exit_of_status(status) == UW_EXIT_CORRUPT || uw_exit_of_status(status) == UW_EXIT_UNSUPPORTED)
			status = UW_OK;
	}
	close(stored.fd);
	if (status != UW_OK && err != NULL)
		*err = problem;
	return status;
}

/* Goes through a folder sink of its own, which moves the file into `files` when it is whole and on the disk. */
static enum uw_status store(struct part *p, const struct uw_entry *entry, struct uw_error *err)
{
	struct single_source single = { .base = { .ops = &single_ops }, .of = p->source, .entry = entry };
	struct uw_pack_model pack = p->run->pack;
	struct uw_manifest manifest = { 0 };
	struct uw_sink *sink;
	char *where = NULL;
	enum uw_status status = uw_sink_open_folder(p->dir->files, UW_REPLACE_FILES, &sink, err);

	if (status != UW_OK)
		return status;
	pack.files_only = true;
	status = uw_model_pack(&pack, &single.base, sink, &manifest, &where, err);
	if (status == UW_OK)
		status = uw_sink_commit(sink, err);
	if (status == UW_OK)
		status = uw_manifest_add(&p->done.stored, &manifest.files[0], err);
	uw_sink_close(&sink);
	uw_manifest_free(&manifest);
	free(where);
	return status;
}

static enum uw_status do_file(struct part *p, const struct uw_parts_plan_file *planned, const struct uw_entry *entry,
			      struct uw_error *err)
{
	struct uw_manifest_file file = {
		.path = planned->path, /* copied by uw_manifest_add */
		.nbytes = planned->nbytes,
		.executable = planned->executable,
		.container = planned->kind != UW_FILE_PLAIN,
	};
	char *path = uw_manifest_stored_path(&file);
	struct uw_blob blob;
	bool kept = false;
	enum uw_status status = path == NULL ? fail_nomem(err) : uw_source_entry_open(p->source, &blob, err);

	if (status == UW_OK)
		status = uw_plan_expect_header(planned, &blob, p->run->pack.base, err);
	if (status == UW_OK)
		status = try_keep(p, &blob, path, &file, &kept, err);
	free(path);
	if (status != UW_OK)
		return status;
	if (!kept)
		return store(p, entry, err);
	status = uw_source_entry_unchanged(p->source, err);
	if (status == UW_OK && p->run->kept != NULL)
		p->run->kept(p->run->pack.ctx, &file);
	return status == UW_OK ? uw_manifest_add(&p->done.stored, &file, err) : status;
}

/* ---- the part ---- */

static enum uw_status do_files(struct part *p, char **where, struct uw_error *err)
{
	uint32_t *part_of = calloc((size_t)p->plan->nfiles + 1, sizeof(*part_of));
	const struct uw_entry *entry;
	enum uw_status status = part_of != NULL ? uw_plan_assign(p->plan, p->run->id.nparts, part_of, err) :
						  fail_nomem(err);

	for (uint64_t i = 0; status == UW_OK; i++) {
		status = uw_source_next(p->source, &entry, err);
		if (status == UW_OK)
			status = uw_plan_expect(p->plan, i, entry, err);
		if (status != UW_OK || entry == NULL)
			break;
		if (part_of[i] == p->run->id.part)
			status = do_file(p, &p->plan->files[i], entry, err);
		if (status != UW_OK)
			*where = strdup(entry->path);
	}
	free(part_of);
	return status;
}

/* What an earlier run said of this part is no longer true: nothing is to be merged with it. */
static void withdraw(const struct part *p)
{
	char *path = uw_part_path(p->dir, p->done.id);

	if (path != NULL)
		unlink(path);
	free(path);
}

static enum uw_status store_manifest(const struct part *p, struct uw_error *err)
{
	char *text = NULL, *path = uw_part_path(p->dir, p->done.id);
	size_t n;
	enum uw_status status = path == NULL ? fail_nomem(err) : uw_part_render(p->plan, &p->done, &text, &n, err);

	if (status == UW_OK)
		status = uw_text_store(path, true, text, n, err);
	free(text);
	free(path);
	return status;
}

enum uw_status uw_parts_run(const struct uw_parts_run *run, const struct uw_parts_dir *dir, struct uw_parts_plan *plan,
			    struct uw_source *source, char **where, struct uw_error *err)
{
	struct part p = { .run = run, .dir = dir, .source = source, .plan = plan, .done.id = run->id };
	enum uw_status status = check_plan(&p, err);

	*where = NULL;
	if (status == UW_OK)
		status = make_folders(run, dir, err);
	if (status == UW_OK)
		status = refuse_leftovers(dir, err);
	if (status == UW_OK)
		status = publish_plan(dir, plan, err);
	if (status == UW_OK)
		status = do_files(&p, where, err);
	if (status == UW_ERR_MISMATCH)
		withdraw(&p);
	if (status == UW_OK)
		status = store_manifest(&p, err);
	uw_manifest_free(&p.done.stored);
	return status;
}
