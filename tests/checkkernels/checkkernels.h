/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Every variant of a codec loop against the portable one: checks and speed. A file per family of loops lists its
 * entries of struct uw_cpu_ops; checkkernels.c walks the CPU levels and calls what is new in each.
 *
 * Buffers lie between guard pages: at random directly behind the front one, directly before the rear one, or anywhere
 * between, then with canaries around. An access outside is a failure of the op under test, with the buffer's name.
 */
#ifndef UW_CHECKKERNELS_H
#define UW_CHECKKERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "unweight/kernels.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct ck;

struct ck_op {
	const char *name;
	size_t offset; /* of its pointer in struct uw_cpu_ops; CK_NO_POINTER: all of them, bench only */
	enum uw_order order;
	void (*check)(struct ck *ck, const struct ck_op *op); /* leaves by ck_fail */
	void (*bench)(struct ck *ck, const struct ck_op *op);
};

#define CK_NO_POINTER SIZE_MAX

extern const struct ck_op ck_split_merge[], ck_symbols[], ck_huffman[], ck_p4[], ck_pipeline[]; /* end: name NULL */

struct ck_slot {
	const char *name;
	uint8_t *p;
	size_t nbytes;
};

#define CK_NSLOTS 20u
#define CK_SLOT_NBYTES (96u << 10)

struct ck {
	const struct uw_cpu_ops *ref; /* portable C */
	const struct uw_cpu_ops *now; /* under test */
	const char *level;
	uint64_t rng;
	bool exhaustive; /* also do what does not depend on the seed */
	bool quiet;
	uint8_t fill;    /* old contents of all buffers of a case */
	unsigned nslots;
	struct ck_slot slots[CK_NSLOTS];
	uint8_t *arenas[CK_NSLOTS];
};

uint32_t ck_rng(struct ck *ck);
void ck_random(struct ck *ck, void *p, size_t nbytes);

/* A case: ck_begin, buffers, both calls, comparisons, ck_end (which looks at the canaries). */
void ck_begin(struct ck *ck);
void *ck_buf(struct ck *ck, const char *name, size_t nbytes, size_t align);
void ck_end(struct ck *ck);

/* Distance of a tile's rows, aligned and odd ones; weights from a tile's first to its last. */
size_t ck_random_ld(struct ck *ck);
size_t ck_tile_extent(enum uw_order order, size_t ld);

_Noreturn void ck_fail(struct ck *ck, const char *fmt, ...) UW_PRINTF(2, 3);
/* Fails with the place of the first difference, in units of `unit` bytes. */
void ck_same(struct ck *ck, const char *what, const void *got, const void *want, size_t nbytes, size_t unit);

/* ---- speed ---- */

struct ck_work {
	const char *where;  /* "hot": in cache; "full": DRAM to DRAM; "tile": DRAM to a buffer in cache */
	size_t nbytes;      /* of BF16 weights in one run; memcpy is measured on as many */
	const void *from;   /* for memcpy; NULL: a buffer of its own, hot */
	void *to;
	unsigned nrounds;
	void (*run)(void *ctx, const struct uw_cpu_ops *ops);
	void *ctx;
};

void ck_measure(struct ck *ck, const struct ck_op *op, const struct ck_work *work);
void ck_pipeline_free(void);

/* Corrupts one op after the other; returns how many were not caught. */
unsigned ck_self_test(struct ck *ck);
/* One op, one seed; false: it failed. For checkkernels.c and the self-test. */
bool ck_run(struct ck *ck, const struct ck_op *op, uint64_t seed);

#endif
