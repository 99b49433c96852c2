/* SPDX-License-Identifier: Apache-2.0 */
#include "compress_parts.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "source_bundle.h"

/* ---- options ---- */

static bool set_mode(struct uw_parts_opts *opts, enum uw_parts_mode mode)
{
	opts->mode = mode;
	opts->nmodes++;
	return true;
}

static bool set_part(struct uw_parts_opts *opts, const char *arg)
{
	opts->from_env = strcmp(arg, "env") == 0;
	if (opts->from_env || uw_part_parse(arg, &opts->id))
		return set_mode(opts, UW_PARTS_PART);
	uw_msg_error("not a part: '%s' is neither I/N, I from 1 to N and N at most %u, nor env", arg, UW_MAX_PARTS);
	return false;
}

static bool set_nparts(struct uw_parts_opts *opts, const char *arg)
{
	struct uw_part_id id;
	char text[32];
	size_t n = strlen(arg);

	if (n < sizeof(text) - 2) {
		memcpy(text, "1/", 2);
		memcpy(text + 2, arg, n + 1);
		if (uw_part_parse(text, &id)) {
			opts->nparts = id.nparts;
			return true;
		}
	}
	uw_msg_error("not a number of parts from 1 to %u: '%s'", UW_MAX_PARTS, arg);
	return false;
}

bool uw_parts_option(struct uw_parts_opts *opts, int id, const char *arg)
{
	switch (id) {
	case UW_OPT_PLAN: return set_mode(opts, UW_PARTS_PLAN);
	case UW_OPT_PART: return set_part(opts, arg);
	case UW_OPT_PARTS: return set_nparts(opts, arg);
	case UW_OPT_WITH_PLAN: opts->with_plan = arg; return true;
	case UW_OPT_MERGE: return set_mode(opts, UW_PARTS_MERGE);
	case UW_OPT_STATUS: return set_mode(opts, UW_PARTS_STATUS);
	case UW_OPT_COMMANDS: return set_mode(opts, UW_PARTS_COMMANDS);
	}
	return false;
}

static const char *problem(const struct uw_parts_cli *cli, int nargs)
{
	const struct uw_parts_opts *o = cli->opts;
	bool works_on_parts = o->mode == UW_PARTS_PART || o->mode == UW_PARTS_MERGE || o->mode == UW_PARTS_COMMANDS;
	enum uw_archive_kind kind;

	if (o->nmodes > 1)
		return "only one of --plan, --part, --merge, --status, --print-commands can be done at a time";
	if (o->mode == UW_PARTS_MERGE && nargs != 0)
		return "--merge takes no PATH: it works on the parts of -o BUNDLE";
	if (o->mode != UW_PARTS_MERGE && nargs == 0)
		return "what of? Give a PATH";
	if (o->mode == UW_PARTS_STATUS ? cli->output != NULL : cli->output == NULL)
		return o->mode == UW_PARTS_STATUS ? "--status takes a bundle as its PATH, and no -o" :
						    "where to? Give -o BUNDLE";
	if (works_on_parts && uw_path_is_archive(cli->output, &kind))
		return "parts make a bundle that is a folder";
	if (o->mode == UW_PARTS_COMMANDS && o->nparts == 0)
		return "how many? Give --parts N";
	if (o->nparts != 0 && o->mode != UW_PARTS_COMMANDS && !(o->mode == UW_PARTS_PART && o->from_env))
		return "--parts goes with --part env and --print-commands";
	if (cli->base != NULL && (o->mode == UW_PARTS_MERGE || o->mode == UW_PARTS_STATUS))
		return "--merge and --status take no --base: the plan names it";
	if (o->with_plan != NULL && o->mode != UW_PARTS_PART)
		return "--with-plan goes with --part";
	return NULL;
}

int uw_parts_check(const struct uw_parts_cli *cli, int nargs)
{
	const char *text = problem(cli, nargs);

	if (text != NULL)
		uw_msg_error("%s", text);
	return text != NULL ? UW_EXIT_USAGE : UW_EXIT_OK;
}

/* ---- plan ---- */

