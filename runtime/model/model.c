/* SPDX-License-Identifier: Apache-2.0 */
/* Opening and closing: a bundle's containers, mapped or read, and the list of their tensors. */
#include "model.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "mapping.h"
#include "model_private.h"
#include "unweight/kernels.h"

/* ---- options ---- */

static void *standard_alloc(void *ctx, size_t nbytes, size_t align)
{
	return nbytes <= SIZE_MAX - align ? aligned_alloc(align, (nbytes + align - 1) & ~(align - 1)) : NULL;
}

static void standard_free(void *ctx, void *memory, size_t nbytes)
{
	free(memory);
}

static enum uw_status take_options(struct uw_model *m, const struct uw_model_options *options, struct uw_error *err)
{
	static const struct uw_allocator standard = { standard_alloc, standard_free, NULL };
	uint32_t mask = UINT32_MAX;

	if (options != NULL)
		m->options = *options;
	m->allocator = m->options.allocator != NULL ? *m->options.allocator : standard;
	if (m->options.cpu_level != NULL && !uw_cpu_level_mask(m->options.cpu_level, &mask))
		return uw_fail(err, UW_ERR_UNSUPPORTED, UW_NO_OFFSET, "CPU level '%s'", m->options.cpu_level);
	m->cpu_flags = uw_cpu_flags() & mask;
	uw_cpu_ops_init(&m->ops, m->cpu_flags);
	return UW_OK;
}

static enum uw_status create(const struct uw_model_options *options, struct uw_model **model, struct uw_error *err)
{
	struct uw_model *m = calloc(1, sizeof(*m));
	enum uw_status status;

	*model = NULL;
	if (m == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "model");
	m->bundle.fd = -1;
	status = take_options(m, options, err);
	if (status != UW_OK)
		uw_model_close(&m);
	*model = m;
	return status;
}

static bool is_cancelled(const struct uw_model *m, struct uw_error *err)
{
	if (!uw_model_is_cancelled(m))
		return false;
	(void)uw_fail(err, UW_ERR_CANCELLED, UW_NO_OFFSET, "cancelled");
	return true;
}

/* ---- containers of a bundle ---- */

static void say(const struct uw_model *m, const char *text)
{
	if (m->options.log != NULL)
		m->options.log(m->options.ctx, text);
}

/* Maps what is already open and checked, or leaves it to be read. */
static enum uw_status map_part(struct uw_model *m, struct uw_model_part *part, struct uw_stored *stored,
			       struct uw_error *err)
{
	enum uw_status status;

	if (m->memory.data != NULL) {
		part->map = m->memory.data + stored->base;
		return UW_OK;
	}
	if ((m->options.flags & UW_MODEL_PREAD) || stored->fd < 0)
		return UW_OK;
	if (!(m->options.flags & UW_MODEL_MMAP) && uw_is_remote(stored->fd)) {
		say(m, "network or user-space file system: weights are read, not mapped");
		m->options.flags |= UW_MODEL_PREAD;
		return UW_OK;
	}
	status = uw_map(stored->fd, stored->base, part->container.index->id.nbytes, part, err);
	if (status == UW_OK)
		uw_stored_close(stored); /* a mapping stays without its file descriptor */
	return status;
}

static enum uw_status open_container(struct uw_model *m, const struct uw_manifest_file *file, struct uw_error *err)
{
	struct uw_bundle_file *opened = &m->opened[m->nparts];
	struct uw_model_part *part = &m->parts[m->nparts];
	enum uw_status status = uw_bundle_file_open(&m->bundle, file, opened, err);

	if (status != UW_OK)
		return status;
	m->nparts++; /* from here on it is closed with the others */
	part->path = file->path;
	part->container = opened->container;
	return map_part(m, part, &opened->stored, err);
}

static enum uw_status open_containers(struct uw_model *m, struct uw_error *err)
{
	const struct uw_manifest *manifest = &m->bundle.manifest;

	m->opened = calloc((size_t)manifest->nfiles + 1, sizeof(*m->opened));
	m->parts = calloc((size_t)manifest->nfiles + 1, sizeof(*m->parts));
	if (m->opened == NULL || m->parts == NULL)
		return uw_fail(err, UW_ERR_NOMEM, UW_NO_OFFSET, "model");
	for (uint64_t i = 0; i < manifest->nfiles; i++) {
		enum uw_status status;

		if (!manifest->files[i].container)
			continue;
		if (is_cancelled(m, err))
			return UW_ERR_CANCELLED;
		status = open_container(m, &manifest->files[i], err);
		if (status != UW_OK)
			return status;
	}
	return UW_OK;
}

/* ---- public: opening ---- */

/* Opens m->bundle, as the caller of a model wants it. */
typedef enum uw_status (*open_fn)(struct uw_model *m, const void *ctx, struct uw_error *err);

static enum uw_status open_base(struct uw_model *m, struct uw_error *err)
{
	enum uw_status status = UW_OK;

