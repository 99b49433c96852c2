/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bounds.h"
#include "decompress_select.h"
#include "places.h"
#include "provenance.h"
#include "restore_model.h"
#include "tool.h"
#include "unweight/checked.h"

enum { OPT_OUTPUT, OPT_THREADS, OPT_FORCE, OPT_TENSOR, OPT_SHA256, OPT_EXPECT, OPT_MAX_OUTPUT, OPT_FILES_FROM,
       OPT_FROM0, OPT_SKIP_EXISTING, OPT_BASE };

static const struct uw_option options[] = {
	{ 'o', "output", "PATH", "where to write: a folder, a file if the bundle was made from one file,\n"
	  "NAME.tar, .tar.gz, .tar.zst or .zip, or - for a tar on standard output", OPT_OUTPUT },
	{ 0, "tensor", "NAME", "restore only this tensor's bytes, into one raw file or standard output", OPT_TENSOR },
	{ 0, "base", "BUNDLE", "the base of a bundle that stores only what differs from it; any bundle of that model", OPT_BASE },
	{ 'T', "threads", "N", "threads; 0 (the default) = all available CPUs", OPT_THREADS },
	{ 0, "sha256", NULL, "compare the SHA-256 of each restored file with the manifest too", OPT_SHA256 },
	{ 0, "expect-digest", "SHA256", "restore nothing unless the source has this digest: that of the list of its\n"
	  "files' SHA-256 (compress --sha256sums), or of the file itself if it is one file;\n"
	  "implies --sha256", OPT_EXPECT },
	{ 0, "max-output", "SIZE", "restore nothing if that takes more bytes than this; K, M, G, T are powers of 1024",
	  OPT_MAX_OUTPUT },
	{ 'f', "force", NULL, "replace existing files; others in an existing folder stay", OPT_FORCE },
	{ 0, "files-from", "FILE", "restore only these files: paths in the model, one a line; that of a folder stands for\n"
	  "all below it. - is standard input", OPT_FILES_FROM },
	{ '0', "from0", NULL, "a NUL ends each path of that list", OPT_FROM0 },
	{ 0, "skip-existing", NULL, "leave files that are there already with the right SHA-256; with -f others are\n"
	  "replaced", OPT_SKIP_EXISTING },
	UW_BOUND_OPTIONS,
	{ 0 },
};