/* Fills the plan from the model at `path`; free it in any case. */
static int make_plan(const struct uw_parts_cli *cli, struct uw_tool *tool, struct uw_bundle_base *base,
		     const char *path, struct uw_parts_plan *plan)
{
	struct uw_pack_model options = cli->pack;
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_source *source = NULL;
	struct uw_bundle bundle;
	char *where = NULL;
	int code = UW_EXIT_OK;
	enum uw_status status = uw_source_open_selected(path, cli->only, &tool->ops, uw_tmp_dir(), &bundle, &source, &err);

	*plan = (struct uw_parts_plan){ 0 };
	options.base = base;
	if (status == UW_OK)
		status = uw_bundle_set_base(&bundle, uw_bundle_base(base), &err);
	if (status == UW_OK) {
		uw_tool_watch(tool, source);
		status = uw_plan_make(source, &options, plan, &where, &err);
	}
	if (status != UW_OK)
		code = uw_tool_failure(where != NULL ? where : path, &err);
	uw_source_close(&source);
	uw_bundle_close(&bundle);
	free(where);
	return code;
}

static int print_text(const void *ctx, FILE *f)
{
	return fputs(ctx, f) == EOF ? -1 : 0;
}

static int do_plan(const struct uw_parts_cli *cli, struct uw_tool *tool, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_parts_plan plan;
	struct uw_bundle_base *base;
	char *text = NULL, size[32];
	size_t n;
	int code = uw_tool_open_base(tool, cli->base, &base);

	plan = (struct uw_parts_plan){ 0 };
	if (code == UW_EXIT_OK)
		code = make_plan(cli, tool, base, path, &plan);
	if (code == UW_EXIT_OK && (uw_plan_render(&plan, &text, &n, &err) != UW_OK ||
				   uw_write_text(cli->output, print_text, text, &err) != UW_OK))
		code = uw_tool_failure(cli->output, &err);
	if (code == UW_EXIT_OK)
		uw_msg_info("%" PRIu64 " files, %s", plan.nfiles, uw_human_size(plan.nbytes, size));
	free(text);
	uw_plan_free(&plan);
	uw_bundle_base_close(&base);
	return code;
}

/* ---- part ---- */

static uint64_t part_nbytes(const struct uw_parts_plan *plan, struct uw_part_id id)
{
	uint32_t *part_of = calloc((size_t)plan->nfiles + 1, sizeof(*part_of));
	uint64_t nbytes = 0;

	if (part_of != NULL && uw_plan_assign(plan, id.nparts, part_of, NULL) == UW_OK)
		for (uint64_t i = 0; i < plan->nfiles; i++)
			nbytes += part_of[i] == id.part ? plan->files[i].nbytes : 0;
	free(part_of);
	return nbytes;
}

static int run_part(const struct uw_parts_cli *cli, struct uw_tool *tool, const struct uw_parts_dir *dir,
		    struct uw_part_id id, struct uw_parts_plan *plan, struct uw_bundle_base *base, const char *path)
{
	struct uw_parts_run run = { .pack = cli->pack, .id = id, .force = cli->force, .kept = cli->kept };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_source *source = NULL;
	struct uw_bundle bundle;
	char *where = NULL;
	int code = UW_EXIT_OK;
	enum uw_status status = uw_source_open_selected(path, cli->only, &tool->ops, uw_tmp_dir(), &bundle, &source, &err);

	run.pack.job = tool->job;
	run.pack.base = base;
	if (status == UW_OK)
		status = uw_bundle_set_base(&bundle, uw_bundle_base(base), &err);
	if (status == UW_OK) {
		uw_tool_watch(tool, source);
		uw_progress_begin(&tool->progress, "compress", part_nbytes(plan, id));
		status = uw_parts_run(&run, dir, plan, source, &where, &err);
		uw_progress_end(&tool->progress);
	}
	if (status != UW_OK)
		code = uw_tool_failure(where != NULL ? where : status == UW_ERR_EXISTS ? dir->bundle : path, &err);
	uw_source_close(&source);
	uw_bundle_close(&bundle);
	free(where);
	return code;
}

