/* SPDX-License-Identifier: Apache-2.0 */
/*
 * LD_PRELOAD: makes one call of a kind fail. Counts the calls from the start of main on, those of the dynamic loader
 * and of the libraries that $UW_FAULT_SPARE lists ("libcrypto.so libarchive.so") left out, and does to the Nth of a
 * kind what $UW_FAULT says:
 *
 *   KIND:N:WHAT      to the Nth call; +N: to that and all later ones; *N: to every Nth
 *
 * WHAT is an errno's name, "short" (half of the bytes asked for), or "kill" (SIGKILL before the call). At the end, and
 * before a kill, $UW_FAULT_REPORT gets "KIND COUNT" for each kind and "fired COUNT".
 */
#undef _FILE_OFFSET_BITS /* both names of each function are defined here */
#define _LARGEFILE64_SOURCE

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum kind { ALLOC, OPEN, READ, WRITE, SYNC, RENAME, MMAP, RESERVE, CLOSE, MKDIR, STAT, CHMOD, THREAD, NKINDS };

static const char *const kind_names[NKINDS] = { "alloc", "open", "read", "write", "sync", "rename", "mmap", "reserve",
						"close", "mkdir", "stat", "chmod", "thread" };

enum { ONCE, FROM_THEN_ON, EVERY };
enum { SHORT = -1, KILL = -2 };

static const struct {
	const char *name;
	int what;
} whats[] = {
	{ "ENOMEM", ENOMEM }, { "EIO", EIO },       { "ENOSPC", ENOSPC }, { "EDQUOT", EDQUOT }, { "EINTR", EINTR },
	{ "EAGAIN", EAGAIN }, { "EACCES", EACCES }, { "EMFILE", EMFILE }, { "short", SHORT },   { "kill", KILL },
};

static bool counting; /* main has begun */
static enum kind fault_kind = NKINDS;
static unsigned long fault_n;
static int fault_how, fault_what;
static atomic_ulong counts[NKINDS], fired;

static struct range {
	uintptr_t start, end;
} spared[8]; /* the loader and the libraries left out */
static int nspared;

static void report(void)
{
	const char *path = getenv("UW_FAULT_REPORT");
	char text[1024];
	int n = 0, fd;

	if (path == NULL)
		return;
	for (int i = 0; i < NKINDS; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, "%s %lu\n", kind_names[i], counts[i]);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "fired %lu\n", fired);
	fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (syscall(SYS_write, fd, text, (size_t)n) != n)
		abort();
	syscall(SYS_close, fd);
}

static bool is_spared(uintptr_t caller)
{
	for (int i = 0; i < nspared; i++) {
		if (caller >= spared[i].start && caller < spared[i].end)
			return true;
	}
	return false;
}

/* 0: the call may go on; an errno: it fails with that; SHORT: it does less. */
static int fault(enum kind kind, const void *caller)
{
	unsigned long n;

	if (!counting || is_spared((uintptr_t)caller))
		return 0;
	n = atomic_fetch_add(&counts[kind], 1) + 1;
	if (kind != fault_kind)
		return 0;
	if (fault_how == ONCE ? n != fault_n : fault_how == EVERY ? n % fault_n != 0 : n < fault_n)
		return 0;
	atomic_fetch_add(&fired, 1);
	if (fault_what == KILL) {
		report();
		kill(getpid(), SIGKILL);
	}
	return fault_what;
}

#define FAULT(kind) fault(kind, __builtin_return_address(0))

/* The function that ours stands before. */
#define REAL(name) ((__typeof__(&(name)))real(#name))

static void *real(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (f == NULL)
		abort();
	return f;
}

/* Leaves the function with a failure, unless there is none or it is only to do less. */
#define FAIL_IF_TOLD(kind, failure)                                                                                    \
	do {                                                                                                           \
		int what_ = FAULT(kind);                                                                               \
		if (what_ > 0) {                                                                                       \
			errno = what_;                                                                                 \
			return failure;                                                                                \
		}                                                                                                      \
	} while (0)

/* ---- memory ---- */

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *__libc_memalign(size_t align, size_t n);

void *malloc(size_t n)
{
	FAIL_IF_TOLD(ALLOC, NULL);
	return __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	FAIL_IF_TOLD(ALLOC, NULL);
	return __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	FAIL_IF_TOLD(ALLOC, NULL);
	return __libc_realloc(p, n);
}

void *aligned_alloc(size_t align, size_t n)
{
	FAIL_IF_TOLD(ALLOC, NULL);
	return __libc_memalign(align, n);
}

