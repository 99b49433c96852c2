/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group of weights in every form that the kernels of y = W x take, in buffers that end at a page which cannot be
 * read: an access behind one of them faults.
 */
#ifndef UW_LINEAR_COMMON_H
#define UW_LINEAR_COMMON_H

#include "codec_common.h"
#include "unweight/linear_ops.h"

/* Memory of exactly nbytes, as close before a guard page as `align` admits; its contents are `fill`. */
void *guarded(size_t nbytes, size_t align, uint8_t fill);
/* Releases all of it. */
void guarded_free(void);

enum form {
	FORM_RAW,
	FORM_P4,
	FORM_E8,         /* patches in the exponents */
	FORM_E8_PATCHES, /* patches to be applied */
	NFORMS,
};

struct linear_group {
	uint64_t nrows, ncols;
	const uint16_t *weights; /* row-major, `ld` apart; behind a row lie NaNs */
	size_t ld;
	struct uw_coded coded;
	struct uw_linear_run runs[NFORMS]; /* all rows */
};

/* `weights` is row-major without gaps. Padding is `noise` if that is not 0: nonsense, where the coding admits it. */
void linear_group_make(const uint16_t *weights, uint64_t nrows, uint64_t ncols, bool noise, struct linear_group *g);

enum uw_linear_source source_of(enum form form);
/* Of row blocks first .. first + n. */
struct uw_linear_run blocks_of(const struct linear_group *g, enum form form, uint64_t first, uint64_t n);

#endif