int uw_parts_part(const struct uw_parts_cli *cli, struct uw_tool *tool, const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_part_id id = cli->opts->id;
	struct uw_parts_dir dir;
	struct uw_parts_plan plan = { 0 };
	struct uw_bundle_base *base = NULL;
	char *where = NULL;
	bool found = false;
	int code = UW_EXIT_OK;
	enum uw_status status = uw_parts_dir_init(&dir, cli->output, &err);

	if (status == UW_OK && cli->opts->from_env)
		status = uw_part_from_env(getenv, cli->opts->nparts, &id, &err);
	if (status == UW_OK)
		status = uw_parts_find_plan(&dir, cli->opts->with_plan, &plan, &found, &where, &err);
	if (status != UW_OK)
		code = uw_tool_failure(where != NULL ? where : "--part", &err);
	if (code == UW_EXIT_OK)
		code = uw_tool_open_base(tool, cli->base, &base);
	if (code == UW_EXIT_OK && !found)
		code = make_plan(cli, tool, base, path, &plan);
	if (code == UW_EXIT_OK) {
		uw_msg_info("part %" PRIu32 " of %" PRIu32, id.part + 1, id.nparts);
		code = run_part(cli, tool, &dir, id, &plan, base, path);
	}
	free(where);
	uw_plan_free(&plan);
	uw_bundle_base_close(&base);
	uw_parts_dir_free(&dir);
	return code;
}

/* ---- merge ---- */

int uw_parts_put_together(const struct uw_parts_cli *cli, struct uw_tool *tool, struct uw_manifest *manifest)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_parts_dir dir;
	char *where = NULL;
	int code = UW_EXIT_OK;
	enum uw_status status = uw_parts_dir_init(&dir, cli->output, &err);

	*manifest = (struct uw_manifest){ 0 };
	if (status == UW_OK)
		status = uw_parts_merge(&dir, &tool->job, cli->force, manifest, &where, &err);
	if (status != UW_OK) {
		code = uw_tool_failure(where != NULL ? where : cli->output, &err);
		if (status == UW_ERR_NOT_FOUND && err.os_errno == 0)
			code = UW_EXIT_EXISTS; /* a part is missing: a precondition, no fault of the input */
	}
	uw_parts_dir_free(&dir);
	free(where);
	return code;
}

/* ---- status ---- */

/* The parts, first to last, of one division that are done, or that are not. Ids of a division stand together. */
static json_t *parts_of(const struct uw_part_id *ids, uint64_t n, bool done)
{
	json_t *list = json_array();
	uint64_t k = 0;

	for (uint32_t part = 0; part < ids[0].nparts; part++) {
		bool is_done = k < n && ids[k].part == part;

		k += is_done;
		if (is_done == done)
			json_array_append_new(list, json_integer((json_int_t)part + 1));
	}
	return list;
}

/* "3,5-7", as Slurm's --array takes it. */
static void print_list(FILE *f, const json_t *list)
{
	size_t n = json_array_size(list);

	for (size_t i = 0, k; i < n; i = k) {
		json_int_t from = json_integer_value(json_array_get(list, i)), to = from;

		for (k = i + 1; k < n && json_integer_value(json_array_get(list, k)) == to + 1; k++)
			to++;
		fprintf(f, "%s%" JSON_INTEGER_FORMAT, i == 0 ? "" : ",", from);
		if (to != from)
			fprintf(f, "-%" JSON_INTEGER_FORMAT, to);
	}
}

/* One division into N parts; true if all of it is done. Nothing is printed if f is NULL. */
static bool tell_division(FILE *f, const struct uw_part_id *ids, uint64_t n, json_t *divisions)
{
	json_t *done = parts_of(ids, n, true), *missing = parts_of(ids, n, false);
	bool complete = json_array_size(missing) == 0;

	if (f != NULL) {
		fprintf(f, "%" PRIu64 " of %" PRIu32 " parts are done%s", n, ids[0].nparts, complete ? "" : "; missing: ");
		print_list(f, missing);
		fputc('\n', f);
	}
	json_array_append_new(divisions, json_pack("{s:I, s:o, s:o}", "parts", (json_int_t)ids[0].nparts, "done", done,
						   "missing", missing));
	return complete;
}

static void tell_files(FILE *f, const struct uw_parts_state *state, bool merged)
{
	if (merged)
		fprintf(f, "merged\n");
	else if (!state->planned && state->nids == 0)
		fprintf(f, "no part has been begun\n");
	else
		fprintf(f, "%" PRIu64 " of %" PRIu64 " files are stored\n", state->nstored, state->plan.nfiles);
}

