/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Damage: every bit of every file of a small bundle flipped, every file cut at every length, files lost, exchanged,
 * doubled and replaced. Each time opening and verifying must end in a status of the class "corrupt" and name the
 * place.
 *
 * The work is split over processes, each with a copy of the bundle of its own, in memory where there is /dev/shm.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../cpu_level.h"
#include "exitcode.h"
#include "pack_model.h"
#include "unweight/bytes.h"
#include "verify.h"

#define MAX_FILES 8
#define MAX_WORKERS 8
#define PATH_ROOM 128

static char root[PATH_ROOM];
static struct uw_cpu_ops ops;
static struct uw_job job;
static unsigned nworkers;

/* ---- files ---- */

static void put(const char *path, const void *data, size_t nbytes, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, mode);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, nbytes), nbytes);
	assert_int_equal(close(fd), 0);
}

static uint8_t *get(const char *path, size_t *nbytes)
{
	FILE *f = fopen(path, "rb");
	uint8_t *data;
	long n;

	assert_non_null(f);
	assert_int_equal(fseek(f, 0, SEEK_END), 0);
	n = ftell(f);
	assert_true(n >= 0);
	rewind(f);
	data = malloc((size_t)n + 1);
	assert_non_null(data);
	*nbytes = fread(data, 1, (size_t)n, f);
	assert_int_equal(*nbytes, n);
	fclose(f);
	return data;
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

static void remove_tree(const char *path)
{
	assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static int make_root(void **state)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	snprintf(root, sizeof(root), "/dev/shm/uw_test_flip.XXXXXX");
	if (mkdtemp(root) == NULL) {
		snprintf(root, sizeof(root), "/tmp/uw_test_flip.XXXXXX");
		if (mkdtemp(root) == NULL)
			return 1;
	}
	nworkers = n < 1 ? 1 : n > MAX_WORKERS ? MAX_WORKERS : (unsigned)n;
	uw_cpu_ops_init(&ops, cpu_level_flags());
	job = (struct uw_job){ .ops = &ops, .nthreads = 1 };
	return chdir(root);
}

static int remove_root(void **state)
{
	return chdir("/") != 0 || nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0;
}

/* ---- the model: weights that are coded, stored raw, left to zstd, and none ---- */

static uint32_t random_bits(uint32_t *seed)
{
	*seed ^= *seed << 13;
	*seed ^= *seed >> 17;
	*seed ^= *seed << 5;
	return *seed;
}

/* BF16 as training leaves it: each exponent half as frequent as the one above. */
static uint16_t weight(uint32_t *seed)
{
	uint32_t bits = random_bits(seed), e = 124;

	for (uint32_t coin = random_bits(seed) | 0x80; (coin & 1) == 0; coin >>= 1)
		e--;
	return (uint16_t)((bits & 0x807F) | e << 7);
}

static uint8_t *put_weights(uint8_t *at, unsigned n, uint32_t *seed)
{
	for (unsigned i = 0; i < n; i++)
		uw_store_le16(at + 2 * i, weight(seed));
	return at + 2 * n;
}

#define TILED (64u * 64)
#define LINEAR 1000u
#define NOISE 40u
#define NF32 50u

static void make_safetensors(const char *path)
{
	static const char json[] =
		"{\"tiled\":{\"dtype\":\"BF16\",\"shape\":[64,64],\"data_offsets\":[0,8192]},"
		"\"linear\":{\"dtype\":\"BF16\",\"shape\":[1000],\"data_offsets\":[8192,10192]},"
		"\"noise\":{\"dtype\":\"BF16\",\"shape\":[40],\"data_offsets\":[10192,10272]},"
		"\"f32\":{\"dtype\":\"F32\",\"shape\":[5,10],\"data_offsets\":[10272,10472]},"
		"\"none\":{\"dtype\":\"BF16\",\"shape\":[0,64],\"data_offsets\":[10472,10472]}} ";
	static uint8_t data[8 + sizeof(json) - 1 + 2 * (TILED + LINEAR + NOISE) + 4 * NF32];
	uint8_t *at = data + 8, *tiled;
	uint32_t seed = 20261121;

	uw_store_le64(data, sizeof(json) - 1);
	memcpy(at, json, sizeof(json) - 1);
	tiled = at + sizeof(json) - 1;
	at = put_weights(tiled, TILED, &seed);
	for (unsigned i = 0; i < 5; i++) /* escapes */
		uw_store_le16(tiled + 2 * (700 * i + 9), (uint16_t)(0x8001 + 0x0900 * i));
	at = put_weights(at, LINEAR, &seed);
	for (unsigned i = 0; i < NOISE; i++, at += 2)
		uw_store_le16(at, (uint16_t)random_bits(&seed));
	for (unsigned i = 0; i < NF32; i++, at += 4)
		uw_store_le32(at, 0x3F800000 | i % 3);
	assert_ptr_equal(at, data + sizeof(data));
	put(path, data, sizeof(data), 0644);
}

static void make_model(void)
{
	static const char config[] = "{\"model_type\":\"none\"}\n", twin[] = "{\"model_type\":\"ever\"}\n";
	static const char script[] = "#!/bin/sh\nexit 0\n", taken[] = "a file whose name is that of a container\n";

	assert_int_equal(mkdir("model", 0755), 0);
	assert_int_equal(mkdir("model/sub", 0755), 0);
	make_safetensors("model/m.safetensors");
	put("model/config.json", config, sizeof(config) - 1, 0644);
	put("model/twin.json", twin, sizeof(twin) - 1, 0644);
	put("model/sub/run.sh", script, sizeof(script) - 1, 0755);
	put("model/empty.txt", "", 0, 0644);
	put("model/old.uw", taken, sizeof(taken) - 1, 0644);
}

static void make_bundle(enum uw_profile profile, const char *path)
{
	struct uw_pack_model options = { .job = job, .profile = profile, .check = true };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_manifest manifest;
	struct uw_source *source;
	struct uw_sink *sink;
	char *where;

	assert_int_equal(uw_source_open_folder("model", &source, &err), UW_OK);
	assert_int_equal(uw_sink_open_folder(path, UW_REPLACE_NEVER, &sink, &err), UW_OK);
	assert_int_equal(uw_model_pack(&options, source, sink, &manifest, &where, &err), UW_OK);
	assert_int_equal(uw_sink_commit(sink, &err), UW_OK);
	uw_sink_close(&sink);
	uw_source_close(&source);
	uw_manifest_free(&manifest);
	free(where);
}

/* ---- the bundle, whole ---- */

/* One file of it. */
struct stored {
	char path[PATH_ROOM];  /* inside the bundle */
	char model[PATH_ROOM]; /* the file of the model it stands for; the manifest for itself */
	uint8_t *data;
	size_t nbytes;
	struct uw_bundle_file opened; /* if a container */
};

struct whole {
	struct uw_bundle bundle;
	unsigned nfiles;
	struct stored files[MAX_FILES];
};

static struct whole whole;

static void add_stored(const char *path, const char *model, const struct uw_manifest_file *file)
{
	struct stored *stored = &whole.files[whole.nfiles++];
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	char full[2 * PATH_ROOM];

	assert_true(whole.nfiles <= MAX_FILES);
	snprintf(stored->path, sizeof(stored->path), "%s", path);
	snprintf(stored->model, sizeof(stored->model), "%s", model);
	snprintf(full, sizeof(full), "whole/%s", path);
	stored->data = get(full, &stored->nbytes);
	stored->opened = (struct uw_bundle_file){ 0 };
	if (file != NULL && file->container)
		assert_int_equal(uw_bundle_file_open(&whole.bundle, file, &stored->opened, &err), UW_OK);
}

/* Each coding has to be there, or the test shows less than it says. */
static void check_codings(enum uw_profile profile)
{
	bool seen[4] = { false };

	for (unsigned f = 0; f < whole.nfiles; f++) {
		const struct uw_index *index = whole.files[f].opened.container.index;

		for (uint64_t g = 0; index != NULL && g < index->ngroups; g++)
			seen[index->groups[g].coding] = true;
	}
	assert_true(seen[UW_CODING_RAW] && seen[UW_CODING_ZSTD]);
	assert_true(seen[profile == UW_PROFILE_INFERENCE ? UW_CODING_P4 : UW_CODING_H]);
}

static void open_whole(enum uw_profile profile)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	size_t total = 0;

	make_bundle(profile, "whole");
	memset(&whole, 0, sizeof(whole));
	assert_int_equal(uw_bundle_open("whole", &ops, &whole.bundle, &err), UW_OK);
	add_stored(UW_MANIFEST_NAME, UW_MANIFEST_NAME, NULL);
	for (uint64_t i = 0; i < whole.bundle.manifest.nfiles; i++) {
		const struct uw_manifest_file *file = &whole.bundle.manifest.files[i];
		char *path = uw_manifest_stored_path(file);

		assert_non_null(path);
		add_stored(path, file->path, file);
		free(path);
	}
	for (unsigned f = 0; f < whole.nfiles; f++)
		total += whole.files[f].nbytes;
	print_message("%s: %u files, %zu bytes\n", uw_profile_name(profile), whole.nfiles, total);
	check_codings(profile);
}

