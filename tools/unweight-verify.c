/* SPDX-License-Identifier: Apache-2.0 */
#include <stdlib.h>
#include <string.h>

#include "bounds.h"
#include "places.h"
#include "provenance.h"
#include "tool.h"
#include "verify.h"

enum { OPT_LEVEL, OPT_AGAINST, OPT_SUMS, OPT_EXPECT, OPT_THREADS, OPT_JSON, OPT_JUNIT, OPT_GITHUB, OPT_BASE, OPT_MANIFEST };

static const struct uw_option options[] = {
	{ 'l', "level", "LEVEL", "structure, checksum or decode (the default)", OPT_LEVEL,
	  "structure checksum decode" },
	{ 0, "against", "PATH", "compare with this model, byte for byte: a file, folder, archive or bundle", OPT_AGAINST },
	{ 0, "sha256sums", "FILE", "compare with a list of SHA-256 sums as sha256sum writes it", OPT_SUMS },
	{ 0, "against-manifest", "FILE", "compare with a list of files and digests: as sha256sum writes it, the statement that\n"
	  "compress --signing-statement writes, or a Hugging Face hub's JSON listing of a\n"
	  "repository (/api/models/NAME/tree/REVISION?recursive=true); - is standard input", OPT_MANIFEST },
	{ 0, "expect-digest", "SHA256", "the source's digest: that of the list of its files' SHA-256 by ascending path\n"
	  "(compress --sha256sums), or of the file itself if it is one file", OPT_EXPECT },
	{ 0, "base", "BUNDLE", "the base of a bundle that stores only what differs from it: decode and --against need it", OPT_BASE },
	{ 'T', "threads", "N", "threads; 0 (the default) = all available CPUs", OPT_THREADS },
	{ 0, "json", "FILE", "write a report; - is standard output", OPT_JSON },
	{ 0, "junit", "FILE", "write a JUnit XML report, one test case a file", OPT_JUNIT },
	{ 0, "github", NULL, "if GITHUB_ACTIONS is true, say on standard output what is bad as GitHub annotates it",
	  OPT_GITHUB },
	UW_BOUND_OPTIONS,
	{ 0 },
};

static const struct uw_cli cli = {
	.name = "unweight-verify",
	.synopsis = "BUNDLE [options]",
	.summary = "Proves that a bundle is whole and bit-exact. BUNDLE is a folder, a tar of it, or one container.",
	.epilog = "structure: manifest, indexes, sizes, no stray files. checksum: every stored byte as well. decode: everything is\n"
		  "decoded, and each file has the SHA-256 of its source. --against names the first difference: tensor, row,\n"
		  "column and both values.\n\n"
		  "Exit codes: 0 good, 1 differs from what it was compared with, 2 usage, 3 the other model is not acceptable,\n"
		  "or not the base, 5 corrupt bundle, 6 I/O error, 7 out of memory, 8 unsupported version, 70 bug,\n"
		  "124 --max-time is over.",
	.options = options,
	.min_args = 1,
	.max_args = 1,
};

struct opts {
	enum uw_verify_level level;
	const char *against, *sums, *manifest, *json, *junit, *base;
	unsigned nthreads;
	struct uw_bounds bounds;
	bool expect, github;
	uint8_t expected[UW_SHA256_NBYTES];
};

static const char *const level_names[] = { "structure", "checksum", "decode" };

static bool set_level(struct opts *o, const char *arg)
{
	for (int i = 0; i < 3; i++) {
		if (strcmp(arg, level_names[i]) == 0) {
			o->level = (enum uw_verify_level)i;
			return true;
		}
	}
	uw_msg_error("unknown level '%s': it is structure, checksum or decode", arg);
	return false;
}

