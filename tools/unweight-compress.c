/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "source_bundle.h"
#include "compress_existing.h"
#include "compress_parts.h"
#include "compress_rm.h"
#include "each.h"
#include "bounds.h"
#include "pack_model.h"
#include "provenance.h"
#include "tool.h"

enum { OPT_OUTPUT, OPT_PROFILE, OPT_THREADS, OPT_FORCE, OPT_STRICT, OPT_NO_CHECK, OPT_JSON, OPT_SUMS, OPT_SIGNING,
       OPT_EXPECT, OPT_MIN_SAVING, OPT_FILES_FROM, OPT_FROM0, OPT_SKIP_EXISTING, OPT_RM,
       OPT_BASE };

static const struct uw_option options[] = {
	{ 'o', "output", "BUNDLE", "where to write: a folder, NAME.tar, or - for a tar on standard output", OPT_OUTPUT },
	{ 'p', "profile", "PROFILE", "distribution (smallest; the default) or inference (for serving)", OPT_PROFILE,
	  "distribution inference" },
	{ 0, "base", "BUNDLE", "store only what differs from the model in this bundle, which whoever restores the new\n"
	  "one needs as well, in whatever bundle", OPT_BASE },
	{ 'T', "threads", "N", "threads; 0 (the default) = all available CPUs. Never changes the output", OPT_THREADS },
	{ 'f', "force", NULL, "replace an existing bundle", OPT_FORCE },
	{ 0, "strict", NULL, "refuse odd files (malformed safetensors, pickles, GGUF) instead of carrying them", OPT_STRICT },
	{ 0, "no-check", NULL, "do not decode what was coded and compare it with the source, nor read back what was\n"
	  "written", OPT_NO_CHECK },
	{ 0, "json", "FILE", "write a report; - is standard output", OPT_JSON },
	{ 0, "sha256sums", "FILE", "write the source files' SHA-256 as sha256sum does", OPT_SUMS },
	{ 0, "signing-statement", "FILE", "write the in-toto statement of the source files that model_signing signs",
	  OPT_SIGNING },
	{ 0, "expect-digest", "SHA256", "write no bundle unless the source has this digest: that of the list of sums by\n"
	  "ascending path, or of the file itself if it is one file", OPT_EXPECT },
	{ 0, "min-saving", "PCT", "write no bundle unless it is smaller than the source by this share", OPT_MIN_SAVING },
	{ 0, "files-from", "FILE", "take only these files of the folder PATH: paths in it, one a line; that of a folder\n"
	  "stands for all below it. - is standard input", OPT_FILES_FROM },
	{ '0', "from0", NULL, "a NUL ends each path of that list", OPT_FROM0 },
	{ 0, "skip-existing", NULL, "if the bundle is there, whole and made of this source, leave it; with -f it is\n"
	  "replaced if it is not", OPT_SKIP_EXISTING },
	{ 0, "rm", NULL, "remove the source's files once the bundle is proven and safe on disk", OPT_RM },
	{ 0, "plan", NULL, "only list what there is to do, from listings and headers, into the JSON file -o", UW_OPT_PLAN },
	{ 0, "part", "I/N", "do one part of N of the work for -o BUNDLE, I from 1; env: what Slurm, Kubernetes\n"
	  "or MPI say",
	  UW_OPT_PART },
	{ 0, "parts", "N", "number of parts, where neither --part nor the environment says it", UW_OPT_PARTS },
	{ 0, "with-plan", "FILE", "with --part: refuse a source that is not the one of this plan", UW_OPT_WITH_PLAN },
	{ 0, "merge", NULL, "make -o BUNDLE of its parts, all of which are done", UW_OPT_MERGE },
	{ 0, "status", NULL, "say which parts of the bundle PATH are done; exit code 1: not all", UW_OPT_STATUS },
	{ 0, "print-commands", NULL, "print the command of each of --parts N parts, for GNU parallel", UW_OPT_COMMANDS },
	UW_BOUND_OPTIONS,
	{ 0 },
};