static void close_whole(void)
{
	for (unsigned f = 0; f < whole.nfiles; f++) {
		if (whole.files[f].opened.is_container)
			uw_bundle_file_close(&whole.files[f].opened);
		free(whole.files[f].data);
	}
	uw_bundle_close(&whole.bundle);
	remove_tree("whole");
}

static void copy_bundle(const char *to)
{
	char path[2 * PATH_ROOM];

	assert_int_equal(mkdir(to, 0755), 0);
	snprintf(path, sizeof(path), "%s/sub", to);
	assert_int_equal(mkdir(path, 0755), 0);
	for (unsigned f = 0; f < whole.nfiles; f++) {
		snprintf(path, sizeof(path), "%s/%s", to, whole.files[f].path);
		put(path, whole.files[f].data, whole.files[f].nbytes, 0644);
	}
}

/* ---- what verification says ---- */

struct outcome {
	enum uw_status status;
	unsigned nbad;
	char path[PATH_ROOM]; /* of the first failure's verdict; "" for the bundle as a whole */
	struct uw_error err;  /* of it */
};

static void take_verdict(void *ctx, const struct uw_verdict *verdict)
{
	struct outcome *out = ctx;

	if (verdict->status == UW_OK)
		return;
	if (out->nbad++ == 0) {
		snprintf(out->path, sizeof(out->path), "%s", verdict->path != NULL ? verdict->path : "");
		out->err = verdict->err;
	}
}

