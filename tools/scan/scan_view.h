/* SPDX-License-Identifier: Apache-2.0 */
/* What the views of a report share: roles and layers of tensors, sums, text of single values. */
#ifndef UW_SCAN_VIEW_H
#define UW_SCAN_VIEW_H

#include "scan_report.h"
#include "unweight/unweight.h"

/* For display: roles that have no place of their own in the report are "other". */
enum uw_role uw_scan_role_of(const struct uw_extent *extent);
/* Number of the layer the name speaks of, or -1. */
int uw_scan_layer_of(const struct uw_extent *extent);

struct uw_scan_sum {
	uint64_t n;
	uint64_t src_nbytes;
	uint64_t nbytes[UW_SCAN_NPROFILES];
};

/* BF16 bytes by what they are good for. */
struct uw_scan_parts {
	double sign_mantissa; /* 8 bits a weight, in every coding */
	double exponent;      /* entropy of the exponents, tensor by tensor */
	double overhead;      /* the rest: redundancy kept, tables, patches, padding */
};

struct uw_scan_totals {
	struct uw_scan_sum all;        /* whole files, bundle with manifest */
	struct uw_scan_sum dtype[256]; /* tensors */
	struct uw_scan_sum header;     /* safetensors headers */
	struct uw_scan_sum opaque;     /* files carried opaque */
	struct uw_scan_sum rest;       /* all - the above: plain files, indexes, manifest */
	uint64_t counts[256];          /* exponents of all BF16 tensors */
	uint64_t nweights;             /* BF16 */
	struct uw_scan_parts src;
	struct uw_scan_parts profile[UW_SCAN_NPROFILES];
};

void uw_scan_totals_of(const struct uw_scan_report *report, struct uw_scan_totals *totals);

extern const char *const uw_scan_profile_names[UW_SCAN_NPROFILES];

/* Codings of a tensor in a profile, most source bytes first: "H", "H+RAW"; "-" if it has no groups. */
#define UW_CODINGS_NBYTES 24
const char *uw_scan_codings(const struct uw_scan_tensor *tensor, int profile, char text[UW_CODINGS_NBYTES]);
extern const char *const uw_scan_coding_names[4];

/* BF16: bits a weight takes in `profile`. Else: percent of its source. 0 for empty tensors. */
double uw_scan_rate(const struct uw_scan_tensor *tensor, int profile);
/* Escapes per weight; 0 unless BF16. */
double uw_scan_escape_rate(const struct uw_scan_tensor *tensor, int profile);
bool uw_scan_is_bf16(const struct uw_scan_tensor *tensor);

/* "512x192" to f; "scalar" without dimensions. */
void uw_scan_print_shape(FILE *f, const struct uw_extent *extent, const char *times);

/* One sentence each, without line feed: how much is BF16, and what becomes of the whole. */
void uw_scan_print_share(FILE *f, const struct uw_scan_totals *totals);
void uw_scan_print_outcome(FILE *f, const struct uw_scan_totals *totals);

/* Name of a tensor, or the path of an opaque file or header; not terminated. */
const char *uw_scan_label(const struct uw_scan_tensor *tensor, size_t *nbytes);
/* The same text made printable by uw_print_escaped, terminated, valid UTF-8; to be freed. NULL: out of memory. */
char *uw_scan_printable(const char *text, size_t nbytes);

/* Flushes; 0, or -1 with errno if anything since `errno = 0` has failed. */
int uw_scan_close(FILE *f);

#endif
