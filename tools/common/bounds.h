/* SPDX-License-Identifier: Apache-2.0 */
/* Options of every tool that works through a whole model: how long, in how much memory, and what it says meanwhile. */
#ifndef UW_BOUNDS_H
#define UW_BOUNDS_H

#include "tool.h"

/* Ids of the options, far from a tool's own. */
enum { UW_OPT_PROGRESS = 200, UW_OPT_MAX_TIME, UW_OPT_MEMORY };

/* Rows of a tool's option table. */
#define UW_BOUND_OPTIONS \
	{ 0, "max-time", "DURATION", "stop after so long, with exit code 124: seconds, or a number with s, m, h or d", \
	  UW_OPT_MAX_TIME }, \
	{ 0, "memory", "SIZE", "most that the buffers may take (default: 3/4 of the cgroup's limit); fewer threads work if\n" \
	  "need be. K, M, G, T are powers of 1024", UW_OPT_MEMORY }, \
	{ 0, "progress", "HOW", "auto (the default): a bar if standard error is a terminal; none; or json: standard\n" \
	  "error gets nothing but JSON, an object a line", UW_OPT_PROGRESS, "auto none json" }

struct uw_bounds {
	const char *max_time, *memory; /* as they were given; NULL if not */
	double seconds;
	uint64_t nbytes;
};

/* As uw_option_fn. Takes --progress to heart at once. */
bool uw_bounds_option(struct uw_bounds *bounds, int id, const char *arg);

/* After uw_tool_init. The time runs from there. */
void uw_bounds_apply(const struct uw_bounds *bounds, struct uw_tool *tool);

#endif