static int tell_state(const struct uw_parts_cli *cli, const struct uw_parts_state *state, bool merged)
{
	FILE *f = cli->json != NULL && strcmp(cli->json, "-") == 0 ? NULL : stdout;
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	json_t *divisions = json_array();
	bool complete = merged;
	int code = UW_EXIT_OK;

	if (f != NULL)
		tell_files(f, state, merged);
	for (uint64_t i = 0, k; !merged && i < state->nids; i = k) {
		for (k = i + 1; k < state->nids && state->ids[k].nparts == state->ids[i].nparts; k++)
			;
		complete |= tell_division(f, &state->ids[i], k - i, divisions);
	}
	if (cli->json != NULL &&
	    uw_write_json(cli->json, json_pack("{s:s, s:b, s:b, s:I, s:I, s:O}", "schema", "unweight-status-1", "complete",
					       complete, "merged", merged, "files", (json_int_t)state->plan.nfiles,
					       "stored_files", (json_int_t)state->nstored, "divisions", divisions),
			  &err) != UW_OK)
		code = uw_tool_failure(cli->json, &err);
	json_decref(divisions);
	return code == UW_EXIT_OK && !complete ? UW_EXIT_DIFFERS : code;
}

static int do_status(const struct uw_parts_cli *cli, const struct uw_parts_dir *dir)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_parts_state state;
	const char *where = dir->work;
	enum uw_status status = uw_parts_look(dir, &state, &err);
	bool is_bundle = false;
	int code;

	if (status == UW_OK && state.merged && !state.planned) {
		where = dir->bundle;
		status = uw_bundle_probe(where, &is_bundle, &err);
		if (status == UW_OK && !is_bundle)
			status = uw_fail(&err, UW_ERR_EXISTS, UW_NO_OFFSET, "exists, but is no bundle");
	}
	code = status == UW_OK ? tell_state(cli, &state, is_bundle) : uw_tool_failure(where, &err);
	uw_parts_state_free(&state);
	return code;
}

/* ---- commands ---- */

/* For a POSIX shell. */
static void print_quoted(const char *text)
{
	putchar('\'');
	for (; *text != '\0'; text++) {
		if (*text == '\'')
			printf("'\\''");
		else
			putchar(*text);
	}
	putchar('\'');
}

static void print_option(const char *name, const char *arg)
{
	if (arg == NULL)
		return;
	printf("%s", name);
	print_quoted(arg);
}

static int print_commands(const struct uw_parts_cli *cli, const char *path, unsigned nthreads)
{
	for (uint32_t part = 1; part <= cli->opts->nparts; part++) {
		printf("unweight-compress --part %" PRIu32 "/%" PRIu32 " -p %s -T %u", part, cli->opts->nparts,
		       uw_profile_name(cli->pack.profile), nthreads);
		printf("%s%s%s -o ", cli->pack.strict ? " --strict" : "", cli->pack.check ? "" : " --no-check",
		       cli->force ? " -f" : "");
		print_quoted(cli->output);
		print_option(" --base ", cli->base);
		print_option(" --max-time ", cli->bounds->max_time);
		print_option(" --memory ", cli->bounds->memory);
		print_option(cli->from0 ? " -0 --files-from " : " --files-from ", cli->files_from);
		printf(" -- ");
		print_quoted(path);
		printf("\n");
	}
	return UW_EXIT_OK;
}

int uw_parts_other(const struct uw_parts_cli *cli, const char *path, unsigned nthreads)
{
	enum uw_parts_mode mode = cli->opts->mode;
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_parts_dir dir;
	struct uw_tool tool;
	int code;

	if (mode == UW_PARTS_COMMANDS)
		return print_commands(cli, path, nthreads);
	uw_tool_init(&tool, nthreads);
	uw_bounds_apply(cli->bounds, &tool);
	if (mode == UW_PARTS_PLAN)
		return do_plan(cli, &tool, path);
	code = uw_parts_dir_init(&dir, path, &err) == UW_OK ? do_status(cli, &dir) : uw_tool_failure(path, &err);
	uw_parts_dir_free(&dir);
	return code;
}
