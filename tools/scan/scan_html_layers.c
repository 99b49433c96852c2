/* SPDX-License-Identifier: Apache-2.0 */
/* Entropy of the exponents by layer, a series for each role; attention and MLP side by side on the same scales. */
#include <inttypes.h>
#include <math.h>

#include "scan_html.h"

#define WIDTH 560
#define HEIGHT 290
#define LEFT 40
#define RIGHT 486 /* names of the series stand to the right of it */
#define TOP 12
#define BOTTOM 248

/* All tensors of one role in one layer: one projection, or that of all experts. */
struct point {
	int layer;
	uint64_t n, nweights;
	double mean, least, most;
};

struct scales {
	double low, high, tick;
	int first, last; /* layers */
	uint64_t npoints;
};

/* Colour and mark of a role: --c0 to --c4 in the style sheet. Fused roles take the place of what they fuse. */
static const int series_of[UW_NROLES] = {
	[UW_ROLE_Q] = 0, [UW_ROLE_QKV] = 0, [UW_ROLE_K] = 1, [UW_ROLE_KV] = 1, [UW_ROLE_V] = 2, [UW_ROLE_O] = 3,
	[UW_ROLE_GATE] = 0, [UW_ROLE_GATE_UP] = 0, [UW_ROLE_UP] = 1, [UW_ROLE_DOWN] = 2, [UW_ROLE_OTHER] = 3,
	[UW_ROLE_SCALE] = 4,
};

/* The next point of `role` from row *row on. Vectors (norms, biases) are left out: a few thousand weights weigh
 * nothing. */
static bool next_point(const struct uw_page *page, enum uw_role role, uint64_t *row, struct point *p)
{
	*p = (struct point){.layer = -1, .least = INFINITY};
	for (; *row < page->nrows; ++*row) {
		const struct uw_page_row *r = &page->rows[*row];
		const struct uw_extent *extent = &uw_page_tensor(page, *row)->extent;
		double weights = (double)(extent->src_nbytes / 2);

		if (r->role < role || (r->role == role && (r->layer < 0 || extent->ndims < 2)))
			continue;
		if (r->role > role || (p->n != 0 && r->layer != p->layer))
			break;
		p->layer = r->layer;
		p->n++;
		p->nweights += extent->src_nbytes / 2;
		p->mean += r->stats.entropy * weights;
		p->least = fmin(p->least, r->stats.entropy);
		p->most = fmax(p->most, r->stats.entropy);
	}
	if (p->n != 0)
		p->mean /= (double)p->nweights;
	return p->n != 0;
}

static struct scales scales_of(const struct uw_page *page)
{
	struct scales s = {.low = INFINITY, .high = -INFINITY, .first = INT32_MAX, .last = 0};
	static const double ticks[] = {0.02, 0.05, 0.1, 0.2, 0.5, 1, 2};
	size_t i = 0;

	for (int role = 0; role < UW_NROLES; role++) {
		struct point p;

		for (uint64_t row = 0; next_point(page, (enum uw_role)role, &row, &p); s.npoints++) {
			s.low = fmin(s.low, p.least);
			s.high = fmax(s.high, p.most);
			s.first = p.layer < s.first ? p.layer : s.first;
			s.last = p.layer > s.last ? p.layer : s.last;
		}
	}
	while (i < sizeof(ticks) / sizeof(ticks[0]) - 1 && (s.high - s.low) / ticks[i] > 6)
		i++;
	s.tick = ticks[i];
	s.low = fmax(0, floor(s.low / s.tick - 0.25) * s.tick);
	s.high = fmax(ceil(s.high / s.tick + 0.25) * s.tick, s.low + s.tick);
	return s;
}

static double x_of(const struct scales *s, int layer)
{
	if (s->last == s->first)
		return (LEFT + RIGHT) / 2.0;
	return LEFT + 10 + (RIGHT - LEFT - 20) * (double)(layer - s->first) / (double)(s->last - s->first);
}

static double y_of(const struct scales *s, double entropy)
{
	return BOTTOM - (BOTTOM - TOP) * (entropy - s->low) / (s->high - s->low);
}

static void frame(struct uw_page *page, const struct scales *s)
{
	int nticks = (int)lround((s->high - s->low) / s->tick), step = 1;

	for (int i = 0; i <= nticks; i++) {
		double entropy = s->low + i * s->tick, y = y_of(s, entropy);

		fprintf(page->f,
			"<path class=\"grid\" d=\"M%d %.1fH%d\"/><text x=\"%d\" y=\"%.1f\" class=\"end\">%.*f</text>\n",
			LEFT, y, RIGHT, LEFT - 6, y + 4, s->tick < 0.1 ? 2 : 1, entropy);
	}
	while ((s->last - s->first) / step > 12)
		step *= step % 5 == 0 || step == 1 ? 2 : 5; /* 1, 2, 10, 20, 100, ... */
	for (int64_t layer = s->first; layer <= s->last; layer++) {
		if (layer % step != 0) {
			layer += step - layer % step - 1;
			continue;
		}
		fprintf(page->f, "<text x=\"%.1f\" y=\"%d\" class=\"mid\">%d</text>", x_of(s, (int)layer), BOTTOM + 18,
			(int)layer);
	}
	fprintf(page->f, "<text x=\"%d\" y=\"%d\" class=\"mid soft\">layer</text>\n", (LEFT + RIGHT) / 2, BOTTOM + 36);
}

