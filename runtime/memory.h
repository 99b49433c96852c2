/* SPDX-License-Identifier: Apache-2.0 */
/* What the buffers of one item under way take, and how many of them a job has memory for. */
#ifndef UW_MEMORY_H
#define UW_MEMORY_H

#include "unweight/container.h"

/* The job with as many threads as job->memory allows if each item under way takes slot_nbytes. UW_ERR_NOMEM: not even
 * one. */
UW_MUST_CHECK enum uw_status uw_job_fit(const struct uw_job *job, uint64_t slot_nbytes, struct uw_job *fitted,
					struct uw_error *err);

/* Bytes of the buffers that encode one group of any of the extents and prove it, `based`: on a base. */
uint64_t uw_pack_slot_nbytes(const struct uw_extent *extents, uint64_t nextents, bool based);
/* Bytes of those that hold the stored bytes of one group of the container, and the restored ones. */
uint64_t uw_stored_slot_nbytes(const struct uw_index *index);
uint64_t uw_restored_slot_nbytes(const struct uw_index *index);

#endif
