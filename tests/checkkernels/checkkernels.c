/* SPDX-License-Identifier: Apache-2.0 */
#include "checkkernels.h"

#include <fnmatch.h>
#include <getopt.h>
#include <inttypes.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "../cpu_level.h"

#define GUARD_NBYTES (64u << 10) /* a page everywhere */
#define CANARY_NBYTES 256u
#define CANARY 0xC9u
#define EXIT_SKIPPED 77

static const struct ck_op *const families[] = { ck_split_merge, ck_symbols, ck_huffman, ck_p4, ck_pipeline };
static const char *const levels[] = { "c", "sse42", "avx2", "avx512", "avx512bf16", "amx" };

/* How an op under test gets out of a fault or a failure. */
static sigjmp_buf escape;
static volatile sig_atomic_t running;
static void *fault_address;
static char failure[300];

/* ---- random numbers: splitmix64 ---- */

uint32_t ck_rng(struct ck *ck)
{
	uint64_t z = ck->rng += 0x9E3779B97F4A7C15u;

	z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
	z = (z ^ z >> 27) * 0x94D049BB133111EBu;
	return (uint32_t)(z >> 32);
}

void ck_random(struct ck *ck, void *p, size_t nbytes)
{
	uint8_t *bytes = p;
	uint32_t word = 0;

	for (size_t i = 0; i < nbytes; i++, word >>= 8) {
		if (i % 4 == 0)
			word = ck_rng(ck);
		bytes[i] = (uint8_t)word;
	}
}

/* ---- buffers ---- */

static void map_arenas(struct ck *ck)
{
	for (unsigned n = 0; n < CK_NSLOTS; n++) {
		uint8_t *p = mmap(NULL, CK_SLOT_NBYTES + 2 * GUARD_NBYTES, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
				  0);

		if (p == MAP_FAILED || mprotect(p + GUARD_NBYTES, CK_SLOT_NBYTES, PROT_READ | PROT_WRITE) != 0) {
			perror("mmap");
			exit(3);
		}
		ck->arenas[n] = p + GUARD_NBYTES;
	}
}

void ck_begin(struct ck *ck)
{
	ck->nslots = 0;
	ck->fill = (uint8_t)ck_rng(ck);
}

/* First and last canary byte around a slot. */
static void canaries(const struct ck *ck, unsigned n, uint8_t **from, uint8_t **to)
{
	const struct ck_slot *slot = &ck->slots[n];
	uint8_t *end = slot->p + slot->nbytes;
	size_t before = (size_t)(slot->p - ck->arenas[n]);
	size_t behind = (size_t)(ck->arenas[n] + CK_SLOT_NBYTES - end);

	*from = slot->p - (before < CANARY_NBYTES ? before : CANARY_NBYTES);
	*to = end + (behind < CANARY_NBYTES ? behind : CANARY_NBYTES);
}

void *ck_buf(struct ck *ck, const char *name, size_t nbytes, size_t align)
{
	unsigned n = ck->nslots;
	size_t room = CK_SLOT_NBYTES - nbytes, at = 0;
	uint8_t *from, *to;

	if (n == CK_NSLOTS || nbytes > CK_SLOT_NBYTES)
		abort();
	switch (ck_rng(ck) % 3) {
	case 0:
		break;
	case 1:
		at = room;
		break;
	default:
		at = ck_rng(ck) % 1024;
		at = at < room ? at : room;
	}
	at -= at % align;
	ck->slots[n] = (struct ck_slot){ name, ck->arenas[n] + at, nbytes };
	ck->nslots++;
	canaries(ck, n, &from, &to);
	memset(from, CANARY, (size_t)(to - from));
	return memset(ck->slots[n].p, ck->fill, nbytes);
}

void ck_end(struct ck *ck)
{
	for (unsigned n = 0; n < ck->nslots; n++) {
		const struct ck_slot *slot = &ck->slots[n];
		uint8_t *from, *to;

		canaries(ck, n, &from, &to);
		for (uint8_t *p = from; p < to; p++) {
			if (p == slot->p)
				p += slot->nbytes;
			if (p < to && *p != CANARY)
				ck_fail(ck, "writes outside '%s' of %zu bytes, at %td", slot->name, slot->nbytes,
					p - slot->p);
		}
	}
	ck->nslots = 0;
}

