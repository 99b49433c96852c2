/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening models: every way gives the same, touches no weight, and whatever fails on the way is an error. Needs a file
 * system whose pages can be dropped from memory for one of its tests, which is skipped elsewhere.
 */
#include "model_common.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bundle_common.h"

static const struct want wants[] = {
	{ "model.layers.0.self_attn.q_proj.weight", "BF16", 2, 2, { 192, 192 }, FILL_GAUSSIAN },
	{ "model.layers.0.mlp.experts.gate_up_proj", "BF16", 2, 3, { 3, 320, 256 }, FILL_GAUSSIAN },
	{ "model.norm.weight", "BF16", 2, 1, { 333 }, FILL_GAUSSIAN },
	{ "constant", "BF16", 2, 2, { 70, 90 }, FILL_CONSTANT },
	{ "floats", "F32", 4, 2, { 8, 9 }, FILL_GAUSSIAN },
};
static const char config[] = "{\"model_type\":\"llama\"}\n";
static const char container_path[] = "folder/m.safetensors.uw";

static char root[4096];
static struct source source;

static int setup(void **state)
{
	use_level(state);
	rng_seed(3);
	enter_new_folder(root);
	source = make_source(wants, COUNT(wants));
	assert_int_equal(mkdir("model", 0755), 0);
	put_file("model/m.safetensors", source.bytes, source.nbytes);
	put_file("model/config.json", config, sizeof(config) - 1);
	make_bundle("model", UW_PROFILE_DISTRIBUTION, "folder");
	make_bundle("model", UW_PROFILE_INFERENCE, "serve");
	make_tar("serve", "bundle.tar");
	return 0;
}

static int teardown(void **state)
{
	free(source.bytes);
	remove_folder(root);
	return 0;
}

static struct uw_model_options with_flags(uint32_t flags)
{
	return (struct uw_model_options){ .flags = flags, .cpu_level = cpu_level };
}

/* ---- every way ---- */

static void expect_tensors(const struct uw_model *model)
{
	assert_int_equal(uw_model_ntensors(model), COUNT(wants));
	for (size_t i = 0; i < COUNT(wants); i++) {
		const struct uw_tensor *t = uw_model_find(model, wants[i].name);
		uint8_t *got = malloc((size_t)t->nbytes);
		struct uw_error err;

		if (uw_tensor_read(model, t, NULL, got, (size_t)t->nbytes, &err) != UW_OK)
			fail_msg("%s", err.what);
		assert_memory_equal(got, source.bytes + source.off[i], t->nbytes);
		free(got);
	}
}

static void expect_files(const struct uw_model *model)
{
	uint64_t nbytes;
	char text[64];
	uint8_t *all;

	assert_int_equal(uw_model_file_nbytes(model, "config.json", &nbytes, NULL), UW_OK);
	assert_int_equal(nbytes, sizeof(config) - 1);
	assert_int_equal(uw_model_file_read(model, "config.json", text, 3, NULL), UW_ERR_SPACE);
	assert_int_equal(uw_model_file_read(model, "config.json", text, sizeof(text), NULL), UW_OK);
	assert_memory_equal(text, config, sizeof(config) - 1);
	assert_int_equal(uw_model_file_nbytes(model, "../model/config.json", &nbytes, NULL), UW_ERR_NOT_FOUND);
	assert_int_equal(uw_model_file_nbytes(model, "m.safetensors", &nbytes, NULL), UW_OK);
	assert_int_equal(nbytes, source.nbytes);
	all = malloc(source.nbytes);
	assert_int_equal(uw_model_file_read(model, "m.safetensors", all, source.nbytes, NULL), UW_OK);
	assert_memory_equal(all, source.bytes, source.nbytes);
	free(all);
	assert_string_equal(uw_model_find(model, "floats")->file, "m.safetensors");
}

static const struct {
	const char *path;
	bool bundle;
} places[] = { { "folder", true }, { "bundle.tar", true }, { "folder/m.safetensors.uw", false } };

static const uint32_t all_flags[] = { 0, UW_MODEL_PREAD, UW_MODEL_MMAP, UW_MODEL_CHECK };

