/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a model: model.c makes and frees it, model_list.c fills the list of tensors, the rest goes through
 * model.h. */
#ifndef UW_MODEL_PRIVATE_H
#define UW_MODEL_PRIVATE_H

#include "base.h"
#include "model.h"

/* Where a tensor lies. */
struct uw_place {
	const struct uw_model_part *part;
	const struct uw_extent *extent;
};

struct uw_model {
	struct uw_model_options options;
	struct uw_allocator allocator;
	struct uw_cpu_ops ops;
	uint32_t cpu_flags;
	struct uw_bundle_base *base;   /* NULL: it needs none */
	struct uw_bundle bundle;
	struct uw_memory memory;       /* that it was opened from, or NULL inside */
	size_t nparts;
	struct uw_bundle_file *opened; /* of the bundle, one a part */
	struct uw_model_part *parts;
	size_t ntensors;
	struct uw_tensor *tensors;     /* ascending by name */
	struct uw_place *places;       /* of each tensor */
	const struct uw_tensor **by_role; /* ascending by role, layer, expert */
	char *names;
};

/* Fills tensors, places and names from the containers' indexes. */
UW_MUST_CHECK enum uw_status uw_model_list(struct uw_model *model, struct uw_error *err);

#endif
