/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_MAPPING_H
#define UW_MAPPING_H

#include "model.h"

/* True for a file system whose files other machines or programs serve: page faults there may take long, fail, or see
 * a file change. */
bool uw_is_remote(int fd);

/* Maps nbytes from `off` of the file on, all of which are there, for reading; fills the map members of *part. */
UW_MUST_CHECK enum uw_status uw_map(int fd, uint64_t off, uint64_t nbytes, struct uw_model_part *part,
				    struct uw_error *err);

#endif