/* A shape for each series, so that colour is not needed to tell them apart. */
static void mark(struct uw_page *page, int series, double x, double y, double r)
{
	static const char *const shapes[] = {
		"m-1 0a1 1 0 1 0 2 0a1 1 0 1 0 -2 0z", "m-.9 -.9h1.8v1.8h-1.8z", "m0 -1.2l1.15 2h-2.3z",
		"m0 -1.3l1.3 1.3l-1.3 1.3l-1.3 -1.3z", "m-1.2 -.4h.8v-.8h.8v.8h.8v.8h-.8v.8h-.8v-.8h-.8z",
	};

	fprintf(page->f, "<path transform=\"translate(%.1f %.1f) scale(%.1f)\" d=\"M0 0%s\">", x, y, r, shapes[series]);
}

static void series_marks(struct uw_page *page, enum uw_role role, const struct scales *s)
{
	struct point p;

	for (uint64_t row = 0; next_point(page, role, &row, &p);) {
		double x = x_of(s, p.layer);

		if (p.n > 1)
			fprintf(page->f, "<path class=\"span\" d=\"M%.1f %.1fV%.1f\"/>", x, y_of(s, p.least),
				y_of(s, p.most));
		mark(page, series_of[role], x, y_of(s, p.mean), s->last - s->first > 60 ? 2.4 : 3.6);
		fprintf(page->f, "<title>%s, layer %d: %.3f bits", uw_role_name(role), p.layer, p.mean);
		if (p.n > 1)
			fprintf(page->f, " (mean of %" PRIu64 " tensors, %.3f to %.3f)", p.n, p.least, p.most);
		fputs("</title></path>\n", page->f);
	}
}

/* Draws the series; gives its last height, or a negative number if there is none. */
static double series(struct uw_page *page, enum uw_role role, const struct scales *s)
{
	double last = -1;
	uint64_t n = 0;
	struct point p;

	for (uint64_t row = 0; next_point(page, role, &row, &p); n++) {
		if (n == 0)
			fprintf(page->f, "<g class=\"s%d\"><path class=\"line\" d=\"", series_of[role]);
		last = y_of(s, p.mean);
		fprintf(page->f, "%s%.1f %.1f", n == 0 ? "M" : "L", x_of(s, p.layer), last);
	}
	if (n == 0)
		return -1;
	fputs("\"/>\n", page->f);
	series_marks(page, role, s);
	fputs("</g>\n", page->f);
	return last;
}

/* Names at the ends of the lines, from the top down, pushed apart where they would overlap. */
static void names(struct uw_page *page, const double ends[UW_NROLES])
{
	bool done[UW_NROLES] = {false};
	double y = TOP - 8;

	for (;;) {
		int best = -1;

		for (int role = 0; role < UW_NROLES; role++) {
			if (ends[role] >= 0 && !done[role] && (best < 0 || ends[role] < ends[best]))
				best = role;
		}
		if (best < 0)
			return;
		done[best] = true;
		y = fmax(y + 17, ends[best]);
		fprintf(page->f, "<g class=\"s%d\">", series_of[best]);
		mark(page, series_of[best], RIGHT + 10, y, 4);
		fprintf(page->f, "</path></g><text x=\"%d\" y=\"%.1f\" class=\"name\">%s</text>\n", RIGHT + 19, y + 4,
			best == UW_ROLE_GATE_UP ? "gate+up" : uw_role_name((enum uw_role)best));
	}
}

static void panel(struct uw_page *page, const char *title, int first, int last, const struct scales *s)
{
	double ends[UW_NROLES];
	bool any = false;

	for (int role = first; role <= last; role++) {
		uint64_t row = 0;
		struct point p;

		any = any || next_point(page, (enum uw_role)role, &row, &p);
	}
	if (!any)
		return;
	fprintf(page->f,
		"<figure><figcaption>%s</figcaption><svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s: entropy "
		"of the exponents "
		"by layer\">\n", title, WIDTH, HEIGHT, title);
	frame(page, s);
	for (int role = 0; role < UW_NROLES; role++)
		ends[role] = role >= first && role <= last ? series(page, (enum uw_role)role, s) : -1;
	names(page, ends);
	fputs("</svg></figure>\n", page->f);
}

/* The largest matrices outside the layers: embedding, output. */
static void outside(struct uw_page *page)
{
	uint64_t shown = 0, left = 0;

	for (uint64_t row = 0; row < page->nrows; row++) {
		const struct uw_scan_tensor *t = uw_page_tensor(page, row);

		if (page->rows[row].layer >= 0 || t->extent.ndims < 2)
			continue;
		if (shown == 8) {
			left++;
			continue;
		}
		fputs(shown++ == 0 ? "<p class=\"note\">Outside the layers: " : "; ", page->f);
		fputs("<code>", page->f);
		uw_page_name(page, t->extent.name, t->extent.name_nbytes);
		fprintf(page->f, "</code> %.2f bits", page->rows[row].stats.entropy);
	}
	if (left != 0)
		fprintf(page->f, "; and %" PRIu64 " more", left);
	if (shown != 0)
		fputs(".</p>\n", page->f);
}

void uw_page_layers(struct uw_page *page)
{
	struct scales s = scales_of(page);

	if (s.npoints == 0)
		return;
	fputs("<section>\n<h2>Entropy by layer and role</h2>\n<p class=\"note\">Bits of information in the 8 bits of an exponent, "
	      "matrices only. 8 more "
	      "for sign and mantissa is about the least a weight takes. Vertical strokes span the experts of a "
	      "layer.</p>\n<div class=\"panels\">\n", page->f);
	panel(page, "Attention", UW_ROLE_Q, UW_ROLE_O, &s);
	panel(page, "MLP and others", UW_ROLE_GATE, UW_ROLE_OTHER, &s);
	fputs("</div>\n", page->f);
	outside(page);
	fputs("</section>\n", page->f);
}
