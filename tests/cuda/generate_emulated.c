/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands behind samples/generate in a program of two devices: `cuda` is the emulated one, `cpu` a reference that adds
 * in the order of the kernels: by ascending column, in FP32, on BF16 weights that uw_tensor_read has decoded. Where
 * sums are not cut into parts (here: up to 1024 columns) and instructions add one product after the other, as the
 * emulator's do, the two have the same bits.
 *
 * The build renames what the sample calls to the emulated_ functions below.
 */
#undef uw_cuda_open
#undef uw_cuda_close

#include <stdio.h>
#include <stdlib.h>

#include "backend.h"
#include "cuda_device.h"
#include "emu_device.h"

/* ---- the emulated device ---- */

enum uw_status emulated_cuda_open(int number, const struct uw_allocator *memory, struct uw_cuda **cuda,
				  struct uw_error *err);
void emulated_cuda_close(struct uw_cuda **cuda);

enum uw_status emulated_cuda_open(int number, const struct uw_allocator *memory, struct uw_cuda **cuda,
				  struct uw_error *err)
{
	const char *capability = getenv("EMU_CAPABILITY");

	emu_device_reset(1);
	if (capability != NULL)
		emu_device.capability = (uint32_t)strtoul(capability, NULL, 10);
	return uw_cuda_open_ops(emu_device_ops(), number, memory, cuda, err);
}

/* With what the test wants to know. */
void emulated_cuda_close(struct uw_cuda **cuda)
{
	if (*cuda != NULL)
		fprintf(stderr, "launches %llu\ndecodings %llu\nallocations left %llu\n",
			(unsigned long long)emu_device.ngemm, (unsigned long long)emu_device.ndecode,
			(unsigned long long)emu_device.nlive);
	uw_cuda_close(cuda);
}

/* ---- the reference ---- */

struct weights {
	const struct uw_tensor *tensor;
	uint16_t *words;
};

struct product {
	struct weights parts[BACKEND_MAX_PARTS];
	size_t nparts;
};

#define MAX_PRODUCTS 64u

struct reference {
	struct backend backend;
	const struct uw_model *model;
	struct product products[MAX_PRODUCTS];
	size_t nproducts;
	struct weights embedding;
};

static struct reference *reference_of(struct backend *b)
{
	return (struct reference *)(void *)b;
}

static enum uw_status decode(const struct reference *r, const struct uw_tensor *tensor, struct weights *w,
			     struct uw_error *err)
{
	w->tensor = tensor;
	w->words = malloc((size_t)tensor->nbytes);
	if (w->words == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "weights");
	return uw_tensor_read(r->model, tensor, NULL, w->words, (size_t)tensor->nbytes, err);
}

static enum uw_status load(struct backend *b, const struct uw_linear_part *parts, size_t nparts, size_t *id,
			   struct uw_error *err)
{
	struct reference *r = reference_of(b);
	struct product *p = &r->products[r->nproducts];
	enum uw_status status = UW_OK;

	if (r->nproducts == MAX_PRODUCTS)
		return uw_fail(err, UW_ERR_SPACE, UW_NO_OFFSET, "products of the reference");
	*id = r->nproducts++;
	for (p->nparts = 0; status == UW_OK && p->nparts < nparts; p->nparts++)
		status = decode(r, parts[p->nparts].tensor, &p->parts[p->nparts], err);
	return status;
}

static enum uw_status load_embedding(struct backend *b, const struct uw_tensor *embedding, struct uw_error *err)
{
	return decode(reference_of(b), embedding, &reference_of(b)->embedding, err);
}

static enum uw_status ready(struct backend *b, struct uw_error *err)
{
	return UW_OK;
}

/* No NaN comes here. */
static float rounded(float f)
{
	uint32_t word;

	memcpy(&word, &f, sizeof(word));
	word += 0x7FFF + (word >> 16 & 1);
	return backend_widen((uint16_t)(word >> 16));
}

static enum uw_status multiply(struct backend *b, size_t id, const float *x, uint32_t n, float *const y[],
			       struct uw_error *err)
{
	const struct product *p = &reference_of(b)->products[id];

	for (size_t i = 0; i < p->nparts; i++) {
		size_t nrows = (size_t)p->parts[i].tensor->dims[0], ncols = (size_t)p->parts[i].tensor->dims[1];

		for (size_t at = 0; at < n * nrows; at++) {
			const uint16_t *row = p->parts[i].words + at % nrows * ncols;
			float sum = 0;

			for (size_t k = 0; k < ncols; k++)
				sum += backend_widen(row[k]) * rounded(x[at / nrows * ncols + k]);
			y[i][at] = sum;
		}
	}
	return UW_OK;
}

static enum uw_status embed(struct backend *b, const uint32_t *ids, uint32_t n, float *x, struct uw_error *err)
{
	const struct weights *w = &reference_of(b)->embedding;
	size_t ncols = (size_t)w->tensor->dims[1];

	for (size_t i = 0; i < n * ncols; i++)
		x[i] = backend_widen(w->words[ids[i / ncols] * ncols + i % ncols]);
	return UW_OK;
}

static void close_reference(struct backend *b)
{
	struct reference *r = reference_of(b);

	for (size_t i = 0; i < r->nproducts; i++) {
		for (size_t k = 0; k < BACKEND_MAX_PARTS; k++)
			free(r->products[i].parts[k].words);
	}
	free(r->embedding.words);
	free(r);
}

enum uw_status backend_open_cpu(const struct backend_options *options, struct backend **backend, struct uw_error *err)
{
	static const struct backend_ops ops = { load, load_embedding, ready, multiply, embed, close_reference };
	struct reference *r = calloc(1, sizeof(*r));

	if (r == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "the reference");
	r->backend.ops = &ops;
	r->model = options->model;
	*backend = &r->backend;
	return UW_OK;
}