static void by_path_and_descriptor(void **state)
{
	for (unsigned i = 0; i < 2 * COUNT(places) * COUNT(all_flags); i++) {
		size_t p = i / 2 % COUNT(places);
		uint32_t flags = all_flags[i / 2 / COUNT(places)];
		struct uw_model_options options = with_flags(flags);
		struct uw_model *model;
		int fd;

		if (i % 2 == 0) {
			assert_int_equal(uw_model_open(places[p].path, &options, &model, NULL), UW_OK);
		} else { /* the descriptor is closed, and its number used for something else */
			fd = open(places[p].path, O_RDONLY);
			assert_int_equal(uw_model_open_fd(fd, &options, &model, NULL), UW_OK);
			assert_int_equal(dup2(open("/", O_RDONLY), fd), fd);
			close(fd);
		}
		if (flags == UW_MODEL_PREAD)
			assert_false(uw_model_is_mapped(model));
		if (flags == UW_MODEL_MMAP)
			assert_true(uw_model_is_mapped(model));
		expect_tensors(model);
		if (places[p].bundle)
			expect_files(model);
		uw_model_close(&model);
	}
}

static enum uw_status read_memory(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	memcpy(dst, (const uint8_t *)ctx + off, nbytes);
	return UW_OK;
}

static void in_memory_and_behind_a_function(void **state)
{
	for (size_t p = 1; p < COUNT(places); p++) {
		struct uw_model_options options = with_flags(0);
		struct uw_model *models[2];
		size_t n;
		uint8_t *data = get_file(places[p].path, &n);

		assert_int_equal(uw_model_open_memory(data, n, &options, &models[0], NULL), UW_OK);
		assert_int_equal(uw_model_open_pread(read_memory, data, n, &options, &models[1], NULL), UW_OK);
		assert_true(uw_model_is_mapped(models[0]));
		assert_false(uw_model_is_mapped(models[1]));
		for (unsigned i = 0; i < 2; i++) {
			expect_tensors(models[i]);
			if (places[p].bundle)
				expect_files(models[i]);
			uw_model_close(&models[i]);
		}
		free(data);
	}
}

static void no_bundles(void **state)
{
	struct uw_model *model;
	int fd = open("model/config.json", O_RDONLY);

	assert_int_equal(uw_model_open("gone", NULL, &model, NULL), UW_ERR_NOT_FOUND);
	assert_int_equal(uw_model_open("model", NULL, &model, NULL), UW_ERR_MAGIC);
	assert_int_equal(uw_model_open("/dev/null", NULL, &model, NULL), UW_ERR_MAGIC);
	assert_int_equal(uw_model_open_fd(fd, NULL, &model, NULL), UW_ERR_MAGIC);
	assert_int_equal(uw_model_open_fd(-1, NULL, &model, NULL), UW_ERR_IO);
	assert_int_equal(uw_model_open_memory(NULL, 0, NULL, &model, NULL), UW_ERR_ARG);
	assert_int_equal(uw_model_open("folder", &(struct uw_model_options){ .cpu_level = "z80" }, &model, NULL),
			 UW_ERR_UNSUPPORTED);
	assert_null(model);
	close(fd);
}

/* A folder stays the folder it was when it is renamed, and a file of it that is changed is noticed. */
static void side_files_are_checked(void **state)
{
	struct uw_model *model;
	char text[64];

	assert_int_equal(uw_model_open("folder", NULL, &model, NULL), UW_OK);
	assert_int_equal(rename("folder", "moved"), 0);
	assert_int_equal(uw_model_file_read(model, "config.json", text, sizeof(text), NULL), UW_OK);
	assert_int_equal(rename("moved", "folder"), 0);
	put_file("folder/config.json", "{\"model_type\":\"gemma\"}\n", sizeof(config) - 1);
	assert_int_equal(uw_model_file_read(model, "config.json", text, sizeof(text), NULL), UW_ERR_CHECKSUM);
	put_file("folder/config.json", config, sizeof(config) - 1);
	uw_model_close(&model);
}

/* ---- files that end too early ---- */