static struct outcome examine(const char *path)
{
	struct outcome out = { .err = { .file_off = UW_NO_OFFSET } };
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_bundle bundle;

	out.status = uw_bundle_open(path, &ops, &bundle, &err);
	if (out.status != UW_OK) {
		out.nbad = 1;
		out.err = err;
	} else {
		out.status = uw_bundle_verify(&bundle, UW_VERIFY_CHECKSUM, &job, take_verdict, &out);
	}
	uw_bundle_close(&bundle);
	return out;
}

static bool names(const struct outcome *out, const struct stored *stored)
{
	return strcmp(out->path, stored->model) == 0 || strstr(out->err.what, stored->path) != NULL;
}

/* A complaint about a change of the byte at `off` that points elsewhere. */
static const char *misplaced(const struct outcome *out, const struct stored *stored, uint64_t off)
{
	const struct uw_index *index = stored->opened.container.index;
	uint64_t at = out->err.file_off;

	if (index == NULL)
		return NULL;
	if (off < UW_HEADER_NBYTES)
		return at < UW_HEADER_NBYTES ? NULL : "not in the header";
	if (off >= index->index_off)
		return at >= index->index_off && at < stored->nbytes ? NULL : "not in index and trailer";
	for (uint64_t i = 0; i < index->nextents; i++) {
		const struct uw_extent *extent = &index->extents[i];
		char name[PATH_ROOM];

		if (extent->kind == UW_EXTENT_TENSOR)
			snprintf(name, sizeof(name), "tensor '%.*s'", (int)extent->name_nbytes, extent->name);
		else
			snprintf(name, sizeof(name), "%s",
				 extent->kind == UW_EXTENT_HEADER ? "safetensors header" : "file contents");
		for (uint64_t g = extent->first_group; g < extent->first_group + extent->ngroups; g++) {
			const struct uw_group *group = &index->groups[g];

			if (off < group->off || off - group->off >= group->nbytes)
				continue;
			if (at < group->off || at - group->off >= group->nbytes)
				return "not in the group";
			return strstr(out->err.what, name) != NULL ? NULL : "tensor not named";
		}
	}
	return at == off ? NULL : "not at the byte of padding";
}

