/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The heat map: tensors down, exponents across. The picture is a BMP in a data URI, one pixel a cell, enlarged by the
 * browser: small for thousands of tensors and there without the script. It is grey; an SVG filter gives it the
 * colours of the light or the dark page.
 */
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scan_html.h"

#define MAX_LINES 620 /* of the picture, but for small roles */
#define MIN_LINES 24  /* of a role, when not all rows fit */
#define LABELLED 64u  /* up to so many tensors, each line has its name */

/* ---- picture ------------------------------------------------------------------------------ */

struct base64 {
	FILE *f;
	uint32_t bits;
	int n;
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void put_byte(struct base64 *b, unsigned byte)
{
	b->bits = b->bits << 8 | byte;
	if (++b->n < 3)
		return;
	for (int shift = 18; shift >= 0; shift -= 6)
		fputc(alphabet[b->bits >> shift & 63], b->f);
	b->n = 0;
	b->bits = 0;
}

static void put_end(struct base64 *b)
{
	int n = b->n;

	if (n == 0)
		return;
	b->bits <<= 8 * (3 - n);
	for (int i = 0; i <= n; i++)
		fputc(alphabet[b->bits >> (18 - 6 * i) & 63], b->f);
	fputs(n == 1 ? "==" : "=", b->f);
}

static void put_le(struct base64 *b, uint32_t value, int nbytes)
{
	for (int i = 0; i < nbytes; i++)
		put_byte(b, value >> 8 * i & 255);
}

/* Grey, 8 bits, lines from the top down. Level 255 is black, so that it reads even where filters do not work. */
static void put_bmp_head(struct base64 *b, uint32_t width, uint32_t height)
{
	uint32_t nbytes = (width + 3) / 4 * 4 * height;

	put_le(b, 0x4D42, 2);
	put_le(b, 54 + 1024 + nbytes, 4);
	put_le(b, 0, 4);
	put_le(b, 54 + 1024, 4);
	put_le(b, 40, 4);
	put_le(b, width, 4);
	put_le(b, 0u - height, 4);
	put_le(b, 1 | 8u << 16, 4);
	put_le(b, 0, 4);
	put_le(b, nbytes, 4);
	put_le(b, 2835, 4);
	put_le(b, 2835, 4);
	put_le(b, 256, 4);
	put_le(b, 0, 4);
	for (uint32_t level = 0; level < 256; level++)
		put_le(b, (255 - level) * 0x010101, 4);
}

/* Square root scale; 0 is kept for exponents that do not occur, and the rarest ones stand out from it. */
static unsigned level_of(double share, double top)
{
	return share <= 0 ? 0 : (unsigned)lround(24 + 231 * sqrt(fmin(1, share / top)));
}

/* Mean share of each exponent in `n` rows from `first` on. */
static void shares_of(const struct uw_page *page, uint64_t first, uint64_t n, double shares[256])
{
	memset(shares, 0, 256 * sizeof(shares[0]));
	for (uint64_t r = first; r < first + n; r++) {
		const uint64_t *counts = uw_page_tensor(page, r)->counts;
		double total = 0;

		for (int e = 0; e < 256; e++)
			total += (double)counts[e];
		for (int e = 0; e < 256; e++)
			shares[e] += (double)counts[e] / total / (double)n;
	}
}

/* A line for each row where they fit. Else lines by the number of rows, but enough of them for each role: neighbours
 * then share a line, or a row of a small role has several. */
void uw_page_plan_map(struct uw_page *page)
{
	for (uint64_t r = 0; r < page->nrows;) {
		struct uw_page_run *run = &page->runs[page->nruns++];

		*run = (struct uw_page_run){.first = r};
		while (r < page->nrows && page->rows[r].role == page->rows[run->first].role)
			r++;
		run->n = r - run->first;
		run->nlines = run->n;
		if (page->nrows > MAX_LINES) {
			run->nlines = (uint64_t)((double)run->n / (double)page->nrows * MAX_LINES);
			run->nlines = run->nlines < MIN_LINES ? MIN_LINES : run->nlines;
		}
		page->nlines += run->nlines;
	}
}

static void picture(struct uw_page *page)
{
	struct base64 b = {.f = page->f};

	fputs("data:image/bmp;base64,", page->f);
	put_bmp_head(&b, (uint32_t)page->ncolumns, (uint32_t)page->nlines);
	for (int i = 0; i < page->nruns; i++) {
		const struct uw_page_run *run = &page->runs[i];

		for (uint64_t line = 0; line < run->nlines; line++) {
			uint64_t first = line * run->n / run->nlines, end = (line + 1) * run->n / run->nlines;
			double shares[256];

			shares_of(page, run->first + first, end > first ? end - first : 1, shares);
			for (int c = 0; c < page->ncolumns; c++)
				put_byte(&b, level_of(shares[page->columns[c]], page->top_share));
			for (int c = page->ncolumns; c % 4 != 0; c++)
				put_byte(&b, 0);
		}
	}
	put_end(&b);
}

/* ---- what stands around it ---------------------------------------------------------------- */

/* Colours from rare to frequent. */
static const uint32_t ramp[2][9] = {
	{0xFCFCFB, 0xDCE9F9, 0xB4D1F5, 0x86B6EF, 0x5598E7, 0x2A78D6, 0x1C5CAB, 0x104281, 0x07203F},
	{0x1A1A19, 0x152A45, 0x17406F, 0x1C5CAB, 0x2A78D6, 0x5598E7, 0x86B6EF, 0xB7D3F6, 0xEAF3FE},
};

static void filters(struct uw_page *page)
{
	fputs("<svg width=\"0\" height=\"0\" class=\"defs\" aria-hidden=\"true\">", page->f);
	for (int dark = 0; dark < 2; dark++) {
		fprintf(page->f, "<filter id=\"ramp%d\" color-interpolation-filters=\"sRGB\"><feComponentTransfer>",
			dark);
		for (int shift = 16; shift >= 0; shift -= 8) {
			fprintf(page->f, "<feFunc%c type=\"table\" tableValues=\"", "BGR"[shift / 8]);
			for (int i = 8; i >= 0; i--)
				fprintf(page->f, "%s%.3f", i < 8 ? " " : "", (ramp[dark][i] >> shift & 255) / 255.0);
			fputs("\"/>", page->f);
		}
		fputs("</feComponentTransfer></filter>", page->f);
	}
	fputs("</svg>\n", page->f);
}

/* Column bars of the whole model, the 16 most frequent exponents marked. */
static void profile(struct uw_page *page)
{
	const uint64_t *counts = page->totals.counts;
	uint64_t most = 1;

	for (int e = 0; e < 256; e++)
		most = counts[e] > most ? counts[e] : most;
	fprintf(page->f,
		"<svg class=\"mapsum\" viewBox=\"0 0 %d 100\" preserveAspectRatio=\"none\" aria-hidden=\"true\">",
		page->ncolumns * 10);
	for (int c = 0; c < page->ncolumns; c++) {
		uint64_t count = counts[page->columns[c]];
		double height = fmax(1, 100 * (double)count / (double)most);
		int higher = 0;

		for (int e = 0; e < 256; e++)
			higher += counts[e] > count || (counts[e] == count && e < page->columns[c]);
		if (higher < 16)
			fprintf(page->f, "<rect class=\"band\" x=\"%d\" width=\"10\" height=\"100\"/>", c * 10);
		fprintf(page->f, "<rect class=\"%s\" x=\"%d\" y=\"%.2f\" width=\"9\" height=\"%.2f\"/>",
			higher < 16 ? "top" : "tail", c * 10, 100 - height, height);
	}
	fputs("</svg>\n", page->f);
}

static void row_label(struct uw_page *page, uint64_t row)
{
	const struct uw_scan_tensor *t = uw_page_tensor(page, row);
	const struct uw_page_row *r = &page->rows[row];
	const char *name = t->extent.name, *end = name + t->extent.name_nbytes;

	if (r->role != UW_ROLE_OTHER) {
		fprintf(page->f, "<em>%s</em><b>%d</b>", uw_role_name(r->role), r->layer);
		return;
	}
	if (end - name > 7 && memcmp(end - 7, ".weight", 7) == 0)
		end -= 7;
	for (const char *p = end; p > name; p--) {
		if (p[-1] == '.') {
			name = p;
			break;
		}
	}
	fputs("<em>", page->f);
	uw_page_text(page, name, (size_t)(end - name));
	fputs("</em>", page->f);
	if (r->layer >= 0)
		fprintf(page->f, "<b>%d</b>", r->layer);
}

/* A label in the middle of `nlines` lines from `line` on, unless the one above is too near. */
static bool label_begin(struct uw_page *page, double line, double nlines, unsigned line_px, double *free_from)
{
	double middle = (line + nlines / 2) * line_px;

	if (middle - 6 < *free_from)
		return false;
	*free_from = middle + 6;
	fprintf(page->f, "<span style=\"top:%.3f%%\">", 100 * (line + nlines / 2) / (double)page->nlines);
	return true;
}

/* Names of the lines where there is room, else of the roles. */
static void labels(struct uw_page *page, unsigned line_px)
{
	double line = 0, free_from = 0;

	fputs("<div class=\"maprows\">", page->f);
	for (int i = 0; i < page->nruns; i++) {
		const struct uw_page_run *run = &page->runs[i];

		if (i != 0)
			fprintf(page->f, "<hr style=\"top:%.3f%%\">", 100 * line / (double)page->nlines);
		for (uint64_t r = 0; page->nrows <= LABELLED && r < run->n; r++) {
			if (label_begin(page, line + (double)r, 1, line_px, &free_from)) {
				row_label(page, run->first + r);
				fputs("</span>", page->f);
			}
		}
		if (page->nrows > LABELLED && label_begin(page, line, (double)run->nlines, line_px, &free_from))
			fprintf(page->f, "<em>%s</em><b>&times;%" PRIu64 "</b></span>",
				uw_role_name(page->rows[run->first].role), run->n);
		line += (double)run->nlines;
	}
	fputs("</div>\n", page->f);
}

static void axis(struct uw_page *page)
{
	int step = page->ncolumns > 160 ? 16 : page->ncolumns > 72 ? 8 : page->ncolumns > 36 ? 4 : 2, last = -100;

	fputs("<div class=\"mapaxis\">", page->f);
	for (int c = 0; c < page->ncolumns; c++) {
		int e = page->columns[c];
		bool gap = c != 0 && page->columns[c - 1] != e - 1;

		if (gap)
			fprintf(page->f, "<hr style=\"left:%.3f%%\">", 100.0 * c / page->ncolumns);
		if ((e != 0 && e != 255 && (e - 127) % step != 0) || 100 * (c - last) < 5 * page->ncolumns)
			continue;
		fprintf(page->f, "<span%s style=\"left:%.3f%%\">",
			(e - 127) % (2 * step) != 0 && e != 0 ? " class=\"odd\"" : "",
			100 * (c + 0.5) / page->ncolumns);
		uw_page_exponent(page, e);
		fputs("</span>", page->f);
		last = c;
	}
	fputs("</div>\n", page->f);
}

static void scale(struct uw_page *page)
{
	static const double ticks[] = {1e-4, 0.01, 0.05, 0.1, 0.2, 0.3, 0.5};

	fputs("<p class=\"mapscale\"><span>share of the tensor&#39;s weights:</span> "
	      "<span class=\"none\"><i class=\"l0\"></i>none</span>", page->f);
	for (size_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]) && ticks[i] < 0.95 * page->top_share; i++) {
		unsigned grey = 255 - level_of(ticks[i], page->top_share);

		fprintf(page->f, " <span><i style=\"background:rgb(%u,%u,%u)\"></i>%g&#8239;%%</span>", grey, grey,
			grey, 100 * ticks[i]);
	}
	fprintf(page->f, " <span><i style=\"background:#000\"></i>%s%.0f&#8239;%%</span></p>\n",
		page->top_share < 1 ? "from " : "", 100 * page->top_share);
}

