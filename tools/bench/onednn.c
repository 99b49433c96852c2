/* SPDX-License-Identifier: Apache-2.0 */
#include "onednn.h"

#include <stdlib.h>

#ifdef HAVE_ONEDNN

#include <dlfcn.h>
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

#define PAGE 4096u
#define LIBRARY "libdnnl.so.2"

/* What is needed of the library, by the names that it has there behind "dnnl_". */
#define FUNCTIONS(F)                                                                                                   \
	F(engine_create) F(engine_destroy) F(stream_create) F(stream_destroy) F(stream_wait)                           \
	F(memory_desc_init_by_tag) F(memory_desc_get_size) F(memory_create) F(memory_destroy)                          \
	F(matmul_desc_init) F(reorder_primitive_desc_create)                                                           \
	F(primitive_desc_create) F(primitive_desc_query_md) F(primitive_desc_destroy)                                  \
	F(primitive_create) F(primitive_execute) F(primitive_destroy)

struct library {
#define MEMBER(name) __typeof__(dnnl_##name) *name;
	FUNCTIONS(MEMBER)
#undef MEMBER
};

struct uw_onednn {
	struct uw_onednn_spec spec;
	struct library dnnl;
	dnnl_engine_t engine;
	dnnl_primitive_desc_t desc;
	dnnl_primitive_t matmul;
	dnnl_stream_t stream[UW_ONEDNN_MAX_STREAMS];
	dnnl_memory_t x, y[UW_ONEDNN_MAX_STREAMS], *weights; /* of each matrix */
	uint8_t *packed;
};

/* Stays loaded: threads of its OpenMP may live on. */
static bool load(struct library *library)
{
	void *handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE), *symbol;
	bool good = handle != NULL;

	if (handle == NULL)
		return false;
#define LOOK_UP(name)                                                                                                  \
	symbol = dlsym(handle, "dnnl_" #name);                                                                         \
	memcpy(&library->name, &symbol, sizeof(symbol)); /* ISO C has no cast for it */                                \
	good = good && symbol != NULL;
	FUNCTIONS(LOOK_UP)
#undef LOOK_UP
	dlclose(handle);
	return good;
}

bool uw_onednn_is_there(void)
{
	struct library library;

	return load(&library);
}

static bool is_ok(dnnl_status_t status)
{
	return status == dnnl_success;
}

bool uw_onednn_run(const struct uw_onednn *o, size_t i, unsigned stream)
{
	const dnnl_exec_arg_t args[] = {
		{ DNNL_ARG_SRC, o->x },
		{ DNNL_ARG_WEIGHTS, o->weights[i] },
		{ DNNL_ARG_DST, o->y[stream] },
	};

	return is_ok(o->dnnl.primitive_execute(o->matmul, o->stream[stream], 3, args)) &&
	       is_ok(o->dnnl.stream_wait(o->stream[stream]));
}

void uw_onednn_free(struct uw_onednn **onednn)
{
	struct uw_onednn *o = *onednn;

	*onednn = NULL;
	if (o == NULL)
		return;
	for (size_t i = 0; o->weights != NULL && i < o->spec.nweights; i++)
		o->dnnl.memory_destroy(o->weights[i]);
	for (unsigned t = 0; t < o->spec.nstreams; t++) {
		o->dnnl.memory_destroy(o->y[t]);
		o->dnnl.stream_destroy(o->stream[t]);
	}
	o->dnnl.memory_destroy(o->x);
	o->dnnl.primitive_destroy(o->matmul);
	o->dnnl.primitive_desc_destroy(o->desc);
	o->dnnl.engine_destroy(o->engine);
	free(o->weights);
	free(o->packed);
	free(o);
}