static const struct uw_cli cli = {
	.name = "unweight-compress",
	.synopsis = "PATH -o BUNDLE [options]",
	.summary = "Compresses a model without changing a bit of it. PATH is a .safetensors file, a model folder,\n"
		   "a .tar, .tar.gz, .tar.zst or .zip of one, - for a tar on standard input, or another bundle.",
	.epilog = "Every file of the folder is kept: BF16 tensors are coded, other tensors packed by zstd if that helps,\n"
		  "all other files carried as they are. Before anything coded is written, it is decoded and\n"
		  "compared with the source byte for byte; before the bundle gets its name, all of it is read back and\n"
		  "its checksums are checked.\n\n"
		  "Many machines: --part I/N with the same -o BUNDLE on each of them, in any order, at any time, again if one\n"
		  "failed; they share the folder BUNDLE.parts, nothing else. Then --merge makes the same bundle that one machine\n"
		  "would have made.\n\n"
		  "Exit codes: 0 done, 1 the source changed meanwhile, is another or saves too little, 2 usage,\n"
		  "3 input not acceptable, or not the base, 4 output exists or a part is missing, 5 corrupt source bundle,\n"
		  "6 I/O error, 7 out of space or memory, 8 unsupported, 70 bug, 124 --max-time is over.",
	.options = options,
	.min_args = 0,
	.max_args = 1,
};

struct opts {
	const char *output, *json, *sums, *signing, *base;
	bool expect;
	uint8_t expected[UW_SHA256_NBYTES];
	double min_saving; /* percent; negative: any */
	enum uw_profile profile;
	unsigned nthreads;
	bool force, strict, no_check, skip_existing, rm;
	const char *files_from;
	bool from0;
	struct uw_file_list only; /* if files_from */
	struct uw_parts_opts parts;
	struct uw_bounds bounds;
};

static bool set_profile(struct opts *o, const char *arg)
{
	if (strcmp(arg, "distribution") == 0)
		o->profile = UW_PROFILE_DISTRIBUTION;
	else if (strcmp(arg, "inference") == 0)
		o->profile = UW_PROFILE_INFERENCE;
	else {
		uw_msg_error("unknown profile '%s': it is distribution or inference", arg);
		return false;
	}
	return true;
}

static bool set_option(void *ctx, int id, const char *arg)
{
	struct opts *o = ctx;

	switch (id) {
	case OPT_OUTPUT: o->output = arg; return true;
	case OPT_PROFILE: return set_profile(o, arg);
	case OPT_THREADS: return uw_parse_threads(arg, &o->nthreads);
	case OPT_FORCE: o->force = true; return true;
	case OPT_STRICT: o->strict = true; return true;
	case OPT_NO_CHECK: o->no_check = true; return true;
	case OPT_JSON: o->json = arg; return true;
	case OPT_SUMS: o->sums = arg; return true;
	case OPT_SIGNING: o->signing = arg; return true;
	case OPT_EXPECT: return o->expect = uw_parse_digest(arg, o->expected);
	case OPT_BASE: o->base = arg; return true;
	case OPT_MIN_SAVING: return uw_parse_percent(arg, &o->min_saving);
	case OPT_FILES_FROM: o->files_from = arg; return true;
	case OPT_FROM0: o->from0 = true; return true;
	case OPT_SKIP_EXISTING: o->skip_existing = true; return true;
	case OPT_RM: o->rm = true; return true;
	}
	return id >= UW_OPT_PROGRESS ? uw_bounds_option(&o->bounds, id, arg) : uw_parts_option(&o->parts, id, arg);
}

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

static json_t *report(const struct opts *o, const struct account *a)
{
	return json_pack("{s:s, s:s, s:b, s:O, s:I, s:I, s:s?}", "schema", "unweight-compress-1", "profile",
			 uw_profile_name(o->profile), "checked", !o->no_check, "files", a->files, "bytes",
			 (json_int_t)a->src_nbytes, "stored_bytes", (json_int_t)a->stored_nbytes, "source_sha256",
			 a->digest[0] != '\0' ? a->digest : NULL);
}

