/* SPDX-License-Identifier: Apache-2.0 */
#include "fuzz.h"

#include <sys/mman.h>
#include <unistd.h>

#include "../../format/layout.h"
#include "sha256.h"
#include "unweight/codec.h"
#include "unweight/kernels.h"

uint8_t fuzz_u8(struct fuzz_input *in)
{
	return in->at < in->end ? *in->at++ : 0;
}

uint16_t fuzz_u16(struct fuzz_input *in)
{
	uint16_t low = fuzz_u8(in);

	return (uint16_t)(low | fuzz_u8(in) << 8);
}

size_t fuzz_left(const struct fuzz_input *in)
{
	return (size_t)(in->end - in->at);
}

void *fuzz_alloc(size_t nbytes)
{
	void *p = calloc(1, nbytes);

	FUZZ_ASSERT(p != NULL || nbytes == 0);
	return p;
}

const struct uw_cpu_ops *fuzz_ops_c(void)
{
	static struct uw_cpu_ops ops;
	static bool ready;

	if (!ready)
		uw_cpu_ops_init_c(&ops);
	ready = true;
	return &ops;
}

const struct uw_cpu_ops *fuzz_ops(void)
{
	static struct uw_cpu_ops ops;
	static bool ready;

	if (!ready)
		uw_cpu_ops_init(&ops, uw_cpu_flags());
	ready = true;
	return &ops;
}

struct uw_job fuzz_job(void)
{
	return (struct uw_job){ .ops = fuzz_ops(), .nthreads = 1 };
}

#define BASE_NBYTES (1u << 20)

/* make_corpus.py has the same bytes in its base. */
static enum uw_status read_base(void *ctx, const struct uw_reference *reference, void *dst, size_t nbytes,
				struct uw_error *err)
{
	uint8_t *bytes = dst;

	if (reference->file > 1 || reference->off > BASE_NBYTES || nbytes > BASE_NBYTES - reference->off)
		return uw_fail(err, UW_ERR_LAYOUT, UW_NO_OFFSET, "not in the base");
	for (size_t i = 0; i < nbytes; i++)
		bytes[i] = (uint8_t)((reference->off + i) % 251);
	return UW_OK;
}

struct uw_base fuzz_base(const uint8_t digest[UW_BASE_DIGEST_NBYTES])
{
	struct uw_base base = { .read = read_base };

	if (digest != NULL)
		memcpy(base.digest, digest, sizeof(base.digest));
	return base;
}

struct uw_shape fuzz_shape(struct fuzz_input *in)
{
	uint16_t a = fuzz_u16(in), b = fuzz_u16(in);
	struct uw_shape shape;

	if (a & 0x8000)
		FUZZ_ASSERT(uw_shape_linear(1 + (a & 0x7FFF), &shape) == UW_OK);
	else
		FUZZ_ASSERT(uw_shape_tiled(1 + a % 100, 1 + b % 260, &shape) == UW_OK);
	return shape;
}

void fuzz_weights(struct fuzz_input *in, uint16_t *weights, uint64_t n)
{
	bool words = fuzz_u8(in) & 1;
	uint32_t noise = 1;

	for (uint64_t i = 0; i < n;) {
		uint64_t run = words ? 1 : 1 + fuzz_u8(in) % 64;
		uint16_t value = words ? fuzz_u16(in) : (uint16_t)(fuzz_u8(in) << 7);

		for (; run > 0 && i < n; run--, i++) {
			noise = noise * 1664525 + 1013904223;
			weights[i] = words ? value : (uint16_t)(value | (noise >> 16 & 0x807F));
		}
	}
}

