/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "compress_existing.h"
#include "compress_opts.h"
#include "compress_output.h"
#include "compress_rm.h"
#include "provenance.h"
#include "source_bundle.h"

/* What is told about each file, kept for the summary and the report. */
struct account {
	json_t *files;
	uint64_t nodd;
	uint64_t src_nbytes, stored_nbytes;
	char digest[2 * UW_SHA256_NBYTES + 1]; /* of the source; empty before the end */
};

static void account_file(void *ctx, const struct uw_packed_file *packed)
{
	const struct uw_classified *c = packed->classified;
	struct account *account = ctx;
	char digest[2 * UW_SHA256_NBYTES + 1];

	if (c->odd) {
		uw_msg_warn("%s: carried whole: %s", packed->file->path, c->reason);
		account->nodd++;
	}
	uw_msg_info("%s: %llu -> %llu bytes", packed->file->path, (unsigned long long)packed->file->nbytes,
		    (unsigned long long)packed->stored_nbytes);
	uw_progress_file(packed->file->path, packed->file->nbytes, packed->stored_nbytes, NULL);
	account->src_nbytes += packed->file->nbytes;
	account->stored_nbytes += packed->stored_nbytes;
	uw_hex(packed->file->sha256, UW_SHA256_NBYTES, digest);
	json_array_append_new(account->files,
			      json_pack("{s:s, s:s, s:I, s:I, s:s, s:o?}", "path", packed->file->path, "kind",
					uw_file_kind_name(c->kind), "bytes", (json_int_t)packed->file->nbytes, "stored_bytes",
					(json_int_t)packed->stored_nbytes, "sha256", digest, "warning",
					c->odd ? uw_json_text(c->reason) : NULL));
}

static void summarise(const struct account *a)
{
	char before[32], after[32];

	uw_msg_info("%s -> %s (%.2f %%)", uw_human_size(a->src_nbytes, before), uw_human_size(a->stored_nbytes, after),
		    a->src_nbytes != 0 ? 100.0 * (double)a->stored_nbytes / (double)a->src_nbytes : 100.0);
}

/* Only --merge knows the profile from the manifest alone. */
static json_t *report(const struct uw_compress_opts *o, const struct account *a, const struct uw_manifest *manifest)
{
	enum uw_profile profile = o->parts.mode == UW_PARTS_MERGE ? manifest->profile : o->profile;

	return json_pack("{s:s, s:s, s:b, s:O, s:I, s:I, s:s?}", "schema", "unweight-compress-1", "profile",
			 uw_profile_name(profile), "checked", !o->no_check, "files", a->files, "bytes",
			 (json_int_t)a->src_nbytes, "stored_bytes", (json_int_t)a->stored_nbytes, "source_sha256",
			 a->digest[0] != '\0' ? a->digest : NULL);
}

static double saving(const struct account *a)
{
	return a->src_nbytes != 0 ? 100.0 - 100.0 * (double)a->stored_nbytes / (double)a->src_nbytes : 0;
}

/* What the caller demands of the model and the bundle, before the bundle gets its name. */
static int check_demands(const struct uw_compress_opts *o, const struct uw_manifest *manifest, const char *path,
			 struct account *account)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	uint8_t digest[UW_SHA256_NBYTES];

	if (uw_source_digest(manifest, digest, &err) != UW_OK ||
	    (o->expect && uw_source_expect(manifest, o->expected, &err) != UW_OK))
		return uw_tool_failure(path, &err);
	uw_hex(digest, sizeof(digest), account->digest);
	if (saving(account) >= o->min_saving)
		return UW_EXIT_OK;
	uw_msg_error("%s: saves %.2f %%, less than the %.2f %% asked for; nothing is written", path, saving(account),
		     o->min_saving);
	return UW_EXIT_DIFFERS;
}

/* Name of the model for a list: the last component of its path. */
static char *model_name(const char *path)
{
	size_t n = strlen(path), at;

	while (n > 1 && path[n - 1] == '/')
		n--;
	for (at = n; at > 0 && path[at - 1] != '/'; at--)
		continue;
	return strndup(path + at, n - at);
}

static int write_lists(const struct uw_compress_opts *o, const struct uw_manifest *manifest, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	char *name = model_name(path);
	int code = UW_EXIT_OK;

	if (o->sums != NULL && uw_write_text(o->sums, uw_print_sums, manifest, &err) != UW_OK)
		code = uw_tool_failure(o->sums, &err);
	else if (o->signing != NULL &&
		 uw_write_json(o->signing, name != NULL ? uw_signing_statement(manifest, name) : NULL, &err) != UW_OK)
		code = uw_tool_failure(o->signing, &err);
	free(name);
	return code;
}