static bool set_option(void *ctx, int id, const char *arg)
{
	struct opts *o = ctx;

	switch (id) {
	case OPT_LEVEL: return set_level(o, arg);
	case OPT_AGAINST: o->against = arg; return true;
	case OPT_SUMS: o->sums = arg; return true;
	case OPT_MANIFEST: o->manifest = arg; return true;
	case OPT_EXPECT: return o->expect = uw_parse_digest(arg, o->expected);
	case OPT_THREADS: return uw_parse_threads(arg, &o->nthreads);
	case OPT_JSON: o->json = arg; return true;
	case OPT_BASE: o->base = arg; return true;
	case OPT_JUNIT: o->junit = arg; return true;
	case OPT_GITHUB: o->github = true; return true;
	}
	return uw_bounds_option(&o->bounds, id, arg);
}

/* ---- what was found ---- */

struct findings {
	const char *bundle; /* as the caller spelt it */
	json_t *files; /* in order; each with "check", "path", "bytes", "status" and what was wrong */
	const char *check;
	uint64_t ngood, nbad;
	bool github;
};

/* What would end a workflow command or one of its properties, and percent signs, as %XX. */
static void print_command_text(const char *text, const char *specials)
{
	for (; *text != '\0'; text++) {
		if (strchr(specials, *text) != NULL)
			printf("%%%02X", (unsigned char)*text);
		else
			putchar(*text);
	}
}

static void annotate(const struct findings *f, const char *path, const struct uw_error *err)
{
	printf("::error file=");
	print_command_text(path, "%\r\n:,");
	printf(",title=unweight-verify%%3A %s::", f->check);
	print_command_text(err->what[0] != '\0' ? err->what : uw_status_text(err->status), "%\r\n");
	putchar('\n');
}

static void take_verdict(void *ctx, const struct uw_verdict *verdict)
{
	struct findings *f = ctx;
	const char *path = verdict->path != NULL ? verdict->path : "(bundle)";
	bool bad = verdict->status != UW_OK, located = bad && verdict->err.file_off != UW_NO_OFFSET;
	json_t *file;

	if (bad)
		uw_tool_failure(verdict->path != NULL ? path : f->bundle, &verdict->err);
	else
		uw_msg_info("%s: %s: good", path, f->check);
	if (bad && f->github)
		annotate(f, verdict->path != NULL ? path : f->bundle, &verdict->err);
	f->ngood += !bad;
	f->nbad += bad;
	if (verdict->path != NULL)
		uw_progress_file(path, verdict->nbytes, UINT64_MAX, bad ? uw_status_text(verdict->status) : "good");
	file = json_pack("{s:s, s:o, s:I, s:s, s:o?}", "check", f->check, "path", uw_json_text(path), "bytes",
			 (json_int_t)verdict->nbytes, "status", bad ? uw_status_text(verdict->status) : "good",
			 "what", bad ? uw_json_text(verdict->err.what) : NULL);
	if (file != NULL && located)
		json_object_set_new(file, "offset", json_integer((json_int_t)verdict->err.file_off));
	json_array_append_new(f->files, file);
}

static json_t *json_report(const struct opts *o, const char *path, const struct findings *f)
{
	return json_pack("{s:s, s:o, s:s, s:b, s:O}", "schema", "unweight-verify-1", "bundle", uw_json_text(path), "level",
			 level_names[o->level], "good", f->nbad == 0, "files", f->files);
}

static void print_xml(FILE *out, const char *text)
{
	for (; *text != '\0'; text++) {
		unsigned char c = (unsigned char)*text;

		switch (c) {
		case '<': fputs("&lt;", out); break;
		case '>': fputs("&gt;", out); break;
		case '&': fputs("&amp;", out); break;
		case '"': fputs("&quot;", out); break;
		default:
			if (c < 0x20 || c == 0x7F) { /* XML has no way to say these */
				fprintf(out, "\\x%02x", c);
			} else if (strncmp(text, "\xEF\xBF\xBE", 3) == 0 || strncmp(text, "\xEF\xBF\xBF", 3) == 0) {
				fprintf(out, "\\u%s", (unsigned char)text[2] == 0xBE ? "fffe" : "ffff"); /* nor U+FFFE, U+FFFF */
				text += 2;
			} else {
				fputc(c, out);
			}
		}
	}
}