static void cut_files_are_errors(void **state)
{
	for (size_t p = 1; p < COUNT(places); p++) {
		size_t n;
		uint8_t *data = get_file(places[p].path, &n);
		/* behind its last member a tar is padding */
		size_t from = places[p].bundle ? n - 20480 : n - 1;

		for (size_t cut = from; cut > 0; cut -= cut < 200 || cut > n - 300 ? 1 : 1 + cut / 9) {
			struct uw_model *model;

			assert_int_equal(truncate(places[p].path, (off_t)cut), 0);
			if (uw_model_open(p == 2 ? "folder" : places[p].path, NULL, &model, NULL) == UW_OK)
				fail_msg("%s: %zu of %zu bytes", places[p].path, cut, n);
			assert_int_not_equal(uw_model_open(places[p].path, NULL, &model, NULL), UW_OK);
			assert_int_not_equal(uw_model_open_memory(data, cut, NULL, &model, NULL), UW_OK);
		}
		put_file(places[p].path, data, n);
		free(data);
	}
}

static void a_file_cut_while_it_is_read_is_an_error(void **state)
{
	struct uw_model_options options = with_flags(UW_MODEL_PREAD);
	const struct uw_tensor *t;
	struct uw_model *model;
	struct uw_error err;
	uint8_t *data, *got;
	size_t n;

	assert_int_equal(uw_model_open("folder", &options, &model, NULL), UW_OK);
	data = get_file(container_path, &n);
	assert_int_equal(truncate(container_path, 5000), 0);
	t = uw_model_find(model, wants[1].name);
	got = malloc((size_t)t->nbytes);
	assert_int_equal(uw_tensor_read(model, t, NULL, got, (size_t)t->nbytes, &err), UW_ERR_TRUNCATED);
	assert_non_null(strstr(err.what, wants[1].name));
	uw_model_close(&model);
	put_file(container_path, data, n);
	free(data);
	free(got);
}

/* ---- failures at every step ---- */

struct failing {
	const uint8_t *data;
	unsigned n, at; /* call number `at` fails */
};

static enum uw_status read_or_fail(void *ctx, void *dst, size_t nbytes, uint64_t off, struct uw_error *err)
{
	struct failing *f = ctx;

	if (++f->n == f->at)
		return uw_fail(err, UW_ERR_IO, off, "as wanted");
	memcpy(dst, f->data + off, nbytes);
	return UW_OK;
}

static enum uw_status open_and_read_all(struct failing *f, size_t n, const struct uw_model_options *options)
{
	struct uw_model *model;
	enum uw_status status = uw_model_open_pread(read_or_fail, f, n, options, &model, NULL);

	if (status != UW_OK) {
		assert_null(model);
		return status;
	}
	for (size_t i = 0; status == UW_OK && i < uw_model_ntensors(model); i++) {
		const struct uw_tensor *t = uw_model_tensor(model, i);
		uint8_t *got = malloc((size_t)t->nbytes);

		status = uw_tensor_read(model, t, NULL, got, (size_t)t->nbytes, NULL);
		free(got);
	}
	uw_model_close(&model);
	return status;
}

static void every_read_may_fail(void **state)
{
	for (size_t p = 1; p < COUNT(places); p++) {
		struct uw_model_options options = with_flags(0);
		struct failing f = { 0 };
		unsigned at = 1;
		size_t n;
		uint8_t *data = get_file(places[p].path, &n);

		f.data = data;
		for (;; at++) {
			enum uw_status status;

			f.n = 0;
			f.at = at;
			status = open_and_read_all(&f, n, &options);
			if (f.n < at) {
				assert_int_equal(status, UW_OK);
				break;
			}
			if (at == 1) /* what nobody can read is no bundle */
				continue;
			if (status != UW_ERR_IO && status != UW_ERR_MAGIC)
				fail_msg("%s: read %u: status %d", places[p].path, at, status);
		}
		assert_true(at > 5);
		free(data);
	}
}

static void *alloc_or_fail(void *ctx, size_t nbytes, size_t align)
{
	struct failing *f = ctx;
	void *p;

	return ++f->n != f->at && posix_memalign(&p, align, nbytes) == 0 ? p : NULL;
}

static void free_it(void *ctx, void *memory, size_t nbytes)
{
	free(memory);
}

static void every_allocation_may_fail(void **state)
{
	struct failing allocs = { 0 }, reads = { 0 };
	struct uw_allocator allocator = { alloc_or_fail, free_it, &allocs };
	struct uw_model_options options = with_flags(0);
	unsigned at = 1;
	size_t n;
	uint8_t *data = get_file("bundle.tar", &n);

	options.allocator = &allocator;
	reads.data = data;
	for (;; at++) {
		enum uw_status status;

		allocs.n = 0;
		allocs.at = at;
		status = open_and_read_all(&reads, n, &options);
		if (allocs.n < at) {
			assert_int_equal(status, UW_OK);
			break;
		}
		assert_int_equal(status, UW_ERR_NOMEM);
	}
	assert_true(at > 5);
	free(data);
}