static void account_kept(void *ctx, const struct uw_manifest_file *file)
{
	uint64_t stored = file->container ? file->id.nbytes : file->nbytes;
	struct account *account = ctx;
	char digest[2 * UW_SHA256_NBYTES + 1];

	uw_msg_info("%s: done before, %llu -> %llu bytes", file->path, (unsigned long long)file->nbytes,
		    (unsigned long long)stored);
	uw_progress_file(file->path, file->nbytes, stored, "kept");
	account->src_nbytes += file->nbytes;
	account->stored_nbytes += stored;
	uw_hex(file->sha256, UW_SHA256_NBYTES, digest);
	json_array_append_new(account->files, json_pack("{s:s, s:b, s:I, s:I, s:s}", "path", file->path, "kept", 1,
							"bytes", (json_int_t)file->nbytes, "stored_bytes",
							(json_int_t)stored, "sha256", digest));
}

static void account_all_kept(struct account *account, const struct uw_manifest *manifest)
{
	for (uint64_t i = 0; i < manifest->nfiles; i++)
		account_kept(account, &manifest->files[i]);
}

static struct uw_parts_cli parts_of(const struct uw_compress_opts *o, struct account *account)
{
	return (struct uw_parts_cli){
		.opts = &o->parts,
		.bounds = &o->bounds,
		.files_from = o->files_from,
		.from0 = o->from0,
		.only = uw_compress_only(o),
		.output = o->output,
		.json = o->json,
		.base = o->base,
		.force = o->force,
		.pack = {
			.profile = o->profile,
			.strict = o->strict,
			.check = !o->no_check,
			.file = account_file,
			.ctx = account,
		},
		.kept = account_kept,
	};
}

/* A whole bundle to be made, or found good. */
struct work {
	struct uw_tool *tool;
	const struct uw_compress_opts *o;
	const char *path; /* of the model */
	struct account *account;
	struct uw_manifest *manifest; /* the bundle's, in the end */
	bool replace; /* what stands at the output is not good enough */
};

static int pack(struct work *w, struct uw_source *source, struct uw_bundle_base *base)
{
	const struct uw_compress_opts *o = w->o;
	struct uw_pack_model options = {
		.job = w->tool->job,
		.profile = o->profile,
		.strict = o->strict,
		.check = !o->no_check,
		.base = base,
		.file = account_file,
		.ctx = w->account,
	};
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_compress_output out;
	char *where = NULL;
	enum uw_status status = uw_output_open(o->output, o->force, &out, &err);
	int code = UW_EXIT_OK;

	if (status != UW_OK) {
		uw_output_close(&out);
		return uw_tool_failure(o->output, &err);
	}
	uw_progress_begin(&w->tool->progress, "compress", source->nbytes);
	status = uw_model_pack(&options, source, out.folder, w->manifest, &where, &err);
	uw_progress_end(&w->tool->progress);
	if (status != UW_OK) {
		code = uw_tool_failure(where != NULL ? where : w->path, &err);
	} else {
		options.job.progress = NULL;
		code = check_demands(o, w->manifest, w->path, w->account);
		if (code == UW_EXIT_OK && uw_output_commit(&options.job, w->manifest, &out, &err) != UW_OK)
			code = uw_tool_failure(o->output, &err);
		if (code == UW_EXIT_OK)
			code = write_lists(o, w->manifest, w->path);
	}
	uw_output_close(&out);
	free(where);
	return code;
}

/* What is there is as good as what would be written. */
static int take_existing(const struct work *w)
{
	int code;

	account_all_kept(w->account, w->manifest);
	code = check_demands(w->o, w->manifest, w->path, w->account);
	return code == UW_EXIT_OK ? write_lists(w->o, w->manifest, w->path) : code;
}

static int look_at_existing(struct work *w, struct uw_source *source, struct uw_bundle_base *base)
{
	const struct uw_compress_opts *o = w->o;
	const struct uw_existing existing = { o->output, o->profile, base, o->strict, .decode = o->rm };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	char *where = NULL;
	int code = UW_EXIT_OK;
	enum uw_status status = uw_existing_look(&existing, w->tool, source, w->manifest, &where, &err);
	int kind = uw_exit_of_status(status);

	w->replace = o->force && (kind == UW_EXIT_DIFFERS || kind == UW_EXIT_CORRUPT);
	if (w->replace)
		uw_msg_info("%s: is replaced: %s", o->output, err.what);
	else if (status != UW_OK)
		code = uw_tool_failure(where != NULL ? where : o->output, &err);
	else
		code = take_existing(w);
	free(where);
	return code;
}

