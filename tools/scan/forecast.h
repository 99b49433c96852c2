/* SPDX-License-Identifier: Apache-2.0 */
/* How large a model's bundles will be, from a sample of its groups. */
#ifndef UW_FORECAST_H
#define UW_FORECAST_H

#include <stdio.h>

#include "scan_report.h"
#include "source.h"
#include "unweight/container.h"

/* Groups that the same codings are for. Sums over those that were looked at: x source bytes, y stored ones. */
struct uw_forecast_class {
	uint64_t ngroups, nbytes; /* all there are */
	uint64_t nlooked;
	double x, xx;
	struct {
		double y, xy, yy;
	} profile[UW_SCAN_NPROFILES];
};

enum { UW_FORECAST_WEIGHTS, UW_FORECAST_BYTES, UW_FORECAST_NCLASSES };

struct uw_forecast {
	const char *model; /* path as given */
	double share;      /* of the groups that is looked at, at least: 0 to 1 */
	uint64_t nfiles, nbytes;
	uint64_t looked_nbytes; /* that were read, small groups and headers among them */
	struct uw_forecast_class classes[UW_FORECAST_NCLASSES]; /* of large groups; small ones are all looked at */
	double known_nbytes[UW_SCAN_NPROFILES]; /* of all that is not left to chance */
};

/* Looks at the model: fills in all but `model` and `share`, which may be raised so that some dozens of groups are seen.
 * `where` as uw_model_pack has it. */
UW_MUST_CHECK enum uw_status uw_forecast_look(struct uw_forecast *forecast, const struct uw_job *job,
					      struct uw_source *source, char **where, struct uw_error *err);

/* Expected size of the bundle; the real one is at most *spread away for 19 samples of 20, 0 if all was looked at. */
double uw_forecast_nbytes(const struct uw_forecast *forecast, int profile, double *spread);

/* Each returns 0, or -1 with errno if writing to f failed. */
int uw_forecast_write_text(const struct uw_forecast *forecast, FILE *f);
int uw_forecast_write_json(const struct uw_forecast *forecast, FILE *f);

#endif