/* ---- failures ---- */

void ck_fail(struct ck *ck, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(failure, sizeof(failure), fmt, args);
	va_end(args);
	siglongjmp(escape, 1);
}

void ck_same(struct ck *ck, const char *what, const void *got, const void *want, size_t nbytes, size_t unit)
{
	const uint8_t *a = got, *b = want;
	size_t i = 0;

	if (memcmp(a, b, nbytes) == 0)
		return;
	while (a[i] == b[i])
		i++;
	ck_fail(ck, "%s[%zu] differs: byte %zu is %02x, not %02x", what, i / unit, i % unit, a[i], b[i]);
}

static void on_fault(int sig, siginfo_t *info, void *context)
{
	if (!running) {
		signal(sig, SIG_DFL);
		return;
	}
	fault_address = info->si_addr;
	siglongjmp(escape, sig);
}

static void catch_faults(void)
{
	struct sigaction action = { .sa_sigaction = on_fault, .sa_flags = SA_SIGINFO };

	sigaction(SIGSEGV, &action, NULL);
	sigaction(SIGBUS, &action, NULL);
	sigaction(SIGILL, &action, NULL);
	sigaction(SIGFPE, &action, NULL);
	sigaction(SIGABRT, &action, NULL); /* a kernel's assert */
}

static void describe_fault(const struct ck *ck, int sig)
{
	snprintf(failure, sizeof(failure), "signal %d at %p, no buffer's", sig, fault_address);
	for (unsigned n = 0; n < ck->nslots; n++) {
		const struct ck_slot *slot = &ck->slots[n];
		ptrdiff_t at = (uint8_t *)fault_address - ck->arenas[n];

		if (at >= -(ptrdiff_t)GUARD_NBYTES && at < (ptrdiff_t)(CK_SLOT_NBYTES + GUARD_NBYTES))
			snprintf(failure, sizeof(failure), "faults outside '%s' of %zu bytes, at %td", slot->name,
				 slot->nbytes, (uint8_t *)fault_address - slot->p);
	}
}

bool ck_run(struct ck *ck, const struct ck_op *op, uint64_t seed)
{
	int sig;

	ck->rng = seed;
	for (const char *c = op->name; *c != '\0'; c++)
		ck->rng = ck->rng * 31 + (uint8_t)*c; /* --op does not change the cases */
	ck->nslots = 0;
	sig = sigsetjmp(escape, 1);
	if (sig == 0) {
		running = 1;
		op->check(ck, op);
		running = 0;
		return true;
	}
	running = 0;
	if (sig > 1)
		describe_fault(ck, sig);
	if (!ck->quiet)
		printf("%-7s %-16s FAILED: %s\n        --level %s --op %s --seed %" PRIu64 "\n", ck->level, op->name,
		       failure, ck->level, op->name, seed);
	return false;
}

/* ---- the walk ---- */

struct settings {
	uint64_t first_seed, last_seed;
	const char *op, *level;
	bool list, bench, self_test;
	unsigned nvisited;
};

/* True if `now` has an entry of its own; the lowest level has all. */
static bool is_new(const struct ck_op *op, const struct uw_cpu_ops *now, const struct uw_cpu_ops *below)
{
	if (below == NULL)
		return true;
	if (op->offset == CK_NO_POINTER)
		return memcmp(now, below, sizeof(*now)) != 0;
	return memcmp((const uint8_t *)now + op->offset, (const uint8_t *)below + op->offset, sizeof(uw_fence_fn)) != 0;
}

static unsigned visit(struct ck *ck, const struct ck_op *op, struct settings *s)
{
	if (s->op != NULL && strstr(op->name, s->op) == NULL && fnmatch(s->op, op->name, 0) != 0)
		return 0;
	s->nvisited++;
	if (s->list) {
		printf("%-7s %s\n", ck->level, op->name);
		return 0;
	}
	if (s->bench) {
		if (op->bench != NULL)
			op->bench(ck, op);
		return 0;
	}
	if (op->check == NULL)
		return 0;
	for (uint64_t seed = s->first_seed; seed <= s->last_seed; seed++) {
		ck->exhaustive = seed == s->first_seed;
		if (!ck_run(ck, op, seed))
			return 1;
	}
	printf("%-7s %-16s ok\n", ck->level, op->name);
	return 0;
}