/* Says what is wrong with the outcome, if anything; a damaged manifest may hide the rest, another file only itself. */
static const char *complaint(const struct outcome *out, const struct stored *stored, uint64_t off)
{
	if (out->status == UW_OK)
		return "not noticed";
	if (uw_exit_of_status(out->status) != UW_EXIT_CORRUPT)
		return "not of the class \"corrupt\"";
	if (out->nbad != 1)
		return "more than one verdict";
	if (!names(out, stored))
		return "file not named";
	return off != UW_NO_OFFSET ? misplaced(out, stored, off) : NULL;
}

/* ---- many changes ---- */

struct tally {
	unsigned long ncases, nbad;
};

/* Worker `me`'s share of the changes of one file; `path` is its bundle, whole before and after. */
typedef void (*damage_fn)(const char *path, const struct stored *stored, unsigned me, struct tally *tally);

static void count(struct tally *tally, const char *path, const struct stored *stored, uint64_t off, const char *change,
		  unsigned detail)
{
	struct outcome out = examine(path);
	const char *wrong = complaint(&out, stored, off);

	tally->ncases++;
	if (wrong != NULL && tally->nbad++ < 10)
		print_error("%s: %s %u (offset %lld): %s: status %d, path '%s', offset %lld, %s\n", stored->path, change,
			    detail, (long long)off, wrong, out.status, out.path, (long long)out.err.file_off,
			    out.err.what);
}

static int open_stored(const char *path, const struct stored *stored)
{
	char full[2 * PATH_ROOM];
	int fd;

	snprintf(full, sizeof(full), "%s/%s", path, stored->path);
	fd = open(full, O_RDWR);
	assert_true(fd >= 0);
	return fd;
}

static void flip_file(const char *path, const struct stored *stored, unsigned me, struct tally *tally)
{
	int fd = open_stored(path, stored);

	for (size_t off = me; off < stored->nbytes; off += nworkers) {
		for (unsigned bit = 0; bit < 8; bit++) {
			uint8_t byte = (uint8_t)(stored->data[off] ^ 1u << bit);

			assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
			count(tally, path, stored, off, "bit", bit);
		}
		assert_int_equal(pwrite(fd, stored->data + off, 1, (off_t)off), 1);
	}
	close(fd);
}

static void cut_file(const char *path, const struct stored *stored, unsigned me, struct tally *tally)
{
	int fd = open_stored(path, stored);

	for (size_t n = me; n <= stored->nbytes; n += nworkers) {
		uint8_t longer = 0;

		if (n == stored->nbytes)
			assert_int_equal(pwrite(fd, &longer, 1, (off_t)n), 1); /* one byte more */
		else
			assert_int_equal(ftruncate(fd, (off_t)n), 0);
		count(tally, path, stored, UW_NO_OFFSET, "length", (unsigned)n);
		assert_int_equal(pwrite(fd, stored->data, stored->nbytes, 0), stored->nbytes);
		assert_int_equal(ftruncate(fd, (off_t)stored->nbytes), 0);
	}
	close(fd);
}

