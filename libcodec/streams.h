/* SPDX-License-Identifier: Apache-2.0 */
/* The bit streams of a group of coding H. */
#ifndef UW_STREAMS_H
#define UW_STREAMS_H

#include "unweight/codec.h"

enum uw_stream_values {
	UW_STREAM_SYMBOLS,
	UW_STREAM_EXPONENTS,
};

/* Receives the values of chunk c in position order: 1024 for each of its tiles, aligned to 64, valid during the call,
 * free to be changed. */
typedef void (*uw_take_chunk_fn)(void *ctx, uint64_t c, uint8_t *values);

/* Decodes chunks begin .. end of a group of coding H, not in order: those that share a table go side by side. Patches
 * are not applied. */
UW_MUST_CHECK enum uw_status uw_streams_decode(const struct uw_cpu_ops *ops, const struct uw_coded *coded,
					       uint64_t begin, uint64_t end, enum uw_stream_values values,
					       uw_take_chunk_fn take, void *ctx, struct uw_error *err);

#endif