/* Weights as W^T, [ncols][nrows]: row-major W is its transposed layout. */
static bool make_matmul(struct uw_onednn *o, dnnl_memory_desc_t *plain)
{
	const struct uw_onednn_spec *s = &o->spec;
	const dnnl_dims_t x_dims = { (int64_t)s->batch, (int64_t)s->ncols };
	const dnnl_dims_t y_dims = { (int64_t)s->batch, (int64_t)s->nrows };
	const dnnl_dims_t w_dims = { (int64_t)s->ncols, (int64_t)s->nrows };
	dnnl_memory_desc_t x, y, wanted;
	dnnl_matmul_desc_t matmul;
	bool good = is_ok(o->dnnl.engine_create(&o->engine, dnnl_cpu, 0)) &&
		    is_ok(o->dnnl.memory_desc_init_by_tag(&x, 2, x_dims, dnnl_bf16, dnnl_ab)) &&
		    is_ok(o->dnnl.memory_desc_init_by_tag(&y, 2, y_dims, dnnl_f32, dnnl_ab)) &&
		    is_ok(o->dnnl.memory_desc_init_by_tag(plain, 2, w_dims, dnnl_bf16, dnnl_ba)) &&
		    is_ok(o->dnnl.memory_desc_init_by_tag(&wanted, 2, w_dims, dnnl_bf16,
						       s->packed ? dnnl_format_tag_any : dnnl_ba)) &&
		    is_ok(o->dnnl.matmul_desc_init(&matmul, &x, &wanted, NULL, &y)) &&
		    is_ok(o->dnnl.primitive_desc_create(&o->desc, &matmul, NULL, o->engine, NULL)) &&
		    is_ok(o->dnnl.primitive_create(&o->matmul, o->desc)) &&
		    is_ok(o->dnnl.memory_create(&o->x, &x, o->engine, (void *)(uintptr_t)s->x));

	for (unsigned t = 0; good && t < s->nstreams; t++)
		good = is_ok(o->dnnl.stream_create(&o->stream[t], o->engine, dnnl_stream_default_flags)) &&
		       is_ok(o->dnnl.memory_create(&o->y[t], &y, o->engine, s->y[t]));
	return good;
}

static bool pack_one(struct uw_onednn *o, dnnl_primitive_t reorder, const dnnl_memory_desc_t *plain,
		     const dnnl_memory_desc_t *packed, size_t nbytes, size_t i)
{
	dnnl_exec_arg_t args[2] = { { DNNL_ARG_FROM, NULL }, { DNNL_ARG_TO, NULL } };
	bool good = is_ok(o->dnnl.memory_create(&args[0].memory, plain, o->engine,
					     (void *)(uintptr_t)o->spec.weights[i])) &&
		    is_ok(o->dnnl.memory_create(&o->weights[i], packed, o->engine, o->packed + i * nbytes));

	args[1].memory = o->weights[i];
	good = good && is_ok(o->dnnl.primitive_execute(reorder, o->stream[0], 2, args)) &&
	       is_ok(o->dnnl.stream_wait(o->stream[0]));
	o->dnnl.memory_destroy(args[0].memory);
	return good;
}

static bool pack_weights(struct uw_onednn *o, const dnnl_memory_desc_t *plain)
{
	const dnnl_memory_desc_t *packed = o->dnnl.primitive_desc_query_md(o->desc, dnnl_query_weights_md, 0);
	size_t nbytes = (o->dnnl.memory_desc_get_size(packed) + PAGE - 1) / PAGE * PAGE;
	dnnl_primitive_desc_t desc = NULL;
	dnnl_primitive_t reorder = NULL;
	void *memory = NULL;
	bool good = posix_memalign(&memory, PAGE, nbytes * o->spec.nweights) == 0;

	o->packed = good ? memory : NULL;
	good = good && is_ok(o->dnnl.reorder_primitive_desc_create(&desc, plain, o->engine, packed, o->engine, NULL)) &&
	       is_ok(o->dnnl.primitive_create(&reorder, desc));
	for (size_t i = 0; good && i < o->spec.nweights; i++)
		good = pack_one(o, reorder, plain, packed, nbytes, i);
	o->dnnl.primitive_destroy(reorder);
	o->dnnl.primitive_desc_destroy(desc);
	return good;
}

static bool take_weights(struct uw_onednn *o, const dnnl_memory_desc_t *plain)
{
	bool good = true;

	for (size_t i = 0; good && i < o->spec.nweights; i++)
		good = is_ok(o->dnnl.memory_create(&o->weights[i], plain, o->engine,
						(void *)(uintptr_t)o->spec.weights[i]));
	return good;
}

bool uw_onednn_create(const struct uw_onednn_spec *spec, struct uw_onednn **onednn)
{
	struct uw_onednn *o = calloc(1, sizeof(*o));
	dnnl_memory_desc_t plain;
	bool good;

	*onednn = NULL;
	if (o == NULL)
		return false;
	o->spec = *spec;
	o->weights = calloc(spec->nweights, sizeof(dnnl_memory_t));
	if (!load(&o->dnnl)) {
		free(o->weights);
		free(o);
		return false;
	}
	good = o->weights != NULL && make_matmul(o, &plain) &&
	       (spec->packed ? pack_weights(o, &plain) : take_weights(o, &plain));
	if (!good)
		uw_onednn_free(&o);
	*onednn = o;
	return good;
}

#else

bool uw_onednn_is_there(void)
{
	return false;
}

bool uw_onednn_create(const struct uw_onednn_spec *spec, struct uw_onednn **onednn)
{
	*onednn = NULL;
	return false;
}

bool uw_onednn_run(const struct uw_onednn *onednn, size_t i, unsigned stream)
{
	return false;
}

void uw_onednn_free(struct uw_onednn **onednn)
{
	*onednn = NULL;
}

#endif