int posix_memalign(void **p, size_t align, size_t n)
{
	int what = FAULT(ALLOC);
	void *memory = what > 0 ? NULL : __libc_memalign(align, n);

	if (memory == NULL)
		return what > 0 ? what : ENOMEM;
	*p = memory;
	return 0;
}

void *mmap(void *at, size_t n, int prot, int flags, int fd, off_t off)
{
	FAIL_IF_TOLD(MMAP, MAP_FAILED);
	return REAL(mmap)(at, n, prot, flags, fd, off);
}

void *mmap64(void *at, size_t n, int prot, int flags, int fd, off64_t off)
{
	FAIL_IF_TOLD(MMAP, MAP_FAILED);
	return REAL(mmap)(at, n, prot, flags, fd, off);
}

int pthread_create(pthread_t *thread, const pthread_attr_t *attr, void *(*start)(void *), void *arg)
{
	int what = FAULT(THREAD);

	return what > 0 ? what : REAL(pthread_create)(thread, attr, start, arg);
}

/* ---- files ---- */

#define DEFINE_OPEN(name)                                                                                              \
	int name(const char *path, int flags, ...)                                                                     \
	{                                                                                                              \
		mode_t mode;                                                                                           \
		va_list args;                                                                                          \
                                                                                                                       \
		FAIL_IF_TOLD(OPEN, -1);                                                                                \
		va_start(args, flags);                                                                                 \
		mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;                                     \
		va_end(args);                                                                                          \
		return REAL(name)(path, flags, mode);                                                                  \
	}

DEFINE_OPEN(open)
DEFINE_OPEN(open64)

#define DEFINE_OPENAT(name)                                                                                            \
	int name(int folder, const char *path, int flags, ...)                                                         \
	{                                                                                                              \
		mode_t mode;                                                                                           \
		va_list args;                                                                                          \
                                                                                                                       \
		FAIL_IF_TOLD(OPEN, -1);                                                                                \
		va_start(args, flags);                                                                                 \
		mode = flags & (O_CREAT | __O_TMPFILE) ? va_arg(args, mode_t) : 0;                                     \
		va_end(args);                                                                                          \
		return REAL(name)(folder, path, flags, mode);                                                          \
	}

DEFINE_OPENAT(openat)
DEFINE_OPENAT(openat64)

/* A function that moves n bytes. */
#define DEFINE_IO(kind, name, params, args)                                                                            \
	ssize_t name params                                                                                            \
	{                                                                                                              \
		int what = FAULT(kind);                                                                                \
                                                                                                                       \
		if (what > 0) {                                                                                        \
			errno = what;                                                                                  \
			return -1;                                                                                     \
		}                                                                                                      \
		if (what == SHORT && n > 1)                                                                            \
			n /= 2;                                                                                        \
		return REAL(name) args;                                                                                \
	}

DEFINE_IO(READ, read, (int fd, void *data, size_t n), (fd, data, n))
DEFINE_IO(READ, pread, (int fd, void *data, size_t n, off_t off), (fd, data, n, off))
DEFINE_IO(READ, pread64, (int fd, void *data, size_t n, off64_t off), (fd, data, n, off))
DEFINE_IO(WRITE, write, (int fd, const void *data, size_t n), (fd, data, n))
DEFINE_IO(WRITE, pwrite, (int fd, const void *data, size_t n, off_t off), (fd, data, n, off))
DEFINE_IO(WRITE, pwrite64, (int fd, const void *data, size_t n, off64_t off), (fd, data, n, off))

/* A function that gives back 0 or -1. */
#define DEFINE_CALL(kind, name, params, args)                                                                          \
	int name params                                                                                                \
	{                                                                                                              \
		FAIL_IF_TOLD(kind, -1);                                                                                \
		return REAL(name) args;                                                                                \
	}

DEFINE_CALL(SYNC, fsync, (int fd), (fd))
DEFINE_CALL(SYNC, fdatasync, (int fd), (fd))
DEFINE_CALL(RENAME, rename, (const char *from, const char *to), (from, to))
DEFINE_CALL(RENAME, renameat, (int from_fd, const char *from, int to_fd, const char *to), (from_fd, from, to_fd, to))
DEFINE_CALL(RENAME, renameat2, (int from_fd, const char *from, int to_fd, const char *to, unsigned flags),
	    (from_fd, from, to_fd, to, flags))
DEFINE_CALL(RENAME, linkat, (int from_fd, const char *from, int to_fd, const char *to, int flags),
	    (from_fd, from, to_fd, to, flags))
