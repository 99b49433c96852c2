/* SPDX-License-Identifier: Apache-2.0 */
/* What the tests of format/ share: random numbers, a file in memory, and containers as a plan. */
#ifndef UW_FORMAT_COMMON_H
#define UW_FORMAT_COMMON_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "unweight/bytes.h"
#include "unweight/format.h"

#define BYTES 0
#define LINEAR 1
#define TILED 2

#define RAW 0
#define ZSTD 1
#define H 2
#define P4 3

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

struct mem {
	uint8_t *data;
	size_t nbytes;
	size_t nbytes_max;
	size_t fail_at;     /* writing ends with UW_ERR_NOSPACE here */
	uint64_t no_touch;  /* reading below here and above the header is an error of the reader */
	unsigned nreads_left;
};

#define MAX_EXTENTS 40
#define MAX_GROUPS 400

struct plan {
	struct uw_extent extents[MAX_EXTENTS];
	uint64_t dims[MAX_EXTENTS][5];
	char names[MAX_EXTENTS][16];
	struct uw_group groups[MAX_GROUPS];
	uint64_t nextents;
	uint64_t ngroups;
	uint64_t src_nbytes;
};

extern uint8_t *payload; /* what every group stores the beginning of; made by payload_setup */
#define PAYLOAD_NBYTES (UINT64_C(9) << 20)

uint64_t random_u64(void);
uint64_t random_below(uint64_t n);
enum uw_status mem_write(void *ctx, const void *data, size_t nbytes, struct uw_error *err);
enum uw_status mem_pread(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err);
enum uw_status mem_open(struct mem *m, struct uw_index **index, struct uw_error *err);
int payload_setup(void **state);
int payload_teardown(void **state);
void plan_group(struct plan *p, uint8_t coding, uint64_t nbytes, uint8_t ntables, uint32_t npatches);
/* Adds an extent without groups; the size follows from the dimensions unless the dtype has no size. */
struct uw_extent *plan_extent(struct plan *p, uint8_t kind, uint8_t dtype, uint8_t order, const uint64_t *dims,
			      uint8_t ndims, const char *name, uint32_t name_nbytes, uint64_t src_nbytes);
void plan_raw_groups(struct plan *p, const struct uw_extent *e);
enum uw_status plan_write(const struct plan *p, uw_write_fn write, struct mem *m, struct uw_container_id *id,
			  struct uw_error *err);
/* One of each: the base of the tests with broken containers. 6 extents, 5 groups, 10 dimensions, 14 name bytes. */
void plan_sample(struct plan *p);

#endif
