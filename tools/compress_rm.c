/* SPDX-License-Identifier: Apache-2.0 */
#include "compress_rm.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>

#include "bundle.h"
#include "verify.h"

int uw_rm_note(const char *path, const struct uw_file_list *only, struct uw_removal *removal)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	enum uw_archive_kind kind;
	bool is_bundle = false;
	struct stat st;
	enum uw_status status = UW_OK;

	*removal = (struct uw_removal){ 0 };
	if (stat(path, &st) != 0)
		status = uw_fail_errno(&err, errno, "open");
	if (status == UW_OK)
		status = uw_bundle_probe(path, &is_bundle, &err);
	if (status == UW_OK && (is_bundle || (!S_ISDIR(st.st_mode) && uw_archive_kind_of_path(path, &kind)))) {
		uw_msg_error("%s: --rm removes a folder's files or a single file, no %s", path,
			     is_bundle ? "bundle" : "archive: it may hold more than its files");
		return UW_EXIT_USAGE;
	}
	if (status == UW_OK)
		status = uw_removal_note(path, only, removal, &err);
	return status == UW_OK ? UW_EXIT_OK : uw_tool_failure(path, &err);
}

static void take_verdict(void *ctx, const struct uw_verdict *verdict)
{
	struct uw_error *first = ctx;

	if (verdict->status != UW_OK && first->status == UW_OK)
		*first = verdict->err;
}

static enum uw_status prove_tar(struct uw_tool *tool, const char *output, struct uw_error *err)
{
	struct uw_bundle bundle;
	struct uw_job quiet = tool->job;
	enum uw_status status = uw_bundle_open(output, &tool->ops, &bundle, err);

	quiet.progress = NULL;
	if (status == UW_OK)
		status = uw_bundle_verify(&bundle, UW_VERIFY_CHECKSUM, &quiet, take_verdict, err);
	uw_bundle_close(&bundle);
	return status;
}

int uw_rm_run(struct uw_tool *tool, const char *output, const struct uw_removal *removal,
	      const struct uw_manifest *manifest)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	enum uw_archive_kind kind;
	const char *where = output;
	enum uw_status status = UW_OK;

	if (uw_path_is_archive(output, &kind))
		status = prove_tar(tool, output, &err);
	if (status == UW_OK && tool->job.cancelled(tool->job.ctx))
		status = uw_fail(&err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled"); /* the bundle is there, the source too */
	if (status == UW_OK)
		status = uw_removal_run(removal, manifest, &where, &err);
	if (status != UW_OK)
		return uw_tool_failure(where, &err);
	uw_msg_info("%s: %" PRIu64 " files removed", removal->path, manifest->nfiles);
	return UW_EXIT_OK;
}