static void intro(struct uw_page *page)
{
	struct uw_scan_stats stats;

	uw_scan_stats_of(page->totals.counts, &stats);
	fputs("<section id=\"map\">\n<h2>Exponents, tensor by tensor</h2>\n<p class=\"note\">", page->f);
	fprintf(page->f,
		"%" PRIu64 " BF16 tensors down, exponents across: a weight in column 2<sup>n</sup> has a magnitude "
		"from 2<sup>n</sup> "
		"up to 2<sup>n+1</sup>. %d of 256 exponents occur; the <span class=\"ink0\">16 most frequent</span> "
		"hold %.*f&#8239;%% of all "
		"BF16 weights.", page->nrows, page->ncolumns, stats.top16 < 0.999 ? 1 : 3, 100 * stats.top16);
	if (page->nrows > MAX_LINES)
		fputs(" Neighbours share lines of the picture.", page->f);
	fputs(" <span class=\"js\">Point at the map to see single tensors; arrow keys move.</span></p>\n", page->f);
}

void uw_page_map(struct uw_page *page)
{
	unsigned line_px;

	if (page->nrows == 0)
		return;
	line_px = page->nlines <= LABELLED      ? 13 :
		  page->nlines >= MAX_LINES / 2 ? 1 :
						  (unsigned)(MAX_LINES / page->nlines);
	intro(page);
	filters(page);
	scale(page);
	fprintf(page->f,
		"<div class=\"map\" style=\"--h:%" PRIu64 "px\">\n<div class=\"maphead\"><b>all tensors</b><span>"
		"%s</span></div>\n", page->nlines * line_px, page->nrows <= LABELLED ? "role, layer" : "role, tensors");
	profile(page);
	labels(page, line_px);
	fprintf(page->f,
		"<div class=\"mapbox\" id=\"mapbox\"><img alt=\"Heat map of the exponents of %" PRIu64 " tensors\" "
		"width=\"%d\" "
		"height=\"%" PRIu64 "\" src=\"", page->nrows, page->ncolumns, page->nlines);
	picture(page);
	fputs("\"></div>\n", page->f);
	axis(page);
	fputs("</div>\n<div id=\"readout\" aria-live=\"polite\"></div>\n</section>\n", page->f);
}