static const struct uw_cli cli = {
	.name = "unweight-decompress",
	.synopsis = "BUNDLE -o PATH [options]",
	.summary = "Restores the files a bundle was made of, byte for byte. BUNDLE is a folder, a tar of it, or one\n"
		   "container (.uw).",
	.epilog = "Every checksum is checked on the way, of what is stored and of what is restored; nothing appears under its\n"
		  "final name before all of it is right. For damage these checksums (XXH3, 64 and 128 bits) are as good as\n"
		  "the SHA-256 of the source files, which stand in the bundle too: --sha256 and unweight-verify check those,\n"
		  "for whoever wants to compare them with the digests that a hub states.\n\n"
		  "Exit codes: 0 done, 1 another digest or other files, 2 usage, 3 no such tensor or file, or not the base,\n"
		  "4 output exists or is too large, 5 corrupt bundle, 6 I/O error, 7 out of space or memory,\n"
		  "8 unsupported version, 70 bug, 124 --max-time is over.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

struct opts {
	const char *output, *tensor, *base;
	unsigned nthreads;
	struct uw_bounds bounds;
	const char *files_from;
	struct uw_file_list only; /* if files_from */
	bool force, expect, from0, skip_existing;
	enum uw_restore_check check;
	uint8_t expected[UW_SHA256_NBYTES];
	uint64_t max_output;
};

static bool set_option(void *ctx, int id, const char *arg)
{
	struct opts *o = ctx;

	switch (id) {
	case OPT_OUTPUT: o->output = arg; return true;
	case OPT_TENSOR: o->tensor = arg; return true;
	case OPT_BASE: o->base = arg; return true;
	case OPT_THREADS: return uw_parse_threads(arg, &o->nthreads);
	case OPT_EXPECT:
		o->check = UW_RESTORE_SHA256; /* what is restored is to have it, not only the manifest */
		return o->expect = uw_parse_digest(arg, o->expected);
	case OPT_MAX_OUTPUT: return uw_parse_size(arg, &o->max_output);
	case OPT_FORCE: o->force = true; return true;
	case OPT_SHA256: o->check = UW_RESTORE_SHA256; return true;
	case OPT_FILES_FROM: o->files_from = arg; return true;
	case OPT_FROM0: o->from0 = true; return true;
	case OPT_SKIP_EXISTING: o->skip_existing = true; return true;
	}
	return uw_bounds_option(&o->bounds, id, arg);
}

static bool is_folder(const char *path)
{
	size_t n = strlen(path);
	struct stat st;

	return (n > 0 && path[n - 1] == '/') || (stat(path, &st) == 0 && S_ISDIR(st.st_mode));
}

/* A bundle of a single file gives that file: under the path itself, or inside it if that is a folder. */
static enum uw_status open_sink(const struct opts *o, const struct uw_bundle *bundle, struct uw_sink **sink,
				struct uw_error *err)
{
	enum uw_replace whole = o->force ? UW_REPLACE_WHOLE : UW_REPLACE_NEVER;
	bool single = bundle->manifest.single || o->tensor != NULL;
	enum uw_archive_kind kind;
	enum uw_status status;
	char *path;

	if (o->tensor == NULL && uw_path_is_archive(o->output, &kind))
		return uw_sink_open_archive(o->output, kind, whole, sink, err);
	if (!single)
		return uw_sink_open_folder(o->output, o->force ? UW_REPLACE_FILES : UW_REPLACE_NEVER, sink, err);
	if (o->tensor != NULL || !is_folder(o->output))
		return uw_sink_open_file(o->output, whole, sink, err);
	path = malloc(strlen(o->output) + strlen(bundle->manifest.files[0].path) + 2);
	if (path == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "output");
	sprintf(path, "%s/%s", o->output, bundle->manifest.files[0].path);
	status = uw_sink_open_file(path, whole, sink, err);
	free(path);
	return status;
}

static enum uw_status restore_tensor(struct uw_tool *tool, const struct opts *o, const struct uw_bundle *bundle,
				     struct uw_sink *sink, struct uw_error *err)
{
	enum uw_status status = uw_sink_begin(sink, "tensor", UW_SIZE_UNKNOWN, false, err);

	if (status == UW_OK)
		status = uw_tensor_restore(bundle, o->tensor, &tool->job, sink, err);
	return status == UW_OK ? uw_sink_end(sink, err) : status;
}

/* Bytes of all that will be written: what the manifest says, or the size of the one tensor. */
static enum uw_status output_nbytes(const struct opts *o, const struct uw_bundle *bundle, uint64_t *nbytes,
				    struct uw_error *err)
{
	*nbytes = 0;
	if (o->tensor != NULL)
		return uw_tensor_nbytes(bundle, o->tensor, nbytes, err);
	for (uint64_t i = 0; i < bundle->manifest.nfiles; i++)
		if (!uw_add(*nbytes, bundle->manifest.files[i].nbytes, nbytes))
			*nbytes = UINT64_MAX;
	return UW_OK;
}

/* Before anything is opened for writing. */
static int check_size(const struct opts *o, const struct uw_bundle *bundle, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	uint64_t nbytes;

	if (o->max_output == UINT64_MAX)
		return UW_EXIT_OK;
	if (output_nbytes(o, bundle, &nbytes, &err) != UW_OK)
		return uw_tool_failure(path, &err);
	if (nbytes <= o->max_output)
		return UW_EXIT_OK;
	uw_msg_error("%s: takes %llu bytes when restored, more than the %llu allowed", path, (unsigned long long)nbytes,
		     (unsigned long long)o->max_output);
	return UW_EXIT_EXISTS;
}

/* A bundle of one file goes under the very name, unless a folder has it. */
static bool is_file(const struct opts *o, const struct uw_bundle *bundle)
{
	return bundle->manifest.single && !is_folder(o->output);
}

/* Takes out what is there already; *done: that is all. */
static enum uw_status skip_existing(struct uw_tool *tool, const struct opts *o, struct uw_bundle *bundle, bool *done,
				    struct uw_error *err)
{
	struct stat st;
	enum uw_status status = uw_select_stale(bundle, o->output, is_file(o, bundle), &tool->job, err);

	*done = status == UW_OK && bundle->manifest.nfiles == 0;
	if (status != UW_OK || *done || o->force || lstat(o->output, &st) != 0)
		return status;
	return uw_fail(err, UW_ERR_MISMATCH, UW_NO_OFFSET, "exists, but '%s' there is missing or another one",
		       bundle->manifest.files[0].path);
}

/* Which files the caller wants, after the demands on all of them. */
static int select_files(struct uw_tool *tool, const struct opts *o, struct uw_bundle *bundle, const char *path,
			bool *done)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	enum uw_status status = o->expect ? uw_bundle_expect(bundle, o->expected, &err) : UW_OK;

	*done = false;
	if (status == UW_OK && o->files_from != NULL) {
		status = uw_select_listed(&bundle->manifest, &o->only, &err);
		if (status == UW_OK && bundle->manifest.nfiles == 0)
			status = uw_fail(&err, UW_ERR_NOT_FOUND, UW_NO_OFFSET, "the list of files is empty");
	}
	if (status == UW_OK && o->skip_existing) {
		path = o->output;
		status = skip_existing(tool, o, bundle, done, &err);
	}
	return status == UW_OK ? UW_EXIT_OK : uw_tool_failure(path, &err);
}

