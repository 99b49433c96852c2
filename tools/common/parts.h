/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A bundle made by many processes that know nothing of each other. What they share is a folder "BUNDLE.parts" beside
 * the bundle-to-be, on a file system they all see:
 *
 *	plan.json                      made by whoever comes first; everyone else's has to be the same
 *	files/                         stored files, each there when it is whole: the later bundle
 *	part-I-of-N.manifest.json      when part I is done: what it stored
 *	.files.PID.tmp/                stored files being written; left behind by processes that were killed
 *
 * Nothing is locked and nothing is appended to: whatever appears is renamed into place whole, and depends on the model
 * and the options alone, so that the last of several writers changes nothing.
 */
#ifndef UW_PARTS_H
#define UW_PARTS_H

#include "manifest.h"
#include "parts_plan.h"

/* The folder's paths; owned. */
struct uw_parts_dir {
	char *bundle, *work, *plan, *files;
};

/* Makes no folder. UW_ERR_ARG: `bundle` is no name for one. Free with uw_parts_dir_free, after failure too. */
UW_MUST_CHECK enum uw_status uw_parts_dir_init(struct uw_parts_dir *dir, const char *bundle, struct uw_error *err);
void uw_parts_dir_free(struct uw_parts_dir *dir);

/* One of nparts parts; part < nparts. */
struct uw_part_id {
	uint32_t part, nparts;
};

/* "I/N", I from 1 to N. False if it is no such thing. */
bool uw_part_parse(const char *text, struct uw_part_id *id);

/*
 * What a scheduler's environment says, `getenv_` in place of getenv; nparts 0: the environment has to tell that too.
 * In this order: SLURM_ARRAY_TASK_ID with _COUNT, _MIN, _STEP; JOB_COMPLETION_INDEX; OMPI_COMM_WORLD_RANK and _SIZE;
 * PMI_RANK and PMI_SIZE; SLURM_PROCID and SLURM_NTASKS. With nparts, the index counts from 0, a Slurm array's id too.
 * UW_ERR_ARG with the reason.
 */
UW_MUST_CHECK enum uw_status uw_part_from_env(char *(*getenv_)(const char *), uint32_t nparts, struct uw_part_id *id,
					      struct uw_error *err);

struct uw_parts_run {
	struct uw_pack_model pack; /* `file` is called for the files that this run stores */
	struct uw_part_id id;
	bool force; /* an existing bundle is no obstacle: merging will replace it */
	void (*kept)(void *ctx, const struct uw_manifest_file *file); /* file that was there already; ctx of `pack` */
};

/* The plan in a file, or if with_plan is NULL the one that other parts left. *found false: it has to be made. Free it
 * with uw_plan_free, after failure too; `where` gets the file's path then, malloced. */
UW_MUST_CHECK enum uw_status uw_parts_find_plan(const struct uw_parts_dir *dir, const char *with_plan,
						struct uw_parts_plan *plan, bool *found, char **where,
						struct uw_error *err);

/*
 * Does one part: stores its files unless they are there and restore to the source's bytes, then its manifest.
 * UW_ERR_MISMATCH: the source, the program or the options are not those of the plan, or another plan is there.
 * If it is the source, an earlier manifest of the part is withdrawn. UW_ERR_EXISTS: the bundle is there, or stored files
 * are whose plan is not. `where` as in uw_model_pack.
 */
UW_MUST_CHECK enum uw_status uw_parts_run(const struct uw_parts_run *run, const struct uw_parts_dir *dir,
					  struct uw_parts_plan *plan, struct uw_source *source, char **where,
					  struct uw_error *err);

/* The plan, from its file. */
UW_MUST_CHECK enum uw_status uw_plan_load(const char *path, struct uw_parts_plan *plan, struct uw_error *err);

/* parts_text.c: what a part says it stored */

struct uw_part_manifest {
	struct uw_part_id id;
	struct uw_manifest stored; /* files only, ascending */
};

UW_MUST_CHECK enum uw_status uw_part_render(const struct uw_parts_plan *plan, const struct uw_part_manifest *part,
					    char **text, size_t *n, struct uw_error *err);
/* UW_ERR_MISMATCH: made for another plan or by another version. Clear with uw_manifest_free(&part->stored), after
 * failure too. */
UW_MUST_CHECK enum uw_status uw_part_parse_text(const char *text, size_t n, const struct uw_parts_plan *plan,
						struct uw_part_manifest *part, struct uw_error *err);
/* Path of its file, malloced; NULL if out of memory. */
char *uw_part_path(const struct uw_parts_dir *dir, struct uw_part_id id);

/* parts_merge.c: how far they are, and the end */

struct uw_parts_state {
	bool planned;
	struct uw_parts_plan plan;
	uint64_t nids; /* manifests of parts by name, ascending by nparts, then part; not opened */
	struct uw_part_id *ids;
	uint64_t nstored; /* files of the plan that are stored, by name */
	bool merged;      /* the bundle is there */
};

/* Reads the plan and lists the folder; it is fine if that is not there. Free with uw_parts_state_free, after failure
 * too. */
UW_MUST_CHECK enum uw_status uw_parts_look(const struct uw_parts_dir *dir, struct uw_parts_state *state,
					   struct uw_error *err);
void uw_parts_state_free(struct uw_parts_state *state);

/*
 * Checks that the parts make up the plan, that every stored file is the one its part names, and that there are no
 * others; then writes the manifest and gives the folder its name. Reads indexes and plain files, no weights. A merge
 * that is already done, or was killed half-way, is completed. `manifest` is the bundle's then, to be freed after failure
 * too. UW_ERR_NOT_FOUND: a part is missing; UW_ERR_MISMATCH,
 * UW_ERR_LAYOUT: parts do not fit together; UW_ERR_EXISTS: the bundle is there and `replace` is not set.
 */
UW_MUST_CHECK enum uw_status uw_parts_merge(const struct uw_parts_dir *dir, const struct uw_job *job, bool replace,
					    struct uw_manifest *manifest, char **where, struct uw_error *err);

/* sink_adopt.c: gives the folder `from`, on the same file system, the name `path` at once, as a folder sink's commit
 * does; and removes a folder with all it holds. */
UW_MUST_CHECK enum uw_status uw_folder_adopt(const char *path, const char *from, bool replace, struct uw_error *err);
UW_MUST_CHECK enum uw_status uw_folder_remove(const char *path, struct uw_error *err);

#endif