/* ---- what opening touches ---- */

#define NFILES 16u
#define NTENSORS 625u

/* Pages of the file that are in memory. */
static size_t resident(const char *path, unsigned char **pages, size_t *npages)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE), count = 0;
	int fd = open(path, O_RDONLY);
	struct stat st;
	void *map;

	assert_int_equal(fstat(fd, &st), 0);
	*npages = ((size_t)st.st_size + page - 1) / page;
	*pages = malloc(*npages);
	map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, (size_t)st.st_size, *pages), 0);
	for (size_t i = 0; i < *npages; i++)
		count += (*pages)[i] & 1;
	munmap(map, (size_t)st.st_size);
	close(fd);
	return count;
}

static void name_of(char path[64], unsigned file)
{
	snprintf(path, 64, "many/model-%05u.safetensors.uw", file);
}

static size_t drop_from_memory(void)
{
	size_t left = 0;

	for (unsigned i = 0; i < NFILES; i++) {
		unsigned char *pages;
		size_t npages;
		char path[64];
		int fd;

		name_of(path, i);
		fd = open(path, O_RDONLY);
		assert_int_equal(fsync(fd), 0);
		(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
		close(fd);
		left += resident(path, &pages, &npages);
		free(pages);
	}
	return left;
}

static uint64_t index_off_of(unsigned file)
{
	struct uw_container container;
	struct uw_cpu_ops ops;
	struct uw_blob blob;
	char path[64];
	uint64_t off;
	int fd;

	name_of(path, file);
	fd = open(path, O_RDONLY);
	uw_cpu_ops_init_c(&ops);
	assert_int_equal(uw_blob_of_fd(&fd, &blob, NULL), UW_OK);
	assert_int_equal(uw_container_open(&blob, &ops, &container, NULL), UW_OK);
	off = container.index->index_off;
	uw_container_close(&container);
	close(fd);
	return off;
}

/* Weights share the first page with the header and one with the index: of those between them none has been read. */
static size_t expect_untouched(unsigned file, uint64_t index_off)
{
	uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
	unsigned char *pages;
	size_t npages, touched;
	char path[64];

	name_of(path, file);
	touched = resident(path, &pages, &npages);
	assert_true(index_off > NTENSORS * 2048);
	for (uint64_t i = 1; i < index_off / page; i++)
		assert_int_equal(pages[i] & 1, 0);
	free(pages);
	return touched;
}

static void opening_touches_no_weight(void **state)
{
	struct uw_model_options options = with_flags(UW_MODEL_MMAP);
	uint64_t index_off[NFILES];
	struct uw_model *model;
	size_t touched = 0;

	make_many_tensors("manymodel", NFILES, NTENSORS);
	make_bundle("manymodel", UW_PROFILE_INFERENCE, "many");
	for (unsigned i = 0; i < NFILES; i++)
		index_off[i] = index_off_of(i);
	if (drop_from_memory() != 0)
		skip(); /* tmpfs */
	assert_int_equal(uw_model_open("many", &options, &model, NULL), UW_OK);
	assert_int_equal(uw_model_ntensors(model), NFILES * NTENSORS);
	assert_int_equal(uw_model_role(model, UW_ROLE_UP, 15, 624)->nbytes, 4096);
	for (unsigned i = 0; i < NFILES; i++)
		touched += expect_untouched(i, index_off[i]);
	print_message("%zu pages of %u files\n", touched, NFILES);
	uw_model_close(&model);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(by_path_and_descriptor),
		cmocka_unit_test(in_memory_and_behind_a_function),
		cmocka_unit_test(no_bundles),
		cmocka_unit_test(side_files_are_checked),
		cmocka_unit_test(cut_files_are_errors),
		cmocka_unit_test(a_file_cut_while_it_is_read_is_an_error),
		cmocka_unit_test(every_read_may_fail),
		cmocka_unit_test(every_allocation_may_fail),
		cmocka_unit_test(opening_touches_no_weight),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