static int print_junit(const void *ctx, FILE *out)
{
	const struct findings *f = ctx;
	const json_t *file;
	size_t i;

	fprintf(out, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
	fprintf(out, "<testsuite name=\"unweight-verify\" tests=\"%llu\" failures=\"%llu\">\n",
		(unsigned long long)(f->ngood + f->nbad), (unsigned long long)f->nbad);
	json_array_foreach(f->files, i, file) {
		const char *what = json_string_value(json_object_get(file, "what"));

		fputs("  <testcase classname=\"", out);
		print_xml(out, json_string_value(json_object_get(file, "check")));
		fputs("\" name=\"", out);
		print_xml(out, json_string_value(json_object_get(file, "path")));
		if (what == NULL) {
			fputs("\"/>\n", out);
			continue;
		}
		fputs("\"><failure message=\"", out);
		print_xml(out, json_string_value(json_object_get(file, "status")));
		fputs("\">", out);
		print_xml(out, what);
		fputs("</failure></testcase>\n", out);
	}
	fputs("</testsuite>\n", out);
	return ferror(out) ? -1 : 0;
}

/* ---- the checks ---- */

static enum uw_status verify(struct uw_tool *tool, const struct opts *o, const struct uw_bundle *bundle,
			     struct findings *f)
{
	uint64_t total = 0;
	enum uw_status status;

	for (uint64_t i = 0; i < bundle->manifest.nfiles; i++) {
		const struct uw_manifest_file *file = &bundle->manifest.files[i];

		if (o->level >= UW_VERIFY_CHECKSUM && file->container)
			total += file->id.nbytes;
		if (o->level == UW_VERIFY_DECODE || (o->level == UW_VERIFY_CHECKSUM && !file->container))
			total += file->nbytes;
	}
	f->check = level_names[o->level];
	uw_progress_begin(&tool->progress, "verify", total);
	status = uw_bundle_verify(bundle, o->level, &tool->job, take_verdict, f);
	uw_progress_end(&tool->progress);
	return status;
}

/* The other model may be a bundle with the same base. */
static enum uw_status compare(struct uw_tool *tool, const struct opts *o, const struct uw_bundle *bundle,
			      struct findings *f)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_source *source = NULL;
	struct uw_bundle other;
	enum uw_status status = uw_source_open_path(o->against, &tool->ops, uw_tmp_dir(), &other, &source, &err);

	f->check = "against";
	if (status == UW_OK)
		status = uw_bundle_set_base(&other, bundle->base, &err);
	if (status == UW_OK) {
		uw_tool_watch(tool, source);
		uw_progress_begin(&tool->progress, "compare", source->nbytes);
		status = uw_bundle_compare(bundle, source, &tool->job, take_verdict, f);
		uw_progress_end(&tool->progress);
	} else {
		uw_tool_failure(o->against, &err);
	}
	uw_source_close(&source);
	uw_bundle_close(&other);
	return status;
}

/* A bundle that does not open is as bad as one that does not verify: one verdict on the whole. */
static enum uw_status unopened(struct findings *f, const struct uw_error *err)
{
	struct uw_verdict verdict = { .status = err->status, .err = *err };

	f->check = "open";
	take_verdict(f, &verdict);
	return err->status;
}

/* One verdict on the whole. */
static enum uw_status compare_digest(const struct opts *o, const struct uw_bundle *bundle, struct findings *f)
{
	struct uw_verdict verdict = { .err.file_off = UW_NO_OFFSET };

	f->check = "expect-digest";
	verdict.status = uw_bundle_expect(bundle, o->expected, &verdict.err);
	take_verdict(f, &verdict);
	return verdict.status;
}