static struct tally work(damage_fn damage, unsigned me)
{
	struct tally tally = { 0 };
	char path[PATH_ROOM];

	snprintf(path, sizeof(path), "copy%u", me);
	for (unsigned f = 0; f < whole.nfiles; f++)
		damage(path, &whole.files[f], me, &tally);
	if (examine(path).status != UW_OK)
		tally.nbad++;
	return tally;
}

/* A child reports by a pipe; if it dies, its report is missing. */
static void start(damage_fn damage, unsigned me, int *report, pid_t *pid)
{
	int ends[2];

	assert_int_equal(pipe(ends), 0);
	fflush(NULL);
	*pid = fork();
	assert_true(*pid >= 0);
	if (*pid == 0) {
		struct tally tally = work(damage, me);

		_exit(write(ends[1], &tally, sizeof(tally)) != sizeof(tally));
	}
	close(ends[1]);
	*report = ends[0];
}

static void run_damage(damage_fn damage, const char *what)
{
	struct tally total;
	int reports[MAX_WORKERS];
	pid_t pids[MAX_WORKERS];

	for (unsigned i = 0; i < nworkers; i++) {
		char path[PATH_ROOM];

		snprintf(path, sizeof(path), "copy%u", i);
		copy_bundle(path);
		if (i > 0)
			start(damage, i, &reports[i], &pids[i]);
	}
	total = work(damage, 0);
	for (unsigned i = 1; i < nworkers; i++) {
		struct tally tally;
		int status;

		assert_int_equal(read(reports[i], &tally, sizeof(tally)), sizeof(tally));
		assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
		assert_int_equal(status, 0);
		close(reports[i]);
		total.ncases += tally.ncases;
		total.nbad += tally.nbad;
	}
	for (unsigned i = 0; i < nworkers; i++) {
		char path[PATH_ROOM];

		snprintf(path, sizeof(path), "copy%u", i);
		remove_tree(path);
	}
	print_message("%lu %s, %lu of them not reported as they should be\n", total.ncases, what, total.nbad);
	assert_true(total.ncases > 0);
	assert_int_equal(total.nbad, 0);
}

static void every_bit(void **state)
{
	run_damage(flip_file, "bits flipped");
}

static void every_length(void **state)
{
	run_damage(cut_file, "lengths");
}

/* ---- whole files ---- */

static void path_in(char path[2 * PATH_ROOM], const char *file)
{
	snprintf(path, 2 * PATH_ROOM, "copy/%s", file);
}

/* The verdict on "copy" must be "corrupt" and name `stored`; then it is made new. */
static void assert_corrupt(const struct stored *stored, const char *named)
{
	struct outcome out = examine("copy");

	if (uw_exit_of_status(out.status) != UW_EXIT_CORRUPT)
		fail_msg("%s: status %d: %s", stored->path, out.status, out.err.what);
	if (!names(&out, stored) && strstr(out.err.what, named) == NULL)
		fail_msg("%s is not named: '%s' '%s'", stored->path, out.path, out.err.what);
	remove_tree("copy");
	copy_bundle("copy");
}

static void lost_file(void **state)
{
	char path[2 * PATH_ROOM];

	copy_bundle("copy");
	for (unsigned f = 0; f < whole.nfiles; f++) {
		path_in(path, whole.files[f].path);
		assert_int_equal(unlink(path), 0);
		assert_corrupt(&whole.files[f], UW_MANIFEST_NAME);
	}
	remove_tree("copy");
}

