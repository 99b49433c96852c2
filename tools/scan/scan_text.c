/* SPDX-License-Identifier: Apache-2.0 */
/* The report as a table for terminals. Names stand last: nothing after them has to line up. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "scan_view.h"

static void heading(FILE *f, const struct uw_scan_report *report, const struct uw_scan_totals *totals)
{
	char size[32];

	fputs("Model: ", f);
	uw_print_escaped(f, report->model, strlen(report->model));
	fprintf(f, "\n%" PRIu64 " file%s, %s (%" PRIu64 " bytes)\n\n", report->nfiles, report->nfiles == 1 ? "" : "s",
		uw_human_size(totals->all.src_nbytes, size), totals->all.src_nbytes);
}

static void shape_cell(FILE *f, const struct uw_extent *extent)
{
	char *text = NULL;
	size_t n = 0;
	FILE *m = open_memstream(&text, &n);

	if (m == NULL) {
		fputs(" ?", f);
		return;
	}
	uw_scan_print_shape(m, extent, "x");
	fclose(m);
	fprintf(f, " %-18s", text != NULL ? text : "?");
	free(text);
}

static void profile_cell(FILE *f, const struct uw_scan_tensor *t, int profile)
{
	char codings[UW_CODINGS_NBYTES];

	fprintf(f, " | %-7s", uw_scan_codings(t, profile, codings));
	if (uw_scan_is_bf16(t))
		fprintf(f, " %6.2f b/w %8.4f %%", uw_scan_rate(t, profile), 100 * uw_scan_escape_rate(t, profile));
	else
		fprintf(f, " %6.1f %%   %8s  ", uw_scan_rate(t, profile), "-");
}

static void tensor_line(FILE *f, const struct uw_scan_tensor *t)
{
	const char *dtype = uw_dtype_name(t->extent.dtype), *name;
	char size[32];
	size_t n;

	if (t->extent.kind != UW_EXTENT_TENSOR)
		dtype = "-";
	fprintf(f, "%-11s", dtype != NULL ? dtype : "?");
	shape_cell(f, &t->extent);
	fprintf(f, " %11s", uw_human_size(t->extent.src_nbytes, size));
	if (uw_scan_is_bf16(t)) {
		struct uw_scan_stats stats;

		uw_scan_stats_of(t->counts, &stats);
		fprintf(f, " %6.3f %8.3f %%", stats.entropy, 100 * stats.top16);
	} else {
		fprintf(f, " %6s %8s  ", "-", "-");
	}
	for (int p = 0; p < UW_SCAN_NPROFILES; p++)
		profile_cell(f, t, p);
	fputs(" | ", f);
	name = uw_scan_label(t, &n);
	uw_print_escaped(f, name, n);
	fputs(t->extent.kind == UW_EXTENT_OPAQUE ? " (opaque file)\n" : "\n", f);
}

static void tensors(FILE *f, const struct uw_scan_report *report)
{
	uint64_t shown = 0;

	for (uint64_t i = 0; i < report->ntensors; i++) {
		if (report->tensors[i].extent.kind == UW_EXTENT_HEADER)
			continue;
		if (shown++ == 0) {
			fprintf(f, "%-49s | %-29s | %-29s |\n", "", "distribution", "inference");
			fprintf(f, "%-11s %-18s %11s %6s %10s | %-7s %10s %10s | %-7s %10s %10s | %s\n", "dtype",
				"shape", "size",
				"H(exp)", "top 16", "coding", "size", "escapes", "coding", "size", "escapes", "tensor");
		}
		tensor_line(f, &report->tensors[i]);
	}
	if (shown != 0)
		fputs("\nH(exp): entropy of the exponent in bits. top 16: share of the 16 most frequent exponents.\n"
		      "size: bits per weight (b/w) for BF16, else percent of the source.\n\n", f);
}

static void sum_line(FILE *f, const char *name, const struct uw_scan_sum *sum, const struct uw_scan_totals *totals)
{
	char size[32];

	if (sum->src_nbytes == 0 && sum->nbytes[0] == 0 && sum->nbytes[1] == 0)
		return;
	fprintf(f, "%-22s", name);
	if (sum->n != 0)
		fprintf(f, " %8" PRIu64, sum->n);
	else
		fprintf(f, " %8s", "");
	fprintf(f, " %11s %6.1f %%", uw_human_size(sum->src_nbytes, size),
		totals->all.src_nbytes != 0 ? 100.0 * (double)sum->src_nbytes / (double)totals->all.src_nbytes : 0);
	for (int p = 0; p < UW_SCAN_NPROFILES; p++) {
		fprintf(f, " | %11s", uw_human_size(sum->nbytes[p], size));
		if (sum->src_nbytes != 0)
			fprintf(f, " %6.1f %%", 100.0 * (double)sum->nbytes[p] / (double)sum->src_nbytes);
		else
			fprintf(f, " %6s  ", "-");
	}
	fputc('\n', f);
}

static void sums(FILE *f, const struct uw_scan_totals *totals)
{
	fprintf(f, "%-22s %8s %11s %8s | %20s | %20s\n", "", "number", "source", "share", "distribution", "inference");
	for (int d = 0; d < 256; d++) {
		const char *name = uw_dtype_name((uint8_t)d);

		sum_line(f, name != NULL ? name : "?", &totals->dtype[d], totals);
	}
	sum_line(f, "opaque files", &totals->opaque, totals);
	sum_line(f, "safetensors headers", &totals->header, totals);
	sum_line(f, "plain files, indexes", &totals->rest, totals);
	sum_line(f, "total (files)", &totals->all, totals);
	fputc('\n', f);
}

static void warnings(FILE *f, const struct uw_scan_report *report)
{
	bool any = false;

	for (uint64_t i = 0; i < report->nfiles; i++) {
		const struct uw_scan_file *file = &report->files[i];

		if (file->warning == NULL)
			continue;
		fputs("carried opaque: ", f);
		uw_print_escaped(f, file->path, strlen(file->path));
		fputs(": ", f);
		uw_print_escaped(f, file->warning, strlen(file->warning));
		fputc('\n', f);
		any = true;
	}
	if (any)
		fputc('\n', f);
}

static void totals_lines(FILE *f, const struct uw_scan_totals *totals)
{
	uint64_t src = totals->all.src_nbytes;
	char size[32];

	fprintf(f, "%-13s %20" PRIu64 " bytes  %11s\n", "source", src, uw_human_size(src, size));
	for (int p = 0; p < UW_SCAN_NPROFILES; p++) {
		uint64_t dst = totals->all.nbytes[p];

		fprintf(f, "%-13s %20" PRIu64 " bytes  %11s", uw_scan_profile_names[p], dst, uw_human_size(dst, size));
		if (src != 0)
			fprintf(f, "  %6.2f %% of the source", 100.0 * (double)dst / (double)src);
		if (totals->nweights != 0)
			fprintf(f, ", %.2f bits per BF16 weight",
				8.0 * (double)totals->dtype[UW_DTYPE_BF16].nbytes[p] / (double)totals->nweights);
		fputc('\n', f);
	}
}

int uw_scan_write_text(const struct uw_scan_report *report, FILE *f)
{
	struct uw_scan_totals totals;

	errno = 0;
	uw_scan_totals_of(report, &totals);
	heading(f, report, &totals);
	tensors(f, report);
	sums(f, &totals);
	warnings(f, report);
	uw_scan_print_share(f, &totals);
	fputc(' ', f);
	uw_scan_print_outcome(f, &totals);
	fputs("\n\n", f);
	totals_lines(f, &totals);
	return uw_scan_close(f);
}