/* The base is needed for what is decoded; one that is given has to be the right one. */
static enum uw_status open_with_base(struct uw_tool *tool, const struct opts *o, const char *path,
				     const struct uw_base *base, struct uw_bundle *bundle, struct uw_error *err)
{
	enum uw_status status = uw_bundle_open(path, &tool->ops, bundle, err);

	if (status != UW_OK || (base == NULL && o->level != UW_VERIFY_DECODE && o->against == NULL))
		return status;
	return uw_bundle_set_base(bundle, base, err);
}

static enum uw_status all_checks(struct uw_tool *tool, const struct opts *o, const char *path,
				 const struct uw_base *base, struct findings *f)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_bundle bundle;
	enum uw_status worst = open_with_base(tool, o, path, base, &bundle, &err), status = UW_OK;

	if (worst != UW_OK) {
		worst = unopened(f, &err);
	} else {
		worst = verify(tool, o, &bundle, f);
		if (o->against != NULL && worst == UW_OK)
			worst = compare(tool, o, &bundle, f);
		if (o->sums != NULL && worst != UW_ERR_CANCELLED) {
			f->check = "sha256sums";
			status = uw_bundle_compare_list(&bundle, o->sums, UW_LIST_SUMS, &tool->job, take_verdict, f);
			worst = worst == UW_OK ? status : worst;
		}
		if (o->manifest != NULL && worst != UW_ERR_CANCELLED) {
			f->check = "against-manifest";
			status = uw_bundle_compare_list(&bundle, o->manifest, UW_LIST_ANY, &tool->job, take_verdict, f);
			worst = worst == UW_OK ? status : worst;
		}
		if (o->expect && worst != UW_ERR_CANCELLED) {
			status = compare_digest(o, &bundle, f);
			worst = worst == UW_OK ? status : worst;
		}
	}
	uw_bundle_close(&bundle);
	return worst;
}

static bool in_github(void)
{
	const char *value = getenv("GITHUB_ACTIONS");

	return value != NULL && strcmp(value, "true") == 0;
}

static int run(const struct opts *o, const char *path)
{
	struct findings f = { .bundle = path, .files = json_array(), .github = o->github && in_github() };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_bundle_base *base;
	struct uw_tool tool;
	int code;

	uw_tool_init(&tool, o->nthreads);
	uw_bounds_apply(&o->bounds, &tool);
	code = uw_tool_open_base(&tool, o->base, &base);
	if (code == UW_EXIT_OK)
		code = uw_exit_of_status(all_checks(&tool, o, path, uw_bundle_base(base), &f));
	uw_bundle_base_close(&base);
	if (code != UW_EXIT_OK && uw_json_lacked_memory())
		code = UW_EXIT_SPACE; /* what was found wrong may be our own reading */
	uw_msg_info("%llu good, %llu bad", (unsigned long long)f.ngood, (unsigned long long)f.nbad);
	if (o->json != NULL && uw_write_json(o->json, json_report(o, path, &f), &err) != UW_OK)
		code = uw_tool_failure(o->json, &err);
	if (o->junit != NULL && uw_write_text(o->junit, print_junit, &f, &err) != UW_OK)
		code = uw_tool_failure(o->junit, &err);
	json_decref(f.files);
	return code;
}

static int check_places(const struct opts *o, const char *path)
{
	const struct uw_places places = {
		.reads = { path, o->against, o->sums, o->base, o->manifest },
		.output = o->github ? "-" : NULL,
		.reports = { o->json, o->junit },
	};

	return uw_places_check(&places);
}

int main(int argc, char **argv)
{
	struct opts o = { .level = UW_VERIFY_DECODE };
	struct uw_cli_result r = uw_cli_parse(&cli, argc, argv, set_option, &o);

	if (r.exit_code >= 0)
		return r.exit_code;
	r.exit_code = check_places(&o, r.args[0]);
	return r.exit_code != UW_EXIT_OK ? r.exit_code : uw_tool_exit(run(&o, r.args[0]));
}