/* A file becomes a folder, a pipe, a link to nowhere, a link to itself. */
static void no_file(void **state)
{
	char path[2 * PATH_ROOM];

	copy_bundle("copy");
	for (unsigned f = 0; f < whole.nfiles; f++) {
		path_in(path, whole.files[f].path);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(mkdir(path, 0755), 0);
		assert_corrupt(&whole.files[f], UW_MANIFEST_NAME);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(mkfifo(path, 0644), 0);
		assert_corrupt(&whole.files[f], UW_MANIFEST_NAME);
		assert_int_equal(unlink(path), 0);
		assert_int_equal(symlink("nowhere", path), 0);
		assert_corrupt(&whole.files[f], UW_MANIFEST_NAME);
	}
	remove_tree("copy");
}

static void swapped_files(void **state)
{
	char a[2 * PATH_ROOM], b[2 * PATH_ROOM];

	copy_bundle("copy");
	for (unsigned f = 0; f < whole.nfiles; f++) {
		for (unsigned g = f + 1; g < whole.nfiles; g++) {
			path_in(a, whole.files[f].path);
			path_in(b, whole.files[g].path);
			assert_int_equal(rename(a, "copy/.x"), 0);
			assert_int_equal(rename(b, a), 0);
			assert_int_equal(rename("copy/.x", b), 0);
			assert_corrupt(&whole.files[f], whole.files[g].path);
		}
	}
	remove_tree("copy");
}

/* Under a name of its own, under that of its source, and as a second container of another file. */
static void doubled_file(void **state)
{
	static const char *const places[] = { "copy/again", "copy/sub/again.uw", "copy/m.safetensors", "copy/.hidden",
					      "copy/config.json.uw" };

	copy_bundle("copy");
	for (unsigned f = 0; f < whole.nfiles; f++) {
		for (unsigned i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
			put(places[i], whole.files[f].data, whole.files[f].nbytes, 0644);
			assert_corrupt(&whole.files[f], places[i] + strlen("copy/"));
		}
	}
	remove_tree("copy");
}

/* Something that no bundle holds, beside its files. */
static void strange_neighbour(void **state)
{
	copy_bundle("copy");
	assert_int_equal(mkfifo("copy/pipe", 0644), 0);
	assert_corrupt(&whole.files[0], "pipe");
	assert_int_equal(symlink("nowhere", "copy/link"), 0);
	assert_corrupt(&whole.files[0], "link");
	assert_int_equal(symlink(".", "copy/cycle"), 0);
	assert_corrupt(&whole.files[0], "cycle");
	put("copy/\x1b[2J", "", 0, 0644);
	assert_int_equal(uw_exit_of_status(examine("copy").status), UW_EXIT_CORRUPT);
	remove_tree("copy");
}

/* ---- one container without a manifest ---- */

static void bare_container(void **state)
{
	for (unsigned f = 0; f < whole.nfiles; f++) {
		const struct stored *stored = &whole.files[f];
		int fd;

		if (!stored->opened.is_container)
			continue;
		put("bare.uw", stored->data, stored->nbytes, 0644);
		assert_int_equal(examine("bare.uw").status, UW_OK);
		fd = open("bare.uw", O_RDWR);
		for (size_t off = 0; off < stored->nbytes; off++) {
			uint8_t byte = (uint8_t)(stored->data[off] ^ 1u << off % 8);

			assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
			assert_int_equal(uw_exit_of_status(examine("bare.uw").status), UW_EXIT_CORRUPT);
			assert_int_equal(pwrite(fd, stored->data + off, 1, (off_t)off), 1);
		}
		for (size_t n = stored->nbytes; n-- > 0;) {
			assert_int_equal(ftruncate(fd, (off_t)n), 0);
			assert_int_equal(uw_exit_of_status(examine("bare.uw").status), UW_EXIT_CORRUPT);
		}
		close(fd);
		assert_int_equal(unlink("bare.uw"), 0);
	}
}

/* ---- the bundle as a tar ---- */