DEFINE_CALL(RESERVE, fallocate, (int fd, int mode, off_t off, off_t n), (fd, mode, off, n))
DEFINE_CALL(RESERVE, fallocate64, (int fd, int mode, off64_t off, off64_t n), (fd, mode, off, n))
DEFINE_CALL(RESERVE, ftruncate, (int fd, off_t n), (fd, n))
DEFINE_CALL(RESERVE, ftruncate64, (int fd, off64_t n), (fd, n))
DEFINE_CALL(MKDIR, mkdir, (const char *path, mode_t mode), (path, mode))
DEFINE_CALL(MKDIR, mkdirat, (int folder, const char *path, mode_t mode), (folder, path, mode))
DEFINE_CALL(STAT, stat, (const char *path, struct stat *st), (path, st))
DEFINE_CALL(STAT, stat64, (const char *path, struct stat64 *st), (path, st))
DEFINE_CALL(STAT, fstat, (int fd, struct stat *st), (fd, st))
DEFINE_CALL(STAT, fstat64, (int fd, struct stat64 *st), (fd, st))
DEFINE_CALL(STAT, fstatat, (int folder, const char *path, struct stat *st, int flags), (folder, path, st, flags))
DEFINE_CALL(STAT, fstatat64, (int folder, const char *path, struct stat64 *st, int flags), (folder, path, st, flags))
DEFINE_CALL(CHMOD, fchmod, (int fd, mode_t mode), (fd, mode))

/* The descriptor is gone in any case, as it is on Linux. */
int close(int fd)
{
	int what = FAULT(CLOSE);
	int result = REAL(close)(fd);

	if (what > 0) {
		errno = what;
		return -1;
	}
	return result;
}

/* ---- start and end ---- */

static void bad_fault(const char *text)
{
	fprintf(stderr, "no fault: %s\n", text);
	_exit(99);
}

static void parse(const char *text)
{
	char kind[16] = "", what[16] = "";
	const char *how = strchr(text, ':');

	fault_how = how == NULL ? ONCE : how[1] == '+' ? FROM_THEN_ON : how[1] == '*' ? EVERY : ONCE;
	if (sscanf(text, "%15[a-z]:%*[+*]%lu:%15s", kind, &fault_n, what) != 3 &&
	    sscanf(text, "%15[a-z]:%lu:%15s", kind, &fault_n, what) != 3)
		bad_fault(text);
	for (fault_kind = 0; fault_kind < NKINDS && strcmp(kind, kind_names[fault_kind]) != 0; fault_kind++)
		;
	for (size_t i = 0; i < sizeof(whats) / sizeof(whats[0]); i++) {
		if (strcmp(what, whats[i].name) == 0)
			fault_what = whats[i].what;
	}
	if (fault_kind == NKINDS || fault_n == 0 || fault_what == 0)
		bad_fault(text);
}

/* libx.so.1 is listed as libx.so */
static bool is_listed(const char *path)
{
	const char *list = getenv("UW_FAULT_SPARE"), *slash = strrchr(path, '/');
	const char *name = slash != NULL ? slash + 1 : path;

	while (list != NULL && *list != '\0') {
		size_t n = strcspn(list, " ");

		if (n != 0 && strncmp(name, list, n) == 0)
			return true;
		list += n + (list[n] == ' ');
	}
	return false;
}

static int spare(struct dl_phdr_info *info, size_t size, void *ctx)
{
	struct range *range = &spared[nspared];

	(void)size;
	(void)ctx;
	if (info->dlpi_addr != getauxval(AT_BASE) && !is_listed(info->dlpi_name))
		return 0;
	if (nspared++ == sizeof(spared) / sizeof(spared[0]))
		abort();
	range->start = info->dlpi_addr;
	for (int i = 0; i < info->dlpi_phnum; i++) {
		if (info->dlpi_phdr[i].p_type == PT_LOAD)
			range->end = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr + info->dlpi_phdr[i].p_memsz;
	}
	return 0;
}

static int (*tool_main)(int argc, char **argv, char **envp);

static int counted_main(int argc, char **argv, char **envp)
{
	counting = true;
	return tool_main(argc, argv, envp);
}

static void stop(void)
{
	counting = false;
	report();
}

typedef int start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
		       void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end);

int __libc_start_main(int (*main)(int, char **, char **), int argc, char **argv, void (*init)(void),
		      void (*fini)(void), void (*rtld_fini)(void), void *stack_end)
{
	const char *text = getenv("UW_FAULT");

	if (text != NULL)
		parse(text);
	dl_iterate_phdr(spare, NULL);
	tool_main = main;
	if (atexit(stop) != 0)
		abort();
	return ((start_main *)real("__libc_start_main"))(counted_main, argc, argv, init, fini, rtld_fini, stack_end);
}
