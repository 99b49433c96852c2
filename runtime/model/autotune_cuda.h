/* SPDX-License-Identifier: Apache-2.0 */
#ifndef UW_AUTOTUNE_CUDA_H
#define UW_AUTOTUNE_CUDA_H

#include "autotune.h"

/* uw_autotune for options->cuda, its options checked. The caller frees *report, whatever the status. */
UW_MUST_CHECK enum uw_status uw_autotune_cuda(const struct uw_model *model, const struct uw_autotune_options *options,
					     struct uw_tuning **tuning, struct uw_autotune_report *report,
					     struct uw_error *err);

#endif
