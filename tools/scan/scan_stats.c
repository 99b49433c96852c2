/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers of a report: statistics of one histogram, sums over all tensors. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "scan_view.h"

static int descending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x < y) - (x > y);
}

void uw_scan_stats_of(const uint64_t counts[256], struct uw_scan_stats *stats)
{
	uint64_t sorted[256];
	double total = 0, top = 0;

	*stats = (struct uw_scan_stats){0};
	memcpy(sorted, counts, sizeof(sorted));
	qsort(sorted, 256, sizeof(sorted[0]), descending);
	for (int i = 0; i < 256; i++)
		total += (double)sorted[i];
	if (total == 0)
		return;
	for (int i = 0; i < 256 && sorted[i] != 0; i++) {
		double share = (double)sorted[i] / total;

		if (share < 1)
			stats->entropy -= share * log2(share);
		if (i < 16)
			top += (double)sorted[i];
		stats->nexponents++;
	}
	stats->top16 = top / total;
}

static void sum_add(struct uw_scan_sum *sum, const struct uw_scan_tensor *tensor)
{
	sum->n++;
	sum->src_nbytes += tensor->extent.src_nbytes;
	for (int p = 0; p < UW_SCAN_NPROFILES; p++)
		sum->nbytes[p] += tensor->profile[p].nbytes;
}

/* Splits `nbytes` stored bytes of a tensor. Tables fit parts of a tensor better than one entropy does, and ZSTD knows
 * no planes, so a part may be smaller than its nominal size; together they are always nbytes. */
static void parts_add(struct uw_scan_parts *parts, double nbytes, double nweights, double entropy)
{
	double sign_mantissa = fmin(nbytes, nweights);
	double exponent = fmin(nbytes - sign_mantissa, nweights * entropy / 8);

	parts->sign_mantissa += sign_mantissa;
	parts->exponent += exponent;
	parts->overhead += nbytes - sign_mantissa - exponent;
}

static void bf16_add(struct uw_scan_totals *totals, const struct uw_scan_tensor *tensor)
{
	double nweights = (double)(tensor->extent.src_nbytes / 2);
	struct uw_scan_stats stats;

	uw_scan_stats_of(tensor->counts, &stats);
	totals->nweights += tensor->extent.src_nbytes / 2;
	for (int e = 0; e < 256; e++)
		totals->counts[e] += tensor->counts[e];
	parts_add(&totals->src, (double)tensor->extent.src_nbytes, nweights, stats.entropy);
	for (int p = 0; p < UW_SCAN_NPROFILES; p++)
		parts_add(&totals->profile[p], (double)tensor->profile[p].nbytes, nweights, stats.entropy);
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* What is left of the sum of all files when the extents are taken away. */
static void rest_of(struct uw_scan_totals *totals)
{
	struct uw_scan_sum rest = totals->all;

	rest.n = 0;
	for (int i = 0; i < 256 + 2; i++) {
		const struct uw_scan_sum *s = i < 256  ? &totals->dtype[i] :
					      i == 256 ? &totals->header :
							 &totals->opaque;

		rest.src_nbytes = minus(rest.src_nbytes, s->src_nbytes);
		for (int p = 0; p < UW_SCAN_NPROFILES; p++)
			rest.nbytes[p] = minus(rest.nbytes[p], s->nbytes[p]);
	}
	totals->rest = rest;
}

void uw_scan_totals_of(const struct uw_scan_report *report, struct uw_scan_totals *totals)
{
	memset(totals, 0, sizeof(*totals));
	totals->all.n = report->nfiles;
	for (int p = 0; p < UW_SCAN_NPROFILES; p++)
		totals->all.nbytes[p] = report->manifest_nbytes[p];
	for (uint64_t i = 0; i < report->nfiles; i++) {
		totals->all.src_nbytes += report->files[i].nbytes;
		for (int p = 0; p < UW_SCAN_NPROFILES; p++)
			totals->all.nbytes[p] += report->files[i].bundle_nbytes[p];
	}
	for (uint64_t i = 0; i < report->ntensors; i++) {
		const struct uw_scan_tensor *t = &report->tensors[i];

		if (t->extent.kind == UW_EXTENT_TENSOR)
			sum_add(&totals->dtype[t->extent.dtype], t);
		else
			sum_add(t->extent.kind == UW_EXTENT_HEADER ? &totals->header : &totals->opaque, t);
		if (uw_scan_is_bf16(t))
			bf16_add(totals, t);
	}
	rest_of(totals);
}

enum uw_role uw_scan_role_of(const struct uw_extent *extent)
{
	enum uw_role role = uw_name_meaning(extent->name, extent->name_nbytes).role;

	return role <= UW_ROLE_OTHER ? role : UW_ROLE_OTHER;
}

int uw_scan_layer_of(const struct uw_extent *extent)
{
	return uw_name_meaning(extent->name, extent->name_nbytes).layer;
}
