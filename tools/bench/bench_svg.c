/* SPDX-License-Identifier: Apache-2.0 */
/* Speed over batch, that of BF16 weights in memory being 1: a panel for each shape, a line for each variant. */
#include <math.h>
#include <string.h>

#include "bench.h"

#define WIDTH 520
#define HEIGHT 340
#define LEFT 56
#define RIGHT 390 /* names of the lines stand to the right of it */
#define TOP 44
#define BOTTOM 288
#define LABEL_GAP 12.0

struct panel {
	FILE *f;
	const struct uw_bench_report *report;
	const struct uw_bench_case *c;
	double most, tick; /* of the vertical axis */
};

static const char *colour_of(const char *pipeline)
{
	static const char *const colours[][2] = { { "raw", "#666" },	      { "decode", "#0b6e99" },
						  { "exponent", "#7a3f9d" },  { "transcode", "#2a8a4a" },
						  { "palette", "#c4661f" },   { "onednn", "#b0303a" } };

	for (size_t i = 0; i < sizeof(colours) / sizeof(colours[0]); i++) {
		if (strcmp(colours[i][0], pipeline) == 0)
			return colours[i][1];
	}
	return "#000";
}

/* Coding H, and packed weights of oneDNN. */
static const char *dash_of(const struct uw_bench_variant *v)
{
	bool dashed = (v->coding != NULL && v->coding[0] == 'h') || strstr(v->name, "packed") != NULL;

	return dashed ? " stroke-dasharray=\"5 3\"" : "";
}

static double x_of(const struct panel *p, size_t b)
{
	const uint64_t *batches = p->report->batches;
	double low = log2((double)batches[0]), high = log2((double)batches[p->report->nbatches - 1]);

	if (high <= low)
		return (LEFT + RIGHT) / 2.0;
	return LEFT + (log2((double)batches[b]) - low) / (high - low) * (RIGHT - LEFT);
}

static double y_of(const struct panel *p, double ratio)
{
	return BOTTOM - ratio / p->most * (BOTTOM - TOP);
}

static void set_scale(struct panel *p)
{
	static const double ticks[] = { 0.25, 0.5, 1, 2, 5, 10 };
	double most = 1;

	for (size_t b = 0; b < p->report->nbatches; b++) {
		for (unsigned i = 0; i < p->c->nvariants; i++)
			most = fmax(most, p->c->timings[b][i].ratio);
	}
	p->tick = ticks[0];
	for (size_t i = 0; i < sizeof(ticks) / sizeof(ticks[0]) && most / p->tick > 8; i++)
		p->tick = ticks[i];
	p->most = ceil(most / p->tick) * p->tick;
}

static void axes(const struct panel *p)
{
	fprintf(p->f, "<text x=\"%d\" y=\"20\" font-weight=\"bold\" font-size=\"13\">%llu x %llu</text>\n", LEFT,
		(unsigned long long)p->c->nrows, (unsigned long long)p->c->ncols);
	for (unsigned i = 0; i <= 8 && i * p->tick <= p->most; i++) {
		double y = y_of(p, i * p->tick);

		fprintf(p->f, "<path d=\"M%d %.1fH%d\" stroke=\"%s\"/>", LEFT, y, RIGHT,
			i * p->tick == 1 ? "#999" : "#e4e4e4");
		fprintf(p->f, "<text x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%g</text>\n", LEFT - 6, y + 4,
			i * p->tick);
	}
	for (size_t b = 0; b < p->report->nbatches; b++) {
		fprintf(p->f, "<path d=\"M%.1f %dV%d\" stroke=\"#e4e4e4\"/>", x_of(p, b), TOP, BOTTOM);
		fprintf(p->f, "<text x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%llu</text>\n", x_of(p, b),
			BOTTOM + 16, (unsigned long long)p->report->batches[b]);
	}
	fprintf(p->f, "<text x=\"%d\" y=\"%d\" text-anchor=\"middle\">batch</text>\n", (LEFT + RIGHT) / 2, BOTTOM + 36);
	fprintf(p->f, "<text x=\"14\" y=\"%d\" text-anchor=\"middle\" transform=\"rotate(-90 14 %d)\">speed, BF16 in memory "
		"= 1</text>\n", (TOP + BOTTOM) / 2, (TOP + BOTTOM) / 2);
}

static void line(const struct panel *p, unsigned i)
{
	const struct uw_bench_variant *v = &p->c->variants[i];
	const char *colour = colour_of(v->pipeline);

	fputs("<path d=\"", p->f);
	for (size_t b = 0; b < p->report->nbatches; b++)
		fprintf(p->f, "%c%.1f %.1f", b == 0 ? 'M' : 'L', x_of(p, b), y_of(p, p->c->timings[b][i].ratio));
	fprintf(p->f, "\" fill=\"none\" stroke=\"%s\" stroke-width=\"1.5\"%s/>\n", colour, dash_of(v));
	for (size_t b = 0; b < p->report->nbatches; b++)
		fprintf(p->f, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\"/>", x_of(p, b),
			y_of(p, p->c->timings[b][i].ratio), colour);
	fputc('\n', p->f);
}

/* Names at the ends of the lines, from the top down, each at least a gap below the one before. */
static void labels(const struct panel *p)
{
	size_t last = p->report->nbatches - 1;
	bool done[UW_MAX_RUNNERS] = { false };
	double free_y = TOP - LABEL_GAP;

	for (unsigned n = 0; n < p->c->nvariants; n++) {
		unsigned top = UW_MAX_RUNNERS;
		double y;

		for (unsigned i = 0; i < p->c->nvariants; i++) {
			if (!done[i] && (top == UW_MAX_RUNNERS ||
					 p->c->timings[last][i].ratio > p->c->timings[last][top].ratio))
				top = i;
		}
		done[top] = true;
		y = fmax(y_of(p, p->c->timings[last][top].ratio), free_y + LABEL_GAP);
		free_y = y;
		fprintf(p->f, "<text x=\"%d\" y=\"%.1f\" fill=\"%s\">%s %.2f</text>\n", RIGHT + 8, y + 4,
			colour_of(p->c->variants[top].pipeline), p->c->variants[top].name,
			p->c->timings[last][top].ratio);
	}
}

int uw_bench_svg(const void *ctx, FILE *f)
{
	const struct uw_bench_report *r = ctx;
	size_t width = WIDTH * r->ncases;

	fprintf(f, "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %zu %d\" width=\"%zu\" height=\"%d\" "
		"font-family=\"sans-serif\" font-size=\"11\">\n", width, HEIGHT, width, HEIGHT);
	fputs("<style>text { paint-order: stroke; stroke: #fff; stroke-width: 3px }</style>\n"
	      "<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n", f);
	for (size_t i = 0; i < r->ncases; i++) {
		struct panel p = { .f = f, .report = r, .c = &r->cases[i] };

		set_scale(&p);
		fprintf(f, "<g transform=\"translate(%zu 0)\">\n", WIDTH * i);
		axes(&p);
		for (unsigned k = 0; k < p.c->nvariants; k++)
			line(&p, k);
		labels(&p);
		fputs("</g>\n", f);
	}
	fputs("</svg>\n", f);
	return ferror(f) ? -1 : 0;
}
