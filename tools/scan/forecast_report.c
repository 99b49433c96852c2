/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <math.h>
#include <string.h>

#include "cli.h"
#include "forecast.h"
#include "scan_view.h"
#include "tool.h"

static uint64_t sum_of_groups(const struct uw_forecast *forecast, uint64_t *nlooked)
{
	uint64_t n = 0;

	*nlooked = 0;
	for (int c = 0; c < UW_FORECAST_NCLASSES; c++) {
		n += forecast->classes[c].ngroups;
		*nlooked += forecast->classes[c].nlooked;
	}
	return n;
}

static double share_of(const struct uw_forecast *forecast, double nbytes)
{
	return forecast->nbytes != 0 ? nbytes / (double)forecast->nbytes : 0;
}

int uw_forecast_write_text(const struct uw_forecast *forecast, FILE *f)
{
	uint64_t nlooked, ngroups = sum_of_groups(forecast, &nlooked);
	char size[32];

	errno = 0;
	fputs("Model: ", f);
	uw_print_escaped(f, forecast->model, strlen(forecast->model));
	fprintf(f, "\n%" PRIu64 " file%s, %s (%" PRIu64 " bytes)\n", forecast->nfiles, forecast->nfiles == 1 ? "" : "s",
		uw_human_size(forecast->nbytes, size), forecast->nbytes);
	fprintf(f, "Looked at %s: %" PRIu64 " of %" PRIu64 " large groups, and all small ones\n\n",
		uw_human_size(forecast->looked_nbytes, size), nlooked, ngroups);
	fprintf(f, "%-14s %12s %12s\n", "bundle", "size", "of the model");
	for (int p = 0; p < UW_SCAN_NPROFILES; p++) {
		double spread, nbytes = uw_forecast_nbytes(forecast, p, &spread);

		fprintf(f, "%-14s %12s %10.2f %% +- %.2f\n", uw_scan_profile_names[p],
			uw_human_size((uint64_t)nbytes, size), 100 * share_of(forecast, nbytes),
			100 * share_of(forecast, spread));
	}
	return uw_scan_close(f);
}

static json_t *profile_object(const struct uw_forecast *forecast, int p)
{
	double spread, nbytes = uw_forecast_nbytes(forecast, p, &spread);

	return json_pack("{s:I, s:I, s:f}", "bytes", (json_int_t)nbytes, "plus_minus", (json_int_t)ceil(spread), "ratio",
			 share_of(forecast, nbytes));
}

int uw_forecast_write_json(const struct uw_forecast *forecast, FILE *f)
{
	uint64_t nlooked, ngroups = sum_of_groups(forecast, &nlooked);
	json_t *report = json_pack("{s:s, s:o, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "schema", "unweight-forecast-1",
				   "model", uw_json_text(forecast->model), "files", (json_int_t)forecast->nfiles, "bytes",
				   (json_int_t)forecast->nbytes, "looked_at_bytes", (json_int_t)forecast->looked_nbytes,
				   "large_groups", (json_int_t)ngroups, "large_groups_looked_at", (json_int_t)nlooked,
				   uw_scan_profile_names[0], profile_object(forecast, 0), uw_scan_profile_names[1],
				   profile_object(forecast, 1));
	int failed;

	errno = report == NULL ? ENOMEM : 0;
	if (report == NULL)
		return -1;
	failed = json_dumpf(report, f, JSON_SORT_KEYS | JSON_INDENT(2) | JSON_REAL_PRECISION(9));
	json_decref(report);
	if (failed == 0)
		fputc('\n', f);
	return failed != 0 || uw_scan_close(f) != 0 ? -1 : 0;
}
