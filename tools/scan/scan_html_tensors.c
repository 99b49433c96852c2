/* SPDX-License-Identifier: Apache-2.0 */
/* The table of tensors: the largest ones as HTML, all of them as data for the script, which sorts and filters. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scan_html.h"

#define SHOWN 100 /* the script shows as many at a time */

struct ranked {
	const struct uw_scan_tensor *tensor;
	uint64_t i;
};

static int by_size(const void *a, const void *b)
{
	const struct ranked *x = a, *y = b;
	uint64_t m = x->tensor->extent.src_nbytes, n = y->tensor->extent.src_nbytes;

	if (m != n)
		return m < n ? 1 : -1;
	return (x->i > y->i) - (x->i < y->i);
}

/* Tensors and opaque files, largest first; NULL if there is no memory. */
static struct ranked *rank(const struct uw_scan_report *report, uint64_t *n)
{
	struct ranked *ranked = calloc(report->ntensors + 1, sizeof(*ranked));

	*n = 0;
	if (ranked == NULL)
		return NULL;
	for (uint64_t i = 0; i < report->ntensors; i++) {
		if (report->tensors[i].extent.kind != UW_EXTENT_HEADER)
			ranked[(*n)++] = (struct ranked){&report->tensors[i], i};
	}
	qsort(ranked, *n, sizeof(*ranked), by_size);
	return ranked;
}

static const char *dtype_name(const struct uw_scan_tensor *t)
{
	const char *name = uw_dtype_name(t->extent.dtype);

	return t->extent.kind == UW_EXTENT_OPAQUE ? "opaque" : name != NULL ? name : "?";
}

static void profile_cell(struct uw_page *page, const struct uw_scan_tensor *t, int p)
{
	char codings[UW_CODINGS_NBYTES];

	fprintf(page->f, "<td class=\"n\">%.*f</td><td class=\"c\">%s</td>", uw_scan_is_bf16(t) ? 2 : 1,
		uw_scan_rate(t, p), uw_scan_codings(t, p, codings));
}

/* Bars are of the tensor's own size, for all to be readable; the size itself shades the cell of its number. */
static void row(struct uw_page *page, const struct uw_scan_tensor *t, double most)
{
	struct uw_scan_sum sum = {.src_nbytes = t->extent.src_nbytes,
				  .nbytes = {t->profile[0].nbytes, t->profile[1].nbytes}};
	size_t n;
	const char *name = uw_scan_label(t, &n);

	fputs("<tr><th scope=\"row\">", page->f);
	uw_page_name(page, name, n);
	fprintf(page->f, "</th><td>%s</td><td class=\"w\">", dtype_name(t));
	uw_scan_print_shape(page->f, &t->extent, "&times;");
	fprintf(page->f, "</td><td class=\"n size\" style=\"--part:%.2f%%\">",
		100 * (double)t->extent.src_nbytes / most);
	uw_page_size(page, t->extent.src_nbytes);
	fputs("</td><td class=\"bacell\">", page->f);
	uw_page_before_after(page, 100, &sum);
	fputs("</td>", page->f);
	for (int p = 0; p < UW_SCAN_NPROFILES; p++)
		profile_cell(page, t, p);
	if (uw_scan_is_bf16(t)) {
		struct uw_scan_stats stats;

		uw_scan_stats_of(t->counts, &stats);
		fprintf(page->f, "<td class=\"n\">%.3f</td><td class=\"n w\">%.3f</td><td class=\"n w\">%.4f</td>",
			stats.entropy, 100 * stats.top16, 100 * uw_scan_escape_rate(t, UW_SCAN_DISTRIBUTION));
	} else {
		fputs("<td></td><td class=\"w\"></td><td class=\"w\"></td>", page->f);
	}
	fputs("</tr>\n", page->f);
}

static void table_head(struct uw_page *page)
{
	static const struct {
		const char *name, *css, *title;
	} columns[] = {
		{"tensor", "", "name of the tensor, path of an opaque file"},
		{"dtype", "", "data type"},
		{"shape", "w", "dimensions, outermost first"},
		{"source", "n", "size in the source, shaded by it"},
		{"before, after", "", "what is left of the source in the distribution and in the inference bundle"},
		{"dist.", "n", "distribution bundle: bits per weight for BF16, else percent of the source"},
		{"coding", "", "coding in the distribution bundle"},
		{"inf.", "n", "inference bundle: bits per weight for BF16, else percent of the source"},
		{"coding", "", "coding in the inference bundle"},
		{"entropy", "n", "entropy of the exponents in bits"},
		{"top 16 %", "n w", "share of the 16 most frequent exponents in percent"},
		{"escapes %", "n w", "weights outside their palette in percent, distribution bundle"},
	};

	fputs("<thead><tr>", page->f);
	for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
		fprintf(page->f, "<th scope=\"col\" class=\"%s\" title=\"%s\">%s</th>", columns[i].css,
			columns[i].title, columns[i].name);
	fputs("</tr></thead>\n", page->f);
}

