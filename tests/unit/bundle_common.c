/* SPDX-License-Identifier: Apache-2.0 */
#include "bundle_common.h"

#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../cpu_level.h"
#include "bundle.h"
#include "pack_model.h"
#include "unweight/bytes.h"

#define MUST(condition) ((condition) ? (void)0 : die(#condition, __LINE__))

static void die(const char *what, int line)
{
	fprintf(stderr, "bundle_common.c:%d: %s\n", line, what);
	exit(99);
}

void enter_new_folder(char path[4096])
{
	const char *tmp = getenv("TMPDIR");
	char cwd[3072];

	MUST(getcwd(cwd, sizeof(cwd)) != NULL);
	MUST(snprintf(path, 4096, "%s/uw_test.XXXXXX", tmp != NULL && *tmp == '/' ? tmp : cwd) < 4096);
	MUST(mkdtemp(path) != NULL);
	MUST(chdir(path) == 0);
}

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	return remove(path);
}

void remove_folder(const char *path)
{
	MUST(chdir("/") == 0);
	MUST(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0);
}

void put_file(const char *path, const void *data, size_t nbytes)
{
	FILE *f = fopen(path, "wb");

	MUST(f != NULL);
	MUST(fwrite(data, 1, nbytes, f) == nbytes);
	MUST(fclose(f) == 0);
}

uint8_t *get_file(const char *path, size_t *nbytes)
{
	FILE *f = fopen(path, "rb");
	struct stat st;
	void *data;

	MUST(f != NULL && fstat(fileno(f), &st) == 0);
	*nbytes = (size_t)st.st_size;
	MUST(posix_memalign(&data, 64, *nbytes + 1) == 0);
	MUST(fread(data, 1, *nbytes, f) == *nbytes);
	fclose(f);
	return data;
}

static void pack_folder(const char *base, const char *model, enum uw_profile profile, const char *bundle)
{
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	struct uw_pack_model options = { .profile = profile };
	struct uw_manifest manifest;
	struct uw_source *source;
	struct uw_cpu_ops ops;
	struct uw_sink *sink;
	char *where;

	uw_cpu_ops_init(&ops, cpu_level_flags());
	options.job = (struct uw_job){ .ops = &ops, .nthreads = 1 };
	if (base != NULL)
		MUST(uw_bundle_base_open(base, &ops, &options.base, &err) == UW_OK);
	MUST(uw_source_open_folder(model, &source, &err) == UW_OK);
	MUST(uw_sink_open_folder(bundle, UW_REPLACE_NEVER, &sink, &err) == UW_OK);
	if (uw_model_pack(&options, source, sink, &manifest, &where, &err) != UW_OK)
		die(err.what, __LINE__);
	MUST(uw_sink_commit(sink, &err) == UW_OK);
	uw_sink_close(&sink);
	uw_source_close(&source);
	uw_manifest_free(&manifest);
	uw_bundle_base_close(&options.base);
	free(where);
}

void make_bundle(const char *model, enum uw_profile profile, const char *bundle)
{
	pack_folder(NULL, model, profile, bundle);
}

void make_bundle_on(const char *base, const char *model, const char *bundle)
{
	pack_folder(base, model, UW_PROFILE_DISTRIBUTION, bundle);
}

static void put_member(struct uw_sink *sink, const char *bundle, const char *path)
{
	struct uw_error err;
	char full[4096];
	uint8_t *data;
	size_t n;

	MUST(snprintf(full, sizeof(full), "%s/%s", bundle, path) < (int)sizeof(full));
	data = get_file(full, &n);
	MUST(uw_sink_begin(sink, path, n, false, &err) == UW_OK);
	MUST(uw_sink_write(sink, data, n, &err) == UW_OK);
	MUST(uw_sink_end(sink, &err) == UW_OK);
	free(data);
}

void make_tar(const char *bundle, const char *tar)
{
	struct uw_bundle opened;
	struct uw_cpu_ops ops;
	struct uw_error err;
	struct uw_sink *sink;

	uw_cpu_ops_init_c(&ops);
	MUST(uw_bundle_open(bundle, &ops, &opened, &err) == UW_OK);
	MUST(uw_sink_open_archive(tar, UW_ARCHIVE_TAR, UW_REPLACE_NEVER, &sink, &err) == UW_OK);
	put_member(sink, bundle, UW_MANIFEST_NAME);
	for (uint64_t i = 0; i < opened.manifest.nfiles; i++) {
		char *path = uw_manifest_stored_path(&opened.manifest.files[i]);

		MUST(path != NULL);
		put_member(sink, bundle, path);
		free(path);
	}
	MUST(uw_sink_commit(sink, &err) == UW_OK);
	uw_sink_close(&sink);
	uw_bundle_close(&opened);
}

#define MANY_NBYTES (32u * 64 * 2)

static void put_many(const char *path, unsigned file, unsigned ntensors)
{
	char *json = malloc(64 + 160 * (size_t)ntensors);
	uint8_t *data = malloc((size_t)ntensors * MANY_NBYTES), head[8];
	FILE *f = fopen(path, "wb");
	uint32_t seed = 1 + file;
	size_t n = 1;

	MUST(json != NULL && data != NULL && f != NULL);
	json[0] = '{';
	for (unsigned i = 0; i < ntensors; i++)
		n += (size_t)sprintf(json + n,
				     "%s\"model.layers.%u.mlp.experts.%u.up_proj.weight\":{\"dtype\":\"BF16\","
				     "\"shape\":[32,64],\"data_offsets\":[%u,%u]}",
				     i != 0 ? "," : "", file, i, i * MANY_NBYTES, (i + 1) * MANY_NBYTES);
	json[n++] = '}';
	for (size_t i = 0; i < (size_t)ntensors * MANY_NBYTES; i += 2) {
		seed = seed * 1664525 + 1013904223;
		uw_store_le16(data + i, (uint16_t)((seed >> 8 & 0x807F) | (120 + (seed >> 28) % 5) << 7));
	}
	uw_store_le64(head, n);
	MUST(fwrite(head, 1, 8, f) == 8 && fwrite(json, 1, n, f) == n);
	MUST(fwrite(data, MANY_NBYTES, ntensors, f) == ntensors);
	MUST(fclose(f) == 0);
	free(json);
	free(data);
}

void make_many_tensors(const char *model, unsigned nfiles, unsigned ntensors)
{
	char path[256];

	MUST(mkdir(model, 0755) == 0);
	for (unsigned i = 0; i < nfiles; i++) {
		MUST(snprintf(path, sizeof(path), "%s/model-%05u.safetensors", model, i) < (int)sizeof(path));
		put_many(path, i, ntensors);
	}
}