uint16_t *fuzz_decode(const struct uw_shape *shape, enum uw_coding coding, uint32_t ntables, uint32_t npatches,
		      const uint8_t *stored, size_t nbytes)
{
	size_t out_nbytes = shape->nweights * sizeof(uint16_t);
	struct uw_error err = { .file_off = UW_NO_OFFSET };
	uint16_t *one, *other;
	struct uw_coded coded;
	enum uw_status status;

	if (uw_coded_open(shape, coding, ntables, npatches, stored, nbytes, &coded, &err) != UW_OK)
		return NULL;
	one = fuzz_alloc(out_nbytes);
	other = fuzz_alloc(out_nbytes);
	status = uw_coded_decode(fuzz_ops_c(), &coded, UW_STORE_CACHED, one, &err);
	FUZZ_ASSERT(status == UW_OK || status == UW_ERR_BITS);
	FUZZ_ASSERT(uw_coded_decode(fuzz_ops(), &coded, UW_STORE_STREAM, other, &err) == status);
	FUZZ_ASSERT(status != UW_OK || memcmp(one, other, out_nbytes) == 0);
	free(other);
	if (status == UW_OK)
		return one;
	free(one);
	return NULL;
}

/* ---- checksums ---- */

static void seal_groups(uint8_t *file, size_t nbytes, uint8_t *index, uint64_t index_nbytes)
{
	bool based = (uw_load_le64(file + HEADER_INCOMPAT) & FEATURE_BASE) != 0;
	uint64_t at = INDEX_HEAD_NBYTES + (based ? UW_BASE_DIGEST_NBYTES : 0) + (uint64_t)uw_load_le32(index + INDEX_NEXTENTS) * EXTENT_NBYTES;

	for (uint32_t i = 0; i < uw_load_le32(index + INDEX_NGROUPS) && at + GROUP_NBYTES <= index_nbytes; i++) {
		struct uw_group group;

		uw_group_load(index + at, &group);
		if (group.off < nbytes && group.nbytes <= nbytes - group.off)
			uw_hash64(file + group.off, (size_t)group.nbytes, index + at + GROUP_HASH);
		at += GROUP_NBYTES;
	}
}

void fuzz_seal_container(uint8_t *file, size_t nbytes)
{
	uint64_t off, index_nbytes;
	uint8_t *trailer;

	if (nbytes < UW_HEADER_NBYTES + UW_TRAILER_NBYTES)
		return;
	uw_hash64(file, HEADER_HASH, file + HEADER_HASH);
	trailer = file + nbytes - UW_TRAILER_NBYTES;
	off = uw_load_le64(trailer + TRAILER_INDEX_OFF);
	index_nbytes = uw_load_le64(trailer + TRAILER_INDEX_NBYTES);
	if (off <= nbytes && index_nbytes <= nbytes - off && index_nbytes >= INDEX_HEAD_NBYTES) {
		seal_groups(file, nbytes, file + off, index_nbytes);
		uw_hash64(file + off, (size_t)index_nbytes, trailer + TRAILER_INDEX_HASH);
	}
	uw_hash64(trailer, TRAILER_HASH, trailer + TRAILER_HASH);
}

void fuzz_seal_manifest(char *text, size_t n)
{
	char hex[2 * UW_SHA256_NBYTES + 1], tail[FUZZ_SEAL_NBYTES + 1];
	uint8_t digest[UW_SHA256_NBYTES];
	struct uw_sha256 h;

	FUZZ_ASSERT(uw_sha256_init(&h, NULL) == UW_OK);
	uw_sha256_update(&h, text, n);
	FUZZ_ASSERT(uw_sha256_final(&h, digest, NULL) == UW_OK);
	uw_hex(digest, sizeof(digest), hex);
	snprintf(tail, sizeof(tail), "\"manifest_sha256\":\"%s\"}\n", hex);
	memcpy(text + n, tail, FUZZ_SEAL_NBYTES);
}

int fuzz_file(const uint8_t *data, size_t nbytes, const char **path)
{
	static char name[32];
	static int fd = -1;

	if (fd >= 0)
		close(fd);
	fd = memfd_create("fuzz", MFD_CLOEXEC);
	FUZZ_ASSERT(fd >= 0);
	FUZZ_ASSERT(pwrite(fd, data, nbytes, 0) == (ssize_t)nbytes);
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	if (path != NULL)
		*path = name;
	return fd;
}
