/* SPDX-License-Identifier: Apache-2.0 */
/* What unweight-scan found, and the two ways to show it. */
#ifndef UW_SCAN_REPORT_H
#define UW_SCAN_REPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "unweight/format.h"

enum uw_profile_index { UW_SCAN_DISTRIBUTION, UW_SCAN_INFERENCE, UW_SCAN_NPROFILES };

/* One tensor (or one opaque file: kind is not UW_EXTENT_TENSOR, name is empty). */
struct uw_scan_tensor {
	const char *file;          /* path of its file in the model */
	struct uw_extent extent;   /* name, dtype, dims, src_nbytes, order; owned by the report */
	uint64_t counts[256];      /* exponents; BF16 tensors only, else all 0 */
	struct {
		uint64_t nbytes;         /* stored bytes of its groups; alignment padding counts for its file */
		uint64_t nescapes;       /* patches */
		uint64_t ntables;        /* over all groups */
		uint64_t groups[4];      /* number of groups by coding RAW, ZSTD, H, P4 */
		uint64_t src_nbytes[4];  /* source bytes by coding */
	} profile[UW_SCAN_NPROFILES];
};

/* One file of the model. */
struct uw_scan_file {
	const char *path;
	uint64_t nbytes;
	uint64_t bundle_nbytes[UW_SCAN_NPROFILES]; /* exactly what the bundle's file will have */
	bool container;
	const char *warning;       /* why it is carried opaque, or NULL */
};

struct uw_scan_report {
	const char *model;         /* path as given */
	uint64_t nfiles, ntensors;
	struct uw_scan_file *files;
	struct uw_scan_tensor *tensors;
	uint64_t manifest_nbytes[UW_SCAN_NPROFILES];
};

/* Statistics of one tensor, from its exponent counts. */
struct uw_scan_stats {
	double entropy;            /* bits per exponent; 0 if no counts */
	double top16;              /* share of the 16 most frequent exponents, 0..1 */
	double nexponents;         /* how many different ones occur */
};
void uw_scan_stats_of(const uint64_t counts[256], struct uw_scan_stats *stats);

/* Each returns 0, or -1 with errno if writing to f failed. */
int uw_scan_write_text(const struct uw_scan_report *report, FILE *f);
int uw_scan_write_json(const struct uw_scan_report *report, FILE *f);
int uw_scan_write_html(const struct uw_scan_report *report, FILE *f);

#endif
