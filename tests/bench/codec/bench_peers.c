/* SPDX-License-Identifier: Apache-2.0 */
/*
 * General compressors on the raw bytes, and on two planes: exponents, and sign with mantissa. In blocks of 1 MiB of
 * weights, so that the planes stay in the cache between splitting and coding.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <zstd.h>
#ifdef HAVE_LZ4
#include <lz4.h>
#endif

#include "bench_codec.h"

#define BLOCK ((size_t)512 << 10) /* weights */

struct peer {
	const struct bench_data *data;
	int level;
	bool split;
	ZSTD_CCtx *cctx; /* NULL: LZ4 */
	ZSTD_DCtx *dctx;
	size_t nblocks;
	uint8_t **stored;  /* nblocks x 2 planes; not split: only the first */
	size_t *nbytes;
	size_t room;
	uint8_t *planes[2];
};

static size_t bound(const struct peer *p, size_t n)
{
#ifdef HAVE_LZ4
	if (p->cctx == NULL)
		return (size_t)LZ4_compressBound((int)n);
#endif
	return ZSTD_compressBound(n);
}

static size_t compress(struct peer *p, const void *src, size_t n, uint8_t *dst)
{
	size_t result;

#ifdef HAVE_LZ4
	if (p->cctx == NULL)
		return (size_t)LZ4_compress_default(src, (char *)dst, (int)n, (int)p->room);
#endif
	result = ZSTD_compressCCtx(p->cctx, dst, p->room, src, n, p->level);
	if (ZSTD_isError(result))
		bench_die(ZSTD_getErrorName(result));
	return result;
}

static void expand(struct peer *p, const uint8_t *src, size_t nsrc, void *dst, size_t n)
{
#ifdef HAVE_LZ4
	if (p->cctx == NULL) {
		if (LZ4_decompress_safe((const char *)src, dst, (int)nsrc, (int)n) != (int)n)
			bench_die("lz4");
		return;
	}
#endif
	if (ZSTD_decompressDCtx(p->dctx, dst, n, src, nsrc) != n)
		bench_die("zstd");
}

static void split(const uint16_t *restrict w, size_t n, uint8_t *restrict e, uint8_t *restrict s)
{
	for (size_t i = 0; i < n; i++) {
		e[i] = (uint8_t)(w[i] >> 7);
		s[i] = (uint8_t)((w[i] & 127) | (w[i] >> 8 & 128));
	}
}

static void join(uint16_t *restrict w, size_t n, const uint8_t *restrict e, const uint8_t *restrict s)
{
	for (size_t i = 0; i < n; i++)
		w[i] = (uint16_t)(e[i] << 7 | (s[i] & 127) | (s[i] & 128) << 8);
}

static size_t block_size(const struct peer *p, size_t b)
{
	size_t left = p->data->nweights - b * BLOCK;

	return left < BLOCK ? left : BLOCK;
}

static size_t encode(void *ctx)
{
	struct peer *p = ctx;
	size_t total = 0;

	for (size_t b = 0; b < p->nblocks; b++) {
		const uint16_t *weights = p->data->weights + b * BLOCK;
		size_t n = block_size(p, b);

		if (p->split) {
			split(weights, n, p->planes[0], p->planes[1]);
			for (unsigned k = 0; k < 2; k++)
				total += p->nbytes[2 * b + k] = compress(p, p->planes[k], n, p->stored[2 * b + k]);
		} else {
			total += p->nbytes[2 * b] = compress(p, weights, 2 * n, p->stored[2 * b]);
		}
	}
	return total;
}

static void decode(void *ctx)
{
	struct peer *p = ctx;

	for (size_t b = 0; b < p->nblocks; b++) {
		uint16_t *weights = p->data->back + b * BLOCK;
		size_t n = block_size(p, b);

		if (p->split) {
			for (unsigned k = 0; k < 2; k++)
				expand(p, p->stored[2 * b + k], p->nbytes[2 * b + k], p->planes[k], n);
			join(weights, n, p->planes[0], p->planes[1]);
		} else {
			expand(p, p->stored[2 * b], p->nbytes[2 * b], weights, 2 * n);
		}
	}
}

static void close_peer(void *ctx)
{
	struct peer *p = ctx;

	for (size_t i = 0; i < 2 * p->nblocks; i++)
		free(p->stored[i]);
	free(p->stored);
	free(p->nbytes);
	free(p->planes[0]);
	free(p->planes[1]);
	ZSTD_freeCCtx(p->cctx);
	ZSTD_freeDCtx(p->dctx);
	free(p);
}

static struct bench_method make(const struct bench_data *data, bool zstd, int level, bool planes)
{
	struct bench_method m = { .encode = encode, .decode = decode, .close = close_peer };
	struct peer *p = bench_need(sizeof(*p));

	*p = (struct peer){ .data = data, .level = level, .split = planes };
	p->nblocks = (data->nweights + BLOCK - 1) / BLOCK;
	if (zstd) {
		p->cctx = ZSTD_createCCtx();
		p->dctx = ZSTD_createDCtx();
		if (p->cctx == NULL || p->dctx == NULL)
			bench_die("out of memory");
	}
	p->room = bound(p, planes ? BLOCK : 2 * BLOCK);
	p->stored = bench_need(2 * p->nblocks * sizeof(*p->stored));
	p->nbytes = bench_need(2 * p->nblocks * sizeof(*p->nbytes));
	for (size_t i = 0; i < 2 * p->nblocks; i++) {
		if (planes || i % 2 == 0)
			p->stored[i] = bench_need(p->room);
	}
	for (unsigned k = 0; k < 2; k++)
		p->planes[k] = bench_need(BLOCK);
	if (zstd)
		snprintf(m.name, sizeof(m.name), "zstd -%d%s", level, planes ? " planes" : "");
	else
		snprintf(m.name, sizeof(m.name), "lz4%s", planes ? " planes" : "");
	m.ctx = p;
	return m;
}

unsigned bench_methods_zstd(const struct bench_data *data, struct bench_method *m)
{
	m[0] = make(data, true, 1, false);
	m[1] = make(data, true, 3, false);
	m[2] = make(data, true, 1, true);
	m[3] = make(data, true, 3, true);
	return 4;
}

unsigned bench_methods_lz4(const struct bench_data *data, struct bench_method *m)
{
#ifdef HAVE_LZ4
	m[0] = make(data, false, 0, false);
	m[1] = make(data, false, 0, true);
	return 2;
#else
	return 0;
#endif
}
