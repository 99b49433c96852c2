/* SPDX-License-Identifier: Apache-2.0 */
/* What must keep a bundle from getting its name: code that does not decode, a source that changes, a disk that loses. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "pack_model.h"
#include "sink_common.h"

enum { SIDE = 256, NBYTES = SIDE * SIDE * 2 };

static const char header[] = "{\"w\":{\"dtype\":\"BF16\",\"shape\":[256,256],\"data_offsets\":[0,131072]}}     ";

/* m.safetensors: one matrix, exponents around 120; and a plain file. */
static void make_model(void)
{
	uint8_t nheader[8] = { sizeof(header) - 1 };
	uint32_t random = 1;
	FILE *f;

	assert_int_equal(mkdir("model", 0755), 0);
	make_file("model/config.json", "{}");
	f = fopen("model/m.safetensors", "wb");
	assert_non_null(f);
	fwrite(nheader, 1, sizeof(nheader), f);
	fwrite(header, 1, sizeof(header) - 1, f);
	for (int i = 0; i < NBYTES / 2; i++) {
		random = random * 1664525 + 1013904223;
		fputc((int)(random >> 24), f);
		fputc(0x3C | (int)(random >> 16 & 1) << 7, f);
	}
	fclose(f);
}

struct pack {
	struct uw_cpu_ops ops;
	struct uw_sink *sink;
	void (*meanwhile)(struct pack *pack); /* after all weights are written, before they are read back */
	uint64_t nbytes;
	char *where;
};

static void progress(void *ctx, uint64_t nbytes)
{
	struct pack *pack = ctx;

	pack->nbytes += nbytes;
	if (pack->meanwhile != NULL && pack->nbytes >= NBYTES) {
		pack->meanwhile(pack);
		pack->meanwhile = NULL;
	}
}

static enum uw_status pack_model(struct pack *pack, unsigned nthreads)
{
	struct uw_pack_model options = {
		.job = { .ops = &pack->ops, .nthreads = nthreads, .progress = progress, .ctx = pack },
		.check = true,
	};
	struct uw_manifest manifest;
	struct uw_source *source;
	enum uw_status status;

	err = (struct uw_error){ .file_off = UW_NO_OFFSET };
	pack->nbytes = 0;
	pack->where = NULL;
	assert_int_equal(uw_source_open_folder("model", &source, &err), UW_OK);
	pack->sink = open_folder("bundle", UW_REPLACE_NEVER);
	status = uw_model_pack(&options, source, pack->sink, &manifest, &pack->where, &err);
	if (status == UW_OK)
		assert_int_equal(uw_sink_commit(pack->sink, &err), UW_OK);
	uw_sink_close(&pack->sink);
	uw_manifest_free(&manifest);
	uw_source_close(&source);
	return status;
}

/* The pack fails at the weights, for this reason, and leaves nothing. */
static void assert_fails(struct pack *pack, enum uw_status want, const char *what)
{
	for (unsigned nthreads = 1; nthreads <= 3; nthreads += 2) {
		struct pack again = *pack;

		assert_int_equal(pack_model(&again, nthreads), want);
		assert_non_null(strstr(err.what, what));
		assert_string_equal(again.where, "m.safetensors");
		free(again.where);
		assert_holds(".", "model ");
		assert_int_equal(truncate("model/m.safetensors", 8 + sizeof(header) - 1 + NBYTES), 0);
	}
}

static void fresh(struct pack *pack)
{
	make_model();
	*pack = (struct pack){ 0 };
	uw_cpu_ops_init_c(&pack->ops);
}

static void test_good(void **state)
{
	struct pack pack;

	(void)state;
	fresh(&pack);
	assert_int_equal(pack_model(&pack, 2), UW_OK);
	assert_holds(".", "bundle model ");
	assert_holds("bundle", "config.json m.safetensors.uw unweight.json ");
}

static uw_merge_fn good_merge;

/* One bit of one weight in each tile is wrong, as a bug or a faulty machine might have it. */
static void bad_merge(uint16_t *weights, size_t ld, const uint8_t s[UW_TILE_WEIGHTS], const uint8_t e[UW_TILE_WEIGHTS],
		      enum uw_store store)
{
	good_merge(weights, ld, s, e, store);
	weights[UW_TILE_COLS - 1] ^= 1;
}

static void test_decodes_to_something_else(void **state)
{
	struct pack pack;

	(void)state;
	fresh(&pack);
	good_merge = pack.ops.merge[UW_ORDER_TILED];
	pack.ops.merge[UW_ORDER_TILED] = bad_merge;
	assert_fails(&pack, UW_ERR_INTERNAL, "does not decode to the source");
}

static void lose_a_bit(struct pack *pack)
{
	char path[256];
	uint8_t byte;
	int fd;

	snprintf(path, sizeof(path), "%s/m.safetensors.uw", uw_sink_folder_path(pack->sink));
	fd = open(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(pread(fd, &byte, 1, NBYTES / 2), 1);
	byte ^= 0x10;
	assert_int_equal(pwrite(fd, &byte, 1, NBYTES / 2), 1);
	close(fd);
}

static void test_reads_back_differently(void **state)
{
	struct pack pack;

	(void)state;
	fresh(&pack);
	pack.meanwhile = lose_a_bit;
	assert_fails(&pack, UW_ERR_IO, "does not read back");
}

static void lose_the_file(struct pack *pack)
{
	char path[256];

	snprintf(path, sizeof(path), "%s/m.safetensors.uw", uw_sink_folder_path(pack->sink));
	assert_int_equal(unlink(path), 0);
}

static void test_cannot_be_read_back(void **state)
{
	struct pack pack;

	(void)state;
	fresh(&pack);
	pack.meanwhile = lose_the_file;
	assert_fails(&pack, UW_ERR_NOT_FOUND, "reading back 'm.safetensors.uw'");
}

static void grow_source(struct pack *pack)
{
	(void)pack;
	assert_int_equal(truncate("model/m.safetensors", 8 + sizeof(header) + NBYTES), 0);
}

static void test_source_changes(void **state)
{
	struct pack pack;

	(void)state;
	fresh(&pack);
	pack.meanwhile = grow_source;
	assert_fails(&pack, UW_ERR_MISMATCH, "chang");
}

static void fill_disk(struct pack *pack)
{
	(void)pack;
	fault.write_errno = ENOSPC;
}

static void test_disk_full(void **state)
{
	struct pack pack;

	(void)state;
	fresh(&pack);
	for (unsigned nthreads = 1; nthreads <= 3; nthreads++) {
		pack.meanwhile = fill_disk; /* what comes then is the index */
		assert_int_equal(pack_model(&pack, nthreads), UW_ERR_NOSPACE);
		fault.write_errno = 0;
		assert_int_equal(err.os_errno, ENOSPC);
		free(pack.where);
		assert_holds(".", "model ");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(test_good),
		TEST(test_decodes_to_something_else),
		TEST(test_reads_back_differently),
		TEST(test_cannot_be_read_back),
		TEST(test_source_changes),
		TEST(test_disk_full),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
