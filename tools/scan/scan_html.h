/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the HTML page. Whatever comes from the model goes through uw_page_text or the page's data object. */
#ifndef UW_SCAN_HTML_H
#define UW_SCAN_HTML_H

#include "scan_view.h"

/* A BF16 tensor with weights, as a row of the heat map. */
struct uw_page_row {
	uint64_t tensor; /* number in the report */
	enum uw_role role;
	int layer;
	struct uw_scan_stats stats;
};

/* The rows of one role, and their lines in the picture. */
struct uw_page_run {
	uint64_t first, n, nlines;
};

struct uw_page {
	FILE *f;
	const struct uw_scan_report *report;
	struct uw_scan_totals totals;
	struct uw_page_row *rows; /* by role, layer, number */
	uint64_t nrows;
	struct uw_page_run runs[UW_NROLES];
	int nruns;
	uint64_t nlines;
	uint8_t columns[256];     /* exponents that occur, ascending */
	int ncolumns;
	double top_share;         /* end of the colour scale; few tensors have more of their weights in one exponent */
	bool failed;              /* out of memory */
};

static inline const struct uw_scan_tensor *uw_page_tensor(const struct uw_page *page, uint64_t row)
{
	return &page->report->tensors[page->rows[row].tensor];
}

/* Text of a page or attribute: unprintable bytes as \xNN, < > & " ' as entities. */
void uw_page_text(struct uw_page *page, const char *text, size_t nbytes);
/* The same, may be broken into lines at . _ and /. */
void uw_page_name(struct uw_page *page, const char *name, size_t nbytes);
void uw_page_size(struct uw_page *page, uint64_t nbytes);
/* "2<sup>-7</sup>"; exponents 0 and 255 in words. */
void uw_page_exponent(struct uw_page *page, int exponent);

/* Before and after: a track of `width` percent, in it the sizes in both profiles. */
void uw_page_before_after(struct uw_page *page, double width, const struct uw_scan_sum *sum);

void uw_page_bytes(struct uw_page *page);   /* where the bytes go */
void uw_page_dtypes(struct uw_page *page);
void uw_page_plan_map(struct uw_page *page); /* first: fills runs and nlines */
void uw_page_map(struct uw_page *page);     /* heat map */
void uw_page_layers(struct uw_page *page);  /* entropy by layer and role */
void uw_page_tensors(struct uw_page *page); /* table of the largest tensors */
void uw_page_data(struct uw_page *page);    /* all tensors, for the script */

#endif