	if (m->options.base != NULL)
		status = uw_bundle_base_open(m->options.base, &m->ops, &m->base, err);
	return status == UW_OK ? uw_bundle_set_base(&m->bundle, uw_bundle_base(m->base), err) : status;
}

static enum uw_status open_model(const struct uw_model_options *options, open_fn open, const void *ctx,
				 struct uw_model **model, struct uw_error *err)
{
	struct uw_model *m;
	enum uw_status status = create(options, &m, err);

	if (status == UW_OK)
		status = open(m, ctx, err);
	if (status == UW_OK && m->bundle.manifest.base.needed)
		status = open_base(m, err);
	if (status == UW_OK)
		status = open_containers(m, err);
	if (status == UW_OK)
		status = uw_model_list(m, err);
	if (status != UW_OK)
		uw_model_close(&m);
	*model = m;
	return status;
}

static enum uw_status open_path(struct uw_model *m, const void *path, struct uw_error *err)
{
	return uw_bundle_open(path, &m->ops, &m->bundle, err);
}

enum uw_status uw_model_open(const char *path, const struct uw_model_options *options, struct uw_model **model,
			     struct uw_error *err)
{
	return open_model(options, open_path, path, model, err);
}

static enum uw_status open_fd(struct uw_model *m, const void *fd, struct uw_error *err)
{
	return uw_bundle_open_fd(*(const int *)fd, &m->ops, &m->bundle, err);
}

enum uw_status uw_model_open_fd(int fd, const struct uw_model_options *options, struct uw_model **model,
				struct uw_error *err)
{
	return open_model(options, open_fd, &fd, model, err);
}

static enum uw_status open_blob(struct uw_model *m, const void *blob, struct uw_error *err)
{
	return uw_bundle_open_blob(blob, &m->ops, &m->bundle, err);
}

enum uw_status uw_model_open_pread(uw_pread_fn pread, void *ctx, uint64_t nbytes,
				   const struct uw_model_options *options, struct uw_model **model,
				   struct uw_error *err)
{
	struct uw_blob blob = { pread, ctx, nbytes };

	return open_model(options, open_blob, &blob, model, err);
}

static enum uw_status open_memory(struct uw_model *m, const void *blob, struct uw_error *err)
{
	struct uw_blob own = *(const struct uw_blob *)blob;

	m->memory = *(const struct uw_memory *)own.ctx;
	own.ctx = &m->memory; /* the caller's is gone when the model is used */
	return uw_bundle_open_blob(&own, &m->ops, &m->bundle, err);
}

enum uw_status uw_model_open_memory(const void *data, uint64_t nbytes, const struct uw_model_options *options,
				    struct uw_model **model, struct uw_error *err)
{
	struct uw_memory memory = { data };
	struct uw_blob blob;

	*model = NULL;
	if (data == NULL || (uintptr_t)data % 64 != 0)
		return uw_fail(err, UW_ERR_ARG, UW_NO_OFFSET, "no memory, or not aligned to 64");
	uw_blob_of_memory(&memory, nbytes, &blob);
	return open_model(options, open_memory, &blob, model, err);
}

/* ---- public: closing ---- */

void uw_model_close(struct uw_model **model)
{
	struct uw_model *m = *model;

	*model = NULL;
	if (m == NULL)
		return;
	for (size_t i = 0; i < m->nparts; i++) {
		struct uw_model_part *part = &m->parts[i];

		if (part->map_base != NULL)
			munmap(part->map_base, part->map_nbytes);
		uw_bundle_file_close(&m->opened[i]);
	}
	uw_bundle_close(&m->bundle);
	uw_bundle_base_close(&m->base);
	free(m->opened);
	free(m->parts);
	free(m->tensors);
	free(m->places);
	free(m->by_role);
	free(m->names);
	free(m);
}

bool uw_model_is_mapped(const struct uw_model *model)
{
	return model->nparts == 0 || model->parts[0].map != NULL;
}

/* ---- for the rest of the library ---- */

const struct uw_cpu_ops *uw_model_cpu_ops(const struct uw_model *model)
{
	return &model->ops;
}

uint32_t uw_model_cpu_flags(const struct uw_model *model)
{
	return model->cpu_flags;
}

void *uw_model_alloc(const struct uw_model *model, uint64_t nbytes)
{
	return nbytes <= SIZE_MAX ? model->allocator.alloc(model->allocator.ctx, (size_t)nbytes, 64) : NULL;
}

void uw_model_free(const struct uw_model *model, void *memory, uint64_t nbytes)
{
	if (memory != NULL)
		model->allocator.free(model->allocator.ctx, memory, (size_t)nbytes);
}

bool uw_model_is_checked(const struct uw_model *model)
{
	return model->options.flags & UW_MODEL_CHECK;
}

bool uw_model_is_cancelled(const struct uw_model *model)
{
	return model->options.cancelled != NULL && model->options.cancelled(model->options.ctx);
}

void uw_model_progress(const struct uw_model *model, uint64_t nbytes)
{
	if (model->options.progress != NULL)
		model->options.progress(model->options.ctx, nbytes);
}
