/* SPDX-License-Identifier: Apache-2.0 */
/* Sizes: where the bytes of the model go, and what becomes of each dtype. */
#include <inttypes.h>
#include <math.h>

#include "scan_html.h"

enum part { SIGN_MANTISSA, EXPONENT, OVERHEAD, OTHER, REST, SAVED, NPARTS };

static const struct {
	const char *css, *name, *note;
} parts[NPARTS] = {
	[SIGN_MANTISSA] = {"sm", "sign and mantissa", "8 bits a weight that look random"},
	[EXPONENT] = {"ex", "exponent information", "the entropy of the exponents, per tensor"},
	[OVERHEAD] = {"ov", "exponent redundancy",
		      "exponent bits above the entropy; in bundles also tables, patches, padding"},
	[OTHER] = {"ot", "not BF16", "tensors of other types and opaque files"},
	[REST] = {"re", "other files, headers",
		  "small files, safetensors headers; in bundles also indexes and manifest"},
	[SAVED] = {"sv", "saved", ""},
};

/* Column 0 is the source, the others the profiles. */
static void columns_of(const struct uw_scan_totals *t, double bytes[1 + UW_SCAN_NPROFILES][NPARTS])
{
	for (int c = 0; c <= UW_SCAN_NPROFILES; c++) {
		const struct uw_scan_parts *bf16 = c == 0 ? &t->src : &t->profile[c - 1];
		double sum = 0;

#define SIZE(s) ((double)(c == 0 ? (s).src_nbytes : (s).nbytes[c - 1]))
		bytes[c][SIGN_MANTISSA] = bf16->sign_mantissa;
		bytes[c][EXPONENT] = bf16->exponent;
		bytes[c][OVERHEAD] = bf16->overhead;
		bytes[c][OTHER] = SIZE(t->opaque);
		for (int d = 0; d < 256; d++) {
			if (d != UW_DTYPE_BF16)
				bytes[c][OTHER] += SIZE(t->dtype[d]);
		}
		bytes[c][REST] = SIZE(t->header) + SIZE(t->rest);
#undef SIZE
		for (int i = 0; i < SAVED; i++)
			sum += bytes[c][i];
		bytes[c][SAVED] = fmax(0, (double)t->all.src_nbytes - sum);
	}
}

static void bar(struct uw_page *page, const char *name, const double bytes[NPARTS], double scale)
{
	fprintf(page->f, "<div class=\"brow\"><span class=\"bname\">%s</span><div class=\"bar\" aria-hidden=\"true\">",
		name);
	for (int i = 0; i < NPARTS; i++) {
		double width = 100 * bytes[i] / scale;

		if (width < 0.005)
			continue;
		fprintf(page->f, "<div class=\"%s\" style=\"width:%.3f%%\" title=\"%s: %.1f %%\">", parts[i].css, width,
			parts[i].name, width);
		if (width >= 6)
			fprintf(page->f, "<span>%.0f&#8239;%%</span>", width);
		fputs("</div>", page->f);
	}
	fputs("</div></div>\n", page->f);
}

static void legend(struct uw_page *page, double bytes[1 + UW_SCAN_NPROFILES][NPARTS])
{
	fputs("<div class=\"scroll\"><table class=\"legend\">\n<thead><tr><th scope=\"col\">part</th>"
	      "<th scope=\"col\" class=\"n\">source</th>"
	      "<th scope=\"col\" class=\"n\">distribution</th><th scope=\"col\" class=\"n\">inference</th></tr>"
	      "</thead>\n<tbody>\n", page->f);
	for (int i = 0; i < NPARTS; i++) {
		if (bytes[0][i] + bytes[1][i] + bytes[2][i] == 0)
			continue;
		fprintf(page->f, "<tr><th scope=\"row\"><i class=\"key %s\"></i>%s <small>%s</small></th>",
			parts[i].css, parts[i].name, parts[i].note);
		for (int c = 0; c <= UW_SCAN_NPROFILES; c++) {
			fputs("<td class=\"n\">", page->f);
			if (i == SAVED && c == 0)
				fputs("&ndash;", page->f);
			else
				uw_page_size(page, (uint64_t)llround(bytes[c][i]));
			fputs("</td>", page->f);
		}
		fputs("</tr>\n", page->f);
	}
	fputs("</tbody>\n</table></div>\n", page->f);
}

