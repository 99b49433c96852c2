/* SPDX-License-Identifier: Apache-2.0 */
/* The report as one HTML file: nothing is loaded from elsewhere, and the figures are there without the script. */
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "report_assets.h"
#include "scan_html.h"

static void put_text(struct uw_page *page, const char *text, size_t nbytes, const char *breaks)
{
	char *printable = uw_scan_printable(text, nbytes);

	if (printable == NULL) {
		page->failed = true;
		return;
	}
	for (const char *p = printable; *p != '\0'; p++) {
		switch (*p) {
		case '<': fputs("&lt;", page->f); break;
		case '>': fputs("&gt;", page->f); break;
		case '&': fputs("&amp;", page->f); break;
		case '"': fputs("&quot;", page->f); break;
		case '\'': fputs("&#39;", page->f); break;
		default: fputc(*p, page->f);
		}
		if (strchr(breaks, *p) != NULL)
			fputs("<wbr>", page->f);
	}
	free(printable);
}

void uw_page_text(struct uw_page *page, const char *text, size_t nbytes)
{
	put_text(page, text, nbytes, "");
}

void uw_page_name(struct uw_page *page, const char *name, size_t nbytes)
{
	put_text(page, name, nbytes, "._/");
}

void uw_page_size(struct uw_page *page, uint64_t nbytes)
{
	char size[32];

	fputs(uw_human_size(nbytes, size), page->f);
}

void uw_page_exponent(struct uw_page *page, int exponent)
{
	if (exponent == 0)
		fputs("0", page->f);
	else if (exponent == 255)
		fputs("&infin;", page->f);
	else
		fprintf(page->f, "2<sup>%s%d</sup>", exponent < 127 ? "&minus;" : "", abs(exponent - 127));
}

/* ---- page --------------------------------------------------------------------------------- */

static int by_role_and_layer(const void *a, const void *b)
{
	const struct uw_page_row *x = a, *y = b;

	if (x->role != y->role)
		return x->role < y->role ? -1 : 1;
	if (x->layer != y->layer)
		return x->layer < y->layer ? -1 : 1;
	return (x->tensor > y->tensor) - (x->tensor < y->tensor);
}

static void row_add(struct uw_page *page, uint64_t i)
{
	const struct uw_scan_tensor *t = &page->report->tensors[i];
	struct uw_page_row row = {.tensor = i, .role = uw_scan_role_of(&t->extent),
				  .layer = uw_scan_layer_of(&t->extent)};
	uint64_t total = 0;

	for (int e = 0; e < 256; e++)
		total += t->counts[e];
	if (total == 0)
		return;
	uw_scan_stats_of(t->counts, &row.stats);
	page->rows[page->nrows++] = row;
}

static void columns_of(struct uw_page *page)
{
	const uint64_t *counts = page->totals.counts;
	double total = 0, most = 0;

	for (int e = 0; e < 256; e++) {
		if (counts[e] != 0)
			page->columns[page->ncolumns++] = (uint8_t)e;
		total += (double)counts[e];
		most = fmax(most, (double)counts[e]);
	}
	/* Norms often have all weights in one exponent; the scale belongs to the matrices. */
	page->top_share = total > 0 ? fmin(1, 1.5 * most / total) : 1;
}

static bool page_begin(struct uw_page *page, const struct uw_scan_report *report, FILE *f)
{
	*page = (struct uw_page){.f = f, .report = report};
	uw_scan_totals_of(report, &page->totals);
	page->rows = calloc(report->ntensors + 1, sizeof(*page->rows));
	if (page->rows == NULL)
		return false;
	for (uint64_t i = 0; i < report->ntensors; i++) {
		if (uw_scan_is_bf16(&report->tensors[i]))
			row_add(page, i);
	}
	qsort(page->rows, page->nrows, sizeof(*page->rows), by_role_and_layer);
	columns_of(page);
	uw_page_plan_map(page);
	return true;
}

static void model_name(struct uw_page *page)
{
	const char *path = page->report->model, *end = path + strlen(path), *begin;

	while (end > path + 1 && end[-1] == '/')
		end--;
	for (begin = end; begin > path && begin[-1] != '/'; begin--)
		;
	uw_page_text(page, begin, (size_t)(end - begin));
}

static void head(struct uw_page *page)
{
	FILE *f = page->f;

	fputs("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
	      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n"
	      "<meta name=\"color-scheme\" content=\"light dark\">\n"
	      /* Defence in depth: even a slip in escaping could load nothing and send nothing. */
	      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
	      "style-src 'unsafe-inline'; script-src 'unsafe-inline'\">\n<title>", f);
	model_name(page);
	fprintf(f, " &middot; Unweight scan</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n<header>\n"
		"<p class=\"kicker\">Unweight scan</p>\n<h1>", uw_report_css);
	model_name(page);
	fputs("</h1>\n<p class=\"path\">", f);
	uw_page_text(page, page->report->model, strlen(page->report->model));
	fputs("</p>\n<p class=\"lead\">", f);
	uw_scan_print_share(f, &page->totals);
	fputc(' ', f);
	uw_scan_print_outcome(f, &page->totals);
	fputs("</p>\n</header>\n", f);
}

