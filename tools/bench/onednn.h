/* SPDX-License-Identifier: Apache-2.0 */
/*
 * oneDNN's BF16 matmul as a baseline: y = W x, weights as they lie in memory or packed as it likes them. The library is
 * loaded when it is first asked for; what OpenMP, which it is built on, shall find in the environment has to be there
 * by then.
 */
#ifndef UW_ONEDNN_H
#define UW_ONEDNN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define UW_ONEDNN_MAX_STREAMS 2u

struct uw_onednn_spec {
	uint64_t nrows, ncols, batch;
	const uint16_t *x;              /* BF16, [batch][ncols] */
	float *const *y;                /* of each stream, [batch][nrows] */
	unsigned nstreams;              /* threads that run at once, each on another matrix */
	const uint16_t *const *weights; /* of each matrix, row-major; not needed any more once they are packed */
	size_t nweights;
	bool packed;
};

struct uw_onednn;

bool uw_onednn_is_there(void); /* built with its headers, and the library can be loaded? */

/* What the spec points to is borrowed. False: oneDNN refuses, there is no memory, or it is not there. */
bool uw_onednn_create(const struct uw_onednn_spec *spec, struct uw_onednn **onednn);
/* Multiplies by matrix i, to the stream's y. How many threads it takes is OpenMP's matter (OMP_NUM_THREADS). */
bool uw_onednn_run(const struct uw_onednn *onednn, size_t i, unsigned stream);
void uw_onednn_free(struct uw_onednn **onednn); /* NULL inside is fine */

#endif