void uw_page_bytes(struct uw_page *page)
{
	static const char *const names[] = {"Source", "Distribution", "Inference"};
	double bytes[1 + UW_SCAN_NPROFILES][NPARTS] = {{0}}, scale = 0;

	columns_of(&page->totals, bytes);
	for (int c = 0; c <= UW_SCAN_NPROFILES; c++) {
		double sum = 0;

		for (int i = 0; i < NPARTS; i++)
			sum += bytes[c][i];
		scale = fmax(scale, sum);
	}
	if (scale == 0)
		return;
	fputs("<section>\n<h2>Where the bytes go</h2>\n<div class=\"bars\">\n", page->f);
	for (int c = 0; c <= UW_SCAN_NPROFILES; c++)
		bar(page, names[c], bytes[c], scale);
	fputs("</div>\n", page->f);
	legend(page, bytes);
	fputs("</section>\n", page->f);
}

void uw_page_before_after(struct uw_page *page, double width, const struct uw_scan_sum *sum)
{
	double src = (double)sum->src_nbytes;

	fprintf(page->f, "<div class=\"ba\" style=\"width:%.2f%%\">", fmin(100, fmax(width, 0.3)));
	for (int p = 0; p < UW_SCAN_NPROFILES; p++)
		fprintf(page->f, "<i class=\"p%d\" style=\"width:%.2f%%\"></i>", p,
			src > 0 ? fmin(100, 100 * (double)sum->nbytes[p] / src) : 0);
	fputs("</div>", page->f);
}

static void dtype_row(struct uw_page *page, const char *name, const struct uw_scan_sum *sum, double most)
{
	double all = (double)page->totals.all.src_nbytes;

	if (sum->src_nbytes == 0 && sum->nbytes[0] == 0)
		return;
	fprintf(page->f, "<tr><th scope=\"row\">%s</th><td class=\"n opt\">", name);
	if (sum->n != 0)
		fprintf(page->f, "%" PRIu64, sum->n);
	fputs("</td><td class=\"n\">", page->f);
	uw_page_size(page, sum->src_nbytes);
	fprintf(page->f, "</td><td class=\"n\">%.1f&#8239;%%</td><td class=\"bacell opt\">",
		all > 0 ? 100 * (double)sum->src_nbytes / all : 0);
	uw_page_before_after(page, 100 * (double)sum->src_nbytes / most, sum);
	fputs("</td>", page->f);
	for (int p = 0; p < UW_SCAN_NPROFILES; p++) {
		fputs("<td class=\"n\">", page->f);
		uw_page_size(page, sum->nbytes[p]);
		if (sum->src_nbytes != 0)
			fprintf(page->f, "<small class=\"pct\">%.1f&#8239;%%</small>",
				100 * (double)sum->nbytes[p] / (double)sum->src_nbytes);
		fputs("</td>", page->f);
	}
	fputs("</tr>\n", page->f);
}

void uw_page_dtypes(struct uw_page *page)
{
	const struct uw_scan_totals *t = &page->totals;
	double most = fmax(fmax((double)t->opaque.src_nbytes, (double)t->rest.src_nbytes), 1);

	for (int d = 0; d < 256; d++)
		most = fmax(most, (double)t->dtype[d].src_nbytes);
	fputs("<section>\n<h2>Data types</h2>\n<p class=\"note\">Bars: source size; in it, the size in the "
	      "<span class=\"ink0\">distribution</span> and the <span class=\"ink1\">inference</span> bundle.</p>\n"
	      "<div class=\"scroll\"><table class=\"dtypes\">\n<thead><tr><th scope=\"col\">type</th><th "
	      "scope=\"col\" class=\"n opt\">number</th>"
	      "<th scope=\"col\" class=\"n\">source</th><th scope=\"col\" class=\"n\">share</th><th scope=\"col\" "
	      "class=\"opt\">before and after</th>"
	      "<th scope=\"col\" class=\"n\">distribution</th><th scope=\"col\" class=\"n\">inference</th></tr>"
	      "</thead>\n<tbody>\n", page->f);
	for (int d = 0; d < 256; d++) {
		const char *name = uw_dtype_name((uint8_t)d);

		dtype_row(page, name == NULL || d == UW_DTYPE_OTHER ? "unknown type" : name, &t->dtype[d], most);
	}
	dtype_row(page, "opaque files", &t->opaque, most);
	dtype_row(page, "headers", &t->header, most);
	dtype_row(page, "plain files, indexes", &t->rest, most);
	fputs("</tbody>\n</table></div>\n</section>\n", page->f);
}