static enum uw_status to_sink(void *ctx, const void *data, size_t nbytes, struct uw_error *err)
{
	return uw_sink_write(ctx, data, nbytes, err);
}

static enum uw_status tar_file(const struct uw_job *job, int folder, const char *path, bool executable,
			       struct uw_sink *sink, struct uw_error *err)
{
	int fd = openat(folder, path, O_RDONLY | O_CLOEXEC);
	struct uw_blob blob;
	enum uw_status status;

	if (fd < 0)
		return uw_fail_errno(err, errno, "reading back '%s'", path);
	status = uw_blob_of_fd(&fd, &blob, err);
	if (status == UW_OK)
		status = uw_sink_begin(sink, path, blob.nbytes, executable, err);
	if (status == UW_OK)
		status = uw_blob_each(job, &blob, to_sink, sink, err);
	if (status == UW_OK)
		status = uw_sink_end(sink, err);
	close(fd);
	return status;
}

/* The tar is made of a finished folder: sizes have to be known before each member, the manifest comes first. */
static enum uw_status tar_up(const struct uw_job *job, const struct uw_manifest *manifest, int folder,
			     struct uw_sink *sink, struct uw_error *err)
{
	enum uw_status status = tar_file(job, folder, UW_MANIFEST_NAME, false, sink, err);

	for (uint64_t i = 0; i < manifest->nfiles && status == UW_OK; i++) {
		char *path = uw_manifest_stored_path(&manifest->files[i]);

		status = path == NULL ? uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "tar") :
					tar_file(job, folder, path, manifest->files[i].executable, sink, err);
		free(path);
	}
	return status == UW_OK ? uw_sink_commit(sink, err) : status;
}

/* -f replaces bundles, not whatever folder happens to have the name. */
static int may_replace(const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct stat st;
	bool is_bundle;

	if (stat(path, &st) != 0 || !S_ISDIR(st.st_mode))
		return UW_EXIT_OK; /* opening it for output will tell */
	if (uw_bundle_probe(path, &is_bundle, &err) != UW_OK)
		return uw_tool_failure(path, &err);
	if (is_bundle)
		return UW_EXIT_OK;
	uw_msg_error("%s: is a folder, but not a bundle; it will not be replaced", path);
	return UW_EXIT_EXISTS;
}

/* Where the bundle goes. */
struct output {
	struct uw_sink *folder; /* the bundle's own, or for a tar one that is never committed */
	struct uw_sink *tar;    /* NULL if the bundle is a folder */
};

/* Opens both before the work, so that nothing is found in the way after it. The name of the tar's folder is not the
 * user's: whatever has it already is not in the way. */
static enum uw_status open_output(const struct opts *o, struct output *out, struct uw_error *err)
{
	enum uw_replace replace = o->force ? UW_REPLACE_WHOLE : UW_REPLACE_NEVER;
	bool to_stdout = strcmp(o->output, "-") == 0;
	enum uw_archive_kind kind;
	enum uw_status status;
	char *path;

	*out = (struct output){ NULL, NULL };
	if (!uw_path_is_archive(o->output, &kind))
		return uw_sink_open_folder(o->output, replace, &out->folder, err);
	status = uw_sink_open_archive(o->output, kind, replace, &out->tar, err);
	if (status != UW_OK)
		return status;
	if (asprintf(&path, "%s%s.%ld.parts", to_stdout ? uw_tmp_dir() : o->output, to_stdout ? "/unweight" : "",
		     (long)getpid()) < 0)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "output");
	status = uw_sink_open_folder(path, UW_REPLACE_WHOLE, &out->folder, err);
	free(path);
	return status;
}

static enum uw_status commit_output(const struct uw_job *job, const struct uw_manifest *manifest, struct output *out,
				    struct uw_error *err)
{
	enum uw_status status;
	int folder;