void uw_page_tensors(struct uw_page *page)
{
	uint64_t n;
	struct ranked *ranked = rank(page->report, &n);

	if (ranked == NULL) {
		page->failed = true;
		return;
	}
	if (n != 0) {
		fputs("<section id=\"tensors\">\n<h2>Tensors before and after</h2>\n<p class=\"note\">Sizes in the bundles "
		      "are bits per weight (of 16) "
		      "for BF16, else percent of the source.", page->f);
		if (n > SHOWN)
			fprintf(page->f, "<span class=\"nojs\"> The %d largest of %" PRIu64 ".</span>", SHOWN, n);
		fputs("</p>\n<div id=\"tools\"></div>\n<div class=\"scroll\"><table class=\"tensors\">\n", page->f);
		table_head(page);
		fputs("<tbody>\n", page->f);
		for (uint64_t i = 0; i < n && i < SHOWN; i++)
			row(page, ranked[i].tensor, fmax(1, (double)ranked[0].tensor->extent.src_nbytes));
		fputs("</tbody>\n</table></div>\n</section>\n", page->f);
	}
	free(ranked);
}

/* ---- data --------------------------------------------------------------------------------- */

/* JSON inside <script>: no character that could end the element or open a comment. All three occur in strings only. */
static int put_json(const char *text, size_t n, void *ctx)
{
	FILE *f = ctx;

	for (size_t i = 0; i < n; i++) {
		if (text[i] == '<' || text[i] == '>' || text[i] == '&')
			fprintf(f, "\\u%04x", (unsigned)text[i]);
		else
			fputc(text[i], f);
	}
	return 0;
}

/* Takes `value`. */
static void dump(struct uw_page *page, json_t *value)
{
	if (value == NULL || json_dump_callback(value, put_json, page->f,
						JSON_COMPACT | JSON_ENSURE_ASCII | JSON_ENCODE_ANY |
						JSON_REAL_PRECISION(6)) != 0)
		page->failed = true;
	json_decref(value);
}

static json_t *printable(const char *text, size_t n)
{
	char *copy = uw_scan_printable(text, n);
	json_t *value = copy != NULL ? json_string(copy) : NULL;

	free(copy);
	return value;
}

static json_t *shape(const struct uw_extent *extent)
{
	char *text = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&text, &n);
	json_t *value;

	if (f == NULL)
		return NULL;
	uw_scan_print_shape(f, extent, "\xC3\x97");
	fclose(f);
	value = text != NULL ? json_string(text) : NULL;
	free(text);
	return value;
}

/* The script takes them in this order. Sizes as doubles: exact up to 2^53. */
static json_t *tensor_array(const struct uw_scan_tensor *t)
{
	char codings[UW_SCAN_NPROFILES][UW_CODINGS_NBYTES];
	struct uw_scan_stats stats;
	size_t n;
	const char *name = uw_scan_label(t, &n);

	uw_scan_stats_of(t->counts, &stats);
	return json_pack("[o, s, o, f, f, f, s, s, f, f, f, f, s, i]", printable(name, n), dtype_name(t),
			 shape(&t->extent),
			 (double)t->extent.src_nbytes, (double)t->profile[0].nbytes, (double)t->profile[1].nbytes,
			 uw_scan_codings(t, 0, codings[0]), uw_scan_codings(t, 1, codings[1]), stats.entropy,
			 100 * stats.top16, 100 * uw_scan_escape_rate(t, 0), 100 * uw_scan_escape_rate(t, 1),
			 uw_role_name(uw_scan_role_of(&t->extent)), uw_scan_layer_of(&t->extent));
}

/* Shares of the heat map, two base 64 digits a cell: 0 for none, else 1 + 4094 (1 + log2(share) / 40), so that
 * 0.3 % are between neighbours and the rarest exponent of the largest tensor is above 0. */
static void cells(struct uw_page *page, uint64_t r)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint64_t *counts = uw_page_tensor(page, r)->counts;
	double total = 0;

	for (int e = 0; e < 256; e++)
		total += (double)counts[e];
	for (int c = 0; c < page->ncolumns; c++) {
		double count = (double)counts[page->columns[c]];
		int code = count > 0 ? 1 + (int)lround(4094 * fmax(0, 1 + log2(count / total) / 40)) : 0;

		fputc(digits[code >> 6], page->f);
		fputc(digits[code & 63], page->f);
	}
}

void uw_page_data(struct uw_page *page)
{
	uint64_t n, *places;
	struct ranked *ranked = rank(page->report, &n);

	places = calloc(page->report->ntensors + 1, sizeof(*places));
	if (ranked == NULL || places == NULL) {
		page->failed = true;
		free(ranked);
		free(places);
		return;
	}
	fputs("<script type=\"application/json\" id=\"data\">{\"tensors\":[", page->f);
	for (uint64_t i = 0; i < n && !page->failed; i++) {
		places[ranked[i].i] = i;
		fputs(i != 0 ? ",\n" : "\n", page->f);
		dump(page, tensor_array(ranked[i].tensor));
	}
	fputs("],\n\"rows\":[", page->f);
	for (uint64_t r = 0; r < page->nrows; r++)
		fprintf(page->f, "%s%" PRIu64, r != 0 ? "," : "", places[page->rows[r].tensor]);
	fputs("],\n\"runs\":[", page->f);
	for (int i = 0; i < page->nruns; i++)
		fprintf(page->f, "%s[%" PRIu64 ",%" PRIu64 ",%" PRIu64 "]", i != 0 ? "," : "", page->runs[i].first,
			page->runs[i].n, page->runs[i].nlines);
	fputs("],\n\"columns\":[", page->f);
	for (int c = 0; c < page->ncolumns; c++)
		fprintf(page->f, "%s%d", c != 0 ? "," : "", page->columns[c]);
	fputs("],\n\"cells\":\"", page->f);
	for (uint64_t r = 0; r < page->nrows; r++)
		cells(page, r);
	fputs("\"}</script>\n", page->f);
	free(ranked);
	free(places);
}
