/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding of coded groups on a CUDA device. The kernels read a group's stored bytes as they are on disk.
 *
 * To decode: check each group with uw_coded_open on the host, copy its stored bytes to the device, describe it by
 * uw_gpu_group_init, number the groups of one launch by uw_gpu_decode_init, copy the descriptors, zero the error
 * words, launch. When the stream has come to the end of the launch, UW_GPU_ERR_BITS in an error word says that a bit
 * stream of that group is corrupt, where uw_coded_decode says UW_ERR_BITS: its output is then partly written, never
 * anything outside of it.
 *
 * Only H holds what the check of a head cannot see; a launch of P4 groups leaves the error words alone. The head that
 * the kernels read has to be the one that was checked: they trust it.
 *
 * A launch allocates nothing, does not wait and keeps no state: it can be captured in a graph, and any number may run
 * at once.
 */
#ifndef UNWEIGHT_GPU_DECODE_H
#define UNWEIGHT_GPU_DECODE_H

#include <stdint.h>

#include "unweight/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* cudaStream_t, without CUDA's headers. */
struct CUstream_st;

/* One group. Plain data, the same on host and device; 80 bytes. */
struct uw_gpu_group {
	const uint8_t *stored_dev; /* the stored bytes; aligned to 16 */
	void *out_dev;             /* see the launch functions */
	uint32_t first_chunk;      /* chunks of the groups before it in the launch */
	uint32_t nchunks;
	uint32_t ntiles;
	uint32_t order;            /* enum uw_order */
	uint32_t nrows;            /* as in struct uw_shape */
	uint32_t ncols;
	uint32_t words_off;        /* parts of the stored bytes */
	uint32_t patches_off;
	uint32_t e_off;
	uint32_t e_nbytes;
	uint32_t s_off;
	uint32_t npatches;
	uint32_t stream_room;      /* H: bytes of the longest chunk stream that can be good */
	uint32_t coding;           /* enum uw_coding */
	uint32_t rows_off;         /* of the row order; 0: rows are stored as they come */
	uint32_t reserved;
};

#define UW_GPU_ERR_BITS 1u  /* a bit stream is corrupt: UW_ERR_BITS */
#define UW_GPU_ERR_ALIGN 2u /* out_dev is not aligned to 16 where that is asked for; nothing was written: UW_ERR_ARG */

/* One launch. */
struct uw_gpu_decode {
	const struct uw_gpu_group *groups_dev;
	uint32_t *errors_dev;      /* a word for each group, zeroed by the caller; kernels set UW_GPU_ERR_* */
	uint32_t ngroups;
	uint32_t nchunks;          /* of all groups */
	uint32_t stream_room;      /* H: the largest one of the groups */
	uint32_t coding;
};

/*
 * Describes a group that uw_coded_open has accepted and whose stored bytes are, or will be, at `stored_dev`.
 * UW_ERR_ARG: stored_dev is not aligned to 16, out_dev not to 2, or the group has 2^30 stored bytes or more.
 */
UW_MUST_CHECK enum uw_status uw_gpu_group_init(const struct uw_coded *coded, const uint8_t *stored_dev, void *out_dev,
					       struct uw_gpu_group *group);

/*
 * Numbers the groups of one launch and fills *decode. Afterwards copy groups[] to groups_dev. All have the same
 * coding, else UW_ERR_ARG; so it is if there are none, or more than 2^32 - 1 chunks.
 */
UW_MUST_CHECK enum uw_status uw_gpu_decode_init(struct uw_gpu_group *groups, uint32_t ngroups,
						const struct uw_gpu_group *groups_dev, uint32_t *errors_dev,
						struct uw_gpu_decode *decode);

/*
 * Launches. UW_ERR_ARG: the groups are of another coding; UW_ERR_NO_DEVICE: there is none that this build has code for;
 * UW_ERR_DEVICE: anything else that the launch reports.
 *
 * out_dev of each group receives
 *   uw_gpu_decode_p4, _h   its weights, row-major: 2 nweights bytes; fastest if aligned to 16 and ncols a multiple of 8
 *   uw_gpu_transcode_h     its P4 nibble plane, as E of coding P4: 512 ntiles bytes; aligned to 16
 *   uw_gpu_exponents_h     its exponent plane: 1024 ntiles bytes; aligned to 16. For lane, step j and words a0 .. a3 as
 *                          in SPEC.md section 5, with the masks MA = 0x807F807F and MB = 0x7F807F80:
 *                              u32 at 16 lane + 4 j of the tile's bytes: (a0 & ~MA) | (rotl32(a1, 8) & ~MB)
 *                              u32 at 512 + 16 lane + 4 j:               (a2 & ~MA) | (rotl32(a3, 8) & ~MB)
 * The two planes complement the stored S plane. Patches are not in them: who rebuilds weights applies the stored list.
 */
UW_MUST_CHECK enum uw_status uw_gpu_decode_preload(void); /* loads the kernels: not in a capture; optional */
UW_MUST_CHECK enum uw_status uw_gpu_decode_p4(const struct uw_gpu_decode *decode, struct CUstream_st *stream);
UW_MUST_CHECK enum uw_status uw_gpu_decode_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream);
UW_MUST_CHECK enum uw_status uw_gpu_transcode_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream);
UW_MUST_CHECK enum uw_status uw_gpu_exponents_h(const struct uw_gpu_decode *decode, struct CUstream_st *stream);

#ifdef __cplusplus
}
#endif
#endif
