/* SPDX-License-Identifier: Apache-2.0 */
#include "compress_opts.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "bundle.h"
#include "places.h"
#include "provenance.h"

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

const struct uw_cli uw_compress_cli = {
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

static bool set_profile(struct uw_compress_opts *o, const char *arg)
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

bool uw_compress_option(void *ctx, int id, const char *arg)
{
	struct uw_compress_opts *o = ctx;

	switch (id) {
	case OPT_OUTPUT: o->output = arg; return true;
	case OPT_PROFILE: o->profile_given = true; return set_profile(o, arg);
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

const struct uw_file_list *uw_compress_only(const struct uw_compress_opts *o)
{
	return o->files_from != NULL ? &o->only : NULL;
}

/* ---- what goes together ---- */

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

/* What only one who has seen all of the source can do. */
static bool demands_whole(const struct uw_compress_opts *o)
{
	return o->sums != NULL || o->signing != NULL || o->expect || isfinite(o->min_saving);
}

/* The rest of the rules for a whole bundle, and for a part. */
static int check_output(const struct uw_compress_opts *o)
{
	enum uw_archive_kind kind;

	if (uw_path_is_archive(o->output, &kind) && kind != UW_ARCHIVE_TAR) {
		uw_msg_error("%s: a bundle is a folder or a .tar; it does not get smaller by another compression",
			     o->output);
		return UW_EXIT_USAGE;
	}
	return o->force ? may_replace(o->output) : UW_EXIT_OK;
}

/* Options that do not go together, for the model at `path`, NULL if there is none. */
static const char *misuse(const struct uw_compress_opts *o, const char *path)
{
	bool from_stdin = path != NULL && strcmp(path, "-") == 0, whole = o->parts.mode == UW_PARTS_NONE;
	bool to_stdout = o->output != NULL && strcmp(o->output, "-") == 0;

	if (!whole && demands_whole(o))
		return "lists, digest and saving are those of a whole bundle: verify compares a merged one with its digests";
	if (o->profile_given && (o->parts.mode == UW_PARTS_MERGE || o->parts.mode == UW_PARTS_STATUS))
		return "--merge and --status take no --profile: the plan says it";
	if (o->json != NULL && (o->parts.mode == UW_PARTS_PLAN || o->parts.mode == UW_PARTS_COMMANDS))
		return "--json is for a report of work that was done";
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
static int read_list(struct uw_compress_opts *o)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };

	if (o->files_from == NULL || uw_file_list_read(o->files_from, o->from0, &o->only, &err) == UW_OK)
		return UW_EXIT_OK;
	return uw_tool_failure(o->files_from, &err);
}

/* Is `place` among what is taken of the model at `path`? */
static bool is_taken(const struct uw_compress_opts *o, const char *place, const char *path)
{
	char *below = uw_path_below(place, path);
	bool taken = below != NULL && below[0] != '\0' &&
		     (o->files_from == NULL || uw_file_list_has(&o->only, below));

	free(below);
	return taken;
}

static int check_places(const struct uw_compress_opts *o, const char *path)
{
	bool plan = o->parts.mode == UW_PARTS_PLAN;
	const struct uw_places places = {
		.reads = { path, o->base, o->files_from, o->parts.with_plan },
		.output = plan ? NULL : o->output,
		.reports = { o->json, o->sums, o->signing, plan ? o->output : NULL },
	};

	if (is_taken(o, o->output, path)) {
		uw_msg_error("%s: lies in '%s', which would then hold what is made of it; give another place", o->output,
			     path);
		return UW_EXIT_USAGE;
	}
	if (uw_path_lies_in(o->output, o->base)) {
		uw_msg_error("%s: would spoil the base '%s'; give another place", o->output, o->base);
		return UW_EXIT_USAGE;
	}
	if (o->rm && is_taken(o, o->base, path)) {
		uw_msg_error("--rm would remove the base '%s', which the bundle needs", o->base);
		return UW_EXIT_USAGE;
	}
	return uw_places_check(&places);
}

int uw_compress_check(struct uw_compress_opts *o, const char *path)
{
	const char *wrong = misuse(o, path);
	int code = UW_EXIT_OK;

	if (wrong != NULL) {
		uw_msg_error("%s", wrong);
		return UW_EXIT_USAGE;
	}
	if (o->parts.mode != UW_PARTS_PLAN && o->parts.mode != UW_PARTS_STATUS)
		code = check_output(o);
	if (code == UW_EXIT_OK)
		code = read_list(o);
	return code == UW_EXIT_OK ? check_places(o, path) : code;
}