static void make_tar(const char *path)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_sink *sink;

	assert_int_equal(uw_sink_open_archive(path, UW_ARCHIVE_TAR, UW_REPLACE_NEVER, &sink, &err), UW_OK);
	for (unsigned f = 0; f < whole.nfiles; f++) {
		const struct stored *stored = &whole.files[f];

		assert_int_equal(uw_sink_begin(sink, stored->path, stored->nbytes, false, &err), UW_OK);
		assert_int_equal(uw_sink_write(sink, stored->data, stored->nbytes, &err), UW_OK);
		assert_int_equal(uw_sink_end(sink, &err), UW_OK);
	}
	assert_int_equal(uw_sink_commit(sink, &err), UW_OK);
	uw_sink_close(&sink);
}

static bool in_member(const struct uw_bundle *tar, uint64_t off)
{
	for (uint64_t i = 0; i < tar->nmembers; i++) {
		if (off >= tar->members[i].off && off - tar->members[i].off < tar->members[i].nbytes)
			return true;
	}
	return false;
}

/* The tar's own fields and padding say nothing about the model: a change of them is harmless or "corrupt", nothing
 * else. */
static void tar_bundle(void **state)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	unsigned long nharmless = 0, ncases = 0;
	struct uw_bundle tar;
	uint8_t *data;
	size_t n;
	int fd;

	make_tar("b.tar");
	data = get("b.tar", &n);
	assert_int_equal(uw_bundle_open("b.tar", &ops, &tar, &err), UW_OK);
	fd = open("b.tar", O_RDWR);
	for (size_t off = 0; off < n; off++, ncases++) {
		uint8_t byte = (uint8_t)(data[off] ^ 1u << off % 8);
		struct outcome out;

		assert_int_equal(pwrite(fd, &byte, 1, (off_t)off), 1);
		out = examine("b.tar");
		if (out.status == UW_OK && !in_member(&tar, off))
			nharmless++;
		else if (uw_exit_of_status(out.status) != UW_EXIT_CORRUPT)
			fail_msg("byte %zu of the tar: status %d, %s", off, out.status, out.err.what);
		assert_int_equal(pwrite(fd, data + off, 1, (off_t)off), 1);
	}
	for (size_t cut = n; cut-- > 0; ncases++) {
		struct outcome out;

		assert_int_equal(ftruncate(fd, (off_t)cut), 0);
		out = examine("b.tar");
		if (out.status == UW_OK)
			nharmless++;
		else if (uw_exit_of_status(out.status) != UW_EXIT_CORRUPT)
			fail_msg("tar of %zu bytes: status %d, %s", cut, out.status, out.err.what);
		if (cut % 64 != 0 && cut > 512 && cut < n - 2048)
			cut -= cut % 64 - 1; /* every length near the ends, some between */
	}
	print_message("%lu changes of a tar, %lu of them of its padding and own fields, and harmless\n", ncases, nharmless);
	close(fd);
	uw_bundle_close(&tar);
	free(data);
	assert_int_equal(unlink("b.tar"), 0);
}

static int open_distribution(void **state)
{
	open_whole(UW_PROFILE_DISTRIBUTION);
	return 0;
}

static int open_inference(void **state)
{
	open_whole(UW_PROFILE_INFERENCE);
	return 0;
}

static int close_any(void **state)
{
	close_whole();
	return 0;
}

#define BOTH(f) \
	cmocka_unit_test_setup_teardown(f, open_distribution, close_any), \
	cmocka_unit_test_setup_teardown(f, open_inference, close_any)

static int setup(void **state)
{
	if (make_root(state) != 0)
		return 1;
	make_model();
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		BOTH(every_bit),
		BOTH(every_length),
		BOTH(lost_file),
		BOTH(no_file),
		BOTH(swapped_files),
		BOTH(doubled_file),
		BOTH(strange_neighbour),
		BOTH(bare_container),
		BOTH(tar_bundle),
	};

	return cmocka_run_group_tests(tests, setup, remove_root);
}