static void file_done(const struct uw_manifest_file *file)
{
	uw_progress_file(file->path, file->nbytes, UINT64_MAX, NULL);
}

static int restore(struct uw_tool *tool, const struct opts *o, struct uw_bundle *bundle, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	const char *where = NULL;
	struct uw_sink *sink = NULL;
	uint64_t total = 0;
	bool done;
	int code = select_files(tool, o, bundle, path, &done);
	enum uw_status status;

	if (code == UW_EXIT_OK && done)
		uw_msg_info("%s: is there already", o->output);
	if (code == UW_EXIT_OK && !done)
		code = check_size(o, bundle, path);
	if (code != UW_EXIT_OK || done)
		return code;
	status = open_sink(o, bundle, &sink, &err);
	if (status != UW_OK)
		return uw_tool_failure(o->output, &err);
	for (uint64_t i = 0; i < bundle->manifest.nfiles; i++)
		total += bundle->manifest.files[i].nbytes;
	uw_progress_begin(&tool->progress, "decompress", o->tensor == NULL ? total : 0);
	status = o->tensor != NULL ? restore_tensor(tool, o, bundle, sink, &err) :
				     uw_model_restore(bundle, o->check, &tool->job, sink, file_done, &where, &err);
	uw_progress_end(&tool->progress);
	if (status == UW_OK) {
		status = uw_sink_commit(sink, &err);
		path = o->output;
		where = NULL;
	}
	uw_sink_close(&sink);
	if (status != UW_OK)
		return uw_tool_failure(where != NULL ? where : path, &err);
	uw_tool_tell_times(tool, "decode", total);
	uw_msg_info("%llu files, %llu bytes", (unsigned long long)bundle->manifest.nfiles, (unsigned long long)total);
	return UW_EXIT_OK;
}

/* A bundle that gets files of the model is none any more. Without -f, one that stands at the output is refused later. */
static bool would_spoil(const struct opts *o, const char *bundle)
{
	char *below = uw_path_below(o->output, bundle);
	bool spoils = below != NULL && (o->force || below[0] != '\0');

	free(below);
	if (spoils)
		uw_msg_error("%s: would spoil '%s'; give another place", o->output, bundle);
	return spoils;
}

/* Options that do not go together. */
static const char *misuse(const struct opts *o)
{
	enum uw_archive_kind kind;

	if (o->output == NULL)
		return "where to? Give -o PATH";
	if (o->from0 && o->files_from == NULL)
		return "--from0 goes with --files-from";
	if (o->tensor != NULL && (o->files_from != NULL || o->skip_existing))
		return "--files-from and --skip-existing are about files, not about a tensor";
	if (o->skip_existing && uw_path_is_archive(o->output, &kind))
		return "--skip-existing looks at files, not into an archive";
	return NULL;
}

static int run(struct uw_tool *tool, struct opts *o, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_bundle_base *base;
	struct uw_bundle bundle = { .fd = -1 };
	int code;

	if (o->files_from != NULL && uw_file_list_read(o->files_from, o->from0, &o->only, &err) != UW_OK)
		return uw_tool_failure(o->files_from, &err);
	code = uw_tool_open_base(tool, o->base, &base);
	if (code == UW_EXIT_OK) {
		if (uw_bundle_open(path, &tool->ops, &bundle, &err) != UW_OK ||
		    uw_bundle_set_base(&bundle, uw_bundle_base(base), &err) != UW_OK)
			code = uw_tool_failure(path, &err);
		else
			code = restore(tool, o, &bundle, path);
	}
	uw_bundle_close(&bundle);
	uw_bundle_base_close(&base);
	return code;
}

int main(int argc, char **argv)
{
	struct opts o = { .max_output = UINT64_MAX };
	struct uw_cli_result r = uw_cli_parse(&cli, argc, argv, set_option, &o);
	struct uw_tool tool;
	const char *wrong;
	int code;

	if (r.exit_code >= 0)
		return r.exit_code;
	wrong = misuse(&o);
	if (wrong != NULL) {
		uw_msg_error("%s", wrong);
		return UW_EXIT_USAGE;
	}
	if (would_spoil(&o, r.args[0]) || would_spoil(&o, o.base))
		return UW_EXIT_USAGE;
	uw_tool_init(&tool, o.nthreads);
	uw_bounds_apply(&o.bounds, &tool);
	code = run(&tool, &o, r.args[0]);
	uw_file_list_free(&o.only);
	return uw_tool_exit(code);
}
