/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A CUDA device that is not there: memory of the host, and the kernels' own source in the emulator. Work is queued and
 * done as late as possible, streams in random order, so that what runs too early for want of an event does so here.
 */
#ifndef UW_EMU_DEVICE_H
#define UW_EMU_DEVICE_H

#include "unweight/gpu_ops.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What tests set, and look at afterwards. */
struct emu_device {
	uint32_t capability;     /* 90: wgmma; 80: mma */
	bool has_dense;
	bool skip_waits;         /* event_await does nothing: to see that this is seen */
	int64_t alloc_budget;    /* allocations until one fails; negative: none does */
	uint64_t nallocs, nlive; /* allocations, and those that were not freed */
	uint64_t nchosen;        /* algorithms of cuBLASLt that were asked for */
	uint64_t nsyncs, nreads; /* waits of the host, copies to it */
	uint64_t ngemm, ndense, ndecode;
	uint64_t nbytes_moved;   /* by kernels, about: what time is made of */
};

extern struct emu_device emu_device;

const struct uw_gpu_ops *emu_device_ops(void);
void emu_device_reset(uint64_t seed);

#ifdef __cplusplus
}
#endif

#endif
