/* SPDX-License-Identifier: Apache-2.0 */
/* unweight-compress for many machines: its options that plan, do one part, merge and look. */
#ifndef UW_COMPRESS_PARTS_H
#define UW_COMPRESS_PARTS_H

#include "bounds.h"
#include "file_list.h"
#include "parts.h"

/* Ids of the options, far from the tool's others. */
enum {
	UW_OPT_PLAN = 100, UW_OPT_PART, UW_OPT_PARTS, UW_OPT_WITH_PLAN, UW_OPT_MERGE, UW_OPT_STATUS, UW_OPT_COMMANDS,
};

enum uw_parts_mode {
	UW_PARTS_NONE, UW_PARTS_PLAN, UW_PARTS_PART, UW_PARTS_MERGE, UW_PARTS_STATUS, UW_PARTS_COMMANDS,
};

struct uw_parts_opts {
	enum uw_parts_mode mode;
	unsigned nmodes; /* options given that choose a mode */
	uint32_t nparts; /* 0: not given */
	struct uw_part_id id;
	bool from_env;
	const char *with_plan;
};

struct uw_parts_cli {
	const struct uw_parts_opts *opts;
	const struct uw_bounds *bounds;
	const char *output, *json, *base;
	const char *files_from; /* NULL, or where `only` came from */
	bool from0;
	const struct uw_file_list *only; /* NULL: all of the model */
	bool force;
	struct uw_pack_model pack; /* but for job and base */
	void (*kept)(void *ctx, const struct uw_manifest_file *file);
};

/* As uw_option_fn. */
bool uw_parts_option(struct uw_parts_opts *opts, int id, const char *arg);

/* Do the options fit together, for a command line with nargs paths? UW_EXIT_USAGE after printing if not. */
int uw_parts_check(const struct uw_parts_cli *cli, int nargs);

/* --part; reports what it does through cli->pack.file and cli->kept. Gives the exit code. */
int uw_parts_part(const struct uw_parts_cli *cli, struct uw_tool *tool, const char *path);

/* --merge; `manifest` is the bundle's, to be freed in any case. Gives the exit code. */
int uw_parts_put_together(const struct uw_parts_cli *cli, struct uw_tool *tool, struct uw_manifest *manifest);

/* The modes that are left but NONE. */
int uw_parts_other(const struct uw_parts_cli *cli, const char *path, unsigned nthreads);

#endif
