/* SPDX-License-Identifier: Apache-2.0 */
/* Single values of a report as text, for all three views. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "cli.h"
#include "scan_view.h"

const char *const uw_scan_profile_names[UW_SCAN_NPROFILES] = {"distribution", "inference"};
const char *const uw_scan_coding_names[4] = {"RAW", "ZSTD", "H", "P4"};

bool uw_scan_is_bf16(const struct uw_scan_tensor *tensor)
{
	return tensor->extent.kind == UW_EXTENT_TENSOR && tensor->extent.dtype == UW_DTYPE_BF16;
}

const char *uw_scan_codings(const struct uw_scan_tensor *tensor, int profile, char text[UW_CODINGS_NBYTES])
{
	uint64_t left[4];
	char *p = text;

	memcpy(left, tensor->profile[profile].groups, sizeof(left));
	for (;;) {
		const uint64_t *bytes = tensor->profile[profile].src_nbytes;
		int best = -1;

		for (int c = 3; c >= 0; c--) {
			if (left[c] != 0 && (best < 0 || bytes[c] > bytes[best]))
				best = c;
		}
		if (best < 0)
			break;
		left[best] = 0;
		p += sprintf(p, "%s%s", p != text ? "+" : "", uw_scan_coding_names[best]);
	}
	if (p == text)
		strcpy(text, "-");
	return text;
}

double uw_scan_rate(const struct uw_scan_tensor *tensor, int profile)
{
	double src = (double)tensor->extent.src_nbytes;

	if (src == 0)
		return 0;
	return (double)tensor->profile[profile].nbytes / src * (uw_scan_is_bf16(tensor) ? 16 : 100);
}

double uw_scan_escape_rate(const struct uw_scan_tensor *tensor, int profile)
{
	if (!uw_scan_is_bf16(tensor) || tensor->extent.src_nbytes < 2)
		return 0;
	return (double)tensor->profile[profile].nescapes / (double)(tensor->extent.src_nbytes / 2);
}

void uw_scan_print_shape(FILE *f, const struct uw_extent *extent, const char *times)
{
	if (extent->kind != UW_EXTENT_TENSOR)
		return;
	if (extent->ndims == 0)
		fputs("scalar", f);
	for (int i = 0; i < extent->ndims; i++)
		fprintf(f, "%s%" PRIu64, i != 0 ? times : "", extent->dims[i]);
}

static double percent(uint64_t part, uint64_t whole)
{
	return whole != 0 ? 100.0 * (double)part / (double)whole : 0;
}

/* The dtype other than BF16 with the most bytes, or -1. */
static int biggest_other(const struct uw_scan_totals *totals)
{
	int best = -1;

	for (int d = 0; d < 256; d++) {
		if (d != UW_DTYPE_BF16 && totals->dtype[d].src_nbytes != 0 &&
		    (best < 0 || totals->dtype[d].src_nbytes > totals->dtype[best].src_nbytes))
			best = d;
	}
	return best;
}

void uw_scan_print_share(FILE *f, const struct uw_scan_totals *totals)
{
	uint64_t all = totals->all.src_nbytes;
	double share = percent(totals->dtype[UW_DTYPE_BF16].src_nbytes, all);
	int other = biggest_other(totals);

	if (all == 0) {
		fputs("The model is empty.", f);
		return;
	}
	if (share >= 90) {
		fprintf(f, "%.1f %% of the bytes are BF16.", share);
		return;
	}
	if (totals->dtype[UW_DTYPE_BF16].src_nbytes == 0)
		fputs("None of the bytes are BF16", f);
	else
		fprintf(f, "Only %.1f %% of the bytes are BF16", share);
	if (other >= 0 && totals->dtype[other].src_nbytes >= totals->opaque.src_nbytes) {
		const char *name = uw_dtype_name((uint8_t)other);

		fprintf(f, " (%.1f %% are %s)", percent(totals->dtype[other].src_nbytes, all),
			name == NULL || other == UW_DTYPE_OTHER ? "of a type unknown to us" : name);
	} else if (totals->opaque.src_nbytes != 0) {
		fprintf(f, " (%.1f %% are files carried opaque)", percent(totals->opaque.src_nbytes, all));
	}
	fputs("; other bytes of a model hardly compress.", f);
}

void uw_scan_print_outcome(FILE *f, const struct uw_scan_totals *totals)
{
	if (totals->all.src_nbytes == 0)
		return;
	fputs("The whole model becomes", f);
	for (int p = 0; p < UW_SCAN_NPROFILES; p++) {
		uint64_t src = totals->all.src_nbytes, dst = totals->all.nbytes[p];

		fprintf(f, "%s %.1f %% %s as %s bundle", p != 0 ? " and" : "",
			percent(src > dst ? src - dst : dst - src, src),
			dst <= src ? "smaller" : "LARGER", p == UW_SCAN_INFERENCE ? "an inference" : "a distribution");
	}
	fputc('.', f);
}

const char *uw_scan_label(const struct uw_scan_tensor *tensor, size_t *nbytes)
{
	if (tensor->extent.kind == UW_EXTENT_TENSOR) {
		*nbytes = tensor->extent.name_nbytes;
		return tensor->extent.name;
	}
	*nbytes = strlen(tensor->file);
	return tensor->file;
}

char *uw_scan_printable(const char *text, size_t nbytes)
{
	char *copy = NULL;
	size_t n = 0;
	FILE *f = open_memstream(&copy, &n);

	if (f == NULL)
		return NULL;
	uw_print_escaped(f, text, nbytes);
	if (fclose(f) != 0 || copy == NULL) {
		free(copy);
		return NULL;
	}
	return copy;
}

int uw_scan_close(FILE *f)
{
	int failed = fflush(f) != 0;

	if (!failed && !ferror(f))
		return 0;
	if (errno == 0)
		errno = EIO;
	return -1;
}