/* One way through the source. If that is a bundle, it may have the same base. */
static int with_source(struct work *w, int (*use)(struct work *w, struct uw_source *source, struct uw_bundle_base *base))
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_source *source = NULL;
	struct uw_bundle bundle = { .fd = -1 };
	struct uw_bundle_base *base;
	int code = uw_tool_open_base(w->tool, w->o->base, &base);

	if (code == UW_EXIT_OK) {
		if (uw_source_open_selected(w->path, uw_compress_only(w->o), &w->tool->ops, uw_tmp_dir(), &bundle, &source,
					    &err) != UW_OK ||
		    uw_bundle_set_base(&bundle, uw_bundle_base(base), &err) != UW_OK) {
			code = uw_tool_failure(w->path, &err);
		} else {
			uw_tool_watch(w->tool, source);
			code = use(w, source, base);
		}
	}
	uw_source_close(&source);
	uw_bundle_close(&bundle);
	uw_bundle_base_close(&base);
	return code;
}

static int run_whole(struct work *w)
{
	struct stat st;
	int code;

	if (w->o->skip_existing && lstat(w->o->output, &st) == 0) {
		code = with_source(w, look_at_existing);
		if (!w->replace)
			return code;
	}
	return with_source(w, pack);
}

static int run_merge(const struct work *w, const struct uw_parts_cli *parts)
{
	int code = uw_parts_put_together(parts, w->tool, w->manifest);

	if (code != UW_EXIT_OK)
		return code;
	account_all_kept(w->account, w->manifest);
	return check_demands(w->o, w->manifest, w->o->output, w->account); /* there are none: for the digest */
}

static int run_mode(struct work *w, const struct uw_parts_cli *parts)
{
	switch (w->o->parts.mode) {
	case UW_PARTS_PART: return uw_parts_part(parts, w->tool, w->path);
	case UW_PARTS_MERGE: return run_merge(w, parts);
	default: return run_whole(w);
	}
}

static int run(const struct uw_compress_opts *o, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct account account = { .files = json_array() };
	struct uw_parts_cli parts = parts_of(o, &account);
	struct uw_manifest manifest = { 0 };
	struct uw_removal removal = { 0 };
	struct uw_tool tool;
	struct work work = { .tool = &tool, .o = o, .path = path, .account = &account, .manifest = &manifest };
	int code;

	uw_tool_init(&tool, o->nthreads);
	uw_bounds_apply(&o->bounds, &tool);
	code = o->rm ? uw_rm_note(path, uw_compress_only(o), &removal) : UW_EXIT_OK;
	if (code == UW_EXIT_OK)
		code = run_mode(&work, &parts);
	if (code == UW_EXIT_OK) {
		uw_tool_tell_times(&tool, "encode", account.src_nbytes);
		summarise(&account);
		if (o->json != NULL && uw_write_json(o->json, report(o, &account, &manifest), &err) != UW_OK)
			code = uw_tool_failure(o->json, &err);
	}
	if (code == UW_EXIT_OK && o->rm)
		code = uw_rm_run(&tool, o->output, &removal, &manifest);
	uw_removal_free(&removal);
	uw_manifest_free(&manifest);
	json_decref(account.files);
	return code;
}

static int dispatch(struct uw_compress_opts *o, const struct uw_cli_result *r)
{
	struct uw_parts_cli parts = parts_of(o, NULL);
	const char *path = r->nargs != 0 ? r->args[0] : NULL;
	int code = uw_parts_check(&parts, r->nargs);

	if (code == UW_EXIT_OK)
		code = uw_compress_check(o, path);
	if (code != UW_EXIT_OK)
		return code;
	if (o->parts.mode == UW_PARTS_NONE || o->parts.mode == UW_PARTS_PART || o->parts.mode == UW_PARTS_MERGE)
		return uw_tool_exit(run(o, path));
	return uw_tool_exit(uw_parts_other(&parts, path, o->nthreads));
}

int main(int argc, char **argv)
{
	struct uw_compress_opts o = { .profile = UW_PROFILE_DISTRIBUTION, .min_saving = -INFINITY };
	struct uw_cli_result r = uw_cli_parse(&uw_compress_cli, argc, argv, uw_compress_option, &o);
	int code;

	if (r.exit_code >= 0)
		return r.exit_code;
	code = dispatch(&o, &r);
	uw_file_list_free(&o.only);
	return code;
}