static void profile_tile(struct uw_page *page, int p)
{
	static const char *const what[] = {"to store and send", "decoded inside the GPU&#39;s matrix products"};
	const struct uw_scan_totals *t = &page->totals;
	uint64_t src = t->all.src_nbytes, dst = t->all.nbytes[p];

	fprintf(page->f, "<div class=\"tile p%d\"><h2>%s bundle</h2><p class=\"big\">", p,
		p == 0 ? "Distribution" : "Inference");
	if (src != 0)
		fprintf(page->f, "%s%.1f&#8239;%%", dst <= src ? "&minus;" : "+",
			100 * fabs((double)src - (double)dst) / (double)src);
	else
		fputs("&ndash;", page->f);
	fputs("</p><p>", page->f);
	uw_page_size(page, dst);
	fputs(dst <= src ? ", saves " : ", adds ", page->f);
	uw_page_size(page, dst <= src ? src - dst : dst - src);
	fputs("</p><p>", page->f);
	if (t->nweights != 0)
		fprintf(page->f, "%.2f bits per BF16 weight; ",
			8.0 * (double)t->dtype[UW_DTYPE_BF16].nbytes[p] / (double)t->nweights);
	fprintf(page->f, "%s</p></div>\n", what[p]);
}

static void tiles(struct uw_page *page)
{
	const struct uw_scan_totals *t = &page->totals;
	uint64_t ntensors = 0;

	for (int d = 0; d < 256; d++)
		ntensors += t->dtype[d].n;
	fputs("<section class=\"tiles\">\n<div class=\"tile\"><h2>Source</h2><p class=\"big\">", page->f);
	uw_page_size(page, t->all.src_nbytes);
	fprintf(page->f, "</p><p>%" PRIu64 " file%s, %" PRIu64 " tensor%s</p><p>%" PRIu64 " bytes</p></div>\n",
		page->report->nfiles,
		page->report->nfiles == 1 ? "" : "s", ntensors, ntensors == 1 ? "" : "s", t->all.src_nbytes);
	for (int p = 0; p < UW_SCAN_NPROFILES; p++)
		profile_tile(page, p);
	fputs("<div class=\"tile\"><h2>Exponent entropy</h2><p class=\"big\">", page->f);
	if (t->nweights != 0) {
		double entropy = 8 * t->src.exponent / (double)t->nweights;

		fprintf(page->f,
			"%.2f<small> of 8 bits</small></p><p>mean over the BF16 weights</p><p>Sign and mantissa "
			"do not compress: about %.2f bits per weight are needed</p></div>\n", entropy, 8 + entropy);
	} else {
		fputs("&ndash;</p><p>The model has no BF16 weights</p></div>\n", page->f);
	}
	fputs("</section>\n", page->f);
}

static void warnings(struct uw_page *page)
{
	uint64_t n = 0, nbytes = 0;

	for (uint64_t i = 0; i < page->report->nfiles; i++) {
		if (page->report->files[i].warning != NULL) {
			n++;
			nbytes += page->report->files[i].nbytes;
		}
	}
	if (n == 0)
		return;
	fprintf(page->f, "<section class=\"warn\">\n<h2>%" PRIu64 " file%s carried opaque</h2>\n<p>", n,
		n == 1 ? " is" : "s are");
	uw_page_size(page, nbytes);
	fputs(" come back byte for byte, but their tensors are not seen and hardly compressed.</p>\n<ul>\n", page->f);
	for (uint64_t i = 0; i < page->report->nfiles; i++) {
		const struct uw_scan_file *file = &page->report->files[i];

		if (file->warning == NULL)
			continue;
		fputs("<li><code>", page->f);
		uw_page_text(page, file->path, strlen(file->path));
		fputs("</code> (", page->f);
		uw_page_size(page, file->nbytes);
		fputs("): ", page->f);
		uw_page_text(page, file->warning, strlen(file->warning));
		fputs("</li>\n", page->f);
	}
	fputs("</ul>\n</section>\n", page->f);
}

int uw_scan_write_html(const struct uw_scan_report *report, FILE *f)
{
	struct uw_page page;

	errno = 0;
	if (!page_begin(&page, report, f))
		return -1;
	head(&page);
	tiles(&page);
	warnings(&page);
	uw_page_bytes(&page);
	uw_page_dtypes(&page);
	uw_page_map(&page);
	uw_page_layers(&page);
	uw_page_tensors(&page);
	fputs("</main>\n", f);
	uw_page_data(&page);
	fprintf(f, "<script>\n%s</script>\n</body>\n</html>\n", uw_report_js);
	free(page.rows);
	if (page.failed) {
		errno = ENOMEM;
		return -1;
	}
	return uw_scan_close(f);
}