	if (out->tar == NULL)
		return uw_sink_commit(out->folder, err);
	folder = open(uw_sink_folder_path(out->folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (folder < 0)
		return uw_fail_errno(err, errno, "reading back the bundle");
	status = tar_up(job, manifest, folder, out->tar, err);
	close(folder);
	return status;
}

static void close_output(struct output *out)
{
	if (out->folder != NULL)
		uw_sink_close(&out->folder);
	if (out->tar != NULL)
		uw_sink_close(&out->tar);
}

static double saving(const struct account *a)
{
	return a->src_nbytes != 0 ? 100.0 - 100.0 * (double)a->stored_nbytes / (double)a->src_nbytes : 0;
}

/* What the caller demands of the model and the bundle, before the bundle gets its name. */
static int check_demands(const struct opts *o, const struct uw_manifest *manifest, const char *path,
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

static int write_lists(const struct opts *o, const struct uw_manifest *manifest, const char *path)
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

/* `manifest` is the bundle's then; free it in any case. */
static int pack(struct uw_tool *tool, const struct opts *o, struct uw_source *source, struct uw_bundle_base *base,
		const char *path, struct account *account, struct uw_manifest *manifest)
{
	struct uw_pack_model options_ = {
		.job = tool->job,
		.profile = o->profile,
		.strict = o->strict,
		.check = !o->no_check,
		.base = base,
		.file = account_file,
		.ctx = account,
	};
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct output out;
	char *where = NULL;
	enum uw_status status = open_output(o, &out, &err);
	int code = UW_EXIT_OK;

	if (status != UW_OK) {
		close_output(&out);
		return uw_tool_failure(o->output, &err);
	}
	uw_progress_begin(&tool->progress, "compress", source->nbytes);
	status = uw_model_pack(&options_, source, out.folder, manifest, &where, &err);
	uw_progress_end(&tool->progress);
	if (status != UW_OK) {
		code = uw_tool_failure(where != NULL ? where : path, &err);
	} else {
		options_.job.progress = NULL;
		code = check_demands(o, manifest, path, account);
		if (code == UW_EXIT_OK && commit_output(&options_.job, manifest, &out, &err) != UW_OK)
			code = uw_tool_failure(o->output, &err);
		if (code == UW_EXIT_OK)
			code = write_lists(o, manifest, path);
	}
	close_output(&out);
	free(where);
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

static const struct uw_file_list *only(const struct opts *o)
{
	return o->files_from != NULL ? &o->only : NULL;
}

static struct uw_parts_cli parts_of(const struct opts *o, struct account *account)
{
	return (struct uw_parts_cli){
		.opts = &o->parts,
		.bounds = &o->bounds,
		.files_from = o->files_from,
		.from0 = o->from0,
		.only = only(o),
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

/* What is there is as good as what would be written. */
static int take_existing(const struct opts *o, const char *path, struct account *account,
			 const struct uw_manifest *manifest)
{
	int code;

	for (uint64_t i = 0; i < manifest->nfiles; i++)
		account_kept(account, &manifest->files[i]);
	code = check_demands(o, manifest, path, account);
	return code == UW_EXIT_OK ? write_lists(o, manifest, path) : code;
}

/* With -f, a bundle that is not good enough is as if it were not there: *go_on. */
static int look_at_existing(struct uw_tool *tool, const struct opts *o, struct uw_source *source,
			    struct uw_bundle_base *base, const char *path, struct account *account,
			    struct uw_manifest *manifest, bool *go_on)
{
	const struct uw_existing existing = { o->output, o->profile, base, o->strict, .decode = o->rm };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	char *where = NULL;
	int code = UW_EXIT_OK;
	enum uw_status status = uw_existing_look(&existing, tool, source, manifest, &where, &err);
	int kind = uw_exit_of_status(status);

	*go_on = o->force && (kind == UW_EXIT_DIFFERS || kind == UW_EXIT_CORRUPT);
	if (*go_on)
		uw_msg_info("%s: is replaced: %s", o->output, err.what);
	else if (status != UW_OK)
		code = uw_tool_failure(where != NULL ? where : o->output, &err);
	else
		code = take_existing(o, path, account, manifest);
	free(where);
	return code;
}

/* One way through the source: either *existing is looked at, and *existing becomes whether to go on, or the bundle is
 * made. A source that is a bundle may have the same base. */
static int with_source(struct uw_tool *tool, const struct opts *o, const char *path, struct account *account,
		       struct uw_manifest *manifest, bool *existing)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_source *source = NULL;
	struct uw_bundle bundle = { .fd = -1 };
	struct uw_bundle_base *base;
	int code = uw_tool_open_base(tool, o->base, &base);

	if (code == UW_EXIT_OK) {
		if (uw_source_open_selected(path, only(o), &tool->ops, uw_tmp_dir(), &bundle, &source, &err) != UW_OK ||
		    uw_bundle_set_base(&bundle, uw_bundle_base(base), &err) != UW_OK) {
			code = uw_tool_failure(path, &err);
		} else {
			uw_tool_watch(tool, source);
			code = *existing ? look_at_existing(tool, o, source, base, path, account, manifest, existing) :
					   pack(tool, o, source, base, path, account, manifest);
		}
	}
	uw_source_close(&source);
	uw_bundle_close(&bundle);
	uw_bundle_base_close(&base);
	return code;
}

static int run_whole(struct uw_tool *tool, const struct opts *o, const char *path, struct account *account,
		     struct uw_manifest *manifest)
{
	struct stat st;
	bool existing = o->skip_existing && lstat(o->output, &st) == 0;
	int code;

	if (existing) {
		code = with_source(tool, o, path, account, manifest, &existing);
		if (code != UW_EXIT_OK || !existing)
			return code;
		existing = false;
	}
	return with_source(tool, o, path, account, manifest, &existing);
}

static int run(const struct opts *o, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct account account = { .files = json_array() };
	struct uw_parts_cli parts = parts_of(o, &account);
	struct uw_manifest manifest = { 0 };
	struct uw_removal removal = { 0 };
	struct uw_tool tool;
	int code;

	uw_tool_init(&tool, o->nthreads);
	uw_bounds_apply(&o->bounds, &tool);
	code = o->rm ? uw_rm_note(path, only(o), &removal) : UW_EXIT_OK;
	if (code == UW_EXIT_OK)
		code = o->parts.mode == UW_PARTS_PART ? uw_parts_part(&parts, &tool, path) :
							run_whole(&tool, o, path, &account, &manifest);
	if (code == UW_EXIT_OK) {
		uw_tool_tell_times(&tool, "encode", account.src_nbytes);
		summarise(&account);
		if (o->json != NULL && uw_write_json(o->json, report(o, &account), &err) != UW_OK)
			code = uw_tool_failure(o->json, &err);
	}
	if (code == UW_EXIT_OK && o->rm)
		code = uw_rm_run(&tool, o->output, &removal, &manifest);
	uw_removal_free(&removal);
	uw_manifest_free(&manifest);
	json_decref(account.files);
	return code;
}

/* What only one who has seen all of the source can do. */
static bool demands_whole(const struct opts *o)
{
	return o->sums != NULL || o->signing != NULL || o->expect || isfinite(o->min_saving);
}

static int uses_of_stdout(const struct opts *o)
{
	const char *const paths[] = { o->output, o->json, o->sums, o->signing };
	int n = 0;

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++)
		n += paths[i] != NULL && strcmp(paths[i], "-") == 0;
	return n;
}

/* The rest of the rules for a whole bundle, and for a part. */
static int check_output(const struct opts *o)
{
	enum uw_archive_kind kind;

	if (uw_path_is_archive(o->output, &kind) && kind != UW_ARCHIVE_TAR) {
		uw_msg_error("%s: a bundle is a folder or a .tar; it does not get smaller by another compression",
			     o->output);
		return UW_EXIT_USAGE;
	}
	if (uses_of_stdout(o) > 1) {
		uw_msg_error("only one of bundle, report and lists can go to standard output");
		return UW_EXIT_USAGE;
	}
	return o->force ? may_replace(o->output) : UW_EXIT_OK;
}

/* Options that do not go together, for the model at `path`, NULL if there is none. */
static const char *misuse(const struct opts *o, const char *path)
{
	bool from_stdin = path != NULL && strcmp(path, "-") == 0, whole = o->parts.mode == UW_PARTS_NONE;
	bool to_stdout = o->output != NULL && strcmp(o->output, "-") == 0;

	if (!whole && demands_whole(o))
		return "lists, digest and saving are those of a whole bundle: verify has them for one that was merged";
	if (o->base != NULL && o->profile != UW_PROFILE_DISTRIBUTION)
		return "--base is for the profile distribution: serving code cannot use differences where they lie";
	if (o->from0 && o->files_from == NULL)
		return "--from0 goes with --files-from";
	if (o->files_from != NULL && (from_stdin || o->parts.mode == UW_PARTS_MERGE || o->parts.mode == UW_PARTS_STATUS))
		return "--files-from goes with a folder to read";
	if (o->files_from != NULL && o->parts.mode == UW_PARTS_COMMANDS && strcmp(o->files_from, "-") == 0)
		return "the commands cannot all read the list from standard input; give a file";
	if (o->skip_existing && (!whole || to_stdout))
		return whole ? "on standard output is no bundle yet that could be skipped" :
			       "parts skip what is done by themselves, --skip-existing is for a whole bundle";
	if (o->skip_existing && o->force && from_stdin)
		return "standard input cannot be read twice, to compare and to replace; give a file";
	if (!o->rm)
		return NULL;
	if (!whole)
		return "parts need all of the model, --rm is for a whole bundle";
	if (o->no_check)
		return "--rm wants the proof that --no-check leaves out";
	return from_stdin || to_stdout ? "--rm needs files on both sides, no pipes" : NULL;
}

/* Reads the list, if there is one. */
static int read_list(struct opts *o)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };

	if (o->files_from == NULL || uw_file_list_read(o->files_from, o->from0, &o->only, &err) == UW_OK)
		return UW_EXIT_OK;
	return uw_tool_failure(o->files_from, &err);
}

static int dispatch(struct opts *o, const struct uw_cli_result *r)
{
	struct uw_parts_cli parts = parts_of(o, NULL);
	const char *path = r->nargs != 0 ? r->args[0] : NULL, *wrong;
	int code = uw_parts_check(&parts, r->nargs);

	wrong = code == UW_EXIT_OK ? misuse(o, path) : NULL;
	if (wrong != NULL) {
		uw_msg_error("%s", wrong);
		return UW_EXIT_USAGE;
	}
	if (code == UW_EXIT_OK && o->parts.mode != UW_PARTS_PLAN && o->parts.mode != UW_PARTS_STATUS)
		code = check_output(o);
	if (code == UW_EXIT_OK)
		code = read_list(o);
	if (code != UW_EXIT_OK)
		return code;
	if (o->parts.mode == UW_PARTS_NONE || o->parts.mode == UW_PARTS_PART)
		return uw_tool_exit(run(o, path));
	return uw_tool_exit(uw_parts_other(&parts, path, o->nthreads));
}

int main(int argc, char **argv)
{
	struct opts o = { .profile = UW_PROFILE_DISTRIBUTION, .min_saving = -INFINITY };
	struct uw_cli_result r = uw_cli_parse(&cli, argc, argv, set_option, &o);
	int code;

	if (r.exit_code >= 0)
		return r.exit_code;
	code = dispatch(&o, &r);
	uw_file_list_free(&o.only);
	return code;
}