static unsigned walk(struct ck *ck, struct settings *s)
{
	struct uw_cpu_ops tables[COUNT(levels)];
	const struct uw_cpu_ops *below = NULL;
	unsigned nfailed = 0;

	for (unsigned n = 0; n < COUNT(levels); n++) {
		bool wanted = s->level == NULL || strcmp(s->level, levels[n]) == 0;
		uint32_t mask = 0;

		if (!uw_cpu_level_mask(levels[n], &mask) || (mask & ~cpu_level_flags()) != 0)
			break;
		uw_cpu_ops_init(&tables[n], mask);
		ck->now = &tables[n];
		ck->level = levels[n];
		for (unsigned f = 0; f < COUNT(families) && wanted; f++) {
			for (const struct ck_op *op = families[f]; op->name != NULL; op++) {
				if (is_new(op, ck->now, below))
					nfailed += visit(ck, op, s);
			}
		}
		below = &tables[n];
	}
	if (s->nvisited == 0)
		puts("nothing: no level asked for has loops of its own of that name");
	return nfailed;
}

static int usage(FILE *f, int code)
{
	fputs("usage: checkkernels [--seed N | --seed A..B] [--op PATTERN] [--level LEVEL] [--list]\n"
	      "                    [--bench]\n"
	      "Levels: c, sse42, avx2, avx512, avx512bf16, amx.\n"
	      "Checks what each CPU level has of its own against portable C, bit for bit, or measures it.\n", f);
	return code;
}

static bool parse_seeds(const char *arg, struct settings *s)
{
	char *end;

	s->first_seed = s->last_seed = strtoull(arg, &end, 0);
	if (strncmp(end, "..", 2) == 0 && end[2] != '\0')
		s->last_seed = strtoull(end + 2, &end, 0);
	return end != arg && *end == '\0' && s->first_seed <= s->last_seed && s->last_seed != UINT64_MAX;
}

static bool parse(int argc, char **argv, struct settings *s)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' }, { "op", required_argument, NULL, 'o' },
		{ "level", required_argument, NULL, 'l' }, { "list", no_argument, NULL, 'L' },
		{ "bench", no_argument, NULL, 'b' }, { "self-test", no_argument, NULL, 't' },
		{ "help", no_argument, NULL, 'h' }, { NULL, 0, NULL, 0 },
	};
	uint32_t mask;
	int c;

	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (c) {
		case 's':
			if (!parse_seeds(optarg, s))
				return false;
			break;
		case 'o':
			s->op = optarg;
			break;
		case 'l':
			s->level = optarg;
			if (!uw_cpu_level_mask(optarg, &mask))
				return false;
			if ((mask & ~uw_cpu_flags()) != 0) {
				printf("this machine does not have %s\n", optarg);
				exit(EXIT_SKIPPED);
			}
			break;
		case 'L':
			s->list = true;
			break;
		case 'b':
			s->bench = true;
			break;
		case 't':
			s->self_test = true;
			break;
		case 'h':
			exit(usage(stdout, 0));
		default:
			return false;
		}
	}
	return optind == argc;
}

int main(int argc, char **argv)
{
	static struct ck ck;
	static struct uw_cpu_ops ref;
	struct settings s = { 0 };
	unsigned nfailed;

	s.first_seed = s.last_seed = ((uint64_t)time(NULL) * 1000003 + (uint64_t)getpid()) & UINT32_MAX;
	if (!parse(argc, argv, &s))
		return usage(stderr, 2);
	setvbuf(stdout, NULL, _IOLBF, 0);
	uw_cpu_ops_init_c(&ref);
	ck.ref = &ref;
	map_arenas(&ck);
	catch_faults();
	if (!s.list && !s.bench)
		printf("checkkernels: seeds %" PRIu64 "..%" PRIu64 "\n", s.first_seed, s.last_seed);
	nfailed = s.self_test ? ck_self_test(&ck) : walk(&ck, &s);
	ck_pipeline_free();
	if (nfailed != 0)
		printf("%u failed\n", nfailed);
	return nfailed != 0;
}
