/* SPDX-License-Identifier: Apache-2.0 */
/* Length-limited canonical Huffman codes of up to 16 symbols (SPEC.md 6.1, 6.3). */
#ifndef UW_HUFFMAN_H
#define UW_HUFFMAN_H

#include "unweight/cpu_ops.h"

/* Optimal code lengths of at most UW_MAX_CODE_LEN bits; 0 for symbols that do not occur. If fewer than two symbols
 * occur, others are given codes so that the code is complete. */
void uw_huff_lengths(const uint64_t counts[UW_SYMBOLS], uint8_t lens[UW_SYMBOLS]);

/* True if every length is at most UW_MAX_CODE_LEN and the code is complete. */
bool uw_huff_complete(const uint8_t lens[UW_SYMBOLS]);

/* The canonical code of valid lengths, bit-reversed for an LSB-first stream. */
void uw_huff_codes(const uint8_t lens[UW_SYMBOLS], struct uw_huff_code code[UW_SYMBOLS]);

/* What each 7-bit window decodes to; value = values[symbol]. Lengths must be complete. */
void uw_huff_window_table(const uint8_t lens[UW_SYMBOLS], const uint8_t values[UW_SYMBOLS],
			  struct uw_huff_entry table[128]);

#endif
